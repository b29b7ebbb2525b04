//! The storage is unusable: the answers meanwhile, the work that goes on, and the way back up.

use std::collections::BTreeSet;

use tokio::sync::oneshot;

use crate::engine::{Alarm, Engine, Event, GatheredRepeats};
use crate::journal::{Journal, JournalError, Record, Recovered};
use crate::model::{Duration, Notification, NotificationId, Outcome, Problem, Rejection, Report, Timestamp};
use crate::web::{ReplayError, Unavailable};

use super::core::{Core, Flow, PRUNE_EVERY, SNAPSHOT_NOW, Store, Upkeep};
use super::failopen::{FAIL_OPEN, Meanwhile, ORPHAN};
use super::input::InputWatch;
use super::observe::{Accepted, DAMAGE_LASTS};
use super::poison::{Broken, TickFailure};
use super::queue::Command;
use super::recover::{RecoverError, rebuild};
use super::tick::{Open, Tick};

const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// How long nothing is taken after the files of the storage went, if they do not come back.
const SETTLES: Duration = Duration::from_secs(30);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// The longest time between two lines of the log that say that the storage still fails.
const QUIET_MAX: Duration = Duration::from_mins(5);
/// How often a standby asks whether it may take over. An orderly takeover waits half of it.
const STANDBY_EVERY: Duration = Duration::from_millis(250);
/// The owner before lived until so long before a takeover, at the earliest: a lease lasts 10 s. If this
/// process has accepted alerts for that long, no statement was lost.
const OWNER_LIVED: Duration = Duration::from_secs(15);
/// An engine that fails after this time without a failure is read anew at once.
const CALM: Duration = Duration::from_mins(1);

/// Where the answer to a batch goes.
type Answer = oneshot::Sender<Result<(), Unavailable>>;

/// Why the storage is not in use, and when it is tried again.
pub(super) struct Down {
    pub(super) reason: String,
    pub(super) retry_at: Timestamp,
    backoff: Duration,
    /// Another process owns the storage, or did when this one could last ask.
    standby: bool,
    /// Since when this standby reaches the storage at each look, and accepts alerts for the owner.
    accepts_since: Option<Timestamp>,
    failed: Failed,
}

/// The attempts to read the storage again that failed. A line about one keeps the log quiet for a while,
/// and for longer after each line.
#[derive(Clone, Copy, Default)]
struct Failed {
    attempts: u64,
    quiet: Duration,
    say_at: Timestamp,
}

impl Failed {
    /// One more attempt failed. Whether the log shall say so. It always says that the error is a `new` one.
    fn again(&mut self, now: Timestamp, new: bool) -> bool {
        self.attempts += 1;
        if !new && now < self.say_at {
            return false;
        }
        self.quiet = doubled(self.quiet, QUIET_MAX).max(BACKOFF_MIN);
        self.say_at = now + self.quiet;
        true
    }
}

impl Down {
    /// Tried again at `retry_at`, and then after the shortest wait.
    pub(super) fn new(reason: String, retry_at: Timestamp) -> Self {
        Down {
            reason,
            retry_at,
            backoff: BACKOFF_MIN,
            standby: false,
            accepts_since: None,
            failed: Failed::default(),
        }
    }
}

/// A journal whose files were removed, moved or replaced while it was open. It still reads them.
pub(super) struct Lost {
    journal: Box<dyn Journal>,
    since: Timestamp,
}

impl Core {
    /// The storage failed. The engine, which is ahead of it by `records`, goes on in memory. It sends the
    /// pages that must leave without storage, if it may. `notifications` followed from these records.
    pub(super) fn go_down(
        &mut self,
        error: &JournalError,
        records: Vec<Record>,
        notifications: Vec<Notification>,
    ) {
        if let JournalError::Fenced(_) = error {
            return self.end_fenced(error);
        }
        tracing::error!(%error, "storage failed: nothing is accepted until it is read again");
        self.published.meter.store_failed();
        let now = self.clock.now();
        let before = std::mem::replace(&mut self.store, Store::Down(Down::new(String::new(), now)));
        if let Store::Up { open, .. } = before {
            let Open { engine, journal, .. } = *open;
            if !self.policy.failopen.after.is_zero() {
                self.meanwhile = Some(Meanwhile::new(now, engine, records, notifications));
            }
            // Otherwise this process gives the storage up, and the same program opens it anew.
            if let Err(gone) = journal.check() {
                self.lost = Some(Lost { journal, since: now });
                self.tell_gone(now, &gone);
            }
        }
        self.stay_down(error.to_string(), BACKOFF_MIN);
    }

