//! Times, lengths of time and labels, as people read them. All content is shown as text.

use maud::{Markup, html};
use smol_str::SmolStr;

use crate::causes;
use crate::engine::{Row, RowState};
use crate::model::{Cause, Duration, LabelSet, MatchOp, Matcher, Silence, Timestamp};

/// The most characters of one value in a list.
const CUT: usize = 120;
/// The most characters of one value on a page of its own.
const CUT_DETAIL: usize = 4_000;
/// The most labels of one alert in a list.
const MOST_LABELS: usize = 12;

/// `text` of at most `most` characters. Characters that move, hide or turn the text beside them become
/// visible. A joiner stays between letters and pictures, where scripts and emoji need it.
pub(crate) fn tame(text: &str, most: usize) -> String {
    let joins = |c: char| {
        (c.is_alphabetic() && !c.is_ascii())
            || ('\u{1f000}'..='\u{1faff}').contains(&c)
            || ('\u{2600}'..='\u{27bf}').contains(&c)
            || c == '\u{fe0f}'
    };
    let mut before = ' ';
    let mut after = text.chars().skip(1);
    let mut shown = |c: char| {
        let next = after.next();
        let joined = joins(before) && next.is_some_and(joins);
        before = c;
        match c {
            '\u{200c}' | '\u{200d}' if joined => c,
            '\n' | '\t' => ' ',
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
                '\u{fffd}'
            }
            c if c.is_control() => '\u{fffd}',
            c => c,
        }
    };
    let mut tame: String = text.chars().take(most).map(&mut shown).collect();
    if text.chars().nth(most).is_some() {
        tame.push('…');
    }
    tame
}

/// The same with its lines.
pub(super) fn tame_lines(text: &str, most: usize) -> String {
    let lines: Vec<String> = text.lines().map(|line| tame(line, 400)).collect();
    let whole = lines.join("\n");
    match whole.char_indices().nth(most) {
        Some((cut, _)) => format!("{}\n… (cut)", &whole[..cut]),
        None => whole,
    }
}

