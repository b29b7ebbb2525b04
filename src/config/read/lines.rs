//! The lines of the policy, from the tree of the file.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::config::Lines;
use crate::settings::section::scalar;
use crate::settings::yaml::{Key, Node, Value};

/// The lines of `root`. The readers of each section report its errors.
pub(super) fn read(root: &Node) -> Lines {
    let noise = entries(child(root, "noise")).iter().map(|(name, profile)| {
        let mut lines = keys(Some(profile));
        lines.insert(SmolStr::default(), name.line);
        (SmolStr::new(&name.name), lines)
    });
    let intervals = ["mute_time_intervals", "time_intervals"];
    let intervals = intervals.iter().flat_map(|key| named(child(root, key)));
    Lines {
        noise: noise.collect(),
        time_intervals: intervals.collect(),
        inhibit_rules: items(child(root, "inhibit_rules")).iter().map(|rule| rule.line).collect(),
        severities: named(child(root, "severities").and_then(|s| child(s, "levels"))).collect(),
        global: keys(child(root, "global")),
    }
}

fn entries(node: Option<&Node>) -> &[(Key, Node)] {
    match node.map(|n| &n.value) {
        Some(Value::Map(entries)) => entries,
        _ => &[],
    }
}

fn items(node: Option<&Node>) -> &[Node] {
    match node.map(|n| &n.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

fn child<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    entries(Some(node)).iter().find(|(k, _)| k.name == key).map(|(_, node)| node)
}

fn keys(node: Option<&Node>) -> BTreeMap<SmolStr, u32> {
    entries(node).iter().map(|(key, _)| (SmolStr::new(&key.name), key.line)).collect()
}

/// The entries of a list, by their `name`.
fn named(node: Option<&Node>) -> impl Iterator<Item = (SmolStr, u32)> {
    items(node).iter().filter_map(|item| Some((SmolStr::new(scalar(child(item, "name")?)?.text), item.line)))
}
