//! Opsgenie: alerts by alias, and the errors of its API.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use squelch::model::{Cause, Kind, Notification, Outcome};

use super::{Fake, lifecycle, of_incident, page, receiver, refused};
use crate::conformance::sink::{Answered, Request};
use crate::deliver::World;

#[derive(Default)]
struct Opsgenie {
    alerts: BTreeMap<String, Alert>,
}

#[derive(Default)]
struct Alert {
    body: Value,
    count: u32,
    closed: bool,
}

fn answer(vendor: &mut Opsgenie, request: &Request) -> Answered {
    let has = |name: &str, value: &str| request.headers.iter().any(|(n, v)| n == name && v == value);
    if !has("authorization", "GenieKey k-1") {
        return Answered::json(401, json!({"message": "Could not authenticate", "requestId": "r"}));
    }
    let body: Value = serde_json::from_str(&request.body).unwrap();
    let unprocessable = |what: &str| {
        Answered::json(422, json!({"message": "Request body is not processable", "errors": {what: what}}))
    };
    let accepted = || Answered::json(202, json!({"result": "Request will be processed", "requestId": "r"}));
    let chars = |key: &str| body[key].as_str().unwrap_or_default().chars().count();
    if request.path == "/v2/alerts" && request.method == "POST" {
        for (key, most) in [("message", 130), ("description", 15_000), ("source", 100), ("alias", 512)] {
            if chars(key) > most {
                return unprocessable(key);
            }
        }
        let priorities = ["P1", "P2", "P3", "P4", "P5"];
        if chars("message") == 0 || body["priority"].as_str().is_some_and(|p| !priorities.contains(&p)) {
            return unprocessable("message or priority");
        }
        let alert = vendor.alerts.entry(body["alias"].as_str().unwrap().to_owned()).or_default();
        match alert.count {
            0 => *alert = Alert { body, count: 1, closed: false },
            _ => alert.count += 1,
        }
        return accepted();
    }
    let path =
        request.path.strip_prefix("/v2/alerts/").unwrap().strip_suffix("?identifierType=alias").unwrap();
    let (alias, place) = path.split_once('/').unwrap();
    // Opsgenie takes a request about an alert that it does not know, and drops it later.
    if let Some(alert) = vendor.alerts.get_mut(alias) {
        match place {
            "close" => alert.closed = true,
            field => alert.body[field] = body[field].clone(),
        }
    }
    accepted()
}

fn config(fake: &Fake<Opsgenie>, more: &str) -> String {
    let url = fake.sink.url("");
    format!(
        "opsgenie_configs: [{{api_key: k-1, api_url: '{url}', message: down, description: much, source: here{more}}}]"
    )
}

#[tokio::test]
async fn an_incident_is_one_alert_that_opens_and_closes() {
    let fake = Fake::start(answer).await;
    let more = ", priority: P2, tags: 'a, ,b', details: {team: x, severity: mine}, entity: e, note: n, \
                actions: 'restart,', responders: [{name: 'a,b', type: teams}, {username: u, type: User}]";
    let mut world = World::new(&receiver(&config(&fake, more)));
    lifecycle(&mut world, "opsgenie[0]").await;
    let vendor = fake.state();
    let alert = &vendor.alerts["key-1"];
    assert_eq!((vendor.alerts.len(), alert.count, alert.closed), (1, 2, true));
    let expected = json!({
        "alias": "key-1", "message": "down", "description": "much", "source": "here", "priority": "P2",
        "tags": ["a", "b"], "entity": "e", "note": "n", "actions": ["restart"],
        "details": {"alertname": "HighLatency", "severity": "mine", "team": "x"},
        "responders": [
            {"name": "a", "type": "team"}, {"name": "b", "type": "team"}, {"username": "u", "type": "user"},
        ],
    });
    assert_eq!(alert.body, expected);
}

