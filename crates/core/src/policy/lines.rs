//! Where in the file things stand that decide: so that a decision can name its line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// Lines of the configuration, from 1. Routes carry their own. Empty if the policy was not read from a
/// file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lines {
    /// The lines of each noise profile's keys. The profile itself stands under the empty key.
    pub noise: BTreeMap<SmolStr, BTreeMap<SmolStr, u32>>,
    /// Of the time intervals, by name.
    pub time_intervals: BTreeMap<SmolStr, u32>,
    /// Of the inhibit rules, in their order.
    pub inhibit_rules: Vec<u32>,
    /// Of the levels of severity, by name.
    pub severities: BTreeMap<SmolStr, u32>,
    /// Of the keys of `global`.
    pub global: BTreeMap<SmolStr, u32>,
}

impl Lines {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Lines::default()
    }
}
