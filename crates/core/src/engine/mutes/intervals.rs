//! Mute windows: routes that notify no receiver at some times. Rules: Alertmanager `timeinterval`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::tz::AmbiguousOffset;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::model::{Cause, Timestamp};
use crate::policy::{TimeInterval, Windows};

/// Which named intervals contain the time, at the last look at the clock.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intervals {
    named: BTreeMap<SmolStr, Now>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Now {
    inside: bool,
    /// The time of the next change. `None` if there is none.
    until: Option<Timestamp>,
}

impl Intervals {
    /// Adopts the named intervals, and reads the clock.
    pub(crate) fn adopt(&mut self, now: Timestamp, named: &BTreeMap<SmolStr, Vec<TimeInterval>>) {
        self.named = named.iter().map(|(name, entries)| (name.clone(), Now::at(now, entries))).collect();
    }

    /// Moves the clock on, or sets it if it `was_set`. It returns the names of the intervals that began or
    /// ended.
    pub(crate) fn pass(
        &mut self,
        now: Timestamp,
        was_set: bool,
        named: &BTreeMap<SmolStr, Vec<TimeInterval>>,
    ) -> BTreeSet<SmolStr> {
        let mut changed = BTreeSet::new();
        for (name, old) in &mut self.named {
            if (was_set || old.until.is_some_and(|until| until <= now))
                && let Some(entries) = named.get(name)
            {
                let new = Now::at(now, entries);
                if new.inside != old.inside {
                    changed.insert(name.clone());
                }
                *old = new;
            }
        }
        changed
    }

    /// When to look at the clock next.
    pub(crate) fn next_change(&self) -> Option<Timestamp> {
        self.named.values().filter_map(|now| now.until).min()
    }

    /// Why a route with these windows is muted now, if it is, and when that changes.
    pub(crate) fn muted(&self, windows: &Windows) -> Option<(Cause, Option<Timestamp>)> {
        // A name that the configuration has no more mutes nothing.
        let known = |name: &SmolStr| self.named.get(name).map(|now| (name.clone(), now));
        if let Some((name, now)) = windows.mute.iter().filter_map(known).find(|(_, now)| now.inside) {
            return Some((Cause::MuteInterval { name }, now.until));
        }
        let active: Vec<_> = windows.active.iter().filter_map(known).collect();
        if active.is_empty() || active.iter().any(|(_, now)| now.inside) {
            return None;
        }
        let names = active.iter().map(|(name, _)| name.clone()).collect();
        let until = active.iter().filter_map(|(_, now)| now.until).min();
        Some((Cause::ActiveIntervals { names }, until))
    }
}

impl Now {
    fn at(now: Timestamp, entries: &[TimeInterval]) -> Self {
        Now { inside: contains(entries, now), until: next_change(entries, now) }
    }
}

fn contains(entries: &[TimeInterval], at: Timestamp) -> bool {
    entries.iter().any(|entry| entry.contains(at))
}

/// Entries that meet, as two halves of a night do, are one. After this many seams the search stops and
/// gives a time at which to look again.
const MOST_SEAMS: usize = 1000;

/// The first moment after `after` at which the entries together begin or cease to contain the time. `None`
/// if that never comes.
pub(crate) fn next_change(entries: &[TimeInterval], after: Timestamp) -> Option<Timestamp> {
    let inside = contains(entries, after);
    let mut at = after;
    for _ in 0..MOST_SEAMS {
        at = entries.iter().filter_map(|entry| next_edge(entry, at)).min()?;
        if contains(entries, at) != inside {
            break;
        }
    }
    Some(at)
}

/// Every possible combination of date fields occurs within so many days. 40 years hold each date on each
/// weekday, 29 February among them. A span around a year like 2100 is the exception, and twice that time
/// covers it.
const MOST_DAYS: usize = 81 * 366;

/// The first moment after `after` at which one entry begins or ends.
///
/// Between two steps of the zone's offset, local time runs evenly. An entry can therefore begin or end only
/// at a local midnight, at one of its times, or where the offset steps. The search looks at those moments
/// in order. An hour that is left out has no such moments, and an hour that comes twice has them twice.
fn next_edge(entry: &TimeInterval, after: Timestamp) -> Option<Timestamp> {
    let inside = entry.contains(after);
    let mut date = entry.location.civil(after).date().yesterday().ok()?;
    for _ in 0..MOST_DAYS {
        let (today, before) = (entry.has_date(date), date.yesterday().is_ok_and(|d| entry.has_date(d)));
        if today != before || (today && !entry.times.is_empty()) {
            let edges = edges(entry, date)?;
            let next = edges.into_iter().find(|at| *at > after && entry.contains(*at) != inside);
            if next.is_some() {
                return next;
            }
        }
        date = match next_year(entry, date).filter(|_| !today) {
            Some(later) => later,
            None => date.tomorrow().ok()?,
        };
    }
    None
}

