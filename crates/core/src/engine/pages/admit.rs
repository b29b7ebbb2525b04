//! An alert that passed its mutes: its hold, its place in a group or an incident, and its end.

use crate::engine::destinations::DestinationId;
use crate::engine::incidents::members::{Level, UNKNOWN};
use crate::engine::mutes::Muting;
use crate::engine::pages::groups::{Group, GroupKey, GroupPlace};
use crate::engine::pages::suppress::flapping_cause;
use crate::engine::pages::{Pages, groups};
use crate::engine::state::State;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{AlertId, Basis, Cause, Timestamp};

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
        let Muting { cause, release, basis } = muting;
        let reason = cause.reason();
        let mut count = count;
        let state = world.state(alert, destination);
        match state.mute(reason) {
            State::Held(_) => {
                count += std::mem::take(&mut state.waiting);
                world.timers.clear(&Timer::Hold(destination, alert));
                world.gauges(destination).held -= 1;
            }
            State::Gathering(group) | State::Withheld(group) => {
                count += self.leave_wait(world, alert, &group)
            }
            State::Idle | State::Muted(_) | State::Notified { .. } => {}
        }
        self.leave_ended(world, alert, destination);
        let withheld = std::mem::take(&mut world.state(alert, destination).waiting);
        let flapping = flapping_cause(world, alert, destination);
        self.suppress(world, alert, destination, withheld, flapping, None);
        let basis = Basis { otherwise: self.otherwise(world, alert, destination, reason), ..basis };
        self.suppress_by(world, alert, destination, count, (cause, release), basis);
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

    /// The alerts that ended while they wait for the page of a group, if the page is due.
    pub(crate) fn ended_in(&self, world: &World, key: &GroupKey) -> Vec<AlertId> {
        let due = |group: &&Group| group.pending.iter().any(|p| p.due <= world.now);
        let Some(group) = self.groups.get(key).filter(due) else { return Vec::new() };
        let pending = group.pending.iter().filter(|p| p.recovered).map(|p| p.alert);
        pending.chain(group.withheld.iter().filter(|q| q.resolved).map(|q| q.alert)).collect()
    }

    /// An alert ended while it waited for the page of a group, and would be muted now. The page does not
    /// list it.
    pub(crate) fn mute_ended(
        &mut self,
        world: &mut World,
        key: &GroupKey,
        (alert, destination): (AlertId, DestinationId),
        Muting { cause, release, basis }: Muting,
    ) {
        let Some(group) = self.groups.get_mut(key) else { return };
        let (count, _) = group.take_ended(alert);
        self.wait_anew(world, key);
        if count > 0 {
            let basis =
                Basis { otherwise: self.otherwise(world, alert, destination, cause.reason()), ..basis };
            self.suppress_by(world, alert, destination, count, (cause, release), basis);
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
        self.suppress(world, alert, destination, count, Cause::ResolvedWhileMuted, None);
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
            if world.state(alert, destination).end_hold() {
                world.timers.clear(&Timer::Hold(destination, alert));
                world.gauges(destination).held -= 1;
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

    /// The hold is over and the alert still fires.
    pub(crate) fn hold_ended(&mut self, world: &mut World, destination: DestinationId, alert: AlertId) {
        if world.state(alert, destination).end_hold() {
            world.gauges(destination).held -= 1;
            self.admit(world, alert, destination);
        }
    }

    /// Group: the alert finds its incident, or a place in the next page.
    pub(crate) fn admit(&mut self, world: &mut World, alert: AlertId, destination: DestinationId) {
        if world.destinations.get(destination).integrations.is_empty() {
            // It was held, and its receiver lost them meanwhile.
            let held = std::mem::take(&mut world.state(alert, destination).waiting);
            self.suppress(world, alert, destination, held, Cause::NoIntegration, None);
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
        let state = world.state(alert, destination);
        state.owed.take_if(|cause| matches!(**cause, Cause::Lasts { .. }));
        if state.end_hold() {
            let held = std::mem::take(&mut state.waiting);
            world.timers.clear(&Timer::Hold(destination, alert));
            world.gauges(destination).held -= 1;
            self.never_paged(world, alert, destination, held, waiting);
            return world.remember(alert, destination);
        }
        if !state.is_admitted() {
            return self.suppress(world, alert, destination, waiting, Cause::NeverPaged, None);
        }
        // Damping withholds the resolve of an alert only if a receiver was notified of it.
        if state.damping.flaps().is_some() && state.notified_in().is_some() {
            state.waiting += waiting;
            return;
        }
        self.retire(world, alert, destination, waiting, world.now);
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
            return self.suppress(world, alert, destination, waiting, Cause::OtherRoute, None);
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
            self.suppress(world, alert, destination, waiting, Cause::NoIncident, None);
        }
    }
}
