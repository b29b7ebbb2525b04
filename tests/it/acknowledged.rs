//! Acknowledgements come back from PagerDuty and Opsgenie, through the real program.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::e2e::child::{Child, free_port};
use crate::e2e::http::{self, Answer};
use crate::e2e::sender::{Told, body};
use crate::e2e::squelch::{Home, PROGRAM, Squelch};
use crate::e2e::until;

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

/// The fake pager as a process of its own, which tells `squelch` of acknowledgements.
struct Pager {
    at: std::net::SocketAddr,
    _child: Child,
}

impl Pager {
    async fn start(squelch: std::net::SocketAddr) -> Pager {
        let url = format!("--pagerduty.webhook-url=http://{squelch}/pagerduty/v3/webhook");
        let args =
            ["fake-pager", "--web.listen-address=127.0.0.1:0", &url, "--pagerduty.webhook-secret=pd-secret"];
        let child = Child::start("fake-pager", PROGRAM, &args).unwrap();
        let line = child.line(&["fake pager on http://"]).await;
        let at = line.trim_start_matches("fake pager on http://").trim_end_matches('/').parse().unwrap();
        Pager { at, _child: child }
    }

    async fn incidents(&self) -> Vec<Value> {
        let all = http::get(self.at, "/incidents").await.unwrap().json();
        all.as_array().unwrap().clone()
    }

    /// The incidents of a service, by whether they are closed.
    async fn at_service(&self, ending: &str) -> Vec<bool> {
        let all = self.incidents().await;
        let here = all.iter().filter(|i| i["routing_key"].as_str().unwrap().ends_with(ending));
        here.map(|incident| !incident["closed_at"].is_null()).collect()
    }
}

