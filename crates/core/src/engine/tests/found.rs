//! Defects that a review found: each of these lost a page, left an incident open, or grew without bound.

use crate::engine::testing::*;
use crate::engine::{Bound, Event};
use crate::model::{Duration, Kind, LabelSet, Observation, Reason, Source, Status, parse_matchers};
use crate::policy::{Flapping, InhibitRule, IntegrationRef, KnownBy, Limit, Limits, Noise, Policy, Storm};

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn warning(name: &str) -> LabelSet {
    labels(&[("alertname", name), ("instance", "i"), ("severity", "warning")])
}

fn any_open(world: &World) -> bool {
    world.pager.values().any(|shown| shown.open)
}

/// Two routes to one receiver, of which the second waits for a group.
fn two_routes(noise: Noise) -> Policy {
    let mut policy = policy(&["alertname"], noise);
    let mut first = policy.routes[0].clone();
    (first.key, first.continue_) = ("{}/{first}".into(), true);
    let mut second = policy.routes[0].clone();
    (second.key, second.group_wait) = ("{}/{second}".into(), seconds(30));
    policy.routes[0].children = vec![1, 2];
    policy.routes.extend([first, second]);
    policy
}

#[test]
fn what_waits_on_a_second_route_does_not_open_after_it_resolved() {
    let mut world = World::new(two_routes(Noise::default()));
    world.webhook("am", vec![firing(&warning("A"), START)]);
    world.advance(seconds(10));
    let now = world.now;
    world.webhook("am", vec![resolved(&warning("A"), START, now)]);
    world.advance(Duration::from_hours(1));
    assert!(!any_open(&world), "an incident of what resolved was opened, and nothing will close it");
}

#[test]
fn a_page_over_the_limit_takes_nothing_along_that_waits_on_a_second_route() {
    let limit = Limit { pages: 1, per: Duration::from_mins(10) };
    let mut world = World::new(two_routes(Noise { limit, ..Noise::default() }));
    world.webhook("am", vec![firing(&warning("First"), START)]);
    world.webhook("am", vec![firing(&warning("A"), START)]);
    world.advance(seconds(10));
    let now = world.now;
    world.webhook("am", vec![resolved(&warning("A"), START, now), resolved(&warning("First"), START, now)]);
    world.advance(Duration::from_hours(1));
    assert!(!any_open(&world), "an incident of what resolved was opened, and nothing will close it");
}

#[test]
fn a_sender_whose_clock_is_ahead_restarts_nothing() {
    let mut world = World::new(policy(&["alertname"], flaps_at(3000)));
    let ahead = START + seconds(90);
    for peer in ["am1", "am2", "am1", "am2"] {
        world.webhook(peer, vec![firing(&warning("A"), ahead)]);
        world.advance(seconds(5));
    }
    assert_eq!(world.engine.query().stats().receivers["pd"].flapping, 0, "repeats count as restarts");
    assert_eq!(world.sent.len(), 1);
}

/// Its decision says so, not that it resolved within its own wait.
#[test]
fn a_warning_that_ends_while_the_limit_keeps_its_page_was_rate_limited() {
    let limit = Limit { pages: 1, per: Duration::from_mins(10) };
    let mut world = World::new(policy(&["alertname"], Noise { limit, ..Noise::default() }));
    for name in ["First", "Second"] {
        world.webhook("am", vec![firing(&warning(name), START)]);
    }
    world.advance(seconds(10));
    world.webhook("am", vec![resolved(&warning("Second"), START, world.now)]);
    world.advance(Duration::from_hours(1));
    let second = world.engine.policy().identity(&warning("Second"));
    let why: Vec<_> =
        world.decisions.iter().filter(|d| d.alert == second).map(|d| d.cause.reason()).collect();
    assert_eq!(why, [Reason::RateLimited, Reason::NeverPaged]);
}

