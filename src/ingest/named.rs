//! The labels by which the configuration decides. Squelch never leaves these out of an alert.

use std::collections::BTreeSet;

use smol_str::SmolStr;

use crate::config::{GroupBy, Policy};
use crate::model::Matcher;

/// Names of labels that stay when an alert has more labels than are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedLabels(BTreeSet<SmolStr>);

impl Default for NamedLabels {
    fn default() -> Self {
        NamedLabels(["alertname", "severity"].map(SmolStr::from).into())
    }
}

impl NamedLabels {
    /// All labels that `policy` names: those by which it groups, routes and inhibits, those that it
    /// ignores, and the severity.
    pub fn of(policy: &Policy) -> NamedLabels {
        let NamedLabels(mut names) = NamedLabels::default();
        names.insert(policy.severities.label.clone());
        names.extend(policy.ignore_labels.iter().cloned());
        let mut matchers: Vec<&Matcher> = Vec::new();
        for route in &policy.routes {
            matchers.extend(&route.matchers);
            if let GroupBy::Labels(labels) = &route.group_by {
                names.extend(labels.iter().cloned());
            }
        }
        for rule in &policy.inhibit_rules {
            matchers.extend(rule.source_matchers.iter().chain(&rule.target_matchers));
            names.extend(rule.equal.iter().cloned());
        }
        matchers.extend(policy.heartbeats.iter().flat_map(|heartbeat| &heartbeat.matchers));
        names.extend(matchers.into_iter().map(|matcher| SmolStr::from(matcher.name())));
        NamedLabels(names)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}
