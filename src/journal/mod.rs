//! The durable log: events and the decisions about them, in one transaction a tick.
//!
//! [`Journal`] is the contract, and `tests/it/journal.rs` holds every implementation to it. A server runs
//! on [`SqliteJournal`] (its page describes the file), and several servers share a [`PostgresJournal`].
//! [`MemoryJournal`] serves tests and `backtest`.
//!
//! The time of a commit is the `now` of its last record: nothing here reads a clock.

use std::collections::BTreeMap;
use std::path::PathBuf;

use smol_str::SmolStr;

use crate::model::{Decision, Duration, IncidentRecord, Notification, NotificationId, Report, Timestamp};

mod batch;
mod copy;
mod memory;
mod past;
mod postgres;
mod sqlite;

pub use copy::{Copied, CopyStep, JournalPlace, copy};
pub use memory::MemoryJournal;
pub use past::JournalPast;
pub use postgres::{
    Advertised, Cluster, Ownership, Postgres, PostgresDecisions, PostgresJournal, Replica, wrong_address,
    wrong_url,
};
pub use sqlite::{DataDir, Part, SqliteDecisions, SqliteJournal, Usage};

/// How many dead letters [`Journal::prune`] keeps: the newest.
pub const DEAD_LETTERS_KEPT: usize = 10_000;

/// How many rows of a table one call of [`Journal::prune`] removes at most.
pub const PRUNE_BATCH: usize = 1_000;

/// The number of an event in the log. The first is 1.
pub type Seq = u64;

/// One stored event. The journal does not know its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number, one more than the record before it.
    pub seq: Seq,
    /// The engine's time at which it was handled.
    pub now: Timestamp,
    /// JSON of the event, on one line, with no blanks round it (as `serde_json::to_vec` writes it).
    pub event: Vec<u8>,
}

/// The additions of one tick. All of them become durable, or none.
#[derive(Debug, Default)]
pub struct Commit<'a> {
    /// New events, in order, without a gap after the last one.
    pub records: &'a [Record],
    /// Decisions that followed.
    pub decisions: &'a [Decision],
    /// The changes of incidents. They are kept as long as the decisions of the commit.
    pub history: &'a [IncidentRecord],
    /// Notifications that followed: they enter the outbox. An id that was used before is refused.
    pub notifications: &'a [Notification],
    /// Notifications that reached their end: accepted and recalled ones leave the outbox, rejected ones
    /// become dead letters. The journal forgets recalled ones. A report about one that is not in the outbox
    /// changes nothing.
    pub reports: &'a [Report],
    /// Dead letters that go back to the outbox as they are. An id that is no dead letter changes nothing.
    /// Applied after `reports`.
    pub resend: &'a [NotificationId],
    /// Dead letters that are settled, since a later notification reached their receiver. An id that is no
    /// dead letter changes nothing. Applied after `reports`.
    pub made_good: &'a [NotificationId],
    /// The last row of the inbox that `records` include: it and those before it leave the inbox.
    pub taken: Option<u64>,
}

impl Commit<'_> {
    /// Whether it says nothing at all.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.decisions.is_empty()
            && self.history.is_empty()
            && self.notifications.is_empty()
            && self.reports.is_empty()
            && self.resend.is_empty()
            && self.made_good.is_empty()
            && self.taken.is_none()
    }
}

/// A notification that its receiver refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The notification.
    pub notification: Notification,
    /// How it ended.
    pub report: Report,
    /// When it ended: the time of the commit that said so.
    pub died_at: Timestamp,
}

/// Which dead letters are wanted: all that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct LetterQuery {
    /// Only those behind the one that died then and has this number.
    pub after: Option<(Timestamp, NotificationId)>,
    /// Only this receiver's.
    pub receiver: Option<SmolStr>,
    /// The most that are wanted.
    pub limit: usize,
}

impl LetterQuery {
    /// The newest `limit` of all.
    pub fn newest(limit: usize) -> LetterQuery {
        LetterQuery { limit, ..LetterQuery::default() }
    }
}

/// The result of a query for dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetters {
    /// The requested ones.
    pub letters: Vec<DeadLetter>,
    /// How many there are in all, by receiver.
    pub by_receiver: BTreeMap<SmolStr, u64>,
}

