//! Resources outside this process that may never answer: files, names, and outputs.
//!
//! Nothing here blocks its caller beyond a bound. Squelch reads a file, or looks up a name, on a thread of
//! its own ([`Apart`]). The caller stops waiting when its time is over. A line for the log goes into a
//! bounded buffer ([`OutputLines`]) that another thread writes out.

mod apart;
mod environment;
mod file;
mod glob;
mod lines;
mod names;

pub use apart::{Apart, Begin, Broke, MOST, UnderWay};
pub use environment::variable;
pub use file::{FileError, PATIENCE, read, read_apart};
pub use glob::glob;
pub use lines::{LOG, LineBatch, OutputLines};
pub use names::look_up;
