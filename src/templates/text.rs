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

/// Whether a character stands in no URL, so that a receiver would refuse it or read something else.
fn is_encoded(c: char) -> bool {
    let foreign = matches!(c, '"' | '<' | '>' | '|' | '{' | '}' | '^' | '`');
    foreign || c.is_whitespace() || is_unsafe(c)
}

/// The URL, if it is one that a browser opens without running anything: http or https, and a host. Browsers
/// encode some characters, such as a blank or a quote, that stand in no URL. They are encoded here.
pub fn http_url(text: &str) -> Option<String> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://")?;
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if !known || host.is_empty() || host.chars().any(is_encoded) {
        return None;
    }
    let mut url = String::with_capacity(text.len());
    for c in text.chars() {
        if !is_encoded(c) {
            url.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            let _ = write!(url, "%{byte:02X}");
        }
    }
    Some(url)
}

/// The scheme of a URL, such as `https`. It is empty for a text that begins with none.
pub fn scheme(text: &str) -> &str {
    let (scheme, _) = text.trim().split_once(':').unwrap_or_default();
    let plain = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if plain && scheme.len() <= 32 { scheme } else { "" }
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
        assert_eq!(http_url(" https://wiki/x ").as_deref(), Some("https://wiki/x"));
        for bad in
            ["javascript:alert(1)", "JavaScript://x", "https://", "http://a b", "http://a|b", "wiki/x", ""]
        {
            assert_eq!(http_url(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_link_is_encoded_where_a_browser_would() {
        let encoded = |text: &str| http_url(text).unwrap_or_default();
        let silence = r#"http://am/#/silences/new?filter=%7Balertname%3D"A B"%7D"#;
        assert_eq!(encoded(silence), "http://am/#/silences/new?filter=%7Balertname%3D%22A%20B%22%7D");
        assert_eq!(encoded("http://a/<b>|{c}^`"), "http://a/%3Cb%3E%7C%7Bc%7D%5E%60");
        assert_eq!(encoded("http://a/b\n\u{202e}/ü"), "http://a/b%0A%E2%80%AE/ü");
        let twice = encoded(&encoded(silence));
        assert_eq!(twice, encoded(silence), "a second time changes nothing");
    }

    #[test]
    fn a_scheme_is_a_short_plain_word() {
        assert_eq!(
            ["grafana://x", "JavaScript:1", "/path", "a b://c"].map(scheme),
            ["grafana", "JavaScript", "", ""]
        );
    }
}