    /// Another process decides. The state and the work of this one are void, so it ends.
    pub(super) fn end_fenced(&mut self, error: &JournalError) {
        tracing::error!(%error, "this process decides nothing any more, and ends");
        self.published.meter.store_failed();
        let reason = error.to_string();
        self.published.fenced.store(Some(std::sync::Arc::new(reason.clone())));
        self.published.standby.store(None);
        self.published.trouble.store(Some(std::sync::Arc::new(reason.clone())));
        self.meanwhile = None;
        self.store = Store::Down(Down::new(reason, Timestamp::MAX));
    }

    /// Another process owns the storage. This one asks again soon, and sends nothing without storage: the
    /// owner pages.
    pub(super) fn stand_by(&mut self, error: &JournalError) {
        let waited =
            matches!(&self.store, Store::Down(down) if down.standby && down.reason == error.to_string());
        if !waited {
            tracing::info!("{error}. This process accepts alerts for it, and takes over when the lease ends");
        }
        let reason = error.to_string();
        self.published.standby.store(Some(std::sync::Arc::new(reason.clone())));
        self.published.trouble.store(None);
        let now = self.clock.now();
        let before = if let Store::Down(down) = &self.store { down.accepts_since } else { None };
        let (backoff, accepts_since) = (STANDBY_EVERY, before.or(Some(now)));
        let down = Down::new(reason, now + STANDBY_EVERY);
        self.store = Store::Down(Down { standby: true, accepts_since, backoff, ..down });
    }

    /// Makes alerts durable for the owner, all of them at once, and answers their senders.
    fn hand_over(&mut self, accepted: Vec<(Accepted, Answer)>) {
        if accepted.is_empty() {
            return;
        }
        let (batches, answers): (Vec<Accepted>, Vec<Answer>) = accepted.into_iter().unzip();
        let handed = match serde_json::to_string(&batches) {
            Ok(body) => self.source.hand_over(&body),
            Err(error) => Err(JournalError::Refused(error.to_string())),
        };
        if let Err(JournalError::Failed(_) | JournalError::Unusable { .. }) = &handed
            && let Store::Down(down) = &mut self.store
        {
            // It accepts again once it has reached the storage.
            down.accepts_since = None;
            self.published.standby.store(None);
        }
        let handed = handed.map_err(|error| {
            tracing::error!(%error, "alerts are not accepted for the owner");
            error.to_string()
        });
        if let (Err(reason), Store::Down(Down { accepts_since: None, .. })) = (&handed, &self.store) {
            self.published.trouble.store(Some(std::sync::Arc::new(reason.clone())));
        }
        for done in answers {
            let _ = done.send(handed.clone().map_err(Unavailable));
        }
    }

    /// Raises an alarm without the storage if that is allowed, and otherwise once there is one again.
    fn tell_gone(&mut self, now: Timestamp, gone: &JournalError) {
        let problem = Problem::StorageGone { error: gone.to_string(), rescue_after: SETTLES };
        let alarm = Alarm { problem, lasts: DAMAGE_LASTS };
        match &mut self.meanwhile {
            Some(meanwhile) => meanwhile.handle(now, &Event::Alarm(alarm)),
            None => self.owe_alarm(alarm),
        }
    }

    /// Copies data that is only in open files to the place of the storage. It waits until the place has
    /// been left alone for a while: a volume that moves is often there again in seconds.
    fn rescue(&mut self, now: Timestamp) -> Result<(), RecoverError> {
        let Some(lost) = &mut self.lost else { return Ok(()) };
        lost.journal.rescue()?;
        let settled = lost.since + SETTLES;
        if now < settled && lost.journal.check().is_err() {
            let left = settled.since(now).as_millis().div_ceil(1_000);
            return Err(JournalError::Gone(format!(
                "all that was acknowledged is written anew, and alerts are taken again in {left} s"
            ))
            .into());
        }
        self.lost = None;
        Ok(())
    }

