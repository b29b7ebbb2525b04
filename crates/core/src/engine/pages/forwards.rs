//! `mode: observe`: Squelch forwards the sender's statements to the receiver, under the sender's own keys.
//! Beside that, the engine decides as in enforce mode, and none of those decisions leaves.
//!
//! A mirrored incident is one notification group of the sender: it pages, changes, repeats and resolves
//! when the sender says so. Statements without a group (API v2) get the group that Alertmanager would give
//! them: `<route key>:<group labels>` of the route that they took. An incident ends in the mode in which it
//! began.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use crate::engine::accounting::PendingDecision;
use crate::engine::ids::{DestinationId, IncidentId};
use crate::engine::incidents::Incidents;
use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::incident::{Incident, Phase, Side, dedup_key};
use crate::engine::incidents::members::{Member, Members};
use crate::engine::renames::rename_part;
use crate::engine::world::World;
use crate::model::{AlertId, Batch, Cause, Disposition, Duration, LabelSet, Status, Timestamp};

/// The other member of an HA pair says the same within this time: one notification, not two.
const COPY_WITHIN: Duration = Duration::from_secs(60);

/// The sender's incidents. Bounded by the alerts: each open one holds an alert that fires.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forwards {
    /// The open ones, by receiver and the sender's group key.
    #[serde(with = "crate::engine::pairs")]
    pub(crate) open: BTreeMap<(SmolStr, SmolStr), Forward>,
    /// Those with notifications still to send.
    pub(crate) unsettled: BTreeSet<IncidentId>,
}

/// The sender's latest statement about an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forward {
    pub(crate) incident: IncidentId,
    peer: SmolStr,
    at: Timestamp,
}

impl Forwards {
    /// A receiver has another name.
    pub(crate) fn rename_receiver(&mut self, old: &SmolStr, new: &SmolStr) {
        rename_part(&mut self.open, old, new);
    }

    /// Whether a mirrored incident has, or may still have, this key where an incident of Squelch at
    /// `receiver` may be shown.
    pub(crate) fn holds(
        &self,
        world: &World,
        incidents: &BTreeMap<IncidentId, Incident>,
        receiver: &SmolStr,
        key: &SmolStr,
    ) -> bool {
        let unsettled = self.unsettled.iter().filter_map(|id| incidents.get(id));
        let mut held = unsettled.filter(|i| i.dedup_key == *key);
        held.any(|incident| incident.meets(world, Side::Ours, receiver))
    }
}

/// One of the sender's notifications, as far as it concerns one receiver.
struct SenderGroup<'a> {
    receiver: SmolStr,
    /// A destination to the receiver.
    destination: DestinationId,
    text: SmolStr,
    labels: LabelSet,
    peer: &'a SmolStr,
    /// Alerts that the sender's `max_alerts` left out.
    truncated: u64,
    /// The alerts of the whole group are listed, not only those that changed.
    whole: bool,
    alerts: Vec<(AlertId, Status)>,
    /// The observations to be accounted for, each with its destination.
    counted: Vec<(AlertId, Status, DestinationId)>,
}

