//! Alerts enter an incident: those of a page, and those that flap in older incidents of its group.

use crate::engine::ids::{DestinationId, GroupKey, IncidentId};
use crate::engine::incidents::members::Member;
use crate::engine::pages::Pages;
use crate::engine::pages::merge::is_merged;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{AlertId, Cause};
use crate::policy::{FAN_OUT, FAN_OUT_WITHIN, LOOK_BACK};

impl Pages {
    /// An alert came into an incident by a destination. The incident of a merged page then also stands in
    /// the alert's group there. Later alerts of the group join it, as they would join a page of their own.
    pub(crate) fn stands_in(
        &mut self,
        world: &mut World,
        id: IncidentId,
        alert: AlertId,
        destination: DestinationId,
    ) {
        if !self.incidents.all.get(&id).is_some_and(|incident| is_merged(&incident.group)) {
            return;
        }
        let merged = world.merged_key(destination);
        let Some(labels) = world.alerts.alert(alert).map(|a| a.labels.clone()) else { return };
        let key = world.group_key(destination, &labels);
        let Some(incident) = self.incidents.all.get_mut(&id).filter(|i| i.group == merged) else { return };
        if key == merged || !incident.merges.insert(key.clone()) {
            return;
        }
        self.bound_groups(world, &key);
        let group = self.groups.entry(key.clone()).or_default();
        if let Some(incident) = self.incidents.all.get_mut(&id) {
            incident.again |= group.next_generation > 0 || group.merged;
        }
        group.merged = true;
        group.open.push(id);
        group.paged(world.now);
        self.forget_group_later(world, &key);
    }

    /// The content of a group's next page: alerts, the observations that wait with each, and whether it
    /// recovered.
    pub(crate) fn take_page(&mut self, world: &mut World, key: &GroupKey) -> Vec<(AlertId, u64, bool)> {
        let since = world.now - LOOK_BACK;
        let Some(group) = self.groups.get_mut(key) else { return Vec::new() };
        let pending = std::mem::take(&mut group.pending);
        world.timers.clear(&Timer::GroupWait(key.clone()));
        let withheld = std::mem::take(&mut group.withheld);
        let notified = withheld.into_iter().filter(|q| !q.resolved || q.fired_at >= since);
        let notified = notified.map(|q| (q.alert, q.count, q.resolved));
        pending.into_iter().map(|p| (p.alert, p.count, p.recovered)).chain(notified).collect()
    }

    /// Puts the alerts of a page into an incident, with the observations that wait. The worst come first: a
    /// notification that cannot list all alerts leaves out the last.
    pub(crate) fn enter_all(
        &mut self,
        world: &mut World,
        id: IncidentId,
        from: &GroupKey,
        all: &[(AlertId, u64, bool)],
    ) {
        let mut worst_first: Vec<_> = all.iter().enumerate().collect();
        worst_first.sort_by_cached_key(|(_, (alert, _, recovered))| (*recovered, world.level_of(*alert)));
        let mut held = vec![0; all.len()];
        for (index, (alert, _, recovered)) in worst_first {
            held[index] = self.enter(world, id, from, *alert, *recovered);
        }
        for ((alert, count, _), held) in all.iter().zip(held) {
            self.incidents.wait_in(id, *alert, held);
            self.incidents.wait_in(id, *alert, *count);
        }
    }

    /// Puts an alert that waited in `from` into an incident, as firing, or as recovered if it is not in it
    /// yet. An alert that waits elsewhere on another destination goes on to wait there. One that recovered
    /// and fires again is held no longer than this page. The observations that this hold had are returned.
    pub(crate) fn enter(
        &mut self,
        world: &mut World,
        id: IncidentId,
        from: &GroupKey,
        alert: AlertId,
        recovered: bool,
    ) -> u64 {
        let now = world.now;
        let mut flaps = None;
        let (mut recovered, mut held) = (recovered, 0);
        for destination in world.taken_destinations(alert) {
            let again = recovered && world.listed_in(alert, destination, from);
            if again && world.end_hold(alert, destination) {
                let state = world.state(alert, destination);
                held += std::mem::take(&mut state.waiting);
                state.gather(from.clone());
                recovered = false;
            }
            let state = world.state(alert, destination);
            if !recovered && state.waits_in() == Some(from) {
                state.notify(id);
                flaps = state.damping.flaps();
                self.stands_in(world, id, alert, destination);
            }
        }
        let since = world.alerts.alert(alert).map_or(now, |a| a.starts_at);
        let level = world.level_of(alert);
        self.incidents.bound_members(world, id);
        let Some(incident) = self.incidents.all.get_mut(&id) else { return held };
        if let Some(known) = world.alerts.alert(alert).filter(|_| flaps.is_none()) {
            incident.came(now, known.labels.value("alertname"));
        }
        if !recovered {
            incident.members.insert(alert, Member { flaps, ..Member::firing(since, level) });
        } else if !incident.members.contains_key(&alert) {
            incident.members.insert(alert, Member::resolved(since, now));
        }
        held
    }

    /// Firing alerts that flap in older incidents of a group become part of its new page.
    pub(crate) fn draw_in(&mut self, world: &mut World, id: IncidentId, key: &GroupKey) {
        let older = self.groups.get(key).map_or(Vec::new(), |group| group.open.clone());
        for old in older.into_iter().filter(|old| *old != id) {
            let Some(incident) = self.incidents.all.get(&old) else { continue };
            let flapping = incident.members.flapping().filter(|(_, m)| m.firing);
            let flapping = flapping.filter(|(alert, _)| world.fires(**alert));
            let flapping: Vec<_> = flapping.map(|(alert, m)| (*alert, m.flaps)).collect();
            for (alert, flaps) in flapping {
                let destinations = world.taken_destinations(alert).into_iter();
                let here =
                    |t: &crate::engine::AlertState| t.notified_in() == Some(old) && t.muted().is_none();
                let mut destinations: Vec<_> = destinations
                    .filter(|destination| world.alerts.state(alert, *destination).is_some_and(here))
                    .collect();
                // The incident of a merged page is older for each of its groups, and has alerts of others.
                destinations.retain(|destination| world.listed_in(alert, *destination, key));
                if destinations.is_empty() {
                    continue;
                }
                for destination in destinations {
                    self.incidents.leave(world, alert, destination);
                    world.state(alert, destination).notify(id);
                }
                let since = world.alerts.alert(alert).map_or(world.now, |a| a.starts_at);
                let level = world.level_of(alert);
                self.incidents.bound_members(world, id);
                if let Some(incident) = self.incidents.all.get_mut(&id) {
                    incident.members.insert(alert, Member { flaps, ..Member::firing(since, level) });
                }
            }
        }
    }
}

/// Why a page leaves, if flapping alerts that fire together made it.
pub(crate) fn broke_out(world: &World, key: &GroupKey, all: &[(AlertId, u64, bool)]) -> Option<Cause> {
    let flaps = |alert| world.alerts.state(alert, key.0).is_some_and(|t| t.damping.flaps().is_some());
    let flapping = all.iter().filter(|(alert, _, recovered)| !recovered && flaps(*alert)).count();
    let cause = Cause::FlappingTogether { alerts: flapping, within: FAN_OUT_WITHIN };
    (flapping >= FAN_OUT).then_some(cause)
}
