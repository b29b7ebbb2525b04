//! The one owner of engine and journal: takes commands, makes their ticks durable, lets them out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use smol_str::SmolStr;
use tokio::sync::oneshot;

use crate::config::Policy;
use crate::engine::{Event, Stats, Why};
use crate::journal::{Journal, JournalError};
use crate::model::{
    Duration, Kind, Notification, NotificationId, Outcome, Rejection, Report, SilenceRequest, Timestamp,
};
use crate::web::{ReplayError, SilenceFailure, Unavailable};

use super::clock::EngineClock;
use super::metrics::NodeMeter;
use super::queue::{Command, Queue, View};
use super::recover::{RecoverError, rebuild};
use super::seen::SeenBuffer;
use super::tick::{DEAD_LETTERS, Open, Released, Tick, Waiter};

/// A snapshot is taken after this many events.
pub const SNAPSHOT_EVENTS: u64 = 10_000;
/// A snapshot is taken after this time, if there was any event.
pub const SNAPSHOT_EVERY: Duration = Duration::from_mins(5);
/// How often what is too old leaves the journal.
pub const PRUNE_EVERY: Duration = Duration::from_hours(24);
/// How old delivered notifications and decisions grow in the journal.
pub const KEEP: Duration = Duration::from_hours(30 * 24);

/// How soon it goes on if one call did not remove all: commits come between.
const PRUNE_AGAIN: Duration = Duration::from_secs(1);

const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// The condition variable counts time that a suspended machine does not: look again this often.
const PATIENCE_MAX: Duration = Duration::from_secs(10);

/// Added to the number of a notification that outlived its event, after damage to the storage: the
/// engine may give the bare number to another one.
const ORPHAN: u64 = 1 << 63;

const STOPPING: &str = "shutting down";

/// Where durable notifications go.
pub trait Outbox: Send {
    /// Takes a notification; never blocks. `possible_repeat`: the receiver may have had it before.
    fn send(&self, notification: Notification, possible_repeat: bool);
}

/// Opens the journal; called at the start, and again after each failure.
pub type OpenJournal = Box<dyn FnMut() -> Result<Box<dyn Journal>, JournalError> + Send>;

/// What other threads may read of the engine at any time.
pub struct Published {
    /// The counters as of the last durable tick.
    pub stats: ArcSwap<Stats>,
    /// Why nothing can be accepted, if so.
    pub trouble: ArcSwapOption<String>,
    /// Metrics of the node.
    pub meter: NodeMeter,
}

impl Published {
    /// Nothing counted, no trouble.
    pub fn new(meter: NodeMeter) -> Published {
        Published { stats: ArcSwap::default(), trouble: ArcSwapOption::empty(), meter }
    }
}

/// Whether the engine's thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// There may be more to do.
    Continue,
    /// The last command was handled.
    Stopped,
}

/// See the module.
pub struct Core {
    open_journal: OpenJournal,
    queue: Queue,
    clock: Arc<EngineClock>,
    outbox: Box<dyn Outbox>,
    published: Arc<Published>,
    policy: Policy,
    store: Store,
    /// Handed to the outbox and not yet durably ended: after the journal was read again, these are
    /// on their way already. Bounded by the journal's outbox.
    in_flight: BTreeSet<NotificationId>,
    /// Ends that the journal could not take; applied once it can. Bounded by `in_flight`.
    owed: Vec<Report>,
    quiesced: bool,
}

enum Store {
    Up { open: Box<Open>, upkeep: Upkeep },
    Down { reason: String, retry_at: Timestamp, backoff: Duration },
}

/// When what must be done now and then was done last.
struct Upkeep {
    events: u64,
    snapshot_at: Timestamp,
    pruned_at: Timestamp,
    /// The deadline that a tick left where it was.
    stuck: Option<(Timestamp, Why)>,
}

/// All that a [`Core`] needs.
pub struct Parts {
    /// See [`OpenJournal`].
    pub open_journal: OpenJournal,
    /// Where commands come from.
    pub queue: Queue,
    /// Engine time.
    pub clock: Arc<EngineClock>,
    /// Where notifications go.
    pub outbox: Box<dyn Outbox>,
    /// What others may read.
    pub published: Arc<Published>,
    /// The configuration of this start.
    pub policy: Policy,
}