    /// The engine failed and is not trusted. It is read anew from durable data, at once the first time and
    /// later if it fails again.
    pub(super) fn break_down(&mut self, broken: &Broken) {
        self.note(broken);
        self.suspects.add((*broken.event).clone());
        let now = self.clock.now();
        let backoff = match self.broke {
            Some((at, backoff)) if now < at + CALM => doubled(backoff, BACKOFF_MAX).max(BACKOFF_MIN),
            _ => Duration::ZERO,
        };
        self.broke = Some((now, backoff));
        self.stay_down(broken.to_string(), backoff);
        if !backoff.is_zero() {
            self.go_on_afresh();
        }
    }

    /// Logs that the engine failed.
    fn note(&mut self, broken: &Broken) {
        tracing::error!(error = %broken, input = broken.excerpt(), "the engine broke, which is a bug");
        self.published.meter.engine_broke();
        if !matches!(*broken.event, Event::Alarm(_)) {
            self.owe_alarm(broken.alarm());
        }
    }

    /// Keeps an alarm until the storage has taken it, one of each name.
    fn owe_alarm(&mut self, alarm: Alarm) {
        self.alarms.retain(|known| known.problem.alertname() != alarm.problem.alertname());
        self.alarms.push(alarm);
    }

    /// Goes on with an empty engine, so that pages leave after a while.
    fn go_on_afresh(&mut self) {
        if self.meanwhile.is_none() && !self.policy.failopen.after.is_zero() {
            self.meanwhile = Meanwhile::afresh(self.clock.now(), self.policy.clone());
        }
    }

    fn stay_down(&mut self, reason: String, backoff: Duration) {
        self.published.trouble.store(Some(std::sync::Arc::new(reason.clone())));
        self.published.recalls.clear();
        let retry_at = self.clock.now() + backoff;
        self.store = Store::Down(Down { backoff, ..Down::new(reason, retry_at) });
    }

    /// Answers all callers that nothing can be accepted, sends the pages that must leave, keeps reports,
    /// and tries the journal again when it is time.
    pub(super) fn refuse(&mut self, commands: Vec<Command>) -> Flow {
        let Store::Down(down) = &self.store else { return Flow::Continue };
        let (retry_at, backoff, reason) = (down.retry_at, down.backoff, down.reason.clone());
        let (standby, accepts, mut failed) = (down.standby, down.accepts_since.is_some(), down.failed);
        let mut accepted = Vec::new();
        let unavailable = || Unavailable(reason.clone());
        let mut stop = None;
        for command in commands {
            match command {
                Command::Observe(batch, _, done) if accepts && !self.quiesced => {
                    accepted.push((Accepted::Alerts(batch), done));
                }
                Command::Acknowledge(acknowledgement, done) if accepts && !self.quiesced => {
                    accepted.push((Accepted::Acknowledgement { acknowledgement }, done));
                }
                Command::Observe(batch, _, done) => {
                    let _ = done.send(Err(unavailable()));
                    if let Some(meanwhile) = self.meanwhile.as_mut().filter(|_| !self.quiesced) {
                        meanwhile.observe(self.clock.now(), self.clock.ahead(), batch);
                    }
                }
                Command::CheckStorage | Command::Failed(_) => {}
                Command::Report(_, done) => drop(done.send(Err(unavailable()))),
                Command::Alarm(alarm) => self.owe_alarm(alarm),
                Command::Policy(policy, done) if standby => {
                    // It takes over under the configuration that was read last.
                    self.published.meter.adopted(&policy);
                    self.policy = *policy;
                    let _ = done.send(Ok(Vec::new()));
                }
                Command::Policy(_, done) => drop(done.send(Err(unavailable()))),
                Command::Replay(_, done) => drop(done.send(Err(ReplayError::Unavailable(unavailable())))),
                Command::Silence(_, done) => drop(done.send(Err(unavailable().into()))),
                Command::Release(_, done) => drop(done.send(Err(unavailable().into()))),
                Command::Acknowledge(_, done) => drop(done.send(Err(unavailable()))),
                Command::Look(look) => look(Err(&reason)),
                Command::DeadLetters(_, done) => drop(done.send(Err(unavailable()))),
                Command::Delivered(report) if report.id.0 >= ORPHAN => {}
                Command::Delivered(report) => self.delivered_without_storage(report),
                Command::Quiesce(done) => {
                    self.quiesced = true;
                    self.published.recalls.clear();
                    let _ = done.send(());
                }
                Command::Stop(done) => stop = Some(done),
            }
        }
        self.hand_over(accepted);
        if stop.is_some()
            && let Some(lost) = &mut self.lost
            && let Err(error) = lost.journal.rescue()
        {
            tracing::error!(%error, "the acknowledged state ends with this process");
        }
        let fenced = self.published.fenced.load().is_some();
        if stop.is_none() && !fenced && self.clock.now() >= retry_at {
            match self.rescue(self.clock.now()).and_then(|()| self.bring_up()) {
                Ok(()) if standby => tracing::info!("this process owns the storage now: accepting"),
                Ok(()) => tracing::info!("storage is read again: accepting"),
                Err(RecoverError::Journal(error @ JournalError::Fenced(_))) => self.end_fenced(&error),
                Err(RecoverError::Journal(error @ JournalError::Standby(_))) => self.stand_by(&error),
                Err(error) => {
                    let says = failed.again(self.clock.now(), error.to_string() != reason);
                    let attempts = failed.attempts;
                    match error {
                        RecoverError::Engine(_) => {
                            if says {
                                tracing::error!(%error, attempts, "the engine cannot be read anew");
                            }
                            self.go_on_afresh();
                        }
                        _ if says => tracing::error!(%error, attempts, "storage still fails"),
                        _ => {}
                    }
                    self.published.standby.store(None);
                    let wait = if standby { BACKOFF_MIN } else { doubled(backoff, BACKOFF_MAX) };
                    self.stay_down(error.to_string(), wait);
                    if let Store::Down(down) = &mut self.store {
                        (down.standby, down.failed) = (standby, failed);
                    }
                }
            }
        }
        self.send_without_storage();
        self.finish(stop)
    }

