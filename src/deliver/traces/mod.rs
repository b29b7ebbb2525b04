//! Sends spans to a collector: OTLP over gRPC in protobuf, or over HTTP in JSON.
//!
//! Source: OpenTelemetry Protocol 1.x, "OTLP/gRPC", "OTLP/HTTP" and "JSON Protobuf Encoding", and "gRPC over
//! HTTP2". A batch that the collector does not take is lost, and counted.

mod clock;
mod proto;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use clock::Clock;

use super::{DeliverError, HttpClient};
use crate::config::{Secret, Tracing};
use crate::model::Timestamp;
use crate::receivers::text::clean_line;
use crate::spans::{AttributeValue, Ended, Fate, SpanRole, Tracer};

/// A request has at most so many spans.
const BATCH: usize = 512;
/// Spans wait so long for others to go with them.
const GATHER: Duration = Duration::from_secs(1);
/// Squelch reads so much of an answer.
const ANSWER_BYTES: usize = 4096;

/// The exporter of spans, ready to be started.
pub(super) struct Exporter {
    client: HttpClient,
    config: Tracing,
    wall: fn() -> Timestamp,
}

impl Exporter {
    /// Reads the certificates now.
    pub(super) fn new(config: &Tracing, wall: fn() -> Timestamp) -> Result<Self, DeliverError> {
        let mut http = config.http.clone();
        let timeout = config.timeout.to_std();
        let client = match config.grpc {
            true => HttpClient::over_http2(&http, timeout, wall)?,
            false => {
                if config.gzip {
                    http.headers.push(("Content-Encoding".into(), vec![Secret::Inline("gzip".into())]));
                }
                HttpClient::new(&http, timeout, wall)?
            }
        };
        Ok(Exporter { client, config: config.clone(), wall })
    }

    /// Takes the spans of the tracer from now on, until the tracer stops or starts anew. To be called inside
    /// a tokio runtime.
    pub(super) fn start(self: Arc<Self>, tracer: &Tracer) -> tokio::task::JoinHandle<()> {
        let spans = tracer.start(self.config.fraction);
        tokio::spawn(self.run(spans, tracer.clone()))
    }

    async fn run(self: Arc<Self>, mut spans: mpsc::Receiver<Ended>, tracer: Tracer) {
        let (mut clock, mut failing) = (Clock::new(self.wall), false);
        while let Some(first) = spans.recv().await {
            let (mut batch, until) = (vec![first], Instant::now() + GATHER);
            while batch.len() < BATCH
                && let Ok(Some(span)) = tokio::time::timeout_at(until, spans.recv()).await
            {
                batch.push(span);
            }
            let sent = self.send(&batch, &mut clock).await;
            tracer.count(if sent.is_ok() { Fate::Sent } else { Fate::Failed }, batch.len());
            match &sent {
                Err(error) if !failing => {
                    tracing::warn!(endpoint = %self.config.url, %error, "the collector of traces takes no spans");
                }
                Ok(()) if failing => {
                    tracing::info!(endpoint = %self.config.url, "the collector of traces takes spans again");
                }
                _ => {}
            }
            failing = sent.is_err();
        }
    }

    async fn send(&self, batch: &[Ended], clock: &mut Clock) -> Result<(), String> {
        clock.check();
        let mut body = match self.config.grpc {
            true => proto::request(batch, clock),
            false => request(batch, clock).to_string().into_bytes(),
        };
        if self.config.gzip {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(&body).and_then(|()| gzip.try_finish()).map_err(|error| error.to_string())?;
            body = gzip.finish().map_err(|error| error.to_string())?;
        }
        if self.config.grpc {
            return self.call(&body).await;
        }
        let answer = self.client.change(Method::POST, &self.config.url, body, ANSWER_BYTES).await;
        match answer.map_err(|error| error.to_string())? {
            answer if (200..300).contains(&answer.status) => Ok(()),
            answer => Err(format!("status {}: {}", answer.status, answer.excerpt())),
        }
    }
}

/// Where a call of gRPC says how it ended, and why.
const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";

impl Exporter {
    /// Calls the collector's `Export` with one message.
    async fn call(&self, message: &[u8]) -> Result<(), String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        if self.config.gzip {
            headers.insert(HeaderName::from_static("grpc-encoding"), HeaderValue::from_static("gzip"));
        }
        let body = framed(message, self.config.gzip)?;
        let answer = self.client.call(&self.config.url, headers, body).await;
        let (status, headers) = answer.map_err(|error| error.to_string())?;
        let said = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match said(GRPC_STATUS) {
            "0" => Ok(()),
            "" => Err(format!("status {}, and no status of gRPC", status.as_u16())),
            failed => Err(clean_line(&format!("gRPC status {failed}: {}", said(GRPC_MESSAGE)))),
        }
    }
}

/// A message behind its prefix: whether it is compressed, and its length.
fn framed(message: &[u8], gzip: bool) -> Result<Vec<u8>, String> {
    let length = u32::try_from(message.len()).map_err(|_| "the message is larger than 4 GiB")?;
    Ok([&[u8::from(gzip)], &length.to_be_bytes()[..], message].concat())
}

/// An `ExportTraceServiceRequest`. Whole numbers of 64 bits are texts in this encoding.
fn request(spans: &[Ended], clock: &Clock) -> Json {
    let of = |span: &Ended| {
        let mut json = json!({
            "traceId": format!("{:032x}", span.context.trace),
            "spanId": format!("{:016x}", span.context.span),
            "flags": 1,
            "name": span.name,
            "kind": match span.role { SpanRole::Internal => 1, SpanRole::Server => 2, SpanRole::Client => 3 },
            "startTimeUnixNano": clock.at(span.began).to_string(),
            "endTimeUnixNano": clock.at(span.ended).to_string(),
            "attributes": attributes(&span.attributes),
        });
        if let Some(parent) = span.parent {
            json["parentSpanId"] = format!("{parent:016x}").into();
        }
        if !span.links.is_empty() {
            let numbers =
                span.links.iter().map(|link| (format!("{:032x}", link.trace), format!("{:016x}", link.span)));
            json["links"] = numbers.map(|(trace, span)| json!({"traceId": trace, "spanId": span})).collect();
        }
        if let Some(error) = &span.error {
            json["status"] = json!({"code": 2, "message": error});
        }
        json
    };
    let version = env!("CARGO_PKG_VERSION");
    let resource = [("service.name", "squelch".into()), ("service.version", version.into())];
    let resource = attributes(&resource);
    json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{
            "scope": {"name": "squelch", "version": version},
            "spans": spans.iter().map(of).collect::<Vec<_>>(),
        }],
    }]})
}

fn attributes(attributes: &[(&'static str, AttributeValue)]) -> Json {
    let value = |value: &AttributeValue| match value {
        AttributeValue::Text(text) => json!({"stringValue": text}),
        AttributeValue::Whole(number) => json!({"intValue": number.to_string()}),
    };
    attributes.iter().map(|(key, of)| json!({"key": key, "value": value(of)})).collect()
}
