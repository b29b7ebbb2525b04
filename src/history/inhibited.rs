//! Which firing alerts the inhibit rules mute at a given moment, for the model of Alertmanager.

use std::collections::HashMap;

use crate::config::InhibitRule;
use crate::model::LabelSet;

/// The alerts that fire and match the source side of a rule.
#[derive(Debug)]
pub(super) struct Inhibition {
    rules: Vec<(InhibitRule, HashMap<LabelSet, Sources>)>,
}

/// Sources that have the same values of the `equal` labels.
#[derive(Debug, Default)]
struct Sources {
    all: u32,
    /// Sources that the target side does not match. An alert that both sides match is muted by these alone.
    /// Rule: Alertmanager `inhibit/inhibit.go`.
    only_sources: u32,
}

impl Inhibition {
    pub(super) fn new(rules: &[InhibitRule]) -> Self {
        Inhibition { rules: rules.iter().map(|rule| (rule.clone(), HashMap::new())).collect() }
    }

    /// An alert begins to fire.
    pub(super) fn begin(&mut self, labels: &LabelSet) {
        for (rule, firing) in self.rules.iter_mut().filter(|(rule, _)| rule.is_source(labels)) {
            let sources = firing.entry(equal(rule, labels)).or_default();
            sources.all += 1;
            sources.only_sources += u32::from(!rule.is_target(labels));
        }
    }

    /// An alert that fired resolves.
    pub(super) fn end(&mut self, labels: &LabelSet) {
        for (rule, firing) in self.rules.iter_mut().filter(|(rule, _)| rule.is_source(labels)) {
            let key = equal(rule, labels);
            let Some(sources) = firing.get_mut(&key) else { continue };
            sources.all -= 1;
            sources.only_sources -= u32::from(!rule.is_target(labels));
            if sources.all == 0 {
                firing.remove(&key);
            }
        }
    }

    /// Whether an alert is muted now.
    pub(super) fn mutes(&self, labels: &LabelSet) -> bool {
        self.rules.iter().filter(|(rule, _)| rule.is_target(labels)).any(|(rule, firing)| {
            let Some(sources) = firing.get(&equal(rule, labels)) else { return false };
            !rule.is_source(labels) || sources.only_sources > 0
        })
    }
}

fn equal(rule: &InhibitRule, labels: &LabelSet) -> LabelSet {
    labels.filter(|name| rule.equal.iter().any(|equal| equal == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_matchers;

    #[test]
    fn an_alert_is_muted_while_a_source_with_the_same_labels_fires() {
        let rule = InhibitRule {
            name: Default::default(),
            source_matchers: parse_matchers("severity=critical").unwrap(),
            target_matchers: parse_matchers("severity=~\"warning|critical\"").unwrap(),
            equal: vec!["host".into()],
        };
        let labels = |severity, host| LabelSet::from_pairs([("severity", severity), ("host", host)]);
        let mut inhibition = Inhibition::new(&[rule]);
        inhibition.begin(&labels("critical", "a"));
        assert!(inhibition.mutes(&labels("warning", "a")));
        assert!(!inhibition.mutes(&labels("warning", "b")));
        assert!(!inhibition.mutes(&labels("critical", "a")), "both sides match it, and its source");
        inhibition.end(&labels("critical", "a"));
        assert!(!inhibition.mutes(&labels("warning", "a")));
    }
}
