//! How much of the past is kept.

use crate::model::Duration;

/// How much of the past is kept in the decision log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storage {
    /// Decisions older than this leave. Default 30d.
    pub retention: Duration,
    /// In bytes: beyond it the oldest decisions leave. Default 2GB.
    pub max_size: u64,
}

impl Default for Storage {
    fn default() -> Self {
        Storage { retention: Duration::from_hours(30 * 24), max_size: 2 << 30 }
    }
}
