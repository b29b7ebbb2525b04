//! The view of incidents for people and programs: which ones, in which order, under which title, and which
//! matchers silence them.

use std::collections::BTreeSet;

use crate::engine::event::Alarm;
use crate::engine::testing::{World, firing, flaps_at, labels, policy, resolved};
use crate::engine::{BoardQuery, Event, IncidentCursor, IncidentQuery, Origin, Release, RowState};
use crate::model::{Cause, Duration, IncidentChange, Kind, LabelSet, Matcher, Notification, Problem, Source};
use crate::policy::{GroupBy, Limit, Noise, SelfCheckSettings};

fn all() -> BoardQuery {
    BoardQuery { limit: 100, ..BoardQuery::default() }
}

fn critical(name: &str, team: &str) -> LabelSet {
    labels(&[("alertname", name), ("team", team), ("severity", "critical")])
}

#[test]
fn internal_incidents_are_listed_and_come_first() {
    let mut policy = policy(&["alertname"], Noise::default());
    policy.self_check = SelfCheckSettings { enabled: true, ..SelfCheckSettings::default() };
    let mut world = World::new(policy);
    let problem = Problem::InputRefused { lasted: Duration::from_mins(5) };
    let alarm = Alarm { problem: problem.clone(), lasts: Duration::from_hours(1) };
    world.handle(Event::Alarm(alarm));
    world.advance(Duration::from_secs(1));
    for name in ["A", "B"] {
        world.say(Source::Alertmanager, "a", vec![firing(&critical(name, "core"), world.now)]);
    }
    let board = world.engine.query().board(&all());
    assert_eq!(board.states.values().sum::<usize>(), board.rows.len(), "what is counted is listed");
    let origins: Vec<Origin> = board.rows.iter().map(|row| row.standing.origin).collect();
    assert_eq!(origins, [Origin::Internal, Origin::Squelch, Origin::Squelch]);
    let row = &board.rows[0];
    assert_eq!((row.firing, row.alerts), (1, 1));
    assert_eq!(row.standing.cause, Some(Cause::Problem { problem: problem.clone() }));
    assert_eq!(row.headline.as_ref().unwrap().names, "SquelchInputRefused");
    let detail =
        world.engine.query().incident(row.standing.incident.as_ref().unwrap(), false, 0, 10).unwrap();
    assert_eq!(detail.alerts[0].problem.as_deref(), Some(&problem));
    assert!(
        world.engine.query().propose_silence(row.standing.incident.as_ref().unwrap()).is_none(),
        "nothing silences it"
    );

    // On pages of one, each comes once.
    let (mut after, mut seen) = (None::<IncidentCursor>, Vec::new());
    loop {
        let page = world.engine.query().open_incidents(&IncidentQuery {
            after,
            limit: 1,
            ..IncidentQuery::default()
        });
        seen.extend(page.found.iter().map(|incident| {
            (incident.row.standing.origin, incident.row.headline.clone().unwrap().to_string())
        }));
        let Some(next) = page.next else { break };
        after = IncidentCursor::parse(&next.to_string());
    }
    let titles: Vec<&str> = seen.iter().map(|(_, title)| title.as_str()).collect();
    assert_eq!(titles, ["SquelchInputRefused (critical)", "B (critical core)", "A (critical core)"]);
}

#[test]
fn alerts_of_an_incident_stand_by_severity_then_by_name() {
    let mut policy = policy(&[], Noise::default());
    policy.routes[0].group_wait = Duration::from_secs(10);
    let mut world = World::new(policy);
    let of = |name: &str, severity: &str| labels(&[("alertname", name), ("severity", severity)]);
    let alerts = [("Z", "critical"), ("B", "warning"), ("C", "info"), ("A", "warning"), ("D", "critical")];
    let said = alerts.iter().map(|(name, severity)| firing(&of(name, severity), world.now)).collect();
    world.say(Source::Alertmanager, "a", said);
    world.advance(Duration::from_secs(11));
    let key = world.sent[0].dedup_key.clone();
    let detail = world.engine.query().incident(&key, false, 0, 10).unwrap();
    let names: Vec<&str> = detail.alerts.iter().map(|a| a.labels.value("alertname")).collect();
    assert_eq!(names, ["D", "Z", "A", "B", "C"]);
    let second = world.engine.query().incident(&key, false, 2, 2).unwrap();
    assert_eq!(second.alerts[0].labels.value("alertname"), "A", "a page of them is a part of the same order");
    let listed = world.engine.query().open_incidents(&IncidentQuery { limit: 1, ..IncidentQuery::default() });
    let names: Vec<&str> = listed.found[0].alerts.iter().map(|a| a.labels.value("alertname")).collect();
    assert_eq!(names, ["D", "Z", "A", "B", "C"]);
}

