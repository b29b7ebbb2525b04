//! Alertmanager's API v2, so that amtool, karma and Grafana need not know Squelch. Rule: Alertmanager
//! `api/v2/openapi.yaml`. `docs/compatibility.md` lists the requests of each client.

mod alerts;
pub(super) mod cors;
mod parameters;
pub(super) mod refusal;
mod route_labels;
mod silences;
pub(super) mod silencing;
mod status;
mod wire;

use axum::http::HeaderMap;
use axum::routing::{MethodRouter, get};

use super::app::App;
use super::receive;

pub(super) use alerts::counts;
pub use status::ALERTMANAGER_VERSION;

/// The served paths.
pub(super) fn routes() -> Vec<(&'static str, MethodRouter<App>)> {
    let all = [
        ("/api/v2/alerts", get(alerts::list).post(receive::api_v2), "POST,GET"),
        ("/api/v2/alerts/groups", get(alerts::groups), "GET"),
        ("/api/v2/silences", get(silences::list).post(silences::post), "POST,GET"),
        ("/api/v2/silence/{id}", get(silences::one).delete(silences::expire), "DELETE,GET"),
        ("/api/v2/status", get(status::status), "GET"),
        ("/api/v2/receivers", get(status::receivers), "GET"),
    ];
    let with_preflight = |(path, methods, served): (_, MethodRouter<App>, _)| {
        let preflight = move |headers: HeaderMap| std::future::ready(cors::preflight(&headers, served));
        (path, methods.options(preflight))
    };
    all.into_iter().map(with_preflight).collect()
}
