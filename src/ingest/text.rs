//! One JSON value, read by its actual type.
//!
//! Every value is first skipped as raw text, which serde_json does without recursion, so nesting costs no
//! stack. Then it is read by its actual type. A wrong type is an answer, not a failure.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::model::{Duration, Timestamp};

/// A JSON value as far as this room cares.
pub(super) enum JsonText<'a> {
    /// `null`, which Go's decoder takes for "not given".
    Null,
    /// A string, decoded.
    Str(Cow<'a, str>),
    /// A number, `true` or `false`, as written.
    Scalar(&'a str),
    /// A list or an object: which of them, and as written.
    Nested(&'static str, &'a str),
}

impl<'a> JsonText<'a> {
    /// Looks at `raw`.
    pub(super) fn of(raw: &'a RawValue) -> Self {
        let json = raw.get();
        match json.as_bytes().first() {
            Some(b'"') => JsonText::Str(string(json)),
            Some(b'n') | None => JsonText::Null,
            Some(b'[') => JsonText::Nested("a list", json),
            Some(b'{') => JsonText::Nested("an object", json),
            Some(_) => JsonText::Scalar(json),
        }
    }

    /// The kind of value, for an error: `a list`, `the number 5`.
    pub(super) fn found(&self) -> String {
        match self {
            JsonText::Null => "null".into(),
            JsonText::Str(text) => format!("{:?}", excerpt(text)),
            JsonText::Scalar(json @ ("true" | "false")) => (*json).into(),
            JsonText::Scalar(json) => format!("the number {}", excerpt(json)),
            JsonText::Nested(kind, _) => (*kind).into(),
        }
    }
}

/// The string at `json`, or nothing if there is none of use: absent, null, or not a string.
pub(super) fn string_or_empty(raw: Option<&RawValue>) -> Cow<'_, str> {
    match raw.map(JsonText::of) {
        Some(JsonText::Str(text)) => text,
        _ => Cow::Borrowed(""),
    }
}

/// A time in any form that [`Timestamp::parse_as_sent`] reads: none if absent, null, empty, or Go's zero
/// time. The error names the field.
pub(super) fn time(field: &str, raw: Option<&RawValue>) -> Result<Option<Timestamp>, String> {
    let wrong = |found: String| {
        format!("{field} is {found}, where an RFC 3339 time such as 2026-01-31T09:30:00Z would be right")
    };
    match raw.map(JsonText::of) {
        None | Some(JsonText::Null) => Ok(None),
        Some(JsonText::Str(text)) if text.is_empty() => Ok(None),
        Some(JsonText::Str(text)) => match Timestamp::parse_as_sent(&text) {
            // The zero time of some senders stands in their own time zone.
            Ok(t) => Ok((t > Timestamp::ZERO + Duration::from_hours(24)).then_some(t)),
            Err(_) => Err(wrong(JsonText::Str(text).found())),
        },
        Some(other) => Err(wrong(other.found())),
    }
}

/// The start of a text, short enough for an error message.
pub(super) fn excerpt(text: &str) -> Cow<'_, str> {
    if text.len() <= 64 {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}…", head(text, 64)))
}

/// The longest start of `text` of at most `max` bytes that ends between two characters.
pub(super) fn head(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The kind of a whole body, for an error, by its first byte.
pub(super) fn kind_of_body(body: &str) -> &'static str {
    match body.trim_start().as_bytes().first() {
        None => "an empty body",
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        Some(_) => "a number",
    }
}

/// Decodes a JSON string that was already skipped as well formed. Half of a surrogate pair becomes
/// U+FFFD, as in Go: it is no reason to lose an alert.
pub(super) fn string(json: &str) -> Cow<'_, str> {
    let inner = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let decoded = serde_json::from_str::<String>(json)
        .or_else(|_| serde_json::from_str(&without_lone_surrogates(json)))
        .unwrap_or_else(|_| inner.to_owned());
    Cow::Owned(decoded)
}

/// `json` with every escape of half a surrogate pair replaced by `\ufffd`.
fn without_lone_surrogates(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (first, second) = (code_unit(rest), rest.get(6..).and_then(code_unit));
        let (take, keep) = match (first, second) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, true),
            (Some(0xd800..=0xdfff), _) => (6, false),
            (Some(_), _) => (6, true),
            // Every other escape is two ASCII bytes long.
            (None, _) => (rest.len().min(2), true),
        };
        let (escape, after) = rest.split_at(take);
        out.push_str(if keep { escape } else { "\\ufffd" });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The code unit of the escape `\uXXXX` at the start of `text`.
fn code_unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced_and_whole_ones_are_kept() {
        for (json, text) in [
            (r#""a\ud83dz""#, "a\u{fffd}z"),
            (r#""\ud83d\ude00\udc00""#, "😀\u{fffd}"),
            (r#""\\ud83d \ud800""#, "\\ud83d \u{fffd}"),
            (r#""\u003cé\n""#, "<é\n"),
        ] {
            assert_eq!(string(json), text, "{json}");
        }
    }

    #[test]
    fn times_are_read_or_named() {
        let at = |json: &str| time("endsAt", Some(&raw(json)));
        assert_eq!(at(r#""0001-01-01T00:00:00Z""#), Ok(None));
        assert_eq!(at("null"), Ok(None));
        assert_eq!(at(r#""9999-12-31T23:59:59Z""#), Ok(Some(Timestamp::MAX)));
        assert_eq!(at(r#""1970-01-01T00:00:01Z""#), Ok(Some(Timestamp::from_millis(1000))));
        assert!(at("17").unwrap_err().starts_with("endsAt is the number 17"));
        assert!(at(r#""soon""#).unwrap_err().contains("2026-01-31T09:30:00Z"));
    }
}
