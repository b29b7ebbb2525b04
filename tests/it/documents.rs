//! The documents: their examples load, and their links lead somewhere.

use std::path::{Path, PathBuf};
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
}

/// Markdown links to files of this repository, with the file that holds the link.
fn links() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents: Vec<PathBuf> = Vec::new();
    for folder in ["", "docs", "docs/reference"] {
        let files = std::fs::read_dir(root.join(folder)).unwrap().map(|file| file.unwrap().path());
        documents.extend(files.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    let mut found = Vec::new();
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for rest in text.split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.contains("://") {
                found.push((document.clone(), target.to_owned()));
            }
        }
    }
    found
}

#[test]
fn every_link_in_a_document_leads_to_a_file() {
    let links = links();
    assert!(links.len() > 5, "{} links were found", links.len());
    for (document, target) in links {
        let file = document.parent().unwrap().join(&target);
        assert!(file.exists(), "{} links to {target}", document.display());
    }
}
