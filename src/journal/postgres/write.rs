//! Transactions: one a commit, one a snapshot, one a round of pruning. The first statement of each checks
//! that its handle still owns the journal.

use std::collections::BTreeSet;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use super::super::batch::int;
use super::calls::{Param, failed, said};
use crate::journal::batch::{self, Tail, checksum};
use crate::journal::{Commit, DEAD_LETTERS_KEPT, JournalError, PRUNE_BATCH, Seq};
use crate::model::{Outcome, Timestamp};

/// A commit as rows.
pub(super) struct Rows {
    tail: Tail,
    input: Option<(i64, i64, Vec<u8>, String)>,
    decision: Option<(Vec<u8>, String)>,
    notifications: Notifications,
    reports: Reports,
    resend: Vec<i64>,
    made_good: Vec<i64>,
    taken: Option<i64>,
}

/// New notifications, a list a column.
#[derive(Default)]
struct Notifications {
    id: Vec<i64>,
    at: Vec<i64>,
    receiver: Vec<String>,
    kind: Vec<&'static str>,
    dedup_key: Vec<String>,
    sha256: Vec<Vec<u8>>,
    body: Vec<String>,
}

/// Ends of notifications, a list a column.
#[derive(Default)]
struct Reports {
    id: Vec<i64>,
    state: Vec<&'static str>,
    report: Vec<String>,
    /// The recalled ones. The journal forgets them.
    recalled: Vec<i64>,
}

impl Rows {
    pub(super) fn of(commit: &Commit<'_>, tail: Tail) -> Result<Rows, JournalError> {
        let input = match commit.records {
            [first, .., last] | [first @ last] => {
                let (first, last) = (int(first.seq), int(last.seq));
                let body = batch::encode(commit.records)?;
                Some((first, last, checksum(&[first, last], body.as_bytes()).to_vec(), body))
            }
            [] => None,
        };
        let seq = int(tail.seq);
        let sum = |body: &str| checksum(&[seq, tail.now.as_millis()], body.as_bytes()).to_vec();
        let decision = batch::decided(commit)?.map(|body| (sum(&body), body));
        let mut notifications = Notifications::default();
        for n in commit.notifications {
            let (id, body) = (int(n.id.0), json(n)?);
            notifications.id.push(id);
            notifications.at.push(n.at.as_millis());
            notifications.receiver.push(text(&n.receiver));
            notifications.kind.push(n.kind.as_str());
            notifications.dedup_key.push(text(&n.dedup_key));
            notifications.sha256.push(checksum(&[id, seq], body.as_bytes()).to_vec());
            notifications.body.push(body);
        }
        // Of several reports about one notification the first counts.
        let (mut reports, mut known) = (Reports::default(), BTreeSet::new());
        for report in commit.reports.iter().filter(|report| known.insert(report.id)) {
            let state = match &report.outcome {
                Outcome::Accepted => "accepted",
                Outcome::Rejected(_) => "dead",
                Outcome::Recalled { .. } => {
                    reports.recalled.push(int(report.id.0));
                    continue;
                }
            };
            reports.id.push(int(report.id.0));
            reports.report.push(json(report)?);
            reports.state.push(state);
        }
        let ids = |ids: &[crate::model::NotificationId]| ids.iter().map(|id| int(id.0)).collect();
        let (resend, made_good) = (ids(commit.resend), ids(commit.made_good));
        let taken = commit.taken.map(int);
        Ok(Rows { tail, input, decision, notifications, reports, resend, made_good, taken })
    }
}

/// PostgreSQL keeps no zero bytes in a text. These columns are for people. The body has the truth.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Writes a commit.
pub(super) async fn commit(client: &mut Client, epoch: i64, rows: &Rows) -> Result<(), JournalError> {
    let tx = begin(client, epoch, Some(rows.tail.seq)).await?;
    match insert(&tx, rows).await {
        Ok(()) => tx.commit().await.map_err(failed),
        Err(error) => {
            tx.rollback().await.map_err(failed)?;
            Err(error)
        }
    }
}

