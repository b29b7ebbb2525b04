//! Programs that page by PagerDuty's or Opsgenie's own API, and whose pager URL points at Squelch.

use serde_json::{Value, json};
use squelch::commands::fake_pager::FakePager;

use super::http::{self, Answer};
use super::squelch::{Home, Squelch};
use super::{about, opened_and_closed, pager, shown, until};

const ENQUEUE: &str = "/pagerduty/v2/enqueue";
const ALERTS: &str = "/opsgenie/v2/alerts";

fn config(pager: &FakePager, more: &str) -> String {
    format!(
        "\
route: {{receiver: pager, group_by: [alertname]}}
receivers:
  - name: pager
    pagerduty_configs: [{{routing_key: 0123456789abcdef0123456789abcdef, url: '{}'}}]
noise: {{default: {{resolve_hold: 0s}}}}
self_check: {{enabled: false}}
{more}",
        pager.url("/v2/enqueue")
    )
}

/// The body from Grafana's contact point for PagerDuty.
fn trigger(key: &str, severity: &str) -> Value {
    json!({
        "routing_key": "grafana0grafana0grafana0grafana0", "dedup_key": key, "event_action": "trigger",
        "client": "Grafana", "client_url": "http://grafana.example/alerting",
        "description": "[FIRING:1] HighCPU", "images": null,
        "links": [{"href": "http://grafana.example/", "text": "External URL"}],
        "payload": {
            "summary": "[FIRING:1] HighCPU (node1)", "severity": severity, "class": "default",
            "component": "Grafana", "group": "default", "source": "grafana-0",
            "custom_details": {"firing": "Value: B=97", "num_firing": "1"}
        }
    })
}

fn end(key: &str, action: &str) -> Value {
    json!({"routing_key": "grafana0grafana0grafana0grafana0", "dedup_key": key, "event_action": action})
}

