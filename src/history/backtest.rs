//! A backtest: one thread reads. For each configuration one thread decides, and one models Alertmanager.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::before::Alertmanager;
use super::compare::{self, Diary};
use super::outcomes::{self, Heard};
use super::report::{
    Against, BacktestReport, BacktestSide, Grouped, HistorySpan, NotificationTally, PageTally,
};
use super::told::{Telling, Told};
use super::{AFTER, HistoryError, Past, Replay, Replayed, render};
use crate::config::{GroupTimes, Policy};
use crate::engine::Event;
use crate::model::{Duration, Notification, Timestamp};

/// Observations that go from thread to thread at a time, about.
const CHUNK: u64 = 2048;

/// Chunks that wait for a thread that is behind. This bounds memory.
const WAITING: usize = 8;

/// The progress of a backtest, for another thread.
#[derive(Debug, Default)]
pub struct Progress {
    /// Observations read.
    pub observations: AtomicU64,
    /// The time of the newest event read, in milliseconds since 1970. It is 0 before the first.
    pub at: AtomicU64,
}

/// A configuration on trial.
#[derive(Debug)]
pub struct Candidate {
    /// Its name for people.
    pub file: String,
    /// The policy.
    pub policy: Policy,
    /// The times of its routes in an Alertmanager.
    pub times: Vec<GroupTimes>,
}

