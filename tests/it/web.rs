//! The HTTP surface over real sockets, with a fake node behind it.

mod ages;
mod bounds;
mod encoded;
mod unparsed;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use squelch::decision_log::{DecisionPage, DecisionQuery, Tally};
use squelch::ingest::InvalidReason;
use squelch::journal::{DeadLetters, LetterQuery};
use squelch::model::{Batch, Duration as Span, NotificationId, SilenceRequest, Source, Timestamp};
use squelch::web::{
    Bounded, BoxFuture, Gate, Look, ReleaseError, ReplayError, SearchError, ServerLimits, SilenceFailure,
    Unavailable, serve,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};

const HOOK: &str = "/alertmanager/webhook";
const AM_025: &str = include_str!("../data/ingest/alertmanager-0.25.json");
const GRAFANA: &str = include_str!("../data/ingest/grafana.json");
const API_V2: &str = include_str!("../data/ingest/api_v2.json");

/// The reaction of the fake node to a batch, and its state.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    Down,
    /// Holds every batch until the mood changes.
    Slow,
}

struct Fake {
    mood: watch::Receiver<Mood>,
    begun: mpsc::UnboundedSender<()>,
    accepted: mpsc::UnboundedSender<Batch>,
    rejected: Mutex<Vec<(Source, InvalidReason)>>,
    answered: Mutex<Vec<(String, u16)>>,
    engine: squelch::engine::Engine,
    crowded: AtomicU64,
    bounded: Mutex<Vec<Bounded>>,
    /// The answer of `/metrics` is padded to so many bytes.
    metrics: AtomicUsize,
}

impl Fake {
    fn down(&self) -> Result<(), Unavailable> {
        match *self.mood.borrow() {
            Mood::Down => Err(Unavailable("the disk is full".into())),
            Mood::Well | Mood::Slow => Ok(()),
        }
    }
}

impl Gate for Fake {
    fn now(&self) -> Timestamp {
        Timestamp::parse("2026-11-23T00:15:00Z").unwrap()
    }
    fn resolve_timeout(&self) -> Span {
        Span::from_mins(5)
    }
    fn accept(
        &self,
        batch: Batch,
        _: Option<squelch::spans::TraceContext>,
    ) -> BoxFuture<'_, Result<(), Unavailable>> {
        let mut mood = self.mood.clone();
        Box::pin(async move {
            self.begun.send(()).unwrap();
            mood.wait_for(|m| *m != Mood::Slow).await.unwrap();
            self.down()?;
            self.accepted.send(batch).unwrap();
            Ok(())
        })
    }
    fn ready(&self) -> Result<(), String> {
        self.down().map_err(|e| e.to_string())
    }
    fn reload(&self) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async {
            self.down().map(|()| String::new()).map_err(|_| "squelch.yml:3: no such key".into())
        })
    }
    fn metrics(&self) -> String {
        let padding = "x".repeat(self.metrics.load(Ordering::Relaxed));
        format!("squelch_build_info 1\n{padding}")
    }
    fn decisions(&self, _: DecisionQuery) -> BoxFuture<'_, Result<DecisionPage, SearchError>> {
        let page = DecisionPage { decisions: Vec::new(), next: None };
        Box::pin(async { self.down().map(|()| page).map_err(|_| SearchError::Busy) })
    }
    fn noise(&self, _: Timestamp, _: Timestamp) -> BoxFuture<'_, Result<Tally, SearchError>> {
        Box::pin(async { self.down().map(|()| Tally::default()).map_err(|_| SearchError::Busy) })
    }
    fn dead_letters(&self, _: LetterQuery) -> BoxFuture<'_, Result<DeadLetters, Unavailable>> {
        Box::pin(async { self.down().map(|()| DeadLetters::default()) })
    }
    fn replay(&self, id: NotificationId) -> BoxFuture<'_, Result<(), ReplayError>> {
        Box::pin(async move {
            self.down()?;
            match id {
                NotificationId(7) => Ok(()),
                NotificationId(8) => Err(ReplayError::Over),
                _ => Err(ReplayError::NotFound),
            }
        })
    }
    fn silence(&self, request: SilenceRequest) -> BoxFuture<'_, Result<smol_str::SmolStr, SilenceFailure>> {
        Box::pin(async move {
            self.down()?;
            match request {
                SilenceRequest::Set(_) => Ok("made".into()),
                SilenceRequest::Expire(id) => Err(squelch::model::SilenceError::Unknown(id).into()),
            }
        })
    }
    fn release(&self, _: squelch::engine::Release) -> BoxFuture<'_, Result<(), ReleaseError>> {
        Box::pin(async { Err(ReleaseError::NotHeld) })
    }
    fn look(&self, look: Look) {
        look(self.down().as_ref().map(|()| &self.engine).map_err(|e| e.0.as_str()));
    }
    fn stats(&self) -> Arc<squelch::engine::Stats> {
        Arc::default()
    }
    fn health(&self) -> std::collections::BTreeMap<smol_str::SmolStr, squelch::deliver::Health> {
        Default::default()
    }
    fn configuration(&self) -> Arc<str> {
        "route: {receiver: a}\n".into()
    }
    fn rejected(&self, source: Source, reason: InvalidReason) {
        self.rejected.lock().unwrap().push((source, reason));
    }
    fn answered(&self, path: &str, code: u16) {
        self.answered.lock().unwrap().push((path.to_owned(), code));
    }
    fn crowded(&self) {
        self.crowded.fetch_add(1, Ordering::Relaxed);
    }
    fn bounded(&self, bound: Bounded) {
        self.bounded.lock().unwrap().push(bound);
    }
}

