//! Writing: decisions become rows that name each other by numbers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};

use super::{DecisionLogError, incidents, schema};
use crate::config::Storage;
use crate::model::{
    AlertId, Decision, Disposition, Fingerprint, IncidentRecord, LabelSet, Otherwise, Timestamp,
};

/// So many texts are remembered, to spare looking them up.
const REMEMBERED: usize = 50_000;
/// So many rows leave in one transaction.
const PRUNE_ROWS: i64 = 5_000;
const DAY: i64 = 86_400_000;

/// Forgets the decisions in `gone`, and the rows that only these name.
const FORGET: &str = "
DELETE FROM decision WHERE id IN (SELECT id FROM gone);
DELETE FROM incident WHERE id IN (SELECT incident FROM gone)
    AND NOT EXISTS (SELECT 1 FROM decision WHERE decision.incident = incident.id);
DELETE FROM gone WHERE EXISTS (SELECT 1 FROM decision WHERE decision.alert = gone.alert);
DELETE FROM gone_pair;
INSERT OR IGNORE INTO gone_pair
    SELECT pair.id, alert.id FROM (SELECT DISTINCT alert FROM gone) g JOIN alert ON alert.id = g.alert,
        json_each(alert.labels) AS label
        JOIN pair ON pair.name = label.key AND pair.value = label.value;
DELETE FROM alert WHERE id IN (SELECT alert FROM gone);
DELETE FROM alert_pair WHERE (pair, alert) IN (SELECT pair, alert FROM gone_pair);
DELETE FROM pair WHERE id IN (SELECT pair FROM gone_pair)
    AND NOT EXISTS (SELECT 1 FROM alert_pair WHERE alert_pair.pair = pair.id);
";

/// The one that writes the decision log.
pub(super) struct Writer {
    conn: Connection,
    dir: PathBuf,
    /// The number that the filesystem gave the file.
    number: u64,
    texts: HashMap<(i64, String), i64>,
    alerts: HashMap<AlertId, i64>,
}

/// How far the journal has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The last row of decisions, and its checksum.
    pub row: i64,
    pub sha256: Vec<u8>,
    /// When it was decided, in milliseconds.
    pub at: i64,
}

/// The result of one round of pruning.
pub(super) struct Removed {
    /// Decisions that left.
    pub rows: u64,
    /// Whether there may be more.
    pub more: bool,
}

impl Writer {
    pub fn open(dir: &Path) -> Result<Writer, DecisionLogError> {
        let conn = schema::open_writing(dir)?;
        let number = schema::number(dir);
        Ok(Writer { conn, dir: dir.into(), number, texts: HashMap::new(), alerts: HashMap::new() })
    }

    /// Whether the file is still the decision log, since it may have been removed.
    pub fn is_current(&self) -> bool {
        schema::number(&self.dir) == self.number
    }

    /// How far the journal has been read.
    pub fn mark(&self) -> Result<Mark, DecisionLogError> {
        let row = |key: &str| {
            let mut statement = self.conn.prepare_cached("SELECT value, blob FROM meta WHERE key = ?")?;
            statement.query_row([key], |row| Ok((row.get(0)?, row.get(1)?))).optional()
        };
        let (number, sha256) = row("row")?.unwrap_or((0, Some(Vec::new())));
        let at = row("at")?.map_or(i64::MIN, |(at, _): (i64, Option<Vec<u8>>)| at);
        Ok(Mark { row: number, sha256: sha256.unwrap_or_default(), at })
    }

