//! The expected beside the seen: pairs, and the differences in each.

use std::collections::BTreeMap;

use serde::Serialize;
use smol_str::SmolStr;

use super::expect::{DecisionKind, Expectation, Seen, Tally};
use super::run::Shown;
use super::spec::{MAX_EXPECT, Test};
use crate::model::{Duration, Kind, Status, Timestamp};

/// Expectations and observed decisions, side by side, by time.
#[derive(Debug, Serialize)]
pub struct TestComparison {
    /// The pairs.
    pub rows: Vec<ComparedRow>,
    /// When the clock stopped.
    pub stopped: Duration,
    /// Notifications that receivers did not accept, for readers who miss one.
    #[serde(rename = "notAccepted")]
    pub refused: Vec<RowSide>,
}

/// An expectation, the decision in its place, or both.
#[derive(Debug, Serialize)]
pub struct ComparedRow {
    /// The line of the expectation. `None` if it is surplus.
    pub line: Option<u32>,
    /// The expected decision. `None` if it is surplus.
    pub expected: Option<RowSide>,
    /// The seen decision. `None` if it is missing.
    pub got: Option<RowSide>,
    /// The difference: `missing`, `surplus`, `late by 3m`, …. `None` if they fit.
    pub mark: Option<String>,
}

/// One side of a row, in words.
#[derive(Debug, Serialize)]
pub struct RowSide {
    /// How long after the start: `17m`, or from when to when, `17m–19m`. It is empty for a sum.
    pub at: String,
    /// `page`, `update`, `resolve`, `digest` or `suppressed`.
    pub kind: String,
    /// The receiver. It is empty for a sum over all.
    pub receiver: String,
    /// Matchers, or label sets.
    pub alerts: Vec<String>,
    /// Further facts about it.
    pub notes: Vec<String>,
    /// The `dedup_key` of its incident, of a thing that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<SmolStr>,
}

impl TestComparison {
    /// Whether all is as expected.
    pub fn passed(&self) -> bool {
        self.rows.iter().all(|row| row.mark.is_none())
    }
}

/// Compares the result of a test with its expectations.
pub fn compare(test: &Test, shown: &Shown) -> TestComparison {
    let seen: Vec<&Seen> = shown.seen.iter().filter(|s| in_scope(test, &s.receiver)).collect();
    let pairs = Pairing::new(&test.expect, &seen).run();
    let mut free: Vec<bool> = vec![true; seen.len()];
    for index in pairs.iter().flatten() {
        free[*index] = false;
    }
    let near = nearest(&test.expect, &pairs, &seen, &mut free);
    let mut rows: Vec<(Timestamp, ComparedRow)> = Vec::new();
    for ((expected, pair), near) in test.expect.iter().zip(&pairs).zip(near) {
        let (got, mark) = match (pair, near) {
            (Some(index), _) => (Some(seen[*index]), None),
            (None, Some((index, mark))) => (Some(seen[index]), Some(mark)),
            (None, None) => (None, Some("missing".to_owned())),
        };
        let got = got.map(|got| RowSide::seen(got, test.start, mark.is_some()));
        rows.push((
            expected.at,
            ComparedRow {
                line: Some(expected.line),
                expected: Some(RowSide::expected(expected, test.start)),
                got,
                mark,
            },
        ));
    }
    for (got, _) in seen.iter().zip(&free).filter(|(got, free)| **free && test.exhaustive && told(test, got))
    {
        let side = RowSide::seen(got, test.start, true);
        rows.push((
            got.at,
            ComparedRow { line: None, expected: None, got: Some(side), mark: Some("surplus".into()) },
        ));
    }
    rows.sort_by_key(|(at, _)| *at);
    let mut rows: Vec<ComparedRow> = rows.into_iter().map(|(_, row)| row).collect();
    rows.extend(test.tallies.iter().map(|tally| sum(tally, &seen)));
    let not_accepted = |all: &[Seen], end: &str| -> Vec<RowSide> {
        let here = all.iter().filter(|s| in_scope(test, &s.receiver));
        here.map(|s| RowSide::not_accepted(s, test.start, end)).collect()
    };
    let mut refused = not_accepted(&shown.refused, "refused");
    refused.extend(not_accepted(&shown.unanswered, "no answer"));
    TestComparison { rows, stopped: test.until.since(test.start), refused }
}

