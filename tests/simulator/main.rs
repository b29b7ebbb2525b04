//! A deterministic simulator: all of Squelch but for its sockets, among senders, receivers, a disk and
//! clocks that fail as a seed says. A checker tests the promises. `docs/simulator.md` describes it,
//! `tests/sim --seeds N` runs it.

mod bugs;
mod campaign;
mod check;
mod disk;
mod excused;
mod image;
mod outbox;
mod outside;
mod pager;
mod persons;
mod plan;
mod policy;
mod replicas;
mod requests;
mod rng;
mod run;
mod trouble;
mod upstream;
mod world;

use bugs::Bug;
use plan::Plan;

/// Seeds that failed once.
const KEPT: &str = include_str!("seeds.txt");
/// The same of runs with several replicas.
const KEPT_OF_REPLICAS: &str = include_str!("replicas/seeds.txt");
/// How many seeds every run of the tests tries.
const SEEDS: u64 = 300;
/// How many seeds with several replicas every run of the tests tries.
const REPLICA_SEEDS: u64 = 150;
/// A planted bug that so many seeds do not find is not found.
const FIND_WITHIN: u64 = 400;
/// The same among several replicas.
const FIND_AMONG_REPLICAS: u64 = 800;

#[test]
fn what_failed_once_does_not_fail_again() {
    for seed in seeds(KEPT) {
        let outcome = run::run(&Plan::of(seed), None);
        assert!(outcome.findings.is_empty(), "seed {seed}: {:#?}", outcome.findings);
    }
    for seed in seeds(KEPT_OF_REPLICAS) {
        let outcome = replicas::run(&replicas::Plan::of(seed), None);
        assert!(outcome.findings.is_empty(), "replicas, seed {seed}: {:#?}", outcome.findings);
    }
}

/// The numbers at the beginning of the lines that are no comments.
fn seeds(text: &str) -> impl Iterator<Item = u64> + '_ {
    text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).map(|line| {
        let seed = line.split_whitespace().next().and_then(|word| word.parse().ok());
        seed.unwrap_or_else(|| panic!("{line:?} begins with no number"))
    })
}

/// `SQUELCH_SIM_SEEDS` and `SQUELCH_SIM_FROM` ask for others. `tests/sim` sets them.
#[test]
fn every_seed_keeps_the_promises() {
    let ask = |name: &str, default| std::env::var(name).map_or(default, |n| n.parse().unwrap_or(default));
    let (seeds, from) = (ask("SQUELCH_SIM_SEEDS", SEEDS), ask("SQUELCH_SIM_FROM", 0));
    let failures = campaign::campaign(from, seeds);
    assert!(failures.is_empty(), "{} of {seeds} seeds failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_same_seed_twice_is_the_same_run() {
    for seed in 0..40 {
        let (first, second) = (run::run(&Plan::of(seed), None), run::run(&Plan::of(seed), None));
        assert_eq!(first, second, "seed {seed}");
        assert!(first.trace.len() > 3, "seed {seed} does nothing: {:?}", first.trace);
    }
}

#[test]
fn the_runs_see_what_they_are_for() {
    let mut sums = [0; 11];
    for seed in 0..60 {
        let outcome = run::run(&Plan::of(seed), None);
        for (sum, n) in sums.iter_mut().zip(outcome.seen) {
            *sum += n;
        }
    }
    let [accepted, repeats, refused, pages, decisions, failures, beyond, early, unread, unanswered, second] =
        sums;
    assert!(
        accepted > 500 && repeats > 50 && refused > 50 && pages > 50 && decisions > 1_000 && failures > 20,
        "{sums:?}"
    );
    assert!(beyond > 100 && early > 100, "no bound bites: {sums:?}");
    assert!(unread > 0 && unanswered > 50, "the log and the files always answer: {sums:?}");
    assert!(second > 10, "nothing escalates: {sums:?}");
}

#[test]
fn every_planted_bug_is_found() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let found = (0..FIND_WITHIN).find_map(|seed| {
            let outcome = run::run(&Plan::of(seed), Some(bug));
            let finding = outcome.findings.first()?;
            Some((seed + 1, finding.clone()))
        });
        match found {
            Some((seeds, finding)) => println!("{bug:?}: {seeds} seeds: {finding}"),
            None => missed.push(format!("{bug:?}")),
        }
    }
    assert!(missed.is_empty(), "not found within {FIND_WITHIN} seeds: {missed:?}");
}

/// A failing seed is made small: every act without which it still fails is left out.
#[test]
fn a_failing_run_is_shrunk() {
    let fails = |plan: &Plan| !run::run(plan, Some(Bug::RepeatUnmarked)).findings.is_empty();
    let plan = (0..FIND_WITHIN).map(Plan::of).find(|plan| plan.acts.len() > 5 && fails(plan));
    let plan = plan.unwrap_or_else(|| panic!("the bug is not found"));
    let small = campaign::shrink(&plan, fails);
    assert!(fails(&small), "{small:?}");
    assert!(small.acts.len() < plan.acts.len(), "{small:?}");
}

/// `SQUELCH_SIM_REPLICAS` and `SQUELCH_SIM_FROM` ask for others. `tests/sim --replicas` sets them.
#[test]
fn every_seed_with_replicas_keeps_the_promises() {
    let ask = |name: &str, default| std::env::var(name).map_or(default, |n| n.parse().unwrap_or(default));
    let (seeds, from) = (ask("SQUELCH_SIM_REPLICAS", REPLICA_SEEDS), ask("SQUELCH_SIM_FROM", 0));
    let failures = replicas::campaign(from, seeds);
    assert!(failures.is_empty(), "{} of {seeds} seeds failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_same_seed_with_replicas_twice_is_the_same_run() {
    let mut sums = [0; 6];
    for seed in 0..12 {
        let plan = replicas::Plan::of(seed);
        let (first, second) = (replicas::run(&plan, None), replicas::run(&plan, None));
        assert_eq!(first, second, "seed {seed}");
        sums.iter_mut().zip(first.seen).for_each(|(sum, n)| *sum += n);
    }
    let [takeovers, fenced, rows, unknown, _, opened] = sums;
    assert!(takeovers > 40 && fenced > 5 && rows > 200 && unknown > 5 && opened > 200, "{sums:?}");
}

#[test]
fn every_bug_planted_among_replicas_is_found() {
    let mut missed = Vec::new();
    for bug in replicas::Bug::ALL {
        let found = (0..FIND_AMONG_REPLICAS).find_map(|seed| {
            let outcome = replicas::run(&replicas::Plan::of(seed), Some(bug));
            Some((seed + 1, outcome.findings.first()?.clone()))
        });
        match found {
            Some((seeds, finding)) => println!("{bug:?}: {seeds} seeds: {finding}"),
            None => missed.push(format!("{bug:?}")),
        }
    }
    assert!(missed.is_empty(), "not found within {FIND_AMONG_REPLICAS} seeds: {missed:?}");
}
