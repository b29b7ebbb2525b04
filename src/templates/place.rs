//! A place in the source of a template, and its error.

use std::fmt;

/// An error of a template.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct WrongTemplate {
    /// Where: `FILE:LINE:COLUMN`, or `line LINE, column COLUMN` of a text in the configuration.
    pub at: String,
    /// The text that was found, and the right text.
    pub what: String,
}

impl fmt::Display for WrongTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.at.is_empty() { "" } else { ": " };
        write!(f, "{}{place}{}", self.at, self.what)
    }
}

/// The places of one source.
pub(super) struct Places<'a> {
    file: &'a str,
    source: &'a str,
}

impl<'a> Places<'a> {
    /// The places of a source in this file. Without a file, of a text in the configuration.
    pub(super) fn new(file: &'a str, source: &'a str) -> Self {
        Places { file, source }
    }

    /// A place by its distance from the beginning, in bytes.
    pub(super) fn shown(&self, offset: usize) -> String {
        let mut end = offset.min(self.source.len());
        while !self.source.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.source[..end];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        self.line(line, column)
    }

    /// A place by its line and column.
    pub(super) fn line(&self, line: usize, column: usize) -> String {
        match self.file {
            "" => format!("line {line}, column {column}"),
            file => format!("{file}:{line}:{column}"),
        }
    }

    /// An error at a place.
    pub(super) fn wrong(&self, offset: usize, what: impl Into<String>) -> WrongTemplate {
        WrongTemplate { at: self.shown(offset), what: what.into() }
    }
}
