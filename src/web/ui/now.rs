//! *Now*: what is open, what waits and why, and what happens next.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{self, Frame};
use super::text;
use super::{ROWS, look, offset};
use crate::causes;
use crate::engine::{Board, BoardQuery, Origin, Row, RowState};
use crate::model::{Silence, SilenceState};
use crate::web::app::App;
use crate::web::problem::Problem;

/// Silences that are listed below; all of them stand on a page of their own.
const FEW_SILENCES: usize = 8;

/// What is asked for in the address line.
#[derive(Deserialize, Default)]
pub(in crate::web) struct NowPageParams {
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
    let frame = Frame::new(&app, &uri, &headers).await;
    let asked: NowPageParams = match super::asked(&uri) {
        Ok(asked) => asked,
        Err(problem) => return frame.problem(&problem),
    };
    match board(&app, &asked).await {
        Ok((board, silences)) => frame.page("Now", body(&frame, &asked, &board, &silences)),
        Err(problem) => frame.problem(&problem),
    }
}

type Seen = (Board, Vec<(Silence, SilenceState)>);

async fn board(app: &App, asked: &NowPageParams) -> Result<Seen, Problem> {
    let query = BoardQuery {
        matchers: crate::web::v1::matchers(std::slice::from_ref(&asked.q))?,
        receiver: (!asked.receiver.is_empty()).then(|| asked.receiver.as_str().into()),
        state: RowState::ALL.into_iter().find(|state| state.as_str() == asked.state),
        offset: offset(asked.page),
        limit: ROWS,
    };
    look(app, move |engine| {
        let mut silences = engine.query().silences();
        silences.retain(|(_, state)| *state != SilenceState::Expired);
        silences.sort_by_key(|(silence, _)| silence.ends_at);
        (engine.query().board(&query), silences)
    })
    .await
}

impl NowPageParams {
    fn with(&self, state: &str, page: usize) -> String {
        let page = if page > 1 { page.to_string() } else { String::new() };
        text::query(&[("q", &self.q), ("receiver", &self.receiver), ("state", state), ("page", &page)]).into()
    }
}

fn body(frame: &Frame, asked: &NowPageParams, board: &Board, silences: &[(Silence, SilenceState)]) -> Markup {
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
        (page::live(&here(asked.with(&asked.state, page)), "3s", frame.now(), &summary, html! {
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
            @if board.rows.is_empty() { (nothing(asked)) } @else { (table(frame, &board.rows)) }
            (page::pager(board.matching, page, |page| here(asked.with(&asked.state, page))))
            (few_silences(frame, silences))
        }))
    }
}

fn nothing(asked: &NowPageParams) -> Markup {
    let filtered = [&asked.q, &asked.receiver, &asked.state].iter().any(|text| !text.is_empty());
    html! {
        p.empty {
            @if filtered { "Nothing that is open or waits matches." }
            @else { "All quiet. Nothing is open, and nothing is held back." }
        }
    }
}

/// What the rows of one part of the table have in common.
fn part(row: &Row) -> &'static str {
    match (row.standing.origin, row.standing.state) {
        (Origin::Internal, _) => "About Squelch itself",
        (_, RowState::Observed) => "Only observed: Squelch would do this, and tells nobody",
        _ => "Open, or waiting",
    }
}

fn table(frame: &Frame, rows: &[Row]) -> Markup {
    let parts: Vec<&[Row]> = rows.chunk_by(|a, b| part(a) == part(b)).collect();
    let usual = matches!(&parts[..], [only] if only.iter().all(|row| part(row) == "Open, or waiting"));
    html! {
        table.rows {
            caption.unseen { "Open incidents, and alerts that wait, the most urgent first" }
            thead { tr {
                th scope="col" { "State" } th scope="col" { "What" } th scope="col" { "Receiver" }
                th.n scope="col" { "Alerts" } th scope="col" { "Age" } th scope="col" { "Next" }
                th scope="col" { span.unseen { "Actions" } }
            } }
            @for rows in parts {
                tbody {
                    @if let Some(first) = rows.first().filter(|_| !usual) {
                        tr.part { th scope="rowgroup" colspan="7" { (part(first)) } }
                    }
                    @for row in rows { (one(frame, row)) }
                }
            }
        }
    }
}

