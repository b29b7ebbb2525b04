//! Input that cannot be read and keeps coming: what it would have said is lost, so a person must hear.

use crate::engine::Alarm;
use crate::model::{Duration, Timestamp};

/// How often it is looked at.
const EVERY: Duration = Duration::from_mins(1);
/// So many looks in a row that find something are an alarm; it lasts for as long again.
const LOOKS: u32 = 5;

/// Whether input was refused in each of the last minutes.
pub(super) struct InputWatch {
    looked_at: Timestamp,
    count: u64,
    in_a_row: u32,
}

impl InputWatch {
    /// Begins at `now`, when `count` inputs had been refused.
    pub(super) fn new(now: Timestamp, count: u64) -> Self {
        InputWatch { looked_at: now, count, in_a_row: 0 }
    }

    /// Looks if it is time. The alarm, if input was refused in each of the last five minutes.
    pub(super) fn look(&mut self, now: Timestamp, count: u64) -> Option<Alarm> {
        if now < self.looked_at + EVERY {
            return None;
        }
        // After a longer time nobody knows in which minute it was.
        let long = now > self.looked_at + EVERY + EVERY;
        self.in_a_row = if count > self.count && !long { self.in_a_row + 1 } else { 0 };
        (self.looked_at, self.count) = (now, count);
        let lasts = Duration::from_mins(u64::from(LOOKS));
        (self.in_a_row >= LOOKS).then(|| Alarm {
            name: "SquelchInputRefused".into(),
            summary:
                "for 5m alerts or whole requests came that cannot be read; the log says what and from whom"
                    .into(),
            lasts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_keeps_coming_is_an_alarm() {
        let at = |minute: u64| Timestamp::EPOCH + Duration::from_mins(minute);
        let mut watch = InputWatch::new(at(0), 0);
        for minute in 1..5 {
            assert_eq!(watch.look(at(minute), minute), None);
        }
        assert!(watch.look(at(5), 5).is_some());
        assert_eq!(watch.look(at(6), 5), None, "a minute without");
        for minute in 7..11 {
            assert_eq!(watch.look(at(minute), minute), None, "it counts anew");
        }
        assert!(watch.look(at(11), 11).is_some());
        assert_eq!(watch.look(at(30), 99), None, "the thread did not look for long");
    }
}
