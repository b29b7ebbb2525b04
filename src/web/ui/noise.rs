//! *Noise*: the observations, the notifications, and which rules to fix first.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use smol_str::SmolStr;

use super::page::{self, Frame};
use super::{flapping, noise_figures, plot, text};
use crate::config::Limit;
use crate::decision_log::{
    AnswersEntry, ChangingLabelEntry, PRICED, SuggestionEntry, Tally, UnknownSeverityEntry, of_them, removed,
    share,
};
use crate::history::Priced;
use crate::model::Duration;
use crate::web::app::App;
use crate::web::budget;
use crate::web::problem::Problem;
use crate::web::v1::unsearched;

/// The stretches of time that can be looked at.
const SPANS: [(&str, Duration); 5] = [
    ("1h", Duration::from_hours(1)),
    ("6h", Duration::from_hours(6)),
    ("24h", Duration::from_hours(24)),
    ("7d", Duration::from_hours(7 * 24)),
    ("30d", Duration::from_hours(30 * 24)),
];
/// Names in the table.
const TOP: usize = 25;
/// So many saved pages are listed without a click.
const OPEN: usize = 20;
/// Names in the download.
const TOP_CSV: usize = 10_000;

/// The parameters of the address line.
#[derive(Deserialize, Default)]
pub(in crate::web) struct NoisePageParams {
    #[serde(default)]
    span: String,
}

/// The result of one look.
struct Seen {
    span: &'static str,
    length: Duration,
    tally: Tally,
    /// The period before, as long. A log that is too long to count twice has none.
    before: Option<Tally>,
    budgets: BTreeMap<SmolStr, (u64, Limit)>,
    changing: Vec<ChangingLabelEntry>,
    unknown: Vec<UnknownSeverityEntry>,
    priced: Arc<Priced>,
}

/// `GET /noise`
pub(in crate::web) async fn show(State(app): State<App>, uri: Uri, frame: Frame) -> Response {
    match seen(&app, &uri).await {
        Ok(seen) => frame.page("Noise", body(&frame, &seen)),
        Err(problem) => frame.problem(&problem),
    }
}

/// `GET /noise.csv`
pub(in crate::web) async fn csv(State(app): State<App>, uri: Uri) -> Response {
    let seen = match seen(&app, &uri).await {
        Ok(seen) => seen,
        Err(problem) => return problem.into_response(),
    };
    let mut text = String::from(
        "alertname,in,pages,flaps,median_seconds,night_pages,fires,self_resolved,acknowledged,rated,useful\n",
    );
    for (name, counts) in seen.tally.top(TOP_CSV) {
        let lasted = counts.lasted().map_or(0, |d| d.as_millis() / 1000);
        let (came, pages, flaps, night) = (counts.came, counts.pages, counts.flaps, counts.night);
        let AnswersEntry { self_resolved, acknowledged, rated, useful, .. } =
            AnswersEntry::of(seen.tally.incidents_of(name));
        let _ = writeln!(
            text,
            "{},{came},{pages},{flaps},{lasted},{night},{},{self_resolved},{acknowledged},{rated},{useful}",
            cell(name),
            counts.fires
        );
    }
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"squelch-noise.csv\""),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (StatusCode::OK, headers, text).into_response()
}

/// A cell of RFC 4180 that no spreadsheet takes for a formula.
fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

async fn seen(app: &App, uri: &Uri) -> Result<Seen, Problem> {
    let asked: NoisePageParams = super::parameters(uri)?;
    let (span, length) = SPANS.into_iter().find(|(name, _)| *name == asked.span).unwrap_or(SPANS[2]);
    let now = app.gate.now();
    let start = now - length;
    let (tally, before) = tokio::join!(app.gate.noise(start, now), app.gate.noise(start - length, start));
    let (tally, before) = (tally.map_err(unsearched)?, before.ok().filter(|before| before.cut_at.is_none()));
    let stats = app.gate.stats();
    let changing = crate::decision_log::changing_labels(&stats.changing_labels);
    let unknown = crate::decision_log::unknown_severities(&stats.unknown_severities);
    let budgets = budget::spent(app, now).await?;
    let priced = app.gate.suggestions();
    Ok(Seen { span, length, tally, before, budgets, changing, unknown, priced })
}

fn body(frame: &Frame, seen: &Seen) -> Markup {
    let tally = &seen.tally;
    let span = |name: &str| frame.to(&format!("noise{}", text::query(&[("span", name)])));
    html! {
        div.head {
            h1 { "Noise" }
            ul.states aria-label="Time" {
                @for (name, _) in SPANS { li { a href=(span(name))
                    aria-current=[(name == seen.span).then_some("true")] { "last " (name) } } }
            }
            a.button href=(frame.to(&format!("noise.csv{}", text::query(&[("span", seen.span)])))) { "Download CSV" }
        }
        @let said = format!("{} pages of {}", tally.pages, tally.came);
        (page::live(&span(seen.span), "15s", frame.now(), &said, counts(frame, seen)))
    }
}

