//! The first lines of the report, its counts, and how it names files.

use serde_json::{Value, json};

use super::{CONFIG, Place, history, line, pages};

fn text(place: &Place, args: &[&str]) -> String {
    let output = place.backtest(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// One cluster in trouble for an hour: critical x, warning y after 4 minutes, and critical z after 40.
fn long_trouble() -> String {
    let at = |minute: u32| format!("2026-01-01T08:{minute:02}:00Z");
    let warning = line(&at(4), "firing", "y", &at(4)).replace("critical", "warning");
    let (x, z) = (line(&at(0), "firing", "x", &at(0)), line(&at(40), "firing", "z", &at(40)));
    let end = |instance, start: u32| line("2026-01-01T09:00:00Z", "resolved", instance, &at(start));
    [x, warning, z, end("x", 0), end("y", 4).replace("critical", "warning"), end("z", 40)].concat()
}

#[test]
fn the_verdict_stands_first_and_names_what_grouping_swallows() {
    let place = Place::new();
    place.write("h.jsonl", long_trouble().as_bytes());
    let report = place.report(&["--history=h.jsonl"]);
    // Alertmanager keeps one incident open for the hour. To Squelch, z is another problem.
    assert_eq!(pages(&report), [3, 1, 2], "{report}");
    let figures = |side: &str, level: usize| {
        let one = &report[side]["by_severity"][level];
        let names = ["firings", "pages", "paged", "joined", "swallowed", "not_notified", "later", "never"];
        names.map(|name| one[name].as_u64().unwrap())
    };
    assert_eq!(report["alertmanager"]["by_severity"][0]["severity"], "critical");
    assert_eq!(figures("alertmanager", 0), [2, 1, 1, 0, 1, 0, 0, 0]);
    assert_eq!(figures("squelch", 0), [2, 2, 2, 0, 0, 0, 0, 0]);
    assert_eq!(figures("alertmanager", 1), [1, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(figures("squelch", 1), [1, 0, 0, 1, 0, 0, 0, 0]);
    // Alertmanager notifies of y when it looks again, 5 minutes after its first page.
    assert_eq!(report["alertmanager"]["by_severity"][1]["delay"]["max_seconds"], 90.0);
    assert_eq!(report["squelch"]["by_severity"][0]["delay"]["max_seconds"], 0.0);

    let verdict = "100 % more pages than today (2 instead of 1). 0 critical alerts come later. 1 alert joined an open incident.";
    let swallowed =
        "Alerts first listed in the update of an incident older than 15m: 1 today, 0 with Squelch.";
    assert_eq!(report["verdict"], verdict);
    let text = text(&place, &["--history=h.jsonl"]);
    assert!(text.starts_with(&format!("{verdict}\n{swallowed}\n\n6 observations")), "{text}");
}

#[test]
fn today_is_the_grouping_of_the_file_with_its_own_times() {
    let place = Place::new();
    let at = |second: u32| format!("2026-01-01T08:00:{second:02}Z");
    let history = [line(&at(0), "firing", "x", &at(0)), line(&at(20), "resolved", "x", &at(0))];
    place.write("h.jsonl", history.concat().as_bytes());
    let before = |wait: &str| {
        let times = format!("group_by: [cluster], {wait}");
        place.write("squelch.yml", CONFIG.replace("group_by: [cluster]", &times).as_bytes());
        place.report(&["--history=h.jsonl"])["alertmanager"]["pages"].clone()
    };
    // Alertmanager looks at 08:00:30, when the alert has resolved, or at 08:00:10.
    assert_eq!(before("group_interval: 1m"), 0);
    assert_eq!(before("group_wait: 10s"), 1);
}

#[test]
fn a_critical_alert_that_is_told_later_is_in_the_verdict() {
    let place = Place::new();
    place.write("h.jsonl", history().as_bytes());
    let held = "severities: {levels: [{name: critical, hold: 5m}]}\n";
    place.write("squelch.yml", [CONFIG, held].concat().as_bytes());
    let report = place.report(&["--history=h.jsonl"]);
    let critical = &report["squelch"]["by_severity"][0];
    assert_eq!(critical["later"], 3, "{critical}");
    assert!(
        report["verdict"].as_str().unwrap().contains(". 3 critical alerts come later. "),
        "{}",
        report["verdict"]
    );
}

#[test]
fn a_profile_is_tried_on_every_route_without_an_edit() {
    let place = Place::new();
    place.write("h.jsonl", history().as_bytes());
    let slow = "noise: {slow: {wait: 10m}}\n";
    place.write("squelch.yml", [CONFIG, slow].concat().as_bytes());
    let warnings = history().replace("critical", "warning");
    place.write("h.jsonl", warnings.as_bytes());
    let first = |args: &[&str]| {
        place.report(&[&["--history=h.jsonl", "--notifications=n.jsonl"], args].concat());
        let sent = std::fs::read_to_string(place.path("n.jsonl")).unwrap();
        let first: Value = serde_json::from_str(sent.lines().next().unwrap()).unwrap();
        first["at"].clone()
    };
    assert_eq!(first(&[]), "2026-01-01T08:00:00Z");
    assert_eq!(first(&["--noise=slow"]), "2026-01-01T08:10:00Z");
    let unknown = place.backtest(&["--history=h.jsonl", "--noise=calmest"]);
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert_eq!(unknown.status.code(), Some(1), "{said}");
    for part in ["--noise: noise profile \"calmest\" is not defined", "default", "slow"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let text = text(&place, &["--history=h.jsonl", "--noise=slow", "--against=squelch.yml"]);
    assert!(
        text.contains("Squelch, squelch.yml, noise slow") && text.contains("\nSquelch, squelch.yml: "),
        "{text}"
    );
}

#[test]
fn both_files_are_named_in_every_table() {
    let place = Place::new();
    place.write("h.jsonl", history().as_bytes());
    place.write("fine.yml", CONFIG.replace("cluster", "instance").as_bytes());
    let text = text(&place, &["--history=h.jsonl", "--against=fine.yml"]);
    let tables: Vec<&str> = text.split("\n\n").collect();
    assert!(tables[0].contains("\nfine.yml: ") && tables[0].starts_with("squelch.yml: "), "{text}");
    for title in ["p90", "severity", "pages by alertname", "hour (UTC)", " pages are the same"] {
        let table = tables.iter().find(|table| table.lines().next().unwrap().contains(title));
        let table = table.unwrap_or_else(|| panic!("{title} in\n{text}"));
        assert!(table.contains("squelch.yml") && table.contains("fine.yml"), "{title}: {table}");
    }
    let report = place.report(&["--history=h.jsonl", "--against=fine.yml"]);
    assert_eq!((&report["file"], &report["against"]["file"]), (&json!("squelch.yml"), &json!("fine.yml")));
}

#[test]
fn nothing_is_told_of_the_progress_where_no_person_reads_it() {
    let place = Place::new();
    place.write("h.jsonl", history().as_bytes());
    let output = place.backtest(&["--history=h.jsonl"]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    let help = String::from_utf8(place.backtest(&["--help"]).stdout).unwrap();
    assert!(
        help.contains("Examples:") && help.contains("squelch backtest --history=alerts.jsonl.gz"),
        "{help}"
    );
}
