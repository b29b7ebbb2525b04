//! The next page of a group: how long its alerts wait, which of them open no page, and which alerts it
//! lists.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::engine::destinations::Destination;
use crate::engine::ids::{DestinationId, GroupKey};
use crate::engine::mutes::{Mutes, Muting};
use crate::engine::pages::Pages;
use crate::engine::pages::enter::broke_out;
use crate::engine::pages::groups::{Firing, Group, Pending, Wait, WithheldAlert};
use crate::engine::pages::series::{NEW, Past, series_of};
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{AlertId, Cause, Duration, LabelSet, Timestamp};
use crate::policy::{FAN_OUT, FAN_OUT_WITHIN, Level};

impl Pages {
    /// Notes a firing in the memory of its series, if the profile has a use for it.
    pub(crate) fn remember_series(
        &mut self,
        world: &mut World,
        key: &GroupKey,
        labels: &LabelSet,
    ) -> Option<(AlertId, Past)> {
        let (now, noise) = (world.now, &world.destinations.get(key.0).noise);
        if !noise.remembers_series() {
            return None;
        }
        let series = series_of(labels);
        self.bound_series(world, &(key.0, series));
        let memory = self.series.entry((key.0, series)).or_default();
        let past = memory.fired(now);
        let forget_at = memory.forget_at(&world.destinations.get(key.0).noise);
        world.timers.set_if_unset(Timer::ForgetSeries(key.0, series), forget_at);
        let recent = &mut self.groups.entry(key.clone()).or_default().recent;
        recent.insert(series, now);
        // Those that are too old do not count.
        if recent.len().is_power_of_two() {
            recent.retain(|_, at| *at >= now - FAN_OUT_WITHIN);
        }
        Some((series, past))
    }

    pub(crate) fn forget_series(&mut self, world: &mut World, destination: DestinationId, series: AlertId) {
        let Some(memory) = self.series.get(&(destination, series)) else { return };
        let at = memory.forget_at(&world.destinations.get(destination).noise);
        if at > world.now {
            world.timers.set(Timer::ForgetSeries(destination, series), at);
        } else {
            self.series.remove(&(destination, series));
        }
    }

    /// An alert that belongs to no incident waits for the next page, or is withheld. `count` observations
    /// wait with it. If it waited before, recovered and fires again, it waits no longer than it was to.
    pub(crate) fn gather(
        &mut self,
        world: &mut World,
        key: &GroupKey,
        (alert, labels): (AlertId, &LabelSet),
        (count, was_due): (u64, Option<Timestamp>),
        past: Option<(AlertId, Past)>,
    ) {
        let (now, destination) = (world.now, world.destinations.get(key.0));
        let level = world.policy.severities.level(labels);
        let Some(group) = self.groups.get_mut(key) else { return };
        let (series, past) = past.unwrap_or((alert, Past::NONE));
        let firing = Firing { series, per_day: past.per_day, busy_since: group.busy_since(now) };
        let waits = waits(now, level, destination, firing, past.fired_lately);
        world.alerts.state_mut(alert, key.0).gather(key.clone());
        let (wait, due) = match waits {
            Ok((wait, due)) => (wait, was_due.map_or(due, |was_due| due.min(was_due))),
            Err(cause) => {
                let withheld = WithheldAlert { alert, count, fired_at: now, series, resolved: false, cause };
                return self.withhold(world, key, withheld);
            }
        };
        group.pending.push(Pending { alert, count, fired_at: now, due, wait, firing, recovered: false });
        let fans_out = wait == Wait::Hold && group.fan_out(now - FAN_OUT_WITHIN) >= FAN_OUT;
        if fans_out {
            // Withheld alerts that fired recently become part of it after all.
            let oldest = now - FAN_OUT_WITHIN;
            let part = |q: &mut WithheldAlert| q.fired_at >= oldest;
            for q in group.withheld.extract_if(.., part) {
                let (alert, count, fired_at) = (q.alert, q.count, q.fired_at);
                let wait = Wait::Group;
                if !q.resolved {
                    world.alerts.state_mut(alert, key.0).gather(key.clone());
                }
                group.pending.push(Pending {
                    alert,
                    count,
                    fired_at,
                    due: now,
                    wait,
                    firing: Firing::of(q.series),
                    recovered: q.resolved,
                });
            }
            for pending in &mut group.pending {
                pending.due = now;
                pending.wait = Wait::Group;
            }
        }
        world.timers.set_by(Timer::GroupWait(key.clone()), if fans_out { now } else { due });
    }

