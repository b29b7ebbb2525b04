//! The configuration as people may see it: YAML again, comments left out, secrets masked.

use std::fmt::Write as _;

use crate::settings::yaml::{Node, Value};

/// The text that stands for a secret, as in Alertmanager.
const MASK: &str = "<secret>";
/// The same where a URL has a user and a password.
const MASK_IN_URL: &str = "%3Csecret%3E";

/// Parts of the names of keys whose values are secrets, unless the name ends in `_file`. Values that were
/// read as secrets are masked under any key.
const SECRET: [&str; 7] = ["key", "token", "secret", "password", "credentials", "bearer", "api_url"];

/// Keys below which every value is taken for a secret.
const ALL_SECRET: [&str; 2] = ["http_headers", "authorization"];

/// Writes a configuration that was read as YAML, with its secrets masked. These are the values of secret
/// keys, and the texts that `read` reports as secrets.
pub(super) fn masked(root: &Node, read: &dyn Fn(&str) -> bool) -> String {
    let mut text = String::new();
    write(&mut text, root, 0, &Place { secret: false, read });
    text
}

/// Where a value stands.
#[derive(Clone)]
struct Place<'r> {
    /// It is a secret in any case.
    secret: bool,
    read: &'r dyn Fn(&str) -> bool,
}

impl Place<'_> {
    fn below(&self, key: &str) -> Self {
        let file = key.ends_with("_file") || key == "files" || key == "type";
        let named = SECRET.iter().any(|part| key.contains(part));
        let inherited = self.secret || ALL_SECRET.contains(&key);
        Place { secret: (named || inherited) && !file, ..self.clone() }
    }

    fn hides(&self, text: &str) -> bool {
        self.secret || (self.read)(text)
    }
}

fn write(text: &mut String, node: &Node, indent: usize, place: &Place<'_>) {
    let pad = " ".repeat(indent);
    match &node.value {
        Value::Null | Value::Scalar(_) => {
            let _ = writeln!(text, "{pad}{}", scalar(node, place));
        }
        Value::List(items) => {
            for item in items {
                let mut inner = String::new();
                write(&mut inner, item, indent + 2, place);
                if inner.is_empty() {
                    inner = format!("{}\n", scalar(item, place));
                }
                let _ = write!(text, "{pad}- {}", inner.trim_start());
            }
        }
        Value::Map(entries) => {
            for (key, value) in entries {
                let place = place.below(&key.name);
                let name = plain_or_quoted(&key.name);
                match &value.value {
                    Value::Map(inner) if !inner.is_empty() => {
                        let _ = writeln!(text, "{pad}{name}:");
                        write(text, value, indent + 2, &place);
                    }
                    Value::List(items) if items.iter().any(|i| !matches!(i.value, Value::Scalar(_))) => {
                        let _ = writeln!(text, "{pad}{name}:");
                        write(text, value, indent + 2, &place);
                    }
                    Value::List(items) => {
                        let items: Vec<String> = items.iter().map(|item| scalar(item, &place)).collect();
                        let _ = writeln!(text, "{pad}{name}: [{}]", items.join(", "));
                    }
                    _ => {
                        let _ = writeln!(text, "{pad}{name}: {}", scalar(value, &place));
                    }
                }
            }
        }
    }
}

fn scalar(node: &Node, place: &Place<'_>) -> String {
    match &node.value {
        Value::Null => "null".into(),
        Value::Scalar(text) if place.hides(text) => mask(text),
        Value::Scalar(text) => plain_or_quoted(&without_user(text)),
        Value::List(_) => "[]".into(),
        Value::Map(_) => "{}".into(),
    }
}

/// The text that stands for a secret. For a URL it is a URL, which amtool of every version reads.
fn mask(text: &str) -> String {
    let scheme = ["http://", "https://"].into_iter().find(|scheme| text.starts_with(scheme));
    format!("{}{MASK}", scheme.unwrap_or_default())
}

/// A URL less the user and password in it. It stays a URL, so that programs can read it.
fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match host.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://{MASK_IN_URL}{}", &rest[user.len()..]),
        None => text.to_owned(),
    }
}

fn plain_or_quoted(text: &str) -> String {
    let tame = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+');
    let plain = text.chars().enumerate().all(|(i, c)| tame(c) || (i > 0 && c == ' ') || (i > 0 && c == ':'));
    let null = text.eq_ignore_ascii_case("null");
    match plain && !null && !text.is_empty() && !text.contains(": ") && !text.ends_with([' ', ':']) {
        true => text.to_owned(),
        false => crate::model::Quoted(text).to_string(),
    }
}

/// Keys at the top that only Squelch knows.
const OWN_SECTIONS: [&str; 12] = [
    "severities",
    "identity",
    "noise",
    "heartbeat",
    "self_check",
    "limits",
    "enrichment",
    "sources",
    "users",
    "storage",
    "on_call",
    "report",
];

