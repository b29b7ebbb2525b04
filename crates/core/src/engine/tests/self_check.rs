//! The self-check: alarms that open, change and end, and the data of each.

use super::muted::silence;
use crate::engine::testing::*;
use crate::engine::{Alarm, Event, PeriodReport};
use crate::model::{
    Cause, ClockError, Duration, Kind, LabelSet, NameCount, Notification, Observation, Problem, Source,
    Status, parse_matchers,
};
use crate::policy::{
    InhibitRule, IntegrationRef, KnownBy, Level, Limits, Noise, Policy, Receiver, SelfCheckSettings,
};

fn minutes(count: u64) -> Duration {
    Duration::from_mins(count)
}

/// Problems of Squelch go to `ops`.
fn watched() -> Policy {
    let mut policy = policy(&["alertname"], Noise::default());
    policy.self_check = SelfCheckSettings { receiver: Some("ops".into()), ..SelfCheckSettings::default() };
    for (name, kind) in [("ops", "webhook[0]"), ("lead", "webhook[1]")] {
        let one = IntegrationRef::new(kind, KnownBy::DedupKey);
        policy.receivers.insert(name.into(), Receiver::new(vec![one]));
    }
    policy
}

fn of(name: &str) -> LabelSet {
    labels(&[("alertname", name), ("severity", "critical")])
}

/// The notifications of a receiver, each with its minute.
fn at<'a>(world: &'a World, receiver: &'a str) -> Vec<(u64, Kind, &'a Cause)> {
    let minute = |n: &Notification| n.at.since(START).as_millis() / 60_000;
    let there = world.sent.iter().filter(|n| n.receiver == receiver);
    there.map(|n| (minute(n), n.kind, &n.cause)).collect()
}

fn alarm(world: &mut World, lasts: Duration) -> Cause {
    let problem = Problem::InputRefused { lasted: minutes(1) };
    world.handle(Event::Alarm(Alarm { problem: problem.clone(), lasts }));
    Cause::Problem { problem }
}

#[test]
fn an_alarm_is_over_once_its_time_has_passed_without_another_one() {
    let mut world = World::new(watched());
    let refused = alarm(&mut world, Duration::from_mins(10));
    world.advance(Duration::from_mins(6));
    alarm(&mut world, Duration::from_mins(10));
    world.advance(Duration::from_mins(30));
    assert_eq!(at(&world, "ops"), [(0, Kind::Page, &refused), (16, Kind::Resolve, &Cause::ProblemOver)]);
    let shown: Vec<_> = world.sent.iter().map(|n| (n.alerts[0].status, n.alerts[0].ends_at)).collect();
    assert_eq!(shown, [(Status::Firing, None), (Status::Resolved, Some(START + minutes(16)))]);
    assert_eq!(world.engine.next_deadline().map(|(_, why)| why), Some(crate::engine::Why::Forget));
}

#[test]
fn an_alarm_goes_to_the_receiver_that_watches_since_a_reload() {
    let mut world = World::new(watched());
    let refused = alarm(&mut world, Duration::from_mins(10));
    alarm(&mut world, Duration::from_mins(10));
    assert_eq!(at(&world, "ops"), [(0, Kind::Page, &refused)], "the same receiver watches");
    let mut policy = watched();
    policy.self_check.receiver = Some("lead".into());
    world.handle(Event::Policy(Box::new(policy)));
    world.advance(minutes(1));
    alarm(&mut world, Duration::from_mins(10));
    assert_eq!(at(&world, "ops")[1..], [(1, Kind::Resolve, &Cause::WatcherChanged)]);
    assert_eq!(at(&world, "lead"), [(1, Kind::Page, &refused)]);
}

#[test]
fn a_disabled_self_check_raises_nothing() {
    let mut policy = watched();
    policy.self_check.enabled = false;
    let mut world = World::new(policy);
    alarm(&mut world, Duration::from_mins(10));
    assert_eq!(world.sent, []);
}

