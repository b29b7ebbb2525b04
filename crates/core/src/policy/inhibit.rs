//! Inhibit rules: which firing alerts mute which others.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::model::{LabelSet, Matcher};

/// Mutes alerts while another alert fires. The source matchers match the firing alert, and the target
/// matchers match the muted ones. Both have the same values of all `equal` labels.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InhibitRule {
    /// The name that people gave it. It may be empty.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub name: SmolStr,
    /// All must match the alert that mutes.
    pub source_matchers: Vec<Matcher>,
    /// All must match the alert that is muted.
    pub target_matchers: Vec<Matcher>,
    /// Labels that must have equal values in both alerts, each listed once. A label that both lack counts
    /// as equal.
    pub equal: Vec<SmolStr>,
}

impl InhibitRule {
    /// Whether an alert with these labels mutes others while it fires.
    pub fn is_source(&self, labels: &LabelSet) -> bool {
        self.source_matchers.iter().all(|matcher| matcher.matches(labels))
    }

    /// Whether an alert with these labels can be muted.
    pub fn is_target(&self, labels: &LabelSet) -> bool {
        self.target_matchers.iter().all(|matcher| matcher.matches(labels))
    }
}
