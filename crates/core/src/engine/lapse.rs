//! What time does to an alert of which nothing is heard: it ends, is stale, is believed, is forgotten.

use super::Engine;
use super::alerts::Change;
use super::pages::Pages;
use super::timers::Timer;
use super::world::World;
use crate::model::{AlertId, Cause, Duration, Status, Timestamp};

/// An alert that a digest or an incident has still to name is remembered for as long again.
const REMEMBER_ON: Duration = Duration::from_hours(1);

impl Engine {
    /// A deadline of an alert may have come.
    pub(super) fn alert_due(&mut self, alert: AlertId) {
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
        // Time changes no labels: it fired with those that it has.
        let before = self.world.alerts.alert(alert).map(|a| a.labels.clone());
        self.heard(alert, before.as_ref());
        self.pages.incidents.ended(&mut self.world, alert);
        self.pages.mirrors.mirror_lapsed(&mut self.world, &mut self.pages.incidents, alert, stale);
        for lane in self.world.taken_lanes(alert) {
            self.world.routed(lane, 1);
            if !stale {
                self.pages.resolve(&mut self.world, alert, lane, 1);
                continue;
            }
            let noise = self.world.lanes.lane(lane).noise.clone();
            let now = self.world.now;
            let track = self.world.track(alert, lane);
            track.unmute();
            if track.damping.flaps().is_some() {
                track.damping.release(now, &noise.flapping);
                self.world.gauges(lane).flapping -= 1;
            }
            if self.world.track(alert, lane).end_hold() {
                self.world.timers.clear(&Timer::Hold(lane, alert));
                self.world.gauges(lane).held -= 1;
            }
            let track = self.world.track(alert, lane);
            let waiting = 1 + std::mem::take(&mut track.waiting);
            let incident = track.incident();
            if !track.is_admitted() {
                let cause = Cause::Expired { after: self.world.policy.stale_after };
                self.pages.suppress(&mut self.world, alert, lane, waiting, cause, None);
                self.world.remember(alert, lane);
                continue;
            }
            self.pages.retire(&mut self.world, alert, lane, waiting, now);
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
        self.world.watch_alert(alert);
        let Some(labels) = self.world.alerts.alert(alert).map(|a| a.labels.clone()) else { return };
        for lane in self.pages.lanes_of(&self.world, alert, &labels, change) {
            self.world.routed(lane, 1);
            self.duplicate(alert, lane, change, Status::Firing);
            self.pages.mirrors.mirror_alone(&mut self.world, &mut self.pages.incidents, alert, lane);
        }
    }
}

impl Pages {
    /// Forgets an alert that does not fire, unless a digest has still to say how it stands.
    fn forget_alert(&mut self, world: &mut World, alert: AlertId) {
        if world.taken_lanes(alert).into_iter().any(|lane| self.incidents.is_named(world, alert, lane)) {
            let next = world.next_hour();
            return world.alerts.remember_until(alert, next);
        }
        match self.digests.names_until(alert) {
            Some(due) => {
                let at = if due > world.now { due } else { world.now + REMEMBER_ON };
                world.alerts.remember_until(alert, at);
            }
            None => {
                world.ledger.forget(world.now, alert, (&mut world.alerts, &world.lanes));
                world.alerts.forget(alert, &mut world.timers);
            }
        }
    }
}

impl World {
    /// When it is looked again at what cannot be forgotten yet: all of an hour together.
    pub(super) fn next_hour(&self) -> Timestamp {
        let hour = REMEMBER_ON.as_millis() as i64;
        let next = self.now.as_millis().div_euclid(hour).saturating_add(1);
        Timestamp::from_millis(next.saturating_mul(hour))
    }
}
