//! `/metrics`: names by the rules of `promtool check metrics`, zeros from the start, right sums.

use std::collections::BTreeMap;
use std::time::Duration as StdDuration;

use prometheus::Registry;
use squelch::deliver::FailureReason;
use squelch::engine::{PAGE_DELAY_BUCKETS, Stats};
use squelch::ingest::InvalidReason;
use squelch::model::{Disposition, Duration, Kind, Reason, Source, Status, Timestamp};
use squelch::node::metrics::{self, NodeMeter};

use crate::exposition::{Family, fresh, parse, render};
use crate::tools;

#[test]
fn passes_promlint() {
    assert_eq!(lint(&parse(fresh())), Vec::<String>::new());
    tools::must_pass("promtool", &["check", "metrics"], fresh());
}

#[test]
fn promlint_finds_what_it_is_for() {
    for (text, finding) in [
        ("# TYPE a gauge\na 1\n", "a: no help"),
        ("# HELP a A.\n# TYPE a counter\na 1\n", "a: counter must end in _total"),
        ("# HELP a_total A.\n# TYPE a_total gauge\na_total 1\n", "a_total: only a counter may end in _total"),
        ("# HELP a_count A.\n# TYPE a_count gauge\na_count 1\n", "a_count: suffix of a histogram"),
        ("# HELP a A.\n# TYPE a gauge\na{le=\"1\"} 1\n", "a: label of a histogram"),
        ("# HELP a_gauge A.\n# TYPE a_gauge gauge\na_gauge 1\n", "a_gauge: its type in its name"),
        ("# HELP a:b A.\n# TYPE a:b gauge\na:b 1\n", "a:b: colons are for recording rules"),
        ("# HELP aB A.\n# TYPE aB gauge\naB 1\n", "aB: not snake_case"),
        ("# HELP a A.\n# TYPE a gauge\na{bC=\"1\"} 1\n", "a: label bC is not snake_case"),
        ("# HELP a_ms A.\n# TYPE a_ms gauge\na_ms 1\n", "a_ms: abbreviated unit"),
        ("# HELP a_minutes A.\n# TYPE a_minutes gauge\na_minutes 1\n", "a_minutes: not a base unit"),
        ("# HELP a A.\n# TYPE a gauge\na 1\na 1\n", "a: series twice"),
        ("# HELP a A.\n# TYPE a gauge\na 1\n# TYPE a gauge\n", "a: family twice"),
    ] {
        assert_eq!(lint(&parse(text)), [finding], "{text}");
    }
}

/// On a node that runs: `rate()` sees a first increase only of a series that existed before it.
#[test]
fn every_combination_starts_at_zero() {
    let families = parse(fresh());
    let is_zero = |name: &str, labels: &[(&str, &str)]| {
        assert_eq!(families[name].value(labels), 0.0, "{name} {labels:?}");
    };
    for source in Source::ALL {
        for status in [Status::Firing, Status::Resolved] {
            let labels = [("source", source.as_str()), ("status", status.as_str())];
            is_zero("squelch_alerts_received_total", &labels);
        }
    }
    for receiver in ["pager", "chat", "nobody"] {
        for d in Disposition::ALL {
            let labels = [("receiver", receiver), ("disposition", d.as_str()), ("reason", d.reason())];
            is_zero("squelch_alerts_disposed_total", &labels);
        }
        for name in [
            "alerts_routed_total",
            "alerts_pending",
            "alerts_flapping",
            "alerts_held",
            "pages_over_budget_total",
            "incidents_orphaned",
        ] {
            is_zero(&format!("squelch_{name}"), &[("receiver", receiver)]);
        }
        for state in ["open", "resolving", "closing"] {
            is_zero("squelch_incidents", &[("receiver", receiver), ("state", state)]);
        }
        for name in ["queue_length", "queue_oldest_timestamp_seconds", "receiver_circuit_open"] {
            is_zero(&format!("squelch_{name}"), &[("receiver", receiver)]);
        }
    }
    let integrations = [("pager", "pagerduty"), ("chat", "slack"), ("chat", "webhook"), ("chat", "console")];
    for (receiver, integration) in integrations {
        let of = [("receiver", receiver), ("integration", integration)];
        is_zero("squelch_notification_template_errors_total", &of);
        for kind in Kind::ALL {
            is_zero("squelch_notifications_total", &[of[0], of[1], ("kind", kind.as_str())]);
        }
        for reason in FailureReason::ALL {
            is_zero("squelch_notifications_failed_total", &[of[0], of[1], ("reason", reason.as_str())]);
        }
    }
    for reason in InvalidReason::ALL {
        is_zero("squelch_alerts_invalid_total", &[("reason", reason.as_str())]);
    }
    for path in squelch::web::paths() {
        is_zero("squelch_http_requests_total", &[("handler", path), ("code", "200")]);
    }
    is_zero("squelch_store_failures_total", &[]);
}