/// The count of flapping alerts would stay too high for ever.
#[test]
fn an_alert_that_flaps_and_is_never_heard_of_again_flaps_no_more() {
    let policy = Policy { stale_after: Duration::from_mins(5), ..policy(&["alertname"], flaps_at(2000)) };
    let mut world = World::new(policy);
    for _ in 0..3 {
        world.webhook("am", vec![firing(&warning("A"), world.now)]);
        world.advance(seconds(30));
        world.webhook("am", vec![resolved(&warning("A"), START, world.now)]);
        world.advance(seconds(30));
    }
    world.webhook("am", vec![firing(&warning("A"), world.now)]);
    let flapping = |world: &World| world.engine.query().stats().receivers["pd"].flapping;
    assert_eq!(flapping(&world), 1);
    world.advance(Duration::from_mins(6));
    assert_eq!(flapping(&world), 0);
    world.advance(Duration::from_hours(1));
    assert!(!any_open(&world), "it is stale");
}

/// A storm merges the pages of both routes of a receiver, one after the other.
#[test]
fn a_merged_page_does_not_page_again_for_an_alert_that_the_receiver_knows_and_that_ended() {
    let storm = Storm { start: 1, ..Storm::default() };
    let mut world = World::new(two_routes(Noise { storm, ..Noise::default() }));
    let critical = |name| labels(&[("alertname", name), ("severity", "critical")]);
    for name in ["A", "B"] {
        world.webhook("am", vec![firing(&critical(name), world.now)]);
        world.advance(Duration::from_mins(3));
    }
    let start = world.now;
    world.webhook("am", vec![firing(&critical("C"), start)]);
    world.advance(seconds(30));
    world.webhook("am", vec![resolved(&critical("C"), start, world.now)]);
    world.advance(Duration::from_mins(5));
    let names = |n: &crate::model::Notification| n.alerts.iter().any(|a| a.labels == critical("C"));
    let pages: Vec<_> = world.sent.iter().filter(|n| n.kind == Kind::Page && names(n)).collect();
    assert_eq!(pages.len(), 1, "{pages:#?}");
}

/// As a script sends it, each minute, or a sender whose times cannot be read.
#[test]
fn an_alert_without_a_start_that_is_said_again_restarts_nothing() {
    let mut world = World::new(policy(&["alertname"], flaps_at(3000)));
    let said = |peer: &str, world: &mut World| {
        let one = Observation { start_unknown: true, ..firing(&warning("A"), world.now) };
        world.webhook(peer, vec![one]);
    };
    for minute in 0..9 {
        said(if minute % 2 == 0 { "am1" } else { "am2" }, &mut world);
        world.advance(Duration::from_mins(1));
    }
    assert_eq!(world.sent.len(), 1, "repeats count as restarts: {:#?}", world.sent);
    world.webhook("am1", vec![resolved(&warning("A"), START, world.now)]);
    world.advance(seconds(20));
    said("am2", &mut world);
    world.advance(seconds(20));
    world.webhook("am2", vec![resolved(&warning("A"), START, world.now)]);
    world.advance(Duration::from_mins(20));
    assert_eq!(world.sent.last().unwrap().kind, Kind::Resolve, "what the other member said was a late copy");
    let sent = world.sent.len();
    said("am1", &mut world);
    world.advance(Duration::from_mins(2));
    let kinds: Vec<_> = world.sent[sent..].iter().map(|n| n.kind).collect();
    assert_eq!(kinds, [Kind::Page], "it fires anew");
}

#[test]
fn repeats_of_an_alert_that_made_room_go_with_it() {
    let mut world = World::new(Policy {
        limits: Limits { alerts: 2, ..Limits::default() },
        ..policy(&["alertname"], Noise::default())
    });
    let said = |name: &str, world: &mut World| {
        let one = resolved(&warning(name), START, world.now);
        world.webhook("am", vec![one]);
    };
    for name in ["A", "A", "B", "B", "C", "C", "D"] {
        said(name, &mut world);
        world.advance(seconds(2));
    }
    let fills = world.engine.query().fills();
    assert!(fills.iter().all(|fill| fill.held <= fill.most), "{fills:?}");
    let bounds = world.engine.query().stats().bounds;
    assert!(bounds.get(&Bound::Alerts).is_some_and(|forgotten| *forgotten > 0), "none made room");
}

