//! *Now*: what is open, what waits and why, and what happens next.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{self, Frame};
use super::text;
use super::{ROWS, look, offset};
use crate::engine::{Board, BoardQuery, Row, RowState};
use crate::model::{Silence, SilenceState, Timestamp, parse_matchers};
use crate::web::problem::Problem;
use crate::web::router::App;

/// Silences that are listed below; all of them stand on a page of their own.
const FEW_SILENCES: usize = 8;

/// What is asked for in the address line.
#[derive(Deserialize, Default)]
pub(in crate::web) struct Asked {
    #[serde(default)]
    q: String,
    #[serde(default)]
    receiver: String,
    #[serde(default)]
    state: String,
    page: Option<usize>,
}

/// `GET /`
pub(in crate::web) async fn show(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    let frame = Frame::new(&app, &uri, &headers);
    let asked: Asked = match super::asked(&uri) {
        Ok(asked) => asked,
        Err(problem) => return frame.problem(&problem),
    };
    match board(&app, &asked).await {
        Ok((board, silences)) => frame.page("Now", body(&frame, &asked, &board, &silences)),
        Err(problem) => frame.problem(&problem),
    }
}

type Seen = (Board, Vec<(Silence, SilenceState)>);

async fn board(app: &App, asked: &Asked) -> Result<Seen, Problem> {
    let query = BoardQuery {
        matchers: parse_matchers(&asked.q).map_err(|e| Problem::bad(format!("the filter: {e}")))?,
        receiver: (!asked.receiver.is_empty()).then(|| asked.receiver.as_str().into()),
        state: RowState::ALL.into_iter().find(|state| state.as_str() == asked.state),
        offset: offset(asked.page),
        limit: ROWS,
    };
    look(app, move |engine| {
        let mut silences = engine.silences();
        silences.retain(|(_, state)| *state != SilenceState::Expired);
        silences.sort_by_key(|(silence, _)| silence.ends_at);
        (engine.board(&query), silences)
    })
    .await
}

impl Asked {
    fn with(&self, state: &str, page: usize) -> String {
        let page = if page > 1 { page.to_string() } else { String::new() };
        text::query(&[("q", &self.q), ("receiver", &self.receiver), ("state", state), ("page", &page)]).into()
    }
}

fn body(frame: &Frame, asked: &Asked, board: &Board, silences: &[(Silence, SilenceState)]) -> Markup {
    let page = asked.page.unwrap_or(1).max(1);
    let count = |state| board.states.get(&state).copied().unwrap_or(0);
    let open = count(RowState::Passing) + count(RowState::Paged) + count(RowState::Flapping);
    let held = count(RowState::Held) + count(RowState::RateLimited);
    let summary = format!("{open} open, {held} held back");
    let here = |query: String| frame.to(&format!("./{query}"));
    html! {
        div.head {
            h1 { "Now" }
            form.filter role="search" method="get" action=(frame.to("./")) {
                label.unseen for="q" { "Filter by matchers" }
                input #q name="q" type="search" value=(asked.q) placeholder="alertname=~\"Disk.*\", team=\"db\""
                    autocomplete="off" autocapitalize="off" spellcheck="false" aria-keyshortcuts="/";
                label.unseen for="receiver" { "Receiver" }
                select #receiver name="receiver" {
                    option value="" { "all receivers" }
                    @for name in &board.receivers {
                        option value=(name) selected[*name == asked.receiver] { (text::tame(name, 60)) }
                    }
                }
                @if !asked.state.is_empty() { input type="hidden" name="state" value=(asked.state); }
                button { "Filter" }
            }
        }
        (page::live(&here(asked.with(&asked.state, page)), "3s", board.now.as_millis(), &summary, html! {
            ul.states aria-label="By state" {
                @let all: usize = board.states.values().sum();
                li { a href=(here(asked.with("", 1)))
                    aria-current=[asked.state.is_empty().then_some("true")] { b { (all) } " all" } }
                @for state in RowState::ALL {
                    @let word = state.as_str();
                    @let (name, class) = text::state(state);
                    @if count(state) > 0 || asked.state == word {
                        li { a class=(class) href=(here(asked.with(word, 1))) aria-current=[(asked.state
                            == word).then_some("true")] {
                            b { (count(state)) } " " (name)
                        } }
                    }
                }
            }
            @if board.rows.is_empty() { (nothing(asked)) } @else { (table(frame, board.now, &board.rows)) }
            (page::pager(board.matching, page, |page| here(asked.with(&asked.state, page))))
            (few_silences(frame, board.now, silences))
        }))
    }
}

