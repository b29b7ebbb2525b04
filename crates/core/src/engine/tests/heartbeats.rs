//! Heartbeats: each sender counts by itself, silence pages, and the incident ends with its reason.

use crate::engine::testing::*;
use crate::engine::{Bound, Event};
use crate::model::{Cause, Duration, Kind, LabelSet, Problem, Source, Timestamp, parse_matchers};
use crate::policy::{Heartbeat, Noise, Policy};

const SILENT_AFTER: Duration = Duration::from_mins(10);

fn watched() -> Policy {
    let matchers = parse_matchers("alertname=Watchdog").unwrap();
    let dog =
        Heartbeat { name: "dog".into(), matchers, silent_after: SILENT_AFTER, receiver: Some("pd".into()) };
    Policy { heartbeats: vec![dog], ..policy(&["alertname"], Noise::default()) }
}

fn watchdog(cluster: &str) -> LabelSet {
    labels(&[("alertname", "Watchdog"), ("cluster", cluster), ("severity", "info")])
}

fn beat(world: &mut World, cluster: &str) {
    world.say(Source::Alertmanager, "a", vec![firing(&watchdog(cluster), START)]);
}

fn last(world: &World) -> Option<Timestamp> {
    world.engine.query().stats().heartbeats["dog"]
}

/// The minutes at which a notification left, its kind and its cause.
fn told(world: &mut World) -> Vec<(u64, Kind, Cause)> {
    let sent = std::mem::take(&mut world.sent).into_iter();
    sent.map(|n| (n.at.since(START).as_millis() / 60_000, n.kind, n.cause)).collect()
}

fn silent(cluster: &str) -> Cause {
    let labels = watchdog(cluster).to_string().into();
    let problem = Problem::HeartbeatSilent {
        name: "dog".into(),
        source: "alertmanager".into(),
        after: SILENT_AFTER,
        labels,
    };
    Cause::Problem { problem }
}

fn never_heard() -> Cause {
    Cause::Problem { problem: Problem::HeartbeatNeverHeard { name: "dog".into(), after: SILENT_AFTER } }
}

#[test]
fn each_sender_of_a_heartbeat_pages_by_itself_and_the_longest_silence_is_shown() {
    let mut world = World::new(watched());
    world.handle(Event::Tick);
    assert_eq!(last(&world), None, "no heartbeat came yet");
    beat(&mut world, "eu");
    world.advance(Duration::from_mins(6));
    beat(&mut world, "us");
    assert_eq!(last(&world), Some(START));
    world.advance(Duration::from_mins(11));
    assert_eq!(told(&mut world), [(10, Kind::Page, silent("eu")), (16, Kind::Page, silent("us"))]);
    beat(&mut world, "eu");
    assert_eq!(told(&mut world), [(17, Kind::Resolve, Cause::HeartbeatHeard)]);
    assert_eq!(last(&world), Some(START + Duration::from_mins(6)));
    world.advance(Duration::from_mins(9));
    assert_eq!(told(&mut world), [], "one page for one silence");
}

#[test]
fn a_heartbeat_that_never_comes_pages_once_and_a_reload_without_it_closes_the_incident() {
    let mut world = World::new(watched());
    world.handle(Event::Tick);
    world.advance(Duration::from_hours(1));
    assert_eq!(told(&mut world), [(10, Kind::Page, never_heard())]);
    world.handle(Event::Policy(Box::new(watched())));
    assert_eq!(told(&mut world), [], "a reload that keeps it changes nothing");
    let without = Policy { heartbeats: Vec::new(), ..watched() };
    world.handle(Event::Policy(Box::new(without)));
    assert_eq!(told(&mut world), [(60, Kind::Resolve, Cause::HeartbeatRemoved)]);
    assert!(world.engine.query().stats().heartbeats.is_empty());
}

#[test]
fn a_sender_that_is_gone_for_a_week_is_forgotten_and_the_heartbeat_counts_as_never_heard() {
    let (mut world, week) = (World::new(watched()), Duration::from_hours(24 * 7));
    let minutes = week.as_millis() / 60_000;
    beat(&mut world, "eu");
    world.advance(Duration::from_mins(minutes - 1));
    told(&mut world);
    assert_eq!(last(&world), Some(START));
    world.advance(Duration::from_mins(1));
    assert_eq!(last(&world), None);
    assert_eq!(told(&mut world), [(minutes, Kind::Resolve, Cause::HeartbeatGone { after: week })]);
    world.advance(Duration::from_mins(11));
    assert_eq!(told(&mut world), [(minutes + 10, Kind::Page, never_heard())]);
}

