//! How a series fired before: its rate, its rhythm, and how familiar it is.
//!
//! A series is an alert less the identifiers in its label values (`identifiers.rs`): they do not make an
//! alert new.

use serde::{Deserialize, Serialize};

use super::damping::decayed;
use super::fixed::{ONE, chance_of_any, multiply, surprise};
use super::identifiers::stable;
use crate::model::{AlertId, LabelSet, Timestamp};
use crate::policy::{Identifier, Noise, Rhythm, Surprise};

/// So many starts are remembered of a series.
const STARTS: usize = 64;
/// So many lengths are tried as a beat, the shortest first.
const BEATS_TRIED: u64 = 6;
/// So far back is a rhythm followed.
const BEATS_FOLLOWED: u32 = 8;
/// What a series that never fired counts as having fired, in thousandths: nothing is impossible.
const UNHEARD: u64 = 50;

/// The memory of one series at one lane.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Series {
    /// Starts, oldest first; at most [`STARTS`].
    starts: Vec<Timestamp>,
    /// Firings in thousandths, decayed with the half-life of surprise, at the last start.
    rate: u64,
    /// The same with the half-life of familiarity.
    penalty: u64,
}

/// What a firing is worth, given what its series did before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Firing {
    /// In thousandths of a decade.
    pub(super) surprise: u64,
    /// The beat that it continues, in milliseconds, if it continues a rhythm.
    pub(super) beat: Option<u64>,
    /// When the series fired last.
    pub(super) last: Option<Timestamp>,
    /// How familiar the series was, in thousandths of a firing.
    pub(super) penalty: u64,
}

impl Series {
    /// Takes a firing in, and says what it is worth.
    pub(super) fn fired(&mut self, now: Timestamp, noise: &Noise) -> Firing {
        let last = self.starts.last().copied().unwrap_or(now);
        let rate = decayed(self.rate, now.since(last), noise.surprise.half_life);
        let penalty = decayed(self.penalty, now.since(last), noise.familiar.half_life);
        let firing = Firing {
            surprise: surprise_of(rate, &noise.surprise),
            beat: self.beat(now, &noise.rhythm),
            last: self.starts.last().copied(),
            penalty,
        };
        self.rate = rate + 1000;
        self.penalty = penalty + 1000;
        if self.starts.len() == STARTS {
            self.starts.remove(0);
        }
        self.starts.push(now);
        firing
    }

    /// When nothing of this is worth remembering any more.
    pub(super) fn forget_at(&self, noise: &Noise) -> Timestamp {
        let memory = noise.rhythm.max.max(noise.familiar.half_life).max(noise.surprise.half_life);
        let memory = memory.max(noise.recurring_after);
        let last = self.starts.last().copied().unwrap_or(Timestamp::ZERO);
        last + memory + memory + memory
    }

    /// Whether a start at `now` is one more beat of a regular rhythm: the series started one length
    /// ago, two lengths ago and so on, and a series of its rate would hardly do so by chance.
    fn beat(&self, now: Timestamp, rhythm: &Rhythm) -> Option<u64> {
        if rhythm.chance == 0 {
            return None;
        }
        let span = now.since(*self.starts.first()?).as_millis().max(1);
        let lengths = self.starts.iter().rev().map(|start| now.since(*start).as_millis());
        let lengths = lengths.skip_while(|l| *l < rhythm.min.as_millis());
        for length in lengths.take_while(|l| *l <= rhythm.max.as_millis()).take(BEATS_TRIED as usize) {
            let tolerance = rhythm.tolerance.as_millis() + length / 100;
            let beats = self.follow(now, length, tolerance);
            if beats < 2 {
                continue;
            }
            let hits = u128::from(2 * tolerance) * self.starts.len() as u128;
            let one = chance_of_any(hits, u128::from(span));
            let all = (1..beats).fold(ONE, |all, _| multiply(all, one));
            if BEATS_TRIED * all * 1000 < u64::from(rhythm.chance) * ONE {
                return Some(length);
            }
        }
        None
    }

    /// How many beats of `length` back from `now` there was a start.
    fn follow(&self, now: Timestamp, length: u64, tolerance: u64) -> u32 {
        let (mut beats, mut expected) = (1, now.as_millis() - 2 * length as i64);
        while beats < BEATS_FOLLOWED {
            let after = self.starts.partition_point(|s| s.as_millis() < expected);
            let near = [after.checked_sub(1), Some(after)];
            let near = near.into_iter().flatten().filter_map(|i| self.starts.get(i));
            let Some(hit) = near.min_by_key(|s| s.as_millis().abs_diff(expected)) else { break };
            if hit.as_millis().abs_diff(expected) > tolerance {
                break;
            }
            beats += 1;
            expected = hit.as_millis() - length as i64;
        }
        beats
    }
}

/// Of one more firing of a series that fired `rate` thousandths lately. Its rate is that count over
/// the mean life of its memory, half-life / ln 2.
fn surprise_of(rate: u64, settings: &Surprise) -> u64 {
    let expected = u128::from(rate + UNHEARD) * u128::from(settings.window.as_millis()) * 10_000;
    surprise(chance_of_any(expected, u128::from(settings.half_life.as_millis()) * 14_427 * 1000))
}

/// The identity of an alert's series, where identifiers of these kinds do not make another one.
pub(super) fn series_of(labels: &LabelSet, kinds: &[Identifier]) -> AlertId {
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
    use crate::model::Duration;

    fn at(minutes: u64) -> Timestamp {
        Timestamp::from_millis(0) + Duration::from_mins(minutes)
    }

    fn noise() -> Noise {
        let rhythm = Rhythm { chance: 100, ..Rhythm::default() };
        Noise { rhythm, surprise: Surprise { page_at: 1750, ..Surprise::default() }, ..Noise::default() }
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
    fn an_hourly_job_beats_and_a_random_series_does_not() {
        let (noise, mut series) = (noise(), Series::default());
        let beats: Vec<_> = (0..8).map(|hour| series.fired(at(60 * hour), &noise).beat).collect();
        assert_eq!(beats[..2], [None, None], "two starts are no rhythm");
        assert_eq!(beats[7], Some(3_600_000));
        let mut random = Series::default();
        let starts = [3, 50, 171, 222, 340, 391, 533, 601, 777];
        assert!(starts.iter().all(|m| random.fired(at(*m), &noise).beat.is_none()));
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
