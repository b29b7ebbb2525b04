//! The report of a period leaves once, also after a restart.

use crate::engine::testing::*;
use crate::engine::{Engine, Event, PeriodReport};
use crate::model::{Cause, Duration, Kind, NameCount, Outcome, Problem, Report, Timestamp};
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
