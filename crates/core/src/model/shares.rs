//! The labels that most of some label sets share, where not all of them have the same.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::LabelSet;

/// A label value, and how many of the sets have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share<'a> {
    /// The label.
    pub name: &'a str,
    /// Its value.
    pub value: &'a str,
    /// Of so many sets.
    pub sets: usize,
}

/// The label values that more than half of `sets` have, those of most sets first, then by name. Of several
/// that the same sets have, the first stands for all.
pub fn shares<'a>(sets: &[&'a LabelSet]) -> Vec<Share<'a>> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for pair in sets.iter().flat_map(|set| set.iter()) {
        *counts.entry(pair).or_default() += 1;
    }
    let mut most: Vec<_> = counts.into_iter().filter(|(_, n)| n * 2 > sets.len()).collect();
    most.sort_by_key(|(pair, n)| (Reverse(*n), *pair));
    most.into_iter().map(|((name, value), sets)| Share { name, value, sets }).collect()
}

/// Of the [`shares`] of `sets` that not all of them have, at most `most`, each of other sets.
pub fn partial_shares<'a>(sets: &[&'a LabelSet], most: usize, skip: impl Fn(&str) -> bool) -> Vec<Share<'a>> {
    let mut chosen: Vec<Share<'a>> = Vec::new();
    for share in shares(sets).into_iter().filter(|share| share.sets < sets.len() && !skip(share.name)) {
        let same = |other: &Share<'_>| {
            let both = |set: &&&LabelSet| {
                set.value(share.name) == share.value && set.value(other.name) == other.value
            };
            other.sets == share.sets && sets.iter().filter(both).count() == share.sets
        };
        if !chosen.iter().any(same) {
            chosen.push(share);
        }
        if chosen.len() == most {
            break;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_most_have_in_the_order_of_how_many() {
        let set = |name: &str, service: &str, zone: &str| {
            LabelSet::from_pairs([
                ("alertname", name),
                ("job", service),
                ("service", service),
                ("zone", zone),
            ])
        };
        let sets = [set("A", "db", "a"), set("B", "db", "a"), set("C", "db", "b"), set("D", "web", "a")];
        let sets: Vec<&LabelSet> = sets.iter().collect();
        let shown = |shares: Vec<Share<'_>>| {
            shares.iter().map(|s| format!("{}={} {}", s.name, s.value, s.sets)).collect::<Vec<_>>()
        };
        assert_eq!(shown(shares(&sets)), ["job=db 3", "service=db 3", "zone=a 3"]);
        // job and service say the same of the same alerts.
        assert_eq!(shown(partial_shares(&sets, 3, |_| false)), ["job=db 3", "zone=a 3"]);
        assert_eq!(shown(partial_shares(&sets, 3, |name| name == "zone")), ["job=db 3"]);
        assert_eq!(shown(partial_shares(&sets[..1], 3, |_| false)), [""; 0]);
    }
}
