//! The report of a recorded fortnight, its suggestions, and the patch that makes them.

use std::path::{Path, PathBuf};
use std::process::Command;

use prometheus::Registry;
use serde_json::Value;
use squelch::config::Config;
use squelch::decision_log::{DecisionLogMeter, Follower};
use squelch::engine::{Acknowledge, Event, IncidentRemark};
use squelch::history::{Candidate, Effort, Past, Progress, Suggestion, backtest, changed, suggest};
use squelch::model::{
    Batch, Duration, LabelSet, Observation, Remark, RemarkContent, Source, Status, Timestamp,
};

use crate::history::Recorder;
use crate::tools;

/// The configuration of the recorded fortnight.
const CONFIG: &str = "
route: {receiver: pager, group_by: [alertname, host], group_wait: 30s, group_interval: 5m}
noise: {default: {budget: {pages: 6, per: 12h}, flapping: {suppress_at: 0}}}
receivers:
  - name: pager
    pagerduty_configs: [{routing_key: 0123456789abcdef0123456789abcdef}]
";

/// Where rules have what the suggestions change.
const RULES: &str = "\
groups:
  - name: hosts # of the shop
    rules:
      # It fills at each backup.
      - alert: DiskFull
        expr: |
          disk_free_ratio
            < 0.05
        # The pager shows these.
        labels: {severity: critical}

      - alert: HighLatency
        expr: latency_seconds > 1
        for: 2m   # after the incident of May
        labels: {severity: critical}
      - alert: PostgresDown
        expr: pg_up == 0
";

fn at(minutes: u64) -> Timestamp {
    Timestamp::parse("2026-11-09T00:00:00Z").unwrap() + Duration::from_mins(minutes)
}

fn config() -> Config {
    squelch::config::parse(CONFIG, "squelch.yml", Path::new("")).unwrap()
}

/// One occurrence of an alert: when it begins, and how many minutes it lasts.
fn occurrence(name: &str, host: &str, start: u64, minutes: u64) -> [Past; 2] {
    let labels = [("alertname", name), ("host", host), ("severity", "critical")];
    let said = |now: u64, status: Status| {
        let one = Observation {
            generator_url: "https://prometheus.example/graph".into(),
            ..Observation::new(
                status,
                LabelSet::from_pairs(labels),
                at(start),
                (status == Status::Resolved).then(|| at(now)),
            )
        };
        let batch = Batch::new(Source::Alertmanager, "http://alertmanager.example", vec![one]);
        Past { at: at(now), event: Event::Observe(batch) }
    };
    [said(start, Status::Firing), said(start + minutes, Status::Resolved)]
}

/// A fortnight of a shop. A disk fills for two minutes at each backup, and for an hour on two days. The
/// latency comes back after pauses of eight minutes. The database is down twice.
fn fortnight() -> Vec<Past> {
    let day = |n: u64| n * 24 * 60;
    let mut all = Vec::new();
    for n in 0..14 {
        for backup in 0..(2 + n % 2) {
            all.extend(occurrence("DiskFull", "db-1", day(n) + 120 + backup * 360, 2));
        }
        if n % 6 == 5 {
            all.extend(occurrence("DiskFull", "db-1", day(n) + 1000, 60));
        }
        if n % 3 == 1 {
            for turn in 0..4 {
                all.extend(occurrence("HighLatency", "web-3", day(n) + 840 + turn * 30, 22));
            }
        }
    }
    for n in [4, 11] {
        all.extend(occurrence("PostgresDown", "db-1", day(n) + 1300, 40));
    }
    all.sort_by_key(|past| past.at);
    all
}

