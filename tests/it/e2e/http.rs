//! One request on its own connection.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its head, in lower case.
    pub head: String,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e} in {:?}", self.body))
    }
}

/// `GET path`.
pub async fn get(to: SocketAddr, path: &str) -> io::Result<Answer> {
    // Version 1.0, so that no server answers in chunks.
    send(to, &format!("GET {path} HTTP/1.0\r\nHost: {to}\r\n\r\n"), b"").await
}

/// `POST path` with a JSON body.
pub async fn post(to: SocketAddr, path: &str, body: &[u8]) -> io::Result<Answer> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    send(to, &head, body).await
}

/// A request with this head and this body, as they stand.
pub async fn send(to: SocketAddr, head: &str, body: &[u8]) -> io::Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(head.as_bytes()).await?;
        // A server that refuses a body early need not read it to its end. The answer tells.
        let _ = stream.write_all(body).await;
        let mut raw = Vec::new();
        let read = stream.read_to_end(&mut raw).await;
        let text = String::from_utf8_lossy(&raw);
        let (head, body) = match (text.split_once("\r\n\r\n"), read) {
            (Some(whole), _) => whole,
            (None, Err(error)) => return Err(error),
            (None, Ok(_)) => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not an answer: {head:?}")))?;
        Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
