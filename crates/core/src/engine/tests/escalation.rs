//! An incident that no person acknowledged in time goes to a second receiver, with its end.

use proptest::prelude::*;
use smol_str::SmolStr;

use super::laws::{Step, policy_variant, run_under, step, trusted};
use crate::engine::incidents::incident::Side;
use crate::engine::testing::*;
use crate::engine::{Acknowledge, Engine, Event, IncidentQuery, NextStep};
use crate::model::{Cause, Duration, IncidentChange, Kind, Notification, Source, Timestamp, parse_matchers};
use crate::policy::{IntegrationRef, KnownBy, Mode, Noise, Policy, Receiver, Route};

const WITHIN: Duration = Duration::from_mins(10);

/// Critical incidents escalate to `lead`. Warnings do not escalate.
fn escalating(noise: Noise) -> Policy {
    let mut policy = policy(&["alertname"], noise);
    let lead = IntegrationRef::new("pagerduty[1]", KnownBy::DedupKey);
    policy.receivers.insert("lead".into(), Receiver::new(vec![lead]));
    let level = &mut policy.severities.levels[0];
    (level.respond_within, level.escalate_to) = (Some(WITHIN), Some("lead".into()));
    policy
}

fn set(instance: &str, severity: &str) -> crate::model::LabelSet {
    labels(&[("alertname", "A"), ("instance", instance), ("severity", severity)])
}

fn paged(policy: Policy, severity: &str) -> World {
    let mut world = World::new(policy);
    world.say(Source::Alertmanager, "a", vec![firing(&set("1", severity), START)]);
    world
}

fn acknowledge(world: &mut World, receiver: &str, by: Option<&str>) {
    let dedup_key = world.sent.last().unwrap().dedup_key.clone();
    let receivers = vec![receiver.into()];
    world.handle(Event::Acknowledge(Acknowledge { dedup_key, receivers, by: by.map(Into::into), via: None }));
}

fn resolve(world: &mut World) {
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![resolved(&set("1", "critical"), START, now)]);
    world.advance(Duration::from_hours(1));
}

/// The notifications of the second receiver, with their times in seconds from the start.
fn told(world: &World) -> Vec<(Kind, u64)> {
    at_lead(world).map(|n| (n.kind, n.at.since(START).as_millis() / 1000)).collect()
}

fn at_lead(world: &World) -> impl Iterator<Item = &Notification> {
    world.sent.iter().filter(|n| n.receiver == "lead")
}

/// The next step of the one incident, the receiver that it escalated to, and the integrations that show it.
fn shown(world: &World) -> (Option<(Timestamp, NextStep)>, Option<SmolStr>, Vec<SmolStr>) {
    let query = IncidentQuery { limit: 1, ..IncidentQuery::default() };
    let incident = world.engine.query().open_incidents(&query).found.remove(0);
    (incident.row.standing.next, incident.row.escalated_to, incident.delivered)
}

fn assert_replays(world: &World) {
    let (replayed, trace) = replay(world.events_policy(), &world.events);
    assert_eq!((&replayed, &trace), (&world.engine, &world.trace));
    assert_eq!(Engine::restore(&world.engine.snapshot()).unwrap(), world.engine);
}

fn reload(world: &mut World, policy: Policy) {
    world.handle(Event::Policy(Box::new(policy)));
}

