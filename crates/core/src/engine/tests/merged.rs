//! Pages that wait: merged beyond a limit, gathered in their group, or held by a severity that changes.

use super::muted::silence;
use crate::engine::testing::*;
use crate::engine::{BoardQuery, Event, Release, RowState};
use crate::model::{Cause, Disposition, Duration, Kind, LabelSet, Reason, Source, Status};
use crate::policy::{Alone, Hold, IntegrationRef, KnownBy, Limit, Noise, Policy, Receiver, Storm};

fn minutes(count: u64) -> Duration {
    Duration::from_mins(count)
}

fn warning(name: &str, instance: &str) -> LabelSet {
    labels(&[("alertname", name), ("instance", instance), ("severity", "warning")])
}

fn fires(world: &mut World, alerts: &[&LabelSet]) {
    let now = world.now;
    world.say(Source::Alertmanager, "a", alerts.iter().map(|alert| firing(alert, now)).collect());
}

fn resolves(world: &mut World, alerts: &[&LabelSet]) {
    let now = world.now;
    world.say(Source::Alertmanager, "a", alerts.iter().map(|alert| resolved(alert, START, now)).collect());
}

/// Each notification with its second, the alerts that it says to fire, and those that it says to be over.
fn told(world: &World) -> Vec<(u64, Kind, String, String)> {
    let list = |n: &crate::model::Notification, status| {
        let names = n.alerts.iter().filter(|a| a.status == status).map(|a| a.labels.value("alertname"));
        names.collect::<Vec<_>>().join(" ")
    };
    let second = |n: &crate::model::Notification| n.at.since(START).as_millis() / 1000;
    let one = |n| (second(n), n.kind, list(n, Status::Firing), list(n, Status::Resolved));
    world.sent.iter().map(one).collect()
}

fn said(second: u64, kind: Kind, firing: &str, over: &str) -> (u64, Kind, String, String) {
    (second, kind, firing.into(), over.into())
}

/// One page in 10 minutes. The others are merged.
fn limited() -> Policy {
    let limit = Limit { pages: 1, per: minutes(10) };
    let storm = Storm { start: 0, ..Storm::default() };
    let alone = Alone { pages: 0, levels: Vec::new() };
    policy(&["instance"], Noise { limit, storm, alone, ..Noise::default() })
}

#[test]
fn a_later_alert_of_a_group_joins_the_merged_page_that_names_the_group() {
    let mut world = World::new(limited());
    let [first, two, three] = [("First", "1"), ("Two", "2"), ("Three", "3")].map(|(n, i)| warning(n, i));
    fires(&mut world, &[&first]);
    fires(&mut world, &[&two, &three]);
    world.advance(minutes(11));
    let late = warning("Late", "2");
    fires(&mut world, &[&late]);
    world.advance(minutes(1));
    resolves(&mut world, &[&two, &three, &late]);
    world.advance(minutes(10));
    assert_eq!(
        told(&world),
        [
            said(0, Kind::Page, "First", ""),
            said(600, Kind::Page, "Two Three", ""),
            said(660, Kind::Update, "Late Two Three", ""),
            said(840, Kind::Resolve, "", "Late Two Three"),
        ]
    );
}

#[test]
fn an_alert_of_another_group_does_not_join_a_merged_page() {
    let mut world = World::new(limited());
    fires(&mut world, &[&warning("First", "1")]);
    fires(&mut world, &[&warning("Two", "2")]);
    world.advance(minutes(11));
    fires(&mut world, &[&warning("Other", "4")]);
    world.advance(minutes(20));
    let pages = world.sent.iter().filter(|n| n.kind == Kind::Page);
    assert_eq!(pages.count(), 3, "{:?}", told(&world));
}

