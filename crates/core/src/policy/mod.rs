//! The deciding part of a configuration. The engine reads all of it, and nothing else.
//!
//! A policy holds no secret, so it can stand in the journal: a change of it is an event.

mod inhibit;
mod interval;
mod lines;
mod noise;
mod trust;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::model::{Duration, LabelSet, Matcher, SEVERITY};

pub use inhibit::InhibitRule;
pub use interval::{Location, LocationError, Span, TimeInterval, TimeRange};
pub use lines::Lines;
pub use noise::{
    ALONE_CONFIRM, ALONE_HALF_LIFE, ALONE_NEAR, ALONE_QUIET, Alone, BUSY_PAGES, BUSY_WITHIN, Busy, FAN_OUT,
    FAN_OUT_WITHIN, Flapping, GROWTH_FROM, Hold, LOOK_BACK, Limit, Mode, Noise, ROLLS_FOR, Storm,
};
pub use trust::{FailOpen, Heartbeat, Limits, SelfCheckSettings};

/// All that decides about alerts. Validated: route 0 exists, names resolve, indexes are in range.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// The levels of severity.
    pub severities: Severities,
    /// Labels that do not make an alert another alert (names of replicas).
    pub ignore_labels: Vec<SmolStr>,
    /// The route tree, depth first. 0 is the root. Children are named by index.
    pub routes: Vec<Route>,
    /// Receivers by name.
    pub receivers: BTreeMap<SmolStr, Receiver>,
    /// Noise profiles by name. `default` always exists.
    pub noise: BTreeMap<SmolStr, Noise>,
    /// API v2: how long an alert without `endsAt` fires after it was last said. Default 5m.
    pub resolve_timeout: Duration,
    /// After how long without a word an alert counts as stale. Default 12h.
    pub stale_after: Duration,
    /// Time intervals by name. A moment is in one if it is in any of its entries.
    #[serde(default)]
    pub time_intervals: BTreeMap<SmolStr, Vec<TimeInterval>>,
    /// Which firing alerts mute which others.
    #[serde(default)]
    pub inhibit_rules: Vec<InhibitRule>,
    /// Where all this stands in the file.
    #[serde(default, skip_serializing_if = "Lines::is_empty")]
    pub lines: Lines,
    /// Which pages leave while the storage is unusable.
    #[serde(default)]
    pub failopen: FailOpen,
    /// Alerts whose silence pages.
    #[serde(default)]
    pub heartbeats: Vec<Heartbeat>,
    /// The settings of the self-check.
    #[serde(default)]
    pub self_check: SelfCheckSettings,
    /// Bounds of the engine's memory.
    #[serde(default)]
    pub limits: Limits,
}

/// The names of the levels of severity, and their meaning.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Severities {
    /// The label that names the level. Default `severity`.
    pub label: SmolStr,
    /// Highest first. It is never empty.
    pub levels: Vec<Level>,
    /// The position of the level of a missing or unknown value. Default 0, the highest.
    #[serde(default)]
    pub default: usize,
}

/// One level of severity.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Level {
    /// Its name.
    pub name: SmolStr,
    /// Other values of the label with the same meaning. Like the name, they are compared without case.
    pub aliases: Vec<SmolStr>,
    /// Nothing may hold the first page of a problem of this level.
    pub never_hold: bool,
    /// How long the first page waits, from `startsAt`, at most this long from receipt. Default 0s.
    pub hold: Duration,
    /// The time from receipt within which a receiver must accept an alert of this level. From the page, it
    /// is also the time within which a person must acknowledge its incident. Without it there is no such
    /// promise. It holds nothing and releases nothing. Squelch reports an alert that no receiver accepted
    /// in time.
    #[serde(default)]
    pub respond_within: Option<Duration>,
    /// The receiver that is notified too of an incident that no person acknowledged within `respond_within`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate_to: Option<SmolStr>,
    /// The criteria of the level, for people.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub description: SmolStr,
}

/// One node of the route tree.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Route {
    /// Alertmanager's route key: `{}` for the root, `{}/{severity="page"}` below it.
    pub key: SmolStr,
    /// All must match.
    pub matchers: Vec<Matcher>,
    /// Go on to the next sibling after a match here.
    pub continue_: bool,
    /// Children, in order.
    pub children: Vec<usize>,
    /// The receiver of its alerts. Inherited.
    pub receiver: SmolStr,
    /// The labels by which alerts become a group. Inherited.
    pub group_by: GroupBy,
    /// How long the first page of a group waits for more alerts. Levels marked `never_hold` do not wait.
    /// Default 0s.
    pub group_wait: Duration,
    /// Shortest time between two updates of one incident. Default 15s.
    pub group_interval: Duration,
    /// After how long the trigger of an open incident is repeated. Default 4h.
    pub repeat_interval: Duration,
    /// Name of its noise profile. Inherited.
    pub noise: SmolStr,
    /// The times at which it notifies no receiver. Not inherited.
    #[serde(default)]
    pub windows: Windows,
    /// Labels that notifications carry. The values are templates. Inherited, one by one.
    #[serde(default, skip_serializing_if = "LabelSet::is_empty")]
    pub labels: LabelSet,
    /// The line of the configuration where it stands, from 1.
    pub line: u32,
}

