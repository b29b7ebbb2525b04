//! An incident with more alerts than a notification lists.

use super::super::{AlertQuery, IncidentQuery};
use crate::engine::testing::{START, World, firing, labels, policy, resolved};
use crate::model::{Cause, Duration, Kind, LabelSet, Notification, Source, Status};
use crate::policy::Noise;

#[test]
fn what_is_listed_is_what_fires_in_order_and_the_rest_is_counted() {
    let mut world = World::new(policy(&[], Noise::default()));
    let all: Vec<_> = (0..1500)
        .map(|n| labels(&[("alertname", "Down"), ("instance", &format!("{n:04}")), ("severity", "warning")]))
        .collect();
    world.say(Source::Alertmanager, "a", all.iter().map(|l| firing(l, START)).collect());
    let page = world.sent.last().unwrap();
    assert_eq!((page.kind, page.alerts.len(), page.truncated), (Kind::Page, 1000, 500));
    let listed: Vec<_> = page.alerts.iter().map(|a| a.labels.clone()).collect();
    assert_eq!(listed, all[..1000], "the first by their labels");

    // The first 900 recover. The list has the same alerts as the page, and firing ones come first.
    let end = world.now;
    world.say(Source::Alertmanager, "a", all[..900].iter().map(|l| resolved(l, START, end)).collect());
    world.advance(Duration::from_mins(1));
    let update = world.sent.last().unwrap();
    let fires = update.alerts.iter().take_while(|a| a.status == Status::Firing);
    let fires: Vec<_> = fires.map(|a| a.labels.clone()).collect();
    assert_eq!(fires, all[900..1000]);
    assert_eq!((update.alerts.len(), update.truncated), (1000, 500));
    let recovered: Vec<_> = update.alerts[100..].iter().map(|a| a.labels.clone()).collect();
    assert_eq!(recovered, all[..900]);
}

#[test]
fn a_critical_alert_among_many_told_warnings_pages_again() {
    let noise = Noise { growth: 0, ..Noise::default() };
    let mut world = World::new(policy(&[], noise));
    let alert = |n: u32, severity: &str| {
        labels(&[("alertname", "Down"), ("instance", &n.to_string()), ("severity", severity)])
    };
    world.say(Source::Alertmanager, "a", (0..50).map(|n| firing(&alert(n, "warning"), START)).collect());
    world.advance(Duration::from_mins(1));
    let pages = |world: &World| world.sent.iter().filter(|n| n.kind == Kind::Page).count();
    assert_eq!(pages(&world), 1);
    world.say(Source::Alertmanager, "a", vec![firing(&alert(50, "critical"), world.now)]);
    assert_eq!(pages(&world), 2);
    assert_eq!(world.sent.last().unwrap().kind, Kind::Resolve, "the former incident is closed");
    let worse = Cause::HigherSeverity { level: "critical".into() };
    assert!(world.sent.iter().any(|n| n.cause == worse), "{:?}", world.sent.last());
    world.say(Source::Alertmanager, "a", vec![firing(&alert(51, "critical"), world.now)]);
    assert_eq!(pages(&world), 2, "it was told to be critical");
}

/// 1,500 warnings of these names, and a critical alert whose labels come last.
fn many_and_a_needle(names: usize) -> (Vec<LabelSet>, LabelSet) {
    let warning = |n: usize| {
        let (name, instance) = (format!("Down{}", n % names), format!("{n:04}"));
        labels(&[("alertname", &name), ("instance", &instance), ("severity", "warning")])
    };
    let needle = labels(&[("alertname", "Needle"), ("instance", "zzz"), ("severity", "critical")]);
    ((0..1500).map(warning).collect(), needle)
}

