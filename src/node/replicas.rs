//! Watching the replicas of a cluster: whether one has another configuration than the owner, or a wrong
//! clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::engine::Alarm;
use crate::journal::{Ownership, Replica};
use crate::model::{self, ClockError, Problem};

/// A replica that has another configuration for so long is named. A rolling reload or upgrade is over before.
const DIFFERS_FOR: Duration = Duration::from_secs(300);
/// A clock that is wrong for so long is. One report alone may have been late.
const WRONG_FOR: Duration = Duration::from_secs(30);
/// How often the alarm is raised anew while it goes on. It is a shorter time than [`LASTS`].
const RAISE_EVERY: Duration = Duration::from_secs(60);
const LASTS: model::Duration = model::Duration::from_mins(5);
/// The number of standbys that an alarm names.
const NAMED: usize = 5;

/// The findings of earlier looks.
#[derive(Default)]
pub(super) struct ReplicaWatch {
    differ: Lasting,
    /// The replicas of which the log says that they differ.
    logged: BTreeSet<String>,
    wrong: Lasting,
    raised: Option<Raised>,
}

/// The alarm, the replicas that it names, and when it was raised last.
struct Raised {
    alarm: Alarm,
    replicas: BTreeSet<String>,
    at: Instant,
}

/// Since when something has held for each replica, by name.
#[derive(Default)]
struct Lasting(BTreeMap<String, Instant>);

impl Lasting {
    /// The replicas for which it has held for `long`, if it holds for `found` at `now`.
    fn look(&mut self, now: Instant, found: BTreeSet<String>, long: Duration) -> BTreeSet<String> {
        self.0.retain(|name, _| found.contains(name));
        for name in found {
            self.0.entry(name).or_insert(now);
        }
        let long = self.0.iter().filter(|(_, since)| now >= **since + long);
        long.map(|(name, _)| name.clone()).collect()
    }
}

impl ReplicaWatch {
    /// Looks at the replicas. It returns those to name in the log, because they have another configuration
    /// than the owner, and on the owner an alarm about wrong clocks. The alarm is over if it lasts no time.
    pub(super) fn look(&mut self, now: Instant, ownership: &Ownership) -> (Vec<String>, Option<Alarm>) {
        let cluster = &ownership.cluster;
        let names = |which: &dyn Fn(&Replica) -> bool| -> BTreeSet<String> {
            cluster.live().filter(|replica| which(replica)).map(|replica| replica.name.clone()).collect()
        };
        let differ = self.differ.look(now, names(&|replica| cluster.differs(replica)), DIFFERS_FOR);
        let new = differ.difference(&self.logged).cloned().collect();
        self.logged = differ;
        let wrong = names(&|replica| replica.wrong_clock().is_some());
        let wrong = self.wrong.look(now, wrong, WRONG_FOR);
        (new, self.alarm(now, ownership, wrong))
    }

    fn alarm(&mut self, now: Instant, ownership: &Ownership, wrong: BTreeSet<String>) -> Option<Alarm> {
        if !ownership.owner {
            // The new owner raises it, or lets it end.
            self.raised = None;
            return None;
        }
        if wrong.is_empty() {
            let over = self.raised.take()?.alarm;
            return Some(Alarm { lasts: model::Duration::ZERO, ..over });
        }
        let raised = match self.raised.take().filter(|raised| raised.replicas == wrong) {
            Some(raised) if now < raised.at + RAISE_EVERY => {
                self.raised = Some(raised);
                return None;
            }
            // The same text each time, so that it is one incident.
            Some(raised) => Raised { at: now, ..raised },
            None => Raised {
                alarm: Alarm { problem: problem(ownership, &wrong), lasts: LASTS },
                replicas: wrong,
                at: now,
            },
        };
        let alarm = raised.alarm.clone();
        self.raised = Some(raised);
        Some(alarm)
    }
}

