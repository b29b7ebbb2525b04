//! The input of the engine: observations, and the request that carried them.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{AlertId, LabelSet, Timestamp};

/// Whether an alert fires.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The alert's condition holds.
    Firing,
    /// The alert's condition held, and no longer does.
    Resolved,
}

impl Status {
    /// The word that Alertmanager uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Firing => "firing",
            Status::Resolved => "resolved",
        }
    }
}

/// The protocol through which an observation came. The members of one HA pair are one source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Alertmanager's webhook. It sends changes and rare repeats, and it always sends a resolve.
    Alertmanager,
    /// Prometheus' own API v2 client: re-sent every minute, each time with an `endsAt` ahead.
    Prometheus,
    /// PagerDuty's Events API v2, where an event names its alert by a `dedup_key`.
    Pagerduty,
    /// Opsgenie's Alert API, where a request names its alert by an alias.
    Opsgenie,
}

/// The label that holds the key by which the sender of events knows an alert.
pub const EVENT_KEY: &str = "dedup_key";
/// The label that holds the name of the integration that an event came through. Keys are keys within it.
pub const INTEGRATION: &str = "integration";

impl Source {
    /// Every source, for zero-initialised metrics.
    pub const ALL: [Source; 4] =
        [Source::Alertmanager, Source::Prometheus, Source::Pagerduty, Source::Opsgenie];

    /// The value of the label `source`.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Alertmanager => "alertmanager",
            Source::Prometheus => "prometheus",
            Source::Pagerduty => "pagerduty",
            Source::Opsgenie => "opsgenie",
        }
    }

    /// Whether its senders know an alert by a key, and say nothing but the key when the alert ends.
    pub fn is_keyed(self) -> bool {
        matches!(self, Source::Pagerduty | Source::Opsgenie)
    }

    /// The identity of the thing that a sender speaks of: its key where the source has keys, else the full
    /// label set.
    pub fn instance(self, labels: &LabelSet) -> AlertId {
        if !self.is_keyed() {
            return AlertId::of(labels, |_| false);
        }
        let key = [EVENT_KEY, INTEGRATION].map(|name| (name, labels.value(name)));
        let key = key.into_iter().chain([("source", self.as_str())]);
        AlertId::of(&LabelSet::from_pairs(key), |_| false)
    }
}

/// One alert as one accepted request stated it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Observation {
    /// Firing or resolved, as the sender said it (API v2: resolved when `ends_at` has passed).
    pub status: Status,
    /// The full label set. It is never empty.
    pub labels: LabelSet,
    /// Free text for people. It may change from one observation to the next.
    #[serde(default, skip_serializing_if = "LabelSet::is_empty")]
    pub annotations: LabelSet,
    /// When this firing episode began, as the sender said it.
    pub starts_at: Timestamp,
    /// `starts_at` was not said, or cannot be: it is the time of receipt or of the end, and no news if the
    /// alert fires already.
    #[serde(default, skip_serializing_if = "is_false")]
    pub start_unknown: bool,
    /// Resolved: when it ended. Firing from API v2: until when it counts as firing without a further
    /// statement. Firing from a webhook: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// The address of the rule that fired. It may be empty.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub generator_url: SmolStr,
}

impl Observation {
    /// A statement about an alert, without annotations and the address of its rule.
    pub fn new(
        status: Status,
        labels: LabelSet,
        starts_at: Timestamp,
        ends_at: Option<Timestamp>,
    ) -> Observation {
        let (annotations, generator_url) = (LabelSet::default(), SmolStr::default());
        Observation { status, labels, annotations, starts_at, start_unknown: false, ends_at, generator_url }
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// The valid observations of one request, in the order in which they stood there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// The source.
    pub source: Source,
    /// The member of an HA pair that spoke: its `externalURL`, or the sender's address. Two members may
    /// disagree for a while. The engine's rule for a re-fire decides then.
    pub peer: SmolStr,
    /// The observations of the request.
    pub observations: Vec<Observation>,
    /// The notification that said it, if it was one: Alertmanager's webhook groups, API v2 does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
    /// The sender got no 200 for it, because the storage was unusable. An Alertmanager states again what
    /// still fires, and never resolves an alert that it could not tell.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unanswered: bool,
}

impl Batch {
    /// The observations of a request that is no notification.
    pub fn new(source: Source, peer: impl Into<SmolStr>, observations: Vec<Observation>) -> Batch {
        Batch { source, peer: peer.into(), observations, upstream: None, unanswered: false }
    }
}

/// The facts that an upstream's notification states beside its alerts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Upstream {
    /// The sender's key of the group. It is never empty. Its SHA-256 is the sender's key at the pager.
    pub group_key: SmolStr,
    /// The labels by which the sender grouped.
    #[serde(default, skip_serializing_if = "LabelSet::is_empty")]
    pub group_labels: LabelSet,
    /// How many alerts the sender's `max_alerts` left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub truncated: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
