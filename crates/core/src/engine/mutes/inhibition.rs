//! Inhibition: alerts that are muted while another fires. Rules: Alertmanager `inhibit/inhibit.go`.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::model::{AlertId, LabelSet};
use crate::policy::InhibitRule;

/// The firing alerts that rules match, by the values of the labels that must be equal. The cost of a change
/// therefore does not grow with the number of sources.
///
/// Follows from the rules and the firing alerts, so it is no part of a snapshot.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Inhibition {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    rule: InhibitRule,
    scopes: BTreeMap<Vec<SmolStr>, Scope>,
}

/// Firing alerts of one rule with the same values of its `equal` labels.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Scope {
    /// Sources that are no targets.
    sources: BTreeSet<AlertId>,
    /// Sources that are targets too: they do not mute such as themselves.
    two_sided: BTreeSet<AlertId>,
    targets: BTreeSet<AlertId>,
}

/// The rule and the source that mute a target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inhibitor<'a> {
    /// The alert that fires.
    pub(crate) source: AlertId,
    /// The rule.
    pub(crate) rule: &'a InhibitRule,
    /// Its place among the rules, from 1.
    pub(crate) number: usize,
}

impl Inhibition {
    /// For these rules, and no alert yet.
    pub(crate) fn new(rules: &[InhibitRule]) -> Self {
        let rule = |rule: &InhibitRule| Rule { rule: rule.clone(), scopes: BTreeMap::new() };
        Inhibition { rules: rules.iter().map(rule).collect() }
    }

    /// Records that an alert fires. Targets that this may mute go to `dirty`.
    pub(crate) fn fires(&mut self, alert: AlertId, labels: &LabelSet, dirty: &mut BTreeSet<AlertId>) {
        for Rule { rule, scopes } in &mut self.rules {
            let (source, target) = (rule.is_source(labels), rule.is_target(labels));
            if !source && !target {
                continue;
            }
            let scope = scopes.entry(values(rule, labels)).or_default();
            let before = scope.mutes();
            match (source, target) {
                (true, true) => drop(scope.two_sided.insert(alert)),
                (true, false) => drop(scope.sources.insert(alert)),
                (false, _) => {}
            }
            if target {
                scope.targets.insert(alert);
            }
            if scope.mutes() != before {
                dirty.extend(&scope.targets);
            }
        }
    }

    /// Takes in that an alert that fired with these labels does not any more.
    pub(crate) fn ends(&mut self, alert: AlertId, labels: &LabelSet, dirty: &mut BTreeSet<AlertId>) {
        for Rule { rule, scopes } in &mut self.rules {
            if !rule.is_source(labels) && !rule.is_target(labels) {
                continue;
            }
            let key = values(rule, labels);
            let Some(scope) = scopes.get_mut(&key) else { continue };
            let before = scope.mutes();
            scope.targets.remove(&alert);
            scope.sources.remove(&alert);
            scope.two_sided.remove(&alert);
            if scope.mutes() != before {
                dirty.extend(&scope.targets);
            }
            if *scope == Scope::default() {
                scopes.remove(&key);
            }
        }
    }

    /// The inhibitor of an alert with these labels, by the first rule that mutes it.
    pub(crate) fn inhibitor(&self, labels: &LabelSet) -> Option<Inhibitor<'_>> {
        let found = |(index, Rule { rule, scopes }): (usize, &'_ Rule)| {
            if scopes.is_empty() || !rule.is_target(labels) {
                return None;
            }
            let scope = scopes.get(&values(rule, labels))?;
            let two_sided = rule.is_source(labels);
            let other = scope.two_sided.first().filter(|_| !two_sided);
            Some((index, *scope.sources.first().or(other)?))
        };
        let (index, source) = self.rules.iter().enumerate().find_map(found)?;
        Some(Inhibitor { source, rule: &self.rules[index].rule, number: index + 1 })
    }
}

impl Scope {
    /// Whether it mutes targets of the one side, and targets of both.
    fn mutes(&self) -> (bool, bool) {
        (!self.sources.is_empty() || !self.two_sided.is_empty(), !self.sources.is_empty())
    }
}

