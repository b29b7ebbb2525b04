//! Normalise: observations → the occurrences of alerts.
//!
//! An alert fires while any full label set of it fires. The members of one HA pair are one source:
//! whoever spoke last is believed, but for a late copy of what the other member already resolved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::few::Few;
use super::timers::{Timer, Timers};
use crate::config::Policy;
use crate::model::{AlertId, Duration, LabelSet, Observation, Source, Status, Timestamp};

/// One full label set at one source.
pub(super) type InstanceKey = (Source, AlertId);

/// How long a firing copy from the other member of a pair waits for the resolve that member is
/// about to send. Alertmanager's peers wake 15 s apart and flush every `group_interval`.
pub(super) const REFIRE_WAIT: Duration = Duration::from_secs(60);

/// How long an alert that no longer fires is remembered, to tell a late copy from a new problem.
pub(super) const REMEMBER_RESOLVED: Duration = Duration::from_hours(24);

/// Above so many full label sets of one alert, those that no longer fire are forgotten for a new one,
/// the one first that was heard of least lately. Churning values of `ignore_labels` make them many.
const INSTANCES: usize = 1000;

/// An alert: what has an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alert {
    /// The full label set as last said.
    pub(super) labels: LabelSet,
    /// Annotations as last said.
    pub(super) annotations: LabelSet,
    /// Where the rule can be looked at, as last said.
    pub(super) generator_url: SmolStr,
    /// Start of the current occurrence, or of the last one.
    pub(super) starts_at: Timestamp,
    /// End of the last occurrence; none while firing.
    pub(super) ends_at: Option<Timestamp>,
    /// When this program first heard of the occurrence.
    pub(super) received_at: Timestamp,
    instances: Few<InstanceKey, Instance>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Instance {
    firing: bool,
    starts_at: Timestamp,
    last_seen: Timestamp,
    /// Firing: until when, if nothing more is heard (API v2). Resolved: since when.
    ends_at: Option<Timestamp>,
    /// Who said so last; empty if nobody did and time passed.
    peer: SmolStr,
    /// A firing copy from the other member, waiting to be believed.
    refire: Option<Box<Refire>>,
    /// It has fired again since: a resolve that ended no later is a late copy, or an old one said anew.
    #[serde(default = "never", skip_serializing_if = "is_never")]
    over_until: Timestamp,
}

fn never() -> Timestamp {
    Timestamp::ZERO
}

fn is_never(at: &Timestamp) -> bool {
    *at == never()
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Refire {
    said_at: Timestamp,
    peer: SmolStr,
    starts_at: Timestamp,
    ends_at: Option<Timestamp>,
}

/// What an observation, or the passing of time, did to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that anybody must know.
    None,
    /// It did not fire, and does.
    Fired,
    /// It fired, was resolved unheard at the time given, and fires anew.
    Restarted {
        /// When the former occurrence was last heard of.
        last_seen: Timestamp,
    },
    /// It fired, and no longer does.
    Resolved,
    /// The resolve of an alert that was never heard to fire.
    UnknownResolved,
}

/// All alerts, and whose full label sets they are.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alerts {
    known: BTreeMap<AlertId, Alert>,
    /// Full label sets that are not their alert's identity, by their own.
    owners: BTreeMap<AlertId, AlertId>,
    firing: u64,
    /// Firing full label sets that were forgotten for new ones.
    #[serde(default)]
    forgotten: u64,
}

impl Alert {
    /// Whether it fires.
    pub(super) fn firing(&self) -> bool {
        self.ends_at.is_none()
    }

    /// Whether one of its senders says something that is not believed yet.
    pub(super) fn is_disputed(&self) -> bool {
        self.instances.values().any(|i| i.refire.is_some())
    }

    fn any_firing(&self) -> bool {
        self.instances.values().any(|i| i.firing)
    }
}

