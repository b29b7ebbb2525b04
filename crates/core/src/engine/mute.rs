//! Muting: what a silence, a mute window or a firing inhibitor keeps from notifying, and until when.
//!
//! It keeps back what starts to fire, never the resolve of an open incident. What still fires when
//! the last cause ends enters anew, as an observation of the engine's own.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use smol_str::format_smolstr;

use super::alerts::{Alerts, Change};
use super::incident::IncidentId;
use super::inhibition::Inhibition;
use super::intervals::Intervals;
use super::lanes::{Lane, LaneId};
use super::silences::Silences;
use super::state::{State, Track};
use super::timers::Timer;
use super::{Engine, Stats};
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
        self.mutes.silences.plan(self.now.max(now), request)
    }

    /// Every silence that is kept, with its state.
    pub fn silences(&self) -> Vec<(Silence, SilenceState)> {
        self.mutes.silences.iter().map(|(silence, state)| (silence.clone(), state)).collect()
    }

    /// The silences that silence nothing, because their expressions take more memory than silences may.
    pub fn silences_without_room(&self) -> impl Iterator<Item = &Silence> {
        self.mutes.silences.without_room()
    }

    /// The silences that are kept, in the order of their ids, from behind `id` on.
    pub fn silences_after(&self, id: Option<&str>) -> impl Iterator<Item = (&Silence, SilenceState)> {
        self.mutes.silences.after(id)
    }

    /// One silence, with its state.
    pub fn silence_by_id(&self, id: &str) -> Option<(&Silence, SilenceState)> {
        self.mutes.silences.one(id)
    }

    /// A person changed a silence.
    pub(super) fn silence(&mut self, change: &SilenceChange) {
        let Mutes { silences, dirty, .. } = &mut self.mutes;
        let firing = self.alerts.iter().filter(|(_, alert)| alert.firing());
        silences.apply(self.now, change, firing.map(|(id, alert)| (*id, &alert.labels)), dirty);
        self.wind();
    }

    /// Takes in what is known of an alert now, before anything is decided about it; `before` are the labels
    /// with which it fired before, if it did.
    pub(super) fn heard(&mut self, alert: AlertId, before: Option<&LabelSet>) {
        self.mutes.heard(alert, before, self.alerts.firing_labels(alert));
    }

    /// Looks at the clock if it is time: silences and windows begin and end before anything else that
    /// is due, so that nothing leaves in the moment in which it is muted.
    pub(super) fn mute_clock(&mut self) {
        if self.timers.deadline(&Timer::Mute).is_none_or(|at| at > self.now) {
            return;
        }
        let Mutes { silences, dirty, .. } = &mut self.mutes;
        let firing = self.alerts.iter().filter(|(_, alert)| alert.firing());
        silences.pass(self.now, firing.map(|(id, alert)| (*id, &alert.labels)), dirty);
        let changed = self.mutes.intervals.pass(self.now, &self.policy.time_intervals);
        if !changed.is_empty() {
            let lanes = &self.lanes;
            let concerned = self.alerts.tracks().filter(|(_, lane, _)| lanes.lane(*lane).names_any(&changed));
            self.mutes.dirty.extend(concerned.map(|(alert, ..)| alert));
        }
        self.wind();
        self.remute();
    }

    fn wind(&mut self) {
        match self.mutes.next_change() {
            Some(at) => self.timers.set(Timer::Mute, at),
            None => self.timers.clear(&Timer::Mute),
        }
    }

    /// Takes a policy over, which is in place already.
    pub(super) fn mutes_adopt(&mut self) {
        self.mutes.intervals.adopt(self.now, &self.policy.time_intervals);
        self.mutes = self.mutes.reindexed(&self.policy, &self.alerts);
        self.wind();
        self.mutes.dirty.extend(self.alerts.tracks().map(|(alert, ..)| alert));
        self.remute();
        let muted = self.alerts.tracks().filter(|(.., t)| t.is_kept_by_mute());
        for (alert, lane) in muted.map(|(alert, lane, _)| (alert, lane)).collect::<Vec<_>>() {
            self.reroute(alert, lane);
        }
    }

    /// A muted alert that the routes take elsewhere now goes there: on its old lane nobody would hear
    /// of it, and upstream may not say it again for hours.
    /// Returns whether the routes do.
    fn reroute(&mut self, alert: AlertId, lane: LaneId) -> bool {
        let Some(known) = self.alerts.alert(alert).filter(|a| a.firing()) else { return false };
        let lanes = self.lanes.matching(&self.policy, &known.labels);
        if lanes.contains(&lane) || self.is_mirrored(alert, lane) {
            return false;
        }
        self.track(alert, lane).unmute();
        self.remember(alert, lane);
        for new in lanes {
            if !self.alerts.track(alert, new).is_some_and(Track::is_live) {
                self.routed(new, 1);
                self.duplicate(alert, new, Change::Fired, Status::Firing);
                self.mirror_alone(alert, new);
            }
        }
        true
    }

    /// Looks anew at what may be muted now, or not any more. Returns whether there was anything.
    pub(super) fn remute(&mut self) -> bool {
        let any = !self.mutes.dirty.is_empty();
        while let Some(alert) = self.mutes.dirty.pop_first() {
            if self.alerts.alert(alert).is_some_and(|a| a.firing()) {
                for lane in self.taken_lanes(alert) {
                    self.look_again(alert, lane);
                }
            }
        }
        any
    }

    fn look_again(&mut self, alert: AlertId, lane: LaneId) {
        let muting = self.mutes.cause(&self.alerts, alert, self.lanes.lane(lane));
        let track = self.track(alert, lane);
        match (track.muted(), muting) {
            (None, Some(muting)) if track.is_live() => {
                self.mute(alert, lane, 0, muting);
            }
            (Some(_), Some(muting)) => drop(track.mute(muting.cause.reason())),
            (Some(last), None) => {
                track.unmute();
                let after_inhibition = last == Reason::Inhibited;
                if track.notified_in().is_some() && track.owed.is_some() {
                    return self.pay(alert, lane, after_inhibition);
                }
                if !track.is_live() && !self.reroute(alert, lane) {
                    self.routed(lane, 1);
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
        let until = self.now + self.lanes.lane(lane).group_interval;
        // A longer hold of its severity goes on.
        let until = until.max(self.held_by_level(alert).unwrap_or(until));
        if until > self.now {
            self.hold_until(alert, lane, until);
        }
    }

    /// The page that an alert owes since it stopped flapping while it was muted.
    fn pay(&mut self, alert: AlertId, lane: LaneId, after_inhibition: bool) {
        let wait = match after_inhibition {
            true => self.lanes.lane(lane).group_interval,
            false => Duration::ZERO,
        };
        self.timers.set(Timer::Confirm(lane, alert), self.now + wait);
    }

    /// An alert that fires is muted; `count` observations say that it does. If it waits for its first
    /// page, that is called off. If a human knows of it, its incident goes on.
    pub(super) fn mute(&mut self, alert: AlertId, lane: LaneId, count: u64, muting: Muting) {
        let Muting { cause, release, basis } = muting;
        let reason = cause.reason();
        let mut count = count;
        let track = self.track(alert, lane);
        match track.mute(reason) {
            State::Held(_) => {
                count += std::mem::take(&mut track.waiting);
                self.timers.clear(&Timer::Hold(lane, alert));
                self.gauges(lane).held -= 1;
            }
            State::Gathering(group) | State::Withheld(group) => count += self.leave_wait(alert, &group),
            State::Idle | State::Muted(_) | State::Notified { .. } => {}
        }
        let withheld = std::mem::take(&mut self.track(alert, lane).waiting);
        if withheld > 0 {
            let flapping = self.flapping_cause(alert, lane);
            self.suppress(alert, lane, withheld, flapping, None);
        }
        let basis = Basis { otherwise: self.otherwise(alert, lane, reason), ..basis };
        self.suppress_by(alert, lane, count, (cause, release), basis);
    }

    /// A muted alert resolves. Returns whether nobody was told of it, so that all is said.
    pub(super) fn resolved_muted(&mut self, alert: AlertId, lane: LaneId, count: u64) -> bool {
        let track = self.track(alert, lane);
        let was_told = !track.is_kept_by_mute();
        track.unmute();
        if was_told {
            return false;
        }
        self.suppress(alert, lane, count, Cause::ResolvedWhileMuted, None);
        self.remember(alert, lane);
        true
    }

    /// Whether all that fires in an incident is muted: then it is not repeated.
    pub(super) fn is_muted(&self, id: IncidentId) -> bool {
        let Some(incident) = self.incidents.get(&id).filter(|i| i.own.is_none()) else { return false };
        let mut firing = incident.members.that_fire(true);
        let muted = |alert| {
            let mut tracks = self.alerts.tracks_of(alert).filter(|(_, t)| t.notified_in() == Some(id));
            tracks.any(|(_, t)| t.muted().is_some())
        };
        firing.all(|(alert, _)| muted(*alert))
    }

    /// Brings back what a snapshot leaves out.
    pub(super) fn reindex(&mut self) {
        self.mutes = self.mutes.reindexed(&self.policy, &self.alerts);
        self.level_all();
        self.kin_anew();
        self.alerts.rewind(&mut self.timers);
    }
}
