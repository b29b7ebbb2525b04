//! The content of a file of behaviour tests, read and validated.
//!
//! Reading goes on after a mistake, so that one run names them all.

use std::collections::BTreeSet;
use std::path::Path;

use smol_str::SmolStr;

use super::expect::{self, Expectation, Tally};
use super::place::SpecPlace;
use super::series::{self, Statement};
use super::steps::{self, Does, PersonStep};
use crate::config::{self, ConfigErrors, Policy, Problem};
use crate::model::{Duration, Timestamp};
use crate::settings::section::{Problems, Section, shown};
use crate::settings::yaml::{self};

/// A file of tests, and the configuration that they are about.
#[derive(Debug)]
pub struct Suite {
    /// The policy.
    pub policy: Policy,
    /// The tests, in the order of the file. There is at least one.
    pub tests: Vec<Test>,
}

/// One test: the statements with their times, the receivers' answers, and the expected decisions.
#[derive(Debug)]
pub struct Test {
    /// Its name. It is unique in the file.
    pub name: String,
    /// The line on which it begins, from 1.
    pub line: u32,
    /// The time that the clock shows at offset 0.
    pub start: Timestamp,
    /// When the clock stops.
    pub until: Timestamp,
    /// The statements of upstreams, by time.
    pub statements: Vec<Statement>,
    /// The actions of people, by time.
    pub steps: Vec<PersonStep>,
    /// The answers of receivers, each with its start, by time. Before the first one they accept.
    pub answers: Vec<Answering>,
    /// The expected decisions.
    pub expect: Vec<Expectation>,
    /// How much must be suppressed.
    pub tallies: Vec<Tally>,
    /// Whether a decision without an expectation fails the test.
    pub exhaustive: bool,
    /// Only notifications at these receivers count. Empty = at all of them.
    pub receivers: BTreeSet<SmolStr>,
}

/// How a receiver answers from a moment on.
#[derive(Debug, Clone)]
pub struct Answering {
    /// From when on.
    pub at: Timestamp,
    /// The receiver. `None` means every one.
    pub receiver: Option<SmolStr>,
    /// How.
    pub answer: ScriptedAnswer,
}

/// How a receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScriptedAnswer {
    /// At once, and well.
    #[default]
    Accept,
    /// With a final refusal.
    Reject,
    /// Not at all, until it accepts or rejects again.
    Hang,
}

/// The longest that the clock of one test runs.
pub const MAX_SPAN: Duration = Duration::from_hours(366 * 24);
/// How long the clock runs on after the last time that a test names. It is long enough for the last
/// notification about an alert that flapped under the default profile. It is shorter than the default
/// `repeat_interval`.
const AFTERWARDS: Duration = Duration::from_hours(3);
/// The most expectations of one test. The pairing recurses once for each.
pub const MAX_EXPECT: usize = 1_000;
/// promtool's start: the Unix epoch.
const START: i64 = 0;

/// Reads and validates a file of tests, and the configuration that it names.
///
/// # Errors
/// All errors of the file, not only the first, and those of its configuration.
pub fn load(path: &Path) -> Result<Suite, ConfigErrors> {
    let name = path.display().to_string();
    let whole = |message: String| ConfigErrors::of_file(&name, message);
    let file = std::fs::File::open(path).map_err(|e| whole(format!("cannot be opened: {e}")))?;
    let text = config::read_bounded(file).map_err(whole)?;
    parse(&text, &name, path.parent().unwrap_or(Path::new("")))
}

/// Validates the text of a file. Errors call it `file_name`. `config_file` in it is relative to `base`.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, file_name: &str, base: &Path) -> Result<Suite, ConfigErrors> {
    let refused = |problems: Vec<Problem>| ConfigErrors::new(file_name, problems);
    let root = yaml::parse(text).map_err(|problem| refused(vec![problem]))?;
    let problems = Problems::default();
    let suite = Section::new(&root, "the file", &problems).and_then(|top| suite(top, base));
    let found = problems.into_inner();
    match suite {
        Some(suite) if found.is_empty() => Ok(suite),
        _ => Err(refused(found)),
    }
}

fn suite(mut top: Section<'_>, base: &Path) -> Option<Suite> {
    let problems = top.problems;
    let policy = match top.text("config_file") {
        None => {
            problems.add(top.line, "the file names no configuration. Write config_file: squelch.yml");
            None
        }
        Some(file) => match config::load(&base.join(file.text)) {
            Ok(config) => Some(config.policy),
            Err(errors) => {
                problems.add(file.line, steps::invalid("config_file", &errors));
                None
            }
        },
    };
    let defaults = Defaults {
        interval: top.positive("interval").unwrap_or(Duration::from_mins(1)),
        start: start(&mut top).unwrap_or(Timestamp::from_millis(START)),
        policy: policy.as_ref(),
        base,
    };
    let nodes = top.list("tests");
    if nodes.is_none_or(<[_]>::is_empty) {
        problems.add(top.line, "the file has no tests. Write tests: and a list of them");
    }
    let mut tests: Vec<Test> = Vec::new();
    for node in nodes.unwrap_or_default() {
        let Some(test) = Section::new(node, "a test", problems).map(|keys| test(keys, &defaults)) else {
            continue;
        };
        if let Some(first) = tests.iter().find(|t| t.name == test.name && !t.name.is_empty()) {
            let (name, line) = (shown(&test.name), first.line);
            problems.add(test.line, format!("a test on line {line} is called {name} too. Name it otherwise"));
        }
        tests.push(test);
    }
    top.finish();
    Some(Suite { policy: policy?, tests })
}

