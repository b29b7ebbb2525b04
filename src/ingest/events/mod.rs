//! Events of senders that page by PagerDuty's or Opsgenie's own API: one event a request.
//!
//! The labels of an event name its alert: the sender's key, the integration that it came through, and some
//! short texts. All else is an annotation.

pub mod opsgenie;
pub mod pagerduty;

use std::borrow::Cow;

use serde_json::Value;
use smol_str::SmolStr;

use super::go::decoded;
use super::labels::{identifying, readable};
use super::text::head;
use super::{IngestError, bounds};
use crate::model::{EVENT_KEY, INTEGRATION, LabelSet, Observation, Status, Timestamp, hex, sha256};
use crate::receivers::passed::{DETAIL, OWN};

/// The name of an alert whose event has no text that could be one.
const NAMELESS: &str = "Event";
/// The longest name of an alert, in bytes.
const NAME_BYTES: usize = 200;

/// The action that an event asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// An alert fires, or ended.
    Observe(Box<Observation>),
    /// A person took on the alert that these labels name by its key.
    Acknowledge(LabelSet, SmolStr),
    /// Nothing that concerns an alert.
    Nothing,
}

/// An error in an event: the field, and a sentence about it.
pub type Wrong = (&'static str, String);

/// The JSON object that a body is.
///
/// # Errors
/// The body is not JSON, or not an object.
pub fn object(body: &[u8]) -> Result<Value, IngestError> {
    let (body, _) = decoded(body);
    let value: Value = serde_json::from_str(&body).map_err(|e| IngestError::malformed(&body, &e))?;
    match value.is_object() {
        true => Ok(value),
        false => Err(IngestError::NotAnEvent { found: super::text::kind_of_body(&body).into() }),
    }
}

/// The name of the integration with this secret, where no source of the configuration names it. It tells no
/// reader the secret.
pub fn integration(secret: &str) -> SmolStr {
    hex(&sha256(secret.as_bytes()))[..16].into()
}

/// The labels that are there.
struct Labels(Vec<(&'static str, String)>);

impl Labels {
    /// The labels by which a later event finds the alert.
    fn of_key(integration: &str, key: &str) -> Labels {
        Labels(vec![(EVENT_KEY, key.to_owned()), (INTEGRATION, integration.to_owned())])
    }

    fn add(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.push((name, value.into()));
    }

    fn set(self) -> LabelSet {
        let there = self.0.into_iter().filter(|(_, value)| !value.is_empty());
        LabelSet::from_pairs(there.map(|(name, value)| (name, identifying(value.into(), &mut false))))
    }
}

/// The annotations that are there.
#[derive(Default)]
struct Annotations(Vec<(String, String)>);

impl Annotations {
    fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// The details of an event. One with the name of a text of the event has another name.
    fn add_details(&mut self, details: Option<&Value>) {
        let Some(details) = details else { return };
        match details {
            Value::Object(details) => {
                for (name, value) in details {
                    let hides = OWN.contains(&name.as_str()) || name.is_empty() || name.starts_with(DETAIL);
                    let name = if hides { format!("{DETAIL}{name}") } else { name.clone() };
                    self.add(&name, text(Some(value)));
                }
            }
            other => self.add("details", text(Some(other))),
        }
    }

    fn set(self) -> LabelSet {
        let there = self.0.into_iter().filter(|(_, value)| !value.is_empty()).take(bounds::ANNOTATIONS);
        let bounded = |text: String| readable(Cow::Owned(text), &mut false);
        LabelSet::from_pairs(there.map(|(name, value)| (bounded(name), bounded(value))))
    }
}

/// An alert that fires since it was received.
fn firing(labels: LabelSet, annotations: LabelSet, url: &str, received_at: Timestamp) -> Action {
    Action::Observe(Box::new(Observation {
        status: Status::Firing,
        labels,
        annotations,
        starts_at: received_at,
        start_unknown: true,
        ends_at: None,
        generator_url: if url.len() > bounds::ANNOTATION_BYTES { SmolStr::default() } else { url.into() },
    }))
}

/// The alert of a key ended when that was received.
fn resolved(labels: LabelSet, received_at: Timestamp) -> Action {
    Action::Observe(Box::new(Observation {
        status: Status::Resolved,
        labels,
        annotations: LabelSet::default(),
        starts_at: received_at,
        start_unknown: true,
        ends_at: Some(received_at),
        generator_url: SmolStr::default(),
    }))
}

/// A value as text: a string as it is, and anything else as JSON.
fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A name for an alert, made of the summary of its event. Alertmanager and Grafana write a state and a count
/// before it, which change.
fn name_of(summary: &str) -> String {
    let summary = summary.trim();
    let state = summary.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let named = match state {
        Some((state, rest)) if state.starts_with("FIRING") && !rest.trim().is_empty() => rest.trim(),
        _ => summary,
    };
    let line = named.lines().next().unwrap_or_default();
    if line.is_empty() { NAMELESS.to_owned() } else { head(line, NAME_BYTES).to_owned() }
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn names_lack_what_changes_before_them() {
        for (summary, name) in [
            ("[FIRING:1] HighCPU (node1)", "HighCPU (node1)"),
            ("[FIRING:12, RESOLVED:1]  HighCPU", "HighCPU"),
            ("[Triggered on {host:a}] CPU is high", "[Triggered on {host:a}] CPU is high"),
            ("[FIRING:1]", "[FIRING:1]"),
            (" Disk full\non /var", "Disk full"),
            ("  ", "Event"),
        ] {
            assert_eq!(name_of(summary), name);
        }
    }
}
