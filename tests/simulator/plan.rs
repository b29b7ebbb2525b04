//! The events of a run, drawn from the seed before it starts, so that a failing run can be shrunk by
//! leaving events out.

use crate::rng::Rng;

/// Milliseconds of true time from the start of the run.
pub type Millis = u64;

pub const SECOND: Millis = 1_000;
pub const MINUTE: Millis = 60 * SECOND;
/// Faults and changes happen within this time.
pub const ACTIVE: Millis = 35 * MINUTE;
/// The longest that a fault lasts, and the longest that a process is down.
pub const LONGEST: Millis = 8 * MINUTE;
/// Everything is well from here on: firing alerts go on firing.
pub const CALM: Millis = ACTIVE + LONGEST;
/// Firing alerts resolve here.
pub const RESOLVED: Millis = CALM + 75 * MINUTE;
/// Nothing may be open here: `stale_after` and `max_hold` of the policies have passed.
pub const END: Millis = RESOLVED + 100 * MINUTE;

/// How many alerts there are.
pub const ALERTS: usize = 9;
/// How many integrations there are: PagerDuty, Slack, a webhook, and the PagerDuty of the second receiver.
pub const LANES: usize = 4;
/// The place of the second receiver, to which incidents escalate.
pub const LEAD: usize = 3;
/// The most senders: Alertmanagers of one cluster, or replicas of Prometheus that speak themselves.
pub const PEERS: usize = 3;
/// The rhythms in which replicas of Prometheus send firing alerts.
const RHYTHMS: [Millis; 6] = [SECOND, 10 * SECOND, 30 * SECOND, 59 * SECOND, MINUTE, 5 * MINUTE];
/// How far the clock of a replica is off.
const SKEW: i64 = 5 * 60_000;
/// How many configurations there are.
pub const POLICIES: usize = 4;

/// `limits.alerts`: more than the alerts that count, and fewer than a stranger says.
pub const KNOWN: u64 = 100;
/// How many alerts a stranger says at a time, of which some fire for a moment.
pub const FLOOD: usize = 70;
/// How many alerts that fire it says at a time, at most: alone they are more than may be known.
const CROWD: u64 = 150;

/// How a receiver answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Well,
    /// 500, not taken.
    Fails,
    /// 503 with `Retry-After`, not taken.
    Later,
    /// 429, not taken.
    Limits,
    /// Not taken, no answer within the timeout.
    Hangs,
    /// Taken, and no answer within the timeout.
    TakesAndHangs,
    /// Taken, and 502 from a gateway in between.
    Gateway,
    /// 400: refused for good.
    Refuses,
    /// 200 with an error in the body.
    Lies,
    /// Taken, and 200 with an unknown body.
    Puzzles,
    /// Taken, and 200 with a body that never comes or never ends.
    NoBody,
}

/// Answers that are easily misjudged.
const MISJUDGED: [Mode; 3] = [Mode::Lies, Mode::Puzzles, Mode::NoBody];

const MODES: [Mode; 8] = [
    Mode::Fails,
    Mode::Later,
    Mode::Limits,
    Mode::Hangs,
    Mode::TakesAndHangs,
    Mode::Gateway,
    Mode::Refuses,
    Mode::Lies,
];

/// The fate of the next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// It fails and is not there.
    Fails,
    /// It fails, and is there all the same.
    FailsLate,
    /// The machine dies before anything of it is on disk.
    DiesBefore,
    /// The machine dies after it is durable and before the caller knows.
    DiesAfter,
    /// The machine dies during it: any part of the write is on disk.
    Torn,
}

#[derive(Clone, Debug)]
pub enum Act {
    Fire(usize),
    Resolve(usize),
    /// SIGKILL between two steps. `again`: the first write of the start after it dies too.
    Crash {
        down: Millis,
        again: Option<Write>,
    },
    /// SIGTERM and a start.
    Restart {
        down: Millis,
    },
    Write(Write),
    /// No write succeeds and the store cannot be opened.
    DiskFull(Millis),
    DiskSlow {
        lasts: Millis,
        commit: Millis,
    },
    Receiver {
        lane: usize,
        mode: Mode,
        lasts: Millis,
    },
    /// The Alertmanager restarts. Without its notification log it forgets its notifications.
    Alertmanager {
        member: usize,
        down: Millis,
        remembers: bool,
    },
    /// A sender sees no target any more: its alerts resolve in its eyes.
    Blind {
        peer: usize,
        lasts: Millis,
    },
    /// The members of the cluster cannot reach each other.
    Partition(Millis),
    /// Requests get lost, or their answers do.
    Cut {
        member: usize,
        answers: bool,
        lasts: Millis,
    },
    /// The wall clock of Squelch's machine is off by so much.
    Jump {
        by: i64,
        lasts: Millis,
    },
    /// SIGSTOP, then SIGCONT.
    Stop(Millis),
    Silence {
        matchers: usize,
        lasts: Millis,
    },
    /// A member's own silence: the alert vanishes from its payloads.
    Vanish {
        alert: usize,
        lasts: Millis,
    },
    Reload(usize),
    /// A stranger says alerts of its own, all of which have resolved, and says them again.
    Flood(u64),
    /// A stranger says so many alerts of names of their own, that fire for so long and are not said again.
    Crowd {
        alerts: u64,
        lasts: Millis,
    },
    /// The operator sends every dead letter again.
    Replay,
    /// The file that holds the secret of a receiver does not answer.
    FileHangs {
        lane: usize,
        lasts: Millis,
    },
    /// The log has no reader.
    LogUnread(Millis),
    /// A person acknowledges the n-th of the incidents that PagerDuty shows, or takes that back.
    Acknowledge {
        nth: usize,
        taken: bool,
    },
}

