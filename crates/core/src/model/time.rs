//! A moment, in milliseconds since 1970-01-01T00:00:00Z.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Duration;

/// A moment in milliseconds since the Unix epoch, UTC. Nothing here reads a clock.
///
/// Kept as milliseconds since [`Self::ZERO`], and one, so that a moment that there may be takes no more room
/// than one that there is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(NonZeroU64);

/// A text that is not an RFC 3339 time.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text:?} is not an RFC 3339 time such as 2026-01-31T09:30:00Z")]
pub struct TimeError {
    text: String,
}

/// See [`Timestamp::ZERO`].
const FIRST: i64 = -62_135_596_800_000;
/// See [`Timestamp::MAX`].
const LAST: i64 = 253_402_207_200_000;

/// The epoch.
impl Default for Timestamp {
    fn default() -> Self {
        Timestamp::EPOCH
    }
}

impl Timestamp {
    /// The first moment that can be written: 0001-01-01T00:00:00Z, Go's zero time.
    pub const ZERO: Timestamp = Timestamp::from_millis(FIRST);
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Timestamp = Timestamp::from_millis(0);
    /// The last moment that can be written: 9999-12-30T22:00:00Z.
    pub const MAX: Timestamp = Timestamp::from_millis(LAST);

    /// The moment `ms` milliseconds after the epoch, kept between [`Self::ZERO`] and [`Self::MAX`].
    pub const fn from_millis(ms: i64) -> Self {
        let ms = if ms > LAST { LAST } else { ms };
        let since_first = if ms < FIRST { 0 } else { ms.abs_diff(FIRST) };
        Timestamp(NonZeroU64::MIN.saturating_add(since_first))
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        (self.0.get() - 1).cast_signed() + FIRST
    }

    /// Seconds since the epoch, as metrics want them.
    pub fn as_secs_f64(self) -> f64 {
        self.as_millis() as f64 / 1000.0
    }

    /// Parses RFC 3339 with any offset. It cuts off anything finer than a millisecond.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let parsed: jiff::Timestamp =
            text.parse().map_err(|_| TimeError { text: text.chars().take(64).collect() })?;
        Ok(Self::from_millis(parsed.as_millisecond()))
    }

    /// Parses a time in the forms that senders of alerts and silences write: RFC 3339, and beyond it all that
    /// Alertmanager's parser takes. Without a zone it is UTC. The seconds or the whole time of day may be
    /// missing, and a blank may stand for the `T`. A decimal comma, an hour of one digit and blanks around it
    /// do no harm. Rules: `ParseDateTime` of go-openapi/strfmt, and Go `time.Parse`.
    pub fn parse_as_sent(text: &str) -> Result<Self, TimeError> {
        let error = match Self::parse(text) {
            Ok(time) => return Ok(time),
            Err(error) => error,
        };
        let mut text = text.trim().to_owned();
        // "For ever" as people write it lies a day beyond the range of the time library.
        if text.starts_with("9999-12-3") {
            return Ok(Self::MAX);
        }
        let hour = text.as_bytes().get(11..13);
        if hour.is_some_and(|hour| hour[0].is_ascii_digit() && hour[1] == b':') {
            text.insert(11, '0');
        }
        if let Ok(time) = Self::parse(&text) {
            return Ok(time);
        }
        let local: jiff::civil::DateTime = text.parse().map_err(|_| error.clone())?;
        let time = local.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| error)?;
        Ok(Self::from_millis(time.timestamp().as_millisecond()))
    }

    /// The time from `earlier` to this moment. It is zero if this moment is not later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, rhs: Duration) -> Timestamp {
        Self::from_millis(self.as_millis().saturating_add(i64::try_from(rhs.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Timestamp;

    fn sub(self, rhs: Duration) -> Timestamp {
        Self::from_millis(self.as_millis().saturating_sub(i64::try_from(rhs.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// RFC 3339 in UTC. Milliseconds appear only if they are not zero.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.as_millis()) {
            // With its flags: `{:.3}` is of one width, for a log.
            Ok(t) => fmt::Display::fmt(&t, f),
            Err(_) => write!(f, "{}ms", self.as_millis()),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// RFC 3339 in formats for people, milliseconds in binary formats.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { s.serialize_i64(self.as_millis()) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if !d.is_human_readable() {
            return i64::deserialize(d).map(Timestamp::from_millis);
        }
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        Timestamp::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_rfc_3339() {
        for text in ["2026-11-23T00:16:19Z", "2026-11-23T00:16:19.25Z", "0001-01-01T00:00:00Z"] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
        let offset = Timestamp::parse("2026-11-23T02:16:19.123456789+02:00").unwrap();
        assert_eq!(offset.to_string(), "2026-11-23T00:16:19.123Z");
        assert_eq!(Timestamp::parse("0001-01-01T00:00:00Z").unwrap(), Timestamp::ZERO);
        assert!(Timestamp::parse("yesterday").is_err());
    }

    #[test]
    fn arithmetic_stays_in_range() {
        assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX);
        assert_eq!(Timestamp::ZERO - Duration::from_secs(1), Timestamp::ZERO);
        assert_eq!(Timestamp::ZERO.since(Timestamp::MAX), Duration::ZERO);
    }
}
