//! Splunk On-Call: incidents by entity, and failures that a 200 hides.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use squelch::model::{Kind, Notification, Outcome};

use super::{Fake, lifecycle, of_incident, page, receiver, refused};
use crate::conformance::sink::{Answered, Request};
use crate::deliver::World;

#[derive(Default)]
struct Victorops {
    /// The last message of each entity, and whether its incident is open.
    entities: BTreeMap<String, (Value, bool)>,
}

fn answer(vendor: &mut Victorops, request: &Request) -> Answered {
    if request.path != "/alert/k%2F1/team-a" {
        return Answered::json(404, json!({"result": "failure", "message": "no such key"}));
    }
    let body: Value = serde_json::from_str(&request.body).unwrap();
    let entity = body["entity_id"].as_str().unwrap().to_owned();
    let open = vendor.entities.get(&entity).is_some_and(|(_, open)| *open);
    let open = match body["message_type"].as_str().unwrap() {
        "CRITICAL" | "WARNING" => true,
        "RECOVERY" => false,
        "INFO" | "ACKNOWLEDGEMENT" => open,
        other => return Answered::json(400, json!({"result": "failure", "message": other})),
    };
    vendor.entities.insert(entity.clone(), (body, open));
    Answered::json(200, json!({"result": "success", "entity_id": entity}))
}

fn config(fake: &Fake<Victorops>, more: &str) -> String {
    format!(
        "victorops_configs: [{{api_key: k/1, routing_key: team-a, api_url: '{}', state_message: much, \
         entity_display_name: down, monitoring_tool: tool{more}}}]",
        fake.sink.url("/alert/")
    )
}

#[tokio::test]
async fn an_incident_opens_and_recovers() {
    let fake = Fake::start(answer).await;
    let more = ", message_type: RECOVERY, custom_fields: {team: x}";
    let mut world = World::new(&receiver(&config(&fake, more)));
    page(&mut world, "victorops[0]", 1).await;
    let expected = json!({
        "message_type": "CRITICAL", "entity_id": "key-1", "entity_display_name": "down",
        "state_message": "much", "monitoring_tool": "tool", "team": "x",
    });
    assert_eq!(fake.state().entities["key-1"], (expected, true), "what fires never recovers");
    world.deliverer.send(of_incident("victorops[0]", 4, Kind::Acknowledge), false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    assert_eq!(fake.state().entities["key-1"].0["message_type"], "ACKNOWLEDGEMENT");
    lifecycle(&mut world, "victorops[0]").await;
    assert!(!fake.state().entities["key-1"].1);
}

#[tokio::test]
async fn a_digest_opens_no_incident() {
    let fake = Fake::start(answer).await;
    let mut world = World::new(&receiver(&config(&fake, "")));
    let digest = of_incident("victorops[0]", 1, Kind::Digest);
    world.deliverer.send(Notification { dedup_key: "d".into(), ..digest }, false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    let (body, open) = fake.state().entities["d"].clone();
    assert_eq!((body["message_type"].as_str().unwrap(), open), ("INFO", false));
}

#[tokio::test]
async fn a_200_that_says_failure_is_no_success() {
    let fake = Fake::start(answer).await;
    let mut world = World::new(&receiver(&config(&fake, "")));
    for _ in 0..3 {
        fake.answer(Answered::json(200, json!({"result": "failure", "message": "bad"})));
    }
    world.deliverer.send(of_incident("victorops[0]", 1, Kind::Page), false);
    let rejection = world.rejection().await;
    assert_eq!(rejection.reason, "clientError");
    fake.answer(Answered::json(503, json!({"result": "failure", "message": "later"})));
    let report = page(&mut world, "victorops[0]", 2).await;
    assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 2));
}

#[test]
fn what_splunk_cannot_use_is_refused_with_its_key() {
    let said = refused("victorops_configs: [{api_key: k, custom_fields: {entity_id: x}}]");
    assert!(said.contains("custom_fields has entity_id, which is set already"), "{said}");
    assert!(said.contains("has no routing_key"), "{said}");
    assert!(refused("victorops_configs: [{routing_key: r}]").contains("victorops_api_key_file in global"));
}
