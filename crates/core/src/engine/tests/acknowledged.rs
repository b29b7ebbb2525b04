//! A person took an incident on: it is not repeated, and everything else goes on.

use crate::engine::testing::*;
use crate::engine::{Acknowledge, Engine, Event};
use crate::model::{Cause, Duration, IncidentChange, Kind, Source};
use crate::policy::{IntegrationRef, KnownBy, Limit, Noise, Policy, Storm};

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
    world.handle(Event::Acknowledge(Acknowledge { dedup_key, receivers, by: by.map(Into::into), via: None }));
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

/// A person acknowledged the incident of a storm. Further warnings are updates of it. A critical alert pages.
#[test]
fn a_critical_alert_pages_in_a_storm_that_a_person_took_on() {
    let limit = Limit { pages: 0, ..Noise::default().limit };
    let storm = Storm { start: 3, ..Noise::default().storm };
    let mut world = World::new(policy(&["alertname"], Noise { limit, storm, ..Noise::default() }));
    let fire = |world: &mut World, name: &str, severity: &str| {
        let set = labels(&[("alertname", name), ("severity", severity)]);
        let now = world.now;
        world.say(Source::Alertmanager, "a", vec![firing(&set, now)]);
        world.advance(Duration::from_secs(70));
    };
    for name in ["A", "B", "C", "D", "Critical"] {
        fire(&mut world, name, if name == "Critical" { "critical" } else { "warning" });
    }
    let pages = |world: &World| world.sent.iter().filter(|n| n.kind == Kind::Page).count();
    assert_eq!(pages(&world), 5, "the fourth is the storm's, and the fifth is of the critical alert");
    for sent in world.sent.iter().map(|n| n.dedup_key.clone()).collect::<Vec<_>>() {
        let (receivers, by) = (vec!["pd".into()], Some("ada".into()));
        world.handle(Event::Acknowledge(Acknowledge { dedup_key: sent, receivers, by, via: None }));
    }
    for (name, severity, expected) in [("E", "warning", 5), ("F", "critical", 6), ("G", "critical", 7)] {
        fire(&mut world, name, severity);
        assert_eq!(pages(&world), expected, "{name}");
    }
}

/// PagerDuty and Opsgenie, which take acknowledgements, and Slack, which does not.
fn pagers() -> Policy {
    let mut policy = policy(&["alertname"], Noise::default());
    let pager = |name: &str| IntegrationRef {
        takes_acknowledgements: true,
        ..IntegrationRef::new(name, KnownBy::DedupKey)
    };
    let slack = IntegrationRef::new("slack[0]", KnownBy::Nothing);
    let integrations = vec![pager("pagerduty[0]"), pager("opsgenie[0]"), slack];
    policy.receivers.get_mut("pd").unwrap().integrations = integrations;
    policy
}

fn paged_at(answers: Answers) -> World {
    let mut world = World::new(pagers());
    world.answers = answers;
    let set = labels(&[("alertname", "A"), ("severity", "critical")]);
    world.say(Source::Alertmanager, "a", vec![firing(&set, START)]);
    world
}

/// A person says so here, or in a tool.
fn said(world: &mut World, by: Option<&str>, via: Option<&str>) {
    let dedup_key = world.sent[0].dedup_key.clone();
    let (by, via) = (by.map(Into::into), via.map(Into::into));
    world.handle(Event::Acknowledge(Acknowledge { dedup_key, receivers: vec!["pd".into()], by, via }));
}

/// The integrations that were told of an acknowledgement, in order, and by whom it was.
fn told(world: &World) -> Vec<(String, String)> {
    let all = world.sent.iter().filter(|n| n.kind == Kind::Acknowledge);
    let by = |cause: &Cause| match cause {
        Cause::Acknowledged { by } => by.to_string(),
        other => format!("{other:?}"),
    };
    all.map(|n| (n.integration.to_string(), by(&n.cause))).collect()
}

fn both(by: &str) -> Vec<(String, String)> {
    vec![("pagerduty[0]".into(), by.into()), ("opsgenie[0]".into(), by.into())]
}

fn assert_replays(world: &World) {
    let (replayed, trace) = replay(world.events_policy(), &world.events);
    assert_eq!((&replayed, &trace), (&world.engine, &world.trace));
    assert_eq!(Engine::restore(&world.engine.snapshot()).unwrap(), world.engine);
}

