//! One alert: its state at each receiver, its decisions, and the actions for a person.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::incident::stand;
use super::page::{self, Frame};
use super::rules::links;
use super::{alert_id, decisions, lanes, look, now, text};
use crate::decision_log::DecisionEntry;
use crate::engine::{AlertDetail, Row, RowState};
use crate::history::Priced;
use crate::web::app::App;
use crate::web::problem::Problem;

/// The parameters of the address line.
#[derive(Deserialize)]
pub(in crate::web) struct AlertPageParams {
    id: String,
}

/// `GET /alert?id=…`
pub(in crate::web) async fn show(State(app): State<App>, uri: Uri, frame: Frame) -> Response {
    let asked: AlertPageParams = match super::parameters(&uri) {
        Ok(asked) => asked,
        Err(problem) => return frame.problem(&problem),
    };
    let id = match alert_id(&asked.id) {
        Ok(id) => id,
        Err(problem) => return frame.problem(&problem),
    };
    let story = match decisions::of_alert(&app, id).await {
        Ok(page) => page.decisions,
        Err(problem) => return frame.problem(&problem),
    };
    let now = frame.now();
    match look(&app, move |engine| engine.query().alert(now, id)).await {
        Ok(Some(detail)) => {
            frame.page(&title(&detail), body(&frame, &detail, &story, &app.gate.suggestions()))
        }
        Ok(None) if !story.is_empty() => frame.page("Alert", past(&frame, &story)),
        Ok(None) => {
            let detail = "this alert is not known any more. It resolved more than a day ago, or never fired";
            frame.problem(&Problem::new(StatusCode::NOT_FOUND, detail))
        }
        Err(problem) => frame.problem(&problem),
    }
}

/// The page of an alert that the engine does not know any more.
fn past(frame: &Frame, story: &[DecisionEntry]) -> Markup {
    html! { h1 { "An alert of the past" } (lanes::draw(story)) (decisions::table(frame, story)) }
}

/// The title of the window: the name of the alert, and where it is.
fn title(detail: &AlertDetail) -> String {
    let labels = &detail.alert.labels;
    let place = ["instance", "host", "pod", "service"].map(|name| labels.value(name));
    let place = place.into_iter().find(|value| !value.is_empty()).unwrap_or_default();
    text::tame(&format!("{} {place}", labels.value("alertname")), 100)
}

fn body(frame: &Frame, detail: &AlertDetail, story: &[DecisionEntry], priced: &Priced) -> Markup {
    let alert = &detail.alert;
    let here = frame.to(&format!("alert{}", text::query(&[("id", &alert.id.to_string())])));
    let matchers = text::matchers_of(&alert.labels);
    let dry = frame.to(&format!("routing{}", text::query(&[("labels", &matchers)])));
    let silence = frame.to(&format!("silences{}", text::query(&[("q", &matchers)])));
    let state = if alert.firing { "firing" } else { "resolved" };
    let summary = alert.annotations.value("summary");
    // Several routes can have the alert in incidents of their own. So can the sender and a profile that
    // observes.
    let incident =
        |row: &Row| Some((row.standing.incident.clone()?, row.standing.state == RowState::Observed));
    let incidents: BTreeSet<_> = detail.rows.iter().filter_map(incident).collect();
    html! {
        (page::live(&here, "5s", frame.now(), state, html! {
            h1.long { (text::title(&alert.labels)) }
            @if !summary.is_empty() { p.subject { (text::sentence(summary)) } }
            nav.large aria-label="Links of the alert" {
                @for (key, observed) in &incidents {
                    @let mark = if *observed { "true" } else { "" };
                    @let query = text::query(&[("key", key), ("observed", mark)]);
                    a.button href=(frame.to(&format!("incident{query}"))) {
                        @if *observed { "Observed incident" } @else { "Incident" } }
                }
                (links(alert))
            }
            @for row in &detail.rows { (stand(frame, row)) div.act { (now::actions(frame, row)) } }
            @if detail.rows.is_empty() {
                div.stand {
                    p { "It is open nowhere, and waits nowhere." }
                    div.act { a.button href=(silence) { "Silence" } }
                }
            }
            dl.facts {
                div { dt { "State" } dd { (state) " for " (text::ago(frame.now(), alert.since())) } }
                div { dt { "Fingerprint" } dd { code { (alert.fingerprint()) } } }
                div { dt { "Dry run" } dd { a href=(dry) { "see its route and its next steps" } } }
            }
            @for flapper in &detail.flappers { (super::flapping::card(frame.now(), flapper, priced)) }
            @if !story.is_empty() { h2 { "Decisions" } (lanes::draw(story)) (decisions::table(frame, story)) }
            h2 { "Labels" }
            (text::labels_in_full(&alert.labels))
            @if !alert.annotations.is_empty() { h2 { "Annotations" } (text::labels_in_full(&alert.annotations)) }
        }))
    }
}
