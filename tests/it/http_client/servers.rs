//! Servers on this machine: HTTP with and without TLS, proxies, and an authority that signs for them.

use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::wire::{answer, request};

/// A server on a port of its own.
pub struct Server {
    pub port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// A server that answers each request by `answers`.
    pub async fn start(
        tls: Option<TlsAcceptor>,
        answers: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Server {
        Server::run(tls, move |_, request| answers(request)).await
    }

    /// The same, which knows how many requests there were, this one included.
    pub async fn counting(answers: impl Fn(usize, &str) -> String + Send + Sync + 'static) -> Server {
        Server::run(None, answers).await
    }

    async fn run(
        tls: Option<TlsAcceptor>,
        answers: impl Fn(usize, &str) -> String + Send + Sync + 'static,
    ) -> Server {
        let (listener, server) = listen().await;
        let (seen, answers) = (server.seen.clone(), Arc::new(answers));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (tls, seen, answers) = (tls.clone(), seen.clone(), answers.clone());
                tokio::spawn(async move {
                    let mut stream: Box<dyn Both> = match tls {
                        // A client that does not trust the server ends the handshake.
                        Some(tls) => match tls.accept(tcp).await {
                            Ok(stream) => Box::new(stream),
                            Err(_) => return,
                        },
                        None => Box::new(tcp),
                    };
                    let Some(request) = request(&mut stream).await else { return };
                    let lower = lower(&request);
                    let n = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(lower.clone());
                        seen.len()
                    };
                    let answer = answers(n, &lower);
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        server
    }

    /// The requests so far, in small letters.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn listen() -> (TcpListener, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, Server { port, seen: Arc::default() })
}

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

/// A request in small letters, but for its body.
fn lower((head, body): &(String, String)) -> String {
    format!("{}\r\n\r\n{body}", head.to_ascii_lowercase())
}

/// An HTTP proxy that knows every name as this machine, and asks for this `Proxy-Authorization` if it is not
/// empty.
pub async fn http_proxy(authorization: &'static str) -> Server {
    let (listener, server) = listen().await;
    let seen = server.seen.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                let Some(request) = request(&mut client).await else { return };
                let text = format!("{}\r\n\r\n{}", request.0, request.1);
                if !authorization.is_empty()
                    && !text.to_ascii_lowercase().contains(&format!(
                        "\r\nproxy-authorization: {}\r\n",
                        authorization.to_ascii_lowercase()
                    ))
                {
                    let _ = client.write_all(answer(407, "", "").as_bytes()).await;
                    return;
                }
                seen.lock().unwrap().push(lower(&request));
                let target = text.split(' ').nth(1).unwrap();
                let target = target.trim_start_matches("http://");
                let port: u16 =
                    target.split('/').next().unwrap().rsplit(':').next().unwrap().parse().unwrap();
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                if text.starts_with("CONNECT") {
                    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                } else {
                    server.write_all(text.as_bytes()).await.unwrap();
                }
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    server
}

/// A SOCKS5 proxy that asks for a user and a password (RFC 1928, RFC 1929).
pub async fn socks_proxy() -> Server {
    let (listener, server) = listen().await;
    let seen = server.seen.clone();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let methods = pair(&mut client).await.1;
        assert!(methods.contains(&2));
        client.write_all(&[5, 2]).await.unwrap();
        let user = pair(&mut client).await.1;
        let password = text(&mut client).await;
        client.write_all(&[1, 0]).await.unwrap();
        let mut command = [0; 4];
        client.read_exact(&mut command).await.unwrap();
        assert_eq!(command, [5, 1, 0, 3], "a connection to a name");
        let host = text(&mut client).await;
        let port = client.read_u16().await.unwrap();
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        let user = String::from_utf8(user).unwrap();
        seen.lock().unwrap().push(format!("{user} {password} {host}:{port}"));
        let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    });
    server
}

/// A byte, and bytes with their number before them.
async fn pair(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let first = stream.read_u8().await.unwrap();
    let mut bytes = vec![0; usize::from(stream.read_u8().await.unwrap())];
    stream.read_exact(&mut bytes).await.unwrap();
    (first, bytes)
}

async fn text(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; usize::from(stream.read_u8().await.unwrap())];
    stream.read_exact(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Signs certificates of servers and of clients.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// TLS of a server of this name, which asks for client certificates that `clients` signed.
    pub fn acceptor(&self, name: &str, clients: Option<&Authority>) -> TlsAcceptor {
        TlsAcceptor::from(Arc::new(self.accepts(name, clients, rustls::ALL_VERSIONS)))
    }

    /// The same for a server that speaks HTTP/2 only.
    pub fn http2_acceptor(&self, name: &str) -> TlsAcceptor {
        let mut config = self.accepts(name, None, rustls::ALL_VERSIONS);
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// The same for a server that speaks TLS 1.2 only.
    pub fn old_acceptor(&self, name: &str) -> TlsAcceptor {
        TlsAcceptor::from(Arc::new(self.accepts(name, None, &[&rustls::version::TLS12])))
    }

    fn accepts(
        &self,
        name: &str,
        clients: Option<&Authority>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ServerConfig {
        let (certificate, key) = self.sign(name);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(versions).unwrap();
        let builder = match clients {
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.0.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        builder.with_single_cert(vec![certificate.der().clone()], key).unwrap()
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// The certificate of the authority.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", self.0.der())
    }

    /// The certificate and the key of a client.
    pub fn client(&self) -> (String, String) {
        let (certificate, key) = self.sign("client.test");
        (pem("CERTIFICATE", certificate.der()), pem("PRIVATE KEY", &key.serialize_der()))
    }

    pub fn write_ca(&self, folder: &Path) {
        std::fs::write(folder.join("ca.pem"), self.pem()).unwrap();
    }

    pub fn write_client(&self, folder: &Path) {
        let (certificate, key) = self.client();
        std::fs::write(folder.join("c.pem"), certificate).unwrap();
        std::fs::write(folder.join("k.pem"), key).unwrap();
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}