#[test]
fn an_unacknowledged_incident_goes_to_the_second_receiver_with_its_updates_and_its_end() {
    let mut world = paged(escalating(Noise::default()), "critical");
    world.advance(Duration::from_secs(599));
    assert_eq!(told(&world), []);
    let next = (START + WITHIN, NextStep::Escalates { to: "lead".into() });
    assert_eq!(shown(&world), (Some(next), None, vec!["pagerduty[0]".into()]));
    // The deadline survives a restart.
    world.engine = Engine::restore(&world.engine.snapshot()).unwrap();
    world.advance(Duration::from_secs(1));
    assert_eq!(told(&world), [(Kind::Page, 600)]);
    let (next, escalated, delivered) = shown(&world);
    assert_eq!((next.map(|(_, what)| what), escalated), (Some(NextStep::Repeats), Some("lead".into())));
    assert_eq!(delivered, ["pagerduty[0]", "lead/pagerduty[1]"]);
    let (first, second) = (&world.sent[0], &world.sent[1]);
    assert_eq!((&first.dedup_key, &first.alerts), (&second.dedup_key, &second.alerts));
    let cause = Box::new(Cause::FirstPage);
    assert_eq!(second.cause, Cause::Escalated { receiver: "pd".into(), within: WITHIN, cause });
    let escalated = IncidentChange::Escalated { to: "lead".into(), within: WITHIN };
    assert_eq!(world.history.iter().filter(|record| record.change == escalated).count(), 1);
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![firing(&set("2", "critical"), now)]);
    assert_eq!(at_lead(&world).last().map(|n| (n.kind, n.alerts.len())), Some((Kind::Update, 2)));
    world.advance(Duration::from_hours(1));
    assert_eq!(at_lead(&world).filter(|n| n.kind == Kind::Page).count(), 1, "it escalates once");
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![resolved(&set("2", "critical"), START, now)]);
    resolve(&mut world);
    assert_eq!(at_lead(&world).last().map(|n| n.kind), Some(Kind::Resolve));
    assert!(world.pager.values().all(|shown| !shown.open));
    assert_replays(&world);
}

#[test]
fn an_acknowledgement_in_time_keeps_it_from_the_second_receiver() {
    let mut world = paged(escalating(Noise::default()), "critical");
    world.advance(Duration::from_mins(9));
    acknowledge(&mut world, "pd", Some("ada"));
    world.advance(Duration::from_hours(3));
    assert_eq!(told(&world), []);
    // Given back, the next person gets the whole time.
    acknowledge(&mut world, "pd", None);
    let from = world.now.since(START).as_millis() / 1000;
    acknowledge(&mut world, "pd", None);
    world.advance(Duration::from_mins(20));
    assert_eq!(told(&world), [(Kind::Page, from + 600)]);
    assert_replays(&world);
}

#[test]
fn a_person_acknowledges_at_the_second_receiver() {
    let mut world = paged(escalating(Noise::default()), "critical");
    world.advance(WITHIN);
    acknowledge(&mut world, "lead", Some("grace"));
    world.advance(Duration::from_hours(5));
    assert_eq!(world.sent.len(), 2, "it is not repeated: {:?}", world.sent);
    resolve(&mut world);
    assert!(world.pager.values().all(|shown| !shown.open));
}

#[test]
fn levels_without_a_second_receiver_and_profiles_that_observe_do_not_escalate() {
    for (severity, mode) in [("warning", Mode::Enforce), ("critical", Mode::Observe)] {
        let mut world = paged(escalating(Noise { mode, ..Noise::default() }), severity);
        world.advance(Duration::from_hours(1));
        assert_eq!(told(&world), [], "{severity} {mode:?}");
    }
}

#[test]
fn an_alert_that_resolves_in_time_keeps_it_from_the_second_receiver() {
    let mut world = paged(escalating(Noise::default()), "critical");
    world.advance(Duration::from_mins(9));
    resolve(&mut world);
    assert_eq!(told(&world), []);
    assert_replays(&world);
}

#[test]
fn a_worse_page_has_its_own_time_and_goes_where_the_former_went() {
    let mut world = paged(escalating(Noise::default()), "warning");
    world.advance(Duration::from_mins(5));
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![firing(&set("2", "critical"), now)]);
    assert_eq!(told(&world), [], "it got worse a moment ago");
    world.advance(WITHIN);
    assert_eq!(told(&world), [(Kind::Page, 900)]);
    assert_replays(&world);
}

#[test]
fn a_worse_page_goes_at_once_where_the_former_went() {
    let mut policy = escalating(Noise::default());
    policy.severities.levels[1].respond_within = Some(WITHIN);
    policy.severities.levels[1].escalate_to = Some("lead".into());
    let mut world = paged(policy, "warning");
    world.advance(Duration::from_mins(12));
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![firing(&set("2", "critical"), now)]);
    assert_eq!(told(&world), [(Kind::Page, 600), (Kind::Page, 720), (Kind::Resolve, 720)]);
    let keys: Vec<_> = at_lead(&world).map(|n| &n.dedup_key).collect();
    assert!(keys[0] != keys[1] && keys[0] == keys[2], "{keys:?}");
    assert_replays(&world);
}

