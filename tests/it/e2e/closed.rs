//! A reader that goes, as `head` does: no command complains, with any output.

use std::process::{Command, Output, Stdio};

use super::sender::{Told, body};
use super::squelch::{Home, PROGRAM};
use super::until;

const CONFIG: &str = "\
route: {receiver: console, group_by: [alertname]}
receivers: [{name: console, console_configs: [{}]}]
";

/// A command that prints, with a reader that has gone already.
fn unread(args: &[String]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    Command::new(PROGRAM).args(args).stdout(Stdio::from(writer)).stderr(Stdio::piped()).output().unwrap()
}

/// The subcommands that `--help` lists.
fn subcommands() -> Vec<String> {
    let help = Command::new(PROGRAM).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let listed = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let names =
        listed.take_while(|line| line.starts_with("  ")).filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_complains_of_a_reader_that_has_gone() {
    let home = Home::new(CONFIG);
    let history = r#"{"at":"2026-01-01T08:00:00Z","alerts":[{"status":"firing","labels":{"alertname":"Down"},"startsAt":"2026-01-01T08:00:00Z"}]}"#;
    std::fs::write(home.path("h.jsonl"), history).unwrap();
    std::fs::write(home.path("test.yml"), TESTS).unwrap();
    let squelch = home.serve().await;
    squelch.hook(&body("http://am-0", &[Told::fires("Down", "host", "a")])).await;
    let url = format!("--url=http://{}", squelch.address);
    // The decision log follows a moment later.
    let explained = async || {
        let args = ["explain", &url, "Down"].map(str::to_owned);
        let output = tokio::task::spawn_blocking(|| Command::new(PROGRAM).args(args).output().unwrap());
        output.await.unwrap().status.success().then_some(())
    };
    until("the decision log has it", explained).await;
    let file = |name: &str| home.path(name).display().to_string();
    let config = format!("--config.file={}", file("squelch.yml"));
    let past = format!("--history={}", file("h.jsonl"));
    let storage = format!("--storage.path={}", file("data"));
    let runs: Vec<(Vec<&str>, i32)> = vec![
        (vec!["alerts", &url], 0),
        (vec!["alerts", &url, "-o=json"], 0),
        (vec!["alerts", &url, "--export"], 0),
        (vec!["alerts", "--export", &storage], 0),
        (vec!["incidents", &url], 0),
        (vec!["explain", &url, "Down"], 0),
        (vec!["silence", "add", &url, "-c=x", "Down"], 0),
        (vec!["silence", "query", &url], 0),
        (vec!["report", &url], 0),
        (vec!["cluster", &url], 0),
        (vec!["storage", "help"], 0),
        (vec!["incident", "help"], 0),
        (vec!["incidents", &url, "--closed"], 0),
        (vec!["backtest", &config, &past], 0),
        (vec!["backtest", &config, &past, "-o=json"], 0),
        (vec!["backtest", &config, &past, "--notifications=-"], 0),
        (vec!["backtest", &config, &past, "--html=-"], 0),
        (vec!["demo", "--fast"], 0),
        (vec!["completion", "bash"], 0),
        (vec!["help"], 0),
    ];
    let files = [file("squelch.yml"), file("test.yml")];
    let mut runs: Vec<(Vec<String>, i32)> =
        runs.into_iter().map(|(args, code)| (args.into_iter().map(str::to_owned).collect(), code)).collect();
    runs.push((vec!["migrate".into(), files[0].clone()], 0));
    // Their status is their result, and the reader has gone.
    runs.push((vec!["check-config".into(), files[0].clone()], 1));
    runs.push((vec!["test".into(), files[1].clone()], 1));

    // `serve` logs, `fake-pager` serves on, and `man` writes files.
    for name in subcommands().iter().filter(|name| !["serve", "fake-pager", "man"].contains(&name.as_str())) {
        assert!(runs.iter().any(|(args, _)| args[0] == *name), "{name} prints, and is not tried here");
    }
    let tried = tokio::task::spawn_blocking(move || {
        for (args, code) in runs {
            let output = unread(&args);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!((said.as_str(), output.status.code()), ("", Some(code)), "{args:?}");
        }
    });
    tried.await.unwrap();
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// An output that is full is different: the result is lost.
#[test]
fn a_full_output_is_a_failure_that_is_named() {
    let home = Home::new(CONFIG);
    let config = home.path("squelch.yml").display().to_string();
    for command in ["migrate", "check-config"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = Command::new(PROGRAM).args([command, &config]).stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("cannot write the output: "), "{command}: {said}");
    }
}

const TESTS: &str = "\
config_file: squelch.yml
tests:
  - name: an alert pages
    input: [{labels: {alertname: Down}, series: F}]
    until: 1m
    expect: [{at: 0m, receiver: console, kind: page}]
";
