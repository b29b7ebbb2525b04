//! `noise`, `severities` and `identity`: the settings by which the engine decides.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::config::{Alone, Busy, Flapping, Hold, Level, Limit, Mode, Noise, Severities, Storm};
use crate::model::Duration;
use crate::settings::section::{Problems, Section, Text, named, nearest, shown};
use crate::settings::yaml::{Key, Node, Value};

/// The most levels of severity. A person could not distinguish more.
const MAX_LEVELS: usize = 32;
/// The longest description of a level, in characters: a page shows it.
const MAX_DESCRIPTION: usize = 1_000;
/// Largest penalty, in whole changes.
const MAX_PENALTY: u32 = 1_000;
/// Largest factor of growth.
const MAX_GROWTH: u32 = 1_000_000;
/// The shortest time between two digests: a message that interrupts no person must not flood either.
const DIGEST_MIN: Duration = Duration::from_mins(1);
/// Removed keys of a profile, each with advice to the person who wrote it.
const REMOVED: [(&str, &str); 9] = [
    ("surprise", "Write usual_per_day: 5, or noise: balanced on the route"),
    ("identifiers", "Remove it, since Squelch always knows pods, UUIDs, devices, hashes and long numbers"),
    ("rhythm", "Remove it, or set usual_per_day, above which an alert opens no page"),
    ("recurring_after", "Remove it, or set usual_per_day, above which an alert opens no page"),
    ("familiar", "Write hold: {for: 10m, levels: [critical]}, with the time of familiar.hold"),
    ("stay_open", "Set resolve_hold, which keeps an incident open after its last alert resolved"),
    ("stay_open_again", "Set merge_window, from which Squelch derives it"),
    ("growth_from", "Remove it, since growth always begins at 12 alerts"),
    ("growth_settle", "Set merge_window, of which it is a third"),
];
/// Keys that `flapping` had before.
const REMOVED_FROM_FLAPPING: [(&str, &str); 4] = [
    ("reuse_at", "Remove it, since flapping always ends at a penalty of 1"),
    ("max_hold", "Set half_life, since flapping holds for at most 8 of these"),
    ("fan_out", "Remove it, since two flapping alerts that fire together always page"),
    ("within", "Remove it, since alerts that fire within 15m always count as a fan-out"),
];
/// The profiles by name. The built-in ones are always there, and the file may change keys of them.
pub(super) fn profiles(section: Option<Section<'_>>, severities: &Severities) -> BTreeMap<SmolStr, Noise> {
    let mut profiles = Noise::all_built_in(severities);
    let Some(section) = section else { return profiles };
    for (line, name, node) in section.entries() {
        if name.is_empty() {
            section.problems.add(line, "a noise profile has no name. Write one, such as default");
        }
        if let Some(keys) = Section::new(node, format!("noise profile {}", shown(name)), section.problems) {
            let base = profiles.get(name).cloned().unwrap_or_default();
            profiles.insert(name.into(), profile(keys, base, severities));
        }
    }
    profiles
}

fn profile(mut keys: Section<'_>, mut noise: Noise, severities: &Severities) -> Noise {
    if let Some(section) = keys.section("flapping") {
        read_flapping(section, &mut noise.flapping);
        // A profile that sets flap damping gets it at every level, unless `alone` below says otherwise.
        noise.alone.pages = 0;
    }
    set(&mut noise.resolve_hold, keys.duration("resolve_hold"));
    set(&mut noise.merge_window, keys.duration("merge_window"));
    set(&mut noise.rolling, keys.duration("rolling"));
    let growth = keys.parsed("growth", "0 (off) or a whole number from 2 to 1000000", |text| {
        text.parse().ok().filter(|n| *n == 0 || (2..=MAX_GROWTH).contains(n))
    });
    set(&mut noise.growth, growth);
    set(&mut noise.escalate, keys.boolean("escalate"));
    set(&mut noise.wait, keys.duration("wait"));
    set(&mut noise.usual_per_day, keys.parsed("usual_per_day", PER_DAY, thousandths));
    if let Some(section) = keys.section("busy") {
        read_busy(section, &mut noise.busy);
    }
    if let Some(section) = keys.section("alone") {
        read_alone(section, &mut noise.alone, severities);
    }
    if let Some(section) = keys.section("hold") {
        read_hold(section, &mut noise.hold, severities);
    }
    if let Some(section) = keys.section("storm") {
        read_storm(section, &mut noise.storm);
    }
    if let Some(section) = keys.section("limit") {
        read_limit(section, &mut noise.limit);
    }
    if let Some(section) = keys.section("budget") {
        read_limit(section, &mut noise.budget);
    }
    let digest = keys.parsed("digest", "0s (off) or at least 1m, such as 24h", |text| {
        text.parse().ok().filter(|every: &Duration| every.is_zero() || *every >= DIGEST_MIN)
    });
    set(&mut noise.digest, digest);
    let mode = keys.parsed("mode", "enforce or observe", |text| match text {
        "enforce" => Some(Mode::Enforce),
        "observe" => Some(Mode::Observe),
        _ => None,
    });
    set(&mut noise.mode, mode);
    keys.removed(&REMOVED);
    keys.finish();
    noise
}

