//! Settings that watch Squelch itself: fail open, heartbeats, self-check and bounds.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Level, Policy};
use crate::model::{Duration, LabelSet, Matcher};

/// Which pages leave while the storage is unusable.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FailOpen {
    /// How long the storage must have been unusable. 0 = no page ever leaves without it. Default 60s.
    pub after: Duration,
    /// Names of the severity levels whose pages leave. Empty = those marked `never_hold`.
    pub levels: Vec<SmolStr>,
}

impl Default for FailOpen {
    fn default() -> Self {
        FailOpen { after: Duration::from_secs(60), levels: Vec::new() }
    }
}

impl FailOpen {
    /// Whether pages of this level leave.
    pub fn lets_out(&self, level: &Level) -> bool {
        if self.levels.is_empty() { level.never_hold } else { self.levels.contains(&level.name) }
    }
}

/// An alert that always fires, so that its absence is a sign.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Its name in metrics and pages. It is unique. Default `heartbeat[0]` and so on.
    pub name: SmolStr,
    /// Matchers that must all match. The list is never empty.
    pub matchers: Vec<Matcher>,
    /// How long it may be silent before a page says so. Default 10m.
    pub silent_after: Duration,
    /// The receiver that is paged. `None` = the receiver of `self_check`.
    pub receiver: Option<SmolStr>,
}

impl Heartbeat {
    /// Whether an alert with these labels is this heartbeat.
    pub fn matches(&self, labels: &LabelSet) -> bool {
        self.matchers.iter().all(|m| m.matches(labels))
    }
}

/// The settings of the self-check. Internal incidents never pass the noise stages.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SelfCheckSettings {
    /// Whether it does. Default true.
    pub enabled: bool,
    /// The receiver of internal incidents. `None` = the receiver of the root route.
    pub receiver: Option<SmolStr>,
    /// Squelch raises an alarm if it notified no receiver of an alert marked `never_hold` for this long. A
    /// level's own `respond_within` goes before it. 0 = only levels with `respond_within`. Default 30m.
    pub unheard_after: Duration,
    /// Squelch raises an alarm if a receiver has not accepted a page for this long. 0 = never. Default 5m.
    pub undelivered_after: Duration,
}

impl Default for SelfCheckSettings {
    fn default() -> Self {
        SelfCheckSettings {
            enabled: true,
            receiver: None,
            unheard_after: Duration::from_mins(30),
            undelivered_after: Duration::from_mins(5),
        }
    }
}

/// Bounds of the engine's memory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// The number of known alerts, firing or not. Squelch reports further ones together. Default 1,000,000.
    pub alerts: u64,
    /// Bytes that silences may take, their expressions compiled. A part of the memory that there is, and no
    /// key of the configuration. Default 16 MiB.
    #[serde(default = "silences")]
    pub silences: u64,
}

fn silences() -> u64 {
    16 << 20
}

impl Default for Limits {
    fn default() -> Self {
        Limits { alerts: 1_000_000, silences: silences() }
    }
}

impl Policy {
    /// The receiver of internal incidents, if the self-check is enabled.
    pub fn watcher(&self) -> Option<&SmolStr> {
        let root = || self.routes.first().map(|route| &route.receiver);
        self.self_check.receiver.as_ref().or_else(root).filter(|_| self.self_check.enabled)
    }

    /// Which heartbeat an alert with these labels is, if it is one.
    pub fn heartbeat_of(&self, labels: &LabelSet) -> Option<&Heartbeat> {
        self.heartbeats.iter().find(|h| h.matches(labels))
    }

    /// How long an alert with these labels may fire without a notification, if there is a bound.
    pub fn notified_within(&self, labels: &LabelSet) -> Option<Duration> {
        let level = self.severities.levels.get(self.severities.level_of(labels))?;
        let unheard = Some(self.self_check.unheard_after).filter(|d| level.never_hold && !d.is_zero());
        level.respond_within.or(unheard).filter(|_| self.self_check.enabled)
    }
}
