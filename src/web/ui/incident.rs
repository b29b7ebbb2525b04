//! One incident, or one alert: what it is about, where it stands, and what a person can do about it.

use std::borrow::Cow;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{self, Frame};
use super::{ROWS, alert_id, decisions, lanes, look, now, offset, text};
use crate::causes;
use crate::decision_log::Entry;
use crate::engine::{AlertDetail, KnownAlert, OpenIncident, Origin, Row, RowState};
use crate::ingest::events::pagerduty::Change;
use crate::web::app::App;
use crate::web::problem::Problem;

/// What is asked for in the address line.
#[derive(Deserialize)]
pub(in crate::web) struct IncidentPageParams {
    key: String,
    /// What would be, where the same key stands for what is.
    #[serde(default)]
    observed: bool,
    page: Option<usize>,
}

/// `GET /incident?key=…`
pub(in crate::web) async fn show(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    let frame = Frame::new(&app, &uri, &headers).await;
    let asked: IncidentPageParams = match super::asked(&uri) {
        Ok(asked) => asked,
        Err(problem) => return frame.problem(&problem),
    };
    let (key, observed, from) = (asked.key.clone(), asked.observed, offset(asked.page));
    match look(&app, move |engine| engine.query().incident(&key, observed, from, ROWS)).await {
        Ok(Some(detail)) => {
            let changes = app.changes.since(detail.row.since);
            frame.page("Incident", body(&frame, &asked, &detail, &changes))
        }
        Ok(None) => {
            let detail = "no open incident has this key: it is over, or was never one";
            frame.problem(&Problem::new(StatusCode::NOT_FOUND, detail))
        }
        Err(problem) => frame.problem(&problem),
    }
}

fn body(frame: &Frame, asked: &IncidentPageParams, detail: &OpenIncident, changes: &[Change]) -> Markup {
    let link = |page: usize| {
        let page = page.to_string();
        let observed = if asked.observed { "true" } else { "" };
        frame.to(&format!(
            "incident{}",
            text::query(&[("key", &asked.key), ("observed", observed), ("page", &page)])
        ))
    };
    let page = asked.page.unwrap_or(1).max(1);
    let (row, now) = (&detail.row, frame.now());
    let observed = row.standing.state == RowState::Observed;
    let (state, _) = text::state(row.standing.state);
    let summary = format!("{state}, {} of {} alerts fire", row.firing, row.alerts);
    let refused = detail.refused.iter().map(|refused| text::tame(&refused.integration, 60));
    let refused: Vec<String> = refused.collect();
    html! {
        (page::live(&link(page), "5s", now, &summary, html! {
            h1.long { (now::heading(row)) }
            (stand(frame, row))
            dl.facts {
                div { dt { @if observed { "Would page" } @else { "Paged" } } dd {
                    (text::moment(row.since)) ", " (text::ago(now, row.since)) " ago" } }
                @if let Some((by, at)) = &row.acknowledged {
                    div { dt { "Acknowledged" } dd {
                        "by " bdi { (text::tame(by, 60)) } ", " (text::ago(now, *at)) " ago. Squelch does not repeat it." } }
                }
                @if !refused.is_empty() { div { dt { "Refused by" } dd { (refused.join(" ")) } } }
                div { dt { "Shown at" } dd { @if detail.delivered.is_empty() { "no receiver yet" } @else
                    { @for name in &detail.delivered { bdi { (text::tame(name, 60)) } " " } } } }
                div { dt { "Alerts" } dd { (row.firing) " of " (row.alerts) " fire" } }
                div { dt { "Group key" } dd { code { bdi { (text::tame(&detail.group_key, 400)) } } } }
                div { dt { "Generation" } dd { (detail.generation) } }
                div { dt { "Dedup key" } dd { code { (asked.key) } } }
            }
            h2 { "Alerts" }
            table.rows {
                caption.unseen { "Alerts of the incident: those that fire first, then by severity, then by name" }
                thead { tr { th scope="col" { "State" } th scope="col" { "What" } th scope="col" { "Since" } } }
                tbody { @for alert in &detail.alerts { (alert_row(frame, row, alert)) } }
            }
            (page::pager(row.alerts, page, link))
            (self::changes(frame, changes))
        }))
    }
}

/// What changed at the time of the incident.
fn changes(frame: &Frame, changes: &[Change]) -> Markup {
    let now = frame.now();
    html! {
        @if !changes.is_empty() {
            h2 { "Changes" }
            p { "Change events since an hour before the page, the newest first." }
            ul.changes { @for change in changes {
                li {
                    (text::ago(now, change.at)) " ago: " (text::sentence(&change.summary))
                    @if !change.source.is_empty() { " (" bdi { (text::tame(&change.source, 60)) } ")" }
                    @for (name, href) in &change.links { " " (text::link(href, &text::tame(name, 60))) }
                }
            } }
        }
    }
}

