//! PagerDuty's Events API v2: `POST /v2/enqueue` and `POST /v2/change/enqueue`.
//!
//! Source: PagerDuty's developer documentation, "Send an alert event" and "Send a change event".

use serde_json::Value;

use super::{Action, Annotations, Labels, Wrong, firing, name_of, resolved, text};
use crate::model::Timestamp;
use crate::receivers::passed::{CLIENT, IMAGES, LINKS, SUMMARY};

const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];
const ACTIONS: [&str; 3] = ["trigger", "acknowledge", "resolve"];
/// PagerDuty cuts summaries to so many characters, and Squelch the URLs of a change too.
const SUMMARY_CHARS: usize = 1024;
const SHORT_CHARS: usize = 128;
/// PagerDuty refuses a longer key, in characters.
const KEY_CHARS: usize = 255;
/// Of a change so many links are kept.
const LINKS_OF_CHANGE: usize = 4;
/// The class that Grafana writes if the user chose none.
const UNNAMED: &str = "default";

/// The key of the service that an event is for.
pub fn routing_key(event: &Value) -> &str {
    event["routing_key"].as_str().unwrap_or_default().trim()
}

/// The key by which the sender knows the alert. A trigger may leave it out.
pub fn dedup_key(event: &Value) -> Option<String> {
    Some(text(event.get("dedup_key"))).filter(|key| !key.trim().is_empty())
}

