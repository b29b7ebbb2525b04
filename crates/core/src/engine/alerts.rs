//! Normalise: observations → the occurrences of alerts.
//!
//! An alert fires while any full label set of it fires (`occurrences.rs`). Its states at the destinations
//! (`state.rs`) stand beside it. There may be a million alerts, and the engine looks up each one once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::few::Few;
use crate::engine::forms::{Forms, Wording};
use crate::engine::ids::DestinationId;
use crate::engine::occurrences::{Moment, OccurrenceChange, OccurrenceKey, Occurrences, PeerId};
use crate::engine::state::AlertState;
use crate::engine::timers::{AlertDeadline, Timers};
use crate::model::{AlertId, Duration, LabelSet, NotificationId, Observation, Source, Status, Timestamp};
use crate::policy::Policy;

/// How long an alert that no longer fires is remembered, to tell a late copy from a new problem.
pub(crate) const REMEMBER_RESOLVED: Duration = Duration::from_hours(24);

/// An alert. It has an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alert {
    /// The full label set as last said: routes, silences and inhibition are about it.
    pub(crate) labels: LabelSet,
    /// The labels of its identity, if they are others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<LabelSet>,
    /// Annotations and where the rule can be looked at, as last said.
    wording: Wording,
    /// Start of the current occurrence, or of the last one, as its senders say it.
    pub(crate) starts_at: Timestamp,
    /// End of the last occurrence, as its senders say it. None while firing.
    pub(crate) ends_at: Option<Timestamp>,
    /// When this program first received a statement about the occurrence, in engine time.
    pub(crate) received_at: Timestamp,
    /// The number of the next notification when it began or ceased to fire. Notifications with a lower number
    /// left before that.
    turned: NotificationId,
    /// When the engine looks at it next, if there is no statement: no later than the first of its
    /// deadlines.
    due: Option<Timestamp>,
    /// When it is forgotten, while nothing of it fires or may.
    forget_at: Option<Timestamp>,
    /// The time by which a receiver should have been notified of it.
    unheard_at: Option<Timestamp>,
    /// When its labels were written down last, for the [`crate::engine::accounting::Accounting`].
    pub(crate) named: Option<Timestamp>,
    pub(crate) occurrences: Occurrences,
}

/// The change that an observation, or the passing of time, made to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// No change.
    None,
    /// It did not fire, and does.
    Fired,
    /// It did not fire, and now does: a peer went on stating that it fires after another peer resolved it.
    Believed,
    /// It fired, was resolved unheard at the time given, and fires anew.
    Restarted {
        /// The time of the former occurrence's last statement.
        last_seen: Timestamp,
    },
    /// It fired, and no longer does.
    Resolved,
    /// The resolve of an alert that Squelch did not know as firing.
    UnknownResolved,
}

/// All that is known under one identity.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// Nothing, once the alert is forgotten and a destination still remembers how it flapped.
    alert: Option<Alert>,
    states: Few<DestinationId, AlertState>,
}

/// All alerts, and whose full label sets they are.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alerts {
    known: BTreeMap<AlertId, Box<Known>>,
    /// The texts of their annotations and addresses.
    forms: Forms,
    /// How many of them are alerts.
    count: u64,
    /// Full label sets that are not their alert's identity, by their own.
    owners: BTreeMap<AlertId, AlertId>,
    firing: u64,
    /// Firing full label sets that were forgotten for new ones.
    #[serde(default)]
    forgotten: u64,
    /// By how many milliseconds engine time is ahead of wall time.
    #[serde(default)]
    ahead: i64,
}

impl Alert {
    /// Whether it fires.
    pub(crate) fn firing(&self) -> bool {
        self.ends_at.is_none()
    }

    /// The labels by which everybody outside knows the alert: those of its identity. They stay the same
    /// whichever replica speaks, and however `ignore_labels` changes meanwhile.
    pub(crate) fn told(&self) -> &LabelSet {
        self.identity.as_ref().unwrap_or(&self.labels)
    }

    /// Takes in its full label set.
    fn said(&mut self, labels: &LabelSet) {
        if *labels == self.labels {
            return;
        }
        let before = std::mem::replace(&mut self.labels, labels.clone());
        let identity = self.identity.take().unwrap_or(before);
        self.identity = Some(identity).filter(|identity| *identity != self.labels);
    }

    /// Whether a sender makes a statement about it that is not believed yet.
    pub(crate) fn is_disputed(&self) -> bool {
        self.occurrences.is_disputed()
    }
}

