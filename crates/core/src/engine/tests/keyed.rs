//! Events that name their alert by a key.

use crate::engine::testing::*;
use crate::model::{Duration, Kind, LabelSet, Observation, Source};
use crate::policy::Noise;

const KEY: [(&str, &str); 2] = [("dedup_key", "disk/a"), ("integration", "grafana")];

fn world() -> World {
    World::new(policy(&["alertname"], Noise::default()))
}

fn event(name: &str, severity: &str) -> LabelSet {
    let more = [("alertname", name), ("severity", severity)];
    LabelSet::from_pairs(KEY.into_iter().chain(more))
}

fn trigger(world: &mut World, name: &str, severity: &str) {
    let said = Observation {
        start_unknown: true,
        annotations: labels(&[("summary", name)]),
        ..firing(&event(name, severity), world.now)
    };
    world.say(Source::Pagerduty, "grafana", vec![said]);
}

fn resolve(world: &mut World) {
    let now = world.now;
    let said = Observation { start_unknown: true, ..resolved(&labels(&KEY), now, now) };
    world.say(Source::Pagerduty, "grafana", vec![said]);
}

fn kinds(world: &World) -> Vec<Kind> {
    world.sent.iter().map(|n| n.kind).collect()
}

fn replays(world: &World) {
    let (replayed, trace) = replay(world.events_policy(), &world.events);
    assert_eq!((&replayed, &trace), (&world.engine, &world.trace));
}

#[test]
fn a_resolve_that_states_nothing_but_the_key_resolves() {
    let mut world = world();
    trigger(&mut world, "Disk", "critical");
    assert_eq!(kinds(&world), [Kind::Page]);
    world.advance(Duration::from_mins(10));
    resolve(&mut world);
    world.advance(Duration::from_hours(1));
    assert_eq!(kinds(&world), [Kind::Page, Kind::Resolve]);
    let end = &world.sent[1].alerts[0];
    assert_eq!((end.labels.value("alertname"), end.annotations.value("summary")), ("Disk", "Disk"));
    replays(&world);
}

#[test]
fn another_text_under_the_same_key_is_the_same_alert() {
    let mut world = world();
    trigger(&mut world, "Disk 91 %", "critical");
    world.advance(Duration::from_mins(10));
    trigger(&mut world, "Disk 92 %", "critical");
    world.advance(Duration::from_mins(10));
    assert_eq!(kinds(&world), [Kind::Page]);
    assert_eq!(world.engine.query().alerts_known(), 1);
    resolve(&mut world);
    world.advance(Duration::from_hours(1));
    assert_eq!(kinds(&world).last(), Some(&Kind::Resolve));
    assert_eq!(world.engine.query().stats().firing, 0);
    replays(&world);
}

#[test]
fn a_higher_severity_under_the_same_key_pages_and_leaves_nothing_open() {
    let mut world = world();
    trigger(&mut world, "Disk", "warning");
    world.advance(Duration::from_hours(1));
    assert_eq!(kinds(&world), [Kind::Page]);
    trigger(&mut world, "Disk", "critical");
    world.advance(Duration::from_mins(1));
    let pages = kinds(&world).iter().filter(|kind| **kind == Kind::Page).count();
    assert_eq!(pages, 2, "{:?}", world.sent);
    assert_eq!(world.engine.query().stats().firing, 1, "one alert has the key");
    world.advance(Duration::from_hours(1));
    resolve(&mut world);
    world.advance(Duration::from_hours(2));
    assert_eq!(world.engine.query().stats().firing, 0);
    assert!(world.engine.query().incidents_of_event(Source::Pagerduty, &labels(&KEY)).is_empty());
    replays(&world);
}

#[test]
fn a_key_outlives_the_alert_that_had_it_first() {
    let mut world = world();
    trigger(&mut world, "Disk", "warning");
    world.advance(Duration::from_hours(1));
    trigger(&mut world, "Disk", "critical");
    // The first alert is forgotten, and the second one goes on.
    for _ in 0..60 {
        world.advance(Duration::from_hours(1));
        trigger(&mut world, "Disk", "critical");
    }
    resolve(&mut world);
    world.advance(Duration::from_hours(2));
    assert_eq!(world.engine.query().stats().firing, 0);
    assert_eq!(kinds(&world).last(), Some(&Kind::Resolve));
    replays(&world);
}

#[test]
fn a_resolve_before_the_trigger_takes_the_key_from_no_alert() {
    let mut world = world();
    resolve(&mut world);
    assert!(world.sent.is_empty());
    trigger(&mut world, "Disk", "critical");
    resolve(&mut world);
    world.advance(Duration::from_hours(1));
    assert_eq!(kinds(&world), [Kind::Page, Kind::Resolve]);
    replays(&world);
}
