//! The way of an observation, top to bottom in the order in which it meets the stages:
//! normalise → route → then per (route, receiver): duplicate → silence, mute window, inhibition → flap
//! damping → hold → group.

use smol_str::SmolStr;

use super::Engine;
use super::alerts::Change;
use super::groups::{self, Place};
use super::incident::Phase;
use super::incidents::Incidents;
use super::lanes::LaneId;
use super::ledger::Verdict;
use super::members::{Level, UNKNOWN};
use super::occurrences::{PeerId, REFIRE_WAIT};
use super::pages::Pages;
use super::state::{State, Track};
use super::timers::Timer;
use super::world::World;
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
        let batch = &*self.checks.by_clock(&mut self.world, batch, peer);
        // The order in a request means nothing. Firings go first, so that an alert of which one full label
        // set follows another one fires throughout.
        let (firing, resolved): (Vec<_>, Vec<_>) =
            batch.observations.iter().partition(|observation| observation.status == Status::Firing);
        for observation in firing.into_iter().chain(resolved) {
            self.world.ledger.received(batch.source, observation.status, 1);
            let instance = AlertId::of(&observation.labels, |_| false);
            let alert = self.world.alerts.owner(instance, &observation.labels, &self.world.policy);
            if self.checks.is_aside(alert) {
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
                Change::Fired | Change::Believed | Change::Restarted { .. } => self.world.watch_alert(alert),
                Change::Resolved => self.pages.incidents.ended(&mut self.world, alert),
                Change::None | Change::UnknownResolved => {}
            }
            let level = self.world.level_of(alert);
            if level != before {
                self.pages.leveled(&mut self.world, alert, level);
            }
            let rose = fired.is_some() && level < before && change == Change::None && self.world.fires(alert);
            heard.push((alert, change, observation, rose));
        }
        self.checks.watch_labels(&mut self.world, &heard);
        self.remute();
        let mut observed = Vec::new();
        for (alert, change, observation, rose) in heard {
            let mut mirrored = Vec::new();
            for lane in self.pages.lanes_of(&self.world, alert, &observation.labels, change) {
                self.world.routed(lane, 1);
                self.duplicate(alert, lane, change, observation.status);
                if self.world.lanes.lane(lane).observes() {
                    mirrored.push(lane);
                }
            }
            if rose {
                self.pages.rose(&mut self.world, alert);
            }
            observed.push((alert, observation.status, mirrored));
        }
        self.pages.mirrors.mirror(&mut self.world, &mut self.pages.incidents, batch, observed);
    }

    /// The routes changed: what fires and is not told of where it belongs now enters anew there.
    /// Upstream may not say it again for hours.
    pub(super) fn readmit(&mut self) {
        let firing = self.world.alerts.iter().filter(|(_, alert)| alert.firing());
        let firing: Vec<_> = firing.map(|(id, alert)| (*id, alert.labels.clone())).collect();
        for (alert, labels) in firing {
            for lane in self.pages.lanes_of(&self.world, alert, &labels, Change::None) {
                let live = self.world.alerts.track(alert, lane).is_some_and(Track::is_live);
                if !live && !self.world.lanes.lane(lane).integrations.is_empty() {
                    self.world.routed(lane, 1);
                    self.duplicate(alert, lane, Change::Fired, Status::Firing);
                    self.pages.mirrors.mirror_alone(&mut self.world, &mut self.pages.incidents, alert, lane);
                }
            }
        }
    }

    /// Duplicate: what repeats the current state of an occurrence goes no further.
    pub(super) fn duplicate(&mut self, alert: AlertId, lane: LaneId, change: Change, status: Status) {
        let track = self.world.alerts.track(alert, lane);
        // What an incident is told of goes on to its end, whatever became of its receiver meanwhile.
        let live = track.is_some_and(Track::is_live);
        if self.world.lanes.lane(lane).integrations.is_empty() && !live {
            return self.pages.suppress(&mut self.world, alert, lane, 1, Cause::NoIntegration, None);
        }
        let unknown_here = track.is_none();
        let heartbeat = || {
            let known = self.world.alerts.alert(alert)?;
            self.world.policy.heartbeat_of(&known.labels)
        };
        if let Some(heartbeat) = Some(()).filter(|()| !live).and_then(|()| heartbeat()) {
            let cause = Cause::Heartbeat { name: heartbeat.name.clone() };
            return self.pages.suppress(&mut self.world, alert, lane, 1, cause, None);
        }
        match change {
            Change::None if !live && status == Status::Firing && self.world.fires(alert) => {
                self.fire(alert, lane, 1, 1);
            }
            Change::None => {
                let cause = match status {
                    Status::Firing if !self.world.fires(alert) => Cause::Disputed { within: REFIRE_WAIT },
                    status => Cause::Repeat { status },
                };
                self.pages.suppress(&mut self.world, alert, lane, 1, cause, None);
            }
            Change::UnknownResolved => {
                self.pages.suppress(&mut self.world, alert, lane, 1, Cause::UnknownAlert, None)
            }
            Change::Fired => self.fire(alert, lane, 1, 1),
            // Its resolve counted as a change already, and it took nothing back.
            Change::Believed => self.fire(alert, lane, 1, 0),
            Change::Restarted { last_seen } => self.restart(alert, lane, last_seen),
            Change::Resolved if unknown_here => {
                self.pages.suppress(&mut self.world, alert, lane, 1, Cause::NeverPaged, None)
            }
            Change::Resolved => self.pages.resolve(&mut self.world, alert, lane, 1),
        }
    }

    /// Silence, mute window and inhibition; then flap damping, first half: an alert starts to fire.
    /// `waiting` observations say so.
    pub(super) fn fire(&mut self, alert: AlertId, lane: LaneId, waiting: u64, changes: u32) {
        if let Some(cause) = self.mutes.cause(&self.world.alerts, alert, self.world.lanes.lane(lane)) {
            // Flapping ends with or without the mute, and then owes a page.
            self.world.confirm_later(alert, lane);
            return self.pages.mute(&mut self.world, alert, lane, waiting, cause);
        }
        self.world.track(alert, lane).unmute();
        self.pages.incidents.damp(&mut self.world, alert, lane, changes);
        self.world.confirm_later(alert, lane);
        let track = self.world.track(alert, lane);
        track.waiting += waiting;
        match track.state() {
            // It flaps: its resolve is withheld, and this takes it back.
            State::Gathering(_) | State::Withheld(_) | State::Notified { .. } => {
                self.pages.refire(&mut self.world, alert, lane)
            }
            State::Held(_) => {}
            State::Idle | State::Muted(_) => self.pages.hold(&mut self.world, alert, lane),
        }
    }

    /// A resolve went unheard: the former occurrence ended when it was last heard of.
    fn restart(&mut self, alert: AlertId, lane: LaneId, last_seen: Timestamp) {
        let track = self.world.track(alert, lane);
        if track.damping.flaps().is_none() && track.is_admitted() {
            self.pages.incidents.damp(&mut self.world, alert, lane, 1);
            if self.world.track(alert, lane).damping.flaps().is_none() {
                self.pages.retire(&mut self.world, alert, lane, 0, last_seen);
            }
        }
        self.fire(alert, lane, 1, 1);
    }
}