#[test]
fn a_merged_page_stays_open_longer_for_a_group_that_was_paged_within_the_day() {
    let mut world = World::new(limited());
    let [first, two] = [("First", "1"), ("Two", "2")].map(|(n, i)| warning(n, i));
    fires(&mut world, &[&two]);
    resolves(&mut world, &[&two]);
    world.advance(Duration::from_hours(1));
    world.sent.clear();
    fires(&mut world, &[&first]);
    fires(&mut world, &[&two]);
    world.advance(minutes(11));
    resolves(&mut world, &[&two]);
    world.advance(minutes(30));
    assert_eq!(
        told(&world),
        [
            said(3600, Kind::Page, "First", ""),
            said(4200, Kind::Page, "Two", ""),
            said(4200 + 16 * 60, Kind::Resolve, "", "Two"),
        ],
        "the group comes back, so the incident waits for 16 minutes from its page"
    );
}

/// Pages gather for 5 minutes, and a warning is held for 3 minutes before.
fn gathering() -> Policy {
    let noise = Noise { wait: minutes(5), alone: Alone { pages: 0, levels: Vec::new() }, ..Noise::default() };
    let mut policy = policy(&["instance"], noise);
    policy.severities.levels[1].hold = minutes(3);
    policy
}

#[test]
fn an_alert_that_is_held_anew_leaves_with_the_page_that_names_it() {
    let mut world = World::new(gathering());
    let [alert, other] = ["A", "Other"].map(|name| warning(name, "1"));
    fires(&mut world, &[&alert, &other]);
    world.advance(minutes(4));
    resolves(&mut world, &[&alert]);
    world.advance(minutes(2));
    fires(&mut world, &[&alert]);
    let held = |world: &World| world.engine.query().stats().receivers["pd"].held;
    assert_eq!(held(&world), 1);
    world.advance(minutes(10));
    assert_eq!(told(&world), [said(480, Kind::Page, "A Other", "")], "no second page follows");
    let stats = &world.engine.query().stats().receivers["pd"];
    assert_eq!((stats.held, stats.pending, stats.routed), (0, 0, 4));
    assert_eq!(stats.disposed[&Disposition::Page], 1);
    world.advance(minutes(1));
    resolves(&mut world, &[&alert, &other]);
    world.advance(minutes(20));
    assert_eq!(told(&world).last().unwrap().1, Kind::Resolve);
}

#[test]
fn an_alert_whose_severity_rises_pages_at_once_from_each_wait() {
    for (after, wait) in [(1, "its hold"), (4, "the page of its group")] {
        let mut policy = gathering();
        policy.ignore_labels.push("severity".into());
        let mut world = World::new(policy);
        fires(&mut world, &[&warning("A", "1")]);
        world.advance(minutes(after));
        assert_eq!(told(&world), [], "{wait}");
        let critical = labels(&[("alertname", "A"), ("instance", "1"), ("severity", "critical")]);
        world.say(Source::Alertmanager, "a", vec![firing(&critical, START)]);
        assert_eq!(told(&world), [said(after * 60, Kind::Page, "A", "")], "{wait}");
        world.advance(minutes(20));
        assert_eq!(world.sent.len(), 1, "{wait}");
        assert_eq!(world.engine.query().stats().receivers["pd"].held, 0, "{wait}");
    }
}

#[test]
fn a_silence_takes_an_alert_out_of_the_page_that_waits_with_others() {
    let mut world = World::new(gathering());
    let [one, two] = ["One", "Two"].map(|name| warning(name, "1"));
    fires(&mut world, &[&one]);
    world.advance(minutes(2));
    fires(&mut world, &[&two]);
    world.advance(minutes(4));
    silence(&mut world, "alertname=One");
    let silenced = world.decisions.iter().filter(|d| d.cause.reason() == Reason::Silenced);
    assert_eq!(silenced.map(|d| d.count).sum::<u64>(), 1);
    world.advance(minutes(3));
    assert_eq!(told(&world), [], "the page waits for the alert that is left");
    world.advance(minutes(1));
    assert_eq!(told(&world), [said(600, Kind::Page, "Two", "")]);
}

