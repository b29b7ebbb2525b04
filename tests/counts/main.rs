//! The cost of parsing, deciding, committing and rendering, in instructions. Times differ from run to run
//! and from machine to machine, and instructions do not.
//!
//! Each piece of work runs in a process of its own under `valgrind --tool=callgrind`. Its count is compared
//! with `counts.json` beside this file. It fails if it is more than [`SLACK`] per cent off, either way.
//! `UPDATE_COUNTS=1 cargo test --test counts` writes the counts. Read the difference. Without valgrind
//! nothing is counted. The counts are those of the compiler named there. Another compiler is reported, and
//! nothing fails.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that cannot go on fails")]

mod work;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Per cent.
const SLACK: u64 = 5;

/// Which work a child of this process does, and how often.
const WORK: &str = "SQUELCH_COUNT";

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Counts {
    /// `rustc --version`.
    compiler: String,
    /// Instructions for one alert, by the work.
    instructions: BTreeMap<String, u64>,
}

fn main() -> ExitCode {
    if let Some(asked) = std::env::var_os(WORK) {
        let asked = asked.into_string().unwrap();
        let (name, rounds) = asked.split_once(' ').unwrap();
        work::run(name, rounds.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    let names: Vec<&str> = work::ALL.iter().map(|(name, _)| *name).filter(|name| wanted(name)).collect();
    if std::env::args().any(|argument| argument == "--list") {
        names.iter().for_each(|name| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", names.len());
    let failed = check(&names);
    let outcome = if failed == 0 { "ok" } else { "FAILED" };
    let passed = names.len() - failed;
    println!(
        "\ntest result: {outcome}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    ExitCode::from(u8::from(failed > 0))
}

/// Whether the words of the command line, if there are any, ask for this work.
fn wanted(name: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    words.peek().is_none() || words.any(|word| name.contains(&word))
}

/// Counts each piece of work, and returns how many of them cost more or less than they should.
fn check(names: &[&str]) -> usize {
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|o| o.status.success()) {
        assert!(std::env::var_os("SQUELCH_TESTS_NEED_TOOLS").is_none(), "valgrind is missing");
        println!("valgrind is missing: nothing is counted");
        return 0;
    }
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/counts/counts.json");
    let known: Counts = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let update = std::env::var_os("UPDATE_COUNTS").is_some();
    let compiler = compiler();
    if known.compiler != compiler {
        println!("counted with {compiler}; the figures kept are of {}", known.compiler);
    }
    let mut found = Counts { compiler, instructions: known.instructions.clone() };
    let mut failed = 0;
    for name in names {
        let count = count(name);
        let before = known.instructions.get(*name).copied().unwrap_or(0);
        let off = count.abs_diff(before) * 100 > before * SLACK;
        let change = (count as f64 / before.max(1) as f64 - 1.0) * 100.0;
        let verdict = match off && known.compiler == found.compiler && !update {
            true => "FAILED",
            false => "ok",
        };
        println!("test {name} ... {verdict}: {count} instructions an alert, {change:+.1} % of {before}");
        failed += usize::from(verdict == "FAILED");
        found.instructions.insert((*name).to_owned(), count);
    }
    if update {
        let text = serde_json::to_string_pretty(&found).unwrap();
        std::fs::write(&file, format!("{text}\n")).unwrap();
    }
    failed
}

/// Instructions for one alert: the difference between much work and little, so that the start of the process
/// counts for nothing.
fn count(name: &str) -> u64 {
    let (_, rounds) = work::ALL.iter().find(|(known, _)| known == &name).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [little, much] = [1, 1 + rounds].map(|rounds| instructions(name, rounds, folder.path()));
    (much - little) / (rounds * work::ALERTS)
}

fn instructions(name: &str, rounds: u64, folder: &Path) -> u64 {
    let out = folder.join(rounds.to_string());
    let done = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--combine-dumps=yes"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().unwrap())
        .env(WORK, format!("{name} {rounds}"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
    if let Some(keep) = std::env::var_os("SQUELCH_KEEP_CALLGRIND") {
        std::fs::copy(&out, PathBuf::from(keep).join(format!("callgrind.{name}.{rounds}"))).unwrap();
    }
    let text = std::fs::read_to_string(out).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("summary: ")).unwrap();
    total.trim().parse().unwrap()
}

fn compiler() -> String {
    let told = Command::new(option_env!("RUSTC").unwrap_or("rustc")).arg("--version").output().unwrap();
    String::from_utf8(told.stdout).unwrap().trim().to_owned()
}
