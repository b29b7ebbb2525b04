//! The bounded queue in front of the engine's thread.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use smol_str::SmolStr;
use tokio::sync::oneshot;

use crate::config::Policy;
use crate::engine::{Alarm, PeriodReport, Release};
use crate::journal::{DeadLetters, LetterQuery};
use crate::model::{
    Batch, FailedDelivery, NotificationId, Observation, OrphanedIncident, Report, SilenceRequest, Source,
    Status,
};
use crate::spans::TraceContext;
use crate::web::{Acknowledgement, Look, ReleaseError, ReplayError, SilenceFailure, Unavailable};

/// A command for the engine's thread. Each caller waits on the other end of its channel. A caller that has
/// gone away changes nothing: the command is handled all the same.
pub enum Command {
    /// Observations of one request, with its trace. Answered when they are durable.
    Observe(Batch, Option<TraceContext>, oneshot::Sender<Result<(), Unavailable>>),
    /// A notification reached its end.
    Delivered(Report),
    /// Attempts at a notification failed. The history loses this if there is no room.
    Failed(FailedDelivery),
    /// The files of the storage may be gone.
    CheckStorage,
    /// A problem outside of the engine that a person must know.
    Alarm(Alarm),
    /// The report of a period. Answered when that is durable.
    Report(PeriodReport, oneshot::Sender<Result<(), Unavailable>>),
    /// A dead letter to send again. Answered when that is durable.
    Replay(NotificationId, oneshot::Sender<Result<(), ReplayError>>),
    /// A silence to create, change or end. Answered with its id when that is durable.
    Silence(SilenceRequest, oneshot::Sender<Result<SmolStr, SilenceFailure>>),
    /// A person releases an alert that is held back. Answered when that is durable.
    Release(Release, oneshot::Sender<Result<(), ReleaseError>>),
    /// A person acknowledged an incident, or took that back. Answered when that is durable.
    Acknowledge(Acknowledgement, oneshot::Sender<Result<(), Unavailable>>),
    /// A look at the engine once the tick is durable.
    Look(Look),
    /// The configuration changed. Answered when that is durable, with the open incidents whose integrations
    /// left the configuration.
    Policy(Box<Policy>, oneshot::Sender<Result<Vec<OrphanedIncident>, Unavailable>>),
    /// Dead letters, newest first.
    DeadLetters(LetterQuery, oneshot::Sender<Result<DeadLetters, Unavailable>>),
    /// No more work but reports: notifications stay in the outbox for the next start. Answered when
    /// all that was accepted before is durable.
    Quiesce(oneshot::Sender<()>),
    /// The last command: take a snapshot and end the thread.
    Stop(oneshot::Sender<()>),
}

impl Command {
    /// Whether an earlier statement of the same sender about the same alert must count earlier. That is so
    /// for events of PagerDuty and Opsgenie, acknowledgements, resolves, and alerts without a start. Of a
    /// firing alert, the start says that an earlier resolve is an old one.
    pub(super) fn order_counts(&self) -> bool {
        match self {
            Command::Observe(batch, ..) => {
                let unordered = |said: &Observation| said.status == Status::Resolved || said.start_unknown;
                matches!(batch.source, Source::Pagerduty | Source::Opsgenie)
                    || batch.observations.iter().any(unordered)
            }
            Command::Acknowledge(..) => true,
            _ => false,
        }
    }
}

/// Why a command was not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PushError {
    /// There is no room. The caller must come back later.
    #[error("{commands} requests of {weight} bytes wait for the disk already: try again")]
    Full {
        /// How many wait.
        commands: usize,
        /// How large they are together, about.
        weight: usize,
    },
    /// The engine's thread has ended.
    #[error("the engine has ended")]
    Closed,
}

/// How much may wait, and how much one tick takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBounds {
    /// Commands that may wait. Default 4,096.
    pub commands: usize,
    /// The bytes, estimated, that may wait. One batch larger than this still fits an empty queue. Default
    /// 64 MiB.
    pub weight: usize,
    /// Commands that one tick takes at most. Default 512.
    pub tick_commands: usize,
    /// Bytes at which one tick takes no more. Default 8 MiB.
    pub tick_weight: usize,
}

impl Default for QueueBounds {
    fn default() -> Self {
        QueueBounds { commands: 4096, weight: 64 << 20, tick_commands: 512, tick_weight: 8 << 20 }
    }
}

/// Commands from any thread to the one that owns the engine. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

struct Shared {
    bounds: QueueBounds,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    commands: VecDeque<(Command, usize)>,
    weight: usize,
    closed: bool,
}

impl Queue {
    /// An empty queue.
    pub fn new(bounds: QueueBounds) -> Queue {
        let shared = Shared { bounds, waiting: Mutex::default(), arrived: Condvar::new() };
        Queue { shared: Arc::new(shared) }
    }

    /// Hands `command` over, or says at once that there is no room. Reports, alarms and the commands of a
    /// shutdown always fit. There is one report at most for each notification in the outbox, and losing one
    /// would leave an incident waiting for ever. Alarms are a few a minute.
    pub fn push(&self, command: Command) -> Result<(), PushError> {
        let weight = weight(&command);
        let bounds = self.shared.bounds;
        let mut waiting = self.lock();
        let heavy = waiting.weight.saturating_add(weight) > bounds.weight && waiting.weight > 0;
        let full = heavy || waiting.commands.len() >= bounds.commands;
        if waiting.closed {
            return Err(PushError::Closed);
        }
        if full && !always_fits(&command) {
            return Err(PushError::Full { commands: waiting.commands.len(), weight: waiting.weight });
        }
        waiting.weight += weight;
        waiting.commands.push_back((command, weight));
        drop(waiting);
        self.shared.arrived.notify_one();
        Ok(())
    }

