//! From an alert that no mute keeps back to its incident: hold, group, gather, storm, limit.

pub(crate) mod admit;
pub(crate) mod alone;
pub(crate) mod digest;
pub(crate) mod enter;
pub(crate) mod flapping;
pub(crate) mod flow;
pub(crate) mod forwards;
pub(crate) mod gather;
pub(crate) mod groups;
pub(crate) mod identifiers;
pub(crate) mod internal;
pub(crate) mod merge;
pub(crate) mod open;
pub(crate) mod refusing;
pub(crate) mod release;
pub(crate) mod repeated;
pub(crate) mod report;
pub(crate) mod rerouted;
pub(crate) mod series;
pub(crate) mod suppress;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use crate::engine::ids::{DestinationId, GroupKey, IncidentId};
use crate::engine::incidents::incident::Side;
use crate::engine::incidents::{Incidents, Settled};
use crate::engine::pages::digest::Digests;
use crate::engine::pages::flow::PageFlow;
use crate::engine::pages::forwards::Forwards;
use crate::engine::pages::groups::Group;
use crate::engine::pages::report::PeriodReports;
use crate::engine::pages::series::Series;
use crate::engine::renames::rename_key;
use crate::engine::stats::Bound;
use crate::engine::timers::Timer;
use crate::engine::world::{World, earliest};
use crate::model::{AlertId, Duration};

/// With more alerts than this withheld in one group, resolved ones go.
pub(crate) const WITHHELD: usize = 10_000;

/// The groups, the alerts that they gather for their next page, and the incidents that they opened.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pages {
    pub(crate) incidents: Incidents,
    #[serde(with = "crate::engine::pairs")]
    pub(crate) groups: BTreeMap<GroupKey, Group>,
    #[serde(with = "crate::engine::pairs")]
    pub(crate) series: BTreeMap<(DestinationId, AlertId), Series>,
    /// How many pages each receiver was about to be sent.
    #[serde(with = "crate::engine::pairs")]
    pub(crate) flows: BTreeMap<SmolStr, PageFlow>,
    #[serde(default)]
    pub(crate) digests: Digests,
    /// The open internal incidents.
    #[serde(default, with = "crate::engine::pairs")]
    pub(crate) internal: BTreeMap<GroupKey, IncidentId>,
    #[serde(default)]
    pub(crate) forwards: Forwards,
    #[serde(default)]
    pub(crate) reports: PeriodReports,
}

impl Pages {
    /// A receiver has another name.
    pub(crate) fn rename_receiver(&mut self, old: &SmolStr, new: &SmolStr) {
        for suffix in ["", "\0observe"] {
            let (old, new) = (format_smolstr!("{old}{suffix}"), format_smolstr!("{new}{suffix}"));
            rename_key(&mut self.flows, &old, &new);
        }
        self.digests.rename_receiver(old, new);
        self.reports.rename_receiver(old, new);
        self.forwards.rename_receiver(old, new);
        for channel in self.incidents.all.values_mut().flat_map(|incident| &mut incident.channels) {
            if let Some(second) = channel.second.as_mut().filter(|second| second.receiver == *old) {
                second.receiver = new.clone();
            }
        }
    }

    /// The group is forgotten a day after its last incident, and its generations with it. It takes a month
    /// if a key of the group may still be open at a receiver that gets no resolves. A page under an open
    /// key would be silent.
    pub(crate) fn forget_group_later(&self, world: &mut World, key: &crate::engine::GroupKey) {
        let Some(group) = self.groups.get(key).filter(|g| g.is_idle()) else { return };
        let days = if group.left_open { 30 } else { 1 };
        world.timers.set(Timer::ForgetGroup(key.clone()), world.now + Duration::from_hours(24 * days));
    }

    /// Forgets groups that nothing is open of, if there are too many for one more.
    pub(crate) fn bound_groups(&mut self, world: &mut World, new: &GroupKey) {
        let full = self.groups.len() as u64 >= world.policy.limits.alerts && !self.groups.contains_key(new);
        if !full || !world.may_search(Bound::Groups) {
            return;
        }
        let idle = self.groups.iter().filter(|(_, g)| g.is_idle() && !g.left_open);
        let due = |key: &GroupKey| world.timers.deadline(&Timer::ForgetGroup(key.clone()));
        let idle = earliest(idle.map(|(key, _)| (due(key), key.clone())).collect(), world.share());
        world.found(Bound::Groups, idle.len());
        for (_, key) in idle {
            world.timers.clear(&Timer::ForgetGroup(key.clone()));
            self.groups.remove(&key);
        }
    }

