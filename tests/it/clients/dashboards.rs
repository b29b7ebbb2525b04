//! karma and Grafana's data source for Alertmanager: their requests, and the fields that they read.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use squelch::model::Timestamp;

use crate::e2e::http;
use crate::e2e::scrape::Scrape;
use crate::e2e::sender::now;
use crate::e2e::squelch::{Home, Squelch};

const CONFIG: &str = "\
severities: {levels: [{name: critical}, {name: warning, hold: 1h}]}
route: {receiver: web, group_by: [alertname], group_wait: 0s}
receivers: [{name: web, console_configs: [{}]}]
inhibit_rules: [{source_matchers: [alertname=\"Down\"], target_matchers: [alertname=\"Target\"]}]
";

const ALERTS: &str = r#"[
    {"labels":{"alertname":"Down","severity":"critical"},"annotations":{"summary":"s"},"generatorURL":"http://p"},
    {"labels":{"alertname":"Held","severity":"warning"}},
    {"labels":{"alertname":"Target","severity":"critical"}},
    {"labels":{"alertname":"Quiet","severity":"critical"}}]"#;

/// The fields of a silence that karma reads. Rule: karma `internal/mapper/v017`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Silence {
    id: String,
    matchers: Vec<Matcher>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    created_by: String,
    comment: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Matcher {
    name: String,
    value: String,
    is_regex: bool,
    is_equal: bool,
}

/// The fields of a group that karma reads.
#[derive(Deserialize)]
struct Group {
    labels: BTreeMap<String, String>,
    receiver: Receiver,
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Receiver {
    name: String,
}

/// The fields of an alert that both read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    fingerprint: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    updated_at: Timestamp,
    #[serde(default, rename = "generatorURL")]
    generator_url: String,
    receivers: Vec<Receiver>,
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    state: String,
    silenced_by: Vec<String>,
    inhibited_by: Vec<String>,
    muted_by: Vec<String>,
}

/// The fields of the status that Grafana reads. Rule: Grafana `pkg/services/ngalert/api/lotex_am.go`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Standing {
    cluster: Cluster,
    config: Config,
    uptime: Timestamp,
    version_info: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Cluster {
    status: String,
    peers: Vec<()>,
}

#[derive(Deserialize)]
struct Config {
    original: String,
}

async fn read<T: DeserializeOwned>(squelch: &Squelch, path: &str) -> T {
    let answer = squelch.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap_or_else(|e| panic!("{path}: {e} in {}", answer.body))
}

async fn running() -> (Home, Squelch) {
    let home = Home::new(CONFIG);
    let squelch = home.serve().await;
    assert_eq!(squelch.post("/api/v2/alerts", ALERTS).await.status, 200);
    (home, squelch)
}

/// Makes a silence as both do, and returns its id.
async fn silence(squelch: &Squelch, name: &str) -> String {
    let ends = now() + squelch::model::Duration::from_hours(1);
    let matchers = json!([{"name": "alertname", "value": name, "isRegex": false, "isEqual": true}]);
    let body =
        json!({"matchers": matchers, "startsAt": now(), "endsAt": ends, "createdBy": "a", "comment": "c"});
    let answer = squelch.post("/api/v2/silences", body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["silenceID"].as_str().unwrap().to_owned()
}

/// karma probes the version in the metrics, then reads silences and groups.
#[tokio::test(flavor = "multi_thread")]
async fn karma_reads_what_it_needs() {
    let (_home, squelch) = running().await;
    let id = silence(&squelch, "Quiet").await;
    let metrics = squelch.get("/metrics").await.body;
    let build = metrics.lines().find(|line| line.starts_with("alertmanager_build_info{")).unwrap();
    let version = build.split("version=\"").nth(1).unwrap().split('"').next().unwrap();
    let minor: u32 = version.split('.').nth(1).unwrap().parse().unwrap();
    assert!(minor >= 22, "karma takes 0.22.0 and later, and this is {version}");

    let silences: Vec<Silence> = read(&squelch, "/api/v2/silences").await;
    let [one] = &silences[..] else { panic!() };
    let matcher = &one.matchers[0];
    assert_eq!((&one.id, &*one.created_by, &*one.comment), (&id, "a", "c"));
    assert_eq!(
        (&*matcher.name, &*matcher.value, matcher.is_regex, matcher.is_equal),
        ("alertname", "Quiet", false, true)
    );
    assert!(one.starts_at < one.ends_at);

    let groups: Vec<Group> = read(&squelch, "/api/v2/alerts/groups").await;
    let names: Vec<&str> = groups.iter().map(|group| group.labels["alertname"].as_str()).collect();
    assert_eq!(names, ["Down", "Held", "Quiet", "Target"]);
    let states: Vec<(&str, usize, usize, Vec<&str>)> = groups
        .iter()
        .map(|group| {
            let [alert] = &group.alerts[..] else { panic!() };
            assert_eq!((group.receiver.name.as_str(), alert.receivers[0].name.as_str()), ("web", "web"));
            let Status { state, silenced_by, inhibited_by, muted_by } = &alert.status;
            let muted = muted_by.iter().map(String::as_str).collect();
            (state.as_str(), silenced_by.len(), inhibited_by.len(), muted)
        })
        .collect();
    assert_eq!(
        states,
        [
            ("active", 0, 0, vec![]),
            ("suppressed", 0, 0, vec!["squelch:held"]),
            ("suppressed", 1, 0, vec![]),
            ("suppressed", 0, 1, vec![]),
        ]
    );
    // karma looks these up, and finds them.
    assert_eq!(groups[2].alerts[0].status.silenced_by, [id]);
    assert_eq!(groups[3].alerts[0].status.inhibited_by, [groups[0].alerts[0].fingerprint.clone()]);
    let unmuted: Vec<Group> = read(&squelch, "/api/v2/alerts/groups?muted=false").await;
    assert_eq!(unmuted.len(), 3, "what Squelch holds is muted");
    let scrape = Scrape::new(&squelch.get("/metrics").await.body);
    let count = |state| scrape.sum("alertmanager_alerts", &[("state", state)]);
    assert_eq!((count("active"), count("suppressed")), (1.0, 3.0));
    squelch.stop().await;
}

/// As Alertmanager 0.34 does.
#[tokio::test(flavor = "multi_thread")]
async fn labels_of_routes_and_receivers_are_there() {
    let config = "\
route:
  receiver: web
  group_by: [alertname]
  group_wait: 0s
  labels: {team: ops, count: '{{ len .Alerts }} of {{ .GroupLabels.alertname }}', broken: '{{ .Nothing.at }}'}
  routes: [{receiver: other, matchers: [alertname=B], labels: {team: shop}}]
receivers:
- {name: web, labels: {team: ops}}
- {name: other}
";
    let home = Home::new(config);
    let squelch = home.serve().await;
    let alerts = r#"[{"labels":{"alertname":"A","x":"1"}},{"labels":{"alertname":"A","x":"2"}},
        {"labels":{"alertname":"B"}}]"#;
    assert_eq!(squelch.post("/api/v2/alerts", alerts).await.status, 200);
    let get = async |path: &str| read::<serde_json::Value>(&squelch, path).await;
    // The labels are those of the group, whichever of its alerts are asked for.
    for query in ["", "?filter=x!%3D2"] {
        let groups = get(&format!("/api/v2/alerts/groups{query}")).await;
        let labels: Vec<&serde_json::Value> =
            groups.as_array().unwrap().iter().map(|group| &group["routeLabels"]).collect();
        let of_a = json!({"team": "ops", "count": "2 of A"});
        assert_eq!(labels, [&of_a, &json!({"team": "shop", "count": "1 of B"})], "{query}");
    }
    let all = get("/api/v2/receivers").await;
    let expected = json!([
        {"name": "other", "labels": {"name": "other"}},
        {"name": "web", "labels": {"name": "web", "team": "ops"}},
    ]);
    assert_eq!(all, expected);
    let count = async |path: &str| get(path).await.as_array().unwrap().len();
    assert_eq!(count("/api/v2/receivers?receiver_matchers=team%3Dops").await, 1);
    assert_eq!(count("/api/v2/alerts?receiver_matchers=team%3Dops").await, 2);
    assert_eq!(count("/api/v2/alerts?receiver_matchers=name%3Dother").await, 1);
    assert_eq!(count("/api/v2/alerts/groups?receiver_matchers=team!%3Dops").await, 1);
    squelch.stop().await;
}

/// Grafana tells Alertmanager from Mimir, then reads and writes through its server.
#[tokio::test(flavor = "multi_thread")]
async fn grafana_reads_and_writes_what_it_needs() {
    let (_home, squelch) = running().await;
    assert_ne!(squelch.get("/alertmanager/api/v2/status").await.status, 200, "that would be Mimir");
    let status: Standing = read(&squelch, "/api/v2/status").await;
    assert_eq!((status.cluster.status.as_str(), status.cluster.peers.len()), ("disabled", 0));
    for field in ["version", "revision", "branch", "buildUser", "buildDate", "goVersion"] {
        assert!(status.version_info.contains_key(field), "{field}");
    }
    assert!(status.uptime <= now() && status.config.original.contains("receiver: web"));

    let alerts: Vec<Alert> = read(&squelch, "/api/v2/alerts").await;
    let down = alerts.iter().find(|alert| alert.labels["alertname"] == "Down").unwrap();
    assert_eq!((&*down.annotations["summary"], &*down.generator_url), ("s", "http://p"));
    assert!(down.starts_at <= down.updated_at && down.updated_at < down.ends_at);

    let id = silence(&squelch, "Down").await;
    let one: Silence = read(&squelch, &format!("/api/v2/silence/{id}")).await;
    assert_eq!(one.id, id);
    let head = format!("DELETE /api/v2/silence/{id} HTTP/1.0\r\nHost: {}\r\n\r\n", squelch.address);
    let deleted = http::send(squelch.address, &head, b"").await.unwrap();
    assert_eq!((deleted.status, deleted.body.as_str()), (200, ""));
    let states: Vec<serde_json::Value> = read(&squelch, "/api/v2/silences?active=false&pending=false").await;
    assert_eq!(states[0]["status"]["state"], "expired");
    let none: Vec<Silence> = read(&squelch, "/api/v2/silences?expired=false").await;
    assert!(none.is_empty());
    squelch.stop().await;
}
