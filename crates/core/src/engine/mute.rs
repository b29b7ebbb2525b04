//! Muting: what a silence, a mute window or a firing inhibitor keeps from notifying, and until when.
//!
//! It keeps back what starts to fire, never the resolve of an open incident. What still fires when
//! the last cause ends enters anew, as an observation of the engine's own.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use smol_str::format_smolstr;

use super::Engine;
use super::Stats;
use super::alerts::{Alerts, Change};
use super::incident::IncidentId;
use super::incidents::Incidents;
use super::inhibition::Inhibition;
use super::intervals::Intervals;
use super::lanes::{Lane, LaneId};
use super::pages::Pages;
use super::query::Query;
use super::silences::Silences;
use super::state::{State, Track};
use super::timers::Timer;
use super::world::World;
use crate::model::{
    AlertId, Basis, Cause, Duration, Fingerprint, LabelSet, Reason, Silence, SilenceChange, SilenceError,
    SilenceRequest, SilenceState, Status, Timestamp,
};
use crate::policy::{Lines, Policy};

/// The three stages that mute, and what they know of the alerts.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mutes {
    silences: Silences,
    intervals: Intervals,
    #[serde(skip)]
    inhibition: Inhibition,
    /// Where rules and intervals stand in the configuration.
    #[serde(skip)]
    lines: Lines,
    /// Alerts for which something may have changed; empty between events.
    #[serde(skip)]
    dirty: BTreeSet<AlertId>,
}

/// What mutes an alert at a lane.
pub(super) struct Muting {
    pub(super) cause: Cause,
    /// When it ends, where that is known.
    pub(super) release: Option<Timestamp>,
    /// The setting, and its line.
    pub(super) basis: Basis,
}

impl Muting {
    /// Whether another alert is the cause, and no person and no time.
    pub(super) fn is_inhibition(&self) -> bool {
        self.cause.reason() == Reason::Inhibited
    }
}

impl Mutes {
    /// What follows from the policy and the firing alerts, made anew.
    pub(super) fn reindexed(&self, policy: &Policy, alerts: &Alerts) -> Self {
        let mut mutes = Mutes {
            silences: self.silences.clone(),
            intervals: self.intervals.clone(),
            inhibition: Inhibition::new(&policy.inhibit_rules),
            lines: policy.lines.clone(),
            ..Mutes::default()
        };
        mutes.silences.refit(policy.limits.silences);
        for (id, alert) in alerts.iter() {
            mutes.heard(*id, None, Some(&alert.labels).filter(|_| alert.firing()));
        }
        mutes.dirty.clear();
        mutes
    }

    /// What concerns an alert with these labels, for a copy of the engine with `alerts`.
    pub(super) fn only(&self, policy: &Policy, alerts: &Alerts, labels: &LabelSet) -> Self {
        let silences = self.silences.only(labels);
        Mutes { silences, intervals: self.intervals.clone(), ..Mutes::default() }.reindexed(policy, alerts)
    }

    /// The alert that mutes one with these labels, by the first rule that does.
    pub(super) fn inhibitor(&self, labels: &LabelSet) -> Option<AlertId> {
        self.inhibition.inhibitor(labels).map(|by| by.source)
    }

    /// Takes in that an alert that fired with the `old` labels, or, without, did not, fires with these.
    fn heard(&mut self, alert: AlertId, old: Option<&LabelSet>, labels: Option<&LabelSet>) {
        if old == labels {
            return;
        }
        if let Some(old) = old {
            self.inhibition.ends(alert, old, &mut self.dirty);
        }
        self.silences.heard(alert, labels);
        if let Some(labels) = labels {
            self.inhibition.fires(alert, labels, &mut self.dirty);
            if old.is_some() {
                self.dirty.insert(alert);
            }
        }
    }

