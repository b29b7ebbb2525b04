//! Templated keys: errors of a template are reported, and the default text stands in for it.
//!
//! Alertmanager loads such a configuration and fails each notification that it concerns. Squelch loads it
//! too.

use std::collections::BTreeSet;

use super::section::{Problems, Section, Text};
use crate::model::LabelSet;
use crate::templates::{self, Form};

/// The longest template, in bytes.
const MAX_TEMPLATE: usize = 64 * 1024;
/// The consequence for a text whose template fails.
const STANDS_IN: &str = "the default text stands in";
/// The consequence for a label of a route whose template fails.
const LEFT_OUT: &str = "the route goes without this label";

/// A templated key of a section.
pub(crate) fn read(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    let text = section.text(key)?;
    check(section.problems, key, text)
}

/// The same for a key that holds HTML.
pub(crate) fn read_html(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    let text = section.text(key)?;
    checked(section.problems, key, (text, Form::Html), Some(STANDS_IN))
}

/// The same for a text under a free name. A template that fails is doubtful: the default text stands in for
/// it.
pub(crate) fn check(problems: &Problems, key: &str, text: Text<'_>) -> Option<String> {
    checked(problems, key, (text, Form::Plain), Some(STANDS_IN))
}

/// The same for the label of a route, which is left out where it fails. Returns whether it is right.
pub(crate) fn check_label(problems: &Problems, key: &str, text: Text<'_>) -> bool {
    let before = problems.count();
    checked(problems, key, (text, Form::Plain), Some(LEFT_OUT));
    problems.count() == before
}

/// All labels of a route together, because they may ask for each other. An inherited label that fails of
/// itself is noted where it stands, and each circle goes through one of the route's `own`.
pub(crate) fn check_labels(problems: &Problems, labels: &LabelSet, own: &[(&str, Text<'_>)]) {
    for (label, why) in templates::check_route_labels(&problems.library(), labels) {
        if let Some((_, text)) = own.iter().find(|(name, _)| *name == label) {
            problems.doubt(text.line, one_line(&format!("labels.{label}: {why} ({LEFT_OUT})")));
        }
    }
}

/// The same for a text that no default can stand in for, such as a key or an address. It must work.
pub(crate) fn check_place(problems: &Problems, key: &str, text: Text<'_>) -> Option<String> {
    checked(problems, key, (text, Form::Plain), None)
}

/// `otherwise`: the consequence where the template fails.
fn checked(
    problems: &Problems,
    key: &str,
    (text, form): (Text<'_>, Form),
    otherwise: Option<&str>,
) -> Option<String> {
    let bytes = text.text.len();
    if bytes > MAX_TEMPLATE {
        problems.add(text.line, format!("{key} has {bytes} bytes. Write at most {MAX_TEMPLATE}"));
        return None;
    }
    let found = templates::check(&problems.library(), text.text, form);
    for wrong in found.wrong {
        let wrong = one_line(&format!("{key}: {wrong}"));
        match otherwise {
            Some(otherwise) if !found.old => problems.doubt(text.line, format!("{wrong} ({otherwise})")),
            _ => problems.add(text.line, wrong),
        }
    }
    Some(text.text.to_owned())
}

/// A template may have several lines, an error about it has one.
fn one_line(wrong: &str) -> String {
    wrong.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Whether the template writes anything about a notification whose alerts have no labels.
pub(crate) fn says_something_without_labels(problems: &Problems, text: &str) -> bool {
    templates::says_something_without_labels(&problems.library(), text)
}

/// The fields of the notification that a template takes a value from by name.
pub(crate) fn names_of(problems: &Problems, text: &str) -> BTreeSet<String> {
    templates::fields_of(&problems.library(), text)
}
