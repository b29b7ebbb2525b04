//! `/api/v1`: the state of Squelch as JSON. `GET /api/v1/openapi.json` describes it, from the same code.
//!
//! A list is `{"<what>": […], "next": "…"}`. `next` is the `cursor` of the next page, and missing on the
//! last. Entries that come, change or go meanwhile make no page repeat or miss the others. A page may be
//! shorter than its limit, if to fill it would keep the engine busy for long.

mod alerts;
mod baseline;
mod cluster;
mod dead_letters;
mod decisions;
mod document;
pub(super) mod history;
mod incidents;
mod noise;
mod on_call;
mod parameters;
mod receivers;
mod reply;
mod silences;
mod stats;

use axum::routing::{MethodRouter, get, post};

use super::app::App;

pub use alerts::{AlertEntry, AlertPage, StandingEntry};
pub use cluster::{ClusterEntry, ReplicaEntry};
pub(super) use decisions::{DecisionParams, search};
pub use document::description;
pub use incidents::{IncidentEntry, IncidentPage};
pub(super) use parameters::{PARAMETERS_COMPILED, PageLimit, matchers};
pub(super) use reply::unsearched;
use reply::{LOOKS, reply};
pub use silences::SilencePage;

/// The served paths.
pub(super) fn routes() -> Vec<(&'static str, MethodRouter<App>)> {
    vec![
        ("/api/v1/openapi.json", get(document::serve)),
        ("/api/v1/alerts", get(alerts::list)),
        ("/api/v1/incidents", get(incidents::list)),
        ("/api/v1/incidents/history", get(history::list)),
        ("/api/v1/incidents/{key}", get(history::one)),
        ("/api/v1/incidents/{key}/review", get(history::review)),
        ("/api/v1/incidents/{key}/acknowledge", post(history::acknowledge)),
        ("/api/v1/incidents/{key}/notes", post(history::note)),
        ("/api/v1/incidents/{key}/useful", post(history::useful)),
        ("/api/v1/decisions", get(decisions::list)),
        ("/api/v1/noise", get(noise::count)),
        ("/api/v1/on-call", get(on_call::count)),
        ("/api/v1/baseline", get(baseline::read)),
        ("/api/v1/cluster", get(cluster::read)),
        ("/api/v1/stats", get(stats::stats)),
        ("/api/v1/receivers", get(receivers::list)),
        ("/api/v1/silences", get(silences::list).post(silences::set)),
        ("/api/v1/silences/{id}", get(silences::one).delete(silences::expire)),
        ("/api/v1/dead-letters", get(dead_letters::list)),
        ("/api/v1/dead-letters/{id}/replay", post(dead_letters::replay)),
    ]
}
