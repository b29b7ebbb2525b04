//! The problems of Squelch itself that a person must know, and when each is over.
//!
//! It looks once a minute while there is a problem to watch, and not at all otherwise.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::event::Alarm;
use crate::engine::ids::{GroupKey, IncidentId};
use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::incident::{Incident, Phase};
use crate::engine::incidents::orphans::orphans_of;
use crate::engine::mutes::Mutes;
use crate::engine::pages::Pages;
use crate::engine::stats::Bound;
use crate::engine::timers::{LOOK_EVERY, Timer};
use crate::engine::world::World;
use crate::model::{AlertId, Cause, Duration, LabelSet, NameCount, OrphanedIncident, Problem, Timestamp};

/// How soon an end must have been taken by an integration that is gone.
const PATIENCE: Duration = Duration::from_mins(5);
/// A summary names so many orphans.
const NAMED: usize = 5;
/// The number of late alerts that are listed one by one.
const UNHEARD: usize = 10_000;

/// The current problems.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// Firing alerts for which no receiver was notified in time.
    unheard: BTreeSet<AlertId>,
    /// Firing alerts that were muted when that was due: it counts anew.
    #[serde(default)]
    excused: BTreeSet<AlertId>,
    /// Incidents whose page a receiver has not taken in time.
    stuck: BTreeSet<IncidentId>,
    /// The raised incidents, by their subject.
    #[serde(with = "crate::engine::pairs")]
    raised: BTreeMap<SmolStr, GroupKey>,
    /// When an outside problem is over, unless it is raised again.
    lapses: BTreeMap<SmolStr, Timestamp>,
}

impl Watch {
    /// Raises a problem that was found at the receiver that watches. Closes it if it was not found.
    pub(crate) fn put(&mut self, world: &mut World, pages: &mut Pages, problem: Problem, found: bool) {
        let what = problem.alertname();
        let Some(watcher) = world.policy.watcher().cloned().filter(|_| found) else {
            return self.close_raised(world, pages, what);
        };
        let labels = LabelSet::from_pairs([("alertname", what)]);
        if let Some(key) = pages.raise(world, &watcher, &labels, problem) {
            let before = self.raised.insert(what.into(), key.clone());
            // Another receiver watches now.
            if let Some(before) = before.filter(|before| *before != key) {
                pages.clear(world, &before, Cause::WatcherChanged);
            }
            world.timers.set_if_unset(Timer::SelfCheck, world.now + LOOK_EVERY);
        }
    }

    /// Raises an alarm about a problem outside of the engine.
    pub(crate) fn alarm(&mut self, world: &mut World, pages: &mut Pages, alarm: &Alarm) {
        let what = alarm.problem.alertname();
        self.put(world, pages, alarm.problem.clone(), true);
        if self.raised.contains_key(what) {
            self.lapses.insert(what.into(), world.now + alarm.lasts);
        }
    }

    fn close_raised(&mut self, world: &mut World, pages: &mut Pages, what: &str) {
        if let Some(key) = self.raised.remove(what) {
            pages.clear(world, &key, Cause::ProblemOver);
        }
    }

    /// The time within which a receiver should have been notified is over.
    pub(crate) fn unheard(&mut self, mutes: &Mutes, world: &mut World, pages: &Pages, alert: AlertId) {
        let Some(within) = pages.incidents.silence_of(world, alert) else {
            self.unheard.remove(&alert);
            self.excused.remove(&alert);
            return;
        };
        let excused = is_excused(mutes, world, pages, alert);
        if excused || self.excused.remove(&alert) {
            // Its mute may end, and then a receiver must be notified of it in time.
            if excused {
                self.excused.insert(alert);
            }
            self.unheard.remove(&alert);
            world.alerts.watch(alert, Some(world.now + within.max(LOOK_EVERY)), &mut world.timers);
            return;
        }
        if self.unheard.len() < UNHEARD {
            self.unheard.insert(alert);
        } else {
            world.accounting.bound(Bound::Unheard, 1);
        }
        world.alerts.watch(alert, Some(world.now + LOOK_EVERY), &mut world.timers);
        world.timers.set_if_unset(Timer::SelfCheck, world.now);
    }

    /// A receiver may not have accepted a page in time. Then Squelch notifies the receiver's fallback too,
    /// and raises an alarm.
    pub(crate) fn undelivered(&mut self, world: &mut World, pages: &mut Pages, id: IncidentId) {
        self.stuck.remove(&id);
        let Some(incident) = pages.incidents.all.get(&id) else { return };
        let own = incident.internal.is_some();
        let waiting = incident.channels.iter().filter(|c| c.is_waiting());
        let Some(since) = waiting.map(|c| c.since(incident.paged_at)).min().filter(|_| !incident.is_over())
        else {
            return;
        };
        let alarm = world.undelivered_after().filter(|_| !own).map(|after| since + after);
        let (due, alarm) = (alarm.is_some_and(|at| at <= world.now), alarm.filter(|at| *at > world.now));
        if incident.is_open() {
            if due {
                self.stuck.insert(id);
                world.timers.set_if_unset(Timer::SelfCheck, world.now);
            }
            pages.incidents.fall_back(world, id, false);
        }
        let again = world.now + LOOK_EVERY;
        world.timers.set(Timer::Undelivered(id), alarm.map_or(again, |at| at.min(again)));
    }

    /// Raises the current problems of pages, and closes those that are over.
    pub(crate) fn look(&mut self, mutes: &Mutes, world: &mut World, pages: &mut Pages) {
        let waits = |id: &IncidentId| {
            let incident = pages.incidents.all.get(id);
            incident.is_some_and(|i| i.is_open() && i.channels.iter().any(Channel::is_waiting))
        };
        self.stuck.retain(waits);
        let late = |alert: &AlertId| {
            pages.incidents.silence_of(world, *alert).is_some() && !is_excused(mutes, world, pages, *alert)
        };
        self.unheard.retain(late);
        self.say_unheard(world, pages);
        self.say_stuck(world, pages);
        self.say_refused(world, pages);
        self.say_orphans(world, pages);
    }

