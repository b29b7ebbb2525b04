//! The durable journal: one SQLite file.
//!
//! # The files
//! `<storage.path>/squelch.db`, with `-wal` and `-shm` beside it while the program runs, and `lock`,
//! which the running process holds (`flock`) and which names its pid. Copy a store with
//! `sqlite3 squelch.db ".backup FILE"`, or all three files while nothing runs.
//!
//! `PRAGMA application_id` is 0x53514c43 ("SQLC"), `PRAGMA user_version` the version of the format: a
//! newer one is refused and the file left as it is, an older one is migrated in one transaction.
//!
//! | table | one row for | columns |
//! | --- | --- | --- |
//! | `input` | a commit | `first_seq`, `last_seq`: its events; `body`: JSON lines of `{"seq","now","event"}` |
//! | `decision` | a commit | `seq`: the last event before it; `at`; `body`: JSON array, see [`crate::model::Decision`] |
//! | `notification` | a notification | `id`; `seq`; `at`, `receiver`, `integration`, `kind`, `dedup_key`; `state`: `queued`, `accepted` or `dead`; `attempts`, `ended_at`, `reason`, `detail`, `ambiguous`: its end; `body`: JSON |
//! | `snapshot` | a snapshot | `seq`: the last event in it; `at`; `body`: the engine's own; at most two rows |
//!
//! Times are milliseconds since 1970, UTC. `sha256` covers a row's numbers (those of its key and
//! `seq`) and its body. People may read all of it while the program runs, in short transactions: one
//! that stays open keeps the WAL from being reused. Nobody else may write. For example:
//! ```text
//! sqlite3 -readonly squelch.db "SELECT datetime(at/1000, 'unixepoch'), d.value->>'disposition',
//!     d.value->>'rule' FROM decision, json_each(body) AS d ORDER BY decision.id DESC LIMIT 20"
//! ```
//!
//! # How it fails
//! A commit is one transaction under WAL with `synchronous=FULL`: one fsync. After a failed write the
//! handle is poisoned, does not even checkpoint when it closes, and the next open finds out what is on
//! disk. What was being written when power failed is dropped by SQLite: it was never acknowledged.
//! Damage that open finds (`PRAGMA integrity_check`, a checksum, a gap between events, a WAL broken
//! before its end) never keeps the program from starting: whatever verifies is copied into a new file,
//! and the damaged files are kept as `squelch.db.corrupt-<n>`.

mod decided;
mod open;
mod past;
mod place;
mod read;
mod salvage;
mod schema;
mod wal;
mod write;

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;
use smol_str::SmolStr;

pub use decided::{Decided, SqliteDecisions};
pub use past::SqlitePast;

use super::batch::Tail;
use super::{Commit, DeadLetter, Journal, JournalError, LetterQuery, Recovered, Seq};
use crate::model::Timestamp;

/// The journal in a directory. One process owns it at a time.
#[derive(Debug)]
pub struct SqliteJournal {
    conn: Connection,
    tail: Tail,
    recovered: Option<Recovered>,
    ready: bool,
    poisoned: Option<String>,
    wal_warned: bool,
    // Dropped last: the lock is held until the connection is closed.
    _place: place::Place,
}

impl SqliteJournal {
    /// Opens the journal in `dir`, which is created if it is missing. Takes its lock, migrates,
    /// verifies, and repairs what it can.
    ///
    /// # Errors
    /// [`JournalError::Unusable`] if the directory cannot be used, another process owns it, it holds
    /// somebody else's database, or its filesystem cannot do WAL; [`JournalError::Newer`] if a newer
    /// version wrote it.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        open::open(dir)
    }

    fn writable(&self) -> Result<(), JournalError> {
        if let Some(reason) = &self.poisoned {
            return Err(JournalError::Failed(format!("an earlier write failed ({reason}): open it anew")));
        }
        if !self.ready {
            return Err(JournalError::Refused("recover must come before the first write".into()));
        }
        Ok(())
    }

    /// Runs one write; a failure poisons the handle.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        self.writable()?;
        let done = work(&mut self.conn);
        if let Err(JournalError::Failed(reason)) = &done {
            self.poison(reason.clone());
        }
        done
    }

    fn poison(&mut self, reason: String) {
        schema::leave_wal_on_close(&self.conn);
        self.poisoned = Some(reason);
    }

    /// Copies the WAL into the file when it has grown. The write before is durable already, so that
    /// a failure here fails the next one.
    fn tend_wal(&mut self) {
        match wal::checkpoint_if_large(&self.conn) {
            Ok(pages) => {
                let large = pages > wal::WARN_PAGES;
                if large && !self.wal_warned {
                    tracing::warn!(pages, "the WAL cannot be reused: some process reads squelch.db for long");
                }
                self.wal_warned = large;
            }
            Err(e) => self.poison(format!("checkpoint: {e}")),
        }
    }
}

