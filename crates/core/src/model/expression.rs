//! A regular expression that is ready to match, and the memory that it takes.

use std::sync::Arc;

use regex_automata::meta::Regex;
use smol_str::SmolStr;

/// A pattern of Go, anchored at both ends. Most patterns that people write only list texts, or texts with
/// `.*` and `.+` between them. Such a pattern is kept as plain texts, which take no more than their own
/// bytes.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    /// Matches any one of these.
    Plain(Arc<Plain>),
    /// Matches the texts that the automaton matches.
    Automaton(Arc<Regex>),
}

/// Texts, and texts with gaps.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// Sorted.
    texts: Box<[SmolStr]>,
    gapped: Box<[Gapped]>,
}

/// Texts with a gap before each but the first. No gap holds a line feed.
#[derive(Debug)]
struct Gapped {
    first: SmolStr,
    rest: Box<[(Gap, SmolStr)]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// `.*`
    Any,
    /// `.+`
    Some,
}

impl Expression {
    /// Whether all of `text` matches.
    pub(super) fn is_match(&self, text: &str) -> bool {
        match self {
            Expression::Plain(plain) => plain.is_match(text),
            Expression::Automaton(regex) => regex.is_match(text),
        }
    }

    /// About how many bytes it takes, with the caches that searches keep. By measurement, an automaton's
    /// caches grow to about twice its own size.
    pub(super) fn cost(&self) -> usize {
        match self {
            Expression::Plain(plain) => plain.cost(),
            Expression::Automaton(regex) => regex.memory_usage() * 3 + CACHES,
        }
    }

    /// All texts that match, if it only lists them.
    pub(super) fn texts(&self) -> Option<&[SmolStr]> {
        match self {
            Expression::Plain(plain) if plain.gapped.is_empty() => Some(&plain.texts),
            _ => None,
        }
    }
}

/// The size of the smallest automaton's caches, in bytes.
const CACHES: usize = 4 << 10;

impl Plain {
    /// The pattern, if it is one of these.
    pub(super) fn read(pattern: &str) -> Option<Plain> {
        let mut rest = pattern;
        // Alertmanager writes `match_re` as `^(?:…)$`, and people write the group themselves.
        while let Some(inner) = ungrouped(rest) {
            rest = inner;
        }
        let (mut texts, mut gapped) = (Vec::new(), Vec::new());
        let mut one = Gapped { first: SmolStr::default(), rest: Box::default() };
        let (mut text, mut gaps, mut gap) = (String::new(), Vec::new(), None);
        let mut chars = rest.chars().peekable();
        loop {
            let next = chars.next();
            match next {
                Some('.') => {
                    let found = match chars.next() {
                        Some('*') => Gap::Any,
                        Some('+') => Gap::Some,
                        _ => return None,
                    };
                    if chars.peek().is_some_and(|c| "*+?{".contains(*c)) {
                        return None;
                    }
                    match gap.replace(found) {
                        None => one.first = std::mem::take(&mut text).into(),
                        Some(before) => gaps.push((before, SmolStr::from(std::mem::take(&mut text)))),
                    }
                }
                None | Some('|') => {
                    let last = SmolStr::from(std::mem::take(&mut text));
                    match gap.take() {
                        None => texts.push(last),
                        Some(before) => {
                            gaps.push((before, last));
                            one.rest = std::mem::take(&mut gaps).into();
                            let next = Gapped { first: SmolStr::default(), rest: Box::default() };
                            gapped.push(std::mem::replace(&mut one, next));
                        }
                    }
                    if next.is_none() {
                        break;
                    }
                }
                Some('\\') => text.push(chars.next().filter(char::is_ascii_punctuation)?),
                Some(c) if "*+?()[]{}^$\n".contains(c) => return None,
                Some(c) => text.push(c),
            }
        }
        // A line feed may stand in a text, and no gap may hold one: the automaton knows.
        texts.sort();
        texts.dedup();
        Some(Plain { texts: texts.into(), gapped: gapped.into() })
    }

    fn is_match(&self, text: &str) -> bool {
        self.texts.binary_search_by(|known| known.as_str().cmp(text)).is_ok()
            || (!self.gapped.is_empty()
                && !text.contains('\n')
                && self.gapped.iter().any(|gapped| gapped.is_match(text).is_some()))
    }

    fn cost(&self) -> usize {
        let text = |text: &SmolStr| size_of::<(Gap, SmolStr)>() + text.len();
        let gapped = |gapped: &Gapped| {
            size_of::<Gapped>() + gapped.first.len() + gapped.rest.iter().map(|(_, t)| text(t)).sum::<usize>()
        };
        size_of::<Plain>()
            + self.texts.iter().map(text).sum::<usize>()
            + self.gapped.iter().map(gapped).sum::<usize>()
    }
}

impl Gapped {
    fn is_match(&self, text: &str) -> Option<()> {
        let mut left = text.strip_prefix(self.first.as_str())?;
        let (last, between) = self.rest.split_last()?;
        let enter = |left: &'_ mut &str, gap: Gap| -> Option<()> {
            if gap == Gap::Some {
                let mut chars = left.chars();
                chars.next()?;
                *left = &left[left.len() - chars.as_str().len()..];
            }
            Some(())
        };
        // The earliest place of each leaves most for those behind it.
        for (gap, text) in between {
            enter(&mut left, *gap)?;
            let at = left.find(text.as_str())?;
            left = &left[at + text.len()..];
        }
        enter(&mut left, last.0)?;
        left.ends_with(last.1.as_str()).then_some(())
    }
}

/// The content of the group, if `pattern` is one group.
fn ungrouped(pattern: &str) -> Option<&str> {
    let anchored = || pattern.strip_prefix('^')?.strip_suffix('$').filter(|rest| rest.starts_with('('));
    let group = anchored().unwrap_or(pattern);
    let inner = group.strip_prefix("(?:").or_else(|| group.strip_prefix('('))?.strip_suffix(')')?;
    // `(a)|(b)`, `(a\)` and `(?i)` are not one group. Only a group around the whole pattern counts.
    let whole = !inner.ends_with('\\') && !inner.starts_with('?');
    let mut depth = 0_i32;
    let closes_early = inner.chars().any(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth < 0
    });
    (whole && !closes_early).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_needs_no_automaton() {
        for pattern in [
            "",
            "db1",
            "a|b|c",
            "(a|b)",
            "^(?:a|(?:b))$",
            r"10\.0\.0\.1",
            "web-.*",
            ".+",
            ".*foo.+bar",
            "a.*|b",
        ] {
            let read = Plain::read(pattern);
            assert_eq!(read.is_some(), !pattern.contains("|(?:"), "{pattern}");
        }
        for pattern in [
            "a.c", "a+", "[ab]", "(a)|(b)", "(a|b)c", "a.*?", r"\d", r"\Qa", "(?i)a", "^a", r"(a\)",
            "(?P<x>a)", "a{2}", "(?:a", ".",
        ] {
            assert!(Plain::read(pattern).is_none(), "{pattern}");
        }
        assert_eq!(Plain::read("b|a|b").unwrap().texts.len(), 2);
    }
}
