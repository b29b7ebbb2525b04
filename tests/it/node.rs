//! The engine's thread against a journal in memory, an outbox that records, and a clock by hand.

#[path = "node_failopen.rs"]
mod failopen;
#[path = "node_heartbeats.rs"]
mod heartbeats;
#[path = "node_inbox.rs"]
mod inbox;
#[path = "node_input.rs"]
mod input;
#[path = "node_poison.rs"]
mod poison;
#[path = "node_recall.rs"]
mod recall;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use smol_str::SmolStr;
use squelch::config::{FailOpen, IntegrationRef, KnownBy, Noise, Policy, Receiver, Route, SelfCheckSettings};
use squelch::engine::Event;
use squelch::engine::{Alarm, AlertQuery};
use squelch::journal::{
    Commit, DeadLetter, Handed, Journal, JournalError, LetterQuery, MemoryJournal, Record, Recovered, Seq,
};
use squelch::model::{
    Batch, Duration, Kind, LabelSet, Notification, NotificationId, Observation, Outcome, Rejection, Report,
    Source, Status, Timestamp,
};
use squelch::node::clock::Reading;
use squelch::node::metrics::NodeMeter;
use squelch::node::{Command, Core, EngineClock, Flow, Outbox, Parts, Published, Queue, QueueBounds};
use squelch::web::{ReplayError, Unavailable};
use tokio::sync::oneshot;

const T0: i64 = 1_800_000_000_000;
/// The reason why the journal cannot be opened while another process owns it.
const OWNED: &str = "another process owns it";

/// The events, in their order.
#[derive(Clone, Debug, PartialEq)]
enum Happened {
    Committed(usize),
    Sent(NotificationId, Kind, bool),
}

type Log = Arc<Mutex<Vec<Happened>>>;

/// A journal that writes durable data into the log. An inbox, if there is one, gives one row at a time.
struct Logged(MemoryJournal, Log, Option<Inbox>);

type Inbox = Arc<Mutex<VecDeque<Handed>>>;

impl Journal for Logged {
    fn recover(&mut self) -> Result<Recovered, JournalError> {
        self.0.recover()
    }
    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), JournalError> {
        self.0.commit(commit)?;
        self.1.lock().unwrap().push(Happened::Committed(commit.records.len()));
        if let (Some(inbox), Some(taken)) = (&self.2, commit.taken) {
            inbox.lock().unwrap().retain(|handed| handed.row > taken);
        }
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
        Ok(self.2.iter().filter_map(|inbox| inbox.lock().unwrap().front().cloned()).collect())
    }
    fn inbox_every(&self) -> Option<Duration> {
        self.2.as_ref().map(|_| Duration::from_millis(100))
    }
}

struct Recording(Log, Arc<Mutex<Vec<Notification>>>);

impl Outbox for Recording {
    fn send(&self, n: Notification, possible_repeat: bool) {
        self.1.lock().unwrap().push(n.clone());
        self.0.lock().unwrap().push(Happened::Sent(n.id, n.kind, possible_repeat));
    }
}

/// A core that is stepped by hand, so that nothing depends on real time.
struct Bench {
    core: Core,
    queue: Queue,
    published: Arc<Published>,
    journal: Arc<Mutex<MemoryJournal>>,
    /// Set: the journal cannot be opened, for this reason.
    broken: Arc<Mutex<Option<String>>>,
    log: Log,
    /// Everything handed over, in full.
    notifications: Arc<Mutex<Vec<Notification>>>,
    millis: Arc<AtomicI64>,
}

impl Bench {
    fn new() -> Bench {
        Self::with(MemoryJournal::new(true), policy(), QueueBounds::default(), T0)
    }

    fn with(journal: MemoryJournal, policy: Policy, bounds: QueueBounds, millis: i64) -> Bench {
        Self::start(journal, policy, bounds, millis, None, None)
    }

