//! The acts of the plan: faults and their ends, changes of the world, and the operator.

use squelch::config::Policy;
use squelch::ingest::webhook;
use squelch::model::{Duration, Silence, SilenceRequest, parse_matchers};
use squelch::node::Command;
use tokio::sync::oneshot;

use crate::bugs::Bug;
use crate::plan::{Act, END, FLOOD, LANES, Millis, Mode, PEERS};
use crate::policy::configuration;
use crate::upstream::Truth;
use crate::world::{Due, World};

impl World {
    pub fn act(&mut self, act: Act) {
        self.note(format_args!("{act:?}"));
        let over = match &act {
            Act::Fire(i) => {
                if !self.truth[*i].fires() {
                    self.truth[*i] = Truth { starts: Some(self.now), ends: None };
                    self.evaluate();
                }
                None
            }
            Act::Resolve(i) => {
                if self.truth[*i].fires() {
                    self.truth[*i].ends = Some(self.now);
                    self.evaluate();
                }
                None
            }
            Act::Crash { down, again } => {
                if self.process.is_some() {
                    self.armed = *again;
                    self.crash(*down);
                }
                None
            }
            Act::Restart { down } => {
                self.stop(*down);
                None
            }
            Act::Write(write) => {
                self.disk.plan(*write);
                None
            }
            Act::DiskFull(lasts) => {
                self.disk.state().full = true;
                Some(*lasts)
            }
            Act::DiskSlow { lasts, commit } => {
                self.commit = *commit;
                Some(*lasts)
            }
            Act::Receiver { lane, mode, lasts } => {
                self.pagers.modes[*lane] = *mode;
                // An error that Slack has no name for is a refusal after three attempts.
                self.refused |= matches!(*mode, Mode::Refuses | Mode::Lies);
                Some(*lasts)
            }
            Act::Alertmanager { member, down, remembers } => {
                if let Some(am) = self.members.get_mut(*member) {
                    am.dies(*remembers);
                }
                Some(*down)
            }
            Act::Blind { peer, lasts } => {
                let since = Some(self.now);
                match self.members.get_mut(*peer) {
                    Some(am) => am.blind = since,
                    None => self.blind[*peer] = since,
                }
                Some(*lasts)
            }
            Act::Partition(lasts) => {
                self.partition = true;
                Some(*lasts)
            }
            Act::Cut { member, answers, lasts } => {
                self.cut[*member] = Some(*answers);
                Some(*lasts)
            }
            Act::Jump { by, lasts } => {
                self.offset = *by;
                self.jumped |= *by > 0;
                self.set_time(self.now);
                Some(*lasts)
            }
            Act::Stop(lasts) => {
                self.busy_until = self.busy_until.max(self.now + lasts);
                None
            }
            Act::Silence { matchers, lasts } => {
                self.silence(*matchers, *lasts);
                None
            }
            Act::Vanish { alert, lasts } => {
                self.vanished.insert(*alert);
                Some(*lasts)
            }
            Act::Reload(policy) => {
                self.reload(*policy);
                None
            }
            Act::FileHangs { lane, lasts } => {
                self.files[*lane] = true;
                Some(*lasts)
            }
            Act::LogUnread(lasts) => {
                self.log.unread = true;
                Some(*lasts)
            }
            Act::Acknowledge { nth, taken } => {
                self.acknowledge(*nth, *taken);
                None
            }
            Act::Replay => {
                self.replay();
                None
            }
            Act::Flood(number) => {
                self.flood(*number);
                None
            }
            Act::Crowd { alerts, lasts } => {
                self.crowd(*alerts, *lasts);
                None
            }
        };
        if let Some(lasts) = over {
            self.at(self.now + lasts, Due::Over(act));
        }
    }

    /// A fault is over. One of its kind that began later goes with it.
    pub fn over(&mut self, act: &Act) {
        match act {
            Act::DiskFull(_) => self.disk.state().full = false,
            Act::DiskSlow { .. } => self.commit = 3,
            Act::Receiver { lane, .. } => self.pagers.modes[*lane] = Mode::Well,
            Act::Alertmanager { member, .. } => {
                if let Some(am) = self.members.get_mut(*member) {
                    am.up = true;
                }
                self.evaluate();
            }
            Act::Blind { peer, .. } => {
                match self.members.get_mut(*peer) {
                    Some(am) => am.blind = None,
                    None => self.blind[*peer] = None,
                }
                self.evaluate();
            }
            Act::Partition(_) => self.partition = false,
            Act::Cut { member, .. } => self.cut[*member] = None,
            Act::Jump { .. } => self.offset = 0,
            Act::FileHangs { lane, .. } => self.file_answers(*lane),
            Act::LogUnread(_) => self.log.unread = false,
            Act::Vanish { alert, .. } => {
                self.vanished.remove(alert);
                self.evaluate();
            }
            _ => {}
        }
    }

