//! The way of an observation, in the order in which it meets the stages: quarantine, room, normalise,
//! route. Then, at each destination: duplicate, mute (silence, time interval, inhibition), flap damping,
//! hold, group, gather, storm and limit. The stages after damping stand in `pages`.

use std::cmp::Ordering;

use smol_str::SmolStr;

use crate::engine::Engine;
use crate::engine::alerts::Change;
use crate::engine::destinations::DestinationId;
use crate::engine::keyed::Keyed;
use crate::engine::occurrences::{PeerId, REFIRE_WAIT};
use crate::engine::pages::forwards::passed_on;
use crate::engine::repeats::{Repeats, cause_of_repeats};
use crate::engine::state::{AlertState, State};
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{AlertId, Batch, Cause, Disposition, Duration, Observation, Reason, Status, Timestamp};

impl Engine {
    /// Normalise and route the statements of a request, one observation at a time. All of them are taken in
    /// before any is decided. An inhibitor therefore works wherever it stands in the request.
    pub(crate) fn observe(&mut self, batch: &Batch) {
        let mut heard: Vec<(AlertId, Change, &Observation, Ordering)> =
            Vec::with_capacity(batch.observations.len());
        let peer = PeerId::of(&batch.peer);
        let batch = self.checks.by_clock(&mut self.world, batch, peer);
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
            if self.checks.is_quarantined(alert) {
                self.checks.pass_by(&mut self.world, &mut self.pages, alert, observation);
                continue;
            }
            let unknown = self.world.alerts.alert(alert).is_none();
            if unknown && !self.world.has_room(heard.iter().map(|(alert, ..)| *alert)) {
                if observation.status == Status::Firing {
                    self.checks.beat(
                        &mut self.world,
                        &mut self.pages,
                        batch.source,
                        alert,
                        &observation.labels,
                    );
                }
                self.checks.overflow(&mut self.world, observation, alert);
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
            self.heard(alert, fired.as_ref());
            if observation.status == Status::Firing {
                self.checks.beat(&mut self.world, &mut self.pages, batch.source, alert, &observation.labels);
            }
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
            let level = self.world.level_of(alert);
            if level != before {
                self.pages.leveled(&self.world, alert, level);
            }
            let goes_on = fired.is_some() && change == Change::None && self.world.fires(alert);
            let turn = if goes_on { level.cmp(&before) } else { Ordering::Equal };
            heard.push((alert, change, observation, turn));
        }
        self.checks.watch_labels(&self.world, &heard);
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

    /// Duplicate: an observation that repeats the current state of an occurrence goes no further.
    pub(crate) fn duplicate(
        &mut self,
        alert: AlertId,
        destination: DestinationId,
        change: Change,
        status: Status,
    ) {
        let state = self.world.alerts.state(alert, destination);
        // An incident gets its updates to its end, even if its receiver has lost its integrations
        // meanwhile.
        let live = state.is_some_and(AlertState::is_live);
        if self.world.destinations.get(destination).integrations.is_empty() && !live {
            return self.pages.suppress(&mut self.world, alert, destination, 1, Cause::NoIntegration, None);
        }
        let unknown_here = state.is_none();
        let heartbeat = || {
            let known = self.world.alerts.alert(alert)?;
            self.world.policy.heartbeat_of(&known.labels)
        };
        if let Some(heartbeat) = Some(()).filter(|()| !live).and_then(|()| heartbeat()) {
            let cause = Cause::Heartbeat { name: heartbeat.name.clone() };
            return self.pages.suppress(&mut self.world, alert, destination, 1, cause, None);
        }
        match change {
            Change::None if !live && status == Status::Firing && self.world.fires(alert) => {
                self.fire(alert, destination, 1, 1);
            }
            Change::None => {
                let cause = match status {
                    Status::Firing if !self.world.fires(alert) => Cause::Disputed { within: REFIRE_WAIT },
                    status => Cause::Repeat { status },
                };
                self.pages.suppress(&mut self.world, alert, destination, 1, cause, None);
            }
            Change::UnknownResolved => {
                self.pages.suppress(&mut self.world, alert, destination, 1, Cause::UnknownAlert, None)
            }
            Change::Fired => self.fire(alert, destination, 1, 1),
            // Its resolve counted as a change already, and it took nothing back.
            Change::Believed => self.fire(alert, destination, 1, 0),
            Change::Restarted { last_seen } => self.restart(alert, destination, last_seen),
            Change::Resolved if unknown_here => {
                self.pages.suppress(&mut self.world, alert, destination, 1, Cause::NeverPaged, None)
            }
            Change::Resolved => self.pages.resolve(&mut self.world, alert, destination, 1),
        }
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

    /// Squelch missed a resolve: the former occurrence ended at its last statement.
    fn restart(&mut self, alert: AlertId, destination: DestinationId, last_seen: Timestamp) {
        let state = self.world.state(alert, destination);
        if state.damping.flaps().is_none() && state.is_admitted() {
            self.pages.incidents.damp(&mut self.world, alert, destination, 1);
            if self.world.state(alert, destination).damping.flaps().is_none() {
                self.pages.retire(&mut self.world, alert, destination, 0, last_seen);
            }
        }
        self.fire(alert, destination, 1, 1);
    }

    /// Takes repeats in: they are signs of life, and they are accounted for.
    pub(crate) fn repeated(&mut self, repeats: &Repeats) {
        for one in &repeats.statements {
            let key = (repeats.source, one.instance);
            let Some(status) =
                self.world.alerts.repeated(self.world.now, one.alert, key, repeats.peer, one.ends_at)
            else {
                continue;
            };
            self.world.accounting.received(repeats.source, status, one.count);
            let Some(labels) = self.world.alerts.alert(one.alert).map(|a| a.labels.clone()) else { continue };
            for destination in self.world.destinations.matching(&self.world.policy, &labels) {
                self.world.routed(destination, one.count);
                let mute = self.world.destinations.get(destination).integrations.is_empty();
                let reason = if mute { Reason::Muted } else { Reason::Duplicate };
                let cause = cause_of_repeats(reason);
                let incident = self.pages.incidents.incident_key(&self.world, one.alert, destination);
                let World { destinations, accounting, alerts, now, .. } = &mut self.world;
                let disposition = Disposition::Suppressed(reason);
                let (of, why) = ((one.alert, destination), (reason, incident));
                accounting.dispose_repeats(*now, one.count, of, why, (alerts, destinations));
                passed_on(
                    &mut self.world,
                    (one.alert, destination),
                    one.count,
                    disposition,
                    cause,
                    SmolStr::default(),
                );
            }
        }
    }

    /// An inhibition ended, and its target still fires. The two mostly end together, some seconds apart.
    /// The page of the target therefore waits for one `group_interval` at any severity: the inhibiting
    /// alert has paged the outage already.
    pub(crate) fn settles(&mut self, alert: AlertId, destination: DestinationId) {
        let until = self.world.now + self.world.destinations.get(destination).group_interval;
        // A longer hold of its severity goes on.
        let until = until.max(self.pages.held_until(&self.world, alert, destination).unwrap_or(until));
        if until > self.world.now {
            self.world.hold_until(alert, destination, until);
        }
    }

    /// Sends the page that an alert still lacks, since it stopped flapping while it was muted.
    pub(crate) fn pay(&mut self, alert: AlertId, destination: DestinationId, after_inhibition: bool) {
        let wait = match after_inhibition {
            true => self.world.destinations.get(destination).group_interval,
            false => Duration::ZERO,
        };
        self.world.timers.set(Timer::Confirm(destination, alert), self.world.now + wait);
    }
}
