//! Swim-lanes: the decisions about alerts over time, one lane for each alert and receiver.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::text;
use crate::decision_log::DecisionEntry;
use crate::model::Timestamp;

/// The most lanes of one drawing.
const MOST: usize = 12;
/// Heights in pixels: a lane with the name above it, and the middle of the lane.
const HEIGHT: usize = 34;
const MIDDLE: usize = 24;

/// Draws `entries`, which stand newest first, with the newest lane on top.
pub(super) fn draw(entries: &[DecisionEntry]) -> Markup {
    let mut lanes: Vec<(&DecisionEntry, Vec<&DecisionEntry>)> = Vec::new();
    for entry in entries {
        let same =
            |(first, _): &(&DecisionEntry, _)| first.alert == entry.alert && first.receiver == entry.receiver;
        match lanes.iter().position(same) {
            Some(index) => lanes[index].1.push(entry),
            None if lanes.len() < MOST => lanes.push((entry, vec![entry])),
            None => {}
        }
    }
    let times = lanes.iter().flat_map(|(_, lane)| lane.iter().map(|entry| entry.at));
    let starts = lanes.iter().flat_map(|(_, lane)| lane.iter().filter_map(|entry| entry.starts_at));
    let (Some(first), Some(last)) = (times.clone().min(), times.max()) else { return html! {} };
    // An early start does not press the rest together.
    let oldest = first - (last.since(first)).max(crate::model::Duration::from_mins(1));
    let first = starts.min().unwrap_or(first).max(oldest).min(first);
    let x = |at: Timestamp| text::share(at, first, last);
    html! {
        figure.lanes {
            svg width="100%" height=(lanes.len() * HEIGHT) role="img" aria-label=(format!("{} alerts over time. The table has the same in words", lanes.len())) {
                @for (row, (head, lane)) in lanes.iter().enumerate() {
                    @let y = row * HEIGHT + MIDDLE;
                    text x="0" y=(y - 11) { (name(head)) }
                    line.rule x1="0" x2="100%" y1=(y) y2=(y) {}
                    @for (from, to) in occurrences(lane) {
                        (text::bar("track", (x(from), x(to)), (y - 4, 8), html! {}))
                    }
                    @for entry in lane.iter().rev() {
                        circle class=(if entry.observed { "observed" } else { &entry.disposition })
                            cx=(format!("{:.2}%", x(entry.at))) cy=(y)
                            r=(if entry.disposition == "page" { 6 } else { 4 }) {
                            (text::mark(entry.at, &text::tame(&said(entry), 200)))
                        }
                    }
                }
            }
            p.ends { (text::moment(first)) (text::moment(last)) }
            figcaption {
                span.state.paged { "page" } " " span.state.held { "update" } " " span.state.resolving { "resolve" } " "
                span.state { "suppressed" } @if entries.iter().any(|entry| entry.observed) { " " span.state.observed
                    { "only observed" } } " · a bar: the occurrence, from its start to its last statement"
            }
        }
    }
}

fn name(entry: &DecisionEntry) -> String {
    let name = entry.labels.get("alertname").map_or("", String::as_str);
    let other = entry.labels.iter().find(|(label, _)| matches!(label.as_str(), "instance" | "host" | "pod"));
    let other = other.map_or(String::new(), |(_, value)| format!(" {value}"));
    let mut named = format!("{name}{other}");
    if named.is_empty() {
        let pairs: Vec<String> =
            entry.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        named = pairs.join(" ");
    }
    text::tame(&named, 50)
}

fn said(entry: &DecisionEntry) -> String {
    let would = if entry.observed { "only observed: " } else { "" };
    format!("{would}{}: {}", entry.reason.as_ref().unwrap_or(&entry.disposition), entry.rule)
}

/// Each occurrence, from its start to the last entry about it.
fn occurrences(lane: &[&DecisionEntry]) -> BTreeMap<Timestamp, Timestamp> {
    let mut spans = BTreeMap::new();
    for entry in lane {
        if let Some(start) = entry.starts_at {
            let end = spans.entry(start).or_insert(entry.at);
            *end = entry.at.max(*end);
        }
    }
    spans
}
