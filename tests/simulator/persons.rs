//! Persons who acknowledge incidents, and the second receiver of the incidents that no person acknowledges.

use std::collections::BTreeMap;

use squelch::engine::{Acknowledge, Engine, IncidentQuery};
use squelch::model::{AlertId, Duration, Kind, Outcome, Report, Timestamp};
use squelch::node::Command;
use squelch::web::Acknowledgement;
use tokio::sync::oneshot;

use crate::bugs::Bug;
use crate::plan::{ALERTS, LEAD};
use crate::world::World;

/// An incident escalates within this time, with the retries of a receiver that is well again.
const IN_TIME: Duration = Duration::from_mins(10);

/// The last words of persons about incidents, by key.
#[derive(Default)]
pub struct Persons(BTreeMap<String, Said>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    /// The request was not answered, so its outcome is unknown.
    Unknown,
    Taken,
    Back,
}

impl Persons {
    /// A request about this incident is answered, so it is durable.
    pub fn said(&mut self, key: &str, taken: bool) {
        self.0.insert(key.to_owned(), if taken { Said::Taken } else { Said::Back });
    }
}

impl World {
    /// A person acknowledges an incident of PagerDuty in Squelch, or takes that back.
    pub fn acknowledge(&mut self, nth: usize, taken: bool) {
        let open = self.pagers.open(0);
        let Some(process) = &mut self.process else { return };
        let Some(key) = (!open.is_empty()).then(|| open[nth % open.len()].clone()) else { return };
        self.persons.0.insert(key.clone(), Said::Unknown);
        let (done, answer) = oneshot::channel();
        let change = acknowledged(&key, taken, None);
        if process.queue.push(Command::Acknowledge(change, done)).is_ok() {
            process.acknowledging.push((key, taken, answer));
        }
        self.poke();
    }

    /// A bug: PagerDuty accepted a page, and its webhook about that counts as an acknowledgement.
    pub fn misread(&mut self, lane: usize, report: &Report) {
        if self.bug != Some(Bug::TriggerAcknowledges) || lane != 0 || report.outcome != Outcome::Accepted {
            return;
        }
        let page = self.attempts.iter().rev().map(|attempt| &attempt.notification);
        let page = page.clone().find(|n| n.id == report.id && n.kind == Kind::Page);
        if let (Some(page), Some(process)) = (page, &self.process) {
            let change = acknowledged(&page.dedup_key, true, Some("pagerduty"));
            let _ = process.queue.push(Command::Acknowledge(change, oneshot::channel().0));
        }
    }

    /// Squelch does not repeat an incident that a person acknowledged, or whose alerts are inhibited. Slack
    /// takes no updates, so it learns of changes from repeats alone.
    pub fn waits_for_repeat(&self, lane: usize, alert: AlertId) -> bool {
        let inhibits = self.setup.overlaps && self.truth[0].fires();
        let mut keys = self.pagers.keys(0, alert).chain(self.pagers.keys(1, alert));
        lane == 1
            && (inhibits && self.pagers.lists_another(alert)
                || keys.any(|key| self.persons.0.contains_key(key)))
    }

    /// The second receiver shows each critical alert whose incident no person touched. PagerDuty shows what a
    /// person acknowledged as acknowledged.
    pub fn check_escalation(&self, engine: &Engine, statuses: &[(AlertId, String)]) -> Vec<String> {
        if !self.setup.escalates {
            return Vec::new();
        }
        let query = IncidentQuery { limit: 1_000, ..IncidentQuery::default() };
        let open = engine.query().open_incidents(&query).found;
        let paged: BTreeMap<String, Timestamp> = open
            .into_iter()
            .map(|one| (one.row.standing.incident.unwrap_or_default().to_string(), one.row.since))
            .collect();
        let late = |key: &String| paged.get(key).is_some_and(|at| *at + IN_TIME < engine.now());
        let mut findings = Vec::new();
        for i in (0..ALERTS).filter(|i| i % 3 == 0 && self.truth[*i].fires()) {
            let (id, status) = &statuses[i];
            let lane = if i % 4 == 3 { 2 } else { 0 };
            let mut keys = self.pagers.keys(lane, *id).peekable();
            let untouched =
                keys.peek().is_some() && keys.all(|key| late(key) && !self.persons.0.contains_key(key));
            if status == "firing" && untouched && !self.may_be_inhibited(i) && !self.pagers.shows(LEAD, *id) {
                findings.push(format!(
                    "critical alert {i} fires unacknowledged, and the second receiver does not show it"
                ));
            }
        }
        let taken = self.persons.0.iter().filter(|(_, said)| **said == Said::Taken).map(|(key, _)| key);
        let unaware = taken.filter(|key| self.pagers.is_acknowledged(key) == Some(false));
        findings
            .extend(unaware.map(|key| format!("a person acknowledged {key}, and PagerDuty was not told")));
        findings
    }
}

fn acknowledged(key: &str, taken: bool, via: Option<&str>) -> Acknowledgement {
    Acknowledgement::Incident(Acknowledge {
        dedup_key: key.into(),
        receivers: vec!["oncall".into()],
        by: taken.then(|| "ada".into()),
        via: via.map(Into::into),
    })
}
