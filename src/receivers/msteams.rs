//! `msteams_configs`: a message card, for a connector of Microsoft Teams. Microsoft replaces connectors by
//! workflows, which `msteamsv2_configs` writes to. Size and answers are the same.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use squelch_core::policy::KnownBy;

use super::msteamsv2::{STYLE, TITLE_CHARS, escape, fitted, judge};
use super::text::{clean_text, cut, marked, story, subject};
use super::texts::Texts;
use super::{
    Answer, Attempt, AttemptError, HttpRequest, Notifier, Pace, Reader, ReceiverType, Request, Templated,
    webhook_url,
};
use crate::model::Kind;
use crate::settings::section::Section;
use crate::settings::{Secret, SecretForm, SecretUrl};

/// `msteams_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "msteams_configs",
    name: "msteams",
    send_resolved: true,
    send_updates: false,
    known_by: KnownBy::Nothing,
    reader,
};

const TEXTS: [(&str, &str); 3] = [
    ("title", r#"{{ template "msteams.default.title" . }}"#),
    ("summary", r#"{{ template "msteams.default.summary" . }}"#),
    ("text", r#"{{ template "msteams.default.text" . }}"#),
];

/// A connector of Microsoft Teams.
#[derive(Clone, Debug)]
pub struct MsTeamsConfig {
    /// `webhook_url` / `webhook_url_file`: secret.
    pub webhook_url: SecretUrl,
    /// `title`, `summary` and `text`, templated.
    pub texts: Texts,
}

fn reader<'b>(_: &mut Section<'_>, base: &'b Path) -> Reader<'b> {
    Box::new(move |keys| {
        let webhook_url = webhook_url(keys, TYPE.list, base);
        Arc::new(MsTeamsConfig { webhook_url, texts: Texts::read(keys, &TEXTS) })
    })
}

impl Notifier for MsTeamsConfig {
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
        self.texts.templated(clean_text)
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        let url = attempt.secret(&self.webhook_url.0)?;
        Ok(Request::Http(HttpRequest::post(url, message(attempt))))
    }

    fn reads(&self, status: u16) -> bool {
        !matches!(status, 204 | 205)
    }

    fn judge(&self, answer: &Answer) -> Result<(), AttemptError> {
        judge(answer)
    }
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(rename = "@context")]
    context: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    summary: &'a str,
    text: &'a str,
    #[serde(rename = "themeColor")]
    theme_color: &'static str,
}

/// The message. Its text is cut until the message is no larger than Teams takes.
fn message(attempt: &Attempt<'_>) -> Vec<u8> {
    let (view, texts) = (&attempt.view, &attempt.texts);
    let own_title = || escape(&subject(view));
    let digest = view.notification.kind == Kind::Digest;
    let line = |key| if digest { own_title() } else { texts.text(key, own_title) };
    let (title, summary) = (line("title"), line("summary"));
    let text = if digest {
        story(view, &STYLE)
    } else {
        texts.beside(&[&title, &summary], "text", || story(view, &STYLE))
    };
    let (title, summary) = (marked(&title, view, TITLE_CHARS), cut(summary, TITLE_CHARS));
    let theme_color = match (digest, view.is_firing()) {
        (true, _) => "808080",
        (_, true) => "8C1A1A",
        (_, false) => "2DC72D",
    };
    fitted(&text, |text| {
        let message = Message {
            context: "http://schema.org/extensions",
            kind: "MessageCard",
            title: &title,
            summary: &summary,
            text,
            theme_color,
        };
        // Strings into memory: nothing here can fail.
        serde_json::to_vec(&message).unwrap_or_default()
    })
}
