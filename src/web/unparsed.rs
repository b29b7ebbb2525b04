//! The answers of hyper itself to a request that it cannot read. They have no body, so Squelch writes
//! answers with the reason in their place.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::problem::Problem;

/// A stream on which each refusal of hyper has a reason.
pub(super) struct Explained<S> {
    stream: S,
    /// The end of an answer in place of one of hyper.
    rest: Vec<u8>,
}

impl<S> Explained<S> {
    pub(super) fn new(stream: S) -> Self {
        Explained { stream, rest: Vec::new() }
    }
}

/// The answer in place of `answer`, if `answer` is one of hyper itself. Each answer of a handler has further
/// headers, so none begins like this.
fn explained(answer: &[u8]) -> Option<Vec<u8>> {
    let line = answer.get(..answer.windows(2).position(|end| end == b"\r\n")?)?;
    let headers = &answer[line.len()..];
    if !headers.starts_with(b"\r\nconnection: close\r\ncontent-length: 0\r\n") {
        return None;
    }
    let (_, status) = str::from_utf8(line).ok()?.split_once(' ')?;
    let (status, detail) = match status.split(' ').next()? {
        "400" => (
            StatusCode::BAD_REQUEST,
            "Squelch cannot read the first line or a header of the request. Write each blank and each of the \
             characters \", < and > percent-encoded in an address: %20, %22, %3C and %3E. With curl, use -G \
             and --data-urlencode",
        ),
        "414" => (StatusCode::URI_TOO_LONG, "the address is longer than 64 KiB"),
        "431" => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "the address and the headers have more than 32 KiB, or there are more than 100 headers. Shorten \
             the address, or send fewer headers",
        ),
        _ => return None,
    };
    let body = Problem::new(status, detail).body();
    let head = format!(
        "\r\nconnection: close\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    Some([line, head.as_bytes(), body.as_bytes()].concat())
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            match explained(bytes) {
                None => return Pin::new(&mut this.stream).poll_write(context, bytes),
                Some(answer) => this.rest = answer,
            }
        }
        while !this.rest.is_empty() {
            let written = ready!(Pin::new(&mut this.stream).poll_write(context, &this.rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.rest.drain(..written);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices {
            [first] => self.poll_write(context, first),
            slices => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const BY_HYPER: &[u8] =
        b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";

    #[tokio::test]
    async fn a_slow_client_gets_the_whole_reason_once() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let written = tokio::spawn(async move { Explained::new(ours).write_all(BY_HYPER).await });
        let mut answer = String::new();
        theirs.read_to_string(&mut answer).await.unwrap();
        written.await.unwrap().unwrap();
        assert_eq!(answer.as_bytes(), explained(BY_HYPER).unwrap());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    }

    #[test]
    fn answers_of_handlers_stay() {
        assert!(explained(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").is_none());
        assert!(
            explained(b"HTTP/1.1 404 Not Found\r\nx-frame-options: DENY\r\ncontent-length: 0\r\n\r\n")
                .is_none()
        );
        assert!(explained(b"HTTP/1.1 400 Bad").is_none());
    }
}
