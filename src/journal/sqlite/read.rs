//! Reading: the content that a start finds, verified row by row, and the dead letters.

use std::collections::BTreeMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};
use smol_str::SmolStr;

use super::super::batch::int;
use super::pack;
use crate::journal::JournalError;
use crate::journal::batch::{self, Tail, checksum};
use crate::journal::{DeadLetter, LetterQuery, Record, Recovered, Seq};
use crate::model::{Notification, NotificationId, Outcome, Rejection, Report, Timestamp};

/// The content of the file, as far as it verifies.
pub(super) struct Loaded {
    /// Where the events that can be applied end.
    pub tail: Tail,
    /// The recovered content.
    pub recovered: Recovered,
    /// Everything that did not verify. Empty if all is well.
    pub damage: Vec<String>,
    /// Bytes of the events that the newest snapshot does not contain, as they are stored.
    pub events: u64,
    /// Bytes of the newest snapshot.
    pub snapshot: u64,
}

/// Reads and verifies all that a start needs.
pub(super) fn load(conn: &Connection) -> Result<Loaded, rusqlite::Error> {
    let mut damage = Vec::new();
    let (snapshot, at) = match newest_snapshot(conn, &mut damage)? {
        Some((seq, at, body)) => (Some((seq, body)), at),
        None => (None, Timestamp::ZERO),
    };
    let base = snapshot.as_ref().map_or(0, |(seq, _)| *seq);
    let mut events = 0;
    let records = records_after(conn, base, &mut damage, &mut events)?;
    let bytes = snapshot.as_ref().map_or(0, |(_, body)| body.len() as u64);
    let tail = records.last().map_or(Tail { seq: base, now: at }, |r| Tail { seq: r.seq, now: r.now });
    let beyond: Option<i64> = conn.query_row(
        "SELECT max(seq) FROM (SELECT max(seq) AS seq FROM notification UNION ALL
             SELECT seq FROM (SELECT seq FROM decision ORDER BY id DESC LIMIT 1))",
        [],
        |row| row.get(0),
    )?;
    if beyond.is_some_and(|seq| seq > int(tail.seq)) {
        damage.push(format!("events after event {} are missing", tail.seq));
    }
    let outbox = outbox(conn, &mut damage)?;
    let recovered = Recovered { snapshot, records, outbox, ..Recovered::default() };
    Ok(Loaded { tail, recovered, damage, events, snapshot: bytes })
}

type Snapshot = (Seq, Timestamp, Vec<u8>);

fn newest_snapshot(conn: &Connection, damage: &mut Vec<String>) -> Result<Option<Snapshot>, rusqlite::Error> {
    let mut newest = None;
    let mut statement = conn.prepare("SELECT seq, at, sha256, body FROM snapshot ORDER BY seq DESC")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (seq, at, body) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, bytes(row, 3)?);
        if bytes(row, 2)? != checksum(&[seq, at], body) {
            damage.push(format!("the snapshot up to event {seq} does not match its checksum"));
        } else if newest.is_none() {
            newest = Some((number(seq), Timestamp::from_millis(at), body.to_vec()));
        }
    }
    Ok(newest)
}

/// The events after `base`, up to the first that is damaged or missing.
fn records_after(
    conn: &Connection,
    base: Seq,
    damage: &mut Vec<String>,
    stored: &mut u64,
) -> Result<Vec<Record>, rusqlite::Error> {
    let mut records: Vec<Record> = Vec::new();
    let mut whole = true;
    let mut statement =
        conn.prepare("SELECT first_seq, last_seq, sha256, body FROM input ORDER BY first_seq")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (first, last) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?);
        let body = bytes(row, 3)?;
        if bytes(row, 2)? != checksum(&[first, last], body) {
            damage.push(format!("events {first} to {last} do not match their checksum"));
            whole &= number(last) <= base;
            continue;
        }
        let (first, last) = (number(first), number(last));
        if last <= base || !whole {
            continue;
        }
        *stored += body.len() as u64;
        let follows = match records.last() {
            Some(end) => first == end.seq + 1,
            None => first <= base + 1,
        };
        let decoded = match pack::text(row.get_ref(3)?) {
            Ok(text) if follows => batch::decode(first, last, &text),
            Ok(_) => Err("the events before them are missing".into()),
            Err(e) => Err(e),
        };
        match decoded {
            Ok(batch) => records.extend(batch.into_iter().filter(|r| r.seq > base)),
            Err(reason) => {
                damage.push(format!("events {first} to {last} cannot be applied: {reason}"));
                whole = false;
            }
        }
    }
    Ok(records)
}

