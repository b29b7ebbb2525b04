//! An input that makes the engine fail costs one input. It is put aside and reported, and everything else
//! goes on.

use squelch::engine::{Repeat, Repeats};
use squelch::model::{AlertId, Cause, Disposition, Notification, Problem, Reason};

use super::*;

/// A route of its own for `Poison`, with a child that does not exist. Every alert that takes the route
/// makes the engine fail.
fn no_way_for_poison() -> Policy {
    let mut policy = policy();
    let root = policy.routes[0].clone();
    let matchers = squelch::model::parse_matchers("alertname=Poison").unwrap();
    policy.routes.push(Route { key: "{}/{poison}".into(), matchers, children: vec![99], ..root });
    policy.routes[0].children = vec![1];
    watched(policy)
}

fn watched(policy: Policy) -> Policy {
    Policy { self_check: SelfCheckSettings::default(), ..policy }
}

/// A bench whose engine remembers nonsense of the alert `name`, which fired once: a destination that it
/// never had.
/// It finds the way of the alert, and breaks when it is to decide about it.
fn nonsense_about(name: &str) -> Bench {
    let mut bench = Bench::with(MemoryJournal::new(true), watched(policy()), QueueBounds::default(), T0);
    for status in [Status::Firing, Status::Resolved] {
        bench.observe(batch(name, status)).unwrap();
        bench.advance(Duration::from_mins(5));
        bench.step();
        for n in bench.told() {
            bench.report(n.id, Outcome::Accepted);
        }
    }
    spoiled(bench, |engine| {
        let known = field(field(field(engine, "world"), "alerts"), "known").as_map_mut().unwrap();
        let states = field(&mut known[0].1, "states").as_array_mut().unwrap();
        let mut state = states[0].clone();
        let [destination, of_it] = state.as_array_mut().unwrap().as_mut_slice() else { panic!("a pair") };
        *destination = 99.into();
        *field(of_it, "state") = rmpv::Value::Map(vec![("muted".into(), "silenced".into())]);
        states.push(state);
    })
}

/// A bench whose engine has counted the repeats of the firing alert `name` to the limit. The next repeat
/// makes it fail, and nothing else does.
fn repeated_beyond_counting(name: &str) -> Bench {
    let mut bench = Bench::with(MemoryJournal::new(true), watched(policy()), QueueBounds::default(), T0);
    for _ in 0..2 {
        bench.observe(firing(name)).unwrap();
        for n in bench.told() {
            bench.report(n.id, Outcome::Accepted);
        }
    }
    spoiled(bench, |engine| {
        let repeats = field(field(field(engine, "world"), "accounting"), "repeats").as_array_mut().unwrap();
        let [one] = repeats.as_mut_slice() else { panic!("of one alert") };
        *field(&mut one.as_array_mut().unwrap()[1], "count") = u64::MAX.into();
    })
}

/// The same, and an alert that pages and causes no failure.
fn repeated_beyond_counting_beside_good(name: &str) -> Bench {
    let mut bench = repeated_beyond_counting(name);
    bench.observe(firing("Good")).unwrap();
    let page = bench.told().remove(0);
    bench.report(page.id, Outcome::Accepted);
    bench
}

/// Stops, spoils the engine's state in the last snapshot, and starts again.
fn spoiled(mut bench: Bench, spoil: impl FnOnce(&mut rmpv::Value)) -> Bench {
    bench.ask(Command::Stop);
    let mut journal = bench.journal.lock().unwrap().reopen();
    let (seq, body) = journal.recover().unwrap().snapshot.unwrap();
    let mut state = rmpv::decode::read_value(&mut zstd::decode_all(&*body).unwrap().as_slice()).unwrap();
    spoil(field(&mut state, "engine"));
    let mut spoiled = Vec::new();
    rmpv::encode::write_value(&mut spoiled, &state).unwrap();
    journal.snapshot(seq, &zstd::encode_all(&*spoiled, 1).unwrap()).unwrap();
    let millis = bench.millis.load(Ordering::Relaxed);
    drop(bench.core);
    let bench = Bench::with(journal, watched(policy()), QueueBounds::default(), millis);
    assert_eq!(bench.told(), []);
    bench
}

