//! Squelch reads senders' requests as Alertmanager does. Where Alertmanager 0.25 is installed, the test
//! asks it. Otherwise the test compares Squelch with its recorded answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use squelch::ingest::{Parsed, api_v2, webhook};
use squelch::model::{Duration, Status, Timestamp};

use crate::e2e::child::{Child, free_port};
use crate::e2e::{http, until};

/// A form of a time, its meaning to Squelch, and whether Alertmanager agrees or refuses it. Empty: it is
/// not read as a time.
const TIMES: [(&str, &str, bool); 44] = [
    ("2087-11-23T10:16:19Z", "2087-11-23T10:16:19Z", true),
    ("2087-11-23T10:16:19.1Z", "2087-11-23T10:16:19.1Z", true),
    ("2087-11-23T10:16:19.123456789Z", "2087-11-23T10:16:19.123Z", true),
    ("2087-11-23T10:16:19,123Z", "2087-11-23T10:16:19.123Z", true),
    ("2087-11-23T10:16:19+02:00", "2087-11-23T08:16:19Z", true),
    ("2087-11-23T10:16:19-00:00", "2087-11-23T10:16:19Z", true),
    ("2087-11-23T10:16:19+23:59", "2087-11-22T10:17:19Z", true),
    ("2087-11-23T10:16:19.123456-05:30", "2087-11-23T15:46:19.123Z", true),
    ("2087-11-23T10:16:19.123+0200", "2087-11-23T08:16:19.123Z", true),
    ("2087-11-23T10:16:19.123456+0000", "2087-11-23T10:16:19.123Z", true),
    ("2087-11-23T10:16:19", "2087-11-23T10:16:19Z", true),
    ("2087-11-23T10:16:19.123", "2087-11-23T10:16:19.123Z", true),
    ("2087-11-23T10:16:19.123456", "2087-11-23T10:16:19.123Z", true),
    ("2087-11-23T10:16:19,5", "2087-11-23T10:16:19.5Z", true),
    ("2087-11-23T10:16Z", "2087-11-23T10:16:00Z", true),
    ("2087-11-23T10:16", "2087-11-23T10:16:00Z", true),
    ("2087-11-23 10:16:19", "2087-11-23T10:16:19Z", true),
    ("2087-11-23 10:16:19.123", "2087-11-23T10:16:19.123Z", true),
    ("2087-11-23T1:16:19Z", "2087-11-23T01:16:19Z", true),
    ("2087-11-23T1:16:19", "2087-11-23T01:16:19Z", true),
    // Newer Alertmanagers read a date alone too.
    ("2087-11-23", "2087-11-23T00:00:00Z", false),
    ("2087-11-23T10:16:19+0200", "2087-11-23T08:16:19Z", false),
    ("2087-11-23T10:16:19.1+0200", "2087-11-23T08:16:19.1Z", false),
    ("2087-11-23T10:16:19+02", "2087-11-23T08:16:19Z", false),
    ("2087-11-23T10:16+02:00", "2087-11-23T08:16:00Z", false),
    ("2087-11-23 10:16:19Z", "2087-11-23T10:16:19Z", false),
    ("2087-11-23 10:16:19+00:00", "2087-11-23T10:16:19Z", false),
    ("2087-11-23 10:16", "2087-11-23T10:16:00Z", false),
    ("2087-11-23t10:16:19z", "2087-11-23T10:16:19Z", false),
    ("2087-11-23T10:16:19z", "2087-11-23T10:16:19Z", false),
    (" 2087-11-23T10:16:19Z", "2087-11-23T10:16:19Z", false),
    ("2087-11-23T10:16:19 ", "2087-11-23T10:16:19Z", false),
    ("2087-11-31T10:16:19Z", "", false),
    ("2087-13-01T10:16:19Z", "", false),
    ("2087-02-29T10:16:19Z", "", false),
    ("2087-11-23T24:00:00Z", "", false),
    ("2087-1-2T10:16:19Z", "", false),
    ("2087-11", "", false),
    ("10000-01-01T00:00:00Z", "", false),
    ("Sun, 23 Nov 2087 10:16:19 GMT", "", false),
    ("3720000000", "", false),
    ("2087-11-23 10:16:19 UTC", "", false),
    ("now", "", false),
    ("0000-00-00T00:00:00Z", "", false),
];

