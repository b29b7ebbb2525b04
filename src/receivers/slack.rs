//! `slack_configs`: the message, for an incoming webhook or `chat.postMessage`. Attachments carry the colour
//! bar, as Alertmanager's do. `answer.rs` reads the answer.

mod answer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use squelch_core::policy::KnownBy;

use super::text::{REPEAT, Style, clean_line, clean_text, cut, http_url, story, subject};
use super::{
    Answer, Attempt, AttemptError, HttpRequest, Notifier, Pace, Reader, ReceiverType, Renderer, Request,
    Templated, View, failure_of,
};
use crate::causes;
use crate::model::Kind;
use crate::settings::http::secret_url;
use crate::settings::section::Section;
use crate::settings::template_check::read as templated;
use crate::settings::{Secret, SecretForm, SecretUrl};
use crate::templates::Escape;

/// `slack_configs`
pub static TYPE: ReceiverType =
    ReceiverType { list: "slack_configs", name: "slack", send_resolved: false, send_updates: false, reader };

const TITLE_CHARS: usize = 1024;
/// Slack advises 4,000 characters and refuses messages well before its hard limit.
const TEXT_CHARS: usize = 3900;
const SHORT_CHARS: usize = 255;
const STYLE: Style = Style {
    escape,
    heading: |text| format!("*{text}*"),
    link: |url, text| format!("<{}|{text}>", url.replace('&', "&amp;")),
    alerts: 10,
};
/// Keys of Alertmanager's `slack_configs` that this version does not have.
const UNSUPPORTED: [&str; 13] = [
    "actions",
    "app_token",
    "app_token_file",
    "app_url",
    "callback_id",
    "fields",
    "image_url",
    "link_names",
    "message_text",
    "mrkdwn_in",
    "short_fields",
    "thumb_url",
    "update_message",
];

/// A Slack incoming webhook.
#[derive(Clone, Debug)]
pub struct SlackConfig {
    /// `api_url` / `api_url_file`: secret.
    pub api_url: SecretUrl,
    /// `channel`, templated. An incoming webhook of today ignores it.
    pub channel: Option<String>,
    /// `username`, templated.
    pub username: Option<String>,
    /// `icon_emoji`, templated.
    pub icon_emoji: Option<String>,
    /// `icon_url`, templated.
    pub icon_url: Option<String>,
    /// `color`, templated.
    pub color: Option<String>,
    /// `title`, templated.
    pub title: Option<String>,
    /// `title_link`, templated.
    pub title_link: Option<String>,
    /// `pretext`, templated.
    pub pretext: Option<String>,
    /// `text`, templated.
    pub text: Option<String>,
    /// `footer`, templated.
    pub footer: Option<String>,
    /// `fallback`, templated.
    pub fallback: Option<String>,
}

fn reader<'b>(global: &mut Section<'_>, base: &'b Path) -> Reader<'b> {
    let default = secret_url(global, ("slack_api_url", "slack_api_url_file"), base);
    Box::new(move |keys| Arc::new(read(keys, default.as_ref(), base)))
}

fn read(keys: &mut Section<'_>, default: Option<&SecretUrl>, base: &Path) -> SlackConfig {
    let own = secret_url(keys, ("api_url", "api_url_file"), base);
    let api_url = own.or_else(|| default.cloned());
    if api_url.is_none() {
        let message =
            "slack_configs has no URL; write api_url_file (or api_url) here, or slack_api_url_file in global";
        keys.problems.add(keys.line, message);
    }
    let config = SlackConfig {
        channel: templated(keys, "channel"),
        username: templated(keys, "username"),
        icon_emoji: templated(keys, "icon_emoji"),
        icon_url: templated(keys, "icon_url"),
        color: templated(keys, "color"),
        title: templated(keys, "title"),
        title_link: templated(keys, "title_link"),
        pretext: templated(keys, "pretext"),
        text: templated(keys, "text"),
        footer: templated(keys, "footer"),
        fallback: templated(keys, "fallback"),
        api_url: api_url.unwrap_or_else(|| SecretUrl(Secret::Inline("".into()))),
    };
    keys.unsupported(&UNSUPPORTED);
    config
}

impl Notifier for SlackConfig {
    fn name(&self) -> &'static str {
        TYPE.name
    }

    fn known_by(&self) -> KnownBy {
        KnownBy::Nothing
    }

    /// Slack documents one message a second for each channel, and short bursts.
    fn pace(&self) -> Option<Pace> {
        Some(Pace { every: Duration::from_secs(1), burst: 5 })
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        vec![(&self.api_url.0, SecretForm::Url)]
    }

    fn templates(&self) -> Vec<Templated> {
        let keys = [
            ("username", &self.username),
            ("icon_emoji", &self.icon_emoji),
            ("icon_url", &self.icon_url),
            ("color", &self.color),
            ("pretext", &self.pretext),
        ];
        let defaults = [
            ("title", &self.title, "slack.default.title"),
            ("title_link", &self.title_link, "slack.default.titlelink"),
            ("text", &self.text, "slack.default.text"),
            ("footer", &self.footer, "slack.default.footer"),
            ("fallback", &self.fallback, "slack.default.fallback"),
        ];
        let mut all = Templated::given(keys, escape);
        all.extend(defaults.map(|(key, source, name)| Templated::or_default(key, source, name, escape)));
        // A channel is a place and no text that anybody reads.
        all.extend(Templated::given([("channel", &self.channel)], clean_text));
        all
    }

    fn mentions(&self) -> Escape {
        mentions
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        let url = attempt.secret(&self.api_url.0)?;
        Ok(Request::Http(HttpRequest::post(url, message(&attempt.view, &attempt.texts))))
    }

    fn reads(&self, status: u16) -> bool {
        !matches!(status, 204 | 205)
    }

    /// Only the body of a 2xx says what became of the message.
    fn judge(&self, answer: &Answer) -> Result<(), AttemptError> {
        match failure_of(answer) {
            Some(error) => Err(error),
            None if self.reads(answer.status) => answer::check(answer),
            None => Ok(()),
        }
    }
}

