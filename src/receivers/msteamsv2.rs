//! `msteamsv2_configs`: an adaptive card, for a Microsoft Teams workflow.
//!
//! Teams takes messages of about 28 KB. A connector may answer 200 and say in the body that Teams refused
//! the message. The status in that body then counts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use squelch_core::policy::KnownBy;

use super::text::{Style, cut, escape_markdown, is_report, marked, story, subject};
use super::{
    Answer, Attempt, AttemptError, HttpRequest, Notifier, Pace, Reader, ReceiverType, Renderer, Request,
    Templated, View, failure_of, webhook_url,
};
use crate::model::Kind;
use crate::settings::section::Section;
use crate::settings::template_check::read as templated;
use crate::settings::{Secret, SecretForm, SecretUrl};

/// `msteamsv2_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "msteamsv2_configs",
    name: "msteamsv2",
    send_resolved: true,
    send_updates: false,
    known_by: KnownBy::Nothing,
    reader,
};

pub(super) const TITLE_CHARS: usize = 1_024;
/// The largest message, in bytes.
const MESSAGE_BYTES: usize = 28_000;
pub(super) const STYLE: Style = Style {
    escape,
    heading: |text| format!("**{text}**\n"),
    link: |url, text| format!("[{text}]({})\n", url.replace(')', "%29")),
    block: |text| escape(text).replace("  ", "\u{a0}\u{a0}"),
    alerts: 10,
};

/// A Microsoft Teams workflow. Templated keys are templates. `None` = the default text.
#[derive(Clone, Debug)]
pub struct MsTeamsV2Config {
    /// `webhook_url` / `webhook_url_file`: secret.
    pub webhook_url: SecretUrl,
    /// `title`, templated.
    pub title: Option<String>,
    /// `text`, templated.
    pub text: Option<String>,
}

fn reader<'b>(_: &mut Section<'_>, base: &'b Path) -> Reader<'b> {
    Box::new(move |keys| {
        Arc::new(MsTeamsV2Config {
            webhook_url: webhook_url(keys, TYPE.list, base),
            title: templated(keys, "title"),
            text: templated(keys, "text"),
        })
    })
}

impl Notifier for MsTeamsV2Config {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    /// Microsoft documents 60 messages in 30 seconds, and 4 in one.
    fn pace(&self) -> Option<Pace> {
        Some(Pace { every: Duration::from_millis(500), burst: 4 })
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        vec![(&self.webhook_url.0, SecretForm::Url)]
    }

    fn templates(&self) -> Vec<Templated> {
        vec![
            Templated::or_default("title", &self.title, "msteamsv2.default.title", escape),
            Templated::or_default("text", &self.text, "msteamsv2.default.text", escape),
        ]
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        let url = attempt.secret(&self.webhook_url.0)?;
        Ok(Request::Http(HttpRequest::post(url, message(&attempt.view, &attempt.texts))))
    }

    fn reads(&self, status: u16) -> bool {
        !matches!(status, 204 | 205)
    }

    fn judge(&self, answer: &Answer) -> Result<(), AttemptError> {
        judge(answer)
    }
}

/// The meaning of an answer of Teams.
pub(super) fn judge(answer: &Answer) -> Result<(), AttemptError> {
    failure_of(answer).or_else(|| relayed(answer)).map_or(Ok(()), Err)
}

/// The failure that the body of a 2xx reports: `Microsoft Teams endpoint returned HTTP error 429`.
fn relayed(answer: &Answer) -> Option<AttemptError> {
    let text = String::from_utf8_lossy(&answer.body);
    let (_, status) = text.split_once("returned HTTP error ")?;
    let status = status.get(..3)?.parse().ok()?;
    let failure = failure_of(&Answer::new(status, answer.retry_after, Vec::new()))?;
    let detail = format!("status {} with {:?}", answer.status, answer.excerpt());
    Some(AttemptError { detail, ..failure })
}

/// The message. Its text is cut until the message is no larger than Teams takes.
fn message(view: &View<'_>, texts: &Renderer<'_>) -> Vec<u8> {
    let title = texts.text("title", || escape(&subject(view)));
    let own = || story(view, &STYLE);
    let (text, font) = match is_report(view.notification) {
        true => (own(), "Monospace"),
        false => (texts.beside(&[&title], "text", own), ""),
    };
    let title = marked(&title, view, TITLE_CHARS);
    let color = match (view.notification.kind, view.is_firing()) {
        (Kind::Digest, _) => "Accent",
        (_, true) => "Attention",
        (_, false) => "Good",
    };
    fitted(&text, |text| card(&title, text, color, font).to_string().into_bytes())
}

/// The message with as much of its text as Teams takes.
pub(super) fn fitted(text: &str, message: impl Fn(&str) -> Vec<u8>) -> Vec<u8> {
    let mut chars = MESSAGE_BYTES;
    loop {
        let body = message(&cut(text.to_owned(), chars));
        if body.len() <= MESSAGE_BYTES || chars == 0 {
            return body;
        }
        chars = chars * 3 / 4;
    }
}

fn card(title: &str, text: &str, color: &str, font: &str) -> serde_json::Value {
    let mut block = json!({ "type": "TextBlock", "text": text, "wrap": true });
    if !font.is_empty() {
        block["fontType"] = font.into();
    }
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.2",
                "body": [
                    {
                        "type": "TextBlock",
                        "text": title,
                        "weight": "Bolder",
                        "size": "Medium",
                        "wrap": true,
                        "style": "heading",
                        "color": color,
                    },
                    block,
                ],
                "msteams": { "width": "full" },
            },
        }],
    })
}

/// Makes alert content plain text to Teams: a backslash before each character of its Markdown. A card
/// mentions only people whom its own list of mentions names, and there is none.
pub(super) fn escape(text: &str) -> String {
    escape_markdown(text, r"\*_`<[]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receivers::{FailureReason, Retry};

    #[test]
    fn a_refusal_inside_a_200_is_a_refusal() {
        let judge = |body: &str| relayed(&Answer::new(200, None, body.into()));
        assert_eq!(judge("1"), None);
        assert_eq!(judge(""), None);
        let limited = judge("Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId x").unwrap();
        assert_eq!((limited.reason, limited.retry), (FailureReason::RateLimited, Retry::Backoff));
        let large = judge("Microsoft Teams endpoint returned HTTP error 413").unwrap();
        assert_eq!(large.retry, Retry::Never);
    }
}
