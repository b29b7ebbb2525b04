//! What one lane knows of one alert.

use serde::{Deserialize, Serialize};

use super::Engine;
use super::damping::Damping;
use super::groups::GroupKey;
use super::incident::IncidentId;
use super::lanes::LaneId;
use crate::model::{AlertId, Reason, Timestamp};

/// What one lane knows of one alert.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Track {
    /// Whether the alert fires, as the stages behind damping and hold were told.
    pub(super) presented: bool,
    pub(super) damping: Damping,
    /// Why it is muted, while it fires and is.
    pub(super) muted: Option<Reason>,
    /// Flapping ended while it was muted, after so many changes: the page that tells so leaves after the
    /// mute.
    #[serde(default)]
    pub(super) owed: Option<u32>,
    /// Until when the first page is held.
    pub(super) held_until: Option<Timestamp>,
    /// Observations that wait here: for a hold to end, or for flapping to.
    pub(super) waiting: u64,
    /// The group of the page that it waits for, which has not left yet.
    pub(super) waits_in: Option<GroupKey>,
    /// The incident that it is in, or was in last.
    pub(super) incident: Option<IncidentId>,
}

impl Track {
    /// Whether it is about an alert that was told of, will be, or would be were it not muted.
    pub(super) fn is_live(&self) -> bool {
        self.presented || self.held_until.is_some() || self.muted.is_some()
    }
}

impl Engine {
    pub(super) fn taken_lanes(&self, alert: AlertId) -> Vec<LaneId> {
        self.alerts.tracks_of(alert).map(|(lane, _)| lane).collect()
    }
}
