//! `webhook_configs`.

use serde_json::{Value, json};
use squelch::model::Timestamp;

use super::{Answered, Case};

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_what_alertmanager_sends() {
    let case = Case::new("webhook_configs: [{url: 'http://SINK/hook?a=b'}]", |_| {
        Answered::text(200, "text/plain", "ok")
    });
    let why = "Alertmanager has this field since 0.32";
    let labels = "Alertmanager has this field since 0.34";
    case.differs_only(&[
        ("firing/0/body/routeLabels", labels),
        ("resolved/0/body/routeLabels", labels),
        ("firing/0/body/notification_reason", why),
        ("resolved/0/body/notification_reason", why),
    ])
    .await;
}

/// Labels in the order in which Alertmanager writes their alerts.
const ORDER: [&[(&str, &str)]; 10] = [
    &[("job", "a"), ("instance", "z")],
    &[("job", "b"), ("instance", "a"), ("z", "1")],
    &[("job", "b"), ("apple", "1")],
    &[("instance", "10"), ("x", "1")],
    &[("instance", "9"), ("x", "1")],
    &[("instance", "a"), ("x", "1")],
    &[("device", "sdb"), ("instance", "a"), ("x", "1")],
    &[("apple", "2"), ("device", "sdb"), ("instance", "a")],
    &[("x", "1")],
    &[("apple", "1"), ("x", "2")],
];

fn in_another_order(began: Timestamp, end: Timestamp) -> Value {
    let alert = |labels: &&[(&str, &str)]| {
        let common = [("alertname", "Order"), ("cluster", "eu"), ("severity", "critical")];
        let labels: serde_json::Map<String, Value> =
            common.iter().chain(*labels).map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({ "labels": labels, "startsAt": began, "endsAt": end, "generatorURL": "http://p/" })
    };
    json!(ORDER.iter().rev().map(alert).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alerts_of_a_body_are_in_the_order_of_alertmanager() {
    let integrations = "webhook_configs: [{url: 'http://SINK/hook'}]";
    let case = Case::new(integrations, |_| Answered::text(200, "text/plain", "ok"));
    let case = Case { group: in_another_order, ..case };
    let newer = "Alertmanager has this field since 0.32";
    case.differs_only(&[
        ("firing/0/body/routeLabels", newer),
        ("resolved/0/body/routeLabels", newer),
        ("firing/0/body/notification_reason", newer),
        ("resolved/0/body/notification_reason", newer),
    ])
    .await;
}
