//! One tick: the changes of several events, made durable together, and only then released.

use std::collections::BTreeSet;

use crate::engine::{Effects, Engine, Event, GatheredRepeats};
use crate::journal::{Commit, DeadLetter, Journal, JournalError, LetterQuery, Record, Seq};
use crate::model::{Notification, NotificationId, Outcome, Report, Timestamp};

use super::clock::EngineClock;
use super::poison::{Broken, TickFailure, guarded};

/// How many dead letters are looked through, or shown, at most.
pub const DEAD_LETTERS: usize = 10_000;

/// From this many milliseconds on, the log reports engine time that differs from wall time.
const WORTH_A_LINE: i64 = 30_000;

/// The engine and the journal that remembers it, in step with each other.
pub struct Open {
    /// The durable log.
    pub journal: Box<dyn Journal>,
    /// The state after every event of the log, and after those of the tick under way.
    pub engine: Engine,
    /// The number of the last event handled. It is durable outside a tick.
    pub seq: Seq,
    /// Repeats that are not yet an event.
    pub repeats: GatheredRepeats,
}

/// Called with the engine when the tick is durable, or with the reason why it failed.
pub type Waiter = Box<dyn FnOnce(Result<&mut Open, &str>) + Send>;

/// Handled events that are not yet durable.
#[derive(Default)]
pub struct Tick {
    records: Vec<Record>,
    effects: Effects,
    reports: Vec<Report>,
    waiters: Vec<Waiter>,
    taken: Option<u64>,
}

/// The rest of a tick that could not be made durable.
pub struct Abandoned {
    /// The callers to answer.
    pub waiters: Vec<Waiter>,
    /// The events that it handled. They may turn out to be durable after all, as a whole.
    pub records: Vec<Record>,
    /// Their notifications, which have not left.
    pub notifications: Vec<Notification>,
}

/// The effects that a durable tick releases.
pub struct Released {
    /// Notifications to send. `true` = the receiver may have had it before.
    pub notifications: Vec<(Notification, bool)>,
    /// Notifications that left earlier and are to come back.
    pub recalls: Vec<NotificationId>,
    /// Notifications whose end is durable now.
    pub ended: BTreeSet<NotificationId>,
    /// How many events became durable.
    pub events: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// The callers to answer.
    pub waiters: Vec<Waiter>,
}

impl Tick {
    /// Handles `event` at the clock's time. Gathered repeats are an event before it. Earlier statements
    /// must count earlier, above all when `event` decides who is stale.
    pub fn apply(&mut self, open: &mut Open, clock: &EngineClock, event: &Event) -> Result<(), TickFailure> {
        self.flush(open, clock)?;
        self.handle(open, clock, event)
    }

    /// Makes an event of the gathered repeats.
    pub fn flush(&mut self, open: &mut Open, clock: &EngineClock) -> Result<(), TickFailure> {
        for repeats in open.repeats.take() {
            self.handle(open, clock, &Event::Repeats(repeats))?;
        }
        Ok(())
    }

    /// Handles the end of a notification, which leaves the outbox in the same commit.
    pub fn delivered(
        &mut self,
        open: &mut Open,
        clock: &EngineClock,
        report: Report,
    ) -> Result<(), TickFailure> {
        self.reports.push(report.clone());
        self.apply(open, clock, &Event::Delivered(report))
    }

    /// Tells `waiter` once all that was handled so far is durable.
    pub fn wait(&mut self, waiter: Waiter) {
        self.waiters.push(waiter);
    }

    /// The inbox loses its rows up to this one once all that was handled is durable.
    pub fn takes(&mut self, row: u64) {
        self.taken = Some(row);
    }

    /// Makes everything durable. On an error nothing of it may leave, and the caller must drop `open`: the
    /// engine is ahead of the disk.
    pub fn commit(self, open: &mut Open) -> Result<Released, (JournalError, Abandoned)> {
        let resent = match resent(open, &self.effects.resend) {
            Ok(resent) => resent,
            Err(e) => return Err((e, self.abandon())),
        };
        let Tick { records, effects, reports, waiters, taken } = self;
        let commit = Commit {
            records: &records,
            decisions: &effects.decisions,
            history: &effects.history,
            notifications: &effects.notifications,
            reports: &reports,
            resend: &effects.resend,
            made_good: &effects.made_good,
            taken,
        };
        if !(records.is_empty() && taken.is_none())
            && let Err(e) = open.journal.commit(&commit)
        {
            return Err((e, Abandoned { waiters, records, notifications: effects.notifications }));
        }
        let ended: BTreeSet<NotificationId> = reports.iter().map(|r| r.id).collect();
        // A notification that was sent without storage, and has ended since, does not leave a second time.
        let new = effects.notifications.into_iter().filter(|n| !ended.contains(&n.id)).map(|n| (n, false));
        Ok(Released {
            notifications: new.chain(resent).collect(),
            recalls: effects.recalls,
            ended,
            events: records.len() as u64,
            bytes: records.iter().map(|record| record.event.len() as u64).sum(),
            waiters,
        })
    }

