//! Go's layouts for times: `2006-01-02T15:04:05Z07:00`.
//!
//! Rules: Go `time/format.go`.

use std::fmt::Write;

use jiff::Zoned;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A part of a layout that stands for a part of a time.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Part {
    Month {
        long: bool,
    },
    Weekday {
        long: bool,
    },
    MonthNumber {
        padded: bool,
    },
    /// Padded with this character, if any.
    Day(Option<char>),
    YearDay(char),
    Year {
        long: bool,
    },
    Hour,
    Hour12 {
        padded: bool,
    },
    Minute {
        padded: bool,
    },
    Second {
        padded: bool,
    },
    Noon {
        upper: bool,
    },
    ZoneName,
    Offset {
        zulu: bool,
        colon: bool,
        minutes: bool,
        seconds: bool,
    },
    /// The number of digits behind a point or comma. If not `fixed`, zeros at the end are left out.
    Fraction {
        mark: char,
        digits: usize,
        fixed: bool,
    },
}

/// The first part of a layout: the text before it, the part, and the rest.
fn next(layout: &str) -> Option<(&str, Part, &str)> {
    let starts = layout.char_indices().map(|(at, _)| at);
    for at in starts {
        let rest = &layout[at..];
        // `_2006` is an underscore before a year.
        let (skip, rest) = if rest.starts_with("_2006") { (1, &rest[1..]) } else { (0, rest) };
        if let Some((part, length)) = part(rest) {
            return Some((&layout[..at + skip], part, &rest[length..]));
        }
    }
    None
}

fn part(text: &str) -> Option<(Part, usize)> {
    const OFFSETS: [(&str, bool, bool, bool); 5] = [
        ("070000", false, true, true),
        ("07:00:00", true, true, true),
        ("0700", false, true, false),
        ("07:00", true, true, false),
        ("07", false, false, false),
    ];
    const FIXED: [(&str, Part); 23] = [
        ("January", Part::Month { long: true }),
        ("Jan", Part::Month { long: false }),
        ("Monday", Part::Weekday { long: true }),
        ("Mon", Part::Weekday { long: false }),
        ("MST", Part::ZoneName),
        ("002", Part::YearDay('0')),
        ("01", Part::MonthNumber { padded: true }),
        ("02", Part::Day(Some('0'))),
        ("03", Part::Hour12 { padded: true }),
        ("04", Part::Minute { padded: true }),
        ("05", Part::Second { padded: true }),
        ("06", Part::Year { long: false }),
        ("15", Part::Hour),
        ("1", Part::MonthNumber { padded: false }),
        ("2006", Part::Year { long: true }),
        ("2", Part::Day(None)),
        ("__2", Part::YearDay(' ')),
        ("_2", Part::Day(Some(' '))),
        ("3", Part::Hour12 { padded: false }),
        ("4", Part::Minute { padded: false }),
        ("5", Part::Second { padded: false }),
        ("PM", Part::Noon { upper: true }),
        ("pm", Part::Noon { upper: false }),
    ];
    if let Some(rest) = text.strip_prefix(['-', 'Z']) {
        let found = OFFSETS.into_iter().find(|(form, ..)| rest.starts_with(form));
        let (form, colon, minutes, seconds) = found?;
        let zulu = text.starts_with('Z');
        return Some((Part::Offset { zulu, colon, minutes, seconds }, form.len() + 1));
    }
    if let Some(rest) = text.strip_prefix(['.', ',']) {
        let digit = rest.chars().next().filter(|c| matches!(c, '0' | '9'))?;
        let digits = rest.chars().take_while(|c| *c == digit).count();
        if rest[digits..].starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let mark = if text.starts_with(',') { ',' } else { '.' };
        return Some((Part::Fraction { mark, digits, fixed: digit == '0' }, digits + 1));
    }
    let (form, part) = FIXED.into_iter().find(|(form, _)| text.starts_with(form))?;
    let short_name = matches!(form, "Jan" | "Mon");
    let goes_on = short_name && text[form.len()..].starts_with(|c: char| c.is_ascii_lowercase());
    (!goes_on).then_some((part, form.len()))
}