#[test]
fn a_muted_incident_does_not_escalate_and_has_the_whole_time_afterwards() {
    let mut world = paged(escalating(Noise::default()), "critical");
    world.advance(Duration::from_mins(5));
    world.silence("alertname=A", world.now, Duration::from_mins(12));
    assert_eq!(shown(&world).0.map(|(_, what)| what), None, "no promise while it is muted");
    world.advance(Duration::from_mins(14));
    assert_eq!(told(&world), [], "its time began anew after 10m");
    world.advance(Duration::from_mins(1));
    assert_eq!(told(&world), [(Kind::Page, 1200)]);
    assert_replays(&world);
}

#[test]
fn a_reload_changes_who_is_second() {
    let with = |to: Option<&str>| {
        let mut policy = escalating(Noise::default());
        let boss = IntegrationRef::new("pagerduty[2]", KnownBy::DedupKey);
        policy.receivers.insert("boss".into(), Receiver::new(vec![boss]));
        policy.severities.levels[0].escalate_to = to.map(Into::into);
        policy
    };
    let page_at = |world: &World, receiver: &str| -> Option<Timestamp> {
        world.sent.iter().find(|n| n.receiver == receiver && n.kind == Kind::Page).map(|n| n.at)
    };
    // No second receiver any more.
    let mut world = paged(with(Some("lead")), "critical");
    reload(&mut world, with(None));
    world.advance(Duration::from_hours(1));
    assert_eq!(told(&world), []);
    // One again: the incident gets the whole time.
    reload(&mut world, with(Some("lead")));
    let from = world.now;
    world.advance(Duration::from_mins(5));
    // Another one keeps the deadline.
    reload(&mut world, with(Some("boss")));
    world.advance(Duration::from_mins(5));
    assert_eq!((page_at(&world, "lead"), page_at(&world, "boss")), (None, Some(from + WITHIN)));
    // It escalated already, so a third receiver is not notified.
    reload(&mut world, with(Some("lead")));
    world.advance(Duration::from_hours(1));
    assert_eq!(page_at(&world, "lead"), None);
    reload(&mut world, with(None));
    resolve(&mut world);
    assert!(world.pager.values().all(|shown| !shown.open), "its end is told to those that know it");
    assert_replays(&world);
}

#[test]
fn an_end_reaches_the_second_receiver_under_its_new_name() {
    let named = |name: &str| {
        let mut policy = escalating(Noise::default());
        let mut lead = policy.receivers.remove("lead").unwrap();
        lead.integrations[0].endpoint = 7;
        policy.receivers.insert(name.into(), lead);
        policy.severities.levels[0].escalate_to = Some(name.into());
        policy
    };
    let mut world = paged(named("lead"), "critical");
    world.advance(WITHIN);
    assert_eq!(told(&world), [(Kind::Page, 600)]);
    reload(&mut world, named("head"));
    resolve(&mut world);
    let head: Vec<_> = world.sent.iter().filter(|n| n.receiver == "head").map(|n| n.kind).collect();
    assert_eq!((head, told(&world).len()), (vec![Kind::Resolve], 1));
    assert!(world.pager.values().all(|shown| !shown.open));
}

#[test]
fn a_fallback_that_is_the_second_receiver_too_is_told_once() {
    let mut policy = escalating(Noise::default());
    policy.receivers.get_mut("pd").unwrap().fallback = Some("lead".into());
    let mut world = World::new(policy);
    world.unreachable = vec!["pagerduty[0]"];
    world.say(Source::Alertmanager, "a", vec![firing(&set("1", "critical"), START)]);
    world.advance(Duration::from_hours(1));
    assert_eq!(told(&world), [(Kind::Page, 0)]);
}

