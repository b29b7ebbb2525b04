//! Suggestions for rules, each priced by a replay of the history that it would have changed.
//!
//! A suggestion makes `for` or `keep_firing_for` of one rule longer. Its price is the difference between two
//! replays under the same configuration: of the history as it was, and under the change.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::changed::{Changed, RuleChange, Setting, Spans};
use super::outcomes::SWALLOWED_AFTER;
use super::time::SAME_MS;
use super::told::Told;
use super::{HistoryError, Past, Replay};
use crate::config::{Mode, Policy};
use crate::engine::Event;
use crate::model::{AlertId, Duration, Kind, RemarkContent, Timestamp};

/// So many rules are looked at: those with the most pages.
const RULES: usize = 10;
/// A rule with fewer pages is left alone.
const FEWEST_PAGES: u64 = 3;
/// A suggestion saves so many pages at least.
const FEWEST_SAVED: u64 = 2;
/// A page saved is worth so much delay of other pages.
const WORTH: Duration = Duration::from_mins(5);
/// A later resolve costs so many times less than a later page.
const RESOLVES_LATER: u64 = 10;
/// An incident whose alerts fire for so long is an outage. No suggestion may lose its page.
const OUTAGE: Duration = Duration::from_mins(15);
/// The lengths that are tried, in minutes.
const WAITS: [u64; 6] = [1, 2, 3, 5, 10, 15];
const KEEPS: [u64; 6] = [2, 5, 10, 15, 30, 60];

/// How much work suggestions may take.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Alerts that the history may have. With more there is no suggestion.
    pub alerts: usize,
    /// Observations that all replays together may read.
    pub observations: u64,
}

impl Effort {
    /// Of a server, which does other work.
    pub const SERVER: Effort = Effort { alerts: 20_000, observations: 2_000_000 };
    /// Of a command that a person waits for.
    pub const COMMAND: Effort = Effort { alerts: 500_000, observations: 50_000_000 };
}

/// Suggestions, and when Squelch priced them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Priced {
    /// When. `None` if Squelch has not yet, or has no history that it can replay.
    pub at: Option<Timestamp>,
    /// The suggestions, those that save the most first.
    pub suggestions: Vec<Suggestion>,
}

/// A longer setting of a rule, with its price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Suggestion {
    /// The name of the rule.
    pub rule: String,
    /// Which setting is longer.
    pub setting: Setting,
    /// By how many seconds it is longer than now.
    pub seconds: u64,
    /// Pages of the history that an alert of this rule made.
    pub pages: u64,
    /// By how much the number of all pages falls.
    pub fewer: u64,
    /// Other pages that come later.
    pub delayed: u64,
    /// The longest delay of them, in seconds.
    pub longest_delay_seconds: u64,
    /// Incidents that no longer page. Their alerts fired for less than 15 minutes.
    pub lost: u64,
    /// How long the alerts of such an incident fired at most, in seconds.
    pub longest_lost_seconds: u64,
}

impl Suggestion {
    /// The change that it suggests.
    pub fn change(&self) -> RuleChange {
        RuleChange { rule: self.rule.as_str().into(), setting: self.setting, by: self.by() }
    }

    /// By how much the setting is longer.
    pub fn by(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// The price as a sentence without its end: `for: +5m on DiskFull: 7 of 12 pages fewer, no page later`.
/// `+5m` is five minutes more than the rule has.
impl std::fmt::Display for Suggestion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (setting, by) = (self.setting.as_str(), self.by());
        let (fewer, pages) = (self.fewer, self.pages);
        write!(f, "{setting}: +{by} on {}: {fewer} of {pages} pages fewer", self.rule)?;
        let longest = Duration::from_secs(self.longest_delay_seconds);
        match self.delayed {
            0 => f.write_str(", no page later")?,
            delayed if delayed + self.fewer == pages && longest == by => {
                write!(f, ", each other page {by} later")?
            }
            1 => write!(f, ", 1 page up to {longest} later")?,
            delayed => write!(f, ", {delayed} pages up to {longest} later")?,
        }
        match self.setting {
            Setting::For => Ok(()),
            Setting::KeepFiringFor => write!(f, ", each resolve {by} later"),
        }
    }
}

