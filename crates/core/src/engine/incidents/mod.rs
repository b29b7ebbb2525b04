//! The incidents, and the state of each at its receivers.

pub(crate) mod channel;
pub(crate) mod delivered;
pub(crate) mod delivery;
pub(crate) mod former;
pub(crate) mod history;
pub(crate) mod incident;
pub(crate) mod members;
pub(crate) mod membership;
pub(crate) mod orphans;
pub(crate) mod render;
pub(crate) mod second;
pub(crate) mod truth;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::event::Acknowledge;
use crate::engine::ids::{DestinationId, GroupKey, IncidentId};
use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::incident::{Incident, Phase, Side};
use crate::engine::state::AlertState;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{
    AlertId, Duration, IncidentChange, IncidentRecord, LabelSet, Notification, NotificationId,
};
use crate::policy::{IntegrationRef, Policy};

/// An incident with nothing left to send: every receiver knows that it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) id: IncidentId,
    pub(crate) group: GroupKey,
    pub(crate) side: Side,
    /// Its key may still be open at a receiver that gets no resolves.
    pub(crate) left_open: bool,
}

/// All incidents that are not settled. It brings each receiver to the truth, and knows nothing of why an
/// incident opens or closes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Incidents {
    #[serde(with = "crate::engine::pairs")]
    pub(crate) all: BTreeMap<IncidentId, Incident>,
    /// The notifications whose end is not known yet, with the channel that each went to.
    #[serde(with = "crate::engine::pairs")]
    pub(crate) in_flight: BTreeMap<NotificationId, (IncidentId, usize)>,
    /// Refused notifications that can be asked for again.
    #[serde(with = "crate::engine::pairs")]
    pub(crate) refused: BTreeMap<NotificationId, (IncidentId, usize)>,
    /// Incidents that are open at an integration that the configuration does not have any more.
    #[serde(default)]
    pub(crate) orphans: BTreeSet<IncidentId>,
    /// Alerts of which an incident could not say that they resolved, since they fire elsewhere.
    #[serde(default, with = "crate::engine::pairs")]
    pub(crate) unsaid: BTreeMap<AlertId, BTreeSet<IncidentId>>,
    pub(crate) next_incident: u64,
    pub(crate) next_notification: u64,
    /// Incidents by the labels of their group. Follows from the incidents, so is no part of a snapshot.
    #[serde(skip)]
    pub(crate) kin: BTreeMap<LabelSet, BTreeSet<IncidentId>>,
    /// Incidents that the event at hand touched. Empty between events, as are the next five.
    #[serde(skip)]
    pub(crate) touched: BTreeSet<IncidentId>,
    /// Incidents with nothing left to send.
    #[serde(skip)]
    pub(crate) settled: Vec<Settled>,
    /// Notifications that leave.
    #[serde(skip)]
    pub(crate) outgoing: Vec<Notification>,
    /// Notifications on their way that delivery is to give back.
    #[serde(skip)]
    pub(crate) recalls: Vec<NotificationId>,
    /// Refused notifications that were made good.
    #[serde(skip)]
    pub(crate) made_good: Vec<NotificationId>,
    /// The changes of incidents.
    #[serde(skip)]
    pub(crate) history: Vec<IncidentRecord>,
}

impl Default for Incidents {
    fn default() -> Self {
        Incidents {
            all: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            refused: BTreeMap::new(),
            orphans: BTreeSet::new(),
            unsaid: BTreeMap::new(),
            next_incident: 1,
            next_notification: 1,
            kin: BTreeMap::new(),
            touched: BTreeSet::new(),
            settled: Vec::new(),
            outgoing: Vec::new(),
            recalls: Vec::new(),
            made_good: Vec::new(),
            history: Vec::new(),
        }
    }
}

impl Incidents {
    /// The number of one more notification.
    pub(crate) fn new_notification(&mut self) -> NotificationId {
        self.next_notification += 1;
        NotificationId(self.next_notification - 1)
    }

    /// Whether all that fires in an incident is muted: then it is not repeated.
    pub(crate) fn is_muted(&self, world: &World, id: IncidentId) -> bool {
        let Some(incident) = self.all.get(&id).filter(|i| i.internal.is_none()) else { return false };
        let mut firing = incident.members.that_fire(true);
        let muted = |alert| {
            let mut states = world.alerts.states_of(alert).filter(|(_, t)| t.notified_in() == Some(id));
            states.any(|(_, t)| t.muted().is_some())
        };
        firing.all(|(alert, _)| muted(*alert))
    }

