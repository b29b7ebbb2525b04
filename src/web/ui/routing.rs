//! *Routing and health*: the routes of labels with a dry run, the health of receivers, and the
//! configuration in force.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use smol_str::SmolStr;

use super::page::Frame;
use super::silence::WrongField;
use super::{look, text};
use crate::causes;
use crate::deliver::Health;
use crate::engine::{DryOutcome, DryRun, DryStep, Stats};
use crate::model::{
    Decision, Disposition, Duration, Kind, LabelSet, MatchOp, Timestamp, parse_matchers_within,
};
use crate::web::app::App;
use crate::web::problem::Problem;
use crate::web::undelivered::error;
use crate::web::v1::PARAMETERS_COMPILED;

/// The most characters of the configuration that are shown.
const MOST_CONFIG: usize = 40_000;

/// The parameters of the address line.
#[derive(Deserialize, Default)]
pub(in crate::web) struct RoutingPageParams {
    #[serde(default)]
    labels: String,
    #[serde(default)]
    at: String,
}

/// `GET /routing`
pub(in crate::web) async fn show(State(app): State<App>, uri: Uri, frame: Frame) -> Response {
    let asked: RoutingPageParams = match super::parameters(&uri) {
        Ok(asked) => asked,
        Err(problem) => return frame.problem(&problem),
    };
    let (run, wrong) = match dry_run(&app, &asked).await {
        Ok(run) => (run, None),
        Err(No::Wrong(field)) => (None, Some(field)),
        Err(No::Problem(problem)) => return frame.problem(&problem),
    };
    let wrong = wrong.as_ref();
    let status = if wrong.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let stats = app.gate.stats();
    let config = app.gate.configuration();
    let body = html! {
        h1 { "Routing and health" }
        section aria-labelledby="dry" {
            h2 #dry { "Dry run of an alert" }
            form.silence method="get" action=(frame.to("routing")) {
                label { span { "Labels" } input #q name="labels" type="search" value=(asked.labels)
                    autocomplete="off" spellcheck="false" aria-invalid=[WrongField::marks(wrong, "labels")]
                    placeholder="alertname=\"DiskFull\", severity=\"warning\"" aria-keyshortcuts="/";
                    (WrongField::beside(wrong, "labels")) }
                label { span { "starting at" } input name="at" value=(asked.at) placeholder="now, or 2026-11-26T03:00:00Z"
                    size="22" aria-invalid=[WrongField::marks(wrong, "at")]; (WrongField::beside(wrong, "at")) }
                button.primary { "Try" }
            }
            p.why { "A copy of the engine decides. Squelch sends nothing and changes nothing. The copy assumes that receivers answer at once." }
            @if let Some((labels, run)) = &run { (outcome(labels, run)) }
        }
        section aria-labelledby="receivers" { h2 #receivers { "Receivers" }
            (receivers(frame.now(), &stats, &app.gate.health())) }
        section aria-labelledby="config" {
            h2 #config { "Configuration in force" }
            p.why { "Secrets are masked. Comments are left out." }
            pre.config tabindex="0" { code { (text::tame_lines(&config, MOST_CONFIG)) } }
        }
    };
    frame.answer(status, "Routing", body)
}

/// Why there is no dry run.
enum No {
    Wrong(WrongField),
    Problem(Problem),
}

async fn dry_run(app: &App, asked: &RoutingPageParams) -> Result<Option<(LabelSet, DryRun)>, No> {
    if asked.labels.trim().is_empty() {
        return Ok(None);
    }
    let wrong = |field, why: String| No::Wrong(WrongField { field, why });
    let labels = read_labels(&asked.labels).map_err(|why| wrong("labels", why))?;
    let at = match asked.at.trim() {
        "" | "now" => Timestamp::ZERO,
        text => Timestamp::parse(text).map_err(|e| wrong("at", e.to_string()))?,
    };
    let wanted = labels.clone();
    // The engine's own time stands still while nothing happens.
    let at = at.max(app.gate.now());
    let run = look(app, move |engine| engine.query().dry_run(&wanted, at)).await.map_err(No::Problem)?;
    Ok(Some((labels, run)))
}

/// Labels as they stand in a list of matchers that are all `=`.
fn read_labels(text: &str) -> Result<LabelSet, String> {
    let mut allowance = PARAMETERS_COMPILED;
    let matchers = parse_matchers_within(text, &mut allowance).map_err(|e| e.to_string())?;
    if let Some(other) = matchers.iter().find(|m| m.op() != MatchOp::Equal) {
        return Err(format!("{other} is no label. Write name=\"value\""));
    }
    if matchers.is_empty() {
        return Err("write at least one label, such as alertname=\"DiskFull\"".into());
    }
    Ok(LabelSet::from_pairs(matchers.iter().map(|m| (m.name(), m.value()))))
}

fn outcome(labels: &LabelSet, run: &DryRun) -> Markup {
    html! {
        div.stand #outcome {
            p.long { (text::title(labels)) " · severity level " b { (run.severity) } ", starting " (text::moment(run.at)) }
            p.outcome role="status" {
                span class=(if run.pages { "state paged" } else { "state muted" }) { @if run.pages { "pages" } @else { "no page" } }
                " " (text::sentence(&summary(run)))
            }
            table.rows {
                caption { "Its way through the route tree" }
                thead { tr { th scope="col" { "Route" } th scope="col" { "Receiver" } th scope="col" {
                    "Group" } th scope="col" { "Profile" } th scope="col" { "Flap penalty" } } }
                tbody { @for route in &run.routes { tr {
                    td.what { code { bdi { (text::tame(&route.key, 300)) } } p.why { "line " (route.line) } }
                    td data-label="Receiver" { bdi { (text::tame(&route.receiver, 60)) } }
                    td data-label="Group" { (text::title(&route.group)) }
                    td data-label="Profile" { (text::tame(&route.noise, 60)) }
                    td data-label="Flap penalty" { (causes::tenths(route.penalty.0)) " of "
                        (causes::tenths(route.penalty.1.into())) }
                } } }
            }
            ol.steps {
                @for step in &run.steps { li { (one_step(run.at, step)) } }
            }
        }
    }
}

