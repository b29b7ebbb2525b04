//! An alert that passed its mutes: its hold, its place in a group or an incident, and its end.

use crate::engine::ids::DestinationId;
use crate::engine::incidents::members::{Level, UNKNOWN};
use crate::engine::mutes::Muting;
use crate::engine::pages::groups::GroupPlace;
use crate::engine::pages::{Pages, groups};
use crate::engine::state::State;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{AlertId, Cause, Timestamp};

impl Pages {
    /// Mutes a firing alert. `count` observations say that it fires. It cancels the alert's wait for its
    /// first page. If a receiver was notified of the alert, its incident goes on.
    pub(crate) fn mute(
        &mut self,
        world: &mut World,
        alert: AlertId,
        destination: DestinationId,
        count: u64,
        muting: Muting,
    ) {
        let mut count = count;
        if world.end_hold(alert, destination) {
            count += std::mem::take(&mut world.state(alert, destination).waiting);
        }
        let before = world.state(alert, destination).mute(muting.cause.reason());
        if let State::Gathering(group) | State::Withheld(group) = before {
            count += self.leave_wait(world, alert, &group);
        }
        self.leave_ended(world, alert, destination);
        let state = world.alerts.state_mut(alert, destination);
        let withheld = std::mem::take(&mut state.waiting);
        let flapping = state.damping.cause(world.now, &world.destinations.get(destination).noise.flapping);
        self.suppress(world, alert, destination, withheld, flapping);
        self.suppress_muted(world, alert, destination, count, muting);
    }

    /// An alert recovered while it waited, and fires again where this page may not name it. No page lists it.
    pub(crate) fn leave_ended(&mut self, world: &mut World, alert: AlertId, destination: DestinationId) {
        let Some(labels) = world.alerts.alert(alert).map(|a| a.labels.clone()) else { return };
        for key in [world.group_key(destination, &labels), world.merged_key(destination)] {
            let Some(group) = self.groups.get_mut(&key) else { continue };
            let (count, was_due) = group.take_ended(alert);
            if was_due.is_some() {
                self.wait_anew(world, &key);
            }
            self.never_paged(world, alert, destination, count, 0);
        }
    }

    /// A muted alert resolves. It returns whether no receiver was notified of it, so that nothing is left
    /// to send.
    pub(crate) fn resolved_muted(
        &mut self,
        world: &mut World,
        alert: AlertId,
        destination: DestinationId,
        count: u64,
    ) -> bool {
        let state = world.state(alert, destination);
        let was_notified = !state.is_kept_by_mute();
        state.unmute();
        if was_notified {
            return false;
        }
        self.suppress(world, alert, destination, count, Cause::ResolvedWhileMuted);
        world.remember(alert, destination);
        true
    }

    /// The severity of an alert changed, which `ignore_labels` may let it: its incidents know.
    pub(crate) fn leveled(&mut self, world: &World, alert: AlertId, level: Level) {
        let notified = world
            .taken_destinations(alert)
            .into_iter()
            .filter_map(|destination| world.alerts.state(alert, destination)?.incident());
        let shown = self.forwards.open.values().map(|forward| forward.incident);
        for id in notified.chain(shown).collect::<Vec<_>>() {
            if let Some(incident) = self.incidents.all.get_mut(&id) {
                incident.members.change(&alert, |member| {
                    member.level = if member.firing { level } else { UNKNOWN };
                });
            }
        }
    }

    /// The severity of a firing alert rose, which `ignore_labels` may allow. Pages that wait with it wait
    /// no longer than the new level allows, and its incident may be worse.
    pub(crate) fn rose(&mut self, world: &mut World, alert: AlertId) {
        for destination in world.taken_destinations(alert) {
            if world.state(alert, destination).muted().is_some() {
                continue;
            }
            if world.end_hold(alert, destination) {
                self.hold(world, alert, destination);
            } else if let Some(group) = world.state(alert, destination).leave_group() {
                let count = self.leave_wait(world, alert, &group);
                world.state(alert, destination).waiting += count;
                self.hold(world, alert, destination);
            } else {
                let incident = world.state(alert, destination).incident();
                self.incidents.touched.extend(incident);
            }
        }
    }

