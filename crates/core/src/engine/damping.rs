//! Flap damping (RFC 2439): a penalty for each change of an alert, which decays with time.
//!
//! Time-decayed, never counted in samples: Alertmanager sends changes, not samples. All in integers,
//! in thousandths of a change, since `powf` differs between platforms and replay must not.

use serde::{Deserialize, Serialize};

use crate::model::{Cause, Duration, Timestamp};
use crate::policy::Flapping;

/// 2^(-i/1024) in units of 2^-63, for i = 0 … 1023.
const DECAY: [u64; 1024] = {
    const STEP: u128 = 9_217_130_834_664_616_069; // floor(2^63 · 2^(-1/1024))
    let mut table = [0u64; 1024];
    let mut value: u128 = 1 << 63;
    let mut i = 0;
    while i < 1024 {
        table[i] = value as u64;
        value = (value * STEP) >> 63;
        i += 1;
    }
    table
};

/// The penalty, in thousandths, that one change of one full history adds.
const CHANGE: u64 = 1000;

/// So many changes of an alert are remembered, for people: how long it fires, and how long it does not.
const REMEMBERED: usize = 24;

/// How one alert flaps at one destination.
#[derive(Default, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Damping {
    /// In thousandths of a change, at the time `at`.
    penalty: u64,
    at: Timestamp,
    /// How often it changed since it was last calm.
    changes: u32,
    /// Since when it counts as flapping.
    flapping: Option<Timestamp>,
    /// When it changed last, since it was last calm: most alerts change once.
    newest: Option<Timestamp>,
    /// The times of its earlier changes, oldest first. With the newest there are at most [`REMEMBERED`].
    recent: Vec<Timestamp>,
}

impl Damping {
    /// Counts `changes` changes at `now`. It returns whether they made the alert begin to flap, if it may
    /// flap.
    ///
    /// The penalty is capped so that it decays to `reuse_at` within `max_hold` (RFC 2439, 4.2).
    pub(crate) fn change(
        &mut self,
        now: Timestamp,
        changes: u32,
        settings: &Flapping,
        may_flap: bool,
    ) -> bool {
        if settings.suppress_at == 0 {
            return false;
        }
        let (before, ceiling) = (self.penalty_at(now, settings), settings.ceiling());
        if before < CHANGE / 10 {
            (self.changes, self.newest, self.recent) = (0, None, Vec::new());
        }
        self.changes = self.changes.saturating_add(changes);
        if let Some(before) = self.newest.replace(now) {
            if self.recent.len() == REMEMBERED - 1 {
                self.recent.remove(0);
            }
            self.recent.push(before);
        }
        self.penalty = (before + CHANGE * u64::from(changes)).min(ceiling);
        self.at = now;
        let begins = may_flap && self.flapping.is_none() && self.penalty >= u64::from(settings.suppress_at);
        if begins {
            self.flapping = Some(now);
        }
        begins
    }

    /// How often the alert changed since it was last calm, if it flaps.
    pub(crate) fn flaps(&self) -> Option<u32> {
        self.flapping.map(|_| self.changes)
    }