fn read_flapping(mut keys: Section<'_>, flapping: &mut Flapping) {
    set(&mut flapping.half_life, keys.positive("half_life"));
    set(&mut flapping.confirm, keys.duration("confirm"));
    let right = "a penalty above 1, such as 3 or 2.5, or 0 (off)";
    let suppress_at = keys.parsed("suppress_at", right, |text| {
        // One change alone adds 1: at or below that, every alert would count as flapping at once.
        thousandths(text).filter(|n| *n == 0 || *n > Flapping::REUSE_AT)
    });
    set(&mut flapping.suppress_at, suppress_at);
    keys.removed(&REMOVED_FROM_FLAPPING);
    keys.finish();
}

fn read_storm(mut keys: Section<'_>, storm: &mut Storm) {
    set(&mut storm.start, keys.parsed("start", COUNT, count));
    set(&mut storm.window, keys.positive("window"));
    if let Some(end) = keys.parsed("end", COUNT, count) {
        if storm.start > 0 && end > storm.start {
            let message = format!("end {end} is above start {}. Write a lower end", storm.start);
            keys.problems.add(keys.line_of("end"), message);
        }
        // A value that follows from `start` anyway is not kept, so that the shipped file equals the
        // defaults.
        storm.end = Some(end).filter(|end| *end != storm.start.div_ceil(2));
    }
    keys.finish();
}

fn read_limit(mut keys: Section<'_>, limit: &mut Limit) {
    set(&mut limit.pages, keys.parsed("pages", COUNT, count));
    set(&mut limit.per, keys.positive("per"));
    keys.finish();
}

/// The values that [`count`] accepts.
const COUNT: &str = "0 (off) or a whole number up to 1000";

fn count(text: &str) -> Option<u32> {
    text.parse().ok().filter(|n| *n <= 1_000)
}

/// The values that `usual_per_day` accepts.
const PER_DAY: &str = "a number of firings a day such as 5 or 0.5, or 0 (off)";

fn read_busy(mut keys: Section<'_>, busy: &mut Busy) {
    set(&mut busy.wait, keys.duration("wait"));
    set(&mut busy.usual_per_day, keys.parsed("usual_per_day", PER_DAY, thousandths));
    keys.finish();
}

fn read_alone(mut keys: Section<'_>, alone: &mut Alone, severities: &Severities) {
    set(&mut alone.pages, keys.parsed("pages", COUNT, count));
    set(&mut alone.levels, level_names(&mut keys, severities));
    keys.finish();
}

/// `levels`: names of severity levels.
fn level_names(keys: &mut Section<'_>, severities: &Severities) -> Option<Vec<SmolStr>> {
    let names = keys.texts("levels")?;
    for name in names.iter().filter(|name| !severities.levels.iter().any(|level| level.name == name.text)) {
        let known: Vec<&str> = severities.levels.iter().map(|level| level.name.as_str()).collect();
        let message = format!("levels holds {}. Write some of {}", shown(name.text), known.join(", "));
        keys.problems.add(name.line, message);
    }
    Some(names.iter().map(|name| name.text.into()).collect())
}