    fn delivered_without_storage(&mut self, mut report: Report) {
        let without_storage = report.id.0 >= FAIL_OPEN;
        report.id.0 &= !FAIL_OPEN;
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile.handle(self.clock.now(), &Event::Delivered(report));
        } else if without_storage {
            tracing::debug!(id = report.id.0, "the end of a page that was sent without storage comes late");
        } else if self.owed.len() < self.in_flight.len() {
            self.owed.push(report);
        } else {
            tracing::error!(?report, "a surplus report was dropped");
        }
    }

    /// Sends the engine's pages that must not wait for the storage.
    fn send_without_storage(&mut self) {
        let Some(meanwhile) = self.meanwhile.as_mut().filter(|_| !self.quiesced) else { return };
        meanwhile.pass_time(self.clock.now());
        for notification in meanwhile.take(self.clock.now(), &self.policy) {
            tracing::warn!(
                receiver = %notification.receiver, key = %notification.dedup_key,
                "a page is sent without storage"
            );
            self.published.meter.failed_open(&notification.receiver);
            self.outbox.send(notification, false);
        }
    }

    /// Opens the journal, rebuilds the engine, and records that it started. Then it applies the owed
    /// reports, and sends notifications that are not on their way yet. Inputs that make the engine fail
    /// meanwhile are put aside.
    pub(super) fn bring_up(&mut self) -> Result<(), RecoverError> {
        loop {
            match self.read_anew() {
                Err(RecoverError::Engine(broken)) if self.give_way(&broken) => self.note(&broken),
                done => return done,
            }
        }
    }

    /// Takes an input that made the engine fail out of its way. It returns false if the input is none of
    /// those handled at a start.
    fn give_way(&mut self, broken: &Broken) -> bool {
        let (owed, alarms) = (self.owed.len(), self.alarms.len());
        match &*broken.event {
            Event::Delivered(report) => self.owed.retain(|owed| owed.id != report.id),
            Event::Alarm(alarm) => self.alarms.retain(|known| known != alarm),
            event if self.suspects.broke(event) => return true,
            _ => {}
        }
        // Otherwise it was held in memory, and its senders were asked to send it again.
        (owed, alarms) != (self.owed.len(), self.alarms.len())
            || self.meanwhile.take_if(|m| !m.held().is_empty()).is_some()
    }

    fn read_anew(&mut self) -> Result<(), RecoverError> {
        let first = !self.born;
        let mut journal = self.source.open()?;
        let recovered = journal.recover()?;
        for note in &recovered.notes {
            tracing::warn!("{note}");
        }
        if let Some(path) = &recovered.quarantined {
            tracing::error!(path = %path.display(), "the storage was damaged: its files are kept here");
            let error: String = recovered.notes.join(", ").chars().take(1000).collect();
            self.owe_alarm(Alarm { problem: Problem::StorageDamaged { error }, lasts: DAMAGE_LASTS });
        }
        let rebuilt = rebuild(&recovered, &self.policy)?;
        let was_left_out = !rebuilt.left_out.is_empty();
        for (seq, broken) in rebuilt.left_out {
            if self.suspects.add_stored(seq, (*broken.event).clone()) {
                self.note(&broken);
                if let Event::Delivered(report) = *broken.event {
                    self.owed.push(report);
                }
            }
        }
        self.clock.not_before(rebuilt.engine.now());
        tracing::info!(
            events = rebuilt.replayed,
            seq = rebuilt.last_seq,
            undelivered = recovered.outbox.len(),
            "storage read"
        );
        if rebuilt.last_seq < self.durable && recovered.quarantined.is_none() {
            return Err(JournalError::Gone(format!(
                "it ends with event {}, and event {} was acknowledged: put the right files back, or restart \
                 to go on with these",
                rebuilt.last_seq, self.durable
            ))
            .into());
        }
        let lost = lost(&rebuilt.engine, &recovered);
        let (engine, seq, repeats) = (rebuilt.engine, rebuilt.last_seq, GatheredRepeats::default());
        let mut open = Box::new(Open { journal, engine, seq, repeats });
        let mut tick = Tick::default();
        let policy = || Event::Policy(Box::new(self.policy.clone()));
        if rebuilt.fresh {
            tick.apply(&mut open, &self.clock, &policy())?;
        }
        if let Some(meanwhile) = &self.meanwhile {
            tick.catch_up(&mut open, meanwhile.held())?;
            self.clock.not_before(open.engine.now());
        }
        let lived = self.clock.now() - OWNER_LIVED;
        let accepted =
            matches!(&self.store, Store::Down(down) if down.accepts_since.is_some_and(|at| at <= lived));
        if accepted && !rebuilt.fresh {
            tick.lived(&mut open, lived)?;
        }
        tick.apply(&mut open, &self.clock, &Event::Started)?;
        if *open.engine.policy() != self.policy {
            tick.apply(&mut open, &self.clock, &policy())?;
        }
        for alarm in &self.alarms {
            tick.apply(&mut open, &self.clock, &Event::Alarm(alarm.clone()))?;
        }
        let unreadable = recovered.unreadable.into_iter().chain(lost).map(unreadable);
        for report in self.owed.iter().cloned().chain(unreadable) {
            tick.delivered(&mut open, &self.clock, report)?;
        }
        self.suspects.apply(&mut tick, &mut open, &self.clock)?;
        self.recall_stored(&mut tick, &mut open, &recovered.outbox)?;
        let mut released = tick.commit(&mut open).map_err(|(e, _)| e)?;
        self.alarms.clear();
        self.suspects.settled();
        self.born = true;
        if first {
            warn_of_orphans(&open.engine);
        }
        let meanwhile = self.meanwhile.take();
        if let Some(meanwhile) = &meanwhile {
            for (notification, possible_repeat) in &mut released.notifications {
                *possible_repeat |= meanwhile.has_sent(notification.id);
            }
            tracing::info!(
                events = meanwhile.held().len(),
                "the events of the time without storage are stored now"
            );
        }
        let inbox_waits = open.journal.inbox_every().is_some();
        let now = self.clock.now();
        let replay = recovered.records.iter().map(|record| record.event.len() as u64).sum();
        let upkeep = Upkeep {
            // The next start must not meet the left-out events of this one again.
            replay: if was_left_out { SNAPSHOT_NOW } else { replay },
            snapshot_at: now,
            measured_at: Timestamp::ZERO,
            pruned_at: now - PRUNE_EVERY,
            inbox_at: Timestamp::ZERO,
            inbox_waits,
            stuck: None,
            input: InputWatch::new(now, self.published.meter.unread()),
        };
        let mut outbox = recovered.outbox;
        outbox.iter_mut().for_each(|notification| open.engine.query().readdress(notification));
        self.store = Store::Up { open, upkeep };
        self.published.trouble.store(None);
        self.published.standby.store(None);
        if !self.quiesced {
            // Notifications handed over before the journal failed are on their way. After a restart nothing
            // shows that, and the message to a keyless receiver says so.
            for mut orphan in recovered.orphans {
                orphan.id.0 |= ORPHAN;
                self.sent_orphans = true;
                self.outbox.send(orphan, true);
            }
            for notification in outbox {
                if !released.ended.contains(&notification.id) && self.in_flight.insert(notification.id) {
                    let sent = meanwhile.as_ref().is_some_and(|m| m.has_sent(notification.id));
                    self.outbox.send(notification, first || sent);
                }
            }
        }
        self.release(released);
        Ok(())
    }
}

