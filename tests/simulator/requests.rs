//! The requests of upstreams, and their reactions to the answers.

use std::collections::{BTreeMap, BTreeSet};

use squelch::ingest::{api_v2, webhook};
use squelch::model::{Batch, Duration, Observation, Status};
use squelch::node::Command;
use squelch::web::Unavailable;
use tokio::sync::oneshot;

use crate::bugs::Bug;
use crate::plan::{MINUTE, Millis, SECOND, Setup};
use crate::upstream::{self, GROUP_INTERVAL, Replica, labels};
use crate::world::{Due, World};

/// Prometheus waits so long for an answer.
const TIMEOUT: Millis = 10 * SECOND;
/// The second member of a pair waits so long for the first.
const PEER_TIMEOUT: Millis = 15 * SECOND;

/// A request that waits for its answer.
struct Request {
    /// Member and group. `None` for Prometheus.
    from: Option<(usize, usize)>,
    /// Which of the senders.
    speaker: usize,
    batch: Batch,
    /// The alerts it states, and whether they fire.
    said: Vec<(usize, bool)>,
    body: Vec<u8>,
    answer: oneshot::Receiver<Result<(), Unavailable>>,
    /// The answer gets lost on its way.
    lost: bool,
}

/// All requests under way.
#[derive(Default)]
pub struct Requests {
    waiting: BTreeMap<u64, Request>,
    number: u64,
    /// For a bug: bodies that are believed to be known.
    cached: BTreeSet<Vec<u8>>,
    /// For another bug: the alerts that each group listed.
    listed: BTreeMap<(usize, usize), BTreeSet<usize>>,
    /// Groups that have a flush waiting, so that none has two.
    flushes: BTreeSet<(usize, usize)>,
    /// The last statement of each member about each alert that was acknowledged, and its time. `None` while
    /// a later statement may have been taken.
    pub words: BTreeMap<(usize, usize), Option<(bool, Millis)>>,
    pub accepted: u64,
    pub refused: u64,
    /// How many alerts strangers said that fire.
    crowd: u64,
}

/// The upstream's view of a request's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heard {
    Accepted,
    /// 503, or no connection: Alertmanager tries again at once.
    Unavailable,
}

impl World {
    /// Prometheus evaluates its rules, and notifies all Alertmanagers.
    pub fn evaluate(&mut self) {
        if self.setup.direct {
            (0..self.setup.peers).for_each(|peer| self.speak(peer));
            return;
        }
        for member in 0..self.members.len() {
            if !self.members[member].up {
                continue;
            }
            self.members[member].hears(&self.truth, self.now);
            for group in 0..3 {
                // Each group of each member has a phase of its own.
                let phase = (member as Millis * 7 + group as Millis * 4) * SECOND;
                let next = (self.now + SECOND).next_multiple_of(GROUP_INTERVAL) + phase % GROUP_INTERVAL;
                if self.requests.flushes.insert((member, group)) {
                    self.at(next, Due::Flush { member, group });
                }
            }
        }
    }

    /// A replica of Prometheus sends its alerts.
    pub fn speak(&mut self, peer: usize) {
        let Setup { rhythms, skews, .. } = self.setup;
        let replica = Replica { rhythm: rhythms[peer], skew: skews[peer], blind: self.blind[peer] };
        if let Some(body) = upstream::api_v2(&mut self.views[peer], &self.truth, self.now, replica) {
            self.post(None, peer, body, Vec::new());
        }
    }

    /// A stranger sends unknown alerts, once.
    pub fn crowd(&mut self, alerts: u64, lasts: Millis) {
        let from = self.requests.crowd;
        self.requests.crowd += alerts;
        self.post(None, 0, upstream::crowd(from..from + alerts, self.now, lasts), Vec::new());
    }

    pub fn flush(&mut self, member: usize, group: usize) {
        // The other members wait before they look at the log that gossip brings them.
        match member {
            0 => self.waited(member, group),
            _ => self.at(self.now + PEER_TIMEOUT * member as Millis, Due::Waited { member, group }),
        }
    }

