//! Mattermost: an incoming webhook.

use serde_json::json;

use super::{Said, Seen, Vendor, page, refused, resolve};

const CONFIG: &str = "mattermost_configs: [{webhook_url: VENDOR/hooks/8djw3ejuubny9yxj5u3rhhqfxa";

/// Mattermost as it answers: it knows one hook and one channel, and checks priorities.
fn mattermost(request: &Seen) -> Said {
    let no = |status: u16, id: &str, message: &str| {
        (status, json!({"id": id, "message": message, "request_id": "q", "status_code": status}).to_string())
    };
    if request.path != "/hooks/8djw3ejuubny9yxj5u3rhhqfxa" {
        return no(400, "web.incoming_webhook.invalid.app_error", "Invalid webhook.");
    }
    let message = request.json();
    if message.get("channel").is_some_and(|channel| channel != "alerts") {
        return no(404, "web.incoming_webhook.channel.app_error", "Couldn't find the channel.");
    }
    if message.get("text").is_none() && message["attachments"].as_array().is_none_or(Vec::is_empty) {
        return no(400, "web.incoming_webhook.text.app_error", "No text specified.");
    }
    let priority = &message["priority"];
    if priority.get("persistent_notifications").is_some() && priority["priority"] != "urgent" {
        return no(400, "api.post.post_priority.urgent_persistent_notification_post", "Invalid priority");
    }
    (200, "ok".into())
}

#[tokio::test]
async fn a_message_has_alertmanagers_fields() {
    let vendor = Vendor::start(mattermost).await;
    vendor.accepts(&format!("{CONFIG}}}]"), page()).await;
    let more = ", channel: alerts, username: u, text: 'x resolved', title: t, title_link: 'http://l/', fallback: f, \
         color: '#00ff00', pretext: p, author_name: a, author_link: 'http://a/', author_icon: 'http://o/', \
         thumb_url: 'http://b/', footer: o, footer_icon: 'http://oi/', image_url: 'http://m/', icon_url: 'http://i/', \
         icon_emoji: ghost, type: custom_x, fields: [{title: A, value: b, short: true}, {title: C, value: d}], \
         props: {card: '# r'}, priority: {priority: Important, requested_ack: true, persistent_notifications: true}}]";
    vendor.accepts(&format!("{CONFIG}{more}"), resolve()).await;
    let seen = vendor.seen();
    let first = seen[0].json();
    assert_eq!(first["attachments"][0]["title"], "[FIRING:1] HighLatency (critical)");
    assert_eq!(first["attachments"][0]["color"], "danger");
    assert!(first["attachments"][0]["text"].as_str().unwrap().contains("HighLatency"), "{first}");
    let expected = json!({
        "channel": "alerts", "username": "u", "icon_url": "http://i/", "icon_emoji": "ghost", "type": "custom_x",
        "attachments": [{
            "fallback": "f", "color": "#00ff00", "pretext": "p", "text": "x resolved", "author_name": "a",
            "author_link": "http://a/", "author_icon": "http://o/", "title": "t", "title_link": "http://l/",
            "fields": [{"title": "A", "value": "b", "short": true}, {"title": "C", "value": "d"}],
            "thumb_url": "http://b/", "footer": "o", "footer_icon": "http://oi/", "image_url": "http://m/",
        }],
        "props": {"card": "# r"},
        // Only `urgent` goes on until a person answers.
        "priority": {"priority": "important", "requested_ack": true},
    });
    assert_eq!(seen[1].json(), expected);
}

#[tokio::test]
async fn attachments_stand_below_the_text() {
    let vendor = Vendor::start(mattermost).await;
    let more = ", text: above, attachments: [{title: one, text: firing, fields: [{title: A, value: b}]}, {title: two}]}]";
    vendor.accepts(&format!("{CONFIG}{more}"), page()).await;
    let message = vendor.seen()[0].json();
    assert_eq!(message["text"], "above");
    let expected = json!([
        {"title": "one", "text": "firing", "fields": [{"title": "A", "value": "b"}]}, {"title": "two"},
    ]);
    assert_eq!(message["attachments"], expected);
}

#[tokio::test]
async fn refusals_are_final() {
    let vendor = Vendor::start(mattermost).await;
    let (reason, detail) = vendor.refuses(&format!("{CONFIG}, channel: other}}]")).await;
    assert!(reason == "clientError" && detail.contains("Couldn't find the channel"), "{reason} {detail}");
    let (_, detail) = vendor.refuses(&format!("{}}}]", CONFIG.replace("8djw", "9djw"))).await;
    assert!(detail.contains("Invalid webhook") && !detail.contains("9djw"), "{detail}");
}

#[test]
fn what_alertmanager_refuses_is_refused() {
    for (keys, says) in [
        ("channel: c", "no URL"),
        ("webhook_url: 'http://a/', webhook_url_file: f", "Keep one"),
        ("webhook_url: 'http://a/', fields: [{title: t}]", "without title or value"),
    ] {
        let said = refused(&format!("mattermost_configs: [{{{keys}}}]"));
        assert!(said.contains(says), "{keys}: {said}");
    }
}
