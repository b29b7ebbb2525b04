//! Wire formats in: a request body → the observations that it states.
//!
//! Pure: bytes and the time of receipt in, a [`Parsed`] or an [`IngestError`] out.

use crate::model::Batch;

/// What a body stated: its valid part, and what was wrong with the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The valid observations.
    pub batch: Batch,
    /// One entry for each alert that could not be taken.
    pub rejects: Vec<Reject>,
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

/// Classes of invalid input; the values of `squelch_alerts_invalid_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InvalidReason {
    /// Placeholder until the formats are written.
    Malformed,
}