/// Keys further down that only Squelch knows, with the section at the top that they stand in.
const OWN_KEYS: [(&str, &str); 12] = [
    ("global", "stale_after"),
    ("global", "failopen_after"),
    ("global", "failopen_levels"),
    ("route", "noise"),
    ("receivers", "send_updates"),
    ("receivers", "fallback_after"),
    ("receivers", "console_configs"),
    ("receivers", "signing_secret"),
    ("receivers", "signing_secret_file"),
    ("receivers", "alertmanager_configs"),
    ("receivers", "webhook_secret"),
    ("receivers", "webhook_secret_file"),
];

/// The column of a receiver's own keys. Its `fallback` names a receiver, and that of Slack is a text.
const OF_RECEIVER: usize = 4;

/// A text that `masked` made, for programs that read it as a configuration of Alertmanager: the keys that
/// only Squelch knows are comments.
pub fn for_alertmanager(masked: &str) -> String {
    let mut text = String::with_capacity(masked.len() + masked.len() / 8);
    // The section at the top, and the column of the key whose lines are comments now.
    let (mut section, mut own) = ("", None::<usize>);
    for line in masked.lines() {
        let bare = line.trim_start_matches([' ', '-']);
        let column = line.len() - bare.len();
        own = own.filter(|own| column > *own);
        if own.is_none() {
            let key = bare.split(':').next().unwrap_or_default();
            if column == 0 {
                section = key;
            }
            let is_own = match column {
                0 => OWN_SECTIONS.contains(&key),
                OF_RECEIVER if (section, key) == ("receivers", "fallback") => true,
                _ => OWN_KEYS.contains(&(section, key)),
            };
            own = is_own.then_some(column);
        }
        // The dash of a list's item stays, because the item goes on in the next line.
        let at = match own {
            Some(own) if own == column => column,
            Some(own) => own,
            None => line.len(),
        };
        let (before, after) = line.split_at(at);
        text.push_str(before);
        if own.is_some() {
            text.push_str("# ");
        }
        text.push_str(after);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::yaml;

    #[test]
    fn each_section_is_alertmanagers_or_ours() {
        let theirs =
            ["global", "route", "receivers", "inhibit_rules", "time_intervals", "templates", "tracing"];
        let sections = include_str!("../../config/squelch.yml").lines();
        let sections = sections.filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
        let mut found = 0;
        for name in sections.filter_map(|line| line.split_once(':')).map(|(name, _)| name) {
            assert!(OWN_SECTIONS.contains(&name) || theirs.contains(&name), "{name}");
            found += 1;
        }
        assert!(found > 10, "{found} sections");
    }

    #[test]
    fn secrets_are_masked_and_the_rest_reads_as_it_was() {
        let text = r#"
global: {resolve_timeout: 5m, slack_api_url: 'https://hooks.example/AAA'}
route: {receiver: a, matchers: ['x="y"', "z=~\"a: b\""], group_by: [alertname]}
receivers:
  - name: a
    pagerduty_configs:
      - {routing_key: BBB, url: 'https://me:CCC@pd.example/v2', severity: '{{ x }}'}
      - routing_key_file: /run/key
    webhook_configs:
      - url: https://hooks.example/DDD
        http_config:
          authorization: {type: Bearer, credentials: EEE}
          basic_auth: {username: u, password: FFF}
          http_headers: {X-Auth: {secrets: [GGG]}}
    console_configs: [{}]
  - name: 'null'
"#;
        let masked = {
            let root = yaml::parse(text).unwrap();
            masked(&root, &|text| text.ends_with("/DDD"))
        };
        for secret in ["AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG", "//me"] {
            assert!(!masked.contains(secret), "{secret} in\n{masked}");
        }
        for shown in [
            "resolve_timeout: 5m",
            r#"matchers: ["x=\"y\"", "z=~\"a: b\""]"#,
            "- routing_key_file: /run/key",
            "https://%3Csecret%3E@pd.example/v2",
            "username: u",
            "type: Bearer",
            r#"- name: "null""#,
        ] {
            assert!(masked.contains(shown), "{shown} not in\n{masked}");
        }
        let again = masked.replace("<secret>", "x");
        yaml::parse(&again).unwrap();
    }

    #[test]
    fn programs_that_know_alertmanager_find_nothing_else() {
        let own = "global:\n  stale_after: 12h\n  resolve_timeout: 5m\nnoise:\n  calm:\n    hold:\n      for: 5m\n\
                   route:\n  receiver: a\n  routes:\n    - noise: calm\n      receiver: a\n\
                   receivers:\n  - name: a\n    fallback: b\n    console_configs:\n      - x: 1\n    webhook_configs:\n      - url: u\n";
        let shown = "global:\n  # stale_after: 12h\n  resolve_timeout: 5m\n# noise:\n#   calm:\n#     hold:\n#       for: 5m\n\
                     route:\n  receiver: a\n  routes:\n    - # noise: calm\n      receiver: a\n\
                     receivers:\n  - name: a\n    # fallback: b\n    # console_configs:\n    #   - x: 1\n    webhook_configs:\n      - url: u\n";
        assert_eq!(for_alertmanager(own), shown);
        assert_eq!(for_alertmanager(shown), shown);
    }
}
