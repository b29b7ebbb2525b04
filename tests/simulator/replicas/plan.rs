//! The events of a run of several replicas, drawn from its seed before it starts.

use crate::plan::{MINUTE, Millis, SECOND};
use crate::rng::Rng;

/// Faults and changes begin within this time.
pub const ACTIVE: Millis = 6 * MINUTE;
/// The longest that a fault lasts.
const LONGEST: Millis = 45 * SECOND;
/// Everything is well from here on, and firing alerts go on firing.
pub const CALM: Millis = ACTIVE + LONGEST;
/// The lease, 5 s, the longest wait between two attempts, and the longest wait of a sender.
pub const PAGED: Millis = CALM + (10 + 5 + 95 + 20) * SECOND;
/// Firing alerts resolve here.
pub const RESOLVED: Millis = PAGED + MINUTE;
/// `stale_after` has passed twice, and each end has been sent.
pub const END: Millis = RESOLVED + 26 * MINUTE;

/// How many alerts there are. The even ones are critical.
pub const ALERTS: usize = 5;
/// The most replicas.
pub const REPLICAS: usize = 3;

/// Which replica is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Owner,
    Number(usize),
}

/// A call to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Take,
    Commit,
    HandOver,
    Other,
}

/// The fate of a call to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The caller gets no answer. The database has done it, or not.
    Unknown { done: bool },
    /// The replica is stopped (SIGSTOP) before the database does it, or before the answer.
    Stopped { before: bool, lasts: Millis },
    /// The database takes long. The caller waits 8 s.
    Slow { before: bool, lasts: Millis },
    /// The replica is killed. The database has done it, or not.
    Killed { done: bool },
}

/// How the pager answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Well,
    /// 503, not taken.
    Fails,
    /// Taken, and no answer.
    TakesAndHangs,
    /// Not taken, and no answer.
    Hangs,
    /// Every other request needs seconds to arrive.
    Late,
}

#[derive(Clone, Debug)]
pub enum Act {
    Fire(usize),
    Resolve(usize),
    /// SIGKILL.
    Kill {
        who: Who,
        down: Millis,
    },
    /// SIGTERM.
    End {
        who: Who,
        down: Millis,
    },
    /// SIGSTOP.
    Pause {
        who: Who,
        lasts: Millis,
    },
    /// The database cannot be reached, from one replica or from all.
    Cut {
        who: Option<Who>,
        lasts: Millis,
    },
    Call {
        who: Who,
        call: Call,
        fate: Fate,
    },
    Pager {
        mode: Mode,
        lasts: Millis,
    },
    /// Requests of senders to a replica get lost, or answers do.
    Network {
        replica: usize,
        answers: bool,
        lasts: Millis,
    },
    /// Compares the engine of the owner with a replay.
    Look,
}

#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub seed: u64,
    pub replicas: usize,
    /// Each sender sends to all replicas. Otherwise a load balancer picks one for each request.
    pub to_all: bool,
    pub policy: usize,
    /// By how many milliseconds the wall clock of each replica is off.
    pub skews: [i64; REPLICAS],
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub setup: Setup,
    pub acts: Vec<(Millis, Act)>,
}

