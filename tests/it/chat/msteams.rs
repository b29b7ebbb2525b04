//! Microsoft Teams: an office connector.

use serde_json::json;

use super::{Said, Seen, Vendor, page, resolve};

const CONFIG: &str = "msteams_configs: [{webhook_url: VENDOR/webhookb2/1@2/IncomingWebhook/3/4";

/// A connector as it answers: 200 and `1`, or 200 and why Teams refused.
fn teams(request: &Seen) -> Said {
    if request.path != "/webhookb2/1@2/IncomingWebhook/3/4" {
        return (404, "Invalid webhook URL".into());
    }
    let message = request.json();
    if message["summary"].as_str().is_none_or(str::is_empty)
        && message["text"].as_str().is_none_or(str::is_empty)
    {
        return (400, "Summary or Text is required.".into());
    }
    if request.text.len() > 28_000 {
        let why =
            "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 413";
        return (200, why.into());
    }
    (200, "1".into())
}

#[tokio::test]
async fn a_card_has_alertmanagers_fields() {
    let vendor = Vendor::start(teams).await;
    vendor.accepts(&format!("{CONFIG}}}]"), page()).await;
    let own = format!("{CONFIG}, title: 't resolved', summary: s, text: x}}]");
    vendor.accepts(&own, resolve()).await;
    let first = vendor.seen()[0].json();
    assert_eq!(first["themeColor"], "8C1A1A");
    assert_eq!(first["title"], "[FIRING:1] HighLatency (critical)");
    assert_eq!(first["summary"], first["title"]);
    assert!(first["text"].as_str().unwrap().contains("HighLatency"), "{first}");
    let expected = json!({
        "@context": "http://schema.org/extensions", "type": "MessageCard", "title": "t resolved", "summary": "s",
        "text": "x", "themeColor": "2DC72D",
    });
    assert_eq!(vendor.seen()[1].json(), expected);
}

#[tokio::test]
async fn a_long_card_is_cut_until_teams_takes_it() {
    let vendor = Vendor::start(teams).await;
    vendor.accepts(&format!("{CONFIG}, text: '{}'}}]", "ü\"".repeat(10_000)), page()).await;
    assert!(vendor.seen()[0].json()["text"].as_str().unwrap().ends_with('…'));
}

#[tokio::test]
async fn a_connector_that_is_gone_refuses_for_good() {
    let vendor = Vendor::start(teams).await;
    let (reason, _) = vendor.refuses(&format!("{}}}]", CONFIG.replace("webhookb2", "webhookb3"))).await;
    assert_eq!(reason, "clientError");
}
