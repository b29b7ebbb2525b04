//! *History*: incidents that are open or closed, and how long they took.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::Frame;
use super::{ROWS, text};
use crate::decision_log::{PastIncident, PastIncidentPage, PastIncidentQuery, Quantiles};
use crate::model::{Duration, Matcher, Timestamp};
use crate::web::app::App;
use crate::web::problem::Problem;
use crate::web::v1::{matchers, unsearched};

/// The times at the top are of so many incidents at most.
const TIMED: usize = 1_000;
/// The time spans of the page: a word for the address line, its name, and how far it looks back in hours.
const SPANS: [(&str, &str, u64); 4] =
    [("24h", "24 hours", 24), ("7d", "7 days", 168), ("30d", "30 days", 720), ("all", "all", 0)];

/// The parameters of the address line.
#[derive(Deserialize, Default)]
pub(in crate::web) struct HistoryPageParams {
    #[serde(default)]
    q: String,
    #[serde(default)]
    receiver: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    span: String,
    #[serde(default)]
    cursor: String,
}

/// The text of the search: words, or matchers.
pub(super) struct Searched {
    pub words: Vec<String>,
    pub matchers: Vec<Matcher>,
    /// Why the matchers cannot be read.
    pub wrong: Option<String>,
}

/// Reads a search. Text with an operator of a matcher is matchers, and other text is words.
pub(super) fn searched(text: &str) -> Searched {
    if !text.contains(['=', '~', '{']) {
        let words = text.split_whitespace().map(str::to_owned).collect();
        return Searched { words, matchers: Vec::new(), wrong: None };
    }
    match matchers(std::slice::from_ref(&text.to_owned())) {
        Ok(matchers) => Searched { words: Vec::new(), matchers, wrong: None },
        Err(problem) => {
            let why = problem.detail.trim_start_matches("filter: ");
            let wrong = Some(format!("Squelch cannot read these matchers: {why}"));
            Searched { words: Vec::new(), matchers: Vec::new(), wrong }
        }
    }
}

impl HistoryPageParams {
    fn span(&self) -> &'static (&'static str, &'static str, u64) {
        SPANS.iter().find(|(word, ..)| *word == self.span).unwrap_or(&SPANS[1])
    }

    fn query(&self, now: Timestamp, searched: &Searched) -> PastIncidentQuery {
        let hours = self.span().2;
        PastIncidentQuery {
            words: searched.words.clone(),
            matchers: searched.matchers.clone(),
            receiver: Some(self.receiver.clone()).filter(|receiver| !receiver.is_empty()),
            open: match self.state.as_str() {
                "open" => Some(true),
                "closed" => Some(false),
                _ => None,
            },
            closed_since: (hours > 0).then(|| now - Duration::from_hours(hours)),
            before: self.cursor.parse().ok(),
            limit: ROWS,
            ..PastIncidentQuery::default()
        }
    }

    fn link(&self, frame: &Frame, span: &str, state: &str, cursor: &str) -> String {
        let (q, receiver) = (&self.q[..], &self.receiver[..]);
        let query = [("q", q), ("receiver", receiver), ("state", state), ("span", span), ("cursor", cursor)];
        frame.to(&format!("history{}", text::query(&query)))
    }
}

/// `GET /history`
pub(in crate::web) async fn show(State(app): State<App>, uri: Uri, frame: Frame) -> Response {
    let asked: HistoryPageParams = match super::parameters(&uri) {
        Ok(asked) => asked,
        Err(problem) => return frame.problem(&problem),
    };
    let searched = searched(&asked.q);
    match found(&app, &asked.query(frame.now(), &searched)).await {
        Ok((page, times)) => frame.page("History", body(&frame, &asked, &searched, &page, &times)),
        Err(problem) => frame.problem(&problem),
    }
}

/// One page, and the incidents of which the times are shown.
async fn found(
    app: &App,
    query: &PastIncidentQuery,
) -> Result<(PastIncidentPage, PastIncidentPage), Problem> {
    let page = app.gate.history(query.clone()).await.map_err(unsearched)?;
    // The times are of all that the search finds, whichever page is shown.
    let all = PastIncidentQuery { before: None, limit: TIMED, observed: Some(false), ..query.clone() };
    let times = app.gate.history(all).await.map_err(unsearched)?;
    Ok((page, times))
}