fn service(ending: &str) -> String {
    format!("{ending:0>32}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_escalates_at_the_pager_and_a_person_acknowledges_it_there() {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let pager = Pager::start(address).await;
    let pages = |ending: &str| {
        let (key, at) = (service(ending), pager.at);
        format!("[{{routing_key: '{key}', url: 'http://{at}/v2/enqueue', webhook_secret: pd-secret}}]")
    };
    let home = Home::new(&format!(
        "severities:
  label: level
  levels:
    - {{name: critical, respond_within: 1s, escalate_to: lead}}
    - {{name: warning, respond_within: 1h, escalate_to: lead}}
noise: {{default: {{resolve_hold: 0s, merge_window: 0s}}}}
route: {{receiver: pd, group_by: [alertname]}}
receivers:
  - {{name: pd, pagerduty_configs: {}}}
  - {{name: lead, pagerduty_configs: {}}}
",
        pages("1111"),
        pages("2222"),
    ));
    let squelch = home.serve_on(address).await;
    let (down, slow) = (Told::fires("Down", "level", "critical"), Told::fires("Slow", "level", "warning"));
    squelch.hook(&body("am", std::slice::from_ref(&down))).await;
    squelch.hook(&body("am", std::slice::from_ref(&slow))).await;
    until("the escalation", async || {
        (pager.at_service("2222").await == [false] && pager.at_service("1111").await == [false; 2])
            .then_some(())
    })
    .await;
    // A person takes both incidents on at the pager.
    for incident in pager.incidents().await {
        let path = format!("/acknowledge?by=Ada&key={}", incident["dedup_key"].as_str().unwrap());
        let answer = http::post(pager.at, &path, b"").await.unwrap();
        assert_eq!((answer.status, &answer.json()["webhook"]), (200, &json!(200)), "{}", answer.body);
    }
    let open = squelch.get("/api/v1/incidents").await.json();
    let by: Vec<_> = open["incidents"].as_array().unwrap().iter().map(|i| &i["acknowledgedBy"]).collect();
    assert_eq!(by, ["Ada", "Ada"], "{open}");
    squelch.hook(&body("am", &[down.resolved()])).await;
    squelch.hook(&body("am", &[slow.resolved()])).await;
    until("the end at both services", async || {
        (pager.at_service("2222").await == [true] && pager.at_service("1111").await == [true; 2])
            .then_some(())
    })
    .await;
}

/// A PagerDuty service at the fake pager, whose webhook leads to Squelch.
fn one_service(pager: &Pager) -> String {
    format!(
        "noise: {{default: {{resolve_hold: 0s, merge_window: 0s}}}}
route: {{receiver: pd, group_by: [alertname]}}
receivers:
  - name: pd
    pagerduty_configs: [{{routing_key: '{}', url: 'http://{}/v2/enqueue', webhook_secret: pd-secret}}]
",
        service("1111"),
        pager.at
    )
}

/// A person acknowledges the incident at Squelch, once its history has it.
async fn acknowledge(squelch: &Squelch, by: &str) {
    let key = incident(squelch).await["dedupKey"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/incidents/{key}/acknowledge");
    until("Squelch takes the acknowledgement", async || {
        let answer = squelch.post(&path, json!({"by": by}).to_string()).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

impl Pager {
    async fn is_acknowledged(&self) -> Option<()> {
        let all = self.incidents().await;
        (all.len() == 1 && all[0]["acknowledged"] == true).then_some(())
    }

    /// A person does this with the incident at the pager.
    async fn person(&self, does: &str, by: &str) {
        let key = self.incidents().await[0]["dedup_key"].as_str().unwrap().to_owned();
        let answer = http::post(self.at, &format!("/{does}?by={by}&key={key}"), b"").await.unwrap();
        assert_eq!((answer.status, &answer.json()["webhook"]), (200, &json!(200)), "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_at_squelch_reaches_the_pager_and_neither_side_echoes() {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let pager = Pager::start(address).await;
    let home = Home::new(&one_service(&pager));
    let squelch = home.serve_on(address).await;
    let down = Told::fires("Down", "severity", "critical");
    squelch.hook(&body("am", std::slice::from_ref(&down))).await;
    until("the page", async || (pager.at_service("1111").await == [false]).then_some(())).await;
    acknowledge(&squelch, "Grace").await;
    until("the acknowledgement at the pager", async || pager.is_acknowledged().await).await;
    // The pager says so in its turn, in the name of its API.
    let webhooks = [("handler", "/pagerduty/v3/webhook"), ("code", "200")];
    let heard =
        async || (squelch.scrape().await.sum("squelch_http_requests_total", &webhooks) >= 1.0).then_some(());
    until("the webhook of the pager", heard).await;
    assert_eq!(incident(&squelch).await["acknowledgedBy"], "Grace");
    acknowledge(&squelch, "").await;
    assert_eq!(
        incident(&squelch).await["acknowledgedBy"],
        "Grace",
        "a person without a name takes nothing over"
    );
    // A person gives the incident back there, and takes it on.
    pager.person("unacknowledge", "Ada").await;
    assert_eq!(incident(&squelch).await["acknowledgedBy"], Value::Null);
    pager.person("acknowledge", "Ada").await;
    assert_eq!(incident(&squelch).await["acknowledgedBy"], "Ada");
    squelch.hook(&body("am", &[down.resolved()])).await;
    until("the end", async || (pager.at_service("1111").await == [true]).then_some(())).await;
    let requests = http::get(pager.at, "/requests").await.unwrap().json();
    assert_eq!(requests["total"], 3, "a page, an acknowledgement and a resolve: {requests}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_reaches_the_pager_although_squelch_dies() {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let pager = Pager::start(address).await;
    let home = Home::new(&one_service(&pager));
    let mut squelch = home.serve_on(address).await;
    squelch.hook(&body("am", &[Told::fires("Down", "severity", "critical")])).await;
    until("the page", async || (pager.at_service("1111").await == [false]).then_some(())).await;
    let hangs = json!({"next": 1, "hang_ms": 600_000, "answer": 503, "path": "/v2/enqueue"});
    assert_eq!(http::post(pager.at, "/script", hangs.to_string().as_bytes()).await.unwrap().status, 200);
    acknowledge(&squelch, "Grace").await;
    squelch.child.signal(rustix::process::Signal::KILL);
    squelch.child.ended().await;
    assert_eq!(pager.is_acknowledged().await, None);
    let squelch = home.serve_on(address).await;
    until("the acknowledgement at the pager", async || pager.is_acknowledged().await).await;
    assert_eq!(incident(&squelch).await["acknowledgedBy"], "Grace");
}
