//! Later changes of alerts: a mute begins or ends, a statement expires, a delivery ends, a policy changes.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::engine::Engine;
use crate::engine::alerts::Change;
use crate::engine::destinations::DestinationId;
use crate::engine::mutes::Mutes;
use crate::engine::pages::groups::GroupKey;
use crate::engine::state::AlertState;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{
    AlertId, Cause, LabelSet, NotificationId, Outcome, Reason, Report, SilenceChange, Status, Timestamp,
};
use crate::policy::{IntegrationRef, Policy, Receiver};

/// Where a receiver leads, if that is known of all its integrations.
pub(crate) fn endpoints(receiver: &Receiver) -> Option<Vec<u64>> {
    let known = |i: &IntegrationRef| Some(i.endpoint).filter(|endpoint| *endpoint != 0);
    let mut all: Vec<u64> = receiver.integrations.iter().map(known).collect::<Option<_>>()?;
    all.sort_unstable();
    (!all.is_empty()).then_some(all)
}

/// The number of refused notifications that can be asked for again with the state of that time.
pub(crate) const REFUSED_REMEMBERED: usize = 10_000;

impl Engine {
    /// A person changed a silence.
    pub(crate) fn silence(&mut self, change: &SilenceChange) {
        let Mutes { silences, dirty, .. } = &mut self.mutes;
        let firing = self.world.alerts.iter().filter(|(_, alert)| alert.firing());
        silences.apply(self.world.wall(), change, firing.map(|(id, alert)| (*id, &alert.labels)), dirty);
        self.wind();
    }

    /// Updates the muting stages with an alert's current labels, before anything is decided about it.
    /// `before` are the labels with which it fired before, if it did.
    pub(crate) fn heard(&mut self, alert: AlertId, before: Option<&LabelSet>) {
        self.mutes.heard(alert, before, self.world.alerts.firing_labels(alert));
    }

    /// Moves the clock of the mutes on. Silences and windows begin and end before anything else that is
    /// due, so that nothing leaves at the moment at which it is muted. They follow wall time, which `was_set`
    /// if it differs otherwise from engine time than before.
    pub(crate) fn mute_clock(&mut self, was_set: bool) {
        if !was_set && self.world.timers.deadline(&Timer::Mute).is_none_or(|at| at > self.world.now) {
            return;
        }
        let wall = self.world.wall();
        let Mutes { silences, dirty, .. } = &mut self.mutes;
        let firing = self.world.alerts.iter().filter(|(_, alert)| alert.firing());
        silences.pass(wall, firing.map(|(id, alert)| (*id, &alert.labels)), dirty);
        let changed = self.mutes.intervals.pass(wall, was_set, &self.world.policy.time_intervals);
        if !changed.is_empty() {
            let destinations = &self.world.destinations;
            let concerned = self
                .world
                .alerts
                .states()
                .filter(|(_, destination, _)| destinations.get(*destination).names_any(&changed));
            self.mutes.dirty.extend(concerned.map(|(alert, ..)| alert));
        }
        self.wind();
        self.remute();
    }

    /// The page of a group may be due. An alert that ended while it waited, and would be muted by now, is no
    /// part of it.
    pub(crate) fn page_due(&mut self, key: &GroupKey) {
        for alert in self.pages.ended_in(&self.world, key) {
            let listed = |destination: &DestinationId| self.world.listed_in(alert, *destination, key);
            let mut destinations = self.world.taken_destinations(alert);
            destinations.retain(listed);
            let World { alerts, destinations: all, .. } = &self.world;
            let muted = |id: &DestinationId| self.mutes.cause_of_ended(alerts, alert, all.get(*id));
            let mutings: Option<Vec<_>> = destinations.iter().map(muted).collect();
            if let (Some(muting), Some(first)) =
                (mutings.and_then(|all| all.into_iter().next()), destinations.first())
            {
                self.pages.mute_ended(&mut self.world, key, (alert, *first), muting);
            }
        }
        self.pages.gathered(&mut self.world, key);
    }

    fn wind(&mut self) {
        match self.mutes.next_change() {
            Some(wall) => {
                let at = wall.as_millis().saturating_add(self.world.alerts.ahead());
                self.world.timers.set(Timer::Mute, Timestamp::from_millis(at));
            }
            None => self.world.timers.clear(&Timer::Mute),
        }
    }