impl Alerts {
    /// A copy of these two alerts alone, for a copy of the engine. It includes the states of `id` at the
    /// destinations.
    pub(crate) fn only(&self, id: AlertId, other: Option<AlertId>) -> Alerts {
        let mut only = Alerts { ahead: self.ahead, ..Alerts::default() };
        for id in [Some(id), other].into_iter().flatten() {
            let Some(alert) = self.alert(id).cloned() else { continue };
            let (annotations, url) = self.said(&alert);
            let wording = only.forms.keep(&annotations, &url);
            let alert = Alert { due: None, unheard_at: None, wording, ..alert };
            only.count += 1;
            only.firing += u64::from(alert.firing());
            only.known.entry(id).or_default().alert = Some(alert);
        }
        for (destination, state) in self.states_of(id) {
            *only.state_mut(id, destination) = state.clone();
        }
        only
    }

    /// Engine time is so many milliseconds ahead of wall time from now on.
    pub(crate) fn clocks(&mut self, ahead: i64) {
        self.ahead = ahead;
    }

    /// By how many milliseconds engine time is ahead of wall time.
    pub(crate) fn ahead(&self) -> i64 {
        self.ahead
    }

    /// The instant at which engine time is `now`.
    pub(crate) fn moment(&self, now: Timestamp) -> Moment {
        Moment::new(now, self.ahead)
    }

    pub(crate) fn alert(&self, id: AlertId) -> Option<&Alert> {
        self.known.get(&id)?.alert.as_ref()
    }

    /// The labels of an alert, while it fires.
    pub(crate) fn firing_labels(&self, id: AlertId) -> Option<&LabelSet> {
        self.alert(id).filter(|alert| alert.firing()).map(|alert| &alert.labels)
    }

    pub(crate) fn alert_mut(&mut self, id: AlertId) -> Option<&mut Alert> {
        self.known.get_mut(&id)?.alert.as_mut()
    }

    /// The alerts that fire, with their labels.
    pub(crate) fn that_fire(&self) -> impl Iterator<Item = (AlertId, &LabelSet)> + Clone {
        self.iter().filter(|(_, alert)| alert.firing()).map(|(id, alert)| (*id, &alert.labels))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&AlertId, &Alert)> + Clone {
        self.after(None)
    }

    /// The alerts behind `id` in the order of their identity. Without `id`, all alerts.
    pub(crate) fn after(&self, id: Option<AlertId>) -> impl Iterator<Item = (&AlertId, &Alert)> + Clone {
        let from = id.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let known = self.known.range((from, std::ops::Bound::Unbounded));
        known.filter_map(|(id, known)| Some((id, known.alert.as_ref()?)))
    }

    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    /// Full label sets of the one that has most.
    pub(crate) fn most_label_sets(&self) -> u64 {
        self.iter().map(|(_, alert)| alert.occurrences.len() as u64).max().unwrap_or(0)
    }

    /// The annotations of one of them, and where its rule can be looked at, as last said.
    pub(crate) fn said(&self, alert: &Alert) -> (LabelSet, SmolStr) {
        self.forms.read(&alert.wording)
    }

    /// An alert began or ceased to fire, before the notification `next`.
    pub(crate) fn turned(&mut self, id: AlertId, next: NotificationId) {
        if let Some(alert) = self.known.get_mut(&id).and_then(|known| known.alert.as_mut()) {
            alert.turned = next;
        }
    }

    /// Whether an alert began or ceased to fire after a notification was issued.
    pub(crate) fn turned_since(&self, id: AlertId, notification: NotificationId) -> bool {
        self.alert(id).is_some_and(|alert| alert.turned > notification)
    }

    /// When a peer stated an alert last, and when it ends if no peer states it again, both in wall time.
    pub(crate) fn stated(&self, alert: &Alert, policy: &Policy) -> (Timestamp, Timestamp) {
        let last = alert.occurrences.last_seen().unwrap_or(alert.received_at);
        let ends = alert.occurrences.expires_at(policy).unwrap_or(last);
        (self.moment(last).wall, self.moment(ends).wall)
    }

    /// The state of an alert at a destination.
    pub(crate) fn state(&self, id: AlertId, destination: DestinationId) -> Option<&AlertState> {
        self.known.get(&id)?.states.get(&destination)
    }

    /// The state of an alert at a destination. It creates the state if there is none.
    pub(crate) fn state_mut(&mut self, id: AlertId, destination: DestinationId) -> &mut AlertState {
        self.known.entry(id).or_default().states.or_default(destination)
    }