/// A time in the form of a layout.
pub(super) fn format(at: &Zoned, layout: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(layout.len() + 10), layout);
    while let Some((before, part, after)) = next(rest) {
        out.push_str(before);
        write_part(&mut out, at, part);
        rest = after;
    }
    out.push_str(rest);
    out
}

fn write_part(out: &mut String, at: &Zoned, part: Part) {
    let short = |name: &'static str, long| if long { name } else { &name[..3] };
    let hour12 = match at.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let padded = |out: &mut String, number: i8, padded: bool| {
        let _ = if padded { write!(out, "{number:02}") } else { write!(out, "{number}") };
    };
    match part {
        Part::Month { long } => {
            out.push_str(short(MONTHS[usize::from(at.month().unsigned_abs() - 1) % 12], long));
        }
        Part::Weekday { long } => {
            let day = at.weekday().to_monday_zero_offset().unsigned_abs();
            out.push_str(short(DAYS[usize::from(day) % 7], long));
        }
        Part::MonthNumber { padded: zero } => padded(out, at.month(), zero),
        Part::Day(None) => padded(out, at.day(), false),
        Part::Day(Some('0')) => padded(out, at.day(), true),
        Part::Day(Some(_)) => {
            let _ = write!(out, "{:2}", at.day());
        }
        Part::YearDay(pad) => {
            let _ = match pad {
                '0' => write!(out, "{:03}", at.day_of_year()),
                _ => write!(out, "{:3}", at.day_of_year()),
            };
        }
        Part::Year { long: true } => {
            let _ = write!(out, "{:04}", at.year());
        }
        Part::Year { long: false } => {
            let _ = write!(out, "{:02}", at.year().rem_euclid(100));
        }
        Part::Hour => padded(out, at.hour(), true),
        Part::Hour12 { padded: zero } => padded(out, hour12, zero),
        Part::Minute { padded: zero } => padded(out, at.minute(), zero),
        Part::Second { padded: zero } => padded(out, at.second(), zero),
        Part::Noon { upper } => out.push_str(match (at.hour() < 12, upper) {
            (true, true) => "AM",
            (true, false) => "am",
            (false, true) => "PM",
            (false, false) => "pm",
        }),
        Part::ZoneName => out.push_str(&zone_name(at)),
        Part::Offset { zulu, colon, minutes, seconds } => {
            write_offset(out, at.offset(), zulu, colon, minutes, seconds);
        }
        Part::Fraction { mark, digits, fixed } => {
            let nanos = format!("{:09}", at.subsec_nanosecond());
            let shown: String = nanos.chars().chain(std::iter::repeat('0')).take(digits).collect();
            let shown = if fixed { shown.as_str() } else { shown.trim_end_matches('0') };
            if !shown.is_empty() {
                out.push(mark);
                out.push_str(shown);
            }
        }
    }
}

/// The abbreviation of a zone. One without a name is called by its distance from UTC.
fn zone_name(at: &Zoned) -> String {
    if at.time_zone() == &TimeZone::UTC {
        return "UTC".into();
    }
    if at.time_zone().iana_name().is_some() {
        return at.strftime("%Z").to_string();
    }
    let mut name = String::new();
    write_offset(&mut name, at.offset(), false, false, true, false);
    name
}

fn write_offset(out: &mut String, offset: Offset, zulu: bool, colon: bool, minutes: bool, seconds: bool) {
    let distance = offset.seconds();
    if zulu && distance == 0 {
        out.push('Z');
        return;
    }
    let size = distance.unsigned_abs();
    let mark = if colon { ":" } else { "" };
    let _ = write!(out, "{}{:02}", if distance < 0 { '-' } else { '+' }, size / 3600);
    if minutes {
        let _ = write!(out, "{mark}{:02}", size / 60 % 60);
    }
    if seconds {
        let _ = write!(out, "{mark}{:02}", size % 60);
    }
}

