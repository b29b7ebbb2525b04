//! The history of incidents: the events of each, open or closed, and how long it took.

mod events;
mod read;
mod write;

use serde::{Deserialize, Serialize};

use crate::model::{Cause, Duration, IncidentRule, Matcher, Timestamp};

pub(super) use read::{AROUND, named};
pub(super) use write::{add, prune};

pub use crate::engine::SHORTEST_KEY;

/// Which incidents are wanted: all that is given must hold. The newest come first.
#[derive(Clone, Debug, Default)]
pub struct PastIncidentQuery {
    /// Each must stand in the title, the receiver or the severity. Case does not matter.
    pub words: Vec<String>,
    /// All must match the labels of one of its alerts.
    pub matchers: Vec<Matcher>,
    /// Only this receiver's.
    pub receiver: Option<String>,
    /// Only open ones, or only closed ones.
    pub open: Option<bool>,
    /// Only incidents of profiles that observe, or only the others.
    pub observed: Option<bool>,
    /// Opened then or later.
    pub since: Option<Timestamp>,
    /// Opened before.
    pub until: Option<Timestamp>,
    /// Closed then or later, or still open.
    pub closed_since: Option<Timestamp>,
    /// Only incidents older than this: see [`PastIncidentPage::next`].
    pub before: Option<u64>,
    /// How many at most. Kept between 1 and 1,000.
    pub limit: usize,
}

/// An incident, open or closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastIncident {
    /// Its number. It is unique for the life of the journal.
    pub number: u64,
    /// The key under which receivers know it, 64 hex digits. A later incident of the same group can have it
    /// again.
    pub dedup_key: String,
    /// The receiver.
    pub receiver: String,
    /// Whether its profile only observes, so that Squelch notified no receiver.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observed: bool,
    /// The title, as receivers show it.
    pub title: String,
    /// The name of the highest severity level that it had.
    pub severity: String,
    /// How many of its alerts fire.
    pub firing: u64,
    /// How many alerts it has.
    pub size: u64,
    /// The start of its earliest alert.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it opened: the page was decided.
    #[schema(value_type = String, format = DateTime)]
    pub opened_at: Timestamp,
    /// When the first integration accepted the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub notified_at: Option<Timestamp>,
    /// When a person acknowledged it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub acknowledged_at: Option<Timestamp>,
    /// The person who acknowledged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_by: Option<String>,
    /// When it closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closed_at: Option<Timestamp>,
    /// The number of the incident that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<u64>,
    /// Whether a person found its page useful.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub useful: Option<bool>,
}

impl PastIncident {
    /// From the start of its earliest alert to the first accepted page.
    pub fn time_to_notify(&self) -> Option<Duration> {
        self.notified_at.map(|at| at.since(self.started_at))
    }

    /// From the first accepted page to the acknowledgement.
    pub fn time_to_acknowledge(&self) -> Option<Duration> {
        let paged = self.notified_at.unwrap_or(self.opened_at);
        self.acknowledged_at.map(|at| at.since(paged))
    }

    /// From the start of its earliest alert to its end. An incident whose place another one took has no end
    /// of its own.
    pub fn time_to_resolve(&self) -> Option<Duration> {
        let closed = self.closed_at.filter(|_| self.successor.is_none());
        closed.map(|at| at.since(self.started_at))
    }
}

/// Median and 90th percentile of a time, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quantiles {
    /// How many incidents have this time.
    pub count: usize,
    /// Half of them took at most so long.
    pub median_ms: u64,
    /// Nine in ten took at most so long.
    pub p90_ms: u64,
}

impl Quantiles {
    fn of(times: impl Iterator<Item = Duration>) -> Quantiles {
        let mut all: Vec<u64> = times.map(Duration::as_millis).collect();
        all.sort_unstable();
        // The nearest rank: the smallest value that so many per cent do not exceed.
        let rank = |percent: usize| {
            let rank = (all.len() * percent).div_ceil(100).max(1) - 1;
            all.get(rank).copied().unwrap_or(0)
        };
        Quantiles { count: all.len(), median_ms: rank(50), p90_ms: rank(90) }
    }
}

/// How long incidents took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = IncidentTimes)]
#[serde(rename_all = "camelCase")]
pub struct Times {
    /// From the start of the earliest alert to the first accepted page.
    pub to_notify: Quantiles,
    /// From the first accepted page to the acknowledgement.
    pub to_acknowledge: Quantiles,
    /// From the start of the earliest alert to the end of the incident.
    pub to_resolve: Quantiles,
}

