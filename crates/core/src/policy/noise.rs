//! A noise profile: every constant by which the engine holds, gathers or keeps quiet.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::model::Duration;

/// A noise profile. The words of damping are RFC 2439's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Noise {
    /// In what time the flap penalty halves. Default 30m.
    pub half_life: Duration,
    /// Penalty, in thousandths, at which an alert counts as flapping. Default 5 (5000); 0 = off.
    pub suppress_at: u32,
    /// Penalty, in thousandths, at which it no longer does. Default 1 (1000).
    pub reuse_at: u32,
    /// The longest that flapping may withhold the truth. Default 4h.
    pub max_hold: Duration,
    /// A flapping alert that fires for this long without a break is down, and paged anew; 0 = only
    /// once it is calm. Default 10m.
    pub confirm: Duration,
    /// That many flapping alerts of a group that fire again within `within` page at once: what
    /// starts together has a cause. 0 = never. Default 2.
    #[serde(default)]
    pub fan_out: u32,
    /// Default 5m.
    #[serde(default)]
    pub within: Duration,
    /// How long an incident stays open after its last alert resolved. Default 2m.
    pub resolve_hold: Duration,
    /// For how long after an incident's page what starts joins it. Default 15m.
    pub merge_window: Duration,
    /// After `merge_window` more of what an incident has told of still joins it.
    #[serde(default)]
    pub rolling: Rolling,
    /// That many times the alerts is a new page; 0 = off. Default 5.
    pub growth: u32,
    /// So many alerts must fire for that at least; 0 = any number. Default 12.
    #[serde(default)]
    pub growth_from: u32,
    /// Alerts that join within this time of the page are the same fan-out, not growth. Default 5m.
    pub growth_settle: Duration,
    /// A higher severity than was paged is a new page. Default true.
    pub escalate: bool,
    /// How long the page of a group waits for more, and then tells also what recovered meanwhile;
    /// not for levels marked `never_hold`. Default 0s.
    pub wait: Duration,
    /// Kinds of identifiers in label values that do not make an alert another series, for `surprise`
    /// and `hold`. Default: all but `target`.
    #[serde(default)]
    pub identifiers: Vec<Identifier>,
    /// What is usual opens no page. Off by default.
    pub surprise: Surprise,
    /// The page of an alert whose series fired before waits, unless it is part of a fan-out. Off by default.
    pub hold: Hold,
    /// More would-be pages than this at a receiver are one incident (ISA-18.2). Default 10 in 10m.
    pub storm: Storm,
    /// More pages than this at a receiver wait and are merged; not those of levels marked
    /// `never_hold`. Default 6 in 10m.
    pub limit: Limit,
    /// More pages than this at a receiver are reported as over budget. Default 2 in 12h.
    pub budget: Limit,
    /// How often a receiver is told what was held back there, if anything was; 0s = never. Default 24h.
    #[serde(default)]
    pub digest: Duration,
    /// Whether its decisions are in force. Default enforce.
    #[serde(default)]
    pub mode: Mode,
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

/// An alert whose name the newest incident of its group told of joins it if the last of that name came
/// less than `within` ago; not one of a level marked `never_hold`, and not later than `at_most` after
/// the page: a rollout that goes on is one incident, and another name is another problem.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rolling {
    /// 0s = off. Default 6m.
    pub within: Duration,
    /// Default 2h.
    pub at_most: Duration,
}

impl Default for Rolling {
    fn default() -> Self {
        Rolling { within: Duration::from_mins(6), at_most: Duration::from_hours(2) }
    }
}

/// When a flood of would-be pages becomes one incident.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Storm {
    /// It begins with more would-be pages than this within `window`; 0 = off. Default 10.
    pub start: u32,
    /// It ends with fewer. Default 5.
    pub end: u32,
    /// Default 10m.
    pub window: Duration,
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
/// rate at which it fired before. It is summed over the series that fired and were not told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Surprise {
    /// In thousandths: less than this at the end of the wait, and nobody is paged; 0 = off.
    pub page_at: u32,
    /// In thousandths: as much as this pages at once, without a wait; 0 = never.
    pub at_once: u32,
    /// Over what time surprise is gathered, and into what page what was kept quiet comes. Default 5m.
    pub window: Duration,
    /// In what time the memory of a series' rate halves. Default 1d.
    pub half_life: Duration,
    /// Take the largest surprise instead of the sum.
    pub largest: bool,
}

/// So many alerts of a group that fire within [`FAN_OUT_WITHIN`] are a fan-out: they have one cause, so they page
/// at once.
pub const FAN_OUT: usize = 2;
/// The time within which the alerts of a fan-out fire.
pub const FAN_OUT_WITHIN: Duration = Duration::from_mins(15);

/// The first page of an alert waits if its series fired in the last month, and Squelch withholds the alert if
/// it recovers meanwhile. A fan-out of series ([`FAN_OUT`]) releases the hold.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Hold {
    /// How long, `for` in the configuration; 0 = off.
    pub time: Duration,
    /// The severity levels that are held, by name. Only here may a `never_hold` level stand.
    pub levels: Vec<SmolStr>,
}

impl Default for Surprise {
    fn default() -> Self {
        Surprise {
            page_at: 0,
            at_once: 0,
            window: Duration::from_mins(5),
            half_life: Duration::from_hours(24),
            largest: false,
        }
    }
}

impl Noise {
    /// How long the incident of a group that had another one within a day stays open at least, from its page.
    /// An alert that came back once may come back again. A little longer than `merge_window`, so that
    /// an alert which starts at the end of the window still joins. By default 16m.
    pub fn stay_open_again(&self) -> Duration {
        Duration::from_millis(self.merge_window.as_millis() / 15 * 16)
    }

    /// Whether anything in it needs to know how a series fired before.
    pub fn remembers_series(&self) -> bool {
        self.surprise.page_at > 0 || !self.hold.time.is_zero()
    }
}

impl Default for Noise {
    fn default() -> Self {
        Noise {
            half_life: Duration::from_mins(30),
            suppress_at: 5000,
            reuse_at: 1000,
            max_hold: Duration::from_hours(4),
            confirm: Duration::from_mins(10),
            fan_out: 2,
            within: Duration::from_mins(5),
            resolve_hold: Duration::from_mins(2),
            merge_window: Duration::from_mins(15),
            rolling: Rolling::default(),
            growth: 5,
            growth_from: 12,
            growth_settle: Duration::from_mins(5),
            escalate: true,
            wait: Duration::ZERO,
            identifiers: Identifier::ALL.into_iter().filter(|kind| *kind != Identifier::Target).collect(),
            surprise: Surprise::default(),
            hold: Hold::default(),
            storm: Storm { start: 10, end: 5, window: Duration::from_mins(10) },
            limit: Limit { pages: 6, per: Duration::from_mins(10) },
            budget: Limit { pages: 2, per: Duration::from_hours(12) },
            digest: Duration::from_hours(24),
            mode: Mode::Enforce,
        }
    }
}