trait AsMut {
    fn as_array_mut(&mut self) -> Option<&mut Vec<rmpv::Value>>;
    fn as_map_mut(&mut self) -> Option<&mut Vec<(rmpv::Value, rmpv::Value)>>;
}

impl AsMut for rmpv::Value {
    fn as_map_mut(&mut self) -> Option<&mut Vec<(rmpv::Value, rmpv::Value)>> {
        if let rmpv::Value::Map(fields) = self { Some(fields) } else { None }
    }

    fn as_array_mut(&mut self) -> Option<&mut Vec<rmpv::Value>> {
        if let rmpv::Value::Array(items) = self { Some(items) } else { None }
    }
}

fn field<'a>(of: &'a mut rmpv::Value, name: &str) -> &'a mut rmpv::Value {
    let rmpv::Value::Map(fields) = of else { panic!("{of} has no fields") };
    let found = fields.iter_mut().find(|(key, _)| key.as_str() == Some(name));
    &mut found.unwrap_or_else(|| panic!("no field {name}")).1
}

fn names(told: &[Notification]) -> Vec<(Kind, &str)> {
    let mut all: Vec<_> = told.iter().map(|n| (n.kind, n.alerts[0].labels.value("alertname"))).collect();
    all.sort_unstable();
    all
}

#[test]
fn an_alert_that_breaks_the_engine_is_told_as_it_stands_and_the_rest_goes_on() {
    let mut bench = nonsense_about("Poison");
    let mut all = firing("Good");
    all.observations.push(firing("Poison").observations.remove(0));
    all.observations.push(firing("AlsoGood").observations.remove(0));
    let answer = bench.observe(all.clone());
    assert!(answer.is_err_and(|e| e.to_string().contains("the engine broke")), "it is to be said again");
    assert_eq!(bench.published.trouble.load_full(), None, "the engine is there again");
    let told = bench.told();
    let page = |name| (Kind::Page, name);
    assert_eq!(names(&told), [page("AlsoGood"), page("Good"), page("Poison"), page("SquelchEngineBroke")]);
    assert!(told.iter().any(is_quarantined), "{told:#?}");
    assert!(told.iter().any(|n| failed_at(n, "observe").contains("Poison")), "{told:#?}");
    for n in &told {
        bench.report(n.id, Outcome::Accepted);
    }

    // Its sender says it again: it is known to be aside, and breaks nothing.
    bench.observe(all).unwrap();
    bench.observe(firing("Later")).unwrap();
    let told = bench.told();
    assert_eq!(names(&told), [page("Later")]);
    bench.report(told[0].id, Outcome::Accepted);

    // Nor after the process died. Its end closes the incident that it opened.
    let mut bench = bench.crash_under(watched(policy()));
    bench.observe(firing("Poison")).unwrap();
    assert_eq!(bench.told(), []);
    bench.observe(batch("Poison", Status::Resolved)).unwrap();
    assert_eq!(names(&bench.told()), [(Kind::Resolve, "Poison")]);
    let stats = bench.published.stats.load();
    let oncall = &stats.receivers["oncall"];
    assert_eq!(oncall.routed, oncall.disposed.values().sum::<u64>() + oncall.pending);
}

