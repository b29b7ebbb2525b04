//! The board: the rows that it shows, and the alerts that a person releases.

use crate::engine::testing::{Answers, START, World, firing, flaps_at, labels, policy, resolved};
use crate::engine::{AlertQuery, BoardOrder, BoardPart, BoardQuery, Event, NextStep, Release, RowState};
use crate::model::{Cause, Duration, Source, parse_matchers};
use crate::policy::{Level, Noise};

fn all() -> BoardQuery {
    BoardQuery { limit: 100, ..BoardQuery::default() }
}

#[test]
fn an_alert_that_is_held_is_shown_and_a_person_lets_it_page() {
    let mut policy = policy(&["alertname"], Noise::default());
    let warning = policy.severities.levels.iter_mut().find(|l| l.name == "warning").unwrap();
    *warning = Level { hold: Duration::from_mins(5), ..warning.clone() };
    let mut world = World::new(policy);
    let disk = labels(&[("alertname", "Disk"), ("severity", "warning")]);
    world.say(Source::Alertmanager, "a", vec![firing(&disk, world.now)]);
    let board = world.engine.query().board(&all());
    let [row] = &board.rows[..] else { panic!("{board:?}") };
    assert_eq!(
        (row.standing.state, row.standing.next.clone()),
        (RowState::Held, Some((world.now + Duration::from_mins(5), NextStep::Pages)))
    );
    assert!(row.releasable && world.sent.is_empty());
    assert!(!world.engine.query().can_release(row.alert, "other"));
    let release = Release { alert: row.alert, receiver: "pd".into(), by: "ada".into() };
    world.handle(Event::Release(release.clone()));
    assert_eq!(world.sent.len(), 1);
    let board = world.engine.query().board(&all());
    assert_eq!(board.rows.iter().map(|r| r.standing.state).collect::<Vec<_>>(), [RowState::Paged]);
    assert!(!world.engine.query().can_release(release.alert, "pd"));
    world.handle(Event::Release(release));
    assert_eq!(world.sent.len(), 1, "what is not held is not let go");
}

