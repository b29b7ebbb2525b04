//! Grouping: which open incident an alert that starts to fire belongs to, or none.
//!
//! A group's incidents are generations. What starts within `merge_window` of an incident's page
//! joins it; the window counts from the page and does not slide, so one chronic alert never
//! swallows tomorrow's outage.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::destinations::DestinationId;
use crate::engine::incidents::incident::{Incident, IncidentId};
use crate::model::{AlertId, Cause, LabelSet, Timestamp};
use crate::policy::Noise;

/// The alerts that one destination puts together.
pub(crate) type GroupKey = (DestinationId, LabelSet);

/// What is remembered of a group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    /// The next incident's generation. Not reused while the group is remembered.
    pub(crate) next_generation: u32,
    /// Incidents that are not over, oldest first; those of merged pages that tell of the group are among
    /// them.
    pub(crate) open: Vec<IncidentId>,
    /// A merged page told of it.
    #[serde(default)]
    pub(crate) merged: bool,
    /// Incidents of which not all is said yet; while there are any, no generation is reused.
    pub(crate) unsettled: u32,
    /// An incident of it ended at a receiver that is told of no ends: its key may be open there still.
    pub(crate) left_open: bool,
    /// What the next page tells, in the order in which it came.
    pub(crate) pending: Vec<Pending>,
    /// What was not worth a page; the next page tells of it if it still matters then.
    pub(crate) withheld: Vec<WithheldAlert>,
    /// When each series fired last, for as long as it counts for a fan-out.
    #[serde(with = "crate::engine::pairs")]
    pub(crate) recent: BTreeMap<AlertId, Timestamp>,
    /// Flapping alerts that fired again and were held, and when; for as long as it counts for a fan-out.
    #[serde(default)]
    pub(crate) held: Vec<(AlertId, Timestamp)>,
}

/// An alert in a page that has not left yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) alert: AlertId,
    /// Observations that wait with it.
    pub(crate) count: u64,
    pub(crate) fired_at: Timestamp,
    pub(crate) due: Timestamp,
    pub(crate) wait: Wait,
    pub(crate) worth: Worth,
    /// It recovered meanwhile, and is told all the same.
    pub(crate) recovered: bool,
}

/// Why a page waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wait {
    /// `group_wait`, or not at all: what recovers meanwhile is not told.
    Group,
    /// The profile's `wait`: what recovers meanwhile is told; then the surprise decides.
    Gather,
    /// The profile's `hold`: the alert is withheld if it recovers meanwhile.
    Hold,
    /// The receiver has had enough: the page is merged with others.
    Merged,
}

/// An alert that was withheld.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WithheldAlert {
    pub(crate) alert: AlertId,
    pub(crate) count: u64,
    pub(crate) fired_at: Timestamp,
    pub(crate) worth: Worth,
    pub(crate) resolved: bool,
    pub(crate) cause: Arc<Cause>,
}

/// What a firing counts towards a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Worth {
    pub(crate) series: AlertId,
    /// In thousandths of a decade.
    pub(crate) surprise: u64,
}

/// Where an alert that starts to fire goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Back into the incident that it is in, or was in a moment ago.
    Rejoin(IncidentId),
    /// Into the incident whose page is recent.
    Join(IncidentId),
    /// Into the next page.
    Next,
}

/// Finds the place of `alert`, whose last incident at this destination is `last`; by `name` it may join
/// what rolls on.
pub(crate) fn place(
    now: Timestamp,
    alert: AlertId,
    last: Option<IncidentId>,
    group: &Group,
    incidents: &BTreeMap<IncidentId, Incident>,
    noise: &Noise,
    name: Option<&str>,
) -> Place {
    let alive = |id: IncidentId| incidents.get(&id).filter(|i| i.takes_alerts());
    let own = last.and_then(|id| Some((id, alive(id)?.members.get(&alert)?)));
    if let Some((id, _)) = own.filter(|(_, member)| member.firing) {
        return Place::Rejoin(id);
    }
    // An alert that is gone for a moment goes on in its own incident. A fresh one of its group may be about
    // something less severe.
    let left_at = own.and_then(|(_, member)| member.resolved_at);
    if let Some((id, _)) = own.filter(|_| left_at.is_some_and(|at| now <= at + noise.resolve_hold)) {
        return Place::Rejoin(id);
    }
    let newest = group.newest(incidents);
    if let Some((id, _)) = newest.filter(|(_, incident)| incident.is_recent(now, noise)) {
        return Place::Join(id);
    }
    // What comes back is no rollout, which goes from one alert to the next.
    let rolls_on = |i: &Incident| {
        !i.members.contains_key(&alert) && name.is_some_and(|name| i.rolls_on(now, name, noise.rolling))
    };
    if let Some((id, _)) = newest.filter(|(_, incident)| rolls_on(incident)) {
        return Place::Join(id);
    }
    Place::Next
}

impl Group {
    /// The newest incident that alerts may join.
    pub(crate) fn newest<'a>(
        &self,
        incidents: &'a BTreeMap<IncidentId, Incident>,
    ) -> Option<(IncidentId, &'a Incident)> {
        let alive = |id: &IncidentId| Some((*id, incidents.get(id).filter(|i| i.takes_alerts())?));
        self.open.iter().rev().find_map(alive)
    }

    /// The surprise of what fired since `since` and was not told: of each series the largest; their
    /// sum, or the largest of all.
    pub(crate) fn surprise(&self, since: Timestamp, largest: bool) -> u64 {
        let pending = self.pending.iter().map(|p| (p.fired_at, p.worth));
        let withheld = self.withheld.iter().map(|q| (q.fired_at, q.worth));
        let mut series: BTreeMap<AlertId, u64> = BTreeMap::new();
        for (_, worth) in pending.chain(withheld).filter(|(at, _)| *at >= since) {
            let best = series.entry(worth.series).or_default();
            *best = (*best).max(worth.surprise);
        }
        if largest { series.into_values().max().unwrap_or(0) } else { series.into_values().sum() }
    }

    /// How many series fired since `since`.
    pub(crate) fn fan_out(&self, since: Timestamp) -> usize {
        let pending = self.pending.iter().map(|p| (p.fired_at, p.worth.series));
        let withheld = self.withheld.iter().map(|q| (q.fired_at, q.worth.series));
        let recent = self.recent.iter().map(|(series, at)| (*at, *series));
        let late = pending.chain(withheld).chain(recent).filter(|(at, _)| *at >= since);
        late.map(|(_, series)| series).collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Takes what waits, or is withheld, of an alert that ended meanwhile out of the next page: it fires
    /// anew. Returns its observations.
    pub(crate) fn take_ended(&mut self, alert: AlertId) -> u64 {
        let pending = self.pending.extract_if(.., |p| p.alert == alert && p.recovered).map(|p| p.count);
        let pending: u64 = pending.sum();
        let withheld = self.withheld.extract_if(.., |q| q.alert == alert && q.resolved).map(|q| q.count);
        pending + withheld.sum::<u64>()
    }

    /// Whether it has no incident that somebody must still hear of, and no page about to leave.
    pub(crate) fn is_idle(&self) -> bool {
        self.unsettled == 0 && self.pending.is_empty() && self.withheld.iter().all(|q| q.resolved)
    }
}
