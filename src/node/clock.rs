//! Engine time: advances with the boot-time clock, slews towards wall time, never goes back.

use std::sync::{Mutex, PoisonError};

use rustix::time::{ClockId, clock_gettime};

use crate::model::Timestamp;

const NANOS_PER_MILLI: i128 = 1_000_000;

/// Engine time and wall time that differ by less count as the same.
const APART: i64 = 1_000;

/// One part in this many of elapsed time is the most that wall time may pull: 5 %.
const SLEW_DIVISOR: i128 = 20;

/// The readings of the machine's two clocks at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Nanoseconds of `CLOCK_BOOTTIME`. It goes on while the machine is suspended, and it cannot be set.
    pub boot: i128,
    /// Nanoseconds of `CLOCK_REALTIME` since the Unix epoch: may jump either way.
    pub wall: i128,
}

impl Reading {
    /// Asks the kernel.
    pub fn take() -> Reading {
        let nanos = |id| {
            let t = clock_gettime(id);
            i128::from(t.tv_sec) * 1_000_000_000 + i128::from(t.tv_nsec)
        };
        Reading { boot: nanos(ClockId::Boottime), wall: nanos(ClockId::Realtime) }
    }
}

/// The machine's wall clock, for log lines and metrics, never for a decision.
pub fn wall() -> Timestamp {
    wall_of(Reading::take())
}

fn wall_of(reading: Reading) -> Timestamp {
    Timestamp::from_millis(i64::try_from(reading.wall.div_euclid(NANOS_PER_MILLI)).unwrap_or(i64::MAX))
}

/// The arithmetic of engine time. It reads no clock.
///
/// A wall clock that jumps by an hour must neither end every alert nor fire every timer, so only elapsed
/// time counts. Engine time makes up the difference at 5 % of elapsed time at most.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Engine time in nanoseconds since the Unix epoch. It is finer than a millisecond so that slewing over
    /// many short steps loses nothing.
    engine: i128,
    boot: i128,
}

impl Clock {
    /// Starts at wall time, or at `last`, the last journalled time, if that is later.
    pub fn start(last: Timestamp, reading: Reading) -> Clock {
        Clock { engine: reading.wall.max(nanos(last)), boot: reading.boot }
    }

    /// Engine time at `reading`. It is never earlier than any earlier answer. Readings that go back in boot
    /// time count as the same instant.
    pub fn at(&mut self, reading: Reading) -> Timestamp {
        let elapsed = (reading.boot - self.boot).max(0);
        self.boot = self.boot.max(reading.boot);
        self.engine += elapsed;
        let pull = elapsed / SLEW_DIVISOR;
        self.engine += (reading.wall - self.engine).clamp(-pull, pull);
        self.now()
    }

    /// Moves on to `last` if engine time is behind it: a journal that was read again may know a
    /// later time.
    pub fn not_before(&mut self, last: Timestamp) {
        self.engine = self.engine.max(nanos(last));
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.engine.div_euclid(NANOS_PER_MILLI)).unwrap_or(i64::MAX))
    }
}

fn nanos(t: Timestamp) -> i128 {
    i128::from(t.as_millis()) * NANOS_PER_MILLI
}

/// A [`Clock`] with the readings that drive it, shared between the engine's thread and the gate.
pub struct EngineClock {
    read: Box<dyn Fn() -> Reading + Send + Sync>,
    clock: Mutex<Clock>,
}

impl EngineClock {
    /// Engine time driven by the machine's clocks.
    pub fn system() -> EngineClock {
        Self::driven_by(Reading::take)
    }

    /// Engine time driven by `read`, for tests in virtual time.
    pub fn driven_by(read: impl Fn() -> Reading + Send + Sync + 'static) -> EngineClock {
        let clock = Mutex::new(Clock::start(Timestamp::ZERO, read()));
        EngineClock { read: Box::new(read), clock }
    }

    /// Engine time now.
    pub fn now(&self) -> Timestamp {
        // Read inside the lock: two threads must not hand in their readings the other way round.
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        clock.at((self.read)())
    }

    /// Wall time now, which a sender's times are compared with.
    pub fn wall(&self) -> Timestamp {
        wall_of((self.read)())
    }

    /// Wall time as the engine knows it after [`Event::Clocks`](crate::engine::Event::Clocks), to the second:
    /// silences and time intervals follow it.
    pub fn wall_for_mutes(&self) -> Timestamp {
        let ahead = self.ahead();
        Timestamp::from_millis(self.now().as_millis().saturating_sub(ahead))
    }

    /// By how many milliseconds engine time is ahead of wall time, to the second: below 0 if it is behind.
    pub fn ahead(&self) -> i64 {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = (self.read)();
        let ahead = clock.at(reading).as_millis() - wall_of(reading).as_millis();
        ahead / APART * APART
    }

