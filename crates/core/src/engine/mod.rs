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
mod pairs;
mod pipeline;
mod proposal;
mod release;
mod renames;
mod repeats;
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

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

pub use board::{AlertDetail, Board, BoardQuery, IncidentDetail, NextStep, Origin, Row, RowAlert, RowState};
pub use bounds::Fill;
pub use dry::{DryOutcome, DryRoute, DryRun, DryStep};
pub use event::{Alarm, Effects, Event, Release, Why};
pub use flappers::Flapper;
pub use occurrences::PeerId;
pub use proposal::Matching;
pub use repeats::{GatheredRepeats, Repeat, Repeats};
pub use snapshot::RestoreError;
pub use stats::{Bound, PAGE_DELAY_BUCKETS, ReceiverStats, Stats};
pub use undelivered::{Observing, Refused};
pub use view::{
    AlertQuery, Glance, INCIDENT_STATES, IncidentAlert, IncidentCursor, IncidentQuery, KnownAlert,
    OpenIncident, Standing,
};

use crate::model::{AlertId, LabelSet, Notification, NotificationId, Timestamp};
use crate::policy::Policy;
use alerts::Alerts;
use aside::Asides;
use bounds::{Bounds, Searched};
use churn::Churn;
use clocks::Clocks;
use digest::Digests;
use flow::Flow;
use groups::{Group, GroupKey};
use heartbeats::Heartbeats;
use incident::{Incident, IncidentId};
use lanes::{LaneId, Lanes};
use ledger::Ledger;
use mute::Mutes;
use observe::Mirrors;
use series::Series;
use state::Track;
use timers::{Timer, Timers};
use watch::Watch;

/// Decides about alerts. One verb: [`Engine::handle`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    now: Timestamp,
    policy: Policy,
    lanes: Lanes,
    alerts: Alerts,
    #[serde(with = "pairs")]
    groups: BTreeMap<GroupKey, Group>,
    #[serde(with = "pairs")]
    incidents: BTreeMap<IncidentId, Incident>,
    #[serde(with = "pairs")]
    series: BTreeMap<(LaneId, AlertId), Series>,
    #[serde(with = "pairs")]
    in_flight: BTreeMap<NotificationId, (IncidentId, usize)>,
    #[serde(with = "pairs")]
    flows: BTreeMap<SmolStr, Flow>,
    /// Refused notifications that can be asked for again.
    #[serde(with = "pairs")]
    refused: BTreeMap<NotificationId, (IncidentId, usize)>,
    /// Incidents that are open at an integration that the configuration does not have any more.
    #[serde(default)]
    orphans: BTreeSet<IncidentId>,
    timers: Timers,
    #[serde(default)]
    mutes: Mutes,
    #[serde(default)]
    digests: Digests,
    /// Incidents of Squelch's own that are open.
    #[serde(default, with = "pairs")]
    own: BTreeMap<GroupKey, IncidentId>,
    #[serde(default)]
    watch: Watch,
    #[serde(default)]
    clocks: Clocks,
    #[serde(default)]
    churn: Churn,
    #[serde(default)]
    heartbeats: Heartbeats,
    #[serde(default)]
    bounds: Bounds,
    #[serde(default)]
    searched: Searched,
    #[serde(default)]
    asides: Asides,
    #[serde(default)]
    mirrors: Mirrors,
    ledger: Ledger,
    next_incident: u64,
    next_notification: u64,
    /// Alerts of which an incident could not say that they resolved, since they fire elsewhere: which, and
    /// whether its messages say that they fire.
    #[serde(default, with = "pairs")]
    unsaid: BTreeMap<AlertId, BTreeSet<(IncidentId, bool)>>,
    /// Incidents by the labels of their group. Follows from the incidents, so is no part of a snapshot.
    #[serde(skip)]
    kin: BTreeMap<LabelSet, BTreeSet<IncidentId>>,
    /// Incidents that the event at hand touched; empty between events.
    #[serde(skip)]
    touched: BTreeSet<IncidentId>,
    /// Incidents of which all is said since the event at hand began; empty between events.
    #[serde(skip)]
    settled: Vec<lifecycle::Settled>,
    /// Notifications that the event at hand led to; empty between events.
    #[serde(skip)]
    outgoing: Vec<Notification>,
    /// Refused notifications that the event at hand made good; empty between events.
    #[serde(skip)]
    made_good: Vec<NotificationId>,
}

