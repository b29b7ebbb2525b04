//! Statements that a later resolve, or a missing answer, makes doubtful.

use super::*;

/// One member of a pair resolved the alert. 15 s later the other one states a copy that still fires.
fn late_copy() -> Script {
    let mut pair = Script::new(Source::Alertmanager);
    pair.fires(0, "am-0", 0);
    pair.resolves(300, "am-0", 0, 295);
    pair.fires(315, "am-1", 0);
    pair
}

#[test]
fn a_late_copy_that_is_resolved_after_it_is_not_believed() {
    let mut pair = late_copy();
    assert!(!pair.repeats("am-0", &said(Status::Resolved, 0, Some(295))), "it is to be weighed");
    assert_eq!(pair.resolves(330, "am-0", 0, 295), Nothing);
    assert!(pair.repeats("am-0", &said(Status::Resolved, 0, Some(295))));
    assert_eq!(pair.occurrences.deadline(&policy()), None);
    assert!(!pair.firing_at(5000));
    // Its alert still fired after all.
    pair.fires(5000, "am-1", 0);
    assert!(pair.firing_at(5000));
}

#[test]
fn a_believed_statement_ends_ten_minutes_after_a_later_resolve_unless_its_peer_repeats_it() {
    for repeats in [false, true] {
        let mut pair = late_copy();
        assert!(pair.firing_at(375));
        assert_eq!(pair.resolves(600, "am-0", 0, 295), Nothing, "it repeats its own word");
        let firing = said(Status::Firing, 0, None);
        assert!(!pair.repeats("am-1", &firing));
        if repeats {
            assert_eq!(pair.fires(900, "am-1", 0), Nothing);
            assert!(pair.repeats("am-1", &firing));
        } else {
            // A repeat that was gathered before the resolve says nothing about it.
            pair.occurrences.repeated(moment(610), &pair.key, PeerId::of("am-1"), None);
        }
        assert_eq!(pair.occurrences.expire(moment(1199), false, &policy()), None);
        let end = pair.occurrences.expire(moment(1200), false, &policy());
        assert_eq!(end, (!repeats).then_some(at(1200)));
        assert_eq!(pair.occurrences.fires(), repeats);
    }
}

#[test]
fn a_doubtful_statement_covers_no_new_occurrence() {
    let mut pair = late_copy();
    assert!(pair.firing_at(375));
    pair.resolves(600, "am-0", 0, 295);
    assert_eq!(pair.fires(700, "am-1", 690), Restarted(at(600)));
}

#[test]
fn a_statement_without_an_answer_holds_until_ten_minutes_after_the_outage() {
    for answered in [false, true] {
        let mut one = Script::new(Source::Alertmanager);
        let (key, peer, firing) = (one.key, PeerId::of("am"), said(Status::Firing, 0, None));
        one.fires(0, "am", 0);
        one.occurrences.unanswered(&key, peer);
        assert!(one.occurrences.is_repeat(&key, peer, &firing, true), "it keeps no second copy");
        assert!(!one.repeats("am", &firing), "the answer counts");
        assert_eq!(one.occurrences.expire(moment(4000), false, &policy()), None);
        if answered {
            one.fires(4000, "am", 0);
        }
        one.occurrences.restarted(at(4001), at(4001), at(4001), &policy());
        assert_eq!(one.occurrences.expire(moment(4600), false, &policy()), None);
        let end = one.occurrences.expire(moment(4601), false, &policy());
        assert_eq!(end, (!answered).then_some(at(4601)));
    }
}

#[test]
fn a_late_copy_without_an_answer_is_not_believed_after_the_outage() {
    let mut pair = late_copy();
    let key = pair.key;
    pair.occurrences.unanswered(&key, PeerId::of("am-1"));
    pair.occurrences.restarted(at(330), at(330), at(330), &policy());
    assert!(!pair.firing_at(5000));
    pair.fires(5000, "am-1", 0);
    assert!(pair.firing_at(5000), "Alertmanager stated it again");
}

#[test]
fn a_prometheus_repeats_its_resolve_and_makes_no_statement_doubtful() {
    let mut pair = Script::new(Source::Prometheus);
    pair.state(0, "a", Status::Firing, 0, Some(240));
    pair.resolves(300, "a", 0, 295);
    pair.state(315, "b", Status::Firing, 0, Some(555));
    assert!(pair.repeats("a", &said(Status::Resolved, 0, Some(295))));
    assert_eq!(pair.resolves(360, "a", 0, 295), Nothing);
    assert!(pair.firing_at(375));
}

#[test]
fn an_alert_is_stale_although_an_earlier_statement_of_another_peer_is_doubtful() {
    let mut pair = Script::new(Source::Alertmanager);
    pair.fires(0, "am-0", 0);
    pair.fires(0, "am-1", 0);
    pair.resolves(300, "am-0", 0, 295);
    assert_eq!(pair.fires(1000, "am-0", 990), Fired);
    let stale = moment(1000 + i64::try_from(policy().stale_after.as_millis() / 1000).unwrap());
    assert_eq!(pair.occurrences.expire(stale, false, &policy()), None);
    assert!(pair.occurrences.expire(stale, true, &policy()).is_some());
}