impl Core {
    /// Opens the journal, brings the engine up, and sends what was left undelivered.
    ///
    /// # Errors
    /// The journal cannot be used or understood; nothing was sent then.
    pub fn start(parts: Parts) -> Result<Core, RecoverError> {
        let Parts { open_journal, queue, clock, outbox, published, policy } = parts;
        let retry_at = clock.now();
        let mut core = Core {
            open_journal,
            queue,
            clock,
            outbox,
            published,
            policy,
            store: Store::Down { reason: String::new(), retry_at, backoff: BACKOFF_MIN },
            in_flight: BTreeSet::new(),
            owed: Vec::new(),
            quiesced: false,
        };
        core.bring_up(true)?;
        Ok(core)
    }

    /// Runs on a thread of its own, named `engine`, until [`Command::Stop`]. The receiver resolves
    /// when the thread ends: in error if it ended by a panic.
    pub fn spawn(mut self) -> std::io::Result<oneshot::Receiver<()>> {
        let (ended, end) = oneshot::channel();
        std::thread::Builder::new().name("engine".into()).spawn(move || {
            // Whatever ends this thread, nobody may go on waiting for it.
            let closed = CloseOnDrop(self.queue.clone());
            while self.step(self.patience()) == Flow::Continue {}
            drop(self);
            drop(closed);
            let _ = ended.send(());
        })?;
        Ok(end)
    }

    /// How long [`Core::step`] may wait for a command before something else is due.
    pub fn patience(&self) -> Duration {
        let now = self.clock.now();
        let due = match &self.store {
            Store::Down { retry_at, .. } => Some(*retry_at),
            Store::Up { open, upkeep } => {
                let deadline = (!self.quiesced)
                    .then(|| open.engine.next_deadline())
                    .flatten()
                    .filter(|deadline| upkeep.stuck != Some(*deadline));
                let snapshot = (upkeep.events > 0).then_some(upkeep.snapshot_at + SNAPSHOT_EVERY);
                let prune = Some(upkeep.pruned_at + PRUNE_EVERY);
                [deadline.map(|(at, _)| at), open.seen.due(), snapshot, prune].into_iter().flatten().min()
            }
        };
        due.map_or(PATIENCE_MAX, |at| at.since(now).min(PATIENCE_MAX))
    }

    /// Handles what waits and what is due as one tick; waits at most `patience` for something.
    pub fn step(&mut self, patience: Duration) -> Flow {
        let commands = self.queue.take(patience.to_std());
        match self.store {
            Store::Up { .. } => self.tick(commands),
            Store::Down { .. } => self.refuse(commands),
        }
    }

    fn tick(&mut self, commands: Vec<Command>) -> Flow {
        let Store::Up { open, upkeep } = &mut self.store else { return Flow::Continue };
        let mut tick = Tick::default();
        let (mut stop, mut policy_now) = (None, None);
        let mut failed = if self.quiesced { Ok(()) } else { due(open, upkeep, &self.clock, &mut tick) };
        let mut commands = commands.into_iter();
        while failed.is_ok()
            && let Some(command) = commands.next()
        {
            failed = match command {
                Command::Observe(_, done) if self.quiesced => {
                    let _ = done.send(Err(Unavailable(STOPPING.into())));
                    Ok(())
                }
                Command::Observe(batch, done) => {
                    tick.wait(told(done, |_| ()));
                    match open.engine.repeats(&batch) {
                        Some(seen) => {
                            open.seen.add(self.clock.now(), seen);
                            Ok(())
                        }
                        None => tick.apply(open, &self.clock, &Event::Observe(batch)),
                    }
                }
                Command::Delivered(report) if report.id.0 >= ORPHAN => Ok(()),
                Command::Delivered(report) => {
                    // Until this is durable it is owed; see `Core::owed`.
                    self.owed.push(report.clone());
                    tick.delivered(open, &self.clock, report)
                }
                Command::Replay(id, done) => replay(open, &self.clock, &mut tick, id, done),
                Command::Silence(request, done) => silence(open, &self.clock, &mut tick, &request, done),
                Command::Silences(done) => {
                    tick.wait(told(done, |open| open.engine.silences()));
                    Ok(())
                }
                Command::Policy(policy, done) => {
                    policy_now = Some((*policy).clone());
                    tick.wait(told(done, |_| ()));
                    tick.apply(open, &self.clock, &Event::Policy(policy))
                }
                Command::View(view, done) => {
                    tick.wait(told(done, move |open| match view {
                        View::Alerts => open.engine.alerts_view(),
                        View::Incidents => open.engine.incidents_view(),
                    }));
                    Ok(())
                }
                Command::DeadLetters(done) => {
                    tick.wait(dead_letters(done));
                    Ok(())
                }
                Command::Quiesce(done) => {
                    self.quiesced = true;
                    tick.wait(Box::new(move |_| {
                        let _ = done.send(());
                    }));
                    tick.flush(open, &self.clock)
                }
                Command::Stop(done) => {
                    stop = Some(done);
                    tick.flush(open, &self.clock)
                }
            };
        }
        let outcome = match failed {
            Ok(()) => {
                let started = Instant::now();
                let outcome = tick.commit(open);
                if outcome.as_ref().is_ok_and(|released| released.events > 0) {
                    self.published.meter.committed(started.elapsed());
                }
                outcome
            }
            Err(e) => Err((e, tick.abandon())),
        };
        match outcome {
            Ok(released) => {
                if let Some(policy) = policy_now {
                    self.policy = policy;
                }
                self.release(released);
                self.upkeep(stop.is_some());
            }
            Err((error, waiters)) => {
                self.go_down(&error);
                let reason = error.to_string();
                waiters.into_iter().for_each(|tell| tell(Err(&reason)));
                if self.refuse(commands.collect()) == Flow::Stopped {
                    return Flow::Stopped;
                }
            }
        }
        self.finish(stop)
    }

