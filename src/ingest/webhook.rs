//! Alertmanager's webhook body, version 4, and Grafana's superset of it.
//!
//! Source: Alertmanager `template/template.go` (`Data`) and `notify/webhook/webhook.go` (`Message`).
//! Unknown fields are skipped and every field newer than 0.6.0 may be missing: new ones are added
//! without a new version number.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::alert::{Intake, List};
use super::go::{Objects, assign, decoded, field};
use super::text::{JsonText, excerpt, head, kind_of_body, string_or_empty};
use super::times::{AlertReading, Episode};
use super::{IngestError, InvalidReason, NamedLabels, Parsed, bounds, labels};
use crate::model::{LabelSet, Source, Status, Timestamp, Upstream};

/// Reads a webhook body. `peer` names the sender where the body's `externalURL` does not. If there are more
/// labels than are kept, `named` stay.
///
/// # Errors
/// The body is not JSON, or not an object with a list `alerts`.
pub fn parse(
    body: &[u8],
    peer: &str,
    received_at: Timestamp,
    named: &NamedLabels,
) -> Result<Parsed, IngestError> {
    let (body, mended) = decoded(body);
    let mut intake = Intake::new(Source::Alertmanager, &episode, received_at, named);
    if !body.trim_start().starts_with('{') {
        serde_json::from_str::<IgnoredAny>(&body).map_err(|e| IngestError::malformed(&body, &e))?;
        return Err(IngestError::NotV4 { found: kind_of_body(&body).into() });
    }
    let mut json = serde_json::Deserializer::from_str(&body);
    let read = Message(&mut intake).deserialize(&mut json);
    let envelope = read.map_err(|e| IngestError::malformed(&body, &e))?;
    intake.ends(json);
    if mended {
        intake.mend(InvalidReason::InvalidUtf8);
    }
    if let Some(found) = envelope.not_v4() {
        return Err(IngestError::NotV4 { found });
    }
    let peer = if envelope.external_url.is_empty() { peer } else { &envelope.external_url };
    let mut parsed = intake.finish(peer);
    parsed.batch.upstream = (!envelope.group_key.is_empty()).then(|| Upstream {
        group_key: envelope.group_key.as_str().into(),
        group_labels: envelope.group_labels,
        truncated: envelope.truncated,
    });
    parsed.truncated = envelope.truncated;
    parsed.receiver = unquoted(&envelope.receiver);
    parsed.group_key = envelope.group_key;
    Ok(parsed)
}

/// Status and times of one alert. The sender's status counts, and the end of a firing alert then says
/// nothing. Without a usable status, a passed end makes it resolved. A resolve without a possible end ended
/// on receipt.
fn episode(alert: &mut AlertReading<'_>) -> Episode {
    let received_at = alert.received_at;
    let said = match alert.raw.status.map(JsonText::of) {
        Some(JsonText::Str(word)) if word == "firing" => Ok(Status::Firing),
        Some(JsonText::Str(word)) if word == "resolved" => Ok(Status::Resolved),
        other => Err(other),
    };
    let (start, mut end) = match said {
        Ok(Status::Firing) => (alert.starts_at(), None),
        _ => alert.times(),
    };
    let by_end = if end.is_some_and(|t| t <= received_at) { Status::Resolved } else { Status::Firing };
    let status = match said {
        Ok(status) => status,
        Err(None | Some(JsonText::Null)) => by_end,
        Err(Some(other)) => {
            let found = other.found();
            let wrong = format!(
                "status is {found}, where firing or resolved would be right. It counts as {}",
                by_end.as_str()
            );
            alert.mend(InvalidReason::BadStatus, wrong);
            by_end
        }
    };
    let resolved = status == Status::Resolved;
    if let Some(late) = end.filter(|end| resolved && *end > received_at + bounds::AHEAD) {
        let wrong = format!("it has resolved, and endsAt {late} is more than {} ahead", bounds::AHEAD);
        alert.mend(InvalidReason::BadTime, format!("{wrong}. It counts as ended on receipt"));
        end = None;
    }
    let missing = [("startsAt", start.is_none()), ("endsAt", resolved && end.is_none())];
    if let Some((field, _)) = missing.into_iter().find(|(_, missing)| *missing && alert.mends.is_empty()) {
        alert.mend(InvalidReason::BadTime, format!("{field} is missing, so the time of receipt is taken"));
    }
    let ends_at = resolved.then(|| end.unwrap_or(received_at));
    let starts_at = start.or(ends_at).unwrap_or(received_at);
    let ends_at = ends_at.map(|t| t.max(starts_at));
    Episode { status, starts_at, start_unknown: start.is_none(), ends_at }
}