/// A label that is missing has the empty value, so two that lack it agree.
fn values(rule: &InhibitRule, labels: &LabelSet) -> Vec<SmolStr> {
    rule.equal.iter().map(|name| labels.value(name).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_matchers;

    fn labels(text: &str) -> LabelSet {
        LabelSet::from_pairs(text.split(' ').filter_map(|pair| pair.split_once('=')))
    }

    fn rule(source: &str, target: &str, equal: &[&str]) -> InhibitRule {
        InhibitRule {
            name: "r".into(),
            source_matchers: parse_matchers(source).unwrap(),
            target_matchers: parse_matchers(target).unwrap(),
            equal: equal.iter().map(|e| (*e).into()).collect(),
        }
    }

    struct Bench(Inhibition);

    impl Bench {
        fn fires(&mut self, id: u128, text: &str) -> Vec<u128> {
            let mut dirty = BTreeSet::new();
            self.0.fires(AlertId(id), &labels(text), &mut dirty);
            dirty.into_iter().map(|a| a.0).collect()
        }

        fn ends(&mut self, id: u128, text: &str) -> Vec<u128> {
            let mut dirty = BTreeSet::new();
            self.0.ends(AlertId(id), &labels(text), &mut dirty);
            dirty.into_iter().map(|a| a.0).collect()
        }

        fn by(&self, text: &str) -> Option<u128> {
            self.0.inhibitor(&labels(text)).map(|i| i.source.0)
        }
    }

    #[test]
    fn lasts_until_the_last_of_several_sources_ends() {
        let mut bench = Bench(Inhibition::new(&[rule("s=1", "t=1", &["zone"])]));
        assert_eq!(bench.fires(9, "t=1 zone=a"), []);
        assert_eq!(bench.by("t=1 zone=a"), None);
        assert_eq!(bench.fires(1, "s=1 zone=a"), [9]);
        assert_eq!(bench.fires(2, "s=1 zone=a n=2"), [], "nothing changes for the target");
        assert_eq!(bench.ends(1, "s=1 zone=a"), []);
        assert_eq!(bench.by("t=1 zone=a"), Some(2));
        assert_eq!(bench.by("t=1 zone=b"), None);
        assert_eq!(bench.by("zone=a"), None);
        assert_eq!(bench.ends(2, "s=1 zone=a n=2"), [9]);
        assert_eq!(bench.by("t=1 zone=a"), None);
        bench.ends(9, "t=1 zone=a");
        assert_eq!(bench.0, Inhibition::new(&[rule("s=1", "t=1", &["zone"])]), "nothing is left");
    }

    #[test]
    fn labels_missing_at_both_are_equal_and_at_one_are_not() {
        let mut bench = Bench(Inhibition::new(&[rule("s=1", "t=1", &["zone", "host"])]));
        bench.fires(1, "s=1 zone=a");
        assert_eq!(bench.by("t=1 zone=a"), Some(1));
        assert_eq!(bench.by("t=1 zone=a host=x"), None);
        assert_eq!(bench.by("t=1"), None);
    }

    #[test]
    fn what_matches_both_sides_is_muted_only_by_what_does_not() {
        let mut bench = Bench(Inhibition::new(&[rule("s=1", "t=1", &[])]));
        bench.fires(1, "s=1 t=1");
        assert_eq!(bench.fires(2, "s=1 t=1 n=2"), []);
        assert_eq!(bench.by("s=1 t=1"), None, "neither itself nor its like");
        assert_eq!(bench.by("t=1"), Some(1), "but a mere target");
        assert_eq!(bench.fires(3, "s=1"), [1, 2], "and by a mere source");
        assert_eq!(bench.by("s=1 t=1"), Some(3));
        assert_eq!(bench.ends(3, "s=1"), [1, 2]);
        assert_eq!(bench.by("s=1 t=1"), None);
    }

    #[test]
    fn a_mere_target_is_looked_at_again_when_an_alert_of_both_sides_begins_and_ends() {
        let mut bench = Bench(Inhibition::new(&[rule("s=1", "t=1", &[])]));
        bench.fires(9, "t=1");
        assert!(bench.fires(1, "s=1 t=1").contains(&9));
        assert_eq!(bench.ends(1, "s=1 t=1"), [9]);
    }

    #[test]
    fn an_empty_rule_mutes_nothing_and_the_first_rule_that_mutes_is_named() {
        let mut bench =
            Bench(Inhibition::new(&[rule("", "", &[]), rule("s=2", "t=1", &[]), rule("s=~.+", "t=1", &[])]));
        bench.fires(1, "s=1");
        bench.fires(2, "s=2");
        let by = bench.0.inhibitor(&labels("t=1"));
        assert_eq!(by.map(|i| (i.source.0, i.number)), Some((2, 2)));
        bench.ends(2, "s=2");
        assert_eq!(bench.0.inhibitor(&labels("t=1")).map(|i| (i.source.0, i.number)), Some((1, 3)));
    }
}
