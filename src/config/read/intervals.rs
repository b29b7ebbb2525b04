//! `time_intervals`, and the deprecated `mute_time_intervals` beside it.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::config::{Location, Span, TimeInterval, TimeRange};
use crate::settings::section::{Problems, Section, shown};
use crate::settings::yaml::Node;

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// All named intervals. A name may stand in one of the lists only.
pub(super) fn read<'a>(
    lists: impl Iterator<Item = &'a [Node]>,
    problems: &Problems,
) -> BTreeMap<SmolStr, Vec<TimeInterval>> {
    let mut named = BTreeMap::new();
    for node in lists.flatten() {
        let Some(mut keys) = Section::new(node, "time interval", problems) else { continue };
        let name = keys.text("name").filter(|name| !name.text.is_empty());
        let entries = keys.list("time_intervals").unwrap_or_default();
        let sections = entries.iter().filter_map(|e| Section::new(e, "time interval entry", problems));
        let intervals: Vec<TimeInterval> = sections.map(entry).collect();
        match name {
            None => problems.add(keys.line, "time interval has no name. Write name: night or the like"),
            Some(name) => {
                either_or(name.text, &intervals, entries, problems);
                if named.insert(name.text.into(), intervals).is_some() {
                    let message = format!("time interval {} stands twice. Keep one", shown(name.text));
                    problems.add(name.line, message);
                }
            }
        }
        keys.finish();
    }
    named
}

/// Warns of entries that are alternatives. Days in one entry and times in another hold on whole days and at
/// those times of every day. Mostly the author means the times of those days.
fn either_or(name: &str, intervals: &[TimeInterval], entries: &[Node], problems: &Problems) {
    let line = |at: usize| entries.get(at).map_or(0, |entry| entry.line);
    let has_days = |i: &TimeInterval| {
        ![&i.weekdays, &i.days_of_month, &i.months, &i.years].iter().all(|spans| spans.is_empty())
    };
    let days = intervals.iter().position(|i| i.times.is_empty() && has_days(i));
    let times = intervals.iter().position(|i| !i.times.is_empty() && !has_days(i));
    if let Some((days, times)) = days.zip(times) {
        let message = format!(
            "time interval {} holds on the whole of the days on line {}. It also holds at the times on line {} \
             of every day, since its entries are alternatives. Write one entry if both must hold, or give the \
             times their own days",
            shown(name),
            line(days),
            line(times),
        );
        problems.doubt(line(days.max(times)), message);
    }
}

fn entry(mut keys: Section<'_>) -> TimeInterval {
    let interval = TimeInterval {
        times: times(&mut keys),
        weekdays: spans(&mut keys, "weekdays", "days such as monday or monday:friday", weekdays),
        days_of_month: spans(
            &mut keys,
            "days_of_month",
            "days such as 1, 1:7 or -3:-1, the first of a range first",
            days_of_month,
        ),
        months: spans(&mut keys, "months", "months such as may, 5 or june:august", months),
        years: spans(&mut keys, "years", "years such as 2027 or 2027:2030", years),
        location: location(&mut keys),
    };
    keys.finish();
    interval
}

/// `[{start_time: 09:00, end_time: 17:00}]`
fn times(keys: &mut Section<'_>) -> Vec<TimeRange> {
    let Some(nodes) = keys.list("times") else { return Vec::new() };
    not_empty(keys, "times", nodes.len());
    let mut times = Vec::new();
    for node in nodes {
        let Some(mut range) = Section::new(node, "time range", keys.problems) else { continue };
        const RIGHT: &str = "a time from 00:00 to 24:00, as HH:MM";
        let start = range.parsed("start_time", RIGHT, minute);
        let end = range.parsed("end_time", RIGHT, minute);
        if range.node("start_time").is_none() || range.node("end_time").is_none() {
            let message = "time range has no start_time or no end_time. Write both, as HH:MM";
            range.problems.add(range.line, message);
        }
        if let (Some(start), Some(end)) = (start, end) {
            if start >= end {
                let message = "start_time is not before end_time. A range over midnight is two, \
                               one up to 24:00 and one from 00:00";
                range.problems.add(range.line, message);
            }
            times.push(TimeRange { start, end });
        }
        range.finish();
    }
    times
}

pub(super) fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |t: &str| t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= 24 * 60).then_some(minute)
}

fn spans(
    keys: &mut Section<'_>,
    key: &'static str,
    right: &str,
    read: fn(&str, &str) -> Option<Span>,
) -> Vec<Span> {
    let Some(texts) = keys.texts(key) else { return Vec::new() };
    not_empty(keys, key, texts.len());
    let mut spans = Vec::new();
    for text in texts {
        let (from, to) = text.text.split_once(':').unwrap_or((text.text, text.text));
        match read(from, to) {
            Some(span) => {
                if key == "months" && (span.from < 1 || span.to > 12) {
                    let message = format!("months holds {}, and months are 1 to 12", shown(text.text));
                    keys.problems.doubt(text.line, message);
                }
                spans.push(span);
            }
            None => {
                keys.problems.add(text.line, format!("{key} holds {}. Write {right}", shown(text.text)));
            }
        }
    }
    spans
}

