//! What would have paged without Squelch, by two rules.
//!
//! *Every firing*: an alert that starts to fire pages, once for each route that it takes.
//!
//! *Alertmanager*: with the `group_by` of each route, `group_wait` 30 s and `group_interval` 5 m, its
//! defaults. A group's first alert starts `group_wait` (which is over at once if the alert started
//! longer ago); then the group is looked at every `group_interval`. If something in it fires and it
//! is not open at the pager, it pages: one incident a firing episode of the group. If nothing fires
//! any more, it is closed and forgotten. What resolves before it is looked at is never told. Repeats,
//! inhibition, silences and a pair's peers are not in the model: none of them opens an incident.

use std::collections::{BTreeSet, HashMap};

use smol_str::SmolStr;

use crate::config::Policy;
use crate::model::{Batch, Duration, LabelSet, Observation, Status, Timestamp};

/// Alertmanager's default `group_wait`.
pub const GROUP_WAIT: Duration = Duration::from_secs(30);

/// Alertmanager's default `group_interval`.
pub const GROUP_INTERVAL: Duration = Duration::from_mins(5);

/// A page that came, or would have come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paged {
    pub(super) at: Timestamp,
    /// Of the alert that made it.
    pub(super) alertname: SmolStr,
    /// Start of the alert that made it.
    pub(super) started: Timestamp,
}

/// The model of both rules. Deterministic; holds what fires, and no more.
#[derive(Debug)]
pub struct Alertmanager {
    policy: Policy,
    /// What fires: since when, and the groups it is in.
    firing: HashMap<LabelSet, Firing>,
    groups: HashMap<GroupKey, Group>,
    due: BTreeSet<(Timestamp, GroupKey)>,
    firings: Vec<Paged>,
    pages: Vec<Paged>,
}

/// Index of a route, and the labels that its `group_by` names.
type GroupKey = (usize, LabelSet);

#[derive(Debug)]
struct Firing {
    starts_at: Timestamp,
    routes: Vec<usize>,
}

#[derive(Debug)]
struct Group {
    firing: usize,
    open: bool,
    /// The alert that comes first in the next page.
    first: Option<(SmolStr, Timestamp)>,
}

impl Alertmanager {
    /// A model with the routes of `policy`. Routes to receivers without an integration page nobody.
    pub fn new(policy: &Policy) -> Self {
        Alertmanager {
            policy: policy.clone(),
            firing: HashMap::new(),
            groups: HashMap::new(),
            due: BTreeSet::new(),
            firings: Vec::new(),
            pages: Vec::new(),
        }
    }

    /// Takes in what was said at `at`, after all that was due before.
    pub(super) fn observe(&mut self, at: Timestamp, batch: &Batch) {
        self.pass(at);
        for observation in &batch.observations {
            match observation.status {
                Status::Firing => self.fire(at, observation),
                Status::Resolved => self.resolve(&observation.labels),
            }
        }
    }

    /// Looks at every group that is due by `until`.
    pub(super) fn pass(&mut self, until: Timestamp) {
        while self.due.first().is_some_and(|(at, _)| *at <= until) {
            let Some((at, key)) = self.due.pop_first() else { return };
            self.look(at, key);
        }
    }

    /// Takes out the firings that paged one by one since the last call.
    pub(super) fn take_firings(&mut self) -> Vec<Paged> {
        std::mem::take(&mut self.firings)
    }

    /// Takes out the pages since the last call.
    pub(super) fn take_pages(&mut self) -> Vec<Paged> {
        std::mem::take(&mut self.pages)
    }

