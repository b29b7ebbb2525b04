//! The Events API v1, for integrations with a `service_key`.
//!
//! It has no place for digests, severities and components. PagerDuty answers 403 to a sender that is too
//! fast.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{EVENT_BYTES, Image, Link, PagerdutyConfig, SHORT_CHARS, line};
use super::{configured_details, details, images, links, summary};
use crate::model::Kind;
use crate::receivers::{Answer, AttemptError, FailureReason, Renderer, Retry, View};

/// Beside a `url` that ends in `/v2/enqueue`.
pub(super) const PLACE: &str = "generic/2010-04-15/create_event.json";
/// Beside any other `url`, as in Alertmanager.
pub(super) const URL: &str = "https://events.pagerduty.com/generic/2010-04-15/create_event.json";
pub(super) const SERVICE_KEY: &str = "service_key";

#[derive(Serialize)]
struct Event<'a> {
    service_key: &'a str,
    event_type: &'static str,
    incident_key: &'a str,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_url: Option<String>,
    details: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    contexts: Vec<Context>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Context {
    Link(Link),
    Image(Image),
}

/// The event, at most 512,000 bytes: details lose alerts from the end until it fits, then give way to a note.
pub(super) fn event(config: &PagerdutyConfig, key: &str, view: &View<'_>, texts: &Renderer<'_>) -> Vec<u8> {
    let n = view.notification;
    let configured = configured_details(config, texts);
    let mut event = Event {
        service_key: key,
        event_type: match n.kind {
            Kind::Page | Kind::Update | Kind::Digest => "trigger",
            Kind::Resolve => "resolve",
            Kind::Acknowledge => "acknowledge",
        },
        incident_key: &n.dedup_key,
        description: summary(view, texts),
        client: None,
        client_url: None,
        details: details(view, &configured, n.alerts.len()),
        contexts: Vec::new(),
    };
    if !matches!(n.kind, Kind::Resolve | Kind::Acknowledge) {
        event.client = Some(line(texts.text("client", || "Squelch".into()), SHORT_CHARS));
        event.client_url = texts.link("client_url", || view.incident_url());
        event.contexts.extend(links(config, view, texts).into_iter().map(Context::Link));
        event.contexts.extend(images(config, texts).into_iter().map(Context::Image));
    }
    let mut most = n.alerts.len();
    loop {
        // Strings and lists into memory: nothing here can fail.
        let body = serde_json::to_vec(&event).unwrap_or_default();
        if body.len() <= EVENT_BYTES || event.details.contains_key("error") {
            return body;
        }
        most /= 2;
        event.details = details(view, &configured, most);
        if most == 0 {
            let note = format!("left out: with them the event would be larger than {EVENT_BYTES} bytes");
            event.details = BTreeMap::from([("error".to_owned(), note.into())]);
            event.contexts.clear();
        }
    }
}

/// The meaning of a refusal: with this API, 403 asks to slow down.
pub(super) fn refusal(answer: &Answer, error: AttemptError) -> AttemptError {
    if answer.status != 403 {
        return error;
    }
    let retry = answer.retry_after.map_or(Retry::Backoff, Retry::After);
    AttemptError { retry, reason: FailureReason::RateLimited, ..error }
}
