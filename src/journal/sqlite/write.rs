//! Transactions: one a commit, one a snapshot, one a round of pruning or of trimming.

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};

use super::super::batch::int;
use super::pack::Packed;
use super::read::failed;
use super::room::Part;
use super::wal::PAGE;
use crate::journal::batch::{self, Tail, checksum};
use crate::journal::{Commit, DEAD_LETTERS_KEPT, JournalError, PRUNE_BATCH, Seq};
use crate::model::{Notification, Outcome, Report, Timestamp};

/// How many free pages one round of pruning gives back to the filesystem: 4 MiB.
const VACUUM_PAGES: u32 = 1_024;

/// Writes `commit`. `tail` is the end of the log after it. It returns the stored bytes of its events.
pub(super) fn commit(conn: &mut Connection, commit: &Commit<'_>, tail: Tail) -> Result<u64, JournalError> {
    let input = Packed::new(batch::encode(commit.records)?);
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    if let [first, .., last] | [first @ last] = commit.records {
        let (first, last) = (int(first.seq), int(last.seq));
        tx.prepare_cached("INSERT INTO input (first_seq, last_seq, sha256, body) VALUES (?, ?, ?, ?)")
            .and_then(|mut s| s.execute(params![first, last, checksum(&[first, last], input.bytes()), input]))
            .map_err(failed)?;
    }
    if let Some(body) = batch::decided(commit)? {
        let (seq, at, body) = (int(tail.seq), tail.now.as_millis(), Packed::new(body));
        tx.prepare_cached("INSERT INTO decision (seq, at, sha256, body) VALUES (?, ?, ?, ?)")
            .and_then(|mut s| s.execute(params![seq, at, checksum(&[seq, at], body.bytes()), body]))
            .map_err(failed)?;
    }
    for notification in commit.notifications {
        queue(&tx, notification, tail.seq)?;
    }
    for report in commit.reports {
        end(&tx, report, tail.now).map_err(failed)?;
    }
    for id in commit.resend {
        tx.prepare_cached(
            "UPDATE notification SET state = 'queued', attempts = 0, ended_at = NULL, reason = NULL,
                 detail = NULL, ambiguous = NULL WHERE id = ? AND state = 'dead'",
        )
        .and_then(|mut s| s.execute([int(id.0)]))
        .map_err(failed)?;
    }
    for id in commit.made_good {
        // Why it was refused stays to be read.
        tx.prepare_cached(
            "UPDATE notification SET state = 'accepted', ended_at = ? WHERE id = ? AND state = 'dead'",
        )
        .and_then(|mut s| s.execute([tail.now.as_millis(), int(id.0)]))
        .map_err(failed)?;
    }
    tx.commit().map_err(failed)?;
    Ok(input.bytes().len() as u64)
}

fn queue(tx: &Transaction<'_>, n: &Notification, seq: Seq) -> Result<(), JournalError> {
    let (id, seq, body) = (int(n.id.0), int(seq), Packed::new(json(n)?));
    let done = tx
        .prepare_cached(
            "INSERT INTO notification
                 (id, seq, at, receiver, integration, kind, dedup_key, state, sha256, body)
             VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?)",
        )
        .and_then(|mut s| {
            s.execute(params![
                id,
                seq,
                n.at.as_millis(),
                n.receiver.as_str(),
                n.integration.as_str(),
                n.kind.as_str(),
                n.dedup_key.as_str(),
                checksum(&[id, seq], body.bytes()),
                body,
            ])
        });
    match done {
        Ok(_) => Ok(()),
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Err(JournalError::Refused(format!("notification {id} is there already")))
        }
        Err(e) => Err(failed(e)),
    }
}

