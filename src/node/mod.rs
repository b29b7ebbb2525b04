//! The running process: a thread that owns engine and journal, and the ways in and out of it.
//!
//! The engine's thread takes commands from a bounded [`Queue`]. [`Core`] handles all of them as one tick,
//! and makes the tick durable in one commit. Only then does it answer, send and publish. Group commit needs
//! no timer: while one commit syncs, the next tick gathers. The web sees this through [`NodeGate`].
//! [`Node`] builds, reloads and ends it all.

mod asks;
pub mod clock;
pub mod core;
mod down;
mod failopen;
mod gate;
mod input;
mod load;
mod memory;
pub mod metrics;
mod observe;
mod poison;
mod published;
pub mod queue;
mod recover;
mod replicas;
mod report;
mod run;
mod signals;
mod storage;
mod suggestions;
mod tick;

pub use self::core::{Core, Flow, Outbox, Parts};
pub use clock::EngineClock;
pub use gate::NodeGate;
pub use load::{NodeError, database};
pub use memory::{Budget, Memory};
pub use published::Published;
pub use queue::{Command, PushError, Queue, QueueBounds};
pub use recover::RecoverError;
pub use run::{Node, NodeOptions, serve};
pub use storage::REPLICA_METRICS;
