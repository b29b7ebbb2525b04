//! Silences: made, listed and ended.

use std::cmp::Reverse;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{self, Frame};
use super::{ROWS, look, offset, text};
use crate::model::{Silence, SilenceState, Timestamp};
use crate::web::router::App;

/// What is asked for in the address line.
#[derive(Deserialize, Default)]
pub(in crate::web) struct Asked {
    /// Matchers that a new silence begins with.
    #[serde(default)]
    q: String,
    page: Option<usize>,
}

/// `GET /silences`
pub(in crate::web) async fn show(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    let frame = Frame::new(&app, &uri, &headers);
    let asked: Asked = match super::asked(&uri) {
        Ok(asked) => asked,
        Err(problem) => return frame.problem(&problem),
    };
    let Asked { q, page } = asked;
    let from = offset(page);
    let seen = look(&app, move |engine| {
        let mut all = engine.silences();
        all.sort_by_key(|(s, state)| (*state == SilenceState::Expired, Reverse(s.updated_at), s.id.clone()));
        let count = all.len();
        (engine.now(), count, all.into_iter().skip(from).take(ROWS).collect::<Vec<_>>())
    });
    let (now, count, silences) = match seen.await {
        Ok(seen) => seen,
        Err(problem) => return frame.problem(&problem),
    };
    let link = |page: usize| frame.to(&format!("silences{}", text::query(&[("page", &page.to_string())])));
    let body = html! {
        h1 { "Silences" }
        (form(&frame, &q))
        h2 { "All silences" }
        @if silences.is_empty() { p.empty { "There is no silence." } } @else { (table(&frame, now, silences.iter())) }
        (page::pager(count, page.unwrap_or(1).max(1), link))
    };
    frame.page("Silences", body)
}

/// The form for a new silence that begins with these matchers.
fn form(frame: &Frame, matchers: &str) -> Markup {
    html! {
        form.silence method="post" action=(frame.to("act/silence")) {
            label { span { "Silence what matches" } input name="matchers" required value=(matchers)
                autocomplete="off" spellcheck="false"
                placeholder="alertname=\"DiskFull\", host=~\"db-.*\""; }
            label { span { "for" } input name="for" required value="2h" size="6" pattern="[0-9a-z]+" title="such as 30m, 2h or 1d12h"; }
            label { span { "because" } input name="comment" required maxlength="500" placeholder="what is being done about it"; }
            label { span { "by" } input name="by" required maxlength="100" autocomplete="username" data-author; }
            button.primary { "Silence" }
        }
    }
}

/// A table of silences.
pub(super) fn table<'a>(
    frame: &Frame,
    now: Timestamp,
    silences: impl Iterator<Item = &'a (Silence, SilenceState)>,
) -> Markup {
    html! {
        table.rows {
            caption.unseen { "Silences" }
            thead { tr {
                th scope="col" { "State" } th scope="col" { "What" } th scope="col" { "By" }
                th scope="col" { "Ends" } th scope="col" { span.unseen { "Actions" } }
            } }
            tbody { @for (silence, state) in silences { (row(frame, now, silence, *state)) } }
        }
    }
}

fn row(frame: &Frame, now: Timestamp, silence: &Silence, state: SilenceState) -> Markup {
    let sets = silence.matchers.iter().map(|set| {
        let set: Vec<String> = set.iter().map(ToString::to_string).collect();
        set.join(", ")
    });
    let matchers = sets.collect::<Vec<_>>().join(" or ");
    html! {
        tr data-row {
            td data-label="State" { span class=(format!("state {}", state.as_str())) { (state.as_str()) } }
            td.what { code { bdi { (text::tame(&matchers, 300)) } } p.why {
                (text::sentence(&silence.comment)) } }
            td data-label="By" { bdi { (text::tame(&silence.created_by, 60)) } }
            td data-label="Ends" {
                @match state {
                    SilenceState::Active => (text::until(now, silence.ends_at)),
                    SilenceState::Pending => { "begins " (text::until(now, silence.starts_at)) },
                    SilenceState::Expired => { (text::ago(now, silence.ends_at)) " ago" },
                }
            }
            td.act {
                @if state == SilenceState::Expired {
                    a.button href=(frame.to(&format!("silences{}", text::query(&[("q", &matchers)])))) { "Again" }
                } @else {
                    form method="post" action=(frame.to("silences/expire")) {
                        input type="hidden" name="id" value=(silence.id);
                        input type="hidden" name="by" value="" data-author;
                        button { "Expire" }
                    }
                }
            }
        }
    }
}
