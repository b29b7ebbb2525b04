//! Unreadable input that keeps coming. Its content is lost, so a person must know.

use crate::engine::Alarm;
use crate::model::{Duration, Problem, Timestamp};

/// How often it is looked at.
const EVERY: Duration = Duration::from_mins(1);
/// This many looks with a finding raise an alarm, if this many minutes lie between the first and the last.
const LOOKS: u32 = 3;
const WITHIN: Duration = Duration::from_mins(4);
/// This time without a finding ends it. Alertmanager sends refused alerts again after `group_interval`,
/// which is 5 minutes by default.
const GAP: Duration = Duration::from_mins(10);

/// Whether input is refused again and again.
pub(super) struct InputWatch {
    looked_at: Timestamp,
    count: u64,
    /// The times of the first and the last finding, and the number of findings.
    found: Option<(Timestamp, Timestamp, u32)>,
}

impl InputWatch {
    /// Begins at `now`, when `count` inputs had been refused.
    pub(super) fn new(now: Timestamp, count: u64) -> Self {
        InputWatch { looked_at: now, count, found: None }
    }

    /// Looks if it is time. The alarm, if input was refused in three minutes or more, over five minutes or
    /// more.
    pub(super) fn look(&mut self, now: Timestamp, count: u64) -> Option<Alarm> {
        if now < self.looked_at + EVERY {
            return None;
        }
        // After a longer time the minute is not known.
        let long = now > self.looked_at + EVERY + EVERY;
        let more = count > self.count && !long;
        (self.looked_at, self.count) = (now, count);
        self.found = self.found.filter(|(_, last, _)| now <= *last + GAP && !long);
        if !more {
            return None;
        }
        let (first, _, looks) = self.found.unwrap_or((now, now, 0));
        self.found = Some((first, now, looks + 1));
        (looks + 1 >= LOOKS && now >= first + WITHIN)
            .then_some(Alarm { problem: Problem::InputRefused { lasted: WITHIN }, lasts: GAP })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u64) -> Timestamp {
        Timestamp::EPOCH + Duration::from_mins(minute)
    }

    /// The minutes from 1 to `last` whose look is an alarm, if input is refused in the minutes `in_`.
    fn alarms(last: u64, in_: &[u64]) -> Vec<u64> {
        let mut watch = InputWatch::new(at(0), 0);
        let count = |minute| in_.iter().filter(|refused| **refused <= minute).count() as u64;
        (1..=last).filter(|minute| watch.look(at(*minute), count(*minute)).is_some()).collect()
    }

    #[test]
    fn only_what_keeps_coming_is_an_alarm() {
        assert_eq!(alarms(9, &[1, 2, 3, 4, 5, 6]), [5, 6]);
        assert_eq!(alarms(30, &[1, 2, 3, 4]), [0; 0]);
        assert_eq!(alarms(30, &[1, 2, 9]), [9]);
        assert_eq!(alarms(60, &[1, 20, 40, 41, 43]), [0; 0], "it counts anew after ten minutes without");
        let mut watch = InputWatch::new(at(0), 0);
        assert!((1..5).all(|minute| watch.look(at(minute), minute).is_none()));
        assert_eq!(watch.look(at(30), 99), None, "the thread did not look for long");
        assert_eq!(watch.look(at(31), 100), None);
    }

    /// A webhook at a wrong path is tried once in each `group_interval`.
    #[test]
    fn what_an_alertmanager_sends_every_five_minutes_is_an_alarm() {
        assert_eq!(alarms(20, &[1, 6, 11, 16]), [11, 16]);
    }
}
