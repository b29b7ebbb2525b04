//! One HTTP request: redirects within one host, a bounded answer, no secret in its messages.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use tokio::time::Instant;

use super::oauth2::Tokens;
use super::redact::Redactor;
use super::secret::reveal;
use super::uri::{basic, host, port, split_userinfo};
use super::wire::{Version, Wire, location};
use super::{DeliverError, retry_after};
use crate::config::{HttpAuth, HttpConfig};
use crate::model::Timestamp;
use crate::receivers::{Answer, AttemptError, FailureReason, HttpMethod, HttpRequest};

/// Squelch reads this much of the answer to a notification, at most.
const ANSWER_BYTES: usize = 64 * 1024;

/// Squelch waits this long for the body of such an answer after its status came. A body that is late
/// costs its text and nothing else: the status is known.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// An answer that is there already is read within this time.
const LATE: Duration = Duration::from_millis(100);

/// Redirects of one request that are followed, as in Go.
const MOST_REDIRECTS: usize = 10;

/// A client for one integration, with its own connections: a receiver that hangs shares nothing.
pub struct HttpClient {
    wire: Wire,
    tokens: Option<Tokens>,
    config: HttpConfig,
    timeout: Duration,
}

impl HttpClient {
    /// A client as `config` says. Reads certificates, or the system's roots, now. `wall` is the wall clock,
    /// for the time in signatures.
    pub fn new(
        config: &HttpConfig,
        timeout: Duration,
        wall: fn() -> Timestamp,
    ) -> Result<Self, DeliverError> {
        HttpClient::of_version(config, timeout, wall, Version::One)
    }

    /// The same, with HTTP/2 and nothing else.
    pub(super) fn over_http2(
        config: &HttpConfig,
        timeout: Duration,
        wall: fn() -> Timestamp,
    ) -> Result<Self, DeliverError> {
        HttpClient::of_version(config, timeout, wall, Version::Two)
    }

    fn of_version(
        config: &HttpConfig,
        timeout: Duration,
        wall: fn() -> Timestamp,
        version: Version,
    ) -> Result<Self, DeliverError> {
        let wire = Wire::new(&config.tls, &config.proxy, &config.addresses, timeout, version)?;
        let tokens = match &config.auth {
            Some(HttpAuth::OAuth2(oauth2)) => Some(Tokens::new(oauth2, &config.addresses, timeout, wall)?),
            _ => None,
        };
        Ok(HttpClient { wire, tokens, config: config.clone(), timeout })
    }

