//! Flapping alerts: the ones that fire together page, and a muted one pages after its mute.

use super::muted::silence;
use crate::engine::testing::*;
use crate::model::{Cause, Duration, Kind, LabelSet, Source};
use crate::policy::{FAN_OUT_WITHIN, Flapping, Noise};

/// One group. An alert that fires for long is not paged for that alone.
fn world() -> World {
    let noise = flaps_at(3_000);
    let flapping = Flapping { confirm: Duration::from_hours(3), ..noise.flapping.clone() };
    World::new(policy(&["cluster"], Noise { flapping, ..noise }))
}

fn of(name: &str) -> LabelSet {
    labels(&[("alertname", name), ("cluster", "eu"), ("severity", "warning")])
}

fn fires(world: &mut World, name: &str) {
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![firing(&of(name), now)]);
}

fn resolves(world: &mut World, name: &str) {
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![resolved(&of(name), START, now)]);
}

/// The alerts come and go until they flap. Then they are gone until the page of the group is not recent.
fn flapping(world: &mut World, names: &[&str]) {
    for _ in 0..5 {
        names.iter().for_each(|name| fires(world, name));
        world.advance(Duration::from_secs(20));
        names.iter().for_each(|name| resolves(world, name));
        world.advance(Duration::from_secs(20));
    }
    world.advance(Duration::from_mins(20));
    assert_eq!(world.engine.query().stats().receivers["pd"].flapping, names.len() as u64);
    world.sent.clear();
}

fn pages(world: &World) -> Vec<&Cause> {
    world.sent.iter().filter(|n| n.kind == Kind::Page).map(|n| &n.cause).collect()
}

#[test]
fn flapping_alerts_that_fire_within_a_quarter_of_an_hour_page_together() {
    let together = Cause::FlappingTogether { alerts: 2, within: FAN_OUT_WITHIN };
    for (apart, page) in [(Duration::ZERO, true), (FAN_OUT_WITHIN, true), (Duration::from_secs(901), false)] {
        let mut world = world();
        flapping(&mut world, &["A", "B"]);
        fires(&mut world, "A");
        assert_eq!(pages(&world), [&together; 0], "one flapping alert is held");
        world.advance(apart);
        fires(&mut world, "B");
        assert_eq!(pages(&world), vec![&together; usize::from(page)], "{apart:?} apart");
    }
}

#[test]
fn one_flapping_alert_that_fires_twice_is_not_two() {
    let mut world = world();
    flapping(&mut world, &["A"]);
    for _ in 0..2 {
        fires(&mut world, "A");
        world.advance(Duration::from_mins(3));
        resolves(&mut world, "A");
        world.advance(Duration::from_mins(3));
    }
    assert!(pages(&world).is_empty());
}

#[test]
fn a_flapping_alert_that_ended_or_is_silenced_is_no_company() {
    for silenced in [false, true] {
        let mut world = world();
        flapping(&mut world, &["A", "B"]);
        fires(&mut world, "A");
        world.advance(Duration::from_mins(1));
        match silenced {
            true => silence(&mut world, "alertname=A"),
            false => resolves(&mut world, "A"),
        }
        world.advance(Duration::from_mins(1));
        fires(&mut world, "B");
        assert!(pages(&world).is_empty(), "silenced: {silenced}");
    }
}

#[test]
fn a_key_is_not_used_again_for_a_month_where_a_receiver_gets_no_resolves() {
    for (sends, days, same) in [(true, 2, true), (false, 2, false), (false, 29, false), (false, 31, true)] {
        let mut policy = policy(&["cluster"], Noise::default());
        policy.receivers.get_mut("pd").unwrap().integrations[0].send_resolved = sends;
        policy.receivers.get_mut("pd").unwrap().integrations[0].name = "webhook[0]".into();
        let mut world = World::new(policy);
        let page = |world: &mut World| {
            fires(world, "A");
            world.sent.iter().rfind(|n| n.kind == Kind::Page).unwrap().dedup_key.clone()
        };
        let first = page(&mut world);
        world.advance(Duration::from_mins(1));
        resolves(&mut world, "A");
        world.advance(Duration::from_hours(24 * days + 1));
        assert_eq!(page(&mut world) == first, same, "sends resolves: {sends}, {days} days later");
    }
}
