//! The durable journal: one SQLite file.
//!
//! # The files
//! `<storage.path>/squelch.db`, with `-wal` and `-shm` beside it while the program runs. The running process
//! locks the directory (`flock`), and the file `lock`, which names its pid. `reserve` is deleted when the
//! disk is full. Copy a store with `sqlite3 squelch.db ".backup FILE"`, or all files while nothing runs.
//!
//! `PRAGMA application_id` is 0x53514c43 ("SQLC"), `PRAGMA user_version` the version of the format. A newer
//! one is refused and the file left as it is. An older one is migrated in one transaction.
//!
//! | table | one row for | columns |
//! | --- | --- | --- |
//! | `input` | a commit | `first_seq`, `last_seq`: its events; `body`: JSON lines of `{"seq","now","event"}` |
//! | `decision` | a commit | `seq`: the last event before it; `at`; `body`: JSON array, see [`crate::model::Decision`] |
//! | `notification` | a notification | `id`; `seq`; `at`, `receiver`, `integration`, `kind`, `dedup_key`; `state`: `queued`, `accepted` or `dead`; `attempts`, `ended_at`, `reason`, `detail`, `ambiguous`: its end; `body`: JSON |
//! | `snapshot` | a snapshot | `seq`: the last event in it; `at`; `body`: the engine's own; at most two rows |
//!
//! A `body` that is longer than a page is a blob that zstd packed, and a shorter one is text.
//!
//! Times are milliseconds since 1970, UTC. `sha256` covers a row's numbers (those of its key and `seq`) and
//! its body as it is stored. You may read all of it while the program runs, in short transactions: one that
//! stays open keeps the WAL from being reused. No other process may write.
//!
//! # How large it is
//! `storage.max_size` bounds all files of the directory (`room.rs`). Beyond it a snapshot is taken early,
//! and [`Journal::trim`] removes rows that are needed neither to rebuild the engine nor to deliver.
//!
//! # How it fails
//! A commit is one transaction under WAL with `synchronous=FULL`: one fsync. After a failed write the
//! handle is poisoned, does not even checkpoint when it closes, and the next open reads the content of the
//! disk. SQLite drops a write that a power cut interrupted: it was never acknowledged. Damage that open
//! finds (`PRAGMA integrity_check`, a checksum, a gap between events, a WAL broken before its end) never
//! keeps the program from starting. All rows that verify are copied into a new file, and the damaged files
//! are kept as `squelch.db.corrupt-<n>`.
//!
//! Each commit, and a thread each second, compares the open files with those that the names lead to. If
//! they differ, the commit fails ([`JournalError::Gone`]). The open files still hold all acknowledged data:
//! [`Journal::rescue`] copies them to the place of the storage.

mod copy;
mod decided;
mod open;
mod pack;
mod past;
mod place;
mod read;
mod room;
mod salvage;
mod schema;
mod wal;
mod write;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use smol_str::SmolStr;

pub(super) use copy::{CopyDraft, CopySource};
pub use decided::SqliteDecisions;
pub(super) use past::PastFile;
pub use place::DataDir;
pub use room::{Part, Usage};

use super::batch::Tail;
use super::{Commit, Crowding, DeadLetter, Journal, JournalError, LetterQuery, Recovered, Seq};
use crate::model::Timestamp;
use read::failed;

/// The journal in a directory. One process owns it at a time.
#[derive(Debug)]
pub struct SqliteJournal {
    conn: Connection,
    tail: Tail,
    recovered: Option<Recovered>,
    ready: bool,
    poisoned: Option<String>,
    wal_warned: bool,
    /// Bytes of the events that the newest snapshot does not contain.
    events: u64,
    /// Bytes of the newest snapshot.
    snapshot: u64,
    /// See [`Journal::full`].
    full: Option<&'static str>,
    // Dropped last: the lock is held until the connection is closed.
    place: Arc<DataDir>,
}

/// How many rounds of trimming a start makes before it goes on.
const TRIMS_AT_START: usize = 32;
/// A snapshot is taken early when the events since the last have this share of the room.
const EVENTS_SHARE: u64 = 4;
/// Beyond the room by this share of it, new data is refused while removable data cannot go yet.
const FULL_SHARE: u64 = 8;

impl SqliteJournal {
    /// Opens the journal in `dir`, which is created if it is missing. It takes its lock, migrates,
    /// verifies, and repairs damage.
    ///
    /// # Errors
    /// [`JournalError::Unusable`] if the directory cannot be used, another process owns it, or it holds
    /// another program's database. The same if its filesystem cannot do WAL. [`JournalError::Newer`] if a
    /// newer version wrote it.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        DataDir::claim(dir)?.open()
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

    /// Runs one write. A failure poisons the handle.
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

