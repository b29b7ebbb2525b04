//! Bounds, fallback and the incidents of Squelch's own.

use crate::engine::testing::*;
use crate::engine::{Bound, Engine, Event};
use crate::model::{Duration, Kind, Problem, Timestamp};
use crate::policy::{IntegrationRef, KnownBy, Limits, Noise, Receiver, SelfCheckSettings};

fn bounded(alerts: u64) -> World {
    let mut policy = policy(&["instance"], Noise::default());
    policy.limits = Limits { alerts, ..Limits::default() };
    World::new(policy)
}

fn numbered(n: u64) -> crate::model::LabelSet {
    labels(&[("alertname", "Bomb"), ("instance", &n.to_string())])
}

#[test]
fn a_cardinality_bomb_is_one_page_that_says_how_many() {
    let mut world = bounded(100);
    world.answers = Answers::Accept;
    for n in 0..5_000 {
        world.say(crate::model::Source::Alertmanager, "am", vec![firing(&numbered(n), START)]);
    }
    world.advance(Duration::from_mins(5));
    let stats = world.engine.query().stats();
    assert_eq!((stats.alerts, stats.overflow), (100, 4_900));
    let notified: Vec<_> =
        world.sent.iter().filter(|n| n.group_labels.value("alertname") == "SquelchTooManyAlerts").collect();
    assert_eq!(notified.iter().filter(|n| n.kind == Kind::Page).count(), 1);
    assert!(notified.last().is_some_and(|n| brief(&n.cause).contains("4900")), "{notified:?}");
    // It is over when nothing more comes.
    world.advance(Duration::from_mins(20));
    assert!(world.pager.iter().filter(|(_, s)| s.open).count() <= 100);
    let last = world.sent.iter().rev().find(|n| n.group_labels.value("alertname") == "SquelchTooManyAlerts");
    assert_eq!(last.map(|n| n.kind), Some(Kind::Resolve));
    let (replayed, trace) = replay(world.events_policy(), &world.events);
    assert_eq!((replayed, trace), (world.engine.clone(), world.trace.clone()));
}

#[test]
fn what_resolved_first_makes_room() {
    let mut world = bounded(100);
    for n in 0..100 {
        world.say(crate::model::Source::Alertmanager, "am", vec![firing(&numbered(n), START)]);
    }
    for n in 0..10 {
        let at = START + Duration::from_secs(n);
        world.now = world.now.max(at);
        world.say(crate::model::Source::Alertmanager, "am", vec![resolved(&numbered(n), START, at)]);
    }
    world.advance(Duration::from_hours(1));
    world.say(crate::model::Source::Alertmanager, "am", vec![firing(&numbered(1_000), world.now)]);
    let stats = world.engine.query().stats();
    assert_eq!((stats.alerts, stats.overflow), (100, 0));
    assert_eq!(stats.bounds.get(&Bound::Alerts), Some(&1));
    let all = crate::engine::AlertQuery { limit: 1_000, ..Default::default() };
    let known = world.engine.query().alerts(&all).found;
    let knows = |n| known.iter().any(|known| known.alert.labels == numbered(n));
    assert!(!knows(0), "the first that resolved is forgotten");
    assert!(knows(1));
}

#[test]
fn a_group_is_forgotten_a_day_after_its_last_incident_and_earlier_if_there_are_too_many() {
    let mut world = bounded(100);
    let open = labels(&[("alertname", "Open"), ("instance", "open")]);
    world.say(crate::model::Source::Alertmanager, "am", vec![firing(&open, START)]);
    for n in 0..120 {
        let start = world.now;
        world.say(crate::model::Source::Alertmanager, "am", vec![firing(&numbered(n), start)]);
        world.advance(Duration::from_mins(1));
        let now = world.now;
        world.say(crate::model::Source::Alertmanager, "am", vec![resolved(&numbered(n), start, now)]);
        world.advance(Duration::from_mins(4));
        if n == 90 {
            assert_eq!(world.engine.pages.groups.len(), 92, "a day is not over, and there is room");
        }
    }
    assert!(world.engine.pages.groups.len() <= 100);
    let of_groups = world.engine.query().stats().bounds[&Bound::Groups];
    assert!((20..40).contains(&of_groups), "{of_groups} were forgotten, and no more than needed");
    let now = world.now;
    world.say(crate::model::Source::Alertmanager, "am", vec![firing(&open, now)]);
    world.advance(Duration::from_hours(25));
    let left: Vec<_> =
        world.engine.pages.groups.iter().map(|((_, labels), _)| labels.value("instance")).collect();
    assert_eq!(left, ["open"], "one incident is open");
}

#[test]
fn thousands_of_firing_label_sets_of_one_alert_are_bounded() {
    let mut world = bounded(100);
    for n in 0..1_500u64 {
        let set = labels(&[("alertname", "A"), ("replica", &n.to_string())]);
        world.say(crate::model::Source::Alertmanager, "am", vec![firing(&set, START)]);
    }
    let stats = world.engine.query().stats();
    assert_eq!(stats.alerts, 1);
    assert_eq!(stats.bounds.get(&Bound::LabelSets), Some(&500));
}

