//! Random scenes for laws: the true events with their times, and the senders' statements about them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::engine::Event;
use crate::engine::testing::*;
use crate::model::{
    AlertId, Batch, Duration, Kind, LabelSet, Notification, Observation, Source, Status, Timestamp,
};
use crate::policy::{Alone, Flapping, Limit, Noise, Policy, Storm};

/// Seconds from one change of an alert to the next.
const SPANS: [u64; 9] = [20, 50, 95, 140, 310, 620, 1_000, 3_700, 7_500];
/// A scene goes on for so long after its last change: `max_hold` and all that follows it are over.
const AFTERWARDS: u64 = 6 * 3_600;

/// An alert, and from when to when it fires, in seconds from the start.
#[derive(Clone, Debug)]
pub(super) struct Alert {
    pub(super) labels: LabelSet,
    pub(super) fires: Vec<(u64, u64)>,
}

/// The true events, and the settings of the engine.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) alerts: Vec<Alert>,
    pub(super) group_by: Vec<&'static str>,
    pub(super) noise: Noise,
}

/// One alert as one request states it.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// Milliseconds from the start.
    pub(super) at: u64,
    pub(super) source: Source,
    pub(super) peer: &'static str,
    pub(super) said: Observation,
}

fn at(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

fn said(labels: &LabelSet, (from, to): (u64, u64), now: u64) -> Observation {
    if now < to { firing(labels, at(from)) } else { resolved(labels, at(from), at(to)) }
}

impl Scene {
    pub(super) fn policy(&self) -> Policy {
        policy(&self.group_by, self.noise.clone())
    }

    pub(super) fn with(&self, change: impl FnOnce(&mut Noise)) -> Scene {
        let mut other = self.clone();
        change(&mut other.noise);
        other
    }

    /// An Alertmanager sends each change, and repeats firing alerts.
    pub(super) fn webhook(&self, repeat: u64) -> Vec<Word> {
        let mut all = Vec::new();
        for Alert { labels, fires } in &self.alerts {
            for &(from, to) in fires {
                for now in (from..to).step_by(repeat.try_into().unwrap_or(usize::MAX)).chain([to]) {
                    let said = said(labels, (from, to), now);
                    all.push(Word { at: now * 1_000, source: Source::Alertmanager, peer: "am", said });
                }
            }
        }
        in_order(all)
    }

    /// A Prometheus sends firing alerts each minute, and ended ones for five minutes.
    pub(super) fn api_v2(&self) -> Vec<Word> {
        let mut all = Vec::new();
        for Alert { labels, fires } in &self.alerts {
            for (n, &(from, to)) in fires.iter().enumerate() {
                let next = fires.get(n + 1).map_or(u64::MAX, |(from, _)| *from).min(to + 300);
                for now in (from..to).step_by(60).chain((to..next).step_by(60)) {
                    let mut said = said(labels, (from, to), now);
                    said.ends_at = said.ends_at.or(Some(at(now + 240)));
                    all.push(Word { at: now * 1_000, source: Source::Prometheus, peer: "prom", said });
                }
            }
        }
        in_order(all)
    }

    pub(super) fn end(&self) -> u64 {
        self.alerts.iter().flat_map(|a| &a.fires).map(|(_, to)| *to).max().unwrap_or(0) + AFTERWARDS
    }

    /// Whether the alert may count as flapping by then: as many changes as that takes came before.
    pub(super) fn may_flap(&self, alert: &Alert, by: u64) -> bool {
        let changes = alert.fires.iter().flat_map(|(from, to)| [*from, *to]).filter(|t| *t <= by).count();
        self.noise.flapping.suppress_at > 0
            && 1_000 * changes as u64 + 100 >= u64::from(self.noise.flapping.suppress_at)
    }
}

/// Sorted by time. The statements of one peer at one time stand together.
pub(super) fn in_order(mut words: Vec<Word>) -> Vec<Word> {
    words.sort_by_key(|word| (word.at, word.source, word.peer));
    words
}

/// The requests, each with its statements.
pub(super) fn requests(words: &[Word]) -> impl Iterator<Item = &[Word]> {
    words.chunk_by(|a, b| (a.at, a.source, a.peer) == (b.at, b.source, b.peer))
}

/// The world `end` seconds after the start.
pub(super) fn play(policy: Policy, words: &[Word], end: u64) -> World {
    let mut world = World::new(policy);
    for request in requests(words) {
        let due = START + Duration::from_millis(request[0].at);
        world.advance(due.since(world.now));
        let observations = request.iter().map(|word| word.said.clone()).collect();
        let batch = Batch::new(request[0].source, request[0].peer, observations);
        let event = match world.engine.query().repeats(&batch) {
            Some(repeats) => Event::Repeats(repeats),
            None => Event::Observe(batch),
        };
        world.handle(event);
    }
    world.advance(at(end).since(world.now));
    world
}

/// The pages that `pd` got: when, and of which alerts.
pub(super) type Pages = Vec<(u64, BTreeSet<(String, bool)>)>;

pub(super) fn pages_as(world: &World, name: impl Fn(&LabelSet) -> String) -> Pages {
    let pages = world.sent.iter().filter(|n| n.kind == Kind::Page && n.receiver == "pd");
    let mut all: Pages = pages
        .map(|n| {
            let alerts = n.alerts.iter().map(|a| (name(&a.labels), a.status == Status::Firing)).collect();
            (n.at.since(START).as_millis(), alerts)
        })
        .collect();
    all.sort();
    all
}

pub(super) fn pages(world: &World) -> Pages {
    pages_as(world, ToString::to_string)
}

/// The state of the pager at each moment: the alerts that each open incident shows as firing.
#[derive(Default)]
pub(super) struct Board(BTreeMap<String, BTreeMap<AlertId, bool>>);

impl Board {
    pub(super) fn read(&mut self, n: &Notification) {
        match n.kind {
            Kind::Digest | Kind::Acknowledge => {}
            Kind::Resolve => drop(self.0.remove(n.dedup_key.as_str())),
            Kind::Page | Kind::Update => {
                let said = n.alerts.iter().map(|a| (a.id, a.status == Status::Firing));
                self.0.entry(n.dedup_key.to_string()).or_default().extend(said);
            }
        }
    }

    pub(super) fn fires(&self, id: AlertId) -> bool {
        self.0.values().any(|alerts| alerts.get(&id) == Some(&true))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn spans(least: u64) -> impl Strategy<Value = Vec<(u64, u64)>> {
    let span = || prop::sample::select(SPANS.iter().copied().filter(|s| *s >= least).collect::<Vec<_>>());
    prop::collection::vec((span(), span()), 1..5).prop_map(|spans| {
        let mut now = 0;
        let mut next = |by| {
            now += by;
            now
        };
        spans.into_iter().map(|(withheld, fires)| (next(withheld), next(fires))).collect()
    })
}

fn noise() -> impl Strategy<Value = Noise> {
    let base = Noise::default;
    let of = |all: [Duration; 3]| prop::sample::select(all.to_vec());
    let storm = move || {
        let off = Storm { start: 0, ..base().storm };
        prop::sample::select(vec![
            base().storm,
            off,
            Storm { start: 2, end: None, window: Duration::from_mins(5) },
        ])
    };
    let limit = move || {
        let off = Limit { pages: 0, ..base().limit };
        prop::sample::select(vec![base().limit, off, Limit { pages: 1, per: Duration::from_mins(5) }])
    };
    let rolling = prop::sample::select(vec![base().rolling, Duration::ZERO]);
    (
        prop::sample::select(vec![(0u32, 0u32), (3_000, 0), (5_000, 0), (5_000, 1), (5_000, 3)]),
        storm(),
        limit(),
        rolling,
        of([base().resolve_hold, Duration::ZERO, Duration::from_mins(5)]),
        of([base().merge_window, Duration::from_mins(1), base().merge_window]),
        prop::sample::select(vec![0u32, 2]),
    )
        .prop_map(
            move |((suppress_at, pages), storm, limit, rolling, resolve_hold, merge_window, growth)| {
                let flapping = Flapping { suppress_at, ..base().flapping };
                let alone = Alone { pages, ..base().alone };
                Noise { flapping, alone, storm, limit, rolling, resolve_hold, merge_window, growth, ..base() }
            },
        )
}

/// Scenes of one to five alerts, whose changes are at least so many seconds apart.
pub(super) fn scenes(least: u64) -> impl Strategy<Value = Scene> {
    let alerts = prop::collection::vec((0u8..8, any::<bool>(), spans(least)), 1..6);
    let group_by =
        prop::sample::select(vec![vec!["alertname"], vec!["alertname", "cluster"], vec!["instance"], vec![]]);
    (alerts, any::<bool>(), group_by, noise()).prop_map(|(alerts, mixed, group_by, noise)| {
        let mut by_number = BTreeMap::new();
        for (n, minor, fires) in alerts {
            by_number.entry(n).or_insert((minor, fires));
        }
        let alert = |(n, (minor, fires)): (u8, (bool, Vec<(u64, u64)>))| {
            let severity = if mixed && minor { "warning" } else { "critical" };
            let labels = labels(&[
                ("alertname", ["A", "B"][usize::from(n / 4)]),
                ("cluster", ["eu", "us"][usize::from(n / 2 % 2)]),
                ("instance", &n.to_string()),
                ("severity", severity),
            ]);
            Alert { labels, fires }
        };
        Scene { alerts: by_number.into_iter().map(alert).collect(), group_by, noise }
    })
}
