//! The setting that a decision names, its line, and the disposition that would have followed without it.

use super::muted::silence;
use crate::engine::testing::*;
use crate::model::{Basis, Decision, Duration, LabelSet, Otherwise, Reason};
use crate::policy::{Hold, Noise, Policy};

const WAIT: Duration = Duration::from_mins(2);

fn slow(instance: &str, severity: &str) -> LabelSet {
    labels(&[("alertname", "Slow"), ("instance", instance), ("severity", severity)])
}

/// One group for all alerts, with lines for the settings that may decide.
fn with(noise: Noise) -> Policy {
    let mut policy = policy(&["alertname"], noise);
    policy.lines.severities = [("warning".into(), 9)].into();
    policy.lines.global = [("stale_after".into(), 5)].into();
    let profile = [("".into(), 20), ("wait".into(), 21), ("flapping".into(), 22)];
    policy.lines.noise = [("default".into(), profile.into())].into();
    policy
}

fn last(world: &World, reason: Reason) -> &Decision {
    world.decisions.iter().rfind(|d| d.cause.reason() == reason).expect("no such decision")
}

fn named(basis: &Basis) -> (&str, u32) {
    (&basis.setting, basis.line)
}

#[test]
fn an_alert_that_resolves_while_it_waits_names_the_wait_that_kept_it() {
    let waits = Noise { wait: WAIT, ..Noise::default() };
    let both = Noise { hold: Hold { time: WAIT, levels: vec!["warning".into()] }, ..waits.clone() };
    for (noise, level, setting) in [
        (waits.clone(), WAIT, ("severities.levels.warning.hold", 9)),
        (both, Duration::ZERO, ("noise.default.hold", 20)),
        (waits, Duration::ZERO, ("noise.default.wait", 21)),
        (Noise::default(), Duration::ZERO, ("route {}", 1)),
    ] {
        let mut policy = with(noise);
        policy.routes[0].group_wait = WAIT;
        policy.severities.levels[1].hold = level;
        let mut world = World::new(policy);
        world.webhook("am", vec![firing(&slow("1", "warning"), START)]);
        world.advance(Duration::from_secs(30));
        let now = world.now;
        world.webhook("am", vec![resolved(&slow("1", "warning"), START, now)]);
        world.advance(WAIT);
        let decision = last(&world, Reason::SelfResolved);
        assert_eq!(named(&decision.basis), setting);
        assert_eq!(decision.basis.otherwise, Some(Otherwise::Page(START)), "{setting:?}");
    }
}

#[test]
fn an_alert_that_expires_before_its_page_names_the_time_after_which_it_does() {
    let mut policy = with(Noise::default());
    policy.severities.levels[1].hold = Duration::from_hours(24);
    let mut world = World::new(policy);
    world.webhook("am", vec![firing(&slow("1", "warning"), START)]);
    world.advance(Duration::from_hours(13));
    let basis = &last(&world, Reason::Stale).basis;
    assert_eq!((named(basis), &basis.otherwise), (("global.stale_after", 5), &None));
}

#[test]
fn without_its_silence_an_alert_pages_after_the_wait_or_changes_the_open_incident() {
    for (severity, wait) in [("warning", WAIT), ("critical", Duration::ZERO)] {
        let mut policy = with(Noise::default());
        policy.routes[0].group_wait = WAIT;
        let mut world = World::new(policy);
        silence(&mut world, "instance=1");
        world.webhook("am", vec![firing(&slow("1", severity), START)]);
        let page = Some(Otherwise::Page(START + wait));
        assert_eq!(last(&world, Reason::Silenced).basis.otherwise, page, "{severity}");
        world.webhook("am", vec![firing(&slow("2", severity), START)]);
        world.advance(WAIT);
        let key = world.sent[0].dedup_key.clone();
        silence(&mut world, "instance=3");
        let now = world.now;
        world.webhook("am", vec![firing(&slow("3", severity), now)]);
        assert_eq!(
            last(&world, Reason::Silenced).basis.otherwise,
            Some(Otherwise::Update(key)),
            "{severity}"
        );
    }
}

#[test]
fn a_withheld_change_names_the_profile_and_the_incident_that_it_would_have_changed() {
    let mut world = World::new(with(flaps_at(3_000)));
    let set = slow("1", "critical");
    for _ in 0..4 {
        let start = world.now;
        world.webhook("am", vec![firing(&set, start)]);
        world.advance(Duration::from_secs(20));
        let now = world.now;
        world.webhook("am", vec![resolved(&set, start, now)]);
        world.advance(Duration::from_secs(20));
    }
    let basis = &last(&world, Reason::Flapping).basis;
    assert_eq!(named(basis), ("noise.default.flapping", 22));
    assert_eq!(basis.otherwise, Some(Otherwise::Update(world.sent[0].dedup_key.clone())));
}

#[test]
fn an_alert_that_fires_too_often_would_have_paged_after_the_wait_of_its_group() {
    let alone = crate::policy::Alone { pages: 0, levels: Vec::new() };
    let mut policy = with(Noise { usual_per_day: 1, alone, ..Noise::default() });
    policy.routes[0].group_wait = WAIT;
    let mut world = World::new(policy);
    let mut start = START;
    for _ in 0..4 {
        start = world.now;
        world.webhook("am", vec![firing(&slow("1", "warning"), start)]);
        world.advance(WAIT);
        world.webhook("am", vec![resolved(&slow("1", "warning"), start, start + WAIT)]);
        world.advance(Duration::from_mins(30));
    }
    let basis = &last(&world, Reason::Usual).basis;
    assert_eq!(basis.otherwise, Some(Otherwise::Page(start + WAIT)));
}

#[test]
fn a_time_interval_keeps_a_page_back_and_a_receiver_without_integrations_would_get_none() {
    for integrations in [true, false] {
        let mut policy = with(Noise::default());
        policy.time_intervals.insert("always".into(), vec![crate::policy::TimeInterval::default()]);
        policy.routes[0].windows.mute = vec!["always".into()];
        if !integrations {
            policy.receivers.get_mut("pd").unwrap().integrations.clear();
        }
        let mut world = World::new(policy);
        world.webhook("am", vec![firing(&slow("1", "critical"), START)]);
        let otherwise = &last(&world, Reason::Muted).basis.otherwise;
        assert_eq!(*otherwise, integrations.then_some(Otherwise::Page(START)));
    }
}
