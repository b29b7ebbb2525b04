//! The configuration as people may see it: YAML again, comments left out, secrets masked.

use std::fmt::Write as _;

use crate::settings::yaml::{Node, Value};

/// What stands for a secret, as in Alertmanager.
const MASK: &str = "<secret>";

/// Parts of the names of keys whose values are secrets, unless the name ends in `_file`. Values that were
/// read as secrets are masked whatever their key.
const SECRET: [&str; 7] = ["key", "token", "secret", "password", "credentials", "bearer", "api_url"];

/// Keys below which every value is taken for a secret.
const ALL_SECRET: [&str; 2] = ["http_headers", "authorization"];

/// Writes a configuration that was read as YAML, its secrets masked: those whose keys say so, and the texts
/// that `read` says were read as secrets.
pub(super) fn masked(root: &Node, read: &dyn Fn(&str) -> bool) -> String {
    let mut text = String::new();
    write(&mut text, root, 0, &Place { secret: false, read });
    text
}

/// Where a value stands.
#[derive(Clone)]
struct Place<'r> {
    /// It is a secret whatever it is.
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
        Value::Scalar(text) if place.hides(text) => MASK.into(),
        Value::Scalar(text) => plain_or_quoted(&without_user(text)),
        Value::List(_) => "[]".into(),
        Value::Map(_) => "{}".into(),
    }
}

/// A URL less the user and password in it.
fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match host.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://{MASK}{}", &rest[user.len()..]),
        None => text.to_owned(),
    }
}

fn plain_or_quoted(text: &str) -> String {
    let tame = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+');
    let plain = text.chars().enumerate().all(|(i, c)| tame(c) || (i > 0 && c == ' ') || (i > 0 && c == ':'));
    match plain && !text.is_empty() && !text.contains(": ") && !text.ends_with([' ', ':']) {
        true => text.to_owned(),
        false => crate::model::Quoted(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::yaml;

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
            "https://<secret>@pd.example/v2",
            "username: u",
            "type: Bearer",
        ] {
            assert!(masked.contains(shown), "{shown} not in\n{masked}");
        }
        let again = masked.replace("<secret>", "x");
        yaml::parse(&again).unwrap();
    }
}
