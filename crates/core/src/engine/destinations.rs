//! Destinations: each route, with its receiver, that alerts may take, and the settings of the route.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use crate::engine::ids::DestinationId;
use crate::model::{Duration, LabelSet};
use crate::policy::{GroupBy, IntegrationRef, Mode, Noise, Policy, Windows};

/// The route key of the destinations of internal incidents. Route keys of the configuration begin with a
/// brace.
const INTERNAL_ROUTE: &str = "squelch";

/// One route and its receiver. A destination whose route left the configuration keeps its settings, except
/// for its receiver's integrations. Its open incidents go on to their end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Destination {
    pub(crate) route: SmolStr,
    /// How many routes with the same key and receiver stand before its own.
    #[serde(default)]
    sibling: u32,
    pub(crate) receiver: SmolStr,
    pub(crate) group_by: GroupBy,
    pub(crate) group_wait: Duration,
    pub(crate) group_interval: Duration,
    pub(crate) repeat_interval: Duration,
    pub(crate) noise: Noise,
    pub(crate) integrations: Vec<IntegrationRef>,
    /// The times at which it notifies no receiver.
    #[serde(default)]
    pub(crate) windows: Windows,
    /// The labels of its route.
    #[serde(default, skip_serializing_if = "LabelSet::is_empty")]
    pub(crate) labels: LabelSet,
    /// The line of its route in the configuration. It is 0 if the line is not known.
    #[serde(default)]
    pub(crate) line: u32,
    /// The name of its noise profile, and the lines of the profile's keys.
    #[serde(default)]
    pub(crate) profile: (SmolStr, BTreeMap<SmolStr, u32>),
    /// Whether the configuration still has it.
    current: bool,
}

/// All destinations that the configuration has or had.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Destinations {
    destinations: Vec<Destination>,
    /// By index of the policy's routes.
    of_route: Vec<DestinationId>,
}

impl Destination {
    /// Whether its profile has the observe mode: Squelch forwards the sender's statement.
    pub(crate) fn observes(&self) -> bool {
        self.noise.mode == Mode::Observe
    }

    /// Its part of the key of a group. The first of several siblings has Alertmanager's own key, which is
    /// the same for all siblings.
    pub(crate) fn key(&self) -> SmolStr {
        match self.sibling {
            0 => self.route.clone(),
            n => format_smolstr!("{}/{n}", self.route),
        }
    }

    /// Whether the configuration still has it.
    pub(crate) fn is_current(&self) -> bool {
        self.current
    }

    /// Whether it names one of these time intervals.
    pub(crate) fn names_any(&self, intervals: &BTreeSet<SmolStr>) -> bool {
        let mut names = self.windows.mute.iter().chain(&self.windows.active);
        names.any(|name| intervals.contains(name))
    }
}

impl Destinations {
    /// Takes a policy over.
    pub(crate) fn update(&mut self, policy: &Policy) {
        for destination in &mut self.destinations {
            destination.current = false;
            // Notifications that still wait at a destination without a route go to the receiver's current
            // integrations.
            let integrations = policy.receivers.get(&destination.receiver);
            destination.integrations = integrations.map(|r| r.integrations.clone()).unwrap_or_default();
        }
        self.of_route.clear();
        let mut siblings: BTreeMap<(&SmolStr, &SmolStr, bool), u32> = BTreeMap::new();
        for route in &policy.routes {
            let integrations = policy.receivers.get(&route.receiver);
            let mut destination = Destination {
                route: route.key.clone(),
                sibling: 0,
                receiver: route.receiver.clone(),
                group_by: route.group_by.clone(),
                group_wait: route.group_wait,
                group_interval: route.group_interval,
                repeat_interval: route.repeat_interval,
                noise: policy.noise.get(&route.noise).cloned().unwrap_or_default(),
                integrations: integrations.map(|r| r.integrations.clone()).unwrap_or_default(),
                windows: route.windows.clone(),
                labels: route.labels.clone(),
                line: route.line,
                profile: (
                    route.noise.clone(),
                    policy.lines.noise.get(&route.noise).cloned().unwrap_or_default(),
                ),
                current: true,
            };
            let sibling = siblings.entry((&route.key, &route.receiver, destination.observes())).or_default();
            destination.sibling = *sibling;
            *sibling += 1;
            // An incident that began in one mode ends in it, so a change of mode makes another destination.
            let same = |l: &Destination| {
                l.route == destination.route
                    && l.sibling == destination.sibling
                    && l.receiver == destination.receiver
                    && l.observes() == destination.observes()
            };
            let index = match self.destinations.iter().position(same) {
                Some(index) => {
                    self.destinations[index] = destination;
                    index
                }
                None => {
                    self.destinations.push(destination);
                    self.destinations.len() - 1
                }
            };
            self.of_route.push(DestinationId(index as u32));
        }
    }

