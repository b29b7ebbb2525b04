//! A noise profile: the numbers by which the engine holds, gathers or withholds pages.
//!
//! The structs are nested as the keys in the configuration are. Each default stands in one `Default`. A
//! number that can be a third wrong without a change of the pages is a constant here and no key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::model::Duration;
use crate::policy::{Level, Severities};

/// So many alerts of a group that fire within [`FAN_OUT_WITHIN`] are a fan-out: they have one cause, so
/// they page at once.
pub const FAN_OUT: usize = 2;
/// The time within which the alerts of a fan-out fire.
pub const FAN_OUT_WITHIN: Duration = Duration::from_mins(15);
/// So long after its page, at most, alerts still join an incident that rolls on.
pub const ROLLS_FOR: Duration = Duration::from_hours(2);
/// So many alerts fire, at least, in an incident that pages again because it grew.
pub const GROWTH_FROM: usize = 12;
/// A group that was paged this often within [`BUSY_WITHIN`] is busy.
pub const BUSY_PAGES: usize = 24;
/// The time within which the pages of a busy group were sent.
pub const BUSY_WITHIN: Duration = Duration::from_hours(24);
/// The time after which a page for one alert alone counts half (see [`Alone`]).
pub const ALONE_HALF_LIFE: Duration = Duration::from_hours(12);
/// The incident of an alert that opened too many pages alone stays open until it was quiet for so long.
pub const ALONE_QUIET: Duration = Duration::from_hours(2);
/// An alert that opened too many pages alone opens one more if it fires for so long.
pub const ALONE_CONFIRM: Duration = Duration::from_mins(30);
/// Another alert of the group that fired within this time is company: the two are paged at once.
pub const ALONE_NEAR: Duration = Duration::from_mins(5);
/// A page lists the alerts of its group that were withheld so long before, even if they recovered.
pub const LOOK_BACK: Duration = Duration::from_mins(5);

/// A noise profile. The words of damping are RFC 2439's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Noise {
    /// How much an alert that comes and goes is withheld.
    pub flapping: Flapping,
    /// How long an incident stays open after its last alert resolved.
    pub resolve_hold: Duration,
    /// For how long after an incident's page alerts that start join it.
    pub merge_window: Duration,
    /// After `merge_window`, an alert may still join the newest incident of its group. The incident must
    /// include its name, and the last alert of that name must be younger than this. 0 = off. A rollout is
    /// one incident, and another name is another problem. It never applies to a level marked `never_hold`,
    /// nor later than [`ROLLS_FOR`] after the page.
    pub rolling: Duration,
    /// That many times the alerts cause a new page, from [`GROWTH_FROM`] alerts on. 0 = off.
    pub growth: u32,
    /// A higher severity than was paged is a new page.
    pub escalate: bool,
    /// How long the page of a group waits for more alerts. It then includes those that recovered meanwhile.
    /// Levels marked `never_hold` do not wait, and where `usual_per_day` is set, new series do not either.
    pub wait: Duration,
    /// In thousandths: an alert whose series fires more often than this in a day opens no page. The next page
    /// of its group lists it. 0 = off. It never applies to a level marked `never_hold`.
    pub usual_per_day: u32,
    /// Other values of `wait` and `usual_per_day`, for groups that are paged often.
    pub busy: Busy,
    /// An alert that opened too many pages alone opens no more of them.
    pub alone: Alone,
    /// The page of an alert whose series fired before waits, unless it is part of a fan-out.
    pub hold: Hold,
    /// More would-be pages than this at a receiver are one incident (ISA-18.2).
    pub storm: Storm,
    /// Pages at a receiver above this limit wait and are merged. Those of levels marked `never_hold` do not
    /// wait.
    pub limit: Limit,
    /// More pages than this at a receiver are reported as over budget.
    pub budget: Limit,
    /// The interval of the digests that list the alerts held back at a receiver. No digest is sent if there
    /// are none. 0 = never.
    pub digest: Duration,
    /// Whether its decisions are in force.
    pub mode: Mode,
}

impl Noise {
    /// Whether one of its settings needs the times or the number of a series' earlier firings.
    pub fn remembers_series(&self) -> bool {
        let counts = self.usual_per_day > 0 || self.busy != Busy::OFF;
        counts || !self.hold.time.is_zero() || self.alone.pages > 0
    }

