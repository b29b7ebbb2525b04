//! Faults by script, for the next requests.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Deserialize;

/// The most scripts kept at once. The oldest goes first.
const SCRIPTS: usize = 1000;

/// The fault of the next requests. It is the body of `POST /script`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// The number of requests. 0 counts as 1.
    pub next: u32,
    /// Answer this status. None: the ordinary answer.
    pub answer: Option<u16>,
    /// With this body.
    pub body: Option<String>,
    /// With `Retry-After`: seconds, or an HTTP date.
    pub retry_after: Option<RetryAfter>,
    /// With further headers, `Location` for one.
    pub headers: BTreeMap<String, String>,
    /// Wait this long first, in milliseconds.
    pub hang_ms: u64,
    /// Break the connection off instead of answering.
    pub reset: bool,
    /// The request takes effect all the same: the sender cannot know.
    pub accepted: bool,
    /// Only requests whose path begins so.
    pub path: String,
}

/// A value of `Retry-After`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum RetryAfter {
    /// Seconds.
    Seconds(u64),
    /// The text of the header.
    Text(String),
}

impl RetryAfter {
    pub(super) fn text(&self) -> String {
        match self {
            RetryAfter::Seconds(seconds) => seconds.to_string(),
            RetryAfter::Text(text) => text.clone(),
        }
    }
}

impl Fault {
    pub(super) fn hang(&self) -> Duration {
        Duration::from_millis(self.hang_ms)
    }

    /// Whether the request never gets as far as the pager's state.
    pub(super) fn is_lost(&self) -> bool {
        !self.accepted && (self.reset || self.answer.is_some())
    }
}

/// The scripts that are still to happen, in order.
#[derive(Debug, Default)]
pub(super) struct Script(VecDeque<Fault>);

impl Script {
    pub(super) fn push(&mut self, mut fault: Fault) {
        fault.next = fault.next.max(1);
        self.0.push_back(fault);
        if self.0.len() > SCRIPTS {
            self.0.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault that a request of this path meets.
    pub(super) fn take(&mut self, path: &str) -> Option<Fault> {
        let at = self.0.iter().position(|fault| path.starts_with(&fault.path))?;
        let fault = &mut self.0[at];
        fault.next -= 1;
        let met = fault.clone();
        if fault.next == 0 {
            self.0.remove(at);
        }
        Some(met)
    }
}
