//! The full label sets of one alert, as its sources say them: what fires and what does not.
//!
//! The members of one HA pair are one source: whoever spoke last is believed, but for a late copy of what the
//! other member already resolved.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::few::Few;
use crate::config::Policy;
use crate::model::{AlertId, Duration, Observation, Source, Status, Timestamp};

/// One full label set at one source.
pub(super) type InstanceKey = (Source, AlertId);

/// How long a firing copy from the other member of a pair waits for the resolve that member is
/// about to send. Alertmanager's peers wake 15 s apart and flush every `group_interval`.
pub(super) const REFIRE_WAIT: Duration = Duration::from_secs(60);

/// Above so many full label sets of one alert, those that no longer fire are forgotten for a new one,
/// the one first that was heard of least lately. Churning values of `ignore_labels` make them many.
pub(super) const INSTANCES: usize = 1000;

/// The full label sets of one alert.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Instances(Few<InstanceKey, Instance>);

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

/// What an observation did to one full label set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InstanceChange {
    None,
    Fired,
    Restarted(Timestamp),
    Resolved,
    Waits,
}

impl Instance {
    /// One of which nothing was heard before.
    fn new(
        now: Timestamp,
        peer: &SmolStr,
        said: &Observation,
        firing: bool,
        ends_at: Option<Timestamp>,
    ) -> Self {
        let (starts_at, peer) = (said.starts_at, peer.clone());
        Instance { firing, starts_at, last_seen: now, ends_at, peer, refire: None, over_until: never() }
    }

    /// It did not fire, and does.
    fn fires_again(&mut self) {
        self.over_until = self.over_until.max(self.ends_at.unwrap_or(never()));
        self.firing = true;
    }

    /// When it ends, if nothing more is heard of it; nothing if it does not fire.
    fn lapses_at(&self, policy: &Policy) -> Option<Timestamp> {
        self.firing.then(|| self.ends_at.unwrap_or(self.last_seen + policy.stale_after))
    }
}

impl Instances {
    /// Whether any fires.
    pub(super) fn fires(&self) -> bool {
        self.0.values().any(|i| i.firing)
    }

