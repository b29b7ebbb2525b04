//! What time does to an alert of which nothing is heard: it ends, is stale, is believed, is forgotten.

use super::Engine;
use super::alerts::Change;
use super::timers::Timer;
use crate::model::{AlertId, Cause, Duration, Status, Timestamp};

/// An alert that a digest or an incident has still to name is remembered for as long again.
const REMEMBER_ON: Duration = Duration::from_hours(1);

impl Engine {
    /// A deadline of an alert may have come.
    pub(super) fn alert_due(&mut self, alert: AlertId) {
        self.alerts.woke(alert);
        self.lapsed(alert, false);
        self.lapsed(alert, true);
        self.believed(alert);
        if self.alerts.is_over(self.now, alert) {
            self.forget_alert(alert);
        }
        self.alerts.wind(self.now, alert, &self.policy, &mut self.timers);
    }

    /// An alert may not have been said again in time: its sender gave its end, or, if `stale`, none.
    fn lapsed(&mut self, alert: AlertId, stale: bool) {
        let change = self.alerts.expire(self.now, alert, stale, &self.policy, &mut self.timers);
        if change != Change::Resolved {
            return;
        }
        // Time changes no labels: it fired with those that it has.
        let before = self.alerts.alert(alert).map(|a| a.labels.clone());
        self.heard(alert, before.as_ref());
        self.ended(alert);
        self.mirror_lapsed(alert, stale);
        for lane in self.taken_lanes(alert) {
            self.routed(lane, 1);
            if !stale {
                self.resolve(alert, lane, 1);
                continue;
            }
            let noise = self.lanes.lane(lane).noise.clone();
            let now = self.now;
            let track = self.track(alert, lane);
            track.unmute();
            if track.damping.flaps().is_some() {
                track.damping.release(now, &noise.flapping);
                self.gauges(lane).flapping -= 1;
            }
            if self.track(alert, lane).end_hold() {
                self.timers.clear(&Timer::Hold(lane, alert));
                self.gauges(lane).held -= 1;
            }
            let track = self.track(alert, lane);
            let waiting = 1 + std::mem::take(&mut track.waiting);
            let incident = track.incident();
            if !track.is_admitted() {
                let cause = Cause::Expired { after: self.policy.stale_after };
                self.suppress(alert, lane, waiting, cause, None);
                self.remember(alert, lane);
                continue;
            }
            self.retire(alert, lane, waiting, now);
            if let Some(incident) = incident.and_then(|id| self.incidents.get_mut(&id)) {
                incident.closing = Some(Box::new(Cause::Expired { after: self.policy.stale_after }));
            }
        }
    }

    /// The other member of the pair did not take its word back within a minute.
    fn believed(&mut self, alert: AlertId) {
        let change = self.alerts.believe(self.now, alert, &self.policy, &mut self.timers);
        if change != Change::Believed {
            return;
        }
        self.heard(alert, None);
        self.watch_alert(alert);
        let Some(labels) = self.alerts.alert(alert).map(|a| a.labels.clone()) else { return };
        for lane in self.lanes_of(alert, &labels, change) {
            self.routed(lane, 1);
            self.duplicate(alert, lane, change, Status::Firing);
            self.mirror_alone(alert, lane);
        }
    }

    /// When it is looked again at what cannot be forgotten yet: all of an hour together.
    pub(super) fn next_hour(&self) -> Timestamp {
        let hour = REMEMBER_ON.as_millis() as i64;
        let next = self.now.as_millis().div_euclid(hour).saturating_add(1);
        Timestamp::from_millis(next.saturating_mul(hour))
    }

    /// Forgets an alert that does not fire, unless a digest has still to say how it stands.
    fn forget_alert(&mut self, alert: AlertId) {
        if self.taken_lanes(alert).into_iter().any(|lane| self.is_named(alert, lane)) {
            let next = self.next_hour();
            return self.alerts.remember_until(alert, next);
        }
        match self.digests.names_until(alert) {
            Some(due) => {
                let at = if due > self.now { due } else { self.now + REMEMBER_ON };
                self.alerts.remember_until(alert, at);
            }
            None => {
                self.ledger.forget(self.now, alert, (&mut self.alerts, &self.lanes));
                self.alerts.forget(alert, &mut self.timers);
            }
        }
    }
}
