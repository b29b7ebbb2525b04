//! *On-call*: how often people were interrupted by shift, at night and on weekends, and how useful that was.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::Frame;
use super::values::values;
use super::{plot, text};
use crate::config::Location;
use crate::decision_log::{OnCallEntry, ReceiverLoadEntry, of_them};
use crate::history::thousands;
use crate::model::{Duration, Timestamp};
use crate::web::app::App;
use crate::web::v1::unsearched;

/// The times that can be looked at: a word for the address line, its name, and its days.
const SPANS: [(&str, &str, u64); 3] = [("7d", "7 days", 7), ("28d", "28 days", 28), ("91d", "91 days", 91)];
const WIDTH: u64 = 600;
const HEIGHT: u64 = 110;
/// The lowest scale of a chart, so that one page does not look like many.
const LOWEST: u64 = 4;

/// The parameters of the address line.
#[derive(Deserialize, Default)]
pub(in crate::web) struct OnCallPageParams {
    #[serde(default)]
    span: String,
}

/// `GET /on-call`
pub(in crate::web) async fn show(State(app): State<App>, uri: Uri, frame: Frame) -> Response {
    let asked: OnCallPageParams = match super::parameters(&uri) {
        Ok(asked) => asked,
        Err(problem) => return frame.problem(&problem),
    };
    let (word, _, days) = *SPANS.iter().find(|(word, ..)| *word == asked.span).unwrap_or(&SPANS[1]);
    let now = frame.now();
    match app.gate.on_call(now - Duration::from_hours(days * 24), now).await {
        Ok(load) => frame.page("On-call", body(&frame, word, &load)),
        Err(error) => frame.problem(&unsearched(error)),
    }
}

fn body(frame: &Frame, span: &str, load: &OnCallEntry) -> Markup {
    let zone = Location::named(&load.location).unwrap_or_default();
    html! {
        h1 { "On-call" }
        p.lead {
            "Pages that interrupted people, by shift. Google's SRE book allows " (load.budget) " incidents in a shift, and "
            (load.toil_line_percent) " % of the time for operational work. Pages by escalation or fallback count, and so do pages "
            "about Squelch itself."
        }
        ul.states aria-label="Time" {
            @for (word, name, _) in SPANS {
                li { a href=(frame.to(&format!("on-call?span={word}"))) aria-current=[(word == span).then_some("true")]
                    { (name) } }
            }
        }
        p.dim { "Shifts, nights and weekends are in the time zone " (load.location) ". Change it with " code { "on_call" }
            " in the configuration." }
        @if let Some(since) = load.counted_since { p.dim { "There are more incidents than one look reads. It counts since "
            (text::moment(since)) "." } }
        @if let Some(known) = load.known_since { p.dim { "Squelch has decisions since " (text::moment(known))
            ". Shifts and weeks before that do not count." } }
        @if load.receivers.is_empty() { p.empty { "No receiver was paged in this time." } }
        @for receiver in &load.receivers { (card(&zone, load, receiver)) }
    }
}

fn card(zone: &Location, load: &OnCallEntry, receiver: &ReceiverLoadEntry) -> Markup {
    let shifts = receiver.shifts.len() as u64;
    let percent = |share: Option<u64>| match share {
        Some(share) => format!("{share} %"),
        None => "–".into(),
    };
    let change =
        receiver.incidents_before.map(|before| receiver.incidents.cast_signed() - before.cast_signed());
    let change = change.map(|change| match change {
        0 => "as many as before".to_owned(),
        more if more > 0 => format!("{more} more than before"),
        fewer => format!("{} fewer than before", -fewer),
    });
    let of_them = of_them(receiver.internal, receiver.second);
    let pages = ["pages".to_owned()].into_iter().chain(change).chain(of_them).collect::<Vec<_>>().join(", ");
    let average =
        format!("{}.{}", receiver.incidents / shifts.max(1), receiver.incidents * 10 / shifts.max(1) % 10);
    html! {
        section.card {
            h2 { bdi { (text::tame(&receiver.receiver, 60)) } }
            div.tiles.eight {
                (tile(&receiver.incidents.to_string(), &pages, false))
                (tile(&average, &format!("pages in a shift, {} at most", receiver.most_in_a_shift), false))
                (tile(&format!("{} %", receiver.budget_burned_percent),
                    &format!("of the budget, {} of {shifts} shifts above it", receiver.shifts_over_budget),
                    receiver.shifts_over_budget > 0))
                (tile(&receiver.nights.to_string(), "pages at night, from 22 to 6", false))
                (tile(&receiver.weekends.to_string(), "pages on weekends", false))
                (tile(&percent(receiver.acknowledged_percent), "acknowledged", false))
                (tile(&percent(receiver.useful_percent), &format!("useful, {} rated", receiver.rated), false))
                (tile(&format!("{} %", receiver.toil_percent), "of the time an incident was open",
                    receiver.toil_percent > load.toil_line_percent))
            }
            div.pair {
                (by_shift(zone, load, receiver))
                (by_week(zone, load, receiver))
            }
        }
    }
}

fn tile(number: &str, what: &str, bad: bool) -> Markup {
    html! { div.tile.bad[bad] { b { (number) } span { (what) } } }
}

