//! `silences`, `reloads` and `restarts`: the actions of people on Squelch in the middle of a test.

use std::path::Path;

use smol_str::SmolStr;

use super::place::SpecPlace;
use crate::commands::asking;
use crate::config::read_node;
use crate::config::{self, ConfigErrors, Policy};
use crate::engine::Engine;
use crate::model::{Duration, Matcher, Silence, SilenceError, SilenceRequest, Timestamp};
use crate::settings::section::{Section, nearest, shown};
use crate::settings::yaml::Value;

/// One thing that a person does.
#[derive(Debug)]
pub struct PersonStep {
    /// When.
    pub at: Timestamp,
    /// The line where it stands, from 1.
    pub line: u32,
    /// The action.
    pub does: Does,
}

/// A person's action. At one moment, the variants happen in this order.
#[derive(Debug)]
pub enum Does {
    /// Squelch ends and starts again.
    Restart {
        /// How long nothing runs.
        downtime: Duration,
    },
    /// Another configuration comes into force.
    Reload(Box<Policy>),
    /// A silence begins.
    Silence {
        /// The silence.
        wanted: Silence,
        /// The test's own name of it.
        name: Option<SmolStr>,
    },
    /// The silence of this name ends early.
    Expire(SmolStr),
}

/// The most steps of one test.
const MOST: usize = 1_000;
/// How long a silence lasts unless the test says otherwise. Rule: `--duration` of `amtool silence add`.
const SILENCE_LASTS: Duration = Duration::from_hours(1);

impl Does {
    fn rank(&self) -> u8 {
        match self {
            Does::Restart { .. } => 0,
            Does::Reload(_) => 1,
            Does::Silence { .. } => 2,
            Does::Expire(_) => 3,
        }
    }
}

/// The request that `wanted` makes of the engine at `now`.
pub(super) fn request(wanted: &Silence, now: Timestamp) -> SilenceRequest {
    let lasts = wanted.ends_at.since(wanted.starts_at);
    SilenceRequest::Set(Silence { starts_at: now, ends_at: now + lasts, ..wanted.clone() })
}

/// Reads `restarts`, `reloads` and `silences`, by time. `base` is the folder to which `config_file` is
/// relative. `None` in place of a policy stands for one that is not valid.
pub(super) fn steps(keys: &mut Section<'_>, place: &SpecPlace<'_>, base: &Path) -> Option<Vec<PersonStep>> {
    let mut all = Vec::new();
    let mut valid = true;
    for item in place.sections(keys.list("restarts"), "restarts") {
        all.extend(restart(item, place));
    }
    for item in place.sections(keys.list("reloads"), "reloads") {
        let step = reload(item, place, base);
        valid &= step.is_some();
        all.extend(step);
    }
    for item in place.sections(keys.list("silences"), "silences") {
        all.extend(silence(item, place));
    }
    if all.len() > MOST {
        let text = format!("a test has {} silences, reloads and restarts. Write at most {MOST}", all.len());
        place.problems.add(keys.line, text);
    }
    all.sort_by_key(|step| (step.at, step.does.rank()));
    check_downtime(&all, place);
    check_names(&all, place);
    valid.then_some(all)
}

fn restart(mut keys: Section<'_>, place: &SpecPlace<'_>) -> Option<PersonStep> {
    let line = keys.line;
    let at = place.at(&mut keys);
    let downtime = keys.duration("downtime").unwrap_or(Duration::ZERO);
    keys.finish();
    Some(PersonStep { at: at?, line, does: Does::Restart { downtime } })
}

fn reload(mut keys: Section<'_>, place: &SpecPlace<'_>, base: &Path) -> Option<PersonStep> {
    let (line, problems) = (keys.line, place.problems);
    let at = place.at(&mut keys);
    let file = keys.text("config_file");
    let inline = keys.node("config");
    let policy = match (file, inline) {
        (Some(_), Some(node)) => {
            problems.add(node.line, "a reload has both config_file and config. Keep one");
            None
        }
        (None, None) => {
            let right = "Write config_file: other.yml, or the configuration itself under config:";
            problems.add(line, format!("a reload names no configuration. {right}"));
            None
        }
        (Some(file), None) => config::load(&base.join(file.text))
            .map_err(|errors| problems.add(file.line, invalid("config_file", &errors)))
            .ok(),
        (None, Some(node)) if matches!(node.value, Value::Map(_)) => read_node(node, base)
            .map_err(|found| found.into_iter().for_each(|p| problems.add(p.line, p.message)))
            .ok(),
        (None, Some(node)) => {
            let right = "Write the keys of a configuration under it, or config_file: other.yml";
            problems.add(node.line, format!("config of a reload is no mapping. {right}"));
            None
        }
    };
    keys.finish();
    Some(PersonStep { at: at?, line, does: Does::Reload(Box::new(policy?.policy)) })
}

/// The error for a `config_file` that is not valid.
pub(super) fn invalid(key: &str, errors: &ConfigErrors) -> String {
    format!("{key} is not valid:\n{errors}")
}

