//! The built-in profiles: how often a series fires, busy groups, and alerts that open pages alone.

use crate::engine::testing::*;
use crate::engine::{BoardQuery, RowState};
use crate::model::{Cause, Disposition, Duration, Kind, LabelSet, Reason, Source};
use crate::policy::{ALONE_CONFIRM, ALONE_QUIET, BUSY_PAGES, Busy, Limit, Noise, Severities, Storm};

fn of(name: &str, severity: &str) -> LabelSet {
    labels(&[("alertname", name), ("cluster", "eu"), ("severity", severity)])
}

/// A world with one group, under a built-in profile that neither merges pages nor has storms.
fn world(name: &str) -> World {
    let noise = Noise::built_in(name, &Severities::default()).unwrap();
    let (storm, limit) =
        (Storm { start: 0, ..noise.storm.clone() }, Limit { pages: 0, ..noise.limit.clone() });
    World::new(policy(&["cluster"], Noise { storm, limit, ..noise }))
}

/// The alert fires for a time, and then does not for a time.
fn fires(world: &mut World, labels: &LabelSet, lasts: Duration, pause: Duration) {
    let start = world.now;
    world.say(Source::Alertmanager, "a", vec![firing(labels, start)]);
    world.advance(lasts);
    world.say(Source::Alertmanager, "a", vec![resolved(labels, start, world.now)]);
    world.advance(pause);
}

fn pages(world: &World) -> usize {
    world.sent.iter().filter(|n| n.kind == Kind::Page).count()
}

/// Pages the group often enough to be busy, each time for an alert that never fired before. Its last page is
/// past its merge window, and its last incident is closed.
fn make_busy(world: &mut World) {
    for n in 0..BUSY_PAGES {
        fires(world, &of(&format!("New{n}"), "warning"), Duration::from_mins(1), Duration::from_mins(20));
    }
    assert_eq!(pages(world), BUSY_PAGES);
}

const MIN: Duration = Duration::from_mins(1);

#[test]
fn a_warning_that_fired_before_waits_in_a_busy_group_and_is_paged_all_the_same() {
    let mut world = world("default");
    make_busy(&mut world);
    let start = world.now;
    world.say(Source::Alertmanager, "a", vec![firing(&of("New3", "warning"), start)]);
    let held = BoardQuery { state: Some(RowState::Held), limit: 10, ..BoardQuery::default() };
    let row = world.engine.query().board(&held).rows.remove(0);
    assert!(matches!(row.standing.cause, Some(Cause::ProfileWait { busy_since: Some(_), .. })), "{row:?}");
    world.advance(Duration::from_mins(3));
    world.say(Source::Alertmanager, "a", vec![resolved(&of("New3", "warning"), start, world.now)]);
    world.advance(Duration::from_mins(1));
    assert_eq!(pages(&world), BUSY_PAGES, "it waits for 5 minutes");
    world.advance(Duration::from_mins(1));
    assert_eq!(pages(&world), BUSY_PAGES + 1, "and is paged although it recovered");
}

#[test]
fn a_wait_goes_on_if_its_alert_recovers_and_fires_again() {
    let mut world = world("default");
    make_busy(&mut world);
    fires(&mut world, &of("New3", "warning"), MIN, MIN);
    world.say(Source::Alertmanager, "a", vec![firing(&of("New3", "warning"), world.now)]);
    world.advance(Duration::from_mins(3));
    assert_eq!(pages(&world), BUSY_PAGES + 1);
}

#[test]
fn a_new_or_critical_alert_never_waits_in_a_busy_group() {
    for (name, severity) in [("Other", "warning"), ("New3", "critical")] {
        let mut world = world("default");
        make_busy(&mut world);
        world.say(Source::Alertmanager, "a", vec![firing(&of(name, severity), world.now)]);
        assert_eq!(pages(&world), BUSY_PAGES + 1, "{name} {severity}");
    }
}

#[test]
fn a_critical_alert_that_fired_before_never_waits_in_a_busy_group() {
    let (mut world, down) = (world("default"), of("Down", "critical"));
    fires(&mut world, &down, MIN, Duration::from_mins(20));
    for n in 1..BUSY_PAGES {
        fires(&mut world, &of(&format!("New{n}"), "warning"), MIN, Duration::from_mins(20));
    }
    assert_eq!(pages(&world), BUSY_PAGES);
    world.say(Source::Alertmanager, "a", vec![firing(&down, world.now)]);
    assert_eq!(pages(&world), BUSY_PAGES + 1);
}

#[test]
fn balanced_pages_new_alerts_at_once_and_lets_others_wait_for_two_minutes() {
    let mut world = world("balanced");
    fires(&mut world, &of("A", "warning"), MIN, Duration::from_hours(2));
    assert_eq!(pages(&world), 1);
    world.say(Source::Alertmanager, "a", vec![firing(&of("A", "warning"), world.now)]);
    world.advance(Duration::from_secs(119));
    assert_eq!(pages(&world), 1);
    world.advance(Duration::from_secs(1));
    assert_eq!(pages(&world), 2);
}

