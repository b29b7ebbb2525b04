//! Moments of a history: RFC 3339 in the one form that histories are full of, read without a general parser.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::model::Timestamp;

/// Two times of a notification or a page count as the same if they differ by no more than this, in
/// milliseconds.
pub(super) const SAME_MS: u64 = 1000;

/// A moment in the format of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At(pub(super) Timestamp);

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_str(AtVisitor)
    }
}

struct AtVisitor;

impl Visitor<'_> for AtVisitor {
    type Value = At;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an RFC 3339 time such as 2026-01-31T09:30:00Z")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<At, E> {
        match in_utc(text.as_bytes()) {
            Some(at) => Ok(At(at)),
            None => Timestamp::parse(text).map(At).map_err(E::custom),
        }
    }
}

/// Reads `YYYY-MM-DDTHH:MM:SS[.fraction]Z`. The general parser handles everything else, valid or not.
fn in_utc(text: &[u8]) -> Option<Timestamp> {
    let (head, tail) = text.split_at_checked(19)?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|(i, c)| head[*i] != *c) {
        return None;
    }
    let (year, month, day) = (digits(&head[..4])?, digits(&head[5..7])?, digits(&head[8..10])?);
    let (hour, minute, second) = (digits(&head[11..13])?, digits(&head[14..16])?, digits(&head[17..])?);
    // Days that not every month has, and leap seconds, are left to the general parser.
    if year == 0 || !(1..=12).contains(&month) || !(1..=28).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(Timestamp::from_millis(seconds * 1000 + millis(tail)?))
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |n, c| c.is_ascii_digit().then(|| n * 10 + i64::from(c - b'0')))
}

/// The milliseconds of `Z` or `.25Z`. Finer digits are cut off.
fn millis(tail: &[u8]) -> Option<i64> {
    let fraction = match tail {
        [b'Z'] => return Some(0),
        [b'.', fraction @ .., b'Z'] if (1..=9).contains(&fraction.len()) => fraction,
        _ => return None,
    };
    digits(fraction)?;
    let kept = &fraction[..fraction.len().min(3)];
    Some(digits(kept)? * 10i64.pow(3 - kept.len() as u32))
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar: years that begin in March put the leap
/// day last, so that months have a closed form.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Timestamp, serde_json::Error> {
        serde_json::from_str::<At>(&format!("{text:?}")).map(|at| at.0)
    }

    #[test]
    fn odd_forms_go_to_the_general_parser_and_nonsense_is_refused() {
        for text in ["2024-02-29T23:59:59.9999Z", "2026-11-23T02:16:19+02:00", "0001-01-01T00:00:00Z"] {
            assert_eq!(read(text).unwrap(), Timestamp::parse(text).unwrap(), "{text}");
        }
        for text in ["2023-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "yesterday", ""]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn reads_what_the_general_parser_reads(ms in -62_135_596_800_000i64..253_402_207_200_000) {
            let text = Timestamp::from_millis(ms).to_string();
            proptest::prop_assert_eq!(read(&text).unwrap(), Timestamp::parse(&text).unwrap());
        }
    }
}