/// A page that wakes a person for a critical alert has to name it, however many other alerts it has.
#[test]
fn a_page_for_a_critical_alert_names_it_among_very_many() {
    let fires = |all: &[LabelSet]| all.iter().map(|labels| firing(labels, START)).collect::<Vec<_>>();
    let page_of_needle = |world: &World, needle: &LabelSet| {
        let named = |n: &&Notification| n.alerts.iter().any(|alert| alert.labels == *needle);
        let page = world.sent.iter().filter(|n| n.kind == Kind::Page).find(named);
        let page = page.expect("no page names the critical alert");
        assert_eq!(page.alerts[0].labels, *needle, "the worst comes first");
        assert_eq!(page.alerts.len(), 1000);
        page.clone()
    };
    // In the first page of its group.
    let (many, needle) = many_and_a_needle(1);
    let mut world = World::new(policy(&[], Noise::default()));
    world.say(Source::Alertmanager, "a", fires(&[many.clone(), vec![needle.clone()]].concat()));
    page_of_needle(&world, &needle);

    // In a page that a higher severity made.
    let mut world = World::new(policy(&[], Noise::default()));
    world.say(Source::Alertmanager, "a", fires(&many));
    world.advance(Duration::from_mins(1));
    world.say(Source::Alertmanager, "a", fires(std::slice::from_ref(&needle)));
    let page = page_of_needle(&world, &needle);
    assert_eq!(page.cause, Cause::HigherSeverity { level: "critical".into() });

    // In a page that merges those of many groups.
    let (many, needle) = many_and_a_needle(300);
    let mut world = World::new(policy(&["alertname"], Noise::default()));
    world.say(Source::Alertmanager, "a", fires(&[many, vec![needle.clone()]].concat()));
    page_of_needle(&world, &needle);
}

#[test]
fn a_cut_list_says_how_many_of_the_others_fire() {
    let mut world = World::new(policy(&[], Noise { growth: 0, ..Noise::default() }));
    let (many, _) = many_and_a_needle(1);
    world.say(Source::Alertmanager, "a", many.iter().map(|labels| firing(labels, START)).collect());
    let page = world.sent.last().unwrap();
    assert_eq!((page.truncated, page.truncated_firing), (500, 500));
    // All alerts that the list has recover, and 100 of the others.
    let end = world.now;
    world.say(Source::Alertmanager, "a", many[..1100].iter().map(|l| resolved(l, START, end)).collect());
    world.advance(Duration::from_mins(1));
    let update = world.sent.last().unwrap();
    assert!(update.alerts.iter().all(|alert| alert.status == Status::Resolved));
    assert_eq!((update.truncated, update.truncated_firing), (500, 400));
}

#[test]
fn a_look_passes_so_many_alerts_and_then_says_where_to_go_on() {
    let mut world = World::new(policy(&[], Noise::default()));
    let alert =
        |n: usize| labels(&[("alertname", "Down"), ("instance", &n.to_string()), ("severity", "warning")]);
    for part in 0..6 {
        let said = (part * 2_000..(part + 1) * 2_000).map(|n| firing(&alert(n), START)).collect();
        world.say(Source::Alertmanager, "a", said);
    }
    let matchers = crate::model::parse_matchers("instance=~\"1|2|3\"").unwrap();
    let mut query = AlertQuery { matchers, limit: 100, ..AlertQuery::default() };
    let (mut found, mut looks) = (Vec::new(), 0);
    loop {
        let glance = world.engine.query().alerts(&query);
        found.extend(glance.found.into_iter().map(|entry| entry.alert.labels.value("instance").to_owned()));
        looks += 1;
        query.after = glance.next;
        if query.after.is_none() {
            break;
        }
    }
    found.sort();
    assert_eq!((found, looks), (vec!["1".into(), "2".into(), "3".into()], 2));
    let incident =
        world.engine.query().open_incidents(&IncidentQuery { limit: 9, ..IncidentQuery::default() });
    let [only] = incident.found.as_slice() else { panic!("{:?}", incident.found) };
    assert!(
        incident.next.is_none() && only.alerts.len() == 100 && only.row.alerts >= 10_000,
        "{}",
        only.row.alerts
    );
}
