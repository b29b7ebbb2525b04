//! The report as one page that needs nothing else: it can be mailed, kept and read anywhere.

mod days;
mod delays;
mod rules;
mod series;
mod week;

use std::io::{self, Write};

use maud::{Markup, html};

use series::{CUT, Series, legend};

use crate::commands::document::document;
use crate::history::{Against, BacktestReport, BacktestSide, Difference, length, swallowed, thousands};
use crate::web::{pages_text as pages, tame};

/// Writes the page.
///
/// # Errors
/// `out` failed.
pub(super) fn write(out: &mut impl Write, report: &BacktestReport) -> io::Result<()> {
    out.write_all(page(report).into_string().as_bytes())?;
    out.flush()
}

/// The compared series: Alertmanager first, the configuration on trial last.
fn series(report: &BacktestReport) -> Vec<Series<'_>> {
    let trial = &report.trial;
    let name = |side: &BacktestSide| match report.against {
        Some(_) => format!("Squelch, {}", file(side)),
        None => "Squelch".to_owned(),
    };
    let mut all =
        vec![Series { name: "Alertmanager".into(), class: "before", tally: &trial.alertmanager.pages }];
    all.extend(report.against.as_ref().map(|against| Series {
        name: name(&against.side),
        class: "other",
        tally: &against.side.squelch.pages,
    }));
    all.push(Series { name: name(trial), class: "after", tally: &trial.squelch.pages });
    all
}

fn file(side: &BacktestSide) -> String {
    tame(&side.file, CUT)
}

fn page(report: &BacktestReport) -> Markup {
    let title = format!("Backtest of {}", file(&report.trial));
    document(
        &title,
        &html! {
            @match (report.history.from, report.history.to) {
                (Some(from), Some(to)) => {
                    (verdicts(report))
                    p.lead { (thousands(report.history.observations)) " observations from " (from) " to " (to)
                        " (" (length(to.since(from))) "). All times are UTC. “Today” and Alertmanager mean an "
                        "Alertmanager that reads the same file." }
                    (body(report))
                }
                _ => { h1 { "The history is empty." } }
            }
        },
    )
}

fn verdicts(report: &BacktestReport) -> Markup {
    let against = report.against.as_ref().map(|against| &against.side);
    html! {
        h1.verdict {
            @if against.is_some() { bdi { (file(&report.trial)) } ": " }
            (report.trial.verdict)
        }
        p { (swallowed(&report.trial)) }
        @if let Some(side) = against {
            p.verdict { b { bdi { (file(side)) } ": " } (side.verdict) }
            p { (swallowed(side)) }
        }
    }
}

fn body(report: &BacktestReport) -> Markup {
    let series = series(report);
    html! {
        div.tiles {
            @for one in &series {
                div.tile { b { (thousands(one.tally.pages)) } span { "pages, " bdi { (one.name) } } }
            }
            @for one in &series {
                div.tile { b { (thousands(one.tally.swallowed())) } span { "alerts swallowed, " bdi { (one.name) } } }
            }
        }
        h2 { "Pages per day" }
        (days::figure(report, &series))
        h2 { "Pages by day of the week and hour" }
        (week::figure(&series))
        h2 { "How soon a person hears of an alert" }
        (delays::figure(&series))
        h2 { "Outcome of the alerts" }
        (severities(&series))
        h2 { "Pages by rule" }
        (rules::figure(&series))
        @if let Some(against) = &report.against { (difference(report, against)) }
    }
}