/// The first day of the next year that `entry` names, if it names years and not the one of `date`.
fn next_year(entry: &TimeInterval, date: Date) -> Option<Date> {
    if entry.years.is_empty() || entry.years.iter().any(|s| s.from <= date.year() && date.year() <= s.to) {
        return None;
    }
    let later = entry.years.iter().map(|s| s.from).filter(|year| *year > date.year()).min();
    // A year that never comes again is the last day that can be written.
    Some(later.and_then(|year| Date::new(year, 1, 1).ok()).unwrap_or(Date::MAX))
}

/// The moments at which an entry may begin or end on `date` or the day after, in order.
fn edges(entry: &TimeInterval, date: Date) -> Option<Vec<Timestamp>> {
    let zone = entry.location.zone();
    let mut edges = Vec::new();
    let minutes = entry.times.iter().flat_map(|t| [t.start, t.end]).filter(|m| *m < 24 * 60);
    let minutes: BTreeSet<u16> = minutes.chain([0]).collect();
    for day in [date, date.tomorrow().ok()?] {
        for minute in &minutes {
            let wall = day.at((minute / 60) as i8, (minute % 60) as i8, 0, 0);
            let offsets = match zone.to_ambiguous_timestamp(wall).offset() {
                AmbiguousOffset::Unambiguous { offset } => [offset, offset],
                AmbiguousOffset::Gap { before, after } | AmbiguousOffset::Fold { before, after } => {
                    [before, after]
                }
            };
            edges.extend(offsets.into_iter().filter_map(|offset| offset.to_timestamp(wall).ok()));
        }
    }
    if let (Some(first), Some(last)) = (edges.iter().min().copied(), edges.iter().max().copied()) {
        let steps = zone.following(first).map(|step| step.timestamp());
        edges.extend(steps.take_while(|at| *at <= last));
    }
    edges.sort();
    edges.dedup();
    Some(edges.into_iter().map(|at| Timestamp::from_millis(at.as_millisecond())).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Duration;
    use crate::policy::{Location, Span, TimeRange};

    fn times(location: &str, ranges: &[(u16, u16)]) -> TimeInterval {
        let times = ranges.iter().map(|(start, end)| TimeRange { start: *start, end: *end }).collect();
        TimeInterval { times, location: Location::named(location).unwrap(), ..TimeInterval::default() }
    }

    fn next(entries: &[TimeInterval], after: &str) -> String {
        next_change(entries, Timestamp::parse(after).unwrap()).map(|t| t.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_night_over_midnight_is_one() {
        let night = [times("UTC", &[(0, 360), (1320, 1440)])];
        assert_eq!(next(&night, "2026-11-23T12:00:00Z"), "2026-11-23T22:00:00Z");
        assert_eq!(next(&night, "2026-11-23T22:00:00Z"), "2026-11-24T06:00:00Z");
        let halves = [times("UTC", &[(0, 360)]), times("UTC", &[(1320, 1440)])];
        assert_eq!(next(&halves, "2026-11-23T22:00:00Z"), "2026-11-24T06:00:00Z");
    }

    #[test]
    fn hours_that_are_left_out_or_come_twice() {
        // Berlin, 2026-03-29: 02:00 becomes 03:00 at 01:00 UTC.
        let gap = [times("Europe/Berlin", &[(150, 200)])];
        assert_eq!(next(&gap, "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z", "from 03:00 on the wall");
        assert_eq!(next(&gap, "2026-03-29T01:00:00Z"), "2026-03-29T01:20:00Z");
        let lost = [times("Europe/Berlin", &[(130, 160)])];
        assert_eq!(next(&lost, "2026-03-28T12:00:00Z"), "2026-03-30T00:10:00Z", "it does not come that day");
        // Berlin, 2026-10-25: 03:00 becomes 02:00 at 01:00 UTC.
        let fold = [times("Europe/Berlin", &[(130, 160)])];
        for (after, at) in [
            ("2026-10-24T12:00:00Z", "2026-10-25T00:10:00Z"),
            ("2026-10-25T00:10:00Z", "2026-10-25T00:40:00Z"),
            ("2026-10-25T00:40:00Z", "2026-10-25T01:10:00Z"),
            ("2026-10-25T01:10:00Z", "2026-10-25T01:40:00Z"),
        ] {
            assert_eq!(next(&fold, after), at);
        }
        // Samoa left the 30th of December 2011 out.
        let mut friday = times("Pacific/Apia", &[]);
        friday.days_of_month = vec![Span { from: 29, to: 30 }];
        assert_eq!(next(&[friday], "2011-12-29T12:00:00Z"), "2011-12-30T10:00:00Z");
    }

    #[test]
    fn rare_and_never() {
        let days = |day, month, weekday| TimeInterval {
            days_of_month: vec![Span { from: day, to: day }],
            months: vec![Span { from: month, to: month }],
            weekdays: vec![Span { from: weekday, to: weekday }],
            ..TimeInterval::default()
        };
        assert_eq!(next(&[days(29, 2, 1)], "2026-11-23T12:00:00Z"), "2044-02-29T00:00:00Z");
        assert_eq!(next(&[days(31, 2, 1)], "2026-11-23T12:00:00Z"), "");
        let years = |from, to| TimeInterval { years: vec![Span { from, to }], ..TimeInterval::default() };
        assert_eq!(next(&[years(2400, 2401)], "2026-11-23T12:00:00Z"), "2400-01-01T00:00:00Z");
        assert_eq!(next(&[years(2020, 2026)], "2026-11-23T12:00:00Z"), "2027-01-01T00:00:00Z");
        assert_eq!(next(&[years(2020, 2025)], "2026-11-23T12:00:00Z"), "");
        let mut several = years(2020, 2022);
        several.years.push(Span { from: 2400, to: 2401 });
        assert_eq!(next(&[several], "2026-11-23T12:00:00Z"), "2400-01-01T00:00:00Z");
        let december = TimeInterval { months: vec![Span { from: 12, to: 12 }], ..years(2026, 2027) };
        assert_eq!(next(&[december], "2026-11-23T12:00:00Z"), "2026-12-01T00:00:00Z");
        assert_eq!(next(&[TimeInterval::default()], "2026-11-23T12:00:00Z"), "");
        assert_eq!(next(&[], "2026-11-23T12:00:00Z"), "");
    }

    #[test]
    fn windows_mute_by_either_kind() {
        let named = BTreeMap::from([
            ("night".into(), vec![times("UTC", &[(0, 360)])]),
            ("day".into(), vec![times("UTC", &[(360, 1440)])]),
        ]);
        let mut intervals = Intervals::default();
        let at = |hour: u64| Timestamp::from_millis(0) + Duration::from_hours(hour);
        let windows = |mute: &[&str], active: &[&str]| Windows {
            mute: mute.iter().map(|n| (*n).into()).collect(),
            active: active.iter().map(|n| (*n).into()).collect(),
        };
        intervals.adopt(at(1), &named);
        assert_eq!(intervals.next_change(), Some(at(6)));
        assert_eq!(intervals.muted(&windows(&["day", "night"], &[])).unwrap().1, Some(at(6)));
        assert!(intervals.muted(&windows(&[], &["day"])).is_some());
        assert!(intervals.muted(&windows(&[], &["day", "night"])).is_none());
        assert!(intervals.muted(&windows(&["night"], &["night"])).is_some());
        assert!(intervals.muted(&windows(&["gone"], &["gone"])).is_none());
        assert!(intervals.muted(&Windows::default()).is_none());
        assert_eq!(intervals.pass(at(5), false, &named).len(), 0);
        assert_eq!(intervals.pass(at(6), false, &named).len(), 2);
        assert!(intervals.muted(&windows(&["night"], &[])).is_none());
    }

    proptest! {
        /// Minute by minute, nothing changes before the moment given, and at it, it does.
        #[test]
        fn the_next_change_is_the_first_change(
            zone in prop::sample::select(vec![
                "UTC", "Europe/Berlin", "America/St_Johns", "Africa/Cairo", "Australia/Lord_Howe",
            ]),
            start in 1_740_000_000i64..1_800_000_000,
            ranges in prop::collection::vec((0u16..1440, 1u16..600), 0..3),
            weekdays in prop::collection::vec((0i16..7, 0i16..3), 0..2),
            days in prop::collection::vec((-31i16..=31, 0i16..5), 0..2),
        ) {
            let ranges: Vec<_> = ranges.iter().map(|(s, n)| (*s, (s + n).min(1440))).collect();
            let span = |(from, n): &(i16, i16), most: i16| Span { from: *from, to: (from + n).min(most) };
            let entry = TimeInterval {
                weekdays: weekdays.iter().map(|w| span(w, 6)).collect(),
                days_of_month: days.iter().map(|d| span(d, 31)).collect(),
                ..times(zone, &ranges)
            };
            let start = Timestamp::from_millis(start * 1000);
            let found = next_change(std::slice::from_ref(&entry), start);
            let inside = entry.contains(start);
            let mut at = Timestamp::from_millis(start.as_millis() / 60_000 * 60_000);
            let end = start + Duration::from_hours(24 * 3);
            while at < end {
                at = at + Duration::from_mins(1);
                if entry.contains(at) != inside {
                    prop_assert_eq!(found, Some(at));
                    return Ok(());
                }
            }
            prop_assert!(found.is_none_or(|found| found > at));
        }
    }
}