    /// How long an alert of a level that may wait stays held before its page. The number says how many
    /// firings a day are usual, in thousandths, 0 = off. `new` = its series is new, `busy` = its group is
    /// busy.
    pub fn patience(&self, new: bool, busy: bool) -> (Duration, u32) {
        match (new, busy) {
            (true, _) if self.usual_per_day > 0 => (Duration::ZERO, 0),
            (true, _) => (self.wait, 0),
            (false, false) => (self.wait, self.usual_per_day),
            (false, true) => (self.wait.max(self.busy.wait), self.usual_per_day.max(self.busy.usual_per_day)),
        }
    }

    /// How long the incident of a group that had another one within a day stays open at least, from its page.
    /// An alert that came back once may come back again. A little longer than `merge_window`, so that
    /// an alert which starts at the end of the window still joins. By default 16m.
    pub fn stay_open_again(&self) -> Duration {
        Duration::from_millis(self.merge_window.as_millis() / 15 * 16)
    }

    /// For how long after the page alerts that join are the same fan-out, and no growth. By default 5m.
    pub fn growth_settle(&self) -> Duration {
        Duration::from_millis(self.merge_window.as_millis() / 3)
    }
}

impl Default for Noise {
    fn default() -> Self {
        Noise {
            flapping: Flapping::default(),
            resolve_hold: Duration::from_mins(2),
            merge_window: Duration::from_mins(15),
            rolling: Duration::from_mins(6),
            growth: 5,
            escalate: true,
            wait: Duration::ZERO,
            usual_per_day: 0,
            busy: Busy { wait: Duration::from_mins(5), usual_per_day: 0 },
            alone: Alone { pages: 3, levels: Vec::new() },
            hold: Hold::default(),
            storm: Storm::default(),
            limit: Limit { pages: 6, per: Duration::from_mins(10) },
            budget: Limit { pages: 2, per: Duration::from_hours(12) },
            digest: Duration::from_hours(24),
            mode: Mode::Enforce,
        }
    }
}

/// Names of built-in profiles, and the profiles.
impl Noise {
    /// The names of the built-in profiles. A route may name them without a profile in the file.
    pub const BUILT_IN: [&str; 4] = ["default", "balanced", "quiet", "calm"];

    /// Every built-in profile by its name.
    pub fn all_built_in(severities: &Severities) -> BTreeMap<SmolStr, Noise> {
        let profile = |name: &str| Some((name.into(), Noise::built_in(name, severities)?));
        Noise::BUILT_IN.into_iter().filter_map(profile).collect()
    }

    /// A built-in profile. `severities` says which levels are never held: `balanced` holds those whose
    /// series fired lately, and `calm` applies its rule for lone alerts to all levels.
    pub fn built_in(name: &str, severities: &Severities) -> Option<Noise> {
        let levels = |urgent: bool| -> Vec<SmolStr> {
            let levels = severities.levels.iter().filter(|level| !urgent || level.never_hold);
            levels.map(|level| level.name.clone()).collect()
        };
        let off = Flapping { suppress_at: 0, ..Flapping::default() };
        let alone = Alone { pages: 0, levels: Vec::new() };
        let default = Noise::default();
        Some(match name {
            "default" => default,
            "balanced" => Noise {
                flapping: off,
                resolve_hold: Duration::ZERO,
                wait: Duration::from_mins(2),
                usual_per_day: 5_000,
                busy: Busy { wait: Duration::from_mins(15), usual_per_day: 13_000 },
                alone,
                hold: Hold { time: Duration::from_mins(10), levels: levels(true) },
                ..default
            },
            "quiet" => Noise {
                flapping: off,
                wait: Duration::from_mins(5),
                usual_per_day: 400,
                busy: Busy::OFF,
                alone,
                ..default
            },
            "calm" => Noise { alone: Alone { pages: 1, levels: levels(false) }, ..default },
            _ => return None,
        })
    }
}

/// Flap damping: each change of an alert adds a penalty of 1, which decays.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Flapping {
    /// The time in which the penalty halves.
    pub half_life: Duration,
    /// The penalty, in thousandths, from which an alert counts as flapping. 0 = off.
    pub suppress_at: u32,
    /// A flapping alert that fires for this long without a break is down, and paged anew. 0 = only when it
    /// stops flapping.
    pub confirm: Duration,
}

