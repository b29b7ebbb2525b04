//! Dry runs: their result equals the later events.

use crate::engine::testing::{World, firing, labels, policy};
use crate::engine::{DryOutcome, DryStep};
use crate::model::{Cause, Disposition, Duration, Reason, Source, Status, Timestamp};
use crate::policy::{Level, Noise};

fn world() -> World {
    let mut policy = policy(&["alertname"], Noise::default());
    let warning = policy.severities.levels.iter_mut().find(|l| l.name == "warning").unwrap();
    *warning = Level { hold: Duration::from_mins(5), ..warning.clone() };
    World::new(policy)
}

/// The later events equal the result of the dry run.
#[test]
fn it_says_what_then_happens_and_changes_nothing() {
    let mut world = world();
    let disk = labels(&[("alertname", "Disk"), ("severity", "warning")]);
    let other = labels(&[("alertname", "Disk"), ("severity", "critical"), ("host", "b")]);
    world.say(Source::Alertmanager, "a", vec![firing(&other, world.now)]);
    let before = world.engine.clone();
    let run = world.engine.query().dry_run(&disk, world.now);
    assert_eq!(world.engine, before);
    let decided = run.steps.iter().find_map(|step| match step {
        DryStep::Decided(decision) => Some(decision.clone()),
        _ => None,
    });
    let seen = world.decisions.len();
    world.say(Source::Alertmanager, "a", vec![firing(&disk, world.now)]);
    world.advance(Duration::from_mins(10));
    assert_eq!(decided.as_ref(), world.decisions.get(seen));
    let disposed = DryOutcome::Disposed { disposition: Disposition::Update, cause: Cause::AlertsChanged };
    assert!(!run.pages && run.outcome() == disposed, "{run:?}");
}

#[test]
fn repeats_that_were_counted_before_are_not_its_outcome() {
    let mut world = world();
    let disk = labels(&[("alertname", "Disk"), ("severity", "critical")]);
    let start = world.now;
    world.webhook("a", vec![firing(&disk, start)]);
    world.advance(Duration::from_secs(30));
    world.webhook("a", vec![firing(&disk, start)]);
    let run = world.engine.query().dry_run(&disk, world.now + Duration::from_secs(30));
    let repeats = run
        .steps
        .iter()
        .any(|step| matches!(step, DryStep::Decided(decision) if decision.basis.repeats_since.is_some()));
    let disposition = Disposition::Suppressed(Reason::Duplicate);
    let cause = Cause::Repeat { status: Status::Firing };
    assert!(!repeats && run.outcome() == DryOutcome::Disposed { disposition, cause }, "{run:?}");
}

#[test]
fn it_waits_pages_or_is_silenced_as_the_time_has_it() {
    let mut world = world();
    let of = |severity| labels(&[("alertname", "Disk"), ("severity", severity)]);
    let at = |m: u64| Timestamp::EPOCH + Duration::from_mins(m);
    let pages = |minutes| DryOutcome::Pages { receiver: "pd".into(), after: Duration::from_mins(minutes) };
    assert_eq!(world.engine.query().dry_run(&of("critical"), at(0)).outcome(), pages(0));
    assert_eq!(world.engine.query().dry_run(&of("warning"), at(0)).outcome(), pages(5));
    world.silence("alertname=Disk", at(10), Duration::from_mins(30));
    let run = |minute| world.engine.query().dry_run(&of("critical"), at(minute)).outcome();
    assert_eq!(run(0), pages(0));
    assert_eq!(run(12), pages(28), "once the silence ends, if it still fires");
    assert_eq!(run(40), pages(0));
}
