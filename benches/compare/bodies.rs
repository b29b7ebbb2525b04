//! The bodies, as Alertmanager and Prometheus write them, ten alerts each.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Alerts in one body.
pub const BATCH: u64 = 10;

/// How alerts come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Api {
    /// Alertmanager's webhook, version 4.
    Webhook,
    /// `POST /api/v2/alerts`.
    V2,
}

impl Api {
    pub fn title(self) -> &'static str {
        match self {
            Api::Webhook => "webhook v4",
            Api::V2 => "API v2",
        }
    }
}

/// A shape of load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Workload {
    Repeats,
    Storm,
    Resolve,
    Flapping,
    HugeGroup,
    ManyGroups,
}

impl Workload {
    pub const ALL: [Workload; 6] = [
        Workload::Repeats,
        Workload::Storm,
        Workload::Resolve,
        Workload::Flapping,
        Workload::HugeGroup,
        Workload::ManyGroups,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Workload::Repeats => "steady repeats of 5,000 alerts",
            Workload::Storm => "a storm of alerts that are all new",
            Workload::Resolve => "all of them resolve",
            Workload::Flapping => "500 alerts that flap",
            Workload::HugeGroup => "new alerts, all in one group",
            Workload::ManyGroups => "new alerts, each a group of its own",
        }
    }
}

/// Bodies that bring a server into the state to be measured, and those that are measured.
pub struct Script {
    pub before: Vec<String>,
    pub measured: Vec<String>,
}

/// `alerts` observations of `workload`.
pub fn script(workload: Workload, api: Api, alerts: u64) -> Script {
    let all = |group: fn(u64) -> u64, firing: bool| {
        let alert = move |i| Said { id: i, group: group(i), firing, round: 0 };
        bodies(api, (0..alerts).map(alert))
    };
    let by_hundred = |i: u64| i / 100;
    match workload {
        Workload::Repeats => {
            Script { before: repeats(api, 5_000, 5_000), measured: repeats(api, 5_000, alerts) }
        }
        Workload::Storm => Script { before: Vec::new(), measured: all(by_hundred, true) },
        Workload::Resolve => Script { before: all(by_hundred, true), measured: all(by_hundred, false) },
        Workload::Flapping => {
            let flap = |i: u64| {
                let round = i / 500;
                Said { id: i % 500, group: i % 500 / 10, firing: round.is_multiple_of(2), round }
            };
            Script { before: Vec::new(), measured: bodies(api, (0..alerts).map(flap)) }
        }
        Workload::HugeGroup => Script { before: Vec::new(), measured: all(|_| 0, true) },
        Workload::ManyGroups => Script { before: Vec::new(), measured: all(|i| i, true) },
    }
}

/// `alerts` observations of `distinct` alerts, again and again, that only say that they fire.
pub fn repeats(api: Api, distinct: u64, alerts: u64) -> Vec<String> {
    let again = |i: u64| Said { id: i % distinct, group: i % distinct / 100, firing: true, round: 0 };
    bodies(api, (0..alerts).map(again))
}

/// A new alert of highest severity in a group of its own: it pages.
pub fn page(number: u64) -> String {
    let said = Said { id: 900_000_000 + number, group: 900_000_000 + number, firing: true, round: 0 };
    bodies(Api::V2, std::iter::once(said)).remove(0)
}

struct Said {
    id: u64,
    group: u64,
    firing: bool,
    round: u64,
}

fn bodies(api: Api, said: impl Iterator<Item = Said>) -> Vec<String> {
    let (mut bodies, mut batch) = (Vec::new(), Vec::new());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for said in said {
        batch.push(alert(api, &said, now));
        if batch.len() as u64 == BATCH {
            bodies.push(body(api, std::mem::take(&mut batch)));
        }
    }
    if !batch.is_empty() {
        bodies.push(body(api, batch));
    }
    bodies
}

fn body(api: Api, alerts: Vec<Value>) -> String {
    match api {
        Api::V2 => Value::Array(alerts).to_string(),
        Api::Webhook => json!({
            "version": "4",
            "groupKey": "{}:{cluster=\"eu-1\"}",
            "truncatedAlerts": 0,
            "status": "firing",
            "receiver": "squelch",
            "groupLabels": {"cluster": "eu-1"},
            "commonLabels": {"cluster": "eu-1", "job": "node"},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager.example:9093",
            "alerts": alerts,
        })
        .to_string(),
    }
}

fn alert(api: Api, said: &Said, now: u64) -> Value {
    let (id, started) = (said.id, now - 600 + said.round.min(500));
    let labels = json!({
        "alertname": format!("ServiceErrorRateHigh{}", said.group % 50),
        "cluster": "eu-1",
        "service": format!("service-{}", said.group),
        "namespace": format!("team-{}", said.group % 40),
        "instance": format!("10.{}.{}.{}:9100", id >> 16, (id >> 8) & 255, id & 255),
        "job": "node",
        "severity": "critical",
        "prometheus": "monitoring/k8s",
    });
    let annotations = json!({
        "summary": format!("service-{} answers with errors on instance {id}", said.group),
        "description": "More than 5% of the requests failed in the last 5 minutes; see the dashboard of the service.",
        "runbook_url": "https://runbooks.example/service-error-rate-high",
    });
    let ends = if said.firing { now + 240 } else { now - 1 };
    let mut alert = json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": rfc3339(started),
        "endsAt": rfc3339(ends),
        "generatorURL": format!("http://prometheus.example:9090/graph?g0.expr=errors%7Bgroup%3D{}%7D", said.group),
    });
    if api == Api::Webhook {
        alert["status"] = if said.firing { "firing" } else { "resolved" }.into();
        alert["fingerprint"] = format!("{id:016x}").into();
        if said.firing {
            alert["endsAt"] = "0001-01-01T00:00:00Z".into();
        }
    }
    alert
}

fn rfc3339(seconds: u64) -> String {
    jiff::Timestamp::from_second(seconds as i64).unwrap().to_string()
}
