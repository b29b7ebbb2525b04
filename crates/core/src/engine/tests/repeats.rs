//! Which observations the engine takes for repeats, and which effects a repeat still has.

use crate::engine::Event;
use crate::engine::testing::*;
use crate::model::{
    AlertId, Cause, Disposition, Duration, Kind, LabelSet, Observation, Reason, Source, Timestamp,
};
use crate::policy::{Heartbeat, Noise, Receiver};

fn observed(world: &World) -> usize {
    world.events.iter().filter(|(_, event)| matches!(event, Event::Observe(_))).count()
}

fn replays(world: &World) {
    let (replayed, trace) = replay(world.events_policy(), &world.events);
    assert_eq!((&replayed, &trace), (&world.engine, &world.trace));
}

/// Each member of a Prometheus pair links to itself unless both have the same external URL.
#[test]
fn members_of_a_pair_repeat_although_their_addresses_differ() {
    let mut world = World::new(policy(&["instance"], Noise::default()));
    let set = labels(&[("alertname", "A"), ("severity", "critical")]);
    let said = |member: &str, now: Timestamp, summary: &str| Observation {
        annotations: labels(&[("summary", summary)]),
        generator_url: format!("http://{member}/graph").into(),
        ends_at: Some(now + Duration::from_mins(4)),
        ..firing(&set, START)
    };
    for _ in 0..10 {
        for member in ["a", "b"] {
            let observation = said(member, world.now, "old");
            world.prometheus(member, vec![observation]);
        }
        world.advance(Duration::from_mins(1));
    }
    assert_eq!(observed(&world), 2, "the first word of each");
    let changed = said("a", world.now, "new");
    world.prometheus("a", vec![changed]);
    assert_eq!(observed(&world), 3, "other annotations are no repeat");
    let unchanged = said("b", world.now, "old");
    world.prometheus("b", vec![unchanged]);
    assert_eq!(observed(&world), 3);
    assert_eq!(summary_of(&world, &set), "new", "a repeat does not bring old annotations back");
    assert_eq!(world.sent.iter().filter(|n| n.kind == Kind::Page).count(), 1);
    replays(&world);
}

fn summary_of(world: &World, set: &LabelSet) -> String {
    let known = world.engine.query().as_known(Source::Alertmanager, AlertId::of(set, |_| false)).unwrap();
    known.observations[0].annotations.value("summary").to_owned()
}

/// The other member may tell late that the occurrence before this one resolved.
#[test]
fn an_old_resolve_brings_no_old_annotations_back() {
    let mut world = World::new(policy(&["instance"], Noise::default()));
    let set = labels(&[("alertname", "A"), ("severity", "critical")]);
    let with = |summary: &str, said: Observation| Observation {
        annotations: labels(&[("summary", summary)]),
        ..said
    };
    let at = |seconds| START + Duration::from_secs(seconds);
    world.webhook("a", vec![with("first", firing(&set, at(0)))]);
    world.advance(Duration::from_secs(100));
    world.webhook("a", vec![with("first", resolved(&set, at(0), at(100)))]);
    world.advance(Duration::from_secs(100));
    let second = with("second", firing(&set, at(190)));
    world.webhook("a", vec![second.clone()]);
    world.webhook("b", vec![with("first", resolved(&set, at(0), at(100)))]);
    let before = observed(&world);
    world.webhook("a", vec![second]);
    assert_eq!((observed(&world), summary_of(&world, &set).as_str()), (before, "second"));
    replays(&world);
}

/// A heartbeat often goes to a receiver without integrations.
#[test]
fn each_repeat_of_a_heartbeat_counts_although_its_receiver_notifies_nobody() {
    let mut policy = policy(&["instance"], Noise::default());
    policy.receivers.insert("nobody".into(), Receiver::new(Vec::new()));
    policy.routes[0].receiver = "nobody".into();
    policy.heartbeats = vec![Heartbeat {
        name: "beat".into(),
        matchers: crate::model::parse_matchers("alertname=Beat").unwrap(),
        silent_after: Duration::from_mins(10),
        receiver: Some("pd".into()),
    }];
    let mut world = World::new(policy);
    world.handle(Event::Started);
    for _ in 0..30 {
        world.webhook("am", vec![firing(&labels(&[("alertname", "Beat")]), START)]);
        world.advance(Duration::from_mins(1));
    }
    assert_eq!(world.sent, [], "it is heard each minute");
    world.advance(Duration::from_mins(15));
    assert_eq!(world.sent.len(), 1, "and then it is silent");
    replays(&world);
}

#[test]
fn each_repeat_counts_once_at_its_receiver_and_says_whether_the_receiver_has_integrations() {
    for (integrations, reason, cause) in
        [(true, Reason::Duplicate, Cause::UnchangedRepeats), (false, Reason::Muted, Cause::NoIntegration)]
    {
        let mut policy = policy(&["instance"], Noise::default());
        if !integrations {
            policy.receivers.insert("pd".into(), Receiver::new(Vec::new()));
        }
        let mut world = World::new(policy);
        let set = labels(&[("alertname", "A"), ("severity", "critical")]);
        for _ in 0..6 {
            world.webhook("am", vec![firing(&set, START)]);
            world.advance(Duration::from_mins(1));
        }
        assert_eq!(observed(&world), 1);
        let stats = &world.engine.query().stats().receivers["pd"];
        let suppressed = if integrations { 5 } else { 6 };
        assert_eq!((stats.routed, stats.disposed[&Disposition::Suppressed(reason)]), (6, suppressed));
        assert_eq!(world.decisions.last().unwrap().cause, cause);
    }
}
