//! Labels and annotations: JSON objects of strings → label sets, within bounds.

use std::borrow::Cow;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::json::{Json, JsonText, Read};
use super::parsed::Fault;
use super::text::{excerpt, head};
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

/// Names and values, decoded.
type Texts<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The labels of an alert, as far as they are read. Of more than [`bounds::LABELS`] it keeps the first by
/// name, and those by which the configuration decides.
pub(super) struct Labels<'a, 'n> {
    named: &'n NamedLabels,
    /// Sorted by name.
    kept: Texts<'a>,
    left_out: u64,
    /// The digest of those left out, in any order.
    digest: u128,
    /// A text was longer than its bound.
    pub(super) cut: bool,
    /// Other mended errors.
    pub(super) mends: Vec<Fault>,
}

impl<'a, 'n> Labels<'a, 'n> {
    pub(super) fn new(named: &'n NamedLabels) -> Self {
        let kept = Texts::with_capacity(16);
        Labels { named, kept, left_out: 0, digest: 0, cut: false, mends: Vec::new() }
    }

    /// Reads a value of `labels`. A name is any text, as in Alertmanager since 0.27. A label without a value
    /// counts as missing. Objects under equal keys are one, and `null` takes the earlier ones back.
    pub(super) fn read(&mut self, json: &mut Json<'a>) -> Read<()> {
        let mut wrong = None;
        if json.peek() == Some(b'{') {
            json.object(|json, name| {
                self.take(name, json.value()?, &mut wrong);
                Ok(())
            })?;
        } else {
            match json.value()? {
                JsonText::Null => *self = Labels::new(self.named),
                other => {
                    let right = "where an object of strings would be right. It is left out";
                    wrong = Some(format!("labels is {}, {right}", other.found()));
                }
            }
        }
        self.mends.extend(wrong.map(|wrong| (InvalidReason::BadLabel, wrong)));
        Ok(())
    }

    /// Takes a label. `wrong` names the first error.
    fn take(&mut self, mut name: Cow<'a, str>, value: JsonText<'a>, wrong: &mut Option<String>) {
        if name.is_empty() {
            wrong.get_or_insert_with(|| format!("a label has an empty name, and is taken as {NAMELESS:?}"));
            name = NAMELESS.into();
        }
        if matches!(value, JsonText::Scalar(_) | JsonText::Nested(..)) {
            wrong.get_or_insert_with(|| {
                let (name, found) = (excerpt(&name), value.found());
                format!("label {name:?} is {found}, where a string would be right. Its text is taken")
            });
        }
        let value = match value {
            JsonText::Str(text) => text,
            JsonText::Null => Cow::Borrowed(""),
            JsonText::Scalar(json) | JsonText::Nested(_, json) => Cow::Borrowed(json),
        };
        let (name, value) = (identifying(name, &mut self.cut), identifying(value, &mut self.cut));
        self.add(name, value);
    }

    /// The last of two with the same name wins, as in Go, and only then does an empty value count.
    fn add(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        // Most senders sort them.
        let place = match self.kept.last() {
            Some((last, _)) if *last >= name => self.kept.binary_search_by(|(known, _)| known.cmp(&name)),
            _ => Err(self.kept.len()),
        };
        match place {
            Ok(at) if value.is_empty() => drop(self.kept.remove(at)),
            Ok(at) => self.kept[at].1 = value,
            Err(_) if value.is_empty() => {}
            Err(at) => self.kept.insert(at, (name, value)),
        }
        if self.kept.len() + usize::from(self.left_out > 0) > bounds::LABELS {
            // One more goes the first time, to make room for the label that says so.
            for _ in 0..1 + usize::from(self.left_out == 0) {
                self.leave_out();
            }
        }
    }

    fn leave_out(&mut self) {
        let last = self.kept.iter().rposition(|(name, _)| !self.named.has(name));
        let (name, value) = self.kept.remove(last.unwrap_or(bounds::LABELS - 1));
        let mut hasher = SipHasher13::new();
        hasher.write_usize(name.len());
        hasher.write(name.as_bytes());
        hasher.write(value.as_bytes());
        self.left_out += 1;
        self.digest = self.digest.wrapping_add(hasher.finish128().as_u128());
    }