    /// Since when it flaps, if it does.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.flapping
    }

    /// How often it changed since it was last calm.
    pub(crate) fn count(&self) -> u32 {
        self.changes
    }

    /// The times of its changes since it last stopped flapping, oldest first, with the newest.
    pub(crate) fn changed_at(&self) -> Vec<Timestamp> {
        self.recent.iter().copied().chain(self.newest).collect()
    }

    /// How long before its newest change it had changed before.
    pub(crate) fn pause(&self) -> Duration {
        match (self.newest, self.recent.last()) {
            (Some(newest), Some(before)) => newest.since(*before),
            _ => Duration::ZERO,
        }
    }

    /// The penalty at `now`, in thousandths.
    pub(crate) fn penalty_at(&self, now: Timestamp, settings: &Flapping) -> u64 {
        decayed(self.penalty, now.since(self.at), settings.half_life)
    }

    /// When the alert stops to count as flapping if it changes no more: the penalty falls to
    /// `reuse_at`, or `max_hold` is over.
    pub(crate) fn reuse_deadline(&self, settings: &Flapping) -> Option<Timestamp> {
        let since = self.flapping?;
        let calm = self.at + time_to_reach(self.penalty, u64::from(Flapping::REUSE_AT), settings.half_life);
        Some(calm.min(since + settings.max_hold()))
    }

    /// Ends flapping. After `max_hold` the penalty stays just short of `suppress_at`: the receiver gets the
    /// true state, and the next change flaps again.
    pub(crate) fn release(&mut self, now: Timestamp, settings: &Flapping) {
        if self.flapping.take().is_some_and(|since| now >= since + settings.max_hold()) {
            self.penalty =
                self.penalty_at(now, settings).min(u64::from(settings.suppress_at.saturating_sub(1)));
            self.at = now;
        }
    }

    /// Why a notification about the flapping alert is withheld.
    pub(crate) fn cause(&self, now: Timestamp, settings: &Flapping) -> Cause {
        Cause::Flapping {
            changes: self.changes,
            penalty: self.penalty_at(now, settings),
            suppress_at: settings.suppress_at,
            reuse_at: Flapping::REUSE_AT,
        }
    }

    /// When nothing of this is worth remembering: the penalty is below a tenth of a change.
    pub(crate) fn forget_at(&self, settings: &Flapping) -> Timestamp {
        self.at + time_to_reach(self.penalty, CHANGE / 10, settings.half_life)
    }
}

/// `penalty` after `elapsed`.
pub(crate) fn decayed(penalty: u64, elapsed: Duration, half_life: Duration) -> u64 {
    let Some(steps) = (u128::from(elapsed.as_millis()) * 1024).checked_div(u128::from(half_life.as_millis()))
    else {
        return 0;
    };
    let halvings = steps / 1024;
    if halvings >= 64 {
        return 0;
    }
    let fraction = u128::from(DECAY[(steps % 1024) as usize]);
    ((u128::from(penalty) * fraction) >> 63 >> halvings) as u64
}

