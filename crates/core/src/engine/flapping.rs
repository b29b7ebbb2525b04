//! Flapping, as the pipeline meets it: when it begins, what an alert's incident is told of it, and how it
//! ends. The arithmetic is [`super::damping`]'s.

use super::Engine;
use super::groups::GroupKey;
use super::incident::{IncidentId, Phase};
use super::lanes::LaneId;
use super::members::Member;
use super::timers::Timer;
use crate::model::{AlertId, Cause};
use crate::policy::{FAN_OUT, FAN_OUT_WITHIN, Flapping};

impl Engine {
    /// Counts changes of an alert, and marks its incident if it begins to flap with them.
    pub(super) fn damp(&mut self, alert: AlertId, lane: LaneId, changes: u32) {
        let settings = &self.lanes.lane(lane).noise.flapping;
        let track = self.alerts.track_mut(alert, lane);
        let began = track.damping.change(self.now, changes, settings);
        if let Some(deadline) = track.damping.reuse_deadline(settings) {
            self.timers.set(Timer::Reuse(lane, alert), deadline);
        }
        let flaps = track.damping.flaps();
        if let Some(id) = track.incident().filter(|_| flaps.is_some())
            && let Some(incident) = self.incidents.get_mut(&id)
            && incident.members.change(&alert, |member| member.flaps = flaps)
        {
            self.touched.insert(id);
        }
        if began {
            self.gauges(lane).flapping += 1;
        }
    }

    /// A flapping alert fires again, and its resolve was withheld. While a page of its group is recent, that
    /// is told there as an update, unless it was gone for no longer than `resolve_hold`. Later it is held:
    /// it is part of the next page of its group, and opens one only with others that flap, or if it lasts.
    /// An alert that was gone for a moment opens none with others: it goes on in its own incident.
    pub(super) fn refire(&mut self, alert: AlertId, lane: LaneId) {
        let Some(labels) = self.alerts.alert(alert).map(|a| a.labels.clone()) else { return };
        let key = self.group_key(lane, &labels);
        let track = self.track(alert, lane);
        let (own, waits, gone) = (track.incident(), track.waits_in().is_some(), track.damping.pause());
        let blips = gone <= self.lanes.lane(lane).noise.resolve_hold;
        match self.recent_incident(&key, own) {
            _ if waits => {}
            Some(id) if own != Some(id) || !blips => return self.tell_again(alert, lane, id),
            None if !blips && self.breaks_out(&key, alert, lane) => return,
            Some(_) | None => {}
        }
        let count = std::mem::take(&mut self.track(alert, lane).waiting);
        let cause = self.flapping_cause(alert, lane);
        let release = self.timers.deadline(&Timer::Reuse(lane, alert));
        self.suppress(alert, lane, count, cause, release);
    }

    /// The incident with a recent page in which an alert of this group is told of: its `own`, else the
    /// group's newest.
    pub(super) fn recent_incident(&self, key: &GroupKey, own: Option<IncidentId>) -> Option<IncidentId> {
        let noise = &self.lanes.lane(key.0).noise;
        let own = own.and_then(|id| Some((id, self.incidents.get(&id).filter(|i| i.takes_alerts())?)));
        let newest = self.groups.get(key).and_then(|group| group.newest(&self.incidents));
        let mut both = [own, newest].into_iter().flatten();
        both.find(|(_, incident)| incident.is_recent(self.now, noise)).map(|(id, _)| id)
    }

    /// An incident is told that a flapping alert fires again, as an update.
    fn tell_again(&mut self, alert: AlertId, lane: LaneId, id: IncidentId) {
        if self.track(alert, lane).incident() != Some(id) {
            self.leave(alert, lane);
        }
        let track = self.track(alert, lane);
        let (count, flaps) = (std::mem::take(&mut track.waiting), track.damping.flaps());
        self.join(id, alert, lane, count, flaps);
        if let Some(incident) = self.incidents.get_mut(&id) {
            incident.members.change(&alert, |member| member.told = None);
        }
    }

