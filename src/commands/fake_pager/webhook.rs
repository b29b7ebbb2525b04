//! PagerDuty's v3 webhook: the pager says that a person acknowledged an incident, or gave it back.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::json;
use sha2::Sha256;
use tokio::net::TcpStream;

use crate::model::{Timestamp, hex};

/// How long the receiver of a webhook may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where webhooks go, and the secret that signs them.
#[derive(Clone, Debug)]
pub struct Webhook {
    url: hyper::Uri,
    secret: String,
}

impl Webhook {
    /// Reads a plain `http://` URL.
    pub fn new(url: &str, secret: &str) -> Result<Webhook, String> {
        let read: hyper::Uri = url.parse().map_err(|error| format!("{url} is no URL: {error}"))?;
        match (read.scheme_str(), read.host()) {
            (Some("http"), Some(_)) => Ok(Webhook { url: read, secret: secret.to_owned() }),
            _ => Err(format!("{url} is no URL that begins with http://")),
        }
    }

    /// Reports a person's action on the incident of a key: `acknowledged` or `unacknowledged`. It returns
    /// the status of the answer.
    pub async fn send(&self, key: &str, did: &str, by: &str, at: Timestamp) -> Result<u16, String> {
        let body = json!({"event": {
            "id": key, "event_type": format!("incident.{did}"), "resource_type": "incident", "occurred_at": at,
            "agent": {"type": "user_reference", "summary": by},
            "data": {"type": "incident", "incident_key": key},
        }})
        .to_string();
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()) else {
            return Err("the secret is no key".into());
        };
        mac.update(body.as_bytes());
        let signature = format!("v1={}", hex(mac.finalize().into_bytes().as_slice()));
        let sent = tokio::time::timeout(PATIENCE, self.post(signature, body)).await;
        sent.map_err(|_| format!("{} did not answer in time", self.url))?
            .map_err(|error| format!("{}: {error}", self.url))
    }

    async fn post(
        &self,
        signature: String,
        body: String,
    ) -> Result<u16, Box<dyn std::error::Error + Send + Sync>> {
        let host = self.url.authority().map(ToString::to_string).unwrap_or_default();
        let to = (self.url.host().unwrap_or_default(), self.url.port_u16().unwrap_or(80));
        let stream = TcpStream::connect(to).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json")
            .header("X-PagerDuty-Signature", signature)
            .body(Full::new(Bytes::from(body)))?;
        let status = sender.send_request(request).await?.status().as_u16();
        connection.abort();
        Ok(status)
    }
}
