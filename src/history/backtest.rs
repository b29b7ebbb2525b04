//! A backtest: one thread reads, one for each configuration decides, one asks what would have been.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::before::Alertmanager;
use super::compare::{self, Diary};
use super::report::{Against, Notifications, Report, Span, Tally};
use super::told::{Telling, Told};
use super::{AFTER, HistoryError, Past, Replay, Replayed};
use crate::config::Policy;
use crate::engine::Event;
use crate::model::{Duration, Notification, Timestamp};

/// Observations that go from thread to thread at a time, about.
const CHUNK: u64 = 2048;

/// Chunks that wait for a thread that is behind; memory is bounded by this.
const WAITING: usize = 8;

/// How far a backtest is; read from another thread.
#[derive(Debug, Default)]
pub struct Progress {
    /// Observations read.
    pub observations: AtomicU64,
    /// The time of the newest event read, in milliseconds since 1970; 0 before the first.
    pub at: AtomicU64,
}

/// A configuration on trial, and who wants to see every notification: `lines` may be `|_| Ok(())`.
pub struct Candidate<'a, F> {
    /// What decides.
    pub policy: &'a Policy,
    /// Called with each notification, in order.
    pub lines: F,
}

/// Replays `past` under `candidate`, and under `against` if it is there, as seen from which the
/// report says what differs.
///
/// # Errors
/// `past` cannot be read to its end, or the candidate's `lines` failed.
pub fn backtest<F>(
    past: impl Iterator<Item = Result<Past, HistoryError>>,
    mut candidate: Candidate<'_, F>,
    against: Option<&Policy>,
    progress: &Progress,
) -> Result<Report, HistoryError>
where
    F: FnMut(&Telling<'_>) -> io::Result<()> + Send,
{
    thread::scope(|scope| {
        let (mut senders, new) = (Vec::new(), channel());
        senders.push(new.0);
        let compares = against.is_some();
        let new = scope.spawn(move || decide(&new.1, candidate.policy, compares, &mut candidate.lines));
        let old = against.map(|policy| {
            let (sender, receiver) = channel();
            senders.push(sender);
            scope.spawn(move || decide(&receiver, policy, true, &mut |_| Ok(())))
        });
        let (sender, receiver) = channel();
        senders.push(sender);
        let policy = candidate.policy;
        let before = scope.spawn(move || would_have_been(&receiver, policy));

        let read = read(past, &senders, progress);
        drop(senders);
        let (new, old) = (join(new), old.map(join));
        let (every_firing, alertmanager) = join(before);
        let (mut history, new) = (read?, new?);
        if let Some((from, to)) = new.replayed.span {
            history.from = Some(from);
            history.to = Some(to);
        }
        history.out_of_order = new.replayed.late;
        let against = match old {
            None => None,
            Some(old) => {
                let old = old?;
                let difference = compare::compare(&new.diary, &old.diary);
                Some(Against { squelch: old.sent, difference })
            }
        };
        Ok(Report { history, every_firing, alertmanager, squelch: new.sent, against })
    })
}

type Chunk = Arc<Vec<Past>>;

fn channel() -> (SyncSender<Chunk>, Receiver<Chunk>) {
    sync_channel(WAITING)
}

/// A panic in a thread is this thread's panic.
fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Hands everything to everybody, until the end, an error, or nobody who listens.
fn read(
    past: impl Iterator<Item = Result<Past, HistoryError>>,
    senders: &[SyncSender<Chunk>],
    progress: &Progress,
) -> Result<Span, HistoryError> {
    let mut span = Span::default();
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

/// What came of one configuration.
struct Outcome {
    replayed: Replayed,
    sent: Notifications,
    diary: Diary,
}

fn decide(
    chunks: &Receiver<Chunk>,
    policy: &Policy,
    remember: bool,
    lines: &mut impl FnMut(&Telling<'_>) -> io::Result<()>,
) -> Result<Outcome, HistoryError> {
    let (mut replay, mut told) = (Replay::new(policy), Told::new(policy));
    let (mut sent, mut diary) = (Notifications::new(), Diary::default());
    let mut failed = None;
    let mut sink = |notification: &Notification| {
        let Some(telling) = told.take(notification) else { return };
        sent.count(&telling);
        if remember {
            diary.note(&telling);
        }
        if failed.is_none() {
            failed = lines(&telling).err();
        }
    };
    for chunk in chunks {
        for past in chunk.iter() {
            replay.feed(past, &mut sink);
        }
    }
    let replayed = replay.finish(&mut sink);
    sent.close(&replayed);
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(Outcome { replayed, sent, diary }),
    }
}

fn would_have_been(chunks: &Receiver<Chunk>, policy: &Policy) -> (Tally, Tally) {
    let (mut firings, mut pages) = (Tally::default(), Tally::default());
    let mut model = Alertmanager::new(policy);
    let mut now = Timestamp::ZERO;
    for chunk in chunks {
        for past in chunk.iter() {
            now = now.max(past.at);
            if let Event::Observe(batch) = &past.event {
                model.observe(now, batch);
            }
        }
        model.take_firings().iter().for_each(|page| firings.count(page));
        model.take_pages().iter().for_each(|page| pages.count(page));
    }
    model.pass(now + AFTER.min(Duration::from_hours(1)));
    model.take_pages().iter().for_each(|page| pages.count(page));
    (firings, pages)
}
