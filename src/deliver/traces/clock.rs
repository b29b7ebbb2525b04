//! The wall time of the moments of this process.

use crate::model::Timestamp;

/// The wall clock was set if it is off by more.
const DRIFT_NANOS: u128 = 100_000_000;

/// Puts moments of this process into wall time.
pub(super) struct Clock {
    wall: fn() -> Timestamp,
    /// The same moment on both.
    same: (u128, std::time::Instant),
}

impl Clock {
    pub(super) fn new(wall: fn() -> Timestamp) -> Clock {
        Clock { wall, same: (nanos(wall()), std::time::Instant::now()) }
    }

    /// Follows a wall clock that was set.
    pub(super) fn check(&mut self) {
        let now = std::time::Instant::now();
        if self.at(now).abs_diff(nanos((self.wall)())) > DRIFT_NANOS {
            self.same = (nanos((self.wall)()), now);
        }
    }

    /// In nanoseconds since 1970.
    pub(super) fn at(&self, moment: std::time::Instant) -> u128 {
        let (wall, same) = self.same;
        match moment.checked_duration_since(same) {
            Some(later) => wall + later.as_nanos(),
            None => wall.saturating_sub((same - moment).as_nanos()),
        }
    }
}

fn nanos(wall: Timestamp) -> u128 {
    u128::try_from(wall.as_millis()).unwrap_or(0) * 1_000_000
}
