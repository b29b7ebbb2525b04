//! Ten thousand open alerts: every page stays small.

use std::time::Instant;

use serde_json::json;

use super::browser::{Browser, DESK};
use super::hostile::{CONFIG, body};
use crate::e2e::squelch::Home;

#[tokio::test(flavor = "multi_thread")]
async fn every_view_stays_small_with_ten_thousand_open_alerts() {
    let home = Home::new(CONFIG);
    let squelch = home.serve().await;
    for part in 0..20 {
        let labels: Vec<_> = (0..500)
            .map(|n| json!({"alertname": "Down", "host": format!("h{}", part * 500 + n), "severity": "critical"}))
            .collect();
        squelch.hook(&body(&labels, &json!({"summary": "it is down"}))).await;
    }
    let now = squelch.get("/").await;
    assert!(now.body.contains("10000"), "all are counted");
    for path in [
        "/",
        "/?q=host%3D~%22h9.*%22",
        "/?page=100",
        "/?q=h99+critical",
        "/?group=service&tab=withheld",
        "/?tab=closed",
        "/noise",
        "/decisions",
        "/flapping",
        "/routing",
        "/silences",
    ] {
        let began = Instant::now();
        let answer = squelch.get(path).await;
        println!("{path}: {} bytes in {:?}", answer.body.len(), began.elapsed());
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(answer.body.len() < 150_000, "{path}: {} bytes", answer.body.len());
        assert!(answer.body.matches("<tr data-row").count() <= 60, "{path}: rows");
    }
    let Some(browser) = Browser::start(DESK).await else { return };
    for path in
        ["/", "/noise?span=1h", "/decisions", "/flapping", "/routing?labels=alertname%3DDown%2Chost%3Dh1"]
    {
        browser.open(&format!("http://{}{path}", squelch.address)).await;
        let said = browser.run("return document.querySelector('h1').textContent;").await;
        let took = "const n = performance.getEntriesByType('navigation')[0];\
                    return n.loadEventEnd ? Math.round(n.loadEventEnd - n.startTime) : 'not loaded';";
        // The time is printed and not asserted. A view can keep only the amount to draw small.
        println!("{path}: loaded in {} ms in a browser", browser.run(took).await);
        let drawn = browser.run("return document.querySelectorAll('*').length;").await.as_u64().unwrap();
        assert!(drawn < 2_500, "{path} ({said}): {drawn} elements");
    }
    browser.close().await;
    let csv = squelch.get("/noise.csv?span=1h").await.body;
    let head =
        "alertname,in,pages,flaps,median_seconds,night_pages,fires,self_resolved,acknowledged,rated,useful\n";
    assert!(csv.starts_with(head), "{csv}");
}
