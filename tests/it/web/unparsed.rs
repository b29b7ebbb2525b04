//! Requests that are no valid HTTP. The library in front of the handlers refuses them.

use super::*;

/// A person at curl writes `?filter=alertname="Disk full"`.
#[tokio::test]
async fn a_request_that_cannot_be_read_gets_the_reason() {
    let running = start(ServerLimits::default()).await;
    let long = "a".repeat(70_000);
    let headers = "X: a\r\n".repeat(101);
    for (path, headers, status, reason) in [
        ("/api/v2/alerts?filter=alertname=\"DiskFull\"", "", 400, "%22"),
        ("/api/v1/incidents?matcher=a=<b>", "", 400, "%3C"),
        ("/history?q=disk full", "", 400, "blank"),
        ("/", "no header\r\n", 400, "a header"),
        (&*format!("/?q={long}"), "", 431, "32 KiB"),
        ("/", &headers, 431, "100 headers"),
    ] {
        let refused = running.send("GET", path, headers, b"").await;
        assert_eq!(refused.status, status, "{path:.80}");
        let problem: Value = serde_json::from_str(&refused.body).unwrap();
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{}", refused.body);
    }
    let unnamed = running.get("/api/v1/incidents/%ff").await;
    assert!(unnamed.status == 400 && unnamed.body.contains("not valid UTF-8"), "{}", unnamed.body);
    for path in ["/api/v2/silence/%ff", "/assets/%ff"] {
        let unnamed = running.get(path).await;
        assert!(unnamed.status == 400 && unnamed.body.contains("not valid UTF-8"), "{}", unnamed.body);
    }
}
