//! The message of Slack, and the reply that describes the change.

use serde::Serialize;

use super::SlackConfig;
use crate::causes;
use crate::model::{Cause, Kind};
use crate::receivers::report::{FENCE, fenced};
use crate::receivers::text::{REPEAT, Style, clean_line, cut, escape_as, one_line, story, subject};
use crate::receivers::{Attempt, View};

const TITLE_CHARS: usize = 1024;
/// Slack advises 4,000 characters and refuses messages well before its hard limit.
const TEXT_CHARS: usize = 3900;
const SHORT_CHARS: usize = 255;
const STYLE: Style = Style {
    escape,
    heading: |text| format!("*{text}*"),
    link: |url, text| format!("<{}|{text}>", url.replace('&', "&amp;")),
    block: |text| fenced(&cut_escaped(escape(text), TEXT_CHARS - FENCE)),
    alerts: 10,
};
/// Where Slack reads its Markdown, as Alertmanager asks for it.
const MRKDWN_IN: [&str; 3] = ["fallback", "pretext", "text"];

/// A message that was posted.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) channel: &'a str,
    /// The time that names the message.
    pub(super) ts: &'a str,
}

/// Where a message goes.
#[derive(Clone, Copy)]
pub(super) enum To<'a> {
    /// To the channel that the configuration names.
    Channel,
    /// Into the place of a message.
    InPlace(Place<'a>),
    /// Into the thread of a message.
    Thread(Place<'a>),
}

/// The message, in the order of Alertmanager.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    channel: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    ts: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    thread_ts: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reply_broadcast: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_emoji: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_url: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    link_names: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attachment<'a>>,
}

#[derive(Serialize)]
struct Attachment<'a> {
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title_link: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pretext: String,
    text: String,
    fallback: String,
    callback_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action>,
    #[serde(skip_serializing_if = "String::is_empty")]
    image_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thumb_url: String,
    footer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    color: String,
    mrkdwn_in: Vec<&'a str>,
    ts: i64,
}

#[derive(Serialize)]
struct Field {
    title: String,
    value: String,
    short: bool,
}

#[derive(Serialize)]
struct Action {
    #[serde(rename = "type")]
    kind: String,
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    style: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm: Option<Confirm>,
}

#[derive(Serialize)]
struct Confirm {
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ok_text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    dismiss_text: String,
}

/// The current message. A repeat in a thread shows in the channel too, so that people see it.
pub(super) fn write(config: &SlackConfig, attempt: &Attempt<'_>, to: To<'_>) -> Vec<u8> {
    let (view, texts) = (&attempt.view, &attempt.texts);
    let said = |key: &str| texts.text(key, String::new);
    let line = |key: &str| cut(one_line(&said(key)), SHORT_CHARS);
    let link = |key: &str| texts.link(key, String::new).unwrap_or_default();
    let channel = one_line(&texts.required("channel", String::new));
    let field = |(i, short): (usize, &bool)| Field {
        title: said(&format!("fields[{i}].title")),
        value: cut_escaped(said(&format!("fields[{i}].value")), TEXT_CHARS),
        short: *short,
    };
    let action = |(i, confirm): (usize, &bool)| {
        let said = |key: &str| said(&format!("actions[{i}].{key}"));
        let confirm = confirm.then(|| Confirm {
            text: said("confirm.text"),
            title: said("confirm.title"),
            ok_text: said("confirm.ok_text"),
            dismiss_text: said("confirm.dismiss_text"),
        });
        Action {
            kind: said("type"),
            text: said("text"),
            url: link(&format!("actions[{i}].url")),
            style: said("style"),
            name: said("name"),
            value: said("value"),
            confirm,
        }
    };
    let mrkdwn_in = match &config.mrkdwn_in[..] {
        [] => MRKDWN_IN.to_vec(),
        given => given.iter().map(String::as_str).collect(),
    };
    let title = words(config, attempt, "title", || escape(&subject(view)));
    let (pretext, above) = (said("pretext"), said("message_text"));
    let fields: Vec<Field> = config.fields.iter().enumerate().map(field).collect();
    let shown = [&title, &pretext, &above].into_iter().chain(fields.iter().map(|field| &field.value));
    let shown: Vec<&str> = shown.map(String::as_str).collect();
    let own = || story(view, &STYLE);
    let text = match view.notification.kind {
        Kind::Digest if !config.texts.is_empty("text") => own(),
        _ => texts.beside(&shown, "text", own),
    };
    let attachment = Attachment {
        title: marked(one_line(&title), view),
        title_link: texts.link("title_link", || view.incident_url()).unwrap_or_default(),
        pretext: cut_escaped(pretext, TEXT_CHARS),
        text: cut_escaped(text, TEXT_CHARS),
        fallback: marked(words(config, attempt, "fallback", || escape(&subject(view))), view),
        callback_id: line("callback_id"),
        fields,
        actions: config.actions.iter().enumerate().map(action).collect(),
        image_url: link("image_url"),
        thumb_url: link("thumb_url"),
        footer: cut_escaped(words(config, attempt, "footer", || footer(view)), SHORT_CHARS),
        color: color(attempt),
        mrkdwn_in,
        ts: view.notification.at.as_millis() / 1000,
    };
    let (ts, thread_ts) = match to {
        To::Channel => ("", ""),
        To::InPlace(place) => (place.ts, ""),
        To::Thread(place) => ("", place.ts),
    };
    let repeated = matches!(view.notification.cause, Cause::Repeated { .. });
    let message = Message {
        // The template may name another channel by now. The incident stays where its page is.
        channel: match to {
            To::Channel => &channel,
            To::InPlace(place) | To::Thread(place) => place.channel,
        },
        ts,
        thread_ts,
        reply_broadcast: repeated && !thread_ts.is_empty(),
        username: line("username"),
        icon_emoji: line("icon_emoji"),
        icon_url: link("icon_url"),
        link_names: config.link_names,
        text: cut_escaped(above, TEXT_CHARS),
        attachments: vec![attachment],
    };
    // Strings into memory: nothing here can fail.
    serde_json::to_vec(&message).unwrap_or_default()
}

