//! Input that no sender should send: an answer, a count, a line in the log, and Squelch lives on.

use serde_json::{Value, json};

use super::http::{self, Answer};
use super::sender::{Told, body};
use super::squelch::{Home, Squelch};
use super::{about, pager, shown};

/// The most memory that any of this may take, in MiB. Bodies in flight may hold 256 MiB of it.
const CEILING_MIB: u64 = 300;

const MIB: usize = 1 << 20;

async fn hook(squelch: &Squelch, body: impl AsRef<[u8]>) -> Answer {
    squelch.post("/alertmanager/webhook", body).await
}

/// How many alerts or bodies were counted as `reason`.
async fn counted(squelch: &Squelch, reason: &str) -> f64 {
    squelch.scrape().await.sum("squelch_alerts_invalid_total", &[("reason", reason)])
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_answered_counted_logged_and_survived() {
    let pager = pager().await;
    let home = Home::new(&format!(
        "\
route: {{receiver: pager, group_by: [alertname]}}
receivers:
  - name: pager
    webhook_configs: [{{url: '{}'}}]
",
        pager.url("/webhook/a")
    ));
    let squelch = home.serve().await;
    let good = body("http://am-0", &[Told::fires("Good", "a", "b")]).to_string();

    let refused: [(&str, u16, Vec<u8>); 6] = [
        ("malformed_json", 400, good[..good.len() / 2].into()),
        ("malformed_json", 400, nested(10_000, false)),
        ("not_v4", 400, json!({"text": "a customised body", "title": "x"}).to_string().into()),
        ("not_v4", 400, b"[]".into()),
        ("malformed_json", 400, b"".into()),
        ("too_large", 413, vec![b' '; 33 * MIB]),
    ];
    for (reason, status, sent) in refused {
        let before = counted(&squelch, reason).await;
        let answer = hook(&squelch, &sent).await;
        let start = String::from_utf8_lossy(&sent[..sent.len().min(80)]);
        assert_eq!(answer.status, status, "{start}: {}", answer.body);
        assert!(answer.json()["detail"].as_str().is_some_and(|d| d.len() > 20), "{}", answer.body);
        assert_eq!(counted(&squelch, reason).await, before + 1.0, "{start}");
        squelch.child.line(&["level=WARN", &format!("reason={reason} ")]).await;
    }
    let before = counted(&squelch, "too_large").await;
    let answer = in_chunks(&squelch, 33).await;
    assert_eq!((answer.status, counted(&squelch, "too_large").await), (413, before + 1.0), "{}", answer.body);

    taken_in_part(&squelch).await;
    let answer = hook(&squelch, &nested(10_000, true)).await;
    assert_eq!(answer.status, 200, "depth where nothing is read costs nothing: {}", answer.body);

    // The largest body that is taken: one alert whose annotation fills it.
    let mut fat = body("http://am-0", &[Told::fires("Fat", "a", "b")]);
    fat["alerts"][0]["annotations"]["summary"] = "y".repeat(31 * MIB).into();
    let answer = hook(&squelch, fat.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);

    squelch.hook(&serde_json::from_str(&good).unwrap()).await;
    let names = ["Kept", "LongLabel", "Utf8", "Fat", "Good"];
    let all = |i: &[_]| names.iter().all(|name| about(i, name).len() == 1);
    shown(&pager, "every alert that could be understood", all).await;
    let peak = squelch.peak_mib();
    println!("peak of resident memory: {peak} MiB");
    assert!(peak < CEILING_MIB, "{peak} MiB");
    assert!(!squelch.child.said().contains("panicked"), "no handler may panic");
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// Bodies of which the good parts count.
async fn taken_in_part(squelch: &Squelch) {
    let mut partly = body("http://am-0", &[Told::fires("Kept", "a", "b"), Told::fires("Lost", "a", "b")]);
    partly["alerts"][1] = json!("Lost");
    let answer = hook(squelch, partly.to_string()).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    let said = answer.json();
    let rejected = said["rejected"].as_array().map(Vec::len);
    assert_eq!((&said["accepted"], rejected), (&json!(1), Some(1)), "{said}");
    assert_eq!(counted(squelch, "not_an_object").await, 1.0);
    squelch.child.line(&["level=WARN", "reason=not_an_object "]).await;

    let mut long = body("http://am-0", &[Told::fires("LongLabel", "a", "b")]);
    long["alerts"][0]["labels"]["a"] = "z".repeat(MIB).into();
    let answer = hook(squelch, long.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(counted(squelch, "cut").await >= 1.0);
    squelch.child.line(&["level=WARN", "reason=cut "]).await;
    let alerts = squelch.get("/api/v1/alerts").await;
    assert!(alerts.body.len() < MIB / 4, "a label is cut before it is kept: {} bytes", alerts.body.len());

    let utf8 = body("http://am-0", &[Told::fires("Utf8", "a", "MARK")]).to_string();
    let (start, end) = utf8.split_once("MARK").unwrap();
    let answer = hook(squelch, [start.as_bytes(), b"\xff\xfe\x80", end.as_bytes()].concat()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(counted(squelch, "invalid_utf8").await, 1.0);
    squelch.child.line(&["level=WARN", "reason=invalid_utf8 "]).await;
}

/// A webhook body with a list nested `depth` deep, closed or broken off.
fn nested(depth: usize, closed: bool) -> Vec<u8> {
    let ends = if closed { "]".repeat(depth) } else { String::new() };
    let rest = if closed { ", \"alerts\": []}" } else { "" };
    format!("{{\"version\": \"4\", \"deep\": {}{ends}{rest}", "[".repeat(depth)).into()
}

/// Sends a body of so many MiB without saying beforehand how long it is.
async fn in_chunks(squelch: &Squelch, mib: usize) -> Answer {
    let head = format!(
        "POST /alertmanager/webhook HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        squelch.address
    );
    let chunk = [format!("{MIB:x}\r\n").as_bytes(), &vec![b' '; MIB], b"\r\n"].concat();
    let body = [chunk.repeat(mib), b"0\r\n\r\n".to_vec()].concat();
    http::send(squelch.address, &head, &body).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_gets_its_own_kind_of_refusal() {
    let pager = pager().await;
    let url = pager.url("/webhook/a");
    let home = Home::new(&format!(
        "route: {{receiver: p}}\nreceivers: [{{name: p, webhook_configs: [{{url: '{url}'}}]}}]\n"
    ));
    let squelch = home.serve().await;
    let alerts = json!([{"labels": {"alertname": "Kept"}}, {"labels": {}}]).to_string();
    let answer = squelch.post("/api/v2/alerts", &alerts).await;
    assert_eq!(answer.status, 400);
    assert!(matches!(answer.json(), Value::String(text) if text.contains("alert 1")), "{}", answer.body);
    shown(&pager, "the valid alert was taken all the same", |i| i.len() == 1).await;
    for body in ["{", "{}", "null"] {
        let answer = squelch.post("/api/v2/alerts", body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(400)), "{body}");
    }
}

/// At either endpoint: the page goes out, the count moves, and the log says it once.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_cannot_be_read_costs_no_page() {
    let pager = pager().await;
    let url = pager.url("/webhook/a");
    let home = Home::new(&format!(
        "route: {{receiver: p, group_by: [alertname]}}\n\
         receivers: [{{name: p, webhook_configs: [{{url: '{url}'}}]}}]\n"
    ));
    let squelch = home.serve().await;
    let mut hooked = body("http://am-0", &[Told::fires("Hooked", "a", "b"), Told::fires("Fine", "a", "b")]);
    hooked["alerts"][0]["startsAt"] = "the day before yesterday".into();
    let odd = json!([
        {"labels": {"alertname": "Sent"}, "startsAt": "31 January"},
        {"labels": {"alertname": "Gone"}, "startsAt": "2026-01-31T09:30:00Z", "endsAt": "2026-01-31T09:00:00Z"},
    ]);
    for time in 1..=3 {
        let answer = hook(&squelch, hooked.to_string()).await;
        assert_eq!((answer.status, &answer.json()["accepted"]), (200, &json!(2)), "{}", answer.body);
        assert_eq!(answer.json()["rejected"], json!([]), "{}", answer.body);
        let answer = squelch.post("/api/v2/alerts", odd.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(counted(&squelch, "bad_time").await >= 2.0, "{time}");
    }
    let names = ["Hooked", "Fine", "Sent"];
    shown(&pager, "each pages", |i| names.iter().all(|name| about(i, name).len() == 1)).await;
    squelch
        .child
        .line(&["level=WARN", "reason=bad_time ", "mended, and taken", "alert 0: startsAt is"])
        .await;
    // Both came from one address. The endpoint does not matter.
    assert_eq!(squelch.child.said().matches("reason=bad_time ").count(), 1);
    assert_eq!(
        squelch.scrape().await.sum("squelch_notifications_total", &[("kind", "page")]),
        3.0,
        "once each"
    );
}
