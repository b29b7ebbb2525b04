//! A month of 10 million observations: how large the files grow and how fast the decision log answers.

use std::time::Instant;

use prometheus::Registry;
use squelch::config::Location;
use squelch::decision_log::{DecisionLogMeter, DecisionQuery, Follower, Reader};
use squelch::journal::{Commit, Journal, Record, SqliteJournal};
use squelch::model::{
    AlertId, Basis, Decision, Disposition, Duration, LabelSet, Reason, Timestamp, parse_matchers,
};

const ALERTS: u64 = 20_000;
/// One in ten observations is decided by itself. The others are unchanged repeats, counted by the hour.
const DECIDED: u64 = 1_000_000;
const HOURS: u64 = 720;
/// Alerts that fire all the month: 9 million repeats of them.
const FIRING: u64 = 250;

fn labels(n: u64) -> LabelSet {
    let (host, name) = (format!("host-{}.example.net", n % 2_000), format!("Alert{}", n % 60));
    let severity = ["critical", "warning", "info"][n as usize % 3];
    LabelSet::from_pairs([
        ("alertname", name.as_str()),
        ("instance", host.as_str()),
        ("job", "node"),
        ("severity", severity),
        ("part", &n.to_string()),
    ])
}

fn decision(at: Timestamp, n: u64, disposition: Disposition, named: bool) -> Decision {
    Decision {
        at,
        alert: AlertId(u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
        route: format!("{{}}/{{team=\"{}\"}}", n % 8).into(),
        receiver: format!("team-{}", n % 8).into(),
        disposition,
        observed: false,
        count: 1,
        incident: squelch::model::hex(&squelch::model::sha256(&(n / 16).to_be_bytes())).into(),
        cause: squelch::model::Cause::Flapping {
            changes: (n % 40) as u32,
            penalty: n % 9 * 1000 + n % 7 * 100,
            suppress_at: 5000,
            reuse_at: 1000,
        },
        release: Some(at + Duration::from_mins(n % 90)),
        basis: Basis {
            setting: "noise.default.flapping".into(),
            line: 40,
            labels: if named { labels(n) } else { LabelSet::default() },
            starts_at: Some(at - Duration::from_mins(n % 30)),
            ..Basis::default()
        },
    }
}

#[test]
#[ignore = "takes minutes: it gives the figures of docs/decision-log.md"]
fn a_month_of_ten_million_observations() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = SqliteJournal::open(dir.path()).unwrap();
    journal.recover().unwrap();
    let start = Timestamp::parse("2026-10-01T00:00:00Z").unwrap();
    let kinds = [
        Disposition::Page,
        Disposition::Update,
        Disposition::Resolve,
        Disposition::Suppressed(Reason::Flapping),
        Disposition::Suppressed(Reason::Grouped),
        Disposition::Suppressed(Reason::Duplicate),
    ];
    let (mut seq, mut observations, mut n) = (0, 0, 0u64);
    for hour in 0..HOURS {
        let at = start + Duration::from_hours(hour);
        let mut decisions = Vec::new();
        for _ in 0..DECIDED / HOURS {
            n += 1;
            let alert = n.wrapping_mul(2_654_435_761) % ALERTS;
            let kind = kinds[(n / 7) as usize % kinds.len()];
            let at = at + Duration::from_secs(decisions.len() as u64);
            decisions.push(decision(at, alert, kind, hour % 24 == 0));
        }
        for alert in 0..FIRING {
            let mut repeats = decision(at, ALERTS + alert, kinds[5], hour % 24 == 0);
            repeats.at = at + Duration::from_mins(59);
            (repeats.count, repeats.basis.starts_at) = (50, Some(start));
            repeats.basis.repeats_since = Some(at);
            decisions.push(repeats);
        }
        observations += decisions.iter().map(|d| d.count).sum::<u64>();
        seq += 1;
        let records = [Record { seq, now: at + Duration::from_mins(59), event: b"\"tick\"".to_vec() }];
        journal.commit(&Commit { records: &records, decisions: &decisions, ..Commit::default() }).unwrap();
    }
    let written = Instant::now();
    let mut follower = Follower::open(dir.path(), DecisionLogMeter::new(&Registry::new()).unwrap()).unwrap();
    while follower.step().unwrap() {}
    println!("{observations} observations, indexed in {:?}", written.elapsed());
    drop((follower, journal));
    let mut total = 0;
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        let size = file.metadata().unwrap().len();
        println!("{:>12} {}", size, file.file_name().display());
        total += size;
    }
    assert!(total < 2_000_000_000, "{total} bytes");
    let reader = Reader::new(dir.path());
    let matchers = |text: &str| DecisionQuery {
        matchers: parse_matchers(text).unwrap(),
        limit: 100,
        ..DecisionQuery::default()
    };
    let all = || DecisionQuery { limit: 100, ..DecisionQuery::default() };
    let incident = squelch::model::hex(&squelch::model::sha256(&77u64.to_be_bytes()));
    let queries = [
        ("newest 100", all()),
        ("one host", matchers("instance=host-77.example.net")),
        ("one alertname", matchers("alertname=Alert7")),
        ("a third of all", matchers("severity=critical")),
        ("a pattern and a not", matchers("instance=~host-1.*,alertname!=Alert7")),
        ("nothing has it", matchers("alertname=Nothing")),
        ("one incident", DecisionQuery { incident: Some(incident), ..all() }),
        ("one receiver", DecisionQuery { receiver: Some("team-3".into()), ..all() }),
        ("pages", DecisionQuery { dispositions: vec![Disposition::Page], ..all() }),
        (
            "a reason at a receiver",
            DecisionQuery { dispositions: vec![kinds[3]], receiver: Some("team-3".into()), ..all() },
        ),
        (
            "never given",
            DecisionQuery { dispositions: vec![Disposition::Suppressed(Reason::Storm)], ..all() },
        ),
        (
            "an hour weeks ago",
            DecisionQuery {
                since: Some(start + Duration::from_hours(100)),
                until: Some(start + Duration::from_hours(101)),
                ..all()
            },
        ),
        (
            "pages an hour weeks ago",
            DecisionQuery {
                since: Some(start + Duration::from_hours(100)),
                until: Some(start + Duration::from_hours(101)),
                ..DecisionQuery { dispositions: vec![Disposition::Page], ..all() }
            },
        ),
    ];
    for days in [1, 7, 30] {
        let (began, end) = (Instant::now(), start + Duration::from_hours(HOURS));
        let tally = reader.tally(&Location::default(), end - Duration::from_hours(24 * days), end).unwrap();
        let took = began.elapsed().as_secs_f64() * 1000.0;
        println!("{took:>8.1} ms to count {days} days: {} observations, {} pages", tally.came, tally.pages);
    }
    for (what, query) in queries {
        reader.search(&query).unwrap();
        let began = Instant::now();
        let found = reader.search(&query).unwrap().decisions.len();
        println!("{:>8.1} ms {found:>4} {what}", began.elapsed().as_secs_f64() * 1000.0);
    }
}
