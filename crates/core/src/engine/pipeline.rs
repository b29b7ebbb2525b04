//! The way of an observation, top to bottom in the order in which it meets the stages:
//! normalise → route → then per (route, receiver): duplicate → silence, mute window, inhibition → flap
//! damping → hold → group.

use smol_str::SmolStr;

use super::Engine;
use super::alerts::Change;
use super::groups::{self, Place};
use super::incident::Phase;
use super::lanes::LaneId;
use super::ledger::Verdict;
use super::members::{Level, UNKNOWN};
use super::occurrences::{PeerId, REFIRE_WAIT};
use super::state::{State, Track};
use super::timers::Timer;
use crate::model::{
    AlertId, Basis, Batch, Cause, Disposition, Duration, LabelSet, Observation, Reason, Status, Timestamp,
};

impl Engine {
    /// Normalise and route: what a request stated, one observation at a time. All of it is heard before
    /// any of it is decided, so that what inhibits does so wherever it stands in the request.
    pub(super) fn observe(&mut self, batch: &Batch) {
        let mut heard: Vec<(AlertId, Change, &Observation, bool)> =
            Vec::with_capacity(batch.observations.len());
        let peer = PeerId::of(&batch.peer);
        let batch = &*self.by_clock(batch, peer);
        // The order in a request means nothing. Firings go first, so that an alert of which one full label
        // set follows another one fires throughout.
        let (firing, resolved): (Vec<_>, Vec<_>) =
            batch.observations.iter().partition(|observation| observation.status == Status::Firing);
        for observation in firing.into_iter().chain(resolved) {
            self.ledger.received(batch.source, observation.status, 1);
            let instance = AlertId::of(&observation.labels, |_| false);
            let alert = self.alerts.owner(instance, &observation.labels, &self.policy);
            if self.is_aside(alert) {
                self.pass_by(alert, observation);
                continue;
            }
            let unknown = self.alerts.alert(alert).is_none();
            if unknown && !self.has_room(heard.iter().map(|(alert, ..)| *alert)) {
                if observation.status == Status::Firing {
                    self.beat(batch.source, alert, &observation.labels);
                }
                self.overflow(observation, alert);
                continue;
            }
            let (before, fired) = (self.level_of(alert), self.alerts.firing_labels(alert).cloned());
            let change = self.alerts.observe(
                self.now,
                (batch.source, peer),
                observation,
                (alert, instance),
                &self.policy,
                &mut self.timers,
            );
            self.heard(alert, fired.as_ref());
            if observation.status == Status::Firing {
                self.beat(batch.source, alert, &observation.labels);
            }
            match change {
                Change::Fired | Change::Believed | Change::Restarted { .. } => self.watch_alert(alert),
                Change::Resolved => self.ended(alert),
                Change::None | Change::UnknownResolved => {}
            }
            let level = self.level_of(alert);
            if level != before {
                self.leveled(alert, level);
            }
            let rose = fired.is_some() && level < before && change == Change::None && self.fires(alert);
            heard.push((alert, change, observation, rose));
        }
        self.watch_labels(&heard);
        self.remute();
        let mut observed = Vec::new();
        for (alert, change, observation, rose) in heard {
            let mut mirrored = Vec::new();
            for lane in self.lanes_of(alert, &observation.labels, change) {
                self.routed(lane, 1);
                self.duplicate(alert, lane, change, observation.status);
                if self.lanes.lane(lane).observes() {
                    mirrored.push(lane);
                }
            }
            if rose {
                self.rose(alert);
            }
            observed.push((alert, observation.status, mirrored));
        }
        self.mirror(batch, observed);
    }

    /// The severity level of an alert.
    pub(super) fn level_of(&self, alert: AlertId) -> Level {
        let level = |known: &super::alerts::Alert| self.policy.severities.level_of(&known.labels);
        self.alerts.alert(alert).map_or(UNKNOWN, |known| level(known).try_into().unwrap_or(UNKNOWN - 1))
    }

    /// The severity of an alert changed, which `ignore_labels` may let it: its incidents know.
    fn leveled(&mut self, alert: AlertId, level: Level) {
        let told =
            self.taken_lanes(alert).into_iter().filter_map(|lane| self.alerts.track(alert, lane)?.incident());
        let shown = self.mirrors.open.values().map(|mirror| mirror.incident);
        for id in told.chain(shown).collect::<Vec<_>>() {
            if let Some(incident) = self.incidents.get_mut(&id) {
                incident.members.change(&alert, |member| {
                    member.level = if member.firing { level } else { UNKNOWN };
                });
            }
        }
    }