/// Badly written alerts, with the name `NAME`, that Alertmanager takes.
const ALERTS: [&[u8]; 21] = [
    br#"[{"labels":{NAME,"a":"1","a":"2"}}]"#,
    br#"[{"labels":{NAME,"a":"1","a":null}}]"#,
    br#"[{"labels":{NAME,"a":"1"},"labels":{"b":"2"}}]"#,
    br#"[{"labels":null,"labels":{NAME,"a":"1"},"LABELS":{"a":"2"}}]"#,
    br#"[{"labels":{"b":"1"},"labels":null,"labels":{NAME}}]"#,
    br#"[{"LaBeLs":{NAME}}]"#,
    "[{\"label\u{17f}\":{NAME}}]".as_bytes(),
    br#"[{"l\u0061bels":{NAME}}]"#,
    br#"[{"labels":{NAME},"generatorURL":"http://a","generatorurl":"http://b"}]"#,
    br#"[{"labels":{NAME},"generatorURL":"http://a","generatorURL":null}]"#,
    br#"[{"labels":{NAME},"annotations":{"a":"1"},"annotations":{"a":null,"b":"\ud800"}}]"#,
    br#"[{"labels":{NAME},"annotations":null,"\ud800":1,"status":"resolved","x":[{"y":{}}]}]"#,
    br#"[{"labels":{NAME,"a":"x\ud800y","b":"\ud83d\ud83d\ude00\ude00","c":"\u0000"}}]"#,
    br#"[{"labels":{NAME}}] x"#,
    br#"[{"labels":{NAME}}][]"#,
    b"[{\"labels\":{NAME}}]\0",
    b"[{\"labels\":{NAME,\"a\":\"b\xff\"}}]",
    b"[{\"labels\":{NAME},\"annotations\":{\"a\":\"b\xe2\x82 \xf0\x9f\x98 x\"}}]",
    b"[{\"labels\":{NAME},\"annotations\":{\"a\":\"b\xed\xa0\x80\"}}]",
    br#"[{"labels":{NAME},"STARTSAT":"2026-11-23T00:00:00Z","startsAt":null,"endsat":"2087-11-23T10:16:19Z"}]"#,
    br#"[{"labels":{NAME},"startsAt":"2026-11-23T00:00:00","startsat":"2026-11-23T01:00:00"}]"#,
];

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn now() -> Timestamp {
    at("2026-11-23T12:00:00Z")
}

fn v2(body: &[u8]) -> Parsed {
    api_v2::parse(body, "p", now(), Duration::from_mins(5), &Default::default()).unwrap()
}

fn hook(alert: &Value) -> Parsed {
    let body = json!({ "version": "4", "alerts": [alert] }).to_string();
    webhook::parse(body.as_bytes(), "p", now(), &Default::default()).unwrap()
}

/// `body` with `name` for its alert.
fn named(body: &[u8], name: &str) -> Vec<u8> {
    let place = body.windows(4).position(|window| window == b"NAME").unwrap();
    [&body[..place], format!("\"alertname\":\"{name}\"").as_bytes(), &body[place + 4..]].concat()
}

