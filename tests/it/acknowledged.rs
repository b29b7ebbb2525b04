//! Acknowledgements come back from PagerDuty and Opsgenie, through the real program.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::e2e::http::{self, Answer};
use crate::e2e::sender::{Told, body};
use crate::e2e::squelch::{Home, Squelch};

const CONFIG: &str = "\
route: {receiver: pd, group_by: [alertname]}
receivers:
  - name: pd
    pagerduty_configs: [{routing_key: k, url: 'http://127.0.0.1:9/v2/enqueue', webhook_secret: pd-secret}]
    opsgenie_configs: [{api_key: k, api_url: 'http://127.0.0.1:9/', webhook_secret: og-secret}]
";

/// Posts a message with one more header.
async fn send(squelch: &Squelch, path: &str, header: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n{header}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    http::send(squelch.address, &head, body.as_bytes()).await.unwrap()
}

fn signature(secret: &str, body: &Value) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.to_string().as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("X-PagerDuty-Signature: v1={hex}")
}

async fn incident(squelch: &Squelch) -> Value {
    squelch.get("/api/v1/incidents").await.json()["incidents"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_shows_until_it_is_taken_back_and_outlives_a_restart() {
    let home = Home::new(CONFIG);
    let squelch = home.serve().await;
    squelch.hook(&body("am", &[Told::fires("Down", "severity", "critical")])).await;
    let key = incident(&squelch).await["dedupKey"].clone();
    let event = |kind: &str| {
        json!({"event": {"id": "1", "event_type": kind, "resource_type": "incident",
            "agent": {"summary": "Ada"}, "data": {"id": "P1", "type": "incident", "incident_key": key}}})
    };
    let path = "/pagerduty/v3/webhook";
    let taken = event("incident.acknowledged");
    let wrong = send(&squelch, path, &signature("other", &taken), &taken).await;
    assert_eq!(wrong.status, 403, "{}", wrong.body);
    assert_eq!(incident(&squelch).await["acknowledgedBy"], Value::Null);
    assert_eq!(send(&squelch, path, &signature("pd-secret", &taken), &taken).await.status, 200);
    assert_eq!(incident(&squelch).await["acknowledgedBy"], "Ada");
    assert!(squelch.get("/").await.body.contains("acknowledged by"));
    squelch.stop().await;
    let squelch = home.serve().await;
    assert_eq!(incident(&squelch).await["acknowledgedBy"], "Ada");
    let back = event("incident.unacknowledged");
    assert_eq!(send(&squelch, path, &signature("pd-secret", &back), &back).await.status, 200);
    assert_eq!(incident(&squelch).await["acknowledgedBy"], Value::Null);

    let path = "/opsgenie/webhook";
    let action = json!({"action": "Acknowledge", "alert": {"alias": key, "username": "ada@example.org"}});
    let wrong = send(&squelch, path, "Authorization: Bearer pd-secret", &action).await;
    assert_eq!(wrong.status, 403, "{}", wrong.body);
    assert_eq!(send(&squelch, path, "Authorization: Bearer og-secret", &action).await.status, 200);
    assert_eq!(incident(&squelch).await["acknowledgedBy"], "ada@example.org");
    let broken = json!({"alert": 1});
    assert_eq!(send(&squelch, path, "Authorization: Bearer og-secret", &broken).await.status, 400);
}
