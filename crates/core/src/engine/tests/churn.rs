//! Labels whose value changes at each evaluation.

use crate::engine::testing::*;
use crate::engine::{Engine, Event};
use crate::model::{Duration, LabelSet, Source};
use crate::policy::{Noise, Policy};

fn disk(host: &str, value: u32) -> LabelSet {
    let value = format!("80.{value:02}");
    labels(&[("alertname", "DiskFull"), ("host", host), ("severity", "critical"), ("value", &value)])
}

/// Evaluates `times` times, `every` apart: the old value resolves and the new one fires in one request.
fn evaluates(world: &mut World, times: u32, every: Duration, resolved_first: bool) {
    let mut start = world.now;
    world.say(Source::Prometheus, "p", vec![firing(&disk("db", 0), start)]);
    for n in 1..=times {
        world.advance(every);
        let now = world.now;
        let mut said = vec![resolved(&disk("db", n - 1), start, now), firing(&disk("db", n), now)];
        if !resolved_first {
            said.reverse();
        }
        world.say(Source::Prometheus, "p", said);
        start = now;
    }
}

fn found(engine: &Engine) -> Vec<(String, String, u64)> {
    let found = engine.query().stats().changing_labels.into_iter();
    found.map(|((rule, label), times)| (rule.into(), label.into(), times)).collect()
}

#[test]
fn a_label_whose_value_changes_at_each_evaluation_is_named_with_its_rule() {
    for resolved_first in [true, false] {
        let mut world = World::new(policy(&["alertname"], Noise::default()));
        evaluates(&mut world, 4, Duration::from_mins(1), resolved_first);
        assert!(found(&world.engine).is_empty());
        world.advance(Duration::from_mins(1));
        evaluates(&mut world, 5, Duration::from_mins(1), resolved_first);
        // The last value of the first row fires already when the second row comes to it.
        assert_eq!(found(&world.engine), [("DiskFull".into(), "value".into(), 8)]);
        let restored = Engine::restore(&world.engine.snapshot()).unwrap();
        assert_eq!(found(&restored), found(&world.engine));
        // The line that is advised ends it.
        let ignores = Policy { ignore_labels: vec!["value".into()], ..world.engine.policy().clone() };
        world.handle(Event::Policy(Box::new(ignores)));
        assert!(found(&world.engine).is_empty());
    }
}

#[test]
fn with_the_line_that_is_advised_there_is_one_page() {
    for resolved_first in [true, false] {
        let ignores =
            Policy { ignore_labels: vec!["value".into()], ..policy(&["alertname"], Noise::default()) };
        let mut world = World::new(ignores);
        evaluates(&mut world, 60, Duration::from_mins(1), resolved_first);
        assert_eq!(world.sent.len(), 1);
        assert!(found(&world.engine).is_empty());
    }
}

#[test]
fn a_rollout_and_changes_that_lie_far_apart_are_no_such_label() {
    let mut world = World::new(policy(&["alertname"], Noise::default()));
    let pod = |n: u32| labels(&[("alertname", "PodSlow"), ("pod", &format!("web-{n}"))]);
    let start = world.now;
    world.say(Source::Prometheus, "p", (0..40).map(|n| firing(&pod(n), start)).collect());
    world.advance(Duration::from_mins(1));
    let now = world.now;
    let ended = (0..40).map(|n| resolved(&pod(n), start, now));
    world.say(Source::Prometheus, "p", ended.chain((40..80).map(|n| firing(&pod(n), now))).collect());
    assert!(found(&world.engine).is_empty(), "all pods of one rollout are one change");
    evaluates(&mut world, 10, Duration::from_mins(61), true);
    assert!(found(&world.engine).is_empty());
}

#[test]
fn a_finding_is_forgotten_a_day_after_the_last_change() {
    let mut world = World::new(policy(&["alertname"], Noise::default()));
    evaluates(&mut world, 6, Duration::from_mins(1), true);
    world.advance(Duration::from_hours(23));
    world.handle(Event::Tick);
    assert_eq!(found(&world.engine).len(), 1);
    world.advance(Duration::from_hours(2));
    world.handle(Event::Tick);
    assert!(found(&world.engine).is_empty());
}
