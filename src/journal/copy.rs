//! Copying a journal from one kind of storage to the other, row by row, with its numbers and times.
//!
//! Each row is verified against its checksum when it is read. The copy becomes visible at its end, after it
//! was read back whole. A SQLite file takes its name then, and a PostgreSQL commits one transaction.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::{JournalError, Recovered, postgres, sqlite};
use crate::model::{Notification, Report};
use crate::settings::Secret;

/// Rows read and written at a time.
pub(super) const PAGE: i64 = 256;

/// Where a journal is.
#[derive(Debug, Clone)]
pub enum JournalPlace {
    /// A data directory.
    Sqlite(PathBuf),
    /// A database whose URL this is.
    Postgres(Secret),
}

/// The tables, in the order in which they are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Snapshots,
    Events,
    Decisions,
    Notifications,
}

impl Table {
    pub const ALL: [Table; 4] = [Table::Snapshots, Table::Events, Table::Decisions, Table::Notifications];

    /// Its name in SQLite, and its key.
    pub fn name(self) -> (&'static str, &'static str) {
        match self {
            Table::Snapshots => ("snapshot", "seq"),
            Table::Events => ("input", "first_seq"),
            Table::Decisions => ("decision", "id"),
            Table::Notifications => ("notification", "id"),
        }
    }
}

/// A row as both kinds of storage mean it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum CopiedRow {
    Snapshot { seq: i64, at: i64, body: Vec<u8> },
    Events { first: i64, last: i64, body: String },
    Decisions { id: i64, seq: i64, at: i64, body: String },
    Notification { id: i64, seq: i64, body: String, end: Option<End> },
}

/// How a notification ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct End {
    /// Whether it is a dead letter. Another one was accepted, or its receiver got a later one.
    pub dead: bool,
    pub at: i64,
    /// Without the receiver's name for the message: the engine knows it, and a file has no room for it.
    pub report: Report,
}

impl CopiedRow {
    /// Its key within its table.
    pub fn key(&self) -> i64 {
        match self {
            CopiedRow::Snapshot { seq: key, .. }
            | CopiedRow::Events { first: key, .. }
            | CopiedRow::Decisions { id: key, .. }
            | CopiedRow::Notification { id: key, .. } => *key,
        }
    }

    pub fn table(&self) -> Table {
        match self {
            CopiedRow::Snapshot { .. } => Table::Snapshots,
            CopiedRow::Events { .. } => Table::Events,
            CopiedRow::Decisions { .. } => Table::Decisions,
            CopiedRow::Notification { .. } => Table::Notifications,
        }
    }

    fn add_to(&self, hash: &mut Sha256) {
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        let (numbers, body): ([i64; 3], &[u8]) = match self {
            CopiedRow::Snapshot { seq, at, body } => ([*seq, *at, 0], body),
            CopiedRow::Events { first, last, body } => ([*first, *last, 0], body.as_bytes()),
            CopiedRow::Decisions { id, seq, at, body } => ([*id, *seq, *at], body.as_bytes()),
            CopiedRow::Notification { id, seq, body, end } => {
                let (at, said) = match end {
                    Some(end) => (end.at, format!("{} {:?}", end.dead, end.report)),
                    None => (0, String::new()),
                };
                part(said.as_bytes());
                ([*id, *seq, at], body.as_bytes())
            }
        };
        numbers.iter().for_each(|n| part(&n.to_be_bytes()));
        part(body);
    }
}

/// A journal to read from. No other process may write to it meanwhile.
pub(super) trait CopyStore {
    /// How many rows a table has.
    fn count(&mut self, table: Table) -> Result<u64, JournalError>;

    /// Some rows of a table after this key, in order, each verified.
    fn page(&mut self, table: Table, after: i64) -> Result<Vec<CopiedRow>, JournalError>;

    /// The content that a start would find. It verifies that no event is missing.
    fn load(&mut self) -> Result<Recovered, JournalError>;
}

/// A journal that is being made. No other process sees it.
pub(super) trait Draft: CopyStore {
    /// Adds rows of one table, in the order of their keys.
    fn add(&mut self, rows: Vec<CopiedRow>) -> Result<(), JournalError>;

    /// Ends the writing. `head` is the last event. From now on, reading returns the written content.
    fn seal(&mut self, head: i64) -> Result<(), JournalError>;

    /// Makes the journal visible.
    fn publish(self: Box<Self>) -> Result<(), JournalError>;
}

/// The numbers of copied rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// Snapshots of the engine.
    pub snapshots: u64,
    /// Commits of events.
    pub events: u64,
    /// Commits of decisions.
    pub decisions: u64,
    /// Notifications of all states.
    pub notifications: u64,
    /// Those of them that wait for their receiver.
    pub queued: u64,
    /// Those of them that are dead letters.
    pub dead: u64,
    /// The last event.
    pub head: u64,
    /// SHA-256 over all rows, in hexadecimal digits.
    pub hash: String,
}

