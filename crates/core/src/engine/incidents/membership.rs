//! Alerts that come into an incident, change in it, and leave it.

use crate::engine::ids::{DestinationId, IncidentId};
use crate::engine::incidents::Incidents;
use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::incident::Phase;
use crate::engine::incidents::members::Member;
use crate::engine::stats::Bound;
use crate::engine::timers::Timer;
use crate::engine::world::{SHARE, World};
use crate::model::{AlertId, Cause};

/// Above this number of members of one incident, those that are over and notified as over go, once they are
/// a hundredth.
pub(crate) const MEMBERS: usize = 10_000;

impl Incidents {
    /// An alert that fires joins an incident, which the next version of it tells.
    pub(crate) fn join(
        &mut self,
        world: &mut World,
        id: IncidentId,
        alert: AlertId,
        destination: DestinationId,
        count: u64,
        flaps: Option<u32>,
    ) {
        let since = world.alerts.alert(alert).map_or(world.now, |a| a.starts_at);
        let level = world.level_of(alert);
        self.bound_members(world, id);
        let Some(incident) = self.all.get_mut(&id) else { return };
        // A rollout goes from one alert to the next. An alert that comes and goes is none.
        let anew = flaps.is_none() && !incident.members.contains_key(&alert);
        if let Some(known) = world.alerts.alert(alert).filter(|_| anew) {
            incident.came(world.now, known.labels.value("alertname"));
        }
        let known = incident.members.get(&alert);
        let (notified, named_in) = known.map_or((None, 0), |member| (member.notified, member.named_in));
        let member = Member { flaps, notified, named_in, ..Member::firing(since, level) };
        incident.members.insert(alert, member);
        incident.waiting.push((alert, count));
        incident.closing = None;
        if std::mem::take(&mut incident.contradicted) {
            self.owe_update(world, id);
        }
        self.reopen(world, id);
        world.state(alert, destination).notify(id);
        self.touched.insert(id);
    }

    /// So many observations of an alert wait for the next version of an incident.
    pub(crate) fn wait_in(&mut self, id: IncidentId, alert: AlertId, count: u64) {
        if let Some(incident) = self.all.get_mut(&id).filter(|_| count > 0) {
            incident.waiting.push((alert, count));
        }
    }

    /// Leaves members out of an incident that are over and notified as over.
    pub(crate) fn bound_members(&mut self, world: &mut World, id: crate::engine::IncidentId) {
        let Some(incident) = self.all.get_mut(&id) else { return };
        let (all, over) = (incident.members.len(), incident.members.over());
        // Few are not worth the walk.
        if all < MEMBERS || over == 0 || over < all / SHARE {
            return;
        }
        // Receivers that know members as firing get their resolve before the members are forgotten here.
        if all < 2 * MEMBERS && !incident.is_known_everywhere() {
            return;
        }
        incident.shed += over as u64;
        incident.members.leave_out_over();
        world.accounting.bound(Bound::Members, over as u64);
    }

    /// Counts changes of an alert, and marks its incident if it begins to flap with them.
    pub(crate) fn damp(
        &mut self,
        world: &mut World,
        alert: AlertId,
        destination: DestinationId,
        changes: u32,
    ) {
        let noise = &world.destinations.get(destination).noise;
        let level = world.alerts.alert(alert).map(|a| world.policy.severities.level(&a.labels));
        // Its pages are counted instead of its changes.
        let may_flap = !level.is_some_and(|level| noise.alone.applies(level));
        let settings = &noise.flapping;
        let state = world.alerts.state_mut(alert, destination);
        let began = state.damping.change(world.now, changes, settings, may_flap);
        if let Some(deadline) = state.damping.reuse_deadline(settings) {
            world.timers.set(Timer::Reuse(destination, alert), deadline);
        }
        let flaps = state.damping.flaps();
        if let Some(id) = state.incident().filter(|_| flaps.is_some())
            && let Some(incident) = self.all.get_mut(&id)
            && incident.members.change(&alert, |member| member.flaps = flaps)
        {
            self.touched.insert(id);
        }
        if began {
            world.gauges(destination).flapping += 1;
        }
    }

    /// Sends an update of an incident because a flapping alert fires again.
    pub(crate) fn tell_again(
        &mut self,
        world: &mut World,
        alert: AlertId,
        destination: DestinationId,
        id: IncidentId,
    ) {
        if world.state(alert, destination).incident() != Some(id) {
            self.leave(world, alert, destination);
        }
        let state = world.state(alert, destination);
        let (count, flaps) = (std::mem::take(&mut state.waiting), state.damping.flaps());
        self.join(world, id, alert, destination, count, flaps);
        if let Some(incident) = self.all.get_mut(&id) {
            incident.members.change(&alert, |member| member.notified = None);
        }
    }

    /// An alert goes on elsewhere: in the incident that it is in it counts as resolved.
    pub(crate) fn leave(&mut self, world: &mut World, alert: AlertId, destination: DestinationId) {
        let Some(old) = world.state(alert, destination).leave_incident() else { return };
        let stays = world.taken_destinations(alert).into_iter().any(|other| {
            let state = world.state(alert, other);
            state.notified_in() == Some(old)
        });
        let now = world.now;
        let Some(incident) = self.all.get_mut(&old).filter(|_| !stays) else { return };
        if !incident.members.change(&alert, |member| member.ends(now)) {
            return;
        }
        if incident.members.firing() == 0 {
            incident.closing = Some(Box::new(Cause::MovedElsewhere));
        }
        self.touched.insert(old);
        self.ended(world, alert);
    }

    /// An alert came into an incident: if its `resolve_hold` runs, it is open again.
    pub(crate) fn reopen(&mut self, world: &mut World, id: IncidentId) {
        let Some(incident) = self.all.get_mut(&id).filter(|i| i.phase == Phase::Resolving) else {
            return;
        };
        incident.phase = Phase::Open;
        let (destination, labels) = incident.group.clone();
        world.timers.clear(&Timer::ResolveHold(id));
        let gauges = world.gauges(destination);
        gauges.resolving -= 1;
        gauges.open += 1;
        self.group_changed(&labels);
    }

    /// The integrations of a mirrored incident left the configuration, and its receiver has others: those
    /// are notified too.
    pub(crate) fn forward_moves_on(&mut self, world: &World, id: IncidentId) {
        let Some(incident) = self.all.get_mut(&id) else { return };
        for integration in &world.destinations.get(incident.group.0).integrations {
            if !incident.channels.iter().any(|c| c.integration == integration.name) {
                incident.channels.push(Channel::new(integration));
            }
        }
    }
}
