//! The history of incidents: one record for each thing that happened to one.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Cause, Duration, Kind, LabelSet, Timestamp};

/// A change of an incident. The journal keeps it beside the decisions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IncidentRecord {
    /// When it happened.
    pub at: Timestamp,
    /// The number of the incident. It is unique for the life of the journal, which the `dedup_key` is not: a
    /// group that was forgotten begins again with the same key.
    pub incident: u64,
    /// The `dedup_key`, 64 hex digits.
    pub key: SmolStr,
    /// The change.
    pub change: IncidentChange,
}

/// A change of an incident.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentChange {
    /// It opened.
    Opened(Box<IncidentOpened>),
    /// Its receivers get a new version of it.
    Issued(Box<IncidentIssued>),
    /// Attempts to deliver a notification failed. A record follows the first one. If several failed, a second
    /// record stands before the end of the notification.
    Failed {
        /// Which notification, and where.
        of: IncidentDelivery,
        /// How many attempts failed.
        attempts: u32,
        /// When the first of them failed.
        since: Timestamp,
        /// The error of the newest one, at most 1 KiB.
        error: String,
    },
    /// An integration accepted a notification.
    Accepted(IncidentDelivery),
    /// An integration refused a notification for good.
    Refused {
        /// Which notification, and where.
        of: IncidentDelivery,
        /// The reason, in Alertmanager's word.
        reason: SmolStr,
    },
    /// Squelch recalled a notification that an integration had not accepted.
    Recalled {
        /// Which notification, and where.
        of: IncidentDelivery,
        /// How many attempts this process made.
        attempts: u32,
    },
    /// A person acknowledged it. Without a name, the acknowledgement was taken back.
    Acknowledged {
        /// The name of the person.
        by: Option<SmolStr>,
    },
    /// No person acknowledged it in time, so another receiver is notified too.
    Escalated {
        /// The other receiver.
        to: SmolStr,
        /// `respond_within` of the severity level.
        within: Duration,
    },
    /// A person wrote about it.
    Remarked(Remark),
    /// It is over.
    Closed {
        /// Why.
        cause: Box<Cause>,
        /// The number of the incident that took its place.
        successor: Option<u64>,
    },
}

/// An incident as it opened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IncidentOpened {
    /// The receiver.
    pub receiver: SmolStr,
    /// The key of its route.
    pub route: SmolStr,
    /// Alertmanager's group key.
    pub group_key: SmolStr,
    /// The n-th incident of its group, from 0.
    pub generation: u32,
    /// The labels of its group.
    pub group_labels: LabelSet,
    /// Whether its profile only observes, so that Squelch notified no receiver.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observed: bool,
    /// The decider: `squelch`, `sender` or `internal`.
    pub origin: SmolStr,
    /// The start of its earliest alert.
    pub started_at: Timestamp,
    /// The incident whose place this one takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<u64>,
    /// Its first version.
    pub issued: IncidentIssued,
}

/// One version of an incident.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IncidentIssued {
    /// Why its receivers are notified.
    pub cause: Cause,
    /// The title, as receivers show it behind the mark of its state.
    pub title: String,
    /// The name of the highest severity level that it had.
    pub severity: SmolStr,
    /// How many of its alerts fire.
    pub firing: usize,
    /// How many alerts it has.
    pub alerts: usize,
    /// The rules of its alerts that no earlier record names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<IncidentRule>,
}

/// A rule, as one of its alerts states it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IncidentRule {
    /// The name of its alerts.
    pub name: SmolStr,
    /// Annotations of the alert, cut to 4 KiB each.
    #[serde(default, skip_serializing_if = "LabelSet::is_empty")]
    pub annotations: LabelSet,
    /// Where the rule can be looked at.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub generator_url: SmolStr,
}

/// A notification of an incident at one integration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IncidentDelivery {
    /// The receiver.
    pub receiver: SmolStr,
    /// The integration within the receiver, such as `pagerduty[0]`.
    pub integration: SmolStr,
    /// The kind of the notification.
    pub kind: Kind,
}

/// A person's remark about an incident, open or closed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Remark {
    /// The name of the person.
    pub by: SmolStr,
    /// The content of the remark.
    pub said: RemarkContent,
}

/// The kinds of remark about an incident.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemarkContent {
    /// A note.
    Note(String),
    /// Whether the page was useful.
    Useful(bool),
}
