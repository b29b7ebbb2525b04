//! The paths and their handlers.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};

use super::app::{App, Peer};
use super::guard;
use super::problem::Problem;
use super::unserved::unserved;
use super::v2::{self, refusal::Refusal};
use super::{Gate, acknowledged, events, ops, receive, ui, v1};

/// All served paths, below the prefix. There is no other list of them.
fn routes() -> Vec<(&'static str, MethodRouter<App>)> {
    let api = [
        ("/alertmanager/webhook", post(receive::webhook)),
        ("/pagerduty/v2/enqueue", post(events::pagerduty)),
        ("/pagerduty/v2/change/enqueue", post(events::change)),
        ("/opsgenie/v2/alerts", post(events::opsgenie)),
        ("/opsgenie/v2/alerts/{identifier}/{request}", post(events::opsgenie_below)),
        ("/pagerduty/v3/webhook", post(acknowledged::pagerduty)),
        ("/opsgenie/webhook", post(acknowledged::opsgenie)),
        ("/-/healthy", get(ops::healthy)),
        ("/-/ready", get(ops::ready)),
        ("/-/reload", post(ops::reload)),
        ("/metrics", get(ops::metrics)),
    ];
    api.into_iter().chain(v2::routes()).chain(v1::routes()).chain(ui::routes()).collect()
}

/// The paths that are served, less the prefix, as [`Gate::answered`] names them.
pub fn paths() -> Vec<&'static str> {
    routes().into_iter().map(|(path, _)| path).collect()
}

/// Everything that is served, under the prefix.
pub(super) fn router(app: App) -> Router {
    // A brace in a pattern would begin a parameter.
    let prefix = app.prefix.replace('{', "{{").replace('}', "}}");
    let mut router = Router::new();
    for (path, handlers) in routes() {
        router = router.route(&format!("{prefix}{path}"), handlers);
    }
    if !prefix.is_empty() {
        router =
            router.route(&prefix, ui::front()).route("/", get(to_prefix)).route("/favicon.ico", ui::icon());
    }
    let counted = Counted { gate: Arc::clone(&app.gate), prefix: prefix.into() };
    router
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(app.clone(), guard::guard))
        .layer(from_fn_with_state(counted, count))
        .with_state(app)
}

/// The inputs of [`count`].
#[derive(Clone)]
struct Counted {
    gate: Arc<dyn Gate>,
    /// The prefix in the form of the patterns.
    prefix: Arc<str>,
}

/// Reports each answer to the node, under the pattern that was matched. Made-up paths therefore make no
/// series. A request whose path is served has a span, unless its sender is unknown.
async fn count(
    State(Counted { gate, prefix }): State<Counted>,
    matched: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let traceparent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let mut span = gate.tracer().arrives(traceparent);
    if let Some(context) = span.context() {
        request.extensions_mut().insert(context);
    }
    let method = request.method().clone();
    let response = next.run(request).await;
    let path = matched.as_ref().map_or("", |path| path.as_str().strip_prefix(&*prefix).unwrap_or_default());
    let path = if path.is_empty() && matched.is_some() { "/" } else { path };
    let status = response.status();
    gate.answered(path, status.as_u16());
    if path.is_empty() || matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        span.forget();
        return response;
    }
    span.name(|| format!("{method} {path}"));
    span.set("http.request.method", method.as_str());
    span.set("http.route", path);
    span.set("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.fail(status.as_str());
    }
    response
}

/// Leads a person from the root to the prefix, as Alertmanager does. A load balancer may ask for the root.
async fn to_prefix(State(app): State<App>) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, format!("{}/", app.prefix))]).into_response()
}

/// Whether a path is one of Alertmanager's API v1 that Squelch's own API v1 does not have.
fn of_old_api(path: &str) -> bool {
    let below = path.strip_prefix("/api/v1/");
    below.is_some_and(|path| matches!(path, "status" | "alerts/groups") || path.starts_with("silence/"))
}

async fn not_found(
    State(app): State<App>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Response {
    if request.uri().path().strip_prefix(&*app.prefix).is_some_and(of_old_api) {
        let detail = "the API v1 of Alertmanager ended with its version 0.27. Use the same route of API v2";
        return refused(&app, peer, request, Problem::new(StatusCode::GONE, detail)).await;
    }
    let detail = format!("there is nothing at {}. {}", shown(request.uri()), app.way());
    refused(&app, peer, request, Problem::new(StatusCode::NOT_FOUND, detail)).await
}

async fn wrong_method(
    State(app): State<App>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Response {
    let (method, path) = (request.method(), shown(request.uri()));
    let detail = format!("{method} is not served at {path}. {}", app.way());
    refused(&app, peer, request, Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)).await
}

/// Says no to a request that nothing serves, in the form of the API that it is for.
async fn refused(app: &App, peer: IpAddr, request: Request, problem: Problem) -> Response {
    let answer = match app.is_v2(request.uri()) {
        true => Refusal::from(problem).into_response(),
        false => problem.into_response(),
    };
    unserved(app, peer, request, answer).await
}

fn shown(uri: &Uri) -> String {
    uri.path().chars().take(200).collect()
}

/// The address with each run of slashes as one, and none at the end. People and programs that join a base
/// and a path write such addresses. `None` if it is so already.
pub(super) fn tidied(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if path.len() < 2 || !(path.contains("//") || path.ends_with('/')) {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut tidied = uri.clone().into_parts();
    tidied.path_and_query = format!("/{}{query}", parts.join("/")).parse().ok();
    Uri::from_parts(tidied).ok()
}

#[cfg(test)]
mod tests {
    use super::tidied;

    #[test]
    fn slashes_that_say_nothing_are_left_out() {
        for (written, meant) in [
            ("//api/v2/alerts", Some("/api/v2/alerts")),
            ("/alertmanager/webhook/", Some("/alertmanager/webhook")),
            ("/a///b//?x=//y/", Some("/a/b?x=//y/")),
            ("//", Some("/")),
            ("/", None),
            ("/api/v2/alerts?a=b/", None),
            ("/a/%2F/b", None),
        ] {
            let found = tidied(&written.parse().unwrap()).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), meant, "{written}");
        }
        let whole = "http://squelch:9096//api/".parse().unwrap();
        assert_eq!(tidied(&whole).unwrap(), "http://squelch:9096/api");
    }
}
