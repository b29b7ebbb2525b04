//! JSON as Go's `encoding/json` reads it, since Alertmanager reads with that package.
//!
//! Rules: Go `encoding/json` (`decode.go`, `fold.go`). The case of a key does not matter. Of two equal keys
//! the last wins, and objects under equal keys are read into one. `null` leaves a string or a time as it
//! was.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::json::{Json, JsonText, NotJson};
use super::text::time;
use crate::model::Timestamp;

/// The body as text, without a byte order mark, and whether bytes that are not UTF-8 were replaced. One
/// garbled annotation is no reason to lose a page. Go replaces byte by byte, and a label keeps its
/// fingerprint only if Squelch does the same.
pub(super) fn decoded(body: &[u8]) -> (Cow<'_, str>, bool) {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if let Ok(text) = std::str::from_utf8(body) {
        return (Cow::Borrowed(text), false);
    }
    let mut text = String::with_capacity(body.len() + 16);
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    (Cow::Owned(text), true)
}

/// Which of the fields `names` a key stands for.
pub(super) fn field(key: &str, names: &[&str]) -> Option<usize> {
    let plain = names.iter().position(|name| *name == key);
    plain.or_else(|| names.iter().position(|name| folded(key).eq(folded(name))))
}

/// The characters without their case. Two letters outside of ASCII fold to one inside.
fn folded(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    })
}

/// The value of a field that is a string, a number or a time: the last that is not `null`.
pub(super) fn assign<'a>(field: &mut Option<JsonText<'a>>, value: JsonText<'a>) {
    if !matches!(value, JsonText::Null) {
        *field = Some(value);
    }
}

/// A JSON value of a request, read as Go reads it.
pub struct GoJson<'a>(Cow<'a, str>);

/// The fields of an object (see [`GoJson::object`]).
pub struct Fields<'a> {
    names: &'a [&'static str],
    values: Vec<Option<JsonText<'a>>>,
}

impl<'a> GoJson<'a> {
    /// The first value of a body, decoded.
    pub fn body(body: &'a [u8]) -> Self {
        GoJson(decoded(body).0)
    }

    /// The fields of an object of which these are the names.
    ///
    /// # Errors
    /// It is no JSON, or not an object. The error says which.
    pub fn object<'n>(&'n self, names: &'n [&'static str]) -> Result<Fields<'n>, String> {
        let (mut json, mut values) = (Json::new(&self.0), Vec::new());
        values.resize_with(names.len(), || None);
        let read = match json.peek() {
            Some(b'{') => json.object(|json, key| {
                let value = json.value()?;
                if let Some(at) = field(&key, names) {
                    assign(&mut values[at], value);
                }
                Ok(())
            }),
            _ => match json.value() {
                Ok(other) => {
                    return Err(format!("it is {}, where an object would be right", other.found()));
                }
                Err(NotJson) => Err(NotJson),
            },
        };
        match read {
            Ok(()) => Ok(Fields { names, values }),
            Err(NotJson) => {
                let error = serde_json::from_str::<IgnoredAny>(&self.0).err();
                Err(error.map_or_else(String::new, |error| error.to_string()))
            }
        }
    }
}

impl<'a> Fields<'a> {
    fn value(&self, name: &str) -> Option<&JsonText<'a>> {
        let at = self.names.iter().position(|known| *known == name)?;
        self.values[at].as_ref()
    }

    fn wrong<T>(name: &str, value: &JsonText<'_>, right: &str) -> Result<T, String> {
        Err(format!("{name} is {}, where {right} would be right", value.found()))
    }

    /// A string. For a number or a boolean it is its text. `None` if the field is not given.
    ///
    /// # Errors
    /// It is another type.
    pub fn text(&self, name: &str) -> Result<Option<String>, String> {
        match self.value(name) {
            None => Ok(None),
            Some(JsonText::Str(text)) => Ok(Some(text.clone().into_owned())),
            Some(JsonText::Scalar(json)) => Ok(Some((*json).to_owned())),
            Some(value) => Self::wrong(name, value, "a string"),
        }
    }

    /// `true` or `false`. Nothing if it is not given.
    ///
    /// # Errors
    /// It is another type.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, String> {
        match self.value(name) {
            None => Ok(None),
            Some(JsonText::Scalar("true")) => Ok(Some(true)),
            Some(JsonText::Scalar("false")) => Ok(Some(false)),
            Some(value) => Self::wrong(name, value, "true or false"),
        }
    }

    /// A time, as alerts say it. Nothing if it is not given.
    ///
    /// # Errors
    /// It is another type.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, String> {
        time(name, self.value(name))
    }

    /// The elements of a list. Nothing if it is not given.
    ///
    /// # Errors
    /// It is another type.
    pub fn list(&self, name: &str) -> Result<Option<Vec<GoJson<'a>>>, String> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match value {
            JsonText::Nested("a list", json) => {
                let list = serde_json::from_str::<Vec<&RawValue>>(json).unwrap_or_default();
                Ok(Some(list.into_iter().map(|raw| GoJson(raw.get().into())).collect()))
            }
            _ => Self::wrong(name, value, "a list"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_without_its_case() {
        let names = ["labels", "startsAt", "kind"];
        for (key, found) in [
            ("labels", Some(0)),
            ("LaBeLs", Some(0)),
            ("label\u{17f}", Some(0)),
            ("STARTSAT", Some(1)),
            ("\u{212a}ind", Some(2)),
            ("label", None),
            ("starts_at", None),
            ("\u{fffd}", None),
            ("", None),
        ] {
            assert_eq!(field(key, &names), found, "{key}");
        }
    }

    /// As Alertmanager 0.25 answered.
    #[test]
    fn each_byte_that_is_not_utf8_is_replaced() {
        for (bytes, text) in [
            (&b"caf\xe9"[..], "caf\u{fffd}"),
            (b"b\xe2\x82 \xf0\x9f\x98 x", "b\u{fffd}\u{fffd} \u{fffd}\u{fffd}\u{fffd} x"),
            (b"b\xed\xa0\x80", "b\u{fffd}\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(decoded(bytes), (text.into(), true));
        }
        assert_eq!(decoded(b"\xef\xbb\xbf[]"), ("[]".into(), false));
    }
}
