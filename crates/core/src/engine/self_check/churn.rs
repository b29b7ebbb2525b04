//! Labels whose value changes at each evaluation, such as a measured value. Each change ends one alert and
//! starts another one, so nothing that knows an alert again can help.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::alerts::Change;
use crate::engine::world::World;
use crate::model::{AlertId, Duration, LabelSet, Observation, Timestamp};

/// So many series are watched at most. The one that changed longest ago goes first.
const SERIES: usize = 1_000;

/// So many alerts of one request that ended, and as many that started, are compared with each other.
const COMPARED: usize = 50;

/// A label that changed in so many requests changes all the time. A rollout changes `pod` once or twice.
const OFTEN: u32 = 5;

/// Changes that lie further apart are no row.
const APART: Duration = Duration::from_hours(1);

/// The finding is kept for this long after the last change.
const KEPT: Duration = Duration::from_hours(24);

/// The changed series, by the labels that stay and the label that changes.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Churn {
    #[serde(with = "crate::engine::pairs")]
    series: BTreeMap<(AlertId, SmolStr), Changing>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Changing {
    alertname: SmolStr,
    /// In how many requests in a row.
    times: u32,
    /// The most of it.
    most: u32,
    last: Timestamp,
}

impl Churn {
    /// One alert ended and another one started that differs in the value of `label` alone.
    fn changed(&mut self, now: Timestamp, rest: AlertId, label: &str, alertname: &str) {
        let key = (rest, SmolStr::from(label));
        if self.series.len() >= SERIES && !self.series.contains_key(&key) {
            let oldest = self.series.iter().min_by_key(|(_, one)| one.last).map(|(key, _)| key.clone());
            oldest.map(|key| self.series.remove(&key));
        }
        let one = self.series.entry(key).or_insert(Changing {
            alertname: alertname.into(),
            times: 0,
            most: 0,
            last: now,
        });
        one.times = if now > one.last + APART { 1 } else { one.times.saturating_add(1) };
        one.most = if now > one.last + KEPT { one.times } else { one.most.max(one.times) };
        one.last = now;
    }

    /// The rules and labels that change all the time, and how often in a row.
    fn found(&self, now: Timestamp) -> impl Iterator<Item = (&SmolStr, &SmolStr, u32)> {
        let often = self.series.iter().filter(move |(_, one)| one.most >= OFTEN && now <= one.last + KEPT);
        often.map(|((_, label), one)| (&one.alertname, label, one.most))
    }
}

/// The one label that differs, if the two have the same names and no other value differs, except for
/// ignored ones.
fn differs<'a>(before: &LabelSet, after: &'a LabelSet, ignored: impl Fn(&str) -> bool) -> Option<&'a str> {
    if before.iter().len() != after.iter().len() {
        return None;
    }
    let mut found = None;
    for ((name, value), (new_name, new_value)) in before.iter().zip(after.iter()) {
        if name != new_name {
            return None;
        }
        if value != new_value && !ignored(name) && found.replace(new_name).is_some() {
            return None;
        }
    }
    found
}

impl Churn {
    /// Watches the alerts that a request ended and started, for a label whose value alone made another
    /// alert of the same rule.
    pub(crate) fn watch_labels(
        &mut self,
        world: &World,
        heard: &[(AlertId, Change, &Observation, Ordering)],
    ) {
        let of =
            |change| heard.iter().filter(move |(_, c, ..)| *c == change).map(|(_, _, said, _)| &said.labels);
        let mut ended: Vec<&LabelSet> = of(Change::Resolved).take(COMPARED).collect();
        if ended.is_empty() {
            return;
        }
        let ignored = |name: &str| world.policy.ignore_labels.iter().any(|ignored| ignored == name);
        let mut changed = BTreeSet::new();
        for started in of(Change::Fired).take(COMPARED) {
            let alertname = started.value("alertname");
            let pair = ended.iter().enumerate().find_map(|(at, before)| {
                let label = differs(before, started, ignored)?;
                (label != "alertname" && label != world.policy.severities.label).then_some((at, label))
            });
            let Some((at, label)) = pair else { continue };
            ended.swap_remove(at);
            let rest = AlertId::of(started, |name| name == label || ignored(name));
            // Once for each request, however many alerts a rollout replaces.
            changed.insert((rest, label, alertname));
        }
        for (rest, label, alertname) in changed {
            self.changed(world.now, rest, label, alertname);
        }
    }

    /// Rules with a label whose value changes all the time, and how often it changed in a row. Those that
    /// `ignore_labels` leaves out make no other alert any more.
    pub(crate) fn changing_labels(&self, world: &World) -> BTreeMap<(SmolStr, SmolStr), u64> {
        let mut found = BTreeMap::new();
        for (rule, label, times) in self.found(world.now) {
            if !world.policy.ignore_labels.contains(label) {
                let most: &mut u64 = found.entry((rule.clone(), label.clone())).or_default();
                *most = (*most).max(times.into());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::labels;

    #[test]
    fn labels_differ_in_one_value_or_are_not_compared() {
        let before = labels(&[("alertname", "Disk"), ("replica", "a"), ("value", "80")]);
        let replica = |name: &str| name == "replica";
        for (after, found) in [
            (labels(&[("alertname", "Disk"), ("replica", "a"), ("value", "81")]), Some("value")),
            (labels(&[("alertname", "Disk"), ("replica", "b"), ("value", "81")]), Some("value")),
            (labels(&[("alertname", "Disk"), ("replica", "b"), ("value", "80")]), None),
            (labels(&[("alertname", "Cpu"), ("replica", "a"), ("value", "81")]), None),
            (labels(&[("alertname", "Disk"), ("value", "81")]), None),
            (labels(&[("alertname", "Disk"), ("host", "a"), ("value", "81")]), None),
        ] {
            assert_eq!(differs(&before, &after, replica), found, "{after}");
        }
    }

    #[test]
    fn series_that_changed_longest_ago_give_way() {
        let mut churn = Churn::default();
        for n in 0..SERIES as u32 + 10 {
            churn.changed(Timestamp::from_millis(n.into()), AlertId(n.into()), "value", "Disk");
        }
        assert_eq!(churn.series.len(), SERIES);
        assert!(!churn.series.contains_key(&(AlertId(0), "value".into())));
    }

    #[test]
    fn changes_in_a_row_are_found_until_a_day_after_the_last_one() {
        let (mut churn, mut now) = (Churn::default(), Timestamp::from_millis(0));
        let mut change = |now| {
            churn.changed(now, AlertId(1), "value", "Disk");
            churn.found(now).map(|(.., times)| times).next()
        };
        for _ in 1..OFTEN {
            assert_eq!(change(now), None);
            now = now + APART;
        }
        assert_eq!(change(now), Some(OFTEN));
        now = now + KEPT;
        assert_eq!(change(now), Some(OFTEN), "a day later the most of it counts still");
        now = now + KEPT + Duration::from_millis(1);
        assert_eq!(change(now), None);
    }
}
