//! The events that a journal still holds, for a study of the past. A server may be running.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::schema::{self, OpenError};
use super::{int, pack, read};
use crate::journal::batch::{self, checksum};
use crate::journal::{JournalError, Record, Seq};

/// Commits read in one transaction: short ones, so that a running server can reuse its WAL.
const COMMITS: i64 = 64;

/// The events of the log in a directory, oldest first. Those that two snapshots contain are gone from it.
/// It takes no lock and changes nothing.
#[derive(Debug)]
pub struct SqlitePast {
    conn: Connection,
    path: PathBuf,
    last: Seq,
    waiting: VecDeque<Record>,
    over: bool,
}

impl SqlitePast {
    /// Opens the journal in `dir` for reading.
    ///
    /// # Errors
    /// There is none, it cannot be read, or its format is not this program's.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join("squelch.db");
        let unusable = |reason: String| JournalError::Unusable { path: path.display().to_string(), reason };
        if !path.is_file() {
            return Err(unusable("no journal here. The --storage.path of a server would be right".into()));
        }
        let conn = schema::open_reading(&path).map_err(|e| match e {
            OpenError::Damaged(reason) => unusable(format!("{reason}: start the server, which repairs it")),
            OpenError::Refused(reason) => unusable(reason),
            OpenError::Newer(found) => JournalError::Newer { found, supported: schema::supported() },
        })?;
        Ok(SqlitePast { conn, path, last: 0, waiting: VecDeque::new(), over: false })
    }

    fn fill(&mut self) -> Result<(), JournalError> {
        let failed = |e: rusqlite::Error| JournalError::Failed(e.to_string());
        let mut statement = self
            .conn
            .prepare_cached(
                "SELECT first_seq, last_seq, sha256, body FROM input WHERE first_seq > ?
                 ORDER BY first_seq LIMIT ?",
            )
            .map_err(failed)?;
        let mut rows = statement.query([int(self.last), COMMITS]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let (first, last): (i64, i64) = (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
            let body = read::bytes(row, 3).map_err(failed)?;
            let whole = read::bytes(row, 2).map_err(failed)? == checksum(&[first, last], body);
            let (first, last) = (read::number(first), read::number(last));
            let decoded = match pack::text(row.get_ref(3).map_err(failed)?) {
                Ok(text) if whole => batch::decode(first, last, &text),
                Ok(_) => Err("they do not match their checksum".to_owned()),
                Err(e) => Err(e),
            };
            let records = decoded.map_err(|reason| JournalError::Unusable {
                path: self.path.display().to_string(),
                reason: format!("events {first} to {last}: {reason}. Start the server, which repairs it"),
            })?;
            self.waiting.extend(records);
            self.last = last;
        }
        Ok(())
    }
}

impl Iterator for SqlitePast {
    type Item = Result<Record, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.waiting.is_empty()
            && !self.over
            && let Err(error) = self.fill()
        {
            self.over = true;
            return Some(Err(error));
        }
        self.waiting.pop_front().map(Ok)
    }
}