impl Core {
    /// Notifications of the outbox that are not on their way, and whose incidents have changed, do not leave
    /// again. Their receivers get the present state, in which an attempt of an earlier process counts as
    /// possibly accepted.
    fn recall_stored(
        &self,
        tick: &mut Tick,
        open: &mut Open,
        outbox: &[Notification],
    ) -> Result<(), TickFailure> {
        let asked: BTreeSet<NotificationId> = tick.recalls().iter().copied().collect();
        let left = |id| {
            self.in_flight.contains(&id)
                || self.owed.iter().any(|report| report.id == id)
                || self.meanwhile.as_ref().is_some_and(|meanwhile| meanwhile.has_sent(id))
        };
        for id in outbox.iter().map(|n| n.id).filter(|id| asked.contains(id) && !left(*id)) {
            let outcome = Outcome::Recalled { ambiguous: true };
            tick.delivered(open, &self.clock, Report { id, outcome, attempts: 0, message: None })?;
        }
        Ok(())
    }
}

/// Incidents that this process cannot close. Only the process before it had the settings of these
/// integrations.
fn warn_of_orphans(engine: &Engine) {
    for orphan in engine.query().orphans() {
        tracing::error!(
            receiver = %orphan.receiver, integration = %orphan.integration, incident = %orphan.incident,
            key = %orphan.dedup_key,
            "the incident is open at an integration that the configuration does not have. Put the integration \
             back, or close the incident by hand once it is over"
        );
    }
}

