//! Alerts that are put aside: the engine broke when it was to decide about them. They are told as they
//! stand, one incident for each at every receiver that they are routed to, past every noise stage, and are
//! decided about again once they have resolved.
//!
//! What can break is kept out of here: nothing is read of what is remembered of the alert.

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

/// So many alerts are aside at most; what is over is decided about as usual.
pub(crate) const QUARANTINED: usize = 1000;

/// The alerts that are aside.
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

    /// Puts the alerts of `batch` aside, and tells of those that fire.
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
                let aside = Quarantined { last_seen: world.now, told: BTreeSet::new() };
                self.quarantine.alerts.entry(alert).or_insert(aside);
            }
            self.pass_by(world, pages, alert, observation);
        }
    }

    /// An observation of an alert that is aside, or is to be.
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
                if let Some(aside) = self.quarantine.alerts.get_mut(&alert) {
                    aside.last_seen = now;
                }
                world.timers.set_if_unset(Timer::Watch, now);
            }
            Status::Resolved => {
                let told = self.quarantine.alerts.remove(&alert).map(|aside| aside.told).unwrap_or_default();
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

    /// Opens the incident of an alert that is aside at the receiver of a destination, if it is not open.
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
        match self.quarantine.alerts.get_mut(&alert).is_none_or(|aside| aside.told.insert(key)) {
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
        self.quarantine.alerts.retain(|_, aside| {
            let stays = aside.last_seen + patience > now;
            if !stays {
                over.append(&mut aside.told);
            }
            stays
        });
        for key in over {
            pages.clear(world, &key, Cause::Expired { after: patience });
        }
    }

    /// Whether any alert is aside.
    pub(crate) fn has_quarantined(&self) -> bool {
        !self.quarantine.alerts.is_empty()
    }
}