/// The content that a start finds.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The newest snapshot of the engine that can be read, and the number of the last event in it.
    pub snapshot: Option<(Seq, Vec<u8>)>,
    /// Every event after it, in order.
    pub records: Vec<Record>,
    /// Undelivered notifications, oldest first.
    pub outbox: Vec<Notification>,
    /// The place of the damaged files, if there is damage. Everything that could be read and verified was
    /// carried over.
    pub quarantined: Option<PathBuf>,
    /// Facts about damage that a person must know: one sentence each, for the log and the UI.
    pub notes: Vec<String>,
    /// After damage: undelivered notifications whose events are lost. They are not in the outbox, since the
    /// engine may give their ids to others. Only this list names them. In doubt, page: send them, and
    /// report nothing about them.
    pub orphans: Vec<Notification>,
    /// After damage: undelivered notifications that the engine knows of and that can no longer be
    /// read. Tell the engine that they were rejected, so that it decides anew.
    pub unreadable: Vec<NotificationId>,
}

/// Why the journal could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The place cannot be used at all.
    #[error("storage at {path}: {reason}")]
    Unusable {
        /// Where.
        path: String,
        /// The problem, and the remedy.
        reason: String,
    },
    /// A write or read failed. The handle is poisoned: open the journal anew.
    #[error("storage failed: {0}")]
    Failed(String),
    /// The open files are not those of the storage any more. They were removed, moved or replaced, or
    /// something else is mounted there. The last writes are on no disk under a known name.
    #[error("the storage is gone: {0}")]
    Gone(String),
    /// Another process owns the journal, and this one waits until it may take over.
    #[error("standby: {0}")]
    Standby(String),
    /// This process owned the journal, and another one has taken over. The unwritten decisions of this
    /// process are void.
    #[error("fenced: {0}")]
    Fenced(String),
    /// The caller broke the contract. Nothing was written, and the handle is unchanged.
    #[error("storage refused: {0}")]
    Refused(String),
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

/// Whether the journal takes more room than it may, and the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowding {
    /// It does not.
    No,
    /// Much of it are events that a new snapshot would make needless.
    Snapshot,
    /// [`Journal::trim`] must remove other data.
    Trim,
}

/// A durable log with an outbox. It has one owner, which uses it from one thread.
///
/// After [`JournalError::Failed`] from a writing method every later write fails at once. Only opening anew
/// shows the content of the disk, never a retry (a failed fsync may have dropped the data). The failed
/// write itself may be there or not, but never in part.
pub trait Journal: Send {
    /// Reads the stored data. Called once, first: writing before it is refused.
    fn recover(&mut self) -> Result<Recovered, JournalError>;

    /// Makes `commit` durable: when this returns `Ok`, power may fail. An empty one writes nothing.
    ///
    /// # Errors
    /// [`JournalError::Refused`] if the records leave a gap after the last event, or an event is not JSON
    /// on one line. The same if a notification's id was used before.
    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), JournalError>;

    /// Stores a snapshot of the engine that includes every event up to `seq`. It keeps this one and the one
    /// before it, and drops the commits of events that both contain.
    ///
    /// # Errors
    /// [`JournalError::Refused`] if `seq` is beyond the last event or before the newest snapshot.
    fn snapshot(&mut self, seq: Seq, body: &[u8]) -> Result<(), JournalError>;

    /// Dead letters, the newest first.
    fn dead_letters(&mut self, wanted: &LetterQuery) -> Result<Vec<DeadLetter>, JournalError>;

    /// How many dead letters there are, by receiver.
    fn dead_letter_counts(&mut self) -> Result<BTreeMap<SmolStr, u64>, JournalError>;

    /// Forgets decisions and accepted notifications older than `before`, and dead letters beyond the newest
    /// [`DEAD_LETTERS_KEPT`]. It removes at most [`PRUNE_BATCH`] rows of each, so that a commit never waits
    /// long. It returns true if there may be more: call again between commits. Undelivered notifications
    /// stay.
    fn prune(&mut self, before: Timestamp) -> Result<bool, JournalError>;

    /// Whether it takes more room than it may. Asked after each tick that wrote, and once a second. While it
    /// does, [`Journal::snapshot`] keeps the new snapshot only.
    fn crowding(&mut self) -> Result<Crowding, JournalError> {
        Ok(Crowding::No)
    }

    /// Forgets rows before their time, oldest first, that are needed neither to rebuild the engine nor to
    /// deliver. It removes a bounded part, so that a commit never waits long.
    fn trim(&mut self) -> Result<(), JournalError> {
        Ok(())
    }

    /// The reason why there is no room for new data, if there is none: the removable data cannot go yet.
    fn full(&self) -> Option<&'static str> {
        None
    }

    /// Whether the open files are still the storage. See [`JournalError::Gone`].
    fn check(&self) -> Result<(), JournalError> {
        Ok(())
    }

    /// Whether this process may decide now: it owns the journal, as far as it can know. Asked before each
    /// tick, and cheap. A commit finds out for certain.
    fn may_decide(&self) -> Result<(), JournalError> {
        Ok(())
    }

    /// Lets another process own the journal from now on. Nothing is written after it.
    fn release(&mut self) {}

    /// Alerts that other replicas have accepted for the owner, oldest first, and a bounded part of them.
    /// A commit takes them out of the inbox. A journal of one process has no inbox.
    fn inbox(&mut self) -> Result<Vec<Handed>, JournalError> {
        Ok(Vec::new())
    }

    /// How often the owner looks into the inbox, if there is one.
    fn inbox_every(&self) -> Option<Duration> {
        None
    }

    /// After [`JournalError::Gone`]: writes all that this handle can still read to where the storage belongs,
    /// to be opened anew. Does nothing if the files are there again, and may be called again.
    fn rescue(&mut self) -> Result<(), JournalError> {
        Ok(())
    }
}

