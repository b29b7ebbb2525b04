//! The common part of the commands that read: how alerts are named, where they read, how they answer.

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

/// The name of the account that runs this command: `USER` or `LOGNAME`, else the name that `/etc/passwd` has,
/// else `squelch CLI`.
pub fn account() -> String {
    let of_environment = ["USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    let accounts = || std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let uid = rustix::process::getuid().as_raw();
    let mut names =
        of_environment.chain(std::iter::once_with(|| name_of(uid, &accounts()).unwrap_or_default()));
    names.find(|name| !name.is_empty()).unwrap_or_else(|| "squelch CLI".into())
}

/// The name of the user `uid` in the text of `/etc/passwd`.
fn name_of(uid: u32, accounts: &str) -> Option<String> {
    let mut lines = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|fields| fields.get(2).is_some_and(|id| id.parse() == Ok(uid)))?;
    Some(line[0].to_owned())
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
    fn an_account_without_a_name_in_the_environment_has_that_of_its_number() {
        let accounts = "root:x:0:0:root:/root:/bin/bash\n\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(name_of(0, accounts).as_deref(), Some("root"));
        assert_eq!(name_of(1000, accounts).as_deref(), Some("ada"));
        assert_eq!(name_of(65534, accounts), None);
    }
}
