//! `/api/v1/dead-letters`: notifications that receivers refused for good, and another try.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::parameters::no_parameters;
use super::parameters::{PageLimit, cursor, parameters};
use super::reply;
use super::reply::Refusal;
use crate::causes;
use crate::journal::{DeadLetter, LetterQuery};
use crate::model::{Cause, NotificationId, Outcome, Timestamp};
use crate::web::app::{App, Named};
use crate::web::gate::ReplayError;
use crate::web::look::finished;
use crate::web::problem::{Details, Problem, json};

/// Letters that one request reads at most: each may hold a thousand alerts.
const MOST: usize = 100;

/// The conditions of the list. All that are given must hold.
#[derive(Deserialize, IntoParams, Default)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct DeadLetterParams {
    /// Only this receiver's.
    receiver: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// The most entries on the page. A hundred are the most in any case.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    limit: PageLimit,
}

/// One page of dead letters, the newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = DeadLetters)]
#[serde(rename_all = "camelCase")]
struct LetterPage {
    /// The letters.
    dead_letters: Vec<LetterEntry>,
    /// The cursor of the next page. Missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A notification that its receiver refused for good.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = DeadLetter)]
#[serde(rename_all = "camelCase")]
struct LetterEntry {
    /// Its number.
    id: u64,
    /// When it was decided.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// When it was refused for good.
    #[schema(value_type = String, format = DateTime)]
    died_at: Timestamp,
    /// The receiver that refused it.
    receiver: String,
    /// Which integration of it.
    integration: String,
    /// `page`, `update`, `resolve` or `digest`.
    kind: String,
    /// The key of its incident.
    dedup_key: String,
    /// Its group's key.
    group_key: String,
    /// The name of its severity level.
    severity: String,
    /// Why it was to be sent, in one sentence.
    why: String,
    /// Why, as data.
    cause: Cause,
    /// The number of its alerts.
    alerts: u64,
    /// How many attempts were made.
    attempts: u32,
    /// Why it was refused: `clientError`, `authError`, …
    reason: String,
    /// The receiver's answer, without secrets.
    detail: String,
    /// An earlier attempt may have been accepted.
    ambiguous: bool,
}

/// The result of the request.
#[derive(Serialize, ToSchema)]
struct Replayed {
    /// The number of the letter that is sent again.
    replayed: u64,
}

/// Notifications that receivers refused for good.
#[utoipa::path(
    get, path = "/api/v1/dead-letters", operation_id = "listDeadLetters", tag = "delivery", params(DeadLetterParams),
    responses((status = 200, description = "One page.", body = LetterPage), Refusal)
)]
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Response {
    reply(page(&app, &uri).await)
}

async fn page(app: &App, uri: &Uri) -> Result<LetterPage, Problem> {
    let asked: DeadLetterParams = parameters(uri)?;
    let after = cursor(asked.cursor.as_ref(), |text| {
        let (at, id) = text.split_once('-')?;
        Some((Timestamp::from_millis(at.parse().ok()?), NotificationId(id.parse().ok()?)))
    })?;
    let limit = asked.limit.0.min(MOST);
    let wanted = LetterQuery { after, receiver: asked.receiver.map(Into::into), limit: limit + 1 };
    let found = tokio::time::timeout(app.limits.answer_timeout, app.gate.dead_letters(wanted)).await;
    let found = found.map_err(|_| Problem::unavailable("no answer in time: try again"))?;
    let mut letters = found.map_err(|e| Problem::unavailable(e.to_string()))?.letters;
    let more = letters.len() > limit;
    letters.truncate(limit);
    let cursor = |l: &DeadLetter| format!("{}-{}", l.died_at.as_millis(), l.notification.id.0);
    let next = letters.last().filter(|_| more).map(cursor);
    Ok(LetterPage { dead_letters: letters.into_iter().map(entry).collect(), next })
}

fn entry(letter: DeadLetter) -> LetterEntry {
    let DeadLetter { notification: n, report, died_at } = letter;
    let (reason, detail, ambiguous) = match report.outcome {
        Outcome::Rejected(rejection) => (rejection.reason.to_string(), rejection.detail, rejection.ambiguous),
        Outcome::Accepted | Outcome::Recalled { .. } => Default::default(),
    };
    LetterEntry {
        id: n.id.0,
        at: n.at,
        died_at,
        receiver: n.receiver.to_string(),
        integration: n.integration.to_string(),
        kind: n.kind.as_str().to_owned(),
        dedup_key: n.dedup_key.to_string(),
        group_key: n.group_key.to_string(),
        severity: n.severity.to_string(),
        why: causes::text(&n.cause),
        cause: n.cause,
        alerts: n.alerts.len() as u64 + n.truncated,
        attempts: report.attempts,
        reason,
        detail,
        ambiguous,
    }
}

/// Sends one of them again: 202, since the receiver has yet to take it.
#[utoipa::path(
    post, path = "/api/v1/dead-letters/{id}/replay", operation_id = "replayDeadLetter", tag = "delivery",
    params(("id" = u64, Path, description = "The number of the letter.")),
    responses(
        (status = 202, description = "It is on its way.", body = Replayed),
        (status = 409, description = "Its incident is over.", body = Details,
            content_type = "application/problem+json"),
        Refusal,
    )
)]
pub(super) async fn replay(State(app): State<App>, Named(id): Named, uri: Uri) -> Response {
    match replayed(&app, &id, &uri).await {
        Ok(replayed) => json(StatusCode::ACCEPTED, "application/json", &Replayed { replayed }),
        Err(problem) => problem.into_response(),
    }
}

async fn replayed(app: &App, id: &str, uri: &Uri) -> Result<u64, Problem> {
    no_parameters(uri)?;
    let Ok(number) = id.parse() else {
        let detail = "the id of a dead letter is a whole number, as GET /api/v1/dead-letters lists it";
        return Err(Problem::bad(detail));
    };
    let gate = Arc::clone(&app.gate);
    let task = tokio::spawn(async move { gate.replay(NotificationId(number)).await });
    match finished(app, task).await? {
        Ok(()) => Ok(number),
        Err(error @ ReplayError::NotFound) => Err(Problem::new(StatusCode::NOT_FOUND, error.to_string())),
        Err(error @ ReplayError::Over) => Err(Problem::new(StatusCode::CONFLICT, error.to_string())),
        Err(error @ ReplayError::Unavailable(_)) => Err(Problem::unavailable(error.to_string())),
    }
}
