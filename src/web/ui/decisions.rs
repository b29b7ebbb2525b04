//! *Decisions*: the decision log, filtered, in words and in swim-lanes.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{self, Frame};
use super::silence::WrongField;
use super::{ROWS, lanes, text};
use crate::decision_log::{DecisionEntry, DecisionPage, DecisionQuery};
use crate::model::{AlertId, Disposition, LabelSet};
use crate::web::app::App;
use crate::web::problem::Problem;
use crate::web::v1::{DecisionParams, PageLimit, search};

/// The parameters of the address line.
#[derive(Deserialize, Default)]
pub(in crate::web) struct DecisionPageParams {
    #[serde(default)]
    q: String,
    #[serde(default)]
    receiver: String,
    /// A disposition, or a reason.
    #[serde(default)]
    what: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    until: String,
    #[serde(default)]
    incident: String,
    #[serde(default)]
    cursor: String,
}

/// `GET /decisions`
pub(in crate::web) async fn show(State(app): State<App>, uri: Uri, frame: Frame) -> Response {
    let asked: DecisionPageParams = match super::parameters(&uri) {
        Ok(asked) => asked,
        Err(problem) => return frame.problem(&problem),
    };
    let found = async { search(&app, asked.query()?).await };
    match found.await {
        Ok(found) => frame.page("Decisions", body(&frame, &asked, Ok(&found))),
        Err(problem) if problem.status.is_client_error() => {
            let wrong = WrongField::of_search(&problem);
            frame.answer(problem.status, "Decisions", body(&frame, &asked, Err(&wrong)))
        }
        Err(problem) => frame.problem(&problem),
    }
}

impl WrongField {
    /// The field of the form that `problem` is about. It is empty if the search as a whole is wrong.
    fn of_search(problem: &Problem) -> WrongField {
        let why = &problem.detail;
        let (field, why) = match why.strip_prefix("filter: ") {
            Some(why) => ("q", why),
            None if why.starts_with("since ") => ("since", why.as_str()),
            None if why.starts_with("until ") => ("until", why.as_str()),
            None => ("", why.as_str()),
        };
        WrongField { field, why: why.to_owned() }
    }
}

/// The newest decisions about one alert, newest first.
pub(super) async fn of_alert(app: &App, alert: AlertId) -> Result<DecisionPage, Problem> {
    search(app, DecisionQuery { alert: Some(alert), limit: ROWS, ..DecisionQuery::default() }).await
}

impl DecisionPageParams {
    fn query(&self) -> Result<DecisionQuery, Problem> {
        let is_disposition = Disposition::ALL.iter().any(|d| d.as_str() == self.what);
        let given = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let (disposition, reason) = match is_disposition {
            true => (given(&self.what), None),
            false => (None, given(&self.what)),
        };
        let asked = DecisionParams {
            filter: given(&self.q).into_iter().collect(),
            receiver: given(&self.receiver),
            disposition,
            reason,
            since: given(&self.since),
            until: given(&self.until),
            incident: given(&self.incident),
            cursor: given(&self.cursor),
            limit: PageLimit(ROWS),
            ..DecisionParams::default()
        };
        asked.query()
    }

    fn older(&self, cursor: &str) -> String {
        let pairs = [
            ("q", self.q.as_str()),
            ("receiver", &self.receiver),
            ("what", &self.what),
            ("since", &self.since),
            ("until", &self.until),
            ("incident", &self.incident),
            ("cursor", cursor),
        ];
        text::query(&pairs).into()
    }
}