#[test]
fn the_fallback_of_the_second_receiver_stands_in_for_it() {
    let mut policy = escalating(Noise::default());
    let last = IntegrationRef::new("pagerduty[2]", KnownBy::DedupKey);
    policy.receivers.insert("last".into(), Receiver::new(vec![last]));
    policy.receivers.get_mut("lead").unwrap().fallback = Some("last".into());
    let mut world = paged(policy, "critical");
    world.advance(Duration::from_mins(9));
    world.answers = Answers::Hang;
    world.advance(Duration::from_mins(6));
    let last: Vec<_> = world.sent.iter().filter(|n| n.receiver == "last").collect();
    assert_eq!(last.iter().map(|n| n.at.since(START)).collect::<Vec<_>>(), [Duration::from_mins(15)]);
    assert_replays(&world);
}

/// Two routes with the same key take each alert, to `pd` and to `other`. The incident at `other` ends later.
/// Alerts of instance 2 take the second route only.
fn at_two_receivers(fallback: Option<&str>) -> World {
    let mut policy = escalating(Noise::default());
    let slow = Noise { resolve_hold: Duration::from_hours(1), ..Noise::default() };
    policy.noise.insert("slow".into(), slow);
    let other = IntegrationRef::new("pagerduty[2]", KnownBy::DedupKey);
    policy.receivers.insert("other".into(), Receiver::new(vec![other]));
    policy.receivers.get_mut("pd").unwrap().fallback = fallback.map(Into::into);
    let child = Route { key: "{}/{}".into(), continue_: true, ..policy.routes[0].clone() };
    let second = Route { receiver: "other".into(), noise: "slow".into(), ..child.clone() };
    let child = Route { matchers: parse_matchers("instance!=2").unwrap(), ..child };
    policy.routes[0].children = vec![1, 2];
    policy.routes.extend([child, second]);
    World::new(policy)
}

/// The keys that an integration shows as open, each with the number of its pages.
fn open_at(world: &World, integration: &str) -> Vec<u32> {
    let shown = world.pager.iter().filter(|((at, _), shown)| at == integration && shown.open);
    shown.map(|(_, shown)| shown.interrupted).collect()
}

/// The two alerts resolve one after the other. The end of the first closes nothing of the second.
fn assert_ends_one_by_one(world: &mut World) {
    for instance in ["1", "2"] {
        let now = world.now;
        world.say(Source::Alertmanager, "a", vec![resolved(&set(instance, "critical"), START, now)]);
        world.advance(Duration::from_mins(30));
        assert_eq!(open_at(world, "pagerduty[1]"), [1], "the incident of `other` goes on");
    }
    world.advance(Duration::from_hours(1));
    assert!(world.pager.values().all(|shown| !shown.open), "{:?}", world.pager);
}

#[test]
fn incidents_of_one_group_at_two_receivers_have_keys_of_their_own_at_a_third() {
    let mut world = at_two_receivers(None);
    let both = ["1", "2"].map(|instance| firing(&set(instance, "critical"), START));
    world.say(Source::Alertmanager, "a", both.to_vec());
    world.advance(Duration::from_mins(30));
    assert_eq!(open_at(&world, "pagerduty[1]"), [1, 1], "both escalated");
    assert_ends_one_by_one(&mut world);
    assert_replays(&world);
}

/// Two open incidents have one key, since they could not meet. A reload lets both escalate to `lead`.
#[test]
fn incidents_that_a_reload_lets_meet_at_a_third_receiver_are_two_there() {
    let after = at_two_receivers(None).events_policy();
    let mut before = after.clone();
    before.severities.levels[0].escalate_to = None;
    let mut world = World::new(before.clone());
    let both = ["1", "2"].map(|instance| firing(&set(instance, "critical"), START));
    world.say(Source::Alertmanager, "a", both.to_vec());
    let key = world.sent[0].dedup_key.clone();
    assert!(world.sent.iter().all(|n| n.dedup_key == key), "{:?}", world.sent);
    reload(&mut world, after);
    world.advance(Duration::from_mins(30));
    assert_eq!(open_at(&world, "pagerduty[1]"), [1, 1], "both escalated");
    let second = at_lead(&world).find(|n| n.dedup_key != key).expect("they have one key").clone();
    assert_eq!(second.incident_key, Some(key.clone()), "its page still leads to the incident");
    assert!(at_lead(&world).all(|n| n.dedup_key != key || n.incident_key.is_none()));
    // A person acknowledges the second one there.
    let (dedup_key, receivers) = (second.dedup_key, vec!["lead".into()]);
    let by = Some("ada".into());
    world.handle(Event::Acknowledge(Acknowledge { dedup_key, receivers, by, via: None }));
    for (receiver, acknowledged) in [("pd", false), ("other", true)] {
        let query = IncidentQuery { receiver: Some(receiver.into()), limit: 5, ..IncidentQuery::default() };
        let found = world.engine.query().open_incidents(&query).found;
        let by: Vec<bool> = found.iter().map(|incident| incident.row.acknowledged.is_some()).collect();
        assert_eq!(by, [acknowledged], "{receiver}");
    }
    assert_ends_one_by_one(&mut world);
    let (replayed, trace) = replay(before, &world.events);
    assert_eq!((&replayed, &trace), (&world.engine, &world.trace));
}

