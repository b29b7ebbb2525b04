//! One run: everything there is, in one thread, in the order of virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use squelch::model::{Duration, Notification, NotificationId, Outcome, Timestamp};
use squelch::node::clock::Reading;
use squelch::node::metrics::NodeMeter;
use squelch::node::{Command, Core, EngineClock, Flow, Outbox, Parts, Published, Queue, QueueBounds};
use tokio::sync::oneshot;

use crate::bugs::Bug;
use crate::disk::Disk;
use crate::outbox::{Attempt, Workers};
use crate::outside::{Log, Readers};
use crate::pager::{Pagers, Reply};
use crate::persons::Persons;
use crate::plan::{
    ALERTS, Act, CALM, END, LANES, MINUTE, Millis, PEERS, Plan, RESOLVED, SECOND, Setup, Write,
};
use crate::requests::Requests;
use crate::rng::Rng;
use crate::upstream::{Alertmanager, EPOCH, Truth};

/// Something that is due.
#[derive(Debug)]
pub enum Due {
    Act(Act),
    /// A fault is over.
    Over(Act),
    Start,
    /// Prometheus tells the Alertmanagers how things are.
    Evaluate,
    /// A replica of Prometheus sends to Squelch.
    Speak(usize),
    Flush {
        member: usize,
        group: usize,
    },
    /// The other member of the pair has waited, and checks whether the notification was sent.
    Waited {
        member: usize,
        group: usize,
    },
    Send {
        member: usize,
        group: usize,
    },
    Timeout(u64),
    /// An attempt's answer arrives. The number is that of the process that asked.
    Settle {
        lane: usize,
        id: NotificationId,
        reply: Reply,
        life: u64,
    },
    Arrive {
        attempt: usize,
        life: u64,
    },
    /// The time of an attempt that waits for its secret is over.
    NoSecret(usize),
    Calm,
    /// Critical alerts are paged by now.
    Soon,
    Resolve,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reply::Answer(answer) => write!(f, "{}", answer.status),
            Reply::Silence => write!(f, "no answer"),
            Reply::NoSecret => write!(f, "no secret"),
        }
    }
}

/// The answer to an acknowledgement, which comes once that is durable.
type Answer = oneshot::Receiver<Result<(), squelch::web::Unavailable>>;
type Tray = Arc<Mutex<Vec<(Notification, bool)>>>;

/// The tray in which the engine's thread puts notifications to send. Each of them must be durable.
struct Sending(Tray, Disk);

impl Outbox for Sending {
    fn send(&self, n: Notification, possible_repeat: bool) {
        self.1.state().leaves(n.id);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((n, possible_repeat));
    }
}

/// The state that dies with a crash.
pub struct Process {
    core: Core,
    pub queue: Queue,
    pub clock: Arc<EngineClock>,
    published: Arc<Published>,
    tray: Tray,
    pub replays: Vec<oneshot::Receiver<Result<(), squelch::web::ReplayError>>>,
    /// Acknowledgements that are not answered yet: the key, and whether a person took it.
    pub acknowledging: Vec<(String, bool, Answer)>,
}

/// The machine's clocks, in nanoseconds.
#[derive(Default)]
struct Clocks {
    boot: AtomicI64,
    wall: AtomicI64,
}

