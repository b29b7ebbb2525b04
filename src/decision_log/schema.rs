//! The file: how it is opened, and its tables.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::DecisionLogError;

/// The version of the tables. A file of another version is made anew from the journal.
const VERSION: i64 = 3;

const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER, blob BLOB) WITHOUT ROWID;
CREATE TABLE text (
    id INTEGER PRIMARY KEY, day INTEGER NOT NULL, text TEXT NOT NULL, UNIQUE (day, text)
);
CREATE TABLE receiver (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE kind (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE incident (id INTEGER PRIMARY KEY, dedup_key TEXT NOT NULL UNIQUE);
CREATE TABLE alert (
    id INTEGER PRIMARY KEY, alert BLOB NOT NULL UNIQUE, fingerprint INTEGER NOT NULL, labels TEXT NOT NULL
);
CREATE INDEX alert_fingerprint ON alert (fingerprint);
CREATE TABLE pair (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT NOT NULL, UNIQUE (name, value)
);
CREATE TABLE alert_pair (
    pair INTEGER NOT NULL, alert INTEGER NOT NULL, PRIMARY KEY (pair, alert)
) WITHOUT ROWID;
CREATE TABLE decision (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    alert INTEGER NOT NULL,
    receiver INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    count INTEGER NOT NULL,
    route INTEGER NOT NULL,
    cause INTEGER NOT NULL,
    setting INTEGER NOT NULL,
    line INTEGER NOT NULL,
    incident INTEGER,
    starts_at INTEGER,
    since INTEGER,
    release INTEGER,
    page_at INTEGER,
    update_of INTEGER
);
CREATE INDEX decision_alert ON decision (alert);
CREATE INDEX decision_incident ON decision (incident) WHERE incident IS NOT NULL;
CREATE INDEX decision_kind ON decision (receiver, kind);
CREATE TABLE history (
    id INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    key TEXT NOT NULL,
    receiver TEXT NOT NULL,
    observed INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    notified_at INTEGER,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    closed_at INTEGER,
    successor INTEGER,
    useful INTEGER,
    title TEXT NOT NULL,
    severity TEXT NOT NULL,
    firing INTEGER NOT NULL,
    alerts INTEGER NOT NULL,
    opened TEXT NOT NULL
);
CREATE INDEX history_number ON history (number);
CREATE INDEX history_key ON history (key);
CREATE INDEX history_opened ON history (opened_at);
CREATE TABLE history_event (
    id INTEGER PRIMARY KEY, history INTEGER NOT NULL, at INTEGER NOT NULL, change TEXT NOT NULL
);
CREATE INDEX history_event_of ON history_event (history);
";

/// The rows that are about to leave. Only the writer sees these, and they stand in memory.
const SCRATCH: &str = "
PRAGMA temp_store = MEMORY;
CREATE TEMP TABLE gone (id INTEGER PRIMARY KEY, alert INTEGER NOT NULL, incident INTEGER);
CREATE TEMP TABLE gone_pair (pair INTEGER NOT NULL, alert INTEGER NOT NULL, PRIMARY KEY (pair, alert)) WITHOUT ROWID;
";

/// The WAL is copied into the file when it has so many bytes, and then keeps no more of its length.
pub(super) const WAL_BYTES: u32 = 1 << 20;

/// Where the decision log of a storage directory is.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("decisions.db")
}

/// The number that the filesystem gives the file. It is 0 if there is none.
pub(super) fn number(dir: &Path) -> u64 {
    std::fs::metadata(path(dir)).map_or(0, |m| m.ino())
}

/// Opens the file for its one writer, and makes it anew where it is not there, damaged or of another
/// version.
pub(super) fn open_writing(dir: &Path) -> Result<Connection, DecisionLogError> {
    let path = path(dir);
    match try_open(&path) {
        Ok(conn) => Ok(conn),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the decision log is made anew from the journal");
            for suffix in ["", "-wal", "-shm"] {
                let file = dir.join(format!("decisions.db{suffix}"));
                match std::fs::remove_file(&file) {
                    Ok(()) => {}
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                    Err(e) => return Err(DecisionLogError::Failed(format!("{}: {e}", file.display()))),
                }
            }
            try_open(&path)
        }
    }
}

fn try_open(path: &Path) -> Result<Connection, DecisionLogError> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if version != VERSION && tables > 0 {
        return Err(DecisionLogError::Failed(format!("format {version} is not this program's {VERSION}")));
    }
    if tables == 0 {
        conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    let _: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    conn.pragma_update_and_check(None, "wal_autocheckpoint", WAL_BYTES / 4_096, |_| Ok(()))?;
    conn.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES, |_| Ok(()))?;
    // Rows that a power cut takes from it are read from the journal again.
    conn.pragma_update(None, "synchronous", "OFF")?;
    if tables == 0 {
        conn.execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT"))?;
    }
    conn.execute_batch(SCRATCH)?;
    let verdict: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    match verdict.as_str() {
        "ok" => Ok(conn),
        _ => Err(DecisionLogError::Failed(verdict)),
    }
}

/// Opens the file to read it.
pub(super) fn open_reading(dir: &Path) -> Result<Connection, DecisionLogError> {
    let path = path(dir);
    if !path.is_file() {
        return Err(DecisionLogError::Missing(path.display().to_string()));
    }
    let conn = Connection::open_with_flags(
        &path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(Duration::from_secs(1))?;
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        VERSION => Ok(conn),
        // The server is making it.
        0 => Err(DecisionLogError::Missing(path.display().to_string())),
        _ => Err(DecisionLogError::Failed(format!("format {version} is not this program's {VERSION}"))),
    }
}