    /// The states of an alert at the destinations.
    pub(crate) fn states_of(&self, id: AlertId) -> impl Iterator<Item = (DestinationId, &AlertState)> {
        self.known
            .get(&id)
            .into_iter()
            .flat_map(|known| known.states.iter())
            .map(|(destination, t)| (*destination, t))
    }

    /// The states of all alerts, by alert and destination.
    pub(crate) fn states(&self) -> impl Iterator<Item = (AlertId, DestinationId, &AlertState)> {
        self.known
            .iter()
            .flat_map(|(id, known)| known.states.iter().map(|(destination, t)| (*id, *destination, t)))
    }

    /// A destination knows nothing of an alert any more.
    pub(crate) fn forget_state(&mut self, id: AlertId, destination: DestinationId) {
        if let Some(known) = self.known.get_mut(&id) {
            known.states.remove(&destination);
        }
        self.leave_out(id);
    }

    /// Removes the entry of `id` if it is empty.
    fn leave_out(&mut self, id: AlertId) {
        if self.known.get(&id).is_some_and(|known| known.alert.is_none() && known.states.is_empty()) {
            self.known.remove(&id);
        }
    }

    /// How many firing full label sets were forgotten for new ones of the same alert.
    pub(crate) fn label_sets_forgotten(&self) -> u64 {
        self.forgotten
    }

    /// How many fire.
    pub(crate) fn firing(&self) -> u64 {
        self.firing
    }

    /// The alert to which a full label set belongs. This is its previous alert, if that is known, so that a
    /// change of `ignore_labels` does not split a firing alert. Otherwise it is its identity.
    pub(crate) fn owner(&self, instance: AlertId, labels: &LabelSet, policy: &Policy) -> AlertId {
        match self.owners.get(&instance) {
            Some(owner) => *owner,
            None if self.alert(instance).is_some() => instance,
            None => policy.identity_given(instance, labels),
        }
    }

    /// The alert that `observation` is about. Under a key the labels name it, if another alert has the key.
    pub(crate) fn owner_of(
        &self,
        source: Source,
        instance: AlertId,
        observation: &Observation,
        policy: &Policy,
    ) -> AlertId {
        let labels = &observation.labels;
        if !source.is_keyed() {
            return self.owner(instance, labels, policy);
        }
        let known = |alert: &Alert| observation.status == Status::Resolved || alert.labels == *labels;
        let owner = self.owner_of_key(instance).filter(|(_, alert)| known(alert));
        owner.map_or_else(|| policy.identity(labels), |(id, _)| id)
    }

    /// The alert that had a key last.
    pub(crate) fn owner_of_key(&self, key: AlertId) -> Option<(AlertId, &Alert)> {
        let owner = *self.owners.get(&key)?;
        Some((owner, self.alert(owner)?))
    }

    /// Takes one observation in.
    pub(crate) fn observe(
        &mut self,
        now: Timestamp,
        (source, peer): (Source, PeerId),
        observation: &Observation,
        (alert_id, instance_id): (AlertId, AlertId),
        policy: &Policy,
        timers: &mut Timers,
    ) -> Change {
        if alert_id != instance_id {
            let owner = self.owners.entry(instance_id).or_insert(alert_id);
            // A resolve takes no key away from the alert that has it now.
            if observation.status == Status::Firing {
                *owner = alert_id;
            }
        }
        let key = (source, instance_id);
        let at = self.moment(now);
        let known = self.known.entry(alert_id).or_default();
        let unknown = known.alert.is_none();
        self.count += u64::from(unknown);
        let keep = |forms: &mut Forms| forms.keep(&observation.annotations, &observation.generator_url);
        let alert = match &mut known.alert {
            Some(alert) => {
                if observation.status == Status::Firing || !alert.firing() {
                    alert.said(&observation.labels);
                }
                alert
            }
            none => none.insert(Alert::new(at, observation, keep(&mut self.forms), policy)),
        };
        if let Some((gone, fired)) = alert.occurrences.make_room(&key) {
            self.forgotten += u64::from(fired);
            if let Some(instance) = gone {
                disown(&mut self.owners, instance, alert_id);
            }
        }
        let fired_before = alert.firing();
        let change = match observation.status {
            Status::Firing => alert.occurrences.fire(at, key, peer, observation),
            Status::Resolved => alert.occurrences.resolve(at, key, peer, observation),
        };
        if !unknown && change != OccurrenceChange::Old {
            let wording = keep(&mut self.forms);
            self.forms.release(&std::mem::replace(&mut alert.wording, wording));
        }
        let change = match change {
            OccurrenceChange::None if unknown => Change::UnknownResolved,
            OccurrenceChange::None | OccurrenceChange::Old => Change::None,
            OccurrenceChange::Fired if fired_before => Change::None,
            OccurrenceChange::Fired => Change::Fired,
            OccurrenceChange::Restarted(_) if alert.occurrences.firing() > 1 => Change::None,
            OccurrenceChange::Restarted(last_seen) => {
                alert.starts_at = observation.starts_at;
                alert.received_at = now;
                Change::Restarted { last_seen }
            }
            OccurrenceChange::Resolved if alert.occurrences.fires() => Change::None,
            OccurrenceChange::Resolved => Change::Resolved,
        };
        self.settle(now, alert_id, fired_before, change, observation.ends_at, policy, timers);
        change
    }

