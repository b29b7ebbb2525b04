//! `telegram_configs`: a message of a bot (`sendMessage` of Telegram's Bot API).
//!
//! A message has at most 4,096 characters, counted as UTF-16 does. Telegram refuses a message whose markup it
//! cannot parse. Squelch then sends the same text without markup, because the page matters more than its
//! looks. A chat that became a supergroup has another number, which Telegram's refusal names.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use squelch_core::policy::KnownBy;

use super::text::{REPEAT, Style, clean_text, escape_html, is_report, story, subject};
use super::texts::Texts;
use super::{
    Answer, Attempt, AttemptError, HttpRequest, Notifier, Pace, Reader, ReceiverType, Request, Retry,
    Templated, View, failure_of,
};
use crate::model::Kind;
use crate::settings::http::{secret, url};
use crate::settings::section::Section;
use crate::settings::{Secret, SecretForm, Url};

/// `telegram_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "telegram_configs",
    name: "telegram",
    send_resolved: true,
    send_updates: false,
    known_by: KnownBy::Nothing,
    reader,
};

/// Telegram's limit, in UTF-16 code units.
const TEXT_UNITS: usize = 4_096;
const TEXTS: [(&str, &str); 1] = [("message", r#"{{ template "telegram.default.message" . }}"#)];
const NUMBER: &str = "the number of a chat, such as -1001234567890";
const MODES: &str = "HTML, MarkdownV2, Markdown or \"\" (plain text)";
const STYLE: Style = Style {
    escape: clean_text,
    heading: |text| text.to_owned(),
    link: |url, text| format!("{text}: {url}"),
    block: str::to_owned,
    alerts: 10,
};

/// A chat that a bot of Telegram writes to.
#[derive(Clone, Debug)]
pub struct TelegramConfig {
    /// `api_url`. Default `https://api.telegram.org`.
    pub api_url: Url,
    /// `bot_token` / `bot_token_file`.
    pub bot_token: Secret,
    /// `chat_id` / `chat_id_file`.
    pub chat: Chat,
    /// `message_thread_id`: the topic of a forum. 0 = none.
    pub message_thread_id: i64,
    /// `disable_notifications`: the message makes no sound.
    pub disable_notifications: bool,
    /// `parse_mode`
    pub parse_mode: ParseMode,
    /// `message`, templated.
    pub texts: Texts,
}

/// Where the number of a chat stands.
#[derive(Clone, Debug)]
pub enum Chat {
    /// `chat_id`
    Id(i64),
    /// `chat_id_file`
    File(Secret),
}

/// How Telegram reads the markup of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseMode {
    /// Not at all: the empty `parse_mode`.
    Plain,
    /// As HTML.
    Html,
    /// As the older Markdown.
    Markdown,
    /// As the newer Markdown.
    MarkdownV2,
}

impl ParseMode {
    const ALL: [ParseMode; 4] =
        [ParseMode::Plain, ParseMode::Html, ParseMode::Markdown, ParseMode::MarkdownV2];

    fn as_str(self) -> &'static str {
        match self {
            ParseMode::Plain => "",
            ParseMode::Html => "HTML",
            ParseMode::Markdown => "Markdown",
            ParseMode::MarkdownV2 => "MarkdownV2",
        }
    }

    /// Makes plain text look the same under this markup.
    fn escape(self, text: &str) -> String {
        let special = match self {
            ParseMode::Plain => "",
            ParseMode::Html => return html(text),
            ParseMode::Markdown => "_*`[",
            ParseMode::MarkdownV2 => "\\_*[]()~`>#+-=|{}.!",
        };
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if special.contains(c) {
                out.push('\\');
            }
            out.push(c);
        }
        out
    }
}

fn reader<'b>(global: &mut Section<'_>, base: &'b Path) -> Reader<'b> {
    let api_url = url(global, "telegram_api_url").unwrap_or(Url("https://api.telegram.org".into()));
    let names = ("telegram_bot_token", "telegram_bot_token_file");
    let bot_token = secret(global, names, SecretForm::Header, base);
    Box::new(move |keys| Arc::new(read(keys, &api_url, bot_token.as_ref(), base)))
}

fn read(keys: &mut Section<'_>, api_url: &Url, bot_token: Option<&Secret>, base: &Path) -> TelegramConfig {
    let own = secret(keys, ("bot_token", "bot_token_file"), SecretForm::Header, base);
    let bot_token = own.or_else(|| bot_token.cloned());
    if bot_token.is_none() {
        let message = "telegram_configs has no token. Write bot_token_file (or bot_token) here, or telegram_bot_token_file in global";
        keys.problems.add(keys.line, message);
    }
    let before = keys.problems.count();
    let chat = match keys.text("chat_id_file") {
        Some(_) => secret(keys, ("chat_id", "chat_id_file"), SecretForm::Header, base).map(Chat::File),
        None => {
            let id = keys.whole("chat_id", NUMBER);
            id.filter(|id| *id != 0).map(Chat::Id)
        }
    };
    if chat.is_none() && keys.problems.count() == before {
        let message = format!("telegram_configs has no chat. Write chat_id (or chat_id_file): {NUMBER}");
        keys.problems.add(keys.line, message);
    }
    let parse_mode = keys
        .parsed("parse_mode", MODES, |text| ParseMode::ALL.into_iter().find(|mode| mode.as_str() == text));
    let thread = keys.parsed("message_thread_id", "the number of a topic", |text| text.parse().ok());
    TelegramConfig {
        api_url: url(keys, "api_url").unwrap_or_else(|| api_url.clone()),
        bot_token: bot_token.unwrap_or_else(|| Secret::Inline("".into())),
        chat: chat.unwrap_or(Chat::Id(0)),
        message_thread_id: thread.unwrap_or(0),
        disable_notifications: keys.boolean("disable_notifications").unwrap_or(false),
        parse_mode: parse_mode.unwrap_or(ParseMode::Html),
        texts: Texts::read(keys, &TEXTS),
    }
}

