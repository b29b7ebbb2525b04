//! Reading: the content that a start finds, verified row by row, and the dead letters.

use std::collections::BTreeMap;

use smol_str::SmolStr;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::connect::DatabasePlace;
use super::{failed, int, number};
use crate::journal::batch::{self, Tail, checksum};
use crate::journal::{DeadLetter, JournalError, LetterQuery, Record, Recovered, Seq};
use crate::model::{Notification, NotificationId, Report, Timestamp};

/// The content of the database.
pub(super) struct Loaded {
    /// Where the events end.
    pub tail: Tail,
    /// The recovered content.
    pub recovered: Recovered,
}

/// Reads and verifies all that a start needs.
pub(super) async fn load(place: &DatabasePlace, client: &Client) -> Result<Loaded, JournalError> {
    let damaged = |what: String| {
        place.unusable(format!("the database is damaged: {what}. Restore it from a backup, or name another"))
    };
    let sql = "SELECT seq, at, sha256, body FROM squelch_snapshot ORDER BY seq DESC LIMIT 1";
    let (mut snapshot, mut tail) = (None, Tail::START);
    if let Some(row) = client.query_typed_opt(sql, &[]).await.map_err(failed)? {
        let (seq, at, body): (i64, i64, Vec<u8>) = (row.get(0), row.get(1), row.get(3));
        if !matches(&row, 2, &[seq, at], &body) {
            return Err(damaged(format!("the snapshot up to event {seq} does not match its checksum")));
        }
        tail = Tail { seq: number(seq), now: Timestamp::from_millis(at) };
        snapshot = Some((number(seq), body));
    }
    let records = records_after(client, tail.seq).await?.map_err(damaged)?;
    if let Some(last) = records.last() {
        tail = Tail { seq: last.seq, now: last.now };
    }
    let head = client.query_typed_one("SELECT head FROM squelch_owner", &[]).await.map_err(failed)?;
    if number(head.get(0)) > tail.seq {
        return Err(damaged(format!("events after event {} are missing", tail.seq)));
    }
    let outbox = outbox(client).await?.map_err(damaged)?;
    Ok(Loaded { tail, recovered: Recovered { snapshot, records, outbox, ..Recovered::default() } })
}

/// The events after `base`. The inner error says why they cannot be applied.
async fn records_after(client: &Client, base: Seq) -> Result<Result<Vec<Record>, String>, JournalError> {
    let sql = "SELECT first_seq, last_seq, sha256, body FROM squelch_input WHERE last_seq > $1
         ORDER BY first_seq";
    let rows = client.query_typed(sql, &[(&int(base), Type::INT8)]).await.map_err(failed)?;
    let mut records: Vec<Record> = Vec::new();
    for row in rows {
        let expected = records.last().map_or(base, |end| end.seq) + 1;
        let first = number(row.get(0));
        match events(&row) {
            Ok(_) if first > expected => {
                return Ok(Err(format!("events {expected} to {} are missing", first - 1)));
            }
            Ok(batch) => records.extend(batch.into_iter().filter(|r| r.seq >= expected)),
            Err(reason) => return Ok(Err(reason)),
        }
    }
    Ok(Ok(records))
}

/// The events of a row of first event, last event, checksum and body.
pub(super) fn events(row: &Row) -> Result<Vec<Record>, String> {
    let (first, last, body): (i64, i64, &str) = (row.get(0), row.get(1), row.get(3));
    if !matches(row, 2, &[first, last], body.as_bytes()) {
        return Err(format!("events {first} to {last} do not match their checksum"));
    }
    batch::decode(number(first), number(last), body)
        .map_err(|reason| format!("events {first} to {last} cannot be read: {reason}"))
}

async fn outbox(client: &Client) -> Result<Result<Vec<Notification>, String>, JournalError> {
    let sql = "SELECT id, seq, sha256, body FROM squelch_notification WHERE state = 'queued' ORDER BY id";
    let rows = client.query_typed(sql, &[]).await.map_err(failed)?;
    Ok(rows.iter().map(notification).collect())
}

/// The notification of a row that begins with id, seq, checksum and body.
fn notification(row: &Row) -> Result<Notification, String> {
    let (id, seq, body): (i64, i64, &str) = (row.get(0), row.get(1), row.get(3));
    if !matches(row, 2, &[id, seq], body.as_bytes()) {
        return Err(format!("notification {id} does not match its checksum"));
    }
    serde_json::from_str(body).map_err(|e| format!("notification {id} cannot be read: {e}"))
}

fn matches(row: &Row, column: usize, numbers: &[i64], body: &[u8]) -> bool {
    row.get::<_, &[u8]>(column) == checksum(numbers, body)
}

/// See [`crate::journal::Journal::dead_letters`].
pub(super) async fn dead_letters(
    client: &Client,
    wanted: &LetterQuery,
) -> Result<Vec<DeadLetter>, JournalError> {
    let sql = "SELECT id, seq, sha256, body, ended_at, report FROM squelch_notification
         WHERE state = 'dead' AND ($1::text IS NULL OR receiver = $1)
             AND ($2::bigint IS NULL OR (ended_at, id) < ($2, $3))
         ORDER BY ended_at DESC, id DESC LIMIT $4";
    let receiver = wanted.receiver.as_deref().map(super::write::text);
    let (at, id) = match wanted.after {
        Some((at, NotificationId(id))) => (Some(at.as_millis()), Some(int(id))),
        None => (None, None),
    };
    let limit = int(wanted.limit as u64);
    let rows = client
        .query_typed(
            sql,
            &[(&receiver, Type::TEXT), (&at, Type::INT8), (&id, Type::INT8), (&limit, Type::INT8)],
        )
        .await
        .map_err(failed)?;
    let mut letters = Vec::new();
    for row in rows {
        let report = serde_json::from_str::<Report>(row.get(5)).map_err(|e| e.to_string());
        match notification(&row).and_then(|notification| Ok((notification, report?))) {
            Ok((notification, report)) => {
                let died_at = Timestamp::from_millis(row.get(4));
                letters.push(DeadLetter { notification, report, died_at });
            }
            Err(error) => tracing::error!(error, "a dead letter cannot be read"),
        }
    }
    Ok(letters)
}

/// See [`crate::journal::Journal::dead_letter_counts`].
pub(super) async fn dead_letter_counts(client: &Client) -> Result<BTreeMap<SmolStr, u64>, JournalError> {
    let sql = "SELECT receiver, count(*) FROM squelch_notification WHERE state = 'dead' GROUP BY receiver";
    let rows = client.query_typed(sql, &[]).await.map_err(failed)?;
    Ok(rows.iter().map(|row| (row.get::<_, &str>(0).into(), number(row.get(1)))).collect())
}