    /// Brings the alert in line with `change` of its occurrences.
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
        let wall = self.moment(now).wall;
        let Some(alert) = self.known.get_mut(&id).and_then(|known| known.alert.as_mut()) else { return };
        match change {
            Change::Fired | Change::Believed => {
                alert.starts_at = alert.occurrences.started_at().unwrap_or(wall);
                alert.received_at = now;
                alert.ends_at = None;
                self.firing += 1;
            }
            Change::Resolved => {
                alert.ends_at = Some(ends_at.unwrap_or(wall).max(alert.starts_at));
                self.firing -= 1;
            }
            Change::None if fired_before => {
                alert.starts_at = alert.occurrences.started_at().unwrap_or(alert.starts_at);
            }
            Change::None | Change::Restarted { .. } | Change::UnknownResolved => {}
        }
        alert.wind(now, id, policy, timers);
    }

    /// [`crate::engine::timers::Timer::Alert`] fired.
    pub(crate) fn woke(&mut self, id: AlertId) {
        self.alert_mut(id).map(|alert| alert.due.take());
    }

    /// Sets the timer of the alert.
    pub(crate) fn wind(&mut self, now: Timestamp, id: AlertId, policy: &Policy, timers: &mut Timers) {
        if let Some(alert) = self.alert_mut(id) {
            alert.wind(now, id, policy, timers);
        }
    }

    /// Whether it is time to forget it.
    pub(crate) fn is_over(&self, now: Timestamp, id: AlertId) -> bool {
        self.alert(id).is_some_and(|alert| alert.forget_at.is_some_and(|at| at <= now))
    }

    /// It is remembered until `at`, if it does not fire before.
    pub(crate) fn remember_until(&mut self, id: AlertId, at: Timestamp) {
        if let Some(alert) = self.alert_mut(id) {
            alert.forget_at = Some(at);
        }
    }

    /// Sets the time by which a receiver must have been notified of it, if there is one.
    pub(crate) fn watch(&mut self, id: AlertId, by: Option<Timestamp>, timers: &mut Timers) {
        if let Some(alert) = self.alert_mut(id) {
            timers.stands(AlertDeadline::Unheard, id, alert.unheard_at, by);
            alert.unheard_at = by;
        }
    }

    /// [`crate::engine::timers::Timer::Unheard`] fired.
    pub(crate) fn watched(&mut self, id: AlertId) {
        self.alert_mut(id).map(|alert| alert.unheard_at.take());
    }

    /// Restores the timers that a snapshot leaves out.
    pub(crate) fn rewind(&self, timers: &mut Timers) {
        for (id, alert) in self.iter() {
            timers.stands(AlertDeadline::Alert, *id, None, alert.due);
            timers.stands(AlertDeadline::Unheard, *id, None, alert.unheard_at);
        }
    }

    /// The sender got no answer to its statement about a full label set.
    pub(crate) fn unanswered(&mut self, alert_id: AlertId, key: OccurrenceKey, peer: PeerId) {
        if let Some(alert) = self.alert_mut(alert_id) {
            alert.occurrences.unanswered(&key, peer);
        }
    }

    /// When the current occurrence began in engine time. It is no later than its first statement.
    pub(crate) fn began(&self, alert: &Alert) -> Timestamp {
        self.moment(alert.received_at).engine(alert.starts_at).min(alert.received_at)
    }

    /// The true content of a resolve of API v2: see [`Occurrences::judge`].
    pub(crate) fn judge(
        &self,
        now: Timestamp,
        (alert, instance, peer): (AlertId, AlertId, PeerId),
        said: &Observation,
        late: Option<Duration>,
    ) -> Status {
        let unheard = Occurrences::default();
        let occurrences = self.alert(alert).map_or(&unheard, |alert| &alert.occurrences);
        occurrences.judge(self.moment(now), &(Source::Prometheus, instance), peer, said, late)
    }

    /// A peer repeated its statement about a full label set. Returns its status, if the full label set is
    /// known.
    pub(crate) fn repeated(
        &mut self,
        now: Timestamp,
        alert_id: AlertId,
        key: OccurrenceKey,
        peer: PeerId,
        ends_at: Option<Timestamp>,
    ) -> Option<Status> {
        let at = self.moment(now);
        self.alert_mut(alert_id)?.occurrences.repeated(at, &key, peer, ends_at)
    }

    /// Full label sets without a timely statement fire no more: those with an end of their own, or, if
    /// `stale`, the others.
    pub(crate) fn expire(
        &mut self,
        now: Timestamp,
        id: AlertId,
        stale: bool,
        policy: &Policy,
        timers: &mut Timers,
    ) -> Change {
        let at = self.moment(now);
        let Some(alert) = self.alert_mut(id) else { return Change::None };
        let Some(last_end) = alert.occurrences.expire(at, stale, policy) else { return Change::None };
        let change = if alert.occurrences.fires() { Change::None } else { Change::Resolved };
        self.settle(now, id, true, change, Some(last_end), policy, timers);
        change
    }

    /// Believes the statement of one member of a pair that it did not take back within
    /// [`crate::engine::occurrences::REFIRE_WAIT`].
    pub(crate) fn believe(
        &mut self,
        now: Timestamp,
        id: AlertId,
        policy: &Policy,
        timers: &mut Timers,
    ) -> Change {
        let at = self.moment(now);
        let believed = self.alert_mut(id).map(|alert| (alert.firing(), alert.occurrences.believe(at)));
        let Some((fired_before, true)) = believed else { return Change::None };
        let change = if fired_before { Change::None } else { Change::Believed };
        self.settle(now, id, fired_before, change, None, policy, timers);
        change
    }

    /// Forgets an alert that does not fire.
    pub(crate) fn forget(&mut self, id: AlertId, timers: &mut Timers) {
        let Some(known) = self.known.get_mut(&id) else { return };
        let Some(alert) = known.alert.take_if(|alert| !alert.firing()) else { return };
        self.count -= 1;
        self.forms.release(&alert.wording);
        timers.stands(AlertDeadline::Alert, id, alert.due, None);
        timers.stands(AlertDeadline::Unheard, id, alert.unheard_at, None);
        for (_, instance) in alert.occurrences.keys() {
            disown(&mut self.owners, *instance, id);
        }
        self.leave_out(id);
    }

    /// Squelch received nothing while the program was down. Each deadline therefore gets as much time again
    /// as a sender may take for its next statement.
    pub(crate) fn restarted(&mut self, now: Timestamp, policy: &Policy, timers: &mut Timers) {
        let ends = now + policy.resolve_timeout;
        let stale = now + Duration::from_millis(policy.stale_after.as_millis() / 3);
        for (id, known) in &mut self.known {
            let Some(alert) = &mut known.alert else { continue };
            alert.occurrences.restarted(now, ends, stale, policy);
            timers.stands(AlertDeadline::Alert, *id, alert.due.take(), None);
            alert.wind(now, *id, policy, timers);
        }
    }
}