fn severities(series: &[Series<'_>]) -> Markup {
    let all = series.first().map_or(0, |one| one.tally.by_severity.len());
    let occurs = |level: &usize| series.iter().any(|one| one.tally.by_severity[*level].occurs());
    let levels: Vec<usize> = (0..all).filter(occurs).collect();
    let later = |one: &Series<'_>, level: usize| match (one.class, &one.tally.by_severity[level]) {
        ("before", _) => "–".to_owned(),
        (_, figures) if figures.never > 0 => {
            format!("{}, {} never", thousands(figures.later), thousands(figures.never))
        }
        (_, figures) => thousands(figures.later),
    };
    html! {
        p.lead { "Each firing of an alert counts once for each receiver that it goes to." }
        table.rows {
            caption.unseen { "Outcome of the alerts, by severity" }
            thead { tr {
                th scope="col" { "Severity" } th scope="col" { "By" } th.n scope="col" { "Firings" }
                th.n scope="col" { "Pages" } th.n scope="col" { "In a page" } th.n scope="col" { "Joined" }
                th.n scope="col" { "Swallowed" } th.n scope="col" { "In an open incident" } th.n scope="col" { "Not notified" }
                th.n scope="col" { "Delay p50" } th.n scope="col" { "p99" } th.n scope="col" { "Later than today" }
            } }
            tbody { @for level in levels { @for one in series {
                @let figures = &one.tally.by_severity[level];
                @let delay = |percent| figures.delay.quantile(percent).map_or("–".to_owned(), length);
                tr data-row {
                    td.sev data-label="State" { bdi { (tame(&figures.severity, CUT)) } }
                    td data-label="By" { bdi { (one.name) } }
                    td.n data-label="Firings" { (thousands(figures.firings)) }
                    td.n data-label="Pages" { (thousands(figures.pages)) }
                    td.n data-label="In a page" { (thousands(figures.paged)) }
                    td.n data-label="Joined" { (thousands(figures.joined)) }
                    td.n data-label="Swallowed" { (thousands(figures.swallowed)) }
                    td.n data-label="In an open incident" { (thousands(figures.open)) }
                    td.n data-label="Not notified" { (thousands(figures.not_notified)) }
                    td.n data-label="Delay p50" { (delay(50)) }
                    td.n data-label="p99" { (delay(99)) }
                    td.n data-label="Later than today" { (later(one, level)) }
                }
            } } }
        }
        dl.facts.terms {
            div { dt { "Joined" } dd { "People first hear of the alert in the update of an incident that is at most 15 minutes old." } }
            div { dt { "Swallowed" } dd { "The incident is older than 15 minutes, so people hardly notice the update." } }
            div { dt { "In an open incident" } dd { "The alert fires again while an open incident lists it." } }
            div { dt { "Not notified" } dd { "The alert resolves before a receiver is notified, or the configuration withholds it." } }
        }
    }
}

fn difference(report: &BacktestReport, against: &Against) -> Markup {
    let (new, old) = (file(&report.trial), file(&against.side));
    let found = &against.difference;
    let parts: [(&Difference, String, String); 4] = [
        (&found.gained, format!("{old} does not page them"), format!("{old} lists it")),
        (&found.lost, format!("{new} notifies nobody of them"), String::new()),
        (&found.quiet, format!("{new} lists them in an open incident"), format!("{new} lists it")),
        (&found.later, format!("{new} pages them later"), format!("{new} pages it")),
    ];
    html! {
        h2 { "Pages of " bdi { (new) } " and of " bdi { (old) } }
        p.lead { (thousands(found.same)) " pages are the same." }
        @for (difference, what, other) in parts.iter().filter(|(difference, _, _)| difference.pages > 0) {
            h3 { (pages(difference.pages)) ": " bdi { (what) } }
            table.rows {
                caption.unseen { (what) }
                thead { tr { th scope="col" { "Alert" } th scope="col" { "Page" }
                    @if !other.is_empty() { th scope="col" { bdi { (other) } } } } }
                tbody { @for example in &difference.first { tr data-row {
                    td.what { bdi { (tame(&example.alert, 300)) } }
                    td data-label="Page" { (example.at) }
                    @if !other.is_empty() { td data-label=(other) {
                        @match example.other { Some(at) => { (at) }, None => { "–" } } } }
                } } }
            }
            @let rest = difference.pages.saturating_sub(difference.first.len() as u64);
            @if rest > 0 { p.dim { "and " (thousands(rest)) " more" } }
        }
        @if found.truncated { p.dim { "There was more than can be compared: choose a shorter history." } }
    }
}
