//! The durable journal beside raw appends with `fdatasync`, in one run: only the ratios mean anything.
//!
//! `cargo bench --bench journal`. It takes about ten seconds. Each commit carries its events (1 KiB each),
//! one decision an event. `SQUELCH_BENCH_DIR` chooses the disk.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use squelch::journal::{Commit, Journal, Record, SqliteJournal};
use squelch::model::{AlertId, Decision, Disposition, Reason, Timestamp};

const BATCHES: [u64; 3] = [1, 32, 256];

/// How long each line runs: ten seconds in all, a blink when `cargo test` builds and runs it.
fn time_to_run() -> Duration {
    let measuring = std::env::args().any(|argument| argument == "--bench");
    Duration::from_millis(if measuring { 1_600 } else { 20 })
}

/// Time of each commit, ascending.
fn measure(mut commit: impl FnMut(u64)) -> Vec<Duration> {
    let (start, end, mut took) = (Instant::now(), time_to_run(), Vec::new());
    while start.elapsed() < end {
        let before = Instant::now();
        commit(took.len() as u64);
        took.push(before.elapsed());
    }
    took.sort_unstable();
    took
}

fn records(first: u64, batch: u64) -> Vec<Record> {
    let event = format!("\"{}\"", "x".repeat(1_022)).into_bytes();
    (first..first + batch)
        .map(|seq| Record { seq, now: Timestamp::from_millis(seq as i64), event: event.clone() })
        .collect()
}

fn raw(dir: &Path, batch: u64) -> Vec<Duration> {
    let mut file = std::fs::File::create(dir.join("raw")).unwrap();
    let bytes = vec![b'x'; 1_024 * batch as usize];
    measure(|_| {
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
    })
}

fn sqlite(dir: &Path, batch: u64) -> Vec<Duration> {
    let mut journal = SqliteJournal::open(&dir.join(batch.to_string())).unwrap();
    journal.recover().unwrap();
    let (at, cause) = (Timestamp::from_millis(0), squelch::model::Cause::UnchangedRepeats);
    let decision = Decision::new(at, AlertId(7), "team-a", Disposition::Suppressed(Reason::Duplicate), cause);
    let decisions = vec![decision; batch as usize];
    measure(|n| {
        let records = records(n * batch + 1, batch);
        journal.commit(&Commit { records: &records, decisions: &decisions, ..Commit::default() }).unwrap();
    })
}

fn main() {
    let dir = match std::env::var_os("SQUELCH_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let dir = dir.unwrap();
    println!(
        "{:>6} {:>12} {:>12} {:>7} {:>20} {:>20}",
        "batch", "raw/s", "sqlite/s", "ratio", "raw p50/p99", "sqlite p50/p99"
    );
    for batch in BATCHES {
        let (raw, sqlite) = (raw(dir.path(), batch), sqlite(dir.path(), batch));
        let at = |took: &[Duration], percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
        let rate = |took: &[Duration]| took.len() as f64 / took.iter().sum::<Duration>().as_secs_f64();
        let quantiles = |took: &[Duration]| format!("{:.1?}/{:.1?}", at(took, 50), at(took, 99));
        println!(
            "{batch:>6} {:>12.0} {:>12.0} {:>7.2} {:>20} {:>20}",
            rate(&raw),
            rate(&sqlite),
            rate(&sqlite) / rate(&raw),
            quantiles(&raw),
            quantiles(&sqlite),
        );
    }
}
