//! A week by its hours, as a picture.

use maud::{Markup, html};

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const CELL: usize = 22;
const LEFT: usize = 40;

/// Numbers of the 168 hours of a week from Monday 0:00 on, the darker the more. `what` names what is counted.
pub(super) fn draw(hours: &[u64], what: &str) -> Markup {
    let most = hours.iter().copied().max().unwrap_or(0).max(1);
    let (width, height) = (LEFT + 24 * CELL, 7 * CELL + 18);
    let sum: u64 = hours.iter().sum();
    html! {
        svg.week viewBox=(format!("0 0 {width} {height}")) role="img"
            aria-label=(format!("{sum} {what} by hour of the week")) {
            @for (day, name) in DAYS.iter().enumerate() {
                text x="0" y=(day * CELL + 15) { (name) }
                @for hour in 0..24 {
                    @let count = hours.get(day * 24 + hour).copied().unwrap_or(0);
                    rect x=(LEFT + hour * CELL) y=(day * CELL) width=(CELL - 2) height=(CELL - 2) rx="3"
                        class=(format!("h{}", shade(count, most))) {
                        @if count > 0 { title { (name) " " (hour) ":00 " (count) " " (what) } }
                    }
                }
            }
            @for hour in [0, 6, 12, 18] { text.dim x=(LEFT + hour * CELL) y=(height - 3) { (hour) ":00" } }
        }
    }
}

/// The shade of a number, from 0 for none to 5 for the most.
fn shade(count: u64, most: u64) -> u64 {
    if count == 0 { 0 } else { (count * 5).div_ceil(most).clamp(1, 5) }
}

#[cfg(test)]
mod tests {
    use super::shade;

    #[test]
    fn one_of_many_is_lighter_than_the_most_and_darker_than_none() {
        assert_eq!((shade(0, 9), shade(1, 9), shade(9, 9)), (0, 1, 5));
        assert_eq!((shade(1, 1), shade(3, 9)), (5, 2));
    }
}
