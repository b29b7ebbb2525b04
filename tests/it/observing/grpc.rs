//! Traces over gRPC, as a collector reads them: HTTP/2, the prefix of a message, and protobuf by its field
//! numbers.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use squelch::web::Gate as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{Fake, SPAN, TRACE, node, traceparent, webhook};
use crate::http_client::servers::Authority;

/// A call that the collector got: its path and headers, and the message without its prefix.
struct Call {
    head: hyper::http::request::Parts,
    message: Vec<u8>,
}

/// A collector on HTTP/2, which ends each call with this status.
struct Collector {
    address: SocketAddr,
    calls: mpsc::UnboundedReceiver<Call>,
}

impl Collector {
    async fn new(status: &'static str, authority: Option<&Authority>) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = authority.map(|authority| authority.http2_acceptor("collector.test"));
        let (told, calls) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (tls, told) = (tls.clone(), told.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(tcp, told, status).await,
                        Some(tls) => {
                            let stream = tls.accept(tcp).await.unwrap();
                            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                            serve(stream, told, status).await;
                        }
                    }
                });
            }
        });
        Collector { address, calls }
    }

    async fn next(&mut self) -> Call {
        let next = tokio::time::timeout(Duration::from_secs(20), self.calls.recv()).await;
        next.expect("a call within 20 s").unwrap()
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    told: mpsc::UnboundedSender<Call>,
    status: &'static str,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let told = told.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let length = u32::from_be_bytes(body[1..5].try_into().unwrap());
            assert_eq!(length as usize, body.len() - 5, "one message behind its prefix");
            let mut message = body[5..].to_vec();
            if body[0] == 1 {
                assert_eq!(head.headers["grpc-encoding"], "gzip");
                message.clear();
                flate2::read::GzDecoder::new(&body[5..]).read_to_end(&mut message).unwrap();
            }
            told.send(Call { head, message }).unwrap();
            let end = HeaderMap::from_iter([
                ("grpc-status".parse().unwrap(), HeaderValue::from_static(status)),
                ("grpc-message".parse().unwrap(), HeaderValue::from_static("no room")),
            ]);
            // An answer that is empty: its prefix alone.
            let body = Full::new(Bytes::from_static(&[0; 5])).with_trailers(async { Some(Ok(end)) });
            Ok::<_, hyper::Error>(Response::new(body))
        }
    });
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

/// A value of a field of protobuf.
#[derive(Clone, PartialEq, Debug)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Field {
    fn bytes(&self) -> &[u8] {
        match self {
            Field::Bytes(bytes) => bytes,
            Field::Number(number) => panic!("{number}"),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }
}

/// The fields of a message, by their numbers.
fn fields(mut bytes: &[u8]) -> BTreeMap<u64, Vec<Field>> {
    fn number(bytes: &mut &[u8]) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        number
    }
    fn part<'a>(bytes: &mut &'a [u8], length: usize) -> &'a [u8] {
        let (part, rest) = bytes.split_at(length);
        *bytes = rest;
        part
    }
    let mut fields: BTreeMap<u64, Vec<Field>> = BTreeMap::new();
    while !bytes.is_empty() {
        let key = number(&mut bytes);
        let field = match key & 7 {
            0 => Field::Number(number(&mut bytes)),
            1 => Field::Number(u64::from_le_bytes(part(&mut bytes, 8).try_into().unwrap())),
            2 => {
                let length = number(&mut bytes) as usize;
                Field::Bytes(part(&mut bytes, length).to_vec())
            }
            5 => Field::Number(u32::from_le_bytes(part(&mut bytes, 4).try_into().unwrap()).into()),
            other => panic!("a wire type {other}"),
        };
        fields.entry(key >> 3).or_default().push(field);
    }
    fields
}

/// `KeyValue`: the key is field 1. The value is field 2, with a text in 1 and a whole number in 3.
fn attributes(all: &[Field]) -> BTreeMap<String, Field> {
    let pair = |field: &Field| {
        let pair = fields(field.bytes());
        let value = fields(pair[&2][0].bytes());
        (pair[&1][0].text(), value.get(&1).or(value.get(&3)).unwrap()[0].clone())
    };
    all.iter().map(pair).collect()
}

type Span = BTreeMap<u64, Vec<Field>>;