fn in_scope(test: &Test, receiver: &SmolStr) -> bool {
    test.receivers.is_empty() || test.receivers.contains(receiver)
}

/// Whether a decision of this kind must be expected. One that interrupts or closes always must. One that
/// does not must be expected only where the test looks at its kind.
fn told(test: &Test, seen: &Seen) -> bool {
    match seen.kind {
        DecisionKind::Suppressed => false,
        DecisionKind::Sent(Kind::Page | Kind::Resolve) => true,
        DecisionKind::Sent(Kind::Update | Kind::Digest | Kind::Acknowledge) => {
            test.expect.iter().any(|e| e.kind == seen.kind)
        }
    }
}

fn sum(tally: &Tally, seen: &[&Seen]) -> ComparedRow {
    let here = |s: &&&Seen| {
        s.kind == DecisionKind::Suppressed
            && s.reason == Some(tally.reason)
            && tally.receiver.as_ref().is_none_or(|name| s.receiver == *name)
    };
    let got: u64 = seen.iter().filter(here).map(|s| s.count).sum();
    let side = |count: u64| RowSide {
        at: String::new(),
        kind: DecisionKind::Suppressed.to_string(),
        receiver: tally.receiver.clone().unwrap_or_default().into(),
        alerts: Vec::new(),
        notes: vec![format!("{} {count} in all", tally.reason.as_str())],
        incident: None,
    };
    let mark = match got.cmp(&tally.count) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Less => Some(format!("{} too few", tally.count - got)),
        std::cmp::Ordering::Greater => Some(format!("{} too many", got - tally.count)),
    };
    ComparedRow { line: Some(tally.line), expected: Some(side(tally.count)), got: Some(side(got)), mark }
}

/// The difference between `seen` and the `expected` in its place, time apart. `None` if it fits.
fn differs(expected: &Expectation, seen: &Seen) -> Option<&'static str> {
    let count = |status| seen.alerts.iter().filter(|(s, _)| *s == status).count() as u64;
    let wrong = [
        (expected.alerts.as_ref().is_some_and(|patterns| !finds(patterns, seen)), "alerts differ"),
        (expected.firing.is_some_and(|n| n != count(Status::Firing)), "firing differs"),
        (expected.resolved.is_some_and(|n| n != count(Status::Resolved)), "resolved differs"),
        (expected.severity.as_ref().is_some_and(|name| *name != seen.severity), "severity differs"),
        (expected.reason.is_some_and(|reason| Some(reason) != seen.reason), "reason differs"),
        (expected.count.is_some_and(|n| n != seen.count), "count differs"),
        (expected.why.as_ref().is_some_and(|part| !seen.why.contains(part.as_str())), "why differs"),
        (
            expected.integration.as_ref().is_some_and(|name| !seen.integrations.contains(name)),
            "integration differs",
        ),
    ];
    wrong.into_iter().find_map(|(wrong, what)| wrong.then_some(what))
}

fn finds(patterns: &[super::expect::Pattern], seen: &Seen) -> bool {
    let alerts = || seen.alerts.iter().map(|(_, labels)| labels);
    patterns.iter().all(|pattern| alerts().any(|labels| pattern.matches(labels)))
        && alerts().all(|labels| patterns.iter().any(|pattern| pattern.matches(labels)))
}

fn in_time(expected: &Expectation, seen: &Seen) -> bool {
    (expected.at..=expected.latest).contains(&seen.at)
}

fn same_kind(expected: &Expectation, seen: &Seen) -> bool {
    (&expected.receiver, expected.kind) == (&seen.receiver, seen.kind)
}

