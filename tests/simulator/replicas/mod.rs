//! Several replicas that share one database: the decider, the sender, and the alerts that a standby
//! accepts. Each replica is a real `Core` with its queue, its clock and its schedule of deliveries. The
//! database, the lease of a process, the network and the pager are models.

mod check;
mod database;
mod delivery;
mod pager;
mod plan;
mod process;
mod senders;
mod source;
mod world;

pub use database::is_of;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

pub use plan::Plan;

/// Failures of which the history is printed. The others are only counted.
const TOLD: usize = 3;
/// So many lines of the history are printed.
const LAST: usize = 150;

/// A defect of the replicas, or of their shared parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A commit does not check the epoch.
    CommitsAreNotFenced,
    /// The lease is not looked at when a standby asks for ownership.
    LeaseIsNotLookedAt,
    /// The clock of the owner's own deadline stands still while its process does.
    DeadlineSleeps,
    /// Rows leave the inbox when the owner reads them, before the commit that includes them.
    RowsLeaveWhenRead,
    /// Rows leave the inbox with a later commit than the one that includes them.
    RowsLeaveLater,
    /// A standby answers 200 before the row is durable.
    HandOverBeforeDurable,
    /// An owner that was fenced goes on sending.
    FencedSends,
    /// A new owner does not send unconfirmed notifications again.
    NothingIsResent,
    /// Resolves do not wait after a takeover.
    ResolvesDoNotWait,
    /// SIGTERM gives the ownership back before the deliveries under way have ended.
    GivesBackEarly,
}

impl Bug {
    pub const ALL: [Bug; 10] = [
        Bug::CommitsAreNotFenced,
        Bug::LeaseIsNotLookedAt,
        Bug::DeadlineSleeps,
        Bug::RowsLeaveWhenRead,
        Bug::RowsLeaveLater,
        Bug::HandOverBeforeDurable,
        Bug::FencedSends,
        Bug::NothingIsResent,
        Bug::ResolvesDoNotWait,
        Bug::GivesBackEarly,
    ];
}

/// How a run went.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The broken promises.
    pub findings: Vec<String>,
    /// The events, one line each.
    pub trace: Vec<String>,
    pub steps: u64,
    /// Takeovers, owners that were fenced, rows of the inbox, commits that met a fault, attempts of an owner
    /// in doubt, and incidents that were opened.
    pub seen: [u64; 6],
}

pub fn run(plan: &Plan, bug: Option<Bug>) -> Outcome {
    world::World::play(plan, bug)
}

/// Runs `seeds` seeds from `from` on, on all cores. One text for each that failed.
pub fn campaign(from: u64, seeds: u64) -> Vec<String> {
    let (next, steps) = (AtomicU64::new(0), AtomicU64::new(0));
    let failures: Mutex<Vec<String>> = Mutex::default();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |n| n.get()) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= seeds {
                        return;
                    }
                    let seed = from + n;
                    let failure = match catch_unwind(AssertUnwindSafe(|| run(&Plan::of(seed), None))) {
                        Err(_) => Some(Outcome {
                            findings: vec!["it panics".into()],
                            trace: Vec::new(),
                            steps: 0,
                            seen: [0; 6],
                        }),
                        Ok(outcome) => {
                            steps.fetch_add(outcome.steps, Ordering::Relaxed);
                            (!outcome.findings.is_empty()).then_some(outcome)
                        }
                    };
                    if let Some(outcome) = failure {
                        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                        // Of one seed all is printed.
                        let last = if seeds == 1 { usize::MAX } else { LAST };
                        let text = tell(seed, &outcome, if failures.len() < TOLD { last } else { 0 });
                        failures.push(text);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (took, steps) = (began.elapsed().as_secs(), steps.load(Ordering::Relaxed));
    eprintln!("replicas: {seeds} seeds from {from} in {took}s, {steps} steps, {} failed", failures.len());
    failures
}

/// The report of a seed that fails.
fn tell(seed: u64, outcome: &Outcome, last: usize) -> String {
    let findings = outcome.findings.join("\n  ");
    if last == 0 {
        return format!("replicas, seed {seed}: {findings}");
    }
    let trace = &outcome.trace;
    let last = trace[trace.len().saturating_sub(last)..].join("\n    ");
    format!("replicas, seed {seed}: {:?}\n  {findings}\n  trace:\n    {last}", Plan::of(seed).setup)
}
