//! PagerDuty's Events API v2 by its documentation: the events that it takes and refuses, and its answers.

use serde_json::{Value, json};

use super::state::{State, Trigger};
use crate::model::{Timestamp, hex, sha256};

/// The largest event that is taken: 512 KB.
pub const EVENT_BYTES: usize = 512_000;

const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];

/// An answer: status and body.
pub type Answered = (u16, Value);

/// `POST /v2/enqueue`.
pub fn enqueue(state: &mut State, body: &[u8], rate_limit: u32, now: Timestamp) -> Answered {
    if body.len() > EVENT_BYTES {
        return (
            413,
            json!({"status": "invalid event", "message": "Event is larger than 512 KB", "errors": []}),
        );
    }
    let Ok(event) = serde_json::from_slice::<Value>(body) else {
        return invalid(vec!["Event is not valid JSON".into()]);
    };
    let errors = errors_of(&event);
    if !errors.is_empty() {
        return invalid(errors);
    }
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let routing_key = text("/routing_key");
    if rate_limit > 0 && !state.within_rate(&routing_key, rate_limit, now) {
        return (
            429,
            json!({"status": "throttle exceeded", "message": "Requests for this service are arriving too quickly. Please retry later."}),
        );
    }
    let scope = format!("pagerduty/{routing_key}");
    let key = match text("/dedup_key") {
        key if key.is_empty() => hex(&sha256(body))[..32].to_owned(),
        key => key,
    };
    match text("/event_action").as_str() {
        "resolve" => state.resolve(&scope, &key, now),
        "acknowledge" => state.acknowledge(&scope, &key, now),
        _ => state.trigger(
            Trigger {
                scope,
                shown: mask(&routing_key),
                key: key.clone(),
                summary: text("/payload/summary"),
                severity: text("/payload/severity"),
                details: event.pointer("/payload/custom_details").cloned().unwrap_or_default(),
            },
            now,
        ),
    }
    (202, json!({"status": "success", "message": "Event processed", "dedup_key": key}))
}

/// The key that an event acknowledges.
pub fn acknowledged(body: &[u8]) -> Option<String> {
    let event: Value = serde_json::from_slice(body).ok()?;
    (event.get("event_action")? == "acknowledge").then_some(())?;
    event.get("dedup_key")?.as_str().map(str::to_owned)
}

/// `POST /v2/change/enqueue`. It only counts the event and does not keep it.
pub fn change(state: &mut State, body: &[u8]) -> Answered {
    let summary = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|event| Some(event.pointer("/payload/summary")?.as_str()?.to_owned()));
    match summary {
        Some(_) => {
            state.requests.change_events += 1;
            (202, json!({"status": "success", "message": "Change event processed"}))
        }
        None => invalid(vec!["'payload.summary' is missing or blank".into()]),
    }
}

fn invalid(errors: Vec<String>) -> Answered {
    (400, json!({"status": "invalid event", "message": "Event object is invalid", "errors": errors}))
}

fn errors_of(event: &Value) -> Vec<String> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let mut errors = Vec::new();
    match text("/routing_key").chars().count() {
        0 => errors.push("'routing_key' is missing or blank".to_owned()),
        32 => {}
        _ => errors.push("Length of 'routing_key' is incorrect (should be 32 characters)".to_owned()),
    }
    let action = text("/event_action");
    if !["trigger", "acknowledge", "resolve"].contains(&action) {
        errors.push("'event_action' must be one of: 'acknowledge', 'resolve', 'trigger'".to_owned());
    }
    if text("/dedup_key").chars().count() > 255 {
        errors.push("'dedup_key' is too long (maximum is 255 characters)".to_owned());
    }
    if action != "trigger" {
        if ["acknowledge", "resolve"].contains(&action) && text("/dedup_key").is_empty() {
            errors.push("'dedup_key' is missing or blank".to_owned());
        }
        return errors;
    }
    for field in ["summary", "source", "severity"] {
        if text(&format!("/payload/{field}")).is_empty() {
            errors.push(format!("'payload.{field}' is missing or blank"));
        }
    }
    if text("/payload/summary").chars().count() > 1024 {
        errors.push("'payload.summary' is too long (maximum is 1024 characters)".to_owned());
    }
    let severity = text("/payload/severity");
    if !severity.is_empty() && !SEVERITIES.contains(&severity) {
        errors.push(
            "'payload.severity' is invalid (must be one of: 'critical', 'warning', 'error', 'info')".into(),
        );
    }
    errors
}

fn mask(key: &str) -> String {
    let last: Vec<char> = key.chars().rev().take(4).collect();
    std::iter::once('…').chain(last.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn sent(event: &Value, limit: u32) -> Answered {
        enqueue(&mut State::default(), event.to_string().as_bytes(), limit, Timestamp::from_millis(0))
    }

    fn event() -> Value {
        json!({"routing_key": KEY, "event_action": "trigger",
            "payload": {"summary": "s", "source": "x", "severity": "critical"}})
    }

    #[test]
    fn refuses_what_pagerduty_refuses() {
        assert_eq!(sent(&event(), 0).0, 202);
        let wrong = [
            ("/routing_key", json!("short")),
            ("/routing_key", Value::Null),
            ("/event_action", json!("open")),
            ("/event_action", json!("resolve")),
            ("/payload/summary", json!("")),
            ("/payload/summary", json!("x".repeat(1025))),
            ("/payload/severity", json!("page")),
            ("/payload/source", json!("")),
        ];
        for (pointer, value) in wrong {
            let mut event = event();
            *event.pointer_mut(pointer).unwrap() = value;
            let (status, body) = sent(&event, 0);
            assert_eq!((status, body["errors"].as_array().unwrap().len()), (400, 1), "{pointer} {body}");
        }
        let mut large = event();
        large["payload"]["custom_details"] = json!("x".repeat(EVENT_BYTES));
        assert_eq!(sent(&large, 0).0, 413);
    }

    #[test]
    fn routing_keys_are_masked() {
        assert_eq!(mask(KEY), "…cdef");
    }
}
