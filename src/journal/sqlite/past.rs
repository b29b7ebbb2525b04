//! Reading the events of a file whose server may be running.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::super::batch::int;
use super::schema;
use super::{pack, read};
use crate::journal::batch::{self, checksum};
use crate::journal::past::{COMMITS, PastStore};
use crate::journal::{JournalError, Record, Seq};

/// The journal of a data directory.
#[derive(Debug)]
pub(in crate::journal) struct PastFile {
    conn: Connection,
    path: PathBuf,
}

impl PastFile {
    /// Opens the journal in `dir` for reading.
    pub(in crate::journal) fn open(dir: &Path) -> Result<Self, JournalError> {
        let (path, conn) = schema::open_past(dir)?;
        Ok(PastFile { conn, path })
    }
}

impl PastStore for PastFile {
    fn after(&mut self, last: Seq) -> Result<Vec<Record>, JournalError> {
        let failed = |e: rusqlite::Error| JournalError::Failed(e.to_string());
        let mut statement = self
            .conn
            .prepare_cached(
                "SELECT first_seq, last_seq, sha256, body FROM input WHERE first_seq > ?
                 ORDER BY first_seq LIMIT ?",
            )
            .map_err(failed)?;
        let mut rows = statement.query([int(last), i64::from(COMMITS)]).map_err(failed)?;
        let mut records = Vec::new();
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
            records.extend(decoded.map_err(|reason| JournalError::Unusable {
                path: self.path.display().to_string(),
                reason: format!("events {first} to {last}: {reason}. Start the server, which repairs it"),
            })?);
        }
        Ok(records)
    }
}