impl Times {
    /// The times of these incidents.
    pub fn of(incidents: &[PastIncident]) -> Times {
        Times {
            to_notify: Quantiles::of(incidents.iter().filter_map(PastIncident::time_to_notify)),
            to_acknowledge: Quantiles::of(incidents.iter().filter_map(PastIncident::time_to_acknowledge)),
            to_resolve: Quantiles::of(incidents.iter().filter_map(PastIncident::time_to_resolve)),
        }
    }
}

/// One page of the history, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = IncidentHistory)]
pub struct PastIncidentPage {
    /// The incidents.
    pub incidents: Vec<PastIncident>,
    /// The times of the incidents on this page.
    pub times: Times,
    /// The cursor of the next page, to be given as `cursor`. Missing on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A rule of an incident's alerts, as one of them stated it when it joined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = IncidentRule)]
#[serde(rename_all = "camelCase")]
pub struct IncidentRuleEntry {
    /// The name of its alerts.
    pub name: String,
    /// Annotations.
    pub annotations: std::collections::BTreeMap<String, String>,
    /// Where the rule can be looked at.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub generator_url: String,
}

impl From<&IncidentRule> for IncidentRuleEntry {
    fn from(rule: &IncidentRule) -> Self {
        let annotations = rule.annotations.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        IncidentRuleEntry {
            name: rule.name.to_string(),
            annotations: annotations.collect(),
            generator_url: rule.generator_url.to_string(),
        }
    }
}

/// A change of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = IncidentEvent)]
#[serde(rename_all = "camelCase")]
pub struct EventEntry {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The kind of event: `decision`, `delivery` or `person`.
    pub lane: String,
    /// `opened`, `issued`, `failed`, `accepted`, `refused`, `recalled`, `acknowledged`, `unacknowledged`,
    /// `escalated`, `note`, `useful`, `not_useful` or `closed`.
    pub event: String,
    /// The event as one sentence.
    pub text: String,
    /// The person, for an action of a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The text of a note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The integration of a delivery, such as `oncall/pagerduty[0]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integration: Option<String>,
    /// Why, as data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// An alert of an incident, as the decisions about it tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PastIncidentAlert)]
#[serde(rename_all = "camelCase")]
pub struct IncidentAlertEntry {
    /// Its identity, 32 hex digits.
    pub id: String,
    /// Its labels.
    pub labels: std::collections::BTreeMap<String, String>,
    /// The start of its first occurrence in the incident.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// The last decision about it in the incident.
    #[schema(value_type = String, format = DateTime)]
    pub last_at: Timestamp,
    /// How many observations of it the incident has.
    pub observations: u64,
}

/// An incident with all that happened to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = IncidentDetail)]
#[serde(rename_all = "camelCase")]
pub struct PastIncidentDetail {
    /// The incident.
    pub incident: PastIncident,
    /// Its group's key, as Alertmanager writes it.
    pub group_key: String,
    /// The n-th incident of its group, from 0.
    pub generation: u32,
    /// The labels of its group.
    pub group_labels: std::collections::BTreeMap<String, String>,
    /// The key of its route.
    pub route: String,
    /// The decider: `squelch`, `sender` or `internal`.
    pub origin: String,
    /// The number of the incident whose place it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<u64>,
    /// The rules of its alerts, at most 20.
    pub rules: Vec<IncidentRuleEntry>,
    /// Its alerts, the earliest first, at most 100. Squelch keeps them as long as the decisions about them.
    pub alerts: Vec<IncidentAlertEntry>,
    /// The events, the oldest first. At most 2,000: the first half and the newest half of them.
    pub events: Vec<EventEntry>,
    /// How many events the list leaves out.
    pub left_out: u64,
}

/// Which incident is wanted.
#[derive(Clone, Debug)]
pub struct WhichIncident {
    /// Its `dedup_key`, or a beginning of at least [`SHORTEST_KEY`] hex digits that no other incident has. Of
    /// several incidents with the same key, it names the newest.
    pub key: String,
    /// Its number, for an older incident with the same key.
    pub number: Option<u64>,
    /// Whether the incident of a profile that observes is wanted, where both sides have the key.
    pub observed: Option<bool>,
}

/// The incident that a key names, or its review.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum NamedIncident<T = PastIncidentDetail> {
    /// Nothing.
    #[default]
    None,
    /// This incident.
    One(Box<T>),
    /// Several, by their keys. At most 10 are listed.
    Several(Vec<String>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_take_the_nearest_rank() {
        let times = |all: &[u64]| Quantiles::of(all.iter().map(|s| Duration::from_secs(*s)));
        assert_eq!(times(&[]), Quantiles::default());
        assert_eq!(times(&[7]), Quantiles { count: 1, median_ms: 7_000, p90_ms: 7_000 });
        let ten: Vec<u64> = (1..=10).rev().collect();
        assert_eq!(times(&ten), Quantiles { count: 10, median_ms: 5_000, p90_ms: 9_000 });
    }
}
