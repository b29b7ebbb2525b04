//! *Flapping*: alerts that change back and forth, how far they are from calm, and how long their rules
//! could wait.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{self, Frame};
use super::values::values;
use super::{look, text};
use crate::causes::tenths;
use crate::config::Role;
use crate::decision_log::{Flapped, SuggestionEntry};
use crate::engine::Flapper;
use crate::history::Priced;
use crate::model::{Duration, Timestamp};
use crate::web::app::App;
use crate::web::v1::unsearched;

/// How far back the list of calm alerts looks.
const LATELY: Duration = Duration::from_hours(24);
/// Cards of one page.
const CARDS: usize = 20;
/// Width of the drawings, in their own units.
const WIDTH: u64 = 600;
/// Height of the curve of a penalty, and the room above it.
const HEIGHT: u64 = 150;
const TOP: u64 = 18;
/// Points between two changes.
const STEPS: u64 = 6;

/// The parameters of the address line.
#[derive(Deserialize, Default)]
pub(in crate::web) struct FlappingPageParams {
    page: Option<usize>,
}

/// `GET /flapping`
pub(in crate::web) async fn show(State(app): State<App>, uri: Uri, frame: Frame) -> Response {
    let asked: FlappingPageParams = match super::parameters(&uri) {
        Ok(asked) => asked,
        Err(problem) => return frame.problem(&problem),
    };
    let page = asked.page.unwrap_or(1).clamp(1, 1_000_000);
    let now = frame.now();
    match look(&app, move |engine| engine.query().flappers(now, (page - 1) * CARDS, CARDS)).await {
        Ok((flappers, all)) => {
            let lately =
                if page == 1 { app.gate.flapped(now - LATELY).await } else { Ok(Default::default()) };
            let lately = lately.map_err(|error| unsearched(error).detail);
            frame.page("Flapping", body(&frame, page, (&flappers, all), &lately, &app.gate.suggestions()))
        }
        Err(problem) => frame.problem(&problem),
    }
}

fn body(
    frame: &Frame,
    page: usize,
    (flappers, all): (&[Flapper], usize),
    lately: &Result<(Vec<Flapped>, usize), String>,
    priced: &Priced,
) -> Markup {
    let now = frame.now();
    let link = |page: usize| frame.to(&format!("flapping{}", text::query(&[("page", &page.to_string())])));
    let flapping = flappers.iter().filter(|f| f.since.is_some()).count();
    html! {
        h1 { "Flapping" }
        p.lead {
            "Alerts that change back and forth. Each change adds 1 to a penalty, which halves with time. At "
            i { "suppress at" } " Squelch begins to withhold resolves and re-fires. It ends at " i { "reuse at" } "."
        }
        (page::live(&link(page), "5s", now, &format!("{flapping} flap"), html! {
            @if flappers.is_empty() { p.empty { "Nothing flaps." } }
            @for flapper in flappers { (linked(frame, now, flapper, priced)) }
            @if all > CARDS {
                nav.pager aria-label="Pages of the list" {
                    @if page > 1 { a rel="prev" href=(link(page - 1)) { "← previous" } }
                    span { "page " (page) " of " (all.div_ceil(CARDS)) " · " (all) " in all" }
                    @if page * CARDS < all { a rel="next" href=(link(page + 1)) { "next →" } }
                }
            }
            @match lately {
                Ok((flapped, all)) => (past(frame, flappers, flapped, *all)),
                Err(why) => p.problem { (text::sentence(why)) },
            }
        }))
    }
}

