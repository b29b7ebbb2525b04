//! Wire formats in: a request body → the observations that it states.
//!
//! Pure: bytes and the time of receipt in, a [`Parsed`] or an [`IngestError`] out. What is wrong with
//! one alert costs that alert alone; what can be mended without changing which alert it is, is mended
//! and counted, so that only labels that cannot be read cost an alert. The bounds are in [`bounds`].

mod alert;
pub mod api_v2;
pub mod bounds;
mod glance;
mod invalid;
mod labels;
mod text;
mod times;
pub mod webhook;

use std::borrow::Cow;
use std::collections::BTreeMap;

pub use glance::{Glance, Said};
pub use invalid::{IngestError, InvalidReason};

use serde_json::value::RawValue;

use crate::model::{Batch, LabelSet};

/// What a body stated: its valid part, and what was wrong with the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The valid observations.
    pub batch: Batch,
    /// One entry for each alert that could not be taken, at most [`bounds::REJECTS_LISTED`].
    pub rejects: Vec<Reject>,
    /// How many alerts could not be taken, by class; complete, unlike `rejects`.
    pub rejected: BTreeMap<InvalidReason, u64>,
    /// What was mended in alerts that were taken, by class.
    pub mended: BTreeMap<InvalidReason, u64>,
    /// Of some of these classes, what was wrong with the first alert and what was taken instead; for logs.
    pub first_mended: BTreeMap<InvalidReason, String>,
    /// Webhook: how many alerts `max_alerts` left out. Above 0, absence says nothing.
    pub truncated: u64,
    /// Webhook: the sender's receiver, as it stands in its configuration; for logs.
    pub receiver: String,
    /// Webhook: the sender's group key; for logs.
    pub group_key: String,
    /// Whether the time of receipt became part of an observation, so that parsing the same body
    /// later would give another result.
    pub depends_on_receipt: bool,
}

impl Parsed {
    /// How many alerts could not be taken, listed or not.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }
}

/// An alert that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reject {
    /// Position in the request's list of alerts, from 0.
    pub index: usize,
    /// Class, for `squelch_alerts_invalid_total{reason}`.
    #[serde(skip)]
    pub reason: InvalidReason,
    /// What was wrong, and what would be right.
    pub error: String,
}

/// The label set that a JSON object of strings states, within [`bounds`], read as if it came in a
/// request: so that a history is what was lived.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn label_set(json: &RawValue) -> Result<LabelSet, String> {
    labels::labels(Some(json)).map(|pairs| pairs.set).map_err(|(_, error)| error)
}

/// The annotations that a JSON object states, within [`bounds`]; nothing in them is an error.
pub fn annotation_set(json: &RawValue) -> LabelSet {
    labels::annotations(Some(json)).set
}

/// The body as text, without a byte order mark, and whether bytes that are not UTF-8 were replaced: one
/// garbled annotation is no reason to lose a page.
fn decoded(body: &[u8]) -> (Cow<'_, str>, bool) {
    let text = String::from_utf8_lossy(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
    let mended = matches!(text, Cow::Owned(_));
    (text, mended)
}
