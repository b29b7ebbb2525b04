//! Deadlines: one for each timer, in order, each with the reason why it fires.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::Why;
use crate::engine::ids::{DestinationId, GroupKey, IncidentId};
use crate::model::{AlertId, Duration, Timestamp};

/// A timer. It is set at most once. Setting it again moves it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Timer {
    /// A deadline of an alert: an `endsAt` passes, or no statement came for long. It is also the time when
    /// a re-fire from the other member of a pair is believed, or the alert is forgotten. It stands in the
    /// alert.
    Alert(AlertId),
    /// A hold before the first page ends.
    Hold(DestinationId, AlertId),
    /// Flapping may be over.
    Reuse(DestinationId, AlertId),
    /// A flapping alert has fired for long enough without a break.
    Confirm(DestinationId, AlertId),
    /// The alerts that wait for the next page of a group have waited long enough.
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
    /// The digest of a receiver is due. It comes before the alerts that it names are forgotten.
    Digest(SmolStr),
    /// A receiver should have been notified of an alert by now. Stands in the alert.
    Unheard(AlertId),
    /// A page should have been taken by now.
    Undelivered(IncidentId),
    /// A person should have acknowledged an incident by now.
    Respond(IncidentId),
    /// The self-check looks at its problems again.
    SelfCheck,
    /// A heartbeat has been silent for long enough.
    Heartbeat,
    /// The state of an alert at a destination is forgotten.
    ForgetState(DestinationId, AlertId),
    /// The memory of a series is worth nothing any more.
    ForgetSeries(DestinationId, AlertId),
    /// A group without an incident is forgotten.
    ForgetGroup(GroupKey),
}

impl Timer {
    /// Whether the timer shows that an alert fires or does not. Other timers only start an action.
    pub(crate) fn is_evidence(&self) -> bool {
        matches!(self, Timer::Alert(..))
    }

    /// The reason in the engine's public words.
    pub(crate) fn why(&self) -> Why {
        match self {
            Timer::Alert(..) => Why::Alert,
            Timer::Hold(..) => Why::Hold,
            Timer::Reuse(..) | Timer::Confirm(..) => Why::Reuse,
            Timer::GroupWait(..) => Why::GroupWait,
            Timer::Update(..) => Why::Update,
            Timer::ResolveHold(..) => Why::ResolveHold,
            Timer::Repeat(..) => Why::Repeat,
            Timer::Retry(..) => Why::Retry,
            Timer::Mute => Why::Mute,
            Timer::Digest(..) => Why::Digest,
            Timer::Respond(..) => Why::Respond,
            Timer::Unheard(..) | Timer::Undelivered(..) | Timer::SelfCheck => Why::Watch,
            Timer::Heartbeat => Why::Heartbeat,
            Timer::ForgetState(..) | Timer::ForgetSeries(..) | Timer::ForgetGroup(..) => Why::Forget,
        }
    }
}

/// How often the self-check looks again at the problems that it watches.
pub(crate) const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Deadlines that stand in an alert, where there may be a million: of these only the order is kept here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AlertDeadline {
    /// Of [`Timer::Alert`].
    Alert,
    /// Of [`Timer::Unheard`].
    Unheard,
}

/// All timers. Alerts, groups and incidents bound their number: each has a handful.
#[derive(Default, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Timestamp, Timer)>", into = "Vec<(Timestamp, Timer)>")]
pub(crate) struct Timers {
    queue: BTreeSet<(Timestamp, Timer)>,
    at: BTreeMap<Timer, Timestamp>,
    /// Follow from the alerts, so they are no part of a snapshot.
    alerts: BTreeSet<(Timestamp, AlertId)>,
    unheard: BTreeSet<(Timestamp, AlertId)>,
}

