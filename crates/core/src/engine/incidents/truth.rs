//! The true state at one integration, by the key with which its readers recognise a problem.
//!
//! Alerts go from one incident to another, and several incidents of one group may be open. For readers that
//! know a problem by its `dedup_key`, each incident is a problem. For readers of Alertmanager's webhook, a
//! group is one: it has resolved when all its alerts have. People keep no keys: they read each message.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::engine::ids::IncidentId;
use crate::engine::incidents::Incidents;
use crate::engine::incidents::channel::{Channel, Wanted};
use crate::engine::incidents::incident::{Incident, Phase, Side};
use crate::engine::incidents::members::Member;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{AlertId, LabelSet, NotificationId};
use crate::policy::KnownBy;

/// The number of incidents of one group whose end may wait for that of the group. Beyond it, the oldest
/// ends by itself. Its resolve closes its own `groupKey`, by which some readers of a webhook know a
/// problem. Readers with the labels of the group as their key read that the group resolved. Once the
/// resolve is accepted, the next message says that the group fires.
const WAITING: usize = 100;

/// An integration of a receiver.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'a> {
    receiver: &'a SmolStr,
    integration: &'a SmolStr,
}

/// How the group of an incident that is over stands at a spot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stand {
    /// One of its alerts fires.
    Fires,
    /// None does, and an incident of it is not over yet.
    Lingers,
    /// All of it is over.
    Over,
}

/// The state of an alert that does not fire in the incident that lists it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Elsewhere {
    /// It fires in another incident, which is notified at the same spot, or is about to be.
    Notified(IncidentId),
    /// It fires, and no incident there tells so: it is muted, or waits for its page.
    Unnotified,
    /// It does not fire.
    No,
}

