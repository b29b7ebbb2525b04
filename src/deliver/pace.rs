//! How fast an integration may be spoken to: GCRA with a clock that the caller sets.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use crate::receivers::Pace;

/// Nanoseconds since the pacer began, plus one: governor's state reads 0 as "never".
#[derive(Clone, Default, Debug)]
struct SetClock(Arc<AtomicU64>);

impl Clock for SetClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.load(Ordering::Relaxed))
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, SetClock, NoOpMiddleware<Nanos>>;

/// Spaces attempts so that a receiver's own limit is not met.
#[derive(Debug)]
pub struct Pacer {
    origin: Instant,
    clock: SetClock,
    limiter: Option<Limiter>,
}

impl Pacer {
    /// Keeps a pace from `origin` on. Without a pace every attempt may leave.
    pub fn new(pace: Option<Pace>, origin: Instant) -> Self {
        let quota =
            pace.and_then(|pace| Some(Quota::with_period(pace.every)?.allow_burst(count(pace.burst))));
        let clock = SetClock::default();
        clock.0.store(1, Ordering::Relaxed);
        let limiter = quota.map(|quota| RateLimiter::direct_with_clock(quota, clock.clone()));
        Pacer { origin, clock, limiter }
    }

    /// Takes one turn, or says how long until there is one.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        let since = now.saturating_duration_since(self.origin).as_nanos();
        self.clock.0.store(u64::try_from(since).unwrap_or(u64::MAX - 1) + 1, Ordering::Relaxed);
        limiter
            .check()
            .map_err(|not_until| not_until.wait_time_from(self.clock.now()).max(Duration::from_millis(1)))
    }
}

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receivers::Notifier;

    #[test]
    fn pagerduty_takes_a_burst_of_120_and_then_120_a_minute() {
        let start = Instant::now();
        let pacer = Pacer::new(crate::deliver::tests::pagerduty("k").pace(), start);
        for turn in 0..120 {
            assert_eq!(pacer.take(start), Ok(()), "{turn}");
        }
        let wait = pacer.take(start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(500));
        assert_eq!(pacer.take(start + wait), Ok(()));
        assert!(pacer.take(start + wait).is_err());
        let minute_later = start + wait + Duration::from_secs(60);
        let taken = (0..200).filter(|_| pacer.take(minute_later).is_ok()).count();
        assert_eq!(taken, 120);
    }
}
