//! The result of a backtest, as numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};
use smol_str::SmolStr;

use super::Replayed;
use super::compare::Comparison;
use super::told::Telling;
use crate::model::{Disposition, Duration, Kind, LabelSet, Timestamp};

/// Alertnames that are counted one by one. Further ones count under [`OTHERS`].
const ALERTNAMES: usize = 10_000;

/// The name under which further alerts count.
pub(super) const OTHERS: &str = "(others)";

const HOUR: i64 = 3_600_000;

/// The whole report. `backtest -o json` serialises it unchanged.
#[derive(Debug, Serialize)]
pub struct BacktestReport {
    /// The events that were read.
    pub history: HistorySpan,
    /// The configuration on trial.
    #[serde(flatten)]
    pub trial: BacktestSide,
    /// The other configuration, and the differences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

/// The result of one configuration on the history.
#[derive(Debug, Serialize)]
pub struct BacktestSide {
    /// The file, as people name it.
    pub file: String,
    /// The result, in a sentence.
    pub verdict: String,
    /// Pages if every firing paged.
    pub every_firing: PageTally,
    /// The notifications of an Alertmanager with the same file: see [`Alertmanager`](super::Alertmanager).
    pub alertmanager: Grouped,
    /// The notifications of Squelch.
    pub squelch: NotificationTally,
    /// There are more firings than can be judged: the figures by severity leave some out.
    pub truncated: bool,
}

/// The other configuration.
#[derive(Debug, Serialize)]
pub struct Against {
    /// Its result on the history.
    #[serde(flatten)]
    pub side: BacktestSide,
    /// The differences, as seen from it.
    pub difference: Comparison,
}

/// The notifications of Alertmanager for its groups.
#[derive(Debug, Default, Serialize)]
pub struct Grouped {
    /// Notifications that interrupt a person.
    #[serde(flatten)]
    pub pages: PageTally,
    /// Notifications that change an open incident.
    pub updates: u64,
    /// Notifications that repeat one.
    pub repeats: u64,
    /// Notifications that close one.
    pub resolves: u64,
}

/// A page that came, or would have come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paged {
    pub(super) at: Timestamp,
    /// Of the alert that made it.
    pub(super) alertname: SmolStr,
    /// The position of its level of severity, 0 = the highest.
    pub(super) level: usize,
    /// Start of the alert that made it.
    pub(super) started: Timestamp,
}

/// The notifications of Alertmanager that page no person.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) updates: u64,
    pub(super) repeats: u64,
    pub(super) resolves: u64,
}

/// The events that were read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct HistorySpan {
    /// The first event. `None` if there was no event.
    pub from: Option<Timestamp>,
    /// The last event.
    pub to: Option<Timestamp>,
    /// Events: lines, requests.
    pub events: u64,
    /// Observations in them.
    pub observations: u64,
    /// Events that stood after later ones. They were taken at the time of those.
    pub out_of_order: u64,
}

/// Pages, counted in several ways.
#[derive(Debug, Default, Serialize)]
pub struct PageTally {
    /// All.
    pub pages: u64,
    /// From `startsAt` of each firing until the first page or update about it.
    pub delay: Delays,
    /// By alertname: that of the alert that made the page.
    pub by_alertname: BTreeMap<SmolStr, u64>,
    /// By hour of day, UTC.
    pub by_hour: [u64; 24],
    /// By day of the week, Monday first, and hour of day, UTC.
    pub by_week: [[u64; 24]; 7],
    /// By day, UTC.
    pub by_day: BTreeMap<Day, u64>,
    /// By level of severity, the highest first.
    pub by_severity: Vec<SeverityFigures>,
}

/// A day in UTC, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub i64);

/// The outcomes for the firings of one level of severity, each counted once for each receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeverityFigures {
    /// The level.
    pub severity: SmolStr,
    /// How many begin.
    pub firings: u64,
    /// Pages that an alert of this level makes.
    pub pages: u64,
    /// A page is the first notification of them.
    pub paged: u64,
    /// In the update of an incident that is no older than [`SWALLOWED_AFTER`](super::SWALLOWED_AFTER).
    pub joined: u64,
    /// In the update of an older one.
    pub swallowed: u64,
    /// They fire again while an open incident lists their alert, so there is no new notification.
    pub open: u64,
    /// No receiver is notified of them.
    pub not_notified: u64,
    /// For Squelch: a person is notified of them, but later than by Alertmanager.
    pub later: u64,
    /// For Squelch: no receiver is notified of them, and Alertmanager notifies one.
    pub never: u64,
    /// From `startsAt` until the first notification of them.
    pub delay: Delays,
}