/// The sources of repeats were answered 200 long ago: no sender would send them again.
#[test]
fn an_alert_whose_repeats_break_the_engine_is_told_as_it_stands_and_the_rest_goes_on() {
    let mut bench = repeated_beyond_counting_beside_good("Poison");
    let mut all = firing("Good");
    all.observations.push(firing("Poison").observations.remove(0));
    bench.observe(all.clone()).unwrap();
    let repeats = |bench: &Bench| {
        let duplicate = Disposition::Suppressed(Reason::Duplicate);
        bench.published.stats.load().receivers["oncall"].disposed.get(&duplicate).copied()
    };
    let before = repeats(&bench).unwrap();
    assert_eq!(bench.told(), [], "they wait to be an event");
    bench.advance(Duration::from_secs(31));
    bench.step();
    bench.step();
    assert_eq!(bench.published.trouble.load_full(), None, "the engine is there again");
    let told = bench.told();
    assert_eq!(names(&told), [(Kind::Page, "Poison"), (Kind::Page, "SquelchEngineBroke")]);
    assert!(told.iter().any(is_quarantined), "{told:#?}");
    assert!(told.iter().any(|n| !failed_at(n, "repeats").is_empty()), "{told:#?}");
    assert_eq!(repeats(&bench), Some(before + 1), "that of the other one counts");
    for n in &told {
        bench.report(n.id, Outcome::Accepted);
    }

    // Its sender repeats it, also after the process died, and it causes no failure any more.
    let mut bench = bench.crash_under(watched(policy()));
    for _ in 0..4 {
        bench.observe(all.clone()).unwrap();
        bench.advance(Duration::from_secs(31));
        bench.step();
    }
    assert_eq!((bench.told(), bench.published.trouble.load_full()), (Vec::new(), None));
    bench.observe(batch("Poison", Status::Resolved)).unwrap();
    assert_eq!(names(&bench.told()), [(Kind::Resolve, "Poison")]);
    let stats = bench.published.stats.load();
    let oncall = &stats.receivers["oncall"];
    assert_eq!(oncall.routed, oncall.disposed.values().sum::<u64>() + oncall.pending);
}

/// Not even its route can be found. Squelch raises an alarm, and nothing else is lost.
#[test]
fn an_alert_that_cannot_even_be_told_is_left_out_and_a_person_hears_of_it() {
    let mut bench = Bench::with(MemoryJournal::new(true), no_way_for_poison(), QueueBounds::default(), T0);
    bench.observe(firing("Poison")).unwrap_err();
    let told = bench.told();
    assert_eq!(names(&told), [(Kind::Page, "SquelchEngineBroke")]);
    bench.report(told[0].id, Outcome::Accepted);
    assert_eq!(bench.published.trouble.load_full(), None);
    bench.observe(firing("Good")).unwrap();
    assert_eq!(names(&bench.told()), [(Kind::Page, "Good")]);
}

/// If it goes on, it is not read anew each time at once: nothing is taken for a while.
#[test]
fn an_engine_that_breaks_again_and_again_is_left_alone_for_a_while() {
    let mut bench = Bench::with(MemoryJournal::new(true), no_way_for_poison(), QueueBounds::default(), T0);
    let mut breaks = 0;
    for _ in 0..60 {
        let answer = bench.observe(firing("Poison"));
        breaks += usize::from(answer.is_err_and(|e| e.to_string().contains("alerts that a sender sent")));
        bench.advance(Duration::from_secs(1));
    }
    assert!(breaks == 60, "each sender hears why: {breaks}");
    bench.told();
    assert!(bench.observe(firing("Good")).is_err(), "it waits before it reads again");
    assert_eq!(bench.told(), []);
    bench.advance(Duration::from_secs(31));
    bench.step();
    bench.observe(firing("Good")).unwrap();
    assert_eq!(names(&bench.told()), [(Kind::Page, "Good")]);
}

/// There is no engine at all: known alerts have no route under this configuration. Critical pages leave all
/// the same. When the engine can be read again, no incident stays open.
#[test]
fn an_engine_that_cannot_be_read_fails_open() {
    let mut bench = Bench::with(MemoryJournal::new(true), watched(policy()), QueueBounds::default(), T0);
    bench.observe(firing("Poison")).unwrap();
    let page = bench.told().remove(0);
    bench.report(page.id, Outcome::Accepted);
    let mut bench = bench.crash_under(no_way_for_poison());
    assert!(bench.published.trouble.load_full().is_some(), "it starts, and takes nothing");
    for _ in 0..70 {
        bench.observe(firing("Good")).unwrap_err();
        bench.advance(Duration::from_secs(1));
        bench.step();
    }
    let told = bench.told();
    assert_eq!(names(&told), [(Kind::Page, "Good")], "once, after a minute");
    assert!(matches!(told[0].cause, Cause::WithoutStorage { .. }), "{:?}", told[0].cause);

    let mut bench = bench.crash_under(watched(policy()));
    bench.observe(firing("Good")).unwrap();
    let again = bench.told();
    assert_eq!(again[0].dedup_key, told[0].dedup_key, "at a receiver with keys it is the same incident");
    bench.report(again[0].id, Outcome::Accepted);
    bench.observe(batch("Good", Status::Resolved)).unwrap();
    bench.advance(Duration::from_mins(5));
    bench.step();
    assert_eq!(names(&bench.told()), [(Kind::Resolve, "Good")]);
}

