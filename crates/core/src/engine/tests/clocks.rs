//! Clocks that differ: engine time from wall time, and senders' from both.

use crate::engine::Event;
use crate::engine::testing::*;
use crate::model::{Duration, Kind, LabelSet, Observation, Source, Status, Timestamp};
use crate::model::{Silence, SilenceRequest, parse_matchers};
use crate::policy::{Noise, Policy, SelfCheckSettings, TimeInterval, TimeRange, Windows};

const MINUTE: u64 = 60;

/// A policy whose own incidents go to the same pager.
fn watched() -> Policy {
    let quick = Noise { resolve_hold: Duration::ZERO, merge_window: Duration::ZERO, ..Noise::default() };
    let watch =
        SelfCheckSettings { enabled: true, receiver: Some("pd".into()), ..SelfCheckSettings::default() };
    Policy { self_check: watch, ..policy(&["alertname"], quick) }
}

/// A Prometheus whose clock is `off` seconds ahead of wall time, in a world whose engine time is `ahead`
/// seconds ahead of wall time.
struct Sender {
    world: World,
    off: i64,
    ahead: i64,
    name: &'static str,
}

fn shifted(at: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_millis(at.as_millis() + seconds * 1000)
}

fn critical(name: &str) -> LabelSet {
    labels(&[("alertname", name), ("severity", "critical")])
}

impl Sender {
    fn new(ahead: i64, off: i64) -> Self {
        let mut world = World::new(watched());
        world.now = Timestamp::EPOCH + Duration::from_hours(24);
        world.handle(Event::Clocks(ahead * 1000));
        Sender { world, off, ahead, name: "prometheus-a" }
    }

    fn wall(&self) -> Timestamp {
        shifted(self.world.now, -self.ahead)
    }

    /// The time that its clock shows.
    fn clock(&self) -> Timestamp {
        shifted(self.wall(), self.off)
    }

    /// Sends an alert as API v2 reads it: an alert with a passed end counts as resolved.
    fn send(&mut self, labels: &LabelSet, start: Timestamp, end: Timestamp) {
        let status = if end <= self.wall() { Status::Resolved } else { Status::Firing };
        let said = Observation { status, ends_at: Some(end), ..firing(labels, start) };
        let name = self.name;
        self.world.prometheus(name, vec![said]);
    }

    fn fires(&mut self, labels: &LabelSet, start: Timestamp) {
        let end = self.clock() + Duration::from_mins(4);
        self.send(labels, start, end);
    }

    fn resolves(&mut self, labels: &LabelSet, start: Timestamp, end: Timestamp) {
        self.send(labels, start, end);
    }

    /// Repeats that the alert fires for so many minutes.
    fn goes_on(&mut self, labels: &LabelSet, start: Timestamp, minutes: u64) {
        for _ in 0..minutes {
            self.world.advance(Duration::from_secs(MINUTE));
            self.fires(labels, start);
        }
    }

    fn count(&self, kind: Kind, name: &str) -> usize {
        let about = |n: &&crate::model::Notification| {
            n.kind == kind && n.alerts.iter().any(|alert| alert.labels.value("alertname") == name)
        };
        self.world.sent.iter().filter(about).count()
    }
}

#[test]
fn an_alert_pages_while_engine_time_is_minutes_ahead_of_wall_time() {
    for ahead in [-600, -301, 0, 300, 600, 400 * 86_400] {
        let mut sender = Sender::new(ahead, 0);
        let (alert, start) = (critical("DbDown"), sender.clock());
        sender.fires(&alert, start);
        sender.goes_on(&alert, start, 9);
        assert_eq!(sender.count(Kind::Page, "DbDown"), 1, "{ahead} s");
        assert_eq!(sender.count(Kind::Resolve, "DbDown"), 0, "{ahead} s");
        let end = sender.clock();
        sender.resolves(&alert, start, end);
        assert_eq!(sender.count(Kind::Resolve, "DbDown"), 1, "{ahead} s");
        let shown = sender.world.sent.last().unwrap().alerts[0].clone();
        assert_eq!(
            (shown.starts_at, shown.ends_at),
            (start, Some(end)),
            "a receiver reads the sender's times"
        );
        assert!(
            sender.world.engine.query().stats().sender_clocks.is_empty(),
            "the sender's clock is right: {ahead} s"
        );
    }
}