/// Suggests for the rules with the most pages, those that save the most first. `past` gives the history anew
/// for each replay. The configuration decides as if no profile observed.
///
/// # Errors
/// The history cannot be read.
pub fn suggest<I, F>(past: F, policy: &Policy, effort: Effort) -> Result<Vec<Suggestion>, HistoryError>
where
    I: Iterator<Item = Result<Past, HistoryError>>,
    F: Fn() -> Result<I, HistoryError>,
{
    let mut policy = policy.clone();
    policy.noise.values_mut().for_each(|noise| noise.mode = Mode::Enforce);
    let policy = &policy;
    let (mut spans, mut observations) = (Spans::default(), 0);
    let mut useful = BTreeSet::new();
    for event in past()? {
        let event = event?;
        observations += event.observations();
        spans.note(&event);
        if let Event::Remark(said) = &event.event
            && said.remark.said == RemarkContent::Useful(true)
        {
            useful.insert(said.key.clone());
        }
        if spans.alerts.len() > effort.alerts {
            return Ok(Vec::new());
        }
    }
    let mut left = effort.observations.saturating_sub(observations);
    let now = run(past()?, policy)?;
    let mut by_rule: BTreeMap<&str, u64> = BTreeMap::new();
    now.incidents.iter().for_each(|incident| *by_rule.entry(&incident.rule).or_default() += 1);
    let mut rules: Vec<(&str, u64)> =
        by_rule.into_iter().filter(|(rule, pages)| !rule.is_empty() && *pages >= FEWEST_PAGES).collect();
    rules.sort_unstable_by_key(|(rule, pages)| (std::cmp::Reverse(*pages), *rule));
    let fired = Fired::new(&spans, policy);
    let mut found = Vec::new();
    for (rule, pages) in rules.into_iter().take(RULES) {
        let mut best: Option<(u64, Suggestion)> = None;
        for change in candidates(rule, &spans) {
            if left < observations {
                break;
            }
            left -= observations;
            let then = run(Changed::new(past()?, &change, &spans), policy)?;
            let Some(suggestion) = price(&change, pages, &now, &then, &fired, &useful) else { continue };
            let score = score(&suggestion);
            if score > best.as_ref().map_or(0, |(best, _)| *best) {
                best = Some((score, suggestion));
            }
        }
        found.extend(best.map(|(_, suggestion)| suggestion));
    }
    found.sort_by(|a, b| (b.fewer, &a.rule).cmp(&(a.fewer, &b.rule)));
    Ok(found)
}

/// The history under `change`, for a replay of one's own.
///
/// # Errors
/// The history cannot be read.
pub fn changed<I, F>(past: F, change: &RuleChange) -> Result<Vec<Past>, HistoryError>
where
    I: Iterator<Item = Result<Past, HistoryError>>,
    F: Fn() -> Result<I, HistoryError>,
{
    let mut spans = Spans::default();
    for event in past()? {
        spans.note(&event?);
    }
    Changed::new(past()?, change, &spans).collect()
}

/// The changes that differ in their effect on the occurrences of the rule.
fn candidates(rule: &str, spans: &Spans) -> Vec<RuleChange> {
    let mut candidates = Vec::new();
    for (setting, lengths) in [(Setting::For, WAITS), (Setting::KeepFiringFor, KEEPS)] {
        let mut touched = 0;
        for minutes in lengths {
            let change = RuleChange { rule: rule.into(), setting, by: Duration::from_mins(minutes) };
            let touches = spans.touched(&change);
            if touches > touched {
                touched = touches;
                candidates.push(change);
            }
        }
    }
    candidates
}

/// The delay that the saved pages are worth beyond the delay that the suggestion costs, in seconds. 0 if it
/// costs more.
fn score(one: &Suggestion) -> u64 {
    let worth = one.fewer * WORTH.as_millis() / 1000;
    let resolves = one.pages.saturating_sub(one.fewer) * one.seconds / RESOLVES_LATER;
    let later = match one.setting {
        Setting::For => one.delayed * one.longest_delay_seconds,
        Setting::KeepFiringFor => one.delayed * one.longest_delay_seconds + resolves,
    };
    worth.saturating_sub(later)
}

/// The price of a change. `None` if it saves too little, or costs a page that it must not cost.
fn price(
    change: &RuleChange,
    pages: u64,
    now: &Run,
    then: &Run,
    fired: &Fired<'_>,
    useful: &BTreeSet<SmolStr>,
) -> Option<Suggestion> {
    let fewer = (now.incidents.len() as u64).checked_sub(then.incidents.len() as u64)?;
    let mut found = Suggestion {
        rule: change.rule.to_string(),
        setting: change.setting,
        seconds: change.by.as_millis() / 1000,
        pages,
        fewer,
        delayed: 0,
        longest_delay_seconds: 0,
        lost: 0,
        longest_lost_seconds: 0,
    };
    if fewer < FEWEST_SAVED || fewer > pages {
        return None;
    }
    for incident in &now.incidents {
        match then.paged(incident) {
            Some(at) if at.since(incident.at).as_millis() <= SAME_MS => {}
            Some(at) => {
                found.delayed += 1;
                found.longest_delay_seconds =
                    found.longest_delay_seconds.max(at.since(incident.at).as_millis() / 1000);
            }
            None if then.goes_on(incident, fired) => {}
            None => {
                let fired = fired.during(incident);
                if fired >= OUTAGE || useful.contains(&incident.key) {
                    return None;
                }
                found.lost += 1;
                found.longest_lost_seconds = found.longest_lost_seconds.max(fired.as_millis() / 1000);
            }
        }
    }
    Some(found)
}

/// An incident of a replay.
#[derive(Debug)]
struct Incident {
    receiver: SmolStr,
    key: SmolStr,
    /// When it paged.
    at: Timestamp,
    closed: Option<Timestamp>,
    /// The rule of the alert that made the page.
    rule: SmolStr,
    /// The alerts that its page is about, with their starts.
    alerts: Vec<(AlertId, Timestamp)>,
}