/// Undoes Go's `regexp.QuoteMeta`, through which Alertmanager passes the receiver's name.
fn unquoted(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some(&next) if c == '\\' && r"\.+*?()|[]{}^$".contains(next) => {
                out.push(next);
                chars.next();
            }
            _ => out.push(c),
        }
    }
    out
}

/// The fields beside the alerts.
#[derive(Default)]
struct Envelope {
    receiver: String,
    external_url: String,
    group_key: String,
    group_labels: LabelSet,
    truncated: u64,
    /// `None`: no field `alerts`. `Some(Err)`: it is not a list.
    alerts: Option<Result<(), String>>,
    /// The names of the fields, for the error, at most 8.
    fields: Vec<String>,
}

impl Envelope {
    /// The content that was found in place of a version 4 body.
    fn not_v4(&self) -> Option<String> {
        match &self.alerts {
            Some(Ok(())) => None,
            // Go writes an empty list that was never made as null.
            Some(Err(found)) if found == "null" => None,
            Some(Err(found)) => Some(format!("`alerts` to be {found}")),
            None if self.fields.is_empty() => Some("an empty object".into()),
            None => Some(format!("an object without `alerts`, but with {}", self.fields.join(", "))),
        }
    }
}

/// Reads the outermost object, handing its alerts to an [`Intake`].
struct Message<'i, 'r>(&'i mut Intake<'r>);

impl<'de> DeserializeSeed<'de> for Message<'_, '_> {
    type Value = Envelope;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Envelope, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Message<'_, '_> {
    type Value = Envelope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alertmanager's webhook body")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope, A::Error> {
        const FIELDS: [&str; 6] =
            ["alerts", "receiver", "externalURL", "groupKey", "groupLabels", "truncatedAlerts"];
        let mut envelope = Envelope::default();
        let (mut strings, mut group_labels) = ([None::<&RawValue>; FIELDS.len()], Objects::default());
        while let Some(key) = map.next_key::<&RawValue>()? {
            match field(key, &FIELDS) {
                Some(0) => {
                    // The last list counts.
                    self.0.restart();
                    envelope.alerts = Some(map.next_value_seed(List(&mut *self.0))?);
                }
                Some(4) => group_labels.add(map.next_value()?),
                Some(at) => assign(&mut strings[at], map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            if envelope.fields.len() < 8 {
                envelope.fields.push(format!("{:?}", excerpt(&string_or_empty(Some(key)))));
            }
        }
        envelope.receiver = bounded(strings[1]);
        envelope.external_url = bounded(strings[2]);
        envelope.group_key = bounded(strings[3]);
        envelope.group_labels = labels::annotations(&group_labels).set;
        envelope.truncated = strings[5].and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or(0);
        Ok(envelope)
    }
}

/// The string, cut to the length of a label.
fn bounded(raw: Option<&RawValue>) -> String {
    head(&string_or_empty(raw), bounds::LABEL_BYTES).to_owned()
}

#[cfg(test)]
mod tests {
    use super::unquoted;

    #[test]
    fn receivers_are_unquoted_as_go_quoted_them() {
        assert_eq!(unquoted(r"raw\.\(x\)"), "raw.(x)");
        assert_eq!(unquoted(r"a\\b"), r"a\b");
        assert_eq!(unquoted(r"team-x"), "team-x");
        assert_eq!(unquoted(r"odd\q\"), r"odd\q\");
    }
}