/// An event that makes the engine fail each time that it is read would end the program at each start.
#[test]
fn a_stored_event_that_breaks_the_engine_does_not_keep_it_from_starting() {
    let mut bench = Bench::with(MemoryJournal::new(true), watched(policy()), QueueBounds::default(), T0);
    bench.observe(firing("Before")).unwrap();
    bench.ask(Command::Stop);
    // As a version would leave it that took the configuration and the alert, where this one breaks.
    let mut journal = bench.journal.lock().unwrap().reopen();
    let (seq, _) = journal.recover().unwrap().snapshot.unwrap();
    let events = [
        Event::Policy(Box::new(no_way_for_poison())),
        Event::Observe(firing("Poison")),
        Event::Observe(firing("After")),
    ];
    let now = Timestamp::from_millis(bench.millis.load(Ordering::Relaxed));
    let record = |(n, e): (u64, &Event)| Record { seq: seq + n, now, event: serde_json::to_vec(e).unwrap() };
    let records: Vec<Record> = (1..).zip(&events).map(record).collect();
    journal.commit(&Commit { records: &records, ..Commit::default() }).unwrap();
    drop(bench.core);

    // Under today's configuration there is a way for it, and it pages.
    let mut bench = Bench::with(journal, watched(policy()), QueueBounds::default(), T0);
    let told = bench.told();
    assert_eq!(
        names(&told),
        [(Kind::Page, "Before"), (Kind::Page, "Poison"), (Kind::Page, "SquelchEngineBroke")]
    );
    let known = bench.alerts().to_string();
    assert!(known.contains("After"), "what came after it is known: {known}");
    bench.step();
    let recovered = bench.journal.lock().unwrap().clone().recover().unwrap();
    assert_eq!(recovered.records, [], "the next start does not meet it again");
}

/// Repeats are events, too.
#[test]
fn stored_repeats_that_break_the_engine_do_not_keep_it_from_starting() {
    let bench = repeated_beyond_counting_beside_good("Poison");
    let mut journal = bench.journal.lock().unwrap().reopen();
    let last = journal.recover().unwrap().records.last().unwrap().seq;
    let of = |name: &str| {
        let alert = AlertId::of(&firing(name).observations[0].labels, |_| false);
        Repeat { alert, instance: alert, count: 1, ends_at: None }
    };
    let repeats = Repeats {
        source: Source::Alertmanager,
        peer: Default::default(),
        statements: vec![of("Poison"), of("Good")],
    };
    let now = Timestamp::from_millis(bench.millis.load(Ordering::Relaxed));
    let event = serde_json::to_vec(&Event::Repeats(repeats)).unwrap();
    let records = [Record { seq: last + 1, now, event }];
    journal.commit(&Commit { records: &records, ..Commit::default() }).unwrap();
    drop(bench.core);

    let millis = now.as_millis();
    let mut bench = Bench::with(journal, watched(policy()), QueueBounds::default(), millis);
    assert_eq!(names(&bench.told()), [(Kind::Page, "Poison"), (Kind::Page, "SquelchEngineBroke")]);
    bench.step();
    let recovered = bench.journal.lock().unwrap().clone().recover().unwrap();
    assert_eq!(recovered.records, [], "the next start does not meet it again");
}

fn is_quarantined(n: &Notification) -> bool {
    matches!(n.cause, Cause::Problem { problem: Problem::Quarantined { .. } })
}

/// The first alert of the event of this kind at which the engine failed.
fn failed_at<'a>(n: &'a Notification, kind: &str) -> &'a str {
    match &n.cause {
        Cause::Problem { problem: Problem::EngineFailed { event, first, .. } } if event == kind => first,
        _ => "",
    }
}
