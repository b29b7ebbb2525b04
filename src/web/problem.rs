//! Answers that say no: RFC 9457 problem details.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An answer that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// 4xx only for requests that can never succeed: Alertmanager gives up on those, and on 429 too.
    pub(super) status: StatusCode,
    /// The error, and the right value.
    pub(super) detail: String,
}

/// Problem details, as RFC 9457 has them.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(super) struct Details<'a> {
    /// Always `about:blank`: the status alone names the kind.
    r#type: &'a str,
    /// The name of the status.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// The error, and the right value.
    detail: &'a str,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem { status, detail: detail.into() }
    }

    /// 400: the request is invalid.
    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 503: the sender keeps its data and tries again.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    fn details(&self) -> Details<'_> {
        Details {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &self.detail,
        }
    }

    /// The body of the answer.
    pub(super) fn body(&self) -> String {
        serde_json::to_string(&self.details()).unwrap_or_default() + "\n"
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = json(self.status, "application/problem+json", &self.details());
        // The guard makes a page of it for a browser.
        response.extensions_mut().insert(self);
        response
    }
}

/// A JSON answer. A 503 says when to come back.
pub(super) fn json(status: StatusCode, content_type: &'static str, body: &impl Serialize) -> Response {
    let Ok(body) = serde_json::to_string(body) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = (status, [(header::CONTENT_TYPE, content_type)], body + "\n").into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
