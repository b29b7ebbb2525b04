//! Webex: `POST /v1/messages`.

use serde_json::json;

use super::{Said, Seen, Vendor, page, refused, summed};

const CONFIG: &str = "webex_configs: [{api_url: VENDOR/v1/messages, room_id: Y2lzY29zcGFyazovL3VzL1JPT00, http_config: {authorization: {credentials: T0KEN}}";

/// Webex as it answers: it knows one token and one room, and it checks the length.
fn webex(request: &Seen) -> Said {
    let no = |code: u16, message: &str| {
        let body =
            json!({"message": message, "errors": [{"description": message}], "trackingId": "ROUTER_1"});
        (code, body.to_string())
    };
    if request.header("authorization") != Some("Bearer T0KEN") {
        return no(401, "The request requires a valid access token set in the Authorization request header.");
    }
    let message = request.json();
    if message["roomId"] != "Y2lzY29zcGFyazovL3VzL1JPT00" {
        return no(404, "Could not find a room with provided ID.");
    }
    match message["markdown"].as_str().unwrap() {
        "" => no(400, "Message is empty."),
        text if text.len() > 7_439 => {
            no(400, "Message length limited to 7439 characters (before encryption)")
        }
        _ => (200, json!({"id": "m", "roomId": message["roomId"]}).to_string()),
    }
}

#[tokio::test]
async fn a_message_goes_to_a_room_and_mentions_nobody() {
    let vendor = Vendor::start(webex).await;
    vendor.accepts(&format!("{CONFIG}}}]"), summed("<@all> down")).await;
    let message = vendor.seen()[0].json();
    assert!(message["markdown"].as_str().unwrap().contains("summary = &lt;@all> down"), "{message}");
}

#[tokio::test]
async fn a_long_message_is_cut_where_webex_counts() {
    let vendor = Vendor::start(webex).await;
    vendor.accepts(&format!("{CONFIG}, message: '{}'}}]", "é".repeat(5_000)), page()).await;
    assert!(vendor.seen()[0].json()["markdown"].as_str().unwrap().ends_with("é…"));
}

#[tokio::test]
async fn refusals_are_final() {
    let vendor = Vendor::start(webex).await;
    let (reason, detail) = vendor.refuses(&format!("{}}}]", CONFIG.replace("T0KEN", "other"))).await;
    assert!(reason == "authError" && detail.contains("valid access token"), "{reason} {detail}");
    let (reason, _) = vendor.refuses(&format!("{}}}]", CONFIG.replace("Y2l", "X2l"))).await;
    assert_eq!(reason, "clientError");
}

#[test]
fn what_alertmanager_refuses_is_refused() {
    let said = refused("webex_configs: [{http_config: {authorization: {credentials: x}}}]");
    assert!(said.contains("no room_id"), "{said}");
    let said = refused("webex_configs: [{room_id: r}]");
    assert!(said.contains("no access token"), "{said}");
}
