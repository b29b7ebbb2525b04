//! Scripts of the statements that the peers of one alert make.

use super::*;
use crate::model::LabelSet;

/// One alert from one source, and a script of its peers' statements.
struct Script {
    occurrences: Occurrences,
    key: OccurrenceKey,
}

/// Second 0 is an hour after the epoch, so that clocks may be behind.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((3600 + seconds) * 1000)
}

fn moment(seconds: i64) -> Moment {
    Moment::new(at(seconds), 0)
}

fn said(status: Status, start: i64, end: Option<i64>) -> Observation {
    Observation {
        status,
        labels: LabelSet::default(),
        annotations: LabelSet::default(),
        starts_at: at(start),
        start_unknown: false,
        ends_at: end.map(at),
        generator_url: Default::default(),
    }
}

impl Script {
    fn new(source: Source) -> Self {
        Script { occurrences: Occurrences::default(), key: (source, AlertId(1)) }
    }

    fn state(
        &mut self,
        now: i64,
        peer: &str,
        status: Status,
        start: i64,
        end: Option<i64>,
    ) -> OccurrenceChange {
        self.occurrences.believe(moment(now));
        let said = said(status, start, end);
        let (peer, now) = (PeerId::of(peer), moment(now));
        match status {
            Status::Firing => self.occurrences.fire(now, self.key, peer, &said),
            Status::Resolved => self.occurrences.resolve(now, self.key, peer, &said),
        }
    }

    fn fires(&mut self, now: i64, peer: &str, start: i64) -> OccurrenceChange {
        self.state(now, peer, Status::Firing, start, None)
    }

    fn resolves(&mut self, now: i64, peer: &str, start: i64, end: i64) -> OccurrenceChange {
        self.state(now, peer, Status::Resolved, start, Some(end))
    }

    fn repeats(&self, peer: &str, said: &Observation) -> bool {
        self.occurrences.is_repeat(&self.key, PeerId::of(peer), said)
    }

    /// Whether the alert fires at that second, if no peer speaks before.
    fn firing_at(&mut self, now: i64) -> bool {
        self.occurrences.believe(moment(now));
        self.occurrences.fires()
    }
}

use OccurrenceChange::{Fired, None as Nothing, Old, Resolved, Restarted};

#[test]
fn the_first_resolve_ends_the_occurrence_and_the_late_copy_changes_nothing() {
    let mut pair = Script::new(Source::Alertmanager);
    assert_eq!(pair.fires(0, "am-0", 0), Fired);
    assert_eq!(pair.fires(5, "am-1", 0), Nothing);
    assert_eq!(pair.resolves(300, "am-0", 0, 295), Resolved);
    assert_eq!(pair.fires(310, "am-1", 0), Nothing);
    assert_eq!(pair.resolves(325, "am-1", 0, 295), Nothing);
    assert!(!pair.firing_at(1000));
}

#[test]
fn a_peer_that_goes_on_is_believed_after_a_minute_however_often_it_speaks() {
    for every in [1, 10, 30, 59, 60, 300] {
        let mut pair = Script::new(Source::Alertmanager);
        pair.fires(0, "am-0", 0);
        pair.fires(0, "am-1", 0);
        pair.resolves(300, "am-0", 0, 295);
        let mut now = 301;
        while now < 2000 {
            pair.fires(now, "am-1", 0);
            now += every;
        }
        assert!(pair.occurrences.fires(), "repeated every {every} s");
    }
}

#[test]
fn only_a_peer_itself_takes_its_statement_back() {
    let mut pair = Script::new(Source::Alertmanager);
    pair.fires(0, "am-0", 0);
    pair.resolves(300, "am-0", 0, 295);
    for now in (315..3000).step_by(30) {
        pair.fires(now, "am-1", 0);
        assert_eq!(pair.resolves(now + 15, "am-0", 0, 295), Nothing, "it repeats its own word");
    }
    assert!(pair.firing_at(3000));
    assert_eq!(pair.resolves(3001, "am-1", 0, 2990), Resolved);
}

#[test]
fn the_newest_statement_of_any_label_set_counts_as_the_last() {
    let mut pair = Script::new(Source::Alertmanager);
    assert_eq!(pair.occurrences.last_seen(), None);
    pair.fires(0, "am-0", 0);
    pair.fires(20, "am-1", 0);
    pair.fires(10, "am-2", 0);
    assert_eq!(pair.occurrences.last_seen(), Some(at(20)));
    pair.key.1 = AlertId(2);
    pair.fires(50, "am-0", 0);
    assert_eq!(pair.occurrences.last_seen(), Some(at(50)));
}

