//! The documents: their examples load, and their links lead somewhere.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::repository::{place, read};
use crate::tools;

fn squelch(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_squelch")).args(args).output().unwrap()
}

/// The fenced blocks of `language`.
pub fn blocks<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
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

/// The Markdown files of `folder` and of the folders in it.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(pages(&path));
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The targets of the Markdown links in `text`.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap())
}

/// Markdown links to files of this repository, with the file that holds the link.
fn links() -> Vec<(PathBuf, String)> {
    let files = std::fs::read_dir(place("")).unwrap().map(|file| file.unwrap().path());
    let mut documents: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    documents.extend(pages(&place("docs")));
    let mut found = Vec::new();
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        let local = targets(&text).filter(|target| !target.contains("://"));
        found.extend(local.map(|target| (document.clone(), target.to_owned())));
    }
    found
}

/// The anchor that a site makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn every_link_in_a_document_leads_to_a_file() {
    let links = links();
    assert!(links.len() > 100, "{} links were found", links.len());
    for (document, target) in links {
        let (file, section) = target.split_once('#').unwrap_or((target.as_str(), ""));
        let file = match file {
            "" => document.clone(),
            file => document.parent().unwrap().join(file),
        };
        assert!(file.exists(), "{} links to {target}", document.display());
        if !section.is_empty() {
            let text = std::fs::read_to_string(&file).unwrap();
            let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
            let found =
                headings.map(|line| anchor(line.trim_start_matches('#').trim())).any(|a| a == section);
            assert!(found, "{} links to {target}, and there is no such section", document.display());
        }
    }
}

/// The YAML blocks of a document, each without the indentation of its fence.
fn yaml_blocks(document: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(indentation) = line.strip_suffix("```yaml") else { continue };
        let block = lines.by_ref().take_while(|line| line.trim() != "```");
        let block = block.map(|line| line.strip_prefix(indentation).unwrap_or(line));
        found.push(block.map(|line| format!("{line}\n")).collect());
    }
    found
}

/// The keys at the top of a YAML block.
fn top_keys(block: &str) -> Vec<&str> {
    let keys = block.lines().filter_map(|line| line.split_once(':')).map(|(key, _)| key);
    keys.filter(|key| !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')).collect()
}

/// The configuration that `block` is a part of: with a route, and with every receiver that it names.
fn completed(block: &str) -> String {
    let mut whole = block.to_owned();
    let keys = top_keys(block);
    if !keys.contains(&"receivers") {
        let after = |key: &str| -> Vec<String> {
            let named = block.split(key).skip(1);
            named.map(|rest| rest.split([',', '}', '\n']).next().unwrap().trim().to_owned()).collect()
        };
        let mut names = [after("receiver: "), after("escalate_to: ")].concat();
        names.push("console".to_owned());
        names.sort_unstable();
        names.dedup();
        whole.push_str("receivers:\n");
        whole.extend(names.iter().map(|name| format!("  - name: {name}\n")));
    }
    if !keys.contains(&"route") {
        let receivers = whole.split("receivers:\n").nth(1).unwrap();
        let name = receivers.split("- name: ").nth(1).unwrap().lines().next().unwrap().to_owned();
        whole.push_str(&format!("route: {{receiver: {name}}}\n"));
    }
    whole
}

#[test]
fn the_configurations_in_the_documents_are_valid() {
    let reference = read("docs/reference/configuration.md");
    let row = reference.lines().find(|line| line.starts_with("| the configuration |")).unwrap();
    let sections: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
    let docs = place("docs");
    let folder = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for page in pages(&docs) {
        for (i, block) in yaml_blocks(&std::fs::read_to_string(&page).unwrap()).iter().enumerate() {
            let keys = top_keys(block);
            if keys.is_empty() || !keys.iter().all(|key| sections.contains(key)) {
                continue;
            }
            let file = folder.path().join("squelch.yml");
            std::fs::write(&file, completed(block)).unwrap();
            let ran = squelch(&["check-config", file.to_str().unwrap()]);
            let said = String::from_utf8(ran.stdout).unwrap();
            assert!(ran.status.success(), "block {i} of {}:\n{block}\n{said}", page.display());
            checked += 1;
        }
    }
    assert!(checked > 30, "only {checked} configurations were found");
}
