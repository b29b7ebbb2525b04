//! JSON as Go's `encoding/json` reads it, since Alertmanager reads with that package.
//!
//! Rules: Go `encoding/json` (`decode.go`, `fold.go`). The case of a key does not matter. Of two equal keys
//! the last wins, and objects under equal keys are read into one. `null` leaves a string or a time as it
//! was.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::text::{JsonText, string, time};
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
pub(super) fn field(key: &RawValue, names: &[&str]) -> Option<usize> {
    let quoted = key.get();
    let plain = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if let Some(at) = names.iter().position(|name| *name == plain) {
        return Some(at);
    }
    let key = string(quoted);
    names.iter().position(|name| folded(&key).eq(folded(name)))
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
pub(super) fn assign<'a>(field: &mut Option<&'a RawValue>, value: &'a RawValue) {
    if value.get() != "null" {
        *field = Some(value);
    }
}

/// The value of a field that is an object: all objects that stand under equal keys, in order.
#[derive(Default)]
pub(super) struct Objects<'a> {
    before: Vec<&'a RawValue>,
    last: Option<&'a RawValue>,
}

impl<'a> Objects<'a> {
    /// Adds one more value. `null` takes the earlier ones back.
    pub(super) fn add(&mut self, value: &'a RawValue) {
        if value.get() == "null" {
            *self = Objects::default();
        } else if let Some(before) = self.last.replace(value) {
            self.before.push(before);
        }
    }

    /// The object, if there are no two.
    pub(super) fn only(&self) -> Option<&'a RawValue> {
        self.last.filter(|_| self.before.is_empty())
    }

    /// All of them, in order.
    pub(super) fn parts(&self) -> impl Iterator<Item = &'a RawValue> + '_ {
        self.before.iter().copied().chain(self.last)
    }
}

impl<'a> From<&'a RawValue> for Objects<'a> {
    fn from(value: &'a RawValue) -> Self {
        let mut objects = Objects::default();
        objects.add(value);
        objects
    }
}

/// Hands each key and value of an object to `each`, in order, as they stand.
///
/// # Errors
/// It is not an object.
pub(super) fn entries<'a>(
    object: &'a RawValue,
    each: impl FnMut(&'a RawValue, &'a RawValue),
) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(object.get());
    json.deserialize_map(Each(each))
}

/// See [`entries`].
pub(super) struct Each<F>(pub(super) F);

impl<'de, F: FnMut(&'de RawValue, &'de RawValue)> Visitor<'de> for Each<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry()? {
            (self.0)(key, value);
        }
        Ok(())
    }
}

/// A JSON value of a request, read as Go reads it.
pub struct GoJson<'a>(Cow<'a, str>);

/// The fields of an object (see [`GoJson::object`]).
pub struct Fields<'a> {
    names: &'a [&'static str],
    values: Vec<Option<Box<RawValue>>>,
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
    pub fn object<'n>(&self, names: &'n [&'static str]) -> Result<Fields<'n>, String> {
        let mut json = serde_json::Deserializer::from_str(&self.0);
        let raw = <&RawValue>::deserialize(&mut json).map_err(|e| e.to_string())?;
        let mut values = vec![None; names.len()];
        let read = entries(raw, |key, value| {
            if let Some(at) = field(key, names) {
                assign(&mut values[at], value);
            }
        });
        read.map_err(|_| format!("it is {}, where an object would be right", JsonText::of(raw).found()))?;
        Ok(Fields { names, values: values.into_iter().map(|value| value.map(ToOwned::to_owned)).collect() })
    }
}

impl Fields<'_> {
    fn value(&self, name: &str) -> Option<&RawValue> {
        let at = self.names.iter().position(|known| *known == name)?;
        self.values[at].as_deref()
    }

    fn wrong<T>(name: &str, value: &RawValue, right: &str) -> Result<T, String> {
        Err(format!("{name} is {}, where {right} would be right", JsonText::of(value).found()))
    }

    /// A string. For a number or a boolean it is its text. `None` if the field is not given.
    ///
    /// # Errors
    /// It is another type.
    pub fn text(&self, name: &str) -> Result<Option<String>, String> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match JsonText::of(value) {
            JsonText::Str(text) => Ok(Some(text.into_owned())),
            JsonText::Scalar(json) => Ok(Some(json.to_owned())),
            JsonText::Null | JsonText::Nested(..) => Self::wrong(name, value, "a string"),
        }
    }

    /// `true` or `false`. Nothing if it is not given.
    ///
    /// # Errors
    /// It is another type.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, String> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match value.get() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Self::wrong(name, value, "true or false"),
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
    pub fn list(&self, name: &str) -> Result<Option<Vec<GoJson<'_>>>, String> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
            Ok(list) => Ok(Some(list.into_iter().map(|raw| GoJson(raw.get().into())).collect())),
            Err(_) => Self::wrong(name, value, "a list"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn a_key_counts_without_its_case() {
        let names = ["labels", "startsAt", "kind"];
        for (key, found) in [
            (r#""labels""#, Some(0)),
            (r#""LaBeLs""#, Some(0)),
            (r#""l\u0061bels""#, Some(0)),
            ("\"label\u{17f}\"", Some(0)),
            (r#""STARTSAT""#, Some(1)),
            ("\"\u{212a}ind\"", Some(2)),
            (r#""label""#, None),
            (r#""starts_at""#, None),
            (r#""\ud800""#, None),
            (r#""""#, None),
        ] {
            assert_eq!(field(&raw(key), &names), found, "{key}");
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
