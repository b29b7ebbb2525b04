//! The one owner of engine and journal: takes commands, makes their ticks durable, lets them out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use smol_str::SmolStr;
use tokio::sync::oneshot;

use crate::config::Policy;
use crate::decision_log::line_to_ignore;
use crate::engine::{Alarm, Engine, Event, Why};
use crate::journal::{Crowding, JournalError, JournalSource, Seq};
use crate::model::{Batch, Duration, Notification, NotificationId, Outcome, Report, Timestamp};
use crate::spans::{Span, SpanRole, TraceContext, Tracer};
use crate::web::Unavailable;

use super::asks::{dead_letters, let_go, replay, silence, told};
use super::clock::EngineClock;
use super::down::{Down, Lost};
use super::failopen::{FAIL_OPEN, Meanwhile};
use super::input::InputWatch;
use super::observe::{NotTaken, acknowledge, observe, take_inbox};
use super::poison::{Broken, Suspects, TickFailure, guarded};
use super::published::Published;
use super::queue::{Command, Queue};
use super::recover::RecoverError;
use super::tick::{Open, Released, Tick};

/// A snapshot is taken when a replay would have to read this many bytes of events, or
/// [`SNAPSHOT_PER_ALERT`] for each known alert if larger. The cost of writing a snapshot is then as small a
/// share as the reading that it spares.
pub const SNAPSHOT_BYTES: u64 = 16 << 20;
/// See [`SNAPSHOT_BYTES`].
pub const SNAPSHOT_PER_ALERT: u64 = 1 << 10;
/// A snapshot is taken after this time too, once an eighth of [`SNAPSHOT_PER_ALERT`] has gathered.
pub const SNAPSHOT_EVERY: Duration = Duration::from_mins(5);
/// In place of the bytes that a replay would have to read: a snapshot is due in any case.
pub(super) const SNAPSHOT_NOW: u64 = 1 << 62;
/// How often old rows leave the journal.
pub const PRUNE_EVERY: Duration = Duration::from_hours(24);
/// How old delivered notifications and decisions grow in the journal.
pub const KEEP: Duration = Duration::from_hours(30 * 24);

/// How soon it goes on if one call did not remove all: commits come between.
const PRUNE_AGAIN: Duration = Duration::from_secs(1);

/// How soon the room that the journal takes is measured again while nothing is written.
const MEASURE_AGAIN: Duration = Duration::from_secs(1);

/// So many ticks for the inbox come before one for the commands that wait.
const INBOX_TICKS: usize = 64;

/// The condition variable counts time that a suspended machine does not: look again this often.
const PATIENCE_MAX: Duration = Duration::from_secs(10);

const STOPPING: &str = "shutting down";

/// Where durable notifications go.
pub trait Outbox: Send {
    /// Takes a notification. It never blocks. `possible_repeat`: the receiver may have had it before.
    fn send(&self, notification: Notification, possible_repeat: bool);
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
    pub(super) source: Box<dyn JournalSource>,
    queue: Queue,
    pub(super) clock: Arc<EngineClock>,
    pub(super) outbox: Box<dyn Outbox>,
    pub(super) published: Arc<Published>,
    pub(super) policy: Policy,
    pub(super) store: Store,
    /// Handed to the outbox and not yet durably ended: after the journal was read again, these are
    /// on their way already. Bounded by the journal's outbox.
    pub(super) in_flight: BTreeSet<NotificationId>,
    /// Ends that the journal could not take. They are applied once it can. Bounded by `in_flight`.
    pub(super) owed: Vec<Report>,
    /// Alarms that a person must get, until the storage has taken them.
    pub(super) alarms: Vec<Alarm>,
    /// The open journal whose files are no longer where the storage belongs.
    pub(super) lost: Option<Lost>,
    /// The last event that is durable, as far as this process knows.
    pub(super) durable: Seq,
    /// The engine that goes on while the storage is unusable.
    pub(super) meanwhile: Option<Meanwhile>,
    /// The inputs that made the engine fail.
    pub(super) suspects: Suspects,
    /// When the engine last failed, and how long input was refused then.
    pub(super) broke: Option<(Timestamp, Duration)>,
    /// After damage, pages left whose events are lost. They may have opened what the engine pages now.
    pub(super) sent_orphans: bool,
    /// Whether the storage was read by this process.
    pub(super) born: bool,
    pub(super) quiesced: bool,
}

