//! Connections, settings, tables and versions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::journal::JournalError;

/// "SQLC": how the file says whose it is.
const APPLICATION_ID: i64 = 0x5351_4c43;

/// The steps from one version to the next. Step n leads to version n + 1. A released step never changes.
/// After damage, `notification.seq` shows which notifications the engine knows.
const STEPS: [&str; 1] = ["
CREATE TABLE input (
    first_seq INTEGER PRIMARY KEY,
    last_seq INTEGER NOT NULL CHECK (last_seq >= first_seq),
    sha256 BLOB NOT NULL,
    body TEXT NOT NULL
);
CREATE TABLE decision (
    id INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    body TEXT NOT NULL
);
CREATE TABLE notification (
    id INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    receiver TEXT NOT NULL,
    integration TEXT NOT NULL,
    kind TEXT NOT NULL,
    dedup_key TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'accepted', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    ended_at INTEGER,
    reason TEXT,
    detail TEXT,
    ambiguous INTEGER,
    sha256 BLOB NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX notification_state ON notification (state, ended_at, id);
CREATE TABLE snapshot (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    body BLOB NOT NULL
);
"];

/// The flags with which the owner opens the file.
const OWNER: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_CREATE);

/// Why a file could not be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// It is damaged: put it aside and go on.
    Damaged(String),
    /// It is not damaged, and cannot be used.
    Refused(String),
    /// A newer version wrote it.
    Newer(u32),
}

impl From<rusqlite::Error> for OpenError {
    fn from(e: rusqlite::Error) -> Self {
        match is_damage(&e) {
            true => OpenError::Damaged(e.to_string()),
            false => OpenError::Refused(e.to_string()),
        }
    }
}

/// Whether `e` says that the content is wrong, not that the disk, the rights or the memory are.
pub(super) fn is_damage(e: &rusqlite::Error) -> bool {
    match e {
        // `Unknown` is SQLITE_ERROR: a table or a column is not there.
        rusqlite::Error::SqliteFailure(e, _) => {
            // A short read: the file ends before a page that it should hold.
            e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ
                || matches!(e.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
        }
        rusqlite::Error::SqlInputError { .. }
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::QueryReturnedNoRows => true,
        _ => false,
    }
}

/// Opens `path` for its owner: created if it is missing, settings made and read back, migrated.
/// Until all is in order nothing is written: neither to a file that is newer or not ours, nor when
/// it is closed.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    open_with(path, &STEPS)
}

/// Whether [`open`] would take the file. It writes nothing.
pub(super) fn examine(path: &Path) -> Result<(), OpenError> {
    own(path, &STEPS, OWNER).map(drop)
}

