//! Sources as tidy reads them: comments, strings and tests are separate from the rest.

use std::path::{Path, PathBuf};

/// One file of Rust.
pub struct Source {
    /// From the root of the repository.
    pub path: String,
    /// As it stands there.
    pub text: String,
    /// Comments, the contents of strings and (below `src`) tests blanked out. Lines and columns stay the
    /// same.
    pub code: String,
    /// Like `code`, but only the tests.
    pub tests: String,
    /// The text less the contents of its strings.
    pub without_strings: String,
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All sources below `folder`, in the order of their paths.
pub fn sources(folder: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&repository().join(folder), &mut paths);
    paths.sort();
    let root = repository();
    paths
        .iter()
        .map(|path| {
            let shown = path.strip_prefix(&root).unwrap_or(path).display().to_string();
            Source::new(&shown, &std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|e| e == "rs") {
            paths.push(path);
        }
    }
}

/// Whether a file is part of the program, and not of its tests.
fn is_product(path: &str) -> bool {
    path.starts_with("src/") || path.starts_with("crates/core/src/")
}

impl Source {
    /// A file with this path and text.
    pub fn new(path: &str, text: &str) -> Self {
        let (all, without_strings) = blank(text);
        let own = if is_product(path) { blank_tests(&all) } else { all.clone() };
        let tests: String =
            all.chars().zip(own.chars()).map(|(a, o)| if a == o && a != '\n' { ' ' } else { a }).collect();
        let mut source = Source { path: path.into(), text: text.into(), code: own, tests, without_strings };
        if source.is_test_file() {
            source.tests = std::mem::replace(&mut source.code, all.replace(|c| c != '\n', " "));
        }
        source
    }

    /// The folder below `src` that it stands in. `src/engine.rs` counts as `engine`.
    pub fn room(&self) -> Option<&str> {
        let path = self.path.strip_prefix("crates/core/").unwrap_or(&self.path);
        let (room, _) = path.strip_prefix("src/")?.split_once('/')?;
        Some(room)
    }

    /// Whether all of it is tests: `tests.rs`, or in a folder `tests` of a room. `testing.rs` serves tests
    /// only.
    pub fn is_test_file(&self) -> bool {
        let path = &self.path;
        is_product(path) && (path.ends_with("/tests.rs") || path.contains("/tests/"))
    }

    /// The strings of the program, each with its line and as the compiler reads it. A test's are left out.
    pub fn strings(&self) -> Vec<(usize, String)> {
        if !is_product(&self.path) {
            return Vec::new();
        }
        let (chars, code): (Vec<char>, Vec<char>) =
            (self.text.chars().collect(), self.code.chars().collect());
        let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
        while at < chars.len() {
            let (length, what) = token(&chars, at);
            let text = &chars[at..at + length];
            if matches!(what, Token::Text) && matches!(code[at], '"' | 'r') {
                let text: String = text.iter().collect();
                found.push((line, content(&text)));
            }
            line += text.iter().filter(|c| **c == '\n').count();
            at += length;
        }
        found
    }

    /// Every path that the code names, with its line: `use a::{b, c::d}` as `a::b` and `a::c::d`.
    pub fn paths(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let mut prefixes: Vec<String> = Vec::new();
        let mut path = String::new();
        let mut line = 1;
        let mut chars = self.code.chars().peekable();
        while let Some(c) = chars.next() {
            if c.is_alphanumeric() || c == '_' {
                path.push(c);
                continue;
            }
            if c == ':' && chars.peek() == Some(&':') {
                chars.next();
                path.push_str("::");
                continue;
            }
            let whole = format!("{}{path}", prefixes.last().map_or("", String::as_str));
            if c == '{' {
                // `a::{`: a tree. Any other brace opens a block, in which paths begin anew.
                prefixes.push(if path.ends_with("::") { whole } else { String::new() });
            } else {
                if path.contains("::") || (!path.is_empty() && !whole.eq(&path)) {
                    found.push((line, whole));
                }
                if c == '}' {
                    prefixes.pop();
                }
            }
            path.clear();
            line += usize::from(c == '\n');
        }
        found
    }
}

/// The text inside a literal. An escape stands for its letter, but for the line break.
fn content(literal: &str) -> String {
    if let Some(raw) = literal.strip_prefix('r') {
        return raw.trim_matches('#').trim_matches('"').to_owned();
    }
    let (mut text, mut chars) = (String::new(), literal.trim_matches('"').chars().peekable());
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('\n')) => while chars.next_if(|c| c.is_whitespace()).is_some() {},
            ('\\', Some('n')) => text.extend(chars.next().map(|_| '\n')),
            ('\\', Some(_)) => text.extend(chars.next()),
            _ => text.push(c),
        }
    }
    text
}