fn silence(mut keys: Section<'_>, place: &SpecPlace<'_>) -> Option<PersonStep> {
    let (line, problems) = (keys.line, place.problems);
    let at = place.at(&mut keys);
    if let Some(node) = keys.node("expire") {
        let name = keys.text("expire");
        for key in ["matchers", "duration", "name"] {
            if let Some(other) = keys.node(key) {
                let right = "A silence begins with matchers and ends with expire, in two items";
                problems.add(other.line, format!("{key} stands beside expire. {right}"));
            }
        }
        keys.finish();
        let name = name.filter(|name| !name.text.is_empty());
        if name.is_none() {
            problems.add(node.line, "expire names no silence. Write the name of one, such as expire: deploy");
        }
        return Some(PersonStep { at: at?, line, does: Does::Expire(name?.text.into()) });
    }
    let words: Option<Vec<String>> = match keys.node("matchers") {
        None => {
            let right = "Write some, such as matchers: ['alertname=\"Down\"', 'cluster=~\"eu-.*\"']";
            problems.add(line, format!("a silence has no matchers. {right}"));
            None
        }
        Some(node) if matches!(node.value, Value::Scalar(_)) => {
            keys.text("matchers").map(|text| vec![text.text.to_owned()])
        }
        Some(_) => keys.texts("matchers").map(|all| all.iter().map(|t| t.text.to_owned()).collect()),
    };
    let matchers = words.and_then(|words| match asking::matchers(&words) {
        Ok(matchers) => Some(matchers),
        Err(error) => {
            let right = "Write matchers such as 'alertname=\"Down\"'";
            problems.add(keys.line_of("matchers"), format!("matchers: {error}. {right}"));
            None
        }
    });
    let duration = keys.positive("duration").unwrap_or(SILENCE_LASTS);
    let name = keys.text("name").map(|name| SmolStr::from(name.text));
    let line_of_matchers = keys.line_of("matchers");
    keys.finish();
    let (at, matchers) = (at?, matchers.filter(|_| !duration.is_zero())?);
    let wanted = silence_of(matchers, at, duration);
    if let Err(error) = refused(place, &wanted) {
        let right = "Write matchers such as 'alertname=\"Down\"'";
        problems.add(line_of_matchers, format!("{error}. {right}"));
        return None;
    }
    Some(PersonStep { at, line, does: Does::Silence { wanted, name } })
}

fn silence_of(matchers: Vec<Matcher>, at: Timestamp, lasts: Duration) -> Silence {
    Silence {
        id: SmolStr::default(),
        matchers: vec![matchers],
        starts_at: at,
        ends_at: at + lasts,
        updated_at: at,
        created_by: "squelch test".into(),
        comment: "a behaviour test".into(),
    }
}

/// Whether an engine that holds no other silence would refuse this one.
fn refused(place: &SpecPlace<'_>, wanted: &Silence) -> Result<(), SilenceError> {
    let Some(policy) = place.policies.first() else { return Ok(()) };
    let engine = Engine::new((*policy).clone());
    engine.query().plan_silence(wanted.starts_at, &request(wanted, wanted.starts_at)).map(drop)
}

/// While Squelch is down, a test cannot make a silence or restart it.
fn check_downtime(all: &[PersonStep], place: &SpecPlace<'_>) {
    let offset = |at: Timestamp| at.since(place.start);
    let mut down: Option<(Timestamp, Timestamp, u32)> = None;
    for step in all {
        if let Some((from, to, line)) = down.filter(|(_, to, _)| step.at < *to)
            && !matches!(step.does, Does::Reload(_))
        {
            let (from, to) = (offset(from), offset(to));
            let what = if matches!(step.does, Does::Restart { .. }) { "restart" } else { "silence" };
            let text = format!(
                "a {what} while Squelch is down from {from} to {to} (restart on line {line}). Write at: {to} \
                 or later"
            );
            place.problems.add(step.line, text);
        }
        if let Does::Restart { downtime } = &step.does {
            down = Some((step.at, step.at + *downtime, step.line));
        }
    }
}

/// A name stands for one silence. A silence that a step ends has begun and is not over.
fn check_names(all: &[PersonStep], place: &SpecPlace<'_>) {
    let begun = || {
        all.iter().filter_map(|step| match &step.does {
            Does::Silence { wanted, name: Some(name) } => Some((name, wanted, step.line)),
            _ => None,
        })
    };
    for (i, (name, _, line)) in begun().enumerate() {
        if let Some((_, _, first)) = begun().take(i).find(|(other, ..)| *other == name) {
            let text = format!("a silence on line {first} is called {} too. Name it otherwise", shown(name));
            place.problems.add(line, text);
        }
    }
    for step in all {
        let Does::Expire(name) = &step.does else { continue };
        let Some((_, wanted, _)) = begun().find(|(other, ..)| *other == name) else {
            let hint = match nearest(name, begun().map(|(name, ..)| name.as_str())) {
                Some(near) => format!("Did you mean {near}?"),
                None => format!("Write name: {name} at the silence that is to end"),
            };
            place
                .problems
                .add(step.line, format!("no silence of this test is called {}. {hint}", shown(name)));
            continue;
        };
        if !(wanted.starts_at..wanted.ends_at).contains(&step.at) {
            let (from, to) = (wanted.starts_at.since(place.start), wanted.ends_at.since(place.start));
            let text =
                format!("the silence {} lasts from {from} to {to}. Write a time in between", shown(name));
            place.problems.add(step.line, text);
        }
    }
}