#[test]
fn a_reload_shortens_a_wait_and_never_lengthens_it() {
    for (new, leaves) in [(minutes(2), 180), (minutes(20), 300), (Duration::ZERO, 60)] {
        let with = |wait| policy(&["instance"], Noise { wait, ..Noise::default() });
        let mut world = World::new(with(minutes(5)));
        fires(&mut world, &[&warning("Gone", "1")]);
        world.advance(minutes(1));
        fires(&mut world, &[&warning("A", "2")]);
        resolves(&mut world, &[&warning("Gone", "1")]);
        world.handle(Event::Policy(Box::new(with(new))));
        world.advance(minutes(4));
        let page = world.sent.iter().find(|n| n.alerts.iter().any(|a| a.labels.value("instance") == "2"));
        let page = page.map(|n| n.at.since(START).as_millis() / 1000);
        assert_eq!(page, Some(leaves).filter(|_| leaves < 300), "{new:?}");
        world.advance(minutes(2));
        assert!(world.sent.iter().all(|n| n.at <= START + minutes(6)), "{new:?}");
    }
}

#[test]
fn a_reload_shortens_the_hold_of_a_series_that_fired_before() {
    for (new, leaves) in [(minutes(3), 3), (minutes(30), 10), (Duration::ZERO, 1)] {
        let with = |time| {
            let hold = Hold { time, levels: vec!["warning".into()] };
            let alone = Alone { pages: 0, levels: Vec::new() };
            policy(&["instance"], Noise { hold, alone, ..Noise::default() })
        };
        let mut world = World::new(with(minutes(10)));
        let alert = warning("A", "1");
        fires(&mut world, &[&alert]);
        resolves(&mut world, &[&alert]);
        world.advance(Duration::from_hours(3));
        let before = world.sent.len();
        fires(&mut world, &[&alert]);
        let start = world.now;
        world.advance(minutes(1));
        world.handle(Event::Policy(Box::new(with(new))));
        world.advance(minutes(30));
        let page = world.sent[before..].first().map(|n| n.at.since(start).as_millis() / 60_000);
        assert_eq!(page, Some(leaves), "{new:?}");
    }
}

#[test]
fn a_page_lists_the_alerts_of_its_group_that_were_withheld_in_the_last_five_minutes() {
    for (after, listed) in [(5, "Down Usual"), (6, "Down")] {
        let alone = Alone { pages: 0, levels: Vec::new() };
        let noise = Noise { usual_per_day: 1, merge_window: minutes(1), alone, ..Noise::default() };
        let mut world = World::new(policy(&["instance"], noise));
        let usual = warning("Usual", "1");
        for _ in 0..3 {
            fires(&mut world, &[&usual]);
            resolves(&mut world, &[&usual]);
            world.advance(minutes(30));
        }
        fires(&mut world, &[&usual]);
        world.advance(minutes(1));
        let now = world.now;
        world.say(Source::Alertmanager, "a", vec![resolved(&usual, now - minutes(1), now)]);
        world.advance(minutes(after - 1));
        let down = labels(&[("alertname", "Down"), ("instance", "1"), ("severity", "critical")]);
        fires(&mut world, &[&down]);
        let page = world.sent.last().unwrap();
        let names: Vec<_> = page.alerts.iter().map(|a| a.labels.value("alertname")).collect();
        assert_eq!((page.kind, names.join(" ").as_str()), (Kind::Page, listed), "after {after} minutes");
    }
}

#[test]
fn a_series_that_does_not_fire_any_more_is_forgotten_and_each_firing_begins_anew() {
    for (hold, days) in [(Duration::ZERO, 8), (minutes(10), 90)] {
        let hold = Hold { time: hold, levels: Vec::new() };
        let mut world = World::new(policy(&["instance"], Noise { hold, ..Noise::default() }));
        let alert = warning("A", "1");
        for lasts in [24 * 60 * (days - 1), 24 * 60 * days - 1] {
            fires(&mut world, &[&alert]);
            resolves(&mut world, &[&alert]);
            world.advance(minutes(lasts));
            assert_eq!(world.held("series"), 1, "{days} days");
        }
        world.advance(minutes(1));
        assert_eq!(world.held("series"), 0, "{days} days");
    }
}