    /// A person took the open incident of a key on at these receivers, or gave it back. The pagers that were
    /// notified of it are told.
    pub(crate) fn acknowledge(&mut self, world: &mut World, change: &Acknowledge) {
        let Incidents { all, history, .. } = self;
        let mut changed = Vec::new();
        for (id, incident) in all.iter_mut() {
            let home = &world.destinations.get(incident.group.0).receiver;
            let named = incident.is_named(home, &change.dedup_key, &change.receivers);
            let there = |channel: &Channel| {
                let tool = channel.integration.split('[').next();
                tool == change.via.as_deref() && change.receivers.contains(channel.receiver(home))
            };
            // The tool repeats what Squelch told it.
            let echo = change.by.is_some()
                && incident.acknowledged.is_some()
                && incident.channels.iter().any(|channel| there(channel) && channel.echoes());
            if incident.phase != Phase::Closed && named && !echo {
                // Of several services of one tool, the message does not say which one the person used. So
                // Squelch tells each. A service that has the acknowledgement takes it as a repeat.
                let one = incident.channels.iter().filter(|channel| there(channel)).count() == 1;
                for channel in &mut incident.channels {
                    match change.by {
                        Some(_) => channel.acknowledge(one && there(channel)),
                        None => channel.take_back(),
                    }
                }
                if change.by.is_none() && incident.acknowledged.is_some() {
                    // The next person gets the whole time.
                    incident.respond_from = Some(world.now);
                }
                incident.acknowledged = change.by.clone().map(|by| (by, world.now));
                let change = IncidentChange::Acknowledged { by: change.by.clone() };
                history.push(incident.record(world.now, *id, change));
                incident.watch_response(world, *id);
                changed.push(*id);
            }
        }
        changed.into_iter().for_each(|id| self.pump(world, id));
    }

    /// The alerts or the severities were read anew. It also renews the levels of the incidents.
    pub(crate) fn level_all(&mut self, world: &World) {
        for mut incident in std::mem::take(&mut self.all) {
            incident.1.members.level(|alert| world.level_of(alert));
            self.all.insert(incident.0, incident.1);
        }
    }

    pub(crate) fn is_notified(&self, state: &AlertState) -> bool {
        let alive = |id| self.all.get(&id).is_some_and(|i| i.phase != Phase::Closed);
        state.is_live() || state.incident().is_some_and(alive)
    }

    /// The `dedup_key` of the current or last incident of an alert. It is empty if it is not known.
    pub(crate) fn incident_key(&self, world: &World, alert: AlertId, destination: DestinationId) -> SmolStr {
        let incident = world.alerts.state(alert, destination).and_then(|t| self.all.get(&t.incident()?));
        incident.map(|i| i.dedup_key.clone()).unwrap_or_default()
    }

    /// The highest level among the alerts of an incident, including recovered ones. 0 is the highest of
    /// all.
    pub(crate) fn level(&self, world: &World, id: IncidentId) -> Option<usize> {
        let alerts = self.all.get(&id)?.members.keys().filter_map(|alert| world.alerts.alert(*alert));
        alerts.map(|a| world.policy.severities.level_of(&a.labels)).min()
    }

    /// An incident is repeated after the shortest `repeat_interval` of its routes, which is returned.
    pub(crate) fn repeat_later(&self, world: &mut World, id: IncidentId) -> Duration {
        let Some(incident) = self.all.get(&id) else { return Duration::ZERO };
        let interval = incident
            .destinations()
            .map(|destination| world.destinations.get(destination).repeat_interval)
            .min();
        let interval = interval.unwrap_or_default();
        world.timers.set(Timer::Repeat(id), world.now + interval);
        interval
    }

    pub(crate) fn forget_state(&self, world: &mut World, destination: DestinationId, alert: AlertId) {
        let Some(state) = world.alerts.state(alert, destination) else { return };
        let busy = state.is_live() || state.damping.flaps().is_some();
        if busy {
            return;
        }
        // The remaining notifications of its incident need its labels.
        match self.is_named(world, alert, destination) {
            true => world.timers.set(Timer::ForgetState(destination, alert), world.next_hour()),
            false => world.alerts.forget_state(alert, destination),
        }
    }

