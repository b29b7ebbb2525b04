//! The ground that every part of the engine stands on: time, settings, alerts, timers and accounts.

use serde::{Deserialize, Serialize};

use super::alerts::Alerts;
use super::bounds::Searched;
use super::lanes::Lanes;
use super::ledger::Ledger;
use super::timers::Timers;
use crate::model::Timestamp;
use crate::policy::Policy;

/// What every part of the engine reads, and the timers and accounts that every part writes. It calls no
/// other part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct World {
    /// Engine time: the latest at which an event was handled.
    pub(super) now: Timestamp,
    pub(super) policy: Policy,
    pub(super) lanes: Lanes,
    pub(super) alerts: Alerts,
    pub(super) timers: Timers,
    pub(super) ledger: Ledger,
    #[serde(default)]
    pub(super) searched: Searched,
}

impl World {
    pub(super) fn new(policy: Policy) -> Self {
        World {
            now: Timestamp::ZERO,
            policy,
            lanes: Lanes::default(),
            alerts: Alerts::default(),
            timers: Timers::default(),
            ledger: Ledger::default(),
            searched: Searched::default(),
        }
    }
}
