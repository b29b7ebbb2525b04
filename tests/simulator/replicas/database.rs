//! The database that the replicas share, with the rules of the PostgreSQL journal. One row says who owns it.
//! Each write of an owner names its epoch, and rows leave the inbox in the commit that includes them. The
//! database checks what needs no pager.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use squelch::engine::{Effects, Engine, Event};
use squelch::journal::{Commit, Handed, Journal, JournalError, MemoryJournal, Recovered};
use squelch::model::{Batch, NotificationId};

use super::Bug;
use crate::plan::{Millis, SECOND};

/// Whether a commit has the effects of its events.
pub fn is_of(commit: &Commit<'_>, effects: &Effects) -> bool {
    effects.notifications == commit.notifications
        && effects.decisions == commit.decisions
        && effects.history == commit.history
        && effects.resend == commit.resend
        && effects.made_good == commit.made_good
}

pub const LEASE: Millis = 10 * SECOND;
/// Rows that the owner takes at a time. PostgreSQL gives 64.
const ROWS: usize = 4;

#[derive(Clone, Default)]
pub struct Database(Arc<Mutex<State>>);

/// The row of `squelch_owner`. Process 0 means no owner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Owner {
    pub epoch: u64,
    pub process: u64,
    pub until: Millis,
}

/// The answer to the question for ownership.
pub enum Taken {
    /// The new epoch, and whether the owner before had not given it back.
    Owner(u64, bool),
    Standby(u64),
}

struct Row {
    number: u64,
    batches: String,
}

pub struct State {
    journal: MemoryJournal,
    pub bug: Option<Bug>,
    pub now: Millis,
    pub owner: Owner,
    inbox: VecDeque<Row>,
    rows: u64,
    /// For a bug: the rows that leave the inbox with the next commit that takes rows.
    later: Option<u64>,
    /// For a bug: the data that becomes durable a little later, and the process that holds it until then.
    pub unsynced: Vec<(u64, String)>,
    /// A replay of the records.
    shadow: Option<Engine>,
    /// Of each event, whose epoch wrote it.
    epochs: Vec<u64>,
    outbox: BTreeSet<NotificationId>,
    /// The statements in the records, in order.
    pub said: Vec<u64>,
    known: BTreeSet<u64>,
    pub takeovers: u64,
    pub fenced: u64,
    pub findings: Vec<String>,
}

impl Default for State {
    fn default() -> State {
        let mut journal = MemoryJournal::new(true);
        let _ = journal.recover();
        State {
            journal,
            bug: None,
            now: 0,
            owner: Owner::default(),
            inbox: VecDeque::new(),
            rows: 0,
            later: None,
            unsynced: Vec::new(),
            shadow: None,
            epochs: Vec::new(),
            outbox: BTreeSet::new(),
            said: Vec::new(),
            known: BTreeSet::new(),
            takeovers: 0,
            fenced: 0,
            findings: Vec::new(),
        }
    }
}

impl Database {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The numbers of the statements in a batch.
pub fn numbers(batch: &Batch) -> impl Iterator<Item = u64> + '_ {
    batch.observations.iter().filter_map(|o| o.annotations.value("statement").parse().ok())
}

fn in_rows(batches: &str) -> Vec<u64> {
    let batches: Vec<Batch> = serde_json::from_str(batches).unwrap_or_default();
    batches.iter().flat_map(numbers).collect()
}

impl State {
    /// A process asks for ownership. `owned`: it had it before.
    pub fn take(&mut self, process: u64, owned: bool) -> Taken {
        let free = self.owner.until <= self.now || self.bug == Some(Bug::LeaseIsNotLookedAt);
        if self.owner.process != process && (owned || !free) {
            return Taken::Standby(self.owner.epoch);
        }
        let over = !owned && self.owner.process != 0;
        self.takeovers += u64::from(self.owner.process != process);
        self.owner = Owner { epoch: self.owner.epoch + 1, process, until: self.now + LEASE };
        Taken::Owner(self.owner.epoch, over)
    }

    pub fn renew(&mut self, process: u64) -> bool {
        let owns = self.owner.process == process;
        if owns {
            self.owner.until = self.now + LEASE;
        }
        owns
    }

    pub fn give_back(&mut self, epoch: u64, process: u64) {
        if (self.owner.epoch, self.owner.process) == (epoch, process) {
            (self.owner.process, self.owner.until) = (0, self.now);
        }
    }

    /// The content that a start finds.
    pub fn recover(&mut self) -> Result<Recovered, JournalError> {
        let mut recovered = self.journal.recover()?;
        if self.bug == Some(Bug::NothingIsResent) {
            recovered.outbox.clear();
        }
        Ok(recovered)
    }

    /// A write of the owner that adds no event.
    pub fn write<T>(
        &mut self,
        epoch: u64,
        work: impl FnOnce(&mut MemoryJournal) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        if epoch != self.owner.epoch {
            return Err(JournalError::Fenced(String::new()));
        }
        work(&mut self.journal)
    }

