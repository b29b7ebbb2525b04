//! Notifications: the current state of an incident, in the types of the model.

use std::cmp::Reverse;

use crate::engine::alerts::Alert;
use crate::engine::ids::IncidentId;
use crate::engine::incidents::Incidents;
use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::incident::Incident;
use crate::engine::incidents::members::Member;
use crate::engine::world::World;
use crate::model::{
    AlertId, AlertView, Headline, Kind, LabelSet, Notification, NotificationId, SEVERITY, Status,
    alertmanager_order, headline, merged_headline, shares,
};
use crate::policy::{KnownBy, Severities};

/// The title looks at so many alerts.
const SAMPLE: usize = 10_000;
/// The most alerts of which a title names the common labels.
const TITLED: usize = 1000;

impl Incidents {
    pub(crate) fn render(
        &self,
        world: &World,
        (number, kind): (NotificationId, Kind),
        (id, incident): (IncidentId, &Incident),
        channel: &Channel,
    ) -> Notification {
        let levels = &world.policy.severities.levels;
        let members = &incident.members;
        let status = |fires| if fires { Status::Firing } else { Status::Resolved };
        let known = |(alert, member): (AlertId, _)| {
            let fires = self.shown(world, (id, incident), (alert, member), channel)?;
            let rank = (status(fires), world.level_of(alert));
            Some((rank, alert, member, world.alerts.alert(alert)?))
        };
        let most = channel.most_alerts();
        let mut alerts: Vec<_> = members.listed().take(most).filter_map(known).collect();
        alerts.sort_unstable_by(|(a, of_a, _, alert), (b, of_b, _, other)| {
            let as_alertmanager = || alertmanager_order(alert.told(), other.told());
            a.cmp(b).then_with(as_alertmanager).then_with(|| of_a.cmp(of_b))
        });
        let mut alerts: Vec<AlertView> = alerts
            .into_iter()
            .map(|((status, _), id, m, alert)| alert_view(world, id, m, alert, status))
            .collect();
        alerts.extend(incident.internal.as_ref().map(|own| own.view(kind, world.now)));
        let level = match kind {
            Kind::Resolve => incident.level.min(levels.len() - 1),
            _ => incident.level_now(levels.len()),
        };
        let (listed, firing) = members
            .listed()
            .take(most)
            .fold((0, 0), |(listed, firing), (_, member)| (listed + 1, firing + usize::from(member.firing)));
        let left_out = members.len() - listed;
        let title = title_of(world, incident);
        let destination = world.destinations.get(incident.group.0);
        Notification {
            id: number,
            at: world.now,
            receiver: destination.receiver.clone(),
            integration: channel.integration.clone(),
            endpoint: channel.endpoint(),
            kind,
            dedup_key: incident.key_at(channel).clone(),
            incident_key: Some(&incident.dedup_key).filter(|key| *key != incident.key_at(channel)).cloned(),
            group_key: incident.group_text.clone(),
            generation: incident.generation,
            group_labels: incident.group.1.clone(),
            route_labels: destination.labels.clone(),
            headline: (is_merged(world, incident) || world.policy.severities.label != SEVERITY)
                .then(|| headline_of(world, incident)),
            title: Some(title).filter(|title| *title != incident.group.1),
            severity: levels[level].name.clone(),
            level: (level as u8, levels.len() as u8),
            alerts,
            beside: self.beside(world, id, incident, channel),
            truncated: left_out as u64 + incident.shed,
            truncated_firing: members.firing().saturating_sub(firing) as u64,
            opened_at: incident.paged_at,
            message: channel.message.clone(),
            replaces: None,
            cause: incident.cause_of(kind),
        }
    }