/// Where a row stands, and who decided that.
pub(super) fn state(row: &Row) -> Markup {
    let (state, class) = text::state(row.standing.would.unwrap_or(row.standing.state));
    html! {
        @match row.standing.would {
            Some(_) => span.state.observed { "would be " (state) },
            None => span class=(format!("state {class}")) { (state) },
        }
        @if row.refused { " " span.state.paged { "refused" } }
        @if let Some((by, _)) = &row.acknowledged { " " span.tag { "acknowledged by " bdi { (text::tame(by, 60)) } } }
        @if row.standing.origin == Origin::Sender { " " span.tag title="Observe mode: as the sender sends it" { "as sent" } }
        @if row.standing.origin == Origin::Internal { " " span.tag { "internal" } }
    }
}

fn one(frame: &Frame, row: &Row) -> Markup {
    let now = frame.now();
    let mark = if row.standing.state == RowState::Observed { "s" } else { "r" };
    // An alert may wait at several receivers.
    let id = match &row.standing.incident {
        Some(key) => format!("{mark}{key}"),
        None => {
            format!(
                "{mark}{}{}",
                row.alert,
                row.standing.receiver.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
            )
        }
    };
    let link = match &row.standing.incident {
        Some(key) => {
            let observed = if row.standing.state == RowState::Observed { "true" } else { "" };
            frame.to(&format!("incident{}", text::query(&[("key", key), ("observed", observed)])))
        }
        None => frame.to(&format!("alert{}", text::query(&[("id", &row.alert.to_string())]))),
    };
    html! {
        tr data-row {
            td data-label="State" { (state(row)) }
            td.what {
                a id=(id) href=(link) { (heading(row)) }
                p.why {
                    span class="sev" { (text::tame(&row.severity, 40)) } " "
                    (text::cause(row.standing.cause.as_ref()))
                }
            }
            td data-label="Receiver" { bdi { (text::tame(&row.standing.receiver, 60)) } }
            td.n data-label="Alerts" { (row.firing) @if row.alerts > row.firing { span.dim { "/" (row.alerts) } } }
            td data-label="Age" { (text::ago(now, row.since)) }
            td data-label="Next" {
                @if row.standing.would.is_some() && row.standing.next.is_some() { span.dim { "would: " } }
                @if let Some((at, what)) = row.standing.next {
                    (causes::next_step(what)) " " (text::until(now, at))
                } @else { span.dim { "–" } } }
            td.act { (actions(frame, row)) }
        }
    }
}

/// What a row is about: an incident in the words of its pages, an alert in its labels.
pub(super) fn heading(row: &Row) -> Markup {
    match &row.headline {
        Some(headline) => {
            html! { (text::alert_name(&headline.names)) " " bdi { (text::tame(&headline.rest, 300)) } }
        }
        None => text::title(&row.labels),
    }
}

/// What a person can do about a row.
pub(super) fn actions(frame: &Frame, row: &Row) -> Markup {
    let about = match &row.standing.incident {
        Some(key) => text::query(&[("incident", key)]),
        None => text::query(&[("q", &text::matchers_of(&row.labels))]),
    };
    html! {
        @if row.releasable {
            form method="post" action=(frame.to("act/release")) {
                input type="hidden" name="alert" value=(row.alert);
                input type="hidden" name="receiver" value=(row.standing.receiver);
                input type="hidden" name="by" value="" data-author;
                button title="Page now, past every hold and limit" { "Release" }
            }
        }
        // No silence applies to what Squelch says about itself.
        @if row.standing.origin != Origin::Internal {
            a.button href=(frame.to(&format!("silences{about}"))) { "Silence" }
        }
    }
}

fn few_silences(frame: &Frame, silences: &[(Silence, SilenceState)]) -> Markup {
    html! {
        section aria-labelledby="silences-title" {
            h2 #silences-title {
                "Silences "
                a.aside href=(frame.to("silences")) { @if silences.len() > FEW_SILENCES
                    { "all " (silences.len()) } @else { "new, or ended ones" } }
            }
            @if silences.is_empty() { p.empty { "No silence is in force." } }
            @else { (super::silence::table(frame, silences.iter().take(FEW_SILENCES))) }
        }
    }
}
