//! Figures that stretch with the page, drawn on the server. Their words and values stand beside them as HTML.

use maud::{Markup, html};

use super::values::values;
use crate::history::thousands;
use crate::model::Timestamp;

/// The names of the days, Monday first.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A week by its hours, with its values under the fold `id`. `most` is the count of the strongest colour, and
/// `one` names what is counted.
pub(crate) fn heat(
    id: &str,
    week: &[[u64; 24]; 7],
    most: u64,
    class: &str,
    (said, one): (&str, &str),
) -> Markup {
    let columns: Vec<&str> = std::iter::once("Hour").chain(DAYS).collect();
    let hours = (0..24).map(|hour| {
        let counts = week.iter().map(|day| thousands(day[hour])).collect();
        (html! { (format!("{hour:02}:00")) }, counts)
    });
    let cells = || {
        let days = week.iter().enumerate();
        days.flat_map(|(day, hours)| hours.iter().enumerate().map(move |(hour, count)| (day, hour, *count)))
    };
    let empty = cells().filter(|(_, _, count)| *count == 0);
    let empty: String = empty.map(|(day, hour, _)| format!("M{},{}h9v9h-9z", hour * 10, day * 10)).collect();
    html! {
        div.axes {
            div.y.each aria-hidden="true" { @for day in DAYS { span { (day) } } }
            svg viewBox="0 0 240 70" preserveAspectRatio="none" role="img" aria-label=(said) {
                // One path for all hours without a page, since a page may have several weeks.
                path.track d=(empty) {}
                @for (day, hour, count) in cells().filter(|(_, _, count)| *count > 0) {
                    rect class=(class) x=(hour * 10) y=(day * 10) width="9" height="9"
                        fill-opacity=(shade(count, most)) {
                        title { (DAYS[day]) (format!(" {hour:02}:00: ")) (counted(count, one)) }
                    }
                }
            }
            div.x aria-hidden="true" { span { "00:00" } span { "06:00" } span { "12:00" } span { "18:00" } span { "24:00" } }
        }
        (values(id, said, &columns, hours))
    }
}

/// `1 page`, `1,200 pages`
pub(crate) fn pages_text(count: u64) -> String {
    counted(count, "page")
}

/// A number and its noun, which gets an s unless there is one.
pub(crate) fn counted(count: u64, one: &str) -> String {
    format!("{} {one}{}", thousands(count), if count == 1 { "" } else { "s" })
}

/// The hour of the week with the most pages.
pub(crate) fn busiest(week: &[[u64; 24]; 7]) -> String {
    let all =
        week.iter().zip(DAYS).flat_map(|(hours, day)| (0..24).map(move |hour| (hours[hour], day, hour)));
    match all.max_by_key(|(pages, _, _)| *pages) {
        Some((pages, day, hour)) if pages > 0 => {
            format!("{} on {day} at {hour:02}:00, the busiest hour", pages_text(pages))
        }
        _ => "no pages".to_owned(),
    }
}

/// The strength of the colour. A single page differs visibly from none.
fn shade(pages: u64, most: u64) -> String {
    format!("0.{:03}", 200 + pages * 799 / most.max(1))
}

/// The axes of a figure over time, around `drawing`: the scale at the left, the times below.
pub(super) fn over_time(from: Timestamp, to: Timestamp, most: u64, drawing: &Markup) -> Markup {
    let middle = from + crate::model::Duration::from_millis(to.since(from).as_millis() / 2);
    axes(most, "", drawing, &[from, middle, to].map(super::text::moment))
}

/// Axes around `drawing`: the scale from 0 to `most` with its unit at the left, and `ticks` below.
pub(super) fn axes(most: u64, unit: &str, drawing: &Markup, ticks: &[Markup]) -> Markup {
    html! {
        div.axes {
            div.y aria-hidden="true" {
                span { (thousands(most)) (unit) }
                @if most > 1 { span { (thousands(most / 2)) (unit) } }
                span { "0" (unit) }
            }
            (drawing)
            div.x aria-hidden="true" { @for tick in ticks { span { (tick) } } }
        }
    }
}