fn counts(frame: &Frame, seen: &Seen) -> Markup {
    let tally = &seen.tally;
    html! {
        @if let Some(cut) = tally.cut_at {
            p.lead { "There are too many decisions for one page. Squelch counted those since " (text::moment(cut)) "." }
        }
        div.tiles {
            div.tile { b { @match tally.removed() { Some(share) => { (share) " %" }, None => "–" } } span
                { "of the observations interrupted nobody" } }
            div.tile { b { (tally.came) } span { "observations came in" } }
            div.tile { b { (tally.pages) } span { "pages decided"
                @if let Some(of_them) = of_them(tally.internal_pages, tally.second_pages) { ", " (of_them) } } }
            @for (receiver, (pages, budget)) in &seen.budgets {
                div.tile {
                    b { (pages) span { " / " (budget.pages) } }
                    span { "pages at " bdi { (text::tame(receiver, 40)) } " in " (budget.per) @if *pages >
                        budget.pages.into() { " " span.state.paged { "over budget" } } @else {
                        ", within budget" } }
                }
            }
        }
        @if let Some(share) = removed(tally.observed.came, tally.observed.pages) {
            p.mode {
                b { "Only observed" } ": Squelch would have sent " b { (plot::pages_text(tally.observed.pages)) } " for "
                (tally.observed.came) " observations, and " b { (share) " %" } " would have interrupted nobody."
            }
        }
        @if tally.observed.came > 0 { (saved(frame, tally)) }
        h2 { "Observations that interrupted nobody, by cause, and the pages" }
        (noise_figures::by_cause(tally, seen.before.as_ref()))
        @let fits = |(_, (_, limit)): &(&SmolStr, &(u64, Limit))| limit.per <= seen.length;
        @let budgets: Vec<_> = seen.budgets.iter().filter(fits).collect();
        @if !budgets.is_empty() {
            h2 { "Page budgets" }
            @for (receiver, (_, limit)) in budgets {
                (noise_figures::budget(receiver, limit, tally, seen.before.as_ref()))
            }
        }
        h2 { "Pages by hour of the week, " (tally.location.name()) }
        (noise_figures::week(tally))
        h2 { "Dispositions" }
        @if tally.by_fate.is_empty() { p.empty { "Nothing came in." } } @else { (fates(&tally.by_fate, tally.came)) }
        @if !tally.observed.by_fate.is_empty() {
            h2 { "Dispositions of alerts that are only observed" }
            (fates(&tally.observed.by_fate, tally.observed.came))
        }
        @if !seen.changing.is_empty() {
            h2 { "Labels whose value changes at each evaluation" }
            p.lead { "Each change ends one alert and starts another one. Add the line under " code { "identity" }
                " to make them one alert." }
            (changing(&seen.changing))
        }
        @if !seen.unknown.is_empty() {
            h2 { "Severity values that no level names" }
            p.lead { "Correct the rules, or add the values to the " code { "aliases" } " of a level. For alerts without a "
                "severity, " code { "severities.default" } " names the level." }
            (unknown(&seen.unknown))
        }
        h2 { "Most frequent alerts" }
        (names(frame, tally))
        @if !seen.priced.suggestions.is_empty() {
            h2 { "Suggestions" }
            p.lead { (text::with_code(PRICED)) }
            @for one in &seen.priced.suggestions { (flapping::suggestion(&SuggestionEntry::from(one))) }
        }
    }
}

/// The pages that were sent and that Squelch would have saved.
fn saved(frame: &Frame, tally: &Tally) -> Markup {
    let saved = &tally.observed.saved;
    html! {
        p.outcome { (plot::pages_text(tally.observed.sent)) " sent as the senders sent them. Squelch would have sent "
            (tally.observed.pages) "." }
        @if !saved.is_empty() {
            details.saved #saved open[saved.len() <= OPEN] {
                summary { (plot::pages_text(saved.len() as u64)) " that Squelch would have saved" }
                table.rows {
                    caption.unseen { "Pages that Squelch would have saved, the newest first" }
                    thead { tr { th scope="col" { "Sent" } th scope="col" { "Alert" } th scope="col" { "Receiver" }
                        th scope="col" { "Squelch would have decided" } } }
                    tbody { @for one in saved {
                        @let filter = text::matchers_of(&one.labels);
                        tr data-row {
                            td data-label="Sent" { (text::moment(one.at)) }
                            td.what { a href=(frame.to(&format!("decisions{}", text::query(&[("q", &filter)])))) {
                                (text::title(&one.labels)) } }
                            td data-label="Receiver" { bdi { (text::tame(&one.receiver, 60)) } }
                            td data-label="Would" { (one.fate.replace('_', " ")) }
                        }
                    } }
                }
            }
        }
    }
}

