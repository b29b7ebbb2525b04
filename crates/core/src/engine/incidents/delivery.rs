//! Brings each channel of an incident to the truth: the notifications that it still lacks.

use crate::engine::accounting::PendingDecision;
use crate::engine::ids::IncidentId;
use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::incident::{Incident, Side};
use crate::engine::incidents::truth::{channel_at_mut, spot_of};
use crate::engine::incidents::{Incidents, Settled};
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{AlertId, Cause, Disposition, Kind, NotificationId, Recalled, Status, Timestamp};
use crate::policy::KnownBy;

/// Which of the waiting observations made the notification go.
#[derive(Clone, Copy)]
pub(crate) enum Leader {
    First,
    Last,
}

impl Incidents {
    /// Sends each channel of an incident the notification that it lacks, and forgets the incident once
    /// nothing is left to send.
    pub(crate) fn pump(&mut self, world: &mut World, id: IncidentId) {
        let Some(mut incident) = self.all.remove(&id) else { return };
        self.history.extend(incident.news(world, id));
        let mut channels = std::mem::take(&mut incident.channels);
        let mut retry: Option<Timestamp> = None;
        for (index, channel) in channels.iter_mut().enumerate() {
            channel.corrects(&incident.members);
            let wanted = self.wanted(world, id, &incident, channel);
            if incident.side == Side::Observed {
                channel.pretend(world.now, wanted, incident.version);
                continue;
            }
            let kind = channel.next(world.now, wanted);
            if let Some(kind) = kind {
                let notification = self.new_notification();
                let replaces = channel.sent(world.now, notification, kind, incident.version);
                if kind != Kind::Acknowledge {
                    channel.shows(&incident.members);
                }
                self.in_flight.insert(notification, (id, index));
                self.notify(world, (notification, kind), (id, &incident), channel, replaces);
            } else {
                self.recalls.extend(channel.recall(world.now, wanted, incident.version));
            }
            let tells = kind.is_some() || incident.is_over();
            let waits = channel.known_by == KnownBy::Group || wanted.waits;
            if tells && waits && incident.side == Side::Ours {
                self.note_unsaid(world, id, &incident, channel);
            }
            retry = [retry, channel.retry_at()].into_iter().flatten().min();
        }
        match retry {
            Some(at) => world.timers.set(Timer::Retry(id), at),
            None => world.timers.clear(&Timer::Retry(id)),
        }
        let settled = incident.is_over() && channels.iter().all(Channel::settled);
        let supersedes = incident.supersedes;
        let closing = incident.is_over() && !settled;
        world.count_closing(&mut incident, closing);
        if !settled {
            incident.channels = channels;
            incident.watch_response(world, id);
            self.all.insert(id, incident);
            self.watch_orphan(world, id);
            // The incident that this one took over may be closed now.
            return supersedes.into_iter().for_each(|old| self.pump(world, old));
        }
        world.timers.clear(&Timer::Update(id));
        world.timers.clear(&Timer::Respond(id));
        self.kin_went(id, &incident.group.1);
        // Its successor also succeeds the incident that it had replaced.
        if let (Some(old), Some(new)) = (supersedes, incident.superseded_by) {
            if let Some(incident) = self.all.get_mut(&old) {
                incident.superseded_by = Some(new);
            }
            if let Some(incident) = self.all.get_mut(&new) {
                incident.supersedes = Some(old);
            }
        }
        let left_open = channels.iter().any(Channel::stays_open);
        if let Some(old) = supersedes {
            self.owe_ends(world, old, (&incident, &channels));
        }
        self.settled.push(Settled { id, group: incident.group, side: incident.side, left_open });
        self.watch_orphan(world, id);
        if let Some(old) = supersedes {
            self.pump(world, old);
        }
    }

    /// An incident is over, and some integrations never accepted its page. Where the readers know a group,
    /// they learn from the incident that it took over which alerts resolved.
    fn owe_ends(&mut self, world: &World, old: IncidentId, (last, channels): (&Incident, &[Channel])) {
        let Some(old) = self.all.get_mut(&old) else { return };
        let groups = channels.iter().filter(|channel| channel.known_by == KnownBy::Group);
        for unopened in groups.filter(|channel| channel.opened_at().is_none()) {
            if let Some(channel) = channel_at_mut(world, old, spot_of(world, last, unopened)) {
                channel.owe();
            }
        }
    }