/// The pages of a replay.
#[derive(Debug, Default)]
struct Run {
    incidents: Vec<Incident>,
    /// By receiver and alert: the incidents whose pages told of it, the oldest first.
    paged: HashMap<(SmolStr, AlertId), Vec<usize>>,
}

impl Run {
    /// The incidents whose pages told of an alert of an incident of another replay.
    fn of<'r>(&'r self, other: &'r Incident) -> impl Iterator<Item = &'r Incident> {
        let paged = |(alert, _): &(AlertId, Timestamp)| self.paged.get(&(other.receiver.clone(), *alert));
        other.alerts.iter().filter_map(paged).flatten().filter_map(|index| self.incidents.get(*index))
    }

    /// When this replay first paged about an incident of another one. A page counts from 15 minutes before
    /// the incident until its end.
    fn paged(&self, other: &Incident) -> Option<Timestamp> {
        let (from, to) = (other.at - SWALLOWED_AFTER, other.closed.unwrap_or(Timestamp::MAX));
        self.of(other).map(|incident| incident.at).filter(|at| (from..=to).contains(at)).min()
    }

    /// Whether an earlier incident of this replay goes on in an incident of another one. It is still open,
    /// and its alerts fired for at least half of the time in between.
    fn goes_on(&self, other: &Incident, fired: &Fired<'_>) -> bool {
        self.of(other).any(|earlier| {
            let open = earlier.at < other.at && earlier.closed.is_none_or(|closed| closed >= other.at);
            let between = other.at.since(earlier.at).as_millis();
            open && fired.between(other, earlier.at, other.at).as_millis() * 2 >= between
        })
    }
}

fn run(past: impl Iterator<Item = Result<Past, HistoryError>>, policy: &Policy) -> Result<Run, HistoryError> {
    let (mut replay, mut told, mut run) = (Replay::new(policy), Told::new(policy), Run::default());
    let mut open: HashMap<(SmolStr, SmolStr), usize> = HashMap::new();
    let mut sink = |n: &crate::model::Notification| {
        let Some(telling) = told.take(n) else { return };
        let key = (n.receiver.clone(), n.dedup_key.clone());
        match n.kind {
            Kind::Page => {
                let about = if telling.fresh.is_empty() { &telling.alerts } else { &telling.fresh };
                for alert in &telling.alerts {
                    run.paged.entry((n.receiver.clone(), alert.id)).or_default().push(run.incidents.len());
                }
                // As in the report of a backtest, the new alerts of a page made it.
                let made = telling.fresh.iter().min_by_key(|alert| alert.starts_at);
                let made = made.or(telling.alerts.first());
                let rule = made.map(|alert| alert.labels.value("alertname")).unwrap_or_default();
                open.insert(key, run.incidents.len());
                run.incidents.push(Incident {
                    receiver: n.receiver.clone(),
                    key: n.dedup_key.clone(),
                    at: n.at,
                    closed: None,
                    rule: rule.into(),
                    alerts: about.iter().map(|alert| (alert.id, alert.starts_at)).collect(),
                });
            }
            Kind::Resolve => {
                if let Some(incident) = open.remove(&key).and_then(|index| run.incidents.get_mut(index)) {
                    incident.closed = Some(n.at);
                }
            }
            Kind::Update | Kind::Digest | Kind::Acknowledge => {}
        }
    };
    for event in past {
        replay.feed(&event?, &mut sink);
    }
    replay.finish(&mut sink);
    Ok(run)
}

/// When the alerts of a configuration fired.
struct Fired<'a> {
    by_alert: HashMap<AlertId, Vec<&'a super::changed::AlertSpans>>,
}

impl<'a> Fired<'a> {
    fn new(spans: &'a Spans, policy: &Policy) -> Fired<'a> {
        let mut by_alert: HashMap<AlertId, Vec<_>> = HashMap::new();
        for alert in spans.alerts.values() {
            by_alert.entry(policy.identity(&alert.labels)).or_default().push(alert);
        }
        Fired { by_alert }
    }

    /// How long at least one alert of the incident fired while it was open.
    fn during(&self, incident: &Incident) -> Duration {
        let from = incident.alerts.iter().map(|(_, start)| *start).min().unwrap_or(incident.at);
        self.between(incident, from, incident.closed.unwrap_or(Timestamp::MAX))
    }

    /// How long at least one alert of the incident fired in a time.
    fn between(&self, incident: &Incident, from: Timestamp, to: Timestamp) -> Duration {
        let alerts = incident.alerts.iter().filter_map(|(alert, _)| self.by_alert.get(alert)).flatten();
        let mut spans: Vec<(Timestamp, Timestamp)> = alerts
            .flat_map(|alert| alert.spans.iter())
            .map(|(start, end)| ((*start).max(from), end.unwrap_or(Timestamp::MAX).min(to)))
            .filter(|(start, end)| start < end)
            .collect();
        spans.sort_unstable();
        let (mut length, mut reached) = (0, from);
        for (start, end) in spans {
            length += end.since(start.max(reached)).as_millis();
            reached = reached.max(end);
        }
        Duration::from_millis(length)
    }
}
