//! Incoming requests: unreadable input, earlier statements, and repeats.

use squelch::model::{Cause, Problem};

use super::*;
use squelch::ingest::api_v2;

/// Unreadable input that keeps coming: its content is lost, so Squelch raises an alarm.
#[test]
fn input_that_is_refused_for_five_minutes_pages() {
    let policy = Policy { self_check: SelfCheckSettings::default(), ..policy() };
    let mut bench = Bench::with(MemoryJournal::new(true), policy, QueueBounds::default(), T0);
    for minute in 0..5 {
        assert_eq!(bench.told(), [], "after {minute} minutes");
        bench.published.meter.lost_input();
        bench.advance(Duration::from_mins(1));
        bench.step();
    }
    let told = bench.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].kind, told[0].group_labels.value("alertname")), (Kind::Page, "SquelchInputRefused"));
    bench.report(told[0].id, Outcome::Accepted);
    for _ in 0..11 {
        bench.advance(Duration::from_mins(1));
        bench.step();
    }
    assert_eq!(bench.told().iter().map(|n| n.kind).collect::<Vec<_>>(), [Kind::Resolve], "it is over");
}

/// A statement repeats while the alert fires. The same statement is news once the alert does not fire.
#[test]
fn the_same_statement_is_news_once_the_alert_resolved() {
    for source in [Source::Alertmanager, Source::Prometheus] {
        let mut bench = Bench::new();
        let mut said = firing("A");
        said.source = source;
        if source == Source::Prometheus {
            said.observations[0].ends_at = Some(Timestamp::from_millis(T0 + 240_000));
        }
        let observed =
            |bench: &Bench| bench.events().iter().filter(|event| matches!(event, Event::Observe(_))).count();
        for _ in 0..3 {
            bench.observe(said.clone()).unwrap();
        }
        assert_eq!(observed(&bench), 1, "{source:?}: it repeats");
        let (page, ..) = bench.sent()[0];
        bench.report(page, Outcome::Accepted);
        if source == Source::Alertmanager {
            bench.observe(batch("A", Status::Resolved)).unwrap();
        }
        bench.advance(Duration::from_mins(10));
        bench.step();
        assert_eq!(bench.alerts()[0]["status"], "resolved");
        let before = observed(&bench);
        bench.observe(said).unwrap();
        assert_eq!(observed(&bench), before + 1, "{source:?}: it fires again");
    }
}

/// Memory is short. Squelch refuses new alerts and says so, and known alerts go on. The alarm leaves by
/// itself.
#[test]
fn alerts_not_known_yet_are_refused_while_memory_is_short() {
    let policy = Policy { self_check: SelfCheckSettings::default(), ..policy() };
    let mut bench = Bench::with(MemoryJournal::new(true), policy, QueueBounds::default(), T0);
    bench.observe(firing("Known")).unwrap();
    let page = bench.told().remove(0);
    bench.report(page.id, Outcome::Accepted);
    bench.published.memory.allow(Some(1000));
    assert!(bench.published.memory.look(950).is_some());
    let answer = bench.observe(firing("New"));
    assert!(answer.is_err_and(|e| e.to_string().contains("memory is short")));
    let mut mixed = firing("Known");
    mixed.observations.push(firing("New").observations.remove(0));
    bench.observe(mixed).unwrap_err();
    assert_eq!(bench.alerts().as_array().unwrap().len(), 1);
    bench.observe(firing("Known")).unwrap();
    bench.observe(batch("Never", Status::Resolved)).unwrap();
    assert_eq!(bench.told(), []);

    let alarm = |lasts| Alarm { problem: Problem::MemoryShort { budget: 1 }, lasts };
    bench.queue.push(Command::Alarm(alarm(Duration::from_mins(5)))).unwrap();
    bench.step();
    let told = bench.told();
    assert_eq!(
        told.iter().map(|n| (n.kind, n.cause.clone())).collect::<Vec<_>>(),
        [(Kind::Page, Cause::Problem { problem: Problem::MemoryShort { budget: 1 } })]
    );
    bench.report(told[0].id, Outcome::Accepted);

    bench.observe(batch("Known", Status::Resolved)).unwrap();
    bench.advance(Duration::from_mins(3));
    bench.step();
    assert_eq!(bench.told().iter().map(|n| n.kind).collect::<Vec<_>>(), [Kind::Resolve]);
    assert_eq!(bench.published.memory.look(100), Some(None));
    bench.queue.push(Command::Alarm(alarm(Duration::ZERO))).unwrap();
    bench.observe(firing("New")).unwrap();
    bench.advance(Duration::from_mins(1));
    bench.step();
    let kinds: Vec<_> = bench.told().iter().map(|n| n.kind).collect();
    assert_eq!(kinds, [Kind::Page, Kind::Resolve], "the new one pages, and the alarm is over");
}

