//! Rocket.Chat: `chat.postMessage` of its REST API.

use serde_json::json;

use super::{Said, Seen, Vendor, page, refused, resolve};

const CONFIG: &str = "rocketchat_configs: [{api_url: VENDOR/, token: rvYn5yQ1, token_id: hw5DThnh, channel: '#alerts', send_resolved: true";

/// Rocket.Chat as it answers: it knows one user and one channel.
fn rocketchat(request: &Seen) -> Said {
    if request.path != "/api/v1/chat.postMessage" {
        return (404, "{\"success\":false,\"error\":\"not-found\"}".into());
    }
    if (request.header("x-auth-token"), request.header("x-user-id")) != (Some("rvYn5yQ1"), Some("hw5DThnh")) {
        let body = json!({"status": "error", "message": "You must be logged in to do this."});
        return (401, body.to_string());
    }
    let message = request.json();
    if message["channel"] != "#alerts" {
        let error = "[invalid-channel]";
        return (400, json!({"success": false, "error": error, "errorType": error}).to_string());
    }
    if message["attachments"][0]["color"] == "nobody" {
        // Some versions refuse with 200.
        return (200, json!({"success": false, "error": "error-not-allowed"}).to_string());
    }
    (200, json!({"ts": 1, "channel": "#alerts", "message": message, "success": true}).to_string())
}

#[tokio::test]
async fn a_message_has_alertmanagers_fields() {
    let vendor = Vendor::start(rocketchat).await;
    vendor.accepts(&format!("{CONFIG}}}]"), page()).await;
    let more = ", title: 't resolved', title_link: 'http://l/', text: x, emoji: ':fire:', icon_url: 'http://i/', \
         image_url: 'http://m/', thumb_url: 'http://b/', link_names: true, short_fields: true, \
         fields: [{title: A, value: r}, {title: B, value: c, short: false}], \
         actions: [{type: button, text: Runbook, url: 'http://r/', msg: hello, iswebview: true}]}]";
    vendor.accepts(&format!("{CONFIG}{more}"), resolve()).await;
    let seen = vendor.seen();
    let first = seen[0].json();
    assert_eq!(first["attachments"][0]["color"], "red");
    assert_eq!(first["attachments"][0]["title"], "[FIRING:1] HighLatency (critical)");
    let expected = json!({
        "channel": "#alerts", "emoji": ":fire:", "avatar": "http://i/",
        "attachments": [{
            "title": "t resolved", "title_link": "http://l/", "text": "x", "image_url": "http://m/",
            "thumb_url": "http://b/", "color": "green",
            "fields": [
                {"short": true, "title": "A", "value": "r"}, {"short": false, "title": "B", "value": "c"},
            ],
            "actions": [{
                "type": "button", "text": "Runbook", "url": "http://r/", "is_webview": false, "msg": "hello",
                "msg_in_chat_window": false,
            }],
        }],
    });
    assert_eq!(seen[1].json(), expected);
}

#[tokio::test]
async fn a_refusal_in_a_200_is_a_refusal() {
    let vendor = Vendor::start(rocketchat).await;
    let (reason, detail) = vendor.refuses(&format!("{CONFIG}, color: nobody}}]")).await;
    assert!(reason == "clientError" && detail.contains("error-not-allowed"), "{reason} {detail}");
    let (reason, detail) = vendor.refuses(&format!("{}}}]", CONFIG.replace("rvYn5yQ1", "hunter22"))).await;
    assert!(reason == "authError" && !detail.contains("hunter22"), "{reason} {detail}");
    let (reason, _) = vendor.refuses(&format!("{}}}]", CONFIG.replace("#alerts", "#other"))).await;
    assert_eq!(reason, "clientError");
}

#[test]
fn what_alertmanager_refuses_is_refused() {
    for (keys, says) in [
        ("token: t", "no token_id"),
        ("token_id: t", "no token. "),
        ("token: t, token_file: f, token_id: i", "Keep one"),
    ] {
        let said = refused(&format!("rocketchat_configs: [{{{keys}}}]"));
        assert!(said.contains(says), "{keys}: {said}");
    }
}
