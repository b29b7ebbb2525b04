//! Labels and annotations: JSON objects of strings → label sets, within bounds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hasher;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::alert::Fault;
use super::go::{Objects, entries};
use super::text::{JsonText, excerpt, head, string_or_empty};
use super::{InvalidReason, NamedLabels, bounds};
use crate::model::{LabelSet, hex, sha256};

/// The error of an alert without labels.
pub(super) const NONE: &str =
    "labels are missing or all empty. At least one label with a value would be right";

/// The name of an alert without labels.
pub(super) const UNLABELLED: &str = "AlertWithoutLabels";

/// The name of a label that has none.
const NAMELESS: &str = "_";

/// The label that says which labels were left out.
const LEFT_OUT: &str = "squelch_labels_left_out";

/// The content of an object of strings, and the mended errors in it.
#[derive(Default)]
pub(super) struct Pairs {
    /// The kept pairs.
    pub(super) set: LabelSet,
    /// A text was longer than its bound, or there were too many annotations.
    pub(super) cut: bool,
    /// A value was not a string. Annotations only.
    pub(super) odd: bool,
    /// Other mended errors. Labels only.
    pub(super) mends: Vec<Fault>,
}

/// Reads `labels`. A name is any text, as in Alertmanager since 0.27. A label without a value counts as
/// missing. The result may be empty.
pub(super) fn labels(json: &Objects<'_>, named: &NamedLabels) -> Pairs {
    let Some(pairs) = json.only().and_then(|raw| strings(raw, bounds::LABELS)) else {
        return odd_labels(json, named);
    };
    if pairs.iter().any(|(name, _)| name.is_empty()) {
        return odd_labels(json, named);
    }
    let mut cut = false;
    let kept: Vec<_> = pairs
        .into_iter()
        .map(|(name, value)| (identifying(name, &mut cut), identifying(value, &mut cut)))
        .collect();
    // The last of two with the same name wins, as in Go, and only then does an empty value count.
    let mut set = LabelSet::from_pairs(kept);
    if set.iter().any(|(_, value)| value.is_empty()) {
        set = LabelSet::from_pairs(set.iter().filter(|(_, value)| !value.is_empty()));
    }
    Pairs { set, cut, ..Pairs::default() }
}

/// Names and values of an object, decoded.
type Texts<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The pairs of an object, read in one pass. `None` if there are more than `most`, or anything in it is not
/// plainly a string.
fn strings(raw: &RawValue, most: usize) -> Option<Texts<'_>> {
    let Strings(texts) = serde_json::from_str(raw.get()).ok()?;
    Some(texts).filter(|texts| texts.len() <= most)
}

/// The cases that [`strings`] leaves: too many labels, values that are no strings, halves of surrogate
/// pairs, several objects, none.
fn odd_labels(json: &Objects<'_>, named: &NamedLabels) -> Pairs {
    let (mut found, mut few) = (Pairs::default(), Few::new(named));
    for part in json.parts() {
        let mut wrong = None;
        let read = entries(part, |name, value| {
            let (mut name, value) = (string_or_empty(Some(name)), JsonText::of(value));
            if name.is_empty() && wrong.is_none() {
                wrong = Some(format!("a label has an empty name, and is taken as {NAMELESS:?}"));
            }
            if name.is_empty() {
                name = NAMELESS.into();
            }
            if let (None, JsonText::Scalar(_) | JsonText::Nested(..)) = (&wrong, &value) {
                let (name, found) = (excerpt(&name), value.found());
                wrong = Some(format!(
                    "label {name:?} is {found}, where a string would be right. Its text is taken"
                ));
            }
            let value = match value {
                JsonText::Str(text) => text,
                JsonText::Null => Cow::Borrowed(""),
                JsonText::Scalar(json) | JsonText::Nested(_, json) => Cow::Borrowed(json),
            };
            few.add(identifying(name, &mut found.cut), identifying(value, &mut found.cut));
        });
        if read.is_err() {
            let is = JsonText::of(part).found();
            wrong =
                Some(format!("labels is {is}, where an object of strings would be right. It is left out"));
        }
        found.mends.extend(wrong.map(|wrong| (InvalidReason::BadLabel, wrong)));
    }
    if few.left_out > 0 {
        let (all, kept) = (few.left_out + few.kept.len() as u64, few.kept.len());
        let wrong = format!(
            "{all} labels, where at most {} would be right. {kept} are kept, and {LEFT_OUT} tells the rest apart",
            bounds::LABELS
        );
        found.mends.push((InvalidReason::TooManyLabels, wrong));
        few.kept.insert(LEFT_OUT.into(), format!("{} labels, {:032x}", few.left_out, few.digest).into());
    }
    found.set = LabelSet::from_pairs(few.kept);
    found
}