#[test]
fn rows_are_searched_by_words_and_ordered_by_severity_or_service() {
    let mut policy = policy(&["alertname"], Noise::default());
    let warning = policy.severities.levels.iter_mut().find(|l| l.name == "warning").unwrap();
    *warning = Level { hold: Duration::from_mins(5), ..warning.clone() };
    let mut world = World::new(policy);
    let alerts = [
        ("Net", "warning", "web"),
        ("Disk", "critical", "db"),
        ("Cpu", "critical", ""),
        ("Io", "warning", "db"),
    ];
    for (name, severity, service) in alerts {
        let of = labels(&[("alertname", name), ("severity", severity), ("service", service)]);
        let mut observation = firing(&of, world.now);
        let summary = format!("{name} is bad, tell 10.0.0.{}", name.len());
        observation.annotations = labels(&[("summary", &summary), ("runbook_url", "https://wiki/x")]);
        world.say(Source::Alertmanager, "a", vec![observation]);
    }
    let names = |query: BoardQuery| {
        let board = world.engine.query().board(&query);
        board.rows.iter().map(|row| row.labels.value("alertname").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(BoardQuery { part: BoardPart::Incidents, ..all() }), ["Disk", "Cpu"]);
    assert_eq!(names(BoardQuery { part: BoardPart::Waiting, ..all() }).len(), 2);
    assert_eq!(names(BoardQuery { order: BoardOrder::Service, ..all() }), ["Disk", "Io", "Net", "Cpu"]);
    let by_severity = names(BoardQuery { order: BoardOrder::Severity, ..all() });
    assert_eq!(by_severity[..2], ["Disk", "Cpu"]);
    let words =
        |words: &[&str]| BoardQuery { words: words.iter().map(|w| (*w).to_owned()).collect(), ..all() };
    assert_eq!(names(words(&["dISk"])), ["Disk"]);
    assert_eq!(names(words(&["db", "pd"])), ["Disk", "Io"], "each word in a label or the receiver");
    assert!(names(words(&["db", "web"])).is_empty());
    assert_eq!(names(words(&["Bad", "10.0.0.4"])), ["Disk"], "each word in the summary");
    assert_eq!(names(words(&["bad", "db"])), ["Disk", "Io"], "one in a label and one in the summary");
    assert!(names(words(&["wiki"])).is_empty(), "no other annotation");
    let board = world.engine.query().board(&BoardQuery { state: Some(RowState::Held), ..words(&["db"]) });
    assert_eq!((board.matching, board.incidents, board.waiting), (1, 1, 1));
    assert_eq!(world.engine.query().open(), 2);
    let board = world.engine.query().board(&words(&["disk"]));
    let row = &board.rows[0];
    assert_eq!(
        (row.summary.as_str(), row.runbook.as_str(), row.service.as_str()),
        ("Disk is bad, tell 10.0.0.4", "https://wiki/x", "db")
    );
}

#[test]
fn all_alerts_of_an_incident_are_counted_by_rule_and_severity() {
    let mut world = World::new(policy(&["cluster"], Noise::default()));
    let of = |name: &str, severity: &str, n: usize| {
        let host = format!("h{n}");
        let set = [("alertname", name), ("severity", severity), ("cluster", "a"), ("host", &host)];
        firing(&labels(&set), world.now)
    };
    let mut alerts: Vec<_> = (0..60).map(|n| of("Slow", "warning", n)).collect();
    alerts.extend((0..2).map(|n| of("Down", "critical", n)));
    alerts[60].annotations = labels(&[("runbook_url", "https://wiki/down")]);
    alerts.push(of("Gone", "critical", 0));
    world.say(Source::Alertmanager, "a", alerts);
    let gone = labels(&[("alertname", "Gone"), ("severity", "critical"), ("cluster", "a"), ("host", "h0")]);
    world.say(Source::Alertmanager, "a", vec![resolved(&gone, START, world.now)]);
    let key = world.sent[0].dedup_key.clone();
    let rules = |limit| {
        let (rules, all) = world.engine.query().incident_rules(&key, false, limit);
        let rule = |r: &crate::engine::RuleCount| (r.name.to_string(), r.severity.to_string(), r.firing);
        (
            rules.iter().map(rule).collect::<Vec<_>>(),
            all,
            rules[0].annotations.value("runbook_url").to_owned(),
        )
    };
    let line = |name: &str, severity: &str, firing| (name.to_owned(), severity.to_owned(), firing);
    let (found, all, runbook) = rules(9);
    let worst = line("Down", "critical", 2);
    let wanted = [worst.clone(), line("Slow", "warning", 60), line("Gone", "critical", 0)];
    assert_eq!((&found[..], all, runbook.as_str()), (&wanted[..], 3, "https://wiki/down"));
    assert_eq!((rules(1).0, rules(1).1), (vec![worst], 3), "the rest is still counted");
}

#[test]
fn a_row_says_who_accepted_the_page_and_when() {
    let mut world = World::new(policy(&["alertname"], Noise::default()));
    world.answers = Answers::Hang;
    let disk = labels(&[("alertname", "Disk"), ("severity", "critical")]);
    world.say(Source::Alertmanager, "a", vec![firing(&disk, world.now)]);
    let notified = |world: &World| world.engine.query().board(&all()).rows[0].notified.clone();
    assert_eq!(notified(&world), None);
    world.advance(Duration::from_secs(7));
    world.answer(true);
    let accepted = Some(("pd".into(), world.sent[0].integration.clone(), world.now));
    assert_eq!(notified(&world), accepted);
    world.advance(Duration::from_hours(5));
    world.answer(true);
    assert_eq!(notified(&world), accepted, "an update or a repeat is no first page");
}

#[test]
fn what_is_over_the_limit_leaves_in_one_page_when_a_person_says_so() {
    let noise =
        Noise { limit: crate::policy::Limit { pages: 1, per: Duration::from_hours(1) }, ..Noise::default() };
    let mut world = World::new(policy(&["alertname"], noise));
    let of = |name: &str| labels(&[("alertname", name), ("severity", "warning")]);
    for name in ["A", "B", "C"] {
        world.say(Source::Alertmanager, "a", vec![firing(&of(name), world.now)]);
    }
    assert_eq!(world.sent.len(), 1);
    let limited = BoardQuery { state: Some(RowState::RateLimited), ..all() };
    let board = world.engine.query().board(&limited);
    assert_eq!((board.matching, board.states.get(&RowState::Paged)), (2, Some(&1)));
    let alert = board.rows[0].alert;
    world.handle(Event::Release(Release { alert, receiver: "pd".into(), by: "ada".into() }));
    assert_eq!(world.sent.len(), 2);
    let released = Cause::Released { by: "ada".into() };
    assert_eq!((world.sent[1].alerts.len(), &world.sent[1].cause), (2, &released));
    assert_eq!(world.engine.query().board(&limited).matching, 0);
}

#[test]
fn a_flapper_is_shown_with_its_numbers_and_tells_the_truth_when_released() {
    let noise = flaps_at(3000);
    let mut world = World::new(policy(&["alertname"], noise));
    let queue = labels(&[("alertname", "Queue"), ("severity", "warning")]);
    for _ in 0..3 {
        let start = world.now;
        world.say(Source::Alertmanager, "a", vec![firing(&queue, start)]);
        world.advance(Duration::from_secs(30));
        world.say(Source::Alertmanager, "a", vec![resolved(&queue, start, world.now)]);
        world.advance(Duration::from_secs(20));
    }
    let (flappers, count) = world.engine.query().flappers(world.now, 0, 10);
    let flapper = &flappers[0];
    assert_eq!((count, flapper.changes, flapper.recent.len(), flapper.firing), (1, 6, 6, false));
    assert!(flapper.penalty > 3000 && flapper.until.is_some(), "{flapper:?}");
    let board = world.engine.query().board(&all());
    assert_eq!(board.rows[0].standing.state, RowState::Flapping, "its resolve is withheld");
    world.handle(Event::Release(Release { alert: flapper.alert, receiver: "pd".into(), by: "ada".into() }));
    assert_eq!(world.engine.query().board(&all()).rows[0].standing.state, RowState::Resolving);
}

#[test]
fn an_alert_that_flaps_has_its_own_cause_and_its_calm_neighbour_has_not() {
    let mut world = World::new(policy(&["service"], flaps_at(3000)));
    world.answers = Answers::Accept;
    let of = |name| labels(&[("alertname", name), ("service", "shop"), ("severity", "warning")]);
    world.say(Source::Alertmanager, "a", vec![firing(&of("Calm"), world.now)]);
    for _ in 0..3 {
        let start = world.now;
        world.say(Source::Alertmanager, "a", vec![firing(&of("Queue"), start)]);
        world.advance(Duration::from_secs(30));
        world.say(Source::Alertmanager, "a", vec![resolved(&of("Queue"), start, world.now)]);
        world.advance(Duration::from_secs(20));
    }
    let query = AlertQuery { limit: 9, ..AlertQuery::default() };
    let found = world.engine.query().alerts(&query).found;
    let standing = |name| {
        let one = found.iter().find(|one| one.alert.labels.value("alertname") == name).unwrap();
        let detail = world.engine.query().alert(world.now, one.alert.id).unwrap();
        assert_eq!(detail.rows[0].standing, one.receivers[0], "the page says the same");
        one.receivers[0].clone()
    };
    let (flaps, calm) = (standing("Queue"), standing("Calm"));
    assert_eq!((flaps.state, calm.state), (RowState::Flapping, RowState::Paged));
    assert!(matches!(flaps.cause, Some(Cause::Flapping { changes: 6, .. })), "{flaps:?}");
    assert!(!matches!(calm.cause, Some(Cause::Flapping { .. })) && calm.next.is_none(), "{calm:?}");
}

#[test]
fn pages_are_cut_filtered_and_counted() {
    let noise =
        Noise { storm: crate::policy::Storm { start: 0, ..Noise::default().storm }, ..Noise::default() };
    let mut world = World::new(policy(&["host"], noise));
    world.answers = Answers::Accept;
    for n in 0..30 {
        let host = labels(&[("alertname", "Down"), ("host", &format!("h{n:02}")), ("severity", "critical")]);
        world.say(Source::Alertmanager, "a", vec![firing(&host, world.now)]);
        world.advance(Duration::from_secs(1));
    }
    let page = world.engine.query().board(&BoardQuery { offset: 10, limit: 5, ..BoardQuery::default() });
    let hosts: Vec<&str> = page.rows.iter().map(|r| r.labels.value("host")).collect();
    assert_eq!((page.matching, hosts), (30, vec!["h19", "h18", "h17", "h16", "h15"]), "the newest first");
    let matchers = parse_matchers("host=~\"h0.\"").unwrap();
    let some = world.engine.query().board(&BoardQuery { matchers, limit: 100, ..BoardQuery::default() });
    assert_eq!((some.matching, some.rows.len()), (10, 10));
    let key = some.rows[0].standing.incident.clone().unwrap();
    let detail = world.engine.query().incident(&key, false, 0, 10).unwrap();
    assert_eq!((detail.alerts.len(), detail.delivered.len()), (1, 1));
    assert!(world.engine.query().incident("unknown", false, 0, 10).is_none());
}
