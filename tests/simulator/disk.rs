//! A journal on a disk that fails and dies as the plan says, and the checks that need no pager.
//! Acknowledged data is there, effects that leave are durable, and a replay of the journal is the live
//! engine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smol_str::SmolStr;
use squelch::engine::{Effects, Engine, Event, Stats};
use squelch::journal::{
    Commit, DEAD_LETTERS_KEPT, DeadLetter, Journal, JournalError, LetterQuery, MemoryJournal, Record,
    Recovered, Seq,
};
use squelch::model::{
    AlertId, Batch, Decision, Disposition, IncidentRecord, LabelSet, Notification, NotificationId, Outcome,
    Report, Status, Timestamp,
};

use crate::bugs::Bug;
use crate::excused::Excused;
use crate::image::Files;
use crate::plan::{KNOWN, LANES, Write};
use crate::replicas::is_of;
use crate::rng::Rng;

/// Batches that are compared with the acknowledged ones.
const BATCHES: usize = 200;

/// The disk of Squelch's machine. It outlives the process.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<State>>);

pub struct State {
    store: Store,
    bug: Option<Bug>,
    rng: Rng,
    /// The fate of the next write.
    pub next: Option<Write>,
    /// No write succeeds.
    pub full: bool,
    /// The machine died in a write: no one saw the later work of its process.
    pub died: bool,
    /// How often a failure was to be expected: the log may say so.
    pub excuses: u64,
    /// A replay of the durable events.
    shadow: Option<Engine>,
    /// Alerts that nothing may hold, but for a moment after an inhibition.
    critical: BTreeSet<AlertId>,
    excused: Excused,
    seq: Seq,
    asked: Seq,
    stats: Option<Stats>,
    outbox: BTreeSet<NotificationId>,
    dead: BTreeSet<NotificationId>,
    /// Dead letters that were sent again.
    resent: BTreeSet<NotificationId>,
    /// Torn writes. A start finds out whether they are there. A later one may complete an earlier one.
    maybe: Vec<Owned>,
    unsynced: Option<Owned>,
    stale: Option<Vec<u8>>,
    batches: VecDeque<Batch>,
    /// Statuses that were durable once, by label set.
    said: BTreeMap<String, BTreeSet<Status>>,
    /// Routed, disposed and received, which only rise.
    counted: [u64; 3],
    pub findings: Vec<String>,
    pub decisions: u64,
    /// Observations that the journal counts as repeats.
    pub repeats: u64,
    snapshots: u64,
}

enum Store {
    Memory(MemoryJournal),
    Files(Files),
}

/// A commit that outlives its call.
#[derive(Clone)]
struct Owned {
    records: Vec<Record>,
    decisions: Vec<Decision>,
    history: Vec<IncidentRecord>,
    notifications: Vec<Notification>,
    reports: Vec<Report>,
    resend: Vec<NotificationId>,
    made_good: Vec<NotificationId>,
    taken: Option<u64>,
}

impl Owned {
    fn of(c: &Commit<'_>) -> Owned {
        Owned {
            records: c.records.to_vec(),
            decisions: c.decisions.to_vec(),
            history: c.history.to_vec(),
            notifications: c.notifications.to_vec(),
            reports: c.reports.to_vec(),
            resend: c.resend.to_vec(),
            made_good: c.made_good.to_vec(),
            taken: c.taken,
        }
    }

    fn commit(&self) -> Commit<'_> {
        Commit {
            records: &self.records,
            decisions: &self.decisions,
            history: &self.history,
            notifications: &self.notifications,
            reports: &self.reports,
            resend: &self.resend,
            made_good: &self.made_good,
            taken: self.taken,
        }
    }
}