    /// What is known of alerts or of severities was read anew: so are the levels of what is told.
    pub(super) fn level_all(&mut self) {
        for mut incident in std::mem::take(&mut self.incidents) {
            incident.1.members.level(|alert| self.level_of(alert));
            self.incidents.insert(incident.0, incident.1);
        }
    }

    /// The severity of an alert rose while it fires, which `ignore_labels` may let it: what waits with it
    /// waits no longer than the new level does, and its incident may be worse.
    fn rose(&mut self, alert: AlertId) {
        for lane in self.taken_lanes(alert) {
            if self.track(alert, lane).muted().is_some() {
                continue;
            }
            if self.track(alert, lane).end_hold() {
                self.timers.clear(&Timer::Hold(lane, alert));
                self.gauges(lane).held -= 1;
                self.hold(alert, lane);
            } else if let Some(group) = self.track(alert, lane).leave_group() {
                let count = self.leave_wait(alert, &group);
                self.track(alert, lane).waiting += count;
                self.hold(alert, lane);
            } else {
                let incident = self.track(alert, lane).incident();
                self.touched.extend(incident);
            }
        }
    }

    /// The lanes that an observation takes: those that match, and those that the configuration no
    /// longer has but on which the alert is still told of. A lane on which it is not told of is left
    /// out while such an old one tells the same receiver.
    pub(super) fn lanes_of(&self, alert: AlertId, labels: &LabelSet, change: Change) -> Vec<LaneId> {
        let mut lanes = self.lanes.matching(&self.policy, labels);
        // An old lane on which only the incident lives goes first, if the alert goes on elsewhere.
        let goes_on = |receiver: &SmolStr| {
            let live = |lane: &LaneId| self.alerts.track(alert, *lane).is_some_and(Track::is_live);
            lanes.iter().any(|lane| self.lanes.lane(*lane).receiver == *receiver && live(lane))
        };
        let old: Vec<LaneId> = self
            .alerts
            .tracks_of(alert)
            .filter(|(lane, _)| !lanes.contains(lane))
            .filter(|(lane, track)| self.is_told(track) || self.is_mirrored(alert, *lane))
            .filter(|(lane, track)| track.is_live() || !goes_on(&self.lanes.lane(*lane).receiver))
            .map(|(lane, _)| lane)
            .collect();
        if !old.is_empty() && change != Change::UnknownResolved {
            let told = |lane: &LaneId| {
                let receiver = &self.lanes.lane(*lane).receiver;
                old.iter().any(|o| self.lanes.lane(*o).receiver == *receiver)
            };
            let taken = |lane: &LaneId| self.alerts.track(alert, *lane).is_some_and(|t| self.is_told(t));
            lanes.retain(|lane| taken(lane) || !told(lane));
        }
        lanes.extend(old);
        lanes
    }

    /// The routes changed: what fires and is not told of where it belongs now enters anew there.
    /// Upstream may not say it again for hours.
    pub(super) fn readmit(&mut self) {
        let firing = self.alerts.iter().filter(|(_, alert)| alert.firing());
        let firing: Vec<_> = firing.map(|(id, alert)| (*id, alert.labels.clone())).collect();
        for (alert, labels) in firing {
            for lane in self.lanes_of(alert, &labels, Change::None) {
                let live = self.alerts.track(alert, lane).is_some_and(Track::is_live);
                if !live && !self.lanes.lane(lane).integrations.is_empty() {
                    self.routed(lane, 1);
                    self.duplicate(alert, lane, Change::Fired, Status::Firing);
                    self.mirror_alone(alert, lane);
                }
            }
        }
    }

    fn is_told(&self, track: &Track) -> bool {
        let alive = |id| self.incidents.get(&id).is_some_and(|i| i.phase != Phase::Closed);
        track.is_live() || track.incident().is_some_and(alive)
    }

