//! A server that takes any request, answers as a test says, and keeps the requests. It is also a proxy:
//! behind `CONNECT` it speaks TLS as the requested host.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::wire;

/// Headers that belong to the connection, the program or the moment, and not to the message.
const OWN: [&str; 6] =
    ["user-agent", "host", "content-length", "accept-encoding", "connection", "x-amz-date"];

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path with the query.
    pub path: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answered {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Answered {
    /// An answer in JSON.
    pub fn json(status: u16, body: impl ToString) -> Answered {
        Answered::text(status, "application/json", body)
    }

    /// An answer of another type.
    pub fn text(status: u16, kind: &str, body: impl ToString) -> Answered {
        Answered { status, headers: vec![("Content-Type", kind.to_owned())], body: body.to_string() }
    }

    /// The same with one more header.
    pub fn header(mut self, name: &'static str, value: impl ToString) -> Answered {
        self.headers.push((name, value.to_string()));
        self
    }
}

type Answers = Arc<dyn Fn(&Request) -> Answered + Send + Sync>;

/// See the module.
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    authority: Arc<CertifiedIssuer<'static, KeyPair>>,
    came: Arc<Mutex<Vec<Value>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Sink {
    /// Starts one on a free port.
    pub async fn start(answer: impl Fn(&Request) -> Answered + Send + Sync + 'static) -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let (authority, came) = (Arc::new(authority), Arc::<Mutex<Vec<Value>>>::default());
        let (issuer, kept) = (authority.clone(), came.clone());
        let answer: Answers = Arc::new(answer);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (issuer, kept, answer) = (issuer.clone(), kept.clone(), answer.clone());
                tokio::spawn(async move {
                    // A connection that breaks shows as a request that never comes.
                    let _ = serve(stream, &answer, &issuer, address, &kept).await;
                });
            }
        });
        Sink { address, authority, came, task }
    }

    /// The certificate of the authority that signs for every host, as PEM.
    pub fn authority(&self) -> String {
        self.authority.pem()
    }

    /// Its URL with this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many requests came.
    pub fn count(&self) -> usize {
        self.came.lock().unwrap().len()
    }

    /// The requests, in the order of their arrival.
    pub fn requests(&self) -> Vec<Value> {
        self.came.lock().unwrap().clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &Answers,
    issuer: &CertifiedIssuer<'static, KeyPair>,
    address: SocketAddr,
    kept: &Mutex<Vec<Value>>,
) -> std::io::Result<()> {
    let Some(request) = read(&mut stream).await else { return Ok(()) };
    if request.method == "CONNECT" {
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        let host = request.path.split(':').next().unwrap_or_default().to_owned();
        let mut inner = acceptor(issuer, &host).accept(stream).await?;
        let Some(request) = read(&mut inner).await else { return Ok(()) };
        let request = Request { path: format!("https://{host}{}", request.path), ..request };
        return take(&mut inner, &request, answer, address, kept).await;
    }
    take(&mut stream, &request, answer, address, kept).await
}

async fn take(
    stream: &mut (impl AsyncWrite + Unpin),
    request: &Request,
    answer: &Answers,
    address: SocketAddr,
    kept: &Mutex<Vec<Value>>,
) -> std::io::Result<()> {
    let Answered { status, headers, body } = answer(request);
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    // It counts only once it is there as a whole.
    kept.lock().unwrap().push(described(request, address));
    stream.write_all(wire::answer(status, &headers, &body).as_bytes()).await?;
    stream.shutdown().await
}

fn acceptor(issuer: &CertifiedIssuer<'static, KeyPair>, host: &str) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(server))
}

/// The next request of a connection. `None` at its end.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let (head, body) = wire::request(stream).await?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Request { method, path, headers, body })
}

/// The request as a value that a test compares.
fn described(request: &Request, address: SocketAddr) -> Value {
    let place = |text: &str| text.replace(&address.to_string(), "SINK");
    let headers: Map<String, Value> = request
        .headers
        .iter()
        .filter(|(name, _)| !OWN.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), json!(place(value))))
        .collect();
    let kind = request.headers.iter().find(|(name, _)| name == "content-type").map_or("", |(_, kind)| kind);
    let text = place(&request.body);
    let body = match kind.split(';').next().unwrap_or_default() {
        "application/json" => serde_json::from_str(&text).unwrap_or_else(|_| json!(text)),
        "application/x-www-form-urlencoded" => form(&text),
        _ => json!(text),
    };
    let path = place(&request.path);
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    json!({"method": request.method, "path": path, "query": form(query), "headers": headers, "body": body})
}

/// Names and values of a form or a query.
pub fn form(text: &str) -> Value {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (plain(name), json!(plain(value)))
    };
    Value::Object(pairs.map(pair).collect())
}

fn plain(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut i) = (Vec::new(), 0);
    while i < bytes.len() {
        let hex = text.get(i + 1..i + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[i], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 3;
                continue;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}
