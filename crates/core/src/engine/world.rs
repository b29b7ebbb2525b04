//! The ground that every part of the engine stands on: time, settings, alerts, timers and accounts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use crate::engine::accounting::Accounting;
use crate::engine::alerts::{Alert, Alerts};
use crate::engine::destinations::Destinations;
use crate::engine::ids::{DestinationId, GroupKey};
use crate::engine::incidents::incident::{Incident, Side};
use crate::engine::incidents::members::{Level, UNKNOWN};
use crate::engine::state::AlertState;
use crate::engine::stats::Bound;
use crate::engine::timers::{Timer, Timers};
use crate::model::{AlertId, Duration, LabelSet, Timestamp};
use crate::policy::Policy;

/// The label of the group in which a receiver's merged pages stand.
pub const MERGED: &str = "squelch_merged";

/// An alert that a digest or an incident has still to name is remembered for as long again.
pub(crate) const REMEMBER_ON: Duration = Duration::from_hours(1);

/// After a vain search for entries to forget, the next search comes no sooner than this.
pub(crate) const SEARCH_AGAIN: Duration = Duration::from_secs(1);

/// The times of vain searches for entries to forget, by the bound that was reached.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Searched {
    #[serde(with = "crate::engine::pairs")]
    pub(crate) in_vain: BTreeMap<Bound, Timestamp>,
}

impl Searched {
    /// Whether a search may find an entry now.
    fn may(&self, now: Timestamp, bound: Bound) -> bool {
        self.in_vain.get(&bound).is_none_or(|at| *at + SEARCH_AGAIN <= now)
    }

    /// A search found this many.
    fn found(&mut self, now: Timestamp, bound: Bound, count: usize) {
        match count {
            0 => drop(self.in_vain.insert(bound, now)),
            _ => drop(self.in_vain.remove(&bound)),
        }
    }
}

/// The `most` smallest, in order.
pub(crate) fn earliest<T: Ord>(mut all: Vec<T>, most: usize) -> Vec<T> {
    if all.len() > most {
        all.select_nth_unstable(most);
        all.truncate(most);
    }
    all.sort_unstable();
    all
}

/// When a bound is reached, one part in this many of the forgettable entries goes at once.
pub(crate) const SHARE: usize = 100;

/// The state that every part of the engine reads, and the timers and accounts that every part writes. It
/// calls no other part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct World {
    /// Engine time: the latest at which an event was handled.
    pub(crate) now: Timestamp,
    pub(crate) policy: Policy,
    pub(crate) destinations: Destinations,
    pub(crate) alerts: Alerts,
    pub(crate) timers: Timers,
    pub(crate) accounting: Accounting,
    #[serde(default)]
    pub(crate) searched: Searched,
}

impl World {
    pub(crate) fn new(policy: Policy) -> Self {
        World {
            now: Timestamp::ZERO,
            policy,
            destinations: Destinations::default(),
            alerts: Alerts::default(),
            timers: Timers::default(),
            accounting: Accounting::default(),
            searched: Searched::default(),
        }
    }

