//! The life of an incident: it opens, changes, is repeated, gets worse, and closes.

use smol_str::format_smolstr;

use super::Engine;
use super::channel::Channel;
use super::groups::GroupKey;
use super::incident::{Incident, IncidentId, Phase, Side, dedup_key};
use super::incidents::Incidents;
use super::lanes::LaneId;
use super::ledger::Verdict;
use super::merge::is_merged;
use super::pages::Pages;
use super::query::Query;
use super::timers::Timer;
use super::world::World;
use crate::model::{AlertId, Cause, Disposition, Duration, Kind, NotificationId, Outcome, Report, Timestamp};
use crate::policy::{KnownBy, Noise};

impl Engine {
    /// A notification reached its end.
    pub(super) fn delivered(&mut self, report: &Report) {
        let Some((id, index)) = self.pages.incidents.in_flight.remove(&report.id) else {
            self.pages.digest_ended(&mut self.world, report.id, &report.outcome);
            return self.checks.say_refused(&mut self.world, &mut self.pages);
        };
        let channel = self.pages.incidents.all.get_mut(&id).and_then(|i| i.channels.get_mut(index));
        let sent_at = channel.as_ref().and_then(|c| c.on_way_since()).unwrap_or(self.world.now);
        if channel.is_some_and(|c| c.ended(self.world.now, report.id, &report.outcome)) {
            match report.outcome {
                Outcome::Rejected(_) => {
                    self.pages.incidents.refused.insert(report.id, (id, index));
                    while self.pages.incidents.refused.len() > REFUSED_REMEMBERED {
                        self.pages.incidents.refused.pop_first();
                    }
                }
                // It knows how the incident stands, whatever it refused before.
                Outcome::Accepted => {
                    let earlier =
                        self.pages.incidents.refused.iter().filter(|(_, place)| **place == (id, index));
                    let earlier: Vec<NotificationId> = earlier.map(|(refused, _)| *refused).collect();
                    for refused in earlier {
                        self.pages.incidents.refused.remove(&refused);
                        self.pages.incidents.made_good.push(refused);
                    }
                }
            }
            match report.outcome {
                Outcome::Rejected(_) => self.pages.incidents.fall_back(&mut self.world, id, true),
                Outcome::Accepted => self.pages.incidents.tell_anew(&mut self.world, id, index, sent_at),
            }
            self.pages.incidents.pump(&mut self.world, id);
            self.checks.say_refused(&mut self.world, &mut self.pages);
            self.checks.say_orphans(&mut self.world, &mut self.pages);
        }
    }
}

impl Query<'_> {
    /// Whether the incident of a refused notification is still known, so that asking for it again
    /// leaves nothing open behind it.
    pub fn can_replay(&self, id: NotificationId) -> bool {
        self.pages
            .incidents
            .refused
            .get(&id)
            .is_some_and(|(incident, _)| self.pages.incidents.all.contains_key(incident))
    }
}

impl Pages {
    pub(super) fn new_incident(&mut self, world: &mut World, key: &GroupKey) -> IncidentId {
        let lane = world.lanes.lane(key.0);
        let text = format_smolstr!("{}:{}", lane.key(), key.1);
        let channels = lane.integrations.iter().map(Channel::new).collect();
        let id = IncidentId(self.incidents.next_incident);
        self.incidents.next_incident += 1;
        let group = self.groups.entry(key.clone()).or_default();
        world.timers.clear(&Timer::ForgetGroup(key.clone()));
        let mut generation = group.next_generation;
        let again = generation > 0 || group.merged;
        let side = if lane.observes() { Side::Shadow } else { Side::Ours };
        if side == Side::Ours {
            // A key that was mirrored may be open: a page under it would be silent.
            while self.mirrors.holds(
                &self.incidents.all,
                &world.lanes,
                &lane.receiver,
                &dedup_key(&text, generation),
            ) {
                generation += 1;
            }
        }
        group.next_generation = generation + 1;
        group.open.push(id);
        group.unsettled += 1;
        let mut incident = Incident::new(world.now, (key.clone(), text), generation, channels);
        (incident.side, incident.again) = (side, again);
        self.incidents.all.insert(id, incident);
        self.incidents.kin_came(id);
        world.gauges(key.0).open += 1;
        id
    }

