//! Conformance: the same group through the real Alertmanager and through Squelch, each to a sink of its own.
//! A test compares the requests field by field, and lists each difference that Squelch intends.

mod chats;
mod pagers;
pub(crate) mod sink;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use squelch::model::{Duration, Timestamp};

use crate::e2e::child::{Child, free_port};
use crate::e2e::sender::now;
use crate::e2e::squelch::{Home, PROGRAM};
use crate::e2e::{http, until};
use sink::Sink;
pub use sink::{Answered, Request};

/// The URL under which people reach either program.
const EXTERNAL_URL: &str = "http://alertmanager.example.org";

/// One receiver under test.
pub struct Case {
    /// The integrations of the receiver as YAML. Both programs read them as they stand. `SINK` is where the
    /// sink listens, and `FOLDER` the folder of the configuration. That folder has `ca.pem`, which the sink
    /// shows as a proxy for https.
    pub integrations: &'static str,
    /// How the sink answers.
    pub answer: fn(&Request) -> Answered,
    /// How many requests Alertmanager makes while the group fires, and when it has resolved.
    pub theirs: [usize; 2],
    /// How many Squelch makes.
    pub ours: [usize; 2],
    /// The alerts of the group, from their start until this end.
    pub group: fn(Timestamp, Timestamp) -> Value,
}

/// The requests of both programs, those of the firing group first.
pub struct Requests {
    theirs: [Vec<Value>; 2],
    ours: [Vec<Value>; 2],
}

/// Where the two differ, by the path of the value: `firing/0/body/alias`.
pub type Differences = BTreeMap<String, (Option<Value>, Option<Value>)>;

impl Case {
    /// A receiver that makes one request for each notification, and is answered 200 with this body.
    pub fn new(integrations: &'static str, answer: fn(&Request) -> Answered) -> Case {
        Case { integrations, answer, theirs: [1, 1], ours: [1, 1], group }
    }

    /// Runs both programs. `None` where no Alertmanager is installed.
    pub async fn run(self) -> Option<Requests> {
        let (theirs, ours) = tokio::join!(Run::start(&self, "alertmanager"), Run::start(&self, "squelch"));
        let (theirs, ours) = (theirs?, ours?);
        // Alertmanager sends a group whose alerts are older than group_wait with its first alert alone.
        let began = now();
        let (theirs, ours) =
            tokio::join!(theirs.through(&self, self.theirs, began), ours.through(&self, self.ours, began));
        Some(Requests { theirs, ours })
    }

    /// Runs both programs and fails unless they differ exactly where `intended` says. Each entry has the path
    /// of a value and the reason. A path that ends in `*` stands for all that begin like it.
    pub async fn differs_only(self, intended: &[(&str, &str)]) {
        if let Some(requests) = self.run().await {
            requests.differ_only(intended);
        }
    }
}

impl Requests {
    /// See [`Case::differs_only`].
    pub fn differ_only(&self, intended: &[(&str, &str)]) {
        let differences = self.differences();
        let matches = |path: &str, pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == pattern,
        };
        let unexpected: Differences = differences
            .clone()
            .into_iter()
            .filter(|(path, _)| !intended.iter().any(|(pattern, _)| matches(path, pattern)))
            .collect();
        assert!(unexpected.is_empty(), "theirs and ours differ in:\n{unexpected:#?}");
        for (pattern, reason) in intended {
            let used = differences.keys().any(|path| matches(path, pattern));
            assert!(used, "{pattern} does not differ any more ({reason}); remove it from the list");
        }
    }

    /// Each value in which they differ: theirs and ours.
    pub fn differences(&self) -> Differences {
        let (mut theirs, mut ours) = (BTreeMap::new(), BTreeMap::new());
        for (i, name) in ["firing", "resolved"].into_iter().enumerate() {
            flatten(name, &json!(self.theirs[i]), &mut theirs);
            flatten(name, &json!(self.ours[i]), &mut ours);
        }
        let paths: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        let pair = |path: &String| (path.clone(), (theirs.get(path).cloned(), ours.get(path).cloned()));
        paths.into_iter().map(pair).filter(|(_, (theirs, ours))| !same(theirs, ours)).collect()
    }
}

/// Whether two values are equal. The two programs take their requests a moment apart, so times may be too.
fn same(theirs: &Option<Value>, ours: &Option<Value>) -> bool {
    let time = |value: &Option<Value>| squelch::model::Timestamp::parse(value.as_ref()?.as_str()?).ok();
    match (time(theirs), time(ours)) {
        (Some(theirs), Some(ours)) => theirs.as_millis().abs_diff(ours.as_millis()) < 60_000,
        _ => theirs == ours,
    }
}

