//! The durable log: events in, and what was decided about them, in one transaction a tick.
//!
//! [`Journal`] is the contract, and `tests/it/journal.rs` holds every implementation to it:
//! [`SqliteJournal`] is what a server runs on (its page describes the file), [`PostgresJournal`] what several
//! servers share, and [`MemoryJournal`] serves tests and `backtest`.
//!
//! The time of a commit is the `now` of its last record: nothing here reads a clock.

use std::collections::BTreeMap;
use std::path::PathBuf;

use smol_str::SmolStr;

use crate::model::{Decision, Duration, IncidentRecord, Notification, NotificationId, Report, Timestamp};

mod batch;
mod copy;
mod memory;
mod postgres;
mod sqlite;

pub use copy::{Copied, Place, Step, copy};
pub use memory::MemoryJournal;
pub use postgres::{Advertised, Cluster, Ownership, Postgres, PostgresDecisions, PostgresJournal, Replica};
pub use sqlite::{DataDir, Part, SqliteDecisions, SqliteJournal, SqlitePast, Usage};

/// How many dead letters [`Journal::prune`] keeps: the newest.
pub const DEAD_LETTERS_KEPT: usize = 10_000;

/// How many rows of a table one call of [`Journal::prune`] removes at most.
pub const PRUNE_BATCH: usize = 1_000;

/// Number of an event in the log; the first is 1.
pub type Seq = u64;

/// One event as it is kept: opaque to the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number; one more than the record before it.
    pub seq: Seq,
    /// The engine's time at which it was handled.
    pub now: Timestamp,
    /// JSON of the event, on one line, with no blanks round it (as `serde_json::to_vec` writes it).
    pub event: Vec<u8>,
}

/// What one tick adds; all of it becomes durable, or none.
#[derive(Debug, Default)]
pub struct Commit<'a> {
    /// New events, in order, without a gap after what is there.
    pub records: &'a [Record],
    /// Decisions that followed.
    pub decisions: &'a [Decision],
    /// What happened to incidents. It is kept as long as the decisions of the commit.
    pub history: &'a [IncidentRecord],
    /// Notifications that followed: they enter the outbox. An id that was used before is refused.
    pub notifications: &'a [Notification],
    /// Notifications that reached their end: accepted ones leave the outbox, rejected ones become
    /// dead letters. A report about one that is not in the outbox changes nothing.
    pub reports: &'a [Report],
    /// Dead letters that go back to the outbox as they are; an id that is no dead letter changes
    /// nothing. Applied after `reports`.
    pub resend: &'a [NotificationId],
    /// Dead letters that are none any more, since their receiver has been told by a later
    /// notification; an id that is no dead letter changes nothing. Applied after `reports`.
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
    /// What was to be said.
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

/// What a look at the dead letters finds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetters {
    /// Those that were asked for.
    pub letters: Vec<DeadLetter>,
    /// How many there are in all, by receiver.
    pub by_receiver: BTreeMap<SmolStr, u64>,
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
    /// Damage was found: where the damaged files are now. What could be read and verified was
    /// carried over.
    pub quarantined: Option<PathBuf>,
    /// What a person must know about damage: one sentence each, for the log and the UI.
    pub notes: Vec<String>,
    /// After damage: undelivered notifications that were decided by events which are lost. They are
    /// not in the outbox, since the engine may give their ids to others; they are named here once.
    /// In doubt, page: send them, and report nothing about them.
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
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A write or read failed. The handle is poisoned: open the journal anew.
    #[error("storage failed: {0}")]
    Failed(String),
    /// The files that are open are not those of the storage any more: they were removed, moved or replaced,
    /// or something else is mounted there. What was written last is on no disk that anybody can name.
    #[error("the storage is gone: {0}")]
    Gone(String),
    /// Another process owns the journal, and this one waits until it may take over.
    #[error("standby: {0}")]
    Standby(String),
    /// This process owned the journal, and another one has taken over. What this one decided and has not
    /// written is worth nothing.
    #[error("fenced: {0}")]
    Fenced(String),
    /// The caller broke the contract. Nothing was written, and the handle is as it was.
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