    /// The severity of an alert fell while it fires, which `ignore_labels` may let it. The alert waits no
    /// longer than the new level does.
    pub(crate) fn fell(&mut self, world: &mut World, alert: AlertId) {
        for destination in world.taken_destinations(alert) {
            world.shorten_hold(alert, destination);
            if let Some(key) = world.state(alert, destination).waits_in().cloned() {
                self.shorten_waits(world, &key);
            }
        }
    }

    /// The time until which the severity of an alert holds its first page at a destination. It is never
    /// earlier than now. An alert that goes on in its own incident needs no page, so nothing holds it.
    /// `None` if the alert is not known.
    pub(crate) fn held_until(
        &self,
        world: &World,
        alert: AlertId,
        destination: DestinationId,
    ) -> Option<Timestamp> {
        let goes_on = || matches!(self.place_of(world, alert, destination), Some(GroupPlace::Rejoin(_)));
        let until = world.held_by_level(alert)?;
        Some(if until > world.now && goes_on() { world.now } else { until })
    }

    /// Hold: the first page waits, from `startsAt` and at most as long from receipt, unless the
    /// level says that it never does.
    pub(crate) fn hold(&mut self, world: &mut World, alert: AlertId, destination: DestinationId) {
        match self.held_until(world, alert, destination) {
            Some(until) if until > world.now => world.hold_until(alert, destination, until),
            Some(_) => self.admit(world, alert, destination),
            None => {}
        }
    }

    /// An inhibition ended, and its target still fires. The two mostly end together, some seconds apart.
    /// The page of the target therefore waits for one `group_interval` at any severity: the inhibiting
    /// alert has paged the outage already.
    pub(crate) fn settles(&self, world: &mut World, alert: AlertId, destination: DestinationId) {
        let until = world.now + world.destinations.get(destination).group_interval;
        // A longer hold of its severity goes on.
        let until = until.max(self.held_until(world, alert, destination).unwrap_or(until));
        if until > world.now {
            world.hold_until(alert, destination, until);
        }
    }

    /// The hold is over and the alert still fires.
    pub(crate) fn hold_ended(&mut self, world: &mut World, destination: DestinationId, alert: AlertId) {
        if world.end_hold(alert, destination) {
            self.admit(world, alert, destination);
        }
    }

    /// Group: the alert finds its incident, or a place in the next page.
    pub(crate) fn admit(&mut self, world: &mut World, alert: AlertId, destination: DestinationId) {
        if world.destinations.get(destination).integrations.is_empty() {
            // It was held, and its receiver lost them meanwhile.
            let held = std::mem::take(&mut world.state(alert, destination).waiting);
            self.suppress(world, alert, destination, held, Cause::NoIntegration);
            return world.remember(alert, destination);
        }
        let Some(labels) = world.alerts.alert(alert).map(|a| a.labels.clone()) else { return };
        let key = world.group_key(destination, &labels);
        self.bound_groups(world, &key);
        let past = self.remember_series(world, &key, &labels);
        let updates = past.and_then(|(series, _)| self.updates_alone(world, &key, alert, series));
        let name = world.rolls_by(&labels);
        let state = world.alerts.state_mut(alert, destination);
        let mut count = std::mem::take(&mut state.waiting);
        let flaps = state.damping.flaps();
        let noise = &world.destinations.get(destination).noise;
        let group = self.groups.entry(key.clone()).or_default();
        world.timers.clear(&Timer::ForgetGroup(key.clone()));
        let (ended, was_due) = group.take_ended(alert);
        count += ended;
        match groups::place(world.now, alert, state.incident(), group, &self.incidents.all, noise, name) {
            GroupPlace::Rejoin(id) | GroupPlace::Join(id) => {
                self.incidents.join(world, id, alert, destination, count, flaps);
                // It was gone for a moment, and its incident still lacks a page.
                if let Some(cause) = world.state(alert, destination).owed.take() {
                    self.fires_on(world, alert, destination, *cause);
                }
                if updates == Some(id) {
                    world.pages_if_it_lasts(alert, destination);
                }
                // Its incident may be one of merged pages.
                self.forget_group_later(world, &key);
            }
            GroupPlace::Next => {
                let state = world.state(alert, destination);
                state.owed = None;
                if let Some(id) = updates {
                    state.waiting += count;
                    self.incidents.tell_again(world, alert, destination, id);
                    world.pages_if_it_lasts(alert, destination);
                    return self.forget_group_later(world, &key);
                }
                self.gather(world, &key, (alert, &labels), (count, was_due), past);
            }
        }
    }

