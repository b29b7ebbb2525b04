//! YAML → a tree in which every key and value knows its line.
//!
//! A parser derived from structs would stop at the first error. With a tree the reader goes on and reports
//! all of them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Location, Spanned, from_str_with_options};

use super::Problem;

/// A value and the line on which it stands, from 1 (where it is defined, if it came by an alias).
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) value: Value,
    /// It is a text in quotes, which is neither a number nor a boolean.
    pub(crate) quoted: bool,
}

/// The value of a node.
#[derive(Debug)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A text, number or boolean, in the spelling of the file, without quotes.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values in the order of the file. A key may stand there twice.
    Map(Vec<(Key, Node)>),
}

/// A key and its line.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) line: u32,
    pub(crate) name: String,
}

/// Reads the first document, as Alertmanager does. Nesting, nodes and the expansion of aliases are bounded.
pub(crate) fn parse(text: &str) -> Result<Node, Problem> {
    let text = text.get(..second_document(text).map_or(text.len(), |(at, _)| at)).unwrap_or(text);
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 64,
            max_nodes: 500_000,
            max_events: 1_500_000,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    match from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(node(raw, text)),
        Err(e) => {
            let line = e.location().map_or(1, |at| line_of(&at));
            let said = e.without_snippet().to_string();
            // The crate appends the place, which stands in front of every message of ours.
            let what = said.lines().next().unwrap_or_default();
            let what = what.rsplit_once(" at line ").map_or(what, |(what, _)| what);
            let indented = ["mapping values are not allowed", "did not find expected"];
            let remedy = match indented.iter().any(|said| what.contains(said)) {
                true => ". Check the indentation",
                false => "",
            };
            Err(Problem::new(line, format!("not valid YAML: {what}{remedy}")))
        }
    }
}

/// The byte and the line at which a second document begins.
pub(crate) fn second_document(text: &str) -> Option<(usize, u32)> {
    let (mut at, mut in_document) = (0, false);
    for (line, content) in (1..).zip(text.split_inclusive('\n')) {
        let content = content.trim_start_matches('\u{feff}').trim_end();
        let marker = ["---", "..."].iter().any(|m| {
            content.strip_prefix(m).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
        });
        if marker && in_document {
            return Some((at, line));
        }
        let blank = content.is_empty() || content.starts_with(['#', '%']);
        in_document |= !blank && (!marker || content.len() > 3);
        at += text[at..].find('\n').map_or(text.len() - at, |end| end + 1);
    }
    None
}

fn line_of(at: &Location) -> u32 {
    u32::try_from(at.line()).unwrap_or(u32::MAX).max(1)
}

/// As serde sees it. Numbers and booleans are looked up in the text afterwards, so that a name such as
/// `007` or `yes` keeps its text.
enum Raw {
    Null,
    Text(String),
    /// The parser's reading, in case the place is unknown.
    Typed(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let line = line_of(&raw.defined);
    let quoted = matches!(raw.value, Raw::Text(_))
        && written(&raw.defined, text).is_some_and(|written| written.starts_with(QUOTES));
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Scalar(text),
        Raw::Typed(shown) => {
            // A tag makes a boolean or a number of a text in quotes.
            let written = written(&raw.defined, text).filter(|written| !written.starts_with(QUOTES));
            Value::Scalar(written.unwrap_or(shown))
        }
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Map(entries) => {
            let entry = |(key, value): (Spanned<Raw>, _)| {
                let line = line_of(&key.referenced);
                let name = match node(key, text).value {
                    Value::Scalar(name) => name,
                    Value::Null => "null".into(),
                    Value::List(_) | Value::Map(_) => "?".into(),
                };
                (Key { line, name }, node(value, text))
            };
            Value::Map(entries.into_iter().map(entry).collect())
        }
    };
    Node { line, value, quoted }
}

/// How a text in quotes begins.
const QUOTES: [char; 2] = ['"', '\''];