impl Forwards {
    /// Forwards the content of a request. `observed` are its alerts, with the destinations in observe mode.
    pub(crate) fn forward(
        &mut self,
        world: &mut World,
        incidents: &mut Incidents,
        batch: &Batch,
        observed: Vec<(AlertId, Status, Vec<DestinationId>)>,
    ) {
        if self.open.is_empty() && observed.iter().all(|(_, _, destinations)| destinations.is_empty()) {
            return;
        }
        let open: Vec<_> = self.open.iter().collect();
        let of_it = |key: &SmolStr| batch.upstream.as_ref().is_some_and(|u| u.group_key == *key);
        let of_it: Vec<_> = open.iter().copied().filter(|(key, _)| of_it(&key.1)).collect();
        let mut said: BTreeMap<(SmolStr, SmolStr), SenderGroup<'_>> = BTreeMap::new();
        for (alert, status, destinations) in observed {
            // Without a group of the sender's, the notification states the engine's own view.
            let truth = if world.fires(alert) { Status::Firing } else { Status::Resolved };
            let status = if batch.upstream.is_some() { status } else { truth };
            let mut entry =
                |receiver: &SmolStr, destination, text: SmolStr, labels, counted: Option<DestinationId>| {
                    let upstream = batch.upstream.as_ref().filter(|u| u.group_key == text);
                    let one = said.entry((receiver.clone(), text.clone())).or_insert_with(|| SenderGroup {
                        receiver: receiver.clone(),
                        destination,
                        text,
                        labels,
                        peer: &batch.peer,
                        truncated: upstream.map_or(0, |u| u.truncated),
                        whole: upstream.is_some(),
                        alerts: Vec::new(),
                        counted: Vec::new(),
                    });
                    if !one.alerts.contains(&(alert, status)) {
                        one.alerts.push((alert, status));
                    }
                    one.counted.extend(counted.map(|destination| (alert, status, destination)));
                };
            let mut keys = Vec::new();
            for destination in &destinations {
                let receiver = &world.destinations.get(*destination).receiver;
                let (text, labels) = match &batch.upstream {
                    Some(upstream) => (upstream.group_key.clone(), upstream.group_labels.clone()),
                    None => own_group(world, alert, *destination),
                };
                keys.push((receiver.clone(), text.clone()));
                entry(receiver, *destination, text, labels, Some(*destination));
            }
            // A reload may have given the alert another receiver or another group. The incident that shows
            // it still comes to its end.
            let over = truth == Status::Resolved && status == Status::Resolved;
            for (key, forward) in if over { &open } else { &of_it } {
                if keys.contains(key) {
                    continue;
                }
                let Some(incident) = incidents.all.get(&forward.incident) else { continue };
                if incident.members.get(&alert).is_some_and(|m| m.firing) {
                    entry(&key.0, incident.group.0, key.1.clone(), incident.group.1.clone(), None);
                }
            }
        }
        for said in said.into_values() {
            self.pass_on(world, incidents, said);
        }
    }

    /// An alert fires at a destination in observe mode, and no request says so. A reload brought it there,
    /// or the other member of a pair is believed by now.
    pub(crate) fn forward_alone(
        &mut self,
        world: &mut World,
        incidents: &mut Incidents,
        alert: AlertId,
        destination: DestinationId,
    ) {
        if !world.destinations.get(destination).observes() {
            return;
        }
        if self.is_forwarded(world, incidents, alert, destination) {
            return;
        }
        let receiver = world.destinations.get(destination).receiver.clone();
        let (text, labels) = own_group(world, alert, destination);
        let peer = SmolStr::default();
        let alerts = vec![(alert, Status::Firing)];
        let counted = vec![(alert, Status::Firing, destination)];
        let (peer, whole) = (&peer, false);
        self.pass_on(
            world,
            incidents,
            SenderGroup { receiver, destination, text, labels, peer, truncated: 0, whole, alerts, counted },
        );
    }

    /// An alert fires no more, and no request said so.
    pub(crate) fn forward_expired(
        &mut self,
        world: &mut World,
        incidents: &mut Incidents,
        alert: AlertId,
        stale: bool,
    ) {
        let shows = |forward: &Forward| {
            let member = incidents.all.get(&forward.incident).and_then(|i| i.members.get(&alert));
            member.is_some_and(|m| m.firing)
        };
        let open = self.open.iter().filter(|(_, forward)| shows(forward));
        let shown: Vec<_> = open.map(|(key, forward)| (key.clone(), forward.incident)).collect();
        for ((receiver, text), id) in shown {
            let Some(incident) = incidents.all.get_mut(&id) else { continue };
            let (destination, labels) = incident.group.clone();
            if stale {
                let after = world.policy.stale_after;
                incident.closing = Some(Box::new(Cause::Expired { after }));
            }
            let peer = SmolStr::default();
            let alerts = vec![(alert, Status::Resolved)];
            let counted = vec![(alert, Status::Resolved, destination)];
            let (peer, whole) = (&peer, false);
            self.pass_on(
                world,
                incidents,
                SenderGroup {
                    receiver,
                    destination,
                    text,
                    labels,
                    peer,
                    truncated: 0,
                    whole,
                    alerts,
                    counted,
                },
            );
        }
    }

