//! Sentences about a decision: what would release it, and what would have been without it.

use super::OtherwiseEntry;
use crate::model::{Disposition, Reason, Timestamp};

/// What would release what was suppressed; nothing where nothing was held.
pub(super) fn release_condition(disposition: Disposition, release: Option<Timestamp>) -> Option<String> {
    let Disposition::Suppressed(reason) = disposition else { return None };
    let what = match reason {
        Reason::Flapping => "released once its penalty falls to reuse_at, or max_hold is over",
        Reason::Silenced => "released when the silence ends",
        Reason::Muted => "released when the time interval, or the route, lets it through",
        Reason::Inhibited => "released when the alert that inhibits it resolves",
        Reason::Storm => "told with the storm's incident; it pages by itself once the storm is over",
        Reason::RateLimited => "released when the receiver has room for a page",
        Reason::Unsurprising => "told with the next page of its group, and in the digest",
        Reason::Recurring => "told with the next page of its group, and in the digest",
        Reason::SelfResolved => "nothing is left to release: it had resolved",
        Reason::Duplicate | Reason::Grouped | Reason::Stale | Reason::NeverPaged => return None,
    };
    Some(match release {
        Some(at) => format!("{what}; due {at}"),
        None => what.to_owned(),
    })
}

/// What would have been without the setting that decided.
pub(super) fn counterfactual(otherwise: &OtherwiseEntry) -> String {
    match otherwise {
        OtherwiseEntry::Page { at } => format!("without this rule it would have paged at {at}"),
        OtherwiseEntry::Update { incident } => {
            let short: String = incident.chars().take(12).collect();
            format!("without this rule it would have been an update of incident {short}")
        }
    }
}
