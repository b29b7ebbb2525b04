//! Copies of whole journals, from and to a database.
//!
//! One transaction holds the rows of the owner and of the inbox from the beginning to the end. No replica can
//! take ownership, renew a lease or accept alerts meanwhile.

use tokio::runtime::Runtime;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row as Found};

use super::connect::DatabasePlace;
use super::write::text;
use super::{LONG_PATIENCE, OPEN_PATIENCE, failed, number, read, run, runtime, schema};
use crate::journal::batch::checksum;
use crate::journal::copy::{self, CopiedRow, CopyStore, Draft, End, PAGE, Table, damaged};
use crate::journal::{JournalError, Recovered};
use crate::model::Report;
use crate::settings::Secret;

/// A replica that was seen within this time is running: each says every 3 s that it is there.
const RUNNING: &str = "SELECT name FROM squelch_replica WHERE seen_at > clock_timestamp() - interval '10 s'
    ORDER BY seen_at DESC LIMIT 1";
const HOLD: &str =
    "SELECT process <> '' AND lease_until > clock_timestamp(), name, head FROM squelch_owner FOR UPDATE";
const HOLD_INBOX: &str = "SELECT one FROM squelch_inbox FOR UPDATE";

/// A database that no other process may use meanwhile: the source of a copy, or a new journal.
pub(in crate::journal) struct HeldDatabase {
    // Before the runtime, whose end closes the connection.
    client: Client,
    rt: Runtime,
    place: DatabasePlace,
    /// The last event that was acknowledged here.
    head: i64,
}

impl HeldDatabase {
    /// The journal in a database. Nothing of it changes.
    pub(in crate::journal) fn source(url: &Secret) -> Result<Self, JournalError> {
        let held = Self::take(url, false)?;
        match held.count_of("handed")? {
            0 => Ok(held),
            waiting => Err(held.place.unusable(format!(
                "{waiting} rows of alerts wait in its inbox for an owner: start one replica, wait until \
                 squelch_storage_inbox_bytes is 0, and stop it with SIGTERM"
            ))),
        }
    }

    /// A new journal in a database, which is committed at the end.
    pub(in crate::journal) fn draft(url: &Secret) -> Result<Self, JournalError> {
        let held = Self::take(url, true)?;
        let names = Table::ALL.map(|table| table.name().0);
        for name in names.into_iter().chain(["handed"]) {
            let rows = held.count_of(name)?;
            if rows > 0 {
                return Err(held.place.unusable(format!(
                    "there is a journal already ({rows} rows in squelch_{name}), which a copy would replace. \
                     Name an empty database"
                )));
            }
        }
        match held.head {
            0 => Ok(held),
            head => Err(held.place.unusable(format!(
                "rows are missing: it acknowledged events up to {head}, and has none. Name an empty database"
            ))),
        }
    }

    /// Takes hold of the tables. It creates them first if `make`.
    fn take(url: &Secret, make: bool) -> Result<Self, JournalError> {
        let (rt, place) = (runtime()?, DatabasePlace::new(url.clone()));
        let (client, head) = run(&rt, OPEN_PATIENCE, async {
            let client = place.connect().await?;
            if make {
                schema::migrate(&place, &client).await?;
            } else {
                schema::exact(&place, &client).await?;
            }
            let begin = "SET idle_in_transaction_session_timeout = 0; BEGIN";
            client.batch_execute(begin).await.map_err(failed)?;
            let owner = client.query_typed_one(HOLD, &[]).await.map_err(failed)?;
            client.query_typed_one(HOLD_INBOX, &[]).await.map_err(failed)?;
            let running = client.query_typed_opt(RUNNING, &[]).await.map_err(failed)?;
            let running = running.map(|row| row.get::<_, String>(0));
            let owned = owner.get::<_, bool>(0).then(|| owner.get::<_, String>(1));
            if let Some(name) = owned.or(running) {
                return Err(place.unusable(format!(
                    "{name} uses it: stop every replica first. If none runs any more, try again in 10 s"
                )));
            }
            Ok((client, owner.get(2)))
        })?;
        Ok(Self { client, rt, place, head })
    }

