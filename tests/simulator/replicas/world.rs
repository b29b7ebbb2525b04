//! One run of several replicas, in one thread, in the order of virtual time.
//!
//! A replica that waits for the database in the midst of a step lets the world go on. The scheduler runs
//! again below that step, and others may take over meanwhile. Nothing is locked while a `Core` runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use squelch::model::{Duration, NotificationId};
use squelch::node::{Command, Core, Flow, Parts, RecoverError};
use tokio::sync::oneshot;

use super::database::Database;
use super::delivery::Attempt;
use super::pager::{Answer, Pager};
use super::plan::{ALERTS, Act, CALM, Call, END, Fate, Mode, PAGED, REPLICAS, RESOLVED, Who};
use super::process::{Asked, Process};
use super::senders::{Stream, streams};
use super::{Bug, Outcome, Plan};
use crate::plan::{MINUTE, Millis, SECOND};
use crate::rng::Rng;
use crate::upstream::Truth;

/// How long SIGTERM lets requests, and then deliveries, end.
const REQUESTS_END: Millis = 5 * SECOND;
const DELIVERIES_END: Millis = 10 * SECOND;

/// Something that is due. A life that has passed makes it void.
#[derive(Debug)]
pub enum Due {
    Act(Act),
    PagerIsWell,
    NetworkIsWell(usize),
    Start(usize),
    Renew {
        replica: usize,
        life: u64,
    },
    Flush(usize),
    Say(usize),
    Timeout {
        replica: usize,
        request: u64,
    },
    Pump {
        replica: usize,
        life: u64,
    },
    Arrive(Attempt),
    Answered {
        replica: usize,
        life: u64,
        id: NotificationId,
        answer: Answer,
    },
    /// SIGTERM came then. The flag says whether the engine's thread knows.
    Ending {
        replica: usize,
        life: u64,
        since: Millis,
        told: bool,
    },
    /// For a bug: data that was claimed to be durable becomes so.
    Synced,
    Calm,
    Paged,
    Resolve,
    /// If nothing is open or waits any more, nothing more will happen.
    Quiet,
}

/// A machine.
#[derive(Default)]
pub struct Replica {
    pub process: Option<Process>,
    /// The number of its process.
    pub life: u64,
    /// It is stopped until then.
    pub paused: Millis,
    /// The database cannot be reached from it until then.
    cut: Millis,
}

pub struct World {
    pub bug: Option<Bug>,
    skews: [i64; REPLICAS],
    policy: usize,
    pub rng: Rng,
    pub now: Millis,
    me: Weak<Mutex<World>>,
    pub database: Database,
    pub replicas: Vec<Replica>,
    /// Of each replica, whether requests of senders get lost (`false`), or answers do.
    pub networks: [Option<bool>; REPLICAS],
    fates: Vec<(Who, Call, Fate)>,
    pub pager: Pager,
    pub truth: [Truth; ALERTS],
    pub streams: Vec<Stream>,
    /// How often each statement reached a replica.
    pub sent: BTreeMap<u64, u64>,
    pub numbers: u64,
    pub requests: u64,
    lives: u64,
    unknown: u64,
    pub doubtful: u64,
    due: BTreeMap<(Millis, u64), Due>,
    dues: u64,
    steps: u64,
    over: bool,
    pub trace: Vec<String>,
    pub findings: Vec<String>,
}

/// The next action of the scheduler, with the world unlocked.
enum Turn {
    Over,
    Again,
    Start(usize, u64, Box<Parts>),
    Step(usize, u64, Box<Core>),
}

pub fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs until `until`, or to the first finding.
pub fn run(world: &Mutex<World>, until: Millis) {
    loop {
        let turn = lock(world).turn(until);
        match turn {
            Turn::Over => return,
            Turn::Again => {}
            Turn::Start(replica, life, parts) => {
                let core = Core::start(*parts);
                lock(world).started(replica, life, core);
            }
            Turn::Step(replica, life, mut core) => {
                let flow = core.step(Duration::ZERO);
                lock(world).stepped(replica, life, *core, flow);
            }
        }
    }
}

