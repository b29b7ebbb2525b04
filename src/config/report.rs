//! The report that a receiver gets for each period.

use jiff::civil::Date;
use jiff::{Span, ToSpan};
use smol_str::SmolStr;

use super::Location;
use crate::model::Timestamp;

/// How often a report is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// On each day.
    Day,
    /// On each Monday.
    Week,
    /// On the first day of each month.
    Month,
}

/// `report`: which receiver gets the report of the last day, week or month, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportSchedule {
    /// The receiver.
    pub receiver: SmolStr,
    /// How often. Default week.
    pub every: Every,
    /// The minute of the day at which it is due. Default 09:00.
    pub at: u16,
    /// Whose wall clock counts. Default UTC.
    pub location: Location,
}

impl ReportSchedule {
    /// The period whose report was due last at `now`: its beginning, and its end, at which it was due. `None`
    /// at the ends of the calendar.
    pub fn last(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let today = self.location.civil(now).date();
        let mut day = match self.every {
            Every::Day => today,
            Every::Week => {
                today.checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days()).ok()?
            }
            Every::Month => today.first_of_month(),
        };
        let step: Span = match self.every {
            Every::Day => 1.day(),
            Every::Week => 1.week(),
            Every::Month => 1.month(),
        };
        if self.due(day)? > now {
            day = day.checked_sub(step).ok()?;
        }
        Some((self.due(day.checked_sub(step).ok()?)?, self.due(day)?))
    }

    fn due(&self, day: Date) -> Option<Timestamp> {
        let time = jiff::civil::time((self.at / 60) as i8, (self.at % 60) as i8, 0, 0);
        // A time that a change of the clock leaves out comes after the change.
        let zoned = day.to_datetime(time).to_zoned(self.location.zone().clone()).ok()?;
        Some(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_due_by_the_clock_on_the_wall() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let location = Location::named("Europe/Zurich").unwrap();
        let last = |every, now: &str| {
            let schedule =
                ReportSchedule { receiver: "a".into(), every, at: 540, location: location.clone() };
            let (since, due) = schedule.last(at(now)).unwrap();
            [since.to_string(), due.to_string()]
        };
        // The clock goes back an hour on 2026-10-25, a Sunday.
        assert_eq!(
            last(Every::Day, "2026-10-25T08:00:00Z"),
            ["2026-10-24T07:00:00Z", "2026-10-25T08:00:00Z"]
        );
        assert_eq!(
            last(Every::Day, "2026-10-25T07:59:59Z"),
            ["2026-10-23T07:00:00Z", "2026-10-24T07:00:00Z"]
        );
        assert_eq!(
            last(Every::Week, "2026-10-28T00:00:00Z"),
            ["2026-10-19T07:00:00Z", "2026-10-26T08:00:00Z"]
        );
        assert_eq!(
            last(Every::Month, "2026-12-01T07:59:00Z"),
            ["2026-10-01T07:00:00Z", "2026-11-01T08:00:00Z"]
        );
    }
}
