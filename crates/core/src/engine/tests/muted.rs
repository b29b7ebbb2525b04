//! Alerts that are muted: the setting that decides, over a restart too, and the silences that metrics count.

use crate::engine::testing::*;
use crate::engine::{AlertQuery, Engine, Event};
use crate::model::{Cause, Duration, Kind, Notification, Reason, SilenceState, Source, parse_matchers};
use crate::policy::{InhibitRule, Noise, Policy, Span, TimeInterval};

fn known(source: &str) -> InhibitRule {
    InhibitRule {
        name: source.into(),
        source_matchers: parse_matchers(&format!("alertname={source}")).unwrap(),
        target_matchers: parse_matchers("alertname=Target").unwrap(),
        equal: Vec::new(),
    }
}

/// With two inhibit rules, a time interval that always holds, and one that never does.
fn with(mute: &[&str], active: &[&str]) -> Policy {
    let mut policy = policy(&["alertname"], Noise::default());
    policy.inhibit_rules = vec![known("Other"), known("Source")];
    let past = TimeInterval { years: vec![Span { from: 1900, to: 1901 }], ..TimeInterval::default() };
    policy.time_intervals.insert("always".into(), vec![TimeInterval::default()]);
    policy.time_intervals.insert("never".into(), vec![past]);
    policy.lines.inhibit_rules = vec![41, 42];
    policy.lines.time_intervals = [("always".into(), 7), ("never".into(), 8)].into();
    policy.routes[0].windows.mute = mute.iter().map(|name| (*name).into()).collect();
    policy.routes[0].windows.active = active.iter().map(|name| (*name).into()).collect();
    policy
}

/// A person silences the alerts that the matchers find, for an hour.
pub(super) fn silence(world: &mut World, matchers: &str) {
    world.silence(matchers, world.now, Duration::from_hours(1));
}

/// The reason for which the newest alert of this name is suppressed, with the setting and its line.
fn suppressed(world: &mut World, name: &str) -> (Option<Reason>, String, u32) {
    let set = labels(&[("alertname", name), ("severity", "critical")]);
    let now = world.now;
    world.webhook("am", vec![firing(&set, now)]);
    let Some(decision) = world.decisions.last() else { return (None, String::new(), 0) };
    (decision.cause.reason().into(), decision.basis.setting.to_string(), decision.basis.line)
}

#[test]
fn a_muted_alert_names_the_setting_that_mutes_it_and_its_line() {
    for restarts in [false, true] {
        for (mute, active, line) in [(&["always"][..], &[][..], 7), (&["never"], &["never"], 8)] {
            let mut world = World::new(with(mute, active));
            if restarts {
                world.engine = Engine::restore(&world.engine.snapshot()).unwrap();
            }
            let name = if line == 7 { "always" } else { "never" };
            let interval = (Some(Reason::Muted), format!("time_intervals.{name}"), line);
            assert_eq!(suppressed(&mut world, "A"), interval, "restarts: {restarts}");
        }
        let mut world = World::new(with(&[], &[]));
        suppressed(&mut world, "Source");
        if restarts {
            world.engine = Engine::restore(&world.engine.snapshot()).unwrap();
        }
        let rule = (Some(Reason::Inhibited), "inhibit_rules[1]".to_owned(), 42);
        assert_eq!(suppressed(&mut world, "Target"), rule, "restarts: {restarts}");
        silence(&mut world, "alertname=B");
        let id = world.engine.query().silences()[0].0.id.clone();
        let silenced = (Some(Reason::Silenced), format!("silence {id}"), 0);
        assert_eq!(suppressed(&mut world, "B"), silenced, "restarts: {restarts}");
    }
}

#[test]
fn silences_are_counted_by_their_state() {
    let mut world = World::new(with(&[], &[]));
    for name in ["A", "B", "C"] {
        silence(&mut world, &format!("alertname={name}"));
    }
    let counted = |world: &World| {
        let silences = world.engine.query().stats().silences;
        SilenceState::ALL.map(|state| (state, silences[&state]))
    };
    let with = |active, expired| {
        SilenceState::ALL.map(|state| match state {
            SilenceState::Active => (state, active),
            SilenceState::Expired => (state, expired),
            SilenceState::Pending => (state, 0),
        })
    };
    assert_eq!(counted(&world), with(3, 0));
    world.advance(Duration::from_hours(2));
    assert_eq!(counted(&world), with(0, 3));
}

