//! Sends bodies over a few connections and takes the time of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;

use crate::bodies::{self, Api, BATCH};
use crate::process::Process;
use crate::sink::Sink;

/// Connections, each with one request under way.
const CONNECTIONS: usize = 8;

/// The result of a load.
pub struct Sent {
    pub alerts: u64,
    pub refused: u64,
    pub took: Duration,
    latencies: Vec<Duration>,
}

/// p50, p99 and the longest.
pub type Quantiles = [Duration; 3];

impl Sent {
    pub fn quantiles(&self) -> Quantiles {
        quantiles(&self.latencies)
    }
}

fn quantiles(sorted: &[Duration]) -> Quantiles {
    let at = |share: f64| {
        let index = (sorted.len() as f64 * share) as usize;
        sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    [at(0.5), at(0.99), at(1.0)]
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    path: String,
}

impl Connection {
    async fn open(process: &Process, api: Api) -> Connection {
        let stream = tokio::net::TcpStream::connect(process.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        Connection { sender, path: process.path(api).to_owned() }
    }

    /// The status of the answer, and how long it took.
    async fn post(&mut self, body: Bytes) -> (u16, Duration) {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header("Host", "127.0.0.1")
            .header("Content-Type", "application/json")
            .body(Full::new(body))
            .unwrap();
        let started = Instant::now();
        self.sender.ready().await.unwrap();
        let answer = self.sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        answer.into_body().collect().await.unwrap();
        (status, started.elapsed())
    }
}

/// Sends all of `script`, as fast as the answers come.
pub async fn send(process: &Process, api: Api, script: &[String]) -> Sent {
    let bodies: Arc<Vec<Bytes>> = Arc::new(script.iter().map(|b| Bytes::from(b.clone())).collect());
    let (next, started) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let mut tasks = Vec::new();
    for _ in 0..CONNECTIONS {
        let (bodies, next) = (bodies.clone(), next.clone());
        let mut connection = Connection::open(process, api).await;
        tasks.push(tokio::spawn(async move {
            let (mut latencies, mut refused) = (Vec::new(), 0);
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (status, took) = connection.post(body.clone()).await;
                latencies.push(took);
                refused += u64::from(status != 200);
            }
            (latencies, refused)
        }));
    }
    let mut sent =
        Sent { alerts: script.len() as u64 * BATCH, refused: 0, took: Duration::ZERO, latencies: Vec::new() };
    for task in tasks {
        let (latencies, refused) = task.await.unwrap();
        sent.latencies.extend(latencies);
        sent.refused += refused;
    }
    sent.took = started.elapsed();
    sent.latencies.sort_unstable();
    sent
}

/// The result of pages among repeats.
pub struct Paged {
    pub rate: f64,
    pub answered: Quantiles,
    pub paged: Quantiles,
    pub lost: u64,
}

/// Repeats 10,000 alerts a second for `time`, with one new alert every 20 ms among them.
pub async fn paced_with_pages(process: &Process, sink: &Sink, time: Duration) -> Paged {
    let (stop, repeated) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let script = bodies::repeats(Api::V2, 5_000, 5_000);
    let background = {
        let (stop, repeated) = (stop.clone(), repeated.clone());
        let mut connection = Connection::open(process, Api::V2).await;
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(1));
            for body in script.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                tick.tick().await;
                connection.post(Bytes::from(body.clone())).await;
                repeated.fetch_add(BATCH, Ordering::Relaxed);
            }
        })
    };
    let mut connection = Connection::open(process, Api::V2).await;
    let (started, mut said, mut answered) = (Instant::now(), Vec::new(), Vec::new());
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while started.elapsed() < time {
        tick.tick().await;
        let at = Instant::now();
        let (_, took) = connection.post(bodies::page(said.len() as u64).into()).await;
        answered.push(took);
        said.push(at);
    }
    let rate = repeated.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    background.await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let arrived = |n: usize| sink.arrived(&format!("service-{}", 900_000_000 + n));
    let mut paged: Vec<_> =
        said.iter().enumerate().filter_map(|(n, at)| Some(arrived(n)?.duration_since(*at))).collect();
    let lost = (said.len() - paged.len()) as u64;
    paged.sort_unstable();
    answered.sort_unstable();
    Paged { rate, answered: quantiles(&answered), paged: quantiles(&paged), lost }
}
