//! Reading: which rows a query means, by the index that finds them with least work.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::{
    DecisionEntry, DecisionLogError, DecisionPage, DecisionQuery, MAX_LIMIT, OtherwiseEntry, explain, schema,
    write,
};
use crate::causes;
use crate::model::{AlertId, Cause, Disposition, Fingerprint, LabelSet, MatchOp, Matcher, Timestamp};

/// How long a search may take.
const LONGEST: Duration = Duration::from_secs(5);
/// SQLite asks whether to go on after so many of its steps.
const STEPS: i32 = 10_000;
/// Up to this many alerts are each looked up by the index. For more, the search looks at every row.
const BY_ALERT: usize = 500;
/// The number of connections kept open. As many searches may run at once without opening one.
const KEPT: usize = 4;

const COLUMNS: &str = "
    d.id, d.at, a.alert, a.fingerprint, a.labels, k.name, d.count, rc.name, ro.text, i.dedup_key,
    ca.text, s.text, d.line, d.starts_at, d.since, d.release, d.page_at, u.dedup_key,
    CASE WHEN k.name = 'page' THEN (
        SELECT ifnull((SELECT e.change FROM history_event e WHERE e.history = h.id
                       AND (substr(e.change, 1, 10) = '{\"refused\"' OR h.closed_at IS NOT NULL
                            AND substr(e.change, 1, 11) = '{\"recalled\"') ORDER BY e.id DESC LIMIT 1), '')
        FROM (SELECT id, notified_at, closed_at FROM history WHERE key = i.dedup_key AND NOT observed AND opened_at <= d.at
              ORDER BY id DESC LIMIT 1) h
        WHERE h.notified_at IS NULL) END,
    CASE WHEN k.name = 'page' THEN (
        SELECT notified_at FROM history WHERE key = i.dedup_key AND NOT observed AND opened_at <= d.at
        ORDER BY id DESC LIMIT 1) END,
    CASE WHEN k.name = 'page' THEN (
        SELECT e.change FROM history_event e WHERE e.history = (
            SELECT id FROM history WHERE key = i.dedup_key AND NOT observed AND opened_at <= d.at
            ORDER BY id DESC LIMIT 1)
        AND substr(e.change, 1, 9) = '{\"failed\"' AND instr(e.change, '\"kind\":\"page\"') > 0
        ORDER BY e.id DESC LIMIT 1) END";
const JOINS: &str = "
    decision d JOIN alert a ON a.id = d.alert JOIN kind k ON k.id = d.kind
    JOIN receiver rc ON rc.id = d.receiver LEFT JOIN text ro ON ro.id = d.route
    LEFT JOIN text ca ON ca.id = d.cause LEFT JOIN text s ON s.id = d.setting
    LEFT JOIN incident i ON i.id = d.incident LEFT JOIN incident u ON u.id = d.update_of";

/// Searches the decision log of a storage directory. A server may be writing it. It blocks: not for async
/// code.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    /// Each with the number of the file that it has open.
    idle: Mutex<Vec<(u64, Connection)>>,
}

impl Reader {
    /// A reader of the decision log in `dir`, which need not be there yet.
    pub fn new(dir: &Path) -> Reader {
        Reader { dir: dir.to_owned(), idle: Mutex::default() }
    }

    /// The storage directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// One page of the results of `query`, newest first. Rows written meanwhile are newer than every
    /// cursor, and change no page behind it.
    ///
    /// # Errors
    /// There is no decision log, it cannot be read, or the search takes longer than 5 s.
    pub fn search(&self, query: &DecisionQuery) -> Result<DecisionPage, DecisionLogError> {
        self.with(|conn| page(conn, query))
    }

    /// Runs `work` on a connection, in one read transaction, for as long as it may take.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, DecisionLogError>,
    ) -> Result<T, DecisionLogError> {
        let number = schema::number(&self.dir);
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // A decision log that was made anew is another file.
        let mut conn = match idle.filter(|(known, _)| *known == number) {
            Some((_, conn)) => conn,
            None => schema::open_reading(&self.dir)?,
        };
        let until = Instant::now() + LONGEST;
        conn.progress_handler(STEPS, Some(move || Instant::now() > until))?;
        let transaction = conn.transaction()?;
        let done = work(&transaction);
        drop(transaction);
        conn.progress_handler(0, None::<fn() -> bool>)?;
        match done {
            Err(_) if Instant::now() > until => {
                Err(DecisionLogError::TooLong(LONGEST.as_millis().try_into().unwrap_or(u64::MAX)))
            }
            Err(e) => Err(e),
            Ok(found) => {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                if idle.len() < KEPT {
                    idle.push((number, conn));
                }
                Ok(found)
            }
        }
    }
}