/// The text with comments and strings blanked out, and the text less the contents of strings.
fn blank(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut shown) = (String::new(), String::new());
    let mut at = 0;
    while at < chars.len() {
        let (length, what) = token(&chars, at);
        for (i, &c) in chars[at..at + length].iter().enumerate() {
            let edge = i == 0 || i + 1 == length;
            match what {
                Token::Code => (code.push(c), shown.push(c)),
                _ if c == '\n' => (code.push(c), shown.push(c)),
                Token::Comment => (code.push(' '), shown.push(c)),
                // The quotes stay: an attribute keeps its `= "…"`.
                Token::Text if edge => (code.push(c), shown.push(c)),
                Token::Text => (code.push(' '), ()),
            };
        }
        at += length;
    }
    (code, shown)
}

#[derive(Clone, Copy)]
enum Token {
    Code,
    Comment,
    Text,
}

/// The token that begins at `at`, and its length. It distinguishes raw strings, escapes, characters and
/// lifetimes. It does not know nested block comments, since the sources have none.
fn token(chars: &[char], at: usize) -> (usize, Token) {
    let ahead = |i: usize| chars.get(at + i).copied().unwrap_or('\0');
    let until = |from: usize, end: &str| {
        let end: Vec<char> = end.chars().collect();
        (at + from..chars.len())
            .find(|&i| chars[i..].starts_with(&end))
            .map_or(chars.len() - at, |i| i + end.len() - at)
    };
    let after_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match ahead(0) {
        '/' if ahead(1) == '/' => (until(2, "\n") - usize::from(chars[at..].contains(&'\n')), Token::Comment),
        '/' if ahead(1) == '*' => (until(2, "*/"), Token::Comment),
        'r' if !after_word || chars[at - 1] == 'b' => {
            let hashes = (1..).take_while(|&i| ahead(i) == '#').count();
            if ahead(1 + hashes) == '"' {
                (until(2 + hashes, &format!("\"{}", "#".repeat(hashes))), Token::Text)
            } else {
                (1, Token::Code)
            }
        }
        '"' => {
            let mut i = 1;
            while at + i < chars.len() && ahead(i) != '"' {
                i += if ahead(i) == '\\' { 2 } else { 1 };
            }
            ((i + 1).min(chars.len() - at), Token::Text)
        }
        '\'' if ahead(1) == '\\' => (until(3, "'"), Token::Text),
        '\'' if ahead(2) == '\'' => (3, Token::Text),
        _ => (1, Token::Code),
    }
}

/// Blanks out each item under `#[cfg(test)]`, up to its closing brace or semicolon.
fn blank_tests(code: &str) -> String {
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(start) = out[from..].find("#[cfg(test)]").map(|i| from + i) {
        let mut depth = 0usize;
        let mut end = out.len();
        for (i, c) in out[start..].char_indices() {
            match c {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && (c == '}' || c == ';') {
                end = start + i + 1;
                break;
            }
        }
        let blanked: String = out[start..end].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
        out.replace_range(start..end, &blanked);
        from = start + blanked.len();
    }
    out
}
