//! `/api/v1`: what is known, as JSON.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::gate::{BoxFuture, ReplayError, Unavailable};
use super::problem::{Problem, json};
use super::router::App;
use crate::model::NotificationId;

/// `GET /api/v1/alerts`
pub(super) async fn alerts(State(app): State<App>) -> Response {
    answer(&app, app.gate.alerts()).await
}

/// `GET /api/v1/incidents`
pub(super) async fn incidents(State(app): State<App>) -> Response {
    answer(&app, app.gate.incidents()).await
}

/// `GET /api/v1/dead-letters`
pub(super) async fn dead_letters(State(app): State<App>) -> Response {
    answer(&app, app.gate.dead_letters()).await
}

/// `POST /api/v1/dead-letters/{id}/replay`: 202, since the receiver has yet to take it.
pub(super) async fn replay(State(app): State<App>, Path(id): Path<String>) -> Response {
    let Ok(number) = id.parse() else {
        let detail = "the id of a dead letter is a whole number, as GET /api/v1/dead-letters lists it";
        return Problem::new(StatusCode::BAD_REQUEST, detail).into_response();
    };
    let gate = std::sync::Arc::clone(&app.gate);
    let task = tokio::spawn(async move { gate.replay(NotificationId(number)).await });
    match tokio::time::timeout(app.limits.answer_timeout, task).await {
        Ok(Ok(Ok(()))) => {
            json(StatusCode::ACCEPTED, "application/json", &serde_json::json!({ "replayed": number }))
        }
        Ok(Ok(Err(error @ ReplayError::NotFound))) => {
            Problem::new(StatusCode::NOT_FOUND, error.to_string()).into_response()
        }
        Ok(Ok(Err(error @ ReplayError::Over))) => {
            Problem::new(StatusCode::CONFLICT, error.to_string()).into_response()
        }
        Ok(Ok(Err(error @ ReplayError::Unavailable(_)))) => {
            Problem::unavailable(error.to_string()).into_response()
        }
        Ok(Err(_)) | Err(_) => {
            Problem::unavailable("the replay is not confirmed; look again").into_response()
        }
    }
}

async fn answer<T: serde::Serialize>(app: &App, asked: BoxFuture<'_, Result<T, Unavailable>>) -> Response {
    match tokio::time::timeout(app.limits.answer_timeout, asked).await {
        Ok(Ok(found)) => match serde_json::to_value(found) {
            Ok(value) => json(StatusCode::OK, "application/json", &value),
            Err(e) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
        },
        Ok(Err(unavailable)) => Problem::unavailable(unavailable.to_string()).into_response(),
        Err(_) => Problem::unavailable("no answer in time; try again").into_response(),
    }
}