/// Records the fortnight into a storage directory. A person acknowledges the database, and says which pages
/// were useful.
fn record(dir: &Path) -> Follower {
    let mut recorder = Recorder::new(dir, CONFIG);
    for past in fortnight() {
        recorder.pass(past.at);
        recorder.handle(past.at, &past.event);
        let Event::Observe(batch) = &past.event else { continue };
        let one = &batch.observations[0];
        if one.status == Status::Resolved {
            continue;
        }
        let query = squelch::engine::IncidentQuery { limit: 10, ..Default::default() };
        let open = recorder.engine.query().open_incidents(&query).found;
        let is_it =
            |open: &&squelch::engine::OpenIncident| open.alerts.iter().any(|a| a.labels == one.labels);
        let Some(open) = open.iter().find(is_it) else { continue };
        let (incident, key) = (open.number, open.row.standing.incident.clone().unwrap());
        let name = one.labels.value("alertname");
        let soon = past.at + Duration::from_secs(90);
        let says = |said: RemarkContent| {
            let remark = Remark { by: "ada".into(), said };
            Event::Remark(IncidentRemark { incident, key: key.clone(), remark })
        };
        recorder.pass(soon);
        match name {
            "PostgresDown" => {
                let by = Some("ada".into());
                let receivers = vec!["pager".into()];
                recorder.handle(
                    soon,
                    &Event::Acknowledge(Acknowledge { dedup_key: key.clone(), receivers, by, via: None }),
                );
                recorder.handle(soon, &says(RemarkContent::Useful(true)));
            }
            "HighLatency" => recorder.handle(soon, &says(RemarkContent::Useful(false))),
            _ => {}
        }
    }
    recorder.pass(at(15 * 24 * 60));
    let mut follower = Follower::open(dir, DecisionLogMeter::new(&Registry::new()).unwrap()).unwrap();
    while follower.step().unwrap() {}
    follower
}

struct Place {
    dir: tempfile::TempDir,
    _follower: Follower,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("squelch.yml"), CONFIG).unwrap();
        std::fs::write(dir.path().join("rules.yml"), RULES).unwrap();
        let follower = record(&dir.path().join("data"));
        Place { dir, _follower: follower }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn report(&self, args: &[&str]) -> (String, String) {
        let all = ["report", "--storage.path=data", "--config.file=squelch.yml", "--since=7d"];
        let until = "--until=2026-11-23T00:00:00Z";
        let output = Command::new(env!("CARGO_BIN_EXE_squelch"))
            .current_dir(self.dir.path())
            .args(all)
            .arg(until)
            .args(args)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let said = (text(output.stdout), text(output.stderr));
        assert!(output.status.success(), "{}", said.1);
        said
    }
}

