//! A dry run: the future of an alert, decided by a copy of this engine that holds everything relevant to
//! the alert.
//!
//! The copy is a whole engine that handles a real event. Nothing here decides. The copy leaves out other
//! alerts and other groups, which the alert does not meet. It assumes that receivers accept every page at
//! once, and that an inhibitor that fires now goes on.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::engine::alerts::Alert;
use crate::engine::ids::DestinationId;
use crate::engine::incidents::Incidents;
use crate::engine::pages::Pages;
use crate::engine::pages::series::series_of;
use crate::engine::query::Query;
use crate::engine::self_check::SelfCheck;
use crate::engine::timers::{Timer, Timers};
use crate::engine::world::World;
use crate::engine::{Effects, Engine, Event};
use crate::model::{
    AlertId, Batch, Cause, Decision, Disposition, Duration, Kind, LabelSet, Observation, Outcome, Report,
    Source, Status, Timestamp,
};

/// How far ahead of the chosen time it looks for the outcome.
const HORIZON: Duration = Duration::from_hours(24);
/// The most deadlines that it steps through.
const MOST_STEPS: usize = 200;

/// The result of a dry run.
#[derive(Clone, Debug)]
pub struct DryRun {
    /// When it is taken to start: the time that was asked for, or now if that has passed.
    pub at: Timestamp,
    /// Name of its severity level.
    pub severity: SmolStr,
    /// The routes that it takes.
    pub routes: Vec<DryRoute>,
    /// The steps that follow, in order.
    pub steps: Vec<DryStep>,
    /// Whether a receiver is paged within the horizon.
    pub pages: bool,
}

/// One way that it takes.
#[derive(Clone, Debug)]
pub struct DryRoute {
    /// Alertmanager's route key.
    pub key: SmolStr,
    /// The line of the configuration.
    pub line: u32,
    /// Where it leads.
    pub receiver: SmolStr,
    /// The noise profile.
    pub noise: SmolStr,
    /// The group that it falls into.
    pub group: LabelSet,
    /// Its flap penalty there at that time, and the penalty from which it flaps, in thousandths.
    pub penalty: (u64, u32),
}

/// One thing that follows.
#[derive(Clone, Debug)]
pub enum DryStep {
    /// The observation is disposed.
    Decided(Decision),
    /// Nothing is decided yet. The time is that of the engine's next look at waiting alerts.
    Waits {
        /// Since when.
        at: Timestamp,
        /// Until when, if nothing else happens.
        until: Timestamp,
    },
    /// A message leaves.
    Sent {
        /// When.
        at: Timestamp,
        /// The receiver.
        receiver: SmolStr,
        /// By which integration.
        integration: SmolStr,
        /// The effect of the notification.
        kind: Kind,
        /// Why.
        cause: Cause,
    },
}

/// The final result for the alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DryOutcome {
    /// It pages.
    Pages {
        /// The receiver.
        receiver: SmolStr,
        /// So long after its start.
        after: Duration,
    },
    /// It sends no page. This is its disposition.
    Disposed {
        /// The disposition.
        disposition: Disposition,
        /// Why.
        cause: Cause,
    },
    /// Nothing is decided within the horizon.
    Undecided,
}

impl DryRun {
    /// The final result for the alert.
    pub fn outcome(&self) -> DryOutcome {
        let page = self.steps.iter().find_map(|step| match step {
            DryStep::Sent { at, receiver, kind: Kind::Page, .. } => {
                Some(DryOutcome::Pages { receiver: receiver.clone(), after: at.since(self.at) })
            }
            _ => None,
        });
        let disposed = self.steps.iter().find_map(|step| match step {
            DryStep::Decided(decision) if !decision.observed => Some(DryOutcome::Disposed {
                disposition: decision.disposition,
                cause: decision.cause.clone(),
            }),
            _ => None,
        });
        page.or(disposed).unwrap_or(DryOutcome::Undecided)
    }
}

