//! A configuration that changes under open incidents: no alert is forgotten, and no incident stays open.

use crate::engine::Event;
use crate::engine::testing::*;
use crate::model::{
    Duration, Kind, LabelSet, Notification, Outcome, Rejection, Report, Source, Timestamp, parse_matchers,
};
use crate::policy::{InhibitRule, IntegrationRef, KnownBy, Noise, Policy, Receiver, SelfCheckSettings};

fn at(minutes: u64) -> Timestamp {
    START + Duration::from_mins(minutes)
}

fn down() -> LabelSet {
    labels(&[("alertname", "Down"), ("severity", "critical")])
}

/// The policy with the receiver's integrations being these.
fn with(integrations: &[&str]) -> Policy {
    let mut policy = policy(&["alertname"], Noise::default());
    let known = |name: &&str| IntegrationRef::new(*name, KnownBy::DedupKey);
    policy
        .receivers
        .entry("pd".into())
        .and_modify(|r| r.integrations = integrations.iter().map(known).collect());
    policy
}

fn open(world: &World) -> Vec<&str> {
    world.pager.iter().filter(|(_, s)| s.open).map(|((integration, _), _)| integration.as_str()).collect()
}

fn reload(world: &mut World, policy: Policy) {
    world.handle(Event::Policy(Box::new(policy)));
}

/// A reload shortens a hold. The severity that falls must do so too, or a reload of the same configuration
/// would change which pages leave.
#[test]
fn an_alert_whose_severity_falls_is_held_no_longer_than_its_new_severity_says() {
    for reloads in [false, true] {
        let mut policy = policy(&["alertname"], Noise::default());
        policy.ignore_labels = vec!["severity".into()];
        policy.severities.levels[1].hold = Duration::from_mins(5);
        let mut world = World::new(policy.clone());
        for severity in ["warning", "info"] {
            let labels = labels(&[("alertname", "Slow"), ("severity", severity)]);
            world.webhook("am", vec![firing(&labels, START)]);
            world.advance(Duration::from_secs(10));
        }
        if reloads {
            reload(&mut world, policy);
        }
        world.advance(Duration::from_hours(1));
        let pages: Vec<_> =
            world.sent.iter().map(|n| (n.kind, n.at.since(START).as_millis() / 1000)).collect();
        assert_eq!(pages, [(Kind::Page, 10)], "reloads: {reloads}");
    }
}

/// The same integrations, with a endpoint for each, at a receiver of this name.
fn leading(receiver: &str, integrations: &[(&str, u64)]) -> Policy {
    let mut policy = with(&[]);
    let known = |(name, endpoint): &(&str, u64)| IntegrationRef {
        endpoint: *endpoint,
        ..IntegrationRef::new(*name, KnownBy::DedupKey)
    };
    let mut pd = policy.receivers.remove("pd").unwrap();
    pd.integrations = integrations.iter().map(known).collect();
    policy.receivers.insert(receiver.into(), pd);
    policy.routes.iter_mut().for_each(|route| route.receiver = receiver.into());
    policy
}

/// Every sequence of four reloads, each with a route to one receiver of two names that leads to one of two
/// endpoints. A further receiver leads to both, so that all incidents can be closed.
#[test]
fn all_ends_whatever_names_receivers_get_and_leave() {
    let integrations = [("pagerduty[0]", 7), ("pagerduty[1]", 8)];
    let policy = |n: usize| {
        let mut policy = leading(["a", "b"][n % 2], &integrations[n / 2..=n / 2]);
        policy.receivers.extend(leading("both", &integrations).receivers);
        policy
    };
    let host = |host| labels(&[("alertname", "Down"), ("host", host), ("severity", "critical")]);
    for sequence in 0..4_usize.pow(4) {
        let mut world = World::new(policy(0));
        world.webhook("am", vec![firing(&host("a"), at(0))]);
        for minute in 1..5 {
            world.advance(Duration::from_mins(1));
            reload(&mut world, policy(sequence / 4_usize.pow(minute - 1) % 4));
        }
        world.webhook("am", vec![firing(&host("b"), at(4))]);
        world.advance(Duration::from_mins(1));
        world.webhook("am", vec![resolved(&host("a"), at(0), at(5)), resolved(&host("b"), at(4), at(5))]);
        world.advance(Duration::from_hours(1));
        assert_eq!(open(&world), Vec::<&str>::new(), "{sequence}");
        let busy: Vec<_> =
            world.engine.world.accounting.stats().receivers.values().filter(|r| !r.is_idle()).collect();
        assert!(busy.is_empty(), "{sequence}: {busy:?}");
    }
}

