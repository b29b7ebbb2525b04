//! Second receivers: they get an incident's page and its end. A fallback is notified where a receiver
//! refused a page, or has not accepted it in time. An escalation goes to the receiver that the severity
//! level names, where no person acknowledged the incident in time.
//!
//! A second receiver gets the key of the incident. The link, the history and an acknowledgement that comes
//! back name the incident by this key, so it has one key everywhere. A tool keeps the keys of each service
//! apart, so the page opens an incident there.
//!
//! Routes with the same key give an alert's group the same keys at several receivers. Where two such
//! incidents may meet at one receiver, the later one takes the key of a further generation. A reload may
//! let two open ones meet that could not meet before. The second to come then takes another key there.

use std::collections::BTreeSet;

use smol_str::{SmolStr, format_smolstr};

use crate::engine::ids::IncidentId;
use crate::engine::incidents::Incidents;
use crate::engine::incidents::channel::{Channel, Second, WhySecond};
use crate::engine::incidents::incident::{Incident, Side, dedup_key};
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{Duration, IncidentChange, LabelSet, Timestamp};

/// An escalation that is due.
struct Escalation {
    at: Timestamp,
    within: Duration,
    to: SmolStr,
}

impl Incident {
    /// The key of this incident at one of its channels.
    pub(crate) fn key_at<'a>(&'a self, channel: &'a Channel) -> &'a SmolStr {
        channel.second.as_ref().and_then(|second| second.key.as_ref()).unwrap_or(&self.dedup_key)
    }

    /// Whether a receiver knows this incident by this key.
    fn has_key(&self, key: &SmolStr) -> bool {
        self.dedup_key == *key || self.channels.iter().any(|channel| self.key_at(channel) == key)
    }

    /// Whether this incident has this key at one of these receivers.
    pub(crate) fn is_named(&self, home: &SmolStr, key: &SmolStr, receivers: &[SmolStr]) -> bool {
        let mut there = self.channels.iter().filter(|channel| receivers.contains(channel.receiver(home)));
        self.dedup_key == *key && receivers.contains(home) || there.any(|channel| self.key_at(channel) == key)
    }

    fn seconds(&self) -> impl Iterator<Item = &Second> {
        self.channels.iter().filter_map(|channel| channel.second.as_ref())
    }

    /// Whether a receiver that is, or may be, notified of this incident may also be notified of an incident
    /// of this side at `receiver`. Receivers that share a service count as one.
    pub(crate) fn meets(&self, world: &World, side: Side, receiver: &SmolStr) -> bool {
        let home = &world.destinations.get(self.group.0).receiver;
        let mut ours = world.policy.reached_from(home, self.side == Side::Ours);
        ours.extend(self.channels.iter().map(|channel| channel.receiver(home)));
        let theirs = world.policy.reached_from(receiver, side == Side::Ours);
        let services = |receivers: &BTreeSet<&SmolStr>| {
            let known = receivers.iter().filter_map(|receiver| world.policy.receivers.get(*receiver));
            let all = known.flat_map(|receiver| &receiver.integrations).map(|i| i.endpoint);
            all.filter(|endpoint| *endpoint != 0).collect::<BTreeSet<u64>>()
        };
        let mut own = services(&ours);
        own.extend(self.channels.iter().map(|channel| channel.endpoint()));
        !ours.is_disjoint(&theirs) || !own.is_disjoint(&services(&theirs))
    }

    /// The escalation of this incident that is to come, if any. An incident escalates once. A receiver that
    /// the configuration does not have any more does not count.
    fn escalation(&self, world: &World) -> Option<Escalation> {
        let ours = self.side == Side::Ours && self.fires() && self.versions().0 > 0;
        if !ours || self.acknowledged.is_some() {
            return None;
        }
        let levels = &world.policy.severities.levels;
        let level = self.level_now(levels.len());
        let (to, within) = (levels[level].escalate_to.as_ref()?, levels[level].respond_within?);
        let escalated = self.channels.iter().filter(|channel| !channel.is_gone()).any(|channel| {
            let second = channel.second.as_ref();
            second.is_some_and(|s| s.receiver == *to || matches!(s.why, WhySecond::Escalation { .. }))
        });
        let own = world.destinations.get(self.group.0).receiver == *to;
        let reaches = world.policy.receivers.get(to).is_some_and(|r| !r.integrations.is_empty());
        let at = self.respond_from.unwrap_or(self.paged_at) + within;
        (!escalated && !own && reaches).then(|| Escalation { at, within, to: to.clone() })
    }

