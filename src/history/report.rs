//! What a backtest found, as numbers.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use smol_str::SmolStr;

use super::Replayed;
use super::before::Paged;
use super::compare::Comparison;
use super::told::Telling;
use crate::model::{Disposition, Duration, Kind, Timestamp};

/// Alertnames that are counted one by one; what comes beyond them is counted under [`OTHERS`].
const ALERTNAMES: usize = 10_000;

/// The name of what is not counted by name.
pub(super) const OTHERS: &str = "(others)";

const HOUR: i64 = 3_600_000;

/// The whole of it. Serialised as it stands by `backtest -o json`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was read.
    pub history: Span,
    /// Pages if every firing paged.
    pub every_firing: Tally,
    /// Pages of an Alertmanager with the same routes and `group_by`: see
    /// [`Alertmanager`](super::Alertmanager).
    pub alertmanager: Tally,
    /// What Squelch would have sent.
    pub squelch: Notifications,
    /// What Squelch would have sent under the other configuration, and what differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

/// The other configuration.
#[derive(Debug, Serialize)]
pub struct Against {
    /// What Squelch would have sent under it.
    pub squelch: Notifications,
    /// What differs, as seen from it.
    pub difference: Comparison,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Span {
    /// The first event; none if there was no event.
    pub from: Option<Timestamp>,
    /// The last event.
    pub to: Option<Timestamp>,
    /// Events: lines, requests.
    pub events: u64,
    /// Observations in them.
    pub observations: u64,
    /// Events that stood after later ones; taken at the time of those.
    pub out_of_order: u64,
}

/// Pages, counted in several ways.
#[derive(Debug, Default, Serialize)]
pub struct Tally {
    /// All.
    pub pages: u64,
    /// From `startsAt` of the first alert that a page is the first to tell of, to the page; one
    /// entry for each page that tells of any.
    pub delay: Delays,
    /// By alertname: that of the alert that made the page.
    pub by_alertname: BTreeMap<SmolStr, u64>,
    /// By hour of day, UTC.
    pub by_hour: [u64; 24],
}

/// Lengths of time, all of them: to the millisecond below ten seconds, to the second above.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delays(BTreeMap<u64, u64>);

/// Everything that was sent, and what became of the rest.
#[derive(Debug, Serialize)]
pub struct Notifications {
    /// What interrupted a human.
    #[serde(flatten)]
    pub pages: Tally,
    /// What changed or repeated an open incident.
    pub updates: u64,
    /// What closed one.
    pub resolves: u64,
    /// What reported on what was held back.
    pub digests: u64,
    /// Pages by receiver.
    pub by_receiver: BTreeMap<SmolStr, u64>,
    /// Observations by what became of them: a disposition, or the reason of a suppression.
    pub disposed: BTreeMap<SmolStr, u64>,
    /// Observations still held or open when time ended.
    pub pending: u64,
}

impl Tally {
    pub(super) fn count(&mut self, page: &Paged) {
        self.add(page.at, &page.alertname, Some(page.at.since(page.started)));
    }

    fn add(&mut self, at: Timestamp, alertname: &str, delay: Option<Duration>) {
        self.pages += 1;
        let known = self.by_alertname.len() < ALERTNAMES || self.by_alertname.contains_key(alertname);
        let name = if known { alertname } else { OTHERS };
        *self.by_alertname.entry(name.into()).or_default() += 1;
        if let Some(count) = self.by_hour.get_mut((at.as_millis().div_euclid(HOUR)).rem_euclid(24) as usize) {
            *count += 1;
        }
        if let Some(delay) = delay {
            self.delay.add(delay);
        }
    }
}

impl Delays {
    /// Adds one.
    pub fn add(&mut self, delay: Duration) {
        let ms = delay.as_millis();
        let kept = if ms < 10_000 { ms } else { ms / 1000 * 1000 };
        *self.0.entry(kept).or_default() += 1;
    }

    /// The delay that at least `percent` of them do not exceed; none if there are none.
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

impl Notifications {
    pub(super) fn new() -> Self {
        Notifications {
            pages: Tally::default(),
            updates: 0,
            resolves: 0,
            digests: 0,
            by_receiver: BTreeMap::new(),
            disposed: BTreeMap::new(),
            pending: 0,
        }
    }

    pub(super) fn count(&mut self, telling: &Telling<'_>) {
        let n = telling.notification;
        match n.kind {
            Kind::Page => {
                *self.by_receiver.entry(n.receiver.clone()).or_default() += 1;
                let first = telling.fresh.iter().min_by_key(|a| a.starts_at);
                let made = first.or(telling.alerts.first()).map_or("", |a| a.labels.value("alertname"));
                self.pages.add(n.at, made, first.map(|a| n.at.since(a.starts_at)));
            }
            Kind::Update => self.updates += 1,
            Kind::Resolve => self.resolves += 1,
            Kind::Digest => self.digests += 1,
        }
    }

    /// Takes the engine's counters over at the end.
    pub(super) fn close(&mut self, replayed: &Replayed) {
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
        let mut tally = Tally::default();
        for i in 0..=ALERTNAMES {
            let alertname = format!("A{i}").into();
            let at = Timestamp::parse("2026-01-31T23:59:59Z").unwrap();
            tally.count(&Paged { at, alertname, started: at });
        }
        assert_eq!(tally.by_hour[23], ALERTNAMES as u64 + 1);
        assert_eq!((tally.by_alertname.len(), tally.by_alertname[OTHERS]), (ALERTNAMES + 1, 1));
    }
}
