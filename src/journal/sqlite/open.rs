//! Opening: lock, version, verification, repair, in this order. Squelch therefore never writes to a file of
//! another program.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::place::{DataDir, with_suffix};
use super::read::{self, Loaded};
use super::schema::{self, OpenError};
use super::{SqliteJournal, salvage, wal};
use crate::journal::{JournalError, Recovered};

/// See [`SqliteJournal::open`].
pub(super) fn open(place: Arc<DataDir>) -> Result<SqliteJournal, JournalError> {
    let io = |e: std::io::Error| place.unusable(e.to_string());
    let mut said = Recovered::default();
    if let Some(aside) = place.finish_repair().map_err(io)? {
        said.notes.push("a repair that was interrupted has been finished".into());
        said.quarantined = Some(aside);
    }
    let wal = with_suffix(&place.db(), "-wal");
    let untrusted = if is_empty(&place.db()) && !is_empty(&wal) {
        Some("squelch.db is empty and its WAL is not: SQLite drops both".to_owned())
    } else {
        let broken = wal::broken(&wal).map_err(io)?;
        if broken.is_some()
            && let Err(e @ (OpenError::Refused(_) | OpenError::Newer(_))) = schema::examine(&place.db())
        {
            return Err(schema::refusal(&place, e));
        }
        broken
    };
    if let Some(reason) = untrusted {
        said.quarantined = Some(place.copy_aside().map_err(io)?);
        said.notes.push(reason);
    }
    let (conn, loaded) = match load(&place.db()) {
        Ok(both) => both,
        Err(OpenError::Damaged(reason)) => {
            let about = salvage::rebuild(&place, &reason)?;
            said.quarantined = about.quarantined;
            said.notes.extend(about.notes);
            said.orphans = about.orphans;
            said.unreadable = about.unreadable;
            load(&place.db()).map_err(|e| schema::refusal(&place, e))?
        }
        Err(e) => return Err(schema::refusal(&place, e)),
    };
    for note in &said.notes {
        tracing::error!(path = %place.db().display(), "{note}");
    }
    let recovered = Recovered {
        quarantined: said.quarantined,
        notes: said.notes,
        orphans: said.orphans,
        unreadable: said.unreadable,
        ..loaded.recovered
    };
    place.opened()?;
    let mut journal = SqliteJournal {
        conn,
        tail: loaded.tail,
        recovered: Some(recovered),
        ready: false,
        poisoned: None,
        wal_warned: false,
        events: loaded.events,
        snapshot: loaded.snapshot,
        full: None,
        place,
    };
    journal.trim_at_start();
    Ok(journal)
}

fn is_empty(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |m| m.len() == 0)
}

fn load(path: &Path) -> Result<(Connection, Loaded), OpenError> {
    let conn = schema::open(path)?;
    match verify(&conn) {
        Ok(loaded) => Ok((conn, loaded)),
        Err(e) => {
            // The damaged files are evidence, and the WAL may hold data that the file lacks.
            schema::leave_wal_on_close(&conn);
            Err(e)
        }
    }
}

/// Whether all of it is whole, and the content that a start finds.
pub(super) fn verify(conn: &Connection) -> Result<Loaded, OpenError> {
    // More than quick_check: an index that misses a row would hide a page from the outbox.
    let verdict: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(OpenError::Damaged(verdict.replace('\n', " ")));
    }
    let loaded = read::load(conn)?;
    match loaded.damage.is_empty() {
        true => Ok(loaded),
        false => Err(OpenError::Damaged(loaded.damage.join(", "))),
    }
}