fn nothing(asked: &Asked) -> Markup {
    let filtered = [&asked.q, &asked.receiver, &asked.state].iter().any(|text| !text.is_empty());
    html! {
        p.empty {
            @if filtered { "Nothing that is open or waits matches." }
            @else { "All quiet. Nothing is open, and nothing is held back." }
        }
    }
}

fn table(frame: &Frame, now: Timestamp, rows: &[Row]) -> Markup {
    html! {
        table.rows {
            caption.unseen { "Open incidents, and alerts that wait, the most urgent first" }
            thead { tr {
                th scope="col" { "State" } th scope="col" { "What" } th scope="col" { "Receiver" }
                th.n scope="col" { "Alerts" } th scope="col" { "Age" } th scope="col" { "Next" }
                th scope="col" { span.unseen { "Actions" } }
            } }
            tbody { @for row in rows { (one(frame, now, row)) } }
        }
    }
}

fn one(frame: &Frame, now: Timestamp, row: &Row) -> Markup {
    let (state, class) = text::state(row.state);
    let link = match &row.dedup_key {
        Some(key) => frame.to(&format!("incident{}", text::query(&[("key", key)]))),
        None => frame.to(&format!("alert{}", text::query(&[("id", &row.alert.to_string())]))),
    };
    html! {
        tr data-row {
            td data-label="State" { span class=(format!("state {class}")) { (state) } }
            td.what {
                a id=(format!("r{}", row.alert)) href=(link) { (heading(row)) }
                p.why { span class="sev" { (text::tame(&row.severity, 40)) } " " (text::sentence(&row.why)) }
            }
            td data-label="Receiver" { bdi { (text::tame(&row.receiver, 60)) } }
            td.n data-label="Alerts" { (row.firing) @if row.alerts > row.firing { span.dim { "/" (row.alerts) } } }
            td data-label="Age" { (text::ago(now, row.since)) }
            td data-label="Next" { @if let Some((at, what)) = row.next { (what) " " (text::until(now, at))
                } @else { span.dim { "–" } } }
            td.act { (actions(frame, row)) }
        }
    }
}

/// What a row is about: the labels of its group, and the name of an alert in it where they do not have it.
pub(super) fn heading(row: &Row) -> Markup {
    let name = row.labels.value("alertname");
    // A group by nothing says nothing.
    let title = if row.title.is_empty() { &row.labels } else { &row.title };
    html! {
        @if title.value("alertname").is_empty() && !name.is_empty() { (text::alert_name(name)) " " }
        (text::title(title))
    }
}

/// What a person can do about a row.
pub(super) fn actions(frame: &Frame, row: &Row) -> Markup {
    let title = if row.title.is_empty() { &row.labels } else { &row.title };
    let silence = frame.to(&format!("silences{}", text::query(&[("q", &text::matchers_of(title))])));
    html! {
        @if row.releasable {
            form method="post" action=(frame.to("act/release")) {
                input type="hidden" name="alert" value=(row.alert);
                input type="hidden" name="receiver" value=(row.receiver);
                input type="hidden" name="by" value="" data-author;
                button title="Page now, past every hold and limit" { "Release" }
            }
        }
        a.button href=(silence) { "Silence" }
    }
}

fn few_silences(frame: &Frame, now: Timestamp, silences: &[(Silence, SilenceState)]) -> Markup {
    html! {
        section aria-labelledby="silences-title" {
            h2 #silences-title {
                "Silences "
                a.aside href=(frame.to("silences")) { @if silences.len() > FEW_SILENCES
                    { "all " (silences.len()) } @else { "new, or ended ones" } }
            }
            @if silences.is_empty() { p.empty { "No silence is in force." } }
            @else { (super::silence::table(frame, now, silences.iter().take(FEW_SILENCES))) }
        }
    }
}
