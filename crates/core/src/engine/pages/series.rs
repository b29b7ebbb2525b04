//! How often a series fired before.
//!
//! A series is an alert less the identifiers in its label values (`identifiers.rs`): they do not make an
//! alert new.

use serde::{Deserialize, Serialize};

use crate::engine::damping::decayed;
use crate::engine::pages::identifiers::stable;
use crate::model::{AlertId, Duration, LabelSet, Timestamp};
use crate::policy::Noise;

/// The time in which the count of firings halves that says how often a series fires.
const HALF_LIFE: Duration = Duration::from_hours(24);
/// The count, in thousandths, of a series that fires once a day. It is the mean life of a firing in the
/// count, a day divided by ln 2.
const ONCE_A_DAY: u64 = 1_443;
/// A series is new up to so many firings a day, in thousandths: it fired once, 3.6 days ago, or never.
pub(crate) const NEW: u64 = 56;
/// How long a count is remembered after the last firing. A series that fires 5 times a day is new before.
const MEMORY: Duration = Duration::from_hours(8 * 24);
/// The time in which the count of firings halves by which `hold` judges a series.
const HELD_HALF_LIFE: Duration = Duration::from_hours(30 * 24);
/// From this count on, in thousandths, `hold` applies: one firing in the last month.
const HELD_FROM: u64 = 500;
/// How long that count is remembered after the last firing.
const HELD_MEMORY: Duration = Duration::from_hours(90 * 24);

/// The memory of one series at one destination.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Series {
    /// When it fired last.
    last: Option<Timestamp>,
    /// Firings in thousandths, decayed with [`HALF_LIFE`], at the last start.
    count: u64,
    /// The same with [`HELD_HALF_LIFE`].
    penalty: u64,
}

/// The history of a series before it fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Past {
    /// How often the series fires in a day, in thousandths.
    pub(crate) per_day: u64,
    /// Whether it fired in the last month, so that `hold` applies to it.
    pub(crate) fired_lately: bool,
}

impl Past {
    /// Of a series that nothing is remembered of.
    pub(crate) const NONE: Past = Past { per_day: 0, fired_lately: false };
}

impl Series {
    /// Takes a firing in, and returns the past before it.
    pub(crate) fn fired(&mut self, now: Timestamp) -> Past {
        let elapsed = now.since(self.last.unwrap_or(now));
        let count = decayed(self.count, elapsed, HALF_LIFE);
        let penalty = decayed(self.penalty, elapsed, HELD_HALF_LIFE);
        *self = Series { last: Some(now), count: count + 1_000, penalty: penalty + 1_000 };
        Past { per_day: count * 1_000 / ONCE_A_DAY, fired_lately: penalty >= HELD_FROM }
    }

    /// When nothing of this is worth remembering any more, by a profile.
    pub(crate) fn forget_at(&self, noise: &Noise) -> Timestamp {
        let memory = if noise.hold.time.is_zero() { MEMORY } else { HELD_MEMORY };
        self.last.unwrap_or(Timestamp::ZERO) + memory
    }
}

/// The identity of an alert's series.
pub(crate) fn series_of(labels: &LabelSet) -> AlertId {
    if !labels.iter().any(|(_, value)| stable(value).is_some()) {
        return AlertId::of(labels, |_| false);
    }
    let pairs = labels.iter().map(|(n, v)| (n.to_owned(), stable(v).unwrap_or_else(|| v.to_owned())));
    AlertId::of(&LabelSet::from_pairs(pairs), |_| false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60;

    fn at(minutes: u64) -> Timestamp {
        Timestamp::from_millis(0) + Duration::from_mins(minutes)
    }

    #[test]
    fn a_series_is_new_until_it_fires_and_again_after_four_days() {
        let mut series = Series::default();
        let new = [0, 3 * DAY, 6 * DAY, 30 * DAY].map(|m| series.fired(at(m)).per_day <= NEW);
        assert_eq!(new, [true, false, false, true]);
        assert_eq!(Series::default().fired(at(0)), Past::NONE);
    }

    #[test]
    fn the_count_of_a_steady_series_is_its_firings_a_day() {
        for per_day in [1, 5, 24] {
            let mut series = Series::default();
            for n in 0..30 * per_day {
                series.fired(at(n * DAY / per_day));
            }
            let found = series.fired(at(30 * DAY)).per_day;
            assert!(found.abs_diff(per_day * 1_000) <= 500, "{per_day}: {found}");
        }
    }

    #[test]
    fn a_series_fired_lately_for_a_month() {
        let mut series = Series::default();
        let lately = [0, 30 * DAY, 75 * DAY, 300 * DAY].map(|m| series.fired(at(m)).fired_lately);
        assert_eq!(lately, [false, true, true, false]);
    }

    #[test]
    fn a_restarted_pod_is_no_new_series_and_another_host_is() {
        let of = |pod: &str| series_of(&LabelSet::from_pairs([("alertname", "A"), ("pod", pod)]));
        assert_eq!(of("frontend-579b9bff58-t2dbm"), of("frontend-7c6d5f4b9c-zzx8w"));
        assert_ne!(of("frontend-579b9bff58-t2dbm"), of("cart-579b9bff58-t2dbm"));
        assert_ne!(of("203.0.113.7"), of("203.0.113.8"));
        assert_ne!(of("10.0.0.1:9100"), of("10.0.0.2:9100"));
    }
}
