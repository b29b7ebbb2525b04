//! The history of incidents: indexed behind the journal, found by key, words, labels and time.

use std::collections::BTreeMap;
use std::path::Path;

use prometheus::Registry;
use squelch::config::{Location, OnCall, Storage};
use squelch::decision_log::{
    By, DecisionLogMeter, DecisionQuery, Follower, NamedIncident, NoiseEntry, PastIncidentQuery, Reader,
    WhichIncident, timeline,
};
use squelch::journal::{Commit, Journal, Record, SqliteJournal};
use squelch::model::{
    AlertId, Basis, Cause, Decision, Disposition, Duration, IncidentChange, IncidentDelivery, IncidentIssued,
    IncidentOpened, IncidentRecord, Kind, LabelSet, Reason, Remark, RemarkContent, Timestamp, parse_matchers,
};

fn at(minutes: u64) -> Timestamp {
    Timestamp::parse("2026-11-23T00:00:00Z").unwrap() + Duration::from_mins(minutes)
}

fn key(n: u64) -> String {
    format!("{n:08x}").repeat(8)
}

fn record(minute: u64, n: u64, change: IncidentChange) -> IncidentRecord {
    IncidentRecord { at: at(minute), incident: n, key: key(n).into(), change }
}

fn opened(n: u64, receiver: &str) -> IncidentChange {
    let issued = IncidentIssued {
        cause: Cause::FirstPage,
        title: format!("Down host-{n}"),
        severity: "critical".into(),
        firing: 1,
        alerts: 1,
        rules: Vec::new(),
    };
    IncidentChange::Opened(Box::new(IncidentOpened {
        receiver: receiver.into(),
        route: "{}".into(),
        group_key: "{}:{}".into(),
        generation: 0,
        group_labels: LabelSet::default(),
        observed: false,
        origin: "squelch".into(),
        started_at: at(n * 100),
        supersedes: None,
        issued,
    }))
}

fn accepted() -> IncidentChange {
    let of =
        IncidentDelivery { receiver: "pager".into(), integration: "pagerduty[0]".into(), kind: Kind::Page };
    IncidentChange::Accepted(of)
}

fn closed() -> IncidentChange {
    IncidentChange::Closed { cause: Box::new(Cause::AllResolved), successor: None }
}

/// The decision by which an alert joined incident `n`.
fn joined(n: u64) -> Decision {
    let host = format!("host-{n}");
    Decision {
        incident: key(n).into(),
        basis: Basis { labels: LabelSet::from_pairs([("host", host.as_str())]), ..Basis::default() },
        ..Decision::new(at(n * 100), AlertId(n.into()), "pager", Disposition::Page, Cause::FirstPage)
    }
}

/// A journal with incidents 1 to 5 that opened, 100 minutes apart. Those with an odd number closed. The page
/// of incident n was accepted n minutes after its start.
fn filled(dir: &Path) -> Follower {
    let mut journal = SqliteJournal::open(dir).unwrap();
    journal.recover().unwrap();
    for n in 1..=5 {
        let mut history = vec![
            record(n * 100, n, opened(n, if n == 4 { "chat" } else { "pager" })),
            record(n * 100 + n, n, accepted()),
        ];
        if n % 2 == 1 {
            history.push(record(n * 100 + 10 * n, n, closed()));
        }
        let records = [Record { seq: n, now: at(n * 100), event: b"\"tick\"".to_vec() }];
        let (decisions, history) = (&[joined(n)][..], &history[..]);
        journal.commit(&Commit { records: &records, decisions, history, ..Commit::default() }).unwrap();
    }
    // A commit can have history and no decision.
    let note = Remark { by: "ada".into(), said: RemarkContent::Note("the disk was full".into()) };
    let history = [record(900, 3, IncidentChange::Remarked(note))];
    let records = [Record { seq: 6, now: at(900), event: b"\"tick\"".to_vec() }];
    journal.commit(&Commit { records: &records, history: &history, ..Commit::default() }).unwrap();
    let mut follower = Follower::open(dir, DecisionLogMeter::new(&Registry::new()).unwrap()).unwrap();
    while follower.step().unwrap() {}
    follower
}

