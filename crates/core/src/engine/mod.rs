//! The deterministic core: `(now, event)` → dispositions and effects.
//!
//! Sans-IO: no async, threads, clock, randomness, globals, floats, logging or hash-order dependence
//! in here. Time, configuration and outcomes of deliveries come in as events, so the same events
//! give the same decisions, byte for byte, in the server, in a replay and after a crash.
//!
//! **Every event must be durable before what follows from it leaves**: the caller journals the
//! event with the time it gave, and only then releases the [`Effects`].

mod alerts;
mod aside;
#[cfg(any(test, feature = "testing"))]
mod audit;
mod basis;
mod board;
mod bounds;
mod channel;
mod churn;
mod clocks;
#[cfg(any(test, feature = "testing"))]
pub mod consumers;
mod damping;
mod digest;
mod dry;
mod event;
mod fallback;
mod few;
mod fixed;
mod flappers;
mod flapping;
mod flow;
mod forms;
mod gather;
mod groups;
mod heartbeats;
mod identifiers;
mod incident;
mod incidents;
mod inhibition;
mod intervals;
mod lanes;
mod lapse;
mod ledger;
mod lifecycle;
mod listing;
mod members;
mod merge;
mod mute;
mod notify;
mod observe;
mod occurrences;
mod orphans;
mod own;
mod pages;
mod pairs;
mod pipeline;
mod proposal;
mod query;
mod release;
mod renames;
mod repeats;
mod self_check;
mod series;
mod silence_index;
mod silences;
mod snapshot;
mod state;
mod stats;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod timers;
mod truth;
mod undelivered;
mod view;
mod watch;
mod world;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

pub use board::{AlertDetail, Board, BoardQuery, IncidentDetail, NextStep, Origin, Row, RowAlert, RowState};
pub use bounds::Fill;
pub use dry::{DryOutcome, DryRoute, DryRun, DryStep};
pub use event::{Alarm, Effects, Event, Release, Why};
pub use flappers::Flapper;
pub use occurrences::PeerId;
pub use proposal::Matching;
pub use query::Query;
pub use repeats::{GatheredRepeats, Repeat, Repeats};
pub use snapshot::RestoreError;
pub use stats::{Bound, PAGE_DELAY_BUCKETS, ReceiverStats, Stats};
pub use undelivered::{Observing, Refused};
pub use view::{
    AlertQuery, Glance, INCIDENT_STATES, IncidentAlert, IncidentCursor, IncidentQuery, KnownAlert,
    OpenIncident, Standing,
};

use crate::model::{NotificationId, Timestamp};
use crate::policy::Policy;
use groups::GroupKey;
use incident::IncidentId;
use mute::Mutes;
use pages::Pages;
use self_check::SelfCheck;
use state::Track;
use timers::Timer;
use world::World;

/// Decides about alerts. One verb: [`Engine::handle`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    world: World,
    #[serde(default)]
    mutes: Mutes,
    pages: Pages,
    #[serde(default)]
    checks: SelfCheck,
}

impl Engine {
    /// An engine that has heard of nothing yet.
    pub fn new(policy: Policy) -> Self {
        let mut engine = Engine {
            world: World::new(policy.clone()),
            mutes: Mutes::default(),
            pages: Pages::default(),
            checks: SelfCheck::default(),
        };
        engine.adopt(policy);
        engine
    }

