//! Alertmanager's webhook body, version 4, and Grafana's superset of it.
//!
//! Source: Alertmanager `template/template.go` (`Data`) and `notify/webhook/webhook.go` (`Message`).
//! Unknown fields are skipped and every field newer than 0.6.0 may be missing: new ones are added
//! without a new version number.

use super::alert::{Alert, Episode, Intake};
use super::go::{assign, decoded, field};
use super::json::{Json, JsonText, NotJson, Read};
use super::labels::Annotations;
use super::text::{excerpt, head, kind_of_body};
use super::{IngestError, InvalidReason, NamedLabels, Parsed, bounds};
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
    let mut json = Json::new(&body);
    let envelope = Envelope::read(&mut json, &mut intake).map_err(|NotJson| {
        IngestError::of(&body, IngestError::NotV4 { found: kind_of_body(&body).into() })
    })?;
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
fn episode(alert: &mut Alert<'_, '_>) -> Episode {
    let received_at = alert.received_at;
    let said = match &alert.status {
        Some(JsonText::Str(word)) if word == "firing" => Ok(Status::Firing),
        Some(JsonText::Str(word)) if word == "resolved" => Ok(Status::Resolved),
        other => Err(other.as_ref().map(JsonText::found)),
    };
    let (start, mut end) = match said {
        Ok(Status::Firing) => (alert.starts_at(), None),
        _ => alert.times(),
    };
    let by_end = if end.is_some_and(|t| t <= received_at) { Status::Resolved } else { Status::Firing };
    let status = match said {
        Ok(status) => status,
        Err(None) => by_end,
        Err(Some(found)) => {
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
    /// Reads the outermost object, whose alerts go to `intake`.
    fn read(json: &mut Json<'_>, intake: &mut Intake<'_>) -> Read<Envelope> {
        const FIELDS: [&str; 6] =
            ["alerts", "receiver", "externalURL", "groupKey", "groupLabels", "truncatedAlerts"];
        let (mut envelope, mut group_labels) = (Envelope::default(), Annotations::default());
        let mut values = [const { None }; FIELDS.len()];
        json.object(|json, key| {
            match field(&key, &FIELDS) {
                Some(0) => {
                    // The last list counts.
                    intake.restart();
                    envelope.alerts = Some(
                        match json.peek() {
                            Some(b'[') => Ok(json.list(|json| intake.take(json))?),
                            _ => Err(json.value()?),
                        }
                        .map_err(|other| match &other {
                            JsonText::Str(_) => format!("the string {}", other.found()),
                            other => other.found(),
                        }),
                    );
                }
                Some(4) => group_labels.read(json)?,
                Some(at) => assign(&mut values[at], json.value()?),
                None => drop(json.value()?),
            }
            if envelope.fields.len() < 8 {
                envelope.fields.push(format!("{:?}", excerpt(&key)));
            }
            Ok(())
        })?;
        let [_, receiver, external_url, group_key, _, truncated] = values;
        envelope.receiver = bounded(receiver);
        envelope.external_url = bounded(external_url);
        envelope.group_key = bounded(group_key);
        envelope.group_labels = group_labels.set();
        if let Some(JsonText::Scalar(number)) = truncated {
            envelope.truncated = number.parse().unwrap_or(0);
        }
        Ok(envelope)
    }

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

/// The start of the string, as long as a label may be.
fn bounded(value: Option<JsonText<'_>>) -> String {
    let text = value.map(JsonText::string_or_empty).unwrap_or_default();
    head(&text, bounds::LABEL_BYTES).to_owned()
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
