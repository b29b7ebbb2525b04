//! One mapping of the file, read key by key. It notes each error and reads on.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Problem;
use super::yaml::{Key, Node, Value};
use crate::model::Duration;
use crate::templates::Library;
use crate::templates::distance;
pub(crate) use crate::templates::nearest;

/// Where everything is noted that is wrong, or doubtful.
#[derive(Default)]
pub(crate) struct Problems {
    wrong: RefCell<Vec<Problem>>,
    doubts: RefCell<Vec<Problem>>,
    /// Where the texts stand that were read as secrets.
    secrets: RefCell<BTreeSet<usize>>,
    /// The templates that a templated key may call.
    library: OnceCell<Arc<Library>>,
    /// The keys that each section has.
    keys: RefCell<BTreeMap<String, BTreeSet<&'static str>>>,
}

impl Problems {
    pub(crate) fn add(&self, line: u32, message: impl Into<String>) {
        self.wrong.borrow_mut().push(Problem::new(line, message));
    }

    /// Lets templated keys call the templates of this library. Without one there are the default ones.
    pub(crate) fn set_library(&self, library: Arc<Library>) {
        let _ = self.library.set(library);
    }

    /// The templates that a templated key may call.
    pub(crate) fn library(&self) -> Arc<Library> {
        Arc::clone(self.library.get_or_init(Library::built_in))
    }

    /// Notes a valid setting that is probably a mistake.
    pub(crate) fn doubt(&self, line: u32, message: impl Into<String>) {
        self.doubts.borrow_mut().push(Problem::new(line, message));
    }

    /// Notes that this text of the file is a secret, which no page or command shows.
    pub(crate) fn secret(&self, text: Text<'_>) {
        self.secrets.borrow_mut().insert(text.text.as_ptr().addr());
    }

    /// Returns a function that says of each text of the tree whether it was read as a secret.
    pub(crate) fn take_secrets(&self) -> impl Fn(&str) -> bool + use<> {
        let secrets = self.secrets.take();
        move |text| secrets.contains(&text.as_ptr().addr())
    }

    /// The keys that each section has, of those sections that were read.
    pub(crate) fn take_keys(&self) -> BTreeMap<String, BTreeSet<&'static str>> {
        self.keys.take()
    }

    /// How much is noted so far.
    pub(crate) fn count(&self) -> usize {
        self.wrong.borrow().len() + self.doubts.borrow().len()
    }

    pub(crate) fn take_doubts(&self) -> Vec<Problem> {
        self.doubts.take()
    }

    pub(crate) fn into_inner(self) -> Vec<Problem> {
        self.wrong.into_inner()
    }
}

/// Keys that had another name before, with their name of today. The old name is refused.
const RENAMED: [(&str, &str); 1] = [("self_watch", "self_check")];

/// A text of the file and its line.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) line: u32,
    pub(crate) text: &'a str,
}

/// One mapping. Each key that the reader asks for is known. [`Section::finish`] reports the others.
pub(crate) struct Section<'a> {
    /// Its name in messages, such as `route` or `receiver "ops"`.
    what: String,
    /// The line on which it begins.
    pub(crate) line: u32,
    pub(crate) problems: &'a Problems,
    entries: &'a [(Key, Node)],
    known: Vec<&'static str>,
    unsupported: Vec<&'static str>,
    removed: &'static [(&'static str, &'static str)],
    absent: &'static [(&'static str, &'static str)],
}

