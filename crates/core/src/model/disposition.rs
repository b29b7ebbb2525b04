//! The dispositions of an observation, and the reasons for suppressing it: both are closed sets.

use serde::{Deserialize, Serialize};

/// The final result of one observation at one (route, receiver).
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
    /// It is a repeat.
    Duplicate,
    /// A notification of its incident carried it, or it changed nothing that a human must see.
    Grouped,
    /// It was folded into the storm incident.
    Storm,
    /// Its alert flaps. The incident stays open and says so.
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
    /// Without a statement for too long.
    Stale,
    /// The alert resolves, and no page was sent for it.
    NeverPaged,
}

impl Disposition {
    /// Every disposition, with every reason. Metrics start at zero for each of them.
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
    /// Whether a digest lists it: a page was held back that might have left. The other reasons need no
    /// digest, or are a person's wish.
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