#[test]
fn senders_whose_clock_is_wrong_are_named_with_the_error_for_an_hour() {
    let mut world = World::new(watched());
    for n in 0..7 {
        let start = START + Duration::from_secs(90 + n);
        let said = firing(&of(&format!("A{n}")), start);
        world.say(Source::Alertmanager, &format!("am{n}"), vec![said]);
    }
    world.advance(minutes(1));
    let sender =
        |n: u64| ClockError { sender: format!("am{n}").into(), by: Duration::from_secs(90 + n), ahead: true };
    let last = Problem::SenderClocksWrong { senders: (0..5).map(sender).collect(), others: 2 };
    let at_ops = at(&world, "ops");
    assert_eq!(at_ops.last().unwrap().2, &Cause::Problem { problem: last });
    world.advance(Duration::from_hours(1));
    let at_ops = at(&world, "ops");
    assert_eq!(at_ops.last().unwrap(), &(60, Kind::Resolve, &Cause::ProblemOver));
}

#[test]
fn a_prometheus_whose_clock_is_behind_is_named_as_behind() {
    let mut world = World::new(watched());
    let mut says = |behind: u64| {
        let now = world.now;
        let end = now - Duration::from_secs(behind);
        let said = Observation {
            status: Status::Resolved,
            ends_at: Some(end),
            ..firing(&of("A"), START - minutes(60))
        };
        world.say(Source::Prometheus, "p", vec![said]);
        world.advance(minutes(1));
    };
    // The end that it gives has passed each time, and moves on each time.
    for _ in 0..4 {
        says(100);
    }
    let senders = vec![ClockError { sender: "p".into(), by: Duration::from_secs(100), ahead: false }];
    let problem = Problem::SenderClocksWrong { senders, others: 0 };
    assert!(
        at(&world, "ops").iter().any(|(.., cause)| **cause == Cause::Problem { problem: problem.clone() })
    );
}

#[test]
fn an_alertmanager_that_repeats_late_resolves_says_nothing_about_its_clock() {
    let mut world = World::new(watched());
    for _ in 0..4 {
        let end = world.now - Duration::from_secs(100);
        world.say(Source::Alertmanager, "am", vec![resolved(&of("A"), START - minutes(60), end)]);
        world.advance(minutes(1));
    }
    assert_eq!(world.sent, []);
}

#[test]
fn alerts_beyond_the_limit_are_one_incident_until_none_came_for_a_quarter_of_an_hour() {
    let mut policy = watched();
    policy.limits = Limits { alerts: 2, ..Limits::default() };
    let mut world = World::new(policy);
    for n in 0..2 {
        world.say(Source::Alertmanager, "a", vec![firing(&of(&format!("A{n}")), START)]);
    }
    world.sent.clear();
    let beyond = |world: &mut World, name: &str| {
        let now = world.now;
        world.say(Source::Alertmanager, "a", vec![firing(&of(name), now)]);
    };
    beyond(&mut world, "B");
    let decision = world.decisions.last().unwrap();
    assert_eq!(
        (&decision.cause, &*decision.basis.setting),
        (&Cause::TooManyAlerts { limit: 2 }, "limits.alerts")
    );
    world.advance(Duration::from_mins(2));
    beyond(&mut world, "B");
    beyond(&mut world, "C");
    world.advance(Duration::from_mins(30));
    let full = |beyond| Cause::Problem { problem: Problem::TooManyAlerts { known: 2, limit: 2, beyond } };
    let (first, then) = (full(1), full(3));
    assert_eq!(
        at(&world, "pd"),
        [
            (0, Kind::Page, &first),
            (3, Kind::Update, &then),
            (17, Kind::Resolve, &Cause::BelowAlertLimit { lasted: Duration::from_mins(15) }),
        ]
    );
}

