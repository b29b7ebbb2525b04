//! Requests and their answers, side by side with Alertmanager's.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use super::{Pair, as_of_0_25, inhibited, plain};
use crate::e2e::http::{self, Answer};
use crate::e2e::until;

const ALERTS: &str = r#"[
    {"labels":{"alertname":"Down","severity":"page","team":"db","job":"b"},"annotations":{"summary":"s"},
     "generatorURL":"http://p/g?a=1&b=2","startsAt":"2026-01-02T03:04:05.678+02:00"},
    {"labels":{"alertname":"Down","severity":"page","job":"a","instance":"x"}},
    {"labels":{"alertname":"Source"}},
    {"labels":{"alertname":"Target","team":"db"}},
    {"labels":{"alertname":"Over"},"endsAt":"2026-01-02T03:04:05Z"}]"#;

const SILENCE: &str = r#"{"matchers":[{"name":"job","value":"a|c","isRegex":true},
    {"name":"severity","value":"x","isRegex":false,"isEqual":false}],"startsAt":"2026-01-01T00:00:00Z",
    "endsAt":"2199-01-01T00:00:00.5Z","createdBy":"ada","comment":"why"}"#;

/// Requests with answers that must be the same.
const SAME: [&str; 27] = [
    "/api/v2/alerts",
    "/api/v2/alerts/",
    "/api/v2/alerts?active=false",
    "/api/v2/alerts?silenced=false",
    "/api/v2/alerts?inhibited=false",
    "/api/v2/alerts?unprocessed=false",
    "/api/v2/alerts?active=0&silenced=F&inhibited=no",
    "/api/v2/alerts?active=&silenced=TRUE&future=1",
    "/api/v2/alerts?filter=job%3D%22a%22",
    "/api/v2/alerts?filter=job!%3Da&filter=alertname%3D~%22D.*%22",
    "/api/v2/alerts?filter=job%3D%22%22",
    "/api/v2/alerts?receiver=pager",
    "/api/v2/alerts?receiver=page",
    "/api/v2/alerts/groups",
    "/api/v2/alerts/groups/",
    "/api/v2/alerts/groups?active=false",
    "/api/v2/alerts/groups?silenced=false&inhibited=false",
    "/api/v2/alerts/groups?filter=alertname%3DDown",
    "/api/v2/alerts/groups?receiver=web",
    "/api/v2/alerts/groups?receiver=pager&silenced=false",
    "/api/v2/alerts/groups?receiver=none",
    "/api/v2/silences",
    "/api/v2/silences?filter=job%3Da",
    "/api/v2/silences?filter=job%3D~%22a%7Cc%22",
    "/api/v2/silences?filter=other%3D1",
    "/api/v2/silence/ID1",
    "/api/v2/receivers",
];

/// Method, path, headers and body, and the status of Squelch where it is not Alertmanager's.
type Wrong = (&'static str, &'static str, &'static str, &'static str, Option<u16>);

const JSON: &str = "Content-Type: application/json\r\n";
const NOBODY: &str = "/api/v2/silence/11111111-2222-4333-8444-555555555555";