/// The newest page. A page of a higher severity takes the place of the one before, which then resolves.
fn newest(world: &World) -> &Notification {
    world.sent.iter().rfind(|sent| sent.kind == Kind::Page).unwrap()
}

/// Its title, which the pages show too.
fn newest_title(world: &World) -> String {
    let page = newest(world);
    let detail = world.engine.query().incident(&page.dedup_key, false, 0, 10).unwrap();
    assert_eq!(detail.row.headline, Some(page.headline()));
    page.headline().to_string()
}

#[test]
fn a_title_names_no_severity_below_the_highest_of_its_alerts() {
    for label in ["severity", "priority"] {
        let mut policy = policy(&["cluster"], Noise::default());
        policy.severities.label = label.into();
        policy.routes[0].group_wait = Duration::from_secs(10);
        let mut world = World::new(policy);
        let disk = |host: &str, severity: &str| {
            labels(&[("alertname", "DiskFull"), ("cluster", "eu"), ("host", host), (label, severity)])
        };
        let mut fires = |said: Vec<LabelSet>| {
            let said = said.iter().map(|labels| firing(labels, world.now)).collect();
            world.say(Source::Alertmanager, "a", said);
            world.advance(Duration::from_mins(1));
            newest_title(&world)
        };
        assert_eq!(fires(vec![disk("db-1", "warning"), disk("db-2", "warning")]), "DiskFull eu (warning)");
        assert_eq!(fires(vec![disk("db-3", "critical")]), "DiskFull eu");
    }
}

/// A notification has no room for all alerts of a large incident.
#[test]
fn a_title_names_no_severity_if_alerts_are_left_out() {
    let mut policy = policy(&["alertname"], Noise::default());
    policy.routes[0].group_wait = Duration::from_secs(10);
    let mut world = World::new(policy);
    let disk = |host: u64, severity: &str| {
        labels(&[("alertname", "DiskFull"), ("host", &host.to_string()), ("severity", severity)])
    };
    let now = world.now;
    let many = (0..1000).map(|host| firing(&disk(host, "warning"), now)).collect();
    world.say(Source::Alertmanager, "a", many);
    world.advance(Duration::from_mins(1));
    assert_eq!(newest_title(&world), "DiskFull (warning)");
    world.say(Source::Alertmanager, "a", vec![firing(&disk(1000, "critical"), world.now)]);
    world.advance(Duration::from_mins(1));
    let page = newest(&world);
    assert_eq!((page.severity.as_str(), page.truncated), ("critical", 1));
    assert_eq!(newest_title(&world), "DiskFull");
}

/// A receiver that has had enough: A pages, and the others leave merged.
fn merged(names: &[&str]) -> World {
    let limit = Limit { pages: 1, per: Duration::from_hours(1) };
    let mut world = World::new(policy(&["alertname"], Noise { limit, ..Noise::default() }));
    for name in ["A"].iter().chain(names) {
        let severity = if name.starts_with("info") { "info" } else { "warning" };
        let labels = labels(&[("alertname", name), ("team", "core"), ("severity", severity), ("host", name)]);
        world.say(Source::Alertmanager, "a", vec![firing(&labels, world.now)]);
    }
    let limited = BoardQuery { state: Some(RowState::RateLimited), ..all() };
    let alert = world.engine.query().board(&limited).rows[0].alert;
    world.handle(Event::Release(Release { alert, receiver: "pd".into(), by: "ada".into() }));
    world
}

#[test]
fn a_merged_incident_has_the_title_that_the_pager_shows() {
    let world = merged(&["B", "C", "D", "E"]);
    let page = world.sent.last().unwrap();
    assert_eq!(page.alerts.len(), 4, "{page:?}");
    let shown = page.headline();
    let detail = world.engine.query().incident(&page.dedup_key, false, 0, 10).unwrap();
    assert_eq!(detail.row.headline, Some(shown.clone()));
    assert_eq!(shown.to_string(), "4 warning: B, C, D and 1 more core", "the counts have the severity");
    let board = world.engine.query().board(&all());
    assert!(board.rows.iter().any(|row| row.headline.as_ref() == Some(&shown)), "{board:?}");
}

