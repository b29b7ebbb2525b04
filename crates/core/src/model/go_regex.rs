//! Go's regular expressions (RE2 syntax), rewritten into patterns with the same meaning for the `regex`
//! crate.
//!
//! The two dialects agree on most patterns and differ silently on some. `\d`, `\w` and `\b` are ASCII in Go
//! and Unicode in Rust. `\<` is a plain `<` in Go and a word boundary in Rust. `[a&&b]` is a set of
//! characters in Go and an intersection in Rust. This module therefore reads a pattern with Go's grammar
//! (`regexp/syntax`, flags `Perl`), and writes it anew with every literal escaped. It refuses every pattern
//! that Go refuses.

mod class;

use std::sync::Arc;

use regex_automata::meta;

use super::expression::{Expression, Plain};

/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 64 * 1024;
/// Largest compiled form, in bytes. The caches of a search come on top.
const MAX_COMPILED: usize = 2 * 1024 * 1024;
/// The least that a search keeps of an automaton's states from one search to the next.
const CACHE: usize = 16 * 1024;
/// Go's bound of a counted repetition.
const MAX_REPEAT: u32 = 1000;

/// Compiles a pattern of Go, anchored at both ends as Alertmanager does: `^(?:…)$`. `.` does not match a
/// line feed. It takes its cost from `allowance`, in bytes. The error is one sentence that says what is
/// wrong and where.
pub(super) fn compile_anchored(pattern: &str, allowance: &mut usize) -> Result<Expression, String> {
    if pattern.len() > MAX_PATTERN {
        return Err(format!("pattern of {} bytes is longer than {MAX_PATTERN}", pattern.len()));
    }
    let expression = match Plain::read(pattern) {
        Some(plain) => Expression::Plain(Arc::new(plain)),
        None => Expression::Automaton(Arc::new(automaton(pattern, *allowance)?)),
    };
    *allowance = allowance.checked_sub(expression.cost()).ok_or_else(|| too_big(pattern, *allowance))?;
    Ok(expression)
}

/// A pattern of Go as the `regex` crate takes it. Nothing anchors it.
///
/// # Errors
/// One sentence that says what is wrong and where.
pub fn go_pattern(pattern: &str) -> Result<String, String> {
    Translator { captures: true, ..Translator::new(pattern) }.run()
}

fn automaton(pattern: &str, allowance: usize) -> Result<meta::Regex, String> {
    let rust = Translator::new(pattern).run()?;
    // An automaton is kept twice, for both directions, and counts threefold.
    let limit = MAX_COMPILED.min(allowance / 4);
    let config = meta::Config::new()
        .nfa_size_limit(Some(limit))
        .onepass_size_limit(Some(CACHE))
        .hybrid_cache_capacity(CACHE)
        .dfa(false);
    meta::Builder::new().configure(config).build(&format!("^(?:{rust})$")).map_err(|e| {
        if e.size_limit().is_some() {
            return too_big(pattern, allowance);
        }
        // The crate draws its syntax errors over several lines and quotes the rewritten pattern. Only the
        // last line says what is wrong.
        let text = e.syntax_error().map_or_else(|| e.to_string(), ToString::to_string);
        let last = text.lines().last().unwrap_or_default();
        format!("pattern {pattern:?}: {}", last.trim_start_matches("error: "))
    })
}

fn too_big(pattern: &str, allowance: usize) -> String {
    let start: String = pattern.chars().take(60).collect();
    format!(
        "pattern {start:?} needs more memory when compiled than is left for it, {} KiB. Make its repetitions \
         smaller, or write the values themselves, as in a|b|c",
        allowance / 1024
    )
}

struct Translator<'a> {
    pattern: &'a str,
    rest: &'a str,
    out: String,
    depth: usize,
    names: Vec<&'a str>,
    /// Whether groups capture. To a matcher captures are of no use.
    captures: bool,
    /// The element directly before. Only an atom can be repeated, and a repetition only once.
    before: Before,
}

#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    Atom,
    Repetition,
}

impl<'a> Translator<'a> {
    fn new(pattern: &'a str) -> Self {
        Translator {
            pattern,
            rest: pattern,
            out: String::with_capacity(pattern.len() + 16),
            depth: 0,
            names: Vec::new(),
            captures: false,
            before: Before::Nothing,
        }
    }