    /// Takes an event in at `now` and adds to `effects` what follows from it and from the time that
    /// passed. `now` is milliseconds of the engine's own time; an earlier one than before counts as
    /// the same.
    pub fn handle(&mut self, now: Timestamp, event: &Event, effects: &mut Effects) {
        self.world.now = self.world.now.max(now);
        self.world.ledger.watch(effects.repeats.is_some());
        if matches!(event, Event::Started) {
            self.world.alerts.restarted(self.world.now, &self.world.policy, &mut self.world.timers);
            self.checks.heartbeats_started(&mut self.world);
            self.pages.retry_all(&mut self.world);
        }
        if let Event::Clocks(ahead) = event {
            self.world.alerts.clocks(*ahead);
        }
        if let Event::Repeats(repeats) = event {
            // Repeats are gathered before they are an event: what they extend has not passed.
            self.repeated(repeats);
        }
        self.mute_clock();
        self.fire_timers();
        match event {
            Event::Observe(batch) => self.observe(batch),
            Event::Aside(batch) => self.checks.put_aside(&mut self.world, &mut self.pages, batch),
            Event::Delivered(report) => self.delivered(report),
            Event::Replay(id) => {
                if !self.pages.incidents.retry_refused(&mut self.world, *id) {
                    effects.resend.push(*id);
                }
            }
            Event::Release(release) => self.pages.released(&mut self.world, release),
            Event::Silence(change) => self.silence(change),
            Event::Policy(policy) => self.adopt((**policy).clone()),
            Event::Alarm(alarm) => self.checks.alarm(&mut self.world, &mut self.pages, alarm),
            Event::Repeats(_) | Event::Clocks(_) | Event::Started | Event::Tick => {}
        }
        self.fire_timers();
        while let Some(id) = self.pages.incidents.touched.pop_first() {
            self.pages.settle(&mut self.world, id);
        }
        self.pages.forget_settled(&mut self.world);
        effects.notifications.append(&mut self.pages.incidents.outgoing);
        effects.made_good.append(&mut self.pages.incidents.made_good);
        effects.decisions.append(&mut self.world.ledger.take_decisions());
        if let Some(repeats) = &mut effects.repeats {
            repeats.append(&mut self.world.ledger.take_repeats());
        }
    }

    /// When [`Self::handle`] wants to be called next, if nothing else happens, and why.
    pub fn next_deadline(&self) -> Option<(Timestamp, Why)> {
        self.world.timers.next()
    }

    /// The engine's time: the latest at which it handled anything.
    pub fn now(&self) -> Timestamp {
        self.world.now
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.world.policy
    }

    fn adopt(&mut self, policy: Policy) {
        self.rename_receivers(&policy);
        self.world.lanes.update(&policy);
        self.world.ledger.update(&policy);
        self.pages.incidents.lead_channels(&mut self.world, &policy);
        for id in self.pages.incidents.all.keys() {
            self.world.timers.set(Timer::Retry(*id), self.world.now);
        }
        self.world.policy = policy;
        self.pages.waits_adopt(&mut self.world);
        self.mutes_adopt();
        self.pages.digests_adopt(&mut self.world);
        self.pages.retry_all(&mut self.world);
        self.checks.heartbeats_adopt(&mut self.world, &mut self.pages);
        self.pages.incidents.level_all(&mut self.world);
        self.readmit();
        for alert in
            self.world.alerts.iter().filter(|(_, a)| a.firing()).map(|(id, _)| *id).collect::<Vec<_>>()
        {
            self.world.watch_anew(alert);
        }
        for id in self.pages.incidents.all.keys().copied().collect::<Vec<_>>() {
            self.pages.move_on(&mut self.world, id);
            self.pages.incidents.watch_orphan(&mut self.world, id);
        }
    }

    /// What is due next. Whether an alert is muted is settled before anything is done about it, and
    /// after all is heard that was due to be heard.
    fn next_timer(&mut self) -> Option<Timer> {
        let due = self.world.timers.pop_due(self.world.now);
        if due.as_ref().is_some_and(Timer::is_evidence) {
            return due;
        }
        match self.remute() {
            true => due.or_else(|| self.world.timers.pop_due(self.world.now)),
            false => due,
        }
    }