fn body(frame: &Frame, asked: &DecisionPageParams, found: Result<&DecisionPage, &WrongField>) -> Markup {
    let wrong = found.err();
    let mut words: Vec<&str> = Disposition::ALL.iter().map(|d| d.as_str()).collect();
    words.dedup();
    let words =
        words.into_iter().chain(Disposition::ALL.iter().map(|d| d.reason()).filter(|r| !r.is_empty()));
    html! {
        h1 { "Decisions" }
        form.silence role="search" method="get" action=(frame.to("decisions")) {
            label { span { "Labels match" } input #q name="q" type="search" value=(asked.q)
                autocomplete="off" spellcheck="false" placeholder="alertname=~\"Disk.*\""
                aria-keyshortcuts="/" aria-invalid=[WrongField::marks(wrong, "q")];
                (WrongField::beside(wrong, "q")) }
            label { span { "Disposition" }
                select name="what" {
                    option value="" { "anything" }
                    @for word in words { option value=(word) selected[asked.what == word] {
                        (word.replace('_', " ")) } }
                }
            }
            label { span { "Receiver" } input name="receiver" value=(asked.receiver) size="10"; }
            label { span { "Since" } input name="since" value=(asked.since) placeholder="2026-11-25T00:00:00Z"
                aria-invalid=[WrongField::marks(wrong, "since")]; (WrongField::beside(wrong, "since")) }
            label { span { "Until" } input name="until" value=(asked.until) placeholder="now"
                aria-invalid=[WrongField::marks(wrong, "until")]; (WrongField::beside(wrong, "until")) }
            button.primary { "Search" }
        }
        @match found {
            Ok(found) => (found_list(frame, asked, found)),
            Err(wrong) => @if wrong.field.is_empty() {
                p.problem role="alert" { (text::tame(&wrong.why, 1_000)) }
            },
        }
    }
}

/// The decisions of a search that could be made.
fn found_list(frame: &Frame, asked: &DecisionPageParams, found: &DecisionPage) -> Markup {
    html! {
        // Rows older than a moment do not change.
        @if asked.cursor.is_empty() && asked.until.trim().is_empty() {
            @let here = frame.to(&format!("decisions{}", asked.older("")));
            @let count = format!("{} decisions", found.decisions.len());
            (page::live(&here, "5s", frame.now(), &count, list(frame, asked, found)))
        } @else { (list(frame, asked, found)) }
    }
}

fn list(frame: &Frame, asked: &DecisionPageParams, found: &DecisionPage) -> Markup {
    html! {
        @if found.decisions.is_empty() { p.empty { "Nothing was decided that matches." } }
        @else {
            (lanes::draw(&found.decisions))
            (table(frame, &found.decisions))
        }
        nav.pager aria-label="Pages of the list" {
            @if !asked.cursor.is_empty() { a href=(frame.to(&format!("decisions{}", asked.older("")))) { "← newest" } }
            @if let Some(next) = &found.next { a rel="next"
                href=(frame.to(&format!("decisions{}", asked.older(next)))) { "older →" } }
        }
    }
}

/// Decisions in words.
pub(super) fn table(frame: &Frame, entries: &[DecisionEntry]) -> Markup {
    html! {
        table.rows.few.decision-log {
            caption.unseen { "Decisions, the newest first" }
            thead { tr { th scope="col" { "When" } th scope="col" { "Disposition" } th scope="col" { "Alert and why" } th scope="col" { "Receiver" } } }
            tbody { @for entry in entries { (row(frame, entry)) } }
        }
    }
}

fn row(frame: &Frame, entry: &DecisionEntry) -> Markup {
    let labels = LabelSet::from_pairs(entry.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    let word = entry.reason.as_deref().unwrap_or(&entry.disposition).replace('_', " ");
    let class = match entry.disposition.as_str() {
        _ if entry.observed => "state observed",
        "page" => "state paged",
        "update" => "state held",
        "resolve" => "state resolving",
        _ => "state",
    };
    html! {
        tr data-row {
            td data-label="When" { (text::moment(entry.at)) }
            td data-label="State" {
                span class=(class) { @if entry.observed { "would be " } (word) }
                @if entry.count > 1 { span.dim { " ×" (entry.count) } }
            }
            td.what {
                a id=(format!("d{}", entry.id))
                    href=(frame.to(&format!("alert{}", text::query(&[("id", &entry.alert)])))) {
                    (text::title(&labels)) }
                p.why {
                    @if entry.observed { b { "only observed" } " · " }
                    (text::sentence(&entry.rule))
                    @if let Some(setting) = entry.decided_by() {
                        " · by " code { bdi { (text::tame(&setting, 120)) } } }
                    @if let Some(release) = &entry.release_condition { " · " (text::sentence(release)) }
                    @if let Some(otherwise) = &entry.counterfactual { " · " (text::sentence(otherwise)) }
                }
            }
            td data-label="Receiver" { bdi { (text::tame(&entry.receiver, 60)) } }
        }
    }
}
