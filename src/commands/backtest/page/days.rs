//! Pages per day, of each series below the other, to the same scale.

use maud::{Markup, html};

use super::Series;
use crate::history::{BacktestReport, Day, PageTally, thousands};
use crate::web::values;

/// The most bars of one figure: beyond that each of them is several days.
const BARS: i64 = 120;

pub(super) fn figure(report: &BacktestReport, series: &[Series<'_>]) -> Markup {
    let (Some(from), Some(to)) = (report.history.from, report.history.to) else { return html! {} };
    let pages = series.iter().flat_map(|one| one.tally.by_day.keys());
    let (first, last) =
        pages.fold((Day::of(from), Day::of(to)), |(first, last), day| (first.min(*day), last.max(*day)));
    let days = last.0.saturating_sub(first.0) + 1;
    let size = days.div_euclid(BARS) + i64::from(days % BARS > 0);
    // Bars of whole weeks show a trend. Bars of three days would show the weekend in some places.
    let size = if size > 1 { size.max(7) } else { 1 };
    let count = usize::try_from((days + size - 1) / size).unwrap_or(0);
    let start = |bar: usize| Day(first.0 + bar as i64 * size);
    let bars: Vec<Vec<u64>> = series.iter().map(|one| bars(one.tally, first, size, count)).collect();
    let most = bars.iter().flatten().copied().max().unwrap_or(0).max(1);
    let per = if size == 1 { "a day".to_owned() } else { format!("in {size} days") };
    let columns: Vec<&str> =
        std::iter::once("From").chain(series.iter().map(|one| one.name.as_str())).collect();
    let rows =
        (0..count).map(|bar| (html! { (start(bar)) }, bars.iter().map(|of| thousands(of[bar])).collect()));
    html! {
        @for (one, bars) in series.iter().zip(&bars) {
            @let peak = bars.iter().max().copied().unwrap_or(0);
            @let said = format!("{}: {}, {} {per} at most", one.name, super::pages(one.tally.pages), thousands(peak));
            figure.plot {
                figcaption { bdi { (said) } }
                div.axes {
                    div.y aria-hidden="true" { span { (thousands(most)) } span { "0" } }
                    svg.bars viewBox=(format!("0 0 {} 100", count * 10)) preserveAspectRatio="none" role="img"
                        aria-label=(said) {
                        @for (bar, pages) in bars.iter().enumerate() {
                            @let height = height(*pages, most);
                            rect.track x=(bar * 10 + 1) y="0" width="8" height="100" {
                                title { (start(bar)) ": " (super::pages(*pages)) }
                            }
                            rect class=(one.class) x=(bar * 10 + 1) y=(100 - height) width="8"
                                height=(height) {
                                title { (start(bar)) ": " (super::pages(*pages)) }
                            }
                        }
                    }
                    div.x aria-hidden="true" {
                        span { (first) }
                        @if count > 2 { span { (start(count / 2)) } }
                        span { (last) }
                    }
                }
            }
        }
        (values("days", &format!("Pages {per}"), &columns, rows))
    }
}

fn bars(tally: &PageTally, first: Day, size: i64, count: usize) -> Vec<u64> {
    let mut bars = vec![0; count];
    for (day, pages) in &tally.by_day {
        let bar = usize::try_from((day.0 - first.0) / size).unwrap_or(0);
        if let Some(bar) = bars.get_mut(bar) {
            *bar += pages;
        }
    }
    bars
}

/// Of 100. A bar with one page is visible beside any other.
fn height(pages: u64, most: u64) -> u64 {
    match pages {
        0 => 0,
        pages => (pages * 100 / most).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_page_shows_beside_many() {
        assert_eq!([0, 1, 500, 1000].map(|pages| height(pages, 1000)), [0, 1, 50, 100]);
    }
}