impl Engine {
    /// An engine that has heard of nothing yet.
    pub fn new(policy: Policy) -> Self {
        let mut engine = Engine {
            now: Timestamp::ZERO,
            policy: policy.clone(),
            lanes: Lanes::default(),
            alerts: Alerts::default(),
            groups: BTreeMap::new(),
            incidents: BTreeMap::new(),
            series: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            flows: BTreeMap::new(),
            refused: BTreeMap::new(),
            orphans: BTreeSet::new(),
            searched: Searched::default(),
            timers: Timers::default(),
            mutes: Mutes::default(),
            digests: Digests::default(),
            own: BTreeMap::new(),
            watch: Watch::default(),
            clocks: Clocks::default(),
            churn: Churn::default(),
            heartbeats: Heartbeats::default(),
            bounds: Bounds::default(),
            asides: Asides::default(),
            mirrors: Mirrors::default(),
            ledger: Ledger::default(),
            next_incident: 1,
            next_notification: 1,
            unsaid: BTreeMap::new(),
            kin: BTreeMap::new(),
            touched: BTreeSet::new(),
            settled: Vec::new(),
            outgoing: Vec::new(),
            made_good: Vec::new(),
        };
        engine.adopt(policy);
        engine
    }

    /// Takes an event in at `now` and adds to `effects` what follows from it and from the time that
    /// passed. `now` is milliseconds of the engine's own time; an earlier one than before counts as
    /// the same.
    pub fn handle(&mut self, now: Timestamp, event: &Event, effects: &mut Effects) {
        self.now = self.now.max(now);
        self.ledger.watch(effects.repeats.is_some());
        if matches!(event, Event::Started) {
            self.alerts.restarted(self.now, &self.policy, &mut self.timers);
            self.heartbeats_started();
            self.retry_all();
        }
        if let Event::Clocks(ahead) = event {
            self.alerts.clocks(*ahead);
        }
        if let Event::Repeats(repeats) = event {
            // Repeats are gathered before they are an event: what they extend has not passed.
            self.repeated(repeats);
        }
        self.mute_clock();
        self.fire_timers();
        match event {
            Event::Observe(batch) => self.observe(batch),
            Event::Aside(batch) => self.put_aside(batch),
            Event::Delivered(report) => self.delivered(report),
            Event::Replay(id) => {
                if !self.retry_refused(*id) {
                    effects.resend.push(*id);
                }
            }
            Event::Release(release) => self.released(release),
            Event::Silence(change) => self.silence(change),
            Event::Policy(policy) => self.adopt((**policy).clone()),
            Event::Alarm(alarm) => self.alarm(alarm),
            Event::Repeats(_) | Event::Clocks(_) | Event::Started | Event::Tick => {}
        }
        self.fire_timers();
        while let Some(id) = self.touched.pop_first() {
            self.settle(id);
        }
        self.forget_settled();
        effects.notifications.append(&mut self.outgoing);
        effects.made_good.append(&mut self.made_good);
        effects.decisions.append(&mut self.ledger.take_decisions());
        if let Some(repeats) = &mut effects.repeats {
            repeats.append(&mut self.ledger.take_repeats());
        }
    }

    /// When [`Self::handle`] wants to be called next, if nothing else happens, and why.
    pub fn next_deadline(&self) -> Option<(Timestamp, Why)> {
        self.timers.next()
    }

    /// The engine's time: the latest at which it handled anything.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The notifications of incidents whose end it waits for.
    pub fn in_flight(&self) -> impl Iterator<Item = NotificationId> {
        self.in_flight.keys().copied()
    }

    /// By how many milliseconds engine time is ahead of wall time, as the last [`Event::Clocks`] said.
    pub fn ahead_of_wall(&self) -> i64 {
        self.alerts.ahead()
    }

