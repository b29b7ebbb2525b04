//! When to try again: an exponential schedule with a jitter that is a function of the attempt.

use std::time::Duration;

use crate::model::{NotificationId, sha256};

/// An exponential schedule: `initial` × 1.5ⁿ, at most `max`, ±50 %. It begins as Alertmanager's does
/// (cenkalti/backoff), and grows to half of its 60 s. A receiver that is back gets a waiting page within
/// 45 s.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The mean wait after the first failure.
    pub initial: Duration,
    /// The mean wait never exceeds this.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { initial: Duration::from_millis(500), max: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// How long to wait after the `failures`-th failure in a row (from 1).
    ///
    /// The jitter comes from the notification and the attempt, so that notifications that failed
    /// together part, and a test knows the schedule.
    pub fn wait(&self, id: NotificationId, failures: u32) -> Duration {
        let mut mean = self.initial.min(self.max);
        for _ in 1..failures.min(64) {
            mean = (mean * 3 / 2).min(self.max);
        }
        let digest = sha256(format!("{}:{failures}", id.0).as_bytes());
        let draw = u32::from(u16::from_be_bytes([digest[0], digest[1]]));
        // 0.5 + draw / 65536, in whole numbers.
        mean.saturating_mul(32_768 + draw) / 65_536
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_by_half_up_to_the_cap_within_the_jitter() {
        let backoff = Backoff::default();
        let mut mean = 0.5f64;
        for failures in 1..200 {
            for id in 0..20 {
                let wait = backoff.wait(NotificationId(id), failures).as_secs_f64();
                assert!(wait >= mean * 0.5 - 1e-6 && wait <= mean * 1.5, "{failures}: {wait} of {mean}");
            }
            mean = (mean * 1.5).min(30.0);
        }
    }

    #[test]
    fn notifications_part_and_the_schedule_is_known() {
        let backoff = Backoff::default();
        let waits: std::collections::BTreeSet<_> =
            (0..50).map(|id| backoff.wait(NotificationId(id), 3)).collect();
        assert!(waits.len() > 45, "{waits:?}");
        assert_eq!(backoff.wait(NotificationId(7), 3), backoff.wait(NotificationId(7), 3));
    }
}
