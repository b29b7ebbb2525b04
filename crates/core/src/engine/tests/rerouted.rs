//! A reload gives an alert another receiver: the former one gets the end of its incident, and no page.

use crate::engine::Event;
use crate::engine::testing::*;
use crate::model::{Cause, Duration, Kind, LabelSet, Source, Timestamp};
use crate::policy::{IntegrationRef, KnownBy, Noise, Policy, Receiver};

fn at(minutes: u64) -> Timestamp {
    START + Duration::from_mins(minutes)
}

/// All alerts go to `receiver`. `pd` and `new` are pagers, and `nobody` has no integration.
fn to(receiver: &str, noise: Noise) -> Policy {
    let mut policy = policy(&["cluster"], noise);
    let pager = IntegrationRef::new("pagerduty[1]", KnownBy::DedupKey);
    policy.receivers.insert("new".into(), Receiver::new(vec![pager]));
    policy.receivers.insert("nobody".into(), Receiver::new(vec![]));
    policy.routes[0].receiver = receiver.into();
    policy.severities.levels[1].hold = Duration::from_mins(10);
    policy
}

fn of(name: &str, severity: &str) -> LabelSet {
    labels(&[("alertname", name), ("severity", severity)])
}

fn reload(world: &mut World, policy: Policy) {
    world.handle(Event::Policy(Box::new(policy)));
}

/// The pages, each with its minute and its receiver.
fn pages(world: &World) -> Vec<(u64, &str)> {
    let pages = world.sent.iter().filter(|n| n.kind == Kind::Page);
    pages.map(|n| (n.at.since(START).as_millis() / 60_000, n.receiver.as_str())).collect()
}

/// A warning is held for ten minutes, or waits for its group for as long. A reload comes in between.
#[test]
fn a_page_that_waits_leaves_once() {
    for (receiver, expected) in [("new", "new"), ("nobody", "pd"), ("pd", "pd")] {
        for gathers in [false, true] {
            let policy = |receiver| {
                let mut policy = to(receiver, Noise::default());
                if gathers {
                    policy.severities.levels[1].hold = Duration::ZERO;
                    policy.routes[0].group_wait = Duration::from_mins(10);
                }
                policy
            };
            let mut world = World::new(policy("pd"));
            world.say(Source::Alertmanager, "am", vec![firing(&of("Slow", "warning"), at(0))]);
            world.advance(Duration::from_mins(5));
            let mut moved = policy(receiver);
            moved.routes[0].key = "{}/other".into();
            reload(&mut world, moved);
            world.advance(Duration::from_mins(30));
            // The hold counts from the start. At another receiver, the group waits anew.
            let minute = if gathers && expected == "new" { 15 } else { 10 };
            assert_eq!(pages(&world), [(minute, expected)], "to {receiver}, gathers: {gathers}");
            let left = |cause: &Cause| *cause == Cause::Rerouted;
            assert_eq!(world.decisions.iter().any(|d| left(&d.cause)), expected == "new");
        }
    }
}

#[test]
fn a_severity_that_rises_is_worse_only_at_the_receiver_of_today() {
    let policy = |receiver| {
        let mut policy = to(receiver, Noise::default());
        policy.ignore_labels = vec!["severity".into()];
        policy.severities.levels[1].hold = Duration::ZERO;
        policy
    };
    let mut world = World::new(policy("pd"));
    world.say(Source::Alertmanager, "am", vec![firing(&of("Slow", "warning"), at(0))]);
    world.advance(Duration::from_mins(5));
    reload(&mut world, policy("new"));
    world.advance(Duration::from_mins(15));
    world.say(Source::Alertmanager, "am", vec![firing(&of("Slow", "critical"), at(0))]);
    world.advance(Duration::from_mins(1));
    assert_eq!(pages(&world), [(0, "pd"), (5, "new"), (20, "new")]);
}

/// An alert that blips goes on in its open incident, under whatever route its receiver has.
#[test]
fn an_alert_that_blips_stays_in_its_incident_at_the_same_receiver() {
    let mut world = World::new(to("pd", Noise::default()));
    let (down, other) = (of("Down", "critical"), of("Other", "critical"));
    world.say(Source::Alertmanager, "am", vec![firing(&down, at(0)), firing(&other, at(0))]);
    world.advance(Duration::from_mins(20));
    let mut moved = to("pd", Noise::default());
    moved.routes[0].key = "{}/other".into();
    reload(&mut world, moved);
    world.say(Source::Alertmanager, "am", vec![resolved(&down, at(0), at(20))]);
    world.advance(Duration::from_mins(1));
    world.say(Source::Alertmanager, "am", vec![firing(&down, at(21))]);
    world.advance(Duration::from_mins(10));
    assert_eq!(pages(&world), [(0, "pd")]);
    world.say(Source::Alertmanager, "am", vec![resolved(&down, at(21), at(31))]);
    world.advance(Duration::from_hours(1));
    world.say(Source::Alertmanager, "am", vec![firing(&down, at(91))]);
    // The incident is still open for the other alert.
    assert_eq!(pages(&world), [(0, "pd"), (91, "pd")]);
    assert!(world.sent.last().unwrap().group_key.starts_with("{}/other:"));
}

/// A page is due while its receiver has no integration. Its decision says so. The alert pages once the
/// receiver has one again.
#[test]
fn a_page_that_is_due_at_a_receiver_without_integrations_leaves_when_it_has_one() {
    let settings = |integrations: bool| {
        let mut policy = to("pd", Noise::default());
        policy.routes[0].group_wait = Duration::from_mins(10);
        if !integrations {
            policy.receivers.get_mut("pd").unwrap().integrations.clear();
        }
        policy
    };
    let mut world = World::new(settings(true));
    world.webhook("am", vec![firing(&of("A", "info"), START)]);
    world.advance(Duration::from_mins(5));
    reload(&mut world, settings(false));
    world.advance(Duration::from_mins(15));
    let causes: Vec<_> = world.decisions.iter().map(|d| d.cause.clone()).collect();
    assert_eq!(causes, [Cause::NoIntegration]);
    reload(&mut world, settings(true));
    world.advance(Duration::from_mins(15));
    assert_eq!(pages(&world), [(30, "pd")]);
    assert_eq!(world.decisions.last().unwrap().cause, Cause::FirstPage);
}