/// The conditions on a row beside the index that finds it.
#[derive(Clone, Default)]
struct Where {
    conditions: Vec<&'static str>,
    values: Vec<Value>,
}

impl Where {
    fn and(&mut self, condition: &'static str, value: impl Into<Value>) {
        self.conditions.push(condition);
        self.values.push(value.into());
    }

    fn ids(&self, conn: &Connection, limit: usize) -> Result<Vec<i64>, rusqlite::Error> {
        let conditions = match self.conditions.is_empty() {
            true => "1".to_owned(),
            false => self.conditions.join(" AND "),
        };
        let sql = format!("SELECT id FROM decision WHERE {conditions} ORDER BY id DESC LIMIT {limit}");
        let mut statement = conn.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(&self.values), |row| row.get(0))?;
        rows.collect()
    }
}

fn page(conn: &Connection, query: &DecisionQuery) -> Result<DecisionPage, DecisionLogError> {
    let limit = query.limit.clamp(1, MAX_LIMIT);
    let mut ids = found(conn, query, limit + 1)?;
    let more = ids.len() > limit;
    ids.truncate(limit);
    let mut one = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM {JOINS} WHERE d.id = ?"))?;
    let decisions = ids.iter().map(|id| one.query_row([id], entry)).collect::<Result<Vec<_>, _>>()?;
    let next = decisions.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(DecisionPage { decisions, next })
}

