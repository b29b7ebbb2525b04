//! Pages by alert name: the largest changes first.

use std::cmp::Reverse;

use maud::{Markup, html};

use super::{CUT, Series, legend};
use crate::history::{PageTally, thousands};
use crate::web::tame;

/// Rules that the page shows.
const RULES: usize = 40;

pub(super) fn figure(series: &[Series<'_>]) -> Markup {
    let names = PageTally::alertnames(series.iter().map(|one| one.tally)).into_iter();
    let mut rules: Vec<(&str, Vec<u64>)> =
        names.map(|name| (name, series.iter().map(|one| one.tally.of(name)).collect())).collect();
    rules.sort_by_key(|(_, counts)| Reverse((change(counts).unsigned_abs(), counts.iter().max().copied())));
    let most = rules.iter().flat_map(|(_, counts)| counts).copied().max().unwrap_or(0).max(1);
    let height = series.len() * 10;
    html! {
        @if rules.is_empty() { p.empty { "Nothing pages." } } @else {
            p.lead { "The largest changes stand first." }
            (legend(series))
            table.rows {
                caption.unseen { "Pages by alert name" }
                thead { tr {
                    th scope="col" { "Alert" }
                    @for one in series { th.n scope="col" { bdi { (one.name) } } }
                    th.n scope="col" { "Change" } th scope="col" { "Pages" }
                } }
                tbody { @for (name, counts) in rules.iter().take(RULES) { tr data-row {
                    td.what { bdi.name { (tame(if name.is_empty() { "(no alertname)" } else { name }, CUT)) } }
                    @for (one, count) in series.iter().zip(counts) {
                        td.n data-label=(one.name) { (thousands(*count)) }
                    }
                    td.n data-label="Change" { (signed(change(counts))) }
                    td.pages { svg viewBox=(format!("0 0 1000 {height}")) preserveAspectRatio="none" aria-hidden="true" {
                        @for (index, (one, count)) in series.iter().zip(counts).enumerate() {
                            rect class=(one.class) y=(index * 10 + 1) width=(width(*count, most)) height="8" {}
                        }
                    } }
                } } }
            }
            @if rules.len() > RULES { p.dim { "and " (thousands((rules.len() - RULES) as u64)) " more rules (-o json has them all)" } }
        }
    }
}

/// From the first series to the last.
fn change(counts: &[u64]) -> i64 {
    let of = |count: Option<&u64>| count.and_then(|count| i64::try_from(*count).ok()).unwrap_or(0);
    of(counts.last()) - of(counts.first())
}

fn signed(change: i64) -> String {
    let sign = match change {
        0 => "±",
        more if more > 0 => "+",
        _ => "−",
    };
    format!("{sign}{}", thousands(change.unsigned_abs()))
}

/// Of 1000. A bar with one page is visible beside any other.
fn width(pages: u64, most: u64) -> u64 {
    match pages {
        0 => 0,
        pages => (pages * 1000 / most).max(4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_have_a_sign() {
        assert_eq!([-1200, 0, 3].map(signed), ["−1,200", "±0", "+3"]);
        assert_eq!((change(&[5, 9, 2]), change(&[])), (-3, 0));
    }
}