    /// Issues the first version of an incident: the observation that made it page is disposed as
    /// the page, the others that it tells of as grouped.
    pub(super) fn page(&mut self, world: &mut World, id: IncidentId, cause: Cause) {
        let level = self.incidents.level(world, id).unwrap_or(0);
        let Some(incident) = self.incidents.all.get_mut(&id) else { return };
        incident.paged(level);
        let lane = incident.group.0;
        let budget = world.lanes.lane(lane).noise.budget.clone();
        let now = world.now;
        if self.flow(world, lane).over_budget(now, &budget) {
            world.gauges(lane).over_budget += 1;
        }
        self.incidents.repeat_later(world, id);
        let Some(incident) = self.incidents.all.get_mut(&id) else { return };
        incident.issue(world.now, cause.clone(), true);
        self.incidents.dispose_waiting(world, id, Some((Disposition::Page, Leader::First)), &cause);
        self.incidents.watch_page(world, id);
        self.incidents.pump(world, id);
    }

    /// Brings an incident that was touched in line with its alerts.
    pub(super) fn settle(&mut self, world: &mut World, id: IncidentId) {
        let Some(incident) = self.incidents.all.get_mut(&id) else { return };
        if incident.is_over() || incident.own.is_some() || incident.side == Side::Mirror {
            return self.incidents.pump(world, id);
        }
        let lane = incident.group.0;
        let group_interval = incident.lanes().map(|lane| world.lanes.lane(lane).group_interval).min();
        let settings = world.lanes.lane(lane);
        let firing = incident.members.firing();
        if firing == 0 {
            return self.resolving(world, id, lane);
        }
        let highest = incident.members.highest().map(usize::from).filter(|_| settings.noise.escalate);
        let higher = highest.filter(|level| *level < incident.level);
        let higher = higher.map(|level| &world.policy.severities.levels[level].name);
        if let Some(cause) = incident.worse(world.now, firing, higher, &settings.noise) {
            return self.supersede(world, id, cause);
        }
        if incident.members.news().next().is_none() {
            self.dispose_waiting_as(world, id, &Cause::ChangedBack);
            return self.incidents.pump(world, id);
        }
        let due = incident.issued_at + group_interval.unwrap_or_default();
        if due > world.now {
            return world.timers.set_if_unset(Timer::Update(id), due);
        }
        // News of an incident whose page was refused is no reason to wait on: it is paged anew.
        for channel in incident.channels.iter_mut().filter(|c| !c.was_opened()) {
            channel.retry_now();
        }
        if !incident.takes_updates() {
            incident.members.note();
            incident.issued_at = world.now;
            self.dispose_waiting_as(world, id, &Cause::NoUpdates);
            return self.incidents.pump(world, id);
        }
        let cause = match incident.members.news().find_map(|member| member.flaps) {
            Some(changes) => Cause::AlertFlaps { changes },
            None => Cause::AlertsChanged,
        };
        incident.issue(world.now, cause.clone(), false);
        self.incidents.dispose_waiting(world, id, Some((Disposition::Update, Leader::First)), &cause);
        self.incidents.pump(world, id);
    }

    /// Nothing in the incident fires any more: it stays open for `resolve_hold`.
    fn resolving(&mut self, world: &mut World, id: IncidentId, lane: LaneId) {
        let Some(incident) = self.incidents.all.get_mut(&id) else { return };
        let noise = || incident.lanes().map(|lane| &world.lanes.lane(lane).noise);
        let hold = noise().map(|noise| noise.resolve_hold).max().unwrap_or_default();
        let again = noise().map(Noise::stay_open_again).max().filter(|_| incident.again).unwrap_or_default();
        if incident.phase == Phase::Resolving {
            return;
        }
        incident.phase = Phase::Resolving;
        let labels = incident.group.1.clone();
        let until = (world.now + hold).max(incident.paged_at + again);
        let gauges = world.gauges(lane);
        gauges.open -= 1;
        gauges.resolving += 1;
        world.timers.clear(&Timer::Update(id));
        match until <= world.now {
            true => self.close(world, id),
            false => {
                world.timers.set(Timer::ResolveHold(id), until);
                self.incidents.group_changed(&labels);
            }
        }
    }

