//! Notifications that come back: the present state is durable and leaves in their place.

use super::*;

fn recalled(ambiguous: bool) -> Outcome {
    Outcome::Recalled { ambiguous }
}

/// A bench with a page of A that has waited since A ended.
fn stale() -> (Bench, NotificationId) {
    let mut bench = Bench::new();
    bench.take_log();
    bench.observe(firing("A")).unwrap();
    let [(page, Kind::Page, false)] = bench.sent()[..] else { panic!("a page") };
    assert!(!bench.published.recalls.asks(page), "it says what is true");
    bench.observe(batch("A", Status::Resolved)).unwrap();
    bench.advance(Noise::default().resolve_hold);
    bench.step();
    assert_eq!(bench.sent(), []);
    (bench, page)
}

fn outbox(bench: &Bench) -> Vec<(NotificationId, Kind)> {
    let outbox = bench.journal.lock().unwrap().clone().recover().unwrap().outbox;
    outbox.iter().map(|n| (n.id, n.kind)).collect()
}

#[test]
fn a_page_whose_alert_ended_is_asked_back_and_leaves_the_outbox() {
    let (mut bench, page) = stale();
    assert!(bench.published.recalls.asks(page));
    bench.report(page, recalled(false));
    assert_eq!((bench.sent(), outbox(&bench)), (vec![], vec![]));
    assert!(!bench.published.recalls.asks(page), "it has ended");
    assert!(bench.letters().is_empty());
}

#[test]
fn the_present_state_leaves_after_its_commit_and_in_the_same_commit_the_page_ends() {
    let (mut bench, page) = stale();
    bench.take_log();
    bench.report(page, recalled(true));
    let log = bench.take_log();
    let [Happened::Committed(1), Happened::Sent(resolve, Kind::Resolve, false)] = log[..] else {
        panic!("{log:?}")
    };
    assert_eq!(outbox(&bench), [(resolve, Kind::Resolve)]);
}

#[test]
fn a_failed_commit_keeps_the_page_and_a_later_one_recalls_it() {
    let (mut bench, page) = stale();
    bench.journal.lock().unwrap().fail_next(false);
    bench.report(page, recalled(true));
    assert!(bench.published.trouble.load().is_some());
    assert!(!bench.published.recalls.asks(page), "no engine could answer for it");
    assert_eq!(outbox(&bench), [(page, Kind::Page)]);
    bench.take_log();
    bench.advance(Duration::from_secs(1));
    bench.step();
    let sent = bench.sent();
    assert!(matches!(sent[..], [(_, Kind::Resolve, false)]), "{sent:?}");
    assert!(outbox(&bench).iter().all(|(_, kind)| *kind == Kind::Resolve));
}

#[test]
fn storage_that_is_read_again_asks_anew_for_what_is_on_its_way() {
    let (mut bench, page) = stale();
    bench.journal.lock().unwrap().fail_next(false);
    bench.observe(firing("B")).unwrap_err();
    assert!(!bench.published.recalls.asks(page));
    bench.advance(Duration::from_secs(1));
    bench.step();
    assert!(bench.published.recalls.asks(page));
    let sent = bench.sent();
    assert!(sent.iter().all(|(id, ..)| *id != page), "it is on its way, and comes back by itself: {sent:?}");
}

#[test]
fn a_start_sends_the_present_state_and_not_the_page_of_then() {
    let (bench, page) = stale();
    let mut bench = bench.crash();
    let sent = bench.sent();
    let [(resolve, Kind::Resolve, _)] = sent[..] else { panic!("{sent:?}") };
    assert_eq!(outbox(&bench), [(resolve, Kind::Resolve)]);
    assert!(!bench.published.recalls.asks(page));
    // The process before may have had an attempt accepted, so the page is closed.
    bench.report(resolve, Outcome::Accepted);
    let mut bench = bench.crash();
    assert_eq!((bench.sent(), outbox(&bench)), (vec![], vec![]));
    bench.observe(firing("A")).unwrap();
    assert_eq!(bench.sent().len(), 1, "the next occurrence pages");
}

#[test]
fn a_start_sends_a_page_that_says_what_is_true_as_it_is() {
    let mut bench = Bench::new();
    bench.observe(firing("A")).unwrap();
    let (page, ..) = bench.sent()[0];
    let bench = bench.crash();
    assert_eq!(bench.sent(), [(page, Kind::Page, true)]);
}

/// SIGKILL between the report and each later step: exactly one page leaves, with the present state.
#[test]
fn a_crash_after_a_recall_sends_one_page() {
    for reported in [false, true] {
        let mut bench = Bench::new();
        bench.observe(firing("A")).unwrap();
        let (page, ..) = bench.sent()[0];
        let mut again = firing("A");
        again.observations[0].labels =
            LabelSet::from_pairs([("alertname", "A"), ("instance", "b"), ("severity", "critical")]);
        bench.advance(Duration::from_secs(16));
        bench.observe(again).unwrap();
        assert!(bench.published.recalls.asks(page));
        if reported {
            bench.report(page, recalled(false));
        }
        bench.told();
        let bench = bench.crash();
        let told = bench.told();
        let [next] = &told[..] else { panic!("{told:?}") };
        assert_eq!((next.kind, next.alerts.len()), (Kind::Page, 2));
        assert_ne!(next.id, page);
        assert_eq!(outbox(&bench), [(next.id, Kind::Page)]);
    }
}

#[test]
fn a_process_that_is_to_end_asks_for_nothing() {
    let (mut bench, page) = stale();
    bench.ask(Command::Quiesce);
    assert!(!bench.published.recalls.asks(page), "nothing would leave in its place");
    // One that came back a moment before.
    bench.report(page, recalled(true));
    assert_eq!(bench.sent(), []);
    let bench = bench.crash();
    let sent = bench.sent();
    assert!(matches!(sent[..], [(_, Kind::Resolve, true)]), "{sent:?}");
}