    /// An alert goes on elsewhere: in the incident that it is in it counts as resolved.
    fn leave(&mut self, alert: AlertId, lane: LaneId) {
        let Some(old) = self.track(alert, lane).leave_incident() else { return };
        let stays = self.taken_lanes(alert).into_iter().any(|other| {
            let track = self.track(alert, other);
            track.notified_in() == Some(old)
        });
        let now = self.now;
        let Some(incident) = self.incidents.get_mut(&old).filter(|_| !stays) else { return };
        if !incident.members.change(&alert, |member| member.ends(now)) {
            return;
        }
        if incident.members.firing() == 0 {
            incident.closing = Some(Box::new(Cause::MovedElsewhere));
        }
        self.touched.insert(old);
        self.ended(alert);
    }

    /// Flapping alerts of a group that fire again together have a cause: a fan-out of them starts anew. Returns
    /// whether they do.
    fn breaks_out(&mut self, key: &GroupKey, alert: AlertId, lane: LaneId) -> bool {
        let now = self.now;
        self.bound_groups(key);
        let held = &mut self.groups.entry(key.clone()).or_default().held;
        held.retain(|(other, at)| *other != alert && now <= *at + FAN_OUT_WITHIN);
        held.push((alert, now));
        let held: Vec<AlertId> = held.iter().map(|(alert, _)| *alert).collect();
        let goes = |alert: &AlertId| {
            let track = self.alerts.track(*alert, lane);
            let free = |t: &super::Track| t.muted().is_none() && t.notified_in().is_some();
            self.fires(*alert) && track.is_some_and(|t| free(t) && t.damping.flaps().is_some())
        };
        let together: Vec<AlertId> = held.into_iter().filter(goes).collect();
        if together.len() < FAN_OUT {
            self.forget_group_later(key);
            return false;
        }
        self.groups.entry(key.clone()).or_default().held.clear();
        for alert in together {
            self.leave(alert, lane);
            self.timers.clear(&Timer::Confirm(lane, alert));
            self.admit(alert, lane);
        }
        true
    }

    /// Why a page leaves, if flapping alerts that fire together made it.
    pub(super) fn broke_out(&self, key: &GroupKey, all: &[(AlertId, u64, bool)]) -> Option<Cause> {
        let flaps = |alert| self.alerts.track(alert, key.0).is_some_and(|t| t.damping.flaps().is_some());
        let flapping = all.iter().filter(|(alert, _, recovered)| !recovered && flaps(*alert)).count();
        let cause = Cause::FlappingTogether { alerts: flapping, within: FAN_OUT_WITHIN };
        (flapping >= FAN_OUT).then_some(cause)
    }

    /// What flaps in older incidents of a group, and fires, is part of its new page.
    pub(super) fn draw_in(&mut self, id: IncidentId, key: &GroupKey) {
        let older = self.groups.get(key).map_or(Vec::new(), |group| group.open.clone());
        for old in older.into_iter().filter(|old| *old != id) {
            let Some(incident) = self.incidents.get(&old) else { continue };
            let flapping = incident.members.flapping().filter(|(_, m)| m.firing);
            let flapping = flapping.filter(|(alert, _)| self.fires(**alert));
            let flapping: Vec<_> = flapping.map(|(alert, m)| (*alert, m.flaps)).collect();
            for (alert, flaps) in flapping {
                let lanes = self.taken_lanes(alert).into_iter();
                let here = |t: &super::Track| t.notified_in() == Some(old) && t.muted().is_none();
                let labels = self.alerts.alert(alert).map(|a| a.labels.clone()).unwrap_or_default();
                let mut lanes: Vec<_> =
                    lanes.filter(|lane| self.alerts.track(alert, *lane).is_some_and(here)).collect();
                // The incident of a merged page is older for each of its groups, and has alerts of others.
                lanes.retain(|lane| *key == self.merged_key(*lane) || *key == self.group_key(*lane, &labels));
                if lanes.is_empty() {
                    continue;
                }
                for lane in lanes {
                    self.leave(alert, lane);
                    self.track(alert, lane).notify(id);
                }
                let since = self.alerts.alert(alert).map_or(self.now, |a| a.starts_at);
                let level = self.level_of(alert);
                self.bound_members(id);
                if let Some(incident) = self.incidents.get_mut(&id) {
                    incident.members.insert(alert, Member { flaps, ..Member::firing(since, level) });
                }
            }
        }
    }

    /// An alert fires. If it flaps, it pages once it has fired for `confirm` without a break.
    pub(super) fn confirm_later(&mut self, alert: AlertId, lane: LaneId) {
        let confirm = self.lanes.lane(lane).noise.flapping.confirm;
        if !confirm.is_zero() && self.track(alert, lane).damping.flaps().is_some() {
            self.timers.set(Timer::Confirm(lane, alert), self.now + confirm);
        }
    }

