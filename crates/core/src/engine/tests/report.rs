//! The report of a period leaves once, also after a restart.

use crate::engine::testing::*;
use crate::engine::{Engine, Event, PeriodReport};
use crate::model::{Cause, Duration, Kind, Timestamp};
use crate::policy::Noise;

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
