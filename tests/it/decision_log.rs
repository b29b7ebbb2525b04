//! The decision log: written behind the journal, searched by people.

use std::path::Path;

use prometheus::Registry;
use squelch::config::Storage;
use squelch::decision_log::{
    DecisionEntry, DecisionLogError, DecisionLogMeter, DecisionQuery, Follower, Reader,
};
use squelch::journal::{Commit, Decisions, Journal, Record, SqliteDecisions, SqliteJournal};
use squelch::model::{
    AlertId, Basis, Cause, Decision, Disposition, Duration, LabelSet, Otherwise, Reason, Timestamp,
    parse_matchers,
};

fn at(seconds: u64) -> Timestamp {
    Timestamp::parse("2026-11-23T00:00:00Z").unwrap() + Duration::from_secs(seconds)
}

fn labels(n: u64) -> LabelSet {
    let host = format!("host-{n}");
    LabelSet::from_pairs([
        ("alertname", if n.is_multiple_of(2) { "Even" } else { "Odd" }),
        ("host", host.as_str()),
    ])
}

/// The decision about alert `n`, with its labels.
fn decision(now: Timestamp, n: u64, disposition: Disposition) -> Decision {
    let receiver = if n.is_multiple_of(3) { "slack" } else { "pager" };
    Decision {
        incident: format!("incident-{}", n % 5).into(),
        release: Some(now + Duration::from_mins(5)),
        basis: Basis {
            setting: "noise.default.flapping".into(),
            line: 7,
            labels: labels(n),
            starts_at: Some(now),
            repeats_since: None,
            otherwise: Some(Otherwise::Page(now)),
        },
        ..Decision::new(now, AlertId(u128::from(n)), receiver, disposition, Cause::FirstPage)
    }
}

struct Store {
    dir: tempfile::TempDir,
    journal: SqliteJournal,
    seq: u64,
}

