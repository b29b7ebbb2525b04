//! The driver: hands the past to the engine as a server would have, and lets time pass between.

use std::collections::VecDeque;

use super::Past;
use crate::config::Policy;
use crate::engine::{Effects, Engine, Event, Stats};
use crate::model::{Duration, Notification, Outcome, Report, Timestamp};

/// How long after the last event time goes on, so that holds and windows end.
pub const AFTER: Duration = Duration::from_hours(6);

/// An engine that runs through a history. Every notification counts as accepted at once, since a backtest
/// measures decisions and not deliveries.
pub struct Replay {
    engine: Engine,
    effects: Effects,
    span: Option<(Timestamp, Timestamp)>,
    late: u64,
}

/// The result of a replay.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// The times of the first and the last event. `None` if there was no event.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Events that stood after later ones. The engine took them at the time of those.
    pub late: u64,
    /// The engine's counters at the end.
    pub stats: Stats,
}

impl Replay {
    /// A replay under `policy`. Time starts with the first event.
    pub fn new(policy: &Policy) -> Self {
        let engine = Engine::new(policy.clone());
        Replay { engine, effects: Effects::default(), span: None, late: 0 }
    }

    /// Lets time pass until `past`, stopping at each deadline on the way, and hands it in. `sink`
    /// is given every notification, in order.
    pub fn feed(&mut self, past: &Past, sink: &mut impl FnMut(&Notification)) {
        let at = match &mut self.span {
            None => {
                self.span = Some((past.at, past.at));
                past.at
            }
            Some((_, last)) => {
                self.late += u64::from(past.at < *last);
                *last = (*last).max(past.at);
                *last
            }
        };
        self.pass(at, sink, |_| false);
        self.handle(at, &past.event, sink);
    }

    /// Lets [`AFTER`] go by, or less if nothing is open before that.
    pub fn finish(mut self, sink: &mut impl FnMut(&Notification)) -> Replayed {
        if let Some((_, last)) = self.span
            && !quiet(&self.engine)
        {
            self.pass(last + AFTER, sink, quiet);
        }
        Replayed { span: self.span, late: self.late, stats: self.engine.query().stats() }
    }

    /// Steps to every deadline up to `until`. It ends earlier if `enough` says so after a step that decided
    /// something.
    fn pass(
        &mut self,
        until: Timestamp,
        sink: &mut impl FnMut(&Notification),
        enough: impl Fn(&Engine) -> bool,
    ) {
        while let Some((deadline, _)) = self.engine.next_deadline()
            && deadline <= until
        {
            let decided = self.handle(deadline, &Event::Tick, sink);
            if decided && enough(&self.engine) {
                return;
            }
        }
    }

    /// Handles one event and answers its notifications. It returns whether there was any effect.
    fn handle(&mut self, at: Timestamp, event: &Event, sink: &mut impl FnMut(&Notification)) -> bool {
        self.engine.handle(at, event, &mut self.effects);
        let mut decided = !self.effects.take_disposed().is_empty();
        let mut out = VecDeque::from(std::mem::take(&mut self.effects.notifications));
        while let Some(notification) = out.pop_front() {
            decided = true;
            sink(&notification);
            let report =
                Report { id: notification.id, outcome: Outcome::Accepted, attempts: 1, message: None };
            self.engine.handle(at, &Event::Delivered(report), &mut self.effects);
            self.effects.take_disposed();
            out.extend(self.effects.notifications.drain(..));
        }
        decided
    }
}

/// Whether nothing is open, held or waiting anywhere.
fn quiet(engine: &Engine) -> bool {
    let stats = engine.query().stats();
    stats.receivers.values().all(|r| r.open + r.resolving + r.held + r.pending == 0)
}
