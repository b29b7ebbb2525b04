//! Pages by day of the week and hour of the day, to the same scale.

use maud::{Markup, html};

use super::Series;
use crate::history::thousands;
use crate::web::{DAYS, busiest, heat};

pub(super) fn figure(series: &[Series<'_>]) -> Markup {
    let most = series.iter().flat_map(|one| one.tally.by_week.iter().flatten()).copied().max();
    let most = most.unwrap_or(0).max(1);
    html! {
        div.weeks {
            @for one in series {
                @let said = format!("{}: {}", one.name, busiest(&one.tally.by_week));
                figure.plot.week {
                    figcaption { bdi { (said) } }
                    (heat(&one.tally.by_week, most, one.class, (&said, "page")))
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
