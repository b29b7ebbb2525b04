//! Compares the notifications with the planted incidents.

use std::collections::{BTreeMap, BTreeSet};

use super::{Planted, Scenario};
use squelch::history::Delays;
use squelch::history::Telling;
use squelch::model::{Duration, Kind, LabelSet, Timestamp};

/// How long after its last alert a page may still count for a planted incident.
const GRACE: Duration = Duration::from_mins(30);

/// Takes notifications in, in order, and judges them at the end.
#[derive(Debug)]
pub struct Judge {
    /// Planted incidents by each of their alerts.
    of: BTreeMap<LabelSet, usize>,
    truth: Vec<Planted>,
    paged: Vec<Option<Timestamp>>,
    pages_of: Vec<u64>,
    pages: u64,
    open: BTreeSet<String>,
}

/// The result of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Incidents planted.
    pub planted: u64,
    /// The incidents that had a page while they lasted.
    pub paged: u64,
    /// All pages.
    pub pages: u64,
    /// Pages about planted incidents, each counted for each of its incidents.
    pub pages_of_planted: u64,
    /// From the start of a planted incident to its first page.
    pub delay: Delays,
    /// The same, of those whose first alert is critical and was never seen before.
    pub delay_critical: Delays,
    /// Incidents still open at the pager at the end.
    pub left_open: u64,
}

impl Judge {
    /// A judge of the result of `scenario`.
    pub fn new(scenario: &Scenario) -> Self {
        let truth = scenario.truth.clone();
        let of = truth.iter().enumerate().flat_map(|(i, t)| t.alerts.iter().map(move |a| (a.clone(), i)));
        Judge {
            of: of.collect(),
            paged: vec![None; truth.len()],
            pages_of: vec![0; truth.len()],
            truth,
            pages: 0,
            open: BTreeSet::new(),
        }
    }

    /// Takes one notification in.
    pub fn take(&mut self, telling: &Telling<'_>) {
        let n = telling.notification;
        match n.kind {
            Kind::Page => {}
            Kind::Resolve => {
                self.open.remove(n.dedup_key.as_str());
                return;
            }
            Kind::Update | Kind::Digest | Kind::Acknowledge => return,
        }
        self.pages += 1;
        self.open.insert(n.dedup_key.to_string());
        // A page about known alerts is about the alerts that it adds. The other alerts of its list
        // interrupted no person for it.
        let about = if telling.fresh.is_empty() { &telling.alerts } else { &telling.fresh };
        let hit: BTreeSet<usize> = about.iter().filter_map(|a| self.of.get(&a.labels)).copied().collect();
        for index in hit {
            let planted = &self.truth[index];
            if n.at >= planted.start && n.at <= planted.end + GRACE {
                self.paged[index].get_or_insert(n.at);
                self.pages_of[index] += 1;
            }
        }
    }

    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        let (mut delay, mut delay_critical) = (Delays::default(), Delays::default());
        for (planted, paged) in self.truth.iter().zip(&self.paged) {
            if let Some(at) = paged {
                delay.add(at.since(planted.start));
                if planted.first_seen_critical {
                    delay_critical.add(at.since(planted.start));
                }
            }
        }
        Verdict {
            planted: self.truth.len() as u64,
            paged: self.paged.iter().flatten().count() as u64,
            pages: self.pages,
            pages_of_planted: self.pages_of.iter().sum(),
            delay,
            delay_critical,
            left_open: self.open.len() as u64,
        }
    }
}
