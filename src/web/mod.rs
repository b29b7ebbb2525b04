//! The HTTP surface: alerts in, health, metrics and the JSON API.
//!
//! A [`Gate`] lies behind it. Nothing here decides about an alert.

mod access;
mod acknowledged;
mod app;
mod body;
mod budget;
mod changes;
mod crowd;
mod events;
mod forward;
mod gate;
mod guard;
mod limits;
mod look;
mod ops;
mod outgoing;
mod passwords;
mod problem;
mod receive;
mod refusals;
mod router;
mod server;
mod tls;
mod ui;
mod undelivered;
mod unparsed;
mod unread;
mod unserved;
mod v1;
mod v2;

pub use access::{Access, AccessError, Area};
pub use gate::{
    Acknowledgement, Bounded, BoundsInForce, BoxFuture, Callback, Gate, Labelling, Look, ReleaseError,
    ReplayError, Replicated, SearchError, Searched, SilenceFailure, Unavailable,
};
pub use limits::ServerLimits;
pub use router::paths;
pub use server::{Server, serve};
pub(crate) use ui::{
    ICON, STYLE, busiest, counted, heat, html_document, pages_text, span, stack, tame, values, with_code,
};
pub use v1::{
    AlertEntry, AlertPage, ClusterEntry, IncidentEntry, IncidentPage, ReplicaEntry, SilencePage,
    StandingEntry, description,
};
pub use v2::ALERTMANAGER_VERSION;
pub use v2::silencing::{MatcherForm, SilenceEntry, SilenceForm};
