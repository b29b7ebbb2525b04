//! Reading: which incidents a query means, and one incident with all that happened to it.

use std::collections::{BTreeSet, HashSet};

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::events::event;
use super::{
    EventEntry, IncidentAlertEntry, IncidentRuleEntry, NamedIncident, PastIncident, PastIncidentDetail,
    PastIncidentPage, PastIncidentQuery, Times, WhichIncident,
};
use crate::decision_log::explain::{LATE, whole_seconds};
use crate::decision_log::write::OBSERVED;
use crate::decision_log::{DecisionLogError, DecisionQuery, MAX_LIMIT, Reader, search};
use crate::model::{AlertId, Duration, IncidentChange, IncidentOpened, Kind, Timestamp};

/// The most events of one incident that are read: the first and the newest.
const EVENTS: i64 = 2_000;
/// So many keys are listed of a beginning that several incidents share.
const CANDIDATES: usize = 10;
/// So many alerts of one incident are read.
const ALERTS: i64 = 100;
/// Decisions about an incident are looked for from so long before its start until so long after its end.
pub(in crate::decision_log) const AROUND: Duration = Duration::from_mins(15);

const COLUMNS: &str =
    "id, number, key, receiver, observed, started_at, opened_at, notified_at, acknowledged_at,
    acknowledged_by, closed_at, successor, useful, title, severity, firing, alerts";

impl Reader {
    /// One page of the incidents that `query` means.
    ///
    /// # Errors
    /// There is no decision log, it cannot be read, or the search takes longer than 5 s.
    pub fn incidents(&self, query: &PastIncidentQuery) -> Result<PastIncidentPage, DecisionLogError> {
        self.with(|conn| page(conn, query))
    }

    /// The incident that `wanted` names, with all that happened to it.
    ///
    /// # Errors
    /// There is no decision log, it cannot be read, or the search takes longer than 5 s.
    pub fn incident(&self, wanted: &WhichIncident) -> Result<NamedIncident, DecisionLogError> {
        self.with(|conn| named(conn, wanted))
    }
}

fn page(conn: &Connection, query: &PastIncidentQuery) -> Result<PastIncidentPage, DecisionLogError> {
    let limit = query.limit.clamp(1, MAX_LIMIT);
    let (mut conditions, mut values): (Vec<String>, Vec<Value>) = (vec!["1".into()], Vec::new());
    let mut and = |condition: &str, value: Value| {
        conditions.push(condition.to_owned());
        values.push(value);
    };
    let millis = |at: Timestamp| Value::Integer(at.as_millis());
    if let Some(since) = query.since {
        and("opened_at >= ?", millis(since));
    }
    if let Some(until) = query.until {
        and("opened_at < ?", millis(until));
    }
    if let Some(closed) = query.closed_since {
        and("ifnull(closed_at, opened_at) >= ?", millis(closed));
    }
    if let Some(before) = query.before {
        and("id < ?", Value::Integer(before.cast_signed()));
    }
    if let Some(receiver) = &query.receiver {
        and("receiver = ?", receiver.clone().into());
    }
    if let Some(observed) = query.observed {
        and("observed = ?", i64::from(observed).into());
    }
    if let Some(open) = query.open {
        and("(closed_at IS NULL) = ?", i64::from(open).into());
    }
    for word in &query.words {
        and("instr(lower(title || ' ' || receiver || ' ' || severity), ?) > 0", word.to_lowercase().into());
    }
    let alerts: Option<HashSet<i64>> = match query.matchers.is_empty() {
        true => None,
        false => {
            let wanted = DecisionQuery { matchers: query.matchers.clone(), ..DecisionQuery::default() };
            search::alerts(conn, &wanted)?.map(|ids| ids.into_iter().collect())
        }
    };
    let sql = format!("SELECT {COLUMNS} FROM history WHERE {} ORDER BY id DESC", conditions.join(" AND "));
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let (mut incidents, mut last, mut more) = (Vec::new(), None, false);
    while let Some(row) = rows.next()? {
        let incident = past(row)?;
        if let Some(wanted) = &alerts
            && !has_one_of(conn, &incident, wanted)?
        {
            continue;
        }
        if incidents.len() == limit {
            more = true;
            break;
        }
        last = Some(row.get::<_, i64>(0)?);
        incidents.push(incident);
    }
    let next = last.filter(|_| more).map(|id| id.to_string());
    Ok(PastIncidentPage { times: Times::of(&incidents), incidents, next })
}