/// Begins a transaction that holds the row of the owner until its end.
async fn begin(client: &mut Client, epoch: i64, head: Option<Seq>) -> Result<Transaction<'_>, JournalError> {
    let head = head.map(int);
    let tx = client.transaction().await.map_err(failed)?;
    let sql = "UPDATE squelch_owner SET head = coalesce($2, head) WHERE epoch = $1";
    let held = tx.execute_typed(sql, &[(&epoch, Type::INT8), (&head, Type::INT8)]).await.map_err(failed)?;
    if held == 0 {
        tx.rollback().await.map_err(failed)?;
        return Err(JournalError::Fenced(String::new()));
    }
    Ok(tx)
}

async fn insert(tx: &Transaction<'_>, rows: &Rows) -> Result<(), JournalError> {
    let (seq, at) = (int(rows.tail.seq), rows.tail.now.as_millis());
    if let Some((first, last, sha256, body)) = &rows.input {
        let sql = "INSERT INTO squelch_input (first_seq, last_seq, sha256, body) VALUES ($1, $2, $3, $4)";
        let values = [(first as _, Type::INT8), (last as _, Type::INT8), (sha256 as _, Type::BYTEA)];
        execute(tx, sql, &[&values[..], &[(body as _, Type::TEXT)]].concat()).await?;
    }
    if let Some((sha256, body)) = &rows.decision {
        let sql = "INSERT INTO squelch_decision (seq, at, sha256, body) VALUES ($1, $2, $3, $4)";
        let values = [(&seq as _, Type::INT8), (&at as _, Type::INT8), (sha256 as _, Type::BYTEA)];
        execute(tx, sql, &[&values[..], &[(body as _, Type::TEXT)]].concat()).await?;
    }
    if !rows.notifications.id.is_empty() {
        queue(tx, seq, &rows.notifications).await?;
    }
    if !rows.reports.id.is_empty() {
        let sql = "UPDATE squelch_notification n SET state = r.state, ended_at = $1, report = r.report
             FROM unnest($2, $3, $4) AS r (id, state, report) WHERE n.id = r.id AND n.state = 'queued'";
        let Reports { id, state, report, .. } = &rows.reports;
        let values: [Param<'_>; 4] = [
            (&at, Type::INT8),
            (id, Type::INT8_ARRAY),
            (state, Type::TEXT_ARRAY),
            (report, Type::TEXT_ARRAY),
        ];
        execute(tx, sql, &values).await?;
    }
    if !rows.reports.recalled.is_empty() {
        let sql = "DELETE FROM squelch_notification WHERE id = ANY($1) AND state = 'queued'";
        execute(tx, sql, &[(&rows.reports.recalled, Type::INT8_ARRAY)]).await?;
    }
    if !rows.resend.is_empty() {
        let sql = "UPDATE squelch_notification SET state = 'queued', ended_at = NULL, report = NULL
             WHERE id = ANY($1) AND state = 'dead'";
        execute(tx, sql, &[(&rows.resend, Type::INT8_ARRAY)]).await?;
    }
    if !rows.made_good.is_empty() {
        let sql = "UPDATE squelch_notification SET state = 'accepted', ended_at = $1
             WHERE id = ANY($2) AND state = 'dead'";
        execute(tx, sql, &[(&at, Type::INT8), (&rows.made_good, Type::INT8_ARRAY)]).await?;
    }
    if let Some(taken) = &rows.taken {
        execute(tx, super::inbox::TAKEN, &[(taken, Type::INT8)]).await?;
    }
    Ok(())
}

