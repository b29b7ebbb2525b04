//! Opsgenie's Alert API, which Jira Service Management speaks too: `POST /v2/alerts`, and the requests below
//! an alert.
//!
//! Source: Opsgenie's documentation, "Alert API".

use serde_json::Value;

use super::{Action, Annotations, Labels, Wrong, firing, name_of, resolved, text};
use crate::model::Timestamp;
use crate::receivers::passed::{ACTIONS, DESCRIPTION, NOTE, PRIORITY, RESPONDERS, SUMMARY, TAGS};

const PRIORITIES: [&str; 5] = ["P1", "P2", "P3", "P4", "P5"];
/// The priority of an alert that has none.
const MODERATE: &str = "P3";

/// The key by which the sender knows the alert. It may leave it out.
pub fn alias(alert: &Value) -> Option<String> {
    Some(text(alert.get("alias"))).filter(|alias| !alias.trim().is_empty())
}

/// The alert of a `POST /v2/alerts` that came through `integration`, with `key` as its alias.
///
/// # Errors
/// Opsgenie would refuse the alert too.
pub fn read(
    alert: &Value,
    integration: &str,
    key: &str,
    received_at: Timestamp,
) -> Result<Action, Vec<Wrong>> {
    let message = text(alert.get("message"));
    let priority = text(alert.get("priority")).trim().to_ascii_uppercase();
    let mut wrong = Vec::new();
    if message.trim().is_empty() {
        wrong.push(("message", "Message can not be empty.".to_owned()));
    }
    if !priority.is_empty() && !PRIORITIES.contains(&priority.as_str()) {
        let right = PRIORITIES.join(", ");
        wrong.push(("priority", format!("Priority is {priority:?}, and must be one of {right}.")));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let mut labels = Labels::of_key(integration, key);
    labels.add("alertname", name_of(&message));
    labels.add("severity", severity(if priority.is_empty() { MODERATE } else { &priority }));
    labels.add("source", text(alert.get("source")));
    labels.add("entity", text(alert.get("entity")));
    labels.add("team", team(alert));
    let mut annotations = Annotations::default();
    annotations.add(SUMMARY, message);
    annotations.add(DESCRIPTION, text(alert.get("description")));
    annotations.add(PRIORITY, priority);
    annotations.add(NOTE, text(alert.get("note")));
    annotations.add(TAGS, words(alert.get("tags")));
    annotations.add(ACTIONS, words(alert.get("actions")));
    let responders =
        alert.get("responders").filter(|list| list.as_array().is_some_and(|all| !all.is_empty()));
    annotations.add(RESPONDERS, text(responders));
    annotations.add_details(alert.get("details"));
    Ok(firing(labels.set(), annotations.set(), "", received_at))
}

/// The action of a request below the alert with the alias `key`. `place` is the last part of its path.
pub fn below(
    place: &str,
    body: &Value,
    integration: &str,
    key: &str,
    received_at: Timestamp,
) -> Option<Action> {
    let labels = Labels::of_key(integration, key).set();
    let by = text(body.get("user"));
    Some(match place {
        "close" => resolved(labels, received_at),
        "acknowledge" => {
            Action::Acknowledge(labels, if by.is_empty() { integration.into() } else { by.into() })
        }
        "notes" => Action::Nothing,
        _ => return None,
    })
}

/// The severity that a priority means.
fn severity(priority: &str) -> &'static str {
    match priority {
        "P1" | "P2" => "critical",
        "P3" => "warning",
        _ => "info",
    }
}

/// The first team among the responders.
fn team(alert: &Value) -> String {
    let responders = alert["responders"].as_array().into_iter().flatten();
    let mut teams =
        responders.filter(|one| one["type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("team")));
    teams.next().map(|team| text(team.get("name"))).unwrap_or_default()
}

/// A list of texts, with commas.
fn words(list: Option<&Value>) -> String {
    match list {
        Some(Value::Array(all)) => all.iter().map(|one| text(Some(one))).collect::<Vec<_>>().join(","),
        other => text(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Observation, Status};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn observed(action: Action) -> Observation {
        match action {
            Action::Observe(observation) => *observation,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_alert_of_opsgenie_is_an_alert_that_fires() {
        let alert = json!({
            "message": "[FIRING:1] Disk full", "alias": "disk/a", "description": "97 %", "priority": "P2",
            "source": "Grafana", "entity": "db1", "tags": ["prod", "eu"],
            "responders": [{"type": "user", "username": "a@b"}, {"type": "team", "name": "core"}],
            "details": {"host": "a", "url": "http://x"}
        });
        assert_eq!(alias(&alert).as_deref(), Some("disk/a"));
        let found = observed(read(&alert, "grafana", "disk/a", NOW).unwrap());
        assert_eq!(
            found.labels.to_string(),
            r#"{alertname="Disk full", dedup_key="disk/a", entity="db1", integration="grafana", severity="critical", source="Grafana", team="core"}"#
        );
        for (name, value) in [
            (SUMMARY, "[FIRING:1] Disk full"),
            (DESCRIPTION, "97 %"),
            (TAGS, "prod,eu"),
            (PRIORITY, "P2"),
            ("host", "a"),
        ] {
            assert_eq!(found.annotations.value(name), value, "{name}");
        }
        assert_eq!(found.status, Status::Firing);
    }

    #[test]
    fn priorities_become_severities() {
        for (priority, severity) in [
            ("P1", "critical"),
            ("p2", "critical"),
            ("P3", "warning"),
            ("", "warning"),
            ("P4", "info"),
            ("P5", "info"),
        ] {
            let found =
                observed(read(&json!({"message": "m", "priority": priority}), "i", "k", NOW).unwrap());
            assert_eq!(found.labels.value("severity"), severity, "{priority}");
        }
    }

    #[test]
    fn what_opsgenie_refuses_is_refused_and_named() {
        let wrong = read(&json!({"priority": "P9"}), "i", "k", NOW).unwrap_err();
        assert_eq!(wrong.iter().map(|(field, _)| *field).collect::<Vec<_>>(), ["message", "priority"]);
    }

    #[test]
    fn a_close_needs_nothing_but_the_alias() {
        let found = observed(below("close", &json!({}), "i", "k", NOW).unwrap());
        assert_eq!(found.labels.to_string(), r#"{dedup_key="k", integration="i"}"#);
        assert_eq!((found.status, found.ends_at), (Status::Resolved, Some(NOW)));
        let taken = below("acknowledge", &json!({"user": "ada"}), "i", "k", NOW);
        assert!(matches!(taken, Some(Action::Acknowledge(_, by)) if by == "ada"));
        assert_eq!(below("notes", &json!({}), "i", "k", NOW), Some(Action::Nothing));
        assert_eq!(below("snooze", &json!({}), "i", "k", NOW), None);
    }
}