impl<'a> Section<'a> {
    /// The mapping at `node`. An empty node is an empty mapping. Anything else is an error.
    pub(crate) fn new(node: &'a Node, what: impl Into<String>, problems: &'a Problems) -> Option<Self> {
        let what = what.into();
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null => &[],
            other => {
                problems.add(
                    node.line,
                    format!("{what} is {}. Write keys and values, such as name: value", kind(other)),
                );
                return None;
            }
        };
        let mut lines: BTreeMap<&str, u32> = BTreeMap::new();
        for (key, _) in entries {
            if let Some(first) = lines.insert(&key.name, key.line) {
                let name = shown(&key.name);
                problems
                    .add(key.line, format!("{name} stands twice in {what}, first on line {first}. Keep one"));
            }
        }
        Some(Section {
            what,
            line: node.line,
            problems,
            entries,
            known: Vec::new(),
            unsupported: Vec::new(),
            removed: &[],
            absent: &[],
        })
    }

    /// A mapping without keys, for one that is not there.
    pub(crate) fn empty(problems: &'a Problems) -> Self {
        Section {
            what: String::new(),
            line: 0,
            problems,
            entries: &[],
            known: Vec::new(),
            unsupported: Vec::new(),
            removed: &[],
            absent: &[],
        }
    }

    /// The value of a key. `None` if the key is missing, or null.
    pub(crate) fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let (_, node) = self.entries.iter().find(|(k, _)| k.name == key)?;
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    /// The line of a key that is there.
    pub(crate) fn line_of(&self, key: &str) -> u32 {
        self.entries.iter().find(|(k, _)| k.name == key).map_or(self.line, |(k, _)| k.line)
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Option<Text<'a>> {
        let node = self.node(key)?;
        self.scalar(node, key)
    }

    fn scalar(&self, node: &'a Node, key: &str) -> Option<Text<'a>> {
        let text = scalar(node);
        if text.is_none() {
            self.problems.add(node.line, format!("{key} is {}. Write a text", kind(&node.value)));
        }
        text
    }

    /// A list of texts. `None` if the key is missing.
    pub(crate) fn texts(&mut self, key: &'static str) -> Option<Vec<Text<'a>>> {
        let items = self.list(key)?;
        Some(items.iter().filter_map(|item| self.entry(item, key)).collect())
    }

    /// A list of texts in which an empty entry is the empty text, as in Alertmanager.
    pub(crate) fn texts_or_empty(&mut self, key: &'static str) -> Option<Vec<Text<'a>>> {
        let items = self.list(key)?;
        let text = |item: &'a Node| match item.value {
            Value::Null => Some(Text { line: item.line, text: "" }),
            _ => self.entry(item, key),
        };
        Some(items.iter().filter_map(text).collect())
    }

    /// A text in the list at `key`.
    fn entry(&self, node: &'a Node, key: &str) -> Option<Text<'a>> {
        let text = scalar(node);
        if text.is_none() {
            let example = match key.ends_with("matchers") {
                true => format!(", such as {key}: ['severity=\"page\"']"),
                false => String::new(),
            };
            let found = kind(&node.value);
            self.problems
                .add(node.line, format!("an entry of {key} is {found}. Write a list of texts{example}"));
        }
        text
    }

    /// A list. `None` if the key is missing.
    pub(crate) fn list(&mut self, key: &'static str) -> Option<&'a [Node]> {
        let node = self.node(key)?;
        match &node.value {
            Value::List(items) => Some(items),
            other => {
                self.problems
                    .add(node.line, format!("{key} is {}. Write a list{}", kind(other), listed(key, other)));
                None
            }
        }
    }

    pub(crate) fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let node = self.node(key)?;
        Section::new(node, key, self.problems)
    }

    /// Texts under free names, as in `details`. A null is the empty text, as in Alertmanager.
    pub(crate) fn text_map(&mut self, key: &'static str) -> Vec<(&'a str, Text<'a>)> {
        let Some(section) = self.section(key) else { return Vec::new() };
        let text = |key: &'a Key, node: &'a Node| match node.value {
            Value::Null => Some(Text { line: key.line, text: "" }),
            _ => self.scalar(node, &key.name),
        };
        section.entries.iter().filter_map(|(key, node)| Some((key.name.as_str(), text(key, node)?))).collect()
    }

    /// Whether a null stands under `name` in the mapping at `key`.
    pub(crate) fn is_null_in(&mut self, key: &'static str, name: &str) -> bool {
        let Some(Node { value: Value::Map(entries), .. }) = self.node(key) else { return false };
        entries.iter().any(|(k, node)| k.name == name && matches!(node.value, Value::Null))
    }

    /// Keys and values under free names, as the profiles of `noise`.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u32, &'a str, &'a Node)> + use<'a> {
        self.entries.iter().map(|(key, node)| (key.line, key.name.as_str(), node))
    }

    pub(crate) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        const RIGHT: &str = "a duration such as 30s, 5m or 1h30m";
        self.parsed(key, RIGHT, |text| text.parse().ok())
    }

    /// A duration that is not zero.
    pub(crate) fn positive(&mut self, key: &'static str) -> Option<Duration> {
        let value = self.duration(key)?;
        if value.is_zero() {
            self.problems.add(self.line_of(key), format!("{key} is {value}. Write more than no time"));
        }
        Some(value)
    }

    /// `true` or `false`, in any of the spellings that Alertmanager's YAML takes. A text in quotes is none.
    pub(crate) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.plain(key, "true or false, without quotes", |text| match text {
            "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => Some(true),
            "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
                Some(false)
            }
            _ => None,
        })
    }

    /// A whole number. `right` says which ones are right. A text in quotes is none.
    pub(crate) fn whole<T: TryFrom<i64>>(&mut self, key: &'static str, right: &str) -> Option<T> {
        self.plain(key, right, |text| T::try_from(yaml_integer(text)?).ok())
    }

    /// A duration as Go's `time.ParseDuration` reads it: `1m30s`, `1.5h`, and no days.
    pub(crate) fn go_duration(&mut self, key: &'static str) -> Option<Duration> {
        self.parsed(key, "a duration such as 30s, 5m or 1h30m", go_duration)
    }

    /// As [`Section::parsed`], and a text in quotes is refused.
    fn plain<T>(
        &mut self,
        key: &'static str,
        right: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let quoted = self.node(key)?.quoted;
        self.parsed(key, right, |text| if quoted { None } else { read(text) })
    }

    /// The value as `read` understands it. `right` says how it should look.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        right: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let node = self.node(key)?;
        let value = scalar(node).and_then(|text| read(text.text));
        if value.is_none() {
            let found = match &node.value {
                Value::Scalar(text) => shown(text),
                other => kind(other).to_owned(),
            };
            self.problems.add(node.line, format!("{key} is {found}. Write {right}"));
        }
        value
    }

    /// Keys that Alertmanager or a later version has, and this one not: they must not look as if they
    /// were in force.
    pub(crate) fn unsupported(&mut self, keys: &[&'static str]) {
        self.unsupported.extend(keys);
    }

    /// Removed keys of this section, each with advice to the person who wrote it. [`Section::finish`]
    /// refuses them.
    pub(crate) fn removed(&mut self, keys: &'static [(&'static str, &'static str)]) {
        self.removed = keys;
    }

    /// Keys that people look for in vain, each with the reason and the remedy. [`Section::finish`] refuses
    /// them.
    pub(crate) fn absent(&mut self, keys: &'static [(&'static str, &'static str)]) {
        self.absent = keys;
    }

    /// Reports every key that no reader asked for.
    pub(crate) fn finish(self) {
        self.problems.keys.borrow_mut().entry(self.what.clone()).or_default().extend(&self.known);
        for (key, _) in self.entries {
            let name = key.name.as_str();
            if self.known.contains(&name) {
                continue;
            }
            let renamed = RENAMED.iter().find(|(old, new)| *old == name && self.known.contains(new));
            let message = if let Some((_, new)) = renamed {
                format!("{name} in {} is called {new} now. Write {new}", self.what)
            } else if let Some((_, advice)) = self.removed.iter().find(|(old, _)| *old == name) {
                format!("{name} in {} does not exist any more. {advice}", self.what)
            } else if let Some((_, reason)) = self.absent.iter().find(|(absent, _)| *absent == name) {
                format!("{name} in {} does not exist. {reason}", self.what)
            } else if self.unsupported.contains(&name) {
                format!(
                    "{name} in {} is not supported by this version and would not be in force. Remove it",
                    self.what
                )
            } else {
                let all = self.known.iter().chain(&self.unsupported).copied();
                let hint = match nearest(name, all).filter(|near| of_one_service(name, near)) {
                    Some(near) => format!("Did you mean {near}?"),
                    None => match self.known.as_slice() {
                        [only] => format!("The only key is {only}"),
                        known => format!("There are {}", known.join(", ")),
                    },
                };
                format!("unknown key {} in {}. {hint}", shown(name), self.what)
            };
            self.problems.add(key.line, message);
        }
    }
}

