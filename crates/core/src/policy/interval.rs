//! Time intervals: the wall-clock times at which routes are muted, or active.

use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

use crate::model::Timestamp;

/// One entry of a named interval. All fields must match. A field matches if one of its values does, and an
/// empty field always matches. Rule: Alertmanager `timeinterval/timeinterval.go`, `ContainsTime`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeInterval {
    /// Times of the day.
    pub times: Vec<TimeRange>,
    /// Days of the week, 0 = Sunday.
    pub weekdays: Vec<Span>,
    /// Days of the month: 1 to 31, or -1 (the last) to -31. They are cut to the length of the month.
    pub days_of_month: Vec<Span>,
    /// Months, 1 to 12.
    pub months: Vec<Span>,
    /// Years.
    pub years: Vec<Span>,
    /// Whose wall clock counts. Default UTC.
    pub location: Location,
}

/// From one minute of the day up to another, which is not in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TimeRange {
    /// The first minute, counted from 00:00.
    pub start: u16,
    /// The minute after the last one. 1440 = 24:00.
    pub end: u16,
}

/// Numbers from one to another, both in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Span {
    /// The first.
    pub from: i16,
    /// The last.
    pub to: i16,
}

/// A place by the IANA name of its time zone. The time zone database is compiled in: a file of the machine
/// may change, and a replay must not.
#[derive(Clone)]
pub struct Location {
    name: SmolStr,
    zone: TimeZone,
}

/// A name that is no time zone's.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no time zone. Write an IANA name such as Europe/Berlin, or UTC, or Local")]
pub struct LocationError(String);

impl TimeInterval {
    /// Whether `at` is in it.
    pub fn contains(&self, at: Timestamp) -> bool {
        let local = self.location.civil(at);
        self.has_date(local.date()) && self.has_minute(local)
    }

    /// Whether any time of the day `date` can be in it.
    pub fn has_date(&self, date: Date) -> bool {
        within(&self.years, date.year())
            && within(&self.months, i16::from(date.month()))
            && within(&self.weekdays, i16::from(date.weekday().to_sunday_zero_offset()))
            && (self.days_of_month.is_empty() || self.days_of_month.iter().any(|s| s.has_day_of_month(date)))
    }

    fn has_minute(&self, local: DateTime) -> bool {
        let minute = local.hour() as u16 * 60 + local.minute() as u16;
        self.times.is_empty() || self.times.iter().any(|t| t.start <= minute && minute < t.end)
    }
}

fn within(spans: &[Span], n: i16) -> bool {
    spans.is_empty() || spans.iter().any(|s| s.from <= n && n <= s.to)
}

impl Span {
    /// Counted in days of the calendar: counted in hours, the last days of a month move where the
    /// clocks change.
    fn has_day_of_month(self, date: Date) -> bool {
        let last = i16::from(date.days_in_month());
        let from_start = |n: i16| if n < 0 { last + n + 1 } else { n };
        let (from, to) = (from_start(self.from), from_start(self.to).min(last));
        from <= last && (from..=to).contains(&i16::from(date.day()))
    }
}

impl Location {
    /// The place of an IANA name.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn named(name: &str) -> Result<Self, LocationError> {
        let unknown = |_| LocationError(name.chars().take(64).collect());
        let zone = TimeZoneDatabase::bundled().get(name).map_err(unknown)?;
        Ok(Location { name: zone.iana_name().unwrap_or(name).into(), zone })
    }

    /// Its IANA name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The local time of the place.
    pub fn civil(&self, at: Timestamp) -> DateTime {
        // A Timestamp stays within the range of RFC 3339, which jiff's range contains.
        let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        self.zone.to_datetime(at)
    }

    /// Its time zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

impl Default for Location {
    fn default() -> Self {
        Location { name: "UTC".into(), zone: TimeZone::UTC }
    }
}

impl PartialEq for Location {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Location {}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Serialize for Location {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.name)
    }
}

impl<'de> Deserialize<'de> for Location {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(d)?;
        Location::named(&name).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: i16, to: i16) -> Span {
        Span { from, to }
    }

    #[track_caller]
    fn check(interval: &TimeInterval, at: &str, expected: bool) {
        assert_eq!(interval.contains(Timestamp::parse(at).unwrap()), expected, "{at} in {interval:?}");
    }

    #[test]
    fn times_leave_their_end_out_and_fields_are_anded() {
        let interval = TimeInterval {
            times: vec![TimeRange { start: 0, end: 360 }, TimeRange { start: 1320, end: 1440 }],
            weekdays: vec![span(1, 5)],
            ..TimeInterval::default()
        };
        // 2026-11-23 is a Monday.
        check(&interval, "2026-11-23T00:00:00Z", true);
        check(&interval, "2026-11-23T05:59:59.999Z", true);
        check(&interval, "2026-11-23T06:00:00Z", false);
        check(&interval, "2026-11-23T23:59:59Z", true);
        check(&interval, "2026-11-22T23:00:00Z", false);
        check(&TimeInterval::default(), "2026-11-22T23:00:00Z", true);
    }

    #[test]
    fn days_count_from_the_end_and_are_cut_to_the_month() {
        let days = |from, to| TimeInterval { days_of_month: vec![span(from, to)], ..TimeInterval::default() };
        check(&days(-1, -1), "2026-02-28T12:00:00Z", true);
        check(&days(-1, -1), "2024-02-28T12:00:00Z", false);
        check(&days(-1, -1), "2024-02-29T12:00:00Z", true);
        check(&days(-3, -2), "2026-04-28T00:00:00Z", true);
        check(&days(-3, -2), "2026-04-30T00:00:00Z", false);
        check(&days(30, 31), "2026-02-28T12:00:00Z", false);
        check(&days(20, 31), "2026-02-28T12:00:00Z", true);
        check(&days(-31, -28), "2026-02-01T12:00:00Z", true);
    }

    /// Alertmanager #5447: the month in which the clocks change has as many days as any other.
    #[test]
    fn negative_days_hold_where_the_clocks_change() {
        for (zone, last, before) in [
            ("Europe/Berlin", "2026-03-31T00:30:00+02:00", "2026-03-30T23:30:00+02:00"),
            ("Europe/Berlin", "2026-10-31T23:59:00+01:00", "2026-10-30T23:59:00+01:00"),
            ("America/New_York", "2026-03-31T00:00:00-04:00", "2026-03-30T23:59:00-04:00"),
        ] {
            let location = Location::named(zone).unwrap();
            let days_of_month = vec![span(-1, -1)];
            let interval = TimeInterval { days_of_month, location, ..TimeInterval::default() };
            check(&interval, last, true);
            check(&interval, before, false);
        }
    }

    #[test]
    fn months_years_and_places() {
        let interval = TimeInterval {
            months: vec![span(12, 12), span(1, 2)],
            years: vec![span(2026, 2027)],
            location: Location::named("Pacific/Auckland").unwrap(),
            ..TimeInterval::default()
        };
        check(&interval, "2025-12-31T11:00:00Z", true);
        check(&interval, "2025-12-31T10:59:00Z", false);
        check(&interval, "2026-03-01T00:00:00+13:00", false);
        check(&interval, "2027-12-31T23:59:00+13:00", true);
        let text = serde_json::to_string(&interval).unwrap();
        assert!(text.contains(r#""location":"Pacific/Auckland""#), "{text}");
        assert_eq!(serde_json::from_str::<TimeInterval>(&text).unwrap(), interval);
        assert!(Location::named("Middle/Earth").is_err());
    }
}