async fn queue(tx: &Transaction<'_>, seq: i64, new: &Notifications) -> Result<(), JournalError> {
    let sql = "INSERT INTO squelch_notification
             (id, seq, at, receiver, kind, dedup_key, state, sha256, body)
         SELECT n.id, $1, n.at, n.receiver, n.kind, n.dedup_key, 'queued', n.sha256, n.body
         FROM unnest($2, $3, $4, $5, $6, $7, $8)
             AS n (id, at, receiver, kind, dedup_key, sha256, body)";
    let values: [Param<'_>; 8] = [
        (&seq, Type::INT8),
        (&new.id, Type::INT8_ARRAY),
        (&new.at, Type::INT8_ARRAY),
        (&new.receiver, Type::TEXT_ARRAY),
        (&new.kind, Type::TEXT_ARRAY),
        (&new.dedup_key, Type::TEXT_ARRAY),
        (&new.sha256, Type::BYTEA_ARRAY),
        (&new.body, Type::TEXT_ARRAY),
    ];
    match tx.execute_typed(sql, &values).await {
        Ok(_) => Ok(()),
        Err(e) if e.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            let reason = format!("a notification is there already: {}", said(&e));
            Err(JournalError::Refused(reason))
        }
        Err(e) => Err(failed(e)),
    }
}

async fn execute(tx: &Transaction<'_>, sql: &str, values: &[Param<'_>]) -> Result<u64, JournalError> {
    tx.execute_typed(sql, values).await.map_err(failed)
}

/// Writes a snapshot, and drops the rows that it and the one before it make needless.
pub(super) async fn snapshot(
    client: &mut Client,
    epoch: i64,
    seq: Seq,
    at: Timestamp,
    body: &[u8],
) -> Result<(), JournalError> {
    let (seq, at) = (int(seq), at.as_millis());
    let sha256 = checksum(&[seq, at], body).to_vec();
    let tx = begin(client, epoch, None).await?;
    let sql = "SELECT max(seq) FROM squelch_snapshot WHERE seq < $1";
    let before = tx.query_typed_one(sql, &[(&seq, Type::INT8)]).await.map_err(failed)?;
    let before: Option<i64> = before.get(0);
    execute(&tx, "DELETE FROM squelch_snapshot WHERE seq < $1", &[(&before, Type::INT8)]).await?;
    let needless = "DELETE FROM squelch_input WHERE first_seq <= $1 AND last_seq <= $1";
    execute(&tx, needless, &[(&before, Type::INT8)]).await?;
    let sql = "INSERT INTO squelch_snapshot (seq, at, sha256, body) VALUES ($1, $2, $3, $4)
         ON CONFLICT (seq) DO UPDATE SET at = EXCLUDED.at, sha256 = EXCLUDED.sha256, body = EXCLUDED.body";
    let values: [Param<'_>; 4] =
        [(&seq, Type::INT8), (&at, Type::INT8), (&sha256, Type::BYTEA), (&body, Type::BYTEA)];
    execute(&tx, sql, &values).await?;
    tx.commit().await.map_err(failed)
}

/// One round of [`crate::journal::Journal::prune`].
pub(super) async fn prune(client: &mut Client, epoch: i64, before: Timestamp) -> Result<bool, JournalError> {
    let (before, limit) = (before.as_millis(), int(PRUNE_BATCH as u64));
    let kept = int(DEAD_LETTERS_KEPT as u64);
    let tx = begin(client, epoch, None).await?;
    let old: [Param<'_>; 2] = [(&before, Type::INT8), (&limit, Type::INT8)];
    // Times rise with ids, so that the oldest rows are all that must be looked at.
    let decisions = "DELETE FROM squelch_decision WHERE at < $1 AND id IN
             (SELECT id FROM squelch_decision ORDER BY id LIMIT $2)";
    let decisions = execute(&tx, decisions, &old).await?;
    let accepted = "DELETE FROM squelch_notification WHERE id IN
             (SELECT id FROM squelch_notification WHERE state = 'accepted' AND ended_at < $1 LIMIT $2)";
    let accepted = execute(&tx, accepted, &old).await?;
    let dead = "DELETE FROM squelch_notification WHERE id IN
             (SELECT id FROM squelch_notification WHERE state = 'dead'
              ORDER BY ended_at DESC, id DESC LIMIT $1 OFFSET $2)";
    let dead = execute(&tx, dead, &[(&limit, Type::INT8), (&kept, Type::INT8)]).await?;
    tx.commit().await.map_err(failed)?;
    Ok([decisions, accepted, dead].contains(&(PRUNE_BATCH as u64)))
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String, JournalError> {
    serde_json::to_string(value).map_err(|e| JournalError::Refused(e.to_string()))
}
