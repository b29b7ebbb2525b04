//! A noise profile: the numbers by which the engine holds, gathers or withholds pages.
//!
//! The structs are nested as the keys in the configuration are. Each default stands in one `Default`.
//! A number that can be a third wrong without changing what is paged is a constant here and no key.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::model::Duration;

/// So many alerts of a group that fire within [`FAN_OUT_WITHIN`] are a fan-out: they have one cause, so
/// they page at once.
pub const FAN_OUT: usize = 2;
/// The time within which the alerts of a fan-out fire.
pub const FAN_OUT_WITHIN: Duration = Duration::from_mins(15);
/// So long after its page, at most, alerts still join an incident that rolls on.
pub const ROLLS_FOR: Duration = Duration::from_hours(2);
/// So many alerts fire, at least, in an incident that pages again because it grew.
pub const GROWTH_FROM: usize = 12;

/// A noise profile. The words of damping are RFC 2439's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Noise {
    /// How much an alert that comes and goes is withheld.
    pub flapping: Flapping,
    /// How long an incident stays open after its last alert resolved.
    pub resolve_hold: Duration,
    /// For how long after an incident's page alerts that start join it.
    pub merge_window: Duration,
    /// After `merge_window`, an alert whose name the newest incident of its group includes still joins that
    /// incident if the last alert of that name came less than this ago. 0 = off. A rollout is one incident,
    /// and another name is another problem. It never applies to a level marked `never_hold`, nor later than
    /// [`ROLLS_FOR`] after the page.
    pub rolling: Duration,
    /// That many times the alerts is a new page, from [`GROWTH_FROM`] alerts on; 0 = off.
    pub growth: u32,
    /// A higher severity than was paged is a new page.
    pub escalate: bool,
    /// How long the page of a group waits for more alerts. It then includes those that recovered meanwhile.
    /// Levels marked `never_hold` do not wait.
    pub wait: Duration,
    /// Kinds of identifiers in label values that do not make an alert another series, for `surprise`
    /// and `hold`.
    pub identifiers: Vec<Identifier>,
    /// An alert that is usual for its series opens no page.
    pub surprise: Surprise,
    /// The page of an alert whose series fired before waits, unless it is part of a fan-out.
    pub hold: Hold,
    /// More would-be pages than this at a receiver are one incident (ISA-18.2).
    pub storm: Storm,
    /// More pages than this at a receiver wait and are merged; not those of levels marked `never_hold`.
    pub limit: Limit,
    /// More pages than this at a receiver are reported as over budget.
    pub budget: Limit,
    /// How often a receiver gets a digest of the alerts that were held back there, if there are any; 0 =
    /// never.
    pub digest: Duration,
    /// Whether its decisions are in force.
    pub mode: Mode,
}

impl Noise {
    /// Whether anything in it needs to know how a series fired before.
    pub fn remembers_series(&self) -> bool {
        self.surprise.page_at > 0 || !self.hold.time.is_zero()
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
        let all = Identifier::ALL.into_iter();
        Noise {
            flapping: Flapping::default(),
            resolve_hold: Duration::from_mins(2),
            merge_window: Duration::from_mins(15),
            rolling: Duration::from_mins(6),
            growth: 5,
            escalate: true,
            wait: Duration::ZERO,
            // Two machines are not one series.
            identifiers: all.filter(|kind| *kind != Identifier::Target).collect(),
            surprise: Surprise::default(),
            hold: Hold::default(),
            storm: Storm::default(),
            limit: Limit { pages: 6, per: Duration::from_mins(10) },
            budget: Limit { pages: 2, per: Duration::from_hours(12) },
            digest: Duration::from_hours(24),
            mode: Mode::Enforce,
        }
    }
}

/// Flap damping: each change of an alert adds a penalty of 1, which decays.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Flapping {
    /// In what time the penalty halves.
    pub half_life: Duration,
    /// Penalty, in thousandths, at which an alert counts as flapping; 0 = off.
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

/// Whether what is decided is also done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Yes.
    #[default]
    Enforce,
    /// No: what upstream says goes on as it came, and what would have become of it is counted.
    Observe,
}

/// A kind of value that is another one with each container, request or address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Identifier {
    /// What Kubernetes adds to the names of pods: `cart-579b9bff58-t2dbm`, `proxy-x7k2p`.
    Pod,
    /// A UUID.
    Uuid,
    /// Interfaces of containers and devices that are numbered as they come: `veth1a2b3c4`, `dm-3`, `loop7`.
    Device,
    /// Hexadecimal ids of containers, commits and images.
    Hash,
    /// Numbers of nine digits and more.
    Number,
    /// An IP address alone.
    Ip,
    /// An IP address with a port, as Prometheus names what it scrapes.
    Target,
}

impl Identifier {
    /// Every kind.
    pub const ALL: [Identifier; 7] = [
        Identifier::Pod,
        Identifier::Uuid,
        Identifier::Device,
        Identifier::Hash,
        Identifier::Number,
        Identifier::Ip,
        Identifier::Target,
    ];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Identifier::Pod => "pod",
            Identifier::Uuid => "uuid",
            Identifier::Device => "device",
            Identifier::Hash => "hash",
            Identifier::Number => "number",
            Identifier::Ip => "ip",
            Identifier::Target => "target",
        }
    }
}

/// When a flood of would-be pages becomes one incident.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Storm {
    /// It begins with more would-be pages than this within `window`; 0 = off.
    pub start: u32,
    /// It ends when fewer would-be pages than this lie within `window`. `None` = half of `start`, rounded up.
    #[serde(default)]
    pub end: Option<u32>,
    /// In what time would-be pages are counted.
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
    /// How many; 0 = no limit.
    pub pages: u32,
    /// In what time.
    pub per: Duration,
}

/// The surprise of a firing is -log10 of the chance that its series fires within `window`, at the
/// rate at which it fired before. The surprises of the series that fired and were not told of add up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Surprise {
    /// In thousandths: a group that comes to less than this at the end of the wait pages nobody; 0 = off.
    pub page_at: u32,
    /// In thousandths: a group that comes to this pages at once, without a wait; 0 = never.
    pub at_once: u32,
    /// Over what time surprise is gathered, and into what page a withheld alert still comes.
    pub window: Duration,
    /// Take the largest surprise instead of the sum.
    pub largest: bool,
}

impl Default for Surprise {
    fn default() -> Self {
        Surprise { page_at: 0, at_once: 0, window: Duration::from_mins(5), largest: false }
    }
}

/// The first page of an alert waits if its series fired in the last month, and Squelch withholds the alert if
/// it recovers meanwhile. A fan-out of series ([`FAN_OUT`]) releases the hold.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Hold {
    /// How long, `for` in the configuration; 0 = off.
    pub time: Duration,
    /// The severity levels that are held, by name. Only here may a `never_hold` level stand.
    pub levels: Vec<SmolStr>,
}