impl Journal for SqliteJournal {
    fn recover(&mut self) -> Result<Recovered, JournalError> {
        self.ready = true;
        match self.recovered.take() {
            Some(recovered) => Ok(recovered),
            None => Ok(read::load(&self.conn).map_err(failed)?.recovered),
        }
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), JournalError> {
        self.writable()?;
        if commit.is_empty() {
            return Ok(());
        }
        let tail = self.tail.after(commit)?;
        self.write(|conn| write::commit(conn, commit, tail))?;
        self.tail = tail;
        self.tend_wal();
        Ok(())
    }

    fn snapshot(&mut self, seq: Seq, body: &[u8]) -> Result<(), JournalError> {
        let tail = self.tail;
        self.write(|conn| write::snapshot(conn, tail, seq, body))?;
        self.tend_wal();
        Ok(())
    }

    fn dead_letters(&mut self, wanted: &LetterQuery) -> Result<Vec<DeadLetter>, JournalError> {
        read::dead_letters(&self.conn, wanted).map_err(failed)
    }

    fn dead_letter_counts(&mut self) -> Result<BTreeMap<SmolStr, u64>, JournalError> {
        read::dead_letter_counts(&self.conn).map_err(failed)
    }

    fn prune(&mut self, before: Timestamp) -> Result<bool, JournalError> {
        let more = self.write(|conn| write::prune(conn, before))?;
        self.tend_wal();
        Ok(more)
    }
}

fn failed(e: rusqlite::Error) -> JournalError {
    JournalError::Failed(e.to_string())
}

/// SQLite's integers are signed; no number here comes near the bound.
fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Record;

    fn record(seq: Seq, size: usize) -> Record {
        let event = format!("\"{}\"", "x".repeat(size)).into_bytes();
        Record { seq, now: Timestamp::from_millis(1), event }
    }

    #[test]
    fn a_full_disk_poisons_the_handle_and_leaves_the_state_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = SqliteJournal::open(dir.path()).unwrap();
        journal.recover().unwrap();
        let small = [record(1, 10)];
        journal.commit(&Commit { records: &small, ..Commit::default() }).unwrap();
        let pages: i64 = journal.conn.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        // SQLite answers SQLITE_FULL beyond this, as it does when the disk is full.
        journal.conn.pragma_update_and_check(None, "max_page_count", pages + 2, |_| Ok(())).unwrap();

        let large = [record(2, 100_000)];
        let full = journal.commit(&Commit { records: &large, ..Commit::default() });
        assert!(matches!(&full, Err(JournalError::Failed(e)) if e.contains("full")), "{full:?}");
        // There would be room for this one, but what the disk holds is not known any more.
        let next = [record(2, 10)];
        for _ in 0..2 {
            let poisoned = journal.commit(&Commit { records: &next, ..Commit::default() });
            assert!(matches!(poisoned, Err(JournalError::Failed(_))));
        }
        assert!(matches!(journal.snapshot(1, b""), Err(JournalError::Failed(_))));
        assert!(matches!(journal.prune(Timestamp::MAX), Err(JournalError::Failed(_))));
        drop(journal);

        let mut journal = SqliteJournal::open(dir.path()).unwrap();
        assert_eq!(journal.recover().unwrap().records, small);
        journal.commit(&Commit { records: &large, ..Commit::default() }).unwrap();
    }
}