#[test]
fn an_alert_that_nobody_repeats_ends_when_its_sender_said_in_any_engine_time() {
    for ahead in [-600, 0, 600] {
        let mut sender = Sender::new(ahead, 0);
        let (alert, start) = (critical("DbDown"), sender.clock());
        sender.fires(&alert, start);
        sender.world.advance(Duration::from_secs(239));
        assert_eq!(sender.count(Kind::Resolve, "DbDown"), 0, "{ahead} s");
        sender.world.advance(Duration::from_secs(2));
        assert_eq!(sender.count(Kind::Resolve, "DbDown"), 1, "{ahead} s");
    }
}

#[test]
fn engine_time_that_slews_makes_no_repeat_news() {
    let mut sender = Sender::new(600, 0);
    let (alert, start) = (critical("DbDown"), sender.clock());
    sender.fires(&alert, start);
    for _ in 0..200 {
        sender.world.advance(Duration::from_secs(57));
        sender.ahead -= 3;
        sender.world.handle(Event::Clocks(sender.ahead * 1000));
        let events = sender.world.events.len();
        sender.fires(&alert, start);
        assert!(matches!(sender.world.events[events].1, Event::Repeats(_)));
    }
    assert_eq!((sender.count(Kind::Page, "DbDown"), sender.count(Kind::Resolve, "DbDown")), (1, 0));
}

#[test]
fn a_hold_counts_from_the_start_in_wall_time() {
    let mut sender = Sender::new(600, 0);
    let mut policy = watched();
    policy.severities.levels[1].hold = Duration::from_mins(2);
    sender.world.handle(Event::Policy(Box::new(policy)));
    let (alert, start) = (labels(&[("alertname", "Slow"), ("severity", "warning")]), sender.clock());
    sender.fires(&alert, start);
    assert_eq!(sender.count(Kind::Page, "Slow"), 0, "engine time is 10 minutes ahead, and no hold is over");
    sender.goes_on(&alert, start, 3);
    assert_eq!(sender.count(Kind::Page, "Slow"), 1);
}

/// The end by expiry lies in wall time: a later resolve of a pair is not taken for an old one.
#[test]
fn an_alert_that_expired_under_a_clock_ahead_ends_again() {
    let mut sender = Sender::new(600, 0);
    let (alert, start) = (critical("DbDown"), sender.clock());
    sender.fires(&alert, start);
    sender.world.advance(Duration::from_mins(5));
    assert_eq!(sender.count(Kind::Resolve, "DbDown"), 1);
    let again = sender.clock();
    for name in ["prometheus-a", "prometheus-b"] {
        sender.name = name;
        sender.fires(&alert, again);
    }
    sender.world.advance(Duration::from_mins(1));
    let end = sender.clock();
    sender.resolves(&alert, again, end);
    assert_eq!((sender.count(Kind::Page, "DbDown"), sender.count(Kind::Resolve, "DbDown")), (2, 2));
}

#[test]
fn a_sender_whose_clock_is_behind_is_named_and_its_alerts_page_and_resolve() {
    for off in [-280, -600, -7200] {
        let mut sender = Sender::new(0, off);
        let (alert, start) = (critical("DbDown"), sender.clock());
        sender.fires(&alert, start);
        assert_eq!(sender.count(Kind::Page, "DbDown"), 0, "nothing tells it from a resolve: {off} s");
        sender.goes_on(&alert, start, 1);
        assert_eq!(sender.count(Kind::Page, "DbDown"), 1, "{off} s");
        let clocks = sender.world.engine.query().stats().sender_clocks;
        let by = clocks["prometheus-a"];
        assert!(by <= -30_000 && by >= off * 1000, "{by}");
        assert_eq!(sender.count(Kind::Page, "SquelchSenderClockWrong"), 1, "{off} s");
        let other = critical("QueueFull");
        let began = sender.clock();
        sender.fires(&other, began);
        assert_eq!(sender.count(Kind::Page, "QueueFull"), 1, "known to be behind, at once: {off} s");
        for _ in 0..20 {
            sender.world.advance(Duration::from_secs(MINUTE));
            sender.fires(&alert, start);
            sender.fires(&other, began);
        }
        assert_eq!(sender.count(Kind::Resolve, "DbDown"), 0, "{off} s");
        let end = sender.clock();
        for _ in 0..15 {
            sender.resolves(&alert, start, end);
            sender.world.advance(Duration::from_secs(MINUTE));
            sender.fires(&other, began);
        }
        assert_eq!(
            (sender.count(Kind::Page, "DbDown"), sender.count(Kind::Resolve, "DbDown")),
            (1, 1),
            "{off}"
        );
        assert_eq!(sender.count(Kind::Resolve, "QueueFull"), 0, "{off} s");
        // It fires anew.
        let start = sender.clock();
        sender.fires(&alert, start);
        assert_eq!(sender.count(Kind::Page, "DbDown"), 2, "{off} s");
        sender.world.advance(Duration::from_hours(2));
        assert!(sender.world.engine.query().stats().sender_clocks.is_empty());
        assert_eq!(sender.count(Kind::Resolve, "SquelchSenderClockWrong"), 1, "{off} s");
    }
}