impl Pages {
    /// The severity of an alert changed, which `ignore_labels` may let it: its incidents know.
    fn leveled(&mut self, world: &mut World, alert: AlertId, level: Level) {
        let told = world
            .taken_lanes(alert)
            .into_iter()
            .filter_map(|lane| world.alerts.track(alert, lane)?.incident());
        let shown = self.mirrors.open.values().map(|mirror| mirror.incident);
        for id in told.chain(shown).collect::<Vec<_>>() {
            if let Some(incident) = self.incidents.all.get_mut(&id) {
                incident.members.change(&alert, |member| {
                    member.level = if member.firing { level } else { UNKNOWN };
                });
            }
        }
    }

    /// The severity of an alert rose while it fires, which `ignore_labels` may let it: what waits with it
    /// waits no longer than the new level does, and its incident may be worse.
    fn rose(&mut self, world: &mut World, alert: AlertId) {
        for lane in world.taken_lanes(alert) {
            if world.track(alert, lane).muted().is_some() {
                continue;
            }
            if world.track(alert, lane).end_hold() {
                world.timers.clear(&Timer::Hold(lane, alert));
                world.gauges(lane).held -= 1;
                self.hold(world, alert, lane);
            } else if let Some(group) = world.track(alert, lane).leave_group() {
                let count = self.leave_wait(world, alert, &group);
                world.track(alert, lane).waiting += count;
                self.hold(world, alert, lane);
            } else {
                let incident = world.track(alert, lane).incident();
                self.incidents.touched.extend(incident);
            }
        }
    }

