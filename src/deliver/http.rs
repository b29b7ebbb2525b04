//! One HTTP request: no redirects, a bounded answer, no secret in what is said about it.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::Instant;

use super::addresses::{Blocked, Checked};
use super::pinned::Pinned;
use super::redact::Redactor;
use super::secret::reveal;
use super::{DeliverError, retry_after};
use crate::config::{HttpAuth, HttpConfig, MAX_FILE};
use crate::outside;
use crate::receivers::text::{clean_line, cut};
use crate::receivers::{Answer, AttemptError, FailureReason, HttpMethod, HttpRequest};
use crate::settings::url::encoded;

/// Squelch reads this much of the answer to a notification, at most.
const ANSWER_BYTES: usize = 64 * 1024;

/// Squelch waits this long for the body of such an answer after its status came. A body that is late
/// costs its text and nothing else: the status is known.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// An answer that is there already is read within this time.
const LATE: Duration = Duration::from_millis(100);

/// A client for one integration, with its own connections: a receiver that hangs shares nothing.
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector<Checked>>, Full<Bytes>>,
    config: HttpConfig,
    timeout: Duration,
}

impl HttpClient {
    /// A client as `config` says. Reads `ca_file` or the system's roots now.
    pub fn new(config: &HttpConfig, timeout: Duration) -> Result<Self, DeliverError> {
        let mut tcp = HttpConnector::new_with_resolver(Checked::new(config.addresses.clone()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout / 2));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls(config.ca_file.as_deref())?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(4)
            .build(https);
        Ok(HttpClient { client, config: config.clone(), timeout })
    }

