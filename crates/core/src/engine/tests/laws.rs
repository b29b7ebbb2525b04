//! Laws over random histories, and a naive oracle.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::engine::incidents::incident::Side;
use crate::engine::testing::*;
use crate::engine::{Engine, Event};
use crate::model::{
    AlertId, Duration, Fingerprint, Kind, LabelSet, Notification, SilenceRequest, Source, Status, Timestamp,
    parse_matchers,
};
use crate::policy::{
    Flapping, GroupBy, InhibitRule, IntegrationRef, KnownBy, Limit, Mode, Noise, Policy, Storm, TimeInterval,
    TimeRange,
};

const ALERTS: usize = 6;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Fire { alerts: Vec<usize>, peer: u8, api_v2: bool, moved: i64 },
    Resolve { alerts: Vec<usize>, peer: u8 },
    Advance(u64),
    Answers(u8),
    Answer(bool),
    GiveBack,
    Started,
    Reload(u8),
    Snapshot,
    Silence { matchers: usize, delay: u64, length: u64 },
    Expire(usize),
    Acknowledge(bool),
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let alerts = || prop::collection::vec(0..ALERTS, 1..4);
    prop_oneof![
        6 => (alerts(), 0u8..2, any::<bool>(), -30i64..30)
            .prop_map(|(alerts, peer, api_v2, moved)| Step::Fire { alerts, peer, api_v2, moved }),
        4 => (alerts(), 0u8..2).prop_map(|(alerts, peer)| Step::Resolve { alerts, peer }),
        6 => (0u64..40_000).prop_map(Step::Advance),
        2 => (0u64..8 * 3_600_000).prop_map(Step::Advance),
        1 => (0u8..3).prop_map(Step::Answers),
        2 => any::<bool>().prop_map(Step::Answer),
        1 => Just(Step::Started),
        1 => (0u8..8).prop_map(Step::Reload),
        1 => Just(Step::Snapshot),
        1 => (0..MATCHERS.len(), 0u64..600_000, 1u64..3 * 3_600_000)
            .prop_map(|(matchers, delay, length)| Step::Silence { matchers, delay, length }),
        1 => (0usize..8).prop_map(Step::Expire),
    ]
}

/// The matchers of silences.
const MATCHERS: [&str; 4] = ["alertname=A", "instance=~[0-3]", "severity=warning", "instance=5"];

fn alert(i: usize) -> LabelSet {
    let severity = ["critical", "warning", "info"][i % 3];
    labels(&[("alertname", ["A", "B"][i / 3]), ("instance", &i.to_string()), ("severity", severity)])
}

pub(super) fn policy_variant(variant: u8) -> Policy {
    let mut policy = match variant {
        0 => policy(&["alertname"], Noise::default()),
        1 => policy(&["instance"], Noise { growth: 0, ..Noise::default() }),
        2 => policy(&["alertname", "instance"], Noise { resolve_hold: Duration::ZERO, ..Noise::default() }),
        // Two routes to one receiver, which wait and group differently, in a storm.
        3 => policy(&["alertname"], Noise { growth: 2, ..Noise::default() }),
        // An alert last stated an hour ago is stale. Only the storm limits anything.
        4 => {
            let flapping = Flapping { confirm: Duration::from_mins(1), ..Flapping::default() };
            policy(&[], Noise { flapping, ..Noise::default() })
        }
        // The receiver has lost its integrations.
        5 => policy(&["instance"], Noise::default()),
        // Variants 0 and 3, in observe mode.
        6 => policy(&["alertname"], Noise { mode: Mode::Observe, ..Noise::default() }),
        _ => policy(&["alertname"], Noise { growth: 2, mode: Mode::Observe, ..Noise::default() }),
    };
    if let Some(noise) = policy.noise.get_mut("default") {
        noise.flapping.suppress_at = 3000;
        noise.alone.pages = u32::from(variant % 3);
        noise.digest = [Duration::from_hours(24), Duration::from_mins(10), Duration::from_hours(1)]
            [usize::from(variant % 3)];
        if variant >= 3 {
            noise.storm = Storm { start: 3, end: None, window: Duration::from_mins(20) };
            noise.limit = Limit { pages: u32::from(variant == 3), per: Duration::from_mins(5) };
        }
        if variant == 1 {
            noise.limit = Limit { pages: 1, per: Duration::from_mins(5) };
            noise.storm = Storm { start: 2, end: None, window: Duration::from_mins(5) };
        }
        if variant == 2 {
            noise.wait = Duration::from_mins(2);
            noise.usual_per_day = 2_000;
            noise.hold.time = Duration::from_mins(3);
            noise.hold.levels = vec!["warning".into()];
        }
    }
    if variant == 4 {
        policy.stale_after = Duration::from_hours(1);
    }
    mute(&mut policy, variant);
    if variant == 3 {
        two_routes(&mut policy);
    }
    policy.severities.levels[1].hold = Duration::from_secs(20);
    policy.routes[0].group_wait = Duration::from_secs(u64::from(variant) * 5);
    if let Some(receiver) = policy.receivers.get_mut("pd") {
        let slack = IntegrationRef {
            send_resolved: variant != 0,
            send_updates: variant == 2,
            ..IntegrationRef::new("slack[0]", KnownBy::Nothing)
        };
        receiver.integrations.push(slack);
        receiver.integrations.push(IntegrationRef::new("webhook[1]", KnownBy::Group));
        if variant == 5 {
            receiver.integrations.clear();
        }
    }
    policy
}

