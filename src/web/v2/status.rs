//! `GET /api/v2/status` and `GET /api/v2/receivers`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use smol_str::SmolStr;

use super::parameters::Parameters;
use super::refusal::Refusal;
use super::wire::{
    AlertmanagerConfig, AlertmanagerStatus, ClusterStatus, LabelledReceiver, Time, VersionInfo,
};
use crate::config::for_alertmanager;
use crate::web::app::App;
use crate::web::look::look;
use crate::web::problem::json;

/// The Alertmanager whose API v2 this is. Clients decide by it how to read the answers, so it is not the
/// version of Squelch.
pub const ALERTMANAGER_VERSION: &str = "0.34.0";

/// `GET /api/v2/status`
pub(super) async fn status(State(app): State<App>) -> Response {
    let status = AlertmanagerStatus {
        cluster: ClusterStatus { peers: [], status: "disabled" },
        config: AlertmanagerConfig { original: for_alertmanager(&app.gate.configuration()) },
        uptime: Time(app.started),
        version_info: VersionInfo {
            branch: "squelch",
            build_date: "",
            build_user: "",
            go_version: concat!("rust ", env!("SQUELCH_RUST_VERSION")),
            revision: concat!("squelch ", env!("CARGO_PKG_VERSION")),
            version: ALERTMANAGER_VERSION,
        },
    };
    json(StatusCode::OK, "application/json", &status)
}

/// `GET /api/v2/receivers`
pub(super) async fn receivers(State(app): State<App>, uri: Uri) -> Response {
    match named(&app, &uri).await {
        Ok(receivers) => json(StatusCode::OK, "application/json", &receivers),
        Err(refusal) => refusal.into_response(),
    }
}

async fn named(app: &App, uri: &Uri) -> Result<Vec<LabelledReceiver>, Refusal> {
    let labelling = app.gate.labelling();
    let wanted = Parameters::new(uri)?.labelled_receivers(Arc::clone(&labelling))?;
    let names =
        look(app, |engine| engine.policy().receivers.keys().cloned().collect::<Vec<SmolStr>>()).await?;
    let described = |name: SmolStr| LabelledReceiver { labels: labelling.of(&name), name };
    Ok(names.into_iter().filter(|name| wanted.has(name)).map(described).collect())
}