    /// Adds decisions and changes of incidents, each in order, and notes their place in the journal. It
    /// writes all of it, or nothing.
    pub fn add(
        &mut self,
        decisions: &[Decision],
        history: &[IncidentRecord],
        mark: &Mark,
    ) -> Result<(), DecisionLogError> {
        if self.texts.len() > REMEMBERED {
            self.texts.clear();
        }
        if self.alerts.len() > REMEMBERED {
            self.alerts.clear();
        }
        let Writer { conn, texts, alerts, .. } = self;
        let done = (|| {
            let tx = conn.transaction()?;
            let mut rows = Rows { conn: &tx, texts, alerts };
            for decision in decisions {
                rows.add(decision)?;
            }
            for record in history {
                incidents::add(&tx, record)?;
            }
            let mut note = tx.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)")?;
            note.execute(params!["row", mark.row, mark.sha256])?;
            note.execute(params!["at", mark.at, None::<Vec<u8>>])?;
            drop(note);
            tx.commit()
        })();
        if done.is_err() {
            // Numbers that were given in a transaction that is no more.
            self.texts.clear();
            self.alerts.clear();
        }
        Ok(done?)
    }

    /// Removes old rows, and rows beyond the size, a bounded part of them.
    pub fn prune(&mut self, now: Timestamp, keep: Storage) -> Result<Removed, DecisionLogError> {
        let before = (now - keep.retention).as_millis();
        let too_large = self.too_large(keep.max_size)?;
        let tx = self.conn.transaction()?;
        tx.execute("DELETE FROM gone", [])?;
        let oldest = "SELECT id, alert, incident FROM decision WHERE at < ?2 ORDER BY id LIMIT ?1";
        let until = if too_large { i64::MAX } else { before };
        let gone = tx.execute(&format!("INSERT INTO gone {oldest}"), [PRUNE_ROWS, until])?;
        if gone > 0 {
            tx.execute_batch(FORGET)?;
            let first: Option<i64> =
                tx.query_row("SELECT at FROM decision ORDER BY id LIMIT 1", [], |r| r.get(0)).optional()?;
            let day = first.unwrap_or(now.as_millis()).div_euclid(DAY);
            // A row of repeats is as old as its first, and its texts with it.
            tx.execute("DELETE FROM text WHERE day < ?", [day])?;
        }
        // Incidents are few and small, so they stay longer. They leave early if a file without decisions is
        // too large.
        let incidents = incidents::prune(&tx, now, too_large && gone == 0)?;
        tx.commit()?;
        if gone > 0 {
            self.texts.clear();
            self.alerts.clear();
        }
        if gone > 0 || incidents > 0 || too_large {
            let mut vacuum = self.conn.prepare("PRAGMA incremental_vacuum(1024)")?;
            let mut rows = vacuum.query([])?;
            while rows.next()?.is_some() {}
        }
        let full = gone == PRUNE_ROWS as usize;
        Ok(Removed { rows: gone as u64, more: gone > 0 && (full || self.too_large(keep.max_size)?) })
    }

    /// Whether the content of the file takes more than `max` bytes.
    pub fn too_large(&self, max: u64) -> Result<bool, DecisionLogError> {
        let pragma = |name| self.conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let used = (pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?;
        Ok(u64::try_from(used).unwrap_or(0).saturating_add(schema::WAL_BYTES.into()) > max)
    }

    /// How many bytes the file has.
    pub fn size(&self) -> Result<u64, DecisionLogError> {
        let pragma = |name| self.conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        Ok(u64::try_from(pragma("page_count")? * pragma("page_size")?).unwrap_or(0))
    }
}

struct Rows<'a> {
    conn: &'a Connection,
    texts: &'a mut HashMap<(i64, String), i64>,
    alerts: &'a mut HashMap<AlertId, i64>,
}

