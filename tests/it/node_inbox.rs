//! The inbox of the owner: alerts that standbys accepted.

use super::*;

/// A bench whose inbox holds these rows.
fn bench(rows: Vec<Result<String, String>>) -> (Bench, Inbox) {
    let rows = (1..).zip(rows).map(|(row, batches)| Handed { row, batches }).collect();
    let inbox: Inbox = Arc::new(Mutex::new(rows));
    let bench = Bench::start(
        MemoryJournal::new(true),
        policy(),
        QueueBounds::default(),
        T0,
        Some(inbox.clone()),
        None,
    );
    (bench, inbox)
}

fn labels(name: &str) -> LabelSet {
    firing(name).observations[0].labels.clone()
}

fn row(batches: &[Batch]) -> Result<String, String> {
    Ok(serde_json::to_string(batches).unwrap())
}

#[test]
fn the_inbox_comes_before_what_the_owner_hears_itself() {
    // The same sender told standbys that A fires, and then the new owner that A has resolved.
    let (mut bench, inbox) = bench(vec![row(&[firing("B")]), row(&[firing("C"), firing("A")])]);
    bench.advance(Duration::from_secs(20));
    bench.observe(batch("A", Status::Resolved)).unwrap();
    assert!(inbox.lock().unwrap().is_empty(), "all rows are taken first");
    let stats = bench.published.stats.load_full();
    assert_eq!(stats.firing, 2, "A has resolved");
}

#[test]
fn a_row_that_cannot_be_read_holds_up_nothing() {
    let rows =
        vec![row(&[firing("A")]), Err("row 2 does not match".into()), Ok("{".into()), row(&[firing("B")])];
    let (mut bench, inbox) = bench(rows);
    bench.step();
    assert!(inbox.lock().unwrap().is_empty());
    let sent = bench.notifications.lock().unwrap().clone();
    let told = |name: &str| sent.iter().flat_map(|n| &n.alerts).any(|a| a.labels == labels(name));
    assert!(told("A") && told("B"), "{sent:?}");
}

#[test]
fn an_event_without_a_time_counts_after_those_that_a_standby_took_first() {
    let (mut bench, inbox) = bench(Vec::new());
    bench.step();
    let event = |status| Batch { source: Source::Pagerduty, ..batch("A", status) };
    // The clock stands still: the inbox is not due by itself.
    inbox.lock().unwrap().push_back(Handed { row: 1, batches: row(&[event(Status::Firing)]) });
    bench.observe(event(Status::Resolved)).unwrap();
    assert!(inbox.lock().unwrap().is_empty(), "the trigger is taken first");
    assert_eq!(bench.published.stats.load_full().firing, 0, "A has resolved");

    inbox.lock().unwrap().push_back(Handed { row: 2, batches: row(&[firing("B")]) });
    bench.observe(firing("C")).unwrap();
    assert_eq!(inbox.lock().unwrap().len(), 1, "alerts with times cost no look");
}

/// A resolve does not end a firing that comes after it: the sender would seem to say the old firing again.
#[test]
fn a_resolve_counts_after_the_firing_that_a_standby_took_first() {
    let (mut bench, inbox) = bench(Vec::new());
    bench.step();
    inbox.lock().unwrap().push_back(Handed { row: 1, batches: row(&[firing("A")]) });
    bench.observe(batch("A", Status::Resolved)).unwrap();
    assert!(inbox.lock().unwrap().is_empty(), "the firing is taken first");
    bench.advance(Duration::from_mins(2));
    bench.step();
    assert_eq!(bench.published.stats.load_full().firing, 0, "nobody says any more that A fires");
}

#[test]
fn an_alert_without_a_start_counts_after_the_resolve_that_a_standby_took_first() {
    let (mut bench, inbox) = bench(Vec::new());
    bench.observe(firing("A")).unwrap();
    inbox.lock().unwrap().push_back(Handed { row: 1, batches: row(&[batch("A", Status::Resolved)]) });
    let mut again = firing("A");
    again.observations[0].start_unknown = true;
    bench.observe(again).unwrap();
    assert!(inbox.lock().unwrap().is_empty(), "the resolve is taken first");
    assert_eq!(bench.published.stats.load_full().firing, 1, "A fires again");
}

/// The other order needs no look: the later start says which statement is the later one.
#[test]
fn a_resolve_that_a_standby_took_first_ends_no_later_firing() {
    let (mut bench, inbox) = bench(Vec::new());
    bench.observe(firing("A")).unwrap();
    bench.advance(Duration::from_secs(30));
    bench.step();
    inbox.lock().unwrap().push_back(Handed { row: 1, batches: row(&[batch("A", Status::Resolved)]) });
    let mut next = firing("A");
    next.observations[0].starts_at = Timestamp::from_millis(T0 + 25_000);
    bench.observe(next).unwrap();
    assert_eq!(inbox.lock().unwrap().len(), 1, "the firing costs no look");
    for wait in [Duration::from_millis(100), Duration::from_mins(2)] {
        bench.advance(wait);
        bench.step();
        assert!(inbox.lock().unwrap().is_empty());
        assert_eq!(bench.published.stats.load_full().firing, 1, "A fires since the later start");
    }
}
