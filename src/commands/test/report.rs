//! The output of `squelch test`, in promtool's manner: for people, and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::compare::{ComparedRow, RowSide, TestComparison};
use super::run::Stopped;
use crate::config::ConfigErrors;
use crate::model::Duration;

/// The most columns of the output. Paths and names may be longer.
const COLUMNS: usize = 100;
const INDENT: usize = 6;
/// Between the sides, and before the mark.
const GAP: &str = " | ";
/// How many rows are shown of one test, and alerts of one side.
const MOST_ROWS: usize = 100;
const MOST_ALERTS: usize = 3;

/// The result of one file.
pub struct FileOutcome {
    /// The file, as the command line names it.
    pub file: String,
    /// The results of its tests, or why there are none.
    pub tests: Result<Vec<TestOutcome>, ConfigErrors>,
}

/// The result of one test.
pub struct TestOutcome {
    /// Its name.
    pub name: String,
    /// The line on which it begins.
    pub line: u32,
    /// How long it lasted, on its own clock.
    pub lasted: Duration,
    /// The comparison of expected and seen decisions, or why the test did not end.
    pub result: Result<TestComparison, Stopped>,
}

impl FileOutcome {
    /// Whether the file is valid and every test that ran passed.
    pub fn passed(&self) -> bool {
        self.tests.as_ref().is_ok_and(|tests| tests.iter().all(TestOutcome::passed))
    }
}

impl TestOutcome {
    /// Whether all was as expected.
    pub fn passed(&self) -> bool {
        self.result.as_ref().is_ok_and(TestComparison::passed)
    }
}

/// The result of one file, in promtool's words.
pub fn simple(outcome: &FileOutcome) -> String {
    let mut out = format!("Unit Testing:  {}\n", outcome.file);
    match &outcome.tests {
        Ok(tests) if tests.iter().all(TestOutcome::passed) => out.push_str("  SUCCESS\n"),
        Ok(tests) => {
            out.push_str("  FAILED:\n");
            for test in tests.iter().filter(|t| !t.passed()) {
                let _ = writeln!(out, "    name: {}, line {}", test.name, test.line);
                match &test.result {
                    Ok(comparison) => out.push_str(&table(comparison)),
                    Err(why) => {
                        let _ = writeln!(out, "      {why}");
                    }
                }
            }
        }
        Err(errors) => {
            out.push_str("  FAILED:\n");
            for line in errors.to_string().lines() {
                let _ = writeln!(out, "    {line}");
            }
        }
    }
    out.push('\n');
    out
}

