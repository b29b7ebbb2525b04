//! The pages: server-rendered, kept fresh by polling, and of use without any script.
//!
//! Nothing here decides. A page is one look at the engine or the decision log, bounded in rows. An action
//! is a request to the node like any other, durable before it is answered.

mod actions;
mod address;
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
mod seen;
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

use axum::routing::{MethodRouter, get, post};

use address::{ROWS, alert_id, fields, offset, parameters};

use super::app::App;
use super::look::look;

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
