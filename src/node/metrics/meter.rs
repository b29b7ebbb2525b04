//! The node's own counters: commits, reloads, refused input, requests.

use std::collections::BTreeSet;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::config::Policy;
use crate::model::{Timestamp, hash64};

/// Buckets of `squelch_journal_commit_seconds`: an fsync takes from a tenth of a millisecond on a
/// good disk to seconds on one that is about to fail.
const COMMIT_BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The version of the API in metrics of Alertmanager.
const API: &str = "v2";

/// Stands for a label value that was not announced when the meter was registered.
const OTHER: &str = "other";

/// The node's own metrics. They are cheap to clone. Clones count into the same metrics.
#[derive(Clone)]
pub struct NodeMeter {
    commit: Histogram,
    store_failures: IntCounter,
    engine_failures: IntCounter,
    failed_open: IntCounterVec,
    lost: IntCounterVec,
    alerts: IntGaugeVec,
    config_hash: Gauge,
    reload_successful: IntGauge,
    reload_success_timestamp: Gauge,
    invalid: IntCounterVec,
    invalid_reasons: BTreeSet<String>,
    requests: IntCounterVec,
    crowded: IntCounter,
    bounded: IntCounterVec,
    handlers: BTreeSet<String>,
    denied: IntCounterVec,
    alerts_limit: IntGauge,
    memory_budget: IntGauge,
    memory_short: IntGauge,
    shed: IntCounter,
}

impl NodeMeter {
    /// Registers the node's metrics in `registry`.
    ///
    /// `invalid_reasons` are all values of `squelch_alerts_invalid_total{reason}`. `handlers` are all
    /// values of `squelch_http_requests_total{handler}` (matched paths). Anything else counts as `other`,
    /// which bounds the labels.
    ///
    /// # Errors
    /// If one of the names is taken in `registry`, which is a mistake of the program.
    pub fn register(
        registry: &Registry,
        invalid_reasons: &[&str],
        handlers: &[&str],
    ) -> Result<Self, prometheus::Error> {
        let commit = HistogramOpts::new(
            "squelch_journal_commit_seconds",
            "Time that it took to make one batch of events durable.",
        );
        let meter = NodeMeter {
            commit: Histogram::with_opts(commit.buckets(COMMIT_BUCKETS.into()))?,
            store_failures: IntCounter::new(
                "squelch_store_failures_total",
                "Failures of the store. Until it is recovered, Squelch answers 503 to input.",
            )?,
            engine_failures: IntCounter::new(
                "squelch_engine_failures_total",
                "Inputs on which the engine failed, and which Squelch put into quarantine. Each is a bug.",
            )?,
            lost: IntCounterVec::new(
                Opts::new("alertmanager_alerts_invalid_total", "Alerts, or whole bodies, refused."),
                &["version"],
            )?,
            alerts: IntGaugeVec::new(
                Opts::new(
                    "alertmanager_alerts",
                    "Alerts that fire: suppressed ones are silenced, inhibited or withheld by Squelch.",
                ),
                &["state"],
            )?,
            config_hash: Gauge::new(
                "alertmanager_config_hash",
                "Hash of the configuration in force, its secrets masked.",
            )?,
            failed_open: IntCounterVec::new(
                Opts::new(
                    "squelch_failopen_notifications_total",
                    "Pages sent while the store was unusable, as failopen says.",
                ),
                &["receiver"],
            )?,
            reload_successful: IntGauge::new(
                "squelch_config_last_reload_successful",
                "Whether the last attempt to load the configuration succeeded.",
            )?,
            reload_success_timestamp: Gauge::new(
                "squelch_config_last_reload_success_timestamp_seconds",
                "When the configuration was last loaded with success.",
            )?,
            invalid: IntCounterVec::new(
                Opts::new("squelch_alerts_invalid_total", "Alerts, or whole bodies, refused or mended."),
                &["reason"],
            )?,
            invalid_reasons: owned(invalid_reasons),
            requests: IntCounterVec::new(
                Opts::new(
                    "squelch_http_requests_total",
                    "HTTP requests answered, by path and status. A path that is not served counts as other.",
                ),
                &["handler", "code"],
            )?,
            handlers: owned(handlers),
            denied: IntCounterVec::new(
                Opts::new(
                    "squelch_http_requests_denied_total",
                    "Requests refused because of their sender, by their purpose. A refused alert does not page.",
                ),
                &["area"],
            )?,
            alerts_limit: IntGauge::new(
                "squelch_alerts_limit",
                "Alerts that may be known at once: limits.alerts, or as many as fit into memory if that is fewer.",
            )?,
            memory_budget: IntGauge::new(
                "squelch_memory_budget_bytes",
                "The smallest of the control group's limit, the machine's memory, and limits.memory. 0 if unknown.",
            )?,
            memory_short: IntGauge::new(
                "squelch_memory_short",
                "Whether more than nine tenths of the memory budget are resident, and unknown alerts refused.",
            )?,
            shed: IntCounter::new(
                "squelch_requests_shed_total",
                "Requests answered 503 because they brought alerts not known yet while memory or disk was short.",
            )?,
            crowded: IntCounter::new(
                "squelch_http_connections_crowded_out_total",
                "Connections closed because a new one came when there were too many: failed logins first, then the longest idle.",
            )?,
            bounded: IntCounterVec::new(
                Opts::new(
                    "squelch_http_bounded_total",
                    "Requests answered 503, or connections closed, because logins, requests, answers or bodies in flight met their bound.",
                ),
                &["bound"],
            )?,
        };
        meter.lost.with_label_values(&[API]);
        meter.counted(0, 0);
        for area in crate::web::Area::GUARDED {
            meter.denied.with_label_values(&[area.as_str()]);
        }
        for bound in crate::web::Bounded::ALL {
            meter.bounded.with_label_values(&[bound.as_str()]);
        }
        for reason in &meter.invalid_reasons {
            meter.invalid.with_label_values(&[reason.as_str()]);
        }
        for handler in &meter.handlers {
            meter.requests.with_label_values(&[handler.as_str(), "200"]);
        }
        let collectors: [Box<dyn Collector>; 18] = [
            Box::new(meter.commit.clone()),
            Box::new(meter.store_failures.clone()),
            Box::new(meter.engine_failures.clone()),
            Box::new(meter.failed_open.clone()),
            Box::new(meter.reload_successful.clone()),
            Box::new(meter.reload_success_timestamp.clone()),
            Box::new(meter.invalid.clone()),
            Box::new(meter.requests.clone()),
            Box::new(meter.denied.clone()),
            Box::new(meter.crowded.clone()),
            Box::new(meter.bounded.clone()),
            Box::new(meter.alerts_limit.clone()),
            Box::new(meter.memory_budget.clone()),
            Box::new(meter.memory_short.clone()),
            Box::new(meter.shed.clone()),
            Box::new(meter.lost.clone()),
            Box::new(meter.alerts.clone()),
            Box::new(meter.config_hash.clone()),
        ];
        collectors.into_iter().try_for_each(|c| registry.register(c))?;
        Ok(meter)
    }

