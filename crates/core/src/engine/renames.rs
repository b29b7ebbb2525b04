//! Receivers and integrations that a new configuration gives other names.
//!
//! An incident is open at a destination: a URL, with the credential that the request carries. It is closed
//! through the integration that leads there, whatever the configuration calls it.

use smol_str::SmolStr;

use super::Engine;
use super::channel::Channel;
use super::timers::Timer;
use crate::policy::{IntegrationRef, Policy, Receiver};

impl Engine {
    /// Takes over that `policy` gives receivers other names, before it is in force. A receiver has another
    /// name if its own name is gone and one new receiver has the same destinations.
    pub(super) fn rename_receivers(&mut self, policy: &Policy) {
        let gone = self.policy.receivers.iter().filter(|(name, _)| !policy.receivers.contains_key(*name));
        let new = policy.receivers.iter().filter(|(name, _)| !self.policy.receivers.contains_key(*name));
        let new: Vec<_> = new.map(|(name, receiver)| (name, destinations(receiver))).collect();
        let renamed = gone.filter_map(|(old, receiver)| {
            let leads_to = destinations(receiver)?;
            let mut same = new.iter().filter(|(_, other)| other.as_ref() == Some(&leads_to));
            let (name, _) = same.next()?;
            same.next().is_none().then(|| (old.clone(), (*name).clone()))
        });
        let renamed: Vec<(SmolStr, SmolStr)> = renamed.collect();
        for (old, new) in renamed {
            self.rename_receiver(&old, &new);
        }
    }

    fn rename_receiver(&mut self, old: &SmolStr, new: &SmolStr) {
        self.lanes.rename_receiver(old, new);
        self.rename_flows(old, new);
        self.ledger.rename_receiver(old, new);
        self.digests.rename_receiver(old, new);
        self.mirrors.rename_receiver(old, new);
        self.bounds.rename_receiver(old, new);
        if let Some(due) = self.timers.deadline(&Timer::Digest(old.clone())) {
            self.timers.clear(&Timer::Digest(old.clone()));
            self.timers.set(Timer::Digest(new.clone()), due);
        }
        for channel in self.incidents.values_mut().flat_map(|incident| &mut incident.channels) {
            if channel.receiver.as_ref() == Some(old) {
                channel.receiver = Some(new.clone());
            }
        }
    }

    /// Leads the channels of all incidents to the integrations of `policy`.
    pub(super) fn lead_channels(&mut self, policy: &Policy) {
        for incident in self.incidents.values_mut() {
            let home = &self.lanes.lane(incident.group.0).receiver;
            let known: Vec<u64> = incident.channels.iter().map(Channel::destination).collect();
            for channel in &mut incident.channels {
                let receiver = channel.receiver.as_ref().unwrap_or(home);
                let own = policy.receivers.get(receiver).map_or(&[][..], |r| &r.integrations);
                let found = own.iter().find(|i| channel.leads_to(i)).or_else(|| {
                    // Its destination may have been corrected. It is another integration's if that is known.
                    own.iter().find(|i| i.name == channel.integration && !known.contains(&i.destination))
                });
                let unknown = || own.iter().find(|i| i.name == channel.integration && i.destination == 0);
                let found = found.or_else(unknown);
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

/// Where a receiver leads, if that is known of all its integrations.
fn destinations(receiver: &Receiver) -> Option<Vec<u64>> {
    let known = |i: &IntegrationRef| Some(i.destination).filter(|destination| *destination != 0);
    let mut all: Vec<u64> = receiver.integrations.iter().map(known).collect::<Option<_>>()?;
    all.sort_unstable();
    (!all.is_empty()).then_some(all)
}
