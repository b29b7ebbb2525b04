//! The pages that would have left without Squelch, by two rules.
//!
//! *Every firing*: an alert that starts to fire pages, once for each route that it takes.
//!
//! *Alertmanager*: the same file in an Alertmanager, with its `group_by`, its times, inhibit rules and time
//! intervals. A group's first alert starts `group_wait`, which is over at once if the alert started longer
//! ago. Then Alertmanager looks at the group every `group_interval`, and notifies if something new fires in
//! it. The first such notification is a page: it opens an incident at the pager, under the key of the group.
//! The notifications after it are updates of that incident, until all has resolved. Alertmanager never tells
//! of an alert that resolves before it looks. Silences are not in the model, because a history has none.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use smol_str::SmolStr;

use super::inhibited::Inhibition;
use super::outcomes::{Firing, MOST, Told, key};
use super::report::{Paged, Sent};
use crate::config::{GroupTimes, Policy};
use crate::model::{AlertId, Batch, LabelSet, Observation, Status, Timestamp};

/// The model of both rules. It is deterministic. It holds the firing alerts, and one `Firing` for each
/// occurrence.
#[derive(Debug)]
pub struct Alertmanager {
    policy: Policy,
    times: Vec<GroupTimes>,
    inhibition: Inhibition,
    /// The firing alerts, by full label set.
    known: HashMap<LabelSet, Known>,
    /// The same by route and identity: how many full label sets, and which firing.
    open: HashMap<(usize, AlertId), (usize, u32)>,
    groups: HashMap<GroupKey, Group>,
    due: BTreeSet<(Timestamp, GroupKey)>,
    pub(super) firings: Vec<Firing>,
    /// Firings beyond [`MOST`] are not kept.
    pub(super) truncated: bool,
    single: Vec<Paged>,
    pages: Vec<Paged>,
    pub(super) sent: Sent,
    /// How many alerts began to fire.
    count: u64,
}

/// Index of a route, and the labels that its `group_by` names.
type GroupKey = (usize, LabelSet);

/// An alert that fires.
#[derive(Debug)]
struct Known {
    /// Its place in the order of arrival.
    number: u64,
    starts_at: Timestamp,
    /// Each route that it takes, and its firing there. `None` beyond [`MOST`].
    routes: Vec<(usize, Option<u32>)>,
}

#[derive(Debug)]
struct Group {
    /// Alertmanager looks at it next at this time.
    due: Timestamp,
    looked: bool,
    /// How many alerts fire in it.
    firing: usize,
    /// How many of them the open incident includes.
    told: usize,
    /// Those that it does not include, in the order of arrival.
    new: BTreeMap<u64, New>,
    /// Those that it includes, and that have resolved since Alertmanager last looked.
    resolved: HashSet<LabelSet>,
    incident: Option<Incident>,
}

/// An alert of which no receiver was notified.
#[derive(Debug)]
struct New {
    labels: LabelSet,
    starts_at: Timestamp,
    firing: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Incident {
    opened: Timestamp,
    notified: Timestamp,
}

impl Alertmanager {
    /// A model with the routes of `policy` and the times of each. Routes to receivers without an
    /// integration page no person.
    pub fn new(policy: &Policy, times: &[GroupTimes]) -> Self {
        let mut times = times.to_vec();
        times.resize(policy.routes.len(), GroupTimes::default());
        Alertmanager {
            times,
            inhibition: Inhibition::new(&policy.inhibit_rules),
            policy: policy.clone(),
            known: HashMap::new(),
            open: HashMap::new(),
            groups: HashMap::new(),
            due: BTreeSet::new(),
            firings: Vec::new(),
            truncated: false,
            single: Vec::new(),
            pages: Vec::new(),
            sent: Sent::default(),
            count: 0,
        }
    }

    /// Takes in the statements of `at`, after everything that was due before.
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

    /// Takes out the firings that page one by one since the last call.
    pub(super) fn take_single(&mut self) -> Vec<Paged> {
        std::mem::take(&mut self.single)
    }