#[test]
fn times_are_read_in_every_form_that_alertmanager_reads() {
    for (form, meant, theirs) in TIMES {
        let meant = (!meant.is_empty()).then(|| at(meant));
        let alert = json!({"labels": {"a": "b"}, "startsAt": "2026-11-23T00:00:00Z", "endsAt": form});
        let parsed = v2(json!([alert]).to_string().as_bytes());
        let one = &parsed.batch.observations[0];
        let instead = now() + Duration::from_mins(5);
        assert_eq!((one.status, one.ends_at), (Status::Firing, Some(meant.unwrap_or(instead))), "{form:?}");
        assert_eq!(parsed.mended.is_empty(), meant.is_some(), "{form:?}");
        assert!(meant.is_some() || !theirs, "{form:?}: Alertmanager reads it");
        // The same at the webhook, of a start.
        let form = form.replace("2087", "2025");
        let meant = meant.map(|meant| at(&meant.to_string().replace("2087", "2025")));
        let parsed = hook(&json!({"status": "firing", "labels": {"a": "b"}, "startsAt": form}));
        assert_eq!(parsed.batch.observations[0].starts_at, meant.unwrap_or(now()), "{form:?}");
        assert_eq!(parsed.mended.is_empty(), meant.is_some(), "{form:?}");
    }
}

/// Every pair of a start and an end, at both doors.
#[test]
fn an_alert_fires_unless_its_end_has_passed() {
    let times: [(Option<Value>, Option<&str>); 15] = [
        (None, None),
        (Some(Value::Null), None),
        (Some(json!("")), None),
        (Some(json!("0001-01-01T00:00:00Z")), None),
        (Some(json!("0001-01-01T00:00:00")), None),
        (Some(json!("0001-01-01T00:00:00-05:00")), None),
        (Some(json!("soon")), None),
        (Some(json!("1970-01-01T00:00:00Z")), Some("1970-01-01T00:00:00Z")),
        (Some(json!("2025-11-23 12:00:00")), Some("2025-11-23T12:00:00Z")),
        (Some(json!("2026-11-23T11:55:00Z")), Some("2026-11-23T11:55:00Z")),
        (Some(json!("2026-11-23T12:00:00Z")), Some("2026-11-23T12:00:00Z")),
        (Some(json!("2026-11-23T12:01:00Z")), Some("2026-11-23T12:01:00Z")),
        (Some(json!("2026-11-23T12:10:00Z")), Some("2026-11-23T12:10:00Z")),
        (Some(json!("2026-11-25T12:00:00Z")), Some("2026-11-25T12:00:00Z")),
        (Some(json!("9999-12-31T23:59:59Z")), Some("9999-12-30T22:00:00Z")),
    ];
    for (start, _) in &times {
        for (end, meant) in &times {
            let mut alert = json!({"labels": {"a": "b"}});
            for (name, value) in [("startsAt", start), ("endsAt", end)] {
                if let Some(value) = value {
                    alert[name] = value.clone();
                }
            }
            let passed = meant.is_some_and(|end| at(end) <= now());
            let by_end = if passed { Status::Resolved } else { Status::Firing };
            let parsed = v2(json!([alert]).to_string().as_bytes());
            let one = &parsed.batch.observations[0];
            let (starts, ends) = (one.starts_at, one.ends_at.unwrap());
            assert_eq!(one.status, by_end, "API v2: {alert}");
            assert!(starts <= ends && (ends <= now()) == passed, "API v2: {alert}: {starts} to {ends}");
            for status in [None, Some(Status::Firing), Some(Status::Resolved)] {
                if let Some(status) = status {
                    alert["status"] = status.as_str().into();
                }
                let one = &hook(&alert).batch.observations[0];
                assert_eq!(one.status, status.unwrap_or(by_end), "webhook: {alert}");
                assert_eq!(one.ends_at.is_some(), one.status == Status::Resolved, "webhook: {alert}");
                assert!(one.ends_at.is_none_or(|ends| one.starts_at <= ends), "webhook: {alert}");
            }
        }
    }
}

/// Alertmanager's view of the alert: labels, annotations, address of the rule, start and end where those
/// are in the body.
type Shown =
    (BTreeMap<String, String>, BTreeMap<String, String>, String, Option<Timestamp>, Option<Timestamp>);