    /// Wall time, to the second: the time of silences and time intervals, which people write.
    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.now.as_millis().saturating_sub(self.alerts.ahead()))
    }

    /// Whether the pages of this group list an alert that takes this destination.
    pub(crate) fn listed_in(&self, alert: AlertId, destination: DestinationId, key: &GroupKey) -> bool {
        let own = || Some(self.group_key(destination, &self.alerts.alert(alert)?.labels));
        *key == self.merged_key(destination) || own().as_ref() == Some(key)
    }

    /// Whether an alert fires of which receivers are notified. A heartbeat never counts.
    pub(crate) fn really_fires(&self, alert: AlertId) -> bool {
        let known = self.alerts.alert(alert).filter(|a| a.firing());
        known.is_some_and(|a| self.policy.heartbeat_of(&a.labels).is_none())
    }

    /// The severity level of an alert.
    pub(crate) fn level_of(&self, alert: AlertId) -> Level {
        let level = |known: &crate::engine::alerts::Alert| self.policy.severities.level_of(&known.labels);
        self.alerts.alert(alert).map_or(UNKNOWN, |known| level(known).try_into().unwrap_or(UNKNOWN - 1))
    }

    /// The time until which the severity of an alert holds its first page. It is never earlier than now.
    /// `None` if the alert is not known.
    pub(crate) fn held_by_level(&self, alert: AlertId) -> Option<Timestamp> {
        let known = self.alerts.alert(alert)?;
        let level = self.policy.severities.level(&known.labels);
        let until = self.alerts.began(known) + level.hold;
        Some(if level.never_hold { self.now } else { until.max(self.now) })
    }

    /// The page of an alert is held until then.
    pub(crate) fn hold_until(&mut self, alert: AlertId, destination: DestinationId, until: Timestamp) {
        if self.state(alert, destination).hold(until) {
            self.timers.set(Timer::Hold(destination, alert), until);
            self.gauges(destination).held += 1;
        }
    }

    /// The hold of an alert's page ends. Returns whether one ran.
    pub(crate) fn end_hold(&mut self, alert: AlertId, destination: DestinationId) -> bool {
        let held = self.state(alert, destination).end_hold();
        if held {
            self.timers.clear(&Timer::Hold(destination, alert));
            self.gauges(destination).held -= 1;
        }
        held
    }

    /// An alert flaps no more, if it did.
    pub(crate) fn end_flapping(&mut self, alert: AlertId, destination: DestinationId) {
        let damping = &mut self.alerts.state_mut(alert, destination).damping;
        if damping.flaps().is_some() {
            damping.release(self.now, &self.destinations.get(destination).noise.flapping);
            self.gauges(destination).flapping -= 1;
        }
    }

    /// The page of an alert is held no longer than its severity now says.
    pub(crate) fn shorten_hold(&mut self, alert: AlertId, destination: DestinationId) {
        let held = self.alerts.state(alert, destination).and_then(AlertState::held_until);
        let new = held.and_then(|until| self.held_by_level(alert).filter(|new| *new < until));
        if let Some(new) = new {
            self.state(alert, destination).hold(new);
            self.timers.set(Timer::Hold(destination, alert), new);
        }
    }

    /// The group of an alert. Labels that do not change an alert's identity do not change its group.
    pub(crate) fn group_key(&self, destination: DestinationId, labels: &LabelSet) -> crate::engine::GroupKey {
        let telling = self.policy.telling(labels);
        (
            destination,
            self.destinations.get(destination).group_by.labels_of(telling.as_ref().unwrap_or(labels)),
        )
    }

    /// The groups of an alert, one for each destination that it takes.
    pub(crate) fn groups_of(&self, alert: AlertId) -> impl Iterator<Item = crate::engine::GroupKey> {
        let known = self.alerts.alert(alert);
        let destinations = known.map(|_| self.taken_destinations(alert)).unwrap_or_default();
        let key = move |destination| known.map(|known| self.group_key(destination, &known.labels));
        destinations.into_iter().filter_map(key)
    }

    pub(crate) fn fires(&self, alert: AlertId) -> bool {
        self.alerts.alert(alert).is_some_and(crate::engine::alerts::Alert::firing)
    }

    /// Whether the alert fires at this destination, muted or not.
    pub(crate) fn is_live(&self, alert: AlertId, destination: DestinationId) -> bool {
        self.alerts.state(alert, destination).is_some_and(AlertState::is_live)
    }

    pub(crate) fn taken_destinations(&self, alert: AlertId) -> Vec<DestinationId> {
        self.alerts.states_of(alert).map(|(destination, _)| destination).collect()
    }

    pub(crate) fn state(&mut self, alert: AlertId, destination: DestinationId) -> &mut AlertState {
        self.alerts.state_mut(alert, destination)
    }

    pub(crate) fn gauges(&mut self, destination: DestinationId) -> &mut crate::engine::ReceiverStats {
        let World { destinations, accounting, .. } = self;
        accounting.account(destinations.get(destination))
    }

    /// The name by which an alert may join an incident that rolls on. `None` if its level is never held.
    pub(crate) fn rolls_by<'a>(&self, labels: &'a LabelSet) -> Option<&'a str> {
        let exempt = self.policy.severities.level(labels).never_hold;
        Some(labels.value("alertname")).filter(|_| !exempt)
    }

    /// Counts observations that took a destination. They are pending until disposed.
    pub(crate) fn routed(&mut self, destination: DestinationId, count: u64) {
        let account = self.gauges(destination);
        account.routed += count;
        account.pending += count;
    }

    /// A receiver has another name.
    pub(crate) fn rename_receiver(&mut self, old: &SmolStr, new: &SmolStr) {
        self.destinations.rename_receiver(old, new);
        self.accounting.rename_receiver(old, new);
        if let Some(due) = self.timers.deadline(&Timer::Digest(old.clone())) {
            self.timers.clear(&Timer::Digest(old.clone()));
            self.timers.set(Timer::Digest(new.clone()), due);
        }
    }

    /// The flow to which a destination's pages belong. Pages in observe mode take no place from real ones.
    pub(crate) fn flow_key(&self, destination: DestinationId) -> SmolStr {
        let destination = self.destinations.get(destination);
        match destination.observes() {
            true => format_smolstr!("{}\0observe", destination.receiver),
            false => destination.receiver.clone(),
        }
    }

    /// The group of a receiver's merged pages.
    pub(crate) fn merged_key(&self, destination: DestinationId) -> GroupKey {
        let receiver = &self.destinations.get(destination).receiver;
        (
            self.destinations.first_of_receiver(destination),
            LabelSet::from_pairs([(MERGED, receiver.as_str())]),
        )
    }

    pub(crate) fn never_holds(&self, alert: AlertId) -> bool {
        self.alerts.alert(alert).is_some_and(|a| self.policy.severities.level(&a.labels).never_hold)
    }

    /// Whether one more alert may be known. Resolved alerts are forgotten for it, the oldest first, but
    /// none of `heard`: the current request is about those, and is not decided yet.
    pub(crate) fn has_room(&mut self, heard: impl Iterator<Item = AlertId>) -> bool {
        if self.alerts.len() < self.policy.limits.alerts {
            return true;
        }
        if self.alerts.len() == self.alerts.firing() || !self.may_search(Bound::Alerts) {
            return false;
        }
        let idle = |alert: &AlertId| {
            let busy = |t: &crate::engine::AlertState| t.is_live() || t.damping.flaps().is_some();
            !self.alerts.states_of(*alert).any(|(_, state)| busy(state))
        };
        let heard: BTreeSet<AlertId> = heard.collect();
        let gone =
            |id: &AlertId, a: &Alert| !a.firing() && !a.is_disputed() && !heard.contains(id) && idle(id);
        let over = self.alerts.iter().filter(|(id, a)| gone(id, a));
        let over = earliest(over.map(|(id, a)| (a.ends_at, *id)).collect(), self.share());
        self.found(Bound::Alerts, over.len());
        for (_, alert) in &over {
            for destination in self.taken_destinations(*alert) {
                self.alerts.forget_state(*alert, destination);
                self.timers.clear(&Timer::ForgetState(destination, *alert));
            }
            self.accounting.forget(self.now, *alert, (&mut self.alerts, &self.destinations));
            self.alerts.forget(*alert, &mut self.timers);
        }
        !over.is_empty()
    }

    pub(crate) fn share(&self) -> usize {
        usize::try_from(self.policy.limits.alerts).unwrap_or(usize::MAX).div_ceil(SHARE)
    }

    pub(crate) fn may_search(&self, bound: Bound) -> bool {
        self.searched.may(self.now, bound)
    }

    /// `count` may be forgotten. If there are none, it is not looked for more before long.
    pub(crate) fn found(&mut self, bound: Bound, count: usize) {
        self.accounting.bound(bound, count as u64);
        self.searched.found(self.now, bound, count);
    }

    /// The name of the severity level that `labels` name.
    pub(crate) fn level_name(&self, labels: &LabelSet) -> SmolStr {
        self.policy.severities.level(labels).name.clone()
    }

    pub(crate) fn destinations_to(
        &self,
        alert: AlertId,
        receiver: &str,
    ) -> impl Iterator<Item = DestinationId> {
        let destinations = self.taken_destinations(alert).into_iter();
        destinations.filter(move |destination| self.destinations.get(*destination).receiver == receiver)
    }

    /// An alert fires. If it flaps, it pages once it has fired for `confirm` without a break.
    pub(crate) fn confirm_later(&mut self, alert: AlertId, destination: DestinationId) {
        let confirm = self.destinations.get(destination).noise.flapping.confirm;
        if !confirm.is_zero() && self.state(alert, destination).damping.flaps().is_some() {
            self.timers.set(Timer::Confirm(destination, alert), self.now + confirm);
        }
    }

    /// Counts an incident as closing, or no longer.
    pub(crate) fn count_closing(&mut self, incident: &mut Incident, closing: bool) {
        let closing = closing && incident.side != Side::Observed;
        if closing == std::mem::replace(&mut incident.closing_counted, closing) {
            return;
        }
        let count = &mut self.accounting.receiver(&self.destinations.get(incident.group.0).receiver).closing;
        *count = if closing { *count + 1 } else { count.saturating_sub(1) };
    }

    /// Sets when the state of an alert at a destination is forgotten: once it holds no information.
    pub(crate) fn remember(&mut self, alert: AlertId, destination: DestinationId) {
        let noise = &self.destinations.get(destination).noise;
        let Some(state) = self.alerts.state(alert, destination) else { return };
        let at = state
            .damping
            .forget_at(&noise.flapping)
            .max(self.now + noise.merge_window.max(noise.resolve_hold))
            .max(state.alone.as_ref().map_or(self.now, |alone| alone.forget_at()));
        self.timers.set(Timer::ForgetState(destination, alert), at);
    }

    /// An alert begins to fire: a receiver must be notified of it in time.
    pub(crate) fn watch_alert(&mut self, alert: AlertId) {
        let Some(known) = self.alerts.alert(alert).filter(|a| a.firing()) else { return };
        if self.policy.heartbeat_of(&known.labels).is_some() {
            return;
        }
        if let Some(within) = self.policy.notified_within(&known.labels) {
            let by = known.received_at + within;
            self.alerts.watch(alert, Some(by), &mut self.timers);
        }
    }

    /// The policy changed. The watch of a firing alert follows the new settings, from the time when it
    /// began.
    pub(crate) fn watch_anew(&mut self, alert: AlertId) {
        self.alerts.watch(alert, None, &mut self.timers);
        self.watch_alert(alert);
    }

    pub(crate) fn undelivered_after(&self) -> Option<Duration> {
        let after = self.policy.self_check.undelivered_after;
        Some(after).filter(|after| self.policy.self_check.enabled && !after.is_zero())
    }

    /// The next time to look at entries that cannot be forgotten yet: those of an hour together.
    pub(crate) fn next_hour(&self) -> Timestamp {
        let hour = REMEMBER_ON.as_millis() as i64;
        let next = self.now.as_millis().div_euclid(hour).saturating_add(1);
        Timestamp::from_millis(next.saturating_mul(hour))
    }
}