#[test]
fn an_incident_is_not_repeated_while_a_silence_covers_it() {
    let mut policy = policy(&["alertname"], Noise::default());
    policy.routes[0].repeat_interval = Duration::from_mins(20);
    let mut world = World::new(policy);
    let alert = labels(&[("alertname", "A"), ("severity", "critical")]);
    world.say(Source::Alertmanager, "am", vec![firing(&alert, START)]);
    world.advance(Duration::from_mins(30));
    silence(&mut world, "alertname=A");
    world.advance(Duration::from_mins(85));
    let repeats = world.sent.iter().filter(|n| matches!(n.cause, Cause::Repeated { .. }));
    let minutes: Vec<_> = repeats.map(|n| n.at.since(START).as_millis() / 60_000).collect();
    assert_eq!(minutes, [20, 100]);
    let routed = world.engine.query().stats().receivers["pd"].routed;
    assert_eq!((routed, world.sent.len()), (1, 3), "the end of the silence is no new alert");
}

#[test]
fn the_page_of_a_target_waits_for_one_group_interval_after_its_inhibition() {
    let cases = [
        (15, 0, 15, Cause::InhibitionEnded),
        (0, 0, 0, Cause::FirstPage),
        (15, 600, 590, Cause::SeverityHold),
    ];
    for (interval, held, waits, why) in cases {
        let mut policy = with(&[], &[]);
        policy.routes[0].group_interval = Duration::from_secs(interval);
        policy.severities.levels[1].hold = Duration::from_secs(held);
        let mut world = World::new(policy);
        let [source, target] =
            ["Source", "Target"].map(|name| labels(&[("alertname", name), ("severity", "warning")]));
        world.say(Source::Alertmanager, "am", vec![firing(&source, START)]);
        world.say(Source::Alertmanager, "am", vec![firing(&target, START)]);
        world.advance(Duration::from_secs(10));
        let end = world.now;
        world.say(Source::Alertmanager, "am", vec![resolved(&source, START, end)]);
        let shown = world.engine.query().alerts(&AlertQuery { limit: 9, ..AlertQuery::default() }).found;
        let of_target = shown.iter().filter(|a| a.alert.labels.value("alertname") == "Target");
        let causes: Vec<_> = of_target.flat_map(|a| &a.receivers).filter_map(|r| r.cause.clone()).collect();
        assert_eq!(causes, [why], "{interval} {held}");
        world.advance(Duration::from_mins(20));
        let of_target = |n: &&crate::model::Notification| n.alerts[0].labels.value("alertname") == "Target";
        let page = world.sent.iter().find(of_target).unwrap();
        assert_eq!(page.at, end + Duration::from_secs(waits), "{interval} {held}");
    }
}

/// Its integration, with this name.
fn at_integration(name: &str) -> Policy {
    let mut policy = with(&[], &[]);
    policy.receivers.get_mut("pd").unwrap().integrations[0].name = name.into();
    policy
}

/// A reload gives the receiver another integration while the alert is muted. Otherwise the next page would
/// be the repeat, hours later.
#[test]
fn an_incident_whose_integration_was_replaced_under_a_mute_pages_when_the_mute_ends() {
    let target = labels(&[("alertname", "Target"), ("severity", "critical")]);
    let source = labels(&[("alertname", "Source"), ("severity", "critical")]);
    for (inhibited, seconds) in [(false, 3_600), (true, 3_615)] {
        let mut world = World::new(at_integration("pagerduty[0]"));
        world.webhook("am", vec![firing(&target, START)]);
        match inhibited {
            true => world.webhook("am", vec![firing(&source, START)]),
            false => silence(&mut world, "alertname=Target"),
        }
        world.advance(Duration::from_mins(10));
        world.handle(Event::Policy(Box::new(at_integration("slack[0]"))));
        world.advance(Duration::from_mins(50));
        world.webhook("am", vec![resolved(&source, START, world.now)]);
        world.advance(Duration::from_mins(10));
        let about = |n: &&Notification| n.integration == "slack[0]" && n.group_key.contains("Target");
        let pages: Vec<_> = world.sent.iter().filter(about).collect();
        let pages: Vec<_> = pages.iter().map(|n| (n.kind, n.at.since(START).as_millis() / 1_000)).collect();
        assert_eq!(pages, [(Kind::Page, seconds)], "inhibited: {inhibited}");
    }
}