#[test]
fn a_believed_statement_ends_with_a_resolve_of_the_same_end() {
    let mut pair = Script::new(Source::Alertmanager);
    pair.fires(0, "am-0", 0);
    pair.resolves(300, "am-0", 0, 295);
    pair.fires(310, "am-1", 0);
    assert!(pair.firing_at(371));
    assert_eq!(pair.resolves(610, "am-1", 0, 295), Resolved);
    assert!(!pair.firing_at(5000));
}

#[test]
fn peers_that_share_a_name_are_one_that_takes_its_word_back() {
    let mut pair = Script::new(Source::Alertmanager);
    pair.fires(0, "am", 0);
    assert_eq!(pair.resolves(300, "am", 0, 295), Resolved);
    assert_eq!(pair.fires(305, "am", 0), Nothing, "the late copy of the other member");
    assert_eq!(pair.resolves(320, "am", 0, 295), Nothing);
    assert!(!pair.firing_at(5000));
    assert_eq!(pair.fires(6000, "am", 5990), Fired);
}

#[test]
fn of_three_peers_each_ends_only_its_own_statement() {
    let mut three = Script::new(Source::Prometheus);
    for peer in ["a", "b", "c"] {
        three.fires(0, peer, 0);
    }
    assert_eq!(three.resolves(100, "a", 0, 99), Resolved);
    three.fires(110, "b", 0);
    three.fires(115, "c", 0);
    assert!(three.firing_at(171), "b is believed");
    assert_eq!(three.resolves(200, "b", 0, 99), Nothing, "c still states that it fires");
    assert_eq!(three.resolves(210, "c", 0, 99), Resolved);
}

#[test]
fn a_clock_five_minutes_off_is_no_new_occurrence() {
    for skew in [-300, 300] {
        let mut pair = Script::new(Source::Prometheus);
        assert_eq!(pair.fires(0, "right", 0), Fired);
        assert_eq!(pair.fires(10, "wrong", skew), Nothing);
        for now in (30..200).step_by(30) {
            assert_eq!(pair.fires(now, "right", 0), Nothing);
            assert_eq!(pair.fires(now + 10, "wrong", skew), Nothing, "skew {skew}");
        }
        assert_eq!(pair.resolves(200, "right", 0, 195), Resolved);
        assert_eq!(pair.fires(205, "wrong", skew), Nothing, "an unchanged statement is no news");
        assert_eq!(pair.resolves(210, "wrong", skew, 195 + skew), Nothing);
        assert!(!pair.firing_at(1000));
        assert_eq!(pair.fires(1000, "right", 990), Fired);
        assert_eq!(pair.resolves(1100, "right", 990, 1095), Resolved, "no end stood in the future");
    }
}

#[test]
fn a_start_that_moves_is_one_occurrence_at_either_door() {
    for (source, end) in [(Source::Prometheus, Some(300)), (Source::Alertmanager, None)] {
        let mut one = Script::new(source);
        assert_eq!(one.state(0, "p", Status::Firing, 0, end), Fired);
        let mut restarts = 0;
        for now in (30..3600).step_by(30) {
            let change = one.state(now, "p", Status::Firing, now, end.map(|end| now + end));
            restarts += usize::from(matches!(change, Restarted(_)));
            assert_eq!(one.occurrences.started_at().map(|t| t <= at(30)), Some(true));
        }
        // Where no end is given, the first move may be a resolve that went unheard.
        assert_eq!(restarts, usize::from(end.is_none()), "{source:?}");
        assert_eq!(one.resolves(3600, "p", 3600, 3600), Resolved);
    }
}

#[test]
fn an_old_resolve_ends_no_later_occurrence() {
    let mut pair = Script::new(Source::Alertmanager);
    pair.fires(0, "a", 0);
    pair.resolves(100, "a", 0, 100);
    assert_eq!(pair.fires(200, "a", 190), Fired);
    assert_eq!(pair.resolves(210, "a", 0, 100), Old);
    assert_eq!(pair.resolves(211, "b", 0, 100), Old);
    assert!(pair.firing_at(1000));
}

#[test]
fn a_peer_that_falls_silent_expires_and_a_refire_then_counts_at_once() {
    let mut one = Script::new(Source::Prometheus);
    let policy = crate::engine::testing::policy(&[], Default::default());
    one.state(0, "p", Status::Firing, 0, Some(240));
    assert_eq!(one.occurrences.expire(moment(239), false, &policy), None);
    assert_eq!(one.occurrences.expire(moment(240), true, &policy), None, "it has an end of its own");
    assert_eq!(one.occurrences.expire(moment(240), false, &policy), Some(at(240)));
    assert_eq!(one.state(300, "p", Status::Firing, 0, Some(540)), Fired);
}

