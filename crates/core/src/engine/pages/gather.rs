//! The next page of a group: what it waits for, whether it is worth a human's attention, and what
//! is withheld. Each mechanism is off unless the profile says otherwise.

use std::sync::Arc;

use crate::engine::destinations::DestinationId;
use crate::engine::pages::Pages;
use crate::engine::pages::enter::broke_out;
use crate::engine::pages::groups::{GroupKey, Pending, Wait, WithheldAlert, Worth};
use crate::engine::pages::series::{SeriesFiring, series_of};
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{AlertId, Cause, Duration, LabelSet, Timestamp};
use crate::policy::{FAN_OUT, FAN_OUT_WITHIN, Level, Noise};

impl Pages {
    /// Notes a firing in the memory of its series, if the profile has a use for it.
    pub(crate) fn remember_series(
        &mut self,
        world: &mut World,
        key: &GroupKey,
        labels: &LabelSet,
    ) -> Option<(AlertId, SeriesFiring)> {
        let noise = &world.destinations.get(key.0).noise;
        if !noise.remembers_series() {
            return None;
        }
        let series = series_of(labels, &noise.identifiers);
        self.bound_series(world, &(key.0, series));
        let noise = &world.destinations.get(key.0).noise;
        let memory = self.series.entry((key.0, series)).or_default();
        let firing = memory.fired(world.now, noise);
        world.timers.set_if_unset(Timer::ForgetSeries(key.0, series), memory.forget_at());
        if !noise.hold.time.is_zero() {
            let oldest = world.now - FAN_OUT_WITHIN;
            let recent = &mut self.groups.entry(key.clone()).or_default().recent;
            recent.insert(series, world.now);
            // Those that are too old do not count anyway.
            if recent.len().is_power_of_two() {
                recent.retain(|_, at| *at >= oldest);
            }
        }
        Some((series, firing))
    }

    pub(crate) fn forget_series(&mut self, world: &mut World, destination: DestinationId, series: AlertId) {
        let Some(memory) = self.series.get(&(destination, series)) else { return };
        let at = memory.forget_at();
        if at > world.now {
            world.timers.set(Timer::ForgetSeries(destination, series), at);
        } else {
            self.series.remove(&(destination, series));
        }
    }