/// The spans of an `ExportTraceServiceRequest` by their names, which are field 5.
fn spans(message: &[u8]) -> BTreeMap<String, Span> {
    let of_resource = fields(fields(message)[&1][0].bytes());
    let resource = fields(of_resource[&1][0].bytes());
    assert_eq!(attributes(&resource[&1])["service.name"].text(), "squelch");
    let of_scope = fields(of_resource[&2][0].bytes());
    assert_eq!(fields(of_scope[&1][0].bytes())[&1][0].text(), "squelch");
    let all = of_scope[&2].iter().map(|span| fields(span.bytes()));
    all.map(|span| (span[&5][0].text(), span)).collect()
}

fn traced(collector: &Collector, pager: &Fake, keys: &str) -> String {
    let (collector, pager) = (collector.address, pager.address);
    format!(
        "tracing: {{endpoint: '{collector}', {keys}}}\n\
         route: {{receiver: pager}}\n\
         receivers: [{{name: pager, webhook_configs: [{{url: 'http://{pager}/hook'}}]}}]\n"
    )
}

/// All spans of the request of one alert.
async fn of_one_alert(
    collector: &mut Collector,
    keys: &str,
    folder: &std::path::Path,
) -> BTreeMap<String, Span> {
    let pager = Fake::new(|_| Some((200, Vec::new()))).await;
    let node = node(folder, &traced(collector, &pager, keys)).await;
    webhook(&node, &traceparent(), "").await;
    let mut found = BTreeMap::new();
    while !found.contains_key("notification") {
        let Call { head, message } = collector.next().await;
        assert_eq!(head.uri.path(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
        assert_eq!(
            (&head.headers["content-type"], &head.headers["te"]),
            (&HeaderValue::from_static("application/grpc"), &HeaderValue::from_static("trailers"))
        );
        assert_eq!(head.headers["x-tenant"], "night");
        found.extend(spans(&message));
    }
    node.stop().await;
    found
}

fn check(found: &BTreeMap<String, Span>) {
    let request = &found["POST /alertmanager/webhook"];
    let hex = |field: &Field| field.bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&request[&4][0]), SPAN, "the parent");
    assert_eq!(request[&6][0], Field::Number(2), "a server");
    assert_eq!(attributes(&request[&9])["http.response.status_code"], Field::Number(200));
    for (name, parent) in
        [("ingest", "POST /alertmanager/webhook"), ("decide", "ingest"), ("attempt", "notification")]
    {
        let (span, parent) = (&found[name], &found[parent]);
        assert_eq!((hex(&span[&1][0]).as_str(), &span[&4]), (TRACE, &parent[&2]), "{name}");
        let number = |span: &Span, field| match span[&field][0] {
            Field::Number(number) => number,
            Field::Bytes(_) => panic!("{name}: field {field}"),
        };
        assert!(number(parent, 7) <= number(span, 7) && number(span, 7) <= number(span, 8), "{name}");
        assert_eq!(number(span, 16), 1, "it is sampled");
    }
    let told = attributes(&found["notification"][&9]);
    assert_eq!(
        (told["squelch.receiver"].text().as_str(), &told["squelch.alerts"]),
        ("pager", &Field::Number(1))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_gets_spans_over_grpc_with_and_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    let headers = "headers: {X-Tenant: {values: [night]}}";
    let mut collector = Collector::new("0", None).await;
    check(&of_one_alert(&mut collector, &format!("insecure: true, {headers}"), folder.path()).await);

    let authority = Authority::new();
    authority.write_ca(folder.path());
    let mut collector = Collector::new("0", Some(&authority)).await;
    let tls = "tls_config: {ca_file: ca.pem, server_name: collector.test}";
    let keys = format!("client_type: grpc, compression: gzip, {tls}, {headers}");
    let other = tempfile::tempdir().unwrap();
    authority.write_ca(other.path());
    check(&of_one_alert(&mut collector, &keys, other.path()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_ends_a_call_with_an_error_costs_only_spans() {
    // 8 is RESOURCE_EXHAUSTED.
    let collector = Collector::new("8", None).await;
    let mut pager = Fake::new(|_| Some((200, Vec::new()))).await;
    let folder = tempfile::tempdir().unwrap();
    let keys = "insecure: true, sampling_fraction: 1";
    let node = node(folder.path(), &traced(&collector, &pager, keys)).await;
    webhook(&node, "", "").await;
    assert!(pager.next().await.head.starts_with("POST /hook"));
    let gate = node.gate();
    crate::e2e::until("the spans are lost", async || {
        gate.metrics().contains("squelch_trace_spans_total{outcome=\"failed\"} 6\n").then_some(())
    })
    .await;
    node.stop().await;
}
