//! Connections: how many, how long, and how they end.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Method;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::app::{App, Certificate, Peer};
use super::crowd::{Arriving, Crowd, Seat};
use super::gate::Bounded;
use super::guard::OnLoopback;
use super::limits::HEAD_BYTES;
use super::router::{router, tidied};
use super::unparsed::Explained;
use super::unread::Impatient;
use super::{Gate, ServerLimits};

/// How soon the server looks again for a connection that may go, when all were being served.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The HTTP surface in front of one gate. All its listeners share its bounds.
#[derive(Clone)]
pub struct Server {
    gate: Arc<dyn Gate>,
    service: Router,
    slots: Arc<Semaphore>,
    crowd: Crowd,
    header_timeout: Duration,
    shutdown_timeout: Duration,
    unread_timeout: Duration,
}

/// Serves `gate` on `listener` alone. See [`Server::serve`].
pub async fn serve(
    listener: TcpListener,
    gate: Arc<dyn Gate>,
    limits: ServerLimits,
    shutdown: impl Future<Output = ()>,
) {
    Server::new(gate, limits).serve(listener, shutdown).await;
}

impl Server {
    /// A server of `gate` that listens nowhere yet.
    pub fn new(gate: Arc<dyn Gate>, limits: ServerLimits) -> Server {
        Server {
            gate: Arc::clone(&gate),
            slots: Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS))),
            crowd: Crowd::default(),
            header_timeout: limits.header_timeout,
            shutdown_timeout: limits.shutdown_timeout,
            unread_timeout: limits.unread_timeout,
            service: router(App::new(gate, limits)),
        }
    }

    /// Serves on `listener` until `shutdown` resolves. Then it takes no new connection, gives open requests
    /// [`ServerLimits::shutdown_timeout`] to end, and returns.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                (stream, peer, slot) = self.next(&listener) => {
                    let (server, watcher, seat) = (self.clone(), graceful.watcher(), self.crowd.enter());
                    connections.spawn(async move {
                        tokio::select! {
                            () = server.greet(stream, peer, watcher, &seat) => {}
                            () = seat.asked_to_go() => {
                                tracing::debug!(%peer, "a connection that waited, or was late, made room");
                            }
                        }
                        drop(slot);
                    });
                }
            }
            while connections.try_join_next().is_some() {}
        }
        drop(listener);
        if tokio::time::timeout(self.shutdown_timeout, graceful.shutdown()).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "requests did not end in time: their connections are closed"
            );
        }
        connections.shutdown().await;
    }

    /// The next connection, and a slot for it: if need be that of another, which the crowd chooses.
    /// Errors are waited out: a server that stops accepting because it once ran out of file descriptors
    /// never pages again.
    async fn next(&self, listener: &TcpListener) -> (TcpStream, IpAddr, OwnedSemaphorePermit) {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    // Answers are small and whole: waiting to fill a packet only delays them.
                    let _ = stream.set_nodelay(true);
                    return (stream, address.ip().to_canonical(), self.slot().await);
                }
                Err(e) => {
                    if let Some(pause) = pause_after(&e) {
                        tracing::warn!(error = %e, "cannot accept connections: trying again in {pause:?}");
                        tokio::time::sleep(pause).await;
                    }
                }
            }
        }
    }

    /// A slot, as soon as there is one. While all connections are being served it looks again and again
    /// whether one of them may go by now.
    async fn slot(&self) -> OwnedSemaphorePermit {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return slot;
        }
        loop {
            if self.crowd.make_room() {
                self.gate.crowded();
            }
            let slot = Arc::clone(&self.slots).acquire_owned();
            // Squelch never closes the semaphore.
            if let Ok(Ok(slot)) = tokio::time::timeout(LOOK_AGAIN, slot).await {
                return slot;
            }
        }
    }
}

/// How long to wait after a failed accept. One broken connection is no reason to wait. Any other error (no
/// file descriptors, no memory) would occur again at once, and the loop would spin.
fn pause_after(error: &io::Error) -> Option<Duration> {
    match error.kind() {
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionRefused
        | io::ErrorKind::Interrupted => None,
        _ => Some(Duration::from_secs(1)),
    }
}

/// The two ends of a connection.
struct Ends {
    peer: IpAddr,
    on_loopback: bool,
    certificate: Option<Certificate>,
}

impl Server {
    /// A connection from its handshake on, if there is one, with the current certificate. Open connections
    /// go on with the one that they have.
    async fn greet(&self, stream: TcpStream, peer: IpAddr, watcher: Watcher, seat: &Arc<Seat>) {
        let access = self.gate.access();
        let on_loopback = stream.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
        let mut ends = Ends { peer, on_loopback, certificate: None };
        let Some(tls) = access.tls() else {
            return self.converse(stream, ends, watcher, seat).await;
        };
        let handshake = TlsAcceptor::from(tls).accept(stream);
        let stream = match tokio::time::timeout(self.header_timeout, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => return tracing::debug!(%peer, error = %e, "the TLS handshake failed"),
            Err(_) => return tracing::debug!(%peer, "the TLS handshake did not end in time"),
        };
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        ends.certificate = shown.map(|certificate| Certificate(Arc::new(certificate.clone().into_owned())));
        if ends.certificate.as_ref().is_some_and(|certificate| !access.takes_certificate(&certificate.0)) {
            return tracing::warn!(%peer, "refused: the client's certificate has none of client_allowed_sans");
        }
        self.converse(stream, ends, watcher, seat).await;
    }

    /// One connection, from its first request to its last.
    async fn converse(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        ends: Ends,
        watcher: Watcher,
        seat: &Arc<Seat>,
    ) {
        let ends_peer = ends.peer;
        let routes = TowerToHyperService::new(self.service.clone());
        let seated = Arc::clone(seat);
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            // The links of a page are relative to the requested address, unchanged. No API has links.
            let page = matches!(*request.method(), Method::GET | Method::HEAD);
            if (!page || request.uri().path().contains("/api/"))
                && let Some(uri) = tidied(request.uri())
            {
                *request.uri_mut() = uri;
            }
            request.extensions_mut().insert(Peer(ends.peer));
            request.extensions_mut().insert(OnLoopback(ends.on_loopback));
            request.extensions_mut().insert(Arc::clone(&seated));
            if let Some(certificate) = &ends.certificate {
                request.extensions_mut().insert(certificate.clone());
            }
            let request = request.map(|body| Arriving::new(body, Arc::clone(&seated)));
            let (answer, seated) = (routes.call(request), Arc::clone(&seated));
            async move {
                let answer = answer.await;
                seated.is_idle();
                answer
            }
        });
        let gate = Arc::clone(&self.gate);
        let stream = Explained::new(stream);
        let stream = Impatient::new(stream, self.unread_timeout, move || gate.bounded(Bounded::Unread));
        // hyper's own builder: hyper-util's automatic one waits for ever for a silent client's first byte,
        // and without a timer so does this one.
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let connection = watcher.watch(connection);
        if let Err(e) = connection.await {
            tracing::debug!(peer = %ends_peer, error = %e, "connection ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_only_where_trying_again_at_once_would_spin() {
        let too_many_files = io::Error::from_raw_os_error(24);
        assert!(pause_after(&too_many_files).is_some());
        assert!(pause_after(&io::ErrorKind::ConnectionAborted.into()).is_none());
    }
}