fn by_shift(zone: &Location, load: &OnCallEntry, receiver: &ReceiverLoadEntry) -> Markup {
    let most = receiver.most_in_a_shift.max(LOWEST).div_ceil(2) * 2;
    let bars = receiver.shifts.iter().map(|shift| {
        let said = format!("{}: {}", clock(zone, shift.start), plot::pages_text(shift.incidents));
        (shift.incidents, shift.incidents > load.budget, said)
    });
    let bars: Vec<_> = bars.collect();
    let label = format!("Pages of {} shifts, with the budget of {}", bars.len(), load.budget);
    let times = receiver.shifts.iter().map(|shift| shift.start).collect::<Vec<_>>();
    html! {
        figure.plot {
            figcaption { b { "Pages in a shift" } ", by the start of the shift in " (zone.name())
                ". The line is the budget." }
            (chart(&bars, (most, ""), load.budget, &label, &ticks(zone, &times)))
            @let rows = receiver.shifts.iter().map(|shift| {
                (html! { (clock(zone, shift.start)) }, vec![thousands(shift.incidents)])
            });
            @let id = format!("shifts-{}", text::id(&receiver.receiver));
            (values(&id, &label, &["Shift from", "pages"], rows))
        }
    }
}

fn by_week(zone: &Location, load: &OnCallEntry, receiver: &ReceiverLoadEntry) -> Markup {
    let bars = receiver.weeks.iter().map(|week| {
        let said = format!(
            "week from {}: {} % with an open incident, {}",
            clock(zone, week.start),
            week.toil_percent,
            plot::pages_text(week.incidents)
        );
        (week.toil_percent, week.toil_percent > load.toil_line_percent, said)
    });
    let bars: Vec<_> = bars.collect();
    let label = format!(
        "Share of the time with an open incident in {} weeks, with the line at {} %",
        bars.len(),
        load.toil_line_percent
    );
    let times = receiver.weeks.iter().map(|week| week.start).collect::<Vec<_>>();
    html! {
        figure.plot {
            figcaption { b { "Time with an open incident" } ", by the start of the week in " (zone.name()) ". The line is at "
                (load.toil_line_percent) " %." }
            (chart(&bars, (100, " %"), load.toil_line_percent, &label, &ticks(zone, &times)))
            @let rows = receiver.weeks.iter().map(|week| {
                let share = format!("{} %", week.toil_percent);
                (html! { (clock(zone, week.start)) }, vec![share, thousands(week.incidents)])
            });
            @let columns = ["Week from", "time with an open incident", "pages"];
            (values(&format!("weeks-{}", text::id(&receiver.receiver)), &label, &columns, rows))
        }
    }
}

/// A time on the clock of this zone.
fn clock(zone: &Location, at: Timestamp) -> String {
    zone.civil(at).strftime("%a %-d %b %H:%M").to_string()
}

/// The names below the first bar, the middle bar and the last bar.
fn ticks(zone: &Location, starts: &[Timestamp]) -> Vec<Markup> {
    let middle = starts.get(starts.len() / 2).filter(|_| starts.len() > 2);
    let last = starts.last().filter(|_| starts.len() > 1);
    let named = [starts.first(), middle, last].into_iter().flatten();
    named.map(|at| html! { (clock(zone, *at)) }).collect()
}

/// Bars from 0 to `most`, with its unit, a line and the names below.
fn chart(
    bars: &[(u64, bool, String)],
    (most, unit): (u64, &str),
    line: u64,
    label: &str,
    ticks: &[Markup],
) -> Markup {
    let width = WIDTH / (bars.len() as u64).max(1);
    let y = |value: u64| HEIGHT - value.min(most) * HEIGHT / most.max(1);
    let drawing = html! {
        svg.bars viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(label) {
            @for value in [0, most / 2, most] { line.rule x1="0" x2=(WIDTH) y1=(y(value)) y2=(y(value)) {} }
            @for (index, (value, above, said)) in bars.iter().enumerate() {
                @let x = index as u64 * WIDTH / (bars.len() as u64).max(1);
                rect class=(if *above { "fires" } else { "fill" }) x=(x) y=(y(*value))
                    width=(width.saturating_sub(1).max(1)) height=(HEIGHT - y(*value)) { title { (said) } }
            }
            line.budget x1="0" x2=(WIDTH) y1=(y(line)) y2=(y(line)) {}
        }
    };
    plot::axes(most, unit, &drawing, ticks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision_log::{ShiftEntry, WeekEntry};

    #[test]
    fn charts_have_a_scale_units_and_times_in_the_zone_of_the_shifts() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let zone = Location::named("Europe/Zurich").unwrap();
        let shift =
            |start: &str, end: &str, incidents| ShiftEntry { start: at(start), end: at(end), incidents };
        let receiver = ReceiverLoadEntry {
            most_in_a_shift: 5,
            shifts: vec![
                shift("2026-11-23T07:00:00Z", "2026-11-23T19:00:00Z", 5),
                shift("2026-11-23T19:00:00Z", "2026-11-24T07:00:00Z", 1),
            ],
            weeks: vec![WeekEntry { start: at("2026-11-23T07:00:00Z"), incidents: 6, toil_percent: 30 }],
            ..ReceiverLoadEntry::default()
        };
        let load = OnCallEntry { budget: 2, toil_line_percent: 50, ..OnCallEntry::default() };
        let drawn = by_shift(&zone, &load, &receiver).into_string();
        for part in [
            "<span>6</span><span>3</span><span>0</span>",
            "<span>Mon 23 Nov 08:00</span><span>Mon 23 Nov 20:00</span>",
            "<title>Mon 23 Nov 20:00: 1 page</title>",
            "<tr><th scope=\"row\">Mon 23 Nov 20:00</th><td>1</td></tr>",
            "in Europe/Zurich",
        ] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
        let drawn = by_week(&zone, &load, &receiver).into_string();
        for part in [
            "<span>100 %</span><span>50 %</span><span>0 %</span>",
            "<span>Mon 23 Nov 08:00</span>",
            "<tr><th scope=\"row\">Mon 23 Nov 08:00</th><td>30 %</td><td>6</td></tr>",
        ] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
    }
}
