//! The report of a period leaves once, also after a restart.

use crate::engine::testing::*;
use crate::engine::{Engine, Event, PeriodReport};
use crate::model::{Cause, Duration, Kind, NameCount, Outcome, Problem, Rejection, Report, Timestamp};
use crate::policy::{IntegrationRef, KnownBy, Noise, Receiver, SelfCheckSettings};

fn report(due: Timestamp) -> Event {
    let since = due - Duration::from_hours(24);
    let receiver = policy(&["alertname"], Noise::default()).routes[0].receiver.clone();
    Event::Report(PeriodReport { receiver, since, due, text: "# Noise\n".into() })
}

#[test]
fn a_report_leaves_once_for_each_time_it_is_due() {
    let mut world = World::new(policy(&["alertname"], Noise::default()));
    world.handle(report(START));
    let sent = std::mem::take(&mut world.sent);
    let [one] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((one.kind, &one.cause), (Kind::Digest, &Cause::Report { text: "# Noise\n".into() }));
    world.engine = Engine::restore(&world.engine.snapshot()).unwrap();
    world.handle(report(START));
    world.handle(report(START - Duration::from_hours(24)));
    assert_eq!(world.sent, [], "a restart and an earlier report change nothing");
    world.handle(report(START + Duration::from_hours(24)));
    assert_eq!(world.sent.len(), 1);
    let (replayed, trace) = replay(world.events_policy(), &world.events);
    assert_eq!((&replayed, &trace), (&world.engine, &world.trace));
}

#[test]
fn a_report_for_an_unknown_receiver_is_not_sent() {
    let mut world = World::new(policy(&["alertname"], Noise::default()));
    let Event::Report(report) = report(START) else { panic!("a report") };
    world.handle(Event::Report(PeriodReport { receiver: "gone".into(), ..report }));
    assert_eq!(world.sent, []);
}

#[test]
fn a_refused_report_is_an_alarm_until_the_receiver_takes_one() {
    let mut policy = policy(&["alertname"], Noise::default());
    let team = policy.routes[0].receiver.clone();
    policy.self_check = SelfCheckSettings { receiver: Some("ops".into()), ..SelfCheckSettings::default() };
    policy
        .receivers
        .insert("ops".into(), Receiver::new(vec![IntegrationRef::new("webhook[0]", KnownBy::Group)]));
    let refused = Problem::DeadLetters {
        incidents: Vec::new(),
        digests: Vec::new(),
        reports: vec![NameCount { name: team, count: 1 }],
    };
    let mut world = World::new(policy.clone());
    let day = Duration::from_hours(24);
    let is_over = |world: &World| world.sent.iter().any(|one| one.kind == Kind::Resolve);
    let refuse = |world: &mut World, due: Timestamp| {
        world.sent.clear();
        world.answers = Answers::Hang;
        world.handle(report(due));
        world.answer(false);
        assert_eq!(world.sent[1].cause, Cause::Problem { problem: refused.clone() });
        world.answers = Answers::Accept;
        world.answer(true);
        world.sent[0].id
    };

    refuse(&mut world, START);
    world.engine = Engine::restore(&world.engine.snapshot()).unwrap();
    world.handle(Event::Policy(Box::new(policy)));
    world.advance(day);
    assert!(!is_over(&world), "it lasts over a restart and a reload");
    world.handle(report(START + day));
    assert!(is_over(&world), "the next report arrives");

    let id = refuse(&mut world, START + day + day);
    let outcome = Outcome::Accepted;
    world.handle(Event::Delivered(Report { id, outcome, attempts: 1, message: None }));
    assert!(is_over(&world), "a person sent the dead letter again");
}

#[test]
fn a_report_goes_to_the_integrations_that_want_updates_or_to_all_if_none_does() {
    for (wanting, got) in [(0, &["a", "b"][..]), (1, &["a"]), (2, &["a", "b"])] {
        let mut policy = policy(&["alertname"], Noise::default());
        let integration = |(n, name): (usize, &str)| {
            let mut one = IntegrationRef::new(name, KnownBy::Nothing);
            (one.send_updates, one.takes_digests) = (n < wanting, name != "no-digests");
            one
        };
        let all = ["a", "b", "no-digests"].into_iter().enumerate().map(integration).collect();
        policy.receivers.insert("pd".into(), Receiver::new(all));
        let mut world = World::new(policy);
        for days in 0..2 {
            world.sent.clear();
            world.handle(report(START + Duration::from_hours(24 * days)));
            let names: Vec<_> = world.sent.iter().map(|one| one.integration.as_str()).collect();
            assert_eq!(names, got, "{wanting} want updates");
            assert!(world.sent.iter().all(|one| (&*one.severity, one.level) == ("info", (2, 3))));
        }
        let mut ids: Vec<_> = world.events.iter().filter_map(|(_, event)| delivered(event)).collect();
        ids.dedup();
        assert_eq!(ids.len(), 2 * got.len(), "each has a number of its own");
        assert!(ids.is_sorted());
    }
}

fn delivered(event: &Event) -> Option<crate::model::NotificationId> {
    if let Event::Delivered(report) = event { Some(report.id) } else { None }
}

#[test]
fn a_refused_report_counts_for_the_name_that_its_receiver_has_now() {
    let named = |name: &str| {
        let mut policy = policy(&["alertname"], Noise::default());
        let to = |name: &str, endpoint| {
            let one = IntegrationRef { endpoint, ..IntegrationRef::new(name, KnownBy::DedupKey) };
            Receiver::new(vec![one])
        };
        policy.routes[0].receiver = name.into();
        policy.receivers = [(name, to("pagerduty[0]", 7)), ("ops", to("webhook[0]", 8))]
            .map(|(name, receiver)| (name.into(), receiver))
            .into();
        policy.self_check =
            SelfCheckSettings { receiver: Some("ops".into()), ..SelfCheckSettings::default() };
        policy
    };
    for (receiver, counts_for) in [("pd", "new"), ("ops", "ops")] {
        let mut world = World::new(named("pd"));
        world.answers = Answers::Hang;
        let Event::Report(report) = report(START) else { panic!("a report") };
        world.handle(Event::Report(PeriodReport { receiver: receiver.into(), ..report }));
        let refused = world.sent[0].id;
        world.handle(Event::Policy(Box::new(named("new"))));
        world.answer(false);
        let alarm = |world: &World| {
            world.sent.iter().rev().find_map(|one| match &one.cause {
                Cause::Problem { problem: Problem::DeadLetters { reports, .. } } => Some(reports.clone()),
                _ => None,
            })
        };
        assert_eq!(alarm(&world), Some(vec![NameCount { name: counts_for.into(), count: 1 }]));
        // A person sends the dead letter again, and the receiver refuses it again.
        world.answers = Answers::Accept;
        world.answer(true);
        let refusal = Outcome::Rejected(Rejection {
            reason: "clientError".into(),
            detail: "no".into(),
            ambiguous: false,
        });
        world.handle(Event::Delivered(Report { id: refused, outcome: refusal, attempts: 1, message: None }));
        world.advance(Duration::from_hours(1));
        assert!(world.sent.iter().all(|one| one.kind != Kind::Resolve), "the alarm goes on");
    }
}
