//! The decisions in the database, for an index of them.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::connect::DatabasePlace;
use super::{failed, int, run, runtime};
use crate::journal::batch::checksum;
use crate::journal::{DECIDED_BYTES, Decided, Decisions, JournalError};

const PATIENCE: Duration = Duration::from_secs(8);

/// The decisions in a database. It takes no ownership and changes nothing.
///
/// Rows are numbered while the row of the owner is locked, so that they appear in the order of their numbers.
pub struct PostgresDecisions {
    // Before the runtime, whose end closes the connection.
    client: Client,
    rt: Runtime,
}

impl PostgresDecisions {
    pub(super) fn open(place: &DatabasePlace) -> Result<Self, JournalError> {
        let rt = runtime()?;
        let client = run(&rt, PATIENCE, place.connect())?;
        Ok(PostgresDecisions { client, rt })
    }

    fn query(
        &self,
        sql: &str,
        values: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)],
    ) -> Result<Vec<tokio_postgres::Row>, JournalError> {
        run(&self.rt, PATIENCE, async { self.client.query_typed(sql, values).await.map_err(failed) })
    }
}

impl Decisions for PostgresDecisions {
    fn is_current(&self) -> bool {
        !self.client.is_closed()
    }

    fn newest(&self) -> Result<i64, JournalError> {
        let rows = self.query("SELECT coalesce(max(id), 0) FROM squelch_decision", &[])?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    fn checksum(&self, row: i64) -> Result<Option<Vec<u8>>, JournalError> {
        let sql = "SELECT sha256 FROM squelch_decision WHERE id = $1";
        Ok(self.query(sql, &[(&row, Type::INT8)])?.first().map(|row| row.get(0)))
    }

    fn after(&self, row: i64, limit: usize) -> Result<Vec<Decided>, JournalError> {
        let sql = "SELECT id, seq, at, sha256, body FROM (
                 SELECT *, sum(octet_length(body)) OVER (ORDER BY id) - octet_length(body) AS before FROM (
                     SELECT * FROM squelch_decision WHERE id > $1 ORDER BY id LIMIT $2
                 ) AS next
             ) AS measured WHERE before < $3 ORDER BY id";
        let (limit, bytes) = (int(limit as u64), int(DECIDED_BYTES as u64));
        let rows = self.query(sql, &[(&row, Type::INT8), (&limit, Type::INT8), (&bytes, Type::INT8)])?;
        let decided = rows.iter().map(|row| {
            let (id, seq, at, sha256, body): (i64, i64, i64, Vec<u8>, &str) =
                (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
            let decided = match sha256 == checksum(&[seq, at], body.as_bytes()) {
                true => serde_json::from_str(body).map_err(|e| e.to_string()),
                false => Err("it does not match its checksum".into()),
            };
            Decided::of(id, at, sha256, decided)
        });
        Ok(decided.collect())
    }
}