#[derive(Serialize)]
struct Message {
    #[serde(skip_serializing_if = "String::is_empty")]
    channel: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_emoji: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_url: String,
    attachments: [Attachment; 1],
}

#[derive(Serialize)]
struct Attachment {
    color: String,
    fallback: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pretext: String,
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title_link: String,
    text: String,
    footer: String,
    ts: i64,
    mrkdwn_in: [&'static str; 3],
}

/// Makes alert content plain text to Slack: `&`, `<`, `>` as Slack asks, so that no label holds a
/// link or `<!channel>`, and a mark behind `@`, so that none says `@here`.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean_text(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.push_str("@\u{2060}"),
            c => out.push(c),
        }
    }
    out
}

/// Keeps a value from calling people: `<!channel>`, `<@U123>`, `<#C123>`, `@here`. Links stay.
fn mentions(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        out.push(c);
        let calls = match c {
            '<' => rest.peek().is_some_and(|next| matches!(next, '!' | '@' | '#')),
            '@' => ["here", "channel", "everyone"].iter().any(|name| {
                rest.clone()
                    .zip(name.chars())
                    .filter(|(found, name)| found.eq_ignore_ascii_case(name))
                    .count()
                    == name.len()
            }),
            _ => false,
        };
        if calls {
            out.push('\u{2060}');
        }
    }
    out
}

/// The message.
fn message(view: &View<'_>, texts: &Renderer<'_>) -> Vec<u8> {
    let n = view.notification;
    let title = texts.required("title", || escape(&subject(view)));
    let short = |key: &str| cut(clean_line(texts.text(key, String::new).trim()), SHORT_CHARS);
    let link = texts.text("title_link", || view.external_url.to_owned());
    let attachment = Attachment {
        color: cut(clean_line(texts.text("color", || color(view).to_owned()).trim()), SHORT_CHARS),
        fallback: marked(texts.required("fallback", || escape(&subject(view))), view),
        pretext: cut_escaped(texts.text("pretext", String::new), TEXT_CHARS),
        title: marked(clean_line(title.trim()), view),
        title_link: http_url(&link).unwrap_or_default().to_owned(),
        text: cut_escaped(texts.required("text", || story(view, &STYLE)), TEXT_CHARS),
        footer: cut_escaped(
            texts.text("footer", || match n.kind {
                // Its text says it already.
                Kind::Digest => "Squelch".into(),
                _ => format!("Squelch: {}", escape(&clean_line(&causes::text(&n.cause)))),
            }),
            SHORT_CHARS,
        ),
        ts: n.at.as_millis() / 1000,
        mrkdwn_in: ["pretext", "text", "fallback"],
    };
    let message = Message {
        channel: clean_line(texts.required("channel", String::new).trim()),
        username: short("username"),
        icon_emoji: short("icon_emoji"),
        icon_url: http_url(&texts.text("icon_url", String::new)).unwrap_or_default().to_owned(),
        attachments: [attachment],
    };
    // Strings into memory: nothing here can fail.
    serde_json::to_vec(&message).unwrap_or_default()
}

/// A title of at most [`TITLE_CHARS`] characters. Slack has no key to fold repeats by, so a message that may
/// be a repeat says so at the end of its title, which is cut before the mark.
fn marked(text: String, view: &View<'_>) -> String {
    if !view.possible_repeat {
        return cut_escaped(text, TITLE_CHARS);
    }
    let text = cut_escaped(text, TITLE_CHARS - REPEAT.len());
    format!("{text}{REPEAT}").trim_start().to_owned()
}

/// Cuts without leaving half an `&amp;` behind.
fn cut_escaped(text: String, max: usize) -> String {
    let short = cut(text, max);
    let Some(at) = short.strip_suffix('…').and_then(|body| body.rfind('&')) else { return short };
    if short[at..].contains(';') || short.len() - at > 10 { short } else { format!("{}…", &short[..at]) }
}

fn color(view: &View<'_>) -> &'static str {
    match (view.is_firing(), view.notification.kind, view.notification.level) {
        (_, Kind::Digest, _) => "#439FE0",
        (false, _, _) => "good",
        (_, _, (0, _)) => "danger",
        (_, _, (level, levels)) if level + 1 >= levels => "#439FE0",
        _ => "warning",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_in_a_template_of_the_user_calls_nobody_and_keeps_its_links() {
        assert_eq!(
            mentions("<!channel> @Here <@U1> <#C1>"),
            "<\u{2060}!channel> @\u{2060}Here <\u{2060}@U1> <\u{2060}#C1>"
        );
        assert_eq!(mentions("<https://a|b> a@b.c *x* & <"), "<https://a|b> a@b.c *x* & <");
    }

    #[test]
    fn a_label_cannot_page_a_channel() {
        assert_eq!(escape("<!channel> @here a&b"), "&lt;!channel&gt; @\u{2060}here a&amp;b");
        assert_eq!(cut_escaped("aaa&amp;b".into(), 6), "aaa…");
        assert_eq!(cut_escaped("aaa&amp;bcd".into(), 10), "aaa&amp;b…");
    }
}