    fn run(mut self) -> Result<String, String> {
        while let Some(c) = self.next() {
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.open()?,
                ')' => {
                    self.depth = self.depth.checked_sub(1).ok_or_else(|| self.wrong("unexpected )"))?;
                    self.atom(")");
                }
                '|' => {
                    self.out.push('|');
                    self.before = Before::Nothing;
                }
                '*' | '+' | '?' => self.repeat(&c.to_string())?,
                '{' => match counted(self.rest) {
                    Some((bounds, length)) => {
                        self.rest = &self.rest[length..];
                        let text = bounds.write().ok_or_else(|| self.wrong("invalid repeat count"))?;
                        self.repeat(&text)?;
                    }
                    None => self.literal('{'),
                },
                '.' | '^' | '$' => self.atom(c.encode_utf8(&mut [0; 4])),
                other => self.literal(other),
            }
        }
        if self.depth > 0 {
            return Err(self.wrong("missing closing )"));
        }
        Ok(self.out)
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn eat(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn wrong(&self, what: &str) -> String {
        let at = self.pattern.len() - self.rest.len();
        format!("pattern {:?}: {what} (near byte {at})", self.pattern)
    }

    fn atom(&mut self, text: &str) {
        self.out.push_str(text);
        self.before = Before::Atom;
    }

    fn literal(&mut self, c: char) {
        push_literal(&mut self.out, c);
        self.before = Before::Atom;
    }

    fn repeat(&mut self, operator: &str) -> Result<(), String> {
        match self.before {
            Before::Nothing => return Err(self.wrong("nothing to repeat")),
            Before::Repetition => return Err(self.wrong("a repetition of a repetition")),
            Before::Atom => {}
        }
        self.out.push_str(operator);
        if self.eat("?") {
            self.out.push('?');
        }
        self.before = Before::Repetition;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        let Some(c) = self.next() else { return Err(self.wrong("trailing backslash")) };
        match c {
            'A' => self.atom(r"\A"),
            'z' => self.atom(r"\z"),
            'b' => self.atom(r"(?-u:\b)"),
            'B' => self.atom(r"(?-u:\B)"),
            'Q' => {
                let (quoted, after) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
                self.rest = after;
                for c in quoted.chars() {
                    self.literal(c);
                }
            }
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => self.atom(perl_class(c)),
            'p' | 'P' => {
                let class = self.unicode_class(c == 'P')?;
                self.atom(&class);
            }
            other => {
                let c = self.escaped_char(other)?;
                self.literal(c);
            }
        }
        Ok(())
    }

    /// The character that `\c…` stands for, the same inside and outside a class.
    fn escaped_char(&mut self, c: char) -> Result<char, String> {
        Ok(match c {
            'a' => '\u{7}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            // A single digit from 1 to 7 would be a back reference, which RE2 does not have.
            '0' | '1'..='7' if c == '0' || self.rest.starts_with(is_octal) => {
                let more = self.rest.chars().take(2).take_while(|c| is_octal(*c)).count();
                let digits = format!("{c}{}", &self.rest[..more]);
                self.rest = &self.rest[more..];
                code_point(&digits, 8).ok_or_else(|| self.wrong("invalid octal escape"))?
            }
            'x' => {
                let digits = if self.eat("{") {
                    let (digits, after) =
                        self.rest.split_once('}').ok_or_else(|| self.wrong(r"\x{ without }"))?;
                    self.rest = after;
                    digits
                } else {
                    let digits = self.rest.get(..2).ok_or_else(|| self.wrong(r"\x wants two digits"))?;
                    self.rest = &self.rest[2..];
                    digits
                };
                code_point(digits, 16).ok_or_else(|| self.wrong(r"invalid \x escape"))?
            }
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => other,
            other => return Err(self.wrong(&format!(r"invalid escape \{other}"))),
        })
    }

    /// After `\p` or `\P`: `L`, `{Lu}`, `{Greek}`, `{^Greek}`.
    fn unicode_class(&mut self, mut negated: bool) -> Result<String, String> {
        let name = if self.eat("{") {
            let (name, after) = self.rest.split_once('}').ok_or_else(|| self.wrong(r"\p{ without }"))?;
            self.rest = after;
            match name.strip_prefix('^') {
                Some(name) => {
                    negated = !negated;
                    name
                }
                None => name,
            }
        } else {
            let length = self.rest.chars().next().map_or(0, char::len_utf8);
            let (name, after) = self.rest.split_at(length);
            self.rest = after;
            name
        };
        let well_formed = name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
        if !well_formed {
            return Err(self.wrong(&format!("unknown Unicode class {name:?}")));
        }
        // Go knows general categories, by their short names, and scripts.
        let property = if name == "Any" || name.len() <= 2 { "" } else { "sc=" };
        Ok(format!("\\{}{{{property}{name}}}", if negated { 'P' } else { 'p' }))
    }

    /// After `(`. A group that does not capture is written as `(?:`.
    fn open(&mut self) -> Result<(), String> {
        if !self.eat("?") {
            return self.push_group(if self.captures { "(" } else { "(?:" });
        }
        let look_behind = self.rest.starts_with("<=") || self.rest.starts_with("<!");
        if !look_behind && (self.eat("P<") || self.eat("<")) {
            let (name, after) =
                self.rest.split_once('>').ok_or_else(|| self.wrong("group name without >"))?;
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(self.wrong(&format!("invalid group name {name:?}")));
            }
            if self.names.contains(&name) {
                return Err(self.wrong(&format!("duplicate group name {name:?}")));
            }
            self.names.push(name);
            self.rest = after;
            let named = format!("(?P<{name}>");
            return self.push_group(if self.captures { &named } else { "(?:" });
        }
        if self.rest.starts_with(['=', '!', '<']) {
            return Err(self.wrong("look-around is not part of RE2"));
        }
        let end = self.rest.find([':', ')']).ok_or_else(|| self.wrong("missing closing )"))?;
        let flags = &self.rest[..end];
        let (on, off) = flags.split_once('-').map_or((flags, None), |(on, off)| (on, Some(off)));
        let known = |flags: &str| flags.chars().all(|c| "imsU".contains(c));
        // `(?-:…)` names no flag to clear. Go refuses it too.
        if !known(on) || off.is_some_and(|off| off.is_empty() || !known(off)) {
            return Err(self.wrong(&format!("invalid group flags {flags:?}. There are i, m, s and U")));
        }
        let scoped = self.rest[end..].starts_with(':');
        self.rest = &self.rest[end + 1..];
        if scoped {
            return self.push_group(&format!("(?{flags}:"));
        }
        if !flags.is_empty() {
            self.out.push_str(&format!("(?{flags})"));
        }
        self.before = Before::Nothing;
        Ok(())
    }