/// The alerts that flapped in the last 24 hours and do not flap now.
fn past(frame: &Frame, flappers: &[Flapper], flapped: &[Flapped], all: usize) -> Markup {
    let now = frame.now();
    let flaps = |one: &&Flapped| {
        let same = |now: &&Flapper| now.alert == one.alert && now.receiver == one.receiver.as_str();
        flappers.iter().find(same).is_some_and(|now| now.since.is_some())
    };
    let calm: Vec<&Flapped> = flapped.iter().filter(|one| !flaps(one)).collect();
    html! {
        @if !calm.is_empty() {
            section aria-labelledby="flapped" {
                h2 #flapped { "Flapped in the last 24 hours" }
                table.rows {
                    caption.unseen { "Alerts that flapped in the last 24 hours, the latest first" }
                    thead { tr {
                        th scope="col" { "Alert" } th scope="col" { "Receiver" } th scope="col" { "First withheld" }
                        th scope="col" { "Last withheld" } th.n scope="col" { "Changes" }
                        th.n scope="col" { "Observations withheld" }
                    } }
                    tbody { @for one in calm { tr data-row {
                        td.what {
                            a id=(format!("p{}{}", one.alert, text::id(&one.receiver)))
                                href=(frame.to(&format!("alert{}", text::query(&[("id", &one.alert.to_string())])))) {
                                (text::title(&one.labels)) }
                            @if one.observed { " " span.state.observed { "only observed" } }
                        }
                        td data-label="Receiver" { bdi { (text::tame(&one.receiver, 60)) } }
                        td data-label="First withheld" { (text::short(now, one.first)) }
                        td data-label="Last withheld" { (text::short(now, one.last)) }
                        td.n data-label="Changes" { (one.changes) }
                        td.n data-label="Observations withheld" { (one.withheld) }
                    } } }
                }
                @if all > flapped.len() { p.dim { "The list has the latest " (flapped.len()) " of " (all) "." } }
            }
        }
    }
}

fn linked(frame: &Frame, now: Timestamp, flapper: &Flapper, priced: &Priced) -> Markup {
    let link = frame.to(&format!("alert{}", text::query(&[("id", &flapper.alert.to_string())])));
    html! {
        article.card data-row {
            h2 { a id=(format!("f{}", flapper.alert)) href=(link) { (text::title(&flapper.labels)) } }
            (facts(now, flapper, priced))
            @if flapper.since.is_some() && frame.may(Role::Admin) {
                form.act method="post" action=(frame.to("act/release")) {
                    input type="hidden" name="alert" value=(flapper.alert);
                    input type="hidden" name="receiver" value=(flapper.receiver);
                    input type="hidden" name="by" value="" data-author;
                    button title="End the damping and send what is true" { "Release" }
                }
            }
        }
    }
}

/// The same on the page of an alert.
pub(super) fn card(now: Timestamp, flapper: &Flapper, priced: &Priced) -> Markup {
    html! { article.card { h2 { "Flapping" } (facts(now, flapper, priced)) } }
}

fn facts(now: Timestamp, flapper: &Flapper, priced: &Priced) -> Markup {
    html! {
        p {
            @match flapper.since {
                Some(since) => {
                    span.state.flapping { "flapping" } " for " (text::ago(now, since)) " at " bdi {
                        (text::tame(&flapper.receiver, 60)) }
                    " · " (flapper.changes) " changes · "
                    @if let Some(until) = flapper.until { "flapping ends " (text::until(now, until)) " if the alert does not change again" }
                },
                None => { span.state.held { "changes often" } " at " bdi { (text::tame(&flapper.receiver, 60))
                    } " · " (flapper.changes) " changes" },
            }
            " · now " @if flapper.firing { "firing" } @else { "resolved" }
        }
        @if flapper.by_alone {
            p.why { "At this severity, the setting " code { "alone" } " decides in place of flap damping, so no threshold applies." }
        }
        div.pair {
            (penalty(now, flapper))
            (changes(now, flapper))
        }
        (changed(now, flapper))
        @for one in priced.suggestions.iter().filter(|one| one.rule == flapper.labels.value("alertname")) {
            (suggestion(&SuggestionEntry::from(one)))
        }
    }
}

/// A longer setting of a rule, with its price.
pub(super) fn suggestion(one: &SuggestionEntry) -> Markup {
    html! {
        div.advice {
            pre tabindex="0" { code { (one.yaml) } }
            button type="button" data-copy=(one.yaml) { "Copy" }
            p.why { (text::tame(&one.text, 300)) "." }
        }
    }
}