    /// Why one of the alerts is muted at a lane, if it fires and is.
    pub(super) fn cause(&self, alerts: &Alerts, alert: AlertId, lane: &Lane) -> Option<Muting> {
        let labels = alerts.firing_labels(alert)?;
        if let Some(silence) = self.silences.silence_of(alert) {
            let release = Some(silence.ends_at);
            let basis = Basis { setting: format_smolstr!("silence {}", silence.id), ..Basis::default() };
            return Some(Muting { cause: cause_of(silence), release, basis });
        }
        if let Some((cause, release)) = self.intervals.muted(&lane.windows) {
            let basis = self.interval_basis(lane, &cause);
            return Some(Muting { cause, release, basis });
        }
        let by = self.inhibition.inhibitor(labels)?;
        let source = alerts.alert(by.source).map_or(Fingerprint(0), |source| Fingerprint::of(source.told()));
        let cause = Cause::Inhibited {
            source: format_smolstr!("{source}"),
            rule: by.number,
            name: by.rule.name.clone(),
        };
        let (index, setting) = (by.number - 1, format_smolstr!("inhibit_rules[{}]", by.number - 1));
        let line = self.lines.inhibit_rules.get(index).copied().unwrap_or(0);
        let basis = Basis { setting, line, ..Basis::default() };
        Some(Muting { cause, release: None, basis })
    }

    /// The time interval that `cause` names first.
    fn interval_basis(&self, lane: &Lane, cause: &Cause) -> Basis {
        let name = match cause {
            Cause::MuteInterval { name } => Some(name),
            Cause::ActiveIntervals { names } => names.first(),
            _ => None,
        };
        match name {
            Some(name) => Basis {
                setting: format_smolstr!("time_intervals.{name}"),
                line: self.lines.time_intervals.get(name).copied().unwrap_or(0),
                ..Basis::default()
            },
            None => lane.basis(),
        }
    }

    /// When to look at the clock next.
    fn next_change(&self) -> Option<Timestamp> {
        [self.silences.next_change(), self.intervals.next_change()].into_iter().flatten().min()
    }

    /// Counts the silences.
    pub(super) fn count(&self, stats: &mut Stats) {
        stats.silences = SilenceState::ALL.map(|state| (state, 0)).into();
        for (_, state) in self.silences.iter() {
            *stats.silences.entry(state).or_default() += 1;
        }
        stats.silences_without_room = self.silences.without_room().count() as u64;
    }
}

fn cause_of(silence: &Silence) -> Cause {
    let cut = |text: &str| text.chars().take(80).collect();
    let (created_by, comment) = (cut(&silence.created_by), cut(&silence.comment));
    Cause::Silenced { id: silence.id.clone(), created_by, comment }
}

impl Engine {
    /// A person changed a silence.
    pub(super) fn silence(&mut self, change: &SilenceChange) {
        let Mutes { silences, dirty, .. } = &mut self.mutes;
        let firing = self.world.alerts.iter().filter(|(_, alert)| alert.firing());
        silences.apply(self.world.now, change, firing.map(|(id, alert)| (*id, &alert.labels)), dirty);
        self.wind();
    }

    /// Takes in what is known of an alert now, before anything is decided about it; `before` are the labels
    /// with which it fired before, if it did.
    pub(super) fn heard(&mut self, alert: AlertId, before: Option<&LabelSet>) {
        self.mutes.heard(alert, before, self.world.alerts.firing_labels(alert));
    }

    /// Looks at the clock if it is time: silences and windows begin and end before anything else that
    /// is due, so that nothing leaves in the moment in which it is muted.
    pub(super) fn mute_clock(&mut self) {
        if self.world.timers.deadline(&Timer::Mute).is_none_or(|at| at > self.world.now) {
            return;
        }
        let Mutes { silences, dirty, .. } = &mut self.mutes;
        let firing = self.world.alerts.iter().filter(|(_, alert)| alert.firing());
        silences.pass(self.world.now, firing.map(|(id, alert)| (*id, &alert.labels)), dirty);
        let changed = self.mutes.intervals.pass(self.world.now, &self.world.policy.time_intervals);
        if !changed.is_empty() {
            let lanes = &self.world.lanes;
            let concerned =
                self.world.alerts.tracks().filter(|(_, lane, _)| lanes.lane(*lane).names_any(&changed));
            self.mutes.dirty.extend(concerned.map(|(alert, ..)| alert));
        }
        self.wind();
        self.remute();
    }

    fn wind(&mut self) {
        match self.mutes.next_change() {
            Some(at) => self.world.timers.set(Timer::Mute, at),
            None => self.world.timers.clear(&Timer::Mute),
        }
    }