/// Few alerts are known at once, the self-check runs, one alert is a heartbeat, and the receiver has a
/// fallback.
pub(super) fn trusted(variant: u8) -> Policy {
    let mut policy = policy_variant(variant);
    policy.limits.alerts = if variant % 2 == 1 { 4 } else { 1_000_000 };
    policy.self_check.enabled = variant > 1;
    if variant > 2 {
        policy.heartbeats = vec![crate::policy::Heartbeat {
            name: "five".into(),
            matchers: parse_matchers("instance=5").unwrap(),
            silent_after: Duration::from_mins(10),
            receiver: None,
        }];
    }
    let second =
        IntegrationRef { send_updates: variant != 3, ..IntegrationRef::new("webhook[0]", KnownBy::Group) };
    policy.receivers.insert("second".into(), crate::policy::Receiver::new(vec![second]));
    if let Some(receiver) = policy.receivers.get_mut("pd") {
        receiver.fallback = Some("second".into());
    }
    policy
}

/// Every alert goes two ways to the receiver, and each way waits and groups differently.
fn two_routes(policy: &mut Policy) {
    let second = policy.routes.len();
    for route in &mut policy.routes {
        route.continue_ = true;
    }
    let mut route = policy.routes[0].clone();
    (route.key, route.group_wait) = ("{}/{second}".into(), Duration::from_secs(40));
    route.group_by = GroupBy::Labels(vec!["instance".into()]);
    policy.routes[0].children.push(second);
    policy.routes.push(route);
}

/// Adds mutes to the policy. Critical alerts inhibit others of their name. From the second variant on, the
/// alerts named A are muted for some minutes of each hour.
fn mute(policy: &mut Policy, variant: u8) {
    let rule = |source: &str, target: &str, equal: &[&str]| InhibitRule {
        name: "r".into(),
        source_matchers: parse_matchers(source).unwrap(),
        target_matchers: parse_matchers(target).unwrap(),
        equal: equal.iter().map(|e| (*e).into()).collect(),
    };
    policy.inhibit_rules = match variant {
        0 => vec![rule("severity=critical,instance=~.", "severity=~info|warning", &["alertname"])],
        1 => vec![rule("alertname=B", "instance=~[2-5]", &[])],
        _ => Vec::new(),
    };
    if variant == 0 {
        return;
    }
    let times = (0..24).map(|hour| TimeRange { start: hour * 60 + 10, end: hour * 60 + 25 }).collect();
    let interval = TimeInterval { times, ..TimeInterval::default() };
    policy.time_intervals = BTreeMap::from([("some".into(), vec![interval])]);
    let mut child = policy.routes[0].clone();
    child.matchers = parse_matchers("alertname=A").unwrap();
    child.key = r#"{}/{alertname="A"}"#.into();
    child.windows.mute = vec!["some".into()];
    policy.routes[0].children = vec![1];
    policy.routes.push(child);
}

