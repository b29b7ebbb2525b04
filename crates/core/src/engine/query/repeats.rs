//! Recognises requests that only repeat: see [`Repeats`].

use crate::engine::ids::DestinationId;
use crate::engine::occurrences::PeerId;
use crate::engine::query::Query;
use crate::engine::repeats::{Repeat, Repeats};
use crate::model::{AlertId, Batch, LabelSet, Status};

impl Query<'_> {
    /// The repeats in `batch`, if every observation of it is only a repeat at every destination that it
    /// takes. The caller gathers them for [`crate::engine::Event::Repeats`]. `None` if the batch must be
    /// observed.
    pub fn repeats(&self, batch: &Batch) -> Option<Repeats> {
        // The alert of an event under a key is known only when the event is observed.
        if batch.source.is_keyed() || self.is_to_forward(batch) {
            return None;
        }
        let (source, peer) = (batch.source, PeerId::of(&batch.peer));
        let mut statements = Vec::with_capacity(batch.observations.len());
        for observation in &batch.observations {
            let instance = AlertId::of(&observation.labels, |_| false);
            let alert = self.world.alerts.owner(instance, &observation.labels, &self.world.policy);
            let key = (source, instance);
            let known =
                self.world.alerts.alert(alert).is_some_and(|known| {
                    known.occurrences.is_repeat(&key, peer, observation, batch.unanswered)
                });
            if !known || !self.is_taken(alert, &observation.labels, observation.status) {
                return None;
            }
            let ends_at = observation.ends_at.filter(|_| observation.status == Status::Firing);
            statements.push(Repeat { alert, instance, count: 1, ends_at });
        }
        Some(Repeats { source, peer, statements })
    }

    /// Whether an alert that still has this status is news at none of the destinations that it takes. A
    /// heartbeat that fires is always news.
    fn is_taken(&self, alert: AlertId, labels: &LabelSet, status: Status) -> bool {
        let taken = |destination: &DestinationId| {
            self.world.destinations.get(*destination).integrations.is_empty()
                || self.world.is_live(alert, *destination)
        };
        let everywhere = || self.world.destinations.matching(&self.world.policy, labels).iter().all(taken);
        let beats = || self.world.policy.heartbeat_of(labels).is_some();
        !self.checks.quarantine.holds(alert) && (status == Status::Resolved || !beats() && everywhere())
    }
}