impl World {
    pub fn play(plan: &Plan, bug: Option<Bug>) -> Outcome {
        let setup = plan.setup;
        let database = Database::default();
        database.state().bug = bug;
        let world = Arc::new_cyclic(|me| {
            let mut world = World {
                bug,
                skews: setup.skews,
                policy: setup.policy,
                rng: Rng::new(setup.seed ^ 0xa11_0fa5),
                now: 0,
                me: me.clone(),
                database,
                replicas: (0..setup.replicas).map(|_| Replica::default()).collect(),
                networks: [None; REPLICAS],
                fates: Vec::new(),
                pager: Pager::default(),
                truth: [Truth::default(); ALERTS],
                streams: streams(setup.replicas, setup.to_all),
                sent: BTreeMap::new(),
                numbers: 0,
                requests: 0,
                lives: 0,
                unknown: 0,
                doubtful: 0,
                due: BTreeMap::new(),
                dues: 0,
                steps: 0,
                over: false,
                trace: Vec::new(),
                findings: Vec::new(),
            };
            for (at, act) in &plan.acts {
                world.at(*at, Due::Act(act.clone()));
            }
            for replica in 0..setup.replicas {
                world.at(replica as Millis * 200, Due::Start(replica));
            }
            for stream in 0..world.streams.len() {
                let at = world.rng.below(4 * SECOND);
                world.at(at, Due::Flush(stream));
            }
            if bug == Some(Bug::HandOverBeforeDurable) {
                world.at(SECOND, Due::Synced);
            }
            world.at(CALM, Due::Calm);
            world.at(PAGED, Due::Paged);
            world.at(RESOLVED, Due::Resolve);
            world.at(RESOLVED + 2 * MINUTE, Due::Quiet);
            Mutex::new(world)
        });
        run(&world, END);
        let mut world = lock(&world);
        if world.findings.is_empty() {
            world.check_end();
        }
        let (takeovers, fenced, rows) = {
            let state = world.database.state();
            (state.takeovers, state.fenced, state.handed())
        };
        Outcome {
            seen: [takeovers, fenced, rows, world.unknown, world.doubtful, world.pager.opened],
            findings: std::mem::take(&mut world.findings),
            trace: std::mem::take(&mut world.trace),
            steps: world.steps,
        }
    }

    pub fn at(&mut self, at: Millis, due: Due) {
        self.dues += 1;
        self.due.insert((at.max(self.now), self.dues), due);
    }

    pub fn note(&mut self, what: impl std::fmt::Display) {
        let now = self.now;
        self.trace.push(format!("{:>5}.{:03} {what}", now / SECOND, now % SECOND));
    }

    fn set_time(&mut self, at: Millis) {
        self.now = self.now.max(at);
        self.database.state().now = self.now;
    }

    /// The engine's thread of a replica wakes within so many milliseconds.
    pub fn poke(&mut self, replica: usize, within: Millis) {
        let at = self.now + self.rng.below(within + 1);
        if let Some(process) = &mut self.replicas[replica].process {
            process.due = process.due.min(at);
        }
    }

    pub fn is_paused(&self, replica: usize) -> bool {
        self.replicas[replica].paused > self.now
    }

    pub fn is_cut(&self, replica: usize) -> bool {
        self.replicas[replica].cut > self.now
    }

    fn lives(&self, replica: usize, life: u64) -> bool {
        self.replicas[replica].process.is_some() && self.replicas[replica].life == life
    }

