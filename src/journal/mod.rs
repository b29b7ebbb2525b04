//! The durable log: events in, and what was decided about them, in one transaction a tick.

use crate::model::{Decision, Notification, NotificationId, Report, Timestamp};

/// Number of an event in the log; the first is 1.
pub type Seq = u64;

/// One event as it is kept: opaque to the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number; one more than the record before it.
    pub seq: Seq,
    /// The engine's time at which it was handled.
    pub now: Timestamp,
    /// JSON of the event.
    pub event: Vec<u8>,
}

/// What one tick adds; all of it becomes durable, or none.
#[derive(Debug, Default)]
pub struct Commit<'a> {
    /// New events, in order, without a gap after what is there.
    pub records: &'a [Record],
    /// Decisions that followed.
    pub decisions: &'a [Decision],
    /// Notifications that followed: they enter the outbox.
    pub notifications: &'a [Notification],
    /// Notifications that reached their end: accepted ones leave the outbox, rejected ones become
    /// dead letters.
    pub reports: &'a [Report],
    /// Dead letters that go back to the outbox as they are.
    pub resend: &'a [NotificationId],
}

/// A notification that its receiver refused for good.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DeadLetter {
    /// What was to be said.
    pub notification: Notification,
    /// How it ended.
    pub report: Report,
    /// When it ended.
    pub died_at: Timestamp,
}

/// What a start finds.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The newest snapshot of the engine that can be read, and the number of the last event in it.
    pub snapshot: Option<(Seq, Vec<u8>)>,
    /// Every event after it, in order.
    pub records: Vec<Record>,
    /// Undelivered notifications, oldest first.
    pub outbox: Vec<Notification>,
}

/// Why the journal could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The place cannot be used at all.
    #[error("storage at {path}: {reason}")]
    Unusable {
        /// Where.
        path: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A write or read failed. The handle is poisoned: open the journal anew.
    #[error("storage failed: {0}")]
    Failed(String),
    /// Written by a newer version.
    #[error(
        "storage format {found} is newer than this program's {supported}: run the newer program, or use another --storage.path"
    )]
    Newer {
        /// The version found.
        found: u32,
        /// The newest version this program knows.
        supported: u32,
    },
}

/// A durable log with an outbox. One owner; used from one thread.
///
/// After an `Err` from a writing method the handle must not be used for writing again: what is on
/// disk is found out by opening anew, never by retrying (a failed fsync may have dropped the data).
pub trait Journal: Send {
    /// Reads what is there. Called once, first.
    fn recover(&mut self) -> Result<Recovered, JournalError>;

    /// Makes `commit` durable: when this returns `Ok`, power may fail.
    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), JournalError>;

    /// Stores a snapshot of the engine that includes every event up to `seq`; keeps this one and
    /// the one before it, and may drop events that both contain.
    fn snapshot(&mut self, seq: Seq, body: &[u8]) -> Result<(), JournalError>;

    /// The dead letters, newest first, at most `limit`.
    fn dead_letters(&mut self, limit: usize) -> Result<Vec<DeadLetter>, JournalError>;
}
