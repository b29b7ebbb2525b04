//! The review of an incident: its events, as a document for the people who learn from it.
//!
//! It is blameless: it names systems and times, and a person only where that person acknowledged the incident
//! or wrote a note. The sections that only people can write are there, and empty.

use std::fmt::Write;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::as_sent::{AsSentEntry, as_sent, first_page};
use super::incidents::named;
use super::{
    DecisionLogError, EventEntry, NamedIncident, PastIncident, PastIncidentDetail, Reader, WhichIncident,
    write::OBSERVED,
};
use crate::model::{Duration, Timestamp};

/// Other events count from this long before the start of the incident until this long after its end.
const AROUND: Duration = Duration::from_mins(30);
/// The number of rows of other events that are listed.
const ROWS: i64 = 30;

/// A review of one incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = IncidentReview)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// The incident, its alerts and its timeline.
    pub detail: PastIncidentDetail,
    /// From the start of its earliest alert to the first accepted page, in milliseconds. If Squelch only
    /// observed, it is the page of the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_notify_ms: Option<u64>,
    /// From the first accepted page to the acknowledgement, in milliseconds. If Squelch only observed, both
    /// are those of the sender's incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_acknowledge_ms: Option<u64>,
    /// From the start of its earliest alert to its end, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_resolve_ms: Option<u64>,
    /// Of an incident that Squelch only observed: the sender's incidents with one of its alerts, the earliest
    /// first, at most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub as_sent: Vec<AsSentEntry>,
    /// Squelch's decisions about other alerts from 30 minutes before the start until 30 minutes after the
    /// end. The most frequent come first, at most 30 rows.
    pub around: Vec<AroundEntry>,
}

/// Decisions about other alerts at the time of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AroundIncident)]
#[serde(rename_all = "camelCase")]
pub struct AroundEntry {
    /// The name of the alerts.
    pub name: String,
    /// `page`, `update`, `resolve` or `suppressed`.
    pub disposition: String,
    /// Why they were suppressed. Missing otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether Squelch only observed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observed: bool,
    /// How many observations.
    pub count: u64,
}

impl Reader {
    /// The review of the incident that `wanted` names.
    ///
    /// # Errors
    /// There is no decision log, it cannot be read, or the search takes longer than 5 s.
    pub fn review(&self, wanted: &WhichIncident) -> Result<NamedIncident<Review>, DecisionLogError> {
        self.with(|conn| {
            let detail = match named(conn, wanted)? {
                NamedIncident::None => return Ok(NamedIncident::None),
                NamedIncident::Several(keys) => return Ok(NamedIncident::Several(keys)),
                NamedIncident::One(detail) => *detail,
            };
            let incident = &detail.incident;
            let as_sent = as_sent(conn, incident)?;
            let around = around(conn, &detail, &as_sent)?;
            let ms = |time: Option<Duration>| time.map(Duration::as_millis);
            let shown = shown(incident, &as_sent);
            let notified = shown.and_then(|shown| shown.notified_at).filter(|at| *at >= incident.started_at);
            Ok(NamedIncident::One(Box::new(Review {
                time_to_notify_ms: ms(notified.map(|at| at.since(incident.started_at))),
                time_to_acknowledge_ms: ms(shown.and_then(PastIncident::time_to_acknowledge)),
                time_to_resolve_ms: ms(incident.time_to_resolve()),
                as_sent,
                around,
                detail,
            })))
        })
    }
}

/// The incident that people saw: itself, or in observe mode the sender's.
fn shown<'a>(incident: &'a PastIncident, as_sent: &'a [AsSentEntry]) -> Option<&'a PastIncident> {
    if incident.observed { first_page(incident, as_sent) } else { Some(incident) }
}