    fn turn(&mut self, until: Millis) -> Turn {
        let mut found = std::mem::take(&mut self.database.state().findings);
        self.findings.append(&mut found);
        if self.over || !self.findings.is_empty() {
            return Turn::Over;
        }
        let ready = |r: &Replica| Some(r.process.as_ref().filter(|p| p.core.is_some())?.due.max(r.paused));
        let step = self.replicas.iter().enumerate().filter_map(|(n, r)| Some((ready(r)?, n))).min();
        let due = self.due.first_key_value().map_or(Millis::MAX, |((at, _), _)| *at);
        let at = step.map_or(due, |(step, _)| step.min(due));
        if at > until {
            self.set_time(until);
            return Turn::Over;
        }
        self.set_time(at);
        self.steps += 1;
        if let Some((step, replica)) = step
            && step <= due
        {
            let life = self.replicas[replica].life;
            let core = self.replicas[replica].process.as_mut().and_then(|process| process.core.take());
            return core.map_or(Turn::Again, |core| Turn::Step(replica, life, Box::new(core)));
        }
        match self.due.pop_first() {
            Some((_, Due::Start(replica))) => self.start(replica),
            Some((_, due)) => {
                self.handle(due);
                Turn::Again
            }
            None => Turn::Over,
        }
    }

    fn handle(&mut self, due: Due) {
        match due {
            Due::Act(act) => self.act(act),
            Due::PagerIsWell => self.pager.mode = None,
            Due::NetworkIsWell(replica) => self.networks[replica] = None,
            Due::Start(_) => {}
            Due::Renew { replica, life } if self.lives(replica, life) => self.renew(replica, life),
            Due::Pump { replica, life } if self.lives(replica, life) => self.woken(replica),
            Due::Ending { replica, life, since, told } if self.lives(replica, life) => {
                self.ending(replica, life, since, told);
            }
            Due::Answered { replica, life, id, answer } if self.lives(replica, life) => {
                self.answered((replica, life), id, answer);
            }
            Due::Renew { .. } | Due::Pump { .. } | Due::Ending { .. } | Due::Answered { .. } => {}
            Due::Flush(stream) => self.flush(stream),
            Due::Say(stream) => self.say(stream),
            Due::Timeout { replica, request } => self.timeout(replica, request),
            Due::Arrive(attempt) => self.arrive(&attempt),
            Due::Synced => {
                let mut state = self.database.state();
                for (_, batches) in std::mem::take(&mut state.unsynced) {
                    state.hand_over(&batches);
                }
                drop(state);
                self.at(self.now + SECOND, Due::Synced);
            }
            Due::Calm => self.becalm(),
            Due::Paged => self.check_paged(),
            Due::Resolve => {
                self.note("everything resolves");
                let now = self.now;
                self.truth.iter_mut().filter(|t| t.fires()).for_each(|t| t.ends = Some(now));
            }
            Due::Quiet => self.over = self.pager.open().is_empty() && self.database.state().is_quiet(),
        }
    }

    /// The replica that is meant, as things are now.
    fn number(&self, who: Who) -> Option<usize> {
        let owner = self.database.state().owner.process;
        match who {
            Who::Number(number) => Some(number),
            Who::Owner => self.replicas.iter().position(|r| {
                r.process.as_ref().is_some_and(|process| process.link.lease().process == owner)
            }),
        }
    }

    fn act(&mut self, act: Act) {
        self.note(format!("{act:?}"));
        let now = self.now;
        match act {
            Act::Fire(alert) => {
                if !self.truth[alert].fires() {
                    self.truth[alert] = Truth { starts: Some(now), ends: None };
                }
            }
            Act::Resolve(alert) => {
                if self.truth[alert].fires() {
                    self.truth[alert].ends = Some(now);
                }
            }
            Act::Kill { who, down } => {
                if let Some(replica) = self.number(who) {
                    self.kill(replica, down);
                }
            }
            Act::End { who, down } => {
                if let Some(replica) = self.number(who) {
                    self.end(replica, down);
                }
            }
            Act::Pause { who, lasts } => {
                if let Some(replica) = self.number(who) {
                    self.pause(replica, lasts);
                }
            }
            Act::Cut { who, lasts } => {
                let numbers: Vec<usize> = match who {
                    None => (0..self.replicas.len()).collect(),
                    Some(who) => self.number(who).into_iter().collect(),
                };
                numbers.into_iter().for_each(|n| self.replicas[n].cut = now + lasts);
            }
            Act::Call { who, call, fate } => self.fates.push((who, call, fate)),
            Act::Pager { mode, lasts } => {
                self.pager.mode = Some(mode).filter(|mode| *mode != Mode::Well);
                self.at(now + lasts, Due::PagerIsWell);
            }
            Act::Network { replica, answers, lasts } => {
                self.networks[replica] = Some(answers);
                self.at(now + lasts, Due::NetworkIsWell(replica));
            }
            Act::Look => self.look(),
        }
    }