    /// The number of waiting commands that get refused when there is no room.
    pub fn waiting(&self) -> usize {
        self.lock().commands.iter().filter(|(command, _)| !always_fits(command)).count()
    }

    /// Takes the commands that one tick may handle, in order. It waits at most `patience` for the first
    /// command.
    pub fn take(&self, patience: std::time::Duration) -> Vec<Command> {
        let bounds = self.shared.bounds;
        let mut waiting = self.lock();
        if waiting.commands.is_empty() && !patience.is_zero() {
            waiting = self
                .shared
                .arrived
                .wait_timeout_while(waiting, patience, |w| w.commands.is_empty())
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let (mut taken, mut total) = (Vec::new(), 0);
        while taken.len() < bounds.tick_commands && total < bounds.tick_weight {
            let Some((command, weight)) = waiting.commands.pop_front() else { break };
            waiting.weight -= weight;
            total += weight;
            taken.push(command);
        }
        taken
    }

    /// Takes nothing more from now on, and drops the waiting commands. Their callers see that.
    pub fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        let dropped = std::mem::take(&mut waiting.commands);
        waiting.weight = 0;
        drop(waiting);
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn always_fits(command: &Command) -> bool {
    match command {
        Command::Delivered(_)
        | Command::CheckStorage
        | Command::Alarm(_)
        | Command::Quiesce(_)
        | Command::Stop(_) => true,
        Command::Observe(..)
        | Command::Failed(_)
        | Command::Replay(..)
        | Command::Report(..)
        | Command::Silence(..)
        | Command::Release(..)
        | Command::Acknowledge(..)
        | Command::Look(_)
        | Command::Policy(..)
        | Command::DeadLetters(..) => false,
    }
}

/// About how many bytes the command holds: its texts, and the overhead of each.
fn weight(command: &Command) -> usize {
    const EACH: usize = 128;
    let Command::Observe(batch, ..) = command else { return EACH };
    batch
        .observations
        .iter()
        .map(|o| EACH + o.labels.bytes() + o.annotations.bytes() + o.generator_url.len())
        .sum::<usize>()
        + EACH
}

impl Queue {
    /// Hands a command over and waits for its answer.
    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Unavailable> {
        let (done, answer) = oneshot::channel();
        self.push(command(done)).map_err(|e| Unavailable(e.to_string()))?;
        answer.await.map_err(|_| Unavailable("the engine has ended".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LabelSet, Outcome, Timestamp};

    const NOW: std::time::Duration = std::time::Duration::ZERO;

    fn observe(size: usize) -> Command {
        let observation = Observation::new(
            Status::Firing,
            LabelSet::from_pairs([("a", "x".repeat(size))]),
            Timestamp::ZERO,
            None,
        );
        let batch = Batch::new(Source::Alertmanager, "a", vec![observation]);
        Command::Observe(batch, None, oneshot::channel().0)
    }

    fn report(id: u64) -> Command {
        Command::Delivered(Report {
            id: NotificationId(id),
            outcome: Outcome::Accepted,
            attempts: 1,
            message: None,
        })
    }

    #[test]
    fn a_full_queue_says_so_and_still_takes_reports() {
        let queue = Queue::new(QueueBounds { commands: 2, ..QueueBounds::default() });
        queue.push(observe(1)).unwrap();
        queue.push(observe(1)).unwrap();
        assert!(queue.push(observe(1)).unwrap_err().to_string().starts_with("2 requests of "));
        queue.push(report(1)).unwrap();
        assert_eq!(queue.take(NOW).len(), 3);
        queue.push(observe(1)).unwrap();
    }

    #[test]
    fn bytes_are_bounded_but_a_huge_batch_fits_an_empty_queue() {
        let queue = Queue::new(QueueBounds { weight: 10_000, ..QueueBounds::default() });
        queue.push(observe(20_000)).unwrap();
        queue.push(observe(1)).unwrap_err();
        queue.take(NOW);
        queue.push(observe(6_000)).unwrap();
        queue.push(observe(6_000)).unwrap_err();
        queue.push(observe(2_000)).unwrap();
    }

    #[test]
    fn a_tick_is_bounded_by_count_and_by_bytes() {
        let queue =
            Queue::new(QueueBounds { tick_commands: 3, tick_weight: 10_000, ..QueueBounds::default() });
        for _ in 0..4 {
            queue.push(observe(1)).unwrap();
        }
        assert_eq!(queue.take(NOW).len(), 3);
        assert_eq!(queue.take(NOW).len(), 1);
        for _ in 0..3 {
            queue.push(observe(6_000)).unwrap();
        }
        assert_eq!(queue.take(NOW).len(), 2);
        assert_eq!(queue.take(NOW).len(), 1);
        assert_eq!(queue.take(NOW).len(), 0);
    }

    #[test]
    fn a_waiting_thread_wakes_for_the_first_command() {
        let queue = Queue::new(QueueBounds::default());
        let other = queue.clone();
        let taker = std::thread::spawn(move || other.take(std::time::Duration::from_secs(60)).len());
        queue.push(report(1)).unwrap();
        assert_eq!(taker.join().unwrap(), 1);
    }

    #[test]
    fn a_closed_queue_answers_whoever_waits() {
        let queue = Queue::new(QueueBounds::default());
        let (done, mut answer) = oneshot::channel();
        queue.push(Command::DeadLetters(LetterQuery::newest(1), done)).unwrap();
        queue.close();
        assert_eq!(answer.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        queue.push(observe(1)).unwrap_err();
    }
}