impl Alerts {
    /// These alone, for a copy of the engine.
    pub(super) fn only(&self, ids: &[AlertId]) -> Alerts {
        let known: BTreeMap<_, _> =
            ids.iter().filter_map(|id| Some((*id, self.alert(*id)?.clone()))).collect();
        let firing = known.values().filter(|alert| alert.firing()).count() as u64;
        Alerts { known, owners: BTreeMap::new(), firing, forgotten: 0 }
    }

    pub(super) fn alert(&self, id: AlertId) -> Option<&Alert> {
        self.known.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&AlertId, &Alert)> {
        self.known.iter()
    }

    /// Those behind `id` in the order of their identity; all without.
    pub(super) fn after(&self, id: Option<AlertId>) -> impl Iterator<Item = (&AlertId, &Alert)> {
        let from = id.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.known.range((from, std::ops::Bound::Unbounded))
    }

    pub(super) fn len(&self) -> u64 {
        self.known.len() as u64
    }

    /// How many firing full label sets were forgotten for new ones of the same alert.
    pub(super) fn label_sets_forgotten(&self) -> u64 {
        self.forgotten
    }

    /// How many fire.
    pub(super) fn firing(&self) -> u64 {
        self.firing
    }

    /// The alert that a full label set belongs to: the one that it belonged to before, if it is
    /// known (so a change of `ignore_labels` does not split what fires), else its identity.
    pub(super) fn owner(&self, instance: AlertId, labels: &LabelSet, policy: &Policy) -> AlertId {
        match self.owners.get(&instance) {
            Some(owner) => *owner,
            None if self.known.contains_key(&instance) => instance,
            None => policy.identity_given(instance, labels),
        }
    }

    /// Takes one observation in.
    pub(super) fn observe(
        &mut self,
        now: Timestamp,
        (source, peer): (Source, &SmolStr),
        observation: &Observation,
        (alert_id, instance_id): (AlertId, AlertId),
        policy: &Policy,
        timers: &mut Timers,
    ) -> Change {
        if alert_id != instance_id {
            self.owners.insert(instance_id, alert_id);
        }
        let key = (source, instance_id);
        let unknown = !self.known.contains_key(&alert_id);
        let alert = self.known.entry(alert_id).or_insert_with(|| Alert::new(now, observation));
        if observation.status == Status::Firing || !alert.firing() {
            alert.labels = observation.labels.clone();
        }
        alert.annotations = observation.annotations.clone();
        alert.generator_url = observation.generator_url.clone();
        if alert.instances.len() >= INSTANCES && !alert.instances.contains_key(&key) {
            self.forgotten += u64::from(alert.forget_an_instance(&mut self.owners));
        }
        let fired_before = alert.firing();
        let change = match observation.status {
            Status::Firing => {
                let change = alert.fire(now, key, peer, observation);
                match change {
                    InstanceChange::Waits => {
                        timers.set_by(Timer::Refire(alert_id), now + REFIRE_WAIT);
                        // It is not forgotten before that is decided.
                        timers.clear(&Timer::ForgetAlert(alert_id));
                    }
                    InstanceChange::None | InstanceChange::Fired | InstanceChange::Restarted(_) => {
                        if let Some(instance) = alert.instances.get(&key) {
                            Self::watch(alert_id, instance, policy, timers);
                        }
                    }
                    InstanceChange::Resolved => {}
                }
                change
            }
            Status::Resolved => {
                let change = alert.resolve(now, key, peer, observation);
                if !alert.is_disputed() {
                    timers.clear(&Timer::Refire(alert_id));
                }
                change
            }
        };
        let change = match change {
            InstanceChange::None | InstanceChange::Waits if unknown => Change::UnknownResolved,
            InstanceChange::None | InstanceChange::Waits => Change::None,
            InstanceChange::Fired if fired_before => Change::None,
            InstanceChange::Fired => Change::Fired,
            InstanceChange::Restarted(_) if alert.instances.values().filter(|i| i.firing).count() > 1 => {
                Change::None
            }
            InstanceChange::Restarted(last_seen) => {
                alert.starts_at = observation.starts_at;
                alert.received_at = now;
                Change::Restarted { last_seen }
            }
            InstanceChange::Resolved if alert.any_firing() => Change::None,
            InstanceChange::Resolved => Change::Resolved,
        };
        self.settle(now, alert_id, fired_before, change, observation.ends_at, policy, timers);
        change
    }