    /// Takes a policy over, which is in place already.
    pub(crate) fn mutes_adopt(&mut self) {
        self.mutes.intervals.adopt(self.world.wall(), &self.world.policy.time_intervals);
        self.mutes = self.mutes.reindexed(&self.world.policy, &self.world.alerts);
        self.wind();
        self.mutes.dirty.extend(self.world.alerts.states().map(|(alert, ..)| alert));
        self.remute();
        let muted = self.world.alerts.states().filter(|(.., t)| t.is_kept_by_mute());
        for (alert, destination) in
            muted.map(|(alert, destination, _)| (alert, destination)).collect::<Vec<_>>()
        {
            self.reroute(alert, destination);
        }
    }

    /// Moves a muted alert to its new destination if the routes changed. On its old destination no receiver
    /// would be notified, and upstream may not repeat it for hours. It returns whether the routes changed
    /// for the alert.
    fn reroute(&mut self, alert: AlertId, destination: DestinationId) -> bool {
        let Some(known) = self.world.alerts.alert(alert).filter(|a| a.firing()) else { return false };
        let destinations = self.world.destinations.matching(&self.world.policy, &known.labels);
        if destinations.contains(&destination)
            || self.pages.forwards.is_forwarded(&self.world, &self.pages.incidents, alert, destination)
        {
            return false;
        }
        self.world.state(alert, destination).unmute();
        self.world.remember(alert, destination);
        for new in destinations {
            if !self.world.alerts.state(alert, new).is_some_and(AlertState::is_live) {
                self.world.routed(new, 1);
                self.duplicate(alert, new, Change::Fired, Status::Firing);
                self.pages.forwards.forward_alone(&mut self.world, &mut self.pages.incidents, alert, new);
            }
        }
        true
    }

    /// Looks anew at alerts whose mute may have changed. It returns whether there were any.
    pub(crate) fn remute(&mut self) -> bool {
        let any = !self.mutes.dirty.is_empty();
        while let Some(alert) = self.mutes.dirty.pop_first() {
            if self.world.alerts.alert(alert).is_some_and(|a| a.firing()) {
                for destination in self.world.taken_destinations(alert) {
                    self.look_again(alert, destination);
                }
            }
        }
        any
    }

    fn look_again(&mut self, alert: AlertId, destination: DestinationId) {
        let muting = self.mutes.cause(&self.world.alerts, alert, self.world.destinations.get(destination));
        let state = self.world.state(alert, destination);
        match (state.muted(), muting) {
            (None, Some(muting)) if state.is_live() => {
                self.pages.mute(&mut self.world, alert, destination, 0, muting);
            }
            (Some(_), Some(muting)) => drop(state.mute(muting.cause.reason())),
            (Some(last), None) => {
                state.unmute();
                let after_inhibition = last == Reason::Inhibited;
                if state.notified_in().is_some() && state.owed.is_some() {
                    return self.pay(alert, destination, after_inhibition);
                }
                if !state.is_live() && !self.reroute(alert, destination) {
                    self.world.routed(destination, 1);
                    if after_inhibition {
                        self.settles(alert, destination);
                    }
                    self.fire(alert, destination, 1, 1);
                }
            }
            (None, _) => {}
        }
    }

    /// Rebuilds the parts that a snapshot leaves out.
    pub(crate) fn reindex(&mut self) {
        self.mutes = self.mutes.reindexed(&self.world.policy, &self.world.alerts);
        self.pages.incidents.level_all(&self.world);
        self.pages.incidents.kin_anew();
        self.world.alerts.rewind(&mut self.world.timers);
    }

    /// The routes changed. A firing alert enters anew at a destination whose receiver does not know it.
    /// Upstream may not repeat it for hours.
    pub(crate) fn readmit(&mut self) {
        let firing = self.world.alerts.iter().filter(|(_, alert)| alert.firing());
        let firing: Vec<_> = firing.map(|(id, alert)| (*id, alert.labels.clone())).collect();
        for (alert, labels) in firing {
            for destination in self.pages.destinations_of(&mut self.world, alert, &labels, Change::None) {
                let live = self.world.alerts.state(alert, destination).is_some_and(AlertState::is_live);
                if !live && !self.world.destinations.get(destination).integrations.is_empty() {
                    self.world.routed(destination, 1);
                    self.duplicate(alert, destination, Change::Fired, Status::Firing);
                    self.pages.forwards.forward_alone(
                        &mut self.world,
                        &mut self.pages.incidents,
                        alert,
                        destination,
                    );
                }
            }
        }
    }

