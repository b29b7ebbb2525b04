//! `inhibit_rules`, in today's form and in the deprecated one.

use smol_str::SmolStr;

use super::routes::matchers;
use crate::config::InhibitRule;
use crate::settings::section::{Problems, Section};
use crate::settings::yaml::Node;

/// The rules, in their order.
pub(super) fn read(nodes: &[Node], problems: &Problems) -> Vec<InhibitRule> {
    let sections = nodes.iter().filter_map(|node| Section::new(node, "inhibit rule", problems));
    sections.map(rule).collect()
}

fn rule(mut keys: Section<'_>) -> InhibitRule {
    let name = keys.text("name").map(|name| name.text.into()).unwrap_or_default();
    let source_matchers = matchers(&mut keys, ["source_match", "source_match_re", "source_matchers"]);
    let target_matchers = matchers(&mut keys, ["target_match", "target_match_re", "target_matchers"]);
    let mut equal: Vec<SmolStr> = Vec::new();
    for label in keys.texts("equal").unwrap_or_default() {
        if label.text.is_empty() {
            keys.problems.add(label.line, "equal holds an empty name. Write the name of a label");
        } else if !equal.iter().any(|known| known == label.text) {
            equal.push(label.text.into());
        }
    }
    keys.finish();
    InhibitRule { name, source_matchers, target_matchers, equal }
}
