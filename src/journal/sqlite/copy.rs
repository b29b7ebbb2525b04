//! Copies of whole journals, from and to a data directory.

use std::path::Path;
use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};
use smol_str::SmolStr;

use super::super::batch::int;
use super::place::{DataDir, with_suffix};
use super::read::failed;
use super::schema::{self, OpenError};
use super::{open, pack, read, wal};
use crate::journal::batch::checksum;
use crate::journal::copy::{self, CopiedRow, CopyStore, Draft, End, PAGE, Table, damaged};
use crate::journal::{JournalError, Recovered};
use crate::model::{Notification, NotificationId, Outcome, Rejection, Report};

/// The journal in a directory. No other process may use it meanwhile. It does not change.
pub(in crate::journal) struct CopySource {
    conn: Connection,
    place: Arc<DataDir>,
}

impl CopySource {
    pub(in crate::journal) fn open(dir: &Path) -> Result<Self, JournalError> {
        let db = dir.join("squelch.db");
        if !db.is_file() {
            let path = db.display().to_string();
            let reason = "no journal here. Give the --storage.path of a server".into();
            return Err(JournalError::Unusable { path, reason });
        }
        let place = DataDir::claim(dir)?;
        let broken =
            wal::broken(&with_suffix(&place.db(), "-wal")).map_err(|e| place.unusable(e.to_string()))?;
        if let Some(reason) = broken {
            return Err(repair(&place, &reason));
        }
        let conn = schema::open_reading(&place.db()).map_err(|e| explained(&place, e))?;
        Ok(CopySource { conn, place })
    }
}

fn repair(place: &DataDir, reason: &str) -> JournalError {
    place.unusable(format!("{reason}. Start `squelch serve` on it once, which repairs it"))
}

fn explained(place: &DataDir, error: OpenError) -> JournalError {
    match error {
        OpenError::Damaged(reason) => repair(place, &reason),
        error => schema::refusal(place, error),
    }
}

impl CopyStore for CopySource {
    fn count(&mut self, table: Table) -> Result<u64, JournalError> {
        count(&self.conn, table)
    }

    fn page(&mut self, table: Table, after: i64) -> Result<Vec<CopiedRow>, JournalError> {
        page(&self.conn, table, after)?.map_err(|reason| repair(&self.place, &reason))
    }

    fn load(&mut self) -> Result<Recovered, JournalError> {
        let loaded = open::verify(&self.conn).map_err(|e| explained(&self.place, e))?;
        Ok(loaded.recovered)
    }
}

fn count(conn: &Connection, table: Table) -> Result<u64, JournalError> {
    let (name, _) = table.name();
    let rows = conn.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get(0));
    rows.map(read::number).map_err(failed)
}

/// The next rows. The inner error says why one of them is not whole.
fn page(conn: &Connection, table: Table, after: i64) -> Result<Result<Vec<CopiedRow>, String>, JournalError> {
    let columns = match table {
        Table::Snapshots => "seq, at, sha256, body",
        Table::Events => "first_seq, last_seq, sha256, body",
        Table::Decisions => "id, seq, sha256, body, at",
        Table::Notifications => "id, seq, sha256, body, state, ended_at, attempts, reason, detail, ambiguous",
    };
    let (name, key) = table.name();
    let sql = format!("SELECT {columns} FROM {name} WHERE {key} > ? ORDER BY {key} LIMIT ?");
    let found = || {
        let mut statement = conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params![after, PAGE])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            match whole(table, row)? {
                Ok(row) => found.push(row),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        Ok(Ok(found))
    };
    found().map_err(failed)
}

fn whole(table: Table, row: &rusqlite::Row<'_>) -> Result<Result<CopiedRow, String>, rusqlite::Error> {
    let (key, second): (i64, i64) = (row.get(0)?, row.get(1)?);
    let (sha256, stored) = (read::bytes(row, 2)?, read::bytes(row, 3)?);
    let at: Option<i64> = if table == Table::Decisions { row.get(4)? } else { None };
    // A row of decisions is known by its order, and its checksum covers its time.
    let covered = match at {
        Some(at) => [second, at],
        None => [key, second],
    };
    if sha256 != checksum(&covered, stored) {
        return Ok(Err(damaged(table, key)));
    }
    if table == Table::Snapshots {
        return Ok(Ok(CopiedRow::Snapshot { seq: key, at: second, body: stored.to_vec() }));
    }
    let body = match pack::text(row.get_ref(3)?) {
        Ok(text) => text.into_owned(),
        Err(reason) => return Ok(Err(format!("{}: {reason}", damaged(table, key)))),
    };
    Ok(Ok(match table {
        Table::Notifications => CopiedRow::Notification { id: key, seq: second, body, end: end(row, key)? },
        Table::Events => CopiedRow::Events { first: key, last: second, body },
        _ => CopiedRow::Decisions { id: key, seq: second, at: at.unwrap_or_default(), body },
    }))
}

fn end(row: &rusqlite::Row<'_>, id: i64) -> Result<Option<End>, rusqlite::Error> {
    let dead = match read::bytes(row, 4)? {
        b"queued" => return Ok(None),
        state => state == b"dead",
    };
    let outcome = match row.get_ref(7)? {
        ValueRef::Null => Outcome::Accepted,
        _ => Outcome::Rejected(Rejection {
            reason: SmolStr::new(row.get::<_, String>(7)?),
            detail: row.get(8)?,
            ambiguous: row.get(9)?,
        }),
    };
    let id = NotificationId(read::number(id));
    let report = Report { id, outcome, attempts: row.get(6)?, message: None };
    Ok(Some(End { dead, at: row.get(5)?, report }))
}

/// A new journal in a directory, which takes its name at the end.
pub(in crate::journal) struct CopyDraft {
    conn: Option<Connection>,
    place: Arc<DataDir>,
}

