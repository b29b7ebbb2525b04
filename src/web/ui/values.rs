//! The values of a figure as a table, folded below it: for touch, for the keyboard, and without a script.

use maud::{Markup, html};

use super::text;

/// The longest name of a column, in characters.
const CUT: usize = 60;

/// The table. `id` keeps the fold as a person left it when the page refreshes, and `said` says what the
/// figure shows. The first of `columns` is the name of the rows. Without rows it is nothing.
pub(crate) fn values(
    id: &str,
    said: &str,
    columns: &[&str],
    rows: impl IntoIterator<Item = (Markup, Vec<String>)>,
) -> Markup {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return html! {};
    }
    html! {
        details.values id=(id) {
            summary { "Values" span.unseen { ": " (said) } }
            div.scroll tabindex="0" role="region" aria-label=(said) {
                table {
                    caption.unseen { (said) }
                    thead { tr { @for name in columns { th scope="col" { bdi { (text::tame(name, CUT)) } } } } }
                    tbody { @for (name, counts) in rows { tr {
                        th scope="row" { (name) }
                        @for count in counts { td class=[(count == "0").then_some("dim")] { (count) } }
                    } } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_stands_under_the_name_of_its_column() {
        let rows = [(html! { "Mon" }, vec!["3".to_owned(), "0".to_owned()])];
        let drawn = values("causes", "15 observations", &["From", "storm", "<b>"], rows).into_string();
        for part in [
            "<details class=\"values\" id=\"causes\"><summary>Values",
            "<th scope=\"col\"><bdi>storm</bdi></th><th scope=\"col\"><bdi>&lt;b&gt;</bdi></th>",
            "<tr><th scope=\"row\">Mon</th><td>3</td><td class=\"dim\">0</td></tr>",
        ] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
        assert_eq!(values("none", "nothing", &["From"], []).into_string(), "");
    }
}