impl Disk {
    pub fn new(sqlite: bool, rng: Rng, bug: Option<Bug>) -> Disk {
        let store = match sqlite {
            true => Store::Files(Files::new()),
            false => Store::Memory(MemoryJournal::new(true)),
        };
        Disk(Arc::new(Mutex::new(State {
            store,
            bug,
            rng,
            next: None,
            full: false,
            died: false,
            excuses: 0,
            shadow: None,
            critical: BTreeSet::new(),
            excused: Excused::default(),
            seq: 0,
            asked: 0,
            stats: None,
            outbox: BTreeSet::new(),
            dead: BTreeSet::new(),
            resent: BTreeSet::new(),
            maybe: Vec::new(),
            unsynced: None,
            stale: None,
            batches: VecDeque::new(),
            said: BTreeMap::new(),
            counted: [0; 3],
            findings: Vec::new(),
            decisions: 0,
            repeats: 0,
            snapshots: 0,
        })))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next write comes to this.
    pub fn plan(&self, write: Write) {
        self.state().next = Some(write);
    }

    /// The process was killed: its files are those that the kernel has.
    pub fn killed(&self) {
        let mut state = self.state();
        state.unsynced = None;
        if let Store::Files(files) = &mut state.store {
            files.killed();
        }
    }

    /// Opens the journal, as [`squelch::node::OpenJournal`] does.
    pub fn open(&self) -> Result<Box<dyn Journal>, JournalError> {
        let mut state = self.state();
        if state.full {
            state.excuses += 1;
            return Err(JournalError::Unusable { path: "disk".into(), reason: "no space left".into() });
        }
        let inner: Box<dyn Journal> = match &mut state.store {
            Store::Memory(journal) => {
                *journal = journal.reopen();
                Box::new(journal.clone())
            }
            Store::Files(files) => files.open()?,
        };
        Ok(Box::new(Handle { disk: self.clone(), inner, poisoned: false }))
    }
}

struct Handle {
    disk: Disk,
    inner: Box<dyn Journal>,
    poisoned: bool,
}

impl Handle {
    /// Does a write, or the plan's fault in its stead. `single`: it is one transaction, which can tear.
    fn write<T>(
        &mut self,
        single: bool,
        commit: Option<&Commit<'_>>,
        work: impl FnOnce(&mut dyn Journal) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let failed = |what: &str| Err(JournalError::Failed(what.into()));
        if self.poisoned {
            return failed("an earlier write failed");
        }
        let mut state = self.disk.state();
        if state.died {
            return failed("the machine is dead");
        }
        let fate = if state.full { Some(Write::Fails) } else { state.next.take() };
        let Some(fate) = fate else {
            if state.bug == Some(Bug::AckBeforeSync)
                && let Some(commit) = commit
                && state.seq > 1
            {
                // Claims success. A crash forgets `work`.
                let before = state.unsynced.replace(Owned::of(commit));
                if let Some(before) = before {
                    self.inner.commit(&before.commit())?;
                    state.durable(&before);
                }
                return work(&mut Nothing);
            }
            let done = work(&mut *self.inner)?;
            if let Some(commit) = commit {
                state.durable(&Owned::of(commit));
            }
            return Ok(done);
        };
        state.excuses += 1;
        self.poisoned = true;
        let torn = fate == Write::Torn && single && matches!(state.store, Store::Files(_));
        let late = matches!(fate, Write::FailsLate | Write::DiesAfter);
        let there = late || fate == Write::Torn && !torn && state.rng.once_in(2);
        if torn {
            let State { store: Store::Files(files), rng, .. } = &mut *state else {
                return failed("no files");
            };
            files.before();
            work(&mut *self.inner)?;
            files.tear(rng);
            state.maybe.extend(commit.map(Owned::of));
        } else if there {
            if state.bug == Some(Bug::TwoTransactions)
                && let Some(commit) = commit
            {
                self.inner.commit(&Commit { records: commit.records, ..Commit::default() })?;
            } else {
                work(&mut *self.inner)?;
            }
            if let Some(commit) = commit {
                state.durable(&Owned::of(commit));
            }
        }
        state.died |= matches!(fate, Write::DiesBefore | Write::DiesAfter | Write::Torn);
        failed("told to fail")
    }
}

impl Journal for Handle {
    fn recover(&mut self) -> Result<Recovered, JournalError> {
        let mut recovered = self.inner.recover()?;
        let mut state = self.disk.state();
        state.recovered(&recovered);
        match state.bug {
            Some(Bug::OutboxForgotten) => recovered.outbox.clear(),
            Some(Bug::GenerationsForgotten) => {
                if let Some((_, body)) = &mut recovered.snapshot {
                    forget_generations(body);
                }
            }
            _ => {}
        }
        Ok(recovered)
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), JournalError> {
        let lost = self.disk.state().bug == Some(Bug::EndsLost);
        let reports = if lost { &[] } else { commit.reports };
        let stored = Commit { reports, ..*commit };
        self.write(true, Some(commit), |inner| inner.commit(&stored))
    }

