//! After damage: all rows that verify are copied into a new file, and the damaged files are kept.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params};

use super::super::batch::int;
use super::place::DataDir;
use super::read::{bytes, number, parse};
use super::{read, schema, wal};
use crate::journal::batch::checksum;
use crate::journal::{JournalError, Recovered, Seq};
use crate::model::NotificationId;

/// Replaces the damaged files of `place` by a file with all rows that can be saved. Of the result, only the
/// fields about the damage are filled in.
pub(super) fn rebuild(place: &DataDir, reason: &str) -> Result<Recovered, JournalError> {
    let broken =
        |e: &dyn std::fmt::Display| place.unusable(format!("damaged ({reason}), and not repaired: {e}"));
    place.clear_draft().map_err(|e| broken(&e))?;
    let mut draft = schema::open(&place.draft()).map_err(|e| schema::refusal(place, e))?;
    let mut said = Recovered::default();
    said.notes.push(format!("the store was damaged: {reason}"));
    match schema::open_damaged(&place.db()) {
        Ok(damaged) => fill(&mut draft, &damaged, &mut said).map_err(|e| broken(&e))?,
        Err(e) => said.notes.push(format!("nothing of it could be read: {e}")),
    }
    wal::checkpoint(&draft).map_err(|e| broken(&e))?;
    draft.close().map_err(|(_, e)| broken(&e))?;
    said.quarantined = Some(place.install_draft().map_err(|e| broken(&e))?);
    Ok(said)
}

fn fill(draft: &mut Connection, damaged: &Connection, said: &mut Recovered) -> Result<(), rusqlite::Error> {
    let tx = draft.transaction()?;
    let mut unreadable = Vec::new();
    copy_rows(damaged, SNAPSHOTS, said, |row, _| copy_snapshot(&tx, row))?;
    copy_rows(damaged, INPUTS, said, |row, _| copy_input(&tx, row))?;
    copy_rows(damaged, DECISIONS, said, |row, _| copy_decision(&tx, row))?;
    copy_rows(damaged, NOTIFICATIONS, said, |row, notes| {
        copy_notification(&tx, row, notes, &mut unreadable)
    })?;
    let loaded = read::load(&tx)?;
    let end = loaded.tail.seq;
    cut(&tx, end, said)?;
    let known = unreadable.into_iter().filter(|(_, seq)| *seq <= end).map(|(id, _)| id);
    said.unreadable.extend(known);
    said.notes.extend(loaded.damage);
    said.notes.push(format!("all data that could be verified was carried over, up to event {end}"));
    tx.commit()
}

/// A table to copy: its name, its key, its columns.
type Table = (&'static str, &'static str, &'static str);

const SNAPSHOTS: Table = ("snapshot", "seq", "seq, at, sha256, body");
const INPUTS: Table = ("input", "first_seq", "first_seq, last_seq, sha256, body");
const DECISIONS: Table = ("decision", "id", "id, seq, at, sha256, body");
const NOTIFICATIONS: Table = (
    "notification",
    "id",
    "id, seq, at, receiver, integration, kind, dedup_key, state, attempts, ended_at, reason, detail, \
     ambiguous, sha256, body",
);

/// Reads a table from its beginning, and from its end too if a damaged page stands in between. `copy` says
/// whether the row was whole. It may see a row twice without harm.
fn copy_rows(
    damaged: &Connection,
    (table, key, columns): Table,
    said: &mut Recovered,
    mut copy: impl FnMut(&Row<'_>, &mut Vec<String>) -> Result<bool, rusqlite::Error>,
) -> Result<(), rusqlite::Error> {
    let mut left_out = 0u64;
    for order in ["ASC", "DESC"] {
        // Without indexes: these may be the damaged part.
        let sql = format!("SELECT {columns} FROM {table} NOT INDEXED ORDER BY {key} {order}");
        let mut pass = || {
            let mut statement = damaged.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                match copy(row, &mut said.notes) {
                    Ok(true) => {}
                    Ok(false) => left_out += 1,
                    Err(e) if schema::is_damage(&e) => left_out += 1,
                    Err(e) => return Err(e),
                }
            }
            Ok(())
        };
        match pass() {
            Ok(()) => break,
            Err(e) if schema::is_damage(&e) => {
                if order == "ASC" {
                    said.notes.push(format!("table {table} could be read in part only: {e}"));
                }
            }
            Err(e) => return Err(e),
        }
    }
    if left_out > 0 {
        said.notes.push(format!("{left_out} damaged rows of table {table} were left out"));
    }
    Ok(())
}

fn copy_snapshot(tx: &Connection, row: &Row<'_>) -> Result<bool, rusqlite::Error> {
    let (seq, at, sum, body) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, bytes(row, 2)?, bytes(row, 3)?);
    if sum != checksum(&[seq, at], body) {
        return Ok(false);
    }
    tx.prepare_cached("INSERT OR IGNORE INTO snapshot (seq, at, sha256, body) VALUES (?, ?, ?, ?)")?
        .execute(params![seq, at, sum, body])?;
    Ok(true)
}