/// Also for later additions: no counter begins with another number, and no family is empty.
#[test]
fn no_counter_begins_with_anything_else() {
    for (name, family) in parse(fresh()) {
        // One series for each heartbeat that is configured, sender whose clock is wrong, or severity that is
        // unknown. Here is none.
        let named = [
            "squelch_heartbeat_last_timestamp_seconds",
            "squelch_sender_clock_offset_seconds",
            "squelch_unknown_severity_alerts",
        ];
        assert!(
            named.contains(&name.as_str()) || !family.samples.is_empty(),
            "{name} has no series before something happens"
        );
        // The start itself is made durable, and takes CPU time.
        let begun = ["squelch_journal_commit_seconds", "process_cpu_seconds_total"].contains(&name.as_str());
        if family.kind[0] != "gauge" && !begun {
            let not_zero: Vec<_> = family.samples.iter().filter(|s| s.value != 0.0).collect();
            assert!(not_zero.is_empty(), "{not_zero:?}");
        }
    }
}

/// Every series that the rules and the dashboard of the Alertmanager mixin name, with the labels that they
/// group by. The one that karma reads is included.
#[test]
fn the_mixin_finds_its_series() {
    let families = parse(fresh());
    for (name, labels) in [
        ("alertmanager_build_info", &["version"][..]),
        ("alertmanager_alerts", &["state"]),
        ("alertmanager_alerts_received_total", &["status"]),
        ("alertmanager_alerts_invalid_total", &[]),
        ("alertmanager_notifications_total", &["integration"]),
        ("alertmanager_notifications_failed_total", &["integration", "reason"]),
        ("alertmanager_notification_latency_seconds", &["integration"]),
        ("alertmanager_config_hash", &[]),
        ("alertmanager_config_last_reload_successful", &[]),
        ("alertmanager_config_last_reload_success_timestamp_seconds", &[]),
        ("alertmanager_cluster_members", &[]),
        ("alertmanager_cluster_failed_peers", &[]),
        ("alertmanager_cluster_enabled", &[]),
        ("alertmanager_silences", &["state"]),
    ] {
        let family = families.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        let found = family.labels();
        assert!(!family.samples.is_empty() && labels.iter().all(|l| found.contains(l)), "{name}: {found:?}");
    }
    let value = |name: &str| families[name].value(&[]);
    assert_eq!(value("alertmanager_cluster_members"), 1.0);
    assert_eq!(value("alertmanager_config_last_reload_successful"), 1.0);
    let hash = value("alertmanager_config_hash");
    assert!(hash > 0.0 && hash.fract() == 0.0, "{hash}");
    let (ours, theirs) = (
        "squelch_config_last_reload_success_timestamp_seconds",
        "config_last_reload_success_timestamp_seconds",
    );
    assert_eq!(value(ours), value(&format!("alertmanager_{theirs}")));
}

