//! Fail open: while the storage is unusable, the engine goes on in memory. After `failopen_after`, its
//! pages of the configured levels leave, under the keys that it would have given them. Everything else
//! waits.
//!
//! It keeps the events that it handled with their times. Once there is storage again, the engine that was
//! read from it journals and handles these events before anything else. The same events at the same times
//! lead to the same incidents. A sent page is therefore neither repeated under another key nor left open.

use std::collections::BTreeSet;

use crate::config::{FailOpen, Policy};
use crate::engine::{Effects, Engine, Event};
use crate::journal::Record;
use crate::model::{Batch, Cause, Kind, Notification, NotificationId, Source, Status, Timestamp};

use super::poison::guarded;

/// Added to the number of a notification that outlived its event, after damage to the storage. The engine
/// may give the bare number to another one.
pub(super) const ORPHAN: u64 = 1 << 63;
/// Added to the number of a notification that left without storage, which may be damaged too.
pub(super) const FAIL_OPEN: u64 = 1 << 62;

/// How many bytes of events are kept at most, as JSON. The upper half is for alerts that may page.
const HELD_BYTES: usize = 64 << 20;

/// The engine while the storage is unusable.
pub(super) struct Meanwhile {
    engine: Engine,
    since: Timestamp,
    /// Events that are not durable anywhere. A number other than 0 is that of a commit whose end is
    /// unknown.
    held: Vec<Record>,
    bytes: usize,
    /// Whether it keeps the events that it handles. An engine that lacks the storage's state keeps none.
    keeps: bool,
    /// Pages decided, and not sent yet.
    waiting: Vec<Notification>,
    sent: BTreeSet<NotificationId>,
    /// The deadline that a tick left where it was.
    stuck: Option<Timestamp>,
}

impl Meanwhile {
    /// `engine` has handled `records`, from which `notifications` followed, and none of it is durable. Their
    /// senders get a 503.
    pub(super) fn new(
        now: Timestamp,
        engine: Engine,
        records: Vec<Record>,
        notifications: Vec<Notification>,
    ) -> Self {
        let bytes = records.iter().map(|r| r.event.len()).sum();
        let mut meanwhile = Meanwhile {
            engine,
            since: now,
            held: records,
            bytes,
            keeps: true,
            waiting: Vec::new(),
            sent: BTreeSet::new(),
            stuck: None,
        };
        meanwhile.keep(notifications);
        let failed: Vec<Batch> = meanwhile.held.iter().filter_map(observed).collect();
        for batch in failed {
            meanwhile.handle(now, &Event::Observe(Batch { unanswered: true, ..batch }));
        }
        meanwhile
    }

    /// There is no engine to go on with, so an empty one takes its place. It sends under the keys of first
    /// generations. Its events are not kept, for their numbers are its own.
    pub(super) fn afresh(now: Timestamp, policy: Policy) -> Option<Self> {
        let engine = guarded(|| {
            let mut engine = Engine::new(policy);
            engine.handle(now, &Event::Started, &mut Effects::default());
            engine
        });
        Some(Meanwhile { keeps: false, ..Self::new(now, engine.ok()?, Vec::new(), Vec::new()) })
    }

    /// The events that no storage has taken, in order.
    pub(super) fn held(&self) -> &[Record] {
        &self.held
    }

    /// Whether this notification was sent already.
    pub(super) fn has_sent(&self, id: NotificationId) -> bool {
        self.keeps && self.sent.contains(&id)
    }