/// Whether the journal takes more room than it may, and what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowding {
    /// It does not.
    No,
    /// Much of it are events that a new snapshot would make needless.
    Snapshot,
    /// Something else has to go: [`Journal::trim`].
    Trim,
}

/// A durable log with an outbox. One owner; used from one thread.
///
/// After [`JournalError::Failed`] from a writing method every later write fails at once: what is on
/// disk is found out by opening anew, never by retrying (a failed fsync may have dropped the data).
/// The failed write itself may turn out to be there or not, but never in part.
pub trait Journal: Send {
    /// Reads what is there. Called once, first: writing before it is refused.
    fn recover(&mut self) -> Result<Recovered, JournalError>;

    /// Makes `commit` durable: when this returns `Ok`, power may fail. An empty one writes nothing.
    ///
    /// # Errors
    /// [`JournalError::Refused`] if the records do not follow what is there without a gap, if an event
    /// is not JSON on one line, or if a notification's id was used before.
    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), JournalError>;

    /// Stores a snapshot of the engine that includes every event up to `seq`; keeps this one and
    /// the one before it, and drops the commits of events that both contain.
    ///
    /// # Errors
    /// [`JournalError::Refused`] if `seq` is beyond the last event or before the newest snapshot.
    fn snapshot(&mut self, seq: Seq, body: &[u8]) -> Result<(), JournalError>;

    /// Dead letters, those that died last first.
    fn dead_letters(&mut self, wanted: &LetterQuery) -> Result<Vec<DeadLetter>, JournalError>;

    /// How many dead letters there are, by receiver.
    fn dead_letter_counts(&mut self) -> Result<BTreeMap<SmolStr, u64>, JournalError>;

    /// Forgets decisions and accepted notifications older than `before`, and dead letters beyond the
    /// newest [`DEAD_LETTERS_KEPT`]: at most [`PRUNE_BATCH`] rows of each, so that a commit never
    /// waits long. True if there may be
    /// more: call again between commits. What is undelivered stays.
    fn prune(&mut self, before: Timestamp) -> Result<bool, JournalError>;

    /// Whether it takes more room than it may. Asked after each tick, and cheap. While it does,
    /// [`Journal::snapshot`] keeps the new snapshot only.
    fn crowding(&mut self) -> Result<Crowding, JournalError> {
        Ok(Crowding::No)
    }

    /// Forgets before its time, oldest first, what is needed neither to rebuild the engine nor to deliver:
    /// a bounded part of it, so that a commit never waits long.
    fn trim(&mut self) -> Result<(), JournalError> {
        Ok(())
    }

    /// Why there is no room for what is new, if there is none: what may leave cannot leave yet.
    fn full(&self) -> Option<&'static str> {
        None
    }

    /// Whether what is open is still the storage. See [`JournalError::Gone`].
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

/// The decisions of one commit, and what happened to incidents.
#[derive(Debug)]
pub struct Decided {
    /// The row's number; rises, and begins anew in a new file.
    pub row: i64,
    /// Its checksum.
    pub sha256: Vec<u8>,
    /// The commit's time, in milliseconds.
    pub at: i64,
    /// What was decided, in order. Empty if the row does not verify.
    pub decisions: Vec<Decision>,
    /// What happened to incidents, in order. Empty if the row does not verify.
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

/// The decisions that a journal holds, for whoever indexes them; a server may be writing it. Reading takes no
/// lock and changes nothing.
pub trait Decisions: Send {
    /// Whether what is open is still the journal.
    fn is_current(&self) -> bool;

    /// The number of the newest row; 0 if there is none.
    fn newest(&self) -> Result<i64, JournalError>;

    /// The checksum of a row, if it is there.
    fn checksum(&self, row: i64) -> Result<Option<Vec<u8>>, JournalError>;

    /// At most `limit` rows after `row`, in order.
    fn after(&self, row: i64, limit: usize) -> Result<Vec<Decided>, JournalError>;
}