fn numbers(reader: &Reader, query: PastIncidentQuery) -> Vec<u64> {
    let page = reader.incidents(&PastIncidentQuery { limit: 100, ..query }).unwrap();
    page.incidents.iter().map(|incident| incident.number).collect()
}

#[test]
fn incidents_are_found_by_words_labels_state_and_time() {
    let dir = tempfile::tempdir().unwrap();
    let _follower = filled(dir.path());
    let reader = Reader::new(dir.path());
    let query = PastIncidentQuery::default;
    assert_eq!(numbers(&reader, query()), [5, 4, 3, 2, 1], "the newest first");
    assert_eq!(numbers(&reader, PastIncidentQuery { open: Some(false), ..query() }), [5, 3, 1]);
    assert_eq!(numbers(&reader, PastIncidentQuery { open: Some(true), ..query() }), [4, 2]);
    let words = |text: &[&str]| text.iter().map(|word| (*word).to_owned()).collect();
    assert_eq!(numbers(&reader, PastIncidentQuery { words: words(&["HOST-4", "chat"]), ..query() }), [4]);
    assert_eq!(
        numbers(&reader, PastIncidentQuery { words: words(&["host-4", "pager"]), ..query() }),
        [0u64; 0]
    );
    let matchers = parse_matchers("host=~\"host-(2|5)\"").unwrap();
    assert_eq!(numbers(&reader, PastIncidentQuery { matchers, ..query() }), [5, 2]);
    assert_eq!(numbers(&reader, PastIncidentQuery { receiver: Some("chat".into()), ..query() }), [4]);
    let (since, until) = (Some(at(200)), Some(at(400)));
    assert_eq!(numbers(&reader, PastIncidentQuery { since, until, ..query() }), [3, 2]);
    // 1 closed at minute 110, 2 opened at 200 and is still open.
    assert_eq!(numbers(&reader, PastIncidentQuery { closed_since: Some(at(150)), ..query() }), [5, 4, 3, 2]);
    let first = reader.incidents(&PastIncidentQuery { limit: 2, ..query() }).unwrap();
    let before = first.next.map(|next| next.parse().unwrap());
    assert_eq!(numbers(&reader, PastIncidentQuery { before, ..query() }), [3, 2, 1]);
}

#[test]
fn the_times_of_incidents_have_a_median_and_a_90th_percentile() {
    let dir = tempfile::tempdir().unwrap();
    let _follower = filled(dir.path());
    let reader = Reader::new(dir.path());
    let times = reader.incidents(&PastIncidentQuery { limit: 100, ..Default::default() }).unwrap().times;
    let minutes = |ms: u64| ms / 60_000;
    assert_eq!((times.to_notify.count, minutes(times.to_notify.median_ms)), (5, 3));
    assert_eq!(minutes(times.to_notify.p90_ms), 5);
    assert_eq!((times.to_resolve.count, minutes(times.to_resolve.median_ms)), (3, 30));
    assert_eq!(times.to_acknowledge.count, 0);
}

#[test]
fn a_beginning_of_a_key_names_an_incident_unless_several_have_it() {
    let dir = tempfile::tempdir().unwrap();
    let _follower = filled(dir.path());
    let reader = Reader::new(dir.path());
    let ask = |key: &str| {
        reader.incident(&WhichIncident { key: key.into(), number: None, observed: None }).unwrap()
    };
    let NamedIncident::One(third) = ask("00000003") else { panic!("one incident begins so") };
    let events: Vec<&str> = third.events.iter().map(|event| &event.event[..]).collect();
    assert_eq!(events, ["opened", "accepted", "closed", "note"]);
    let hosts: Vec<&str> = third.alerts.iter().map(|alert| &alert.labels["host"][..]).collect();
    assert_eq!(hosts, ["host-3"]);
    assert_eq!(third.events[3].note.as_deref(), Some("the disk was full"));
    assert_eq!((third.incident.number, third.incident.closed_at), (3, Some(at(330))));
    assert_eq!(ask("0000000"), NamedIncident::Several((1..=5).map(key).collect()));
    assert_eq!(ask("abcdef"), NamedIncident::None);
}