    /// The receiver to which this incident escalated, if it did.
    pub(crate) fn escalated_to(&self) -> Option<&SmolStr> {
        let escalated = |second: &&Second| matches!(second.why, WhySecond::Escalation { .. });
        self.seconds().find(escalated).map(|second| &second.receiver)
    }

    /// Sets when this incident escalates, by its current state.
    pub(crate) fn watch_response(&self, world: &mut World, id: IncidentId) {
        match self.escalation(world) {
            Some(escalation) => world.timers.set(Timer::Respond(id), escalation.at),
            None => world.timers.clear(&Timer::Respond(id)),
        }
    }
}

impl Incidents {
    /// Whether an incident of a group of this name has this key where an incident of Squelch at `receiver`
    /// may be shown. A page under the key would be silent there, and the end of one would close both.
    pub(crate) fn holds_key(
        &self,
        world: &World,
        labels: &LabelSet,
        receiver: &SmolStr,
        key: &SmolStr,
    ) -> bool {
        let ids = self.kin.get(labels).into_iter().flatten();
        let mut holders = ids.filter_map(|id| self.all.get(id)).filter(|i| i.has_key(key));
        holders.any(|incident| incident.meets(world, Side::Ours, receiver))
    }

    /// Brings in the fallbacks of the receivers at which a page was refused or has waited for too long.
    /// `refused`: one was refused just now. Each receiver is brought in once, so this ends.
    pub(crate) fn fall_back(&mut self, world: &mut World, id: IncidentId, refused: bool) {
        let now = world.now;
        let Some(incident) = self.all.get(&id) else { return };
        let home = &world.destinations.get(incident.group.0).receiver;
        let mut found = Vec::new();
        for channel in incident.channels.iter().filter(|c| c.is_waiting()) {
            let Some(settings) = world.policy.receivers.get(channel.receiver(home)) else { continue };
            let Some(fallback) = &settings.fallback else { continue };
            let late = channel.since(incident.paged_at) + settings.fallback_after <= now;
            if late || refused && channel.was_refused() {
                found.push(Second {
                    receiver: fallback.clone(),
                    since: now,
                    why: WhySecond::Fallback,
                    key: None,
                });
            }
        }
        if self.bring_in(world, id, found) {
            self.pump(world, id);
        }
    }

    /// The time is over in which a person should have acknowledged an incident: its second receiver is
    /// notified too. While all that fires in it is muted or attended, no person is wanted, so its time
    /// begins anew.
    pub(crate) fn escalate(&mut self, world: &mut World, id: IncidentId) {
        let Some(incident) = self.all.get(&id) else { return };
        let due = incident.escalation(world).filter(|escalation| escalation.at <= world.now);
        let idle = |due: &Escalation| self.is_muted(world, id) || self.is_attended(world, id, &due.to);
        let idle = due.as_ref().is_some_and(idle);
        let Some(incident) = self.all.get_mut(&id) else { return };
        if idle {
            incident.respond_from = Some(world.now);
        }
        let Some(Escalation { within, to, .. }) = due.filter(|_| !idle) else {
            return incident.watch_response(world, id);
        };
        let change = IncidentChange::Escalated { to: to.clone(), within };
        self.history.push(incident.record(world.now, id, change));
        let why = WhySecond::Escalation { within };
        let second = Second { receiver: to.clone(), since: world.now, why, key: None };
        self.bring_in(world, id, vec![second]);
        self.watch_page(world, id, &to);
        self.pump(world, id);
    }

    /// Whether each alert that fires in an incident also fires in another one. A person has acknowledged
    /// that one, or the receiver `to` is notified of it.
    fn is_attended(&self, world: &World, id: IncidentId, to: &SmolStr) -> bool {
        let Some(incident) = self.all.get(&id).filter(|i| i.internal.is_none()) else { return false };
        let attends = |other: &Incident| {
            let home = &world.destinations.get(other.group.0).receiver;
            let mut there = other.channels.iter().filter(|c| !c.is_gone() && c.receiver(home) == to);
            other.acknowledged.is_some() || there.any(|c| c.was_opened() || !c.was_refused())
        };
        let attended = |alert| {
            let others = world.alerts.states_of(alert).filter_map(|(_, state)| state.notified_in());
            let others = others.filter(|other| *other != id).filter_map(|other| self.all.get(&other));
            others.filter(|other| other.side == Side::Ours && !other.is_over()).any(attends)
        };
        incident.members.that_fire(true).all(|(alert, _)| attended(*alert))
    }

