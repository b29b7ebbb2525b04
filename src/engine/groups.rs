//! Grouping: which open incident an alert that starts to fire belongs to, or none.
//!
//! A group's incidents are generations. What starts within `merge_window` of an incident's page
//! joins it; the window counts from the page and does not slide, so one chronic alert never
//! swallows tomorrow's outage.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::incident::{Incident, IncidentId, Phase};
use super::lanes::LaneId;
use crate::config::Noise;
use crate::model::{AlertId, LabelSet, Timestamp};

/// The alerts that one lane puts together.
pub(super) type GroupKey = (LaneId, LabelSet);

/// What is remembered of a group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    /// The next incident's generation. Not reused while the group is remembered.
    pub(super) next_generation: u32,
    /// Incidents that are not over, oldest first.
    pub(super) open: Vec<IncidentId>,
    /// Alerts that will be paged together, with the observations that wait with them.
    pub(super) wait: Option<Wait>,
}

/// A page that is about to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wait {
    pub(super) until: Timestamp,
    /// In the order in which they came.
    pub(super) alerts: Vec<(AlertId, u64)>,
}

/// Where an alert that starts to fire goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Back into the incident that it is in, or was in a moment ago.
    Rejoin(IncidentId),
    /// Into the incident whose page is recent.
    Join(IncidentId),
    /// Into the page that is about to leave.
    Wait,
    /// Into a new incident.
    Open,
}

/// Finds the place of `alert`, whose last incident at this lane is `last`.
pub(super) fn place(
    now: Timestamp,
    alert: AlertId,
    last: Option<IncidentId>,
    group: &Group,
    incidents: &BTreeMap<IncidentId, Incident>,
    noise: &Noise,
) -> Place {
    let alive =
        |id: &IncidentId| incidents.get(id).filter(|i| i.phase != Phase::Closed && i.superseded_by.is_none());
    if let Some((id, incident)) = last.and_then(|id| Some((id, alive(&id)?)))
        && let Some(member) = incident.members.get(&alert)
        && (member.firing || member.resolved_at.is_some_and(|at| now < at + noise.merge_window))
    {
        return Place::Rejoin(id);
    }
    let newest = group.open.iter().rev().find_map(|id| alive(id).map(|i| (*id, i)));
    if let Some((id, incident)) = newest
        && now < incident.paged_at + noise.merge_window
    {
        return Place::Join(id);
    }
    if group.wait.is_some() { Place::Wait } else { Place::Open }
}

impl Group {
    /// Whether it has no incident and no page about to leave.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty() && self.wait.is_none()
    }
}
