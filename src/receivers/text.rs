//! Texts that stand in where a template fails, and functions that fit them into a message.

use std::fmt::Write;

use super::View;
use super::report::columns;
use crate::causes;
use crate::model::{AlertView, Cause, Kind, LabelSet, Notification};
pub use crate::templates::{Escape, clean_line, clean_text, http_url};
use crate::templates::{Readings, RuleReading};

/// Makes alert content plain text in HTML, with the entities of Go's `html` function.
pub fn escape_html(text: &str) -> String {
    escape_as(text, |c| match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&#34;"),
        '\'' => Some("&#39;"),
        _ => None,
    })
}

/// Alert content with other text in the place of the characters for which `instead` has one.
pub(super) fn escape_as(text: &str, instead: impl Fn(char) -> Option<&'static str>) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean_text(text).chars() {
        match instead(c) {
            Some(escaped) => out.push_str(escaped),
            None => out.push(c),
        }
    }
    out
}

/// Alert content with a backslash before each character that is `special` in a kind of Markdown.
pub(super) fn escape_markdown(text: &str, special: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean_text(text).chars() {
        if special.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// At most `max` characters. A longer text ends in `…`, Alertmanager's mark.
pub fn cut(text: String, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text,
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Keeps alert content from notifying people in a chat: `<!channel>`, `<@U123>`, `<#C123>`, `@here`,
/// `@all`. Links and addresses stay, and text that would hide other text is escaped.
pub fn calls_nobody(text: &str) -> String {
    const ALL: [&str; 4] = ["here", "channel", "everyone", "all"];
    let text = clean_text(text);
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        out.push(c);
        let rest = &text[at + c.len_utf8()..];
        let calls = match c {
            '<' => rest.starts_with(['!', '@', '#']),
            '@' => {
                ALL.iter().any(|name| rest.get(..name.len()).is_some_and(|r| r.eq_ignore_ascii_case(name)))
            }
            _ => false,
        };
        if calls {
            out.push('\u{2060}');
        }
    }
    out
}

/// At most `max` bytes, for vendors that count these. A longer text ends in `…`.
pub fn cut_bytes(text: String, max: usize) -> String {
    if text.len() <= max {
        return text;
    }
    let most = max.saturating_sub('…'.len_utf8());
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// `[FIRING:2] HighLatency eu-west (checkout critical)`: the state, and the incident's title. A digest says
/// `[DIGEST:5]`, how many alerts it is about. An incident that is open while none of its alerts fires says
/// `[FIRING:0, RESOLVED:2]`.
pub fn subject(view: &View<'_>) -> String {
    let n = view.notification;
    let state = match n.kind {
        Kind::Digest if is_report(n) => "[REPORT]".to_owned(),
        Kind::Digest => format!("[DIGEST:{}]", n.alerts.len() as u64 + n.truncated),
        _ if view.is_firing() => match view.num_firing() {
            0 => format!("[FIRING:0, RESOLVED:{}]", view.num_resolved()),
            firing => format!("[FIRING:{firing}]"),
        },
        _ => "[RESOLVED]".to_owned(),
    };
    clean_line(format!("{state} {}", n.headline()).trim_end())
}

/// Whether a digest is the report of a period.
pub(super) fn is_report(n: &Notification) -> bool {
    matches!(n.cause, Cause::Report { .. })
}

/// Alerts as text, one block each: labels, annotations, source, as Alertmanager's `__text_alert_list`. It
/// lists at most `most` of them, and then the number of those left out.
pub fn alert_list(alerts: &[&AlertView], readings: &Readings, most: usize, left_out: u64) -> String {
    let mut text = String::new();
    for alert in alerts.iter().take(most) {
        pairs(&mut text, "Labels", &alert.labels);
        pairs(&mut text, "Annotations", &alert.annotations);
        if let Some(RuleReading { value, graph }) = readings.of_alerts.get(&alert.id) {
            let _ = writeln!(text, "Value: {value} {graph} (last hour)");
        }
        if let Some(flaps) = alert.flaps {
            let _ = writeln!(text, "Flapping: {flaps} changes so far");
        }
        if !alert.generator_url.is_empty() {
            let _ = writeln!(text, "Source: {}", alert.generator_url);
        }
        text.push('\n');
    }
    let more = left_out + alerts.len().saturating_sub(most) as u64;
    if more > 0 {
        let _ = writeln!(text, "… and {more} more");
    }
    clean_text(text.trim_end())
}

/// How a chat writes its default text.
pub struct Style {
    /// Makes alert content plain text.
    pub escape: Escape,
    /// A heading.
    pub heading: fn(&str) -> String,
    /// A link to a URL.
    pub link: fn(&str, &str) -> String,
    /// Text whose columns are aligned, as plain text.
    pub block: fn(&str) -> String,
    /// Above this number, the text only counts alerts.
    pub alerts: usize,
}

/// Where people read plain text.
pub const PLAIN: Style = Style {
    escape: clean_text,
    heading: str::to_owned,
    link: |url, text| format!("{text}: {url}"),
    block: clean_text,
    alerts: 50,
};

/// The alerts in the words of their annotations, then each of them.
pub fn story(view: &View<'_>, style: &Style) -> String {
    let mut text = String::new();
    if let Cause::Report { text: report } = &view.notification.cause {
        return (style.block)(&columns(report));
    }
    if view.notification.kind == Kind::Digest {
        // Its subject is in that one line. The alerts only illustrate it.
        text.push_str(&(style.escape)(&clean_line(&causes::text(&view.notification.cause))));
        text.push('\n');
    }
    if !view.readings.baseline.is_empty() {
        let _ = writeln!(text, "Baseline: {}", (style.escape)(&clean_line(&view.readings.baseline)));
    }
    for name in ["summary", "description", "message"] {
        let value = view.common_annotations.value(name);
        if !value.is_empty() {
            text.push_str(&(style.escape)(value));
            text.push('\n');
        }
    }
    if let Some(url) = http_url(view.common_annotations.value("runbook_url")) {
        text.push_str(&(style.link)(&url, "Runbook"));
        text.push('\n');
    }
    let lists = [
        ("Firing:", &view.firing, view.notification.truncated_firing),
        ("Resolved:", &view.resolved, view.truncated_resolved()),
    ];
    for (title, alerts, left_out) in lists {
        if !alerts.is_empty() {
            let list = (style.escape)(&alert_list(alerts, view.readings, style.alerts, left_out));
            let _ = writeln!(text, "{}\n{list}", (style.heading)(title));
        }
    }
    text.trim_end().to_owned()
}

/// The mark at the end of the title of a message that may be a repeat, where the receiver folds no repeats.
pub const REPEAT: &str = " (possible repeat)";

/// The text of a template in a place of one line. Templates often begin or end with a line break, also where
/// another one calls them. So a line break with the blanks around it is one blank.
pub fn one_line(text: &str) -> String {
    let lines = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    clean_line(&lines.collect::<Vec<_>>().join(" "))
}

/// A title of at most `most` characters. It is cut before the mark of a possible repeat.
pub fn marked(title: &str, view: &View<'_>, most: usize) -> String {
    let title = one_line(title);
    match view.possible_repeat {
        false => cut(title, most),
        true => format!("{}{REPEAT}", cut(title, most - REPEAT.len())),
    }
}

/// A message without a title. One that may be a repeat says so on its first line.
pub fn repeated(text: String, view: &View<'_>) -> String {
    if view.possible_repeat { format!("{}\n{}", REPEAT.trim(), text.trim_start()) } else { text }
}

fn pairs(text: &mut String, title: &str, set: &LabelSet) {
    if set.is_empty() {
        return;
    }
    let _ = writeln!(text, "{title}:");
    for (name, value) in set.iter() {
        let _ = writeln!(text, " - {name} = {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Notification, NotificationId, Status, Timestamp};

    /// A page of alerts with these names, services and severities.
    fn page(alerts: &[(&str, &str, &str)], group: LabelSet) -> Notification {
        let view = |(name, service, severity): &(&str, &str, &str)| {
            let pairs =
                [("alertname", *name), ("cluster", "eu-1"), ("service", service), ("severity", severity)];
            AlertView::new(LabelSet::from_pairs(pairs), Status::Firing, Timestamp::ZERO)
        };
        Notification {
            id: NotificationId(1),
            integration: "console[0]".into(),
            dedup_key: "k".into(),
            group_key: "g".into(),
            group_labels: group,
            severity: "critical".into(),
            level: (0, 3),
            alerts: alerts.iter().map(view).collect(),
            ..Notification::new(Timestamp::ZERO, "r", Kind::Page)
        }
    }

    #[test]
    fn a_title_says_what_most_alerts_share_and_how_many_do() {
        let alerts = [
            ("Latency", "db", "critical"),
            ("Errors", "db", "critical"),
            ("Errors", "db", "warning"),
            ("Disk", "web", "critical"),
        ];
        let cluster = LabelSet::from_pairs([("cluster", "eu-1")]);
        let title = |n: &Notification| subject(&View::new(n, "", false));
        let said = title(&page(&alerts, cluster.clone()));
        assert_eq!(said, "[FIRING:4] Latency, Errors, Disk eu-1 (service=db: 3 of 4 alerts)");
        assert_eq!(title(&page(&alerts[1..2], cluster)), "[FIRING:1] Errors eu-1 (db critical)");
        // The title of merged pages names the labels that most have, and says that not all do.
        let merged = LabelSet::from_pairs([("cluster", "eu-1"), ("service", "db")]);
        assert!(
            title(&page(&alerts, merged))
                .starts_with("[FIRING:4] Latency, Errors, Disk eu-1 (service=db: 3 of 4")
        );
    }

    #[test]
    fn a_title_counts_alerts_that_its_list_leaves_out() {
        let title = |n: &Notification| subject(&View::new(n, "", false));
        let alerts = [("Disk", "db", "critical"), ("Disk", "web", "critical")];
        let mut n = page(&alerts, LabelSet::default());
        (n.truncated, n.truncated_firing) = (500, 400);
        assert!(title(&n).starts_with("[FIRING:402] Disk"), "{}", title(&n));
        n.alerts.iter_mut().for_each(|alert| alert.status = Status::Resolved);
        assert!(title(&n).starts_with("[FIRING:400] Disk"), "{}", title(&n));
        (n.truncated, n.truncated_firing) = (500, 0);
        assert!(title(&n).starts_with("[FIRING:0, RESOLVED:502] Disk"), "{}", title(&n));
        let view = View::new(&n, "", false);
        assert!(
            alert_list(&view.resolved, view.readings, 1, view.truncated_resolved())
                .ends_with("… and 501 more")
        );
    }

    #[test]
    fn cutting_counts_characters() {
        assert_eq!(cut("ééé".into(), 3), "ééé");
        assert_eq!(cut("éééé".into(), 3), "éé…");
    }

    #[test]
    fn a_place_of_one_line_has_a_blank_for_each_line_break() {
        assert_eq!(one_line("\n  CRITICAL: \r\n\t[FIRING:1]  Disk\n\n"), "CRITICAL: [FIRING:1]  Disk");
        assert_eq!(one_line("a\u{202e}b"), "a\\u202eb");
    }

    #[test]
    fn a_label_calls_nobody_and_keeps_its_links() {
        let called = "<!channel> @Here <@U1> <#C1> @all";
        let quiet = "<\u{2060}!channel> @\u{2060}Here <\u{2060}@U1> <\u{2060}#C1> @\u{2060}all";
        assert_eq!(calls_nobody(called), quiet);
        assert_eq!(calls_nobody("<https://a|b> a@b.c *x* & <é @é"), "<https://a|b> a@b.c *x* & <é @é");
    }

    #[test]
    fn cutting_by_bytes_leaves_whole_characters() {
        assert_eq!(cut_bytes("éé".into(), 4), "éé");
        assert_eq!(cut_bytes("éééé".into(), 7), "éé…");
        assert_eq!(cut_bytes("éééé".into(), 6), "é…");
    }
}