/// The settings for the whole run.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub seed: u64,
    /// Several Alertmanagers.
    pub pair: bool,
    /// How many senders there are.
    pub peers: usize,
    /// The rhythm in which each replica of Prometheus speaks.
    pub rhythms: [Millis; PEERS],
    /// By how many milliseconds the clock of each replica is off.
    pub skews: [i64; PEERS],
    /// An interval and an inhibition mute some alerts beside the other causes that hold them.
    pub overlaps: bool,
    /// Prometheus itself speaks to Squelch, by API v2.
    pub direct: bool,
    /// The journal is the SQLite file, whose crashes are made of images of it.
    pub sqlite: bool,
    /// `max_alerts` of the Alertmanagers. 0 = all.
    pub max_alerts: usize,
    /// The queue holds only so many requests.
    pub queue: usize,
    /// More fires than may be known: an alert that counts may find no room.
    pub crowded: bool,
    /// Critical incidents that no person acknowledges go to a second receiver.
    pub escalates: bool,
    pub policy: usize,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub setup: Setup,
    pub acts: Vec<(Millis, Act)>,
}

impl Plan {
    pub fn of(seed: u64) -> Plan {
        let mut rng = Rng::new(seed);
        let direct = rng.once_in(5);
        let pair = !direct && rng.once_in(2);
        let mut setup = Setup {
            seed,
            pair,
            peers: 1 + usize::from(pair),
            rhythms: [MINUTE; PEERS],
            skews: [0; PEERS],
            overlaps: seed % 3 == 1,
            direct,
            sqlite: rng.once_in(6),
            max_alerts: if rng.once_in(4) { 2 } else { 0 },
            queue: if rng.once_in(6) { 1 } else { 4096 },
            crowded: seed % 8 == 4,
            escalates: seed % 6 == 5,
            policy: rng.index(POLICIES),
        };
        // Swarm testing: each run has its own few kinds of trouble, so that rare ones meet.
        let kinds: Vec<u64> = (0..rng.between(1, 6)).map(|_| rng.below(13)).collect();
        let mut acts = Vec::new();
        for _ in 0..rng.between(6, 22) {
            let alert = rng.index(ALERTS);
            let fire = rng.below(5) < 3;
            let at = rng.below(ACTIVE);
            acts.push((at, if fire { Act::Fire(alert) } else { Act::Resolve(alert) }));
            if setup.sqlite && rng.once_in(3) {
                // The record of that is most likely the next write.
                acts.push((at, Act::Write(Write::Torn)));
            }
            if rng.once_in(12) {
                // A flapper.
                for n in 0..rng.between(2, 8) {
                    let at = (at + n * rng.between(20, 90) * SECOND).min(ACTIVE - 1);
                    acts.push((at, if n % 2 == 0 { Act::Fire(alert) } else { Act::Resolve(alert) }));
                }
            }
        }
        let troubles = if rng.once_in(4) { 40 } else { 12 };
        for _ in 0..rng.between(0, troubles) {
            let kind = kinds[rng.index(kinds.len())];
            let at = rng.below(ACTIVE);
            acts.push((at, trouble(kind, &mut rng, &setup)));
        }
        if seed % 4 == 3 {
            // Of dice of its own: the other runs stay the same.
            let mut rng = Rng::new(!seed);
            for n in 0..rng.between(1, 8) {
                acts.push((rng.below(ACTIVE), Act::Flood(n)));
            }
        }
        if seed % 4 == 1 {
            let mut rng = Rng::new(!seed);
            for _ in 0..rng.between(1, 5) {
                let (lane, mode) = (rng.index(LEAD), MISJUDGED[rng.index(MISJUDGED.len())]);
                let lasts = rng.between(MINUTE, LONGEST);
                acts.push((rng.below(ACTIVE), Act::Receiver { lane, mode, lasts }));
            }
        }
        peers(seed, &mut setup, &mut acts);
        if setup.overlaps {
            overlaps(seed, &mut acts);
        }
        if setup.escalates {
            escalation(seed, &mut acts);
        }
        if setup.crowded {
            let mut rng = Rng::new(!seed);
            for _ in 0..rng.between(2, 6) {
                let (alerts, lasts) = (rng.between(1, CROWD), rng.between(SECOND, LONGEST));
                acts.push((rng.below(ACTIVE), Act::Crowd { alerts, lasts }));
            }
        }
        if seed % 5 == 2 {
            let mut rng = Rng::new(!seed);
            for _ in 0..rng.between(1, 5) {
                let (lane, lasts) = (rng.index(LEAD), rng.between(SECOND, LONGEST));
                acts.push((rng.below(ACTIVE), Act::FileHangs { lane, lasts }));
            }
            acts.push((rng.below(ACTIVE), Act::LogUnread(rng.between(MINUTE, LONGEST))));
        }
        acts.sort_by_key(|(at, _)| *at);
        Plan { setup, acts }
    }
}