    /// An alert is usual: the next page of its group lists it.
    fn withhold(&mut self, world: &mut World, key: &GroupKey, alert: WithheldAlert) {
        world.alerts.state_mut(alert.alert, key.0).withhold(key.clone());
        if let Some(group) = self.groups.get_mut(key) {
            group.withheld.push(alert);
        }
        self.digests.withhold(world, key.0);
        self.prune_withheld(world, key);
    }

    /// A new policy may shorten a hold or a wait, or mark a level `never_hold`. It then applies to alerts
    /// that are held or wait already. It lengthens none of these.
    pub(crate) fn waits_adopt(&mut self, world: &mut World) {
        let held = world.alerts.states().filter(|(.., state)| state.held_until().is_some());
        let held: Vec<_> = held.map(|(alert, destination, _)| (alert, destination)).collect();
        for (alert, destination) in held {
            world.shorten_hold(alert, destination);
        }
        let waiting = self.groups.iter().filter(|(_, group)| !group.pending.is_empty());
        for key in waiting.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.shorten_waits(world, &key);
        }
        let withheld = self.groups.iter().filter(|(_, group)| group.withheld.iter().any(|q| !q.resolved));
        for key in withheld.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.withheld_adopt(world, &key);
        }
    }

    /// Alerts that the new policy would not withhold wait for the next page. Those at a destination that the
    /// configuration does not have any more leave it, so that they may enter at another one.
    fn withheld_adopt(&mut self, world: &mut World, key: &GroupKey) {
        let Some(group) = self.groups.get_mut(key) else { return };
        let (now, destination) = (world.now, world.destinations.get(key.0));
        let mut gone = Vec::new();
        let mut first = None;
        let busy_since = group.busy_since(now);
        for q in group.withheld.extract_if(.., |q| !q.resolved).collect::<Vec<_>>() {
            let Some(known) = world.alerts.alert(q.alert) else { continue };
            if !destination.is_current() {
                gone.push(q);
                continue;
            }
            let Cause::Usual { per_day, .. } = *q.cause else {
                group.withheld.push(q);
                continue;
            };
            let firing = Firing { series: q.series, per_day, busy_since };
            let level = world.policy.severities.level(&known.labels);
            let Ok((wait, due)) = waits(q.fired_at, level, destination, firing, false) else {
                group.withheld.push(q);
                continue;
            };
            let due = due.max(now);
            let (alert, count, fired_at) = (q.alert, q.count, q.fired_at);
            group.pending.push(Pending { alert, count, fired_at, due, wait, firing, recovered: false });
            world.alerts.state_mut(alert, key.0).gather(key.clone());
            first = first.into_iter().chain([due]).min();
        }
        if let Some(due) = first {
            world.timers.set_by(Timer::GroupWait(key.clone()), due);
        }
        for q in gone {
            world.state(q.alert, key.0).leave_group();
            self.suppress(world, q.alert, key.0, q.count, (*q.cause).clone());
            world.remember(q.alert, key.0);
        }
        self.forget_group_later(world, key);
    }

    /// The alerts that wait for the page of a group wait no longer than their severity and the policy say.
    pub(crate) fn shorten_waits(&mut self, world: &mut World, key: &GroupKey) {
        let Some(group) = self.groups.get_mut(key) else { return };
        let World { destinations, alerts, policy, timers, now, .. } = world;
        let destination = destinations.get(key.0);
        for pending in group.pending.iter_mut().filter(|p| p.wait != Wait::Merged) {
            let Some(known) = alerts.alert(pending.alert) else { continue };
            let level = policy.severities.level(&known.labels);
            let hold = &destination.noise.hold;
            let due = match pending.wait == Wait::Hold && hold.levels.contains(&level.name) {
                true => pending.fired_at + hold.time,
                false => waits(pending.fired_at, level, destination, pending.firing, false)
                    .map_or(pending.due, |(_, due)| due),
            };
            pending.due = pending.due.min(due.max(*now));
        }
        if let Some(due) = group.pending.iter().map(|p| p.due).min() {
            timers.set_by(Timer::GroupWait(key.clone()), due);
        }
    }

    /// The page of a group leaves if an alert has waited long enough. It does not list an alert that ended
    /// while it waited, and would be muted by now.
    pub(crate) fn page_due(&mut self, world: &mut World, mutes: &Mutes, key: &GroupKey) {
        for alert in self.ended_in(world, key) {
            self.mute_ended(world, mutes, key, alert);
        }
        let Some(group) = self.groups.get(key) else { return };
        match group.pending.iter().map(|p| p.due).min() {
            Some(due) if due <= world.now => self.open(world, key),
            Some(due) => world.timers.set(Timer::GroupWait(key.clone()), due),
            None => {}
        }
    }

    /// The alerts that ended while they wait for the page of a group, if the page is due.
    fn ended_in(&self, world: &World, key: &GroupKey) -> Vec<AlertId> {
        let due = |group: &&Group| group.pending.iter().any(|p| p.due <= world.now);
        let Some(group) = self.groups.get(key).filter(due) else { return Vec::new() };
        let pending = group.pending.iter().filter(|p| p.recovered).map(|p| p.alert);
        pending.chain(group.withheld.iter().filter(|q| q.resolved).map(|q| q.alert)).collect()
    }

    /// Takes an alert that ended out of the page of its group, if it would be muted now at each destination
    /// whose pages go there.
    fn mute_ended(&mut self, world: &mut World, mutes: &Mutes, key: &GroupKey, alert: AlertId) {
        let mut destinations = world.taken_destinations(alert);
        destinations.retain(|destination| world.listed_in(alert, *destination, key));
        let muted =
            |id: &DestinationId| mutes.cause_of_ended(&world.alerts, alert, world.destinations.get(*id));
        let mutings: Option<Vec<Muting>> = destinations.iter().map(muted).collect();
        let first = mutings.and_then(|all| all.into_iter().next());
        let (Some(muting), Some(&destination)) = (first, destinations.first()) else { return };
        let Some(group) = self.groups.get_mut(key) else { return };
        let (count, _) = group.take_ended(alert);
        self.wait_anew(world, key);
        self.suppress_muted(world, alert, destination, count, muting);
    }

    /// The page of a group leaves, with all alerts that wait. Withheld alerts are included if they still
    /// fire or are recent. The limits of the receiver may keep it back.
    fn open(&mut self, world: &mut World, key: &GroupKey) {
        let assured = |group: &Group| group.pending.iter().any(|p| p.wait == Wait::Again);
        let assured = *key == world.merged_key(key.0) || self.groups.get(key).is_some_and(assured);
        let all = self.take_page(world, key);
        let knows = |alert: &AlertId| self.incidents.receiver_knows(world, *alert, key.0);
        if all.iter().all(|(alert, _, recovered)| *recovered && (!assured || knows(alert))) {
            // All of its alerts ended before the page left. Either no receiver needs a page about them, or
            // its receiver was notified.
            for (alert, count, _) in all {
                self.never_paged(world, alert, key.0, count, 0);
            }
            return self.forget_group_later(world, key);
        }
        if *key == world.merged_key(key.0) {
            self.flow(world, key.0).merged_at = Some(world.now);
            // An alert that came and went meanwhile is in the list once for each time.
            let alerts: BTreeSet<AlertId> = all.iter().map(|(alert, ..)| *alert).collect();
            let cause = Cause::MergedPage { alerts: alerts.len() };
            return self.open_with(world, key, all, cause);
        }
        if self.merge(world, key, &all) {
            return self.forget_group_later(world, key);
        }
        let cause = broke_out(world, key, &all).unwrap_or(Cause::FirstPage);
        self.open_with(world, key, all, cause);
    }

    pub(crate) fn open_with(
        &mut self,
        world: &mut World,
        key: &GroupKey,
        all: Vec<(AlertId, u64, bool)>,
        cause: Cause,
    ) {
        if world.destinations.get(key.0).integrations.is_empty() {
            return self.page_nobody(world, key, all);
        }
        let received = all.iter().filter_map(|(alert, ..)| Some(world.alerts.alert(*alert)?.received_at));
        let received = received.min().map_or(world.now, |at| at.min(world.now));
        let id = self.new_incident(world, key);
        self.enter_all(world, id, key, &all);
        self.draw_in(world, id, key);
        let World { destinations, accounting, now, .. } = world;
        accounting.page_delay(destinations.get(key.0), now.since(received));
        self.page(world, id, cause);
        self.incidents.touched.insert(id);
    }

    /// A page is due, and its receiver lost its integrations meanwhile. Its alerts enter anew once the
    /// receiver has some.
    fn page_nobody(&mut self, world: &mut World, key: &GroupKey, all: Vec<(AlertId, u64, bool)>) {
        for (alert, count, _) in all {
            for destination in world.taken_destinations(alert) {
                let state = world.state(alert, destination);
                if state.waits_in() == Some(key) {
                    state.leave_group();
                    world.remember(alert, destination);
                }
            }
            self.suppress(world, alert, key.0, count, Cause::NoIntegration);
        }
        self.forget_group_later(world, key);
    }

    /// An alert that waits for a page, or is withheld, recovers. `resolved` observations say so. It returns
    /// false if the alert does neither.
    pub(crate) fn recover(
        &mut self,
        world: &mut World,
        alert: AlertId,
        destination: DestinationId,
        key: &GroupKey,
        resolved: u64,
    ) -> bool {
        let urgent = world.never_holds(alert);
        let Some(group) = self.groups.get_mut(key) else { return false };
        if let Some(withheld) = group.withheld.iter_mut().rev().find(|q| q.alert == alert && !q.resolved) {
            withheld.resolved = true;
            let (count, cause) = (std::mem::take(&mut withheld.count), (*withheld.cause).clone());
            self.suppress(world, alert, destination, count, cause);
            self.never_paged(world, alert, destination, 0, resolved);
            self.prune_withheld(world, key);
            return true;
        }
        let waits = |p: &Pending| p.alert == alert && !p.recovered;
        let Some(index) = group.pending.iter().rposition(waits) else { return false };
        let pending = &mut group.pending[index];
        // A storm merges the page of a level that is never held. It does not take that page away.
        if matches!(pending.wait, Wait::Gather | Wait::Again) || pending.wait == Wait::Merged && urgent {
            pending.recovered = true;
            pending.count += resolved;
            return true;
        }
        let pending = group.pending.remove(index);
        if pending.wait == Wait::Hold {
            group.withheld.push(WithheldAlert {
                alert,
                count: 0,
                fired_at: pending.fired_at,
                series: pending.firing.series,
                resolved: true,
                cause: Arc::new(Cause::SeriesHold),
            });
        }
        self.wait_anew(world, key);
        let mut fired = pending.count;
        if pending.wait == Wait::Merged {
            self.suppress(world, alert, destination, std::mem::take(&mut fired), Cause::RateLimited);
        }
        self.never_paged(world, alert, destination, fired, resolved);
        self.prune_withheld(world, key);
        true
    }

    /// Takes an alert that fires out of the next page of a group, or out of the alerts that it withholds.
    /// Returns the observations that waited with the alert.
    pub(crate) fn leave_wait(&mut self, world: &mut World, alert: AlertId, key: &GroupKey) -> u64 {
        let Some(group) = self.groups.get_mut(key) else { return 0 };
        if let Some(index) = group.withheld.iter().rposition(|q| q.alert == alert && !q.resolved) {
            let withheld = group.withheld.remove(index);
            self.forget_group_later(world, key);
            return withheld.count;
        }
        let Some(index) = group.pending.iter().rposition(|p| p.alert == alert && !p.recovered) else {
            return 0;
        };
        let pending = group.pending.remove(index);
        self.wait_anew(world, key);
        pending.count
    }

    /// Alerts left the next page of a group: it leaves when the first of the others is due.
    pub(crate) fn wait_anew(&mut self, world: &mut World, key: &GroupKey) {
        let due = self.groups.get(key).and_then(|group| group.pending.iter().map(|p| p.due).min());
        match due {
            Some(due) => world.timers.set(Timer::GroupWait(key.clone()), due),
            None => world.timers.clear(&Timer::GroupWait(key.clone())),
        }
        self.forget_group_later(world, key);
    }

    /// Forgets withheld alerts that have resolved and are too old for the next page.
    fn prune_withheld(&mut self, world: &mut World, key: &GroupKey) {
        // A fan-out takes older alerts back than a page does.
        let oldest = world.now - FAN_OUT_WITHIN;
        if let Some(group) = self.groups.get_mut(key) {
            group.withheld.retain(|q| !q.resolved || q.fired_at >= oldest);
        }
        self.bound_withheld(world, key);
        self.forget_group_later(world, key);
    }
}

