//! A connection to a mail server, which TLS may begin on at any time.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use lettre::transport::smtp::client::AsyncTokioStream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// One connection, of which several parts of the program hold the same.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    inner: Arc<Mutex<Inner>>,
    /// The next command says HELO in place of EHLO.
    helo: bool,
}

#[derive(Debug)]
enum Inner {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake of TLS has it, or lost it.
    Gone,
}

impl Stream {
    /// With `helo`, the client greets the server by HELO. lettre knows EHLO alone.
    pub(super) fn new(tcp: TcpStream, helo: bool) -> Self {
        Stream { inner: Arc::new(Mutex::new(Inner::Plain(tcp))), helo }
    }

    /// Begins TLS on the connection.
    pub(super) async fn secure(
        &self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<()> {
        let Inner::Plain(tcp) = self.swap(Inner::Gone) else { return Err(gone()) };
        let tls = TlsConnector::from(config).connect(name, tcp).await?;
        self.swap(Inner::Tls(Box::new(tls)));
        Ok(())
    }

    fn swap(&self, new: Inner) -> Inner {
        std::mem::replace(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner), new)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn gone() -> io::Error {
    io::Error::from(io::ErrorKind::NotConnected)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|inner| match inner {
            // One byte each time: nothing that came in the clear may wait in a buffer and count as said
            // under TLS (CVE-2011-0411).
            Inner::Plain(tcp) => {
                let mut byte = [0];
                let mut one = ReadBuf::new(&mut byte);
                let read = Pin::new(tcp).poll_read(cx, &mut one);
                if matches!(read, Poll::Ready(Ok(()))) {
                    buf.put_slice(one.filled());
                }
                read
            }
            Inner::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
            Inner::Gone => Poll::Ready(Err(gone())),
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let greeting = buf.strip_prefix(b"EHLO").filter(|_| self.helo);
        let greeting = greeting.map(|name| [&b"HELO"[..], name].concat());
        let buf = greeting.as_deref().unwrap_or(buf);
        let written = self.with(|inner| match inner {
            Inner::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Inner::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
            Inner::Gone => Poll::Ready(Err(gone())),
        });
        self.helo &= written.is_pending();
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|inner| match inner {
            Inner::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Inner::Tls(tls) => Pin::new(tls).poll_flush(cx),
            Inner::Gone => Poll::Ready(Err(gone())),
        })
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|inner| match inner {
            Inner::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Inner::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            Inner::Gone => Poll::Ready(Ok(())),
        })
    }
}

impl AsyncTokioStream for Stream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.with(|inner| match inner {
            Inner::Plain(tcp) => tcp.peer_addr(),
            Inner::Tls(tls) => tls.get_ref().0.peer_addr(),
            Inner::Gone => Err(gone()),
        })
    }
}
