//! Refusals for a person: the answer to a browser is a page with the next step, and not JSON.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use maud::html;

use super::{page, text};
use crate::web::problem::Problem;

/// Whether a browser shows the answer to a person. Programs that read the API get JSON.
pub(in crate::web) fn shows(uri: &Uri, headers: &HeaderMap, prefix: &str) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let path = uri.path().strip_prefix(prefix).unwrap_or(uri.path());
    accepts.contains("text/html") && !path.starts_with("/api/")
}

/// Turns a refusal into a page. It shows nothing of the server's state, because the caller may be unknown.
pub(in crate::web) fn draw(response: &mut Response, problem: &Problem, uri: &Uri, prefix: &str) {
    let status = problem.status;
    let (title, why, next) = match status {
        StatusCode::UNAUTHORIZED => (
            "You are not logged in",
            String::new(),
            "Load this page again to enter your user name and your password.",
        ),
        StatusCode::FORBIDDEN => (
            "You may not do this",
            problem.detail.clone(),
            "An administrator can give you another role in the section users of the configuration.",
        ),
        StatusCode::NOT_FOUND => {
            ("There is no page here", format!("Squelch has no page at {}.", uri.path()), "")
        }
        StatusCode::METHOD_NOT_ALLOWED => (
            "This address is not a page",
            "It only takes a form that a page sends.".to_owned(),
            "Open the page with the form again. The action happened only if a page said so.",
        ),
        _ => (status.canonical_reason().unwrap_or("It did not work"), problem.detail.clone(), ""),
    };
    let root = page::root(uri.path(), prefix);
    // A browser would ask again for the password of a style sheet.
    let known = status != StatusCode::UNAUTHORIZED;
    let head = html! { @if known { link rel="stylesheet" href=(format!("{root}assets/squelch.css")); } };
    let body = html! {
        body {
            main {
                h1 { (title) }
                @if !why.is_empty() { p.problem role="alert" { (text::tame(&why, 1_000)) } }
                @if !next.is_empty() { p { (next) } }
                p { a href=(root) { "Open incidents" } }
            }
        }
    };
    let page = page::html_document(&format!("{title} · Squelch"), head, body);
    *response.body_mut() = Body::from(page.into_string());
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;

    async fn drawn(status: StatusCode) -> String {
        let problem = Problem::new(status, "ada has the role read, and this needs silence");
        let mut response = problem.clone().into_response();
        draw(&mut response, &problem, &Uri::from_static("/a/act/silence"), "/a");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        let body = std::mem::take(response.body_mut());
        let bytes = axum::body::to_bytes(body, 100_000).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_person_reads_the_next_step_and_the_style_needs_no_password() {
        let forbidden = drawn(StatusCode::FORBIDDEN).await;
        assert!(forbidden.contains("ada has the role read") && forbidden.contains("../assets/squelch.css"));
        let unknown = drawn(StatusCode::UNAUTHORIZED).await;
        assert!(unknown.contains("Load this page again") && !unknown.contains("squelch.css"), "{unknown}");
        assert!(drawn(StatusCode::METHOD_NOT_ALLOWED).await.contains("Open the page with the form again"));
    }

    #[test]
    fn programs_and_the_api_get_json() {
        let mut headers = HeaderMap::new();
        let shown = |path: &'static str, headers: &HeaderMap| shows(&Uri::from_static(path), headers, "/a");
        assert!(!shown("/a/nothing", &headers));
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/html,*/*;q=0.8"));
        assert!(shown("/a/nothing", &headers) && !shown("/a/api/v1/nothing", &headers));
    }
}
