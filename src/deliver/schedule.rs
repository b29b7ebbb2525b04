//! The next notification that may leave at one integration: order, pace, concurrency, retries and the
//! circuit.
//!
//! It knows no sockets and no clock: the worker passes the time in, so that tests need not wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::circuit::Circuit;
use super::pace::Pacer;
use super::recalls::Recalls;
use crate::model::{Kind, Notification, NotificationId, Outcome, Rejection, Report};
use crate::receivers::{AttemptError, Retry, Side, Verdict};

/// So many answers that do not decide are an end. Each may have been a message to a person.
const UNDECIDED: u32 = 3;

/// The numbers of a schedule.
#[derive(Clone, Copy, Debug)]
pub struct ScheduleLimits {
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
pub struct Job {
    /// The notification.
    pub notification: Arc<Notification>,
    /// It may have been said before: sent again after a crash, or an answer was lost.
    pub possible_repeat: bool,
    attempts: u32,
    /// How many answers did not decide.
    undecided: u32,
    /// The number of its last attempt. 0 = it was never tried.
    turn: u64,
    delayed_to: Option<Instant>,
    /// When an attempt could first have begun.
    turn_came: Option<Instant>,
}

/// Pages first, then acknowledgements, updates, resolves and digests. The higher severity first, then the
/// older. A notification that replaces a recalled one has the age of that one.
type Rank = (u8, u8, NotificationId, NotificationId);

fn rank(n: &Notification) -> Rank {
    let kind = match n.kind {
        Kind::Page => 0,
        Kind::Acknowledge => 1,
        Kind::Update => 2,
        Kind::Resolve => 3,
        Kind::Digest => 4,
    };
    (kind, n.level.0, n.replaces.map_or(n.id, |recalled| recalled.id), n.id)
}

/// The next action of the worker.
#[derive(PartialEq, Eq, Debug)]
pub enum Next {
    /// Start an attempt at this one. It counts as under way.
    Start(NotificationId),
    /// This one is recalled, and gone from the schedule. The report is its end.
    Recalled(Arc<Notification>, Report),
    /// No work before this moment, unless another event comes.
    At(Instant),
    /// No work until another event comes.
    Nothing,
}

/// The waiting and the sent notifications of one integration.
///
/// Holds at most the notifications that the engine releases: one for each open incident, and one digest.
#[derive(Debug)]
pub struct Schedule {
    limits: ScheduleLimits,
    pacer: Arc<Pacer>,
    recalls: Arc<Recalls>,
    circuit: Circuit,
    jobs: BTreeMap<NotificationId, Job>,
    in_flight: BTreeSet<NotificationId>,
    /// Never tried.
    fresh: BTreeSet<Rank>,
    /// Never tried, and not to be tried before this moment.
    held: BTreeSet<(Instant, NotificationId)>,
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
    /// An empty schedule. Schedules with the same pacer share its pace.
    pub fn new(limits: ScheduleLimits, pacer: Arc<Pacer>) -> Self {
        Schedule {
            circuit: Circuit::new(limits.circuit_after),
            limits,
            pacer,
            recalls: Arc::default(),
            jobs: BTreeMap::new(),
            in_flight: BTreeSet::new(),
            fresh: BTreeSet::new(),
            held: BTreeSet::new(),
            due: BTreeSet::new(),
            delayed: BTreeSet::new(),
            tried: BTreeSet::new(),
            turns: 0,
            hold_until: None,
            draining: false,
        }
    }

    /// Gives back the notifications that these ask for.
    pub fn with_recalls(self, recalls: Arc<Recalls>) -> Self {
        Schedule { recalls, ..self }
    }

