//! `GET /api/v1/baseline`: how often a rule fires by hour of the week.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::parameters::{matchers, parameters};
use super::reply::Refusal;
use super::{reply, unsearched};
use crate::decision_log::Baseline;
use crate::web::app::App;
use crate::web::problem::{Details, Problem};

/// The parameters.
#[derive(Deserialize, IntoParams, Default)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct BaselineParams {
    /// Matchers on the labels of the alerts, such as `alertname="Down",service="db"`. You may give it more
    /// than once.
    filter: Vec<String>,
}

/// How often the alerts that match fire by hour of the week, and how that compares with the last 12 hours.
#[utoipa::path(
    get, path = "/api/v1/baseline", operation_id = "readBaseline", tag = "history", params(BaselineParams),
    responses(
        (status = 200, description = "The baseline.", body = Baseline),
        (status = 422, description = "The counting takes too long.", body = Details,
            content_type = "application/problem+json"),
        Refusal,
    )
)]
pub(super) async fn read(State(app): State<App>, uri: Uri) -> Response {
    let found = async {
        let matchers = matchers(&parameters::<BaselineParams>(&uri)?.filter)?;
        if matchers.is_empty() {
            return Err(Problem::bad(
                "filter is missing: matchers such as alertname=\"Down\" would be right",
            ));
        }
        app.gate.baseline(matchers, app.gate.now()).await.map_err(unsearched)
    };
    reply(found.await)
}
