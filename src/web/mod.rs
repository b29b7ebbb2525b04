//! The HTTP surface: alerts in, health, metrics and the JSON API.
//!
//! What lies behind it is a [`Gate`]; nothing here decides about an alert.

mod access;
mod answers;
mod api;
mod body;
mod crowd;
mod decisions;
mod gate;
mod guard;
mod limits;
mod ops;
mod passwords;
mod problem;
mod receive;
mod refusals;
mod router;
mod server;
mod silences;
mod tls;
mod ui;

pub use access::{Access, AccessError, Area};
pub use gate::{BoxFuture, Gate, Look, ReleaseError, ReplayError, SearchError, SilenceFailure, Unavailable};
pub use limits::Limits;
pub use router::paths;
pub use server::serve;