    /// Takes out the pages since the last call.
    pub(super) fn take_pages(&mut self) -> Vec<Paged> {
        std::mem::take(&mut self.pages)
    }

    fn fire(&mut self, at: Timestamp, observation: &Observation) {
        let labels = &observation.labels;
        match self.known.get(labels) {
            None => self.begin(at, observation),
            Some(known) if observation.starts_at > known.starts_at => self.restart(at, observation),
            Some(_) => {}
        }
    }

    fn begin(&mut self, at: Timestamp, observation: &Observation) {
        let labels = &observation.labels;
        let pages = |route: &usize| {
            let receiver = self.policy.receivers.get(&self.policy.routes[*route].receiver);
            receiver.is_some_and(|r| !r.integrations.is_empty())
        };
        let taken: Vec<usize> = self.policy.matching_routes(labels).into_iter().filter(pages).collect();
        let identity = self.policy.identity(labels);
        self.inhibition.begin(labels);
        self.count += 1;
        let number = self.count;
        let mut routes = Vec::with_capacity(taken.len());
        for route in taken {
            let firing = match self.open.get_mut(&(route, identity)) {
                Some((copies, firing)) => {
                    *copies += 1;
                    Some(*firing)
                }
                None => {
                    let firing = self.firing(at, route, identity, observation);
                    self.open.extend(firing.map(|firing| ((route, identity), (1, firing))));
                    firing
                }
            };
            self.join(at, route, number, firing, observation);
            routes.push((route, firing));
        }
        self.known.insert(labels.clone(), Known { number, starts_at: observation.starts_at, routes });
    }

    /// The alert goes into its group on `route`.
    fn join(
        &mut self,
        at: Timestamp,
        route: usize,
        number: u64,
        firing: Option<u32>,
        observation: &Observation,
    ) {
        let labels = &observation.labels;
        let key = (route, self.policy.routes[route].group_by.labels_of(labels));
        let due = (observation.starts_at + self.times[route].wait).max(at);
        let group = self.groups.entry(key.clone()).or_insert_with(|| {
            self.due.insert((due, key.clone()));
            Group {
                due,
                looked: false,
                firing: 0,
                told: 0,
                new: BTreeMap::new(),
                resolved: HashSet::new(),
                incident: None,
            }
        });
        if !group.looked && due == at && group.due > at {
            self.due.remove(&(group.due, key.clone()));
            self.due.insert((at, key));
            group.due = at;
        }
        group.firing += 1;
        if group.resolved.remove(labels) {
            // Alertmanager compares the firing alerts when it looks: nothing has changed.
            group.told += 1;
            self.tell(firing, Told::Open(at));
        } else {
            group
                .new
                .insert(number, New { labels: labels.clone(), starts_at: observation.starts_at, firing });
        }
    }

    /// The alert fires anew without a resolve in between. To Alertmanager it is the same alert.
    fn restart(&mut self, at: Timestamp, observation: &Observation) {
        let labels = &observation.labels;
        let identity = self.policy.identity(labels);
        let Some(mut known) = self.known.remove(labels) else { return };
        known.starts_at = observation.starts_at;
        for (route, firing) in &mut known.routes {
            *firing = self.firing(at, *route, identity, observation);
            if let (Some((_, open)), Some(firing)) = (self.open.get_mut(&(*route, identity)), *firing) {
                *open = firing;
            }
            let key = (*route, self.policy.routes[*route].group_by.labels_of(labels));
            let new = self.groups.get_mut(&key).and_then(|group| group.new.get_mut(&known.number));
            match new {
                Some(new) => (new.starts_at, new.firing) = (observation.starts_at, *firing),
                None => self.tell(*firing, Told::Open(at)),
            }
        }
        self.known.insert(labels.clone(), known);
    }