#[test]
fn an_incident_outlives_its_decisions_for_400_days() {
    let dir = tempfile::tempdir().unwrap();
    let mut follower = filled(dir.path());
    let reader = Reader::new(dir.path());
    let mut after = |days: u64| {
        let now = at(0) + Duration::from_hours(24 * days);
        while follower.prune(now, Storage::default()).unwrap() {}
        numbers(&reader, PastIncidentQuery::default())
    };
    assert_eq!(after(399), [5, 4, 3, 2, 1]);
    assert_eq!(after(402), [4, 2], "open incidents stay");
}

/// The configuration of the example: a pager and a chat.
const EXAMPLE: &str = "
route: {receiver: pager, group_by: [service], group_wait: 30s, group_interval: 5m}
receivers:
  - name: pager
    pagerduty_configs: [{routing_key: 0123456789abcdef0123456789abcdef}]
";

/// Events that are handled, journalled and delivered as a server does.
pub struct Recorder {
    /// The engine.
    pub engine: squelch::engine::Engine,
    journal: SqliteJournal,
    seq: u64,
}

impl Recorder {
    /// A recorder into a storage directory.
    pub fn new(dir: &Path, config: &str) -> Recorder {
        let config = squelch::config::parse(config, "squelch.yml", Path::new("")).unwrap();
        let mut journal = SqliteJournal::open(dir).unwrap();
        journal.recover().unwrap();
        Recorder { engine: squelch::engine::Engine::new(config.policy), journal, seq: 0 }
    }

    /// Handles an event at `now`. Each notification that follows is accepted two seconds later.
    pub fn handle(&mut self, now: Timestamp, event: &squelch::engine::Event) {
        use squelch::engine::{Effects, Event};
        use squelch::model::{Outcome, Report};
        let mut waiting = vec![(now, event.clone())];
        while let Some((now, event)) = waiting.pop() {
            let mut effects = Effects::default();
            self.engine.handle(now, &event, &mut effects);
            self.seq += 1;
            let body = serde_json::to_vec(&event).unwrap();
            let records = [Record { seq: self.seq, now, event: body }];
            let reports =
                if let Event::Delivered(report) = &event { vec![report.clone()] } else { Vec::new() };
            let (records, reports) = (&records[..], &reports[..]);
            let Effects { decisions, history, notifications, .. } = &effects;
            let commit = Commit { records, decisions, history, notifications, reports, ..Commit::default() };
            self.journal.commit(&commit).unwrap();
            waiting.extend(effects.notifications.into_iter().map(|notification| {
                let report =
                    Report { id: notification.id, outcome: Outcome::Accepted, attempts: 1, message: None };
                (now + Duration::from_secs(2), Event::Delivered(report))
            }));
        }
    }

    /// Lets time pass until `until`.
    pub fn pass(&mut self, until: Timestamp) {
        while let Some((due, _)) = self.engine.next_deadline().filter(|(due, _)| *due <= until) {
            self.handle(due, &squelch::engine::Event::Tick);
        }
    }