/// Bars side by side. Each stacks one part of each of `layers`, from the bottom to the top. A layer has the
/// class that draws it, its name and its counts. `names` has the name of each bar, and `what` names all of
/// them. The values stand under the fold `id`.
pub(crate) fn stack(
    id: &str,
    (what, names): (&str, &[String]),
    layers: &[(&str, &str, Vec<u64>)],
    said: &str,
) -> Markup {
    let sum = |bar: usize| layers.iter().map(|(_, _, counts)| counts[bar]).sum::<u64>();
    let most = (0..names.len()).map(sum).max().unwrap_or(0).max(1);
    // A part of 1 shows, however large the others are.
    let height = |count: u64| if count == 0 { 0 } else { (count * 100 / most).max(1) };
    let below = |layer: usize, bar: usize| {
        layers[..layer].iter().map(|(_, _, counts)| height(counts[bar])).sum::<u64>()
    };
    let columns: Vec<&str> =
        [what, "All"].into_iter().chain(layers.iter().map(|(_, what, _)| *what)).collect();
    let rows = names.iter().enumerate().map(|(bar, name)| {
        let counts = layers.iter().map(|(_, _, counts)| counts[bar]);
        (html! { (name) }, std::iter::once(sum(bar)).chain(counts).map(thousands).collect())
    });
    html! {
        div.axes {
            div.y aria-hidden="true" { span { (thousands(most)) } span { "0" } }
            svg.bars viewBox=(format!("0 0 {} 100", names.len() * 10)) preserveAspectRatio="none" role="img"
                aria-label=(said) {
                @for (bar, name) in names.iter().enumerate() {
                    rect.track x=(bar * 10 + 1) y="0" width="8" height="100" {
                        title { (name) ": " (thousands(sum(bar))) } }
                    @for (layer, (class, what, counts)) in layers.iter().enumerate() {
                        @let height = height(counts[bar]);
                        @if height > 0 {
                            @let top = 100_u64.saturating_sub(below(layer, bar) + height);
                            rect class=(class) x=(bar * 10 + 1) y=(top) width="8" height=(height) {
                                title { (name) ": " (thousands(counts[bar])) " " (what) } }
                        }
                    }
                }
            }
            div.x aria-hidden="true" {
                @let middle = names.get(names.len() / 2).filter(|_| names.len() > 2);
                @for name in [names.first(), middle, names.last()] {
                    @if let Some(name) = name { span { (name) } }
                }
            }
        }
        ul.legend aria-hidden="true" { @for (class, what, _) in layers { li {
            svg.mark viewBox="0 0 24 8" { rect class=(class) width="24" height="8" {} } (what)
        } } }
        (values(id, said, &columns, rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_bar_stand_on_each_other() {
        let layers = [("c1", "acknowledged", vec![1, 3]), ("c4", "other", vec![0, 1])];
        let drawn = stack("pages", ("Day", &["Mon".into(), "Tue".into()]), &layers, "4 pages").into_string();
        for part in [
            r#"<rect class="c1" x="1" y="75" width="8" height="25">"#,
            r#"<rect class="c1" x="11" y="25" width="8" height="75">"#,
            r#"<rect class="c4" x="11" y="0" width="8" height="25"><title>Tue: 1 other</title>"#,
            r#"<tr><th scope="row">Tue</th><td>4</td><td>3</td><td>1</td></tr>"#,
        ] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
    }

    #[test]
    fn the_busiest_hour_is_named() {
        let mut week = [[0; 24]; 7];
        assert_eq!(busiest(&week), "no pages");
        week[6][23] = 1200;
        assert_eq!(busiest(&week), "1,200 pages on Sun at 23:00, the busiest hour");
        assert_eq!([1, 1200].map(|pages| shade(pages, 1200)), ["0.200", "0.999"]);
        let drawn = heat("week", &week, 1200, "hot", ("busy", "page")).into_string();
        assert_eq!((drawn.matches("h9v9h-9z").count(), drawn.matches("<rect").count()), (167, 1), "{drawn}");
        assert!(drawn.contains("<title>Sun 23:00: 1,200 pages</title>"), "{drawn}");
    }
}
