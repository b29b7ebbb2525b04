//! Alertmanagers and a Prometheus as Squelch meets them. Alertmanager's rules are those of its `dispatch`,
//! `notify` and `nflog`. A group is flushed each `group_interval`, and retried after a 5xx within the
//! flush, but never after a 4xx. It is notified again after `repeat_interval`, and forgotten with the
//! process.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use squelch::model::Timestamp;

use crate::plan::{ALERTS, MINUTE, Millis, SECOND, Setup};

pub const GROUP_INTERVAL: Millis = 15 * SECOND;
const REPEAT: Millis = 20 * MINUTE;
/// For how long Prometheus says that an alert has resolved.
const RESOLVED_FOR: Millis = 15 * MINUTE;
/// True time at the start of a run.
pub const EPOCH: i64 = 1_800_000_000_000;

/// An alert as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Truth {
    pub starts: Option<Millis>,
    pub ends: Option<Millis>,
}

impl Truth {
    pub fn fires(&self) -> bool {
        self.starts.is_some() && self.ends.is_none()
    }
}

/// Name, instance, severity and team of alert `i`.
pub fn labels(i: usize) -> [(&'static str, String); 4] {
    [
        ("alertname", ["A", "B", "C"][i / 3].into()),
        ("instance", i.to_string()),
        ("severity", ["critical", "warning", "info"][i % 3].into()),
        ("team", if i % 4 == 3 { "web" } else { "db" }.into()),
    ]
}

pub fn time(at: Millis) -> String {
    Timestamp::from_millis(EPOCH + i64::try_from(at).unwrap_or(0)).to_string()
}

/// The notification of an Alertmanager about a group.
#[derive(Clone, Debug, Default)]
pub struct Told {
    firing: BTreeSet<usize>,
    resolved: BTreeSet<usize>,
    at: Millis,
}

/// A notification under way.
#[derive(Clone, Debug)]
pub struct Flush {
    pub body: Vec<u8>,
    pub deadline: Millis,
    pub attempt: u32,
    told: Told,
    /// The content of the body, for a bug that reads too much into it.
    pub listed: Vec<usize>,
}

/// One member.
pub struct Alertmanager {
    member: usize,
    pub up: bool,
    /// Since when it gets nothing from Prometheus.
    pub blind: Option<Millis>,
    alerts: BTreeMap<usize, Truth>,
    log: BTreeMap<usize, Told>,
    pub sending: BTreeMap<usize, Flush>,
}

impl Alertmanager {
    pub fn new(member: usize) -> Alertmanager {
        let (alerts, log, sending) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Alertmanager { member, up: true, blind: None, alerts, log, sending }
    }

    pub fn dies(&mut self, remembers: bool) {
        self.up = false;
        self.alerts.clear();
        self.sending.clear();
        if !remembers {
            self.log.clear();
        }
    }

    /// Prometheus says how things are.
    pub fn hears(&mut self, truth: &[Truth; ALERTS], now: Millis) {
        if let Some(since) = self.blind {
            // Prometheus said last that they fire for four minutes.
            let passed = since + 4 * MINUTE;
            let known = self.alerts.values_mut().filter(|t| t.fires() && passed <= now);
            known.for_each(|t| t.ends = Some(passed.max(t.starts.unwrap_or(0))));
            return;
        }
        for (i, t) in truth.iter().enumerate() {
            let recent = t.ends.is_none_or(|ends| now < ends + RESOLVED_FOR);
            let known = self.alerts.contains_key(&i);
            if t.starts.is_some() && recent && (t.fires() || known || t.ends.is_some()) {
                self.alerts.insert(i, *t);
            }
        }
    }

    /// The last notification about the group.
    pub fn told(&self, group: usize) -> Option<Told> {
        self.log.get(&group).cloned()
    }

    /// Learns by gossip which notification another member sent.
    pub fn hears_of(&mut self, group: usize, told: Option<&Told>) {
        if let Some(told) = told {
            self.log.insert(group, told.clone());
        }
    }

    /// Flushes `group`, and returns the notification to send, if any.
    pub fn flush(
        &mut self,
        group: usize,
        now: Millis,
        vanished: &BTreeSet<usize>,
        setup: &Setup,
    ) -> Option<&Flush> {
        if self.sending.contains_key(&group) {
            return None;
        }
        let mine = self.alerts.iter().filter(|(i, _)| **i / 3 == group && !vanished.contains(i));
        let (firing, resolved): (Vec<_>, Vec<_>) = mine.map(|(i, t)| (*i, *t)).partition(|(_, t)| t.fires());
        let told = Told {
            firing: firing.iter().map(|(i, _)| *i).collect(),
            resolved: resolved.iter().map(|(i, _)| *i).collect(),
            at: now,
        };
        let needed = match self.log.get(&group) {
            None => !told.firing.is_empty(),
            Some(last) => {
                !told.firing.is_subset(&last.firing)
                    || (told.firing.is_empty() && !last.firing.is_empty())
                    || (!told.firing.is_empty() && !told.resolved.is_subset(&last.resolved))
                    || (!told.firing.is_empty() && last.at + REPEAT < now)
            }
        };
        if !needed || (firing.is_empty() && resolved.is_empty()) {
            if !needed {
                self.alerts.retain(|i, t| *i / 3 != group || t.fires());
            }
            return None;
        }
        let mut all: Vec<(usize, Truth)> = firing.into_iter().chain(resolved).collect();
        // Sorted by instance, not by state, and cut: alerts that are left out may fire.
        all.sort_by_key(|(i, _)| *i);
        let most = if setup.max_alerts == 0 { all.len() } else { setup.max_alerts.min(all.len()) };
        let cut = all.len() - most;
        all.truncate(most);
        let status = if all.iter().any(|(_, t)| t.fires()) { "firing" } else { "resolved" };
        let name = ["A", "B", "C"][group];
        let body = json!({
            "receiver": "squelch",
            "status": status,
            "alerts": all.iter().map(|(i, t)| alert(*i, t)).collect::<Vec<_>>(),
            "groupLabels": {"alertname": name},
            "commonLabels": {"alertname": name},
            "commonAnnotations": {},
            "externalURL": format!("http://am{}:9093", self.member),
            "version": "4",
            "groupKey": format!("{{}}:{{alertname=\"{name}\"}}"),
            "truncatedAlerts": cut,
        });
        let flush = Flush {
            body: body.to_string().into_bytes(),
            deadline: now + GROUP_INTERVAL,
            attempt: 0,
            told,
            listed: all.iter().map(|(i, _)| *i).collect(),
        };
        Some(self.sending.entry(group).or_insert(flush))
    }

    /// Squelch answered 200: it is notified, and resolved alerts are forgotten.
    pub fn delivered(&mut self, group: usize) {
        let Some(flush) = self.sending.remove(&group) else { return };
        self.alerts.retain(|i, t| !flush.told.resolved.contains(i) || t.fires());
        self.log.insert(group, flush.told);
    }
}

fn alert(i: usize, t: &Truth) -> Value {
    let labels: BTreeMap<&str, String> = labels(i).into_iter().collect();
    json!({
        "status": if t.fires() { "firing" } else { "resolved" },
        "labels": labels,
        "annotations": {"summary": format!("alert {i}")},
        "startsAt": time(t.starts.unwrap_or(0)),
        "endsAt": t.ends.map_or("0001-01-01T00:00:00Z".into(), time),
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "0123456789abcdef",
    })
}

/// The body that a stranger posts by API v2: the alerts of these numbers, which fire for so long.
pub fn crowd(numbers: std::ops::Range<u64>, now: Millis, lasts: Millis) -> Vec<u8> {
    let said = numbers.map(|n| {
        let severity = if n % 3 == 0 { "warning" } else { "info" };
        json!({
            "labels": {
                "alertname": format!("Crowd{n}"),
                "instance": format!("crowd-{n}"),
                "severity": severity,
            },
            "startsAt": time(now),
            "endsAt": time(now + lasts),
        })
    });
    Value::from_iter(said).to_string().into_bytes()
}

/// A replica of Prometheus that speaks API v2 itself.
#[derive(Clone, Copy)]
pub struct Replica {
    /// How often it speaks.
    pub rhythm: Millis,
    /// By how much its clock is off.
    pub skew: i64,
    /// Since when it sees no target.
    pub blind: Option<Millis>,
}

/// The body that it posts at `now`. `None` if there is none. `view` is what it knew of the alerts before:
/// an end that Prometheus has stated once stays.
pub fn api_v2(
    view: &mut [Truth; ALERTS],
    truth: &[Truth; ALERTS],
    now: Millis,
    replica: Replica,
) -> Option<Vec<u8>> {
    let time = |at: Millis| {
        Timestamp::from_millis(EPOCH + i64::try_from(at).unwrap_or(0) + replica.skew).to_string()
    };
    let holds = (4 * replica.rhythm).max(4 * MINUTE);
    let seen = |t: &Truth| match (replica.blind, t.starts) {
        (Some(since), Some(starts)) if since < starts => Truth::default(),
        (Some(since), Some(_)) => Truth { ends: Some(t.ends.unwrap_or(since).min(since)), ..*t },
        _ => *t,
    };
    for (mine, seen) in view.iter_mut().zip(truth.iter().map(seen)) {
        if mine.starts != seen.starts || mine.ends.is_none() || seen.ends.is_none() {
            *mine = seen;
        }
    }
    let said = view
        .iter()
        .enumerate()
        .filter(|(_, t)| t.starts.is_some() && t.ends.is_none_or(|ends| now < ends + RESOLVED_FOR));
    let said: Vec<Value> = said
        .map(|(i, t)| {
            let labels: BTreeMap<&str, String> = labels(i).into_iter().collect();
            json!({
                "labels": labels,
                "annotations": {"summary": format!("alert {i}")},
                "startsAt": time(t.starts.unwrap_or(0)),
                "endsAt": time(t.ends.unwrap_or(now + holds)),
                "generatorURL": "http://prometheus/graph",
            })
        })
        .collect();
    (!said.is_empty()).then(|| Value::from(said).to_string().into_bytes())
}