#[test]
fn a_second_receiver_that_knows_all_alerts_of_an_incident_is_not_paged_for_it() {
    let mut world = at_two_receivers(None);
    world.say(Source::Alertmanager, "a", vec![firing(&set("1", "critical"), START)]);
    world.advance(Duration::from_mins(30));
    assert_eq!(told(&world), [(Kind::Page, 600)], "one of the two incidents escalated");
    // An alert that the second receiver does not know is a reason.
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![firing(&set("2", "critical"), now)]);
    world.advance(Duration::from_mins(10));
    assert_eq!(open_at(&world, "pagerduty[1]"), [1, 1]);
    assert_replays(&world);
}

#[test]
fn a_second_receiver_that_refuses_the_page_of_one_incident_gets_that_of_the_other() {
    let mut world = at_two_receivers(None);
    world.say(Source::Alertmanager, "a", vec![firing(&set("1", "critical"), START)]);
    world.advance(Duration::from_secs(599));
    world.answers = Answers::Reject;
    world.advance(Duration::from_secs(1));
    world.answers = Answers::Accept;
    world.unreachable = vec!["pagerduty[0]"];
    world.advance(WITHIN);
    assert!(!open_at(&world, "pagerduty[1]").is_empty(), "{:?}", world.pager);
}

#[test]
fn an_acknowledgement_counts_for_the_other_incidents_of_the_same_alerts() {
    let mut world = at_two_receivers(None);
    world.say(Source::Alertmanager, "a", vec![firing(&set("1", "critical"), START)]);
    acknowledge(&mut world, "other", Some("ada"));
    world.advance(Duration::from_hours(1));
    assert_eq!(told(&world), [], "a person works on the alert that both have");
    acknowledge(&mut world, "other", None);
    world.advance(WITHIN);
    assert_eq!(told(&world).len(), 1);
    assert_replays(&world);
}

#[test]
fn a_fallback_with_an_incident_of_its_own_for_the_group_keeps_it_open() {
    let mut world = at_two_receivers(Some("other"));
    world.unreachable = vec!["pagerduty[0]"];
    world.say(Source::Alertmanager, "a", vec![firing(&set("1", "critical"), START)]);
    assert_eq!(open_at(&world, "pagerduty[2]"), [1, 1]);
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![resolved(&set("1", "critical"), START, now)]);
    world.advance(Duration::from_mins(30));
    assert_eq!(open_at(&world, "pagerduty[2]"), [1], "its own incident goes on");
    world.advance(Duration::from_hours(1));
    assert!(world.pager.values().all(|shown| !shown.open), "{:?}", world.pager);
    assert_replays(&world);
}

