//! Laws that must hold at every step, checked from the inside: the counters against a recount.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::engine::incident::Phase;

impl Engine {
    /// Counts anew what the ledger keeps as running counters. Panics where they differ.
    pub(crate) fn audit(&self) {
        let mut expected: BTreeMap<_, [u64; 5]> = BTreeMap::new();
        for ((_, lane), track) in &self.tracks {
            let counts = expected.entry(self.lanes.lane(*lane).receiver.clone()).or_default();
            counts[0] += track.waiting;
            counts[1] += u64::from(track.held_until.is_some());
            counts[2] += u64::from(track.damping.flaps().is_some());
        }
        for (key, group) in &self.groups {
            let counts = expected.entry(self.lanes.lane(key.0).receiver.clone()).or_default();
            counts[0] += group.pending.iter().map(|p| p.count).sum::<u64>();
            counts[0] += group.quiet.iter().map(|q| q.count).sum::<u64>();
        }
        for incident in self.incidents.values() {
            let counts = expected.entry(self.lanes.lane(incident.group.0).receiver.clone()).or_default();
            counts[0] += incident.waiting.iter().map(|(_, n)| n).sum::<u64>();
            if incident.superseded_by.is_none() {
                counts[3] += u64::from(incident.phase == Phase::Open);
                counts[4] += u64::from(incident.phase == Phase::Resolving);
            }
        }
        for (name, stats) in &self.stats().receivers {
            let disposed: u64 = stats.disposed.values().sum();
            assert_eq!(stats.routed, disposed + stats.pending, "the accounting law at {name}");
            let counted = [stats.pending, stats.held, stats.flapping, stats.open, stats.resolving];
            assert_eq!(counted, expected.remove(name).unwrap_or_default(), "counters of {name}");
        }
        let mutes = self.mutes.reindexed(&self.policy, &self.alerts);
        assert_eq!(self.mutes, mutes, "what the mutes know of the alerts");
        for ((alert, lane), track) in &self.tracks {
            let cause = self.mutes.cause(*alert, self.lanes.lane(*lane));
            assert_eq!(track.muted.is_some(), track.is_live() && cause.is_some(), "whether {alert} is muted");
        }
        assert!(expected.is_empty(), "no counters for {expected:?}");
        assert_eq!(self.alerts.firing(), self.alerts.iter().filter(|(_, a)| a.firing()).count() as u64);
    }
}
