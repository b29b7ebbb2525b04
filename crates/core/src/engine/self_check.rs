//! The self-check: what a person must hear of Squelch itself and of its senders.

use serde::{Deserialize, Serialize};

use super::aside::Asides;
use super::bounds::Bounds;
use super::churn::Churn;
use super::clocks::Clocks;
use super::heartbeats::Heartbeats;
use super::watch::Watch;

/// Opens and closes internal incidents.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct SelfCheck {
    pub(super) watch: Watch,
    pub(super) clocks: Clocks,
    pub(super) churn: Churn,
    pub(super) heartbeats: Heartbeats,
    pub(super) bounds: Bounds,
    pub(super) asides: Asides,
}
