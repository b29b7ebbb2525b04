//! Pages by day of the week and hour of the day, to the same scale.

use maud::{Markup, html};

use super::Series;
use crate::web::{busiest, heat};

pub(super) fn figure(series: &[Series<'_>]) -> Markup {
    let most = series.iter().flat_map(|one| one.tally.by_week.iter().flatten()).copied().max();
    let most = most.unwrap_or(0).max(1);
    html! {
        div.weeks {
            @for (at, one) in series.iter().enumerate() {
                @let said = format!("{}: {}", one.name, busiest(&one.tally.by_week));
                figure.plot.week {
                    figcaption { bdi { (said) } }
                    (heat(&format!("week-{at}"), &one.tally.by_week, most, one.class, (&said, "page")))
                }
            }
        }
        p.dim { "The strongest colour is " (super::pages(most)) " in an hour of the week." }
    }
}
