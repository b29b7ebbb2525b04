//! A notification that waits while its receiver is down leaves with the present state, or not at all.

use crate::engine::incidents::incident::Side;
use crate::engine::testing::*;
use crate::engine::{Engine, Event};
use crate::model::{
    Cause, Duration, IncidentChange, Kind, LabelSet, Notification, Source, Status, Timestamp,
};
use crate::policy::{IntegrationRef, KnownBy, Mode, Noise, Policy, Receiver};

fn set(name: &str) -> LabelSet {
    labels(&[("alertname", name), ("g", "1"), ("severity", "critical")])
}

fn fire(world: &mut World, name: &str) {
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![firing(&set(name), now)]);
}

fn end(world: &mut World, name: &str, start: Timestamp) {
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![resolved(&set(name), start, now)]);
}

/// A pager that is told of everything, and a chat that is told of pages and ends.
fn pager_and_chat() -> Policy {
    let mut policy = policy(&["g"], Noise::default());
    let chat = IntegrationRef { send_updates: false, ..IntegrationRef::new("slack[0]", KnownBy::Nothing) };
    policy.receivers.get_mut("pd").unwrap().integrations.push(chat);
    policy
}

/// A page of A that has waited since the start.
fn down(policy: Policy) -> World {
    let mut world = World::new(policy);
    world.answers = Answers::Hang;
    fire(&mut world, "A");
    world
}

fn listed(n: &Notification) -> Vec<(&str, Status)> {
    n.alerts.iter().map(|a| (a.labels.value("alertname"), a.status)).collect()
}

fn changes(world: &World) -> Vec<&'static str> {
    let name = |change: &IncidentChange| match change {
        IncidentChange::Opened(_) => "opened",
        IncidentChange::Issued(_) => "issued",
        IncidentChange::Accepted(_) => "accepted",
        IncidentChange::Recalled { .. } => "recalled",
        IncidentChange::Closed { .. } => "closed",
        _ => "other",
    };
    world.history.iter().map(|record| name(&record.change)).collect()
}

fn assert_replays(world: &World) {
    let (replayed, trace) = replay(world.events_policy(), &world.events);
    assert_eq!((&replayed, &trace), (&world.engine, &world.trace));
    assert_eq!(Engine::restore(&world.engine.snapshot()).unwrap(), world.engine);
}

/// How many pages and resolves of the receiver `pd` were decided.
fn counted(world: &World, kind: Kind) -> u64 {
    let notifications = &world.engine.query().stats().receivers["pd"].notifications;
    notifications.iter().filter(|((_, of), _)| *of == kind).map(|(_, n)| n).sum()
}

#[test]
fn nobody_is_woken_by_a_page_whose_alert_ended_while_it_waited() {
    let mut world = down(policy(&["g"], Noise::default()));
    world.advance(Duration::from_mins(9));
    assert!(world.recalls.is_empty(), "it says what is true");
    end(&mut world, "A", START);
    world.advance(Duration::from_mins(60));
    assert_eq!(world.recalls.len(), 1);
    world.give_back(false);
    assert!(world.in_flight.is_empty() && world.pager.is_empty(), "{:?}", world.in_flight);
    assert!(world.engine.pages.incidents.all.is_empty(), "nothing is left");
    assert_eq!(changes(&world), ["opened", "closed", "recalled"]);
    assert_eq!((counted(&world, Kind::Page), counted(&world, Kind::Resolve)), (1, 0));
    fire(&mut world, "A");
    world.answer(true);
    assert!(world.pager.values().all(|shown| shown.open), "the next occurrence pages");
    assert_replays(&world);
}

/// The end of an incident waits for `resolve_hold`, or longer. A page that leaves in this time would say
/// that an alert fires which has resolved.
#[test]
fn a_page_waits_while_its_alerts_have_resolved() {
    let mut world = down(pager_and_chat());
    world.advance(Duration::from_mins(1));
    end(&mut world, "A", START);
    world.advance(Duration::from_secs(30));
    assert_eq!(world.recalls.len(), 2);
    world.give_back(false);
    assert!(world.in_flight.is_empty(), "{:?}", world.in_flight);
    fire(&mut world, "A");
    let pages: Vec<_> = world.in_flight.iter().map(|n| (n.kind, listed(n))).collect();
    assert_eq!(pages, vec![(Kind::Page, vec![("A", Status::Firing)]); 2], "it fires again");
    assert_eq!(counted(&world, Kind::Page), 2, "one at each integration");
    assert_replays(&world);
}

#[test]
fn a_page_that_may_have_been_taken_is_closed() {
    let mut world = down(policy(&["g"], Noise::default()));
    end(&mut world, "A", START);
    world.advance(Duration::from_mins(60));
    world.give_back(true);
    let [resolve] = &world.in_flight[..] else { panic!("{:?}", world.in_flight) };
    let replaces = resolve.replaces.unwrap();
    assert_eq!((resolve.kind, replaces.kind, replaces.attempts), (Kind::Resolve, Kind::Page, 3));
    assert_replays(&world);
}

