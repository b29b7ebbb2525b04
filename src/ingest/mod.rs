//! Wire formats in: a request body → the observations that it states.
//!
//! Pure: bytes and the time of receipt in, a [`Parsed`] or an [`IngestError`] out. An error in one alert
//! costs that alert alone. An error that can be mended without a change of the alert's identity is mended
//! and counted. Only input that is no alert, or has no labels, is refused. The bounds are in [`bounds`].

mod alert;
pub mod api_v2;
pub mod bounds;
pub mod events;
mod go;
mod invalid;
mod json;
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

use self::json::Json;
use self::labels::{Annotations, Labels};
use crate::model::{Batch, Duration, LabelSet, Timestamp};

/// The content of a body: its valid part, and the errors of the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The valid observations.
    pub batch: Batch,
    /// One entry for each alert that could not be taken, at most [`bounds::REJECTS_LISTED`].
    pub rejects: Vec<Reject>,
    /// How many alerts could not be taken, by class. It is complete, unlike `rejects`.
    pub rejected: BTreeMap<InvalidReason, u64>,
    /// The number of mended errors in accepted alerts, by class.
    pub mended: BTreeMap<InvalidReason, u64>,
    /// For some of these classes, the error of the first alert and the value taken instead, for logs.
    pub first_mended: BTreeMap<InvalidReason, String>,
    /// Webhook: how many alerts `max_alerts` left out. Above 0, absence says nothing.
    pub truncated: u64,
    /// Webhook: the sender's receiver, as it stands in its configuration, for logs.
    pub receiver: String,
    /// Webhook: the sender's group key, for logs.
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
    /// The error, and the right value.
    pub error: String,
}

/// The label set that a JSON object of strings states, within [`bounds`]. It is read as if it came in a
/// request, so that a history equals live operation.
///
/// # Errors
/// There is no label.
pub fn label_set(json: &RawValue) -> Result<LabelSet, String> {
    let named = NamedLabels::default();
    let mut labels = Labels::new(&named);
    let read = labels.read(&mut Json::new(json.get())).map(|()| labels.set());
    read.ok().filter(|set| !set.is_empty()).ok_or_else(|| labels::NONE.to_owned())
}

/// The annotations that a JSON object states, within [`bounds`]. No content is an error.
pub fn annotation_set(json: &RawValue) -> LabelSet {
    let mut annotations = Annotations::default();
    annotations.read(&mut Json::new(json.get())).map(|()| annotations.set()).unwrap_or_default()
}

/// Whether a body that came to a path where no alerts are taken states alerts.
pub fn states_alerts(body: &[u8], received_at: Timestamp) -> bool {
    let named = NamedLabels::default();
    let some = |parsed: Result<Parsed, _>| parsed.is_ok_and(|parsed| !parsed.batch.observations.is_empty());
    some(webhook::parse(body, "", received_at, &named))
        || some(api_v2::parse(body, "", received_at, Duration::from_mins(5), &named))
}