impl Notifier for TelegramConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    /// Telegram documents 20 messages a minute to a group, and one a second to a person. Groups have negative
    /// numbers.
    fn pace(&self) -> Option<Pace> {
        Some(match self.chat {
            Chat::Id(id) if id > 0 => Pace { every: Duration::from_secs(1), burst: 1 },
            _ => Pace { every: Duration::from_secs(4), burst: 5 },
        })
    }

    fn account(&self) -> Option<String> {
        let of = |secret: &Secret| match secret {
            Secret::Inline(value) => value.to_string(),
            Secret::File(file) => format!("file {}", file.path.display()),
        };
        let chat = match &self.chat {
            Chat::Id(id) => id.to_string(),
            Chat::File(file) => of(file),
        };
        Some(format!("telegram {} {} {chat}", self.api_url.0, of(&self.bot_token)))
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        let chat = match &self.chat {
            Chat::Id(_) => None,
            Chat::File(file) => Some((file, SecretForm::Header)),
        };
        [(&self.bot_token, SecretForm::Header)].into_iter().chain(chat).collect()
    }

    fn doubt(&self, secret: &Secret, value: &str) -> Option<String> {
        let chat = matches!(&self.chat, Chat::File(file) if std::ptr::eq(file, secret));
        let wrong = chat && value.parse::<i64>().is_err();
        wrong.then(|| "is not the number of a chat. Write one such as -1001234567890".to_owned())
    }

    fn templates(&self) -> Vec<Templated> {
        self.texts.templated(match self.parse_mode {
            ParseMode::Markdown => markdown,
            ParseMode::Plain | ParseMode::Html | ParseMode::MarkdownV2 => clean_text,
        })
    }

    fn html(&self) -> &'static [&'static str] {
        if self.parse_mode == ParseMode::Html { &["message"] } else { &[] }
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        self.send(attempt, Corrections::default())
    }

    fn judge(&self, answer: &Answer) -> Result<(), AttemptError> {
        let Some(error) = failure_of(answer) else { return Ok(()) };
        let wait = AnswerBody::of(answer).parameters.retry_after.filter(|_| answer.status == 429);
        let retry = wait.map_or(error.retry, |wait| Retry::After(Duration::from_secs(wait)));
        Err(AttemptError { retry, ..error })
    }

    fn next(&self, attempt: &Attempt<'_>, answers: &[Answer]) -> Result<Option<Request>, AttemptError> {
        let Some((last, before)) = answers.split_last() else { return Ok(None) };
        let Err(error) = self.judge(last) else { return Ok(None) };
        let (tried, now) = (Corrections::of(before), Corrections::of(answers));
        if tried == now { Err(error) } else { self.send(attempt, now).map(Some) }
    }
}

impl TelegramConfig {
    fn send(&self, attempt: &Attempt<'_>, corrections: Corrections) -> Result<Request, AttemptError> {
        let token = attempt.secret(&self.bot_token)?;
        let chat = match (&self.chat, corrections.chat) {
            (_, Some(chat)) => chat,
            (Chat::Id(id), None) => *id,
            (Chat::File(file), None) => attempt.secret(file)?.parse().map_err(|_| {
                AttemptError::ours(
                    "chat_id_file does not hold the number of a chat. Write one such as -1001234567890",
                )
            })?,
        };
        let (text, mode) = self.words(attempt, corrections.plain);
        let flag = |on: bool| on.then_some("true");
        let message = Message {
            chat_id: chat.to_string(),
            disable_notification: flag(self.disable_notifications),
            disable_web_page_preview: "true",
            message_thread_id: Some(self.message_thread_id).filter(|id| *id != 0).map(|id| id.to_string()),
            parse_mode: Some(mode.as_str()).filter(|mode| !mode.is_empty()),
            text,
        };
        // Strings into memory: nothing here can fail.
        let body = serde_json::to_vec(&message).unwrap_or_default();
        let url = format!("{}/bot{token}/sendMessage", self.api_url.0.trim_end_matches('/'));
        Ok(Request::Http(HttpRequest::post(url, body)))
    }

