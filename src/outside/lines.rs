//! Lines for an output that may block, fail, or be closed.

use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

/// Bytes of lines that may wait for the log's output. As many may be on their way out besides.
const LOG_BYTES: usize = 2 << 20;

/// The log of this process.
pub static LOG: LazyLock<Arc<OutputLines>> = LazyLock::new(|| Arc::new(OutputLines::new(LOG_BYTES)));

/// Lines that wait for an output. Adding a line never waits. A line that finds no room, or that the output
/// does not take, is dropped and counted.
#[derive(Debug)]
pub struct OutputLines {
    most: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Lines in `waiting`.
    lines: u64,
    /// Lines are on their way out.
    writing: bool,
    dropped: u64,
    /// How many of `dropped` the log itself names.
    said: u64,
}

/// Lines that are on their way out.
#[derive(Debug)]
pub struct LineBatch {
    /// The text to write.
    pub bytes: Vec<u8>,
    /// How many lines that is.
    pub lines: u64,
}

impl OutputLines {
    /// An empty buffer in which at most `most` bytes wait.
    pub fn new(most: usize) -> OutputLines {
        OutputLines { most, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Adds a line with its end, or drops it.
    pub fn push(&self, line: &[u8]) {
        let mut state = self.locked();
        if state.waiting.len() + line.len() > self.most {
            state.dropped += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        state.lines += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        self.locked().dropped
    }

    /// Bytes that wait. They never exceed the bound.
    pub fn waiting(&self) -> usize {
        self.locked().waiting.len()
    }

    /// Takes the waiting lines, for the writer. [`OutputLines::wrote`] must follow.
    pub fn take(&self) -> Option<LineBatch> {
        Self::take_from(&mut self.locked())
    }

    fn take_from(state: &mut State) -> Option<LineBatch> {
        if state.waiting.is_empty() {
            return None;
        }
        state.writing = true;
        Some(LineBatch { bytes: std::mem::take(&mut state.waiting), lines: std::mem::take(&mut state.lines) })
    }

    /// The batch is out, but for so many lines. Returns how many lines were dropped since this was last
    /// returned: once the output takes lines again, it should say so.
    pub fn wrote(&self, lost: u64) -> u64 {
        let mut state = self.locked();
        state.writing = false;
        state.dropped += lost;
        let unsaid = if lost == 0 { state.dropped - state.said } else { 0 };
        state.said += unsaid;
        drop(state);
        self.changed.notify_all();
        unsaid
    }

    /// Starts a thread that writes to `out` from now on.
    ///
    /// # Errors
    /// The system refuses the thread.
    pub fn write_to(self: &Arc<Self>, mut out: impl Write + AsFd + Send + 'static) -> std::io::Result<()> {
        let lines = Arc::clone(self);
        let run = move || {
            loop {
                let batch = lines.next();
                let lost = write(&mut out, &batch);
                let unsaid = lines.wrote(lost);
                if unsaid > 0 {
                    tracing::warn!(lines = unsaid, "log lines were dropped: the log was not read or written");
                }
            }
        };
        std::thread::Builder::new().name("log".into()).spawn(run).map(drop)
    }

    fn next(&self) -> LineBatch {
        let mut state = self.locked();
        loop {
            if let Some(batch) = Self::take_from(&mut state) {
                return batch;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until all lines are out, for at most `patience`.
    pub fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut state = self.locked();
        while state.writing || !state.waiting.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            (state, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a batch, and blocks as long as `out` does. Returns how many lines are not out.
fn write(out: &mut (impl Write + AsFd), batch: &LineBatch) -> u64 {
    let mut rest = batch.bytes.as_slice();
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(n) if n > 0 => rest = &rest[n..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another process made the file nonblocking. An error of the wait shows at the next write.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let _ = poll(&mut [PollFd::new(out, PollFlags::OUT)], None);
            }
            Ok(_) | Err(_) => break,
        }
    }
    rest.split(|byte| *byte == b'\n').count() as u64 - 1
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_line_without_room_is_dropped_and_counted() {
        let lines = OutputLines::new(8);
        for line in ["one\n", "two\n", "three\n", "\n"] {
            lines.push(line.as_bytes());
        }
        assert_eq!((lines.dropped(), lines.waiting()), (2, 8));
        let batch = lines.take().unwrap();
        assert_eq!((batch.bytes.as_slice(), batch.lines), (&b"one\ntwo\n"[..], 2));
        lines.push(b"three\n");
        assert_eq!((lines.dropped(), lines.waiting()), (2, 6), "what is on its way out takes no room");
        assert_eq!(lines.wrote(1), 0, "an output that fails cannot be told");
        assert!(lines.take().is_some());
        assert_eq!(lines.wrote(0), 3);
        assert_eq!(lines.wrote(0), 0, "it is told once");
    }

    #[test]
    fn an_output_that_nobody_reads_blocks_nobody_and_goes_on_when_it_is_read() {
        let lines = Arc::new(OutputLines::new(1 << 16));
        let (out, mut reader) = UnixStream::pair().unwrap();
        lines.write_to(out).unwrap();
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        // More than the socket, the batch on its way out and the buffer hold.
        while lines.dropped() < 100 {
            lines.push(&line);
        }
        lines.flush(Duration::from_millis(1));
        let mut read = vec![0; 1 << 16];
        let flushing = Arc::clone(&lines);
        let flushed = std::thread::spawn(move || flushing.flush(LONG));
        while !flushed.is_finished() {
            assert!(reader.read(&mut read).unwrap() > 0);
            reader.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
            if let Err(error) = reader.read(&mut read) {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
        flushed.join().unwrap();
    }

    #[test]
    fn an_output_that_fails_costs_its_lines() {
        let lines = Arc::new(OutputLines::new(1 << 16));
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        lines.write_to(full).unwrap();
        for _ in 0..3 {
            lines.push(b"line\n");
            lines.flush(LONG);
        }
        assert_eq!(lines.dropped(), 3);
    }

    #[test]
    fn an_output_that_another_made_nonblocking_loses_nothing() {
        let lines = Arc::new(OutputLines::new(1 << 20));
        let (out, mut reader) = UnixStream::pair().unwrap();
        out.set_nonblocking(true).unwrap();
        lines.write_to(out).unwrap();
        let sent = b"line\n".repeat(100_000);
        sent.chunks(5).for_each(|line| lines.push(line));
        let mut read = vec![0; sent.len()];
        reader.read_exact(&mut read).unwrap();
        assert!(read == sent);
        assert_eq!(lines.dropped(), 0);
    }
}
