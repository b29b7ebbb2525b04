//! The physical limit: an HTTP server that reads the bodies into plain structures, and forgets them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

/// The argument that makes this program the server.
pub const COMMAND: &str = "--serve-the-limit";

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "read and forgotten: that is what is measured")]
struct Alert {
    #[serde(default)]
    status: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
}

#[derive(serde::Deserialize)]
struct Message {
    alerts: Vec<Alert>,
}

/// Serves until it is killed, on the address given after [`COMMAND`].
pub fn serve() {
    let address: SocketAddr = std::env::args().nth(2).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(read));
            tokio::spawn(async move { drop(connection.await) });
        }
    });
}

async fn read(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let alerts = match body.first() {
        Some(b'[') => serde_json::from_slice::<Vec<Alert>>(&body).unwrap(),
        Some(_) => serde_json::from_slice::<Message>(&body).unwrap().alerts,
        None => Vec::new(),
    };
    std::hint::black_box(&alerts);
    Ok(Response::new(Empty::new()))
}
