//! Answers as all paths of API v1 give them.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::decision_log::DecisionLogError;
use crate::web::gate::SearchError;
use crate::web::problem::{Details, Problem, json};

/// The most looks at the engine for one request, so that rare entries are found on one page.
pub(super) const LOOKS: usize = 20;

/// The other answers that every path may give.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it is described, not made: `Problem` makes the answers")]
pub(super) enum Refusal<'a> {
    /// The question is invalid. The detail says how to correct it.
    #[response(status = 400, content_type = "application/problem+json")]
    Bad(Details<'a>),
    /// The credentials are unknown.
    #[response(status = 401, content_type = "application/problem+json")]
    Unknown(Details<'a>),
    /// The caller may not do this, or a page of another site asks.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Details<'a>),
    /// There is nothing of that name.
    #[response(status = 404, content_type = "application/problem+json")]
    Missing(Details<'a>),
    /// It cannot be answered now. The same may succeed later.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Details<'a>),
}

/// The answer if the decision log was not searched.
pub(in crate::web) fn unsearched(error: SearchError) -> Problem {
    match error {
        SearchError::DecisionLog(DecisionLogError::TooLong(_)) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
        }
        other => Problem::unavailable(other.to_string()),
    }
}

pub(super) fn reply<T: Serialize>(found: Result<T, Problem>) -> Response {
    match found {
        Ok(found) => json(StatusCode::OK, "application/json", &found),
        Err(problem) => problem.into_response(),
    }
}
