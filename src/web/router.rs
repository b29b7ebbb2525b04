//! Which path does what.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};

use super::answers::Answers;
use super::body::Room;
use super::guard;
use super::problem::Problem;
use super::refusals::Refusals;
use super::{Gate, Limits, ops, receive, silences, ui, v1};

/// Who is at the other end of the connection. The port is left out: it changes with each connection.
#[derive(Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// The last part of a path that names something.
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(name)| Named(name)).map_err(|e| Problem::bad(format!("the path: {}", e.body_text())))
    }
}

/// What every handler shares.
#[derive(Clone)]
pub(super) struct App {
    pub(super) gate: Arc<dyn Gate>,
    pub(super) limits: Arc<Limits>,
    pub(super) prefix: Arc<str>,
    pub(super) room: Room,
    pub(super) refusals: Refusals,
    pub(super) answers: Answers,
}

impl App {
    pub(super) fn new(gate: Arc<dyn Gate>, limits: Limits) -> Self {
        App {
            gate,
            prefix: normalised(&limits.route_prefix).into(),
            room: Room::new(&limits),
            limits: Arc::new(limits),
            refusals: Refusals::new(),
            answers: Answers::new(),
        }
    }
}

/// What is served, below the prefix: the one list of it.
fn routes() -> Vec<(&'static str, MethodRouter<App>)> {
    let api = [
        ("/alertmanager/webhook", post(receive::webhook)),
        ("/api/v2/alerts", post(receive::api_v2)),
        ("/api/v2/silences", get(silences::list).post(silences::post)),
        ("/api/v2/silence/{id}", get(silences::one).delete(silences::expire)),
        ("/-/healthy", get(ops::healthy)),
        ("/-/ready", get(ops::ready)),
        ("/-/reload", post(ops::reload)),
        ("/metrics", get(ops::metrics)),
    ];
    api.into_iter().chain(v1::routes()).chain(ui::routes()).collect()
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
        router = router.route(&prefix, ui::front());
    }
    let counted = Counted { gate: Arc::clone(&app.gate), prefix: prefix.into() };
    router
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(app.clone(), guard::guard))
        .layer(from_fn_with_state(counted, count))
        .with_state(app)
}

/// What [`count`] needs.
#[derive(Clone)]
struct Counted {
    gate: Arc<dyn Gate>,
    /// As it stands in the patterns.
    prefix: Arc<str>,
}

/// Tells the node of each answer: under the pattern that was matched, so that what clients make up
/// makes no series.
async fn count(
    State(Counted { gate, prefix }): State<Counted>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    let path = matched.as_ref().map_or("", |path| path.as_str().strip_prefix(&*prefix).unwrap_or_default());
    let path = if path.is_empty() && matched.is_some() { "/" } else { path };
    gate.answered(path, response.status().as_u16());
    response
}

/// `/a/b` for `a/b/` and the like; nothing for the root.
fn normalised(prefix: &str) -> String {
    let inner = prefix.trim_matches('/');
    if inner.is_empty() { String::new() } else { format!("/{inner}") }
}

async fn not_found(
    State(app): State<App>,
    Extension(Peer(peer)): Extension<Peer>,
    method: Method,
    uri: Uri,
) -> Problem {
    app.refusals.log_misdirected(peer, &method, uri.path());
    let detail = format!("there is nothing at {}; {}", shown(&uri), app.way());
    Problem::new(StatusCode::NOT_FOUND, detail)
}

async fn wrong_method(
    State(app): State<App>,
    Extension(Peer(peer)): Extension<Peer>,
    method: Method,
    uri: Uri,
) -> Problem {
    app.refusals.log_misdirected(peer, &method, uri.path());
    let detail = format!("{method} is not served at {}; {}", shown(&uri), app.way());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

fn shown(uri: &Uri) -> String {
    uri.path().chars().take(200).collect()
}

impl App {
    /// Where alerts go.
    fn way(&self) -> String {
        let prefix = &self.prefix;
        format!(
            "Alertmanager's webhook posts to {prefix}/alertmanager/webhook, Prometheus (api_version: v2) to \
             {prefix}/api/v2/alerts, and GET {prefix}/ lists what else there is"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::normalised;

    #[test]
    fn prefixes_are_read_as_people_write_them() {
        for (written, meant) in [("", ""), ("/", ""), ("a", "/a"), ("/a/b/", "/a/b")] {
            assert_eq!(normalised(written), meant);
        }
    }
}
