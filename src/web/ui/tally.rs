//! What the *Noise* view counts, from decisions of the ledger.

use std::collections::BTreeMap;

use crate::ledger::Entry;
use crate::model::{Duration, Timestamp};

/// Bars of the chart.
pub(super) const BUCKETS: u64 = 48;
/// Hours, UTC, at which a page wakes somebody: from ten in the evening to six.
const NIGHT: [i64; 8] = [22, 23, 0, 1, 2, 3, 4, 5];
/// Names that are counted apart; what is over counts in the sums alone.
const MOST_NAMES: usize = 10_000;

/// Counts over a stretch of time.
#[derive(Debug, Default)]
pub(super) struct Tally {
    from: Timestamp,
    bucket: Duration,
    /// Observations that came in.
    pub(super) came: u64,
    /// Pages that went out.
    pub(super) pages: u64,
    /// Observations by what became of them: the reason, or the disposition.
    pub(super) by_fate: BTreeMap<String, u64>,
    /// In and out, by bucket.
    pub(super) over_time: Vec<(u64, u64)>,
    names: BTreeMap<String, Name>,
}

/// What one `alertname` did.
#[derive(Debug, Default, Clone)]
pub(super) struct Name {
    /// Observations that came in.
    pub(super) came: u64,
    /// Pages that went out.
    pub(super) pages: u64,
    /// Observations that flap damping kept back.
    pub(super) flaps: u64,
    /// Pages at night.
    pub(super) night: u64,
    /// Of each occurrence its start, and what was last heard of it.
    occurrences: BTreeMap<(String, Timestamp), Timestamp>,
}

impl Tally {
    /// Nothing counted yet, of the time from `from` to `to`.
    pub(super) fn new(from: Timestamp, to: Timestamp) -> Tally {
        let bucket = Duration::from_millis((to.since(from).as_millis() / BUCKETS).max(1));
        Tally { from, bucket, over_time: vec![(0, 0); BUCKETS as usize], ..Tally::default() }
    }

    /// Counts one decision.
    pub(super) fn add(&mut self, entry: &Entry) {
        let page = u64::from(entry.disposition == "page");
        self.came += entry.count;
        self.pages += page;
        *self.by_fate.entry(entry.reason.as_ref().unwrap_or(&entry.disposition).clone()).or_default() +=
            entry.count;
        let index = entry.at.since(self.from).as_millis() / self.bucket.as_millis();
        if let Some((came, pages)) = self.over_time.get_mut(index.min(BUCKETS - 1) as usize) {
            *came += entry.count;
            *pages += page;
        }
        let name = entry.labels.get("alertname").map_or("", String::as_str);
        if self.names.len() >= MOST_NAMES && !self.names.contains_key(name) {
            return;
        }
        let name = self.names.entry(name.to_owned()).or_default();
        name.came += entry.count;
        name.pages += page;
        name.flaps += if entry.reason.as_deref() == Some("flapping") { entry.count } else { 0 };
        let hour = entry.at.as_millis().div_euclid(3_600_000).rem_euclid(24);
        name.night += if NIGHT.contains(&hour) { page } else { 0 };
        if let Some(start) = entry.starts_at {
            let last = name.occurrences.entry((entry.alert.clone(), start)).or_insert(entry.at);
            *last = entry.at.max(*last);
        }
    }

    /// The share of what came in that interrupted nobody, in percent.
    pub(super) fn removed(&self) -> Option<u64> {
        (self.came > 0).then(|| (self.came - self.pages.min(self.came)) * 100 / self.came)
    }

    /// The names that came most, with what they did.
    pub(super) fn top(&self, most: usize) -> Vec<(&str, &Name)> {
        let mut names: Vec<_> = self.names.iter().map(|(name, counts)| (name.as_str(), counts)).collect();
        names.sort_by_key(|(name, counts)| (std::cmp::Reverse((counts.came, counts.pages)), *name));
        names.truncate(most);
        names
    }

    /// Seconds since 1970 of each bucket, what came in and what went out, as uPlot reads it.
    pub(super) fn series(&self) -> serde_json::Value {
        let start =
            |index: u64| self.from.as_millis() / 1000 + (index * self.bucket.as_millis() / 1000) as i64;
        let times: Vec<i64> = (0..BUCKETS).map(start).collect();
        let came: Vec<u64> = self.over_time.iter().map(|(came, _)| *came).collect();
        let pages: Vec<u64> = self.over_time.iter().map(|(_, pages)| *pages).collect();
        serde_json::json!([times, came, pages])
    }
}

impl Name {
    /// How long its occurrences lasted, in the median: from the start to what was last heard.
    pub(super) fn lasted(&self) -> Option<Duration> {
        let mut all: Vec<_> = self.occurrences.iter().map(|((_, start), last)| last.since(*start)).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: &str, disposition: &str, reason: Option<&str>, count: u64) -> Entry {
        let at = Timestamp::parse(at).unwrap();
        let text = serde_json::json!({
            "id": 1, "at": at, "alert": "a", "fingerprint": "f", "labels": {"alertname": "Disk"},
            "disposition": disposition, "reason": reason, "count": count, "receiver": "r", "route": "{}",
            "rule": "", "setting": "", "startsAt": "2026-11-25T01:00:00Z",
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn counts_what_came_what_paged_and_what_woke_somebody() {
        let at = |text| Timestamp::parse(text).unwrap();
        let mut tally = Tally::new(at("2026-11-25T00:00:00Z"), at("2026-11-26T00:00:00Z"));
        tally.add(&entry("2026-11-25T01:00:00Z", "page", None, 1));
        tally.add(&entry("2026-11-25T01:10:00Z", "suppressed", Some("flapping"), 3));
        tally.add(&entry("2026-11-25T12:00:00Z", "suppressed", Some("duplicate"), 6));
        assert_eq!((tally.came, tally.pages, tally.removed()), (10, 1, Some(90)));
        let top = tally.top(5);
        let (name, disk) = top[0];
        assert_eq!((name, disk.came, disk.pages, disk.flaps, disk.night), ("Disk", 10, 1, 3, 1));
        assert_eq!(disk.lasted(), Some(Duration::from_hours(11)));
        assert_eq!((tally.over_time[2], tally.over_time[24]), ((4, 1), (6, 0)));
        assert_eq!(Tally::default().removed(), None);
    }
}
