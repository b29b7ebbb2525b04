//! Digests: the time of each, its integrations, and its alerts.

use super::muted::silence;
use crate::engine::Event;
use crate::engine::testing::*;
use crate::model::{Cause, Duration, Kind, LabelSet, Notification, Source, Status};
use crate::policy::{IntegrationRef, KnownBy, Mode, Noise, Policy, Receiver};

fn minutes(count: u64) -> Duration {
    Duration::from_mins(count)
}
const EVERY: Duration = Duration::from_hours(4);

/// Warnings are held for 5 minutes, so that one which lasts a minute is only in the digest.
fn with(integrations: &[&str], digest: Duration) -> Policy {
    let mut policy = policy(&["alertname"], Noise { digest, ..Noise::default() });
    policy.severities.levels[1].hold = minutes(5);
    let known = |name: &&str| IntegrationRef {
        endpoint: name.bytes().map(u64::from).sum(),
        ..IntegrationRef::new(*name, KnownBy::DedupKey)
    };
    policy.receivers.insert("pd".into(), Receiver::new(integrations.iter().map(known).collect()));
    policy
}

fn one() -> World {
    World::new(with(&["pagerduty[0]"], EVERY))
}

fn warning(name: &str) -> LabelSet {
    labels(&[("alertname", name), ("severity", "warning")])
}

/// The alert fires for a minute.
fn blips(world: &mut World, name: &str) {
    let start = world.now;
    world.say(Source::Alertmanager, "a", vec![firing(&warning(name), start)]);
    world.advance(minutes(1));
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![resolved(&warning(name), start, now)]);
}

fn digests(world: &World) -> Vec<&Notification> {
    world.sent.iter().filter(|n| n.kind == Kind::Digest).collect()
}

/// The minute, the integration, and the names of the alerts of each digest.
fn told(world: &World) -> Vec<(u64, String, String)> {
    let names = |n: &Notification| {
        n.alerts.iter().map(|a| a.labels.value("alertname").to_owned()).collect::<Vec<_>>().join(" ")
    };
    let minute = |n: &Notification| n.at.since(START).as_millis() / 60_000;
    digests(world).into_iter().map(|n| (minute(n), n.integration.to_string(), names(n))).collect()
}

fn reload(world: &mut World, policy: Policy) {
    world.handle(Event::Policy(Box::new(policy)));
}

#[test]
fn a_period_lasts_from_the_first_alert_that_was_held_back() {
    let mut world = one();
    world.advance(minutes(30));
    blips(&mut world, "A");
    world.advance(minutes(60));
    blips(&mut world, "B");
    world.advance(Duration::from_hours(12));
    assert_eq!(told(&world), [(30 + 1 + 240, "pagerduty[0]".into(), "A B".into())]);
    let Cause::Digest { period, .. } = &digests(&world)[0].cause else { panic!("a digest") };
    assert_eq!(*period, EVERY);
}

#[test]
fn an_integration_gets_the_next_digest_after_its_last_one_has_an_answer() {
    let mut world = World::new(with(&["pagerduty[0]", "slack[0]"], EVERY));
    blips(&mut world, "A");
    world.answers = Answers::Hang;
    world.advance(EVERY);
    assert_eq!(digests(&world).len(), 2, "one at each integration");
    // Slack does not answer.
    world.in_flight.retain(|n| n.integration == "pagerduty[0]");
    world.answer(true);
    blips(&mut world, "B");
    world.advance(minutes(240));
    assert_eq!(told(&world)[2..], [(482, "pagerduty[0]".into(), "B".into())]);
}

#[test]
fn a_digest_goes_to_all_integrations_if_none_wants_updates() {
    for (wanting, got) in [(0, 2), (1, 1), (2, 2)] {
        let mut policy = with(&["pagerduty[0]", "slack[0]"], EVERY);
        let integrations = &mut policy.receivers.get_mut("pd").unwrap().integrations;
        for (n, one) in integrations.iter_mut().enumerate() {
            one.send_updates = n < wanting;
        }
        let mut world = World::new(policy);
        blips(&mut world, "A");
        world.advance(minutes(480));
        assert_eq!(digests(&world).len(), got, "{wanting} want updates");
    }
}