/// Some senders state the start anew each time.
#[test]
fn a_sender_whose_clock_is_behind_and_whose_starts_move_is_named_and_pages() {
    let mut sender = Sender::new(0, -600);
    let alert = critical("DbDown");
    for _ in 0..10 {
        let start = shifted(sender.clock(), -5);
        sender.fires(&alert, start);
        sender.world.advance(Duration::from_secs(MINUTE));
    }
    assert_eq!((sender.count(Kind::Page, "DbDown"), sender.count(Kind::Resolve, "DbDown")), (1, 0));
    assert!(sender.world.engine.query().stats().sender_clocks["prometheus-a"] < 0);
}

/// Prometheus repeats a resolve for 15 minutes. Members of a pair that share an address state two ends.
#[test]
fn resolves_that_are_repeated_are_no_clock_that_is_behind() {
    let mut sender = Sender::new(0, 0);
    let (alert, start) = (critical("DbDown"), sender.clock());
    sender.fires(&alert, start);
    sender.goes_on(&alert, start, 3);
    let ends = [0, 60, 75].map(|after| shifted(sender.clock(), after));
    for second in 0..900 {
        sender.world.advance(Duration::from_secs(1));
        for end in ends {
            let age = sender.clock().since(end).as_millis() / 1000;
            if sender.clock() >= end && age.is_multiple_of(75) {
                sender.resolves(&alert, start, end);
            }
        }
        assert_eq!(sender.count(Kind::Page, "DbDown"), 1, "second {second}");
    }
    assert_eq!(sender.count(Kind::Resolve, "DbDown"), 1);
    assert!(sender.world.engine.query().stats().sender_clocks.is_empty());
}

#[test]
fn resolves_of_alerts_that_were_never_heard_to_fire_do_not_page() {
    let mut sender = Sender::new(0, 0);
    let (alert, start) = (critical("DbDown"), shifted(sender.clock(), -900));
    let end = shifted(start, 600);
    for _ in 0..15 {
        sender.resolves(&alert, start, end);
        sender.world.advance(Duration::from_secs(MINUTE));
    }
    assert!(sender.world.sent.is_empty());
}

#[test]
fn a_sender_whose_clock_is_ahead_is_named_and_loses_nothing() {
    for off in [31, 600, 7200] {
        let mut sender = Sender::new(0, off);
        let (alert, start) = (critical("DbDown"), sender.clock());
        sender.fires(&alert, start);
        assert_eq!(sender.count(Kind::Page, "DbDown"), 1, "{off} s");
        assert_eq!(sender.world.engine.query().stats().sender_clocks["prometheus-a"], off * 1000);
        assert_eq!(sender.count(Kind::Page, "SquelchSenderClockWrong"), 1, "{off} s");
        sender.goes_on(&alert, start, 5);
        // NTP corrects its clock. The start lay ahead, and the end is now.
        sender.off = 0;
        let (began, end) = (sender.clock(), sender.clock());
        sender.world.say(Source::Prometheus, "prometheus-a", vec![resolved(&alert, began, end)]);
        assert_eq!(sender.count(Kind::Resolve, "DbDown"), 1, "{off} s");
        sender.world.advance(Duration::from_mins(2));
        let start = sender.clock();
        sender.fires(&alert, start);
        assert_eq!(sender.count(Kind::Page, "DbDown"), 2, "{off} s");
    }
}

