//! *Now*: open incidents, withheld alerts with their causes, and the next steps.

use std::cmp::Reverse;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::history::{self, Searched, searched};
use super::page::{self, Frame};
use super::text;
use super::{ROWS, look, offset};
use crate::causes;
use crate::config::Role;
use crate::decision_log::{PastIncidentPage, PastIncidentQuery};
use crate::engine::{Board, BoardOrder, BoardPart, BoardQuery, Origin, Row, RowState};
use crate::model::{Duration, Silence, SilenceState, Timestamp};
use crate::web::app::App;
use crate::web::problem::Problem;
use crate::web::v1::unsearched;

/// The number of silences listed below. All of them stand on a page of their own.
const FEW_SILENCES: usize = 8;
/// Characters of a summary.
const SUMMARY: usize = 300;

/// The parts of the page: the word of the address line, the name, and the key that opens it.
const TABS: [(&str, &str, &str); 3] =
    [("open", "Open", "o"), ("withheld", "Withheld", "w"), ("closed", "Closed 24 h", "c")];
/// How far back the last part looks.
const CLOSED: Duration = Duration::from_hours(24);
/// How rows can be grouped: the word of the address line, and its name.
const GROUPS: [(&str, &str); 3] = [("", "by state"), ("severity", "by severity"), ("service", "by service")];

/// The parameters of the address line.
#[derive(Deserialize, Default)]
pub(in crate::web) struct NowPageParams {
    #[serde(default)]
    q: String,
    #[serde(default)]
    receiver: String,
    #[serde(default)]
    tab: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    group: String,
    page: Option<usize>,
}

/// The result of one look.
struct Seen {
    board: Board,
    silences: Vec<(Silence, SilenceState)>,
    /// Incidents that closed lately, where they are asked for.
    closed: Option<PastIncidentPage>,
    /// How many of them there are, and whether there are more, where nothing is open.
    lately: Option<(usize, bool)>,
}

/// `GET /`
pub(in crate::web) async fn show(State(app): State<App>, uri: Uri, frame: Frame) -> Response {
    let asked: NowPageParams = match super::parameters(&uri) {
        Ok(asked) => asked,
        Err(problem) => return frame.problem(&problem),
    };
    let search = searched(&asked.q);
    match seen(&app, &asked, &search, frame.now()).await {
        Ok(seen) => frame.page("Now", body(&frame, &asked, &search, &seen)),
        Err(problem) => frame.problem(&problem),
    }
}

async fn seen(app: &App, asked: &NowPageParams, search: &Searched, now: Timestamp) -> Result<Seen, Problem> {
    let closed = PastIncidentQuery {
        words: search.words.clone(),
        matchers: search.matchers.clone(),
        receiver: Some(asked.receiver.clone()).filter(|receiver| !receiver.is_empty()),
        open: Some(false),
        closed_since: Some(now - CLOSED),
        limit: ROWS,
        ..PastIncidentQuery::default()
    };
    let mut found = None;
    if asked.tab() == "closed" {
        let mut page = app.gate.history(closed.clone()).await.map_err(unsearched)?;
        page.incidents.sort_by_key(|incident| Reverse(incident.closed_at));
        found = Some(page);
    }
    let query = BoardQuery {
        part: if asked.tab() == "withheld" { BoardPart::Waiting } else { BoardPart::Incidents },
        order: match asked.group.as_str() {
            "severity" => BoardOrder::Severity,
            "service" => BoardOrder::Service,
            _ => BoardOrder::State,
        },
        words: search.words.clone(),
        matchers: search.matchers.clone(),
        receiver: (!asked.receiver.is_empty()).then(|| asked.receiver.as_str().into()),
        state: RowState::ALL.into_iter().find(|state| state.as_str() == asked.state),
        offset: offset(asked.page),
        limit: ROWS,
    };
    let seen = look(app, move |engine| {
        let mut silences = engine.query().silences();
        silences.retain(|(_, state)| *state != SilenceState::Expired);
        silences.sort_by_key(|(silence, _)| silence.ends_at);
        Seen { board: engine.query().board(&query), silences, closed: None, lately: None }
    });
    let mut seen = Seen { closed: found, ..seen.await? };
    if asked.tab() == "open" && seen.board.rows.is_empty() {
        // The page is of use without it.
        let page = app.gate.history(closed).await.unwrap_or_default();
        seen.lately = Some((page.incidents.len(), page.next.is_some()));
    }
    Ok(seen)
}

