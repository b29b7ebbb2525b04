//! How many pages a receiver can take: the storm (ISA-18.2), the limit (GCRA) and the budget.
//!
//! Squelch drops nothing here. It merges pages above a limit into one page, or into the storm's incident.

use std::cell::Cell;
use std::num::NonZeroU32;

use governor::clock::FakeRelativeClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use serde::{Deserialize, Serialize};

use crate::model::{Duration, Timestamp};
use crate::policy::{Limit, Storm};

/// The number of remembered would-be pages. A storm needs fewer.
const REMEMBERED: usize = 1000;

/// The recent would-be pages of one receiver.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PageFlow {
    /// Would-be pages, oldest first.
    would_be: Vec<Timestamp>,
    storm: bool,
    /// When the storm began, while there is one.
    #[serde(default)]
    pub(crate) storm_since: Option<Timestamp>,
    /// The limiter's theoretical arrival time, in nanoseconds since 1970.
    tat: u64,
    /// When a merged page left last.
    pub(crate) merged_at: Option<Timestamp>,
    /// Pages that left, for the budget.
    sent: Vec<Timestamp>,
}

impl PageFlow {
    /// Counts a would-be page. Returns how many there were within the window if they are a storm.
    ///
    /// The storm begins with the page that makes more than `start`. It is over once fewer than
    /// [`Storm::end`] would-be pages lie within the window, whether or not another one comes then.
    pub(crate) fn storm(&mut self, now: Timestamp, storm: &Storm) -> Option<usize> {
        let oldest = now - storm.window;
        self.would_be.retain(|at| *at > oldest);
        if self.would_be.len() == REMEMBERED {
            self.would_be.remove(0);
        }
        let lasts = self.storm && self.would_be.len() >= storm.end() as usize;
        if !lasts {
            self.storm_since = None;
        }
        self.would_be.push(now);
        let count = self.would_be.len();
        self.storm = storm.start > 0 && (lasts || count > storm.start as usize);
        self.storm_since = self.storm.then(|| self.storm_since.unwrap_or(now));
        self.storm.then_some(count)
    }

    /// Takes a page's place under the limit, or says when there will be one.
    pub(crate) fn limit(&mut self, now: Timestamp, limit: &Limit) -> Result<(), Timestamp> {
        let Some(quota) = quota(limit) else { return Ok(()) };
        let (clock, state) = (FakeRelativeClock::default(), Tat(Cell::new(self.tat)));
        // Built at zero, so that its stored state counts from 1970 and can be kept.
        let limiter: RateLimiter<NotKeyed, Tat, FakeRelativeClock, NoOpMiddleware<Nanos>> =
            RateLimiter::new(quota, state, clock.clone());
        clock.advance(now.since(Timestamp::from_millis(0)).to_std());
        let answer = limiter.check().map_err(|not| {
            let millis = u64::from(not.earliest_possible()).div_ceil(1_000_000);
            Timestamp::from_millis(millis as i64).max(now + Duration::from_millis(1))
        });
        self.tat = limiter.into_state_store().0.get();
        answer
    }

    /// Counts a page that leaves. It returns true if the page is over the budget of `pages` within `per`.
    pub(crate) fn over_budget(&mut self, now: Timestamp, budget: &Limit) -> bool {
        let oldest = now - budget.per;
        self.sent.retain(|at| *at > oldest);
        if self.sent.len() < REMEMBERED {
            self.sent.push(now);
        }
        budget.pages > 0 && self.sent.len() > budget.pages as usize
    }
}

fn quota(limit: &Limit) -> Option<Quota> {
    let pages = NonZeroU32::new(limit.pages)?;
    let each = limit.per.to_std().checked_div(pages.get())?;
    Quota::with_period(each).map(|quota| quota.allow_burst(pages))
}

/// The limiter's whole state, so that it is the engine's.
struct Tat(Cell<u64>);

impl StateStore for Tat {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let known = Some(self.0.get()).filter(|tat| *tat > 0).map(Nanos::new);
        let (outcome, tat) = f(known)?;
        self.0.set(tat.as_u64());
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000) + Duration::from_secs(seconds)
    }

    #[test]
    fn six_pages_in_ten_minutes_and_then_one_each_hundred_seconds() {
        let (limit, mut flow) = (Limit { pages: 6, per: Duration::from_mins(10) }, PageFlow::default());
        assert!((0..6).all(|_| flow.limit(at(0), &limit).is_ok()));
        assert_eq!(flow.limit(at(0), &limit), Err(at(100)));
        let kept: PageFlow = serde_json::from_slice(&serde_json::to_vec(&flow).unwrap()).unwrap();
        flow = kept;
        assert_eq!(flow.limit(at(99), &limit), Err(at(100)));
        assert_eq!(flow.limit(at(100), &limit), Ok(()));
        assert!(flow.limit(at(101), &limit).is_err());
        assert_eq!(flow.limit(at(0), &Limit { pages: 0, per: Duration::ZERO }), Ok(()));
    }

    #[test]
    fn a_storm_begins_above_ten_and_ends_below_five() {
        let storm = Storm::default();
        let mut flow = PageFlow::default();
        assert!((0..10).all(|s| flow.storm(at(s), &storm).is_none()));
        assert_eq!(flow.storm(at(10), &storm), Some(11));
        assert_eq!(flow.storm(at(605), &storm), Some(6), "five others lie within ten minutes");
        assert_eq!(flow.storm(at(607), &storm), None);
    }

    #[test]
    fn a_storm_is_over_when_its_time_is_whatever_comes_next() {
        let (storm, mut flow) = (Storm { start: 2, ..Storm::default() }, PageFlow::default());
        assert_eq!([0, 1, 2].map(|s| flow.storm(at(s), &storm)), [None, None, Some(3)]);
        assert_eq!(flow.storm(at(18_000), &storm), None);
        assert_eq!(flow.storm_since, None);
    }

    #[test]
    fn the_third_page_of_a_shift_is_over_budget() {
        let (budget, mut flow) = (Limit { pages: 2, per: Duration::from_hours(12) }, PageFlow::default());
        assert_eq!([0, 1, 2].map(|s| flow.over_budget(at(s), &budget)), [false, false, true]);
        assert!(!flow.over_budget(at(50_000), &budget));
    }

    #[test]
    fn a_page_counts_for_the_time_of_the_budget_and_a_budget_of_no_pages_is_none() {
        let (budget, mut flow) = (Limit { pages: 1, per: Duration::from_mins(1) }, PageFlow::default());
        assert_eq!([0, 59, 119, 179].map(|s| flow.over_budget(at(s), &budget)), [false, true, false, false]);
        let none = Limit { pages: 0, ..budget };
        assert!((0..50).all(|_| !flow.over_budget(at(180), &none)));
    }

    #[test]
    fn a_flood_of_pages_is_counted_up_to_a_bound() {
        let (storm, mut flow) = (Storm::default(), PageFlow::default());
        let budget = Limit { pages: 2, per: Duration::from_hours(12) };
        for _ in 0..REMEMBERED {
            flow.storm(at(0), &storm);
            flow.over_budget(at(0), &budget);
        }
        assert_eq!(flow.storm(at(1), &storm), Some(REMEMBERED));
        assert!(flow.over_budget(at(1), &budget));
        assert_eq!((flow.would_be.len(), flow.sent.len()), (REMEMBERED, REMEMBERED));
    }
}
