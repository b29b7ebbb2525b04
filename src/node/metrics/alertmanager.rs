//! The series of Alertmanager that its mixin and karma read, from Squelch's own counters.
//! [`super::NodeMeter`] counts those for which Squelch has no counter.

use std::collections::BTreeMap;

use prometheus::proto::{Metric, MetricFamily};

use super::exposition::{Exposition, Type};
use crate::engine::Stats;
use crate::model::{SilenceState, Source, Status};
use crate::web::ALERTMANAGER_VERSION;

/// Adds the series. `gathered` are the metrics of the registry.
pub(super) fn render(out: &mut Exposition, stats: &Stats, gathered: &[MetricFamily]) {
    build_info(out);
    received(out, stats);
    silences(out, stats);
    reloads(out, gathered);
    notifications(out, gathered);
    cluster(out);
}

fn build_info(out: &mut Exposition) {
    out.family(
        "alertmanager_build_info",
        Type::Gauge,
        "Always 1. version is the Alertmanager whose API v2 Squelch serves, and revision says Squelch.",
    );
    out.sample(
        &[
            ("version", ALERTMANAGER_VERSION),
            ("revision", concat!("squelch ", env!("CARGO_PKG_VERSION"))),
            ("branch", "squelch"),
            ("goversion", concat!("rust ", env!("SQUELCH_RUST_VERSION"))),
        ],
        1,
    );
}

fn received(out: &mut Exposition, stats: &Stats) {
    out.family(
        "alertmanager_alerts_received_total",
        Type::Counter,
        "Valid alerts received at all doors, unchanged repeats among them.",
    );
    if super::is_standby(stats) {
        return;
    }
    for status in [Status::Firing, Status::Resolved] {
        let of = |source| stats.received.get(&(source, status)).copied().unwrap_or(0);
        let n: u64 = Source::ALL.into_iter().map(of).sum();
        out.sample(&[("status", status.as_str()), ("version", "v2")], n);
    }
}

fn silences(out: &mut Exposition, stats: &Stats) {
    out.family("alertmanager_silences", Type::Gauge, "Silences kept. Expired ones are kept for five days.");
    for state in SilenceState::ALL {
        let n = stats.silences.get(&state).copied().unwrap_or(0);
        out.sample(&[("state", state.as_str())], n);
    }
}

fn reloads(out: &mut Exposition, gathered: &[MetricFamily]) {
    let gauge = |name: &str| samples(gathered, name).first().map_or(0.0, |m| m.get_gauge().get_value());
    out.family(
        "alertmanager_config_last_reload_successful",
        Type::Gauge,
        "Whether the last attempt to load the configuration succeeded.",
    );
    out.sample(&[], gauge("squelch_config_last_reload_successful"));
    out.family(
        "alertmanager_config_last_reload_success_timestamp_seconds",
        Type::Gauge,
        "When the configuration was last loaded with success.",
    );
    out.sample(&[], gauge("squelch_config_last_reload_success_timestamp_seconds"));
}

fn notifications(out: &mut Exposition, gathered: &[MetricFamily]) {
    let latencies = samples(gathered, "squelch_notification_latency_seconds");
    out.family(
        "alertmanager_notifications_total",
        Type::Counter,
        "Attempts to deliver a notification, failed ones among them.",
    );
    for one in latencies {
        out.sample(&[("integration", label(one, "integration"))], one.get_histogram().get_sample_count());
    }
    let mut failed = BTreeMap::<(&str, &str), f64>::new();
    for one in samples(gathered, "squelch_notifications_failed_total") {
        let key = (label(one, "integration"), label(one, "reason"));
        *failed.entry(key).or_default() += one.get_counter().get_value();
    }
    out.family(
        "alertmanager_notifications_failed_total",
        Type::Counter,
        "Failed attempts to deliver a notification.",
    );
    for ((integration, reason), count) in failed {
        out.sample(&[("integration", integration), ("reason", reason)], count);
    }
    out.family(
        "alertmanager_notification_latency_seconds",
        Type::Histogram,
        "Time that one attempt to deliver a notification took.",
    );
    for one in latencies {
        let (histogram, integration) = (one.get_histogram(), label(one, "integration"));
        for bucket in histogram.get_bucket() {
            let le = bucket.upper_bound().to_string();
            let labels = [("integration", integration), ("le", le.as_str())];
            out.suffixed("_bucket", &labels, bucket.cumulative_count());
        }
        let count = histogram.get_sample_count();
        out.suffixed("_bucket", &[("integration", integration), ("le", "+Inf")], count);
        out.suffixed("_sum", &[("integration", integration)], histogram.get_sample_sum());
        out.suffixed("_count", &[("integration", integration)], count);
    }
}

/// Squelch stands alone, as an Alertmanager without a cluster does.
fn cluster(out: &mut Exposition) {
    for (name, help, value) in [
        ("alertmanager_cluster_enabled", "Whether there is a cluster. It is always 0.", 0),
        ("alertmanager_cluster_members", "Members of the cluster, this one among them.", 1),
        ("alertmanager_cluster_failed_peers", "Members that failed.", 0),
        ("alertmanager_cluster_health_score", "Health of this member. 0 is healthy.", 0),
    ] {
        out.family(name, Type::Gauge, help);
        out.sample(&[], value);
    }
}

fn samples<'g>(gathered: &'g [MetricFamily], name: &str) -> &'g [Metric] {
    gathered.iter().find(|family| family.name() == name).map_or(&[], |family| family.get_metric())
}

fn label<'m>(metric: &'m Metric, name: &str) -> &'m str {
    metric.get_label().iter().find(|label| label.name() == name).map_or("", |label| label.value())
}
