//! The result of reading a body.

use std::collections::BTreeMap;

use super::InvalidReason;
use crate::model::Batch;

/// The content of a body: its valid part, and the errors of the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The valid observations.
    pub batch: Batch,
    /// One entry for each alert that could not be taken, at most [`super::bounds::REJECTS_LISTED`].
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

/// Why an alert is refused: class and text.
pub(super) type Fault = (InvalidReason, String);