    fn query(&self, sql: &str, values: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Found>, JournalError> {
        run(&self.rt, LONG_PATIENCE, async { self.client.query_typed(sql, values).await.map_err(failed) })
    }

    fn execute(&self, sql: &str, values: &[(&(dyn ToSql + Sync), Type)]) -> Result<(), JournalError> {
        self.query(sql, values).map(drop)
    }

    fn count_of(&self, table: &str) -> Result<u64, JournalError> {
        let rows = self.query(&format!("SELECT count(*) FROM squelch_{table}"), &[])?;
        Ok(rows.first().map_or(0, |row| number(row.get(0))))
    }
}

impl CopyStore for HeldDatabase {
    fn count(&mut self, table: Table) -> Result<u64, JournalError> {
        self.count_of(table.name().0)
    }

    fn page(&mut self, table: Table, after: i64) -> Result<Vec<CopiedRow>, JournalError> {
        let columns = match table {
            Table::Snapshots => "seq, at, sha256, body",
            Table::Events => "first_seq, last_seq, sha256, body",
            Table::Decisions => "id, seq, sha256, body, at",
            Table::Notifications => "id, seq, sha256, body, state, ended_at, report",
        };
        let (name, key) = table.name();
        let sql = format!("SELECT {columns} FROM squelch_{name} WHERE {key} > $1 ORDER BY {key} LIMIT $2");
        let rows = self.query(&sql, &[(&after, Type::INT8), (&PAGE, Type::INT8)])?;
        let whole = rows.iter().map(|row| whole(table, row));
        whole.collect::<Result<_, _>>().map_err(|reason| {
            self.place.unusable(format!("the database is damaged: {reason}. Restore it from a backup"))
        })
    }