impl Store {
    fn new() -> Store {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = SqliteJournal::open(dir.path()).unwrap();
        journal.recover().unwrap();
        Store { dir, journal, seq: 0 }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn commit(&mut self, decisions: &[Decision]) {
        self.seq += 1;
        let now = decisions.last().map_or(at(0), |d| d.at);
        let records = [Record { seq: self.seq, now, event: b"\"tick\"".to_vec() }];
        self.journal.commit(&Commit { records: &records, decisions, ..Commit::default() }).unwrap();
    }

    fn follow(&self) -> Follower {
        Follower::open(self.path(), DecisionLogMeter::new(&Registry::new()).unwrap()).unwrap()
    }

    fn index(&self) {
        let mut follower = self.follow();
        while follower.step().unwrap() {}
    }

    fn found(&self, query: &DecisionQuery) -> Vec<DecisionEntry> {
        Reader::new(self.path()).search(query).unwrap().decisions
    }
}

fn all() -> DecisionQuery {
    DecisionQuery { limit: 1000, ..DecisionQuery::default() }
}

const FLAPPING: Disposition = Disposition::Suppressed(Reason::Flapping);

#[test]
fn each_way_to_search_finds_what_a_look_at_every_row_finds() {
    let mut store = Store::new();
    let kinds = [Disposition::Page, Disposition::Update, FLAPPING, Disposition::Suppressed(Reason::Storm)];
    for n in 0..600u64 {
        let observed = n % 7 == 0;
        store.commit(&[Decision { observed, ..decision(at(n), n % 40, kinds[n as usize % 4]) }]);
    }
    store.index();
    let everything = store.found(&all());
    assert_eq!(everything.len(), 600);
    assert!(everything.windows(2).all(|w| w[0].id > w[1].id && w[0].at >= w[1].at), "newest first");
    let matchers = |text: &str| DecisionQuery { matchers: parse_matchers(text).unwrap(), ..all() };
    let fingerprint = squelch::model::Fingerprint::of(&labels(7));
    type Says = Box<dyn Fn(&DecisionEntry) -> bool>;
    let cases: Vec<(&str, DecisionQuery, Says)> = vec![
        ("equal", matchers("host=host-7"), Box::new(|e| e.labels["host"] == "host-7")),
        (
            "two",
            matchers("alertname=Odd,host=~host-1.*"),
            Box::new(|e| e.labels["alertname"] == "Odd" && e.labels["host"].starts_with("host-1")),
        ),
        ("not", matchers("alertname!=Odd"), Box::new(|e| e.labels["alertname"] != "Odd")),
        ("none has it", matchers("team=\"\""), Box::new(|_| true)),
        ("nobody", matchers("team=db"), Box::new(|_| false)),
        (
            "fingerprint",
            DecisionQuery { fingerprint: Some(fingerprint), ..all() },
            Box::new(|e| e.labels["host"] == "host-7"),
        ),
        (
            "alert",
            DecisionQuery { alert: Some(AlertId(9)), ..all() },
            Box::new(|e| e.labels["host"] == "host-9"),
        ),
        (
            "incident",
            DecisionQuery { incident: Some("incident-3".into()), ..all() },
            Box::new(|e| e.incident.as_deref() == Some("incident-3")),
        ),
        (
            "receiver",
            DecisionQuery { receiver: Some("slack".into()), ..all() },
            Box::new(|e| e.receiver == "slack"),
        ),
        ("only observed", DecisionQuery { observed: Some(true), ..all() }, Box::new(|e| e.observed)),
        (
            "pages that were sent",
            DecisionQuery { observed: Some(false), dispositions: vec![Disposition::Page], ..all() },
            Box::new(|e| !e.observed && e.disposition == "page"),
        ),
        (
            "reason",
            DecisionQuery { dispositions: vec![FLAPPING], ..all() },
            Box::new(|e| e.reason.as_deref() == Some("flapping")),
        ),
        (
            "time, receiver and reason",
            DecisionQuery {
                since: Some(at(100)),
                until: Some(at(200)),
                receiver: Some("pager".into()),
                dispositions: vec![FLAPPING, Disposition::Page],
                ..all()
            },
            Box::new(|e| {
                e.at >= at(100)
                    && e.at < at(200)
                    && e.receiver == "pager"
                    && (e.disposition == "page" || e.reason.as_deref() == Some("flapping"))
            }),
        ),
        (
            "incident and labels",
            DecisionQuery { incident: Some("incident-2".into()), ..matchers("alertname=Even") },
            Box::new(|e| e.incident.as_deref() == Some("incident-2") && e.labels["alertname"] == "Even"),
        ),
    ];
    for (what, query, says) in cases {
        let expected: Vec<&DecisionEntry> = everything.iter().filter(|e| says(e)).collect();
        let found = store.found(&query);
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{what}");
    }
    let one = &everything[0];
    assert_eq!((one.setting.as_str(), one.line, one.count), ("noise.default.flapping", Some(7), 1));
    assert!(one.counterfactual.as_ref().unwrap().contains("it would have paged at 2026-11-23T00:09:59Z"));
}

#[test]
fn pages_stay_as_they_are_while_more_is_written() {
    let mut store = Store::new();
    for n in 0..95 {
        store.commit(&[decision(at(n), n % 7, FLAPPING)]);
    }
    store.index();
    let reader = Reader::new(store.path());
    for filter in [
        DecisionQuery::default(),
        DecisionQuery { matchers: parse_matchers("alertname=Odd").unwrap(), ..all() },
    ] {
        let whole: Vec<u64> = {
            let query = DecisionQuery { limit: 1000, ..filter.clone() };
            reader.search(&query).unwrap().decisions.iter().map(|e| e.id).collect()
        };
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = reader.search(&DecisionQuery { limit: 10, before, ..filter.clone() }).unwrap();
            assert!(page.decisions.len() <= 10);
            seen.extend(page.decisions.iter().map(|e| e.id));
            let now = at(1000 + store.seq);
            store.commit(&[decision(now, 1, Disposition::Page)]);
            store.index();
            match page.next {
                Some(next) => before = Some(next.parse().unwrap()),
                None => break,
            }
        }
        assert_eq!(seen, whole);
    }
}

#[test]
fn unchanged_repeats_are_one_row_of_their_occurrence() {
    let mut store = Store::new();
    let repeats = |now: Timestamp, count, started| {
        let mut d = decision(now, 1, Disposition::Suppressed(Reason::Duplicate));
        (d.count, d.basis.starts_at, d.basis.repeats_since) = (count, Some(started), Some(now));
        d
    };
    store.commit(&[decision(at(0), 1, Disposition::Page)]);
    store.commit(&[repeats(at(60), 30, at(0)), repeats(at(3660), 60, at(0))]);
    store.index();
    store.commit(&[repeats(at(7200), 10, at(0))]);
    store.commit(&[decision(at(7300), 1, Disposition::Resolve), repeats(at(7400), 5, at(7300))]);
    store.index();
    let found: Vec<(String, u64)> =
        store.found(&all()).into_iter().map(|e| (e.disposition, e.count)).collect();
    let expected = [("suppressed", 5), ("resolve", 1), ("suppressed", 100), ("page", 1)];
    assert_eq!(found, expected.map(|(d, n)| (d.to_owned(), n)));
}

