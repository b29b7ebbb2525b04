//! Telegram: the Bot API.

use serde_json::json;

use super::{Said, Seen, Vendor, page, refused, resolve};

const TOKEN: &str = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
const CONFIG: &str = "telegram_configs: [{api_url: VENDOR, bot_token: '110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw', chat_id: -1001234567890";

/// Telegram as it answers to `sendMessage`: it knows one bot and two chats, of which one became a
/// supergroup, and it checks length and tags.
fn telegram(request: &Seen) -> Said {
    let no = |code: u16, description: &str| {
        (code, json!({"ok": false, "error_code": code, "description": description}).to_string())
    };
    if request.path != format!("/bot{TOKEN}/sendMessage") {
        return no(401, "Unauthorized");
    }
    let message = request.json();
    let text = message["text"].as_str().unwrap();
    match message["chat_id"].as_str().unwrap() {
        "-1001234567890" | "42" => {}
        "-5" => {
            let description = "Bad Request: group chat was upgraded to a supergroup chat";
            let parameters = json!({"migrate_to_chat_id": -1001234567890_i64});
            let body =
                json!({"ok": false, "error_code": 400, "description": description, "parameters": parameters});
            return (400, body.to_string());
        }
        _ => return no(400, "Bad Request: chat not found"),
    }
    let html = message["parse_mode"] == "HTML";
    if text.trim().is_empty() {
        return no(400, "Bad Request: message text is empty");
    }
    if text.encode_utf16().count() > 4096 {
        return no(400, "Bad Request: message is too long");
    }
    if html && text.matches('<').count() != text.matches('>').count()
        || message["parse_mode"] == "MarkdownV2" && text.contains('.')
    {
        return no(400, "Bad Request: can't parse entities: Unsupported start tag at byte offset 7");
    }
    (200, json!({"ok": true, "result": {"message_id": 1, "date": 1, "chat": {"id": 5}}}).to_string())
}

#[tokio::test]
async fn a_message_has_alertmanagers_parameters() {
    let vendor = Vendor::start(telegram).await;
    vendor.accepts(&format!("{CONFIG}}}]"), page()).await;
    let more = ", message: 'a resolved', parse_mode: '', message_thread_id: 7, disable_notifications: true}]";
    vendor.accepts(&format!("{CONFIG}{more}"), resolve()).await;
    let seen = vendor.seen();
    let first = seen[0].json();
    let text = first["text"].as_str().unwrap();
    assert!(text.contains("summary = p99 &gt; 2s &amp; &#34;rising&#34;"), "{text}");
    assert_eq!((&first["chat_id"], &first["parse_mode"]), (&json!("-1001234567890"), &json!("HTML")));
    let expected = json!({
        "chat_id": "-1001234567890", "disable_notification": "true", "disable_web_page_preview": "true",
        "message_thread_id": "7", "text": "a resolved",
    });
    assert_eq!(seen[1].json(), expected);
}

#[tokio::test]
async fn a_long_message_loses_its_tags_and_not_its_page() {
    let vendor = Vendor::start(telegram).await;
    let config = format!("{CONFIG}, message: '<b>{}</b>'}}]", "a &lt; b 🔥".repeat(1_000));
    vendor.accepts(&config, page()).await;
    let message = vendor.seen()[0].json();
    let text = message["text"].as_str().unwrap();
    assert!(
        message["parse_mode"].is_null() && text.starts_with("a < b 🔥a < b") && text.ends_with('…'),
        "{message}"
    );
}

#[tokio::test]
async fn markup_that_telegram_refuses_is_sent_as_plain_text() {
    let vendor = Vendor::start(telegram).await;
    vendor.accepts(&format!("{CONFIG}, message: 'a dot.', parse_mode: MarkdownV2}}]"), page()).await;
    let modes: Vec<_> = vendor.seen().iter().map(|seen| seen.json()["parse_mode"].clone()).collect();
    assert_eq!(modes, [json!("MarkdownV2"), json!(null)]);
}

#[tokio::test]
async fn a_group_that_became_a_supergroup_still_hears() {
    let vendor = Vendor::start(telegram).await;
    vendor.accepts(&format!("{}, message: x}}]", CONFIG.replace("-1001234567890", "-5")), page()).await;
    assert_eq!(vendor.seen()[1].json()["chat_id"], "-1001234567890");
}

#[tokio::test]
async fn refusals_are_final_and_show_no_token() {
    let vendor = Vendor::start(telegram).await;
    let (reason, detail) = vendor.refuses(&CONFIG.replace("-1001234567890", "7, message: x}]")).await;
    assert_eq!(reason, "clientError");
    assert!(detail.contains("chat not found"), "{detail}");
    let (reason, detail) =
        vendor.refuses(&format!("{}, message: x}}]", CONFIG.replace("SAs0", "SAs1"))).await;
    assert_eq!(reason, "authError");
    assert!(!detail.contains("AAHdq"), "{detail}");
}

#[test]
fn what_alertmanager_refuses_is_refused() {
    for (keys, says) in [
        ("chat_id: 1", "no token"),
        ("bot_token: 'a:b'", "no chat"),
        ("bot_token: 'a:b', chat_id: 0", "no chat"),
        ("bot_token: 'a:b', chat_id: me", "chat_id is \"me\""),
        ("bot_token: 'a:b', bot_token_file: x, chat_id: 1", "Keep one"),
        ("bot_token: 'a:b', chat_id: 1, chat_id_file: x", "Keep one"),
        ("bot_token: 'a:b', chat_id: 1, parse_mode: html", "parse_mode is \"html\". Write HTML"),
    ] {
        let said = refused(&format!("telegram_configs: [{{{keys}}}]"));
        assert!(said.contains(says), "{keys}: {said}");
        assert!(
            !said.contains("chat_id is") || !said.contains("no chat"),
            "one problem is told twice: {said}"
        );
    }
}