impl NowPageParams {
    /// The part of the page that is shown.
    fn tab(&self) -> &'static str {
        TABS.iter().map(|(word, ..)| *word).find(|word| *word == self.tab).unwrap_or("open")
    }

    /// The query of this page with another tab, state or page of the list.
    fn with(&self, tab: &str, state: &str, page: usize) -> String {
        let page = if page > 1 { page.to_string() } else { String::new() };
        let tab = if tab == "open" { "" } else { tab };
        let (q, receiver, group) = (&self.q[..], &self.receiver[..], &self.group[..]);
        let query = [
            ("q", q),
            ("receiver", receiver),
            ("tab", tab),
            ("state", state),
            ("group", group),
            ("page", &page),
        ];
        text::query(&query).into()
    }
}

fn body(frame: &Frame, asked: &NowPageParams, search: &Searched, seen: &Seen) -> Markup {
    let (page, board) = (asked.page.unwrap_or(1).max(1), &seen.board);
    let summary = format!("{} open, {} withheld", board.incidents, board.waiting);
    // Closed incidents change seldom.
    let every = if seen.closed.is_some() { "15s" } else { "3s" };
    let here = |tab: &str, state: &str, page| frame.to(&format!("./{}", asked.with(tab, state, page)));
    html! {
        div.head {
            h1 { "Now" }
            // Small screens show the fields on demand, so that the first incident is visible at once.
            input.unseen #fold type="checkbox" checked[!asked.q.is_empty() || !asked.receiver.is_empty()];
            label.fold for="fold" { "Search" }
            (filter(frame, asked, search, board))
            button.notify type="button" data-notify hidden { "Notify me" }
        }
        @if let Some(wrong) = &search.wrong {
            p.problem #q-error role="alert" { (text::tame(wrong, 300)) ". The list shows everything." }
        }
        (page::live(&here(asked.tab(), &asked.state, page), every, frame.now(), &summary, html! {
            (tabs(asked, board, |tab| here(tab, "", 1)))
            @if let Some(closed) = &seen.closed { (past(frame, asked, closed)) } @else {
            (states(asked, board, |state| here(asked.tab(), state, 1)))
            @if board.rows.is_empty() { (nothing(asked, seen, (&here("withheld", "", 1), &here("closed", "", 1)))) }
            @else { (table(frame, asked, &board.rows)) }
            (page::pager(board.matching, page, |page| here(asked.tab(), &asked.state, page)))
            }
            (few_silences(frame, &seen.silences))
        }))
    }
}

fn filter(frame: &Frame, asked: &NowPageParams, search: &Searched, board: &Board) -> Markup {
    let wrong = search.wrong.is_some();
    html! {
        form.filter role="search" method="get" action=(frame.to("./")) {
            label.unseen for="q" { "Search by words or matchers" }
            input #q name="q" type="search" value=(asked.q) placeholder="disk full, or team=\"db\""
                autocomplete="off" autocapitalize="off" spellcheck="false" aria-keyshortcuts="/"
                aria-invalid=[wrong.then_some("true")] aria-describedby=[wrong.then_some("q-error")];
            label.unseen for="receiver" { "Receiver" }
            select #receiver name="receiver" {
                option value="" { "all receivers" }
                @for name in &board.receivers {
                    option value=(name) selected[*name == asked.receiver] { (text::tame(name, 60)) }
                }
            }
            label.unseen for="group" { "Group" }
            select #group name="group" {
                @for (word, name) in GROUPS { option value=(word) selected[word == asked.group] { (name) } }
            }
            @if asked.tab() != "open" { input type="hidden" name="tab" value=(asked.tab()); }
            @if !asked.state.is_empty() { input type="hidden" name="state" value=(asked.state); }
            button { "Search" }
        }
    }
}

fn tabs(asked: &NowPageParams, board: &Board, link: impl Fn(&str) -> String) -> Markup {
    html! {
        nav.tabs aria-label="Parts of this page" {
            @for (word, name, key) in TABS {
                a #(format!("tab-{word}")) href=(link(word)) data-key=(key) aria-keyshortcuts=(key)
                    aria-current=[(asked.tab() == word).then_some("true")] {
                    (name)
                    @if word == "open" { " " b { (board.incidents) } }
                    @if word == "withheld" { " " b { (board.waiting) } }
                }
            }
        }
    }
}