/// The labels of an alert that has more than [`bounds::LABELS`]: the first by name, and those by which the
/// configuration decides.
struct Few<'a, 'n> {
    named: &'n NamedLabels,
    kept: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    left_out: u64,
    /// The digest of those left out, in any order.
    digest: u128,
}

impl<'a, 'n> Few<'a, 'n> {
    fn new(named: &'n NamedLabels) -> Self {
        Few { named, kept: BTreeMap::new(), left_out: 0, digest: 0 }
    }

    fn add(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        if value.is_empty() {
            self.kept.remove(&name);
            return;
        }
        self.kept.insert(name, value);
        if self.kept.len() + usize::from(self.left_out > 0) > bounds::LABELS {
            // One more goes the first time, to make room for the label that says so.
            for _ in 0..1 + usize::from(self.left_out == 0) {
                self.leave_out();
            }
        }
    }

    fn leave_out(&mut self) {
        let last = self.kept.keys().rev().find(|name| !self.named.has(name)).cloned();
        let entry = match last {
            Some(name) => self.kept.remove_entry(&name),
            None => self.kept.pop_last(),
        };
        let Some((name, value)) = entry else { return };
        let mut hasher = SipHasher13::new();
        hasher.write_usize(name.len());
        hasher.write(name.as_bytes());
        hasher.write(value.as_bytes());
        self.left_out += 1;
        self.digest = self.digest.wrapping_add(hasher.finish128().as_u128());
    }
}

/// Reads `annotations`. They are for people only, so nothing in them costs an alert. A number is written as
/// text, and a value that is no text at all is dropped.
pub(super) fn annotations(json: &Objects<'_>) -> Pairs {
    if let Some(texts) = json.only().and_then(|raw| strings(raw, bounds::ANNOTATIONS)) {
        let mut cut = false;
        let kept = texts.into_iter().map(|(n, v)| (readable(n, &mut cut), readable(v, &mut cut)));
        let set = LabelSet::from_pairs(kept);
        return Pairs { set, cut, ..Pairs::default() };
    }
    let (mut found, mut pairs) = (Pairs::default(), Vec::new());
    for part in json.parts() {
        let read = entries(part, |name, value| {
            if pairs.len() >= bounds::ANNOTATIONS {
                found.cut = true;
                return;
            }
            let value = match JsonText::of(value) {
                JsonText::Str(text) => text,
                JsonText::Null => Cow::Borrowed(""),
                JsonText::Scalar(json) => {
                    found.odd = true;
                    Cow::Borrowed(json)
                }
                JsonText::Nested(..) => {
                    found.odd = true;
                    return;
                }
            };
            let name = readable(string_or_empty(Some(name)), &mut found.cut);
            pairs.push((name, readable(value, &mut found.cut)));
        });
        found.odd |= read.is_err();
    }
    found.set = LabelSet::from_pairs(pairs);
    found
}

/// `text` within [`bounds::LABEL_BYTES`]. A cut text keeps a hash of the whole.
pub(super) fn identifying<'a>(text: Cow<'a, str>, cut: &mut bool) -> Cow<'a, str> {
    if text.len() <= bounds::LABEL_BYTES {
        return text;
    }
    *cut = true;
    let tail = format!("…{}", &hex(&sha256(text.as_bytes()))[..32]);
    let kept = head(&text, bounds::LABEL_BYTES - tail.len());
    format!("{kept}{tail}").into()
}