/// Runs `steps`. It asserts laws of the pager and of accounting on the way.
fn run(steps: &[Step]) -> World {
    run_under(steps, policy_variant)
}

/// The same, with the policies of `variant` at each reload.
pub(super) fn run_under(steps: &[Step], variants: fn(u8) -> Policy) -> World {
    let mut world = World::new(policy_variant(0));
    let mut started = [START; ALERTS];
    for step in steps {
        match step {
            Step::Fire { alerts, peer, api_v2, moved } => {
                let mut observations = Vec::new();
                for &i in alerts {
                    let fires = world.engine.world.alerts.alert(id(&world, i)).is_some_and(|a| a.firing());
                    if !fires {
                        started[i] = world.now;
                    }
                    let start = Timestamp::from_millis(started[i].as_millis() + moved * 100);
                    let mut observation = firing(&alert(i), start);
                    if *api_v2 {
                        observation.ends_at = Some(world.now + Duration::from_mins(4));
                    }
                    observations.push(observation);
                }
                let peer = format!("am{peer}");
                match api_v2 {
                    true => world.say(Source::Prometheus, &peer, observations),
                    false => world.webhook(&peer, observations),
                }
            }
            Step::Resolve { alerts, peer } => {
                let now = world.now;
                let list = alerts.iter().map(|&i| resolved(&alert(i), started[i], now)).collect();
                world.webhook(&format!("am{peer}"), list);
            }
            Step::Advance(ms) => {
                // Integrations that left the configuration a day ago are given up, and so are the incidents
                // that are open there.
                let gone = world.engine.policy().receivers["pd"].integrations.is_empty();
                world.advance(Duration::from_millis(if gone { ms % 600_000 } else { *ms }));
            }
            Step::Answers(kind) => {
                world.answers = [Answers::Accept, Answers::Hang, Answers::Reject][usize::from(*kind)];
            }
            Step::Answer(accept) => world.answer(*accept),
            Step::GiveBack => world.give_back(false),
            Step::Started => world.handle(Event::Started),
            Step::Reload(variant) => world.handle(Event::Policy(Box::new(variants(*variant)))),
            Step::Silence { matchers, delay, length } => {
                let starts_at = world.now + Duration::from_millis(*delay);
                world.silence(MATCHERS[*matchers], starts_at, Duration::from_millis(*length));
            }
            Step::Expire(index) => {
                if let Some((silence, _)) = world.engine.query().silences().get(*index) {
                    world.ask_silence(&SilenceRequest::Expire(silence.id.clone()));
                }
            }
            Step::Acknowledge(taken) => {
                if let Some(newest) = world.sent.iter().rev().find(|n| n.kind != Kind::Digest) {
                    let change = crate::engine::Acknowledge {
                        dedup_key: newest.dedup_key.clone(),
                        receivers: vec![newest.receiver.clone()],
                        by: taken.then(|| "ada".into()),
                        via: (newest.id.0 % 2 == 1).then(|| "pagerduty".into()),
                    };
                    world.handle(Event::Acknowledge(change));
                }
            }
            Step::Snapshot => {
                let bytes = world.engine.snapshot();
                let restored = Engine::restore(&bytes).unwrap();
                assert_eq!(restored, world.engine, "a restored engine is the same engine");
                world.engine = restored;
            }
        }
        world.now = world.now + Duration::from_millis(1);
    }
    world
}

fn id(world: &World, i: usize) -> AlertId {
    world.engine.policy().identity(&alert(i))
}