#[test]
fn incidents_go_on_at_a_receiver_that_has_another_name() {
    let mut world = World::new(leading("pd", &[("pagerduty[0]", 7)]));
    let host = |host| labels(&[("alertname", "Down"), ("host", host), ("severity", "critical")]);
    world.webhook("am", vec![firing(&host("a"), at(0))]);
    world.advance(Duration::from_mins(20));
    world.webhook("am", vec![firing(&host("b"), at(20))]);
    world.advance(Duration::from_mins(1));
    let pages = world.sent.len();
    reload(&mut world, leading("pagerduty", &[("pagerduty[0]", 7)]));
    world.advance(Duration::from_mins(1));
    assert_eq!(world.sent.len(), pages, "a new name is no news");
    world.webhook("am", vec![resolved(&host("a"), at(0), at(22)), resolved(&host("b"), at(20), at(22))]);
    world.advance(Duration::from_hours(1));
    assert_eq!(open(&world), [""; 0], "both generations are closed");
    assert!(world.sent[pages..].iter().all(|n| n.receiver == "pagerduty" && n.kind == Kind::Resolve));
}

#[test]
fn the_counters_of_two_receivers_are_not_merged_into_one() {
    let mut policy = leading("a", &[("pagerduty[0]", 7)]);
    let receiver = policy.receivers["a"].clone();
    policy.receivers.insert("b".into(), receiver);
    let mut world = World::new(policy);
    world.webhook("am", vec![firing(&down(), at(0))]);
    world.advance(Duration::from_mins(1));
    let routed =
        |world: &World| world.engine.query().stats().receivers.values().map(|r| r.routed).sum::<u64>();
    let before = routed(&world);
    reload(&mut world, leading("c", &[("pagerduty[0]", 7)]));
    assert!(before > 0 && routed(&world) >= before, "{before} observations were routed");
}

#[test]
fn an_incident_is_closed_where_another_receiver_leads_to_the_same_endpoint() {
    let mut world = World::new(leading("pd", &[("pagerduty[0]", 7), ("pagerduty[1]", 8)]));
    world.webhook("am", vec![firing(&down(), at(0))]);
    world.advance(Duration::from_mins(1));
    // The first one is deleted, so the second one takes its name. Another receiver has the first one now.
    let mut policy = leading("pd", &[("pagerduty[0]", 8)]);
    let first = leading("other", &[("pagerduty[3]", 7)]).receivers.remove("other").unwrap();
    policy.receivers.insert("other".into(), first);
    let pages = world.sent.len();
    reload(&mut world, policy);
    world.webhook("am", vec![resolved(&down(), at(0), at(2))]);
    world.advance(Duration::from_hours(1));
    let ends: Vec<_> =
        world.sent[pages..].iter().map(|n| (n.receiver.as_str(), n.integration.as_str())).collect();
    assert_eq!(ends, [("other", "pagerduty[3]"), ("pd", "pagerduty[0]")]);
}

#[test]
fn a_hold_that_is_shorter_now_is_shorter_for_the_alerts_that_are_held() {
    for never_hold in [true, false] {
        let mut policy = with(&["pagerduty[0]"]);
        (policy.severities.levels[0].never_hold, policy.severities.levels[0].hold) =
            (false, Duration::from_hours(1));
        let mut world = World::new(policy.clone());
        world.webhook("am", vec![firing(&down(), at(0))]);
        world.advance(Duration::from_mins(5));
        assert!(world.sent.is_empty());
        match never_hold {
            true => policy.severities.levels[0].never_hold = true,
            false => policy.severities.levels[0].hold = Duration::from_mins(2),
        }
        reload(&mut world, policy);
        assert_eq!(world.sent.len(), 1, "never_hold {never_hold}");
    }
}