    /// Delivery began anew. It is asked again for the notifications that it was to give back.
    pub(crate) fn recall_anew(&mut self, world: &World) {
        for id in self.all.keys().copied().collect::<Vec<_>>() {
            let Some(mut incident) = self.all.remove(&id) else { continue };
            let mut channels = std::mem::take(&mut incident.channels);
            for channel in channels.iter_mut().filter(|_| incident.side != Side::Observed) {
                channel.recall_anew();
                let wanted = self.wanted(world, id, &incident, channel);
                self.recalls.extend(channel.recall(world.now, wanted, incident.version));
            }
            incident.channels = channels;
            self.all.insert(id, incident);
        }
    }

    /// Disposes all observations that wait in an incident. The leader counts as the notification, and the
    /// others as grouped with it.
    pub(crate) fn dispose_waiting(
        &mut self,
        world: &mut World,
        id: IncidentId,
        sent: Option<(Disposition, Leader)>,
        cause: &Cause,
    ) {
        let Some(incident) = self.all.get_mut(&id) else { return };
        let waiting = std::mem::take(&mut incident.waiting);
        let (destination, key) = (incident.group.0, incident.dedup_key.clone());
        let leader = match sent {
            Some((_, Leader::First)) => waiting.iter().position(|(_, n)| *n > 0),
            Some((_, Leader::Last)) => waiting.iter().rposition(|(_, n)| *n > 0),
            None => None,
        };
        let World { destinations, accounting, alerts, now, .. } = world;
        let destination = (destination, destinations.get(destination));
        for (index, (alert, mut count)) in waiting.into_iter().enumerate() {
            let mut dispose = |disposition, count, cause| {
                let (known, incident, basis) = (alerts.alert_mut(alert), key.clone(), destination.1.basis());
                let verdict = PendingDecision {
                    alert,
                    known,
                    destination,
                    incident,
                    disposition,
                    cause,
                    release: None,
                    basis,
                };
                accounting.dispose(*now, count, verdict);
            };
            if let Some((disposition, _)) = sent.filter(|_| leader == Some(index)) {
                dispose(disposition, 1, cause.clone());
                count -= 1;
            }
            if count > 0 {
                let with = Cause::NotifiedWithOthers { cause: Box::new(cause.clone()) };
                dispose(Disposition::Suppressed(with.reason()), count, with);
            }
        }
    }

    /// Decides one notification.
    fn notify(
        &mut self,
        world: &mut World,
        (number, kind): (NotificationId, Kind),
        (id, incident): (IncidentId, &Incident),
        channel: &mut Channel,
        replaces: Option<Recalled>,
    ) {
        let group = channel.known_by == KnownBy::Group && kind == Kind::Update;
        if group && incident.is_over() && !self.shows_one_that_fires(world, id, incident, channel) {
            let borrowed = self.one_that_fires(world, incident, channel);
            channel.borrowed.extend(borrowed);
        }
        let mut notification = self.render(world, (number, kind), (id, incident), channel);
        if let Some(second) = &channel.second {
            let first = std::mem::replace(&mut notification.receiver, second.receiver.clone());
            notification.cause = second.cause(first, notification.cause);
        }
        if let Some((by, _)) = incident.acknowledged.clone().filter(|_| kind == Kind::Acknowledge) {
            notification.cause = Cause::Acknowledged { by };
        }
        if let Some((receiver, integration)) = &channel.closes_at {
            (notification.receiver, notification.integration) = (receiver.clone(), integration.clone());
        }
        if channel.known_by == KnownBy::Group {
            let listed = notification.alerts.iter().chain(&notification.beside);
            let resolved: Vec<AlertId> =
                listed.filter(|alert| alert.status == Status::Resolved).map(|alert| alert.id).collect();
            self.contradict(world, id, &resolved, spot_of(world, incident, channel));
        }
        notification.replaces = replaces;
        // The same notification with a newer content is not one more.
        if replaces.is_none_or(|recalled| recalled.kind != kind) {
            world.accounting.notified(&notification.receiver, &notification.integration, kind);
        }
        self.outgoing.push(notification);
    }
}
