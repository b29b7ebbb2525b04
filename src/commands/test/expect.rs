//! `expect` and `expect_suppressed`: the decisions that a test expects, and those that it saw.

use std::collections::BTreeSet;
use std::fmt;

use smol_str::SmolStr;

use super::place::SpecPlace;
use crate::model::{
    Disposition, Duration, Kind, LabelSet, Matcher, Reason, Status, Timestamp, parse_matchers,
};
use crate::settings::section::{Section, nearest, shown};
use crate::settings::yaml::Value;

/// One thing that must be seen, once.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// The line where it stands, from 1.
    pub line: u32,
    /// When it may be seen first.
    pub at: Timestamp,
    /// The latest time. It is the same unless `within` says more.
    pub latest: Timestamp,
    /// Where.
    pub receiver: SmolStr,
    /// The kind.
    pub kind: DecisionKind,
    /// At which integration of the receiver, if that matters.
    pub integration: Option<SmolStr>,
    /// Which alerts: each pattern finds one, and each alert is found.
    pub alerts: Option<Vec<Pattern>>,
    /// How many of its alerts are shown as firing.
    pub firing: Option<u64>,
    /// How many of its alerts are shown as resolved.
    pub resolved: Option<u64>,
    /// The severity level.
    pub severity: Option<SmolStr>,
    /// The test's own name of the incident: the same name is the same incident, another is another.
    pub incident: Option<String>,
    /// A part of the sentence that says why.
    pub why: Option<String>,
    /// Why it was suppressed.
    pub reason: Option<Reason>,
    /// How many observations were suppressed at once.
    pub count: Option<u64>,
}

/// The visible kinds of decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DecisionKind {
    /// A notification that a receiver accepted.
    Sent(Kind),
    /// An observation that went nowhere.
    Suppressed,
}

/// Matchers of one alert, and how they were written.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// The text in the file.
    pub text: String,
    /// All must match.
    pub matchers: Vec<Matcher>,
}

/// How many observations must be suppressed for a reason, in all.
#[derive(Debug, Clone)]
pub struct Tally {
    /// The line where it stands, from 1.
    pub line: u32,
    /// The receiver. `None` means all of them together.
    pub receiver: Option<SmolStr>,
    /// Why.
    pub reason: Reason,
    /// How many, exactly.
    pub count: u64,
}

/// A decision that the test saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When: a notification when it was accepted, or when it left if it was not.
    pub at: Timestamp,
    /// Where.
    pub receiver: SmolStr,
    /// The integrations that accepted it at that moment. Empty for a suppressed observation.
    pub integrations: Vec<SmolStr>,
    /// The kind.
    pub kind: DecisionKind,
    /// Its alerts. Of a notification, the first thousand.
    pub alerts: Vec<(Status, LabelSet)>,
    /// Name of its severity level. Empty for a suppressed observation.
    pub severity: SmolStr,
    /// The key of its incident. Empty if there is none.
    pub key: SmolStr,
    /// The sentence that says why.
    pub why: SmolStr,
    /// Why it was suppressed.
    pub reason: Option<Reason>,
    /// How many observations it stands for.
    pub count: u64,
}

impl fmt::Display for DecisionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DecisionKind::Sent(kind) => kind.as_str(),
            DecisionKind::Suppressed => "suppressed",
        })
    }
}

impl Pattern {
    /// Whether it finds `labels`.
    pub fn matches(&self, labels: &LabelSet) -> bool {
        self.matchers.iter().all(|m| m.matches(labels))
    }
}

/// Reads `expect`, sorted by the moment at which each is due at the latest.
pub(super) fn expectations(
    keys: &mut Section<'_>,
    place: &SpecPlace<'_>,
    receivers: &BTreeSet<SmolStr>,
) -> Vec<Expectation> {
    let items = place.sections(keys.list("expect"), "expect");
    let mut all: Vec<Expectation> = items.filter_map(|keys| expectation(keys, place, receivers)).collect();
    all.sort_by_key(|e| (e.latest, e.at));
    all
}

