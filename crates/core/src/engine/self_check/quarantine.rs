//! Quarantine: alerts that made the engine fail. Squelch passes each of them through undecided, as one
//! internal incident at every receiver that the alert is routed to, past every noise stage. After the alert
//! has resolved, the engine decides about it again.
//!
//! Squelch remembers [`QUARANTINED`] of them one by one. One incident at each receiver passes further ones
//! through.
//!
//! This code reads nothing that the engine stores about the alert, since that may have made the engine
//! fail. The labels of an alert that events name by a key are the exception.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::accounting::PendingDecision;
use crate::engine::ids::{DestinationId, GroupKey};
use crate::engine::pages::Pages;
use crate::engine::renames::rename_key;
use crate::engine::stats::Bound;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{
    AlertId, Batch, Cause, Disposition, LabelSet, Observation, Problem, Reason, Status, Timestamp,
};

/// Squelch remembers at most this many quarantined alerts one by one.
pub(crate) const QUARANTINED: usize = 1000;

/// The quarantined alerts.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quarantine {
    #[serde(with = "crate::engine::pairs")]
    alerts: BTreeMap<AlertId, Quarantined>,
    /// The alerts beyond [`QUARANTINED`], by receiver.
    #[serde(default)]
    further: BTreeMap<SmolStr, Further>,
}

/// Alerts that pass through together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Further {
    /// How often senders stated that one of them fires.
    count: u64,
    last_seen: Timestamp,
    /// The incident about them.
    notified: Option<GroupKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Quarantined {
    last_seen: Timestamp,
    /// The incidents about it.
    notified: BTreeSet<GroupKey>,
}

impl Quarantine {
    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.alerts.len() as u64
    }

    /// A receiver has another name.
    pub(crate) fn rename_receiver(&mut self, old: &SmolStr, new: &SmolStr) {
        rename_key(&mut self.further, old, new);
    }

    /// Whether an alert passes the stages by.
    pub(crate) fn holds(&self, alert: AlertId) -> bool {
        self.alerts.contains_key(&alert)
    }

    /// Quarantines the alerts of `batch`, and opens an incident for those that fire.
    pub(crate) fn take(&mut self, world: &mut World, pages: &mut Pages, batch: &Batch) {
        let batch = &*world.alerts.keyed(Cow::Borrowed(batch), &world.policy).batch;
        for observation in &batch.observations {
            world.accounting.received(batch.source, observation.status, 1);
            let instance = batch.source.instance(&observation.labels);
            let alert = world.alerts.owner_of(batch.source, instance, observation, &world.policy);
            if observation.status == Status::Firing {
                if !self.holds(alert) && self.alerts.len() >= QUARANTINED {
                    world.accounting.bound(Bound::Quarantine, 1);
                    self.pass_together(world, pages, alert, observation);
                    continue;
                }
                let quarantined = Quarantined { last_seen: world.now, notified: BTreeSet::new() };
                self.alerts.entry(alert).or_insert(quarantined);
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
                    dispose_quarantined(world, alert, destination, disposition);
                }
                if let Some(quarantined) = self.alerts.get_mut(&alert) {
                    quarantined.last_seen = now;
                }
                world.timers.set_if_unset(Timer::SelfCheck, now);
            }
            Status::Resolved => {
                let notified =
                    self.alerts.remove(&alert).map(|quarantined| quarantined.notified).unwrap_or_default();
                let disposition = match notified.is_empty() {
                    true => Disposition::Suppressed(Reason::NeverPaged),
                    false => Disposition::Resolve,
                };
                for key in notified {
                    pages.clear(world, &key, Cause::AllResolved);
                }
                for destination in destinations {
                    dispose_quarantined(world, alert, destination, disposition);
                }
            }
        }
    }

    /// An observation of a firing alert for which quarantine has no room.
    fn pass_together(
        &mut self,
        world: &mut World,
        pages: &mut Pages,
        alert: AlertId,
        observation: &Observation,
    ) {
        let heartbeat = world.policy.heartbeat_of(&observation.labels).is_some();
        let newest: SmolStr = world
            .policy
            .telling(&observation.labels)
            .map_or_else(|| observation.labels.to_string().into(), |labels| labels.to_string().into());
        for destination in world.destinations.matching(&world.policy, &observation.labels) {
            let receiver = world.destinations.get(destination).receiver.clone();
            let new = Further { count: 0, last_seen: world.now, notified: None };
            let further = self.further.entry(receiver.clone()).or_insert(new);
            let first = further.notified.is_none();
            if !heartbeat {
                (further.count, further.last_seen) = (further.count + 1, world.now);
                let problem = Problem::QuarantineFull {
                    limit: QUARANTINED as u64,
                    beyond: further.count,
                    newest: newest.clone(),
                };
                // The incident goes on under its labels if the receiver has another name since.
                let labels = further.notified.as_ref().map_or_else(
                    || LabelSet::from_pairs([("alertname", problem.alertname()), ("receiver", &receiver)]),
                    |(_, labels)| labels.clone(),
                );
                // A receiver that has no integrations now may have been notified before, and must get the
                // resolve.
                if let Some(key) = pages.raise(world, &receiver, &labels, problem) {
                    further.notified = Some(key);
                }
            }
            let disposition = match further.notified {
                None => Disposition::Suppressed(Reason::Muted),
                Some(_) if first => Disposition::Page,
                Some(_) => Disposition::Suppressed(Reason::Grouped),
            };
            dispose_quarantined(world, alert, destination, disposition);
        }
        world.timers.set_if_unset(Timer::SelfCheck, world.now);
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
        match self.alerts.get_mut(&alert).is_none_or(|quarantined| quarantined.notified.insert(key)) {
            true => Disposition::Page,
            false => Disposition::Suppressed(Reason::Duplicate),
        }
    }

    /// Closes the quarantine of alerts that were not stated again for `stale_after`.
    pub(crate) fn end(&mut self, world: &mut World, pages: &mut Pages) {
        let (now, patience) = (world.now, world.policy.stale_after);
        let mut over = BTreeSet::new();
        self.alerts.retain(|_, quarantined| {
            let stays = quarantined.last_seen + patience > now;
            if !stays {
                over.append(&mut quarantined.notified);
            }
            stays
        });
        self.further.retain(|_, further| {
            let stays = further.last_seen + patience > now;
            if !stays {
                over.extend(further.notified.take());
            }
            stays
        });
        for key in over {
            pages.clear(world, &key, Cause::Expired { after: patience });
        }
    }

    /// Whether no alert is quarantined.
    pub(crate) fn is_empty(&self) -> bool {
        self.alerts.is_empty() && self.further.is_empty()
    }
}

fn dispose_quarantined(
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
        PendingDecision { alert, known: None, destination, incident, disposition, cause, release, basis };
    accounting.dispose(*now, 1, verdict);
}
