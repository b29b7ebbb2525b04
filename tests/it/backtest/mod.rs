//! `squelch backtest` as a user runs it: files, a journal and a Prometheus in, tables, lines and a page out.

mod figures;
mod page;
mod prometheus;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use squelch::engine::Event;
use squelch::journal::{Commit, Journal, Record, SqliteJournal};
use squelch::model::{Batch, LabelSet, Observation, Source, Status, Timestamp};

const CONFIG: &str =
    "route: {receiver: a, group_by: [cluster]}\nreceivers: [{name: a, console_configs: [{}]}]\n";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Place(tempfile::tempdir().unwrap());
        place.write("squelch.yml", CONFIG.as_bytes());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn backtest(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_squelch"));
        command.current_dir(self.0.path()).arg("backtest").args(args).output().unwrap()
    }

    fn report(&self, args: &[&str]) -> Value {
        let output = self.backtest(&[args, &["-o", "json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn line(at: &str, status: &str, instance: &str, started: &str) -> String {
    let labels = json!({"alertname": "Down", "cluster": "c", "instance": instance, "severity": "critical"});
    let ends = if status == "firing" { "0001-01-01T00:00:00Z" } else { at };
    let alert =
        json!({"status": status, "labels": labels, "annotations": {}, "startsAt": started, "endsAt": ends});
    format!("{}\n", json!({"at": at, "alerts": [alert]}))
}

/// Two alerts of one cluster, a minute apart, and an hour later one of them again.
fn history() -> String {
    let (one, two, three) = ("2026-01-01T08:00:00Z", "2026-01-01T08:01:00Z", "2026-01-01T09:00:00Z");
    [
        line(one, "firing", "x", one),
        line(two, "firing", "y", two),
        line("2026-01-01T08:20:00Z", "resolved", "x", one),
        line("2026-01-01T08:20:00Z", "resolved", "y", two),
        line(three, "firing", "x", three),
        line("2026-01-01T09:10:00Z", "resolved", "x", three),
    ]
    .concat()
}

fn pages(report: &Value) -> [u64; 3] {
    ["every_firing", "alertmanager", "squelch"].map(|what| report[what]["pages"].as_u64().unwrap())
}

#[test]
fn counts_pages_before_and_after_and_writes_what_was_sent() {
    let place = Place::new();
    place.write("h.jsonl", history().as_bytes());
    let args = ["--history", "h.jsonl", "--notifications", "n.jsonl"];
    let report = place.report(&args);
    assert_eq!(pages(&report), [3, 2, 2]);
    assert_eq!(report["alertmanager"]["delay"]["p50_seconds"], 30.0);
    assert_eq!(report["squelch"]["delay"]["max_seconds"], 0.0);
    assert_eq!(report["squelch"]["by_hour"][9], 1);
    assert_eq!(report["history"]["observations"], 6);

    let written = std::fs::read_to_string(place.path("n.jsonl")).unwrap();
    let sent: Vec<Value> = written.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let kinds: Vec<&str> = sent.iter().map(|n| n["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["page", "update", "update", "resolve", "page", "resolve"], "{written}");
    assert_eq!(sent[0]["at"], "2026-01-01T08:00:00Z");
    assert_eq!(sent[1]["alerts"][0]["labels"]["instance"], "y", "an update names what it added");
    assert_eq!(sent[1]["alerts"].as_array().unwrap().len(), 1);
    assert_eq!(sent[0]["incident"], sent[3]["incident"]);
    assert_ne!(sent[0]["incident"], sent[4]["incident"]);

    let text = place.backtest(&args[..2]);
    let text = String::from_utf8(text.stdout).unwrap();
    for expected in ["6 observations from", "every firing", "Down ", "09:00 ", "█"] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
}

#[test]
fn a_page_counts_what_recovered_while_it_waited() {
    let place = Place::new();
    let wait = "noise: {default: {wait: 2m, flapping: {suppress_at: 0}}}\n";
    place.write("squelch.yml", [CONFIG, wait].concat().as_bytes());
    let warning =
        |at, status, instance, started| line(at, status, instance, started).replace("critical", "warning");
    let (x, y) = ("2026-01-01T08:00:00Z", "2026-01-01T08:01:00Z");
    let history = [
        warning(x, "firing", "x", x),
        warning("2026-01-01T08:00:30Z", "resolved", "x", x),
        warning(y, "firing", "y", y),
        warning("2026-01-01T08:30:00Z", "resolved", "y", y),
    ];
    place.write("h.jsonl", history.concat().as_bytes());
    let report = place.report(&["--history", "h.jsonl", "--notifications", "n.jsonl"]);
    assert_eq!(report["squelch"]["pages"], 1);
    let written = std::fs::read_to_string(place.path("n.jsonl")).unwrap();
    let page: Value = serde_json::from_str(written.lines().next().unwrap()).unwrap();
    let told: Vec<&str> = page["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["labels"]["instance"].as_str().unwrap())
        .collect();
    assert_eq!((page["kind"].as_str(), told), (Some("page"), vec!["y", "x"]), "{written}");
}

#[test]
fn gzip_gives_the_same_report_byte_for_byte() {
    let place = Place::new();
    place.write("h.jsonl", history().as_bytes());
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(history().as_bytes()).unwrap();
    place.write("h.jsonl.gz", &gz.finish().unwrap());
    assert_eq!(place.report(&["--history", "h.jsonl"]), place.report(&["--history", "h.jsonl.gz"]));
}

#[test]
fn says_what_another_configuration_would_change() {
    let place = Place::new();
    place.write("h.jsonl", history().as_bytes());
    place.write("fine.yml", CONFIG.replace("cluster", "instance").as_bytes());
    let report = place.report(&["--history", "h.jsonl", "--against", "fine.yml"]);
    let difference = &report["against"]["difference"];
    assert_eq!(report["against"]["squelch"]["pages"], 3);
    assert_eq!((&difference["same"], &difference["quiet"]["pages"]), (&json!(2), &json!(1)), "{difference}");
    assert_eq!(difference["lost"]["pages"], 0);
    let back = place.report(&["--config.file=fine.yml", "--history=h.jsonl", "--against=squelch.yml"]);
    assert_eq!(back["against"]["difference"]["gained"]["pages"], 1, "{back}");
}

#[test]
fn what_is_wrong_is_named_and_fails() {
    let place = Place::new();
    place.write("h.jsonl", format!("{}{{\n", history()).as_bytes());
    let output = place.backtest(&["--history", "h.jsonl"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("h.jsonl: line 7: "), "{said}");
    assert_eq!(place.backtest(&[]).status.code(), Some(2), "no history named");
    assert_eq!(place.backtest(&["--storage.path", "none"]).status.code(), Some(1));
    assert!(!Path::new(&place.path("none")).exists(), "reading made a directory");
}

#[test]
fn a_journal_is_read_while_its_server_holds_it() {
    let place = Place::new();
    let data = place.path("data");
    let mut journal = SqliteJournal::open(&data).unwrap();
    journal.recover().unwrap();
    for (seq, status) in [(1u64, Status::Firing), (2, Status::Resolved)] {
        let now = Timestamp::from_millis(1_767_571_200_000 + seq as i64 * 60_000);
        let observation = Observation::new(
            status,
            LabelSet::from_pairs([("alertname", "Down"), ("cluster", "c")]),
            Timestamp::from_millis(1_767_571_260_000),
            (status == Status::Resolved).then_some(now),
        );
        let batch = Batch::new(Source::Alertmanager, "am", vec![observation]);
        let event = serde_json::to_vec(&Event::Observe(batch)).unwrap();
        let records = [Record { seq, now, event }];
        journal.commit(&Commit { records: &records, ..Commit::default() }).unwrap();
    }
    let report = place.report(&["--storage.path", "data"]);
    assert_eq!((pages(&report), &report["squelch"]["resolves"]), ([1, 1, 1], &json!(1)), "{report}");
    drop(journal);
    assert_eq!(pages(&place.report(&["--storage.path", "data"])), [1, 1, 1], "and without a server");
    // The owner finds all as it left it.
    assert_eq!(SqliteJournal::open(&data).unwrap().recover().unwrap().records.len(), 2);
}

#[test]
fn writes_digests_with_what_was_held_back_though_it_recovered() {
    let place = Place::new();
    let held = "severities: {levels: [{name: critical, hold: 5m}]}\nnoise: {default: {digest: 30m}}\n";
    place.write("squelch.yml", format!("{CONFIG}{held}").as_bytes());
    let (one, two) = ("2026-01-01T08:00:00Z", "2026-01-01T09:00:00Z");
    let history = [
        line(one, "firing", "x", one),
        line("2026-01-01T08:01:00Z", "resolved", "x", one),
        line(two, "firing", "y", two),
    ];
    place.write("h.jsonl", history.concat().as_bytes());
    let report = place.report(&["--history", "h.jsonl", "--notifications", "n.jsonl"]);
    assert_eq!(
        (report["squelch"]["digests"].clone(), report["squelch"]["pages"].clone()),
        (1.into(), 1.into())
    );
    let sent = std::fs::read_to_string(place.path("n.jsonl")).unwrap();
    let sent: Vec<Value> = sent.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let first = &sent[0];
    assert_eq!(
        (first["at"].clone(), first["kind"].clone()),
        ("2026-01-01T08:31:00Z".into(), "digest".into())
    );
    assert_eq!(first["alerts"][0]["labels"]["instance"], "x");
    assert_eq!(first["alerts"][0]["startsAt"], one);
    // An alert in a digest is still new to a person who is paged about it.
    assert_eq!(sent[1]["kind"], "page");
}
