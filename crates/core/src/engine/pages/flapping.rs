//! Flapping, as the pipeline meets it: when it begins, what an alert's incident is told of it, and how it
//! ends. The arithmetic is [`crate::engine::damping`]'s.

use crate::engine::destinations::DestinationId;
use crate::engine::incidents::incident::{IncidentId, Phase};
use crate::engine::incidents::members::Member;
use crate::engine::pages::Pages;
use crate::engine::pages::groups::GroupKey;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{AlertId, Cause};
use crate::policy::{FAN_OUT, FAN_OUT_WITHIN, Flapping};

impl Pages {
    /// A flapping alert fires again, and its resolve was withheld. While a page of its group is recent, that
    /// is told there as an update, unless it was gone for no longer than `resolve_hold`. Later it is held:
    /// it is part of the next page of its group, and opens one only with others that flap, or if it lasts.
    /// An alert that was gone for a moment opens none with others: it goes on in its own incident.
    pub(crate) fn refire(&mut self, world: &mut World, alert: AlertId, destination: DestinationId) {
        let Some(labels) = world.alerts.alert(alert).map(|a| a.labels.clone()) else { return };
        let key = world.group_key(destination, &labels);
        let track = world.state(alert, destination);
        let (own, waits, gone) = (track.incident(), track.waits_in().is_some(), track.damping.pause());
        let blips = gone <= world.destinations.get(destination).noise.resolve_hold;
        match self.recent_incident(world, &key, own) {
            _ if waits => {}
            Some(id) if own != Some(id) || !blips => {
                return self.incidents.tell_again(world, alert, destination, id);
            }
            None if !blips && self.breaks_out(world, &key, alert, destination) => return,
            Some(_) | None => {}
        }
        let count = std::mem::take(&mut world.state(alert, destination).waiting);
        let cause = self.flapping_cause(world, alert, destination);
        let release = world.timers.deadline(&Timer::Reuse(destination, alert));
        self.suppress(world, alert, destination, count, cause, release);
    }

    /// The incident with a recent page in which an alert of this group is told of: its `own`, else the
    /// group's newest.
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

    /// Flapping alerts of a group that fire again together have a cause: a fan-out of them starts anew. Returns
    /// whether they do.
    fn breaks_out(
        &mut self,
        world: &mut World,
        key: &GroupKey,
        alert: AlertId,
        destination: DestinationId,
    ) -> bool {
        let now = world.now;
        self.bound_groups(world, key);
        let held = &mut self.groups.entry(key.clone()).or_default().held;
        held.retain(|(other, at)| *other != alert && now <= *at + FAN_OUT_WITHIN);
        held.push((alert, now));
        let held: Vec<AlertId> = held.iter().map(|(alert, _)| *alert).collect();
        let goes = |alert: &AlertId| {
            let track = world.alerts.state(*alert, destination);
            let free = |t: &crate::engine::AlertState| t.muted().is_none() && t.notified_in().is_some();
            world.fires(*alert) && track.is_some_and(|t| free(t) && t.damping.flaps().is_some())
        };
        let together: Vec<AlertId> = held.into_iter().filter(goes).collect();
        if together.len() < FAN_OUT {
            self.forget_group_later(world, key);
            return false;
        }
        self.groups.entry(key.clone()).or_default().held.clear();
        for alert in together {
            self.incidents.leave(world, alert, destination);
            world.timers.clear(&Timer::Confirm(destination, alert));
            self.admit(world, alert, destination);
        }
        true
    }

    /// Why a page leaves, if flapping alerts that fire together made it.
    pub(crate) fn broke_out(
        &self,
        world: &World,
        key: &GroupKey,
        all: &[(AlertId, u64, bool)],
    ) -> Option<Cause> {
        let flaps = |alert| world.alerts.state(alert, key.0).is_some_and(|t| t.damping.flaps().is_some());
        let flapping = all.iter().filter(|(alert, _, recovered)| !recovered && flaps(*alert)).count();
        let cause = Cause::FlappingTogether { alerts: flapping, within: FAN_OUT_WITHIN };
        (flapping >= FAN_OUT).then_some(cause)
    }

    /// What flaps in older incidents of a group, and fires, is part of its new page.
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
                let labels = world.alerts.alert(alert).map(|a| a.labels.clone()).unwrap_or_default();
                let mut destinations: Vec<_> = destinations
                    .filter(|destination| world.alerts.state(alert, *destination).is_some_and(here))
                    .collect();
                // The incident of a merged page is older for each of its groups, and has alerts of others.
                destinations.retain(|destination| {
                    *key == world.merged_key(*destination) || *key == world.group_key(*destination, &labels)
                });
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

