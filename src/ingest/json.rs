//! JSON text, read once from front to back.
//!
//! A reader looks at the first byte of a value before it reads it, so a wrong type is an answer and no
//! failure. Lists, objects and plain strings are read here. All else is left to serde_json, which skips
//! nesting without recursion, so that it costs no stack.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::text::excerpt;

/// A text, and how far it is read.
pub(super) struct Json<'a> {
    text: &'a str,
    at: usize,
}

/// Whether a byte may stand in a string as it is, and does not end it.
static PLAIN: [bool; 256] = {
    let (mut plain, mut byte) = ([true; 256], 0);
    while byte < 256 {
        plain[byte] = !matches!(byte as u8, ..b' ' | b'"' | b'\\');
        byte += 1;
    }
    plain
};

/// The text is not JSON. [`IngestError::of`](super::IngestError::of) says where.
#[derive(Debug)]
pub(super) struct NotJson;

/// A value that was read, or none because the text is not JSON.
pub(super) type Read<T> = Result<T, NotJson>;

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

    /// The string, or nothing if it is none.
    pub(super) fn string_or_empty(self) -> Cow<'a, str> {
        if let JsonText::Str(text) = self { text } else { Cow::Borrowed("") }
    }
}

impl<'a> Json<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Json { text, at: 0 }
    }

    /// The first byte of the part that comes next. `None` at the end of the text.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while self.at < bytes.len() && matches!(bytes[self.at], b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// How many bytes are read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Reads an object. `each` gets a key and reads the value.
    pub(super) fn object(&mut self, mut each: impl FnMut(&mut Self, Cow<'a, str>) -> Read<()>) -> Read<()> {
        self.sequence(b'{', b'}', |json| {
            let key = json.string()?;
            json.sign(b':')?;
            each(json, key)
        })
    }

    /// Reads a list. `each` reads an element.
    pub(super) fn list(&mut self, each: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        self.sequence(b'[', b']', each)
    }

    /// Reads any value.
    pub(super) fn value(&mut self) -> Read<JsonText<'a>> {
        let first = self.peek();
        if first == Some(b'"') {
            return self.string().map(JsonText::Str);
        }
        let json = self.by_serde::<&RawValue>()?.get();
        Ok(match first {
            Some(b'n') => JsonText::Null,
            Some(b'[') => JsonText::Nested("a list", json),
            Some(b'{') => JsonText::Nested("an object", json),
            _ => JsonText::Scalar(json),
        })
    }

    fn sequence(&mut self, open: u8, close: u8, mut each: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        self.sign(open)?;
        if self.peek() == Some(close) {
            return self.sign(close);
        }
        loop {
            each(self)?;
            if self.peek() != Some(b',') {
                return self.sign(close);
            }
            self.at += 1;
        }
    }

    fn sign(&mut self, sign: u8) -> Read<()> {
        if self.peek() != Some(sign) {
            return Err(NotJson);
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a string. Half of a surrogate pair becomes U+FFFD, as in Go: it is no reason to lose an alert.
    fn string(&mut self) -> Read<Cow<'a, str>> {
        if self.peek() != Some(b'"') {
            return Err(NotJson);
        }
        let (bytes, start) = (self.text.as_bytes(), self.at + 1);
        let mut end = start;
        while end < bytes.len() && PLAIN[bytes[end] as usize] {
            end += 1;
        }
        if bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Cow::Borrowed(&self.text[start..end]));
        }
        if let Ok(text) = self.by_serde::<String>() {
            return Ok(Cow::Owned(text));
        }
        let json = self.by_serde::<&RawValue>()?.get();
        serde_json::from_str(&without_lone_surrogates(json)).map(Cow::Owned).map_err(|_| NotJson)
    }

    fn by_serde<T: Deserialize<'a>>(&mut self) -> Read<T> {
        let mut values = serde_json::Deserializer::from_str(&self.text[self.at..]).into_iter::<T>();
        let value = values.next().and_then(Result::ok).ok_or(NotJson)?;
        self.at += values.byte_offset();
        Ok(value)
    }
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

    #[test]
    fn half_a_surrogate_pair_is_replaced_and_whole_ones_are_kept() {
        for (json, text) in [
            (r#""a\ud83dz""#, "a\u{fffd}z"),
            (r#""\ud83d\ude00\udc00""#, "😀\u{fffd}"),
            (r#""\\ud83d \ud800""#, "\\ud83d \u{fffd}"),
            (r#""\u003cé\n""#, "<é\n"),
        ] {
            assert_eq!(Json::new(json).string().unwrap(), text, "{json}");
        }
    }

    /// Reads all lists and objects in `text` as such.
    fn walk(json: &mut Json<'_>, depth: usize) -> Read<()> {
        match json.peek() {
            Some(b'{') if depth < 20 => json.object(|json, _| walk(json, depth + 1)),
            Some(b'[') if depth < 20 => json.list(|json| walk(json, depth + 1)),
            _ => json.value().map(drop),
        }
    }

    proptest::proptest! {
        #[test]
        fn it_takes_what_serde_json_takes(
            text in r#"[ \n]{0,1}(\[|\{|\}|\]|,|:|"|"a"|"\\n"|"\\u12"|"\\ud800"|1|-|0|1e9|true|null|é|\t| ){0,9}"#
        ) {
            let mut json = Json::new(&text);
            let ours = walk(&mut json, 0).is_ok() && json.peek().is_none();
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            proptest::prop_assert_eq!(ours, theirs, "{:?}", text);
        }
    }
}
