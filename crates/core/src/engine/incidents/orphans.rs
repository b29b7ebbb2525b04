//! Orphans: incidents that are open at an integration which the configuration does not have any more.
//!
//! Delivery keeps the settings of an integration that a reload removed, so the end of such an incident
//! still goes there. After a restart these settings are gone, and Squelch names the incidents that a person
//! must close by hand.

use crate::engine::ids::IncidentId;
use crate::engine::incidents::Incidents;
use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::incident::{Incident, Side};
use crate::engine::timers::{LOOK_EVERY, Timer};
use crate::engine::world::World;
use crate::model::OrphanedIncident;

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
        world.timers.set_if_unset(Timer::SelfCheck, world.now + LOOK_EVERY);
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
