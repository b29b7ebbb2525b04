//! The storm of the demo: the same one each time, as a pair of Alertmanagers would report it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::model::{Status, Timestamp};

/// The storm is written for this many seconds. Other lengths scale it.
pub const SECONDS: u64 = 60;

/// How many instances lose their database at once.
pub const FAN_OUT: u64 = 27;

/// The alert that must reach a human through all of it.
pub const PLANTED: &str = "PaymentsDown";

/// One change that an Alertmanager tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StormStep {
    /// Milliseconds after the beginning, in a storm of [`SECONDS`].
    pub at: u64,
    /// Which alert.
    pub alert: StormAlert,
    /// Whether it fires from now on. The same value again is a repeat.
    pub firing: bool,
}

/// An alert of the storm.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StormAlert {
    /// `alertname`
    pub name: &'static str,
    /// `service`
    pub service: &'static str,
    /// `instance`
    pub instance: String,
    /// `severity`
    pub severity: &'static str,
}

/// Every step, in order of time.
pub fn steps() -> Vec<StormStep> {
    let mut steps = Vec::new();
    let mut say =
        |at: u64, alert: &StormAlert, firing| steps.push(StormStep { at, alert: alert.clone(), firing });
    let alert = |name, service, instance: String, severity| StormAlert { name, service, instance, severity };

    let disk = alert("DiskFillsInADay", "archive", "archive-1".into(), "warning");
    for second in (1..52).step_by(4) {
        say(second * 1000, &disk, true);
    }
    say(52_000, &disk, false);

    let queue = alert("QueueDepthHigh", "billing", "billing-1".into(), "warning");
    for second in (4..44).step_by(3) {
        say(second * 1000, &queue, true);
        say(second * 1000 + 1500, &queue, false);
    }

    for n in 1..=FAN_OUT {
        let down = alert("DatabaseUnreachable", "checkout", format!("checkout-{n}"), "warning");
        say(12_000 + n * 40, &down, true);
        say(46_000 + n * 40, &down, false);
    }

    let payments = alert(PLANTED, "payments", "payments-1".into(), "critical");
    say(12_500, &payments, true);
    say(48_000, &payments, false);

    steps.sort();
    steps
}

/// The senders: both members of a pair send everything.
pub const PEERS: [&str; 2] = ["http://alertmanager-0:9093", "http://alertmanager-1:9093"];

/// Alertmanager's webhook body for one alert, from one member of the pair.
pub fn body(step: &StormStep, peer: &str, starts_at: Timestamp, now: Timestamp) -> Value {
    let StormAlert { name, service, instance, severity } = &step.alert;
    let labels = json!({"alertname": name, "service": service, "instance": instance, "severity": severity});
    let group = json!({"alertname": name, "instance": instance});
    let status = if step.firing { Status::Firing } else { Status::Resolved }.as_str();
    let annotations = json!({"summary": format!("{name} on {instance}")});
    let ends_at = if step.firing { Timestamp::ZERO } else { now };
    json!({
        "version": "4",
        "groupKey": group_key(&step.alert),
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "squelch",
        "groupLabels": group,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": peer,
        "alerts": [{
            "status": status,
            "labels": labels,
            "annotations": annotations,
            "startsAt": starts_at,
            "endsAt": ends_at,
            "generatorURL": "",
            "fingerprint": "",
        }],
    })
}

/// The key of the group that Alertmanager makes of the alert, by `[alertname, instance]`.
fn group_key(alert: &StormAlert) -> String {
    format!("{{}}:{{alertname={:?}, instance={:?}}}", alert.name, alert.instance)
}

/// The pages without Squelch. A pager opens an incident for each group that fires. It folds notifications
/// of both members of the pair into an open one.
#[derive(Default)]
pub struct Without {
    open: BTreeSet<String>,
    /// Incidents that would have been opened, by `alertname`.
    pub opened: BTreeMap<&'static str, u64>,
}

impl Without {
    /// Counts the pages that `step` would have caused at the pager.
    pub fn tell(&mut self, step: &StormStep) {
        let key = group_key(&step.alert);
        if !step.firing {
            self.open.remove(&key);
        } else if self.open.insert(key) {
            *self.opened.entry(step.alert.name).or_default() += 1;
        }
    }

    /// All incidents that would have been opened.
    pub fn total(&self) -> u64 {
        self.opened.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_storm_is_the_same_each_time_and_ends() {
        let steps = steps();
        assert_eq!(steps, super::steps());
        assert!(steps.is_sorted_by_key(|s| s.at) && steps.iter().all(|s| s.at < SECONDS * 1000));
        let mut open = BTreeSet::new();
        for step in &steps {
            if step.firing {
                open.insert(&step.alert)
            } else {
                open.remove(&step.alert)
            };
        }
        assert_eq!(open, BTreeSet::new(), "everything resolves");
    }

    #[test]
    fn a_pager_without_squelch_folds_repeats_and_nothing_else() {
        let mut without = Without::default();
        steps().iter().for_each(|step| without.tell(step));
        let expected = [
            ("DatabaseUnreachable", FAN_OUT),
            ("DiskFillsInADay", 1),
            ("PaymentsDown", 1),
            ("QueueDepthHigh", 14),
        ];
        assert_eq!(without.opened, expected.into());
        assert_eq!(without.total(), FAN_OUT + 16);
    }

    #[test]
    fn bodies_are_read_as_alertmanagers() {
        let step = &steps()[0];
        let now = Timestamp::from_millis(1_800_000_000_000);
        let body = body(step, PEERS[0], now, now).to_string();
        let parsed = crate::ingest::webhook::parse(body.as_bytes(), "", now, &Default::default()).unwrap();
        assert!(parsed.rejects.is_empty());
        assert_eq!(parsed.batch.peer, PEERS[0]);
        assert_eq!(parsed.batch.observations.len(), 1);
    }
}
