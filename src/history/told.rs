//! The alerts that each receiver knows. They show which alerts of a notification are new to it.

use std::collections::{BTreeMap, HashMap};

use smol_str::SmolStr;

use crate::config::Policy;
use crate::model::{AlertId, AlertView, Kind, Notification, Status, Timestamp};

/// The knowledge of receivers: for each incident that is open there, the occurrences in its notifications.
///
/// Of a receiver with several integrations the first one speaks for all: they tell the same people
/// the same thing.
#[derive(Debug)]
pub struct Told {
    /// The integration that speaks for each receiver.
    voices: BTreeMap<SmolStr, SmolStr>,
    /// By receiver and dedup key.
    open: HashMap<(SmolStr, SmolStr), Vec<AlertId>>,
    /// By receiver and alert: the start of the occurrence, and the incident that it stands in.
    alerts: HashMap<(SmolStr, AlertId), (Timestamp, SmolStr)>,
}

/// The content of a notification for a reader of all earlier ones.
#[derive(Debug)]
pub struct Telling<'a> {
    /// The notification.
    pub notification: &'a Notification,
    /// Page: all of its alerts, also those that recovered while it waited. Update: those that the incident
    /// did not include yet. Digest: all that it lists, firing or not.
    pub alerts: Vec<&'a AlertView>,
    /// Those of them that no open incident of this receiver included. A digest has none.
    pub fresh: Vec<&'a AlertView>,
}

impl Told {
    /// No receiver knows anything yet.
    pub fn new(policy: &Policy) -> Self {
        let first = |r: &crate::config::Receiver| r.integrations.first().map(|i| i.name.clone());
        let voices = policy.receivers.iter().filter_map(|(name, r)| Some((name.clone(), first(r)?)));
        Told { voices: voices.collect(), open: HashMap::new(), alerts: HashMap::new() }
    }

    /// Records a notification. `None` if another integration speaks for its receiver.
    pub fn take<'a>(&mut self, notification: &'a Notification) -> Option<Telling<'a>> {
        let n = notification;
        if self.voices.get(&n.receiver) != Some(&n.integration) {
            return None;
        }
        let mut telling = Telling { notification, alerts: Vec::new(), fresh: Vec::new() };
        if n.kind == Kind::Resolve {
            self.close(n);
            return Some(telling);
        }
        if n.kind == Kind::Digest {
            telling.alerts.extend(&n.alerts);
            return Some(telling);
        }
        for alert in n.alerts.iter().filter(|a| n.kind == Kind::Page || a.status == Status::Firing) {
            let key = (n.receiver.clone(), alert.id);
            let known = self.alerts.get(&key);
            let fresh = known.is_none_or(|(start, _)| *start != alert.starts_at);
            let added = fresh || known.is_none_or(|(_, incident)| *incident != n.dedup_key);
            if fresh {
                telling.fresh.push(alert);
            }
            if added || n.kind == Kind::Page {
                telling.alerts.push(alert);
            }
            if added {
                self.alerts.insert(key, (alert.starts_at, n.dedup_key.clone()));
                self.open.entry((n.receiver.clone(), n.dedup_key.clone())).or_default().push(alert.id);
            }
        }
        Some(telling)
    }

    /// The incident is over. Its alerts that are in no other incident are forgotten.
    fn close(&mut self, n: &Notification) {
        let incident = (n.receiver.clone(), n.dedup_key.clone());
        for alert in self.open.remove(&incident).unwrap_or_default() {
            let key = (n.receiver.clone(), alert);
            if self.alerts.get(&key).is_some_and(|(_, incident)| *incident == n.dedup_key) {
                self.alerts.remove(&key);
            }
        }
    }
}