/// The leaves of a value by their path. An empty list or object is a leaf.
fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| flatten(&format!("{path}/{name}"), value, into));
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(i, value)| flatten(&format!("{path}/{i}"), value, into));
        }
        leaf => {
            into.insert(path.to_owned(), leaf.clone());
        }
    }
}

/// A program that runs in front of its sink.
struct Run {
    _child: Child,
    _home: Home,
    address: std::net::SocketAddr,
    sink: Sink,
}

impl Run {
    async fn start(case: &Case, program: &str) -> Option<Run> {
        let sink = Sink::start(case.answer).await;
        let home = Home::new("");
        std::fs::write(home.path("ca.pem"), sink.authority()).unwrap();
        let folder = home.path("").display().to_string();
        let integrations = case.integrations.replace("SINK", &sink.address.to_string());
        let integrations = integrations.replace("FOLDER", folder.trim_end_matches('/'));
        let config = format!(
            "\
route: {{receiver: all, group_by: [alertname, cluster], group_wait: 1s, group_interval: 1s}}
receivers:
- name: all
{}
",
            integrations.lines().map(|line| format!("  {line}\n")).collect::<String>()
        );
        let (child, address) = match program {
            "alertmanager" => alertmanager(&home, &config).await?,
            _ => squelch(&home, &config).await,
        };
        Some(Run { _child: child, _home: home, address, sink })
    }

    /// Sends the group while it fires and when it has resolved, and takes so many requests of each.
    async fn through(self, case: &Case, counts: [usize; 2], began: Timestamp) -> [Vec<Value>; 2] {
        let mut taken = [Vec::new(), Vec::new()];
        let mut before = 0;
        for (i, count) in counts.into_iter().enumerate() {
            let end = if i == 0 { now() + Duration::from_hours(1) } else { now() };
            let body = (case.group)(began, end).to_string();
            let answer = http::post(self.address, "/api/v2/alerts", body.as_bytes()).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.body);
            let whole = before + count;
            until(&format!("{whole} requests"), async || (self.sink.count() >= whole).then_some(())).await;
            taken[i] = self.sink.requests().split_off(before);
            assert_eq!(taken[i].len(), count, "{:#?}", taken[i]);
            before = whole;
        }
        taken
    }
}

async fn alertmanager(home: &Home, config: &str) -> Option<(Child, std::net::SocketAddr)> {
    let file = home.path("alertmanager.yml");
    std::fs::write(&file, config).unwrap();
    let port = free_port();
    let args = [
        format!("--config.file={}", file.display()),
        format!("--storage.path={}", home.path("alertmanager").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        format!("--web.external-url={EXTERNAL_URL}"),
        "--cluster.listen-address=".to_owned(),
        "--log.level=debug".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let child = Child::start("alertmanager", "prometheus-alertmanager", &args)?;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let ready = async || http::get(address, "/-/ready").await.ok().filter(|a| a.status == 200);
    until("Alertmanager is ready", ready).await;
    Some((child, address))
}

async fn squelch(home: &Home, config: &str) -> (Child, std::net::SocketAddr) {
    // A resolve leaves at once, as Alertmanager's does.
    home.configure(&format!(
        "{config}noise: {{default: {{resolve_hold: 0s, digest: 0s}}}}\nself_check: {{enabled: false}}\n"
    ));
    let mut args = home.args("127.0.0.1:0".parse().unwrap()).to_vec();
    args.push(format!("--web.external-url={EXTERNAL_URL}"));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let squelch = Home::ready(Child::start("squelch", PROGRAM, &args).unwrap()).await;
    (squelch.child, squelch.address)
}

/// Two alerts of one group, with characters in them that formats escape.
fn group(began: Timestamp, end: Timestamp) -> Value {
    let alert = |instance: &str, summary: &str, after: u64| {
        json!({
            "labels": {
                "alertname": "DiskFull", "cluster": "eu", "severity": "critical", "instance": instance,
            },
            "annotations": {
                "summary": summary,
                "description": "näh: 97 %",
                "runbook_url": "http://runbooks.example.org/disk",
            },
            "startsAt": began + Duration::from_millis(after),
            "endsAt": end,
            "generatorURL": "http://prom.example.org/graph?g0.expr=x",
        })
    };
    json!([alert("a:9100", "disk is <full> & \"quoted\"", 0), alert("b:9100", "other", 100)])
}