/// Where something stands: state, why, what next, and what can be done.
fn stand(frame: &Frame, row: &Row) -> Markup {
    let now = frame.now();
    html! {
        div.stand {
            @if row.standing.state == RowState::Observed {
                p.mode { "Only observed: its profile has the observe mode, so Squelch tells nobody." }
            }
            @if row.standing.origin == Origin::Sender {
                p.mode { "As sent: its profile has the observe mode, so Squelch passes on what the sender sends." }
            }
            @if row.standing.origin == Origin::Internal { p.mode { "Internal: Squelch says this about itself." } }
            p {
                (now::state(row)) " at "
                bdi { (text::tame(&row.standing.receiver, 60)) } " · "
                span.sev { (text::tame(&row.severity, 40)) }
                " · " (text::cause(row.standing.cause.as_ref()))
            }
            @if let Some((at, what)) = row.standing.next {
                p.next { "Next: it " (causes::next_step(what)) " " (text::until(now, at)) }
            }
            div.act { (now::actions(frame, row)) }
        }
    }
}

/// What an alert says about itself.
fn summary(alert: &KnownAlert) -> Cow<'_, str> {
    match &alert.problem {
        Some(problem) => causes::problem(problem).into(),
        None => alert.annotations.value("summary").into(),
    }
}

fn alert_row(frame: &Frame, row: &Row, alert: &KnownAlert) -> Markup {
    let now = frame.now();
    let link = frame.to(&format!("alert{}", text::query(&[("id", &alert.id.to_string())])));
    html! {
        tr data-row {
            td data-label="State" {
                @if alert.firing { span.state.paged { "firing" } } @else { span.state.expired { "resolved" } }
                @if let Some(flaps) = alert.flaps { " " span.state.flapping { (flaps) " changes" } }
            }
            td.what {
                @if row.standing.origin == Origin::Internal { (text::title(&alert.labels)) }
                @else { a id=(format!("a{}", alert.id)) href=(link) { (text::title(&alert.labels)) } }
                p.why {
                    span.sev { (text::tame(&alert.severity, 40)) } " "
                    (text::sentence(&summary(alert)))
                }
            }
            td data-label="Since" { (text::ago(now, alert.since())) }
        }
    }
}

/// What is asked for in the address line.
#[derive(Deserialize)]
pub(in crate::web) struct AlertPageParams {
    id: String,
}

/// `GET /alert?id=…`
pub(in crate::web) async fn alert(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    let frame = Frame::new(&app, &uri, &headers).await;
    let asked: AlertPageParams = match super::asked(&uri) {
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
        Ok(Some(detail)) => frame.page("Alert", alert_body(&frame, &detail, &story)),
        Ok(None) if !story.is_empty() => frame.page("Alert", past(&frame, &story)),
        Ok(None) => {
            let detail = "this alert is not known any more; it resolved more than a day ago, or never fired";
            frame.problem(&Problem::new(StatusCode::NOT_FOUND, detail))
        }
        Err(problem) => frame.problem(&problem),
    }
}

/// What is left of an alert that the engine does not know any more.
fn past(frame: &Frame, story: &[Entry]) -> Markup {
    html! { h1 { "An alert of the past" } (lanes::draw(story)) (decisions::table(frame, story)) }
}

fn alert_body(frame: &Frame, detail: &AlertDetail, story: &[Entry]) -> Markup {
    let alert = &detail.alert;
    let here = frame.to(&format!("alert{}", text::query(&[("id", &alert.id.to_string())])));
    let matchers = text::matchers_of(&alert.labels);
    let dry = frame.to(&format!("routing{}", text::query(&[("labels", &matchers)])));
    let silence = frame.to(&format!("silences{}", text::query(&[("q", &matchers)])));
    let state = if alert.firing { "firing" } else { "resolved" };
    html! {
        (page::live(&here, "5s", frame.now(), state, html! {
            h1.long { (text::title(&alert.labels)) }
            @for row in &detail.rows { (stand(frame, row)) }
            @if detail.rows.is_empty() {
                div.stand {
                    p { "It is open nowhere, and waits nowhere." }
                    div.act { a.button href=(silence) { "Silence" } }
                }
            }
            dl.facts {
                div { dt { "State" } dd { (state) " for " (text::ago(frame.now(), alert.since())) } }
                div { dt { "Fingerprint" } dd { code { (alert.fingerprint()) } } }
                @if !alert.generator_url.is_empty() { div
                    { dt { "Rule" } dd { (text::link(&alert.generator_url, "where it is evaluated")) } } }
                div { dt { "What if" } dd { a href=(dry) { "see its route and what would become of it" } } }
            }
            @for flapper in &detail.flappers { (super::flapping::card(frame.now(), flapper)) }
            @if !story.is_empty() { h2 { "What became of it" } (lanes::draw(story)) (decisions::table(frame, story)) }
            h2 { "Labels" }
            (text::labels_in_full(&alert.labels))
            @if !alert.annotations.is_empty() { h2 { "Annotations" } (text::labels_in_full(&alert.annotations)) }
        }))
    }
}
