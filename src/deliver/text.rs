//! The default texts, and what makes alert content safe to show.

use std::fmt::Write;

use super::view::View;
use crate::model::{AlertView, Kind, LabelSet, Share, partial_shares};

/// Whether a character could forge or hide text: control characters and those that turn the
/// direction of writing.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn clean(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if keep(c) || !is_unsafe(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
        }
    }
    out
}

/// Escapes control and direction-turning characters; line breaks and tabs stay.
pub(super) fn clean_text(text: &str) -> String {
    clean(text, |c| matches!(c, '\n' | '\t'))
}

/// The same for what must be one line: line breaks and tabs are escaped too.
pub(super) fn clean_line(text: &str) -> String {
    clean(text, |_| false)
}

/// At most `max` characters; what is longer ends in `…`, Alertmanager's mark.
pub(super) fn cut(text: String, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text,
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// `[FIRING:2] HighLatency eu-west (checkout critical)`: the state, the group's labels, and in
/// brackets what else the alerts have in common. As Alertmanager's `__subject`, but that the alert's
/// name always comes first, and is there even where the alerts do not share one; and that what only most
/// of them have in common is said too, with how many: `(critical, service=db: 12 of 14 alerts)`. A digest
/// says `[DIGEST:5]`, how many alerts it is about.
pub(super) fn subject(view: &View<'_>) -> String {
    let n = view.notification;
    let mut text = match n.kind {
        Kind::Digest => format!("[DIGEST:{}]", n.alerts.len() as u64 + n.truncated),
        _ if view.is_firing() => format!("[FIRING:{}]", view.firing.len()),
        _ => "[RESOLVED]".to_owned(),
    };
    let group = &view.notification.group_labels;
    let name = match view.common_labels.value("alertname") {
        "" => names(view),
        name => name.to_owned(),
    };
    // Merged pages are titled by what most of their alerts have; where not all do, it is said apart.
    let of_all = |(name, value): &(&str, &str)| {
        let having = n.alerts.iter().filter(|alert| alert.labels.value(name) == *value).count();
        having == 0 || having == n.alerts.len()
    };
    let of_group = group.iter().filter(|(n, _)| *n != "alertname").filter(of_all).map(|(_, v)| v);
    for word in std::iter::once(name.as_str()).chain(of_group).filter(|w| !w.is_empty()) {
        let _ = write!(text, " {word}");
    }
    let rest: Vec<&str> = view
        .common_labels
        .iter()
        .filter(|(n, v)| *n != "alertname" && group.value(n) != *v)
        .map(|(_, v)| v)
        .collect();
    let rest = Some(rest.join(" ")).filter(|rest| !rest.is_empty());
    let rest: Vec<String> = rest.into_iter().chain(of_most(view)).collect();
    if !rest.is_empty() {
        let _ = write!(text, " ({})", rest.join(", "));
    }
    clean_line(&text)
}

/// What most of the alerts have in common, and not all: up to two label values, with how many.
fn of_most(view: &View<'_>) -> Vec<String> {
    if view.notification.kind == Kind::Digest {
        return Vec::new();
    }
    let labels: Vec<&LabelSet> = view.notification.alerts.iter().map(|alert| &alert.labels).collect();
    let shares = partial_shares(&labels, 2, |name| name == "alertname");
    let said = |s: &Share<'_>| format!("{}={}: {} of {} alerts", s.name, s.value, s.sets, labels.len());
    shares.iter().map(said).collect()
}

/// The names of alerts that do not share one: up to three, and how many more.
fn names(view: &View<'_>) -> String {
    let mut names: Vec<&str> = Vec::new();
    for alert in &view.notification.alerts {
        let name = alert.labels.value("alertname");
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    let more = names.len().saturating_sub(3);
    let shown = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// Alerts as text, one block each: labels, annotations, source, as Alertmanager's
/// `__text_alert_list`. At most `most` of them; then how many were left out.
pub(super) fn alert_list(alerts: &[&AlertView], most: usize, left_out: u64) -> String {
    let mut text = String::new();
    for alert in alerts.iter().take(most) {
        pairs(&mut text, "Labels", &alert.labels);
        pairs(&mut text, "Annotations", &alert.annotations);
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

fn pairs(text: &mut String, title: &str, set: &LabelSet) {
    if set.is_empty() {
        return;
    }
    let _ = writeln!(text, "{title}:");
    for (name, value) in set.iter() {
        let _ = writeln!(text, " - {name} = {value}");
    }
}

/// The URL, if it is one that a browser opens without running anything: http or https.
pub(super) fn http_url(text: &str) -> Option<&str> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://")?;
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let plain =
        !text.chars().any(|c| is_unsafe(c) || c.is_whitespace() || matches!(c, '<' | '>' | '"' | '|'));
    (known && plain && !rest.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AlertId, Notification, NotificationId, Status, Timestamp};

    #[test]
    fn what_forges_or_hides_text_is_escaped() {
        assert_eq!(clean_line("a\nb\u{202e}c\u{0}\u{1b}[31m"), "a\\nb\\u202ec\\u0000\\u001b[31m");
        assert_eq!(clean_text("a\n\tb\r\u{85}"), "a\n\tb\\r\\u0085");
        assert_eq!(clean_line("größer → ✓ 監視"), "größer → ✓ 監視");
    }

    /// A page of alerts with these names, services and severities.
    fn page(alerts: &[(&str, &str, &str)], group: LabelSet) -> Notification {
        let view = |(name, service, severity): &(&str, &str, &str)| {
            let pairs =
                [("alertname", *name), ("cluster", "eu-1"), ("service", service), ("severity", severity)];
            let labels = LabelSet::from_pairs(pairs);
            AlertView {
                id: AlertId::of(&labels, |_| false),
                status: Status::Firing,
                labels,
                annotations: LabelSet::default(),
                starts_at: Timestamp::ZERO,
                ends_at: None,
                generator_url: Default::default(),
                flaps: None,
            }
        };
        Notification {
            id: NotificationId(1),
            at: Timestamp::ZERO,
            receiver: "r".into(),
            integration: "console[0]".into(),
            kind: Kind::Page,
            dedup_key: "k".into(),
            group_key: "g".into(),
            generation: 0,
            group_labels: group,
            severity: "critical".into(),
            level: (0, 3),
            alerts: alerts.iter().map(view).collect(),
            truncated: 0,
            opened_at: Timestamp::ZERO,
            why: "first page".into(),
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
        assert_eq!(
            said,
            "[FIRING:4] Latency, Errors, Disk eu-1 (service=db: 3 of 4 alerts, severity=critical: 3 of 4 alerts)"
        );
        assert_eq!(title(&page(&alerts[1..2], cluster)), "[FIRING:1] Errors eu-1 (db critical)");
        // Merged pages are titled by what most have; that not all do is said.
        let merged = LabelSet::from_pairs([("cluster", "eu-1"), ("service", "db")]);
        assert!(
            title(&page(&alerts, merged))
                .starts_with("[FIRING:4] Latency, Errors, Disk eu-1 (service=db: 3 of 4")
        );
    }

    #[test]
    fn cutting_counts_characters() {
        assert_eq!(cut("ééé".into(), 3), "ééé");
        assert_eq!(cut("éééé".into(), 3), "éé…");
    }

    #[test]
    fn only_links_that_run_nothing() {
        assert_eq!(http_url(" https://wiki/x "), Some("https://wiki/x"));
        for bad in
            ["javascript:alert(1)", "JavaScript://x", "https://", "http://a b", "http://a|b", "wiki/x", ""]
        {
            assert_eq!(http_url(bad), None, "{bad}");
        }
    }
}
