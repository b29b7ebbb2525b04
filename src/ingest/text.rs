//! Times in values, and texts cut for error messages.

use std::borrow::Cow;

use super::json::JsonText;
use crate::model::{Duration, Timestamp};

/// A time in any form that [`Timestamp::parse_as_sent`] reads: none if absent, null, empty, or Go's zero
/// time. The error names the field.
pub(super) fn time(field: &str, value: Option<&JsonText<'_>>) -> Result<Option<Timestamp>, String> {
    let wrong = |found: String| {
        format!("{field} is {found}, where an RFC 3339 time such as 2026-01-31T09:30:00Z would be right")
    };
    match value {
        None | Some(JsonText::Null) => Ok(None),
        Some(JsonText::Str(text)) if text.is_empty() => Ok(None),
        Some(value @ JsonText::Str(text)) => match Timestamp::parse_as_sent(text) {
            // The zero time of some senders stands in their own time zone.
            Ok(t) => Ok((t > Timestamp::ZERO + Duration::from_hours(24)).then_some(t)),
            Err(_) => Err(wrong(value.found())),
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

#[cfg(test)]
mod tests {
    use super::super::json::Json;
    use super::*;

    #[test]
    fn times_are_read_or_named() {
        let at = |json: &str| time("endsAt", Json::new(json).value().ok().as_ref());
        assert_eq!(at(r#""0001-01-01T00:00:00Z""#), Ok(None));
        assert_eq!(at("null"), Ok(None));
        assert_eq!(at(r#""9999-12-31T23:59:59Z""#), Ok(Some(Timestamp::MAX)));
        assert_eq!(at(r#""1970-01-01T00:00:01Z""#), Ok(Some(Timestamp::from_millis(1000))));
        assert!(at("17").unwrap_err().starts_with("endsAt is the number 17"));
        assert!(at(r#""soon""#).unwrap_err().contains("2026-01-31T09:30:00Z"));
    }
}
