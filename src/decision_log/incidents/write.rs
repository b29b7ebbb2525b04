//! Writing: the events of incidents become rows of `history` and `history_event`.

use rusqlite::{OptionalExtension, Transaction, params};

use crate::model::{Duration, IncidentChange, IncidentRecord, Kind, RemarkContent, Timestamp};

/// An incident is kept for so long after it opened: thirteen months, so that a year can be compared.
const KEPT: Duration = Duration::from_hours(400 * 24);
/// So many incidents leave in one transaction.
const PRUNED: i64 = 1_000;

/// Writes one record. A record of an incident that the log does not know is left out.
pub(in crate::decision_log) fn add(
    tx: &Transaction<'_>,
    record: &IncidentRecord,
) -> Result<(), rusqlite::Error> {
    let at = record.at.as_millis();
    let number = record.incident.cast_signed();
    if let IncidentChange::Opened(opened) = &record.change {
        let issued = &opened.issued;
        tx.prepare_cached(
            "INSERT INTO history (number, key, receiver, observed, started_at, opened_at, title, severity,
                 firing, alerts, opened)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            number,
            record.key.as_str(),
            opened.receiver.as_str(),
            opened.observed,
            opened.started_at.as_millis(),
            at,
            issued.title,
            issued.severity.as_str(),
            count(issued.firing),
            count(issued.alerts),
            serde_json::to_string(opened).unwrap_or_default(),
        ])?;
    }
    let known: Option<i64> = tx
        .prepare_cached("SELECT id FROM history WHERE number = ? AND key = ? ORDER BY id DESC LIMIT 1")?
        .query_row(params![number, record.key.as_str()], |row| row.get(0))
        .optional()?;
    let Some(id) = known else { return Ok(()) };
    match &record.change {
        IncidentChange::Opened(_)
        | IncidentChange::Failed { .. }
        | IncidentChange::Refused { .. }
        | IncidentChange::Recalled { .. }
        | IncidentChange::Escalated { .. } => {}
        IncidentChange::Issued(issued) => {
            tx.prepare_cached(
                "UPDATE history SET title = iif(?1 > alerts, ?2, title), severity = ?3, firing = ?4, alerts = ?1
                 WHERE id = ?5",
            )?
            .execute(params![
                count(issued.alerts),
                issued.title,
                issued.severity.as_str(),
                count(issued.firing),
                id
            ])?;
        }
        IncidentChange::Accepted(of) if of.kind == Kind::Page => {
            tx.prepare_cached("UPDATE history SET notified_at = ifnull(notified_at, ?) WHERE id = ?")?
                .execute(params![at, id])?;
        }
        IncidentChange::Accepted(_) => {}
        IncidentChange::Acknowledged { by: Some(by) } => {
            tx.prepare_cached(
                "UPDATE history SET acknowledged_at = ifnull(acknowledged_at, ?), acknowledged_by = ?
                 WHERE id = ?",
            )?
            .execute(params![at, by.as_str(), id])?;
        }
        IncidentChange::Acknowledged { by: None } => {
            tx.prepare_cached(
                "UPDATE history SET acknowledged_at = NULL, acknowledged_by = NULL WHERE id = ?",
            )?
            .execute([id])?;
        }
        IncidentChange::Remarked(remark) => {
            if let RemarkContent::Useful(useful) = remark.said {
                tx.prepare_cached("UPDATE history SET useful = ? WHERE id = ?")?
                    .execute(params![useful, id])?;
            }
        }
        IncidentChange::Closed { successor, .. } => {
            tx.prepare_cached("UPDATE history SET closed_at = ?, successor = ?, firing = 0 WHERE id = ?")?
                .execute(params![at, successor.map(u64::cast_signed), id])?;
        }
    }
    let change = serde_json::to_string(&record.change).unwrap_or_default();
    tx.prepare_cached("INSERT INTO history_event (history, at, change) VALUES (?, ?, ?)")?
        .execute(params![id, at, change])?;
    Ok(())
}

/// Removes incidents that are too old, and the oldest if there is no room. Returns how many left.
pub(in crate::decision_log) fn prune(
    tx: &Transaction<'_>,
    now: Timestamp,
    no_room: bool,
) -> Result<usize, rusqlite::Error> {
    let before = if no_room { i64::MAX } else { (now - KEPT).as_millis() };
    let limit = if no_room { PRUNED / 10 } else { PRUNED };
    let old =
        "SELECT id FROM history WHERE opened_at < ?1 AND closed_at IS NOT NULL ORDER BY opened_at LIMIT ?2";
    tx.execute(&format!("DELETE FROM history_event WHERE history IN ({old})"), [before, limit])?;
    tx.execute(&format!("DELETE FROM history WHERE id IN ({old})"), [before, limit])
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