/// Opens a journal, and opens it anew after a failure. It outlives each journal that it opened.
pub trait JournalSource: Send {
    /// Opens the journal.
    ///
    /// # Errors
    /// [`JournalError::Standby`] if another process owns it.
    fn open(&mut self) -> Result<Box<dyn Journal>, JournalError>;

    /// Puts alerts into the inbox of the owner while this process is a standby: JSON of a list of batches.
    /// They are durable when this returns `Ok`.
    ///
    /// # Errors
    /// [`JournalError::Refused`] if the inbox is full, or if there is none.
    fn hand_over(&mut self, _batches: &str) -> Result<(), JournalError> {
        Err(JournalError::Refused("this storage belongs to one process".into()))
    }
}

impl<F: FnMut() -> Result<Box<dyn Journal>, JournalError> + Send> JournalSource for F {
    fn open(&mut self) -> Result<Box<dyn Journal>, JournalError> {
        self()
    }
}

/// One row of the inbox: alerts that a replica accepted for the owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// Its number. Rows are numbered in the order in which they became durable.
    pub row: u64,
    /// JSON of a list of batches, or why it cannot be read.
    pub batches: Result<String, String>,
}

/// The decisions of one commit, and the changes of incidents.
#[derive(Debug)]
pub struct Decided {
    /// The row's number. It rises, and begins anew in a new file.
    pub row: i64,
    /// Its checksum.
    pub sha256: Vec<u8>,
    /// The commit's time, in milliseconds.
    pub at: i64,
    /// The decisions, in order. Empty if the row does not verify.
    pub decisions: Vec<Decision>,
    /// The changes of incidents, in order. Empty if the row does not verify.
    pub history: Vec<IncidentRecord>,
}

impl Decided {
    /// A row as a journal holds it. `body` is the reason if it cannot be read: the log names the row,
    /// and the decision log misses them.
    fn of(row: i64, at: i64, sha256: Vec<u8>, body: Result<batch::DecidedBody, String>) -> Decided {
        let batch::DecidedBody { decisions, history } = body.unwrap_or_else(|error| {
            tracing::error!(row, error, "decisions cannot be read, and are missing in the decision log");
            batch::DecidedBody::default()
        });
        Decided { row, sha256, at, decisions, history }
    }
}

/// The decisions that a journal holds, for an index of them. A server may be writing the journal. Reading
/// takes no lock and changes nothing.
pub trait Decisions: Send {
    /// Whether the open file is still the journal.
    fn is_current(&self) -> bool;

    /// The number of the newest row. It is 0 if there is none.
    fn newest(&self) -> Result<i64, JournalError>;

    /// The checksum of a row, if it is there.
    fn checksum(&self, row: i64) -> Result<Option<Vec<u8>>, JournalError>;

    /// The next rows after `row`, in order. It gives at most `limit` of them, and none after the first
    /// [`DECIDED_BYTES`], but at least one if there is one.
    fn after(&self, row: i64, limit: usize) -> Result<Vec<Decided>, JournalError>;
}

/// How many bytes of decisions are read at a time. In a flood one row can have thousands of decisions.
pub const DECIDED_BYTES: usize = 1 << 20;
