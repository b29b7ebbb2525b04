//! The whole configuration, validated.

use std::collections::BTreeMap;
use std::sync::Arc;

use smol_str::SmolStr;

use super::{AccessRules, Integration, Policy, Problem, Storage};
use crate::model::LabelSet;
use crate::templates::Library;

/// A validated configuration file.
#[derive(Clone, Debug)]
pub struct Config {
    /// What decides; goes to the engine and into the journal.
    pub policy: Policy,
    /// Integrations of each receiver, in the order of [`Policy`]'s references; stays at the edge.
    pub receivers: BTreeMap<SmolStr, Vec<Integration>>,
    /// The `labels` of those receivers that have some. Alertmanager's API selects receivers by them.
    pub receiver_labels: BTreeMap<SmolStr, LabelSet>,
    /// The templates that every templated text may call.
    pub templates: Arc<Library>,
    /// The file as YAML for people, its secrets masked; empty if it was made of no file.
    pub masked: Arc<str>,
    /// What is allowed, and probably not meant, as far as the text of the file shows it.
    pub doubts: Vec<Problem>,
    /// How much of the past is kept.
    pub storage: Storage,
    /// `limits.memory`: how much memory there is, in bytes, if that is less than the system says. It decides
    /// with the machine how many alerts [`Policy::limits`] lets be known; see `docs/reliability.md`.
    pub memory: Option<u64>,
    /// `sources` and `users`; stays at the edge.
    pub access: AccessRules,
}
