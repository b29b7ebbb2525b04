//! What may leave next at one integration: order, pace, concurrency, retries and the circuit.
//!
//! Knows no sockets and no clock: the worker tells it the time, so that tests need not wait.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::attempt::{AttemptError, Retry, Side};
use super::backoff::Backoff;
use super::circuit::Circuit;
use super::pace::Pacer;
use crate::model::{Kind, Notification, NotificationId, Outcome, Rejection, Report};

/// The numbers of a schedule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Attempts under way at once.
    pub concurrency: usize,
    /// Waits between attempts.
    pub backoff: Backoff,
    /// Retryable failures in a row that open the circuit.
    pub circuit_after: u32,
    /// A longer `Retry-After` is cut to this.
    pub retry_after_max: Duration,
}

/// One notification on its way.
#[derive(Debug)]
pub(super) struct Job {
    /// What is to be said.
    pub notification: std::sync::Arc<Notification>,
    /// It may have been said before: sent again after a crash, or an answer was lost.
    pub possible_repeat: bool,
    attempts: u32,
    ambiguous: bool,
    turn: u64,
    delayed_to: Option<Instant>,
}

/// Pages first, then resolves, updates and digests; the higher severity first; the older first.
type Rank = (u8, u8, NotificationId);

fn rank(n: &Notification) -> Rank {
    let kind = match n.kind {
        Kind::Page => 0,
        Kind::Resolve => 1,
        Kind::Update => 2,
        Kind::Digest => 3,
    };
    (kind, n.level.0, n.id)
}

/// What the worker is to do.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Start an attempt at this one; it counts as under way.
    Start(NotificationId),
    /// Nothing before this moment, unless something else happens.
    At(Instant),
    /// Nothing until something else happens.
    Nothing,
}

/// The waiting and the sent notifications of one integration.
///
/// Holds at most what the engine lets out: one notification for each open incident.
#[derive(Debug)]
pub(super) struct Schedule {
    limits: Limits,
    pacer: Pacer,
    circuit: Circuit,
    jobs: BTreeMap<NotificationId, Job>,
    in_flight: BTreeSet<NotificationId>,
    /// Never tried.
    fresh: BTreeSet<Rank>,
    /// Tried, and their wait is over.
    due: BTreeSet<Rank>,
    /// Tried, and waiting.
    delayed: BTreeSet<(Instant, NotificationId)>,
    /// All that were tried and are not under way, least recently tried first.
    tried: BTreeSet<(u64, NotificationId)>,
    turns: u64,
    hold_until: Option<Instant>,
    draining: bool,
}

impl Schedule {
    /// An empty schedule.
    pub(super) fn new(limits: Limits, pacer: Pacer) -> Self {
        Schedule {
            circuit: Circuit::new(limits.circuit_after),
            limits,
            pacer,
            jobs: BTreeMap::new(),
            in_flight: BTreeSet::new(),
            fresh: BTreeSet::new(),
            due: BTreeSet::new(),
            delayed: BTreeSet::new(),
            tried: BTreeSet::new(),
            turns: 0,
            hold_until: None,
            draining: false,
        }
    }

    /// Takes a notification in; `false` if one of its number is here already.
    pub(super) fn push(&mut self, notification: Notification, possible_repeat: bool) -> bool {
        let id = notification.id;
        if self.jobs.contains_key(&id) {
            return false;
        }
        self.fresh.insert(rank(&notification));
        let notification = std::sync::Arc::new(notification);
        let job =
            Job { notification, possible_repeat, attempts: 0, ambiguous: false, turn: 0, delayed_to: None };
        self.jobs.insert(id, job);
        true
    }

    /// How many have not reached their end.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether the circuit is open.
    pub(super) fn circuit_is_open(&self) -> bool {
        self.circuit.is_open()
    }

