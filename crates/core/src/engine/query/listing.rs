//! The alerts of an incident as a person reads them: in which order, and under which title.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::engine::alerts::Alert;
use crate::engine::incidents::incident::Incident;
use crate::engine::incidents::members::Member;
use crate::engine::incidents::render::headline_of;
use crate::engine::query::Query;
use crate::engine::query::search::Search;
use crate::model::{AlertId, Headline, Kind, LabelSet, Matcher};

/// Up to so many alerts of one incident are put in order by their names too.
const SORTED: usize = 10_000;

/// The alerts of an incident with one name and one severity.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleCount {
    /// Their `alertname`. It may be empty.
    pub name: SmolStr,
    /// The name of their severity level.
    pub severity: SmolStr,
    /// How many of them fire.
    pub firing: usize,
    /// How many there are.
    pub alerts: usize,
    /// The annotations of one of them, which fires if any does.
    pub annotations: LabelSet,
    /// Where the rule of that one can be looked at, or nothing.
    pub generator_url: SmolStr,
}

impl Query<'_> {
    /// Up to `limit` alerts of an incident after the first `offset`: those that fire first, the highest
    /// severity first, then by name.
    pub(crate) fn ordered<'a>(
        &'a self,
        incident: &'a Incident,
        offset: usize,
        limit: usize,
    ) -> Vec<(AlertId, &'a Member, &'a Alert)> {
        let by_name = incident.members.len() <= SORTED;
        let known = |(id, member): (&AlertId, &'a Member)| {
            let alert = self.world.alerts.alert(*id)?;
            let name = if by_name { Some((alert.labels.value("alertname"), &alert.labels)) } else { None };
            let level = match by_name {
                true => self.world.policy.severities.level_of(&alert.labels),
                false => usize::from(member.level),
            };
            Some(((Reverse(member.firing), level, name, *id), member, alert))
        };
        let mut all: Vec<_> = incident.members.iter().filter_map(known).collect();
        let end = offset.saturating_add(limit).min(all.len());
        if end < all.len() {
            // Entries that are not shown need not be in order.
            all.select_nth_unstable_by(end, |a, b| a.0.cmp(&b.0));
            all.truncate(end);
        }
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        all.into_iter().skip(offset).map(|((.., id), member, alert)| (id, member, alert)).collect()
    }

    /// The alerts of an incident by rule and severity: first those that fire, then by severity, then by name.
    /// At most `limit` entries are returned, with the number of all. With `observed`, it is the incident that
    /// would have this key.
    pub fn incident_rules(&self, dedup_key: &str, observed: bool, limit: usize) -> (Vec<RuleCount>, usize) {
        let Some((_, incident)) = self.incident_of(dedup_key, observed) else { return Default::default() };
        let severities = &self.world.policy.severities;
        let mut counts: BTreeMap<(usize, &str), (usize, usize, &Alert)> = BTreeMap::new();
        for (id, member) in incident.members.iter() {
            let Some(alert) = self.world.alerts.alert(*id) else { continue };
            let key = (severities.level_of(&alert.labels), alert.labels.value("alertname"));
            let (firing, all, first) = counts.entry(key).or_insert((0, 0, alert));
            if member.firing && *firing == 0 {
                *first = alert;
            }
            *firing += usize::from(member.firing);
            *all += 1;
        }
        let number = counts.len();
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, (firing, ..))| *firing == 0);
        let rule = |((_, name), (firing, alerts, alert)): ((usize, &str), (usize, usize, &Alert))| {
            let (annotations, generator_url) = self.world.alerts.said(alert);
            let severity = self.world.level_name(&alert.labels);
            RuleCount { name: name.into(), severity, firing, alerts, annotations, generator_url }
        };
        (counts.into_iter().take(limit).map(rule).collect(), number)
    }

    /// The title of an incident, in the words of its notifications.
    pub(crate) fn headline(&self, incident: &Incident) -> Headline {
        headline_of(self.world, incident)
    }

    /// Whether an alert of an incident matches.
    pub(crate) fn has_alert(&self, incident: &Incident, matchers: &[Matcher]) -> bool {
        let matches = |labels: &LabelSet| matchers.iter().all(|m| m.matches(labels));
        let mut alerts = incident.members.keys().filter_map(|id| self.world.alerts.alert(*id));
        alerts.any(|alert| matches(&alert.labels))
            || self.own_labels(incident).is_some_and(|own| matches(&own))
    }

    /// Whether a search finds an alert of an incident.
    pub(super) fn is_found(&self, incident: &Incident, receiver: &str, search: &Search<'_>) -> bool {
        let mut alerts = incident.members.keys().filter_map(|id| self.world.alerts.alert(*id));
        alerts.any(|alert| search.finds(alert, receiver))
            || self.own_labels(incident).is_some_and(|own| search.finds_labels(&own, receiver))
    }

    /// The labels of the alert of an internal incident.
    fn own_labels(&self, incident: &Incident) -> Option<LabelSet> {
        Some(incident.internal.as_ref()?.view(Kind::Page, self.world.now).labels)
    }
}
