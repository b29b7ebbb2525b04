//! Requests that nothing here serves.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::Method;
use axum::response::Response;

use super::app::App;
use super::body::ArrivedBody;
use super::receive;
use crate::ingest::{InvalidReason, states_alerts};
use crate::model::Source;

/// Marks the answer to a request that nothing here serves.
#[derive(Clone, Copy)]
pub(super) struct Unserved;

/// The answer to such a request.
pub(super) async fn unserved(app: &App, peer: IpAddr, request: Request, mut response: Response) -> Response {
    misdirected(app, peer, request).await;
    response.extensions_mut().insert(Unserved);
    response
}

/// Notes a request that came to a path or with a method that is not served. If it brought alerts they are
/// lost, and its sender does not read the answer: they count like other input that is refused.
pub(super) async fn misdirected(app: &App, peer: IpAddr, request: Request) {
    let (parts, body) = request.into_parts();
    let (method, path) = (&parts.method, parts.uri.path());
    if matches!(*method, Method::POST | Method::PUT) {
        let arrived = app.read(&parts.headers, body).await;
        let now = app.gate.wall();
        if let Ok(ArrivedBody { bytes, share }) = arrived {
            let sent = bytes.clone();
            let states = move || {
                let states = states_alerts(&sent, now);
                drop(share);
                states
            };
            if receive::read(bytes.len(), states).await.unwrap_or(false) {
                let list = bytes.trim_ascii_start().starts_with(b"[");
                let source = if list { Source::Prometheus } else { Source::Alertmanager };
                app.gate.rejected(source, InvalidReason::WrongPath);
                return app.refusals.log_misdirected_alerts(source, peer, method, path, &app.way());
            }
        }
    }
    app.refusals.log_unserved(peer, method, path);
}