async fn taken(squelch: &Squelch, path: &str, body: &Value) -> Value {
    let answer = squelch.post(path, body.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer.json()
}

async fn with_key(squelch: &Squelch, path: &str, authorization: &str, body: &Value) -> Answer {
    let (to, body) = (squelch.address, body.to_string());
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Authorization: {authorization}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    http::send(to, &head, body.as_bytes()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_pagerduty_pages_and_resolves_over_a_restart() {
    let pager = pager().await;
    let home = Home::new(&config(&pager, ""));
    let squelch = home.serve().await;
    let answer = taken(&squelch, ENQUEUE, &trigger("cpu/1", "critical")).await;
    assert_eq!(answer, json!({"status": "success", "message": "Event processed", "dedup_key": "cpu/1"}));
    shown(&pager, "a page", |i| i.len() == 1).await;
    let incident = pager.incidents().remove(0);
    assert_eq!(incident.summary, "[FIRING:1] HighCPU (node1)", "the text of the sender");
    assert_eq!(incident.details, json!({"firing": "Value: B=97", "num_firing": "1"}));

    taken(&squelch, ENQUEUE, &end("cpu/1", "acknowledge")).await;
    let acknowledged = async || {
        let open = squelch.get("/api/v1/incidents").await.json().to_string();
        open.contains("\"acknowledgedBy\":\"").then_some(())
    };
    until("the incident is acknowledged", acknowledged).await;

    assert_eq!(squelch.stop().await.code(), Some(0));
    let squelch = home.serve().await;
    taken(&squelch, ENQUEUE, &end("cpu/1", "resolve")).await;
    shown(&pager, "its end", |i| opened_and_closed(i) == (1, 1)).await;
    taken(&squelch, ENQUEUE, &end("unknown", "resolve")).await;
    let scrape = squelch.scrape().await;
    assert!(scrape.sum("squelch_alerts_received_total", &[("source", "pagerduty")]) >= 2.0);
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_pagerduty_refuses_is_refused_as_there() {
    let pager = pager().await;
    let home = Home::new(&config(&pager, ""));
    let squelch = home.serve().await;
    let nobody =
        json!({"event_action": "trigger", "payload": {"summary": "s", "source": "a", "severity": "info"}});
    for (body, errors) in [
        (
            json!({"routing_key": "k", "event_action": "resolve"}).to_string(),
            json!(["'dedup_key' is missing or blank"]),
        ),
        (nobody.to_string(), json!(["'routing_key' is missing or blank"])),
        ("[]".to_owned(), json!(["expected one JSON object, and found a list"])),
    ] {
        let answer = squelch.post(ENQUEUE, body).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        let expected =
            json!({"status": "invalid event", "message": "Event object is invalid", "errors": errors});
        assert_eq!(answer.json(), expected);
    }
    let change = json!({"routing_key": "k", "payload": {"summary": "deployed"}});
    taken(&squelch, "/pagerduty/v2/change/enqueue", &change).await;
    let answer = squelch.post("/pagerduty/v2/change/enqueue", "{}").await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    let scrape = squelch.scrape().await;
    assert_eq!(scrape.sum("squelch_alerts_invalid_total", &[("reason", "bad_event")]), 3.0);
    // Without a key each event is an alert of its own, and the answer says its key.
    let mut nameless = trigger("", "critical");
    nameless.as_object_mut().unwrap().remove("dedup_key");
    let keys = [taken(&squelch, ENQUEUE, &nameless).await, taken(&squelch, ENQUEUE, &nameless).await];
    assert_ne!(keys[0]["dedup_key"], keys[1]["dedup_key"]);
    assert_eq!(keys[0]["dedup_key"].as_str().unwrap().len(), 32);
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_stands_on_the_page_of_an_incident_of_its_time() {
    let pager = pager().await;
    let home = Home::new(&config(&pager, ""));
    let squelch = home.serve().await;
    let change = |summary: &str, at: &str| {
        json!({
            "routing_key": "k", "links": [{"href": "https://ci.example/7", "text": "build <7>"}],
            "payload": {"summary": summary, "source": "ci", "timestamp": at}
        })
    };
    for change in [change("deployed <web>", ""), change("deployed long ago", "2020-01-01T00:00:00Z")] {
        taken(&squelch, "/pagerduty/v2/change/enqueue", &change).await;
    }
    taken(&squelch, ENQUEUE, &trigger("cpu/1", "critical")).await;
    shown(&pager, "a page", |i| i.len() == 1).await;
    let incidents = squelch.get("/api/v1/incidents").await.json();
    let key = incidents["incidents"][0]["dedupKey"].as_str().unwrap();
    let page = squelch.get(&format!("/incident?key={key}")).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("deployed &lt;web&gt;") && !page.body.contains("long ago"), "{}", page.body);
    assert!(page.body.contains("href=\"https://ci.example/7\""), "{}", page.body);
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_of_opsgenie_pages_and_closes() {
    let pager = pager().await;
    let home = Home::new(&config(&pager, ""));
    let squelch = home.serve().await;
    let alert = json!({
        "message": "[FIRING:1] Disk full", "alias": "disk/a", "description": "97 %", "priority": "P1",
        "source": "Grafana", "details": {"url": "http://grafana.example"}, "tags": ["prod"],
    });
    let answer = with_key(&squelch, ALERTS, "GenieKey secret", &alert).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let answer = answer.json();
    assert_eq!(answer["result"], "Request will be processed");
    assert_eq!(answer["requestId"].as_str().unwrap().len(), 36);
    shown(&pager, "a page", |i| about(i, "Disk full").len() == 1).await;
    let close = "/opsgenie/v2/alerts/disk%2Fa/close?identifierType=alias";
    for (path, status) in [
        (close.replace("close", "notes"), 202),
        (close.replace("close", "acknowledge"), 202),
        (close.replace("close", "snooze"), 404),
        (close.to_owned(), 202),
    ] {
        let answer = with_key(&squelch, &path, "GenieKey secret", &json!({"source": "Grafana"})).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }
    shown(&pager, "its end", |i| opened_and_closed(i) == (1, 1)).await;
    let answer = squelch.post(ALERTS, "{}").await;
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert_eq!(answer.json()["errors"], json!({"message": "Message can not be empty."}));
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_sources_the_key_of_the_pager_shows_who_sends() {
    let pager = pager().await;
    let sources =
        "sources: [{name: grafana, authorization: {credentials: grafana0grafana0grafana0grafana0}}]\n";
    let home = Home::new(&config(&pager, sources));
    let squelch = home.serve().await;
    let mut foreign = trigger("a", "critical");
    foreign["routing_key"] = json!("other");
    assert_eq!(squelch.post(ENQUEUE, foreign.to_string()).await.status, 401);
    let alert = json!({"message": "m", "alias": "a"});
    assert_eq!(with_key(&squelch, ALERTS, "GenieKey other", &alert).await.status, 401);
    assert_eq!(pager.incidents().len(), 0);
    let key = "GenieKey grafana0grafana0grafana0grafana0";
    assert_eq!(with_key(&squelch, ALERTS, key, &alert).await.status, 202);
    taken(&squelch, ENQUEUE, &trigger("a", "critical")).await;
    shown(&pager, "a page", |i| about(i, "HighCPU").len() == 1).await;
    let alerts = squelch.get("/api/v2/alerts").await.json();
    let named = alerts.as_array().unwrap().iter().all(|alert| alert["labels"]["integration"] == "grafana");
    assert!(named, "{alerts}");
    assert_eq!(squelch.stop().await.code(), Some(0));
}