#[test]
fn a_refire_on_its_way_outlives_the_memory_of_its_alert() {
    let mut world = World::new(policy(&["alertname"], Noise::default()));
    let end = START + Duration::from_mins(5);
    world.webhook("am1", vec![firing(&warning("A"), START)]);
    world.advance(Duration::from_mins(5));
    world.webhook("am1", vec![resolved(&warning("A"), START, end)]);
    world.advance(seconds(24 * 3600 - 30));
    let sent = world.sent.len();
    world.webhook("am2", vec![firing(&warning("A"), START)]);
    world.advance(Duration::from_mins(2));
    assert!(world.sent[sent..].iter().any(|n| n.kind == Kind::Page), "the re-fire was forgotten");
}

#[test]
fn yesterdays_storm_does_not_swallow_todays() {
    let off = Limit { pages: 0, per: Duration::ZERO };
    let storm = Storm { start: 3, ..Storm::default() };
    let mut world = World::new(policy(&["alertname"], Noise { limit: off, storm, ..Noise::default() }));
    let storm = |world: &mut World, day: u64| {
        for n in 0..8 {
            let now = world.now;
            world.webhook("am", vec![firing(&warning(&format!("Day{day}N{n}")), now)]);
            world.advance(seconds(10));
        }
        world.advance(Duration::from_mins(5));
    };
    storm(&mut world, 0);
    world.advance(Duration::from_hours(24));
    let sent = world.sent.len();
    storm(&mut world, 1);
    let tells = |n: &crate::model::Notification, name: &str| {
        n.alerts.iter().any(|a| a.labels.value("alertname") == name)
    };
    let page = world.sent[sent..].iter().find(|n| n.kind == Kind::Page && tells(n, "Day1N3"));
    let page = page.expect("today's storm went into yesterday's incident");
    let last = world.sent.iter().rfind(|n| tells(n, "Day1N7")).unwrap();
    assert_eq!(last.dedup_key, page.dedup_key, "one storm is one incident");
}

#[test]
fn a_higher_severity_pages_though_it_makes_no_other_alert() {
    let mut policy = policy(&["alertname"], Noise::default());
    policy.ignore_labels.push("severity".into());
    policy.severities.levels[1].hold = Duration::from_mins(10);
    let mut world = World::new(policy);
    let critical = |name| labels(&[("alertname", name), ("instance", "i"), ("severity", "critical")]);
    // One that is held, and one that is open.
    world.say(Source::Alertmanager, "am", vec![firing(&warning("Open"), START)]);
    world.advance(Duration::from_mins(11));
    let now = world.now;
    world.say(Source::Alertmanager, "am", vec![firing(&warning("Held"), now)]);
    world.advance(Duration::from_mins(1));
    for name in ["Open", "Held"] {
        let (sent, now) = (world.sent.len(), world.now);
        world.say(Source::Alertmanager, "am", vec![firing(&critical(name), now)]);
        let page = world.sent[sent..].iter().find(|n| n.kind == Kind::Page);
        assert_eq!(page.map(|n| n.severity.as_str()), Some("critical"), "{name} got worse unheard");
    }
}

#[test]
fn replicas_that_are_gone_are_forgotten_while_their_alert_fires() {
    let mut world = World::new(policy(&["alertname"], Noise::default()));
    world.say(Source::Alertmanager, "am", vec![firing(&warning("A"), START)]);
    for n in 0..4_000 {
        let replica = format!("r{n}");
        let pairs = [("alertname", "A"), ("instance", "i"), ("replica", &replica), ("severity", "warning")];
        let copy = labels(&pairs);
        world.say(Source::Alertmanager, "am", vec![firing(&copy, START)]);
        world.say(Source::Alertmanager, "am", vec![resolved(&copy, START, START)]);
    }
    assert!(world.engine.snapshot().len() < 1_000_000, "{} bytes", world.engine.snapshot().len());
}

