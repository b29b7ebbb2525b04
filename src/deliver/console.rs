//! The carrier of lines: standard output, which may block or fail.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::receivers::AttemptError;

/// The output of the console's lines. Tests capture them.
pub trait ConsoleSink: Send + Sync {
    /// Writes one line. `line` has no line break. It may block.
    fn write_line(&self, line: &str) -> io::Result<()>;
}

/// Standard output.
#[derive(Debug, Default)]
pub struct Stdout;

impl ConsoleSink for Stdout {
    fn write_line(&self, line: &str) -> io::Result<()> {
        // Past the buffer of the standard library, which writes a line that failed again with the next.
        let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        out.write_all(format!("{line}\n").as_bytes())
    }
}

/// A sink that may block or fail. Lines go out one at a time, each on a thread of its own.
#[derive(Clone)]
pub struct Console {
    sink: Arc<dyn ConsoleSink>,
    turn: Arc<Mutex<()>>,
}

impl Console {
    /// All clones share the turns of this sink.
    pub fn new(sink: Arc<dyn ConsoleSink>) -> Console {
        Console { sink, turn: Arc::default() }
    }

    /// Writes one line before `until`, which is `timeout` after the beginning of the attempt. A line that has
    /// not begun by then is never written.
    pub(super) async fn write(
        &self,
        line: String,
        until: Instant,
        timeout: Duration,
    ) -> Result<(), AttemptError> {
        let seconds = timeout.as_secs_f32();
        let Ok(turn) = timeout_at(until, self.turn.clone().lock_owned()).await else {
            let detail = format!("standard output: an earlier line has not been taken within {seconds} s");
            return Err(AttemptError::late(detail));
        };
        let (sink, (done, written)) = (self.sink.clone(), oneshot::channel());
        let write = move || {
            let outcome = sink.write_line(&line);
            drop(turn);
            let _ = done.send(outcome);
        };
        if let Err(error) = std::thread::Builder::new().name("console".into()).spawn(write) {
            return Err(AttemptError::ours(format!("standard output: no thread to write: {error}")));
        }
        match timeout_at(until, written).await {
            Ok(Ok(outcome)) => outcome.map_err(|error| failed(&error)),
            Ok(Err(_)) => Err(AttemptError::ours("standard output: the sink panicked, which is a bug")),
            // The line may come out later.
            Err(_) => Err(AttemptError {
                ambiguous: true,
                ..AttemptError::late(format!("standard output: has not taken the line within {seconds} s"))
            }),
        }
    }
}

/// A sink that failed. A pipe may come back.
fn failed(error: &io::Error) -> AttemptError {
    AttemptError::ours(format!("standard output: {error}"))
}
