//! Which alerts matchers can match together, and so which inhibition rules can mute each other.

use std::collections::BTreeSet;

use super::{InhibitRule, Policy, Problem};
use crate::model::{LabelSet, MatchOp, Matcher};

/// Rules are compared with each other up to so many of them: the work grows with their square.
const MOST_RULES: usize = 200;
/// Rings of three rules are looked for up to so many of them.
const MOST_RINGS: usize = 20_000;

/// Rings of two or three rules, each of which mutes the source alert of the next one. All of these alerts
/// are then muted, and no page leaves. One problem names the first ring and the number of the others.
pub(super) fn rings(policy: &Policy, found: &mut Vec<Problem>) {
    let mut count = 0;
    let mut first = None;
    each_ring(&policy.inhibit_rules, |ring, alerts| {
        count += 1;
        first.get_or_insert_with(|| problem(policy, ring, alerts));
    });
    let Some(mut problem) = first else { return };
    match count - 1 {
        0 => {}
        1 => problem.message.push_str(". One other set of rules can do so too"),
        more => problem.message.push_str(&format!(". {more} other sets of rules can do so too")),
    }
    found.push(problem);
}

fn each_ring(rules: &[InhibitRule], mut found: impl FnMut(&[usize], &[LabelSet])) {
    let count = rules.len().min(MOST_RULES);
    let ring = |rules: &[&InhibitRule]| {
        // A rule that any alert fulfils is meant to mute its target always, or all others.
        let wide = |rule: &&InhibitRule| takes_all(&rule.source_matchers) || takes_all(&rule.target_matchers);
        if rules.iter().any(wide) { None } else { ring(rules) }
    };
    let mut tried = 0;
    let mut told: BTreeSet<(usize, usize)> = BTreeSet::new();
    for first in 0..count {
        for second in first + 1..count {
            if let Some(alerts) = ring(&[&rules[first], &rules[second]]) {
                told.insert((first, second));
                found(&[first, second], &alerts);
            }
        }
    }
    for first in 0..count {
        for second in (first + 1..count).filter(|second| follows(&rules[first], &rules[*second])) {
            for third in (first + 1..count).filter(|third| *third != second) {
                let pairs = [(first, second), (first, third), (second.min(third), second.max(third))];
                if pairs.iter().any(|pair| told.contains(pair)) || !follows(&rules[second], &rules[third]) {
                    continue;
                }
                tried += 1;
                if tried > MOST_RINGS {
                    return;
                }
                if let Some(alerts) = ring(&[&rules[first], &rules[second], &rules[third]]) {
                    found(&[first, second, third], &alerts);
                }
            }
        }
    }
}

fn problem(policy: &Policy, ring: &[usize], alerts: &[LabelSet]) -> Problem {
    let line = |rule: usize| policy.lines.inhibit_rules.get(rule).copied().unwrap_or(0);
    let others: Vec<String> = ring[1..].iter().map(|rule| line(*rule).to_string()).collect();
    let alerts: Vec<String> = alerts.iter().map(ToString::to_string).collect();
    let message = format!(
        "this inhibit rule and the one on line {} mute each other's sources: while {} fire, each is muted, and \
         no page leaves. Let no alert be the source of one and the target of the other, or add equal labels",
        others.join(" and "),
        alerts.join(" and "),
    );
    Problem::new(line(ring[0]), message)
}

/// Whether these matchers ask for no more than that a label is there.
fn takes_all(matchers: &[Matcher]) -> bool {
    let open = |m: &Matcher| m.op() == MatchOp::Regex && matches!(unanchored(m.value()), ".+" | ".*");
    matchers.iter().all(open)
}

/// Whether an alert can be the target of `rule` and the source of `next`.
fn follows(rule: &InhibitRule, next: &InhibitRule) -> bool {
    let all: Vec<&Matcher> = rule.target_matchers.iter().chain(&next.source_matchers).collect();
    let names: BTreeSet<&str> = all.iter().map(|m| m.name()).collect();
    names.into_iter().all(|name| value(&all, name).is_some())
}

