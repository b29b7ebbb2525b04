//! The HTTP surface: alerts in, health, metrics and the JSON API.
//!
//! What lies behind it is a [`Gate`]; nothing here decides about an alert.

mod answers;
mod api;
mod body;
mod crowd;
mod gate;
mod limits;
mod ops;
mod problem;
mod receive;
mod refusals;
mod router;
mod server;
mod silences;

pub use gate::{BoxFuture, Gate, ReplayError, SilenceFailure, Unavailable};
pub use limits::Limits;
pub use router::paths;
pub use server::serve;