    /// Brings the alert in line with `change` of its instances.
    #[expect(clippy::too_many_arguments, reason = "the one place where an alert changes state")]
    fn settle(
        &mut self,
        now: Timestamp,
        id: AlertId,
        fired_before: bool,
        change: Change,
        ends_at: Option<Timestamp>,
        policy: &Policy,
        timers: &mut Timers,
    ) {
        let Some(alert) = self.known.get_mut(&id) else { return };
        match change {
            Change::Fired => {
                let firing = alert.instances.values().filter(|i| i.firing);
                alert.starts_at = firing.map(|i| i.starts_at).min().unwrap_or(now);
                alert.received_at = now;
                alert.ends_at = None;
                self.firing += 1;
                timers.clear(&Timer::ForgetAlert(id));
            }
            Change::Resolved => {
                alert.ends_at = Some(ends_at.unwrap_or(now).max(alert.starts_at));
                self.firing -= 1;
            }
            Change::None if fired_before => {
                let firing = alert.instances.values().filter(|i| i.firing);
                alert.starts_at = firing.map(|i| i.starts_at).min().unwrap_or(alert.starts_at);
            }
            Change::None | Change::Restarted { .. } | Change::UnknownResolved => {}
        }
        if !alert.firing() {
            timers.set_if_unset(Timer::ForgetAlert(id), now + REMEMBER_RESOLVED.max(policy.stale_after));
        }
    }

    /// Sets the timer by which a firing full label set ends if nothing more is heard.
    fn watch(id: AlertId, instance: &Instance, policy: &Policy, timers: &mut Timers) {
        match instance.ends_at {
            Some(ends_at) => timers.set_by(Timer::Ends(id), ends_at),
            None => timers.set_by(Timer::Stale(id), instance.last_seen + policy.stale_after),
        }
    }

    /// Whether `observation` only repeats what is known. Says for a firing one until when it holds.
    pub(super) fn is_repeat(
        &self,
        (source, instance_id): InstanceKey,
        alert_id: AlertId,
        observation: &Observation,
    ) -> bool {
        let Some(alert) = self.known.get(&alert_id) else { return false };
        let Some(instance) = alert.instances.get(&(source, instance_id)) else { return false };
        let same = instance.refire.is_none()
            && instance.firing == (observation.status == Status::Firing)
            && alert.annotations == observation.annotations
            && alert.generator_url == observation.generator_url;
        same && (!instance.firing || observation.starts_at >= instance.starts_at)
            && (!instance.firing || observation.starts_at <= instance.last_seen.max(instance.starts_at))
    }

    /// The labels of an alert, and what one source says of one of its full label sets, if that is believed.
    pub(super) fn undisputed(&self, alert: AlertId, key: InstanceKey) -> Option<(&LabelSet, Status)> {
        let alert = self.known.get(&alert)?;
        let instance = alert.instances.get(&key).filter(|i| i.refire.is_none())?;
        Some((&alert.labels, if instance.firing { Status::Firing } else { Status::Resolved }))
    }

    /// Takes in that a full label set was said again. Returns whether it fires, if it is known.
    pub(super) fn seen(
        &mut self,
        now: Timestamp,
        alert_id: AlertId,
        key: InstanceKey,
        ends_at: Option<Timestamp>,
    ) -> Option<Status> {
        let instance = self.known.get_mut(&alert_id)?.instances.get_mut(&key)?;
        instance.last_seen = now;
        if !instance.firing {
            return Some(Status::Resolved);
        }
        instance.ends_at = instance.ends_at.max(ends_at);
        Some(Status::Firing)
    }

