//! The share of the firings of which a person was notified within a time, for each level of severity.

use maud::{Markup, html};

use super::{CUT, Series, legend};
use crate::history::{SeverityFigures, length, thousands};
use crate::model::Duration;
use crate::web::{tame, values};

/// The times of the figure in seconds, as far apart as the next. Every third has its name below it.
const TIMES: [u64; 13] = [0, 5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600];

/// The times of the table, in seconds.
const COLUMNS: [u64; 5] = [0, 60, 300, 900, 3600];

pub(super) fn figure(series: &[Series<'_>]) -> Markup {
    let Some(first) = series.first() else { return html! {} };
    let levels: Vec<usize> = (0..first.tally.by_severity.len())
        .filter(|level| first.tally.by_severity[*level].firings > 0)
        .collect();
    let times: Vec<String> = COLUMNS.into_iter().map(within).collect();
    let (head, tail) = (["Severity, by"].into_iter(), ["p50", "p99", "Longest"]);
    let columns: Vec<&str> = head.chain(times.iter().map(String::as_str)).chain(tail).collect();
    let each = levels.iter().flat_map(|level| series.iter().map(|one| (*level, one)));
    let rows = each.map(|(level, one)| {
        let (figures, name) = (&one.tally.by_severity[level], &one.name);
        let delays = [figures.delay.quantile(50), figures.delay.quantile(99), figures.delay.max()];
        let shares = COLUMNS.into_iter().map(|seconds| format!("{} %", percent(figures, seconds)));
        let delays = delays.into_iter().map(|delay| delay.map_or("–".to_owned(), length));
        (html! { bdi { (tame(&figures.severity, CUT)) } ", " bdi { (name) } }, shares.chain(delays).collect())
    });
    html! {
        p.lead { "Higher is sooner. A line that ends below 100 % leaves out alerts without a new notification." }
        (legend(series))
        div.weeks {
            @for level in &levels {
                @let severity = tame(&first.tally.by_severity[*level].severity, CUT);
                @let said = said(series, *level);
                figure.plot {
                    @let firings = thousands(first.tally.by_severity[*level].firings);
                    figcaption { b { bdi { (severity) } } ", " (firings) " firings" }
                    div.axes {
                        div.y aria-hidden="true" { span { "100 %" } span { "50 %" } span { "0 %" } }
                        svg.lines viewBox="-1 -2 122 104" preserveAspectRatio="none" role="img" aria-label=(said) {
                            @for y in [0, 50, 100] { line.rule x1="0" x2="120" y1=(y) y2=(y) {} }
                            @for one in series {
                                polyline class=(one.class) points=(points(&one.tally.by_severity[*level])) {
                                    title { (one.name) }
                                }
                            }
                        }
                        div.x aria-hidden="true" { @for (index, seconds) in TIMES.iter().enumerate() {
                            @if index % 3 == 0 { span { (time(*seconds)) } } } }
                    }
                }
            }
        }
        (values("delays", "Share of the firings that a person has heard of within a time", &columns, rows))
    }
}

fn time(seconds: u64) -> String {
    if seconds == 0 { "at once".into() } else { Duration::from_secs(seconds).to_string() }
}

fn within(seconds: u64) -> String {
    if seconds == 0 { "At once".into() } else { format!("Within {}", Duration::from_secs(seconds)) }
}

fn percent(figures: &SeverityFigures, seconds: u64) -> u64 {
    figures.delay.within(Duration::from_secs(seconds)) * 100 / figures.firings.max(1)
}

/// The line in a box of 120 by 100.
fn points(figures: &SeverityFigures) -> String {
    let heard = |seconds: &u64| figures.delay.within(Duration::from_secs(*seconds));
    let point = |(index, seconds)| {
        let tenths = heard(seconds) * 1000 / figures.firings.max(1);
        let down = 1000 - tenths.min(1000);
        format!("{},{}.{}", index * 10, down / 10, down % 10)
    };
    TIMES.iter().enumerate().map(point).collect::<Vec<_>>().join(" ")
}

fn said(series: &[Series<'_>], level: usize) -> String {
    let one = |one: &Series<'_>| {
        let figures = &one.tally.by_severity[level];
        let [soon, late] = [60, 900].map(|seconds| percent(figures, seconds));
        format!("{}: {soon} % within a minute, {late} % within 15 minutes", one.name)
    };
    series.iter().map(one).collect::<Vec<_>>().join(". ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_counts_all_firings_and_not_only_those_that_are_told() {
        let mut figures = SeverityFigures::new("critical");
        figures.firings = 4;
        figures.delay.add(Duration::ZERO);
        figures.delay.add(Duration::from_secs(61));
        let points = points(&figures);
        let points: Vec<&str> = points.split(' ').collect();
        assert_eq!(
            (points[0], points[4], points[5], points[12]),
            ("0,75.0", "40,75.0", "50,50.0", "120,50.0")
        );
        assert_eq!([0, 60, 300].map(|seconds| percent(&figures, seconds)), [25, 25, 50]);
    }
}