/// A resolve that lists a firing alert is the last message of its incident: the receiver shows the alert as
/// firing for ever.
#[test]
fn a_webhook_that_is_gone_and_refused_an_end_gets_no_end_while_the_alert_fires_again() {
    let with = |integrations: Vec<IntegrationRef>| {
        let mut policy = policy(&["alertname"], Noise::default());
        policy.receivers.get_mut("pd").unwrap().integrations = integrations;
        policy
    };
    let mut world = World::new(with(vec![IntegrationRef::new("webhook[0]", KnownBy::Group)]));
    world.webhook("am", vec![firing(&warning("A"), START)]);
    world.handle(Event::Policy(Box::new(with(Vec::new()))));
    world.unreachable = vec!["webhook[0]"];
    world.webhook("am", vec![resolved(&warning("A"), START, START)]);
    world.advance(Duration::from_mins(4));
    assert_eq!(world.sent.last().map(|n| n.kind), Some(Kind::Resolve), "the webhook refuses the end");
    world.unreachable.clear();
    let again = world.now;
    world.webhook("am", vec![firing(&warning("A"), again)]);
    world.advance(Duration::from_mins(20));
    world.webhook("am", vec![resolved(&warning("A"), again, world.now)]);
    world.advance(Duration::from_mins(20));
    let ends = world.sent.iter().filter(|n| n.kind == Kind::Resolve);
    let firing = ends.flat_map(|n| &n.alerts).filter(|a| a.status == Status::Firing);
    assert_eq!(firing.count(), 0, "{:#?}", world.sent);
    let said = &world.consumers["webhook[0]"].by_fingerprint;
    assert!(said.values().all(|fires| !fires), "{:#?}", world.sent);
    assert!(!any_open(&world) && world.engine.pages.incidents.all.is_empty());
}

/// An alert that resolves while the integration is gone is shown as firing until its incident ends.
#[test]
fn an_integration_that_comes_back_is_told_of_a_change_that_it_missed() {
    let with = |integrations: &[&str]| {
        let mut policy = policy(&["alertname"], Noise::default());
        let known = integrations.iter().map(|name| IntegrationRef::new(*name, KnownBy::DedupKey));
        policy.receivers.get_mut("pd").unwrap().integrations = known.collect();
        policy
    };
    let mut world = World::new(with(&["pagerduty[0]"]));
    let host = |host| labels(&[("alertname", "Down"), ("host", host), ("severity", "critical")]);
    world.webhook("am", vec![firing(&host("a"), START), firing(&host("b"), START)]);
    world.advance(Duration::from_mins(1));
    world.handle(Event::Policy(Box::new(with(&[]))));
    world.webhook("am", vec![resolved(&host("a"), START, world.now)]);
    world.advance(Duration::from_mins(5));
    world.handle(Event::Policy(Box::new(with(&["pagerduty[0]"]))));
    let b = world.engine.policy().identity(&host("b"));
    let open: Vec<_> = world.pager.values().filter(|shown| shown.open).map(|shown| &shown.firing).collect();
    assert_eq!(open, [&vec![b]], "a resolved: {:#?}", world.sent);
}

/// A hold is for the first page. An alert that is gone for less than `resolve_hold` goes on in its own
/// incident.
#[test]
fn an_alert_that_is_gone_for_a_moment_is_not_held_anew() {
    let mut policy = policy(&["alertname"], Noise::default());
    policy.severities.levels[1].hold = Duration::from_mins(10);
    let mut world = World::new(policy);
    world.webhook("am", vec![firing(&warning("A"), START)]);
    world.advance(Duration::from_mins(11));
    world.webhook("am", vec![resolved(&warning("A"), START, world.now)]);
    world.advance(seconds(30));
    let again = world.now;
    world.webhook("am", vec![firing(&warning("A"), again)]);
    world.advance(Duration::from_mins(30));
    let kinds: Vec<_> = world.sent.iter().map(|n| n.kind).collect();
    assert_eq!(kinds, [Kind::Page, Kind::Update], "it goes on in its incident: {:#?}", world.sent);
    world.webhook("am", vec![resolved(&warning("A"), again, world.now)]);
    world.advance(Duration::from_mins(30));
    assert!(!any_open(&world));
}

