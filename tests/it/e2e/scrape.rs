//! `/metrics` as a test reads it.

use std::collections::BTreeMap;

use crate::exposition::{Family, Sample, parse};

/// One scrape of Squelch.
pub struct Scrape(BTreeMap<String, Family>);

impl Scrape {
    /// Parses a scrape, which must keep the law of accounting for every receiver.
    pub fn new(text: &str) -> Scrape {
        let scrape = Scrape(parse(text));
        scrape.accounts();
        scrape
    }

    /// The sum of all samples of `family` that have these labels.
    pub fn sum(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |s: &&Sample| labels.iter().all(|(k, v)| s.labels.get(*k).is_some_and(|l| l == v));
        self.family(family).samples.iter().filter(has).map(|s| s.value).sum()
    }

    /// The one sample of a family without labels.
    pub fn value(&self, family: &str) -> f64 {
        self.sum(family, &[])
    }

    /// Every counter of the engine, by name and labels: none may ever go back.
    pub fn engine_counters(&self) -> BTreeMap<String, f64> {
        let families = [
            "squelch_alerts_received_total",
            "squelch_alerts_routed_total",
            "squelch_alerts_disposed_total",
            "squelch_notifications_total",
        ];
        let samples = families.iter().flat_map(|name| &self.family(name).samples);
        samples.map(|s| (format!("{}{:?}", s.name, s.labels), s.value)).collect()
    }

    fn family(&self, name: &str) -> &Family {
        self.0.get(name).unwrap_or_else(|| panic!("no metric {name}"))
    }

    /// routed = Σ disposed + pending.
    fn accounts(&self) {
        for routed in &self.family("squelch_alerts_routed_total").samples {
            let of = [("receiver", routed.labels["receiver"].as_str())];
            let disposed = self.sum("squelch_alerts_disposed_total", &of);
            let pending = self.sum("squelch_alerts_pending", &of);
            assert_eq!(routed.value, disposed + pending, "{of:?}: {disposed} disposed, {pending} pending");
        }
    }
}