    /// Notes a firing on a route, with the page that it would be by itself.
    fn firing(
        &mut self,
        at: Timestamp,
        route: usize,
        identity: AlertId,
        observation: &Observation,
    ) -> Option<u32> {
        let level = self.policy.severities.level_of(&observation.labels);
        self.single.push(Paged {
            at,
            alertname: observation.labels.value("alertname").into(),
            level,
            started: observation.starts_at,
        });
        if self.firings.len() >= MOST {
            self.truncated = true;
            return None;
        }
        self.firings.push(Firing {
            key: key(&self.policy.routes[route].receiver, identity),
            level: level as u8,
            starts_at: observation.starts_at.min(at),
            told: Told::Not,
        });
        u32::try_from(self.firings.len() - 1).ok()
    }

    fn tell(&mut self, firing: Option<u32>, told: Told) {
        if let Some(firing) = firing.and_then(|index| self.firings.get_mut(index as usize))
            && firing.told == Told::Not
        {
            firing.told = told;
        }
    }

    fn resolve(&mut self, labels: &LabelSet) {
        let Some(known) = self.known.remove(labels) else { return };
        self.inhibition.end(labels);
        let identity = self.policy.identity(labels);
        for (route, _) in known.routes {
            if let Some((copies, _)) = self.open.get_mut(&(route, identity)) {
                *copies -= 1;
                if *copies == 0 {
                    self.open.remove(&(route, identity));
                }
            }
            let key = (route, self.policy.routes[route].group_by.labels_of(labels));
            if let Some(group) = self.groups.get_mut(&key) {
                group.firing -= 1;
                if group.new.remove(&known.number).is_none() {
                    group.told -= 1;
                    group.resolved.insert(labels.clone());
                }
            }
        }
    }

    /// Alertmanager looks at a group, and notifies of new alerts.
    fn look(&mut self, at: Timestamp, key: GroupKey) {
        let Some(mut group) = self.groups.remove(&key) else { return };
        let times = self.times[key.0];
        if !self.muted(key.0, at) {
            self.notify(at, &mut group, times);
        }
        if group.firing == 0 {
            return;
        }
        group.looked = true;
        group.due = at + times.interval;
        self.due.insert((group.due, key.clone()));
        self.groups.insert(key, group);
    }

    fn notify(&mut self, at: Timestamp, group: &mut Group, times: GroupTimes) {
        let told: Vec<u64> = {
            let heard = group.new.iter().filter(|(_, new)| !self.inhibition.mutes(&new.labels));
            heard.map(|(number, _)| *number).collect()
        };
        let changed = !group.resolved.is_empty();
        group.resolved.clear();
        let incident = match group.incident {
            Some(mut incident) => {
                if group.told + told.len() == 0 {
                    self.sent.resolves += 1;
                    group.incident = None;
                    return;
                }
                if changed || !told.is_empty() {
                    self.sent.updates += 1;
                    incident.notified = at;
                } else if at.since(incident.notified) >= times.repeat {
                    self.sent.repeats += 1;
                    incident.notified = at;
                }
                incident
            }
            None => {
                let Some(first) = told.first().and_then(|number| group.new.get(number)) else { return };
                self.pages.push(Paged {
                    at,
                    alertname: first.labels.value("alertname").into(),
                    level: self.policy.severities.level_of(&first.labels),
                    started: first.starts_at,
                });
                Incident { opened: at, notified: at }
            }
        };
        group.incident = Some(incident);
        for number in told {
            if let Some(new) = group.new.remove(&number) {
                group.told += 1;
                self.tell(new.firing, Told::At { at, opened: incident.opened });
            }
        }
    }

    /// Whether a time interval mutes the route.
    fn muted(&self, route: usize, at: Timestamp) -> bool {
        let windows = &self.policy.routes[route].windows;
        let within = |name: &SmolStr| {
            self.policy.time_intervals.get(name).is_some_and(|all| all.iter().any(|one| one.contains(at)))
        };
        windows.mute.iter().any(within) || !(windows.active.is_empty() || windows.active.iter().any(within))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, GroupBy};
    use crate::model::Source;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(s * 1000)
    }

    fn model(change: impl FnOnce(&mut Policy)) -> Alertmanager {
        let mut policy = Config::default().policy;
        policy.routes[0].group_by = GroupBy::Labels(vec!["cluster".into()]);
        change(&mut policy);
        Alertmanager::new(&policy, &[GroupTimes::default()])
    }