    /// Duplicate: what repeats the current state of an occurrence goes no further.
    pub(super) fn duplicate(&mut self, alert: AlertId, lane: LaneId, change: Change, status: Status) {
        let track = self.alerts.track(alert, lane);
        // What an incident is told of goes on to its end, whatever became of its receiver meanwhile.
        let live = track.is_some_and(Track::is_live);
        if self.lanes.lane(lane).integrations.is_empty() && !live {
            return self.suppress(alert, lane, 1, Cause::NoIntegration, None);
        }
        let unknown_here = track.is_none();
        let heartbeat = || {
            let known = self.alerts.alert(alert)?;
            self.policy.heartbeat_of(&known.labels)
        };
        if let Some(heartbeat) = Some(()).filter(|()| !live).and_then(|()| heartbeat()) {
            let cause = Cause::Heartbeat { name: heartbeat.name.clone() };
            return self.suppress(alert, lane, 1, cause, None);
        }
        match change {
            Change::None if !live && status == Status::Firing && self.fires(alert) => {
                self.fire(alert, lane, 1, 1);
            }
            Change::None => {
                let cause = match status {
                    Status::Firing if !self.fires(alert) => Cause::Disputed { within: REFIRE_WAIT },
                    status => Cause::Repeat { status },
                };
                self.suppress(alert, lane, 1, cause, None);
            }
            Change::UnknownResolved => self.suppress(alert, lane, 1, Cause::UnknownAlert, None),
            Change::Fired => self.fire(alert, lane, 1, 1),
            // Its resolve counted as a change already, and it took nothing back.
            Change::Believed => self.fire(alert, lane, 1, 0),
            Change::Restarted { last_seen } => self.restart(alert, lane, last_seen),
            Change::Resolved if unknown_here => self.suppress(alert, lane, 1, Cause::NeverPaged, None),
            Change::Resolved => self.resolve(alert, lane, 1),
        }
    }

    /// Silence, mute window and inhibition; then flap damping, first half: an alert starts to fire.
    /// `waiting` observations say so.
    pub(super) fn fire(&mut self, alert: AlertId, lane: LaneId, waiting: u64, changes: u32) {
        if let Some(cause) = self.mutes.cause(&self.alerts, alert, self.lanes.lane(lane)) {
            // Flapping ends with or without the mute, and then owes a page.
            self.confirm_later(alert, lane);
            return self.mute(alert, lane, waiting, cause);
        }
        self.track(alert, lane).unmute();
        self.damp(alert, lane, changes);
        self.confirm_later(alert, lane);
        let track = self.track(alert, lane);
        track.waiting += waiting;
        match track.state() {
            // It flaps: its resolve is withheld, and this takes it back.
            State::Gathering(_) | State::Withheld(_) | State::Notified { .. } => self.refire(alert, lane),
            State::Held(_) => {}
            State::Idle | State::Muted(_) => self.hold(alert, lane),
        }
    }

    /// Hold: the first page waits, from `startsAt` and at most as long from receipt, unless the
    /// level says that it never does.
    fn hold(&mut self, alert: AlertId, lane: LaneId) {
        match self.held_by_level(alert) {
            Some(until) if until > self.now => self.hold_until(alert, lane, until),
            Some(_) => self.admit(alert, lane),
            None => {}
        }
    }

    /// Until when the severity of an alert holds its first page; now at the earliest. None if the alert is
    /// not known.
    pub(super) fn held_by_level(&self, alert: AlertId) -> Option<Timestamp> {
        let known = self.alerts.alert(alert)?;
        let level = &self.policy.severities.levels[self.policy.severities.level_of(&known.labels)];
        let until = self.alerts.began(known) + level.hold;
        Some(if level.never_hold { self.now } else { until.max(self.now) })
    }

    /// The page of an alert is held until then.
    pub(super) fn hold_until(&mut self, alert: AlertId, lane: LaneId, until: Timestamp) {
        if self.track(alert, lane).hold(until) {
            self.timers.set(Timer::Hold(lane, alert), until);
            self.gauges(lane).held += 1;
        }
    }

    /// The hold is over and the alert still fires.
    pub(super) fn hold_ended(&mut self, lane: LaneId, alert: AlertId) {
        if self.track(alert, lane).end_hold() {
            self.gauges(lane).held -= 1;
            self.admit(alert, lane);
        }
    }

