//! Inhibit rules: which firing alerts mute which others.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::model::Matcher;

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
