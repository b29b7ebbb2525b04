//! The way of an observation, in the order in which it meets the stages: quarantine, room, normalise,
//! route. Then, at each destination: duplicate, mute (silence, time interval, inhibition), flap damping,
//! hold, group, gather, storm and limit. The stages after damping stand in `pages`.

use std::cmp::Ordering;

use crate::engine::Engine;
use crate::engine::alerts::Change;
use crate::engine::ids::DestinationId;
use crate::engine::keyed::Keyed;
use crate::engine::occurrences::{PeerId, REFIRE_WAIT};
use crate::engine::state::{AlertState, State};
use crate::model::{AlertId, Batch, Cause, LabelSet, Observation, Source, Status};

impl Engine {
    /// Normalise and route the statements of a request, one observation at a time. All of them are taken in
    /// before any is decided. An inhibitor therefore works wherever it stands in the request.
    pub(crate) fn observe(&mut self, batch: &Batch) {
        let mut heard: Vec<(AlertId, Change, &Observation, Ordering)> =
            Vec::with_capacity(batch.observations.len());
        let peer = PeerId::of(&batch.peer);
        let batch = self.checks.clocks.by_clock(&mut self.world, batch, peer);
        let Keyed { batch, ended } = self.world.alerts.keyed(batch, &self.world.policy);
        let batch = &*batch;
        // The order in a request means nothing. Firings go first, so that an alert of which one full label
        // set follows another one fires throughout.
        let (firing, resolved): (Vec<_>, Vec<_>) =
            batch.observations.iter().partition(|observation| observation.status == Status::Firing);
        let stated = firing.into_iter().chain(resolved).map(|observation| (None, observation));
        let ended = ended.iter().map(|(alert, end)| (Some(*alert), end));
        for (given, observation) in stated.chain(ended) {
            let instance = batch.source.instance(&observation.labels);
            let alert = given.unwrap_or_else(|| {
                self.world.alerts.owner_of(batch.source, instance, observation, &self.world.policy)
            });
            if given.is_none() {
                self.world.accounting.received(batch.source, observation.status, 1);
            }
            if self.checks.quarantine.holds(alert) {
                self.checks.quarantine.pass_by(&mut self.world, &mut self.pages, alert, observation);
                continue;
            }
            if observation.status == Status::Firing {
                self.checks.heartbeats.beat(
                    &mut self.world,
                    &mut self.pages,
                    batch.source,
                    alert,
                    &observation.labels,
                );
            }
            let unknown = self.world.alerts.alert(alert).is_none();
            if unknown && !self.world.has_room(heard.iter().map(|(alert, ..)| *alert)) {
                self.checks.bounds.overflow(&mut self.world, observation, alert);
                continue;
            }
            let (before, fired) =
                (self.world.level_of(alert), self.world.alerts.firing_labels(alert).cloned());
            let change = self.world.alerts.observe(
                self.world.now,
                (batch.source, peer),
                observation,
                (alert, instance),
                &self.world.policy,
                &mut self.world.timers,
            );
            if batch.unanswered && batch.source == Source::Alertmanager {
                self.world.alerts.unanswered(alert, (batch.source, instance), peer);
            }
            self.changed(alert, fired.as_ref(), change);
            let level = self.world.level_of(alert);
            if level != before {
                self.pages.leveled(&self.world, alert, level);
            }
            let goes_on = fired.is_some() && change == Change::None && self.world.fires(alert);
            let turn = if goes_on { level.cmp(&before) } else { Ordering::Equal };
            heard.push((alert, change, observation, turn));
        }
        self.checks.churn.watch_labels(&self.world, &heard);
        for (_, _, observation, _) in heard.iter().filter(|(_, change, ..)| *change == Change::Fired) {
            self.checks.severities.fired(&self.world, &observation.labels);
        }
        self.remute();
        let mut observed = Vec::new();
        for (alert, change, observation, turn) in heard {
            let mut forwarded = Vec::new();
            let taken = self.pages.destinations_of(&mut self.world, alert, &observation.labels, change);
            for destination in taken {
                self.world.routed(destination, 1);
                self.duplicate(alert, destination, change, observation.status);
                if self.world.destinations.get(destination).observes() {
                    forwarded.push(destination);
                }
            }
            match turn {
                // Level 0 is the highest.
                Ordering::Less => self.pages.rose(&mut self.world, alert),
                Ordering::Greater => self.pages.fell(&mut self.world, alert),
                Ordering::Equal => {}
            }
            observed.push((alert, observation.status, forwarded));
        }
        self.pages.forwards.forward(&mut self.world, &mut self.pages.incidents, batch, observed);
    }

