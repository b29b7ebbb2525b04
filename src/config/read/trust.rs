//! `heartbeat`, `self_check`, `limits`, and the fallbacks of receivers.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::{SmolStr, format_smolstr};

use super::routes::matchers;
use super::storage::bytes;
use crate::config::{FailOpen, Heartbeat, Limits, Receiver, SelfCheckSettings, Severities};
use crate::model::{Duration, LabelSet, Matcher};
use crate::settings::section::{Problems, Section, Text, nearest, shown};
use crate::settings::yaml::{Node, Value};

/// The most heartbeats: each is a label value of a metric.
const MAX_HEARTBEATS: usize = 100;
/// The least useful memory. The program itself takes some 20 MiB, and waiting requests up to 64 MiB.
const LEAST_MEMORY: u64 = 64 << 20;

/// `failopen_after` and `failopen_levels` of `global`.
pub(super) fn failopen(keys: &mut Section<'_>) -> FailOpen {
    let mut found = FailOpen::default();
    found.after = keys.duration("failopen_after").unwrap_or(found.after);
    let levels = keys.texts("failopen_levels").unwrap_or_default();
    found.levels = levels.iter().map(|level| level.text.into()).collect();
    found
}

/// A level that is named and does not exist is an error: its pages would not leave.
pub(super) fn known_levels(found: &FailOpen, severities: &Severities, line: u32, problems: &Problems) {
    for name in found.levels.iter().filter(|n| !severities.levels.iter().any(|l| l.name == **n)) {
        let all = severities.levels.iter().map(|l| l.name.as_str());
        let hint = nearest(name, all).map(|near| format!(". Did you mean {near}?")).unwrap_or_default();
        let message = format!("failopen_levels names {}, which is no level{hint}", shown(name));
        problems.add(line, message);
    }
}

/// `heartbeat`: one, or a list of them.
pub(super) fn heartbeats(
    top: &mut Section<'_>,
    receivers: &BTreeMap<SmolStr, Receiver>,
    severities: &Severities,
    problems: &Problems,
) -> Vec<Heartbeat> {
    let Some(node) = top.node("heartbeat") else { return Vec::new() };
    let nodes: Vec<&Node> = match &node.value {
        Value::List(items) => items.iter().collect(),
        _ => vec![node],
    };
    if nodes.len() > MAX_HEARTBEATS {
        problems
            .add(node.line, format!("there are {} heartbeats. Write at most {MAX_HEARTBEATS}", nodes.len()));
    }
    let (mut found, mut names) = (Vec::new(), BTreeSet::new());
    for (index, node) in nodes.into_iter().enumerate() {
        let Some(mut keys) = Section::new(node, "heartbeat", problems) else { continue };
        let name = keys.text("name").filter(|name| !name.text.is_empty());
        let name: SmolStr = name.map_or_else(|| format_smolstr!("heartbeat[{index}]"), |n| n.text.into());
        let matchers = matchers(&mut keys, ["match", "match_re", "matchers"]);
        if matchers.is_empty() {
            let message = "heartbeat has no matchers. Write matchers: ['alertname=\"Watchdog\"'] or the like";
            problems.add(keys.line, message);
        }
        if !names.insert(name.clone()) {
            problems
                .add(keys.line, format!("heartbeat {} stands twice. Give each its own name", shown(&name)));
        }
        if let Some(doubt) = ordinary(&matchers, severities).filter(|_| !matchers.is_empty()) {
            let right = "Write the name of the one alert that always fires, such as alertname=\"Watchdog\"";
            problems.doubt(keys.line, format!("heartbeat {} {doubt}. {right}", shown(&name)));
        }
        let silent_after = keys.positive("silent_after").unwrap_or(Duration::from_mins(10));
        let receiver = receiver(&mut keys, receivers);
        keys.finish();
        found.push(Heartbeat { name, matchers, silent_after, receiver });
    }
    found
}

/// Names of alerts that are no heartbeat.
const ORDINARY: [&str; 10] = [
    "InstanceDown",
    "TargetDown",
    "HighErrorRate",
    "HighLatency",
    "DiskFull",
    "DatabaseDown",
    "NodeFilesystemSpaceFillingUp",
    "KubePodCrashLooping",
    "HostOutOfMemory",
    "ServiceUnavailable",
];
/// Parts of the names of heartbeats.
const BEATS: [&str; 6] = ["watchdog", "heartbeat", "deadman", "deadmans", "always", "alive"];

