//! The timeline of an incident: a drawing with lanes for alerts, decisions, deliveries and people, and the
//! same in words.

use maud::{Markup, html};

use super::text;
use crate::decision_log::{EventEntry, IncidentAlertEntry, PastIncidentDetail};
use crate::model::{Duration, Timestamp};

/// The most bars of alerts in one drawing.
const BARS: usize = 8;
const WIDTH: u64 = 1200;
const NAMES: u64 = 220;
const HEIGHT: u64 = 26;
const BAR: u64 = 9;

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
    let whole = last.since(first).as_millis().max(1);
    let x = |at: Timestamp| NAMES + at.since(first).as_millis().min(whole) * (WIDTH - NAMES - 12) / whole;
    let bars = alerts.len().clamp(1, BARS) as u64;
    let below = bars * BAR + 14;
    let height = below + LANES.len() as u64 * HEIGHT + 20;
    let described = format!(
        "{} events and {} alerts over time. The list below has the same.",
        events.len(),
        alerts.len()
    );
    html! {
        figure.lanes.story tabindex="0" {
            svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(described) {
                text x="0" y=(below / 2 + 4) { "Alerts" }
                @for (row, alert) in alerts.iter().take(BARS).enumerate() {
                    @let until = if incident.closed_at.is_none() { last } else { alert.last_at.min(end) };
                    rect.fires x=(x(alert.started_at)) y=(6 + row as u64 * BAR)
                        width=((x(until).saturating_sub(x(alert.started_at))).max(3)) height=(BAR - 2) rx="2" {
                        title { (text::tame(&name(alert), 120)) }
                    }
                }
                @if alerts.is_empty() {
                    @let from = x(incident.started_at);
                    @let width = x(end).saturating_sub(from).max(3);
                    rect.track x=(from) y="6" width=(width) height=(BAR - 2) rx="2" {}
                }
                @for (row, (lane, called)) in LANES.iter().enumerate() {
                    @let y = below + row as u64 * HEIGHT + HEIGHT / 2;
                    text x="0" y=(y + 4) { (called) }
                    line.rule x1=(NAMES) x2=(WIDTH) y1=(y) y2=(y) {}
                    @for event in events.iter().filter(|event| event.lane == *lane) {
                        circle class=(class(event)) cx=(x(event.at)) cy=(y) r="6" {
                            title { (second(event.at)) " " (text::tame(&event.text, 200)) }
                        }
                    }
                }
                text.dim x=(NAMES) y=(height - 4) { (second(first)) }
                text.dim x=(WIDTH) y=(height - 4) text-anchor="end" { (second(last)) }
            }
            @if alerts.len() > BARS { figcaption { "The first " (BARS) " of " (alerts.len()) " alerts are drawn." } }
        }
    }
}

/// The list, the newest first.
pub(super) fn list(detail: &PastIncidentDetail) -> Markup {
    html! {
        ol.story reversed {
            @for event in detail.events.iter().rev() {
                li { (text::moment(event.at)) " " span class=(format!("state {}", tag(event))) { (word(event)) } " "
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
    format!("{name} {} since {}", labels.join(" "), second(alert.started_at))
}

fn second(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis().div_euclid(1_000) * 1_000)
}

/// The colour of an event in the drawing.
fn class(event: &EventEntry) -> &'static str {
    match event.event.as_str() {
        "opened" | "refused" => "page",
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