    /// Closes the outside problems that were not raised again in time.
    pub(crate) fn lapse(&mut self, world: &mut World, pages: &mut Pages) {
        let now = world.now;
        let past = self.lapses.iter().filter(|(_, at)| **at <= now);
        for what in past.map(|(what, _)| what.clone()).collect::<Vec<_>>() {
            self.lapses.remove(&what);
            self.close_raised(world, pages, &what);
        }
    }

    /// Whether it watches no problem.
    pub(crate) fn is_idle(&self) -> bool {
        self.stuck.is_empty() && self.raised.is_empty() && self.unheard.is_empty()
    }

    fn say_unheard(&mut self, world: &mut World, pages: &mut Pages) {
        let names = self.unheard.iter().take(3).filter_map(|id| world.alerts.alert(*id));
        let names = names.map(|a| a.labels.value("alertname").into()).collect();
        let alerts = self.unheard.len();
        self.put(world, pages, Problem::AlertsUnheard { alerts, names }, alerts > 0);
    }

    fn say_stuck(&mut self, world: &mut World, pages: &mut Pages) {
        let mut receivers: BTreeMap<SmolStr, u64> = BTreeMap::new();
        for incident in self.stuck.iter().filter_map(|id| pages.incidents.all.get(id)) {
            let home = &world.destinations.get(incident.group.0).receiver;
            // A fallback stands in for the receiver that was not reached, so that one is named.
            let waiting = incident
                .channels
                .iter()
                .filter(|c| c.is_waiting())
                .min_by_key(|c| c.since(incident.paged_at));
            let receiver = waiting.map_or(home, |channel| channel.receiver(home));
            *receivers.entry(receiver.clone()).or_default() += 1;
        }
        let after = world.policy.self_check.undelivered_after;
        let found = !receivers.is_empty();
        self.put(world, pages, Problem::PagesUndelivered { after, receivers: counts(receivers) }, found);
    }

    /// Dead letters about incidents that are not over, digests and reports: of the others there is nothing
    /// left to tell.
    pub(crate) fn say_refused(&mut self, world: &mut World, pages: &mut Pages) {
        let lives = |id: &IncidentId| pages.incidents.all.get(id).is_some_and(|i| i.internal.is_none());
        let mut receivers: BTreeMap<SmolStr, u64> = BTreeMap::new();
        for (id, index) in pages.incidents.refused.values().filter(|(id, _)| lives(id)) {
            let Some(incident) = pages.incidents.all.get(id) else { continue };
            // Another alarm reports an integration that is gone. One that returned has refused nothing.
            if !incident.channels.get(*index).is_some_and(Channel::refuses) {
                continue;
            }
            *receivers.entry(world.destinations.get(incident.group.0).receiver.clone()).or_default() += 1;
        }
        let [incidents, digests, reports] =
            [receivers, pages.digests.refused.by_receiver(), pages.reports.refused.by_receiver()].map(counts);
        let found = [&incidents, &digests, &reports].iter().any(|counts| !counts.is_empty());
        self.put(world, pages, Problem::DeadLetters { incidents, digests, reports }, found);
    }

    /// Raises an alarm about the incidents whose resolve cannot reach their integration.
    pub(crate) fn say_orphans(&mut self, world: &mut World, pages: &mut Pages) {
        let late = |incident: &Incident| {
            incident.phase == Phase::Closed && incident.issued_at + PATIENCE <= world.now
        };
        let incidents = pages.incidents.orphans.iter().filter_map(|id| pages.incidents.all.get(id));
        let left: Vec<OrphanedIncident> = incidents
            .flat_map(|incident| {
                let late = late(incident);
                orphans_of(world, incident, move |c| c.is_orphan() && (late || c.end_was_refused()))
            })
            .collect();
        let found = !left.is_empty();
        let others = left.len().saturating_sub(NAMED);
        let orphans = left.into_iter().take(NAMED).collect();
        self.put(world, pages, Problem::IncidentsOrphaned { orphans, others }, found);
    }
}

fn counts(counts: BTreeMap<SmolStr, u64>) -> Vec<NameCount> {
    counts.into_iter().map(|(name, count)| NameCount { name, count }).collect()
}

/// Whether a silence or a time interval mutes an alert everywhere, or no route leads it to a receiver.
/// Inhibition counts too if the caller says so.
fn is_kept_from_all(
    mutes: &Mutes,
    world: &World,
    alert: AlertId,
    counts: impl Fn(&LabelSet) -> bool,
) -> bool {
    let Some(known) = world.alerts.alert(alert) else { return true };
    world.destinations.matching(&world.policy, &known.labels).into_iter().all(|destination| {
        let settings = world.destinations.get(destination);
        let muted = |muting: crate::engine::mutes::Muting| !muting.is_inhibition() || counts(&known.labels);
        settings.integrations.is_empty() || mutes.cause(&world.alerts, alert, settings).is_some_and(muted)
    })
}

/// Whether a person wants the alert muted, or a receiver was notified of the alert that explains it. It
/// must be muted wherever it goes, or go to no receiver.
fn is_excused(mutes: &Mutes, world: &World, pages: &Pages, alert: AlertId) -> bool {
    is_kept_from_all(mutes, world, alert, |inhibited| {
        let source = mutes.inhibitor(inhibited);
        source.is_none_or(|source| {
            pages.incidents.was_notified(world, source) || is_kept_from_all(mutes, world, source, |_| false)
        })
    })
}
