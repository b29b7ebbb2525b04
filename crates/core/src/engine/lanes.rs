//! Lanes: each route, with its receiver, that alerts may take, and the settings of the route.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use crate::engine::pages::internal::ROUTE;
use crate::model::{Duration, LabelSet};
use crate::policy::{GroupBy, IntegrationRef, Mode, Noise, Policy, Windows};

/// Number of a lane; stable for the life of the journal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LaneId(pub(crate) u32);

/// One route and its receiver. A lane whose route is gone from the configuration keeps its settings,
/// but for its receiver's integrations: what is open on it goes on to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lane {
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
    /// When it notifies nobody.
    #[serde(default)]
    pub(crate) windows: Windows,
    /// The line of its route in the configuration; 0 where that is not known.
    #[serde(default)]
    pub(crate) line: u32,
    /// The name of its noise profile, and the lines of what stands in it.
    #[serde(default)]
    pub(crate) profile: (SmolStr, BTreeMap<SmolStr, u32>),
    /// Whether the configuration still has it.
    current: bool,
}

/// All lanes that the configuration has or had.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    /// By index of the policy's routes.
    of_route: Vec<LaneId>,
}

impl Lane {
    /// Whether it decides in the shadow: what upstream says goes on as it came.
    pub(crate) fn observes(&self) -> bool {
        self.noise.mode == Mode::Observe
    }

    /// Its part of the key of a group. The first of several siblings has Alertmanager's own key, which does
    /// not tell them apart.
    pub(crate) fn key(&self) -> SmolStr {
        match self.sibling {
            0 => self.route.clone(),
            n => format_smolstr!("{}/{n}", self.route),
        }
    }

    /// Whether it names one of these time intervals.
    pub(crate) fn names_any(&self, intervals: &BTreeSet<SmolStr>) -> bool {
        let mut names = self.windows.mute.iter().chain(&self.windows.active);
        names.any(|name| intervals.contains(name))
    }
}

impl Lanes {
    /// Takes a policy over.
    pub(crate) fn update(&mut self, policy: &Policy) {
        for lane in &mut self.lanes {
            lane.current = false;
            // What still waits on a lane that is gone goes to whom its receiver is today.
            let integrations = policy.receivers.get(&lane.receiver);
            lane.integrations = integrations.map(|r| r.integrations.clone()).unwrap_or_default();
        }
        self.of_route.clear();
        let mut siblings: BTreeMap<(&SmolStr, &SmolStr, bool), u32> = BTreeMap::new();
        for route in &policy.routes {
            let integrations = policy.receivers.get(&route.receiver);
            let mut lane = Lane {
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
                line: route.line,
                profile: (
                    route.noise.clone(),
                    policy.lines.noise.get(&route.noise).cloned().unwrap_or_default(),
                ),
                current: true,
            };
            let sibling = siblings.entry((&route.key, &route.receiver, lane.observes())).or_default();
            lane.sibling = *sibling;
            *sibling += 1;
            // What began in the shadow ends there, so a change of mode is another lane.
            let same = |l: &Lane| {
                l.route == lane.route
                    && l.sibling == lane.sibling
                    && l.receiver == lane.receiver
                    && l.observes() == lane.observes()
            };
            let index = match self.lanes.iter().position(same) {
                Some(index) => {
                    self.lanes[index] = lane;
                    index
                }
                None => {
                    self.lanes.push(lane);
                    self.lanes.len() - 1
                }
            };
            self.of_route.push(LaneId(index as u32));
        }
    }

    /// The lanes that `labels` take, in the order of the routes, each once.
    pub(crate) fn matching(&self, policy: &Policy, labels: &LabelSet) -> Vec<LaneId> {
        let mut lanes = Vec::with_capacity(1);
        for route in policy.matching_routes(labels) {
            let lane = self.of_route[route];
            if !lanes.contains(&lane) {
                lanes.push(lane);
            }
        }
        lanes
    }

    /// The lane of the policy's route of this index.
    pub(crate) fn of_route(&self, route: usize) -> Option<LaneId> {
        self.of_route.get(route).copied()
    }

    /// The first lane to the same receiver, in the same mode: where what is merged at the receiver stands.
    pub(crate) fn first_of_receiver(&self, id: LaneId) -> LaneId {
        let lane = self.lane(id);
        let same =
            |l: &Lane| l.receiver == lane.receiver && l.observes() == lane.observes() && l.route != ROUTE;
        let first = self.lanes.iter().position(same);
        first.map_or(id, |index| LaneId(index as u32))
    }

    /// The lane of Squelch's own incidents at a receiver; none if that reaches nobody.
    pub(crate) fn own(&mut self, receiver: &SmolStr, policy: &Policy) -> Option<LaneId> {
        let settings = policy.receivers.get(receiver).filter(|r| !r.integrations.is_empty())?;
        if let Some(index) = self.lanes.iter().position(|l| l.route == ROUTE && l.receiver == *receiver) {
            return Some(LaneId(index as u32));
        }
        let usual = crate::policy::Route::root(receiver.clone(), 0);
        self.lanes.push(Lane {
            route: ROUTE.into(),
            sibling: 0,
            receiver: receiver.clone(),
            group_by: usual.group_by,
            group_wait: usual.group_wait,
            group_interval: usual.group_interval,
            repeat_interval: usual.repeat_interval,
            noise: Noise::default(),
            integrations: settings.integrations.clone(),
            windows: Windows::default(),
            line: 0,
            profile: Default::default(),
            current: false,
        });
        Some(LaneId((self.lanes.len() - 1) as u32))
    }

    /// A receiver has another name.
    pub(crate) fn rename_receiver(&mut self, old: &SmolStr, new: &SmolStr) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.receiver == *old) {
            lane.receiver = new.clone();
        }
    }

    /// Those that the configuration has now.
    pub(crate) fn current(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter().filter(|lane| lane.current)
    }

    /// A lane. Ids come from here and lanes are never removed.
    pub(crate) fn lane(&self, id: LaneId) -> &Lane {
        &self.lanes[id.0 as usize]
    }
}
