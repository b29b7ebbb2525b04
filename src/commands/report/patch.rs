//! Suggestions as a patch of rule files: lines change, comments and formatting stay.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::history::{Setting, Suggestion};
use crate::model::Duration;
use crate::settings::yaml::{self, Node, Value};

/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// The patch, and the parts that it lacks.
#[derive(Debug, Default)]
pub(super) struct Patch {
    /// A unified diff, for `patch -p1` and `git apply`.
    pub(super) diff: String,
    /// Why something is missing, a sentence each.
    pub(super) missing: Vec<String>,
}

/// One change of a file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Edit {
    /// A line, from 0, becomes another one.
    Replace(usize, String),
    /// A new line before a line, from 0.
    Insert(usize, String),
}

impl Edit {
    fn line(&self) -> usize {
        match self {
            Edit::Replace(line, _) | Edit::Insert(line, _) => *line,
        }
    }
}

/// The patch of `files` for `suggestions`.
///
/// # Errors
/// A file cannot be read, or is no YAML.
pub(super) fn patch(files: &[PathBuf], suggestions: &[Suggestion]) -> Result<Patch, String> {
    let (mut patch, mut found) = (Patch::default(), BTreeSet::new());
    for file in files {
        let name = file.display();
        let text = std::fs::read_to_string(file).map_err(|e| format!("{name}: {e}"))?;
        let tree = yaml::parse(&text).map_err(|e| format!("{name}:{}: {}", e.line, e.message))?;
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let mut edits = Vec::new();
        rules(&tree, &mut |rule, keys| {
            for suggestion in suggestions.iter().filter(|one| one.rule == rule) {
                found.insert(suggestion.rule.clone());
                match edit(&lines, keys, suggestion) {
                    Some(edit) => edits.push(edit),
                    None => patch.missing.push(format!(
                        "{name}: the rule {rule} stands on one line, or its {} is no duration. Change it by hand.",
                        suggestion.setting.as_str()
                    )),
                }
            }
        });
        edits.sort();
        if !edits.is_empty() {
            patch.diff.push_str(&diff(file, &lines, &edits));
        }
    }
    let missing = suggestions.iter().filter(|one| !found.contains(&one.rule));
    patch.missing.extend(missing.map(|one| format!("No file has the rule {}.", one.rule)));
    Ok(patch)
}

type Keys = [(yaml::Key, Node)];

/// Calls `each` with the name and the keys of each alerting rule.
fn rules(node: &Node, each: &mut impl FnMut(&str, &Keys)) {
    match &node.value {
        Value::List(list) => list.iter().for_each(|node| rules(node, each)),
        Value::Map(keys) => {
            let name = keys.iter().find(|(key, _)| key.name == "alert");
            match name.map(|(_, node)| &node.value) {
                Some(Value::Scalar(name)) if keys.iter().any(|(key, _)| key.name == "expr") => {
                    each(name, keys)
                }
                _ => keys.iter().for_each(|(_, node)| rules(node, each)),
            }
        }
        Value::Null | Value::Scalar(_) => {}
    }
}

/// The change of a rule with these keys.
fn edit(lines: &[&str], keys: &Keys, suggestion: &Suggestion) -> Option<Edit> {
    let name = suggestion.setting.as_str();
    let place = |name: &str| keys.iter().find(|(key, _)| key.name == name);
    let at = |line: u32| usize::try_from(line).ok()?.checked_sub(1).filter(|line| *line < lines.len());
    if let Some((key, node)) = place(name) {
        let (line, Value::Scalar(old)) = (at(key.line)?, &node.value) else { return None };
        let (before, after) = lines[line].split_once(&format!("{name}:"))?;
        let own = before.trim_start().trim_start_matches("- ").trim().is_empty() && node.line == key.line;
        let new = old.parse::<Duration>().ok()?.as_millis().saturating_add(suggestion.by().as_millis());
        let new = Duration::from_millis(new);
        let changed = after.replacen(old.as_str(), &new.to_string(), 1);
        return own.then(|| Edit::Replace(line, format!("{before}{name}:{changed}")));
    }
    let (alert, _) = place("alert")?;
    let first = at(alert.line)?;
    let column = lines[first].find("alert")?;
    let before = &lines[first][..column];
    if !before.chars().all(|c| c == ' ' || c == '-') {
        return None;
    }
    // Prometheus' own order: alert, expr, for, keep_firing_for.
    let after = match suggestion.setting {
        Setting::For => place("expr")?,
        Setting::KeepFiringFor => place("for").or(place("expr"))?,
    };
    let next = keys.iter().map(|(key, _)| key.line).filter(|line| *line > after.0.line).min();
    let indented = |line: &str| line.len() - line.trim_start_matches(' ').len() > column;
    let line = match next.and_then(at) {
        Some(mut next) => {
            // Comments above a key belong to it.
            let stays =
                |line: &str| line.trim().is_empty() || line.trim().starts_with('#') && !indented(line);
            while next > first + 1 && stays(lines[next - 1]) {
                next -= 1;
            }
            next
        }
        None => first + 1,
    };
    let ending = if lines[first].ends_with("\r\n") { "\r\n" } else { "\n" };
    Some(Edit::Insert(line, format!("{}{name}: {}{ending}", " ".repeat(column), suggestion.by())))
}

