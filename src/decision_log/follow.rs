//! Following the journal: a thread that reads decisions after they are durable, and indexes them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::write::{Mark, Writer};
use super::{DecisionLogError, DecisionLogMeter};
use crate::config::Storage;
use crate::journal::{Decisions, JournalError, SqliteDecisions};
use crate::model::Timestamp;

/// Rows of the journal read and indexed at a time: short transactions on both sides.
const ROWS: usize = 256;
/// How often it looks for new rows.
const LOOK: Duration = Duration::from_millis(250);
/// How long it waits after a failure.
const AGAIN: Duration = Duration::from_secs(10);
/// The number of looks between two searches for old rows: a minute.
const PRUNE_LOOKS: u32 = 240;
/// After so many failures in a row nothing waits for the decision log any more: a minute.
const GIVE_UP: u32 = 6;
/// How long it may go on at the end. The next start indexes the rest.
const FINISH: Duration = Duration::from_secs(2);
/// How long the end of the process waits for the thread. A disk or a database may hang. After a flood, one
/// row of the journal has thousands of decisions.
const LEAVE: Duration = Duration::from_secs(4);

/// Indexes the journal in a directory, from the last indexed row on.
pub struct Follower {
    writer: Writer,
    journal: Box<dyn Decisions>,
    mark: Mark,
    /// Rows that were decided by then are in the decision log: after the journal began anew.
    known: i64,
    meter: DecisionLogMeter,
}

impl Follower {
    /// Opens both files.
    ///
    /// # Errors
    /// The journal cannot be read, or the decision log cannot be made.
    pub fn open(dir: &Path, meter: DecisionLogMeter) -> Result<Follower, DecisionLogError> {
        Self::over(Box::new(SqliteDecisions::open(dir)?), dir, meter)
    }

    /// Follows any journal. The decision log is in `dir`.
    ///
    /// # Errors
    /// The journal cannot be read, or the decision log cannot be made.
    pub fn over(
        journal: Box<dyn Decisions>,
        dir: &Path,
        meter: DecisionLogMeter,
    ) -> Result<Follower, DecisionLogError> {
        let writer = Writer::open(dir)?;
        let mark = writer.mark()?;
        let mut follower = Follower { writer, journal, mark, known: i64::MIN, meter };
        follower.check()?;
        Ok(follower)
    }

    /// Checks that the journal is still the same one. Its rows are numbered anew after a repair, or when
    /// all of them had left. Then everything newer than the indexed rows is indexed.
    fn check(&mut self) -> Result<(), DecisionLogError> {
        let there = self.journal.checksum(self.mark.row)?;
        let newest = self.journal.newest()?;
        let replaced = match there {
            Some(sha256) => sha256 != self.mark.sha256,
            None => newest < self.mark.row,
        };
        if replaced {
            (self.known, self.mark.row) = (self.mark.at, 0);
        }
        Ok(())
    }

    /// Indexes the next rows. False if there were none.
    ///
    /// # Errors
    /// Either file failed. Nothing is lost: it goes on from the last row that was indexed.
    pub fn step(&mut self) -> Result<bool, DecisionLogError> {
        let rows = self.journal.after(self.mark.row, ROWS)?;
        let Some(last) = rows.last() else {
            self.meter.behind.set(0);
            if self.mark.row > self.journal.newest()? {
                self.check()?;
                return Ok(self.mark.row == 0 && self.journal.newest()? > 0);
            }
            return Ok(false);
        };
        let mark = Mark { row: last.row, sha256: last.sha256.clone(), at: last.at.max(self.mark.at) };
        let new = rows.into_iter().filter(|row| row.at > self.known);
        let (mut decisions, mut history) = (Vec::new(), Vec::new());
        for row in new {
            decisions.extend(row.decisions);
            history.extend(row.history);
        }
        self.writer.add(&decisions, &history, &mark)?;
        self.mark = mark;
        let behind = self.journal.newest()?.saturating_sub(self.mark.row);
        self.meter.behind.set(behind);
        self.meter.indexed.inc_by(decisions.len() as u64);
        Ok(true)
    }

    /// The last row of the journal's decisions that is in the decision log, or need not be.
    pub fn row(&self) -> i64 {
        self.mark.row
    }

    /// Whether the names still lead to both files.
    fn is_current(&self) -> bool {
        self.journal.is_current() && self.writer.is_current()
    }

    /// Removes old rows, and rows beyond the size. True if there may be more.
    ///
    /// # Errors
    /// The decision log failed.
    pub fn prune(&mut self, now: Timestamp, keep: Storage) -> Result<bool, DecisionLogError> {
        let removed = self.writer.prune(now, keep)?;
        self.meter.removed.inc_by(removed.rows);
        self.meter.size.set(i64::try_from(self.writer.size()?).unwrap_or(i64::MAX));
        Ok(removed.more)
    }
}

/// The result of opening a journal's decisions.
pub type Opened = Result<Box<dyn Decisions>, JournalError>;

/// The thread that indexes.
pub struct Following {
    stop: Arc<AtomicBool>,
    thread: Thread,
    /// Closed when the thread ends.
    ended: Receiver<()>,
}

