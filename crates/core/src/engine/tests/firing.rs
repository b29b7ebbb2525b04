//! Firing alerts for Alertmanager's API v2.

use crate::engine::testing::{World, firing, flaps_at, labels, policy, resolved};
use crate::engine::{FiringAlert, RowState};
use crate::model::{Duration, Fingerprint, LabelSet, Matcher, Source, parse_matchers};
use crate::policy::{GroupBy, InhibitRule, Level, Noise, Route};

fn of(name: &str) -> LabelSet {
    labels(&[("alertname", name), ("severity", "warning")])
}

fn shown(world: &World, matchers: &str) -> Vec<FiringAlert> {
    let matchers: Vec<Matcher> = parse_matchers(matchers).unwrap();
    let (found, next) = world.engine.query().firing(&matchers, None);
    assert_eq!(next, None);
    found
}

fn withheld(world: &World, name: &str) -> (Option<RowState>, bool) {
    let found = shown(world, &format!("alertname={name}"));
    let [alert] = &found[..] else { panic!("{found:?}") };
    (alert.routes[0].withheld, alert.is_suppressed())
}

#[test]
fn tells_of_times_routes_and_groups() {
    let mut policy = policy(&["alertname"], Noise::default());
    let root = policy.routes[0].clone();
    policy.routes[0].children = vec![1, 2];
    for (continue_, group_by) in [(true, GroupBy::All), (false, root.group_by.clone())] {
        let key = format!("{{}}/{{n=\"{}\"}}", policy.routes.len()).into();
        policy.routes.push(Route { key, continue_, group_by, ..root.clone() });
    }
    let mut world = World::new(policy);
    let start = world.now;
    world.prometheus("p", vec![firing(&of("A"), start)]);
    world.prometheus("p", vec![firing(&of("B"), start)]);
    world.advance(Duration::from_secs(10));
    world.prometheus("p", vec![resolved(&of("B"), start, world.now)]);
    let found = shown(&world, "");
    let [alert] = &found[..] else { panic!("what has resolved is not shown: {found:?}") };
    assert_eq!(alert.fingerprint, Fingerprint::of(&of("A")));
    assert_eq!((alert.starts_at, alert.updated_at), (start, start));
    assert_eq!(alert.ends_at, start + Duration::from_hours(12), "stale_after, as the peer gave no end");
    let groups: Vec<_> = alert.routes.iter().map(|r| (r.route, &r.receiver[..], r.group.len())).collect();
    assert_eq!(groups, [(1, "pd", 2), (2, "pd", 1)]);
    assert!(shown(&world, "alertname=B").is_empty() && shown(&world, "severity=page").is_empty());
    assert!(!alert.is_suppressed());
}

#[test]
fn tells_what_suppresses_an_alert() {
    let mut policy = policy(&["alertname"], Noise::default());
    policy.inhibit_rules = vec![InhibitRule {
        name: "r".into(),
        source_matchers: parse_matchers("alertname=Source").unwrap(),
        target_matchers: parse_matchers("alertname=Target").unwrap(),
        equal: Vec::new(),
    }];
    let mut world = World::new(policy);
    let now = world.now;
    world.webhook("a", ["Source", "Target", "Quiet"].map(|name| firing(&of(name), now)).into());
    world.silence("alertname=Quiet", now, Duration::from_hours(1));
    let half = Duration::from_mins(30);
    world.silence("alertname=Quiet", now + half, half);
    let one = |name: &str| shown(&world, &format!("alertname={name}")).remove(0);
    let source = Fingerprint::of(&of("Source"));
    assert_eq!((one("Source").inhibited_by, one("Source").is_suppressed()), (None, false));
    assert_eq!((one("Target").inhibited_by, one("Target").is_suppressed()), (Some(source), true));
    assert_eq!((one("Quiet").silenced_by.len(), one("Quiet").is_suppressed()), (1, true));
    assert_eq!(one("Quiet").routes[0].withheld, None, "the silence is the reason, and Squelch is not");
}

#[test]
fn what_squelch_keeps_back_is_suppressed_and_a_group_wait_is_not() {
    let mut held = policy(&["alertname"], Noise::default());
    let warning = held.severities.levels.iter_mut().find(|l| l.name == "warning").unwrap();
    *warning = Level { hold: Duration::from_mins(5), ..warning.clone() };
    let limited =
        Noise { limit: crate::policy::Limit { pages: 1, per: Duration::from_hours(1) }, ..Noise::default() };
    let mut waits = policy(&["alertname"], Noise::default());
    waits.routes[0].group_wait = Duration::from_mins(1);

    let mut world = World::new(held);
    world.say(Source::Alertmanager, "a", vec![firing(&of("A"), world.now)]);
    assert_eq!(withheld(&world, "A"), (Some(RowState::Held), true));

    let mut world = World::new(waits);
    world.say(Source::Alertmanager, "a", vec![firing(&of("A"), world.now)]);
    assert_eq!(withheld(&world, "A"), (None, false));

    let mut world = World::new(policy(&["alertname"], limited));
    world.say(Source::Alertmanager, "a", vec![firing(&of("A"), world.now)]);
    world.say(Source::Alertmanager, "a", vec![firing(&of("B"), world.now)]);
    assert_eq!(withheld(&world, "A"), (None, false));
    assert_eq!(withheld(&world, "B"), (Some(RowState::RateLimited), true));

    let mut world = World::new(policy(&["alertname"], flaps_at(3000)));
    for _ in 0..3 {
        let start = world.now;
        world.say(Source::Alertmanager, "a", vec![firing(&of("A"), start)]);
        world.advance(Duration::from_secs(20));
        world.say(Source::Alertmanager, "a", vec![resolved(&of("A"), start, world.now)]);
        world.advance(Duration::from_secs(20));
    }
    world.say(Source::Alertmanager, "a", vec![firing(&of("A"), world.now)]);
    assert_eq!(withheld(&world, "A"), (Some(RowState::Flapping), true));
}

#[test]
fn a_look_passes_a_bounded_number_and_says_where_to_go_on() {
    let mut world = World::new(policy(&["alertname"], Noise::default()));
    let now = world.now;
    world.webhook("a", (0..1_500).map(|n| firing(&of(&format!("A{n}")), now)).collect());
    let (first, next) = world.engine.query().firing(&[], None);
    let (second, end) = world.engine.query().firing(&[], next);
    assert_eq!((first.len(), second.len(), end), (1_000, 500, None));
}
