//! Receivers that hang, throttle and refuse, end to end.

use std::time::Duration;

use serde_json::Value;
use squelch::commands::fake_pager::{FakePager, Fault};
use tokio::time::Instant;

use super::sender::{Told, body};
use super::squelch::{Home, Squelch};
use super::{about, opened_and_closed, pager, shown, until};

/// Receivers `slow` and `fast`, a webhook each, by the label `to`, and PagerDuty for the rest.
fn config(pager: &FakePager) -> String {
    format!(
        "\
route:
  receiver: pagerduty
  group_by: [alertname]
  routes:
    - {{receiver: slow, matchers: ['to=\"slow\"']}}
    - {{receiver: fast, matchers: ['to=\"fast\"']}}
receivers:
  - name: pagerduty
    pagerduty_configs: [{{routing_key: 0123456789abcdef0123456789abcdef, url: '{}'}}]
  - name: slow
    webhook_configs: [{{url: '{}'}}]
  - name: fast
    webhook_configs: [{{url: '{}'}}]
noise: {{default: {{resolve_hold: 0s, storm: {{start: 0}}, limit: {{pages: 0}}}}}}
self_check: {{enabled: false}}
",
        pager.url("/v2/enqueue"),
        pager.url("/webhook/slow"),
        pager.url("/webhook/fast"),
    )
}

