//! The deterministic core.
mod event;
pub use event::{Effects, Event, Seen, SeenOccurrence, Why};
