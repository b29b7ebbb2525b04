//! Many seeds on all cores, progress, and the report of one that fails.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::run::{Outcome, run};

/// Failures that are shrunk and printed. The others are only counted.
const TOLD: usize = 5;

/// Runs `seeds` seeds from `from` on, and returns one text for each that failed.
pub fn campaign(from: u64, seeds: u64) -> Vec<String> {
    let (next, done, steps) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let failures: Mutex<Vec<String>> = Mutex::default();
    let began = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let say = |text: &str| {
        // The harness holds back the output of print! until the end.
        let _ = std::io::stderr().write_all(text.as_bytes());
    };
    std::thread::scope(|scope| {
        for worker in 0..cores {
            let (next, done, steps, failures) = (&next, &done, &steps, &failures);
            scope.spawn(move || {
                let mut said = Instant::now();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= seeds {
                        return;
                    }
                    let seed = from + n;
                    match attempt(&Plan::of(seed)) {
                        Ok(outcome) => drop(steps.fetch_add(outcome.steps, Ordering::Relaxed)),
                        Err(finding) => {
                            let told = failures.lock().map_or(TOLD, |f| f.len());
                            let text =
                                if told < TOLD { tell(seed) } else { format!("seed {seed}: {finding}") };
                            say(&format!("{text}\n"));
                            if let Ok(mut failures) = failures.lock() {
                                failures.push(text);
                            }
                        }
                    }
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if worker == 0 && said.elapsed() > Duration::from_secs(15) {
                        said = Instant::now();
                        say(&format!("simulator: {done} of {seeds} seeds, {}/s\n", rate(done, began)));
                    }
                }
            });
        }
    });
    let failed = failures.lock().map_or(0, |f| f.len());
    let (steps, took) = (steps.load(Ordering::Relaxed), began.elapsed().as_secs());
    let rate = rate(seeds, began);
    say(&format!(
        "simulator: {seeds} seeds from {from} in {took}s, {rate}/s, {steps} steps, {failed} failed\n"
    ));
    failures.into_inner().unwrap_or_default()
}

/// The report of a seed that fails.
fn tell(seed: u64) -> String {
    let plan = Plan::of(seed);
    let small = shrink(&plan, |plan| attempt(plan).is_err());
    let outcome = catch_unwind(AssertUnwindSafe(|| run(&small, None)));
    let (findings, trace) = match outcome {
        Ok(Outcome { findings, trace, .. }) => (findings.join("\n  "), trace),
        Err(_) => ("it panics".into(), Vec::new()),
    };
    let last = trace[trace.len().saturating_sub(120)..].join("\n    ");
    let acts: Vec<String> =
        small.acts.iter().map(|(at, act)| format!("{}.{:03} {act:?}", at / 1000, at % 1000)).collect();
    format!(
        "seed {seed}:\n  {findings}\n  {:?}\n  of {} acts these are left:\n    {}\n  trace:\n    {last}",
        plan.setup,
        plan.acts.len(),
        acts.join("\n    ")
    )
}

/// The first finding, if there is one. A panic is one.
fn attempt(plan: &Plan) -> Result<Outcome, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(plan, None))).map_err(|_| "it panics".to_owned())?;
    match outcome.findings.first() {
        Some(finding) => Err(finding.clone()),
        None => Ok(outcome),
    }
}

/// Leaves acts out while `fails` says that the rest still fails.
pub fn shrink(plan: &Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let mut small = plan.clone();
    let mut size = small.acts.len().max(1);
    while size > 0 {
        let mut at = 0;
        while at < small.acts.len() {
            let mut less = small.clone();
            less.acts.drain(at..(at + size).min(less.acts.len()));
            if fails(&less) {
                small = less;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    small
}

fn rate(done: u64, began: Instant) -> u64 {
    done / began.elapsed().as_secs().max(1)
}