impl Incidents {
    /// The incidents of the group of this name that a spot stands for, the newest first. These are the
    /// incidents that notify there, and those of its receiver that notify another integration. An
    /// integration that a reload removed or added does not know these, but it knows their group.
    fn group_at<'a>(
        &'a self,
        world: &World,
        labels: &LabelSet,
        at: Spot<'a>,
    ) -> impl Iterator<Item = (IncidentId, &'a Incident)> {
        let ids = self.kin.get(labels).into_iter().flat_map(|ids| ids.iter().rev());
        let known = ids.filter_map(|id| Some((*id, self.all.get(id)?)));
        known.filter(move |(_, incident)| {
            let home = world.destinations.get(incident.group.0).receiver == *at.receiver;
            home && incident.reaches_somebody() || channel_at(world, incident, at).is_some()
        })
    }

    /// An incident is there.
    pub(crate) fn kin_came(&mut self, world: &World, id: IncidentId) {
        let Some(incident) = self.all.get(&id).filter(|i| i.side != Side::Observed) else { return };
        let labels = incident.group.1.clone();
        let ids = self.kin.entry(labels.clone()).or_default();
        ids.insert(id);
        if ids.len() > WAITING {
            let home = |incident: &Incident| &world.destinations.get(incident.group.0).receiver;
            let here = self.all.get(&id).map(home);
            let mine = ids.iter().filter_map(|id| Some((*id, self.all.get(id)?)));
            let mine: Vec<_> = mine.filter(|(_, incident)| Some(home(incident)) == here).collect();
            let mut waiting = mine.iter().filter(|(_, i)| i.is_over() && !i.ends_alone);
            let oldest = waiting.next().filter(|_| mine.len() > WAITING).map(|(id, _)| *id);
            if let Some(oldest) = oldest {
                self.end_alone(world, oldest, id);
            }
            self.touched.extend(oldest);
        }
        self.group_changed(&labels);
    }

    /// The end of the oldest incident of a group waits no longer. It does not name those of its alerts that
    /// fire. The newest incident names them until they resolve, where both are shown.
    fn end_alone(&mut self, world: &World, oldest: IncidentId, newest: IncidentId) {
        let Some(incident) = self.all.get_mut(&oldest) else { return };
        incident.ends_alone = true;
        let Some(mut next) = self.all.remove(&newest) else { return };
        let mut channels = std::mem::take(&mut next.channels);
        for channel in channels.iter_mut().filter(|channel| channel.known_by == KnownBy::Group) {
            let Some(incident) = self.all.get(&oldest) else { continue };
            let there = channel_at(world, incident, spot_of(world, &next, channel));
            let named = there.into_iter().flat_map(|there| incident.tells_of(Some(there)));
            let firing: Vec<AlertId> = named.filter(|alert| world.really_fires(*alert)).collect();
            channel.borrowed.extend(firing);
        }
        next.channels = channels;
        self.all.insert(newest, next);
    }

    /// An incident is gone, and its alerts no longer keep its group open. Those whose end waits for the group
    /// look anew.
    pub(crate) fn kin_went(&mut self, id: IncidentId, labels: &LabelSet) {
        let Some(ids) = self.kin.get_mut(labels) else { return };
        ids.remove(&id);
        if ids.is_empty() {
            self.kin.remove(labels);
            return;
        }
        let over = ids.iter().filter(|id| self.all.get(id).is_some_and(Incident::is_over));
        self.touched.extend(over.copied());
    }

    /// Rebuilds the parts that a snapshot leaves out.
    pub(crate) fn kin_anew(&mut self) {
        self.kin = BTreeMap::new();
        for (id, incident) in self.all.iter().filter(|(_, i)| i.side != Side::Observed) {
            self.kin.entry(incident.group.1.clone()).or_default().insert(*id);
        }
    }

    /// An incident of a group began, ended, or fires no more or again: those whose end waits for it look
    /// anew.
    pub(crate) fn group_changed(&mut self, labels: &LabelSet) {
        let Some(ids) = self.kin.get(labels).filter(|ids| ids.len() > 1) else { return };
        let over = ids.iter().filter(|id| self.all.get(id).is_some_and(Incident::is_over));
        self.touched.extend(over.copied());
    }

    /// An alert began or ceased to fire.
    pub(crate) fn turned(&self, world: &mut World, alert: AlertId) {
        world.alerts.turned(alert, NotificationId(self.next_notification));
    }

    /// An alert ended, or left an incident. Resolves that had to wait while it fired may leave now.
    pub(crate) fn ended(&mut self, world: &mut World, alert: AlertId) {
        for id in self.unsaid.remove(&alert).unwrap_or_default() {
            let Some(incident) = self.all.get(&id) else { continue };
            let labels = incident.group.1.clone();
            if !self.another_says_so(world, alert, id, incident) {
                self.owe_update(world, id);
            }
            self.touched.insert(id);
            self.group_changed(&labels);
        }
    }

    /// Whether an open incident says of an alert that it ended, wherever the messages of a closed one said
    /// that it fires.
    fn another_says_so(&self, world: &World, alert: AlertId, id: IncidentId, closed: &Incident) -> bool {
        let says_so = |other: IncidentId, at: Spot<'_>| {
            let other = self.all.get(&other).filter(|i| !i.is_over() && i.members.contains_key(&alert));
            other.is_some_and(|i| channel_at(world, i, at).is_some())
        };
        let mut groups = closed.channels.iter().filter(|channel| channel.known_by == KnownBy::Group);
        closed.is_over()
            && groups.all(|channel| {
                let at = spot_of(world, closed, channel);
                let others = world.alerts.states_of(alert).filter_map(|(_, state)| state.incident());
                others.filter(|other| *other != id).any(|other| says_so(other, at))
            })
    }

    /// Readers of an incident's group know a state that is no longer true. An update of the incident
    /// corrects it within `group_interval`.
    pub(crate) fn owe_update(&mut self, world: &mut World, id: IncidentId) {
        let Some(incident) = self.all.get_mut(&id) else { return };
        incident.owes = true;
        let due = world.now + world.destinations.get(incident.group.0).group_interval;
        world.timers.set_if_unset(Timer::Update(id), due);
    }

    /// A message calls these alerts resolved. The incident that such an alert is in may not have said so.
    pub(crate) fn contradict(&mut self, world: &World, id: IncidentId, resolved: &[AlertId], at: Spot<'_>) {
        for alert in resolved {
            let others = world.alerts.states_of(*alert).filter_map(|(_, state)| state.incident());
            for other in others.filter(|other| *other != id) {
                let Some(incident) = self.all.get(&other).filter(|i| !i.is_over() && i.side == Side::Ours)
                else {
                    continue;
                };
                if channel_at(world, incident, at).is_some() {
                    self.all.entry(other).and_modify(|incident| incident.contradicted = true);
                }
            }
        }
    }

    /// An update of an incident is due. Changes that had to wait go with it.
    pub(crate) fn update_due(&mut self, world: &World, id: IncidentId) {
        let Some(incident) = self.all.get_mut(&id) else { return };
        if std::mem::take(&mut incident.owes) {
            // The next update keeps its distance from this one.
            incident.issued_at = world.now;
            incident.channels.iter_mut().filter(|c| c.known_by == KnownBy::Group).for_each(Channel::owe);
        }
        self.touched.insert(id);
    }

    /// How an alert stands that does not fire in the incident `id`.
    fn elsewhere(&self, world: &World, alert: AlertId, id: IncidentId, at: Spot<'_>) -> Elsewhere {
        let notified = world.alerts.states_of(alert).find_map(|(_, state)| {
            let other = state.incident().filter(|other| *other != id)?;
            let incident = self.all.get(&other).filter(|i| !i.is_over() && i.side == Side::Ours)?;
            let member = incident.members.get(&alert).filter(|member| member.firing)?;
            channel_at(world, incident, at).filter(|c| will_name(incident, member, c)).map(|_| other)
        });
        match notified {
            Some(other) => Elsewhere::Notified(other),
            None if world.really_fires(alert) => Elsewhere::Unnotified,
            None => Elsewhere::No,
        }
    }

    /// The state that a message of an incident gives one of its alerts at a spot, if any. No state is right
    /// for a firing alert if another message names it, or no receiver may be notified of it.
    pub(crate) fn shown(
        &self,
        world: &World,
        (id, incident): (IncidentId, &Incident),
        (alert, member): (AlertId, &Member),
        channel: &Channel,
    ) -> Option<bool> {
        if member.firing {
            return Some(true);
        }
        match (self.elsewhere(world, alert, id, spot_of(world, incident, channel)), incident.side) {
            (Elsewhere::No, _) => Some(false),
            // The sender said so. An incident that Squelch opened later there knows better.
            (Elsewhere::Unnotified, Side::Forwarded) => Some(false),
            (Elsewhere::Notified(_), Side::Forwarded) => None,
            // A resolve that lists a firing alert would be the last word about it.
            (Elsewhere::Notified(_) | Elsewhere::Unnotified, _) => {
                (channel.known_by == KnownBy::Group && !incident.ends_alone).then_some(true)
            }
        }
    }

    /// The state that a channel of an incident must reach.
    pub(crate) fn wanted(
        &self,
        world: &World,
        id: IncidentId,
        incident: &Incident,
        channel: &Channel,
    ) -> Wanted {
        let (version, repeat) = incident.versions();
        let (over, closed) = (incident.is_over(), incident.phase == Phase::Closed);
        // A page that no receiver has yet would wake a person for a problem that is over. It leaves if an
        // alert fires again.
        let lingers = incident.phase == Phase::Resolving && incident.internal.is_none();
        let wanted = Wanted {
            version,
            repeat,
            over,
            closed,
            silent: false,
            waits: lingers && !channel.was_opened(),
            acknowledged: incident.acknowledged.is_some(),
        };
        if incident.side == Side::Forwarded {
            return wanted;
        }
        // In observe mode each incident ends as if it were a problem of its own. At a removed integration,
        // an incident stands for its successors until they are over.
        let ended = || closed || incident.superseded_by.is_some_and(|next| self.is_over_in_the_end(next));
        let alone = incident.side == Side::Observed || channel.is_gone() && !ended();
        let known_by = if alone { KnownBy::DedupKey } else { channel.known_by };
        match known_by {
            KnownBy::DedupKey => {
                let closed =
                    if closed { true } else { over && self.successor_is_open(world, incident, channel) };
                Wanted { over: closed, closed, ..wanted }
            }
            KnownBy::Nothing if incident.superseded_by.is_some() => match self.heir(world, incident, channel)
            {
                Heir::Waits => Wanted { closed: false, waits: true, ..wanted },
                Heir::Open => Wanted { closed: true, silent: true, ..wanted },
                Heir::Gone => Wanted { closed: true, ..wanted },
            },
            // The alert fires again and no receiver may be notified of it: its end is the end of the
            // incident.
            KnownBy::Nothing if closed && self.fires_unnotified(world, id, incident, channel) => {
                Wanted { closed: false, waits: true, ..wanted }
            }
            KnownBy::Nothing => {
                let silent = closed
                    && incident.internal.is_none()
                    && !self.says_anything(world, id, incident, channel);
                // The page that is to say so may be recalled, and then this incident says its end.
                match silent && self.waits_for_message(world, id, incident, channel) {
                    true => Wanted { closed: false, waits: true, ..wanted },
                    false => Wanted { silent, ..wanted },
                }
            }
            KnownBy::Group if !over => {
                // An incident that is about to end gets its notification when it has ended, or when it
                // fires again.
                Wanted {
                    waits: lingers && !self.shows_one_that_fires(world, id, incident, channel),
                    ..wanted
                }
            }
            KnownBy::Group if incident.ends_alone || !channel.takes_resolves() => {
                Wanted { closed: true, ..wanted }
            }
            KnownBy::Group => match self.stand(world, id, incident, channel) {
                Stand::Over => Wanted { closed: true, ..wanted },
                Stand::Lingers => Wanted { closed: false, waits: true, ..wanted },
                // The channel is notified that its own alerts have resolved, in place of its end.
                Stand::Fires if closed => Wanted { closed: false, repeat: version, ..wanted },
                Stand::Fires => wanted,
            },
        }
    }

    /// Whether an alert of an incident fires, and no other incident at the spot of a channel says so.
    fn fires_unnotified(
        &self,
        world: &World,
        id: IncidentId,
        incident: &Incident,
        channel: &Channel,
    ) -> bool {
        let at = spot_of(world, incident, channel);
        let waits = incident.internal.is_none() && !incident.ends_alone && channel.takes_resolves();
        waits
            && incident
                .tells_of(Some(channel))
                .any(|alert| self.elsewhere(world, alert, id, at) == Elsewhere::Unnotified)
    }

    /// Whether an alert of an incident fires in another one that must still say so. The integration of the
    /// channel has accepted no message of the other incident that names the alert.
    fn waits_for_message(
        &self,
        world: &World,
        id: IncidentId,
        incident: &Incident,
        channel: &Channel,
    ) -> bool {
        let at = spot_of(world, incident, channel);
        incident.tells_of(Some(channel)).any(|alert| {
            let Elsewhere::Notified(other) = self.elsewhere(world, alert, id, at) else { return false };
            let Some(other) = self.all.get(&other) else { return false };
            let named_in = other.members.get(&alert).and_then(Member::named_as_firing_in);
            let says_so = |c: &Channel| named_in.is_some_and(|version| c.has_got(version));
            channel_at(world, other, at).is_some_and(|c| !says_so(c))
        })
    }

    /// Whether a message lists any alert.
    fn says_anything(&self, world: &World, id: IncidentId, incident: &Incident, channel: &Channel) -> bool {
        let mut listed = incident.members.listed().take(channel.most_alerts());
        incident.members.len() == 0
            || listed.any(|one| self.shown(world, (id, incident), one, channel).is_some())
    }

    /// Whether a message of an incident shows one of its own firing alerts.
    pub(crate) fn shows_one_that_fires(
        &self,
        world: &World,
        id: IncidentId,
        incident: &Incident,
        channel: &Channel,
    ) -> bool {
        let mut listed = incident.members.listed().take(channel.most_alerts());
        incident.fires() || listed.any(|one| self.shown(world, (id, incident), one, channel) == Some(true))
    }

    /// How the group of an incident that is over stands at the spot of a channel.
    fn stand(&self, world: &World, id: IncidentId, incident: &Incident, channel: &Channel) -> Stand {
        let at = spot_of(world, incident, channel);
        let mut lingers = false;
        for (_, other) in self.group_at(world, &incident.group.1, at).filter(|(_, other)| !other.is_over()) {
            match other.fires() {
                true => return Stand::Fires,
                false => lingers = true,
            }
        }
        let over = self.group_at(world, &incident.group.1, at).filter(|(_, other)| other.is_over());
        let over = over.filter(|(other, _)| *other != id);
        let over = over.map(|(_, other)| (other, channel_at(world, other, at)));
        for (other, channel) in over.chain([(incident, Some(channel))]) {
            if other.tells_of(channel).any(|alert| self.elsewhere(world, alert, id, at) != Elsewhere::No) {
                return Stand::Fires;
            }
        }
        if lingers { Stand::Lingers } else { Stand::Over }
    }

    /// The alert that says that a group fires on, in a message of an incident of it that is over.
    pub(crate) fn one_that_fires(
        &self,
        world: &World,
        incident: &Incident,
        channel: &Channel,
    ) -> Option<AlertId> {
        let at = spot_of(world, incident, channel);
        let firing = |(_, other): (IncidentId, &Incident)| {
            let listed = other.members.listed().find(|(_, member)| member.firing);
            listed.map(|(alert, _)| alert)
        };
        let alive = self.group_at(world, &incident.group.1, at).filter(|(_, other)| !other.is_over());
        let over = self.group_at(world, &incident.group.1, at).filter(|(_, other)| other.is_over());
        let mut over = over.flat_map(|(_, other)| other.tells_of(channel_at(world, other, at)));
        let unnotified = |alert: &AlertId| self.elsewhere(world, *alert, IncidentId(0), at) != Elsewhere::No;
        alive.filter(|(_, other)| other.fires()).find_map(firing).or_else(|| over.find(unnotified))
    }

    /// Notes of which alerts an incident cannot say that they resolved, since they fire elsewhere. Once they
    /// do not, it looks anew, and says so if no other incident does.
    pub(crate) fn note_unsaid(
        &mut self,
        world: &World,
        id: IncidentId,
        incident: &Incident,
        channel: &Channel,
    ) {
        let at = spot_of(world, incident, channel);
        let fires_not = |alert: &AlertId| !incident.members.get(alert).is_some_and(|member| member.firing);
        let unsaid = |alert: AlertId| match self.elsewhere(world, alert, id, at) {
            Elsewhere::Unnotified => true,
            Elsewhere::Notified(_) => incident.is_over(),
            Elsewhere::No => false,
        };
        let unsaid: Vec<_> =
            incident.tells_of(Some(channel)).filter(|alert| fires_not(alert) && unsaid(*alert)).collect();
        for alert in unsaid {
            self.unsaid.entry(alert).or_default().insert(id);
        }
    }

    /// An integration accepted a notification. An alert that it lists may have begun or ceased to fire since
    /// Squelch issued it, and a newer notification may have arrived before it. Squelch then tells the truth
    /// again.
    pub(crate) fn tell_anew(
        &mut self,
        world: &World,
        (id, index): (IncidentId, usize),
        accepted: NotificationId,
    ) {
        let Some(incident) = self.all.get(&id) else { return };
        let Some(channel) = incident.channels.get(index).filter(|c| c.known_by == KnownBy::Group) else {
            return;
        };
        let at = spot_of(world, incident, channel);
        let mut owing: Vec<IncidentId> = Vec::new();
        if channel.settled() {
            let alive = self.group_at(world, &incident.group.1, at).filter(|(_, other)| !other.is_over());
            owing.extend(alive.map(|(other, _)| other));
        }
        for (alert, _) in incident.members.listed().filter(|(_, member)| !member.firing) {
            if world.alerts.turned_since(alert, accepted)
                && let Elsewhere::Notified(other) = self.elsewhere(world, alert, id, at)
            {
                owing.push(other);
            }
        }
        let (receiver, integration) = (at.receiver.clone(), at.integration.clone());
        // It left before its firing alerts ended, elsewhere or in the incidents that it borrowed them from.
        let ended =
            |alert: &AlertId| world.alerts.turned_since(*alert, accepted) && !world.really_fires(*alert);
        let stale = channel.borrowed.iter().any(ended)
            || incident.superseded_by.is_some() && incident.members.keys().any(ended);
        for other in owing {
            let at = Spot { receiver: &receiver, integration: &integration };
            let incident = self.all.get_mut(&other);
            if let Some(channel) = incident.and_then(|incident| channel_at_mut(world, incident, at)) {
                channel.owe();
                self.touched.insert(other);
            }
        }
        if stale && let Some(channel) = self.all.get_mut(&id).and_then(|i| i.channels.get_mut(index)) {
            channel.owe();
        }
    }

    /// An integration accepted a page or an update. Incidents that waited for it to say that their alerts
    /// fire look anew.
    pub(crate) fn firing_accepted(&mut self, id: IncidentId) {
        let Some(incident) = self.all.get(&id).filter(|_| !self.unsaid.is_empty()) else { return };
        let waiting = incident.members.keys().filter_map(|alert| self.unsaid.get(alert)).flatten();
        self.touched.extend(waiting.filter(|other| **other != id));
    }

    /// Whether the incident that took the place of `incident` is open where `at` leads, or over.
    fn successor_is_open(&self, world: &World, incident: &Incident, at: &Channel) -> bool {
        let Some(successor) = incident.superseded_by else { return false };
        if at.is_gone() {
            return self.is_over_in_the_end(successor);
        }
        let Some(successor) = self.all.get(&successor) else { return true };
        let channel = channel_at(world, successor, spot_of(world, incident, at));
        channel.is_none_or(|c| c.was_opened() || c.settled())
    }

    /// Whether the last of the incidents that took the place of one another from `first` on is closed.
    fn is_over_in_the_end(&self, first: IncidentId) -> bool {
        let mut next = self.all.get(&first);
        while let Some(after) = next.and_then(|incident| incident.superseded_by) {
            next = self.all.get(&after);
        }
        next.is_none_or(|last| last.phase == Phase::Closed)
    }

    /// The fate of the incidents that succeeded `incident`, one after the other.
    fn heir(&self, world: &World, incident: &Incident, at: &Channel) -> Heir {
        let at = spot_of(world, incident, at);
        let mut next = incident.superseded_by;
        while let Some(successor) = next.and_then(|id| self.all.get(&id)) {
            match channel_at(world, successor, at) {
                Some(channel) if channel.was_opened() && !channel.settled() => return Heir::Open,
                Some(channel) if !channel.settled() && !successor.is_over() => return Heir::Waits,
                Some(_) | None => next = successor.superseded_by,
            }
        }
        Heir::Gone
    }
}

