//! The problems of Squelch itself that a person must know, and when each is over.
//!
//! It looks once a minute while there is a problem to watch, and not at all otherwise.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::incident::IncidentId;
use crate::engine::mutes::Mutes;
use crate::engine::pages::Pages;
use crate::engine::pages::groups::GroupKey;
use crate::engine::self_check::SelfCheck;
use crate::engine::stats::Bound;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{AlertId, Duration, LabelSet, NameCount, Problem, Timestamp};

/// How often it looks again.
pub(crate) const EVERY: Duration = Duration::from_mins(1);
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
    pub(crate) raised: BTreeMap<SmolStr, GroupKey>,
    /// When an outside problem is over, unless it is raised again.
    pub(crate) lapses: BTreeMap<SmolStr, Timestamp>,
}

impl SelfCheck {
    /// The time within which a receiver should have been notified is over.
    pub(crate) fn unheard(&mut self, mutes: &Mutes, world: &mut World, pages: &Pages, alert: AlertId) {
        let Some(within) = pages.incidents.silence_of(world, alert) else {
            self.watch.unheard.remove(&alert);
            self.watch.excused.remove(&alert);
            return;
        };
        let excused = is_excused(mutes, world, pages, alert);
        if excused || self.watch.excused.remove(&alert) {
            // Its mute may end, and then a receiver must be notified of it in time.
            if excused {
                self.watch.excused.insert(alert);
            }
            self.watch.unheard.remove(&alert);
            world.alerts.watch(alert, Some(world.now + within.max(EVERY)), &mut world.timers);
            return;
        }
        if self.watch.unheard.len() < UNHEARD {
            self.watch.unheard.insert(alert);
        } else {
            world.accounting.bound(Bound::Unheard, 1);
        }
        world.alerts.watch(alert, Some(world.now + EVERY), &mut world.timers);
        world.timers.set_if_unset(Timer::SelfCheck, world.now);
    }

    /// A receiver may not have accepted a page in time. Then Squelch notifies the receiver's fallback too,
    /// and raises an alarm.
    pub(crate) fn undelivered(&mut self, world: &mut World, pages: &mut Pages, id: IncidentId) {
        self.watch.stuck.remove(&id);
        let Some(incident) = pages.incidents.all.get(&id) else { return };
        let own = incident.internal.is_some();
        let waiting = incident.channels.iter().filter(|c| c.is_waiting());
        let Some(since) = waiting.map(|c| c.since(incident.paged_at)).min().filter(|_| !incident.is_over())
        else {
            return;
        };
        let alarm = world.undelivered_after().filter(|_| !own).map(|after| since + after);
        let (due, alarm) = (alarm.is_some_and(|at| at <= world.now), alarm.filter(|at| *at > world.now));
        if due {
            self.watch.stuck.insert(id);
            world.timers.set_if_unset(Timer::SelfCheck, world.now);
        }
        pages.incidents.fall_back(world, id, false);
        let again = world.now + EVERY;
        world.timers.set(Timer::Undelivered(id), alarm.map_or(again, |at| at.min(again)));
    }

    /// Raises the current problems, and closes those that are over.
    pub(crate) fn look(&mut self, mutes: &Mutes, world: &mut World, pages: &mut Pages) {
        for id in self.watch.stuck.clone() {
            let Some(incident) = pages.incidents.all.get(&id) else {
                self.watch.stuck.remove(&id);
                continue;
            };
            if incident.is_over() || !incident.channels.iter().any(|c| c.is_waiting()) {
                self.watch.stuck.remove(&id);
            }
        }
        let unheard: Vec<AlertId> = self.watch.unheard.iter().copied().collect();
        for alert in unheard {
            if pages.incidents.silence_of(world, alert).is_none() || is_excused(mutes, world, pages, alert) {
                self.watch.unheard.remove(&alert);
            }
        }
        self.say_unheard(world, pages);
        self.say_stuck(world, pages);
        self.say_refused(world, pages);
        self.say_orphans(world, pages);
        self.say_clocks(world, pages);
        self.overflow_over(world, pages);
        self.quarantine_over(world, pages);
        let now = world.now;
        let past = self.watch.lapses.iter().filter(|(_, at)| **at <= now);
        for what in past.map(|(what, _)| what.clone()).collect::<Vec<_>>() {
            self.watch.lapses.remove(&what);
            self.close_raised(world, pages, &what);
        }
        let withheld =
            [&self.watch.stuck, &pages.incidents.orphans].iter().all(|incidents| incidents.is_empty());
        let withheld =
            withheld && self.watch.raised.is_empty() && self.clocks.wrong(world.now).next().is_none();
        if !withheld || !self.watch.unheard.is_empty() || self.overflows() || self.has_quarantined() {
            world.timers.set(Timer::SelfCheck, world.now + EVERY);
        }
    }

    fn say_unheard(&mut self, world: &mut World, pages: &mut Pages) {
        let names = self.watch.unheard.iter().take(3).filter_map(|id| world.alerts.alert(*id));
        let names = names.map(|a| a.labels.value("alertname").into()).collect();
        let alerts = self.watch.unheard.len();
        self.put(world, pages, Problem::AlertsUnheard { alerts, names }, alerts > 0);
    }

    fn say_stuck(&mut self, world: &mut World, pages: &mut Pages) {
        let mut receivers: BTreeMap<SmolStr, u64> = BTreeMap::new();
        for incident in self.watch.stuck.iter().filter_map(|id| pages.incidents.all.get(id)) {
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