fn doubled(wait: Duration, most: Duration) -> Duration {
    Duration::from_millis(wait.as_millis().saturating_mul(2)).min(most)
}

/// After damage: notifications that the engine waits for, and of which the storage has not even a trace.
fn lost(engine: &Engine, recovered: &Recovered) -> Vec<NotificationId> {
    if recovered.quarantined.is_none() {
        return Vec::new();
    }
    let there: BTreeSet<_> =
        recovered.outbox.iter().map(|n| n.id).chain(recovered.unreadable.clone()).collect();
    engine.query().in_flight().filter(|id| !there.contains(id)).collect()
}

/// The report to the engine about a notification that the storage lost. The engine decides anew.
fn unreadable(id: NotificationId) -> Report {
    let detail = "the storage was damaged and the text is lost".to_owned();
    let rejection = Rejection { reason: "storageDamaged".into(), detail, ambiguous: true };
    Report { id, outcome: Outcome::Rejected(rejection), attempts: 0, message: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_without_the_storage_is_few_lines_and_a_new_error_is_one_more() {
        let mut failed = Failed::default();
        let second = |n: u64| Timestamp::EPOCH + Duration::from_secs(n);
        let said: Vec<u64> = (0..3_600).filter(|n| failed.again(second(*n), *n == 1_000)).collect();
        assert_eq!(said[..6], [0, 1, 3, 7, 15, 31]);
        assert!(said.contains(&1_000) && said.len() < 24, "{said:?}");
        assert_eq!(failed.attempts, 3_600);
    }
}
