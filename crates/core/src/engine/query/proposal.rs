//! Matchers for a silence: those that an incident proposes, and how many alerts some match.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::engine::incidents::incident::{Incident, Side};
use crate::engine::query::Query;
use crate::model::{AlertId, LabelSet, MatchOp, Matcher};

/// Alerts of an incident that the proposal looks at. Identities are hashes, so each so-many-th is a fair
/// sample.
const SAMPLE: usize = 1000;
/// Alerts that one look passes.
const LOOKED_AT: usize = 10_000;
/// The most kinds of alerts that one look counts.
const RULES: usize = 1000;
/// The most values that one matcher lists, and the most bytes of its value.
const ALTERNATIVES: usize = 50;
const MATCHER_BYTES: usize = 600;
/// The most bytes of all matchers.
const MOST_BYTES: usize = 1500;

/// How many alerts that fire some matchers match, as far as one look went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// Of the incident that was asked about.
    pub inside: usize,
    /// All others.
    pub others: usize,
    /// How many alerts of that incident fire.
    pub of: usize,
    /// How many of all of these have which severity and which name, the highest severity first. Of further
    /// names than 1,000 it counts none.
    pub rules: BTreeMap<(usize, SmolStr, SmolStr), usize>,
    /// Where to go on, if there are more alerts to look at.
    pub next: Option<AlertId>,
}

impl Query<'_> {
    /// The incident of this `dedup_key`: the real one, or with `observed` the one of observe mode. If only
    /// the other one exists, it is that.
    pub(crate) fn incident_of(
        &self,
        dedup_key: &str,
        observed: bool,
    ) -> Option<(&crate::engine::IncidentId, &Incident)> {
        let with_key = || self.pages.incidents.all.iter().filter(|(_, i)| i.dedup_key == dedup_key);
        with_key().find(|(_, i)| (i.side == Side::Observed) == observed).or_else(|| with_key().next())
    }

    /// How many alerts that fire match, of those behind `after`.
    pub fn matching(&self, matchers: &[Matcher], dedup_key: &str, after: Option<AlertId>) -> Matching {
        let incident = self.incident_of(dedup_key, false).map(|(_, incident)| incident);
        let of = incident.map_or(0, |incident| incident.members.firing());
        let mut found = Matching { of, ..Matching::default() };
        for (id, alert) in self.world.alerts.after(after).take(LOOKED_AT) {
            found.next = Some(*id);
            if alert.firing() && matchers.iter().all(|m| m.matches(&alert.labels)) {
                let inside = incident.is_some_and(|i| i.members.get(id).is_some_and(|m| m.firing));
                *(if inside { &mut found.inside } else { &mut found.others }) += 1;
                let level = self.world.policy.severities.level_of(&alert.labels);
                let name = alert.labels.value("alertname").into();
                let key = (level, self.world.level_name(&alert.labels), name);
                if found.rules.len() < RULES || found.rules.contains_key(&key) {
                    *found.rules.entry(key).or_default() += 1;
                }
            }
        }
        if found.next.is_some_and(|last| self.world.alerts.after(Some(last)).next().is_none()) {
            found.next = None;
        }
        found
    }

    /// Matchers that match the alerts of an incident and as few others as possible. They name the labels of
    /// its group and the names of its alerts. For a merged incident they name all labels that its alerts
    /// share. Then each label follows that leaves fewer other alerts. `None` for an incident that no
    /// silence applies to.
    pub fn propose_silence(&self, dedup_key: &str) -> Option<Vec<Matcher>> {
        let (_, incident) =
            self.incident_of(dedup_key, false).filter(|(_, incident)| incident.internal.is_none())?;
        let fires = incident.members.firing() > 0;
        let members = || incident.members.that_fire(fires);
        let step = members().count() / SAMPLE + 1;
        let sample: Vec<&LabelSet> = members()
            .step_by(step)
            .filter_map(|(id, _)| Some(&self.world.alerts.alert(*id)?.labels))
            .collect();
        let (mut chosen, mut left) = (Proposal::default(), Vec::new());
        let merged = incident.group == self.world.merged_key(incident.group.0);
        let group = if merged { LabelSet::default() } else { incident.group.1.clone() };
        for (name, value) in group.iter().filter(|(_, value)| !value.is_empty()) {
            chosen.add(Matcher::new(name, MatchOp::Equal, value).ok());
        }
        let first = *sample.first()?;
        for (name, _) in
            first.iter().filter(|(name, _)| !self.world.policy.ignore_labels.iter().any(|i| i == name))
        {
            if !chosen.has(name) {
                left.extend(of_all(name, &sample));
            }
        }
        left.sort_by_key(|m| m.name() != "alertname");
        for matcher in std::mem::take(&mut left) {
            match matcher.name() == "alertname" || merged && matcher.op() == MatchOp::Equal {
                true => chosen.add(Some(matcher)),
                false => left.push(matcher),
            }
        }
        let mut others: Vec<&LabelSet> = self
            .world
            .alerts
            .after(None)
            .take(LOOKED_AT)
            .filter(|(id, alert)| alert.firing() && !incident.members.contains_key(id))
            .map(|(_, alert)| &alert.labels)
            .filter(|labels| chosen.matchers.iter().all(|m| m.matches(labels)))
            .collect();
        while !others.is_empty() {
            let still = |m: &Matcher| others.iter().filter(|labels| m.matches(labels)).count();
            let best = left.iter().enumerate().map(|(index, m)| (still(m), index)).min();
            let Some((_, index)) = best.filter(|(still, _)| *still < others.len()) else { break };
            let matcher = left.remove(index);
            others.retain(|labels| matcher.matches(labels));
            chosen.add(Some(matcher));
        }
        Some(chosen.matchers)
    }
}