    /// `resolve_hold` is over: the incident closes.
    pub(super) fn close(&mut self, world: &mut World, id: IncidentId) {
        let Some(incident) = self.incidents.all.get_mut(&id) else { return };
        if incident.phase != Phase::Resolving {
            return;
        }
        incident.phase = Phase::Closed;
        let cause = incident.closing.take().map_or(Cause::AllResolved, |cause| *cause);
        incident.issue(world.now, cause.clone(), false);
        let group = incident.group.clone();
        let told = incident.channels.iter().any(Channel::takes_resolves);
        let as_resolve = told.then_some((Disposition::Resolve, Leader::Last));
        self.incidents.dispose_waiting(world, id, as_resolve, &cause);
        world.gauges(group.0).resolving -= 1;
        self.leave_group(world, id, &group);
        self.incidents.group_changed(&group.1);
        // It is told when the event is through: what fires again in the same moment has not resolved.
        self.incidents.touched.insert(id);
    }

    fn leave_group(&mut self, world: &mut World, id: IncidentId, key: &GroupKey) {
        for timer in [Timer::Update(id), Timer::ResolveHold(id), Timer::Repeat(id)] {
            world.timers.clear(&timer);
        }
        let merges = self.incidents.all.get(&id).map(|incident| incident.merges.clone()).unwrap_or_default();
        for key in merges.iter().chain([key]) {
            if let Some(group) = self.groups.get_mut(key) {
                group.open.retain(|open| *open != id);
            }
        }
    }

    /// An alert came into an incident by a lane. The incident of a merged page stands in the group of the
    /// alert there too: what the group brings next joins it, as it would join a page of its own.
    pub(super) fn stands_in(&mut self, world: &mut World, id: IncidentId, alert: AlertId, lane: LaneId) {
        if !self.incidents.all.get(&id).is_some_and(|incident| is_merged(&incident.group)) {
            return;
        }
        let merged = world.merged_key(lane);
        let Some(labels) = world.alerts.alert(alert).map(|a| a.labels.clone()) else { return };
        let key = world.group_key(lane, &labels);
        let Some(incident) = self.incidents.all.get_mut(&id).filter(|i| i.group == merged) else { return };
        if key == merged || !incident.merges.insert(key.clone()) {
            return;
        }
        self.bound_groups(world, &key);
        let group = self.groups.entry(key.clone()).or_default();
        if let Some(incident) = self.incidents.all.get_mut(&id) {
            incident.again |= group.next_generation > 0 || group.merged;
        }
        group.merged = true;
        group.open.push(id);
        self.forget_group_later(world, &key);
    }

    /// `repeat_interval` is over: the trigger is sent again under the same key. Silent at an
    /// incident that is open, it reopens one that a human closed while the problem lasts.
    pub(super) fn repeat(&mut self, world: &mut World, id: IncidentId) {
        let muted = self.incidents.is_muted(world, id);
        let interval = self.incidents.repeat_later(world, id);
        let open = self.incidents.all.get(&id).is_some_and(|incident| incident.phase == Phase::Open);
        if open && !muted {
            if self.move_on(world, id) {
                return;
            }
            let Some(incident) = self.incidents.all.get_mut(&id) else { return };
            let cause = Cause::Repeated { interval };
            incident.issue(world.now, cause.clone(), true);
            world.timers.clear(&Timer::Update(id));
            self.incidents.dispose_waiting(world, id, Some((Disposition::Update, Leader::First)), &cause);
            self.incidents.pump(world, id);
        }
    }

