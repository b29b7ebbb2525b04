//! Sends requests over connections of its own. A certificate or a key that was renewed counts from the next
//! request on.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::PROXY_AUTHORIZATION;
use hyper::{Request, Response, Uri};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::Instant;

use super::DeliverError;
use super::dial::Dial;
use super::proxy::Proxies;
use super::tls::{Kept, server_name};
use crate::config::{AddressPolicy, ProxyConfig, TlsConfig};
use crate::receivers::text::{clean_line, cut};
use crate::receivers::{AttemptError, FailureReason};

/// The most headers of an answer. Some proxies add hundreds.
const MOST_HEADERS: usize = 1000;
/// The longest wait for a connection. A host that is gone shows by it, also where an answer may take longer.
const CONNECT_TIME: Duration = Duration::from_secs(10);

type Pool = Client<HttpsConnector<Dial>, Full<Bytes>>;

/// The carrier of requests: TLS, proxies and the policy for addresses.
pub(super) struct Wire {
    pool: Kept<Pool>,
    way: Way,
}

/// The version of HTTP.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// HTTP/1.1.
    One,
    /// HTTP/2, also without TLS, as gRPC needs it.
    Two,
}

/// How connections are made, but for certificates.
struct Way {
    version: Version,
    proxies: Arc<Proxies>,
    addresses: AddressPolicy,
    timeout: Duration,
    server_name: Option<ServerName<'static>>,
}

impl Wire {
    /// Reads the certificates, or the system's roots, and the environment now.
    pub(super) fn new(
        tls: &TlsConfig,
        proxy: &ProxyConfig,
        addresses: &AddressPolicy,
        timeout: Duration,
        version: Version,
    ) -> Result<Self, DeliverError> {
        let way = Way {
            version,
            proxies: Arc::new(Proxies::new(proxy)?),
            addresses: addresses.clone(),
            timeout,
            server_name: server_name(tls)?,
        };
        Ok(Wire { pool: Kept::new(tls, |config| Ok(way.pool(config)))?, way })
    }

    /// Sends a request. An answer of any status is `Ok`.
    pub(super) async fn exchange(
        &self,
        mut request: Request<Full<Bytes>>,
        until: Instant,
    ) -> Result<Response<Incoming>, AttemptError> {
        if request.uri().scheme_str() == Some("http")
            && let Some(proxy) = self.way.proxies.on_the_way_to(request.uri())
            && !proxy.is_socks()
            && let Some(value) = proxy.authorization()
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, value);
        }
        let pool = self.pool.get(until, |config| Ok(self.way.pool(config))).await;
        pool.request(request).await.map_err(|error| AttemptError {
            ambiguous: !error.is_connect(),
            ..AttemptError::passing(FailureReason::Other, chain(&error))
        })
    }
}

impl Way {
    fn pool(&self, config: ClientConfig) -> Pool {
        let patience = CONNECT_TIME.min(self.timeout / 2);
        let dial = Dial::new(&self.addresses, self.proxies.clone(), config.clone(), patience);
        let https = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
        let https = match &self.server_name {
            Some(name) => https.with_server_name_resolver(FixedServerNameResolver::new(name.clone())),
            None => https,
        };
        let https = match self.version {
            Version::One => https.enable_http1().wrap_connector(dial),
            Version::Two => https.enable_http2().wrap_connector(dial),
        };
        Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(4)
            .http2_only(self.version == Version::Two)
            // An odd header must not make a failure of a message that the receiver has accepted.
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_max_headers(MOST_HEADERS)
            .build(https)
    }
}

/// The URL of an answer's `Location`, from where it was asked.
pub(super) fn location(from: &Uri, response: &Response<Incoming>) -> Option<url::Url> {
    let location = response.headers().get(hyper::header::LOCATION)?.to_str().ok()?;
    url::Url::parse(&from.to_string()).ok()?.join(location).ok()
}

/// An error with its causes: the outermost of hyper's says only "client error".
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    cut(clean_line(without_the_client(&text)), 512)
}

/// The reason of a failure without the words of the HTTP client.
fn without_the_client(detail: &str) -> &str {
    let of_client = ["client error (Connect): ", "tcp connect error: "];
    let detail = of_client.iter().fold(detail, |detail, words| detail.strip_prefix(words).unwrap_or(detail));
    detail.split_once(" (os error").map_or(detail, |(detail, _)| detail)
}