impl Plan {
    pub fn of(seed: u64) -> Plan {
        let mut rng = Rng::new(seed ^ 0x5e41_1ca5);
        let skew = |rng: &mut Rng| i64::try_from(rng.below(3_000)).unwrap_or(0) - 1_500;
        let setup = Setup {
            seed,
            replicas: if rng.once_in(3) { 2 } else { 3 },
            to_all: rng.once_in(3),
            policy: rng.index(2),
            skews: [skew(&mut rng), skew(&mut rng), skew(&mut rng)],
        };
        let mut acts = Vec::new();
        for alert in 0..ALERTS {
            let mut at = rng.between(SECOND, 40 * SECOND);
            while at < ACTIVE {
                acts.push((at, Act::Fire(alert)));
                at += if rng.once_in(2) {
                    rng.between(SECOND, 20 * SECOND)
                } else {
                    rng.between(SECOND, MINUTE)
                };
                if at < ACTIVE {
                    acts.push((at, Act::Resolve(alert)));
                }
                at += rng.between(SECOND, 50 * SECOND);
            }
        }
        for _ in 0..rng.between(4, 22) {
            let at = rng.between(10 * SECOND, ACTIVE);
            let act = Plan::trouble(&mut rng, &setup);
            // Requests under way when it happens, and pages that wait for another attempt.
            if matches!(act, Act::Kill { .. } | Act::End { .. } | Act::Pause { .. } | Act::Cut { .. })
                && rng.once_in(2)
            {
                let mode = if rng.once_in(2) { Mode::Late } else { Mode::Fails };
                let lasts = rng.between(5 * SECOND, 30 * SECOND);
                acts.push((at - rng.below(8 * SECOND), Act::Pager { mode, lasts }));
            }
            acts.push((at, act));
        }
        for _ in 0..rng.below(4) {
            Plan::takeover(&mut rng, &mut acts);
        }
        for _ in 0..4 {
            acts.push((rng.between(0, ACTIVE), Act::Look));
        }
        acts.push((CALM + MINUTE, Act::Look));
        acts.push((RESOLVED - SECOND, Act::Look));
        acts.sort_by_key(|(at, _)| *at);
        Plan { setup, acts }
    }

    /// The owner is lost while it pages, and the paged problem is over soon.
    fn takeover(rng: &mut Rng, acts: &mut Vec<(Millis, Act)>) {
        let (at, alert) = (rng.between(20 * SECOND, ACTIVE), 2 * rng.index(ALERTS / 2));
        let lost = at + rng.between(SECOND, 8 * SECOND);
        let (who, down) = (Who::Owner, rng.between(SECOND, 20 * SECOND));
        let act = match rng.below(3) {
            0 => Act::Kill { who, down },
            1 => Act::End { who, down },
            _ => Act::Cut { who: Some(who), lasts: rng.between(15 * SECOND, LONGEST) },
        };
        let late = rng.between(5 * SECOND, 20 * SECOND);
        acts.push((at, Act::Fire(alert)));
        acts.push((at, Act::Pager { mode: Mode::Late, lasts: late }));
        acts.push((lost, act));
        acts.push((at + rng.between(5 * SECOND, 20 * SECOND), Act::Resolve(alert)));
    }

    fn trouble(rng: &mut Rng, setup: &Setup) -> Act {
        let any = Who::Number(rng.index(setup.replicas));
        let who = if rng.once_in(3) { any } else { Who::Owner };
        let short = rng.between(100, 4 * SECOND);
        let lasts = if rng.once_in(3) { short } else { rng.between(SECOND, LONGEST) };
        match rng.below(12) {
            0 | 1 => Act::Kill { who, down: lasts.min(20 * SECOND) },
            2 => Act::End { who, down: lasts.min(20 * SECOND) },
            3 => Act::Pause { who, lasts },
            4 => Act::Cut { who: if rng.once_in(3) { None } else { Some(who) }, lasts },
            5..8 => {
                let call = [Call::Commit, Call::Commit, Call::HandOver, Call::Take][rng.index(4)];
                let who = if call == Call::Commit { Who::Owner } else { any };
                let (done, before) = (rng.once_in(2), rng.once_in(2));
                let fate = match rng.below(5) {
                    0 | 1 => Fate::Unknown { done },
                    2 => Fate::Stopped { before, lasts },
                    3 => Fate::Slow { before, lasts: rng.between(100, 20 * SECOND) },
                    _ => Fate::Killed { done },
                };
                Act::Call { who, call, fate }
            }
            8..11 => {
                let modes = [Mode::Fails, Mode::TakesAndHangs, Mode::Hangs, Mode::Late, Mode::Late];
                Act::Pager { mode: modes[rng.index(modes.len())], lasts }
            }
            _ => Act::Network { replica: rng.index(setup.replicas), answers: rng.once_in(2), lasts },
        }
    }
}
