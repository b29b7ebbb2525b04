//! The figures of *Noise*: observations by cause with the pages as marks, page budgets, and hours of the
//! week.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::values::values;
use super::{plot, text};
use crate::config::Limit;
use crate::decision_log::Tally;
use crate::history::thousands;
use crate::model::{Duration, Timestamp};

/// Width of the drawings, in their own units.
const WIDTH: u64 = 960;
/// Their height. The marks of pages stand above the bars.
const HEIGHT: u64 = 400;
const MARKS: u64 = 30;
/// Points of a curve.
const POINTS: u64 = 96;
/// Causes from the bottom of a bar to its top. Each has the colour of its place.
const CAUSES: [&str; 14] = [
    "duplicate",
    "grouped",
    "update",
    "resolve",
    "flapping",
    "storm",
    "rate_limited",
    "usual",
    "self_resolved",
    "silenced",
    "muted",
    "inhibited",
    "stale",
    "never_paged",
];

/// Observations that interrupted no person, by cause, and pages as marks. A dashed line is the period
/// before.
pub(super) fn by_cause(tally: &Tally, before: Option<&Tally>) -> Markup {
    let quiet = totals(tally);
    let earlier = before.map(totals).unwrap_or_default();
    let most = quiet.iter().chain(&earlier).copied().max().unwrap_or(0).max(1);
    let sum: u64 = quiet.iter().sum();
    let said = format!(
        "{} observations interrupted nobody, and Squelch decided {}",
        thousands(sum),
        plot::pages_text(tally.pages)
    );
    let causes: Vec<(usize, &str)> =
        CAUSES.into_iter().enumerate().filter(|(_, cause)| tally.quiet.contains_key(*cause)).collect();
    html! {
        figure.plot.causes {
            figcaption { (said) @if let Some(before) = before {
                ". In the period before, which is as long, it was " (thousands(totals(before).iter().sum()))
                " and " (plot::pages_text(before.pages)) } "." }
            (plot::over_time(tally.from, tally.to, most, &html! {
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(said) {
                    @for (place, path) in bars(tally, &causes, most) {
                        path class=(format!("c{place}")) d=(path) {}
                    }
                    @if earlier.iter().any(|count| *count > 0) {
                        polyline.before points=(line(&earlier, most)) {}
                    }
                    path.page d=(marks(tally)) {}
                }
            }))
            ul.legend {
                @for (place, cause) in &causes { li {
                    svg.mark viewBox="0 0 24 8" aria-hidden="true" { rect class=(format!("c{place}")) width="24" height="8" {} }
                    (cause.replace('_', " "))
                } }
                li { svg.mark viewBox="0 0 24 8" aria-hidden="true" { path.page d="M12,0v8" {} } "page" }
                @if before.is_some() { li { svg.mark viewBox="0 0 24 8" aria-hidden="true" {
                    line.before x1="0" y1="4" x2="24" y2="4" {} } "the period before, all causes" } }
            }
            (by_cause_values(tally, &causes, before.map(|_| &earlier[..]), &said))
        }
    }
}

/// The steps that have an observation or a page.
fn by_cause_values(tally: &Tally, causes: &[(usize, &str)], before: Option<&[u64]>, said: &str) -> Markup {
    let named = causes.iter().map(|(_, cause)| cause.replace('_', " "));
    let columns: Vec<String> = ["From".to_owned(), "pages".to_owned()]
        .into_iter()
        .chain(named)
        .chain(before.map(|_| "the period before".to_owned()))
        .collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let row = |(step, (_, pages)): (usize, &(u64, u64))| {
        let start = tally.from + Duration::from_millis(tally.step().as_millis() * step as u64);
        let counts = causes.iter().map(|(_, cause)| tally.quiet[*cause][step]);
        let counts: Vec<u64> =
            std::iter::once(*pages).chain(counts).chain(before.map(|before| before[step])).collect();
        let some = counts.iter().any(|count| *count > 0);
        some.then(|| (text::short(tally.to, start), counts.into_iter().map(thousands).collect()))
    };
    values("by-cause", said, &columns, tally.over_time.iter().enumerate().filter_map(row))
}

/// Observations of each step that interrupted no person.
fn totals(tally: &Tally) -> Vec<u64> {
    let mut totals = vec![0; tally.over_time.len()];
    for steps in tally.quiet.values() {
        totals.iter_mut().zip(steps).for_each(|(total, count)| *total += count);
    }
    totals
}

