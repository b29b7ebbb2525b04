//! Answers that say no: RFC 9457 problem details.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// An answer that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// 4xx only for what can never succeed: Alertmanager gives up on those, and on 429 too.
    pub(super) status: StatusCode,
    /// What is wrong, and what would be right.
    pub(super) detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem { status, detail: detail.into() }
    }

    /// 503: the sender keeps what it has and tries again.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The same in the form that Alertmanager's API v2 answers with.
    pub(super) fn into_api_v2(self) -> Response {
        let body = serde_json::json!({ "code": self.status.as_u16(), "message": self.detail });
        json(self.status, "application/json", &body)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        json(self.status, "application/problem+json", &body)
    }
}

/// A JSON answer; a 503 says when to come back.
pub(super) fn json(status: StatusCode, content_type: &'static str, body: &serde_json::Value) -> Response {
    let mut response = (status, [(header::CONTENT_TYPE, content_type)], format!("{body}\n")).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