impl Flapping {
    /// Penalty, in thousandths, at which an alert stops flapping.
    pub const REUSE_AT: u32 = 1_000;
    /// Flapping withholds the truth for so many half-lives at most.
    const HELD_HALF_LIVES: u64 = 8;

    /// The longest time for which flapping withholds the truth. By default 4h.
    pub fn max_hold(&self) -> Duration {
        Duration::from_millis(self.half_life.as_millis().saturating_mul(Self::HELD_HALF_LIVES))
    }

    /// The penalty, in thousandths, that decays to [`Self::REUSE_AT`] within [`Self::max_hold`].
    pub fn ceiling(&self) -> u64 {
        (u64::from(Self::REUSE_AT) << Self::HELD_HALF_LIVES).max(self.suppress_at.into())
    }
}

impl Default for Flapping {
    fn default() -> Self {
        Flapping { half_life: Duration::from_mins(30), suppress_at: 5_000, confirm: Duration::from_mins(10) }
    }
}

/// Whether decisions have an effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Yes.
    #[default]
    Enforce,
    /// Observe mode: Squelch forwards the sender's statements unchanged, and counts the dispositions that
    /// would have followed.
    Observe,
}

/// When a flood of would-be pages becomes one incident.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Storm {
    /// It begins with more would-be pages than this within `window`. 0 = off.
    pub start: u32,
    /// It ends when fewer would-be pages than this lie within `window`. `None` = half of `start`, rounded up.
    #[serde(default)]
    pub end: Option<u32>,
    /// The time over which would-be pages are counted.
    pub window: Duration,
}

impl Storm {
    /// A storm ends when fewer would-be pages than this lie within `window`. At least 1, so that each storm
    /// ends.
    pub fn end(&self) -> u32 {
        self.end.unwrap_or(self.start.div_ceil(2)).max(1)
    }
}

impl Default for Storm {
    fn default() -> Self {
        Storm { start: 10, end: None, window: Duration::from_mins(10) }
    }
}

/// A number of pages in a time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limit {
    /// The number of pages. 0 = no limit.
    pub pages: u32,
    /// The time to which the number applies.
    pub per: Duration,
}

/// How an alert that is not new waits in a group that was paged [`BUSY_PAGES`] times within [`BUSY_WITHIN`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Busy {
    /// How long it waits. The profile's `wait` applies if it is longer.
    pub wait: Duration,
    /// How many firings a day are usual there, in thousandths. The profile's `usual_per_day` applies if it
    /// is more.
    pub usual_per_day: u32,
}

impl Busy {
    /// A busy group is like any other one.
    const OFF: Busy = Busy { wait: Duration::ZERO, usual_per_day: 0 };
}

/// When an alert opened too many pages in which it stood alone. From then on it updates its last incident,
/// which stays open until the alert was quiet for [`ALONE_QUIET`]. It opens a page again if another alert of
/// its group fires with it ([`ALONE_NEAR`]), or if it lasts ([`ALONE_CONFIRM`]).
///
/// The rule counts how often a person was woken, as RFC 2439 counts changes. It does not look at how the
/// alert ended before. It takes the place of flap damping at the levels to which it applies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alone {
    /// How many pages are enough, each counted half after [`ALONE_HALF_LIFE`]. 0 = off.
    pub pages: u32,
    /// The severity levels to which it applies, by name. None = those that are not marked `never_hold`.
    pub levels: Vec<SmolStr>,
}

impl Alone {
    /// Whether it applies to alerts of this level.
    pub fn applies(&self, level: &Level) -> bool {
        self.pages > 0
            && match self.levels.is_empty() {
                true => !level.never_hold,
                false => self.levels.contains(&level.name),
            }
    }
}

/// The first page of an alert waits if its series fired in the last month, and Squelch withholds the alert if
/// it recovers meanwhile. A fan-out of series ([`FAN_OUT`]) releases the hold.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Hold {
    /// The duration, `for` in the configuration. 0 = off.
    pub time: Duration,
    /// The severity levels that are held, by name. Only here may a `never_hold` level stand.
    pub levels: Vec<SmolStr>,
}