impl Copied {
    fn rows(&self) -> u64 {
        self.snapshots + self.events + self.decisions + self.notifications
    }

    fn add(&mut self, row: &CopiedRow) {
        match row {
            CopiedRow::Snapshot { .. } => self.snapshots += 1,
            CopiedRow::Events { .. } => self.events += 1,
            CopiedRow::Decisions { .. } => self.decisions += 1,
            CopiedRow::Notification { end, .. } => {
                self.notifications += 1;
                self.queued += u64::from(end.is_none());
                self.dead += u64::from(end.as_ref().is_some_and(|end| end.dead));
            }
        }
    }
}

/// The step that a copy has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyStep {
    /// It copies rows.
    Copying,
    /// It reads them back.
    Verifying,
}

/// Copies the journal at `from` to `to`, which has none. `progress` gets the number of rows done, and of
/// all rows.
///
/// # Errors
/// Either place is in use or of another format, `to` has a journal, a row of `from` is damaged, or the copy
/// reads back differently. Nothing is at `to` then.
pub fn copy(
    from: &JournalPlace,
    to: &JournalPlace,
    mut progress: impl FnMut(CopyStep, u64, u64),
) -> Result<Copied, JournalError> {
    let mut source: Box<dyn CopyStore> = match from {
        JournalPlace::Sqlite(dir) => Box::new(sqlite::CopySource::open(dir)?),
        JournalPlace::Postgres(url) => Box::new(postgres::HeldDatabase::source(url)?),
    };
    let state = source.load()?;
    let mut draft: Box<dyn Draft> = match to {
        JournalPlace::Sqlite(dir) => Box::new(sqlite::CopyDraft::create(dir)?),
        JournalPlace::Postgres(url) => Box::new(postgres::HeldDatabase::draft(url)?),
    };
    let head = state.records.last().map(|record| record.seq);
    let head = head.or(state.snapshot.as_ref().map(|(seq, _)| *seq)).unwrap_or(0);
    let all = count(&mut *source)?;
    let mut copied =
        each(&mut *source, |done| progress(CopyStep::Copying, done, all), |rows| draft.add(rows))?;
    draft.seal(i64::try_from(head).unwrap_or(i64::MAX))?;
    let read = each(&mut *draft, |done| progress(CopyStep::Verifying, done, all), |_| Ok(()))?;
    let there = draft.load()?;
    let same = read == copied
        && all == copied.rows()
        && (there.snapshot, there.records, there.outbox) == (state.snapshot, state.records, state.outbox);
    if !same {
        return Err(JournalError::Failed(format!(
            "the copy reads back differently: {} rows with hash {} of {} rows with hash {}. Nothing \
             is left there",
            read.rows(),
            read.hash,
            copied.rows(),
            copied.hash
        )));
    }
    draft.publish()?;
    copied.head = head;
    Ok(copied)
}

fn count(store: &mut dyn CopyStore) -> Result<u64, JournalError> {
    Table::ALL.into_iter().map(|table| store.count(table)).sum()
}

/// Reads all rows, and counts them.
fn each(
    store: &mut dyn CopyStore,
    mut progress: impl FnMut(u64),
    mut take: impl FnMut(Vec<CopiedRow>) -> Result<(), JournalError>,
) -> Result<Copied, JournalError> {
    let (mut seen, mut hash) = (Copied::default(), Sha256::new());
    for table in Table::ALL {
        let mut after = -1;
        loop {
            let rows = store.page(table, after)?;
            let Some(last) = rows.last() else { break };
            after = last.key();
            for row in &rows {
                seen.add(row);
                row.add_to(&mut hash);
            }
            take(rows)?;
            progress(seen.rows());
        }
    }
    seen.hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(seen)
}

/// The error about a row that does not verify.
pub(super) fn damaged(table: Table, key: i64) -> String {
    let what = match table {
        Table::Snapshots => "the snapshot up to event",
        Table::Events => "the commit of events from",
        Table::Decisions => "the commit of decisions in row",
        Table::Notifications => "notification",
    };
    format!("{what} {key} does not match its checksum")
}

/// The notification of a row.
pub(super) fn notification(id: i64, body: &str) -> Result<Notification, String> {
    let wrong = |why: &str| format!("notification {id} cannot be read: {why}");
    let notification: Notification = serde_json::from_str(body).map_err(|e| wrong(&e.to_string()))?;
    match i64::try_from(notification.id.0) == Ok(id) {
        true => Ok(notification),
        false => Err(wrong("it has another number")),
    }
}