    /// The notification of that number, and whether it may be a repeat.
    pub(super) fn job(&self, id: NotificationId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// From now on only what was never tried leaves, and only while the receiver is up.
    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether a drain has nothing more to wait for.
    pub(super) fn is_drained(&self) -> bool {
        let stuck = self.circuit.is_open() || self.hold_until.is_some();
        self.draining && self.in_flight.is_empty() && (self.fresh.is_empty() || stuck)
    }

    /// What to do at `now`. To be asked again after every start, arrival and end.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        while let Some(&(at, id)) = self.delayed.first().filter(|(at, _)| *at <= now) {
            self.delayed.remove(&(at, id));
            if let Some(job) = self.jobs.get(&id) {
                self.due.insert(rank(&job.notification));
            }
        }
        let most = if self.circuit.is_open() { 1 } else { self.limits.concurrency.max(1) };
        if self.in_flight.len() >= most {
            return Next::Nothing;
        }
        let candidate = if self.circuit.is_open() { self.probe() } else { self.best() };
        let Some((id, fresh)) = candidate else {
            return match self.delayed.first() {
                Some((at, _)) if !self.draining => Next::At(*at),
                _ => Next::Nothing,
            };
        };
        let wait_until = [self.hold_until, self.circuit.probe_at(fresh)].into_iter().flatten().max();
        if let Some(at) = wait_until.filter(|at| *at > now) {
            return Next::At(at);
        }
        if let Err(wait) = self.pacer.take(now) {
            return Next::At(now + wait);
        }
        self.hold_until = None;
        self.start(id);
        Next::Start(id)
    }

    fn best(&self) -> Option<(NotificationId, bool)> {
        let fresh = self.fresh.first();
        let due = self.due.first().filter(|_| !self.draining);
        match (fresh, due) {
            (Some(f), Some(d)) => Some(if f < d { (f.2, true) } else { (d.2, false) }),
            (Some(f), None) => Some((f.2, true)),
            (None, Some(d)) => Some((d.2, false)),
            (None, None) => None,
        }
    }

    /// Who probes an open circuit: the never tried first, then each in turn, so that one
    /// notification that the receiver cannot stomach does not hold back the others.
    fn probe(&self) -> Option<(NotificationId, bool)> {
        if self.draining {
            return None;
        }
        let fresh = self.fresh.first().map(|(_, _, id)| (*id, true));
        fresh.or_else(|| self.tried.first().map(|(_, id)| (*id, false)))
    }

    fn start(&mut self, id: NotificationId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let rank = rank(&job.notification);
        self.fresh.remove(&rank);
        self.due.remove(&rank);
        if let Some(at) = job.delayed_to.take() {
            self.delayed.remove(&(at, id));
        }
        self.tried.remove(&(job.turn, id));
        self.turns += 1;
        job.turn = self.turns;
        job.attempts = job.attempts.saturating_add(1);
        self.in_flight.insert(id);
    }

    /// An attempt ended. The report, if that was the end of its notification.
    pub(super) fn settle(
        &mut self,
        id: NotificationId,
        result: Result<(), AttemptError>,
        now: Instant,
    ) -> Option<Report> {
        self.in_flight.remove(&id);
        let was_open = self.circuit.is_open();
        let outcome = match result {
            Ok(()) => {
                self.circuit.answered();
                Some(Outcome::Accepted)
            }
            Err(error) => self.failed(id, error, now),
        };
        if was_open && !self.circuit.is_open() {
            self.release_all();
        }
        let outcome = outcome?;
        let job = self.jobs.remove(&id)?;
        Some(Report { id, outcome, attempts: job.attempts })
    }

    fn failed(&mut self, id: NotificationId, error: AttemptError, now: Instant) -> Option<Outcome> {
        let job = self.jobs.get_mut(&id)?;
        job.ambiguous |= error.ambiguous;
        let asked = match error.retry {
            Retry::Never => {
                if error.side == Side::Theirs {
                    self.circuit.answered();
                }
                return Some(Outcome::Rejected(Rejection {
                    reason: error.reason.as_str().into(),
                    detail: error.detail,
                    ambiguous: job.ambiguous,
                }));
            }
            Retry::Backoff => None,
            // `Retry-After: 0` is no leave to hammer.
            Retry::After(wait) => {
                Some(wait.max(self.limits.backoff.initial).min(self.limits.retry_after_max))
            }
        };
        job.possible_repeat |= error.ambiguous;
        let backoff = self.limits.backoff;
        let at = now + asked.unwrap_or_else(|| backoff.wait(id, job.attempts));
        job.delayed_to = Some(at);
        self.delayed.insert((at, id));
        self.tried.insert((job.turn, id));
        if asked.is_some() {
            self.hold_until = self.hold_until.max(Some(at));
        }
        self.circuit.failed(now, backoff.initial, |n| asked.unwrap_or_else(|| backoff.wait(id, n)));
        None
    }

    /// The receiver is up again: what waited for it need not wait longer.
    fn release_all(&mut self) {
        for (_, id) in std::mem::take(&mut self.delayed) {
            if let Some(job) = self.jobs.get(&id) {
                self.due.insert(rank(&job.notification));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConsoleConfig, IntegrationKind};
    use crate::deliver::attempt::FailureReason;
    use crate::model::Timestamp;

    fn notification(id: u64, kind: Kind, level: u8) -> Notification {
        Notification {
            id: NotificationId(id),
            at: Timestamp::from_millis(0),
            receiver: "r".into(),
            integration: "console[0]".into(),
            kind,
            dedup_key: "k".into(),
            group_key: "{}:{}".into(),
            generation: 0,
            group_labels: Default::default(),
            severity: "critical".into(),
            level: (level, 3),
            alerts: vec![],
            truncated: 0,
            opened_at: Timestamp::from_millis(0),
            why: "first page".into(),
        }
    }

    fn schedule(concurrency: usize, now: Instant) -> Schedule {
        let limits = Limits {
            concurrency,
            backoff: Backoff::default(),
            circuit_after: 5,
            retry_after_max: Duration::from_secs(600),
        };
        Schedule::new(limits, Pacer::for_kind(&IntegrationKind::Console(ConsoleConfig {}), now))
    }

    fn down() -> Result<(), AttemptError> {
        Err(AttemptError::passing(FailureReason::ServerError, "status 500"))
    }

    /// Steps to the next attempt in virtual time.
    fn step(schedule: &mut Schedule, now: &mut Instant) -> u64 {
        loop {
            match schedule.next(*now) {
                Next::Start(id) => return id.0,
                Next::At(at) => *now = at.max(*now),
                Next::Nothing => panic!("nothing to do"),
            }
        }
    }

    #[test]
    fn pages_first_then_by_severity_then_by_age() {
        let mut now = Instant::now();
        let mut schedule = schedule(8, now);
        let waiting = [
            (1, Kind::Digest, 0),
            (2, Kind::Update, 0),
            (3, Kind::Resolve, 0),
            (4, Kind::Page, 2),
            (5, Kind::Page, 0),
            (6, Kind::Page, 0),
        ];
        for (id, kind, level) in waiting {
            assert!(schedule.push(notification(id, kind, level), false));
        }
        assert!(!schedule.push(notification(6, Kind::Page, 0), false));
        let order: Vec<u64> = (0..6).map(|_| step(&mut schedule, &mut now)).collect();
        assert_eq!(order, [5, 6, 4, 3, 2, 1]);
    }

    #[test]
    fn no_more_attempts_at_once_than_allowed() {
        let mut now = Instant::now();
        let mut schedule = schedule(2, now);
        for id in 1..=3 {
            schedule.push(notification(id, Kind::Page, 0), false);
        }
        assert_eq!(step(&mut schedule, &mut now), 1);
        assert_eq!(step(&mut schedule, &mut now), 2);
        assert_eq!(schedule.next(now), Next::Nothing);
        assert!(schedule.settle(NotificationId(1), Ok(()), now).is_some());
        assert_eq!(schedule.next(now), Next::Start(NotificationId(3)));
    }

    #[test]
    fn an_open_circuit_lets_one_probe_out_and_closes_on_success() {
        let mut now = Instant::now();
        let mut schedule = schedule(8, now);
        for id in 1..=8 {
            schedule.push(notification(id, Kind::Page, 0), false);
        }
        let began = now;
        for _ in 0..5 {
            let id = step(&mut schedule, &mut now);
            assert_eq!(schedule.settle(NotificationId(id), down(), now), None);
        }
        assert!(schedule.circuit_is_open());
        assert_eq!(now, began, "the first five leave at once");
        assert!(matches!(schedule.next(now), Next::At(_)));
        assert_eq!(step(&mut schedule, &mut now), 6, "the never tried probe first");
        assert_eq!(schedule.next(now + Duration::from_secs(3600)), Next::Nothing, "one at a time");
        schedule.settle(NotificationId(6), Ok(()), now);
        assert!(!schedule.circuit_is_open());
        let mut rest: Vec<u64> = (0..7).map(|_| step(&mut schedule, &mut now)).collect();
        rest.sort_unstable();
        assert_eq!(rest, [1, 2, 3, 4, 5, 7, 8], "nobody waits out a pause when the receiver is back");
    }

    #[test]
    fn a_page_that_the_receiver_cannot_stomach_does_not_hold_back_the_others() {
        let mut now = Instant::now();
        let mut schedule = schedule(8, now);
        schedule.push(notification(1, Kind::Page, 0), false);
        let began = now;
        for _ in 0..20 {
            assert_eq!(step(&mut schedule, &mut now), 1);
            schedule.settle(NotificationId(1), down(), now);
        }
        assert!(now - began > Duration::from_secs(300), "the pauses grow: {:?}", now - began);
        schedule.push(notification(2, Kind::Update, 2), false);
        let asked = now;
        assert_eq!(step(&mut schedule, &mut now), 2);
        assert!(now - asked <= Duration::from_millis(500));
        assert!(schedule.settle(NotificationId(2), Ok(()), now).is_some());
        assert_eq!(step(&mut schedule, &mut now), 1);
    }

    #[test]
    fn retry_after_holds_the_integration_and_is_capped() {
        let mut now = Instant::now();
        let mut schedule = schedule(8, now);
        schedule.push(notification(1, Kind::Page, 0), false);
        assert_eq!(step(&mut schedule, &mut now), 1);
        let asked = |seconds| {
            let error = AttemptError::passing(FailureReason::RateLimited, "status 429");
            Err(AttemptError { retry: Retry::After(Duration::from_secs(seconds)), ..error })
        };
        schedule.settle(NotificationId(1), asked(30), now);
        schedule.push(notification(2, Kind::Page, 0), false);
        assert_eq!(schedule.next(now), Next::At(now + Duration::from_secs(30)));
        let before = now;
        assert_eq!(step(&mut schedule, &mut now), 1, "the older page first");
        assert_eq!(now - before, Duration::from_secs(30));
        schedule.settle(NotificationId(1), asked(1_000_000), now);
        let before = now;
        step(&mut schedule, &mut now);
        assert_eq!(now - before, Duration::from_secs(600));
        schedule.settle(NotificationId(1), asked(0), now);
        let before = now;
        step(&mut schedule, &mut now);
        assert_eq!(now - before, Duration::from_millis(500));
    }

    #[test]
    fn the_end_says_how_many_attempts_and_whether_one_may_have_been_accepted() {
        let mut now = Instant::now();
        let mut schedule = schedule(8, now);
        schedule.push(notification(1, Kind::Page, 0), false);
        step(&mut schedule, &mut now);
        let lost = AttemptError {
            ambiguous: true,
            ..AttemptError::passing(FailureReason::ContextDeadlineExceeded, "no answer")
        };
        schedule.settle(NotificationId(1), Err(lost), now);
        assert!(schedule.job(NotificationId(1)).unwrap().possible_repeat);
        step(&mut schedule, &mut now);
        let refused = Err(AttemptError::refused(FailureReason::AuthError, "status 401"));
        let report = schedule.settle(NotificationId(1), refused, now).unwrap();
        let Outcome::Rejected(rejection) = report.outcome else { panic!("{report:?}") };
        assert_eq!((report.attempts, rejection.reason.as_str(), rejection.ambiguous), (2, "authError", true));
        assert_eq!(schedule.len(), 0);
    }

    #[test]
    fn a_drain_tries_what_was_never_tried_and_nothing_else() {
        let mut now = Instant::now();
        let mut schedule = schedule(1, now);
        schedule.push(notification(1, Kind::Page, 0), false);
        schedule.push(notification(2, Kind::Page, 0), false);
        step(&mut schedule, &mut now);
        schedule.settle(NotificationId(1), down(), now);
        schedule.drain();
        assert!(!schedule.is_drained());
        assert_eq!(step(&mut schedule, &mut now), 2);
        schedule.settle(NotificationId(2), Ok(()), now);
        assert_eq!(schedule.next(now + Duration::from_secs(3600)), Next::Nothing);
        assert!(schedule.is_drained());
        assert_eq!(schedule.len(), 1);
    }
}