#[tokio::test]
async fn an_alert_is_acknowledged_by_its_alias_and_in_the_name_of_the_person() {
    let fake = Fake::start(answer).await;
    let mut world = World::new(&receiver(&config(&fake, ", update_alerts: true")));
    let cause = Cause::Acknowledged { by: format!("Ada\n{}", "é".repeat(100)).into() };
    let acknowledge = of_incident("opsgenie[0]", 1, Kind::Acknowledge);
    world.deliverer.send(Notification { cause, ..acknowledge }, false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    let requests = fake.sink.requests();
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(
        (&request["method"], &request["path"]),
        (&json!("POST"), &json!("/v2/alerts/key-1/acknowledge"))
    );
    assert_eq!(request["query"]["identifierType"], "alias");
    assert_eq!(request["body"], json!({"user": format!("Ada\\n{}…", "é".repeat(94)), "source": "here"}));
}

#[tokio::test]
async fn update_alerts_keeps_message_and_description_current() {
    let fake = Fake::start(answer).await;
    let mut world = World::new(&receiver(&config(&fake, ", update_alerts: true")));
    lifecycle(&mut world, "opsgenie[0]").await;
    let requests = fake.sink.requests();
    let places: Vec<(&str, &str)> = requests
        .iter()
        .map(|r| (r["method"].as_str().unwrap(), r["path"].as_str().unwrap().rsplit('/').next().unwrap()))
        .collect();
    let shown = [("POST", "alerts"), ("PUT", "message"), ("PUT", "description")];
    assert_eq!(places, [&shown[..], &shown[..], &[("POST", "close")]].concat());
}

#[tokio::test]
async fn errors_of_opsgenie_are_told_apart() {
    let fake = Fake::start(answer).await;
    let mut world = World::new(&receiver(&config(&fake, "")));
    let limited = json!({"message": "You are making too many requests!", "requestId": "r"});
    fake.answer(Answered::json(429, limited).header("X-RateLimit-State", "THROTTLED"));
    let report = page(&mut world, "opsgenie[0]", 1).await;
    assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 2));
    fake.answer(Answered::json(
        422,
        json!({"message": "Request body is not processable", "errors": {"x": "no"}}),
    ));
    world.deliverer.send(of_incident("opsgenie[0]", 2, Kind::Page), false);
    let rejection = world.rejection().await;
    assert_eq!(rejection.reason, "clientError");
    assert!(rejection.detail.contains("not processable"), "{}", rejection.detail);
    fake.answer(Answered::json(401, json!({"message": "key k-1 is wrong"})));
    world.deliverer.send(of_incident("opsgenie[0]", 3, Kind::Page), false);
    let rejection = world.rejection().await;
    assert_eq!(rejection.reason, "authError");
    assert!(!rejection.detail.contains("k-1"), "{}", rejection.detail);
}

#[tokio::test]
async fn fields_are_cut_to_what_opsgenie_takes() {
    let fake = Fake::start(answer).await;
    let long = |n: usize| "é".repeat(n);
    let config = format!(
        "opsgenie_configs: [{{api_key: k-1, api_url: '{}', message: '{}', description: '{}', source: '{}', \
         priority: high, details: {{big: '{}'}}}}]",
        fake.sink.url("/"),
        long(131),
        long(15_001),
        long(101),
        long(9_000)
    );
    let mut world = World::new(&receiver(&config));
    assert_eq!(page(&mut world, "opsgenie[0]", 1).await.outcome, Outcome::Accepted);
    let vendor = fake.state();
    let body = &vendor.alerts["key-1"].body;
    assert_eq!(body["message"], json!(format!("{}…", long(129))));
    assert_eq!(body["details"]["big"].as_str().unwrap().chars().count(), 8_000 - 3);
    assert_eq!(body.get("priority"), None);
}

#[test]
fn what_opsgenie_cannot_use_is_refused_with_its_key() {
    let said =
        refused("opsgenie_configs: [{api_key: k, responders: [{type: team}, {name: a, type: group}]}]");
    assert!(said.contains("has an entry that names nobody. Write id, name or username"), "{said}");
    assert!(said.contains("the type of a responder is \"group\". Write one of team"), "{said}");
    let old = refused("opsgenie_configs: [{api_key: k, teams: ops}]");
    assert!(old.contains("Write responders: [{name: NAME, type: team}]"), "{old}");
    assert!(refused("opsgenie_configs: [{message: a}]").contains("has no key. Write api_key_file"));
    assert!(refused("opsgenie_configs: [{api_key: a, api_key_file: b}]").contains("both given. Keep one"));
}
