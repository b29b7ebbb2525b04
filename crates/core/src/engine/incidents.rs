//! The incidents, and what each receiver knows of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::incident::{Incident, IncidentId};
use super::lifecycle::Settled;
use crate::model::{AlertId, LabelSet, Notification, NotificationId};

/// All incidents that are not settled. It brings each receiver to the truth, and knows nothing of why an
/// incident opens or closes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Incidents {
    #[serde(with = "super::pairs")]
    pub(super) all: BTreeMap<IncidentId, Incident>,
    /// The notifications whose end is not known yet, with the channel that each went to.
    #[serde(with = "super::pairs")]
    pub(super) in_flight: BTreeMap<NotificationId, (IncidentId, usize)>,
    /// Refused notifications that can be asked for again.
    #[serde(with = "super::pairs")]
    pub(super) refused: BTreeMap<NotificationId, (IncidentId, usize)>,
    /// Incidents that are open at an integration that the configuration does not have any more.
    #[serde(default)]
    pub(super) orphans: BTreeSet<IncidentId>,
    /// Alerts of which an incident could not say that they resolved, since they fire elsewhere: which, and
    /// whether its messages say that they fire.
    #[serde(default, with = "super::pairs")]
    pub(super) unsaid: BTreeMap<AlertId, BTreeSet<(IncidentId, bool)>>,
    pub(super) next_incident: u64,
    pub(super) next_notification: u64,
    /// Incidents by the labels of their group. Follows from the incidents, so is no part of a snapshot.
    #[serde(skip)]
    pub(super) kin: BTreeMap<LabelSet, BTreeSet<IncidentId>>,
    /// Incidents that the event at hand touched. Empty between events, as are the next three.
    #[serde(skip)]
    pub(super) touched: BTreeSet<IncidentId>,
    /// Incidents of which all is said.
    #[serde(skip)]
    pub(super) settled: Vec<Settled>,
    /// Notifications that leave.
    #[serde(skip)]
    pub(super) outgoing: Vec<Notification>,
    /// Refused notifications that were made good.
    #[serde(skip)]
    pub(super) made_good: Vec<NotificationId>,
}

impl Default for Incidents {
    fn default() -> Self {
        Incidents {
            all: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            refused: BTreeMap::new(),
            orphans: BTreeSet::new(),
            unsaid: BTreeMap::new(),
            next_incident: 1,
            next_notification: 1,
            kin: BTreeMap::new(),
            touched: BTreeSet::new(),
            settled: Vec::new(),
            outgoing: Vec::new(),
            made_good: Vec::new(),
        }
    }
}