/// The fate of the incident that succeeded another one.
enum Heir {
    /// Its notification is not sent yet.
    Waits,
    /// It is open, and its end will be that of both.
    Open,
    /// It is over, or was never notified.
    Gone,
}

/// Where a channel of an incident leads.
pub(crate) fn spot_of<'a>(world: &'a World, incident: &Incident, channel: &'a Channel) -> Spot<'a> {
    let home = &world.destinations.get(incident.group.0).receiver;
    Spot { receiver: channel.receiver(home), integration: &channel.integration }
}

/// Whether a message to a channel says that a firing member fires, or is about to. A page that was refused
/// for good reached nobody. People who get no updates learn from a repeat which alerts came after the page.
fn will_name(incident: &Incident, member: &Member, channel: &Channel) -> bool {
    if !channel.was_opened() {
        return !channel.was_refused();
    }
    let repeated = |version| channel.has_got(version) || incident.versions().1 >= version;
    channel.known_by != KnownBy::Nothing
        || channel.takes_updates()
        || member.named_as_firing_in().is_some_and(repeated)
}

/// The channel of an incident that leads to a spot.
fn channel_at<'a>(world: &World, incident: &'a Incident, at: Spot<'_>) -> Option<&'a Channel> {
    let home = &world.destinations.get(incident.group.0).receiver;
    let leads = |c: &&Channel| c.integration == *at.integration && c.receiver(home) == at.receiver;
    incident.channels.iter().filter(|c| !c.is_gone() || c.was_opened()).find(leads)
}

/// The same channel, to be changed.
pub(crate) fn channel_at_mut<'a>(
    world: &World,
    incident: &'a mut Incident,
    at: Spot<'_>,
) -> Option<&'a mut Channel> {
    let there = channel_at(world, incident, at)?;
    let place = incident.channels.iter().position(|channel| std::ptr::eq(channel, there))?;
    incident.channels.get_mut(place)
}
