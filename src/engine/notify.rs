//! Notifications: an incident as it stands, put into the words of the model.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::Engine;
use super::incident::{Incident, Member};
use crate::model::{AlertId, AlertView, Kind, LabelSet, Notification, NotificationId, Status};

/// A notification lists at most this many alerts.
const MOST_ALERTS: usize = 1000;

impl Engine {
    pub(super) fn render(
        &self,
        id: NotificationId,
        kind: Kind,
        incident: &Incident,
        integration: &SmolStr,
    ) -> Notification {
        let levels = &self.policy.severities.levels;
        let mut alerts: Vec<AlertView> =
            incident.members.iter().filter_map(|(id, member)| self.alert_view(*id, member, kind)).collect();
        alerts.sort_by(|a, b| (a.status, &a.labels).cmp(&(b.status, &b.labels)));
        let level_of = |a: &AlertView| self.policy.severities.level_of(&a.labels);
        let firing = alerts.iter().filter(|a| a.status == Status::Firing).map(level_of).min();
        let level = firing.unwrap_or(incident.level).min(levels.len() - 1);
        let truncated = alerts.len().saturating_sub(MOST_ALERTS);
        alerts.truncate(MOST_ALERTS);
        Notification {
            id,
            at: self.now,
            receiver: self.lanes.lane(incident.group.0).receiver.clone(),
            integration: integration.clone(),
            kind,
            dedup_key: incident.dedup_key.clone(),
            group_key: incident.group_text.clone(),
            generation: incident.generation,
            group_labels: self.title(incident),
            severity: levels[level].name.clone(),
            level: (level as u8, levels.len() as u8),
            alerts,
            truncated: truncated as u64,
            opened_at: incident.paged_at,
            why: incident.why.clone(),
        }
    }

    /// The labels that say what an incident is about: those of its group; of merged pages, the up to
    /// three label values that explain most of it, if they hold for more than half.
    fn title(&self, incident: &Incident) -> LabelSet {
        if incident.group != self.merged_key(incident.group.0) {
            return incident.group.1.clone();
        }
        let labels: Vec<_> =
            incident.members.keys().filter_map(|id| self.alerts.alert(*id)).map(|a| &a.labels).collect();
        let mut shares: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for pair in labels.iter().flat_map(|l| l.iter()) {
            *shares.entry(pair).or_default() += 1;
        }
        let mut shares: Vec<_> = shares.into_iter().filter(|(_, n)| n * 2 > labels.len()).collect();
        shares.sort_by_key(|(pair, n)| (std::cmp::Reverse(*n), *pair));
        LabelSet::from_pairs(shares.into_iter().take(3).map(|(pair, _)| pair))
    }

    fn alert_view(&self, id: AlertId, member: &Member, kind: Kind) -> Option<AlertView> {
        let alert = self.alerts.alert(id)?;
        let firing = member.firing && kind != Kind::Resolve;
        Some(AlertView {
            id,
            status: if firing { Status::Firing } else { Status::Resolved },
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            starts_at: alert.starts_at,
            ends_at: if firing { None } else { alert.ends_at.or(member.resolved_at) },
            generator_url: alert.generator_url.clone(),
            flaps: member.flaps,
        })
    }
}
