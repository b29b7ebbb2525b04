//! Connections that wait, and which of them ends when there are too many.
//!
//! A client that is silent costs a connection, and 10,000 of them cost all that there are. Squelch does not
//! wait until they run into their timeout, because a page would wait as long.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::sync::Notify;

/// The connections that may end: those that wait for a request or for the rest of it, and those whose
/// request is not admitted yet. Bounded by the connections.
#[derive(Clone, Default)]
pub(super) struct Crowd(Arc<Mutex<Idle>>);

#[derive(Default)]
struct Idle {
    turn: u64,
    /// Connections whose last login failed, or is not decided yet. They end before all others.
    suspects: BTreeMap<u64, Arc<Notify>>,
    others: BTreeMap<u64, Arc<Notify>>,
}

/// One connection's place in the crowd. A drop gives it up.
pub(super) struct Seat {
    crowd: Crowd,
    state: Mutex<State>,
    out: Arc<Notify>,
}

#[derive(Default)]
struct State {
    /// Its key among those that may end. `None` while it is served.
    turn: Option<u64>,
    /// The request is there as a whole.
    arrived: bool,
    /// Its sender may send it, and there is room to serve it.
    admitted: bool,
}

impl Crowd {
    /// A new connection, idle from now on.
    pub(super) fn enter(&self) -> Arc<Seat> {
        let seat = Seat { crowd: self.clone(), state: Mutex::default(), out: Arc::default() };
        seat.is_idle();
        Arc::new(seat)
    }

    /// Asks one connection to end: the one that has been suspect longest, else the one that has been idle
    /// longest. `false` if all are being served.
    pub(super) fn make_room(&self) -> bool {
        let mut idle = self.lock();
        let Some((_, out)) = idle.suspects.pop_first().or_else(|| idle.others.pop_first()) else {
            return false;
        };
        out.notify_one();
        true
    }

    /// A place behind all others that wait.
    fn wait(&self, out: &Arc<Notify>) -> u64 {
        let mut idle = self.lock();
        idle.turn += 1;
        let turn = idle.turn;
        idle.others.insert(turn, Arc::clone(out));
        turn
    }

    fn leave(&self, turn: u64) {
        let mut idle = self.lock();
        let Idle { suspects, others, .. } = &mut *idle;
        others.remove(&turn).or_else(|| suspects.remove(&turn));
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The request is there as a whole.
    fn has_arrived(&self) {
        let mut state = self.state();
        state.arrived = true;
        self.settle(&mut state);
    }

    /// The request may be served. Once it has arrived as a whole too, no other connection takes its place.
    pub(super) fn is_admitted(&self) {
        let mut state = self.state();
        state.admitted = true;
        self.settle(&mut state);
    }

    fn settle(&self, state: &mut State) {
        if state.arrived
            && state.admitted
            && let Some(turn) = state.turn.take()
        {
            self.crowd.leave(turn);
        }
    }

    /// The sender of the request is not known yet, and the check takes time.
    pub(super) fn is_suspect(&self) {
        let Some(turn) = self.state().turn else { return };
        let mut idle = self.crowd.lock();
        if let Some(out) = idle.others.remove(&turn) {
            idle.suspects.insert(turn, out);
        }
    }

    /// The answer is ready: the connection waits for the next request. One whose request was not admitted
    /// keeps its place, so it ends before those that were served since.
    pub(super) fn is_idle(&self) {
        let mut state = self.state();
        let turn = state.turn.unwrap_or_else(|| self.crowd.wait(&self.out));
        *state = State { turn: Some(turn), ..State::default() };
    }

    /// Asks this connection to end.
    pub(super) fn go(&self) {
        self.out.notify_one();
    }

    /// Resolves when the connection is to end.
    pub(super) async fn asked_to_go(&self) {
        self.out.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(turn) = self.state().turn.take() {
            self.crowd.leave(turn);
        }
    }
}

/// A body on its way. Until it has arrived as a whole its connection counts as idle. A client that sends a
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
            self.seat.has_arrived();
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
            Poll::Ready(None) => self.seat.has_arrived(),
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

    fn is_busy(seat: &Seat) {
        seat.has_arrived();
        seat.is_admitted();
    }

    #[tokio::test]
    async fn the_longest_idle_goes_and_nobody_who_is_busy() {
        let crowd = Crowd::default();
        let (first, second, third) = (crowd.enter(), crowd.enter(), crowd.enter());
        is_busy(&first);
        first.is_idle();
        is_busy(&third);
        assert!(crowd.make_room());
        second.asked_to_go().await;
        assert!(crowd.make_room());
        first.asked_to_go().await;
        assert!(!crowd.make_room(), "the third one is busy");
        third.is_idle();
        drop(third);
        assert!(!crowd.make_room(), "a connection that has ended is not asked");
    }

    #[tokio::test]
    async fn a_request_that_is_not_admitted_makes_room_and_a_failed_login_does_so_first() {
        let crowd = Crowd::default();
        let (idle, waits, half) = (crowd.enter(), crowd.enter(), crowd.enter());
        waits.has_arrived();
        waits.is_suspect();
        half.is_admitted();
        assert!(crowd.make_room());
        waits.asked_to_go().await;
        assert!(crowd.make_room());
        idle.asked_to_go().await;
        assert!(crowd.make_room(), "its body has not come");
        half.asked_to_go().await;

        let (served, suspect) = (crowd.enter(), crowd.enter());
        suspect.has_arrived();
        suspect.is_suspect();
        suspect.is_idle();
        is_busy(&served);
        served.is_idle();
        assert!(crowd.make_room());
        suspect.asked_to_go().await;
        is_busy(&served);
        assert!(!crowd.make_room());
    }
}