    fn say(model: &mut Alertmanager, s: i64, status: Status, instance: &str, started: i64) {
        let labels = LabelSet::from_pairs([("alertname", "A"), ("cluster", "c"), ("instance", instance)]);
        let observation = Observation::new(status, labels, at(started), None);
        let batch = Batch::new(Source::Alertmanager, "p", vec![observation]);
        model.observe(at(s), &batch);
    }

    fn times(pages: Vec<Paged>) -> Vec<i64> {
        pages.iter().map(|p| p.at.as_millis() / 1000).collect()
    }

    #[test]
    fn one_page_for_each_firing_episode_of_a_group() {
        let mut model = model(|_| {});
        let (firing, resolved) = (Status::Firing, Status::Resolved);
        say(&mut model, 0, firing, "a", 0);
        say(&mut model, 10, firing, "b", 10);
        say(&mut model, 10, firing, "b", 10);
        say(&mut model, 60, resolved, "a", 0);
        say(&mut model, 100, firing, "a", 100);
        // All resolve and one fires again before Alertmanager looks: the incident stays open.
        say(&mut model, 320, resolved, "a", 100);
        say(&mut model, 320, resolved, "b", 10);
        say(&mut model, 325, firing, "b", 325);
        say(&mut model, 400, resolved, "b", 325);
        // Forgotten at 630 s. The next episode waits group_wait, or less if it started long ago.
        say(&mut model, 700, firing, "a", 690);
        say(&mut model, 701, resolved, "a", 690);
        say(&mut model, 2000, firing, "a", 1000);
        model.pass(at(9000));
        assert_eq!(times(model.take_single()), [0, 10, 100, 325, 700, 2000]);
        assert_eq!(times(model.take_pages()), [30, 2000]);
    }

    #[test]
    fn what_joins_an_incident_is_told_when_alertmanager_looks_next() {
        let mut model = model(|_| {});
        say(&mut model, 0, Status::Firing, "a", 0);
        say(&mut model, 40, Status::Firing, "b", 40);
        say(&mut model, 1200, Status::Firing, "c", 1200);
        say(&mut model, 1201, Status::Resolved, "c", 1200);
        say(&mut model, 1300, Status::Firing, "d", 1300);
        model.pass(at(16 * 3600));
        let told: Vec<Told> = model.firings.iter().map(|firing| firing.told).collect();
        let opened = at(30);
        assert_eq!(
            told,
            [
                Told::At { at: at(30), opened },
                Told::At { at: at(330), opened },
                Told::Not,
                Told::At { at: at(1530), opened },
            ]
        );
        // The repeats come four hours after the last update, and after each other.
        assert_eq!(model.sent, Sent { updates: 2, repeats: 3, resolves: 0 });
    }

    #[test]
    fn time_intervals_and_inhibit_rules_hold_pages_back() {
        let mut hidden = model(|policy| {
            policy.time_intervals.insert("always".into(), vec![Default::default()]);
            policy.routes[0].windows.mute = vec!["always".into()];
        });
        say(&mut hidden, 0, Status::Firing, "a", 0);
        hidden.pass(at(9000));
        assert_eq!(times(hidden.take_pages()), [0; 0]);

        let mut inhibited = model(|policy| {
            let matcher = |text| crate::model::parse_matchers(text).unwrap();
            policy.inhibit_rules.push(crate::config::InhibitRule {
                name: Default::default(),
                source_matchers: matcher("instance=a"),
                target_matchers: matcher("instance=b"),
                equal: vec!["cluster".into()],
            });
            policy.routes[0].group_by = GroupBy::All;
        });
        say(&mut inhibited, 0, Status::Firing, "a", 0);
        say(&mut inhibited, 0, Status::Firing, "b", 0);
        say(&mut inhibited, 100, Status::Resolved, "a", 0);
        inhibited.pass(at(9000));
        assert_eq!(times(inhibited.take_pages()), [30, 330], "b pages once a has resolved");
    }
}
