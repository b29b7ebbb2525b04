//! Generated storms: seven shapes seen in production, each with the pages that a person should get.
//!
//! Each planted incident stands in a cluster of its own choosing at a time of its own, so that one
//! page each is possible. The same seed gives the same history, byte for byte.

mod judge;
mod shapes;

pub use judge::{Judge, Verdict};

use std::collections::BTreeMap;

use squelch::engine::Event;
use squelch::history::Past;
use squelch::model::{Batch, LabelSet, Observation, Source, Status, Timestamp};

/// The peer of all histories that are made here.
const PEER: &str = "history";

/// The pattern in which alerts come when something breaks, or when nothing does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Shape {
    /// 5 to 30 alerts of one cause within two minutes, for 20 to 200 minutes.
    FanOut,
    /// A root, then 4 to 20 that depend on it, 30 to 300 s later.
    Cascade,
    /// One alert, on for 1 to 19 minutes and off for 1 to 60, a dozen times.
    Flapper,
    /// One alert said hundreds of times in twenty minutes, by both members of a pair.
    DuplicateBurst,
    /// One alert that never ends, and a new one of another kind beside it hours later.
    Chronic,
    /// 1 to 3 new critical alerts in a flood of 100 to 500 others, in the flood's own cluster.
    Needle,
    /// One node after another, 5 minutes apart, as an upgrade does.
    Sweep,
    /// One critical alert with nothing beside it in a quiet hour.
    SlowBurn,
}

impl Shape {
    /// All of them.
    pub const ALL: [Shape; 8] = [
        Shape::FanOut,
        Shape::Cascade,
        Shape::Flapper,
        Shape::DuplicateBurst,
        Shape::Chronic,
        Shape::Needle,
        Shape::Sweep,
        Shape::SlowBurn,
    ];
}

/// An incident that was planted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planted {
    /// When its first alert fires.
    pub start: Timestamp,
    /// When its last alert has resolved.
    pub end: Timestamp,
    /// Its alerts. A page that lists one of them counts for it.
    pub alerts: Vec<LabelSet>,
    /// Its first alert is critical and was never seen before: nothing may delay it.
    pub first_seen_critical: bool,
}

/// A history, and the truth about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// The events, in order of time.
    pub history: Vec<Past>,
    /// The pages that a person should get.
    pub truth: Vec<Planted>,
}

/// `rounds` incidents of `shape`, half a day apart, over background noise.
pub fn generate(shape: Shape, rounds: u32, seed: u64) -> Scenario {
    let mut plan = Plan { dice: Dice(seed), said: BTreeMap::new(), truth: Vec::new() };
    for round in 0..rounds {
        let start = START_MS + i64::from(round) * HALF_DAY_MS + plan.dice.within(0, 3_600_000);
        shapes::plant(&mut plan, shape, round, start);
    }
    let history = plan.said.into_iter().map(|(at, observations)| {
        let batch = Batch::new(Source::Alertmanager, PEER, observations);
        Past { at: Timestamp::from_millis(at), event: Event::Observe(batch) }
    });
    Scenario { history: history.collect(), truth: plan.truth }
}

/// 2026-01-05T00:00:00Z, a Monday.
const START_MS: i64 = 1_767_571_200_000;
const HALF_DAY_MS: i64 = 43_200_000;

/// A scenario in the making.
struct Plan {
    dice: Dice,
    /// The statements, by time in milliseconds, in the order in which they were planned.
    said: BTreeMap<i64, Vec<Observation>>,
    truth: Vec<Planted>,
}

impl Plan {
    /// An alert fires from `from` to `to`, and says so at both.
    fn alert(&mut self, labels: &LabelSet, from: i64, to: i64) {
        self.say(labels, Status::Firing, from, (from, to));
        self.say(labels, Status::Resolved, to, (from, to));
    }

    /// The alert that fires from `from` to `to` is spoken of at `at`.
    fn say(&mut self, labels: &LabelSet, status: Status, at: i64, (from, to): (i64, i64)) {
        self.said.entry(at).or_default().push(Observation::new(
            status,
            labels.clone(),
            Timestamp::from_millis(from),
            (status == Status::Resolved).then(|| Timestamp::from_millis(to)),
        ));
    }

    fn truth(&mut self, alerts: Vec<LabelSet>, (start, end): (i64, i64), first_seen_critical: bool) {
        let (start, end) = (Timestamp::from_millis(start), Timestamp::from_millis(end));
        self.truth.push(Planted { start, end, alerts, first_seen_critical });
    }
}

/// SplitMix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    fn within(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1).unsigned_abs()) as i64
    }

    fn minutes(&mut self, low: i64, high: i64) -> i64 {
        self.within(low * 60_000, high * 60_000)
    }
}

#[cfg(test)]
mod tests;
