//! The deterministic core of Squelch: [`model`], [`policy`] and [`engine`].
//!
//! The core decides about alerts. It reads no clock, opens no file or socket, starts no thread and logs
//! nothing: its list of dependencies has no crate that could. The program around it passes time,
//! configuration and the outcome of each delivery in as events.

pub mod engine;
pub mod model;
pub mod policy;
