//! What became of an observation, and why.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{AlertId, Cause, LabelSet, Timestamp};

/// What finally became of one observation at one (route, receiver).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// It interrupted a human.
    Page,
    /// It changed an open incident without interrupting.
    Update,
    /// It closed an incident.
    Resolve,
    /// It went nowhere, for the reason named.
    Suppressed(Reason),
}

/// Why an observation was suppressed. A closed set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It repeats what was already known.
    Duplicate,
    /// A notification of its incident carried it, or it changed nothing that a human must see.
    Grouped,
    /// It was folded into the storm incident.
    Storm,
    /// Its alert flaps; the incident stays open and says so.
    Flapping,
    /// It was held, and ended before its hold did.
    SelfResolved,
    /// Its series fires so often that the alert is usual.
    Usual,
    /// Over the receiver's limit.
    RateLimited,
    /// Another alert that fires explains it.
    Inhibited,
    /// A silence matches it.
    Silenced,
    /// A time interval, or a receiver that has no integration, mutes it.
    Muted,
    /// Not heard of for too long.
    Stale,
    /// The resolve of something that nobody was paged for.
    NeverPaged,
}

impl Disposition {
    /// Every disposition, with every reason; for zero-initialised metrics.
    pub const ALL: [Disposition; 15] = {
        use Disposition::{Page, Resolve, Suppressed, Update};
        [
            Page,
            Update,
            Resolve,
            Suppressed(Reason::Duplicate),
            Suppressed(Reason::Grouped),
            Suppressed(Reason::Storm),
            Suppressed(Reason::Flapping),
            Suppressed(Reason::SelfResolved),
            Suppressed(Reason::Usual),
            Suppressed(Reason::RateLimited),
            Suppressed(Reason::Inhibited),
            Suppressed(Reason::Silenced),
            Suppressed(Reason::Muted),
            Suppressed(Reason::Stale),
            Suppressed(Reason::NeverPaged),
        ]
    };

    /// The value of the label `disposition`.
    pub fn as_str(self) -> &'static str {
        match self {
            Disposition::Page => "page",
            Disposition::Update => "update",
            Disposition::Resolve => "resolve",
            Disposition::Suppressed(_) => "suppressed",
        }
    }

    /// The value of the label `reason`: empty unless suppressed.
    pub fn reason(self) -> &'static str {
        match self {
            Disposition::Suppressed(reason) => reason.as_str(),
            Disposition::Page | Disposition::Update | Disposition::Resolve => "",
        }
    }
}

impl Reason {
    /// Whether somebody is to hear of it in a digest: a page was held back that might have left. The
    /// other reasons are no news to anybody, or the doing of a person.
    pub fn is_held_back(self) -> bool {
        match self {
            Reason::Storm | Reason::Flapping | Reason::SelfResolved | Reason::Usual | Reason::RateLimited => {
                true
            }
            Reason::Duplicate
            | Reason::Grouped
            | Reason::Inhibited
            | Reason::Silenced
            | Reason::Muted
            | Reason::Stale
            | Reason::NeverPaged => false,
        }
    }

    /// The value of the label `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Duplicate => "duplicate",
            Reason::Grouped => "grouped",
            Reason::Storm => "storm",
            Reason::Flapping => "flapping",
            Reason::SelfResolved => "self_resolved",
            Reason::Usual => "usual",
            Reason::RateLimited => "rate_limited",
            Reason::Inhibited => "inhibited",
            Reason::Silenced => "silenced",
            Reason::Muted => "muted",
            Reason::Stale => "stale",
            Reason::NeverPaged => "never_paged",
        }
    }
}

/// One line of the accounting: what became of `count` observations of one alert at one route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// When it was decided.
    pub at: Timestamp,
    /// The alert.
    pub alert: AlertId,
    /// The route's key, as in a group key.
    pub route: SmolStr,
    /// The receiver.
    pub receiver: SmolStr,
    /// What became of them.
    pub disposition: Disposition,
    /// Its profile only observes: this is what would have become of them, and nobody was told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observed: bool,
    /// How many observations; 1 except for unchanged repeats.
    pub count: u64,
    /// The incident's `dedup_key`, where there is one.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub incident: SmolStr,
    /// Why.
    pub cause: Cause,
    /// When it would be released or looked at again, where a time is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Timestamp>,
    /// What it rests on, for people who ask why.
    #[serde(default, skip_serializing_if = "Basis::is_empty")]
    pub basis: Basis,
}

/// What a decision rests on. Rows of before there was one read as empty.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Basis {
    /// The setting that decided, as a path in the configuration: `noise.default.flapping`,
    /// `inhibit_rules[0]`, `route {}/{severity="page"}`; or `silence <id>`.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub setting: SmolStr,
    /// The line of the configuration where that stands, from 1; 0 where it stands in no file.
    #[serde(skip_serializing_if = "is_zero")]
    pub line: u32,
    /// The alert's labels; empty where the accounting was told of them within the last day.
    #[serde(skip_serializing_if = "LabelSet::is_empty")]
    pub labels: LabelSet,
    /// When the alert's occurrence started, as its sender said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// The observations are unchanged repeats, the first of them heard then and the last at the
    /// decision's own time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats_since: Option<Timestamp>,
    /// What would have become of it without the setting that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Otherwise>,
}

/// What would have become of an observation without the setting that suppressed it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// It would have paged then.
    Page(Timestamp),
    /// It would have changed the incident of this `dedup_key`, which was open.
    Update(SmolStr),
}

impl Basis {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Basis::default()
    }
}

fn is_zero(line: &u32) -> bool {
    *line == 0
}