impl Query<'_> {
    /// The future of an alert with these labels that starts to fire at `at`.
    pub fn dry_run(&self, labels: &LabelSet, at: Timestamp) -> DryRun {
        let at = at.max(self.world.now);
        let instance = AlertId::of(labels, |_| false);
        let alert = self.world.alerts.owner(instance, labels, &self.world.policy);
        let mut copy = self.about(alert, labels);
        copy.handle(at, &Event::Tick, &mut Effects::default());
        let telling = self.world.policy.telling(labels);
        let routes = self.world.policy.matching_routes(labels).into_iter().map(|index| {
            let route = &self.world.policy.routes[index];
            let destination = self.world.destinations.of_route(index);
            let damping =
                destination.and_then(|l| copy.world.alerts.state(alert, l).map(|t| (l, &t.damping)));
            let penalty =
                damping.map_or(0, |(l, d)| d.penalty_at(at, &copy.world.destinations.get(l).noise.flapping));
            let suppress_at = self.world.policy.noise.get(&route.noise).map_or(0, |n| n.flapping.suppress_at);
            DryRoute {
                key: route.key.clone(),
                line: route.line,
                receiver: route.receiver.clone(),
                noise: route.noise.clone(),
                group: route.group_by.labels_of(telling.as_ref().unwrap_or(labels)),
                penalty: (penalty, suppress_at),
            }
        });
        let routes = routes.collect();
        let observation = Observation::new(Status::Firing, labels.clone(), at, None);
        let batch = Batch::new(Source::Alertmanager, "dry run", vec![observation]);
        let mut run =
            DryRun { at, severity: self.world.level_name(labels), routes, steps: Vec::new(), pages: false };
        let mut now = at;
        let mut event = Event::Observe(batch);
        for _ in 0..MOST_STEPS {
            step(&mut copy, now, &event, alert, &mut run);
            let Some(next) = copy.query().dry_deadline(alert).filter(|next| *next <= at + HORIZON) else {
                break;
            };
            if now == at {
                run.steps.push(DryStep::Waits { at: now, until: next });
            }
            (now, event) = (now.max(next), Event::Tick);
        }
        run
    }

    /// The time of the next open decision about `alert`. `None` once all are made.
    fn dry_deadline(&self, alert: AlertId) -> Option<Timestamp> {
        let destinations = self.world.taken_destinations(alert);
        let waits = destinations.iter().any(|destination| {
            let Some(state) = self.world.alerts.state(alert, *destination) else { return false };
            let muted = state.is_kept_by_mute();
            state.held_until().is_some() || state.waits_in().is_some() || muted
        });
        let notified = |destination: &DestinationId| {
            let state = self.world.alerts.state(alert, *destination);
            let incident = state.and_then(|t| self.pages.incidents.all.get(&t.incident()?));
            incident.is_none_or(|i| i.waiting.iter().all(|(waiting, _)| *waiting != alert))
        };
        if !waits && destinations.iter().all(notified) {
            return None;
        }
        self.world.timers.next().map(|(at, _)| at)
    }

    /// A copy of everything that concerns an alert.
    fn about(&self, alert: AlertId, labels: &LabelSet) -> Engine {
        let inhibitor = self.mutes.inhibitor(labels);
        let alerts = self.world.alerts.only(alert, inhibitor);
        let mut destinations: BTreeSet<DestinationId> =
            self.world.destinations.matching(&self.world.policy, labels).into_iter().collect();
        destinations.extend(self.world.taken_destinations(alert));
        let keys = destinations.iter().flat_map(|destination| {
            [self.world.group_key(*destination, labels), self.world.merged_key(*destination)]
        });
        let groups: BTreeMap<_, _> =
            keys.filter_map(|key| self.pages.groups.get(&key).map(|g| (key, g.clone()))).collect();
        let mut ids: BTreeSet<_> = groups.values().flat_map(|g| g.open.iter().copied()).collect();
        ids.extend(alerts.states_of(alert).filter_map(|(_, t)| t.incident()));
        let incidents: BTreeMap<_, _> =
            ids.into_iter().filter_map(|id| Some((id, self.pages.incidents.all.get(&id)?.clone()))).collect();
        let series = destinations.iter().map(|destination| (*destination, series_of(labels)));
        let mut timers = Timers::default();
        let incident_timers =
            incidents.keys().flat_map(|id| [Timer::Update(*id), Timer::ResolveHold(*id), Timer::Repeat(*id)]);
        let destination_timers = destinations.iter().flat_map(|destination| {
            [
                Timer::Hold(*destination, alert),
                Timer::Reuse(*destination, alert),
                Timer::Confirm(*destination, alert),
            ]
        });
        let wanted =
            incident_timers.chain(destination_timers).chain(groups.keys().cloned().map(Timer::GroupWait));
        for timer in wanted.chain([Timer::Mute]) {
            if let Some(at) = self.world.timers.deadline(&timer) {
                timers.set(timer, at);
            }
        }
        let in_flight = self.pages.incidents.in_flight.iter();
        let in_flight = in_flight.filter(|(_, (id, _))| incidents.contains_key(id)).map(own).collect();
        let mut copy = Engine {
            mutes: self.mutes.only(&self.world.policy, &alerts, labels),
            world: World {
                now: self.world.now,
                policy: self.world.policy.clone(),
                destinations: self.world.destinations.clone(),
                alerts,
                timers,
                accounting: self.world.accounting.clone(),
                searched: self.world.searched.clone(),
            },
            pages: Pages {
                groups,
                series: series.filter_map(|key| Some((key, self.pages.series.get(&key)?.clone()))).collect(),
                flows: self.pages.flows.clone(),
                incidents: Incidents {
                    in_flight,
                    all: incidents,
                    next_incident: self.pages.incidents.next_incident,
                    next_notification: self.pages.incidents.next_notification,
                    ..Incidents::default()
                },
                ..Pages::default()
            },
            checks: SelfCheck {
                heartbeats: self.checks.heartbeats.clone(),
                bounds: self.checks.bounds.clone(),
                quarantine: self.checks.quarantine.clone(),
                ..SelfCheck::default()
            },
        };
        copy.pages.incidents.kin_anew();
        copy
    }

    /// The labels of a known alert.
    pub fn labels_of(&self, alert: AlertId) -> Option<LabelSet> {
        self.world.alerts.alert(alert).map(|a: &Alert| a.labels.clone())
    }
}

/// Handles `event`, lets every receiver accept, and records the effects on `alert`.
fn step(engine: &mut Engine, now: Timestamp, event: &Event, alert: AlertId, run: &mut DryRun) {
    let mut effects = Effects::default();
    engine.handle(now, event, &mut effects);
    // The copy also reports repeats that were counted before. They are not this observation.
    let own = |d: &Decision| d.alert == alert && d.basis.repeats_since.is_none();
    run.steps.extend(effects.decisions.into_iter().filter(own).map(DryStep::Decided));
    for notification in effects.notifications {
        if notification.alerts.iter().any(|a| a.id == alert) {
            run.pages |= notification.kind == Kind::Page;
            run.steps.push(DryStep::Sent {
                at: now,
                receiver: notification.receiver,
                integration: notification.integration,
                kind: notification.kind,
                cause: notification.cause,
            });
        }
        let report = Report { id: notification.id, outcome: Outcome::Accepted, attempts: 1, message: None };
        engine.handle(now, &Event::Delivered(report), &mut Effects::default());
    }
}

fn own<K: Copy, V: Copy>((key, value): (&K, &V)) -> (K, V) {
    (*key, *value)
}
