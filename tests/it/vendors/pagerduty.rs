//! PagerDuty's Events API v1: incidents by key, and a 403 that asks to slow down.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use squelch::model::{Kind, Outcome};

use super::{Fake, lifecycle, of_incident, page, receiver};
use crate::conformance::sink::{Answered, Request};
use crate::deliver::{Captured, World, switch_all_log_statements_on};

const KEY: &str = "0123456789abcdef0123456789abcdef";

#[derive(Default)]
struct Pagerduty {
    /// The last trigger of each incident key, and whether the incident is open.
    incidents: BTreeMap<String, (Value, bool)>,
    /// The last acknowledgement of each incident key.
    acknowledged: BTreeMap<String, Value>,
}

fn answer(vendor: &mut Pagerduty, request: &Request) -> Answered {
    assert_eq!(request.path, "/generic/2010-04-15/create_event.json");
    let body: Value = serde_json::from_str(&request.body).unwrap();
    let invalid = |what: &str| {
        Answered::json(
            400,
            json!({"status": "invalid event", "message": "Event object is invalid", "errors": [what]}),
        )
    };
    if body["service_key"] != KEY {
        return invalid("Service key is the wrong length");
    }
    let key = body["incident_key"].as_str().unwrap().to_owned();
    match body["event_type"].as_str().unwrap() {
        "trigger" if body["description"].as_str().unwrap().chars().count() > 1_024 => {
            return invalid("Description is too long");
        }
        "trigger" => drop(vendor.incidents.insert(key.clone(), (body, true))),
        "acknowledge" => drop(vendor.acknowledged.insert(key.clone(), body)),
        "resolve" => {
            if let Some(incident) = vendor.incidents.get_mut(&key) {
                incident.1 = false;
            }
        }
        _ => return invalid("Event type is unknown"),
    }
    Answered::json(200, json!({"status": "success", "message": "Event processed", "incident_key": key}))
}

fn config(fake: &Fake<Pagerduty>, more: &str) -> String {
    let url = fake.sink.url("/v2/enqueue");
    format!(
        "pagerduty_configs: [{{service_key: {KEY}, url: '{url}', description: down, client: tool{more}}}]"
    )
}

#[tokio::test]
async fn a_service_key_uses_the_events_api_v1() {
    let fake = Fake::start(answer).await;
    let more = ", client_url: 'http://c/', details: {team: x}, links: [{href: 'http://l/', text: L}], \
                images: [{src: 'https://i/', alt: I}]";
    let mut world = World::new(&receiver(&config(&fake, more)));
    page(&mut world, "pagerduty[0]", 1).await;
    {
        let vendor = fake.state();
        let (body, open) = &vendor.incidents["key-1"];
        let told: Vec<&Value> =
            ["description", "client", "client_url"].iter().map(|key| &body[key]).collect();
        assert_eq!(told, ["down", "tool", "http://c/"]);
        assert_eq!((&body["details"]["team"], &body["details"]["num_firing"]), (&json!("x"), &json!("1")));
        let contexts = json!([
            {"type": "link", "href": "http://l/", "text": "L"}, {"type": "image", "src": "https://i/", "alt": "I"},
        ]);
        assert_eq!(body["contexts"], contexts);
        assert!(open);
    }
    world.deliverer.send(of_incident("pagerduty[0]", 4, Kind::Acknowledge), false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    assert_eq!(fake.state().acknowledged["key-1"].get("client"), None);
    lifecycle(&mut world, "pagerduty[0]").await;
    assert!(!fake.state().incidents["key-1"].1);
}

#[tokio::test]
async fn entries_that_pagerduty_refuses_load_with_a_warning_and_are_left_out() {
    let fake = Fake::start(answer).await;
    let entries = "images: [{src: 'http://i/x.png'}, {src: 'http://{{ .Status }}'}, {alt: a}, {src: ''}, \
                   {src: 'https://i/'}], links: [{text: x}, {href: ''}, {href: 'http://l/', text: L}]";
    let text = format!(
        "route: {{receiver: r}}\nreceivers:\n- name: r\n  {}\n",
        config(&fake, &format!(", {entries}"))
    );
    let parsed = squelch::config::parse(&text, "squelch.yml", Path::new("")).unwrap();
    let warnings = squelch::config::warnings(&parsed).into_iter().map(|warning| warning.message);
    let of = |list: &str| warnings.clone().filter(|message| message.starts_with(list)).count();
    assert_eq!(
        (of("images has an entry without an https src"), of("links has an entry without href")),
        (4, 2)
    );
    let mut world = World::new(&parsed.receivers);
    page(&mut world, "pagerduty[0]", 1).await;
    let expected = json!([
        {"type": "link", "href": "http://l/", "text": "L"}, {"type": "image", "src": "https://i/"},
    ]);
    assert_eq!(fake.state().incidents["key-1"].0["contexts"], expected);
}

#[tokio::test]
async fn a_link_is_encoded_and_one_with_another_scheme_is_left_out_with_a_warning() {
    let log = Captured::default();
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone());
    switch_all_log_statements_on();
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let fake = Fake::start(answer).await;
    let more = r#", client_url: 'http://c/#/new?filter={a="b c"}',
      links: [{href: 'grafana://x', text: X}, {href: 'http://l/a|b', text: L}]"#;
    let mut world = World::new(&receiver(&config(&fake, more)));
    page(&mut world, "pagerduty[0]", 1).await;
    let body = fake.state().incidents["key-1"].0.clone();
    assert_eq!(body["client_url"], "http://c/#/new?filter=%7Ba=%22b%20c%22%7D");
    assert_eq!(body["contexts"], json!([{"type": "link", "href": "http://l/a%7Cb", "text": "L"}]));
    let lines = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let told: Vec<&str> = lines.lines().filter(|line| line.contains("links[0].href")).collect();
    assert_eq!(told.len(), 1, "{lines}");
    for word in ["receiver=r", "integration=pagerduty[0]", "scheme=grafana"] {
        assert!(told[0].contains(word), "{word}: {}", told[0]);
    }
    assert_eq!(lines.matches("the message has no link here").count(), 1, "{lines}");
}

#[tokio::test]
async fn a_403_of_the_events_api_v1_is_a_limit() {
    let fake = Fake::start(answer).await;
    let mut world = World::new(&receiver(&config(&fake, "")));
    fake.answer(Answered::text(403, "text/plain", "too many events"));
    let report = page(&mut world, "pagerduty[0]", 1).await;
    assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 2));
    fake.answer(Answered::json(400, json!({"status": "invalid event", "errors": ["no"]})));
    world.deliverer.send(of_incident("pagerduty[0]", 2, Kind::Page), false);
    assert_eq!(world.rejection().await.reason, "clientError");
}