#[test]
fn a_page_that_a_limit_merges_names_the_merge_and_counts_each_observation_once() {
    let mut world = World::new(limited());
    fires(&mut world, &[&warning("First", "1")]);
    for _ in 0..3 {
        fires(&mut world, &[&warning("Two", "2")]);
    }
    fires(&mut world, &[&warning("Three", "3")]);
    world.advance(minutes(10));
    let page = world.sent.last().unwrap();
    assert_eq!(page.cause, Cause::MergedPage { alerts: 2 });
    let stats = &world.engine.query().stats().receivers["pd"];
    assert_eq!((stats.routed, stats.pending), (5, 0));
    assert_eq!(stats.disposed[&Disposition::Page], 2);
}

/// The alert came and went three times before the page left.
#[test]
fn a_merged_page_and_the_waits_for_it_count_each_alert_once() {
    let limit = Limit { pages: 0, per: minutes(10) };
    let storm = Storm { start: 1, end: Some(1), window: minutes(10) };
    let mut world = World::new(policy(&["instance"], Noise { limit, storm, ..Noise::default() }));
    let critical = |name: &str| labels(&[("alertname", name), ("instance", name), ("severity", "critical")]);
    for name in ["First", "Second"] {
        fires(&mut world, &[&critical(name)]);
    }
    let flappy = critical("Flappy");
    for _ in 0..3 {
        fires(&mut world, &[&flappy]);
        world.advance(Duration::from_secs(1));
        resolves(&mut world, &[&flappy]);
        world.advance(Duration::from_secs(1));
    }
    fires(&mut world, &[&flappy]);
    fires(&mut world, &[&critical("Last")]);
    let board = world.engine.query().board(&BoardQuery { limit: 100, ..BoardQuery::default() });
    let waits: Vec<_> = board.rows.iter().filter(|r| r.standing.state == RowState::RateLimited).collect();
    let causes: Vec<_> = waits.iter().map(|row| row.standing.cause.clone()).collect();
    assert_eq!(causes, vec![Some(Cause::MergeWait { others: 1 }); 2]);
    world.advance(minutes(2));
    assert_eq!(world.sent.last().unwrap().cause, Cause::MergedPage { alerts: 2 });
}

#[test]
fn a_silence_takes_a_withheld_alert_out_of_the_next_page_and_leaves_the_others_in_it() {
    let alone = Alone { pages: 0, levels: Vec::new() };
    let noise = Noise { usual_per_day: 1, merge_window: minutes(1), alone, ..Noise::default() };
    let mut world = World::new(policy(&["instance"], noise));
    let usual = ["One", "Two", "Three"].map(|name| warning(name, "1"));
    let all: Vec<&LabelSet> = usual.iter().collect();
    for _ in 0..3 {
        fires(&mut world, &all);
        resolves(&mut world, &all);
        world.advance(minutes(30));
    }
    fires(&mut world, &all[..1]);
    world.advance(minutes(20));
    fires(&mut world, &all[1..]);
    world.advance(minutes(1));
    world.decisions.clear();
    silence(&mut world, "alertname=Two");
    let silenced: Vec<_> = world.decisions.iter().map(|d| (d.cause.reason(), d.count)).collect();
    assert_eq!(silenced, [(Reason::Silenced, 1)]);
    fires(&mut world, &[&labels(&[("alertname", "Down"), ("instance", "1"), ("severity", "critical")])]);
    assert_eq!(told(&world).last().unwrap().2, "Down One Three");
}

#[test]
fn a_wait_of_the_profile_that_is_not_shorter_than_group_wait_lists_an_alert_that_recovered() {
    for (wait, group_wait, leaves, over) in [(60, 60, 60, "Gone"), (60, 90, 90, ""), (60, 30, 60, "Gone")] {
        let noise = Noise { wait: Duration::from_secs(wait), ..Noise::default() };
        let mut policy = policy(&["instance"], noise);
        policy.routes[0].group_wait = Duration::from_secs(group_wait);
        let mut world = World::new(policy);
        let [gone, stays] = ["Gone", "Stays"].map(|name| warning(name, "1"));
        fires(&mut world, &[&gone, &stays]);
        world.advance(Duration::from_secs(10));
        resolves(&mut world, &[&gone]);
        world.advance(minutes(2));
        assert_eq!(told(&world), [said(leaves, Kind::Page, "Stays", over)], "{wait} {group_wait}");
    }
}

