//! The errors of a text in a configuration: unknown names, and failures with a sample.

use std::collections::BTreeSet;

use super::library::{Library, Parsed, parse_text};
use super::lint::{Found, Type};
use super::place::WrongTemplate;
use super::render::{Compiled, TemplateText, undefined};
use super::{Data, Facts, Readings, RuleReading, as_it_is, nearest, old};
use crate::model::{AlertView, Kind, LabelSet, Notification, NotificationId, Status, Timestamp};

/// The most labels of a sample.
const LABELS: usize = 200;

/// The result of the check of a text.
#[derive(Default, Debug)]
pub struct Checked {
    /// It is no template at all, or asks for names that are not there. It fails for each notification that
    /// gets there.
    pub wrong: Vec<WrongTemplate>,
    /// It is in the words that Squelch's templates had before.
    pub old: bool,
}

/// The form of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Plain text.
    Plain,
    /// HTML: values are escaped by where they stand.
    Html,
}

/// Checks a text against the templates that it may call.
pub fn check(library: &Library, source: &str, form: Form) -> Checked {
    let parsed = match parse_text(source) {
        Ok(parsed) => parsed,
        Err(wrong) => {
            return Checked { wrong: vec![in_old_words(source).unwrap_or(wrong)], old: is_old(source) };
        }
    };
    let found = walk(library, &parsed);
    let mut wrong = found.wrong.clone();
    if let Some(words) = in_old_words(source).filter(|_| wrong.is_empty()) {
        wrong.push(words);
    }
    if wrong.is_empty() {
        wrong.extend(
            trial(library, source, form, &found.labels).map(|what| WrongTemplate { at: String::new(), what }),
        );
    }
    wrong.sort();
    wrong.dedup();
    Checked { wrong, old: is_old(source) }
}

/// The labels of a route that fail for a sample, with their errors.
pub fn check_route_labels(library: &Library, labels: &LabelSet) -> Vec<(String, String)> {
    let named = labels.iter().filter_map(|(_, source)| parse_text(source).ok());
    let named: BTreeSet<String> = named.flat_map(|parsed| walk(library, &parsed).labels).collect();
    let mut wrong = sample(library, true, Some(&named), Some(labels)).wrong;
    let without = sample(library, true, None, Some(labels)).wrong;
    wrong.retain(|(label, _)| without.iter().any(|(other, _)| other == label));
    wrong
}

/// The fields of the notification that a text uses.
pub fn fields_of(library: &Library, source: &str) -> BTreeSet<String> {
    parse_text(source).map(|parsed| walk(library, &parsed).fields).unwrap_or_default()
}

/// Whether a text writes anything about a notification whose alerts have no labels.
pub fn says_something_without_labels(library: &Library, source: &str) -> bool {
    let compiled = Compiled::new(library, vec![text(source)], as_it_is);
    let rendered = compiled.render("", &sample(library, true, None, None), NOW);
    rendered.is_some_and(|rendered| rendered.is_ok_and(|text| !text.trim().is_empty()))
}

/// Walks a text and all templates that it calls, with the values that it passes to them.
fn walk(library: &Library, parsed: &Parsed) -> Found {
    let mut found = Found::default();
    let (mut seen, mut at) = (BTreeSet::new(), 0);
    parsed.template.lint(Type::Data, &mut found);
    while let Some((name, given, place)) = found.calls.get(at).cloned() {
        at += 1;
        if !seen.insert((name.clone(), given)) {
            continue;
        }
        match parsed.defines.get(&name).or_else(|| library.get(&name)) {
            Some(template) => template.lint(given, &mut found),
            None => {
                let names = library.names().chain(parsed.defines.keys().map(String::as_str));
                let near = nearest(&name, names).map(|near| format!(". Did you mean {near:?}?"));
                let what = near
                    .map_or_else(|| undefined(&name), |near| format!("there is no template {name:?}{near}"));
                found.wrong.push(WrongTemplate { at: place, what });
            }
        }
    }
    found
}