/// The shortest time after which `penalty` has decayed to `goal`. Bisection finds it, since the integer
/// decay is monotone but has no exact inverse.
pub(crate) fn time_to_reach(penalty: u64, goal: u64, half_life: Duration) -> Duration {
    let (mut low, mut high) = (0u64, half_life.as_millis().saturating_mul(64));
    while low < high {
        let middle = low + (high - low) / 2;
        if decayed(penalty, Duration::from_millis(middle), half_life) <= goal {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Duration::from_millis(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Flapping {
        Flapping { suppress_at: 3000, ..Flapping::default() }
    }

    fn minutes(m: u64) -> Timestamp {
        Timestamp::from_millis(0) + Duration::from_mins(m)
    }

    #[test]
    fn halves_each_half_life() {
        for (elapsed, left) in [(0, 4000), (15, 2828), (30, 2000), (60, 1000), (300, 3)] {
            let got = decayed(4000, Duration::from_mins(elapsed), Duration::from_mins(30));
            assert!(got.abs_diff(left) <= 1, "{elapsed} min: {got}");
        }
        assert_eq!(decayed(4000, Duration::from_mins(1), Duration::ZERO), 0);
    }

    #[test]
    fn fourth_change_in_minutes_flaps_and_an_hour_of_calm_ends_it() {
        let (settings, mut damping) = (settings(), Damping::default());
        assert!(!damping.change(minutes(0), 1, &settings, true));
        assert!(!damping.change(minutes(1), 1, &settings, true));
        assert!(!damping.change(minutes(2), 1, &settings, true));
        assert!(damping.change(minutes(3), 1, &settings, true));
        assert!(!damping.change(minutes(4), 1, &settings, true));
        assert_eq!(damping.flaps(), Some(5));
        let reuse = damping.reuse_deadline(&settings).unwrap();
        assert!(damping.penalty_at(reuse, &settings) <= 1000);
        assert!(damping.penalty_at(reuse - Duration::from_secs(10), &settings) > 1000);
        assert_eq!(reuse.since(minutes(4)).as_millis() / 60_000, 67);
        damping.release(reuse, &settings);
        assert_eq!(damping.flaps(), None);
    }

    #[test]
    fn max_hold_bounds_it_and_the_ceiling_bounds_the_penalty() {
        let (settings, mut damping) = (settings(), Damping::default());
        for second in 0..10_000 {
            damping.change(Timestamp::from_millis(second * 1000), 1, &settings, true);
        }
        assert!(damping.penalty_at(damping.at, &settings) <= 256_000);
        let end = damping.reuse_deadline(&settings).unwrap();
        assert!(end.since(Timestamp::from_millis(0)) <= Duration::from_mins(241));
        damping.release(end, &settings);
        assert_eq!(damping.penalty, 2999);
        assert!(damping.change(end, 1, &settings, true), "the next change flaps again");
    }

    #[test]
    fn an_alert_that_was_calm_for_long_counts_its_changes_anew() {
        let (settings, mut damping) = (settings(), Damping::default());
        for minute in [0, 1, 600] {
            damping.change(minutes(minute), 1, &settings, true);
        }
        assert_eq!((damping.count(), damping.changed_at()), (1, vec![minutes(600)]));
        assert_eq!(damping.pause(), Duration::ZERO);
        damping.change(minutes(602), 1, &settings, true);
        assert_eq!((damping.count(), damping.pause()), (2, Duration::from_mins(2)));
    }

    #[test]
    fn it_remembers_the_newest_24_changes_and_since_when_it_flaps() {
        let (settings, mut damping) = (settings(), Damping::default());
        for minute in 0..30 {
            damping.change(minutes(minute), 1, &settings, true);
        }
        assert_eq!(damping.changed_at(), (6..30).map(minutes).collect::<Vec<_>>());
        assert_eq!((damping.flaps(), damping.since()), (Some(30), Some(minutes(3))));
    }

    #[test]
    fn changes_are_counted_anew_once_the_penalty_is_below_a_tenth_of_a_change() {
        let (settings, mut damping) = (settings(), Damping::default());
        damping.change(minutes(0), 1, &settings, true);
        let calm = damping.forget_at(&settings);
        assert_eq!(damping.penalty_at(calm, &settings), CHANGE / 10);
        assert!(damping.penalty_at(calm - Duration::from_secs(10), &settings) > CHANGE / 10);
        damping.change(calm, 1, &settings, true);
        assert_eq!(damping.count(), 2, "a tenth still counts");
        let later = damping.forget_at(&settings) + Duration::from_mins(1);
        damping.change(later, 1, &settings, true);
        assert_eq!(damping.count(), 1);
    }

    #[test]
    fn each_of_several_changes_at_once_adds_to_the_penalty() {
        let (settings, mut damping) = (settings(), Damping::default());
        assert!(!damping.change(minutes(0), 2, &settings, true));
        assert_eq!(damping.penalty_at(minutes(0), &settings), 2 * CHANGE);
        assert!(damping.change(minutes(0), 1, &settings, true));
    }

    #[test]
    fn a_release_before_max_hold_keeps_the_penalty() {
        let (settings, mut damping) = (settings(), Damping::default());
        for minute in 0..4 {
            damping.change(minutes(minute), 1, &settings, true);
        }
        let before = damping.penalty_at(minutes(4), &settings);
        damping.release(minutes(4), &settings);
        assert_eq!((damping.flaps(), damping.penalty_at(minutes(4), &settings)), (None, before));
    }

    #[test]
    fn off_means_off() {
        let (settings, mut damping) =
            (Flapping { suppress_at: 0, ..Flapping::default() }, Damping::default());
        assert!((0..100).all(|_| !damping.change(minutes(0), 1, &settings, true)));
    }
}
