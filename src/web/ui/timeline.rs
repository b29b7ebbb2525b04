//! The timeline of an incident: a drawing with lanes for alerts, decisions, deliveries and people, and the
//! same in words.

use maud::{Markup, html};

use super::text;
use crate::decision_log::{EventEntry, IncidentAlertEntry, PastIncidentDetail};
use crate::model::{Duration, Timestamp};

/// The most bars of alerts in one drawing.
const BARS: usize = 8;
/// Heights in pixels: a bar of an alert, a lane, and the name above it.
const BAR: usize = 9;
const LANE: usize = 20;
const NAME: usize = 18;

/// The lanes of events, by their names in the API and in the drawing.
const LANES: [(&str, &str); 3] =
    [("decision", "Decisions"), ("delivery", "Deliveries"), ("person", "People")];

/// The drawing. The bars of open incidents end at `now`.
pub(super) fn draw(now: Timestamp, detail: &PastIncidentDetail) -> Markup {
    let PastIncidentDetail { incident, alerts, events, .. } = detail;
    let end = incident.closed_at.unwrap_or(now);
    let last = events.iter().map(|event| event.at).max().unwrap_or(end).max(end).max(incident.opened_at);
    // An alert that began long before does not press the rest together.
    let oldest = incident.opened_at - last.since(incident.opened_at).max(Duration::from_mins(1));
    let first = incident.started_at.max(oldest).min(incident.opened_at);
    let x = |at: Timestamp| text::share(at, first, last);
    let of_all = incident.size.max(alerts.len() as u64);
    let from = NAME + alerts.len().clamp(1, BARS) * BAR + 8;
    let height = from + LANES.len() * (NAME + LANE);
    let described =
        format!("{} events and {of_all} alerts over time. The list below has the same.", events.len());
    html! {
        figure.lanes.story {
            svg width="100%" height=(height) role="img" aria-label=(described) {
                text x="0" y="13" { "Alerts" }
                @for (row, alert) in alerts.iter().take(BARS).enumerate() {
                    @let until = if incident.closed_at.is_none() { last } else { alert.last_at.min(end) };
                    @let title = text::mark(alert.started_at, &text::tame(&name(alert), 120));
                    (text::bar("fires", (x(alert.started_at), x(until)), (NAME + row * BAR, BAR - 2), title))
                }
                @if alerts.is_empty() {
                    (text::bar("track", (x(incident.started_at), x(end)), (NAME, BAR - 2), html! {}))
                }
                @for (row, (lane, called)) in LANES.iter().enumerate() {
                    @let y = from + row * (NAME + LANE);
                    text x="0" y=(y + 13) { (called) }
                    line.rule x1="0" x2="100%" y1=(y + NAME + LANE / 2) y2=(y + NAME + LANE / 2) {}
                    @for event in events.iter().filter(|event| event.lane == *lane) {
                        circle class=(class(event)) cx=(format!("{:.2}%", x(event.at))) cy=(y + NAME + LANE / 2)
                            r="6" {
                            (text::mark(event.at, &text::tame(&event.text, 200)))
                        }
                    }
                }
            }
            p.ends { (text::moment(first)) (text::moment(last)) }
            @if alerts.len() > BARS { figcaption { "The first " (BARS) " of " (of_all) " alerts are drawn." } }
        }
    }
}

/// The list, the newest first.
pub(super) fn list(now: Timestamp, detail: &PastIncidentDetail) -> Markup {
    html! {
        ol.story reversed {
            @for event in detail.events.iter().rev() {
                li { (text::short(now, event.at)) " " span class=(format!("state {}", tag(event))) { (word(event)) } " "
                    (text::sentence(&event.text)) }
            }
        }
        @if detail.left_out > 0 { p.dim { (detail.left_out) " events in the middle are left out." } }
    }
}

fn name(alert: &IncidentAlertEntry) -> String {
    let labels = alert.labels.iter().filter(|(label, _)| *label != "alertname");
    let labels: Vec<String> = labels.map(|(label, value)| format!("{label}={value}")).collect();
    let name = alert.labels.get("alertname").map_or("", String::as_str);
    format!("{name} {} begins", labels.join(" "))
}

/// The colour of an event in the drawing.
fn class(event: &EventEntry) -> &'static str {
    match event.event.as_str() {
        "opened" | "refused" | "failed" => "page",
        "closed" | "accepted" | "acknowledged" | "useful" => "resolve",
        "issued" | "note" => "update",
        _ => "suppressed",
    }
}

/// The colour of an event in the list.
fn tag(event: &EventEntry) -> &'static str {
    match class(event) {
        "page" => "paged",
        "resolve" => "resolving",
        "update" => "held",
        _ => "",
    }
}

fn word(event: &EventEntry) -> String {
    match event.event.as_str() {
        "opened" => "page".into(),
        "issued" => "update".into(),
        other => other.replace('_', " "),
    }
}
