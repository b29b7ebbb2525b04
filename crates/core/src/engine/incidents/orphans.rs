//! Orphans: incidents that are open at an integration which the configuration does not have any more.
//!
//! Delivery keeps the settings of an integration that a reload removed, so the end of such an incident
//! still goes there. After a restart these settings are gone, and Squelch names the incidents that a person
//! must close by hand.

use crate::engine::incidents::Incidents;
use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::incident::{Incident, IncidentId, Phase, Side};
use crate::engine::pages::Pages;
use crate::engine::self_check::SelfCheck;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{Duration, OrphanedIncident, Problem};

/// How soon an end must have been taken by an integration that is gone.
const PATIENCE: Duration = Duration::from_mins(5);
/// A summary names so many of them.
const NAMED: usize = 5;

impl SelfCheck {
    /// Raises an alarm about the incidents whose resolve cannot reach their integration.
    pub(crate) fn say_orphans(&mut self, world: &mut World, pages: &mut Pages) {
        let late = |incident: &Incident| {
            incident.phase == Phase::Closed && incident.issued_at + PATIENCE <= world.now
        };
        let incidents = pages.incidents.orphans.iter().filter_map(|id| pages.incidents.all.get(id));
        let left: Vec<OrphanedIncident> = incidents
            .flat_map(|incident| {
                let late = late(incident);
                orphans_of(world, incident, move |c| c.is_orphan() && (late || c.end_was_refused()))
            })
            .collect();
        let found = !left.is_empty();
        let others = left.len().saturating_sub(NAMED);
        let orphans = left.into_iter().take(NAMED).collect();
        self.put(world, pages, Problem::IncidentsOrphaned { orphans, others }, found);
    }
}

impl Incidents {
    /// The change may make an incident an orphan, or end that.
    pub(crate) fn watch_orphan(&mut self, world: &mut World, id: IncidentId) {
        // An observed incident is open at no integration.
        let is = |incident: &Incident| {
            incident.side != Side::Observed && incident.channels.iter().any(Channel::is_orphan)
        };
        if !self.all.get(&id).is_some_and(is) {
            self.orphans.remove(&id);
            return;
        }
        self.orphans.insert(id);
        world.timers.set_if_unset(Timer::SelfCheck, world.now + crate::engine::self_check::watch::EVERY);
    }
}

pub(crate) fn orphans_of<'a>(
    world: &'a World,
    incident: &'a Incident,
    which: impl Fn(&Channel) -> bool + 'a,
) -> impl Iterator<Item = OrphanedIncident> + 'a {
    let home = &world.destinations.get(incident.group.0).receiver;
    incident.channels.iter().filter(move |channel| which(channel)).map(move |channel| OrphanedIncident {
        receiver: channel.receiver(home).clone(),
        integration: channel.integration.clone(),
        incident: incident.group_text.clone(),
        dedup_key: incident.key_at(channel).clone(),
    })
}
