//! Several causes hold one page: the end of one hands over to the next, and the end of the last one pages.

use proptest::prelude::*;

use crate::engine::testing::*;
use crate::model::{Duration, Kind, LabelSet, SilenceRequest, Status, Timestamp, parse_matchers};
use crate::policy::{InhibitRule, Noise, Policy, TimeInterval, TimeRange};

/// The causes that can hold the page of the alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// A silence.
    Silence,
    /// Another alert that fires.
    Inhibition,
    /// A time interval of its route. It begins when the clock of the test says so.
    Window,
    /// Its own changes.
    Flapping,
    /// A hold of its severity.
    Hold,
    /// The wait of its profile.
    Gathering,
    /// The limit of its receiver.
    Limit,
    /// A storm at its receiver.
    Storm,
}

const CAUSES: [Cause; 8] = [
    Cause::Silence,
    Cause::Inhibition,
    Cause::Window,
    Cause::Flapping,
    Cause::Hold,
    Cause::Gathering,
    Cause::Limit,
    Cause::Storm,
];

/// One step of an overlap.
#[derive(Debug, Clone)]
enum Step {
    /// A silence or an inhibition begins or ends.
    Begin(bool, Cause),
    /// The alert resolves and fires again so often, half a minute apart.
    Flap(u8),
    /// Other alerts page.
    Others(u8),
    Fire,
    Resolve,
    Minutes(u64),
}

/// The window is from 01:00 to 02:00. The tests begin at midnight.
fn policy_of(causes: &[Cause]) -> Policy {
    let has = |cause| causes.contains(&cause);
    let mut noise = Noise::default();
    if has(Cause::Gathering) {
        noise.wait = Duration::from_mins(3);
    }
    if !has(Cause::Limit) {
        noise.limit.pages = 0;
    }
    if has(Cause::Storm) {
        noise.storm.start = 3;
    } else {
        noise.storm.start = 0;
    }
    let mut policy = policy(&["alertname"], noise);
    if has(Cause::Hold) {
        policy.severities.levels[1].hold = Duration::from_mins(4);
    }
    policy.inhibit_rules = vec![InhibitRule {
        name: "source".into(),
        source_matchers: parse_matchers("alertname=Source").unwrap(),
        target_matchers: parse_matchers("alertname=Target").unwrap(),
        equal: Vec::new(),
    }];
    if has(Cause::Window) {
        let times = vec![TimeRange { start: 60, end: 120 }];
        policy.time_intervals.insert("hour".into(), vec![TimeInterval { times, ..TimeInterval::default() }]);
        policy.routes[0].windows.mute = vec!["hour".into()];
    }
    policy
}

struct Overlap {
    world: World,
    target: LabelSet,
    /// Since when the target fires, if it does.
    since: Option<Timestamp>,
    /// The time since which it fires, except for blips, which return to its incident. `ended` is the time
    /// of its last resolve.
    episode: Timestamp,
    ended: Option<Timestamp>,
    others: u64,
    /// Whether a storm may take a warning.
    storm: bool,
}

impl Overlap {
    fn new(causes: &[Cause]) -> Self {
        // Critical ones are neither held nor gathered.
        let waits = causes.iter().any(|c| [Cause::Hold, Cause::Gathering, Cause::Limit].contains(c));
        let severity = if waits { "warning" } else { "critical" };
        let target = labels(&[("alertname", "Target"), ("severity", severity)]);
        let world = World::new(policy_of(causes));
        Overlap {
            world,
            target,
            since: None,
            episode: START,
            ended: None,
            others: 0,
            storm: waits && causes.contains(&Cause::Storm),
        }
    }

    fn advance(&mut self, by: Duration) {
        self.world.advance(by);
    }

    fn fire(&mut self) {
        let now = self.world.now;
        if self.since.is_none() && self.ended.is_none_or(|at| now > at + Duration::from_mins(2)) {
            self.episode = now;
        }
        let since = *self.since.get_or_insert(now);
        self.world.webhook("am", vec![firing(&self.target, since)]);
    }

    fn resolve(&mut self) {
        if let Some(since) = self.since.take() {
            self.ended = Some(self.world.now);
            self.world.webhook("am", vec![resolved(&self.target, since, self.world.now)]);
        }
    }

    fn silence(&mut self, begins: bool) {
        let active = self.world.engine.query().silences().into_iter().map(|(silence, _)| silence);
        let active =
            active.filter(|silence| silence.ends_at > self.world.now).map(|silence| silence.id).next();
        match (begins, active) {
            (true, None) => {
                self.world.silence("alertname=Target", self.world.now, Duration::from_hours(24));
            }
            (false, Some(id)) => self.world.ask_silence(&SilenceRequest::Expire(id)),
            _ => {}
        }
    }

