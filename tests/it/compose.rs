//! The demonstrations, docker-compose.yml and docker-compose.ha.yml: their parts know each other's names,
//! ports and files.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::repository::{place, read};
use crate::tools;

#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    volumes: BTreeMap<String, Option<BTreeMap<String, String>>>,
}

#[derive(Deserialize)]
struct Service {
    image: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

/// A demonstration, the files that its parts read, and those that must be called.
struct Demonstration {
    file: &'static str,
    configurations: &'static [&'static str],
    called: &'static [&'static str],
}

const ONE: Demonstration = Demonstration {
    file: "docker-compose.yml",
    configurations: &[
        "config/prometheus/prometheus.yml",
        "config/alertmanager/alertmanager.yml",
        "config/compose/squelch.yml",
        "config/grafana/provisioning/datasources/prometheus.yml",
    ],
    called: &["squelch:9096", "prometheus:9090"],
};
const REPLICAS: Demonstration = Demonstration {
    file: "docker-compose.ha.yml",
    configurations: &[
        "config/prometheus/prometheus-ha.yml",
        "config/alertmanager/alertmanager-ha.yml",
        "config/compose/squelch.yml",
        "config/compose/database-url",
    ],
    called: &["squelch-a:9096", "squelch-b:9096", "postgres:5432"],
};

impl Demonstration {
    fn compose(&self) -> Compose {
        serde_saphyr::from_str(&read(self.file)).unwrap()
    }
}

/// The port on which a service listens inside: that of its `--web.listen-address`, else of the
/// mapping that it publishes.
fn port(name: &str, service: &Service) -> String {
    let said = service.command.iter().find_map(|arg| arg.strip_prefix("--web.listen-address="));
    if service.image.starts_with("postgres:") {
        assert!(service.ports.is_empty(), "{name}: nobody outside needs the database");
        return "5432".to_owned();
    }
    let published = service.ports.first().unwrap_or_else(|| panic!("{name} publishes no port"));
    let inside = published.rsplit(':').next().unwrap();
    if let Some((_, port)) = said.and_then(|address| address.rsplit_once(':')) {
        assert_eq!(port, inside, "{name} listens on another port than it publishes");
    }
    inside.to_owned()
}

#[test]
fn the_neighbours_accept_the_files() {
    for Demonstration { file, configurations, .. } in [ONE, REPLICAS] {
        tools::must_pass("docker-compose", &["-f", file, "config", "-q"], "");
        tools::must_pass("promtool", &["check", "config", configurations[0]], "");
        tools::must_pass("amtool", &["check-config", configurations[1]], "");
    }
}

#[test]
fn nothing_listens_beyond_this_machine() {
    for demonstration in [ONE, REPLICAS] {
        let mut hosts = BTreeSet::new();
        for (name, service) in demonstration.compose().services {
            for mapping in &service.ports {
                let parts: Vec<&str> = mapping.split(':').collect();
                assert!(parts.len() == 3 && parts[0] == "127.0.0.1", "{name}: {mapping}");
                assert!(hosts.insert(parts[1].to_owned()), "{name}: port {} is taken", parts[1]);
            }
        }
    }
}

#[test]
fn every_mounted_file_exists_and_no_image_floats() {
    for compose in [ONE, REPLICAS].map(|demonstration| demonstration.compose()) {
        mounted(&compose);
    }
}

fn mounted(compose: &Compose) {
    for (name, service) in &compose.services {
        for volume in &service.volumes {
            let from = volume.split(':').next().unwrap();
            match from.strip_prefix("./") {
                Some(path) => assert!(place(path).exists(), "{name}: {from} is not there"),
                None => assert!(compose.volumes.contains_key(from), "{name}: volume {from} is not declared"),
            }
        }
        let tag = service.image.rsplit_once(':').map(|(_, tag)| tag);
        assert!(tag.is_some_and(|t| t != "latest"), "{name}: {}", service.image);
    }
}