#[test]
fn an_alarm_goes_over_a_snapshot_and_a_reload_and_is_closed() {
    let mut policy = policy(&["instance"], Noise::default());
    policy.self_check = SelfCheckSettings::default();
    let ops = IntegrationRef::new("webhook[0]", KnownBy::Group);
    policy.receivers.insert("ops".into(), Receiver::new(vec![ops]));
    let mut world = World::new(policy.clone());
    let alarm = crate::engine::Alarm {
        problem: Problem::StorageDamaged { error: "broken".into() },
        lasts: Duration::from_hours(1),
    };
    world.handle(Event::Alarm(alarm.clone()));
    world.engine = Engine::restore(&world.engine.snapshot()).unwrap();
    world.handle(Event::Alarm(alarm));
    assert_eq!(world.sent.iter().filter(|n| n.kind == Kind::Page).count(), 1, "opened once");
    policy.self_check.receiver = Some("ops".into());
    world.handle(Event::Policy(Box::new(policy)));
    world.advance(Duration::from_hours(2));
    assert!(world.pager.values().all(|shown| !shown.open), "{:?}", world.pager);
}

/// The alert says how severe it is, and a reload that renames the levels opens no second incident.
#[test]
fn an_internal_incident_carries_the_highest_severity() {
    let mut policy = policy(&["instance"], Noise::default());
    policy.self_check = SelfCheckSettings::default();
    policy.severities.label = "priority".into();
    policy.severities.levels[0].name = "P1".into();
    policy.heartbeats = vec![crate::policy::Heartbeat {
        name: "beat".into(),
        matchers: crate::model::parse_matchers("alertname=Beat").unwrap(),
        silent_after: Duration::from_mins(10),
        receiver: None,
    }];
    policy.limits = Limits { alerts: 1, ..Limits::default() };
    let mut world = World::new(policy.clone());
    let alarm = crate::engine::Alarm {
        problem: Problem::StorageDamaged { error: "broken".into() },
        lasts: Duration::from_hours(9),
    };
    world.handle(Event::Alarm(alarm));
    world.handle(Event::Started);
    for n in 0..3 {
        world.say(crate::model::Source::Alertmanager, "am", vec![firing(&numbered(n), START)]);
    }
    world.advance(Duration::from_mins(20));
    policy.severities.levels[0].name = "top".into();
    world.handle(Event::Policy(Box::new(policy)));
    world.advance(Duration::from_hours(24));
    let own = world.sent.iter().filter(|n| n.group_labels.value("alertname").starts_with("Squelch"));
    let mut pages = std::collections::BTreeSet::new();
    for n in own {
        assert_eq!(n.alerts[0].labels.value("priority"), "P1", "{n:?}");
        assert_eq!(n.group_labels.value("priority"), "", "{n:?}");
        assert_eq!(n.level, (0, 3));
        if n.kind == Kind::Page {
            assert!(pages.insert(n.group_labels.to_string()), "opened twice: {n:?}");
        }
    }
    assert_eq!(pages.len(), 3, "{pages:?}");
}

/// A chat that is broken for a week must not hide that the pager's key was revoked.
#[test]
fn the_internal_incident_pages_again_for_another_receiver_that_refuses() {
    let mut policy = policy(&["alertname"], Noise::default());
    for (receiver, integration) in [("chat", "pagerduty[1]"), ("watcher", "pagerduty[2]")] {
        let one = IntegrationRef::new(integration, KnownBy::DedupKey);
        policy.receivers.insert(receiver.into(), Receiver::new(vec![one]));
    }
    policy.self_check = SelfCheckSettings { receiver: Some("watcher".into()), ..Default::default() };
    let child = crate::policy::Route {
        receiver: "chat".into(),
        matchers: crate::model::parse_matchers("alertname=Chat").unwrap(),
        ..policy.routes[0].clone()
    };
    policy.routes[0].children = vec![1];
    policy.routes.push(child);
    let mut world = World::new(policy);
    world.unreachable = vec!["pagerduty[0]", "pagerduty[1]"];
    let mut pages = Vec::new();
    for name in ["Chat", "Chat", "Pager", "Other"] {
        let labels = labels(&[("alertname", name), ("severity", "critical")]);
        world.say(crate::model::Source::Alertmanager, "am", vec![firing(&labels, START)]);
        world.advance(Duration::from_hours(1));
        let about = |n: &&crate::model::Notification| {
            n.kind == Kind::Page && n.group_labels.value("alertname") == "SquelchDeadLetters"
        };
        pages.push(world.sent.iter().filter(about).count());
    }
    assert_eq!(pages, [1, 1, 2, 2], "one page for each receiver that refuses");
}

/// A new journal begins with its policy. The engine knows no time before that.
#[test]
fn a_heartbeat_has_its_whole_time_at_the_first_start() {
    let mut policy = policy(&["instance"], Noise::default());
    policy.self_check = SelfCheckSettings::default();
    policy.heartbeats = vec![crate::policy::Heartbeat {
        name: "beat".into(),
        matchers: crate::model::parse_matchers("alertname=Beat").unwrap(),
        silent_after: Duration::from_mins(10),
        receiver: None,
    }];
    let mut world = World::new(policy.clone());
    world.now = Timestamp::from_millis(1_790_000_000_000);
    world.handle(Event::Policy(Box::new(policy)));
    world.handle(Event::Started);
    world.advance(Duration::from_secs(599));
    assert_eq!(world.sent.len(), 0, "{:?}", world.sent);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.sent.len(), 1, "it never came");
}
