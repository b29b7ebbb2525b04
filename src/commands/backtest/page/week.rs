//! Pages by day of the week and hour of the day, to the same scale.

use maud::{Markup, html};

use super::Series;
use crate::history::thousands;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

pub(super) fn figure(series: &[Series<'_>]) -> Markup {
    let most = series.iter().flat_map(|one| one.tally.by_week.iter().flatten()).copied().max();
    let most = most.unwrap_or(0).max(1);
    html! {
        div.weeks {
            @for one in series {
                @let said = format!("{}: {}", one.name, busiest(&one.tally.by_week));
                figure.plot.week {
                    figcaption { bdi { (said) } }
                    div.axes {
                        div.y.each aria-hidden="true" { @for day in DAYS { span { (day) } } }
                        svg viewBox="0 0 240 70" preserveAspectRatio="none" role="img" aria-label=(said) {
                            @for (day, hours) in one.tally.by_week.iter().enumerate() {
                                @for (hour, pages) in hours.iter().enumerate() {
                                    @let class = if *pages == 0 { "track" } else { one.class };
                                    rect class=(class) x=(hour * 10) y=(day * 10) width="9" height="9"
                                        fill-opacity=(shade(*pages, most)) {
                                        title { (DAYS[day]) (format!(" {hour:02}:00: ")) (super::pages(*pages)) }
                                    }
                                }
                            }
                        }
                        div.x aria-hidden="true" { span { "00:00" } span { "06:00" } span { "12:00" } span { "18:00" } span { "24:00" } }
                    }
                }
            }
        }
        p.dim { "The strongest colour is " (super::pages(most)) " in an hour of the week." }
        @for one in series {
            details {
                summary { "Pages by day and hour as a table, " bdi { (one.name) } }
                table.rows.grid {
                    caption.unseen { "Pages by day of the week and hour of the day, " (one.name) }
                    thead { tr { th scope="col" { "Hour" } @for day in DAYS { th.n scope="col" { (day) } } } }
                    tbody { @for hour in 0..24 { tr {
                        th scope="row" { (format!("{hour:02}:00")) }
                        @for hours in &one.tally.by_week { td.n { (thousands(hours[hour])) } }
                    } } }
                }
            }
        }
    }
}

/// The hour of the week with the most pages.
fn busiest(week: &[[u64; 24]; 7]) -> String {
    let all =
        week.iter().zip(DAYS).flat_map(|(hours, day)| (0..24).map(move |hour| (hours[hour], day, hour)));
    match all.max_by_key(|(pages, _, _)| *pages) {
        Some((pages, day, hour)) if pages > 0 => {
            format!("{} on {day} at {hour:02}:00, the busiest hour", super::pages(pages))
        }
        _ => "no pages".to_owned(),
    }
}

/// How strong the colour is: a single page can be told from none.
fn shade(pages: u64, most: u64) -> String {
    match pages {
        0 => "1".to_owned(),
        pages => format!("0.{:03}", 200 + pages * 799 / most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_hour_is_named() {
        let mut week = [[0; 24]; 7];
        assert_eq!(busiest(&week), "no pages");
        week[6][23] = 1200;
        assert_eq!(busiest(&week), "1,200 pages on Sun at 23:00, the busiest hour");
        assert_eq!([0, 1, 1200].map(|pages| shade(pages, 1200)), ["1", "0.200", "0.999"]);
    }
}