/// A sentence of ours, with the words between backticks as code.
pub(crate) fn with_code(text: &str) -> Markup {
    html! {
        @for (n, part) in text.split('`').enumerate() {
            @if n % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// The cause, in one sentence. Empty if it is not known.
pub(super) fn cause(cause: Option<&Cause>) -> Markup {
    sentence(&cause.map(causes::text).unwrap_or_default())
}

/// One sentence of ours with words of others in it.
pub(super) fn sentence(text: &str) -> Markup {
    html! { bdi { (with_times(&tame(text, 300))) } }
}

/// A text whose times follow the zone of the page.
fn with_times(text: &str) -> Markup {
    let (mut parts, mut from) = (Vec::new(), 0);
    while let Some((start, end, at)) = next_time(text, from) {
        parts.push((&text[from..start], at));
        from = end;
    }
    html! { @for (before, at) in parts { (before) (moment(at)) } (text[from..]) }
}

/// The next time of RFC 3339 in UTC from a place on: where it begins and ends, and the time.
fn next_time(text: &str, from: usize) -> Option<(usize, usize, Timestamp)> {
    // `2026-11-26T03:00:00Z`, or with a fraction of a second.
    const LENGTHS: std::ops::RangeInclusive<usize> = 20..=30;
    let ends = text.bytes().enumerate().skip(from).filter(|(_, byte)| *byte == b'Z').map(|(at, _)| at + 1);
    let mut places = ends.flat_map(|end| LENGTHS.map(move |length| (end.wrapping_sub(length), end)));
    places.find_map(|(start, end)| {
        let time =
            text.get(start..end).filter(|time| start >= from && time.as_bytes().get(10) == Some(&b'T'))?;
        Some((start, end, Timestamp::parse(time).ok()?))
    })
}

/// Labels of an alert in a list: its name first and alone. The severity stands beside the list, so it is
/// here only if the alert has no other label.
pub(super) fn title(labels: &LabelSet) -> Markup {
    let name = labels.value("alertname");
    let telling = |label: &str| labels.len() == 1 || !matches!(label, "alertname" | "severity");
    let others: Vec<_> = labels.iter().filter(|(label, _)| telling(label) && *label != "alertname").collect();
    let (few, more) = (others.iter().take(MOST_LABELS), others.len().saturating_sub(MOST_LABELS));
    html! {
        @if !name.is_empty() { (alert_name(name)) " " }
        @for (name, value) in few { (label(name, value, CUT)) " " }
        @if more > 0 { span.more { "and " (more) " more labels" } }
    }
}

/// The name of an alert.
pub(super) fn alert_name(name: &str) -> Markup {
    html! { bdi.name { (tame(name, CUT)) } }
}

/// All labels of an alert, one below the other.
pub(super) fn labels_in_full(labels: &LabelSet) -> Markup {
    html! {
        dl.labels {
            @for (name, value) in labels.iter() {
                div { dt { bdi { (tame(name, CUT)) } } dd { bdi { (tame(value, CUT_DETAIL)) } } }
            }
        }
    }
}

fn label(name: &str, value: &str, cut: usize) -> Markup {
    html! { bdi.l { span { (tame(name, cut)) "=" } (tame(value, cut)) } }
}

/// A link where the sender said one is, if a browser may follow it.
pub(super) fn link(url: &str, text: &str) -> Markup {
    html! { @if is_safe(url) { a href=(url) rel="noreferrer noopener" target="_blank" { (text) } } }
}

/// Whether a browser may follow a link.
fn is_safe(url: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) && url.len() < 4_000
}

/// `90061 s` as `1d 1h`: the two largest units, or less than a second as `now`.
pub(crate) fn span(length: Duration) -> String {
    let seconds = length.as_millis() / 1000;
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let Some(first) = units.iter().position(|(_, size)| seconds >= *size) else { return "0s".into() };
    let (unit, size) = units[first];
    let mut text = format!("{}{unit}", seconds / size);
    if let Some((unit, smaller)) = units.get(first + 1)
        && seconds % size / smaller > 0
    {
        text.push_str(&format!(" {}{unit}", seconds % size / smaller));
    }
    text
}

/// How long ago `at` was, counting on.
pub(super) fn ago(now: Timestamp, at: Timestamp) -> Markup {
    html! { time.ago datetime=(at) data-at=(at.as_millis()) title=(at) { (span(now.since(at))) } }
}

/// How long it is until `at`, counting down.
pub(super) fn until(now: Timestamp, at: Timestamp) -> Markup {
    html! {
        time.until datetime=(at) data-at=(at.as_millis()) title=(at) {
            @if at > now { "in " (span(at.since(now))) } @else { "now" }
        }
    }
}

/// A moment. A browser shows it in its own zone.
pub(super) fn moment(at: Timestamp) -> Markup {
    let seconds = Timestamp::from_millis(at.as_millis().div_euclid(1000) * 1000);
    html! { time.at datetime=(at) title=(at) { (seconds) } }
}

/// A name of others as a part of the id of an element.
pub(super) fn id(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

/// How far `at` is from `first` to `last`, in percent of the width of a drawing. Half a mark has room on both
/// sides.
pub(super) fn share(at: Timestamp, first: Timestamp, last: Timestamp) -> f64 {
    let whole = last.since(first).as_millis().max(1);
    1.0 + at.since(first).as_millis().min(whole) as f64 * 98.0 / whole as f64
}

/// A bar of a drawing from one share of its width to another, at least so wide that it is seen. `row` has its
/// top and its height in pixels.
pub(super) fn bar(class: &str, (from, to): (f64, f64), row: (usize, usize), title: Markup) -> Markup {
    let width = format!("{:.2}%", (to - from).max(0.4));
    html! {
        rect class=(class) x=(format!("{from:.2}%")) width=(width) y=(row.0) height=(row.1) rx="2" { (title) }
    }
}

/// The time of a mark in a drawing with its text. A browser shows the time in its own zone.
pub(super) fn mark(at: Timestamp, text: &str) -> Markup {
    let seconds = Timestamp::from_millis(at.as_millis().div_euclid(1000) * 1000);
    html! { title datetime=(at) data-text=(text) { (seconds) " " (text) } }
}

/// A recent moment: the time of the day, and the day too if it was not within the last 12 hours.
pub(super) fn short(now: Timestamp, at: Timestamp) -> Markup {
    let seconds = Timestamp::from_millis(at.as_millis().div_euclid(1000) * 1000).to_string();
    let is_recent = now.since(at) < Duration::from_hours(12);
    let shown = if is_recent { seconds.get(11..).unwrap_or(&seconds) } else { &seconds };
    html! { time.at.short datetime=(at) title=(at) { (shown) } }
}

/// A button that leads where the sender says, if a browser may follow it. A key opens that of the current
/// row.
pub(super) fn key_button(url: &str, text: &str, key: &str) -> Markup {
    html! {
        @if is_safe(url) {
            a.button href=(url) rel="noreferrer noopener" target="_blank" data-key=(key) { (text) }
            " "
        }
    }
}

/// Matchers that match these labels and no others.
pub(super) fn matchers_of(labels: &LabelSet) -> String {
    let matchers = labels.iter().filter_map(|(n, v)| Matcher::new(n, MatchOp::Equal, v).ok());
    matchers.map(|m| m.to_string()).collect::<Vec<_>>().join(", ")
}

/// The name of a state, and the class that colours it.
pub(super) fn state(state: RowState) -> (&'static str, &'static str) {
    match state {
        RowState::Passing => ("passing through", "passing"),
        RowState::Paged => ("paged", "paged"),
        RowState::Flapping => ("flapping", "flapping"),
        RowState::Resolving => ("resolving", "resolving"),
        RowState::Held => ("held", "held"),
        RowState::RateLimited => ("rate-limited", "limited"),
        RowState::Withheld => ("withheld", "withheld"),
        RowState::Muted => ("muted", "muted"),
        RowState::Observed => ("only observed", "observed"),
        RowState::Superseded => ("replaced by a worse incident", "resolving"),
        RowState::Closing => ("closing", "resolving"),
    }
}

/// A severity in the colour of its level. `place` is the position of the level, 0 for the highest.
pub(super) fn severity(name: &str, place: Option<usize>) -> Markup {
    let class = match place {
        Some(0) => "sev high",
        Some(1) => "sev middle",
        _ => "sev",
    };
    html! { span class=(class) { (tame(name, 40)) } }
}

/// `key=value` pairs for the address line. Empty values are left out.
pub(in crate::web) fn query(pairs: &[(&str, &str)]) -> SmolStr {
    let mut text = String::new();
    for (key, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(key);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push(byte.into()),
                b' ' => text.push('+'),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    text.into()
}

/// Matchers as they stand in the form.
pub(super) fn written(matchers: &[Matcher]) -> String {
    matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The matchers of a silence.
pub(super) fn written_sets(silence: &Silence) -> String {
    silence.matchers.iter().map(|set| written(set)).collect::<Vec<_>>().join(" or ")
}

/// The subject of a row: an incident in the words of its pages, an alert in its labels.
pub(super) fn heading(row: &Row) -> Markup {
    match &row.headline {
        Some(headline) => {
            html! {
                @if !headline.counts.is_empty() { b { (tame(&headline.counts, 200)) ":" } " " }
                (alert_name(&headline.names)) " " bdi.rest { (tame(&headline.rest, 300)) }
            }
        }
        None => title(&row.labels),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_told_in_two_units() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (3_700, "1h 1m"), (90_061, "1d 1h")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn times_in_a_sentence_follow_the_zone_of_the_page() {
        let shown =
            sentence("due 2026-11-28T18:30:09.618Z, or 2026-11-28T19:00:00Z at Zürich T<b>Z").into_string();
        let time = |full: &str, seconds: &str| {
            format!("<time class=\"at\" datetime=\"{full}\" title=\"{full}\">{seconds}</time>")
        };
        let first = time("2026-11-28T18:30:09.618Z", "2026-11-28T18:30:09Z");
        let second = time("2026-11-28T19:00:00Z", "2026-11-28T19:00:00Z");
        assert_eq!(shown, format!("<bdi>due {first}, or {second} at Zürich T&lt;b&gt;Z</bdi>"));
        assert_eq!(sentence("ZZ 2026-13-28T18:30:09Z").into_string(), "<bdi>ZZ 2026-13-28T18:30:09Z</bdi>");
    }

    #[test]
    fn hostile_text_is_cut_and_tamed() {
        assert_eq!(tame("a\u{202e}b\u{0}c\nd", 10), "a\u{fffd}b\u{fffd}c d");
        assert_eq!(tame(&"x".repeat(10_000), 5), "xxxxx…");
        for joined in ["\u{1f469}\u{200d}\u{1f692}", "می\u{200c}رود"] {
            assert_eq!(tame(joined, 10), joined);
        }
        assert_eq!(tame("\u{200d}a \u{200c}b1\u{200d}2", 10), "\u{fffd}a \u{fffd}b1\u{fffd}2");
        let labels =
            LabelSet::from_pairs([("alertname", "<script>alert(1)</script>"), ("a", "\"><img src=x>")]);
        let shown = title(&labels).into_string();
        assert!(!shown.contains("<script") && !shown.contains("<img"), "{shown}");
        assert!(link("javascript:alert(1)", "rule").into_string().is_empty());
        assert!(link("https://a/\"onclick=x", "rule").into_string().contains("&quot;onclick"));
    }

    #[test]
    fn an_alert_that_has_a_severity_alone_is_shown_by_it() {
        let shown =
            |pairs: &[(&str, &str)]| title(&LabelSet::from_pairs(pairs.iter().copied())).into_string();
        assert!(shown(&[("severity", "critical")]).contains("severity="));
        assert!(!shown(&[("severity", "critical"), ("host", "a")]).contains("severity="));
        assert_eq!(
            shown(&[("alertname", "Down"), ("severity", "critical")]),
            shown(&[("alertname", "Down")])
        );
    }

    #[test]
    fn address_lines_are_escaped() {
        assert_eq!(query(&[("q", "a=\"b c\"&"), ("page", "")]), "?q=a%3D%22b+c%22%26");
        let labels = LabelSet::from_pairs([("a", "x\"y"), ("b c", "1")]);
        let read = crate::model::parse_matchers(&matchers_of(&labels)).unwrap();
        assert!(read.iter().all(|m| m.matches(&labels)));
    }
}
