//! Silences as Alertmanager's API v2 has them, so that amtool and dashboards need not know us:
//! `/api/v2/silences` and `/api/v2/silence/{id}`.

use std::cmp::Reverse;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::access::Caller;
use super::app::App;
use super::look::look;
use super::problem::{Problem, json as json_response};
use super::silencing::{SilenceEntry, ask, is_selected, posted};
use super::v1::matchers;
use crate::model::{SilenceRequest, SilenceState, Timestamp};

/// `GET /api/v2/silences?filter=…`
pub(super) async fn list(State(app): State<App>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let filters = query.into_iter().filter(|(key, _)| key == "filter").map(|(_, text)| text);
    let filter = match matchers(&filters.collect::<Vec<_>>()) {
        Ok(filter) => filter,
        Err(problem) => return problem.into_api_v2(),
    };
    match look(&app, |engine| engine.query().silences()).await {
        Ok(mut silences) => {
            silences.retain(|(silence, _)| is_selected(silence, &filter));
            silences.sort_by_key(|(silence, state)| match state {
                SilenceState::Active => (0, silence.ends_at, Reverse(Timestamp::ZERO)),
                SilenceState::Pending => (1, silence.starts_at, Reverse(Timestamp::ZERO)),
                SilenceState::Expired => (2, Timestamp::ZERO, Reverse(silence.ends_at)),
            });
            let shown: Vec<_> = silences.iter().map(|(s, state)| SilenceEntry::new(s, *state)).collect();
            json_response(StatusCode::OK, "application/json", &shown)
        }
        Err(problem) => problem.into_api_v2(),
    }
}

/// `GET /api/v2/silence/{id}`
pub(super) async fn one(State(app): State<App>, Path(id): Path<String>) -> Response {
    let found = look(&app, move |engine| {
        engine.query().silence_by_id(&id).map(|(s, state)| SilenceEntry::new(s, state))
    });
    match found.await {
        Ok(Some(silence)) => json_response(StatusCode::OK, "application/json", &silence),
        Ok(None) => Problem::new(StatusCode::NOT_FOUND, "there is no silence of that id").into_api_v2(),
        Err(problem) => problem.into_api_v2(),
    }
}

/// `POST /api/v2/silences`: makes one, or changes the one whose id is given.
pub(super) async fn post(
    State(app): State<App>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let set = async {
        let request = posted(&app, &headers, body, caller.map(|Extension(caller)| caller)).await?;
        ask(&app, request).await
    };
    match set.await {
        Ok(id) => json_response(StatusCode::OK, "application/json", &json!({ "silenceID": id })),
        Err(problem) => problem.into_api_v2(),
    }
}

/// `DELETE /api/v2/silence/{id}`: ends it.
pub(super) async fn expire(State(app): State<App>, Path(id): Path<String>) -> Response {
    match ask(&app, SilenceRequest::Expire(id.into())).await {
        Ok(_) => StatusCode::OK.into_response(),
        Err(problem) => problem.into_api_v2(),
    }
}
