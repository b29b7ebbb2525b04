//! `input`: the statements of upstreams, as series of characters or one at a time.

use smol_str::SmolStr;

use super::place::SpecPlace;
use crate::model::{Duration, LabelSet, Source, Status, Timestamp};
use crate::settings::section::{Section, Text, shown};
use crate::settings::yaml::Value;

/// The most statements of one test. Beyond it, the file is refused.
pub const MAX_STATEMENTS: usize = 100_000;
/// One alert as one request states it.
#[derive(Debug, Clone)]
pub struct Statement {
    /// When the request arrives.
    pub at: Timestamp,
    /// The source of the statement.
    pub source: Source,
    /// From which member of a pair.
    pub peer: SmolStr,
    /// Its content.
    pub said: StatedContent,
    /// The full label set.
    pub labels: LabelSet,
    /// Free text for people.
    pub annotations: LabelSet,
    /// Start of the occurrence, unless it follows from earlier statements.
    pub starts_at: Option<Timestamp>,
    /// End of the occurrence, unless it follows from the time of the statement.
    pub ends_at: Option<Timestamp>,
}

/// The content of a statement about an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatedContent {
    /// That it fires or is resolved.
    Is(Status),
    /// The sender's previous statement about it, or none if there was none.
    Again,
}

/// Reads `input`. Statements come back by time, those of the same moment in the order of the file.
pub(super) fn statements(
    keys: &mut Section<'_>,
    place: &SpecPlace<'_>,
    interval: Duration,
) -> Vec<Statement> {
    let mut all = Vec::new();
    let line = keys.line;
    for item in place.sections(keys.list("input"), "input") {
        one(item, place, interval, &mut all);
        if all.len() > MAX_STATEMENTS {
            let text = format!("a test has more than {MAX_STATEMENTS} statements. Make its series shorter");
            place.problems.add(line, text);
            return Vec::new();
        }
    }
    all.sort_by_key(|s| s.at);
    all
}

fn one(mut keys: Section<'_>, place: &SpecPlace<'_>, interval: Duration, all: &mut Vec<Statement>) {
    let (line, problems) = (keys.line, place.problems);
    let labels = label_set(&mut keys, place, "labels");
    let given = keys.node("labels").map(|node| &node.value);
    if labels.is_empty() && given.is_none_or(|value| matches!(value, Value::Map(_))) {
        problems.add(line, "an input has no labels. Write labels: {alertname: NAME, …}");
    }
    let annotations = label_set(&mut keys, place, "annotations");
    let source = keys.parsed("source", "alertmanager or prometheus", |text| {
        [Source::Alertmanager, Source::Prometheus].into_iter().find(|s| s.as_str() == text)
    });
    let source = source.unwrap_or(Source::Alertmanager);
    let peer: SmolStr = keys.text("peer").map_or_else(|| source.as_str().into(), |peer| peer.text.into());
    let series = keys.text("series");
    let status = keys.parsed("status", "firing or resolved", |text| {
        [Status::Firing, Status::Resolved].into_iter().find(|s| s.as_str() == text)
    });
    let (starts_at, ends_at) = (place.moment(&mut keys, "starts_at"), place.moment(&mut keys, "ends_at"));
    let at = match keys.node("at") {
        None => Some(place.start),
        Some(_) => place.at(&mut keys),
    };
    match (&series, keys.node("status")) {
        (Some(_), Some(node)) => {
            problems.add(node.line, "an input has both series and status. Keep one");
        }
        (None, None) => {
            problems.add(line, "an input has neither series nor status. Write one, such as series: F _ R");
        }
        _ => {}
    }
    if let (Some(_), Some(moment)) = (&series, starts_at.or(ends_at)) {
        let text = format!(
            "starts_at and ends_at are for a single statement. Write status and at: {} beside it",
            moment.since(place.start)
        );
        problems.add(line, text);
    }
    keys.finish();
    let Some(at) = at else { return };
    let said = match (series, status) {
        (Some(series), _) => expand(series, place, all.len()),
        (None, Some(status)) => vec![Some(StatedContent::Is(status))],
        (None, None) => return,
    };
    let mut moment = at;
    for said in said {
        if let Some(said) = said {
            let (labels, annotations, peer) = (labels.clone(), annotations.clone(), peer.clone());
            all.push(Statement { at: moment, source, peer, said, labels, annotations, starts_at, ends_at });
        }
        moment = moment + interval;
    }
}

/// The characters of a series: `F`, `R`, `_`, `.`, each perhaps repeated, `Fx10`. Blanks may part them.
fn expand(series: Text<'_>, place: &SpecPlace<'_>, before: usize) -> Vec<Option<StatedContent>> {
    let mut said = Vec::new();
    let mut rest = series.text.trim_start();
    let wrong = |what: &str| {
        let right = "Write F (fires), R (is resolved), _ (says again what is), . (says nothing), or Fx10";
        place.problems.add(series.line, format!("series has {}. {right}", shown(what)));
    };
    if rest.is_empty() {
        wrong("");
    }
    while let Some(character) = rest.chars().next() {
        let one = match character {
            'F' => Some(StatedContent::Is(Status::Firing)),
            'R' => Some(StatedContent::Is(Status::Resolved)),
            '_' => Some(StatedContent::Again),
            '.' => None,
            _ => {
                wrong(rest.split_whitespace().next().unwrap_or(rest));
                return said;
            }
        };
        rest = &rest[character.len_utf8()..];
        let mut times = 1;
        if let Some(number) = rest.strip_prefix('x') {
            let digits = number.len() - number.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            times = match number[..digits].parse::<usize>() {
                Ok(n) if n > 0 && n + said.len() + before <= MAX_STATEMENTS => n,
                _ => {
                    let found = shown(&format!("{character}x{}", &number[..digits]));
                    let right = format!("how often, from 1 to {MAX_STATEMENTS} in all");
                    place.problems.add(series.line, format!("series has {found}. Write {right}"));
                    return said;
                }
            };
            rest = &number[digits..];
        }
        said.extend(std::iter::repeat_n(one, times));
        rest = rest.trim_start();
    }
    said
}

fn label_set(keys: &mut Section<'_>, place: &SpecPlace<'_>, key: &'static str) -> LabelSet {
    let pairs = keys.text_map(key);
    for (name, value) in pairs.iter().filter(|(name, value)| name.is_empty() || value.text.is_empty()) {
        let text = format!(
            "{key} has {}: {}. An empty one counts as none, so leave it out",
            shown(name),
            shown(value.text)
        );
        place.problems.add(value.line, text);
    }
    LabelSet::from_pairs(pairs.into_iter().map(|(name, value)| (name, value.text)))
}
