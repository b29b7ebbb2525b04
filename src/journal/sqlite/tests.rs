//! The directory when it is too small, and when it goes away.

use std::fs;
use std::path::Path;

use super::*;
use crate::journal::Record;
use crate::model::{
    AlertId, Cause, Decision, Disposition, Kind, LabelSet, Notification, NotificationId, Outcome,
};
use crate::model::{Reason, Report};

const MIB: u64 = 1 << 20;

fn at(seq: Seq) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + i64::try_from(seq).unwrap())
}

/// Words that no compression makes short.
fn noise(seq: Seq, bytes: usize) -> String {
    let mut state = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + u8::try_from(state % 90).unwrap())
    };
    let plain = |c: char| if c == '"' || c == '\\' { 'x' } else { c };
    (0..bytes).map(|_| plain(next())).collect()
}

fn record(seq: Seq, bytes: usize) -> Record {
    Record { seq, now: at(seq), event: format!("\"{}\"", noise(seq, bytes)).into_bytes() }
}

fn notification(seq: Seq) -> Notification {
    Notification {
        id: NotificationId(seq),
        integration: "pagerduty[0]".into(),
        dedup_key: format!("{seq:064x}").into(),
        group_key: "{}:{}".into(),
        group_labels: LabelSet::from_pairs([("alertname", "A")]),
        severity: "critical".into(),
        level: (0, 3),
        cause: Cause::Released { by: noise(seq, 16_000).into() },
        ..Notification::new(at(seq), "team-a", Kind::Page)
    }
}

fn decision(seq: Seq, bytes: usize) -> Decision {
    let cause = Cause::Released { by: noise(seq, bytes).into() };
    Decision::new(at(seq), AlertId(7), "team-a", Disposition::Suppressed(Reason::Duplicate), cause)
}

fn accepted(id: u64) -> Report {
    Report { id: NotificationId(id), outcome: Outcome::Accepted, attempts: 1, message: None }
}

fn open(data: &Arc<DataDir>) -> SqliteJournal {
    let mut journal = data.open().unwrap();
    journal.recover().unwrap();
    journal
}

/// Commits event `seq` with all possible effects. The notification is delivered if `delivered`.
fn tick(journal: &mut SqliteJournal, seq: Seq, bytes: usize, delivered: bool) -> Result<(), JournalError> {
    let (records, decisions) = ([record(seq, bytes)], [decision(seq, bytes)]);
    let (notifications, reports) = ([notification(seq)], [accepted(seq)]);
    journal.commit(&Commit {
        records: &records,
        decisions: &decisions,
        notifications: &notifications,
        reports: if delivered { &reports } else { &[] },
        ..Commit::default()
    })
}

/// The work of the node after each tick.
fn tend(journal: &mut SqliteJournal, seq: Seq) {
    let crowding = journal.crowding().unwrap();
    if crowding == Crowding::Snapshot {
        journal.snapshot(seq, b"state").unwrap();
    }
    if crowding != Crowding::No {
        journal.trim().unwrap();
    }
}

fn count(dir: &Path, table: &str) -> u64 {
    let conn = schema::open_reading(&dir.join("squelch.db")).unwrap();
    let rows: i64 = conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
    u64::try_from(rows).unwrap()
}

#[test]
fn a_flood_keeps_within_max_size_and_all_that_is_needed_stays() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::claim(dir.path()).unwrap();
    data.allow(16 * MIB);
    data.measure().unwrap();
    let mut journal = open(&data);
    let (mut largest, mut last) = (0, 0);
    for seq in 1..=900 {
        // Some pages wait for their receiver.
        tick(&mut journal, seq, 60_000, seq % 100 != 0).unwrap();
        tend(&mut journal, seq);
        largest = largest.max(data.measure().unwrap().total());
        last = seq;
    }
    assert!(largest <= 16 * MIB, "100 MB went through files that reached {largest} bytes");
    for part in [Part::Events, Part::Decisions, Part::Notifications] {
        assert!(data.trimmed(part) > 0, "{part:?} never had to leave");
    }
    drop(journal);
    let mut journal = data.open().unwrap();
    let recovered = journal.recover().unwrap();
    let waiting: Vec<u64> = recovered.outbox.iter().map(|n| n.id.0).collect();
    assert_eq!(waiting, [100, 200, 300, 400, 500, 600, 700, 800, 900]);
    let (seq, body) = recovered.snapshot.unwrap();
    assert_eq!(body, b"state");
    let after: Vec<Seq> = recovered.records.iter().map(|record| record.seq).collect();
    assert_eq!(after, (seq + 1..=last).collect::<Vec<Seq>>(), "events after the snapshot");
}