/// Squelch's counts stand under Alertmanager's names too.
#[test]
fn alertmanagers_series_say_what_squelch_counted() {
    let registry = Registry::new();
    let meter = NodeMeter::register(&registry, &["malformed"], &[]).unwrap();
    meter.lost_input();
    meter.counted(3, 2);
    meter.configured("route: {}");
    let mut stats = Stats::default();
    stats.receivers.entry("pager".into()).or_default();
    stats.received.insert((Source::Prometheus, Status::Firing), 7);
    stats.received.insert((Source::Alertmanager, Status::Firing), 5);
    let families = parse(&metrics::render(&stats, &registry));
    let value = |name: &str, labels: &[(&str, &str)]| families[name].value(labels);
    assert_eq!(value("alertmanager_alerts_received_total", &[("status", "firing")]), 12.0);
    assert_eq!(value("alertmanager_alerts_invalid_total", &[("version", "v2")]), 1.0);
    let counts =
        ["active", "suppressed", "unprocessed"].map(|s| value("alertmanager_alerts", &[("state", s)]));
    assert_eq!(counts, [3.0, 2.0, 0.0]);
    let before = value("alertmanager_config_hash", &[]);
    meter.configured("route: {receiver: a}");
    let after = parse(&metrics::render(&stats, &registry))["alertmanager_config_hash"].value(&[]);
    assert_ne!(before, after);
}

#[test]
fn says_what_the_engine_counted() {
    let mut stats = Stats::default();
    stats.received.insert((Source::Prometheus, Status::Firing), 7);
    let pager = stats.receivers.entry("pager".into()).or_default();
    pager.routed = 7;
    pager.pending = 1;
    pager.disposed.insert(Disposition::Page, 2);
    pager.disposed.insert(Disposition::Suppressed(Reason::Flapping), 4);
    pager.notifications.insert(("pagerduty[0]".into(), Kind::Page), 2);
    pager.notifications.insert(("pagerduty[1]".into(), Kind::Page), 3);
    pager.page_delay = vec![0; PAGE_DELAY_BUCKETS.len() + 1];
    pager.over_budget = 3;
    pager.page_delay[0] = 1;
    pager.page_delay[3] = 2;
    *pager.page_delay.last_mut().unwrap() = 4;
    pager.page_delay_sum = Duration::from_millis(12_345);

    let families = parse(&render(&stats));
    let value = |name: &str, labels: &[(&str, &str)]| families[name].value(labels);
    assert_eq!(
        value("squelch_alerts_received_total", &[("source", "prometheus"), ("status", "firing")]),
        7.0
    );
    let pages = [("receiver", "pager"), ("integration", "pagerduty"), ("kind", "page")];
    assert_eq!(value("squelch_notifications_total", &pages), 5.0, "both integrations, summed");
    assert_eq!(value("squelch_pages_over_budget_total", &[("receiver", "pager")]), 3.0);
    let flapping = [("receiver", "pager"), ("disposition", "suppressed"), ("reason", "flapping")];
    assert_eq!(value("squelch_alerts_disposed_total", &flapping), 4.0);
    let disposed: f64 = families["squelch_alerts_disposed_total"]
        .samples
        .iter()
        .filter(|s| s.labels["receiver"] == "pager")
        .map(|s| s.value)
        .sum();
    let of_pager = [("receiver", "pager")];
    assert_eq!(
        value("squelch_alerts_routed_total", &of_pager),
        disposed + value("squelch_alerts_pending", &of_pager),
        "the law holds within one scrape"
    );

    let delay: Vec<(String, f64)> = families["squelch_page_delay_seconds"]
        .samples
        .iter()
        .filter(|s| s.labels["receiver"] == "pager")
        .map(|s| (s.labels.get("le").cloned().unwrap_or_else(|| s.name.clone()), s.value))
        .collect();
    let delay = |le: &str| delay.iter().find(|(name, _)| name == le).unwrap().1;
    assert_eq!((delay("1"), delay("15"), delay("30"), delay("3600")), (1.0, 1.0, 3.0, 3.0));
    assert_eq!((delay("+Inf"), delay("squelch_page_delay_seconds_count")), (7.0, 7.0));
    assert_eq!(delay("squelch_page_delay_seconds_sum"), 12.345);
}

/// A standby that showed them as 0 would seem to receive all alerts of its predecessors at a takeover.
#[test]
fn a_standby_has_no_counters_of_the_engine() {
    let mut stats = Stats::default();
    let names =
        ["squelch_alerts_received_total", "squelch_alerts_overflow_total", "squelch_bounds_exceeded_total"];
    let names =
        names.into_iter().chain(["alertmanager_alerts_received_total", "squelch_alerts_routed_total"]);
    let counts = |stats: &Stats| -> Vec<usize> {
        let families = parse(&metrics::render(stats, &Registry::new()));
        names.clone().map(|name| families.get(name).map_or(0, |family| family.samples.len())).collect()
    };
    assert_eq!(counts(&stats), [0; 5]);
    stats.receivers.entry("pager".into()).or_default();
    assert!(counts(&stats).iter().all(|series| *series > 0), "{:?}", counts(&stats));
}

