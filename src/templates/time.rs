//! Times and durations of Go: their methods, and how Go writes them.

use std::fmt;

use gotmpl::Value;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};

use super::layout;
use super::value::{Struct, record, text};

const SECONDS: &str = "\u{0}seconds";
const NANOS: &str = "\u{0}nanos";
const ZONE: &str = "\u{0}zone";

/// Go's name of the machine's time zone.
const LOCAL: &str = "Local";

/// How Go writes a time that no layout is given for.
const DEFAULT: &str = "2006-01-02 15:04:05.999999999 -0700 MST";

/// `time.Time`
#[derive(Clone, Debug)]
pub(super) struct GoTime(pub(super) Zoned);

impl GoTime {
    /// A moment in UTC.
    pub(super) fn utc(at: crate::model::Timestamp) -> Self {
        let at = Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
        GoTime(at.to_zoned(TimeZone::UTC))
    }

    /// The time that a value is.
    pub(super) fn of(value: &Value) -> Option<Self> {
        if Struct::of(value) != Some(Struct::Time) {
            return None;
        }
        let number = |name| value.field(name).and_then(Value::as_int);
        let nanos = i32::try_from(number(NANOS)?).ok()?;
        let at = Timestamp::new(number(SECONDS)?, nanos).ok()?;
        Some(GoTime(at.to_zoned(zone(value.field(ZONE)?.as_str()?)?)))
    }

    /// The value of this time.
    pub(super) fn value(&self) -> Value {
        let at = self.0.timestamp();
        let zone = self.0.time_zone();
        let zone = match zone.iana_name() {
            Some(name) => name.to_owned(),
            None if *zone == local() => LOCAL.to_owned(),
            None => self.0.offset().seconds().to_string(),
        };
        let (seconds, nanos) = (at.as_second(), i64::from(at.subsec_nanosecond()));
        // Before 1970 both are negative.
        let fields = [(SECONDS, Value::Int(seconds)), (NANOS, Value::Int(nanos)), (ZONE, text(zone))];
        record(Struct::Time, fields)
    }

    /// This time in another zone.
    pub(super) fn within(&self, zone: TimeZone) -> Self {
        GoTime(self.0.with_time_zone(zone))
    }

    /// From `earlier` until this time.
    pub(super) fn since(&self, earlier: &GoTime) -> GoDuration {
        GoDuration(self.0.timestamp().duration_since(earlier.0.timestamp()))
    }

    /// Whether it is Go's zero time.
    pub(super) fn is_zero(&self) -> bool {
        self.0.timestamp().as_millisecond() == crate::model::Timestamp::ZERO.as_millis()
    }
}

impl fmt::Display for GoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&layout::format(&self.0, DEFAULT))
    }
}

/// The time zone of this machine: `TZ`, or the zone in `/etc/localtime`. A machine that names none has UTC.
pub(super) fn local() -> TimeZone {
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
}

/// A time zone by its name, or by its distance from UTC in seconds.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "" | "UTC" => Some(TimeZone::UTC),
        LOCAL => Some(local()),
        _ => match name.parse::<i32>() {
            Ok(seconds) => Offset::from_seconds(seconds).ok().map(TimeZone::fixed),
            Err(_) => TimeZone::get(name).ok(),
        },
    }
}

/// `time.Duration`
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct GoDuration(pub(super) SignedDuration);

impl GoDuration {
    /// The duration that a value is: one of Go's, or a number of nanoseconds.
    pub(super) fn of(value: &Value) -> Option<Self> {
        if Struct::of(value) != Some(Struct::Duration) {
            return None;
        }
        let number = |name| value.field(name).and_then(Value::as_int);
        let nanos = i32::try_from(number(NANOS)?).ok()?;
        Some(GoDuration(SignedDuration::new(number(SECONDS)?, nanos)))
    }

    /// The value of this duration.
    pub(super) fn value(self) -> Value {
        let (seconds, nanos) = (self.0.as_secs(), i64::from(self.0.subsec_nanos()));
        record(Struct::Duration, [(SECONDS, Value::Int(seconds)), (NANOS, Value::Int(nanos))])
    }

