//! A history as it would have been with another `for` or `keep_firing_for` at one rule.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{HistoryError, Past};
use crate::engine::Event;
use crate::model::{AlertId, Batch, Duration, LabelSet, Observation, Source, Status, Timestamp};

/// The sender goes on to say that an alert fires that a change of its rule keeps. Its word holds so long
/// beyond the change.
const SPARE: Duration = Duration::from_hours(1);

/// A setting of a rule in Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// How long the expression must hold before the alert fires.
    For,
    /// How long the alert still fires after the expression held last.
    KeepFiringFor,
}

impl Setting {
    /// The key in a rule file.
    pub fn as_str(self) -> &'static str {
        match self {
            Setting::For => "for",
            Setting::KeepFiringFor => "keep_firing_for",
        }
    }
}

/// A rule with a longer setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleChange {
    /// The value of `alertname`.
    pub rule: SmolStr,
    /// Which setting.
    pub setting: Setting,
    /// By how much it is longer than in the history.
    pub by: Duration,
}

/// When the alerts of a history fired.
#[derive(Debug, Default)]
pub struct Spans {
    /// By the identity of the full label set.
    pub(super) alerts: BTreeMap<AlertId, AlertSpans>,
}

/// When one alert fired.
#[derive(Debug)]
pub(super) struct AlertSpans {
    pub(super) labels: LabelSet,
    /// The end of each occurrence by its start. `None` if no end is known.
    pub(super) spans: BTreeMap<Timestamp, Option<Timestamp>>,
}

impl Spans {
    /// Takes note of an event.
    pub(super) fn note(&mut self, past: &Past) {
        let (Event::Observe(batch) | Event::Quarantine(batch)) = &past.event else { return };
        for one in &batch.observations {
            let new = || AlertSpans { labels: one.labels.clone(), spans: BTreeMap::new() };
            let alert = self.alerts.entry(instance(one)).or_insert_with(new);
            match one.status {
                Status::Firing => {
                    alert.spans.entry(one.starts_at).or_default();
                }
                Status::Resolved => {
                    // A resolve without its firing says nothing about a length.
                    if let Some(end) = alert.spans.get_mut(&one.starts_at) {
                        *end = (*end).max(Some(one.ends_at.unwrap_or(past.at)));
                    }
                }
            }
        }
    }

    /// How many occurrences of the rule a change drops or joins to an earlier one.
    pub(super) fn touched(&self, change: &RuleChange) -> usize {
        let of_rule = self.alerts.values().filter(|alert| alert.labels.value("alertname") == change.rule);
        of_rule
            .map(|alert| match change.setting {
                Setting::For => {
                    alert.spans.iter().filter(|(start, end)| is_short(**start, **end, change.by)).count()
                }
                Setting::KeepFiringFor => {
                    alert.spans.len() - chains(alert, change.by).values().filter(|c| c.last).count()
                }
            })
            .sum()
    }
}

/// The identity of the full label set.
fn instance(one: &Observation) -> AlertId {
    AlertId::of(&one.labels, |_| false)
}

fn is_short(start: Timestamp, end: Option<Timestamp>, by: Duration) -> bool {
    end.is_some_and(|end| end.since(start) < by)
}

/// An occurrence among those that `keep_firing_for` makes one.
#[derive(Clone, Copy, Debug)]
struct Chain {
    /// The start of the first of them.
    start: Timestamp,
    /// Whether it is the last one.
    last: bool,
}

fn chains(alert: &AlertSpans, by: Duration) -> BTreeMap<Timestamp, Chain> {
    let mut chains = BTreeMap::new();
    let mut first: Option<Timestamp> = None;
    let nexts = alert.spans.keys().skip(1).copied().map(Some).chain([None]);
    for ((start, end), next) in alert.spans.iter().zip(nexts) {
        let chain = *first.get_or_insert(*start);
        // Without a known end the next occurrence is a new one.
        let goes_on = end.zip(next).is_some_and(|(end, next)| next <= end + by);
        chains.insert(*start, Chain { start: chain, last: !goes_on });
        if !goes_on {
            first = None;
        }
    }
    chains
}

/// A statement that is made later: the alert, the peer, and the start of the occurrence.
type Later = (AlertId, SmolStr, Timestamp);

/// The history under a change.
///
/// `for` delays each firing, and drops occurrences that end before that. `keep_firing_for` delays each
/// resolve, and drops it if the alert fires again before that. The spans are those of the whole history,
/// because a sender can tell of an end late.
pub struct Changed<'a, I> {
    inner: I,
    change: &'a RuleChange,
    spans: &'a Spans,
    chains: HashMap<AlertId, BTreeMap<Timestamp, Chain>>,
    next: Option<Past>,
    ready: VecDeque<Past>,
    /// Statements that wait, by when they are made and a number.
    due: BTreeMap<(Timestamp, u64), (Later, Past)>,
    /// When each delayed statement is made, or was made.
    made: HashMap<Later, (Timestamp, u64)>,
    /// Alerts that the changed rule has not brought up.
    silent: HashSet<AlertId>,
    number: u64,
}