    /// Takes a policy over, which is in place already.
    pub(super) fn mutes_adopt(&mut self) {
        self.mutes.intervals.adopt(self.world.now, &self.world.policy.time_intervals);
        self.mutes = self.mutes.reindexed(&self.world.policy, &self.world.alerts);
        self.wind();
        self.mutes.dirty.extend(self.world.alerts.tracks().map(|(alert, ..)| alert));
        self.remute();
        let muted = self.world.alerts.tracks().filter(|(.., t)| t.is_kept_by_mute());
        for (alert, lane) in muted.map(|(alert, lane, _)| (alert, lane)).collect::<Vec<_>>() {
            self.reroute(alert, lane);
        }
    }

    /// A muted alert that the routes take elsewhere now goes there: on its old lane nobody would hear
    /// of it, and upstream may not say it again for hours.
    /// Returns whether the routes do.
    fn reroute(&mut self, alert: AlertId, lane: LaneId) -> bool {
        let Some(known) = self.world.alerts.alert(alert).filter(|a| a.firing()) else { return false };
        let lanes = self.world.lanes.matching(&self.world.policy, &known.labels);
        if lanes.contains(&lane)
            || self.pages.mirrors.is_mirrored(&self.world, &self.pages.incidents, alert, lane)
        {
            return false;
        }
        self.world.track(alert, lane).unmute();
        self.world.remember(alert, lane);
        for new in lanes {
            if !self.world.alerts.track(alert, new).is_some_and(Track::is_live) {
                self.world.routed(new, 1);
                self.duplicate(alert, new, Change::Fired, Status::Firing);
                self.pages.mirrors.mirror_alone(&mut self.world, &mut self.pages.incidents, alert, new);
            }
        }
        true
    }

    /// Looks anew at what may be muted now, or not any more. Returns whether there was anything.
    pub(super) fn remute(&mut self) -> bool {
        let any = !self.mutes.dirty.is_empty();
        while let Some(alert) = self.mutes.dirty.pop_first() {
            if self.world.alerts.alert(alert).is_some_and(|a| a.firing()) {
                for lane in self.world.taken_lanes(alert) {
                    self.look_again(alert, lane);
                }
            }
        }
        any
    }

    fn look_again(&mut self, alert: AlertId, lane: LaneId) {
        let muting = self.mutes.cause(&self.world.alerts, alert, self.world.lanes.lane(lane));
        let track = self.world.track(alert, lane);
        match (track.muted(), muting) {
            (None, Some(muting)) if track.is_live() => {
                self.pages.mute(&mut self.world, alert, lane, 0, muting);
            }
            (Some(_), Some(muting)) => drop(track.mute(muting.cause.reason())),
            (Some(last), None) => {
                track.unmute();
                let after_inhibition = last == Reason::Inhibited;
                if track.notified_in().is_some() && track.owed.is_some() {
                    return self.pay(alert, lane, after_inhibition);
                }
                if !track.is_live() && !self.reroute(alert, lane) {
                    self.world.routed(lane, 1);
                    if after_inhibition {
                        self.settles(alert, lane);
                    }
                    self.fire(alert, lane, 1, 1);
                }
            }
            (None, _) => {}
        }
    }

    /// An inhibition ended, and its target fires on. The two mostly end together, some seconds apart, so
    /// the page of the target waits for one `group_interval`, whatever its severity: the outage was paged
    /// already, by the alert that inhibited.
    fn settles(&mut self, alert: AlertId, lane: LaneId) {
        let until = self.world.now + self.world.lanes.lane(lane).group_interval;
        // A longer hold of its severity goes on.
        let until = until.max(self.world.held_by_level(alert).unwrap_or(until));
        if until > self.world.now {
            self.world.hold_until(alert, lane, until);
        }
    }

    /// The page that an alert owes since it stopped flapping while it was muted.
    fn pay(&mut self, alert: AlertId, lane: LaneId, after_inhibition: bool) {
        let wait = match after_inhibition {
            true => self.world.lanes.lane(lane).group_interval,
            false => Duration::ZERO,
        };
        self.world.timers.set(Timer::Confirm(lane, alert), self.world.now + wait);
    }