/// Whether `near` can be meant by `name`. Keys that differ in their first word alone are those of two
/// services, unless that word is misspelt.
fn of_one_service(name: &str, near: &str) -> bool {
    match (name.split_once('_'), near.split_once('_')) {
        (Some((found, rest)), Some((meant, same))) if rest == same => distance(found, meant) <= 2,
        _ => true,
    }
}

/// A whole number as YAML 1.1 writes it: `1_000`, `0x10`, `0b1`, `017` and `5.0` are some.
fn yaml_integer(text: &str) -> Option<i64> {
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let radix = |prefix: &str, radix| Some((digits.strip_prefix(prefix)?, radix));
    let octal = (digits.len() > 1).then(|| radix("0", 8)).flatten();
    let (digits, radix) =
        radix("0x", 16).or(radix("0b", 2)).or(radix("0o", 8)).or(octal).unwrap_or((digits, 10));
    if let Ok(number) = i64::from_str_radix(digits, radix) {
        return Some(sign * number);
    }
    let float: f64 = plain.parse().ok()?;
    (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
}

/// Source of the rule: `ParseDuration` of Go's `time`. A negative one is none here.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut millis = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|end| *end > 0)?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let factor = match unit {
            "ns" => 1e-6,
            "us" | "µs" | "μs" => 1e-3,
            "ms" => 1.0,
            "s" => 1e3,
            "m" => 6e4,
            "h" => 3.6e6,
            _ => return None,
        };
        millis += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    (!text.is_empty() && millis < 9e15).then(|| Duration::from_millis(millis.ceil() as u64))
}

/// The text at `node`, if it is one.
pub(crate) fn scalar(node: &Node) -> Option<Text<'_>> {
    match &node.value {
        Value::Scalar(text) => Some(Text { line: node.line, text }),
        _ => None,
    }
}

/// A value for a message: quoted, and cut to 64 characters.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Lists whose entries have names, so a file may have them as a mapping by mistake.
const NAMED_LISTS: [&str; 5] = ["levels", "receivers", "sources", "time_intervals", "users"];

