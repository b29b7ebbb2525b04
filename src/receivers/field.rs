//! Any value of YAML with templates in its texts: `fields` of Jira, `details` of PagerDuty, `payload` of a
//! webhook.

use serde_json::{Map, Value};

use super::Renderer;
use super::texts::Texts;
use crate::settings::section::{Section, Text};
use crate::settings::template_check;
use crate::settings::yaml::{Node, Value as Yaml};

/// A value of a field. Its texts stand in [`Texts`] under their path.
#[derive(Clone, Debug)]
pub enum Field {
    /// Nothing.
    Null,
    /// A text, number or boolean. As in Alertmanager, a text that reads as YAML of another type is a value of
    /// that type.
    Text,
    /// A list.
    List(Vec<Field>),
    /// Names and values.
    Map(Vec<(String, Field)>),
}

/// Reads the values in the section at `key`.
pub(super) fn read(keys: &mut Section<'_>, key: &'static str, texts: &mut Texts) -> Vec<(String, Field)> {
    let Some(section) = keys.section(key) else { return Vec::new() };
    let mut one = |(_, name, node): (u32, &str, &Node)| {
        (name.to_owned(), field(&format!("{key}.{name}"), node, keys, texts))
    };
    section.entries().map(&mut one).collect()
}

/// Reads a value. Its texts go to `texts` under their path.
pub(super) fn field(path: &str, node: &Node, keys: &Section<'_>, texts: &mut Texts) -> Field {
    match &node.value {
        Yaml::Null => Field::Null,
        Yaml::Scalar(text) => {
            let text = Text { line: node.line, text };
            let source = template_check::check(keys.problems, path, text).unwrap_or_default();
            texts.set(path, source);
            Field::Text
        }
        Yaml::List(items) => {
            let item = |(i, node)| field(&format!("{path}[{i}]"), node, keys, texts);
            Field::List(items.iter().enumerate().map(item).collect())
        }
        Yaml::Map(entries) => {
            let entry = |(key, node): &(crate::settings::yaml::Key, Node)| {
                (key.name.clone(), field(&format!("{path}.{}", key.name), node, keys, texts))
            };
            Field::Map(entries.iter().map(entry).collect())
        }
    }
}

impl Field {
    /// The value for one notification.
    pub(super) fn value(&self, path: &str, texts: &Renderer<'_>) -> Value {
        match self {
            Field::Null => Value::Null,
            Field::Text => typed(texts.text(path, String::new)),
            Field::List(items) => {
                let item = |(i, item): (usize, &Field)| item.value(&format!("{path}[{i}]"), texts);
                Value::Array(items.iter().enumerate().map(item).collect())
            }
            Field::Map(entries) => {
                let entry = |(name, field): &(String, Field)| {
                    (name.clone(), field.value(&format!("{path}.{name}"), texts))
                };
                Value::Object(entries.iter().map(entry).collect::<Map<_, _>>())
            }
        }
    }
}

/// The text as YAML reads it.
fn typed(text: String) -> Value {
    match serde_saphyr::from_str::<Value>(&text) {
        Ok(Value::String(_)) | Err(_) => Value::String(text),
        Ok(other) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_what_it_reads_as() {
        let read = |text: &str| typed(text.to_owned()).to_string();
        assert_eq!(read("10001"), "10001");
        assert_eq!(read("true"), "true");
        assert_eq!(read("{\"id\": \"5\"}"), "{\"id\":\"5\"}");
        assert_eq!(read("[a, b]"), "[\"a\",\"b\"]");
        assert_eq!(read("plain text"), "\"plain text\"");
        assert_eq!(read("a: b: c"), "\"a: b: c\"");
    }
}