    /// How many fire.
    pub(super) fn firing(&self) -> usize {
        self.0.values().filter(|i| i.firing).count()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The earliest start of those that fire.
    pub(super) fn started_at(&self) -> Option<Timestamp> {
        self.0.values().filter(|i| i.firing).map(|i| i.starts_at).min()
    }

    /// Whether a sender says something that is not believed yet.
    pub(super) fn is_disputed(&self) -> bool {
        self.0.values().any(|i| i.refire.is_some())
    }

    /// When the first of them ends or is believed, if nothing more is heard.
    pub(super) fn deadline(&self, policy: &Policy) -> Option<Timestamp> {
        let believed = |i: &Instance| i.refire.as_ref().map(|refire| refire.said_at + REFIRE_WAIT);
        self.0.values().flat_map(|i| [i.lapses_at(policy), believed(i)]).flatten().min()
    }

    /// The identities of the full label sets.
    pub(super) fn keys(&self) -> impl Iterator<Item = &InstanceKey> {
        self.0.keys()
    }

    /// Whether a source says of a full label set that it fires or not, if that is believed.
    pub(super) fn undisputed(&self, key: &InstanceKey) -> Option<Status> {
        let instance = self.0.get(key).filter(|i| i.refire.is_none())?;
        Some(if instance.firing { Status::Firing } else { Status::Resolved })
    }

    /// Whether `said` only repeats what is known.
    pub(super) fn is_repeat(&self, key: &InstanceKey, said: &Observation) -> bool {
        let Some(instance) = self.0.get(key) else { return false };
        let same = instance.refire.is_none() && instance.firing == (said.status == Status::Firing);
        same && (!instance.firing || said.starts_at >= instance.starts_at)
            && (!instance.firing
                || said.start_unknown
                || said.starts_at <= instance.last_seen.max(instance.starts_at))
    }

    /// Takes in that a full label set was said again. Returns whether it fires, if it is known.
    pub(super) fn seen(
        &mut self,
        now: Timestamp,
        key: &InstanceKey,
        ends_at: Option<Timestamp>,
    ) -> Option<Status> {
        let instance = self.0.get_mut(key)?;
        instance.last_seen = now;
        if !instance.firing {
            return Some(Status::Resolved);
        }
        instance.ends_at = instance.ends_at.max(ends_at);
        Some(Status::Firing)
    }

    /// Ends those of which nothing was heard in time: of those without an end of their own if `stale`, else
    /// of the others. Returns the last end, if any ended.
    pub(super) fn lapse(&mut self, now: Timestamp, stale: bool, policy: &Policy) -> Option<Timestamp> {
        let mut last_end = None;
        for instance in self.0.values_mut().filter(|i| i.firing && i.ends_at.is_none() == stale) {
            if instance.lapses_at(policy).is_some_and(|at| at <= now) {
                instance.firing = false;
                instance.peer = SmolStr::default();
                let ended = instance.ends_at.unwrap_or(now).min(now);
                instance.ends_at = Some(ended);
                last_end = last_end.max(Some(ended));
            }
        }
        last_end
    }

    /// Believes the re-fires that were not taken back in time. Returns whether there were any.
    pub(super) fn believe(&mut self, now: Timestamp) -> bool {
        let mut believed = false;
        for instance in self.0.values_mut() {
            if let Some(refire) = instance.refire.take_if(|refire| refire.said_at + REFIRE_WAIT <= now) {
                instance.fires_again();
                instance.starts_at = refire.starts_at;
                instance.ends_at = refire.ends_at;
                instance.peer = refire.peer;
                believed = true;
            }
        }
        believed
    }

    /// Nothing was heard while the program was down: what ends by then ends at `ends` or when it would be
    /// stale at `stale`.
    pub(super) fn restarted(&mut self, ends: Timestamp, stale: Timestamp, policy: &Policy) {
        for instance in self.0.values_mut().filter(|i| i.firing) {
            match &mut instance.ends_at {
                Some(at) => *at = (*at).max(ends),
                None => instance.last_seen = instance.last_seen.max(stale - policy.stale_after),
            }
        }
    }

    /// If there are too many for a new one, forgets the one that was heard of least lately: of those that do
    /// not fire, or else, if hundreds do, of all. Returns which full label set is known no more, and whether
    /// it fired.
    pub(super) fn make_room(&mut self, key: &InstanceKey) -> Option<(Option<AlertId>, bool)> {
        if self.0.len() < INSTANCES || self.0.contains_key(key) {
            return None;
        }
        let order = |i: &Instance| (i.firing || i.refire.is_some(), i.last_seen);
        let (least, fired) = self.0.iter().min_by_key(|(_, i)| order(i)).map(|(key, i)| (*key, i.firing))?;
        self.0.remove(&least);
        let gone = !self.0.keys().any(|(_, instance)| *instance == least.1);
        Some((gone.then_some(least.1), fired))
    }

    /// Takes in that a full label set fires.
    pub(super) fn fire(
        &mut self,
        now: Timestamp,
        key: InstanceKey,
        peer: &SmolStr,
        said: &Observation,
    ) -> InstanceChange {
        let Some(instance) = self.0.get_mut(&key) else {
            self.0.insert(key, Instance::new(now, peer, said, true, said.ends_at));
            return InstanceChange::Fired;
        };
        let last_seen = std::mem::replace(&mut instance.last_seen, now);
        if instance.firing {
            instance.ends_at = instance.ends_at.max(said.ends_at);
            instance.peer = peer.clone();
            // A sender whose clock is ahead says each time a start that is later than all we know.
            if !said.start_unknown && said.starts_at > last_seen.max(instance.starts_at) {
                instance.starts_at = said.starts_at;
                instance.over_until = said.starts_at;
                return InstanceChange::Restarted(last_seen);
            }
            instance.starts_at = instance.starts_at.min(said.starts_at);
            return InstanceChange::None;
        }
        let new = instance.ends_at.is_none_or(|ended| said.starts_at > ended) && !said.start_unknown;
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

    /// Takes in that a full label set does not fire.
    pub(super) fn resolve(
        &mut self,
        now: Timestamp,
        key: InstanceKey,
        peer: &SmolStr,
        said: &Observation,
    ) -> InstanceChange {
        let ended = said.ends_at.unwrap_or(now);
        let Some(instance) = self.0.get_mut(&key) else {
            self.0.insert(key, Instance::new(now, peer, said, false, Some(ended)));
            return InstanceChange::None;
        };
        let before =
            !said.start_unknown && said.starts_at < instance.starts_at && ended <= instance.starts_at;
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