    /// A peer says that an alert fires since `started`, or that it resolved `now`.
    fn say(&mut self, now: Timestamp, alert: &[(&str, &str)], started: Timestamp, fires: bool) {
        use squelch::model::{Batch, Observation, Source, Status};
        self.pass(now);
        let name = alert[0].1;
        let annotations = LabelSet::from_pairs([
            ("summary", format!("{name} of {}", alert[1].1).as_str()),
            ("runbook_url", format!("https://runbooks.example/{name}").as_str()),
        ]);
        let observation = Observation {
            annotations,
            generator_url: format!("https://prometheus.example/graph?g0.expr={name}").into(),
            ..Observation::new(
                if fires { Status::Firing } else { Status::Resolved },
                LabelSet::from_pairs(alert.iter().copied()),
                started,
                (!fires).then_some(now),
            )
        };
        let batch = Batch::new(Source::Alertmanager, "http://alertmanager.example", vec![observation]);
        self.handle(now, &squelch::engine::Event::Observe(batch));
    }
}

#[test]
fn the_example_review_is_what_squelch_writes() {
    use squelch::engine::{Acknowledge, Event, IncidentRemark};

    let dir = tempfile::tempdir().unwrap();
    let mut evening = Recorder::new(dir.path(), EXAMPLE);
    let at = |minute: u64, second: u64| at(20 * 60 + minute) + Duration::from_secs(second);
    let database =
        [("alertname", "PostgresDown"), ("service", "checkout"), ("severity", "critical"), ("host", "db-1")];
    let errors =
        [("alertname", "HighErrorRate"), ("service", "checkout"), ("severity", "critical"), ("zone", "a")];
    let latency =
        [("alertname", "HighLatency"), ("service", "checkout"), ("severity", "warning"), ("zone", "a")];
    let disk =
        [("alertname", "DiskSlow"), ("service", "search"), ("severity", "warning"), ("host", "search-3")];
    for turn in 0..4 {
        evening.say(at(4 * turn, 0), &disk, at(4 * turn, 0), true);
        evening.say(at(4 * turn + 1, 0), &disk, at(4 * turn, 0), false);
    }
    evening.say(at(20, 15), &database, at(20, 0), true);
    evening.say(at(20, 40), &errors, at(20, 30), true);
    evening.say(at(27, 10), &latency, at(27, 0), true);
    let query = squelch::engine::IncidentQuery { limit: 10, ..Default::default() };
    let open = evening.engine.query().open_incidents(&query).found;
    let is_it = |one: &&squelch::engine::OpenIncident| {
        one.alerts.iter().any(|alert| alert.labels.value("alertname") == "PostgresDown")
    };
    let open = open.iter().find(is_it).unwrap();
    let (incident, key) = (open.number, open.row.standing.incident.clone().unwrap());
    let acknowledge = Acknowledge {
        dedup_key: key.clone(),
        receivers: vec!["pager".into()],
        by: Some("ada".into()),
        via: None,
    };
    evening.handle(at(28, 30), &Event::Acknowledge(acknowledge));
    let note = Remark { by: "ada".into(), said: RemarkContent::Note("failed over to db-2".into()) };
    evening.pass(at(41, 0));
    evening.handle(at(41, 0), &Event::Remark(IncidentRemark { incident, key: key.clone(), remark: note }));
    evening.say(at(44, 0), &database, at(20, 0), false);
    evening.say(at(45, 20), &errors, at(20, 30), false);
    evening.say(at(46, 0), &latency, at(27, 0), false);
    evening.pass(at(90, 0));
    let useful = Remark { by: "ada".into(), said: RemarkContent::Useful(true) };
    evening.handle(at(95, 0), &Event::Remark(IncidentRemark { incident, key: key.clone(), remark: useful }));
    let mut follower = Follower::open(dir.path(), DecisionLogMeter::new(&Registry::new()).unwrap()).unwrap();
    while follower.step().unwrap() {}
    let wanted = WhichIncident { key: key.to_string(), number: None, observed: None };
    let NamedIncident::One(review) = Reader::new(dir.path()).review(&wanted).unwrap() else {
        panic!("no review")
    };
    crate::repository::is_golden("docs/examples/review.md", &review.markdown());
}

