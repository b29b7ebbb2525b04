//! How much of a body is kept, so that no sender can grow the state without bound.
//!
//! A bound never costs an alert its identity: a long label value is cut and labels beyond the bound are left
//! out, but a hash of what is missing stays.

use crate::model::Duration;

/// Longest label name or value kept, in bytes. A longer one is cut and ends in `…` and 32 hex digits
/// of the SHA-256 of the whole, so that two alerts that differ stay two.
pub const LABEL_BYTES: usize = 4 << 10;

/// Longest annotation name or value kept, in bytes; a longer one is cut and ends in `…`. Also the
/// longest `generatorURL`: a longer one is left out, since half a link leads nowhere.
pub const ANNOTATION_BYTES: usize = 16 << 10;

/// Labels kept of one alert. Of an alert with more, the last one kept says how many were left out, with a
/// hash of them.
pub const LABELS: usize = 256;

/// Annotations kept of one alert, in the order in which they stood; the rest is dropped.
pub const ANNOTATIONS: usize = 256;

/// A start, or the end of what has resolved, that lies further ahead of its receipt is not believed. A clock
/// that goes wrong by more than a time zone shows nothing.
pub const AHEAD: Duration = Duration::from_hours(24);

/// Nor is a time that lies further back: it is the epoch, or a year of two digits.
pub const AGO: Duration = Duration::from_hours(24 * 3_653);

/// Alerts taken from one body; the rest is refused. Prometheus sends 256 at a time.
pub const ALERTS: usize = 100_000;

/// Refused alerts that are named one by one; beyond that they are only counted.
pub const REJECTS_LISTED: usize = 1_000;