    /// A write is durable only if the names still lead to the open files.
    fn still_there(&mut self) -> Result<(), JournalError> {
        let there = self.place.check();
        if let Err(gone) = &there {
            self.poison(gone.to_string());
        }
        there
    }

    /// Copies the WAL into the file when it has grown. The write before is durable already, so that
    /// a failure here fails the next one.
    fn tend_wal(&mut self) {
        match wal::checkpoint_if_large(&self.conn, self.place.room().wal()) {
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

    /// By how many bytes the files are larger than they may be.
    fn over(&self) -> Result<u64, JournalError> {
        let size = write::size(&self.conn).map_err(failed)? + self.place.wal_size();
        Ok(size.saturating_sub(self.place.room().journal()))
    }

    /// Makes room before the first write: on a full disk that write would fail.
    fn trim_at_start(&mut self) {
        for _ in 0..TRIMS_AT_START {
            let trimmed = self.over().and_then(|over| if over > 0 { self.trim_by(over) } else { Ok(0) });
            match trimmed {
                Ok(0) => return,
                Ok(_) => self.tend_wal(),
                Err(error) => {
                    return tracing::warn!(%error, "the journal cannot be made smaller at the start");
                }
            }
        }
    }

    /// Trims so that `over` bytes less are taken, and some more, so that it pays. Gives how many rows left.
    fn trim_by(&mut self, over: u64) -> Result<u64, JournalError> {
        let room = self.place.room();
        let wanted = over + room.journal() / 16;
        let left = write::trim(&mut self.conn, wanted, room.indexed()).map_err(failed)?;
        left.iter().for_each(|(part, count)| room.trimmed(*part, *count));
        Ok(left.iter().map(|(_, count)| count).sum())
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        self.place.closed();
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
        self.events += self.write(|conn| write::commit(conn, commit, tail))?;
        self.tail = tail;
        self.still_there()?;
        self.tend_wal();
        Ok(())
    }

    fn snapshot(&mut self, seq: Seq, body: &[u8]) -> Result<(), JournalError> {
        let (tail, only) = (self.tail, self.over()? > 0);
        let gone = self.write(|conn| write::snapshot(conn, tail, seq, body, only))?;
        if only {
            self.place.room().trimmed(Part::Events, gone);
        }
        (self.events, self.snapshot) = (0, body.len() as u64);
        self.still_there()?;
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

    fn crowding(&mut self) -> Result<Crowding, JournalError> {
        if self.over()? == 0 {
            self.full = None;
            return Ok(Crowding::No);
        }
        let worth = (self.place.room().journal() / EVENTS_SHARE).max(self.snapshot);
        Ok(if self.events >= worth { Crowding::Snapshot } else { Crowding::Trim })
    }

    fn trim(&mut self) -> Result<(), JournalError> {
        self.writable()?;
        let over = self.over()?;
        if over > 0 {
            if let Err(JournalError::Failed(reason)) = self.trim_by(over) {
                self.poison(reason.clone());
                return Err(JournalError::Failed(reason));
            }
            self.tend_wal();
        }
        let room = self.place.room();
        let beyond = self.over()? > room.journal() / FULL_SHARE;
        let waits = beyond && write::has_unindexed(&self.conn, room.indexed()).map_err(failed)?;
        self.full = waits.then_some(
            "the data directory is as large as storage.max_size or the disk lets it be, \
            and decisions wait to be indexed before older ones can leave",
        );
        Ok(())
    }

    fn full(&self) -> Option<&'static str> {
        self.full
    }

    fn check(&self) -> Result<(), JournalError> {
        self.place.check()
    }

    fn rescue(&mut self) -> Result<(), JournalError> {
        // This handle must never touch the new files under these names.
        self.poison("its files are gone".into());
        if self.place.is_saved() || self.place.check().is_ok() {
            return Ok(());
        }
        self.place.hold_on()?;
        let broken = |e: &dyn std::fmt::Display| self.place.unusable(format!("not written anew: {e}"));
        self.place.clear_draft().map_err(|e| broken(&e))?;
        let draft = self.place.draft();
        // The open files hold all acknowledged data, even if their names are gone.
        self.conn.execute("VACUUM INTO ?", [draft.to_string_lossy()]).map_err(|e| broken(&e))?;
        self.place.replace_by_draft().map_err(|e| broken(&e))?;
        tracing::error!(path = %self.place.db().display(), "the storage was gone, and is written anew");
        Ok(())
    }
}

impl DataDir {
    /// Opens the journal. See [`SqliteJournal::open`].
    ///
    /// # Errors
    /// The directory cannot be used any more, it holds another program's database or a newer one, or its
    /// filesystem cannot do WAL.
    pub fn open(self: &Arc<Self>) -> Result<SqliteJournal, JournalError> {
        self.hold_on()?;
        self.make_room();
        open::open(self.clone())
    }
}

#[cfg(test)]
mod tests;