#[test]
fn the_review_of_an_observed_incident_says_when_the_sender_paged() {
    use squelch::engine::{Acknowledge, Event};

    let dir = tempfile::tempdir().unwrap();
    let observing = format!("{EXAMPLE}noise: {{default: {{mode: observe}}}}\n");
    let mut evening = Recorder::new(dir.path(), &observing);
    let errors = [("alertname", "HighErrorRate"), ("service", "checkout"), ("severity", "critical")];
    let disk = [("alertname", "DiskSlow"), ("service", "search"), ("severity", "warning")];
    evening.say(at(20), &disk, at(20), true);
    evening.say(at(30), &errors, at(28), true);
    evening.pass(at(35));
    let query = squelch::engine::IncidentQuery { limit: 10, ..Default::default() };
    let open = evening.engine.query().open_incidents(&query).found;
    let is_it = |one: &&squelch::engine::OpenIncident| {
        one.row.standing.would.is_none() && one.alerts[0].labels.value("alertname") == "HighErrorRate"
    };
    let key = open.iter().find(is_it).and_then(|open| open.row.standing.incident.clone()).unwrap();
    let receivers = vec!["pager".into()];
    let by = Some("ada".into());
    let acknowledge = Acknowledge { dedup_key: key.clone(), receivers, by, via: None };
    evening.handle(at(36), &Event::Acknowledge(acknowledge));
    evening.say(at(50), &errors, at(28), false);
    evening.pass(at(90));
    let mut follower = Follower::open(dir.path(), DecisionLogMeter::new(&Registry::new()).unwrap()).unwrap();
    while follower.step().unwrap() {}
    let reader = Reader::new(dir.path());
    let review = |observed: bool| {
        let wanted = WhichIncident { key: key.to_string(), number: None, observed: Some(observed) };
        let NamedIncident::One(review) = reader.review(&wanted).unwrap() else { panic!("no review") };
        review
    };
    let observed = review(true);
    let minutes = |ms: Option<u64>| ms.map(|ms| ms / 60_000);
    assert_eq!(
        (minutes(observed.time_to_notify_ms), minutes(observed.time_to_acknowledge_ms)),
        (Some(2), Some(5))
    );
    assert_eq!(observed.as_sent.len(), 1);
    let alerts: Vec<u64> = observed.detail.alerts.iter().map(|alert| alert.observations).collect();
    assert_eq!(alerts, [2], "those of its own side");
    let text = observed.markdown();
    for part in [
        "Squelch sent no page of its own. People saw the page of the sender, which Squelch passed on.",
        "| Receiver accepted the page of the sender | 2026-11-23 00:30:02 UTC |",
        "| Acknowledged | 2026-11-23 00:36:00 UTC, by ada |",
        "| From the first alert to the accepted page of the sender | 2m2s |",
        "| From that page to the acknowledgement | 5m58s |",
        "| 2026-11-23 00:30:02 | delivery, as sent | pager/pagerduty\\[0\\] accepted the page |",
        "| 2026-11-23 00:36:00 | person, as sent | ada acknowledged the incident |",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let around: Vec<&str> = observed.around.iter().map(|one| one.name.as_str()).collect();
    assert!(!around.contains(&"HighErrorRate"), "{around:?}");
    assert!(review(false).as_sent.is_empty(), "the incident of the sender itself");
}

/// *On-call*, *Noise* and the report count the same pages: those of incidents, of incidents about Squelch
/// itself, and those at second receivers.
#[test]
fn on_call_and_noise_count_a_page_at_the_receiver_that_got_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = SqliteJournal::open(dir.path()).unwrap();
    journal.recover().unwrap();
    let page_at = |receiver: &str| {
        let of = IncidentDelivery {
            receiver: receiver.into(),
            integration: "webhook[0]".into(),
            kind: Kind::Page,
        };
        IncidentChange::Accepted(of)
    };
    let escalated = IncidentChange::Escalated { to: "boss".into(), within: Duration::from_mins(5) };
    let mut internal = opened(3, "pager");
    let mut observed = opened(4, "pager");
    if let (IncidentChange::Opened(internal), IncidentChange::Opened(observed)) =
        (&mut internal, &mut observed)
    {
        internal.origin = "internal".into();
        internal.group_labels = LabelSet::from_pairs([("alertname", "SquelchReceiverFailing")]);
        observed.observed = true;
    }
    let history = [
        record(100, 1, opened(1, "pager")),
        record(101, 1, accepted()),
        record(105, 1, escalated),
        record(106, 1, page_at("boss")),
        record(200, 2, opened(2, "pager")),
        record(202, 2, page_at("fallback")),
        record(300, 3, internal),
        record(400, 4, observed),
    ];
    let decisions = [joined(1), joined(2)];
    let records = [Record { seq: 1, now: at(400), event: b"\"tick\"".to_vec() }];
    let commit = Commit { records: &records, decisions: &decisions, history: &history, ..Commit::default() };
    journal.commit(&commit).unwrap();
    let mut follower = Follower::open(dir.path(), DecisionLogMeter::new(&Registry::new()).unwrap()).unwrap();
    while follower.step().unwrap() {}
    let reader = Reader::new(dir.path());

    let tally = reader.tally(&Location::default(), at(0), at(500)).unwrap();
    let counted: Vec<(&str, usize)> =
        tally.receivers.iter().map(|(receiver, (_, pages))| (receiver.as_str(), pages.len())).collect();
    assert_eq!(counted, [("boss", 1), ("fallback", 1), ("pager", 3)]);
    assert_eq!((tally.pages, tally.internal_pages, tally.second_pages, tally.incidents.len()), (5, 1, 2, 3));
    assert_eq!((tally.paged, tally.names["SquelchReceiverFailing"].pages), (2, 1));
    let noise = NoiseEntry::new(&tally, None, &BTreeMap::new(), 10, By::Day);
    assert_eq!(
        noise.trend.iter().map(|step| step.pages).sum::<u64>(),
        5,
        "the chart counts what its head counts"
    );
    assert!(
        noise
            .markdown()
            .contains("and Squelch decided 5 pages, 2 of them by escalation or fallback, 1 of them about")
    );
    let berlin = noise.markdown_in(&Location::named("Europe/Berlin").unwrap());
    let head = "# Alert noise from 2026-11-23 01:00:00 to 2026-11-23 09:20:00 Europe/Berlin\n";
    assert!(berlin.starts_with(head), "{berlin}");

    let load = reader.on_call(&OnCall::default(), at(0), at(500)).unwrap();
    let counted: Vec<(&str, u64, u64, u64)> = load
        .receivers
        .iter()
        .map(|one| (one.receiver.as_str(), one.incidents, one.second, one.internal))
        .collect();
    assert_eq!(counted, [("pager", 3, 0, 1), ("boss", 1, 1, 0), ("fallback", 1, 1, 0)]);
    assert_eq!((load.known_since, load.receivers[0].incidents_before), (Some(at(100)), None));
    let NamedIncident::One(first) =
        reader.incident(&WhichIncident { key: key(1), number: None, observed: None }).unwrap()
    else {
        panic!("no incident")
    };
    let said = first.events.last().unwrap().text.as_str();
    assert_eq!(said, "boss/webhook[0] accepted the page, 1m after the decision", "the one to escalate");
    let times: Vec<Timestamp> = reader.pages(at(102), at(300)).unwrap().iter().map(|page| page.at).collect();
    assert_eq!(times, [at(200), at(105), at(202)]);
}