#[test]
fn a_reload_does_not_give_an_alert_that_waits_the_hold_of_a_series_that_fired_before() {
    let hold = Hold { time: minutes(2), levels: vec!["warning".into()] };
    let policy = policy(&["instance"], Noise { wait: minutes(5), hold, ..Noise::default() });
    let mut world = World::new(policy.clone());
    fires(&mut world, &[&warning("A", "1")]);
    world.advance(minutes(1));
    world.handle(Event::Policy(Box::new(policy)));
    world.advance(minutes(10));
    assert_eq!(told(&world), [said(300, Kind::Page, "A", "")]);
}

#[test]
fn an_alert_that_a_person_releases_at_one_receiver_is_held_on_at_the_other() {
    let mut policy = policy(&["instance"], Noise::default());
    policy.severities.levels[1].hold = minutes(5);
    let other = Receiver::new(vec![IntegrationRef::new("webhook[0]", KnownBy::DedupKey)]);
    policy.receivers.insert("other".into(), other);
    let root = policy.routes[0].clone();
    policy.routes[0].children = vec![1, 2];
    for (continue_, receiver) in [(true, "pd"), (false, "other")] {
        let key = format!("{{}}/{{n=\"{receiver}\"}}").into();
        policy.routes.push(crate::policy::Route {
            key,
            continue_,
            receiver: receiver.into(),
            ..root.clone()
        });
    }
    let mut world = World::new(policy);
    let alert = warning("A", "1");
    fires(&mut world, &[&alert]);
    world.advance(minutes(1));
    let release =
        Release { alert: world.engine.policy().identity(&alert), receiver: "pd".into(), by: "ada".into() };
    world.handle(Event::Release(release));
    world.advance(minutes(10));
    let pages: Vec<_> = world.sent.iter().map(|n| (n.receiver.as_str(), n.at, n.kind)).collect();
    assert_eq!(pages, [("pd", START + minutes(1), Kind::Page), ("other", START + minutes(5), Kind::Page)]);
}

#[test]
fn a_fan_out_takes_back_the_alerts_that_were_withheld_firing_and_resolved_ones() {
    let hold = Hold { time: minutes(10), levels: vec!["warning".into()] };
    let alone = Alone { pages: 0, levels: Vec::new() };
    let noise = Noise { hold, alone, merge_window: minutes(1), ..Noise::default() };
    let mut world = World::new(policy(&["instance"], noise));
    let [gone, stays] = ["Gone", "Stays"].map(|name| warning(name, "1"));
    for alert in [&gone, &stays] {
        fires(&mut world, &[alert]);
        resolves(&mut world, &[alert]);
        world.advance(Duration::from_hours(1));
    }
    world.sent.clear();
    fires(&mut world, &[&gone]);
    let start = world.now;
    world.advance(minutes(1));
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![resolved(&gone, start, now)]);
    world.advance(minutes(8));
    fires(&mut world, &[&stays]);
    assert_eq!(told(&world), [said(7200 + 540, Kind::Page, "Stays", "Gone")]);
    world.advance(minutes(1));
    fires(&mut world, &[&gone]);
    assert_eq!(told(&world).last().unwrap().2, "Gone Stays", "it fires again");
}

#[test]
fn a_later_storm_has_an_incident_of_its_own_although_that_of_an_earlier_one_is_open() {
    let storm = Storm { start: 2, end: None, window: minutes(5) };
    let noise = Noise { storm, alone: Alone { pages: 0, levels: Vec::new() }, ..Noise::default() };
    let mut world = World::new(policy(&["instance"], noise));
    let storm = |world: &mut World, first: u64| {
        for n in first..first + 5 {
            fires(world, &[&warning(&format!("A{n}"), &n.to_string())]);
        }
        world.advance(minutes(1));
    };
    storm(&mut world, 0);
    let pages = |world: &World| -> Vec<String> {
        told(world)
            .into_iter()
            .filter(|(_, kind, ..)| *kind == Kind::Page)
            .map(|(_, _, firing, _)| firing)
            .collect()
    };
    assert_eq!(pages(&world), ["A0", "A1", "A2"]);
    world.advance(Duration::from_hours(1));
    storm(&mut world, 10);
    assert_eq!(pages(&world)[3..], ["A10", "A11", "A12"], "the others are updates of the last one");
}