fn expectation(
    mut keys: Section<'_>,
    place: &SpecPlace<'_>,
    receivers: &BTreeSet<SmolStr>,
) -> Option<Expectation> {
    let (line, problems) = (keys.line, place.problems);
    let at = place.at(&mut keys);
    let within = keys.duration("within").unwrap_or(Duration::ZERO);
    if keys.node("receiver").is_none() {
        problems.add(line, "expect has no receiver. Write the name of the one that must see it");
    }
    let receiver = place.named_receiver(&mut keys);
    if let Some(name) = receiver.as_ref().filter(|name| !receivers.is_empty() && !receivers.contains(*name)) {
        problems.add(line, format!("receivers of this test leaves {name} out. Add it there"));
    }
    if keys.node("kind").is_none() {
        problems.add(line, "expect has no kind. Write page, update, resolve, digest or suppressed");
    }
    let kind = keys.parsed("kind", "page, update, resolve, digest or suppressed", |text| match text {
        "suppressed" => Some(DecisionKind::Suppressed),
        // No input of a test acknowledges.
        "acknowledge" => None,
        text => Kind::ALL.into_iter().find(|k| k.as_str() == text).map(DecisionKind::Sent),
    });
    let only = |problem: Option<u32>, key: &str, with: &str| {
        if let Some(line) = problem {
            problems.add(line, format!("{key} goes with kind: {with}. Leave it out here"));
        }
    };
    let suppressed = kind == Some(DecisionKind::Suppressed);
    for key in ["reason", "count"] {
        let line = keys.node(key).map(|node| node.line);
        only(line.filter(|_| !suppressed && kind.is_some()), key, "suppressed");
    }
    for key in ["integration", "severity", "firing", "resolved"] {
        let line = keys.node(key).map(|node| node.line);
        only(line.filter(|_| suppressed), key, "page, update, resolve or digest");
    }
    let reason = keys.text("reason").and_then(|text| reason(place, text.line, text.text));
    let integration = integration(&mut keys, place, receiver.as_ref());
    let alerts = keys.texts("alerts").map(|texts| {
        let pattern = |line: u32, text: &str| match parse_matchers(text) {
            Ok(matchers) => Some(Pattern { text: text.to_owned(), matchers }),
            Err(error) => {
                problems
                    .add(line, format!("alerts: {error}. Write matchers such as '{{alertname=\"Down\"}}'"));
                None
            }
        };
        texts.into_iter().filter_map(|t| pattern(t.line, t.text)).collect()
    });
    let expectation = Expectation {
        line,
        at: at.unwrap_or(place.start),
        latest: at.unwrap_or(place.start) + within,
        receiver: receiver.clone().unwrap_or_default(),
        kind: kind.unwrap_or(DecisionKind::Suppressed),
        integration,
        alerts,
        firing: number(&mut keys, "firing"),
        resolved: number(&mut keys, "resolved"),
        severity: severity(&mut keys, place),
        incident: keys.text("incident").map(|t| t.text.to_owned()),
        why: keys.text("why").map(|t| t.text.to_owned()),
        reason,
        count: number(&mut keys, "count"),
    };
    keys.finish();
    at.and(receiver).and(kind).map(|_| expectation)
}

fn number(keys: &mut Section<'_>, key: &'static str) -> Option<u64> {
    keys.parsed(key, "a number such as 2", |text| text.parse().ok())
}

fn integration(keys: &mut Section<'_>, place: &SpecPlace<'_>, receiver: Option<&SmolStr>) -> Option<SmolStr> {
    let name = keys.text("integration")?;
    let receiver = receiver?;
    let receivers = place.policies.iter().filter_map(|policy| policy.receivers.get(receiver));
    let known: BTreeSet<&str> =
        receivers.flat_map(|receiver| &receiver.integrations).map(|i| i.name.as_str()).collect();
    if !place.policies.is_empty() && !known.contains(name.text) {
        let known: Vec<&str> = known.into_iter().collect();
        let text =
            format!("the receiver has no integration {}. It has {}", shown(name.text), known.join(", "));
        place.problems.add(name.line, text);
    }
    Some(name.text.into())
}

fn severity(keys: &mut Section<'_>, place: &SpecPlace<'_>) -> Option<SmolStr> {
    let name = keys.text("severity")?;
    let levels = || place.policies.iter().flat_map(|policy| &policy.severities.levels);
    if !place.policies.is_empty() && !levels().any(|level| level.name == name.text) {
        let mut known: Vec<&str> = Vec::new();
        for level in levels().map(|level| level.name.as_str()) {
            if !known.contains(&level) {
                known.push(level);
            }
        }
        let text = format!("severity is {}. The levels are {}", shown(name.text), known.join(", "));
        place.problems.add(name.line, text);
    }
    Some(name.text.into())
}

/// Reads `expect_suppressed`: numbers by reason, or by receiver and reason.
pub(super) fn tallies(
    keys: &mut Section<'_>,
    place: &SpecPlace<'_>,
    receivers: &BTreeSet<SmolStr>,
) -> Vec<Tally> {
    let mut all = Vec::new();
    let Some(section) = keys.section("expect_suppressed") else { return all };
    for (line, name, node) in section.entries() {
        if !matches!(node.value, Value::Map(_)) {
            all.extend(tally(place, None, (line, name), &node.value));
            continue;
        }
        let Some(receiver) = place.receiver(line, name) else { continue };
        if !receivers.is_empty() && !receivers.contains(&receiver) {
            let text = format!("receivers of this test leaves {receiver} out. Add it there");
            place.problems.add(line, text);
        }
        let Some(reasons) = Section::new(node, "expect_suppressed", place.problems) else { continue };
        let of = |(line, name, node): (u32, _, &crate::settings::yaml::Node)| {
            tally(place, Some(&receiver), (line, name), &node.value)
        };
        all.extend(reasons.entries().filter_map(of));
    }
    all
}

fn tally(
    place: &SpecPlace<'_>,
    receiver: Option<&SmolStr>,
    (line, name): (u32, &str),
    value: &Value,
) -> Option<Tally> {
    let count = match value {
        Value::Scalar(text) => text.parse().ok(),
        _ => None,
    };
    if count.is_none() {
        let text = format!("expect_suppressed of {}. Write how many, such as {name}: 2", shown(name));
        place.problems.add(line, text);
    }
    let reason = reason(place, line, name)?;
    Some(Tally { line, receiver: receiver.cloned(), reason, count: count? })
}

fn reason(place: &SpecPlace<'_>, line: u32, name: &str) -> Option<Reason> {
    let reasons = || {
        Disposition::ALL.into_iter().filter_map(|d| match d {
            Disposition::Suppressed(reason) => Some(reason),
            _ => None,
        })
    };
    let found = reasons().find(|r| r.as_str() == name);
    if found.is_none() {
        let hint = match nearest(name, reasons().map(Reason::as_str)) {
            Some(near) => format!("Did you mean {near}?"),
            None => format!("There are {}", reasons().map(Reason::as_str).collect::<Vec<_>>().join(", ")),
        };
        place.problems.add(line, format!("no reason is called {}. {hint}", shown(name)));
    }
    found
}
