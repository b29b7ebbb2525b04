//! Which silences may be about an alert, so that an alert is not held against all of them.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::model::{LabelSet, Matcher, Silence};

/// The ids of silences, by a value that an alert must have for one of their sets of matchers.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct SilenceIndex {
    by_value: BTreeMap<SmolStr, BTreeMap<SmolStr, BTreeSet<SmolStr>>>,
    /// Those with a set that lists no values. They are held against each alert.
    others: BTreeSet<SmolStr>,
}

impl SilenceIndex {
    pub(crate) fn add(&mut self, silence: &Silence) {
        for set in &silence.matchers {
            let Some(key) = key(set) else {
                self.others.insert(silence.id.clone());
                continue;
            };
            let values = self.by_value.entry(key.name().into()).or_default();
            for value in key.values().into_iter().flatten() {
                values.entry(value.clone()).or_default().insert(silence.id.clone());
            }
        }
    }

    pub(crate) fn remove(&mut self, silence: &Silence) {
        self.others.remove(&silence.id);
        for key in silence.matchers.iter().filter_map(|set| key(set)) {
            let Some(values) = self.by_value.get_mut(key.name()) else { continue };
            for value in key.values().into_iter().flatten() {
                if let Some(ids) = values.get_mut(value) {
                    ids.remove(&silence.id);
                    if ids.is_empty() {
                        values.remove(value);
                    }
                }
            }
            if values.is_empty() {
                self.by_value.remove(key.name());
            }
        }
    }

    /// The silences that may be about an alert with these labels, some of them twice.
    pub(crate) fn about<'a>(&'a self, labels: &'a LabelSet) -> impl Iterator<Item = &'a SmolStr> {
        let named = labels.iter().filter_map(|(name, value)| self.by_value.get(name)?.get(value)).flatten();
        named.chain(&self.others)
    }
}

/// The matcher of a set that lists the fewest values, none of them empty.
fn key(set: &[Matcher]) -> Option<&Matcher> {
    let listed = set.iter().filter_map(|m| {
        let values = m.values()?;
        (!values.iter().any(SmolStr::is_empty)).then_some((values.len(), m))
    });
    listed.min_by_key(|(count, _)| *count).map(|(_, matcher)| matcher)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Timestamp, parse_matchers};

    fn silence(id: &str, matchers: &[&str]) -> Silence {
        Silence {
            id: id.into(),
            matchers: matchers.iter().map(|set| parse_matchers(set).unwrap()).collect(),
            starts_at: Timestamp::ZERO,
            ends_at: Timestamp::ZERO,
            updated_at: Timestamp::ZERO,
            created_by: "".into(),
            comment: "".into(),
        }
    }

    #[test]
    fn finds_what_may_match_and_leaves_out_what_cannot() {
        let all = [
            silence("equal", &["a=1,b=~x.*"]),
            silence("listed", &["a=~\"1|2\",c!=d"]),
            silence("either", &["a=2", "b=~x.+"]),
            silence("empty", &["a=\"\",b=1"]),
            silence("open", &["b!=1"]),
        ];
        let mut index = SilenceIndex::default();
        all.iter().for_each(|silence| index.add(silence));
        let about = |index: &SilenceIndex, labels: &[(&str, &str)]| {
            let labels = LabelSet::from_pairs(labels.iter().copied());
            let found: BTreeSet<String> = index.about(&labels).map(ToString::to_string).collect();
            found.into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(about(&index, &[("a", "1")]), "either equal listed open");
        assert_eq!(about(&index, &[("a", "2"), ("b", "1")]), "either empty listed open");
        assert_eq!(about(&index, &[("a", "3")]), "either open");
        all.iter().skip(1).for_each(|silence| index.remove(silence));
        assert_eq!(about(&index, &[("a", "1"), ("b", "1")]), "equal");
        index.remove(&all[0]);
        assert_eq!(index, SilenceIndex::default());
    }
}
