//! Tokens by the grant of client credentials (RFC 6749, section 4.4), or by a token that the client signs
//! (RFC 7523, section 2.1).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::form_urlencoded;

use super::redact::Redactor;
use super::secret::reveal;
use super::wire::{Version, Wire};
use super::{DeliverError, jwt};
use crate::config::{AddressPolicy, Grant, OAuth2};
use crate::model::Timestamp;
use crate::receivers::AttemptError;
use crate::receivers::text::{clean_line, cut};

/// The largest answer with a token, in bytes.
const MOST_BYTES: usize = 1 << 20;

/// A token is renewed this long before its end, as Go does.
const BEFORE_END: Duration = Duration::from_secs(10);

/// The tokens of one client. All its requests share one.
pub(super) struct Tokens {
    config: OAuth2,
    wire: Wire,
    wall: fn() -> Timestamp,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// The value of `Authorization`, and when it ends.
    token: Option<(String, Option<Instant>)>,
    /// The server takes the client's secret in the body. `None` while that is not known.
    in_body: Option<bool>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    token_type: String,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

impl Tokens {
    pub(super) fn new(
        config: &OAuth2,
        addresses: &AddressPolicy,
        timeout: Duration,
        wall: fn() -> Timestamp,
    ) -> Result<Self, DeliverError> {
        let wire = Wire::new(&config.tls, &config.proxy, addresses, timeout, Version::One)?;
        Ok(Tokens { config: config.clone(), wire, wall, held: Mutex::default() })
    }

    /// The value of `Authorization`, which is a secret, if it can be had before `until`. Nothing has been
    /// sent to the receiver when this fails.
    pub(super) async fn authorization(&self, until: Instant) -> Result<String, AttemptError> {
        let got = tokio::time::timeout_at(until, self.current(until)).await;
        let late = || AttemptError::late("oauth2: token_url did not answer in time");
        let got = got.unwrap_or_else(|_| Err(late()));
        got.map_err(|error| AttemptError { ambiguous: false, ..error })
    }

    /// The receiver refused this value: the next one is a new one.
    pub(super) async fn refused(&self, value: &[u8]) {
        let mut held = self.held.lock().await;
        if held.token.as_ref().is_some_and(|(token, _)| token.as_bytes() == value) {
            held.token = None;
        }
    }

    async fn current(&self, until: Instant) -> Result<String, AttemptError> {
        let mut held = self.held.lock().await;
        if let Some((token, end)) = &held.token
            && end.is_none_or(|end| Instant::now() < end)
        {
            return Ok(token.clone());
        }
        let mut asked = Instant::now();
        let by_secret = matches!(self.config.grant, Grant::Secret(_));
        let granted = match held.in_body {
            _ if !by_secret => self.ask(true, until).await?,
            Some(in_body) => self.ask(in_body, until).await?,
            // A server may know one way only, and no standard says which.
            None => match self.ask(false, until).await {
                Ok(granted) => {
                    held.in_body = Some(false);
                    granted
                }
                Err(_) => {
                    asked = Instant::now();
                    let granted = self.ask(true, until).await?;
                    held.in_body = Some(true);
                    granted
                }
            },
        };
        let scheme = match granted.token_type.to_ascii_lowercase().as_str() {
            "" | "bearer" => "Bearer",
            _ => granted.token_type.as_str(),
        };
        let token = format!("{scheme} {}", granted.access_token);
        let lasts = granted.expires_in.as_ref().and_then(seconds).filter(|lasts| !lasts.is_zero());
        let end = lasts.and_then(|lasts| asked.checked_add(lasts.saturating_sub(BEFORE_END)));
        held.token = Some((token.clone(), end));
        Ok(token)
    }

    async fn ask(&self, in_body: bool, until: Instant) -> Result<Granted, AttemptError> {
        let secret = match self.config.grant.secret() {
            Some(secret) => reveal(secret, until).await?,
            None => "".into(),
        };
        let mut redactor = Redactor::default();
        redactor.hide(&secret);
        let own = match &self.config.grant {
            Grant::Secret(_) if in_body => {
                vec![("client_id", self.config.client_id.clone()), ("client_secret", secret.to_string())]
            }
            Grant::Secret(_) => Vec::new(),
            Grant::Jwt(jwt) => {
                let scopes = self.config.scopes.join(" ");
                let signed = jwt::signed(jwt, &self.config.client_id, &scopes, &secret, (self.wall)());
                let wrong = |why| AttemptError::ours(format!("oauth2: client_certificate_key {why}"));
                let signed = signed.map_err(wrong)?;
                redactor.hide(&signed);
                vec![("assertion", signed)]
            }
        };
        let form = self.form(&own);
        let mut request = Request::new(Full::new(Bytes::from(form)));
        *request.method_mut() = Method::POST;
        let wrong = |_| AttemptError::ours("oauth2: token_url is not a URL");
        *request.uri_mut() = self.config.token_url.parse().map_err(wrong)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if !in_body {
            let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = STANDARD.encode(format!("{}:{}", encoded(&self.config.client_id), encoded(&secret)));
            redactor.hide(&pair);
            let value = HeaderValue::from_str(&format!("Basic {pair}"));
            let mut value = value.map_err(|_| AttemptError::ours("oauth2: client_secret is not a text"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let response = self.wire.exchange(request, until).await.map_err(|error| AttemptError {
            ambiguous: false,
            detail: format!("oauth2: token_url: {}", error.detail),
            ..error
        })?;
        let status = response.status();
        let body = text(response).await.map_err(|error| {
            AttemptError::ours(format!("oauth2: the answer of token_url broke off: {error}"))
        })?;
        let told = || cut(clean_line(&redactor.redact(&String::from_utf8_lossy(&body))), 256);
        if !status.is_success() {
            let detail = format!("oauth2: token_url answered status {}: {}", status.as_u16(), told());
            return Err(AttemptError::ours(detail));
        }
        // The answer of a success may hold a token, so no error shows it.
        let no_token = |_| AttemptError::ours("oauth2: the answer of token_url holds no access_token");
        serde_json::from_slice(&body).map_err(no_token)
    }

    /// The body of a request. `grant_type` may be another one, for servers that call it so.
    fn form(&self, own: &[(&str, String)]) -> String {
        let grant_type = match &self.config.grant {
            Grant::Secret(_) => "client_credentials",
            Grant::Jwt(_) => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        };
        let params = &self.config.endpoint_params;
        let mut form = form_urlencoded::Serializer::new(String::new());
        let mut set = Vec::new();
        if params.iter().all(|(name, _)| name != "grant_type") {
            form.append_pair("grant_type", grant_type);
        }
        if !self.config.scopes.is_empty() {
            form.append_pair("scope", &self.config.scopes.join(" "));
            set.push("scope");
        }
        set.extend(own.iter().map(|(name, _)| *name));
        form.extend_pairs(params.iter().filter(|(name, _)| !set.contains(&name.as_str())));
        form.extend_pairs(own);
        form.finish()
    }
}

async fn text(response: Response<Incoming>) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Limited::new(response.into_body(), MOST_BYTES).collect().await?.to_bytes())
}

/// Some servers write the number as a text.
fn seconds(value: &serde_json::Value) -> Option<Duration> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    Duration::try_from_secs_f64(seconds).ok()
}