    pub fn becalm(&mut self) {
        self.note("all is well from here");
        self.calm = true;
        (self.partition, self.cut, self.commit, self.offset) = (false, [None; PEERS], 3, 0);
        self.blind = [None; PEERS];
        self.pagers.modes = [Mode::Well; LANES];
        self.vanished.clear();
        self.log.unread = false;
        (0..LANES).for_each(|lane| self.file_answers(lane));
        self.armed = None;
        let mut disk = self.disk.state();
        (disk.full, disk.next) = (false, None);
        drop(disk);
        self.members.iter_mut().for_each(|am| (am.up, am.blind) = (true, None));
        if self.process.is_none() {
            self.at(self.now, Due::Start);
        }
        self.evaluate();
    }

    pub fn reload(&mut self, policy: usize) {
        let Some(process) = &self.process else {
            self.policy = policy;
            return;
        };
        let (done, _) = oneshot::channel();
        let told = Box::new(self.made(policy));
        if process.queue.push(Command::Policy(told, done)).is_ok() {
            self.policy = policy;
            self.poke();
        }
    }

    /// The configuration that a start reads.
    pub fn in_force(&self) -> Policy {
        self.made(self.policy)
    }

    fn made(&self, number: usize) -> Policy {
        let mut policy = configuration(number, self.setup.overlaps, self.setup.escalates).policy.clone();
        if self.bug == Some(Bug::InhibitionWithoutSource) {
            // Any alert that fires stands for the source.
            policy.inhibit_rules.iter_mut().for_each(|rule| rule.source_matchers.clear());
        }
        if self.bug == Some(Bug::LimitForgotten) {
            policy.limits.alerts = u64::MAX;
        }
        policy
    }

    /// No caller waits for the answers. Four alerts are the same each time, and fire for a moment.
    fn flood(&mut self, number: u64) {
        let Some(process) = &self.process else { return };
        let now = process.clock.wall();
        for again in 0..3 {
            let alert = |k: usize| {
                let same = k < 4;
                let name = if same { format!("same-{k}") } else { format!("{number}-{k}") };
                let status = if same && again == 0 { "firing" } else { "resolved" };
                serde_json::json!({
                    "status": status,
                    "labels": {"alertname": "Flood", "instance": name, "severity": "info", "team": "flood"},
                    "startsAt": (now - Duration::from_mins(2)).to_string(),
                    "endsAt": now.to_string(),
                })
            };
            let alerts: Vec<_> = (0..FLOOD).map(alert).collect();
            let body =
                serde_json::json!({"version": "4", "externalURL": "http://stranger", "alerts": alerts});
            match webhook::parse(body.to_string().as_bytes(), "10.0.0.8", now, &Default::default()) {
                Ok(parsed) => {
                    let _ = process.queue.push(Command::Observe(parsed.batch, None, oneshot::channel().0));
                }
                Err(e) => self.findings.push(format!("a good body was refused: {e}")),
            }
        }
        self.poke();
    }

    pub fn replay(&mut self) {
        let letters = self.disk.state().dead_letters();
        let Some(process) = &mut self.process else { return };
        for id in letters {
            let (done, answer) = oneshot::channel();
            if process.queue.push(Command::Replay(id, done)).is_ok() {
                process.replays.push(answer);
            }
        }
        self.poke();
    }

    pub fn silence(&mut self, matchers: usize, lasts: Millis) {
        let Some(process) = &self.process else { return };
        let now = process.clock.now();
        let endless = self.bug == Some(Bug::SilenceWithoutEnd);
        let text = ["alertname=A", "severity=warning", "instance=~[0-4]"][matchers];
        let request = SilenceRequest::Set(Silence {
            id: "".into(),
            matchers: vec![parse_matchers(text).unwrap_or_default()],
            starts_at: now,
            ends_at: now + Duration::from_millis(if endless { END } else { lasts }),
            updated_at: now,
            created_by: "operator".into(),
            comment: "work".into(),
        });
        let (done, _) = oneshot::channel();
        let _ = process.queue.push(Command::Silence(request, done));
        self.poke();
    }
}
