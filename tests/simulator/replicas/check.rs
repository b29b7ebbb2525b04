//! The laws in calm and at the end.

use std::collections::{BTreeMap, BTreeSet};

use squelch::model::LabelSet;

use super::plan::ALERTS;
use super::senders::labels;
use super::world::World;

impl World {
    /// All has been well for long enough: the owner knows that each firing alert fires, and each critical one
    /// is in an open incident.
    pub fn check_paged(&mut self) {
        let mut findings = Vec::new();
        {
            let state = self.database.state();
            let Some(engine) = state.engine() else {
                drop(state);
                return self.findings.push("nobody decided anything".into());
            };
            for alert in 0..ALERTS {
                let id = engine.policy().identity(&LabelSet::from_pairs(labels(alert)));
                let fires = self.truth[alert].fires();
                if fires && alert % 2 == 0 && !self.pager.shows(id) {
                    findings.push(format!("critical alert {alert} fires, all is well, and nobody is paged"));
                }
                let believed = engine.query().alert(engine.now(), id).is_some_and(|known| known.alert.firing);
                // A late copy of an old firing, which its sender gave up, is believed: in doubt, page.
                if fires && !believed {
                    findings
                        .push(format!("alert {alert} fires, all is well, and the owner does not know it"));
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
        // A resolve counts after all that its sender had said before it: it would not end a firing that comes
        // later. A firing may come before an earlier resolve. Its start is later than that end, so the engine
        // takes the resolve for an old one. `check_paged` sees the outcome.
        for stream in &self.streams {
            // The place of each earlier statement, and the last of these places.
            let (mut known, mut last) = (BTreeSet::new(), None);
            for (number, fires) in stream.acknowledged.iter().filter(|(number, _)| known.insert(*number)) {
                let place = |said: Option<usize>| said.map(|place| (place, *number));
                let first = place(state.said.iter().position(|said| said == number));
                let latest = place(state.said.iter().rposition(|said| said == number));
                if first.is_none() {
                    findings.push(format!("statement {number} was acknowledged and is lost"));
                } else if !fires && let Some((_, earlier)) = last.filter(|_| latest < last) {
                    findings.push(format!("resolve {number} stands before the earlier statement {earlier}"));
                }
                last = last.max(first);
            }
        }
        drop(state);
        self.findings.append(&mut findings);
    }
}
