//! Notifications: an incident as it stands, put into the words of the model.

use smol_str::SmolStr;

use super::Engine;
use super::incident::{Incident, Member};
use crate::model::{AlertId, AlertView, Kind, Notification, NotificationId, Status};

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
            group_labels: incident.group.1.clone(),
            severity: levels[level].name.clone(),
            level: (level as u8, levels.len() as u8),
            alerts,
            truncated: truncated as u64,
            opened_at: incident.paged_at,
            why: incident.why.clone(),
        }
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
