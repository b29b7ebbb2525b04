//! Baselines: how often a rule fires by hour of the week, and how that compares with now.
//!
//! Nothing is decided by a baseline. It tells a person whether an incident is usual, and from which numbers.

use jiff::civil::Weekday;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::{DecisionLogError, DecisionQuery, Reader, search};
use crate::config::Location;
use crate::model::{Duration, Matcher, Timestamp};

/// A baseline looks back so many weeks at most.
const WEEKS: u64 = 4;
/// Alerts of a rule that start within this time are one firing of it.
const TOGETHER: Duration = Duration::from_mins(5);
/// The time that is compared: the last twelve hours.
const WINDOW: Duration = Duration::from_hours(12);
/// So many alerts of one rule are read.
const ALERTS: usize = 2_000;
const HOURS: usize = 7 * 24;

/// How often a rule fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// From when on the firings were counted. At most four weeks back.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// The time zone of the hours.
    pub location: String,
    /// How many alerts the rule has in this scope. Of more than 2,000, the others are left out.
    pub alerts: usize,
    /// Firings in the last 12 hours. Alerts that start within five minutes are one firing.
    pub recent: u64,
    /// Firings in the same 12 hours of the earlier weeks, the newest first.
    pub before: Vec<u64>,
    /// All firings by hour of the week: 168 numbers, from Monday 0:00 on.
    pub hours: Vec<u64>,
    /// The comparison as one sentence.
    pub text: String,
}

impl Reader {
    /// The baseline of the alerts that `matchers` match, as of `now`. `also` are starts that the log may not
    /// have yet.
    ///
    /// # Errors
    /// There is no decision log, it cannot be read, or the search takes longer than 5 s.
    pub fn baseline(
        &self,
        matchers: &[Matcher],
        location: &Location,
        now: Timestamp,
        also: &[Timestamp],
    ) -> Result<Baseline, DecisionLogError> {
        self.with(|conn| {
            let (alerts, mut starts) = starts(conn, matchers, now)?;
            starts.extend(also);
            starts.sort_unstable();
            let first: Option<i64> = conn
                .query_row("SELECT at FROM decision ORDER BY id LIMIT 1", [], |row| row.get(0))
                .or_else(|e| match e {
                    rusqlite::Error::QueryReturnedNoRows => Ok(None),
                    e => Err(e),
                })?;
            let known = first.map_or(now, Timestamp::from_millis);
            Ok(compare(&starts, alerts, location, known, now))
        })
    }
}

/// The starts of all occurrences in the time of a baseline, and how many alerts have them.
fn starts(
    conn: &Connection,
    matchers: &[Matcher],
    now: Timestamp,
) -> Result<(usize, Vec<Timestamp>), DecisionLogError> {
    let query = DecisionQuery { matchers: matchers.to_vec(), ..DecisionQuery::default() };
    let alerts = search::alerts(conn, &query)?.unwrap_or_default();
    let from = (now - Duration::from_hours(WEEKS * HOURS as u64) - WINDOW).as_millis();
    let mut read =
        conn.prepare_cached("SELECT DISTINCT starts_at FROM decision WHERE alert = ? AND starts_at >= ?")?;
    let mut starts = Vec::new();
    for alert in alerts.iter().take(ALERTS) {
        let rows = read.query_map([*alert, from], |row| row.get::<_, i64>(0))?;
        for start in rows {
            starts.push(Timestamp::from_millis(start?));
        }
    }
    Ok((alerts.len(), starts))
}

/// Compares the last twelve hours with the same hours of the weeks before. `known` is the first time of which
/// Squelch knows.
fn compare(
    starts: &[Timestamp],
    alerts: usize,
    location: &Location,
    known: Timestamp,
    now: Timestamp,
) -> Baseline {
    let week = Duration::from_hours(HOURS as u64);
    let since = known.max(now - Duration::from_hours(WEEKS * HOURS as u64));
    let mut firings: Vec<Timestamp> = Vec::new();
    for start in starts.iter().filter(|start| **start <= now) {
        // Measured from the first of them, so that a chain of alerts does not become one firing of a day.
        if firings.last().is_none_or(|last| start.since(*last) > TOGETHER) {
            firings.push(*start);
        }
    }
    let count =
        |end: Timestamp| firings.iter().filter(|at| **at > end - WINDOW && **at <= end).count() as u64;
    let ends = (1..=WEEKS).map(|back| now - Duration::from_millis(week.as_millis() * back));
    let before: Vec<u64> = ends.filter(|end| *end - WINDOW >= known).map(count).collect();
    let mut hours = vec![0; HOURS];
    for at in firings.iter().filter(|at| **at >= since) {
        let local = location.civil(*at);
        let day = usize::try_from(local.weekday().since(Weekday::Monday)).unwrap_or(0);
        if let Some(hour) = hours.get_mut(day * 24 + usize::try_from(local.hour()).unwrap_or(0)) {
            *hour += 1;
        }
    }
    let recent = count(now);
    let text = sentence(recent, &before, now.since(since));
    Baseline { since, until: now, location: location.name().to_owned(), alerts, recent, before, hours, text }
}

