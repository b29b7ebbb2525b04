//! Alerts to which a reload gives other routes, or whose labels lead elsewhere now.
//!
//! An open incident keeps its receiver: it gets updates and its end. A new occurrence goes by the routes of
//! today. So does a page that waits at the time of the reload, and it leaves once.

use crate::engine::alerts::Change;
use crate::engine::ids::DestinationId;
use crate::engine::pages::Pages;
use crate::engine::pages::groups::GroupPlace;
use crate::engine::state::State;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{AlertId, Cause, LabelSet};

impl Pages {
    /// The destinations that an observation takes: those of today's routes, and earlier ones whose incident
    /// still says that the alert fires. Where an earlier one notifies a receiver, a new destination to this
    /// receiver is left out.
    pub(crate) fn destinations_of(
        &mut self,
        world: &mut World,
        alert: AlertId,
        labels: &LabelSet,
        change: Change,
    ) -> Vec<DestinationId> {
        let mut today = world.destinations.matching(&world.policy, labels);
        let states = world.alerts.states_of(alert).map(|(destination, _)| destination);
        let earlier: Vec<_> = states.filter(|destination| !today.contains(destination)).collect();
        if earlier.is_empty() {
            return today;
        }
        if world.fires(alert) {
            for destination in &earlier {
                self.part(world, (alert, *destination), &today, change);
            }
        }
        // An earlier destination on which only the incident lives goes first, if the alert goes on elsewhere.
        let receiver = |destination: &DestinationId| &world.destinations.get(*destination).receiver;
        let live = |destination: &DestinationId| world.is_live(alert, *destination);
        let goes_on = |old: &DestinationId| today.iter().any(|d| receiver(d) == receiver(old) && live(d));
        let mut old = earlier;
        old.retain(|old| {
            self.forwards.is_forwarded(world, &self.incidents, alert, *old)
                || self.stays(world, alert, *old, &today)
        });
        old.retain(|old| live(old) || !goes_on(old));
        if !old.is_empty() && change != Change::UnknownResolved {
            let notified =
                |destination: &DestinationId| old.iter().any(|o| receiver(o) == receiver(destination));
            let taken = today.iter().map(|d| self.incidents.knows(world, alert, *d) || !notified(d));
            let mut taken = taken.collect::<Vec<_>>().into_iter();
            today.retain(|_| taken.next().unwrap_or(true));
        }
        today.extend(old);
        today
    }

    /// Whether an alert goes on at an earlier destination. An alert that its open incident would take back
    /// goes on there if no destination of today has it at the same receiver. After a switch from observe
    /// mode, Squelch decides about an alert as soon as it fires anew.
    fn stays(
        &self,
        world: &World,
        alert: AlertId,
        destination: DestinationId,
        today: &[DestinationId],
    ) -> bool {
        let Some(state) = world.alerts.state(alert, destination) else { return false };
        if state.is_live() {
            return true;
        }
        if world.destinations.get(destination).observes() {
            return self.incidents.is_notified(state) && !was_switched(world, destination, today);
        }
        let rejoins = || matches!(self.place_of(world, alert, destination), Some(GroupPlace::Rejoin(_)));
        self.incidents.is_notified(state)
            && !self.incidents.is_former(world, alert, destination, today)
            && rejoins()
    }

    /// A firing alert leaves an earlier destination where a page waits, or where its last occurrence is not
    /// over yet. An open incident about the present occurrence keeps it.
    fn part(
        &mut self,
        world: &mut World,
        (alert, destination): (AlertId, DestinationId),
        today: &[DestinationId],
        change: Change,
    ) {
        if world.destinations.get(destination).observes() {
            return;
        }
        let last_seen = if let Change::Restarted { last_seen } = change { Some(last_seen) } else { None };
        if let Some(last_seen) = last_seen {
            self.missed_resolve(world, alert, destination, last_seen);
        }
        if !self.incidents.is_former(world, alert, destination, today) {
            return;
        }
        let anew = matches!(change, Change::Fired | Change::Believed | Change::Restarted { .. });
        match world.state(alert, destination).at() {
            State::Notified { .. } if anew => {
                world.timers.clear(&Timer::Confirm(destination, alert));
                world.timers.clear(&Timer::Reuse(destination, alert));
                let state = world.state(alert, destination);
                let changed_at = state.damping.changed_at().last().copied();
                let waiting = std::mem::take(&mut state.waiting);
                world.end_flapping(alert, destination);
                // Damping withheld the resolve since the last change.
                let ended = last_seen.or(changed_at).unwrap_or(world.now);
                self.retire(world, alert, destination, waiting, ended);
            }
            State::Held(_) | State::Gathering(_) | State::Withheld(_) => {
                let reached = |d: &DestinationId| !world.destinations.get(*d).integrations.is_empty();
                if today.iter().any(reached) {
                    self.leave_page(world, alert, destination);
                }
            }
            State::Idle | State::Muted(_) | State::Notified { .. } => {}
        }
        if anew {
            self.leave_ended(world, alert, destination);
        }
    }

    /// The first page of an alert leaves at another destination.
    fn leave_page(&mut self, world: &mut World, alert: AlertId, destination: DestinationId) {
        let mut count = std::mem::take(&mut world.state(alert, destination).waiting);
        if !world.end_hold(alert, destination)
            && let Some(group) = world.state(alert, destination).leave_group()
        {
            count += self.leave_wait(world, alert, &group);
        }
        self.suppress(world, alert, destination, count, Cause::Rerouted);
        world.remember(alert, destination);
    }
}

/// Whether the receiver of a destination in observe mode has one in enforce mode now.
fn was_switched(world: &World, observing: DestinationId, today: &[DestinationId]) -> bool {
    let receiver = &world.destinations.get(observing).receiver;
    let mut here = today.iter().map(|destination| world.destinations.get(*destination));
    here.any(|settings| settings.receiver == *receiver && !settings.observes())
}