/// Between commit and indexing nothing may be lost or doubled, whichever of the two stops.
#[test]
fn a_crash_before_indexing_loses_nothing_and_doubles_nothing() {
    let mut store = Store::new();
    for n in 0..300 {
        store.commit(&[decision(at(n), n, FLAPPING)]);
    }
    let mut follower = store.follow();
    assert!(follower.step().unwrap());
    drop(follower);
    store.commit(&[decision(at(400), 400, Disposition::Page)]);
    store.index();
    store.index();
    assert_eq!(store.found(&all()).len(), 301);
    // The decision log is lost, or is no decision log: it is made anew.
    let reader = Reader::new(store.path());
    reader.search(&all()).unwrap();
    for damage in [None, Some("this is no database".repeat(1000))] {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(store.path().join(format!("decisions.db{suffix}")));
        }
        if let Some(text) = damage {
            std::fs::write(store.path().join("decisions.db"), text).unwrap();
        }
        store.commit(&[]);
        store.index();
        assert_eq!(store.found(&all()).len(), 301);
    }
    store.commit(&[decision(at(500), 500, Disposition::Page)]);
    store.index();
    assert_eq!(reader.search(&all()).unwrap().decisions.len(), 302, "a reader from before sees the new file");
}

#[test]
fn nothing_releases_a_heartbeat() {
    let mut store = Store::new();
    let muted = Disposition::Suppressed(Reason::Muted);
    let night = Decision { cause: Cause::MuteInterval { name: "night".into() }, ..decision(at(0), 1, muted) };
    let beat = Decision { cause: Cause::Heartbeat { name: "eu".into() }, ..decision(at(1), 2, muted) };
    store.commit(&[night, beat]);
    store.index();
    let found = store.found(&all());
    let said = |entry: &DecisionEntry| (entry.release_condition.is_some(), entry.counterfactual.is_some());
    assert_eq!(found.iter().map(said).collect::<Vec<_>>(), [(false, false), (true, true)], "{found:?}");
}

/// In a flood, each commit has thousands of decisions. The rows that are read at once bound the memory, and
/// how long the end of the process waits.
#[test]
fn rows_with_very_many_decisions_are_read_in_parts() {
    let mut store = Store::new();
    for row in 0..20 {
        let all: Vec<_> = (0..2_000).map(|n| decision(at(row), row * 2_000 + n, FLAPPING)).collect();
        store.commit(&all);
    }
    let decisions = SqliteDecisions::open(store.path()).unwrap();
    let parts: Vec<usize> = std::iter::successors(Some((0, 0)), |(row, _)| {
        let rows = decisions.after(*row, 256).unwrap();
        Some((rows.last()?.row, rows.len()))
    })
    .skip(1)
    .map(|(_, rows)| rows)
    .collect();
    assert_eq!(parts.iter().sum::<usize>(), 20, "each row is read once");
    assert!(parts.iter().all(|rows| *rows <= 10), "{parts:?}");
}

/// A store that was repaired, or whose decisions had all left, numbers its rows anew.
#[test]
fn a_journal_that_begins_anew_is_followed_from_its_first_new_row() {
    let mut store = Store::new();
    for n in 0..20 {
        store.commit(&[decision(at(n), n, FLAPPING)]);
    }
    store.index();
    while store.journal.prune(at(1000)).unwrap() {}
    for n in 0..3 {
        store.commit(&[decision(at(2000 + n), 50 + n, Disposition::Page)]);
    }
    store.index();
    assert_eq!(store.found(&all()).len(), 23);
    store.index();
    assert_eq!(store.found(&all()).len(), 23);
}

#[test]
fn what_is_too_old_or_too_much_leaves() {
    let mut store = Store::new();
    let day = 86_400;
    for n in 0..40 {
        let mut old = decision(at(n * day), n, FLAPPING);
        old.cause = Cause::Released { by: format!("person {n}").into() };
        store.commit(&[old]);
    }
    store.index();
    let mut follower = store.follow();
    let keep = Storage { retention: Duration::from_hours(24 * 10), ..Storage::default() };
    while follower.prune(at(40 * day), keep).unwrap() {}
    let left = store.found(&all());
    assert_eq!(left.len(), 10);
    assert!(
        left.iter().all(|e| e.at >= at(30 * day) && e.rule.starts_with("released by person ")),
        "{left:?}"
    );
    let gone = DecisionQuery { matchers: parse_matchers("host=host-3").unwrap(), ..all() };
    assert!(store.found(&gone).is_empty());
    while follower.prune(at(40 * day), Storage { max_size: 1, ..Storage::default() }).unwrap() {}
    assert!(store.found(&all()).is_empty());
}

#[test]
fn no_decision_log_says_where_one_would_be() {
    let dir = tempfile::tempdir().unwrap();
    let error = Reader::new(dir.path()).search(&all()).unwrap_err();
    assert!(matches!(&error, DecisionLogError::Missing(_)) && error.to_string().contains("--storage.path"));
}