/// The receiver of a page refused connections for 54 s.
#[test]
fn failed_attempts_stand_in_the_timeline_the_explanation_and_the_review() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = SqliteJournal::open(dir.path()).unwrap();
    journal.recover().unwrap();
    let seconds = |s: u64| at(100) + Duration::from_secs(s);
    let failed = |after: u64, attempts: u32| {
        let IncidentChange::Accepted(of) = accepted() else { unreachable!() };
        let error = "Connection refused".to_owned();
        let change = IncidentChange::Failed { of, attempts, since: seconds(1), error };
        IncidentRecord { at: seconds(after), ..record(100, 1, change) }
    };
    let mut commit = |seq: u64, decisions: &[Decision], history: &[IncidentRecord]| {
        let records = [Record { seq, now: at(100), event: b"\"tick\"".to_vec() }];
        journal.commit(&Commit { records: &records, decisions, history, ..Commit::default() }).unwrap();
        let meter = DecisionLogMeter::new(&Registry::new()).unwrap();
        let mut follower = Follower::open(dir.path(), meter).unwrap();
        while follower.step().unwrap() {}
    };
    let reader = Reader::new(dir.path());
    let explained =
        || timeline(&reader.search(&DecisionQuery::default()).unwrap().decisions, |at| at.to_string());
    commit(1, &[joined(1)], &[record(100, 1, opened(1, "pager")), failed(1, 1)]);
    let waits = explained();
    assert!(
        waits.contains(&format!(
            "(no receiver has accepted the page yet). An attempt at pager/pagerduty[0] failed at {}: Connection refused",
            seconds(1)
        )),
        "{waits}"
    );
    let late = IncidentRecord { at: seconds(54), ..record(100, 1, accepted()) };
    commit(2, &[], &[failed(54, 3), late]);
    let ended = explained();
    assert!(
        ended.contains(&format!(
            "A receiver accepted it at {}, 54s after the decision. 3 attempts at pager/pagerduty[0] failed from {} \
             on, the last one with: Connection refused",
            seconds(54),
            seconds(1)
        )),
        "{ended}"
    );
    let NamedIncident::One(review) =
        reader.review(&WhichIncident { key: key(1), number: None, observed: None }).unwrap()
    else {
        panic!("no review")
    };
    let texts: Vec<&str> = review.detail.events.iter().map(|event| event.text.as_str()).skip(1).collect();
    assert_eq!(
        texts,
        [
            "pager/pagerduty[0] did not take the page, and Squelch tries again: Connection refused",
            "3 attempts failed to deliver the page to pager/pagerduty[0], the last one with: Connection refused",
            "pager/pagerduty[0] accepted the page, 54s after the decision",
        ]
    );
    assert!(review.markdown().contains("3 attempts failed to deliver the page"), "{}", review.markdown());
}

