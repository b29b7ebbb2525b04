//! Scripts of the statements that the peers of one alert make.

mod clocks;
mod doubt;

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
    Observation::new(status, LabelSet::default(), at(start), end.map(at))
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
        self.occurrences.is_repeat(&self.key, PeerId::of(peer), said, false)
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

/// With `send_resolved: false`, or with a silence in Alertmanager while the alert resolves, no resolve comes.
#[test]
fn each_occurrence_counts_although_no_resolve_arrives() {
    let mut one = Script::new(Source::Alertmanager);
    assert_eq!(one.fires(0, "a", 0), Fired);
    for hours in [5, 10, 15] {
        let now = hours * 3600;
        assert!(matches!(one.fires(now, "a", now), Restarted(_)), "after {hours} h");
        assert_eq!(one.fires(now + 1, "b", now), Nothing, "the other member of the pair");
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

fn policy() -> Policy {
    crate::engine::testing::policy(&[], Default::default())
}

/// A hand-over that hangs may give a repeat, the start of the next occurrence and an earlier resolve at once.
#[test]
fn a_resolve_that_overtook_a_later_start_is_old() {
    for repeated_after in [false, true] {
        let mut one = Script::new(Source::Alertmanager);
        one.fires(0, "a", 0);
        one.fires(100, "a", 0);
        assert_eq!(one.fires(100, "a", 90), Nothing, "the repeat before it covers this start");
        if repeated_after {
            assert!(one.repeats("a", &said(Status::Firing, 0, None)));
            assert_eq!(one.fires(105, "a", 0), Nothing);
        }
        assert_eq!(one.resolves(106, "a", 0, 50), Old);
        assert_eq!(one.resolves(200, "a", 90, 195), Resolved);
    }
}

#[test]
fn a_late_resolve_of_one_peer_does_not_end_a_firing_that_another_one_saw_begin_later() {
    for (end, change) in [(80, Nothing), (90, Resolved)] {
        let mut pair = Script::new(Source::Alertmanager);
        pair.fires(0, "a", 0);
        pair.fires(0, "b", 0);
        pair.fires(95, "b", 0);
        assert_eq!(pair.fires(100, "a", 90), Nothing, "the word of b covers this start");
        assert_eq!(pair.resolves(110, "b", 0, end), change, "end {end}");
        assert_eq!(pair.firing_at(5000), change == Nothing);
    }
}

/// The clock of the sender was ahead and was set right.
#[test]
fn a_start_that_lay_ahead_gives_way_to_an_earlier_one() {
    let mut one = Script::new(Source::Alertmanager);
    one.fires(0, "a", 300);
    one.fires(10, "a", 5);
    one.fires(400, "a", 5);
    assert_eq!(one.resolves(401, "a", 5, 250), Resolved);
}

/// Its clock may be ahead of the other one's, so its own start counts.
#[test]
fn a_resolve_that_ended_before_the_peer_saw_the_start_is_old() {
    let mut pair = Script::new(Source::Prometheus);
    pair.fires(0, "a", 0);
    pair.fires(10, "b", 5);
    assert_eq!(pair.resolves(20, "b", 0, 3), Old);
    assert_eq!(pair.resolves(30, "a", 0, 3), Nothing, "b saw it begin later");
    assert_eq!(pair.resolves(40, "b", 5, 8), Resolved);
}

#[test]
fn an_earlier_start_is_taken_over_unless_it_is_the_one_of_an_occurrence_before() {
    let mut one = Script::new(Source::Alertmanager);
    one.fires(0, "a", 0);
    one.resolves(100, "a", 0, 95);
    assert_eq!(one.fires(200, "a", 190), Fired);
    assert_eq!(one.fires(230, "a", 0), Nothing);
    assert_eq!(one.occurrences.started_at(), Some(at(190)), "an old statement, said anew");
    assert_eq!(one.fires(260, "a", 150), Nothing);
    assert_eq!(one.occurrences.started_at(), Some(at(150)), "the start is corrected");
}

/// A start that moves past the last statement may stand for a resolve that went unheard.
#[test]
fn a_start_that_moves_no_further_than_the_last_statement_does_not_count_as_moving() {
    for start in [-50, 0] {
        let mut one = Script::new(Source::Alertmanager);
        one.fires(0, "a", -100);
        assert_eq!(one.fires(60, "a", start), Nothing, "start {start}");
        assert!(one.repeats("a", &said(Status::Firing, start, None)), "start {start}");
    }
    let mut one = Script::new(Source::Alertmanager);
    one.fires(0, "a", -100);
    assert_eq!(one.fires(60, "a", 1), Restarted(at(0)));
    assert!(!one.repeats("a", &said(Status::Firing, 1, None)), "the next start may move too");
}

#[test]
fn a_firing_statement_whose_end_has_come_holds_for_five_minutes() {
    let mut one = Script::new(Source::Prometheus);
    one.state(0, "p", Status::Firing, -60, Some(0));
    assert_eq!(one.occurrences.deadline(&policy()), Some(at(300)));
}

#[test]
fn full_label_sets_are_counted_and_those_that_fire_apart() {
    let mut three = Script::new(Source::Alertmanager);
    for labels in 1..=3 {
        three.key.1 = AlertId(labels);
        three.fires(0, "a", 0);
    }
    three.resolves(100, "a", 0, 95);
    assert_eq!((three.occurrences.len(), three.occurrences.firing()), (3, 2));
}

/// Repeats are gathered for a while, so the end of the alert may overtake them.
#[test]
fn a_gathered_repeat_states_nothing_about_an_occurrence_that_is_over() {
    let mut three = Script::new(Source::Alertmanager);
    three.fires(0, "a", 0);
    three.fires(0, "b", 0);
    three.resolves(300, "a", 0, 295);
    three.fires(310, "b", 0);
    three.occurrences.repeated(moment(320), &three.key, PeerId::of("c"), None);
    assert!(three.firing_at(371), "b is believed");
    assert_eq!(three.resolves(400, "b", 0, 295), Resolved, "c supports nothing");
}

#[test]
fn a_gathered_repeat_of_a_new_peer_keeps_the_bound_of_peers() {
    let mut many = Script::new(Source::Alertmanager);
    for n in 0..=PEERS {
        many.fires(0, "am-0", 0);
        many.occurrences.repeated(moment(1), &many.key, PeerId::of(&format!("am-{n}")), None);
    }
    assert_eq!(many.occurrences.0.get(&many.key).unwrap().peers.len(), PEERS);
}

#[test]
fn a_word_from_before_the_end_supports_no_later_firing() {
    let mut three = Script::new(Source::Prometheus);
    three.fires(0, "a", 0);
    three.fires(0, "b", 0);
    three.fires(100, "c", 0);
    assert_eq!(three.resolves(100, "a", 0, 99), Resolved);
    three.fires(110, "b", 0);
    assert!(three.firing_at(171));
    assert_eq!(three.resolves(200, "b", 0, 99), Resolved, "c spoke last before the end");
}

#[test]
fn after_a_time_in_which_nothing_was_received_statements_hold_longer() {
    let (ends, stale) = (at(1000), at(500) + policy().stale_after);
    for (end, due) in [(Some(240), ends), (Some(2000), at(2000)), (None, stale)] {
        let mut one = Script::new(Source::Prometheus);
        one.state(0, "p", Status::Firing, 0, end);
        one.occurrences.restarted(at(0), ends, stale, &policy());
        assert_eq!(one.occurrences.deadline(&policy()), Some(due), "end {end:?}");
    }
}

#[test]
fn a_new_label_set_takes_the_place_of_the_resolved_one_or_the_oldest() {
    let mut full = Script::new(Source::Alertmanager);
    let key = |labels: usize| (Source::Alertmanager, AlertId(labels as u128));
    for labels in 0..LABEL_SETS {
        assert_eq!(full.occurrences.make_room(&key(labels)), None, "{labels} are not too many");
        full.key = key(labels);
        full.fires(10 + labels as i64, "a", 0);
    }
    assert_eq!(full.occurrences.make_room(&key(5)), None, "it is there already");
    full.key = key(7);
    full.resolves(2000, "a", 0, 1990);
    assert_eq!(full.occurrences.make_room(&key(LABEL_SETS)), Some((Some(AlertId(7)), false)));
    full.key = (Source::Prometheus, AlertId(0));
    full.fires(2010, "a", 0);
    assert_eq!(full.occurrences.make_room(&key(LABEL_SETS)), Some((None, true)), "another source has it");
    assert_eq!(full.occurrences.len(), LABEL_SETS - 1);
}

/// A sender whose clock is 40 s behind, and the true content of its statement at `now`.
fn judged(script: &Script, now: i64, said: &Observation, late: Option<u64>) -> Status {
    let late = late.map(Duration::from_secs);
    script.occurrences.judge(moment(now), &script.key, PeerId::of("p"), said, late)
}

#[test]
fn an_end_that_moves_on_after_it_passed_means_that_the_alert_fires() {
    use Status::{Firing, Resolved};
    let mut behind = Script::new(Source::Prometheus);
    behind.resolves(100, "p", 0, 60);
    assert_eq!(judged(&behind, 131, &said(Resolved, 0, Some(90)), None), Firing);
    assert_eq!(judged(&behind, 131, &said(Resolved, 0, Some(60)), None), Resolved, "the end stays");
    assert_eq!(judged(&behind, 120, &said(Resolved, 0, Some(90)), None), Resolved, "within the slack");
    assert_eq!(judged(&behind, 131, &said(Resolved, 70, Some(90)), None), Resolved, "it began anew");
    let unknown = Observation { start_unknown: true, ..said(Resolved, 0, Some(90)) };
    assert_eq!(judged(&behind, 131, &unknown, None), Resolved, "the start is unknown");
}

#[test]
fn an_end_that_had_not_passed_when_it_was_stated_is_a_true_end() {
    let mut right = Script::new(Source::Prometheus);
    right.state(0, "p", Status::Firing, 0, Some(240));
    assert_eq!(judged(&right, 300, &said(Status::Resolved, 0, Some(290)), None), Status::Resolved);
}

#[test]
fn once_the_alert_has_fired_its_end_must_move_twice() {
    use Status::{Firing, Resolved};
    let mut pair = Script::new(Source::Prometheus);
    pair.fires(0, "p", 0);
    pair.resolves(100, "p", 0, 60);
    assert_eq!(judged(&pair, 130, &said(Resolved, 0, Some(90)), None), Resolved, "the first move");
    pair.resolves(130, "p", 0, 90);
    assert_eq!(judged(&pair, 160, &said(Resolved, 0, Some(90)), None), Resolved, "it does not move");
    // A snapshot keeps the first move.
    let stored = rmp_serde::to_vec_named(&pair.occurrences).unwrap();
    pair.occurrences = rmp_serde::from_slice(&stored).unwrap();
    assert_eq!(judged(&pair, 160, &said(Resolved, 0, Some(120)), None), Firing, "the second move");
}

#[test]
fn the_first_statement_about_an_alert_fires_if_its_end_is_as_late_as_the_sender_s_others() {
    use Status::{Firing, Resolved};
    let mut behind = Script::new(Source::Prometheus);
    let resolved = said(Resolved, 0, Some(60));
    assert_eq!(judged(&behind, 100, &resolved, Some(45)), Firing);
    for (now, late, why) in [(100, Some(51), "later"), (100, None, "no other"), (90, Some(30), "slack")] {
        assert_eq!(judged(&behind, now, &resolved, late), Resolved, "{why}");
    }
    assert_eq!(judged(&behind, 70, &resolved, Some(10)), Resolved, "such a clock counts as right");
    behind.resolves(100, "p", 0, 60);
    let next = said(Resolved, 70, Some(90));
    assert_eq!(judged(&behind, 130, &next, Some(45)), Firing, "another occurrence is as late");
    assert_eq!(judged(&behind, 130, &next, None), Resolved);
}

/// Peer `a` says that the alert fired from 0 to 95, and `b` still says that it fires.
fn over(script: &mut Script) {
    script.fires(0, "a", 0);
    script.fires(0, "b", 0);
    assert_eq!(script.resolves(100, "a", 0, 95), Resolved);
}

#[test]
fn only_a_start_after_the_end_is_another_occurrence_at_once() {
    // The new one has said nothing yet, `a` has resolved it, and `b` has not.
    for peer in ["new", "a", "b"] {
        for (start, change) in [(50, Nothing), (95, Nothing), (96, Fired)] {
            let mut pair = Script::new(Source::Alertmanager);
            over(&mut pair);
            assert_eq!(pair.fires(110, peer, start), change, "{peer} says that it fires since {start}");
        }
    }
}

#[test]
fn a_peer_that_resolved_it_earlier_states_another_occurrence_after_its_own_end() {
    let mut pair = Script::new(Source::Alertmanager);
    over(&mut pair);
    pair.resolves(101, "b", 0, 98);
    assert_eq!(pair.fires(110, "a", 97), Fired);
}

#[test]
fn a_firing_of_an_unknown_start_takes_back_the_resolve_of_the_same_peer() {
    let unknown = Observation { start_unknown: true, ..said(Status::Firing, 0, None) };
    for (peer, change) in [("a", Fired), ("b", Nothing)] {
        let mut pair = Script::new(Source::Prometheus);
        over(&mut pair);
        assert_eq!(pair.occurrences.fire(moment(110), pair.key, PeerId::of(peer), &unknown), change);
    }
}

/// It was found out that the sender's clock is behind, so no word of its other member is late.
#[test]
fn a_firing_whose_end_has_passed_is_believed_at_once() {
    for (end, change) in [(109, Fired), (110, Fired), (111, Nothing)] {
        let mut pair = Script::new(Source::Prometheus);
        over(&mut pair);
        assert_eq!(pair.state(110, "b", Status::Firing, 0, Some(end)), change, "end {end}");
    }
}
