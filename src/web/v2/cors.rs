//! Which pages of other sites may read API v2: all, as at Alertmanager. `guard.rs` refuses them every
//! change, and they may read the reason.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::refusal::Refusal;

/// Methods that a page of another site may try.
const METHODS: [&str; 3] = ["GET", "POST", "HEAD"];
/// Headers that it may send.
const HEADERS: [&str; 4] = ["accept", "content-type", "origin", "x-requested-with"];

/// `OPTIONS`: the question of a browser before it sends a request of a page of another site. `served` are
/// the methods of the path.
pub(super) fn preflight(headers: &HeaderMap, served: &'static str) -> Response {
    let Some(method) = text(headers, &header::ACCESS_CONTROL_REQUEST_METHOD) else {
        let message = format!("method OPTIONS is not allowed, but [{served}] are");
        let mut response = Refusal::Coded(405, message).into_response();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(served));
        return response;
    };
    let mut response = StatusCode::OK.into_response();
    let asked = text(headers, &header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
    let known = |name: &str| HEADERS.contains(&name.trim().to_ascii_lowercase().as_str());
    let allowed = METHODS.contains(&method) && asked.split(',').all(|name| name.is_empty() || known(name));
    let answer = response.headers_mut();
    for name in [header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_REQUEST_HEADERS] {
        answer.append(header::VARY, HeaderValue::from(name));
    }
    // Without these a browser does not send the request.
    let allows =
        [(header::ACCESS_CONTROL_ALLOW_METHODS, method), (header::ACCESS_CONTROL_ALLOW_HEADERS, asked)];
    for (name, value) in allows {
        if let Some(value) = HeaderValue::from_str(value).ok().filter(|v| allowed && !v.is_empty()) {
            answer.insert(name, value);
        }
    }
    response
}

/// Adds to an answer that a page of any site may read it. Browsers send no credentials then.
pub(in crate::web) fn readable(has_origin: bool, answer: &mut HeaderMap) {
    answer.append(header::VARY, HeaderValue::from(header::ORIGIN));
    if has_origin {
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().filter(|text| !text.is_empty())
}
