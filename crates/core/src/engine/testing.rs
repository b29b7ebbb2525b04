//! For tests: an engine, a pager that behaves as PagerDuty does, and a clock that the test turns.
//!
//! The feature `testing` compiles this module. No program uses it.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::audit::audit;
use crate::engine::consumers::{Consumers, assert_true};
use crate::engine::{Effects, Engine, Event};
use crate::model::{
    AlertId, Batch, Cause, Duration, Kind, LabelSet, Notification, NotificationId, Observation, Outcome,
    Rejection, Report, Silence, SilenceRequest, Source, Status, Timestamp, parse_matchers,
};
use crate::policy::{
    Alone, FailOpen, Flapping, GroupBy, IntegrationRef, KnownBy, Limits, Noise, Policy, Receiver, Route,
    SelfCheckSettings, Severities,
};

/// Where every timeline starts.
pub const START: Timestamp = Timestamp::EPOCH;

/// A policy with one route to `pd`, which has one integration that gets every notification.
pub fn policy(group_by: &[&str], noise: Noise) -> Policy {
    let pager = IntegrationRef::new("pagerduty[0]", KnownBy::DedupKey);
    Policy {
        severities: Severities::default(),
        ignore_labels: vec!["replica".into()],
        routes: vec![Route {
            group_by: GroupBy::Labels(group_by.iter().map(|g| (*g).into()).collect()),
            ..Route::root("pd".into(), 1)
        }],
        receivers: BTreeMap::from([("pd".into(), Receiver::new(vec![pager]))]),
        noise: BTreeMap::from([("default".into(), noise)]),
        resolve_timeout: Duration::from_mins(5),
        stale_after: Duration::from_hours(12),
        time_intervals: BTreeMap::new(),
        inhibit_rules: Vec::new(),
        lines: Default::default(),
        failopen: FailOpen::default(),
        heartbeats: Vec::new(),
        self_check: SelfCheckSettings { enabled: false, ..SelfCheckSettings::default() },
        limits: Limits::default(),
    }
}

/// The default profile, with this many thousandths of a penalty as the start of flapping, at every level.
pub fn flaps_at(suppress_at: u32) -> Noise {
    let (flapping, alone) = (Flapping { suppress_at, ..Flapping::default() }, Noise::default().alone);
    Noise { flapping, alone: Alone { pages: 0, ..alone }, ..Noise::default() }
}

/// The state that the pager shows under one key.
#[derive(Default, Debug, Clone)]
pub struct Shown {
    /// Whether an incident is open under the key.
    pub open: bool,
    /// How often a human was interrupted.
    pub interrupted: u32,
    /// The alerts that the last message said to fire.
    pub firing: Vec<AlertId>,
    /// How often it was told of an acknowledgement.
    pub acknowledged: u32,
}

/// How the receivers answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answers {
    /// At once, and well.
    Accept,
    /// Not at all: notifications stay in flight until [`World::answer`].
    Hang,
    /// With a final refusal.
    Reject,
}

/// An engine in a world that obeys the test.
pub struct World {
    /// The engine.
    pub engine: Engine,
    /// The time.
    pub now: Timestamp,
    /// How the receivers answer.
    pub answers: Answers,
    /// Integrations that refuse every notification.
    pub unreachable: Vec<&'static str>,
    /// The state of the pager, by integration and dedup key.
    pub pager: BTreeMap<(String, String), Shown>,
    /// Notifications that no receiver has answered yet.
    pub in_flight: Vec<Notification>,
    /// The notifications that the engine asked back.
    pub recalls: BTreeSet<NotificationId>,
    /// The state that the readers of an integration's messages hold for true.
    pub consumers: BTreeMap<String, Consumers>,
    /// Whether each message is held to the truth when it is decided.
    pub checks_messages: bool,
    /// Everything that went out, in order.
    pub sent: Vec<Notification>,
    /// Every decision, in order.
    pub decisions: Vec<crate::model::Decision>,
    /// Everything that happened to incidents, in order.
    pub history: Vec<crate::model::IncidentRecord>,
    /// Every event with its time, for replay.
    pub events: Vec<(Timestamp, Event)>,
    /// The effects of each event, as bytes.
    pub trace: Vec<String>,
}

impl World {
    /// A world at [`START`] with an engine without any events.
    pub fn new(policy: Policy) -> Self {
        World {
            engine: Engine::new(policy),
            now: START,
            answers: Answers::Accept,
            unreachable: Vec::new(),
            pager: BTreeMap::new(),
            in_flight: Vec::new(),
            recalls: BTreeSet::new(),
            consumers: BTreeMap::new(),
            checks_messages: true,
            sent: Vec::new(),
            decisions: Vec::new(),
            history: Vec::new(),
            events: Vec::new(),
            trace: Vec::new(),
        }
    }