#[test]
fn an_integration_that_comes_back_is_told_of_the_end() {
    let mut world = World::new(with(&["pagerduty[0]"]));
    world.webhook("am", vec![firing(&down(), at(0))]);
    world.advance(Duration::from_mins(1));
    reload(&mut world, with(&[]));
    world.advance(Duration::from_mins(1));
    reload(&mut world, with(&["pagerduty[0]"]));
    world.webhook("am", vec![resolved(&down(), at(0), at(2))]);
    world.advance(Duration::from_mins(10));
    assert_eq!(open(&world), [""; 0], "an incident was left open");
}

#[test]
fn an_integration_that_comes_back_is_told_of_an_end_that_it_missed() {
    let mut world = World::new(with(&["pagerduty[0]"]));
    world.webhook("am", vec![firing(&down(), at(0))]);
    world.advance(Duration::from_mins(1));
    reload(&mut world, with(&[]));
    world.unreachable = vec!["pagerduty[0]"];
    world.webhook("am", vec![resolved(&down(), at(0), at(1))]);
    world.advance(Duration::from_hours(20));
    assert_eq!(open(&world), ["pagerduty[0]"]);
    world.unreachable.clear();
    reload(&mut world, with(&["pagerduty[0]"]));
    assert_eq!(open(&world), [""; 0], "an incident was left open");
}

/// The integration refused the ends of two incidents while it was gone. Each is sent when it returns, and no
/// person is paged about a refusal.
#[test]
fn an_integration_that_returns_has_refused_nothing() {
    let watch = |mut policy: Policy| {
        policy.self_check.enabled = true;
        policy.self_check.receiver = Some("watch".into());
        let integrations = vec![IntegrationRef::new("webhook[0]", KnownBy::Nothing)];
        let watch = Receiver { integrations, ..policy.receivers["pd"].clone() };
        policy.receivers.insert("watch".into(), watch);
        policy
    };
    let mut world = World::new(watch(with(&["pagerduty[0]"])));
    let other = labels(&[("alertname", "Other"), ("severity", "critical")]);
    world.webhook("am", vec![firing(&down(), at(0)), firing(&other, at(0))]);
    world.advance(Duration::from_mins(1));
    reload(&mut world, watch(with(&[])));
    world.unreachable = vec!["pagerduty[0]"];
    world.webhook("am", vec![resolved(&down(), at(0), at(1)), resolved(&other, at(0), at(1))]);
    world.advance(Duration::from_hours(1));
    world.unreachable.clear();
    reload(&mut world, watch(with(&["pagerduty[0]"])));
    assert!(!open(&world).contains(&"pagerduty[0]"), "an incident was left open");
    let about = |name: &str| {
        let named = |n: &&Notification| n.alerts.iter().any(|a| a.labels.value("alertname") == name);
        world.sent.iter().filter(named).count()
    };
    assert!(about("SquelchIncidentOrphaned") > 0, "a person was told while it was gone");
    assert_eq!(about("SquelchDeadLetters"), 0);
}

#[test]
fn an_integration_that_never_comes_back_is_given_up() {
    let mut world = World::new(with(&["pagerduty[0]"]));
    world.webhook("am", vec![firing(&down(), at(0))]);
    reload(&mut world, with(&[]));
    world.unreachable = vec!["pagerduty[0]"];
    world.webhook("am", vec![resolved(&down(), at(0), at(1))]);
    world.advance(Duration::from_hours(27));
    assert!(world.engine.pages.incidents.all.is_empty());
}

/// The policy of [`with`], with everything going to another receiver, and `pd` gone.
fn moved() -> Policy {
    let mut moved = with(&["pagerduty[0]"]);
    moved.receivers.insert("new".into(), with(&["slack[0]"]).receivers["pd"].clone());
    moved.receivers.remove("pd");
    moved.routes[0].receiver = "new".into();
    moved.self_check = SelfCheckSettings::default();
    moved
}

/// The sender goes on to say that the alert fires.
fn fires_on(world: &mut World, hours: u64) {
    for _ in 0..hours / 6 {
        world.advance(Duration::from_hours(6));
        world.webhook("am", vec![firing(&down(), at(0))]);
    }
}