pub struct World {
    pub setup: Setup,
    pub bug: Option<Bug>,
    pub rng: Rng,
    pub now: Millis,
    pub process: Option<Process>,
    pub disk: Disk,
    pub truth: [Truth; ALERTS],
    pub members: Vec<Alertmanager>,
    pub vanished: BTreeSet<usize>,
    pub partition: bool,
    /// A receiver refused something for good.
    pub refused: bool,
    /// For each sender: whether requests get lost, or answers do.
    pub cut: [Option<bool>; PEERS],
    /// Of each replica of Prometheus: since when it sees no target.
    pub blind: [Option<Millis>; PEERS],
    /// The alerts as each replica of Prometheus knows them.
    pub views: [[Truth; ALERTS]; PEERS],
    pub requests: Requests,
    pub pagers: Pagers,
    pub persons: Persons,
    pub log: Log,
    /// Of each lane: whether the file of its secret hangs.
    pub files: [bool; LANES],
    readers: Readers,
    /// Attempts that wait for their secret.
    secretless: BTreeSet<usize>,
    pub unanswered: u64,
    pub workers: Workers,
    pub trace: Vec<String>,
    pub findings: Vec<String>,
    pub steps: u64,
    due: BTreeMap<(Millis, u64), Due>,
    numbers: u64,
    clocks: Arc<Clocks>,
    pub offset: i64,
    /// The wall clock was an hour ahead once: a start then takes its knowledge to be as old.
    pub jumped: bool,
    life: u64,
    pub attempts: Vec<Attempt>,
    core_due: Millis,
    lanes_due: Millis,
    pub busy_until: Millis,
    pub commit: Millis,
    pub policy: usize,
    pub calm: bool,
    pub armed: Option<Write>,
}

impl World {
    pub fn new(plan: &Plan, bug: Option<Bug>) -> World {
        let setup = plan.setup;
        let members = if setup.direct { 0 } else { setup.peers };
        let mut world = World {
            setup,
            bug,
            rng: Rng::new(setup.seed ^ 0xa5a5_a5a5),
            now: 0,
            process: None,
            disk: Disk::new(setup.sqlite, Rng::new(setup.seed ^ 0x5a5a), bug),
            truth: [Truth::default(); ALERTS],
            members: (0..members).map(Alertmanager::new).collect(),
            vanished: BTreeSet::new(),
            partition: false,
            refused: false,
            cut: [None; PEERS],
            blind: [None; PEERS],
            views: Default::default(),
            requests: Requests::default(),
            pagers: Pagers::new(),
            persons: Persons::default(),
            log: Log::new(bug),
            files: [false; LANES],
            readers: Readers::new(bug),
            secretless: BTreeSet::new(),
            unanswered: 0,
            workers: Workers::new(bug, &Arc::default()),
            trace: Vec::new(),
            findings: Vec::new(),
            steps: 0,
            due: BTreeMap::new(),
            numbers: 0,
            clocks: Arc::default(),
            offset: 0,
            jumped: false,
            life: 0,
            attempts: Vec::new(),
            core_due: 0,
            lanes_due: Millis::MAX,
            busy_until: 0,
            commit: 3,
            policy: setup.policy,
            calm: false,
            armed: None,
        };
        for (at, act) in &plan.acts {
            world.at(*at, Due::Act(act.clone()));
        }
        world.at(0, Due::Start);
        match setup.direct {
            true => (0..setup.peers).for_each(|peer| world.at(SECOND, Due::Speak(peer))),
            false => world.at(SECOND, Due::Evaluate),
        }
        world.at(CALM, Due::Calm);
        world.at(CALM + 10 * MINUTE, Due::Soon);
        world.at(RESOLVED, Due::Resolve);
        world
    }

    /// Runs to the end, or to the first finding.
    pub fn run(&mut self) {
        let mut calm_checked = false;
        while self.now <= END && self.findings.is_empty() {
            let next = self.due.first_key_value().map_or(END + 1, |((at, _), _)| *at);
            let core = if self.process.is_some() { self.core_due.max(self.busy_until) } else { Millis::MAX };
            let lanes = if self.process.is_some() { self.lanes_due.max(self.now) } else { Millis::MAX };
            let at = next.min(core).min(lanes).max(self.now);
            if at >= RESOLVED - 1 && !calm_checked {
                calm_checked = true;
                self.check_calm();
                continue;
            }
            self.set_time(at);
            if at > END {
                break;
            }
            self.steps += 1;
            if core <= at {
                self.step();
            } else if lanes <= at {
                self.pump();
            } else if let Some((_, due)) = self.due.pop_first() {
                self.handle(due);
            }
            self.collect();
        }
        if self.findings.is_empty() {
            self.check_end();
        }
    }