    /// Whether the receiver of a destination that only observes is shown that an alert fires.
    pub(crate) fn is_forwarded(
        &self,
        world: &World,
        incidents: &Incidents,
        alert: AlertId,
        destination: DestinationId,
    ) -> bool {
        let destination = world.destinations.get(destination);
        let shown = |(key, forward): (&(SmolStr, SmolStr), &Forward)| {
            let incident = incidents.all.get(&forward.incident).filter(|_| key.0 == destination.receiver);
            incident.is_some_and(|i| i.members.get(&alert).is_some_and(|m| m.firing))
        };
        destination.observes() && self.open.iter().any(shown)
    }

    /// One notification of the sender's goes on to a receiver.
    fn pass_on(&mut self, world: &mut World, incidents: &mut Incidents, said: SenderGroup<'_>) {
        let key = (said.receiver.clone(), said.text.clone());
        let fires = said.alerts.iter().any(|(_, status)| *status == Status::Firing);
        let Some(known) = self.open.get(&key) else {
            if world.destinations.get(said.destination).integrations.is_empty() {
                return settle_accounts(world, incidents, &said, None, &Cause::NoIntegration);
            }
            if !fires {
                return settle_accounts(world, incidents, &said, None, &Cause::NeverPaged);
            }
            return self.open_forward(world, incidents, key, &said);
        };
        let id = known.incident;
        let copy = *known.peer != **said.peer && world.now < known.at + COPY_WITHIN;
        let members = members_of(world, &said);
        let Some(incident) = incidents.all.get_mut(&id) else { return };
        let fired: BTreeSet<AlertId> = firing(incident).collect();
        if said.whole {
            incident.members = Members::default();
        }
        incident.members.extend(members);
        let fires_on: BTreeSet<AlertId> = firing(incident).collect();
        // Alerts that the sender left out may fire. In doubt the incident stays open.
        let closes = fires_on.is_empty() && said.truncated == 0;
        if !closes && copy && said.whole && fired == fires_on {
            return settle_accounts(world, incidents, &said, None, &Cause::OtherPeerRepeats);
        }
        if !closes && !said.whole && fired == fires_on {
            return settle_accounts(world, incidents, &said, None, &Cause::SenderRepeats);
        }
        let labels = incident.group.1.clone();
        if closes {
            incident.phase = Phase::Closed;
            let cause = incident.closing.take().map_or(Cause::SenderResolved, |cause| *cause);
            incident.issue(world.now, cause, false);
            self.open.remove(&key);
            world.accounting.receiver(&key.0).open -= 1;
            let notified = (id, Disposition::Resolve);
            settle_accounts(world, incidents, &said, Some(notified), &Cause::PassedOn);
        } else {
            incident.issue(world.now, Cause::PassedOn, true);
            let forward = Forward { incident: id, peer: said.peer.clone(), at: world.now };
            self.open.insert(key, forward);
            let notified = (id, Disposition::Update);
            settle_accounts(world, incidents, &said, Some(notified), &Cause::PassedOn);
        }
        incidents.group_changed(&labels);
        incidents.pump(world, id);
    }

