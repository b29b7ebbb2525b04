//! How a series fired before: its rate, and whether it fired lately.
//!
//! A series is an alert less the identifiers in its label values (`identifiers.rs`): they do not make an
//! alert new.

use serde::{Deserialize, Serialize};

use crate::engine::damping::decayed;
use crate::engine::fixed::{chance_of_any, surprise};
use crate::engine::pages::identifiers::stable;
use crate::model::{AlertId, Duration, LabelSet, Timestamp};
use crate::policy::{Identifier, Noise, Surprise};

/// What a series that never fired counts as having fired, in thousandths: nothing is impossible.
const UNHEARD: u64 = 50;
/// In what time the count of firings halves by which `surprise` knows the rate of a series.
const SURPRISE_HALF_LIFE: Duration = Duration::from_hours(24);
/// In what time the count of firings halves by which `hold` judges a series.
const HELD_HALF_LIFE: Duration = Duration::from_hours(30 * 24);
/// From this count on, in thousandths, `hold` applies: one firing in the last month.
const HELD_FROM: u64 = 500;

/// The memory of one series at one destination.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Series {
    /// When it fired last.
    last: Option<Timestamp>,
    /// Firings in thousandths, decayed with [`SURPRISE_HALF_LIFE`], at the last start.
    rate: u64,
    /// The same with [`HELD_HALF_LIFE`].
    penalty: u64,
}

/// What a firing is worth, given what its series did before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeriesFiring {
    /// In thousandths of a decade.
    pub(crate) surprise: u64,
    /// Whether the series fired in the last month, so that `hold` applies to it.
    pub(crate) fired_lately: bool,
}

impl Series {
    /// Takes a firing in, and says what it is worth.
    pub(crate) fn fired(&mut self, now: Timestamp, noise: &Noise) -> SeriesFiring {
        let last = self.last.unwrap_or(now);
        let rate = decayed(self.rate, now.since(last), SURPRISE_HALF_LIFE);
        let penalty = decayed(self.penalty, now.since(last), HELD_HALF_LIFE);
        let firing =
            SeriesFiring { surprise: surprise_of(rate, &noise.surprise), fired_lately: penalty >= HELD_FROM };
        self.rate = rate + 1000;
        self.penalty = penalty + 1000;
        self.last = Some(now);
        firing
    }

    /// When nothing of this is worth remembering any more.
    pub(crate) fn forget_at(&self) -> Timestamp {
        let memory = HELD_HALF_LIFE;
        self.last.unwrap_or(Timestamp::ZERO) + memory + memory + memory
    }
}

/// Of one more firing of a series that fired `rate` thousandths lately. Its rate is that count over
/// the mean life of its memory, half-life / ln 2.
fn surprise_of(rate: u64, settings: &Surprise) -> u64 {
    let expected = u128::from(rate + UNHEARD) * u128::from(settings.window.as_millis()) * 10_000;
    surprise(chance_of_any(expected, u128::from(SURPRISE_HALF_LIFE.as_millis()) * 14_427 * 1000))
}

/// The identity of an alert's series, where identifiers of these kinds do not make another one.
pub(crate) fn series_of(labels: &LabelSet, kinds: &[Identifier]) -> AlertId {
    let changes = labels.iter().any(|(_, value)| stable(value, kinds).is_some());
    if !changes {
        return AlertId::of(labels, |_| false);
    }
    let pairs = labels.iter().map(|(n, v)| (n.to_owned(), stable(v, kinds).unwrap_or_else(|| v.to_owned())));
    AlertId::of(&LabelSet::from_pairs(pairs), |_| false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u64) -> Timestamp {
        Timestamp::from_millis(0) + Duration::from_mins(minutes)
    }

    fn noise() -> Noise {
        Noise { surprise: Surprise { page_at: 1750, ..Surprise::default() }, ..Noise::default() }
    }

    #[test]
    fn what_never_fired_surprises_and_what_fires_always_does_not() {
        let (noise, mut series) = (noise(), Series::default());
        assert!(series.fired(at(0), &noise).surprise.abs_diff(3919) <= 2);
        for minute in 1..200 {
            series.fired(at(minute * 5), &noise);
        }
        assert!(series.fired(at(1005), &noise).surprise < 600);
    }

    #[test]
    fn a_series_fired_lately_for_a_month() {
        let (noise, mut series) = (noise(), Series::default());
        let day = 24 * 60;
        let lately =
            [0, 30 * day, 30 * day + 45 * day, 300 * day].map(|m| series.fired(at(m), &noise).fired_lately);
        assert_eq!(lately, [false, true, true, false]);
    }

    #[test]
    fn a_restarted_pod_is_no_new_series_and_another_host_is() {
        let kinds = Noise::default().identifiers;
        let of = |pod: &str| series_of(&LabelSet::from_pairs([("alertname", "A"), ("pod", pod)]), &kinds);
        assert_eq!(of("frontend-579b9bff58-t2dbm"), of("frontend-7c6d5f4b9c-zzx8w"));
        assert_ne!(of("frontend-579b9bff58-t2dbm"), of("cart-579b9bff58-t2dbm"));
        assert_eq!(of("203.0.113.7"), of("203.0.113.8"));
        assert_ne!(of("10.0.0.1:9100"), of("10.0.0.2:9100"));
    }
}