    /// The timer [`Timer::Ends`] or, for what has no end of its own, [`Timer::Stale`] fired: full label
    /// sets of which nothing was heard meanwhile fire no more; for the others it is set anew.
    pub(super) fn lapse(
        &mut self,
        now: Timestamp,
        id: AlertId,
        stale: bool,
        policy: &Policy,
        timers: &mut Timers,
    ) -> Change {
        let Some(alert) = self.known.get_mut(&id) else { return Change::None };
        let mut last_end = None;
        for instance in alert.instances.values_mut().filter(|i| i.firing && i.ends_at.is_none() == stale) {
            let deadline = instance.ends_at.unwrap_or(instance.last_seen + policy.stale_after);
            if deadline > now {
                Self::watch(id, instance, policy, timers);
                continue;
            }
            instance.firing = false;
            instance.peer = SmolStr::default();
            let ended = instance.ends_at.unwrap_or(now).min(now);
            instance.ends_at = Some(ended);
            last_end = last_end.max(Some(ended));
        }
        if last_end.is_none() {
            return Change::None;
        }
        let change = if alert.any_firing() { Change::None } else { Change::Resolved };
        self.settle(now, id, true, change, last_end, policy, timers);
        change
    }

    /// The timer [`Timer::Refire`] fired: the other member did not take its word back.
    pub(super) fn believe(
        &mut self,
        now: Timestamp,
        id: AlertId,
        policy: &Policy,
        timers: &mut Timers,
    ) -> Change {
        let Some(alert) = self.known.get_mut(&id) else { return Change::None };
        let (fired_before, mut believed) = (alert.firing(), false);
        for instance in alert.instances.values_mut() {
            match instance.refire.take() {
                Some(refire) if refire.said_at + REFIRE_WAIT <= now => {
                    instance.fires_again();
                    instance.starts_at = refire.starts_at;
                    instance.ends_at = refire.ends_at;
                    instance.peer = refire.peer;
                    Self::watch(id, instance, policy, timers);
                    believed = true;
                }
                Some(refire) => {
                    timers.set_by(Timer::Refire(id), refire.said_at + REFIRE_WAIT);
                    instance.refire = Some(refire);
                }
                None => {}
            }
        }
        if !believed {
            return Change::None;
        }
        let change = if fired_before { Change::None } else { Change::Fired };
        self.settle(now, id, fired_before, change, None, policy, timers);
        change
    }

    /// The timer [`Timer::ForgetAlert`] fired.
    pub(super) fn forget(&mut self, id: AlertId) {
        if self.known.get(&id).is_some_and(|a| !a.firing())
            && let Some(alert) = self.known.remove(&id)
        {
            for (_, instance) in alert.instances.keys() {
                self.owners.remove(instance);
            }
        }
    }

    /// Nothing was heard while the program was down: what a deadline was set for gets as long
    /// again as a sender may take to speak.
    pub(super) fn restarted(&mut self, now: Timestamp, policy: &Policy, timers: &mut Timers) {
        let ends = now + policy.resolve_timeout;
        let stale = now + Duration::from_millis(policy.stale_after.as_millis() / 3);
        for alert in self.known.values_mut() {
            for instance in alert.instances.values_mut().filter(|i| i.firing) {
                match &mut instance.ends_at {
                    Some(at) => *at = (*at).max(ends),
                    None => {
                        let heard = Timestamp::from_millis(stale.as_millis()) - policy.stale_after;
                        instance.last_seen = instance.last_seen.max(heard);
                    }
                }
            }
        }
        timers.not_before(|timer| match timer {
            Timer::Ends(..) => Some(ends),
            Timer::Stale(..) => Some(stale),
            _ => None,
        });
    }
}

/// What an observation did to one full label set.
enum InstanceChange {
    None,
    Fired,
    Restarted(Timestamp),
    Resolved,
    Waits,
}

impl Instance {
    /// It did not fire, and does.
    fn fires_again(&mut self) {
        self.over_until = self.over_until.max(self.ends_at.unwrap_or(never()));
        self.firing = true;
    }
}