    fn open_forward(
        &mut self,
        world: &mut World,
        incidents: &mut Incidents,
        key: (SmolStr, SmolStr),
        said: &SenderGroup<'_>,
    ) {
        // Our own incident, or the last one of the sender's, may have the key still: a page under it would
        // be silent.
        let used = |text: &SmolStr| {
            let mut same =
                incidents.all.values().filter(|i| i.side != Side::Observed && i.dedup_key == *text);
            same.any(|incident| incident.meets(world, Side::Forwarded, &key.0))
        };
        let generation = (0..).find(|n| !used(&dedup_key(&said.text, *n))).unwrap_or(u32::MAX);
        let id = IncidentId(incidents.next_incident);
        incidents.next_incident += 1;
        let channels =
            world.destinations.get(said.destination).integrations.iter().map(Channel::new).collect();
        let group = ((said.destination, said.labels.clone()), said.text.clone());
        let mut incident = Incident::new(world.now, group, generation, channels);
        incident.side = Side::Forwarded;
        incident.members.extend(members_of(world, said));
        let level = incident.members.highest();
        incident.paged(level.map_or(0, usize::from));
        incident.issue(world.now, Cause::PassedOn, true);
        incidents.all.insert(id, incident);
        incidents.kin_came(world, id);
        world.accounting.receiver(&key.0).open += 1;
        self.unsettled.insert(id);
        self.open.insert(key, Forward { incident: id, peer: said.peer.clone(), at: world.now });
        let notified = (id, Disposition::Page);
        settle_accounts(world, incidents, said, Some(notified), &Cause::PassedOn);
        incidents.pump(world, id);
    }
}

fn firing(incident: &Incident) -> impl Iterator<Item = AlertId> + use<'_> {
    incident.members.that_fire(true).map(|(alert, _)| *alert)
}

/// The group that Alertmanager would give an alert at a destination, and its labels.
fn own_group(world: &World, alert: AlertId, destination: DestinationId) -> (SmolStr, LabelSet) {
    let labels = world.alerts.alert(alert).map(|a| a.labels.clone()).unwrap_or_default();
    let (_, labels) = world.group_key(destination, &labels);
    (format_smolstr!("{}:{}", world.destinations.get(destination).route, labels), labels)
}

/// The alerts of a notification, as members of the incident that passes it on.
fn members_of(world: &World, said: &SenderGroup<'_>) -> Vec<(AlertId, Member)> {
    let member = |(alert, status): &(AlertId, Status)| {
        let (since, level) =
            (world.alerts.alert(*alert).map_or(world.now, |a| a.starts_at), world.level_of(*alert));
        let member = match status {
            Status::Firing => Member::firing(since, level),
            Status::Resolved => Member::resolved(since, world.now),
        };
        (*alert, member)
    };
    said.alerts.iter().map(member).collect()
}

/// Accounts for observations that upstream decided about: routed and disposed at once. Nothing, at
/// a destination that is in force.
pub(crate) fn passed_on(
    world: &mut World,
    (alert, destination): (AlertId, DestinationId),
    count: u64,
    disposition: Disposition,
    cause: Cause,
    incident: SmolStr,
) {
    let World { destinations, accounting, alerts, now, .. } = world;
    let destination = (destination, destinations.get(destination));
    if !destination.1.observes() {
        return;
    }
    let account = accounting.receiver(&destination.1.receiver);
    account.routed += count;
    account.pending += count;
    let (known, basis) = (alerts.alert_mut(alert), destination.1.basis());
    let verdict =
        PendingDecision { alert, known, destination, incident, disposition, cause, release: None, basis };
    accounting.dispose_as_sent(*now, count, verdict);
}

/// Disposes the observations of a notification. If anything was sent, one observation counts as that. The
/// others are suppressed for `cause`.
fn settle_accounts(
    world: &mut World,
    incidents: &Incidents,
    said: &SenderGroup<'_>,
    notified: Option<(IncidentId, Disposition)>,
    cause: &Cause,
) {
    let incident = notified.and_then(|(id, _)| incidents.all.get(&id)).map(|i| i.dedup_key.clone());
    let leads = if notified.is_some_and(|(_, d)| d == Disposition::Resolve) {
        Status::Resolved
    } else {
        Status::Firing
    };
    let first = said.counted.iter().position(|(_, status, _)| *status == leads).unwrap_or(0);
    for (index, (alert, _, destination)) in said.counted.iter().enumerate() {
        let disposition = match notified {
            Some((_, disposition)) if index == first => disposition,
            Some(_) | None => Disposition::Suppressed(cause.reason()),
        };
        let incident = incident.clone().unwrap_or_default();
        passed_on(world, (*alert, *destination), 1, disposition, cause.clone(), incident);
    }
}
