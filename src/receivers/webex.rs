//! `webex_configs`: a message to a room of Webex (`POST /v1/messages`).
//!
//! Webex takes 7,439 bytes of Markdown. The access token of the bot stands in `http_config.authorization`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use squelch_core::policy::KnownBy;

use super::report::fenced;
use super::text::{Style, calls_nobody, clean_text, cut_bytes, repeated, story, subject};
use super::texts::Texts;
use super::{
    Attempt, AttemptError, Escape, HttpRequest, Notifier, Pace, Reader, ReceiverType, Request, Templated,
    is_authorized,
};
use crate::model::Kind;
use crate::settings::Url;
use crate::settings::http::url;
use crate::settings::section::Section;

/// `webex_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "webex_configs",
    name: "webex",
    send_resolved: true,
    send_updates: false,
    known_by: KnownBy::Nothing,
    reader,
};

/// The longest message, in bytes.
const MESSAGE_BYTES: usize = 7_439;
/// A report leaves so much room for its title.
const TITLE_BYTES: usize = 512;
const TEXTS: [(&str, &str); 2] =
    [("message", r#"{{ template "webex.default.message" . }}"#), ("room_id", "")];
const STYLE: Style = Style {
    escape,
    heading: |text| format!("**{text}**\n"),
    link: |url, text| format!("[{text}]({})", url.replace(')', "%29")),
    block: |text| fenced(&cut_bytes(text.to_owned(), MESSAGE_BYTES - TITLE_BYTES)),
    alerts: 10,
};

/// A room of Webex.
#[derive(Clone, Debug)]
pub struct WebexConfig {
    /// `api_url`. Default `https://webexapis.com/v1/messages`.
    pub api_url: Url,
    /// `message` and `room_id`, templated.
    pub texts: Texts,
}

fn reader<'b>(global: &mut Section<'_>, _: &'b Path) -> Reader<'b> {
    let default = url(global, "webex_api_url").unwrap_or(Url("https://webexapis.com/v1/messages".into()));
    Box::new(move |keys| {
        let config = WebexConfig {
            api_url: url(keys, "api_url").unwrap_or_else(|| default.clone()),
            texts: Texts::read(keys, &TEXTS),
        };
        if config.texts.source("room_id").is_empty() {
            keys.problems.add(keys.line, "webex_configs has no room_id. Write the id of a room");
        }
        // The token in `global` does not count, because it would go to every receiver.
        if !is_authorized(keys) {
            let message = "webex_configs has no access token. Write http_config: {authorization: {credentials_file: …}}";
            keys.problems.add(keys.line, message);
        }
        Arc::new(config)
    })
}

impl Notifier for WebexConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    /// Webex documents no number and asks senders to go by `Retry-After`, which comes on top.
    fn pace(&self) -> Option<Pace> {
        Some(Pace { every: Duration::from_secs(1), burst: 5 })
    }

    fn account(&self) -> Option<String> {
        Some(format!("webex {} {}", self.api_url.0, self.texts.source("room_id")))
    }

    fn templates(&self) -> Vec<Templated> {
        self.texts.templated(escape)
    }

    fn mentions(&self) -> Escape {
        calls_nobody
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        let (view, texts) = (&attempt.view, &attempt.texts);
        let own = || format!("{}\n\n{}", escape(&subject(view)), story(view, &STYLE));
        let text = match view.notification.kind {
            Kind::Digest => own(),
            _ => texts.required("message", own),
        };
        let message = Message {
            markdown: cut_bytes(repeated(text, view), MESSAGE_BYTES),
            room_id: texts.required("room_id", String::new).trim().to_owned(),
        };
        // Strings into memory: nothing here can fail.
        let body = serde_json::to_vec(&message).unwrap_or_default();
        Ok(Request::Http(HttpRequest::post(self.api_url.0.trim(), body)))
    }
}

#[derive(Serialize)]
struct Message {
    markdown: String,
    #[serde(rename = "roomId")]
    room_id: String,
}

/// Makes alert content plain text to Webex: a backslash before each character of its Markdown, and no tag,
/// because `<@all>` mentions all members.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean_text(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '\\' | '*' | '_' | '`' | '[' | ']' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_mentions_nobody() {
        assert_eq!(escape("<@all> [a](b)"), "&lt;@all> \\[a\\](b)");
    }
}