    /// The text, and how Telegram is to read it. A text that is too long loses its markup before it is cut,
    /// because half of a tag is refused.
    fn words(&self, attempt: &Attempt<'_>, plain: bool) -> (String, ParseMode) {
        let (view, mode) = (&attempt.view, self.parse_mode);
        let own = || {
            let text = mode.escape(&own_text(view));
            let block = mode == ParseMode::Html && is_report(view.notification);
            if block { format!("<pre>{text}</pre>") } else { text }
        };
        let mut text = match view.notification.kind {
            Kind::Digest => own(),
            _ => attempt.texts.required("message", own),
        };
        if view.possible_repeat {
            text = format!("{}\n{}", mode.escape(REPEAT.trim()), text.trim());
        }
        let long = text.encode_utf16().count() > TEXT_UNITS;
        match (mode, plain || long) {
            (mode, false) => (text, mode),
            (ParseMode::Html, true) => (cut_units(without_tags(&text)), ParseMode::Plain),
            (_, true) => (cut_units(text), ParseMode::Plain),
        }
    }
}

/// The text in Squelch's own words.
fn own_text(view: &View<'_>) -> String {
    format!("{}\n{}", subject(view), story(view, &STYLE)).trim_end().to_owned()
}

/// The parameters of `sendMessage`, in the order and the types of Alertmanager.
#[derive(Serialize)]
struct Message {
    chat_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_notification: Option<&'static str>,
    disable_web_page_preview: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_thread_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parse_mode: Option<&'static str>,
    text: String,
}

/// The changes for which the answers so far ask.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Corrections {
    /// Telegram cannot parse the markup.
    plain: bool,
    /// The chat has another number now.
    chat: Option<i64>,
}

impl Corrections {
    fn of(answers: &[Answer]) -> Corrections {
        let mut found = Corrections::default();
        for answer in answers.iter().filter(|answer| answer.status == 400) {
            let said = AnswerBody::of(answer);
            found.plain |= said.description.contains("can't parse entities");
            found.chat = said.parameters.migrate_to_chat_id.or(found.chat);
        }
        found
    }
}

/// An answer that says no.
#[derive(Deserialize, Default)]
#[serde(default)]
struct AnswerBody {
    description: String,
    parameters: Parameters,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Parameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

impl AnswerBody {
    fn of(answer: &Answer) -> AnswerBody {
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }
}

/// Makes alert content plain text in the older Markdown.
fn markdown(text: &str) -> String {
    ParseMode::Markdown.escape(&clean_text(text))
}

/// Makes alert content plain text in HTML, with the entities of Go's `html/template`.
fn html(text: &str) -> String {
    escape_html(text).replace('+', "&#43;")
}

/// The text that HTML shows.
fn without_tags(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    for (i, piece) in html.split('<').enumerate() {
        out.push_str(if i == 0 { piece } else { piece.split_once('>').map_or("", |(_, text)| text) });
    }
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&#34;", "\""), ("&quot;", "\""), ("&#39;", "'")];
    for (entity, shown) in entities.into_iter().chain([("&#43;", "+"), ("&amp;", "&")]) {
        out = out.replace(entity, shown);
    }
    out
}

/// At most as much as Telegram takes.
fn cut_units(text: String) -> String {
    if text.encode_utf16().count() <= TEXT_UNITS {
        return text;
    }
    let mut left = TEXT_UNITS - 1;
    let fits = |c: &char| match left.checked_sub(c.len_utf16()) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_where_telegram_counts() {
        assert_eq!(cut_units("é".repeat(TEXT_UNITS)).chars().count(), TEXT_UNITS);
        let faces = cut_units("🔥".repeat(TEXT_UNITS));
        assert_eq!(faces.encode_utf16().count(), TEXT_UNITS - 1, "half a character is none");
        assert!(faces.ends_with("🔥…"));
    }

    #[test]
    fn a_limit_says_how_long_in_the_body() {
        let config = TelegramConfig {
            api_url: Url("http://t/".into()),
            bot_token: Secret::Inline("t".into()),
            chat: Chat::Id(1),
            message_thread_id: 0,
            disable_notifications: false,
            parse_mode: ParseMode::Html,
            texts: Texts::default(),
        };
        let body = r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 35","parameters":{"retry_after":35}}"#;
        let error = config.judge(&Answer::new(429, None, body.into())).unwrap_err();
        assert_eq!(error.retry, Retry::After(Duration::from_secs(35)));
        let error = config.judge(&Answer::new(429, None, Vec::new())).unwrap_err();
        assert_eq!(error.retry, Retry::Backoff);
    }

    #[test]
    fn html_and_plain_text_say_the_same() {
        let text = "a < b && \"c\" + 'd' > e";
        assert_eq!(html(text), "a &lt; b &amp;&amp; &#34;c&#34; &#43; &#39;d&#39; &gt; e");
        assert_eq!(without_tags(&format!("<b>{}</b><a href=\"x\">!</a>", html(text))), format!("{text}!"));
        assert_eq!(ParseMode::MarkdownV2.escape("a.b-c"), "a\\.b\\-c");
        assert_eq!(ParseMode::Markdown.escape("a_b.c"), "a\\_b.c");
    }
}
