//! The inbox: alerts that standbys accept, until the owner takes them into a commit.
//!
//! A standby needs no ownership to write here, so alerts are accepted while no process owns the journal. The
//! row of `squelch_inbox` is locked from the number of a row to its commit. Rows therefore become visible in
//! the order of their numbers, and the owner misses none.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::calls::{Param, failed, number};
use crate::journal::batch::checksum;
use crate::journal::{Handed, JournalError};

/// Bytes that may wait for the owner. A standby accepts nothing beyond it.
const MOST_BYTES: i64 = 256 << 20;
/// Rows that the owner takes at a time, and bytes of rows before the last of them.
const MOST_ROWS: i64 = 64;
const MOST_TAKEN_BYTES: i64 = 8 << 20;

const HAND_OVER: &str = "WITH i AS (
        UPDATE squelch_inbox SET head = head + 1, bytes = bytes + octet_length($2)
        WHERE bytes < $3 RETURNING head)
    INSERT INTO squelch_handed (row, sha256, body) SELECT head, $1, $2 FROM i";
const WAITING: &str = "SELECT row, sha256, body FROM (
        SELECT *, sum(octet_length(body)) OVER (ORDER BY row) - octet_length(body) AS before
        FROM (SELECT row, sha256, body FROM squelch_handed ORDER BY row LIMIT $1) oldest) summed
    WHERE before < $2 ORDER BY row";
/// Takes rows out, with their bytes.
pub(super) const TAKEN: &str = "WITH d AS (
        DELETE FROM squelch_handed WHERE row <= $1 RETURNING octet_length(body) AS length)
    UPDATE squelch_inbox SET bytes = bytes - (SELECT coalesce(sum(length), 0) FROM d)";

/// Makes `batches` durable for the owner.
pub(super) async fn hand_over(client: &Client, batches: &str) -> Result<(), JournalError> {
    let sha256 = checksum(&[], batches.as_bytes()).to_vec();
    let values: [Param<'_>; 3] = [(&sha256, Type::BYTEA), (&batches, Type::TEXT), (&MOST_BYTES, Type::INT8)];
    match client.execute_typed(HAND_OVER, &values).await.map_err(failed)? {
        0 => Err(JournalError::Refused(format!(
            "{} MiB of alerts wait for a replica to take over already. Try again",
            MOST_BYTES >> 20
        ))),
        _ => Ok(()),
    }
}

/// The oldest rows that wait.
pub(super) async fn waiting(client: &Client) -> Result<Vec<Handed>, JournalError> {
    let bounds: [Param<'_>; 2] = [(&MOST_ROWS, Type::INT8), (&MOST_TAKEN_BYTES, Type::INT8)];
    let rows = client.query_typed(WAITING, &bounds).await.map_err(failed)?;
    let handed = rows.iter().map(|row| {
        let (row, sha256, body): (i64, &[u8], &str) = (row.get(0), row.get(1), row.get(2));
        let batches = match sha256 == checksum(&[], body.as_bytes()) {
            true => Ok(body.to_owned()),
            false => Err(format!("row {row} of squelch_handed does not match its checksum")),
        };
        Handed { row: number(row), batches }
    });
    Ok(handed.collect())
}