/// The time intervals that mute a route.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Windows {
    /// It is muted while any of these contains the time.
    #[serde(rename = "mute_time_intervals")]
    pub mute: Vec<SmolStr>,
    /// If there are any, it is muted while none of these contains the time.
    #[serde(rename = "active_time_intervals")]
    pub active: Vec<SmolStr>,
}

/// By which labels a route groups.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// `['...']`: by all labels.
    All,
    /// These labels, sorted. An empty list puts all alerts into one group.
    Labels(Vec<SmolStr>),
}

impl GroupBy {
    /// The group labels of an alert: those of its labels that are named here (missing ones are
    /// left out, as Alertmanager does).
    pub fn labels_of(&self, labels: &LabelSet) -> LabelSet {
        match self {
            GroupBy::All => labels.clone(),
            GroupBy::Labels(names) => labels.filter(|n| names.iter().any(|name| name == n)),
        }
    }
}

/// A receiver, as far as deciding goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receiver {
    /// Its integrations in order. An empty list mutes all alerts that are routed here.
    pub integrations: Vec<IntegrationRef>,
    /// The receiver that Squelch notifies instead if it cannot reach this one. A chain of fallbacks always
    /// ends.
    #[serde(default)]
    pub fallback: Option<SmolStr>,
    /// After how long a page that was not taken goes to the fallback too. Default 5m.
    #[serde(default = "fallback_after")]
    pub fallback_after: Duration,
}

fn fallback_after() -> Duration {
    Duration::from_mins(5)
}

impl Receiver {
    /// The integrations that get digests and reports: those that can show them and want updates. If none of
    /// these wants updates, all that can show them.
    pub(crate) fn digest_takers(&self) -> impl Iterator<Item = &IntegrationRef> {
        let takes = || self.integrations.iter().filter(|one| one.takes_digests);
        let any = takes().any(|one| one.send_updates);
        takes().filter(move |one| one.send_updates || !any)
    }

    /// A receiver without a fallback.
    pub fn new(integrations: Vec<IntegrationRef>) -> Self {
        Receiver { integrations, fallback: None, fallback_after: fallback_after() }
    }
}

/// One integration of a receiver, as far as deciding goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IntegrationRef {
    /// `pagerduty[0]`: kind and position.
    pub name: SmolStr,
    /// Whether it gets resolves.
    pub send_resolved: bool,
    /// Whether it gets updates of an open incident (repeats are always sent).
    pub send_updates: bool,
    /// Whether it can show a digest, which interrupts no person.
    #[serde(default = "takes_digests")]
    pub takes_digests: bool,
    /// Whether it is told that a person acknowledged an incident.
    #[serde(default)]
    pub takes_acknowledgements: bool,
    /// How the readers of its messages recognise a problem.
    pub known_by: KnownBy,
    /// The most alerts of one incident that its messages list.
    pub most_alerts: u32,
    /// A hash of where it leads: its type, URL and credential, or the file of the credential. 0 is unknown.
    #[serde(default)]
    pub endpoint: u64,
}

fn takes_digests() -> bool {
    true
}

/// How the readers of an integration's messages recognise a problem. It follows from the integration's
/// type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// By the `dedup_key` alone, as PagerDuty does.
    DedupKey,
    /// By the group key, the group's labels, the common summary or the fingerprints of the alerts, as
    /// those do that read Alertmanager's webhook. To them a group has resolved when all its alerts have.
    Group,
    /// By nothing: people read each message by itself.
    Nothing,
}

impl IntegrationRef {
    /// An integration that gets every notification.
    pub fn new(name: impl Into<SmolStr>, known_by: KnownBy) -> Self {
        let name = name.into();
        IntegrationRef {
            name,
            send_resolved: true,
            send_updates: true,
            takes_digests: true,
            takes_acknowledgements: false,
            known_by,
            most_alerts: 1_000,
            endpoint: 0,
        }
    }
}

impl Policy {
    /// Whether a receiver has integrations and none of them can show a digest.
    pub fn shows_no_digest(&self, receiver: &str) -> bool {
        let integrations = self.receivers.get(receiver).map_or(&[][..], |r| &r.integrations);
        !integrations.is_empty() && !integrations.iter().any(|i| i.takes_digests)
    }

