//! Alerts that pass through undecided.

use crate::engine::testing::*;
use crate::engine::{Bound, Event};
use crate::model::{
    Batch, Cause, Disposition, Duration, Kind, LabelSet, Problem, Reason, Source, Timestamp, parse_matchers,
};
use crate::policy::{Heartbeat, Noise, Policy};

const ROOM: u64 = 1_000;

fn numbered(n: u64) -> LabelSet {
    labels(&[("alertname", "Poison"), ("instance", &n.to_string())])
}

/// The engine failed at these alerts.
fn failed(world: &mut World, alerts: std::ops::Range<u64>, ends_at: Option<Timestamp>) {
    let observation = |n| match ends_at {
        None => firing(&numbered(n), START),
        Some(at) => resolved(&numbered(n), START, at),
    };
    let observations = alerts.map(observation).collect();
    let batch = Batch::new(Source::Alertmanager, "am", observations);
    world.handle(Event::Quarantine(batch));
}

#[test]
fn alerts_beyond_the_room_of_quarantine_pass_through_as_one_page() {
    let mut world = World::new(policy(&["instance"], Noise::default()));
    world.answers = Answers::Hang;
    failed(&mut world, 0..ROOM, None);
    assert_eq!(world.sent.len() as u64, ROOM);
    failed(&mut world, ROOM..ROOM + 1, None);
    assert_eq!(world.sent.len() as u64, ROOM + 1, "the first further one pages at once");
    let page = world.sent.last().unwrap().clone();
    assert_eq!((page.kind, &*page.receiver), (Kind::Page, "pd"));
    let newest = numbered(ROOM).to_string();
    assert!(
        matches!(&page.cause, Cause::Problem { problem: Problem::QuarantineFull { newest: named, .. } }
            if *named == newest),
        "the page names the alert: {:?}",
        page.cause
    );
    let size = world.engine.snapshot().len();
    failed(&mut world, ROOM + 1..3 * ROOM, None);
    assert_eq!(world.sent.len() as u64, ROOM + 1, "the others add to the same incident");
    assert!(world.engine.snapshot().len() < size + 1_000, "it remembers none of them one by one");
    assert_eq!(world.engine.query().stats().bounds[&Bound::Quarantine], 2 * ROOM);
    // A resolve of one of them says nothing about the others.
    let now = world.now;
    failed(&mut world, ROOM..ROOM + 1, Some(now));
    assert_eq!(world.sent.len() as u64, ROOM + 1);
    // It ends when no further one came for `stale_after`.
    failed(&mut world, 0..ROOM, Some(now));
    world.in_flight.retain(|n| n.dedup_key == page.dedup_key);
    world.answers = Answers::Accept;
    world.answer(true);
    let shown = (page.integration.to_string(), page.dedup_key.to_string());
    world.now = world.now + Duration::from_hours(11);
    world.handle(Event::Tick);
    assert!(world.pager[&shown].open);
    world.now = world.now + Duration::from_hours(2);
    world.handle(Event::Tick);
    assert!(!world.pager[&shown].open);
}

/// The dispositions of the observations since the last call.
fn decided(world: &mut World) -> Vec<Disposition> {
    let all = std::mem::take(&mut world.decisions);
    assert!(all.iter().all(|decision| decision.cause == Cause::Quarantined), "{all:?}");
    all.into_iter().map(|decision| decision.disposition).collect()
}

fn says(world: &mut World, n: u64) {
    world.say(Source::Alertmanager, "am", vec![firing(&numbered(n), START)]);
}

#[test]
fn a_quarantined_alert_pages_once_passes_each_stage_and_is_decided_again_after_it_resolved() {
    let mut world = World::new(policy(&["instance"], Noise::default()));
    says(&mut world, 7);
    world.decisions.clear();
    world.sent.clear();
    failed(&mut world, 0..2, None);
    assert_eq!(decided(&mut world), [Disposition::Page; 2]);
    assert_eq!(world.held("quarantine"), 2);
    says(&mut world, 0);
    assert_eq!(decided(&mut world), [Disposition::Suppressed(Reason::Duplicate)]);
    failed(&mut world, 0..1, None);
    assert_eq!(decided(&mut world), [Disposition::Suppressed(Reason::Duplicate)], "it stays quarantined");
    let kinds = |world: &World| world.sent.iter().map(|n| n.kind).collect::<Vec<_>>();
    assert_eq!(kinds(&world), [Kind::Page; 2]);
    let stats = world.engine.query().stats();
    assert_eq!((stats.receivers["pd"].routed, stats.receivers["pd"].pending), (5, 0));
    let now = world.now;
    world.say(Source::Alertmanager, "am", vec![resolved(&numbered(0), START, now)]);
    assert_eq!(decided(&mut world), [Disposition::Resolve]);
    assert_eq!(kinds(&world), [Kind::Page, Kind::Page, Kind::Resolve]);
    assert_eq!(world.held("quarantine"), 1);
    says(&mut world, 0);
    assert_eq!(world.decisions.last().unwrap().cause, Cause::FirstPage);
}