    pub(crate) fn adopt(&mut self, policy: Policy) {
        let escalating = self.pages.incidents.escalating(&self.world);
        self.rename_receivers(&policy);
        self.world.destinations.update(&policy);
        self.world.accounting.update(&policy);
        self.pages.incidents.lead_channels(&self.world, &policy);
        for id in self.pages.incidents.all.keys() {
            self.world.timers.set(Timer::Retry(*id), self.world.now);
        }
        self.world.policy = policy;
        self.pages.waits_adopt(&mut self.world);
        self.mutes_adopt();
        self.pages.digests_adopt(&mut self.world);
        self.pages.reports.refused.adopt(&self.world.policy, |_| true);
        self.pages.retry_all(&mut self.world);
        self.checks.heartbeats_adopt(&mut self.world, &mut self.pages);
        self.pages.incidents.level_all(&self.world);
        self.pages.incidents.respond_anew(&mut self.world, &escalating);
        self.readmit();
        for alert in
            self.world.alerts.iter().filter(|(_, a)| a.firing()).map(|(id, _)| *id).collect::<Vec<_>>()
        {
            self.world.watch_anew(alert);
        }
        for id in self.pages.incidents.all.keys().copied().collect::<Vec<_>>() {
            self.pages.move_on(&mut self.world, id);
            self.pages.incidents.watch_orphan(&mut self.world, id);
        }
    }

    /// A notification reached its end.
    pub(crate) fn delivered(&mut self, report: &Report) {
        let Some((id, index)) = self.pages.incidents.in_flight.remove(&report.id) else {
            self.pages.digest_ended(&mut self.world, report.id, &report.outcome);
            self.pages.report_ended(report.id, &report.outcome);
            return self.checks.say_refused(&mut self.world, &mut self.pages);
        };
        let channel = self.pages.incidents.all.get_mut(&id).and_then(|i| i.channels.get_mut(index));
        if let Some(kind) = channel.and_then(|c| c.ended(self.world.now, report)) {
            self.pages.incidents.record_delivery(&self.world, (id, index), kind, report);
            match report.outcome {
                Outcome::Rejected(_) => {
                    self.pages.incidents.refused.insert(report.id, (id, index));
                    while self.pages.incidents.refused.len() > REFUSED_REMEMBERED {
                        self.pages.incidents.refused.pop_first();
                    }
                }
                // The receiver now knows the state of the incident, even if it refused notifications
                // before.
                Outcome::Accepted => {
                    let earlier =
                        self.pages.incidents.refused.iter().filter(|(_, place)| **place == (id, index));
                    let earlier: Vec<NotificationId> = earlier.map(|(refused, _)| *refused).collect();
                    for refused in earlier {
                        self.pages.incidents.refused.remove(&refused);
                        self.pages.incidents.made_good.push(refused);
                    }
                }
                Outcome::Recalled { .. } => {}
            }
            match report.outcome {
                Outcome::Rejected(_) => self.pages.incidents.fall_back(&mut self.world, id, true),
                Outcome::Accepted => self.pages.incidents.tell_anew(&self.world, (id, index), report.id),
                Outcome::Recalled { .. } => {}
            }
            self.pages.incidents.pump(&mut self.world, id);
            self.checks.say_refused(&mut self.world, &mut self.pages);
            self.checks.say_orphans(&mut self.world, &mut self.pages);
        }
    }

    /// Takes over that `policy` gives receivers other names, before it is in force. A receiver has another
    /// name if its own name is gone and one new receiver has the same endpoints. Of several such
    /// receivers, the first by name goes on.
    pub(crate) fn rename_receivers(&mut self, policy: &Policy) {
        let gone =
            self.world.policy.receivers.iter().filter(|(name, _)| !policy.receivers.contains_key(*name));
        let new =
            policy.receivers.iter().filter(|(name, _)| !self.world.policy.receivers.contains_key(*name));
        // By endpoints: the names that are gone, and the new ones.
        let mut names: BTreeMap<Vec<u64>, (Vec<SmolStr>, Vec<SmolStr>)> = BTreeMap::new();
        for (name, leads_to) in gone.filter_map(|(name, receiver)| Some((name, endpoints(receiver)?))) {
            names.entry(leads_to).or_default().0.push(name.clone());
        }
        for (name, leads_to) in new.filter_map(|(name, receiver)| Some((name, endpoints(receiver)?))) {
            names.entry(leads_to).or_default().1.push(name.clone());
        }
        for (gone, new) in names.into_values() {
            // One receiver goes on under the new name. Two of them would have their counters mixed.
            if let ([old, ..], [new]) = (&gone[..], &new[..]) {
                self.rename_receiver(old, new);
            }
        }
    }

