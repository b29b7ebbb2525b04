//! Receivers and integrations that a new configuration gives other names.
//!
//! An incident is open at a destination: a URL, with the credential that the request carries. It is closed
//! through the integration that leads there, whatever the configuration calls it.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::Engine;
use super::channel::Channel;
use super::incidents::Incidents;
use super::timers::Timer;
use super::world::World;
use crate::policy::{IntegrationRef, Policy, Receiver};

impl Engine {
    /// Takes over that `policy` gives receivers other names, before it is in force. A receiver has another
    /// name if its own name is gone and one new receiver has the same destinations. Of several such
    /// receivers, the first by name goes on.
    pub(super) fn rename_receivers(&mut self, policy: &Policy) {
        let gone =
            self.world.policy.receivers.iter().filter(|(name, _)| !policy.receivers.contains_key(*name));
        let new =
            policy.receivers.iter().filter(|(name, _)| !self.world.policy.receivers.contains_key(*name));
        // By destinations: the names that are gone, and the new ones.
        let mut names: BTreeMap<Vec<u64>, (Vec<SmolStr>, Vec<SmolStr>)> = BTreeMap::new();
        for (name, leads_to) in gone.filter_map(|(name, receiver)| Some((name, destinations(receiver)?))) {
            names.entry(leads_to).or_default().0.push(name.clone());
        }
        for (name, leads_to) in new.filter_map(|(name, receiver)| Some((name, destinations(receiver)?))) {
            names.entry(leads_to).or_default().1.push(name.clone());
        }
        for (gone, new) in names.into_values() {
            // One receiver goes on under the new name. Two of them would have their counters mixed.
            if let ([old, ..], [new]) = (&gone[..], &new[..]) {
                self.rename_receiver(old, new);
            }
        }
    }

    fn rename_receiver(&mut self, old: &SmolStr, new: &SmolStr) {
        self.world.lanes.rename_receiver(old, new);
        self.pages.rename_flows(old, new);
        self.world.ledger.rename_receiver(old, new);
        self.pages.digests.rename_receiver(old, new);
        self.pages.mirrors.rename_receiver(old, new);
        self.checks.bounds.rename_receiver(old, new);
        if let Some(due) = self.world.timers.deadline(&Timer::Digest(old.clone())) {
            self.world.timers.clear(&Timer::Digest(old.clone()));
            self.world.timers.set(Timer::Digest(new.clone()), due);
        }
        for channel in self.pages.incidents.all.values_mut().flat_map(|incident| &mut incident.channels) {
            if channel.receiver.as_ref() == Some(old) {
                channel.receiver = Some(new.clone());
            }
        }
    }
}

impl Incidents {
    /// Leads the channels of all incidents to the integrations of `policy`.
    pub(super) fn lead_channels(&mut self, world: &mut World, policy: &Policy) {
        for incident in self.all.values_mut() {
            let home = &world.lanes.lane(incident.group.0).receiver;
            let known: Vec<u64> = incident.channels.iter().map(Channel::destination).collect();
            for channel in &mut incident.channels {
                let receiver = channel.receiver.as_ref().unwrap_or(home);
                let own = policy.receivers.get(receiver).map_or(&[][..], |r| &r.integrations);
                // Its destination may have been corrected. Another integration's may not be taken for it.
                let free = |i: &&IntegrationRef| i.destination == 0 || !known.contains(&i.destination);
                let same_name = || own.iter().filter(free).find(|i| i.name == channel.integration);
                let found = own.iter().find(|i| channel.leads_to(i)).or_else(same_name);
                channel.adopt(found);
                let elsewhere = || {
                    let all = policy.receivers.iter();
                    let mut all = all.flat_map(|(name, r)| r.integrations.iter().map(move |i| (name, i)));
                    let (name, integration) = all.find(|(_, i)| channel.leads_to(i))?;
                    Some((name.clone(), integration.name.clone()))
                };
                channel.closes_at = if found.is_some() { None } else { elsewhere() };
            }
        }
    }
}

/// Moves what stands under the name of a receiver to its new one.
pub(super) fn rename_key<V>(map: &mut BTreeMap<SmolStr, V>, old: &SmolStr, new: &SmolStr) {
    if let Some(value) = map.remove(old) {
        map.insert(new.clone(), value);
    }
}

/// The same, where the name of the receiver is a part of the key.
pub(super) fn rename_part<V>(map: &mut BTreeMap<(SmolStr, SmolStr), V>, old: &SmolStr, new: &SmolStr) {
    let renamed = |receiver: SmolStr| if receiver == *old { new.clone() } else { receiver };
    let all = std::mem::take(map).into_iter();
    *map = all.map(|((receiver, other), value)| ((renamed(receiver), other), value)).collect();
}

/// Where a receiver leads, if that is known of all its integrations.
fn destinations(receiver: &Receiver) -> Option<Vec<u64>> {
    let known = |i: &IntegrationRef| Some(i.destination).filter(|destination| *destination != 0);
    let mut all: Vec<u64> = receiver.integrations.iter().map(known).collect::<Option<_>>()?;
    all.sort_unstable();
    (!all.is_empty()).then_some(all)
}