    /// The tick is durable: now, and not before, it may be seen from outside.
    fn release(&mut self, released: Released) {
        let Store::Up { open, upkeep } = &mut self.store else { return };
        upkeep.events += released.events;
        for id in &released.ended {
            self.in_flight.remove(id);
        }
        if !released.ended.is_empty() {
            self.owed.clear();
        }
        if !self.quiesced {
            for (notification, possible_repeat) in released.notifications {
                self.in_flight.insert(notification.id);
                self.outbox.send(notification, possible_repeat);
            }
        }
        if released.events > 0 {
            self.published.stats.store(Arc::new(open.engine.stats()));
        }
        released.waiters.into_iter().for_each(|tell| tell(Ok(open)));
    }

    /// Snapshots and prunes when it is time; always takes the last snapshot.
    fn upkeep(&mut self, last: bool) {
        let now = self.clock.now();
        let Store::Up { open, upkeep } = &mut self.store else { return };
        let snapshot_due = upkeep.events >= SNAPSHOT_EVENTS || now >= upkeep.snapshot_at + SNAPSHOT_EVERY;
        let done = (|| {
            if upkeep.events > 0 && (snapshot_due || last) {
                let body = open.engine.snapshot();
                open.journal.snapshot(open.seq, &body)?;
                tracing::debug!(seq = open.seq, bytes = body.len(), "snapshot taken");
                (upkeep.events, upkeep.snapshot_at) = (0, now);
            }
            if now >= upkeep.pruned_at + PRUNE_EVERY {
                let more = open.journal.prune(now - KEEP)?;
                upkeep.pruned_at = if more { now - PRUNE_EVERY + PRUNE_AGAIN } else { now };
            }
            Ok(())
        })();
        if let Err(e) = done {
            self.go_down(&e);
        }
    }

    fn finish(&mut self, stop: Option<oneshot::Sender<()>>) -> Flow {
        let Some(done) = stop else { return Flow::Continue };
        // Gives the lock on the storage back before anybody is told that it is free.
        let retry_at = Timestamp::MAX;
        self.store = Store::Down { reason: STOPPING.into(), retry_at, backoff: BACKOFF_MIN };
        let _ = done.send(());
        Flow::Stopped
    }

    fn go_down(&mut self, error: &JournalError) {
        tracing::error!(%error, "storage failed: nothing is accepted until it is read again");
        self.published.meter.store_failed();
        self.stay_down(error.to_string(), BACKOFF_MIN);
    }

    fn stay_down(&mut self, reason: String, backoff: Duration) {
        self.published.trouble.store(Some(Arc::new(reason.clone())));
        let retry_at = self.clock.now() + backoff;
        self.store = Store::Down { reason, retry_at, backoff };
    }