    pub fn waited(&mut self, member: usize, group: usize) {
        self.requests.flushes.remove(&(member, group));
        if !self.members[member].up {
            return;
        }
        let (now, setup) = (self.now, self.setup);
        let begun = self.members[member].flush(group, now, &self.vanished, &setup).is_some();
        if begun {
            self.send(member, group);
        }
    }

    /// One attempt of a flush.
    pub fn send(&mut self, member: usize, group: usize) {
        let Some(flush) = self.members[member].sending.get_mut(&group) else { return };
        if self.now >= flush.deadline {
            // Given up until the next flush.
            self.members[member].sending.remove(&group);
            if self.requests.flushes.insert((member, group)) {
                self.at(self.now + SECOND, Due::Flush { member, group });
            }
            return;
        }
        flush.attempt += 1;
        let (body, listed) = (flush.body.clone(), flush.listed.clone());
        self.post(Some((member, group)), member, body, listed);
    }

    fn post(&mut self, from: Option<(usize, usize)>, speaker: usize, body: Vec<u8>, listed: Vec<usize>) {
        let cut = self.cut[speaker];
        let address = match from {
            Some((member, _)) => format!("10.0.0.{member}"),
            None => format!("10.0.0.{}", 9 + speaker),
        };
        let Some(process) = &self.process else {
            return self.heard(from, Heard::Unavailable);
        };
        if cut == Some(false) {
            return self.lose(from);
        }
        let now = process.clock.wall();
        let parsed = match from {
            Some(_) => webhook::parse(&body, &address, now, &Default::default()),
            None => api_v2::parse(&body, &address, now, Duration::from_mins(5), &Default::default()),
        };
        let mut batch = match parsed {
            Ok(parsed) => parsed.batch,
            Err(e) => {
                self.findings.push(format!("a good body was refused: {e}"));
                return;
            }
        };
        let said: Vec<(usize, bool)> = batch.observations.iter().filter_map(stated).collect();
        if self.bug == Some(Bug::SendersClockRules) {
            let still = |o: &&mut Observation| o.status == Status::Resolved && o.ends_at > Some(now);
            batch.observations.iter_mut().filter(still).for_each(|o| o.status = Status::Firing);
        }
        for (i, _) in &said {
            self.requests.words.insert((speaker, *i), None);
        }
        if self.bug == Some(Bug::AbsenceResolves)
            && let Some(from) = from
        {
            self.requests.resolve_absent(from, &listed, &mut batch);
        }
        if self.bug == Some(Bug::CacheTooEarly) && !self.requests.cached.insert(body.clone()) {
            self.disk.state().acknowledged(&batch);
            return self.heard(from, Heard::Accepted);
        }
        let repeats =
            || self.disk.state().engine().is_some_and(|engine| engine.query().repeats(&batch).is_some());
        if self.bug == Some(Bug::RepeatsUnheard) && repeats() {
            for (i, fires) in &said {
                self.requests.words.insert((speaker, *i), Some((*fires, self.now)));
            }
            return self.heard(from, Heard::Accepted);
        }
        let (done, answer) = oneshot::channel();
        let pushed = process.queue.push(Command::Observe(batch.clone(), None, done));
        if let Err(full) = pushed {
            self.note(format_args!("503: {full}"));
            if self.bug == Some(Bug::FullQueueAcks) {
                self.disk.state().acknowledged(&batch);
                return self.heard(from, Heard::Accepted);
            }
            return self.heard(from, Heard::Unavailable);
        }
        if self.bug == Some(Bug::AckOnArrival) {
            self.disk.state().acknowledged(&batch);
        }
        self.requests.number += 1;
        let (number, lost) = (self.requests.number, cut == Some(true));
        self.requests.waiting.insert(number, Request { from, speaker, batch, said, body, answer, lost });
        self.at(self.now + TIMEOUT, Due::Timeout(number));
        self.poke();
    }

