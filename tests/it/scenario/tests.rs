//! The engine on generated scenarios.

use super::*;
use squelch::config::{Config, GroupBy, KnownBy, Noise, Policy};
use squelch::history::{Replay, Told};
use squelch::model::Duration;

const ROUNDS: u32 = 40;
const SEED: u64 = 2026;

fn policy() -> Policy {
    let mut policy = Config::default().policy;
    policy.routes[0].group_by = GroupBy::Labels(vec!["cluster".into()]);
    paging(policy)
}

/// The policy with pagers for receivers: they open and close an incident by its key, as the judge counts.
fn paging(mut policy: Policy) -> Policy {
    let integrations = policy.receivers.values_mut().flat_map(|receiver| &mut receiver.integrations);
    integrations.for_each(|integration| integration.known_by = KnownBy::DedupKey);
    policy
}

fn judge(shape: Shape, policy: &Policy) -> Verdict {
    let scenario = generate(shape, ROUNDS, SEED);
    let (mut judge, mut told) = (Judge::new(&scenario), Told::new(policy));
    let mut replay = Replay::new(policy);
    let mut sink = |n: &squelch::model::Notification| {
        if let Some(telling) = told.take(n) {
            judge.take(&telling);
        }
    };
    scenario.history.iter().for_each(|past| replay.feed(past, &mut sink));
    replay.finish(&mut sink);
    judge.verdict()
}

/// The profile that pages less for one alert that comes and goes.
fn calm() -> Policy {
    let mut calm = policy();
    let noise = Noise::built_in("calm", &calm.severities).unwrap();
    calm.noise.insert("default".into(), noise);
    calm
}

fn judged(shape: Shape, policy: &Policy) -> Verdict {
    let verdict = judge(shape, policy);
    let quantile = |delays: &squelch::history::Delays, p| delays.quantile(p).unwrap_or(Duration::ZERO);
    println!(
        "{shape:?}: {} of {} paged, {} pages ({} for planted), delay p50 {} p99 {}, first-seen critical p50 {}",
        verdict.paged,
        verdict.planted,
        verdict.pages,
        verdict.pages_of_planted,
        quantile(&verdict.delay, 50),
        quantile(&verdict.delay, 99),
        quantile(&verdict.delay_critical, 50),
    );
    verdict
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for shape in Shape::ALL {
        assert_eq!(generate(shape, 2, 7), generate(shape, 2, 7), "{shape:?}");
        assert_ne!(generate(shape, 2, 7).history, generate(shape, 2, 8).history, "{shape:?}");
    }
}

/// Pages for each planted incident, in tenths, that a shape may cost. The aim is 1.2 for all. The further
/// cost of the default profile may fall and must not rise. A flapper that is calm for up to an hour in
/// between pages again each time, since it looks like one that breaks anew.
fn most_pages(shape: Shape) -> u64 {
    match shape {
        // One of 453 more than before: an alert that fires just after its flapping ended is a new problem.
        Shape::Flapper => 114,
        Shape::FanOut
        | Shape::Cascade
        | Shape::DuplicateBurst
        | Shape::Chronic
        | Shape::Needle
        | Shape::Sweep
        | Shape::SlowBurn => 12,
    }
}

/// The laws for every shape under the default profile and `group_by: [cluster]`.
#[test]
fn the_default_profile_pages_every_planted_incident_at_once() {
    let mut failed = Vec::new();
    for shape in Shape::ALL {
        let verdict = judged(shape, &policy());
        let at_once = verdict.delay_critical.quantile(50).is_none_or(|d| d <= Duration::from_secs(1));
        // Only a chronic alert still fires at the end.
        let closed = verdict.left_open == u64::from(shape == Shape::Chronic);
        let pages = verdict.pages_of_planted * 10 <= verdict.planted * most_pages(shape);
        if verdict.paged < verdict.planted || !at_once || !pages || !closed {
            failed.push((shape, verdict));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The aim of 1.2 pages for each planted incident, and three for one that comes and goes a dozen times.
#[test]
fn the_calm_profile_pages_every_planted_incident_once_and_a_flapper_three_times() {
    let mut failed = Vec::new();
    for shape in Shape::ALL {
        let verdict = judged(shape, &calm());
        let at_once = verdict.delay_critical.quantile(50).is_none_or(|d| d <= Duration::from_secs(1));
        let closed = verdict.left_open == u64::from(shape == Shape::Chronic);
        let most = if shape == Shape::Flapper { 30 } else { 12 };
        let once = verdict.pages_of_planted * 10 <= verdict.planted * most;
        if verdict.paged < verdict.planted || !at_once || !once || !closed {
            failed.push((shape, verdict));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The judge finds its case: a needle that joins the flood as an update is not paged.
#[test]
fn an_update_is_no_page() {
    let mut policy = policy();
    policy.severities.levels.truncate(1);
    if let Some(noise) = policy.noise.get_mut("default") {
        (noise.merge_window, noise.growth) = (Duration::from_hours(2), 0);
    }
    let verdict = judge(Shape::Needle, &policy);
    assert!(verdict.paged < verdict.planted, "{verdict:?}");
}
