//! Opens connections: to allowed addresses only, and through a proxy where one is on the way.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use rustls::ClientConfig;
use tower_service::Service;

use super::addresses::{Blocked, Checked};
use super::proxy::Proxies;
use super::uri::{host, port};
use crate::config::AddressPolicy;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Dialing = Pin<Box<dyn Future<Output = Result<Conn, Error>> + Send>>;

/// Connects to the host of a URL, without TLS to that host.
#[derive(Clone)]
pub(super) struct Dial {
    tcp: HttpConnector<Checked>,
    to_proxy: HttpsConnector<HttpConnector<Checked>>,
    proxies: Arc<Proxies>,
    policy: Arc<AddressPolicy>,
}

impl Dial {
    /// Connects within `patience`. `tls` is for proxies that speak TLS themselves.
    pub(super) fn new(
        policy: &AddressPolicy,
        proxies: Arc<Proxies>,
        tls: ClientConfig,
        patience: Duration,
    ) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Checked::new(policy.clone()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(patience));
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let to_proxy = https.wrap_connector(tcp.clone());
        Dial { tcp, to_proxy, proxies, policy: Arc::new(policy.clone()) }
    }

    /// An address in a URL is not looked up, and so not seen by the resolver.
    fn allows(&self, uri: &Uri) -> Result<(), Error> {
        match host(uri).parse::<IpAddr>() {
            Ok(address) if !self.policy.allows(address) => {
                Err(Blocked { host: host(uri).to_owned(), address }.into())
            }
            _ => Ok(()),
        }
    }

    fn dial(&mut self, to: Uri) -> Result<Dialing, Error> {
        self.allows(&to)?;
        let Some(proxy) = self.proxies.on_the_way_to(&to).cloned() else {
            let dialing = self.tcp.call(to);
            return Ok(Box::pin(async move { Ok(Conn::new(dialing.await?)) }));
        };
        let at = proxy.uri()?.clone();
        self.allows(&at)?;
        let to = with_port(to)?;
        if proxy.is_socks() {
            let mut socks = SocksV5::new(at, self.tcp.clone());
            if let Some((user, password)) = proxy.user_and_password() {
                socks = socks.with_auth(user, password);
            }
            let dialing = socks.call(to);
            return Ok(Box::pin(async move { Ok(Conn::new(dialing.await?)) }));
        }
        if to.scheme_str() == Some("https") {
            let headers = self.proxies.tunnel_headers(&proxy);
            let dialing = Tunnel::new(at, self.to_proxy.clone()).with_headers(headers).call(to);
            return Ok(Box::pin(async move { Ok(Conn::new(dialing.await?)) }));
        }
        let dialing = self.to_proxy.call(at);
        Ok(Box::pin(async move { Ok(Conn { proxied: true, ..Conn::new(dialing.await?) }) }))
    }
}

/// The URL with its port written out: the connectors of proxies take 443 for any that has none.
fn with_port(uri: Uri) -> Result<Uri, Error> {
    let authority = format!("{}:{}", uri.host().unwrap_or_default(), port(&uri));
    let mut parts = uri.into_parts();
    parts.authority = Some(authority.parse()?);
    Ok(Uri::from_parts(parts)?)
}

impl Service<Uri> for Dial {
    type Response = Conn;
    type Error = Error;
    type Future = Dialing;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Dialing {
        self.dial(to).unwrap_or_else(|error| Box::pin(async move { Err(error) }))
    }
}

trait Io: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> Io for T {}

/// A connection, whichever way it took.
pub(super) struct Conn {
    io: Box<dyn Io>,
    /// A proxy passes single requests on, which must name their host.
    proxied: bool,
}

impl Conn {
    fn new(io: impl Io + 'static) -> Self {
        Conn { io: Box::new(io), proxied: false }
    }
}

impl Connection for Conn {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

impl Read for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_read(cx, buf)
    }
}

impl Write for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(cx)
    }
}
