//! The work that is counted: the cost of one request after another, each of [`ALERTS`] alerts.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use squelch::config::{self, Config};
use squelch::deliver::{DeliveryMeter, DeliveryOptions, Transport};
use squelch::engine::{Effects, Engine, Event};
use squelch::ingest::{api_v2, webhook};
use squelch::journal::{Commit, Journal, Record, SqliteJournal};
use squelch::model::{Batch, Duration, Kind, Notification, Timestamp};

/// Alerts in one request.
pub const ALERTS: u64 = 10;

/// Each work, and how many requests are counted. Their input is read first.
pub const ALL: [(&str, u64); 10] = [
    ("parse_api_v2", 200),
    ("parse_webhook", 200),
    ("decide_new", 200),
    ("decide_repeats", 400),
    ("decide_resolved", 200),
    ("tick_among_ten", 400),
    ("tick_among_two_thousand", 400),
    ("commit", 100),
    ("snapshot", 200),
    ("render", 200),
];

/// Does it `rounds` times.
pub fn run(name: &str, rounds: u64) {
    match name {
        "parse_api_v2" => (0..rounds).for_each(|round| drop(black_box(read(round, false)))),
        "parse_webhook" => (0..rounds).for_each(|round| {
            let body = format!(r#"{{"version":"4","groupKey":"{{}}:{{}}","alerts":{}}}"#, body(round, true));
            drop(black_box(
                webhook::parse(body.as_bytes(), "10.0.0.1", now(round), &Default::default()).unwrap(),
            ));
        }),
        "decide_new" => drop(black_box(decided(rounds, |_| {}))),
        "decide_repeats" => {
            let (mut engine, batch) = (decided(1, |_| {}), read(0, false));
            for round in 0..rounds {
                let repeats = engine.query().repeats(&batch).unwrap();
                engine.handle(now(round), &Event::Repeats(repeats), &mut Effects::default());
            }
        }
        "decide_resolved" => {
            let mut engine = decided(rounds, |_| {});
            for round in 0..rounds {
                let batch = Event::Observe(read(round, true));
                engine.handle(now(round) + Duration::from_mins(2), &batch, &mut Effects::default());
            }
        }
        "tick_among_ten" => ticks(1, rounds),
        "tick_among_two_thousand" => ticks(200, rounds),
        "commit" => commit(rounds),
        "snapshot" => {
            let engine = decided(rounds, |_| {});
            let bytes = engine.snapshot();
            assert_eq!(Engine::restore(&bytes).unwrap(), engine);
        }
        "render" => render(rounds),
        other => panic!("there is no work {other:?}"),
    }
}

/// Lets time pass over ten alerts for each of `bodies`, all of whose timers lie ahead. It measures the cost
/// of the other timers.
fn ticks(bodies: u64, rounds: u64) {
    let mut engine = decided(bodies, |_| {});
    let started = engine.now();
    for round in 0..rounds {
        engine.handle(started + Duration::from_millis(round), &Event::Tick, &mut Effects::default());
    }
}

fn now(round: u64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + round as i64)
}

fn configuration() -> Config {
    let text = "route: {receiver: pager, group_by: [service]}
receivers: [{name: pager, pagerduty_configs: [{routing_key: 0123456789abcdef0123456789abcdef}],
  slack_configs: [{api_url: 'http://127.0.0.1:1/x', channel: '#ops'}], webhook_configs: [{url: 'http://127.0.0.1:1/'}]}]
noise: {default: {storm: {start: 0}, limit: {pages: 0}}}
";
    config::parse(text, "squelch.yml", Path::new(".")).unwrap()
}

/// A request of [`ALERTS`] alerts, new in each round, ten rounds a group.
fn body(round: u64, resolved: bool) -> String {
    let ends = if resolved { "2027-01-15T07:59:59Z" } else { "2027-01-15T08:04:00Z" };
    let status = if resolved { "resolved" } else { "firing" };
    let alert = |id: u64| {
        let group = id / 100;
        format!(
            r#"{{"annotations":{{"description":"More than 5% of the requests failed in the last 5 minutes; see the dashboard of the service.","runbook_url":"https://runbooks.example/service-error-rate-high","summary":"service-{group} answers with errors on instance {id}"}},"endsAt":"{ends}","generatorURL":"http://prometheus.example:9090/graph?g0.expr=errors%7Bgroup%3D{group}%7D","labels":{{"alertname":"ServiceErrorRateHigh","cluster":"eu-1","instance":"10.0.{}.{}:9100","job":"node","namespace":"team-{}","prometheus":"monitoring/k8s","service":"service-{group}","severity":"critical"}},"startsAt":"2027-01-15T07:50:00Z","status":"{status}"}}"#,
            id >> 8,
            id & 255,
            group % 40,
        )
    };
    let alerts: Vec<String> = (round * ALERTS..(round + 1) * ALERTS).map(alert).collect();
    format!("[{}]", alerts.join(","))
}

fn read(round: u64, resolved: bool) -> Batch {
    let body = body(round, resolved);
    api_v2::parse(body.as_bytes(), "10.0.0.1", now(round), Duration::from_mins(5), &Default::default())
        .unwrap()
        .batch
}

/// An engine that has taken `rounds` requests. `each` sees the effects of each.
fn decided(rounds: u64, mut each: impl FnMut(&mut Effects)) -> Engine {
    let mut engine = Engine::new(configuration().policy);
    for round in 0..rounds {
        let mut effects = Effects::default();
        engine.handle(now(round), &Event::Observe(read(round, false)), &mut effects);
        each(&mut effects);
    }
    engine
}

/// As the node does it: an event, and the decisions about it, in one transaction.
fn commit(rounds: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = SqliteJournal::open(folder.path()).unwrap();
    journal.recover().unwrap();
    let mut engine = Engine::new(configuration().policy);
    for round in 0..rounds {
        let (event, mut effects) = (Event::Observe(read(round, false)), Effects::default());
        engine.handle(now(round), &event, &mut effects);
        let event = serde_json::to_vec(&event).unwrap();
        let records = [Record { seq: round + 1, now: now(round), event }];
        let Effects { decisions, history, notifications, .. } = &effects;
        let commit = Commit { records: &records, decisions, history, notifications, ..Commit::default() };
        journal.commit(&commit).unwrap();
    }
}

/// The first page of a group of [`ALERTS`] alerts, for each kind of integration.
fn render(rounds: u64) {
    let (config, options) = (configuration(), DeliveryOptions::default());
    let meter = Arc::new(DeliveryMeter::new(&options.registry).unwrap());
    let make = |integration| Transport::new("pager", integration, &options, meter.clone()).unwrap();
    let transports: Vec<Transport> = config.receivers["pager"].iter().map(make).collect();
    let secrets: [Arc<str>; 1] = ["secret".into()];
    let mut pages: Vec<Notification> = Vec::new();
    decided(1, |effects| pages.append(&mut effects.notifications));
    assert!(pages.len() == transports.len() && pages.iter().all(|n| n.kind == Kind::Page));
    for _ in 0..rounds {
        for (transport, page) in transports.iter().zip(&pages) {
            drop(black_box(transport.request(page, false, &secrets).unwrap()));
        }
    }
}