/// Whether the profile keeps the alert from paging: that, and only that, may leave it without a notification.
fn is_withheld(world: &World, id: AlertId) -> bool {
    world.engine.pages.groups.values().flat_map(|g| &g.withheld).any(|q| q.alert == id && !q.resolved)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 3_000, ..ProptestConfig::default() })]

    /// Accounting, order and silence at open keys hold at every step (asserted in the world), and
    /// the same events give the same bytes.
    #[test]
    fn laws_hold_and_replay_equals_live(steps in prop::collection::vec(step(), 1..60)) {
        let world = run(&steps);
        let (engine, trace) = replay(policy_variant(0), &world.events);
        prop_assert_eq!(&trace, &world.trace);
        prop_assert_eq!(engine.snapshot(), world.engine.snapshot());
    }

    /// The same with small bounds, a heartbeat, the self-check and a fallback. Once all is well and no
    /// alert fires, no incident is open anywhere.
    #[test]
    fn laws_hold_under_bounds_and_with_what_the_gate_says_of_itself(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = run_under(&steps, trusted);
        let (engine, trace) = replay(policy_variant(0), &world.events);
        prop_assert_eq!(&trace, &world.trace);
        prop_assert_eq!(engine.snapshot(), world.engine.snapshot());
        world.answers = Answers::Accept;
        world.answer(true);
        world.handle(Event::Policy(Box::new(trusted(0))));
        world.advance(Duration::from_hours(40));
        prop_assert_eq!(world.engine.query().stats().firing, 0);
        // Receivers are notified of the replacement of a problem, and of its end.
        let open: Vec<_> = world.pager.iter().filter(|((i, _), s)| s.open && i != "slack[0]").collect();
        prop_assert!(open.is_empty(), "open still: {:?}", open);
    }

    /// The receivers answer again, and everything has been quiet for long enough. Then the pager shows the
    /// truth: each firing alert is in an open incident, and no other incident is open.
    #[test]
    fn the_pager_converges_to_the_truth(steps in prop::collection::vec(step(), 1..60)) {
        converges(&steps)?;
    }

    /// The same where delivery gives notifications back, and each message is true when it is decided.
    #[test]
    fn the_pager_converges_to_the_truth_after_recalls(
        steps in prop::collection::vec(prop_oneof![8 => step(), 1 => Just(Step::GiveBack)], 1..60),
    ) {
        converges(&steps)?;
    }

    /// A digest names every alert that was held back, at or after that time, even if receivers failed
    /// meanwhile. No two digests are on their way to one integration (asserted in the world).
    #[test]
    fn a_digest_names_what_was_held_back(steps in prop::collection::vec(step(), 1..60)) {
        // A receiver without integrations notifies no one.
        prop_assume!(!steps.iter().any(|s| matches!(s, Step::Reload(5))));
        let mut world = run(&steps);
        world.answers = Answers::Accept;
        world.answer(true);
        world.advance(Duration::from_hours(49));
        let notified: Vec<_> = world.sent.iter().filter(|n| n.kind == Kind::Digest).collect();
        prop_assert!(notified.iter().all(|n| n.at >= n.opened_at && !n.alerts.is_empty()));
        let real = world.decisions.iter().filter(|d| !d.observed);
        for d in real.filter(|d| d.at + Duration::from_hours(24) <= world.now) {
            let held = matches!(
                d.disposition.reason(),
                "storm" | "flapping" | "self_resolved" | "unsurprising" | "rate_limited"
            );
            let named = |n: &&&Notification| n.at >= d.at && n.alerts.iter().any(|a| a.id == d.alert);
            prop_assert!(!held || notified.iter().find(named).is_some(), "{:?} is in no digest", d);
        }
    }

    /// A critical alert that starts to fire and is in no open incident is paged at once.
    #[test]
    fn a_new_critical_problem_pages_at_once(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = run(&steps);
        world.answers = Answers::Accept;
        world.answer(true);
        prop_assume!(!world.engine.policy().receivers["pd"].integrations.is_empty());
        let labels = labels(&[("alertname", "New"), ("instance", "n"), ("severity", "critical")]);
        let (before, now) = (world.sent.len(), world.now);
        world.webhook("am0", vec![firing(&labels, now)]);
        let id = world.engine.policy().identity(&labels);
        let notified = world.sent[before..].iter().find(|n| {
            n.kind != Kind::Resolve && n.alerts.iter().any(|a| a.id == id && a.status == Status::Firing)
        });
        // It may join an incident just paged, as an update within group_interval, and in a storm it is
        // merged into a page within a minute.
        world.advance(Duration::from_secs(if notified.is_some() { 0 } else { 60 }));
        let notified = world.sent[before..].iter().any(|n| n.alerts.iter().any(|a| a.id == id));
        prop_assert!(notified);
    }

    /// Without damping, hold, growth and severity, an oracle of a few lines says which pages and
    /// resolves leave, and when.
    #[test]
    fn pages_as_the_naive_oracle_does(
        steps in prop::collection::vec((0..ALERTS, any::<bool>(), 0u64..1_200_000), 1..80)
    ) {
        let window = Duration::from_mins(15);
        let off = Limit { pages: 0, per: Duration::ZERO };
        let noise = Noise {
            flapping: Flapping { suppress_at: 0, ..Flapping::default() },
            growth: 0,
            resolve_hold: Duration::ZERO,
            rolling: Duration::ZERO,
            limit: off,
            ..Noise::default()
        };
        let mut world = World::new(policy(&["alertname"], noise));
        let mut oracle = Oracle::default();
        for (i, fire, wait) in steps {
            let labels = alert_without_severity(i);
            let name = labels.value("alertname").to_owned();
            let now = world.now;
            match fire {
                true => oracle.fire(&name, i, now, window),
                false => oracle.resolve(i, now, window),
            }
            let start = oracle.started.get(&i).copied().unwrap_or(now);
            let said = if fire { firing(&labels, start) } else { resolved(&labels, start, now) };
            world.webhook("am", vec![said]);
            world.advance(Duration::from_millis(wait));
            oracle.pass(world.now);
        }
        let got: Vec<_> = world
            .sent
            .iter()
            .filter(|n| n.kind != Kind::Update)
            .map(|n| (n.at, n.kind, n.group_labels.value("alertname").to_owned(), n.generation))
            .collect();
        prop_assert_eq!(got, oracle.log);
    }
}