#[test]
fn an_alert_whose_mute_and_route_a_reload_ends_pages_at_its_new_receiver_alone() {
    let mut before = with(&["pagerduty[0]"]);
    before.receivers.insert("new".into(), with(&["slack[0]"]).receivers["pd"].clone());
    let mut after = before.clone();
    after.routes[0].receiver = "new".into();
    before.inhibit_rules = vec![InhibitRule {
        name: "r".into(),
        source_matchers: parse_matchers("alertname=Source").unwrap(),
        target_matchers: parse_matchers("alertname=Down").unwrap(),
        equal: Vec::new(),
    }];
    let mut world = World::new(before);
    world.webhook("am", vec![firing(&labels(&[("alertname", "Source")]), at(0)), firing(&down(), at(0))]);
    world.advance(Duration::from_mins(10));
    let about_down = |world: &World| {
        let about = world.sent.iter().filter(|n| n.group_key.contains("Down"));
        about.map(|n| (n.receiver.to_string(), n.kind)).collect::<Vec<_>>()
    };
    assert_eq!(about_down(&world), [], "it is inhibited");
    reload(&mut world, after);
    world.advance(Duration::from_mins(10));
    assert_eq!(about_down(&world), [("new".to_owned(), Kind::Page)]);
}

#[test]
fn what_is_open_at_a_receiver_that_a_reload_removed_is_closed_there() {
    let mut world = World::new(with(&["pagerduty[0]"]));
    world.webhook("am", vec![firing(&down(), at(0))]);
    world.advance(Duration::from_mins(1));
    assert_eq!(world.engine.query().orphans(), []);
    reload(&mut world, moved());
    let orphans = world.engine.query().orphans();
    assert_eq!(orphans.len(), 1);
    assert_eq!((&*orphans[0].receiver, &*orphans[0].integration), ("pd", "pagerduty[0]"));
    assert!(orphans[0].incident.contains("Down") && orphans[0].dedup_key.len() == 64);
    let stats =
        |world: &World| world.engine.query().stats().receivers.get("pd").map(|r| (r.open, r.orphaned));
    assert_eq!(stats(&world), Some((1, 1)), "it is open there, and counted");
    // It fires for long after the reload, and is not given up.
    fires_on(&mut world, 60);
    let now = world.now;
    world.webhook("am", vec![resolved(&down(), at(0), now)]);
    world.advance(Duration::from_mins(10));
    assert_eq!(open(&world), [""; 0], "an incident was left open");
    assert_eq!(world.engine.query().orphans(), []);
    world.advance(Duration::from_hours(60));
    assert_eq!(stats(&world), None, "the metrics of a receiver go once nothing is open there");
    assert!(!world.sent.iter().any(|n| n.dedup_key.is_empty() || n.group_key.starts_with("squelch")));
}

#[test]
fn a_person_is_told_of_what_cannot_be_closed_at_a_receiver_that_is_gone() {
    let mut world = World::new(with(&["pagerduty[0]"]));
    world.webhook("am", vec![firing(&down(), at(0))]);
    world.advance(Duration::from_mins(1));
    // As after a restart: nothing is left with which it could be reached.
    reload(&mut world, moved());
    world.unreachable = vec!["pagerduty[0]"];
    let key = world.engine.query().orphans()[0].dedup_key.clone();
    let now = world.now;
    world.webhook("am", vec![resolved(&down(), at(0), now)]);
    world.advance(Duration::from_mins(10));
    let notified = world.sent.iter().find(|n| n.group_key.contains("SquelchIncidentOrphaned"));
    let notified = notified.expect("nobody was told");
    assert_eq!((&*notified.receiver, notified.kind), ("new", Kind::Page));
    for says in ["pd", "pagerduty[0]", &key, "Down"] {
        assert!(brief(&notified.cause).contains(says), "{says} not in {:?}", notified.cause);
    }
    let of_pd = world.engine.query().stats().receivers["pd"].clone();
    assert_eq!((of_pd.closing, of_pd.orphaned), (1, 1), "it is open there still");
    // The receiver comes back, and with it the way to close it.
    world.unreachable.clear();
    reload(&mut world, with(&["pagerduty[0]"]));
    world.advance(Duration::from_mins(10));
    assert_eq!(open(&world), [""; 0], "an incident was left open");
    let last = world.sent.iter().rfind(|n| n.group_key.contains("SquelchIncidentOrphaned")).unwrap();
    assert_eq!(last.kind, Kind::Resolve);
}