/// For each cause one path with all of its parts, above the parts of the causes before it.
fn bars(tally: &Tally, causes: &[(usize, &str)], most: u64) -> Vec<(usize, String)> {
    let steps = tally.over_time.len().max(1);
    let width = WIDTH / steps as u64;
    let mut below = vec![0; steps];
    let path = |(place, cause): &(usize, &str)| {
        let mut path = String::new();
        for (step, count) in tally.quiet[*cause].iter().enumerate().filter(|(_, count)| **count > 0) {
            let (low, high) = (height(below[step], most), height(below[step] + count, most));
            below[step] += count;
            // Writing to a string cannot fail.
            let _ = write!(
                path,
                "M{},{}h{}v{}h-{}z",
                step as u64 * width,
                HEIGHT - high,
                width - 1,
                (high - low).max(1),
                width - 1
            );
        }
        (*place, path)
    };
    causes.iter().map(path).collect()
}

fn height(count: u64, most: u64) -> u64 {
    (u128::from(count) * u128::from(HEIGHT - MARKS) / u128::from(most.max(1))) as u64
}

/// A curve through the middle of each step.
fn line(counts: &[u64], most: u64) -> String {
    let width = WIDTH / (counts.len().max(1) as u64);
    let point = |(step, count): (usize, &u64)| {
        format!("{},{}", step as u64 * width + width / 2, HEIGHT - height(*count, most))
    };
    counts.iter().enumerate().map(point).collect::<Vec<_>>().join(" ")
}

/// A mark for each page. Pages at one place of the drawing share one.
fn marks(tally: &Tally) -> String {
    let whole = tally.to.since(tally.from).as_millis().max(1);
    let pages = tally.receivers.values().flat_map(|(_, pages)| pages);
    let mut places: Vec<u64> =
        pages.map(|at| at.since(tally.from).as_millis().min(whole) * WIDTH / whole).collect();
    places.sort_unstable();
    places.dedup();
    places.iter().map(|x| format!("M{x},0v{}", MARKS - 6)).collect()
}

/// The pages of a receiver within the time of its budget, and the budget as a line.
pub(super) fn budget(receiver: &str, limit: &Limit, tally: &Tally, before: Option<&Tally>) -> Markup {
    let Limit { pages: budget, per } = *limit;
    let budget = u64::from(budget);
    let of =
        |tally: &Tally| tally.receivers.get(receiver).map(|(_, pages)| pages.clone()).unwrap_or_default();
    let mut pages = before.map(of).unwrap_or_default();
    pages.extend(of(tally));
    let counts = rolling(&pages, per, tally.from, tally.to);
    let peak = counts.iter().copied().max().unwrap_or(0);
    // Even, so that the scale has its middle.
    let most = peak.max(budget).max(1).next_multiple_of(2);
    let y = |count: u64| 100 - count * 100 / most;
    let points =
        counts.iter().enumerate().map(|(n, count)| format!("{},{}", n as u64 * WIDTH / POINTS, y(*count)));
    let said = format!("at most {} in {per} of a budget of {budget}", plot::pages_text(peak));
    let within = format!("pages in {per}");
    // The first count, and each that differs from the one before it.
    let differs = |n: &usize| *n == 0 || counts[*n] != counts[*n - 1];
    let changes = (0..counts.len())
        .filter(differs)
        .map(|n| (text::short(tally.to, point(tally.from, tally.to, n as u64)), vec![thousands(counts[n])]));
    html! {
        figure.plot.budget {
            figcaption {
                bdi { (text::tame(receiver, 60)) } ": " (said)
                @if peak > budget { ". " span.state.paged { "over budget" } }
            }
            (plot::over_time(tally.from, tally.to, most, &html! {
                svg viewBox=(format!("0 -2 {WIDTH} 104")) preserveAspectRatio="none" role="img" aria-label=(said) {
                    line.budget x1="0" x2=(WIDTH) y1=(y(budget)) y2=(y(budget)) { title { "budget " (budget) } }
                    polyline.after points=(points.collect::<Vec<_>>().join(" ")) {}
                }
            }))
            (values(&format!("budget-{}", text::id(receiver)), &said, &["From", &within], changes))
        }
    }
}

/// The time of a point of a curve.
fn point(from: Timestamp, to: Timestamp, n: u64) -> Timestamp {
    from + Duration::from_millis(to.since(from).as_millis() * n / POINTS)
}