    /// An alert that belongs to no incident waits for the next page, or is withheld.
    pub(crate) fn gather(
        &mut self,
        world: &mut World,
        key: &GroupKey,
        alert: AlertId,
        labels: &LabelSet,
        count: u64,
        firing: Option<(AlertId, SeriesFiring)>,
    ) {
        let (now, destination) = (world.now, world.destinations.get(key.0));
        let level = world.policy.severities.level(labels);
        let (wait, due) =
            waits(now, level, destination.group_wait, &destination.noise, firing.map(|(_, f)| f));
        let worth = Worth {
            series: firing.map_or(alert, |(series, _)| series),
            surprise: firing.map_or(0, |(_, f)| f.surprise),
        };
        let noise = &world.destinations.get(key.0).noise;
        let Some(group) = self.groups.get_mut(key) else { return };
        group.pending.push(Pending { alert, count, fired_at: now, due, wait, worth, recovered: false });
        world.alerts.state_mut(alert, key.0).gather(key.clone());
        let fans_out = wait == Wait::Hold && group.fan_out(now - FAN_OUT_WITHIN) >= FAN_OUT;
        let at_once = wait == Wait::Gather
            && noise.surprise.at_once > 0
            && group.surprise(now - noise.surprise.window, noise.surprise.largest)
                >= u64::from(noise.surprise.at_once);
        if fans_out {
            // What was withheld is part of it after all.
            let oldest = now - FAN_OUT_WITHIN;
            let part = |q: &mut WithheldAlert| q.fired_at >= oldest;
            for q in group.withheld.extract_if(.., part) {
                let (alert, count, fired_at, worth) = (q.alert, q.count, q.fired_at, q.worth);
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
                    worth,
                    recovered: q.resolved,
                });
            }
        }
        if fans_out || at_once {
            for pending in &mut group.pending {
                pending.due = now;
                pending.wait = Wait::Group;
            }
        }
        world.timers.set_by(Timer::GroupWait(key.clone()), if fans_out || at_once { now } else { due });
    }

    /// A new policy may shorten a hold or a wait, or mark a level `never_hold`: it applies to the alerts
    /// that are held and that wait already. It lengthens none of these.
    pub(crate) fn waits_adopt(&mut self, world: &mut World) {
        let held = world
            .alerts
            .states()
            .filter_map(|(alert, destination, t)| Some((alert, destination, t.held_until()?)));
        for (alert, destination, until) in held.collect::<Vec<_>>() {
            if let Some(new) = world.held_by_level(alert).filter(|new| *new < until) {
                world.state(alert, destination).hold(new);
                world.timers.set(Timer::Hold(destination, alert), new);
            }
        }
        let Pages { groups, .. } = self;
        let World { destinations, alerts, policy, timers, now, .. } = world;
        for (key, group) in groups.iter_mut().filter(|(_, group)| !group.pending.is_empty()) {
            let destination = destinations.get(key.0);
            for pending in group.pending.iter_mut().filter(|p| p.wait != Wait::Merged) {
                let Some(known) = alerts.alert(pending.alert) else { continue };
                let level = policy.severities.level(&known.labels);
                let hold = &destination.noise.hold;
                let due = match pending.wait == Wait::Hold && hold.levels.contains(&level.name) {
                    true => pending.fired_at + hold.time,
                    false => {
                        waits(pending.fired_at, level, destination.group_wait, &destination.noise, None).1
                    }
                };
                pending.due = pending.due.min(due.max(*now));
            }
            if let Some(due) = group.pending.iter().map(|p| p.due).min() {
                timers.set_by(Timer::GroupWait(key.clone()), due);
            }
        }
    }

    /// Something has waited long enough: it pages, or it is withheld if it is nothing unusual.
    pub(crate) fn gathered(&mut self, world: &mut World, key: &GroupKey) {
        let now = world.now;
        let settings = world.destinations.get(key.0).noise.surprise.clone();
        let Some(group) = self.groups.get_mut(key) else { return };
        let surprise = group.surprise(now - settings.window, settings.largest);
        let usual = settings.page_at > 0 && surprise < u64::from(settings.page_at);
        let due = group.pending.iter().filter(|p| p.due <= now);
        let mut waits = due.map(|p| p.wait).peekable();
        if waits.peek().is_some() && !waits.all(|w| w == Wait::Gather && usual) {
            return self.open(world, key);
        }
        let cause = Cause::Unsurprising { surprise, page_at: settings.page_at, window: settings.window };
        let cause = Arc::new(cause);
        let (mut recovered, mut waiting, mut kept) = (Vec::new(), Vec::new(), false);
        for pending in std::mem::take(&mut group.pending) {
            if pending.due > now {
                waiting.push(pending);
                continue;
            }
            let (alert, count) = (pending.alert, pending.count);
            kept |= !pending.recovered;
            match pending.recovered {
                true => recovered.push((alert, count)),
                false => world.alerts.state_mut(alert, key.0).withhold(key.clone()),
            }
            group.withheld.push(WithheldAlert {
                alert,
                count: if pending.recovered { 0 } else { count },
                fired_at: pending.fired_at,
                worth: pending.worth,
                resolved: pending.recovered,
                cause: cause.clone(),
            });
        }
        let next = waiting.iter().map(|p| p.due).min();
        group.pending = waiting;
        for (alert, count) in recovered {
            self.suppress(world, alert, key.0, count, (*cause).clone(), None);
        }
        if kept {
            self.digests.withheld_alerts(world, key.0);
        }
        if let Some(due) = next {
            world.timers.set(Timer::GroupWait(key.clone()), due);
        }
        self.prune_withheld(world, key);
    }

    /// The page of a group leaves, with all that waits, and with what was withheld if it fires
    /// still or is recent; unless the receiver has had enough.
    fn open(&mut self, world: &mut World, key: &GroupKey) {
        let all = self.take_page(world, key);
        if *key != world.merged_key(key.0) && all.iter().all(|(.., recovered)| *recovered) {
            // All of it ended before its page left.
            for (alert, count, _) in all {
                self.never_paged(world, alert, key.0, count, 0);
            }
            return self.forget_group_later(world, key);
        }
        if *key == world.merged_key(key.0) {
            self.flow(world, key.0).merged_at = Some(world.now);
            let cause = Cause::MergedPage { alerts: all.len() };
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

    /// An alert that waits for a page, or is withheld, recovers; `resolved` observations say so.
    /// False if it does neither.
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
            self.suppress(world, alert, destination, count, cause, None);
            self.never_paged(world, alert, destination, 0, resolved);
            self.prune_withheld(world, key);
            return true;
        }
        let waits = |p: &Pending| p.alert == alert && !p.recovered;
        let Some(index) = group.pending.iter().rposition(waits) else { return false };
        let pending = &mut group.pending[index];
        // A storm merges the page of a level that is never held. It does not take that page away.
        if pending.wait == Wait::Gather || pending.wait == Wait::Merged && urgent {
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
                worth: pending.worth,
                resolved: true,
                cause: Arc::new(Cause::SeriesHold),
            });
        }
        match group.pending.iter().map(|p| p.due).min() {
            Some(due) => world.timers.set(Timer::GroupWait(key.clone()), due),
            None => world.timers.clear(&Timer::GroupWait(key.clone())),
        }
        let mut fired = pending.count;
        if pending.wait == Wait::Merged {
            self.suppress(world, alert, destination, std::mem::take(&mut fired), Cause::RateLimited, None);
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
        match group.pending.iter().map(|p| p.due).min() {
            Some(due) => world.timers.set(Timer::GroupWait(key.clone()), due),
            None => world.timers.clear(&Timer::GroupWait(key.clone())),
        }
        self.forget_group_later(world, key);
        pending.count
    }

    /// Forgets what was withheld, has resolved, and is too old for the next page.
    fn prune_withheld(&mut self, world: &mut World, key: &GroupKey) {
        let noise = &world.destinations.get(key.0).noise;
        let oldest = world.now - noise.surprise.window.max(FAN_OUT_WITHIN);
        if let Some(group) = self.groups.get_mut(key) {
            group.withheld.retain(|q| !q.resolved || q.fired_at >= oldest);
        }
        self.bound_withheld(world, key);
        self.forget_group_later(world, key);
    }
}

/// How a firing waits for its page, and until when.
fn waits(
    now: Timestamp,
    level: &Level,
    group_wait: Duration,
    noise: &Noise,
    firing: Option<SeriesFiring>,
) -> (Wait, Timestamp) {
    let wait = if level.never_hold { Duration::ZERO } else { noise.wait };
    let hold = &noise.hold;
    let applies = firing.is_some_and(|f| f.fired_lately) && hold.levels.contains(&level.name);
    if hold.time > wait && applies {
        return (Wait::Hold, now + hold.time);
    }
    if wait.is_zero() || wait < group_wait {
        let group_wait = if level.never_hold { Duration::ZERO } else { group_wait };
        return (Wait::Group, now + group_wait);
    }
    (Wait::Gather, now + wait)
}
