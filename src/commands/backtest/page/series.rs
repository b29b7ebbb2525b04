//! The compared series, and their legend.

use maud::{Markup, html};

use crate::history::PageTally;

/// The longest name of a file or an alert, in characters.
pub(super) const CUT: usize = 120;

/// One line of a figure: its name, the class that draws it, and its count.
pub(super) struct Series<'r> {
    pub(super) name: String,
    pub(super) class: &'static str,
    pub(super) tally: &'r PageTally,
}

/// The names of all series, each with its mark.
pub(super) fn legend(series: &[Series<'_>]) -> Markup {
    html! {
        ul.legend aria-hidden="true" {
            @for one in series { li {
                svg.mark viewBox="0 0 24 8" { line class=(one.class) x1="0" y1="4" x2="24" y2="4" {} }
                bdi { (one.name) }
            } }
        }
    }
}
