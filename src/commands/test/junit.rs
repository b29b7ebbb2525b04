//! JUnit's XML, as CI systems read it. Times are those of the virtual clock.

use std::fmt::Write as _;

use super::report::{FileOutcome, TestOutcome, table};

/// All files as one document: a suite a file, a case a test. A file that cannot be read is a suite of
/// one case that ends in an error.
pub fn xml(outcomes: &[FileOutcome]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all = outcomes.iter().filter_map(|o| o.tests.as_ref().ok()).flatten();
    let (errors, failures) =
        (outcomes.iter().filter(|o| o.tests.is_err()).count(), all.clone().filter(|t| !t.passed()).count());
    let count = errors + all.count();
    let _ = writeln!(
        out,
        "<testsuites name=\"squelch test\" tests=\"{count}\" failures=\"{failures}\" errors=\"{errors}\">"
    );
    for outcome in outcomes {
        suite(&mut out, outcome);
    }
    out.push_str("</testsuites>\n");
    out
}

fn suite(out: &mut String, outcome: &FileOutcome) {
    let file = escaped(&outcome.file);
    match &outcome.tests {
        Err(errors) => {
            let text = escaped(&errors.to_string());
            let _ = write!(
                out,
                "  <testsuite name=\"{file}\" tests=\"1\" failures=\"0\" errors=\"1\" time=\"0\">\n    \
                 <testcase name=\"the file can be read\" classname=\"{file}\" time=\"0\">\n      \
                 <error message=\"the file cannot be read\" type=\"invalid\">{text}</error>\n    \
                 </testcase>\n  </testsuite>\n"
            );
        }
        Ok(tests) => {
            let failures = tests.iter().filter(|t| !t.passed()).count();
            let seconds: f64 = tests.iter().map(|t| t.lasted.as_secs_f64()).sum();
            let _ = writeln!(
                out,
                "  <testsuite name=\"{file}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" \
                 time=\"{seconds}\">",
                tests.len()
            );
            tests.iter().for_each(|test| case(out, &file, test));
            out.push_str("  </testsuite>\n");
        }
    }
}

fn case(out: &mut String, file: &str, test: &TestOutcome) {
    let (name, seconds) = (escaped(&test.name), test.lasted.as_secs_f64());
    let open = format!(
        "    <testcase name=\"{name}\" classname=\"{file}\" line=\"{}\" time=\"{seconds}\"",
        test.line
    );
    let (message, text) = match &test.result {
        Ok(comparison) if comparison.passed() => {
            let _ = writeln!(out, "{open}/>");
            return;
        }
        Ok(comparison) => {
            let marks = comparison.rows.iter().filter_map(|row| row.mark.as_deref());
            (marks.collect::<Vec<_>>().join(", "), table(comparison))
        }
        Err(why) => (why.to_string(), String::new()),
    };
    let (message, text) = (escaped(&message), escaped(&text));
    let _ = write!(
        out,
        "{open}>\n      <failure message=\"{message}\" type=\"unexpected\">\n{text}      </failure>\n    \
         </testcase>\n"
    );
}

/// Text for XML 1.0: markup is escaped, and characters that the format cannot hold are replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_a_text() {
        assert_eq!(escaped("a<b>&\"'\u{1}\né]]>"), "a&lt;b&gt;&amp;&quot;&apos;\u{fffd}\né]]&gt;");
    }
}