    fn start(
        journal: MemoryJournal,
        policy: Policy,
        bounds: QueueBounds,
        millis: i64,
        inbox: Option<Inbox>,
        broken: Option<&str>,
    ) -> Bench {
        let broken = Arc::new(Mutex::new(broken.map(str::to_owned)));
        let journal = Arc::new(Mutex::new(journal));
        let (log, millis) = (Log::default(), Arc::new(AtomicI64::new(millis)));
        let queue = Queue::new(bounds);
        let notifications = Arc::<Mutex<Vec<Notification>>>::default();
        let meter = NodeMeter::register(&prometheus::Registry::new(), &[], &[]).unwrap();
        let published = Arc::new(Published::new(meter));
        let (handle, reason, commits, now) = (journal.clone(), broken.clone(), log.clone(), millis.clone());
        let core = Core::start(Parts {
            source: Box::new(move || {
                if let Some(reason) = reason.lock().unwrap().clone() {
                    return Err(match reason == OWNED {
                        true => JournalError::Standby(reason),
                        false => JournalError::Unusable { path: "data".into(), reason },
                    });
                }
                let mut handle = handle.lock().unwrap();
                *handle = handle.reopen();
                Ok(Box::new(Logged(handle.clone(), commits.clone(), inbox.clone())) as Box<dyn Journal>)
            }),
            queue: queue.clone(),
            clock: Arc::new(EngineClock::driven_by(move || {
                let nanos = i128::from(now.load(Ordering::Relaxed)) * 1_000_000;
                Reading { boot: nanos, wall: nanos }
            })),
            outbox: Box::new(Recording(log.clone(), notifications.clone())),
            published: published.clone(),
            policy,
        })
        .unwrap();
        Bench { core, queue, published, journal, broken, log, notifications, millis }
    }

    /// The process dies here, and another one starts on the data on disk.
    fn crash(self) -> Bench {
        self.crash_under(policy())
    }

    fn crash_under(self, policy: Policy) -> Bench {
        let journal = self.journal.lock().unwrap().clone();
        let millis = self.millis.load(Ordering::Relaxed);
        drop(self.core);
        Self::with(journal, policy, QueueBounds::default(), millis)
    }

    fn step(&mut self) -> Flow {
        self.core.step(Duration::ZERO)
    }

    fn advance(&mut self, by: Duration) {
        self.millis.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }

