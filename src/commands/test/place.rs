//! Where a test of the file is read: its start, the policies that it names, and the mistakes found so far.

use std::collections::BTreeSet;

use smol_str::SmolStr;

use crate::config::Policy;
use crate::model::{Duration, Timestamp};
use crate::settings::section::{Problems, Section, nearest, shown};
use crate::settings::yaml::Node;

/// Where in the file a test is being read, and the names that it may use.
pub(super) struct SpecPlace<'a> {
    pub(super) problems: &'a Problems,
    pub(super) start: Timestamp,
    /// Each policy that comes into force in the test. Without any, every name may be right.
    pub(super) policies: Vec<&'a Policy>,
}

impl SpecPlace<'_> {
    /// The moment `at`, which must be there.
    pub(super) fn at(&self, keys: &mut Section<'_>) -> Option<Timestamp> {
        if keys.node("at").is_none() {
            self.problems.add(keys.line, "at is missing. Write how long after the start, such as 5m");
        }
        keys.duration("at").map(|at| self.start + at)
    }

    /// A moment that may lie before the start: `-5m`.
    pub(super) fn moment(&self, keys: &mut Section<'_>, key: &'static str) -> Option<Timestamp> {
        const RIGHT: &str = "how long after the start, such as 5m, or before it, such as -5m";
        keys.parsed(key, RIGHT, |text| match text.strip_prefix('-') {
            Some(before) => Some(self.start - before.trim().parse::<Duration>().ok()?),
            None => Some(self.start + text.parse::<Duration>().ok()?),
        })
    }

    /// A receiver's name, if a configuration of the test has it.
    pub(super) fn receiver(&self, line: u32, name: &str) -> Option<SmolStr> {
        let names: BTreeSet<&str> =
            self.policies.iter().flat_map(|p| p.receivers.keys().map(SmolStr::as_str)).collect();
        if self.policies.is_empty() || names.contains(name) {
            return Some(name.into());
        }
        let hint = match nearest(name, names.iter().copied()) {
            Some(near) => format!("Did you mean {near}?"),
            None => format!("There are {}", names.into_iter().collect::<Vec<_>>().join(", ")),
        };
        self.problems.add(line, format!("the configuration has no receiver {}. {hint}", shown(name)));
        None
    }

    /// The receiver that `receiver` names.
    pub(super) fn named_receiver(&self, keys: &mut Section<'_>) -> Option<SmolStr> {
        let name = keys.text("receiver")?;
        self.receiver(name.line, name.text)
    }

    /// The list under `key`, each of its items a mapping called `what`.
    pub(super) fn sections<'n>(
        &'n self,
        nodes: Option<&'n [Node]>,
        what: &'static str,
    ) -> impl Iterator<Item = Section<'n>> {
        nodes.unwrap_or_default().iter().filter_map(move |node| Section::new(node, what, self.problems))
    }
}