    /// Sends a request of a receiver type. An answer of any status is `Ok`.
    ///
    /// The status must come before `until`. The body has bounds of its own, and is read only where `reads`
    /// says so of the status. `redactor` knows the secrets that the client does not see for itself.
    pub(super) async fn send(
        &self,
        sent: HttpRequest,
        mut redactor: Redactor,
        until: Instant,
        reads: impl Fn(u16) -> bool,
    ) -> Result<Answer, AttemptError> {
        redactor.hide_url(&sent.url);
        let method = match sent.method {
            HttpMethod::Get => Method::GET,
            HttpMethod::Post => Method::POST,
            HttpMethod::Put => Method::PUT,
        };
        let body = (method != Method::GET).then_some(sent.body);
        let mut request = self.request(&sent.url, body, &mut redactor, until).await?;
        if method != Method::GET {
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(sent.content_type));
        }
        *request.method_mut() = method;
        for (name, value) in &sent.headers {
            request.headers_mut().insert(*name, secret_header(name, value)?);
        }
        let response = self.in_time(self.exchange(request), &redactor, until).await?;
        let mut answer = head(&response);
        if reads(answer.status) {
            let until = Instant::now() + ANSWER_TIME;
            (answer.body, answer.truncated) = read(response, ANSWER_BYTES, Some(until)).await;
            take_excerpt(&mut answer, &redactor);
        }
        Ok(answer)
    }

    /// Gets what is at `url`, at most `most` bytes of it. An answer of any status is `Ok`.
    ///
    /// # Errors
    /// No answer came, for the reason given, which names no secret of the URL.
    pub async fn get(&self, url: &str, most: usize) -> Result<Answer, AttemptError> {
        let mut redactor = Redactor::default();
        let until = Instant::now() + self.timeout;
        let request = self.request(url, None, &mut redactor, until).await?;
        self.ask(request, most, &redactor, until).await
    }

    /// Sends `body` as JSON to `url`, with this method, and takes at most `most` bytes of the answer, which
    /// of any status is `Ok`.
    ///
    /// # Errors
    /// No answer came, for the reason given, which names no secret of the URL.
    pub async fn change(
        &self,
        method: Method,
        url: &str,
        body: Vec<u8>,
        most: usize,
    ) -> Result<Answer, AttemptError> {
        let mut redactor = Redactor::default();
        let until = Instant::now() + self.timeout;
        let mut request = self.request(url, Some(body), &mut redactor, until).await?;
        *request.method_mut() = method;
        self.ask(request, most, &redactor, until).await
    }

    /// The status and the body within one timeout.
    async fn ask(
        &self,
        request: Request<Full<Bytes>>,
        most: usize,
        redactor: &Redactor,
        until: Instant,
    ) -> Result<Answer, AttemptError> {
        let whole = async {
            let response = self.exchange(request).await?;
            let mut answer = head(&response);
            (answer.body, answer.truncated) = read(response, most, None).await;
            take_excerpt(&mut answer, redactor);
            Ok(answer)
        };
        self.in_time(whole, redactor, until).await
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, AttemptError>>,
        redactor: &Redactor,
        until: Instant,
    ) -> Result<T, AttemptError> {
        let mut work = std::pin::pin!(work);
        let mut answered = tokio::time::timeout_at(until, &mut work).await;
        if answered.is_err() {
            // A process that was stopped meanwhile finds the answer, and that its time is over, at once.
            answered = tokio::time::timeout(LATE, work).await;
        }
        match answered {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(mut error)) => {
                error.detail = redactor.redact(&error.detail).into_owned();
                Err(error)
            }
            Err(_) => Err(AttemptError {
                ambiguous: true,
                ..AttemptError::passing(
                    FailureReason::ContextDeadlineExceeded,
                    format!("no answer within {} ms", self.timeout.as_millis()),
                )
            }),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, AttemptError> {
        self.client.request(request).await.map_err(|error| AttemptError {
            ambiguous: !error.is_connect(),
            ..AttemptError::passing(FailureReason::Other, chain(&error))
        })
    }

    async fn request(
        &self,
        url: &str,
        body: Option<Vec<u8>>,
        redactor: &mut Redactor,
        until: Instant,
    ) -> Result<Request<Full<Bytes>>, AttemptError> {
        let (uri, userinfo) = split_userinfo(url)?;
        // An address in the URL is not looked up, and so not seen by the resolver.
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse::<IpAddr>()
            && !self.config.addresses.allows(address)
        {
            return Err(AttemptError::ours(Blocked { host: host.to_owned(), address }.to_string()));
        }
        let mut headers = HeaderMap::new();
        if body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("Squelch/", env!("CARGO_PKG_VERSION"))),
        );
        let authorization = match (&self.config.auth, userinfo) {
            (Some(HttpAuth::Authorization { scheme, credentials }), _) => {
                let credentials = reveal(credentials, until).await?;
                redactor.hide(&credentials);
                Some(format!("{scheme} {credentials}"))
            }
            (Some(HttpAuth::Basic { username, password }), _) => {
                let password = reveal(password, until).await?;
                redactor.hide(&password);
                Some(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
            }
            (None, Some(userinfo)) => Some(format!("Basic {}", STANDARD.encode(percent_decode(&userinfo)))),
            (None, None) => None,
        };
        if let Some(text) = authorization {
            let value = text.split_once(' ').map_or("", |(_, value)| value);
            redactor.hide(value);
            headers.insert(header::AUTHORIZATION, secret_header("authorization", &text)?);
        }
        for (name, value) in &self.config.headers {
            let value = reveal(value, until).await?;
            redactor.hide(&value);
            let parsed = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| AttemptError::ours(format!("http_headers: {name:?} is not a header name")))?;
            headers.insert(parsed, secret_header(name, &value)?);
        }
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::new(Full::new(Bytes::from(body.unwrap_or_default())));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

fn secret_header(name: &str, value: &str) -> Result<HeaderValue, AttemptError> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| AttemptError::ours(format!("header {name}: its value holds a control character")))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Takes `user:password@` out of a URL, as Go's client does: it becomes basic authentication.
fn split_userinfo(url: &str) -> Result<(Uri, Option<String>), AttemptError> {
    let bad = || AttemptError::ours("the url is not one such as https://host/path");
    let uri: Uri = encoded(url).parse().map_err(|_| bad())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(bad());
    }
    let Some((userinfo, host)) =
        uri.authority().and_then(|a| a.as_str().rsplit_once('@')).map(|(u, h)| (u.to_owned(), h.to_owned()))
    else {
        return Ok((uri, None));
    };
    let mut parts = uri.into_parts();
    parts.authority = Some(host.parse().map_err(|_| bad())?);
    Ok((Uri::from_parts(parts).map_err(|_| bad())?, Some(userinfo)))
}