    pub fn at(&mut self, at: Millis, due: Due) {
        self.numbers += 1;
        self.due.insert((at.max(self.now), self.numbers), due);
    }

    pub fn note(&mut self, what: impl std::fmt::Display) {
        let now = self.now;
        self.trace.push(format!("{:>7}.{:03} {what}", now / SECOND, now % SECOND));
    }

    /// There is something in the queue: the engine's thread wakes within some milliseconds.
    pub fn poke(&mut self) {
        self.core_due = self.core_due.min(self.now + self.rng.below(4));
    }

    /// The time by the receivers' clocks, which are right.
    pub fn true_time(&self) -> Timestamp {
        Timestamp::from_millis(EPOCH + i64::try_from(self.now).unwrap_or(0))
    }

    pub fn set_time(&mut self, at: Millis) {
        self.now = at;
        let boot = i64::try_from(at).unwrap_or(0);
        self.clocks.boot.store(boot, Ordering::Relaxed);
        self.clocks.wall.store(EPOCH + boot + self.offset, Ordering::Relaxed);
    }

    fn collect(&mut self) {
        self.findings.append(&mut self.disk.state().findings);
        self.findings.append(&mut self.pagers.findings);
        self.findings.extend(self.log.step());
    }

    fn handle(&mut self, due: Due) {
        match due {
            Due::Act(act) => self.act(act),
            Due::Over(act) => self.over(&act),
            Due::Start => self.start(),
            Due::Evaluate => {
                self.evaluate();
                self.at(self.now + MINUTE, Due::Evaluate);
            }
            Due::Speak(peer) => {
                self.speak(peer);
                // Nothing of interest comes at the end, and a second is short.
                let least = if self.now > CALM + 20 * MINUTE { MINUTE } else { 0 };
                self.at(self.now + self.setup.rhythms[peer].max(least), Due::Speak(peer));
            }
            Due::Flush { member, group } => self.flush(member, group),
            Due::Waited { member, group } => self.waited(member, group),
            Due::Send { member, group } => self.send(member, group),
            Due::Timeout(number) => self.timeout(number),
            Due::Arrive { attempt, life } if life == self.life => self.arrive(attempt),
            Due::Settle { lane, id, reply, life } if life == self.life => self.settle(lane, id, &reply),
            Due::Arrive { .. } | Due::Settle { .. } => {}
            Due::NoSecret(attempt) => self.no_secret(attempt),
            Due::Calm => {
                self.check_words();
                self.becalm();
            }
            Due::Soon => self.check_soon(),
            Due::Resolve => {
                self.note("everything resolves");
                let now = self.now;
                for t in self.truth.iter_mut().filter(|t| t.fires()) {
                    t.ends = Some(now);
                }
                self.evaluate();
            }
        }
    }

    fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        if let Some(write) = self.armed.take() {
            self.disk.plan(write);
        }
        self.disk.state().died = false;
        let (clocks, raw) = (self.clocks.clone(), self.bug == Some(Bug::WallClock));
        let clock = Arc::new(EngineClock::driven_by(move || {
            let nanos = |clock: &AtomicI64| i128::from(clock.load(Ordering::Relaxed)) * 1_000_000;
            let wall = nanos(&clocks.wall);
            Reading { boot: if raw { wall } else { nanos(&clocks.boot) }, wall }
        }));
        let commands = match self.bug {
            Some(Bug::QueueWithoutBound) => usize::MAX,
            _ => self.setup.queue,
        };
        let queue = Queue::new(QueueBounds { commands, ..QueueBounds::default() });
        let meter = NodeMeter::register(&prometheus::Registry::new(), &[], &[]);
        let published = Arc::new(Published::new(meter.unwrap_or_else(|e| panic!("{e}"))));
        let (tray, disk) = (Tray::default(), self.disk.clone());
        let core = Core::start(Parts {
            source: Box::new(move || disk.open()),
            queue: queue.clone(),
            clock: clock.clone(),
            outbox: Box::new(Sending(tray.clone(), self.disk.clone())),
            published: published.clone(),
            policy: self.in_force(),
        });
        self.life += 1;
        match core {
            Ok(core) => {
                self.note("started");
                self.workers = Workers::new(self.bug, &published.recalls);
                self.process = Some(Process {
                    core,
                    queue,
                    clock,
                    published,
                    tray,
                    replays: Vec::new(),
                    acknowledging: Vec::new(),
                });
                self.pagers.started_anew();
                self.readers = Readers::new(self.bug);
                self.core_due = self.now;
                self.lanes_due = self.now;
                self.take_tray();
            }
            Err(error) => {
                // Its supervisor starts it again.
                self.note(format_args!("not started: {error}"));
                let known = { self.disk.state().excuses > 0 };
                if !known {
                    self.findings.push(format!("does not start on a disk that is well: {error}"));
                }
                self.disk.killed();
                self.at(self.now + 2 * SECOND, Due::Start);
            }
        }
    }

    /// The process is gone, and with it all that was not durable.
    pub fn crash(&mut self, down: Millis) {
        self.disk.killed();
        let Some(process) = self.process.take() else { return };
        self.note("the process is gone");
        drop(process);
        self.life += 1;
        // Notifications on their way to a receiver arrive, or do not.
        for (lane, n) in std::mem::take(&mut self.workers.under_way).into_values() {
            self.pagers.unheard(lane, &n);
        }
        self.secretless.clear();
        self.busy_until = self.now;
        self.at(self.now + down, Due::Start);
        self.hang_up();
    }

    /// SIGTERM: accepted input becomes durable, and a snapshot is taken.
    pub fn stop(&mut self, down: Millis) {
        let Some(process) = &self.process else { return };
        let (done, _) = oneshot::channel();
        let _ = process.queue.push(Command::Quiesce(done));
        let (done, _) = oneshot::channel();
        let _ = process.queue.push(Command::Stop(done));
        for _ in 0..50 {
            let Some(process) = &mut self.process else { return };
            let flow = process.core.step(Duration::ZERO);
            if self.disk.state().died {
                return self.crash(down);
            }
            self.answer();
            if flow == Flow::Stopped {
                self.note("stopped");
                return self.crash(down);
            }
        }
        self.findings.push("SIGTERM does not end it".into());
    }

    fn step(&mut self) {
        let Some(process) = &mut self.process else { return };
        let waiting = process.queue.waiting();
        if waiting > self.setup.queue {
            let most = self.setup.queue;
            self.findings.push(format!("{waiting} requests wait where {most} may"));
        }
        process.core.step(Duration::ZERO);
        if self.disk.state().died {
            let down = self.rng.between(100, 30 * SECOND);
            return self.crash(down);
        }
        self.busy_until = self.now + 1 + self.rng.below(self.commit);
        let patience = process.core.patience().as_millis().max(1);
        // At rest it would look again each ten seconds, and find nothing.
        let idle = if patience >= 10_000 && self.calm { 60 * SECOND } else { patience };
        self.core_due = self.now + idle;
        let durable = self.disk.state().fresh();
        if let Some(durable) = durable
            && process.published.trouble.load().is_none()
        {
            let published = process.published.stats.load_full();
            if durable != *published && self.bug.is_none() {
                self.findings.push("the counters that are shown are not those of what is durable".into());
            }
        }
        process.acknowledging.retain_mut(|(key, taken, answer)| match answer.try_recv() {
            Ok(Ok(())) => {
                self.persons.said(key, *taken);
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Ok(Err(_)) | Err(_) => false,
        });
        process.replays.retain_mut(|r| matches!(r.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        self.answer();
        self.take_tray();
    }

    fn take_tray(&mut self) {
        let Some(process) = &self.process else { return };
        let tray = std::mem::take(&mut *process.tray.lock().unwrap_or_else(PoisonError::into_inner));
        for (n, repeat) in tray {
            let key: String = n.dedup_key.chars().take(8).collect();
            let mark = if repeat { " (possible repeat)" } else { "" };
            self.note(format_args!(
                "out {} {} {}/{} {key}{mark}: {}",
                n.kind.as_str(),
                n.id.0,
                n.receiver,
                n.integration,
                squelch::causes::text(&n.cause)
            ));
            self.pagers.issued(&n, repeat);
            self.workers.push(n, repeat);
        }
        self.lanes_due = self.now;
    }

    fn pump(&mut self) {
        let (begun, recalled, wake) = self.workers.pump(self.now);
        self.lanes_due = wake.unwrap_or(Millis::MAX);
        for report in recalled {
            self.note(format_args!("recalled {}", report.id.0));
            if report.outcome == (Outcome::Recalled { ambiguous: true }) {
                self.pagers.recalled(report.id);
            }
            let Some(process) = &self.process else { break };
            let _ = process.queue.push(Command::Delivered(report));
            self.poke();
        }
        for attempt in begun {
            if let (Some(report), Some(process)) = (&attempt.early, &self.process) {
                let _ = process.queue.push(Command::Delivered(report.clone()));
                self.poke();
            }
            let number = self.attempts.len();
            let (lane, id) = (attempt.lane, attempt.notification.id);
            self.attempts.push(attempt);
            if self.files[lane] {
                self.findings.extend(self.readers.read(lane, self.now));
                self.note(format_args!("{} waits for the secret of destination {lane}", id.0));
                self.secretless.insert(number);
                self.at(self.now + 10 * SECOND, Due::NoSecret(number));
                continue;
            }
            let at = self.now + self.rng.between(2, 120);
            self.at(at, Due::Arrive { attempt: number, life: self.life });
        }
    }

    /// The file of the lane's secret answers: attempts that wait for it go on.
    pub fn file_answers(&mut self, lane: usize) {
        self.files[lane] = false;
        self.readers.answered(lane);
        let goes_on: Vec<usize> =
            self.secretless.iter().copied().filter(|n| self.attempts[*n].lane == lane).collect();
        for attempt in goes_on {
            self.secretless.remove(&attempt);
            self.at(self.now + 2, Due::Arrive { attempt, life: self.life });
        }
    }

    fn no_secret(&mut self, attempt: usize) {
        if self.secretless.remove(&attempt) {
            self.unanswered += 1;
            let (lane, id) = (self.attempts[attempt].lane, self.attempts[attempt].notification.id);
            self.settle(lane, id, &Reply::NoSecret);
        }
    }

    fn arrive(&mut self, attempt: usize) {
        let now = self.true_time();
        let attempt = &self.attempts[attempt];
        let (lane, n) = (attempt.lane, attempt.notification.clone());
        let reply = self.pagers.arrives(attempt, now);
        self.note(format_args!("{} {} at destination {lane}: {reply:?}", n.kind.as_str(), n.id.0));
        let after = if matches!(reply, Reply::Silence) { 10 * SECOND } else { self.rng.between(2, 120) };
        let at = self.now + after;
        self.at(at, Due::Settle { lane, id: n.id, reply, life: self.life });
    }

    fn settle(&mut self, lane: usize, id: NotificationId, reply: &Reply) {
        if !matches!(reply, Reply::Answer(answer) if answer.status == 200) {
            tracing::warn!(lane, id = id.0, ?reply, "attempt failed");
        }
        if let Some(report) = self.workers.settle(lane, id, reply, self.now) {
            self.misread(lane, &report);
            let Some(process) = &self.process else { return };
            let _ = process.queue.push(Command::Delivered(report));
            self.poke();
        }
        self.lanes_due = self.now;
    }
}