    /// The mutes and the incidents take in that an alert changed, before anything is decided about it.
    /// `before` are the labels with which it fired before, if it did.
    pub(crate) fn changed(&mut self, alert: AlertId, before: Option<&LabelSet>, change: Change) {
        self.mutes.heard(alert, before, self.world.alerts.firing_labels(alert));
        match change {
            Change::Fired | Change::Believed | Change::Restarted { .. } => {
                self.pages.incidents.turned(&mut self.world, alert);
                self.world.watch_alert(alert);
            }
            Change::Resolved => {
                self.pages.incidents.turned(&mut self.world, alert);
                self.pages.incidents.ended(&mut self.world, alert);
            }
            Change::None | Change::UnknownResolved => {}
        }
    }

    /// Duplicate: an observation that repeats the current state of an occurrence goes no further.
    pub(crate) fn duplicate(
        &mut self,
        alert: AlertId,
        destination: DestinationId,
        change: Change,
        status: Status,
    ) {
        let state = self.world.alerts.state(alert, destination);
        let (live, unknown_here) = (state.is_some_and(AlertState::is_live), state.is_none());
        let heartbeat = || self.world.policy.heartbeat_of(&self.world.alerts.alert(alert)?.labels);
        // An incident gets its updates to its end, even if its receiver has lost its integrations
        // meanwhile.
        let cause = if !live && self.world.destinations.get(destination).integrations.is_empty() {
            Cause::NoIntegration
        } else if !live && let Some(heartbeat) = heartbeat() {
            Cause::Heartbeat { name: heartbeat.name.clone() }
        } else {
            match change {
                Change::None if !live && status == Status::Firing && self.world.fires(alert) => {
                    return self.fire(alert, destination, 1, 1);
                }
                Change::None if status == Status::Firing && !self.world.fires(alert) => {
                    Cause::Disputed { within: REFIRE_WAIT }
                }
                Change::None => Cause::Repeat { status },
                Change::UnknownResolved => Cause::UnknownAlert,
                Change::Fired => return self.fire(alert, destination, 1, 1),
                // Its resolve counted as a change already, and it took nothing back.
                Change::Believed => return self.fire(alert, destination, 1, 0),
                Change::Restarted { last_seen } => {
                    self.pages.missed_resolve(&mut self.world, alert, destination, last_seen);
                    return self.fire(alert, destination, 1, 1);
                }
                Change::Resolved if unknown_here => Cause::NeverPaged,
                Change::Resolved => return self.pages.resolve(&mut self.world, alert, destination, 1),
            }
        };
        self.pages.suppress(&mut self.world, alert, destination, 1, cause);
    }

    /// Silence, mute window and inhibition, then the first half of flap damping: an alert starts to fire.
    /// `waiting` observations say so.
    pub(crate) fn fire(&mut self, alert: AlertId, destination: DestinationId, waiting: u64, changes: u32) {
        if let Some(cause) =
            self.mutes.cause(&self.world.alerts, alert, self.world.destinations.get(destination))
        {
            // Flapping ends with or without the mute, and then owes a page.
            self.world.confirm_later(alert, destination);
            return self.pages.mute(&mut self.world, alert, destination, waiting, cause);
        }
        self.world.state(alert, destination).unmute();
        self.pages.incidents.damp(&mut self.world, alert, destination, changes);
        self.world.confirm_later(alert, destination);
        let state = self.world.state(alert, destination);
        state.waiting += waiting;
        match state.at() {
            // It flaps: its resolve is withheld, and this takes it back.
            State::Gathering(_) | State::Withheld(_) | State::Notified { .. } => {
                self.pages.refire(&mut self.world, alert, destination)
            }
            State::Held(_) => {}
            State::Idle | State::Muted(_) => self.pages.hold(&mut self.world, alert, destination),
        }
    }
}
