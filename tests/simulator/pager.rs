//! The receivers: PagerDuty by the fake pager's own rules, Slack, a webhook, and the states that a person
//! must never see there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use squelch::commands::fake_pager::{self, State};
use squelch::deliver::Answer;
use squelch::model::{AlertId, Cause, Kind, Notification, NotificationId, Status, Timestamp};

use crate::outbox::{Attempt, lane_of};
use crate::plan::{LANES, Mode};

/// PagerDuty's own limit for one key, in a minute.
const RATE: u32 = 120;

/// The result of a request.
pub enum Reply {
    Answer(Answer),
    /// Nothing came back in time.
    Silence,
    /// Nothing was sent: the secret could not be read in time.
    NoSecret,
}

/// The state of a receiver under one key.
#[derive(Default, Debug)]
struct Shown {
    open: bool,
    pages: u32,
    firing: BTreeSet<AlertId>,
    /// The newest notification that closed it.
    closed_by: Option<NotificationId>,
    /// A request was taken and its answer lost: Squelch's view of it may differ.
    unsure: bool,
    /// A page was recalled, and an earlier attempt of it may have arrived.
    doubtful: bool,
    group: String,
}

/// All receivers.
pub struct Pagers {
    pub modes: [Mode; LANES],
    state: State,
    shown: BTreeMap<(usize, String), Shown>,
    /// Where each notification goes.
    places: BTreeMap<NotificationId, (usize, String)>,
    /// By group: the newest message to people that its problem goes on, and is worse.
    went_on: BTreeMap<String, NotificationId>,
    taken: BTreeSet<(usize, NotificationId)>,
    /// How often this process got a 2xx for a notification, by the time it was handed over.
    confirmed: BTreeMap<(usize, NotificationId, u64), u32>,
    pub findings: Vec<String>,
}

impl Pagers {
    pub fn new() -> Pagers {
        Pagers {
            modes: [Mode::Well; LANES],
            state: State::default(),
            shown: BTreeMap::new(),
            places: BTreeMap::new(),
            went_on: BTreeMap::new(),
            taken: BTreeSet::new(),
            confirmed: BTreeMap::new(),
            findings: Vec::new(),
        }
    }

    /// A new process knows of no answer that an earlier one got, and of no attempt that it made.
    pub fn started_anew(&mut self) {
        self.confirmed.clear();
        for place in self.places.values() {
            let shown = self.shown.entry(place.clone()).or_default();
            shown.doubtful |= shown.pages == 0 || !shown.open;
        }
    }

    /// Squelch decided a notification, or a start read it. It may take the place of a page that was taken
    /// before its recall. A page that was taken before the start may be refused now.
    pub fn issued(&mut self, n: &Notification, read: bool) {
        let recalled = n.replaces.is_some_and(|recalled| recalled.kind == Kind::Page && recalled.ambiguous);
        let doubtful = recalled || read && n.kind == Kind::Page;
        let Some(lane) = lane_of(n) else { return };
        let place = (lane, n.dedup_key.to_string());
        if doubtful {
            self.shown.entry(place.clone()).or_default().doubtful = true;
        }
        self.places.insert(n.id, place);
    }

    /// A notification came back, and an attempt at it may have been taken.
    pub fn recalled(&mut self, id: NotificationId) {
        if let Some(place) = self.places.get(&id) {
            self.shown.entry(place.clone()).or_default().doubtful = true;
        }
    }

    /// A request arrives at the receiver of its lane.
    pub fn arrives(&mut self, attempt: &Attempt, now: Timestamp) -> Reply {
        let (lane, n) = (attempt.lane, &*attempt.notification);
        let status = |status, retry_after| Reply::Answer(answer(status, retry_after, Vec::new()));
        match self.modes[lane] {
            Mode::Fails => status(500, None),
            Mode::Later => status(503, Some(20)),
            Mode::Limits => status(429, None),
            Mode::Refuses => status(400, None),
            Mode::Hangs => {
                // Squelch cannot know whether it was taken.
                self.shown.entry((lane, n.dedup_key.to_string())).or_default().unsure = true;
                Reply::Silence
            }
            // The 200 of PagerDuty or of a webhook is the truth, with any body.
            Mode::Lies if lane != 1 => status(500, None),
            Mode::Lies => Reply::Answer(answer(200, None, b"{\"error\": \"try later\"}".to_vec())),
            Mode::Well => self.takes(attempt, now, true),
            Mode::TakesAndHangs => {
                self.takes(attempt, now, false);
                Reply::Silence
            }
            Mode::Gateway => {
                self.takes(attempt, now, false);
                status(502, None)
            }
            Mode::Puzzles => with_body(self.takes(attempt, now, true), b"<p>thanks</p>", false),
            Mode::NoBody => with_body(self.takes(attempt, now, true), b"", true),
        }
    }

