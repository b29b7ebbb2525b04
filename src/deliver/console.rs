//! `console_configs`: one line a notification.

use std::io::{self, Write};

use super::attempt::AttemptError;
use super::text::{clean_line, subject};
use super::view::View;

/// Where the console's lines go; tests capture them.
pub trait ConsoleSink: Send + Sync {
    /// Writes one line; `line` has no line break. May block.
    fn write_line(&self, line: &str) -> io::Result<()>;
}

/// Standard output.
#[derive(Debug, Default)]
pub struct Stdout;

impl ConsoleSink for Stdout {
    fn write_line(&self, line: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }
}

/// `2026-11-23T10:00:00Z page team/console[0] critical [FIRING:2] … key=0123456789ab why="…"`.
pub(super) fn line(view: &View<'_>) -> String {
    let n = view.notification;
    let key: String = n.dedup_key.chars().take(12).collect();
    let repeat = if view.possible_repeat { " (possible repeat)" } else { "" };
    clean_line(&format!(
        "{} {} {}/{} {} {} key={key} why={:?}{repeat}",
        n.at,
        n.kind.as_str(),
        n.receiver,
        n.integration,
        n.severity,
        subject(view),
        n.why.as_str(),
    ))
}

/// A sink that failed; a pipe may come back.
pub(super) fn failed(error: &io::Error) -> AttemptError {
    AttemptError::ours(format!("standard output: {error}"))
}
