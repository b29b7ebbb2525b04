//! Webhook bodies as Alertmanager writes them.

use serde_json::{Value, json};
use squelch::model::{Status, Timestamp};

/// One alert as a member of a pair sends it.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its labels, with `alertname` among them.
    pub labels: Vec<(String, String)>,
    /// When it began.
    pub starts_at: Timestamp,
    /// When it ended. `None` while it fires.
    pub ends_at: Option<Timestamp>,
}

impl Told {
    /// A critical alert that fires from now on.
    pub fn fires(name: &str, label: &str, value: &str) -> Told {
        let labels = [("alertname", name), (label, value), ("severity", "critical")];
        let labels = labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        Told { labels, starts_at: now(), ends_at: None }
    }

    /// The same, ended now.
    pub fn resolved(&self) -> Told {
        Told { ends_at: Some(now()), ..self.clone() }
    }

    fn status(&self) -> Status {
        if self.ends_at.is_some() { Status::Resolved } else { Status::Firing }
    }

    fn json(&self) -> Value {
        let labels: Value = self.labels.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        json!({
            "status": self.status().as_str(), "labels": labels, "annotations": {"summary": "it is broken"},
            "startsAt": self.starts_at, "endsAt": self.ends_at.unwrap_or(Timestamp::ZERO),
            "generatorURL": "http://prometheus:9090/graph", "fingerprint": "",
        })
    }
}

/// The body that `peer` sends about one group.
pub fn body(peer: &str, alerts: &[Told]) -> Value {
    let firing = alerts.iter().any(|a| a.status() == Status::Firing);
    let alerts: Vec<Value> = alerts.iter().map(Told::json).collect();
    json!({
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "receiver": "squelch",
        "status": if firing { "firing" } else { "resolved" },
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": peer,
        "alerts": alerts,
    })
}

/// The wall clock.
pub fn now() -> Timestamp {
    squelch::node::clock::wall()
}