    fn takes(&mut self, attempt: &Attempt, now: Timestamp, heard: bool) -> Reply {
        let (lane, n, flagged) = (attempt.lane, &*attempt.notification, attempt.flagged);
        let (url, body) = &attempt.request;
        let reply = match lane {
            0 if url.ends_with("/v2/change/enqueue") => fake_pager::change(&mut self.state, body),
            0 => fake_pager::enqueue(&mut self.state, body, RATE, now),
            1 => {
                let message = serde_json::from_slice::<Value>(body).unwrap_or_default();
                if flagged && !message.to_string().contains("(possible repeat)") {
                    self.findings.push(format!("Slack is not told that {} may be a repeat", n.id.0));
                }
                self.state.message(message, now);
                (200, Value::Null)
            }
            _ => (200, Value::Null),
        };
        if (200..300).contains(&reply.0) {
            self.judge(lane, n, flagged, heard);
            let times = self.confirmed.entry((lane, n.id, attempt.push)).or_default();
            *times += u32::from(heard);
            if *times > attempt.most {
                let (kind, id, most) = (n.kind.as_str(), n.id.0, attempt.most);
                self.findings.push(format!(
                    "destination {lane}, {kind} {id}: taken {times} times with a 2xx, where {most} may be"
                ));
            }
        } else if reply.0 != 429 {
            self.findings.push(format!("destination {lane} refuses {}: {} {}", n.id.0, reply.0, reply.1));
        }
        let body = if lane == 1 { b"ok".to_vec() } else { reply.1.to_string().into_bytes() };
        Reply::Answer(answer(reply.0, None, body))
    }

    /// Compares the accepted notifications of a receiver with the promises.
    fn judge(&mut self, lane: usize, n: &Notification, flagged: bool, heard: bool) {
        let again = !self.taken.insert((lane, n.id));
        let key: String = n.dedup_key.chars().take(8).collect();
        let mut found = |what: &str| {
            self.findings.push(format!(
                "destination {lane}, {} {} of {key}: {what}",
                n.kind.as_str(),
                n.id.0
            ));
        };
        if again && !flagged {
            found("taken twice, and not marked as a possible repeat");
        }
        if n.kind == Kind::Digest {
            return;
        }
        // People take the message about a worse problem for one about the same problem, whose end is the
        // end of both.
        if lane == 1 && n.kind == Kind::Page && goes_on(&n.cause) {
            let same = |((l, _), s): &(&(usize, String), &mut Shown)| *l == lane && s.group == *n.group_key;
            for (_, shown) in self.shown.iter_mut().filter(same) {
                (shown.open, shown.unsure) = (false, true);
            }
            self.went_on.insert(n.group_key.to_string(), n.id);
        }
        // People go by the newest message about an alert, whichever incident it is of.
        if lane == 1 {
            let others = |((l, key), _): &(&(usize, String), &mut Shown)| *l == lane && *key != *n.dedup_key;
            for (_, shown) in self.shown.iter_mut().filter(others).filter(|(_, shown)| shown.open) {
                shown.firing.retain(|id| !n.alerts.iter().any(|alert| alert.id == *id));
                if shown.firing.is_empty() {
                    (shown.open, shown.unsure) = (false, true);
                }
            }
        }
        let shown = self.shown.entry((lane, n.dedup_key.to_string())).or_default();
        shown.group = n.group_key.to_string();
        let stale = shown.closed_by.is_some_and(|closed| n.id < closed);
        match n.kind {
            Kind::Acknowledge if stale => found("comes after the resolve that followed it"),
            Kind::Acknowledge if shown.pages == 0 && !shown.unsure => found("comes before its page"),
            Kind::Page | Kind::Update if stale => found("comes after the resolve that followed it"),
            Kind::Page if shown.open && !again && !shown.unsure && !shown.doubtful => {
                found("is silent: its key is open")
            }
            Kind::Update if shown.pages == 0 => found("comes before its page"),
            Kind::Update if !shown.open && !again && !shown.unsure && !shown.doubtful => {
                found("reopens what was closed");
            }
            Kind::Resolve if shown.unsure || shown.doubtful => {}
            Kind::Resolve if shown.pages == 0 => found("overtakes its page"),
            Kind::Resolve if !shown.open && !again => found("closes what is closed"),
            Kind::Page | Kind::Update | Kind::Resolve | Kind::Digest | Kind::Acknowledge => {}
        }
        if n.kind == Kind::Acknowledge {
            return;
        }
        shown.unsure |= !heard;
        // The message about the worse problem may have overtaken this one.
        let overtaken = lane == 1 && self.went_on.get(&*n.group_key).is_some_and(|went_on| n.id < *went_on);
        shown.unsure |= overtaken;
        shown.open = n.kind != Kind::Resolve && !overtaken;
        shown.pages += u32::from(n.kind == Kind::Page);
        if n.kind == Kind::Resolve {
            shown.closed_by = shown.closed_by.max(Some(n.id));
            shown.doubtful = false;
        }
        shown.firing = n.alerts.iter().filter(|a| a.status == Status::Firing).map(|a| a.id).collect();
    }

