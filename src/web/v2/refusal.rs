//! The refusals of API v2. Alertmanager has three forms: a text of its own, an object of the library that
//! reads its requests, and a bare status.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::web::problem::{Problem, json as json_response};

/// A parameter or field has the wrong type.
pub(super) const WRONG_TYPE: u16 = 601;
/// A field is missing.
pub(super) const REQUIRED: u16 = 602;
/// A list has too few items.
pub(super) const TOO_FEW: u16 = 612;

/// An answer that says no.
#[derive(Debug)]
pub(in crate::web) enum Refusal {
    /// A JSON string.
    Text(StatusCode, String),
    /// An object with `code` and `message`. Codes above 599 are answered with status 422.
    Coded(u16, String),
    /// No body.
    Bare(StatusCode),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Refusal::Coded(problem.status.as_u16(), problem.detail)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Refusal::Text(status, text) => json_response(status, "application/json", &text),
            Refusal::Coded(code, message) => {
                let status = match code {
                    600.. => StatusCode::UNPROCESSABLE_ENTITY,
                    code => StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                };
                json_response(status, "application/json", &json!({ "code": code, "message": message }))
            }
            Refusal::Bare(status) => status.into_response(),
        }
    }
}
