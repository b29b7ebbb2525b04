//! `slack_configs`: the message, for an incoming webhook or a bot (`chat.postMessage`, `chat.update`).
//! Attachments carry the colour bar, as Alertmanager's do. `answer.rs` reads the answer, and `message.rs`
//! writes the message.
//!
//! With `update_message` a bot posts one message for each incident. Later notifications change this
//! message, and a reply in its thread describes the change.

mod answer;
mod message;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use smol_str::SmolStr;
use squelch_core::policy::KnownBy;

use super::text::calls_nobody;
use super::texts::Texts;
use super::{
    Answer, Attempt, AttemptError, Escape, HttpRequest, Notifier, Pace, Reader, ReceiverType, Request, Retry,
    Templated, failure_of, is_authorized,
};
use crate::settings::http::{secret, secret_url, url};
use crate::settings::section::Section;
use crate::settings::{Secret, SecretForm, SecretUrl, Url};
use message::{Place, To, escape};

/// `slack_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "slack_configs",
    name: "slack",
    send_resolved: false,
    send_updates: false,
    known_by: KnownBy::Nothing,
    reader,
};

const TEXTS: [(&str, &str); 15] = [
    ("callback_id", r#"{{ template "slack.default.callbackid" . }}"#),
    ("channel", ""),
    ("color", r#"{{ template "slack.default.color" . }}"#),
    ("fallback", r#"{{ template "slack.default.fallback" . }}"#),
    ("footer", r#"{{ template "slack.default.footer" . }}"#),
    ("icon_emoji", r#"{{ template "slack.default.iconemoji" . }}"#),
    ("icon_url", r#"{{ template "slack.default.iconurl" . }}"#),
    ("image_url", ""),
    ("message_text", ""),
    ("pretext", r#"{{ template "slack.default.pretext" . }}"#),
    ("text", r#"{{ template "slack.default.text" . }}"#),
    ("thumb_url", ""),
    ("title", r#"{{ template "slack.default.title" . }}"#),
    ("title_link", r#"{{ template "slack.default.titlelink" . }}"#),
    ("username", r#"{{ template "slack.default.username" . }}"#),
];
const POST: &str = "/chat.postMessage";
const UPDATE: &str = "/chat.update";
/// Slack's answers if there is no message to change or reply to. Then a new one is posted.
const NOT_TO_BE_CHANGED: [&str; 10] = [
    "cannot_reply_to_message",
    "cant_update_message",
    "channel_not_found",
    "edit_window_closed",
    "invalid_thread_ts",
    "is_inactive",
    "message_not_found",
    "not_in_channel",
    "thread_not_found",
    "update_failed",
];

/// A channel of Slack.
#[derive(Clone, Debug)]
pub struct SlackConfig {
    /// The channel of the messages, and their author.
    pub to: SlackAddress,
    /// `fields`: of each, whether it is short.
    pub fields: Vec<bool>,
    /// `actions`: of each, whether it has a `confirm`.
    pub actions: Vec<bool>,
    /// `link_names`
    pub link_names: bool,
    /// `mrkdwn_in`. Empty = Alertmanager's three.
    pub mrkdwn_in: Vec<String>,
    /// `update_message`
    pub update_message: bool,
    /// All other keys, templated.
    pub texts: Texts,
}

/// Where messages go.
#[derive(Clone, Debug)]
pub enum SlackAddress {
    /// `api_url` / `api_url_file`: an incoming webhook, or `chat.postMessage` with a token in `http_config`.
    Url(SecretUrl),
    /// `app_url`, and `app_token` / `app_token_file`: the token of a bot.
    App {
        /// Default `https://slack.com/api/chat.postMessage`.
        url: Url,
        /// The token.
        token: Secret,
    },
}

/// The defaults in `global`.
struct Defaults {
    api_url: Option<SecretUrl>,
    app_url: Url,
    app_token: Option<Secret>,
}

fn reader<'b>(global: &mut Section<'_>, base: &'b Path) -> Reader<'b> {
    let token = ("slack_app_token", "slack_app_token_file");
    let app_url = url(global, "slack_app_url");
    let defaults = Defaults {
        api_url: secret_url(global, ("slack_api_url", "slack_api_url_file"), base),
        app_url: app_url.unwrap_or(Url("https://slack.com/api/chat.postMessage".into())),
        app_token: secret(global, token, SecretForm::Header, base),
    };
    // A token may stand beside the very URL at which it is used, as was the way before there were tokens.
    let same =
        matches!(&defaults.api_url, Some(SecretUrl(Secret::Inline(url))) if **url == *defaults.app_url.0);
    if defaults.api_url.is_some() && defaults.app_token.is_some() && !same {
        let message = "slack_api_url and slack_app_token are both given. Keep one";
        global.problems.add(global.line_of("slack_api_url"), message);
    }
    Box::new(move |keys| Arc::new(read(keys, &defaults, base)))
}

fn read(keys: &mut Section<'_>, defaults: &Defaults, base: &Path) -> SlackConfig {
    let mut texts = Texts::read(keys, &TEXTS);
    let short = keys.boolean("short_fields").unwrap_or(false);
    let config = SlackConfig {
        to: address(keys, defaults, base),
        fields: fields(keys, &mut texts, short),
        actions: actions(keys, &mut texts),
        link_names: keys.boolean("link_names").unwrap_or(false),
        mrkdwn_in: keys.texts("mrkdwn_in").unwrap_or_default().iter().map(|t| t.text.to_owned()).collect(),
        update_message: keys.boolean("update_message").unwrap_or(false),
        texts,
    };
    let webhook = match &config.to {
        SlackAddress::Url(SecretUrl(Secret::Inline(url))) => !url.trim_end().ends_with(POST),
        SlackAddress::App { url, .. } => !url.0.trim_end().ends_with(POST),
        SlackAddress::Url(SecretUrl(Secret::File(_))) => false,
    };
    if config.update_message && webhook {
        let message = "update_message needs a bot, because an incoming webhook cannot change a message. Write app_token_file, or api_url: https://slack.com/api/chat.postMessage";
        keys.problems.add(keys.line_of("update_message"), message);
    }
    config
}

/// A token or a URL of the integration goes before those of `global`.
fn address(keys: &mut Section<'_>, defaults: &Defaults, base: &Path) -> SlackAddress {
    let api_url = secret_url(keys, ("api_url", "api_url_file"), base);
    let app_token = secret(keys, ("app_token", "app_token_file"), SecretForm::Header, base);
    let app_url = url(keys, "app_url").unwrap_or_else(|| defaults.app_url.clone());
    if api_url.is_some() && app_token.is_some() {
        let message = "slack_configs has api_url and app_token. Keep one";
        keys.problems.add(keys.line, message);
    }
    let authorized = is_authorized(keys);
    if app_token.is_some() && authorized {
        let message = "slack_configs has app_token and http_config.authorization. Keep one";
        keys.problems.add(keys.line, message);
    }
    let lent = defaults.app_token.clone().filter(|_| api_url.is_none() && !authorized);
    if let Some(token) = app_token.or(lent) {
        return SlackAddress::App { url: app_url, token };
    }
    let api_url = api_url.or_else(|| defaults.api_url.clone());
    if api_url.is_none() {
        let message = "slack_configs has no URL. Write api_url_file (or api_url) or app_token_file (or app_token) here, or slack_api_url_file or slack_app_token_file in global";
        keys.problems.add(keys.line, message);
    }
    SlackAddress::Url(api_url.unwrap_or_else(|| SecretUrl(Secret::Inline("".into()))))
}

fn fields(keys: &mut Section<'_>, texts: &mut Texts, short: bool) -> Vec<bool> {
    let mut found = Vec::new();
    for (i, node) in keys.list("fields").unwrap_or_default().iter().enumerate() {
        let Some(mut field) = Section::new(node, "fields", keys.problems) else { continue };
        let place = format!("fields[{i}]");
        texts.read_below(&place, &mut field, &["title", "value"]);
        if ["title", "value"].iter().any(|key| texts.source(&format!("{place}.{key}")).is_empty()) {
            field.problems.add(field.line, "fields has an entry without title or value. Write both");
        }
        found.push(field.boolean("short").unwrap_or(short));
        field.finish();
    }
    found
}

fn actions(keys: &mut Section<'_>, texts: &mut Texts) -> Vec<bool> {
    let mut found = Vec::new();
    for (i, node) in keys.list("actions").unwrap_or_default().iter().enumerate() {
        let Some(mut action) = Section::new(node, "actions", keys.problems) else { continue };
        let place = format!("actions[{i}]");
        texts.read_below(&place, &mut action, &["type", "text", "url", "style", "name", "value"]);
        let mut confirm = false;
        if let Some(mut keys) = action.section("confirm") {
            let place = format!("{place}.confirm");
            texts.read_below(&place, &mut keys, &["text", "title", "ok_text", "dismiss_text"]);
            if texts.source(&format!("{place}.text")).is_empty() {
                keys.problems.add(keys.line, "confirm has no text. Write the question to ask");
            }
            keys.finish();
            confirm = true;
        }
        let has = |key: &str| !texts.source(&format!("{place}.{key}")).is_empty();
        if !has("type") || !has("text") {
            action.problems.add(action.line, "actions has an entry without type or text. Write both");
        }
        if !has("url") && !has("name") {
            action.problems.add(action.line, "actions has an entry without url or name. Write one of them");
        }
        if has("url") {
            // A link has none of the keys of a button that Slack reports.
            ["name", "value"].iter().for_each(|key| texts.set(format!("{place}.{key}"), ""));
            confirm = false;
        }
        found.push(confirm);
        action.finish();
    }
    found
}

impl Notifier for SlackConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    /// Slack documents one message a second for each channel, and short bursts. A change takes two requests,
    /// and Slack documents 50 changes a minute.
    fn pace(&self) -> Option<Pace> {
        Some(match self.update_message {
            true => Pace { every: Duration::from_millis(1_500), burst: 5 },
            false => Pace { every: Duration::from_secs(1), burst: 5 },
        })
    }

    /// By the channel, where a token goes to several.
    fn account(&self) -> Option<String> {
        match &self.to {
            SlackAddress::Url(_) => None,
            SlackAddress::App { url, .. } => {
                Some(format!("slack {} {}", url.0, self.texts.source("channel")))
            }
        }
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        match &self.to {
            SlackAddress::Url(url) => vec![(&url.0, SecretForm::Url)],
            SlackAddress::App { token, .. } => vec![(token, SecretForm::Header)],
        }
    }

    fn templates(&self) -> Vec<Templated> {
        self.texts.templated(escape)
    }

    fn mentions(&self) -> Escape {
        calls_nobody
    }

    fn edits(&self) -> bool {
        self.update_message
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        let post = self.url(attempt)?;
        let (url, to) = match self.known(attempt, post) {
            Some((update, place)) if self.update_message => (update, To::InPlace(place)),
            Some((_, place)) => (post.to_owned(), To::Thread(place)),
            None => (post.to_owned(), To::Channel),
        };
        self.send(attempt, url, message::write(self, attempt, to))
    }

    fn reads(&self, status: u16) -> bool {
        !matches!(status, 204 | 205)
    }

    /// Only the body of a 2xx shows whether Slack took the message.
    fn judge(&self, answer: &Answer) -> Result<(), AttemptError> {
        match failure_of(answer) {
            Some(error) => Err(error),
            None if self.reads(answer.status) => answer::check(answer),
            None => Ok(()),
        }
    }

    /// After a change comes a reply in the thread. Where the message of the incident is gone, a new one is
    /// posted.
    fn next(&self, attempt: &Attempt<'_>, answers: &[Answer]) -> Result<Option<Request>, AttemptError> {
        let Some(last) = answers.last() else { return Ok(None) };
        let (post, judged) = (self.url(attempt)?, self.judge(last));
        let Some((_, place)) = self.known(attempt, post) else { return judged.map(|()| None) };
        let cannot =
            |answer: &Answer| answer::refusal(answer).is_some_and(|w| NOT_TO_BE_CHANGED.contains(&&*w));
        match (answers.len(), judged) {
            (1, Ok(())) if self.update_message => {
                self.send(attempt, post.to_owned(), message::reply(&attempt.view, place)).map(Some)
            }
            (1, Err(_)) if cannot(last) => {
                self.send(attempt, post.to_owned(), message::write(self, attempt, To::Channel)).map(Some)
            }
            // The message says it all. A thread that takes no reply loses nothing.
            (2, Err(error)) if error.retry == Retry::Never && !cannot(&answers[0]) => Ok(None),
            (_, judged) => judged.map(|()| None),
        }
    }

    fn message(&self, attempt: &Attempt<'_>, answers: &[Answer]) -> Option<SmolStr> {
        let post = self.url(attempt).ok().filter(|post| post.ends_with(POST))?;
        let posted = match self.known(attempt, post) {
            None => answers.first(),
            // The second answer is about a reply, unless the message could not be changed.
            Some(_) => answers.get(1).filter(|_| self.judge(&answers[0]).is_err()),
        };
        answer::posted(posted?)
    }
}

impl SlackConfig {
    /// Where messages are posted.
    fn url<'a>(&'a self, attempt: &'a Attempt<'_>) -> Result<&'a str, AttemptError> {
        let url = match &self.to {
            SlackAddress::Url(url) => attempt.secret(&url.0)?,
            SlackAddress::App { url, .. } => url.0.as_str(),
        };
        Ok(url.trim())
    }

    /// The message that the incident has already, and where it is changed.
    fn known<'a>(&self, attempt: &Attempt<'a>, post: &str) -> Option<(String, Place<'a>)> {
        let base = post.strip_suffix(POST)?;
        let (channel, ts) = attempt.view.notification.message.as_deref()?.split_once(' ')?;
        Some((format!("{base}{UPDATE}"), Place { channel, ts }))
    }

    fn send(&self, attempt: &Attempt<'_>, url: String, body: Vec<u8>) -> Result<Request, AttemptError> {
        let mut request = HttpRequest::post(url, body);
        if let SlackAddress::App { token, .. } = &self.to {
            request.headers.push(("authorization", format!("Bearer {}", attempt.secret(token)?)));
        }
        Ok(Request::Http(request))
    }
}