/// Runs `steps`, and asserts that the pager shows the truth in the end.
fn converges(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = run(steps);
    world.answers = Answers::Accept;
    world.answer(true);
    if world.engine.policy().receivers["pd"].integrations.is_empty() {
        world.handle(Event::Policy(Box::new(policy_variant(0))));
    }
    world.advance(Duration::from_hours(6));
    // A mute window may have ended a moment ago. An incident that paged then stays open until its
    // window is over.
    for _ in 0..120 {
        let stats = &world.engine.query().stats().receivers["pd"];
        if stats.resolving + stats.held + stats.pending > 0 {
            world.advance(Duration::from_secs(10));
        }
    }
    let mut unmuted = false;
    for i in 0..ALERTS {
        let id = id(&world, i);
        let fires = world.engine.world.alerts.alert(id).is_some_and(|a| a.firing());
        let pager = world.pager.iter().filter(|((integration, _), _)| integration == "pagerduty[0]");
        let shown = pager.filter(|(_, s)| s.open && s.firing.contains(&id)).count();
        let muted = world.engine.world.alerts.states_of(id).any(|(_, t)| t.muted().is_some());
        let muted = muted || is_withheld(&world, id);
        prop_assert!(shown == 0 || fires, "alert {} does not fire", i);
        prop_assert!(shown > 0 || !fires || muted, "alert {} fires, and nobody was told", i);
        unmuted |= fires && !muted;
        let states = world.engine.world.alerts.states_of(id).filter(|(_, t)| t.is_live());
        prop_assert!(shown <= states.count(), "alert {} is in {} open incidents", i, shown);
    }
    let any_fires = (0..ALERTS).map(|i| self::id(&world, i)).any(|id| {
        world.engine.world.alerts.alert(id).is_some_and(|a| a.firing()) && !is_withheld(&world, id)
    });
    consumers_hold_the_truth(&world)?;
    let open = world.pager.iter().any(|((i, _), s)| i == "pagerduty[0]" && s.open);
    prop_assert!(!open || any_fires);
    prop_assert!(open || !unmuted);
    Ok(())
}

