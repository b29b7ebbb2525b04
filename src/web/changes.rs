//! The last change events from the PagerDuty endpoint. They page no person, and the page of an incident
//! shows those of its time. A restart forgets them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ingest::events::pagerduty::ChangeEvent;
use crate::model::{Duration, Timestamp};

/// So many are kept.
const MOST: usize = 100;
/// A change that happened this long before a page may be its cause.
const BEFORE: Duration = Duration::from_hours(1);

/// The changes, the newest last.
#[derive(Clone, Default)]
pub(super) struct Changes(Arc<Mutex<VecDeque<ChangeEvent>>>);

impl Changes {
    /// Keeps a change, and forgets the oldest one if there are too many.
    pub(super) fn keep(&self, change: ChangeEvent) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.pop_front();
        }
        all.push_back(change);
    }

    /// The changes of the time of an incident that paged at this time, the newest first.
    pub(super) fn since(&self, paged: Timestamp) -> Vec<ChangeEvent> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<ChangeEvent> = all.iter().filter(|c| c.at >= paged - BEFORE).cloned().collect();
        found.sort_by_key(|change| std::cmp::Reverse(change.at));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_changes_of_the_time_are_there() {
        let changes = Changes::default();
        let hour = |n: u64| Timestamp::ZERO + Duration::from_hours(n);
        for n in 0..=100 {
            changes.keep(ChangeEvent {
                at: hour(n),
                summary: n.to_string(),
                source: "".into(),
                links: vec![],
            });
        }
        let found = |at| changes.since(at).into_iter().map(|change| change.summary).collect::<Vec<_>>();
        assert_eq!(found(hour(99)), ["100", "99", "98"]);
        assert_eq!(found(hour(0)).len(), MOST);
        assert_eq!(found(hour(0)).last().map(String::as_str), Some("1"), "the oldest is forgotten");
    }
}
