//! `GET /api/v1/on-call`: the load of the people on call.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::parameters::{parameters, time};
use super::reply::Refusal;
use super::{reply, unsearched};
use crate::decision_log::{LONGEST, OnCallEntry};
use crate::model::Duration;
use crate::web::app::App;
use crate::web::problem::{Details, Problem};

/// How far back without `since`.
const SPAN: Duration = Duration::from_hours(28 * 24);

/// The parameters.
#[derive(Deserialize, IntoParams, Default)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct OnCallParams {
    /// From then on, RFC 3339. 28 days before `until` without it.
    since: Option<String>,
    /// Before that, RFC 3339. Now without it.
    until: Option<String>,
}

/// How often each receiver was paged by shift, at night and on weekends, and how useful the pages were.
#[utoipa::path(
    get, path = "/api/v1/on-call", operation_id = "countOnCall", tag = "history", params(OnCallParams),
    responses(
        (status = 200, description = "The load.", body = OnCallEntry),
        (status = 422, description = "The counting takes too long.", body = Details,
            content_type = "application/problem+json"),
        Refusal,
    )
)]
pub(super) async fn count(State(app): State<App>, uri: Uri) -> Response {
    reply(counted(&app, &uri).await)
}

async fn counted(app: &App, uri: &Uri) -> Result<OnCallEntry, Problem> {
    let asked: OnCallParams = parameters(uri)?;
    let until = time("until", asked.until.as_ref())?.unwrap_or_else(|| app.gate.now());
    let since = time("since", asked.since.as_ref())?.unwrap_or(until - SPAN);
    if since >= until || until.since(since) > LONGEST {
        let detail = format!("since is {since}: a time before {until}, and at most 400 days, would be right");
        return Err(Problem::bad(detail));
    }
    app.gate.on_call(since, until).await.map_err(unsearched)
}