/// For each expectation that nothing fits, the nearest of the free decisions. This is one at its time that
/// differs, then the same at another time, then one of another kind at its time.
fn nearest(
    expect: &[Expectation],
    pairs: &[Option<usize>],
    seen: &[&Seen],
    free: &mut [bool],
) -> Vec<Option<(usize, String)>> {
    let mut near = vec![None; expect.len()];
    for measure in [another_at_its_time, same_at_another_time, other_kind] {
        for (i, expected) in expect.iter().enumerate() {
            if pairs[i].is_some() || near[i].is_some() {
                continue;
            }
            let candidates = seen.iter().enumerate();
            let candidates = candidates.filter(|(index, s)| free[*index] && s.receiver == expected.receiver);
            let measured = candidates.filter_map(|(index, s)| Some((measure(expected, s)?, index)));
            near[i] = measured.min_by_key(|((off, _), _)| *off).map(|((_, mark), index)| (index, mark));
            if let Some((index, _)) = near[i] {
                free[index] = false;
            }
        }
    }
    near
}

fn another_at_its_time(expected: &Expectation, seen: &Seen) -> Option<(Duration, String)> {
    let here = same_kind(expected, seen) && in_time(expected, seen);
    // All of it fits, and still it was not paired: its incident is known by another name.
    here.then(|| (Duration::ZERO, differs(expected, seen).unwrap_or("another incident").to_owned()))
}

fn same_at_another_time(expected: &Expectation, seen: &Seen) -> Option<(Duration, String)> {
    if !same_kind(expected, seen) || differs(expected, seen).is_some() {
        return None;
    }
    let (late, early) = (seen.at.since(expected.latest), expected.at.since(seen.at));
    Some(if late.is_zero() {
        (early, format!("early by {early}"))
    } else {
        (late, format!("late by {late}"))
    })
}

fn other_kind(expected: &Expectation, seen: &Seen) -> Option<(Duration, String)> {
    let sent = seen.kind != DecisionKind::Suppressed && expected.kind != DecisionKind::Suppressed;
    let mark = || format!("{}, not {}", article(seen.kind), article(expected.kind));
    (sent && in_time(expected, seen)).then(|| (Duration::ZERO, mark()))
}

fn article(kind: DecisionKind) -> String {
    let article = if kind == DecisionKind::Sent(Kind::Update) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// Pairs as many expectations as possible with decisions that fit them. Each pairs at most once, and each
/// name of an incident with one incident.
struct Pairing<'a> {
    expect: &'a [Expectation],
    seen: &'a [&'a Seen],
    candidates: Vec<Vec<usize>>,
    taken: Vec<bool>,
    key_of: BTreeMap<&'a str, &'a str>,
    name_of: BTreeMap<&'a str, &'a str>,
    pairs: Vec<Option<usize>>,
    best: Vec<Option<usize>>,
    best_count: usize,
    steps: usize,
}

/// How long a better pairing is looked for. Where all fits, the first try mostly finds it.
const MOST_STEPS: usize = 100_000;

