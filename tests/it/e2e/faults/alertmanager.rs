//! The same faults with Debian's Alertmanager, for comparison. `tests/faults` runs these.
//!
//! They assert the statements of `docs/reliability.md` about it, and print the figures.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use squelch::commands::fake_pager::{FakePager, Fault};
use tokio::time::{sleep, timeout};

use super::{alert, config, peak_mib};
use crate::e2e::child::{Child, free_port};
use crate::e2e::sender::{body, now};
use crate::e2e::squelch::Home;
use crate::e2e::{about, http, pager, shown, until};

/// Alertmanager alone. `None` where none is installed.
async fn alertmanager(folder: &Path, receivers: &str) -> Option<(SocketAddr, Child)> {
    let (address, child) = launch(folder, receivers)?;
    let ready = async || http::get(address, "/-/ready").await.ok().filter(|a| a.status == 200);
    until("Alertmanager is ready", ready).await;
    Some((address, child))
}

fn launch(folder: &Path, receivers: &str) -> Option<(SocketAddr, Child)> {
    std::fs::write(folder.join("alertmanager.yml"), receivers).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let args = [
        format!("--config.file={}", folder.join("alertmanager.yml").display()),
        format!("--storage.path={}", folder.join("data").display()),
        format!("--web.listen-address={address}"),
        "--cluster.listen-address=".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Some((address, Child::start("alertmanager", "prometheus-alertmanager", &args)?))
}

/// A receiver for each hook, chosen by the label `to`. The first is the default.
fn theirs(pager: &FakePager, hooks: &[&str], group_wait: &str) -> String {
    let mut text = format!(
        "route:\n  receiver: {}\n  group_by: [alertname]\n  group_wait: {group_wait}\n  group_interval: 3s\n  routes:\n",
        hooks[0]
    );
    for hook in hooks {
        writeln!(text, "    - {{receiver: {hook}, matchers: ['to=\"{hook}\"']}}").unwrap();
    }
    text.push_str("receivers:\n");
    for hook in hooks {
        let url = pager.url(&format!("/webhook/{hook}"));
        writeln!(text, "  - {{name: {hook}, webhook_configs: [{{url: '{url}'}}]}}").unwrap();
    }
    text
}

async fn tell(to: SocketAddr, name: &str, hook: &str) {
    let alerts = json!([{"labels": {"alertname": name, "to": hook, "severity": "critical"}}]).to_string();
    assert_eq!(http::post(to, "/api/v2/alerts", alerts.as_bytes()).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a comparison; tests/faults runs it"]
async fn alertmanager_forgets_what_it_acknowledged_when_it_is_killed() {
    let (pager, folder) = (pager().await, tempfile::tempdir().unwrap());
    let config_text = theirs(&pager, &["a"], "2s");
    let Some((address, mut child)) = alertmanager(folder.path(), &config_text).await else { return };
    for n in 0..20 {
        tell(address, &format!("Down-{n}"), "a").await;
    }
    child.kill();
    let Some((_address, _child)) = alertmanager(folder.path(), &config_text).await else { return };
    sleep(Duration::from_secs(8)).await;
    let theirs_lost = 20 - pager.incidents().len();

    pager.clear();
    let home = Home::new(&config(&pager));
    let mut squelch = home.serve().await;
    pager.script(Fault { next: 20, hang_ms: 3000, reset: true, ..Fault::default() });
    for n in 0..20 {
        squelch.hook(&body("http://am-0", &[alert(&format!("Down-{n}"))])).await;
    }
    squelch.child.kill();
    pager.clear();
    let squelch = home.serve().await;
    shown(&pager, "all pages", |i| i.len() == 20).await;
    println!("kill -9: of 20 acknowledged alerts Alertmanager lost {theirs_lost}, Squelch 0");
    assert_eq!(theirs_lost, 20);
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a comparison; tests/faults runs it"]
async fn alertmanager_does_not_start_on_a_damaged_nflog() {
    let (pager, folder) = (pager().await, tempfile::tempdir().unwrap());
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/nflog"), b"\xff\xff\xff\xffdamaged").unwrap();
    let Some((_, mut child)) = launch(folder.path(), &theirs(&pager, &["a"], "1s")) else { return };
    let status = child.ended().await;
    println!("damaged state: Alertmanager ends with {status}");
    assert!(!status.success(), "{}", child.said());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a comparison; tests/faults runs it"]
async fn alertmanager_takes_a_body_of_200_megabytes() {
    let (pager, folder) = (pager().await, tempfile::tempdir().unwrap());
    let Some((address, child)) = alertmanager(folder.path(), &theirs(&pager, &["a"], "1s")).await else {
        return;
    };
    let before = peak_mib(child.pid());
    let fat = "x".repeat(200 << 20);
    let alerts = json!([{"labels": {"alertname": "Fat"}, "annotations": {"summary": fat}}]).to_string();
    let status = http::post(address, "/api/v2/alerts", alerts.as_bytes()).await.unwrap().status;
    let after = peak_mib(child.pid());

    let home = Home::new(&config(&pager));
    let squelch = home.serve().await;
    let idle = squelch.peak_mib();
    let ours = squelch.post("/api/v2/alerts", &alerts).await.status;
    let peak = squelch.peak_mib();
    println!(
        "200 MB body: Alertmanager answers {status}, {before} MiB become {after}; \
         Squelch answers {ours}, {idle} MiB become {peak}"
    );
    assert!(status == 200 && after > before + 200, "{status}: {before}, then {after} MiB");
    assert!(ours == 413 && peak < idle + 100, "{ours}: {idle}, then {peak} MiB");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a comparison; tests/faults runs it"]
async fn alertmanager_ends_what_fires_when_an_old_request_is_said_anew() {
    let (pager, folder) = (pager().await, tempfile::tempdir().unwrap());
    let Some((address, _child)) = alertmanager(folder.path(), &theirs(&pager, &["a"], "1s")).await else {
        return;
    };
    tell(address, "Down", "a").await;
    shown(&pager, "the page", |i| i.len() == 1).await;
    let hour = squelch::model::Duration::from_hours(1);
    let (starts, ends) = (now() - hour - hour, now() - hour);
    let labels = json!({"alertname": "Down", "to": "a", "severity": "critical"});
    let old = json!([{"labels": labels, "startsAt": starts, "endsAt": ends}]).to_string();
    assert_eq!(http::post(address, "/api/v2/alerts", old.as_bytes()).await.unwrap().status, 200);
    let ended = timeout(Duration::from_secs(20), pager.wait_until(|p| p.incidents()[0].closed_at.is_some()));
    let ended = ended.await.is_ok();
    println!("an old request said anew: Alertmanager ends what fires: {ended}");
    assert!(ended);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a comparison; tests/faults runs it"]
async fn alertmanager_holds_up_a_groups_next_page_behind_a_receiver_that_hangs() {
    let (pager, folder) = (pager().await, tempfile::tempdir().unwrap());
    let text = theirs(&pager, &["slow", "fast"], "1s");
    let Some((address, _child)) = alertmanager(folder.path(), &text).await else { return };
    pager.script(Fault { next: 1, hang_ms: 30_000, path: "/webhook/slow".into(), ..Fault::default() });
    tell(address, "Slow", "slow").await;
    until("the slow receiver hangs", async || (pager.requests().total >= 1).then_some(())).await;
    tell(address, "Fast", "fast").await;
    shown(&pager, "the other receiver's page", |i| about(i, "Fast").len() == 1).await;
    let waited =
        timeout(Duration::from_secs(8), pager.wait_until(|p| !about(&p.incidents(), "Slow").is_empty()));
    let came = waited.await.is_ok();
    println!("hanging receiver: another's page comes; its own had come after 8 s: {came}");
    assert!(!came, "the attempt has no timeout of its own");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a comparison; tests/faults runs it"]
async fn alertmanager_does_not_try_a_429_again_before_the_next_interval() {
    let (pager, folder) = (pager().await, tempfile::tempdir().unwrap());
    let text = theirs(&pager, &["a"], "1s");
    let Some((address, _child)) = alertmanager(folder.path(), &text).await else { return };
    pager.script(Fault { next: 1, answer: Some(429), ..Fault::default() });
    tell(address, "Down", "a").await;
    until("the first attempt", async || (pager.requests().total >= 1).then_some(())).await;
    let began = tokio::time::Instant::now();
    shown(&pager, "the page", |i| i.len() == 1).await;
    let theirs = began.elapsed();

    pager.clear();
    let home = Home::new(&config(&pager));
    let squelch = home.serve().await;
    pager.script(Fault { next: 1, answer: Some(429), ..Fault::default() });
    squelch.hook(&body("http://am-0", &[alert("Down")])).await;
    until("the first attempt", async || (pager.requests().total >= 1).then_some(())).await;
    let began = tokio::time::Instant::now();
    shown(&pager, "the page", |i| i.len() == 1).await;
    println!(
        "429: Alertmanager's page comes {theirs:?} later (group_interval 3s), Squelch's {:?}",
        began.elapsed()
    );
    assert!(theirs > Duration::from_secs(2), "{theirs:?}");
    assert_eq!(squelch.stop().await.code(), Some(0));
}