/// To Alertmanager an empty list is a condition that nothing meets, which is never the intent.
fn not_empty(keys: &Section<'_>, key: &str, len: usize) {
    if len == 0 {
        let message = format!("{key} is empty, which is no condition. Remove it");
        keys.problems.doubt(keys.line_of(key), message);
    }
}

fn weekdays(from: &str, to: &str) -> Option<Span> {
    let number = |text: &str| {
        let index = WEEKDAYS.iter().position(|day| day.eq_ignore_ascii_case(text))?;
        i16::try_from(index).ok()
    };
    ordered(number(from)?, number(to)?)
}

/// Alertmanager takes every whole number. Those beyond 1 to 12 are no month, so 0 and 13 stand for them.
fn months(from: &str, to: &str) -> Option<Span> {
    let number = |text: &str| match MONTHS.iter().position(|month| month.eq_ignore_ascii_case(text)) {
        Some(index) => i64::try_from(index + 1).ok(),
        None => text.parse().ok(),
    };
    let (from, to) = (number(from)?, number(to)?);
    let bounded = |n: i64| i16::try_from(n.clamp(0, 13)).ok();
    if from <= to { Some(Span { from: bounded(from)?, to: bounded(to)? }) } else { None }
}

fn years(from: &str, to: &str) -> Option<Span> {
    let number = |text: &str| text.parse().ok().filter(|n| (1..=9999).contains(n));
    ordered(number(from)?, number(to)?)
}

/// A range may begin in front and end at the back. One that begins at the back ends there.
fn days_of_month(from: &str, to: &str) -> Option<Span> {
    let number = |text: &str| text.parse().ok().filter(|n: &i16| *n != 0 && (-31..=31).contains(n));
    let (from, to) = (number(from)?, number(to)?);
    if from > 0 && to < 0 {
        // Over both ends Alertmanager measures in a month whose last day is the 29th.
        return (from <= 30 + to).then_some(Span { from, to });
    }
    ordered(from, to).filter(|_| from > 0 || to < 0)
}

fn ordered(from: i16, to: i16) -> Option<Span> {
    (from <= to).then_some(Span { from, to })
}

/// `Local` is resolved here, so that a replay on another machine decides the same. The empty name is UTC, as
/// in Go.
pub(super) fn location(keys: &mut Section<'_>) -> Location {
    let Some(name) = keys.text("location").filter(|name| !name.text.is_empty()) else {
        return Location::default();
    };
    let read = match name.text {
        "Local" => {
            // Without a word from the machine its clock shows UTC.
            let system = jiff::tz::TimeZone::try_system().unwrap_or(jiff::tz::TimeZone::UTC);
            match system.iana_name() {
                Some(local) => Location::named(local).map_err(|e| format!("location is Local, and {e}")),
                None => {
                    let message = "location is Local, and this machine does not say what its time zone is \
                                   called. Write its IANA name, such as Europe/Berlin";
                    Err(message.to_owned())
                }
            }
        }
        name => Location::named(name).map_err(|e| format!("location {e}")),
    };
    read.unwrap_or_else(|message| {
        keys.problems.add(name.line, message);
        Location::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: i16, to: i16) -> Option<Span> {
        Some(Span { from, to })
    }

    #[test]
    fn reads_ranges_as_alertmanager_does() {
        assert_eq!(weekdays("Monday", "friday"), span(1, 5));
        assert_eq!(weekdays("sunday", "sunday"), span(0, 0));
        assert_eq!(weekdays("friday", "monday"), None, "a week does not wrap");
        assert_eq!(weekdays("1", "5"), None);
        assert_eq!(months("june", "8"), span(6, 8));
        assert_eq!(months("0", "1"), span(0, 1));
        assert_eq!(months("13", "13"), span(13, 13));
        assert_eq!(months("-7", "99999"), span(0, 13));
        assert_eq!(months("20", "15"), None, "Alertmanager refuses it");
        assert_eq!(months("december", "january"), None);
        assert_eq!(years("2026", "2030"), span(2026, 2030));
        assert_eq!(years("2030", "2026"), None);
        assert_eq!(days_of_month("1", "31"), span(1, 31));
        assert_eq!(days_of_month("-7", "-1"), span(-7, -1));
        assert_eq!(days_of_month("1", "-1"), span(1, -1));
        for (from, to) in [("0", "1"), ("32", "32"), ("-1", "-7"), ("-5", "5"), ("7", "1"), ("31", "-5")] {
            assert_eq!(days_of_month(from, to), None, "{from}:{to}");
        }
    }

    #[test]
    fn reads_times_as_alertmanager_does() {
        for (text, expected) in [("00:00", 0), ("09:30", 570), ("23:59", 1439), ("24:00", 1440)] {
            assert_eq!(minute(text), Some(expected), "{text}");
        }
        for text in ["24:01", "9:30", "09:60", "0930", "", "25:00", "-1:00", "09:30:00"] {
            assert_eq!(minute(text), None, "{text}");
        }
    }
}