    /// When, and to which receiver, an incident escalates if no person acknowledges it. `None` while all that
    /// fires in it is muted: its time begins anew afterwards.
    pub(crate) fn escalates(&self, world: &World, id: IncidentId) -> Option<(Timestamp, SmolStr)> {
        let escalation = self.all.get(&id)?.escalation(world)?;
        let waits = self.is_muted(world, id) || self.is_attended(world, id, &escalation.to);
        (!waits).then_some((escalation.at, escalation.to))
    }

    /// The incidents that are to escalate.
    pub(crate) fn escalating(&self, world: &World) -> BTreeSet<IncidentId> {
        let due = |id: &IncidentId| world.timers.deadline(&Timer::Respond(*id)).is_some();
        self.all.keys().copied().filter(due).collect()
    }

    /// The policy changed. An incident that was not to escalate `before`, and is now, gets the whole time.
    pub(crate) fn respond_anew(&mut self, world: &mut World, before: &BTreeSet<IncidentId>) {
        for id in self.all.keys().copied().collect::<Vec<_>>() {
            let Some(incident) = self.all.get_mut(&id) else { continue };
            if !before.contains(&id) && incident.escalation(world).is_some() {
                incident.respond_from = Some(world.now);
            }
            incident.watch_response(world, id);
        }
    }

    /// The second receivers of an incident also get the incident that took its place.
    pub(crate) fn seconds_moved(&mut self, world: &World, old: IncidentId, new: IncidentId) {
        let Some(incident) = self.all.get(&old) else { return };
        let seconds =
            incident.seconds().map(|second| Second { since: world.now, key: None, ..second.clone() });
        self.bring_in(world, new, seconds.collect());
    }

    /// Adds channels to receivers that are not notified of an incident yet. False if there is none.
    fn bring_in(&mut self, world: &World, id: IncidentId, seconds: Vec<Second>) -> bool {
        let Some(incident) = self.all.get(&id) else { return false };
        let home = &world.destinations.get(incident.group.0).receiver;
        let known = incident.channels.iter().filter(|c| !c.is_gone()).map(|c| c.receiver(home).clone());
        let mut known: BTreeSet<SmolStr> = known.chain([home.clone()]).collect();
        let mut new = Vec::new();
        for mut second in seconds {
            if known.insert(second.receiver.clone()) {
                second.key = self.key_for(world, id, incident, &second.receiver);
                let to = world.policy.receivers.get(&second.receiver);
                let integrations = to.into_iter().flat_map(|receiver| &receiver.integrations);
                new.extend(integrations.map(|i| Channel::second(i, second.clone())));
            }
        }
        let any = !new.is_empty();
        if let Some(incident) = self.all.get_mut(&id) {
            incident.channels.extend(new);
        }
        any
    }

    /// The key that an incident takes at a second receiver, if another incident has its own key there. They
    /// got the same key when they could not meet. The receiver of an incident and its generation tell it
    /// from the others.
    fn key_for(&self, world: &World, id: IncidentId, incident: &Incident, to: &SmolStr) -> Option<SmolStr> {
        let integrations = world.policy.receivers.get(to).map_or(&[][..], |r| &r.integrations);
        let others = self.kin.get(&incident.group.1).into_iter().flatten().filter(|other| **other != id);
        let taken = others.filter_map(|other| self.all.get(other)).any(|other| {
            let home = &world.destinations.get(other.group.0).receiver;
            let there = |c: &&Channel| c.receiver(home) == to || integrations.iter().any(|i| c.leads_to(i));
            let mut open = other.channels.iter().filter(there).filter(|channel| !channel.settled());
            open.any(|channel| *other.key_at(channel) == incident.dedup_key)
        });
        let home = &world.destinations.get(incident.group.0).receiver;
        let text = || format_smolstr!("{} {home}", incident.group_text);
        taken.then(|| dedup_key(&text(), incident.generation))
    }
}
