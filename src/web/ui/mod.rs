//! The pages: server-rendered, kept fresh by polling, and of use without any script.
//!
//! Nothing here decides. A page is one look at the engine or the decision log, bounded in rows. An action
//! is a request to the node like any other, durable before it is answered.

mod actions;
mod alert;
mod assets;
mod decisions;
mod flapping;
mod history;
mod incident;
mod lanes;
mod noise;
mod noise_figures;
mod now;
mod on_call;
mod page;
mod plot;
mod refusal;
mod respond;
mod routing;
mod rules;
mod silence;
mod standing;
mod text;
mod timeline;
mod values;

pub(crate) use assets::{ICON, STYLE};
pub(crate) use page::html_document;
pub(crate) use plot::{busiest, counted, heat, pages_text, stack};
pub(super) use refusal::{draw as draw_refusal, shows as shows_page};
#[cfg(test)]
pub(super) use text::query as query_of;
pub(crate) use text::{span, tame, with_code};
pub(crate) use values::values;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::Uri;
use axum::routing::{MethodRouter, get, post};
use serde::de::DeserializeOwned;

use super::app::App;
use super::look::look;
use super::problem::Problem;
use crate::model::AlertId;

/// Rows of one page of a list.
const ROWS: usize = 50;

/// The pages, the files that they load, and their requests.
pub(super) fn routes() -> [(&'static str, MethodRouter<App>); 21] {
    [
        ("/", get(now::show)),
        ("/incident", get(incident::show)),
        ("/incident/review", get(incident::review)),
        ("/incident/acknowledge", post(actions::acknowledge)),
        ("/incident/note", post(actions::note)),
        ("/incident/useful", post(actions::useful)),
        ("/history", get(history::show)),
        ("/on-call", get(on_call::show)),
        ("/noise", get(noise::show)),
        ("/noise.csv", get(noise::csv)),
        ("/decisions", get(decisions::show)),
        ("/flapping", get(flapping::show)),
        ("/routing", get(routing::show)),
        ("/silences", get(silence::show)),
        ("/silences/matching", get(silence::matching)),
        ("/alert", get(alert::show)),
        ("/assets/{file}", get(assets::serve)),
        ("/favicon.ico", icon()),
        ("/act/release", post(actions::release)),
        ("/act/silence", post(actions::silence)),
        ("/silences/expire", post(actions::expire)),
    ]
}

/// The first page, for the bare prefix too.
pub(super) fn front() -> MethodRouter<App> {
    get(now::show)
}

/// The icon for browsers that ask for it at the root, where the prefix does not reach.
pub(super) fn icon() -> MethodRouter<App> {
    get(assets::icon)
}

/// An alert as an address line names it.
fn alert_id(text: &str) -> Result<AlertId, Problem> {
    let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32);
    number.map(AlertId).ok_or_else(|| Problem::bad("an alert is named by 32 hex digits"))
}

/// The parameters of an address line.
fn parameters<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    fields(uri, "address", "Open the page by a link")
}

/// The fields of an address or a form, which `what` names. An error names the field that is missing or wrong,
/// and ends with `remedy`.
fn fields<T: DeserializeOwned>(uri: &Uri, what: &str, remedy: &str) -> Result<T, Problem> {
    let wrong = |e: QueryRejection| {
        let text = e.body_text();
        let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        match text.split_once(": ") {
            _ if text.contains("missing field") => {
                let field = text.split('`').nth(1).unwrap_or_default();
                format!("The {what} has no {field}. {remedy}")
            }
            Some((field, why)) => {
                let right = match why {
                    _ if why.contains("digit") || why.contains("integer") || why.contains("number") => {
                        "It takes a whole number from 0 on"
                    }
                    _ if why.contains("`true`") => "It takes true or false",
                    _ => why,
                };
                format!("The field {field} of the {what} is wrong. {right}. {remedy}")
            }
            None => format!("Squelch cannot read the {what} ({text}). {remedy}"),
        }
    };
    Query::try_from_uri(uri).map(|Query(asked)| asked).map_err(|e| Problem::bad(wrong(e)))
}

/// The rows before page `page` (from 1).
fn offset(page: Option<usize>) -> usize {
    page.unwrap_or(1).clamp(1, 1_000_000).saturating_sub(1) * ROWS
}