/// At [`POINTS`] + 1 times: how many of `pages`, oldest first, are not older than `per`.
fn rolling(pages: &[Timestamp], per: Duration, from: Timestamp, to: Timestamp) -> Vec<u64> {
    let count = |n: u64| {
        let at = point(from, to, n);
        let until = |at: Timestamp| pages.partition_point(|page| *page <= at) as u64;
        until(at) - until(at - per)
    };
    (0..=POINTS).map(count).collect()
}

/// Pages by hour of the week.
pub(super) fn week(tally: &Tally) -> Markup {
    let most = tally.by_week.iter().flatten().copied().max().unwrap_or(0);
    let said = plot::busiest(&tally.by_week);
    html! {
        figure.plot.week {
            figcaption { (said) }
            (plot::heat("by-week", &tally.by_week, most, "hot", (&said, "page")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Disposition;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millis(minutes * 60_000)
    }

    fn tally() -> Tally {
        Tally {
            from: at(0),
            to: at(48),
            over_time: vec![(0, 0); 48],
            quiet: [("duplicate".to_owned(), vec![3; 48]), ("flapping".to_owned(), vec![1; 48])].into(),
            receivers: [("pager".to_owned(), (200, vec![at(12), at(12), at(24)]))].into(),
            pages: 3,
            ..Tally::default()
        }
    }

    #[test]
    fn causes_stand_on_each_other_and_pages_are_marks() {
        let tally = tally();
        let bars = bars(&tally, &[(0, "duplicate"), (4, "flapping")], 4);
        let first = |path: &str| path.split('z').next().unwrap().to_owned();
        let whole = HEIGHT - MARKS;
        assert_eq!(first(&bars[0].1), format!("M0,{}h19v{}h-19", HEIGHT - whole * 3 / 4, whole * 3 / 4));
        assert_eq!(first(&bars[1].1), format!("M0,{MARKS}h19v{}h-19", whole - whole * 3 / 4));
        assert_eq!(marks(&tally), "M240,0v24M480,0v24");
        let shown = by_cause(&tally, Some(&tally)).into_string();
        assert!(
            shown.contains("192 observations interrupted nobody, and Squelch decided 3 pages")
                && shown.contains("polyline")
        );
        // A step with nothing has no row.
        let mut tally = tally;
        tally.over_time[12].1 = 2;
        for (step, count) in tally.quiet.values_mut().flat_map(|steps| steps.iter_mut().enumerate()) {
            *count = if step == 30 { 1200 } else { 0 };
        }
        let shown = by_cause(&tally, None).into_string();
        assert_eq!(shown.matches("<tr><th scope=\"row\">").count(), 2, "{shown}");
        let zero = "<td class=\"dim\">0</td>";
        for row in [
            format!("</th><td>2</td>{zero}{zero}</tr>"),
            format!("</th>{zero}<td>1,200</td><td>1,200</td></tr>"),
        ] {
            assert!(shown.contains(&row), "{row}: {shown}");
        }
    }

    #[test]
    fn every_disposition_but_a_page_has_a_colour() {
        for disposition in Disposition::ALL.into_iter().filter(|one| *one != Disposition::Page) {
            let word =
                if disposition.reason().is_empty() { disposition.as_str() } else { disposition.reason() };
            assert!(CAUSES.contains(&word), "{word}");
        }
    }

    #[test]
    fn a_budget_counts_the_pages_of_its_time() {
        let pages = [at(12), at(12), at(24)];
        let counts = rolling(&pages, Duration::from_mins(12), at(0), at(48));
        assert_eq!([23, 24, 47, 48, 71, 72].map(|n| counts[n]), [0, 2, 2, 1, 1, 0]);
        let limit = Limit { pages: 1, per: Duration::from_mins(12) };
        let shown = budget("pager", &limit, &tally(), None).into_string();
        assert!(shown.contains("over budget"), "{shown}");
        let odd =
            budget("pager", &Limit { pages: 3, per: Duration::from_mins(12) }, &tally(), None).into_string();
        assert!(odd.contains("<span>4</span><span>2</span><span>0</span>"), "{odd}");
        let values: Vec<&str> = shown.split("</td>").filter_map(|cell| cell.get(cell.len() - 1..)).collect();
        assert_eq!(values[..4], ["0", "2", "1", "0"], "a row for each change");
    }
}
