//! Pushover: messages, and the errors of its API.

use std::any::Any;
use std::sync::Arc;

use serde_json::{Value, json};
use squelch::config::Url;
use squelch::model::{Kind, Outcome};
use squelch::receivers::Notifier;
use squelch::receivers::pushover::PushoverConfig;

use super::{Fake, of_incident, page, receiver, refused};
use crate::conformance::sink::{Answered, Request, form};
use crate::deliver::{Receivers, World};

#[derive(Default)]
struct Pushover {
    messages: Vec<Value>,
}

fn answer(vendor: &mut Pushover, request: &Request) -> Answered {
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/1/messages.json"));
    let body = form(&request.body);
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let error = |key: &str, what: &str| {
        Answered::json(400, json!({key: "invalid", "errors": [what], "status": 0, "request": "r"}))
    };
    if text("token") != "app" {
        return error("token", "application token is invalid");
    }
    if text("user") != "person" {
        return error("user", "user identifier is invalid");
    }
    if text("message").is_empty() {
        return error("message", "message cannot be blank");
    }
    for (key, most) in [("message", 1_024), ("title", 250), ("url", 512), ("url_title", 100)] {
        if text(key).chars().count() > most {
            return error(key, "is too long");
        }
    }
    let number = |key: &str| text(key).parse::<u64>().unwrap_or_default();
    if text("priority") == "2" && (number("retry") < 30 || number("expire") > 10_800) {
        return error("retry", "retry or expire is out of range");
    }
    vendor.messages.push(body);
    Answered::json(200, json!({"status": 1, "request": "r"}))
}

fn config(fake: &Fake<Pushover>, more: &str) -> Receivers {
    let mut all = receiver(&format!(
        "pushover_configs: [{{user_key: person, token: app, title: down, message: much, url: '', \
         priority: '1'{more}}}]"
    ));
    let integration = &mut all.get_mut("r").unwrap()[0];
    let notifier: &dyn Any = &*integration.notifier as &dyn Notifier as &dyn Any;
    let own = notifier.downcast_ref::<PushoverConfig>().unwrap();
    let api_url = Url(fake.sink.url("/1/messages.json"));
    integration.notifier = Arc::new(PushoverConfig { api_url, ..own.clone() });
    all
}

#[tokio::test]
async fn a_message_carries_every_key_in_its_body() {
    let fake = Fake::start(answer).await;
    let more =
        ", retry: 10s, expire: 4h, ttl: 2h, sound: siren, device: phone, url_title: More, monospace: true";
    let mut world = World::new(&config(&fake, more));
    assert_eq!(page(&mut world, "pushover[0]", 1).await.outcome, Outcome::Accepted);
    let expected = json!({
        "token": "app", "user": "person", "title": "down", "message": "much", "url": "",
        "url_title": "More", "priority": "1", "retry": "30", "expire": "10800", "device": "phone",
        "sound": "siren", "monospace": "1", "ttl": "7200",
    });
    assert_eq!(fake.state().messages, [expected]);
    assert_eq!(fake.sink.requests()[0]["query"], json!({}), "a URL ends up in logs");
}

#[tokio::test]
async fn a_digest_makes_no_sound_and_a_repeat_says_so() {
    let fake = Fake::start(answer).await;
    let mut world = World::new(&config(&fake, ""));
    world.deliverer.send(of_incident("pushover[0]", 1, Kind::Digest), false);
    world.report().await;
    world.deliverer.send(of_incident("pushover[0]", 2, Kind::Page), true);
    world.report().await;
    let messages = &fake.state().messages;
    assert_eq!(messages[0]["priority"], "-1");
    assert_eq!(messages[1]["title"], "down (possible repeat)");
}

#[tokio::test]
async fn errors_of_pushover_are_told_apart() {
    let fake = Fake::start(answer).await;
    let mut world = World::new(&config(&fake, ""));
    fake.answer(Answered::json(200, json!({"status": 0, "errors": ["no"]})));
    world.deliverer.send(of_incident("pushover[0]", 1, Kind::Page), false);
    assert_eq!(world.rejection().await.reason, "clientError");
    let wrong = json!({"user": "invalid", "errors": ["user identifier person is invalid"], "status": 0});
    fake.answer(Answered::json(400, wrong));
    world.deliverer.send(of_incident("pushover[0]", 2, Kind::Page), false);
    let rejection = world.rejection().await;
    assert!(rejection.detail.contains("is invalid") && !rejection.detail.contains("person"), "{rejection:?}");
    fake.answer(Answered::json(429, json!({"status": 0, "errors": ["over the limit"]})));
    let report = page(&mut world, "pushover[0]", 3).await;
    assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 2));
}

#[test]
fn what_pushover_cannot_use_is_refused_with_its_key() {
    let said = refused("pushover_configs: [{html: true, monospace: true}]");
    for right in ["Write user_key_file (or user_key)", "Write token_file (or token)", "both true. Keep one"] {
        assert!(said.contains(right), "{said}");
    }
}
