//! The laws in calm and at the end.

use std::collections::{BTreeMap, BTreeSet};

use squelch::model::LabelSet;

use super::plan::ALERTS;
use super::senders::labels;
use super::world::World;

impl World {
    /// All has been well for long enough: each critical firing alert is in an open incident.
    pub fn check_paged(&mut self) {
        let mut findings = Vec::new();
        {
            let state = self.database.state();
            let Some(engine) = state.engine() else {
                drop(state);
                return self.findings.push("nobody decided anything".into());
            };
            for alert in (0..ALERTS).filter(|alert| alert % 2 == 0 && self.truth[*alert].fires()) {
                let id = engine.policy().identity(&LabelSet::from_pairs(labels(alert)));
                if !self.pager.shows(id) {
                    findings.push(format!("critical alert {alert} fires, all is well, and nobody is paged"));
                }
            }
        }
        let mut groups: BTreeMap<String, usize> = BTreeMap::new();
        self.pager.open().into_iter().for_each(|(_, group)| *groups.entry(group).or_default() += 1);
        let twice = groups.into_iter().filter(|(_, open)| *open > 1);
        findings.extend(twice.map(|(group, open)| format!("{open} incidents of {group} are open")));
        self.findings.append(&mut findings);
    }

    /// Everything resolved long ago.
    pub fn check_end(&mut self) {
        let state = self.database.state();
        let mut findings = Vec::new();
        for (key, group) in self.pager.open() {
            findings.push(format!("all has resolved, and {key} of {group} is open"));
        }
        if state.undelivered() > 0 {
            findings.push(format!("{} notifications wait in the outbox", state.undelivered()));
        }
        if state.waiting() > 0 {
            findings.push(format!("{} rows wait in the inbox", state.waiting()));
        }
        for (number, count) in state.counts() {
            let sent = self.sent.get(&number).copied().unwrap_or(0);
            if count > sent {
                findings.push(format!("statement {number} was sent {sent} times and counts {count} times"));
            }
        }
        for stream in &self.streams {
            let mut rest = state.said.iter();
            let mut known = BTreeSet::new();
            for number in stream.acknowledged.iter().filter(|number| known.insert(**number)) {
                if !state.holds(*number) {
                    findings.push(format!("statement {number} was acknowledged and is lost"));
                } else if !rest.any(|said| said == number) {
                    findings
                        .push(format!("statement {number} stands before one that was acknowledged earlier"));
                }
            }
        }
        drop(state);
        self.findings.append(&mut findings);
    }
}