struct Running {
    address: SocketAddr,
    fake: Arc<Fake>,
    mood: watch::Sender<Mood>,
    begun: mpsc::UnboundedReceiver<()>,
    accepted: mpsc::UnboundedReceiver<Batch>,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<()>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e} in {:?}", self.body))
    }
    fn has(&self, header: &str) -> bool {
        self.head.to_ascii_lowercase().lines().any(|line| line == header)
    }
}

async fn start(limits: ServerLimits) -> Running {
    start_with(limits, squelch::engine::Engine::new(squelch::config::Config::default().policy)).await
}

async fn start_with(limits: ServerLimits, engine: squelch::engine::Engine) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (mood, watched) = watch::channel(Mood::Well);
    let (begun_tx, begun) = mpsc::unbounded_channel();
    let (accepted_tx, accepted) = mpsc::unbounded_channel();
    let fake = Arc::new(Fake {
        mood: watched,
        begun: begun_tx,
        accepted: accepted_tx,
        rejected: Mutex::default(),
        answered: Mutex::default(),
        engine,
        crowded: AtomicU64::default(),
        bounded: Mutex::default(),
        metrics: AtomicUsize::default(),
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let gate = Arc::clone(&fake) as Arc<dyn Gate>;
    let ended = tokio::spawn(serve(listener, gate, limits, async move {
        let _ = stopped.await;
    }));
    Running { address, fake, mood, begun, accepted, stop, ended }
}

impl Running {
    async fn open(&self, request: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        stream
    }

    async fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: squelch\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = self.open(head.as_bytes()).await;
        // A body that is refused early may not be read to its end.
        let _ = stream.write_all(body).await;
        answer(&mut stream).await
    }

    async fn hook(&self, body: impl AsRef<[u8]>) -> Answer {
        self.send("POST", HOOK, "Content-Type: application/json\r\n", body.as_ref()).await
    }

    async fn v2(&self, body: impl AsRef<[u8]>) -> Answer {
        self.send("POST", "/api/v2/alerts", "Content-Type: application/json\r\n", body.as_ref()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", b"").await
    }

    fn bounded(&self) -> Vec<Bounded> {
        self.fake.bounded.lock().unwrap().clone()
    }

    fn rejected(&self) -> Vec<InvalidReason> {
        self.fake.rejected.lock().unwrap().iter().map(|(_, reason)| *reason).collect()
    }
}

/// An event that must happen. Otherwise the test fails, and does not hang.
async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), event).await.expect("it never happened")
}

