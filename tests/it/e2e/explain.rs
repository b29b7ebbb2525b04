//! `squelch explain` against a running server, and against the storage that it left.

use std::process::Output;

use super::squelch::{Home, command as squelch};
use super::until;

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8(output.stdout.clone()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn explains_a_page_and_what_was_inhibited() {
    let home = Home::new(
        "\
route: {receiver: console, group_by: [alertname]}
receivers: [{name: console, console_configs: [{}]}]
severities: {levels: [{name: critical, never_hold: true}, {name: warning}, {name: info, hold: 1h}]}
inhibit_rules:
  - {name: node, source_matchers: [alertname=NodeDown], target_matchers: [severity=warning]}
storage: {retention: 7d, max_size: 50MB}
",
    );
    let running = home.serve().await;
    let now = squelch::node::clock::wall();
    let alert = |name: &str, severity: &str| {
        serde_json::json!({
            "status": "firing", "startsAt": now.to_string(),
            "labels": {"alertname": name, "severity": severity, "evil": "\u{1b}[31m\nx"},
        })
    };
    let alerts = [alert("NodeDown", "critical"), alert("DiskSlow", "warning"), alert("Later", "info")];
    running.hook(&serde_json::json!({"version": "4", "alerts": alerts})).await;
    let decided = async || {
        let found = running.get("/api/v1/decisions?limit=10").await;
        (found.status == 200 && found.json()["decisions"].as_array().is_some_and(|d| d.len() == 2))
            .then_some(())
    };
    until("both are in the decision log", decided).await;
    let url = format!("--url=http://{}", running.address);
    let asked = |rest: &[&str]| {
        ["explain"].iter().chain(rest).map(|a| (*a).to_owned()).chain([url.clone()]).collect::<Vec<_>>()
    };
    let (code, text) = said(&squelch(asked(&["DiskSlow"])).await);
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "suppressed (inhibited): inhibited by alert {alertname=\"NodeDown\",",
        "by inhibit_rules[0], line 5",
        "Without this rule it would have paged at",
        "Squelch releases it when the alert that inhibits it resolves",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "nothing that steers a terminal: {text:?}");
    let json = squelch(asked(&["NodeDown", "-o", "json"])).await;
    let page: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(page[0]["disposition"], "page");
    let key = page[0]["incident"].as_str().unwrap();
    let accepted = async || {
        let (code, text) = said(&squelch(asked(&[key])).await);
        (code == Some(0) && text.contains(&format!(" paged, and opened incident {}", &key[..12])))
            .then_some(())
    };
    until("the page is accepted", accepted).await;
    // Nothing is decided about an alert that waits, so its present state is the explanation.
    let (code, text) = said(&squelch(asked(&["Later"])).await);
    assert!(code == Some(0) && text.contains("is held at console: "), "{code:?} {text}");
    assert!(text.contains("Next: pages at") && !text.contains('\u{1b}'), "{text:?}");
    assert_eq!(squelch(asked(&["Unheard"])).await.status.code(), Some(1));
    assert_eq!(squelch(asked(&["{}"])).await.status.code(), Some(2));
    let refused = running.get("/api/v1/decisions?reason=none").await;
    assert!(refused.status == 400 && refused.body.contains("flapping"), "{}", refused.body);
    let scrape = running.scrape().await;
    assert_eq!(scrape.sum("squelch_decision_log_decisions_total", &[]), 2.0);
    assert_eq!(running.stop().await.code(), Some(0));
    let storage = format!("--storage.path={}", home.path("data").display());
    let (code, text) = said(&squelch(vec!["explain".into(), "severity=warning".into(), storage]).await);
    assert!(code == Some(0) && text.contains("inhibited by"), "{text}");
    let nobody = squelch(asked(&["NodeDown"])).await;
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("cannot reach http://127.0.0.1:"));
}
