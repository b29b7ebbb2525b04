//! A receiver that remembers each notification with its time.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

/// Takes webhooks on a free port until it is dropped.
pub struct Sink {
    pub address: SocketAddr,
    seen: Seen,
    serving: tokio::task::JoinHandle<()>,
}

type Seen = Arc<Mutex<BTreeMap<String, Instant>>>;

impl Sink {
    pub async fn start() -> Sink {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let kept = seen.clone();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let seen = kept.clone();
                let service = service_fn(move |request| take(request, seen.clone()));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        Sink { address, seen, serving }
    }

    /// When a page of `service` arrived first.
    pub fn arrived(&self, service: &str) -> Option<Instant> {
        self.seen.lock().unwrap().get(service).copied()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(request: Request<Incoming>, seen: Seen) -> Result<Response<Empty<Bytes>>, Infallible> {
    let now = Instant::now();
    let body = request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    if let Ok(message) = serde_json::from_slice::<serde_json::Value>(&body)
        && let Some(service) = message["groupLabels"]["service"].as_str()
    {
        seen.lock().unwrap().entry(service.to_owned()).or_insert(now);
    }
    Ok(Response::new(Empty::new()))
}
