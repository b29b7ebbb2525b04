//! Alerts that pass through undecided.

use crate::engine::testing::*;
use crate::engine::{Bound, Event};
use crate::model::{Batch, Duration, Kind, LabelSet, Source, Timestamp};
use crate::policy::Noise;

const ROOM: u64 = 1_000;

fn numbered(n: u64) -> LabelSet {
    labels(&[("alertname", "Poison"), ("instance", &n.to_string())])
}

/// The engine failed at one alert.
fn failed(world: &mut World, n: u64, ends_at: Option<Timestamp>) {
    let observation = match ends_at {
        None => firing(&numbered(n), START),
        Some(at) => resolved(&numbered(n), START, at),
    };
    let batch = Batch {
        source: Source::Alertmanager,
        peer: "am".into(),
        observations: vec![observation],
        upstream: None,
    };
    world.handle(Event::Quarantine(batch));
}

#[test]
fn alerts_beyond_the_room_of_quarantine_pass_through_as_one_page() {
    let mut world = World::new(policy(&["instance"], Noise::default()));
    for n in 0..ROOM {
        failed(&mut world, n, None);
    }
    assert_eq!(world.sent.len() as u64, ROOM);
    failed(&mut world, ROOM, None);
    assert_eq!(world.sent.len() as u64, ROOM + 1, "the first further one pages at once");
    let page = world.sent.last().unwrap().clone();
    assert_eq!((page.kind, &*page.receiver), (Kind::Page, "pd"));
    let newest = numbered(ROOM).to_string();
    assert!(brief(&page.cause).contains(&newest), "the page names the alert: {:?}", page.cause);
    let size = world.engine.snapshot().len();
    for n in ROOM + 1..3 * ROOM {
        failed(&mut world, n, None);
    }
    assert_eq!(world.sent.len() as u64, ROOM + 1, "the others add to the same incident");
    assert!(world.engine.snapshot().len() < size + 1_000, "it remembers none of them one by one");
    world.advance(Duration::from_mins(2));
    failed(&mut world, 3 * ROOM, None);
    let update = world.sent.last().unwrap().clone();
    assert_eq!((update.kind, &update.dedup_key), (Kind::Update, &page.dedup_key));
    assert_eq!(world.engine.query().stats().bounds[&Bound::Quarantine], 2 * ROOM + 1);
    // A resolve of one of them says nothing about the others.
    let now = world.now;
    failed(&mut world, 3 * ROOM, Some(now));
    assert!(world.pager[&("pagerduty[0]".into(), page.dedup_key.to_string())].open);
    world.advance(Duration::from_hours(13));
    assert!(
        world.pager.values().all(|shown| !shown.open),
        "it ends when no further one came for stale_after"
    );
    let (replayed, trace) = replay(world.events_policy(), &world.events);
    assert_eq!((replayed, trace), (world.engine.clone(), world.trace.clone()));
}