pub(super) enum Store {
    Up { open: Box<Open>, upkeep: Upkeep },
    Down(Down),
}

/// The times of the node's regular work.
pub(super) struct Upkeep {
    /// Bytes of events since the last snapshot.
    pub(super) replay: u64,
    pub(super) snapshot_at: Timestamp,
    /// When the room that the journal takes was last measured.
    pub(super) measured_at: Timestamp,
    pub(super) pruned_at: Timestamp,
    /// When the inbox was last looked into.
    pub(super) inbox_at: Timestamp,
    /// It may have more rows than the last tick took.
    pub(super) inbox_waits: bool,
    /// The deadline that a tick left where it was.
    pub(super) stuck: Option<(Timestamp, Why)>,
    pub(super) input: InputWatch,
}

impl Upkeep {
    /// When a snapshot is due, if nothing more happens.
    fn snapshot_due(&self, engine: &Engine) -> Option<Timestamp> {
        let state = engine.query().alerts_known() * SNAPSHOT_PER_ALERT;
        match self.replay {
            0 => None,
            replay if replay >= SNAPSHOT_BYTES.max(state) => Some(self.snapshot_at),
            replay if replay * 8 >= state => Some(self.snapshot_at + SNAPSHOT_EVERY),
            _ => None,
        }
    }
}

/// All that a [`Core`] needs.
pub struct Parts {
    /// Opens the journal: at the start, and again after each failure.
    pub source: Box<dyn JournalSource>,
    /// Where commands come from.
    pub queue: Queue,
    /// Engine time.
    pub clock: Arc<EngineClock>,
    /// Where notifications go.
    pub outbox: Box<dyn Outbox>,
    /// The state that other threads may read.
    pub published: Arc<Published>,
    /// The configuration of this start.
    pub policy: Policy,
}

impl Core {
    /// Opens the journal, brings the engine up, and sends undelivered notifications.
    ///
    /// # Errors
    /// The journal cannot be used or understood. Nothing was sent then.
    pub fn start(parts: Parts) -> Result<Core, RecoverError> {
        let Parts { source, queue, clock, outbox, published, policy } = parts;
        published.meter.adopted(&policy);
        let down = Down::new(String::new(), clock.now());
        let mut core = Core {
            source,
            queue,
            clock,
            outbox,
            published,
            policy,
            store: Store::Down(down),
            in_flight: BTreeSet::new(),
            owed: Vec::new(),
            alarms: Vec::new(),
            lost: None,
            durable: 0,
            meanwhile: None,
            suspects: Suspects::default(),
            broke: None,
            sent_orphans: false,
            born: false,
            quiesced: false,
        };
        match core.bring_up() {
            // To end here would be to end at every start.
            Err(RecoverError::Engine(broken)) => core.break_down(&broken),
            Err(RecoverError::Journal(error @ JournalError::Standby(_))) => core.stand_by(&error),
            other => other?,
        }
        Ok(core)
    }

    /// Runs on a thread of its own, named `engine`, until [`Command::Stop`]. The receiver resolves
    /// when the thread ends.
    pub fn spawn(mut self) -> std::io::Result<oneshot::Receiver<()>> {
        let (ended, end) = oneshot::channel();
        std::thread::Builder::new().name("engine".into()).spawn(move || {
            // When this thread ends, no caller may go on waiting for it.
            let closed = CloseOnDrop(self.queue.clone());
            loop {
                match guarded(|| self.step(self.patience())) {
                    Ok(Flow::Continue) => {}
                    Ok(Flow::Stopped) => break,
                    // Callers that waited for this tick learn that it has ended, and ask again.
                    Err(reason) => self.break_down(&Broken { event: Box::new(Event::Tick), reason }),
                }
            }
            drop(self);
            drop(closed);
            let _ = ended.send(());
        })?;
        Ok(end)
    }

    /// How long [`Core::step`] may wait for a command before other work is due.
    pub fn patience(&self) -> Duration {
        let now = self.clock.now();
        let due = match &self.store {
            Store::Down(down) => {
                let meanwhile = self.meanwhile.as_ref().and_then(|m| m.due(now, &self.policy.failopen));
                Some(meanwhile.map_or(down.retry_at, |at| at.min(down.retry_at)))
            }
            Store::Up { open, upkeep } => {
                let deadline = (!self.quiesced)
                    .then(|| open.engine.next_deadline())
                    .flatten()
                    .filter(|deadline| upkeep.stuck != Some(*deadline));
                let snapshot = upkeep.snapshot_due(&open.engine);
                let prune = Some(upkeep.pruned_at + PRUNE_EVERY);
                let inbox = open.journal.inbox_every().map(|every| upkeep.inbox_at + every);
                let dues = [deadline.map(|(at, _)| at), open.repeats.due(), snapshot, prune, inbox];
                dues.into_iter().flatten().min()
            }
        };
        due.map_or(PATIENCE_MAX, |at| at.since(now).min(PATIENCE_MAX))
    }