/// Refused requests. Both statuses, and both forms of the body, must be the same.
const WRONG: [Wrong; 23] = [
    ("GET", "/api/v2/alerts?filter=a", "", "", None),
    ("GET", "/api/v2/alerts?filter=", "", "", None),
    ("GET", "/api/v2/alerts?receiver=(", "", "", None),
    ("GET", "/api/v2/alerts/groups?filter=%22", "", "", None),
    ("GET", "/api/v2/alerts/groups?receiver=(", "", "", None),
    ("GET", "/api/v2/silences?filter=(", "", "", None),
    ("GET", "/api/v2/silence/x", "", "", None),
    ("GET", NOBODY, "", "", None),
    ("DELETE", "/api/v2/silence/x", "", "", None),
    // Newer Alertmanagers say 404, as their description does.
    ("DELETE", NOBODY, "", "", Some(404)),
    ("GET", "/api/v2/nothing", "", "", None),
    ("GET", "/api/v2/", "", "", None),
    ("PUT", "/api/v2/alerts", JSON, "[]", None),
    ("POST", "/api/v2/status", JSON, "", None),
    ("OPTIONS", "/api/v2/alerts", "", "", None),
    ("POST", "/api/v2/silences", JSON, "{}", None),
    ("POST", "/api/v2/silences", JSON, "{", None),
    ("POST", "/api/v2/silences", "Content-Type: text/plain\r\n", "{}", None),
    (
        "POST",
        "/api/v2/silences",
        JSON,
        r#"{"matchers":[],"startsAt":"2026-01-01T00:00:00Z","endsAt":"2036-01-01T00:00:00Z","createdBy":"","comment":""}"#,
        None,
    ),
    (
        "POST",
        "/api/v2/silences",
        JSON,
        r#"{"matchers":[{"name":"a","value":"","isRegex":false}],"startsAt":"2026-01-01T00:00:00Z","endsAt":"2036-01-01T00:00:00Z","createdBy":"","comment":""}"#,
        None,
    ),
    (
        "POST",
        "/api/v2/silences",
        JSON,
        r#"{"id":"zz","matchers":[{"name":"a","value":"1","isRegex":false}],"startsAt":"2026-01-01T00:00:00Z","endsAt":"2036-01-01T00:00:00Z","createdBy":"","comment":""}"#,
        None,
    ),
    ("POST", "/api/v2/alerts", JSON, r#"[{"labels":{}}]"#, None),
    ("POST", "/api/v2/alerts", JSON, "{}", None),
];

async fn send(to: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    http::send(to, &head, body.as_bytes()).await.unwrap()
}

/// The kind of an answer's body: none, a text, or an object with a code.
fn form(answer: &Answer) -> String {
    match serde_json::from_str(answer.body.trim()) {
        Err(_) if answer.body.trim().is_empty() => "nothing".into(),
        Ok(Value::String(_)) => "a text".into(),
        Ok(Value::Object(fields)) => {
            format!("code {}, message {}", fields["code"], fields["message"].is_string())
        }
        other => format!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn squelch_answers_as_alertmanager_does() {
    let Some(pair) = Pair::start().await else { return };
    let mut ids = [BTreeMap::new(), BTreeMap::new()];
    for address in pair.both() {
        assert_eq!(send(address, "POST", "/api/v2/alerts", JSON, ALERTS).await.status, 200);
        assert_eq!(send(address, "POST", "/api/v2/silences/", JSON, SILENCE).await.status, 200);
        inhibited(address).await;
        // Alertmanager sorts alerts into groups after it has answered.
        let grouped = async || {
            let groups = http::get(address, "/api/v2/alerts/groups").await.ok()?.json();
            let alerts =
                groups.as_array()?.iter().map(|group| group["alerts"].as_array().map_or(0, Vec::len));
            (alerts.sum::<usize>() == 5).then_some(())
        };
        until("all alerts are in their groups", grouped).await;
    }
    for path in SAME {
        let mut shown = Vec::new();
        for (address, ids) in pair.both().into_iter().zip(&mut ids) {
            let id = ids.iter().find(|(_, n)| **n == 1).map_or("", |(id, _): (&String, _)| id.as_str());
            let answer = http::get(address, &path.replace("ID1", id)).await.unwrap();
            let text = as_of_0_25(answer.json()).to_string();
            shown.push((answer.status, plain(&text, ids)));
        }
        if path.ends_with("receivers") {
            assert_eq!(
                shown[1].1, r#"[{"name":"pager","status":null},{"name":"web","status":null}]"#,
                "by name; of {}",
                shown[0].1
            );
        } else {
            assert_eq!(shown[1], shown[0], "{path}");
        }
    }
    for (method, path, headers, body, ours) in WRONG {
        let [theirs, squelch] = pair.both();
        let theirs = send(theirs, method, path, headers, body).await;
        let squelch = send(squelch, method, path, headers, body).await;
        let what = format!("{method} {path} {body}: {} of {}", squelch.body, theirs.body);
        assert_eq!(squelch.status, ours.unwrap_or(theirs.status), "{what}");
        if ours.is_none() {
            assert_eq!(form(&squelch), form(&theirs), "{what}");
            assert_eq!(squelch.head.contains("\r\nallow: "), theirs.head.contains("\r\nallow: "), "{what}");
        }
    }
    pair.ours.stop().await;
    drop(pair.home);
}

/// The answers to a browser about pages of other sites.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_may_read_and_are_told_why_they_may_not_write() {
    let Some(pair) = Pair::start().await else { return };
    let origin = "Origin: http://karma.example\r\n";
    let asks = |method: &str| format!("{origin}Access-Control-Request-Method: {method}\r\n");
    let headers = format!("{}Access-Control-Request-Headers: content-type\r\n", asks("POST"));
    let cases = [
        ("GET", "/api/v2/status", String::new()),
        ("GET", "/api/v2/alerts/groups", origin.to_owned()),
        ("GET", "/api/v2/silence/x", origin.to_owned()),
        ("OPTIONS", "/api/v2/alerts", asks("GET")),
        ("OPTIONS", "/api/v2/silences", headers),
        ("OPTIONS", "/api/v2/silence/x", asks("DELETE")),
    ];
    let told = |answer: &Answer| {
        let lines = answer.head.lines().filter(|line| line.starts_with("access-control-"));
        let mut lines: Vec<String> =
            lines.filter(|line| !line.contains("-origin")).map(str::to_owned).collect();
        lines.sort();
        (answer.status, answer.head.contains("\r\nvary: origin"), lines)
    };
    for (method, path, headers) in cases {
        let [theirs, ours] = pair.both();
        let theirs = send(theirs, method, path, &headers, "").await;
        let ours = send(ours, method, path, &headers, "").await;
        assert_eq!(told(&ours), told(&theirs), "{method} {path}");
        let all = "\r\naccess-control-allow-origin: *";
        assert_eq!(ours.head.contains(all), headers.contains("Origin"), "{method} {path}: {}", ours.head);
    }
    let write =
        send(pair.ours.address, "POST", "/api/v2/silences", &format!("{origin}{JSON}"), SILENCE).await;
    assert_eq!(write.status, 403, "{}", write.body);
    assert!(write.head.contains("access-control-allow-origin: *"), "the page may read why: {}", write.head);
    pair.ours.stop().await;
}
