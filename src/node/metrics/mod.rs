//! The answer of `/metrics`: Prometheus' text format 0.0.4.
//!
//! The engine's counters are engine state and come as one [`Stats`], so the conservation law holds within
//! each scrape. A [`Registry`] counts everything outside of the engine, and its metrics are appended.

mod alertmanager;
mod exposition;
mod meter;
mod process;

use std::collections::BTreeMap;

use prometheus::proto::Metric;
use prometheus::{Registry, TextEncoder};

use crate::REVISION;
use crate::engine::{Bound, PAGE_DELAY_BUCKETS, ReceiverStats, Stats};
use crate::model::{Disposition, Kind, SilenceState, Source, Status, Timestamp};
use crate::outside::LOG;
use exposition::{Exposition, Type};

pub use meter::NodeMeter;

/// Renders everything that Squelch exports: the engine's state from `stats`, the process, and the build.
/// `registry` adds the metrics of delivery, of the web and of the node.
///
/// Every combination of labels is there from the start, at 0, so that `rate()` sees the first
/// increase. No family of `registry` may bear the name of one that is made here.
pub fn render(stats: &Stats, registry: &Registry) -> String {
    let mut out = Exposition::default();
    received(&mut out, stats);
    dispositions(&mut out, stats);
    notifications(&mut out, stats);
    over_budget(&mut out, stats);
    page_delay(&mut out, stats);
    standing(&mut out, stats);
    bounds(&mut out, stats);
    log(&mut out);
    build_info(&mut out);
    process::render(&mut out);
    let mut gathered = registry.gather();
    gathered.iter_mut().for_each(|family| family.mut_metric().retain(|metric| is_known(stats, metric)));
    gathered.retain(|family| !family.get_metric().is_empty());
    alertmanager::render(&mut out, stats, &gathered);
    let mut text = out.into_text();
    if let Err(error) = TextEncoder::new().encode_utf8(&gathered, &mut text) {
        // This cannot happen to the metrics of a registry. A scrape without them still has the rest.
        tracing::error!(%error, "metrics of the registry left out of a scrape");
    }
    text
}

/// A receiver that a reload removed goes from all metrics at once, when nothing is open there any more.
fn is_known(stats: &Stats, metric: &Metric) -> bool {
    let receiver = metric.get_label().iter().find(|label| label.name() == "receiver");
    receiver.is_none_or(|receiver| stats.receivers.contains_key(receiver.value()))
}

/// A standby has no state of the engine. It leaves the counters of the engine out, because a counter that
/// was 0 until a takeover would jump to the count of all owners.
fn is_standby(stats: &Stats) -> bool {
    stats.receivers.is_empty()
}

fn received(out: &mut Exposition, stats: &Stats) {
    out.family(
        "squelch_alerts_received_total",
        Type::Counter,
        "Valid alerts received, unchanged repeats among them.",
    );
    if is_standby(stats) {
        return;
    }
    for source in Source::ALL {
        for status in [Status::Firing, Status::Resolved] {
            let n = stats.received.get(&(source, status)).copied().unwrap_or(0);
            out.sample(&[("source", source.as_str()), ("status", status.as_str())], n);
        }
    }
}

