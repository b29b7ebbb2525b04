//! Later changes of alerts: a mute begins or ends, a statement expires, a delivery ends, a policy changes.

use smol_str::SmolStr;

use crate::engine::Engine;
use crate::engine::alerts::Change;
use crate::engine::ids::DestinationId;
use crate::engine::pages::Pages;
use crate::engine::renames::renamed;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{AlertId, Duration, Reason, Report, Status};
use crate::policy::Policy;

impl Engine {
    /// Moves the clock of the mutes on, before anything else that is due. Nothing leaves at the moment at
    /// which it is muted.
    pub(crate) fn mute_clock(&mut self, was_set: bool) {
        if self.mutes.pass(&mut self.world, was_set) {
            self.remute();
        }
    }

    /// Looks anew at alerts whose mute may have changed. It returns whether there were any.
    pub(crate) fn remute(&mut self) -> bool {
        let any = !self.mutes.dirty.is_empty();
        while let Some(alert) = self.mutes.dirty.pop_first() {
            if self.world.fires(alert) {
                for destination in self.world.taken_destinations(alert) {
                    self.look_again(alert, destination);
                }
            }
        }
        any
    }

    fn look_again(&mut self, alert: AlertId, destination: DestinationId) {
        let settings = self.world.destinations.get(destination);
        let (muting, interval) =
            (self.mutes.cause(&self.world.alerts, alert, settings), settings.group_interval);
        let state = self.world.state(alert, destination);
        match (state.muted(), muting) {
            (None, Some(muting)) if state.is_live() => {
                self.pages.mute(&mut self.world, alert, destination, 0, muting);
            }
            (Some(_), Some(muting)) => drop(state.mute(muting.cause.reason())),
            (Some(last), None) => {
                state.unmute();
                let after_inhibition = last == Reason::Inhibited;
                let wait = if after_inhibition { interval } else { Duration::ZERO };
                if let Some(incident) = state.notified_in() {
                    if state.owed.is_some() {
                        // It stopped flapping while it was muted, and lacks a page since then.
                        self.world.timers.set(Timer::Confirm(destination, alert), self.world.now + wait);
                    }
                    self.pages.move_on_after(&mut self.world, incident, wait);
                } else if !state.is_live() && !self.reroute(alert, destination) {
                    self.world.routed(destination, 1);
                    if after_inhibition {
                        self.pages.settles(&mut self.world, alert, destination);
                    }
                    self.fire(alert, destination, 1, 1);
                }
            }
            (None, _) => {}
        }
    }

    /// Moves a muted alert to its new destination if the routes changed. On its old destination no receiver
    /// would be notified, and upstream may not repeat it for hours. It returns whether the routes changed
    /// for the alert.
    fn reroute(&mut self, alert: AlertId, destination: DestinationId) -> bool {
        let Some(labels) = self.world.alerts.firing_labels(alert) else { return false };
        let destinations = self.world.destinations.matching(&self.world.policy, labels);
        if destinations.contains(&destination)
            || self.pages.forwards.is_forwarded(&self.world, &self.pages.incidents, alert, destination)
        {
            return false;
        }
        self.world.state(alert, destination).unmute();
        self.world.remember(alert, destination);
        for new in destinations {
            if !self.world.is_live(alert, new) {
                self.enter(alert, new, Change::Fired);
            }
        }
        true
    }

    /// The routes changed. A firing alert enters anew at a destination whose receiver does not know it.
    /// Upstream may not repeat it for hours.
    fn readmit(&mut self) {
        let firing = self.world.alerts.that_fire().map(|(alert, labels)| (alert, labels.clone()));
        for (alert, labels) in firing.collect::<Vec<_>>() {
            for destination in self.pages.destinations_of(&mut self.world, alert, &labels, Change::None) {
                let reached = !self.world.destinations.get(destination).integrations.is_empty();
                if reached && !self.world.is_live(alert, destination) {
                    self.enter(alert, destination, Change::Fired);
                }
            }
        }
    }

    /// A firing alert enters at a destination, and no request says so.
    fn enter(&mut self, alert: AlertId, destination: DestinationId, change: Change) {
        self.world.routed(destination, 1);
        self.duplicate(alert, destination, change, Status::Firing);
        self.pages.forwards.forward_alone(&mut self.world, &mut self.pages.incidents, alert, destination);
    }

