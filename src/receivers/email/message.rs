//! The text of one mail (RFC 5322), and the thread that it belongs to.

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue, Headers};
use lettre::message::{Body, MultiPart, SinglePart};

use crate::model::{Kind, Timestamp, hash64};
use crate::receivers::View;
use crate::receivers::text::cut;

/// Of a key this much stands in an id.
const KEY_CHARS: usize = 32;

/// The longest word of a header.
const MOST_CHARS: usize = 900;

/// The key, beside the incident, by which mails make a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Threading {
    /// By nothing.
    #[default]
    Incident,
    /// `thread_by_date: none`: by the group.
    Group,
    /// `thread_by_date: daily`: by the group and the day.
    Day,
}

/// Where a mail stands among the mails of its incident.
pub(super) struct Thread {
    /// The value of `Message-Id`.
    pub(super) id: String,
    /// The mails that it follows, the earliest first.
    follows: Vec<String>,
    boundary: String,
}

impl Thread {
    /// The id of an incident's first mail follows from the incident, so that a second copy is the same
    /// mail.
    pub(super) fn new(view: &View<'_>, sender: &str, threading: Threading, now: Timestamp) -> Self {
        let n = view.notification;
        let domain = sender.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
        let domain = if domain.is_ascii() { domain } else { "localhost" };
        let safe = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let key: String = n.dedup_key.chars().filter(safe).take(KEY_CHARS).collect();
        let first = format!("<{key}@{domain}>");
        let id = match n.kind {
            Kind::Page => first.clone(),
            _ => format!("<{key}.{}@{domain}>", n.id.0),
        };
        let mut follows = Vec::new();
        if threading != Threading::Incident {
            let day: String = match threading {
                Threading::Day => now.to_string().chars().take(10).collect(),
                _ => String::new(),
            };
            follows.push(format!("<alert-{:016x}-{day}@squelch>", hash64(n.group_key.as_bytes())));
        }
        if n.kind != Kind::Page {
            follows.push(first);
        }
        // Quoted-printable writes no `=_`, so no text of an alert can end a part.
        Thread { id, follows, boundary: format!("=_{key}_{}", n.id.0) }
    }
}

/// The mail with these headers and parts.
pub(super) fn message(
    given: &[(String, String)],
    thread: &Thread,
    parts: impl Iterator<Item = (&'static str, String)>,
    now: Timestamp,
) -> Vec<u8> {
    let mut headers = Headers::new();
    let mut set = |name: &str, value: String| {
        if let Ok(name) = HeaderName::new_from_ascii(name.to_owned()) {
            headers.insert_raw(HeaderValue::new(name, value));
        }
    };
    let follows = thread.follows.join(" ");
    set("Message-Id", thread.id.clone());
    if let Some(last) = thread.follows.last() {
        set("References", follows);
        set("In-Reply-To", last.clone());
    }
    set("Date", date(now));
    set("MIME-Version", "1.0".to_owned());
    for (name, value) in given {
        set(name, foldable(value));
    }
    let mut all = MultiPart::alternative().boundary(thread.boundary.clone()).build();
    for (kind, text) in parts {
        all = all.singlepart(part(kind, text));
    }
    let mut message = headers.to_string().into_bytes();
    message.extend(all.formatted());
    message
}

/// A line of a mail has 998 characters at most and is folded at its blanks, so no word may be longer.
fn foldable(value: &str) -> String {
    value.split(' ').map(|word| cut(word.to_owned(), MOST_CHARS)).collect::<Vec<_>>().join(" ")
}

fn part(kind: &str, text: String) -> SinglePart {
    let kind = if kind == "text/html" { ContentType::TEXT_HTML } else { ContentType::TEXT_PLAIN };
    // Quoted-printable takes any text.
    let body = Body::new_with_encoding(text, ContentTransferEncoding::QuotedPrintable)
        .unwrap_or_else(|text| Body::dangerous_pre_encoded(text, ContentTransferEncoding::QuotedPrintable));
    SinglePart::builder().header(kind).body(body)
}

/// `Tue, 24 Nov 2026 12:00:07 +0000`
fn date(now: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}