#[test]
fn the_title_of_a_merged_incident_counts_severities_the_worst_first() {
    let mut world = merged(&["info1", "B", "info2"]);
    let page = world.sent.last().unwrap().clone();
    let title = "1 warning, 2 info: B, info1, info2 core";
    assert_eq!(page.headline().to_string(), title);
    let shown = |world: &World| {
        let detail = world.engine.query().incident(&page.dedup_key, false, 0, 10).unwrap();
        detail.row.headline.unwrap().to_string()
    };
    assert_eq!(shown(&world), title);
    let opened = world.history.iter().rev().find_map(|record| match &record.change {
        IncidentChange::Opened(opened) => Some(opened.issued.title.clone()),
        _ => None,
    });
    assert_eq!(opened.as_deref(), Some(title), "the history has the same title");
    // Only alerts that fire count.
    let b = labels(&[("alertname", "B"), ("team", "core"), ("severity", "warning"), ("host", "B")]);
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![resolved(&b, now, now)]);
    world.advance(Duration::from_mins(10));
    assert_eq!(shown(&world), "2 info: info1, info2, B core");
}

/// The number of alerts that these matchers match: of the incident, and others.
fn matched(world: &World, matchers: &[Matcher], key: &str) -> (usize, usize, usize) {
    let found = world.engine.query().matching(matchers, key, None);
    assert_eq!(found.next, None);
    (found.inside, found.of, found.others)
}

#[test]
fn the_silence_that_a_merged_incident_proposes_matches_it_and_nothing_else() {
    let world = merged(&["B", "C.x"]);
    let key = world.sent.last().unwrap().dedup_key.clone();
    let proposed = world.engine.query().propose_silence(&key).unwrap();
    assert_eq!(matched(&world, &proposed, &key), (2, 2, 0), "{proposed:?}");
    let names: BTreeSet<&str> = proposed.iter().map(Matcher::name).collect();
    assert!(names.contains("alertname") && names.contains("team"), "{proposed:?}");
    let shared = Matcher::parse("team=core").unwrap();
    assert_eq!(matched(&world, &[shared], &key), (2, 2, 1), "what they share matches more");
}

#[test]
fn a_group_without_a_name_proposes_the_names_of_its_alerts() {
    let mut policy = policy(&["team"], Noise { merge_window: Duration::ZERO, ..Noise::default() });
    policy.routes[0].group_by = GroupBy::Labels(vec!["team".into()]);
    let mut world = World::new(policy);
    world.say(Source::Alertmanager, "a", vec![firing(&critical("A", "core"), world.now)]);
    world.advance(Duration::from_mins(5));
    world.say(Source::Alertmanager, "a", vec![firing(&critical("B", "core"), world.now)]);
    let key =
        world.sent.iter().find(|n| n.alerts.iter().any(|a| a.labels.value("alertname") == "A")).unwrap();
    let proposed = world.engine.query().propose_silence(&key.dedup_key).unwrap();
    let (inside, of, _) = matched(&world, &proposed, &key.dedup_key);
    assert!(inside == of && of > 0, "{proposed:?}");
    assert!(proposed.iter().any(|m| m.name() == "alertname"), "{proposed:?}");
}

#[test]
fn numbers_of_a_flapper_are_those_of_the_time_at_which_somebody_looks() {
    let mut world = World::new(policy(&["alertname"], flaps_at(3000)));
    let queue = critical("Queue", "core");
    for _ in 0..3 {
        let start = world.now;
        world.say(Source::Alertmanager, "a", vec![firing(&queue, start)]);
        world.advance(Duration::from_secs(30));
        let over = crate::engine::testing::resolved(&queue, start, world.now);
        world.say(Source::Alertmanager, "a", vec![over]);
        world.advance(Duration::from_secs(20));
    }
    let (now, _) = world.engine.query().flappers(world.now, 0, 1);
    let (later, _) = world.engine.query().flappers(world.now + now[0].half_life, 0, 1);
    assert!(later[0].penalty <= now[0].penalty / 2 + 1, "{} {}", later[0].penalty, now[0].penalty);
}
