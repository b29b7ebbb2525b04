//! Takes secrets out of text for the log or the storage, since receivers echo them.

use std::borrow::Cow;

/// Shorter parts of a URL do not count as tokens: hiding `v2` everywhere would not help.
const TOKEN_CHARS: usize = 8;

/// The secrets of one request.
#[derive(Clone, Default)]
pub(super) struct Redactor {
    secrets: Vec<String>,
}

impl Redactor {
    /// Hides this value wherever it occurs. The empty string is no secret.
    pub(super) fn hide(&mut self, secret: &str) {
        if !secret.is_empty() {
            self.secrets.push(secret.to_owned());
            // Longest first, so that a part does not break up the whole.
            self.secrets.sort_by_key(|s| std::cmp::Reverse(s.len()));
        }
    }

    /// Hides a URL: as a whole, its path with the query, and each part that may be a token.
    pub(super) fn hide_url(&mut self, url: &str) {
        let url = url.trim();
        self.hide(url);
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let at_path = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at_path);
        if path.len() >= TOKEN_CHARS {
            self.hide(path);
        }
        let userinfo = authority.rsplit_once('@').map_or("", |(userinfo, _)| userinfo);
        for part in path.split(['/', '?', '&', '=', '#']).chain(userinfo.split(':')) {
            if part.len() >= TOKEN_CHARS || (!part.is_empty() && userinfo.contains(part)) {
                self.hide(part);
            }
        }
    }

    /// `text` with `<secret>` in place of each secret.
    pub(super) fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), "<secret>"));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_urls_and_their_tokens() {
        let mut redactor = Redactor::default();
        redactor.hide_url(
            "https://me:pw@hooks.example/services/T0000000/B0000000/abcdefgh12345678?token=s3cr3t-token",
        );
        let echo = "no POST /services/T0000000/B0000000/abcdefgh12345678 here; s3cr3t-token; user me:pw";
        let hidden = redactor.redact(echo);
        for secret in ["abcdefgh12345678", "s3cr3t-token", "T0000000", "pw"] {
            assert!(!hidden.contains(secret), "{hidden}");
        }
        assert!(hidden.starts_with("no POST "));
        assert_eq!(redactor.redact("status 500"), "status 500");
    }
}
