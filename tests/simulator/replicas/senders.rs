//! Alertmanager as the replicas meet it: for each alert and integration one stream of statements. A sender
//! says a statement again until it is acknowledged or its flush has ended. The next one says how it is then.

use serde_json::json;
use squelch::ingest::webhook;
use squelch::node::Command;
use tokio::sync::oneshot;

use super::plan::{ALERTS, RESOLVED};
use super::process::Asked;
use super::world::{Due, World};
use crate::plan::{MINUTE, Millis, SECOND};
use crate::upstream::{Truth, time};

/// A sender waits so long for an answer.
const TIMEOUT: Millis = 10 * SECOND;
/// How long a flush says the same again.
const FLUSH: Millis = 15 * SECOND;
/// How often firing alerts are repeated.
const REPEAT: Millis = 5 * MINUTE;

/// A statement about an alert.
#[derive(Clone, Debug)]
pub struct Statement {
    pub number: u64,
    truth: Truth,
    began: Millis,
    attempts: u32,
}

/// One alert, sent to one address.
#[derive(Debug, Default)]
pub struct Stream {
    pub alert: usize,
    /// The replica that gets it. `None`: a load balancer picks one.
    pub target: Option<usize>,
    /// The last acknowledged statement, and its time.
    told: Option<(Truth, u64, Millis)>,
    sending: Option<Statement>,
    /// The last tried statement, which perhaps did not arrive.
    tried: Option<(Truth, u64)>,
    /// The statements that were acknowledged, in order, and whether the alert fires by them.
    pub acknowledged: Vec<(u64, bool)>,
}

fn same(a: &Truth, b: &Truth) -> bool {
    (a.starts, a.ends) == (b.starts, b.ends)
}

impl World {
    /// A flush: says how the alert stands, if that is news.
    pub fn flush(&mut self, stream: usize) {
        // At rest, flushes find nothing.
        let wait = if self.now > RESOLVED + MINUTE { 20 * SECOND } else { SECOND };
        let next = self.now + self.rng.between(wait / 2, 3 * wait);
        self.at(next, Due::Flush(stream));
        let (now, truth) = (self.now, self.truth[self.streams[stream].alert]);
        let s = &mut self.streams[stream];
        if truth.starts.is_none() || s.sending.is_some() {
            return;
        }
        let known = s
            .told
            .as_ref()
            .is_some_and(|(told, _, at)| same(told, &truth) && (!truth.fires() || now < at + REPEAT));
        // A sender does not report an alert that resolved before any report of it.
        if known || s.told.is_none() && s.tried.is_none() && !truth.fires() {
            return;
        }
        let said = s.told.as_ref().map(|(told, number, _)| (*told, *number));
        let number = [s.tried, said].into_iter().flatten().find(|(told, _)| same(told, &truth));
        let number = number.map(|(_, number)| number).unwrap_or_else(|| {
            self.numbers += 1;
            self.numbers
        });
        s.tried = Some((truth, number));
        s.sending = Some(Statement { number, truth, began: now, attempts: 0 });
        self.say(stream);
    }

    /// One attempt.
    pub fn say(&mut self, stream: usize) {
        let now = self.now;
        let Some(statement) = self.streams[stream].sending.clone() else { return };
        if now > statement.began + FLUSH {
            self.streams[stream].sending = None;
            return;
        }
        let picked = self.rng.index(self.replicas.len());
        let replica = self.streams[stream].target.unwrap_or(picked);
        let alert = self.streams[stream].alert;
        let lost = self.networks[replica];
        let listens = self.replicas[replica].process.as_ref().filter(|process| process.ending.is_none());
        let Some(process) = listens.filter(|_| lost != Some(false)) else {
            return self.say_later(stream);
        };
        let body = body(alert, &statement);
        let batch = match webhook::parse(&body, "10.0.0.9", process.clock.wall(), &Default::default()) {
            Ok(parsed) => parsed.batch,
            Err(e) => return self.findings.push(format!("a good body was refused: {e}")),
        };
        let (done, answer) = oneshot::channel();
        if process.queue.push(Command::Observe(batch, None, done)).is_err() {
            return self.say_later(stream);
        }
        let fires = if statement.truth.fires() { "fires" } else { "resolved" };
        self.note(format!("to replica {replica}: statement {}: alert {alert} {fires}", statement.number));
        *self.sent.entry(statement.number).or_default() += 1;
        self.requests += 1;
        let request = self.requests;
        let asked = Asked { stream, number: statement.number, lost: lost == Some(true), answer };
        if let Some(process) = &mut self.replicas[replica].process {
            process.asked.insert(request, asked);
        }
        self.at(now + TIMEOUT, Due::Timeout { replica, request });
        self.poke(replica, 4);
    }

