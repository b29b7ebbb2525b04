//! The output of the engine: notifications, and the reports about them.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{AlertId, Cause, Duration, Headline, LabelSet, Problem, SEVERITY, Status, Timestamp, headline};

/// Number of a notification, unique for the life of the journal, rising.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NotificationId(pub u64);

/// The effect of a notification on a person.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Opens an incident: interrupts.
    Page,
    /// Changes or repeats an open incident. It interrupts no person.
    Update,
    /// Closes an incident.
    Resolve,
    /// Reports the alerts held back. It interrupts no person.
    Digest,
    /// Says that a person acknowledged an open incident, so that the pager calls nobody else.
    Acknowledge,
}

impl Kind {
    /// Every kind, for zero-initialised metrics.
    pub const ALL: [Kind; 5] = [Kind::Page, Kind::Update, Kind::Resolve, Kind::Digest, Kind::Acknowledge];

    /// The value of the label `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Page => "page",
            Kind::Update => "update",
            Kind::Resolve => "resolve",
            Kind::Digest => "digest",
            Kind::Acknowledge => "acknowledge",
        }
    }
}

/// One message for one integration of one receiver, complete: a worker needs nothing else but the
/// integration's configuration to send it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Notification {
    /// Its number.
    pub id: NotificationId,
    /// When it was decided.
    pub at: Timestamp,
    /// The receiver's name.
    pub receiver: SmolStr,
    /// The integration within the receiver, `pagerduty[0]`: kind and position.
    pub integration: SmolStr,
    /// A hash of where the integration leads: a reload may give its position to another one. 0 if it is not
    /// known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub endpoint: u64,
    /// Its effect on a person.
    pub kind: Kind,
    /// 64 hex digits, stable for the life of the incident, computed as Alertmanager computes it. Of a
    /// digest: the same for all digests of the receiver.
    pub dedup_key: SmolStr,
    /// The key of the incident everywhere else, if the receiver has another incident under that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident_key: Option<SmolStr>,
    /// Alertmanager's group key, `<route key>:<group labels>`. For a digest it is `digest:<receiver>`.
    pub group_key: SmolStr,
    /// The n-th incident of the group, from 0.
    pub generation: u32,
    /// The labels by which the incident's alerts are grouped.
    pub group_labels: LabelSet,
    /// The labels of its route. Their values are templates.
    #[serde(default, skip_serializing_if = "LabelSet::is_empty")]
    pub route_labels: LabelSet,
    /// The labels by which texts name it, if they differ from the group's. For merged pages, these are the
    /// labels that most of their alerts share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<LabelSet>,
    /// The title of merged pages, which counts all of their alerts, or of any page whose severity stands in
    /// another label than [`SEVERITY`]. `None` = the title follows from the alerts of this notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headline: Option<Headline>,
    /// Name of the highest severity level among the alerts (the configured name, not an alias).
    pub severity: SmolStr,
    /// That level's position, 0 = the highest, and the number of levels.
    pub level: (u8, u8),
    /// The incident's alerts: firing ones first, then the highest severity, then as Alertmanager orders
    /// them. If not all fit, the page and the resolve both list those that came in first. For a digest, these
    /// are the alerts that are held back now, the worst first, at most 100.
    pub alerts: Vec<AlertView>,
    /// Alerts of other incidents of its group, for consumers that know a problem by its group: if one fires,
    /// the group does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<AlertView>,
    /// How many further alerts the bound left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub truncated: u64,
    /// How many of these fire.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub truncated_firing: u64,
    /// When the incident was first paged. For a digest, the start of its period.
    pub opened_at: Timestamp,
    /// The message about the incident that the integration already shows, by the receiver's name for it,
    /// where the receiver can change a message. A later notification changes this message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<SmolStr>,
    /// The recalled notification whose place it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Recalled>,
    /// Why it leaves.
    pub cause: Cause,
}

