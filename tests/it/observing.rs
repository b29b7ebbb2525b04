//! The view of an operator: Squelch's log and its traces.

mod grpc;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use squelch::deliver::{Deliverer, DeliveryOptions};
use squelch::model::{AlertId, AlertView, Kind};
use squelch::node::Node;
use squelch::spans::Tracer;
use squelch::web::Gate as _;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::deliver::{World, fault, notification, pager, pagerduty, receivers, switch_all_log_statements_on};
use crate::wire;

/// Each notification has one line at its end, and its first failure one. Further failures are quieter.
#[tokio::test]
async fn the_log_has_one_line_for_each_end_of_a_notification() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    switch_all_log_statements_on();
    let _guard = tracing::subscriber::set_default(subscriber);
    let pager = pager().await;
    let mut world = World::new(&receivers([("team", pagerduty(pager.url("/v2/enqueue")))]));
    for (id, answers) in [(1, [].as_slice()), (2, &[500, 500]), (3, &[400])] {
        for answer in answers {
            pager.script(fault(*answer, 1));
        }
        world.deliverer.send(notification(id, "team", "pagerduty[0]", Kind::Page), false);
        world.report().await;
    }
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let found: Vec<(&str, &str, Option<&str>)> = text
        .lines()
        .map(|line| {
            assert!(line.contains("receiver=team integration=pagerduty[0] kind=\"page\" key=key-"), "{line}");
            assert!(line.contains(" duration=0.") && line.contains("s alerts=1"), "{line}");
            let attempts = line.split_once("attempts=").unwrap().1.split(' ').next();
            let said = ["accepted", "attempt failed", "refused for good"];
            let said = said.into_iter().find(|said| line.contains(said)).unwrap();
            (line.split_whitespace().nth(1).unwrap(), said, attempts)
        })
        .collect();
    let one = Some("1");
    assert_eq!(
        found,
        [
            ("INFO", "accepted", one),
            ("WARN", "attempt failed", one),
            ("INFO", "accepted", Some("3")),
            ("ERROR", "refused for good", one),
        ],
        "{text}"
    );
}

/// Lines of a log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A server that answers every request as `answer` says, and keeps the requests.
pub struct Fake {
    pub address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Asked>,
}

/// A request that a [`Fake`] got.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The request line and the headers, in lower case but for the first line.
    pub head: String,
    pub body: Vec<u8>,
}

/// How a [`Fake`] answers: a status and a body, or not at all.
pub type Answer = Option<(u16, Vec<u8>)>;

impl Fake {
    pub async fn new(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, requests) = mpsc::unbounded_channel();
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answer, told) = (answer.clone(), told.clone());
                tokio::spawn(async move {
                    let asked = asked(&mut stream).await?;
                    let answer = answer(&asked);
                    told.send(asked).ok()?;
                    let Some((status, body)) = answer else { return std::future::pending().await };
                    let head = format!(
                        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                        body.len()
                    );
                    stream.write_all(head.as_bytes()).await.ok()?;
                    stream.write_all(&body).await.ok()
                });
            }
        });
        Fake { address, requests }
    }

    /// The next request.
    pub async fn next(&mut self) -> Asked {
        let next = tokio::time::timeout(Duration::from_secs(20), self.requests.recv()).await;
        next.expect("a request within 20 s").unwrap()
    }

    /// A request that has come already.
    pub fn asked(&mut self) -> Option<Asked> {
        self.requests.try_recv().ok()
    }
}

/// One request, whole.
async fn asked(stream: &mut TcpStream) -> Option<Asked> {
    let (head, body) = wire::raw_request(stream).await?;
    let (line, headers) = head.split_once("\r\n")?;
    Some(Asked { head: format!("{line}\r\n{}", headers.to_ascii_lowercase()), body })
}

/// A node with this configuration.
pub async fn node(folder: &Path, config: &str) -> Node {
    let config_file = folder.join("squelch.yml");
    std::fs::write(&config_file, config).unwrap();
    let options = squelch::node::NodeOptions {
        config_file,
        storage: folder.join("data"),
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        external_url: String::new(),
        route_prefix: String::new(),
        advertise: None,
        web_config_file: None,
    };
    Node::start(options).await.unwrap()
}

