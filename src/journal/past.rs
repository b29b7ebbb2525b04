//! The events that a journal still holds, for a study of the past. A server may be running.

use std::collections::VecDeque;

use super::{JournalError, JournalPlace, Record, Seq, postgres, sqlite};

/// Commits read in one transaction or statement: few, so that a running server can go on.
pub(super) const COMMITS: u32 = 64;

/// A journal that can be read from any event on.
pub(super) trait PastStore {
    /// The events of the next [`COMMITS`] commits after `last`, in order. There are none at the end.
    fn after(&mut self, last: Seq) -> Result<Vec<Record>, JournalError>;
}

/// The events of a journal, oldest first. Those that two snapshots contain are gone from it. It takes no
/// lock and no ownership, and changes nothing.
pub struct JournalPast {
    store: Box<dyn PastStore + Send>,
    last: Seq,
    waiting: VecDeque<Record>,
    over: bool,
}

impl JournalPast {
    /// Opens the journal for reading. A database needs a thread that may block.
    ///
    /// # Errors
    /// There is none, it cannot be read, or its format is not this program's.
    pub fn open(place: &JournalPlace) -> Result<Self, JournalError> {
        let store: Box<dyn PastStore + Send> = match place {
            JournalPlace::Sqlite(dir) => Box::new(sqlite::PastFile::open(dir)?),
            JournalPlace::Postgres(url) => Box::new(postgres::PastDatabase::open(url)?),
        };
        Ok(JournalPast { store, last: 0, waiting: VecDeque::new(), over: false })
    }
}

impl Iterator for JournalPast {
    type Item = Result<Record, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.waiting.is_empty() && !self.over {
            match self.store.after(self.last) {
                Ok(records) => self.waiting.extend(records),
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
            self.last = self.waiting.back().map_or(self.last, |record| record.seq);
        }
        self.waiting.pop_front().map(Ok)
    }
}