impl<'a, I: Iterator<Item = Result<Past, HistoryError>>> Changed<'a, I> {
    /// `inner` under `change`. `spans` are those of `inner`.
    pub fn new(inner: I, change: &'a RuleChange, spans: &'a Spans) -> Self {
        let mut chained = HashMap::new();
        if change.setting == Setting::KeepFiringFor {
            let of_rule =
                spans.alerts.iter().filter(|(_, alert)| alert.labels.value("alertname") == change.rule);
            chained.extend(of_rule.map(|(id, alert)| (*id, chains(alert, change.by))));
        }
        Changed {
            inner,
            change,
            spans,
            chains: chained,
            next: None,
            ready: VecDeque::new(),
            due: BTreeMap::new(),
            made: HashMap::new(),
            silent: HashSet::new(),
            number: 0,
        }
    }

    fn take(&mut self, past: Past) {
        let Past { at, event } = past;
        let event = match event {
            Event::Observe(batch) => self.batch(at, batch).map(Event::Observe),
            Event::Quarantine(batch) => self.batch(at, batch).map(Event::Quarantine),
            Event::Repeats(mut repeats) => {
                repeats.statements.retain(|one| !self.silent.contains(&one.instance));
                (!repeats.statements.is_empty()).then_some(Event::Repeats(repeats))
            }
            event => Some(event),
        };
        self.ready.extend(event.map(|event| Past { at, event }));
    }

    fn batch(&mut self, at: Timestamp, mut batch: Batch) -> Option<Batch> {
        let rule = self.change.rule.clone();
        if batch.observations.iter().all(|one| one.labels.value("alertname") != rule) {
            return Some(batch);
        }
        let all = std::mem::take(&mut batch.observations);
        for one in all {
            if one.labels.value("alertname") == rule {
                match self.change.setting {
                    Setting::For => self.waited(at, &mut batch, one),
                    Setting::KeepFiringFor => self.kept(at, &mut batch, one),
                }
            } else {
                batch.observations.push(one);
            }
        }
        (!batch.observations.is_empty()).then_some(batch)
    }

    /// The alert fires later, and not at all if it is short.
    fn waited(&mut self, at: Timestamp, batch: &mut Batch, mut one: Observation) {
        let (id, by) = (instance(&one), self.change.by);
        let later = (id, batch.peer.clone(), one.starts_at);
        let end =
            self.spans.alerts.get(&id).and_then(|alert| alert.spans.get(&one.starts_at).copied().flatten());
        if is_short(one.starts_at, end, by) {
            self.silent.insert(id);
            return;
        }
        one.starts_at = one.starts_at + by;
        let waits = self.made.get(&later).copied();
        match (one.status, waits) {
            (Status::Firing, None) => {
                self.silent.insert(id);
                one.ends_at = one.ends_at.map(|end| end + by);
                self.delay(at + by, later, batch, one);
            }
            (Status::Firing, Some((due, _))) if at < due => {}
            (Status::Firing, _) => batch.observations.push(one),
            (Status::Resolved, _) => {
                self.make_now(at, &later);
                self.silent.remove(&id);
                batch.observations.push(one);
            }
        }
    }

    /// The alert resolves later, and not at all if it fires before that.
    fn kept(&mut self, at: Timestamp, batch: &mut Batch, mut one: Observation) {
        let (id, by) = (instance(&one), self.change.by);
        let chain = self.chains.get(&id).and_then(|chains| chains.get(&one.starts_at)).copied();
        let Some(chain) = chain else { return batch.observations.push(one) };
        let later = (id, batch.peer.clone(), chain.start);
        one.starts_at = chain.start;
        if one.status == Status::Firing {
            // The pending changes of an earlier occurrence come first.
            let waiting = self.due.values().map(|(later, _)| later);
            let earlier: Vec<Later> =
                waiting.filter(|l| l.0 == id && l.1 == later.1 && l.2 < chain.start).cloned().collect();
            earlier.iter().for_each(|later| self.make_now(at, later));
            return batch.observations.push(one);
        }
        let fires = Observation {
            status: Status::Firing,
            ends_at: (batch.source == Source::Prometheus).then_some(at + by + SPARE),
            ..one.clone()
        };
        match self.made.get(&later).copied() {
            _ if !chain.last => batch.observations.push(fires),
            Some((due, _)) if at < due => {}
            Some(_) => {
                one.ends_at = one.ends_at.map(|end| end + by);
                batch.observations.push(one);
            }
            None => {
                batch.observations.push(fires);
                one.ends_at = Some(one.ends_at.unwrap_or(at) + by);
                self.delay(at + by, later, batch, one);
            }
        }
    }