    /// The destinations that `labels` take, in the order of the routes, each once.
    pub(crate) fn matching(&self, policy: &Policy, labels: &LabelSet) -> Vec<DestinationId> {
        let mut destinations = Vec::with_capacity(1);
        for route in policy.matching_routes(labels) {
            let destination = self.of_route[route];
            if !destinations.contains(&destination) {
                destinations.push(destination);
            }
        }
        destinations
    }

    /// The destination of the policy's route of this index.
    pub(crate) fn of_route(&self, route: usize) -> Option<DestinationId> {
        self.of_route.get(route).copied()
    }

    /// The first destination to the same receiver, in the same mode. Pages that are merged at the receiver
    /// stand there.
    pub(crate) fn first_of_receiver(&self, id: DestinationId) -> DestinationId {
        let destination = self.get(id);
        let same = |l: &Destination| {
            l.receiver == destination.receiver
                && l.observes() == destination.observes()
                && l.route != INTERNAL_ROUTE
        };
        let first = self.destinations.iter().position(same);
        first.map_or(id, |index| DestinationId(index as u32))
    }

    /// The destination of internal incidents at a receiver. It is `None` if the receiver has no
    /// integrations.
    pub(crate) fn own(&mut self, receiver: &SmolStr, policy: &Policy) -> Option<DestinationId> {
        let settings = policy.receivers.get(receiver).filter(|r| !r.integrations.is_empty())?;
        if let Some(index) =
            self.destinations.iter().position(|l| l.route == INTERNAL_ROUTE && l.receiver == *receiver)
        {
            return Some(DestinationId(index as u32));
        }
        let usual = crate::policy::Route::root(receiver.clone(), 0);
        self.destinations.push(Destination {
            route: INTERNAL_ROUTE.into(),
            sibling: 0,
            receiver: receiver.clone(),
            group_by: usual.group_by,
            group_wait: usual.group_wait,
            group_interval: usual.group_interval,
            repeat_interval: usual.repeat_interval,
            noise: Noise::default(),
            integrations: settings.integrations.clone(),
            windows: Windows::default(),
            labels: LabelSet::default(),
            line: 0,
            profile: Default::default(),
            current: false,
        });
        Some(DestinationId((self.destinations.len() - 1) as u32))
    }

    /// A receiver has another name.
    pub(crate) fn rename_receiver(&mut self, old: &SmolStr, new: &SmolStr) {
        for destination in self.destinations.iter_mut().filter(|destination| destination.receiver == *old) {
            destination.receiver = new.clone();
        }
    }

    /// The destinations of the current configuration.
    pub(crate) fn current(&self) -> impl Iterator<Item = &Destination> {
        self.destinations.iter().filter(|destination| destination.current)
    }

    /// A destination. Ids come from here and destinations are never removed.
    pub(crate) fn get(&self, id: DestinationId) -> &Destination {
        &self.destinations[id.0 as usize]
    }
}