/// Lengths of time, all of them: to the millisecond below ten seconds, to the second above.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delays(BTreeMap<u64, u64>);

/// All notifications, and the dispositions of the other observations.
#[derive(Debug, Serialize)]
pub struct NotificationTally {
    /// Notifications that interrupted a person.
    #[serde(flatten)]
    pub pages: PageTally,
    /// Notifications that changed or repeated an open incident.
    pub updates: u64,
    /// Notifications that closed one.
    pub resolves: u64,
    /// Notifications that reported alerts held back.
    pub digests: u64,
    /// Pages by receiver.
    pub by_receiver: BTreeMap<SmolStr, u64>,
    /// Observations by result: a disposition, or the reason of a suppression.
    pub disposed: BTreeMap<SmolStr, u64>,
    /// Observations still held or open when time ended.
    pub pending: u64,
}

impl SeverityFigures {
    /// A level without firings.
    pub fn new(severity: &str) -> Self {
        SeverityFigures {
            severity: severity.into(),
            firings: 0,
            pages: 0,
            paged: 0,
            joined: 0,
            swallowed: 0,
            open: 0,
            not_notified: 0,
            later: 0,
            never: 0,
            delay: Delays::default(),
        }
    }

    /// Whether there are any figures for the level.
    pub fn occurs(&self) -> bool {
        self.firings + self.pages > 0
    }
}

impl Day {
    /// The day of a moment.
    pub fn of(at: Timestamp) -> Self {
        Day(at.as_millis().div_euclid(24 * HOUR))
    }

    /// 0 = Monday: 1970-01-01 was a Thursday.
    pub fn weekday(self) -> usize {
        (self.0 + 3).rem_euclid(7) as usize
    }
}

impl fmt::Display for Day {
    /// `2026-01-31`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Timestamp::from_millis(self.0.saturating_mul(24 * HOUR)).to_string();
        f.write_str(text.split('T').next().unwrap_or_default())
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl Grouped {
    pub(super) fn close(&mut self, sent: Sent, pages: Vec<u64>, figures: Vec<SeverityFigures>) {
        (self.updates, self.repeats, self.resolves) = (sent.updates, sent.repeats, sent.resolves);
        self.pages.judge(pages, figures);
    }
}

impl PageTally {
    /// Pages that alerts of this name make.
    pub fn of(&self, alertname: &str) -> u64 {
        self.by_alertname.get(alertname).copied().unwrap_or(0)
    }

    /// The names of the alerts that make the pages of these tallies, in order.
    pub fn alertnames<'t>(tallies: impl IntoIterator<Item = &'t PageTally>) -> BTreeSet<&'t str> {
        tallies.into_iter().flat_map(|tally| tally.by_alertname.keys()).map(|name| name.as_str()).collect()
    }

    /// Alerts whose first notification is the update of an open incident.
    pub fn joined(&self) -> u64 {
        self.by_severity.iter().map(|figures| figures.joined).sum::<u64>() + self.swallowed()
    }

    /// Those whose incident is old by then.
    pub fn swallowed(&self) -> u64 {
        self.by_severity.iter().map(|figures| figures.swallowed).sum()
    }

    /// Takes over the outcomes of the firings, and the pages of each level.
    fn judge(&mut self, pages: Vec<u64>, mut figures: Vec<SeverityFigures>) {
        figures.iter_mut().zip(pages).for_each(|(figures, pages)| figures.pages = pages);
        figures.iter().for_each(|one| self.delay.extend(&one.delay));
        self.by_severity = figures;
    }

    pub(super) fn count(&mut self, page: &Paged) {
        self.add(page.at, &page.alertname);
    }

    fn add(&mut self, at: Timestamp, alertname: &str) {
        self.pages += 1;
        let known = self.by_alertname.len() < ALERTNAMES || self.by_alertname.contains_key(alertname);
        let name = if known { alertname } else { OTHERS };
        *self.by_alertname.entry(name.into()).or_default() += 1;
        let hour = (at.as_millis().div_euclid(HOUR)).rem_euclid(24) as usize;
        let day = Day::of(at);
        self.by_hour[hour] += 1;
        self.by_week[day.weekday()][hour] += 1;
        *self.by_day.entry(day).or_default() += 1;
    }
}

impl Delays {
    /// Adds one.
    pub fn add(&mut self, delay: Duration) {
        let ms = delay.as_millis();
        let kept = if ms < 10_000 { ms } else { ms / 1000 * 1000 };
        *self.0.entry(kept).or_default() += 1;
    }