/// Alerts that all mute each other by these rules, one for each: the source of a rule is the target of the
/// rule before it. `None` if none is found.
fn ring(rules: &[&InhibitRule]) -> Option<Vec<LabelSet>> {
    let before = |at: usize| rules[(at + rules.len() - 1) % rules.len()];
    let of = |at: usize| rules[at].source_matchers.iter().chain(&before(at).target_matchers);
    let names: BTreeSet<&str> = (0..rules.len()).flat_map(|at| of(at).map(Matcher::name)).collect();
    let mut alerts = vec![Vec::new(); rules.len()];
    for name in names {
        // Which alerts share the value of this label: `equal` joins the source of a rule and its target.
        let mut class: Vec<usize> = (0..rules.len()).collect();
        for (at, rule) in rules.iter().enumerate() {
            if rule.equal.iter().any(|label| label == name) {
                let (from, to) = (class[(at + 1) % rules.len()], class[at]);
                class.iter_mut().filter(|c| **c == from).for_each(|c| *c = to);
            }
        }
        for one in class.iter().copied().collect::<BTreeSet<_>>() {
            let members = (0..rules.len()).filter(|at| class[*at] == one);
            let matchers: Vec<&Matcher> = members.clone().flat_map(of).collect();
            let value = value(&matchers, name)?;
            members.for_each(|at| alerts[at].push((name, value.clone())));
        }
    }
    let alerts: Vec<LabelSet> = alerts
        .iter()
        .map(|pairs| LabelSet::from_pairs(pairs.iter().map(|(n, v)| (*n, v.as_str()))))
        .collect();
    let mutes = |at: usize| {
        let (rule, source, target) = (rules[at], &alerts[at], &alerts[(at + 1) % rules.len()]);
        let two_sided = rule.is_target(source) && rule.is_source(target);
        rule.is_source(source) && rule.is_target(target) && !two_sided
    };
    (0..rules.len()).all(mutes).then_some(alerts)
}

/// A value of the label `name` that all of its matchers match, if one of the named values does. An empty
/// value is a missing label.
fn value(matchers: &[&Matcher], name: &str) -> Option<String> {
    let about: Vec<&&Matcher> = matchers.iter().filter(|m| m.name() == name).collect();
    let mut values: Vec<&str> = Vec::new();
    for matcher in &about {
        match matcher.op() {
            MatchOp::Equal | MatchOp::NotEqual => values.push(matcher.value()),
            MatchOp::Regex | MatchOp::NotRegex => values.extend(words(matcher.value())),
        }
    }
    values.extend(["other", ""]);
    let fits = |value: &&str| {
        let labels = LabelSet::from_pairs([(name, *value)]);
        about.iter().all(|m| m.matches(&labels))
    };
    values.into_iter().find(fits).map(str::to_owned)
}

/// The plain words that a pattern names, such as `a` and `b` of `a|b`.
pub(super) fn words(pattern: &str) -> impl Iterator<Item = &str> {
    let inner = unanchored(pattern);
    let inner = inner.strip_prefix('(').and_then(|p| p.strip_suffix(')')).unwrap_or(inner);
    inner.split('|').filter(|word| !word.contains(|c| r"\.+*?()[]{}^$".contains(c)))
}

