//! Label sets: sorted, without duplicates, cheap to clone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

/// Names and values, sorted bytewise by name, each name once. Also used for annotations.
///
/// A missing label reads as the empty string everywhere, as in Prometheus and Alertmanager.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LabelSet(Arc<[(SmolStr, SmolStr)]>);

impl LabelSet {
    /// Sorts the pairs; of pairs with the same name the last one wins.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<SmolStr>,
        V: Into<SmolStr>,
    {
        let mut pairs: Vec<(SmolStr, SmolStr)> =
            pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        if !pairs.is_sorted_by(|(a, _), (b, _)| a < b) {
            // Stable, so that of equal names the last stays the last.
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
            pairs.dedup_by(|later, kept| {
                let same = later.0 == kept.0;
                if same {
                    std::mem::swap(later, kept);
                }
                same
            });
        }
        LabelSet(pairs.into())
    }

    /// The value of `name`, or the empty string.
    pub fn value(&self, name: &str) -> &str {
        match self.0.binary_search_by(|(n, _)| n.as_str().cmp(name)) {
            Ok(i) => &self.0[i].1,
            Err(_) => "",
        }
    }

    /// All pairs, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels whose names `keep` accepts.
    pub fn filter(&self, mut keep: impl FnMut(&str) -> bool) -> LabelSet {
        LabelSet(self.0.iter().filter(|(n, _)| keep(n)).cloned().collect())
    }

    /// The pairs that every one of `sets` has with the same value; empty for no sets.
    pub fn common<'a>(mut sets: impl Iterator<Item = &'a LabelSet>) -> LabelSet {
        let Some(first) = sets.next() else { return LabelSet::default() };
        let mut common: Vec<_> = first.0.to_vec();
        for set in sets {
            common.retain(|(n, v)| set.0.binary_search_by(|(m, _)| m.cmp(n)).is_ok_and(|i| set.0[i].1 == *v));
        }
        LabelSet(common.into())
    }
}

/// `{a="1", b="x\"y"}`: Alertmanager's `LabelSet.String`, the form inside group keys.
impl fmt::Display for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={}", Quoted(value))?;
        }
        f.write_str("}")
    }
}

/// A value in double quotes, escaped as Go's `strconv.Quote` does for what labels hold.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\u{7}' => f.write_str("\\a")?,
                '\u{8}' => f.write_str("\\b")?,
                '\u{b}' => f.write_str("\\v")?,
                '\u{c}' => f.write_str("\\f")?,
                c if (c as u32) < 0x20 || c as u32 == 0x7f => write!(f, "\\x{:02x}", c as u32)?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for LabelSet {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for LabelSet {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        BTreeMap::<SmolStr, SmolStr>::deserialize(d).map(LabelSet::from_pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_reads_and_writes() {
        let set = LabelSet::from_pairs([("b", "x\"y\n"), ("a", "1")]);
        assert_eq!(set.to_string(), r#"{a="1", b="x\"y\n"}"#);
        assert_eq!(set.value("a"), "1");
        assert_eq!(set.value("missing"), "");
        let other = LabelSet::from_pairs([("a", "1"), ("b", "z")]);
        assert_eq!(LabelSet::common([&set, &other].into_iter()).to_string(), r#"{a="1"}"#);
    }
}