    /// See [`Clock::not_before`].
    pub fn not_before(&self, last: Timestamp) {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).not_before(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Duration;

    const SECOND: i128 = 1_000_000_000;
    const HOUR: i128 = 3600 * SECOND;
    const T0: i128 = 1_800_000_000 * SECOND;

    fn reading(boot: i128, wall: i128) -> Reading {
        Reading { boot, wall: T0 + wall }
    }

    fn at(nanos: i128) -> Timestamp {
        Timestamp::from_millis(i64::try_from((T0 + nanos) / NANOS_PER_MILLI).unwrap())
    }

    #[test]
    fn follows_both_clocks_while_they_agree() {
        let mut clock = Clock::start(Timestamp::ZERO, reading(5 * SECOND, 0));
        for s in 1..100 {
            assert_eq!(clock.at(reading((5 + s) * SECOND, s * SECOND)), at(s * SECOND));
        }
    }

    #[test]
    fn a_jump_forward_is_slewed_at_five_percent_until_made_up() {
        let mut clock = Clock::start(Timestamp::ZERO, reading(0, 0));
        assert_eq!(clock.at(reading(SECOND, SECOND + HOUR)), at(SECOND + SECOND / 20));
        assert_eq!(
            clock.at(reading(101 * SECOND, 101 * SECOND + HOUR)),
            at(101 * SECOND + 101 * SECOND / 20)
        );
        // 20 hours make up one hour, and no more than that.
        assert_eq!(clock.at(reading(20 * HOUR, 21 * HOUR)), at(21 * HOUR));
        assert_eq!(clock.at(reading(30 * HOUR, 31 * HOUR)), at(31 * HOUR));
    }

    #[test]
    fn a_jump_back_slows_time_and_never_turns_it() {
        let mut clock = Clock::start(Timestamp::ZERO, reading(0, 0));
        let mut before = clock.at(reading(0, 0));
        for s in 1..1000 {
            let now = clock.at(reading(s * SECOND, s * SECOND - HOUR));
            assert_eq!(now.since(before), Duration::from_millis(950), "after {s} s");
            before = now;
        }
        assert_eq!(clock.at(reading(20 * HOUR, 19 * HOUR)), at(19 * HOUR));
    }

    #[test]
    fn short_steps_slew_as_much_as_one_long_step() {
        let mut clock = Clock::start(Timestamp::ZERO, reading(0, HOUR));
        let mut now = at(0);
        for ms in 1..=10_000 {
            now = clock.at(reading(ms * NANOS_PER_MILLI, ms * NANOS_PER_MILLI));
        }
        assert_eq!(now, at(HOUR + 9_500_000_000));
    }

    #[test]
    fn a_suspended_machine_wakes_at_the_right_time() {
        let mut clock = Clock::start(Timestamp::ZERO, reading(0, 0));
        assert_eq!(clock.at(reading(8 * HOUR, 8 * HOUR)), at(8 * HOUR));
    }

    #[test]
    fn a_restart_does_not_go_behind_the_journal() {
        let mut clock = Clock::start(at(HOUR), reading(0, 0));
        assert_eq!(clock.at(reading(0, 0)), at(HOUR));
        assert_eq!(clock.at(reading(SECOND, SECOND)), at(HOUR + 950 * NANOS_PER_MILLI));
        let mut clock = Clock::start(at(-HOUR), reading(0, 0));
        assert_eq!(clock.at(reading(0, 0)), at(0));
        clock.not_before(at(2 * HOUR));
        assert_eq!(clock.at(reading(0, 0)), at(2 * HOUR));
        clock.not_before(at(HOUR));
        assert_eq!(clock.at(reading(0, 0)), at(2 * HOUR));
    }

    #[test]
    fn how_far_engine_time_is_ahead_of_wall_time_is_told_to_the_second() {
        let wall = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0));
        let read = std::sync::Arc::clone(&wall);
        let clock = EngineClock::driven_by(move || {
            reading(0, i128::from(read.load(std::sync::atomic::Ordering::Relaxed)) * NANOS_PER_MILLI)
        });
        for (ms, ahead) in [(0, 0), (-999, 0), (-1_000, 1_000), (-600_500, 600_000), (1_500, -1_000)] {
            wall.store(ms, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(clock.ahead(), ahead, "{ms}");
            assert_eq!(clock.wall(), at(i128::from(ms) * NANOS_PER_MILLI));
        }
    }

    #[test]
    fn readings_out_of_order_count_as_one_instant() {
        let mut clock = Clock::start(Timestamp::ZERO, reading(10 * SECOND, 0));
        assert_eq!(clock.at(reading(9 * SECOND, -SECOND)), at(0));
        assert_eq!(clock.at(reading(11 * SECOND, SECOND)), at(SECOND));
    }
}