    fn push_group(&mut self, text: &str) -> Result<(), String> {
        self.out.push_str(text);
        self.depth += 1;
        self.before = Before::Nothing;
        Ok(())
    }
}

fn perl_class(c: char) -> &'static str {
    match c {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => r"[\t\n\f\r ]",
        'S' => r"[^\t\n\f\r ]",
        'w' => "[0-9A-Za-z_]",
        _ => "[^0-9A-Za-z_]",
    }
}

fn is_octal(c: char) -> bool {
    ('0'..='7').contains(&c)
}

fn code_point(digits: &str, radix: u32) -> Option<char> {
    let digits_only = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    digits_only.then(|| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32))?
}

fn push_literal(out: &mut String, c: char) {
    out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}

struct Bounds {
    low: u32,
    /// `None`: exactly `low` times. `Some(None)`: no upper bound.
    high: Option<Option<u32>>,
}

impl Bounds {
    fn write(&self) -> Option<String> {
        let low = (self.low <= MAX_REPEAT).then_some(self.low)?;
        Some(match self.high {
            None => format!("{{{low}}}"),
            Some(None) => format!("{{{low},}}"),
            Some(Some(high)) if (low..=MAX_REPEAT).contains(&high) => format!("{{{low},{high}}}"),
            Some(Some(_)) => return None,
        })
    }
}

/// `n}`, `n,}` or `n,m}` at the start of `text`, and its length. Any other text after `{` is literal in Go.
fn counted(text: &str) -> Option<(Bounds, usize)> {
    let (inside, _) = text.split_once('}')?;
    let number = |digits: &str| {
        let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        (plain && !digits.is_empty()).then(|| digits.parse::<u32>().unwrap_or(u32::MAX))
    };
    let (low, high) = match inside.split_once(',') {
        None => (number(inside)?, None),
        Some((low, "")) => (number(low)?, Some(None)),
        Some((low, high)) => (number(low)?, Some(Some(number(high)?))),
    };
    Some((Bounds { low, high }, inside.len() + 1))
}

#[cfg(test)]
mod tests;