fn states(asked: &NowPageParams, board: &Board, link: impl Fn(&str) -> String) -> Markup {
    let count = |state| board.states.get(&state).copied().unwrap_or(0);
    let shown = board.states.len() > 1 || !asked.state.is_empty();
    html! {
        @if shown {
            ul.states aria-label="By state" {
                @let all: usize = board.states.values().sum();
                li { a #state-all href=(link("")) aria-current=[asked.state.is_empty().then_some("true")] {
                    b { (all) } " all" } }
                @for state in RowState::ALL {
                    @let word = state.as_str();
                    @let (name, class) = text::state(state);
                    @if count(state) > 0 || asked.state == word {
                        li { a #(format!("state-{word}")) class=(class) href=(link(word))
                            aria-current=[(asked.state == word).then_some("true")] {
                            b { (count(state)) } " " (name)
                        } }
                    }
                }
            }
        }
    }
}

/// The incidents that closed lately. The history has all of them.
fn past(frame: &Frame, asked: &NowPageParams, closed: &PastIncidentPage) -> Markup {
    let query = [("q", &asked.q[..]), ("receiver", &asked.receiver), ("state", "closed"), ("span", "7d")];
    html! {
        @if closed.incidents.is_empty() { p.empty { "No such incident closed in the last 24 hours." } }
        @else { (history::table(frame, &closed.incidents)) }
        p { a href=(frame.to(&format!("history{}", text::query(&query)))) { "Older incidents" } }
    }
}

/// That no row is shown, with the addresses of the withheld alerts and of the closed incidents.
fn nothing(asked: &NowPageParams, seen: &Seen, (withheld, closed): (&str, &str)) -> Markup {
    let board = &seen.board;
    let filtered = [&asked.q, &asked.receiver, &asked.state].iter().any(|text| !text.is_empty());
    let open = asked.tab() == "open";
    html! {
        p.empty {
            @if filtered { "Nothing here matches." }
            @else if !open { "Nothing is withheld." }
            @else if board.waiting == 0 { "All quiet. Nothing is open, and nothing is withheld." }
            @else {
                "Nothing is open. " a href=(withheld) { (board.waiting) @if board.waiting == 1 { " alert is" }
                    @else { " alerts are" } " withheld" } "."
            }
            @if let Some((count, more)) = seen.lately.filter(|(count, _)| *count > 0) {
                " " a href=(closed) { (count) @if more { " or more" } @if count == 1 { " incident" } @else { " incidents" }
                    " closed in the last 24 hours" } "."
            }
        }
    }
}

/// The heading that a row shares with the rows of its part of the table.
fn part(asked: &NowPageParams, row: &Row) -> String {
    match (row.standing.origin, row.standing.state, asked.group.as_str()) {
        (Origin::Internal, ..) => "About Squelch itself".into(),
        (_, RowState::Observed, _) => "Only observed: Squelch would do this, and notifies nobody".into(),
        (_, _, "severity") => text::tame(&row.severity, 60),
        (_, _, "service") if row.service.is_empty() => "No service".into(),
        (_, _, "service") => text::tame(&row.service, 120),
        _ if asked.tab() == "open" => "Open".into(),
        _ => "Withheld".into(),
    }
}

fn table(frame: &Frame, asked: &NowPageParams, rows: &[Row]) -> Markup {
    let parts: Vec<&[Row]> = rows.chunk_by(|a, b| part(asked, a) == part(asked, b)).collect();
    let usual = parts.len() == 1 && rows.iter().all(is_usual) && asked.group.is_empty();
    html! {
        table.rows {
            caption.unseen { "Open incidents, or alerts that wait, the most urgent first" }
            thead { tr {
                th scope="col" { "State" } th scope="col" { "What" }
                th scope="col" { (receiver_heading(rows.iter().any(|row| row.standing.incident.is_some()))) }
                th.n scope="col" { "Alerts" } th scope="col" { "Age" } th scope="col" { "Next" }
                th scope="col" { span.unseen { "Links and actions" } }
            } }
            @for rows in parts {
                tbody {
                    @if let Some(heading) = rows.first().filter(|_| !usual).map(|row| part(asked, row)) {
                        tr.part { th scope="rowgroup" colspan="7" { bdi { (heading) } } }
                    }
                    @for row in rows { (one(frame, row)) }
                }
            }
        }
    }
}

/// The heading of the column of receivers. An alert without an incident has notified none of them.
fn receiver_heading(incident: bool) -> &'static str {
    if incident { "Notified" } else { "Receiver" }
}