impl CopyDraft {
    pub(in crate::journal) fn create(dir: &Path) -> Result<Self, JournalError> {
        let place = DataDir::claim(dir)?;
        if place.has_journal() {
            return Err(place.unusable(
                "there is a journal already, which a copy would replace. Move squelch.db and the files beside \
                 it away, or name another directory",
            ));
        }
        let io = |e: std::io::Error| place.unusable(e.to_string());
        place.clear_draft().map_err(io)?;
        let conn = schema::open(&place.draft()).map_err(|e| schema::refusal(&place, e))?;
        Ok(CopyDraft { conn: Some(conn), place })
    }

    fn conn(&mut self) -> Result<&mut Connection, JournalError> {
        self.conn.as_mut().ok_or_else(|| JournalError::Failed("an earlier call failed".into()))
    }

    fn insert(&mut self, rows: &[CopiedRow]) -> Result<(), JournalError> {
        let tx = self.conn()?.transaction().map_err(failed)?;
        for row in rows {
            match row {
                CopiedRow::Snapshot { seq, at, body } => tx
                    .prepare_cached("INSERT INTO snapshot (seq, at, sha256, body) VALUES (?, ?, ?, ?)")
                    .and_then(|mut s| s.execute(params![seq, at, checksum(&[*seq, *at], body), body])),
                CopiedRow::Events { first, last, body } => {
                    let body = pack::Packed::new(body.clone());
                    tx.prepare_cached(
                        "INSERT INTO input (first_seq, last_seq, sha256, body) VALUES (?, ?, ?, ?)",
                    )
                    .and_then(|mut s| {
                        s.execute(params![first, last, checksum(&[*first, *last], body.bytes()), body])
                    })
                }
                CopiedRow::Decisions { id, seq, at, body } => {
                    let body = pack::Packed::new(body.clone());
                    tx.prepare_cached(
                        "INSERT INTO decision (id, seq, at, sha256, body) VALUES (?, ?, ?, ?, ?)",
                    )
                    .and_then(|mut s| {
                        s.execute(params![id, seq, at, checksum(&[*seq, *at], body.bytes()), body])
                    })
                }
                CopiedRow::Notification { id, seq, body, end } => {
                    let notification = copy::notification(*id, body).map_err(JournalError::Failed)?;
                    insert_notification(&tx, *seq, &notification, body, end.as_ref())
                }
            }
            .map_err(failed)?;
        }
        tx.commit().map_err(failed)
    }
}

fn insert_notification(
    tx: &Connection,
    seq: i64,
    n: &Notification,
    body: &str,
    end: Option<&End>,
) -> Result<usize, rusqlite::Error> {
    let (id, body) = (int(n.id.0), pack::Packed::new(body.to_owned()));
    let state = match end {
        None => "queued",
        Some(end) if end.dead => "dead",
        Some(_) => "accepted",
    };
    let rejection = end.and_then(|end| match &end.report.outcome {
        Outcome::Accepted | Outcome::Recalled { .. } => None,
        Outcome::Rejected(rejection) => Some(rejection),
    });
    tx.prepare_cached(
        "INSERT INTO notification
             (id, seq, at, receiver, integration, kind, dedup_key, state, attempts, ended_at, reason, detail,
              ambiguous, sha256, body)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        id,
        seq,
        n.at.as_millis(),
        n.receiver.as_str(),
        n.integration.as_str(),
        n.kind.as_str(),
        n.dedup_key.as_str(),
        state,
        end.map_or(0, |end| end.report.attempts),
        end.map(|end| end.at),
        rejection.map(|r| r.reason.as_str()),
        rejection.map(|r| r.detail.as_str()),
        rejection.map(|r| r.ambiguous),
        checksum(&[id, seq], body.bytes()),
        body,
    ])
}

impl CopyStore for CopyDraft {
    fn count(&mut self, table: Table) -> Result<u64, JournalError> {
        count(self.conn()?, table)
    }

    fn page(&mut self, table: Table, after: i64) -> Result<Vec<CopiedRow>, JournalError> {
        page(self.conn()?, table, after)?.map_err(JournalError::Failed)
    }

    fn load(&mut self) -> Result<Recovered, JournalError> {
        let place = self.place.clone();
        Ok(open::verify(self.conn()?).map_err(|e| schema::refusal(&place, e))?.recovered)
    }
}

impl Draft for CopyDraft {
    fn add(&mut self, rows: Vec<CopiedRow>) -> Result<(), JournalError> {
        self.insert(&rows)?;
        let large = self.place.room().wal();
        wal::checkpoint_if_large(self.conn()?, large).map(drop).map_err(failed)
    }

    /// The last event of a file is that of its last row.
    fn seal(&mut self, _head: i64) -> Result<(), JournalError> {
        wal::checkpoint(self.conn()?).map_err(failed)?;
        if let Some(conn) = self.conn.take() {
            conn.close().map_err(|(_, e)| failed(e))?;
        }
        let conn = schema::open(&self.place.draft()).map_err(|e| schema::refusal(&self.place, e))?;
        self.conn = Some(conn);
        Ok(())
    }

    fn publish(mut self: Box<Self>) -> Result<(), JournalError> {
        if let Some(conn) = self.conn.take() {
            wal::checkpoint(&conn).map_err(failed)?;
            conn.close().map_err(|(_, e)| failed(e))?;
        }
        self.place.install_new().map_err(|e| self.place.unusable(e.to_string()))
    }
}

impl Drop for CopyDraft {
    /// A draft that is not whole is worth nothing.
    fn drop(&mut self) {
        self.conn = None;
        if let Err(error) = self.place.clear_draft() {
            tracing::warn!(%error, "an unfinished copy is left in the data directory");
        }
    }
}
