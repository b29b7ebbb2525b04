//! Problems for which Squelch opens an internal incident, as data.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Duration;

/// The subject of an internal incident. The same rules as for [`super::Cause`] hold for its fields.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Problem {
    /// Alerts fire, and no receiver was notified in time.
    AlertsUnheard {
        /// How many.
        alerts: usize,
        /// The `alertname`s of some of them.
        #[schema(value_type = Vec<String>)]
        names: Vec<SmolStr>,
    },
    /// Receivers did not accept pages in time.
    PagesUndelivered {
        /// `self_check.undelivered_after`.
        #[schema(value_type = String)]
        after: Duration,
        /// How many pages of each receiver.
        receivers: Vec<NameCount>,
    },
    /// Receivers refused notifications for good.
    DeadLetters {
        /// How many open incidents of each receiver.
        incidents: Vec<NameCount>,
        /// At how many integrations of each receiver the digest was refused.
        digests: Vec<NameCount>,
        /// At how many integrations of each receiver the report was refused.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        reports: Vec<NameCount>,
    },
    /// Incidents are open at integrations that the configuration does not have any more.
    IncidentsOrphaned {
        /// Some of them.
        orphans: Vec<OrphanedIncident>,
        /// How many others.
        others: usize,
    },
    /// The clocks of senders differ from the clock of this machine.
    SenderClocksWrong {
        /// Some of them.
        senders: Vec<ClockError>,
        /// How many others.
        others: usize,
    },
    /// The clocks of replicas differ from the clock of PostgreSQL.
    ReplicaClocksWrong {
        /// That of the owner, if it is one of them.
        owner: Option<ClockError>,
        /// Some of the standbys.
        standbys: Vec<ClockError>,
        /// How many other standbys.
        others: usize,
    },
    /// More alerts fire than Squelch may remember.
    TooManyAlerts {
        /// How many Squelch knows.
        known: u64,
        /// `limits.alerts`.
        limit: u64,
        /// How often senders stated that a further alert fires.
        beyond: u64,
    },
    /// A heartbeat never came.
    HeartbeatNeverHeard {
        /// Its name.
        #[schema(value_type = String)]
        name: SmolStr,
        /// For how long.
        #[schema(value_type = String)]
        after: Duration,
    },
    /// A heartbeat stopped.
    HeartbeatSilent {
        /// Its name.
        #[schema(value_type = String)]
        name: SmolStr,
        /// The kind of its sender.
        #[schema(value_type = String)]
        source: SmolStr,
        /// For how long.
        #[schema(value_type = String)]
        after: Duration,
        /// Its labels, as the sender sent them last.
        #[schema(value_type = String)]
        labels: SmolStr,
    },
    /// The engine failed at an alert, so Squelch passes it on undecided.
    Quarantined {
        /// The alert's annotation `summary`. It is empty if the alert has none.
        #[schema(value_type = String)]
        summary: SmolStr,
    },
    /// The engine failed at more alerts than Squelch passes on one by one.
    QuarantineFull {
        /// How many Squelch passes on one by one.
        limit: u64,
        /// How often senders stated that a further alert fires.
        beyond: u64,
        /// The labels of the newest of them.
        #[schema(value_type = String)]
        newest: SmolStr,
    },
    /// Alerts or requests came that Squelch cannot read.
    InputRefused {
        /// For how long.
        #[schema(value_type = String)]
        lasted: Duration,
    },
    /// The files of the storage are gone.
    StorageGone {
        /// The error.
        error: String,
        /// After this time Squelch writes new files.
        #[schema(value_type = String)]
        #[serde(rename = "rescueAfter")]
        rescue_after: Duration,
    },
    /// The storage was damaged.
    StorageDamaged {
        /// The error that Squelch found.
        error: String,
    },
    /// The engine failed at an event, and Squelch read its state again.
    EngineFailed {
        /// The kind of the event.
        #[schema(value_type = String)]
        event: SmolStr,
        /// How many observations or repeats it held.
        count: usize,
        /// The labels or the identity of the first alert, if there is one.
        first: String,
    },
    /// Memory is short, so Squelch refuses new alerts.
    MemoryShort {
        /// The memory that Squelch may use, in bytes.
        budget: u64,
    },
}

/// An incident that is open at an integration which the configuration does not have any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrphanedIncident {
    /// The receiver.
    #[schema(value_type = String)]
    pub receiver: SmolStr,
    /// The integration, such as `pagerduty[0]`.
    #[schema(value_type = String)]
    pub integration: SmolStr,
    /// The incident's group key.
    #[schema(value_type = String)]
    pub incident: SmolStr,
    /// The key under which the integration knows it.
    #[schema(value_type = String)]
    pub dedup_key: SmolStr,
}

/// By how much the clock of a sender or of a replica is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClockError {
    /// The sender or the replica.
    #[schema(value_type = String)]
    pub sender: SmolStr,
    /// By how much at least.
    #[schema(value_type = String)]
    pub by: Duration,
    /// Whether the clock is ahead. It is behind otherwise.
    pub ahead: bool,
}

/// How often one `alertname` was counted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NameCount {
    /// The name, at most 60 characters.
    #[schema(value_type = String)]
    pub name: SmolStr,
    /// How often.
    pub count: u64,
}

impl Problem {
    /// The receivers that do not accept notifications.
    pub fn receivers(&self) -> impl Iterator<Item = &SmolStr> {
        let all: [&[NameCount]; 3] = match self {
            Problem::PagesUndelivered { receivers, .. } => [receivers, &[], &[]],
            Problem::DeadLetters { incidents, digests, reports } => [incidents, digests, reports],
            _ => [&[], &[], &[]],
        };
        all.into_iter().flatten().map(|count| &count.name)
    }

    /// The `alertname` of the incident's alert. A quarantined alert keeps its own.
    pub fn alertname(&self) -> &'static str {
        match self {
            Problem::AlertsUnheard { .. } => "SquelchAlertUnheard",
            Problem::PagesUndelivered { .. } => "SquelchPagesUndelivered",
            Problem::DeadLetters { .. } => "SquelchDeadLetters",
            Problem::IncidentsOrphaned { .. } => "SquelchIncidentOrphaned",
            Problem::SenderClocksWrong { .. } => "SquelchSenderClockWrong",
            Problem::ReplicaClocksWrong { .. } => "SquelchReplicaClockWrong",
            Problem::TooManyAlerts { .. } => "SquelchTooManyAlerts",
            Problem::HeartbeatNeverHeard { .. } | Problem::HeartbeatSilent { .. } => "SquelchHeartbeatSilent",
            Problem::Quarantined { .. } => "SquelchQuarantined",
            Problem::QuarantineFull { .. } => "SquelchQuarantineFull",
            Problem::InputRefused { .. } => "SquelchInputRefused",
            Problem::StorageGone { .. } => "SquelchStorageGone",
            Problem::StorageDamaged { .. } => "SquelchStorageDamaged",
            Problem::EngineFailed { .. } => "SquelchEngineBroke",
            Problem::MemoryShort { .. } => "SquelchMemoryShort",
        }
    }
}
