//! The decisions that a journal holds, for an index of them. A server may be writing it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};

use super::read::failed;
use super::schema;
use super::{pack, read};
use crate::journal::batch::checksum;
use crate::journal::{DECIDED_BYTES, Decided, Decisions, JournalError};

/// The decisions of the journal in a directory. Takes no lock and changes nothing.
#[derive(Debug)]
pub struct SqliteDecisions {
    conn: Connection,
    path: PathBuf,
    /// The number that the filesystem gave the file.
    number: u64,
}

impl SqliteDecisions {
    /// Opens the journal in `dir` for reading.
    ///
    /// # Errors
    /// There is none, it cannot be read, or its format is not this program's.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let (path, conn) = schema::open_past(dir)?;
        let number = number(&path);
        Ok(SqliteDecisions { conn, path, number })
    }

    fn read(&self, row: i64, limit: usize) -> Result<Vec<Decided>, rusqlite::Error> {
        let mut statement = self.conn.prepare_cached(
            "SELECT id, seq, at, sha256, body FROM decision WHERE id > ? ORDER BY id LIMIT ?",
        )?;
        let mut rows = statement.query([row, i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while bytes < DECIDED_BYTES
            && let Some(row) = rows.next()?
        {
            let (id, seq, at) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (sha256, body) = (read::bytes(row, 3)?, read::bytes(row, 4)?);
            let decided = match sha256 == checksum(&[seq, at], body) {
                true => pack::text(row.get_ref(4)?).and_then(|text| {
                    bytes += text.len();
                    serde_json::from_str(&text).map_err(|e| e.to_string())
                }),
                false => Err("it does not match its checksum".into()),
            };
            found.push(Decided::of(id, at, sha256.to_vec(), decided));
        }
        Ok(found)
    }
}

impl Decisions for SqliteDecisions {
    /// Whether the file is still the journal: a repair puts another one in its place.
    fn is_current(&self) -> bool {
        number(&self.path) == self.number
    }

    fn newest(&self) -> Result<i64, JournalError> {
        let newest = self
            .conn
            .prepare_cached("SELECT max(id) FROM decision")
            .and_then(|mut s| s.query_row([], |row| row.get::<_, Option<i64>>(0)));
        Ok(newest.map_err(failed)?.unwrap_or(0))
    }

    fn checksum(&self, row: i64) -> Result<Option<Vec<u8>>, JournalError> {
        let sql = "SELECT sha256 FROM decision WHERE id = ?";
        self.conn.query_row(sql, [row], |row| row.get(0)).optional().map_err(failed)
    }

    fn after(&self, row: i64, limit: usize) -> Result<Vec<Decided>, JournalError> {
        self.read(row, limit).map_err(failed)
    }
}

fn number(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.ino())
}