/// `text` within [`bounds::ANNOTATION_BYTES`].
pub(super) fn readable<'a>(text: Cow<'a, str>, cut: &mut bool) -> Cow<'a, str> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    fn of(json: &str) -> Pairs {
        labels(&(&*raw(json)).into(), &NamedLabels::default())
    }

    #[test]
    fn a_long_value_is_cut_and_stays_itself() {
        let long = |last: &str| format!(r#"{{"a":"{}{last}"}}"#, "é".repeat(1 << 19));
        let (one, two) = (of(&long("1")), of(&long("2")));
        assert!(one.cut && one.set.value("a").len() <= bounds::LABEL_BYTES);
        assert_ne!(one.set, two.set);
        let again = of(&serde_json::to_string(&one.set).unwrap());
        assert!(!again.cut && again.set == one.set, "cutting twice changes nothing");
    }

    #[test]
    fn the_last_of_two_wins_even_when_it_is_empty() {
        for twice in [
            r#"{"a":"1","a":"","b":"2"}"#,
            r#"{"a":"1","a":null,"b":"2"}"#,
            r#"{"a":"\ud800","a":"","b":"2"}"#,
        ] {
            let found = of(twice);
            assert_eq!(found.set.to_string(), r#"{b="2"}"#, "{twice}");
            assert!(found.mends.is_empty(), "{twice}");
        }
    }

    #[test]
    fn what_is_no_string_becomes_its_text_and_is_named() {
        for (json, set, says) in [
            (r#"{"a":""}"#, "{}", ""),
            (r#"{}"#, "{}", ""),
            (r#"{"":"x"}"#, r#"{_="x"}"#, "a label has an empty name"),
            (
                r#"{"ok":"x","pod":1.50e3}"#,
                r#"{ok="x", pod="1.50e3"}"#,
                r#"label "pod" is the number 1.50e3"#,
            ),
            (r#"{"a":true,"b":false}"#, r#"{a="true", b="false"}"#, r#"label "a" is true"#),
            (r#"{"a":[1, 2]}"#, r#"{a="[1, 2]"}"#, r#"label "a" is a list"#),
            ("[]", "{}", "labels is a list"),
            ("7", "{}", "labels is the number 7"),
        ] {
            let found = of(json);
            assert_eq!(found.set.to_string(), set, "{json}");
            let said = found.mends.iter().map(|(reason, text)| {
                assert_eq!(*reason, InvalidReason::BadLabel);
                text.as_str()
            });
            let said = said.collect::<Vec<_>>().join(" ");
            assert!(said.starts_with(says) && said.is_empty() == says.is_empty(), "{json}: {said}");
        }
    }

    #[test]
    fn objects_under_equal_keys_are_one() {
        let parts = [r#"{"a":"1","b":"1"}"#, "null", r#"{"b":"2","c":"2"}"#, r#"{"c":"3"}"#].map(raw);
        let mut objects = Objects::default();
        parts.iter().for_each(|part| objects.add(part));
        let found = labels(&objects, &NamedLabels::default());
        assert_eq!(found.set.to_string(), r#"{b="2", c="3"}"#);
        assert_eq!(annotations(&objects).set, found.set);
    }

    /// `count` labels, the last of them with the value `last`.
    fn many(count: usize, last: &str) -> Vec<String> {
        (0..count).map(|i| format!(r#""l{i:04}":"{}""#, if i + 1 == count { last } else { "v" })).collect()
    }

    #[test]
    fn alerts_with_too_many_labels_stay_two_and_keep_those_that_decide() {
        let read = |mut labels: Vec<String>, reversed: bool| {
            labels.push(r#""zone":"z""#.into());
            labels.push(r#""severity":"critical""#.into());
            if reversed {
                labels.reverse();
            }
            of(&format!("{{{}}}", labels.join(",")))
        };
        let one = read(many(300, "v"), false);
        assert_eq!(one.set.len(), bounds::LABELS);
        assert_eq!((one.set.value("severity"), one.set.value("zone")), ("critical", ""));
        assert_eq!((one.set.value("l0253"), one.set.value("l0254")), ("v", ""));
        assert!(one.set.value(LEFT_OUT).starts_with("47 labels, "), "{}", one.set.value(LEFT_OUT));
        assert_eq!(one.mends[0].0, InvalidReason::TooManyLabels);
        assert_eq!(read(many(300, "v"), true).set, one.set, "the order says nothing");
        assert_ne!(read(many(300, "w"), false).set, one.set);
        let again = of(&serde_json::to_string(&one.set).unwrap());
        assert!(again.mends.is_empty() && again.set == one.set, "cutting twice changes nothing");
        let all = of(&format!("{{{}}}", many(bounds::LABELS, "v").join(",")));
        assert!(all.set.len() == bounds::LABELS && all.mends.is_empty());
    }

    #[test]
    fn annotations_never_fail() {
        let of = |json: &str| annotations(&(&*raw(json)).into());
        let odd = of(r#"{"n":5,"deep":[[1]],"none":null,"s":"t"}"#);
        assert!(odd.odd && odd.set.to_string() == r#"{n="5", none="", s="t"}"#);
        assert!(of("17").odd && of(r#""x""#).set.is_empty());
        let many: Vec<String> = (0..300).map(|i| format!(r#""l{i:03}":"v""#)).collect();
        let many = of(&format!("{{{}}}", many.join(",")));
        assert!(many.cut && many.set.len() == bounds::ANNOTATIONS);
        let long = of(&format!(r#"{{"a":"{}"}}"#, "x".repeat(1 << 20)));
        assert!(long.cut && long.set.value("a").len() == bounds::ANNOTATION_BYTES);
    }
}
