//! The history of incidents: the journal's records of each, so that a person can read it after the engine
//! has forgotten the incident.

use crate::engine::event::IncidentRemark;
use crate::engine::ids::IncidentId;
use crate::engine::incidents::Incidents;
use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::incident::{Incident, Side};
use crate::engine::incidents::render::headline_of;
use crate::engine::world::World;
use crate::model::{
    FailedDelivery, IncidentChange, IncidentDelivery, IncidentIssued, IncidentOpened, IncidentRecord,
    IncidentRule, Kind, LabelSet, Outcome, Report, Timestamp, beginning,
};

/// The history names so many rules of one incident at most.
const RULES: usize = 20;
/// One record looks for rules among so many alerts.
const LOOKED_AT: usize = 1_000;
/// The history keeps so many bytes of one annotation.
const ANNOTATION: usize = 4_096;

/// The history keeps so many bytes of one error.
const ERROR: usize = 1_024;

impl Incident {
    /// A record of this incident.
    pub(crate) fn record(&self, at: Timestamp, id: IncidentId, change: IncidentChange) -> IncidentRecord {
        IncidentRecord { at, incident: id.0, key: self.dedup_key.clone(), change }
    }

    /// A notification of this kind at one of its channels.
    fn delivery(&self, world: &World, channel: &Channel, kind: Kind) -> IncidentDelivery {
        let receiver = channel.receiver(&world.destinations.get(self.group.0).receiver).clone();
        IncidentDelivery { receiver, integration: channel.integration.clone(), kind }
    }

    /// Records of all that happened to this incident and is not recorded yet.
    pub(crate) fn news(&mut self, world: &World, id: IncidentId) -> Vec<IncidentRecord> {
        let (mut news, version) = (Vec::new(), self.versions().0);
        // The last version of an incident only says that it is over.
        let ends = self.is_over() && !self.recorded.over && self.recorded.version > 0;
        if version > self.recorded.version && !ends {
            let issued = self.issued(world);
            let change = match self.recorded.version {
                0 => IncidentChange::Opened(Box::new(self.opened(world, issued))),
                _ => IncidentChange::Issued(Box::new(issued)),
            };
            news.push(self.record(world.now, id, change));
        }
        self.recorded.version = version;
        if self.is_over() && !self.recorded.over {
            self.recorded.over = true;
            let successor = self.superseded_by.map(|id| id.0);
            let change = IncidentChange::Closed { cause: self.cause.clone(), successor };
            news.push(self.record(world.now, id, change));
        }
        news
    }

    fn opened(&self, world: &World, issued: IncidentIssued) -> IncidentOpened {
        let destination = world.destinations.get(self.group.0);
        let origin = match (&self.internal, self.side) {
            (Some(_), _) => "internal",
            (None, Side::Forwarded) => "sender",
            (None, Side::Ours | Side::Observed) => "squelch",
        };
        let started = self.members.iter().map(|(_, member)| member.since).min();
        IncidentOpened {
            receiver: destination.receiver.clone(),
            route: destination.key(),
            group_key: self.group_text.clone(),
            generation: self.generation,
            group_labels: self.group.1.clone(),
            observed: self.side == Side::Observed,
            origin: origin.into(),
            started_at: started.unwrap_or(self.paged_at).min(self.paged_at),
            supersedes: self.supersedes.map(|id| id.0),
            issued,
        }
    }

    fn issued(&mut self, world: &World) -> IncidentIssued {
        let levels = &world.policy.severities.levels;
        // The incident stays as severe as it was, also when its worst alert resolved.
        let level = self.level_now(levels.len()).min(self.level);
        let own = usize::from(self.internal.is_some());
        IncidentIssued {
            cause: (*self.cause).clone(),
            title: headline_of(world, self).to_string(),
            severity: levels[level].name.clone(),
            firing: self.members.firing() + own,
            alerts: self.members.len() + own,
            rules: self.new_rules(world),
        }
    }

    /// The rules of its alerts that the history does not have yet.
    fn new_rules(&mut self, world: &World) -> Vec<IncidentRule> {
        let mut rules = Vec::new();
        for (id, _) in self.members.listed().take(LOOKED_AT) {
            let Some(alert) = world.alerts.alert(id) else { continue };
            let name = alert.told().value("alertname");
            if self.recorded.rules.len() >= RULES || self.recorded.rules.contains(name) {
                continue;
            }
            let (annotations, generator_url) = world.alerts.said(alert);
            let annotations = annotations.iter().map(|(name, value)| (name, beginning(value, ANNOTATION)));
            let annotations = LabelSet::from_pairs(annotations);
            let generator_url = Some(generator_url).filter(|url| url.len() <= ANNOTATION).unwrap_or_default();
            rules.push(IncidentRule { name: name.into(), annotations, generator_url });
            self.recorded.rules.insert(name.into());
        }
        rules
    }
}

impl Incidents {
    /// Records the end of a notification of an incident.
    pub(crate) fn record_delivery(
        &mut self,
        world: &World,
        (id, index): (IncidentId, usize),
        kind: Kind,
        report: &Report,
    ) {
        let Some(incident) = self.all.get(&id) else { return };
        let Some(channel) = incident.channels.get(index) else { return };
        let of = incident.delivery(world, channel, kind);
        let change = match &report.outcome {
            Outcome::Accepted => IncidentChange::Accepted(of),
            Outcome::Rejected(rejection) => IncidentChange::Refused { of, reason: rejection.reason.clone() },
            Outcome::Recalled { .. } => IncidentChange::Recalled { of, attempts: report.attempts },
        };
        self.history.push(incident.record(world.now, id, change));
    }

    /// Records failed attempts at a notification of an incident that is on its way.
    pub(crate) fn record_failure(&mut self, world: &World, failed: &FailedDelivery) {
        let Some((id, index)) = self.in_flight.get(&failed.id).copied() else { return };
        let Some(incident) = self.all.get(&id) else { return };
        let Some(channel) = incident.channels.get(index) else { return };
        let change = IncidentChange::Failed {
            of: incident.delivery(world, channel, failed.kind),
            attempts: failed.attempts,
            since: world.now - failed.lasted,
            error: beginning(&failed.error, ERROR).into(),
        };
        self.history.push(incident.record(world.now, id, change));
    }

    /// Records a person's remark about an incident.
    pub(crate) fn remark(&mut self, world: &World, said: &IncidentRemark) {
        self.history.push(IncidentRecord {
            at: world.now,
            incident: said.incident,
            key: said.key.clone(),
            change: IncidentChange::Remarked(said.remark.clone()),
        });
    }
}
