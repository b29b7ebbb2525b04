//! Names and values as forms, queries and paths carry them.

use std::fmt::Write as _;

/// Percent-encodes all but letters, digits and `-_.~`, as RFC 3986 has it.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// The body of a form, in this order.
pub(super) fn form<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pair = |(name, value)| format!("{}={}", encoded(name), encoded(value));
    pairs.into_iter().map(pair).collect::<Vec<_>>().join("&")
}

/// `base` with a path behind it, whether `base` ends in a slash or not. A query stays behind the path.
pub(super) fn below(base: &str, path: &str) -> String {
    let base = base.trim();
    let (base, query) = base.split_at(base.find(['?', '#']).unwrap_or(base.len()));
    format!("{}/{path}{query}", base.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_form_would_read_otherwise_is_encoded() {
        assert_eq!(form([("a b", "1+1=2&ü"), ("c", "")]), "a%20b=1%2B1%3D2%26%C3%BC&c=");
    }

    #[test]
    fn a_path_goes_before_the_query() {
        assert_eq!(below("https://h/", "v2/alerts"), "https://h/v2/alerts");
        assert_eq!(below("https://h/x?k=1", "y"), "https://h/x/y?k=1");
    }
}
