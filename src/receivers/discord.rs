//! `discord_configs`: a message with one embed, for an incoming webhook.
//!
//! Limits are those of Discord's documentation: content 2,000 characters, title 256, description 4,096,
//! username 80. No label can mention a person, because the message allows no mentions.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use squelch_core::policy::KnownBy;

use super::report::{FENCE, fenced};
use super::text::{Style, clean_text, cut, escape_markdown, is_report, marked, one_line, story, subject};
use super::{
    Attempt, AttemptError, HttpRequest, Notifier, Pace, Reader, ReceiverType, Renderer, Request, Templated,
    View, webhook_url,
};
use crate::model::Kind;
use crate::settings::section::Section;
use crate::settings::template_check::read as templated;
use crate::settings::{Secret, SecretForm, SecretUrl};

/// `discord_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "discord_configs",
    name: "discord",
    send_resolved: true,
    send_updates: false,
    known_by: KnownBy::Nothing,
    reader,
};

const CONTENT_CHARS: usize = 2_000;
const TITLE_CHARS: usize = 256;
const TEXT_CHARS: usize = 4_096;
const NAME_CHARS: usize = 80;
const STYLE: Style = Style {
    escape,
    heading: |text| format!("**{text}**"),
    link: |url, text| format!("[{text}]({})", url.replace(')', "%29")),
    block: |text| fenced(&cut(text.to_owned(), TEXT_CHARS - FENCE)),
    alerts: 10,
};

/// Alertmanager's colours.
const RED: u32 = 0x99_2d_22;
const GREEN: u32 = 0x2e_cc_71;
const GREY: u32 = 0x95_a5_a6;

/// A Discord incoming webhook. Templated keys are templates. `None` = the default text.
#[derive(Clone, Debug)]
pub struct DiscordConfig {
    /// `webhook_url` / `webhook_url_file`: secret.
    pub webhook_url: SecretUrl,
    /// `content`, templated: the text above the embed. Default: empty.
    pub content: Option<String>,
    /// `title`, templated.
    pub title: Option<String>,
    /// `message`, templated: the text of the embed.
    pub message: Option<String>,
    /// `username`, templated.
    pub username: Option<String>,
    /// `avatar_url`, templated.
    pub avatar_url: Option<String>,
}

fn reader<'b>(_: &mut Section<'_>, base: &'b Path) -> Reader<'b> {
    Box::new(move |keys| {
        Arc::new(DiscordConfig {
            webhook_url: webhook_url(keys, TYPE.list, base),
            content: templated(keys, "content"),
            title: templated(keys, "title"),
            message: templated(keys, "message"),
            username: templated(keys, "username"),
            avatar_url: templated(keys, "avatar_url"),
        })
    })
}

impl Notifier for DiscordConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    /// Five in two seconds for each webhook. Discord asks senders to go by `Retry-After`, which comes on top.
    fn pace(&self) -> Option<Pace> {
        Some(Pace { every: Duration::from_millis(400), burst: 5 })
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        vec![(&self.webhook_url.0, SecretForm::Url)]
    }

    fn templates(&self) -> Vec<Templated> {
        let defaults = [
            ("content", &self.content, "discord.default.content"),
            ("title", &self.title, "discord.default.title"),
            ("message", &self.message, "discord.default.message"),
        ];
        let plain = [("username", &self.username), ("avatar_url", &self.avatar_url)];
        let mut all = Templated::given(plain, clean_text);
        all.extend(defaults.map(|(key, source, name)| Templated::or_default(key, source, name, escape)));
        all
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        let url = attempt.secret(&self.webhook_url.0)?;
        Ok(Request::Http(HttpRequest::post(url, message(&attempt.view, &attempt.texts))))
    }
}

#[derive(Serialize)]
struct Message {
    content: String,
    embeds: [Embed; 1],
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    avatar_url: String,
    allowed_mentions: AllowedMentions,
}

#[derive(Serialize)]
struct Embed {
    title: String,
    description: String,
    color: u32,
}

/// The mentions that may notify people: none.
#[derive(Serialize)]
struct AllowedMentions {
    parse: [&'static str; 0],
}

fn message(view: &View<'_>, texts: &Renderer<'_>) -> Vec<u8> {
    let title = texts.text("title", || escape(&subject(view)));
    let content = texts.text("content", String::new);
    let own = || story(view, &STYLE);
    let text = match is_report(view.notification) {
        true => own(),
        false => texts.beside(&[&title, &content], "message", own),
    };
    let color = match (view.notification.kind, view.is_firing()) {
        (Kind::Digest, _) => GREY,
        (_, true) => RED,
        (_, false) => GREEN,
    };
    let embed = Embed { title: marked(&title, view, TITLE_CHARS), description: cut(text, TEXT_CHARS), color };
    let message = Message {
        content: cut(content, CONTENT_CHARS),
        embeds: [embed],
        username: cut(one_line(&texts.text("username", String::new)), NAME_CHARS),
        avatar_url: texts.link("avatar_url", String::new).unwrap_or_default(),
        allowed_mentions: AllowedMentions { parse: [] },
    };
    // Strings into memory: nothing here can fail.
    serde_json::to_vec(&message).unwrap_or_default()
}

/// Makes alert content plain text to Discord: a backslash before each character of its Markdown.
fn escape(text: &str) -> String {
    escape_markdown(text, r"\*_~`|<>[]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_can_hide_no_link_behind_words() {
        assert_eq!(escape("[runbook](https://evil) <@1>"), "\\[runbook\\](https://evil) \\<@1\\>");
    }
}