fn read_hold(mut keys: Section<'_>, hold: &mut Hold, severities: &Severities) {
    set(&mut hold.time, keys.duration("for"));
    set(&mut hold.levels, level_names(&mut keys, severities));
    if !hold.time.is_zero() && hold.levels.is_empty() {
        let line = keys.line_of("for");
        keys.problems.add(line, "hold names no levels. Write levels: [critical] or the like beside for");
    }
    keys.finish();
}

/// A decimal of at most three places, in thousandths.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(places) || places.len() > 3 {
        return None;
    }
    let whole: u32 = whole.parse().ok().filter(|n| *n < MAX_PENALTY)?;
    let places: u32 = format!("{places:0<3}").parse().ok()?;
    Some(whole * 1_000 + places)
}

fn set<T>(to: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *to = value;
    }
}

/// The receiver that a level escalates to, by the position of the level.
pub(super) type Escalations<'a> = Vec<(usize, Text<'a>)>;

/// The levels of severity, the built-in ones if none are named, and the receivers that they escalate to.
pub(super) fn severities<'a>(top: &mut Section<'a>) -> (Severities, Escalations<'a>) {
    let (mut severities, mut escalations) = (Severities::default(), Vec::new());
    if let Some(node) = top.node("severities")
        && let Some(right) = levels_as_keys(node)
    {
        let message =
            format!("severities has levels as keys. Write a list, the highest level first: {right}");
        top.problems.add(node.line, message);
        return (severities, escalations);
    }
    let Some(mut section) = top.section("severities") else { return (severities, escalations) };
    let label =
        section.parsed("label", "the name of a label", |text| (!text.is_empty()).then(|| text.into()));
    set(&mut severities.label, label);
    if let Some(nodes) = section.list("levels") {
        let line = section.line_of("levels");
        match nodes.len() {
            0 => section.problems.add(line, "levels is empty. Name at least one level, the highest first"),
            n if n > MAX_LEVELS => {
                section.problems.add(line, format!("levels has {n} levels. Write at most {MAX_LEVELS}"));
            }
            _ => {}
        }
        severities.levels = levels(nodes, &mut escalations, section.problems);
    }
    if let Some(default) = section.text("default") {
        let known = severities.levels.iter().position(|level| level.name == default.text);
        if known.is_none() {
            let names = severities.levels.iter().map(|level| level.name.as_str());
            let hint = match nearest(default.text, names.clone()) {
                Some(near) => format!("Did you mean {near}?"),
                None => format!("Write one of {}", names.collect::<Vec<_>>().join(", ")),
            };
            let message = format!("default is {}, which is no level. {hint}", shown(default.text));
            section.problems.add(default.line, message);
        }
        severities.default = known.unwrap_or(0);
    }
    section.finish();
    (severities, escalations)
}

/// The right form of `severities`, if levels stand in it as keys.
fn levels_as_keys(node: &Node) -> Option<String> {
    let Value::Map(entries) = &node.value else { return None };
    let known = ["label", "default", "levels"];
    let levels = || entries.iter().filter(|(key, _)| !known.contains(&key.name.as_str()));
    let is_level = |(key, node): &(Key, Node)| {
        matches!(node.value, Value::Map(_) | Value::Null) && nearest(&key.name, known.into_iter()).is_none()
    };
    (levels().next().is_some() && levels().all(is_level)).then(|| format!("levels: {}", named(levels())))
}