/// A full label set or a key belongs to `alert` no more.
fn disown(owners: &mut BTreeMap<AlertId, AlertId>, instance: AlertId, alert: AlertId) {
    if owners.get(&instance) == Some(&alert) {
        owners.remove(&instance);
    }
}

impl Alert {
    fn new(at: Moment, observation: &Observation, wording: Wording, policy: &Policy) -> Self {
        Alert {
            labels: observation.labels.clone(),
            identity: policy.telling(&observation.labels),
            wording,
            starts_at: observation.starts_at,
            ends_at: Some(observation.ends_at.unwrap_or(at.wall)),
            received_at: at.now,
            turned: NotificationId(0),
            due: None,
            forget_at: None,
            unheard_at: None,
            named: None,
            occurrences: Occurrences::default(),
        }
    }

    /// Sets the timer of the alert. If the deadline turns out too early when it comes, it is moved.
    fn wind(&mut self, now: Timestamp, id: AlertId, policy: &Policy, timers: &mut Timers) {
        let next = if self.firing() || self.is_disputed() {
            self.forget_at = None;
            self.occurrences.deadline(policy)
        } else {
            let remembered = now + REMEMBER_RESOLVED.max(policy.stale_after);
            Some(*self.forget_at.get_or_insert(remembered))
        };
        if let Some(next) = next
            && self.due.is_none_or(|due| due > next)
        {
            timers.stands(AlertDeadline::Alert, id, self.due.replace(next), Some(next));
        }
    }
}