/// The penalty over time, with both thresholds. A dashed line shows how it falls if the alert changes no
/// more.
fn penalty(now: Timestamp, flapper: &Flapper) -> Markup {
    let (suppress, reuse) = (u64::from(flapper.suppress_at), u64::from(flapper.reuse_at));
    let Some(curve) = Curve::of(now, flapper) else { return html! {} };
    let (until, from) = (tenths(reuse), tenths(suppress));
    let said = match flapper.by_alone {
        true => format!("penalty {}", tenths(flapper.penalty)),
        false => format!("penalty {}, suppress at {from}, reuse at {until}", tenths(flapper.penalty)),
    };
    html! {
        figure {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(said) {
                @for (at, name) in [(suppress, "suppress at "), (reuse, "reuse at ")].iter().filter(|_| !flapper.by_alone) {
                    @let at = *at;
                    line.limit x1="0" x2=(WIDTH) y1=(curve.y(at)) y2=(curve.y(at)) {}
                    text x="4" y=(curve.y(at) - 5) { (name) (tenths(at)) }
                }
                polyline.curve points=(curve.points(&curve.past)) {}
                polyline.curve.ahead points=(curve.points(&curve.ahead)) {}
                line.limit x1=(curve.x(now)) x2=(curve.x(now)) y1="0" y2=(HEIGHT) { title { "now" } }
            }
            figcaption {
                "Penalty " b { (tenths(flapper.penalty)) }
                @if !flapper.by_alone { " · suppress at " (tenths(suppress)) " · reuse at " (tenths(reuse)) }
                " · halves in " (flapper.half_life)
            }
        }
    }
}

/// The penalty of an alert at the times of its newest changes and between them.
struct Curve {
    from: Timestamp,
    to: Timestamp,
    /// The largest penalty on the drawing, in thousandths.
    most: u64,
    past: Vec<(Timestamp, u64)>,
    ahead: Vec<(Timestamp, u64)>,
}

impl Curve {
    /// The curve of `flapper`, if a change of it is remembered.
    fn of(now: Timestamp, flapper: &Flapper) -> Option<Curve> {
        let from = *flapper.recent.first()?;
        let decayed = |penalty: f64, length: Duration| {
            penalty * (-(length.as_millis() as f64) / flapper.half_life.as_millis().max(1) as f64).exp2()
        };
        let falls = |curve: &mut Vec<(Timestamp, u64)>, penalty: f64, from: Timestamp, to: Timestamp| {
            let length = to.since(from).as_millis();
            curve.extend((0..=STEPS).map(|step| {
                let passed = Duration::from_millis(length * step / STEPS);
                (from + passed, decayed(penalty, passed) as u64)
            }));
        };
        let (mut past, mut penalty) = (Vec::new(), 0.0);
        let ends = flapper.recent.iter().skip(1).copied().chain([now]);
        for (change, next) in flapper.recent.iter().zip(ends) {
            past.push((*change, penalty as u64));
            falls(&mut past, penalty + 1000.0, *change, next);
            penalty = decayed(penalty + 1000.0, next.since(*change));
        }
        // A release, or changes that are not remembered, can put the penalty elsewhere.
        past.pop();
        past.push((now, flapper.penalty));
        let calm =
            flapper.until.unwrap_or(now).max(now + Duration::from_millis(now.since(from).as_millis() / 4));
        let mut ahead = Vec::new();
        falls(&mut ahead, flapper.penalty as f64, now, calm);
        let peak = past.iter().map(|(_, penalty)| *penalty).max().unwrap_or(0);
        let most = peak.max(flapper.suppress_at.into()).max(1000) * 11 / 10;
        Some(Curve { from, to: calm, most, past, ahead })
    }

    fn x(&self, at: Timestamp) -> u64 {
        let whole = self.to.since(self.from).as_millis().max(1);
        at.since(self.from).as_millis().min(whole) * WIDTH / whole
    }

    fn y(&self, penalty: u64) -> u64 {
        HEIGHT - penalty.min(self.most) * (HEIGHT - TOP) / self.most
    }

    fn points(&self, curve: &[(Timestamp, u64)]) -> String {
        let points = curve.iter().map(|(at, penalty)| format!("{},{}", self.x(*at), self.y(*penalty)));
        points.collect::<Vec<_>>().join(" ")
    }
}

/// The changes that are remembered, the newest first, with the penalty after each.
fn changed(now: Timestamp, flapper: &Flapper) -> Markup {
    let Some(curve) = Curve::of(now, flapper) else { return html! {} };
    let count = flapper.recent.len();
    let row = |(index, at): (usize, &Timestamp)| {
        let fired = (count - 1 - index).is_multiple_of(2) == flapper.firing;
        let of_it = curve.past.iter().filter(|(time, _)| time == at).map(|(_, penalty)| *penalty);
        let to = if fired { "firing" } else { "resolved" };
        (text::short(now, *at), vec![to.to_owned(), tenths(of_it.max().unwrap_or(0))])
    };
    let id = format!("changes-{}-{}", flapper.alert, text::id(&flapper.receiver));
    let rows = flapper.recent.iter().enumerate().rev().map(row);
    values(&id, &format!("{count} changes"), &["Time", "since then", "penalty"], rows)
}