    /// Takes a notification in, to be sent from `from` on. One that replaces a tried one counts as tried, and
    /// need not wait, since that one's wait was over when it was recalled. It returns `false` if one with its
    /// number is here already.
    pub fn push(&mut self, notification: Notification, possible_repeat: bool, from: Option<Instant>) -> bool {
        let id = notification.id;
        if self.jobs.contains_key(&id) {
            return false;
        }
        let recalled = notification.replaces;
        let attempts = recalled.map_or(0, |recalled| recalled.attempts);
        let possible_repeat =
            possible_repeat || recalled.is_some_and(|r| r.ambiguous && r.kind == notification.kind);
        match from {
            Some(at) => drop(self.held.insert((at, id))),
            None if attempts > 0 => {
                self.due.insert(rank(&notification));
                self.tried.insert((0, id));
            }
            None => drop(self.fresh.insert(rank(&notification))),
        }
        let job = Job {
            notification: Arc::new(notification),
            possible_repeat,
            attempts,
            // An earlier process may have got such answers. One more attempt is enough, or a process that is
            // started again and again posts without end.
            undecided: if possible_repeat { UNDECIDED - 1 } else { 0 },
            turn: 0,
            delayed_to: None,
            turn_came: None,
        };
        self.jobs.insert(id, job);
        true
    }

    /// Keeps another pace from now on.
    pub(super) fn pace(&mut self, pacer: Arc<Pacer>) {
        self.pacer = pacer;
    }

    /// How many have not reached their end.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether the circuit is open.
    pub fn circuit_is_open(&self) -> bool {
        self.circuit.is_open()
    }