    /// Forgets the series that would be forgotten first, if there are too many for one more.
    pub(crate) fn bound_series(&mut self, world: &mut World, new: &(DestinationId, AlertId)) {
        let full = self.series.len() as u64 >= world.policy.limits.alerts && !self.series.contains_key(new);
        if !full || !world.may_search(Bound::Series) {
            return;
        }
        let at = |(destination, id): &(DestinationId, AlertId)| {
            world.timers.deadline(&Timer::ForgetSeries(*destination, *id))
        };
        let old = earliest(self.series.keys().map(|key| (at(key), *key)).collect(), world.share());
        world.found(Bound::Series, old.len());
        for (_, (destination, id)) in old {
            world.timers.clear(&Timer::ForgetSeries(destination, id));
            self.series.remove(&(destination, id));
        }
    }

    /// Forgets the withheld alerts of a group that resolved, once there are many. They are disposed already.
    pub(crate) fn bound_withheld(&mut self, world: &mut World, key: &GroupKey) {
        let Some(group) = self.groups.get_mut(key) else { return };
        let before = group.withheld.len();
        if before >= WITHHELD {
            group.withheld.retain(|q| !q.resolved);
            let gone = before - group.withheld.len();
            world.accounting.bound(Bound::Withheld, gone as u64);
        }
    }

    /// Tries again at once every notification that was refused. A person may have corrected the URL, the
    /// key or the file that holds it, and the engine knows none of these.
    pub(crate) fn retry_all(&mut self, world: &mut World) {
        for (id, incident) in &mut self.incidents.all {
            for channel in incident.channels.iter_mut().filter(|channel| channel.was_refused()) {
                channel.retry_now();
                world.timers.set(Timer::Retry(*id), world.now);
            }
        }
        self.digests.retry(world);
    }

    /// The groups whose incidents have nothing left to send check whether they are idle.
    pub(crate) fn forget_settled(&mut self, world: &mut World) {
        for Settled { id, group: key, side, left_open } in std::mem::take(&mut self.incidents.settled) {
            if side == Side::Forwarded {
                self.forwards.unsettled.remove(&id);
            } else if let Some(group) = self.groups.get_mut(&key) {
                group.unsettled -= 1;
                group.left_open |= left_open;
                self.forget_group_later(world, &key);
            }
        }
    }

    pub(crate) fn forget_group(&mut self, key: &GroupKey) {
        if self.groups.get(key).is_some_and(crate::engine::pages::groups::Group::is_idle) {
            self.groups.remove(key);
        }
    }

    /// Forgets an alert that does not fire, unless an incident or a digest has still to say how it stands.
    pub(crate) fn forget_alert(&self, world: &mut World, alert: AlertId) {
        let mut destinations = world.taken_destinations(alert).into_iter();
        let named = destinations.any(|destination| self.incidents.is_named(world, alert, destination));
        if named || self.digests.names(alert) {
            let next = world.next_hour();
            return world.alerts.remember_until(alert, next);
        }
        world.accounting.forget(world.now, alert, (&mut world.alerts, &world.destinations));
        world.alerts.forget(alert, &mut world.timers);
    }

    /// The incident with a recent page that includes an alert of this group: its `own`, else the group's
    /// newest.
    pub(crate) fn recent_incident(
        &self,
        world: &World,
        key: &GroupKey,
        own: Option<IncidentId>,
    ) -> Option<IncidentId> {
        let noise = &world.destinations.get(key.0).noise;
        let own = own.and_then(|id| Some((id, self.incidents.all.get(&id).filter(|i| i.takes_alerts())?)));
        let newest = self.groups.get(key).and_then(|group| group.newest(&self.incidents.all));
        let mut both = [own, newest].into_iter().flatten();
        both.find(|(_, incident)| incident.is_recent(world.now, noise)).map(|(id, _)| id)
    }

    pub(crate) fn flow(&mut self, world: &World, destination: DestinationId) -> &mut PageFlow {
        let key = world.flow_key(destination);
        self.flows.entry(key).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::pages::groups::WithheldAlert;
    use crate::engine::testing::policy;
    use crate::model::{Cause, LabelSet};

    #[test]
    fn a_group_that_withholds_too_many_alerts_forgets_those_that_resolved() {
        for (held, left, forgotten) in
            [(WITHHELD - 1, WITHHELD - 1, 0), (WITHHELD, WITHHELD / 4 * 3, WITHHELD / 4)]
        {
            let (mut world, mut pages) = (World::new(policy(&[], Default::default())), Pages::default());
            let key = (DestinationId(0), LabelSet::default());
            let one = |n: usize| WithheldAlert {
                alert: AlertId(n as u128),
                count: 0,
                fired_at: world.now,
                series: AlertId(n as u128),
                resolved: n.is_multiple_of(4),
                cause: Cause::SeriesHold.into(),
            };
            pages.groups.entry(key.clone()).or_default().withheld = (0..held).map(one).collect();
            pages.bound_withheld(&mut world, &key);
            let count = world.accounting.stats().bounds.get(&Bound::Withheld).copied().unwrap_or(0);
            assert_eq!((pages.groups[&key].withheld.len(), count), (left, forgotten as u64), "{held} alerts");
        }
    }
}