    fn snapshot(&mut self, seq: Seq, body: &[u8]) -> Result<(), JournalError> {
        let mut body = body.to_vec();
        {
            let mut state = self.disk.state();
            state.is_live(seq, &body);
            if state.bug == Some(Bug::StaleSnapshot) {
                let old = state.stale.replace(body.clone());
                body = old.unwrap_or(body);
            }
        }
        self.write(true, None, |inner| inner.snapshot(seq, &body))
    }

    fn dead_letters(&mut self, wanted: &LetterQuery) -> Result<Vec<DeadLetter>, JournalError> {
        self.inner.dead_letters(wanted)
    }

    fn dead_letter_counts(&mut self) -> Result<BTreeMap<SmolStr, u64>, JournalError> {
        self.inner.dead_letter_counts()
    }

    fn prune(&mut self, before: Timestamp) -> Result<bool, JournalError> {
        self.write(false, None, |inner| inner.prune(before))
    }
}

impl State {
    fn found(&mut self, what: impl Into<String>) {
        self.findings.push(what.into());
    }

    /// The engine by the durable events, if there are any.
    pub fn engine(&self) -> Option<&Engine> {
        self.shadow.as_ref()
    }

    /// The counters, if an event was added since they were asked for.
    pub fn fresh(&mut self) -> Option<Stats> {
        if self.asked == self.seq {
            return None;
        }
        self.asked = self.seq;
        self.stats.clone()
    }

    pub fn undelivered(&self) -> usize {
        self.outbox.len()
    }

    pub fn dead_letters(&self) -> Vec<NotificationId> {
        self.dead.iter().copied().collect()
    }

    /// A notification is about to leave.
    pub fn leaves(&mut self, id: NotificationId) {
        if !self.outbox.contains(&id) {
            self.found(format!("notification {} leaves before it is durable", id.0));
        }
    }

    /// `batch` was answered 200.
    pub fn acknowledged(&mut self, batch: &Batch) {
        if self.batches.contains(batch) {
            return;
        }
        for o in &batch.observations {
            let said = self.said.get(&format!("{:?}", o.labels));
            let known = match o.status {
                Status::Firing => said.is_some_and(|s| s.contains(&Status::Firing)),
                // A resolve may repeat the passing of its `endsAt`.
                Status::Resolved => {
                    said.is_none_or(|s| s.contains(&Status::Resolved)) || self.is_resolved(&o.labels)
                }
            };
            if !known {
                self.found(format!("200 for what is not on disk: {:?} {:?}", o.status, o.labels));
            }
        }
    }

    /// Whether the durable events say that an alert fires no more.
    fn is_resolved(&self, labels: &LabelSet) -> bool {
        let Some(engine) = &self.shadow else { return false };
        let id = engine.policy().identity(labels);
        engine.query().alert(engine.now(), id).is_some_and(|detail| !detail.alert.firing)
    }