#[test]
fn the_pagers_that_take_it_are_told_of_each_acknowledgement() {
    let mut world = paged_at(Answers::Accept);
    said(&mut world, Some("ada"), None);
    assert_eq!(told(&world), both("ada"));
    said(&mut world, Some("grace"), None);
    assert_eq!(told(&world), both("ada"), "it is acknowledged there");
    said(&mut world, None, None);
    assert_eq!(told(&world), both("ada"), "no pager has a call that takes it back");
    said(&mut world, Some("grace"), None);
    assert_eq!(told(&world)[2..], both("grace"));
    assert_replays(&world);
}

#[test]
fn a_tool_is_not_told_of_its_own_acknowledgement_and_its_echo_changes_nothing() {
    let mut world = paged_at(Answers::Accept);
    said(&mut world, Some("ada"), Some("pagerduty"));
    assert_eq!(told(&world), both("ada")[1..]);
    // Opsgenie says that its API acknowledged the alert.
    said(&mut world, Some("api"), Some("opsgenie"));
    assert_eq!(told(&world).len(), 1);
    let incident = world.engine.pages.incidents.all.values().next().unwrap();
    let by = incident.acknowledged.as_ref().map(|(by, _)| by.as_str());
    assert_eq!(by, Some("ada"));
    said(&mut world, None, Some("opsgenie"));
    said(&mut world, Some("grace"), Some("opsgenie"));
    assert_eq!(told(&world)[1..], [("pagerduty[0]".to_owned(), "grace".to_owned())]);
    let acknowledged =
        world.history.iter().filter(|r| matches!(r.change, IncidentChange::Acknowledged { .. }));
    assert_eq!(acknowledged.count(), 3, "the echo is not recorded");
    assert_replays(&world);
}

/// Two services of PagerDuty at one receiver, with one webhook secret or two: the message names the receiver.
#[test]
fn an_acknowledgement_in_one_of_two_services_reaches_the_other() {
    let mut policy = pagers();
    let second = IntegrationRef {
        takes_acknowledgements: true,
        ..IntegrationRef::new("pagerduty[1]", KnownBy::DedupKey)
    };
    policy.receivers.get_mut("pd").unwrap().integrations[1] = second;
    let mut world = World::new(policy);
    let set = labels(&[("alertname", "A"), ("severity", "critical")]);
    world.say(Source::Alertmanager, "a", vec![firing(&set, START)]);
    said(&mut world, Some("ada"), Some("pagerduty"));
    let services = ["pagerduty[0]", "pagerduty[1]"].map(|name| (name.to_owned(), "ada".to_owned()));
    assert_eq!(told(&world), services);
    // The other service says that its API acknowledged the incident.
    said(&mut world, Some("api"), Some("pagerduty"));
    assert_eq!(told(&world), services, "an echo changes nothing");
    let incident = world.engine.pages.incidents.all.values().next().unwrap();
    assert_eq!(incident.acknowledged.as_ref().map(|(by, _)| by.as_str()), Some("ada"));
    assert_replays(&world);
}

#[test]
fn an_acknowledgement_waits_for_its_page_and_never_follows_its_resolve() {
    let mut world = paged_at(Answers::Hang);
    said(&mut world, Some("ada"), None);
    assert_eq!(told(&world), [], "no page is accepted yet");
    world.answer(true);
    assert_eq!(told(&world), both("ada"));
    world.answer(true);

    let mut world = paged_at(Answers::Hang);
    said(&mut world, Some("ada"), None);
    let set = labels(&[("alertname", "A"), ("severity", "critical")]);
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![resolved(&set, START, now)]);
    world.advance(Duration::from_hours(1));
    world.answers = Answers::Accept;
    world.answer(true);
    world.advance(Duration::from_hours(1));
    assert_eq!(told(&world), [], "all resolved before the page was accepted");
    assert_eq!(world.sent.iter().filter(|n| n.kind == Kind::Resolve).count(), 3);
    assert_replays(&world);
}

#[test]
fn a_pager_that_refused_the_page_is_told_of_the_acknowledgement_once_it_takes_the_page() {
    let mut world = World::new(pagers());
    world.unreachable = vec!["opsgenie[0]"];
    let set = labels(&[("alertname", "A"), ("severity", "critical")]);
    world.say(Source::Alertmanager, "a", vec![firing(&set, START)]);
    said(&mut world, Some("ada"), None);
    assert_eq!(told(&world), both("ada")[..1]);
    world.unreachable.clear();
    world.advance(Duration::from_mins(10));
    assert_eq!(told(&world), both("ada"));
    assert_replays(&world);
}