    fn fire(&mut self, at: Timestamp, observation: &Observation) {
        let labels = &observation.labels;
        let known = self.firing.get_mut(labels);
        let anew = known.as_ref().is_none_or(|f| observation.starts_at > f.starts_at);
        if let Some(known) = known {
            if anew {
                known.starts_at = observation.starts_at;
                for _ in &known.routes {
                    self.firings.push(paged(at, observation));
                }
            }
            return;
        }
        let pages = |route: &usize| {
            let receiver = self.policy.receivers.get(&self.policy.routes[*route].receiver);
            receiver.is_some_and(|r| !r.integrations.is_empty())
        };
        let routes: Vec<usize> = self.policy.matching_routes(labels).into_iter().filter(pages).collect();
        for route in &routes {
            self.firings.push(paged(at, observation));
            let key = (*route, self.policy.routes[*route].group_by.labels_of(labels));
            let due = (observation.starts_at + GROUP_WAIT).max(at);
            let new = || {
                self.due.insert((due, key.clone()));
                Group { firing: 0, open: false, first: None }
            };
            let group = self.groups.entry(key.clone()).or_insert_with(new);
            group.firing += 1;
            if !group.open && group.first.is_none() {
                group.first = Some((labels.value("alertname").into(), observation.starts_at));
            }
        }
        self.firing.insert(labels.clone(), Firing { starts_at: observation.starts_at, routes });
    }

    fn resolve(&mut self, labels: &LabelSet) {
        let Some(known) = self.firing.remove(labels) else { return };
        for route in known.routes {
            let key = (route, self.policy.routes[route].group_by.labels_of(labels));
            if let Some(group) = self.groups.get_mut(&key) {
                group.firing -= 1;
                if group.firing == 0 {
                    group.first = None;
                }
            }
        }
    }

    fn look(&mut self, at: Timestamp, key: GroupKey) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        if group.firing == 0 {
            self.groups.remove(&key);
            return;
        }
        if let Some((alertname, started)) = group.first.take()
            && !group.open
        {
            group.open = true;
            self.pages.push(Paged { at, alertname, started });
        }
        self.due.insert((at + GROUP_INTERVAL, key));
    }
}

fn paged(at: Timestamp, observation: &Observation) -> Paged {
    let alertname = observation.labels.value("alertname").into();
    Paged { at, alertname, started: observation.starts_at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, GroupBy};
    use crate::model::Source;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(s * 1000)
    }

    fn say(model: &mut Alertmanager, s: i64, status: Status, instance: &str, started: i64) {
        let labels = LabelSet::from_pairs([("alertname", "A"), ("cluster", "c"), ("instance", instance)]);
        let observation = Observation {
            status,
            labels,
            annotations: LabelSet::default(),
            starts_at: at(started),
            start_unknown: false,
            ends_at: None,
            generator_url: Default::default(),
        };
        let batch = Batch {
            source: Source::Alertmanager,
            peer: "p".into(),
            observations: vec![observation],
            upstream: None,
        };
        model.observe(at(s), &batch);
    }

    #[test]
    fn one_page_for_each_firing_episode_of_a_group() {
        let mut policy = Config::default().policy;
        policy.routes[0].group_by = GroupBy::Labels(vec!["cluster".into()]);
        let mut model = Alertmanager::new(&policy);
        let (firing, resolved) = (Status::Firing, Status::Resolved);
        say(&mut model, 0, firing, "a", 0);
        say(&mut model, 10, firing, "b", 10);
        say(&mut model, 10, firing, "b", 10);
        say(&mut model, 60, resolved, "a", 0);
        say(&mut model, 100, firing, "a", 100);
        // All resolve and one fires again before the group is looked at: it stays open.
        say(&mut model, 320, resolved, "a", 100);
        say(&mut model, 320, resolved, "b", 10);
        say(&mut model, 325, firing, "b", 325);
        say(&mut model, 400, resolved, "b", 325);
        // Forgotten at 630 s; the next episode waits group_wait, or less if it started long ago.
        say(&mut model, 700, firing, "a", 690);
        say(&mut model, 701, resolved, "a", 690);
        say(&mut model, 2000, firing, "a", 1000);
        model.pass(at(9000));
        let times = |pages: Vec<Paged>| pages.iter().map(|p| p.at.as_millis() / 1000).collect::<Vec<_>>();
        assert_eq!(times(model.take_firings()), [0, 10, 100, 325, 700, 2000]);
        assert_eq!(times(model.take_pages()), [30, 2000]);
    }
}
