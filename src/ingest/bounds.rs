//! How much of a body is kept, so that no sender can grow the state without bound.
//!
//! A bound never costs an alert its identity. A long label value is cut and labels beyond the bound are
//! left out, but a hash of the missing part stays.

use crate::model::Duration;

/// Longest label name or value kept, in bytes. A longer one is cut and ends in `…` and 32 hex digits of the
/// SHA-256 of the whole. Two alerts that differ therefore stay two.
pub const LABEL_BYTES: usize = 4 << 10;

/// Longest annotation name or value kept, in bytes. A longer one is cut and ends in `…`. It is also the
/// longest `generatorURL`. A longer URL is left out, since half a link leads nowhere.
pub const ANNOTATION_BYTES: usize = 16 << 10;

/// Labels kept of one alert. Of an alert with more, the last one kept says how many were left out, with a
/// hash of them.
pub const LABELS: usize = 256;

/// Annotations kept of one alert, in their order. The rest is dropped.
pub const ANNOTATIONS: usize = 256;

/// Squelch ignores a start, or the end of a resolved alert, that lies further ahead of its receipt. A clock
/// that is wrong by more than a time zone shows nothing.
pub const AHEAD: Duration = Duration::from_hours(24);

/// Nor is a time that lies further back: it is the epoch, or a year of two digits.
pub const AGO: Duration = Duration::from_hours(24 * 3_653);

/// Alerts taken from one body. The rest is refused. Prometheus sends 256 at a time.
pub const ALERTS: usize = 100_000;

/// Refused alerts that are named one by one. Further ones are only counted.
pub const REJECTS_LISTED: usize = 1_000;
