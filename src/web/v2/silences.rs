//! `/api/v2/silences` and `/api/v2/silence/{id}`.

use std::cmp::Reverse;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::parameters::Parameters;
use super::refusal::{Refusal, WRONG_TYPE};
use super::silencing::{ask, is_selected, posted};
use super::wire::GettableSilence;
use crate::model::{SilenceRequest, SilenceState, Timestamp};
use crate::web::app::{App, Named, Posted};
use crate::web::look::look;
use crate::web::problem::{Problem, json as json_response};

/// `GET /api/v2/silences?filter=…`
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Response {
    match selected(&app, &uri).await {
        Ok(silences) => json_response(StatusCode::OK, "application/json", &silences),
        Err(refusal) => refusal.into_response(),
    }
}

async fn selected(app: &App, uri: &Uri) -> Result<Vec<GettableSilence>, Refusal> {
    let asked = Parameters::new(uri)?;
    let filter = asked.filter()?;
    let mut silences = look(app, |engine| engine.query().silences()).await?;
    silences.retain(|(silence, state)| asked.includes(state.as_str()) && is_selected(silence, &filter));
    silences.sort_by_key(|(silence, state)| match state {
        SilenceState::Active => (0, silence.ends_at, Reverse(Timestamp::ZERO)),
        SilenceState::Pending => (1, silence.starts_at, Reverse(Timestamp::ZERO)),
        SilenceState::Expired => (2, Timestamp::ZERO, Reverse(silence.ends_at)),
    });
    Ok(silences.iter().map(|(silence, state)| GettableSilence::new(silence, *state)).collect())
}

/// `GET /api/v2/silence/{id}`
pub(super) async fn one(State(app): State<App>, Named(id): Named) -> Response {
    let found = async {
        let id = uuid(id)?;
        let one = look(&app, move |engine| {
            engine.query().silence_by_id(&id).map(|(silence, state)| GettableSilence::new(silence, state))
        });
        one.await?.ok_or(Refusal::Bare(StatusCode::NOT_FOUND))
    };
    match found.await {
        Ok(silence) => json_response(StatusCode::OK, "application/json", &silence),
        Err(refusal) => refusal.into_response(),
    }
}

/// `POST /api/v2/silences`: makes one, or changes the one whose id is given.
pub(super) async fn post(State(app): State<App>, sent: Posted) -> Response {
    let set = async {
        let request = posted(&app, &sent.headers, sent.body, sent.caller).await?;
        ask(&app, request).await.map_err(refused)
    };
    match set.await {
        Ok(id) => json_response(StatusCode::OK, "application/json", &json!({ "silenceID": id })),
        Err(refusal) => refusal.into_response(),
    }
}

/// `DELETE /api/v2/silence/{id}`: ends it.
pub(super) async fn expire(State(app): State<App>, Named(id): Named) -> Response {
    let ended = async {
        let id = uuid(id)?;
        ask(&app, SilenceRequest::Expire(id.into())).await.map_err(|problem| match problem.status {
            StatusCode::NOT_FOUND => Refusal::Bare(StatusCode::NOT_FOUND),
            _ => refused(problem),
        })
    };
    match ended.await {
        Ok(_) => StatusCode::OK.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// Alertmanager answers a request that it understands and refuses with a text.
fn refused(problem: Problem) -> Refusal {
    match problem.status {
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Refusal::Text(problem.status, problem.detail),
        _ => problem.into(),
    }
}

/// An id of a silence, with or without dashes.
fn uuid(id: String) -> Result<String, Refusal> {
    let digits = id.bytes().filter(u8::is_ascii_hexdigit).count();
    if digits == 32 && id.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()) {
        return Ok(id);
    }
    let shown: String = id.chars().take(100).collect();
    Err(Refusal::Coded(WRONG_TYPE, format!("silenceID in path must be of type uuid: {shown:?}")))
}