    /// In nanoseconds, as Go counts.
    pub(super) fn nanos(self) -> i64 {
        self.0.as_nanos().clamp(i64::MIN.into(), i64::MAX.into()).try_into().unwrap_or(i64::MAX)
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.nanos();
        let size = nanos.unsigned_abs();
        if size == 0 {
            return f.write_str("0s");
        }
        if nanos < 0 {
            f.write_str("-")?;
        }
        let small = [(1_000, 1, "ns"), (1_000_000, 1_000, "µs"), (1_000_000_000, 1_000_000, "ms")];
        if let Some((_, unit, name)) = small.into_iter().find(|(below, _, _)| size < *below) {
            return write!(f, "{}{name}", decimal(size, unit));
        }
        let seconds = size / 1_000_000_000;
        let rest = decimal(size % 60_000_000_000, 1_000_000_000);
        match (seconds / 3600, seconds / 60 % 60) {
            (0, 0) => write!(f, "{rest}s"),
            (0, minutes) => write!(f, "{minutes}m{rest}s"),
            (hours, minutes) => write!(f, "{hours}h{minutes}m{rest}s"),
        }
    }
}

/// A number of units, without zeros at its end.
fn decimal(number: u64, unit: u64) -> String {
    let (whole, part) = (number / unit, number % unit);
    if part == 0 {
        return whole.to_string();
    }
    let digits = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{part:0digits$}").trim_end_matches('0'))
}

/// A number of seconds as people say it, by the rules of Prometheus' `humanizeDuration`.
pub(super) fn humanize(seconds: f64) -> String {
    if !seconds.is_finite() {
        return if seconds.is_nan() {
            "NaN"
        } else if seconds > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        }
        .to_owned();
    }
    if seconds == 0.0 {
        return "0s".into();
    }
    let size = seconds.abs();
    if size >= 1.0 {
        let sign = if seconds < 0.0 { "-" } else { "" };
        let whole = size as u64;
        let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
        let rest = whole % 60;
        return match (days, hours, minutes) {
            (0, 0, 0) => format!("{sign}{}s", four_digits(size)),
            (0, 0, _) => format!("{sign}{minutes}m {rest}s"),
            (0, _, _) => format!("{sign}{hours}h {minutes}m {rest}s"),
            _ => format!("{sign}{days}d {hours}h {minutes}m {rest}s"),
        };
    }
    let (mut small, mut prefix) = (seconds, "");
    for name in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if small.abs() >= 1.0 {
            break;
        }
        prefix = name;
        small *= 1000.0;
    }
    format!("{}{prefix}s", four_digits(small))
}

/// Four significant digits of a number between 1 and 1,000.
fn four_digits(number: f64) -> String {
    let places = match number.abs() {
        size if size < 10.0 => 3,
        size if size < 100.0 => 2,
        _ => 1,
    };
    let text = format!("{number:.places$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanos, shown) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (2_000_000, "2ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (-3_661_500_000_000, "-1h1m1.5s"),
            (360_000_000_000_000, "100h0m0s"),
        ] {
            assert_eq!(GoDuration(SignedDuration::from_nanos(nanos)).to_string(), shown);
        }
        for (seconds, shown) in [
            (0.0, "0s"),
            (1.0, "1s"),
            (59.12345, "59.12s"),
            (60.0, "1m 0s"),
            (3_661.0, "1h 1m 1s"),
            (-90_061.0, "-1d 1h 1m 1s"),
            (0.1, "100ms"),
            (0.000_012_345, "12.35us"),
        ] {
            assert_eq!(humanize(seconds), shown);
        }
    }

    #[test]
    fn a_time_keeps_its_zone_as_a_value() {
        let zero = GoTime::utc(crate::model::Timestamp::ZERO);
        assert_eq!(zero.to_string(), "0001-01-01 00:00:00 +0000 UTC");
        assert!(GoTime::of(&zero.value()).unwrap().is_zero());
        let at = GoTime::utc(crate::model::Timestamp::from_millis(1_700_000_000_500));
        for (name, shown) in [
            ("Europe/Berlin", "2023-11-14 23:13:20.5 +0100 CET"),
            ("3600", "2023-11-14 23:13:20.5 +0100 +0100"),
            ("UTC", "2023-11-14 22:13:20.5 +0000 UTC"),
        ] {
            let there = at.within(zone(name).unwrap());
            assert_eq!(GoTime::of(&there.value()).unwrap().to_string(), shown);
        }
        assert!(zone("Nowhere/Land").is_none());
    }
}