#[test]
fn a_page_names_the_alerts_that_fire_when_it_leaves() {
    let mut world = down(pager_and_chat());
    world.advance(Duration::from_mins(4));
    fire(&mut world, "B");
    world.advance(Duration::from_mins(5));
    end(&mut world, "A", START);
    world.advance(Duration::from_mins(60));
    assert_eq!(world.recalls.len(), 2, "each is asked back once, after any number of changes");
    world.give_back(false);
    assert_eq!(world.in_flight.len(), 2);
    for n in &world.in_flight {
        assert_eq!(n.kind, Kind::Page);
        assert_eq!(listed(n), [("B", Status::Firing), ("A", Status::Resolved)], "{}", n.integration);
        assert_eq!(n.replaces.unwrap().at, START, "it has waited since then");
        assert_eq!(n.cause, Cause::FirstPage, "it says why Squelch paged, and not that alerts changed");
    }
    assert_eq!(counted(&world, Kind::Page), 2, "one at each integration, and none is counted twice");
    assert!(world.recalls.is_empty(), "the present state is not asked back");
    world.answers = Answers::Accept;
    world.answer(true);
    world.advance(Duration::from_hours(1));
    assert!(world.pager.values().all(|shown| (shown.open, shown.interrupted) == (true, 1)));
    assert_replays(&world);
}

/// The chat has shown the first incident, and accepts neither its end nor the next page.
fn chat_without_an_end() -> World {
    let mut world = World::new(pager_and_chat());
    fire(&mut world, "A");
    world.answer(true);
    world.answers = Answers::Hang;
    end(&mut world, "A", START);
    world.advance(Duration::from_mins(60));
    fire(&mut world, "A");
    world.give_back(false);
    world
}

fn at_chat(world: &World) -> Vec<Kind> {
    world.in_flight.iter().filter(|n| n.integration == "slack[0]").map(|n| n.kind).collect()
}

#[test]
fn a_chat_learns_of_the_end_although_the_page_in_between_was_recalled() {
    let mut world = chat_without_an_end();
    assert_eq!(at_chat(&world), [Kind::Page], "the end would be the wrong last message");
    let start = world.now;
    world.advance(Duration::from_mins(1));
    end(&mut world, "A", start);
    world.advance(Duration::from_mins(60));
    world.give_back(false);
    assert_eq!(at_chat(&world), [Kind::Resolve]);
    assert_replays(&world);
    world.answers = Answers::Accept;
    world.answer(true);
    world.advance(Duration::from_hours(1));
    assert!(world.engine.pages.incidents.all.is_empty(), "nothing is left");
}

#[test]
fn a_chat_that_accepts_the_next_page_needs_no_end_of_the_one_before() {
    let mut world = chat_without_an_end();
    world.answers = Answers::Accept;
    world.answer(true);
    world.advance(Duration::from_mins(1));
    assert_eq!(world.engine.pages.incidents.all.len(), 1, "the first incident is over");
    let chat = world.sent.iter().filter(|n| n.integration == "slack[0]");
    assert_eq!(chat.filter(|n| n.kind == Kind::Page).count(), 2);
    assert_replays(&world);
}

#[test]
fn an_attempt_that_succeeds_after_all_counts_as_ever() {
    let mut world = down(policy(&["g"], Noise::default()));
    end(&mut world, "A", START);
    world.advance(Duration::from_mins(60));
    assert_eq!(world.recalls.len(), 1);
    world.answers = Answers::Accept;
    world.answer(true);
    assert_eq!(world.sent.iter().map(|n| n.kind).collect::<Vec<_>>(), [Kind::Page, Kind::Resolve]);
    assert!(world.pager.values().all(|shown| !shown.open));
}

#[test]
fn a_start_asks_again_for_what_is_stale_and_for_nothing_else() {
    let mut world = down(pager_and_chat());
    world.handle(Event::Started);
    assert!(world.recalls.is_empty(), "the pages say what is true");
    end(&mut world, "A", START);
    world.advance(Duration::from_mins(60));
    assert_eq!(std::mem::take(&mut world.recalls).len(), 2);
    world.engine = Engine::restore(&world.engine.snapshot()).unwrap();
    world.handle(Event::Started);
    assert_eq!(world.recalls.len(), 2, "delivery has forgotten it");
    world.give_back(true);
    assert!(world.in_flight.iter().all(|n| n.kind == Kind::Resolve));
    assert_replays(&world);
}

