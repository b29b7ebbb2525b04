//! Alerts that pass through undecided.

use crate::engine::testing::*;
use crate::engine::{Bound, Event};
use crate::model::{Batch, Cause, Duration, Kind, LabelSet, Problem, Source, Timestamp};
use crate::policy::Noise;

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
    let batch = Batch { source: Source::Alertmanager, peer: "am".into(), observations, upstream: None };
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