#[test]
fn balanced_opens_no_page_for_an_alert_that_fires_more_than_five_times_a_day() {
    let mut world = world("balanced");
    for _ in 0..30 {
        fires(&mut world, &of("Hourly", "warning"), MIN, Duration::from_mins(59));
    }
    let before = pages(&world);
    assert!((6..=9).contains(&before), "{before}");
    let last = world.decisions.iter().rev().find(|d| matches!(d.cause, Cause::Usual { .. })).unwrap();
    assert_eq!(last.disposition, Disposition::Suppressed(Reason::Usual));
    let Cause::Usual { per_day, usual_per_day, busy_since } = last.cause else { unreachable!() };
    assert!(per_day > 5_000 && usual_per_day == 5_000 && busy_since.is_none(), "{per_day}");
    // The next page of the group lists it.
    let hourly = of("Hourly", "warning");
    world.say(Source::Alertmanager, "a", vec![firing(&hourly, world.now)]);
    world.say(Source::Alertmanager, "a", vec![firing(&of("Down", "critical"), world.now)]);
    assert_eq!(world.sent.last().unwrap().alerts.len(), 2);
}

#[test]
fn balanced_holds_a_critical_alert_that_fired_before_and_releases_a_fan_out() {
    let mut world = world("balanced");
    fires(&mut world, &of("Down", "critical"), MIN, Duration::from_hours(3));
    assert_eq!(pages(&world), 1, "the first one pages at once");
    fires(&mut world, &of("Other", "critical"), MIN, Duration::from_hours(3));
    assert_eq!(pages(&world), 2);
    world.say(Source::Alertmanager, "a", vec![firing(&of("Down", "critical"), world.now)]);
    world.advance(MIN);
    assert_eq!(pages(&world), 2);
    // Both fired before, and two of them together have one cause.
    world.say(Source::Alertmanager, "a", vec![firing(&of("Other", "critical"), world.now)]);
    assert_eq!(pages(&world), 3);
    assert_eq!(world.sent.last().unwrap().alerts.len(), 2);
}

/// Until an alert opened four pages alone: in 12 hours the first three have decayed to less than three.
fn four_lone_pages(world: &mut World, alert: &LabelSet) {
    for _ in 0..4 {
        fires(world, alert, MIN, Duration::from_mins(39));
    }
    assert_eq!(pages(world), 4);
}

#[test]
fn an_alert_that_opened_too_many_pages_alone_updates_the_last_one() {
    let (mut world, alert) = (world("default"), of("Queue", "warning"));
    four_lone_pages(&mut world, &alert);
    let key = world.sent.iter().rfind(|n| n.kind == Kind::Page).unwrap().dedup_key.clone();
    for _ in 0..5 {
        fires(&mut world, &alert, Duration::from_mins(20), Duration::from_mins(20));
    }
    assert_eq!(pages(&world), 4);
    let last = world.sent.last().unwrap();
    assert_eq!((last.kind, &last.dedup_key), (Kind::Update, &key));
    assert!(world.decisions.iter().any(|d| matches!(d.cause, Cause::PagedAlone { pages: 3_000.. })));
    world.advance(ALONE_QUIET);
    assert_eq!(world.sent.last().unwrap().kind, Kind::Resolve, "it was quiet for two hours");
    assert!(!world.pager[&("pagerduty[0]".to_owned(), key.to_string())].open);
}

#[test]
fn an_alert_that_opened_too_many_pages_alone_pages_if_it_lasts() {
    let (mut world, alert) = (world("default"), of("Queue", "warning"));
    four_lone_pages(&mut world, &alert);
    world.say(Source::Alertmanager, "a", vec![firing(&alert, world.now)]);
    world.advance(Duration::from_secs(ALONE_CONFIRM.as_millis() / 1_000 - 1));
    assert_eq!(pages(&world), 4);
    world.advance(Duration::from_secs(1));
    assert_eq!(pages(&world), 5);
    assert!(matches!(world.sent.iter().rfind(|n| n.kind == Kind::Page).unwrap().cause, Cause::Lasts { .. }));
}

#[test]
fn a_page_for_an_alert_that_lasts_is_no_alarm_that_nobody_was_told() {
    let noise = Noise::built_in("calm", &Severities::default()).unwrap();
    let mut policy = policy(&["cluster"], noise);
    policy.self_check.enabled = true;
    let (mut world, alert) = (World::new(policy), of("Down", "critical"));
    for _ in 0..2 {
        fires(&mut world, &alert, MIN, Duration::from_mins(39));
    }
    world.say(Source::Alertmanager, "a", vec![firing(&alert, world.now)]);
    world.advance(Duration::from_mins(29));
    // The receiver takes its time when the page leaves.
    world.answers = Answers::Hang;
    world.advance(MIN);
    let names = world.sent.iter().flat_map(|n| &n.alerts).map(|a| a.labels.value("alertname"));
    assert!(names.clone().all(|name| name == "Down"), "{:?}", names.collect::<Vec<_>>());
    assert_eq!(pages(&world), 3);
}

