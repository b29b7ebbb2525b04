//! `squelch storage copy`: an incident that opens on one kind of storage resolves on the other.

use std::path::Path;

use super::child::Child;
use super::sender::{Told, body};
use super::squelch::{Home, PROGRAM};
use super::{opened_and_closed, pager, shown, until};
use crate::postgres::shared;

async fn copy(from: &Path, to: &Path) -> (Option<i32>, String) {
    let (from, to) = (format!("--from={}", from.display()), format!("--to={}", to.display()));
    let mut child = Child::start("copy", PROGRAM, &["storage", "copy", &from, &to]).unwrap();
    let code = child.ended().await.code();
    (code, child.said())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_moves_to_postgresql_and_back() {
    let Some(server) = shared() else { return };
    let (pager, database) = (pager().await, server.database());
    let text = |storage: &str| {
        let url = pager.url("/webhook/a");
        format!(
            "{storage}
route: {{receiver: pager, group_by: [outage]}}
receivers: [{{name: pager, webhook_configs: [{{url: '{url}'}}]}}]
noise: {{default: {{resolve_hold: 0s, storm: {{start: 0}}, limit: {{pages: 0}}}}}}
"
        )
    };
    let outage = |name: &str| Told::fires("Down", "outage", name);
    let home = Home::new(&text(""));
    let squelch = home.serve().await;
    squelch.hook(&body("http://am", &[outage("a"), outage("b")])).await;
    shown(&pager, "two outages", |i| i.len() == 2).await;
    let (code, said) = copy(&home.path("data"), &database.url_file).await;
    assert!(code == Some(1) && said.contains("another process (pid "), "it runs: {said}");
    squelch.stop().await;

    let (code, said) = copy(&home.path("data"), &database.url_file).await;
    assert_eq!(code, Some(0), "{said}");
    std::fs::rename(home.path("data/squelch.db"), home.path("old.db")).unwrap();
    home.configure(&text(&format!("storage: {{postgres: {{url_file: '{}'}}}}", database.url_file.display())));
    let squelch = home.serve().await;
    squelch.hook(&body("http://am", &[outage("a").resolved(), outage("b"), outage("c")])).await;
    shown(&pager, "one closed, a third open", |i| opened_and_closed(i) == (3, 1)).await;
    let noise =
        async || Some(squelch.get("/api/v1/noise").await.body).filter(|b| b.contains("suggestionsAt"));
    until("its journal has priced suggestions", noise).await;
    let storage = format!("--storage.path={}", database.url_file.display());
    let mut export = Child::start("export", PROGRAM, &["alerts", "--export", &storage]).unwrap();
    assert_eq!(export.ended().await.code(), Some(0));
    let history = export.said();
    assert_eq!(history.lines().count(), 2, "both requests, the first from before the copy: {history}");
    let (code, said) = copy(&database.url_file, &home.path("back")).await;
    assert!(code == Some(1) && said.contains("stop every replica first"), "it runs: {said}");
    squelch.stop().await;

    let (code, said) = copy(&database.url_file, &home.path("data")).await;
    assert_eq!(code, Some(0), "{said}");
    home.configure(&text(""));
    let squelch = home.serve().await;
    let over = ["b", "c"].map(|name| outage(name).resolved());
    squelch.hook(&body("http://am", &over)).await;
    shown(&pager, "all closed", |i| opened_and_closed(i) == (3, 3)).await;
    squelch.stop().await;
    for incident in pager.incidents() {
        assert_eq!((incident.notified, incident.triggers), (1, 1), "{incident:?}");
    }
}