fn problem(ownership: &Ownership, wrong: &BTreeSet<String>) -> Problem {
    let clock = |replica: &Replica| {
        let by = replica.wrong_clock()?;
        let minutes = model::Duration::from_mins(by.unsigned_abs() / 60_000);
        Some(ClockError { sender: replica.name.as_str().into(), by: minutes, ahead: by > 0 })
    };
    let named = || ownership.cluster.live().filter(|replica| wrong.contains(&replica.name));
    let owner = named().find(|replica| replica.owner).and_then(clock);
    let mut standbys: Vec<ClockError> = named().filter(|replica| !replica.owner).filter_map(clock).collect();
    let others = standbys.len().saturating_sub(NAMED);
    standbys.truncate(NAMED);
    Problem::ReplicaClocksWrong { owner, standbys, others }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Cluster;
    use std::sync::Arc;

    fn replica(name: &str, owner: bool, config: &str, clock_ms: i64) -> Replica {
        Replica {
            name: name.into(),
            owner,
            config: Some(config.into()),
            clock_ms: Some(clock_ms),
            ..Replica::default()
        }
    }

    fn owned(owner: bool, replicas: &[Replica]) -> Ownership {
        let cluster = Arc::new(Cluster { replicas: replicas.to_vec(), ..Cluster::default() });
        Ownership { owner, cluster, ..Ownership::default() }
    }

    /// The replicas that are named at each of these seconds.
    fn named(watch: &mut ReplicaWatch, from: Instant, at: &[u64], replicas: &[Replica]) -> Vec<Vec<String>> {
        let look = |second: &u64| watch.look(from + Duration::from_secs(*second), &owned(true, replicas)).0;
        at.iter().map(look).collect()
    }

    #[test]
    fn a_replica_with_another_configuration_is_named_once_after_five_minutes() {
        let (mut watch, from) = (ReplicaWatch::default(), Instant::now());
        let apart = [replica("a", true, "1", 0), replica("b", false, "2", 0)];
        let alike = [replica("a", true, "1", 0), replica("b", false, "1", 0)];
        let none: Vec<String> = Vec::new();
        assert_eq!(named(&mut watch, from, &[0, 299], &apart), [none.clone(), none.clone()]);
        assert_eq!(named(&mut watch, from, &[300, 301], &apart), [vec!["b".to_owned()], none.clone()]);
        // It is equal for a moment: a reload came to the one, and the next to the other.
        assert_eq!(named(&mut watch, from, &[400], &alike), std::slice::from_ref(&none));
        assert_eq!(named(&mut watch, from, &[401, 700], &apart), [none.clone(), none]);
        assert_eq!(named(&mut watch, from, &[701], &apart), [["b"]]);
    }

    fn clock(name: &str, minutes: u64, ahead: bool) -> ClockError {
        ClockError { sender: name.into(), by: model::Duration::from_mins(minutes), ahead }
    }

    #[test]
    fn the_owner_raises_an_alarm_about_wrong_clocks_and_ends_it() {
        let (mut watch, from) = (ReplicaWatch::default(), Instant::now());
        let mut look = |second, owner, clock_ms| {
            let replicas = [replica("a", owner, "1", 0), replica("b", !owner, "1", clock_ms)];
            watch.look(from + Duration::from_secs(second), &owned(owner, &replicas)).1
        };
        assert_eq!(look(0, true, -150_000), None, "one report may be late");
        let standbys = vec![clock("b", 2, false)];
        let problem = Problem::ReplicaClocksWrong { owner: None, standbys, others: 0 };
        let alarm = Alarm { problem, lasts: LASTS };
        assert_eq!(look(30, true, -150_000), Some(alarm.clone()));
        assert_eq!(look(89, true, -200_000), None);
        assert_eq!(look(90, true, -200_000), Some(alarm.clone()), "its text stays");
        let over = Alarm { lasts: model::Duration::ZERO, ..alarm };
        assert_eq!((look(91, true, 0), look(92, true, 0)), (Some(over), None));
        assert_eq!((look(100, false, 90_000), look(200, false, 90_000)), (None, None), "a standby");
    }

    #[test]
    fn an_owner_with_a_wrong_clock_says_so() {
        let (mut watch, from) = (ReplicaWatch::default(), Instant::now());
        let mut replicas = vec![replica("a", true, "1", 61_000)];
        replicas.extend((0..7).map(|n| replica(&format!("b{n}"), false, "1", 600_000)));
        watch.look(from, &owned(true, &replicas));
        let alarm = watch.look(from + WRONG_FOR, &owned(true, &replicas)).1.unwrap();
        let Problem::ReplicaClocksWrong { owner, standbys, others } = alarm.problem else { panic!() };
        assert_eq!((owner, standbys.len(), others), (Some(clock("a", 1, true)), NAMED, 2));
        assert_eq!(standbys[0], clock("b0", 10, true));
    }
}
