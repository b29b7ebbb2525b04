//! Bodies that are packed, and those of Grafana.

use super::*;

#[tokio::test]
async fn gzip_bodies_are_taken_and_other_encodings_are_415() {
    let mut running = start(ServerLimits::default()).await;
    let json = "Content-Type: application/json\r\n";
    for encoding in ["gzip", "GZIP", "x-gzip"] {
        let encoding = format!("{json}Content-Encoding: {encoding}\r\n");
        let list = gzip(br#"[{"labels":{"a":"b"}}]"#);
        for (path, body) in [(HOOK, gzip(AM_025.as_bytes())), ("/api/v2/alerts", list)] {
            let answer = running.send("POST", path, &encoding, &body).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            assert_eq!(soon(running.accepted.recv()).await.unwrap().observations.len(), 1);
        }
    }
    for encoding in ["deflate", "br", "gzip, gzip"] {
        let answer = running.send("POST", HOOK, &format!("Content-Encoding: {encoding}\r\n"), b"xx").await;
        assert_eq!(answer.status, 415, "{encoding}");
        assert!(answer.body.contains("Send gzip or none"), "{}", answer.body);
    }
    assert_eq!(
        running.send("POST", HOOK, "Content-Encoding: identity\r\n", AM_025.as_bytes()).await.status,
        200
    );
}

#[tokio::test]
async fn a_gzip_body_that_is_broken_or_too_large_is_refused() {
    let running = start(ServerLimits { body_bytes: 1 << 20, ..ServerLimits::default() }).await;
    let whole = gzip(AM_025.as_bytes());
    let bomb = gzip(&vec![b' '; 2 << 20]);
    assert!(bomb.len() < 64 << 10, "it looks like a small body");
    let mut spoiled = whole.clone();
    let last = spoiled.len() - 5;
    spoiled[last] ^= 0xff;
    for (body, status, says) in [
        (&b"xx"[..], 400, "the gzip body is broken"),
        (&whole[..whole.len() / 2], 400, "the gzip body is broken"),
        (&spoiled, 400, "the gzip body is broken"),
        (&bomb, 413, "found more, inflated"),
    ] {
        let answer = running.send("POST", HOOK, "Content-Encoding: gzip\r\n", body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.json()["detail"].as_str().unwrap().contains(says), "{}", answer.body);
    }
    let (broken, large) = (InvalidReason::Incomplete, InvalidReason::TooLarge);
    assert_eq!(running.rejected(), [broken, broken, broken, large]);
}

/// Grafana sends Alertmanager's webhook, with fields of its own in the body and in each alert.
#[tokio::test]
async fn grafanas_webhook_is_taken_whole() {
    let mut running = start(ServerLimits::default()).await;
    let answer = running.hook(GRAFANA).await;
    assert_eq!((answer.status, answer.json()["accepted"].clone()), (200, json!(1)), "{}", answer.body);
    let batch = soon(running.accepted.recv()).await.unwrap();
    let alert = &batch.observations[0];
    assert_eq!(
        (alert.labels.value("alertname"), alert.annotations.value("summary")),
        ("High latency", "p99 over 2 s")
    );
    assert!(alert.generator_url.ends_with("/view"));
    // A rule without data has no values, and an image is there only where Grafana renders one.
    let mut body: Value = serde_json::from_str(GRAFANA).unwrap();
    body["alerts"][0]["values"] = Value::Null;
    body["alerts"][0]["imageURL"] = json!("https://grafana.example.com/a.png");
    body["alerts"][0]["orgId"] = json!(7);
    assert_eq!(running.hook(body.to_string()).await.status, 200);
    assert_eq!(soon(running.accepted.recv()).await.unwrap().observations, batch.observations);
    assert_eq!(running.rejected(), []);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}
