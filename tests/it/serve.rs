//! The program from its start: its output on the way up, and its errors when it cannot start.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A server that is killed when the test ends.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squelch"));
    command.args(["serve", "--config.file=squelch.yml", "--web.listen-address=127.0.0.1:0"]);
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The log up to the line that contains `last`.
fn log_until(serving: &mut Serving, last: &str) -> Vec<String> {
    let stderr = serving.0.stderr.take().unwrap();
    let (lines, read) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
    });
    let mut log = Vec::new();
    while !log.last().is_some_and(|line: &String| line.contains(last)) {
        match read.recv_timeout(Duration::from_secs(20)) {
            Ok(line) => log.push(line),
            Err(error) => panic!("{error} before {last:?}: {log:#?}"),
        }
    }
    log
}

#[test]
fn a_secret_that_is_missing_is_said_at_the_start_and_keeps_nobody_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        "route: {receiver: a}\nreceivers:\n  - name: a\n    pagerduty_configs: [{routing_key_file: key}]\n";
    std::fs::write(folder.path().join("squelch.yml"), text).unwrap();
    let mut serving = Serving(serve(folder.path()).spawn().unwrap());
    let log = log_until(&mut serving, "msg=listening");
    let warned: Vec<&String> = log.iter().filter(|line| line.contains("level=WARN")).collect();
    let has = |words: &str| warned.iter().filter(|line| line.contains(words)).count();
    assert_eq!((warned.len(), has("secret file key"), has("Nothing can be sent")), (2, 1, 1), "{log:#?}");
    assert_eq!(has("notifications carry no links: write --web.external-url"), 1, "{log:#?}");
}

#[test]
fn a_second_server_on_the_same_storage_says_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = "route: {receiver: a}\nreceivers: [{name: a}]\n";
    std::fs::write(folder.path().join("squelch.yml"), text).unwrap();
    let mut serving = Serving(serve(folder.path()).spawn().unwrap());
    log_until(&mut serving, "msg=listening");
    let second = serve(folder.path()).output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{said}");
    let owner = format!("another process (pid {}) uses it", serving.0.id());
    assert!(said.contains(&owner), "{said}");
}
