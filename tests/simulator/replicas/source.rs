//! The database as one process sees it: its lease, its journal, and calls that fail or take long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use smol_str::SmolStr;
use squelch::journal::{
    Commit, DeadLetter, Handed, Journal, JournalError, JournalSource, LetterQuery, Recovered, Seq,
};
use squelch::model::{Duration, Timestamp};

use super::Bug;
use super::database::{Database, LEASE, State, Taken};
use super::plan::{Call, Fate};
use super::world::{World, lock, run};
use crate::plan::{Millis, SECOND};

/// So much earlier the owner stops.
const MARGIN: Millis = 2 * SECOND;
/// How long a call waits for its answer.
const PATIENCE: Millis = 8 * SECOND;

/// A process's view of its ownership, as `lease.rs` keeps it.
#[derive(Debug, Default)]
pub struct Lease {
    pub process: u64,
    pub epoch: u64,
    pub owned: bool,
    pub deadline: Millis,
    /// When the newest renewal began that failed.
    pub failed: Millis,
    pub fenced: bool,
    pub took_over: Option<Millis>,
    /// Whether the thread renews it.
    pub kept: bool,
    pub ended: bool,
    /// The process was killed, or has ended.
    pub dead: bool,
}

impl Lease {
    pub fn may_send(&self, now: Millis) -> bool {
        !self.fenced && (now < self.deadline || self.in_doubt())
    }

    /// The database did not answer since the lease ended.
    pub fn in_doubt(&self) -> bool {
        self.failed >= self.deadline
    }

    fn fence(&self) -> JournalError {
        JournalError::Fenced(format!(
            "another process has taken over the database since epoch {}",
            self.epoch
        ))
    }
}

/// One process' way to the database.
#[derive(Clone)]
pub struct Link {
    pub database: Database,
    pub lease: Arc<Mutex<Lease>>,
    pub replica: usize,
    pub world: Weak<Mutex<World>>,
}

impl Link {
    pub fn lease(&self) -> MutexGuard<'_, Lease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Millis {
        self.database.state().now
    }

    /// The world goes on for so long while this process waits.
    fn sleep(&self, lasts: Millis) {
        if let Some(world) = self.world.upgrade() {
            let until = self.now() + lasts;
            run(&world, until);
        }
    }

    fn is_cut(&self) -> bool {
        let dead = self.lease().dead;
        dead || self.world.upgrade().is_none_or(|world| lock(&world).is_cut(self.replica))
    }

    /// Makes one call, or the plan's fault in its stead.
    fn call<T>(
        &self,
        call: Call,
        work: impl FnOnce(&mut State) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let failed = |what: &str| Err(JournalError::Failed(what.into()));
        if self.is_cut() {
            return failed("the database cannot be reached");
        }
        let fate = self.world.upgrade().and_then(|world| lock(&world).fate(self.replica, call));
        let Some(fate) = fate else { return work(&mut self.database.state()) };
        match fate {
            Fate::Unknown { done } => {
                if done {
                    let _ = work(&mut self.database.state());
                }
                failed("the connection broke")
            }
            Fate::Killed { done } => {
                if done {
                    let _ = work(&mut self.database.state());
                }
                if let Some(world) = self.world.upgrade() {
                    lock(&world).kill(self.replica, 3 * SECOND);
                }
                failed("the process is dead")
            }
            Fate::Stopped { before, lasts } | Fate::Slow { before, lasts } => {
                let stopped = matches!(fate, Fate::Stopped { .. });
                if stopped && let Some(world) = self.world.upgrade() {
                    lock(&world).pause(self.replica, lasts);
                }
                if before {
                    self.sleep(lasts);
                    if self.is_cut() {
                        return failed("the connection broke");
                    }
                }
                let done = work(&mut self.database.state());
                if !before {
                    self.sleep(lasts);
                }
                if self.is_cut() || !stopped && lasts > PATIENCE {
                    return failed("the database has not answered within 8 s");
                }
                done
            }
        }
    }

    fn take(&self) -> Result<u64, JournalError> {
        let began = self.now();
        let (process, owned) = {
            let lease = self.lease();
            if lease.fenced {
                return Err(lease.fence());
            }
            (lease.process, lease.owned)
        };
        match self.call(Call::Take, |state| Ok(state.take(process, owned)))? {
            Taken::Owner(epoch, over) => {
                let now = self.now();
                let mut lease = self.lease();
                lease.took_over = over.then_some(now).or(lease.took_over);
                (lease.epoch, lease.owned, lease.deadline) = (epoch, true, began + LEASE - MARGIN);
                let keep = !std::mem::replace(&mut lease.kept, true);
                drop(lease);
                if keep && let Some(world) = self.world.upgrade() {
                    lock(&world).keep(self.replica);
                }
                Ok(epoch)
            }
            Taken::Standby(_) if owned => Err(self.fenced()),
            Taken::Standby(epoch) => {
                Err(JournalError::Standby(format!("another replica owns the database, by epoch {epoch}")))
            }
        }
    }

    /// Another process has taken over.
    fn fenced(&self) -> JournalError {
        let mut lease = self.lease();
        if !std::mem::replace(&mut lease.fenced, true) {
            self.database.state().fenced += 1;
        }
        lease.fence()
    }

    /// One round of the thread that renews the lease. It returns how long the thread waits then. `None`: it
    /// ends.
    pub fn renew(&self, cut: bool) -> Option<Millis> {
        let mut state = self.database.state();
        let mut lease = self.lease();
        if lease.ended || lease.fenced || lease.dead {
            return None;
        }
        let now = state.now;
        if cut {
            lease.failed = now;
            return Some(SECOND / 2);
        }
        if state.renew(lease.process) {
            lease.deadline = now + LEASE - MARGIN;
            return Some(3 * SECOND);
        }
        lease.fenced = true;
        state.fenced += 1;
        None
    }
}