fn sentence(recent: u64, before: &[u64], known: Duration) -> String {
    let times = match recent {
        0 => "not in the last 12 hours".to_owned(),
        1 => "first time in 12 hours".to_owned(),
        2 => "second time in 12 hours".to_owned(),
        3 => "third time in 12 hours".to_owned(),
        n => format!("{n} times in 12 hours"),
    };
    let (weeks, sum) = (before.len() as u64, before.iter().sum::<u64>());
    let normal = match (weeks, sum) {
        (0, _) => {
            let known = match known.as_millis() / 86_400_000 {
                0 => "Squelch has less than one day of history".to_owned(),
                1 => "Squelch knows the rule for 1 day only".to_owned(),
                days => format!("Squelch knows the rule for {days} days only"),
            };
            return format!("{times}, and {known}");
        }
        (1, 0) => "never a week ago at this time".to_owned(),
        (weeks, 0) => format!("normally never at this time of the week ({weeks} weeks)"),
        (1, sum) => format!("{sum} a week ago at this time"),
        (weeks, sum) => {
            let tenths = sum * 10 / weeks;
            format!("normally {}.{} at this time of the week ({weeks} weeks)", tenths / 10, tenths % 10)
        }
    };
    format!("{times}, {normal}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    /// Saturday.
    fn now() -> Timestamp {
        at("2026-11-28T03:00:00Z")
    }

    fn baseline(starts: &[&str], known: &str) -> Baseline {
        let starts: Vec<Timestamp> = starts.iter().map(|text| at(text)).collect();
        compare(&starts, 1, &Location::default(), at(known), now())
    }

    #[test]
    fn the_third_time_of_a_night_that_is_normally_quiet() {
        let starts = [
            "2026-11-24T12:00:00Z",
            "2026-11-27T22:00:00Z",
            "2026-11-28T01:00:00Z",
            // Four alerts of one firing.
            "2026-11-28T02:55:00Z",
            "2026-11-28T02:56:00Z",
            "2026-11-28T02:58:00Z",
            "2026-11-28T03:00:00Z",
        ];
        let baseline = baseline(&starts, "2026-10-01T00:00:00Z");
        assert_eq!((baseline.recent, &baseline.before[..]), (3, &[0, 0, 0, 0][..]));
        assert_eq!(
            baseline.text,
            "third time in 12 hours, normally never at this time of the week (4 weeks)"
        );
        let by_hour: Vec<(usize, u64)> =
            baseline.hours.iter().copied().enumerate().filter(|(_, n)| *n > 0).collect();
        // Tuesday 12:00, Friday 22:00, Saturday 1:00 and 2:00.
        assert_eq!(by_hour, [(36, 1), (118, 1), (121, 1), (122, 1)]);
    }

    #[test]
    fn a_rule_that_fires_each_week_says_how_often() {
        let starts =
            ["2026-11-14T01:00:00Z", "2026-11-21T01:00:00Z", "2026-11-21T02:00:00Z", "2026-11-28T03:00:00Z"];
        let baseline = baseline(&starts, "2026-11-13T00:00:00Z");
        assert_eq!((baseline.recent, &baseline.before[..]), (1, &[2, 1][..]));
        assert_eq!(baseline.text, "first time in 12 hours, normally 1.5 at this time of the week (2 weeks)");
    }

    #[test]
    fn without_a_week_of_history_there_is_no_comparison() {
        let baseline = baseline(&["2026-11-28T03:00:00Z"], "2026-11-25T00:00:00Z");
        assert_eq!(baseline.before, [0u64; 0]);
        assert_eq!(baseline.text, "first time in 12 hours, and Squelch knows the rule for 3 days only");
        let new = super::sentence(1, &[], Duration::from_hours(2));
        assert_eq!(new, "first time in 12 hours, and Squelch has less than one day of history");
    }
}
