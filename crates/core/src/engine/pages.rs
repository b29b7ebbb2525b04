//! Everything between an alert that passed its mutes and its hold, and the incident that tells of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::digest::Digests;
use super::flow::Flow;
use super::groups::{Group, GroupKey};
use super::incident::IncidentId;
use super::incidents::Incidents;
use super::lanes::LaneId;
use super::observe::Mirrors;
use super::series::Series;
use crate::model::AlertId;

/// The groups, what they gather for their next page, and the incidents that they opened.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pages {
    pub(super) incidents: Incidents,
    #[serde(with = "super::pairs")]
    pub(super) groups: BTreeMap<GroupKey, Group>,
    #[serde(with = "super::pairs")]
    pub(super) series: BTreeMap<(LaneId, AlertId), Series>,
    /// How many pages each receiver was about to be sent.
    #[serde(with = "super::pairs")]
    pub(super) flows: BTreeMap<SmolStr, Flow>,
    #[serde(default)]
    pub(super) digests: Digests,
    /// The open internal incidents.
    #[serde(default, with = "super::pairs")]
    pub(super) own: BTreeMap<GroupKey, IncidentId>,
    #[serde(default)]
    pub(super) mirrors: Mirrors,
}