    /// Group: the alert finds its incident, or a place in the next page.
    pub(super) fn admit(&mut self, alert: AlertId, lane: LaneId) {
        if self.lanes.lane(lane).integrations.is_empty() {
            // It was held, and its receiver lost them meanwhile.
            let held = std::mem::take(&mut self.track(alert, lane).waiting);
            self.suppress(alert, lane, held, Cause::NoIntegration, None);
            return self.remember(alert, lane);
        }
        let Some(labels) = self.alerts.alert(alert).map(|a| a.labels.clone()) else { return };
        let key = self.group_key(lane, &labels);
        self.bound_groups(&key);
        let firing = self.remember_series(&key, &labels);
        let name = self.rolls_by(&labels);
        let track = self.alerts.track_mut(alert, lane);
        let mut count = std::mem::take(&mut track.waiting);
        let flaps = track.damping.flaps();
        let noise = &self.lanes.lane(lane).noise;
        let group = self.groups.entry(key.clone()).or_default();
        self.timers.clear(&Timer::ForgetGroup(key.clone()));
        count += group.take_ended(alert);
        match groups::place(self.now, alert, track.incident(), group, &self.incidents, noise, name) {
            Place::Rejoin(id) | Place::Join(id) => {
                self.join(id, alert, lane, count, flaps);
                // It was gone for a moment, and its incident owes a page still.
                if let Some(flaps) = self.track(alert, lane).owed.take() {
                    self.fires_on(alert, lane, flaps);
                }
                // Its incident may be one of merged pages.
                self.forget_group_later(&key);
            }
            Place::Next => {
                self.track(alert, lane).owed = None;
                self.gather(&key, alert, &labels, count, firing);
            }
        }
    }

    /// A resolve went unheard: the former occurrence ended when it was last heard of.
    fn restart(&mut self, alert: AlertId, lane: LaneId, last_seen: Timestamp) {
        let track = self.track(alert, lane);
        if track.damping.flaps().is_none() && track.is_admitted() {
            self.damp(alert, lane, 1);
            if self.track(alert, lane).damping.flaps().is_none() {
                self.retire(alert, lane, 0, last_seen);
            }
        }
        self.fire(alert, lane, 1, 1);
    }

    /// Flap damping, second half: an alert stops to fire. `waiting` observations say so.
    pub(super) fn resolve(&mut self, alert: AlertId, lane: LaneId, waiting: u64) {
        if self.resolved_muted(alert, lane, waiting) {
            return;
        }
        self.damp(alert, lane, 1);
        self.timers.clear(&Timer::Confirm(lane, alert));
        let track = self.track(alert, lane);
        if track.end_hold() {
            let held = std::mem::take(&mut track.waiting);
            self.timers.clear(&Timer::Hold(lane, alert));
            self.gauges(lane).held -= 1;
            self.never_paged(alert, lane, held, waiting);
            return self.remember(alert, lane);
        }
        if !track.is_admitted() {
            return self.suppress(alert, lane, waiting, Cause::NeverPaged, None);
        }
        // Damping withholds the resolve of an alert that somebody was notified of, and of no other one.
        if track.damping.flaps().is_some() && track.notified_in().is_some() {
            track.waiting += waiting;
            return;
        }
        self.retire(alert, lane, waiting, self.now);
    }

    pub(super) fn never_paged(&mut self, alert: AlertId, lane: LaneId, fired: u64, resolved: u64) {
        self.suppress(alert, lane, fired, Cause::ResolvedWhileWaiting, None);
        self.suppress(alert, lane, resolved, Cause::NeverPaged, None);
    }

    /// The alert no longer fires, and what is behind this stage is told so.
    pub(super) fn retire(&mut self, alert: AlertId, lane: LaneId, waiting: u64, at: Timestamp) {
        let track = self.track(alert, lane);
        let before = track.end();
        let incident = track.incident();
        self.remember(alert, lane);
        if let State::Gathering(group) | State::Withheld(group) = before
            && self.recover(alert, lane, &group, waiting)
        {
            return;
        }
        let elsewhere = self.taken_lanes(alert).into_iter().any(|other| {
            let track = self.track(alert, other);
            track.notified_in() == incident
        });
        if elsewhere && incident.is_some() {
            // Merged pages: it stands in one incident by two ways, and one of them withholds its resolve.
            return self.suppress(alert, lane, waiting, Cause::OtherRoute, None);
        }
        let member =
            incident.and_then(|id| self.incidents.get_mut(&id)).map(|i| (&mut i.members, &mut i.waiting));
        if let Some((members, queue)) = member
            && members.change(&alert, |member| member.ends(at))
        {
            if waiting > 0 {
                queue.push((alert, waiting));
            }
            self.touched.extend(incident);
            self.ended(alert);
        } else {
            self.suppress(alert, lane, waiting, Cause::NoIncident, None);
        }
    }