/// The matchers that were chosen so far, of a bounded length.
#[derive(Default)]
struct Proposal {
    matchers: Vec<Matcher>,
    bytes: usize,
}

impl Proposal {
    fn has(&self, name: &str) -> bool {
        self.matchers.iter().any(|m| m.name() == name)
    }

    fn add(&mut self, matcher: Option<Matcher>) {
        let Some(matcher) = matcher else { return };
        let bytes = matcher.to_string().len() + 2;
        if self.bytes + bytes <= MOST_BYTES || self.matchers.is_empty() {
            self.bytes += bytes;
            self.matchers.push(matcher);
        }
    }
}

/// A matcher of a label for all of these label sets, which must all have it: its value, or its values as a
/// pattern. Of names of alerts that are too many, the pattern has the most frequent ones. A label with too
/// many values has no matcher.
fn of_all(name: &str, sets: &[&LabelSet]) -> Option<Matcher> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for value in sets.iter().map(|labels| labels.value(name)) {
        *counts.entry(value).or_default() += 1;
    }
    if counts.contains_key("") {
        return None;
    }
    if let (Some((value, _)), 1) = (counts.first_key_value(), counts.len()) {
        return Matcher::new(name, MatchOp::Equal, *value).ok();
    }
    let mut values: Vec<(&str, usize)> = counts.into_iter().collect();
    values.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let (mut listed, mut bytes) = (Vec::new(), 0);
    for pattern in values.iter().take(ALTERNATIVES).map(|(value, _)| literal(value)) {
        if bytes + pattern.len() < MATCHER_BYTES {
            bytes += pattern.len() + 1;
            listed.push(pattern);
        }
    }
    if listed.is_empty() || listed.len() < values.len() && name != "alertname" {
        return None;
    }
    listed.sort_unstable();
    Matcher::new(name, MatchOp::Regex, listed.join("|")).ok()
}

/// A pattern that matches this text alone. Rule: Go's `regexp.QuoteMeta`.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_pattern_matches_its_text_alone() {
        for text in ["a.b", "(x|y)", "$^", r"c:\d", "[0-9]{2}", "a+b*c?"] {
            let matcher = Matcher::new("a", MatchOp::Regex, literal(text)).unwrap();
            assert!(matcher.matches(&LabelSet::from_pairs([("a", text)])), "{text}");
            assert!(!matcher.matches(&LabelSet::from_pairs([("a", "aXb")])), "{text}");
        }
    }

    #[test]
    fn a_label_with_many_values_has_no_matcher_and_names_are_cut_to_the_most_frequent() {
        let sets: Vec<LabelSet> = (0..120)
            .map(|n| LabelSet::from_pairs([("alertname", format!("A{}", n % 60)), ("host", format!("h{n}"))]))
            .collect();
        let sets: Vec<&LabelSet> = sets.iter().collect();
        assert_eq!(of_all("host", &sets), None);
        let names = of_all("alertname", &sets).unwrap();
        assert_eq!(names.value().split('|').count(), ALTERNATIVES);
        assert_eq!(of_all("team", &sets), None, "not all have it");
    }
}