/// The changes of one file as a unified diff.
fn diff(file: &Path, lines: &[&str], edits: &[Edit]) -> String {
    let path = file.to_string_lossy();
    let path = path.trim_start_matches("./").trim_start_matches('/');
    let mut text = format!("--- a/{path}\n+++ b/{path}\n");
    let (mut rest, mut grown) = (edits, 0);
    while let Some(first) = rest.first() {
        // Changes whose context touches share a hunk.
        let mut count = 1;
        while rest.get(count).is_some_and(|next| next.line() <= rest[count - 1].line() + 2 * CONTEXT) {
            count += 1;
        }
        let (hunk, others) = rest.split_at(count);
        rest = others;
        let from = first.line().saturating_sub(CONTEXT);
        let last = hunk.last().map_or(0, Edit::line);
        let to = (last + CONTEXT + 1).min(lines.len());
        let inserted = hunk.iter().filter(|edit| matches!(edit, Edit::Insert(..))).count();
        let (old, new) = (to - from, to - from + inserted);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "@@ -{},{old} +{},{new} @@", from + 1, from + 1 + grown);
        grown += inserted;
        for (number, line) in lines.iter().enumerate().take(to).skip(from) {
            let mut replaced = false;
            for edit in hunk.iter().filter(|edit| edit.line() == number) {
                match edit {
                    Edit::Insert(_, new) => push(&mut text, '+', new),
                    Edit::Replace(_, new) => {
                        push(&mut text, '-', line);
                        push(&mut text, '+', new);
                        replaced = true;
                    }
                }
            }
            if !replaced {
                push(&mut text, ' ', line);
            }
        }
        for edit in hunk.iter().filter(|edit| edit.line() >= to) {
            if let Edit::Insert(_, new) = edit {
                push(&mut text, '+', new);
            }
        }
    }
    text
}

fn push(text: &mut String, mark: char, line: &str) {
    text.push(mark);
    text.push_str(line);
    if !line.ends_with('\n') {
        text.push_str("\n\\ No newline at end of file\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggestion(rule: &str, setting: Setting, minutes: u64) -> Suggestion {
        Suggestion {
            rule: rule.to_owned(),
            setting,
            seconds: minutes * 60,
            pages: 12,
            fewer: 7,
            delayed: 5,
            longest_delay_seconds: 300,
            lost: 7,
            longest_lost_seconds: 200,
        }
    }

    fn edits(text: &str, suggestion: &Suggestion) -> Vec<Option<Edit>> {
        let (tree, mut found) = (yaml::parse(text).unwrap(), Vec::new());
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        rules(&tree, &mut |name, keys| {
            if name == suggestion.rule {
                found.push(edit(&lines, keys, suggestion));
            }
        });
        found
    }

    #[test]
    fn an_existing_value_grows_and_keeps_its_comment() {
        let wait = suggestion("Disk", Setting::For, 5);
        let text = "- alert: Disk\n  expr: a\n  for: \"10m\" # slow disks\n";
        let new = "  for: \"15m\" # slow disks\n".to_owned();
        assert_eq!(edits(text, &wait), [Some(Edit::Replace(2, new))]);
        assert_eq!(edits("[{alert: Disk, expr: a, for: 5m}]", &wait), [None], "a rule on one line");
        assert_eq!(edits("- alert: Disk\n  expr: a\n  for: soon\n", &wait), [None]);
    }

    #[test]
    fn a_new_line_stands_behind_the_expression_with_the_indent_of_its_rule() {
        let wait = suggestion("Disk", Setting::For, 5);
        let text =
            "g:\n  - alert: Disk\n    expr: |\n      a\n      # not a key\n    # why\n    labels: {a: b}\n";
        assert_eq!(edits(text, &wait), [Some(Edit::Insert(5, "    for: 5m\n".to_owned()))]);
        let keep = suggestion("Disk", Setting::KeepFiringFor, 10);
        let text = "- expr: a\r\n  for: 5m\r\n  alert: Disk\r\n";
        assert_eq!(edits(text, &keep), [Some(Edit::Insert(2, "  keep_firing_for: 10m\r\n".to_owned()))]);
        let last = "- alert: Disk\n  expr: a";
        assert_eq!(edits(last, &keep), [Some(Edit::Insert(1, "  keep_firing_for: 10m\n".to_owned()))]);
    }

    #[test]
    fn hunks_count_their_lines() {
        let text: Vec<String> = (1..=20).map(|n| format!("{n}\n")).collect();
        let lines: Vec<&str> = text.iter().map(String::as_str).collect();
        let edits = [Edit::Insert(1, "new\n".into()), Edit::Replace(15, "other\n".into())];
        assert_eq!(
            diff(Path::new("./rules/a.yml"), &lines, &edits),
            "--- a/rules/a.yml\n+++ b/rules/a.yml\n@@ -1,5 +1,6 @@\n 1\n+new\n 2\n 3\n 4\n 5\n\
             @@ -13,7 +14,7 @@\n 13\n 14\n 15\n-16\n+other\n 17\n 18\n 19\n"
        );
    }
}