    /// Answers everybody that nothing can be accepted, keeps reports, and tries the journal again
    /// when it is time.
    fn refuse(&mut self, commands: Vec<Command>) -> Flow {
        let Store::Down { reason, retry_at, backoff } = &self.store else { return Flow::Continue };
        let (retry_at, backoff) = (*retry_at, *backoff);
        let unavailable = || Unavailable(reason.clone());
        let mut stop = None;
        for command in commands {
            match command {
                Command::Observe(_, done) | Command::Policy(_, done) => drop(done.send(Err(unavailable()))),
                Command::Replay(_, done) => drop(done.send(Err(ReplayError::Unavailable(unavailable())))),
                Command::Silence(_, done) => drop(done.send(Err(unavailable().into()))),
                Command::Silences(done) => drop(done.send(Err(unavailable()))),
                Command::View(_, done) => drop(done.send(Err(unavailable()))),
                Command::DeadLetters(done) => drop(done.send(Err(unavailable()))),
                Command::Delivered(report) if report.id.0 >= ORPHAN => {}
                Command::Delivered(report) if self.owed.len() < self.in_flight.len() => {
                    self.owed.push(report);
                }
                Command::Delivered(report) => tracing::error!(?report, "a report too many was dropped"),
                Command::Quiesce(done) => {
                    self.quiesced = true;
                    let _ = done.send(());
                }
                Command::Stop(done) => stop = Some(done),
            }
        }
        if stop.is_none() && self.clock.now() >= retry_at {
            match self.bring_up(false) {
                Ok(()) => tracing::info!("storage is read again: accepting"),
                Err(error) => {
                    tracing::error!(%error, "storage still fails");
                    let doubled = Duration::from_millis(backoff.as_millis().saturating_mul(2));
                    self.stay_down(error.to_string(), doubled.min(BACKOFF_MAX));
                }
            }
        }
        self.finish(stop)
    }

    /// Opens the journal, rebuilds the engine, says that it started, applies the reports that are
    /// owed, and sends what is not on its way yet.
    fn bring_up(&mut self, first: bool) -> Result<(), RecoverError> {
        let mut journal = (self.open_journal)()?;
        let recovered = journal.recover()?;
        for note in &recovered.notes {
            tracing::warn!("{note}");
        }
        if let Some(path) = &recovered.quarantined {
            tracing::error!(path = %path.display(), "the storage was damaged; its files are kept here");
        }
        let rebuilt = rebuild(&recovered, &self.policy)?;
        self.clock.not_before(rebuilt.engine.now());
        tracing::info!(
            events = rebuilt.replayed,
            seq = rebuilt.last_seq,
            undelivered = recovered.outbox.len(),
            "storage read"
        );
        let seen = SeenBuffer::default();
        let mut open = Box::new(Open { journal, engine: rebuilt.engine, seq: rebuilt.last_seq, seen });
        let mut tick = Tick::default();
        let policy = || Event::Policy(Box::new(self.policy.clone()));
        if rebuilt.fresh {
            tick.apply(&mut open, &self.clock, &policy())?;
        }
        tick.apply(&mut open, &self.clock, &Event::Started)?;
        if *open.engine.policy() != self.policy {
            tick.apply(&mut open, &self.clock, &policy())?;
        }
        let unreadable = recovered.unreadable.into_iter().map(unreadable);
        for report in self.owed.iter().cloned().chain(unreadable) {
            tick.delivered(&mut open, &self.clock, report)?;
        }
        let released = tick.commit(&mut open).map_err(|(e, _)| e)?;
        let now = self.clock.now();
        let upkeep =
            Upkeep { events: rebuilt.replayed, snapshot_at: now, pruned_at: now - PRUNE_EVERY, stuck: None };
        self.store = Store::Up { open, upkeep };
        self.published.trouble.store(None);
        if !self.quiesced {
            // What was handed over before the journal failed is on its way; after a restart nobody
            // knows, and a keyless receiver is told so.
            for mut orphan in recovered.orphans {
                orphan.id.0 |= ORPHAN;
                self.outbox.send(orphan, true);
            }
            for notification in recovered.outbox {
                if self.in_flight.insert(notification.id) {
                    self.outbox.send(notification, first);
                }
            }
        }
        self.release(released);
        Ok(())
    }
}

