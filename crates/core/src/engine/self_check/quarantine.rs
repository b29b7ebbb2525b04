//! Quarantine: alerts that made the engine fail. Squelch passes each of them through undecided, as one
//! internal incident at every receiver that the alert is routed to, past every noise stage. After the alert
//! has resolved, the engine decides about it again.
//!
//! This code reads nothing of what the engine remembers of the alert, since that may be what made it fail.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::accounting::Verdict;
use crate::engine::destinations::DestinationId;
use crate::engine::pages::Pages;
use crate::engine::pages::groups::GroupKey;
use crate::engine::self_check::SelfCheck;
use crate::engine::stats::Bound;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{AlertId, Batch, Cause, Disposition, Observation, Problem, Reason, Status, Timestamp};

/// At most this many alerts are quarantined. A further one is counted and not passed through.
pub(crate) const QUARANTINED: usize = 1000;

/// The quarantined alerts.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quarantine {
    #[serde(with = "crate::engine::pairs")]
    alerts: BTreeMap<AlertId, Quarantined>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Quarantined {
    last_seen: Timestamp,
    /// The incidents that tell of it.
    told: BTreeSet<GroupKey>,
}

impl Quarantine {
    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.alerts.len() as u64
    }
}

impl SelfCheck {
    /// Whether an alert passes the stages by.
    pub(crate) fn is_quarantined(&self, alert: AlertId) -> bool {
        self.quarantine.alerts.contains_key(&alert)
    }

    /// Quarantines the alerts of `batch`, and opens an incident for those that fire.
    pub(crate) fn quarantine(&mut self, world: &mut World, pages: &mut Pages, batch: &Batch) {
        for observation in &batch.observations {
            world.accounting.received(batch.source, observation.status, 1);
            let instance = AlertId::of(&observation.labels, |_| false);
            let alert = world.alerts.owner(instance, &observation.labels, &world.policy);
            if !self.is_quarantined(alert) && self.quarantine.alerts.len() >= QUARANTINED {
                world.accounting.bound(Bound::Quarantine, 1);
                continue;
            }
            if observation.status == Status::Firing {
                let quarantined = Quarantined { last_seen: world.now, told: BTreeSet::new() };
                self.quarantine.alerts.entry(alert).or_insert(quarantined);
            }
            self.pass_by(world, pages, alert, observation);
        }
    }

    /// An observation of an alert that is in quarantine, or comes into it.
    pub(crate) fn pass_by(
        &mut self,
        world: &mut World,
        pages: &mut Pages,
        alert: AlertId,
        observation: &Observation,
    ) {
        let now = world.now;
        let destinations = world.destinations.matching(&world.policy, &observation.labels);
        match observation.status {
            Status::Firing => {
                for destination in destinations {
                    let disposition = self.tell_quarantined(world, pages, alert, destination, observation);
                    self.dispose_quarantined(world, alert, destination, disposition);
                }
                if let Some(quarantined) = self.quarantine.alerts.get_mut(&alert) {
                    quarantined.last_seen = now;
                }
                world.timers.set_if_unset(Timer::Watch, now);
            }
            Status::Resolved => {
                let told = self
                    .quarantine
                    .alerts
                    .remove(&alert)
                    .map(|quarantined| quarantined.told)
                    .unwrap_or_default();
                let disposition = match told.is_empty() {
                    true => Disposition::Suppressed(Reason::NeverPaged),
                    false => Disposition::Resolve,
                };
                for key in told {
                    pages.clear(world, &key, Cause::AllResolved);
                }
                for destination in destinations {
                    self.dispose_quarantined(world, alert, destination, disposition);
                }
            }
        }
    }

    /// Opens the incident of a quarantined alert at the receiver of a destination, if it is not open.
    fn tell_quarantined(
        &mut self,
        world: &mut World,
        pages: &mut Pages,
        alert: AlertId,
        destination: DestinationId,
        observation: &Observation,
    ) -> Disposition {
        let receiver = world.destinations.get(destination).receiver.clone();
        let heartbeat = world.policy.heartbeat_of(&observation.labels).is_some();
        let telling = world.policy.telling(&observation.labels);
        let labels = telling.as_ref().unwrap_or(&observation.labels);
        let problem = Problem::Quarantined { summary: observation.annotations.value("summary").into() };
        let key =
            (!heartbeat).then(|| pages.raise_as(world, &receiver, labels, labels.clone(), problem)).flatten();
        let Some(key) = key else { return Disposition::Suppressed(Reason::Muted) };
        match self.quarantine.alerts.get_mut(&alert).is_none_or(|quarantined| quarantined.told.insert(key)) {
            true => Disposition::Page,
            false => Disposition::Suppressed(Reason::Duplicate),
        }
    }

    fn dispose_quarantined(
        &mut self,
        world: &mut World,
        alert: AlertId,
        destination: DestinationId,
        disposition: Disposition,
    ) {
        world.routed(destination, 1);
        let World { destinations, accounting, now, .. } = world;
        let destination = (destination, destinations.get(destination));
        let (incident, cause, release) = (SmolStr::default(), Cause::Quarantined, None);
        let basis = destination.1.basis();
        let verdict =
            Verdict { alert, known: None, destination, incident, disposition, cause, release, basis };
        accounting.dispose(*now, 1, verdict);
    }

    /// Closes what was not said again for `stale_after`.
    pub(crate) fn quarantine_over(&mut self, world: &mut World, pages: &mut Pages) {
        let (now, patience) = (world.now, world.policy.stale_after);
        let mut over = BTreeSet::new();
        self.quarantine.alerts.retain(|_, quarantined| {
            let stays = quarantined.last_seen + patience > now;
            if !stays {
                over.append(&mut quarantined.told);
            }
            stays
        });
        for key in over {
            pages.clear(world, &key, Cause::Expired { after: patience });
        }
    }

    /// Whether any alert is quarantined.
    pub(crate) fn has_quarantined(&self) -> bool {
        !self.quarantine.alerts.is_empty()
    }
}