fn end(tx: &Transaction<'_>, report: &Report, now: Timestamp) -> Result<usize, rusqlite::Error> {
    let (state, rejection) = match &report.outcome {
        Outcome::Accepted => ("accepted", None),
        Outcome::Rejected(rejection) => ("dead", Some(rejection)),
        // Nothing is left of it. The change of its incident says that it was recalled.
        Outcome::Recalled { .. } => {
            return tx
                .prepare_cached("DELETE FROM notification WHERE id = ? AND state = 'queued'")?
                .execute([int(report.id.0)]);
        }
    };
    tx.prepare_cached(
        "UPDATE notification SET state = ?, attempts = ?, ended_at = ?, reason = ?, detail = ?, ambiguous = ?
         WHERE id = ? AND state = 'queued'",
    )?
    .execute(params![
        state,
        report.attempts,
        now.as_millis(),
        rejection.map(|r| r.reason.as_str()),
        rejection.map(|r| r.detail.as_str()),
        rejection.map(|r| r.ambiguous),
        int(report.id.0),
    ])
}

/// Writes a snapshot, and drops the events that it and the one before it make needless. An `only` snapshot
/// drops the events that it alone makes needless. It returns how many commits of events left.
pub(super) fn snapshot(
    conn: &mut Connection,
    tail: Tail,
    seq: Seq,
    body: &[u8],
    only: bool,
) -> Result<u64, JournalError> {
    let newest: Option<i64> =
        conn.query_row("SELECT max(seq) FROM snapshot", [], |row| row.get(0)).map_err(failed)?;
    tail.allows_snapshot(seq, newest.and_then(|n| u64::try_from(n).ok()))?;
    replace(conn, int(seq), tail.now.as_millis(), body, only).map_err(failed)
}

fn replace(
    conn: &mut Connection,
    seq: i64,
    at: i64,
    body: &[u8],
    only: bool,
) -> Result<u64, rusqlite::Error> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let before: Option<i64> =
        tx.query_row("SELECT max(seq) FROM snapshot WHERE seq < ?", [seq], |row| row.get(0))?;
    let kept = if only { Some(seq) } else { before };
    // Old rows go first: the new row takes the pages that become free.
    tx.execute("DELETE FROM snapshot WHERE seq < ?", [kept])?;
    // Commits do not overlap, so this stops at the first that is still needed.
    let gone = tx.execute("DELETE FROM input WHERE first_seq <= ?1 AND last_seq <= ?1", [kept])?;
    tx.execute(
        "INSERT OR REPLACE INTO snapshot (seq, at, sha256, body) VALUES (?, ?, ?, ?)",
        params![seq, at, checksum(&[seq, at], body), body],
    )?;
    tx.commit()?;
    Ok(gone as u64)
}

/// One round of [`crate::journal::Journal::prune`].
pub(super) fn prune(conn: &mut Connection, before: Timestamp) -> Result<bool, JournalError> {
    round(conn, before).map_err(failed)
}

fn round(conn: &mut Connection, before: Timestamp) -> Result<bool, rusqlite::Error> {
    let (before, limit) = (before.as_millis(), int(PRUNE_BATCH as u64));
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Times rise with ids, so that the oldest rows are all that must be looked at.
    let decisions = tx.execute(
        "DELETE FROM decision WHERE at < ? AND id IN (SELECT id FROM decision ORDER BY id LIMIT ?)",
        [before, limit],
    )?;
    let accepted = tx.execute(
        "DELETE FROM notification WHERE id IN
             (SELECT id FROM notification WHERE state = 'accepted' AND ended_at < ? LIMIT ?)",
        [before, limit],
    )?;
    let dead = tx.execute(
        "DELETE FROM notification WHERE id IN
             (SELECT id FROM notification WHERE state = 'dead'
              ORDER BY ended_at DESC, id DESC LIMIT ? OFFSET ?)",
        [limit, int(DEAD_LETTERS_KEPT as u64)],
    )?;
    tx.commit()?;
    vacuum(conn, VACUUM_PAGES)?;
    Ok([decisions, accepted, dead].contains(&PRUNE_BATCH))
}