    fn say_later(&mut self, stream: usize) {
        let Some(statement) = &mut self.streams[stream].sending else { return };
        statement.attempts += 1;
        let wait = (SECOND / 2 * u64::from(statement.attempts)).min(5 * SECOND);
        let at = self.now + self.rng.between(wait / 2, wait * 3 / 2);
        self.at(at, Due::Say(stream));
    }

    /// The sender hangs up.
    pub fn timeout(&mut self, replica: usize, request: u64) {
        let Some(process) = &mut self.replicas[replica].process else { return };
        if let Some(asked) = process.asked.remove(&request) {
            self.say_later(asked.stream);
        }
    }

    /// Passes on the answers of a replica.
    pub fn answers(&mut self, replica: usize) {
        let Some(process) = &mut self.replicas[replica].process else { return };
        let mut heard = Vec::new();
        process.asked.retain(|_, asked| match asked.answer.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => true,
            Ok(Ok(())) => {
                heard.push((asked.stream, asked.number, Some(asked.lost)));
                // The sender of a lost answer waits until its patience ends.
                asked.lost
            }
            Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) if !asked.lost => {
                heard.push((asked.stream, asked.number, None));
                false
            }
            _ => true,
        });
        for (stream, number, answer) in heard {
            match answer {
                Some(lost) => {
                    self.note(format!("replica {replica} acknowledges statement {number}"));
                    self.database.state().acknowledged(number);
                    if !lost {
                        self.told(stream, number);
                    }
                }
                None => self.say_later(stream),
            }
        }
    }

    fn told(&mut self, stream: usize, number: u64) {
        let now = self.now;
        let s = &mut self.streams[stream];
        let Some(statement) = s.sending.take() else { return };
        s.told = Some((statement.truth, number, now));
        s.tried = None;
        s.acknowledged.push((number, statement.truth.fires()));
    }

    /// The process is gone: connections are reset.
    pub fn hang_up(&mut self, asked: impl Iterator<Item = Asked>) {
        for asked in asked {
            self.say_later(asked.stream);
        }
    }
}

fn body(alert: usize, statement: &Statement) -> Vec<u8> {
    let truth = &statement.truth;
    let status = if truth.fires() { "firing" } else { "resolved" };
    let labels = labels(alert);
    json!({
        "receiver": "squelch",
        "status": status,
        "alerts": [{
            "status": status,
            "labels": labels,
            "annotations": {"summary": format!("alert {alert}"), "statement": statement.number.to_string()},
            "startsAt": time(truth.starts.unwrap_or(0)),
            "endsAt": truth.ends.map_or("0001-01-01T00:00:00Z".into(), time),
            "generatorURL": "http://prometheus/graph",
            "fingerprint": "0123456789abcdef",
        }],
        "groupLabels": {"instance": alert.to_string()},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "version": "4",
        "groupKey": format!("{{}}:{{instance=\"{alert}\"}}"),
        "truncatedAlerts": 0,
    })
    .to_string()
    .into_bytes()
}

pub fn labels(alert: usize) -> std::collections::BTreeMap<&'static str, String> {
    let severity = if alert.is_multiple_of(2) { "critical" } else { "warning" };
    [("alertname", "A".to_owned()), ("instance", alert.to_string()), ("severity", severity.to_owned())].into()
}

/// The streams of a run.
pub fn streams(replicas: usize, to_all: bool) -> Vec<Stream> {
    let targets = |alert| match to_all {
        true => (0..replicas).map(|n| Stream { alert, target: Some(n), ..Stream::default() }).collect(),
        false => vec![Stream { alert, ..Stream::default() }],
    };
    (0..ALERTS).flat_map(|alert| -> Vec<Stream> { targets(alert) }).collect()
}