/// More senders, each with a rhythm and a clock of its own, of which one goes blind now and then.
fn peers(seed: u64, setup: &mut Setup, acts: &mut Vec<(Millis, Act)>) {
    if seed.is_multiple_of(3) || !(setup.direct || setup.pair) {
        return;
    }
    let mut rng = Rng::new(!seed ^ 0x9e37);
    setup.peers = rng.between(2, 4) as usize;
    if setup.direct {
        for rhythm in &mut setup.rhythms {
            *rhythm = RHYTHMS[rng.index(RHYTHMS.len())];
        }
        if rng.once_in(2) {
            // The clock of the first one is right.
            setup.skews[1 + rng.index(2)] = if rng.once_in(2) { SKEW } else { -SKEW };
        }
    }
    for _ in 0..rng.between(0, 3) {
        let (peer, lasts) = (rng.index(setup.peers), rng.between(MINUTE, LONGEST));
        acts.push((rng.below(ACTIVE), Act::Blind { peer, lasts }));
    }
}

/// Alerts that flap while silences, an interval and an inhibition come and go.
fn overlaps(seed: u64, acts: &mut Vec<(Millis, Act)>) {
    let mut rng = Rng::new(!seed ^ 0x51ed);
    for _ in 0..rng.between(1, 4) {
        // The source of the inhibition, its targets, and the alerts that the interval mutes.
        let alert = [0, 0, 3, 4, 6, 8][rng.index(6)];
        let (at, pause) = (rng.below(ACTIVE), rng.between(20, 90) * SECOND);
        for n in 0..rng.between(3, 10) {
            let at = (at + n * pause).min(ACTIVE - 1);
            acts.push((at, if n % 2 == 0 { Act::Fire(alert) } else { Act::Resolve(alert) }));
        }
        let (matchers, lasts) = (rng.index(3), rng.between(MINUTE, LONGEST));
        acts.push(((at + rng.below(LONGEST)).min(ACTIVE - 1), Act::Silence { matchers, lasts }));
    }
}

/// Persons who acknowledge incidents, and trouble of the second receiver.
fn escalation(seed: u64, acts: &mut Vec<(Millis, Act)>) {
    let mut rng = Rng::new(!seed ^ 0xac4e);
    for _ in 0..rng.between(0, 8) {
        let (nth, taken) = (rng.index(ALERTS), rng.below(4) > 0);
        acts.push((rng.below(ACTIVE), Act::Acknowledge { nth, taken }));
    }
    if rng.once_in(2) {
        let (mode, lasts) = (MODES[rng.index(MODES.len())], rng.between(MINUTE, LONGEST));
        acts.push((rng.below(ACTIVE), Act::Receiver { lane: LEAD, mode, lasts }));
    }
}

fn trouble(kind: u64, rng: &mut Rng, setup: &Setup) -> Act {
    let lasts = rng.between(SECOND, LONGEST);
    let down = rng.between(100, 90 * SECOND);
    let member = rng.index(2);
    let writes = [Write::Fails, Write::FailsLate, Write::DiesBefore, Write::DiesAfter, Write::Torn];
    let write = writes[rng.index(writes.len())];
    match kind {
        0 => Act::Crash { down, again: rng.once_in(3).then_some(write) },
        1 | 2 => Act::Write(write),
        3 => Act::DiskFull(lasts),
        4 => Act::DiskSlow { lasts, commit: rng.between(100, 8 * SECOND) },
        5 | 6 => Act::Receiver { lane: rng.index(LEAD), mode: MODES[rng.index(MODES.len())], lasts },
        7 => Act::Alertmanager { member, down, remembers: rng.once_in(2) },
        8 if setup.pair => Act::Partition(lasts),
        8 | 9 => Act::Cut { member, answers: rng.once_in(2), lasts },
        // An `endsAt` is a time of Prometheus' clock: a gate whose clock is an hour off cannot read it.
        10 if !setup.direct => Act::Jump { by: if rng.once_in(2) { 3_600_000 } else { -3_600_000 }, lasts },
        10 => Act::Stop(down),
        11 => match rng.below(3) {
            0 => Act::Silence { matchers: rng.index(3), lasts },
            1 => Act::Vanish { alert: rng.index(ALERTS), lasts },
            _ => Act::Replay,
        },
        _ => match rng.below(3) {
            0 => Act::Restart { down },
            _ => Act::Reload(rng.index(POLICIES)),
        },
    }
}
