//! What the commands that read have in common: how alerts are named, where they read, how they answer.

use std::io::Write;
use std::process::ExitCode;

use super::{complain, failed, wrote};
use crate::decision_log::plain;
use crate::model::{Matcher, Timestamp, parse_matchers};

/// Matchers as amtool takes them: one or several in a word; the first may be a bare alertname.
///
/// # Errors
/// A word says nothing, for the reason given.
pub fn matchers(words: &[String]) -> Result<Vec<Matcher>, String> {
    let mut matchers = Vec::new();
    for (n, word) in words.iter().enumerate() {
        let read = match n == 0 && !word.contains(['=', '~', '{']) {
            true => parse_matchers(&format!("alertname={}", crate::model::Quoted(word))),
            false => parse_matchers(word),
        };
        matchers.extend(read.map_err(|e| e.to_string())?);
    }
    Ok(matchers)
}

/// Matchers as parameters of the API.
pub fn filters(words: &[String]) -> Result<Vec<(&'static str, String)>, String> {
    Ok(matchers(words)?.iter().map(|m| ("filter", m.to_string())).collect())
}

/// Ends a command whose question makes no sense: 2.
pub fn senseless(why: &str) -> ExitCode {
    complain(why);
    ExitCode::from(2)
}

/// Ends a command with what it found.
pub fn say(text: &str) -> ExitCode {
    wrote(std::io::stdout().lock().write_all(text.as_bytes()))
}

/// Ends a command with what it found, as JSON.
pub fn say_json(found: &impl serde::Serialize) -> ExitCode {
    match serde_json::to_string_pretty(found) {
        Ok(text) => say(&(text + "\n")),
        Err(e) => failed(&e.to_string()),
    }
}

/// A table: columns as wide as what they hold, the last one as it is. What others wrote cannot begin a
/// line or steer a terminal.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    let clean = |row: &Vec<String>| row.iter().map(|cell| plain(cell)).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = std::iter::once(&head).chain(rows).map(clean).collect();
    let mut widths = vec![0; rows[0].len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| {
            let pad = width - cell.chars().count();
            format!("{cell}{}", " ".repeat(pad))
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// To the second.
pub fn moment(at: Timestamp) -> String {
    Timestamp::from_millis(at.as_millis().div_euclid(1000) * 1000).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_may_be_a_bare_alertname() {
        let read = |words: &[&str]| matchers(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        let texts: Vec<String> =
            read(&["Down \"x\"", "host=~a|b"]).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(texts, [r#"alertname="Down \"x\"""#, r#"host=~"a|b""#]);
        assert!(read(&["a", "b"]).is_err(), "only the first is a bare alertname");
        assert!(read(&[]).unwrap().is_empty());
    }

    #[test]
    fn columns_are_as_wide_as_what_they_hold() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let text = table(&["A", "B"], &[row("é", "1"), row("long", "2\n\u{1b}")]);
        assert_eq!(text, "A     B\né     1\nlong  2\u{fffd}\u{fffd}\n");
    }
}
