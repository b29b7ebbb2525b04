//! Wire formats in: a request body → the observations that it states.
//!
//! Pure: bytes and the time of receipt in, a [`Parsed`] or an [`IngestError`] out. What is wrong with
//! one alert costs that alert alone; what can be mended without changing which alert it is, is mended
//! and counted, so that only what is no alert, or has no labels, is refused. The bounds are in [`bounds`].

mod alert;
pub mod api_v2;
pub mod bounds;
pub mod events;
mod go;
mod invalid;
mod labels;
mod named;
mod text;
mod times;
pub mod webhook;

use std::collections::BTreeMap;

pub use go::GoJson;
pub use invalid::{IngestError, InvalidReason};
pub use named::NamedLabels;

use serde_json::value::RawValue;

use crate::model::{Batch, Duration, LabelSet, Timestamp};

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
/// There is no label.
pub fn label_set(json: &RawValue) -> Result<LabelSet, String> {
    let pairs = labels::labels(&json.into(), &NamedLabels::default());
    if pairs.set.is_empty() { Err(labels::NONE.to_owned()) } else { Ok(pairs.set) }
}

/// The annotations that a JSON object states, within [`bounds`]; nothing in them is an error.
pub fn annotation_set(json: &RawValue) -> LabelSet {
    labels::annotations(&json.into()).set
}

/// Whether a body that came to a path where no alerts are taken states alerts.
pub fn states_alerts(body: &[u8], received_at: Timestamp) -> bool {
    let named = NamedLabels::default();
    let some = |parsed: Result<Parsed, _>| parsed.is_ok_and(|parsed| !parsed.batch.observations.is_empty());
    some(webhook::parse(body, "", received_at, &named))
        || some(api_v2::parse(body, "", received_at, Duration::from_mins(5), &named))
}