    /// The owner's engine must equal a replay of the records.
    fn look(&mut self) {
        let Some(replica) = self.number(Who::Owner) else { return };
        let Some(process) = &self.replicas[replica].process else { return };
        let link = process.link.clone();
        let look = move |engine: Result<&squelch::engine::Engine, &str>| {
            let epoch = link.lease().epoch;
            let mut state = link.database.state();
            if let Ok(engine) = engine
                && state.owner.epoch == epoch
            {
                state.is_live(engine);
            }
        };
        let _ = process.queue.push(Command::Look(Box::new(look)));
        self.poke(replica, 3);
    }

    /// The plan's fate for this call.
    pub fn fate(&mut self, replica: usize, call: Call) -> Option<Fate> {
        let met = |(who, of, _): &(Who, Call, Fate)| *of == call && self.number(*who) == Some(replica);
        let found = self.fates.iter().position(met)?;
        let (_, _, fate) = self.fates.remove(found);
        self.unknown += u64::from(call == Call::Commit);
        self.note(format!("replica {replica}, {call:?}: {fate:?}"));
        Some(fate)
    }

    fn start(&mut self, replica: usize) -> Turn {
        if self.replicas[replica].process.is_some() {
            return Turn::Again;
        }
        self.lives += 1;
        let (life, skew, policy) = (self.lives, self.skews[replica], self.policy);
        let (process, parts) = Process::new(&self.database, self.me.clone(), (replica, life), (skew, policy));
        self.replicas[replica].life = life;
        self.replicas[replica].process = Some(process);
        self.note(format!("replica {replica} starts"));
        Turn::Start(replica, life, Box::new(parts))
    }

    fn started(&mut self, replica: usize, life: u64, core: Result<Core, RecoverError>) {
        if !self.lives(replica, life) {
            return;
        }
        match core {
            Ok(core) => self.stepped(replica, life, core, Flow::Continue),
            Err(error) => self.gone(replica, 2 * SECOND, &format!("does not start: {error}")),
        }
    }

    fn stepped(&mut self, replica: usize, life: u64, core: Core, flow: Flow) {
        if !self.lives(replica, life) {
            return;
        }
        let (now, waiting, owner) = {
            let state = self.database.state();
            (self.now, state.waiting(), state.owner)
        };
        let calm = now > CALM + MINUTE;
        let busy = 1 + self.rng.below(4);
        let soon = self.rng.below(250);
        if let Some(process) = &mut self.replicas[replica].process {
            let patience = core.patience().as_millis().max(busy);
            let idle = patience <= 250 && waiting == 0 && process.queue.waiting() == 0;
            // At rest it would look each 100 or 250 ms, and find nothing.
            let rest = match process.link.lease().process == owner.process {
                true => {
                    if calm {
                        5 * SECOND
                    } else {
                        SECOND / 2
                    }
                }
                false => (owner.until.saturating_sub(now) + soon).min(10 * SECOND),
            };
            process.due = now + if idle { rest.max(busy) } else { patience };
            process.core = Some(core);
        }
        self.answers(replica);
        self.take_out(replica);
        if flow == Flow::Stopped {
            let Some(process) = &self.replicas[replica].process else { return };
            let fenced = process.published.fenced.load().is_some();
            let down = process.ending.filter(|_| !fenced);
            let how = if fenced { "is fenced and ends" } else { "ends" };
            self.gone(replica, down.unwrap_or(2 * SECOND), how);
        }
        let owner = self.database.state().owner;
        match self.number(Who::Owner) {
            Some(owner) if waiting > 0 => self.poke(owner, 100),
            // A standby looks each 250 ms.
            None if owner.process == 0 => (0..self.replicas.len()).for_each(|n| self.poke(n, 250)),
            _ => {}
        }
    }

