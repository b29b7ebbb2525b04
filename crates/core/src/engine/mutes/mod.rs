//! Muting: the alerts that a silence, a mute window or a firing inhibitor keeps from notifying, and until
//! when.
//!
//! It keeps back alerts that start to fire, never the resolve of an open incident. An alert that still
//! fires when the last cause ends enters anew, as an observation of the engine's own.

pub(crate) mod inhibition;
pub(crate) mod intervals;
pub(crate) mod silence_index;
pub(crate) mod silences;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use crate::engine::Stats;
use crate::engine::alerts::Alerts;
use crate::engine::destinations::Destination;
use crate::engine::ids::DestinationId;
use crate::engine::mutes::inhibition::Inhibition;
use crate::engine::mutes::intervals::Intervals;
use crate::engine::mutes::silences::Silences;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{
    AlertId, Basis, Cause, Fingerprint, LabelSet, Reason, Silence, SilenceChange, SilenceState, Timestamp,
    shortened,
};
use crate::policy::{Lines, Policy};

/// The most characters of the labels by which a cause names an alert.
const LABEL_CHARS: usize = 200;

/// The three stages that mute, and their indexes of the alerts.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mutes {
    pub(crate) silences: Silences,
    pub(crate) intervals: Intervals,
    #[serde(skip)]
    inhibition: Inhibition,
    /// Where rules and intervals stand in the configuration.
    #[serde(skip)]
    lines: Lines,
    /// Alerts whose muting may have changed. It is empty between events.
    #[serde(skip)]
    pub(crate) dirty: BTreeSet<AlertId>,
}

/// The cause that mutes an alert at a destination.
pub(crate) struct Muting {
    pub(crate) cause: Cause,
    /// When it ends, where that is known.
    pub(crate) release: Option<Timestamp>,
    /// The setting, and its line.
    pub(crate) basis: Basis,
}

impl Muting {
    /// Whether another alert is the cause, and no person and no time.
    pub(crate) fn is_inhibition(&self) -> bool {
        self.cause.reason() == Reason::Inhibited
    }
}

impl Mutes {
    /// A person changed a silence.
    pub(crate) fn silence(&mut self, world: &mut World, change: &SilenceChange) {
        self.silences.apply(world.wall(), change, world.alerts.that_fire(), &mut self.dirty);
        self.wind(world);
    }

    /// Moves the clock on. Silences and windows follow wall time, which `was_set` if it differs otherwise
    /// from engine time than before. It returns whether a change was due.
    pub(crate) fn pass(&mut self, world: &mut World, was_set: bool) -> bool {
        if !was_set && world.timers.deadline(&Timer::Mute).is_none_or(|at| at > world.now) {
            return false;
        }
        let wall = world.wall();
        self.silences.pass(wall, world.alerts.that_fire(), &mut self.dirty);
        let changed = self.intervals.pass(wall, was_set, &world.policy.time_intervals);
        if !changed.is_empty() {
            let concerned = |id: DestinationId| world.destinations.get(id).names_any(&changed);
            let states = world.alerts.states().filter(|(_, destination, _)| concerned(*destination));
            self.dirty.extend(states.map(|(alert, ..)| alert));
        }
        self.wind(world);
        true
    }

    /// Takes over a policy, which is in place already. The muting of each alert may have changed.
    pub(crate) fn adopt(&mut self, world: &mut World) {
        self.intervals.adopt(world.wall(), &world.policy.time_intervals);
        *self = self.reindexed(&world.policy, &world.alerts);
        self.wind(world);
        self.dirty.extend(world.alerts.states().map(|(alert, ..)| alert));
    }

    /// Sets when to look at the clock next.
    fn wind(&self, world: &mut World) {
        let changes = [self.silences.next_change(), self.intervals.next_change()];
        match changes.into_iter().flatten().min() {
            Some(wall) => {
                let at = wall.as_millis().saturating_add(world.alerts.ahead());
                world.timers.set(Timer::Mute, Timestamp::from_millis(at));
            }
            None => world.timers.clear(&Timer::Mute),
        }
    }