#[test]
fn a_webhook_whose_resolve_ends_ahead_loses_no_later_page() {
    let mut sender = Sender::new(0, 0);
    let (alert, start) = (critical("DbDown"), sender.clock());
    let webhook = |sender: &mut Sender, said| sender.world.webhook("am-0", vec![said]);
    webhook(&mut sender, firing(&alert, start));
    sender.world.advance(Duration::from_mins(3));
    let end = shifted(sender.clock(), 600);
    webhook(&mut sender, resolved(&alert, start, end));
    assert_eq!(sender.count(Kind::Resolve, "DbDown"), 1);
    assert_eq!(sender.world.engine.query().stats().sender_clocks["am-0"], 600_000);
    // Its clock is right again.
    sender.world.advance(Duration::from_secs(20));
    let start = sender.clock();
    webhook(&mut sender, firing(&alert, start));
    assert_eq!(sender.count(Kind::Page, "DbDown"), 2, "it started before the end that lay ahead");
    sender.world.advance(Duration::from_secs(20));
    let end = sender.clock();
    webhook(&mut sender, resolved(&alert, start, end));
    assert_eq!(sender.count(Kind::Resolve, "DbDown"), 2);
}

#[test]
fn clocks_survive_a_snapshot() {
    let mut sender = Sender::new(600, 90);
    let (alert, start) = (critical("DbDown"), sender.clock());
    sender.fires(&alert, start);
    let engine = &sender.world.engine;
    let restored = crate::engine::Engine::restore(&engine.snapshot()).unwrap();
    assert_eq!(restored.query().ahead_of_wall(), 600_000);
    assert_eq!(restored.query().stats(), engine.query().stats());
}

#[test]
fn a_silence_follows_wall_time() {
    for ahead in [-7200, -61, 0, 61, 7200] {
        let mut sender = Sender::new(ahead, 0);
        let wall = sender.wall();
        let wanted = Silence {
            id: "".into(),
            matchers: vec![parse_matchers("alertname=DbDown").unwrap()],
            starts_at: wall,
            ends_at: wall + Duration::from_mins(30),
            updated_at: wall,
            created_by: "me".into(),
            comment: "".into(),
        };
        let change = sender.world.engine.query().plan_silence(wall, &SilenceRequest::Set(wanted)).unwrap();
        sender.world.handle(Event::Silence(change));
        let (alert, start) = (critical("DbDown"), sender.clock());
        sender.fires(&alert, start);
        sender.goes_on(&alert, start, 29);
        assert_eq!(sender.count(Kind::Page, "DbDown"), 0, "{ahead} s");
        sender.goes_on(&alert, start, 2);
        assert_eq!(sender.count(Kind::Page, "DbDown"), 1, "{ahead} s");
    }
}

#[test]
fn a_time_interval_follows_wall_time_also_when_the_clock_is_set() {
    // 23:00 to midnight. Engine time begins at midnight.
    let hour =
        TimeInterval { times: vec![TimeRange { start: 23 * 60, end: 24 * 60 }], ..TimeInterval::default() };
    let mut policy = watched();
    policy.time_intervals.insert("hour".into(), vec![hour]);
    policy.routes[0].windows = Windows { mute: vec!["hour".into()], active: vec![] };
    for ahead in [-30 * 60, 0, 30 * 60] {
        let mut sender = Sender::new(ahead, 0);
        sender.world.handle(Event::Policy(Box::new(policy.clone())));
        let (alert, start) = (critical("DbDown"), sender.clock());
        sender.fires(&alert, start);
        let muted = ahead > 0;
        assert_eq!(sender.count(Kind::Page, "DbDown"), usize::from(!muted), "{ahead} s");
        if muted {
            sender.goes_on(&alert, start, 29);
            assert_eq!(sender.count(Kind::Page, "DbDown"), 0);
            let (other, its_start) = (critical("Other"), sender.clock());
            // The clock is set forward by ten minutes.
            sender.ahead -= 10 * 60;
            sender.world.handle(Event::Clocks(sender.ahead * 1000));
            assert_eq!(sender.count(Kind::Page, "DbDown"), 1);
            // It is set back by an hour.
            sender.ahead += 60 * 60;
            sender.world.handle(Event::Clocks(sender.ahead * 1000));
            sender.fires(&other, its_start);
            assert_eq!(sender.count(Kind::Page, "Other"), 0);
        }
    }
}
