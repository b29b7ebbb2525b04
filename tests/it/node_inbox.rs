//! The inbox of the owner: alerts that standbys accepted.

use super::*;

/// A bench whose inbox holds these rows.
fn bench(rows: Vec<Result<String, String>>) -> (Bench, Inbox) {
    let rows = (1..).zip(rows).map(|(row, batches)| Handed { row, batches }).collect();
    let inbox: Inbox = Arc::new(Mutex::new(rows));
    let bench =
        Bench::start(MemoryJournal::new(true), policy(), QueueBounds::default(), T0, Some(inbox.clone()));
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
