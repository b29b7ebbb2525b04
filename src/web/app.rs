//! The state that every handler shares, and how a handler knows its caller.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use moka::sync::Cache;
use rustls::pki_types::CertificateDer;

use super::access::Caller;
use super::body::{ArrivedBody, BodyRoom, RefusedBody};
use super::changes::Changes;
use super::crowd::Seat;
use super::forward::Forwarder;
use super::limits::SMALL_BODY;
use super::outgoing::Outgoing;
use super::problem::Problem;
use super::refusals::Refusals;
use super::{Gate, ServerLimits};
use crate::decision_log::Baseline;
use crate::model::Timestamp;
use crate::spans::TraceContext;

/// Everything below it is API v2.
const V2: &str = "/api/v2";
/// So many baselines are kept.
const BASELINES: u64 = 1_000;
/// A baseline is counted anew after this time. The page of an incident refreshes every few seconds.
const FRESH: Duration = Duration::from_secs(60);

/// The address at the other end of the connection. The port is left out: it changes with each connection.
#[derive(Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// The certificate that the client showed in the handshake.
#[derive(Clone)]
pub(super) struct Certificate(pub(super) Arc<CertificateDer<'static>>);

/// The last part of a path that contains a name.
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(name)| Named(name)).map_err(|_| {
            Problem::bad("the last part of the path is not valid UTF-8. Write it percent-encoded, in UTF-8")
        })
    }
}

/// A request that brings something: its body, and all that is known of its sender.
pub(super) struct Posted {
    /// Where it comes from.
    pub(super) peer: Peer,
    /// Who is logged in.
    pub(super) caller: Option<Caller>,
    pub(super) certificate: Option<Certificate>,
    pub(super) seat: Option<Arc<Seat>>,
    /// Its trace, if it has one.
    pub(super) trace: Option<TraceContext>,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

impl<S: Send + Sync> FromRequest<S> for Posted {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let unknown =
            || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the peer of the request is unknown");
        let known = &mut parts.extensions;
        Ok(Posted {
            peer: known.remove().ok_or_else(unknown)?,
            caller: known.remove(),
            certificate: known.remove(),
            seat: known.remove(),
            trace: known.remove(),
            uri: parts.uri,
            headers: parts.headers,
            body,
        })
    }
}

/// The state that every handler shares. Each request clones it several times, so it is one pointer.
#[derive(Clone)]
pub(super) struct App(Arc<Shared>);

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The parts of [`App`].
pub(super) struct Shared {
    pub(super) gate: Arc<dyn Gate>,
    pub(super) limits: ServerLimits,
    pub(super) prefix: Arc<str>,
    pub(super) room: BodyRoom,
    pub(super) refusals: Refusals,
    pub(super) outgoing: Outgoing,
    pub(super) changes: Changes,
    pub(super) forwarder: Forwarder,
    /// The baselines of the pages of incidents, by key and number of the incident and name of the rule.
    pub(super) baselines: Cache<(String, u64, String), Arc<Baseline>>,
    /// When it began to serve, in wall time.
    pub(super) started: Timestamp,
}

impl App {
    pub(super) fn new(gate: Arc<dyn Gate>, limits: ServerLimits) -> Self {
        App(Arc::new(Shared {
            started: gate.wall(),
            gate,
            prefix: normalised(&limits.route_prefix).into(),
            room: BodyRoom::new(&limits),
            outgoing: Outgoing::new(&limits),
            limits,
            refusals: Refusals::new(),
            changes: Changes::default(),
            forwarder: Forwarder::new(),
            baselines: Cache::builder().max_capacity(BASELINES).time_to_live(FRESH).build(),
        }))
    }

    /// Where alerts go.
    pub(super) fn way(&self) -> String {
        let prefix = &self.prefix;
        format!(
            "Alertmanager's webhook posts to {prefix}/alertmanager/webhook, Prometheus (api_version: v2) to \
             {prefix}/api/v2/alerts, and GET {prefix}/ lists what else there is"
        )
    }

    /// Whether an address is one of API v2.
    pub(super) fn is_v2(&self, uri: &Uri) -> bool {
        let path = uri.path().strip_prefix(&*self.prefix).unwrap_or_default();
        path.strip_prefix(V2).is_some_and(|below| below.is_empty() || below.starts_with('/'))
    }

    /// Reads a body within size, time and memory.
    pub(super) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<ArrivedBody, RefusedBody> {
        self.read_at_most(headers, body, self.limits.body_bytes).await
    }

    /// Reads a body that is a small one, or is refused.
    pub(super) async fn read_small(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<ArrivedBody, RefusedBody> {
        self.read_at_most(headers, body, SMALL_BODY).await
    }

    async fn read_at_most(
        &self,
        headers: &HeaderMap,
        body: Body,
        most: usize,
    ) -> Result<ArrivedBody, RefusedBody> {
        self.room.read(headers, body, most, self.limits.body_timeout, &*self.gate).await
    }
}

/// `/a/b` for `a/b/` and the like. Empty for the root.
fn normalised(prefix: &str) -> String {
    let inner = prefix.trim_matches('/');
    if inner.is_empty() { String::new() } else { format!("/{inner}") }
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