    /// Handles one event, audits, and lets the receivers answer.
    pub fn handle(&mut self, event: Event) {
        let mut effects = Effects::watched();
        let before = self.engine.query().fills();
        // Everything due is decided before a new policy holds.
        let replaced = matches!(event, Event::Policy(_)).then(|| self.engine.policy().clone());
        self.engine.handle(self.now, &event, &mut effects);
        // A reload may leave more entries than it allows. Then at least no more are added.
        for (fill, before) in self.engine.query().fills().iter().zip(before) {
            assert!(fill.held <= fill.most.max(before.held), "no table holds more than it may: {fill:?}");
        }
        self.trace.push(format!("{effects:?}"));
        self.events.push((self.now, event));
        audit(&self.engine);
        self.decisions.append(&mut effects.take_disposed());
        self.history.append(&mut effects.history);
        for notification in effects.notifications {
            let key = (&notification.integration, &notification.dedup_key);
            assert!(
                !self.in_flight.iter().any(|n| (&n.integration, &n.dedup_key) == key),
                "two in flight for one incident at one integration"
            );
            if self.checks_messages {
                assert_true(&self.engine, replaced.as_ref(), &notification);
            }
            self.sent.push(notification.clone());
            self.in_flight.push(notification);
        }
        for id in effects.recalls {
            let in_flight = self.engine.query().in_flight().any(|known| known == id);
            assert!(in_flight, "{id:?} is asked back, and not in flight");
            self.recalls.insert(id);
        }
        match self.answers {
            Answers::Accept => self.answer(true),
            Answers::Reject => self.answer(false),
            Answers::Hang => {}
        }
    }

    /// Ends everything in flight.
    pub fn answer(&mut self, accept: bool) {
        for notification in std::mem::take(&mut self.in_flight) {
            let accept = accept && !self.unreachable.contains(&notification.integration.as_str());
            if accept {
                self.show(&notification);
            }
            let refusal = Rejection { reason: "clientError".into(), detail: "no".into(), ambiguous: false };
            let outcome = if accept { Outcome::Accepted } else { Outcome::Rejected(refusal) };
            self.handle(Event::Delivered(Report {
                id: notification.id,
                outcome,
                attempts: 1,
                message: None,
            }));
        }
    }

    /// The notifications in flight that the engine asked back come back. `ambiguous`: an attempt may have
    /// been accepted.
    pub fn give_back(&mut self, ambiguous: bool) {
        let recalls = std::mem::take(&mut self.recalls);
        let in_flight = std::mem::take(&mut self.in_flight);
        let (back, rest) = in_flight.into_iter().partition(|n| recalls.contains(&n.id));
        self.in_flight = rest;
        let back: Vec<Notification> = back;
        for n in back {
            let outcome = Outcome::Recalled { ambiguous };
            self.handle(Event::Delivered(Report { id: n.id, outcome, attempts: 3, message: None }));
        }
    }

    fn show(&mut self, n: &Notification) {
        // Where the endpoint is known, that is where it is shown.
        let mut known =
            self.engine.policy().receivers.get(&n.receiver).into_iter().flat_map(|r| &r.integrations);
        let known = known.find(|i| i.name == n.integration).filter(|i| i.endpoint != 0);
        let place = known.map_or_else(|| n.integration.to_string(), |i| format!("endpoint {}", i.endpoint));
        let shown = self.pager.entry((place, n.dedup_key.to_string())).or_default();
        match n.kind {
            Kind::Resolve => {
                assert!(shown.open, "a resolve of {} that was not open", n.dedup_key);
                shown.open = false;
            }
            Kind::Page => {
                let keyed = n.integration.starts_with("pagerduty");
                assert!(!shown.open || !keyed, "a page under the open key {} would be silent", n.dedup_key);
                shown.open = true;
                shown.interrupted += 1;
            }
            Kind::Update => assert!(shown.open, "an update of {} before its page", n.dedup_key),
            Kind::Acknowledge => {
                assert!(shown.open, "an acknowledgement of {} that is not open", n.dedup_key);
                shown.acknowledged += 1;
                return;
            }
            // It opens, changes and closes nothing.
            Kind::Digest => return,
        }
        self.consumers.entry(n.integration.to_string()).or_default().read(n);
        let firing = n.alerts.iter().filter(|a| a.status == Status::Firing);
        shown.firing = firing.map(|a| a.id).collect();
    }

