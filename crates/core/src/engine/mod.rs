//! The deterministic core: `(now, event)` → dispositions and effects.
//!
//! Sans-IO: no async, threads, clock, randomness, globals, floats, logging or hash-order dependence in
//! here. Time, configuration and outcomes of deliveries come in as events. The same events therefore give
//! the same decisions, byte for byte, in the server, in a replay and after a crash.
//!
//! **Every event must be durable before its effects leave.** The caller journals the event with the time it
//! gave, and only then releases the [`Effects`].

mod accounting;
mod alerts;
#[cfg(any(test, feature = "testing"))]
mod audit;
#[cfg(any(test, feature = "testing"))]
pub mod consumers;
mod damping;
mod destinations;
mod event;
mod few;
mod forms;
mod ids;
mod incidents;
mod keyed;
mod mutes;
mod occurrences;
mod pages;
mod pairs;
mod pipeline;
mod query;
mod renames;
mod repeats;
mod self_check;
mod snapshot;
mod state;
mod stats;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod timers;
mod transitions;
mod world;

use serde::{Deserialize, Serialize};

pub use event::{Acknowledge, Alarm, Effects, Event, IncidentRemark, PeriodReport, Release, Why};
pub use occurrences::PeerId;
pub use query::alerts::{AlertDetail, AlertQuery, AlertStandings, KnownAlert};
pub use query::board::{Board, BoardOrder, BoardPart, BoardQuery, Row, Standing};
pub use query::dry::{DryOutcome, DryRoute, DryRun, DryStep};
pub use query::firing::{FiringAlert, RouteStanding};
pub use query::flappers::Flapper;
pub use query::incidents::{IncidentCursor, IncidentQuery, OpenIncident, SHORTEST_KEY};
pub use query::listing::RuleCount;
pub use query::proposal::Matching;
pub use query::row_state::{NextStep, Origin, RowState};
pub use query::undelivered::{Observing, Refused};
pub use query::{Fill, Found, Query};
pub use repeats::{GatheredRepeats, Repeat, Repeats};
pub use snapshot::RestoreError;
pub use stats::{Bound, PAGE_DELAY_BUCKETS, ReceiverStats, Stats};
pub use world::MERGED;

