//! Deadlines: one for each timer, in order, each with the reason why it fires.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Why;
use super::groups::GroupKey;
use super::incident::IncidentId;
use super::lanes::LaneId;
use crate::model::{AlertId, Timestamp};

/// What fires. A timer is set at most once; setting it again moves it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Timer {
    /// The first `endsAt` of an alert's firing full label sets passes.
    Ends(AlertId),
    /// A firing full label set of an alert was not heard of for too long.
    Stale(AlertId),
    /// A re-fire told by the other member of a pair is believed.
    Refire(AlertId),
    /// A hold before the first page ends.
    Hold(LaneId, AlertId),
    /// Flapping may be over.
    Reuse(LaneId, AlertId),
    /// A flapping alert has fired for long enough without a break.
    Confirm(LaneId, AlertId),
    /// What waits for the next page of a group has waited long enough.
    GroupWait(GroupKey),
    /// An update may leave.
    Update(IncidentId),
    /// A resolved incident's hold ends.
    ResolveHold(IncidentId),
    /// An open incident is repeated.
    Repeat(IncidentId),
    /// A refused notification is tried anew.
    Retry(IncidentId),
    /// A silence or a time interval begins or ends.
    Mute,
    /// A receiver is told what was held back there. Before the alerts that it names are forgotten.
    Digest(SmolStr),
    /// Somebody should have been told of an alert by now.
    Unheard(AlertId),
    /// A page should have been taken by now.
    Undelivered(IncidentId),
    /// What is wrong is looked at again.
    Watch,
    /// A heartbeat has been silent for long enough.
    Heartbeat,
    /// An alert that does not fire is forgotten.
    ForgetAlert(AlertId),
    /// What a route remembers of an alert is forgotten.
    ForgetTrack(LaneId, AlertId),
    /// The memory of a series is worth nothing any more.
    ForgetSeries(LaneId, AlertId),
    /// A group without an incident is forgotten.
    ForgetGroup(GroupKey),
}

impl Timer {
    /// Whether it tells that an alert fires or does not, rather than that something is to be done.
    pub(super) fn is_evidence(&self) -> bool {
        matches!(self, Timer::Ends(..) | Timer::Stale(..) | Timer::Refire(..))
    }

    /// The reason in the engine's public words.
    pub(super) fn why(&self) -> Why {
        match self {
            Timer::Ends(..) => Why::Ends,
            Timer::Stale(..) => Why::Stale,
            Timer::Refire(..) => Why::Refire,
            Timer::Hold(..) => Why::Hold,
            Timer::Reuse(..) | Timer::Confirm(..) => Why::Reuse,
            Timer::GroupWait(..) => Why::GroupWait,
            Timer::Update(..) => Why::Update,
            Timer::ResolveHold(..) => Why::ResolveHold,
            Timer::Repeat(..) => Why::Repeat,
            Timer::Retry(..) => Why::Retry,
            Timer::Mute => Why::Mute,
            Timer::Digest(..) => Why::Digest,
            Timer::Unheard(..) | Timer::Undelivered(..) | Timer::Watch => Why::Watch,
            Timer::Heartbeat => Why::Heartbeat,
            Timer::ForgetAlert(..)
            | Timer::ForgetTrack(..)
            | Timer::ForgetSeries(..)
            | Timer::ForgetGroup(..) => Why::Forget,
        }
    }
}

/// All timers. Bounded by what they belong to: a handful for each alert, group and incident.
#[derive(Default, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Timestamp, Timer)>", into = "Vec<(Timestamp, Timer)>")]
pub(super) struct Timers {
    queue: BTreeSet<(Timestamp, Timer)>,
    at: BTreeMap<Timer, Timestamp>,
}

impl Timers {
    /// Sets `timer`, or moves it.
    pub(super) fn set(&mut self, timer: Timer, at: Timestamp) {
        match self.at.insert(timer.clone(), at) {
            Some(old) if old == at => {}
            Some(old) => {
                self.queue.remove(&(old, timer.clone()));
                self.queue.insert((at, timer));
            }
            None => {
                self.queue.insert((at, timer));
            }
        }
    }

    /// Sets `timer` only if it is not set.
    pub(super) fn set_if_unset(&mut self, timer: Timer, at: Timestamp) {
        if !self.at.contains_key(&timer) {
            self.set(timer, at);
        }
    }

    /// Sets `timer`, unless it fires by then anyway.
    pub(super) fn set_by(&mut self, timer: Timer, at: Timestamp) {
        if self.at.get(&timer).is_none_or(|known| *known > at) {
            self.set(timer, at);
        }
    }

    /// Takes `timer` out, if it is set.
    pub(super) fn clear(&mut self, timer: &Timer) {
        if let Some(at) = self.at.remove(timer) {
            self.queue.remove(&(at, timer.clone()));
        }
    }

    /// When `timer` fires, if it is set.
    pub(super) fn deadline(&self, timer: &Timer) -> Option<Timestamp> {
        self.at.get(timer).copied()
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<(Timestamp, Why)> {
        self.queue.first().map(|(at, timer)| (*at, timer.why()))
    }

    /// Takes out the earliest timer that is due at `now`.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        if self.queue.first()?.0 > now {
            return None;
        }
        let (_, timer) = self.queue.pop_first()?;
        self.at.remove(&timer);
        Some(timer)
    }

    /// Moves every timer that `floor` gives a time for to at least that time.
    pub(super) fn not_before(&mut self, floor: impl Fn(&Timer) -> Option<Timestamp>) {
        let early: Vec<(Timer, Timestamp)> = self
            .queue
            .iter()
            .filter_map(|(at, timer)| floor(timer).filter(|f| f > at).map(|f| (timer.clone(), f)))
            .collect();
        for (timer, at) in early {
            self.set(timer, at);
        }
    }
}

impl From<Vec<(Timestamp, Timer)>> for Timers {
    fn from(list: Vec<(Timestamp, Timer)>) -> Self {
        let mut timers = Timers::default();
        for (at, timer) in list {
            timers.set(timer, at);
        }
        timers
    }
}

impl From<Timers> for Vec<(Timestamp, Timer)> {
    fn from(timers: Timers) -> Self {
        timers.queue.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_in_order_and_each_timer_once() {
        let (t, mut timers) = (Timestamp::from_millis, Timers::default());
        let hold = |n| Timer::Hold(LaneId(n), AlertId(0));
        timers.set(hold(1), t(10));
        timers.set(hold(2), t(5));
        timers.set(hold(1), t(3));
        timers.set_if_unset(hold(2), t(1));
        timers.set(hold(3), t(4));
        timers.clear(&hold(3));
        assert_eq!(timers.next(), Some((t(3), Why::Hold)));
        assert_eq!(timers.pop_due(t(2)), None);
        timers.not_before(|timer| (*timer == hold(1)).then_some(t(7)));
        assert_eq!(timers.pop_due(t(9)), Some(hold(2)));
        assert_eq!(timers.pop_due(t(9)), Some(hold(1)));
        assert_eq!(timers, Timers::default());
    }
}
