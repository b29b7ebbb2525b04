//! Labels and annotations: JSON objects of strings → label sets, within bounds.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::InvalidReason;
use super::bounds;
use super::text::{Text, excerpt, head};
use crate::model::{LabelSet, hex, sha256};

/// What an object of strings held, and what was mended in it.
#[derive(Default)]
pub(super) struct Pairs {
    /// What is kept.
    pub(super) set: LabelSet,
    /// Something was longer, or more, than its bound.
    pub(super) cut: bool,
    /// Something was not a string; annotations only.
    pub(super) odd: bool,
}

/// Reads `labels`. A name is any non-empty text, as in Alertmanager since 0.27; a label without a value
/// is a label that is not there.
pub(super) fn labels(raw: Option<&RawValue>) -> Result<Pairs, (InvalidReason, String)> {
    let none = || {
        let error = "labels are missing or all empty; at least one label with a value would be right";
        (InvalidReason::NoLabels, error.to_owned())
    };
    let raw = raw.ok_or_else(none)?;
    match Text::of(raw) {
        Text::Null => return Err(none()),
        Text::Nested("an object") => {}
        other => {
            let error = format!("labels is {}; an object of strings would be right", other.found());
            return Err((InvalidReason::BadLabel, error));
        }
    }
    let pairs = match strings(raw, bounds::LABELS) {
        Some(pairs) => pairs,
        None => odd_labels(raw)?,
    };
    let mut cut = false;
    let mut kept = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        if name.is_empty() {
            let error = "a label has an empty name; any other text would be right".to_owned();
            return Err((InvalidReason::BadLabel, error));
        }
        kept.push((identifying(name, &mut cut), identifying(value, &mut cut)));
    }
    // The last of two with the same name wins, as in Go, and only then does an empty value count.
    let mut set = LabelSet::from_pairs(kept);
    if set.iter().any(|(_, value)| value.is_empty()) {
        set = LabelSet::from_pairs(set.iter().filter(|(_, value)| !value.is_empty()));
    }
    if set.is_empty() {
        return Err(none());
    }
    Ok(Pairs { set, cut, odd: false })
}

/// Names and values of an object, decoded.
type Texts<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The pairs of an object, read in one pass; nothing if there are more than `most`, or anything in it is not
/// plainly a string.
fn strings(raw: &RawValue, most: usize) -> Option<Texts<'_>> {
    let Strings(texts) = serde_json::from_str(raw.get()).ok()?;
    Some(texts).filter(|texts| texts.len() <= most)
}

/// What [`strings`] leaves: too many labels, values that are no strings, halves of surrogate pairs.
fn odd_labels(raw: &RawValue) -> Result<Texts<'_>, (InvalidReason, String)> {
    let entries: Entries<'_> = serde_json::from_str(raw.get())
        .map_err(|e| (InvalidReason::BadLabel, format!("labels cannot be read: {e}")))?;
    if entries.count > bounds::LABELS {
        let error = format!("{} labels; at most {} would be right", entries.count, bounds::LABELS);
        return Err((InvalidReason::TooManyLabels, error));
    }
    let read = |(name, value): (SmolStr, &'_ RawValue)| match Text::of(value) {
        Text::Str(text) => Ok((Cow::Owned(name.into()), Cow::Owned(text.into_owned()))),
        Text::Null => Ok((Cow::Owned(name.into()), Cow::Borrowed(""))),
        other => {
            let error = format!("label {:?} is {}; a string would be right", excerpt(&name), other.found());
            Err((InvalidReason::BadLabel, error))
        }
    };
    entries.kept.into_iter().map(read).collect()
}

/// Reads `annotations`. They are for people only, so nothing in them costs an alert: a number is written
/// as text, what is no text at all is dropped.
pub(super) fn annotations(raw: Option<&RawValue>) -> Pairs {
    let Some(raw) = raw else { return Pairs::default() };
    if matches!(Text::of(raw), Text::Null) {
        return Pairs::default();
    }
    if let Some(texts) = strings(raw, bounds::ANNOTATIONS) {
        let mut cut = false;
        let kept = texts.into_iter().map(|(n, v)| (readable(n, &mut cut), readable(v, &mut cut)));
        let set = LabelSet::from_pairs(kept);
        return Pairs { set, cut, odd: false };
    }
    let Ok(entries) = serde_json::from_str::<Entries<'_>>(raw.get()) else {
        return Pairs { odd: true, ..Pairs::default() };
    };
    let mut found = Pairs { cut: entries.count > bounds::ANNOTATIONS, ..Pairs::default() };
    let mut pairs = Vec::with_capacity(entries.kept.len());
    for (name, value) in entries.kept.into_iter().take(bounds::ANNOTATIONS) {
        let value = match Text::of(value) {
            Text::Str(text) => text,
            Text::Null => continue,
            Text::Scalar(json) => {
                found.odd = true;
                Cow::Borrowed(json)
            }
            Text::Nested(_) => {
                found.odd = true;
                continue;
            }
        };
        let name = readable(Cow::Owned(name.into()), &mut found.cut);
        pairs.push((name, readable(value, &mut found.cut)));
    }
    found.set = LabelSet::from_pairs(pairs);
    found
}