#[test]
fn a_silence_that_a_sender_ends_within_a_week_does_not_forget_the_sender() {
    let mut world = World::new(watched());
    beat(&mut world, "eu");
    world.advance(Duration::from_hours(24 * 6));
    beat(&mut world, "eu");
    told(&mut world);
    world.advance(Duration::from_hours(24 * 6));
    let pages = told(&mut world).into_iter().filter(|(_, kind, _)| *kind == Kind::Page);
    let minute = 24 * 60 * 6 + 10;
    assert_eq!(pages.collect::<Vec<_>>(), [(minute, Kind::Page, silent("eu"))]);
}

#[test]
fn an_alert_that_a_reload_makes_a_heartbeat_closes_its_incident() {
    let mut world = World::new(Policy { heartbeats: Vec::new(), ..watched() });
    beat(&mut world, "eu");
    let other = labels(&[("alertname", "Disk"), ("severity", "info")]);
    world.say(Source::Alertmanager, "a", vec![firing(&other, START)]);
    assert_eq!(world.pager.values().filter(|shown| shown.open).count(), 2);
    world.handle(Event::Policy(Box::new(watched())));
    world.advance(Duration::from_mins(5));
    assert_eq!(world.pager.values().filter(|shown| shown.open).count(), 1, "that of the other alert stays");
}

#[test]
fn squelch_keeps_a_hundred_senders_of_a_heartbeat_apart_and_counts_the_others() {
    let mut world = World::new(watched());
    for n in 0..100 {
        beat(&mut world, &n.to_string());
    }
    let beyond =
        |world: &World| world.engine.query().stats().bounds.get(&Bound::Heartbeats).copied().unwrap_or(0);
    assert_eq!(beyond(&world), 0);
    beat(&mut world, "100");
    assert_eq!(beyond(&world), 1);
    world.advance(Duration::from_mins(1));
    beat(&mut world, "0");
    assert_eq!(beyond(&world), 1, "a known sender is still heard");
    world.advance(Duration::from_mins(9));
    let pages = told(&mut world);
    assert_eq!(pages.len(), 99, "every kept sender but the last one is silent");
    assert!(!pages.iter().any(|(.., cause)| *cause == silent("100")));
}

#[test]
fn a_heartbeat_without_a_receiver_pages_the_one_that_the_self_check_pages() {
    let mut policy = watched();
    policy.heartbeats[0].receiver = None;
    let mut world = World::new(policy.clone());
    beat(&mut world, "eu");
    world.advance(SILENT_AFTER);
    assert_eq!(told(&mut world), [], "the self-check is disabled");
    policy.self_check.enabled = true;
    let mut world = World::new(policy);
    beat(&mut world, "eu");
    world.advance(SILENT_AFTER);
    assert_eq!(told(&mut world), [(10, Kind::Page, silent("eu"))]);
}

#[test]
fn the_first_start_after_a_heartbeat_gives_the_time_in_which_squelch_was_down() {
    let mut world = World::new(watched());
    beat(&mut world, "eu");
    let starts = |world: &mut World, minutes: u64| {
        world.now = START + Duration::from_mins(minutes);
        world.handle(Event::Started);
    };
    starts(&mut world, 9);
    starts(&mut world, 12);
    world.advance(Duration::from_mins(8));
    assert_eq!(told(&mut world), [(19, Kind::Page, silent("eu"))]);
}

#[test]
fn a_start_before_the_first_heartbeat_gives_the_time_in_which_squelch_was_down_too() {
    let mut world = World::new(watched());
    world.now = START + Duration::from_mins(1);
    world.handle(Event::Tick);
    world.now = START + Duration::from_mins(6);
    world.handle(Event::Started);
    world.advance(Duration::from_hours(1));
    assert_eq!(told(&mut world), [(16, Kind::Page, never_heard())]);
}

#[test]
fn a_heartbeat_for_which_there_is_no_room_is_heard_and_its_resolve_is_not() {
    for (resolves, pages) in [(false, 0), (true, 1)] {
        let mut policy = watched();
        policy.limits.alerts = 1;
        let mut world = World::new(policy);
        let known = labels(&[("alertname", "Disk"), ("severity", "info")]);
        world.say(Source::Alertmanager, "a", vec![firing(&known, START)]);
        beat(&mut world, "eu");
        for _ in 0..5 {
            world.advance(Duration::from_mins(5));
            let now = world.now;
            match resolves {
                true => world.say(Source::Alertmanager, "a", vec![resolved(&watchdog("eu"), START, now)]),
                false => beat(&mut world, "eu"),
            }
        }
        let silent = told(&mut world).into_iter().filter(|(.., cause)| {
            matches!(cause, Cause::Problem { problem: Problem::HeartbeatSilent { .. } })
        });
        assert_eq!(silent.count(), pages, "resolves: {resolves}");
    }
}