#[test]
fn the_node_counts() {
    let registry = Registry::new();
    let meter = NodeMeter::register(&registry, &["malformed"], &["/alertmanager/webhook"]).unwrap();
    meter.committed(StdDuration::from_millis(2));
    meter.store_failed();
    meter.reloaded(Timestamp::from_millis(1_700_000_000_000));
    meter.reload_failed();
    meter.refused("malformed", 3);
    meter.refused("made up by a client", 1);
    meter.answered("/alertmanager/webhook", 503);
    meter.answered("/made/up/by/a/client", 404);

    let families = parse(&metrics::render(&Stats::default(), &registry));
    let value = |name: &str, labels: &[(&str, &str)]| families[name].value(labels);
    assert_eq!(value("squelch_store_failures_total", &[]), 1.0);
    assert_eq!(value("squelch_config_last_reload_successful", &[]), 0.0);
    assert_eq!(value("squelch_config_last_reload_success_timestamp_seconds", &[]), 1.7e9);
    assert_eq!(value("squelch_alerts_invalid_total", &[("reason", "malformed")]), 3.0);
    assert_eq!(value("squelch_alerts_invalid_total", &[("reason", "other")]), 1.0);
    let requests = "squelch_http_requests_total";
    assert_eq!(value(requests, &[("handler", "/alertmanager/webhook"), ("code", "503")]), 1.0);
    assert_eq!(value(requests, &[("handler", "other"), ("code", "404")]), 1.0);
    let within = |le: &str| {
        let commits = &families["squelch_journal_commit_seconds"].samples;
        commits.iter().find(|s| s.labels.get("le").map(String::as_str) == Some(le)).unwrap().value
    };
    assert_eq!((within("0.001"), within("0.0025")), (0.0, 1.0));

    assert!(NodeMeter::register(&registry, &[], &[]).is_err(), "names are taken once");
}

/// The rules of promlint (client_golang `prometheus/testutil/promlint`), as findings.
fn lint(families: &BTreeMap<String, Family>) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, family) in families {
        let kind = family.kind.first().map_or("untyped", String::as_str);
        let tokens: Vec<&str> = name.split('_').collect();
        let labels = family.labels();
        let mut series: Vec<_> = family.samples.iter().map(|s| (&s.name, &s.labels)).collect();
        let all = series.len();
        series.sort();
        series.dedup();
        let abbreviated = ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];
        let not_base =
            ["minutes", "hours", "days", "weeks", "milliseconds", "microseconds", "bits", "percent"];
        let rules = [
            (family.help.is_empty(), "no help"),
            (family.kind.len() > 1 || family.help.len() > 1, "family twice"),
            (kind == "counter" && !name.ends_with("_total"), "counter must end in _total"),
            (kind != "counter" && name.ends_with("_total"), "only a counter may end in _total"),
            (
                kind != "histogram" && ["_bucket", "_count", "_sum"].iter().any(|s| name.ends_with(s)),
                "suffix of a histogram",
            ),
            (
                kind != "histogram" && (labels.contains("le") || labels.contains("quantile")),
                "label of a histogram",
            ),
            (
                tokens.iter().any(|t| ["gauge", "counter", "histogram", "summary"].contains(t)),
                "its type in its name",
            ),
            (name.contains(':'), "colons are for recording rules"),
            (name.chars().any(|c| c.is_ascii_uppercase()), "not snake_case"),
            (tokens.iter().any(|t| abbreviated.contains(t)), "abbreviated unit"),
            (tokens.iter().any(|t| not_base.contains(t)), "not a base unit"),
            (series.len() < all, "series twice"),
        ];
        findings
            .extend(rules.iter().filter(|(broken, _)| *broken).map(|(_, what)| format!("{name}: {what}")));
        for label in labels.iter().filter(|l| l.chars().any(|c| c.is_ascii_uppercase())) {
            findings.push(format!("{name}: label {label} is not snake_case"));
        }
    }
    findings
}
