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