use crate::model::Timestamp;
use crate::policy::Policy;
use ids::{GroupKey, IncidentId};
use incidents::Incidents;
use mutes::Mutes;
use pages::Pages;
use self_check::SelfCheck;
use state::AlertState;
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
    /// An engine without any events.
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

    /// Takes an event in at `now`. It adds to `effects` the effects of the event and of the time that
    /// passed. `now` is milliseconds of the engine's own time. An earlier `now` than before counts as the
    /// same.
    pub fn handle(&mut self, now: Timestamp, event: &Event, effects: &mut Effects) {
        let before = self.world.now;
        self.world.now = before.max(now);
        self.world.accounting.watch(effects.repeats.is_some());
        if before == Timestamp::ZERO {
            self.checks.heartbeats.begin(&mut self.world);
        }
        let mut was_set = false;
        match event {
            Event::Started => self.started(before),
            Event::Clocks(ahead) => {
                was_set = *ahead != self.world.alerts.ahead();
                self.world.alerts.clocks(*ahead);
            }
            // Repeats are gathered before they are an event. The deadlines that they extend have not
            // passed.
            Event::Repeats(repeats) => self.pages.repeated(&mut self.world, repeats),
            _ => {}
        }
        self.mute_clock(was_set);
        self.fire_timers();
        match event {
            Event::Observe(batch) => self.observe(batch),
            Event::Quarantine(batch) => self.checks.quarantine.take(&mut self.world, &mut self.pages, batch),
            Event::Delivered(report) => self.delivered(report),
            Event::Failed(failed) => self.pages.incidents.record_failure(&self.world, failed),
            Event::Replay(id) => {
                if !self.pages.incidents.retry_refused(&mut self.world, *id) {
                    effects.resend.push(*id);
                }
            }
            Event::Release(release) => self.pages.released(&mut self.world, release),
            Event::Acknowledge(change) => self.pages.incidents.acknowledge(&mut self.world, change),
            Event::Remark(remark) => self.pages.incidents.remark(&self.world, remark),
            Event::Silence(change) => self.mutes.silence(&mut self.world, change),
            Event::Policy(policy) => self.adopt((**policy).clone()),
            Event::Report(report) => {
                self.pages.reports.send(&mut self.world, &mut self.pages.incidents, report);
            }
            Event::Alarm(alarm) => self.checks.watch.alarm(&mut self.world, &mut self.pages, alarm),
            Event::Repeats(_) | Event::Clocks(_) | Event::Started | Event::Tick => {}
        }
        self.fire_timers();
        while let Some(id) = self.pages.incidents.touched.pop_first() {
            self.pages.settle(&mut self.world, id);
        }
        self.pages.forget_settled(&mut self.world);
        let Incidents { outgoing, recalls, history, made_good, .. } = &mut self.pages.incidents;
        effects.notifications.append(outgoing);
        // Most events have none of the others. A look costs less than an append.
        if !recalls.is_empty() {
            effects.recalls.append(recalls);
        }
        if !history.is_empty() {
            effects.history.append(history);
        }
        if !made_good.is_empty() {
            effects.made_good.append(made_good);
        }
        effects.decisions.append(&mut self.world.accounting.take_decisions());
        if let Some(repeats) = &mut effects.repeats {
            repeats.append(&mut self.world.accounting.take_repeats());
        }
    }

    /// The program started. It was down since `before` at the earliest.
    fn started(&mut self, before: Timestamp) {
        self.world.alerts.restarted(self.world.now, &self.world.policy, &mut self.world.timers);
        if before > Timestamp::ZERO {
            self.checks.heartbeats.started(&mut self.world, before);
        }
        self.pages.retry_all(&mut self.world);
        self.pages.incidents.recall_anew(&self.world);
    }

    /// When [`Self::handle`] wants to be called next, if nothing else happens, and why.
    pub fn next_deadline(&self) -> Option<(Timestamp, Why)> {
        self.world.timers.next()
    }

    /// The engine's time: that of the latest event.
    pub fn now(&self) -> Timestamp {
        self.world.now
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.world.policy
    }

    /// The next due timer. The engine first takes in all due evidence, then settles whether alerts are
    /// muted, and then acts on them.
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
                Timer::Hold(destination, alert) => self.pages.hold_ended(&mut self.world, destination, alert),
                Timer::Reuse(destination, alert) => self.pages.reuse(&mut self.world, destination, alert),
                Timer::Confirm(destination, alert) => {
                    self.pages.confirmed(&mut self.world, destination, alert)
                }
                Timer::GroupWait(group) => self.pages.page_due(&mut self.world, &self.mutes, &group),
                Timer::ForgetSeries(destination, series) => {
                    self.pages.forget_series(&mut self.world, destination, series)
                }
                Timer::Update(id) => self.pages.incidents.update_due(&self.world, id),
                Timer::ResolveHold(id) => self.pages.close(&mut self.world, id),
                Timer::Repeat(id) => self.pages.repeat(&mut self.world, id),
                Timer::Retry(id) => self.pages.incidents.pump(&mut self.world, id),
                Timer::Mute => self.mute_clock(false),
                Timer::Digest(receiver) => {
                    let Pages { digests, incidents, groups, .. } = &mut self.pages;
                    digests.due(&mut self.world, (incidents, groups), &receiver);
                }
                Timer::Unheard(alert) => {
                    self.world.alerts.watched(alert);
                    self.checks.watch.unheard(&self.mutes, &mut self.world, &self.pages, alert);
                }
                Timer::Undelivered(id) => self.checks.watch.undelivered(&mut self.world, &mut self.pages, id),
                Timer::Respond(id) => self.pages.incidents.escalate(&mut self.world, id),
                Timer::SelfCheck => self.checks.look(&self.mutes, &mut self.world, &mut self.pages),
                Timer::Heartbeat => self.checks.heartbeats.due(&mut self.world, &mut self.pages),
                Timer::ForgetState(destination, alert) => {
                    self.pages.incidents.forget_state(&mut self.world, destination, alert)
                }
                Timer::ForgetGroup(group) => self.pages.forget_group(&group),
            }
        }
    }

    /// Answers questions about alerts, incidents, silences and counters.
    pub fn query(&self) -> Query<'_> {
        let Engine { world, mutes, pages, checks } = self;
        Query { world, mutes, pages, checks }
    }
}

#[cfg(test)]
mod tests;
