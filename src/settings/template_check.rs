//! Templated keys: what is wrong with a template is told, and the default text stands in for it.
//!
//! Alertmanager loads such a configuration and fails each notification that it concerns. Squelch loads it
//! too.

use std::collections::BTreeSet;

use super::section::{Problems, Section, Text};
use crate::templates;

/// The longest template, in bytes.
const MAX_TEMPLATE: usize = 64 * 1024;

/// A templated key of a section.
pub(crate) fn read(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    let text = section.text(key)?;
    check(section.problems, key, text)
}

/// The same for a text under a free name. A template that fails is doubtful: the default text stands in for
/// it.
pub(crate) fn check(problems: &Problems, key: &str, text: Text<'_>) -> Option<String> {
    checked(problems, key, text, false)
}

/// The same for a text that no default can stand in for, such as a key or an address. It must work.
pub(crate) fn check_place(problems: &Problems, key: &str, text: Text<'_>) -> Option<String> {
    checked(problems, key, text, true)
}

fn checked(problems: &Problems, key: &str, text: Text<'_>, needed: bool) -> Option<String> {
    let bytes = text.text.len();
    if bytes > MAX_TEMPLATE {
        problems.add(text.line, format!("{key} has {bytes} bytes; write at most {MAX_TEMPLATE}"));
        return None;
    }
    let found = templates::check(&problems.library(), text.text);
    for wrong in found.wrong {
        // A template may have several lines, an error about it has one.
        let wrong = format!("{key}: {wrong}");
        let wrong: String = wrong.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if needed || found.old {
            problems.add(text.line, wrong);
        } else {
            problems.doubt(text.line, format!("{wrong} (the default text stands in)"));
        }
    }
    Some(text.text.to_owned())
}

/// Whether the template writes anything about a notification whose alerts have no labels.
pub(crate) fn says_something_without_labels(problems: &Problems, text: &str) -> bool {
    templates::says_something_without_labels(&problems.library(), text)
}

/// The fields of the notification that a template takes a value from by name.
pub(crate) fn names_of(problems: &Problems, text: &str) -> BTreeSet<String> {
    templates::fields_of(&problems.library(), text)
}
