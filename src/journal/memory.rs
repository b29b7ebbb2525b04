//! A journal without a disk, for tests and backtests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smol_str::SmolStr;

use super::batch::Tail;
use super::{
    Commit, DEAD_LETTERS_KEPT, DeadLetter, Journal, JournalError, LetterQuery, PRUNE_BATCH, Record,
    Recovered, Seq,
};
use crate::model::{Decision, Notification, NotificationId, Outcome, Report, Timestamp};

/// A journal in memory, with the contract of the durable one.
///
/// Committed data outlives the handle as long as a clone of it exists. A test lets its server "crash" by
/// dropping it and goes on with [`MemoryJournal::reopen`]. After a reopen, the old handle is no longer the
/// owner. Its writes fail, as if its process had lost the lock.
#[derive(Debug, Clone)]
pub struct MemoryJournal {
    store: Arc<Mutex<Store>>,
    epoch: u64,
}

#[derive(Debug)]
struct Store {
    epoch: u64,
    kept: bool,
    recovered: bool,
    poisoned: bool,
    fail_next: Option<bool>,
    tail: Tail,
    /// One entry a commit, like the rows of the file.
    inputs: Vec<Vec<Record>>,
    decisions: Vec<(Timestamp, Vec<Decision>)>,
    notifications: BTreeMap<NotificationId, (Notification, State)>,
    snapshots: Vec<(Seq, Vec<u8>)>,
}

#[derive(Debug)]
enum State {
    Queued,
    Accepted { at: Timestamp },
    Dead { at: Timestamp, report: Report },
}

impl MemoryJournal {
    /// An empty journal. With `kept`, all of the contract holds. Without it, events, decisions and accepted
    /// notifications are checked and forgotten, so that a long backtest needs little memory. Only the
    /// outbox can then be recovered.
    pub fn new(kept: bool) -> Self {
        let store = Store {
            epoch: 0,
            kept,
            recovered: false,
            poisoned: false,
            fail_next: None,
            tail: Tail::START,
            inputs: Vec::new(),
            decisions: Vec::new(),
            notifications: BTreeMap::new(),
            snapshots: Vec::new(),
        };
        MemoryJournal { store: Arc::new(Mutex::new(store)), epoch: 0 }
    }

    /// A new owner of the committed data. All earlier handles lose their right to write.
    pub fn reopen(&self) -> Self {
        let mut store = self.lock();
        store.epoch += 1;
        (store.recovered, store.poisoned, store.fail_next) = (false, false, None);
        MemoryJournal { store: self.store.clone(), epoch: store.epoch }
    }

    /// The next write fails and poisons the handle. `applied` says whether its data is there after
    /// [`MemoryJournal::reopen`], as after an fsync that failed late.
    pub fn fail_next(&self, applied: bool) {
        self.lock().fail_next = Some(applied);
    }

    /// Every decision that is kept, oldest first.
    pub fn decisions(&self) -> Vec<Decision> {
        self.lock().decisions.iter().flat_map(|(_, decisions)| decisions).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a write that was checked already and cannot fail by itself.
    fn write(
        &self,
        mut store: MutexGuard<'_, Store>,
        apply: impl FnOnce(&mut Store),
    ) -> Result<(), JournalError> {
        let failure = store.fail_next.take();
        if failure != Some(false) {
            apply(&mut store);
        }
        store.poisoned |= failure.is_some();
        match failure {
            Some(_) => Err(JournalError::Failed("told to fail".into())),
            None => Ok(()),
        }
    }

    fn writable(&self) -> Result<MutexGuard<'_, Store>, JournalError> {
        let store = self.lock();
        if self.epoch != store.epoch {
            return Err(JournalError::Failed("another owner has opened the journal".into()));
        }
        if store.poisoned {
            return Err(JournalError::Failed("an earlier write failed: open the journal anew".into()));
        }
        if !store.recovered {
            return Err(JournalError::Refused("recover must come before the first write".into()));
        }
        Ok(store)
    }
}

impl Journal for MemoryJournal {
    fn recover(&mut self) -> Result<Recovered, JournalError> {
        let mut store = self.lock();
        store.recovered = true;
        let snapshot = store.snapshots.last().cloned();
        let base = snapshot.as_ref().map_or(0, |(seq, _)| *seq);
        let queued = |(n, state): &(Notification, State)| matches!(state, State::Queued).then(|| n.clone());
        Ok(Recovered {
            snapshot,
            records: store.inputs.iter().flatten().filter(|r| r.seq > base).cloned().collect(),
            outbox: store.notifications.values().filter_map(queued).collect(),
            ..Recovered::default()
        })
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), JournalError> {
        let store = self.writable()?;
        if commit.is_empty() {
            return Ok(());
        }
        let tail = store.tail.after(commit)?;
        let mut new = std::collections::BTreeSet::new();
        for n in commit.notifications {
            if store.notifications.contains_key(&n.id) || !new.insert(n.id) {
                return Err(JournalError::Refused(format!("notification {} is there already", n.id.0)));
            }
        }
        self.write(store, |store| store.apply(commit, tail))
    }