#[test]
fn a_resolve_of_an_alert_beyond_the_limit_opens_nothing() {
    let mut policy = watched();
    policy.limits = Limits { alerts: 1, ..Limits::default() };
    let mut world = World::new(policy);
    world.say(Source::Alertmanager, "a", vec![firing(&of("A"), START)]);
    world.say(Source::Alertmanager, "a", vec![resolved(&of("B"), START, START)]);
    world.advance(Duration::from_mins(2));
    assert_eq!(world.sent.len(), 1);
    assert_eq!(world.decisions.last().unwrap().cause, Cause::UnknownAlert);
}

/// A page that `pd` leaves without an answer.
fn hanging() -> World {
    let mut world = World::new(watched());
    world.answers = Answers::Hang;
    world.say(Source::Alertmanager, "a", vec![firing(&of("A"), START)]);
    world
}

fn undelivered(pages: u64) -> Cause {
    let receivers = vec![NameCount { name: "pd".into(), count: pages }];
    Cause::Problem { problem: Problem::PagesUndelivered { after: Duration::from_mins(5), receivers } }
}

#[test]
fn a_page_that_no_receiver_accepts_in_time_is_an_alarm_until_one_does() {
    let mut world = hanging();
    world.advance(Duration::from_secs(299));
    assert_eq!(at(&world, "ops"), []);
    world.advance(Duration::from_secs(1));
    assert_eq!(at(&world, "ops"), [(5, Kind::Page, &undelivered(1))]);
    world.advance(Duration::from_mins(3));
    world.answers = Answers::Accept;
    world.answer(true);
    world.advance(Duration::from_mins(2));
    assert_eq!(at(&world, "ops")[1..], [(9, Kind::Resolve, &Cause::ProblemOver)]);
    world.advance(Duration::from_hours(1));
    assert_eq!(at(&world, "ops").len(), 2);
}

#[test]
fn a_page_that_is_accepted_in_time_is_no_alarm() {
    let mut world = hanging();
    world.advance(Duration::from_mins(4));
    world.answers = Answers::Accept;
    world.answer(true);
    world.advance(Duration::from_hours(1));
    assert_eq!(at(&world, "ops"), []);
}

#[test]
fn the_alarm_counts_the_pages_that_wait_and_not_those_that_a_worse_one_replaced() {
    let mut world = hanging();
    world.advance(minutes(1));
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![firing(&of("B"), now)]);
    world.advance(Duration::from_mins(7));
    let at_ops = at(&world, "ops");
    assert_eq!(at_ops, [(5, Kind::Page, &undelivered(1))]);
    let hung: Vec<_> = world.in_flight.extract_if(.., |n| n.receiver == "ops").collect();
    let pages = std::mem::replace(&mut world.in_flight, hung);
    world.answer(true);
    world.in_flight = pages;
    world.advance(minutes(1));
    assert_eq!(at(&world, "ops").last().unwrap().2, &undelivered(2));
}

#[test]
fn the_alert_of_an_internal_incident_still_fires_until_the_incident_closes() {
    let mut world = World::new(watched());
    alarm(&mut world, minutes(10));
    world.say(Source::Alertmanager, "a", vec![firing(&of("A"), START)]);
    let shown: Vec<_> = world.sent.iter().map(|n| n.alerts[0].clone()).collect();
    let fires = |world: &World| shown.iter().map(|a| world.engine.query().still_fires(a)).collect::<Vec<_>>();
    assert_eq!(fires(&world), [true, true]);
    world.say(Source::Alertmanager, "a", vec![resolved(&of("A"), START, START)]);
    assert_eq!(fires(&world), [true, false]);
    world.advance(minutes(11));
    assert_eq!(fires(&world), [false, false]);
}

