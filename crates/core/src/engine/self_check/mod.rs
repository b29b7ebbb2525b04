//! The self-check: what a person must hear of Squelch itself and of its senders.

pub(crate) mod churn;
pub(crate) mod clocks;
pub(crate) mod heartbeats;
pub(crate) mod overflow;
pub(crate) mod quarantine;
pub(crate) mod watch;

use serde::{Deserialize, Serialize};

use crate::engine::self_check::churn::Churn;
use crate::engine::self_check::clocks::Clocks;
use crate::engine::self_check::heartbeats::Heartbeats;
use crate::engine::self_check::overflow::Bounds;
use crate::engine::self_check::quarantine::Quarantine;
use crate::engine::self_check::watch::Watch;

/// Opens and closes internal incidents.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SelfCheck {
    pub(crate) watch: Watch,
    pub(crate) clocks: Clocks,
    pub(crate) churn: Churn,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) bounds: Bounds,
    pub(crate) quarantine: Quarantine,
}
