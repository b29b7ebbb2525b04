//! The two grammars in which Alertmanager writes matchers: classic, and that for UTF-8 names.

/// How a matcher compares.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored at both ends.
    Regex,
    /// `!~`, anchored at both ends.
    NotRegex,
}

/// Name, operator and value, not yet compiled.
pub(super) type Raw = (String, MatchOp, String);

/// Whether a name with this character must be quoted. Rule: `isReserved` of `matcher/parse/lexer.go`.
pub(super) fn is_reserved(c: char) -> bool {
    c.is_whitespace() || "{}!=~,\\\"'`".contains(c)
}

/// The classic grammar. It returns `None` if it cannot read the text. Rule: `pkg/labels/parse.go`.
///
/// Braces are optional, each on its own. A value runs to the next comma that is not in quotes. In a value
/// `\"`, `\\` and `\n` are escapes, and any other backslash stands for itself.
pub(super) fn classic(text: &str) -> Option<Vec<Raw>> {
    let text = text.strip_prefix('{').unwrap_or(text);
    let text = text.strip_suffix('}').unwrap_or(text);
    let (mut tokens, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            ',' if !quoted => {
                tokens.push(&text[start..at]);
                start = at + 1;
            }
            // Inside quotes a comma leaves a preceding backslash in force, a quirk that is kept.
            ',' => {}
            '"' if escaped => escaped = false,
            '"' => quoted = !quoted,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    if !text[start..].trim().is_empty() {
        tokens.push(&text[start..]);
    }
    tokens.into_iter().map(classic_one).collect()
}

fn classic_one(token: &str) -> Option<Raw> {
    let space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}');
    let token = token.trim_start_matches(space);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = token.find(|c| !is_name(c)).unwrap_or(token.len());
    let (name, rest) = token.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (op, value) = operator(rest.trim_start_matches(space))?;
    Some((name.to_owned(), op, classic_value(value.trim_matches(space))?))
}

fn classic_value(raw: &str) -> Option<String> {
    let (raw, mut open) = match raw.strip_prefix('"') {
        Some(rest) => (rest, true),
        None => (raw, false),
    };
    let (mut value, mut escaped) = (String::with_capacity(raw.len()), false);
    for (at, c) in raw.char_indices() {
        let last = at + c.len_utf8() == raw.len();
        match c {
            'n' if escaped => value.push('\n'),
            '"' | '\\' if escaped => value.push(c),
            c if escaped => value.extend(['\\', c]),
            '\\' if !last => {
                escaped = true;
                continue;
            }
            '"' if open && last => open = false,
            '"' => return None,
            c => value.push(c),
        }
        escaped = false;
    }
    (!open).then_some(value)
}

/// `=~` has to be tried before `=`.
fn operator(text: &str) -> Option<(MatchOp, &str)> {
    const OPERATORS: [(&str, MatchOp); 4] =
        [("=~", MatchOp::Regex), ("!~", MatchOp::NotRegex), ("!=", MatchOp::NotEqual), ("=", MatchOp::Equal)];
    OPERATORS.iter().find_map(|(symbol, op)| Some((*op, text.strip_prefix(symbol)?)))
}

/// The grammar for UTF-8 names. The error names the text that it found and the text that would be right.
/// Rule: `matcher/parse/lexer.go` and `parse.go`.
pub(super) fn utf8(text: &str) -> Result<Vec<Raw>, String> {
    let mut lexer = Lexer { rest: text };
    let braces = lexer.eat('{');
    let mut found = Vec::new();
    loop {
        if lexer.at_end_of_list(braces) {
            break;
        }
        let name = lexer.word("the name of a label")?;
        if name.is_empty() {
            return Err("the name of a label is empty".into());
        }
        lexer.skip_space();
        let Some((op, rest)) = operator(lexer.rest) else {
            return Err(lexer.unexpected("one of =, !=, =~ and !~"));
        };
        lexer.rest = rest;
        found.push((name, op, lexer.word("a value")?));
        if !lexer.eat(',') {
            break;
        }
    }
    if braces && !lexer.eat('}') {
        return Err(lexer.unexpected("a comma or }"));
    }
    lexer.skip_space();
    if !lexer.rest.is_empty() {
        return Err(lexer.unexpected("a comma or the end"));
    }
    Ok(found)
}

struct Lexer<'a> {
    rest: &'a str,
}

impl Lexer<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, c: char) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn at_end_of_list(&mut self, braces: bool) -> bool {
        self.skip_space();
        self.rest.is_empty() || (braces && self.rest.starts_with('}'))
    }

    fn unexpected(&self, wanted: &str) -> String {
        match self.rest.chars().next() {
            Some(c) => format!("found {c:?}, expected {wanted}"),
            None => format!("it ends where {wanted} is expected"),
        }
    }

    fn word(&mut self, wanted: &str) -> Result<String, String> {
        self.skip_space();
        if let Some(rest) = self.rest.strip_prefix('"') {
            let (value, rest) = unquote(rest)?;
            self.rest = rest;
            return Ok(value);
        }
        let end = self.rest.find(is_reserved).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return Err(self.unexpected(wanted));
        }
        self.rest = rest;
        Ok(word.to_owned())
    }
}

/// The value of a Go string literal whose opening quote is already read, and the rest of the text.
fn unquote(text: &str) -> Result<(String, &str), String> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    loop {
        let Some(c) = rest.chars().next() else { return Err("a quote is not closed".into()) };
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => break,
            '\n' => return Err("a quoted text holds a line feed. Write \\n".into()),
            '\\' => rest = unescape(rest, &mut bytes)?,
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    let value = String::from_utf8(bytes).map_err(|_| "a quoted text is not UTF-8".to_owned())?;
    Ok((value, rest))
}

fn unescape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Result<&'a str, String> {
    let Some(c) = text.chars().next() else { return Err("a quote is not closed".into()) };
    let wrong = || format!("invalid escape \\{c} in a quoted text");
    let number = |from: usize, digits: usize, radix: u32| {
        let digits = text.get(from..from + digits).filter(|d| d.chars().all(|c| c.is_digit(radix)));
        digits.and_then(|d| u32::from_str_radix(d, radix).ok()).ok_or_else(wrong)
    };
    let (byte, used) = match c {
        'a' => (7, 1),
        'b' => (8, 1),
        'f' => (12, 1),
        'n' => (b'\n', 1),
        'r' => (b'\r', 1),
        't' => (b'\t', 1),
        'v' => (11, 1),
        '\\' | '"' => (c as u8, 1),
        'x' => (u8::try_from(number(1, 2, 16)?).map_err(|_| wrong())?, 3),
        '0'..='7' => (u8::try_from(number(0, 3, 8)?).map_err(|_| wrong())?, 3),
        'u' | 'U' => {
            let digits = if c == 'u' { 4 } else { 8 };
            let point = char::from_u32(number(1, digits, 16)?).ok_or_else(wrong)?;
            bytes.extend_from_slice(point.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(&text[1 + digits..]);
        }
        _ => return Err(wrong()),
    };
    bytes.push(byte);
    Ok(&text[used..])
}