    fn fire_timers(&mut self) {
        while let Some(timer) = self.next_timer() {
            match timer {
                Timer::Alert(alert) => self.alert_due(alert),
                Timer::Hold(lane, alert) => self.pages.hold_ended(&mut self.world, lane, alert),
                Timer::Reuse(lane, alert) => self.pages.reuse(&mut self.world, lane, alert),
                Timer::Confirm(lane, alert) => self.pages.confirmed(&mut self.world, lane, alert),
                Timer::GroupWait(group) => self.pages.gathered(&mut self.world, &group),
                Timer::ForgetSeries(lane, series) => self.pages.forget_series(&mut self.world, lane, series),
                Timer::Update(id) => self.pages.incidents.update_due(id),
                Timer::ResolveHold(id) => self.pages.close(&mut self.world, id),
                Timer::Repeat(id) => self.pages.repeat(&mut self.world, id),
                Timer::Retry(id) => self.pages.incidents.pump(&mut self.world, id),
                Timer::Mute => self.mute_clock(),
                Timer::Digest(receiver) => self.pages.digest(&mut self.world, &receiver),
                Timer::Unheard(alert) => {
                    self.world.alerts.watched(alert);
                    self.checks.unheard(&self.mutes, &mut self.world, &mut self.pages, alert);
                }
                Timer::Undelivered(id) => self.checks.undelivered(&mut self.world, &mut self.pages, id),
                Timer::Watch => self.checks.look(&self.mutes, &mut self.world, &mut self.pages),
                Timer::Heartbeat => self.checks.heartbeat_due(&mut self.world, &mut self.pages),
                Timer::ForgetTrack(lane, alert) => {
                    self.pages.incidents.forget_track(&mut self.world, lane, alert)
                }
                Timer::ForgetGroup(group) => self.pages.forget_group(&group),
            }
        }
    }
}

impl<'a> Query<'a> {
    /// The notifications of incidents whose end it waits for.
    pub fn in_flight(self) -> impl Iterator<Item = NotificationId> + 'a {
        self.pages.incidents.in_flight.keys().copied()
    }

    /// By how many milliseconds engine time is ahead of wall time, as the last [`Event::Clocks`] said.
    pub fn ahead_of_wall(&self) -> i64 {
        self.world.alerts.ahead()
    }

    /// How many alerts are known, firing or not: the measure of its size.
    pub fn alerts_known(&self) -> u64 {
        self.world.alerts.len()
    }

    /// The counters, and how things stand.
    pub fn stats(&self) -> Stats {
        let stats = self.world.ledger.stats().clone();
        let mut stats =
            Stats { alerts: self.world.alerts.len(), firing: self.world.alerts.firing(), ..stats };
        self.mutes.count(&mut stats);
        stats.heartbeats = self.checks.heartbeats.last();
        stats.sender_clocks =
            self.checks.clocks.wrong(self.world.now).map(|(name, ms)| (name.clone(), ms)).collect();
        stats.changing_labels = self.checks.changing_labels(self.world);
        stats.bounds.insert(Bound::LabelSets, self.world.alerts.label_sets_forgotten());
        for (receiver, count) in self.orphans_by_receiver() {
            stats.receivers.entry(receiver).or_default().orphaned = count;
        }
        // A receiver that a reload removed goes once nothing is open there. Its counters stay in the ledger.
        let kept = |name: &SmolStr, of: &ReceiverStats| {
            self.world.policy.receivers.contains_key(name) || !of.is_idle()
        };
        stats.shadow.retain(|name, of| kept(name, of));
        let shadow = &stats.shadow;
        stats.receivers.retain(|name, of| kept(name, of) || shadow.contains_key(name));
        stats
    }
}

impl Pages {
    /// Tries again at once every notification that was refused. A person may have mended the URL, the
    /// key or the file that holds it, and the engine knows none of these.
    fn retry_all(&mut self, world: &mut World) {
        for (id, incident) in &mut self.incidents.all {
            for channel in incident.channels.iter_mut().filter(|channel| channel.was_refused()) {
                channel.retry_now();
                world.timers.set(Timer::Retry(*id), world.now);
            }
        }
        self.digests.retry_digests(world);
    }
}

#[cfg(test)]
mod tests;