    /// The process died. Of the requests that were on their way, this one was lost.
    pub fn unheard(&mut self, lane: usize, n: &Notification) {
        if let Some(shown) = self.shown.get_mut(&(lane, n.dedup_key.to_string())) {
            shown.unsure = true;
        }
    }

    /// Whether an open incident at `lane` says that `alert` fires.
    pub fn shows(&self, lane: usize, alert: AlertId) -> bool {
        self.shown.iter().any(|((l, _), s)| *l == lane && s.open && s.firing.contains(&alert))
    }

    /// The keys that are open at `lane`. PagerDuty's are the fake pager's, not this file's own count.
    pub fn open(&self, lane: usize) -> Vec<String> {
        if lane == 0 {
            let open = self.state.incidents().into_iter().filter(|i| i.closed_at.is_none());
            return open.map(|i| i.dedup_key).collect();
        }
        let open = self.shown.iter().filter(|((l, _), s)| *l == lane && s.open);
        open.map(|((_, key), _)| key.clone()).collect()
    }

    /// The keys of the open incidents at `lane` that say that `alert` fires.
    pub fn keys(&self, lane: usize, alert: AlertId) -> impl Iterator<Item = &String> {
        let says =
            move |((l, _), s): &(&(usize, String), &Shown)| *l == lane && s.open && s.firing.contains(&alert);
        self.shown.iter().filter(says).map(|((_, key), _)| key)
    }

    /// Whether Slack shows `alert` in an incident that is open at PagerDuty for the sake of others.
    pub fn lists_another(&self, alert: AlertId) -> bool {
        let others = |key: &String| {
            let there = self.shown.get(&(0, key.clone())).filter(|shown| shown.open);
            there.is_some_and(|shown| shown.firing.iter().any(|other| *other != alert))
        };
        self.keys(1, alert).any(others)
    }

    /// How many incidents `lane` was ever shown.
    pub fn at(&self, lane: usize) -> u64 {
        self.shown.keys().filter(|(l, _)| *l == lane).count() as u64
    }

    /// Whether PagerDuty shows the open incident of a key as acknowledged. `None` = none is open.
    pub fn is_acknowledged(&self, key: &str) -> Option<bool> {
        let open = self.state.incidents().into_iter().find(|i| i.closed_at.is_none() && i.dedup_key == key);
        open.map(|incident| incident.acknowledged)
    }

    /// How many incidents were opened at PagerDuty.
    pub fn opened(&self) -> usize {
        self.state.incidents().len()
    }
}

/// Whether a page says that its problem was notified before.
fn goes_on(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::HigherSeverity { .. }
            | Cause::MoreAlerts { .. }
            | Cause::StillFiring { .. }
            | Cause::IntegrationsReplaced
    )
}

fn answer(status: u16, retry_after: Option<u64>, body: Vec<u8>) -> Answer {
    Answer::new(status, retry_after.map(std::time::Duration::from_secs), body)
}

/// The same status with another body, or with one that does not come. A refusal stays as it is.
fn with_body(reply: Reply, body: &[u8], truncated: bool) -> Reply {
    match reply {
        Reply::Answer(given) if (200..300).contains(&given.status) => {
            let mut other = answer(given.status, None, body.to_vec());
            other.truncated = truncated;
            Reply::Answer(other)
        }
        reply => reply,
    }
}
