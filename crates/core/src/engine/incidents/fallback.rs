//! Fallback: where a receiver refused a page, or has not taken it in time, another one is told too, under
//! the same key, of the page and of its end.

use std::collections::BTreeSet;

use smol_str::SmolStr;

use crate::engine::incidents::Incidents;
use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::incident::IncidentId;
use crate::engine::world::World;

impl Incidents {
    /// Brings in the fallbacks of the receivers at which a page was refused or has waited for too long;
    /// `refused`: one was refused just now. Each receiver is brought in once, so this ends.
    pub(crate) fn fall_back(&mut self, world: &mut World, id: IncidentId, refused: bool) {
        let now = world.now;
        let Some(incident) = self.all.get(&id) else { return };
        let home = world.destinations.get(incident.group.0).receiver.clone();
        let mut notified: BTreeSet<SmolStr> =
            incident.channels.iter().filter_map(|c| c.receiver.clone()).collect();
        notified.insert(home.clone());
        let mut new = Vec::new();
        for channel in incident.channels.iter().filter(|c| c.is_waiting()) {
            let receiver = channel.receiver.as_ref().unwrap_or(&home);
            let Some(settings) = world.policy.receivers.get(receiver) else { continue };
            let Some(fallback) = &settings.fallback else { continue };
            let late = channel.since.unwrap_or(incident.paged_at) + settings.fallback_after <= now;
            if !(late || refused && channel.was_refused()) || !notified.insert(fallback.clone()) {
                continue;
            }
            let integrations = world.policy.receivers.get(fallback).into_iter().flat_map(|r| &r.integrations);
            new.extend(integrations.map(|i| Channel::fallback(i, fallback.clone(), now)));
        }
        if new.is_empty() {
            return;
        }
        if let Some(incident) = self.all.get_mut(&id) {
            incident.channels.extend(new);
        }
        self.pump(world, id);
    }

    /// What took an incident's place is told to the fallbacks too that were told of the former.
    pub(crate) fn fallbacks_moved(&mut self, world: &World, old: IncidentId, new: IncidentId) {
        let Some(incident) = self.all.get(&old) else { return };
        let names: BTreeSet<SmolStr> = incident.channels.iter().filter_map(|c| c.receiver.clone()).collect();
        let mut channels = Vec::new();
        for name in names {
            let integrations = world.policy.receivers.get(&name).into_iter().flat_map(|r| &r.integrations);
            channels.extend(integrations.map(|i| Channel::fallback(i, name.clone(), world.now)));
        }
        if let Some(incident) = self.all.get_mut(&new) {
            incident.channels.extend(channels);
        }
    }
}