/// An alarm that comes while the storage is unusable is raised once it can be.
#[test]
fn an_alarm_waits_for_the_storage() {
    let policy = Policy { self_check: SelfCheckSettings::default(), ..policy() };
    let mut bench = Bench::with(MemoryJournal::new(true), policy, QueueBounds::default(), T0);
    *bench.broken.lock().unwrap() = Some("gone".into());
    bench.journal.lock().unwrap().fail_next(false);
    bench.observe(firing("A")).unwrap_err();
    let alarm = Alarm { problem: Problem::MemoryShort { budget: 1 }, lasts: Duration::from_mins(5) };
    for _ in 0..3 {
        bench.queue.push(Command::Alarm(alarm.clone())).unwrap();
        bench.step();
    }
    assert_eq!(bench.told(), []);
    *bench.broken.lock().unwrap() = None;
    bench.advance(Duration::from_mins(1));
    bench.step();
    let told = bench.told();
    let about = |n: &&Notification| n.group_labels.value("alertname") == "SquelchMemoryShort";
    assert_eq!(told.iter().filter(about).count(), 1, "{told:?}");
}

/// An alert that ends before it starts has ended: it ends an open incident and opens none.
#[test]
fn an_alert_whose_end_has_passed_ends_what_is_open_whatever_its_start() {
    let said = |start: i64, end: i64| {
        let at = |seconds: i64| Timestamp::from_millis(T0 + seconds * 1000).to_string();
        let body = format!(
            r#"[{{"labels":{{"alertname":"A","severity":"critical"}},"startsAt":"{}","endsAt":"{}"}}]"#,
            at(start),
            at(end)
        );
        let received = Timestamp::from_millis(T0);
        let named = Default::default();
        api_v2::parse(body.as_bytes(), "p", received, Duration::from_mins(5), &named).unwrap().batch
    };
    for (start, end) in [(60, -1), (300, -60), (-10, -370), (-10, -200), (-10, -1), (-600, -1)] {
        let mut bench = Bench::new();
        bench.observe(said(start, end)).unwrap();
        assert_eq!(bench.told(), [], "{start} to {end}: never heard of");
        let mut bench = Bench::new();
        bench.observe(said(-300, 240)).unwrap();
        assert_eq!(bench.told().len(), 1, "{start} to {end}");
        bench.observe(said(start, end)).unwrap();
        assert_eq!(bench.alerts()[0]["status"], "resolved", "{start} to {end}");
    }
}

#[test]
fn repeats_are_answered_and_become_one_event() {
    let mut bench = Bench::new();
    bench.observe(firing("A")).unwrap();
    bench.take_log();
    for _ in 0..10 {
        bench.observe(firing("A")).unwrap();
    }
    assert_eq!(bench.take_log(), [], "nothing to write");
    assert!(bench.core.patience() > Duration::ZERO);
    bench.advance(Duration::from_secs(30));
    assert_eq!(bench.core.patience(), Duration::ZERO);
    bench.step();
    let seen: Vec<u64> = bench
        .events()
        .iter()
        .filter_map(|e| if let Event::Repeats(all) = e { Some(all.statements[0].count) } else { None })
        .collect();
    assert_eq!(seen, [10]);
}

#[test]
fn repeats_count_before_what_changes_something() {
    let mut bench = Bench::new();
    bench.observe(firing("A")).unwrap();
    bench.observe(firing("A")).unwrap();
    bench.observe(batch("A", Status::Resolved)).unwrap();
    let events = bench.events();
    let at = |what: fn(&Event) -> bool| events.iter().rposition(what).unwrap();
    assert!(at(|e| matches!(e, Event::Repeats(_))) < at(|e| matches!(e, Event::Observe(_))));
}

/// Repeats wait for up to 30 s. An `endsAt` that they extend may come sooner. They arrived before it
/// passed, so it did not pass.
#[test]
fn repeats_that_wait_extend_an_end_that_is_due() {
    let mut bench = Bench::new();
    let mut said = firing("A");
    said.source = Source::Prometheus;
    let say = |bench: &mut Bench, said: &Batch, ends: i64| {
        let mut said = said.clone();
        said.observations[0].ends_at = Some(Timestamp::from_millis(T0 + ends));
        bench.observe(said).unwrap();
    };
    say(&mut bench, &said, 8_000);
    let (page, ..) = bench.sent()[0];
    bench.report(page, Outcome::Accepted);
    for second in 1..=20 {
        bench.advance(Duration::from_secs(1));
        bench.step();
        say(&mut bench, &said, 8_000 + second * 1_000);
        assert_eq!(bench.alerts()[0]["status"], "firing", "after {second} s");
    }
    for _ in 0..8 {
        assert_eq!(bench.alerts()[0]["status"], "firing");
        bench.advance(Duration::from_secs(1));
        bench.step();
    }
    assert_eq!(bench.alerts()[0]["status"], "resolved", "nobody says it any more");
}
