//! incident.io: events by group key.

use serde_json::{Value, json};
use squelch::model::{AlertView, Kind, LabelSet, Notification, Outcome};

use super::{Fake, lifecycle, of_incident, page, receiver, refused};
use crate::conformance::sink::{Answered, Request};
use crate::deliver::World;

#[derive(Default)]
struct Incidentio {
    events: Vec<Value>,
}

fn answer(vendor: &mut Incidentio, request: &Request) -> Answered {
    let has = |name: &str, value: &str| request.headers.iter().any(|(n, v)| n == name && v == value);
    if !has("authorization", "Bearer t-1") {
        return Answered::json(401, json!({"type": "authentication_error", "status": 401, "errors": []}));
    }
    if request.body.len() > 512 * 1024 {
        return Answered::json(429, json!({"type": "too_many_requests", "status": 429}));
    }
    vendor.events.push(serde_json::from_str(&request.body).unwrap());
    Answered::json(202, json!({"status": "success", "message": "Event accepted for processing"}))
}

fn config(fake: &Fake<Incidentio>) -> String {
    let url = fake.sink.url("/v2/alert_events/alertmanager/1");
    format!("incidentio_configs: [{{url: '{url}', alert_source_token: t-1, timeout: 3s}}]")
}

#[tokio::test]
async fn an_event_is_alertmanagers_body_in_version_1() {
    let fake = Fake::start(answer).await;
    let receivers = receiver(&config(&fake));
    assert_eq!(receivers["r"][0].timeout, squelch::model::Duration::from_secs(3));
    let mut world = World::new(&receivers);
    lifecycle(&mut world, "incidentio[0]").await;
    let events = &fake.state().events;
    let told: Vec<(&str, &str)> =
        events.iter().map(|e| (e["version"].as_str().unwrap(), e["status"].as_str().unwrap())).collect();
    assert_eq!(told, [("1", "firing"), ("1", "firing"), ("1", "resolved")]);
    assert_eq!(events[0]["groupKey"], "{}:{n=\"1\"}");
}

#[tokio::test]
async fn a_body_is_made_to_fit_and_says_how_many_alerts_are_left_out() {
    let fake = Fake::start(answer).await;
    let mut world = World::new(&receiver(&config(&fake)));
    let one = of_incident("incidentio[0]", 1, Kind::Page);
    let annotations = LabelSet::from_pairs([("description", "x".repeat(1_000).as_str())]);
    let alert = AlertView { annotations, ..one.alerts[0].clone() };
    world.deliverer.send(Notification { alerts: vec![alert; 1_000], ..one }, false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    let events = &fake.state().events;
    let listed = events[0]["alerts"].as_array().unwrap().len() as u64;
    assert!(listed > 100, "{listed}");
    assert_eq!(listed + events[0]["truncatedAlerts"].as_u64().unwrap(), 1_000);
}

#[tokio::test]
async fn errors_of_incidentio_are_told_apart() {
    let fake = Fake::start(answer).await;
    let mut world = World::new(&receiver(&config(&fake)));
    fake.answer(Answered::json(429, json!({"type": "too_many_requests", "status": 429})));
    let report = page(&mut world, "incidentio[0]", 1).await;
    assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 2));
    fake.answer(Answered::json(422, json!({"type": "validation_error", "status": 422})));
    world.deliverer.send(of_incident("incidentio[0]", 2, Kind::Page), false);
    assert_eq!(world.rejection().await.reason, "clientError");
}

#[test]
fn one_token_is_needed_and_one_is_enough() {
    let said = refused("incidentio_configs: [{url: 'http://h/', http_config: {}}]");
    assert!(said.contains("has no token. Write alert_source_token_file"), "{said}");
    let both = "incidentio_configs: [{url: 'http://h/', alert_source_token: t, \
                http_config: {authorization: {credentials: c}}}]";
    assert!(refused(both).contains("both given. Keep one"));
    receiver("incidentio_configs: [{url: 'http://h/', http_config: {authorization: {credentials: c}}}]");
}