    /// Sends a request of a receiver type. An answer of any status is `Ok`.
    ///
    /// The status must come before `until`. The body has bounds of its own, and is read only if `reads`
    /// says so for the status. `redactor` knows the secrets that the client does not know itself.
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
        let response = self.answered(request, &mut redactor, until).await?;
        let mut answer = head(&response);
        if reads(answer.status) {
            let until = Instant::now() + ANSWER_TIME;
            (answer.body, answer.truncated) = read(response, ANSWER_BYTES, Some(until)).await;
            take_excerpt(&mut answer, &redactor);
        }
        Ok(answer)
    }

    /// Gets the content of `url`, at most `most` bytes of it. An answer of any status is `Ok`.
    ///
    /// # Errors
    /// No answer came, for the reason given, which names no secret of the URL.
    pub async fn get(&self, url: &str, most: usize) -> Result<Answer, AttemptError> {
        let mut redactor = Redactor::default();
        let until = Instant::now() + self.timeout;
        let request = self.request(url, None, &mut redactor, until).await?;
        self.ask(request, most, redactor, until).await
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
        self.ask(request, most, redactor, until).await
    }

    /// Posts a body with these headers to `url`, and takes the end of the answer: its headers, with those
    /// that stand behind its body.
    ///
    /// # Errors
    /// No answer came, for the reason given, which names no secret of the URL.
    pub(super) async fn call(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<(StatusCode, HeaderMap), AttemptError> {
        let mut redactor = Redactor::default();
        let until = Instant::now() + self.timeout;
        let mut request = self.request(url, Some(body), &mut redactor, until).await?;
        request.headers_mut().extend(headers);
        let response = self.answered(request, &mut redactor, until).await?;
        let whole = async {
            let (status, mut headers) = (response.status(), response.headers().clone());
            headers.extend(trailers(response).await);
            Ok((status, headers))
        };
        self.in_time(whole, &redactor, until).await
    }

    /// The status and the body within one timeout.
    async fn ask(
        &self,
        request: Request<Full<Bytes>>,
        most: usize,
        mut redactor: Redactor,
        until: Instant,
    ) -> Result<Answer, AttemptError> {
        let response = self.answered(request, &mut redactor, until).await?;
        let whole = async {
            let mut answer = head(&response);
            (answer.body, answer.truncated) = read(response, most, None).await;
            take_excerpt(&mut answer, &redactor);
            Ok(answer)
        };
        self.in_time(whole, &redactor, until).await
    }

    /// The answer to a request. A token that the receiver refuses is renewed once.
    async fn answered(
        &self,
        mut request: Request<Full<Bytes>>,
        redactor: &mut Redactor,
        until: Instant,
    ) -> Result<Response<Incoming>, AttemptError> {
        let response = self.in_time(self.exchange(request.clone(), until), redactor, until).await?;
        let (Some(tokens), StatusCode::UNAUTHORIZED) = (&self.tokens, response.status()) else {
            return Ok(response);
        };
        if let Some(refused) = request.headers().get(header::AUTHORIZATION) {
            tokens.refused(refused.as_bytes()).await;
        }
        let value = tokens.authorization(until).await?;
        authorize(request.headers_mut(), &value, redactor)?;
        self.in_time(self.exchange(request, until), redactor, until).await
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

    /// Sends a request, and again where redirects lead, as far as that is safe.
    async fn exchange(
        &self,
        mut request: Request<Full<Bytes>>,
        until: Instant,
    ) -> Result<Response<Incoming>, AttemptError> {
        for _ in 0..=MOST_REDIRECTS {
            let response = self.wire.exchange(request.clone(), until).await?;
            if !self.config.follow_redirects {
                return Ok(response);
            }
            let Some(to) = redirect(&request, &response)? else { return Ok(response) };
            *request.uri_mut() = to;
        }
        let detail = format!("more than {MOST_REDIRECTS} redirects");
        Err(AttemptError::refused(FailureReason::Other, detail))
    }

    async fn request(
        &self,
        url: &str,
        body: Option<Vec<u8>>,
        redactor: &mut Redactor,
        until: Instant,
    ) -> Result<Request<Full<Bytes>>, AttemptError> {
        let bad = || AttemptError::ours("the url is not one such as https://host/path");
        let (uri, userinfo) = split_userinfo(url).ok_or_else(bad)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(bad());
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
                let (username, password) = (reveal(username, until).await?, reveal(password, until).await?);
                redactor.hide(&password);
                Some(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
            }
            (Some(HttpAuth::OAuth2(_)), _) => match &self.tokens {
                Some(tokens) => Some(tokens.authorization(until).await?),
                None => None,
            },
            (None, Some(userinfo)) => Some(basic(&userinfo)),
            (None, None) => None,
        };
        if let Some(text) = authorization {
            authorize(&mut headers, &text, redactor)?;
        }
        for (name, values) in &self.config.headers {
            let parsed = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| AttemptError::ours(format!("http_headers: {name:?} is not a header name")))?;
            for value in values {
                let value = reveal(value, until).await?;
                redactor.hide(&value);
                headers.append(parsed.clone(), secret_header(name, &value)?);
            }
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

/// Sets `Authorization`, and hides its value.
fn authorize(headers: &mut HeaderMap, text: &str, redactor: &mut Redactor) -> Result<(), AttemptError> {
    redactor.hide(text.split_once(' ').map_or("", |(_, value)| value));
    headers.insert(header::AUTHORIZATION, secret_header("authorization", text)?);
    Ok(())
}

/// The address to which an answer redirects a request. `None` if it does not. The request goes nowhere but
/// to the same host: to the same port, or from http to https. Any other redirect would send the page, and
/// the credentials, where the configuration does not say. Only 307 and 308 keep the method and the body.
fn redirect(
    request: &Request<Full<Bytes>>,
    response: &Response<Incoming>,
) -> Result<Option<Uri>, AttemptError> {
    let status = response.status().as_u16();
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let from = request.uri();
    let Some(to) = location(from, response) else { return Ok(None) };
    let refused = |why: &str| {
        let (scheme, host) = (to.scheme(), to.host_str().unwrap_or_default());
        let port = to.port().map(|port| format!(":{port}")).unwrap_or_default();
        let detail = format!("status {status}: a redirect to {scheme}://{host}{port}, {why}. Write its URL");
        Err(AttemptError::refused(FailureReason::Other, detail))
    };
    let Ok(next) = to.as_str().parse::<Uri>() else { return refused("which is no URL to send to") };
    if !host(&next).eq_ignore_ascii_case(host(from)) {
        return refused("which is another host");
    }
    match (from.scheme_str(), next.scheme_str()) {
        (Some("http"), Some("https")) => {}
        (old, new) if old != new => return refused("which is not https"),
        _ if port(from) != port(&next) => return refused("which is another port"),
        _ => {}
    }
    if request.method() != Method::GET && !matches!(status, 307 | 308) {
        return refused("which would drop the message");
    }
    Ok(Some(next))
}

/// The beginning of the body, as people may see it.
fn take_excerpt(answer: &mut Answer, redactor: &Redactor) {
    let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(ANSWER_BYTES)]);
    let text = redactor.redact(&text).into_owned();
    answer.excerpt_of(&text);
}

/// The part before the body.
fn head(response: &Response<Incoming>) -> Answer {
    Answer::new(response.status().as_u16(), retry_after::of(response.headers()), Vec::new())
}

/// The headers behind a body of at most [`ANSWER_BYTES`].
async fn trailers(response: Response<Incoming>) -> HeaderMap {
    let mut body = Limited::new(response.into_body(), ANSWER_BYTES);
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(trailers) = frame.into_trailers() {
            return trailers;
        }
    }
    HeaderMap::new()
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
