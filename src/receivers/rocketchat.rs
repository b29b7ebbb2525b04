//! `rocketchat_configs`: a message with one attachment (`chat.postMessage` of Rocket.Chat's REST API).
//!
//! Rocket.Chat may answer 200 and say `"success":false`. Its limits are those of its default settings: 10
//! calls a minute, and 5,000 characters a message.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use squelch_core::policy::KnownBy;

use super::report::{FENCE, fenced};
use super::text::{Style, calls_nobody, cut, marked, one_line, story, subject};
use super::texts::Texts;
use super::{
    Answer, Attempt, AttemptError, Escape, FailureReason, HttpRequest, Notifier, Pace, Reader, ReceiverType,
    Request, Retry, Templated, Verdict, failure_of,
};
use crate::model::Kind;
use crate::settings::http::{secret, url};
use crate::settings::section::Section;
use crate::settings::{Secret, SecretForm, Url};

/// `rocketchat_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "rocketchat_configs",
    name: "rocketchat",
    send_resolved: false,
    send_updates: false,
    known_by: KnownBy::Nothing,
    reader,
};

const TITLE_CHARS: usize = 1_024;
const TEXT_CHARS: usize = 5_000;
const SHORT_CHARS: usize = 255;
const TEXTS: [(&str, &str); 9] = [
    ("channel", ""),
    ("color", r#"{{ if eq .Status "firing" }}red{{ else }}green{{ end }}"#),
    ("emoji", r#"{{ template "rocketchat.default.emoji" . }}"#),
    ("icon_url", r#"{{ template "rocketchat.default.iconurl" . }}"#),
    ("image_url", ""),
    ("text", r#"{{ template "rocketchat.default.text" . }}"#),
    ("thumb_url", ""),
    ("title", r#"{{ template "rocketchat.default.title" . }}"#),
    ("title_link", r#"{{ template "rocketchat.default.titlelink" . }}"#),
];
const STYLE: Style = Style {
    escape: calls_nobody,
    heading: |text| format!("*{text}*"),
    link: |url, text| format!("[{text}]({})", url.replace(')', "%29")),
    block: |text| fenced(&cut(calls_nobody(text), TEXT_CHARS - FENCE)),
    alerts: 10,
};

/// A channel of Rocket.Chat.
#[derive(Clone, Debug)]
pub struct RocketchatConfig {
    /// `api_url`: the server. Default `https://open.rocket.chat/`.
    pub api_url: Url,
    /// `token` / `token_file`
    pub token: Secret,
    /// `token_id` / `token_id_file`: the id of the user who has the token.
    pub token_id: Secret,
    /// Of each entry of `fields`, whether it is `short`.
    pub fields: Vec<bool>,
    /// How many entries `actions` has.
    pub actions: usize,
    /// All other keys, templated.
    pub texts: Texts,
}

fn reader<'b>(global: &mut Section<'_>, base: &'b Path) -> Reader<'b> {
    let api_url = url(global, "rocketchat_api_url").unwrap_or(Url("https://open.rocket.chat/".into()));
    let form = SecretForm::Header;
    let token = secret(global, ("rocketchat_token", "rocketchat_token_file"), form, base);
    let token_id = secret(global, ("rocketchat_token_id", "rocketchat_token_id_file"), form, base);
    Box::new(move |keys| Arc::new(read(keys, &api_url, (token.as_ref(), token_id.as_ref()), base)))
}

fn read(
    keys: &mut Section<'_>,
    api_url: &Url,
    (token, token_id): (Option<&Secret>, Option<&Secret>),
    base: &Path,
) -> RocketchatConfig {
    let mut credential = |names: (&'static str, &'static str), global: Option<&Secret>| {
        let found = secret(keys, names, SecretForm::Header, base).or_else(|| global.cloned());
        if found.is_none() {
            let (name, file) = names;
            let message = format!(
                "rocketchat_configs has no {name}. Write {file} (or {name}) here, or rocketchat_{file} in global"
            );
            keys.problems.add(keys.line, message);
        }
        found.unwrap_or_else(|| Secret::Inline("".into()))
    };
    let token = credential(("token", "token_file"), token);
    let token_id = credential(("token_id", "token_id_file"), token_id);
    let mut texts = Texts::read(keys, &TEXTS);
    let short = keys.boolean("short_fields").unwrap_or(false);
    let fields = fields(keys, &mut texts, short);
    let actions = actions(keys, &mut texts);
    // Alertmanager reads it and sends it nowhere.
    keys.boolean("link_names");
    RocketchatConfig {
        api_url: url(keys, "api_url").unwrap_or_else(|| api_url.clone()),
        token,
        token_id,
        fields,
        actions,
        texts,
    }
}

fn fields(keys: &mut Section<'_>, texts: &mut Texts, short: bool) -> Vec<bool> {
    let mut found = Vec::new();
    for (i, node) in keys.list("fields").unwrap_or_default().iter().enumerate() {
        let Some(mut field) = Section::new(node, "fields", keys.problems) else { continue };
        texts.read_below(&format!("fields[{i}]"), &mut field, &["title", "value"]);
        found.push(field.boolean("short").unwrap_or(short));
        field.finish();
    }
    found
}

/// Alertmanager reads more keys of an action than it sends.
fn actions(keys: &mut Section<'_>, texts: &mut Texts) -> usize {
    let nodes = keys.list("actions").unwrap_or_default();
    for (i, node) in nodes.iter().enumerate() {
        let Some(mut action) = Section::new(node, "actions", keys.problems) else { continue };
        texts.read_below(&format!("actions[{i}]"), &mut action, &["text", "url", "msg"]);
        for unsent in ["type", "imageurl", "webviewheightratio", "msgprocessingtype"] {
            action.text(unsent);
        }
        for unsent in ["iswebview", "msginchatwindow"] {
            action.boolean(unsent);
        }
        action.finish();
    }
    nodes.len()
}

impl Notifier for RocketchatConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    /// Rocket.Chat lets a user call an endpoint ten times a minute, unless its settings say otherwise.
    fn pace(&self) -> Option<Pace> {
        Some(Pace { every: Duration::from_secs(12), burst: 5 })
    }

    fn account(&self) -> Option<String> {
        let user = match &self.token_id {
            Secret::Inline(value) => value.to_string(),
            Secret::File(file) => format!("file {}", file.path.display()),
        };
        Some(format!("rocketchat {} {user}", self.api_url.0))
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        vec![(&self.token, SecretForm::Header), (&self.token_id, SecretForm::Header)]
    }

    fn templates(&self) -> Vec<Templated> {
        self.texts.templated(calls_nobody)
    }

    fn mentions(&self) -> Escape {
        calls_nobody
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        let url = format!("{}/api/v1/chat.postMessage", self.api_url.0.trim().trim_end_matches('/'));
        let headers = vec![
            ("x-auth-token", attempt.secret(&self.token)?.to_owned()),
            ("x-user-id", attempt.secret(&self.token_id)?.to_owned()),
        ];
        // Strings into memory: nothing here can fail.
        let body = serde_json::to_vec(&self.message(attempt)).unwrap_or_default();
        Ok(Request::Http(HttpRequest { headers, ..HttpRequest::post(url, body) }))
    }

    fn reads(&self, status: u16) -> bool {
        !matches!(status, 204 | 205)
    }

    fn judge(&self, answer: &Answer) -> Result<(), AttemptError> {
        let said: AnswerBody = serde_json::from_slice(&answer.body).unwrap_or_default();
        if let Some(error) = failure_of(answer) {
            let wait = said.wait().filter(|_| error.reason == FailureReason::RateLimited);
            return Err(AttemptError { retry: wait.map_or(error.retry, Retry::After), ..error });
        }
        let detail = format!("status {} with {:?}", answer.status, answer.excerpt());
        match said.success {
            Some(true) => Ok(()),
            // The answer repeats the message, which may be longer than the part that Squelch reads.
            None if answer.truncated || !self.reads(answer.status) => Ok(()),
            Some(false) => Err(AttemptError::refused(FailureReason::ClientError, detail)),
            None => {
                let retry = Retry::Undecided(Verdict::Accepted);
                let error = AttemptError::passing(FailureReason::Other, detail);
                Err(AttemptError { retry, ambiguous: true, ..error })
            }
        }
    }
}

impl RocketchatConfig {
    fn message(&self, attempt: &Attempt<'_>) -> Message {
        let (view, texts) = (&attempt.view, &attempt.texts);
        let digest = view.notification.kind == Kind::Digest;
        let said = |key: &str| texts.text(key, String::new);
        let link = |key: &str| texts.link(key, String::new).unwrap_or_default();
        let line = |key: &str| cut(one_line(&said(key)), SHORT_CHARS);
        let title = if digest {
            calls_nobody(&subject(view))
        } else {
            texts.text("title", || calls_nobody(&subject(view)))
        };
        let text = if digest {
            story(view, &STYLE)
        } else {
            texts.beside(&[&title], "text", || story(view, &STYLE))
        };
        let color = || if view.is_firing() { "red" } else { "green" }.to_owned();
        let field = |(i, short): (usize, &bool)| Field {
            short: *short,
            title: said(&format!("fields[{i}].title")),
            value: said(&format!("fields[{i}].value")),
        };
        let action = |i: usize| Action {
            kind: "button",
            text: said(&format!("actions[{i}].text")),
            url: link(&format!("actions[{i}].url")),
            is_webview: false,
            msg: said(&format!("actions[{i}].msg")),
            msg_in_chat_window: false,
        };
        let attachment = Attachment {
            title: marked(&title, view, TITLE_CHARS),
            title_link: texts.link("title_link", || view.incident_url()).unwrap_or_default(),
            text: cut(text, TEXT_CHARS),
            image_url: link("image_url"),
            thumb_url: link("thumb_url"),
            color: cut(one_line(&texts.text("color", color)), SHORT_CHARS),
            fields: self.fields.iter().enumerate().map(field).collect(),
            actions: (0..self.actions).map(action).collect(),
        };
        Message {
            channel: one_line(&said("channel")),
            emoji: line("emoji"),
            avatar: link("icon_url"),
            attachments: [attachment],
        }
    }
}

#[derive(Serialize)]
struct Message {
    #[serde(skip_serializing_if = "String::is_empty")]
    channel: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    emoji: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    avatar: String,
    attachments: [Attachment; 1],
}

#[derive(Serialize)]
struct Attachment {
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title_link: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    image_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thumb_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    color: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action>,
}

#[derive(Serialize)]
struct Field {
    short: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    value: String,
}

#[derive(Serialize)]
struct Action {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
    is_webview: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    msg: String,
    msg_in_chat_window: bool,
}

/// The content of a Rocket.Chat answer.
#[derive(Deserialize, Default)]
#[serde(default)]
struct AnswerBody {
    success: Option<bool>,
    error: String,
}

impl AnswerBody {
    /// How long to wait: `You must wait 43 seconds before trying this endpoint again.`
    fn wait(&self) -> Option<Duration> {
        let (_, rest) = self.error.split_once("must wait ")?;
        rest.split_whitespace().next()?.parse().ok().map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_says_how_long_in_its_text() {
        let said = |error: &str| AnswerBody { success: Some(false), error: error.into() }.wait();
        let limit = "Error, too many requests. Please slow down. You must wait 43 seconds before trying this endpoint again. [error-too-many-requests]";
        assert_eq!(said(limit), Some(Duration::from_secs(43)));
        assert_eq!(said("[invalid-channel]"), None);
    }
}