#[test]
fn a_digest_that_one_integration_accepted_is_not_reported_again() {
    for (unreachable, again) in
        [(vec!["slack[0]"], false), (vec!["pagerduty[0]"], false), (vec!["slack[0]", "pagerduty[0]"], true)]
    {
        let mut world = World::new(with(&["pagerduty[0]", "slack[0]"], EVERY));
        blips(&mut world, "A");
        world.unreachable = unreachable.clone();
        world.advance(EVERY);
        world.unreachable.clear();
        world.advance(Duration::from_hours(3));
        let later: Vec<_> = told(&world)[2..].iter().map(|(minute, ..)| *minute).collect();
        let expected: &[u64] = if again { &[301, 301] } else { &[] };
        assert_eq!(later, expected, "{unreachable:?}");
    }
}

#[test]
fn a_reload_tries_a_refused_digest_at_once() {
    let mut world = one();
    blips(&mut world, "A");
    world.unreachable = vec!["pagerduty[0]"];
    world.advance(minutes(241));
    world.unreachable.clear();
    reload(&mut world, with(&["pagerduty[0]"], EVERY));
    assert_eq!(told(&world).iter().map(|(minute, ..)| *minute).collect::<Vec<_>>(), [241, 242]);
}

#[test]
fn a_reload_without_digests_drops_the_period_and_one_with_them_begins_anew() {
    let mut world = one();
    blips(&mut world, "A");
    reload(&mut world, with(&["pagerduty[0]"], Duration::ZERO));
    blips(&mut world, "B");
    world.advance(minutes(720));
    assert_eq!(told(&world), []);
    let minute = world.now.since(START).as_millis() / 60_000;
    reload(&mut world, with(&["pagerduty[0]"], EVERY));
    blips(&mut world, "C");
    world.advance(minutes(720));
    assert_eq!(told(&world), [(minute + 241, "pagerduty[0]".into(), "C".into())]);
}

#[test]
fn a_period_goes_on_over_a_reload_that_keeps_its_receiver() {
    let mut world = one();
    blips(&mut world, "A");
    world.advance(minutes(60));
    reload(&mut world, with(&["pagerduty[0]"], EVERY));
    world.advance(EVERY);
    assert_eq!(told(&world), [(241, "pagerduty[0]".into(), "A".into())]);
}

#[test]
fn a_digest_whose_time_came_while_the_last_one_was_on_its_way_leaves_once_a_reload_frees_an_integration() {
    let mut world = one();
    blips(&mut world, "A");
    world.answers = Answers::Hang;
    world.advance(EVERY);
    blips(&mut world, "B");
    world.advance(minutes(241));
    assert_eq!(digests(&world).len(), 1, "the first one has no answer yet");
    reload(&mut world, with(&["pagerduty[0]", "slack[0]"], EVERY));
    assert_eq!(told(&world)[1..], [(483, "slack[0]".into(), "B".into())]);
}

#[test]
fn a_digest_on_its_way_and_its_period_follow_a_receiver_that_has_another_name() {
    let named = |name: &str| {
        let mut policy = with(&["pagerduty[0]"], EVERY);
        let receiver = policy.receivers.remove("pd").unwrap();
        policy.receivers.insert(name.into(), receiver);
        policy.routes.iter_mut().for_each(|route| route.receiver = name.into());
        policy
    };
    let mut world = World::new(named("old"));
    blips(&mut world, "A");
    world.answers = Answers::Hang;
    world.advance(EVERY);
    blips(&mut world, "B");
    reload(&mut world, named("new"));
    world.advance(minutes(480));
    assert_eq!(digests(&world).len(), 1, "the one that left under the old name has no answer yet");
    world.answers = Answers::Accept;
    world.answer(true);
    let told = told(&world);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((&*digests(&world)[1].receiver, &*told[1].2), ("new", "B"));
}

/// The default profile withholds series that fire often, once `usual_per_day` is so low.
fn withholding(mode: Mode) -> World {
    let mut policy = with(&["pagerduty[0]"], EVERY);
    policy.severities.levels[1].hold = Duration::ZERO;
    let noise = Noise { usual_per_day: 1, digest: EVERY, mode, ..Noise::default() };
    policy.noise.insert("default".into(), noise);
    let mut world = World::new(policy);
    for _ in 0..3 {
        blips(&mut world, "Usual");
        world.advance(minutes(30));
    }
    world
}