/// The result of a dry run, in one sentence.
fn summary(run: &DryRun) -> String {
    match run.outcome() {
        DryOutcome::Pages { receiver, after } if after.is_zero() => format!("It pages {receiver} at once."),
        DryOutcome::Pages { receiver, after } => format!("It pages {receiver} after {}.", text::span(after)),
        DryOutcome::Disposed { disposition: Disposition::Suppressed(reason), cause } => {
            format!("It pages nobody: {} ({}).", reason.as_str().replace('_', " "), causes::text(&cause))
        }
        DryOutcome::Disposed { disposition, cause } => {
            format!("It opens no new page: {} ({}).", disposition.as_str(), causes::text(&cause))
        }
        DryOutcome::Undecided => "It pages nobody within a day.".into(),
    }
}

fn one_step(start: Timestamp, step: &DryStep) -> Markup {
    let after = |at: Timestamp| html! { b { "+" (text::span(at.since(start))) } " " };
    match step {
        DryStep::Waits { at, until } => {
            html! { (after(*at)) "waits, and the engine looks again after " (text::span(until.since(*at))) }
        }
        DryStep::Sent { at, receiver, integration, kind, cause } => html! {
            (after(*at)) span class=(if *kind == Kind::Page { "state paged" } else { "state held" }) { (kind.as_str()) }
            " leaves for " bdi { (text::tame(receiver, 60)) } " by " (text::tame(integration, 60)) ": "
            (text::cause(Some(cause)))
        },
        DryStep::Decided(decision) => html! {
            (after(decision.at)) span class=(disposed(decision)) {
                @if decision.observed { "would be " } (decision.disposition.as_str()) }
            @if !decision.disposition.reason().is_empty() { " as " b
                { (decision.disposition.reason().replace('_', " ")) } }
            " at " bdi { (text::tame(&decision.receiver, 60)) } ": " (text::cause(Some(&decision.cause)))
        },
    }
}

/// The class that colours a disposition.
fn disposed(decision: &Decision) -> &'static str {
    match decision.disposition {
        _ if decision.observed => "state observed",
        Disposition::Page => "state paged",
        Disposition::Update => "state held",
        Disposition::Resolve => "state resolving",
        Disposition::Suppressed(_) => "state muted",
    }
}

fn receivers(now: Timestamp, stats: &Stats, health: &BTreeMap<SmolStr, Health>) -> Markup {
    let unused = Health::default();
    html! {
        table.rows.health {
            caption.unseen { "Receivers" }
            thead { tr {
                th scope="col" { "Receiver" } th scope="col" { "Circuit" } th scope="col" {
                    "Last accepted" } th.n scope="col" { "Queue" } th.n scope="col" { "Open" } th.n
                    scope="col" { "Held" } th.n scope="col" { "Flapping" }
                th.n scope="col" { "Page messages" } th.n scope="col" { "Over budget" } th.n scope="col" { "Not decided" }
            } }
            tbody { @for (name, receiver) in &stats.receivers {
                @let health = health.get(name).unwrap_or(&unused);
                tr data-row {
                td.what { bdi { (text::tame(name, 60)) } }
                td data-label="Circuit" {
                    @if health.open_circuits.is_empty() { span.state.resolving { "closed" } }
                    @else { span.state.paged { "open" } @for name in &health.open_circuits { " "
                        (text::tame(name, 60)) } }
                }
                td.last data-label="Last accepted" {
                    @match health.accepted {
                        Some(ago) => (text::ago(now, before(now, ago))),
                        None => span.dim { "nothing since the start" },
                    }
                    @if let Some(failure) = &health.failed {
                        p.why {
                            "failed " (text::ago(now, before(now, failure.ago))) " ago at "
                            (text::tame(&failure.integration, 60)) ": "
                            (text::sentence(&error(failure.reason.as_str(), &failure.detail)))
                        }
                    }
                }
                td.n data-label="Queue" { (health.queued) @if let Some(oldest) = health.oldest {
                    ", oldest " (text::ago(now, oldest)) } }
                td.n data-label="Open" { (receiver.open) }
                td.n data-label="Held" { (receiver.held) }
                td.n data-label="Flapping" { (receiver.flapping) }
                td.n data-label="Page messages" {
                    (receiver.notifications.iter().filter(|((_, kind), _)| *kind == Kind::Page).map(|(_,
                    n)| n).sum::<u64>()) }
                td.n data-label="Over budget" { (receiver.over_budget) }
                td.n data-label="Not decided" { (receiver.pending) }
            } } }
        }
    }
}

/// The time that lies so long ago.
fn before(now: Timestamp, ago: std::time::Duration) -> Timestamp {
    now - Duration::from_millis(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_matchers_that_are_equal() {
        assert_eq!(read_labels(r#"{a="1", b="x y"}"#).unwrap().to_string(), r#"{a="1", b="x y"}"#);
        for (text, says) in [("a=~\"x\"", "is no label"), ("{}", "at least one"), ("a=", "")] {
            let read = read_labels(text);
            assert!(read.is_err() != says.is_empty(), "{text}: {read:?}");
        }
    }
}
