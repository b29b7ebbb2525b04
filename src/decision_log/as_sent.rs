//! The pages of a sender beside an incident that a profile only observed.
//!
//! In observe mode people see the incidents of the sender, which Squelch passes on. A review of an incident
//! that Squelch would have opened says when these paged, and who acknowledged them.

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::incidents::{AROUND, named};
use super::write::OBSERVED;
use super::{DecisionLogError, EventEntry, NamedIncident, PastIncident, WhichIncident};

/// So many incidents of the sender are listed.
const MOST: i64 = 5;

/// An incident of the sender, as Squelch passed it on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = IncidentAsSent)]
#[serde(rename_all = "camelCase")]
pub struct AsSentEntry {
    /// The incident.
    pub incident: PastIncident,
    /// Its events, the oldest first. At most 2,000.
    pub events: Vec<EventEntry>,
}

/// The incidents of the sender that have an alert of `incident`, the earliest first. An incident that is not
/// only observed has none.
pub(super) fn as_sent(
    conn: &Connection,
    incident: &PastIncident,
) -> Result<Vec<AsSentEntry>, DecisionLogError> {
    if !incident.observed {
        return Ok(Vec::new());
    }
    let from = (incident.started_at - AROUND).as_millis();
    let to = incident.closed_at.map_or(i64::MAX, |at| (at + AROUND).as_millis());
    let mut read = conn.prepare_cached(
        "WITH own AS (
             SELECT DISTINCT d.alert FROM decision d JOIN incident i ON i.id = d.incident JOIN kind k ON k.id = d.kind
             WHERE i.dedup_key = ?1 AND d.at BETWEEN ?2 AND ?3 AND k.name LIKE ?4 || '%')
         SELECT h.number, h.key FROM history h
         WHERE NOT h.observed AND h.receiver = ?5 AND h.opened->>'$.origin' = 'sender'
             AND h.opened_at <= ?3 AND ifnull(h.closed_at, ?3) >= ?2
             AND EXISTS (
                 SELECT 1 FROM own JOIN decision d ON d.alert = own.alert JOIN incident i ON i.id = d.incident
                     JOIN kind k ON k.id = d.kind
                 WHERE i.dedup_key = h.key AND d.at BETWEEN ?2 AND ?3 AND k.name NOT LIKE ?4 || '%')
         ORDER BY h.id LIMIT ?6",
    )?;
    let asked = params![incident.dedup_key, from, to, OBSERVED, incident.receiver, MOST];
    let rows = read.query_map(asked, |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))?;
    let mut found = Vec::new();
    for row in rows {
        let (number, key) = row?;
        let wanted = WhichIncident { key, number: Some(number.unsigned_abs()), observed: Some(false) };
        if let NamedIncident::One(detail) = named(conn, &wanted)? {
            found.push(AsSentEntry { incident: detail.incident, events: detail.events });
        }
    }
    Ok(found)
}

/// The first of the sender's incidents that told people of `incident`: its page was accepted after the start.
/// If there is none, it is the first that was open already.
pub(super) fn first_page<'a>(incident: &PastIncident, sent: &'a [AsSentEntry]) -> Option<&'a PastIncident> {
    let told = |one: &&PastIncident| one.notified_at.is_some_and(|at| at >= incident.started_at);
    let incidents = || sent.iter().map(|one| &one.incident);
    incidents().filter(told).min_by_key(|one| one.notified_at).or_else(|| incidents().next())
}