    fn snapshot(&mut self, seq: Seq, body: &[u8]) -> Result<(), JournalError> {
        let store = self.writable()?;
        store.tail.allows_snapshot(seq, store.snapshots.last().map(|(seq, _)| *seq))?;
        self.write(store, |store| {
            store.snapshots.retain(|(old, _)| *old != seq);
            store.snapshots.push((seq, body.to_vec()));
            if let [.., previous, _] = store.snapshots.as_slice() {
                let previous = previous.0;
                store.snapshots.retain(|(old, _)| *old >= previous);
                store.inputs.retain(|batch| batch.last().is_some_and(|r| r.seq > previous));
            }
        })
    }

    fn dead_letters(&mut self, wanted: &LetterQuery) -> Result<Vec<DeadLetter>, JournalError> {
        let store = self.lock();
        let letter = |(notification, state): &(Notification, State)| match state {
            State::Dead { at, report } => {
                Some(DeadLetter { notification: notification.clone(), report: report.clone(), died_at: *at })
            }
            State::Queued | State::Accepted { .. } => None,
        };
        let mut letters: Vec<DeadLetter> = store.notifications.values().filter_map(letter).collect();
        letters.retain(|l| {
            wanted.receiver.as_ref().is_none_or(|receiver| l.notification.receiver == *receiver)
                && wanted.after.is_none_or(|after| (l.died_at, l.notification.id) < after)
        });
        letters.sort_by_key(|l| std::cmp::Reverse((l.died_at, l.notification.id)));
        letters.truncate(wanted.limit);
        Ok(letters)
    }

    fn dead_letter_counts(&mut self) -> Result<BTreeMap<SmolStr, u64>, JournalError> {
        let mut counts = BTreeMap::new();
        for letter in self.dead_letters(&LetterQuery::newest(usize::MAX))? {
            *counts.entry(letter.notification.receiver).or_default() += 1;
        }
        Ok(counts)
    }

    fn prune(&mut self, before: Timestamp) -> Result<bool, JournalError> {
        let surplus: Vec<NotificationId> = self
            .dead_letters(&LetterQuery::newest(usize::MAX))?
            .iter()
            .skip(DEAD_LETTERS_KEPT)
            .map(|letter| letter.notification.id)
            .collect();
        let store = self.writable()?;
        let mut more = false;
        self.write(store, |store| {
            let old = store.decisions.iter().take_while(|(at, _)| *at < before).count();
            let accepted: Vec<NotificationId> = store
                .notifications
                .iter()
                .filter(|(_, (_, state))| matches!(state, State::Accepted { at } if *at < before))
                .map(|(id, _)| *id)
                .collect();
            store.decisions.drain(..old.min(PRUNE_BATCH));
            for id in accepted.iter().take(PRUNE_BATCH).chain(surplus.iter().take(PRUNE_BATCH)) {
                store.notifications.remove(id);
            }
            more = [old, accepted.len(), surplus.len()].iter().any(|n| *n > PRUNE_BATCH);
        })?;
        Ok(more)
    }
}

impl Store {
    fn apply(&mut self, commit: &Commit<'_>, tail: Tail) {
        self.tail = tail;
        if self.kept && !commit.records.is_empty() {
            self.inputs.push(commit.records.to_vec());
        }
        if self.kept && !commit.decisions.is_empty() {
            self.decisions.push((tail.now, commit.decisions.to_vec()));
        }
        for n in commit.notifications {
            self.notifications.insert(n.id, (n.clone(), State::Queued));
        }
        for report in commit.reports {
            let Some((_, state @ State::Queued)) = self.notifications.get_mut(&report.id) else { continue };
            match report.outcome {
                Outcome::Accepted if !self.kept => drop(self.notifications.remove(&report.id)),
                Outcome::Recalled { .. } => drop(self.notifications.remove(&report.id)),
                Outcome::Accepted => *state = State::Accepted { at: tail.now },
                Outcome::Rejected(_) => *state = State::Dead { at: tail.now, report: report.clone() },
            }
        }
        for id in commit.resend {
            if let Some((_, state @ State::Dead { .. })) = self.notifications.get_mut(id) {
                *state = State::Queued;
            }
        }
        for id in commit.made_good {
            let dead = |(_, state): &(Notification, State)| matches!(state, State::Dead { .. });
            if !self.notifications.get(id).is_some_and(dead) {
                continue;
            }
            match self.notifications.get_mut(id) {
                Some((_, state)) if self.kept => *state = State::Accepted { at: tail.now },
                _ => drop(self.notifications.remove(id)),
            }
        }
    }
}