fn dispositions(out: &mut Exposition, stats: &Stats) {
    by_receiver(
        out,
        stats,
        ("squelch_alerts_routed_total", Type::Counter),
        "Alerts received, once for each route that they took to the receiver.",
        |r| r.routed,
    );
    out.family(
        "squelch_alerts_disposed_total",
        Type::Counter,
        "Routed alerts by their disposition. The label reason says why Squelch suppressed one.",
    );
    for (receiver, r) in &stats.receivers {
        for disposition in Disposition::ALL {
            let n = r.disposed.get(&disposition).copied().unwrap_or(0);
            out.sample(
                &[
                    ("receiver", receiver),
                    ("disposition", disposition.as_str()),
                    ("reason", disposition.reason()),
                ],
                n,
            );
        }
    }
    out.family(
        "squelch_observe_disposed_total",
        Type::Counter,
        "The dispositions of alerts routed with mode observe, as if it were enforce.",
    );
    for receiver in stats.receivers.keys() {
        for disposition in Disposition::ALL {
            let observed = stats.observed.get(receiver);
            let n = observed.and_then(|s| s.disposed.get(&disposition)).copied().unwrap_or(0);
            out.sample(
                &[
                    ("receiver", receiver),
                    ("disposition", disposition.as_str()),
                    ("reason", disposition.reason()),
                ],
                n,
            );
        }
    }
    by_receiver(
        out,
        stats,
        ("squelch_alerts_pending", Type::Gauge),
        "Routed alerts that are not disposed yet: routed = sum of disposed + pending, at every scrape.",
        |r| r.pending,
    );
}

fn notifications(out: &mut Exposition, stats: &Stats) {
    out.family(
        "squelch_notifications_total",
        Type::Counter,
        "Notifications decided, by kind. Only kind=\"page\" interrupts a person.",
    );
    for (receiver, r) in &stats.receivers {
        for ((integration, kind), n) in notifications_by_kind_word(r) {
            out.sample(&[("receiver", receiver), ("integration", integration), ("kind", kind.as_str())], n);
        }
    }
}

fn over_budget(out: &mut Exposition, stats: &Stats) {
    by_receiver(
        out,
        stats,
        ("squelch_pages_over_budget_total", Type::Counter),
        "Pages beyond the budget of the noise profile. They leave all the same.",
        |r| r.over_budget,
    );
}

/// `pagerduty[0]` and `pagerduty[1]` count as `pagerduty`. Every kind that was not sent is 0.
fn notifications_by_kind_word(r: &ReceiverStats) -> BTreeMap<(&str, Kind), u64> {
    let mut sums = BTreeMap::new();
    for ((name, kind), n) in &r.notifications {
        let word = name.split_once('[').map_or(name.as_str(), |(word, _)| word);
        for kind in Kind::ALL {
            sums.entry((word, kind)).or_insert(0);
        }
        *sums.entry((word, *kind)).or_insert(0) += n;
    }
    sums
}

fn page_delay(out: &mut Exposition, stats: &Stats) {
    out.family(
        "squelch_page_delay_seconds",
        Type::Histogram,
        "Time from the start of a problem, or its receipt if that was later, to the decision to page.",
    );
    for (receiver, r) in &stats.receivers {
        let mut cumulative = 0;
        for (i, bound) in PAGE_DELAY_BUCKETS.iter().enumerate() {
            cumulative += r.page_delay.get(i).copied().unwrap_or(0);
            out.suffixed("_bucket", &[("receiver", receiver), ("le", &bound.to_string())], cumulative);
        }
        let count: u64 = r.page_delay.iter().sum();
        out.suffixed("_bucket", &[("receiver", receiver), ("le", "+Inf")], count);
        out.suffixed("_sum", &[("receiver", receiver)], r.page_delay_sum.as_secs_f64());
        out.suffixed("_count", &[("receiver", receiver)], count);
    }
}