/// When it fired, over the time since its oldest change that is remembered.
fn changes(now: Timestamp, flapper: &Flapper) -> Markup {
    let Some(first) = flapper.recent.first().copied() else { return html! {} };
    let whole = now.since(first).as_millis().max(1);
    let x = |at: Timestamp| at.since(first).as_millis().min(whole) * WIDTH / whole;
    let mut edges = flapper.recent.clone();
    edges.push(now);
    let count = edges.len();
    let spells = edges
        .windows(2)
        .enumerate()
        .filter(|(index, _)| (count - 2 - index).is_multiple_of(2) == flapper.firing);
    let said = format!("{} changes in {}", flapper.recent.len(), text::span(now.since(first)));
    html! {
        figure {
            svg.bar viewBox=(format!("0 0 {WIDTH} 34")) role="img" aria-label=(said) {
                rect.track x="0" y="10" width=(WIDTH) height="12" rx="3" {}
                @for (_, pair) in spells {
                    rect.fires x=(x(pair[0])) y="6" width=((x(pair[1]) - x(pair[0])).max(2)) height="20" rx="2" {}
                }
            }
            figcaption { (said) ". The alert fired where the bar is filled" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Setting, Suggestion};
    use crate::model::{AlertId, LabelSet};

    #[test]
    fn the_curve_jumps_at_a_change_and_halves_in_a_half_life() {
        let at = |minutes: i64| Timestamp::from_millis(minutes * 60_000);
        let flapper = Flapper {
            by_alone: false,
            alert: AlertId(1),
            labels: LabelSet::default(),
            receiver: "pager".into(),
            firing: true,
            changes: 2,
            recent: vec![at(0), at(30)],
            penalty: 750,
            suppress_at: 5000,
            reuse_at: 1000,
            half_life: Duration::from_mins(30),
            since: None,
            until: None,
        };
        let curve = Curve::of(at(60), &flapper).unwrap();
        assert_eq!((curve.past[0], curve.past[1]), ((at(0), 0), (at(0), 1000)));
        assert!(
            curve.past.contains(&(at(30), 500)) && curve.past.contains(&(at(30), 1500)),
            "{:?}",
            curve.past
        );
        assert_eq!(curve.past.last(), Some(&(at(60), 750)));
        assert_eq!((curve.x(at(0)), curve.x(curve.to), curve.y(0)), (0, WIDTH, HEIGHT));
        let shown = penalty(at(60), &flapper).into_string();
        assert!(shown.contains("suppress at 5") && shown.contains("curve ahead"), "{shown}");
        let listed = changed(at(60), &flapper).into_string();
        let rows: Vec<&str> = listed.split("</time></th>").skip(1).collect();
        assert!(rows[0].starts_with("<td>firing</td><td>1.5</td></tr>"), "the newest: {listed}");
        assert!(rows[1].starts_with("<td>resolved</td><td>1.0</td></tr>"), "{listed}");
        // No threshold is drawn that does not apply.
        let alone = Flapper { by_alone: true, ..flapper.clone() };
        let shown = card(at(60), &alone, &Priced::default()).into_string();
        assert!(
            shown.contains("decides in place of flap damping") && !shown.contains("suppress at"),
            "{shown}"
        );
        assert!(Curve::of(at(60), &Flapper { recent: Vec::new(), ..flapper.clone() }).is_none());
        let suggested = |rule: &str| Suggestion {
            rule: rule.to_owned(),
            setting: Setting::For,
            seconds: 300,
            pages: 12,
            fewer: 7,
            delayed: 5,
            longest_delay_seconds: 300,
            lost: 7,
            longest_lost_seconds: 240,
        };
        let priced = Priced { at: Some(at(60)), suggestions: vec![suggested("Disk"), suggested("Other")] };
        let labels = LabelSet::from_pairs([("alertname", "Disk")]);
        let shown = card(at(60), &Flapper { labels, ..flapper }, &priced).into_string();
        assert!(
            shown.contains("for: +5m on Disk: 7 of 12 pages fewer, each other page 5m later."),
            "{shown}"
        );
        assert!(!shown.contains("Other"), "the suggestion of another rule: {shown}");
    }
}