    /// Flap damping, second half: an alert stops to fire. `waiting` observations say so.
    pub(crate) fn resolve(
        &mut self,
        world: &mut World,
        alert: AlertId,
        destination: DestinationId,
        waiting: u64,
    ) {
        if self.resolved_muted(world, alert, destination, waiting) {
            return;
        }
        self.incidents.damp(world, alert, destination, 1);
        world.timers.clear(&Timer::Confirm(destination, alert));
        let ended_hold = world.end_hold(alert, destination);
        let state = world.state(alert, destination);
        state.owed.take_if(|cause| matches!(**cause, Cause::Lasts { .. }));
        if ended_hold {
            let held = std::mem::take(&mut state.waiting);
            self.never_paged(world, alert, destination, held, waiting);
            return world.remember(alert, destination);
        }
        if !state.is_admitted() {
            return self.suppress(world, alert, destination, waiting, Cause::NeverPaged);
        }
        // Damping withholds the resolve of an alert only if a receiver was notified of it.
        if state.damping.flaps().is_some() && state.notified_in().is_some() {
            state.waiting += waiting;
            return;
        }
        self.retire(world, alert, destination, waiting, world.now);
    }

    /// Squelch missed a resolve: the former occurrence ended at its last statement.
    pub(crate) fn missed_resolve(
        &mut self,
        world: &mut World,
        alert: AlertId,
        destination: DestinationId,
        last_seen: Timestamp,
    ) {
        let flaps = |world: &mut World| world.state(alert, destination).damping.flaps().is_some();
        if !flaps(world) && world.state(alert, destination).is_admitted() {
            self.incidents.damp(world, alert, destination, 1);
            if !flaps(world) {
                self.retire(world, alert, destination, 0, last_seen);
            }
        }
    }

    /// Time ends the alert, whether or not it is muted, held or flaps.
    pub(crate) fn expire(&mut self, world: &mut World, alert: AlertId, destination: DestinationId) {
        let cause = Cause::Expired { after: world.policy.stale_after };
        world.state(alert, destination).unmute();
        world.end_flapping(alert, destination);
        world.end_hold(alert, destination);
        let state = world.state(alert, destination);
        let (waiting, incident) = (1 + std::mem::take(&mut state.waiting), state.incident());
        if !state.is_admitted() {
            self.suppress(world, alert, destination, waiting, cause);
            return world.remember(alert, destination);
        }
        self.retire(world, alert, destination, waiting, world.now);
        if let Some(incident) = incident.and_then(|id| self.incidents.all.get_mut(&id)) {
            incident.closing = Some(Box::new(cause));
        }
    }

    /// The alert no longer fires. It updates the stages behind this one.
    pub(crate) fn retire(
        &mut self,
        world: &mut World,
        alert: AlertId,
        destination: DestinationId,
        waiting: u64,
        at: Timestamp,
    ) {
        let state = world.state(alert, destination);
        let before = state.end();
        let incident = state.incident();
        world.remember(alert, destination);
        if let State::Gathering(group) | State::Withheld(group) = before
            && self.recover(world, alert, destination, &group, waiting)
        {
            return;
        }
        let elsewhere = world.taken_destinations(alert).into_iter().any(|other| {
            let state = world.state(alert, other);
            state.notified_in() == incident
        });
        if elsewhere && incident.is_some() {
            // Merged pages: it stands in one incident by two ways, and one of them withholds its resolve.
            return self.suppress(world, alert, destination, waiting, Cause::OtherRoute);
        }
        let member =
            incident.and_then(|id| self.incidents.all.get_mut(&id)).map(|i| (&mut i.members, &mut i.waiting));
        if let Some((members, queue)) = member
            && members.change(&alert, |member| member.ends(at))
        {
            if waiting > 0 {
                queue.push((alert, waiting));
            }
            self.incidents.touched.extend(incident);
            self.incidents.ended(world, alert);
        } else {
            self.suppress(world, alert, destination, waiting, Cause::NoIncident);
        }
    }
}