fn body(
    frame: &Frame,
    asked: &HistoryPageParams,
    searched: &Searched,
    found: &PastIncidentPage,
    all: &PastIncidentPage,
) -> Markup {
    let times = &all.times;
    html! {
        div.head {
            h1 { "History" }
            form.filter role="search" method="get" action=(frame.to("history")) {
                label.unseen for="q" { "Search by words or matchers" }
                input #q name="q" type="search" value=(asked.q) placeholder="disk full, or team=\"db\""
                    autocomplete="off" autocapitalize="off" spellcheck="false" aria-keyshortcuts="/"
                    aria-invalid=[searched.wrong.as_ref().map(|_| "true")];
                label.unseen for="receiver" { "Receiver" }
                input #receiver name="receiver" value=(asked.receiver) placeholder="receiver" size="10";
                input type="hidden" name="span" value=(asked.span().0);
                input type="hidden" name="state" value=(asked.state);
                button { "Search" }
            }
        }
        @if let Some(wrong) = &searched.wrong { p.problem role="alert" { (text::tame(wrong, 300)) } }
        ul.states aria-label="Time" {
            @for (word, name, _) in SPANS {
                li { a href=(asked.link(frame, word, &asked.state, ""))
                    aria-current=[(asked.span().0 == word).then_some("true")] { (name) } }
            }
            @for (word, name) in [("", "open and closed"), ("open", "open"), ("closed", "closed")] {
                li { a href=(asked.link(frame, asked.span().0, word, ""))
                    aria-current=[(asked.state == word).then_some("true")] { (name) } }
            }
        }
        div.tiles {
            div.tile { b { (all.incidents.len()) @if all.next.is_some() { "+" } } span { "incidents that paged" } }
            (tile("to notify", "from the start of the first alert to the accepted page", &times.to_notify))
            (tile("to acknowledge", "from the accepted page to the acknowledgement", &times.to_acknowledge))
            (tile("to resolve", "from the start of the first alert to the end", &times.to_resolve))
        }
        @if found.incidents.is_empty() { p.empty { "The history has no such incident." } }
        @else { (table(frame, &found.incidents)) }
        nav.pager aria-label="Pages of the list" {
            @if !asked.cursor.is_empty() {
                a href=(asked.link(frame, asked.span().0, &asked.state, "")) { "← newest" }
            }
            @if let Some(next) = &found.next {
                a rel="next" href=(asked.link(frame, asked.span().0, &asked.state, next)) { "older →" }
            }
        }
    }
}

fn tile(name: &str, title: &str, times: &Quantiles) -> Markup {
    let length = |ms| text::span(Duration::from_millis(ms));
    html! {
        div.tile title=(title) {
            @if times.count == 0 { b { "–" } }
            @else { b { (length(times.median_ms)) } }
            span { "median " (name) @if times.count > 0 { ", 90th percentile " (length(times.p90_ms)) } }
        }
    }
}

/// Incidents as a table.
pub(super) fn table(frame: &Frame, incidents: &[PastIncident]) -> Markup {
    let now = frame.now();
    html! {
        table.rows.past {
            caption.unseen { "Incidents, the newest first" }
            thead { tr {
                th scope="col" { "State" } th scope="col" { "What" } th scope="col" { "Receiver" }
                th.n scope="col" { "Alerts" } th scope="col" { "Paged" } th scope="col" { "Closed" }
                th scope="col" { "To notify" } th scope="col" { "To acknowledge" } th scope="col" { "To resolve" }
            } }
            tbody { @for incident in incidents { (row(frame, now, incident)) } }
        }
    }
}

fn row(frame: &Frame, now: Timestamp, incident: &PastIncident) -> Markup {
    let observed = if incident.observed { "true" } else { "" };
    let number = incident.number.to_string();
    let query = text::query(&[("key", &incident.dedup_key), ("number", &number), ("observed", observed)]);
    let length = |time: Option<Duration>| {
        html! {
            @match time { Some(time) => (text::span(time)), None => span.dim { "–" } }
        }
    };
    html! {
        tr data-row {
            td data-label="State" {
                @if incident.observed { span.state.observed { "only observed" } }
                @else if incident.closed_at.is_none() { span.state.paged { "open" } }
                @else if incident.successor.is_some() { span.state.resolving { "replaced" } }
                @else { span.state.resolving { "closed" } }
                @if incident.useful == Some(false) { " " span.tag { "not useful" } }
            }
            td.what {
                a id=(format!("h{number}{observed}")) href=(frame.to(&format!("incident{query}"))) {
                    bdi.name { (text::tame(&incident.title, 200)) } }
                p.why { (frame.badge(&incident.severity))
                    @if let Some(by) = &incident.acknowledged_by { " acknowledged by " bdi { (text::tame(by, 60)) } } }
            }
            td data-label="Receiver" { bdi { (text::tame(&incident.receiver, 60)) } }
            td.n data-label="Alerts" { (incident.size) }
            td data-label="Paged" { (text::short(now, incident.opened_at)) }
            td data-label="Closed" {
                @if let Some(at) = incident.closed_at { (text::ago(now, at)) " ago" } @else { span.dim { "–" } }
            }
            td data-label="To notify" { (length(incident.time_to_notify())) }
            td data-label="To acknowledge" { (length(incident.time_to_acknowledge())) }
            td data-label="To resolve" { (length(incident.time_to_resolve())) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::searched;

    #[test]
    fn a_search_is_words_or_matchers() {
        let words = searched("Disk full");
        assert_eq!((words.words.len(), words.matchers.len(), words.wrong), (2, 0, None));
        let matchers = searched("host=~\"db.*\"");
        assert_eq!((matchers.words.len(), matchers.matchers.len(), matchers.wrong), (0, 1, None));
        assert!(searched("host=~\"(\"").wrong.is_some());
    }
}
