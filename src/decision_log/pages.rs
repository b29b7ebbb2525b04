//! The pages that interrupted people. *On-call*, *Noise*, the report and the page budgets count them alike.
//!
//! An incident pages its receiver once, also an incident about Squelch itself. It pages each second receiver
//! once: an escalation, or a fallback. An incident of a profile that observes pages no receiver.

use std::collections::{HashMap, HashSet};

use rusqlite::Connection;

use super::{DecisionLogError, Reader, RuleIncident};
use crate::model::{IncidentChange, Kind, Timestamp};

/// So many incidents are read, the newest.
const MOST: usize = 100_000;

/// A page that interrupted a person.
#[derive(Clone, Debug, PartialEq)]
pub struct SentPage {
    /// When it was decided. For a fallback, when its receiver accepted it.
    pub at: Timestamp,
    /// The receiver that got it.
    pub receiver: String,
    /// The incident, as the decision log numbers it.
    pub(super) incident: i64,
    /// The name of the rule whose alert opened the incident, or of the problem of Squelch.
    pub rule: String,
    /// Whether the incident is about Squelch itself.
    pub internal: bool,
    /// Whether it went to a second receiver: an escalation, or a fallback.
    pub second: bool,
    /// Whether a person acknowledged the incident.
    pub(super) acknowledged: bool,
    /// When the incident closed.
    pub(super) closed_at: Option<Timestamp>,
    /// Whether another incident took its place.
    pub(super) superseded: bool,
    /// Whether a person found the page useful.
    pub(super) useful: Option<bool>,
}

/// The pages of the incidents that were open in a time.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// The pages. Those of an incident that opened before the time are among them.
    pub(super) all: Vec<SentPage>,
    /// From when on the list has all of them, if there are too many for one query.
    pub(super) cut_at: Option<Timestamp>,
}

impl SentPage {
    /// The incident of a page, as a report counts it.
    pub(super) fn incident(&self) -> RuleIncident {
        RuleIncident {
            rule: self.rule.clone(),
            opened_at: self.at,
            acknowledged: self.acknowledged,
            self_resolved: self.closed_at.is_some() && !self.superseded && !self.acknowledged,
            useful: self.useful,
        }
    }
}

/// A part of a sentence about pages: how many of them a reader may not expect. `None` if there are none.
pub fn of_them(internal: u64, second: u64) -> Option<String> {
    let parts = [
        (second, format!("{second} of them by escalation or fallback")),
        (internal, format!("{internal} of them about Squelch itself")),
    ];
    let parts: Vec<String> =
        parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

impl Reader {
    /// The pages from `since` on and before `until`.
    ///
    /// # Errors
    /// There is no decision log, it cannot be read, or the search takes longer than 5 s.
    pub fn pages(&self, since: Timestamp, until: Timestamp) -> Result<Vec<SentPage>, DecisionLogError> {
        let pages = self.with(|conn| Ok(read(conn, since, until)?))?.all;
        Ok(pages.into_iter().filter(|page| (since..until).contains(&page.at)).collect())
    }
}

/// The pages of the incidents that opened before `until` and had not closed before `since`.
pub(super) fn read(conn: &Connection, since: Timestamp, until: Timestamp) -> Result<Pages, rusqlite::Error> {
    const OPEN: &str = "NOT h.observed AND h.opened_at < ?1 AND ifnull(h.closed_at, ?2) >= ?2";
    let time = [until.as_millis(), since.as_millis()];
    let mut own = conn.prepare_cached(&format!(
        "SELECT h.id, h.opened_at, h.receiver, coalesce(json_extract(h.opened, '$.issued.rules[0].name'),
             json_extract(h.opened, '$.group_labels.alertname'), ''),
             json_extract(h.opened, '$.origin') = 'internal', h.acknowledged_at IS NOT NULL, h.closed_at,
             h.successor IS NOT NULL, h.useful
         FROM history h WHERE {OPEN} ORDER BY h.id DESC LIMIT {MOST}"
    ))?;
    let own = own.query_map(time, |row| {
        Ok(SentPage {
            incident: row.get(0)?,
            at: Timestamp::from_millis(row.get(1)?),
            receiver: row.get(2)?,
            rule: row.get(3)?,
            internal: row.get(4)?,
            second: false,
            acknowledged: row.get(5)?,
            closed_at: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_millis),
            superseded: row.get(7)?,
            useful: row.get(8)?,
        })
    })?;
    let mut all: Vec<SentPage> = own.collect::<Result<_, _>>()?;
    let cut_at = (all.len() >= MOST).then(|| all.last().map(|page| page.at)).flatten();
    let places: HashMap<i64, usize> = all.iter().enumerate().map(|(n, page)| (page.incident, n)).collect();
    // Most events are acceptances of the incident's own receiver. They are left out before they are parsed.
    let mut events = conn.prepare_cached(&format!(
        "SELECT e.history, e.at, e.change FROM history h JOIN history_event e ON e.history = h.id
         WHERE {OPEN} AND (substr(e.change, 1, 12) = '{{\"escalated\"' OR substr(e.change, 1, 11) = '{{\"accepted\"'
             AND instr(e.change, '\"receiver\":' || json_quote(h.receiver)) = 0)
         ORDER BY e.id"
    ))?;
    let mut rows = events.query(time)?;
    let mut known: HashSet<(i64, String)> = HashSet::new();
    while let Some(row) = rows.next()? {
        let (incident, at, change): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let to = match serde_json::from_str(&change) {
            Ok(IncidentChange::Escalated { to, .. }) => to,
            Ok(IncidentChange::Accepted(of)) if of.kind == Kind::Page => of.receiver,
            _ => continue,
        };
        let Some(own) = places.get(&incident).map(|place| &all[*place]) else { continue };
        if own.receiver != to.as_str() && known.insert((incident, to.to_string())) {
            let (at, receiver) = (Timestamp::from_millis(at), to.to_string());
            all.push(SentPage { at, receiver, second: true, ..own.clone() });
        }
    }
    Ok(Pages { all, cut_at })
}

/// From when on Squelch has decisions or incidents. `None` if it has none.
pub(super) fn known_since(conn: &Connection) -> Result<Option<Timestamp>, rusqlite::Error> {
    let decided = first_decision(conn)?;
    let opened: Option<i64> = conn.query_row("SELECT min(opened_at) FROM history", [], |row| row.get(0))?;
    Ok(decided.into_iter().chain(opened.map(Timestamp::from_millis)).min())
}

/// The time of the first decision that Squelch still has.
pub(super) fn first_decision(conn: &Connection) -> Result<Option<Timestamp>, rusqlite::Error> {
    let oldest: Option<i64> = conn.query_row("SELECT min(id), at FROM decision", [], |row| row.get(1))?;
    Ok(oldest.map(Timestamp::from_millis))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A page of the rule `Disk`.
    pub(in super::super) fn page(at: Timestamp, receiver: &str) -> SentPage {
        SentPage {
            at,
            receiver: receiver.into(),
            incident: 1,
            rule: "Disk".into(),
            internal: false,
            second: false,
            acknowledged: false,
            closed_at: None,
            superseded: false,
            useful: None,
        }
    }

    #[test]
    fn a_sentence_names_the_pages_that_a_reader_may_not_expect() {
        assert_eq!(of_them(0, 0), None);
        assert_eq!(of_them(1, 0).as_deref(), Some("1 of them about Squelch itself"));
        assert_eq!(
            of_them(1, 9).as_deref(),
            Some("9 of them by escalation or fallback, 1 of them about Squelch itself")
        );
    }
}