fn unanchored(pattern: &str) -> &str {
    pattern.strip_prefix("^(?:").and_then(|p| p.strip_suffix(")$")).unwrap_or(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_matchers;

    fn rule(source: &str, target: &str, equal: &[&str]) -> InhibitRule {
        InhibitRule {
            name: Default::default(),
            source_matchers: parse_matchers(source).unwrap(),
            target_matchers: parse_matchers(target).unwrap(),
            equal: equal.iter().map(|label| (*label).into()).collect(),
        }
    }

    fn found(rules: &[InhibitRule]) -> usize {
        let mut policy = crate::config::Config::default().policy;
        policy.inhibit_rules = rules.to_vec();
        let mut found = Vec::new();
        rings(&policy, &mut found);
        found.len()
    }

    #[test]
    fn rules_that_mute_each_other_are_found() {
        let (critical, warning) = ("severity=\"critical\"", "severity=\"warning\"");
        for (a, b) in [
            (rule(critical, warning, &["alertname"]), rule(warning, critical, &["alertname"])),
            (rule(critical, warning, &["alertname"]), rule(warning, "severity=~\"critical|info\"", &[])),
            (rule("a=\"1\"", "b=\"1\"", &[]), rule("b=\"1\"", "a=\"1\"", &["cluster"])),
            (
                rule("alertname=\"Up\"", "alertname=\"Down\"", &[]),
                rule("alertname!=\"Up\"", "alertname=~\"Up|X\"", &[]),
            ),
            (rule(critical, "severity!=\"critical\"", &[]), rule("team=\"a\"", "severity=\"critical\"", &[])),
        ] {
            assert_eq!(found(&[a.clone(), b.clone()]), 1, "{a:?} {b:?}");
        }
        let three = [
            rule("x=\"a\"", "x=\"b\"", &[]),
            rule("x=\"b\"", "x=\"c\"", &["cluster"]),
            rule("x=\"c\"", "x=\"a\"", &[]),
        ];
        assert_eq!(found(&three), 1);
        assert_eq!(found(&three[..2]), 0);
    }

    #[test]
    fn many_rules_that_mute_each_other_are_one_problem() {
        let of = |count: usize| -> Vec<Problem> {
            let mut policy = crate::config::Config::default().policy;
            let rules = (0..count).map(|at| {
                rule(&format!("cause_{at}=\"true\""), &format!("cancel_if_cause_{at}=\"true\""), &[])
            });
            policy.inhibit_rules = rules.collect();
            let mut found = Vec::new();
            rings(&policy, &mut found);
            found
        };
        for (count, ends) in [
            (2, "or add equal labels"),
            (5, "or add equal labels. 9 other sets of rules can do so too"),
            (60, ". 1769 other sets of rules can do so too"),
        ] {
            let found = of(count);
            assert!(found.len() == 1 && found[0].message.ends_with(ends), "{found:?}");
        }
    }

    #[test]
    fn rules_that_cannot_mute_each_other_are_left_alone() {
        let (critical, warning, info) =
            ("severity=\"critical\"", "severity=\"warning\"", "severity=\"info\"");
        for (a, b) in [
            (rule(critical, warning, &[]), rule(warning, info, &[])),
            // The labels that must be equal cannot be.
            (rule(critical, warning, &["severity"]), rule(warning, critical, &["severity"])),
            // An alert that is source and target of one rule does not mute alerts of its kind.
            (
                rule("severity=~\".+\"", "severity=~\".+\"", &[]),
                rule("severity=~\".+\"", "severity=~\".+\"", &[]),
            ),
            (
                rule(critical, "severity=~\"warning|info\"", &["alertname"]),
                rule(warning, info, &["alertname"]),
            ),
        ] {
            assert_eq!(found(&[a.clone(), b.clone()]), 0, "{a:?} {b:?}");
        }
        // The defaults of kube-prometheus-stack: InfoInhibitor mutes others, and never notifies itself.
        let stack = [
            rule("severity=\"critical\"", "severity=~\"warning|info\"", &["namespace", "alertname"]),
            rule("severity=\"warning\"", "severity=\"info\"", &["namespace", "alertname"]),
            rule("alertname=\"InfoInhibitor\"", "severity=\"info\"", &["namespace"]),
            InhibitRule { source_matchers: Vec::new(), ..rule("a=b", "alertname=\"InfoInhibitor\"", &[]) },
        ];
        assert_eq!(found(&stack), 0);
        // Two alerts that each mute all others.
        let ignore = |name: &str, equal| rule(&format!("alertname=\"{name}\""), "instance=~\".+\"", &[equal]);
        assert_eq!(found(&[ignore("IgnoreMeBigTime", "instance"), ignore("MeAsWell", "edge_pop")]), 0);
        assert_eq!(found(&[rule(critical, "severity=~\"critical|warning\"", &[])]), 0);
    }
}