#[test]
fn alerts_of_which_no_receiver_was_notified_in_time_are_an_alarm_that_counts_them() {
    let mut policy = watched();
    policy.self_check.undelivered_after = Duration::ZERO;
    let mut world = World::new(policy);
    world.answers = Answers::Hang;
    let alerts: Vec<LabelSet> = (0..5).map(|n| of(&format!("A{n}"))).collect();
    for alert in &alerts {
        world.say(Source::Alertmanager, "a", vec![firing(alert, START)]);
    }
    world.advance(Duration::from_secs(30 * 60 - 1));
    assert_eq!(at(&world, "ops"), [], "half an hour is not over");
    let unheard = |world: &World| {
        let told = at(world, "ops").into_iter().map(|(minute, kind, cause)| match cause {
            Cause::Problem { problem: Problem::AlertsUnheard { alerts, names } } => {
                (minute, kind, *alerts, names.len())
            }
            cause => (minute, kind, 0, usize::from(*cause != Cause::ProblemOver)),
        });
        told.collect::<Vec<_>>()
    };
    world.advance(Duration::from_secs(1));
    let mut expected = vec![(30, Kind::Page, 5, 3)];
    assert_eq!(unheard(&world), expected);
    let of_ops = world.in_flight.extract_if(.., |n| n.receiver != "pd").collect();
    let pages = std::mem::replace(&mut world.in_flight, of_ops);
    world.answer(true);
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![resolved(&alerts[0], START, now)]);
    world.advance(minutes(1));
    expected.push((31, Kind::Update, 4, 3));
    assert_eq!(unheard(&world), expected, "one of them resolved");
    world.answer(true);
    world.in_flight = pages;
    world.answers = Answers::Accept;
    world.answer(true);
    world.advance(minutes(1));
    expected.push((32, Kind::Resolve, 0, 0));
    assert_eq!(unheard(&world), expected, "the receiver accepted the pages");
    world.advance(Duration::from_hours(2));
    assert_eq!(unheard(&world), expected);
}

/// The minutes at which the alarm about alerts of which no receiver was notified opened and closed.
fn unheard(world: &World) -> Vec<(u64, Kind)> {
    let about = |n: &&Notification| n.alerts[0].labels.value("alertname") == "SquelchAlertUnheard";
    let minute = |n: &Notification| (n.at.since(START).as_millis() / 60_000, n.kind);
    world.sent.iter().filter(|n| n.receiver == "ops").filter(about).map(minute).collect()
}

#[test]
fn a_silence_explains_that_no_receiver_is_notified_for_as_long_as_it_lasts() {
    for (answers, alarms) in [(Answers::Accept, vec![]), (Answers::Hang, vec![(90, Kind::Page)])] {
        let mut world = World::new(watched());
        silence(&mut world, "alertname=A");
        world.say(Source::Alertmanager, "a", vec![firing(&of("A"), START)]);
        world.advance(minutes(59));
        world.answers = answers;
        world.advance(minutes(91));
        assert_eq!(unheard(&world), alarms, "the silence ends after an hour: {answers:?}");
    }
}

#[test]
fn an_inhibited_alert_is_explained_by_a_source_that_was_notified_or_silenced() {
    let mut policy = watched();
    let matchers = |name: &str| parse_matchers(&format!("alertname={name}")).unwrap();
    let (source_matchers, target_matchers) = (matchers("Source"), matchers("Target"));
    policy.inhibit_rules =
        vec![InhibitRule { name: "r".into(), source_matchers, target_matchers, equal: Vec::new() }];
    let held =
        Level { name: "held".into(), hold: Duration::from_hours(24), ..policy.severities.levels[1].clone() };
    policy.severities.levels.push(held);
    for (severity, silenced, alarms) in [
        ("critical", false, vec![]),
        ("held", true, vec![]),
        ("held", false, vec![(30, Kind::Page), (41, Kind::Resolve)]),
    ] {
        let mut world = World::new(policy.clone());
        if silenced {
            silence(&mut world, "alertname=Source");
        }
        let source = labels(&[("alertname", "Source"), ("severity", severity)]);
        world.say(Source::Alertmanager, "a", vec![firing(&source, START), firing(&of("Target"), START)]);
        world.advance(minutes(40));
        silence(&mut world, "alertname=Source");
        world.advance(minutes(10));
        assert_eq!(unheard(&world), alarms, "{severity}, silenced: {silenced}");
    }
}