/// Sends one alert as Alertmanager does, with further headers.
pub async fn webhook(node: &Node, headers: &str, generator_url: &str) {
    let to = node.addresses()[0];
    let alert = serde_json::json!({
        "status": "firing",
        "labels": {"alertname": "Down", "severity": "critical"},
        "annotations": {},
        "startsAt": "2026-11-28T12:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": generator_url,
    });
    let body = serde_json::json!({
        "version": "4", "groupKey": "{}:{}", "status": "firing", "receiver": "squelch", "externalURL": "http://am",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "truncatedAlerts": 0, "alerts": [alert],
    })
    .to_string();
    let head = format!(
        "POST /alertmanager/webhook HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = crate::e2e::http::send(to, &head, body.as_bytes()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn traceparent() -> String {
    format!("traceparent: 00-{TRACE}-{SPAN}-01\r\n")
}

fn traced(collector: &Fake, pager: &Fake, keys: &str) -> String {
    let (collector, pager) = (collector.address, pager.address);
    format!(
        "tracing: {{client_type: http, endpoint: '{collector}', insecure: true, {keys}}}\n\
         route: {{receiver: pager}}\n\
         receivers: [{{name: pager, webhook_configs: [{{url: 'http://{pager}/hook'}}]}}]\n"
    )
}

/// The spans of a request to a collector.
fn spans(asked: &Asked) -> Vec<Value> {
    assert!(asked.head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{}", asked.head);
    assert!(asked.head.contains("content-type: application/json"), "{}", asked.head);
    let mut body = String::new();
    flate2::read::GzDecoder::new(&*asked.body).read_to_string(&mut body).unwrap();
    let json: Value = serde_json::from_str(&body).unwrap();
    let resource = &json["resourceSpans"][0];
    assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "squelch");
    resource["scopeSpans"][0]["spans"].as_array().unwrap().clone()
}

fn attribute<'a>(span: &'a Value, key: &str) -> &'a str {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    let value = &found.unwrap_or_else(|| panic!("{key}: {span}"))["value"];
    value["stringValue"].as_str().or(value["intValue"].as_str()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_leads_from_the_request_to_the_delivery() {
    let mut collector = Fake::new(|_| Some((200, b"{}".to_vec()))).await;
    let pager = Fake::new(|_| Some((200, Vec::new()))).await;
    let folder = tempfile::tempdir().unwrap();
    let keys = "compression: gzip, headers: {X-Tenant: {values: [night]}}";
    let node = node(folder.path(), &traced(&collector, &pager, keys)).await;
    webhook(&node, &traceparent(), "").await;
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    while !found.contains_key("notification") {
        let asked = collector.next().await;
        assert!(asked.head.contains("x-tenant: night"), "{}", asked.head);
        found.extend(spans(&asked).into_iter().map(|s| (s["name"].as_str().unwrap().to_owned(), s)));
    }
    node.stop().await;
    let names = ["POST /alertmanager/webhook", "attempt", "decide", "ingest", "notification", "queue"];
    assert_eq!(found.keys().collect::<Vec<_>>(), names);
    for (name, parent) in [
        ("ingest", "POST /alertmanager/webhook"),
        ("decide", "ingest"),
        ("notification", "decide"),
        ("queue", "notification"),
        ("attempt", "notification"),
    ] {
        assert_eq!(found[name]["parentSpanId"], found[parent]["spanId"], "{name}");
        assert_eq!(found[name]["traceId"], TRACE, "{name}");
        let nanos = |span: &Value, key: &str| span[key].as_str().unwrap().parse::<u128>().unwrap();
        let (began, ended) =
            (nanos(&found[name], "startTimeUnixNano"), nanos(&found[name], "endTimeUnixNano"));
        assert!(nanos(&found[parent], "startTimeUnixNano") <= began && began <= ended, "{name}");
    }
    let request = &found["POST /alertmanager/webhook"];
    assert_eq!((&request["parentSpanId"], &request["kind"]), (&SPAN.into(), &2.into()));
    assert_eq!(attribute(request, "http.response.status_code"), "200");
    let notification = &found["notification"];
    for (key, value) in [
        ("squelch.receiver", "pager"),
        ("squelch.integration", "webhook[0]"),
        ("squelch.kind", "page"),
        ("squelch.alerts", "1"),
        ("squelch.attempts", "1"),
    ] {
        assert_eq!(attribute(notification, key), value);
    }
    assert_eq!(attribute(notification, "squelch.dedup_key").len(), 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_fails_delays_no_page_and_costs_only_spans() {
    let collector = Fake::new(|_| Some((503, Vec::new()))).await;
    let mut pager = Fake::new(|_| Some((200, Vec::new()))).await;
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path(), &traced(&collector, &pager, "sampling_fraction: 1")).await;
    webhook(&node, "", "").await;
    assert!(pager.next().await.head.starts_with("POST /hook"));
    let gate = node.gate();
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    while !gate.metrics().contains("squelch_trace_spans_total{outcome=\"failed\"} 6\n") {
        assert!(tokio::time::Instant::now() < until, "{}", gate.metrics());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    node.stop().await;
}

/// A notification is a part of the request that last stated its alerts, and names the others.
#[tokio::test]
async fn a_notification_links_to_every_request_that_told_of_its_alerts() {
    let tracer = Tracer::default();
    let mut spans = tracer.start(1.0);
    let mut n = notification(1, "team", "pagerduty[0]", Kind::Page);
    let mut contexts = Vec::new();
    for id in 1..=3 {
        let context = tracer.arrives(None).context().unwrap();
        tracer.carries([AlertId(id)], context);
        n.alerts.push(AlertView { id: AlertId(id), ..n.alerts[0].clone() });
        contexts.push(context);
    }
    let pager = pager().await;
    let options = DeliveryOptions { tracer: tracer.clone(), ..DeliveryOptions::default() };
    let (sender, mut reports) = mpsc::unbounded_channel();
    let receivers = receivers([("team", pagerduty(pager.url("/v2/enqueue")))]);
    // Receivers without a configuration of traces stop the tracer.
    let deliverer = Deliverer::new(&receivers, sender, options).unwrap();
    assert!(tracer.arrives(None).context().is_none());
    while spans.try_recv().is_ok() {}
    let mut spans = tracer.start(1.0);
    deliverer.send(n, false);
    reports.recv().await.unwrap();
    let delivery = loop {
        let span = spans.recv().await.unwrap();
        if span.name == "notification" {
            break span;
        }
    };
    assert_eq!((delivery.context.trace, delivery.parent), (contexts[2].trace, Some(contexts[2].span)));
    assert_eq!(delivery.links, [contexts[1], contexts[0]]);
}