/// Opens `path`, which may be another process's, to read its rows. It writes nothing to it.
pub(super) fn open_reading(path: &Path) -> Result<Connection, OpenError> {
    let (conn, version, _) = own(path, &STEPS, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    match version == STEPS.len() {
        true => Ok(conn),
        false => Err(OpenError::Refused(format!(
            "format {version} is older than this program's {}: let `squelch serve` migrate it",
            STEPS.len()
        ))),
    }
}

/// Opens the journal in `dir`, whose server may be running, to read its rows. It returns its path too.
pub(super) fn open_past(dir: &Path) -> Result<(PathBuf, Connection), JournalError> {
    let path = dir.join("squelch.db");
    let unusable = |reason: String| JournalError::Unusable { path: path.display().to_string(), reason };
    if !path.is_file() {
        return Err(unusable("no journal here. Give the --storage.path of a server".into()));
    }
    let conn = open_reading(&path).map_err(|e| match e {
        OpenError::Damaged(reason) => unusable(format!("{reason}: start the server, which repairs it")),
        OpenError::Refused(reason) => unusable(reason),
        OpenError::Newer(found) => JournalError::Newer { found, supported: supported() },
    })?;
    Ok((path, conn))
}

fn open_with(path: &Path, steps: &[&str]) -> Result<Connection, OpenError> {
    let (mut conn, version, new) = own(path, steps, OWNER)?;
    configure(&conn, new)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    migrate(&mut conn, version, steps)?;
    Ok(conn)
}

/// A connection that changes nothing, the version found, and whether the file is new.
fn own(path: &Path, steps: &[&str], flags: OpenFlags) -> Result<(Connection, usize, bool), OpenError> {
    let conn = connect(path, flags)?;
    leave_wal_on_close(&conn);
    let version = pragma(&conn, "user_version")?;
    let owner = pragma(&conn, "application_id")?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if owner != APPLICATION_ID && (owner != 0 || version != 0 || tables != 0) {
        return Err(OpenError::Refused(format!(
            "the file is not a Squelch store (application_id {owner}, not {APPLICATION_ID}): move it away, \
             or use another --storage.path"
        )));
    }
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > steps.len() {
        return Err(OpenError::Newer(u32::try_from(version).unwrap_or(u32::MAX)));
    }
    Ok((conn, version, tables == 0))
}

/// Opens `path` to read its undamaged parts.
pub(super) fn open_damaged(path: &Path) -> Result<Connection, rusqlite::Error> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    leave_wal_on_close(&conn);
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, rusqlite::Error> {
    // One thread uses a connection at a time, which Rust guarantees.
    let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    Ok(conn)
}

/// Leaves the WAL unchanged when the connection is closed.
pub(super) fn leave_wal_on_close(conn: &Connection) {
    // It fails on a broken connection only, which does not checkpoint either.
    let _ = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
}

fn configure(conn: &Connection, new: bool) -> Result<(), OpenError> {
    if new {
        // Has to be chosen before the first page is written.
        conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(OpenError::Refused(format!(
            "the filesystem cannot do SQLite's WAL (journal mode is {mode}): use a local disk, not a network share"
        )));
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    let wanted = [("synchronous", 2), ("wal_autocheckpoint", 0), ("busy_timeout", 5_000)];
    for (name, value) in wanted {
        let found = pragma(conn, name)?;
        if found != value {
            return Err(OpenError::Refused(format!("SQLite keeps {name} at {found}, not {value}")));
        }
    }
    Ok(())
}

fn pragma(conn: &Connection, name: &str) -> Result<i64, rusqlite::Error> {
    conn.pragma_query_value(None, name, |row| row.get(0))
}

fn migrate(conn: &mut Connection, from: usize, steps: &[&str]) -> Result<(), OpenError> {
    for (step, version) in steps.iter().zip(1u32..).skip(from) {
        let tx = conn.transaction()?;
        tx.execute_batch(step)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", version)?;
        tx.commit()?;
    }
    if from < steps.len() {
        // The version stands in the file itself, for programs that look at nothing else.
        super::wal::checkpoint(conn)?;
    }
    Ok(())
}

/// The newest version this program knows.
pub(super) fn supported() -> u32 {
    u32::try_from(STEPS.len()).unwrap_or(u32::MAX)
}

/// Turns a refusal into the error that people see.
pub(super) fn refusal(place: &super::place::DataDir, e: OpenError) -> JournalError {
    match e {
        OpenError::Damaged(reason) | OpenError::Refused(reason) => place.unusable(reason),
        OpenError::Newer(found) => JournalError::Newer { found, supported: supported() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_version_is_migrated_and_keeps_its_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("squelch.db");
        let conn = open(&path).unwrap();
        conn.execute("INSERT INTO snapshot VALUES (1, 2, x'00', x'01')", []).unwrap();
        drop(conn);
        let steps = [STEPS[0], "ALTER TABLE snapshot ADD COLUMN size INTEGER NOT NULL DEFAULT 7"];
        let conn = open_with(&path, &steps).unwrap();
        assert_eq!(pragma(&conn, "user_version").unwrap(), 2);
        let size: i64 = conn.query_row("SELECT size FROM snapshot WHERE seq = 1", [], |r| r.get(0)).unwrap();
        assert_eq!(size, 7);
        drop(conn);
        assert!(matches!(open(&path), Err(OpenError::Newer(2))), "the way back is refused");
    }

    #[test]
    fn a_step_that_fails_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("squelch.db");
        drop(open(&path).unwrap());
        let steps = [STEPS[0], "CREATE TABLE half (a); CREATE TABLE input (b)"];
        assert!(open_with(&path, &steps).is_err());
        let conn = open(&path).unwrap();
        let half: i64 = conn
            .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'half'", [], |r| r.get(0))
            .unwrap();
        assert_eq!(half, 0);
    }
}
