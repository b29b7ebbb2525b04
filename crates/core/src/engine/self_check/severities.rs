//! Values of the severity label that no level names, and alerts without the label. They get the default
//! level, so a person must learn of a misspelt value or a rule without a severity.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::world::World;
use crate::model::{Duration, LabelSet, Timestamp};

/// So many values are remembered at most. The one that was seen longest ago goes first.
const VALUES: usize = 100;
/// So many characters of a value are remembered.
const CHARS: usize = 64;
/// The finding is kept for this long after the last alert.
const KEPT: Duration = Duration::from_hours(24);

/// The unknown values, each with the number of alerts that fired with it and the last time.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnknownSeverities(BTreeMap<SmolStr, (u64, Timestamp)>);

impl UnknownSeverities {
    /// An alert fires that has these labels. One without the label counts under the empty value.
    pub(crate) fn fired(&mut self, world: &World, labels: &LabelSet) {
        let severities = &world.policy.severities;
        let value = labels.value(&severities.label);
        if severities.known(value).is_some() {
            return;
        }
        let value: SmolStr = value.chars().take(CHARS).collect();
        if self.0.len() >= VALUES && !self.0.contains_key(&value) {
            let oldest = self.0.iter().min_by_key(|(_, (_, last))| *last).map(|(value, _)| value.clone());
            oldest.map(|value| self.0.remove(&value));
        }
        let (count, last) = self.0.entry(value).or_insert((0, world.now));
        *count = if world.now > *last + KEPT { 1 } else { count.saturating_add(1) };
        *last = world.now;
    }

    /// The values of the last 24 hours, each with the number of alerts. A value that the policy names by now
    /// is none of them.
    pub(crate) fn found(&self, world: &World) -> BTreeMap<SmolStr, u64> {
        let recent = self.0.iter().filter(|(_, (_, last))| world.now <= *last + KEPT);
        let unknown = recent.filter(|(value, _)| world.policy.severities.known(value).is_none());
        unknown.map(|(value, (count, _))| (value.clone(), *count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{labels, policy};
    use crate::policy::Noise;

    #[test]
    fn values_that_no_level_names_are_counted_for_a_day() {
        let mut world = World::new(policy(&["alertname"], Noise::default()));
        let mut found = UnknownSeverities::default();
        for severity in ["warn", "warn", "Critical", "P1", "", "none"] {
            found.fired(&world, &labels(&[("alertname", "A"), ("severity", severity)]));
        }
        found.fired(&world, &labels(&[("alertname", "B")]));
        assert_eq!(found.found(&world), BTreeMap::from([("".into(), 2), ("warn".into(), 2)]));
        world.now = world.now + KEPT;
        assert_eq!(found.found(&world).len(), 2);
        world.now = world.now + Duration::from_secs(1);
        assert!(found.found(&world).is_empty());
        world.policy.severities.levels[1].aliases.push("WARN".into());
        found.fired(&world, &labels(&[("severity", "warn")]));
        assert!(found.found(&world).is_empty(), "the policy names it now");
    }

    #[test]
    fn a_value_that_comes_again_after_more_than_a_day_is_counted_anew() {
        let mut world = World::new(policy(&["alertname"], Noise::default()));
        let mut found = UnknownSeverities::default();
        for (later, count) in [(Duration::ZERO, 1), (KEPT, 2), (Duration::from_hours(48), 1)] {
            world.now = world.now + later;
            found.fired(&world, &labels(&[("severity", "warn")]));
            assert_eq!(found.found(&world), BTreeMap::from([("warn".into(), count)]));
        }
    }

    #[test]
    fn the_value_that_was_seen_longest_ago_gives_way() {
        let mut world = World::new(policy(&["alertname"], Noise::default()));
        let mut found = UnknownSeverities::default();
        for n in 0..=VALUES {
            world.now = Timestamp::from_millis(n as i64);
            found.fired(&world, &labels(&[("severity", &format!("s{n}"))]));
        }
        let found = found.found(&world);
        assert_eq!((found.len(), found.contains_key("s0")), (VALUES, false));
        world.policy.severities.default = 2;
        assert_eq!(world.policy.severities.level_of(&labels(&[("severity", "s1")])), 2);
        assert_eq!(world.policy.severities.level_of(&labels(&[])), 2);
    }
}