impl Alert {
    fn new(now: Timestamp, observation: &Observation) -> Self {
        Alert {
            labels: observation.labels.clone(),
            annotations: observation.annotations.clone(),
            generator_url: observation.generator_url.clone(),
            starts_at: observation.starts_at,
            ends_at: Some(observation.ends_at.unwrap_or(now)),
            received_at: now,
            instances: Few::default(),
        }
    }

    /// Forgets the one that was heard of least lately: of those that do not fire, or else, if hundreds do,
    /// of all. Returns whether it fired.
    fn forget_an_instance(&mut self, owners: &mut BTreeMap<AlertId, AlertId>) -> bool {
        let order = |i: &Instance| (i.firing || i.refire.is_some(), i.last_seen);
        let least = self.instances.iter().min_by_key(|(_, i)| order(i));
        let Some((key, fired)) = least.map(|(key, i)| (*key, i.firing)) else { return false };
        self.instances.remove(&key);
        if !self.instances.keys().any(|(_, instance)| *instance == key.1) {
            owners.remove(&key.1);
        }
        fired
    }

    fn fire(
        &mut self,
        now: Timestamp,
        key: InstanceKey,
        peer: &SmolStr,
        said: &Observation,
    ) -> InstanceChange {
        let Some(instance) = self.instances.get_mut(&key) else {
            let instance = Instance {
                firing: true,
                starts_at: said.starts_at,
                last_seen: now,
                ends_at: said.ends_at,
                peer: peer.clone(),
                refire: None,
                over_until: never(),
            };
            self.instances.insert(key, instance);
            return InstanceChange::Fired;
        };
        let last_seen = std::mem::replace(&mut instance.last_seen, now);
        if instance.firing {
            instance.ends_at = instance.ends_at.max(said.ends_at);
            instance.peer = peer.clone();
            // A sender whose clock is ahead says each time a start that is later than all we know.
            if said.starts_at > last_seen.max(instance.starts_at) {
                instance.starts_at = said.starts_at;
                instance.over_until = said.starts_at;
                return InstanceChange::Restarted(last_seen);
            }
            instance.starts_at = instance.starts_at.min(said.starts_at);
            return InstanceChange::None;
        }
        let new = instance.ends_at.is_none_or(|ended| said.starts_at > ended);
        let same_peer = instance.peer.is_empty() || instance.peer == *peer;
        if !new && !same_peer {
            let (peer, starts_at, ends_at) = (peer.clone(), said.starts_at, said.ends_at);
            instance.refire = Some(Box::new(Refire { said_at: now, peer, starts_at, ends_at }));
            return InstanceChange::Waits;
        }
        instance.fires_again();
        instance.starts_at = said.starts_at;
        instance.ends_at = said.ends_at;
        instance.peer = peer.clone();
        instance.refire = None;
        InstanceChange::Fired
    }

    fn resolve(
        &mut self,
        now: Timestamp,
        key: InstanceKey,
        peer: &SmolStr,
        said: &Observation,
    ) -> InstanceChange {
        let ended = said.ends_at.unwrap_or(now);
        let Some(instance) = self.instances.get_mut(&key) else {
            let instance = Instance {
                firing: false,
                starts_at: said.starts_at,
                last_seen: now,
                ends_at: Some(ended),
                peer: peer.clone(),
                refire: None,
                over_until: never(),
            };
            self.instances.insert(key, instance);
            return InstanceChange::None;
        };
        let before = said.starts_at < instance.starts_at && ended <= instance.starts_at;
        if (before || ended <= instance.over_until) && instance.firing {
            return InstanceChange::None;
        }
        instance.last_seen = now;
        instance.refire = None;
        instance.peer = peer.clone();
        if !instance.firing {
            instance.ends_at = instance.ends_at.max(Some(ended));
            return InstanceChange::None;
        }
        instance.firing = false;
        instance.ends_at = Some(ended);
        InstanceChange::Resolved
    }
}