    fn delay(&mut self, due: Timestamp, later: Later, batch: &Batch, one: Observation) {
        self.number += 1;
        let batch = Batch {
            source: batch.source,
            peer: batch.peer.clone(),
            observations: vec![one],
            upstream: batch.upstream.clone(),
            unanswered: batch.unanswered,
        };
        self.made.insert(later.clone(), (due, self.number));
        self.due.insert((due, self.number), (later, Past { at: due, event: Event::Observe(batch) }));
    }

    fn make_now(&mut self, at: Timestamp, later: &Later) {
        let waiting = self.made.get(later).and_then(|key| self.due.remove(key));
        self.ready.extend(waiting.map(|(_, past)| Past { at, ..past }));
    }

    /// The first statement that is due before `at`.
    fn due_before(&mut self, at: Option<Timestamp>) -> Option<Past> {
        let due = self.due.first_entry()?;
        if at.is_some_and(|at| at < due.key().0) {
            return None;
        }
        let (later, past) = due.remove();
        self.silent.remove(&later.0);
        Some(past)
    }
}

impl<I: Iterator<Item = Result<Past, HistoryError>>> Iterator for Changed<'_, I> {
    type Item = Result<Past, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(past) = self.ready.pop_front() {
                return Some(Ok(past));
            }
            if self.next.is_none() {
                match self.inner.next() {
                    Some(Ok(past)) => self.next = Some(past),
                    Some(Err(error)) => return Some(Err(error)),
                    None => return self.due_before(None).map(Ok),
                }
            }
            let at = self.next.as_ref().map(|past| past.at);
            if let Some(past) = self.due_before(at) {
                return Some(Ok(past));
            }
            if let Some(past) = self.next.take() {
                self.take(past);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn said(now: i64, name: &str, start: i64, end: Option<i64>) -> Past {
        let one = Observation::new(
            if end.is_some() { Status::Resolved } else { Status::Firing },
            LabelSet::from_pairs([("alertname", name)]),
            at(start),
            end.map(at),
        );
        let batch = Batch::new(Source::Prometheus, "p", vec![one]);
        Past { at: at(now), event: Event::Observe(batch) }
    }

    /// The history under a change of `Disk`: when, whether it fires, the start and the end.
    fn under(setting: Setting, by: u64, history: &[Past]) -> Vec<(i64, bool, i64, Option<i64>)> {
        let change = RuleChange { rule: "Disk".into(), setting, by: Duration::from_secs(by) };
        let mut spans = Spans::default();
        history.iter().for_each(|past| spans.note(past));
        let seconds = |at: Timestamp| at.as_millis() / 1000;
        Changed::new(history.iter().cloned().map(Ok), &change, &spans)
            .map(|past| {
                let Past { at, event: Event::Observe(batch) } = past.unwrap() else { panic!("observations") };
                let one = &batch.observations[0];
                (seconds(at), one.status == Status::Firing, seconds(one.starts_at), one.ends_at.map(seconds))
            })
            .collect()
    }

    #[test]
    fn for_delays_each_firing_and_drops_short_ones() {
        let history = [
            said(1, "Disk", 0, None),
            // The sender tells of the end later than the wait.
            said(400, "Disk", 0, Some(100)),
            said(1000, "Disk", 1000, None),
            said(1060, "Disk", 1000, None),
            said(1100, "Other", 1100, None),
            said(1360, "Disk", 1000, None),
            said(2000, "Disk", 1000, Some(1990)),
            said(3000, "Disk", 3000, None),
        ];
        let changed = under(Setting::For, 300, &history);
        assert_eq!(
            changed,
            [
                (1100, true, 1100, None),
                (1300, true, 1300, None),
                (1360, true, 1300, None),
                (2000, false, 1300, Some(1990)),
                (3300, true, 3300, None),
            ]
        );
    }

    #[test]
    fn a_resolve_that_overtakes_a_delayed_firing_comes_after_it() {
        let history = [said(100, "Disk", 0, None), said(350, "Disk", 0, Some(340))];
        let changed = under(Setting::For, 300, &history);
        assert_eq!(changed, [(350, true, 300, None), (350, false, 300, Some(340))]);
    }

    #[test]
    fn keep_firing_for_joins_what_comes_back() {
        let history = [
            said(0, "Disk", 0, None),
            said(60, "Disk", 0, Some(60)),
            said(300, "Disk", 300, None),
            said(360, "Disk", 300, Some(360)),
            said(1000, "Disk", 1000, None),
        ];
        let changed = under(Setting::KeepFiringFor, 300, &history);
        let spare = 300 + 3600;
        assert_eq!(
            changed,
            [
                (0, true, 0, None),
                (60, true, 0, Some(60 + spare)),
                (300, true, 0, None),
                (360, true, 0, Some(360 + spare)),
                (660, false, 0, Some(660)),
                (1000, true, 1000, None),
            ]
        );
    }
}