    /// Whether an incident may still name an alert: the one in which it is, or was last, at a destination. An
    /// older incident of its group counts too, since its messages may have been refused.
    pub(crate) fn is_named(&self, world: &World, alert: AlertId, destination: DestinationId) -> bool {
        let names = |id: &IncidentId| {
            let incident = self.all.get(id);
            incident.is_some_and(|i| {
                i.members.contains_key(&alert) || i.channels.iter().any(|c| c.borrowed.contains(&alert))
            })
        };
        let last = world.alerts.state(alert, destination).and_then(AlertState::incident);
        let of_group = |(_, labels): GroupKey| self.kin.get(&labels).is_some_and(|ids| ids.iter().any(names));
        let own = || world.alerts.alert(alert).map(|known| world.group_key(destination, &known.labels));
        last.is_some_and(|id| names(&id))
            || own().is_some_and(of_group)
            || of_group(world.merged_key(destination))
    }

    /// The time within which a receiver must be notified of a firing alert. `None` if one was, or if there
    /// is no bound.
    pub(crate) fn silence_of(&self, world: &World, alert: AlertId) -> Option<Duration> {
        let known = world.alerts.alert(alert).filter(|a| a.firing())?;
        let within = world.policy.notified_within(&known.labels)?;
        (!self.was_notified(world, alert)).then_some(within)
    }

    /// Whether a receiver was notified of an alert: by its incident, or by the incident before it.
    pub(crate) fn was_notified(&self, world: &World, alert: AlertId) -> bool {
        let opened = |incident: &Incident| incident.channels.iter().any(Channel::was_opened);
        world.taken_destinations(alert).into_iter().any(|destination| {
            let state = world.alerts.state(alert, destination);
            let incident = state.filter(|t| t.is_admitted()).and_then(|t| self.all.get(&t.incident()?));
            let before = incident.and_then(|i| self.all.get(&i.supersedes?));
            incident.into_iter().chain(before).any(opened)
        })
    }

    /// Whether the receiver of a destination was notified, or is about to be notified, of the occurrence of
    /// an alert.
    pub(crate) fn receiver_knows(&self, world: &World, alert: AlertId, destination: DestinationId) -> bool {
        let receiver = &world.destinations.get(destination).receiver;
        let Some(known) = world.alerts.alert(alert) else { return false };
        world.alerts.states_of(alert).any(|(other, state)| {
            let incident = state.incident().and_then(|id| self.all.get(&id)).filter(|i| i.side == Side::Ours);
            incident.filter(|_| world.destinations.get(other).receiver == *receiver).is_some_and(|incident| {
                let member = incident.members.get(&alert);
                let tells = |channel: &Channel| channel.was_opened() || !channel.was_refused();
                member.is_some_and(|m| m.firing || m.since == known.starts_at)
                    && incident.channels.iter().any(tells)
            })
        })
    }

    /// A page left for a receiver: whether it is taken is looked at when the patience of this one is over.
    pub(crate) fn watch_page(&self, world: &mut World, id: IncidentId, receiver: &SmolStr) {
        let Some(incident) = self.all.get(&id) else { return };
        let receiver = world.policy.receivers.get(receiver);
        let fallback = receiver.filter(|r| r.fallback.is_some()).map(|r| r.fallback_after);
        let alarm = world.undelivered_after().filter(|_| incident.internal.is_none());
        if let Some(first) = fallback.into_iter().chain(alarm).min() {
            world.timers.set_by(Timer::Undelivered(id), world.now + first);
        }
    }

    /// Leads the channels of all incidents to the integrations of `policy`.
    pub(crate) fn lead_channels(&mut self, world: &World, policy: &Policy) {
        for incident in self.all.values_mut() {
            let home = &world.destinations.get(incident.group.0).receiver;
            let known: Vec<u64> = incident.channels.iter().map(Channel::endpoint).collect();
            for channel in &mut incident.channels {
                let receiver = channel.receiver(home);
                let own = policy.receivers.get(receiver).map_or(&[][..], |r| &r.integrations);
                // Its endpoint may have been corrected. Another integration's may not be taken for it.
                let free = |i: &&IntegrationRef| i.endpoint == 0 || !known.contains(&i.endpoint);
                let same_name = || own.iter().filter(free).find(|i| i.name == channel.integration);
                let found = own.iter().find(|i| channel.leads_to(i)).or_else(same_name);
                channel.adopt(found);
                let elsewhere = || {
                    let all = policy.receivers.iter();
                    let mut all = all.flat_map(|(name, r)| r.integrations.iter().map(move |i| (name, i)));
                    let (name, integration) = all.find(|(_, i)| channel.leads_to(i))?;
                    Some((name.clone(), integration.name.clone()))
                };
                channel.closes_at = if found.is_some() { None } else { elsewhere() };
            }
        }
    }
}