#[test]
fn the_oldest_decisions_leave_first_and_none_before_it_is_indexed() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::claim(dir.path()).unwrap();
    data.allow(10 * MIB);
    data.indexed(0);
    data.measure().unwrap();
    let mut journal = open(&data);
    for seq in 1..=150 {
        tick(&mut journal, seq, 60_000, true).unwrap();
        tend(&mut journal, seq);
    }
    let oldest = |journal: &SqliteJournal| -> i64 {
        journal.conn.query_row("SELECT min(id) FROM decision", [], |row| row.get(0)).unwrap()
    };
    assert_eq!((oldest(&journal), data.trimmed(Part::Decisions)), (1, 0), "not one is in the decision log");
    assert!(journal.full().is_none(), "there is room by half");
    for seq in 151..=250 {
        tick(&mut journal, seq, 60_000, true).unwrap();
        tend(&mut journal, seq);
    }
    assert!(journal.full().is_some(), "nothing may leave, and what is new has no room");
    data.indexed(200);
    for seq in 251..=260 {
        tick(&mut journal, seq, 100, true).unwrap();
        tend(&mut journal, seq);
    }
    assert!(journal.full().is_none(), "there is room again");
    assert!(oldest(&journal) > 1);
    assert_eq!(count(dir.path(), "decision WHERE id > 200"), 60, "those that are not indexed stay");
}

/// A journal whose event 1 was delivered and whose event 2 waits, with nothing of either in the file itself.
fn running(data: &Arc<DataDir>) -> SqliteJournal {
    let mut journal = open(data);
    tick(&mut journal, 1, 100, true).unwrap();
    tick(&mut journal, 2, 100, false).unwrap();
    journal
}

/// All acknowledged data is there after the files went by `lose`, and a second process is kept out.
fn comes_back(lose: impl Fn(&Path)) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    let data = DataDir::claim(&dir).unwrap();
    let mut journal = running(&data);
    lose(&dir);
    assert!(matches!(data.check(), Err(JournalError::Gone(_))), "it is seen while nothing is written");
    let late = tick(&mut journal, 3, 100, false);
    assert!(matches!(late, Err(JournalError::Gone(_))), "{late:?}");
    assert!(tick(&mut journal, 4, 100, false).is_err(), "and the handle is done with");

    journal.rescue().unwrap();
    journal.rescue().unwrap();
    let second = DataDir::claim(&dir).map(drop);
    assert!(
        matches!(&second, Err(JournalError::Unusable { reason, .. }) if reason.contains("another process"))
    );
    drop(journal);
    let mut journal = data.open().unwrap();
    let recovered = journal.recover().unwrap();
    assert!(recovered.quarantined.is_none() && recovered.notes.is_empty(), "{:?}", recovered.notes);
    assert_eq!(recovered.records, [record(1, 100), record(2, 100), record(3, 100)]);
    assert_eq!(recovered.outbox.iter().map(|n| n.id.0).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(count(&dir, "decision"), 3);
    tick(&mut journal, 4, 100, false).unwrap();
}

fn remove(dir: &Path, names: &[&str]) {
    names.iter().for_each(|name| fs::remove_file(dir.join(name)).unwrap());
}

#[test]
fn all_files_were_removed() {
    comes_back(|dir| remove(dir, &["squelch.db", "squelch.db-wal", "squelch.db-shm", "lock"]));
}

#[test]
fn only_the_wal_was_removed() {
    comes_back(|dir| remove(dir, &["squelch.db-wal"]));
}

#[test]
fn only_the_database_was_removed() {
    comes_back(|dir| remove(dir, &["squelch.db"]));
}

#[test]
fn the_shared_memory_was_removed() {
    comes_back(|dir| remove(dir, &["squelch.db-shm"]));
}

#[test]
fn the_directory_was_removed() {
    comes_back(|dir| fs::remove_dir_all(dir).unwrap());
}