    fn ask<T>(&mut self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> T {
        let (done, mut answer) = oneshot::channel();
        self.queue.push(command(done)).unwrap();
        self.step();
        answer.try_recv().expect("answered in the tick that took it")
    }

    fn observe(&mut self, batch: Batch) -> Result<(), Unavailable> {
        self.ask(|done| Command::Observe(batch, None, done))
    }

    fn report(&mut self, id: NotificationId, outcome: Outcome) {
        self.queue.push(Command::Delivered(Report { id, outcome, attempts: 1, message: None })).unwrap();
        self.step();
    }

    fn alerts(&mut self) -> serde_json::Value {
        let query = AlertQuery { limit: 1000, ..AlertQuery::default() };
        let found = self.ask(|done| {
            Command::Look(Box::new(move |engine| {
                let _ = done.send(engine.unwrap().query().alerts(&query).found);
            }))
        });
        serde_json::to_value(found.into_iter().map(squelch::web::AlertEntry::from).collect::<Vec<_>>())
            .unwrap()
    }

    fn letters(&mut self) -> Vec<NotificationId> {
        let letters = self.ask(|done| Command::DeadLetters(LetterQuery::newest(100), done)).unwrap().letters;
        letters.iter().map(|letter| letter.notification.id).collect()
    }

    /// Everything handed over since the last call, in full.
    fn told(&self) -> Vec<Notification> {
        std::mem::take(&mut *self.notifications.lock().unwrap())
    }

    fn take_log(&self) -> Vec<Happened> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    fn sent(&self) -> Vec<(NotificationId, Kind, bool)> {
        let sent = |h| match h {
            Happened::Sent(id, kind, repeat) => Some((id, kind, repeat)),
            Happened::Committed(_) => None,
        };
        self.take_log().into_iter().filter_map(sent).collect()
    }

    fn events(&self) -> Vec<Event> {
        let mut all = self.journal.lock().unwrap().clone();
        let records = all.recover().unwrap().records;
        records.iter().map(|r| serde_json::from_slice(&r.event).unwrap()).collect()
    }
}

/// The default, for a receiver that can take any number of pages.
fn noise() -> Noise {
    let (mut noise, default) = (Noise::default(), Noise::default());
    (noise.storm.start, noise.limit.pages) = (0, 0);
    assert_ne!(noise, default, "they are limited by default");
    noise
}

fn policy() -> Policy {
    let mut policy = squelch::engine::testing::policy(&["alertname"], noise());
    policy.ignore_labels.clear();
    policy.routes[0].receiver = "oncall".into();
    let integration = IntegrationRef::new("webhook[0]", KnownBy::Group);
    policy.receivers = BTreeMap::from([("oncall".into(), Receiver::new(vec![integration]))]);
    policy
}

fn batch(name: &str, status: Status) -> Batch {
    let observation = Observation::new(
        status,
        LabelSet::from_pairs([("alertname", name), ("severity", "critical")]),
        Timestamp::from_millis(T0),
        (status == Status::Resolved).then(|| Timestamp::from_millis(T0 + 20_000)),
    );
    Batch::new(Source::Alertmanager, "a", vec![observation])
}

fn firing(name: &str) -> Batch {
    batch(name, Status::Firing)
}

fn refused() -> Outcome {
    Outcome::Rejected(Rejection { reason: "clientError".into(), detail: "no".into(), ambiguous: false })
}

#[test]
fn nothing_leaves_before_it_is_durable() {
    let mut bench = Bench::new();
    bench.take_log();
    bench.observe(firing("A")).unwrap();
    let log = bench.take_log();
    assert_eq!(log[0], Happened::Committed(1), "{log:?}");
    assert!(matches!(log[1..], [Happened::Sent(_, Kind::Page, false)]), "{log:?}");

    bench.journal.lock().unwrap().fail_next(false);
    let answer = bench.observe(firing("B"));
    assert!(answer.is_err_and(|e| e.to_string().contains("told to fail")));
    assert_eq!(bench.take_log(), []);
}

#[test]
fn what_waits_becomes_durable_in_one_commit() {
    let mut bench = Bench::new();
    bench.take_log();
    let mut answers = Vec::new();
    for n in 0..100 {
        let (done, answer) = oneshot::channel();
        bench.queue.push(Command::Observe(firing(&format!("A{n}")), None, done)).unwrap();
        answers.push(answer);
    }
    bench.step();
    let log = bench.take_log();
    assert_eq!(log[0], Happened::Committed(100));
    assert_eq!(log.len(), 101);
    assert!(answers.iter_mut().all(|a| a.try_recv() == Ok(Ok(()))));
}

#[test]
fn a_full_queue_is_answered_at_once() {
    let bounds = QueueBounds { commands: 1, ..QueueBounds::default() };
    let bench = Bench::with(MemoryJournal::new(true), policy(), bounds, T0);
    let (done, _answer) = oneshot::channel();
    bench.queue.push(Command::Observe(firing("A"), None, done)).unwrap();
    let (done, mut answer) = oneshot::channel();
    bench.queue.push(Command::Observe(firing("A"), None, done)).unwrap_err();
    assert!(answer.try_recv().is_err(), "its asker does not wait");
}

#[test]
fn a_crash_changes_nothing() {
    let mut bench = Bench::new();
    for n in 0..20 {
        bench.observe(firing(&format!("A{n}"))).unwrap();
    }
    let (first, ..) = bench.sent()[0];
    bench.report(first, Outcome::Accepted);
    bench.observe(batch("A3", Status::Resolved)).unwrap();
    let before = bench.alerts();
    let mut bench = bench.crash();
    assert_eq!(bench.alerts(), before);
    let again = bench.sent();
    assert_eq!(again.len(), 18, "all but the accepted one, and the one whose alert resolved");
    assert!(again.iter().all(|(id, _, possible_repeat)| *possible_repeat && *id != first));
    assert_eq!(bench.events().iter().filter(|e| **e == Event::Started).count(), 2);
    assert_eq!(
        bench.events().iter().filter(|e| matches!(e, Event::Policy(_))).count(),
        1,
        "it did not change"
    );
}

#[test]
fn a_clean_stop_leaves_a_snapshot_and_nothing_to_replay() {
    let mut bench = Bench::new();
    bench.observe(firing("A")).unwrap();
    bench.observe(firing("A")).unwrap();
    bench.ask(Command::Quiesce);
    let before = bench.alerts();
    let late = bench.observe(firing("late"));
    assert!(late.is_err_and(|e| e.to_string().contains("shutting down")));
    let (done, mut stopped) = oneshot::channel();
    bench.queue.push(Command::Stop(done)).unwrap();
    assert_eq!(bench.step(), Flow::Stopped);
    stopped.try_recv().unwrap();
    assert_eq!(bench.events(), [], "all of it is in the snapshot");
    let mut bench = bench.crash();
    assert_eq!(bench.alerts(), before);
}

#[test]
fn time_does_not_go_back_over_a_restart() {
    let mut bench = Bench::new();
    bench.observe(firing("A")).unwrap();
    bench.ask(Command::Stop);
    bench.advance(Duration::ZERO);
    bench.millis.fetch_sub(3_600_000, Ordering::Relaxed);
    let bench = bench.crash();
    let records = bench.journal.lock().unwrap().clone().recover().unwrap().records;
    assert!(!records.is_empty() && records.iter().all(|r| r.now >= Timestamp::from_millis(T0)));
}

#[test]
fn a_deadline_fires_by_itself() {
    let mut bench = Bench::new();
    bench.observe(firing("A")).unwrap();
    let (page, ..) = bench.sent()[0];
    bench.report(page, Outcome::Accepted);
    bench.observe(batch("A", Status::Resolved)).unwrap();
    let mut waited = Duration::ZERO;
    let sent = loop {
        bench.advance(Duration::from_secs(10));
        waited = Duration::from_millis(waited.as_millis() + 10_000);
        bench.step();
        let sent = bench.sent();
        if !sent.is_empty() || waited > Duration::from_hours(1) {
            break sent;
        }
    };
    assert!(matches!(sent[..], [(_, Kind::Resolve, false)]), "{sent:?} after {waited}");
    assert!(waited >= Noise::default().resolve_hold);
}

#[test]
fn a_failed_commit_is_refused_until_the_journal_is_read_again() {
    for applied in [false, true] {
        let failopen = FailOpen { after: Duration::ZERO, ..FailOpen::default() };
        let policy = Policy { failopen, ..policy() };
        let mut bench = Bench::with(MemoryJournal::new(true), policy, QueueBounds::default(), T0);
        bench.observe(firing("A")).unwrap();
        let (page, ..) = bench.sent()[0];
        let before = bench.alerts();
        *bench.broken.lock().unwrap() = Some("no space left".into());
        bench.journal.lock().unwrap().fail_next(applied);
        bench.observe(firing("B")).unwrap_err();
        assert!(bench.published.trouble.load().is_some());
        // The page of A is on its way, and its end must not get lost.
        bench.report(page, Outcome::Accepted);
        for _ in 0..5 {
            bench.observe(firing("B")).unwrap_err();
            bench.advance(Duration::from_secs(31));
            bench.step();
        }
        let trouble = bench.published.trouble.load_full().unwrap();
        assert!(trouble.contains("no space left"), "{trouble}");

        *bench.broken.lock().unwrap() = None;
        bench.take_log();
        bench.advance(Duration::from_secs(31));
        bench.step();
        assert_eq!(bench.published.trouble.load_full(), None);
        let sent = bench.sent();
        if applied {
            assert_eq!(sent.len(), 1, "the page of B was durable after all, and never sent: {sent:?}");
        } else {
            assert_eq!(bench.alerts().as_array().map(Vec::len), before.as_array().map(Vec::len));
            assert_eq!(sent, [], "the page of A is on its way already");
        }
        assert!(bench.events().iter().any(|e| matches!(e, Event::Delivered(r) if r.id == page)));
        bench.observe(firing("B")).unwrap();
        assert_eq!(bench.sent().len(), usize::from(!applied), "B pages once");
        let left = bench.journal.lock().unwrap().reopen().recover().unwrap().outbox;
        assert!(left.len() == 1 && left[0].id != page, "A has left the outbox: {left:?}");
    }
}

#[test]
fn reports_of_a_failed_tick_are_applied_later() {
    let mut bench = Bench::new();
    bench.observe(firing("A")).unwrap();
    let (page, ..) = bench.sent()[0];
    bench.journal.lock().unwrap().fail_next(false);
    bench.report(page, Outcome::Accepted);
    assert!(bench.published.trouble.load().is_some());
    bench.advance(Duration::from_secs(1));
    bench.step();
    assert_eq!(bench.published.trouble.load_full(), None);
    assert_eq!(bench.sent(), [], "it was delivered");
    let mut journal = bench.journal.lock().unwrap().reopen();
    assert!(journal.recover().unwrap().outbox.is_empty());
}

#[test]
fn a_dead_letter_is_sent_again_on_request() {
    let mut bench = Bench::new();
    bench.observe(firing("A")).unwrap();
    let (page, ..) = bench.sent()[0];
    let answer = bench.ask(|done| Command::Replay(page, done));
    assert!(matches!(answer, Err(ReplayError::NotFound)), "it is no dead letter yet: {answer:?}");
    bench.report(page, refused());
    assert_eq!(bench.letters(), [page]);
    bench.ask(|done| Command::Replay(page, done)).unwrap();
    // Its incident goes on, so the engine says it anew, or as it was.
    let sent = bench.sent();
    assert!(matches!(sent[..], [(_, Kind::Page, false)]), "{sent:?}");
    assert_eq!(bench.letters(), [page], "it is one until somebody was told");
    bench.report(sent[0].0, Outcome::Accepted);
    assert_eq!(bench.letters(), []);
    assert_eq!(bench.crash().letters(), []);
}

/// An undelivered page, sent once its incident is over, would open an incident that never closes.
#[test]
fn a_dead_letter_of_what_is_over_opens_nothing() {
    let mut bench = Bench::new();
    bench.observe(firing("A")).unwrap();
    let (page, ..) = bench.sent()[0];
    bench.report(page, refused());
    bench.observe(batch("A", Status::Resolved)).unwrap();
    bench.advance(Duration::from_hours(1));
    bench.step();
    assert_eq!(bench.sent(), [], "nothing was opened, so there is nothing to close");
    assert_eq!(bench.letters(), [page], "that a page never came is not forgotten");
    let answer = bench.ask(|done| Command::Replay(page, done));
    assert_eq!(answer, Err(ReplayError::Over));
    assert_eq!(bench.sent(), []);
}

/// A notification that is tried again by itself leaves no dead letter behind once it is accepted.
#[test]
fn a_page_that_came_late_is_no_dead_letter() {
    let mut bench = Bench::new();
    bench.observe(firing("A")).unwrap();
    let (page, ..) = bench.sent()[0];
    bench.report(page, refused());
    bench.advance(Duration::from_mins(5));
    bench.step();
    let again = bench.sent();
    assert!(matches!(again[..], [(_, Kind::Page, false)]), "{again:?}");
    bench.report(again[0].0, Outcome::Accepted);
    assert_eq!(bench.letters(), []);
    let answer = bench.ask(|done| Command::Replay(page, done));
    assert_eq!(answer, Err(ReplayError::NotFound));
}

#[test]
fn a_new_policy_is_journalled_and_survives() {
    let mut bench = Bench::new();
    let mut new = policy();
    new.resolve_timeout = Duration::from_mins(7);
    bench.ask(|done| Command::Policy(Box::new(new.clone()), done)).unwrap();
    let last = |bench: &Bench| {
        bench.events().into_iter().rev().find_map(|e| if let Event::Policy(p) = e { Some(*p) } else { None })
    };
    assert_eq!(last(&bench), Some(new));
    // The next start reads the old file again.
    assert_eq!(last(&bench.crash()), Some(policy()));
}

#[test]
fn events_bring_a_snapshot() {
    let mut bench = Bench::new();
    bench.observe(firing("A")).unwrap();
    assert!(bench.journal.lock().unwrap().clone().recover().unwrap().snapshot.is_none());
    bench.advance(squelch::node::core::SNAPSHOT_EVERY);
    bench.step();
    let recovered = bench.journal.lock().unwrap().clone().recover().unwrap();
    let (seq, _) = recovered.snapshot.expect("a snapshot after five minutes");
    assert!(recovered.records.iter().all(|r| r.seq > seq));
}

#[test]
fn the_thread_ends_when_told_and_closes_the_queue() {
    let Bench { core, queue, .. } = Bench::new();
    let end = core.spawn().unwrap();
    let (done, answer) = oneshot::channel();
    queue.push(Command::Observe(firing("A"), None, done)).unwrap();
    assert_eq!(answer.blocking_recv(), Ok(Ok(())));
    let (done, stopped) = oneshot::channel();
    queue.push(Command::Stop(done)).unwrap();
    stopped.blocking_recv().unwrap();
    end.blocking_recv().unwrap();
    let (done, _answer) = oneshot::channel();
    queue.push(Command::Observe(firing("A"), None, done)).unwrap_err();
}
