//! The files that a pattern matches, by the rules of Go's `filepath.Glob`.

use std::path::{Component, Path, PathBuf};

use super::apart::Apart;
use super::file::{FileError, PATIENCE, broke};

static LISTS: Apart<PathBuf, Result<Vec<PathBuf>, FileError>> = Apart::new("glob");

/// The most names of one folder that are looked at.
const NAMES: usize = 100_000;

/// The files and folders that a pattern matches, in the order of their names. `*` and `?` match within one
/// name, and `[a-z]` one character. A folder that cannot be read has none. Blocks the thread, for at most
/// [`PATIENCE`].
///
/// # Errors
/// The pattern is malformed, or the file system does not answer.
pub fn glob(pattern: &Path) -> Result<Vec<PathBuf>, FileError> {
    let of = pattern.to_owned();
    LISTS.wait(&pattern.to_owned(), PATIENCE, move || listed(&of)).unwrap_or_else(|e| Err(broke(&e)))
}

fn listed(pattern: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let Component::Normal(name) = component else {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        };
        let pattern: Vec<char> = name.to_string_lossy().chars().collect();
        // A pattern is malformed for any text.
        matches(&pattern, &[])?;
        if !pattern.iter().any(|c| matches!(c, '*' | '?' | '[' | '\\')) {
            found.iter_mut().for_each(|path| path.push(name));
            continue;
        }
        let mut next = Vec::new();
        for folder in &found {
            let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            for entry in std::fs::read_dir(here).into_iter().flatten().flatten().take(NAMES) {
                let name = entry.file_name();
                let chars: Vec<char> = name.to_string_lossy().chars().collect();
                if matches(&pattern, &chars)? {
                    next.push(folder.join(name));
                }
            }
        }
        next.sort();
        found = next;
    }
    found.retain(|path| path.exists());
    Ok(found)
}

/// Whether a pattern matches a whole name.
fn matches(pattern: &[char], name: &[char]) -> Result<bool, FileError> {
    let malformed =
        || FileError::Read("it is malformed. Write a path with * or ?, such as templates/*.tmpl".into());
    let (mut at, mut here) = (0, 0);
    // The place of the last *, and the length that it has matched so far.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(at) {
            Some('*') => {
                star = Some((at, here));
                at += 1;
                continue;
            }
            Some('?') => name.get(here).map(|_| at + 1),
            Some('[') => {
                let (end, class) = class(&pattern[at + 1..]).ok_or_else(malformed)?;
                name.get(here).filter(|c| class.holds(**c)).map(|_| at + 1 + end)
            }
            Some('\\') => {
                let literal = pattern.get(at + 1).ok_or_else(malformed)?;
                name.get(here).filter(|c| *c == literal).map(|_| at + 2)
            }
            Some(literal) => name.get(here).filter(|c| *c == literal).map(|_| at + 1),
            None if here == name.len() => return Ok(true),
            None => None,
        };
        match (step, &mut star) {
            (Some(next), _) => {
                at = next;
                here += 1;
            }
            (None, Some((place, from))) if *from < name.len() => {
                *from += 1;
                (at, here) = (*place + 1, *from);
            }
            (None, _) => {
                // The rest must also be well-formed.
                while let Some(c) = pattern.get(at) {
                    at += match c {
                        '[' => 1 + class(&pattern[at + 1..]).ok_or_else(malformed)?.0,
                        '\\' => pattern.get(at + 1).map(|_| 2).ok_or_else(malformed)?,
                        _ => 1,
                    };
                }
                return Ok(false);
            }
        }
    }
}

/// A set of characters: `[a-z]`, `[^0]`.
struct Class {
    not: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    fn holds(&self, c: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != self.not
    }
}

/// A class behind its `[`, and how long it is with its `]`.
fn class(pattern: &[char]) -> Option<(usize, Class)> {
    let not = pattern.first() == Some(&'^');
    let (mut at, mut ranges) = (usize::from(not), Vec::new());
    let one = |at: &mut usize| {
        if pattern.get(*at) == Some(&'\\') {
            *at += 1;
        }
        let c = *pattern.get(*at)?;
        *at += 1;
        Some(c)
    };
    loop {
        match pattern.get(at)? {
            ']' if !ranges.is_empty() => return Some((at + 1, Class { not, ranges })),
            ']' | '-' => return None,
            _ => {
                let low = one(&mut at)?;
                let high = if pattern.get(at) == Some(&'-') {
                    at += 1;
                    one(&mut at)?
                } else {
                    low
                };
                ranges.push((low, high));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        let holds = |pattern: &str, name: &str| {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            matches(&chars(pattern), &chars(name)).ok()
        };
        for (pattern, name, expected) in [
            ("*.tmpl", "a.tmpl", Some(true)),
            ("*.tmpl", "a.tmpl.bak", Some(false)),
            ("a*b*c", "axxbyyc", Some(true)),
            ("a*b*c", "axxbyy", Some(false)),
            ("?x", "éx", Some(true)),
            ("[a-c]1", "b1", Some(true)),
            ("[^a-c]1", "b1", Some(false)),
            ("\\*", "*", Some(true)),
            ("[a", "a", None),
            ("a[", "b", None),
            ("\\", "", None),
            ("", "", Some(true)),
        ] {
            assert_eq!(holds(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn files_come_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.tmpl", "a.tmpl", "c.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = |pattern: &str| {
            let found = glob(&folder.path().join(pattern)).unwrap();
            found
                .iter()
                .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(found("*.tmpl"), ["a.tmpl", "b.tmpl"]);
        assert_eq!(found("c.txt"), ["c.txt"]);
        assert!(found("none/*.tmpl").is_empty() && found("d.tmpl").is_empty());
        assert!(glob(Path::new("[")).is_err());
    }
}