/// The text of the file at this place.
fn written(at: &Location, text: &str) -> Option<String> {
    let span = at.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let length = usize::try_from(span.byte_len()?).ok()?;
    let written = text.get(start..start.checked_add(length)?)?.trim();
    (!written.is_empty()).then(|| written.to_owned())
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(v.to_string()))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(v.to_string()))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(v.to_string()))
    }

    fn visit_i128<E>(self, v: i128) -> Result<Raw, E> {
        Ok(Raw::Typed(v.to_string()))
    }

    fn visit_u128<E>(self, v: u128) -> Result<Raw, E> {
        Ok(Raw::Typed(v.to_string()))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(v.to_string()))
    }

    fn visit_str<E>(self, v: &str) -> Result<Raw, E> {
        Ok(Raw::Text(v.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Raw, D::Error> {
        Raw::deserialize(d)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: &Node) -> String {
        let line = node.line;
        match &node.value {
            Value::Null => format!("{line}:null"),
            Value::Scalar(text) => format!("{line}:{text:?}"),
            Value::List(items) => {
                format!("{line}:[{}]", items.iter().map(show).collect::<Vec<_>>().join(" "))
            }
            Value::Map(entries) => {
                let one = |(key, value): &(Key, Node)| format!("{}:{}={}", key.line, key.name, show(value));
                format!("{line}:{{{}}}", entries.iter().map(one).collect::<Vec<_>>().join(" "))
            }
        }
    }

    #[test]
    fn every_node_knows_its_line_and_its_spelling() {
        let text =
            "a: 007\nb: [yes, 1.50, ~, 'no', é]\nc:\n  d: 1_0 # x\n  d: é\n007: 0x1F\ne:\nf: |\n  x\n  y\n";
        let node = parse(text).unwrap();
        assert_eq!(
            show(&node),
            r#"1:{1:a=1:"007" 2:b=2:[2:"yes" 2:"1.50" 2:null 2:"no" 2:"é"] 3:c=4:{4:d=4:"1_0" 5:d=5:"é"} 6:007=6:"0x1F" 7:e=7:null 8:f=9:"x\ny\n"}"#
        );
    }

    #[test]
    fn aliases_show_where_the_value_stands() {
        let node = parse("a: &x\n  b: 1\nc: *x\nd:\n  <<: *x\n  e: 2\n").unwrap();
        assert_eq!(show(&node), r#"1:{1:a=2:{2:b=2:"1"} 3:c=2:{3:b=2:"1"} 4:d=5:{6:e=6:"2" 5:b=2:"1"}}"#);
    }

    #[test]
    fn a_text_in_quotes_is_told_from_a_plain_one() {
        let node = parse("a: [true, 'true', \"5\", 5, é, é 'x', &e \"q\"]\n").unwrap();
        let Value::Map(entries) = &node.value else { panic!("{node:?}") };
        let Value::List(items) = &entries[0].1.value else { panic!("{node:?}") };
        let quoted: Vec<bool> = items.iter().map(|node| node.quoted).collect();
        assert_eq!(quoted, [false, true, true, false, false, false, true]);
    }

    #[test]
    fn the_first_document_counts() {
        let a = |text: &str| parse(text).map(|node| show(&node));
        assert_eq!(a("---\na: 1\n---\nb: 2\n").unwrap(), r#"2:{2:a=2:"1"}"#);
        assert_eq!(a("# x\n--- # y\na: |\n  - --- b\n...\n").unwrap(), r#"3:{3:a=4:"- --- b\n"}"#);
        assert_eq!(second_document("a: 1\n--- \nb: 2\n"), Some((5, 2)));
        assert_eq!(second_document("\u{feff}---\na: 1\n ---\n----\n"), None);
    }

    #[test]
    fn bombs_and_broken_files_are_refused_with_their_line() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..9 {
            let refs = vec![format!("*a{}", i - 1); 10].join(", ");
            bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        assert!(parse(&bomb).is_err());
        assert!(parse(&"[".repeat(10_000)).is_err());
        let error = parse("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(error.line >= 2, "{error:?}");
        assert!(!error.message.contains('\n') && !error.message.contains(" at line"), "{error:?}");
    }
}