fn is_usual(row: &Row) -> bool {
    row.standing.origin != Origin::Internal && row.standing.state != RowState::Observed
}

/// The state of a row, and its decider.
pub(super) fn state(row: &Row) -> Markup {
    let (state, class) = text::state(row.standing.would.unwrap_or(row.standing.state));
    html! {
        @match row.standing.would {
            Some(_) => span.state.observed { "would be " (state) },
            None => span class=(format!("state {class}")) { (state) },
        }
        @if let Some(to) = &row.escalated_to { " " span.state.passing { "escalated to " bdi { (text::tame(to, 60)) } } }
        @if row.refused { " " span.state.paged { "refused" } }
        @if let Some((by, _)) = &row.acknowledged { " " span.tag { "acknowledged by " bdi { (text::tame(by, 60)) } } }
        @if row.silenced > 0 {
            " " span.tag { @if row.silenced < row.firing { (row.silenced) " " } "silenced" }
        }
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
            format!("{mark}{}{}", row.alert, text::id(&row.standing.receiver))
        }
    };
    let page = |key: &str, observed: bool| {
        let observed = if observed { "true" } else { "" };
        frame.to(&format!("incident{}", text::query(&[("key", key), ("observed", observed)])))
    };
    let link = match &row.standing.incident {
        Some(key) => page(key, row.standing.state == RowState::Observed),
        None => frame.to(&format!("alert{}", text::query(&[("id", &row.alert.to_string())]))),
    };
    html! {
        @let pages = row.standing.incident.as_ref().filter(|_| row.standing.would.is_none());
        tr data-row data-incident=[pages] data-opened=[pages.map(|_| row.since.as_millis())] {
            td.standing data-label="State" { (text::severity(&row.severity, Some(row.level))) " " (state(row))
                @if let Some((key, would)) = &row.twin {
                    " " a.state.observed href=(page(key, true)) title="Squelch would have the same incident" {
                        "would be " (text::state(*would).0) }
                }
            }
            td.what {
                a id=(id) href=(link) { (text::heading(row)) }
                @if !row.summary.is_empty() { p.summary { bdi { (text::tame(&row.summary, SUMMARY)) } } }
                p.why { (text::cause(row.standing.cause.as_ref())) }
            }
            td data-label=(receiver_heading(row.standing.incident.is_some())) { (notified(frame, row)) }
            td.n data-label="Alerts" { (row.firing) @if row.alerts > row.firing { span.dim { "/" (row.alerts) } } }
            td data-label="Age" { (text::ago(now, row.since)) }
            td data-label="Next" {
                @if row.standing.would.is_some() && row.standing.next.is_some() { span.dim { "would: " } }
                @if let Some((at, what)) = &row.standing.next {
                    bdi { (text::tame(&causes::next_step(what), 80)) } " " (text::until(now, *at))
                } @else { span.dim { "–" } } }
            td.act {
                (text::key_button(&row.runbook, "Runbook", "r"))
                (text::key_button(&row.generator_url, "Graph", "g"))
                (actions(frame, row))
            }
        }
    }
}

/// The integration that first accepted the page of a row, and when.
fn notified(frame: &Frame, row: &Row) -> Markup {
    html! {
        @match &row.notified {
            Some((receiver, integration, at)) => {
                bdi { (text::tame(receiver, 60)) } " " span.dim { bdi { (text::tame(integration, 60)) } } " "
                (text::short(frame.now(), *at))
            },
            None => {
                bdi { (text::tame(&row.standing.receiver, 60)) }
                @if row.standing.state == RowState::Passing { " " span.dim { "not yet" } }
            },
        }
    }
}

/// The actions of a person on a row.
pub(super) fn actions(frame: &Frame, row: &Row) -> Markup {
    let about = match &row.standing.incident {
        Some(key) => text::query(&[("incident", key)]),
        None => text::query(&[("q", &text::matchers_of(&row.labels))]),
    };
    html! {
        @if row.releasable && frame.may(Role::Admin) {
            form method="post" action=(frame.to("act/release")) {
                input type="hidden" name="alert" value=(row.alert);
                input type="hidden" name="receiver" value=(row.standing.receiver);
                input type="hidden" name="by" value="" data-author;
                button title="Page now, past every hold and limit" { "Release" }
            }
        }
        // No silence applies to internal incidents.
        @if row.standing.origin != Origin::Internal && frame.may(Role::Silence) {
            a.button href=(frame.to(&format!("silences{about}"))) data-key="s" { "Silence" }
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