/// Reads a time that a layout describes. UTC where the text names no zone.
pub(super) fn parse(layout: &str, text: &str) -> Result<Zoned, String> {
    let wrong = || format!("parsing time {text:?} as {layout:?}: it does not have this form");
    let mut found = Found::default();
    let (mut layout_rest, mut rest) = (layout, text);
    while let Some((before, part, after)) = next(layout_rest) {
        rest = rest.strip_prefix(before).ok_or_else(wrong)?;
        rest = found.read(part, rest).ok_or_else(wrong)?;
        layout_rest = after;
    }
    rest.strip_prefix(layout_rest).filter(|rest| rest.is_empty()).ok_or_else(wrong)?;
    found.time().ok_or_else(wrong)
}

#[derive(Default)]
struct Found {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    year_day: Option<i16>,
    hour: i8,
    afternoon: Option<bool>,
    minute: i8,
    second: i8,
    nanos: i32,
    offset: Option<i32>,
}

impl Found {
    fn read<'t>(&mut self, part: Part, text: &'t str) -> Option<&'t str> {
        match part {
            Part::Month { long } => {
                let (at, rest) = named(&MONTHS, text, long)?;
                self.month = i8::try_from(at + 1).ok();
                return Some(rest);
            }
            Part::Weekday { long } => return named(&DAYS, text, long).map(|(_, rest)| rest),
            Part::Noon { upper } => {
                let [am, pm] = if upper { ["AM", "PM"] } else { ["am", "pm"] };
                self.afternoon = Some(text.starts_with(pm));
                return text.strip_prefix(am).or_else(|| text.strip_prefix(pm));
            }
            Part::ZoneName => {
                let length = text.bytes().take_while(u8::is_ascii_uppercase).count();
                self.offset = self.offset.or(Some(0));
                return (3..=5).contains(&length).then(|| &text[length..]);
            }
            Part::Offset { zulu, colon, minutes, seconds } => {
                return self.read_offset(text, zulu, colon, minutes, seconds);
            }
            Part::Fraction { digits, fixed, .. } => {
                let Some(behind) = text.strip_prefix(['.', ',']) else {
                    return (!fixed).then_some(text);
                };
                return self.read_fraction(behind, fixed.then_some(digits));
            }
            _ => {}
        }
        let (least, most) = match part {
            Part::Year { long: true } => (4, 4),
            Part::YearDay(_) => (3, 3),
            Part::MonthNumber { padded } | Part::Hour12 { padded } => (1 + usize::from(padded), 2),
            Part::Minute { padded } | Part::Second { padded } => (1 + usize::from(padded), 2),
            Part::Day(_) => (1, 2),
            _ => (2, 2),
        };
        let text = if matches!(part, Part::Day(Some(' ')) | Part::YearDay(' ')) {
            text.trim_start_matches(' ')
        } else {
            text
        };
        let least = if matches!(part, Part::YearDay(' ')) { 1 } else { least };
        let length = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
        let number: i16 = text[..length].parse().ok().filter(|_| length >= least)?;
        let small = i8::try_from(number).ok();
        match part {
            Part::Year { long: true } => self.year = Some(number),
            Part::Year { long: false } => self.year = Some(number + if number >= 69 { 1900 } else { 2000 }),
            Part::YearDay(_) => self.year_day = Some(number),
            Part::MonthNumber { .. } => self.month = small,
            Part::Day(_) => self.day = small,
            Part::Hour | Part::Hour12 { .. } => self.hour = small?,
            Part::Minute { .. } => self.minute = small?,
            _ => self.second = small?,
        }
        let rest = &text[length..];
        let seconds = matches!(part, Part::Second { .. });
        // A fraction may stand behind seconds, with any layout.
        match rest
            .strip_prefix(['.', ','])
            .filter(|behind| seconds && behind.starts_with(|c: char| c.is_ascii_digit()))
        {
            Some(behind) => self.read_fraction(behind, None),
            None => Some(rest),
        }
    }

    fn read_fraction<'t>(&mut self, text: &'t str, digits: Option<usize>) -> Option<&'t str> {
        let length = text.bytes().take_while(u8::is_ascii_digit).count();
        if length == 0 || digits.is_some_and(|digits| digits != length) {
            return None;
        }
        let nanos: String = text[..length].chars().chain(std::iter::repeat('0')).take(9).collect();
        self.nanos = nanos.parse().ok()?;
        Some(&text[length..])
    }

    fn read_offset<'t>(
        &mut self,
        text: &'t str,
        zulu: bool,
        colon: bool,
        minutes: bool,
        seconds: bool,
    ) -> Option<&'t str> {
        if let Some(rest) = text.strip_prefix('Z').filter(|_| zulu) {
            self.offset = Some(0);
            return Some(rest);
        }
        let sign = if text.starts_with('-') { -1 } else { 1 };
        let mut rest = text.strip_prefix(['+', '-'])?;
        let mut offset = 0;
        for (at, unit) in [3600, 60, 1].into_iter().enumerate() {
            let wanted = [true, minutes, seconds].get(at).is_some_and(|wanted| *wanted);
            if !wanted {
                break;
            }
            if at > 0 && colon {
                rest = rest.strip_prefix(':')?;
            }
            let number: i32 = rest.get(..2)?.parse().ok()?;
            offset += number * unit;
            rest = &rest[2..];
        }
        self.offset = Some(sign * offset);
        Some(rest)
    }

    fn time(self) -> Option<Zoned> {
        let hour = match self.afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let time = Time::new(hour, self.minute, self.second, self.nanos).ok()?;
        // Go's year without one is 0, which has 366 days.
        let year = self.year.unwrap_or(0);
        let date = match self.year_day {
            Some(day) => {
                let first = Date::new(year, 1, 1).ok()?;
                first.checked_add(jiff::Span::new().days(day - 1)).ok()?
            }
            None => Date::new(year, self.month.unwrap_or(1), self.day.unwrap_or(1)).ok()?,
        };
        let zone = match self.offset {
            None | Some(0) => TimeZone::UTC,
            Some(seconds) => TimeZone::fixed(Offset::from_seconds(seconds).ok()?),
        };
        DateTime::from_parts(date, time).to_zoned(zone).ok()
    }
}