impl Timers {
    /// Sets `timer`, or moves it.
    pub(crate) fn set(&mut self, timer: Timer, at: Timestamp) {
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
    pub(crate) fn set_if_unset(&mut self, timer: Timer, at: Timestamp) {
        if !self.at.contains_key(&timer) {
            self.set(timer, at);
        }
    }

    /// Sets `timer`, unless it fires by then anyway.
    pub(crate) fn set_by(&mut self, timer: Timer, at: Timestamp) {
        if self.at.get(&timer).is_none_or(|known| *known > at) {
            self.set(timer, at);
        }
    }

    /// Takes `timer` out, if it is set.
    pub(crate) fn clear(&mut self, timer: &Timer) {
        if let Some(at) = self.at.remove(timer) {
            self.queue.remove(&(at, timer.clone()));
        }
    }

    /// Moves a deadline of an alert from where it stood to where it stands now.
    pub(crate) fn stands(
        &mut self,
        what: AlertDeadline,
        alert: AlertId,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) {
        let queue = match what {
            AlertDeadline::Alert => &mut self.alerts,
            AlertDeadline::Unheard => &mut self.unheard,
        };
        if from == to {
            return;
        }
        if let Some(from) = from {
            queue.remove(&(from, alert));
        }
        if let Some(to) = to {
            queue.insert((to, alert));
        }
    }

    /// The deadline of `timer`, if it is set. It does not find timers that stand in an alert.
    pub(crate) fn deadline(&self, timer: &Timer) -> Option<Timestamp> {
        self.at.get(timer).copied()
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<(Timestamp, Why)> {
        let (at, which) = self.first()?;
        let why = match which {
            First::Alert => Why::Alert,
            First::Unheard => Why::Watch,
            First::Early | First::Late => self.queue.first()?.1.why(),
        };
        Some((at, why))
    }

    /// Takes out the earliest timer that is due at `now`. One that stands in an alert is still to be cleared
    /// there.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        match self.first().filter(|(at, _)| *at <= now)?.1 {
            First::Alert => self.alerts.pop_first().map(|(_, alert)| Timer::Alert(alert)),
            First::Unheard => self.unheard.pop_first().map(|(_, alert)| Timer::Unheard(alert)),
            First::Early | First::Late => {
                let (_, timer) = self.queue.pop_first()?;
                self.at.remove(&timer);
                Some(timer)
            }
        }
    }

    /// The earliest deadline, and its place. Deadlines at the same time come in the order of [`Timer`].
    fn first(&self) -> Option<(Timestamp, First)> {
        let place = |timer: &Timer| match *timer < Timer::Unheard(AlertId(0)) {
            true => First::Early,
            false => First::Late,
        };
        let alert = self.alerts.first().map(|(at, _)| (*at, First::Alert));
        let timer = self.queue.first().map(|(at, timer)| (*at, place(timer)));
        let unheard = self.unheard.first().map(|(at, _)| (*at, First::Unheard));
        [alert, timer, unheard].into_iter().flatten().min()
    }
}

/// Where the earliest deadline is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum First {
    Alert,
    /// In the queue, and before [`First::Unheard`].
    Early,
    Unheard,
    Late,
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
        let hold = |n| Timer::Hold(DestinationId(n), AlertId(0));
        timers.set(hold(1), t(10));
        timers.set(hold(2), t(5));
        timers.set(hold(1), t(3));
        timers.set_if_unset(hold(2), t(1));
        timers.set(hold(3), t(4));
        timers.clear(&hold(3));
        assert_eq!(timers.next(), Some((t(3), Why::Hold)));
        assert_eq!(timers.pop_due(t(2)), None);
        timers.set(hold(1), t(7));
        assert_eq!(timers.pop_due(t(9)), Some(hold(2)));
        assert_eq!(timers.pop_due(t(9)), Some(hold(1)));
        assert_eq!(timers, Timers::default());
    }

    #[test]
    fn what_stands_in_an_alert_fires_in_order_with_the_rest() {
        let (t, mut timers) = (|ms| Some(Timestamp::from_millis(ms)), Timers::default());
        timers.set(Timer::SelfCheck, Timestamp::from_millis(5));
        timers.set(Timer::Mute, Timestamp::from_millis(5));
        timers.stands(AlertDeadline::Unheard, AlertId(1), None, t(5));
        timers.stands(AlertDeadline::Alert, AlertId(2), None, t(9));
        timers.stands(AlertDeadline::Alert, AlertId(2), t(9), t(5));
        timers.stands(AlertDeadline::Alert, AlertId(3), None, t(4));
        timers.stands(AlertDeadline::Alert, AlertId(3), t(4), None);
        let all = std::iter::from_fn(|| timers.pop_due(Timestamp::from_millis(5)));
        let order = [Timer::Alert(AlertId(2)), Timer::Mute, Timer::Unheard(AlertId(1)), Timer::SelfCheck];
        assert_eq!(all.collect::<Vec<_>>(), order);
        assert_eq!(timers, Timers::default());
    }
}