    /// It got worse: a new generation takes what fires over, under a new key, so that it
    /// interrupts. The old incident is resolved once the new page is accepted.
    pub(super) fn supersede(&mut self, world: &mut World, old: IncidentId, cause: Cause) {
        let Some(incident) = self.incidents.all.get(&old) else { return };
        if incident.superseded_by.is_some() || incident.phase != Phase::Open {
            return;
        }
        let key = incident.group.clone();
        let new = self.new_incident(world, &key);
        self.leave_group(world, old, &key);
        world.gauges(key.0).open -= 1;
        let Some(incident) = self.incidents.all.get_mut(&old) else { return };
        incident.superseded_by = Some(new);
        *incident.cause = Cause::Superseded { cause: Box::new(cause.clone()) };
        let waiting = std::mem::take(&mut incident.waiting);
        let (again, merges) = (incident.again, incident.merges.clone());
        let members = incident.members.move_out(world.now);
        for alert in members.keys() {
            // What was merged at the receiver came by lanes of its own.
            for lane in world.taken_lanes(*alert) {
                world.track(*alert, lane).follow(old, new);
            }
        }
        if let Some(incident) = self.incidents.all.get_mut(&new) {
            (incident.members, incident.again) = (members, again);
            incident.waiting = waiting;
            // The observation that made it worse came last; it is the one that pages.
            incident.waiting.reverse();
            incident.supersedes = Some(old);
            incident.merges = merges.clone();
        }
        for key in merges {
            self.groups.entry(key.clone()).or_default().open.push(new);
            self.forget_group_later(world, &key);
        }
        // What waits is part of the next page of its group, and this is one.
        let all = self.take_page(world, &key);
        self.enter_all(world, new, &key, &all);
        self.own_moved(old, new);
        self.incidents.fallbacks_moved(world, old, new);
        self.page(world, new, cause);
        self.incidents.group_changed(&key.1);
        self.incidents.pump(world, old);
    }

    /// An open incident of which all integrations are gone from the configuration goes on, as a page, at
    /// those that its receiver has today: nobody there was told. False if there is no need, or nobody.
    pub(super) fn move_on(&mut self, world: &mut World, id: IncidentId) -> bool {
        let Some(incident) = self.incidents.all.get(&id) else { return false };
        let nobody = world.lanes.lane(incident.group.0).integrations.is_empty();
        if incident.superseded_by.is_some() || incident.phase != Phase::Open {
            return false;
        }
        if nobody || incident.reaches_somebody() {
            return false;
        }
        if incident.side == Side::Mirror {
            self.incidents.mirror_moves_on(world, id);
            return false;
        }
        if self.incidents.is_muted(world, id) {
            return false;
        }
        self.supersede(world, id, Cause::IntegrationsReplaced);
        true
    }

    /// The groups of the incidents of which all is said now look whether they are idle.
    pub(super) fn forget_settled(&mut self, world: &mut World) {
        for Settled { id, group: key, side, left_open } in std::mem::take(&mut self.incidents.settled) {
            if side == Side::Mirror {
                self.mirrors.unsettled.remove(&id);
            } else if let Some(group) = self.groups.get_mut(&key) {
                group.unsettled -= 1;
                group.left_open |= left_open;
                self.forget_group_later(world, &key);
            }
        }
    }

    pub(super) fn forget_group(&mut self, key: &GroupKey) {
        if self.groups.get(key).is_some_and(super::groups::Group::is_idle) {
            self.groups.remove(key);
        }
    }

    fn dispose_waiting_as(&mut self, world: &mut World, id: IncidentId, cause: &Cause) {
        let Some(incident) = self.incidents.all.get_mut(&id) else { return };
        let waiting = std::mem::take(&mut incident.waiting);
        let lane = incident.group.0;
        for (alert, count) in waiting {
            self.suppress(world, alert, lane, count, cause.clone(), None);
        }
    }
}

impl Incidents {
    /// The highest level among the alerts of an incident, those that recovered too; 0 is the highest of all.
    fn level(&self, world: &World, id: IncidentId) -> Option<usize> {
        let alerts = self.all.get(&id)?.members.keys().filter_map(|alert| world.alerts.alert(*alert));
        alerts.map(|a| world.policy.severities.level_of(&a.labels)).min()
    }

