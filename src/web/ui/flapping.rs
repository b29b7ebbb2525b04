//! *Flapping*: what changes back and forth, how far it is from being calm, and what would calm its rule.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{self, Frame};
use super::{look, text};
use crate::causes::tenths;
use crate::decision_log::advice;
use crate::engine::Flapper;
use crate::model::{Duration, Timestamp};
use crate::web::app::App;

/// Cards of one page.
const CARDS: usize = 20;
/// Width of the drawings, in their own units.
const WIDTH: u64 = 600;

/// What is asked for in the address line.
#[derive(Deserialize, Default)]
pub(in crate::web) struct FlappingPageParams {
    page: Option<usize>,
}

/// `GET /flapping`
pub(in crate::web) async fn show(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    let frame = Frame::new(&app, &uri, &headers).await;
    let asked: FlappingPageParams = match super::asked(&uri) {
        Ok(asked) => asked,
        Err(problem) => return frame.problem(&problem),
    };
    let page = asked.page.unwrap_or(1).clamp(1, 1_000_000);
    let now = frame.now();
    match look(&app, move |engine| engine.query().flappers(now, (page - 1) * CARDS, CARDS)).await {
        Ok((flappers, all)) => frame.page("Flapping", body(&frame, page, now, &flappers, all)),
        Err(problem) => frame.problem(&problem),
    }
}

fn body(frame: &Frame, page: usize, now: Timestamp, flappers: &[Flapper], all: usize) -> Markup {
    let link = |page: usize| frame.to(&format!("flapping{}", text::query(&[("page", &page.to_string())])));
    let flapping = flappers.iter().filter(|f| f.since.is_some()).count();
    html! {
        h1 { "Flapping" }
        p.lead {
            "Alerts that change back and forth. Each change adds 1 to a penalty that halves with time; from "
            i { "suppress at" } " on resolves and re-fires are withheld, down to " i { "reuse at" } "."
        }
        (page::live(&link(page), "5s", now, &format!("{flapping} flap"), html! {
            @if flappers.is_empty() { p.empty { "Nothing flaps." } }
            @for flapper in flappers { (linked(frame, now, flapper)) }
            @if all > CARDS {
                nav.pager aria-label="Pages of the list" {
                    @if page > 1 { a rel="prev" href=(link(page - 1)) { "← more" } }
                    span { "page " (page) " of " (all.div_ceil(CARDS)) " · " (all) " in all" }
                    @if page * CARDS < all { a rel="next" href=(link(page + 1)) { "fewer →" } }
                }
            }
        }))
    }
}

fn linked(frame: &Frame, now: Timestamp, flapper: &Flapper) -> Markup {
    let link = frame.to(&format!("alert{}", text::query(&[("id", &flapper.alert.to_string())])));
    html! {
        article.card data-row {
            h2 { a id=(format!("f{}", flapper.alert)) href=(link) { (text::title(&flapper.labels)) } }
            (facts(now, flapper))
            @if flapper.since.is_some() {
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
pub(super) fn card(now: Timestamp, flapper: &Flapper) -> Markup {
    html! { article.card { h2 { "Flapping" } (facts(now, flapper)) } }
}

fn facts(now: Timestamp, flapper: &Flapper) -> Markup {
    let advice = advice(&flapper.recent, flapper.firing);
    let median = |spells: &[Duration]| spells.get(spells.len() / 2).map(|s| text::span(*s));
    html! {
        p {
            @match flapper.since {
                Some(since) => {
                    span.state.flapping { "flapping" } " for " (text::ago(now, since)) " at " bdi {
                        (text::tame(&flapper.receiver, 60)) }
                    " · " (flapper.changes) " changes · "
                    @if let Some(until) = flapper.until { "calm at the latest " (text::until(now, until)) ", if it changes no more" }
                },
                None => { span.state.held { "unsteady" } " at " bdi { (text::tame(&flapper.receiver, 60))
                    } " · " (flapper.changes) " changes" },
            }
            " · now " @if flapper.firing { "firing" } @else { "resolved" }
        }
        div.pair {
            (penalty(flapper))
            (changes(now, flapper))
        }
        @if let Some(yaml) = advice.yaml(flapper.labels.value("alertname")) {
            div.advice {
                pre tabindex="0" { code { (yaml) } }
                button type="button" data-copy=(yaml) { "Copy" }
                p.why {
                    "From its last " (advice.on.len() + advice.off.len()) " spells: it fired for "
                    (median(&advice.on).unwrap_or_default()) " in the median, and paused for "
                    (median(&advice.off).unwrap_or_default()) ". "
                    code { "keep_firing_for" } " outlasts the longest pause that was seen, so that all of it is one alert; its resolve comes as much later. "
                    @if advice.wait.is_some() { code { "for" } " outlasts the longest spell, so that none would have fired; a real one pages as much later." }
                    @else { "Its spells are too long for a " code { "for" } " that only cuts blips." }
                }
            }
        }
    }
}

/// The penalty on a scale with both thresholds.
fn penalty(flapper: &Flapper) -> Markup {
    let most = flapper.penalty.max(u64::from(flapper.suppress_at)).max(1) * 11 / 10;
    let x = |value: u64| value.min(most) * WIDTH / most;
    let (suppress, reuse) = (u64::from(flapper.suppress_at), u64::from(flapper.reuse_at));
    let said = format!(
        "penalty {}, suppress at {}, reuse at {}",
        tenths(flapper.penalty),
        tenths(suppress),
        tenths(reuse)
    );
    html! {
        figure {
            svg.bar viewBox=(format!("0 0 {WIDTH} 34")) role="img" aria-label=(said) {
                rect.track x="0" y="10" width=(WIDTH) height="12" rx="3" {}
                rect.fill x="0" y="10" width=(x(flapper.penalty)) height="12" rx="3" {}
                line.mark x1=(x(suppress)) x2=(x(suppress)) y1="4" y2="28" {}
                line.mark x1=(x(reuse)) x2=(x(reuse)) y1="4" y2="28" {}
            }
            figcaption {
                "Penalty " b { (tenths(flapper.penalty)) } " · suppress at " (tenths(suppress)) " · reuse at "
                (tenths(reuse)) " · halves in " (flapper.half_life)
            }
        }
    }
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
            figcaption { (said) ": where it is filled it fired" }
        }
    }
}
