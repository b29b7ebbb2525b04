//! Transactions: one a commit, one a snapshot, one a round of pruning.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{failed, int};
use crate::journal::batch::{self, Tail, checksum};
use crate::journal::{Commit, DEAD_LETTERS_KEPT, JournalError, PRUNE_BATCH, Seq};
use crate::model::{Notification, Outcome, Report, Timestamp};

/// How many free pages one round of pruning gives back to the filesystem: 4 MiB.
const VACUUM_PAGES: u32 = 1_024;

/// Writes `commit`; `tail` is where the log ends after it.
pub(super) fn commit(conn: &mut Connection, commit: &Commit<'_>, tail: Tail) -> Result<(), JournalError> {
    let input = batch::encode(commit.records)?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    if let [first, .., last] | [first @ last] = commit.records {
        let (first, last) = (int(first.seq), int(last.seq));
        tx.prepare_cached("INSERT INTO input (first_seq, last_seq, sha256, body) VALUES (?, ?, ?, ?)")
            .and_then(|mut s| {
                s.execute(params![first, last, checksum(&[first, last], input.as_bytes()), input])
            })
            .map_err(failed)?;
    }
    if !commit.decisions.is_empty() {
        let (seq, at, body) = (int(tail.seq), tail.now.as_millis(), json(commit.decisions)?);
        tx.prepare_cached("INSERT INTO decision (seq, at, sha256, body) VALUES (?, ?, ?, ?)")
            .and_then(|mut s| s.execute(params![seq, at, checksum(&[seq, at], body.as_bytes()), body]))
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
    tx.commit().map_err(failed)
}

fn queue(tx: &Transaction<'_>, n: &Notification, seq: Seq) -> Result<(), JournalError> {
    let (id, seq, body) = (int(n.id.0), int(seq), json(n)?);
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
                checksum(&[id, seq], body.as_bytes()),
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

/// Writes a snapshot, and drops what it and the one before it make needless.
pub(super) fn snapshot(conn: &mut Connection, tail: Tail, seq: Seq, body: &[u8]) -> Result<(), JournalError> {
    let newest: Option<i64> =
        conn.query_row("SELECT max(seq) FROM snapshot", [], |row| row.get(0)).map_err(failed)?;
    tail.allows_snapshot(seq, newest.and_then(|n| u64::try_from(n).ok()))?;
    let (seq, at) = (int(seq), tail.now.as_millis());
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    tx.execute(
        "INSERT OR REPLACE INTO snapshot (seq, at, sha256, body) VALUES (?, ?, ?, ?)",
        params![seq, at, checksum(&[seq, at], body), body],
    )
    .map_err(failed)?;
    let previous: Option<i64> = tx
        .query_row("SELECT seq FROM snapshot ORDER BY seq DESC LIMIT 1 OFFSET 1", [], |row| row.get(0))
        .optional()
        .map_err(failed)?;
    if let Some(previous) = previous {
        tx.execute("DELETE FROM snapshot WHERE seq < ?", [previous]).map_err(failed)?;
        // Commits do not overlap, so this stops at the first that is still needed.
        tx.execute("DELETE FROM input WHERE first_seq <= ?1 AND last_seq <= ?1", [previous])
            .map_err(failed)?;
    }
    tx.commit().map_err(failed)
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
    // One page a row: the statement has to be run to its end.
    let mut vacuum = conn.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    Ok([decisions, accepted, dead].contains(&PRUNE_BATCH))
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String, JournalError> {
    serde_json::to_string(value).map_err(|e| JournalError::Refused(e.to_string()))
}