/// The source that a `Core` opens.
pub struct Source(pub Link);

impl JournalSource for Source {
    fn open(&mut self) -> Result<Box<dyn Journal>, JournalError> {
        let epoch = self.0.take()?;
        let recovered = self.0.call(Call::Other, State::recover)?;
        Ok(Box::new(Handle { link: self.0.clone(), epoch, recovered: Some(recovered), broken: false }))
    }

    fn hand_over(&mut self, batches: &str) -> Result<(), JournalError> {
        let process = self.0.lease().process;
        self.0.call(Call::HandOver, |state| {
            match state.bug {
                Some(Bug::HandOverBeforeDurable) => state.unsynced.push((process, batches.to_owned())),
                _ => state.hand_over(batches),
            }
            Ok(())
        })
    }
}

/// The journal of an owner.
struct Handle {
    link: Link,
    epoch: u64,
    recovered: Option<Recovered>,
    broken: bool,
}

impl Handle {
    fn call<T>(
        &mut self,
        call: Call,
        work: impl FnOnce(&mut State, u64) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        if self.broken {
            return Err(JournalError::Failed("an earlier call failed: open it anew".into()));
        }
        let epoch = self.epoch;
        let done = self.link.call(call, |state| work(state, epoch));
        if let Err(JournalError::Fenced(_)) = &done {
            return Err(self.link.fenced());
        }
        self.broken = !matches!(done, Ok(_) | Err(JournalError::Refused(_)));
        done
    }
}

impl Journal for Handle {
    fn recover(&mut self) -> Result<Recovered, JournalError> {
        match self.recovered.take() {
            Some(recovered) => Ok(recovered),
            None => self.call(Call::Other, |state, _| state.recover()),
        }
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), JournalError> {
        if commit.is_empty() {
            return Ok(());
        }
        self.call(Call::Commit, |state, epoch| state.commit(epoch, commit))
    }

    fn snapshot(&mut self, seq: Seq, body: &[u8]) -> Result<(), JournalError> {
        self.call(Call::Other, |state, epoch| state.write(epoch, |journal| journal.snapshot(seq, body)))
    }

    fn dead_letters(&mut self, wanted: &LetterQuery) -> Result<Vec<DeadLetter>, JournalError> {
        self.call(Call::Other, |state, _| state.read(|journal| journal.dead_letters(wanted)))
    }

    fn dead_letter_counts(&mut self) -> Result<BTreeMap<SmolStr, u64>, JournalError> {
        self.call(Call::Other, |state, _| state.read(|journal| journal.dead_letter_counts()))
    }

    fn prune(&mut self, before: Timestamp) -> Result<bool, JournalError> {
        self.call(Call::Other, |state, epoch| state.write(epoch, |journal| journal.prune(before)))
    }

    fn check(&self) -> Result<(), JournalError> {
        let lease = self.link.lease();
        if lease.fenced { Err(lease.fence()) } else { Ok(()) }
    }

    fn may_decide(&self) -> Result<(), JournalError> {
        self.check()?;
        let (now, deadline) = (self.link.now(), self.link.lease().deadline);
        match now < deadline {
            true => Ok(()),
            false => Err(JournalError::Failed("the lease on the database has ended".into())),
        }
    }

    fn release(&mut self) {
        self.link.lease().ended = true;
        let process = self.link.lease().process;
        let given = self.call(Call::Other, |state, epoch| {
            state.give_back(epoch, process);
            Ok(())
        });
        drop(given);
    }

    fn inbox(&mut self) -> Result<Vec<Handed>, JournalError> {
        self.call(Call::Other, |state, _| Ok(state.inbox()))
    }

    fn inbox_every(&self) -> Option<Duration> {
        Some(Duration::from_millis(100))
    }
}
