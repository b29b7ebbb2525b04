//! A connection whose client does not read ends.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream to a client that must read within a time whenever there is data to read.
pub(super) struct Impatient<S, F> {
    stream: S,
    limit: Duration,
    /// Called when the client is given up.
    given_up: F,
    /// Ends when the client has taken nothing for the limit. `None` while the client takes all.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S, F: Fn()> Impatient<S, F> {
    pub(super) fn new(stream: S, limit: Duration, given_up: F) -> Self {
        Impatient { stream, limit, given_up, stalled: None }
    }

    /// `poll`, unless it has been pending for longer than the limit.
    fn within<T>(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stalled.as_mut().poll(context));
        self.stalled = None;
        (self.given_up)();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its answer")))
    }
}

impl<S: AsyncRead + Unpin, F: Unpin> AsyncRead for Impatient<S, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin, F: Fn() + Unpin> AsyncWrite for Impatient<S, F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.within(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.within(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.within(context, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(context);
        self.within(context, poll)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_let_go_and_one_that_takes_some_is_not() {
        let (given_up, limit) = (Arc::<AtomicU64>::default(), Duration::from_millis(50));
        let (ours, mut theirs) = tokio::io::duplex(64);
        let count = Arc::clone(&given_up);
        let mut ours = Impatient::new(ours, limit, move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        ours.write_all(&[7; 64]).await.unwrap();
        assert!(is_full(&mut ours) && ours.stalled.is_some());
        theirs.read_exact(&mut [0; 8]).await.unwrap();
        ours.write_all(&[7; 8]).await.unwrap();
        assert!(ours.stalled.is_none(), "it took something: the time begins anew");
        let ended = ours.write_all(&[7; 8]).await;
        assert_eq!(ended.map_err(|e| e.kind()), Err(io::ErrorKind::TimedOut));
        assert_eq!(given_up.load(Ordering::Relaxed), 1);
    }

    /// Whether nothing can be written now.
    fn is_full(stream: &mut (impl AsyncWrite + Unpin)) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        Pin::new(stream).poll_write(&mut context, &[7]).is_pending()
    }
}