async fn started() -> (FakePager, Home, Squelch) {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let squelch = home.serve().await;
    (pager, home, squelch)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_delays_no_other() {
    let (pager, _home, squelch) = started().await;
    let hang = Fault { next: 100, hang_ms: 600_000, path: "/webhook/slow".into(), ..Fault::default() };
    pager.script(hang);
    let slow: Vec<Told> = (0..50).map(|n| Told::fires(&format!("Slow{n}"), "to", "slow")).collect();
    squelch.hook(&body("http://am-0", &slow)).await;
    until("the slow ones hang", async || (pager.requests().total >= 8).then_some(())).await;
    squelch.hook(&body("http://am-0", &[Told::fires("Fast", "to", "fast")])).await;
    shown(&pager, "the page at the other receiver", |i| about(i, "Fast").len() == 1).await;
    let queued = squelch.scrape().await.sum("squelch_queue_length", &[("receiver", "slow")]);
    assert_eq!(queued, 50.0, "all are still owed");
    assert_eq!(pager.incidents().len(), 1);
}

/// PagerDuty is down while one alert ends and another one joins the group of a third.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_waits_leaves_with_the_present_state_or_not_at_all() {
    let pager = pager().await;
    let quick = "group_by: [alertname]\n  group_interval: 1s";
    let home = Home::new(&config(&pager).replace("group_by: [alertname]", quick));
    let squelch = home.serve().await;
    pager.script(Fault { next: 1000, answer: Some(500), path: "/v2/enqueue".into(), ..Fault::default() });
    let (over, first) = (Told::fires("Over", "host", "a"), Told::fires("Half", "host", "a"));
    squelch.hook(&body("http://am-0", &[over.clone(), first.clone()])).await;
    until("each page is tried", async || (pager.requests().total >= 2).then_some(())).await;
    let second = Told::fires("Half", "host", "b");
    squelch.hook(&body("http://am-0", &[over.resolved(), first.resolved(), second.clone()])).await;
    let recalled =
        async || (squelch.child.said().matches("notification recalled").count() >= 2).then_some(());
    until("both pages are recalled", recalled).await;
    let waits = squelch.scrape().await.sum("squelch_queue_length", &[("receiver", "pagerduty")]);
    assert_eq!(waits, 1.0, "the page of the alert that ended waits no longer");
    pager.clear();
    shown(&pager, "the page, in the end", |i| !i.is_empty()).await;
    let incidents = pager.incidents();
    assert_eq!((incidents.len(), about(&incidents, "Half").len(), incidents[0].triggers), (1, 1, 1));
    let details = incidents[0].details.to_string();
    let (firing, resolved) = (&incidents[0].details["num_firing"], &incidents[0].details["num_resolved"]);
    assert_eq!((firing.as_str(), resolved.as_str()), (Some("1"), Some("1")), "{details}");
    // The history says why no person was paged for the other one.
    let said = async || {
        let over = squelch.get("/api/v1/decisions?filter=alertname%3D%22Over%22&disposition=page").await;
        over.body.contains("Squelch recalled it from pagerduty/pagerduty[0]").then_some(())
    };
    until("the history says that the page was recalled", said).await;
    squelch.hook(&body("http://am-0", &[second.resolved()])).await;
    shown(&pager, "the end", |i| opened_and_closed(i) == (1, 1)).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_says_how_often_a_delivery_failed() {
    let (pager, _home, squelch) = started().await;
    pager.script(Fault { next: 3, answer: Some(500), path: "/v2/enqueue".into(), ..Fault::default() });
    squelch.hook(&body("http://am-0", &[Told::fires("Down", "host", "a")])).await;
    shown(&pager, "the page, in the end", |i| about(i, "Down").len() == 1).await;
    let told = async || {
        let page = squelch.get("/api/v1/decisions?disposition=page").await.json();
        let failed = page["decisions"][0]["failedAttempts"].as_str()?.to_owned();
        page["decisions"][0]["acceptedAt"].is_string().then_some((failed, page))
    };
    let (failed, page) = until("the decision has the failed attempts", told).await;
    assert!(failed.starts_with("3 attempts at pagerduty/pagerduty[0] failed from "), "{failed}");
    assert!(failed.contains("serverError: status 500"), "{failed}");
    let key = page["decisions"][0]["incident"].as_str().unwrap();
    let incident = squelch.get(&format!("/api/v1/incidents/{key}")).await.json();
    let events = incident["events"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap());
    assert_eq!(events.collect::<Vec<_>>(), ["opened", "failed", "failed", "accepted"], "{incident:#}");
    // A page that is accepted at once has no such record.
    squelch.hook(&body("http://am-0", &[Told::fires("Other", "to", "fast")])).await;
    let other = async || {
        let page = squelch.get("/api/v1/decisions?filter=alertname%3DOther&disposition=page").await.json();
        page["decisions"][0]["acceptedAt"].is_string().then_some(page)
    };
    let other = until("the other page is accepted", other).await;
    assert!(other["decisions"][0]["failedAttempts"].is_null(), "{other:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_honoured() {
    let (pager, _home, squelch) = started().await;
    pager.script(Fault {
        next: 1,
        answer: Some(429),
        retry_after: Some(serde_json::from_str("4").unwrap()),
        ..Fault::default()
    });
    // The first attempt comes later than this, so a slow machine only makes the wait longer.
    let began = Instant::now();
    squelch.hook(&body("http://am-0", &[Told::fires("Down", "to", "any")])).await;
    shown(&pager, "the page, later", |i| i.len() == 1).await;
    // The plain schedule would have been back after 0.75 s at most.
    assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    let requests = pager.requests();
    assert_eq!((requests.total, requests.by_status["429"], requests.by_status["202"]), (2, 1, 1));
    let failed = [("receiver", "pagerduty"), ("reason", "rateLimited")];
    assert_eq!(squelch.scrape().await.sum("squelch_notifications_failed_total", &failed), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_a_dead_letter_and_can_be_sent_again() {
    let (pager, home, squelch) = started().await;
    let refuse = Fault { next: 1000, answer: Some(400), path: "/v2/enqueue".into(), ..Fault::default() };
    pager.script(refuse);
    let down = Told::fires("Down", "to", "any");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&down))).await;
    let letters =
        async |squelch: &Squelch| squelch.get("/api/v1/dead-letters").await.json()["deadLetters"].take();
    let listed =
        async || Some(letters(&squelch).await).filter(|l| l.as_array().is_some_and(|l| l.len() == 1));
    let letter = until("the dead letter is listed", listed).await;
    let text = letter.to_string();
    assert!(text.contains("clientError") && text.contains("\"pagerduty\""), "{letter:#}");
    assert_eq!(pager.incidents().len(), 0);
    squelch.child.line(&["level=ERROR", "refused for good"]).await;

    // It is still there after a restart, and so is the incident that it was to open: its page is tried at
    // once.
    assert_eq!(squelch.stop().await.code(), Some(0));
    let squelch = home.serve().await;
    let listed =
        async || Some(letters(&squelch).await).filter(|l| l.as_array().is_some_and(|l| l.len() == 2));
    let both = until("the page is refused once more", listed).await;
    assert!(both.as_array().unwrap().contains(&letter[0]), "{both:#}");
    pager.clear();
    let id = id_of(&letter);
    let answer = squelch.post(&format!("/api/v1/dead-letters/{id}/replay"), "").await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    shown(&pager, "the page at last", |i| i.len() == 1).await;
    let gone = async || letters(&squelch).await.as_array().is_some_and(Vec::is_empty).then_some(());
    until("no dead letter is left", gone).await;
    let answer = squelch.post(&format!("/api/v1/dead-letters/{id}/replay"), "").await;
    assert_eq!(answer.status, 404, "{}", answer.body);
    assert_eq!(squelch.post("/api/v1/dead-letters/none/replay", "").await.status, 400);

    squelch.hook(&body("http://am-0", &[down.resolved()])).await;
    shown(&pager, "its end", |i| opened_and_closed(i) == (1, 1)).await;
    assert_eq!(pager.incidents()[0].triggers, 1);
}

fn id_of(letters: &Value) -> u64 {
    let id = letters.pointer("/0/id");
    id.and_then(Value::as_u64).unwrap_or_else(|| panic!("no id in {letters:#}"))
}
