//! How a command ends: its result on standard output, its complaint on standard error, and its status.

use std::io::{self, Write};
use std::process::ExitCode;

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Tables for people.
    Simple,
    /// One JSON object.
    Json,
}

/// Ends a command that cannot do its work: 1.
pub(super) fn failed(why: &str) -> ExitCode {
    complain(why);
    ExitCode::FAILURE
}

/// Says on standard error why a command ends. The status says it too, where standard error cannot be written.
pub(super) fn complain(why: &str) {
    let _ = writeln!(io::stderr(), "squelch: {why}");
}

/// Why a command ends before it has written all that it found.
#[derive(Debug)]
pub(super) enum Stopped {
    /// It cannot do its work, for this reason.
    Failed(String),
    /// Its output cannot be written.
    Unwritten(io::Error),
}

impl From<String> for Stopped {
    fn from(why: String) -> Self {
        Stopped::Failed(why)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Stopped::Unwritten(error)
    }
}

/// Ends a command that writes its result. A reader that closes the pipe, as `head` does, has read enough,
/// so the command ends well and says nothing.
pub(super) fn wrote(written: Result<(), impl Into<Stopped>>) -> ExitCode {
    match written.map_err(Into::into) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stopped::Unwritten(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Stopped::Unwritten(error)) => failed(&format!("cannot write the output: {error}")),
        Err(Stopped::Failed(why)) => failed(&why),
    }
}

/// Ends a command whose status is its result, and that could not write all of it: never with 0.
pub(super) fn unwritten(error: io::Error) -> ExitCode {
    wrote(Err::<(), _>(error));
    ExitCode::FAILURE
}

/// Ends a command whose question makes no sense: 2.
pub(super) fn senseless(why: &str) -> ExitCode {
    complain(why);
    ExitCode::from(2)
}

/// Ends a command with its result.
pub(super) fn say(text: &str) -> ExitCode {
    wrote(std::io::stdout().lock().write_all(text.as_bytes()))
}

/// Ends a command with its result, as JSON.
pub(super) fn say_json(found: &impl serde::Serialize) -> ExitCode {
    match serde_json::to_string_pretty(found) {
        Ok(text) => say(&(text + "\n")),
        Err(e) => failed(&e.to_string()),
    }
}