/// The newest `wanted` rows that `query` means, newest first.
fn found(conn: &Connection, query: &DecisionQuery, wanted: usize) -> Result<Vec<i64>, DecisionLogError> {
    let mut rest = Where::default();
    // Times rise with ids, so that a time is an id.
    if let Some(since) = query.since {
        rest.and("id >= ?", first_from(conn, since)?);
    }
    let mut before = query.before.map_or(i64::MAX, |id| i64::try_from(id).unwrap_or(i64::MAX));
    if let Some(until) = query.until {
        before = before.min(first_from(conn, until)?);
    }
    rest.and("id < ?", before);
    let none = Ok(Vec::new());
    let receivers = numbers(conn, "receiver", query.receiver.as_deref())?;
    let kinds = match (query.dispositions.as_slice(), query.observed) {
        ([], None) => None,
        (some, observed) => {
            let wanted = if some.is_empty() { &Disposition::ALL[..] } else { some };
            let sides =
                [false, true].into_iter().filter(|side| observed.is_none_or(|wanted| wanted == *side));
            let each = sides.flat_map(|side| wanted.iter().map(move |d| write::kind(*d, side)));
            Some(each.collect::<Vec<_>>())
        }
    };
    let mut kind_numbers = Vec::new();
    for name in kinds.iter().flatten() {
        kind_numbers.extend(numbers(conn, "kind", Some(name))?);
    }
    if receivers.is_empty() || (kinds.is_some() && kind_numbers.is_empty()) {
        return none;
    }
    let mut filtered = vec![rest.clone()];
    if query.receiver.is_some() {
        filtered = with_each(&filtered, "+receiver = ?", &receivers);
    }
    if kinds.is_some() {
        filtered = with_each(&filtered, "+kind = ?", &kind_numbers);
    }
    let indexed = if let Some(key) = &query.incident {
        let sql = "SELECT id FROM incident WHERE dedup_key = ?";
        let Some(id) = conn.query_row(sql, [key], |r| r.get::<_, i64>(0)).optional()? else { return none };
        let mut by_incident = with_each(&filtered, "incident = ?", &[id]);
        if let Some(alerts) = alerts(conn, query)? {
            by_incident = with_each(&by_incident, "+alert = ?", &alerts);
        }
        by_incident
    } else if let Some(alerts) = alerts(conn, query)? {
        if alerts.len() > BY_ALERT {
            return scan(conn, &filtered, &alerts, wanted);
        }
        with_each(&filtered, "alert = ?", &alerts)
    } else if query.receiver.is_some() || kinds.is_some() {
        if kinds.is_none() {
            kind_numbers = numbers(conn, "kind", None)?;
        }
        with_each(&with_each(&[rest], "receiver = ?", &receivers), "kind = ?", &kind_numbers)
    } else {
        vec![rest]
    };
    let mut ids: Vec<i64> = Vec::new();
    for one in indexed {
        ids.extend(one.ids(conn, wanted)?);
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.dedup();
    ids.truncate(wanted);
    Ok(ids)
}

/// The rows of many alerts: every row is looked at, newest first.
fn scan(
    conn: &Connection,
    filtered: &[Where],
    alerts: &[i64],
    wanted: usize,
) -> Result<Vec<i64>, DecisionLogError> {
    let alerts: std::collections::HashSet<i64> = alerts.iter().copied().collect();
    let mut ids: Vec<i64> = Vec::new();
    for one in filtered {
        let sql =
            format!("SELECT id, alert FROM decision WHERE {} ORDER BY id DESC", one.conditions.join(" AND "));
        let mut statement = conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(&one.values))?;
        let mut taken = 0;
        while taken < wanted
            && let Some(row) = rows.next()?
        {
            if alerts.contains(&row.get(1)?) {
                ids.push(row.get(0)?);
                taken += 1;
            }
        }
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.truncate(wanted);
    Ok(ids)
}

fn with_each(all: &[Where], condition: &'static str, values: &[i64]) -> Vec<Where> {
    let each = |one: &Where, value: i64| {
        let mut one = one.clone();
        one.and(condition, value);
        one
    };
    all.iter().flat_map(|one| values.iter().map(move |value| each(one, *value))).collect()
}

/// Asked apart, each is the end of the index. Asked as one, SQLite looks at every row.
const BOUNDS: &str = "SELECT (SELECT min(id) FROM decision), (SELECT max(id) FROM decision)";

/// The first id whose time is `at` or later. A binary search finds it, since times rise with ids.
pub(super) fn first_from(conn: &Connection, at: Timestamp) -> Result<i64, DecisionLogError> {
    let bounds: (Option<i64>, Option<i64>) = conn.query_row(BOUNDS, [], |r| Ok((r.get(0)?, r.get(1)?)))?;
    let (Some(mut low), Some(high)) = bounds else { return Ok(0) };
    let mut high = high + 1;
    let mut next = conn.prepare_cached("SELECT at FROM decision WHERE id >= ? ORDER BY id LIMIT 1")?;
    while low < high {
        let middle = low + (high - low) / 2;
        let time: Option<i64> = next.query_row([middle], |row| row.get(0)).optional()?;
        match time {
            Some(time) if time < at.as_millis() => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The numbers of a name in a small table, or of all of them.
pub(super) fn numbers(
    conn: &Connection,
    table: &str,
    name: Option<&str>,
) -> Result<Vec<i64>, rusqlite::Error> {
    let (sql, values) = match name {
        Some(name) => (format!("SELECT id FROM {table} WHERE name = ?"), vec![name]),
        None => (format!("SELECT id FROM {table}"), Vec::new()),
    };
    let mut statement = conn.prepare_cached(&sql)?;
    statement.query_map(params_from_iter(values), |row| row.get(0))?.collect()
}

/// The alerts that the query names. `None` if it names none.
pub(super) fn alerts(conn: &Connection, query: &DecisionQuery) -> Result<Option<Vec<i64>>, DecisionLogError> {
    let mut found: Option<Vec<i64>> = None;
    let mut narrow = |ids: Vec<i64>| {
        found = Some(match found.take() {
            None => ids,
            Some(known) => {
                let ids: std::collections::HashSet<i64> = ids.into_iter().collect();
                known.into_iter().filter(|id| ids.contains(id)).collect()
            }
        });
    };
    if let Some(AlertId(alert)) = query.alert {
        narrow(ids(conn, "SELECT id FROM alert WHERE alert = ?", alert.to_be_bytes().to_vec().into())?);
    }
    if let Some(Fingerprint(number)) = query.fingerprint {
        let sql = "SELECT id FROM alert WHERE fingerprint = ?";
        narrow(ids(conn, sql, number.cast_signed().into())?);
    }
    let (mut asked, mut later): (Vec<&Matcher>, Vec<&Matcher>) = (Vec::new(), Vec::new());
    for matcher in &query.matchers {
        // A matcher that matches a missing label says nothing about the pairs.
        let positive = matches!(matcher.op(), MatchOp::Equal | MatchOp::Regex);
        match positive && !matcher.matches(&LabelSet::default()) {
            true => asked.push(matcher),
            false => later.push(matcher),
        }
    }
    for matcher in asked {
        narrow(with_pair(conn, matcher)?);
    }
    if !later.is_empty() {
        let known = match found.take() {
            Some(known) => known,
            None => ids(conn, "SELECT id FROM alert WHERE ?", 1.into())?,
        };
        let mut labels = conn.prepare_cached("SELECT labels FROM alert WHERE id = ?")?;
        let mut kept = Vec::new();
        for id in known {
            let text: String = labels.query_row([id], |row| row.get(0))?;
            let labels: LabelSet = serde_json::from_str(&text).unwrap_or_default();
            if later.iter().all(|m| m.matches(&labels)) {
                kept.push(id);
            }
        }
        found = Some(kept);
    }
    Ok(found)
}

/// The alerts that have a label whose value `matcher` takes.
fn with_pair(conn: &Connection, matcher: &Matcher) -> Result<Vec<i64>, DecisionLogError> {
    let mut pairs = conn.prepare_cached("SELECT id, value FROM pair WHERE name = ?")?;
    let mut rows = match matcher.op() {
        MatchOp::Equal => {
            pairs = conn.prepare_cached("SELECT id, value FROM pair WHERE name = ? AND value = ?")?;
            pairs.query([matcher.name(), matcher.value()])?
        }
        _ => pairs.query([matcher.name()])?,
    };
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let value: String = row.get(1)?;
        if matcher.matches(&LabelSet::from_pairs([(matcher.name(), value.as_str())])) {
            let pair: i64 = row.get(0)?;
            found.extend(ids(conn, "SELECT alert FROM alert_pair WHERE pair = ?", pair.into())?);
        }
    }
    Ok(found)
}

fn ids(conn: &Connection, sql: &str, value: Value) -> Result<Vec<i64>, rusqlite::Error> {
    let mut statement = conn.prepare_cached(sql)?;
    statement.query_map([value], |row| row.get(0))?.collect()
}

fn entry(row: &Row<'_>) -> Result<DecisionEntry, rusqlite::Error> {
    let time = |at: Option<i64>| at.map(Timestamp::from_millis);
    let kind: String = row.get(5)?;
    let real = kind.strip_prefix(write::OBSERVED);
    let (kind, observed) = (real.unwrap_or(&kind), real.is_some());
    let (disposition, reason) = match kind.split_once(' ') {
        Some((disposition, reason)) => (disposition.to_owned(), Some(reason.to_owned())),
        None => (kind.to_owned(), None),
    };
    let known = Disposition::ALL.into_iter().find(|d| write::kind(*d, false) == kind);
    let cause: Option<String> = row.get(10)?;
    let cause: Option<Cause> = cause.and_then(|text| serde_json::from_str(&text).ok());
    let alert: [u8; 16] = row.get(2)?;
    let labels: String = row.get(4)?;
    let (release, page_at, update_of) =
        (time(row.get(15)?), time(row.get(16)?), row.get::<_, Option<String>>(17)?);
    // A heartbeat pages by its silence alone, so nothing releases it.
    let heartbeat = matches!(cause, Some(Cause::Heartbeat { .. }));
    let (known, page_at) = (known.filter(|_| !heartbeat), page_at.filter(|_| !heartbeat));
    let otherwise = page_at
        .map(|at| OtherwiseEntry::Page { at })
        .or_else(|| update_of.map(|incident| OtherwiseEntry::Update { incident }));
    Ok(DecisionEntry {
        id: row.get::<_, i64>(0)?.unsigned_abs(),
        at: Timestamp::from_millis(row.get(1)?),
        alert: AlertId(u128::from_be_bytes(alert)).to_string(),
        fingerprint: Fingerprint(row.get::<_, i64>(3)?.cast_unsigned()).to_string(),
        labels: serde_json::from_str(&labels).unwrap_or_default(),
        disposition,
        reason,
        observed,
        count: row.get::<_, i64>(6)?.unsigned_abs(),
        receiver: row.get(7)?,
        route: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
        incident: row.get(9)?,
        rule: cause.as_ref().map(causes::text).unwrap_or_default(),
        cause,
        setting: row.get::<_, Option<String>>(11)?.unwrap_or_default(),
        line: row.get::<_, Option<u32>>(12)?.filter(|line| *line > 0),
        starts_at: time(row.get(13)?),
        repeats_since: time(row.get(14)?),
        release,
        release_condition: known.and_then(|d| explain::release_condition(d, release)),
        counterfactual: otherwise.as_ref().map(explain::counterfactual),
        otherwise,
        undelivered: row.get::<_, Option<String>>(18)?.map(|refusal| explain::undelivered(&refusal)),
        accepted_at: time(row.get(19)?),
        failed_attempts: row
            .get::<_, Option<String>>(20)?
            .and_then(|failed| explain::failed_attempts(&failed)),
    })
}