    /// All of them. The result may be empty.
    pub(super) fn set(&mut self) -> LabelSet {
        if self.left_out > 0 {
            let (all, kept) = (self.left_out + self.kept.len() as u64, self.kept.len());
            let wrong = format!(
                "{all} labels, where at most {} would be right. {kept} are kept, and {LEFT_OUT} tells the rest apart",
                bounds::LABELS
            );
            self.mends.push((InvalidReason::TooManyLabels, wrong));
            let left_out = format!("{} labels, {:032x}", self.left_out, self.digest);
            self.kept.push((LEFT_OUT.into(), left_out.into()));
        }
        LabelSet::from_pairs(std::mem::take(&mut self.kept))
    }
}

/// The annotations of an alert, as far as they are read. They are for people only, so nothing in them costs
/// an alert. A number is written as text, and a value that is no text at all is dropped.
#[derive(Default)]
pub(super) struct Annotations<'a> {
    kept: Texts<'a>,
    /// A text was longer than its bound, or there were too many.
    pub(super) cut: bool,
    /// A value was not a string.
    pub(super) odd: bool,
}

impl<'a> Annotations<'a> {
    /// Reads a value of `annotations`. Objects under equal keys are one, and `null` takes the earlier ones
    /// back.
    pub(super) fn read(&mut self, json: &mut Json<'a>) -> Read<()> {
        if json.peek() != Some(b'{') {
            match json.value()? {
                JsonText::Null => *self = Annotations::default(),
                _ => self.odd = true,
            }
            return Ok(());
        }
        json.object(|json, name| {
            let value = json.value()?;
            if self.kept.len() >= bounds::ANNOTATIONS {
                self.cut = true;
                return Ok(());
            }
            self.odd |= matches!(value, JsonText::Scalar(_) | JsonText::Nested(..));
            let value = match value {
                JsonText::Str(text) => text,
                JsonText::Null => Cow::Borrowed(""),
                JsonText::Scalar(json) => Cow::Borrowed(json),
                JsonText::Nested(..) => return Ok(()),
            };
            self.kept.push((readable(name, &mut self.cut), readable(value, &mut self.cut)));
            Ok(())
        })
    }

    pub(super) fn set(self) -> LabelSet {
        LabelSet::from_pairs(self.kept)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Found {
        set: LabelSet,
        cut: bool,
        mends: Vec<Fault>,
    }

    /// The labels that these values under equal keys state.
    fn of_all(parts: &[&str]) -> Found {
        let named = NamedLabels::default();
        let mut labels = Labels::new(&named);
        parts.iter().for_each(|part| labels.read(&mut Json::new(part)).unwrap());
        Found { set: labels.set(), cut: labels.cut, mends: labels.mends }
    }

    fn of(json: &str) -> Found {
        of_all(&[json])
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
        let parts = [r#"{"a":"1","b":"1"}"#, "null", r#"{"b":"2","c":"2"}"#, r#"{"c":"3"}"#];
        let found = of_all(&parts);
        assert_eq!(found.set.to_string(), r#"{b="2", c="3"}"#);
        let mut annotations = Annotations::default();
        parts.iter().for_each(|part| annotations.read(&mut Json::new(part)).unwrap());
        assert_eq!(annotations.set(), found.set);
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
        let of = |json: &str| {
            let mut annotations = Annotations::default();
            annotations.read(&mut Json::new(json)).unwrap();
            (annotations.odd, annotations.cut, annotations.set())
        };
        let (odd, _, set) = of(r#"{"n":5,"deep":[[1]],"none":null,"s":"t"}"#);
        assert!(odd && set.to_string() == r#"{n="5", none="", s="t"}"#);
        assert!(of("17").0 && of(r#""x""#).2.is_empty());
        let many: Vec<String> = (0..300).map(|i| format!(r#""l{i:03}":"v""#)).collect();
        let (_, cut, set) = of(&format!("{{{}}}", many.join(",")));
        assert!(cut && set.len() == bounds::ANNOTATIONS);
        let (_, cut, set) = of(&format!(r#"{{"a":"{}"}}"#, "x".repeat(1 << 20)));
        assert!(cut && set.value("a").len() == bounds::ANNOTATION_BYTES);
    }
}