#[test]
fn a_resolve_that_the_engine_failed_at_opens_nothing() {
    let mut world = World::new(policy(&["instance"], Noise::default()));
    failed(&mut world, 0..1, Some(START));
    assert_eq!(decided(&mut world), [Disposition::Suppressed(Reason::NeverPaged)]);
    assert_eq!(world.sent, []);
}

#[test]
fn the_incident_of_a_quarantined_alert_ends_once_no_sender_stated_the_alert_for_long_enough() {
    let mut world = World::new(policy(&["instance"], Noise::default()));
    let after = world.engine.policy().stale_after;
    failed(&mut world, 0..1, None);
    world.advance(Duration::from_hours(6));
    says(&mut world, 0);
    world.advance(Duration::from_hours(11));
    assert!(world.sent.iter().all(|n| n.kind != Kind::Resolve), "a sender stated it 11 hours ago");
    world.advance(Duration::from_hours(1));
    let end = world.sent.last().unwrap();
    assert_eq!((end.kind, &end.cause), (Kind::Resolve, &Cause::Expired { after }));
    assert_eq!(end.at, START + Duration::from_hours(18));
    assert_eq!(world.held("quarantine"), 0);
}

#[test]
fn a_quarantined_heartbeat_pages_nobody() {
    let matchers = parse_matchers("alertname=Poison").unwrap();
    let silent_after = Duration::from_hours(24);
    let dog = Heartbeat { name: "dog".into(), matchers, silent_after, receiver: Some("pd".into()) };
    let mut world = World::new(Policy { heartbeats: vec![dog], ..policy(&["instance"], Noise::default()) });
    world.answers = Answers::Hang;
    failed(&mut world, 0..ROOM + 1, None);
    assert_eq!(world.sent, []);
    assert!(decided(&mut world).iter().all(|one| *one == Disposition::Suppressed(Reason::Muted)));
}

#[test]
fn alerts_beyond_the_room_are_one_page_and_the_others_count_with_it() {
    let mut world = World::new(policy(&["instance"], Noise::default()));
    world.answers = Answers::Hang;
    failed(&mut world, 0..ROOM, None);
    decided(&mut world);
    world.in_flight.clear();
    world.answers = Answers::Accept;
    failed(&mut world, ROOM..ROOM + 3, None);
    let grouped = Disposition::Suppressed(Reason::Grouped);
    assert_eq!(decided(&mut world), [Disposition::Page, grouped, grouped]);
    assert_eq!(world.sent.last().unwrap().kind, Kind::Page, "at most one message in a minute");
    world.advance(Duration::from_mins(2));
    failed(&mut world, ROOM..ROOM + 1, None);
    let update = world.sent.last().unwrap();
    let newest = numbered(ROOM).to_string().into();
    let problem = Problem::QuarantineFull { limit: ROOM, beyond: 4, newest };
    assert_eq!((update.kind, &update.cause), (Kind::Update, &Cause::Problem { problem }));
    let now = world.now;
    failed(&mut world, 0..ROOM, Some(now));
    world.advance(Duration::from_hours(11));
    assert!(world.pager.values().any(|shown| shown.open), "one came 11 hours ago");
    world.advance(Duration::from_hours(1));
    assert!(world.pager.values().all(|shown| !shown.open));
}

#[test]
fn alerts_beyond_the_room_are_counted_on_at_a_receiver_that_has_another_name() {
    let named = |name: &str| {
        let mut policy = policy(&["instance"], Noise::default());
        let mut receiver = policy.receivers.remove("pd").unwrap();
        receiver.integrations[0].endpoint = 7;
        policy.receivers.insert(name.into(), receiver);
        policy.routes[0].receiver = name.into();
        policy
    };
    let mut world = World::new(named("old"));
    failed(&mut world, 0..ROOM + 2, None);
    world.handle(Event::Policy(Box::new(named("new"))));
    world.advance(Duration::from_mins(2));
    failed(&mut world, ROOM..ROOM + 1, None);
    let last = world.sent.last().unwrap();
    assert_eq!((last.kind, &*last.receiver), (Kind::Update, "new"));
    assert!(
        matches!(&last.cause, Cause::Problem { problem: Problem::QuarantineFull { beyond: 3, .. } }),
        "{:?}",
        last.cause
    );
    let now = world.now;
    failed(&mut world, 0..ROOM, Some(now));
    world.advance(Duration::from_hours(13));
    assert!(world.pager.values().all(|shown| !shown.open));
}
