//! Values as JSON, as Go's `encoding/json` writes Alertmanager's data.

use std::fmt::Write;

use gotmpl::{TemplateError, Value};

use super::scope::{failed, spend};
use super::time::{GoDuration, GoTime};
use super::value::Struct;

/// The JSON of a value.
pub(super) fn of(value: &Value) -> Result<String, TemplateError> {
    let mut out = String::new();
    write(&mut out, value)?;
    spend(out.len())?;
    Ok(out)
}

fn write(out: &mut String, value: &Value) -> Result<(), TemplateError> {
    if let Some(time) = GoTime::of(value) {
        string(out, &super::layout::format(&time.0, "2006-01-02T15:04:05.999999999Z07:00"));
        return Ok(());
    }
    if let Some(duration) = GoDuration::of(value) {
        let _ = write!(out, "{}", duration.nanos());
        return Ok(());
    }
    match value {
        Value::Nil => out.push_str("null"),
        Value::String(text) | Value::Safe { s: text, .. } => string(out, text),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                write(out, item)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            let kind = Struct::of(value);
            let mut fields: Vec<(String, &Value)> = map
                .iter()
                .filter(|(name, _)| !name.starts_with('\0'))
                .map(|(name, v)| (key(kind, name), v))
                .collect();
            if let Some(order) = order(kind) {
                // Go writes the fields of a struct in their order, and Squelch's own after them.
                let place = |name: &str| order.iter().position(|known| *known == name).unwrap_or(order.len());
                fields.sort_by_key(|(name, _)| place(name));
            }
            out.push('{');
            for (i, (name, value)) in fields.into_iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                string(out, &name);
                out.push(':');
                write(out, value)?;
            }
            out.push('}');
        }
        Value::Function(_) => return Err(failed("a function has no JSON")),
        Value::Float(float) if !float.is_finite() => return Err(failed("JSON has no such number")),
        other => {
            let _ = write!(out, "{other}");
        }
    }
    Ok(())
}

/// The order of the fields of Go's structs.
fn order(kind: Option<Struct>) -> Option<&'static [&'static str]> {
    match kind? {
        Struct::Data => Some(&[
            "receiver",
            "status",
            "alerts",
            "notification_reason",
            "groupLabels",
            "commonLabels",
            "commonAnnotations",
            "routeLabels",
            "externalURL",
        ]),
        Struct::Alert => {
            Some(&["status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"])
        }
        _ => None,
    }
}

/// The name of a field: Alertmanager's structs have their own in JSON.
fn key(kind: Option<Struct>, name: &str) -> String {
    if !matches!(kind, Some(Struct::Data | Struct::Alert)) {
        return name.to_owned();
    }
    if name == "NotificationReason" {
        return "notification_reason".into();
    }
    let mut letters = name.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::templates::value::{record, set, text};

    #[test]
    fn json_is_that_of_go() {
        let alert = record(
            Struct::Alert,
            [("Labels", set([("b", "<&>"), ("a", "\"\n\u{1}")])), ("Status", text("firing"))],
        );
        let mut out = String::new();
        write(&mut out, &alert).unwrap();
        assert_eq!(out, r#"{"status":"firing","labels":{"a":"\"\n\u0001","b":"\u003c\u0026\u003e"}}"#);
    }
}
