//! Flapping, as the pipeline meets it: when it begins, what an alert's incident is told of it, and how it
//! ends. The arithmetic is [`super::damping`]'s.

use smol_str::{SmolStr, format_smolstr};

use super::Engine;
use super::incident::Phase;
use super::lanes::LaneId;
use super::timers::Timer;
use crate::model::AlertId;

impl Engine {
    /// Counts changes of an alert, and marks its incident if it begins to flap with them.
    pub(super) fn damp(&mut self, alert: AlertId, lane: LaneId, changes: u32) {
        let noise = &self.lanes.lane(lane).noise;
        let track = self.tracks.entry((alert, lane)).or_default();
        let began = track.damping.change(self.now, changes, noise);
        if let Some(deadline) = track.damping.reuse_deadline(noise) {
            self.timers.set(Timer::Reuse(lane, alert), deadline);
        }
        let flaps = track.damping.flaps();
        if let Some(id) = track.incident
            && let Some(member) = self.incidents.get_mut(&id).and_then(|i| i.members.get_mut(&alert))
            && flaps.is_some()
        {
            member.flaps = flaps;
            self.touched.insert(id);
        }
        if began {
            self.gauges(lane).flapping += 1;
        }
    }

    pub(super) fn confirm_later(&mut self, alert: AlertId, lane: LaneId) {
        let confirm = self.lanes.lane(lane).noise.confirm;
        if !confirm.is_zero() {
            self.timers.set(Timer::Confirm(lane, alert), self.now + confirm);
        }
    }

    /// Flapping may be over.
    pub(super) fn reuse(&mut self, lane: LaneId, alert: AlertId) {
        let (now, noise) = (self.now, self.lanes.lane(lane).noise.clone());
        let track = self.track(alert, lane);
        match track.damping.reuse_deadline(&noise) {
            Some(deadline) if deadline > now => return self.timers.set(Timer::Reuse(lane, alert), deadline),
            Some(_) => {}
            None => return,
        }
        self.calmed(alert, lane);
    }

    /// The alert fired for `confirm` without a break: it flaps no more, it is down.
    pub(super) fn confirmed(&mut self, lane: LaneId, alert: AlertId) {
        if self.track(alert, lane).damping.flaps().is_some() && self.fires(alert) {
            self.calmed(alert, lane);
        }
    }

    /// Flapping is over: the truth is told.
    pub(super) fn calmed(&mut self, alert: AlertId, lane: LaneId) {
        let (now, noise) = (self.now, self.lanes.lane(lane).noise.clone());
        self.timers.clear(&Timer::Confirm(lane, alert));
        self.timers.clear(&Timer::Reuse(lane, alert));
        let track = self.track(alert, lane);
        let flaps = track.damping.flaps().unwrap_or(0);
        track.damping.release(now, &noise);
        let (presented, incident) = (track.presented, track.incident);
        self.gauges(lane).flapping -= 1;
        if !presented {
            return self.remember(alert, lane);
        }
        if let Some(id) = incident
            && let Some(member) = self.incidents.get_mut(&id).and_then(|i| i.members.get_mut(&alert))
        {
            member.flaps = None;
            self.touched.insert(id);
        }
        if !self.fires(alert) {
            let waiting = std::mem::take(&mut self.track(alert, lane).waiting);
            return self.retire(alert, lane, waiting, now);
        }
        if self.track(alert, lane).muted.is_some() {
            return;
        }
        // Within the window of its page a human is at it already: there it is an update.
        let old = |id| {
            let incident = self.incidents.get(&id).filter(|i| i.phase == Phase::Open);
            incident.is_some_and(|i| i.superseded_by.is_none() && now > i.paged_at + noise.merge_window)
        };
        if let Some(id) = incident.filter(|id| old(*id)) {
            let name = self.alerts.alert(alert).map(|a| a.labels.value("alertname").to_owned());
            let why =
                format_smolstr!("{} fires still after it changed {flaps} times", name.unwrap_or_default());
            self.routed(lane, 1);
            if let Some(incident) = self.incidents.get_mut(&id) {
                incident.waiting.push((alert, 1));
            }
            self.supersede(id, why);
        }
    }

    pub(super) fn flapping_rule(&mut self, alert: AlertId, lane: LaneId) -> SmolStr {
        let noise = self.lanes.lane(lane).noise.clone();
        let now = self.now;
        let track = self.track(alert, lane);
        let penalty = track.damping.penalty_at(now, &noise);
        format_smolstr!(
            "flapping: changed {} times, penalty {}.{} (suppress_at {}.{}, reuse_at {}.{})",
            track.damping.flaps().unwrap_or(0),
            penalty / 1000,
            penalty % 1000 / 100,
            noise.suppress_at / 1000,
            noise.suppress_at % 1000 / 100,
            noise.reuse_at / 1000,
            noise.reuse_at % 1000 / 100
        )
    }
}