#[test]
fn the_fallback_and_the_alarm_count_from_the_page_and_not_from_its_recalls() {
    let mut policy = pager_and_chat();
    policy.self_check.enabled = true;
    let second = Receiver::new(vec![IntegrationRef::new("pagerduty[1]", KnownBy::DedupKey)]);
    policy.receivers.insert("second".into(), second);
    let first = policy.receivers.get_mut("pd").unwrap();
    (first.fallback, first.fallback_after) = (Some("second".into()), Duration::from_mins(10));
    let late = policy.self_check.undelivered_after;
    assert!(!late.is_zero());
    let mut world = down(policy);
    // The content changes each minute, and each time the page comes back.
    let alarm = |world: &World| world.sent.iter().any(|n| listed(n)[0].0 == "SquelchPagesUndelivered");
    let fell_back = |world: &World| world.sent.iter().any(|n| n.receiver == "second");
    for minute in 1..10 {
        world.advance(Duration::from_mins(1));
        fire(&mut world, &format!("B{minute}"));
        world.advance(Duration::from_secs(15));
        assert!(!fell_back(&world) || world.now >= START + Duration::from_mins(10), "too early");
        assert!(!alarm(&world) || world.now >= START + late, "too early");
        world.give_back(false);
    }
    assert!(world.sent.iter().filter(|n| n.replaces.is_some()).count() > 4, "it came back again and again");
    let end = START + Duration::from_mins(11).max(late);
    world.advance((end + Duration::from_mins(2)).since(world.now));
    assert!(fell_back(&world) && alarm(&world), "{:?}", world.now);
    assert_replays(&world);
}

#[test]
fn an_escalation_counts_from_the_page() {
    let mut policy = policy(&["g"], Noise::default());
    let lead = IntegrationRef::new("pagerduty[1]", KnownBy::DedupKey);
    policy.receivers.insert("lead".into(), Receiver::new(vec![lead]));
    let level = &mut policy.severities.levels[0];
    (level.respond_within, level.escalate_to) = (Some(Duration::from_mins(10)), Some("lead".into()));
    let mut world = down(policy);
    world.advance(Duration::from_mins(5));
    fire(&mut world, "B");
    world.advance(Duration::from_mins(1));
    world.give_back(false);
    world.advance(Duration::from_secs(239));
    assert!(!world.sent.iter().any(|n| n.receiver == "lead"));
    world.advance(Duration::from_secs(1));
    assert!(world.sent.iter().any(|n| n.receiver == "lead"));
}

#[test]
fn a_notification_that_observe_mode_passes_on_leaves_with_the_present_state_too() {
    let mut world = down(policy(&["g"], Noise { mode: Mode::Observe, ..Noise::default() }));
    assert_eq!(world.in_flight.len(), 1);
    end(&mut world, "A", START);
    world.advance(Duration::from_mins(5));
    world.give_back(false);
    assert!(world.in_flight.is_empty() && world.pager.is_empty());
    assert!(!world.engine.pages.incidents.all.values().any(|i| i.side == Side::Forwarded));
    assert_replays(&world);
}

#[test]
fn a_page_that_waits_goes_on_at_an_integration_that_leaves_the_configuration() {
    let mut world = down(policy(&["g"], Noise::default()));
    world.advance(Duration::from_mins(1));
    fire(&mut world, "B");
    world.advance(Duration::from_mins(1));
    assert_eq!(world.recalls.len(), 1);
    let mut gone = policy(&["g"], Noise::default());
    gone.receivers.get_mut("pd").unwrap().integrations.clear();
    world.handle(Event::Policy(Box::new(gone)));
    world.give_back(false);
    let [page] = &world.in_flight[..] else { panic!("{:?}", world.in_flight) };
    assert_eq!((page.kind, page.integration.as_str()), (Kind::Page, "pagerduty[0]"));
    world.advance(Duration::from_mins(1));
    fire(&mut world, "C");
    world.advance(Duration::from_mins(1));
    assert!(world.recalls.is_empty(), "no later page would take its place");
}

#[test]
fn a_late_update_that_called_an_alert_resolved_is_corrected_once_the_alert_goes_on() {
    let mut world = World::new(policy(&["g"], Noise::default()));
    fire(&mut world, "A");
    world.answers = Answers::Hang;
    world.advance(Duration::from_mins(1));
    fire(&mut world, "B");
    let start = world.now;
    world.advance(Duration::from_mins(1));
    end(&mut world, "A", START);
    end(&mut world, "B", start);
    world.advance(Duration::from_secs(30));
    let again = world.now;
    fire(&mut world, "A");
    end(&mut world, "A", again);
    world.give_back(false);
    let update = world.in_flight.iter().flat_map(listed).map(|(_, status)| status);
    assert_eq!(update.collect::<Vec<_>>(), [Status::Resolved; 2], "it shows the present state");
    // The sender takes the end back. The alert goes on as the newest version of the incident says.
    for _ in 0..6 {
        world.advance(Duration::from_secs(15));
        world.say(Source::Alertmanager, "a", vec![firing(&set("A"), again)]);
    }
    world.answers = Answers::Accept;
    world.answer(true);
    world.advance(Duration::from_mins(1));
    let newest = world.sent.last().unwrap();
    assert!(listed(newest).contains(&("A", Status::Firing)), "{:?}", listed(newest));
    assert_replays(&world);
}