/// Statements of the templates that Squelch had before. Go takes them for plain text.
fn in_old_words(source: &str) -> Option<WrongTemplate> {
    let at = source.find("{%")?;
    let statement: String = source[at..].chars().take(40).collect();
    let right = "{{ if eq .Status \"firing\" }}…{{ end }} or {{ range .Alerts }}…{{ end }}";
    let what = format!("{statement:?} is no Go template, and is written as it stands. Write {right}");
    Some(WrongTemplate { at: super::place::Places::new("", source).shown(at), what })
}

/// Whether a text takes values by the names that only Squelch's old templates had.
fn is_old(source: &str) -> bool {
    let names = ["common_labels", "group_labels", "common_annotations"];
    source.split("{{").skip(1).any(|action| {
        let first = action.trim_start_matches('-').trim_start();
        let word = first.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
        names.contains(&word) && old::go_form(word).is_some()
    })
}

/// Renders the text for a notification that fires and for one that resolved, without labels and with every
/// label that it names. A failure counts if both fail: the value of a label may be one that a function
/// refuses.
fn trial(library: &Library, source: &str, form: Form, labels: &BTreeSet<String>) -> Option<String> {
    let text = TemplateText { html: form == Form::Html, ..text(source) };
    let compiled = Compiled::new(library, vec![text], as_it_is);
    let failed = |firing, labels| {
        compiled.render("", &sample(library, firing, labels, None), NOW).and_then(Result::err)
    };
    [(true, "fires"), (false, "resolved")].into_iter().find_map(|(firing, what)| {
        let reason = failed(firing, Some(labels)).filter(|_| failed(firing, None).is_some())?;
        Some(format!("fails for a notification that {what}: {reason}"))
    })
}

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn text(source: &str) -> TemplateText {
    TemplateText { key: String::new(), source: source.to_owned(), escape: as_it_is, html: false }
}

/// A notification to try a template with: one alert, which fires or resolved, without labels or with these.
/// Its route has the same labels, or its own.
fn sample(
    library: &Library,
    firing: bool,
    names: Option<&BTreeSet<String>>,
    of_route: Option<&LabelSet>,
) -> Data {
    let status = if firing { Status::Firing } else { Status::Resolved };
    let known = ["alertname", "severity", "summary", "description"];
    let labels = names.map(|names| {
        let all = known.into_iter().chain(names.iter().map(String::as_str).take(LABELS));
        LabelSet::from_pairs(all.filter(|name| !name.is_empty()).map(|name| (name, "value")))
    });
    let labels = labels.unwrap_or_default();
    let alert = AlertView {
        annotations: labels.clone(),
        ends_at: (!firing).then_some(NOW),
        generator_url: "https://prometheus.example/graph".into(),
        flaps: (!labels.is_empty()).then_some(3),
        ..AlertView::new(labels.clone(), status, NOW)
    };
    let notification = Notification {
        id: NotificationId(1),
        integration: "integration[0]".into(),
        dedup_key: "key".into(),
        group_key: "{}:{}".into(),
        group_labels: labels.clone(),
        route_labels: of_route.unwrap_or(&labels).clone(),
        severity: "critical".into(),
        level: (0, 3),
        alerts: vec![alert],
        truncated: u64::from(!labels.is_empty()),
        ..Notification::new(NOW, "receiver", if firing { Kind::Page } else { Kind::Resolve })
    };
    let reading = RuleReading { value: "0.5".into(), graph: "▁▄█".into() };
    let readings = (firing && !labels.is_empty()).then(|| (notification.alerts[0].id, reading));
    let baseline = if readings.is_some() { "third time in 12 hours" } else { "" };
    let readings = Readings { of_alerts: readings.into_iter().collect(), baseline: baseline.into() };
    let facts = Facts {
        status: status.as_str(),
        external_url: "https://squelch.example",
        possible_repeat: !labels.is_empty(),
        readings: &readings,
    };
    Data::new(&notification, facts, library, NOW)
}
