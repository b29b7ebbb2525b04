//! Unchanged repeats: known by looking, and counted without a decision for each.

use smol_str::SmolStr;

use super::Engine;
use super::event::{Seen, SeenOccurrence};
use super::lanes::{Lane, LaneId};
use super::occurrences::PeerId;
use super::state::Track;
use crate::model::{AlertId, Batch, Disposition, LabelSet, Reason, Source, Status};

/// The rule by which unchanged repeats are suppressed: [`Reason::Muted`] where nobody is told of anything.
pub(super) fn rule_of_repeats(reason: Reason) -> &'static str {
    if reason == Reason::Muted { "the receiver has no integration" } else { "unchanged repeats" }
}

impl Engine {
    /// Unchanged repeats: evidence of life, and accounting.
    pub(super) fn seen(&mut self, seen: &Seen) {
        for one in &seen.occurrences {
            let key = (seen.source, one.instance);
            let Some(status) = self.alerts.seen(self.now, one.alert, key, seen.peer, one.ends_at) else {
                continue;
            };
            self.ledger.received(seen.source, status, one.count);
            let Some(labels) = self.alerts.alert(one.alert).map(|a| a.labels.clone()) else { continue };
            for lane in self.lanes.matching(&self.policy, &labels) {
                self.routed(lane, one.count);
                let mute = self.lanes.lane(lane).integrations.is_empty();
                let reason = if mute { Reason::Muted } else { Reason::Duplicate };
                let rule = rule_of_repeats(reason);
                let incident = self.incident_key(one.alert, lane);
                let Self { lanes, ledger, alerts, now, .. } = &mut *self;
                let disposition = Disposition::Suppressed(reason);
                let (of, why) = ((one.alert, lane), (reason, incident));
                ledger.dispose_repeats(*now, one.count, of, why, (alerts, lanes));
                self.passed_on(one.alert, lane, one.count, disposition, rule.into(), SmolStr::default());
            }
        }
    }

    /// Whether every observation of `batch` only repeats what is known, at every lane that it
    /// takes; then what the engine must be told of it, sooner or later, is in the answer.
    pub fn repeats(&self, batch: &Batch) -> Option<Seen> {
        if self.is_for_the_mirror(batch) {
            return None;
        }
        let peer = PeerId::of(&batch.peer);
        let mut occurrences = Vec::with_capacity(batch.observations.len());
        for observation in &batch.observations {
            let instance = AlertId::of(&observation.labels, |_| false);
            let alert = self.alerts.owner(instance, &observation.labels, &self.policy);
            let known = self.alerts.is_repeat((batch.source, instance), peer, alert, observation);
            if !known || !self.is_taken(alert, &observation.labels, observation.status) {
                return None;
            }
            let ends_at = observation.ends_at.filter(|_| observation.status == Status::Firing);
            occurrences.push(SeenOccurrence { alert, instance, count: 1, ends_at });
        }
        Some(Seen { source: batch.source, peer, occurrences })
    }

    /// What [`Self::repeats`] would say of observations of which no more is known than that the same was
    /// said before in the same words, and taken: which alert and which full label set each was of, and
    /// whether it was said to fire.
    pub fn repeats_still(
        &self,
        (source, peer): (Source, PeerId),
        known: impl IntoIterator<Item = (AlertId, AlertId, Status)>,
    ) -> bool {
        let passes_on = !self.mirrors.open.is_empty() || self.lanes.current().any(Lane::observes);
        !passes_on
            && known.into_iter().all(|(alert, instance, said)| {
                let stands = self.alerts.stated(alert, (source, instance), peer);
                let stands = stands.filter(|(_, status)| *status == said);
                stands.is_some_and(|(labels, status)| self.is_taken(alert, labels, status))
            })
    }

    /// What a peer states of a full label set, if the same statement again changes nothing.
    pub fn status_of(
        &self,
        (source, peer): (Source, PeerId),
        alert: AlertId,
        instance: AlertId,
    ) -> Option<Status> {
        self.alerts.stated(alert, (source, instance), peer).map(|(_, status)| status)
    }

    /// Whether an alert that still has this status is news at none of the lanes that it takes.
    fn is_taken(&self, alert: AlertId, labels: &LabelSet, status: Status) -> bool {
        let taken = |lane: &LaneId| {
            self.lanes.lane(*lane).integrations.is_empty()
                || self.alerts.track(alert, *lane).is_some_and(Track::is_live)
        };
        let everywhere = || self.lanes.matching(&self.policy, labels).iter().all(taken);
        !self.is_aside(alert) && (status == Status::Resolved || everywhere())
    }
}
