//! The labels that a configuration looks at, and that no alert of the history has.

use std::collections::BTreeSet;

use crate::config::{GroupBy, Policy};
use crate::engine::Event;
use crate::history::Past;

/// The labels that no alert has had yet.
pub(super) struct Unseen(BTreeSet<String>);

impl Unseen {
    /// All labels that the routes and the inhibit rules of `policy` name.
    pub(super) fn of(policy: &Policy) -> Self {
        let mut names = BTreeSet::new();
        for route in &policy.routes {
            names.extend(route.matchers.iter().map(|matcher| matcher.name().to_owned()));
            if let GroupBy::Labels(labels) = &route.group_by {
                names.extend(labels.iter().map(ToString::to_string));
            }
        }
        for rule in &policy.inhibit_rules {
            let matchers = rule.source_matchers.iter().chain(&rule.target_matchers);
            names.extend(matchers.map(|matcher| matcher.name().to_owned()));
        }
        Unseen(names)
    }

    pub(super) fn look(&mut self, past: &Past) {
        if let Event::Observe(batch) = &past.event {
            for observation in &batch.observations {
                self.0.retain(|name| observation.labels.value(name).is_empty());
            }
        }
    }

    /// The hint for a person. Prometheus adds its `external_labels` to the alerts that it sends only.
    pub(super) fn hint(&self) -> Option<String> {
        let first = self.0.first()?;
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        Some(format!(
            "no alert of the history has these labels, which routes or inhibit_rules name: {}. If they are \
             external_labels of Prometheus, write --external-label={first}=VALUE",
            names.join(", ")
        ))
    }
}
