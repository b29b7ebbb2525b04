//! Requests as they come over a connection, and answers to them, for the servers that tests run.

use tokio::io::{AsyncRead, AsyncReadExt};

/// The head and the body of one request, as they came. `None` if the connection ends before.
pub async fn raw_request(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 65_536]);
    loop {
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&piece[..read]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = header(&head.to_ascii_lowercase(), "content-length").map_or(0, |l| l.parse().unwrap());
        if let Some(body) = bytes.get(end + 4..end + 4 + length) {
            return Some((head, body.to_vec()));
        }
    }
}

/// The same, with a body that is text.
pub async fn request(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> Option<(String, String)> {
    let (head, body) = raw_request(stream).await?;
    Some((head, String::from_utf8_lossy(&body).into_owned()))
}

/// The value of a header. Its name stands in lower case in the head.
pub fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// An answer after which the connection closes. `headers` end in a line break each.
pub fn answer(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}
