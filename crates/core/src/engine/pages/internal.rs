//! Internal incidents: Squelch pages about itself, past every noise stage.
//!
//! Each stands on a destination of its own to its receiver. No route leads there. The labels of the one
//! alert that it shows name it. Squelch opens it once, updates it, repeats it like any other, and closes
//! it.

use smol_str::SmolStr;

use crate::engine::ids::GroupKey;
use crate::engine::incidents::incident::{Internal, Phase};
use crate::engine::pages::Pages;
use crate::engine::world::World;
use crate::model::{Cause, Duration, LabelSet, Problem};

/// Shortest time between two updates of one such incident.
const UPDATE_EVERY: Duration = Duration::from_mins(1);

impl Pages {
    /// Opens the incident of an internal alert, or updates it if the alert changed. A receiver that it did
    /// not name before is a page. The alert has the highest severity, which names no group, since a reload
    /// may rename it. It returns the incident's key, or `None` if the receiver has no integrations.
    pub(crate) fn raise(
        &mut self,
        world: &mut World,
        receiver: &SmolStr,
        labels: &LabelSet,
        problem: Problem,
    ) -> Option<GroupKey> {
        let severities = &world.policy.severities;
        let severity = (severities.label.as_str(), severities.levels[0].name.as_str());
        let shown =
            LabelSet::from_pairs(labels.iter().filter(|(name, _)| *name != severity.0).chain([severity]));
        self.raise_as(world, receiver, labels, shown, problem)
    }

    /// [`Self::raise`], for an alert that shows exactly these labels.
    pub(crate) fn raise_as(
        &mut self,
        world: &mut World,
        receiver: &SmolStr,
        labels: &LabelSet,
        shown: LabelSet,
        problem: Problem,
    ) -> Option<GroupKey> {
        let destination = world.destinations.own(receiver, &world.policy)?;
        let key = (destination, labels.clone());
        let now = world.now;
        let Some(id) = self.internal.get(&key).copied() else {
            let id = self.new_incident(world, &key);
            if let Some(incident) = self.incidents.all.get_mut(&id) {
                let problem = Box::new(problem.clone());
                let named = problem.receivers().cloned().collect();
                incident.internal = Some(Internal { labels: shown, problem, starts_at: now, named });
            }
            self.internal.insert(key.clone(), id);
            self.page(world, id, Cause::Problem { problem });
            return Some(key);
        };
        let Some(incident) = self.incidents.all.get_mut(&id) else { return Some(key) };
        let Some(own) = incident.internal.as_mut().filter(|own| *own.problem != problem) else {
            return Some(key);
        };
        if incident.issued_at + UPDATE_EVERY <= now {
            *own.problem = problem.clone();
            let known = own.named.len();
            own.named.extend(problem.receivers().cloned());
            if own.named.len() > known {
                self.supersede(world, id, Cause::Problem { problem });
                return Some(key);
            }
            incident.issue(now, Cause::Problem { problem }, false);
            self.incidents.pump(world, id);
        }
        Some(key)
    }

    /// Closes an incident of Squelch's own, if it is open.
    pub(crate) fn clear(&mut self, world: &mut World, key: &GroupKey, cause: Cause) {
        let Some(id) = self.internal.remove(key) else { return };
        let Some(incident) = self.incidents.all.get_mut(&id).filter(|i| i.is_open()) else { return };
        incident.phase = Phase::Resolving;
        incident.closing = Some(Box::new(cause));
        let gauges = world.gauges(key.0);
        gauges.open -= 1;
        gauges.resolving += 1;
        self.close(world, id);
    }
}
