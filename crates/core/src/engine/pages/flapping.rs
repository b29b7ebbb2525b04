//! Flapping in the pipeline: its begin, the updates to the alert's incident, and its end. The arithmetic is
//! [`crate::engine::damping`]'s.

use crate::engine::ids::{DestinationId, GroupKey};
use crate::engine::pages::Pages;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{AlertId, Cause};
use crate::policy::{FAN_OUT, FAN_OUT_WITHIN};

impl Pages {
    /// A flapping alert fires again, and its resolve was withheld. While a page of its group is recent,
    /// that incident gets an update, unless the alert was gone for no longer than `resolve_hold`. Later the
    /// alert is held. It is then part of the next page of its group, and opens one only with others that
    /// flap, or if it lasts. An alert that was gone for a moment opens none with others: it goes on in its
    /// own incident.
    pub(crate) fn refire(&mut self, world: &mut World, alert: AlertId, destination: DestinationId) {
        let Some(labels) = world.alerts.alert(alert).map(|a| a.labels.clone()) else { return };
        let key = world.group_key(destination, &labels);
        let state = world.state(alert, destination);
        let (own, waits, gone) = (state.incident(), state.waits_in().is_some(), state.damping.pause());
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
        let settings = &world.destinations.get(destination).noise.flapping;
        let cause = world.alerts.state_mut(alert, destination).damping.cause(world.now, settings);
        let release = world.timers.deadline(&Timer::Reuse(destination, alert));
        let basis = self.basis(world, alert, destination, cause.reason());
        self.suppress_by(world, alert, destination, count, (cause, release), basis);
    }

    /// Flapping alerts of a group that fire again together have a cause: a fan-out of them starts anew.
    /// Returns whether they do.
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
            let state = world.alerts.state(*alert, destination);
            let free = |t: &crate::engine::AlertState| t.muted().is_none() && t.notified_in().is_some();
            world.fires(*alert) && state.is_some_and(|t| free(t) && t.damping.flaps().is_some())
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

    /// Flapping may be over.
    pub(crate) fn reuse(&mut self, world: &mut World, destination: DestinationId, alert: AlertId) {
        let settings = &world.destinations.get(destination).noise.flapping;
        let state = world.alerts.state(alert, destination);
        match state.and_then(|state| state.damping.reuse_deadline(settings)) {
            Some(deadline) if deadline > world.now => {
                world.timers.set(Timer::Reuse(destination, alert), deadline)
            }
            Some(_) => self.calmed(world, alert, destination),
            None => {}
        }
    }

    /// The alert fired for `confirm` without a break: it flaps no more, it is down.
    pub(crate) fn confirmed(&mut self, world: &mut World, destination: DestinationId, alert: AlertId) {
        if !world.fires(alert) {
            return;
        }
        let state = world.state(alert, destination);
        if state.damping.flaps().is_some() {
            return self.calmed(world, alert, destination);
        }
        if state.is_admitted()
            && state.muted().is_none()
            && let Some(cause) = state.owed.take()
        {
            self.fires_on(world, alert, destination, *cause);
        }
    }

    /// Flapping is over: the receiver gets the true state.
    pub(crate) fn calmed(&mut self, world: &mut World, alert: AlertId, destination: DestinationId) {
        world.timers.clear(&Timer::Confirm(destination, alert));
        world.timers.clear(&Timer::Reuse(destination, alert));
        let state = world.state(alert, destination);
        let flaps = state.damping.flaps().unwrap_or(0);
        let (presented, incident) = (state.is_admitted(), state.incident());
        world.end_flapping(alert, destination);
        if !presented {
            return world.remember(alert, destination);
        }
        if let Some(id) = incident
            && let Some(incident) = self.incidents.all.get_mut(&id)
            && incident.members.change(&alert, |member| member.flaps = None)
        {
            self.incidents.touched.insert(id);
        }
        // Notifications about an alert that is a heartbeat now end, firing or not.
        let known = world.alerts.alert(alert).filter(|a| a.firing());
        if known.is_none_or(|a| world.policy.heartbeat_of(&a.labels).is_some()) {
            let state = world.state(alert, destination);
            let (waiting, ended) = (std::mem::take(&mut state.waiting), state.damping.changed_at());
            // The resolve was withheld since the last change. An alert that fires now does not blip.
            return self.retire(
                world,
                alert,
                destination,
                waiting,
                ended.last().copied().unwrap_or(world.now),
            );
        }
        let name = known.map_or_else(Default::default, |a| a.labels.value("alertname").into());
        let cause = Cause::StillFiring { alertname: name, changes: flaps };
        let state = world.state(alert, destination);
        if state.muted().is_some() {
            state.owed = Some(Box::new(cause));
            return;
        }
        self.fires_on(world, alert, destination, cause);
    }
}
