//! The whole chain: metrics ← Prometheus → a pair of Alertmanagers → Squelch → PagerDuty.

use std::time::Duration;

use squelch::commands::fake_pager::{FakePager, Incident};
use tokio::time::sleep;

use super::neighbours::{Alertmanager, World, alertmanager_pair, prometheus};
use super::squelch::{Home, Squelch};
use super::{about, opened_and_closed, pager, shown, until};

/// The times of a noise profile, shrunk: minutes in production are seconds here.
fn config(pager: &FakePager) -> String {
    format!(
        "\
route: {{receiver: pager, group_by: [alertname, alert], group_interval: 1s}}
receivers:
  - name: pager
    pagerduty_configs: [{{routing_key: 0123456789abcdef0123456789abcdef, url: '{}'}}]
noise:
  default:
    flapping: {{half_life: 8s, suppress_at: 3}}
    resolve_hold: 10s
    merge_window: 20s
",
        pager.url("/v2/enqueue")
    )
}

/// How often the flapping alert comes and goes, and how long it stays either way.
const CYCLES: u32 = 6;
const PHASE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_alerts_through_the_real_chain() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let squelch = home.serve().await;
    let world = World::start().await;
    for (alert, hosts) in [("Plain", 1), ("Fan", 27), ("Flapper", 1), ("Across", 1), ("Later", 1)] {
        world.set(alert, 0..hosts, false);
    }
    let folder = tempfile::tempdir().unwrap();
    let Some([first, second]) = alertmanager_pair(folder.path(), squelch.address).await else { return };
    let pair = [first.address, second.address];
    let Some(_prometheus) = prometheus(folder.path(), &world, &pair, &[]).await else { return };

    tokio::join!(flap(&world), outages(&world, &pager, &squelch));
    // In the middle of an outage the one of the pair that spoke so far is gone.
    world.set("Across", 0..1, true);
    shown(&pager, "a page before one of the pair dies", |i| about(i, "Across").len() == 1).await;
    let (mut speaker, survivor) = match told(&first).await >= told(&second).await {
        true => (first, second),
        false => (second, first),
    };
    let before = (told(&speaker).await, told(&survivor).await);
    assert!(before.0 + before.1 >= 8.0, "{before:?}: three beginnings, their ends, and a flapping alert");
    speaker.child.kill();
    world.set("Later", 0..1, true);
    shown(&pager, "a page after it", |i| about(i, "Later").len() == 1).await;
    world.set("Across", 0..1, false);
    world.set("Later", 0..1, false);
    let names = ["Plain", "Fan", "Flapper", "Across", "Later"];
    let over = |i: &[Incident]| names.iter().all(|n| about(i, n).iter().all(|i| i.closed_at.is_some()));
    shown(&pager, "the end of everything", over).await;

    let incidents = pager.incidents();
    for name in names {
        let about = about(&incidents, name);
        assert_eq!(opened_and_closed(&about), (1, 1), "{name}: {about:#?}");
        assert!(about.iter().all(|i| i.notified == 1), "{name}: {about:#?}");
    }
    assert_eq!(incidents.len(), names.len(), "{incidents:#?}");
    accounts(&squelch).await;
    let after = told(&survivor).await;
    assert!(after >= before.1 + 3.0, "{before:?}, then {after}: a beginning and two ends");
    assert_eq!(survivor.metric("alertmanager_notifications_failed_total").await, 0.0);
    assert!(!squelch.child.said().contains("level=ERROR"));
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// An alert that comes and goes.
async fn flap(world: &World) {
    for _ in 0..CYCLES {
        world.set("Flapper", 0..1, true);
        sleep(PHASE).await;
        world.set("Flapper", 0..1, false);
        sleep(PHASE).await;
    }
}

/// How often a member of the pair notified Squelch.
async fn told(member: &Alertmanager) -> f64 {
    member.metric("alertmanager_notifications_total").await
}

/// One plain outage, and one that shows on many hosts.
async fn outages(world: &World, pager: &FakePager, squelch: &Squelch) {
    world.set("Plain", 0..1, true);
    world.set("Fan", 0..27, true);
    shown(pager, "a page", |i| about(i, "Plain").len() == 1).await;
    let all = async || {
        let incidents = squelch.get("/api/v1/incidents").await.json();
        let fan = incidents["incidents"]
            .as_array()?
            .iter()
            .find(|i| i["groupKey"].as_str().is_some_and(|k| k.contains("Fan")))?;
        (fan["alerts"].as_array()?.len() == 27).then_some(())
    };
    until("27 alerts in one incident", all).await;
    shown(pager, "27 hosts", |i| about(i, "Fan").iter().any(|i| i.summary.contains("FIRING:27"))).await;
    world.set("Plain", 0..1, false);
    // Some recover earlier: Alertmanager notifies of the whole group, of most of it again.
    world.set("Fan", 0..20, false);
    shown(pager, "seven hosts left", |i| about(i, "Fan").iter().any(|i| i.summary.contains("FIRING:7")))
        .await;
    world.set("Fan", 20..27, false);
    shown(pager, "the end of the outage", |i| about(i, "Plain").iter().all(|i| i.closed_at.is_some())).await;
}

/// Squelch's own books.
async fn accounts(squelch: &Squelch) {
    let scrape = squelch.scrape_when_closed().await;
    let received = |status| scrape.sum("squelch_alerts_received_total", &[("status", status)]);
    assert!(received("firing") >= 31.0 && received("resolved") >= 31.0);
    let disposed = |disposition| scrape.sum("squelch_alerts_disposed_total", &[("disposition", disposition)]);
    assert_eq!((disposed("page"), disposed("resolve")), (5.0, 5.0));
    let because = |reason| scrape.sum("squelch_alerts_disposed_total", &[("reason", reason)]);
    assert!(because("duplicate") >= 7.0, "what still fired when twenty recovered was said again");
    assert!(because("grouped") >= 26.0);
    assert!(because("flapping") >= 1.0);
    assert_eq!(scrape.sum("squelch_alerts_pending", &[]), 0.0);
    assert_eq!(scrape.sum("squelch_notifications_total", &[("kind", "page")]), 5.0);
    assert_eq!(scrape.sum("squelch_notifications_failed_total", &[]), 0.0);
}
