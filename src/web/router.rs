//! Which path does what.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};

use super::answers::Answers;
use super::body::{self, Arrived, Room};
use super::guard;
use super::outgoing::Outgoing;
use super::problem::Problem;
use super::refusals::Refusals;
use super::{Gate, Limits, ops, receive, silences, ui, v1};
use crate::ingest::{InvalidReason, states_alerts};
use crate::model::Source;

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
    pub(super) outgoing: Outgoing,
}

impl App {
    pub(super) fn new(gate: Arc<dyn Gate>, limits: Limits) -> Self {
        App {
            gate,
            prefix: normalised(&limits.route_prefix).into(),
            room: Room::new(&limits),
            outgoing: Outgoing::new(&limits),
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
    request: Request,
) -> Response {
    let detail = format!("there is nothing at {}; {}", shown(request.uri()), app.way());
    unserved(&app, peer, request, Problem::new(StatusCode::NOT_FOUND, detail)).await
}

async fn wrong_method(
    State(app): State<App>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Response {
    let (method, path) = (request.method(), shown(request.uri()));
    let detail = format!("{method} is not served at {path}; {}", app.way());
    unserved(&app, peer, request, Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)).await
}

/// Marks the answer to a request that nothing here serves.
#[derive(Clone, Copy)]
pub(super) struct Unserved;

async fn unserved(app: &App, peer: IpAddr, request: Request, problem: Problem) -> Response {
    misdirected(app, peer, request).await;
    let mut response = problem.into_response();
    response.extensions_mut().insert(Unserved);
    response
}

/// Notes a request that came to a path or with a method that is not served. If it brought alerts they are
/// lost, and its sender does not read the answer: they count like other input that is refused.
pub(super) async fn misdirected(app: &App, peer: IpAddr, request: Request) {
    let (parts, body) = request.into_parts();
    let (method, path) = (&parts.method, parts.uri.path());
    if matches!(*method, Method::POST | Method::PUT) {
        let arrived = body::read(&parts.headers, body, app).await;
        let now = app.gate.now();
        if let Ok(Arrived { bytes, share }) = arrived {
            let sent = bytes.clone();
            let states = move || {
                let states = states_alerts(&sent, now);
                drop(share);
                states
            };
            if receive::read(bytes.len(), states).await.unwrap_or(false) {
                let list = bytes.trim_ascii_start().starts_with(b"[");
                let source = if list { Source::Prometheus } else { Source::Alertmanager };
                app.gate.rejected(source, InvalidReason::WrongPath);
                return app.refusals.log_misdirected_alerts(source, peer, method, path, &app.way());
            }
        }
    }
    app.refusals.log_unserved(peer, method, path);
}

fn shown(uri: &Uri) -> String {
    uri.path().chars().take(200).collect()
}

impl App {
    /// Where alerts go.
    pub(super) fn way(&self) -> String {
        let prefix = &self.prefix;
        format!(
            "Alertmanager's webhook posts to {prefix}/alertmanager/webhook, Prometheus (api_version: v2) to \
             {prefix}/api/v2/alerts, and GET {prefix}/ lists what else there is"
        )
    }
}

/// The address with each run of slashes as one, and none at the end: people and programs that join a base
/// and a path write them so. Nothing if it is so already.
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
    use super::{normalised, tidied};

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

    #[test]
    fn prefixes_are_read_as_people_write_them() {
        for (written, meant) in [("", ""), ("/", ""), ("a", "/a"), ("/a/b/", "/a/b")] {
            assert_eq!(normalised(written), meant);
        }
    }
}
