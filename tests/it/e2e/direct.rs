//! Prometheus speaks to Squelch as it would to an Alertmanager, by API v2.

use std::time::Duration;

use serde_json::json;
use squelch::model::Duration as Span;
use tokio::time::Instant;

use super::neighbours::{World, prometheus};
use super::sender::now;
use super::squelch::Home;
use super::{about, opened_and_closed, pager, shown, until};

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_straight_to_squelch() {
    let pager = pager().await;
    let home = Home::new(&format!(
        "\
route: {{receiver: pager, group_by: [alertname, alert], group_interval: 1s}}
receivers:
  - name: pager
    pagerduty_configs: [{{routing_key: 0123456789abcdef0123456789abcdef, url: '{}'}}]
noise: {{default: {{resolve_hold: 1s}}}}
",
        pager.url("/v2/enqueue")
    ));
    let squelch = home.serve().await;
    let world = World::start().await;
    world.set("Disk", 0..3, false);
    world.set("Last", 0..1, false);
    let folder = tempfile::tempdir().unwrap();
    // endsAt lies four times this ahead.
    let flags = ["--rules.alert.resend-delay=2s"];
    let Some(mut prometheus) = prometheus(folder.path(), &world, &[squelch.address], &flags).await else {
        return;
    };

    world.set("Disk", 0..3, true);
    shown(&pager, "a page", |i| about(i, "Disk").len() == 1).await;
    // Resends extend it well beyond its first endsAt.
    let began = Instant::now();
    let repeated = async || {
        assert_eq!(opened_and_closed(&pager.incidents()), (1, 0), "it still fires");
        (began.elapsed() > Duration::from_secs(12)).then_some(())
    };
    until("twelve seconds of resends", repeated).await;
    world.set("Disk", 0..3, false);
    shown(&pager, "its end", |i| opened_and_closed(i) == (1, 1)).await;

    world.set("Last", 0..1, true);
    shown(&pager, "another page", |i| about(i, "Last").len() == 1).await;
    let killed = Instant::now();
    prometheus.kill();
    shown(&pager, "the end by endsAt", |i| opened_and_closed(i) == (2, 2)).await;
    assert!(killed.elapsed() > Duration::from_secs(2), "{:?}: nobody said that it ended", killed.elapsed());

    assert!(pager.incidents().iter().all(|i| i.notified == 1), "{:#?}", pager.incidents());
    let scrape = squelch.scrape().await;
    let from = |status| [("source", "prometheus"), ("status", status)];
    assert!(scrape.sum("squelch_alerts_received_total", &from("firing")) >= 4.0);
    assert!(scrape.sum("squelch_alerts_received_total", &from("resolved")) >= 3.0);
    assert_eq!(scrape.sum("squelch_alerts_received_total", &[("source", "alertmanager")]), 0.0);
    assert!(scrape.sum("squelch_alerts_disposed_total", &[("reason", "duplicate")]) >= 3.0);
    assert_eq!(scrape.sum("squelch_alerts_invalid_total", &[]), 0.0);
    assert_eq!(scrape.sum("squelch_alerts_pending", &[]), 0.0);
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// The requests of a Prometheus whose clock is 10 minutes behind: each end has passed when it comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_whose_clock_is_behind_pages_and_is_named() {
    let pager = pager().await;
    let home = Home::new(&format!(
        "\
route: {{receiver: pager, group_by: [alertname]}}
receivers: [{{name: pager, webhook_configs: [{{url: '{}'}}]}}]
",
        pager.url("/webhook/a")
    ));
    let squelch = home.serve().await;
    assert_eq!(squelch.scrape().await.sum("squelch_sender_clocks_wrong", &[]), 0.0);
    let start = now() - Span::from_mins(10);
    for minute in 0..2 {
        let end = start + Span::from_mins(4 + minute);
        let labels = json!({"alertname": "DbDown", "severity": "critical"});
        let sent = json!([{"labels": labels, "startsAt": start, "endsAt": end}]).to_string();
        assert_eq!(squelch.post("/api/v2/alerts", sent).await.status, 200);
    }
    shown(&pager, "a page", |i| about(i, "DbDown").len() == 1).await;
    shown(&pager, "an alarm", |i| about(i, "SquelchSenderClockWrong").len() == 1).await;
    let scrape = squelch.scrape().await;
    assert_eq!(scrape.sum("squelch_sender_clocks_wrong", &[]), 1.0);
    assert!(scrape.sum("squelch_sender_clock_offset_seconds", &[("sender", "127.0.0.1")]) < -200.0);
    assert!(squelch.child.said().contains("the clock of a sender differs"));
    assert_eq!(squelch.stop().await.code(), Some(0));
}