    /// Flapping may be over.
    pub(super) fn reuse(&mut self, lane: LaneId, alert: AlertId) {
        let (now, noise) = (self.now, self.lanes.lane(lane).noise.clone());
        let track = self.track(alert, lane);
        match track.damping.reuse_deadline(&noise.flapping) {
            Some(deadline) if deadline > now => return self.timers.set(Timer::Reuse(lane, alert), deadline),
            Some(_) => {}
            None => return,
        }
        self.calmed(alert, lane);
    }

    /// The alert fired for `confirm` without a break: it flaps no more, it is down.
    pub(super) fn confirmed(&mut self, lane: LaneId, alert: AlertId) {
        if !self.fires(alert) {
            return;
        }
        let track = self.track(alert, lane);
        if track.damping.flaps().is_some() {
            return self.calmed(alert, lane);
        }
        if track.is_admitted()
            && track.muted().is_none()
            && let Some(flaps) = track.owed.take()
        {
            self.fires_on(alert, lane, flaps);
        }
    }

    /// Flapping is over: the truth is told.
    pub(super) fn calmed(&mut self, alert: AlertId, lane: LaneId) {
        let (now, noise) = (self.now, self.lanes.lane(lane).noise.clone());
        self.timers.clear(&Timer::Confirm(lane, alert));
        self.timers.clear(&Timer::Reuse(lane, alert));
        let track = self.track(alert, lane);
        let flaps = track.damping.flaps().unwrap_or(0);
        track.damping.release(now, &noise.flapping);
        let (presented, incident) = (track.is_admitted(), track.incident());
        self.gauges(lane).flapping -= 1;
        if !presented {
            return self.remember(alert, lane);
        }
        if let Some(id) = incident
            && let Some(incident) = self.incidents.get_mut(&id)
            && incident.members.change(&alert, |member| member.flaps = None)
        {
            self.touched.insert(id);
        }
        // What is a heartbeat now is told of no more, firing or not.
        let known = self.alerts.alert(alert).filter(|a| a.firing());
        if known.is_none_or(|a| self.policy.heartbeat_of(&a.labels).is_some()) {
            let track = self.track(alert, lane);
            let (waiting, ended) = (std::mem::take(&mut track.waiting), track.damping.changed_at());
            // The resolve was withheld since the last change. An alert that fires now does not blip.
            return self.retire(alert, lane, waiting, ended.last().copied().unwrap_or(now));
        }
        let track = self.track(alert, lane);
        if track.muted().is_some() {
            track.owed = Some(flaps);
            return;
        }
        self.fires_on(alert, lane, flaps);
    }

    /// An alert fires still after it flapped: its incident pages again, unless its page is recent. Within
    /// `merge_window` a person is at it already.
    pub(super) fn fires_on(&mut self, alert: AlertId, lane: LaneId, flaps: u32) {
        let (now, noise) = (self.now, self.lanes.lane(lane).noise.clone());
        let incident = self.track(alert, lane).incident();
        let old = |id| {
            let incident = self.incidents.get(&id).filter(|i| i.phase == Phase::Open);
            incident.is_some_and(|i| i.superseded_by.is_none() && !i.is_recent(now, &noise))
        };
        if let Some(id) = incident.filter(|id| old(*id)) {
            let name = self.alerts.alert(alert).map(|a| a.labels.value("alertname").into());
            let cause = Cause::StillFiring { alertname: name.unwrap_or_default(), changes: flaps };
            self.routed(lane, 1);
            if let Some(incident) = self.incidents.get_mut(&id) {
                incident.waiting.push((alert, 1));
            }
            self.supersede(id, cause);
        }
    }

    pub(super) fn flapping_cause(&mut self, alert: AlertId, lane: LaneId) -> Cause {
        let noise = self.lanes.lane(lane).noise.clone();
        let now = self.now;
        let track = self.track(alert, lane);
        Cause::Flapping {
            changes: track.damping.flaps().unwrap_or(0),
            penalty: track.damping.penalty_at(now, &noise.flapping),
            suppress_at: noise.flapping.suppress_at,
            reuse_at: Flapping::REUSE_AT,
        }
    }
}