    /// An alert came into an incident: if its `resolve_hold` runs, it is open again.
    pub(super) fn reopen(&mut self, world: &mut World, id: IncidentId) {
        let Some(incident) = self.all.get_mut(&id).filter(|i| i.phase == Phase::Resolving) else {
            return;
        };
        incident.phase = Phase::Open;
        let (lane, labels) = incident.group.clone();
        world.timers.clear(&Timer::ResolveHold(id));
        let gauges = world.gauges(lane);
        gauges.resolving -= 1;
        gauges.open += 1;
        self.group_changed(&labels);
    }

    /// An incident is repeated after the shortest `repeat_interval` of its routes, which is returned.
    fn repeat_later(&mut self, world: &mut World, id: IncidentId) -> Duration {
        let Some(incident) = self.all.get(&id) else { return Duration::ZERO };
        let interval = incident.lanes().map(|lane| world.lanes.lane(lane).repeat_interval).min();
        let interval = interval.unwrap_or_default();
        world.timers.set(Timer::Repeat(id), world.now + interval);
        interval
    }

    /// Sends what each channel of an incident is behind with, and forgets the incident once all
    /// is said.
    pub(super) fn pump(&mut self, world: &mut World, id: IncidentId) {
        let Some(mut incident) = self.all.remove(&id) else { return };
        let mut channels = std::mem::take(&mut incident.channels);
        let mut retry: Option<Timestamp> = None;
        for (index, channel) in channels.iter_mut().enumerate() {
            let wanted = self.wanted(world, id, &incident, channel);
            if incident.side == Side::Shadow {
                channel.pretend(world.now, wanted, incident.version);
                continue;
            }
            let kind = channel.next(world.now, wanted);
            if let Some(kind) = kind {
                let notification = NotificationId(self.next_notification);
                self.next_notification += 1;
                channel.sent(world.now, notification, kind, incident.version);
                self.in_flight.insert(notification, (id, index));
                self.notify(world, (notification, kind), (id, &mut incident), channel);
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
            self.all.insert(id, incident);
            self.watch_orphan(world, id);
            // What this one took over may be closed now.
            return supersedes.into_iter().for_each(|old| self.pump(world, old));
        }
        world.timers.clear(&Timer::Update(id));
        self.kin_went(id, &incident.group.1);
        // What took its place took the place of what it had replaced.
        if let (Some(old), Some(new)) = (supersedes, incident.superseded_by) {
            if let Some(incident) = self.all.get_mut(&old) {
                incident.superseded_by = Some(new);
            }
            if let Some(incident) = self.all.get_mut(&new) {
                incident.supersedes = Some(old);
            }
        }
        let left_open = channels.iter().any(|c| !c.takes_resolves());
        self.settled.push(Settled { id, group: incident.group, side: incident.side, left_open });
        self.watch_orphan(world, id);
        if let Some(old) = supersedes {
            self.pump(world, old);
        }
    }

    /// A person asks for a refused notification: tried anew with what is true now. False if its
    /// incident is not known any more.
    pub(super) fn retry_refused(&mut self, world: &mut World, id: NotificationId) -> bool {
        let Some(&(incident, index)) = self.refused.get(&id) else { return false };
        let channel = self.all.get_mut(&incident).and_then(|i| i.channels.get_mut(index));
        let Some(channel) = channel else { return false };
        channel.retry_now();
        self.pump(world, incident);
        true
    }

    pub(super) fn forget_track(&mut self, world: &mut World, lane: LaneId, alert: AlertId) {
        let Some(track) = world.alerts.track(alert, lane) else { return };
        let busy = track.is_live() || track.damping.flaps().is_some();
        if busy {
            return;
        }
        // What its incident still has to say of it is said with its labels.
        match self.is_named(world, alert, lane) {
            true => world.timers.set(Timer::ForgetTrack(lane, alert), world.next_hour()),
            false => world.alerts.forget_track(alert, lane),
        }
    }

    /// Whether the incident in which an alert is, or was last, at a lane may still name it.
    pub(super) fn is_named(&self, world: &World, alert: AlertId, lane: LaneId) -> bool {
        let incident = world.alerts.track(alert, lane).and_then(|t| self.all.get(&t.incident()?));
        incident.is_some_and(|i| i.members.contains_key(&alert))
    }

    /// Disposes all that waits in an incident: one observation, the leader, as what is sent; the
    /// others as grouped with it.
    fn dispose_waiting(
        &mut self,
        world: &mut World,
        id: IncidentId,
        sent: Option<(Disposition, Leader)>,
        cause: &Cause,
    ) {
        let Some(incident) = self.all.get_mut(&id) else { return };
        let waiting = std::mem::take(&mut incident.waiting);
        let (lane, key) = (incident.group.0, incident.dedup_key.clone());
        let leader = match sent {
            Some((_, Leader::First)) => waiting.iter().position(|(_, n)| *n > 0),
            Some((_, Leader::Last)) => waiting.iter().rposition(|(_, n)| *n > 0),
            None => None,
        };
        let World { lanes, ledger, alerts, now, .. } = world;
        let lane = (lane, lanes.lane(lane));
        for (index, (alert, mut count)) in waiting.into_iter().enumerate() {
            let mut dispose = |disposition, count, cause| {
                let (known, incident, basis) = (alerts.alert_mut(alert), key.clone(), lane.1.basis());
                let verdict =
                    Verdict { alert, known, lane, incident, disposition, cause, release: None, basis };
                ledger.dispose(*now, count, verdict);
            };
            if let Some((disposition, _)) = sent.filter(|_| leader == Some(index)) {
                dispose(disposition, 1, cause.clone());
                count -= 1;
            }
            if count > 0 {
                let with = Cause::ToldWithOthers { cause: Box::new(cause.clone()) };
                dispose(Disposition::Suppressed(with.reason()), count, with);
            }
        }
    }

    /// Decides one notification.
    fn notify(
        &mut self,
        world: &mut World,
        (number, kind): (NotificationId, Kind),
        (id, incident): (IncidentId, &mut Incident),
        channel: &Channel,
    ) {
        let group = channel.known_by == KnownBy::Group && kind == Kind::Update;
        if group && incident.is_over() && !self.shows_one_that_fires(world, id, incident, channel) {
            incident.borrowed.extend(self.one_that_fires(world, incident, channel));
        }
        let mut notification = self.render(world, (number, kind), (id, incident), channel);
        if let Some(fallback) = &channel.receiver {
            let receiver = std::mem::replace(&mut notification.receiver, fallback.clone());
            notification.cause = Cause::Fallback { receiver, cause: Box::new(notification.cause) };
        }
        if let Some((receiver, integration)) = &channel.closes_at {
            (notification.receiver, notification.integration) = (receiver.clone(), integration.clone());
        }
        world.ledger.notified(&notification.receiver, &notification.integration, kind);
        self.outgoing.push(notification);
    }
}

impl World {
    /// Counts an incident as closing, or no longer.
    fn count_closing(&mut self, incident: &mut Incident, closing: bool) {
        let closing = closing && incident.side != Side::Shadow;
        if closing == std::mem::replace(&mut incident.closing_counted, closing) {
            return;
        }
        let count = &mut self.ledger.receiver(&self.lanes.lane(incident.group.0).receiver).closing;
        *count = if closing { *count + 1 } else { count.saturating_sub(1) };
    }

    /// What is remembered of an alert at a lane goes once it tells nothing any more.
    pub(super) fn remember(&mut self, alert: AlertId, lane: LaneId) {
        let noise = &self.lanes.lane(lane).noise;
        let Some(track) = self.alerts.track(alert, lane) else { return };
        let at = track
            .damping
            .forget_at(&noise.flapping)
            .max(self.now + noise.merge_window.max(noise.resolve_hold));
        self.timers.set(Timer::ForgetTrack(lane, alert), at);
    }
}

/// Which of the waiting observations made the notification go.
#[derive(Clone, Copy)]
enum Leader {
    First,
    Last,
}

/// An incident of which all is said: every receiver knows that it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settled {
    id: IncidentId,
    group: GroupKey,
    side: Side,
    /// Its key may be open still at a receiver that hears of no ends.
    left_open: bool,
}

/// How many refused notifications can be asked for again with what is true then.
const REFUSED_REMEMBERED: usize = 10_000;