/// Reads until the server closes. A connection that stays open fails the test.
async fn answer(stream: &mut TcpStream) -> Answer {
    let mut raw = Vec::new();
    soon(async {
        let mut chunk = [0; 4096];
        while let Ok(n @ 1..) = stream.read(&mut chunk).await {
            raw.extend_from_slice(&chunk[..n]);
        }
    })
    .await;
    let text = String::from_utf8(raw).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A whole request to the webhook, after which the connection ends.
fn post(body: &str) -> String {
    let length = body.len();
    format!("POST {HOOK} HTTP/1.1\r\nHost: s\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn short() -> ServerLimits {
    let brief = Duration::from_millis(200);
    ServerLimits {
        header_timeout: brief,
        body_timeout: brief,
        answer_timeout: brief,
        ..ServerLimits::default()
    }
}

#[tokio::test]
async fn takes_alertmanagers_body_and_answers_what_it_took() {
    let mut running = start(ServerLimits::default()).await;
    for _ in 0..2 {
        let answer = running.hook(AM_025).await;
        assert_eq!((answer.status, answer.json()), (200, json!({"accepted": 1, "rejected": []})));
        let batch = soon(running.accepted.recv()).await.unwrap();
        assert_eq!((batch.peer.as_str(), batch.observations.len()), ("http://vm:19093", 1));
    }
    let empty = running.hook(r#"{"version":"4","alerts":[]}"#).await;
    assert_eq!((empty.status, empty.json()), (200, json!({"accepted": 0, "rejected": []})));
    assert!(running.rejected().is_empty());
}

#[tokio::test]
async fn a_partly_invalid_webhook_body_is_taken_and_says_what_was_not() {
    let mut running = start(ServerLimits::default()).await;
    let answer = running.hook(r#"{"alerts":[{"labels":{"a":"b"}},7,{"labels":{"a":"c"}}]}"#).await;
    assert_eq!(answer.status, 400, "few read more than the status");
    let said = answer.json();
    assert_eq!((&said["accepted"], &said["rejected"][0]["index"]), (&json!(2), &json!(1)));
    assert!(said["rejected"][0]["error"].as_str().unwrap().contains("the number 7"));
    assert_eq!(soon(running.accepted.recv()).await.unwrap().observations.len(), 2);
    let no_start = InvalidReason::BadTime;
    assert_eq!(running.rejected(), [InvalidReason::NotAnObject, no_start, no_start], "refused, and mended");
    let none = running.hook(r#"{"alerts":[7]}"#).await;
    assert_eq!((none.status, none.json()["accepted"].clone()), (400, json!(0)));
}

#[tokio::test]
async fn api_v2_answers_as_alertmanager_does() {
    let mut running = start(ServerLimits::default()).await;
    let whole = running.v2(r#"[{"labels":{"a":"b"}}]"#).await;
    assert_eq!((whole.status, whole.body.as_str()), (200, ""));
    assert_eq!(soon(running.accepted.recv()).await.unwrap().peer, "127.0.0.1");
    let partly = running.v2(r#"[{"labels":{"a":"b"}},{"labels":{}}]"#).await;
    assert_eq!(partly.status, 400);
    assert!(partly.json().as_str().unwrap().contains("alert 1: labels"));
    let batch = soon(running.accepted.recv()).await.unwrap();
    assert_eq!((batch.source, batch.observations.len()), (Source::Prometheus, 1));
    // Where it is not: an alert whose end is before its start is refused there, and has ended here.
    assert_eq!(running.v2(API_V2).await.status, 200);
    let batch = soon(running.accepted.recv()).await.unwrap();
    assert_eq!((batch.source, batch.observations.len()), (Source::Prometheus, 5));
    assert_eq!(running.rejected(), [InvalidReason::NoLabels, InvalidReason::BadTime]);
    for headers in ["", "Content-Type: text/plain\r\n"] {
        let wrong = running.send("POST", "/api/v2/alerts", headers, b"[]").await;
        assert_eq!((wrong.status, wrong.json()["code"].clone()), (415, json!(415)));
    }
    let charset = "Content-Type: application/json; charset=utf-8\r\n";
    assert_eq!(running.send("POST", "/api/v2/alerts", charset, b"[]").await.status, 200);
    assert_eq!(running.v2("{").await.json()["code"], 400);
}

#[tokio::test]
async fn unusable_bodies_get_a_400_that_says_why() {
    let running = start(ServerLimits::default()).await;
    let deep = "[".repeat(10_000);
    let cases = [
        (&AM_025[..200], "at byte 200 of 200", InvalidReason::MalformedJson),
        (r#"{"text":"customised"}"#, "`payload:` unset", InvalidReason::NotV4),
        (r#"{"alerts":5}"#, "`alerts` to be the number 5", InvalidReason::NotV4),
        (&deep, "not valid JSON", InvalidReason::MalformedJson),
        ("", "not valid JSON", InvalidReason::MalformedJson),
    ];
    for (body, says, _) in cases {
        let answer = running.hook(body).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert!(answer.has("content-type: application/problem+json"), "{}", answer.head);
        assert!(answer.json()["detail"].as_str().unwrap().contains(says), "{}", answer.body);
    }
    assert_eq!(running.rejected(), cases.map(|(.., reason)| reason));
}

#[tokio::test]
async fn what_can_be_mended_is_taken_and_counted() {
    let mut running = start(ServerLimits::default()).await;
    let long = "x".repeat(1 << 20);
    let body = format!(r#"{{"alerts":[{{"labels":{{"a":"{long}"}},"startsAt":"2026-11-23T00:00:00Z"}}]}}"#);
    assert_eq!(running.hook(body).await.json()["accepted"], 1);
    assert!(soon(running.accepted.recv()).await.unwrap().observations[0].labels.value("a").len() <= 4096);
    assert_eq!(running.hook(b"{\"alerts\":[{\"labels\":{\"a\":\"\xff\"}}]}").await.json()["accepted"], 1);
    assert_eq!(soon(running.accepted.recv()).await.unwrap().observations[0].labels.value("a"), "\u{fffd}");
    let mended = [InvalidReason::Cut, InvalidReason::BadTime, InvalidReason::InvalidUtf8];
    assert_eq!(running.rejected(), mended, "the second says no start, either");
}

#[tokio::test]
async fn unavailable_is_503_and_nothing_else() {
    let running = start(ServerLimits::default()).await;
    running.mood.send(Mood::Down).unwrap();
    for answer in [running.hook(AM_025).await, running.v2(API_V2).await] {
        assert_eq!(answer.status, 503);
        assert!(answer.has("retry-after: 1"), "{}", answer.head);
        assert!(answer.body.contains("the disk is full"));
    }
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_503_in_time() {
    let mut running = start(short()).await;
    running.mood.send(Mood::Slow).unwrap();
    assert_eq!(running.hook(AM_025).await.status, 503);
    running.mood.send(Mood::Well).unwrap();
    assert_eq!(
        soon(running.accepted.recv()).await.unwrap().observations.len(),
        1,
        "it is not dropped either"
    );
}

#[tokio::test]
async fn a_client_that_goes_away_loses_nothing() {
    let mut running = start(ServerLimits::default()).await;
    running.mood.send(Mood::Slow).unwrap();
    let stream = running.open(post(AM_025).as_bytes()).await;
    soon(running.begun.recv()).await.unwrap();
    // A reset, not an orderly end: the server drops the handler at once.
    stream.set_zero_linger().unwrap();
    drop(stream);
    assert_eq!(running.get("/-/healthy").await.status, 200);
    running.mood.send(Mood::Well).unwrap();
    assert_eq!(soon(running.accepted.recv()).await.unwrap().observations.len(), 1);
}

#[tokio::test]
async fn wrong_paths_and_methods_say_which_is_right() {
    let running = start(ServerLimits::default()).await;
    for (method, path, status) in
        [("POST", "/", 405), ("POST", "/webhook", 404), ("GET", HOOK, 405), ("POST", "/api/v1/alerts", 405)]
    {
        let answer = running.send(method, path, "", b"").await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(HOOK), "{}", answer.body);
        assert_eq!(
            status == 405,
            answer.head.to_ascii_lowercase().contains("\r\nallow: "),
            "{}",
            answer.head
        );
    }
}

/// Alerts at a path that takes none are lost, and their sender does not read the answer: they count as
/// refused. Other requests to such a path do not.
#[tokio::test]
async fn alerts_at_a_wrong_path_count_as_refused() {
    const JSON: &str = "Content-Type: application/json\r\n";
    let running = start(ServerLimits { route_prefix: "/squelch".into(), ..ServerLimits::default() }).await;
    let list = r#"[{"labels":{"alertname":"DbDown"}}]"#;
    let cased = r#"{"Alerts":[{"LABELS":{"a":"b"}}]}"#;
    let lost = [
        ("POST", "/api/v2/alerts", list),
        ("POST", "/squelch/api/v1/alerts", list),
        ("POST", "/squelch/webhook", AM_025),
        ("POST", "/", AM_025),
        ("POST", "/squelch", cased),
        ("PUT", "/squelch/alertmanager/webhook", AM_025),
    ];
    for (n, (method, path, body)) in lost.into_iter().enumerate() {
        let answer = running.send(method, path, JSON, body.as_bytes()).await;
        assert!(matches!(answer.status, 404 | 405), "{method} {path}: {}", answer.body);
        assert_eq!(running.rejected(), vec![InvalidReason::WrongPath; n + 1], "{method} {path}");
    }
    for (method, path, body) in [
        ("GET", "/squelch/webhook", AM_025),
        ("POST", "/squelch/webhook", ""),
        ("POST", "/squelch/webhook", "user=admin&password=admin"),
        ("POST", "/squelch/webhook", r#"{"alerts":[]}"#),
        ("POST", "/squelch/webhook", r#"{"streams":[{"labels":"{}"}]}"#),
        ("POST", "/squelch/webhook", r#"{"query":"alerts labels"}"#),
        ("POST", "/squelch/webhook", r#"[{"jsonrpc":"2.0"}]"#),
    ] {
        let answer = running.send(method, path, JSON, body.as_bytes()).await;
        assert_eq!(answer.status, 404, "{method} {path}");
    }
    assert_eq!(running.rejected().len(), lost.len());
}

#[tokio::test]
async fn slashes_too_many_do_no_harm() {
    const JSON: &str = "Content-Type: application/json\r\n";
    let list = br#"[{"labels":{"alertname":"DbDown"}}]"#;
    for prefix in ["", "/squelch"] {
        let mut running =
            start(ServerLimits { route_prefix: prefix.into(), ..ServerLimits::default() }).await;
        for path in ["//api/v2/alerts", "/api//v2/alerts/", "/api/v2/alerts//"] {
            let answer = running.send("POST", &format!("{prefix}{path}"), JSON, list).await;
            assert_eq!(answer.status, 200, "{path}");
            soon(running.accepted.recv()).await.unwrap();
        }
        for path in ["/alertmanager/webhook/", "//alertmanager//webhook"] {
            let answer = running.send("POST", &format!("{prefix}{path}"), "", AM_025.as_bytes()).await;
            assert_eq!(answer.status, 200, "{path}");
            soon(running.accepted.recv()).await.unwrap();
        }
        assert_eq!(running.get(&format!("{prefix}/")).await.status, 200);
    }
}

#[tokio::test]
async fn health_readiness_metrics_and_the_api() {
    let running = start(ServerLimits::default()).await;
    for path in ["/-/healthy", "/-/ready"] {
        for method in ["GET", "HEAD"] {
            assert_eq!(running.send(method, path, "", b"").await.status, 200);
        }
    }
    let metrics = running.get("/metrics").await;
    assert!(metrics.has("content-type: text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(metrics.body, "squelch_build_info 1\n");
    let now = "2026-11-23T00:15:00Z";
    assert_eq!(running.get("/api/v1/alerts").await.json(), json!({"alerts": [], "now": now}));
    assert_eq!(running.get("/api/v1/incidents").await.json(), json!({"incidents": [], "now": now}));
    assert_eq!(running.get("/api/v1/dead-letters").await.json(), json!({"deadLetters": []}));
    for (id, status) in [("7", 202), ("8", 409), ("9", 404), ("x", 400)] {
        let path = format!("/api/v1/dead-letters/{id}/replay");
        assert_eq!(running.send("POST", &path, "", b"").await.status, status, "{id}");
    }
    assert_eq!(running.send("POST", "/-/reload", "", b"").await.status, 200);
    assert!(running.get("/").await.body.contains("All quiet."));

    running.mood.send(Mood::Down).unwrap();
    assert_eq!(running.get("/-/healthy").await.status, 200);
    let ready = running.get("/-/ready").await;
    assert!(ready.status == 503 && ready.body.contains("the disk is full"));
    let reload = running.send("POST", "/-/reload", "", b"").await;
    assert!(reload.status == 500 && reload.body.contains("squelch.yml:3"));
    for list in
        ["alerts", "incidents", "decisions", "silences", "stats", "receivers", "noise", "dead-letters"]
    {
        let answer = running.get(&format!("/api/v1/{list}")).await;
        assert!(answer.status == 503 && answer.has("content-type: application/problem+json"), "{list}");
    }
    assert_eq!(running.send("POST", "/api/v1/dead-letters/7/replay", "", b"").await.status, 503);
}

#[tokio::test]
async fn everything_hangs_under_the_prefix() {
    let running = start(ServerLimits { route_prefix: "squelch/".into(), ..ServerLimits::default() }).await;
    assert_eq!(
        running.send("POST", "/squelch/alertmanager/webhook", "", AM_025.as_bytes()).await.status,
        200
    );
    for (path, link) in [("/squelch", "\"squelch/metrics\""), ("/squelch/", "\"./metrics\"")] {
        assert!(running.get(path).await.body.contains(link), "{path}");
    }
    let root = running.get("/").await;
    assert!(root.status == 302 && root.has("location: /squelch/"), "{}", root.head);
    let outside = running.hook(AM_025).await;
    assert_eq!(outside.status, 404);
    assert!(outside.body.contains("/squelch/alertmanager/webhook"));
}

#[tokio::test]
async fn the_api_v1_of_alertmanager_is_gone() {
    for prefix in ["", "/am"] {
        let running = start(ServerLimits { route_prefix: prefix.into(), ..ServerLimits::default() }).await;
        for (method, path) in [("GET", "status"), ("GET", "alerts/groups"), ("DELETE", "silence/x")] {
            let answer = running.send(method, &format!("{prefix}/api/v1/{path}"), "", b"").await;
            assert!(answer.status == 410 && answer.body.contains("API v2"), "{path}: {}", answer.body);
        }
        assert_eq!(running.get(&format!("{prefix}/api/v1/silence")).await.status, 404);
    }
}

#[tokio::test]
async fn every_answer_is_counted_under_the_path_that_was_matched() {
    for (prefix, root) in [("", "/"), ("/a{b}", "/a{b}")] {
        let running = start(ServerLimits { route_prefix: prefix.into(), ..ServerLimits::default() }).await;
        let at = |path: &str| format!("{prefix}{path}");
        running.get(&at("/metrics")).await;
        running.get(root).await;
        running.send("POST", &at("/metrics"), "", b"").await;
        running.send("POST", &at("/api/v1/dead-letters/9/replay"), "", b"").await;
        running.send("POST", &at(HOOK), "", b"no").await;
        running.get("/made/up").await;
        let answered = running.fake.answered.lock().unwrap().clone();
        let (paths, codes): (Vec<&str>, Vec<u16>) = answered.iter().map(|(p, c)| (p.as_str(), *c)).unzip();
        let replay = "/api/v1/dead-letters/{id}/replay";
        assert_eq!(paths, ["/metrics", "/", "/metrics", replay, HOOK, ""], "{prefix}");
        assert_eq!(codes, [200, 200, 405, 404, 400, 404]);
        let known = squelch::web::paths();
        assert!(paths.iter().all(|path| path.is_empty() || known.contains(path)), "{known:?}");
    }
}

#[tokio::test]
async fn shutdown_lets_requests_end_and_closes_what_idles() {
    let long = Duration::from_secs(3600);
    let mut running =
        start(ServerLimits { shutdown_timeout: long, header_timeout: long, ..ServerLimits::default() }).await;
    let mut idle = running.open(b"GET /-/healthy HTTP/1.1\r\nHost: s\r\n\r\n").await;
    idle.readable().await.unwrap();
    running.mood.send(Mood::Slow).unwrap();
    let mut busy = running.open(post(AM_025).as_bytes()).await;
    soon(running.begun.recv()).await.unwrap();
    running.stop.send(()).unwrap();
    assert_eq!(answer(&mut idle).await.status, 200);
    running.mood.send(Mood::Well).unwrap();
    assert_eq!(answer(&mut busy).await.status, 200);
    soon(running.ended).await.unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn shutdown_has_a_bound() {
    let limits = ServerLimits { shutdown_timeout: Duration::from_millis(100), ..ServerLimits::default() };
    let mut running = start(limits).await;
    running.mood.send(Mood::Slow).unwrap();
    let mut stuck = running.open(post(AM_025).as_bytes()).await;
    soon(running.begun.recv()).await.unwrap();
    running.stop.send(()).unwrap();
    soon(running.ended).await.unwrap();
    assert_eq!(answer(&mut stuck).await.status, 0);
}
