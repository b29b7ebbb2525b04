//! Replaying the past: the decisions of a configuration about past alerts.
//!
//! A history is an iterator of [`Past`]. Three readers give one. The exchange format is read by [`Jsonl`],
//! and the `ALERTS` series of a Prometheus-compatible server by [`PrometheusHistory`]. The log of Squelch
//! itself is read by [`journal`]. A [`Replay`] hands a history to the same engine that serves. The function
//! [`backtest`] does so in threads and writes a [`BacktestReport`].

mod backtest;
mod before;
mod changed;
mod compare;
mod export;
mod inhibited;
pub mod journal;
mod jsonl;
mod notifications;
mod outcomes;
mod prometheus;
mod render;
mod replay;
mod report;
mod suggest;
mod time;
mod told;

pub use backtest::{Candidate, Progress, backtest};
pub use before::Alertmanager;
pub use changed::{RuleChange, Setting};
pub use compare::{Comparison, Difference};
pub use export::write_history;
pub use jsonl::{Jsonl, decompressed};
pub use notifications::write_line;
pub use outcomes::SWALLOWED_AFTER;
pub use prometheus::{PrometheusHistory, Window, windows};
pub use render::{length, render, swallowed, thousands, verdict};
pub use replay::{AFTER, Replay, Replayed};
pub use report::{
    Against, BacktestReport, BacktestSide, Day, Delays, Grouped, HistorySpan, NotificationTally, PageTally,
    SeverityFigures,
};
pub use suggest::{Effort, Priced, Suggestion, changed, suggest};
pub use told::{Telling, Told};

use crate::engine::Event;
use crate::model::Timestamp;

/// An event with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// When it was handled.
    pub at: Timestamp,
    /// The event.
    pub event: Event,
}

impl Past {
    /// How many observations it holds.
    pub fn observations(&self) -> u64 {
        match &self.event {
            Event::Observe(batch) | Event::Quarantine(batch) => batch.observations.len() as u64,
            Event::Repeats(repeats) => repeats.statements.iter().map(|one| one.count).sum(),
            Event::Delivered(_)
            | Event::Failed(_)
            | Event::Replay(_)
            | Event::Silence(_)
            | Event::Policy(_)
            | Event::Alarm(_)
            | Event::Report(_)
            | Event::Clocks(_)
            | Event::Started
            | Event::Release(_)
            | Event::Acknowledge(_)
            | Event::Remark(_)
            | Event::Tick => 0,
        }
    }
}

/// Why a history cannot be read further.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The reader failed.
    #[error("reading the history: {0}")]
    Io(#[from] std::io::Error),
    /// A line is not in the format.
    #[error("line {line}: {reason}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// The error, and the right value.
        reason: String,
    },
    /// The notifications cannot be written.
    #[error("writing the notifications: {0}")]
    Unwritten(std::io::Error),
    /// A source other than a file failed.
    #[error("{0}")]
    Source(String),
}
