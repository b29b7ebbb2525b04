//! The whole configuration, validated.

use std::collections::BTreeMap;
use std::sync::Arc;

use smol_str::SmolStr;
use squelch_core::policy::{
    FailOpen, IntegrationRef, KnownBy, Limits, Lines, Noise, Policy, Receiver, Route, SelfCheckSettings,
    Severities,
};

use super::access::AccessRules;
use super::enrichment::Enrichment;
use super::on_call::OnCall;
use super::report::ReportSchedule;
use super::storage::Storage;
use super::tracing::Tracing;
use crate::model::{Duration, LabelSet};
use crate::receivers::Integration;
use crate::receivers::console::ConsoleConfig;
use crate::settings::{HttpConfig, Problem, Secret};
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

/// The configuration that ships as `config/squelch.yml`: every page goes to the console.
impl Default for Config {
    fn default() -> Self {
        let console = IntegrationRef::new("console[0]", KnownBy::Nothing);
        let integration = Integration {
            name: console.name.clone(),
            notifier: Arc::new(ConsoleConfig {}),
            timeout: Duration::from_secs(10),
            http: HttpConfig::default(),
            templates: Library::built_in(),
        };
        let name: SmolStr = "console".into();
        let policy = Policy {
            severities: Severities::default(),
            ignore_labels: vec!["prometheus_replica".into()],
            routes: vec![Route::root(name.clone(), 1)],
            receivers: [(name.clone(), Receiver::new(vec![console]))].into(),
            noise: Noise::all_built_in(&Severities::default()),
            resolve_timeout: Duration::from_mins(5),
            stale_after: Duration::from_hours(12),
            time_intervals: Default::default(),
            inhibit_rules: Vec::new(),
            lines: Lines::default(),
            failopen: FailOpen::default(),
            heartbeats: Vec::new(),
            self_check: SelfCheckSettings::default(),
            limits: Limits::default(),
        };
        Config {
            policy,
            receivers: [(name, vec![integration])].into(),
            receiver_labels: BTreeMap::new(),
            templates: Library::built_in(),
            access: AccessRules::default(),
            tracing: None,
            enrichment: None,
            storage: Storage::default(),
            on_call: OnCall::default(),
            report: None,
            postgres: None,
            memory: None,
            masked: "".into(),
            doubts: Vec::new(),
            group_times: vec![GroupTimes::default()],
        }
    }
}