fn copy_input(tx: &Connection, row: &Row<'_>) -> Result<bool, rusqlite::Error> {
    let (first, last) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?);
    let (sum, body) = (bytes(row, 2)?, bytes(row, 3)?);
    if sum != checksum(&[first, last], body) {
        return Ok(false);
    }
    tx.prepare_cached("INSERT OR IGNORE INTO input (first_seq, last_seq, sha256, body) VALUES (?, ?, ?, ?)")?
        .execute(params![first, last, sum, row.get::<_, Value>(3)?])?;
    Ok(true)
}

fn copy_decision(tx: &Connection, row: &Row<'_>) -> Result<bool, rusqlite::Error> {
    let (id, seq, at) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?);
    let (sum, body) = (bytes(row, 3)?, bytes(row, 4)?);
    if sum != checksum(&[seq, at], body) {
        return Ok(false);
    }
    tx.prepare_cached("INSERT OR IGNORE INTO decision (id, seq, at, sha256, body) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![id, seq, at, sum, row.get::<_, Value>(4)?])?;
    Ok(true)
}

/// The state's columns are under no checksum. A notification that is neither accepted nor a whole dead
/// letter is sent.
fn copy_notification(
    tx: &Connection,
    row: &Row<'_>,
    notes: &mut Vec<String>,
    unreadable: &mut Vec<(NotificationId, Seq)>,
) -> Result<bool, rusqlite::Error> {
    let (id, seq) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?);
    let (sum, body) = (bytes(row, 13)?, bytes(row, 14)?);
    let ended: Option<i64> = row.get(9).unwrap_or(None);
    let state = match (row.get::<_, String>(7).as_deref(), ended) {
        (Ok("accepted"), Some(_)) => "accepted",
        (Ok("dead"), Some(_)) => "dead",
        _ => "queued",
    };
    let whole = sum == checksum(&[id, seq], body);
    if state == "accepted" && !whole {
        return Ok(false);
    }
    let Some(n) = parse(id, row.get_ref(14)?) else {
        if state == "queued" && !unreadable.contains(&(NotificationId(number(id)), number(seq))) {
            notes.push(format!("notification {id} was not delivered and can no longer be read"));
            unreadable.push((NotificationId(number(id)), number(seq)));
        }
        return Ok(false);
    };
    if !whole {
        notes.push(format!("notification {id} does not match its checksum: it is kept as it reads"));
    }
    let end = (state != "queued").then_some(ended).flatten();
    let dead = state == "dead";
    tx.prepare_cached(
        "INSERT OR IGNORE INTO notification
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
        row.get::<_, u32>(8).unwrap_or(0),
        end,
        dead.then(|| row.get::<_, String>(10).unwrap_or_default()),
        dead.then(|| row.get::<_, String>(11).unwrap_or_default()),
        dead.then(|| row.get::<_, bool>(12).unwrap_or(true)),
        checksum(&[id, seq], body),
        row.get::<_, Value>(14)?,
    ])?;
    Ok(true)
}

/// Removes the effects of events beyond `end`: the engine will number and decide anew.
fn cut(tx: &Connection, end: Seq, said: &mut Recovered) -> Result<(), rusqlite::Error> {
    let end = int(end);
    let mut statement =
        tx.prepare("SELECT id, body FROM notification WHERE state = 'queued' AND seq > ? ORDER BY id")?;
    let mut rows = statement.query([end])?;
    while let Some(row) = rows.next()? {
        said.orphans.extend(parse(row.get(0)?, row.get_ref(1)?));
    }
    if !said.orphans.is_empty() {
        said.notes.push(format!(
            "{} undelivered notifications were decided by events that are lost",
            said.orphans.len()
        ));
    }
    tx.execute("DELETE FROM notification WHERE seq > ?", [end])?;
    tx.execute("DELETE FROM decision WHERE seq > ?", [end])?;
    tx.execute("DELETE FROM input WHERE last_seq > ?", [end])?;
    Ok(())
}
