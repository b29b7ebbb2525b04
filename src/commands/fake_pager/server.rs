//! The pager's HTTP side, in one process with its callers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use url::form_urlencoded;

use super::events;
use super::fault::{Fault, Script};
use super::page;
use super::state::{Incident, Message, Requests, State, Trigger};
use super::webhook::Webhook;
use crate::model::Timestamp;

const BODY_BYTES: usize = 4 << 20;
const CONNECTIONS: usize = 1024;
const SILENCE: Duration = Duration::from_secs(60);

/// A pager that is listening. It ends when this is dropped.
pub struct FakePager {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    script: Mutex<Script>,
    rate_limit: AtomicU32,
    webhook: Mutex<Option<Webhook>>,
    changed: watch::Sender<u64>,
}

/// An answer, or none: the connection breaks.
struct Reset;

impl FakePager {
    /// Listens on `addr`. Port 0 takes a free one.
    pub async fn bind(addr: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            script: Mutex::default(),
            rate_limit: AtomicU32::new(0),
            webhook: Mutex::default(),
            changed: watch::Sender::new(0),
        });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Ok(FakePager { addr, shared, task })
    }

    /// `http://<address><path>`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// The incidents, oldest first.
    pub fn incidents(&self) -> Vec<Incident> {
        self.shared.state().incidents()
    }

    /// The Slack messages, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        self.shared.state().messages()
    }

    /// The counts of requests.
    pub fn requests(&self) -> Requests {
        self.shared.state().requests.clone()
    }

    /// Lets the next requests meet a fault. Scripts apply in the order in which they came.
    pub fn script(&self, fault: Fault) {
        self.shared.script().push(fault);
    }

    /// PagerDuty events that one routing key may send in 60 s. 0 = any number.
    pub fn limit_rate(&self, events: u32) {
        self.shared.rate_limit.store(events, Ordering::Relaxed);
    }

    /// Calls `tell` with a line about each event that opens, changes or closes an incident, and each message.
    pub fn tell(&self, tell: fn(&str)) {
        self.shared.state().tell = Some(tell);
    }

    /// Sends these webhooks for the actions of persons.
    pub fn send_webhooks(&self, webhook: Webhook) {
        *self.shared.webhook.lock().unwrap_or_else(PoisonError::into_inner) = Some(webhook);
    }

    /// Forgets incidents, messages, counts and scripts.
    pub fn clear(&self) {
        self.shared.clear();
    }

    /// Waits until `holds` does, asking anew after each request.
    pub async fn wait_until(&self, mut holds: impl FnMut(&FakePager) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        while !holds(self) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Goes on until the process ends.
    pub async fn serve_forever(mut self) {
        let _ = (&mut self.task).await;
    }
}

impl Drop for FakePager {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        self.state().clear();
        self.script().clear();
        self.changed();
    }

    fn changed(&self) {
        self.changed.send_modify(|n| *n += 1);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                connections.spawn(async move {
                    serve(stream, shared).await;
                    drop(permit);
                });
            }
            // Out of file descriptors, most likely: let some go.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = hyper::service::service_fn(move |request| {
        let shared = shared.clone();
        async move { answer(&shared, request).await.map_err(|Reset| std::io::Error::other("reset by script")) }
    });
    // An error here is the client's, or a script's reset. Both end the connection and no more.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SILENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Reset> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let collected = tokio::time::timeout(SILENCE, Limited::new(body, BODY_BYTES).collect()).await;
    let Ok(Ok(body)) = collected.map(|body| body.map(|b| b.to_bytes())) else {
        return Ok(json_answer(413, &json!({"message": "the body is too large, or did not come"})));
    };
    let now = crate::node::clock::wall();
    match (&parts.method, path.as_str()) {
        (&Method::GET, "/") => Ok(page::answer(&shared.state(), now)),
        (&Method::GET, "/incidents") => Ok(json_answer(200, &json!(shared.state().incidents()))),
        (&Method::GET, "/messages") => Ok(json_answer(200, &json!(shared.state().messages()))),
        (&Method::GET, "/requests") => Ok(json_answer(200, &json!(shared.state().requests))),
        (&Method::DELETE, "/incidents") => {
            shared.clear();
            Ok(json_answer(200, &json!({})))
        }
        (&Method::POST, "/script") => match serde_json::from_slice::<Fault>(&body) {
            Ok(fault) => {
                shared.script().push(fault);
                Ok(json_answer(200, &json!({})))
            }
            Err(error) => Ok(json_answer(400, &json!({"message": error.to_string()}))),
        },
        (&Method::POST, "/acknowledge" | "/unacknowledge") => {
            Ok(taken_on(shared, path == "/acknowledge", parts.uri.query().unwrap_or_default(), now).await)
        }
        (method, path) => notified(shared, method, path, &body, now).await,
    }
}