fn fates(by_fate: &BTreeMap<(String, String), u64>, came: u64) -> Markup {
    let word = |(disposition, reason): &(String, String)| {
        if reason.is_empty() { disposition.clone() } else { reason.replace('_', " ") }
    };
    let mut fates: Vec<_> = by_fate.iter().map(|(fate, count)| (word(fate), *count)).collect();
    fates.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), name.clone()));
    html! {
        table.rows {
            caption.unseen { "Observations by disposition" }
            thead { tr { th scope="col" { "Disposition" } th.n scope="col" { "Observations" } th scope="col" { "Share" } } }
            tbody { @for (name, count) in fates {
                @let share = share(count, came);
                tr data-row {
                    td data-label="State" { (name) }
                    td.n data-label="Observations" { (count) }
                    td data-label="Share" { div.share {
                        svg viewBox="0 0 100 10" aria-hidden="true" { rect.track width="100" height="10"
                            rx="2" {} rect.fill width=(share) height="10" rx="2" {} }
                        (share) " %"
                    } }
                }
            } }
        }
    }
}

fn changing(labels: &[ChangingLabelEntry]) -> Markup {
    html! {
        table.rows {
            caption.unseen { "Labels whose value changes at each evaluation" }
            thead { tr { th scope="col" { "Alert" } th scope="col" { "Label" } th.n scope="col" { "Changes in a row" }
                th scope="col" { "Line" } } }
            tbody { @for one in labels { tr data-row {
                td.what { bdi.name { (text::tame(&one.alertname, 100)) } }
                td data-label="Label" { bdi { (text::tame(&one.label, 100)) } }
                td.n data-label="Changes in a row" { (one.changes) }
                td data-label="Line" { code { (text::tame(&one.yaml, 200)) } }
            } } }
        }
    }
}

fn unknown(values: &[UnknownSeverityEntry]) -> Markup {
    html! {
        table.rows {
            caption.unseen { "Severity values that no level names" }
            thead { tr { th scope="col" { "Value" } th.n scope="col" { "Alerts in 24 h" } } }
            tbody { @for one in values { tr data-row {
                td.what { bdi.name { (text::tame(one.name(), 100)) } }
                td.n data-label="Alerts in 24 h" { (one.alerts) }
            } } }
        }
    }
}

fn names(frame: &Frame, tally: &Tally) -> Markup {
    html! {
        p.lead { "An incident belongs to the rule whose alert opened it. It resolves itself if nobody acknowledges it. "
            "Nights are from 22 to 6 in the time zone " (tally.location.name()) ". Change it with " code { "on_call" }
            " in the configuration." }
        table.rows {
            caption.unseen { "Alert names that came most" }
            thead { tr {
                th scope="col" { "Alert" } th.n scope="col" { "Observations" } th.n scope="col" { "Fires" } th.n scope="col" { "Pages" }
                th.n scope="col" { "Self-resolved" } th.n scope="col" { "Acknowledged" } th.n scope="col" { "Useful" }
                th.n scope="col" { "Flaps" } th.n scope="col" { "Lasted (median)" }
                th.n scope="col" { "Night pages (22–6)" }
            } }
            tbody { @for (name, counts) in tally.top(TOP) {
                @let filter = format!("alertname={}", crate::model::Quoted(name));
                @let answers = AnswersEntry::of(tally.incidents_of(name));
                tr data-row {
                    td.what { a href=(frame.to(&format!("decisions{}", text::query(&[("q", &filter)])))) {
                        (text::alert_name(if name.is_empty() { "(no name)" } else { name })) } }
                    td.n data-label="Observations" { (counts.came) }
                    td.n data-label="Fires" { (counts.fires) }
                    td.n data-label="Pages" { (counts.pages) }
                    td.n data-label="Self-resolved" { (answers.self_resolved) }
                    td.n data-label="Acknowledged" { (answers.acknowledged) }
                    td.n data-label="Useful" { (answers.useful_text()) }
                    td.n data-label="Flaps" { (counts.flaps) }
                    td.n data-label="Lasted" { @match counts.lasted()
                        { Some(lasted) => (text::span(lasted)), None => "–" } }
                    td.n data-label="Night pages" { (counts.night) }
                }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_cell_is_a_formula() {
        for (text, cell) in [("Disk", "\"Disk\""), ("=1+1", "\"'=1+1\""), ("a\"b,c", "\"a\"\"b,c\"")] {
            assert_eq!(super::cell(text), cell);
        }
    }
}