    /// The lanes that an observation takes: those that match, and those that the configuration no
    /// longer has but on which the alert is still told of. A lane on which it is not told of is left
    /// out while such an old one tells the same receiver.
    pub(super) fn lanes_of(
        &self,
        world: &World,
        alert: AlertId,
        labels: &LabelSet,
        change: Change,
    ) -> Vec<LaneId> {
        let mut lanes = world.lanes.matching(&world.policy, labels);
        // An old lane on which only the incident lives goes first, if the alert goes on elsewhere.
        let goes_on = |receiver: &SmolStr| {
            let live = |lane: &LaneId| world.alerts.track(alert, *lane).is_some_and(Track::is_live);
            lanes.iter().any(|lane| world.lanes.lane(*lane).receiver == *receiver && live(lane))
        };
        let old: Vec<LaneId> = world
            .alerts
            .tracks_of(alert)
            .filter(|(lane, _)| !lanes.contains(lane))
            .filter(|(lane, track)| {
                self.incidents.is_told(track)
                    || self.mirrors.is_mirrored(world, &self.incidents, alert, *lane)
            })
            .filter(|(lane, track)| track.is_live() || !goes_on(&world.lanes.lane(*lane).receiver))
            .map(|(lane, _)| lane)
            .collect();
        if !old.is_empty() && change != Change::UnknownResolved {
            let told = |lane: &LaneId| {
                let receiver = &world.lanes.lane(*lane).receiver;
                old.iter().any(|o| world.lanes.lane(*o).receiver == *receiver)
            };
            let taken =
                |lane: &LaneId| world.alerts.track(alert, *lane).is_some_and(|t| self.incidents.is_told(t));
            lanes.retain(|lane| taken(lane) || !told(lane));
        }
        lanes.extend(old);
        lanes
    }

    /// Hold: the first page waits, from `startsAt` and at most as long from receipt, unless the
    /// level says that it never does.
    fn hold(&mut self, world: &mut World, alert: AlertId, lane: LaneId) {
        match world.held_by_level(alert) {
            Some(until) if until > world.now => world.hold_until(alert, lane, until),
            Some(_) => self.admit(world, alert, lane),
            None => {}
        }
    }

    /// The hold is over and the alert still fires.
    pub(super) fn hold_ended(&mut self, world: &mut World, lane: LaneId, alert: AlertId) {
        if world.track(alert, lane).end_hold() {
            world.gauges(lane).held -= 1;
            self.admit(world, alert, lane);
        }
    }

    /// Group: the alert finds its incident, or a place in the next page.
    pub(super) fn admit(&mut self, world: &mut World, alert: AlertId, lane: LaneId) {
        if world.lanes.lane(lane).integrations.is_empty() {
            // It was held, and its receiver lost them meanwhile.
            let held = std::mem::take(&mut world.track(alert, lane).waiting);
            self.suppress(world, alert, lane, held, Cause::NoIntegration, None);
            return world.remember(alert, lane);
        }
        let Some(labels) = world.alerts.alert(alert).map(|a| a.labels.clone()) else { return };
        let key = world.group_key(lane, &labels);
        self.bound_groups(world, &key);
        let firing = self.remember_series(world, &key, &labels);
        let name = world.rolls_by(&labels);
        let track = world.alerts.track_mut(alert, lane);
        let mut count = std::mem::take(&mut track.waiting);
        let flaps = track.damping.flaps();
        let noise = &world.lanes.lane(lane).noise;
        let group = self.groups.entry(key.clone()).or_default();
        world.timers.clear(&Timer::ForgetGroup(key.clone()));
        count += group.take_ended(alert);
        match groups::place(world.now, alert, track.incident(), group, &self.incidents.all, noise, name) {
            Place::Rejoin(id) | Place::Join(id) => {
                self.incidents.join(world, id, alert, lane, count, flaps);
                // It was gone for a moment, and its incident owes a page still.
                if let Some(flaps) = world.track(alert, lane).owed.take() {
                    self.fires_on(world, alert, lane, flaps);
                }
                // Its incident may be one of merged pages.
                self.forget_group_later(world, &key);
            }
            Place::Next => {
                world.track(alert, lane).owed = None;
                self.gather(world, &key, alert, &labels, count, firing);
            }
        }
    }

    /// Flap damping, second half: an alert stops to fire. `waiting` observations say so.
    pub(super) fn resolve(&mut self, world: &mut World, alert: AlertId, lane: LaneId, waiting: u64) {
        if self.resolved_muted(world, alert, lane, waiting) {
            return;
        }
        self.incidents.damp(world, alert, lane, 1);
        world.timers.clear(&Timer::Confirm(lane, alert));
        let track = world.track(alert, lane);
        if track.end_hold() {
            let held = std::mem::take(&mut track.waiting);
            world.timers.clear(&Timer::Hold(lane, alert));
            world.gauges(lane).held -= 1;
            self.never_paged(world, alert, lane, held, waiting);
            return world.remember(alert, lane);
        }
        if !track.is_admitted() {
            return self.suppress(world, alert, lane, waiting, Cause::NeverPaged, None);
        }
        // Damping withholds the resolve of an alert that somebody was notified of, and of no other one.
        if track.damping.flaps().is_some() && track.notified_in().is_some() {
            track.waiting += waiting;
            return;
        }
        self.retire(world, alert, lane, waiting, world.now);
    }