fn outbox(conn: &Connection, damage: &mut Vec<String>) -> Result<Vec<Notification>, rusqlite::Error> {
    let mut outbox = Vec::new();
    let mut statement = conn.prepare(
        "SELECT id, seq, sha256, body, state, kind, receiver FROM notification
         WHERE state IN ('queued', 'dead') ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, seq, body) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, bytes(row, 3)?);
        let whole = bytes(row, 2)? == checksum(&[id, seq], body);
        let queued = bytes(row, 4)? == b"queued";
        match parse(id, row.get_ref(3)?) {
            Some(notification) if whole && queued => outbox.push(notification),
            Some(_) if whole => {}
            _ => damage.push(format!(
                "notification {id} ({} for {}) does not match its checksum",
                row.get::<_, String>(5)?,
                row.get::<_, String>(6)?
            )),
        }
    }
    Ok(outbox)
}

/// See [`crate::journal::Journal::dead_letters`].
pub(super) fn dead_letters(
    conn: &Connection,
    wanted: &LetterQuery,
) -> Result<Vec<DeadLetter>, rusqlite::Error> {
    let mut statement = conn.prepare_cached(
        "SELECT id, body, attempts, ended_at, reason, detail, ambiguous FROM notification
         WHERE state = 'dead' AND (ended_at, id) < (?, ?) AND (?3 IS NULL OR receiver = ?3)
         ORDER BY ended_at DESC, id DESC LIMIT ?4",
    )?;
    let after = wanted.after.map_or((i64::MAX, i64::MAX), |(at, id)| (at.as_millis(), int(id.0)));
    let limit = i64::try_from(wanted.limit).unwrap_or(i64::MAX);
    let receiver = wanted.receiver.as_deref();
    let mut rows = statement.query(params![after.0, after.1, receiver, limit])?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let Some(notification) = parse(id, row.get_ref(1)?) else {
            tracing::error!(id, "a dead letter cannot be read: restart to have the store verified");
            continue;
        };
        let rejection = Rejection {
            reason: SmolStr::new(row.get::<_, String>(4)?),
            detail: row.get(5)?,
            ambiguous: row.get(6)?,
        };
        let report = Report {
            id: notification.id,
            outcome: Outcome::Rejected(rejection),
            attempts: row.get(2)?,
            message: None,
        };
        letters.push(DeadLetter { notification, report, died_at: Timestamp::from_millis(row.get(3)?) });
    }
    Ok(letters)
}

/// See [`crate::journal::Journal::dead_letter_counts`].
pub(super) fn dead_letter_counts(conn: &Connection) -> Result<BTreeMap<SmolStr, u64>, rusqlite::Error> {
    let sql = "SELECT receiver, count(*) FROM notification WHERE state = 'dead' GROUP BY receiver";
    let mut statement = conn.prepare_cached(sql)?;
    let count = |row: &Row<'_>| Ok((SmolStr::new(row.get::<_, String>(0)?), number(row.get(1)?)));
    statement.query_map([], count)?.collect()
}

/// A notification's body, if it is one of that number.
pub(super) fn parse(id: i64, body: ValueRef<'_>) -> Option<Notification> {
    let notification: Notification = serde_json::from_str(&pack::text(body).ok()?).ok()?;
    (notification.id == NotificationId(number(id))).then_some(notification)
}

/// The bytes of a text or a blob.
pub(super) fn bytes<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8], rusqlite::Error> {
    Ok(row.get_ref(column)?.as_bytes()?)
}

/// Numbers were written from unsigned ones.
pub(super) fn number(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

pub(super) fn failed(e: rusqlite::Error) -> JournalError {
    JournalError::Failed(e.to_string())
}