/// An alert that flapped yesterday evening, and is calm.
#[test]
fn alerts_that_flapped_are_listed_with_their_times_and_changes() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = SqliteJournal::open(dir.path()).unwrap();
    journal.recover().unwrap();
    let flaps = |minute: u64, alert: u64, changes: u32, observed: bool| Decision {
        at: at(minute),
        disposition: Disposition::Suppressed(Reason::Flapping),
        cause: Cause::Flapping { changes, penalty: 5000, suppress_at: 5000, reuse_at: 1000 },
        observed,
        count: 2,
        ..joined(alert)
    };
    let decisions = [
        flaps(10, 1, 40, false),
        flaps(100, 1, 6, false),
        flaps(130, 2, 5, true),
        flaps(150, 1, 8, false),
        joined(3),
    ];
    let records = [Record { seq: 1, now: at(400), event: b"\"tick\"".to_vec() }];
    journal.commit(&Commit { records: &records, decisions: &decisions, ..Commit::default() }).unwrap();
    let mut follower = Follower::open(dir.path(), DecisionLogMeter::new(&Registry::new()).unwrap()).unwrap();
    while follower.step().unwrap() {}
    let (found, all) = Reader::new(dir.path()).flapped(at(50)).unwrap();
    let told: Vec<_> = found
        .iter()
        .map(|one| (one.alert.0, one.first, one.last, one.changes, one.withheld, one.observed))
        .collect();
    assert_eq!(told, [(1, at(100), at(150), 8, 4, false), (2, at(130), at(130), 5, 2, true)]);
    assert_eq!(all, 2);
}