impl<'a> Pairing<'a> {
    fn new(expect: &'a [Expectation], seen: &'a [&'a Seen]) -> Self {
        // The others can take all but one of so many: more would pair no more.
        let fit = |e: &Expectation| {
            let fits = |s: &Seen| in_time(e, s) && same_kind(e, s) && differs(e, s).is_none();
            seen.iter()
                .enumerate()
                .filter(|(_, s)| fits(s))
                .map(|(index, _)| index)
                .take(MAX_EXPECT)
                .collect()
        };
        Pairing {
            expect,
            seen,
            candidates: expect.iter().map(fit).collect(),
            taken: vec![false; seen.len()],
            key_of: BTreeMap::new(),
            name_of: BTreeMap::new(),
            pairs: vec![None; expect.len()],
            best: vec![None; expect.len()],
            best_count: 0,
            steps: 0,
        }
    }

    fn run(mut self) -> Vec<Option<usize>> {
        self.search(0, 0);
        self.best
    }

    /// Pairs the expectations from `index` on, `count` of those before being paired. True once every
    /// one is, or after too many steps.
    fn search(&mut self, index: usize, count: usize) -> bool {
        self.steps += 1;
        if index == self.expect.len() {
            if count > self.best_count {
                self.best_count = count;
                self.best.clone_from(&self.pairs);
            }
            return count == index;
        }
        if count + (self.expect.len() - index) <= self.best_count {
            return false;
        }
        for position in 0..self.candidates[index].len() {
            let candidate = self.candidates[index][position];
            let Some(bound) = self.take(index, candidate) else { continue };
            if self.search(index + 1, count + 1) || self.steps > MOST_STEPS {
                return true;
            }
            self.give_back(index, candidate, bound);
        }
        self.search(index + 1, count)
    }

    /// Pairs the two unless one is taken or their incidents conflict. It returns whether this bound the
    /// incident to its name.
    fn take(&mut self, index: usize, candidate: usize) -> Option<bool> {
        if self.taken[candidate] {
            return None;
        }
        let mut bound = false;
        let (expect, seen) = (self.expect, self.seen);
        if let Some(name) = &expect[index].incident {
            let key = seen[candidate].key.as_str();
            match (self.key_of.get(name.as_str()), self.name_of.get(key)) {
                (None, None) => {
                    self.key_of.insert(name, key);
                    self.name_of.insert(key, name);
                    bound = true;
                }
                (Some(other), _) if *other == key => {}
                _ => return None,
            }
        }
        self.taken[candidate] = true;
        self.pairs[index] = Some(candidate);
        Some(bound)
    }

    fn give_back(&mut self, index: usize, candidate: usize, bound: bool) {
        self.taken[candidate] = false;
        self.pairs[index] = None;
        if let (true, Some(name)) = (bound, &self.expect[index].incident) {
            self.key_of.remove(name.as_str());
            self.name_of.remove(self.seen[candidate].key.as_str());
        }
    }
}

impl RowSide {
    fn expected(expected: &Expectation, start: Timestamp) -> Self {
        let (from, to) = (expected.at.since(start), expected.latest.since(start));
        let number = |n: Option<u64>, what: &str| n.map(|n| format!("{n} {what}"));
        let text = |text: Option<&str>, what: &str| text.map(|text| format!("{what} {text}"));
        let notes = [
            text(expected.integration.as_deref(), "at"),
            text(expected.severity.as_deref(), "severity"),
            text(expected.incident.as_deref(), "incident"),
            number(expected.firing, "firing"),
            number(expected.resolved, "resolved"),
            text(expected.reason.map(|r| r.as_str()), "reason"),
            expected.count.map(|n| format!("×{n}")),
            text(expected.why.as_deref(), "why: …"),
        ];
        let alerts = expected.alerts.iter().flatten();
        RowSide {
            at: if from == to { from.to_string() } else { format!("{from}–{to}") },
            kind: expected.kind.to_string(),
            receiver: expected.receiver.to_string(),
            alerts: alerts.map(|pattern| pattern.text.clone()).collect(),
            notes: notes.into_iter().flatten().collect(),
            incident: None,
        }
    }

    fn not_accepted(seen: &Seen, start: Timestamp, end: &str) -> Self {
        let mut side = RowSide::seen(seen, start, true);
        let integration = seen.integrations.iter().map(|name| format!("{end} at {name}"));
        side.notes.splice(0..0, integration);
        side
    }

    /// `whole`: with all facts that may help to see the difference.
    fn seen(seen: &Seen, start: Timestamp, whole: bool) -> Self {
        let at: Duration = seen.at.since(start);
        let mut notes = Vec::new();
        notes.extend(seen.reason.map(|r| format!("reason {}", r.as_str())));
        notes.extend((seen.count > 1).then(|| format!("×{}", seen.count)));
        if whole {
            notes.extend((!seen.severity.is_empty()).then(|| format!("severity {}", seen.severity)));
            notes.push(format!("why: {}", seen.why));
        }
        let alert = |(status, labels): &(Status, _)| match (status, seen.kind) {
            (Status::Resolved, DecisionKind::Sent(Kind::Page | Kind::Update)) => format!("{labels} resolved"),
            _ => format!("{labels}"),
        };
        RowSide {
            at: at.to_string(),
            kind: seen.kind.to_string(),
            receiver: seen.receiver.to_string(),
            alerts: seen.alerts.iter().map(alert).collect(),
            notes,
            incident: Some(seen.key.clone()).filter(|key| !key.is_empty()),
        }
    }
}
