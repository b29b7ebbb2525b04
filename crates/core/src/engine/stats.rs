//! The engine's counters: part of its state, so they survive a restart and are read as one whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::model::{Disposition, Duration, Kind, SilenceState, Source, Status, Timestamp};

/// The engine's counters since the journal began, and its current gauges.
///
/// Law: for each receiver, at every instant, `routed = Σ disposed + pending`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Observations received.
    #[serde(with = "crate::engine::pairs")]
    pub received: BTreeMap<(Source, Status), u64>,
    /// By receiver. Every receiver of the policy has an entry from the start.
    pub receivers: BTreeMap<SmolStr, ReceiverStats>,
    /// By receiver, the dispositions that would have followed in observe mode. The law holds here too.
    #[serde(default)]
    pub observed: BTreeMap<SmolStr, ReceiverStats>,
    /// Alerts known, firing or not.
    pub alerts: u64,
    /// Alerts that fire.
    pub firing: u64,
    /// Silences that are kept, by state.
    #[serde(default)]
    pub silences: BTreeMap<SilenceState, u64>,
    /// Silences that silence nothing, because their expressions take more memory than there is for them.
    #[serde(default)]
    pub silences_without_room: u64,
    /// The time of each heartbeat's last sign from the sender that is silent longest. `None` if there was
    /// none.
    #[serde(default)]
    pub heartbeats: BTreeMap<SmolStr, Option<Timestamp>>,
    /// Senders whose clock is wrong, and by how many milliseconds at least: above 0 if it is ahead.
    #[serde(default)]
    pub sender_clocks: BTreeMap<SmolStr, i64>,
    /// Rules, and labels of theirs whose value changes all the time: how often it changed in a row. Each
    /// change ends one alert and starts another one.
    #[serde(default, with = "crate::engine::pairs")]
    pub changing_labels: BTreeMap<(SmolStr, SmolStr), u64>,
    /// Values of the severity label that no level names: with how many alerts each came.
    #[serde(default)]
    pub unknown_severities: BTreeMap<SmolStr, u64>,
    /// Observations beyond `limits.alerts`.
    #[serde(default)]
    pub overflow: u64,
    /// How much was forgotten early, or left out, by the bound that bit.
    #[serde(default)]
    pub bounds: BTreeMap<Bound, u64>,
}

/// The tables that have a bound.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Known alerts: resolved ones were forgotten early.
    Alerts,
    /// Full label sets of one alert.
    LabelSets,
    /// Groups remembered.
    Groups,
    /// Memories of series.
    Series,
    /// Alerts withheld in one group.
    Withheld,
    /// Members of one incident.
    Members,
    /// Senders of one heartbeat.
    Heartbeats,
    /// Late alerts that are listed one by one.
    Unheard,
    /// Alerts put aside because the engine failed on them.
    Quarantine,
}

impl Bound {
    /// Every bound, for zero-initialised metrics.
    pub const ALL: [Bound; 9] = [
        Bound::Alerts,
        Bound::LabelSets,
        Bound::Groups,
        Bound::Series,
        Bound::Withheld,
        Bound::Members,
        Bound::Heartbeats,
        Bound::Unheard,
        Bound::Quarantine,
    ];

    /// The value of the label `bound`.
    pub fn as_str(self) -> &'static str {
        match self {
            Bound::Alerts => "alerts",
            Bound::LabelSets => "label_sets",
            Bound::Groups => "groups",
            Bound::Series => "series",
            Bound::Withheld => "withheld",
            Bound::Members => "members",
            Bound::Heartbeats => "heartbeats",
            Bound::Unheard => "unheard",
            Bound::Quarantine => "quarantine",
        }
    }
}

/// The counters of one receiver.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ReceiverStats {
    /// Observations routed here, once for each route.
    pub routed: u64,
    /// Their dispositions.
    #[serde(with = "crate::engine::pairs")]
    pub disposed: BTreeMap<Disposition, u64>,
    /// Accepted, not yet disposed.
    pub pending: u64,
    /// Notifications decided, by integration (`pagerduty[0]`) and kind.
    #[serde(with = "crate::engine::pairs")]
    pub notifications: BTreeMap<(SmolStr, Kind), u64>,
    /// Incidents that are open at the pager, or about to be.
    pub open: u64,
    /// Incidents whose alerts have all resolved and that wait out `resolve_hold`.
    pub resolving: u64,
    /// Incidents that are over, and whose resolve not all of their receivers have accepted.
    #[serde(default)]
    pub closing: u64,
    /// Incidents that are open at an integration which the configuration does not have any more.
    #[serde(default)]
    pub orphaned: u64,
    /// Alerts that count as flapping here.
    pub flapping: u64,
    /// Alerts held before their first page.
    pub held: u64,
    /// Pages that left beyond the declared budget.
    pub over_budget: u64,
    /// Page delay: from `startsAt` (or receipt, if later) to the decision, one entry a page, by bucket of
    /// [`PAGE_DELAY_BUCKETS`], the last being everything above.
    pub page_delay: Vec<u64>,
    /// Sum of all page delays.
    pub page_delay_sum: Duration,
}

impl ReceiverStats {
    /// Whether nothing is open or waits here.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending + self.open + self.resolving + self.closing + self.orphaned + self.flapping + self.held
            == 0
    }

    /// Adds the counters of a receiver where nothing is open or waits.
    pub(crate) fn add(&mut self, idle: ReceiverStats) {
        self.routed += idle.routed;
        self.over_budget += idle.over_budget;
        let sum = self.page_delay_sum.as_millis().saturating_add(idle.page_delay_sum.as_millis());
        self.page_delay_sum = Duration::from_millis(sum);
        for (disposition, count) in idle.disposed {
            *self.disposed.entry(disposition).or_default() += count;
        }
        for (sent, count) in idle.notifications {
            *self.notifications.entry(sent).or_default() += count;
        }
        self.page_delay.resize(self.page_delay.len().max(idle.page_delay.len()), 0);
        for (bucket, count) in self.page_delay.iter_mut().zip(idle.page_delay) {
            *bucket += count;
        }
    }
}

/// Upper bounds, in seconds, of the buckets of `squelch_page_delay_seconds`.
pub const PAGE_DELAY_BUCKETS: [u64; 10] = [1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600];
