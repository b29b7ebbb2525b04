//! A heartbeat that is silent over a start of the program.

use squelch::config::Heartbeat;
use squelch::model::parse_matchers;

use super::*;

const SILENT_AFTER: u64 = 600;

fn watched() -> Policy {
    let matchers = parse_matchers("alertname=Watchdog").unwrap();
    let (name, receiver) = ("dog".into(), Some("oncall".into()));
    let silent_after = Duration::from_secs(SILENT_AFTER);
    Policy { heartbeats: vec![Heartbeat { name, matchers, silent_after, receiver }], ..policy() }
}

/// A process that has not heard the heartbeat for 5 minutes.
fn silent_for_5_minutes() -> Bench {
    let mut bench = Bench::with(MemoryJournal::new(true), watched(), QueueBounds::default(), T0);
    bench.observe(firing("Watchdog")).unwrap();
    bench.advance(Duration::from_mins(5));
    bench.step();
    bench
}

/// How long after its last beat the silence of the heartbeat pages.
fn pages_after(mut bench: Bench) -> i64 {
    for _ in 0..3_600 {
        bench.step();
        if bench.sent().iter().any(|(_, kind, _)| *kind == Kind::Page) {
            break;
        }
        bench.advance(Duration::from_secs(1));
    }
    (bench.millis.load(Ordering::Relaxed) - T0) / 1_000
}

#[test]
fn a_restart_in_order_adds_only_its_own_time_to_the_silence() {
    let mut bench = silent_for_5_minutes();
    bench.ask(Command::Quiesce);
    bench.ask(Command::Stop);
    bench.advance(Duration::from_secs(20));
    assert_eq!(pages_after(bench.crash_under(watched())), 620);
}

/// No event says until when a process that died was there.
#[test]
fn a_crash_counts_as_down_since_the_last_event() {
    let mut bench = silent_for_5_minutes();
    bench.advance(Duration::from_secs(20));
    assert_eq!(pages_after(bench.crash_under(watched())), 920);
}

#[test]
fn a_standby_that_accepted_alerts_adds_at_most_the_time_of_a_lease_to_the_silence() {
    // If it reaches the storage for a few seconds only, the owner may have been gone for long.
    for (accepts, pages) in [(20, 615), (10, 911)] {
        let bench = silent_for_5_minutes();
        let journal = bench.journal.lock().unwrap().clone();
        let millis = bench.millis.load(Ordering::Relaxed);
        let mut standby = Bench::start(journal, watched(), QueueBounds::default(), millis, None, Some(OWNED));
        drop(bench);
        standby.step();
        standby.advance(Duration::from_secs(accepts));
        standby.step();
        *standby.broken.lock().unwrap() = None;
        standby.advance(Duration::from_secs(1));
        assert_eq!(pages_after(standby), pages, "it accepted alerts for {accepts} s");
    }
}
