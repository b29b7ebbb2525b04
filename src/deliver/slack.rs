//! `slack_configs`: the message, for an incoming webhook or `chat.postMessage`. Attachments carry the colour
//! bar, as Alertmanager's do. [`super::slack_answer`] reads the answer.

use serde::Serialize;

use super::template::Renderer;
use super::text::{alert_list, clean_line, clean_text, cut, http_url, subject};
use super::view::View;
use crate::config::SlackConfig;
use crate::model::Kind;

const TITLE_CHARS: usize = 1024;
/// Slack advises 4,000 characters and refuses messages well before its hard limit.
const TEXT_CHARS: usize = 3900;
const SHORT_CHARS: usize = 255;
const MARK: &str = " (possible repeat)";
/// More alerts than this are told by number.
const ALERTS: usize = 10;

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

/// The templated keys of the configuration, for compiling.
pub(super) fn sources(config: &SlackConfig) -> Vec<(String, String)> {
    let keys = [
        ("channel", &config.channel),
        ("username", &config.username),
        ("icon_emoji", &config.icon_emoji),
        ("icon_url", &config.icon_url),
        ("color", &config.color),
        ("title", &config.title),
        ("title_link", &config.title_link),
        ("pretext", &config.pretext),
        ("text", &config.text),
        ("footer", &config.footer),
        ("fallback", &config.fallback),
    ];
    keys.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text.clone()?))).collect()
}

/// Makes alert content plain text to Slack: `&`, `<`, `>` as Slack asks, so that no label holds a
/// link or `<!channel>`, and a mark behind `@`, so that none says `@here`.
pub(super) fn escape(text: &str) -> String {
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

/// The message.
pub(super) fn message(view: &View<'_>, texts: &Renderer<'_>) -> Vec<u8> {
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
        text: cut_escaped(texts.required("text", || default_text(view)), TEXT_CHARS),
        footer: cut_escaped(
            texts.text("footer", || match n.kind {
                // Its text says it already.
                Kind::Digest => "Squelch".into(),
                _ => format!("Squelch: {}", escape(&clean_line(&n.why))),
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
    let text = cut_escaped(text, TITLE_CHARS - MARK.len());
    format!("{text}{MARK}").trim_start().to_owned()
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

/// What the alerts say for themselves, then each of them.
fn default_text(view: &View<'_>) -> String {
    let mut text = String::new();
    if view.notification.kind == Kind::Digest {
        // What it is about is in that one line; the alerts only illustrate it.
        text.push_str(&escape(&clean_line(&view.notification.why)));
        text.push('\n');
    }
    for name in ["summary", "description", "message"] {
        let value = view.common_annotations.value(name);
        if !value.is_empty() {
            text.push_str(&escape(value));
            text.push('\n');
        }
    }
    let runbook = view.common_annotations.value("runbook_url");
    if let Some(url) = http_url(runbook) {
        text.push_str(&format!("<{}|Runbook>\n", url.replace('&', "&amp;")));
    }
    let lists = [("Firing", &view.firing, view.notification.truncated), ("Resolved", &view.resolved, 0)];
    for (title, alerts, left_out) in lists {
        if !alerts.is_empty() {
            let list = escape(&alert_list(alerts, ALERTS, left_out));
            text.push_str(&format!("*{title}:*\n{list}\n"));
        }
    }
    text.trim_end().to_owned()
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