#[test]
fn every_address_in_the_configurations_is_a_service_and_its_port() {
    for demonstration in [ONE, REPLICAS] {
        let compose = demonstration.compose();
        let there: BTreeSet<String> =
            compose.services.iter().map(|(name, s)| format!("{name}:{}", port(name, s))).collect();
        let mut called = BTreeSet::new();
        for path in demonstration.configurations {
            for address in addresses(&read(path)) {
                assert!(there.contains(&address), "{path}: nobody listens on {address}; there are {there:?}");
                called.insert(address);
            }
        }
        let members = ["fake-pager:9196", "alertmanager-a:9093", "alertmanager-b:9093"];
        for needed in demonstration.called.iter().chain(&members) {
            assert!(called.contains(*needed), "nobody calls {needed}");
        }
    }
}

/// `host:port` of every line that is no comment, but for the host `localhost`.
fn addresses(text: &str) -> Vec<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == ':' || c == '.';
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split(|c| !word(c)))
        .filter(|token| {
            let Some((host, port)) = token.split_once(':') else { return false };
            host.starts_with(|c: char| c.is_ascii_lowercase())
                && host != "localhost"
                && port.len() == 4
                && port.chars().all(|c| c.is_ascii_digit())
        })
        .map(str::to_owned)
        .collect()
}

/// Replicas read the same configuration, and the same database.
#[test]
fn the_replicas_share_a_database_and_keep_what_is_their_own() {
    let compose = REPLICAS.compose();
    let (a, b) = (&compose.services["squelch-a"], &compose.services["squelch-b"]);
    assert_eq!((&a.command, &a.environment), (&b.command, &b.environment));
    let own = |service: &Service| service.volumes.iter().find(|v| v.ends_with(":/squelch")).cloned();
    assert_ne!(own(a), own(b));
    let file = &a.environment["SQUELCH_DATABASE_URL_FILE"];
    assert!(a.volumes.contains(&format!("./config/compose/database-url:{file}:ro")));
    let postgres = &compose.services["postgres"].environment;
    let [user, password, database] =
        ["USER", "PASSWORD", "DB"].map(|name| &postgres[&format!("POSTGRES_{name}")]);
    let url = format!("postgres://{user}:{password}@postgres:5432/{database}?sslmode=disable\n");
    assert_eq!(read("config/compose/database-url"), url);
}

/// The program itself is asked: every flag that compose and the image pass is one that it has.
#[test]
fn every_flag_is_one_that_the_program_has() {
    let all = [ONE, REPLICAS].map(|demonstration| demonstration.compose().services);
    let ours = all.iter().flatten().filter(|(_, s)| s.image.starts_with("squelch:"));
    let mut lines: Vec<Vec<String>> = ours.map(|(_, service)| service.command.clone()).collect();
    let dockerfile = read("Dockerfile").replace("\\\n", " ");
    let image = dockerfile.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    lines.push(serde_json::from_str(image).unwrap());
    assert_eq!(lines.len(), 6, "three of squelch, two of the fake pager, the image");
    for line in lines {
        let (command, flags) = line.split_first().unwrap();
        let help = squelch(&[command, "--help"]);
        assert!(help.status.success(), "squelch {command}");
        let help = String::from_utf8(help.stdout).unwrap();
        for flag in flags {
            let name = flag.split('=').next().unwrap();
            assert!(help.contains(&format!("{name} <")), "squelch {command} has no {name}:\n{help}");
        }
    }
}

#[test]
fn every_configuration_that_is_shipped_is_valid() {
    let mut files = vec!["config/squelch.yml".to_owned(), "config/compose/squelch.yml".to_owned()];
    for folder in ["config/examples"] {
        for entry in std::fs::read_dir(place(folder)).unwrap().map(Result::unwrap) {
            // The examples' behaviour tests have a folder of their own.
            if entry.file_type().unwrap().is_file() {
                files.push(format!("{folder}/{}", entry.file_name().to_str().unwrap()));
            }
        }
    }
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let checked = squelch(&["check-config", &file]);
        let said = String::from_utf8(checked.stdout).unwrap();
        assert!(checked.status.success(), "{said}");
        // Secrets are not shipped with the examples.
        let warns = said.lines().any(|l| l.starts_with("Warning: ") && !l.contains("secret file"));
        assert!(!warns, "{said}");
    }
}

fn squelch(args: &[&str]) -> std::process::Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_squelch"))
        .args(args)
        .current_dir(place(""))
        .output()
        .unwrap()
}
