//! The decision log's baseline at page time: how often the rules of a page fire at this time of the week.
//!
//! It decides nothing. A page waits for at most [`PATIENCE`], once, whether the decision log answers or
//! not.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{EnrichMeter, Lookup, PATIENCE};
use crate::config::Location;
use crate::decision_log::Reader;
use crate::model::{Kind, MatchOp, Matcher, Notification, Status, Timestamp};

/// A page has baselines of so many rules.
const RULES: usize = 3;
/// Pages whose baselines are counted at once. Others leave without.
const AT_ONCE: usize = 2;

/// Counts baselines for pages.
pub(in crate::deliver) struct Baselines {
    /// `None` = there is no decision log to ask.
    history: Option<Arc<Reader>>,
    /// The time zone of the week.
    location: ArcSwap<Location>,
    counting: Arc<Semaphore>,
    meter: EnrichMeter,
}

/// A rule of a page: its name, the alerts to count, and since when those of the page fire.
struct Rule {
    name: String,
    matchers: Vec<Matcher>,
    starts: Vec<Timestamp>,
}

impl Baselines {
    pub(in crate::deliver) fn new(history: Option<Arc<Reader>>, meter: EnrichMeter) -> Self {
        Baselines {
            history,
            location: ArcSwap::default(),
            counting: Arc::new(Semaphore::new(AT_ONCE)),
            meter,
        }
    }

    /// Counts the hours of the week in this time zone from now on.
    pub(in crate::deliver) fn adopt(&self, location: Location) {
        self.location.store(Arc::new(location));
    }

    /// The baselines of the rules of a page, as one line. Empty if the decision log does not tell in time.
    pub(in crate::deliver) async fn of(&self, n: &Notification) -> String {
        let Some(history) = self.history.clone().filter(|_| n.kind == Kind::Page) else {
            return String::new();
        };
        let rules = rules(n);
        if rules.is_empty() {
            return String::new();
        }
        let Ok(turn) = self.counting.clone().try_acquire_owned() else {
            self.meter.count_baseline(Lookup::Skipped);
            return String::new();
        };
        let (location, at) = (self.location.load_full(), n.at);
        let counted = tokio::task::spawn_blocking(move || {
            // A search that is late holds its turn until it ends.
            let _turn = turn;
            texts(&history, &rules, &location, at)
        });
        let (text, outcome) = match timeout(PATIENCE, counted).await {
            Ok(Ok(Some(text))) => (text, Lookup::Answered),
            Ok(_) => (String::new(), Lookup::Failed),
            Err(_) => (String::new(), Lookup::Late),
        };
        self.meter.count_baseline(outcome);
        text
    }
}

/// The first rules of the alerts that fire, each in the scope of the group.
fn rules(n: &Notification) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for alert in n.alerts.iter().filter(|alert| alert.status == Status::Firing && alert.problem.is_none()) {
        let name = alert.labels.value("alertname");
        let known = rules.iter().position(|rule| rule.name == name);
        let index = known.unwrap_or_else(|| {
            let scope = n.group_labels.iter().filter(|(label, _)| *label != "alertname");
            let labels = scope.chain([("alertname", name)]);
            let matchers =
                labels.filter_map(|(label, value)| Matcher::new(label, MatchOp::Equal, value).ok());
            rules.push(Rule { name: name.to_owned(), matchers: matchers.collect(), starts: Vec::new() });
            rules.len() - 1
        });
        if let Some(rule) = rules.get_mut(index) {
            rule.starts.push(alert.starts_at);
        }
    }
    rules.truncate(RULES);
    rules
}

/// The sentence of each rule that has one. `None` = the decision log does not tell them.
fn texts(history: &Reader, rules: &[Rule], location: &Location, at: Timestamp) -> Option<String> {
    let mut texts = Vec::new();
    for rule in rules {
        let baseline = history.baseline(&rule.matchers, location, at, &rule.starts).ok()?;
        // A rule without any past has nothing to compare with.
        if baseline.recent > u64::from(baseline.before.is_empty()) {
            texts.push(match rules.len() {
                1 => baseline.text,
                _ => format!("{}: {}", rule.name, baseline.text),
            });
        }
    }
    Some(texts.join(". "))
}
