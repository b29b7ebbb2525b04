//! The deterministic core.
mod event;
mod stats;
pub use event::{Effects, Event, Seen, SeenOccurrence, Why};
pub use stats::{PAGE_DELAY_BUCKETS, ReceiverStats, Stats};
