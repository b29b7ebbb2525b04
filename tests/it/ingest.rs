//! Wire formats in, against bodies as Alertmanager, Grafana and Prometheus send them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use squelch::ingest::{IngestError, InvalidReason, Parsed, api_v2, bounds, webhook};
use squelch::model::{Duration, Fingerprint, Source, Status, Timestamp};

const AM_025: &[u8] = include_bytes!("../data/ingest/alertmanager-0.25.json");
const AM_034: &[u8] = include_bytes!("../data/ingest/alertmanager-0.34.json");
const GRAFANA: &[u8] = include_bytes!("../data/ingest/grafana.json");
const API_V2: &[u8] = include_bytes!("../data/ingest/api_v2.json");

fn now() -> Timestamp {
    at("2026-11-23T00:15:00Z")
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn hook(body: &[u8]) -> Result<Parsed, IngestError> {
    webhook::parse(body, "192.0.2.7", now(), &Default::default())
}

fn hook_alerts(alerts: Value) -> Parsed {
    hook(json!({ "version": "4", "alerts": alerts }).to_string().as_bytes()).unwrap()
}

fn v2(body: &[u8]) -> Result<Parsed, IngestError> {
    api_v2::parse(body, "192.0.2.7", now(), Duration::from_mins(5), &Default::default())
}

#[test]
fn reads_what_alertmanager_0_25_sends() {
    let parsed = hook(AM_025).unwrap();
    assert_eq!(parsed.receiver, "raw.(x)");
    assert_eq!(parsed.group_key, r#"{}:{alertname="Raw"}"#);
    assert_eq!((parsed.batch.source, parsed.batch.peer.as_str()), (Source::Alertmanager, "http://vm:19093"));
    let [alert] = parsed.batch.observations.as_slice() else { panic!("one alert") };
    assert_eq!(alert.status, Status::Firing);
    assert_eq!(Fingerprint::of(&alert.labels).to_string(), "22db5782a4fe1682");
    assert_eq!(alert.annotations.value("summary"), "s");
    assert_eq!((alert.starts_at, alert.ends_at), (at("2026-11-23T00:16:19Z"), None));
    assert_eq!(alert.generator_url, "http://p/g?a=1&b=2");
    assert!(parsed.rejects.is_empty() && parsed.mended.is_empty());
}

#[test]
fn reads_newer_fields_offsets_and_truncation() {
    let parsed = hook(AM_034).unwrap();
    assert_eq!(parsed.truncated, 3);
    let [firing, resolved] = parsed.batch.observations.as_slice() else { panic!("two alerts") };
    assert_eq!(firing.starts_at, at("2026-11-23T00:16:19.123Z"));
    assert_eq!((resolved.status, resolved.ends_at), (Status::Resolved, Some(at("2026-11-23T00:16:00Z"))));
}

#[test]
fn reads_grafanas_superset() {
    let parsed = hook(GRAFANA).unwrap();
    let [alert] = parsed.batch.observations.as_slice() else { panic!("one alert") };
    assert_eq!(alert.labels.to_string(), r#"{alertname="High latency", grafana_folder="Shop"}"#);
    assert!(parsed.rejects.is_empty());
}

#[test]
fn fields_younger_than_the_format_may_be_missing() {
    let parsed = hook(br#"{"alerts":[{"labels":{"a":"b"}}]}"#).unwrap();
    assert_eq!(parsed.batch.peer, "192.0.2.7");
    let alert = &parsed.batch.observations[0];
    assert_eq!((alert.status, alert.starts_at, alert.ends_at), (Status::Firing, now(), None));
    assert!(hook(br#"{"alerts":[]}"#).unwrap().batch.observations.is_empty());
    assert!(hook(b"\xef\xbb\xbf{\"alerts\":null}\n").unwrap().batch.observations.is_empty());
}

#[test]
fn times_of_a_resolve_are_completed() {
    let parsed = hook_alerts(json!([
        {"status": "resolved", "labels": {"a": "1"}, "startsAt": "2026-11-23T00:01:00Z"},
        {"status": "resolved", "labels": {"a": "2"}, "startsAt": "2026-11-23T00:02:00Z", "endsAt": "2026-11-23T00:01:00Z"},
        {"labels": {"a": "3"}, "startsAt": "2026-11-23T00:02:00Z", "endsAt": "2026-11-23T00:03:00Z"},
    ]));
    let ends: Vec<_> = parsed.batch.observations.iter().map(|o| (o.status, o.ends_at)).collect();
    let expected = ["2026-11-23T00:15:00Z", "2026-11-23T00:01:00Z", "2026-11-23T00:03:00Z"];
    assert_eq!(ends, expected.map(|t| (Status::Resolved, Some(at(t)))));
}

#[test]
fn a_customised_body_is_refused_with_the_way_out() {
    for (body, found) in [
        (r#"{"text":"disk full"}"#, "with \"text\""),
        (r#"[{"labels":{"a":"b"}}]"#, "found a list"),
        (r#""hello""#, "found a string"),
        (r#"{"alerts":"none"}"#, "`alerts` to be the string \"none\""),
        (r#"{"alerts":{"a":1}}"#, "`alerts` to be an object"),
        ("{}", "an empty object"),
    ] {
        let error = hook(body.as_bytes()).unwrap_err();
        assert_eq!(error.reason(), InvalidReason::NotV4, "{body}");
        let text = error.to_string();
        assert!(text.contains(found) && text.contains("`payload:` unset"), "{text}");
    }
    let error = v2(AM_025).unwrap_err();
    assert_eq!(error.reason(), InvalidReason::NotAList);
    assert!(error.to_string().contains("/alertmanager/webhook"));
}

#[test]
fn malformed_bodies_name_the_byte() {
    let cut = &AM_025[..200];
    let error = hook(cut).unwrap_err();
    assert!(error.to_string().contains("at byte 200 of 200"), "{error}");
    for bad in [&b""[..], b"   ", b"{\"alerts\":[{]}", b"nonsense"] {
        assert_eq!(hook(bad).unwrap_err().reason(), InvalidReason::MalformedJson, "{bad:?}");
        assert_eq!(v2(bad).unwrap_err().reason(), InvalidReason::MalformedJson, "{bad:?}");
    }
}

#[test]
fn each_bad_alert_is_refused_alone() {
    let good = json!({"status": "firing", "labels": {"a": "b"}, "startsAt": "2026-11-23T00:00:00Z"});
    let bad = [
        (json!(7), InvalidReason::NotAnObject, "the number 7"),
        (json!([["x"]]), InvalidReason::NotAnObject, "a list"),
        (json!({"annotations": {}}), InvalidReason::NoLabels, "labels are missing"),
        (json!({"labels": {"a": ""}}), InvalidReason::NoLabels, "all empty"),
        (json!({"labels": "x"}), InvalidReason::NoLabels, "labels are missing"),
    ];
    let mut alerts = vec![good.clone()];
    for (alert, ..) in &bad {
        alerts.extend([alert.clone(), good.clone()]);
    }
    let parsed = v2(json!(alerts).to_string().as_bytes()).unwrap();
    assert_eq!(parsed.batch.observations.len(), bad.len() + 1);
    assert_eq!(parsed.rejected_total(), bad.len() as u64);
    for (i, ((_, reason, text), reject)) in bad.iter().zip(&parsed.rejects).enumerate() {
        assert_eq!((reject.index, reject.reason), (2 * i + 1, *reason));
        assert!(reject.error.contains(text), "{}", reject.error);
    }
    let rejected = hook_alerts(json!(alerts)).rejected;
    assert_eq!(rejected, BTreeMap::from([(InvalidReason::NotAnObject, 2)]), "a webhook is not told");
}

/// Alertmanager's webhook does not read the answer: an alert that were refused would be lost.
#[test]
fn whatever_is_wrong_with_its_labels_an_alert_is_taken() {
    let many: serde_json::Map<_, _> = (0..300).map(|i| (format!("l{i}"), json!("v"))).collect();
    for (labels, reason, name, value) in [
        (json!({"a": ""}), InvalidReason::BadLabel, "alertname", "AlertWithoutLabels"),
        (json!(null), InvalidReason::BadLabel, "alertname", "AlertWithoutLabels"),
        (json!([{"name": "a"}]), InvalidReason::BadLabel, "alertname", "AlertWithoutLabels"),
        (json!({"pod": 5}), InvalidReason::BadLabel, "pod", "5"),
        (json!({"up": true}), InvalidReason::BadLabel, "up", "true"),
        (json!({"x": {"y": [1]}}), InvalidReason::BadLabel, "x", r#"{"y":[1]}"#),
        (json!({"": "x"}), InvalidReason::BadLabel, "_", "x"),
        (Value::Object(many), InvalidReason::TooManyLabels, "l0", "v"),
    ] {
        let alert = json!({"status": "firing", "labels": labels, "startsAt": "2026-11-23T00:00:00Z"});
        let parsed = hook_alerts(json!([alert]));
        let [one] = parsed.batch.observations.as_slice() else { panic!("{alert}") };
        assert_eq!(one.labels.value(name), value, "{alert}");
        assert!(
            parsed.rejects.is_empty() && parsed.mended.keys().eq([&reason]),
            "{alert}: {:?}",
            parsed.mended
        );
    }
}

#[test]
fn the_last_list_of_alerts_counts() {
    let (one, two) = (r#"{"labels":{"a":"1"}}"#, r#"{"labels":{"a":"2"}}"#);
    for (lists, taken) in [
        (format!(r#""alerts":[{one},7],"Alerts":[{two}]"#), vec!["2"]),
        (format!(r#""alerts":[{one}],"alerts":null"#), vec![]),
        (format!(r#""alerts":5,"ALERTS":[{one},{two}]"#), vec!["1", "2"]),
    ] {
        let parsed = hook(format!("{{{lists}}}").as_bytes()).unwrap();
        let found: Vec<_> =
            parsed.batch.observations.iter().map(|o| o.labels.value("a").to_owned()).collect();
        assert_eq!(
            (found, parsed.rejects.len()),
            (taken.iter().map(ToString::to_string).collect(), 0),
            "{lists}"
        );
    }
    let parsed = hook(br#"{"alerts":[{"labels":{"a":"b"}}]} {"#).unwrap();
    assert_eq!(parsed.mended[&InvalidReason::TrailingData], 1);
}

#[test]
fn api_v2_follows_alertmanagers_rules_for_times() {
    let parsed = v2(API_V2).unwrap();
    assert_eq!(parsed.batch.source, Source::Prometheus);
    let seen: Vec<_> = parsed
        .batch
        .observations
        .iter()
        .map(|o| (o.labels.value("alertname"), o.status, o.starts_at, o.ends_at.unwrap()))
        .collect();
    let midnight = at("2026-11-23T00:00:00Z");
    let nine_past = at("2026-11-23T00:09:00Z");
    assert_eq!(
        seen,
        [
            ("Up", Status::Firing, midnight, at("2026-11-23T00:20:00Z")),
            ("Gone", Status::Resolved, midnight, at("2026-11-23T00:10:00Z")),
            ("Bare", Status::Firing, now(), at("2026-11-23T00:20:00Z")),
            ("EndOnly", Status::Resolved, nine_past, nine_past),
            ("Backwards", Status::Resolved, nine_past, nine_past),
        ]
    );
    assert_eq!(parsed.batch.observations[0].labels.len(), 2, "an empty value is no label");
    assert!(parsed.rejects.is_empty());
    assert_eq!(parsed.mended, BTreeMap::from([(InvalidReason::BadTime, 1)]));
    let said = &parsed.first_mended[&InvalidReason::BadTime];
    assert!(said.starts_with("alert 4: endsAt 2026-11-23T00:09:00Z is before startsAt"), "{said}");
    assert!(v2(b"[]").unwrap().batch.observations.is_empty());
}

/// One alert as both endpoints read it, and the mended errors.
fn both(alert: &Value) -> [(Parsed, &'static str); 2] {
    let hooked = hook_alerts(json!([alert]));
    [(hooked, "webhook"), (v2(json!([alert]).to_string().as_bytes()).unwrap(), "API v2")]
}

#[test]
fn a_time_that_cannot_be_costs_no_alert() {
    let (start, end) = ("2026-11-23T00:00:00Z", "2026-11-23T00:10:00Z");
    let (known, in_time) = (Some(at(start)), at("2026-11-23T00:20:00Z"));
    for (starts_at, ends_at, said, start, status) in [
        (json!("yesterday"), json!(null), "startsAt is \"yesterday\"", None, Status::Firing),
        (json!(17), json!(null), "startsAt is the number 17", None, Status::Firing),
        (json!("1970-01-01T00:00:01Z"), json!(""), "is more than 3653d ago", None, Status::Firing),
        (json!("2026-11-24T00:15:01Z"), json!(""), "is more than 1d ahead", None, Status::Firing),
        (json!("9999-12-31T23:59:59Z"), json!(""), "is more than 1d ahead", None, Status::Firing),
        (json!("yesterday"), json!(end), "startsAt is \"yesterday\"", Some(at(end)), Status::Resolved),
        (json!(start), json!({}), "endsAt is an object", known, Status::Firing),
        (json!(end), json!(start), "is before startsAt", known, Status::Resolved),
        (json!({}), json!([]), "startsAt is an object", None, Status::Firing),
    ] {
        let alert = json!({"labels": {"a": "b"}, "startsAt": starts_at, "endsAt": ends_at});
        for (parsed, door) in both(&alert) {
            let [one] = parsed.batch.observations.as_slice() else { panic!("{door}: {alert} is taken") };
            assert_eq!((one.status, one.starts_at), (status, start.unwrap_or(now())), "{door}: {alert}");
            // Without a better value, its end is its start. It says no more than that.
            let unknown = start.is_none() || said.starts_with("startsAt") || said == "is before startsAt";
            assert_eq!(one.start_unknown, unknown, "{door}: {alert}");
            let until = (door == "API v2").then_some(in_time);
            assert_eq!(
                one.ends_at,
                if status == Status::Resolved { start } else { until },
                "{door}: {alert}"
            );
            assert_eq!(parsed.mended, BTreeMap::from([(InvalidReason::BadTime, 1)]), "{door}: {alert}");
            let first = &parsed.first_mended[&InvalidReason::BadTime];
            assert!(first.starts_with("alert 0: ") && first.contains(said), "{door}: {first}");
            assert!(parsed.rejects.is_empty());
        }
    }
    // It has ended, and the time is not known.
    let long_ago = json!({"labels": {"a": "b"}, "startsAt": start, "endsAt": "1970-01-01T00:00:01Z"});
    for (parsed, door) in both(&long_ago) {
        let one = &parsed.batch.observations[0];
        assert_eq!(
            (one.status, one.starts_at, one.ends_at),
            (Status::Resolved, at(start), Some(now())),
            "{door}"
        );
        assert_eq!(parsed.mended, BTreeMap::from([(InvalidReason::BadTime, 1)]), "{door}");
    }
    // "For ever", as people write it, is an end.
    let for_ever = json!({"labels": {"a": "b"}, "startsAt": start, "endsAt": "9999-12-31T23:59:59Z"});
    for (parsed, door) in both(&for_ever) {
        assert!(parsed.mended.is_empty(), "{door}");
        assert_eq!(parsed.batch.observations[0].status, Status::Firing, "{door}");
    }
}

#[test]
fn what_a_webhook_says_of_a_resolve_is_mended() {
    let resolved = |starts_at: &str, ends_at: &str| {
        let alert =
            json!({"status": "resolved", "labels": {"a": "b"}, "startsAt": starts_at, "endsAt": ends_at});
        let parsed = hook_alerts(json!([alert]));
        assert_eq!(parsed.mended, BTreeMap::from([(InvalidReason::BadTime, 1)]), "{alert}");
        let one = &parsed.batch.observations[0];
        assert_eq!(one.status, Status::Resolved, "its status is what its sender says: {alert}");
        (one.starts_at, one.ends_at)
    };
    let (start, end) = ("2026-11-23T00:00:00Z", "2026-11-23T00:10:00Z");
    for bad in ["soon", "1970-01-01T00:00:01Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"] {
        assert_eq!(resolved(start, bad), (at(start), Some(now())), "an end of {bad}");
    }
    assert_eq!(resolved(end, start), (at(start), Some(at(start))), "an end before the start");
    assert_eq!(resolved("never", end), (at(end), Some(at(end))));
    assert_eq!(resolved("never", "never"), (now(), Some(now())));
}

#[test]
fn a_status_that_is_none_costs_no_alert() {
    for status in [json!("maybe"), json!(1), json!({}), json!("")] {
        let alert = json!({"status": status, "labels": {"a": "b"}, "startsAt": "2026-11-23T00:00:00Z"});
        let parsed = hook_alerts(json!([alert]));
        assert_eq!(parsed.batch.observations[0].status, Status::Firing, "{status}: in doubt, it fires");
        assert_eq!(parsed.mended, BTreeMap::from([(InvalidReason::BadStatus, 1)]), "{status}");
        assert!(parsed.first_mended[&InvalidReason::BadStatus].contains("firing or resolved"));
    }
}

#[test]
fn nesting_costs_no_stack() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let unknown = format!(r#"{{"extra":{deep},"alerts":[{{"labels":{{"a":"b"}},"values":{deep}}}]}}"#);
    assert_eq!(hook(unknown.as_bytes()).unwrap().batch.observations.len(), 1);
    let inside = format!(
        r#"{{"alerts":[{{"labels":{{"a":{deep}}}}},{{"labels":{{"a":"b"}},"annotations":{deep}}}]}}"#
    );
    let parsed = hook(inside.as_bytes()).unwrap();
    assert_eq!(parsed.mended[&InvalidReason::BadLabel], 1);
    assert_eq!(parsed.mended[&InvalidReason::BadAnnotation], 1);
    assert_eq!(hook(deep.as_bytes()).unwrap_err().reason(), InvalidReason::NotV4);
    assert_eq!(v2(deep.as_bytes()).unwrap().rejects[0].reason, InvalidReason::NotAnObject);
    assert_eq!(hook("[".repeat(10_000).as_bytes()).unwrap_err().reason(), InvalidReason::MalformedJson);
    assert_eq!(hook("{\"a\":".repeat(10_000).as_bytes()).unwrap_err().reason(), InvalidReason::MalformedJson);
}

#[test]
fn bytes_that_are_not_utf8_lose_nothing() {
    let body = b"{\"alerts\":[{\"labels\":{\"a\":\"b\xff\"},\"annotations\":{\"s\":\"caf\xe9\"}}]}";
    let parsed = hook(body).unwrap();
    assert_eq!(parsed.batch.observations[0].labels.value("a"), "b\u{fffd}");
    assert_eq!(parsed.mended[&InvalidReason::InvalidUtf8], 1);
}

#[test]
fn a_megabyte_of_label_is_cut_and_counted() {
    let parsed = hook_alerts(json!([{"labels": {"a": "x".repeat(1 << 20)}}, {"labels": {"a": "b"}}]));
    assert_eq!(parsed.batch.observations.len(), 2);
    assert_eq!(parsed.batch.observations[0].labels.value("a").len(), bounds::LABEL_BYTES);
    assert_eq!(parsed.mended[&InvalidReason::Cut], 1);
}

#[test]
fn refusals_are_listed_up_to_a_bound_and_counted_beyond() {
    let parsed = v2(format!("[{}0]", "0,".repeat(4_999)).as_bytes()).unwrap();
    assert_eq!(parsed.rejects.len(), bounds::REJECTS_LISTED);
    assert_eq!(parsed.rejected_total(), 5_000);
}

/// An alert as any sender might write it, and the expected reading.
fn valid_alert() -> impl Strategy<Value = Value> {
    let text = "[ -~é😀\"\\\\\n]{1,12}";
    let labels = proptest::collection::btree_map(text, text, 1..6);
    let annotations = proptest::collection::btree_map(text, text, 0..4);
    let start = now().as_millis() - 300_000_000_000..now().as_millis();
    (labels, annotations, any::<bool>(), start).prop_map(
        |(labels, annotations, firing, starts)| {
            json!({
                "status": if firing { "firing" } else { "resolved" },
                "labels": labels,
                "annotations": annotations,
                "startsAt": Timestamp::from_millis(starts).to_string(),
                "endsAt": if firing { "0001-01-01T00:00:00Z".to_owned() } else { Timestamp::from_millis(starts + 1).to_string() },
                "generatorURL": "http://p",
                "future": [{"nested": {"x": 1}}],
            })
        },
    )
}

proptest! {
    #[test]
    fn everything_valid_survives(
        alerts in proptest::collection::vec(valid_alert(), 0..6),
        garbage in 0usize..3,
    ) {
        let mut sent = alerts.clone();
        for i in 0..garbage.min(sent.len()) {
            sent.insert(i * 2, json!([{"labels": {"a": i}}]));
        }
        let parsed = hook_alerts(json!(sent));
        prop_assert_eq!(parsed.rejects.len(), sent.len() - alerts.len());
        prop_assert_eq!(parsed.batch.observations.len(), alerts.len());
        for (observed, sent) in parsed.batch.observations.iter().zip(&alerts) {
            prop_assert_eq!(&serde_json::to_value(&observed.labels).unwrap(), &sent["labels"]);
            prop_assert_eq!(&serde_json::to_value(&observed.annotations).unwrap(), &sent["annotations"]);
            prop_assert_eq!(observed.status.as_str(), sent["status"].as_str().unwrap());
            prop_assert_eq!(observed.starts_at.to_string(), sent["startsAt"].as_str().unwrap());
        }
    }

    #[test]
    fn mutated_bodies_never_panic(
        which in 0usize..4,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..12),
    ) {
        let mut body = [AM_025, AM_034, GRAFANA, API_V2][which].to_vec();
        for (at, byte, edit) in edits {
            let at = at.index(body.len().max(1)).min(body.len().saturating_sub(1));
            match edit {
                0 if !body.is_empty() => body[at] = byte,
                1 => body.insert(at, byte),
                _ => body.truncate(at),
            }
        }
        for parsed in [hook(&body), v2(&body)].into_iter().flatten() {
            prop_assert!(parsed.batch.observations.iter().all(|o| !o.labels.is_empty()));
        }
    }
}
