//! The delivery worker of a process: the product's own schedule, asked as `deliver/worker.rs` asks it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use squelch::deliver::{
    AttemptError, Backoff, FailureReason, Next, Pacer, Recalls, Retry, Schedule, ScheduleLimits, Side,
};
use squelch::model::{Kind, Notification, NotificationId};
use squelch::node::Command;

use super::Bug;
use super::pager::Answer;
use super::process::configuration;
use super::world::{Due, World};
use crate::outbox::{at, since};
use crate::plan::{Millis, SECOND};

/// The timeout of the integration: after a takeover, resolves wait so long.
pub const TIMEOUT: Millis = 10 * SECOND;
/// How often an attempt that may not begin asks again.
const ASK_AGAIN: Millis = 50;

pub struct Worker {
    pub schedule: Schedule,
    /// Attempts that ask whether they may begin.
    asking: BTreeSet<NotificationId>,
    pub under_way: BTreeSet<NotificationId>,
    /// When the schedule is asked again.
    wakes: Millis,
}

/// A request on its way to the pager.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub replica: usize,
    pub life: u64,
    pub notification: Arc<Notification>,
    pub began: Millis,
    /// Its replica could not ask the database whether it still is the owner.
    pub in_doubt: bool,
}

impl Worker {
    pub fn new(recalls: Arc<Recalls>) -> Worker {
        let limits = ScheduleLimits {
            concurrency: 8,
            backoff: Backoff::default(),
            circuit_after: 5,
            retry_after_max: Duration::from_secs(600),
        };
        let integration = &configuration(0).receivers["oncall"][0];
        let pacer = Arc::new(Pacer::new(integration.notifier.pace(), at(0)));
        Worker {
            schedule: Schedule::new(limits, pacer).with_recalls(recalls),
            asking: BTreeSet::new(),
            under_way: BTreeSet::new(),
            wakes: Millis::MAX,
        }
    }
}

impl World {
    /// Takes over the notifications that the engine's thread of a replica released.
    pub fn take_out(&mut self, replica: usize) {
        let Some(process) = &mut self.replicas[replica].process else { return };
        let took_over = process.link.lease().took_over.filter(|_| self.bug != Some(Bug::ResolvesDoNotWait));
        let mut said = Vec::new();
        for (n, repeat) in process.let_out() {
            said.push(format!("replica {replica}: {}", named(&n)));
            let from = took_over.filter(|_| n.kind == Kind::Resolve).map(|over| at(over + TIMEOUT));
            process.worker.schedule.push(n, repeat, from);
        }
        said.into_iter().for_each(|line| self.note(line));
        self.pump(replica);
    }

    /// The schedule is asked at `due`.
    fn wake(&mut self, replica: usize, due: Millis) {
        let life = self.replicas[replica].life;
        let Some(process) = &mut self.replicas[replica].process else { return };
        if due < process.worker.wakes {
            process.worker.wakes = due;
            self.at(due, Due::Pump { replica, life });
        }
    }

    pub fn woken(&mut self, replica: usize) {
        if let Some(process) = &mut self.replicas[replica].process {
            process.worker.wakes = Millis::MAX;
        }
        self.pump(replica);
    }

    /// Starts the deliveries that may leave.
    fn pump(&mut self, replica: usize) {
        let now = self.now;
        if self.is_paused(replica) {
            return self.wake(replica, self.replicas[replica].paused);
        }
        let Some(process) = &mut self.replicas[replica].process else { return };
        let mut recalled = Vec::new();
        if process.ending.is_none() {
            loop {
                match process.worker.schedule.next(at(now)) {
                    Next::Start(id) => drop(process.worker.asking.insert(id)),
                    Next::Recalled(n, report) => {
                        recalled.push(named(&n));
                        let _ = process.queue.push(Command::Delivered(report));
                    }
                    Next::At(instant) => {
                        let due = since(instant).max(now + 1);
                        self.wake(replica, due);
                        break;
                    }
                    Next::Nothing => break,
                }
            }
        }
        for one in recalled {
            self.note(format!("replica {replica} recalls {one}"));
            self.poke(replica, 3);
        }
        self.ask(replica);
    }

    /// Begins the attempts that wait, if the replica may send.
    fn ask(&mut self, replica: usize) {
        let (now, life) = (self.now, self.replicas[replica].life);
        let Some(process) = &mut self.replicas[replica].process else { return };
        if process.worker.asking.is_empty() {
            return;
        }
        let lease = process.link.lease();
        let may = lease.may_send(now) || self.bug == Some(Bug::FencedSends);
        let (in_doubt, number, epoch) = (!lease.fenced && lease.in_doubt(), lease.process, lease.epoch);
        drop(lease);
        if !may {
            return self.wake(replica, now + ASK_AGAIN);
        }
        let begun: Vec<_> = std::mem::take(&mut process.worker.asking).into_iter().collect();
        process.worker.under_way.extend(&begun);
        let begun: Vec<_> = begun
            .iter()
            .filter_map(|id| process.worker.schedule.job(*id))
            .map(|job| job.notification.clone())
            .collect();
        let owner = self.database.state().owner;
        for notification in begun {
            if owner.process != number && !in_doubt {
                self.findings.push(format!(
                    "replica {replica} of epoch {epoch} sends {}, and epoch {} owns the database",
                    named(&notification),
                    owner.epoch
                ));
            }
            self.doubtful += u64::from(in_doubt);
            let attempt = Attempt { replica, life, notification, began: now, in_doubt };
            let takes = self.pager.way(&mut self.rng);
            self.at(now + takes, Due::Arrive(attempt));
        }
    }

    /// A request arrives at the pager, even if the process that sent it is gone.
    pub fn arrive(&mut self, attempt: &Attempt) {
        let answer = self.pager.takes(attempt);
        let Attempt { replica, life, notification, began, .. } = attempt;
        self.note(format!("pager, from replica {replica}: {}: {answer:?}", named(notification)));
        self.findings.append(&mut self.pager.findings);
        let due = match answer {
            Answer::None => began + TIMEOUT,
            Answer::Taken | Answer::Later => (self.now + self.rng.between(2, 80)).min(began + TIMEOUT),
        };
        let late = self.now >= began + TIMEOUT;
        let answer = if late { Answer::None } else { answer };
        self.at(due, Due::Answered { replica: *replica, life: *life, id: notification.id, answer });
    }

    /// A process gets the answer to its request.
    pub fn answered(&mut self, (replica, life): (usize, u64), id: NotificationId, answer: Answer) {
        if self.is_paused(replica) {
            return self.at(self.replicas[replica].paused, Due::Answered { replica, life, id, answer });
        }
        let now = self.now;
        let Some(process) = &mut self.replicas[replica].process else { return };
        if !process.worker.under_way.remove(&id) {
            return;
        }
        let failed = |ambiguous| AttemptError {
            retry: Retry::Backoff,
            side: Side::Theirs,
            reason: FailureReason::ContextDeadlineExceeded,
            ambiguous,
            detail: "the pager fails".into(),
        };
        let result = match answer {
            Answer::Taken => Ok(()),
            Answer::Later => Err(failed(false)),
            Answer::None => Err(failed(true)),
        };
        if let Some(report) = process.worker.schedule.settle(id, result, at(now)) {
            let _ = process.queue.push(Command::Delivered(report));
            self.poke(replica, 3);
        }
        self.pump(replica);
    }
}

/// Kind, number and key of a notification.
pub fn named(n: &Notification) -> String {
    let key: String = n.dedup_key.chars().take(6).collect();
    format!("{} {} of {key} ({})", n.kind.as_str(), n.id.0, n.group_key)
}