fn standing(out: &mut Exposition, stats: &Stats) {
    out.family(
        "squelch_incidents",
        Type::Gauge,
        "Incidents open at the pager. Resolving ones wait for resolve_hold, closing ones for the pager to accept their end.",
    );
    for (receiver, r) in &stats.receivers {
        out.sample(&[("receiver", receiver), ("state", "open")], r.open);
        out.sample(&[("receiver", receiver), ("state", "resolving")], r.resolving);
        out.sample(&[("receiver", receiver), ("state", "closing")], r.closing);
    }
    by_receiver(
        out,
        stats,
        ("squelch_incidents_orphaned", Type::Gauge),
        "Incidents open at an integration of the receiver that the configuration does not have any more.",
        |r| r.orphaned,
    );
    by_receiver(
        out,
        stats,
        ("squelch_alerts_flapping", Type::Gauge),
        "Alerts that count as flapping at the receiver.",
        |r| r.flapping,
    );
    by_receiver(
        out,
        stats,
        ("squelch_alerts_held", Type::Gauge),
        "Alerts held back before their first page.",
        |r| r.held,
    );
    out.family("squelch_alerts_known", Type::Gauge, "Alerts remembered, firing or not.");
    out.sample(&[], stats.alerts);
    out.family("squelch_alerts_firing", Type::Gauge, "Alerts that fire.");
    out.sample(&[], stats.firing);
    out.family("squelch_silences", Type::Gauge, "Silences kept. Expired ones are kept for five days.");
    for state in SilenceState::ALL {
        let n = stats.silences.get(&state).copied().unwrap_or(0);
        out.sample(&[("state", state.as_str())], n);
    }
    out.family(
        "squelch_silences_without_room",
        Type::Gauge,
        "Silences that silence no alert, because their expressions take more memory than silences may.",
    );
    out.sample(&[], stats.silences_without_room);
}

fn bounds(out: &mut Exposition, stats: &Stats) {
    out.family(
        "squelch_alerts_overflow_total",
        Type::Counter,
        "Alerts received beyond limits.alerts. Squelch reports them together, one incident for each receiver.",
    );
    if !is_standby(stats) {
        out.sample(&[], stats.overflow);
    }
    out.family(
        "squelch_bounds_exceeded_total",
        Type::Counter,
        "Entries that Squelch forgot early, or left out, because a bound of the memory was reached.",
    );
    for bound in Bound::ALL.into_iter().filter(|_| !is_standby(stats)) {
        let n = stats.bounds.get(&bound).copied().unwrap_or(0);
        out.sample(&[("bound", bound.as_str())], n);
    }
    out.family(
        "squelch_heartbeat_last_timestamp_seconds",
        Type::Gauge,
        "When the heartbeat last came from the sender that is silent longest, 0 if never.",
    );
    for (name, last) in &stats.heartbeats {
        out.sample(&[("heartbeat", name)], last.map_or(0.0, Timestamp::as_secs_f64));
    }
    out.family(
        "squelch_unknown_severity_alerts",
        Type::Gauge,
        "Alerts of the last 24 hours by a severity value that no level names, at most 100. Empty: no label.",
    );
    for (value, alerts) in &stats.unknown_severities {
        out.sample(&[("value", value)], *alerts);
    }
    out.family(
        "squelch_sender_clocks_wrong",
        Type::Gauge,
        "Senders whose clock differs from the clock of this machine by more than 30 s.",
    );
    out.sample(&[], stats.sender_clocks.len() as u64);
    out.family(
        "squelch_sender_clock_offset_seconds",
        Type::Gauge,
        "The least error of such a sender's clock: above 0 if it is ahead, below 0 if behind.",
    );
    for (sender, by) in &stats.sender_clocks {
        out.sample(&[("sender", sender)], *by as f64 / 1000.0);
    }
}

fn log(out: &mut Exposition) {
    out.family(
        "squelch_log_lines_dropped_total",
        Type::Counter,
        "Lines of the log that were dropped because its output was not read, or did not take them.",
    );
    out.sample(&[], LOG.dropped());
}

fn build_info(out: &mut Exposition) {
    out.family("squelch_build_info", Type::Gauge, "Always 1. The labels describe the build.");
    out.sample(
        &[
            ("version", env!("CARGO_PKG_VERSION")),
            ("revision", if REVISION.is_empty() { "unknown" } else { REVISION }),
            ("rustversion", env!("SQUELCH_RUST_VERSION")),
        ],
        1,
    );
}

fn by_receiver(
    out: &mut Exposition,
    stats: &Stats,
    (name, kind): (&'static str, Type),
    help: &str,
    value: impl Fn(&ReceiverStats) -> u64,
) {
    out.family(name, kind, help);
    for (receiver, r) in &stats.receivers {
        out.sample(&[("receiver", receiver)], value(r));
    }
}
