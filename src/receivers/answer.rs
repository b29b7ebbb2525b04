//! A receiver's answer.

use std::fmt;
use std::time::Duration;

use super::text::{clean_line, cut};

/// The answer to one request.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `Retry-After`, if it could be read.
    pub retry_after: Option<Duration>,
    /// The body as it came, secrets included, or as much of it as was wanted and arrived in time.
    pub body: Vec<u8>,
    /// The body has more.
    pub truncated: bool,
    excerpt: String,
}

impl Answer {
    /// An answer whose whole body is `body`, with no secret in it.
    pub fn new(status: u16, retry_after: Option<Duration>, body: Vec<u8>) -> Self {
        let mut answer = Answer { status, retry_after, body, truncated: false, excerpt: String::new() };
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        answer.excerpt_of(&text);
        answer
    }

    /// The beginning of the body without secrets, as one line that is fit for a log.
    pub fn excerpt(&self) -> &str {
        &self.excerpt
    }

    /// Takes the excerpt from the body as people may see it. Secrets go before the text is cut: half a secret
    /// would not be recognised.
    pub(crate) fn excerpt_of(&mut self, text: &str) {
        self.excerpt = cut(clean_line(text.trim()), 512);
    }
}

impl fmt::Debug for Answer {
    /// Without the body, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.status, self.excerpt)
    }
}