/// The action of an event that came through `integration`, for the alert with `key`.
///
/// # Errors
/// PagerDuty would refuse the event too.
pub fn read(
    event: &Value,
    integration: &str,
    key: &str,
    received_at: Timestamp,
) -> Result<Action, Vec<Wrong>> {
    let mut wrong = missing(event, &["routing_key", "event_action"]);
    let action = text(event.get("event_action"));
    if !action.is_empty() && !ACTIONS.contains(&action.as_str()) {
        let right = ACTIONS.join(", ");
        wrong.push(("event_action", format!("'event_action' is {action:?}, and must be one of {right}")));
    }
    let length = dedup_key(event).map_or(0, |key| key.chars().count());
    if length > KEY_CHARS {
        let error = format!("'dedup_key' has {length} characters, and may have {KEY_CHARS} at most");
        wrong.push(("dedup_key", error));
    }
    if action != "trigger" {
        if dedup_key(event).is_none() && wrong.is_empty() {
            wrong.extend(missing(event, &["dedup_key"]));
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let labels = Labels::of_key(integration, key).set();
        let by = text(event.get("client"));
        return Ok(match action.as_str() {
            "resolve" => resolved(labels, received_at),
            _ => Action::Acknowledge(labels, if by.is_empty() { integration.into() } else { by.into() }),
        });
    }
    let payload = &event["payload"];
    wrong.extend(missing(event, &["payload"]));
    if wrong.is_empty() {
        wrong.extend(missing(payload, &["payload.summary", "payload.source", "payload.severity"]));
    }
    let severity = text(payload.get("severity")).to_ascii_lowercase();
    if !severity.is_empty() && !SEVERITIES.contains(&severity.as_str()) {
        let right = SEVERITIES.join(", ");
        let error = format!("'payload.severity' is {severity:?}, and must be one of {right}");
        wrong.push(("payload.severity", error));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let (summary, class) = (text(payload.get("summary")), text(payload.get("class")));
    let mut labels = Labels::of_key(integration, key);
    labels.add(
        "alertname",
        if class.is_empty() || class == UNNAMED { name_of(&summary) } else { class.clone() },
    );
    labels.add("severity", severity);
    labels.add("class", class);
    for name in ["source", "component", "group"] {
        labels.add(name, text(payload.get(name)));
    }
    let mut annotations = Annotations::default();
    annotations.add(SUMMARY, summary);
    annotations.add(CLIENT, text(event.get("client")));
    for (name, field) in [(LINKS, "links"), (IMAGES, "images")] {
        let list = event.get(field).filter(|list| list.as_array().is_some_and(|list| !list.is_empty()));
        annotations.add(name, text(list));
    }
    annotations.add_details(payload.get("custom_details"));
    let url = text(event.get("client_url"));
    Ok(firing(labels.set(), annotations.set(), &url, received_at))
}

/// A change of some service, which pages no person. Its texts are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeEvent {
    /// When it happened.
    pub at: Timestamp,
    /// The change.
    pub summary: String,
    /// The place of the change. It may be empty.
    pub source: String,
    /// Texts and URLs that say more about it.
    pub links: Vec<(String, String)>,
}

/// A change event.
///
/// # Errors
/// PagerDuty would refuse the event too.
pub fn read_change(event: &Value, received_at: Timestamp) -> Result<ChangeEvent, Vec<Wrong>> {
    let mut wrong = missing(event, &["routing_key", "payload"]);
    let payload = &event["payload"];
    if wrong.is_empty() {
        wrong.extend(missing(payload, &["payload.summary"]));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let short = |value: Option<&Value>, most| text(value).chars().take(most).collect::<String>();
    let at = payload["timestamp"].as_str().and_then(|at| Timestamp::parse(at).ok());
    let links = event["links"].as_array().map(Vec::as_slice).unwrap_or_default().iter().take(LINKS_OF_CHANGE);
    let link = |link: &Value| {
        let (name, href) = (short(link.get("text"), SHORT_CHARS), short(link.get("href"), SUMMARY_CHARS));
        (if name.is_empty() { href.clone() } else { name }, href)
    };
    Ok(ChangeEvent {
        at: at.map_or(received_at, |at| at.min(received_at)),
        summary: short(payload.get("summary"), SUMMARY_CHARS),
        source: short(payload.get("source"), SHORT_CHARS),
        links: links.map(link).filter(|(_, href)| !href.is_empty()).collect(),
    })
}

/// The fields that have no value, in PagerDuty's words. The last part of a path is the field in `object`.
fn missing(object: &Value, paths: &[&'static str]) -> Vec<Wrong> {
    let is_missing = |path: &&&str| {
        let field = path.rsplit('.').next().unwrap_or_default();
        text(object.get(field)).trim().is_empty()
    };
    let said = |path: &&'static str| (*path, format!("'{path}' is missing or blank"));
    paths.iter().filter(is_missing).map(said).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Observation, Status};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn read(event: &Value) -> Result<Action, Vec<Wrong>> {
        super::read(event, "grafana", &dedup_key(event).unwrap_or("made".into()), NOW)
    }

    fn observed(event: &Value) -> Observation {
        match read(event).unwrap() {
            Action::Observe(observation) => *observation,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_trigger_is_an_alert_that_fires() {
        let found = observed(&json!({
            "routing_key": "k", "event_action": "trigger", "dedup_key": "disk/a",
            "client": "Grafana", "client_url": "http://grafana/alerting",
            "links": [{"href": "http://x", "text": "x"}], "images": [],
            "payload": {
                "summary": "Disk full", "source": "a", "severity": "error", "component": "disk",
                "group": "storage", "class": "DiskFull", "timestamp": "2026-01-01T00:00:00Z",
                "custom_details": {"free": 7, "host": "a", "summary": "more", "deep": {"x": [1]}}
            }
        }));
        assert_eq!(
            found.labels.to_string(),
            r#"{alertname="DiskFull", class="DiskFull", component="disk", dedup_key="disk/a", group="storage", integration="grafana", severity="error", source="a"}"#
        );
        let annotations: Vec<(&str, &str)> = found.annotations.iter().collect();
        assert_eq!(
            annotations,
            [
                ("deep", r#"{"x":[1]}"#),
                ("details.summary", "more"),
                ("free", "7"),
                ("host", "a"),
                ("pagerduty_client", "Grafana"),
                ("pagerduty_links", r#"[{"href":"http://x","text":"x"}]"#),
                ("summary", "Disk full"),
            ]
        );
        assert_eq!((found.status, found.ends_at), (Status::Firing, None));
        assert_eq!(found.generator_url, "http://grafana/alerting");
    }

    #[test]
    fn an_alert_without_a_class_has_its_summary_as_name() {
        let event = |class: Value| {
            json!({"routing_key": "k", "event_action": "trigger", "payload": {
                "summary": "[FIRING:1] HighCPU", "source": "a", "severity": "Critical", "class": class}})
        };
        for class in [json!(null), json!(""), json!("default")] {
            let found = observed(&event(class));
            assert_eq!(found.labels.value("alertname"), "HighCPU");
            assert_eq!(
                (found.labels.value("dedup_key"), found.labels.value("severity")),
                ("made", "critical")
            );
        }
    }

    #[test]
    fn a_resolve_needs_nothing_but_the_key() {
        let found = observed(&json!({"routing_key": "k", "event_action": "resolve", "dedup_key": "d"}));
        assert_eq!(found.labels.to_string(), r#"{dedup_key="d", integration="grafana"}"#);
        assert_eq!((found.status, found.ends_at), (Status::Resolved, Some(NOW)));
        let action = json!({"routing_key": "k", "event_action": "acknowledge", "dedup_key": "d"});
        assert!(
            matches!(read(&action), Ok(Action::Acknowledge(set, by)) if by == "grafana" && set.len() == 2)
        );
    }

    #[test]
    fn what_pagerduty_refuses_is_refused_and_named() {
        let payload = json!({"summary": "s", "source": "a", "severity": "info"});
        let errors = |event: Value| -> Vec<String> {
            read(&event).unwrap_err().into_iter().map(|(_, error)| error).collect()
        };
        for (event, expected) in [
            (json!({}), vec!["'routing_key' is missing or blank", "'event_action' is missing or blank"]),
            (
                json!({"routing_key": "k", "event_action": "close", "dedup_key": "d"}),
                vec!["'event_action' is \"close\", and must be one of trigger, acknowledge, resolve"],
            ),
            (json!({"routing_key": "k", "event_action": "resolve"}), vec!["'dedup_key' is missing or blank"]),
            (json!({"routing_key": "k", "event_action": "trigger"}), vec!["'payload' is missing or blank"]),
            (
                json!({"routing_key": "k", "event_action": "trigger", "payload": {"severity": "info"}}),
                vec!["'payload.summary' is missing or blank", "'payload.source' is missing or blank"],
            ),
            (
                json!({"routing_key": "k", "event_action": "trigger", "payload":
                    {"summary": "s", "source": "a", "severity": "bad"}}),
                vec!["'payload.severity' is \"bad\", and must be one of critical, error, warning, info"],
            ),
            (
                json!({"routing_key": "k", "event_action": "resolve", "dedup_key": "é".repeat(256)}),
                vec!["'dedup_key' has 256 characters, and may have 255 at most"],
            ),
            (
                json!({"routing_key": "k", "event_action": "trigger", "dedup_key": "d".repeat(256),
                    "payload": payload}),
                vec!["'dedup_key' has 256 characters, and may have 255 at most"],
            ),
        ] {
            assert_eq!(errors(event), expected);
        }
        let longest = json!({"routing_key": "k", "event_action": "trigger", "dedup_key": "é".repeat(255),
            "payload": payload});
        assert!(read(&longest).is_ok());
        assert!(read_change(&json!({"routing_key": "k", "payload": payload}), NOW).is_ok());
        assert!(read_change(&json!({"routing_key": "k", "payload": {}}), NOW).is_err());
    }

    #[test]
    fn a_change_is_cut_and_has_happened() {
        let change = |at: &str| {
            let links = json!([{"href": "http://x", "text": "x"}, {"href": "http://y"}, {"text": "z"}, 7]);
            let payload = json!({"summary": "é".repeat(2_000), "source": "ci", "timestamp": at});
            read_change(&json!({"routing_key": "k", "links": links, "payload": payload}), NOW).unwrap()
        };
        let found = change("2023-11-14T22:00:00.000+00:00");
        assert_eq!((found.summary.chars().count(), found.source.as_str()), (SUMMARY_CHARS, "ci"));
        let link = |text: &str, href: &str| (text.to_owned(), href.to_owned());
        assert_eq!(found.links, [link("x", "http://x"), link("http://y", "http://y")]);
        assert_eq!(found.at, Timestamp::parse("2023-11-14T22:00:00Z").unwrap());
        assert_eq!((change("2033-01-01T00:00:00Z").at, change("soon").at), (NOW, NOW));
    }
}