#[test]
fn an_alert_that_ended_while_it_waited_and_is_silenced_by_then_is_no_part_of_the_page() {
    for refires in [false, true] {
        let noise =
            Noise { wait: minutes(5), alone: Alone { pages: 0, levels: Vec::new() }, ..Noise::default() };
        let mut world = World::new(policy(&["instance"], noise));
        let [ended, stays] = ["Ended", "Stays"].map(|name| warning(name, "1"));
        fires(&mut world, &[&ended, &stays]);
        world.advance(minutes(1));
        resolves(&mut world, &[&ended]);
        silence(&mut world, "alertname=Ended");
        if refires {
            world.advance(minutes(1));
            fires(&mut world, &[&ended]);
        }
        world.advance(minutes(10));
        assert_eq!(told(&world), [said(300, Kind::Page, "Stays", "")], "refires: {refires}");
        let stats = &world.engine.query().stats().receivers["pd"];
        assert_eq!((stats.pending, stats.disposed[&Disposition::Page]), (0, 1));
        let kept = stats.disposed[&Disposition::Suppressed(Reason::Silenced)];
        assert_eq!(kept, if refires { 1 } else { 2 });
    }
}

#[test]
fn an_update_that_no_integration_wants_is_no_notification_and_counts_as_grouped() {
    let mut policy = policy(&["instance"], Noise::default());
    policy.receivers.get_mut("pd").unwrap().integrations[0].send_updates = false;
    let mut world = World::new(policy);
    fires(&mut world, &[&warning("One", "1")]);
    world.advance(minutes(1));
    fires(&mut world, &[&warning("Two", "1")]);
    world.advance(minutes(5));
    assert_eq!(told(&world), [said(0, Kind::Page, "One", "")]);
    let disposed: Vec<_> = world.decisions.iter().map(|d| (&d.cause, d.count)).collect();
    assert_eq!(disposed, [(&Cause::FirstPage, 1), (&Cause::NoUpdates, 1)]);
    assert_eq!(world.engine.query().stats().receivers["pd"].pending, 0);
}

#[test]
fn an_update_leaves_one_group_interval_after_the_last_message() {
    let mut world = World::new(policy(&["instance"], Noise::default()));
    fires(&mut world, &[&warning("One", "1")]);
    for name in ["Two", "Three"] {
        world.advance(Duration::from_secs(5));
        fires(&mut world, &[&warning(name, "1")]);
    }
    world.advance(minutes(5));
    let page = said(0, Kind::Page, "One", "");
    assert_eq!(told(&world), [page, said(15, Kind::Update, "One Three Two", "")]);
}

#[test]
fn a_person_releases_a_page_that_gathers_or_is_merged_and_no_alert_that_is_silenced() {
    let gathers = policy(&["instance"], Noise { wait: minutes(5), ..Noise::default() });
    for (policy, silenced) in [(gathers.clone(), false), (limited(), false), (gathers, true)] {
        let mut world = World::new(policy);
        let alert = warning("A", "2");
        fires(&mut world, &[&warning("First", "1"), &alert]);
        if silenced {
            silence(&mut world, "alertname=A");
        }
        world.advance(minutes(1));
        let release = Release {
            alert: world.engine.policy().identity(&alert),
            receiver: "pd".into(),
            by: "ada".into(),
        };
        let before = world.sent.len();
        world.handle(Event::Release(release));
        let causes: Vec<_> = world.sent[before..].iter().map(|n| &n.cause).collect();
        let released = Cause::Released { by: "ada".into() };
        assert_eq!(causes, if silenced { vec![] } else { vec![&released] });
    }
}