#[test]
fn an_end_that_is_never_answered_where_a_receiver_is_gone_reaches_a_person() {
    let mut world = World::new(with(&["pagerduty[0]"]));
    world.webhook("am", vec![firing(&down(), at(0))]);
    world.advance(Duration::from_mins(1));
    reload(&mut world, moved());
    let now = world.now;
    world.answers = Answers::Hang;
    world.webhook("am", vec![resolved(&down(), at(0), now)]);
    world.advance(Duration::from_mins(20));
    assert!(world.sent.iter().any(|n| n.group_key.contains("SquelchIncidentOrphaned")));
}

#[test]
fn what_was_paged_anew_elsewhere_stays_open_at_the_old_place_while_it_fires() {
    let mut world = World::new(with(&["pagerduty[0]"]));
    world.webhook("am", vec![firing(&down(), at(0))]);
    world.advance(Duration::from_mins(1));
    reload(&mut world, with(&["slack[0]"]));
    fires_on(&mut world, 30);
    assert_eq!(open(&world), ["pagerduty[0]", "slack[0]"], "nobody is told that it is over");
    let now = world.now;
    world.webhook("am", vec![resolved(&down(), at(0), now)]);
    world.advance(Duration::from_mins(10));
    assert_eq!(open(&world), [""; 0]);
}

#[test]
fn what_resolved_while_the_receiver_had_no_integration_pages_when_it_fires_anew() {
    let mut world = World::new(with(&["pagerduty[0]"]));
    world.webhook("am", vec![firing(&down(), at(0))]);
    world.advance(Duration::from_mins(1));
    reload(&mut world, with(&[]));
    world.webhook("am", vec![resolved(&down(), at(0), at(1))]);
    world.advance(Duration::from_mins(60));
    reload(&mut world, with(&["pagerduty[0]"]));
    let sent = world.sent.len();
    let now = world.now;
    world.webhook("am", vec![firing(&down(), now)]);
    assert!(world.sent[sent..].iter().any(|n| n.kind == Kind::Page), "a page never came");
}

#[test]
fn what_began_while_the_receiver_had_no_integration_pages_once_it_has_one() {
    let mut world = World::new(with(&[]));
    world.webhook("am", vec![firing(&down(), at(0))]);
    world.advance(Duration::from_mins(5));
    reload(&mut world, with(&["pagerduty[0]"]));
    assert_eq!(open(&world), ["pagerduty[0]"]);
}

#[test]
fn an_open_incident_pages_anew_where_all_its_integrations_were_replaced() {
    let mut world = World::new(with(&["pagerduty[0]"]));
    world.webhook("am", vec![firing(&down(), at(0))]);
    world.advance(Duration::from_mins(1));
    reload(&mut world, with(&["slack[0]"]));
    assert_eq!(open(&world), ["pagerduty[0]", "slack[0]"], "nobody there knows of it");
    let now = world.now;
    world.webhook("am", vec![resolved(&down(), at(0), now)]);
    world.advance(Duration::from_mins(10));
    assert_eq!(open(&world), [""; 0]);
}

#[test]
fn merged_pages_go_to_the_integrations_of_today() {
    let mut first = with(&["pagerduty[0]"]);
    for noise in first.noise.values_mut() {
        noise.limit.pages = 1;
    }
    let mut renamed = first.clone();
    renamed.routes[0].key = "{}/{renamed}".into();
    let slack = IntegrationRef::new("slack[0]", KnownBy::Nothing);
    renamed.receivers.entry("pd".into()).and_modify(|r| r.integrations = vec![slack]);
    let mut world = World::new(first);
    reload(&mut world, renamed);
    for name in ["A", "B", "C"] {
        let labels = labels(&[("alertname", name), ("severity", "warning")]);
        world.webhook("am", vec![firing(&labels, at(0))]);
    }
    world.advance(Duration::from_mins(30));
    assert!(world.sent.len() > 1);
    assert!(world.sent.iter().all(|n| n.integration == "slack[0]"), "{:?}", world.sent);
}