/// The reply in the thread of a message that says why it changed.
pub(super) fn reply(view: &View<'_>, place: Place<'_>) -> Vec<u8> {
    let cause = clean_line(&causes::text(&view.notification.cause));
    let text = marked(escape(&format!("{}: {cause}", subject(view))), view);
    let message = Message {
        channel: place.channel,
        ts: "",
        thread_ts: place.ts,
        reply_broadcast: false,
        username: String::new(),
        icon_emoji: String::new(),
        icon_url: String::new(),
        link_names: false,
        text,
        attachments: Vec::new(),
    };
    // Strings into memory: nothing here can fail.
    serde_json::to_vec(&message).unwrap_or_default()
}

/// The text of a key. It is Squelch's own for a digest, because users' texts know no digest. A key that is
/// left empty stays empty.
fn words(config: &SlackConfig, attempt: &Attempt<'_>, key: &str, own: impl FnOnce() -> String) -> String {
    match attempt.view.notification.kind {
        Kind::Digest if !config.texts.is_empty(key) => own(),
        _ => attempt.texts.text(key, own),
    }
}

fn footer(view: &View<'_>) -> String {
    match view.notification.kind {
        // Its text says it already.
        Kind::Digest => "Squelch".into(),
        _ => format!("Squelch: {}", escape(&clean_line(&causes::text(&view.notification.cause)))),
    }
}

/// A digest is neither good nor bad, with any alerts.
fn color(attempt: &Attempt<'_>) -> String {
    let view = &attempt.view;
    if view.notification.kind == Kind::Digest {
        return "#439FE0".to_owned();
    }
    let own = || if view.is_firing() { "danger" } else { "good" }.to_owned();
    cut(one_line(&attempt.texts.text("color", own)), SHORT_CHARS)
}

/// A title of at most [`TITLE_CHARS`] characters. Slack has no key to fold repeats by, so a message that
/// may be a repeat says so at the end of its title. The title is cut before the mark.
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

/// Makes alert content plain text to Slack: `&`, `<`, `>` as Slack asks, so that no label holds a
/// link or `<!channel>`, and a mark behind `@`, so that none says `@here`.
pub(super) fn escape(text: &str) -> String {
    escape_as(text, |c| match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '@' => Some("@\u{2060}"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_page_a_channel() {
        assert_eq!(escape("<!channel> @here a&b"), "&lt;!channel&gt; @\u{2060}here a&amp;b");
        assert_eq!(cut_escaped("aaa&amp;b".into(), 6), "aaa…");
        assert_eq!(cut_escaped("aaa&amp;bcd".into(), 10), "aaa&amp;b…");
    }
}