    pub fn read<T>(
        &mut self,
        work: impl FnOnce(&mut MemoryJournal) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        work(&mut self.journal)
    }

    pub fn commit(&mut self, epoch: u64, commit: &Commit<'_>) -> Result<(), JournalError> {
        let stale = epoch != self.owner.epoch;
        if stale && self.bug != Some(Bug::CommitsAreNotFenced) {
            return Err(JournalError::Fenced(String::new()));
        }
        if let Some(last) = self.epochs.last().filter(|last| epoch < **last) {
            let first = commit.records.first().map_or(0, |record| record.seq);
            self.findings.push(format!(
                "epoch {epoch} writes event {first} after epoch {last} wrote event {}",
                self.epochs.len()
            ));
        }
        match self.journal.commit(commit) {
            // A table without a key would have it twice.
            Err(JournalError::Refused(_)) if stale => return Ok(()),
            other => other?,
        }
        self.epochs.extend(commit.records.iter().map(|_| epoch));
        self.durable(commit);
        if let Some(taken) = commit.taken {
            let leaves = match self.bug {
                Some(Bug::RowsLeaveLater) => self.later.replace(taken).unwrap_or(0),
                _ => taken,
            };
            self.inbox.retain(|row| row.number > leaves);
        }
        Ok(())
    }

    /// A standby puts alerts into the inbox.
    pub fn hand_over(&mut self, batches: &str) {
        self.rows += 1;
        self.inbox.push_back(Row { number: self.rows, batches: batches.to_owned() });
    }

    /// The oldest rows.
    pub fn inbox(&mut self) -> Vec<Handed> {
        let rows = self.inbox.iter().take(ROWS);
        let rows: Vec<Handed> =
            rows.map(|row| Handed { row: row.number, batches: Ok(row.batches.clone()) }).collect();
        if self.bug == Some(Bug::RowsLeaveWhenRead) {
            self.inbox.drain(..rows.len());
        }
        rows
    }

    pub fn waiting(&self) -> usize {
        self.inbox.len()
    }

    pub fn handed(&self) -> u64 {
        self.rows
    }

    /// Replays the additions of a commit, and compares the owner with the result.
    fn durable(&mut self, commit: &Commit<'_>) {
        let mut effects = Effects::default();
        for record in commit.records {
            let Ok(event) = serde_json::from_slice::<Event>(&record.event) else {
                self.findings.push(format!("event {} cannot be read back", record.seq));
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
            if let Event::Observe(batch) = &event {
                self.said.extend(numbers(batch));
                self.known.extend(numbers(batch));
            }
        }
        if !is_of(commit, &effects) {
            let last = self.epochs.len();
            self.findings.push(format!("a replay of event {last} decides otherwise than its owner did"));
        }
        self.outbox.extend(commit.notifications.iter().map(|n| n.id));
        for report in commit.reports {
            self.outbox.remove(&report.id);
        }
    }

    /// A replica answered 200 to this statement.
    pub fn acknowledged(&mut self, number: u64) {
        let waits = self.inbox.iter().any(|row| in_rows(&row.batches).contains(&number));
        if !self.known.contains(&number) && !waits {
            self.findings.push(format!("200 for statement {number}, which the database does not hold"));
        }
    }

    /// How often each statement stands in the records.
    pub fn counts(&self) -> BTreeMap<u64, u64> {
        let mut counts = BTreeMap::new();
        for number in &self.said {
            *counts.entry(*number).or_default() += 1;
        }
        counts
    }

    /// A notification is about to leave.
    pub fn leaves(&mut self, id: NotificationId, epoch: u64) {
        // `may_send` holds back notifications that have ended at another owner meanwhile.
        if epoch == self.owner.epoch && !self.outbox.contains(&id) {
            self.findings.push(format!("notification {} leaves before it is durable", id.0));
        }
    }

    pub fn undelivered(&self) -> usize {
        self.outbox.len()
    }

    /// The owner's engine, as it is after a commit.
    pub fn is_live(&mut self, live: &Engine) {
        let replayed = self.shadow.as_ref().map(Engine::snapshot);
        if replayed.as_deref() != Some(&live.snapshot()) {
            let last = self.epochs.len();
            self.findings
                .push(format!("a replay up to event {last} is not the owner's engine, byte for byte"));
        }
    }

    pub fn engine(&self) -> Option<&Engine> {
        self.shadow.as_ref()
    }

    /// Whether nothing waits, and nothing is believed to fire.
    pub fn is_quiet(&self) -> bool {
        let open = |engine: &Engine| engine.query().stats().receivers.values().any(|r| r.open > 0);
        self.outbox.is_empty() && self.inbox.is_empty() && !self.shadow.as_ref().is_some_and(open)
    }
}
