//! Senders whose clocks are ahead or behind.

use super::*;
use Status::{Firing, Resolved};

/// The sender's clock is ahead, so the end of its resolve lies ahead too. Until then it counts as firing.
#[test]
fn repeats_that_are_gathered_over_the_stated_end_were_stated_before_it() {
    let mut ahead = Script::new(Source::Prometheus);
    ahead.state(0, "p", Firing, 0, Some(300));
    let repeated = ahead.occurrences.repeated(moment(301), &ahead.key, PeerId::of("p"), Some(at(300)));
    assert_eq!(repeated, Some(Firing));
    assert_eq!(judged(&ahead, 302, &said(Resolved, 0, Some(300)), None), Resolved);
}

/// The end of an alert that fires moves on, however late it is. The end of one that resolved stays.
#[test]
fn a_late_end_that_stays_is_the_end() {
    let mut behind = Script::new(Source::Prometheus);
    behind.resolves(100, "p", 0, 40);
    assert_eq!(judged(&behind, 131, &said(Resolved, 0, Some(71)), None), Firing, "it moved on");
    behind.state(131, "p", Firing, 0, Some(71));
    assert_eq!(judged(&behind, 141, &said(Resolved, 0, Some(71)), None), Firing, "a copy on another way");
    behind.state(141, "p", Firing, 0, Some(71));
    assert_eq!(judged(&behind, 142, &said(Resolved, 0, Some(71)), None), Resolved, "it stays");
    assert_eq!(judged(&behind, 191, &said(Resolved, 0, Some(131)), None), Firing, "it moved on again");
}

/// The clock of `b` is 300 s ahead. Its resolve counts as firing until its end has passed.
#[test]
fn a_disputed_firing_is_not_believed_after_its_end() {
    for (end, fires) in [(160, false), (161, false), (162, true)] {
        let mut pair = Script::new(Source::Prometheus);
        over(&mut pair);
        assert_eq!(pair.state(101, "b", Firing, 0, Some(end)), Nothing);
        assert_eq!(pair.firing_at(161), fires, "the end is {end}");
    }
}

/// Squelch's own clock is set back by half an hour. The end counts as the time of receipt, which is then
/// before the former end.
#[test]
fn a_resolve_ends_the_occurrence_after_the_clock_was_set_back() {
    let mut pair = Script::new(Source::Alertmanager);
    over(&mut pair);
    assert_eq!(pair.fires(110, "a", 105), Fired);
    pair.fires(111, "b", 105);
    let back = Moment::new(at(200), 1_800_000);
    let resolve = said(Resolved, 105, Some(105));
    let ended = pair.occurrences.resolve(back, pair.key, PeerId::of("a"), &resolve);
    assert_eq!(ended, OccurrenceChange::Resolved);
}