/// A recorded timeline: the engine decides, the journal keeps, the decision log tells.
#[test]
fn a_flapping_alert_is_explained_in_plain_sentences() {
    use squelch::engine::{Effects, Engine, Event};
    use squelch::model::{Batch, Observation, Source, Status};

    let text = "route: {receiver: pager}\nreceivers: [{name: pager, console_configs: [{}]}]\nnoise:\n  \
                default:\n    flapping: {suppress_at: 3}\n    resolve_hold: 0s\n    merge_window: 1m\n";
    let policy = squelch::config::parse(text, "squelch.yml", Path::new("")).unwrap().policy;
    let mut engine = Engine::new(policy);
    let mut store = Store::new();
    let mut step = |now: Timestamp, status: Option<Status>, started: Timestamp| {
        let mut effects = Effects::default();
        let event = match status {
            Some(status) => Event::Observe(Batch::new(
                Source::Alertmanager,
                "a",
                vec![Observation::new(
                    status,
                    LabelSet::from_pairs([("alertname", "Down"), ("severity", "warning")]),
                    started,
                    (status == Status::Resolved).then_some(now),
                )],
            )),
            None => Event::Tick,
        };
        engine.handle(now, &event, &mut effects);
        let mut decisions = std::mem::take(&mut effects.decisions);
        for notification in std::mem::take(&mut effects.notifications) {
            let outcome = squelch::model::Outcome::Accepted;
            let report = squelch::model::Report { id: notification.id, outcome, attempts: 1, message: None };
            engine.handle(now, &Event::Delivered(report), &mut effects);
        }
        decisions.append(&mut effects.decisions);
        if !decisions.is_empty() {
            store.commit(&decisions);
        }
    };
    for turn in 0..3 {
        let started = at(turn * 120);
        step(started, Some(Status::Firing), started);
        step(started + Duration::from_secs(60), Some(Status::Resolved), started);
    }
    for minute in 6..240 {
        step(at(minute * 60), None, at(0));
    }
    store.index();
    let told = squelch::decision_log::timeline(&store.found(&all()), |at| at.to_string());
    crate::repository::is_golden("tests/data/golden/explain.txt", &told);
}

/// A month of unchanged repeats would be most of the journal.
#[test]
fn repeats_reach_the_journal_once_an_hour_and_a_restart_loses_none() {
    use squelch::engine::{Effects, Engine, Event};
    use squelch::model::{Batch, Observation, Source, Status};

    let mut engine = Engine::new(squelch::config::Config::default().policy);
    let observed = |status, now: Timestamp| {
        Batch::new(
            Source::Prometheus,
            "p",
            vec![Observation::new(
                status,
                labels(1),
                at(0),
                Some(if status == Status::Firing { now + Duration::from_mins(4) } else { now }),
            )],
        )
    };
    let (mut written, mut disposed) = (Vec::new(), 0);
    let mut handle = |engine: &mut Engine, now: Timestamp, event: Event| {
        let mut effects = Effects::watched();
        engine.handle(now, &event, &mut effects);
        disposed += effects.repeats.iter().flatten().map(|d| d.count).sum::<u64>();
        written.append(&mut effects.decisions);
    };
    handle(&mut engine, at(0), Event::Observe(observed(Status::Firing, at(0))));
    for minute in 1..=180 {
        let now = at(minute * 60);
        let repeats = engine.query().repeats(&observed(Status::Firing, now)).unwrap();
        handle(&mut engine, now, Event::Repeats(repeats));
        if minute == 90 {
            engine = Engine::restore(&engine.snapshot()).unwrap();
        }
    }
    handle(&mut engine, at(10_830), Event::Observe(observed(Status::Resolved, at(10_830))));
    handle(&mut engine, at(11_400), Event::Tick);
    let repeats: Vec<u64> =
        written.iter().filter(|d| d.basis.repeats_since.is_some()).map(|d| d.count).collect();
    assert_eq!((repeats.iter().sum::<u64>(), disposed), (180, 180));
    assert!(repeats.len() <= 4, "{repeats:?}");
    let kinds: Vec<&str> = written.iter().map(|d| d.disposition.as_str()).collect();
    assert_eq!(
        (kinds.first(), kinds.last()),
        (Some(&"page"), Some(&"resolve")),
        "repeats come before: {kinds:?}"
    );
    let named = written.iter().filter(|d| !d.basis.labels.is_empty()).count();
    assert_eq!(named, 1, "labels once a day");
    assert!(written.iter().all(|d| d.basis.setting == "route {}"), "{written:?}");
}
