//! Alerts that flapped in a time, also after they are calm.

use rusqlite::{Connection, params};

use super::search::{first_from, numbers};
use super::write::OBSERVED;
use super::{DecisionLogError, Reader};
use crate::model::{AlertId, LabelSet, Timestamp};

/// The most alerts of one answer.
pub const MOST_FLAPPED: usize = 50;

/// An alert that flapped at a receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Flapped {
    /// Its identity.
    pub alert: AlertId,
    /// Its labels, as they were said last.
    pub labels: LabelSet,
    /// The receiver.
    pub receiver: String,
    /// When Squelch first withheld a change of it.
    pub first: Timestamp,
    /// When Squelch last withheld a change of it.
    pub last: Timestamp,
    /// How often it changed. Of several times of flapping, the most.
    pub changes: u64,
    /// How many of its observations were withheld.
    pub withheld: u64,
    /// The profile only observed, so that Squelch withheld nothing.
    pub observed: bool,
}

impl Reader {
    /// The alerts that flapped from `since` on, the latest first, at most [`MOST_FLAPPED`], and how many
    /// there are.
    ///
    /// # Errors
    /// There is no decision log, it cannot be read, or the search takes longer than 5 s.
    pub fn flapped(&self, since: Timestamp) -> Result<(Vec<Flapped>, usize), DecisionLogError> {
        self.with(|conn| flapped(conn, since))
    }
}

fn flapped(conn: &Connection, since: Timestamp) -> Result<(Vec<Flapped>, usize), DecisionLogError> {
    let first = first_from(conn, since)?;
    let mut found = Vec::new();
    for observed in [false, true] {
        let kind = format!("{}suppressed flapping", if observed { OBSERVED } else { "" });
        let kinds = numbers(conn, "kind", Some(&kind))?;
        // Asked by receiver and kind, an index has the rows.
        for receiver in numbers(conn, "receiver", None)? {
            for kind in &kinds {
                found.extend(
                    of(conn, (receiver, *kind), first)?.into_iter().map(|one| Flapped { observed, ..one }),
                );
            }
        }
    }
    found.sort_by(|a, b| (b.last, &a.labels, &a.receiver).cmp(&(a.last, &b.labels, &b.receiver)));
    let all = found.len();
    found.truncate(MOST_FLAPPED);
    Ok((found, all))
}

fn of(conn: &Connection, (receiver, kind): (i64, i64), first: i64) -> Result<Vec<Flapped>, rusqlite::Error> {
    let mut read = conn.prepare_cached(
        "SELECT a.alert, a.labels, rc.name, min(d.at), max(d.at), sum(d.count),
             max(ifnull(json_extract(ca.text, '$.changes'), 0))
         FROM decision d JOIN alert a ON a.id = d.alert JOIN receiver rc ON rc.id = d.receiver
              LEFT JOIN text ca ON ca.id = d.cause
         WHERE d.receiver = ? AND d.kind = ? AND d.id >= ? GROUP BY d.alert",
    )?;
    let rows = read.query_map(params![receiver, kind, first], |row| {
        let (id, labels): ([u8; 16], String) = (row.get(0)?, row.get(1)?);
        let count = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok(Flapped {
            alert: AlertId(u128::from_be_bytes(id)),
            labels: serde_json::from_str(&labels).unwrap_or_default(),
            receiver: row.get(2)?,
            first: Timestamp::from_millis(row.get(3)?),
            last: Timestamp::from_millis(row.get(4)?),
            withheld: count(5)?,
            changes: count(6)?,
            observed: false,
        })
    })?;
    rows.collect()
}