#[test]
fn the_directory_was_moved_and_an_empty_one_stands_there() {
    comes_back(|dir| {
        fs::rename(dir, dir.with_file_name("moved")).unwrap();
        fs::create_dir(dir).unwrap();
    });
}

#[test]
fn a_copy_stands_in_the_place_of_the_database() {
    comes_back(|dir| {
        fs::copy(dir.join("squelch.db"), dir.join("copy")).unwrap();
        fs::rename(dir.join("copy"), dir.join("squelch.db")).unwrap();
    });
}

#[test]
fn another_journal_stands_in_its_place() {
    comes_back(|dir| {
        let other = tempfile::tempdir().unwrap();
        let mut journal = SqliteJournal::open(other.path()).unwrap();
        journal.recover().unwrap();
        tick(&mut journal, 1, 500, false).unwrap();
        drop(journal);
        remove(dir, &["squelch.db", "squelch.db-wal", "squelch.db-shm"]);
        fs::copy(other.path().join("squelch.db"), dir.join("squelch.db")).unwrap();
    });
}

#[test]
fn files_that_come_back_are_used_as_they_are() {
    let home = tempfile::tempdir().unwrap();
    let (dir, moved) = (home.path().join("data"), home.path().join("moved"));
    let data = DataDir::claim(&dir).unwrap();
    let mut journal = running(&data);
    fs::rename(&dir, &moved).unwrap();
    assert!(data.check().is_err());
    fs::rename(&moved, &dir).unwrap();
    data.check().unwrap();
    journal.rescue().unwrap();
    let before = fs::read(dir.join("squelch.db-wal")).unwrap();
    drop(journal);
    assert_eq!(fs::read(dir.join("squelch.db-wal")).unwrap(), before);
    assert_eq!(data.open().unwrap().recover().unwrap().records.len(), 2);
}

#[test]
fn a_second_owner_is_refused_by_any_path_and_without_the_lock_file() {
    let home = tempfile::tempdir().unwrap();
    let (dir, link) = (home.path().join("data"), home.path().join("link"));
    let data = DataDir::claim(&dir).unwrap();
    std::os::unix::fs::symlink(&dir, &link).unwrap();
    let refused = |path: &Path| match DataDir::claim(path) {
        Err(JournalError::Unusable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let pid = format!("pid {}", std::process::id());
    assert!(refused(&link).contains(&pid));
    fs::remove_file(dir.join("lock")).unwrap();
    assert!(refused(&dir).contains("another process"));
    assert!(refused(&link).contains("another process"));
    // The owner names itself again when it opens the journal.
    drop(data.open().unwrap());
    assert!(refused(&dir).contains(&pid));
    drop(data);
    DataDir::claim(&link).unwrap();
}

#[test]
fn a_full_disk_poisons_the_handle_and_leaves_the_state_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = SqliteJournal::open(dir.path()).unwrap();
    journal.recover().unwrap();
    let small = [record(1, 10)];
    journal.commit(&Commit { records: &small, ..Commit::default() }).unwrap();
    let pages: i64 = journal.conn.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    // SQLite answers SQLITE_FULL beyond this, as it does when the disk is full.
    journal.conn.pragma_update_and_check(None, "max_page_count", pages + 2, |_| Ok(())).unwrap();

    let large = [record(2, 100_000)];
    let full = journal.commit(&Commit { records: &large, ..Commit::default() });
    assert!(matches!(&full, Err(JournalError::Failed(e)) if e.contains("full")), "{full:?}");
    // There would be room for this one, but the content of the disk is not known any more.
    let next = [record(2, 10)];
    for _ in 0..2 {
        let poisoned = journal.commit(&Commit { records: &next, ..Commit::default() });
        assert!(matches!(poisoned, Err(JournalError::Failed(_))));
    }
    assert!(matches!(journal.snapshot(1, b""), Err(JournalError::Failed(_))));
    assert!(matches!(journal.prune(Timestamp::MAX), Err(JournalError::Failed(_))));
    drop(journal);

    let mut journal = SqliteJournal::open(dir.path()).unwrap();
    assert_eq!(journal.recover().unwrap().records, small);
    journal.commit(&Commit { records: &large, ..Commit::default() }).unwrap();
}