    pub(super) fn never_paged(
        &mut self,
        world: &mut World,
        alert: AlertId,
        lane: LaneId,
        fired: u64,
        resolved: u64,
    ) {
        self.suppress(world, alert, lane, fired, Cause::ResolvedWhileWaiting, None);
        self.suppress(world, alert, lane, resolved, Cause::NeverPaged, None);
    }

    /// The alert no longer fires, and what is behind this stage is told so.
    pub(super) fn retire(
        &mut self,
        world: &mut World,
        alert: AlertId,
        lane: LaneId,
        waiting: u64,
        at: Timestamp,
    ) {
        let track = world.track(alert, lane);
        let before = track.end();
        let incident = track.incident();
        world.remember(alert, lane);
        if let State::Gathering(group) | State::Withheld(group) = before
            && self.recover(world, alert, lane, &group, waiting)
        {
            return;
        }
        let elsewhere = world.taken_lanes(alert).into_iter().any(|other| {
            let track = world.track(alert, other);
            track.notified_in() == incident
        });
        if elsewhere && incident.is_some() {
            // Merged pages: it stands in one incident by two ways, and one of them withholds its resolve.
            return self.suppress(world, alert, lane, waiting, Cause::OtherRoute, None);
        }
        let member =
            incident.and_then(|id| self.incidents.all.get_mut(&id)).map(|i| (&mut i.members, &mut i.waiting));
        if let Some((members, queue)) = member
            && members.change(&alert, |member| member.ends(at))
        {
            if waiting > 0 {
                queue.push((alert, waiting));
            }
            self.incidents.touched.extend(incident);
            self.incidents.ended(world, alert);
        } else {
            self.suppress(world, alert, lane, waiting, Cause::NoIncident, None);
        }
    }

    pub(super) fn suppress(
        &mut self,
        world: &mut World,
        alert: AlertId,
        lane: LaneId,
        count: u64,
        cause: Cause,
        release: Option<Timestamp>,
    ) {
        if count > 0 {
            let basis = self.basis(world, alert, lane, cause.reason());
            self.suppress_by(world, alert, lane, count, (cause, release), basis);
        }
    }

    /// Suppresses what rests on `basis`.
    pub(super) fn suppress_by(
        &mut self,
        world: &mut World,
        alert: AlertId,
        lane: LaneId,
        count: u64,
        (cause, release): (Cause, Option<Timestamp>),
        basis: Basis,
    ) {
        let reason = cause.reason();
        self.digests.held_back(world, alert, lane, reason, count);
        let incident = self.incidents.incident_key(world, alert, lane);
        let World { lanes, ledger, alerts, now, .. } = world;
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

    /// The group is forgotten a day after its last incident, and its generations with it; a month
    /// after, where a key of it may still be open at a receiver that is told of no ends: a page
    /// under an open key would be silent.
    pub(super) fn forget_group_later(&mut self, world: &mut World, key: &super::GroupKey) {
        let Some(group) = self.groups.get(key).filter(|g| g.is_idle()) else { return };
        let days = if group.left_open { 30 } else { 1 };
        world.timers.set(Timer::ForgetGroup(key.clone()), world.now + Duration::from_hours(24 * days));
    }
}

impl Incidents {
    /// What is known of alerts or of severities was read anew: so are the levels of what is told.
    pub(super) fn level_all(&mut self, world: &mut World) {
        for mut incident in std::mem::take(&mut self.all) {
            incident.1.members.level(|alert| world.level_of(alert));
            self.all.insert(incident.0, incident.1);
        }
    }

    fn is_told(&self, track: &Track) -> bool {
        let alive = |id| self.all.get(&id).is_some_and(|i| i.phase != Phase::Closed);
        track.is_live() || track.incident().is_some_and(alive)
    }

    /// The `dedup_key` of the incident that an alert is in, or was in last; empty if it is not known.
    pub(super) fn incident_key(&self, world: &World, alert: AlertId, lane: LaneId) -> SmolStr {
        let incident = world.alerts.track(alert, lane).and_then(|t| self.all.get(&t.incident()?));
        incident.map(|i| i.dedup_key.clone()).unwrap_or_default()
    }
}

impl World {
    /// The severity level of an alert.
    pub(super) fn level_of(&self, alert: AlertId) -> Level {
        let level = |known: &super::alerts::Alert| self.policy.severities.level_of(&known.labels);
        self.alerts.alert(alert).map_or(UNKNOWN, |known| level(known).try_into().unwrap_or(UNKNOWN - 1))
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
        let World { lanes, ledger, .. } = self;
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
}