    /// The labels of an alert that the engine knows.
    pub fn labels_of(&self, id: AlertId) -> Option<LabelSet> {
        self.engine.world.alerts.alert(id).map(|alert| alert.labels.clone())
    }

    /// The number of entries in a table that has a bound.
    pub fn held(&self, table: &str) -> u64 {
        self.engine.query().fills().iter().find(|fill| fill.table == table).map_or(0, |fill| fill.held)
    }

    /// Lets time pass, stopping at every deadline on the way.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some((at, _)) = self.engine.next_deadline()
            && at <= end
        {
            self.now = self.now.max(at);
            self.handle(Event::Tick);
        }
        self.now = end;
    }

    /// The policy that it was born under, as far as none was adopted since.
    pub fn events_policy(&self) -> Policy {
        self.engine.policy().clone()
    }

    /// A person silences the alerts that the matchers find, from then on and for so long.
    pub fn silence(&mut self, matchers: &str, starts_at: Timestamp, lasts: Duration) {
        self.ask_silence(&SilenceRequest::Set(Silence {
            id: "".into(),
            matchers: vec![parse_matchers(matchers).expect("matchers of a test")],
            starts_at,
            ends_at: starts_at + lasts,
            updated_at: START,
            created_by: "ada".into(),
            comment: "c".into(),
        }));
    }

    /// A person makes, changes or ends a silence.
    pub fn ask_silence(&mut self, request: &SilenceRequest) {
        let change = self.engine.query().plan_silence(self.now, request);
        self.handle(Event::Silence(change.expect("a silence of a test")));
    }

    /// One request.
    pub fn say(&mut self, source: Source, peer: &str, observations: Vec<Observation>) {
        self.handle(Event::Observe(Batch::new(source, peer, observations)));
    }

    /// A request as Alertmanager sends it: repeats that change nothing come as `Repeats`.
    pub fn webhook(&mut self, peer: &str, observations: Vec<Observation>) {
        self.take(Source::Alertmanager, peer, observations);
    }

    /// A request of API v2, as Prometheus sends it: repeats that change nothing come as `Repeats`.
    pub fn prometheus(&mut self, peer: &str, observations: Vec<Observation>) {
        self.take(Source::Prometheus, peer, observations);
    }

    fn take(&mut self, source: Source, peer: &str, observations: Vec<Observation>) {
        let batch = Batch::new(source, peer, observations);
        match self.engine.query().repeats(&batch) {
            Some(repeats) => self.handle(Event::Repeats(repeats)),
            None => self.handle(Event::Observe(batch)),
        }
    }
}

/// A label set.
pub fn labels(pairs: &[(&str, &str)]) -> LabelSet {
    LabelSet::from_pairs(pairs.iter().copied())
}

/// An alert that fires.
pub fn firing(labels: &LabelSet, starts_at: Timestamp) -> Observation {
    Observation::new(Status::Firing, labels.clone(), starts_at, None)
}

/// An alert that ended.
pub fn resolved(labels: &LabelSet, starts_at: Timestamp, ends_at: Timestamp) -> Observation {
    Observation { status: Status::Resolved, ends_at: Some(ends_at), ..firing(labels, starts_at) }
}

/// The engine that has handled `events` from the beginning, and the effects of each.
pub fn replay(policy: Policy, events: &[(Timestamp, Event)]) -> (Engine, Vec<String>) {
    let (mut engine, mut trace) = (Engine::new(policy), Vec::new());
    for (now, event) in events {
        let mut effects = Effects::watched();
        engine.handle(*now, event, &mut effects);
        trace.push(format!("{effects:?}"));
    }
    (engine, trace)
}

/// A cause in short, for timelines and failures: `storm{end: 5, pages: 11, start: 10, window: 10m}`.
pub fn brief(cause: &Cause) -> String {
    serde_json::to_value(cause).map(|value| brief_value(&value)).unwrap_or_default()
}

fn brief_value(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => format!("[{}]", all.iter().map(brief_value).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let tag = fields.get("type").map(brief_value).unwrap_or_default();
            let fields: BTreeMap<_, _> = fields.iter().filter(|(name, _)| *name != "type").collect();
            let fields: Vec<String> =
                fields.into_iter().map(|(name, value)| format!("{name}: {}", brief_value(value))).collect();
            if fields.is_empty() { tag } else { format!("{tag}{{{}}}", fields.join(", ")) }
        }
        other => other.to_string(),
    }
}