/// A person acknowledges the open incidents of a key, or gives them back.
async fn taken_on(shared: &Shared, taken: bool, query: &str, now: Timestamp) -> Response<Full<Bytes>> {
    let asked: BTreeMap<_, _> = form_urlencoded::parse(query.as_bytes()).collect();
    let key = asked.get("key").map(|key| key.as_ref()).unwrap_or_default();
    let by = asked.get("by").map_or("somebody", |by| by.as_ref());
    let Some(key) = shared.state().taken_on(key, taken) else {
        let message = "this is the key of no open incident, or the beginning of several. Write ?key=DEDUP_KEY, with \
                       at least the first 6 digits of the key";
        return json_answer(404, &json!({"message": message}));
    };
    shared.changed();
    let webhook = shared.webhook.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(webhook) = webhook else {
        return json_answer(200, &json!({"message": "start with --pagerduty.webhook-url to tell Squelch"}));
    };
    match webhook.send(&key, if taken { "acknowledged" } else { "unacknowledged" }, by, now).await {
        Ok(status) => json_answer(200, &json!({"webhook": status})),
        Err(message) => json_answer(502, &json!({"message": message})),
    }
}

/// A request that a sender of notifications made: faults first, then the pager.
async fn notified(
    shared: &Shared,
    method: &Method,
    path: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<Response<Full<Bytes>>, Reset> {
    let fault = shared.script().take(path).unwrap_or_default();
    shared.state().requests.total += 1;
    shared.changed();
    if !fault.accepted {
        tokio::time::sleep(fault.hang()).await;
    }
    let (mut status, mut text) = match fault.is_lost() {
        true => (500, String::new()),
        false => act(shared, method, path, body, now),
    };
    if status == 202
        && let Some(key) = events::acknowledged(body)
        && let Some(webhook) = shared.webhook.lock().unwrap_or_else(PoisonError::into_inner).clone()
    {
        // As PagerDuty does, which answers the event first.
        tokio::spawn(async move { webhook.send(&key, "acknowledged", "Events API", now).await });
    }
    if fault.accepted {
        shared.changed();
        tokio::time::sleep(fault.hang()).await;
    }
    if let Some(scripted) = fault.answer {
        (status, text) = (scripted, "scripted".to_owned());
    }
    text = fault.body.clone().unwrap_or(text);
    shared.state().answered((!fault.reset).then_some(status));
    shared.changed();
    if fault.reset {
        return Err(Reset);
    }
    let mut response = plain(status, text);
    let retry_after = fault.retry_after.as_ref().map(|value| ("Retry-After".to_owned(), value.text()));
    for (name, value) in fault.headers.into_iter().chain(retry_after) {
        if let (Ok(name), Ok(value)) = (name.parse::<header::HeaderName>(), value.parse()) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

fn act(shared: &Shared, method: &Method, path: &str, body: &[u8], now: Timestamp) -> (u16, String) {
    let mut state = shared.state();
    let answered = |(status, body): (u16, Value)| (status, body.to_string());
    match (method, path) {
        (&Method::POST, "/v2/enqueue") => {
            answered(events::enqueue(&mut state, body, shared.rate_limit.load(Ordering::Relaxed), now))
        }
        (&Method::POST, "/v2/change/enqueue") => answered(events::change(&mut state, body)),
        (&Method::POST, path) if path.starts_with("/slack/") => slack(&mut state, body, now),
        (&Method::POST, path) if path.starts_with("/webhook/") => {
            webhook(&mut state, path.trim_start_matches('/'), body, now)
        }
        _ => (404, "not found".to_owned()),
    }
}

fn slack(state: &mut State, body: &[u8], now: Timestamp) -> (u16, String) {
    let Ok(message) = serde_json::from_slice::<Value>(body) else {
        return (400, "invalid_payload".to_owned());
    };
    if ["text", "attachments", "blocks"].iter().all(|part| message.get(*part).is_none()) {
        return (400, "no_text".to_owned());
    }
    state.message(message, now);
    (200, "ok".to_owned())
}

/// An Alertmanager body: firing opens an incident under `groupKey` or folds into it, resolved closes.
fn webhook(state: &mut State, scope: &str, body: &[u8], now: Timestamp) -> (u16, String) {
    let message: Option<Value> = serde_json::from_slice(body).ok();
    let text = |pointer: &str| {
        message.as_ref().and_then(|m| m.pointer(pointer)?.as_str()).unwrap_or_default().to_owned()
    };
    let key = text("/groupKey");
    if text("/version") != "4" || key.is_empty() {
        return (400, "not an Alertmanager webhook body, version 4".to_owned());
    }
    if text("/status") == "resolved" {
        state.resolve(scope, &key, now);
    } else {
        let trigger = Trigger {
            scope: scope.to_owned(),
            shown: scope.to_owned(),
            key,
            summary: text("/commonLabels/alertname"),
            severity: text("/commonLabels/severity"),
            details: message.clone().unwrap_or_default(),
        };
        state.trigger(trigger, now);
    }
    (200, String::new())
}

fn plain(status: u16, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    response
}

fn json_answer(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let mut response = plain(status, format!("{body:#}\n"));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