    pub fn kill(&mut self, replica: usize, down: Millis) {
        self.gone(replica, down, "is killed");
    }

    /// A process is gone, and with it all that is not in the database or on its way to the pager.
    fn gone(&mut self, replica: usize, down: Millis, how: &str) {
        let Some(process) = self.replicas[replica].process.take() else { return };
        self.note(format!("replica {replica} {how}"));
        let number = {
            let mut lease = process.link.lease();
            lease.dead = true;
            lease.process
        };
        self.database.state().unsynced.retain(|(of, _)| *of != number);
        self.replicas[replica].paused = self.now;
        let asked: Vec<Asked> = process.asked.into_values().collect();
        self.hang_up(asked.into_iter());
        self.at(self.now + down, Due::Start(replica));
    }

    pub fn pause(&mut self, replica: usize, lasts: Millis) {
        let r = &mut self.replicas[replica];
        r.paused = r.paused.max(self.now + lasts);
        if self.bug == Some(Bug::DeadlineSleeps)
            && let Some(process) = &r.process
        {
            process.link.lease().deadline += lasts;
        }
    }

    /// SIGTERM.
    fn end(&mut self, replica: usize, down: Millis) {
        let (since, life) = (self.now, self.replicas[replica].life);
        let Some(process) = &mut self.replicas[replica].process else { return };
        if process.ending.replace(down).is_some() {
            return;
        }
        if self.bug == Some(Bug::GivesBackEarly) {
            let mut lease = process.link.lease();
            lease.ended = true;
            self.database.state().give_back(lease.epoch, lease.process);
        }
        self.at(since, Due::Ending { replica, life, since, told: false });
    }

    /// Open requests end, then deliveries under way, then the engine's thread.
    fn ending(&mut self, replica: usize, life: u64, since: Millis, told: bool) {
        let now = self.now;
        let again = |since, told| Due::Ending { replica, life, since, told };
        if self.is_paused(replica) {
            return self.at(self.replicas[replica].paused, again(since, told));
        }
        let Some(process) = &mut self.replicas[replica].process else { return };
        if !told {
            if !process.asked.is_empty() && now < since + REQUESTS_END {
                return self.at(now + 100, again(since, false));
            }
            let _ = process.queue.push(Command::Quiesce(oneshot::channel().0));
            self.poke(replica, 3);
            return self.at(now + 100, again(now, true));
        }
        if !process.worker.under_way.is_empty() && now < since + DELIVERIES_END {
            return self.at(now + 100, again(since, true));
        }
        process.worker.under_way.clear();
        let _ = process.queue.push(Command::Stop(oneshot::channel().0));
        self.poke(replica, 3);
    }

    /// The thread that renews the lease begins.
    pub fn keep(&mut self, replica: usize) {
        let life = self.replicas[replica].life;
        self.at(self.now + 3 * SECOND, Due::Renew { replica, life });
    }

    fn renew(&mut self, replica: usize, life: u64) {
        if self.is_paused(replica) {
            return self.at(self.replicas[replica].paused, Due::Renew { replica, life });
        }
        let cut = self.is_cut(replica);
        let Some(process) = &self.replicas[replica].process else { return };
        match process.link.renew(cut) {
            Some(wait) => self.at(self.now + wait, Due::Renew { replica, life }),
            None => {
                // The engine's thread looks for itself.
                let _ = process.queue.push(Command::CheckStorage);
                self.poke(replica, 3);
            }
        }
    }

    fn becalm(&mut self) {
        self.note("all is well from here");
        let now = self.now;
        self.fates.clear();
        self.networks = [None; REPLICAS];
        self.pager.mode = None;
        for r in &mut self.replicas {
            (r.cut, r.paused) = (now, r.paused.min(now));
        }
    }
}
