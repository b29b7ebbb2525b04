//! A person's search of rows: words and matchers.

use std::cell::Cell;

use crate::engine::alerts::Alert;
use crate::engine::world::World;
use crate::model::{LabelSet, Matcher};

/// One search reads the summaries of so many alerts. Of further ones it reads the labels alone.
const SUMMARIES: usize = 20_000;

/// One search for rows.
pub(super) struct Search<'a> {
    world: &'a World,
    matchers: &'a [Matcher],
    words: &'a [String],
    summaries: Cell<usize>,
}

impl<'a> Search<'a> {
    pub(super) fn new(world: &'a World, matchers: &'a [Matcher], words: &'a [String]) -> Self {
        Search { world, matchers, words, summaries: Cell::new(SUMMARIES) }
    }

    /// Whether it finds every row.
    pub(super) fn is_empty(&self) -> bool {
        self.matchers.is_empty() && self.words.is_empty()
    }

    /// Whether it finds an alert at a receiver.
    pub(super) fn finds(&self, alert: &Alert, receiver: &str) -> bool {
        self.matches(&alert.labels, receiver, || {
            let left = self.summaries.get().checked_sub(1)?;
            self.summaries.set(left);
            Some(self.world.alerts.said(alert).0.value("summary").to_owned())
        })
    }

    /// Whether it finds these labels at a receiver.
    pub(super) fn finds_labels(&self, labels: &LabelSet, receiver: &str) -> bool {
        self.matches(labels, receiver, || None)
    }

    fn matches(&self, labels: &LabelSet, receiver: &str, summary: impl FnOnce() -> Option<String>) -> bool {
        if !self.matchers.iter().all(|m| m.matches(labels)) {
            return false;
        }
        let in_labels =
            |word: &&String| has(receiver, word) || labels.iter().any(|(_, value)| has(value, word));
        let mut others = self.words.iter().filter(|word| !in_labels(word)).peekable();
        // Most rows have none of the words, and reading a summary takes longer than reading labels.
        others.peek().is_none() || summary().is_some_and(|summary| others.all(|word| has(&summary, word)))
    }
}

/// Whether a word stands in a text. The case of ASCII letters does not matter.
fn has(text: &str, word: &str) -> bool {
    let mut places = text.as_bytes().windows(word.len().max(1));
    places.any(|place| place.eq_ignore_ascii_case(word.as_bytes()))
}
