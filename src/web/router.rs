//! Which path does what.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::routing::{get, post};
use axum::{Extension, Router};

use super::answers::Answers;
use super::body::Room;
use super::problem::Problem;
use super::refusals::Refusals;
use super::{Gate, Limits, api, ops, receive, silences};

/// Who is at the other end of the connection. The port is left out: it changes with each connection.
#[derive(Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

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

/// Everything that is served, under the prefix.
pub(super) fn router(app: App) -> Router {
    // A brace in a pattern would begin a parameter.
    let prefix = app.prefix.replace('{', "{{").replace('}', "}}");
    let at = |path: &str| format!("{prefix}{path}");
    let mut router = Router::new()
        .route(&at("/alertmanager/webhook"), post(receive::webhook))
        .route(&at("/api/v2/alerts"), post(receive::api_v2))
        .route(&at("/api/v2/silences"), get(silences::list).post(silences::post))
        .route(&at("/api/v2/silence/{id}"), get(silences::one).delete(silences::expire))
        .route(&at("/-/healthy"), get(ops::healthy))
        .route(&at("/-/ready"), get(ops::ready))
        .route(&at("/-/reload"), post(ops::reload))
        .route(&at("/metrics"), get(ops::metrics))
        .route(&at("/api/v1/alerts"), get(api::alerts))
        .route(&at("/api/v1/incidents"), get(api::incidents))
        .route(&at("/api/v1/dead-letters"), get(api::dead_letters))
        .route(&at("/api/v1/dead-letters/{id}/replay"), post(api::replay))
        .route(&at("/"), get(ops::index));
    if !prefix.is_empty() {
        router = router.route(&prefix, get(ops::index));
    }
    router.fallback(not_found).method_not_allowed_fallback(wrong_method).with_state(app)
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
