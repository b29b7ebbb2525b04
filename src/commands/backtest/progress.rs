//! The progress, written to standard error several times a second, if that is a terminal.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::history::Progress;
use crate::model;

/// The known progress.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) progress: Progress,
    /// Bytes or windows. `total` is 0 if it is unknown.
    done: AtomicU64,
    total: AtomicU64,
}

impl Shown {
    pub(super) fn of(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    /// One more is to be done than was thought.
    pub(super) fn grow(&self) {
        self.total.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add(&self, done: u64) {
        self.done.fetch_add(done, Ordering::Relaxed);
    }

    /// `1,000,000 observations, 250,000/s, 3 s left`, after `elapsed`.
    fn line(&self, elapsed: Duration) -> String {
        let observations = self.progress.observations.load(Ordering::Relaxed);
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        let rate = u128::from(observations) * 1000 / elapsed.as_millis().max(1);
        let mut line = format!("{observations} observations, {rate}/s");
        if done > 0 && total >= done {
            let left = elapsed.as_millis() * u128::from(total - done) / u128::from(done);
            let left = model::Duration::from_secs(u64::try_from(left.div_ceil(1000)).unwrap_or(u64::MAX));
            line.push_str(&format!(", {} %, {left} left", u128::from(done) * 100 / u128::from(total)));
        }
        line
    }
}

/// Tells for ever, if a person reads it. To be aborted.
pub(super) async fn tell(shown: &Shown) {
    if !io::stderr().is_terminal() {
        return;
    }
    let start = Instant::now();
    let mut every = tokio::time::interval(Duration::from_millis(200));
    every.tick().await;
    loop {
        every.tick().await;
        let line = shown.line(start.elapsed());
        let _ = write!(io::stderr(), "\r{line}\x1b[K");
    }
}

/// Takes the line off the terminal.
pub(super) fn clear() {
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}

/// A reader that counts the bytes that it reads.
pub(super) struct Counted<R> {
    inner: R,
    shown: Arc<Shown>,
}

impl<R> Counted<R> {
    pub(super) fn new(inner: R, shown: Arc<Shown>) -> Self {
        Counted { inner, shown }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.shown.add(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_rate_and_the_time_left_where_the_end_is_known() {
        let shown = Shown::default();
        shown.progress.observations.store(3000, Ordering::Relaxed);
        assert_eq!(shown.line(Duration::from_secs(2)), "3000 observations, 1500/s");
        shown.of(400);
        shown.add(100);
        assert_eq!(shown.line(Duration::from_secs(2)), "3000 observations, 1500/s, 25 %, 6s left");
    }
}