#[test]
fn receivers_that_share_no_other_receiver_keep_the_key_of_alertmanager() {
    let mut world = at_two_receivers(None);
    world.say(Source::Alertmanager, "a", vec![firing(&set("1", "warning"), START)]);
    let keys: Vec<_> = world.sent.iter().map(|n| (n.receiver.as_str(), n.generation)).collect();
    assert_eq!(keys, [("pd", 0), ("other", 1)], "a critical alert may escalate to `lead` from both");
    let mut policy = world.events_policy();
    policy.severities.levels[0].escalate_to = None;
    let mut world = World::new(policy);
    world.say(Source::Alertmanager, "a", vec![firing(&set("1", "warning"), START)]);
    let keys: Vec<_> = world.sent.iter().map(|n| (n.receiver.as_str(), n.generation)).collect();
    assert_eq!(keys, [("pd", 0), ("other", 0)]);
    assert_eq!(world.sent[0].dedup_key, world.sent[1].dedup_key);
    // One service of both shows each incident by itself.
    let mut policy = world.events_policy();
    for receiver in ["pd", "other"] {
        policy.receivers.get_mut(receiver).unwrap().integrations[0].endpoint = 5;
    }
    let mut world = World::new(policy);
    world.say(Source::Alertmanager, "a", vec![firing(&set("1", "warning"), START)]);
    assert_ne!(world.sent[0].dedup_key, world.sent[1].dedup_key);
}

/// Policies under which critical incidents escalate, in one variant to the fallback.
fn escalating_variant(variant: u8) -> Policy {
    let mut policy = trusted(variant);
    let third = IntegrationRef::new("pagerduty[3]", KnownBy::DedupKey);
    policy.receivers.insert("third".into(), Receiver::new(vec![third]));
    let integrations = policy.receivers.values_mut().flat_map(|receiver| &mut receiver.integrations);
    integrations.for_each(|i| i.takes_acknowledgements = variant != 1 && i.known_by == KnownBy::DedupKey);
    let level = &mut policy.severities.levels[0];
    let (to, minutes) = [("third", 10), ("second", 10), ("third", 60)][usize::from(variant % 3)];
    (level.respond_within, level.escalate_to) = (Some(Duration::from_mins(minutes)), Some(to.into()));
    policy
}

/// Steps among which persons acknowledge incidents and give them back.
fn step_or_acknowledge() -> impl Strategy<Value = Step> {
    prop_oneof![10 => step(), 1 => any::<bool>().prop_map(Step::Acknowledge)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 3_000, ..ProptestConfig::default() })]

    /// Once the receivers answer again, each incident that escalates and that no person took on in time is
    /// shown at its second receiver. Each that a person took on is acknowledged at the pagers. Once all is
    /// well, nothing is open there.
    #[test]
    fn what_nobody_acknowledges_is_shown_at_the_second_receiver_and_closes_there(
        steps in prop::collection::vec(step_or_acknowledge(), 1..60),
    ) {
        let mut world = run_under(&steps, escalating_variant);
        let (engine, trace) = replay(policy_variant(0), &world.events);
        prop_assert_eq!(&trace, &world.trace);
        prop_assert_eq!(engine.snapshot(), world.engine.snapshot());
        world.answers = Answers::Accept;
        world.answer(true);
        world.handle(Event::Policy(Box::new(escalating_variant(0))));
        world.advance(Duration::from_mins(3));
        let now = world.now;
        let pages = &world.engine.pages.incidents;
        let open = pages.all.iter().filter(|(_, i)| i.fires() && i.side == Side::Ours && i.version > 0);
        for (id, incident) in open.map(|(id, incident)| (*id, incident)) {
            let late = incident.respond_from.unwrap_or(incident.paged_at) + Duration::from_mins(11) < now;
            let highest = incident.members.highest().map_or(incident.level, usize::from) == 0;
            let muted = pages.is_muted(&world.engine.world, id);
            if late && highest && incident.acknowledged.is_none() && !muted {
                let second = incident.channels.iter().filter(|channel| channel.second.is_some());
                prop_assert!(second.clone().any(|channel| channel.was_opened()), "{:?}", incident);
            }
            let mut open = incident.channels.iter().filter(|c| c.was_opened() && !c.is_gone());
            let unaware = open.any(|channel| channel.lacks_acknowledgement());
            prop_assert!(incident.acknowledged.is_none() || !unaware, "{:?}", incident);
        }
        world.advance(Duration::from_hours(40));
        prop_assert_eq!(world.engine.query().stats().firing, 0);
        let open: Vec<_> = world.pager.iter().filter(|((i, _), s)| s.open && i != "slack[0]").collect();
        prop_assert!(open.is_empty(), "open still: {:?}", open);
    }
}