#[test]
fn a_digest_lists_a_withheld_alert_again_for_as_long_as_it_fires() {
    let mut world = withholding(Mode::Enforce);
    let start = world.now;
    world.say(Source::Alertmanager, "a", vec![firing(&warning("Usual"), start)]);
    world.advance(minutes(481));
    let counts: Vec<_> = digests(&world)
        .iter()
        .map(|n| match &n.cause {
            Cause::Digest { withheld, .. } => (withheld.count, n.alerts[0].status),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(counts, [(1, Status::Firing); 2]);
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![resolved(&warning("Usual"), start, now)]);
    world.advance(minutes(480));
    let last = digests(&world).last().copied().unwrap().clone();
    let Cause::Digest { withheld, .. } = &last.cause else { panic!("{last:?}") };
    assert_eq!((digests(&world).len(), withheld.count, last.alerts[0].status), (3, 0, Status::Resolved));
    assert_eq!(last.alerts[0].ends_at, Some(now));
}

#[test]
fn an_observing_receiver_gets_no_digest() {
    let mut world = withholding(Mode::Observe);
    let start = world.now;
    world.say(Source::Alertmanager, "a", vec![firing(&warning("Usual"), start)]);
    world.advance(minutes(720));
    assert_eq!(told(&world), []);
}

#[test]
fn a_digest_lists_the_worst_alerts_first() {
    let mut policy = with(&["pagerduty[0]"], EVERY);
    policy.severities.levels[2].hold = minutes(5);
    let mut world = World::new(policy);
    let info = labels(&[("alertname", "A"), ("severity", "info")]);
    let start = world.now;
    world.say(Source::Alertmanager, "a", vec![firing(&info, start)]);
    world.advance(minutes(1));
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![resolved(&info, start, now)]);
    blips(&mut world, "Seldom");
    for _ in 0..2 {
        blips(&mut world, "Often");
    }
    world.advance(EVERY);
    assert_eq!(told(&world)[0].2, "Often Seldom A");
    assert_eq!((&*digests(&world)[0].severity, digests(&world)[0].level), ("warning", (1, 3)));
}

#[test]
fn a_digest_says_how_often_a_flapping_alert_changed_at_its_receiver() {
    let mut policy = with(&["pagerduty[0]"], minutes(10));
    policy.severities.levels[1].hold = Duration::ZERO;
    policy.noise.insert("default".into(), Noise { digest: minutes(10), ..flaps_at(3_000) });
    let mut world = World::new(policy);
    for _ in 0..8 {
        blips(&mut world, "Flaps");
        world.advance(minutes(1));
    }
    let flappers = world.engine.query().stats().receivers["pd"].flapping;
    let [digest] = &digests(&world)[..] else { panic!("{:?}", told(&world)) };
    assert_eq!((flappers, digest.alerts.len()), (1, 1));
    assert!(digest.alerts[0].flaps.is_some_and(|changes| changes > 2), "{digest:?}");
}

#[test]
fn a_digest_counts_alerts_that_are_not_known_any_more() {
    let mut policy = with(&["pagerduty[0]"], EVERY);
    policy.limits.alerts = 1;
    let mut world = World::new(policy);
    blips(&mut world, "A");
    world.advance(minutes(30));
    let start = world.now;
    world.say(Source::Alertmanager, "a", vec![firing(&warning("B"), start)]);
    assert_eq!(world.held("alerts"), 1, "the second one takes the place of the first one");
    world.advance(EVERY);
    let [digest] = &digests(&world)[..] else { panic!("{:?}", told(&world)) };
    assert_eq!((digest.alerts.len(), &*digest.severity, digest.level), (0, "info", (2, 3)));
    assert!(matches!(&digest.cause, Cause::Digest { held_back, .. } if held_back[0].counted.count == 1));
}

#[test]
fn an_alert_that_a_person_silenced_is_in_no_digest() {
    let mut world = one();
    silence(&mut world, "alertname=A");
    blips(&mut world, "A");
    world.advance(EVERY);
    world.advance(EVERY);
    assert_eq!(told(&world), []);
}