/// Replays `past` under `trial`, and under `against` if it is given. The report then states the differences
/// as seen from `against`. `lines` is called with each notification of the trial, in order. It may be `|_|
/// Ok(())`.
///
/// # Errors
/// `past` cannot be read to its end, or `lines` failed.
pub fn backtest<F>(
    past: impl Iterator<Item = Result<Past, HistoryError>>,
    trial: &Candidate,
    against: Option<&Candidate>,
    mut lines: F,
    progress: &Progress,
) -> Result<BacktestReport, HistoryError>
where
    F: FnMut(&Telling<'_>) -> io::Result<()> + Send,
{
    thread::scope(|scope| {
        let mut senders = Vec::new();
        let mut listen = || {
            let (sender, receiver) = sync_channel(WAITING);
            senders.push(sender);
            receiver
        };
        let compares = against.is_some();
        let (chunks, same) = (listen(), listen());
        let new = scope.spawn(move || decide(&chunks, &trial.policy, compares, &mut lines));
        let new_before = scope.spawn(move || would_have_been(&same, trial));
        let old = against.map(|against| {
            let (chunks, same) = (listen(), listen());
            let old = scope.spawn(move || decide(&chunks, &against.policy, true, &mut |_| Ok(())));
            (against, old, scope.spawn(move || would_have_been(&same, against)))
        });

        let read = read(past, &senders, progress);
        drop(senders);
        let (new, new_before) = (join(new), join(new_before));
        let old = old.map(|(against, old, before)| (against, join(old), join(before)));
        let (mut history, new) = (read?, new?);
        if let Some((from, to)) = new.replayed.span {
            history.from = Some(from);
            history.to = Some(to);
        }
        history.out_of_order = new.replayed.late;
        let against = match old {
            None => None,
            Some((against, old, before)) => {
                let old = old?;
                let difference = compare::compare(&new.diary, &old.diary);
                Some(Against { side: side(against, old, before), difference })
            }
        };
        Ok(BacktestReport { history, trial: side(trial, new, new_before), against })
    })
}

type Chunk = Arc<Vec<Past>>;

/// A panic in a thread is this thread's panic.
fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Hands everything to all threads, until the end, an error, or until none listens.
fn read(
    past: impl Iterator<Item = Result<Past, HistoryError>>,
    senders: &[SyncSender<Chunk>],
    progress: &Progress,
) -> Result<HistorySpan, HistoryError> {
    let mut span = HistorySpan::default();
    let (mut chunk, mut held) = (Vec::new(), 0);
    let send = |chunk: Vec<Past>| {
        let chunk = Arc::new(chunk);
        senders.iter().all(|sender| sender.send(chunk.clone()).is_ok())
    };
    for past in past {
        let past = past?;
        let observations = past.observations();
        span.events += 1;
        span.observations += observations;
        held += observations.max(1);
        let at = past.at;
        chunk.push(past);
        if held >= CHUNK {
            held = 0;
            progress.observations.store(span.observations, Ordering::Relaxed);
            progress.at.store(u64::try_from(at.as_millis()).unwrap_or(0), Ordering::Relaxed);
            if !send(std::mem::take(&mut chunk)) {
                // A thread that left says why when it is joined.
                return Ok(span);
            }
        }
    }
    send(chunk);
    progress.observations.store(span.observations, Ordering::Relaxed);
    Ok(span)
}

/// The result of one configuration.
struct ConfigOutcome {
    replayed: Replayed,
    sent: NotificationTally,
    /// Pages by level of severity.
    pages: Vec<u64>,
    heard: Heard,
    diary: Diary,
}

/// The pages without Squelch.
struct Before {
    every_firing: PageTally,
    grouped: Grouped,
    /// Pages by level of severity.
    pages: Vec<u64>,
    model: Alertmanager,
}

/// The sum of both.
fn side(candidate: &Candidate, outcome: ConfigOutcome, before: Before) -> BacktestSide {
    let (mut sent, mut heard, mut grouped) = (outcome.sent, outcome.heard, before.grouped);
    let (model, severities) = (before.model, &candidate.policy.severities);
    let (old, new) = outcomes::judge(severities, &model.firings, &mut heard);
    grouped.close(model.sent, before.pages, old);
    sent.close(&outcome.replayed, outcome.pages, new);
    let truncated = model.truncated || heard.truncated;
    let every_firing = before.every_firing;
    let mut side = BacktestSide {
        file: candidate.file.clone(),
        verdict: String::new(),
        every_firing,
        alertmanager: grouped,
        squelch: sent,
        truncated,
    };
    side.verdict = render::verdict(&side);
    side
}

fn decide(
    chunks: &Receiver<Chunk>,
    policy: &Policy,
    remember: bool,
    lines: &mut impl FnMut(&Telling<'_>) -> io::Result<()>,
) -> Result<ConfigOutcome, HistoryError> {
    let (mut replay, mut told) = (Replay::new(policy), Told::new(policy));
    let (mut sent, mut diary, mut heard) = (NotificationTally::new(), Diary::default(), Heard::default());
    let mut pages = vec![0; policy.severities.levels.len()];
    let failed = RefCell::new(None);
    let mut sink = |notification: &Notification| {
        let Some(telling) = told.take(notification) else { return };
        if let Some(made) = sent.count(&telling) {
            pages[policy.severities.level_of(made)] += 1;
        }
        heard.note(&telling);
        if remember {
            diary.note(&telling);
        }
        if failed.borrow().is_none() {
            *failed.borrow_mut() = lines(&telling).err();
        }
    };
    for chunk in chunks {
        for past in chunk.iter() {
            replay.feed(past, &mut sink);
        }
        if failed.borrow().is_some() {
            // The reader stops, since nothing takes its chunks.
            break;
        }
    }
    let replayed = replay.finish(&mut sink);
    match failed.into_inner() {
        Some(error) => Err(HistoryError::Unwritten(error)),
        None => Ok(ConfigOutcome { replayed, sent, pages, heard, diary }),
    }
}

fn would_have_been(chunks: &Receiver<Chunk>, candidate: &Candidate) -> Before {
    let (mut every_firing, mut grouped) = (PageTally::default(), Grouped::default());
    let mut pages = vec![0; candidate.policy.severities.levels.len()];
    let mut model = Alertmanager::new(&candidate.policy, &candidate.times);
    let mut now = Timestamp::ZERO;
    let mut count = |model: &mut Alertmanager| {
        for page in model.take_pages() {
            pages[page.level] += 1;
            grouped.pages.count(&page);
        }
    };
    for chunk in chunks {
        for past in chunk.iter() {
            now = now.max(past.at);
            if let Event::Observe(batch) = &past.event {
                model.observe(now, batch);
            }
        }
        for firing in model.take_single() {
            every_firing.count(&firing);
            every_firing.delay.add(firing.at.since(firing.started));
        }
        count(&mut model);
    }
    model.pass(now + AFTER.min(Duration::from_hours(1)));
    count(&mut model);
    Before { every_firing, grouped, pages, model }
}