impl Following {
    /// Starts a thread, named `decision_log`, that indexes the journal which `open` opens into `dir` until
    /// [`Following::stop`]. It looks four times a second for new rows and for excess size, and each minute
    /// for rows that are too old. `now` gives the time, and `keep` how much is kept. `indexed` gets the
    /// last row that is in the decision log. While the decision log cannot be written for long, nothing
    /// waits for it: `indexed` gets `i64::MAX`.
    ///
    /// # Errors The system refuses a thread.
    pub fn start(
        dir: &Path,
        open: impl Fn() -> Opened + Send + 'static,
        meter: DecisionLogMeter,
        now: impl Fn() -> Timestamp + Send + 'static,
        keep: impl Fn() -> Storage + Send + 'static,
        indexed: impl Fn(i64) + Send + 'static,
    ) -> std::io::Result<Following> {
        let stop = Arc::new(AtomicBool::new(false));
        let (dir, stopped) = (dir.to_owned(), stop.clone());
        let (running, ended) = mpsc::channel();
        let run = move || {
            // Dropped by a panic too.
            let _running = running;
            follow(&dir, open, &meter, &stopped, now, keep, indexed);
        };
        let thread = std::thread::Builder::new().name("decision_log".into()).spawn(run)?.thread().clone();
        Ok(Following { stop, thread, ended })
    }

    /// Indexes the remaining rows, for at most 2 s, and ends. It blocks for at most 4 s. Then it leaves the
    /// thread alone, whose last transaction counts as a whole or not at all.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.unpark();
        if self.ended.recv_timeout(LEAVE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the decision log is still behind: the next start indexes the rest");
        }
    }
}

fn follow(
    dir: &Path,
    open: impl Fn() -> Opened,
    meter: &DecisionLogMeter,
    stop: &AtomicBool,
    now: impl Fn() -> Timestamp,
    keep: impl Fn() -> Storage,
    indexed: impl Fn(i64),
) {
    let mut follower: Option<Follower> = None;
    let (mut looks, mut failures) = (0u32, 0u32);
    while !stop.load(Ordering::Relaxed) {
        follower = follower.filter(Follower::is_current);
        let done = match &mut follower {
            None => open()
                .map_err(DecisionLogError::from)
                .and_then(|journal| Follower::over(journal, dir, meter.clone()))
                .map(|opened| follower.insert(opened))
                .map(|_| true),
            Some(follower) => look(follower, looks, &now, &keep),
        };
        match (done, &follower) {
            (Ok(more), Some(follower)) => {
                indexed(follower.row());
                failures = 0;
                if !more {
                    looks = looks.wrapping_add(1);
                    std::thread::park_timeout(LOOK);
                }
            }
            (Ok(_), None) => {}
            (Err(error), _) => {
                meter.failures.inc();
                failures = failures.saturating_add(1);
                if failures == GIVE_UP {
                    tracing::error!(%error, "the decision log fails for long: decisions may leave the journal unindexed");
                }
                if failures >= GIVE_UP {
                    indexed(i64::MAX);
                }
                if failures.is_power_of_two() {
                    tracing::warn!(%error, attempts = failures, "the decision log is not written: trying again every 10 s");
                }
                follower = None;
                std::thread::park_timeout(AGAIN);
            }
        }
    }
    let until = Instant::now() + FINISH;
    if let Some(mut follower) = follower {
        while Instant::now() < until && matches!(follower.step(), Ok(true)) {}
    }
}

/// One look: removes surplus rows, and indexes new ones. True if there may be more of either.
fn look(
    follower: &mut Follower,
    looks: u32,
    now: impl Fn() -> Timestamp,
    keep: impl Fn() -> Storage,
) -> Result<bool, DecisionLogError> {
    let keep = keep();
    // First, so that a full disk has room for new rows.
    let pruned = follower.writer.too_large(keep.max_size)? && follower.prune(now(), keep)?;
    let indexed = follower.step()?;
    match pruned || indexed {
        false if looks.is_multiple_of(PRUNE_LOOKS) => follower.prune(now(), keep),
        more => Ok(more),
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;
    use crate::journal::Decided;

    /// A journal that never answers, until the test is over.
    struct Hangs(Receiver<()>);

    impl Decisions for Hangs {
        fn is_current(&self) -> bool {
            true
        }

        fn newest(&self) -> Result<i64, JournalError> {
            Ok(0)
        }

        fn checksum(&self, _: i64) -> Result<Option<Vec<u8>>, JournalError> {
            Ok(None)
        }

        fn after(&self, _: i64, _: usize) -> Result<Vec<Decided>, JournalError> {
            let _ = self.0.recv_timeout(Duration::from_secs(30));
            Ok(Vec::new())
        }
    }

    #[test]
    fn a_decision_log_that_hangs_does_not_hold_up_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let (over, hangs) = mpsc::channel();
        let journal = std::sync::Mutex::new(Some(Hangs(hangs)));
        let open = move || match journal.lock().unwrap().take() {
            Some(journal) => Ok(Box::new(journal) as Box<dyn Decisions>),
            None => Err(JournalError::Failed("gone".into())),
        };
        let meter = DecisionLogMeter::new(&Registry::new()).unwrap();
        let keep = || Storage { retention: crate::model::Duration::from_hours(1), max_size: u64::MAX };
        let now = || Timestamp::ZERO;
        let following = Following::start(dir.path(), open, meter, now, keep, |_| {}).unwrap();
        let began = Instant::now();
        following.stop();
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        drop(over);
    }
}
