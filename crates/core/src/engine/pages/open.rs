//! The life of an incident: it opens, changes, is repeated, gets worse, and closes.

use std::collections::BTreeSet;

use smol_str::{SmolStr, format_smolstr};

use crate::engine::ids::{DestinationId, GroupKey, IncidentId};
use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::delivery::Leader;
use crate::engine::incidents::incident::{Incident, Phase, Side, dedup_key};
use crate::engine::pages::{Pages, alone};
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{AlertId, Cause, Disposition, Duration};
use crate::policy::Noise;

impl Pages {
    pub(crate) fn new_incident(&mut self, world: &mut World, key: &GroupKey) -> IncidentId {
        let destination = world.destinations.get(key.0);
        let text = format_smolstr!("{}:{}", destination.key(), key.1);
        let channels = destination.integrations.iter().map(Channel::new).collect();
        let id = IncidentId(self.incidents.next_incident);
        self.incidents.next_incident += 1;
        let group = self.groups.entry(key.clone()).or_default();
        world.timers.clear(&Timer::ForgetGroup(key.clone()));
        let mut generation = group.next_generation;
        let again = generation > 0 || group.merged;
        let side = if destination.observes() { Side::Observed } else { Side::Ours };
        if side == Side::Ours {
            let receiver = &destination.receiver;
            let held = |dedup_key: &SmolStr| {
                // A key that was mirrored may be open too.
                self.forwards.holds(world, &self.incidents.all, receiver, dedup_key)
                    || self.incidents.holds_key(world, &key.1, receiver, dedup_key)
            };
            while held(&dedup_key(&text, generation)) {
                generation += 1;
            }
        }
        group.next_generation = generation + 1;
        group.open.push(id);
        group.unsettled += 1;
        let mut incident = Incident::new(world.now, (key.clone(), text), generation, channels);
        (incident.side, incident.again) = (side, again);
        self.incidents.all.insert(id, incident);
        self.incidents.kin_came(world, id);
        world.gauges(key.0).open += 1;
        id
    }

    /// Issues the first version of an incident. The observation that made it page is disposed as the page,
    /// the others in it as grouped.
    pub(crate) fn page(&mut self, world: &mut World, id: IncidentId, cause: Cause) {
        let level = self.incidents.level(world, id).unwrap_or(0);
        let Some(incident) = self.incidents.all.get_mut(&id) else { return };
        incident.paged(level);
        let destination = incident.group.0;
        if let Some(group) = self.groups.get_mut(&incident.group) {
            group.paged(world.now);
        }
        self.paged_alone(world, id);
        let budget = world.destinations.get(destination).noise.budget.clone();
        let now = world.now;
        if self.flow(world, destination).over_budget(now, &budget) {
            world.gauges(destination).over_budget += 1;
        }
        self.incidents.repeat_later(world, id);
        let Some(incident) = self.incidents.all.get_mut(&id) else { return };
        incident.issue(world.now, cause.clone(), true);
        self.incidents.dispose_waiting(world, id, Some((Disposition::Page, Leader::First)), &cause);
        let receiver = world.destinations.get(destination).receiver.clone();
        self.incidents.watch_page(world, id, &receiver);
        self.incidents.pump(world, id);
    }

    /// Brings an incident that was touched in line with its alerts.
    pub(crate) fn settle(&mut self, world: &mut World, id: IncidentId) {
        let Some(incident) = self.incidents.all.get_mut(&id) else { return };
        if incident.is_over() || incident.internal.is_some() || incident.side == Side::Forwarded {
            return self.incidents.pump(world, id);
        }
        let destination = incident.group.0;
        let group_interval = incident
            .destinations()
            .map(|destination| world.destinations.get(destination).group_interval)
            .min();
        let settings = world.destinations.get(destination);
        let firing = incident.members.firing();
        if firing == 0 {
            return self.resolving(world, id, destination);
        }
        let highest = incident.members.highest().map(usize::from).filter(|_| settings.noise.escalate);
        let higher = highest.filter(|level| *level < incident.level);
        let higher = higher.filter(|level| self.incidents.pages_here(world, id, *level));
        let higher = higher.map(|level| &world.policy.severities.levels[level].name);
        let Some(incident) = self.incidents.all.get_mut(&id) else { return };
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
        let flaps = incident.members.news().find_map(|(_, member)| member.flaps);
        let cause = match flaps.map(|changes| Cause::AlertFlaps { changes }) {
            Some(cause) => cause,
            None => alone::news(world, incident, destination).unwrap_or(Cause::AlertsChanged),
        };
        // An integration that left the configuration gets this version if a reload brings it back.
        incident.issue(world.now, cause.clone(), false);
        match incident.takes_updates() {
            true => {
                let update = Some((Disposition::Update, Leader::First));
                self.incidents.dispose_waiting(world, id, update, &cause);
            }
            false => self.dispose_waiting_as(world, id, &Cause::NoUpdates),
        }
        self.incidents.pump(world, id);
    }

