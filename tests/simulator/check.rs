//! The laws of a calm world: the pager shows the truth.

use std::collections::BTreeMap;

use squelch::engine::AlertQuery;
use squelch::model::{AlertId, LabelSet};

use crate::disk::State;
use crate::plan::{ALERTS, LANES, MINUTE};
use crate::policy::{NAMES, inhibited};
use crate::upstream::labels;
use crate::world::World;

impl World {
    /// The engine's view of each alert: the last acknowledged statements of all senders.
    pub fn check_words(&mut self) {
        let state = self.disk.state();
        let statuses = statuses(&state);
        // An `endsAt` passes. An alert without repeats is stale after an hour. After a start that seems to
        // follow a longer pause, it is stale after a third of one.
        let fresh = match (self.setup.direct, self.jumped) {
            (true, _) => 3 * MINUTE,
            (false, true) => 18 * MINUTE,
            (false, false) => 50 * MINUTE,
        };
        let mut findings = Vec::new();
        for (i, (_, status)) in statuses.iter().enumerate() {
            let status = status.as_str();
            match self.requests.word(i, self.now.saturating_sub(fresh)) {
                Some(true) if status != "firing" && !self.has_no_room(status) => {
                    findings.push(format!("all said that alert {i} fires, and Squelch says {status}"));
                }
                // A copy of the other member counts after a minute.
                Some(false)
                    if status == "firing" && self.requests.word(i, self.now - 2 * MINUTE).is_none() =>
                {
                    findings.push(format!("all said that alert {i} has resolved, and Squelch says {status}"));
                }
                _ => {}
            }
        }
        drop(state);
        self.findings.append(&mut findings);
    }

    /// Alerts beyond `limits.alerts` are reported together, and are not known.
    fn has_no_room(&self, status: &str) -> bool {
        self.setup.crowded && status == "unknown"
    }

    /// While alert 0 fires, it inhibits others.
    pub fn may_be_inhibited(&self, i: usize) -> bool {
        self.setup.overlaps && inhibited(i) && self.truth[0].fires()
    }

    /// All has been well for ten minutes: a critical alert that the engine knows is in an open incident.
    /// Only a refusal for good may take longer, since it is tried anew after five minutes and then hourly.
    pub fn check_soon(&mut self) {
        if self.refused {
            return;
        }
        let state = self.disk.state();
        let statuses = statuses(&state);
        let mut findings = Vec::new();
        for i in (0..ALERTS).filter(|i| i % 3 == 0 && self.truth[*i].fires() && statuses[*i].1 == "firing") {
            if self.may_be_inhibited(i) {
                continue;
            }
            let lane = if i % 4 == 3 { 2 } else { 0 };
            if !self.pagers.shows(lane, statuses[i].0) {
                findings
                    .push(format!("critical alert {i} fires, and after ten calm minutes nobody is paged"));
            }
        }
        drop(state);
        self.findings.append(&mut findings);
    }

    /// Alerts have been firing, and all has been well, for more than an hour: the engine knows the alerts,
    /// and each integration shows them.
    pub fn check_calm(&mut self) {
        self.check_words();
        let state = self.disk.state();
        let statuses = statuses(&state);
        let mut findings = Vec::new();
        for i in (0..ALERTS).filter(|i| self.truth[*i].fires()) {
            let (id, status) = &statuses[i];
            // Squelch knows nothing of alerts that a sender cuts from its payloads.
            if status != "firing" && self.setup.max_alerts > 0 || self.has_no_room(status) {
                continue;
            }
            if status != "firing" {
                findings.push(format!("alert {i} fires, and Squelch says {status}"));
            }
            let team = if i % 4 == 3 { "team" } else { "oncall" };
            for (lane, (receiver, name)) in NAMES.iter().enumerate() {
                let excused = self.may_be_inhibited(i) || self.waits_for_repeat(lane, *id);
                if *receiver == team && !self.pagers.shows(lane, *id) && !excused {
                    findings.push(format!("alert {i} fires, and {receiver}/{name} does not show it"));
                }
            }
        }
        findings
            .extend(state.engine().into_iter().flat_map(|engine| self.check_escalation(engine, &statuses)));
        for (i, (id, status)) in statuses.iter().enumerate() {
            let over = status != "firing" && self.requests.word(i, 0) == Some(false);
            let shown = (0..LANES).filter(|lane| self.pagers.shows(*lane, *id));
            let shown = shown.filter(|lane| !self.waits_for_repeat(*lane, *id));
            findings.extend(shown.filter(|_| over && !self.truth[i].fires()).map(|lane| {
                format!("alert {i} resolved long ago, and destination {lane} shows it as firing")
            }));
        }
        drop(state);
        self.findings.append(&mut findings);
    }

    /// Everything resolved long ago: nothing is open, waits, or is owed.
    pub fn check_end(&mut self) {
        for lane in 0..LANES {
            let open = self.pagers.open(lane);
            if !open.is_empty() {
                self.findings.push(format!("nothing fires, and destination {lane} shows {open:?} as open"));
            }
        }
        self.findings.extend(self.log.check_end());
        let state = self.disk.state();
        let undelivered = state.undelivered();
        let mut findings = Vec::new();
        if undelivered > 0 {
            findings.push(format!("{undelivered} notifications were never delivered"));
        }
        if let Some(engine) = state.engine() {
            for (name, r) in engine.query().stats().receivers {
                if r.pending + r.open + r.resolving + r.held > 0 {
                    findings.push(format!("nothing fires, and {name} is not at rest: {r:?}"));
                }
            }
        }
        drop(state);
        self.findings.append(&mut findings);
    }
}

/// The identity of each alert, and its state by the durable events.
fn statuses(state: &State) -> Vec<(AlertId, String)> {
    let Some(engine) = state.engine() else { return vec![(AlertId(0), "unknown".into()); ALERTS] };
    let all = AlertQuery { limit: usize::MAX, ..AlertQuery::default() };
    let view = engine.query().alerts(&all).found;
    let known: BTreeMap<AlertId, &str> =
        view.iter().map(|a| (a.alert.id, a.alert.status().as_str())).collect();
    let status = |i| {
        let id = engine.policy().identity(&LabelSet::from_pairs(labels(i)));
        (id, known.get(&id).copied().unwrap_or("unknown").to_owned())
    };
    (0..ALERTS).map(status).collect()
}