/// A notification that Squelch took back before its receiver accepted it, since its incident had changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recalled {
    /// Its number, or that of the first one if it replaced another one in its turn.
    pub id: NotificationId,
    /// When that one was decided.
    pub at: Timestamp,
    /// Its kind.
    pub kind: Kind,
    /// How many attempts were made, those at notifications that it replaced included.
    pub attempts: u32,
    /// One of these may have been accepted.
    pub ambiguous: bool,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Notification {
    /// A notification that belongs to no incident and lists no alerts.
    pub fn new(at: Timestamp, receiver: impl Into<SmolStr>, kind: Kind) -> Notification {
        Notification {
            id: NotificationId(0),
            at,
            receiver: receiver.into(),
            integration: SmolStr::default(),
            endpoint: 0,
            kind,
            dedup_key: SmolStr::default(),
            incident_key: None,
            group_key: SmolStr::default(),
            generation: 0,
            group_labels: LabelSet::default(),
            route_labels: LabelSet::default(),
            title: None,
            headline: None,
            severity: SmolStr::default(),
            level: (0, 1),
            alerts: Vec::new(),
            beside: Vec::new(),
            truncated: 0,
            truncated_firing: 0,
            opened_at: at,
            message: None,
            replaces: None,
            cause: Cause::FirstPage,
        }
    }

    /// The labels that texts name it by.
    pub fn title(&self) -> &LabelSet {
        self.title.as_ref().unwrap_or(&self.group_labels)
    }

    /// The title that a person reads, without the mark of the state.
    pub fn headline(&self) -> Headline {
        let alerts = || self.alerts.iter().map(|alert| &alert.labels).collect::<Vec<_>>();
        let known = self.headline.clone();
        known.unwrap_or_else(|| {
            headline(self.title(), &alerts(), SEVERITY, self.kind != Kind::Digest, self.truncated)
        })
    }
}

/// One alert inside a notification.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AlertView {
    /// Identity.
    pub id: AlertId,
    /// The status that the incident shows. A flapping alert shows as firing.
    pub status: Status,
    /// The labels of its identity.
    pub labels: LabelSet,
    /// Annotations as last said.
    #[serde(default, skip_serializing_if = "LabelSet::is_empty")]
    pub annotations: LabelSet,
    /// Start of the occurrence.
    pub starts_at: Timestamp,
    /// End of the occurrence, once resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// Where the rule can be looked at.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub generator_url: SmolStr,
    /// The problem that an internal alert is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Box<Problem>>,
    /// The alert flaps: how often it changed since it was found to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flaps: Option<u32>,
}

impl AlertView {
    /// An alert with these labels and no more.
    pub fn new(labels: LabelSet, status: Status, starts_at: Timestamp) -> AlertView {
        AlertView {
            id: AlertId::of(&labels, |_| false),
            status,
            labels,
            annotations: LabelSet::default(),
            starts_at,
            ends_at: None,
            generator_url: SmolStr::default(),
            problem: None,
            flaps: None,
        }
    }
}

/// Failed attempts at a notification that has not reached its end. Its worker says so after the first one,
/// and again before the end if there were several.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FailedDelivery {
    /// Which one.
    pub id: NotificationId,
    /// Its kind.
    pub kind: Kind,
    /// How many attempts failed.
    pub attempts: u32,
    /// The time since the first of them failed.
    pub lasted: Duration,
    /// The error of the newest one, cut to 1 KiB, secrets removed.
    pub error: String,
}

/// The final result of a notification, as its worker saw it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Which one.
    pub id: NotificationId,
    /// The end.
    pub outcome: Outcome,
    /// How many attempts were made.
    pub attempts: u32,
    /// The receiver's name for the message that it took, where later notifications change this message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<SmolStr>,
}

/// The end of a notification.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The receiver took it.
    Accepted,
    /// The receiver refused it for good: dead letter.
    Rejected(Rejection),
    /// Squelch took it back, since its incident had changed. The receiver has not accepted it, as far as
    /// Squelch knows.
    Recalled {
        /// An attempt may have been accepted (it timed out, or the connection broke).
        ambiguous: bool,
    },
}

/// Why a notification became a dead letter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rejection {
    /// Alertmanager's word: `clientError`, `authError`, …
    pub reason: SmolStr,
    /// The receiver's answer, cut to 1 KiB, secrets removed.
    pub detail: String,
    /// An earlier attempt may have been accepted (it timed out, or the connection broke).
    pub ambiguous: bool,
}