/// The number of failed tests, in one line. `None` if all passed.
pub fn summary(outcomes: &[FileOutcome]) -> Option<String> {
    let refused = outcomes.iter().filter(|o| o.tests.is_err()).count();
    let tests = || outcomes.iter().filter_map(|o| o.tests.as_ref().ok()).flatten();
    let failed = tests().filter(|t| !t.passed()).count();
    let mut parts = Vec::new();
    if failed > 0 {
        parts.push(format!("{failed} of {} failed", plural(tests().count(), "test")));
    }
    if refused > 0 {
        parts.push(format!("{} could not be read", plural(refused, "file")));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// All files as one JSON document.
pub fn json(outcomes: &[FileOutcome]) -> Value {
    let test = |test: &TestOutcome| {
        let (comparison, error) = match &test.result {
            Ok(comparison) => (Some(comparison), None),
            Err(why) => (None, Some(why.to_string())),
        };
        json!({
            "name": test.name,
            "line": test.line,
            "passed": test.passed(),
            "virtualSeconds": test.lasted.as_secs_f64(),
            "rows": comparison.map(|c| &c.rows),
            "notAccepted": comparison.map(|c| &c.refused),
            "error": error,
        })
    };
    let file = |outcome: &FileOutcome| match &outcome.tests {
        Ok(tests) => json!({
            "file": outcome.file,
            "passed": tests.iter().all(TestOutcome::passed),
            "tests": tests.iter().map(test).collect::<Vec<_>>(),
            "errors": [],
        }),
        Err(errors) => {
            let error = |p: &crate::config::Problem| json!({"line": p.line, "message": p.message});
            let errors: Vec<Value> = errors.problems.iter().map(error).collect();
            json!({"file": outcome.file, "passed": false, "tests": [], "errors": errors})
        }
    };
    json!({
        "passed": outcomes.iter().all(FileOutcome::passed),
        "files": outcomes.iter().map(file).collect::<Vec<_>>(),
    })
}

/// Expected and got, side by side, with a mark where they differ.
pub fn table(comparison: &TestComparison) -> String {
    // Rows that fit are context. If there are too many rows, they make room.
    let crowded = comparison.rows.len() > MOST_ROWS;
    let rows: Vec<&ComparedRow> = comparison.rows.iter().filter(|r| !crowded || r.mark.is_some()).collect();
    let (shown, hidden) = rows.split_at(rows.len().min(MOST_ROWS));
    let marks = shown.iter().filter_map(|row| row.mark.as_ref()).map(|mark| mark.chars().count());
    let mark_width = marks.max().unwrap_or(0).min(24);
    let width = (COLUMNS - INDENT - 2 * GAP.len() - mark_width) / 2;
    let mut out = String::new();
    line(&mut out, width, ["expected", "got", ""]);
    line(&mut out, width, [&"-".repeat(width), &"-".repeat(width), &"-".repeat(mark_width)]);
    for row in shown {
        let cell = |side: &Option<RowSide>| match side {
            Some(side) => wrap(&words(side), width),
            None => vec!["-".to_owned()],
        };
        let (expected, got) = (cell(&row.expected), cell(&row.got));
        let place = row.line.filter(|_| row.mark.is_some()).map(|line| format!("line {line}"));
        let mark: Vec<String> = row.mark.iter().cloned().chain(place).collect();
        for i in 0..expected.len().max(got.len()).max(mark.len()) {
            let of = |cell: &'_ [String]| cell.get(i).cloned().unwrap_or_default();
            line(&mut out, width, [&of(&expected), &of(&got), &of(&mark)]);
        }
    }
    if !hidden.is_empty() {
        let _ = writeln!(out, "{:INDENT$}… and {} more rows", "", hidden.len());
    }
    if shown.iter().any(|row| row.got.is_none()) {
        let _ = writeln!(out, "{:INDENT$}the clock stopped at {}", "", comparison.stopped);
    }
    for side in comparison.refused.iter().take(MOST_ROWS) {
        let text = wrap(&format!("not accepted: {}", words(side)), COLUMNS - INDENT);
        for text in text {
            let _ = writeln!(out, "{:INDENT$}{text}", "");
        }
    }
    out
}

fn line(out: &mut String, width: usize, [left, right, mark]: [&str; 3]) {
    let text = format!("{:INDENT$}{left:width$}{GAP}{right:width$}{GAP}{mark}", "");
    out.push_str(text.trim_end().trim_end_matches('|').trim_end());
    out.push('\n');
}

fn words(side: &RowSide) -> String {
    let mut words: Vec<String> =
        [&side.at, &side.kind, &side.receiver].into_iter().filter(|word| !word.is_empty()).cloned().collect();
    words.extend(side.alerts.iter().take(MOST_ALERTS).cloned());
    let more = side.alerts.len().saturating_sub(MOST_ALERTS);
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    if !side.notes.is_empty() {
        words.push(format!("({})", side.notes.join(", ")));
    }
    words.join(" ")
}

/// Breaks a text at blanks, and inside words that are longer than a line. Further lines are set in by two.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + rest.len() <= width {
            used += 1;
            lines.last_mut().into_iter().for_each(|l| l.push(' '));
        } else if used > 0 {
            lines.push("  ".into());
            used = 2;
        }
        while used + rest.len() > width {
            let tail = rest.split_off(width - used);
            lines.last_mut().into_iter().for_each(|l| l.extend(&rest));
            rest = tail;
            lines.push("  ".into());
            used = 2;
        }
        used += rest.len();
        lines.last_mut().into_iter().for_each(|l| l.extend(&rest));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_break_and_no_line_is_too_long() {
        assert_eq!(wrap("a bb ccc", 5), ["a bb", "  ccc"]);
        assert_eq!(wrap("abcdefgh i", 5), ["abcde", "  fgh", "  i"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
