//! Bounds for requests that read and change: how many run at once, and the memory that answers hold until
//! they are read.
//!
//! Alerts that come in and the health endpoints pass all of this by.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use super::ServerLimits;
use super::crowd::Seat;
use super::gate::{Bounded, Gate};
use super::problem::Problem;

/// Requests of each kind that are served at once. A request holds the data that it reads and its answer.
const AT_ONCE: usize = 6;
/// Requests of each kind that wait for that. More are refused at once.
const WAITING: usize = 64;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a ready answer waits for memory. It holds its turn meanwhile.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// How long a client may take for its whole answer.
const READ_WITHIN: Duration = Duration::from_secs(60);
/// An answer of so many bytes is not counted: as many as there are connections of them are no load.
const SMALL: usize = 4 << 10;
/// Bytes for which one permit stands.
const UNIT: usize = 1 << 10;
/// Bytes that go to a connection at a time.
const PIECE: usize = 64 << 10;

/// The requests under way.
#[derive(Clone)]
pub(super) struct Outgoing {
    scrapes: Turns,
    reads: Turns,
    changes: Turns,
    bytes: Arc<Semaphore>,
    all: u32,
}

/// Requests of one kind: those under way, and those that wait.
#[derive(Clone)]
struct Turns {
    served: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// A request's turn. A drop ends it.
pub(super) struct Turn(#[expect(dead_code, reason = "it is held, and no more")] OwnedSemaphorePermit);

impl Turns {
    fn new() -> Turns {
        Turns { served: Arc::new(Semaphore::new(AT_ONCE)), waiting: Arc::new(Semaphore::new(WAITING)) }
    }

    async fn take(&self) -> Option<Turn> {
        if let Ok(turn) = Arc::clone(&self.served).try_acquire_owned() {
            return Some(Turn(turn));
        }
        let _waits = self.waiting.try_acquire().ok()?;
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.served).acquire_owned()).await;
        turn.ok()?.ok().map(Turn)
    }
}

impl Outgoing {
    pub(super) fn new(limits: &ServerLimits) -> Outgoing {
        let all = u32::try_from(limits.unread_answers_bytes / UNIT).unwrap_or(u32::MAX >> 4).max(1);
        Outgoing {
            scrapes: Turns::new(),
            reads: Turns::new(),
            changes: Turns::new(),
            bytes: Arc::new(Semaphore::new(all as usize)),
            all,
        }
    }

    /// A turn to answer a question, or why there is none. Metrics have turns of their own.
    pub(super) async fn question(&self, path: &str, gate: &dyn Gate) -> Result<Turn, Problem> {
        Self::take(if path == "/metrics" { &self.scrapes } else { &self.reads }, gate).await
    }

    /// A turn to make a silence, whose expressions take memory while they are compiled.
    pub(super) async fn change(&self, gate: &dyn Gate) -> Result<Turn, Problem> {
        Self::take(&self.changes, gate).await
    }

    async fn take(turns: &Turns, gate: &dyn Gate) -> Result<Turn, Problem> {
        if let Some(turn) = turns.take().await {
            return Ok(turn);
        }
        gate.bounded(Bounded::Requests);
        Err(Problem::unavailable(format!(
            "{AT_ONCE} such requests are being served and others wait, which is the limit: try again"
        )))
    }

    /// The answer, with the memory that it holds until its client has read it or is gone. Its turn ends
    /// here.
    pub(super) async fn hold(
        &self,
        response: Response,
        turn: Option<Turn>,
        seat: Option<Arc<Seat>>,
        gate: &Arc<dyn Gate>,
    ) -> Response {
        let (parts, body) = response.into_parts();
        let Ok(body) = body.collect().await else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let bytes = body.to_bytes();
        if bytes.len() <= SMALL {
            return Response::from_parts(parts, Body::from(bytes));
        }
        let units = u32::try_from(bytes.len().div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.all);
        let wanted = Arc::clone(&self.bytes).acquire_many_owned(units);
        let Ok(Ok(share)) = tokio::time::timeout(ANSWER_PATIENCE, wanted).await else {
            gate.bounded(Bounded::Answers);
            let detail = "answers that clients have not read yet hold all the memory for answers: try again, or \
                          ask for less";
            return Problem::unavailable(detail).into_response();
        };
        drop(turn);
        let late = seat.map(|seat| {
            let gate = Arc::clone(gate);
            let late = tokio::spawn(async move {
                tokio::time::sleep(READ_WITHIN).await;
                gate.bounded(Bounded::Unread);
                seat.go();
            });
            late.abort_handle()
        });
        let body = Pieces(Bytes::from_owner(Unread { bytes, _share: share, late }));
        let mut response = Response::from_parts(parts, Body::new(body));
        // hyper leaves out headers that are not set.
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response
    }
}

/// An answer that is held until all of it has left.
struct Unread {
    bytes: Bytes,
    _share: OwnedSemaphorePermit,
    late: Option<AbortHandle>,
}

impl AsRef<[u8]> for Unread {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let Some(late) = &self.late {
            late.abort();
        }
    }
}

/// A body that leaves in pieces, so that a connection never copies all of it.
struct Pieces(Bytes);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = self.0.len().min(PIECE);
        Poll::Ready((next > 0).then(|| Ok(Frame::data(self.0.split_to(next)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_are_served_so_many_wait_and_the_rest_is_refused_at_once() {
        let turns = Turns::new();
        let mut served = Vec::new();
        for _ in 0..AT_ONCE {
            served.push(turns.take().await.unwrap());
        }
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let turns = turns.clone();
                tokio::spawn(async move { turns.take().await.is_some() })
            })
            .collect();
        // A runtime polls some of the tasks each time.
        while turns.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = std::pin::pin!(turns.take());
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(matches!(refused.poll(&mut context), Poll::Ready(None)), "it does not even wait");
        drop(served);
        for turn in waiting {
            assert!(turn.await.unwrap());
        }
        assert!(turns.take().await.is_some());
    }
}