    /// The commit is on disk. It replays the commit, and compares the live engine with the result.
    fn durable(&mut self, c: &Owned) {
        let mut effects = Effects::default();
        for record in &c.records {
            if record.seq != self.seq + 1 {
                self.found(format!("event {} follows event {}", record.seq, self.seq));
            }
            let Ok(event) = serde_json::from_slice::<Event>(&record.event) else {
                self.found(format!("event {} cannot be read back", record.seq));
                continue;
            };
            let engine = self.shadow.get_or_insert_with(|| match &event {
                Event::Policy(policy) => Engine::new((**policy).clone()),
                other => panic!("the journal begins with {other:?}"),
            });
            if record.now < engine.now() {
                self.findings.push(format!("time goes back at event {}", record.seq));
            }
            engine.handle(record.now, &event, &mut effects);
            self.seq = record.seq;
            if let Event::Repeats(repeats) = &event {
                self.repeats += repeats.statements.iter().map(|one| one.count).sum::<u64>();
            }
            if let Event::Observe(batch) = event {
                for o in &batch.observations {
                    if o.labels.value("severity") == "critical" {
                        self.critical.insert(engine.policy().identity(&o.labels));
                    }
                    self.said.entry(format!("{:?}", o.labels)).or_default().insert(o.status);
                }
                if self.batches.len() == BATCHES {
                    self.batches.pop_front();
                }
                self.batches.push_back(batch);
            }
            self.excused.note(engine, &self.critical);
        }
        if !is_of(&c.commit(), &effects) {
            self.found(format!("replay of event {} decides otherwise than live did", self.seq));
        }
        self.decisions += c.decisions.len() as u64;
        self.excused.pages(&c.notifications);
        let excused = |d| self.shadow.as_ref().is_some_and(|engine| self.excused.excuses(engine, d));
        for d in &c.decisions {
            let held = matches!(d.disposition.reason(), "self_resolved" | "rate_limited" | "unsurprising");
            if held && self.critical.contains(&d.alert) && !excused(d) {
                self.findings.push(format!("a critical alert was held back: {d:?}"));
            }
            if matches!(d.disposition, Disposition::Suppressed(_)) && d.count == 0 {
                self.findings.push(format!("suppressed nothing: {d:?}"));
            }
        }
        self.outbox.extend(c.notifications.iter().map(|n| n.id));
        for report in &c.reports {
            if self.outbox.remove(&report.id) && matches!(report.outcome, Outcome::Rejected(_)) {
                self.dead.insert(report.id);
            }
        }
        for id in &c.resend {
            if self.dead.remove(id) {
                self.resent.insert(*id);
                self.outbox.insert(*id);
            }
        }
        for id in &c.made_good {
            self.dead.remove(id);
        }
        self.accounts();
    }

    /// Conservation, and counters that never fall, after any crash.
    fn accounts(&mut self) {
        let Some(engine) = &self.shadow else { return };
        let stats = engine.query().stats();
        let mut sums = [0, 0, stats.received.values().sum()];
        for (name, r) in &stats.receivers {
            let disposed: u64 = r.disposed.values().sum();
            if r.routed != disposed + r.pending {
                let (routed, pending) = (r.routed, r.pending);
                self.findings.push(format!("{name}: routed {routed} is not {disposed} + {pending} pending"));
            }
            sums[0] += r.routed;
            sums[1] += disposed;
        }
        if sums.iter().zip(&self.counted).any(|(now, before)| now < before) {
            self.findings.push(format!("counters fell from {:?} to {sums:?}", self.counted));
        }
        self.counted = sums;
        self.stats = Some(stats);
        self.within_bounds();
    }

    /// No table holds more than it may. Open incidents bound the outbox: one notification for each incident
    /// at each integration, and a digest.
    fn within_bounds(&mut self) {
        let Some(engine) = &self.shadow else { return };
        for fill in engine.query().fills() {
            // The configured limit, not the one in the engine.
            let most = if matches!(fill.table, "alerts" | "series") { KNOWN } else { fill.most };
            if fill.held > most {
                self.findings.push(format!("{} {}, where {most} may be", fill.held, fill.table));
            }
        }
        for (name, r) in engine.query().stats().receivers {
            // One incident reports those that have no room.
            if r.open > KNOWN + 1 {
                self.findings.push(format!(
                    "{} incidents are open at {name}, where {} may",
                    r.open,
                    KNOWN + 1
                ));
            }
        }
        let waits: BTreeSet<NotificationId> = engine.query().in_flight().collect();
        let unbound = |id: &&NotificationId| !waits.contains(*id) && !self.resent.contains(*id);
        let unbound = self.outbox.iter().filter(unbound).count();
        if unbound > LANES {
            self.findings.push(format!("{unbound} notifications of no incident wait, and {LANES} may"));
        }
        if self.dead.len() > DEAD_LETTERS_KEPT {
            self.findings.push(format!("{} dead letters", self.dead.len()));
        }
    }