    /// The alerts of other incidents of its group that a message names.
    fn beside(
        &self,
        world: &World,
        id: IncidentId,
        incident: &Incident,
        channel: &Channel,
    ) -> Vec<AlertView> {
        let wanted = channel.borrowed.iter().filter(|_| channel.known_by == KnownBy::Group);
        let view = |alert: &AlertId| {
            let known = world.alerts.alert(*alert)?;
            let own = incident.members.contains_key(alert);
            let member = Member::firing(known.starts_at, crate::engine::incidents::members::UNKNOWN);
            let member = Member { firing: false, ..member };
            let fires = self.shown(world, (id, incident), (*alert, &member), channel)?;
            let status = if fires { Status::Firing } else { Status::Resolved };
            (!own).then(|| alert_view(world, *alert, &member, known, status))
        };
        wanted.filter_map(view).collect()
    }
}

/// Whether an incident has the merged pages of its receiver.
fn is_merged(world: &World, incident: &Incident) -> bool {
    incident.group == world.merged_key(incident.group.0)
}

/// The labels that name an incident: those of its group. For merged pages, these are the up to three label
/// values that explain most of it, if they hold for more than half.
pub(crate) fn title_of(world: &World, incident: &Incident) -> LabelSet {
    if !is_merged(world, incident) {
        return incident.group.1.clone();
    }
    // Identities are hashes: each so-many-th of them is a fair sample.
    let sample = incident.members.keys().step_by(incident.members.len() / SAMPLE + 1);
    let labels: Vec<_> = sample.filter_map(|id| world.alerts.alert(*id)).map(Alert::told).collect();
    LabelSet::from_pairs(shares(&labels).into_iter().take(3).map(|share| (share.name, share.value)))
}

/// The title of an incident, in the words of its notifications.
pub(crate) fn headline_of(world: &World, incident: &Incident) -> Headline {
    let (group, severity) = (title_of(world, incident), &world.policy.severities.label);
    if let Some(own) = &incident.internal {
        return headline(&group, &[&own.view(Kind::Page, world.now).labels], severity, true, 0);
    }
    if is_merged(world, incident) {
        return merged_headline_of(world, incident, &group);
    }
    // The alerts of a notification, in their order. It decides which names the title has room for.
    let listed = incident.members.listed().take(TITLED);
    let known = listed.filter_map(|(id, member)| {
        let labels = world.alerts.alert(id)?.told();
        Some(((Reverse(member.firing), world.level_of(id)), labels, id))
    });
    let mut all: Vec<_> = known.collect();
    all.sort_unstable_by(|(a, labels, of_a), (b, others, of_b)| {
        a.cmp(b).then_with(|| alertmanager_order(labels, others)).then_with(|| of_a.cmp(of_b))
    });
    let labels: Vec<&LabelSet> = all.into_iter().map(|(_, labels, _)| labels).collect();
    let left_out = incident.members.len().saturating_sub(TITLED) as u64 + incident.shed;
    headline(&group, &labels, severity, true, left_out)
}

/// The title of merged pages. It counts all alerts that fire, and names the most severe alerts.
fn merged_headline_of(world: &World, incident: &Incident, group: &LabelSet) -> Headline {
    let Severities { levels, label, .. } = &world.policy.severities;
    let mut all: Vec<(AlertId, &Member)> = incident.members.listed().collect();
    // Among alerts of one level, the first to arrive come first.
    all.sort_by_key(|(_, member)| (Reverse(member.firing), member.level));
    let labels: Vec<&LabelSet> =
        all.iter().filter_map(|(id, _)| world.alerts.alert(*id)).map(Alert::told).collect();
    let counts = incident.members.firing_by_level();
    let counts: Vec<(&str, usize)> = counts
        .filter_map(|(level, firing)| Some((&levels.get(usize::from(level))?.name[..], firing)))
        .collect();
    merged_headline(group, &labels, label, if incident.members.firing() > 1 { &counts } else { &[] })
}

fn alert_view(world: &World, id: AlertId, member: &Member, alert: &Alert, status: Status) -> AlertView {
    let (annotations, generator_url) = world.alerts.said(alert);
    AlertView {
        id,
        status,
        labels: alert.told().clone(),
        annotations,
        starts_at: alert.starts_at,
        ends_at: match status {
            Status::Firing => None,
            Status::Resolved => alert.ends_at.or(member.resolved_at),
        },
        generator_url,
        problem: None,
        flaps: member.flaps,
    }
}