fn levels<'a>(nodes: &'a [Node], escalations: &mut Escalations<'a>, problems: &'a Problems) -> Vec<Level> {
    // Values are compared without case when alerts are read, so here too.
    let mut taken: BTreeMap<String, u32> = BTreeMap::new();
    let mut claim = |line: u32, value: &str| {
        if let Some(first) = taken.insert(value.to_ascii_lowercase(), line) {
            let value = shown(value);
            problems.add(line, format!("severity {value} stands twice, first on line {first}. Keep one"));
        }
    };
    let mut levels = Vec::new();
    for node in nodes {
        let Some(mut keys) = Section::new(node, "severity level", problems) else { continue };
        let name = keys.text("name").filter(|name| !name.text.is_empty());
        match name {
            Some(name) => claim(name.line, name.text),
            None => problems.add(keys.line, "severity level has no name. Write name: critical or the like"),
        }
        let aliases = keys.texts("aliases").unwrap_or_default();
        for alias in &aliases {
            claim(alias.line, alias.text);
        }
        let never_hold = keys.boolean("never_hold").unwrap_or(false);
        let hold = keys.duration("hold").unwrap_or_default();
        if never_hold && !hold.is_zero() {
            let message = format!("hold is {hold} at a level marked never_hold. Remove one of the two");
            problems.add(keys.line_of("hold"), message);
        }
        let respond_within = keys.positive("respond_within");
        let escalate_to = keys.text("escalate_to");
        if let Some(to) = escalate_to {
            if respond_within.is_none() {
                let message = "escalate_to needs respond_within. Write respond_within: 15m or the like";
                problems.add(to.line, message);
            }
            escalations.push((levels.len(), to));
        }
        let description = keys.text("description").map(|text| text.text).unwrap_or_default();
        if description.chars().count() > MAX_DESCRIPTION {
            let message = format!("description has more than {MAX_DESCRIPTION} characters. Shorten it");
            problems.add(keys.line_of("description"), message);
        }
        keys.unsupported(&["digest"]);
        keys.finish();
        levels.push(Level {
            name: name.map(|n| n.text.into()).unwrap_or_default(),
            aliases: aliases.iter().map(|a| a.text.into()).collect(),
            never_hold,
            hold,
            respond_within,
            escalate_to: escalate_to.map(|to| to.text.into()),
            description: description.trim().into(),
        });
    }
    levels
}

/// `identity.ignore_labels`. The default is only the label that the Prometheus operator sets on the alerts
/// of each replica. A wider default (`replica`) would make two broken database replicas one alert.
pub(super) fn ignore_labels(section: Option<Section<'_>>) -> Vec<SmolStr> {
    let listed = section.and_then(|mut section| {
        let listed = section.texts("ignore_labels");
        let problems = section.problems;
        section.finish();
        Some((listed?, problems))
    });
    let Some((listed, problems)) = listed else { return vec!["prometheus_replica".into()] };
    let mut names: Vec<SmolStr> = Vec::new();
    for label in listed {
        let name = shown(label.text);
        if label.text == "alertname" {
            problems.add(label.line, "ignore_labels holds alertname, which tells alerts apart. Remove it");
        } else if label.text.is_empty() || names.iter().any(|n| n == label.text) {
            problems
                .add(label.line, format!("ignore_labels holds {name} twice or empty. Keep one name each"));
        } else {
            names.push(label.text.into());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Problem;

    #[test]
    fn a_key_that_was_removed_is_refused_with_advice() {
        let within =
            |section, keys: &'static [_]| keys.iter().map(move |(key, advice)| (section, *key, *advice));
        let removed = within("", &REMOVED).chain(within("flapping", &REMOVED_FROM_FLAPPING));
        for (section, key, advice) in removed {
            let (text, what) = match section {
                "" => (format!("calm:\n  {key}: 1"), "noise profile \"calm\""),
                _ => (format!("calm: {{{section}: {{\n  {key}: 1}}}}"), section),
            };
            let root = crate::settings::yaml::parse(&text).unwrap();
            let problems = Problems::default();
            profiles(Section::new(&root, "noise", &problems), &Severities::default());
            let message = format!("{key} in {what} does not exist any more. {advice}");
            assert_eq!(problems.into_inner(), [Problem::new(2, message)]);
        }
    }

    #[test]
    fn a_profile_that_asks_for_flap_damping_gets_it_at_every_level() {
        let pages = |text: &str| {
            let root = crate::settings::yaml::parse(&format!("mine: {text}")).unwrap();
            let problems = Problems::default();
            profiles(Section::new(&root, "noise", &problems), &Severities::default())["mine"].alone.pages
        };
        assert_eq!(["{}", "{flapping: {}}", "{flapping: {}, alone: {pages: 2}}"].map(pages), [3, 0, 2]);
    }

    #[test]
    fn decimals_are_thousandths() {
        for (text, n) in
            [("3", 3000), ("2.5", 2500), ("0", 0), ("0.001", 1), ("0.75", 750), ("999.999", 999_999)]
        {
            assert_eq!(thousandths(text), Some(n), "{text}");
        }
        for bad in ["", ".", "1.", ".5", "-1", "1e3", "1.0005", "1000", "x", "1.2.3"] {
            assert_eq!(thousandths(bad), None, "{bad}");
        }
    }
}
