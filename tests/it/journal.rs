//! The contract of [`Journal`], held against every implementation.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use squelch::journal::{
    Advertised, Commit, DeadLetter, Journal, JournalError, LetterQuery, MemoryJournal, Postgres, Record,
    Recovered, Seq, SqliteJournal,
};
use squelch::model::{
    AlertId, Decision, Disposition, Kind, LabelSet, Notification, NotificationId, Outcome, Reason, Rejection,
    Report, Timestamp,
};
use tempfile::TempDir;

use crate::postgres::{Database, shared};

/// A place that outlives its journal.
pub(crate) trait Store {
    fn open(&self) -> Box<dyn Journal>;
}

pub(crate) struct Sqlite(TempDir);

impl Store for Sqlite {
    fn open(&self) -> Box<dyn Journal> {
        Box::new(SqliteJournal::open(self.0.path()).unwrap())
    }
}

pub(crate) struct Memory(MemoryJournal);

impl Store for Memory {
    fn open(&self) -> Box<dyn Journal> {
        Box::new(self.0.reopen())
    }
}

pub(crate) struct Shared {
    process: Arc<Postgres>,
    _database: Database,
}

impl Store for Shared {
    fn open(&self) -> Box<dyn Journal> {
        Box::new(self.process.open().unwrap())
    }
}

/// A new database. `None` where there is no PostgreSQL.
pub(crate) fn postgres() -> Option<Shared> {
    let database = shared()?.database();
    Some(Shared { process: Postgres::new(database.url(), Advertised::default(), || {}), _database: database })
}

pub(crate) fn sqlite() -> Sqlite {
    Sqlite(tempfile::tempdir().unwrap())
}

pub(crate) fn memory() -> Memory {
    Memory(MemoryJournal::new(true))
}

pub(crate) fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + ms as i64)
}