/// An example of `value` as a list.
fn listed(key: &str, value: &Value) -> String {
    match value {
        Value::Scalar(text) => format!(", such as {key}: [{}]", shown(text)),
        Value::Map(entries) => match entries.first() {
            Some((_, Node { value: Value::Map(_) | Value::Null, .. })) if NAMED_LISTS.contains(&key) => {
                format!(", such as {key}: {}", named(entries.iter()))
            }
            Some((first, _)) => format!(". Each entry begins with a dash, such as \"- {}: …\"", first.name),
            None => String::new(),
        },
        Value::Null | Value::List(_) => String::new(),
    }
}

/// The entries of a mapping as a list of names, in the notation of YAML. It shows at most three.
pub(crate) fn named<'a>(entries: impl Iterator<Item = &'a (Key, Node)>) -> String {
    let entry = |(key, node): &(Key, Node)| match &node.value {
        Value::Map(keys) if !keys.is_empty() => format!("{{name: {}, {}: …}}", key.name, keys[0].0.name),
        _ => format!("{{name: {}}}", key.name),
    };
    let mut names: Vec<String> = entries.take(4).map(entry).collect();
    if let Some(fourth) = names.get_mut(3) {
        *fourth = "…".into();
    }
    format!("[{}]", names.join(", "))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Scalar(_) => "a single value",
        Value::List(_) => "a list",
        Value::Map(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_renamed_is_refused_with_its_new_name() {
        for (old, new) in RENAMED {
            let root = crate::settings::yaml::parse(&format!("{old}: 1")).unwrap();
            let problems = Problems::default();
            let mut keys = Section::new(&root, "the configuration", &problems).unwrap();
            keys.node(new);
            keys.finish();
            let message = format!("{old} in the configuration is called {new} now. Write {new}");
            assert_eq!(problems.into_inner(), [Problem::new(1, message)]);
        }
    }

    fn told(text: &str, read: impl FnOnce(&mut Section<'_>)) -> Vec<String> {
        let root = crate::settings::yaml::parse(text).unwrap();
        let problems = Problems::default();
        let mut keys = Section::new(&root, "global", &problems).unwrap();
        read(&mut keys);
        keys.finish();
        problems.into_inner().into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn a_key_of_another_service_is_no_misspelling() {
        for (found, hint) in [
            ("hipchat_api_url", "There are wechat_api_url, slack_api_url"),
            ("slak_api_url", "Did you mean slack_api_url?"),
            ("wechat_api_ulr", "Did you mean wechat_api_url?"),
        ] {
            let read = |keys: &mut Section<'_>| {
                keys.node("wechat_api_url");
                keys.node("slack_api_url");
            };
            let said = told(&format!("{found}: a"), read);
            assert!(said.len() == 1 && said[0].ends_with(hint), "{said:?}");
        }
    }

    #[test]
    fn an_entry_of_a_list_that_is_no_text_is_told_with_an_example() {
        let said = told("matchers: [{severity: page}]\ngroup_by: [null]", |keys| {
            keys.texts("matchers");
            keys.texts("group_by");
        });
        let matchers = "an entry of matchers is a mapping. Write a list of texts, such as matchers: \
                        ['severity=\"page\"']";
        assert_eq!(said, [matchers, "an entry of group_by is empty. Write a list of texts"]);
    }

    #[test]
    fn numbers_and_durations_are_those_of_go() {
        let whole = ["1_000", "0x10", "0b11", "017", "0", "5.0", "+7", "-3", "1e3", "5.5", "x", ""];
        let read = [Some(1000), Some(16), Some(3), Some(15), Some(0), Some(5), Some(7), Some(-3), Some(1000)];
        assert_eq!(whole.map(yaml_integer)[..9], read);
        assert_eq!(whole.map(yaml_integer)[9..], [None, None, None]);
        let millis = |text| go_duration(text).map(Duration::as_millis);
        assert_eq!(
            ["1m30s", "1.5h", "0", "300ms", "1us"].map(millis),
            [90_000, 5_400_000, 0, 300, 1].map(Some)
        );
        assert_eq!(["1d", "", "5", "-1s", "s", "1..5s"].map(millis), [None; 6]);
    }

    #[test]
    fn a_misspelt_key_finds_its_neighbour() {
        let keys = ["receiver", "routes", "group_by", "group_wait", "continue"];
        for (found, meant) in [
            ("reciever", Some("receiver")),
            ("route", Some("routes")),
            ("group-by", Some("group_by")),
            ("groupwait", Some("group_wait")),
            ("Continue", Some("continue")),
            ("xyz", None),
            ("", None),
        ] {
            assert_eq!(nearest(found, keys.into_iter()), meant, "{found}");
        }
    }
}