/// Which of these names a text begins with, and the rest.
fn named<'t>(names: &[&str], text: &'t str, long: bool) -> Option<(usize, &'t str)> {
    names.iter().enumerate().find_map(|(at, name)| {
        let name = if long { name } else { &name[..3] };
        let start = text.get(..name.len())?;
        start.eq_ignore_ascii_case(name).then(|| (at, &text[name.len()..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_write_what_go_writes() {
        let at: Zoned = "2024-03-05T16:07:08.123456789+01:00[Europe/Berlin]".parse().unwrap();
        for (layout, shown) in [
            ("2006-01-02T15:04:05Z07:00", "2024-03-05T16:07:08+01:00"),
            ("Mon, 02 Jan 2006 15:04:05 MST", "Tue, 05 Mar 2024 16:07:08 CET"),
            ("Monday January _2 3:4:5 pm 06", "Tuesday March  5 4:7:8 pm 24"),
            ("02/01/06 03:04PM .000", "05/03/24 04:07PM .123"),
            ("15:04:05.999999999", "16:07:08.123456789"),
            ("15h04 002 __2 _2006", "16h07 065  65 _2024"),
            ("-0700 -07:00 -07 Z0700 Z07", "+0100 +01:00 +01 +0100 +01"),
            ("Month Monthly .5 1", "Month Monthly .8 3"),
            ("größe", "größe"),
        ] {
            assert_eq!(format(&at, layout), shown, "{layout}");
        }
    }

    #[test]
    fn layouts_read_what_go_reads() {
        for (layout, text, shown) in [
            ("2006-01-02", "2024-03-05", "2024-03-05T00:00:00Z"),
            ("2006-01-02T15:04:05Z07:00", "2024-03-05T16:07:08.5+01:00", "2024-03-05T15:07:08.5Z"),
            ("Jan _2 2006 3:04 PM", "Mar  5 2024 4:07 PM", "2024-03-05T16:07:00Z"),
            ("Monday, 2 January 06", "Tuesday, 5 march 24", "2024-03-05T00:00:00Z"),
        ] {
            assert_eq!(parse(layout, text).unwrap().timestamp().to_string(), shown, "{layout}");
        }
        for (layout, text) in
            [("2006-01-02", "2024-3-5"), ("2006", "2024x"), ("15:04", "25:00"), ("2006-01-02", "")]
        {
            assert!(parse(layout, text).is_err(), "{layout} {text}");
        }
    }
}
