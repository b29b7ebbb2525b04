//! The frame of a template: whether each `if`, `range`, `with`, `define` and `block` has its `end`.
//!
//! The renderer's parser takes a missing or a superfluous `end` for the end of the text, and follows `else
//! if` as deep as it goes. Go refuses the former, and a stack has an end.

use super::place::{Places, WrongTemplate};

/// Blocks within each other, and `else if` in a row.
const DEEPEST: usize = 90;

/// Checks the frame.
pub(super) fn check(places: &Places<'_>, source: &str) -> Result<(), WrongTemplate> {
    let mut open: Vec<Block> = Vec::new();
    let mut at = 0;
    while let Some(found) = source[at..].find("{{") {
        let start = at + found;
        let action = Action::read(source, start).map_err(|what| places.wrong(start, what))?;
        at = action.end;
        match action.words {
            ("if" | "range" | "with" | "define" | "block", _) => {
                let kind = action.words.0.to_owned();
                if matches!(action.words.0, "define") && !open.is_empty() {
                    return Err(
                        places.wrong(start, "define stands inside another block. Write it at the top")
                    );
                }
                open.push(Block { kind, start, branches: 0, last: false });
            }
            ("else", next) => {
                let Some(block) = open.last_mut() else {
                    return Err(places.wrong(start, "else has no if before it. Write {{ if … }} before it"));
                };
                if block.last || matches!(block.kind.as_str(), "define" | "block") {
                    return Err(places.wrong(
                        start,
                        format!("else does not belong to a {}. Write {{{{ end }}}}", block.kind),
                    ));
                }
                block.last = !matches!(next, "if" | "with");
                block.branches += 1;
            }
            ("end", _) if open.pop().is_none() => {
                return Err(places.wrong(start, "end has nothing to end. Remove it"));
            }
            ("break" | "continue", "") if !open.iter().any(|block| block.kind == "range") => {
                let word = action.words.0;
                return Err(places.wrong(start, format!("{word} stands outside of a range. Remove it")));
            }
            _ => {}
        }
        if open.iter().map(|block| 1 + block.branches).sum::<usize>() > DEEPEST {
            return Err(places.wrong(
                start,
                format!("more than {DEEPEST} blocks and else branches are open. Write fewer"),
            ));
        }
    }
    match open.last() {
        Some(block) => {
            Err(places
                .wrong(block.start, format!("{} has no end. Write {{{{ end }}}} behind it", block.kind)))
        }
        None => Ok(()),
    }
}

struct Block {
    kind: String,
    start: usize,
    branches: usize,
    /// Its `else` was there.
    last: bool,
}

/// One `{{ … }}`.
struct Action<'a> {
    /// Its first two words.
    words: (&'a str, &'a str),
    /// Where the text goes on.
    end: usize,
}

impl<'a> Action<'a> {
    fn read(source: &'a str, start: usize) -> Result<Self, String> {
        let inside = &source[start + 2..];
        let trimmed = inside.strip_prefix('-').filter(|rest| rest.starts_with([' ', '\t', '\r', '\n']));
        let body = trimmed.unwrap_or(inside).trim_start();
        let from = source.len() - body.len();
        if body.starts_with("/*") {
            let length = body.find("*/").ok_or("the comment has no end. Write */}}")?;
            let close = source[from + length..].find("}}").ok_or("the comment has no end. Write */}}")?;
            return Ok(Action { words: ("", ""), end: from + length + close + 2 });
        }
        let mut rest = body.char_indices();
        while let Some((at, c)) = rest.next() {
            match c {
                '"' | '\'' => {
                    let closed = loop {
                        match rest.next() {
                            Some((_, '\\')) => {
                                rest.next();
                            }
                            Some((_, other)) if other == c => break true,
                            Some((_, '\n')) | None => break false,
                            Some(_) => {}
                        }
                    };
                    if !closed {
                        return Err("a text in quotes has no end. Close it".into());
                    }
                }
                '`' => {
                    rest.by_ref().find(|(_, c)| *c == '`').ok_or("a text in ` has no end. Write `")?;
                }
                '}' if body[at..].starts_with("}}") => {
                    let mut words = body[..at].trim_end_matches('-').split_whitespace();
                    let words = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                    return Ok(Action { words, end: from + at + 2 });
                }
                _ => {}
            }
        }
        Err("{{ has no }}. Write }} behind it".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_must_be_whole() {
        let checked = |source: &str| check(&Places::new("", source), source);
        for good in [
            "",
            "x",
            "{{ if .A }}{{ else if .B }}{{ else }}{{ end }}",
            "{{- range .A -}}{{ break }}{{- end -}}",
            "{{/* {{ end }} */}}",
            "{{ \"{{ end }}\" }}",
            "{{ `{{ if` }}",
            "{{ \"}}\" }}",
            "{{ '\\'' }}",
            "{{ define \"x\" }}{{ end }}{{ with .A }}{{ else with .B }}{{ end }}",
        ] {
            assert_eq!(checked(good), Ok(()), "{good}");
        }
        for (bad, at, what) in [
            ("a\n {{ end }}", "line 2, column 2", "nothing to end"),
            ("{{ if .A }}", "line 1, column 1", "if has no end"),
            ("{{ else }}", "line 1, column 1", "no if before it"),
            ("{{ if .A }}{{ else }}{{ else }}{{ end }}", "line 1, column 22", "does not belong"),
            ("{{ break }}", "line 1, column 1", "outside of a range"),
            ("{{ x", "line 1, column 1", "{{ has no }}"),
            ("{{ \"x }}", "line 1, column 1", "has no end"),
            ("{{ if .A }}{{ define \"x\" }}{{ end }}{{ end }}", "line 1, column 12", "at the top"),
        ] {
            let wrong = checked(bad).unwrap_err();
            assert!(wrong.at == at && wrong.what.contains(what), "{bad}: {wrong}");
        }
        let deep = format!("{{{{ if .A }}}}{}{{{{ end }}}}", "{{ else if .A }}".repeat(5_000));
        assert!(checked(&deep).unwrap_err().what.contains("more than 90"));
    }
}