/// The defaults for a test, and the names that it may use.
struct Defaults<'p> {
    interval: Duration,
    start: Timestamp,
    policy: Option<&'p Policy>,
    base: &'p Path,
}

fn start(keys: &mut Section<'_>) -> Option<Timestamp> {
    const RIGHT: &str = "a time such as 2026-01-05T09:00:00Z";
    keys.parsed("start", RIGHT, |text| Timestamp::parse(text).ok())
}

fn test(mut keys: Section<'_>, defaults: &Defaults<'_>) -> Test {
    let (line, problems) = (keys.line, keys.problems);
    let name = keys.text("name").map_or_else(
        || {
            problems.add(line, "a test has no name. Write name: and a few words on its purpose");
            String::new()
        },
        |name| name.text.trim().to_owned(),
    );
    let interval = keys.positive("interval").unwrap_or(defaults.interval);
    let start = start(&mut keys).unwrap_or(defaults.start);
    let mut place = SpecPlace { problems, start, policies: defaults.policy.into_iter().collect() };
    let steps = steps::steps(&mut keys, &place, defaults.base);
    // Without a valid policy, every name may be right.
    let reloaded = steps.iter().flatten().filter_map(|step| match &step.does {
        Does::Reload(policy) => Some(&**policy),
        _ => None,
    });
    match (defaults.policy, &steps) {
        (Some(_), Some(_)) => place.policies.extend(reloaded),
        _ => place.policies.clear(),
    }
    let statements = series::statements(&mut keys, &place, interval);
    let answers = answers(&mut keys, &place);
    let receivers: BTreeSet<SmolStr> = keys
        .texts("receivers")
        .unwrap_or_default()
        .into_iter()
        .filter_map(|name| place.receiver(name.line, name.text))
        .collect();
    let expect = expect::expectations(&mut keys, &place, &receivers);
    if expect.len() > MAX_EXPECT {
        let text = format!("a test expects {} things. Write at most {MAX_EXPECT}", expect.len());
        problems.add(line, text);
    }
    let tallies = expect::tallies(&mut keys, &place, &receivers);
    let exhaustive = keys.boolean("exhaustive").unwrap_or(true);
    let named = statements.iter().map(|s| s.at);
    let named = named.chain(answers.iter().map(|a| a.at)).chain(expect.iter().map(|e| e.latest));
    let ends = |step: &PersonStep| match step.does {
        Does::Restart { downtime } => step.at + downtime,
        _ => step.at,
    };
    let named = named.chain(steps.iter().flatten().map(ends));
    let last = named.max().unwrap_or(start);
    let until = match keys.duration("until") {
        None => last + AFTERWARDS,
        Some(until) => {
            if start + until < last {
                let text = format!(
                    "until is {until}, but the test names {} from its start. Write that or later",
                    last.since(start)
                );
                problems.add(keys.line_of("until"), text);
            }
            start + until
        }
    };
    if until.since(start) > MAX_SPAN {
        problems.add(line, format!("a test lasts {}. Write at most {MAX_SPAN}", until.since(start)));
    }
    if expect.is_empty() && tallies.is_empty() && keys.node("expect").is_none() {
        problems.add(line, "a test expects nothing. Write expect: (an empty list for no notification)");
    }
    keys.finish();
    drop(place);
    let steps = steps.unwrap_or_default();
    Test { name, line, start, until, statements, steps, answers, expect, tallies, exhaustive, receivers }
}

fn answers(keys: &mut Section<'_>, place: &SpecPlace<'_>) -> Vec<Answering> {
    let mut answers = Vec::new();
    for node in keys.list("deliveries").unwrap_or_default() {
        let Some(mut keys) = Section::new(node, "deliveries", place.problems) else { continue };
        let at = place.at(&mut keys);
        let receiver = place.named_receiver(&mut keys);
        let answer = keys.parsed("answer", "accept, reject or hang", |text| match text {
            "accept" => Some(ScriptedAnswer::Accept),
            "reject" => Some(ScriptedAnswer::Reject),
            "hang" => Some(ScriptedAnswer::Hang),
            _ => None,
        });
        if keys.node("answer").is_none() {
            place.problems.add(keys.line, "deliveries has no answer. Write accept, reject or hang");
        }
        keys.finish();
        if let (Some(at), Some(answer)) = (at, answer) {
            answers.push(Answering { at, receiver, answer });
        }
    }
    answers.sort_by_key(|a| a.at);
    answers
}