    /// Flapping may be over.
    pub(crate) fn reuse(&mut self, world: &mut World, destination: DestinationId, alert: AlertId) {
        let (now, noise) = (world.now, world.destinations.get(destination).noise.clone());
        let track = world.state(alert, destination);
        match track.damping.reuse_deadline(&noise.flapping) {
            Some(deadline) if deadline > now => {
                return world.timers.set(Timer::Reuse(destination, alert), deadline);
            }
            Some(_) => {}
            None => return,
        }
        self.calmed(world, alert, destination);
    }

    /// The alert fired for `confirm` without a break: it flaps no more, it is down.
    pub(crate) fn confirmed(&mut self, world: &mut World, destination: DestinationId, alert: AlertId) {
        if !world.fires(alert) {
            return;
        }
        let track = world.state(alert, destination);
        if track.damping.flaps().is_some() {
            return self.calmed(world, alert, destination);
        }
        if track.is_admitted()
            && track.muted().is_none()
            && let Some(flaps) = track.owed.take()
        {
            self.fires_on(world, alert, destination, flaps);
        }
    }

    /// Flapping is over: the truth is told.
    pub(crate) fn calmed(&mut self, world: &mut World, alert: AlertId, destination: DestinationId) {
        let (now, noise) = (world.now, world.destinations.get(destination).noise.clone());
        world.timers.clear(&Timer::Confirm(destination, alert));
        world.timers.clear(&Timer::Reuse(destination, alert));
        let track = world.state(alert, destination);
        let flaps = track.damping.flaps().unwrap_or(0);
        track.damping.release(now, &noise.flapping);
        let (presented, incident) = (track.is_admitted(), track.incident());
        world.gauges(destination).flapping -= 1;
        if !presented {
            return world.remember(alert, destination);
        }
        if let Some(id) = incident
            && let Some(incident) = self.incidents.all.get_mut(&id)
            && incident.members.change(&alert, |member| member.flaps = None)
        {
            self.incidents.touched.insert(id);
        }
        // What is a heartbeat now is told of no more, firing or not.
        let known = world.alerts.alert(alert).filter(|a| a.firing());
        if known.is_none_or(|a| world.policy.heartbeat_of(&a.labels).is_some()) {
            let track = world.state(alert, destination);
            let (waiting, ended) = (std::mem::take(&mut track.waiting), track.damping.changed_at());
            // The resolve was withheld since the last change. An alert that fires now does not blip.
            return self.retire(world, alert, destination, waiting, ended.last().copied().unwrap_or(now));
        }
        let track = world.state(alert, destination);
        if track.muted().is_some() {
            track.owed = Some(flaps);
            return;
        }
        self.fires_on(world, alert, destination, flaps);
    }

    /// An alert fires still after it flapped: its incident pages again, unless its page is recent. Within
    /// `merge_window` a person is at it already.
    pub(crate) fn fires_on(
        &mut self,
        world: &mut World,
        alert: AlertId,
        destination: DestinationId,
        flaps: u32,
    ) {
        let (now, noise) = (world.now, world.destinations.get(destination).noise.clone());
        let incident = world.state(alert, destination).incident();
        let old = |id| {
            let incident = self.incidents.all.get(&id).filter(|i| i.phase == Phase::Open);
            incident.is_some_and(|i| i.superseded_by.is_none() && !i.is_recent(now, &noise))
        };
        if let Some(id) = incident.filter(|id| old(*id)) {
            let name = world.alerts.alert(alert).map(|a| a.labels.value("alertname").into());
            let cause = Cause::StillFiring { alertname: name.unwrap_or_default(), changes: flaps };
            world.routed(destination, 1);
            if let Some(incident) = self.incidents.all.get_mut(&id) {
                incident.waiting.push((alert, 1));
            }
            self.supersede(world, id, cause);
        }
    }

    pub(crate) fn flapping_cause(
        &mut self,
        world: &mut World,
        alert: AlertId,
        destination: DestinationId,
    ) -> Cause {
        let noise = world.destinations.get(destination).noise.clone();
        let now = world.now;
        let track = world.state(alert, destination);
        Cause::Flapping {
            changes: track.damping.flaps().unwrap_or(0),
            penalty: track.damping.penalty_at(now, &noise.flapping),
            suppress_at: noise.flapping.suppress_at,
            reuse_at: Flapping::REUSE_AT,
        }
    }
}
