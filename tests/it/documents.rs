//! What the documents say of the program, asked of the program.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use crate::tools;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn squelch(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_squelch")).args(args).output().unwrap()
}

/// The fenced blocks of `language`.
fn blocks<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    document.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// `--some.flag` wherever it stands.
fn flags(text: &str) -> BTreeSet<&str> {
    let word = |c: char| c.is_ascii_lowercase() || c == '.' || c == '-';
    text.split(|c| !word(c)).filter(|w| w.starts_with("--") && w.contains('.')).collect()
}

#[test]
fn the_readme_has_every_flag_of_serve_and_no_other() {
    let help = String::from_utf8(squelch(&["serve", "--help"]).stdout).unwrap();
    assert_eq!(flags(&read("README.md")), flags(&help));
}

#[test]
fn the_readme_has_every_command() {
    let help = String::from_utf8(squelch(&["--help"]).stdout).unwrap();
    let (_, listed) = help.split_once("Commands:\n").unwrap();
    let commands = listed.lines().take_while(|l| !l.is_empty()).filter_map(|l| l.split_whitespace().next());
    let readme = read("README.md");
    let (_, section) = readme.split_once("## Commands and flags").unwrap();
    for command in commands.filter(|c| *c != "help") {
        assert!(
            section.contains(&format!("`{command}`")) || section.contains(&format!("`squelch {command}`"))
        );
    }
}

#[test]
fn the_readme_has_every_endpoint_and_no_other() {
    let readme = read("README.md");
    let (_, rest) = readme.split_once("## Endpoints\n").unwrap();
    let table = rest.split("\n## ").next().unwrap();
    let listed: BTreeSet<&str> =
        table.split('`').filter_map(|code| code.split_once(' ')?.1.strip_prefix('/').map(|_| code)).collect();
    let listed: BTreeSet<&str> = listed.iter().map(|code| code.split_once(' ').unwrap().1).collect();
    assert_eq!(listed, squelch::web::paths().into_iter().collect());
}

#[test]
fn the_readmes_configurations_are_valid() {
    let readme = read("README.md");
    let yaml = blocks(&readme, "yaml");
    assert_eq!(yaml.len(), 2, "squelch.yml and alertmanager.yml");
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("squelch.yml"), folder.path().join("alertmanager.yml"));
    std::fs::write(&ours, yaml[0]).unwrap();
    std::fs::write(&theirs, yaml[1]).unwrap();
    std::fs::write(folder.path().join("pagerduty-routing-key"), "0123456789abcdef0123456789abcdef").unwrap();
    let checked = squelch(&["check-config", ours.to_str().unwrap()]);
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success() && !said.contains("Warning"), "{said}");
    tools::must_pass("amtool", &["check-config", theirs.to_str().unwrap()], "");
    for address in ["http://127.0.0.1:9096/alertmanager/webhook", "group_wait: 1s", "group_interval: 15s"] {
        assert!(yaml[1].contains(address), "{address}");
    }
}

/// Files that a document names in backquotes.
#[test]
fn every_file_that_a_document_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/metrics.md"] {
        let text = read(document);
        // Fences would shift which backquotes belong together.
        let prose: String = text.split("```").step_by(2).collect();
        for code in prose.split('`').skip(1).step_by(2) {
            let path = code.trim_end_matches('/');
            let ours = ["src/", "tests/", "config/", "docs/"].iter().any(|top| code.starts_with(top))
                || [".md", "LICENSE", "docker-compose.yml"].iter().any(|end| code.ends_with(end));
            if ours && !code.contains(' ') {
                assert!(root.join(path).exists(), "{document} names {code}");
                named += 1;
            }
        }
    }
    assert!(named > 20, "{named} names were found");
}
