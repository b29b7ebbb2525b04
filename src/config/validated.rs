//! The whole configuration, validated.

use std::collections::BTreeMap;
use std::sync::Arc;

use smol_str::SmolStr;

use super::{
    AccessRules, Enrichment, Integration, OnCall, Policy, Problem, ReportSchedule, Storage, Tracing,
};
use crate::model::{Duration, LabelSet};
use crate::settings::Secret;
use crate::templates::Library;

/// A validated configuration file.
#[derive(Clone, Debug)]
pub struct Config {
    /// The policy. It goes to the engine and into the journal.
    pub policy: Policy,
    /// Integrations of each receiver, in the order of [`Policy`]'s references. They never go to the engine.
    pub receivers: BTreeMap<SmolStr, Vec<Integration>>,
    /// The `labels` of those receivers that have some. Alertmanager's API selects receivers by them.
    pub receiver_labels: BTreeMap<SmolStr, LabelSet>,
    /// The templates that every templated text may call.
    pub templates: Arc<Library>,
    /// The file as YAML for people, with its secrets masked. It is empty if there was no file.
    pub masked: Arc<str>,
    /// Valid settings that are probably mistakes, as far as the text of the file shows it.
    pub doubts: Vec<Problem>,
    /// How much of the past is kept.
    pub storage: Storage,
    /// When the shifts of the people on call begin.
    pub on_call: OnCall,
    /// `report`: the report that a receiver gets again and again.
    pub report: Option<ReportSchedule>,
    /// Where the URL of the PostgreSQL is that holds the journal. None: the journal is a file.
    pub postgres: Option<Secret>,
    /// `limits.memory`: the memory in bytes, if that is less than the system says. With the machine it
    /// determines how many alerts [`Policy::limits`] lets be known. See `docs/reliability.md`.
    pub memory: Option<u64>,
    /// `sources` and `users`. They never go to the engine.
    pub access: AccessRules,
    /// The Prometheus that pages ask about their alerts, if any.
    pub enrichment: Option<Enrichment>,
    /// The collector of traces, if any.
    pub tracing: Option<Tracing>,
    /// The times of each route as an Alertmanager reads this file, in the order of the policy's routes.
    pub group_times: Vec<GroupTimes>,
}

/// When an Alertmanager notifies of a group. The defaults are Alertmanager's, and not those of Squelch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupTimes {
    /// `group_wait`: default 30s.
    pub wait: Duration,
    /// `group_interval`: default 5m.
    pub interval: Duration,
    /// `repeat_interval`: default 4h.
    pub repeat: Duration,
}

impl Default for GroupTimes {
    fn default() -> Self {
        GroupTimes {
            wait: Duration::from_secs(30),
            interval: Duration::from_mins(5),
            repeat: Duration::from_hours(4),
        }
    }
}

impl Config {
    /// The same, with this noise profile on every route.
    ///
    /// # Errors
    /// There is no such profile. The error is one sentence that lists the existing ones.
    pub fn with_noise(mut self, name: &str) -> Result<Config, String> {
        if !self.policy.noise.contains_key(name) {
            let known: Vec<&str> = self.policy.noise.keys().map(SmolStr::as_str).collect();
            return Err(format!("noise profile {name:?} is not defined. Name one of {}", known.join(", ")));
        }
        self.policy.routes.iter_mut().for_each(|route| route.noise = name.into());
        Ok(self)
    }
}