    /// A copy whose indexes are built anew from the policy and the firing alerts.
    pub(crate) fn reindexed(&self, policy: &Policy, alerts: &Alerts) -> Self {
        let mut mutes = Mutes {
            silences: self.silences.clone(),
            intervals: self.intervals.clone(),
            inhibition: Inhibition::new(&policy.inhibit_rules),
            lines: policy.lines.clone(),
            ..Mutes::default()
        };
        mutes.silences.refit(policy.limits.silences);
        for (alert, labels) in alerts.that_fire() {
            mutes.heard(alert, None, Some(labels));
        }
        mutes.dirty.clear();
        mutes
    }

    /// The part that concerns an alert with these labels, for a copy of the engine with `alerts`.
    pub(crate) fn only(&self, policy: &Policy, alerts: &Alerts, labels: &LabelSet) -> Self {
        let silences = self.silences.only(labels);
        Mutes { silences, intervals: self.intervals.clone(), ..Mutes::default() }.reindexed(policy, alerts)
    }

    /// The alert that mutes one with these labels, by the first rule that does.
    pub(crate) fn inhibitor(&self, labels: &LabelSet) -> Option<AlertId> {
        self.inhibition.inhibitor(labels).map(|by| by.source)
    }

    /// Takes in that an alert that fired with the `old` labels, or, without, did not, fires with these.
    pub(crate) fn heard(&mut self, alert: AlertId, old: Option<&LabelSet>, labels: Option<&LabelSet>) {
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

    /// Why one of the alerts is muted at a destination, if it fires and is.
    pub(crate) fn cause(&self, alerts: &Alerts, alert: AlertId, destination: &Destination) -> Option<Muting> {
        let labels = alerts.firing_labels(alert)?;
        self.muting(alerts, labels, self.silences.silence_of(alert), destination)
    }

    /// Why one of the alerts that fires no more would be muted at a destination, if it would.
    pub(crate) fn cause_of_ended(
        &self,
        alerts: &Alerts,
        alert: AlertId,
        destination: &Destination,
    ) -> Option<Muting> {
        let labels = &alerts.alert(alert)?.labels;
        self.muting(alerts, labels, self.silences.silence_about(labels), destination)
    }

    fn muting(
        &self,
        alerts: &Alerts,
        labels: &LabelSet,
        silence: Option<&Silence>,
        destination: &Destination,
    ) -> Option<Muting> {
        if let Some(silence) = silence {
            let release = Some(silence.ends_at);
            let basis = Basis { setting: format_smolstr!("silence {}", silence.id), ..Basis::default() };
            return Some(Muting { cause: cause_of(silence), release, basis });
        }
        if let Some((cause, release)) = self.intervals.muted(&destination.windows) {
            let basis = self.interval_basis(destination, &cause);
            return Some(Muting { cause, release, basis });
        }
        let by = self.inhibition.inhibitor(labels)?;
        let told = alerts.alert(by.source).map(|source| source.told());
        let cause = Cause::Inhibited {
            source: format_smolstr!("{}", told.map_or(Fingerprint(0), Fingerprint::of)),
            labels: told.map_or_else(SmolStr::default, |labels| shortened(&labels.to_string(), LABEL_CHARS)),
            rule: by.number,
            name: by.rule.name.clone(),
        };
        let (index, setting) = (by.number - 1, format_smolstr!("inhibit_rules[{}]", by.number - 1));
        let line = self.lines.inhibit_rules.get(index).copied().unwrap_or(0);
        let basis = Basis { setting, line, ..Basis::default() };
        Some(Muting { cause, release: None, basis })
    }

    /// The time interval that `cause` names first.
    fn interval_basis(&self, destination: &Destination, cause: &Cause) -> Basis {
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
            None => destination.basis(),
        }
    }

    /// Counts the silences.
    pub(crate) fn count(&self, stats: &mut Stats) {
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
