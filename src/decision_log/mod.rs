//! The decision log: the disposition of every alert with its reason, for people to search.
//!
//! It is an index of the journal, in a file of its own, `decisions.db` beside `squelch.db`. A thread of its
//! own writes it ([`Follower`]), so that no page waits for it. Readers use connections of their own
//! ([`Reader`]), so that neither waits for the other. It holds nothing that the journal did not hold. If it
//! is lost or damaged it is made anew from the rest of the journal.
//!
//! # The file
//! Rows name each other by numbers. `decision` has one row for each decision, newest last. Unchanged
//! repeats of one occurrence are one row whose count grows. `alert`, `pair` and `alert_pair` are the alerts
//! and their labels for the search. `text` are causes and settings, by day, so that they leave with their
//! day. `history` has one row for each incident, and `history_event` has its events. Times are milliseconds
//! since 1970, UTC.

mod as_sent;
mod baseline;
mod entry;
mod explain;
mod flapped;
mod follow;
mod incidents;
mod meter;
mod noise;
mod on_call;
mod pages;
mod query;
mod report;
mod review;
mod schema;
mod search;
mod tally;
mod trend;
mod write;

pub use as_sent::AsSentEntry;
pub use baseline::Baseline;
pub use entry::{DecisionEntry, OtherwiseEntry};
pub use explain::{plain, timeline};
pub use flapped::{Flapped, MOST_FLAPPED};
pub use follow::{Follower, Following};
pub use incidents::{
    EventEntry, IncidentAlertEntry, IncidentRuleEntry, NamedIncident, PastIncident, PastIncidentDetail,
    PastIncidentPage, PastIncidentQuery, Quantiles, SHORTEST_KEY, Times, WhichIncident,
};
pub use meter::DecisionLogMeter;
pub use noise::{
    BudgetEntry, ChangingLabelEntry, FateEntry, NameEntry, NoiseEntry, ObservedEntry, PeriodEntry,
    ReceiverNoiseEntry, StepEntry, SuggestionEntry, TrendEntry, UnknownSeverityEntry, changing_labels,
    line_to_ignore, unknown_severities,
};
pub use on_call::{BUDGET, OnCallEntry, ReceiverLoadEntry, ShiftEntry, TOIL_LINE, WeekEntry};
pub use pages::{SentPage, of_them};
pub use query::{DecisionPage, DecisionQuery, MAX_LIMIT};
pub use report::{Compared, PRICED, change, named, sparkline, trend};
pub use review::{AroundEntry, Review};
pub use search::Reader;
pub use tally::{Name, Observed, Saved, Tally, removed, share};
pub use trend::{AnswersEntry, By, LONGEST, RuleIncident};

/// Why the decision log could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum DecisionLogError {
    /// There is none yet.
    #[error("there is no decision log at {0}. Give the --storage.path of a server")]
    Missing(String),
    /// SQLite says no.
    #[error("decision log: {0}")]
    Failed(String),
    /// A search took longer than it may.
    #[error(
        "the search took longer than {0} ms: narrow it by alert, incident, receiver with reason, or time"
    )]
    TooLong(u64),
    /// The journal, from which it is made, cannot be read.
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalError),
}

impl From<rusqlite::Error> for DecisionLogError {
    fn from(e: rusqlite::Error) -> Self {
        DecisionLogError::Failed(e.to_string())
    }
}

/// Whether a page at this hour wakes a person: from 22 to 6.
fn is_night(hour: i64) -> bool {
    !(6..22).contains(&hour)
}
