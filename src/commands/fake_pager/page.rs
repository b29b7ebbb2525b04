//! The page of the fake pager: its incidents and messages, newest first. It needs no script.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Response, header};
use maud::{Markup, PreEscaped, html};

use super::state::{Incident, State, clock};
use crate::model::Timestamp;
use crate::web::{html_document, span, tame};

/// Rows of each list.
const ROWS: usize = 200;
/// Characters of one text.
const CUT: usize = 300;

const STYLE: &str = include_str!("page.css");

/// The page as an answer. It loads itself again every 2 s.
pub fn answer(state: &State, now: Timestamp) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(page(state, now).into_string())));
    let html = header::HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response
}

fn page(state: &State, now: Timestamp) -> Markup {
    let (incidents, messages) = (state.incidents(), state.messages());
    let open = incidents.iter().filter(|incident| incident.closed_at.is_none()).count();
    let waiting = if open > 0 { format!("({open}) ") } else { String::new() };
    let head = html! {
        meta http-equiv="refresh" content="2";
        style { (PreEscaped(STYLE)) }
    };
    let body = html! {
        body {
            h1 { "Fake pager" }
            p { (open) " open, " (incidents.len()) " in all. As of " (clock(now)) ", every 2 s." }
            @if incidents.is_empty() { p { "No page has arrived yet." } }
            @else {
                table {
                    thead { tr { th { "State" } th { "Severity" } th { "Summary" } th { "Opened" } th { "Closed" }
                        th { "Events" } th { "Key" } } }
                    tbody { @for incident in incidents.iter().rev().take(ROWS) { (row(incident, now)) } }
                }
            }
            @if !messages.is_empty() {
                h2 { "Messages" }
                ul { @for message in messages.iter().rev().take(ROWS) {
                    li { (clock(message.at)) " " bdi { (tame(&message.title, CUT)) } }
                } }
            }
        }
    };
    html_document(&format!("{waiting}Fake pager"), head, body)
}

fn row(incident: &Incident, now: Timestamp) -> Markup {
    let state = match incident {
        Incident { closed_at: Some(_), .. } => "closed",
        Incident { acknowledged: true, .. } => "acknowledged",
        _ => "open",
    };
    html! {
        tr {
            td class=(state) { (state) }
            td { bdi { (tame(&incident.severity, CUT)) } }
            td.summary { bdi { (tame(&incident.summary, CUT)) } }
            td data-label="Opened" { (clock(incident.opened_at)) " (" (span(now.since(incident.opened_at))) " ago)" }
            td data-label="Closed" { @if let Some(at) = incident.closed_at { (clock(at)) } @else { "-" } }
            td data-label="Events" { (incident.triggers) }
            td data-label="Key" { code { bdi { (tame(&incident.dedup_key, 12)) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::Trigger;
    use super::*;

    #[test]
    fn the_page_lists_incidents_with_their_state_and_escapes_texts() {
        let (mut state, now) = (State::default(), Timestamp::from_millis(83_001_000));
        assert!(page(&state, now).into_string().contains("No page has arrived yet"));
        let trigger = |key: &str, summary: &str| Trigger {
            scope: "s".into(),
            shown: "s".into(),
            key: key.into(),
            summary: summary.into(),
            severity: "critical".into(),
            details: serde_json::Value::Null,
        };
        for (key, summary) in [("a", "first"), ("b", "second"), ("c", "<script>")] {
            state.trigger(trigger(key, summary), now);
        }
        state.resolve("s", "a", now);
        state.acknowledge("s", "b", now);
        let text = page(&state, now).into_string();
        assert!(text.contains("(2) Fake pager") && !text.contains("<script"), "{text}");
        let found: Vec<usize> =
            ["open</td>", "acknowledged</td>", "closed</td>"].iter().map(|p| text.find(p).unwrap()).collect();
        assert!(found.is_sorted(), "the newest stands first: {text}");
        assert!(text.contains(r#"content: attr(data-label) ": ""#), "the style stands as it is: {text}");
    }
}
