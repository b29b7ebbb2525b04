//! The data directory is removed under a running process, or it is smaller than configured.

use std::path::Path;

use super::{alert, config, insist, noise};
use crate::e2e::scrape::Scrape;
use crate::e2e::sender::body;
use crate::e2e::squelch::{Home, Squelch};
use crate::e2e::{about, opened_and_closed, pager, shown, until};

fn remove_all(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

async fn is_red(squelch: &Squelch) {
    until("not ready", async || (squelch.get("/-/ready").await.status == 503).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_files_are_seen_and_all_that_was_acknowledged_is_written_anew() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let mut squelch = home.serve().await;
    let before = alert("Before");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&before))).await;
    shown(&pager, "the first page", |i| i.len() == 1).await;

    remove_all(&home.path("data"));
    let answer =
        squelch.post("/alertmanager/webhook", body("http://am-0", &[alert("During")]).to_string()).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(squelch.get("/-/ready").await.status, 503);
    assert_eq!(squelch.get("/-/healthy").await.status, 200);
    let mut second = home.launch("127.0.0.1:0".parse().unwrap());
    assert_eq!(second.ended().await.code(), Some(1));
    assert!(second.said().contains("another process"), "{}", second.said());
    squelch.child.line(&["level=ERROR", "written anew"]).await;
    assert!(squelch.scrape().await.sum("squelch_store_failures_total", &[]) >= 1.0);

    squelch.child.kill();
    let squelch = home.serve().await;
    insist(&squelch, &body("http://am-0", &[before.resolved(), alert("During").resolved()])).await;
    shown(&pager, "the end of what was open before", |i| {
        about(i, "Before").iter().all(|i| i.closed_at.is_some()) && opened_and_closed(i).1 >= 1
    })
    .await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_moved_while_nothing_is_said_is_seen_and_taken_back() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let squelch = home.serve().await;
    let before = alert("Before");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&before))).await;
    shown(&pager, "the first page", |i| i.len() == 1).await;
    std::fs::rename(home.path("data"), home.path("moved")).unwrap();
    is_red(&squelch).await;
    // It may have been written anew by now.
    let _ = std::fs::remove_dir_all(home.path("data"));
    std::fs::rename(home.path("moved"), home.path("data")).unwrap();
    insist(&squelch, &body("http://am-0", &[before.resolved()])).await;
    shown(&pager, "its end", |i| about(i, "Before").iter().all(|i| i.closed_at.is_some())).await;
    assert_eq!(pager.incidents().iter().filter(|i| i.triggers > 1).count(), 0, "{:#?}", pager.incidents());
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_keeps_within_max_size_and_refuses_nobody() {
    let pager = pager().await;
    let home = Home::new(&format!("{}storage: {{max_size: 10MB}}\n", config(&pager)));
    let squelch = home.serve().await;
    // The same alerts say something else each time: 40 MB in all.
    for round in 0..160_u64 {
        let mut sent =
            body("http://am-0", &(0..20).map(|n| alert(&format!("Flood-{n}"))).collect::<Vec<_>>());
        for (n, alert) in sent["alerts"].as_array_mut().unwrap().iter_mut().enumerate() {
            alert["annotations"]["description"] = noise(round * 20 + n as u64, 13_500).into();
        }
        squelch.hook(&sent).await;
    }
    let size = |scrape: &Scrape| scrape.sum("squelch_storage_size_bytes", &[]);
    until("the storage is within its bound", async || {
        let scrape = squelch.scrape().await;
        (size(&scrape) > 0.0 && size(&scrape) <= 10_485_760.0).then_some(())
    })
    .await;
    let scrape = squelch.scrape().await;
    assert!(scrape.sum("squelch_storage_trimmed_total", &[]) > 0.0);
    assert_eq!(scrape.sum("squelch_store_failures_total", &[]), 0.0);
    squelch.hook(&body("http://am-1", &[alert("Other")])).await;
    shown(&pager, "another sender's page", |i| about(i, "Other").len() == 1).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}