    fn inhibit(&mut self, begins: bool) {
        let source = labels(&[("alertname", "Source"), ("severity", "info")]);
        let now = self.world.now;
        let said = if begins { firing(&source, now) } else { resolved(&source, START, now) };
        self.world.webhook("am", vec![said]);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Begin(begins, Cause::Silence) => self.silence(*begins),
            Step::Begin(begins, _) => self.inhibit(*begins),
            Step::Flap(times) => {
                for _ in 0..*times {
                    self.fire();
                    self.advance(Duration::from_secs(30));
                    self.resolve();
                    self.advance(Duration::from_secs(30));
                }
            }
            Step::Others(count) => {
                for _ in 0..*count {
                    self.others += 1;
                    let name = format!("Other{}", self.others);
                    let other = labels(&[("alertname", &name), ("severity", "critical")]);
                    let now = self.world.now;
                    self.world.webhook("am", vec![firing(&other, now)]);
                    self.advance(Duration::from_secs(1));
                    self.world.webhook("am", vec![resolved(&other, now, self.world.now)]);
                }
            }
            Step::Fire => self.fire(),
            Step::Resolve => self.resolve(),
            Step::Minutes(minutes) => self.advance(Duration::from_mins(*minutes)),
        }
    }

    /// Everything that may hold the page ends, and the alert fires on for hours. A person was paged for
    /// this firing, or shortly before it, and an open incident shows it.
    fn ends_with_a_page(&mut self) {
        self.fire();
        let since = self.episode;
        self.silence(false);
        self.inhibit(false);
        self.advance(Duration::from_hours(6));
        let shows = |n: &&crate::model::Notification| {
            // A storm reports a warning by an update of its own incident.
            let notified = n.kind == Kind::Page || self.storm && n.kind == Kind::Update;
            notified && n.alerts.iter().any(|a| a.status == Status::Firing && a.labels == self.target)
        };
        let newest = self.world.sent.iter().rev().find(shows).map(|n| n.at);
        // Within `merge_window` of a page, and `resolve_hold` after it, a person is at it already.
        let recent = Duration::from_mins(17);
        assert!(
            newest.is_some_and(|at| at + recent >= since),
            "fires since {since}, last paged at {newest:?}"
        );
        let firing: Vec<_> = self.world.pager.values().filter(|shown| shown.open).collect();
        assert!(firing.iter().any(|shown| !shown.firing.is_empty()), "no open incident shows it");
    }
}

/// The steps that begin and end a cause. A cause that ends with time needs no step.
fn begins(cause: Cause) -> Vec<Step> {
    match cause {
        Cause::Silence | Cause::Inhibition => vec![Step::Begin(true, cause)],
        Cause::Window => vec![Step::Minutes(58)],
        Cause::Flapping => vec![Step::Flap(3)],
        Cause::Limit => vec![Step::Others(7)],
        Cause::Storm => vec![Step::Others(5)],
        Cause::Hold | Cause::Gathering => Vec::new(),
    }
}

/// Every pair of causes, in both orders: both hold the page at once, and one ends before the other.
#[test]
fn the_end_of_the_last_of_two_causes_pages() {
    for first in CAUSES {
        for second in CAUSES.into_iter().filter(|second| *second != first) {
            for first_ends_first in [true, false] {
                let mut overlap = Overlap::new(&[first, second]);
                for step in begins(first).iter().chain(&begins(second)).chain(&[Step::Minutes(1)]) {
                    overlap.step(step);
                }
                overlap.step(&Step::Fire);
                overlap.step(&Step::Minutes(12));
                let order = if first_ends_first { [first, second] } else { [second, first] };
                for cause in order.into_iter().filter(|c| [Cause::Silence, Cause::Inhibition].contains(c)) {
                    overlap.step(&Step::Begin(false, cause));
                    overlap.step(&Step::Minutes(7));
                }
                overlap.ends_with_a_page();
            }
        }
    }
}

/// The wait after an inhibition shortens no hold.
#[test]
fn a_hold_goes_on_after_an_inhibition() {
    let mut overlap = Overlap::new(&[Cause::Hold, Cause::Inhibition]);
    overlap.inhibit(true);
    overlap.fire();
    overlap.advance(Duration::from_mins(1));
    overlap.inhibit(false);
    let pages = |overlap: &Overlap| {
        let of_target = |n: &&crate::model::Notification| n.alerts.iter().any(|a| a.labels == overlap.target);
        overlap.world.sent.iter().filter(of_target).count()
    };
    overlap.advance(Duration::from_mins(2));
    assert_eq!(pages(&overlap), 0, "it is held for 4 minutes from its start");
    overlap.advance(Duration::from_mins(2));
    assert_eq!(pages(&overlap), 1);
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => any::<bool>().prop_map(|begins| Step::Begin(begins, Cause::Silence)),
        3 => any::<bool>().prop_map(|begins| Step::Begin(begins, Cause::Inhibition)),
        2 => (1u8..5).prop_map(Step::Flap),
        1 => (1u8..8).prop_map(Step::Others),
        4 => Just(Step::Fire),
        2 => Just(Step::Resolve),
        5 => (1u64..25).prop_map(Step::Minutes),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    /// Random overlaps of all causes lose no page.
    #[test]
    fn overlaps_lose_no_page(
        causes in prop::collection::btree_set(prop::sample::select(CAUSES.to_vec()), 0..5),
        steps in steps(),
    ) {
        let causes: Vec<_> = causes.into_iter().collect();
        let mut overlap = Overlap::new(&causes);
        steps.iter().for_each(|step| overlap.step(step));
        overlap.ends_with_a_page();
    }
}