#[test]
fn an_alert_that_opened_too_many_pages_alone_pages_with_company() {
    let (mut world, alert) = (world("default"), of("Queue", "warning"));
    four_lone_pages(&mut world, &alert);
    let other = of("Disk", "warning");
    fires(&mut world, &other, MIN, Duration::from_mins(20));
    assert_eq!(pages(&world), 5);
    fires(&mut world, &alert, MIN, Duration::from_mins(30));
    assert_eq!(pages(&world), 5, "the other alert fired too long ago");
    // The two fire within five minutes, and the page of the other one is not recent any more.
    world.say(Source::Alertmanager, "a", vec![firing(&other, world.now), firing(&alert, world.now)]);
    assert_eq!(pages(&world), 6);
    assert_eq!(world.sent.last().unwrap().alerts.len(), 2);
}

#[test]
fn company_counts_where_a_profile_has_the_lone_rule_and_nothing_else() {
    let off = Busy { wait: Duration::ZERO, usual_per_day: 0 };
    let noise = Noise { busy: off, ..Noise::default() };
    let mut world = World::new(policy(&["cluster"], noise));
    let (alert, other) = (of("Queue", "warning"), of("Disk", "warning"));
    four_lone_pages(&mut world, &alert);
    fires(&mut world, &other, MIN, Duration::from_mins(20));
    world.say(Source::Alertmanager, "a", vec![firing(&other, world.now)]);
    world.advance(Duration::from_mins(20));
    let before = pages(&world);
    world.say(
        Source::Alertmanager,
        "a",
        vec![resolved(&other, world.now - Duration::from_mins(20), world.now)],
    );
    world.advance(MIN);
    // The other alert fires again and joins nothing that is recent: both have one cause.
    world.say(Source::Alertmanager, "a", vec![firing(&other, world.now)]);
    world.advance(MIN);
    assert_eq!(pages(&world), before, "an alert that is gone for a minute goes on in its incident");
    world.say(Source::Alertmanager, "a", vec![firing(&alert, world.now)]);
    assert_eq!(pages(&world), before + 1);
}

#[test]
fn the_default_profile_pages_each_time_for_a_critical_alert() {
    let (mut world, alert) = (world("default"), of("Down", "critical"));
    for _ in 0..12 {
        fires(&mut world, &alert, MIN, Duration::from_mins(59));
    }
    assert_eq!(pages(&world), 12);
}

#[test]
fn calm_pages_a_slow_flapper_three_times_at_most() {
    // On for 1 to 19 minutes, off for 1 to 60, a dozen times. There are forty of them, by a fixed
    // generator.
    let mut seed = 7u64;
    let mut draw = |low: u64, high: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_secs(low + (seed >> 33) % (high - low))
    };
    let mut counts = Vec::new();
    for severity in ["critical", "warning"] {
        for _ in 0..20 {
            let (mut world, alert) = (world("calm"), of("Flap", severity));
            for _ in 0..12 {
                fires(&mut world, &alert, draw(60, 1_140), draw(60, 3_600));
            }
            counts.push(pages(&world));
        }
    }
    assert!(counts.iter().all(|pages| (1..=3).contains(pages)), "{counts:?}");
}

#[test]
fn no_profile_asks_how_an_alert_ended_before() {
    // Two histories of the same starts. In the first each firing lasts a minute, in the second nine.
    for name in Noise::BUILT_IN {
        let play = |lasts: u64| {
            let mut world = world(name);
            for n in 0..40u64 {
                let alert = of("Backup", "warning");
                fires(&mut world, &alert, Duration::from_mins(lasts), Duration::from_mins(400 - lasts + n));
            }
            let at = |n: &&crate::model::Notification| n.kind == Kind::Page;
            world.sent.iter().filter(at).map(|n| n.cause.clone()).collect::<Vec<_>>()
        };
        assert_eq!(play(1), play(9), "{name}");
    }
}

/// The alert fires for long, and no policy withholds it any more.
#[test]
fn an_alert_that_is_withheld_pages_once_a_reload_withholds_it_no_more() {
    let severities = Severities::default();
    let usual = Noise { usual_per_day: 1, ..Noise::built_in("default", &severities).unwrap() };
    for change in ["profile", "level", "observe", "none"] {
        let mut policy = policy(&["cluster"], usual.clone());
        policy.noise.insert("watch".into(), Noise { mode: crate::policy::Mode::Observe, ..usual.clone() });
        let mut world = World::new(policy.clone());
        for _ in 0..3 {
            fires(&mut world, &of("Usual", "warning"), MIN, Duration::from_mins(30));
        }
        let before = pages(&world);
        world.say(Source::Alertmanager, "a", vec![firing(&of("Usual", "warning"), world.now)]);
        world.advance(Duration::from_mins(20));
        assert_eq!(pages(&world), before, "it is withheld");
        match change {
            "profile" => drop(policy.noise.insert("default".into(), Noise::default())),
            "level" => policy.severities.levels[1].never_hold = true,
            "observe" => policy.routes[0].noise = "watch".into(),
            _ => {}
        }
        world.handle(crate::engine::Event::Policy(Box::new(policy)));
        world.advance(Duration::from_mins(20));
        assert_eq!(pages(&world), before + usize::from(change != "none"), "{change}");
    }
}