    /// How many alerts are known, firing or not: the measure of its size.
    pub fn alerts_known(&self) -> u64 {
        self.alerts.len()
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The counters, and how things stand.
    pub fn stats(&self) -> Stats {
        let stats = self.ledger.stats().clone();
        let mut stats = Stats { alerts: self.alerts.len(), firing: self.alerts.firing(), ..stats };
        self.mutes.count(&mut stats);
        stats.heartbeats = self.heartbeats.last();
        stats.sender_clocks = self.clocks.wrong(self.now).map(|(name, ms)| (name.clone(), ms)).collect();
        stats.changing_labels = self.changing_labels();
        stats.bounds.insert(Bound::LabelSets, self.alerts.label_sets_forgotten());
        for (receiver, count) in self.orphans_by_receiver() {
            stats.receivers.entry(receiver).or_default().orphaned = count;
        }
        // A receiver that a reload removed goes once nothing is open there. Its counters stay in the ledger.
        let kept =
            |name: &SmolStr, of: &ReceiverStats| self.policy.receivers.contains_key(name) || !of.is_idle();
        stats.shadow.retain(|name, of| kept(name, of));
        let shadow = &stats.shadow;
        stats.receivers.retain(|name, of| kept(name, of) || shadow.contains_key(name));
        stats
    }

    fn adopt(&mut self, policy: Policy) {
        self.rename_receivers(&policy);
        self.lanes.update(&policy);
        self.ledger.update(&policy);
        self.lead_channels(&policy);
        for id in self.incidents.keys() {
            self.timers.set(Timer::Retry(*id), self.now);
        }
        self.policy = policy;
        self.waits_adopt();
        self.mutes_adopt();
        self.digests_adopt();
        self.retry_all();
        self.heartbeats_adopt();
        self.level_all();
        self.readmit();
        for alert in self.alerts.iter().filter(|(_, a)| a.firing()).map(|(id, _)| *id).collect::<Vec<_>>() {
            self.watch_anew(alert);
        }
        for id in self.incidents.keys().copied().collect::<Vec<_>>() {
            self.move_on(id);
            self.watch_orphan(id);
        }
    }

    /// Tries again at once every notification that was refused. A person may have mended the URL, the
    /// key or the file that holds it, and the engine knows none of these.
    fn retry_all(&mut self) {
        for (id, incident) in &mut self.incidents {
            for channel in incident.channels.iter_mut().filter(|channel| channel.was_refused()) {
                channel.retry_now();
                self.timers.set(Timer::Retry(*id), self.now);
            }
        }
        self.retry_digests();
    }

    /// What is due next. Whether an alert is muted is settled before anything is done about it, and
    /// after all is heard that was due to be heard.
    fn next_timer(&mut self) -> Option<Timer> {
        let due = self.timers.pop_due(self.now);
        if due.as_ref().is_some_and(Timer::is_evidence) {
            return due;
        }
        match self.remute() {
            true => due.or_else(|| self.timers.pop_due(self.now)),
            false => due,
        }
    }

    fn fire_timers(&mut self) {
        while let Some(timer) = self.next_timer() {
            match timer {
                Timer::Alert(alert) => self.alert_due(alert),
                Timer::Hold(lane, alert) => self.hold_ended(lane, alert),
                Timer::Reuse(lane, alert) => self.reuse(lane, alert),
                Timer::Confirm(lane, alert) => self.confirmed(lane, alert),
                Timer::GroupWait(group) => self.gathered(&group),
                Timer::ForgetSeries(lane, series) => self.forget_series(lane, series),
                Timer::Update(id) => self.update_due(id),
                Timer::ResolveHold(id) => self.close(id),
                Timer::Repeat(id) => self.repeat(id),
                Timer::Retry(id) => self.pump(id),
                Timer::Mute => self.mute_clock(),
                Timer::Digest(receiver) => self.digest(&receiver),
                Timer::Unheard(alert) => {
                    self.alerts.watched(alert);
                    self.unheard(alert);
                }
                Timer::Undelivered(id) => self.undelivered(id),
                Timer::Watch => self.look(),
                Timer::Heartbeat => self.heartbeat_due(),
                Timer::ForgetTrack(lane, alert) => self.forget_track(lane, alert),
                Timer::ForgetGroup(group) => self.forget_group(&group),
            }
        }
    }
}

#[cfg(test)]
mod tests;