    pub(super) fn suppress(
        &mut self,
        alert: AlertId,
        lane: LaneId,
        count: u64,
        cause: Cause,
        release: Option<Timestamp>,
    ) {
        if count > 0 {
            let basis = self.basis(alert, lane, cause.reason());
            self.suppress_by(alert, lane, count, (cause, release), basis);
        }
    }

    /// Suppresses what rests on `basis`.
    pub(super) fn suppress_by(
        &mut self,
        alert: AlertId,
        lane: LaneId,
        count: u64,
        (cause, release): (Cause, Option<Timestamp>),
        basis: Basis,
    ) {
        let reason = cause.reason();
        self.held_back(alert, lane, reason, count);
        let incident = self.incident_key(alert, lane);
        let Self { lanes, ledger, alerts, now, .. } = self;
        let lane = (lane, lanes.lane(lane));
        if reason == Reason::Duplicate && lane.1.observes() && alerts.alert(alert).is_some() {
            // The sender's own repeats are told one by one. What they would have been is told as one.
            let (of, why) = ((alert, lane.0), (reason, incident));
            return ledger.dispose_repeats(*now, count, of, why, (alerts, lanes));
        }
        let (known, disposition) = (alerts.alert_mut(alert), Disposition::Suppressed(reason));
        let verdict = Verdict { alert, known, lane, incident, disposition, cause, release, basis };
        ledger.dispose(*now, count, verdict);
    }

    /// The `dedup_key` of the incident that an alert is in, or was in last; empty if it is not known.
    pub(super) fn incident_key(&self, alert: AlertId, lane: LaneId) -> SmolStr {
        let incident = self.alerts.track(alert, lane).and_then(|t| self.incidents.get(&t.incident()?));
        incident.map(|i| i.dedup_key.clone()).unwrap_or_default()
    }

    /// The group of an alert; labels that do not make it another alert do not make another group.
    pub(super) fn group_key(&self, lane: LaneId, labels: &LabelSet) -> super::GroupKey {
        let telling = self.policy.telling(labels);
        (lane, self.lanes.lane(lane).group_by.labels_of(telling.as_ref().unwrap_or(labels)))
    }

    pub(super) fn fires(&self, alert: AlertId) -> bool {
        self.alerts.alert(alert).is_some_and(super::alerts::Alert::firing)
    }

    pub(super) fn taken_lanes(&self, alert: AlertId) -> Vec<LaneId> {
        self.alerts.tracks_of(alert).map(|(lane, _)| lane).collect()
    }

    pub(super) fn track(&mut self, alert: AlertId, lane: LaneId) -> &mut Track {
        self.alerts.track_mut(alert, lane)
    }

    pub(super) fn gauges(&mut self, lane: LaneId) -> &mut super::ReceiverStats {
        let Self { lanes, ledger, .. } = self;
        ledger.account(lanes.lane(lane))
    }

    /// By what name an alert may join an incident that rolls on; by none, if its level is never held.
    pub(super) fn rolls_by<'a>(&self, labels: &'a LabelSet) -> Option<&'a str> {
        let severities = &self.policy.severities;
        let exempt = severities.levels[severities.level_of(labels)].never_hold;
        Some(labels.value("alertname")).filter(|_| !exempt)
    }

    /// Counts observations that took a lane; they are pending until disposed.
    pub(super) fn routed(&mut self, lane: LaneId, count: u64) {
        let account = self.gauges(lane);
        account.routed += count;
        account.pending += count;
    }

    /// The group is forgotten a day after its last incident, and its generations with it; a month
    /// after, where a key of it may still be open at a receiver that is told of no ends: a page
    /// under an open key would be silent.
    pub(super) fn forget_group_later(&mut self, key: &super::GroupKey) {
        let Some(group) = self.groups.get(key).filter(|g| g.is_idle()) else { return };
        let days = if group.left_open { 30 } else { 1 };
        self.timers.set(Timer::ForgetGroup(key.clone()), self.now + Duration::from_hours(24 * days));
    }
}
