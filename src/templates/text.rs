//! Functions that make the content of alerts safe to show.

use std::fmt::Write;

/// How values (not the text round them) are made safe.
pub type Escape = fn(&str) -> String;

/// Leaves a value unchanged.
pub fn as_it_is(text: &str) -> String {
    text.to_owned()
}

/// Whether a character could forge or hide text: control characters and those that turn the
/// direction of writing.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn clean(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if keep(c) || !is_unsafe(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
        }
    }
    out
}

/// Escapes control and direction-turning characters. Line breaks and tabs stay.
pub fn clean_text(text: &str) -> String {
    clean(text, |c| matches!(c, '\n' | '\t'))
}

/// The same for a text of one line: line breaks and tabs are escaped too.
pub fn clean_line(text: &str) -> String {
    clean(text, |_| false)
}

/// The URL, if it is one that a browser opens without running anything: http or https.
pub fn http_url(text: &str) -> Option<&str> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://")?;
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let plain =
        !text.chars().any(|c| is_unsafe(c) || c.is_whitespace() || matches!(c, '<' | '>' | '"' | '|'));
    (known && plain && !rest.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_forges_or_hides_text_is_escaped() {
        assert_eq!(clean_line("a\nb\u{202e}c\u{0}\u{1b}[31m"), "a\\nb\\u202ec\\u0000\\u001b[31m");
        assert_eq!(clean_text("a\n\tb\r\u{85}"), "a\n\tb\\r\\u0085");
        assert_eq!(clean_line("größer → ✓ 監視"), "größer → ✓ 監視");
    }

    #[test]
    fn only_links_that_run_nothing() {
        assert_eq!(http_url(" https://wiki/x "), Some("https://wiki/x"));
        for bad in
            ["javascript:alert(1)", "JavaScript://x", "https://", "http://a b", "http://a|b", "wiki/x", ""]
        {
            assert_eq!(http_url(bad), None, "{bad}");
        }
    }
}