#[test]
fn damping_that_is_switched_off_while_something_flaps_ends_it() {
    let mut noise = flaps_at(3000);
    let mut world = World::new(policy(&["alertname"], noise.clone()));
    for minute in 0..20 {
        let now = world.now;
        world.webhook(
            "am",
            vec![match minute % 2 {
                0 => firing(&down(), now),
                _ => resolved(&down(), now, now),
            }],
        );
        world.advance(Duration::from_mins(1));
    }
    assert_eq!(world.engine.query().stats().receivers["pd"].flapping, 1);
    noise.flapping.suppress_at = 0;
    noise.flapping.half_life = Duration::from_secs(40);
    reload(&mut world, policy(&["alertname"], noise));
    world.advance(Duration::from_hours(5));
    assert_eq!(world.engine.query().stats().receivers["pd"].flapping, 0);
    assert_eq!(open(&world), [""; 0]);
}

#[test]
fn a_page_that_is_held_goes_to_the_receiver_of_today() {
    let mut held = with(&["pagerduty[0]"]);
    held.severities.levels[1].hold = Duration::from_mins(10);
    let mut moved = held.clone();
    moved.receivers.insert("new".into(), with(&["slack[0]"]).receivers["pd"].clone());
    moved.receivers.remove("pd");
    moved.routes[0].receiver = "new".into();
    let mut world = World::new(held);
    let warning = labels(&[("alertname", "Slow"), ("severity", "warning")]);
    world.say(Source::Alertmanager, "am", vec![firing(&warning, at(0))]);
    world.advance(Duration::from_mins(5));
    reload(&mut world, moved);
    world.advance(Duration::from_mins(30));
    assert!(open(&world).contains(&"slack[0]"), "it waited for nobody: {:?}", world.sent);
}

/// A mended URL, key or file is nothing that the engine sees: each reload and each start may have brought it.
#[test]
fn what_was_refused_is_tried_at_once_after_a_reload_and_after_a_start() {
    for mended in [Event::Policy(Box::new(with(&["pagerduty[0]"]))), Event::Started] {
        let mut world = World::new(with(&["pagerduty[0]"]));
        world.answers = Answers::Reject;
        world.webhook("am", vec![firing(&down(), at(0))]);
        world.advance(Duration::from_mins(2));
        let pages = |world: &World| world.sent.iter().filter(|n| n.kind == Kind::Page).count();
        assert_eq!((pages(&world), open(&world).len()), (1, 0));
        world.handle(mended.clone());
        assert_eq!((pages(&world), open(&world).len()), (2, 0), "tried at once: {mended:?}");
        world.answers = Answers::Accept;
        world.handle(mended.clone());
        assert_eq!((pages(&world), open(&world).len()), (3, 1), "{mended:?}");
        world.handle(mended.clone());
        assert_eq!(pages(&world), 3, "what was accepted is not sent again: {mended:?}");
    }
}

