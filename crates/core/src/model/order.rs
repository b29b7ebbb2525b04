//! The order of the alerts of a message.

use std::cmp::Ordering;

use super::labels::LabelSet;

/// Alertmanager's order: by `job`, then by `instance`, then by all labels. A set with fewer labels comes
/// first.
///
/// Source: Alertmanager `types.AlertSlice.Less` and `model.LabelSet.Before` of Prometheus.
pub fn alertmanager_order(a: &LabelSet, b: &LabelSet) -> Ordering {
    let of = |name: &str| match (a.value(name), b.value(name)) {
        // A set without the label comes after all that have it.
        (a, b) if a.is_empty() || b.is_empty() => a.is_empty().cmp(&b.is_empty()),
        (a, b) => a.cmp(b),
    };
    of("job").then_with(|| of("instance")).then_with(|| a.len().cmp(&b.len())).then_with(|| {
        // Both are sorted by name. At the first name that only one of them has, the other comes first.
        let differing = a.iter().zip(b.iter()).find(|(a, b)| a != b);
        differing.map_or(Ordering::Equal, |((a, of_a), (b, of_b))| b.cmp(a).then_with(|| of_a.cmp(of_b)))
    })
}