/// Event `seq`, handled `seq` milliseconds after the epoch of these tests.
pub(crate) fn record(seq: Seq) -> Record {
    Record { seq, now: at(seq), event: format!(r#"{{"tick":{seq}}}"#).into_bytes() }
}

pub(crate) fn notification(id: u64, now: Timestamp) -> Notification {
    Notification {
        id: NotificationId(id),
        integration: "pagerduty[0]".into(),
        dedup_key: format!("{id:064x}").into(),
        group_key: "{}:{}".into(),
        group_labels: LabelSet::from_pairs([("alertname", "A")]),
        severity: "critical".into(),
        level: (0, 3),
        ..Notification::new(now, "team-a", Kind::Page)
    }
}

pub(crate) fn decision(now: Timestamp) -> Decision {
    let cause = squelch::model::Cause::UnchangedRepeats;
    Decision::new(now, AlertId(7), "team-a", Disposition::Suppressed(Reason::Duplicate), cause)
}

pub(crate) fn accepted(id: u64) -> Report {
    Report { id: NotificationId(id), outcome: Outcome::Accepted, attempts: 1, message: None }
}

pub(crate) fn rejected(id: u64) -> Report {
    let rejection =
        Rejection { reason: "clientError".into(), detail: "404: no such key".into(), ambiguous: true };
    Report { id: NotificationId(id), outcome: Outcome::Rejected(rejection), attempts: 3, message: None }
}

pub(crate) fn recalled(id: u64) -> Report {
    let outcome = Outcome::Recalled { ambiguous: true };
    Report { id: NotificationId(id), outcome, attempts: 3, message: None }
}

/// Commits event `seq` with the additions of `more`.
pub(crate) fn tick<'a>(
    journal: &mut dyn Journal,
    seq: Seq,
    more: impl FnOnce(&mut Commit<'a>),
) -> Result<(), JournalError> {
    let mut commit = Commit::default();
    more(&mut commit);
    journal.commit(&Commit { records: &[record(seq)], ..commit })
}

pub(crate) fn ids(recovered: &Recovered) -> Vec<u64> {
    recovered.outbox.iter().map(|n| n.id.0).collect()
}

pub(crate) fn dead(journal: &mut dyn Journal) -> Vec<u64> {
    journal.dead_letters(&LetterQuery::newest(100)).unwrap().iter().map(|l| l.notification.id.0).collect()
}

fn is_refused(result: Result<(), JournalError>) -> bool {
    matches!(result, Err(JournalError::Refused(_)))
}

pub(crate) fn nothing_was_damaged(recovered: &Recovered) {
    assert_eq!((&recovered.quarantined, &recovered.notes), (&None, &vec![]));
    assert!(recovered.orphans.is_empty() && recovered.unreadable.is_empty());
}

fn events_come_back_in_order(store: &dyn Store) {
    let mut journal = store.open();
    let first = journal.recover().unwrap();
    assert!(first.snapshot.is_none() && first.records.is_empty() && first.outbox.is_empty());
    let records: Vec<Record> = (1..=5).map(record).collect();
    journal.commit(&Commit { records: &records[..1], ..Commit::default() }).unwrap();
    journal.commit(&Commit { records: &records[1..4], ..Commit::default() }).unwrap();
    journal.commit(&Commit { records: &records[4..], ..Commit::default() }).unwrap();
    drop(journal);
    let recovered = store.open().recover().unwrap();
    nothing_was_damaged(&recovered);
    assert_eq!(recovered.records, records);
}

fn a_gap_is_refused_and_changes_nothing(store: &dyn Store) {
    let mut journal = store.open();
    assert!(is_refused(tick(&mut *journal, 1, |_| {})), "recover comes first");
    journal.recover().unwrap();
    assert!(is_refused(tick(&mut *journal, 2, |_| {})));
    tick(&mut *journal, 1, |_| {}).unwrap();
    for wrong in [0, 1, 3] {
        assert!(is_refused(tick(&mut *journal, wrong, |_| {})), "{wrong} after 1");
    }
    let gap = [record(2), record(4)];
    assert!(is_refused(journal.commit(&Commit { records: &gap, ..Commit::default() })));
    let notification = [notification(1, at(2))];
    assert!(is_refused(tick(&mut *journal, 3, |c| c.notifications = &notification)), "as a whole");
    tick(&mut *journal, 2, |_| {}).unwrap();
    drop(journal);
    let mut journal = store.open();
    let recovered = journal.recover().unwrap();
    assert_eq!(recovered.records, [record(1), record(2)]);
    assert!(recovered.outbox.is_empty());
    assert!(is_refused(tick(&mut *journal, 4, |_| {})), "the end is known after a reopen");
    tick(&mut *journal, 3, |_| {}).unwrap();
}

fn the_outbox_keeps_what_is_not_delivered(store: &dyn Store) {
    let mut journal = store.open();
    journal.recover().unwrap();
    let three: Vec<_> = (1..=3).map(|id| notification(id, at(1))).collect();
    tick(&mut *journal, 1, |c| c.notifications = &three).unwrap();
    let reports = [accepted(1), rejected(3)];
    tick(&mut *journal, 2, |c| c.reports = &reports).unwrap();
    assert_eq!(dead(&mut *journal), [3]);
    drop(journal);

    let mut journal = store.open();
    let recovered = journal.recover().unwrap();
    assert_eq!(recovered.outbox, [three[1].clone()]);
    let letter = DeadLetter { notification: three[2].clone(), report: rejected(3), died_at: at(2) };
    assert_eq!(journal.dead_letters(&LetterQuery::newest(9)).unwrap(), [letter]);
    // Ended is ended: later reports about the same change nothing, nor do those about nothing.
    let again = [rejected(1), accepted(3), accepted(99)];
    tick(&mut *journal, 3, |c| c.reports = &again).unwrap();
    assert_eq!(dead(&mut *journal), [3]);
    // Only a dead letter can be sent again, or made good.
    let good = [1, 2, 99].map(NotificationId);
    tick(&mut *journal, 4, |c| c.made_good = &good).unwrap();
    assert_eq!(dead(&mut *journal), [3]);
    let resend = [1, 2, 3, 99].map(NotificationId);
    tick(&mut *journal, 5, |c| c.resend = &resend).unwrap();
    assert!(dead(&mut *journal).is_empty());
    drop(journal);

    let mut journal = store.open();
    assert_eq!(ids(&journal.recover().unwrap()), [2, 3]);
    let reports = [accepted(2), rejected(3)];
    tick(&mut *journal, 6, |c| c.reports = &reports).unwrap();
    assert_eq!(dead(&mut *journal), [3]);
    let good = [NotificationId(3)];
    tick(&mut *journal, 7, |c| c.made_good = &good).unwrap();
    assert!(dead(&mut *journal).is_empty());
    drop(journal);
    let mut journal = store.open();
    assert!(journal.recover().unwrap().outbox.is_empty());
    let used = [notification(3, at(8))];
    assert!(is_refused(tick(&mut *journal, 8, |c| c.notifications = &used)), "ids are used once");
    let twice = [notification(4, at(8)), notification(4, at(8))];
    assert!(is_refused(tick(&mut *journal, 8, |c| c.notifications = &twice)));
    tick(&mut *journal, 8, |_| {}).unwrap();
}

fn a_recalled_notification_leaves_the_outbox_as_its_successor_enters(store: &dyn Store) {
    let mut journal = store.open();
    journal.recover().unwrap();
    let pages: Vec<_> = (1..=3).map(|id| notification(id, at(1))).collect();
    tick(&mut *journal, 1, |c| c.notifications = &pages).unwrap();
    let replaces = squelch::model::Recalled {
        id: NotificationId(1),
        at: at(1),
        kind: Kind::Page,
        attempts: 3,
        ambiguous: true,
    };
    let next = [Notification { replaces: Some(replaces), ..notification(4, at(2)) }];
    let reports = [recalled(1), accepted(2), recalled(99)];
    tick(&mut *journal, 2, |c| (c.notifications, c.reports) = (&next, &reports)).unwrap();
    assert!(dead(&mut *journal).is_empty(), "it is no dead letter");
    drop(journal);
    let mut journal = store.open();
    assert_eq!(journal.recover().unwrap().outbox, [pages[2].clone(), next[0].clone()]);
    // Only one that waits is recalled.
    let ends = [[rejected(3)], [recalled(3)]];
    tick(&mut *journal, 3, |c| c.reports = &ends[0]).unwrap();
    tick(&mut *journal, 4, |c| c.reports = &ends[1]).unwrap();
    assert_eq!(dead(&mut *journal), [3]);
    let resend = [NotificationId(1)];
    tick(&mut *journal, 5, |c| c.resend = &resend).unwrap();
    drop(journal);
    let mut journal = store.open();
    assert_eq!(ids(&journal.recover().unwrap()), [4], "nothing is left of it");
}

fn a_commit_needs_no_event(store: &dyn Store) {
    let mut journal = store.open();
    journal.recover().unwrap();
    journal.commit(&Commit::default()).unwrap();
    let page = [notification(1, at(1))];
    tick(&mut *journal, 1, |c| c.notifications = &page).unwrap();
    journal.commit(&Commit { reports: &[rejected(1)], ..Commit::default() }).unwrap();
    assert_eq!(
        journal.dead_letters(&LetterQuery::newest(1)).unwrap()[0].died_at,
        at(1),
        "the time of the log"
    );
    drop(journal);
    let mut journal = store.open();
    assert_eq!(journal.recover().unwrap().records, [record(1)]);
    assert_eq!(dead(&mut *journal), [1]);
}

fn snapshots_shorten_the_replay(store: &dyn Store) {
    let mut journal = store.open();
    journal.recover().unwrap();
    let records: Vec<Record> = (1..=10).map(record).collect();
    for two in records.chunks(2) {
        journal.commit(&Commit { records: two, ..Commit::default() }).unwrap();
    }
    assert!(is_refused(journal.snapshot(11, b"of the future")));
    journal.snapshot(3, b"three").unwrap();
    drop(journal);

    let mut journal = store.open();
    let recovered = journal.recover().unwrap();
    assert_eq!(recovered.snapshot, Some((3, b"three".to_vec())));
    assert_eq!(recovered.records, records[3..], "also from the midst of a commit");
    journal.snapshot(6, b"six").unwrap();
    assert!(is_refused(journal.snapshot(5, b"five")), "snapshots do not go back");
    journal.snapshot(8, b"eight").unwrap();
    journal.snapshot(10, b"draft").unwrap();
    journal.snapshot(10, b"ten").unwrap();
    drop(journal);

    let mut journal = store.open();
    let recovered = journal.recover().unwrap();
    assert_eq!(recovered.snapshot, Some((10, b"ten".to_vec())));
    assert!(recovered.records.is_empty());
    assert!(is_refused(tick(&mut *journal, 1, |_| {})), "the end is known from the snapshot alone");
    tick(&mut *journal, 11, |_| {}).unwrap();
    drop(journal);
    assert_eq!(store.open().recover().unwrap().records, [record(11)]);
}

fn a_large_event_is_one_like_others(store: &dyn Store) {
    let mut journal = store.open();
    journal.recover().unwrap();
    let large = Record { event: format!("\"{}\"", "x".repeat(5 << 20)).into_bytes(), ..record(1) };
    journal.commit(&Commit { records: std::slice::from_ref(&large), ..Commit::default() }).unwrap();
    tick(&mut *journal, 2, |_| {}).unwrap();
    drop(journal);
    assert_eq!(store.open().recover().unwrap().records, [large, record(2)]);
}

fn what_died_last_is_shown_first(store: &dyn Store) {
    let mut journal = store.open();
    journal.recover().unwrap();
    let four: Vec<_> = (1..=4).map(|id| notification(id, at(1))).collect();
    tick(&mut *journal, 1, |c| c.notifications = &four).unwrap();
    for (seq, ids) in [(2, vec![3]), (3, vec![1, 4]), (4, vec![2])] {
        let reports: Vec<_> = ids.into_iter().map(rejected).collect();
        journal.commit(&Commit { records: &[record(seq)], reports: &reports, ..Commit::default() }).unwrap();
    }
    assert_eq!(dead(&mut *journal), [2, 4, 1, 3]);
    let newest: Vec<_> = journal
        .dead_letters(&LetterQuery::newest(2))
        .unwrap()
        .iter()
        .map(|l| (l.notification.id.0, l.died_at))
        .collect();
    assert_eq!(newest, [(2, at(4)), (4, at(3))]);
    assert!(journal.dead_letters(&LetterQuery::newest(0)).unwrap().is_empty());
    let (after, receiver) = (Some((at(3), NotificationId(4))), |name: &str| Some(name.into()));
    let older = LetterQuery { after, ..LetterQuery::newest(9) };
    let listed = |journal: &mut dyn Journal, query: &LetterQuery| -> Vec<u64> {
        journal.dead_letters(query).unwrap().iter().map(|l| l.notification.id.0).collect()
    };
    assert_eq!(listed(&mut *journal, &older), [1, 3], "what is behind");
    let ours = journal.dead_letters(&LetterQuery::newest(1)).unwrap().remove(0).notification.receiver;
    assert_eq!(listed(&mut *journal, &LetterQuery { receiver: receiver("nobody"), ..older.clone() }), [0; 0]);
    assert_eq!(listed(&mut *journal, &LetterQuery { receiver: Some(ours.clone()), ..older }), [1, 3]);
    assert_eq!(journal.dead_letter_counts().unwrap(), [(ours, 4)].into());
}

fn pruning_forgets_only_what_is_over(store: &dyn Store) {
    let mut journal = store.open();
    journal.recover().unwrap();
    let four: Vec<_> = (1..=4).map(|id| notification(id, at(1))).collect();
    tick(&mut *journal, 1, |c| c.notifications = &four).unwrap();
    let (early, late) = ([accepted(1), rejected(2)], [accepted(3)]);
    tick(&mut *journal, 2, |c| c.reports = &early).unwrap();
    tick(&mut *journal, 3, |c| c.reports = &late).unwrap();
    while journal.prune(at(3)).unwrap() {}
    // Number 1 is forgotten, so its id is free. That of 3 is not.
    let (one, three) = ([notification(1, at(4))], [notification(3, at(4))]);
    assert!(is_refused(tick(&mut *journal, 4, |c| c.notifications = &three)));
    tick(&mut *journal, 4, |c| c.notifications = &one).unwrap();
    assert_eq!(dead(&mut *journal), [2]);
    drop(journal);
    let recovered = store.open().recover().unwrap();
    assert_eq!(ids(&recovered), [1, 4]);
    assert_eq!(recovered.records.len(), 4, "events go with snapshots, not with age");
}

fn dead_letters_have_a_bound(store: &dyn Store) {
    let bound = squelch::journal::DEAD_LETTERS_KEPT as u64;
    let mut journal = store.open();
    journal.recover().unwrap();
    let many: Vec<_> = (1..=bound + 1_500).map(|id| notification(id, at(1))).collect();
    let reports: Vec<_> = many.iter().map(|n| rejected(n.id.0)).collect();
    tick(&mut *journal, 1, |c| c.notifications = &many).unwrap();
    journal.commit(&Commit { reports: &reports, ..Commit::default() }).unwrap();
    assert!(journal.prune(at(0)).unwrap(), "one round is not enough");
    while journal.prune(at(0)).unwrap() {}
    let kept: Vec<_> = journal
        .dead_letters(&LetterQuery::newest(usize::MAX))
        .unwrap()
        .iter()
        .map(|l| l.notification.id.0)
        .collect();
    assert_eq!(kept, (1_501..=bound + 1_500).rev().collect::<Vec<_>>());
}

/// Runs each part of the contract on a fresh store of each kind.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test] fn $name() { super::$name(&super::sqlite()); })*
        }
        mod on_postgres {
            $(#[test] fn $name() { if let Some(store) = super::postgres() { super::$name(&store) } })*
        }
        mod on_memory {
            $(#[test] fn $name() { super::$name(&super::memory()); })*
        }
    };
}

contract!(
    events_come_back_in_order,
    a_gap_is_refused_and_changes_nothing,
    the_outbox_keeps_what_is_not_delivered,
    a_recalled_notification_leaves_the_outbox_as_its_successor_enters,
    a_commit_needs_no_event,
    snapshots_shorten_the_replay,
    a_large_event_is_one_like_others,
    what_died_last_is_shown_first,
    pruning_forgets_only_what_is_over,
    dead_letters_have_a_bound,
);

#[test]
fn a_memory_journal_fails_when_told_to_and_forgets_when_it_may() {
    let mut journal = MemoryJournal::new(true);
    journal.recover().unwrap();
    for (seq, applied) in [(1, false), (1, true)] {
        journal.fail_next(applied);
        assert!(matches!(tick(&mut journal, seq, |_| {}), Err(JournalError::Failed(_))));
        assert!(matches!(tick(&mut journal, seq + 1, |_| {}), Err(JournalError::Failed(_))), "poisoned");
        let mut old = std::mem::replace(&mut journal, MemoryJournal::new(true));
        journal = old.reopen();
        assert_eq!(journal.recover().unwrap().records.len(), usize::from(applied));
        assert!(matches!(tick(&mut old, 2, |_| {}), Err(JournalError::Failed(_))), "no longer the owner");
    }
    let decisions = [decision(at(2))];
    tick(&mut journal, 2, |c| c.decisions = &decisions).unwrap();
    assert_eq!(journal.decisions(), decisions);
    assert!(!journal.prune(at(3)).unwrap());
    assert!(journal.decisions().is_empty());

    let mut brief = MemoryJournal::new(false);
    brief.recover().unwrap();
    let two = [notification(1, at(1)), notification(2, at(1))];
    tick(&mut brief, 1, |c| (c.decisions, c.notifications) = (&decisions, &two)).unwrap();
    tick(&mut brief, 2, |c| c.reports = &[]).unwrap();
    brief.commit(&Commit { reports: &[accepted(1)], ..Commit::default() }).unwrap();
    let recovered = brief.recover().unwrap();
    assert_eq!((recovered.records.len(), brief.decisions().len(), ids(&recovered)), (0, 0, vec![2]));
}
