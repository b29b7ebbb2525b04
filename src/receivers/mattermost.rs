//! `mattermost_configs`: a message with attachments, for an incoming webhook of Mattermost.
//!
//! Mattermost takes 16,383 characters of text. Only the two higher priorities ask for an acknowledgement.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use squelch_core::policy::KnownBy;

use super::report::{FENCE, fenced};
use super::text::{Style, calls_nobody, cut, marked, one_line, repeated, story, subject};
use super::texts::Texts;
use super::{
    Attempt, AttemptError, Escape, HttpRequest, Notifier, Pace, Reader, ReceiverType, Request, Templated,
};
use crate::model::Kind;
use crate::settings::http::secret_url;
use crate::settings::section::Section;
use crate::settings::{Secret, SecretForm, SecretUrl};

/// `mattermost_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "mattermost_configs",
    name: "mattermost",
    send_resolved: true,
    send_updates: false,
    known_by: KnownBy::Nothing,
    reader,
};

const TEXT_CHARS: usize = 16_383;
const TITLE_CHARS: usize = 1_024;
const SHORT_CHARS: usize = 255;
/// Keys of the message itself.
const TEXTS: [(&str, &str); 8] = [
    ("channel", ""),
    ("icon_emoji", ""),
    ("icon_url", ""),
    ("text", r#"{{ template "mattermost.default.text" . }}"#),
    ("type", ""),
    ("username", r#"{{ template "mattermost.default.username" . }}"#),
    ("props.card", ""),
    ("priority.priority", ""),
];
/// Keys of the attachment that there is without `attachments`.
const OWN_ATTACHMENT: [(&str, &str); 12] = [
    ("fallback", r#"{{ template "mattermost.default.fallback" . }}"#),
    ("color", r#"{{ template "mattermost.default.color" . }}"#),
    ("pretext", ""),
    ("author_name", ""),
    ("author_link", ""),
    ("author_icon", ""),
    ("title", r#"{{ template "mattermost.default.title" . }}"#),
    ("title_link", r#"{{ template "mattermost.default.titlelink" . }}"#),
    ("thumb_url", ""),
    ("footer", ""),
    ("footer_icon", ""),
    ("image_url", ""),
];
/// Keys of each of `attachments`.
const ATTACHMENT: [&str; 13] = [
    "fallback",
    "color",
    "pretext",
    "text",
    "author_name",
    "author_link",
    "author_icon",
    "title",
    "title_link",
    "thumb_url",
    "footer",
    "footer_icon",
    "image_url",
];
const STYLE: Style = Style {
    escape: calls_nobody,
    heading: |text| format!("**{text}**\n"),
    link: |url, text| format!("[{text}]({})", url.replace(')', "%29")),
    block: |text| fenced(&cut(calls_nobody(text), TEXT_CHARS - FENCE)),
    alerts: 10,
};

/// An incoming webhook of Mattermost.
#[derive(Clone, Debug)]
pub struct MattermostConfig {
    /// `webhook_url` / `webhook_url_file`: secret.
    pub webhook_url: SecretUrl,
    /// `fields`: of each, whether it is short, if that is given.
    pub fields: Vec<Option<bool>>,
    /// `attachments`: the fields of each.
    pub attachments: Vec<Vec<Option<bool>>>,
    /// `priority.requested_ack`
    pub requested_ack: bool,
    /// `priority.persistent_notifications`
    pub persistent_notifications: bool,
    /// All other keys, templated.
    pub texts: Texts,
}

fn reader<'b>(global: &mut Section<'_>, base: &'b Path) -> Reader<'b> {
    let default = secret_url(global, ("mattermost_webhook_url", "mattermost_webhook_url_file"), base);
    Box::new(move |keys| Arc::new(read(keys, default.as_ref(), base)))
}

fn read(keys: &mut Section<'_>, default: Option<&SecretUrl>, base: &Path) -> MattermostConfig {
    let own = secret_url(keys, ("webhook_url", "webhook_url_file"), base);
    let webhook_url = own.or_else(|| default.cloned());
    if webhook_url.is_none() {
        let message = "mattermost_configs has no URL. Write webhook_url_file (or webhook_url) here, or mattermost_webhook_url_file in global";
        keys.problems.add(keys.line, message);
    }
    let names: Vec<_> =
        TEXTS.into_iter().filter(|(name, _)| !name.contains('.')).chain(OWN_ATTACHMENT).collect();
    let mut texts = Texts::read(keys, &names);
    let own_fields = fields(keys, "fields", &mut texts);
    let mut attachments = Vec::new();
    for (i, node) in keys.list("attachments").unwrap_or_default().iter().enumerate() {
        let Some(mut attachment) = Section::new(node, "attachments", keys.problems) else { continue };
        let place = format!("attachments[{i}]");
        texts.read_below(&place, &mut attachment, &ATTACHMENT);
        attachments.push(fields(&mut attachment, &format!("{place}.fields"), &mut texts));
        attachment.finish();
    }
    if let Some(mut props) = keys.section("props") {
        texts.read_below("props", &mut props, &["card"]);
        props.finish();
    }
    let (mut requested_ack, mut persistent_notifications) = (false, false);
    if let Some(mut priority) = keys.section("priority") {
        texts.read_below("priority", &mut priority, &["priority"]);
        requested_ack = priority.boolean("requested_ack").unwrap_or(false);
        persistent_notifications = priority.boolean("persistent_notifications").unwrap_or(false);
        priority.finish();
    }
    MattermostConfig {
        webhook_url: webhook_url.unwrap_or_else(|| SecretUrl(Secret::Inline("".into()))),
        fields: own_fields,
        attachments,
        requested_ack,
        persistent_notifications,
        texts,
    }
}

fn fields(keys: &mut Section<'_>, place: &str, texts: &mut Texts) -> Vec<Option<bool>> {
    let mut found = Vec::new();
    for (i, node) in keys.list("fields").unwrap_or_default().iter().enumerate() {
        let Some(mut field) = Section::new(node, "fields", keys.problems) else { continue };
        let place = format!("{place}[{i}]");
        texts.read_below(&place, &mut field, &["title", "value"]);
        if ["title", "value"].iter().any(|key| texts.source(&format!("{place}.{key}")).is_empty()) {
            field.problems.add(field.line, "fields has an entry without title or value. Write both");
        }
        found.push(field.boolean("short"));
        field.finish();
    }
    found
}

impl Notifier for MattermostConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    /// Mattermost lets one address send ten messages a second, unless its settings say otherwise.
    fn pace(&self) -> Option<Pace> {
        Some(Pace { every: Duration::from_millis(200), burst: 5 })
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        vec![(&self.webhook_url.0, SecretForm::Url)]
    }

    fn templates(&self) -> Vec<Templated> {
        self.texts.templated(calls_nobody)
    }

    fn mentions(&self) -> Escape {
        calls_nobody
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        let url = attempt.secret(&self.webhook_url.0)?;
        // Strings into memory: nothing here can fail.
        let body = serde_json::to_vec(&self.message(attempt)).unwrap_or_default();
        Ok(Request::Http(HttpRequest::post(url, body)))
    }
}

impl MattermostConfig {
    fn message(&self, attempt: &Attempt<'_>) -> Message {
        let (view, texts) = (&attempt.view, &attempt.texts);
        let said = |key: &str| texts.text(key, String::new);
        let line = |key: &str| cut(one_line(&said(key)), SHORT_CHARS);
        let own = |key: &str| match key {
            "title" | "fallback" => calls_nobody(&subject(view)),
            "title_link" => view.incident_url(),
            "color" => if view.is_firing() { "danger" } else { "good" }.to_owned(),
            "text" => story(view, &STYLE),
            _ => String::new(),
        };
        let digest = view.notification.kind == Kind::Digest;
        let text = if digest { own("text") } else { texts.text("text", || own("text")) };
        let text = cut(text, TEXT_CHARS);
        let (text, attachments) = match &self.attachments[..] {
            given if given.is_empty() || digest => {
                let one = self.attachment(attempt, "", &self.fields, own);
                let title = if digest { own("title") } else { one.title };
                (String::new(), vec![Attachment { text, title: marked(&title, view, TITLE_CHARS), ..one }])
            }
            given => {
                let one = |(i, fields): (usize, &Vec<_>)| {
                    self.attachment(attempt, &format!("attachments[{i}]."), fields, |_| String::new())
                };
                (cut(repeated(text, view), TEXT_CHARS), given.iter().enumerate().map(one).collect())
            }
        };
        Message {
            text,
            channel: one_line(&said("channel")),
            username: line("username"),
            icon_url: texts.link("icon_url", String::new).unwrap_or_default(),
            icon_emoji: line("icon_emoji"),
            attachments,
            kind: line("type"),
            props: Some(said("props.card")).filter(|card| !card.is_empty()).map(|card| Props { card }),
            priority: self.priority(&said("priority.priority")),
        }
    }

    /// An attachment whose keys stand at `place`. `own` has the default texts.
    fn attachment(
        &self,
        attempt: &Attempt<'_>,
        place: &str,
        fields: &[Option<bool>],
        own: impl Fn(&str) -> String,
    ) -> Attachment {
        let said = |key: &str| attempt.texts.text(&format!("{place}{key}"), || own(key));
        let link = |key: &str| attempt.texts.link(&format!("{place}{key}"), || own(key)).unwrap_or_default();
        let line = |key: &str| cut(one_line(&said(key)), SHORT_CHARS);
        let field = |(i, short): (usize, &Option<bool>)| Field {
            title: said(&format!("fields[{i}].title")),
            value: said(&format!("fields[{i}].value")),
            short: *short,
        };
        Attachment {
            fallback: cut(said("fallback"), TITLE_CHARS),
            color: line("color"),
            pretext: cut(said("pretext"), TEXT_CHARS),
            text: if place.is_empty() { String::new() } else { cut(said("text"), TEXT_CHARS) },
            author_name: line("author_name"),
            author_link: link("author_link"),
            author_icon: link("author_icon"),
            title: cut(one_line(&said("title")), TITLE_CHARS),
            title_link: link("title_link"),
            fields: fields.iter().enumerate().map(field).collect(),
            thumb_url: link("thumb_url"),
            footer: line("footer"),
            footer_icon: link("footer_icon"),
            image_url: link("image_url"),
        }
    }

    /// The priority as Mattermost takes it. An unknown value is `standard`. Only the higher ones ask for an
    /// acknowledgement or go on until there is one.
    fn priority(&self, text: &str) -> Option<Priority> {
        if self.texts.source("priority.priority").is_empty() {
            return None;
        }
        let known = ["urgent", "important"].into_iter().find(|known| text.trim().eq_ignore_ascii_case(known));
        let priority = known.unwrap_or("standard");
        Some(Priority {
            priority,
            requested_ack: self.requested_ack && priority != "standard",
            persistent_notifications: self.persistent_notifications && priority == "urgent",
        })
    }
}

#[derive(Serialize)]
struct Message {
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    channel: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_emoji: String,
    attachments: Vec<Attachment>,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    props: Option<Props>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
}

#[derive(Serialize)]
struct Props {
    card: String,
}

#[derive(Serialize)]
struct Priority {
    priority: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    requested_ack: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    persistent_notifications: bool,
}

#[derive(Serialize)]
struct Attachment {
    #[serde(skip_serializing_if = "String::is_empty")]
    fallback: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    color: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pretext: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    author_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    author_link: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    author_icon: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title_link: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
    #[serde(skip_serializing_if = "String::is_empty")]
    thumb_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    footer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    footer_icon: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    image_url: String,
}

#[derive(Serialize)]
struct Field {
    title: String,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    short: Option<bool>,
}