    fn rename_receiver(&mut self, old: &SmolStr, new: &SmolStr) {
        self.world.destinations.rename_receiver(old, new);
        self.pages.rename_flows(old, new);
        self.world.accounting.rename_receiver(old, new);
        self.pages.digests.rename_receiver(old, new);
        self.pages.reports.rename_receiver(old, new);
        self.pages.forwards.rename_receiver(old, new);
        self.checks.bounds.rename_receiver(old, new);
        self.checks.quarantine.rename_receiver(old, new);
        if let Some(due) = self.world.timers.deadline(&Timer::Digest(old.clone())) {
            self.world.timers.clear(&Timer::Digest(old.clone()));
            self.world.timers.set(Timer::Digest(new.clone()), due);
        }
        for channel in self.pages.incidents.all.values_mut().flat_map(|incident| &mut incident.channels) {
            if let Some(second) = channel.second.as_mut().filter(|second| second.receiver == *old) {
                second.receiver = new.clone();
            }
        }
    }

    /// A deadline of an alert may have come.
    pub(crate) fn alert_due(&mut self, alert: AlertId) {
        self.world.alerts.woke(alert);
        self.lapsed(alert, false);
        self.lapsed(alert, true);
        self.believed(alert);
        if self.world.alerts.is_over(self.world.now, alert) {
            self.pages.forget_alert(&mut self.world, alert);
        }
        self.world.alerts.wind(self.world.now, alert, &self.world.policy, &mut self.world.timers);
    }

    /// An alert may not have been said again in time: its sender gave its end, or, if `stale`, none.
    fn lapsed(&mut self, alert: AlertId, stale: bool) {
        let change = self.world.alerts.expire(
            self.world.now,
            alert,
            stale,
            &self.world.policy,
            &mut self.world.timers,
        );
        if change != Change::Resolved {
            return;
        }
        // Time changes no labels: it fired with its current ones.
        let before = self.world.alerts.alert(alert).map(|a| a.labels.clone());
        self.heard(alert, before.as_ref());
        self.pages.incidents.turned(&mut self.world, alert);
        self.pages.incidents.ended(&mut self.world, alert);
        self.pages.forwards.forward_expired(&mut self.world, &mut self.pages.incidents, alert, stale);
        for destination in self.world.taken_destinations(alert) {
            self.world.routed(destination, 1);
            if !stale {
                self.pages.resolve(&mut self.world, alert, destination, 1);
                continue;
            }
            let noise = self.world.destinations.get(destination).noise.clone();
            let now = self.world.now;
            let state = self.world.state(alert, destination);
            state.unmute();
            if state.damping.flaps().is_some() {
                state.damping.release(now, &noise.flapping);
                self.world.gauges(destination).flapping -= 1;
            }
            if self.world.state(alert, destination).end_hold() {
                self.world.timers.clear(&Timer::Hold(destination, alert));
                self.world.gauges(destination).held -= 1;
            }
            let state = self.world.state(alert, destination);
            let waiting = 1 + std::mem::take(&mut state.waiting);
            let incident = state.incident();
            if !state.is_admitted() {
                let cause = Cause::Expired { after: self.world.policy.stale_after };
                self.pages.suppress(&mut self.world, alert, destination, waiting, cause, None);
                self.world.remember(alert, destination);
                continue;
            }
            self.pages.retire(&mut self.world, alert, destination, waiting, now);
            if let Some(incident) = incident.and_then(|id| self.pages.incidents.all.get_mut(&id)) {
                incident.closing = Some(Box::new(Cause::Expired { after: self.world.policy.stale_after }));
            }
        }
    }

    /// The other member of the pair did not take its word back within a minute.
    fn believed(&mut self, alert: AlertId) {
        let change =
            self.world.alerts.believe(self.world.now, alert, &self.world.policy, &mut self.world.timers);
        if change != Change::Believed {
            return;
        }
        self.heard(alert, None);
        self.pages.incidents.turned(&mut self.world, alert);
        self.world.watch_alert(alert);
        let Some(labels) = self.world.alerts.alert(alert).map(|a| a.labels.clone()) else { return };
        for destination in self.pages.destinations_of(&mut self.world, alert, &labels, change) {
            self.world.routed(destination, 1);
            self.duplicate(alert, destination, change, Status::Firing);
            self.pages.forwards.forward_alone(&mut self.world, &mut self.pages.incidents, alert, destination);
        }
    }
}
