//! Who goes when there are too many connections: the one that has been idle longest.
//!
//! A client that is silent costs a connection, and 10,000 of them cost all that there are. Waiting for
//! them to run into their timeout would keep a page waiting as long.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::sync::Notify;

/// The connections that wait for a request, or for the rest of it. Bounded by the connections.
#[derive(Clone, Default)]
pub(super) struct Crowd(Arc<Mutex<Idle>>);

#[derive(Default)]
struct Idle {
    turn: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// One connection's place in the crowd; given up when dropped.
pub(super) struct Seat {
    crowd: Crowd,
    turn: Mutex<Option<u64>>,
    out: Arc<Notify>,
}

impl Crowd {
    /// A new connection, idle from now on.
    pub(super) fn enter(&self) -> Seat {
        let seat = Seat { crowd: self.clone(), turn: Mutex::default(), out: Arc::default() };
        seat.is_idle();
        seat
    }

    /// Asks the connection that has been idle longest to end; `false` if none is idle.
    pub(super) fn make_room(&self) -> bool {
        match self.lock().waiting.pop_first() {
            Some((_, out)) => {
                out.notify_one();
                true
            }
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// A request is there as a whole: from now on nobody interrupts it.
    pub(super) fn is_busy(&self) {
        if let Some(turn) = self.turn().take() {
            self.crowd.lock().waiting.remove(&turn);
        }
    }

    /// The answer is ready: the connection waits for the next request.
    pub(super) fn is_idle(&self) {
        let mut idle = self.crowd.lock();
        idle.turn += 1;
        let turn = idle.turn;
        idle.waiting.insert(turn, Arc::clone(&self.out));
        drop(idle);
        *self.turn() = Some(turn);
    }

    /// Resolves when the connection is to end.
    pub(super) async fn asked_to_go(&self) {
        self.out.notified().await;
    }

    fn turn(&self) -> MutexGuard<'_, Option<u64>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.is_busy();
    }
}

/// A body on its way. Until it is there as a whole its connection counts as idle: a client that sends a
/// byte now and then costs no more than one that sends nothing.
pub(super) struct Arriving {
    body: Incoming,
    seat: Arc<Seat>,
}

impl Arriving {
    pub(super) fn new(body: Incoming, seat: Arc<Seat>) -> Self {
        let arriving = Arriving { body, seat };
        arriving.look();
        arriving
    }

    fn look(&self) {
        if self.body.is_end_stream() {
            self.seat.is_busy();
        }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match &frame {
            Poll::Ready(None) => self.seat.is_busy(),
            Poll::Ready(Some(_)) => self.look(),
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_idle_goes_and_nobody_who_is_busy() {
        let crowd = Crowd::default();
        let (first, second, third) = (crowd.enter(), crowd.enter(), crowd.enter());
        first.is_busy();
        first.is_idle();
        third.is_busy();
        assert!(crowd.make_room());
        second.asked_to_go().await;
        assert!(crowd.make_room());
        first.asked_to_go().await;
        assert!(!crowd.make_room(), "the third one is busy");
        third.is_idle();
        drop(third);
        assert!(!crowd.make_room(), "who has left is not asked");
    }
}
