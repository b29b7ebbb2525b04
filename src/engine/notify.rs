//! Notifications: an incident as it stands, put into the words of the model.

use smol_str::SmolStr;

use super::Engine;
use super::alerts::Alert;
use super::incident::Incident;
use super::members::Member;
use crate::model::{AlertId, AlertView, Kind, LabelSet, Notification, NotificationId, Status, shares};

/// A notification lists at most this many alerts.
const MOST_ALERTS: usize = 1000;

/// Of up to so many the first by their labels are listed, and the title counts all.
const SORTED: usize = 10_000;

impl Engine {
    pub(super) fn render(
        &self,
        id: NotificationId,
        kind: Kind,
        incident: &Incident,
        integration: &SmolStr,
    ) -> Notification {
        let levels = &self.policy.severities.levels;
        let known = |(id, member): (&AlertId, _)| Some((*id, member, self.alerts.alert(*id)?));
        let members = &incident.members;
        // Where there are far too many to list, which of them are listed is as good as chance.
        let most = if members.len() > SORTED { MOST_ALERTS } else { usize::MAX };
        let alerts = members.that_fire(true).chain(members.that_fire(false)).filter_map(known);
        let mut alerts: Vec<(AlertId, &Member, &Alert)> = alerts.take(most).collect();
        let status = |member: &Member| match member.firing && kind != Kind::Resolve {
            true => Status::Firing,
            false => Status::Resolved,
        };
        let firing = members.highest().filter(|_| kind != Kind::Resolve);
        let level = firing.map_or(incident.level, usize::from).min(levels.len() - 1);
        let truncated = members.len().saturating_sub(MOST_ALERTS);
        let order = |a: &(AlertId, &Member, &Alert), b: &(AlertId, &Member, &Alert)| {
            (status(a.1), &a.2.labels, a.0).cmp(&(status(b.1), &b.2.labels, b.0))
        };
        if alerts.len() > MOST_ALERTS {
            // What is not listed need not be sorted, nor copied.
            alerts.select_nth_unstable_by(MOST_ALERTS, order);
            alerts.truncate(MOST_ALERTS);
        }
        alerts.sort_unstable_by(order);
        let mut alerts: Vec<AlertView> =
            alerts.into_iter().map(|(id, m, alert)| self.alert_view(id, m, alert, status(m))).collect();
        alerts.extend(incident.own.as_ref().map(|own| own.view(kind, self.now)));
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
    pub(super) fn title(&self, incident: &Incident) -> LabelSet {
        if incident.group != self.merged_key(incident.group.0) {
            return incident.group.1.clone();
        }
        // Identities are hashes: each so-many-th of them is a fair sample.
        let sample = incident.members.keys().step_by(incident.members.len() / SORTED + 1);
        let labels: Vec<_> = sample.filter_map(|id| self.alerts.alert(*id)).map(|a| &a.labels).collect();
        LabelSet::from_pairs(shares(&labels).into_iter().take(3).map(|share| (share.name, share.value)))
    }

    fn alert_view(&self, id: AlertId, member: &Member, alert: &Alert, status: Status) -> AlertView {
        let (annotations, generator_url) = self.alerts.said(alert);
        AlertView {
            id,
            status,
            labels: alert.labels.clone(),
            annotations,
            starts_at: alert.starts_at,
            ends_at: match status {
                Status::Firing => None,
                Status::Resolved => alert.ends_at.or(member.resolved_at),
            },
            generator_url,
            flaps: member.flaps,
        }
    }
}