    fn load(&mut self) -> Result<Recovered, JournalError> {
        let loaded = run(&self.rt, LONG_PATIENCE, read::load(&self.place, &self.client))?;
        Ok(loaded.recovered)
    }
}

/// A row, or why it is not whole.
fn whole(table: Table, row: &Found) -> Result<CopiedRow, String> {
    let (key, second): (i64, i64) = (row.get(0), row.get(1));
    let sha256: &[u8] = row.get(2);
    let at: Option<i64> = (table == Table::Decisions).then(|| row.get(4));
    // A row of decisions is known by its order, and its checksum covers its time.
    let covered = match at {
        Some(at) => [second, at],
        None => [key, second],
    };
    let verified = |body: &[u8]| match sha256 == checksum(&covered, body) {
        true => Ok(()),
        false => Err(damaged(table, key)),
    };
    if table == Table::Snapshots {
        let body: Vec<u8> = row.get(3);
        verified(&body)?;
        return Ok(CopiedRow::Snapshot { seq: key, at: second, body });
    }
    let body: String = row.get(3);
    verified(body.as_bytes())?;
    Ok(match table {
        Table::Notifications => CopiedRow::Notification { id: key, seq: second, body, end: end(row, key)? },
        Table::Events => CopiedRow::Events { first: key, last: second, body },
        _ => CopiedRow::Decisions { id: key, seq: second, at: at.unwrap_or_default(), body },
    })
}

fn end(row: &Found, id: i64) -> Result<Option<End>, String> {
    let (state, at, report): (&str, Option<i64>, Option<&str>) = (row.get(4), row.get(5), row.get(6));
    if state == "queued" {
        return Ok(None);
    }
    let (Some(at), Some(report)) = (at, report) else {
        return Err(format!("notification {id} has ended, and it is not said how"));
    };
    let report: Report =
        serde_json::from_str(report).map_err(|e| format!("the end of notification {id}: {e}"))?;
    Ok(Some(End { dead: state == "dead", at, report: Report { message: None, ..report } }))
}

/// New rows of one table, a list a column.
#[derive(Default)]
struct Columns {
    key: Vec<i64>,
    second: Vec<i64>,
    at: Vec<Option<i64>>,
    sha256: Vec<Vec<u8>>,
    body: Vec<String>,
    blob: Vec<Vec<u8>>,
    receiver: Vec<String>,
    kind: Vec<&'static str>,
    dedup_key: Vec<String>,
    state: Vec<&'static str>,
    ended_at: Vec<Option<i64>>,
    report: Vec<Option<String>>,
}

impl Columns {
    fn of(rows: Vec<CopiedRow>) -> Result<Columns, String> {
        let mut columns = Columns::default();
        for row in rows {
            let (key, second, at, covered, body) = match row {
                CopiedRow::Snapshot { seq, at, body } => {
                    columns.sha256.push(checksum(&[seq, at], &body).to_vec());
                    columns.blob.push(body);
                    columns.key.push(seq);
                    columns.second.push(at);
                    continue;
                }
                CopiedRow::Events { first, last, body } => (first, last, None, [first, last], body),
                CopiedRow::Decisions { id, seq, at, body } => (id, seq, Some(at), [seq, at], body),
                CopiedRow::Notification { id, seq, body, end } => {
                    let n = copy::notification(id, &body)?;
                    columns.receiver.push(text(&n.receiver));
                    columns.kind.push(n.kind.as_str());
                    columns.dedup_key.push(text(&n.dedup_key));
                    columns.state.push(match &end {
                        None => "queued",
                        Some(end) if end.dead => "dead",
                        Some(_) => "accepted",
                    });
                    columns.ended_at.push(end.as_ref().map(|end| end.at));
                    let report = end.map(|end| serde_json::to_string(&end.report));
                    columns.report.push(report.transpose().map_err(|e| e.to_string())?);
                    (id, seq, Some(n.at.as_millis()), [id, seq], body)
                }
            };
            columns.key.push(key);
            columns.second.push(second);
            columns.at.push(at);
            columns.sha256.push(checksum(&covered, body.as_bytes()).to_vec());
            columns.body.push(body);
        }
        Ok(columns)
    }
}

impl Draft for HeldDatabase {
    fn add(&mut self, rows: Vec<CopiedRow>) -> Result<(), JournalError> {
        let Some(table) = rows.first().map(CopiedRow::table) else { return Ok(()) };
        let c = Columns::of(rows).map_err(JournalError::Failed)?;
        let (key, second, at) = ((&c.key as _, Type::INT8_ARRAY), (&c.second as _, Type::INT8_ARRAY), &c.at);
        let (at, sha256) = ((at as _, Type::INT8_ARRAY), (&c.sha256 as _, Type::BYTEA_ARRAY));
        let body = (&c.body as _, Type::TEXT_ARRAY);
        match table {
            Table::Snapshots => self.execute(
                "INSERT INTO squelch_snapshot (seq, at, sha256, body) SELECT * FROM unnest($1, $2, $3, $4)",
                &[key, second, sha256, (&c.blob, Type::BYTEA_ARRAY)],
            ),
            Table::Events => self.execute(
                "INSERT INTO squelch_input (first_seq, last_seq, sha256, body)
                 SELECT * FROM unnest($1, $2, $3, $4)",
                &[key, second, sha256, body],
            ),
            Table::Decisions => self.execute(
                "INSERT INTO squelch_decision (id, seq, at, sha256, body)
                 SELECT * FROM unnest($1, $2, $3, $4, $5)",
                &[key, second, at, sha256, body],
            ),
            Table::Notifications => self.execute(
                "INSERT INTO squelch_notification
                     (id, seq, at, receiver, kind, dedup_key, state, ended_at, report, sha256, body)
                 SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                &[
                    key,
                    second,
                    at,
                    (&c.receiver, Type::TEXT_ARRAY),
                    (&c.kind, Type::TEXT_ARRAY),
                    (&c.dedup_key, Type::TEXT_ARRAY),
                    (&c.state, Type::TEXT_ARRAY),
                    (&c.ended_at, Type::INT8_ARRAY),
                    (&c.report, Type::TEXT_ARRAY),
                    sha256,
                    body,
                ],
            ),
        }
    }

    fn seal(&mut self, head: i64) -> Result<(), JournalError> {
        // A handle of an earlier owner can write nothing here.
        let sql = "UPDATE squelch_owner SET head = $1, epoch = epoch + 1";
        self.execute(sql, &[(&head, Type::INT8)])?;
        // The next row of decisions comes after the copied ones.
        let sql = "SELECT setval(pg_get_serial_sequence('squelch_decision', 'id'), max(id))
             FROM squelch_decision HAVING max(id) > 0";
        self.execute(sql, &[])
    }

    fn publish(self: Box<Self>) -> Result<(), JournalError> {
        run(&self.rt, LONG_PATIENCE, async { self.client.batch_execute("COMMIT").await.map_err(failed) })
    }
}
