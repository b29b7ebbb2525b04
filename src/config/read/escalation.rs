//! `escalate_to` of the levels of severity.

use std::collections::{BTreeMap, BTreeSet};

use super::noise::Escalations;
use super::trust::unknown;
use crate::config::{KnownBy, Receiver, Route, Severities};
use crate::model::{LabelSet, Matcher};
use crate::settings::section::{Problems, shown};

/// A level escalates to a receiver that has integrations and that no route notifies of the level already.
pub(super) fn check(
    severities: &Severities,
    escalations: &Escalations<'_>,
    routes: &[Route],
    receivers: &BTreeMap<smol_str::SmolStr, Receiver>,
    problems: &Problems,
) {
    for (level, to) in escalations {
        let name = shown(to.text);
        let Some(target) = receivers.get(to.text) else {
            problems.add(to.line, unknown(to.text, receivers));
            continue;
        };
        if target.integrations.is_empty() {
            let message =
                format!("escalate_to {name} has no integration. Name a receiver that reaches somebody");
            problems.add(to.line, message);
        }
        let mut notified = Vec::new();
        if !routes.is_empty() {
            taken(routes, 0, severities, *level, &mut notified);
        }
        for route in notified {
            let line = route.line;
            let level = &severities.levels[*level].name;
            if route.receiver == to.text {
                let message = format!(
                    "level {level} escalates to {name}, and the route on line {line} notifies {name} of {level} \
                     anyway. Name another receiver"
                );
                problems.add(to.line, message);
                break;
            }
            if receivers.get(&route.receiver).is_some_and(|own| is_same(own, target)) {
                let message = format!(
                    "level {level} escalates to {name}, which leads to the same services as {} of the route on \
                     line {line}. They would take the page as a repeat. Name a receiver with services of its own",
                    shown(&route.receiver)
                );
                problems.add(to.line, message);
                break;
            }
        }
    }
}

/// Whether all integrations of `target` know an incident by its key, and have it from `own` already.
fn is_same(own: &Receiver, target: &Receiver) -> bool {
    let known: BTreeSet<u64> = own.integrations.iter().map(|i| i.endpoint).collect();
    let same = |i: &crate::config::IntegrationRef| {
        i.known_by == KnownBy::DedupKey && i.endpoint != 0 && known.contains(&i.endpoint)
    };
    !target.integrations.is_empty() && target.integrations.iter().all(same)
}

/// The routes at which an alert of a level may end.
fn taken<'r>(
    routes: &'r [Route],
    at: usize,
    severities: &Severities,
    level: usize,
    found: &mut Vec<&'r Route>,
) {
    let Some(route) = routes.get(at) else { return };
    if !takes(&route.matchers, severities, level) {
        return;
    }
    let all = |child: &usize| routes.get(*child).is_some_and(|child| child.matchers.is_empty());
    if !route.children.iter().any(all) {
        found.push(route);
    }
    for child in &route.children {
        taken(routes, *child, severities, level, found);
    }
}

/// Whether these matchers let some alert of a level pass.
fn takes(matchers: &[Matcher], severities: &Severities, level: usize) -> bool {
    let asked: Vec<&Matcher> = matchers.iter().filter(|m| m.name() == severities.label).collect();
    let named = &severities.levels[level];
    let mut words = std::iter::once(&named.name).chain(&named.aliases);
    let fits = |word: &str| {
        let labels = LabelSet::from_pairs([(severities.label.as_str(), word)]);
        asked.iter().all(|m| m.matches(&labels))
    };
    words.any(|word| fits(word)) || level == severities.default && fits("")
}
