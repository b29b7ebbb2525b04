//! Flapping alerts: the ones that fire together page, and a muted one pages after its mute.

use super::muted::silence;
use crate::engine::Event;
use crate::engine::testing::*;
use crate::model::{Cause, Duration, Kind, LabelSet, Source, Status, parse_matchers};
use crate::policy::{FAN_OUT_WITHIN, Flapping, InhibitRule, IntegrationRef, KnownBy, Noise, Receiver};

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
        let mut named = world.sent.iter().filter(|n| n.kind == Kind::Page).flat_map(|n| &n.alerts);
        assert!(named.all(|alert| alert.flaps.is_some()), "the page says of each that it flaps");
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

#[test]
fn a_flapping_alert_that_goes_on_while_it_is_muted_pages_once_no_mute_covers_it() {
    for (inhibited, silenced, later) in [(false, false, 0), (true, false, 15), (true, true, 3_605)] {
        let noise = flaps_at(3_000);
        let confirm = Flapping { confirm: Duration::from_mins(30), ..noise.flapping.clone() };
        let mut policy = policy(&["cluster"], Noise { flapping: confirm, ..noise });
        let matchers = |name: &str| parse_matchers(&format!("alertname={name}")).unwrap();
        let (source_matchers, target_matchers) = (matchers("Source"), matchers("A"));
        let rule = InhibitRule { name: "r".into(), source_matchers, target_matchers, equal: Vec::new() };
        policy.inhibit_rules.push(rule);
        let mut world = World::new(policy);
        flapping(&mut world, &["A"]);
        fires(&mut world, "A");
        match inhibited {
            true => fires(&mut world, "Source"),
            false => silence(&mut world, "alertname=A"),
        }
        world.advance(Duration::from_hours(1));
        let end = world.now;
        if inhibited {
            assert!(pages(&world).len() <= 1, "the source alone");
            resolves(&mut world, "Source");
        }
        world.advance(Duration::from_secs(5));
        if silenced {
            silence(&mut world, "alertname=A");
        }
        world.advance(Duration::from_secs(if silenced { 3_600 } else { 60 }));
        let last = world.sent.iter().rfind(|n| n.kind == Kind::Page).unwrap();
        assert!(matches!(&last.cause, Cause::StillFiring { alertname, .. } if alertname == "A"), "{last:?}");
        assert_eq!(last.at, end + Duration::from_secs(later), "inhibited: {inhibited}");
    }
}

#[test]
fn a_page_takes_in_the_alerts_of_its_group_that_flap_and_fire_unless_they_are_silenced() {
    for (silenced, named) in [(false, "A B"), (true, "B")] {
        let mut world = world();
        flapping(&mut world, &["A", "Gone"]);
        fires(&mut world, "A");
        world.advance(Duration::from_mins(1));
        if silenced {
            silence(&mut world, "alertname=A");
        }
        world.sent.clear();
        fires(&mut world, "B");
        let page = world.sent.iter().find(|n| n.kind == Kind::Page).unwrap();
        let names: Vec<_> = page.alerts.iter().map(|a| a.labels.value("alertname")).collect();
        assert_eq!(names.join(" "), named, "silenced: {silenced}");
        assert!(page.alerts.iter().all(|a| a.flaps.is_some() == (a.labels.value("alertname") == "A")));
    }
}

#[test]
fn an_alert_that_flaps_at_a_receiver_which_a_reload_leaves_out_does_not_count_as_flapping_there() {
    let policy = |receiver: &str| {
        let mut policy = policy(&["cluster"], flaps_at(3_000));
        let ops = IntegrationRef::new("webhook[0]", KnownBy::DedupKey);
        policy.receivers.insert("ops".into(), Receiver::new(vec![ops]));
        policy.routes[0].receiver = receiver.into();
        policy
    };
    let mut world = World::new(policy("pd"));
    flapping(&mut world, &["A"]);
    world.handle(Event::Policy(Box::new(policy("ops"))));
    fires(&mut world, "A");
    let stats = world.engine.query().stats();
    assert_eq!(stats.receivers["pd"].flapping, 0);
    assert_eq!(world.sent.iter().map(|n| (&*n.receiver, n.kind)).next_back(), Some(("ops", Kind::Page)));
}

#[test]
fn a_flapping_alert_that_lasts_pages_again_only_if_its_page_is_not_recent() {
    for (merge_window, pages_again) in [(Duration::from_hours(1), false), (Duration::from_mins(5), true)] {
        let noise = Noise { merge_window, ..flaps_at(3_000) };
        let flapping = Flapping { confirm: Duration::from_mins(10), ..noise.flapping.clone() };
        let mut world = World::new(policy(&["cluster"], Noise { flapping, ..noise }));
        for _ in 0..5 {
            fires(&mut world, "A");
            world.advance(Duration::from_secs(10));
            resolves(&mut world, "A");
            world.advance(Duration::from_secs(10));
        }
        fires(&mut world, "A");
        world.advance(Duration::from_mins(15));
        assert_eq!(pages(&world).len(), 1 + usize::from(pages_again), "{merge_window:?}");
    }
}

#[test]
fn a_chat_without_updates_learns_the_end_of_an_alert_that_went_on_in_an_open_incident() {
    let noise = Noise { merge_window: Duration::from_mins(1), ..flaps_at(3_000) };
    let mut policy = policy(&["cluster"], noise);
    let chat = IntegrationRef { send_updates: false, ..IntegrationRef::new("slack[0]", KnownBy::Nothing) };
    policy.receivers.get_mut("pd").unwrap().integrations.push(chat);
    let mut world = World::new(policy);
    for _ in 0..5 {
        fires(&mut world, "A");
        world.advance(Duration::from_secs(20));
        resolves(&mut world, "A");
        world.advance(Duration::from_secs(20));
    }
    fires(&mut world, "B");
    fires(&mut world, "A");
    world.advance(Duration::from_mins(5));
    assert_eq!(world.engine.pages.incidents.all.len(), 2, "the older one still ends at the chat");
    resolves(&mut world, "A");
    world.advance(Duration::from_hours(1));
    let newest = world.sent.iter().rev().filter(|n| n.integration == "slack[0]");
    let of_a = newest.flat_map(|n| &n.alerts).find(|alert| alert.labels.value("alertname") == "A");
    assert_eq!(of_a.map(|alert| alert.status), Some(Status::Resolved));
}
