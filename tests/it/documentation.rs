//! `docs/reference/`: written from the program. `SQUELCH_WRITE_DOCS=1` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use squelch::node::REPLICA_METRICS;
use squelch::{config, web};

use crate::exposition::{fresh, parse};
use crate::repository::is_written;

#[test]
fn every_metric_is_in_the_reference() {
    let mut page =
        "# Metrics\n\nThe program writes this page. [metrics.md](../metrics.md) says how to read it.\n\n\
                    | metric | type | labels | meaning |\n| --- | --- | --- | --- |\n"
            .to_owned();
    // A process without a cluster shows no series of replicas.
    let mut rows = BTreeMap::from(
        REPLICA_METRICS.map(|(name, help)| (name.to_owned(), format!("gauge | `replica` | {help}"))),
    );
    for (name, family) in parse(fresh()) {
        let labels: Vec<String> =
            family.labels().into_iter().filter(|l| *l != "le").map(|l| format!("`{l}`")).collect();
        let (kind, labels) = (&family.kind[0], labels.join(", "));
        rows.insert(name, format!("{kind} | {labels} | {}", family.help[0]));
    }
    for (name, row) in rows {
        let _ = writeln!(page, "| `{name}` | {row} |");
    }
    is_written("docs/reference/metrics.md", &page);
    for (file, text) in sources("src") {
        let of_metrics = text.contains("prometheus::");
        let is_name = |text: &&str| {
            text.starts_with("squelch_") && text.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric())
        };
        for name in text.split('"').filter(|_| of_metrics).filter(is_name) {
            assert!(page.contains(&format!("`{name}`")), "{file}: {name} is not in the reference");
        }
    }
}

/// The source files below a folder.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
        let path = format!("{folder}/{}", entry.as_ref().unwrap().file_name().into_string().unwrap());
        match entry.unwrap().file_type().unwrap().is_dir() {
            true => found.extend(sources(&path)),
            false => found.push((path.clone(), std::fs::read_to_string(&path).unwrap_or_default())),
        }
    }
    found
}

/// A configuration with each section once. A value that is missing or wrong changes no key.
const SECTIONS: &str = include_str!("../data/config/sections.txt");

#[test]
fn every_configuration_key_is_in_the_reference() {
    let mut page =
        "# Configuration keys\n\nThe program writes this page. `config/squelch.yml` explains the keys and \
                    has their defaults.\n\n| section | keys |\n| --- | --- |\n"
            .to_owned();
    let sections = config::keys(SECTIONS).unwrap();
    for (section, keys) in &sections {
        let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
        let _ = writeln!(page, "| {section} | {} |", keys.join(", "));
    }
    for kind in squelch::receivers::TYPES {
        assert!(sections.contains_key(kind.list), "tests/data/config/sections.txt has no {}", kind.list);
    }
    for key in &sections["the configuration"] {
        assert!(SECTIONS.contains(&format!("{key}:")), "tests/data/config/sections.txt has no {key}");
    }
    is_written("docs/reference/configuration.md", &page);
}

/// A key is worth its place only if people set it to different values with a measured difference.
#[test]
fn a_noise_profile_has_at_most_25_leaf_keys() {
    let sections = config::keys(SECTIONS).unwrap();
    let profile = &sections["noise profile \"NAME\""];
    let leaves = profile.iter().flat_map(|key| match sections.get(*key) {
        Some(keys) => keys.iter().map(|leaf| format!("{key}.{leaf}")).collect(),
        None => vec![(*key).to_owned()],
    });
    let leaves: Vec<String> = leaves.collect();
    assert!(leaves.len() <= 25, "a noise profile has {} leaf keys: {}", leaves.len(), leaves.join(", "));
}

#[test]
fn every_endpoint_is_in_the_reference() {
    let mut page =
        "# Endpoints\n\nThe program writes this page. [api.md](../api.md) says how to use API v1, whose \
                    full description is at `GET /api/v1/openapi.json`.\n\n## API v1\n\n\
                    | method and path | meaning | parameters |\n| --- | --- | --- |\n"
            .to_owned();
    let description = serde_json::to_value(web::description()).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().replace('\n', " ");
    let described = description["paths"].as_object().unwrap();
    for (path, methods) in described {
        for (method, operation) in methods.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let parameters: Vec<String> =
                parameters.iter().map(|p| format!("`{}`", text(&p["name"]))).collect();
            let (method, meaning) = (method.to_uppercase(), text(&operation["summary"]));
            let _ = writeln!(page, "| `{method} {path}` | {meaning} | {} |", parameters.join(", "));
        }
    }
    page.push_str("\n## All paths\n\n");
    for path in web::paths() {
        let _ = writeln!(page, "- `{path}`");
    }
    is_written("docs/reference/api.md", &page);
}

/// The output of a command for `--help`. The words are the commands that lead to it.
fn help(words: &[String]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_squelch"));
    let printed = command.args(words).arg("--help").env_remove("COLUMNS").output().unwrap();
    assert!(printed.status.success(), "{words:?}: {printed:?}");
    let text = String::from_utf8(printed.stdout).unwrap();
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[test]
fn every_command_is_in_the_reference() {
    let mut page = "# Commands\n\nThe program writes this page from `--help`.\n".to_owned();
    let mut waiting = vec![Vec::new()];
    while let Some(words) = waiting.pop() {
        let help = help(&words);
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let inner: Vec<&str> = listed
            .take_while(|line| line.starts_with("  "))
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| *name != "help")
            .collect();
        waiting.extend(inner.iter().rev().map(|name| [&words[..], &[(*name).to_owned()]].concat()));
        let name = [&["squelch".to_owned()], &words[..]].concat().join(" ");
        let _ = write!(page, "\n## {name}\n\n```text\n{}\n```\n", help.trim_end());
    }
    is_written("docs/reference/cli.md", &page);
}