/// What the engine is told of a notification that the storage lost: it decides anew.
fn unreadable(id: NotificationId) -> Report {
    let detail = "the storage was damaged and the text is lost".to_owned();
    let rejection = Rejection { reason: "storageDamaged".into(), detail, ambiguous: true };
    Report { id, outcome: Outcome::Rejected(rejection), attempts: 0 }
}

/// Handles the passing of time, if it is time: repeats that have waited long enough, and the
/// engine's own deadline.
fn due(
    open: &mut Open,
    upkeep: &mut Upkeep,
    clock: &EngineClock,
    tick: &mut Tick,
) -> Result<(), JournalError> {
    let now = clock.now();
    let passed = |open: &Open| open.engine.next_deadline().filter(|(at, _)| *at <= now);
    if open.seen.due().is_some_and(|at| at <= now) || passed(open).is_some() {
        // A deadline may lie further ahead once the repeats have counted.
        tick.flush(open, clock)?;
    }
    let Some(deadline) = passed(open) else {
        upkeep.stuck = None;
        return Ok(());
    };
    if upkeep.stuck == Some(deadline) {
        return Ok(());
    }
    tick.apply(open, clock, &Event::Tick)?;
    if passed(open) == Some(deadline) {
        // Never seen to happen; a thread that spins would be worse than one late timer.
        tracing::error!(at = %deadline.0, why = ?deadline.1, "a deadline stays after it has passed");
        upkeep.stuck = Some(deadline);
    }
    Ok(())
}

/// Has a dead letter sent again, if there is one: as it is, or anew if its incident goes on.
fn replay(
    open: &mut Open,
    clock: &EngineClock,
    tick: &mut Tick,
    id: NotificationId,
    done: oneshot::Sender<Result<(), ReplayError>>,
) -> Result<(), JournalError> {
    let letters = open.journal.dead_letters(DEAD_LETTERS)?;
    let Some(letter) = letters.iter().find(|letter| letter.notification.id == id) else {
        let _ = done.send(Err(ReplayError::NotFound));
        return Ok(());
    };
    let opens = matches!(letter.notification.kind, Kind::Page | Kind::Update);
    if opens && !open.engine.can_replay(id) {
        let _ = done.send(Err(ReplayError::Over));
        return Ok(());
    }
    tick.wait(Box::new(move |outcome| {
        let _ = done.send(outcome.map(|_| ()).map_err(|e| Unavailable(e.into()).into()));
    }));
    tick.apply(open, clock, &Event::Replay(id))
}

/// Grants a request about silences, or says why not; what is refused is no event.
fn silence(
    open: &mut Open,
    clock: &EngineClock,
    tick: &mut Tick,
    request: &SilenceRequest,
    done: oneshot::Sender<Result<SmolStr, SilenceFailure>>,
) -> Result<(), JournalError> {
    let change = match open.engine.plan_silence(clock.now(), request) {
        Ok(change) => change,
        Err(error) => {
            let _ = done.send(Err(error.into()));
            return Ok(());
        }
    };
    let id = change.id().clone();
    tick.wait(Box::new(move |outcome| {
        let _ = done.send(outcome.map(|_| id).map_err(|e| Unavailable(e.into()).into()));
    }));
    tick.apply(open, clock, &Event::Silence(change))
}

fn dead_letters(done: oneshot::Sender<Result<Vec<crate::journal::DeadLetter>, Unavailable>>) -> Waiter {
    Box::new(move |outcome| {
        let letters = match outcome {
            Ok(open) => open.journal.dead_letters(DEAD_LETTERS).map_err(|e| Unavailable(e.to_string())),
            Err(reason) => Err(Unavailable(reason.into())),
        };
        let _ = done.send(letters);
    })
}

/// Answers with what `read` sees once the tick is durable.
fn told<T: Send + 'static>(
    done: oneshot::Sender<Result<T, Unavailable>>,
    read: impl FnOnce(&mut Open) -> T + Send + 'static,
) -> Waiter {
    Box::new(move |outcome| {
        let _ = done.send(outcome.map(read).map_err(|reason| Unavailable(reason.into())));
    })
}

struct CloseOnDrop(Queue);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
