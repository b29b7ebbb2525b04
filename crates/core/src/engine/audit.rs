//! Laws that must hold at every step, checked from the inside: the counters against a recount.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::engine::incidents::incident::{Phase, Side};
use crate::engine::pages::Pages;
use crate::engine::timers::Timer;
use crate::engine::world::World;

/// Recounts the running counters of the accounting. It panics where they differ.
pub(crate) fn audit(engine: &Engine) {
    let Engine { world, mutes, pages, .. } = engine;
    let mut expected: BTreeMap<_, [u64; 6]> = BTreeMap::new();
    let account = |destination| {
        let destination = world.destinations.get(destination);
        (destination.observes(), destination.receiver.clone())
    };
    for (_, destination, state) in world.alerts.states() {
        let counts = expected.entry(account(destination)).or_default();
        counts[0] += state.waiting;
        counts[1] += u64::from(state.held_until().is_some());
        counts[2] += u64::from(state.damping.flaps().is_some());
    }
    for (key, group) in &pages.groups {
        let counts = expected.entry(account(key.0)).or_default();
        counts[0] += group.pending.iter().map(|p| p.count).sum::<u64>();
        counts[0] += group.withheld.iter().map(|q| q.count).sum::<u64>();
    }
    for incident in pages.incidents.all.values() {
        let (_, receiver) = account(incident.group.0);
        let counts = expected.entry((incident.side == Side::Observed, receiver)).or_default();
        counts[0] += incident.waiting.iter().map(|(_, n)| n).sum::<u64>();
        let over = incident.is_over();
        counts[5] += u64::from(over && incident.side != Side::Observed);
        if incident.superseded_by.is_none() {
            counts[3] += u64::from(incident.phase == Phase::Open);
            counts[4] += u64::from(incident.phase == Phase::Resolving);
        }
    }
    let all = engine.query().stats();
    let real = all.receivers.iter().map(|(name, stats)| (false, name, stats));
    for (observed, name, stats) in real.chain(all.observed.iter().map(|(name, stats)| (true, name, stats))) {
        let disposed: u64 = stats.disposed.values().sum();
        assert_eq!(stats.routed, disposed + stats.pending, "the accounting law at {name}");
        let counted = [stats.pending, stats.held, stats.flapping, stats.open, stats.resolving, stats.closing];
        assert_eq!(
            counted,
            expected.remove(&(observed, name.clone())).unwrap_or_default(),
            "counters of {name}"
        );
    }
    let reindexed = mutes.reindexed(&world.policy, &world.alerts);
    assert_eq!(*mutes, reindexed, "the alerts, as the mutes have them");
    for (alert, destination, state) in world.alerts.states() {
        let cause = mutes.cause(&world.alerts, alert, world.destinations.get(destination));
        assert_eq!(state.muted().is_some(), state.is_live() && cause.is_some(), "whether {alert} is muted");
    }
    audit_places(world, pages);
    expected.retain(|_, counts| counts.iter().any(|n| *n > 0));
    assert!(expected.is_empty(), "no counters for {expected:?}");
    assert_eq!(world.alerts.firing(), world.alerts.that_fire().count() as u64);
}

/// Every firing alert is where the next stage finds it. Everything that waits or that a receiver knows
/// as firing has an alert that can end it. Everything that is over will be forgotten.
fn audit_places(world: &World, pages: &Pages) {
    for (key, group) in &pages.groups {
        let pending = group.pending.iter().filter(|p| !p.recovered).map(|p| p.alert);
        let withheld = group.withheld.iter().filter(|q| !q.resolved).map(|q| q.alert);
        for alert in pending.chain(withheld) {
            let mut states = world.alerts.states_of(alert);
            assert!(
                states.any(|(_, t)| t.waits_in() == Some(key)),
                "{alert} waits in {key:?}, and nothing would take it out"
            );
        }
        let forgotten = world.timers.deadline(&Timer::ForgetGroup(key.clone())).is_some();
        assert!(forgotten || !group.is_idle(), "{key:?} is never forgotten");
    }
    for (id, incident) in
        pages.incidents.all.iter().filter(|(_, i)| !i.is_over() && i.side != Side::Forwarded)
    {
        for (alert, _) in incident.members.iter().filter(|(_, m)| m.firing) {
            let mut states = world.alerts.states_of(*alert);
            assert!(
                states.any(|(_, t)| t.notified_in() == Some(*id)),
                "{alert} fires in {}, and nothing would end it",
                incident.dedup_key
            );
        }
    }
    for (alert, destination, state) in world.alerts.states() {
        let waits = |key| {
            let Some(group) = pages.groups.get(key) else { return false };
            group.pending.iter().any(|p| p.alert == alert && !p.recovered)
                || group.withheld.iter().any(|q| q.alert == alert && !q.resolved)
        };
        let member = state.notified_in().and_then(|id| pages.incidents.all.get(&id)).filter(|i| !i.is_over());
        let notified = member.and_then(|i| i.members.get(&alert)).is_some_and(|m| m.firing);
        assert!(
            !state.is_admitted() || notified || state.waits_in().is_some_and(waits),
            "{alert} fires at {destination:?}, and is in no page"
        );
        let kept = state.is_live() || state.damping.flaps().is_some();
        let forgotten = world.timers.deadline(&Timer::ForgetState(destination, alert)).is_some();
        assert!(kept || forgotten, "{alert} at {destination:?} is never forgotten");
        assert!(state.is_live() || state.waiting == 0, "{alert} waits for nothing");
    }
}
