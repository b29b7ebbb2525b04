//! A person took an incident on: it is not repeated, and everything else goes on.

use crate::engine::testing::*;
use crate::engine::{Acknowledge, Event};
use crate::model::{Duration, Kind, Source};
use crate::policy::Noise;

fn paged() -> World {
    let mut world = World::new(policy(&["alertname"], Noise::default()));
    let set = labels(&[("alertname", "A"), ("severity", "critical")]);
    world.say(Source::Alertmanager, "a", vec![firing(&set, START)]);
    assert_eq!(world.sent.len(), 1);
    world
}

fn acknowledge(world: &mut World, receiver: &str, by: Option<&str>) {
    let dedup_key = world.sent[0].dedup_key.clone();
    let receivers = vec![receiver.into()];
    world.handle(Event::Acknowledge(Acknowledge { dedup_key, receivers, by: by.map(Into::into) }));
}

#[test]
fn an_incident_that_a_person_took_on_is_not_repeated() {
    let mut world = paged();
    acknowledge(&mut world, "pd", Some("ada"));
    world.advance(Duration::from_hours(5));
    assert_eq!(world.sent.len(), 1, "{:?}", world.sent);
    acknowledge(&mut world, "pd", None);
    world.advance(Duration::from_hours(4));
    assert_eq!(world.sent.last().map(|n| n.kind), Some(Kind::Update), "given back, it is repeated");
    let (replayed, trace) = replay(world.events_policy(), &world.events);
    assert_eq!((&replayed, &trace), (&world.engine, &world.trace));
}

#[test]
fn the_incident_of_another_receiver_is_repeated() {
    let mut world = paged();
    acknowledge(&mut world, "elsewhere", Some("ada"));
    world.advance(Duration::from_hours(5));
    assert_eq!(world.sent.len(), 2, "{:?}", world.sent);
}

#[test]
fn an_incident_that_a_person_took_on_resolves_and_a_worse_one_pages() {
    let mut world = paged();
    acknowledge(&mut world, "pd", Some("ada"));
    let set = labels(&[("alertname", "A"), ("severity", "critical")]);
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![resolved(&set, START, now)]);
    world.advance(Duration::from_hours(1));
    assert_eq!(world.sent.last().map(|n| n.kind), Some(Kind::Resolve));
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![firing(&set, now)]);
    assert_eq!(world.sent.last().map(|n| n.kind), Some(Kind::Page), "the next incident is a new one");
}