/// After an inhibition such an alert waits for one `group_interval`, as all others do, and for no longer.
#[test]
fn an_alert_that_is_gone_for_a_moment_while_it_is_inhibited_is_not_held_anew() {
    let mut policy = policy(&["alertname"], Noise::default());
    policy.severities.levels[1].hold = Duration::from_mins(10);
    policy.inhibit_rules = vec![InhibitRule {
        name: "r".into(),
        source_matchers: parse_matchers("alertname=Source").unwrap(),
        target_matchers: parse_matchers("alertname=A").unwrap(),
        equal: Vec::new(),
    }];
    let mut world = World::new(policy);
    let source = labels(&[("alertname", "Source"), ("severity", "critical")]);
    world.webhook("am", vec![firing(&warning("A"), START)]);
    world.advance(Duration::from_mins(11));
    let began = world.now;
    world.webhook("am", vec![firing(&source, began)]);
    world.webhook("am", vec![resolved(&warning("A"), START, began)]);
    world.advance(seconds(10));
    world.webhook("am", vec![firing(&warning("A"), world.now)]);
    world.advance(seconds(10));
    world.webhook("am", vec![resolved(&source, began, world.now)]);
    world.advance(Duration::from_mins(30));
    let of_a = world.sent.iter().filter(|n| n.group_labels.value("alertname") == "A");
    let kinds: Vec<_> = of_a.map(|n| n.kind).collect();
    assert_eq!(kinds, [Kind::Page, Kind::Update], "it goes on in its incident: {:#?}", world.sent);
}

/// A storm merges two groups into one page. One of them flaps, so it pages again alone. The other is calm,
/// and fires again after 42 minutes. That is news, and no update of a page that never named it.
#[test]
fn a_group_that_left_a_merged_page_pages_for_itself() {
    let storm = Storm { start: 1, window: Duration::from_mins(1), ..Storm::default() };
    let flapping = Flapping { suppress_at: 4000, confirm: Duration::from_mins(5), ..Flapping::default() };
    let mut world = World::new(policy(&["alertname"], Noise { storm, flapping, ..Noise::default() }));
    let critical = |name| labels(&[("alertname", name), ("severity", "critical")]);
    let says = |world: &mut World, minute: u64, names: &[&'static str], fires: bool| {
        world.advance((START + Duration::from_mins(minute)).since(world.now));
        let said = names.iter().map(|name| match fires {
            true => firing(&critical(name), world.now),
            false => resolved(&critical(name), START, world.now),
        });
        let said = said.collect();
        world.webhook("am", said);
    };
    says(&mut world, 0, &["First"], true);
    says(&mut world, 0, &["Flapper", "Calm"], true);
    says(&mut world, 2, &["First", "Calm", "Flapper"], false);
    for (minute, fires) in [(3, true), (4, false), (5, true), (6, false), (35, true)] {
        says(&mut world, minute, &["Flapper"], fires);
    }
    world.advance(Duration::from_mins(8));
    let before = world.sent.len();
    says(&mut world, 44, &["Calm"], true);
    world.advance(Duration::from_mins(2));
    let named = |n: &&crate::model::Notification| n.alerts.iter().any(|a| a.labels == critical("Calm"));
    let kinds: Vec<_> = world.sent[before..].iter().filter(named).map(|n| n.kind).collect();
    assert_eq!(kinds, [Kind::Page], "{:#?}", world.sent);
}
