//! Fail open: the pages that leave while the journal fails, and that the engine knows of them afterwards.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A bench whose journal has just failed on `batch`, and cannot be opened again.
fn broken_on(batch: Batch) -> Bench {
    let mut bench = Bench::new();
    bench.take_log();
    bench.journal.lock().unwrap().fail_next(false);
    *bench.broken.lock().unwrap() = Some("no space left".into());
    bench.observe(batch).unwrap_err();
    bench
}

impl Bench {
    /// Lets time pass, second by second, as the thread does.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.advance(SECOND);
            self.step();
        }
    }

    fn mend(&mut self) {
        *self.broken.lock().unwrap() = None;
        self.pass(31);
        self.core.step(Duration::ZERO);
        assert!(self.published.trouble.load().is_none(), "the journal is read again");
    }
}

fn warning(name: &str) -> Batch {
    let mut batch = firing(name);
    let labels = [("alertname", name), ("severity", "warning")];
    batch.observations[0].labels = LabelSet::from_pairs(labels);
    batch
}

#[test]
fn a_critical_page_leaves_after_a_minute_without_storage_once_and_marked() {
    let mut bench = broken_on(firing("A"));
    bench.pass(59);
    assert_eq!(bench.told(), [], "503 for a minute first: the sender holds it");
    bench.pass(2);
    let told = bench.told();
    assert_eq!(told.len(), 1);
    assert!(matches!(told[0].cause, squelch::model::Cause::WithoutStorage { .. }), "{:?}", told[0].cause);
    assert_eq!(told[0].kind, Kind::Page);
    // Said again, and answered 503 still: it is the same occurrence.
    assert!(bench.observe(firing("A")).is_err());
    // A later critical page does not wait, and one that is not critical does.
    assert!(bench.observe(firing("B")).is_err());
    assert!(bench.observe(warning("C")).is_err());
    bench.pass(60);
    let told = bench.told();
    assert_eq!(told.iter().map(|n| n.group_labels.value("alertname")).collect::<Vec<_>>(), ["B"]);
}

#[test]
fn what_was_sent_without_storage_is_neither_paged_again_nor_left_open() {
    let mut bench = broken_on(firing("A"));
    bench.pass(61);
    let page = bench.told().remove(0);
    bench.report(page.id, Outcome::Accepted);
    bench.mend();
    assert_eq!(bench.told(), [], "its end is known: it leaves no second time");
    bench.observe(firing("A")).unwrap();
    bench.pass(2);
    assert_eq!(bench.told(), [], "the sender repeats what the engine knows");
    let mut over = firing("A");
    over.observations[0].status = Status::Resolved;
    over.observations[0].ends_at = Some(Timestamp::from_millis(T0 + 100_000));
    bench.observe(over).unwrap();
    bench.pass(200);
    let told = bench.told();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].kind, &told[0].dedup_key), (Kind::Resolve, &page.dedup_key));
    // A replay of the journal gives all of it.
    let before = bench.alerts();
    assert_eq!(bench.crash().alerts(), before);
}

/// Alertmanager sends no resolve for an alert that it could not tell.
#[test]
fn an_alert_that_is_not_stated_after_the_outage_closes_ten_minutes_later() {
    for stated in [false, true] {
        let mut bench = broken_on(firing("A"));
        assert!(bench.observe(firing("B")).is_err());
        bench.pass(61);
        let pages = bench.told();
        assert_eq!(pages.len(), 2);
        pages.iter().for_each(|page| bench.report(page.id, Outcome::Accepted));
        bench.mend();
        if stated {
            bench.observe(firing("A")).unwrap();
            bench.observe(firing("B")).unwrap();
        }
        bench.pass(500);
        assert_eq!(bench.told(), []);
        bench.pass(400);
        let ends: Vec<_> = bench.told().into_iter().map(|n| (n.kind, n.dedup_key)).collect();
        let open: Vec<_> = pages.into_iter().map(|page| (Kind::Resolve, page.dedup_key)).collect();
        assert_eq!(ends, if stated { vec![] } else { open });
    }
}

#[test]
fn an_end_that_is_not_known_is_a_possible_repeat_under_the_same_key() {
    let mut bench = broken_on(firing("A"));
    bench.pass(61);
    let page = bench.told().remove(0);
    bench.take_log();
    bench.mend();
    let again = bench.told();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].dedup_key, page.dedup_key);
    assert_ne!(again[0].id, page.id, "one does not stand in the other's way on the way out");
    assert!(bench.sent().iter().all(|(_, _, possible_repeat)| *possible_repeat));
    // The late end of the first belongs to no notification.
    bench.report(page.id, Outcome::Accepted);
}

#[test]
fn a_commit_that_was_durable_after_all_is_not_handled_twice() {
    let mut bench = Bench::new();
    bench.take_log();
    bench.journal.lock().unwrap().fail_next(true);
    *bench.broken.lock().unwrap() = Some("late".into());
    bench.observe(firing("A")).unwrap_err();
    bench.pass(61);
    let page = bench.told().remove(0);
    bench.report(page.id, Outcome::Accepted);
    bench.mend();
    assert_eq!(bench.told(), []);
    let observed = bench.events().iter().filter(|e| matches!(e, Event::Observe(_))).count();
    assert_eq!(observed, 2, "the second one says that the sender got no answer");
}

#[test]
fn a_silence_that_was_durable_holds_without_storage_and_what_resolved_is_not_paged() {
    let mut bench = Bench::new();
    let silence = squelch::model::Silence {
        id: "".into(),
        matchers: vec![squelch::model::parse_matchers("alertname=A").unwrap()],
        starts_at: Timestamp::from_millis(T0),
        ends_at: Timestamp::from_millis(T0 + 3_600_000),
        updated_at: Timestamp::from_millis(T0),
        created_by: "me".into(),
        comment: "known".into(),
    };
    bench.ask(|done| Command::Silence(squelch::model::SilenceRequest::Set(silence), done)).unwrap();
    bench.journal.lock().unwrap().fail_next(false);
    *bench.broken.lock().unwrap() = Some("no space left".into());
    bench.observe(firing("A")).unwrap_err();
    bench.observe(firing("B")).unwrap_err();
    bench.pass(30);
    bench.observe(batch("B", Status::Resolved)).unwrap_err();
    bench.pass(60);
    assert_eq!(bench.told(), []);
}

#[test]
fn zero_is_off() {
    let policy = Policy { failopen: FailOpen { after: Duration::ZERO, ..FailOpen::default() }, ..policy() };
    let mut bench = Bench::with(MemoryJournal::new(true), policy, QueueBounds::default(), T0);
    bench.journal.lock().unwrap().fail_next(false);
    *bench.broken.lock().unwrap() = Some("no space left".into());
    bench.observe(firing("A")).unwrap_err();
    bench.pass(600);
    assert_eq!(bench.told(), []);
}