    /// Gives up the handled events. The caller must answer those who wait.
    pub fn abandon(self) -> Abandoned {
        let Tick { records, effects, waiters, .. } = self;
        Abandoned { waiters, records, notifications: effects.notifications }
    }

    /// The notifications on their way that the handled events ask back.
    pub fn recalls(&self) -> &[NotificationId] {
        &self.effects.recalls
    }

    /// Handles once more, at their own times, events that no storage took when they happened. Those of
    /// a commit that was durable after all are left out: it says so by its numbers.
    pub fn catch_up(&mut self, open: &mut Open, held: &[Record]) -> Result<(), TickFailure> {
        let durable = open.seq;
        for record in held.iter().filter(|r| r.seq == 0 || r.seq > durable) {
            let event: Event = serde_json::from_slice(&record.event)
                .map_err(|e| JournalError::Failed(format!("an event held in memory: {e}")))?;
            if let Event::Delivered(report) = &event {
                self.reports.push(report.clone());
            }
            self.decide(open, record.now, &event)?;
            open.seq += 1;
            self.records.push(Record { seq: open.seq, ..record.clone() });
        }
        Ok(())
    }

    /// The process that decided before lived until then.
    pub fn lived(&mut self, open: &mut Open, until: Timestamp) -> Result<(), TickFailure> {
        let until = until.max(open.engine.now());
        self.record(open, until, &Event::Tick)
    }

    fn handle(&mut self, open: &mut Open, clock: &EngineClock, event: &Event) -> Result<(), TickFailure> {
        if matches!(event, Event::Observe(_) | Event::Repeats(_) | Event::Silence(_) | Event::Tick) {
            let (before, ahead) = (open.engine.query().ahead_of_wall(), clock.ahead());
            if ahead != before {
                self.record(open, clock.now(), &Event::Clocks(ahead))?;
            }
            if before.abs() < WORTH_A_LINE && ahead.abs() >= WORTH_A_LINE {
                tracing::warn!(
                    ahead_seconds = ahead / 1000,
                    "engine time differs from the wall clock, which was set or was wrong before. The times of \
                     senders are compared with the wall clock. Silences and time intervals follow it"
                );
            }
        }
        self.record(open, clock.now(), event)
    }

    fn record(&mut self, open: &mut Open, now: Timestamp, event: &Event) -> Result<(), TickFailure> {
        let body = serde_json::to_vec(event)
            .map_err(|e| JournalError::Failed(format!("event {}: {e}", open.seq + 1)))?;
        self.decide(open, now, event)?;
        open.seq += 1;
        self.records.push(Record { seq: open.seq, now, event: body });
        Ok(())
    }

    fn decide(&mut self, open: &mut Open, now: Timestamp, event: &Event) -> Result<(), Broken> {
        let handled = guarded(|| open.engine.handle(now, event, &mut self.effects));
        handled.map_err(|reason| Broken { event: Box::new(event.clone()), reason })
    }
}

/// The bodies of notifications to send again, from the dead letters, each once. A keyless receiver may have
/// had one whose end was ambiguous.
fn resent(open: &mut Open, ids: &[NotificationId]) -> Result<Vec<(Notification, bool)>, JournalError> {
    let mut wanted: BTreeSet<_> = ids.iter().copied().collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let letters = open.journal.dead_letters(&LetterQuery::newest(DEAD_LETTERS))?;
    let found = letters.into_iter().filter(|l| wanted.remove(&l.notification.id)).map(again).collect();
    if !wanted.is_empty() {
        tracing::error!(ids = ?wanted, "no dead letter of this number: it is sent at the next start");
    }
    Ok(found)
}

fn again(letter: DeadLetter) -> (Notification, bool) {
    let ambiguous = match letter.report.outcome {
        Outcome::Rejected(rejection) => rejection.ambiguous,
        Outcome::Accepted | Outcome::Recalled { .. } => true,
    };
    (letter.notification, ambiguous)
}