/// Gives free pages back to the filesystem, at most `pages` of them.
fn vacuum(conn: &Connection, pages: u32) -> Result<(), rusqlite::Error> {
    // One page a row: the statement has to be run to its end.
    let mut vacuum = conn.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Removes removable rows before their time, oldest first, until `wanted` bytes are free in the file. It
/// gives free pages back, a bounded part at a time. Decisions up to row `indexed` may go. It returns how
/// many rows of each part left.
pub(super) fn trim(
    conn: &mut Connection,
    wanted: u64,
    indexed: i64,
) -> Result<[(Part, u64); 3], rusqlite::Error> {
    let mut left = [(Part::Events, 0), (Part::Decisions, 0), (Part::Notifications, 0)];
    if free(conn)? < wanted {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (part, count) in &mut left {
            let missing = wanted.saturating_sub(free(&tx)?);
            if missing > 0 {
                *count = match part {
                    Part::Events => drop_needless(&tx)?,
                    Part::Decisions => drop_oldest(&tx, OLDEST_DECISIONS, indexed, missing)?,
                    _ => drop_oldest(&tx, OLDEST_DELIVERED, i64::MAX, missing)?,
                };
            }
        }
        tx.commit()?;
    }
    let pages = (wanted / PAGE).min(VACUUM_PAGES.into());
    vacuum(conn, u32::try_from(pages).unwrap_or(VACUUM_PAGES))?;
    Ok(left)
}

/// How to find the oldest rows up to a bound, with their bytes, and how to delete one. The newest decision
/// stays: SQLite would number anew from 1, and the decision log knows rows by their numbers.
type Oldest = (&'static str, &'static str);

const OLDEST_DECISIONS: Oldest = (
    "SELECT id, octet_length(body) FROM decision
     WHERE id <= ? AND id < (SELECT max(id) FROM decision) ORDER BY id LIMIT ?",
    "DELETE FROM decision WHERE id = ?",
);
const OLDEST_DELIVERED: Oldest = (
    "SELECT id, octet_length(body) FROM notification WHERE state = 'accepted' AND ended_at <= ?
     ORDER BY ended_at, id LIMIT ?",
    "DELETE FROM notification WHERE id = ?",
);

/// Deletes the oldest rows that take `bytes`, at most [`PRUNE_BATCH`] of them.
fn drop_oldest(
    tx: &Transaction<'_>,
    (find, drop): Oldest,
    to: i64,
    bytes: u64,
) -> Result<u64, rusqlite::Error> {
    let mut find = tx.prepare_cached(find)?;
    let mut rows = find.query([to, int(PRUNE_BATCH as u64)])?;
    let (mut ids, mut found) = (Vec::new(), 0);
    while found < bytes
        && let Some(row) = rows.next()?
    {
        ids.push(row.get::<_, i64>(0)?);
        found += u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
    }
    let mut drop = tx.prepare_cached(drop)?;
    for id in &ids {
        drop.execute([id])?;
    }
    Ok(ids.len() as u64)
}

/// Deletes the snapshot before the newest, and the events that the newest contains.
fn drop_needless(tx: &Transaction<'_>) -> Result<u64, rusqlite::Error> {
    let newest: Option<i64> = tx.query_row("SELECT max(seq) FROM snapshot", [], |row| row.get(0))?;
    tx.execute("DELETE FROM snapshot WHERE seq < ?", [newest])?;
    let gone = tx.execute("DELETE FROM input WHERE first_seq <= ?1 AND last_seq <= ?1", [newest])?;
    Ok(gone as u64)
}

/// Bytes of the file that hold nothing.
pub(super) fn free(conn: &Connection) -> Result<u64, rusqlite::Error> {
    pages(conn, "PRAGMA freelist_count").map(|pages| pages * PAGE)
}

/// Bytes of the file, once the WAL is in it.
pub(super) fn size(conn: &Connection) -> Result<u64, rusqlite::Error> {
    pages(conn, "PRAGMA page_count").map(|pages| pages * PAGE)
}

fn pages(conn: &Connection, pragma: &str) -> Result<u64, rusqlite::Error> {
    let pages: i64 = conn.prepare_cached(pragma)?.query_row([], |row| row.get(0))?;
    Ok(u64::try_from(pages).unwrap_or(0))
}

/// Whether decisions after row `indexed` are there.
pub(super) fn has_unindexed(conn: &Connection, indexed: i64) -> Result<bool, rusqlite::Error> {
    let newest: Option<i64> =
        conn.prepare_cached("SELECT max(id) FROM decision")?.query_row([], |row| row.get(0))?;
    Ok(newest.is_some_and(|newest| newest > indexed))
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String, JournalError> {
    serde_json::to_string(value).map_err(|e| JournalError::Refused(e.to_string()))
}