/// The sign that these matchers take ordinary alerts. Squelch would page only if such an alert falls
/// silent.
fn ordinary(matchers: &[Matcher], severities: &Severities) -> Option<String> {
    let named: Vec<&Matcher> = matchers.iter().filter(|m| m.name() == "alertname").collect();
    if named.is_empty() {
        return Some(
            "has no matcher for alertname: other alerts that it matches do not page while they fire".into(),
        );
    }
    let takes = |labels: LabelSet| named.iter().all(|m| m.matches(&labels));
    if let Some(name) = ORDINARY.iter().find(|name| takes(LabelSet::from_pairs([("alertname", **name)]))) {
        return Some(format!(
            "matches ordinary alerts such as {name}, which then page nobody while they fire"
        ));
    }
    let beats = |m: &&Matcher| {
        let value = m.value().to_ascii_lowercase();
        BEATS.iter().any(|word| value.contains(word))
    };
    let asked: Vec<&Matcher> = matchers.iter().filter(|m| m.name() == severities.label).collect();
    let level = severities.levels.iter().filter(|level| level.never_hold).find(|level| {
        let mut words = std::iter::once(&level.name).chain(&level.aliases);
        let fits = |word: &SmolStr| {
            asked
                .iter()
                .all(|m| m.matches(&LabelSet::from_pairs([(severities.label.as_str(), word.as_str())])))
        };
        !asked.is_empty() && words.any(fits)
    });
    level.filter(|_| !named.iter().any(beats)).map(|level| {
        format!("matches alerts of severity {}, which then page nobody while they fire", level.name)
    })
}

/// `self_check`.
pub(super) fn self_check(
    section: Option<Section<'_>>,
    receivers: &BTreeMap<SmolStr, Receiver>,
) -> SelfCheckSettings {
    let mut found = SelfCheckSettings::default();
    let Some(mut keys) = section else { return found };
    found.enabled = keys.boolean("enabled").unwrap_or(found.enabled);
    found.receiver = receiver(&mut keys, receivers);
    found.unheard_after = keys.duration("unheard_after").unwrap_or(found.unheard_after);
    found.undelivered_after = keys.duration("undelivered_after").unwrap_or(found.undelivered_after);
    keys.finish();
    found
}

/// `limits`, and the memory budget that it names.
pub(super) fn limits(section: Option<Section<'_>>) -> (Limits, Option<u64>) {
    let mut found = Limits::default();
    let Some(mut keys) = section else { return (found, None) };
    let alerts = keys.parsed("alerts", "a whole number from 100 to 100000000", |text| {
        text.parse().ok().filter(|n| (100..=100_000_000).contains(n))
    });
    found.alerts = alerts.unwrap_or(found.alerts);
    let right = "a size of at least 64MiB, such as 512MiB or 2GiB";
    let memory = keys.parsed("memory", right, |text| bytes(text).filter(|size| *size >= LEAST_MEMORY));
    keys.finish();
    (found, memory)
}

/// A `fallback` names another receiver, and following them ends.
pub(super) fn check_fallbacks(
    receivers: &BTreeMap<SmolStr, Receiver>,
    named: &[(SmolStr, Text<'_>)],
    problems: &Problems,
) {
    for (receiver, fallback) in named {
        let name = shown(fallback.text);
        if receiver == fallback.text {
            let message = format!("fallback of receiver {name} is itself. Name another receiver");
            problems.add(fallback.line, message);
            continue;
        }
        let Some(known) = receivers.get(fallback.text) else {
            problems.add(fallback.line, unknown(fallback.text, receivers));
            continue;
        };
        if known.integrations.is_empty() {
            let message =
                format!("fallback {name} has no integration. Name a receiver that reaches somebody");
            problems.add(fallback.line, message);
        }
        let (mut at, mut steps) = (Some(known), 0);
        while let Some(next) = at.and_then(|r| r.fallback.as_ref()).filter(|_| steps <= receivers.len()) {
            if next == receiver {
                let message =
                    format!("fallback {name} leads back to receiver {receiver:?}. Break the circle");
                problems.add(fallback.line, message);
                break;
            }
            (at, steps) = (receivers.get(next), steps + 1);
        }
    }
}

fn receiver(keys: &mut Section<'_>, receivers: &BTreeMap<SmolStr, Receiver>) -> Option<SmolStr> {
    let name = keys.text("receiver")?;
    if !receivers.contains_key(name.text) {
        keys.problems.add(name.line, unknown(name.text, receivers));
    }
    Some(name.text.into())
}

pub(super) fn unknown(name: &str, receivers: &BTreeMap<SmolStr, Receiver>) -> String {
    let hint = match nearest(name, receivers.keys().map(|n| n.as_str())) {
        Some(near) => format!("Did you mean {near}?"),
        None => "Define it under receivers".to_owned(),
    };
    format!("receiver {} is not defined. {hint}", shown(name))
}
