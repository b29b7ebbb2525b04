//! The files from which packages are made. `tests/packages` builds, installs and starts the packages.

use std::collections::BTreeSet;
use std::process::Command;

use crate::repository::{is_written, read};

#[test]
fn kubernetes_has_the_rules_and_the_dashboard_of_the_project() {
    let rules = read("config/prometheus/squelch-alerts.yml");
    let indented =
        rules.lines().map(|line| if line.is_empty() { "\n".into() } else { format!("  {line}\n") });
    let head = "# Written from config/prometheus/squelch-alerts.yml. Needs the Prometheus operator.\n\
                apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: squelch\nspec:\n";
    is_written(
        "packages/kubernetes/base/prometheusrule.yml",
        &format!("{head}{}", indented.collect::<String>()),
    );
    is_written("packages/kubernetes/base/squelch.json", &read("config/grafana/dashboards/squelch.json"));
}

#[test]
fn the_configuration_for_kubernetes_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let config = read("packages/kubernetes/base/squelch.yml");
    let secrets = folder.path().display().to_string();
    let config = config.replace("/etc/squelch/secrets", &secrets);
    assert!(config.contains(&secrets), "the configuration reads its secrets from the mounted directory");
    std::fs::write(folder.path().join("pagerduty-routing-key"), "0123456789abcdef0123456789abcdef").unwrap();
    let file = folder.path().join("squelch.yml");
    std::fs::write(&file, config).unwrap();
    let checked =
        Command::new(env!("CARGO_BIN_EXE_squelch")).arg("check-config").arg(&file).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

/// A variable that no flag reads would be without effect, and without an error.
#[test]
fn packages_set_only_variables_that_the_program_reads() {
    let help = Command::new(env!("CARGO_BIN_EXE_squelch")).args(["serve", "--help"]).output().unwrap();
    let mut known = variables(&String::from_utf8(help.stdout).unwrap());
    assert!(known.len() >= 9, "{known:?}");
    known.insert("SQUELCH_DATABASE_URL_FILE".to_owned());
    for path in [
        "config/systemd/squelch.service",
        "docker-compose.ha.yml",
        "packages/debian/default",
        "packages/kubernetes/base/deployment.yml",
        "packages/kubernetes/postgres/deployment.yml",
    ] {
        let set = variables(&read(path));
        assert!(!set.is_empty(), "{path} sets no variable");
        let unknown: Vec<&String> = set.difference(&known).collect();
        assert!(unknown.is_empty(), "{path} sets {unknown:?}");
    }
    let image: BTreeSet<String> = variables(read("Dockerfile").split("FROM scratch").nth(1).unwrap());
    assert!(image.len() == 3 && image.is_subset(&known), "Dockerfile: {image:?}");
}

/// The names in a text that begin with `SQUELCH_` and go on.
fn variables(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    words.filter(|word| word.starts_with("SQUELCH_") && word.len() > 8).map(str::to_owned).collect()
}