    /// The receivers that may be notified of an incident at `receiver`: itself and its fallbacks. If the
    /// incident `escalates`, also those that a severity level names, with their fallbacks.
    pub fn reached_from<'a>(&'a self, receiver: &'a SmolStr, escalates: bool) -> BTreeSet<&'a SmolStr> {
        let levels = self.severities.levels.iter().filter(|_| escalates);
        let mut open: Vec<_> = levels.filter_map(|level| level.escalate_to.as_ref()).collect();
        open.push(receiver);
        let mut reached = BTreeSet::new();
        while let Some(next) = open.pop() {
            if reached.insert(next) {
                open.extend(self.receivers.get(next).and_then(|receiver| receiver.fallback.as_ref()));
            }
        }
        reached
    }

    /// The page budget of each receiver that has one. If several routes lead to a receiver, the last one
    /// counts.
    pub fn budgets(&self) -> BTreeMap<SmolStr, Limit> {
        let of = |route: &Route| Some((route.receiver.clone(), self.noise.get(&route.noise)?.budget.clone()));
        self.routes.iter().filter_map(of).filter(|(_, budget)| budget.pages > 0).collect()
    }
}

impl Severities {
    /// The level that `labels` name: [`Self::default`] for a missing or unknown value.
    pub fn level(&self, labels: &LabelSet) -> &Level {
        &self.levels[self.level_of(labels)]
    }

    /// The position of [`Self::level`], 0 = the highest.
    pub fn level_of(&self, labels: &LabelSet) -> usize {
        self.known(labels.value(&self.label)).unwrap_or(self.default)
    }

    /// The position of the level that has this name or alias.
    pub fn known(&self, value: &str) -> Option<usize> {
        let named = |name: &SmolStr| name.eq_ignore_ascii_case(value);
        self.levels.iter().position(|l| named(&l.name) || l.aliases.iter().any(named))
    }
}

impl Route {
    /// A root route with the default times, that groups everything together and stands on `line`.
    pub fn root(receiver: SmolStr, line: u32) -> Self {
        Route {
            key: "{}".into(),
            matchers: Vec::new(),
            continue_: false,
            children: Vec::new(),
            receiver,
            group_by: GroupBy::Labels(Vec::new()),
            group_wait: Duration::ZERO,
            group_interval: Duration::from_secs(15),
            repeat_interval: Duration::from_hours(4),
            noise: "default".into(),
            windows: Windows::default(),
            labels: LabelSet::default(),
            line,
        }
    }
}

impl Default for Severities {
    fn default() -> Self {
        let level = |name: &str, aliases: &[&str], never_hold| Level {
            name: name.into(),
            aliases: aliases.iter().map(|a| (*a).into()).collect(),
            never_hold,
            hold: Duration::ZERO,
            respond_within: None,
            escalate_to: None,
            description: SmolStr::default(),
        };
        Severities {
            label: SEVERITY.into(),
            levels: vec![
                level("critical", &["page", "sev1", "P1"], true),
                level("warning", &[], false),
                level("info", &["none"], false),
            ],
            default: 0,
        }
    }
}

impl Policy {
    /// The routes that `labels` take, in order: depth first, left to right. A node matches if all its
    /// matchers do. After a child matched, its later siblings are tried only if it says `continue`. The
    /// node itself counts if no child matched. Rule: Alertmanager `dispatch/route.go`.
    pub fn matching_routes(&self, labels: &LabelSet) -> Vec<usize> {
        let mut found = Vec::new();
        self.collect(0, labels, &mut found);
        found
    }

    fn collect(&self, at: usize, labels: &LabelSet, found: &mut Vec<usize>) -> bool {
        let route = &self.routes[at];
        if !route.matchers.iter().all(|m| m.matches(labels)) {
            return false;
        }
        let before = found.len();
        for &child in &route.children {
            if self.collect(child, labels, found) && !self.routes[child].continue_ {
                break;
            }
        }
        if found.len() == before {
            found.push(at);
        }
        true
    }

    /// `labels` without `ignore_labels`. It is `None` if there is nothing to remove.
    pub fn telling(&self, labels: &LabelSet) -> Option<LabelSet> {
        let ignored = |name: &str| self.ignore_labels.iter().any(|i| i == name);
        labels.iter().any(|(name, _)| ignored(name)).then(|| labels.filter(|name| !ignored(name)))
    }

    /// The identity of an alert with these labels.
    pub fn identity(&self, labels: &LabelSet) -> crate::model::AlertId {
        crate::model::AlertId::of(labels, |name| self.ignore_labels.iter().any(|i| i == name))
    }

    /// The same, where the identity of the full label set is known: mostly nothing is ignored in it.
    pub fn identity_given(&self, full: crate::model::AlertId, labels: &LabelSet) -> crate::model::AlertId {
        match self.ignore_labels.iter().any(|ignored| !labels.value(ignored).is_empty()) {
            true => self.identity(labels),
            false => full,
        }
    }
}