    /// Brings the existing answers to their callers.
    pub fn answer(&mut self) {
        let mut answered = Vec::new();
        for (number, request) in &mut self.requests.waiting {
            match request.answer.try_recv() {
                Ok(answer) => answered.push((*number, answer.is_ok())),
                Err(oneshot::error::TryRecvError::Closed) => answered.push((*number, false)),
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
        }
        for (number, ok) in answered {
            let Some(request) = self.requests.waiting.remove(&number) else { continue };
            if ok {
                self.requests.accepted += 1;
                for (i, fires) in &request.said {
                    self.requests.words.insert((request.speaker, *i), Some((*fires, self.now)));
                }
                self.disk.state().acknowledged(&request.batch);
            } else {
                self.requests.refused += 1;
            }
            match (request.lost, ok) {
                (true, _) => self.lose(request.from),
                (false, true) => self.heard(request.from, Heard::Accepted),
                (false, false) => self.heard(request.from, Heard::Unavailable),
            }
        }
    }

    /// The process is gone: connections are reset.
    pub fn hang_up(&mut self) {
        for request in std::mem::take(&mut self.requests.waiting).into_values() {
            self.heard(request.from, Heard::Unavailable);
        }
    }

    pub fn timeout(&mut self, number: u64) {
        if let Some(request) = self.requests.waiting.remove(&number) {
            self.note(format_args!("no answer for {} bytes", request.body.len()));
            self.heard(request.from, Heard::Unavailable);
        }
    }

    /// No answer will come. The sender learns that when it has waited.
    fn lose(&mut self, from: Option<(usize, usize)>) {
        if let Some((member, group)) = from {
            self.at(self.now + TIMEOUT, Due::Send { member, group });
        }
    }

    fn heard(&mut self, from: Option<(usize, usize)>, heard: Heard) {
        // Prometheus counts a failure and goes on. It sends the alerts again in a minute.
        let Some((member, group)) = from else { return };
        match heard {
            Heard::Accepted => {
                self.members[member].delivered(group);
                let told = self.members[member].told(group);
                if !self.partition {
                    let others = self.members.iter_mut().enumerate();
                    let others = others.filter(|(other, am)| *other != member && am.up);
                    others.for_each(|(_, am)| am.hears_of(group, told.as_ref()));
                }
                // The next flush sees later alerts.
                if self.requests.flushes.insert((member, group)) {
                    self.at(self.now + GROUP_INTERVAL, Due::Flush { member, group });
                }
            }
            Heard::Unavailable => {
                let attempt = self.members[member].sending.get(&group).map_or(1, |f| f.attempt.min(8));
                let mut wait = 500;
                for _ in 1..attempt {
                    wait = (wait * 3 / 2).min(MINUTE);
                }
                let at = self.now + self.rng.between(wait / 2, wait * 3 / 2);
                self.at(at, Due::Send { member, group });
            }
        }
    }
}

/// Which alert an observation is about, and whether it says that it fires.
fn stated(o: &Observation) -> Option<(usize, bool)> {
    Some((o.labels.value("instance").parse().ok()?, o.status == Status::Firing))
}

impl Requests {
    /// The last statement about alert `i`, if all its senders agree and spoke since `since`.
    pub fn word(&self, i: usize, since: Millis) -> Option<bool> {
        let mut words = self.words.iter().filter(|((_, alert), _)| *alert == i).map(|(_, word)| *word);
        let first = words.next()??;
        let agreed = words.all(|word| word.is_some_and(|(fires, at)| fires == first.0 && at >= since));
        (agreed && first.1 >= since).then_some(first.0)
    }

    /// The effect of [`Bug::AbsenceResolves`] on a payload.
    fn resolve_absent(&mut self, from: (usize, usize), listed: &[usize], batch: &mut Batch) {
        let Some(example) = batch.observations.first().cloned() else { return };
        let known = self.listed.entry(from).or_default();
        for i in known.iter().filter(|i| !listed.contains(i)) {
            batch.observations.push(Observation {
                status: Status::Resolved,
                labels: squelch::model::LabelSet::from_pairs(labels(*i)),
                ends_at: Some(example.starts_at),
                ..example.clone()
            });
        }
        known.extend(listed);
    }
}