    /// Takes in a sender's statements. The sender gets a 503, so it sends them again. Repeats are left out.
    /// Above half of the bound, it also leaves out requests without an alert of a level that may page.
    pub(super) fn observe(&mut self, now: Timestamp, ahead: i64, batch: Batch) {
        let batch = Batch { unanswered: true, ..batch };
        if ahead != self.engine.query().ahead_of_wall() {
            self.handle(now, &Event::Clocks(ahead));
        }
        if guarded(|| self.engine.query().repeats(&batch)).is_ok_and(|repeats| repeats.is_some()) {
            return;
        }
        let severities = &self.engine.policy().severities;
        let urgent = |b: &Batch| {
            b.observations.iter().any(|o| {
                o.status == Status::Firing
                    && severities.levels.get(severities.level_of(&o.labels)).is_some_and(|l| l.never_hold)
            })
        };
        if self.bytes >= HELD_BYTES || self.bytes >= HELD_BYTES / 2 && !urgent(&batch) {
            return;
        }
        self.handle(now, &Event::Observe(batch));
    }

    /// Lets the engine handle due timers.
    pub(super) fn pass_time(&mut self, now: Timestamp) {
        let due = |engine: &Engine| engine.next_deadline().map(|(at, _)| at).filter(|at| *at <= now);
        let Some(deadline) = due(&self.engine).filter(|at| self.stuck != Some(*at)) else { return };
        self.handle(now, &Event::Tick);
        self.stuck = due(&self.engine).filter(|at| *at == deadline);
    }

    /// Handles an event, and keeps it.
    pub(super) fn handle(&mut self, now: Timestamp, event: &Event) {
        let Ok(body) = serde_json::to_vec(event) else { return };
        let mut effects = Effects::default();
        if let Err(reason) = guarded(|| self.engine.handle(now, event, &mut effects)) {
            return self.broke(now, event, &reason);
        }
        if self.keeps {
            self.bytes += body.len();
            self.held.push(Record { seq: 0, now, event: body });
        }
        self.keep(effects.notifications);
    }

    /// This engine failed, too. Senders were asked to send its content again. It reports the failing input
    /// undecided, if it can.
    fn broke(&mut self, now: Timestamp, event: &Event, reason: &str) {
        tracing::error!(reason, ?event, "the engine broke while it went on without storage");
        let Some(fresh) = Self::afresh(now, self.engine.policy().clone()) else { return };
        *self = Meanwhile { since: self.since, waiting: std::mem::take(&mut self.waiting), ..fresh };
        if let Event::Observe(batch) = event {
            self.handle(now, &Event::Quarantine(batch.clone()));
        }
    }

    fn keep(&mut self, notifications: Vec<Notification>) {
        self.waiting.extend(notifications.into_iter().filter(|n| n.kind == Kind::Page));
    }

    /// The time of the next work here.
    pub(super) fn due(&self, now: Timestamp, settings: &FailOpen) -> Option<Timestamp> {
        let deadline = self.engine.next_deadline().map(|(at, _)| at).filter(|at| self.stuck != Some(*at));
        let open = (!self.waiting.is_empty()).then_some(self.since + settings.after);
        [deadline, open.filter(|at| *at > now)].into_iter().flatten().min()
    }

    /// The pages that leave now: of the allowed levels, about alerts that still fire. No other notification
    /// can have their numbers.
    pub(super) fn take(&mut self, now: Timestamp, policy: &Policy) -> Vec<Notification> {
        if now < self.since + policy.failopen.after {
            return Vec::new();
        }
        let mut leaving = Vec::new();
        for mut n in std::mem::take(&mut self.waiting) {
            let fires =
                n.alerts.iter().any(|a| a.status == Status::Firing && self.engine.query().still_fires(a));
            let Some(level) = policy.severities.levels.get(usize::from(n.level.0)) else { continue };
            if !fires || !policy.failopen.lets_out(level) {
                continue;
            }
            self.sent.insert(n.id);
            n.id.0 |= FAIL_OPEN;
            n.cause = Cause::WithoutStorage { cause: Box::new(n.cause) };
            leaving.push(n);
        }
        leaving
    }
}

/// The statements of Alertmanager in a record.
fn observed(record: &Record) -> Option<Batch> {
    match serde_json::from_slice(&record.event).ok()? {
        Event::Observe(batch) if batch.source == Source::Alertmanager => Some(batch),
        _ => None,
    }
}
