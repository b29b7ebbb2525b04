//! The inbox of the owner: alerts that standbys accepted.

use std::collections::VecDeque;

use squelch::journal::Handed;

use super::*;

/// A journal with an inbox that gives one row at a time.
struct WithInbox(MemoryJournal, Arc<Mutex<VecDeque<Handed>>>);

impl Journal for WithInbox {
    fn recover(&mut self) -> Result<Recovered, JournalError> {
        self.0.recover()
    }
    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), JournalError> {
        self.0.commit(commit)?;
        let taken = commit.taken.unwrap_or(0);
        self.1.lock().unwrap().retain(|handed| handed.row > taken);
        Ok(())
    }
    fn snapshot(&mut self, seq: Seq, body: &[u8]) -> Result<(), JournalError> {
        self.0.snapshot(seq, body)
    }
    fn dead_letters(&mut self, wanted: &LetterQuery) -> Result<Vec<DeadLetter>, JournalError> {
        self.0.dead_letters(wanted)
    }
    fn dead_letter_counts(&mut self) -> Result<BTreeMap<SmolStr, u64>, JournalError> {
        self.0.dead_letter_counts()
    }
    fn prune(&mut self, before: Timestamp) -> Result<bool, JournalError> {
        self.0.prune(before)
    }
    fn inbox(&mut self) -> Result<Vec<Handed>, JournalError> {
        Ok(self.1.lock().unwrap().front().cloned().into_iter().collect())
    }
    fn inbox_every(&self) -> Option<Duration> {
        Some(Duration::from_millis(100))
    }
}

/// A bench whose inbox holds these rows.
fn bench(rows: Vec<Result<String, String>>) -> (Bench, Arc<Mutex<VecDeque<Handed>>>) {
    let rows = (1..).zip(rows).map(|(row, batches)| Handed { row, batches }).collect();
    let inbox: Arc<Mutex<VecDeque<Handed>>> = Arc::new(Mutex::new(rows));
    let mut bench = Bench::new();
    let (shared, clock) = (inbox.clone(), bench.millis.clone());
    bench.core = Core::start(Parts {
        source: Box::new(move || {
            Ok(Box::new(WithInbox(MemoryJournal::new(true), shared.clone())) as Box<dyn Journal>)
        }),
        queue: bench.queue.clone(),
        clock: Arc::new(EngineClock::driven_by(move || {
            let nanos = i128::from(clock.load(Ordering::Relaxed)) * 1_000_000;
            Reading { boot: nanos, wall: nanos }
        })),
        outbox: Box::new(Recording(bench.log.clone(), bench.notifications.clone())),
        published: bench.published.clone(),
        policy: policy(),
    })
    .unwrap();
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