fn around(
    conn: &Connection,
    detail: &PastIncidentDetail,
    as_sent: &[AsSentEntry],
) -> Result<Vec<AroundEntry>, DecisionLogError> {
    let incident = &detail.incident;
    let from = super::search::first_from(conn, incident.started_at - AROUND)?;
    let to = match incident.closed_at {
        Some(closed) => super::search::first_from(conn, closed + AROUND)?,
        None => i64::MAX,
    };
    // The sender's incidents are about the same alerts.
    let keys = as_sent.iter().map(|one| one.incident.dedup_key.as_str());
    let keys: Vec<&str> = std::iter::once(incident.dedup_key.as_str()).chain(keys).collect();
    let keys = serde_json::to_string(&keys).unwrap_or_default();
    let mut read = conn.prepare_cached(
        "SELECT ifnull(a.labels->>'$.alertname', ''), k.name, sum(d.count) AS n
         FROM decision d JOIN alert a ON a.id = d.alert JOIN kind k ON k.id = d.kind
              LEFT JOIN incident i ON i.id = d.incident
         WHERE d.id >= ? AND d.id < ? AND ifnull(i.dedup_key, '') NOT IN (SELECT value FROM json_each(?))
         GROUP BY 1, 2 ORDER BY n DESC, 1, 2 LIMIT ?",
    )?;
    let rows = read.query_map(params![from, to, keys, ROWS], |row| {
        let kind: String = row.get(1)?;
        let real = kind.strip_prefix(OBSERVED);
        let (kind, observed) = (real.unwrap_or(&kind), real.is_some());
        let (disposition, reason) = match kind.split_once(' ') {
            Some((disposition, reason)) => (disposition, Some(reason.to_owned())),
            None => (kind, None),
        };
        Ok(AroundEntry {
            name: row.get(0)?,
            disposition: disposition.to_owned(),
            reason,
            observed,
            count: row.get::<_, i64>(2)?.unsigned_abs(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl Review {
    /// The review as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    /// Its events in the order of their times, and whether each is of an incident of the sender.
    fn events(&self) -> Vec<(&EventEntry, bool)> {
        let own = self.detail.events.iter().map(|event| (event, false));
        let sent = self.as_sent.iter().flat_map(|one| &one.events).map(|event| (event, true));
        let mut all: Vec<_> = own.chain(sent).collect();
        all.sort_by_key(|(event, _)| event.at);
        all
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let PastIncidentDetail { incident, rules, alerts, left_out, .. } = &self.detail;
        let (shown, events) = (shown(incident, &self.as_sent), self.events());
        // To the second, as the times.
        let whole = |ms: u64| Duration::from_secs(ms / 1_000).to_string();
        let length = |ms: Option<u64>| ms.map_or("–".to_owned(), whole);
        let utc = |at: Timestamp| format!("{} UTC", second(at));
        let when = |at: Option<Timestamp>| at.map_or("–".to_owned(), utc);
        writeln!(out, "# Review: {}\n", cell(&incident.title))?;
        writeln!(
            out,
            "Squelch wrote this review from its decision log. Please complete the empty sections. The review is \
             about systems and processes, and blames nobody.\n"
        )?;
        writeln!(out, "## Summary\n\n| | |\n| --- | --- |")?;
        let end = match (incident.closed_at, incident.successor) {
            (Some(at), None) => utc(at),
            (Some(at), Some(number)) => format!("{}, when incident {number} took its place", utc(at)),
            (None, _) => "still open".into(),
        };
        let acknowledged = shown.and_then(|one| one.acknowledged_by.as_ref().zip(one.acknowledged_at));
        let acknowledged = match acknowledged {
            Some((by, at)) => format!("{}, by {}", utc(at), cell(by)),
            None => match events.iter().rfind(|(event, _)| event.event == "unacknowledged") {
                Some((event, _)) => {
                    format!("no, because the acknowledgement was taken back at {}", utc(event.at))
                }
                None => "–".into(),
            },
        };
        let names = match incident.observed {
            false => [
                "Receiver accepted the page",
                "From the first alert to the accepted page",
                "From the accepted page to the acknowledgement",
            ],
            true => [
                "Receiver accepted the page of the sender",
                "From the first alert to the accepted page of the sender",
                "From that page to the acknowledgement",
            ],
        };
        for (name, value) in [
            ("Severity", cell(&incident.severity)),
            ("Receiver", cell(&incident.receiver)),
            ("First alert started", utc(incident.started_at)),
            (if incident.observed { "Squelch would have paged" } else { "Paged" }, utc(incident.opened_at)),
            (names[0], when(shown.and_then(|shown| shown.notified_at))),
            ("Acknowledged", acknowledged),
            ("Closed", end),
            ("Alerts", incident.size.to_string()),
        ] {
            writeln!(out, "| {name} | {value} |")?;
        }
        if incident.observed {
            let accepted = self.as_sent.iter().filter(|one| one.incident.notified_at.is_some()).count();
            let sent = match (self.as_sent.len(), accepted) {
                (0, _) => "Squelch knows of no page of the sender about these alerts".to_owned(),
                (_, 0) => "It passed on the page of the sender, and no receiver accepted that".to_owned(),
                (_, 1) => "People saw the page of the sender, which Squelch passed on".to_owned(),
                (_, n) => format!("People saw {n} pages of the sender, which Squelch passed on"),
            };
            writeln!(out, "\nThe profile only observed, so Squelch sent no page of its own. {sent}.")?;
        }
        writeln!(out, "\n## Impact\n")?;
        let until = incident.closed_at.map_or("now, because the incident is still open".to_owned(), utc);
        let whole = self.time_to_resolve_ms.map(|ms| format!(" ({})", whole(ms))).unwrap_or_default();
        writeln!(out, "Window: {} to {until}{whole}.\n", utc(incident.started_at))?;
        writeln!(out, "Who noticed it, and how?\n\n## Detection and response\n")?;
        writeln!(out, "| Time | Length |\n| --- | --- |")?;
        for (name, ms) in [
            (names[1], self.time_to_notify_ms),
            (names[2], self.time_to_acknowledge_ms),
            ("From the first alert to the end", self.time_to_resolve_ms),
        ] {
            writeln!(out, "| {name} | {} |", length(ms))?;
        }
        if let Some(useful) = incident.useful.or(shown.and_then(|shown| shown.useful)) {
            let word = if useful { "useful" } else { "not useful" };
            writeln!(out, "\nThe people on call found the page {word}.")?;
        }
        writeln!(out, "\n## Timeline\n\n| Time (UTC) | Kind | Event |\n| --- | --- | --- |")?;
        for (event, as_sent) in &events {
            let lane = if *as_sent { format!("{}, as sent", event.lane) } else { event.lane.clone() };
            writeln!(out, "| {} | {lane} | {} |", second(event.at), cell(&event.text))?;
        }
        if *left_out > 0 {
            writeln!(out, "\n{left_out} further events are left out.")?;
        }
        writeln!(out, "\n## Contributing alerts\n")?;
        match alerts.is_empty() {
            true => writeln!(out, "Squelch does not keep the decisions about them any more.")?,
            false => writeln!(
                out,
                "| Alert | Started | Last decision | Observations |\n| --- | --- | --- | --- |"
            )?,
        }
        for alert in alerts {
            let name = alert.labels.get("alertname").map_or("", String::as_str);
            let name = if name.is_empty() { NO_NAME } else { name };
            let others = alert.labels.iter().filter(|(label, _)| *label != "alertname");
            let others: Vec<String> = others.map(|(label, value)| format!("{label}={value}")).collect();
            let (started, last) = (second(alert.started_at), second(alert.last_at));
            let labels = cell(&others.join(", "));
            writeln!(out, "| **{}** {labels} | {started} | {last} | {} |", cell(name), alert.observations)?;
        }
        for rule in rules {
            writeln!(out, "\n**{}**", cell(&rule.name))?;
            for (name, value) in &rule.annotations {
                writeln!(out, "- {}: {}", cell(name), cell(value))?;
            }
            if !rule.generator_url.is_empty() {
                writeln!(out, "- rule: {}", cell(&rule.generator_url))?;
            }
        }
        writeln!(out, "\n## Signals and noise around it\n")?;
        match self.around.is_empty() {
            true => writeln!(
                out,
                "Squelch decided about no other alert from 30 minutes before to 30 minutes after."
            )?,
            false => {
                writeln!(
                    out,
                    "Other alerts from 30 minutes before the start to 30 minutes after the end:\n"
                )?;
                writeln!(out, "| Alert | Result | Observations |\n| --- | --- | --- |")?;
            }
        }
        for one in &self.around {
            let reason = one.reason.as_ref().map(|reason| format!(": {}", reason.replace('_', " ")));
            let observed = if one.observed { " (only observed)" } else { "" };
            let result = format!("{}{}{observed}", one.disposition, reason.unwrap_or_default());
            let name = if one.name.is_empty() { NO_NAME } else { &one.name };
            writeln!(out, "| {} | {result} | {} |", cell(name), one.count)?;
        }
        writeln!(out, "\n## Notes\n")?;
        let notes: Vec<_> =
            events.iter().filter_map(|(event, _)| Some((event, event.note.as_ref()?))).collect();
        if notes.is_empty() {
            writeln!(out, "There are none.")?;
        }
        for (event, note) in notes {
            let by = event.by.as_deref().unwrap_or_default();
            writeln!(out, "- {} {}: {}", second(event.at), cell(by), cell(note))?;
        }
        for section in ["What went well", "What went badly", "Where we were lucky", "What we learned"] {
            writeln!(out, "\n## {section}\n\n-")?;
        }
        writeln!(out, "\n## Actions\n\n| Action | Owner | Due |\n| --- | --- | --- |\n| | | |")
    }
}

/// A time to the second, UTC.
pub(super) fn second(at: Timestamp) -> String {
    let text = Timestamp::from_millis(at.as_millis().div_euclid(1_000) * 1_000).to_string();
    text.replace('T', " ").replace(".000Z", "").replace('Z', "")
}

/// The words for an alert without a name.
pub(super) const NO_NAME: &str = "(no name)";

/// Text of others in one line of Markdown: nothing in it is markup.
pub(super) fn cell(text: &str) -> String {
    let mut line = String::new();
    for c in text.trim().chars() {
        match c {
            '\n' | '\t' => line.push(' '),
            c if c.is_control() => {}
            '|' | '\\' | '`' | '*' | '_' | '<' | '>' | '[' | ']' | '#' => line.extend(['\\', c]),
            c => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_no_markup() {
        assert_eq!(cell(" a|b\n<img src=x> [x](y) "), "a\\|b \\<img src=x\\> \\[x\\](y)");
        assert_eq!(second(Timestamp::parse("2026-11-23T01:02:03.456Z").unwrap()), "2026-11-23 01:02:03");
    }
}