impl Rows<'_> {
    fn add(&mut self, d: &Decision) -> Result<(), rusqlite::Error> {
        let (at, basis) = (d.at.as_millis(), &d.basis);
        let alert = self.alert(d.alert, &basis.labels)?;
        let receiver = self.named("receiver", "name", &d.receiver)?;
        let kind = self.named("kind", "name", &kind(d.disposition, d.observed))?;
        if basis.repeats_since.is_some() && self.again(d, alert, receiver, kind)? {
            return Ok(());
        }
        let day = at.div_euclid(DAY);
        let cause = serde_json::to_string(&d.cause).unwrap_or_default();
        let (route, cause) = (self.text(day, &d.route)?, self.text(day, &cause)?);
        let setting = self.text(day, &basis.setting)?;
        let incident = |rows: &mut Self, key: &str| match key {
            "" => Ok(None),
            key => rows.named("incident", "dedup_key", key).map(Some),
        };
        let of = incident(self, &d.incident)?;
        let (page_at, update_of) = match &basis.otherwise {
            None => (None, None),
            Some(Otherwise::Page(at)) => (Some(at.as_millis()), None),
            Some(Otherwise::Update(key)) => (None, incident(self, key)?),
        };
        let millis = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
        self.conn
            .prepare_cached(
                "INSERT INTO decision (at, alert, receiver, kind, count, route, cause, setting, line, incident,
                     starts_at, since, release, page_at, update_of)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                at,
                alert,
                receiver,
                kind,
                int(d.count),
                route,
                cause,
                setting,
                basis.line,
                of,
                millis(basis.starts_at),
                millis(basis.repeats_since),
                millis(d.release),
                page_at,
                update_of,
            ])?;
        Ok(())
    }

    /// Adds to the row of repeats that is the newest of its alert and receiver. Its `at` stays, so that
    /// rows stand in the order of their times. False if there is none.
    fn again(&self, d: &Decision, alert: i64, receiver: i64, kind: i64) -> Result<bool, rusqlite::Error> {
        let mut newest = self.conn.prepare_cached(
            "SELECT d.id, d.kind, d.since, d.starts_at FROM decision d JOIN text r ON r.id = d.route
             WHERE d.alert = ? AND d.receiver = ? AND r.text = ? ORDER BY d.id DESC LIMIT 1",
        )?;
        type Newest = (i64, i64, Option<i64>, Option<i64>);
        let newest: Option<Newest> = newest
            .query_row(params![alert, receiver, d.route.as_str()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()?;
        let Some((id, known, Some(_), starts_at)) = newest else {
            return Ok(false);
        };
        if known != kind || starts_at != d.basis.starts_at.map(Timestamp::as_millis) {
            return Ok(false);
        }
        let mut add = self.conn.prepare_cached("UPDATE decision SET count = count + ? WHERE id = ?")?;
        Ok(add.execute(params![int(d.count), id])? == 1)
    }

    fn alert(&mut self, alert: AlertId, labels: &LabelSet) -> Result<i64, rusqlite::Error> {
        let known = self.alerts.get(&alert).copied();
        if labels.is_empty()
            && let Some(id) = known
        {
            return Ok(id);
        }
        let key = alert.0.to_be_bytes();
        let text = serde_json::to_string(labels).unwrap_or_default();
        let fingerprint = Fingerprint::of(labels).0.cast_signed();
        let found: Option<(i64, String)> = self
            .conn
            .prepare_cached("SELECT id, labels FROM alert WHERE alert = ?")?
            .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let id = match found {
            Some((id, old)) if labels.is_empty() || old == text => {
                self.alerts.insert(alert, id);
                return Ok(id);
            }
            Some((id, _)) => {
                self.conn
                    .prepare_cached("UPDATE alert SET fingerprint = ?, labels = ? WHERE id = ?")?
                    .execute(params![fingerprint, text, id])?;
                self.conn.prepare_cached("DELETE FROM alert_pair WHERE alert = ?")?.execute([id])?;
                id
            }
            None => {
                self.conn
                    .prepare_cached("INSERT INTO alert (alert, fingerprint, labels) VALUES (?, ?, ?)")?
                    .execute(params![key, fingerprint, text])?;
                self.conn.last_insert_rowid()
            }
        };
        for (name, value) in labels.iter() {
            let pair = self
                .conn
                .prepare_cached("SELECT id FROM pair WHERE name = ? AND value = ?")?
                .query_row([name, value], |row| row.get(0))
                .optional()?;
            let pair: i64 = match pair {
                Some(pair) => pair,
                None => {
                    self.conn
                        .prepare_cached("INSERT INTO pair (name, value) VALUES (?, ?)")?
                        .execute([name, value])?;
                    self.conn.last_insert_rowid()
                }
            };
            self.conn.prepare_cached("INSERT INTO alert_pair VALUES (?, ?)")?.execute([pair, id])?;
        }
        self.alerts.insert(alert, id);
        Ok(id)
    }

    fn text(&mut self, day: i64, text: &str) -> Result<i64, rusqlite::Error> {
        if let Some(id) = self.texts.get(&(day, text.to_owned())) {
            return Ok(*id);
        }
        let known = self
            .conn
            .prepare_cached("SELECT id FROM text WHERE day = ? AND text = ?")?
            .query_row(params![day, text], |row| row.get(0))
            .optional()?;
        let id = match known {
            Some(id) => id,
            None => {
                self.conn
                    .prepare_cached("INSERT INTO text (day, text) VALUES (?, ?)")?
                    .execute(params![day, text])?;
                self.conn.last_insert_rowid()
            }
        };
        self.texts.insert((day, text.to_owned()), id);
        Ok(id)
    }

    /// The number of a name in one of the small tables.
    fn named(&self, table: &str, column: &str, name: &str) -> Result<i64, rusqlite::Error> {
        let known = self
            .conn
            .prepare_cached(&format!("SELECT id FROM {table} WHERE {column} = ?"))?
            .query_row([name], |row| row.get(0))
            .optional()?;
        if let Some(id) = known {
            return Ok(id);
        }
        self.conn.prepare_cached(&format!("INSERT INTO {table} ({column}) VALUES (?)"))?.execute([name])?;
        Ok(self.conn.last_insert_rowid())
    }
}

/// The beginning of dispositions in observe mode in the file: `observed page`.
pub(super) const OBSERVED: &str = "observed ";

/// How a disposition stands in the file: `page`, or `suppressed flapping`.
pub(super) fn kind(disposition: Disposition, observed: bool) -> String {
    let mark = if observed { OBSERVED } else { "" };
    format!("{mark}{} {}", disposition.as_str(), disposition.reason()).trim_end().to_owned()
}

fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