    /// Rebuilds the parts that a snapshot leaves out.
    pub(crate) fn reindex(&mut self) {
        self.mutes = self.mutes.reindexed(&self.world.policy, &self.world.alerts);
        self.pages.incidents.level_all(&self.world);
        self.pages.incidents.kin_anew();
        self.world.alerts.rewind(&mut self.world.timers);
    }

    pub(crate) fn adopt(&mut self, policy: Policy) {
        let escalating = self.pages.incidents.escalating(&self.world);
        let idle = |name: &SmolStr| self.world.accounting.is_idle(name);
        for (old, new) in renamed(&self.world.policy, &policy, idle) {
            self.world.rename_receiver(&old, &new);
            self.pages.rename_receiver(&old, &new);
            self.checks.rename_receiver(&old, &new);
        }
        self.world.destinations.update(&policy);
        self.world.accounting.update(&policy);
        self.pages.incidents.lead_channels(&self.world, &policy);
        for id in self.pages.incidents.all.keys() {
            self.world.timers.set(Timer::Retry(*id), self.world.now);
        }
        self.world.policy = policy;
        self.pages.waits_adopt(&mut self.world);
        self.mutes.adopt(&mut self.world);
        self.remute();
        let muted = self.world.alerts.states().filter(|(.., state)| state.is_kept_by_mute());
        let muted = muted.map(|(alert, destination, _)| (alert, destination));
        for (alert, destination) in muted.collect::<Vec<_>>() {
            self.reroute(alert, destination);
        }
        self.pages.digests.adopt(&mut self.world, &self.pages.groups);
        self.pages.reports.refused.adopt(&self.world.policy, |_| true);
        self.pages.retry_all(&mut self.world);
        self.checks.heartbeats.adopt(&mut self.world, &mut self.pages);
        self.pages.incidents.level_all(&self.world);
        self.pages.incidents.respond_anew(&mut self.world, &escalating);
        self.readmit();
        for alert in self.world.alerts.that_fire().map(|(alert, _)| alert).collect::<Vec<_>>() {
            self.world.watch_anew(alert);
        }
        for id in self.pages.incidents.all.keys().copied().collect::<Vec<_>>() {
            self.pages.move_on(&mut self.world, id);
            self.pages.incidents.watch_orphan(&mut self.world, id);
        }
    }

    /// A notification reached its end.
    pub(crate) fn delivered(&mut self, report: &Report) {
        let Some(place) = self.pages.incidents.in_flight.remove(&report.id) else {
            let Pages { digests, reports, incidents, groups, .. } = &mut self.pages;
            digests.ended(&mut self.world, (incidents, groups), report.id, &report.outcome);
            reports.ended(incidents, report.id, &report.outcome);
            return self.checks.watch.say_refused(&mut self.world, &mut self.pages);
        };
        if self.pages.incidents.delivered(&mut self.world, place, report) {
            self.checks.watch.say_refused(&mut self.world, &mut self.pages);
            self.checks.watch.say_orphans(&mut self.world, &mut self.pages);
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
        let World { now, policy, alerts, timers, .. } = &mut self.world;
        if alerts.expire(*now, alert, stale, policy, timers) != Change::Resolved {
            return;
        }
        // Time changes no labels: it fired with its current ones.
        let before = alerts.alert(alert).map(|a| a.labels.clone());
        self.changed(alert, before.as_ref(), Change::Resolved);
        self.pages.forwards.forward_expired(&mut self.world, &mut self.pages.incidents, alert, stale);
        for destination in self.world.taken_destinations(alert) {
            self.world.routed(destination, 1);
            match stale {
                true => self.pages.expire(&mut self.world, alert, destination),
                false => self.pages.resolve(&mut self.world, alert, destination, 1),
            }
        }
    }

    /// The other member of the pair did not take its word back within a minute.
    fn believed(&mut self, alert: AlertId) {
        let World { now, policy, alerts, timers, .. } = &mut self.world;
        let change = alerts.believe(*now, alert, policy, timers);
        if change != Change::Believed {
            return;
        }
        self.changed(alert, None, change);
        let Some(labels) = self.world.alerts.alert(alert).map(|a| a.labels.clone()) else { return };
        for destination in self.pages.destinations_of(&mut self.world, alert, &labels, change) {
            self.enter(alert, destination, change);
        }
    }
}
