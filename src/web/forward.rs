//! A standby passes requests on to the owner of the storage, which alone knows how everything stands.
//!
//! The standby checks the caller. It then shows the owner the word that only replicas know, and the name
//! and role of the caller. A standby itself serves requests that accept alerts, report its own health, or
//! change its own configuration.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use axum::response::{IntoResponse, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ConfigBuilder};
use subtle::ConstantTimeEq;

use super::access::Caller;
use super::gate::{Gate, Replicated};
use super::{problem::Problem, tls};
use crate::config::Role;
use crate::deliver::{ByItself, chain};
use crate::model::hex;

/// The word that only replicas know.
const WORD: HeaderName = HeaderName::from_static("squelch-replica");
/// The caller, as the standby knows it.
const CALLER: HeaderName = HeaderName::from_static("squelch-caller");
/// The role of the caller.
const ROLE: HeaderName = HeaderName::from_static("squelch-caller-role");
/// Headers of one connection, which are not passed on.
const HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    HeaderName::from_static("keep-alive"),
];
/// How long it may take to reach the owner.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// A connection that is not used for so long is closed.
const IDLE: Duration = Duration::from_secs(30);

/// Connections to the owner.
#[derive(Clone)]
pub(super) struct Forwarder {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    /// The one certificate that the owner has written into the database.
    pin: Arc<ArcSwapOption<String>>,
}

impl Forwarder {
    pub(super) fn new() -> Self {
        let pin = Arc::new(ArcSwapOption::empty());
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_PATIENCE));
        http.set_nodelay(true);
        let https = HttpsConnectorBuilder::new().with_tls_config(config(Arc::clone(&pin))).https_or_http();
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).pool_max_idle_per_host(8);
        Forwarder { client: client.build(https.enable_http1().wrap_connector(http)), pin }
    }

    /// The owner's answer, if another replica is the owner and must answer.
    pub(super) async fn forward(
        &self,
        gate: &dyn Gate,
        (prefix, patience): (&str, Duration),
        path: Option<&str>,
        caller: Option<&Caller>,
        request: Request,
    ) -> Result<Response, Request> {
        let Some(Replicated { secret, owner: Some(owner), why }) = gate.replicated() else {
            return Err(request);
        };
        if path.is_none_or(|path| is_local(request.method(), path)) {
            return Err(request);
        }
        if request.headers().contains_key(WORD) {
            return Ok(unanswered(&why, "the owner has just changed").into_response());
        }
        Ok(self
            .answer((prefix, patience), &secret, (&owner, &why), caller, request)
            .await
            .unwrap_or_else(IntoResponse::into_response))
    }

    async fn answer(
        &self,
        (prefix, patience): (&str, Duration),
        secret: &str,
        (owner, why): (&str, &str),
        caller: Option<&Caller>,
        mut request: Request,
    ) -> Result<Response, Problem> {
        let (owner, pin) = owner.split_once('#').unwrap_or((owner, ""));
        self.pin.store(Some(Arc::new(pin.to_owned())));
        let path = request.uri().path();
        let below = path.strip_prefix(prefix).unwrap_or(path);
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let wrong = |_| unanswered(why, &format!("its address {owner} is not a URL"));
        *request.uri_mut() = format!("{owner}{below}{query}").parse::<Uri>().map_err(wrong)?;
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        HOP.iter().for_each(|name| drop(headers.remove(name)));
        for (name, value) in [
            (CALLER, caller.map(|c| c.name.as_str())),
            (ROLE, caller.map(|c| c.role.as_str())),
            (WORD, Some(secret)),
        ] {
            headers.remove(&name);
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        }
        let answer = tokio::time::timeout(patience, self.client.request(request)).await;
        match answer {
            Ok(Ok(mut response)) => {
                HOP.iter().for_each(|name| drop(response.headers_mut().remove(name)));
                Ok(response.map(Body::new))
            }
            Ok(Err(error)) => Err(unanswered(why, &chain(&error))),
            Err(_) => Err(unanswered(why, "it does not answer in time")),
        }
    }
}

/// TLS towards the owner. Its certificate need not be for its address: the database says which one it is.
fn config(pin: Arc<ArcSwapOption<String>>) -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let accepts = move |certificate: &CertificateDer<'_>| match pin
        .load()
        .as_deref()
        .is_some_and(|pin| *pin == hex(&tls::pin(certificate)))
    {
        true => Ok(()),
        false => Err(rustls::Error::General("its certificate is not the one of the owner".into())),
    };
    let verifier = Arc::new(ByItself { provider: provider.clone(), accepts });
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(rustls::DEFAULT_VERSIONS).map(ConfigBuilder::dangerous);
    // ring has suites for both versions.
    match builder {
        Ok(builder) => builder.with_custom_certificate_verifier(verifier).with_no_client_auth(),
        Err(error) => unreachable!("{error}"),
    }
}

/// The caller, if another replica passes the request on. The inner `None` is an unknown caller.
pub(super) fn passed_on(gate: &dyn Gate, headers: &HeaderMap) -> Option<Option<Caller>> {
    let shown = headers.get(WORD)?;
    let replicated = gate.replicated()?;
    let known =
        !replicated.secret.is_empty() && bool::from(shown.as_bytes().ct_eq(replicated.secret.as_bytes()));
    if !known {
        return None;
    }
    let name = headers.get(CALLER).map(HeaderValue::as_bytes);
    let role = headers
        .get(ROLE)
        .and_then(|role| role.to_str().ok())
        .and_then(|role| Role::ALL.into_iter().find(|known| known.as_str() == role));
    Some(match (name, role) {
        (Some(name), Some(role)) => Some(Caller { name: String::from_utf8_lossy(name).into(), role }),
        _ => None,
    })
}

/// Whether this replica serves a path itself, even if another one owns the storage.
fn is_local(method: &Method, path: &str) -> bool {
    match path {
        "/metrics" | "/api/v1/cluster" | "/api/v1/openapi.json" => true,
        "/alertmanager/webhook" | "/api/v2/alerts" | "/opsgenie/v2/alerts" => method == Method::POST,
        "/pagerduty/v2/enqueue" | "/pagerduty/v2/change/enqueue" | "/pagerduty/v3/webhook" => true,
        "/opsgenie/v2/alerts/{identifier}/{request}" | "/opsgenie/webhook" => true,
        path => path.starts_with("/-/") || path == "/assets/{file}",
    }
}

fn unanswered(why: &str, error: &str) -> Problem {
    Problem::unavailable(format!(
        "{why}, and the request cannot be passed on: {error}. Another replica takes over within 15 s if the \
         owner is gone"
    ))
}