    /// Brings back what a snapshot leaves out.
    pub(super) fn reindex(&mut self) {
        self.mutes = self.mutes.reindexed(&self.world.policy, &self.world.alerts);
        self.pages.incidents.level_all(&mut self.world);
        self.pages.incidents.kin_anew();
        self.world.alerts.rewind(&mut self.world.timers);
    }
}

impl<'a> Query<'a> {
    /// What granting a request about silences would change: journalled as [`super::Event::Silence`], it
    /// does so.
    ///
    /// # Errors
    /// It cannot be granted, and why.
    pub fn plan_silence(
        &self,
        now: Timestamp,
        request: &SilenceRequest,
    ) -> Result<SilenceChange, SilenceError> {
        self.mutes.silences.plan(self.world.now.max(now), request)
    }

    /// Every silence that is kept, with its state.
    pub fn silences(&self) -> Vec<(Silence, SilenceState)> {
        self.mutes.silences.iter().map(|(silence, state)| (silence.clone(), state)).collect()
    }

    /// The silences that silence nothing, because their expressions take more memory than silences may.
    pub fn silences_without_room(self) -> impl Iterator<Item = &'a Silence> {
        self.mutes.silences.without_room()
    }

    /// The silences that are kept, in the order of their ids, from behind `id` on.
    pub fn silences_after(self, id: Option<&str>) -> impl Iterator<Item = (&'a Silence, SilenceState)> {
        self.mutes.silences.after(id)
    }

    /// One silence, with its state.
    pub fn silence_by_id(self, id: &str) -> Option<(&'a Silence, SilenceState)> {
        self.mutes.silences.one(id)
    }
}

impl Pages {
    /// An alert that fires is muted; `count` observations say that it does. If it waits for its first
    /// page, that is called off. If a human knows of it, its incident goes on.
    pub(super) fn mute(
        &mut self,
        world: &mut World,
        alert: AlertId,
        lane: LaneId,
        count: u64,
        muting: Muting,
    ) {
        let Muting { cause, release, basis } = muting;
        let reason = cause.reason();
        let mut count = count;
        let track = world.track(alert, lane);
        match track.mute(reason) {
            State::Held(_) => {
                count += std::mem::take(&mut track.waiting);
                world.timers.clear(&Timer::Hold(lane, alert));
                world.gauges(lane).held -= 1;
            }
            State::Gathering(group) | State::Withheld(group) => {
                count += self.leave_wait(world, alert, &group)
            }
            State::Idle | State::Muted(_) | State::Notified { .. } => {}
        }
        let withheld = std::mem::take(&mut world.track(alert, lane).waiting);
        if withheld > 0 {
            let flapping = self.flapping_cause(world, alert, lane);
            self.suppress(world, alert, lane, withheld, flapping, None);
        }
        let basis = Basis { otherwise: self.otherwise(world, alert, lane, reason), ..basis };
        self.suppress_by(world, alert, lane, count, (cause, release), basis);
    }

    /// A muted alert resolves. Returns whether nobody was told of it, so that all is said.
    pub(super) fn resolved_muted(
        &mut self,
        world: &mut World,
        alert: AlertId,
        lane: LaneId,
        count: u64,
    ) -> bool {
        let track = world.track(alert, lane);
        let was_told = !track.is_kept_by_mute();
        track.unmute();
        if was_told {
            return false;
        }
        self.suppress(world, alert, lane, count, Cause::ResolvedWhileMuted, None);
        world.remember(alert, lane);
        true
    }
}

impl Incidents {
    /// Whether all that fires in an incident is muted: then it is not repeated.
    pub(super) fn is_muted(&self, world: &World, id: IncidentId) -> bool {
        let Some(incident) = self.all.get(&id).filter(|i| i.own.is_none()) else { return false };
        let mut firing = incident.members.that_fire(true);
        let muted = |alert| {
            let mut tracks = world.alerts.tracks_of(alert).filter(|(_, t)| t.notified_in() == Some(id));
            tracks.any(|(_, t)| t.muted().is_some())
        };
        firing.all(|(alert, _)| muted(*alert))
    }
}