#[test]
fn a_digest_goes_to_the_integrations_that_can_show_one() {
    let mut policy = with(&["pagerduty[0]", "webhook[0]"]);
    policy.severities.levels[1].hold = Duration::from_mins(5);
    let of = |name: &str, policy: &mut Policy, takes: bool| {
        let receiver = policy.receivers.get_mut("pd").unwrap();
        receiver.integrations.iter_mut().filter(|i| i.name == name).for_each(|i| i.takes_digests = takes);
    };
    of("pagerduty[0]", &mut policy, false);
    let notified = |policy: &Policy| {
        let mut world = World::new(policy.clone());
        let blip = labels(&[("alertname", "Blip"), ("severity", "warning")]);
        world.webhook("am", vec![firing(&blip, at(0))]);
        world.advance(Duration::from_mins(1));
        world.webhook("am", vec![resolved(&blip, at(0), at(1))]);
        world.advance(Duration::from_hours(25));
        let digests = world.sent.iter().filter(|n| n.kind == Kind::Digest);
        digests.map(|n| n.integration.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(notified(&policy), ["webhook[0]"]);
    of("webhook[0]", &mut policy, false);
    assert_eq!(notified(&policy), [""; 0]);
}

/// For readers of a webhook, a group is one problem, with any of its incidents.
#[test]
fn a_webhook_that_a_reload_removed_hears_of_no_end_while_its_group_fires() {
    let policy = |webhook: bool| {
        let mut policy = with(&["pagerduty[0]"]);
        let integration = webhook.then(|| IntegrationRef::new("webhook[0]", KnownBy::Group));
        policy.receivers.get_mut("pd").unwrap().integrations.extend(integration);
        policy
    };
    let mut world = World::new(policy(true));
    let host = |host| labels(&[("alertname", "Down"), ("host", host), ("severity", "critical")]);
    let ends = |world: &World| {
        world.sent.iter().filter(|n| n.integration == "webhook[0]" && n.kind == Kind::Resolve).count()
    };
    world.webhook("am", vec![firing(&host("a"), at(0))]);
    world.advance(Duration::from_mins(20));
    reload(&mut world, policy(false));
    world.webhook("am", vec![firing(&host("b"), at(20))]);
    world.webhook("am", vec![resolved(&host("a"), at(0), at(20))]);
    world.advance(Duration::from_mins(20));
    assert_eq!(ends(&world), 0, "b fires");
    world.webhook("am", vec![resolved(&host("b"), at(20), at(40))]);
    world.advance(Duration::from_hours(1));
    assert_eq!((ends(&world), open(&world)), (1, vec![]));
}

#[test]
fn a_notification_that_waits_over_a_start_goes_where_its_incident_stands_now() {
    let mut world = World::new(leading("pd", &[("pagerduty[0]", 7), ("pagerduty[1]", 8)]));
    world.answers = Answers::Hang;
    world.say(Source::Alertmanager, "a", vec![firing(&down(), START)]);
    let waiting: Vec<_> = world.in_flight.clone();
    let place = |world: &World, index: usize| {
        let mut n = waiting[index].clone();
        world.engine.query().readdress(&mut n);
        (n.receiver.to_string(), n.integration.to_string(), n.endpoint)
    };
    assert_eq!(place(&world, 0), ("pd".into(), "pagerduty[0]".into(), 7));
    reload(&mut world, leading("pd", &[("pagerduty[0]", 9), ("pagerduty[1]", 7), ("pagerduty[2]", 8)]));
    assert_eq!(place(&world, 0), ("pd".into(), "pagerduty[1]".into(), 7));
    assert_eq!(place(&world, 1), ("pd".into(), "pagerduty[2]".into(), 8));
    // The first one is gone, and another one has its position.
    reload(&mut world, leading("pd", &[("pagerduty[0]", 9), ("pagerduty[1]", 8)]));
    assert_eq!(place(&world, 0).2, 7);
    assert_eq!(place(&world, 1), ("pd".into(), "pagerduty[1]".into(), 8));
    // The receiver has another name.
    reload(&mut world, leading("other", &[("pagerduty[0]", 9), ("pagerduty[1]", 8)]));
    assert_eq!(place(&world, 1), ("other".into(), "pagerduty[1]".into(), 8));
}

/// A page waits over a restart that replaces its integration. Nothing is left that could deliver it, or the
/// end. If it may have arrived, the end is tried for a day, and a person is told.
#[test]
fn an_incident_whose_page_has_no_way_any_more_is_forgotten() {
    for (ambiguous, forgotten) in [(false, 1), (true, 25)] {
        let mut world = World::new(with(&["pagerduty[0]"]));
        world.answers = Answers::Hang;
        world.webhook("am", vec![firing(&down(), at(0))]);
        let page = world.in_flight.remove(0).id;
        let mut replaced = with(&[]);
        let webhook = IntegrationRef::new("webhook[0]", KnownBy::Group);
        replaced.receivers.get_mut("pd").unwrap().integrations.push(webhook);
        world.answers = Answers::Accept;
        world.unreachable = vec!["pagerduty[0]"];
        reload(&mut world, replaced);
        world.handle(Event::Started);
        let rejection = Rejection { reason: "other".into(), detail: "gone".into(), ambiguous };
        let outcome = Outcome::Rejected(rejection);
        world.handle(Event::Delivered(Report { id: page, outcome, attempts: 0, message: None }));
        world.advance(Duration::from_mins(1));
        world.webhook("am", vec![resolved(&down(), at(0), at(1))]);
        assert_eq!(world.engine.query().orphans().len(), usize::from(ambiguous));
        world.advance(Duration::from_hours(forgotten));
        let left = world.engine.pages.incidents.all.len();
        assert_eq!(left, 0, "ambiguous: {ambiguous}");
    }
}
