//! For operators: health, readiness, reload and metrics.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::app::App;
use super::problem::Problem;
use super::v2;

/// `GET /-/healthy`: the process answers, in the word of Alertmanager.
pub(super) async fn healthy() -> &'static str {
    "OK"
}

/// `GET /-/ready`: alerts can be taken.
pub(super) async fn ready(State(app): State<App>) -> Response {
    match app.gate.ready() {
        Ok(()) => match app.gate.standby() {
            Some(why) => format!("Squelch is ready, and accepts alerts as a {why}\n").into_response(),
            None => "Squelch is ready.\n".into_response(),
        },
        Err(why) => {
            let text = format!("Squelch is not ready: {why}\n");
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], text).into_response()
        }
    }
}

/// `POST /-/reload`: in a task of its own, so that a client that goes away never leaves it half done.
pub(super) async fn reload(State(app): State<App>) -> Response {
    let gate = std::sync::Arc::clone(&app.gate);
    let task = tokio::spawn(async move { gate.reload().await });
    match tokio::time::timeout(app.limits.answer_timeout, task).await {
        Ok(Ok(Ok(said))) => said.into_response(),
        Ok(Ok(Err(why))) => {
            let detail = format!("failed to reload: the old configuration stays in force: {why}");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
        }
        Ok(Err(_)) => Problem::unavailable("the reload broke off").into_response(),
        Err(_) => Problem::unavailable("the reload has not ended yet").into_response(),
    }
}

/// How long a scrape waits for the count of alerts. After that it shows the count of the scrape before.
const COUNT_PATIENCE: Duration = Duration::from_secs(1);

/// `GET /metrics`
pub(super) async fn metrics(State(app): State<App>) -> Response {
    if let Ok(Ok((active, suppressed))) = tokio::time::timeout(COUNT_PATIENCE, v2::counts(&app)).await {
        app.gate.counted(active, suppressed);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.gate.metrics()).into_response()
}