    /// The notification of that number, and whether it may be a repeat.
    pub fn job(&self, id: NotificationId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// How many attempts at that notification have begun.
    pub(super) fn attempts(&self, id: NotificationId) -> u32 {
        self.jobs.get(&id).map_or(0, |job| job.attempts)
    }

    /// From now on only notifications that were never tried leave, and only while the receiver is up.
    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether a drain has nothing more to wait for.
    pub(super) fn is_drained(&self) -> bool {
        let stuck = self.circuit.is_open() || self.hold_until.is_some();
        self.draining && self.in_flight.is_empty() && (self.fresh.is_empty() || stuck)
    }

    /// The action at `now`. The worker asks again after every start, arrival and end.
    pub fn next(&mut self, now: Instant) -> Next {
        while let Some(&(at, id)) = self.delayed.first().filter(|(at, _)| *at <= now) {
            self.delayed.remove(&(at, id));
            if let Some(job) = self.jobs.get(&id) {
                self.due.insert(rank(&job.notification));
            }
        }
        while let Some(&(at, id)) = self.held.first().filter(|(at, _)| *at <= now) {
            self.held.remove(&(at, id));
            if let Some(job) = self.jobs.get(&id) {
                self.fresh.insert(rank(&job.notification));
            }
        }
        let most = if self.circuit.is_open() { 1 } else { self.limits.concurrency.max(1) };
        if self.in_flight.len() >= most {
            return Next::Nothing;
        }
        let candidate = if self.circuit.is_open() { self.probe() } else { self.best() };
        let Some((id, fresh)) = candidate else {
            let next =
                [self.delayed.first(), self.held.first()].into_iter().flatten().map(|(at, _)| *at).min();
            return match next {
                Some(at) if !self.draining => Next::At(at),
                _ => Next::Nothing,
            };
        };
        let wait_until = [self.hold_until, self.circuit.probe_at(fresh)].into_iter().flatten().max();
        if let Some(at) = wait_until.filter(|at| *at > now) {
            return Next::At(at);
        }
        if let Some(recalled) = self.recalled(id, now) {
            return recalled;
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
            (Some(f), Some(d)) => Some(if f < d { (f.3, true) } else { (d.3, false) }),
            (Some(f), None) => Some((f.3, true)),
            (None, Some(d)) => Some((d.3, false)),
            (None, None) => None,
        }
    }

    /// The notification that probes an open circuit. Those that were never tried come first, then each in
    /// turn. One notification that the receiver cannot process therefore does not hold back the others.
    fn probe(&self) -> Option<(NotificationId, bool)> {
        if self.draining {
            return None;
        }
        let fresh = self.fresh.first().map(|(.., id)| (*id, true));
        fresh.or_else(|| self.tried.first().map(|(_, id)| (*id, false)))
    }

    /// Takes a notification out whose attempt could begin now, if the engine asks for it. One that was never
    /// tried leaves as it is: a program that lost its data closes by it what it opened before. One that
    /// replaces a recalled one is tried at once too, so an incident that never stops changing is sent.
    fn recalled(&mut self, id: NotificationId, now: Instant) -> Option<Next> {
        let job = self.jobs.get_mut(&id)?;
        let came = *job.turn_came.get_or_insert(now);
        let waited = job.attempts > 0 && now >= came + self.limits.backoff.initial;
        if !self.recalls.asks(id) || job.turn == 0 && !waited {
            return None;
        }
        self.unqueue(id);
        let job = self.jobs.remove(&id)?;
        // A process before this one may have made attempts too.
        let outcome = Outcome::Recalled { ambiguous: job.possible_repeat };
        let report = Report { id, outcome, attempts: job.attempts, message: None };
        Some(Next::Recalled(job.notification, report))
    }

    fn unqueue(&mut self, id: NotificationId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let rank = rank(&job.notification);
        self.fresh.remove(&rank);
        self.due.remove(&rank);
        if let Some(at) = job.delayed_to.take() {
            self.delayed.remove(&(at, id));
        }
        self.tried.remove(&(job.turn, id));
    }

    fn start(&mut self, id: NotificationId) {
        self.unqueue(id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        self.turns += 1;
        job.turn = self.turns;
        job.attempts = job.attempts.saturating_add(1);
        self.in_flight.insert(id);
    }

    /// An attempt ended. The report, if that was the end of its notification.
    pub fn settle(
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
        Some(Report { id, outcome, attempts: job.attempts, message: None })
    }

    fn failed(&mut self, id: NotificationId, error: AttemptError, now: Instant) -> Option<Outcome> {
        let job = self.jobs.get_mut(&id)?;
        // A process before this one may have made attempts too.
        let ambiguous = job.possible_repeat || error.ambiguous;
        let asked = match error.retry {
            Retry::Never => {
                if error.side == Side::Theirs {
                    self.circuit.answered();
                }
                return Some(rejected(error, ambiguous));
            }
            Retry::Undecided(verdict) => {
                // A receiver that answers is up.
                self.circuit.answered();
                job.undecided += 1;
                if job.undecided >= UNDECIDED {
                    return Some(match verdict {
                        Verdict::Accepted => Outcome::Accepted,
                        Verdict::Refused => rejected(error, ambiguous),
                    });
                }
                None
            }
            Retry::Backoff => None,
            // `Retry-After: 0` is no leave to hammer.
            Retry::After(wait) => {
                Some(wait.max(self.limits.backoff.initial).min(self.limits.retry_after_max))
            }
        };
        job.possible_repeat = ambiguous;
        let backoff = self.limits.backoff;
        let at = now + asked.unwrap_or_else(|| backoff.wait(id, job.attempts));
        job.delayed_to = Some(at);
        self.delayed.insert((at, id));
        self.tried.insert((job.turn, id));
        if asked.is_some() {
            self.hold_until = self.hold_until.max(Some(at));
        }
        if !matches!(error.retry, Retry::Undecided(_)) {
            self.circuit.failed(now, backoff.initial, |n| asked.unwrap_or_else(|| backoff.wait(id, n)));
        }
        None
    }

    /// The receiver is up again. Notifications that waited for it need not wait longer.
    fn release_all(&mut self) {
        for (_, id) in std::mem::take(&mut self.delayed) {
            if let Some(job) = self.jobs.get(&id) {
                self.due.insert(rank(&job.notification));
            }
        }
    }
}

fn rejected(error: AttemptError, ambiguous: bool) -> Outcome {
    Outcome::Rejected(Rejection { reason: error.reason.as_str().into(), detail: error.detail, ambiguous })
}

#[cfg(test)]
mod tests;
