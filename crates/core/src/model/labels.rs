//! Label sets: sorted, without duplicates, cheap to clone.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

/// Names and values, sorted bytewise by name, each name once. Also used for annotations.
///
/// A missing label reads as the empty string everywhere, as in Prometheus and Alertmanager.
///
/// One text in one allocation: the number of pairs, and then each pair as length of name, name, length of
/// value, value. There may be a million sets in memory. The text of most labels is shorter than a pointer
/// and a length would be. `push_length` defines how lengths are written.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct LabelSet(Arc<str>);

/// Bits of a length in one character. With a flag above them they stay below the surrogates, so that each
/// is a valid character. A character below 128 is one byte.
const LENGTH_BITS: u32 = 14;

/// Appends `n`, the lower bits first, each character but the last with a flag.
pub(crate) fn push_length(text: &mut String, mut n: usize) {
    while n >> LENGTH_BITS != 0 {
        text.push(length_char(1 << LENGTH_BITS | (n as u32 & ((1 << LENGTH_BITS) - 1))));
        n >>= LENGTH_BITS;
    }
    text.push(length_char(n as u32));
}

/// `n` is below the surrogates, where each number is a character.
fn length_char(n: u32) -> char {
    char::from_u32(n).unwrap_or_default()
}

/// Takes a length off the front of `text`. It is 0 if there is none.
pub(crate) fn pop_length(text: &mut &str) -> usize {
    let (mut n, mut shift) = (0, 0);
    let mut chars = text.chars();
    for c in chars.by_ref() {
        let c = c as usize;
        n |= (c & ((1 << LENGTH_BITS) - 1)) << shift;
        shift += LENGTH_BITS;
        if c >> LENGTH_BITS == 0 {
            break;
        }
    }
    *text = chars.as_str();
    n
}

/// The pairs of a set, in order.
#[derive(Clone)]
struct Pairs<'a> {
    left: usize,
    text: &'a str,
}

impl<'a> Pairs<'a> {
    fn text(&mut self) -> &'a str {
        let length = pop_length(&mut self.text);
        let (text, rest) = self.text.split_at_checked(length).unwrap_or_default();
        self.text = rest;
        text
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some((self.text(), self.text()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pairs<'_> {}

impl LabelSet {
    /// Sorts the pairs. Of pairs with the same name the last one wins.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        if !pairs.is_sorted_by(|(a, _), (b, _)| a.as_ref() < b.as_ref()) {
            // Stable, so that of equal names the last stays the last.
            pairs.sort_by(|(a, _), (b, _)| a.as_ref().cmp(b.as_ref()));
            pairs.dedup_by(|later, kept| {
                let same = later.0.as_ref() == kept.0.as_ref();
                if same {
                    std::mem::swap(later, kept);
                }
                same
            });
        }
        Self::from_sorted(pairs.len(), pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref())))
    }

    /// `count` pairs that are sorted already, each name once.
    fn from_sorted<'a>(count: usize, pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Self {
        if count == 0 {
            return LabelSet::default();
        }
        let bytes = pairs.clone().map(|(n, v)| n.len() + v.len() + 4).sum::<usize>();
        let mut text = String::with_capacity(bytes + 4);
        push_length(&mut text, count);
        for part in pairs.flat_map(|(name, value)| [name, value]) {
            push_length(&mut text, part.len());
            text.push_str(part);
        }
        LabelSet(text.into())
    }

    fn pairs(&self) -> Pairs<'_> {
        let mut text = &*self.0;
        Pairs { left: pop_length(&mut text), text }
    }

    /// The value of `name`, or the empty string.
    pub fn value(&self, name: &str) -> &str {
        self.pairs().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }

    /// All pairs, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.pairs()
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.pairs().left
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels whose names `keep` accepts.
    pub fn filter(&self, mut keep: impl FnMut(&str) -> bool) -> LabelSet {
        let kept: Vec<_> = self.pairs().filter(|(name, _)| keep(name)).collect();
        if kept.len() == self.len() { self.clone() } else { Self::from_sorted(kept.len(), kept.into_iter()) }
    }

    /// The pairs that every one of `sets` has with the same value. The result is empty if there are no
    /// sets.
    pub fn common<'a>(mut sets: impl Iterator<Item = &'a LabelSet>) -> LabelSet {
        let Some(first) = sets.next() else { return LabelSet::default() };
        let mut common: Vec<_> = first.pairs().collect();
        for set in sets {
            // Both are in the order of their names.
            let mut others = set.pairs().peekable();
            common.retain(|(name, value)| {
                while others.next_if(|(other, _)| other < name).is_some() {}
                others.peek() == Some(&(*name, *value))
            });
        }
        Self::from_sorted(common.len(), common.into_iter())
    }

    /// How many bytes of memory it takes, about.
    pub fn bytes(&self) -> usize {
        self.0.len() + 32
    }
}

/// By names and values in turn, as a list of pairs is ordered.
impl Ord for LabelSet {
    fn cmp(&self, other: &Self) -> Ordering {
        self.pairs().cmp(other.pairs())
    }
}

impl PartialOrd for LabelSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
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

/// A value in double quotes. It is escaped as by Go's `strconv.Quote`, for the characters that labels hold.
pub struct Quoted<'a>(pub &'a str);

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

/// An object in formats for people, the one text in binary formats.
impl Serialize for LabelSet {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if !s.is_human_readable() {
            return s.serialize_str(&self.0);
        }
        let mut map = s.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for LabelSet {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if !d.is_human_readable() {
            return Arc::<str>::deserialize(d).map(LabelSet);
        }
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

    #[test]
    fn lengths_of_any_size_read_back() {
        for n in [0, 1, 127, 128, (1 << 14) - 1, 1 << 14, 70_000, 1 << 20, usize::MAX >> 8] {
            let mut text = String::new();
            push_length(&mut text, n);
            text.push('x');
            let mut rest = text.as_str();
            assert_eq!((pop_length(&mut rest), rest), (n, "x"), "{n}");
        }
        let long = "é".repeat(40_000);
        let many = LabelSet::from_pairs((0..300).map(|i| (format!("n{i:03}"), long.as_str())));
        assert_eq!((many.len(), many.iter().len(), many.value("n299")), (300, 300, long.as_str()));
    }

    #[test]
    fn order_is_that_of_the_pairs() {
        let lists: [&[(&str, &str)]; 6] =
            [&[], &[("a", "1")], &[("a", "1"), ("b", "")], &[("a", "10")], &[("ab", "1")], &[("b", "")]];
        for (a, b) in lists.iter().flat_map(|a| lists.iter().map(move |b| (a, b))) {
            let set = |list: &[(&'static str, &'static str)]| LabelSet::from_pairs(list.iter().copied());
            assert_eq!(set(a).cmp(&set(b)), a.cmp(b), "{a:?} {b:?}");
            assert_eq!(set(a) == set(b), a == b);
        }
    }
}