/// Whether an incident has one of these alerts.
fn has_one_of(
    conn: &Connection,
    incident: &PastIncident,
    wanted: &HashSet<i64>,
) -> Result<bool, rusqlite::Error> {
    let mut statement = conn.prepare_cached(
        "SELECT DISTINCT d.alert FROM decision d JOIN incident i ON i.id = d.incident WHERE i.dedup_key = ?",
    )?;
    let mut rows = statement.query([&incident.dedup_key])?;
    while let Some(row) = rows.next()? {
        if wanted.contains(&row.get(0)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(in crate::decision_log) fn named(
    conn: &Connection,
    wanted: &WhichIncident,
) -> Result<NamedIncident, DecisionLogError> {
    let (mut sql, mut values) = (format!("SELECT {COLUMNS}, opened FROM history WHERE"), Vec::new());
    match wanted.key.len() {
        64 => {
            sql.push_str(" key = ?");
            values.push(Value::from(wanted.key.clone()));
        }
        _ => {
            // All keys with this beginning stand between it and the next one.
            sql.push_str(" key >= ? AND key < ?");
            values.extend([wanted.key.clone().into(), format!("{}g", wanted.key).into()]);
        }
    }
    if let Some(number) = wanted.number {
        sql.push_str(" AND number = ?");
        values.push(number.cast_signed().into());
    }
    if let Some(observed) = wanted.observed {
        sql.push_str(" AND observed = ?");
        values.push(i64::from(observed).into());
    }
    sql.push_str(" ORDER BY id DESC");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found: Option<(i64, PastIncident, String)> = None;
    let mut keys = BTreeSet::new();
    while let Some(row) = rows.next()? {
        keys.insert(row.get::<_, String>(2)?);
        if found.is_none() {
            found = Some((row.get(0)?, past(row)?, row.get(17)?));
        }
        if keys.len() > CANDIDATES {
            break;
        }
    }
    let Some((id, incident, opened)) = found else { return Ok(NamedIncident::None) };
    if keys.len() > 1 {
        return Ok(NamedIncident::Several(keys.into_iter().take(CANDIDATES).collect()));
    }
    let opened: IncidentOpened =
        serde_json::from_str(&opened).map_err(|e| DecisionLogError::Failed(e.to_string()))?;
    let (changes, left_out) = changes(conn, id)?;
    let mut rules: Vec<IncidentRuleEntry> = Vec::new();
    for (_, change) in &changes {
        let issued = match change {
            IncidentChange::Opened(opened) => &opened.issued,
            IncidentChange::Issued(issued) => issued,
            _ => continue,
        };
        rules.extend(issued.rules.iter().map(IncidentRuleEntry::from));
    }
    Ok(NamedIncident::One(Box::new(PastIncidentDetail {
        group_key: opened.group_key.to_string(),
        generation: opened.generation,
        group_labels: opened.group_labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
        route: opened.route.to_string(),
        origin: opened.origin.to_string(),
        supersedes: opened.supersedes,
        rules,
        alerts: alerts(conn, &incident)?,
        incident,
        events: events(changes),
        left_out,
    })))
}

/// The changes as people read them. A late acceptance says how late it is.
fn events(changes: Changes) -> Vec<EventEntry> {
    let mut issued = None;
    let event = |(at, change): (Timestamp, IncidentChange)| {
        let late = match &change {
            IncidentChange::Opened(_) | IncidentChange::Issued(_) | IncidentChange::Escalated { .. } => {
                issued = Some(at);
                None
            }
            IncidentChange::Accepted(of) if of.kind == Kind::Page => {
                issued.map(|issued| at.since(issued)).filter(|late| *late >= LATE)
            }
            _ => None,
        };
        let mut entry = event(at, change);
        if let Some(late) = late {
            entry.text.push_str(&format!(", {} after the decision", whole_seconds(late)));
        }
        entry
    };
    changes.into_iter().map(event).collect()
}

/// The alerts of an incident, as far as the decisions about them are kept. A key can have had an earlier
/// incident, so only the decisions of its time count. In observe mode two incidents can have the key, so only
/// the decisions of its side count.
fn alerts(conn: &Connection, of: &PastIncident) -> Result<Vec<IncidentAlertEntry>, DecisionLogError> {
    let from = (of.started_at - AROUND).as_millis();
    let to = of.closed_at.map_or(i64::MAX, |at| (at + AROUND).as_millis());
    let mut read = conn.prepare_cached(
        "SELECT a.alert, a.labels, min(ifnull(d.starts_at, d.at)) AS started, max(d.at), sum(d.count)
         FROM decision d JOIN incident i ON i.id = d.incident JOIN alert a ON a.id = d.alert
              JOIN kind k ON k.id = d.kind
         WHERE i.dedup_key = ? AND d.at BETWEEN ? AND ? AND (k.name LIKE ? || '%') = ? GROUP BY d.alert ORDER BY started, d.alert LIMIT ?",
    )?;
    let rows = read.query_map(params![of.dedup_key, from, to, OBSERVED, of.observed, ALERTS], |row| {
        let (id, labels): ([u8; 16], String) = (row.get(0)?, row.get(1)?);
        Ok(IncidentAlertEntry {
            id: AlertId(u128::from_be_bytes(id)).to_string(),
            labels: serde_json::from_str(&labels).unwrap_or_default(),
            started_at: Timestamp::from_millis(row.get(2)?),
            last_at: Timestamp::from_millis(row.get(3)?),
            observations: row.get::<_, i64>(4)?.unsigned_abs(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

type Changes = Vec<(Timestamp, IncidentChange)>;

/// The events of an incident, and how many the list leaves out.
fn changes(conn: &Connection, id: i64) -> Result<(Changes, u64), DecisionLogError> {
    let all: i64 = conn
        .prepare_cached("SELECT count(*) FROM history_event WHERE history = ?")?
        .query_row([id], |row| row.get(0))?;
    let mut read = conn.prepare_cached(
        "SELECT at, change FROM (
             SELECT id, at, change FROM
                 (SELECT * FROM history_event WHERE history = ?1 ORDER BY id LIMIT ?2 / 2)
             UNION SELECT id, at, change FROM
                 (SELECT * FROM history_event WHERE history = ?1 ORDER BY id DESC LIMIT ?2 / 2)
         ) ORDER BY id",
    )?;
    let rows = read.query_map([id, EVENTS], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
    let mut changes = Vec::new();
    for row in rows {
        let (at, change) = row?;
        let change = serde_json::from_str(&change).map_err(|e| DecisionLogError::Failed(e.to_string()))?;
        changes.push((Timestamp::from_millis(at), change));
    }
    let left_out = all.unsigned_abs().saturating_sub(changes.len() as u64);
    Ok((changes, left_out))
}

fn past(row: &Row<'_>) -> Result<PastIncident, rusqlite::Error> {
    let time = |at: Option<i64>| at.map(Timestamp::from_millis);
    let number = |n: i64| n.unsigned_abs();
    Ok(PastIncident {
        number: number(row.get(1)?),
        dedup_key: row.get(2)?,
        receiver: row.get(3)?,
        observed: row.get(4)?,
        started_at: Timestamp::from_millis(row.get(5)?),
        opened_at: Timestamp::from_millis(row.get(6)?),
        notified_at: time(row.get(7)?),
        acknowledged_at: time(row.get(8)?),
        acknowledged_by: row.get(9)?,
        closed_at: time(row.get(10)?),
        successor: row.get::<_, Option<i64>>(11)?.map(number),
        useful: row.get(12)?,
        title: row.get(13)?,
        severity: row.get(14)?,
        firing: number(row.get(15)?),
        size: number(row.get(16)?),
    })
}