    /// Nothing in the incident fires any more: it stays open for `resolve_hold`.
    fn resolving(&mut self, world: &mut World, id: IncidentId, destination: DestinationId) {
        let Some(incident) = self.incidents.all.get_mut(&id) else { return };
        let noise = || incident.destinations().map(|destination| &world.destinations.get(destination).noise);
        let hold = noise().map(|noise| noise.resolve_hold).max().unwrap_or_default();
        let again = noise().map(Noise::stay_open_again).max().filter(|_| incident.again).unwrap_or_default();
        if incident.phase == Phase::Resolving {
            return;
        }
        incident.phase = Phase::Resolving;
        let labels = incident.group.1.clone();
        let until = (world.now + hold).max(incident.paged_at + again);
        let until = until.max(alone::stays_until(world, id, incident));
        let gauges = world.gauges(destination);
        gauges.open -= 1;
        gauges.resolving += 1;
        world.timers.clear(&Timer::Update(id));
        match until <= world.now {
            true => self.close(world, id),
            false => {
                world.timers.set(Timer::ResolveHold(id), until);
                self.incidents.group_changed(&labels);
                // A page that still waits for its receiver is taken back.
                self.incidents.pump(world, id);
            }
        }
    }

    /// `resolve_hold` is over: the incident closes.
    pub(crate) fn close(&mut self, world: &mut World, id: IncidentId) {
        let Some(incident) = self.incidents.all.get_mut(&id) else { return };
        if incident.phase != Phase::Resolving {
            return;
        }
        incident.phase = Phase::Closed;
        let cause = incident.closing.take().map_or(Cause::AllResolved, |cause| *cause);
        incident.issue(world.now, cause.clone(), false);
        let group = incident.group.clone();
        let notified = incident.channels.iter().any(Channel::takes_resolves);
        let as_resolve = notified.then_some((Disposition::Resolve, Leader::Last));
        self.incidents.dispose_waiting(world, id, as_resolve, &cause);
        world.gauges(group.0).resolving -= 1;
        self.leave_group(world, id, &group);
        self.incidents.group_changed(&group.1);
        // The resolve is issued at the end of the event. An alert that fires again in the same moment has
        // not resolved.
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

    /// `repeat_interval` is over: the trigger is sent again under the same key. Silent at an
    /// incident that is open, it reopens one that a human closed while the problem lasts. An incident that a
    /// person took on is not repeated.
    pub(crate) fn repeat(&mut self, world: &mut World, id: IncidentId) {
        let muted = self.incidents.is_muted(world, id);
        let interval = self.incidents.repeat_later(world, id);
        let open = self.incidents.all.get(&id).is_some_and(|incident| incident.phase == Phase::Open);
        if open && !muted {
            if self.move_on(world, id) {
                return;
            }
            let Some(incident) = self.incidents.all.get_mut(&id) else { return };
            if incident.acknowledged.is_some() {
                return;
            }
            let cause = Cause::Repeated { interval };
            incident.issue(world.now, cause.clone(), true);
            world.timers.clear(&Timer::Update(id));
            self.incidents.dispose_waiting(world, id, Some((Disposition::Update, Leader::First)), &cause);
            self.incidents.pump(world, id);
        }
    }

    /// It got worse: a new generation takes the firing alerts over, under a new key, so that it interrupts.
    /// The old incident is resolved once the new page is accepted.
    pub(crate) fn supersede(&mut self, world: &mut World, old: IncidentId, cause: Cause) {
        let Some(incident) = self.incidents.all.get(&old).filter(|i| i.is_open()) else { return };
        let key = incident.group.clone();
        let new = self.new_incident(world, &key);
        self.leave_group(world, old, &key);
        world.gauges(key.0).open -= 1;
        let Some(incident) = self.incidents.all.get_mut(&old) else { return };
        incident.superseded_by = Some(new);
        *incident.cause = Cause::Superseded { cause: Box::new(cause.clone()) };
        let waiting = std::mem::take(&mut incident.waiting);
        let (again, mut merges) = (incident.again, incident.merges.clone());
        // Readers of a `groupKey` know these alerts as firing under the key of the old incident.
        let unsaid_ends = incident.members.news().any(|(_, member)| !member.firing);
        let members = incident.members.move_out(world.now);
        for alert in members.keys() {
            // Alerts that were merged at the receiver came by destinations of their own.
            for destination in world.taken_destinations(*alert) {
                world.state(*alert, destination).follow(old, new);
            }
        }
        // The page stands in the groups whose alerts it names. An alert of another group pages for itself.
        let left = merges.clone();
        if !left.is_empty() {
            let named: BTreeSet<GroupKey> =
                members.keys().flat_map(|alert| world.groups_of(*alert)).collect();
            merges.retain(|key| named.contains(key));
        }
        if let Some(incident) = self.incidents.all.get_mut(&new) {
            (incident.members, incident.again) = (members, again);
            incident.waiting = waiting;
            // The observation that made it worse came last. It is the one that pages.
            incident.waiting.reverse();
            incident.supersedes = Some(old);
            incident.merges = merges.clone();
        }
        for key in left {
            if merges.contains(&key) {
                self.groups.entry(key.clone()).or_default().open.push(new);
            }
            self.forget_group_later(world, &key);
        }
        // The alerts that wait are part of the next page of their group, and this is one.
        let all = self.take_page(world, &key);
        self.enter_all(world, new, &key, &all);
        self.internal_moved(old, new);
        self.incidents.seconds_moved(world, old, new);
        self.page(world, new, cause);
        self.incidents.group_changed(&key.1);
        if unsaid_ends {
            self.incidents.owe_update(world, old);
        }
        self.incidents.pump(world, old);
    }

    /// An open incident whose integrations all left the configuration goes on, as a page, at those that its
    /// receiver has today. It returns false if there is no need, or no integration.
    pub(crate) fn move_on(&mut self, world: &mut World, id: IncidentId) -> bool {
        if !self.lacks_page(world, id) {
            return false;
        }
        if self.incidents.all.get(&id).is_some_and(|incident| incident.side == Side::Forwarded) {
            self.incidents.forward_moves_on(world, id);
            return false;
        }
        if self.incidents.is_muted(world, id) {
            return false;
        }
        self.supersede(world, id, Cause::IntegrationsReplaced);
        true
    }

    /// A mute of an incident ended. It moves on after `wait`, not at its next repeat.
    pub(crate) fn move_on_after(&self, world: &mut World, id: IncidentId, wait: Duration) {
        if self.lacks_page(world, id) {
            world.timers.set_by(Timer::Repeat(id), world.now + wait);
        }
    }

    /// Whether the receiver of an open incident has integrations today, and none of these was notified.
    fn lacks_page(&self, world: &World, id: IncidentId) -> bool {
        let Some(incident) = self.incidents.all.get(&id).filter(|i| i.is_open()) else { return false };
        let nobody = world.destinations.get(incident.group.0).integrations.is_empty();
        !nobody && !incident.reaches_somebody()
    }

    /// An alert still fires, and its incident lacks a page for it. It pages again, unless its page is
    /// recent. Within `merge_window` a person works on it already.
    pub(crate) fn fires_on(
        &mut self,
        world: &mut World,
        alert: AlertId,
        destination: DestinationId,
        cause: Cause,
    ) {
        // An alert that waits has its own page to come, and one that is withheld has none.
        let incident = world.state(alert, destination).notified_in();
        // Another receiver has the page.
        let incident = incident.filter(|_| !self.incidents.pages_elsewhere(world, alert, destination));
        let noise = &world.destinations.get(destination).noise;
        let lacks = |incident: &Incident| incident.is_open() && !incident.is_recent(world.now, noise);
        if let Some(id) = incident.filter(|id| self.incidents.all.get(id).is_some_and(lacks)) {
            world.routed(destination, 1);
            if let Some(incident) = self.incidents.all.get_mut(&id) {
                incident.waiting.push((alert, 1));
            }
            self.supersede(world, id, cause);
        }
    }

    /// An incident of Squelch's own goes on as another one.
    pub(crate) fn internal_moved(&mut self, old: IncidentId, new: IncidentId) {
        let own = self.incidents.all.get(&old).and_then(|i| i.internal.clone());
        if let (Some(_), Some(incident)) = (&own, self.incidents.all.get_mut(&new)) {
            let key = incident.group.clone();
            incident.internal = own;
            self.internal.insert(key, new);
        }
    }
}