/// How a firing waits for its page, and until when. Otherwise, the reason why it opens none.
fn waits(
    now: Timestamp,
    level: &Level,
    destination: &Destination,
    firing: Firing,
    fired_lately: bool,
) -> Result<(Wait, Timestamp), Arc<Cause>> {
    let Destination { group_wait, noise, .. } = destination;
    let (new, busy) = (firing.per_day <= NEW, firing.busy_since.is_some());
    let (wait, usual) = match level.never_hold {
        true => (Duration::ZERO, 0),
        false => noise.patience(new, busy),
    };
    if usual > 0 && firing.per_day > u64::from(usual) {
        let Firing { per_day, busy_since, .. } = firing;
        return Err(Arc::new(Cause::Usual { per_day, usual_per_day: usual, busy_since }));
    }
    let hold = &noise.hold;
    if hold.time > wait && fired_lately && hold.levels.contains(&level.name) {
        return Ok((Wait::Hold, now + hold.time));
    }
    if wait.is_zero() || wait < *group_wait {
        let group_wait = if level.never_hold { Duration::ZERO } else { *group_wait };
        return Ok((Wait::Group, now + group_wait));
    }
    let counted = !new && (busy || noise.usual_per_day > 0);
    Ok((if counted { Wait::Again } else { Wait::Gather }, now + wait))
}