/// The beginning of the body, as people may see it.
fn take_excerpt(answer: &mut Answer, redactor: &Redactor) {
    let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(ANSWER_BYTES)]);
    let text = redactor.redact(&text).into_owned();
    answer.excerpt_of(&text);
}

/// What stands before the body.
fn head(response: &Response<Incoming>) -> Answer {
    Answer::new(response.status().as_u16(), retry_after::of(response.headers()), Vec::new())
}

/// The first `most` bytes of the body, about, that come before `until`, and whether there are more. A
/// body that breaks off has more. The rest is not read, and the connection is then not used again.
async fn read(response: Response<Incoming>, most: usize, until: Option<Instant>) -> (Vec<u8>, bool) {
    let mut body = Limited::new(response.into_body(), most);
    let mut bytes = Vec::new();
    loop {
        let frame = match until {
            Some(until) => tokio::time::timeout_at(until, body.frame()).await,
            None => Ok(body.frame().await),
        };
        match frame {
            Ok(Some(Ok(frame))) => bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Ok(None) => return (bytes, false),
            Ok(Some(Err(_))) | Err(_) => return (bytes, true),
        }
    }
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, DeliverError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = || {
        ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| DeliverError::Tls(e.to_string()))
    };
    let Some(path) = ca_file else {
        return match builder()?.with_native_roots() {
            Ok(config) => Ok(config.with_no_client_auth()),
            Err(error) => {
                tracing::warn!(%error, "no root certificates on this system: https receivers need tls_config.ca_file");
                Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
            }
        };
    };
    let (roots, pinned) = roots(path)?;
    let webpki = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
    let wrong = |reason: String| DeliverError::CaFile { path: path.to_owned(), reason };
    let webpki = webpki.build().map_err(|e| wrong(e.to_string()))?;
    let verifier = Arc::new(Pinned { webpki, pinned });
    Ok(builder()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// The certificates in a `ca_file`, as roots and as they stand.
pub(super) fn roots(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), DeliverError> {
    let wrong = |reason: String| DeliverError::CaFile { path: path.to_owned(), reason };
    let (mut roots, mut pinned) = (RootCertStore::empty(), Vec::new());
    let text = outside::read(path, MAX_FILE).map_err(|e| wrong(e.to_string()))?;
    for cert in CertificateDer::pem_slice_iter(&text) {
        let cert = cert.map_err(|e| wrong(e.to_string()))?;
        roots.add(cert.clone()).map_err(|e| wrong(e.to_string()))?;
        pinned.push(cert);
    }
    if roots.is_empty() {
        return Err(wrong("holds no certificate; it should be PEM".into()));
    }
    Ok((roots, pinned))
}

/// An error with its causes: the outermost of hyper's says only "client error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    cut(clean_line(&text), 512)
}

fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut out, mut i) = (Vec::with_capacity(bytes.len()), 0);
    while i < bytes.len() {
        let hex = bytes.get(i + 1..i + 3).and_then(|h| std::str::from_utf8(h).ok());
        match hex.filter(|_| bytes[i] == b'%').and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn userinfo_becomes_basic_authentication() {
        let (uri, userinfo) = split_userinfo("https://bob:p%40ss@host:8443/hook?a=1").unwrap();
        assert_eq!(uri.to_string(), "https://host:8443/hook?a=1");
        assert_eq!(percent_decode(&userinfo.unwrap()), b"bob:p@ss");
        assert!(split_userinfo("ftp://host/").is_err());
        assert!(split_userinfo("/only/a/path").is_err());
    }
}