    /// Handles everything that waits and is due as one tick. It waits at most `patience` for a command.
    pub fn step(&mut self, patience: Duration) -> Flow {
        let commands = self.queue.take(patience.to_std());
        if let Store::Up { open, upkeep } = &mut self.store
            && open.journal.inbox_every().is_some()
            && commands.iter().any(Command::order_counts)
        {
            upkeep.inbox_waits = true;
        }
        // Alerts of the inbox were accepted before those that wait here. One sender may have sent both.
        for _ in 0..INBOX_TICKS {
            let Store::Up { upkeep: Upkeep { inbox_waits: true, .. }, .. } = self.store else { break };
            if self.tick(Vec::new()) == Flow::Stopped {
                return Flow::Stopped;
            }
        }
        match self.store {
            Store::Up { .. } => self.tick(commands),
            Store::Down(_) => self.refuse(commands),
        }
    }

    fn tick(&mut self, commands: Vec<Command>) -> Flow {
        let Store::Up { open, upkeep } = &mut self.store else { return Flow::Continue };
        let mut tick = Tick::default();
        let (mut stop, mut policy_now, mut traced) = (None, None, Vec::new());
        let mut failed = open.journal.may_decide().map_err(TickFailure::Storage);
        if failed.is_ok() && !self.quiesced {
            failed = due(open, upkeep, &self.clock, &mut tick);
        }
        if failed.is_ok()
            && !self.quiesced
            && let Some(alarm) = upkeep.input.look(self.clock.now(), self.published.meter.unread())
        {
            failed = tick.apply(open, &self.clock, &Event::Alarm(alarm));
        }
        if failed.is_ok()
            && !self.quiesced
            && let Some(every) = open.journal.inbox_every()
            && (upkeep.inbox_waits || self.clock.now() >= upkeep.inbox_at + every)
        {
            upkeep.inbox_at = self.clock.now();
            let taken = take_inbox(open, &self.clock, &self.published, &mut tick);
            upkeep.inbox_waits = taken.as_ref().is_ok_and(|taken| *taken);
            failed = taken.map(drop);
        }
        let mut commands = commands.into_iter();
        while failed.is_ok()
            && let Some(command) = commands.next()
        {
            failed = match command {
                Command::Observe(_, _, done) if self.quiesced => {
                    let _ = done.send(Err(Unavailable(STOPPING.into())));
                    Ok(())
                }
                Command::Observe(batch, trace, done) => {
                    if trace.is_some() {
                        traced.push(decides(open, &self.published.tracer, &batch, trace));
                    }
                    match observe(open, &self.clock, &self.published, &mut tick, batch) {
                        Err(NotTaken::Short(reason)) => {
                            self.published.meter.shed();
                            let _ = done.send(Err(Unavailable(reason)));
                            Ok(())
                        }
                        taken => {
                            tick.wait(told(done, |_| ()));
                            match taken {
                                Err(NotTaken::Failed(failure)) => Err(failure),
                                _ => Ok(()),
                            }
                        }
                    }
                }
                Command::CheckStorage => open.journal.check().map_err(TickFailure::Storage),
                Command::Alarm(_) if self.quiesced => Ok(()),
                Command::Alarm(alarm) => tick.apply(open, &self.clock, &Event::Alarm(alarm)),
                Command::Report(report, done) => {
                    tick.wait(told(done, |_| ()));
                    tick.apply(open, &self.clock, &Event::Report(report))
                }
                Command::Delivered(report) if report.id.0 >= FAIL_OPEN => Ok(()),
                Command::Delivered(mut report) => {
                    if let Outcome::Recalled { ambiguous } = &mut report.outcome {
                        *ambiguous |= self.sent_orphans;
                    }
                    // Until this is durable, the report is in `Core::owed`.
                    self.owed.push(report.clone());
                    tick.delivered(open, &self.clock, report)
                }
                Command::Failed(_) if self.quiesced => Ok(()),
                Command::Failed(failed) => tick.apply(open, &self.clock, &Event::Failed(failed)),
                Command::Replay(id, done) => replay(open, &self.clock, &mut tick, id, done),
                Command::Silence(request, done) => silence(open, &self.clock, &mut tick, &request, done),
                Command::Release(release, done) => let_go(open, &self.clock, &mut tick, release, done),
                Command::Acknowledge(change, done) => {
                    tick.wait(told(done, |_| ()));
                    acknowledge(open, &self.clock, &mut tick, change)
                }
                Command::Look(look) => {
                    tick.wait(Box::new(move |outcome| look(outcome.map(|open| &open.engine))));
                    Ok(())
                }
                Command::Policy(policy, done) => {
                    policy_now = Some((*policy).clone());
                    tick.wait(told(done, |open| open.engine.query().orphans()));
                    tick.apply(open, &self.clock, &Event::Policy(policy))
                }
                Command::DeadLetters(wanted, done) => {
                    tick.wait(dead_letters(wanted, done));
                    Ok(())
                }
                Command::Quiesce(done) => {
                    self.quiesced = true;
                    // No later notification would take their places.
                    self.published.recalls.clear();
                    tick.wait(Box::new(move |_| {
                        let _ = done.send(());
                    }));
                    // The next start counts the silence of heartbeats up to now.
                    tick.apply(open, &self.clock, &Event::Tick)
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
                let outcome = tick.commit(open).map_err(|(e, left)| (TickFailure::Storage(e), left));
                if outcome.as_ref().is_ok_and(|released| released.events > 0) {
                    self.published.meter.committed(started.elapsed());
                }
                outcome
            }
            Err(failure) => Err((failure, tick.abandon())),
        };
        match outcome {
            Ok(released) => {
                // They end with the commit.
                drop(traced);
                if let Some(policy) = policy_now {
                    self.published.meter.adopted(&policy);
                    self.policy = policy;
                }
                let wrote = released.events > 0;
                self.release(released);
                self.upkeep(wrote, stop.is_some());
            }
            Err((failure, left)) => {
                let reason = failure.to_string();
                traced.iter_mut().for_each(|span: &mut Span| span.fail(&reason));
                match failure {
                    TickFailure::Storage(error) => self.go_down(&error, left.records, left.notifications),
                    TickFailure::Engine(broken) => self.break_down(&broken),
                }
                left.waiters.into_iter().for_each(|tell| tell(Err(&reason)));
                if self.refuse(commands.collect()) == Flow::Stopped {
                    return Flow::Stopped;
                }
            }
        }
        self.finish(stop)
    }

    /// The tick is durable: now, and not before, it may be seen from outside.
    pub(super) fn release(&mut self, released: Released) {
        let Store::Up { open, upkeep } = &mut self.store else { return };
        upkeep.replay += released.bytes;
        self.durable = open.seq;
        for id in &released.ended {
            self.in_flight.remove(id);
            self.published.recalls.ended(*id);
        }
        if !released.ended.is_empty() {
            self.owed.clear();
        }
        if !self.quiesced {
            for id in released.recalls.iter().filter(|id| !released.ended.contains(id)) {
                self.published.recalls.ask(*id);
            }
            for (notification, possible_repeat) in released.notifications {
                self.in_flight.insert(notification.id);
                self.outbox.send(notification, possible_repeat);
            }
        }
        if released.events > 0 {
            let stats = open.engine.query().stats();
            let before = self.published.stats.load_full();
            if stats.silences_without_room > before.silences_without_room {
                let ids: Vec<&str> =
                    open.engine.query().silences_without_room().take(10).map(|s| s.id.as_str()).collect();
                tracing::warn!(
                    count = stats.silences_without_room,
                    ids = ids.join(" "),
                    "silences do not work: their expressions take more memory than there is for silences"
                );
            }
            let named = |sender: &SmolStr| before.sender_clocks.contains_key(sender);
            for (sender, by) in stats.sender_clocks.iter().filter(|(sender, _)| !named(sender)) {
                tracing::warn!(
                    %sender, offset_seconds = by / 1000,
                    "the clock of a sender differs from the clock of this machine: check that both use NTP"
                );
            }
            for (rule, label) in stats.changing_labels.keys() {
                if !before.changing_labels.contains_key(&(rule.clone(), label.clone())) {
                    tracing::warn!(
                        alertname = %rule, %label, add = line_to_ignore(label),
                        "the value of a label changes at each evaluation of the rule, so each change is a new \
                         alert. Add the line under `identity`"
                    );
                }
            }
            for (value, alerts) in &stats.unknown_severities {
                if !before.unknown_severities.contains_key(value) {
                    let severities = &open.engine.policy().severities;
                    let counts_as = &severities.levels[severities.default].name;
                    let label = &severities.label;
                    match value.is_empty() {
                        true => tracing::warn!(
                            %label, alerts, %counts_as,
                            "alerts have no severity. Add the label to their rules, or name the level that they \
                             get with severities.default"
                        ),
                        false => tracing::warn!(
                            %label, %value, alerts, %counts_as,
                            "no severity level has this name or alias. Correct the rule, or add the value to \
                             the aliases of a level"
                        ),
                    }
                }
            }
            self.published.stats.store(Arc::new(stats));
        }
        for tell in released.waiters {
            if let Err(reason) = guarded(|| tell(Ok(open))) {
                tracing::error!(reason, "an answer broke off");
            }
        }
    }

    /// Snapshots and prunes when it is time. It always takes the last snapshot.
    fn upkeep(&mut self, wrote: bool, last: bool) {
        let now = self.clock.now();
        let Store::Up { open, upkeep } = &mut self.store else { return };
        let snapshot_due = upkeep.snapshot_due(&open.engine).is_some_and(|at| at <= now);
        let done = (|| {
            let mut crowding = Crowding::No;
            // A tick that only gathers repeats writes nothing.
            if wrote || last || now >= upkeep.measured_at + MEASURE_AGAIN {
                crowding = open.journal.crowding()?;
                upkeep.measured_at = now;
            }
            if upkeep.replay > 0 && (snapshot_due || last || crowding == Crowding::Snapshot) {
                let body = open.engine.snapshot();
                open.journal.snapshot(open.seq, &body)?;
                tracing::debug!(seq = open.seq, bytes = body.len(), "snapshot taken");
                (upkeep.replay, upkeep.snapshot_at) = (0, now);
            }
            if crowding != Crowding::No {
                open.journal.trim()?;
            }
            if now >= upkeep.pruned_at + PRUNE_EVERY {
                let more = open.journal.prune(now - KEEP)?;
                upkeep.pruned_at = if more { now - PRUNE_EVERY + PRUNE_AGAIN } else { now };
            }
            Ok(())
        })();
        if let Err(e) = done {
            self.go_down(&e, Vec::new(), Vec::new());
        }
    }

    pub(super) fn finish(&mut self, stop: Option<oneshot::Sender<()>>) -> Flow {
        let fenced = self.published.fenced.load().is_some();
        let Some(done) = stop else { return if fenced { Flow::Stopped } else { Flow::Continue } };
        if let Store::Up { open, .. } = &mut self.store {
            open.journal.release();
        }
        // Gives the lock on the storage back before any caller learns that it is free.
        self.store = Store::Down(Down::new(STOPPING.into(), Timestamp::MAX));
        let _ = done.send(());
        Flow::Stopped
    }
}

/// Handles the passing of time, if it is time: repeats that have waited long enough, and the
/// engine's own deadline.
fn due(
    open: &mut Open,
    upkeep: &mut Upkeep,
    clock: &EngineClock,
    tick: &mut Tick,
) -> Result<(), TickFailure> {
    let now = clock.now();
    let passed = |open: &Open| open.engine.next_deadline().filter(|(at, _)| *at <= now);
    if open.repeats.due().is_some_and(|at| at <= now) || passed(open).is_some() {
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
        // This was never seen to happen. A thread that spins would be worse than one late timer.
        tracing::error!(at = %deadline.0, why = ?deadline.1, "a deadline stays due after it has passed");
        upkeep.stuck = Some(deadline);
    }
    Ok(())
}

/// The decision about a request, up to its commit. Notifications about its alerts are a part of it.
fn decides(open: &Open, tracer: &Tracer, batch: &Batch, trace: Option<TraceContext>) -> Span {
    let mut span = tracer.part(trace, "decide", SpanRole::Internal);
    span.set("squelch.alerts", batch.observations.len());
    if let Some(context) = span.context() {
        let alerts = guarded(|| open.engine.query().alerts_of(batch));
        tracer.carries(alerts.unwrap_or_default(), context);
    }
    span
}

struct CloseOnDrop(Queue);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