#[test]
fn a_report_counts_each_rule_and_compares_with_the_week_before() {
    let place = Place::new();
    let json: Value = serde_json::from_str(&place.report(&["-o=json"]).0).unwrap();
    let rule = |name: &str| {
        let rules = json["alerts"].as_array().unwrap();
        rules.iter().find(|one| one["alertname"] == name).unwrap().clone()
    };
    let numbers = |name: &str| {
        let one = rule(name);
        let answers =
            ["selfResolved", "acknowledged", "rated", "useful"].map(|what| one["answers"][what].clone());
        let own = ["fires", "pages", "pagesBefore", "medianSeconds"].map(|what| one[what].clone());
        [own, answers].concat().iter().map(|n| n.as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers("PostgresDown"), [1, 1, 1, 2520, 0, 1, 1, 1]);
    assert_eq!(numbers("HighLatency"), [12, 12, 8, 1440, 12, 0, 12, 0]);
    assert_eq!(numbers("DiskFull"), [19, 19, 18, 960, 19, 0, 0, 0]);
    assert_eq!((&json["pages"], &json["previous"]["pages"]), (&32.into(), &27.into()));
    let days: Vec<u64> = json["trend"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["answers"]["incidents"].as_u64().unwrap())
        .collect();
    assert_eq!((days.len(), days.iter().sum::<u64>()), (7, 32));
    let text = place.report(&["--by=week"]).0;
    for part in ["Self-resolved", "█", "+18 %", "Pages by week"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// Pages of the history under the configuration, as an ordinary backtest counts them.
fn pages(history: &[Past], config: &Config) -> u64 {
    let trial = Candidate {
        file: "squelch.yml".into(),
        policy: config.policy.clone(),
        times: config.group_times.clone(),
    };
    let past = history.iter().cloned().map(Ok);
    backtest(past, &trial, None, |_| Ok(()), &Progress::default()).unwrap().trial.squelch.pages.pages
}

fn suggestions(history: &[Past], config: &Config) -> Vec<Suggestion> {
    suggest(|| Ok(history.iter().cloned().map(Ok)), &config.policy, Effort::COMMAND).unwrap()
}

/// Each suggestion saves in a backtest what it claims. Returns them.
fn prove(history: &[Past], config: &Config) -> Vec<Suggestion> {
    let (now, suggestions) = (pages(history, config), suggestions(history, config));
    for one in &suggestions {
        let then = changed(|| Ok(history.iter().cloned().map(Ok)), &one.change()).unwrap();
        assert_eq!(now - pages(&then, config), one.fewer, "{one}");
    }
    suggestions
}

#[test]
fn each_suggestion_saves_in_a_backtest_what_it_claims() {
    let said = |all: &[Suggestion]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    let found = prove(&fortnight(), &config());
    assert_eq!(
        said(&found),
        [
            "for: +3m on DiskFull: 35 of 37 pages fewer, each other page 3m later",
            "keep_firing_for: +10m on HighLatency: 15 of 20 pages fewer, no page later, each resolve 10m later",
        ]
    );
    // Under another configuration other pages fall away.
    let damped = CONFIG.replace(", flapping: {suppress_at: 0}", "");
    prove(&fortnight(), &squelch::config::parse(&damped, "squelch.yml", Path::new("")).unwrap());
}

#[test]
fn no_suggestion_loses_the_page_of_a_long_outage() {
    // The latency comes back after twenty minutes, and then it stays for two hours. A longer
    // keep_firing_for would save the second page.
    let mut history = Vec::new();
    for turn in 0..5 {
        let start = turn * 24 * 60;
        history.extend(occurrence("HighLatency", "web-3", start, 3));
        history.extend(occurrence("HighLatency", "web-3", start + 23, 120));
    }
    let found = suggestions(&history, &config());
    assert!(found.is_empty(), "{found:?}");
    // Blips alone have a suggestion.
    history.clear();
    for turn in 0..5 {
        history.extend(occurrence("HighLatency", "web-3", turn * 24 * 60, 3));
    }
    assert_eq!(suggestions(&history, &config()).len(), 1);
}

#[test]
fn the_patch_of_the_rules_is_taken_by_git_and_promtool() {
    let place = Place::new();
    std::fs::write(place.path("other.yml"), "groups: []\n").unwrap();
    let (diff, said) = place.report(&["--rules-patch", "rules.yml", "other.yml"]);
    assert_eq!(said, "");
    assert!(
        diff.contains("+        for: 3m\n") && diff.contains("+        keep_firing_for: 10m\n"),
        "{diff}"
    );
    std::fs::write(place.path("p.diff"), &diff).unwrap();
    let git = |args: &[&str]| {
        let output = Command::new("git").current_dir(place.dir.path()).args(args).output().unwrap();
        assert!(output.status.success(), "{}\n{diff}", String::from_utf8_lossy(&output.stderr));
    };
    git(&["init", "-q"]);
    git(&["apply", "p.diff"]);
    let rules = std::fs::read_to_string(place.path("rules.yml")).unwrap();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (old, new) = (lines(RULES), lines(&rules));
    let added: Vec<&String> = new.iter().filter(|line| !old.contains(line)).collect();
    assert_eq!(added, ["        for: 3m", "        keep_firing_for: 10m"]);
    let kept: Vec<&String> = new.iter().filter(|line| old.contains(line)).collect();
    assert_eq!(kept, old.iter().collect::<Vec<_>>(), "all other lines stay as they were");
    tools::must_pass("promtool", &["check", "rules", place.path("rules.yml").to_str().unwrap()], "");
    let (_, said) = place.report(&["--rules-patch", "other.yml"]);
    assert!(said.contains("No file has the rule DiskFull.") && said.contains("HighLatency"), "{said}");
}

#[test]
fn the_example_reports_are_what_squelch_writes() {
    let place = Place::new();
    let markdown = place.report(&["-o=markdown", "--html=report.html"]).0;
    let html = std::fs::read_to_string(place.path("report.html")).unwrap();
    assert!(!html.contains("<script") && html.contains("prefers-color-scheme"), "it needs no script");
    for (name, text) in [("report.md", markdown), ("report.html", html)] {
        crate::repository::is_golden(format!("docs/examples/{name}"), &text);
    }
}

#[test]
#[ignore = "reads the history that SQUELCH_HISTORY names"]
fn a_history_of_ones_own_proves_its_suggestions() {
    let file = std::env::var("SQUELCH_HISTORY").unwrap();
    let input = std::fs::File::open(file).unwrap();
    let lines = squelch::history::Jsonl::new(squelch::history::decompressed(input).unwrap());
    let history: Vec<Past> = lines.collect::<Result<_, _>>().unwrap();
    let mut config = Config::default();
    config.policy.routes[0].group_by = squelch::config::GroupBy::Labels(vec!["cluster".into()]);
    for one in prove(&history, &config) {
        println!("{one}; lost {}, at most {} s", one.lost, one.longest_lost_seconds);
    }
}