#[test]
fn a_severity_that_no_level_names_counts_once_for_each_time_that_its_alert_fires() {
    let mut world = World::new(watched());
    let alert = labels(&[("alertname", "A"), ("severity", "urgent")]);
    for fires in 1..3u64 {
        let start = world.now;
        for _ in 0..3 {
            world.say(Source::Alertmanager, "a", vec![firing(&alert, start)]);
        }
        let found = world.engine.query().stats().unknown_severities;
        assert_eq!(found, [("urgent".into(), fires)].into());
        world.say(Source::Alertmanager, "a", vec![resolved(&alert, start, start)]);
        world.advance(minutes(30));
    }
}

#[test]
fn a_page_that_no_receiver_accepted_is_no_alarm_any_more_once_its_alert_resolved() {
    let mut world = hanging();
    world.advance(minutes(5));
    world.in_flight.retain(|n| n.receiver == "ops");
    world.answer(true);
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![resolved(&of("A"), START, now)]);
    world.advance(minutes(5));
    assert_eq!(at(&world, "ops").last().unwrap().1, Kind::Resolve);
}

#[test]
fn the_incident_about_alerts_beyond_the_limit_goes_on_at_a_receiver_that_has_another_name() {
    let named = |name: &str| {
        let mut policy = watched();
        let mut receiver = policy.receivers.remove("pd").unwrap();
        receiver.integrations[0].endpoint = 7;
        policy.receivers.insert(name.into(), receiver);
        policy.routes[0].receiver = name.into();
        policy.limits.alerts = 1;
        policy
    };
    let mut world = World::new(named("old"));
    world.say(Source::Alertmanager, "a", vec![firing(&of("A"), START)]);
    let beyond = |world: &mut World| {
        world.say(Source::Alertmanager, "a", vec![firing(&of("B"), START)]);
        world.advance(minutes(2));
    };
    beyond(&mut world);
    world.sent.clear();
    world.handle(Event::Policy(Box::new(named("new"))));
    beyond(&mut world);
    world.advance(minutes(20));
    let kinds: Vec<_> = at(&world, "new").into_iter().map(|(_, kind, _)| kind).collect();
    assert_eq!(kinds, [Kind::Update, Kind::Resolve]);
    assert_eq!(world.pager.values().filter(|shown| shown.open).count(), 1, "that of the known alert");
}

#[test]
fn an_alarm_that_names_one_more_receiver_pages_again_and_ends_as_one() {
    let mut world = World::new(watched());
    let report = |world: &mut World, receiver: &str| {
        let (receiver, since, due) = (receiver.into(), START, world.now);
        world.handle(Event::Report(PeriodReport { receiver, since, due, text: "text".into() }));
        world.advance(minutes(2));
    };
    world.unreachable = vec!["pagerduty[0]", "webhook[1]"];
    report(&mut world, "pd");
    report(&mut world, "lead");
    let pages = |world: &World| at(world, "ops").iter().filter(|(_, kind, _)| *kind == Kind::Page).count();
    assert_eq!(pages(&world), 2);
    world.unreachable.clear();
    report(&mut world, "pd");
    assert!(world.pager.values().any(|shown| shown.open), "one receiver still refuses its reports");
    report(&mut world, "lead");
    assert_eq!(pages(&world), 2);
    assert!(world.pager.values().all(|shown| !shown.open));
}

#[test]
fn the_alarm_about_dead_letters_counts_the_incidents_whose_page_was_refused() {
    let mut world = World::new(watched());
    world.unreachable = vec!["pagerduty[0]"];
    world.say(Source::Alertmanager, "a", vec![firing(&of("A"), START), firing(&of("B"), START)]);
    world.advance(minutes(2));
    let incidents = vec![NameCount { name: "pd".into(), count: 2 }];
    let problem = Problem::DeadLetters { incidents, digests: Vec::new(), reports: Vec::new() };
    assert_eq!(at(&world, "ops").last().unwrap().2, &Cause::Problem { problem });
    world.unreachable.clear();
    world.advance(Duration::from_hours(2));
    assert_eq!(at(&world, "ops").last().unwrap().1, Kind::Resolve);
}
