//! `GET /api/v1/openapi.json`: the description of all this.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use utoipa::OpenApi;
use utoipa::openapi::{OpenApi as OpenApiDocument, Server};

use super::parameters::no_parameters;
use super::reply::{Refusal, reply};
use super::{
    alerts, baseline, cluster, dead_letters, decisions, history, incidents, noise, on_call, receivers,
    silences, stats,
};
use crate::web::app::App;
use crate::web::problem::json;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Squelch",
        description = "The state, the decisions and the history of Squelch. Lists page by `cursor` and `limit`. \
            Every error is problem details (RFC 9457). Where `users` are configured, each request needs credentials.",
    ),
    paths(
        serve,
        alerts::list,
        incidents::list,
        history::list,
        history::one,
        history::review,
        history::acknowledge,
        history::note,
        history::useful,
        decisions::list,
        noise::count,
        on_call::count,
        baseline::read,
        cluster::read,
        stats::stats,
        receivers::list,
        silences::list,
        silences::set,
        silences::one,
        silences::expire,
        dead_letters::list,
        dead_letters::replay,
    )
)]
struct Api;

/// This description.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", operation_id = "readDescription", tag = "description",
    responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value), Refusal)
)]
pub(super) async fn serve(State(app): State<App>, uri: Uri) -> Response {
    if let Err(problem) = no_parameters(&uri) {
        return reply::<()>(Err(problem));
    }
    let mut document = description();
    let base = if app.prefix.is_empty() { "/" } else { &app.prefix };
    document.servers = Some(vec![Server::new(base)]);
    json(StatusCode::OK, "application/json", &document)
}

/// The description of API v1, without the server's prefix.
pub fn description() -> OpenApiDocument {
    Api::openapi()
}