/// `text` within [`bounds::LABEL_BYTES`]; a cut one keeps a hash of the whole.
fn identifying<'a>(text: Cow<'a, str>, cut: &mut bool) -> Cow<'a, str> {
    if text.len() <= bounds::LABEL_BYTES {
        return text;
    }
    *cut = true;
    let tail = format!("…{}", &hex(&sha256(text.as_bytes()))[..32]);
    let kept = head(&text, bounds::LABEL_BYTES - tail.len());
    format!("{kept}{tail}").into()
}

/// `text` within [`bounds::ANNOTATION_BYTES`].
fn readable<'a>(text: Cow<'a, str>, cut: &mut bool) -> Cow<'a, str> {
    if text.len() <= bounds::ANNOTATION_BYTES {
        return text;
    }
    *cut = true;
    let kept = head(&text, bounds::ANNOTATION_BYTES - "…".len());
    format!("{kept}…").into()
}

/// See [`strings`].
struct Strings<'a>(Texts<'a>);

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Plain<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Strings<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(StringsVisitor)
    }
}

struct StringsVisitor;

impl<'de> Visitor<'de> for StringsVisitor {
    type Value = Strings<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut texts = Texts::with_capacity(8);
        while let Some((Plain(name), Plain(value))) = map.next_entry()? {
            if texts.len() > bounds::LABELS {
                return Err(serde::de::Error::custom("more than are taken"));
            }
            texts.push((name, value));
        }
        Ok(Strings(texts))
    }
}

/// The entries of an object in order, values not yet looked at; counted beyond the bound, not kept.
struct Entries<'a> {
    kept: Vec<(SmolStr, &'a RawValue)>,
    count: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Entries { kept: Vec::new(), count: 0 };
        const { assert!(bounds::LABELS == bounds::ANNOTATIONS) };
        while entries.kept.len() < bounds::LABELS {
            let Some(entry) = map.next_entry::<SmolStr, &'de RawValue>()? else { break };
            entries.kept.push(entry);
        }
        entries.count = entries.kept.len();
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            entries.count += 1;
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn a_long_value_is_cut_and_stays_itself() {
        let long = |last: &str| format!(r#"{{"a":"{}{last}"}}"#, "é".repeat(1 << 19));
        let (one, two) = (raw(&long("1")), raw(&long("2")));
        let (one, two) = (labels(Some(&one)).unwrap(), labels(Some(&two)).unwrap());
        assert!(one.cut && one.set.value("a").len() <= bounds::LABEL_BYTES);
        assert_ne!(one.set, two.set);
        let again = raw(&serde_json::to_string(&one.set).unwrap());
        let again = labels(Some(&again)).unwrap();
        assert!(!again.cut && again.set == one.set, "cutting twice changes nothing");
    }

    #[test]
    fn the_last_of_two_wins_even_when_it_is_empty() {
        let twice = raw(r#"{"a":"1","a":"","b":"2"}"#);
        assert_eq!(labels(Some(&twice)).unwrap().set.to_string(), r#"{b="2"}"#);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |json: &str| labels(Some(&raw(json))).map(|p| p.set).unwrap_err();
        assert_eq!(wrong(r#"{"a":""}"#).0, InvalidReason::NoLabels);
        assert_eq!(wrong("null").0, InvalidReason::NoLabels);
        assert_eq!(wrong(r#"{"":"x"}"#).0, InvalidReason::BadLabel);
        assert!(wrong(r#"{"ok":"x","pod":1e999}"#).1.starts_with(r#"label "pod" is the number 1e999"#));
        assert!(wrong("[]").1.starts_with("labels is a list"));
        let many: Vec<String> = (0..=bounds::LABELS).map(|i| format!(r#""l{i}":"v""#)).collect();
        assert_eq!(wrong(&format!("{{{}}}", many.join(","))).0, InvalidReason::TooManyLabels);
    }

    #[test]
    fn annotations_never_fail() {
        let of = |json: &str| annotations(Some(&raw(json)));
        let odd = of(r#"{"n":5,"deep":[[1]],"none":null,"s":"t"}"#);
        assert!(odd.odd && odd.set.to_string() == r#"{n="5", s="t"}"#);
        assert!(of("17").odd && of(r#""x""#).set.is_empty());
        let many: Vec<String> = (0..300).map(|i| format!(r#""l{i:03}":"v""#)).collect();
        let many = of(&format!("{{{}}}", many.join(",")));
        assert!(many.cut && many.set.len() == bounds::ANNOTATIONS);
        let long = of(&format!(r#"{{"a":"{}"}}"#, "x".repeat(1 << 20)));
        assert!(long.cut && long.set.value("a").len() == bounds::ANNOTATION_BYTES);
    }
}
