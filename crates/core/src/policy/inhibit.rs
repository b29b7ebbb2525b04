//! Inhibit rules: which firing alerts mute which others.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::model::{LabelSet, Matcher};

/// While an alert fires that the source matchers match, alerts that the target matchers match, and
/// that have the same values of all `equal` labels, are muted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InhibitRule {
    /// What people call it; may be empty.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub name: SmolStr,
    /// All must match the alert that mutes.
    pub source_matchers: Vec<Matcher>,
    /// All must match the alert that is muted.
    pub target_matchers: Vec<Matcher>,
    /// Labels in which the two agree, each once; missing at both is agreement.
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
