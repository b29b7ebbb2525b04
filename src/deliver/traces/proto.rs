//! OTLP in protobuf, as far as Squelch fills it in.
//!
//! Source: opentelemetry-proto 1.x: `collector/trace/v1`, `trace/v1`, `resource/v1` and `common/v1`.

use prost::Message;

use super::clock::Clock;
use crate::spans::{AttributeValue, Ended, SpanRole, TraceContext};

/// The flag of a context that is sampled.
const SAMPLED: u32 = 1;

#[derive(Clone, PartialEq, Message)]
struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "13")]
    links: Vec<Link>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Link {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "OneValue", tags = "1, 3")]
    value: Option<OneValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum OneValue {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Whole(i64),
}

/// An `ExportTraceServiceRequest`.
pub(super) fn request(spans: &[Ended], clock: &Clock) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let resource = [("service.name", "squelch".into()), ("service.version", version.into())];
    let scope = Scope { name: "squelch".into(), version: version.into() };
    let spans = spans.iter().map(|span| of(span, clock)).collect();
    let of_resource = ResourceSpans {
        resource: Some(Resource { attributes: attributes(&resource) }),
        scope_spans: vec![ScopeSpans { scope: Some(scope), spans }],
    };
    ExportTraceServiceRequest { resource_spans: vec![of_resource] }.encode_to_vec()
}

fn of(span: &Ended, clock: &Clock) -> Span {
    let nanos = |moment| u64::try_from(clock.at(moment)).unwrap_or(u64::MAX);
    let (trace_id, span_id) = ids(&span.context);
    Span {
        trace_id,
        span_id,
        parent_span_id: span.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
        name: span.name.clone(),
        kind: match span.role {
            SpanRole::Internal => 1,
            SpanRole::Server => 2,
            SpanRole::Client => 3,
        },
        start_time_unix_nano: nanos(span.began),
        end_time_unix_nano: nanos(span.ended),
        attributes: attributes(&span.attributes),
        links: span.links.iter().map(ids).map(|(trace_id, span_id)| Link { trace_id, span_id }).collect(),
        status: span.error.as_ref().map(|error| Status { message: error.clone(), code: 2 }),
        flags: SAMPLED,
    }
}

fn ids(context: &TraceContext) -> (Vec<u8>, Vec<u8>) {
    (context.trace.to_be_bytes().to_vec(), context.span.to_be_bytes().to_vec())
}

fn attributes(attributes: &[(&'static str, AttributeValue)]) -> Vec<KeyValue> {
    let value = |value: &AttributeValue| match value {
        AttributeValue::Text(text) => OneValue::Text(text.clone()),
        AttributeValue::Whole(number) => OneValue::Whole(*number),
    };
    let pair = |(key, of): &(&'static str, AttributeValue)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(value(of)) }),
    };
    attributes.iter().map(pair).collect()
}
