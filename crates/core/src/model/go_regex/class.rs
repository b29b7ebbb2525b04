//! Sets of characters, `[…]`, by Go's rules.

use super::{Translator, perl_class};

impl Translator<'_> {
    /// After `[`.
    pub(super) fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.eat("^") {
            self.out.push('^');
        }
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            if self.posix_class()? || self.class_escape()? {
                continue;
            }
            let low = self.class_char()?;
            push_in_class(&mut self.out, low);
            if self.rest.starts_with('-') && self.rest.len() > 1 && !self.rest.starts_with("-]") {
                self.eat("-");
                let high = self.class_char()?;
                if high < low {
                    return Err(self.wrong(&format!("invalid range {low:?}-{high:?}")));
                }
                self.out.push('-');
                push_in_class(&mut self.out, high);
            }
        }
        self.eat("]");
        self.atom("]");
        Ok(())
    }

    /// `[:alpha:]` or `[:^alpha:]` inside a class.
    fn posix_class(&mut self) -> Result<bool, String> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
            "space", "upper", "word", "xdigit",
        ];
        let Some((name, after)) = self.rest.strip_prefix("[:").and_then(|rest| rest.split_once(":]")) else {
            return Ok(false);
        };
        if !NAMES.contains(&name.trim_start_matches('^')) || name.starts_with("^^") {
            return Err(self.wrong(&format!("unknown character class [:{name}:]")));
        }
        self.rest = after;
        self.out.push_str(&format!("[:{name}:]"));
        Ok(true)
    }

    /// `\d`, `\pL` and their kin inside a class.
    fn class_escape(&mut self) -> Result<bool, String> {
        let Some(c) = self.rest.strip_prefix('\\').and_then(|rest| rest.chars().next()) else {
            return Ok(false);
        };
        match c {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                self.rest = &self.rest[2..];
                self.out.push_str(perl_class(c));
            }
            'p' | 'P' => {
                self.rest = &self.rest[2..];
                let class = self.unicode_class(c == 'P')?;
                self.out.push_str(&class);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn class_char(&mut self) -> Result<char, String> {
        match self.next() {
            None => Err(self.wrong("missing closing ]")),
            Some('\\') => match self.next() {
                None => Err(self.wrong("trailing backslash")),
                Some(c) => self.escaped_char(c),
            },
            Some(c) => Ok(c),
        }
    }
}

/// By number: inside a class more characters mean something to Rust than to Go (`&&`, `--`, `~~`, `[`).
fn push_in_class(out: &mut String, c: char) {
    out.push_str(&format!("\\x{{{:X}}}", c as u32));
}