    /// A commit of the journal succeeded and took this long.
    pub fn committed(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
    }

    /// The store failed: a commit, a snapshot, or opening it.
    pub fn store_failed(&self) {
        self.store_failures.inc();
    }

    /// The engine failed.
    pub fn engine_broke(&self) {
        self.engine_failures.inc();
    }

    /// Input was refused, and its content is lost.
    pub fn lost_input(&self) {
        self.lost.with_label_values(&[API]).inc();
    }

    /// The number of calls of [`Self::lost_input`].
    pub fn unread(&self) -> u64 {
        self.lost.with_label_values(&[API]).get()
    }

    /// So many alerts that fire are active, and so many suppressed.
    pub fn counted(&self, active: u64, suppressed: u64) {
        // Squelch decides about an alert before it shows it.
        for (state, count) in [("active", active), ("suppressed", suppressed), ("unprocessed", 0)] {
            self.alerts.with_label_values(&[state]).set(shown(count));
        }
    }

    /// This is the text of the configuration in force.
    pub fn configured(&self, text: &str) {
        // As many bits as a float holds exactly.
        self.config_hash.set((hash64(text.as_bytes()) >> 12) as f64);
    }

    /// A policy is in force: brings the series of its receivers into being, at 0, and shows its limits.
    pub fn adopted(&self, policy: &Policy) {
        for name in policy.receivers.keys() {
            self.failed_open.with_label_values(&[name.as_str()]);
        }
        self.alerts_limit.set(shown(policy.limits.alerts));
    }

    /// How many alerts may be known at once.
    pub fn alerts_limit(&self) -> u64 {
        self.alerts_limit.get().unsigned_abs()
    }

    /// The memory budget in bytes, if there is one.
    pub fn memory_budget(&self, bytes: Option<u64>) {
        self.memory_budget.set(shown(bytes.unwrap_or(0)));
    }

    /// Memory is short, or no longer.
    pub fn short_of_memory(&self, short: bool) {
        self.memory_short.set(short.into());
    }

    /// A request was refused because memory is short.
    pub fn shed(&self) {
        self.shed.inc();
    }

    /// A page left without storage.
    pub fn failed_open(&self, receiver: &str) {
        self.failed_open.with_label_values(&[receiver]).inc();
    }

    /// The configuration was loaded, at start or again, at `now` on the wall clock.
    pub fn reloaded(&self, now: Timestamp) {
        self.reload_successful.set(1);
        self.reload_success_timestamp.set(now.as_secs_f64());
    }

    /// The configuration could not be loaded. The one before it stays in force.
    pub fn reload_failed(&self) {
        self.reload_successful.set(0);
    }

    /// `count` alerts were refused for `reason`.
    pub fn refused(&self, reason: &str, count: u64) {
        self.invalid.with_label_values(&[known(&self.invalid_reasons, reason)]).inc_by(count);
    }

    /// A request for `area` was refused because of its sender.
    pub fn denied(&self, area: &str) {
        self.denied.with_label_values(&[area]).inc();
    }

    /// A request that matched the path `handler` was answered with status `code`.
    pub fn answered(&self, handler: &str, code: u16) {
        self.requests.with_label_values(&[known(&self.handlers, handler), code.to_string().as_str()]).inc();
    }

    /// A request or a connection met a bound of the HTTP surface.
    pub fn bounded(&self, bound: &str) {
        self.bounded.with_label_values(&[bound]).inc();
    }

    /// A connection was closed to make room for a new one.
    pub fn crowded(&self) {
        self.crowded.inc();
    }
}

fn shown(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn known<'a>(values: &BTreeSet<String>, value: &'a str) -> &'a str {
    if values.contains(value) { value } else { OTHER }
}

fn owned(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|v| (*v).to_owned()).collect()
}
