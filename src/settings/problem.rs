//! The errors of a configuration file, with their lines.

use std::fmt;

/// The most problems that are shown of one file.
const SHOWN: usize = 50;

/// One problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The line, from 1. 0 = the file as a whole.
    pub line: u32,
    /// The value that was found, and the right value.
    pub message: String,
}

impl Problem {
    /// A problem on a line.
    pub fn new(line: u32, message: impl Into<String>) -> Self {
        Problem { line, message: message.into() }
    }
}

/// All errors of one file, in the order of its lines. It is never empty.
///
/// Displays as one line `file:line: what was found; what would be right` a problem, at most 50 of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigErrors {
    /// The file, as the command line names it.
    pub file: String,
    /// The errors.
    pub problems: Vec<Problem>,
}

impl ConfigErrors {
    /// One problem of a file as a whole.
    pub fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self::new(file, vec![Problem::new(0, message)])
    }

    /// These problems of a file, of which there is at least one.
    pub fn new(file: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|p| p.line);
        problems.dedup();
        ConfigErrors { file: file.to_owned(), problems }
    }
}

/// Says of each problem whose line holds a variable such as `${NAME}` that Squelch does not replace it. Many
/// files are templates of `envsubst`.
pub(crate) fn with_variables(mut problems: Vec<Problem>, text: &str) -> Vec<Problem> {
    for Problem { line, message } in &mut problems {
        let index = (*line as usize).checked_sub(1);
        let found = index.and_then(|index| text.lines().nth(index)).and_then(variable);
        if let Some(name) = found {
            message.push_str(&format!(
                ". Squelch replaces no variables, as Alertmanager does not. Write the value of {name}, such as with \
                 envsubst"
            ));
        }
    }
    problems
}

/// The first variable in a line, such as `${NAME}`.
fn variable(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("${")?;
    let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let ends = rest[name.len()..].starts_with(['}', ':', '-']);
    (ends && !name.is_empty()).then(|| format!("${{{name}}}"))
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Problem { line, message }) in self.problems.iter().take(SHOWN).enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            match line {
                0 => write!(f, "{newline}{}: {message}", self.file)?,
                line => write!(f, "{newline}{}:{line}: {message}", self.file)?,
            }
        }
        match self.problems.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n{}: {more} more problems are not shown", self.file),
        }
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_the_variable_of_its_line_that_nothing_replaces() {
        let text = "a: 1\nurl: '${SLACK_URL:-x}'\nb: '{{ ${ }}'\n";
        let problems = (0..=4).map(|line| Problem::new(line, "wrong")).collect();
        let said: Vec<String> = with_variables(problems, text).into_iter().map(|p| p.message).collect();
        assert!(said[2].ends_with("Write the value of ${SLACK_URL}, such as with envsubst"), "{}", said[2]);
        assert_eq!([&said[0], &said[1], &said[3], &said[4]], ["wrong"; 4]);
    }
}