fn shown_here(body: &[u8]) -> Shown {
    let parsed = v2(body);
    let [one] = parsed.batch.observations.as_slice() else { panic!("{}", String::from_utf8_lossy(body)) };
    let pairs = |set: &squelch::model::LabelSet| {
        set.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let start = (!one.start_unknown).then_some(one.starts_at);
    let end = one.ends_at.filter(|end| *end != now() + Duration::from_mins(5));
    (pairs(&one.labels), pairs(&one.annotations), one.generator_url.to_string(), start, end)
}

#[test]
fn json_is_read_as_go_reads_it() {
    let read = |n: usize| shown_here(&named(ALERTS[n], "x"));
    let labels = |n: usize| {
        let mut labels = read(n).0;
        assert_eq!(labels.remove("alertname").as_deref(), Some("x"));
        labels.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
    };
    let expected = [
        "a=2",
        "",
        "a=1,b=2",
        "a=2",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "a=x\u{fffd}y,b=\u{fffd}😀\u{fffd},c=\0",
        "",
        "",
        "",
        "a=b\u{fffd}",
        "",
        "",
        "",
        "",
    ];
    for (n, expected) in expected.into_iter().enumerate() {
        assert_eq!(labels(n), expected, "{}", String::from_utf8_lossy(ALERTS[n]));
    }
    assert_eq!((read(8).2.as_str(), read(9).2.as_str()), ("http://b", ""));
    assert_eq!(read(10).1, BTreeMap::from([("a".into(), String::new()), ("b".into(), "\u{fffd}".into())]));
    let (start, end) = (at("2026-11-23T00:00:00Z"), at("2087-11-23T10:16:19Z"));
    assert_eq!((read(19).3, read(19).4), (Some(start), Some(end)));
    assert_eq!(read(20).3, Some(at("2026-11-23T01:00:00Z")));
}

/// The tables above equal the answers of the real program.
#[tokio::test(flavor = "multi_thread")]
async fn alertmanager_reads_them_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yml"), "route: {receiver: a}\nreceivers: [{name: a}]\n").unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let args = [
        format!("--config.file={}", folder.path().join("a.yml").display()),
        format!("--storage.path={}", folder.path().join("data").display()),
        format!("--web.listen-address={address}"),
        "--cluster.listen-address=".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some(_child) = Child::start("alertmanager", "prometheus-alertmanager", &args) else { return };
    let ready = async || http::get(address, "/-/ready").await.ok().filter(|a| a.status == 200);
    until("Alertmanager is ready", ready).await;

    let told = async |name: &str, body: &[u8]| -> Option<Shown> {
        let status = http::post(address, "/api/v2/alerts", body).await.unwrap().status;
        let path = format!("/api/v2/alerts?filter=alertname%3D{name}");
        let found = http::get(address, &path).await.unwrap().json();
        assert_eq!(found.as_array().map(Vec::len), Some(usize::from(status == 200)), "{name}: {status}");
        let alert = (status == 200).then(|| found[0].clone())?;
        let pairs = |field: &str| serde_json::from_value(alert[field].clone()).unwrap();
        let time = |field: &str| at(alert[field].as_str().unwrap());
        let url = alert["generatorURL"].as_str().unwrap_or_default().to_owned();
        Some((pairs("labels"), pairs("annotations"), url, Some(time("startsAt")), Some(time("endsAt"))))
    };
    for (n, (form, meant, theirs)) in TIMES.iter().enumerate() {
        let name = format!("time{n}");
        let alert = json!([{"labels": {"alertname": name}, "endsAt": form}]).to_string();
        let end = told(&name, alert.as_bytes()).await.and_then(|shown| shown.4);
        assert_eq!(end, theirs.then(|| at(meant)), "{form:?}");
    }
    for (n, body) in ALERTS.iter().enumerate() {
        let name = format!("alert{n}");
        let body = named(body, &name);
        let (theirs, ours) = (told(&name, &body).await.unwrap(), shown_here(&body));
        let text = String::from_utf8_lossy(&body);
        assert_eq!((&theirs.0, &theirs.1, &theirs.2), (&ours.0, &ours.1, &ours.2), "{text}");
        assert!(ours.3.is_none() || ours.3 == theirs.3, "{text}");
        assert!(ours.4.is_none() || ours.4 == theirs.4, "{text}");
    }
}
