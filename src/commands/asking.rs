//! The common part of the commands that read: how alerts are named, where they read, how they answer.

use std::io::Write;
use std::process::ExitCode;

use super::{complain, failed, wrote};
use crate::model::{Matcher, Timestamp, parse_matchers};

/// Matchers as amtool takes them: one or several in a word. The first may be a bare alertname.
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

/// The name of the user, as far as the system says.
pub fn whoever() -> String {
    let name = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "somebody".into())
}

/// Ends a command whose question makes no sense: 2.
pub fn senseless(why: &str) -> ExitCode {
    complain(why);
    ExitCode::from(2)
}

/// Ends a command with its result.
pub fn say(text: &str) -> ExitCode {
    wrote(std::io::stdout().lock().write_all(text.as_bytes()))
}

/// Ends a command with its result, as JSON.
pub fn say_json(found: &impl serde::Serialize) -> ExitCode {
    match serde_json::to_string_pretty(found) {
        Ok(text) => say(&(text + "\n")),
        Err(e) => failed(&e.to_string()),
    }
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
}