/// The readers of the webhook hold the truth about alerts, groups and incidents.
fn consumers_hold_the_truth(world: &World) -> Result<(), TestCaseError> {
    let Some(consumers) = world.consumers.get("webhook[1]") else { return Ok(()) };
    let engine = &world.engine;
    for i in 0..ALERTS {
        let id = id(world, i);
        let fires = engine.world.fires(id);
        let said = consumers.by_fingerprint.get(&Fingerprint::of(&alert(i)).to_string()).copied();
        let muted =
            engine.world.alerts.states_of(id).any(|(_, t)| t.muted().is_some()) || is_withheld(world, id);
        prop_assert!(said != Some(true) || fires, "alert {} does not fire by its fingerprint", i);
        prop_assert!(said == Some(true) || !fires || muted, "alert {} fires, by its fingerprint", i);
    }
    let open = || engine.pages.incidents.all.values().filter(|i| i.side != Side::Observed && !i.is_over());
    for (labels, said) in &consumers.by_labels {
        let fires = open().any(|i| i.group.1 == *labels && i.fires());
        // The group may have an alert that fires in no incident of it, or of another group since a reload.
        // A merged page has alerts of many groups.
        let merged = !labels.value(crate::engine::world::MERGED).is_empty();
        let of_group =
            |i: &usize| merged || labels.iter().all(|(name, value)| alert(*i).value(name) == value);
        let unnotified = (0..ALERTS).filter(of_group).any(|i| engine.world.fires(id(world, i)));
        prop_assert!(*said || !fires, "the group {labels} fires");
        prop_assert!(!*said || fires || unnotified, "nothing of the group {labels} fires");
    }
    for (key, said) in &consumers.by_key {
        let known = |i: &crate::engine::incidents::incident::Incident| {
            format!("{}#{}", i.group_text, i.generation) == *key
        };
        prop_assert!(!*said || engine.pages.incidents.all.values().any(known), "{key} is open for ever");
        prop_assert!(*said || !open().any(known), "{key} is open");
    }
    Ok(())
}

fn alert_without_severity(i: usize) -> LabelSet {
    labels(&[("alertname", ["A", "B"][i / 3]), ("instance", &i.to_string())])
}

/// Which pages and resolves leave, by the text of the rule alone.
#[derive(Default)]
struct Oracle {
    started: BTreeMap<usize, Timestamp>,
    incidents: Vec<OracleIncident>,
    log: Vec<(Timestamp, Kind, String, u32)>,
}

struct OracleIncident {
    group: String,
    generation: u32,
    paged_at: Timestamp,
    firing: BTreeSet<usize>,
    open: bool,
    /// When it closes, while nothing in it fires.
    closes_at: Option<Timestamp>,
}

impl Oracle {
    fn fire(&mut self, group: &str, i: usize, now: Timestamp, window: Duration) {
        if self.started.contains_key(&i) {
            return;
        }
        self.started.insert(i, now);
        let newest = self.incidents.iter().rposition(|x| x.open && x.group == group);
        let joins = newest.filter(|n| now <= self.incidents[*n].paged_at + window);
        match joins {
            Some(n) => {
                self.incidents[n].firing.insert(i);
                self.incidents[n].closes_at = None;
            }
            None => {
                let generation = self.incidents.iter().filter(|x| x.group == group).count() as u32;
                self.log.push((now, Kind::Page, group.into(), generation));
                self.incidents.push(OracleIncident {
                    group: group.into(),
                    generation,
                    paged_at: now,
                    firing: BTreeSet::from([i]),
                    open: true,
                    closes_at: None,
                });
            }
        }
    }

    fn resolve(&mut self, i: usize, now: Timestamp, window: Duration) {
        if self.started.remove(&i).is_none() {
            return;
        }
        let firing = |x: &&mut OracleIncident| x.firing.contains(&i);
        let Some(incident) = self.incidents.iter_mut().find(firing) else { return };
        incident.firing.remove(&i);
        if incident.firing.is_empty() {
            // An alert that came back once may come back again. The incident stays open until shortly after
            // its window.
            let window = Duration::from_millis(window.as_millis() / 15 * 16);
            let least = if incident.generation > 0 { incident.paged_at + window } else { now };
            incident.closes_at = Some(now.max(least));
        }
        self.pass(now);
    }

    /// Time passes until `now`.
    fn pass(&mut self, now: Timestamp) {
        let due =
            |(n, x): (usize, &OracleIncident)| Some((x.closes_at.filter(|at| x.open && *at <= now)?, n));
        let mut due: Vec<_> = self.incidents.iter().enumerate().filter_map(due).collect();
        due.sort_unstable();
        for (at, n) in due {
            let incident = &mut self.incidents[n];
            incident.open = false;
            self.log.push((at, Kind::Resolve, incident.group.clone(), incident.generation));
        }
    }
}