    fn is_live(&mut self, seq: Seq, live: &[u8]) {
        // Every third is enough, and a third of the work.
        self.snapshots += 1;
        if !self.snapshots.is_multiple_of(3) {
            return;
        }
        let replayed = self.shadow.as_ref().map(Engine::snapshot);
        if seq == self.seq && replayed.as_deref() != Some(live) {
            self.found(format!("replay up to event {seq} is not the live engine, byte for byte"));
        }
    }

    /// A start must find the durable data.
    fn recovered(&mut self, r: &Recovered) {
        let base = r.snapshot.as_ref().map_or(0, |(seq, _)| *seq);
        let last = r.records.last().map_or(base, |record| record.seq);
        let newest = |records: &[Record]| records.last().map(|record| (record.seq, record.now));
        let there = |maybe: &Owned| last > self.seq && newest(&maybe.records) == newest(&r.records);
        if let Some(at) = self.maybe.iter().position(there) {
            let maybe = self.maybe.swap_remove(at);
            self.durable(&maybe);
        }
        if last != self.seq {
            self.found(format!("events up to {} were durable, and {last} are there", self.seq));
        }
        let outbox: BTreeSet<NotificationId> = r.outbox.iter().map(|n| n.id).collect();
        if outbox != self.outbox {
            self.found(format!("the outbox holds {outbox:?} and should hold {:?}", self.outbox));
        }
        if !r.notes.is_empty() || r.quarantined.is_some() || !r.orphans.is_empty() || !r.unreadable.is_empty()
        {
            self.found(format!("a legal crash was taken for damage: {:?}", r.notes));
        }
        let mut engine = match &r.snapshot {
            Some((_, body)) => match Engine::restore(body) {
                Ok(engine) => Some(engine),
                Err(e) => return self.found(e.to_string()),
            },
            None => None,
        };
        for record in &r.records {
            let Ok(event) = serde_json::from_slice::<Event>(&record.event) else { continue };
            if let (None, Event::Policy(policy)) = (&engine, &event) {
                engine = Some(Engine::new((**policy).clone()));
            }
            if let Some(engine) = &mut engine {
                engine.handle(record.now, &event, &mut Effects::default());
            }
        }
        if engine.map(|e| e.snapshot()) != self.shadow.as_ref().map(Engine::snapshot) {
            self.found(format!("what is recovered at event {last} is not the engine that wrote it"));
        }
    }
}

/// A journal that says yes. [`Bug::AckBeforeSync`] asks it in place of the disk.
struct Nothing;

impl Journal for Nothing {
    fn recover(&mut self) -> Result<Recovered, JournalError> {
        Ok(Recovered::default())
    }
    fn commit(&mut self, _: &Commit<'_>) -> Result<(), JournalError> {
        Ok(())
    }
    fn snapshot(&mut self, _: Seq, _: &[u8]) -> Result<(), JournalError> {
        Ok(())
    }
    fn dead_letters(&mut self, _: &LetterQuery) -> Result<Vec<DeadLetter>, JournalError> {
        Ok(Vec::new())
    }
    fn dead_letter_counts(&mut self) -> Result<BTreeMap<SmolStr, u64>, JournalError> {
        Ok(BTreeMap::new())
    }
    fn prune(&mut self, _: Timestamp) -> Result<bool, JournalError> {
        Ok(false)
    }
}

fn forget_generations(body: &mut Vec<u8>) {
    fn clear(value: &mut rmpv::Value) {
        match value {
            rmpv::Value::Map(fields) => {
                for (key, value) in fields {
                    if key.as_str() == Some("next_generation") {
                        *value = 0.into();
                    }
                    clear(value);
                }
            }
            rmpv::Value::Array(list) => list.iter_mut().for_each(clear),
            _ => {}
        }
    }
    let spoiled = || -> Option<Vec<u8>> {
        let mut state = rmpv::decode::read_value(&mut zstd::decode_all(&**body).ok()?.as_slice()).ok()?;
        clear(&mut state);
        let mut written = Vec::new();
        rmpv::encode::write_value(&mut written, &state).ok()?;
        zstd::encode_all(&*written, 1).ok()
    };
    *body = spoiled().expect("a snapshot as the engine writes it");
}