#[test]
fn repeats_are_those_that_change_nothing() {
    let mut pair = Script::new(Source::Alertmanager);
    pair.fires(0, "a", 0);
    assert!(pair.repeats("a", &said(Status::Firing, 0, None)));
    assert!(!pair.repeats("a", &said(Status::Firing, 1, None)), "another start");
    assert!(!pair.repeats("a", &said(Status::Resolved, 0, Some(1))));
    assert!(pair.repeats("b", &said(Status::Firing, 0, None)), "the first word of the other member");
    pair.fires(1, "b", 0);
    pair.resolves(100, "a", 0, 99);
    assert!(pair.repeats("a", &said(Status::Resolved, 0, Some(99))));
    assert!(!pair.repeats("a", &said(Status::Firing, 0, None)), "it may fire again");
    assert!(!pair.repeats("b", &said(Status::Firing, 0, None)), "b starts a wait with its next word");
}

/// The members of a pair have addresses of their own, so each has its own wording of the same alert.
#[test]
fn a_peer_repeats_its_own_wording_and_a_change_of_it_is_no_repeat() {
    let mut pair = Script::new(Source::Prometheus);
    let from = |url: &str, summary: &str| Observation {
        annotations: LabelSet::from_pairs([("summary", summary)]),
        generator_url: url.into(),
        ..said(Status::Firing, 0, Some(240))
    };
    pair.occurrences.fire(moment(0), pair.key, PeerId::of("a"), &from("http://a", "5"));
    assert!(!pair.repeats("b", &from("http://b", "5")), "its first word has another address");
    assert!(pair.repeats("c", &from("http://a", "5")));
    assert_eq!(pair.occurrences.repeated(moment(1), &pair.key, PeerId::of("c"), None), Some(Status::Firing));
    pair.occurrences.fire(moment(1), pair.key, PeerId::of("b"), &from("http://b", "5"));
    for (peer, url) in [("a", "http://a"), ("b", "http://b"), ("c", "http://a")] {
        assert!(pair.repeats(peer, &from(url, "5")), "{peer}");
        assert!(!pair.repeats(peer, &from(url, "6")), "{peer}: other annotations");
        assert!(!pair.repeats(peer, &from("http://c", "5")), "{peer}: another address");
    }
    pair.occurrences.fire(moment(2), pair.key, PeerId::of("a"), &from("http://a", "6"));
    assert!(pair.repeats("a", &from("http://a", "6")));
    assert!(!pair.repeats("a", &from("http://a", "5")), "it changed back");
    assert!(pair.repeats("b", &from("http://b", "5")), "b says what it said");
}

/// The end of an alert that fires moves on with each statement, and that of a resolved one does not.
#[test]
fn an_end_of_api_v2_that_moves_on_after_it_passed_is_no_repeat() {
    let mut one = Script::new(Source::Prometheus);
    one.state(0, "p", Status::Firing, 0, Some(240));
    assert!(one.repeats("p", &said(Status::Firing, 0, Some(300))));
    one.resolves(300, "p", 0, 290);
    assert!(one.repeats("p", &said(Status::Resolved, 0, Some(290))));
    assert!(!one.repeats("p", &said(Status::Resolved, 0, Some(350))));
}

#[test]
fn the_number_of_peers_is_bounded() {
    let mut many = Script::new(Source::Alertmanager);
    for n in 0..100 {
        many.fires(n, &format!("am-{n}"), 0);
    }
    let occurrence = many.occurrences.0.get(&many.key).unwrap();
    assert_eq!(occurrence.peers.len(), PEERS);
    assert!(occurrence.peers.contains_key(&PeerId::of("am-99")));
}

/// A sender whose clock is ahead states an end that has not come yet.
#[test]
fn an_end_that_passes_while_its_repeat_waits_has_passed() {
    let mut script = Script::new(Source::Prometheus);
    assert_eq!(script.state(0, "ahead", Status::Firing, 0, Some(70)), Fired);
    let Script { occurrences, key } = &mut script;
    let peer = PeerId::of("ahead");
    assert_eq!(occurrences.repeated(moment(71), key, peer, Some(at(70))), Some(Status::Firing));
    let policy = crate::engine::testing::policy(&[], Default::default());
    assert_eq!(occurrences.deadline(&policy), Some(at(70)));
    assert_eq!(occurrences.expire(moment(71), false, &policy), Some(at(70)));
    assert!(!script.firing_at(71));
}