    /// The delay that at least `percent` of them do not exceed. `None` if there are none.
    pub fn quantile(&self, percent: u64) -> Option<Duration> {
        let total: u64 = self.0.values().sum();
        let rank = (total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let found = self.0.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        found.map(|(ms, _)| Duration::from_millis(*ms))
    }

    /// How many are no longer than `most`.
    pub fn within(&self, most: Duration) -> u64 {
        self.0.range(..=most.as_millis()).map(|(_, count)| count).sum()
    }

    /// Adds all of the other ones.
    fn extend(&mut self, other: &Delays) {
        for (ms, count) in &other.0 {
            *self.0.entry(*ms).or_default() += count;
        }
    }

    /// The longest.
    pub fn max(&self) -> Option<Duration> {
        self.0.last_key_value().map(|(ms, _)| Duration::from_millis(*ms))
    }
}

#[derive(Serialize)]
struct Quantiles {
    p50_seconds: Option<f64>,
    p90_seconds: Option<f64>,
    p99_seconds: Option<f64>,
    max_seconds: Option<f64>,
}

impl Serialize for Delays {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let quantile = |percent| self.quantile(percent).map(Duration::as_secs_f64);
        let quantiles = Quantiles {
            p50_seconds: quantile(50),
            p90_seconds: quantile(90),
            p99_seconds: quantile(99),
            max_seconds: self.max().map(Duration::as_secs_f64),
        };
        quantiles.serialize(s)
    }
}

impl NotificationTally {
    pub(super) fn new() -> Self {
        NotificationTally {
            pages: PageTally::default(),
            updates: 0,
            resolves: 0,
            digests: 0,
            by_receiver: BTreeMap::new(),
            disposed: BTreeMap::new(),
            pending: 0,
        }
    }

    /// Counts a notification. For a page, it also returns the labels of the alert that made it.
    pub(super) fn count<'a>(&mut self, telling: &Telling<'a>) -> Option<&'a LabelSet> {
        let n = telling.notification;
        let mut made = None;
        match n.kind {
            Kind::Page => {
                *self.by_receiver.entry(n.receiver.clone()).or_default() += 1;
                let first = telling.fresh.iter().min_by_key(|a| a.starts_at);
                made = first.or(telling.alerts.first()).map(|alert| &alert.labels);
                self.pages.add(n.at, made.map_or("", |labels| labels.value("alertname")));
            }
            Kind::Update => self.updates += 1,
            Kind::Resolve => self.resolves += 1,
            Kind::Digest => self.digests += 1,
            Kind::Acknowledge => {}
        }
        made
    }

    /// Takes over the engine's counters and the outcomes of the firings at the end.
    pub(super) fn close(&mut self, replayed: &Replayed, pages: Vec<u64>, figures: Vec<SeverityFigures>) {
        self.pages.judge(pages, figures);
        for receiver in replayed.stats.receivers.values() {
            self.pending += receiver.pending;
            for (disposition, count) in &receiver.disposed {
                let name = match disposition {
                    Disposition::Suppressed(reason) => reason.as_str(),
                    sent => sent.as_str(),
                };
                *self.disposed.entry(name.into()).or_default() += count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_delays_that_occurred() {
        let mut delays = Delays::default();
        assert_eq!((delays.quantile(50), delays.max()), (None, None));
        for s in 1..=100u64 {
            delays.add(Duration::from_millis(s * 1000 + 1));
        }
        assert_eq!(delays.quantile(50), Some(Duration::from_secs(50)));
        assert_eq!(delays.quantile(99), Some(Duration::from_secs(99)));
        assert_eq!(delays.quantile(1), Some(Duration::from_millis(1001)));
        assert_eq!(delays.max(), Some(Duration::from_secs(100)));
    }

    #[test]
    fn hours_are_those_of_utc_and_names_are_bounded() {
        let mut tally = PageTally::default();
        for i in 0..=ALERTNAMES {
            let alertname = format!("A{i}").into();
            // A Saturday.
            let at = Timestamp::parse("2026-01-31T23:59:59Z").unwrap();
            tally.count(&Paged { at, alertname, level: 0, started: at });
        }
        let all = ALERTNAMES as u64 + 1;
        assert_eq!((tally.by_hour[23], tally.by_week[5][23]), (all, all));
        let (day, count) = tally.by_day.first_key_value().unwrap();
        assert_eq!((day.to_string().as_str(), *count), ("2026-01-31", all));
        assert_eq!((tally.by_alertname.len(), tally.by_alertname[OTHERS]), (ALERTNAMES + 1, 1));
    }
}
