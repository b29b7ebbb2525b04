//! Accidents of a file: kills, torn writes, rot, full disks, other processes, other versions.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::Connection;
use squelch::journal::{Commit, Journal, JournalError, LetterQuery, Record, Recovered, SqliteJournal};
use squelch::model::Outcome;

use crate::journal::{accepted, at, decision, ids, notification, record, rejected, tick};

fn open(dir: &Path) -> SqliteJournal {
    SqliteJournal::open(dir).unwrap()
}

fn recover(dir: &Path) -> (SqliteJournal, Recovered) {
    let mut journal = open(dir);
    let recovered = journal.recover().unwrap();
    (journal, recovered)
}

fn db(dir: &Path) -> PathBuf {
    dir.join("squelch.db")
}

fn wal(dir: &Path) -> PathBuf {
    dir.join("squelch.db-wal")
}

/// The files that a power cut at this moment would leave, in a new directory.
fn cut_power(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::copy(db(dir), db(copy.path())).unwrap();
    fs::copy(wal(dir), wal(copy.path())).unwrap();
    copy
}

/// Events 1 to `n`, each in its commit, with a page each of which the odd ones were delivered.
fn fill(journal: &mut SqliteJournal, n: u64) {
    for seq in 1..=n {
        let page = [notification(seq, at(seq))];
        let decisions = [decision(at(seq))];
        tick(journal, seq, |c| (c.notifications, c.decisions) = (&page, &decisions)).unwrap();
        if seq % 2 == 1 {
            journal.commit(&Commit { reports: &[accepted(seq)], ..Commit::default() }).unwrap();
        }
    }
}

fn unusable(result: Result<SqliteJournal, JournalError>) -> (String, String) {
    match result {
        Err(JournalError::Unusable { path, reason }) => (path, reason),
        other => panic!("not unusable: {other:?}"),
    }
}

#[test]
fn everything_committed_is_there_after_a_power_cut_at_any_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = recover(dir.path());
    for seq in 1..=40 {
        let page = [notification(seq, at(seq))];
        tick(&mut journal, seq, |c| c.notifications = &page).unwrap();
        if seq % 10 == 0 {
            journal.snapshot(seq, b"state").unwrap();
        }
        let (_, recovered) = recover(cut_power(dir.path()).path());
        let base = recovered.snapshot.map_or(0, |(seq, _)| seq);
        assert_eq!((base, recovered.records.len() as u64), (seq / 10 * 10, seq % 10));
        assert_eq!(recovered.outbox.len() as u64, seq);
        assert!(recovered.notes.is_empty());
    }
}

const CHILD: &str = "SQUELCH_TEST_JOURNAL";

/// Not a test by itself: the next one starts and kills it.
#[test]
#[ignore = "run by a_killed_process_loses_nothing_that_it_acknowledged"]
fn child_that_commits_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let (mut journal, recovered) = recover(Path::new(&dir));
    let end = recovered.records.last().map_or(0, |r| r.seq);
    for seq in end + 1.. {
        let page = [notification(seq, at(seq))];
        tick(&mut journal, seq, |c| c.notifications = &page).unwrap();
        println!("\ncommitted {seq}");
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal_sqlite::child_that_commits_until_it_is_killed"])
            .args(["--ignored", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let committed = lines.filter_map(|line| line.unwrap().strip_prefix("committed ")?.parse().ok());
        let told: u64 = committed.take(20 * round).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let (_, recovered) = recover(dir.path());
        let end = recovered.records.last().unwrap().seq;
        assert!(end >= told, "event {told} was acknowledged, and the journal ends with {end}");
        assert_eq!(recovered.records, (1..=end).map(record).collect::<Vec<_>>());
        assert_eq!(recovered.outbox.len() as u64, end);
        assert!(recovered.notes.is_empty());
    }
}

#[test]
fn a_wal_torn_anywhere_in_its_last_transaction_gives_the_state_before() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = recover(dir.path());
    fill(&mut journal, 6);
    let before = fs::metadata(wal(dir.path())).unwrap().len();
    tick(&mut journal, 7, |_| {}).unwrap();
    let copy = cut_power(dir.path());
    drop(journal);
    let (whole, file) = (fs::read(wal(copy.path())).unwrap(), fs::read(db(copy.path())).unwrap());
    assert_eq!((whole.len() as u64 - before) % 4_120, 0, "whole frames");
    let last = whole.len() - 4_120;
    // Every byte of the last frame's header and of the page's first and last bytes, and a sample between.
    let cuts = (last..last + 64)
        .chain((last + 64..whole.len() - 32).step_by(61))
        .chain(whole.len() - 32..whole.len());
    for cut in cuts {
        fs::write(db(copy.path()), &file).unwrap();
        fs::write(wal(copy.path()), &whole[..cut]).unwrap();
        let (journal, recovered) = recover(copy.path());
        assert_eq!(recovered.records.len(), 6, "cut at {cut}");
        assert_eq!(ids(&recovered), [2, 4, 6]);
        assert!(recovered.notes.is_empty(), "a torn tail is no damage: {:?}", recovered.notes);
        drop(journal);
    }
    fs::write(db(copy.path()), &file).unwrap();
    fs::write(wal(copy.path()), &whole).unwrap();
    assert_eq!(recover(copy.path()).1.records.len(), 7, "and uncut it is all there");
}

#[test]
fn a_wal_broken_before_its_end_is_noticed_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = recover(dir.path());
    fill(&mut journal, 6);
    let copy = cut_power(dir.path());
    drop(journal);
    let (mut bytes, file) = (fs::read(wal(copy.path())).unwrap(), fs::read(db(copy.path())).unwrap());
    let middle = 32 + bytes.len() / 4_120 / 2 * 4_120;
    for broken in [40, 32 + 100, middle + 100] {
        bytes[broken] ^= 1;
        fs::write(db(copy.path()), &file).unwrap();
        fs::write(wal(copy.path()), &bytes).unwrap();
        let (mut journal, recovered) = recover(copy.path());
        let end = recovered.records.len() as u64;
        assert!(end < 6);
        assert_eq!(recovered.records, (1..=end).map(record).collect::<Vec<_>>());
        assert!(recovered.notes[0].contains("WAL is broken"), "{:?}", recovered.notes);
        let kept = format!("{}-wal", recovered.quarantined.unwrap().display());
        assert_eq!(fs::read(kept).unwrap(), bytes);
        tick(&mut journal, end + 1, |_| {}).unwrap();
        drop(journal);
        assert!(recover(copy.path()).1.notes.is_empty(), "said once");
        bytes[broken] ^= 1;
    }
}

/// A closed store: snapshots of events 4 and 8, events up to 12, pages 2, 4 … 12 undelivered, 13 dead.
fn closed_store() -> (tempfile::TempDir, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = recover(dir.path());
    fill(&mut journal, 4);
    journal.snapshot(4, &[4; 9_000]).unwrap();
    for seq in 5..=12 {
        let page = [notification(seq, at(seq))];
        let decisions = [decision(at(seq))];
        tick(&mut journal, seq, |c| (c.notifications, c.decisions) = (&page, &decisions)).unwrap();
        if seq % 2 == 1 {
            journal.commit(&Commit { reports: &[accepted(seq)], ..Commit::default() }).unwrap();
        }
        if seq == 8 {
            journal.snapshot(8, &[8; 9_000]).unwrap();
        }
    }
    let letter = [notification(13, at(12))];
    journal.commit(&Commit { notifications: &letter, ..Commit::default() }).unwrap();
    journal.commit(&Commit { reports: &[rejected(13)], ..Commit::default() }).unwrap();
    drop(journal);
    assert!(!wal(dir.path()).exists(), "a clean close leaves one file");
    let bytes = fs::read(db(dir.path())).unwrap();
    (dir, bytes)
}

/// The laws of a store after any damage. It starts, and its content is a prefix. It states nothing wrong,
/// reports the missing part, and the log goes on.
fn starts_with_a_prefix(dir: &Path, what: &str) -> Recovered {
    let (mut journal, recovered) = recover(dir);
    let base = match &recovered.snapshot {
        None => 0,
        Some((seq, body)) => {
            assert!(matches!(seq, 4 | 8) && *body == vec![*seq as u8; 9_000], "{what}");
            *seq
        }
    };
    let end = recovered.records.last().map_or(base, |r| r.seq);
    assert_eq!(recovered.records, (base + 1..=end).map(record).collect::<Vec<_>>(), "{what}");
    let told: Vec<u64> = ids(&recovered)
        .into_iter()
        .chain(recovered.orphans.iter().map(|n| n.id.0))
        .chain(recovered.unreadable.iter().map(|id| id.0))
        .collect();
    for page in [2, 4, 6, 8, 10, 12] {
        assert!(told.contains(&page) || !recovered.notes.is_empty(), "{what}: page {page} vanished silently");
    }
    if end < 12 || told.len() < 6 {
        let kept = recovered.quarantined.as_ref().unwrap_or_else(|| panic!("{what}: nothing was kept"));
        assert!(kept.exists(), "{what}");
    }
    tick(&mut journal, end + 1, |_| {}).unwrap();
    drop(journal);
    let (_, again) = recover(dir);
    assert!(again.notes.is_empty(), "{what}: damage is said once: {:?}", again.notes);
    assert_eq!(again.records.last(), Some(&record(end + 1)), "{what}");
    recovered
}

#[test]
fn a_flipped_byte_anywhere_never_keeps_it_from_starting() {
    let (_dir, bytes) = closed_store();
    let mut repaired = 0;
    // A stride that is prime to the page size visits every part of a page.
    for position in (0..bytes.len()).step_by(353) {
        // The version and the owner (bytes 60 to 71 of the file) are not ours to doubt.
        if (60..72).contains(&position) {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut flipped = bytes.clone();
        flipped[position] ^= 0x41;
        fs::write(db(dir.path()), flipped).unwrap();
        let recovered = starts_with_a_prefix(dir.path(), &format!("byte {position}"));
        repaired += u32::from(recovered.quarantined.is_some());
    }
    assert!(repaired > 20, "only {repaired} flips were noticed");
}

#[test]
fn a_page_of_zeros_and_a_cut_file_never_keep_it_from_starting() {
    let (_dir, bytes) = closed_store();
    for page in 0..bytes.len() / 4_096 {
        let dir = tempfile::tempdir().unwrap();
        let mut zeroed = bytes.clone();
        zeroed[page * 4_096..][..4_096].fill(0);
        fs::write(db(dir.path()), zeroed).unwrap();
        starts_with_a_prefix(dir.path(), &format!("page {page}"));
        if page > 0 {
            fs::write(db(dir.path()), &bytes[..page * 4_096]).unwrap();
            starts_with_a_prefix(dir.path(), &format!("cut at page {page}"));
        }
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(db(dir.path()), "not a database, but long enough to be looked at".repeat(200)).unwrap();
    let recovered = starts_with_a_prefix(dir.path(), "garbage");
    assert!(recovered.quarantined.unwrap().ends_with("squelch.db.corrupt-1"));
    for _ in 0..7 {
        fs::write(db(dir.path()), "garbage again".repeat(1_000)).unwrap();
        recover(dir.path());
    }
    let kept = fs::read_dir(dir.path()).unwrap().flatten();
    let kept = kept.filter(|e| e.file_name().to_str().is_some_and(|n| n.contains("corrupt"))).count();
    assert_eq!(kept, 5, "what is kept of damage is bounded");
}

/// Changes the closed store behind the program's back.
fn spoil(sql: &str) -> tempfile::TempDir {
    let (dir, _) = closed_store();
    let conn = Connection::open(db(dir.path())).unwrap();
    assert!(conn.execute(sql, []).unwrap() > 0, "{sql}");
    dir
}

#[test]
fn a_damaged_snapshot_gives_way_to_the_one_before() {
    let dir = spoil("UPDATE snapshot SET body = zeroblob(9000) WHERE seq = 8");
    let recovered = starts_with_a_prefix(dir.path(), "snapshot");
    assert_eq!(recovered.snapshot.unwrap().0, 4);
    assert_eq!(recovered.records.len(), 8, "a longer replay");
    assert_eq!(ids(&Recovered { snapshot: None, ..recover_clean(dir.path()) }), [2, 4, 6, 8, 10, 12]);
    let conn = Connection::open(recovered.quarantined.unwrap()).unwrap();
    let kept: bool =
        conn.query_row("SELECT body = zeroblob(9000) FROM snapshot WHERE seq = 8", [], |r| r.get(0)).unwrap();
    assert!(kept, "the damaged file is kept as it was");
}

fn recover_clean(dir: &Path) -> Recovered {
    let (_, recovered) = recover(dir);
    assert!(recovered.notes.is_empty());
    recovered
}

#[test]
fn events_after_a_damaged_one_are_not_applied_and_their_pages_are_handed_over() {
    for sql in [
        "UPDATE input SET body = replace(body, 'tick', 'tock') WHERE first_seq = 10",
        "DELETE FROM input WHERE first_seq = 10",
        "DELETE FROM input WHERE first_seq >= 10",
    ] {
        let dir = spoil(sql);
        let recovered = starts_with_a_prefix(dir.path(), sql);
        assert_eq!(recovered.records, [record(9)], "{sql}");
        assert_eq!(ids(&recovered), [2, 4, 6, 8], "{sql}");
        assert_eq!(recovered.orphans.iter().map(|n| n.id.0).collect::<Vec<_>>(), [10, 12], "{sql}");
        // The engine counts on from its own state.
        let (mut journal, _) = recover(dir.path());
        let reused = [notification(10, at(11))];
        tick(&mut journal, 11, |c| c.notifications = &reused).unwrap();
    }
}

#[test]
fn a_damaged_page_is_sent_as_it_reads_or_named() {
    let dir = spoil("UPDATE notification SET body = replace(body, 'first page', 'first pagf') WHERE id = 6");
    let recovered = starts_with_a_prefix(dir.path(), "readable");
    assert_eq!(ids(&recovered), [2, 4, 6, 8, 10, 12], "in doubt, page");
    let dir = spoil("UPDATE notification SET body = substr(body, 2) WHERE id = 6");
    let recovered = starts_with_a_prefix(dir.path(), "unreadable");
    assert_eq!(ids(&recovered), [2, 4, 8, 10, 12]);
    assert_eq!(recovered.unreadable.iter().map(|id| id.0).collect::<Vec<_>>(), [6]);
    let dir = spoil("UPDATE notification SET body = substr(body, 2) WHERE state = 'dead'");
    starts_with_a_prefix(dir.path(), "dead letter");
}

#[test]
fn an_index_that_misses_a_page_does_not_hide_it() {
    let dir = spoil("UPDATE notification SET state = 'accepted', ended_at = 1 WHERE id = 6");
    let page: i64 = {
        let conn = Connection::open(db(dir.path())).unwrap();
        conn.pragma_update(None, "writable_schema", true).unwrap();
        let of = "FROM sqlite_schema WHERE name = 'notification_state'";
        let page = conn.query_row(&format!("SELECT rootpage {of}"), [], |r| r.get(0)).unwrap();
        conn.execute(&format!("DELETE {of}"), []).unwrap();
        page
    };
    let conn = Connection::open(db(dir.path())).unwrap();
    conn.execute("UPDATE notification SET state = 'queued', ended_at = NULL WHERE id = 6", []).unwrap();
    conn.pragma_update(None, "writable_schema", true).unwrap();
    let sql = "CREATE INDEX notification_state ON notification (state, ended_at, id)";
    conn.execute(
        "INSERT INTO sqlite_schema VALUES ('index', 'notification_state', 'notification', ?, ?)",
        rusqlite::params![page, sql],
    )
    .unwrap();
    drop(conn);
    let recovered = starts_with_a_prefix(dir.path(), "index");
    assert_eq!(ids(&recovered), [2, 4, 6, 8, 10, 12]);
}

#[test]
fn a_repair_that_was_interrupted_is_finished() {
    let (dir, bytes) = closed_store();
    // The new file is complete, and the old ones are still, or in part, in its place.
    fs::rename(db(dir.path()), dir.path().join("squelch.db.rebuilt")).unwrap();
    fs::write(db(dir.path()), "damaged").unwrap();
    fs::write(wal(dir.path()), &bytes[..5_000]).unwrap();
    let recovered = recover(dir.path()).1;
    assert_eq!(recovered.records.len(), 4);
    assert_eq!(fs::read(recovered.quarantined.unwrap()).unwrap(), b"damaged");
    recover_clean(dir.path());
    // A draft is not complete: it counts for nothing.
    fs::write(dir.path().join("squelch.db.draft"), "half").unwrap();
    assert_eq!(recover_clean(dir.path()).records.len(), 4);
}

#[test]
fn a_second_owner_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let (path, reason) = unusable(SqliteJournal::open(dir.path()));
    assert_eq!(path, dir.path().display().to_string());
    assert!(reason.contains(&format!("pid {}", std::process::id())), "{reason}");
    drop(first);
    open(dir.path());
}

#[test]
fn a_place_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    for bad in [dir.path().join("file"), dir.path().join("file/below"), PathBuf::from("/proc/squelch")] {
        let (path, reason) = unusable(SqliteJournal::open(&bad));
        assert_eq!(path, bad.display().to_string());
        assert!(reason.contains("cannot be"), "{reason}");
    }
    if !rustix::process::geteuid().is_root() {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
        let (path, _) = unusable(SqliteJournal::open(dir.path()));
        assert_eq!(path, dir.path().display().to_string());
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn files_of_newer_versions_and_of_others_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = recover(dir.path());
    fill(&mut journal, 3);
    drop(journal);
    let conn = Connection::open(db(dir.path())).unwrap();
    conn.pragma_update(None, "user_version", 2).unwrap();
    drop(conn);
    let before = fs::read(db(dir.path())).unwrap();
    let refused = SqliteJournal::open(dir.path());
    assert!(matches!(refused, Err(JournalError::Newer { found: 2, supported: 1 })), "{refused:?}");
    assert_eq!(fs::read(db(dir.path())).unwrap(), before);

    // Also when the version stands only in the WAL, as after a kill.
    let conn = Connection::open(db(dir.path())).unwrap();
    conn.pragma_update(None, "user_version", 3).unwrap();
    let killed = cut_power(dir.path());
    let before = (fs::read(db(killed.path())).unwrap(), fs::read(wal(killed.path())).unwrap());
    let refused = SqliteJournal::open(killed.path());
    assert!(matches!(refused, Err(JournalError::Newer { found: 3, supported: 1 })), "{refused:?}");
    assert_eq!((fs::read(db(killed.path())).unwrap(), fs::read(wal(killed.path())).unwrap()), before);
    drop(conn);

    let other = tempfile::tempdir().unwrap();
    Connection::open(db(other.path())).unwrap().execute("CREATE TABLE theirs (a)", []).unwrap();
    let before = fs::read(db(other.path())).unwrap();
    let (_, reason) = unusable(SqliteJournal::open(other.path()));
    assert!(reason.contains("not a Squelch store"), "{reason}");
    assert_eq!(fs::read(db(other.path())).unwrap(), before);
}

#[test]
fn the_file_and_its_wal_stay_small() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = recover(dir.path());
    // Digits of numbers that no compression makes short.
    let noise = |seq: u64| -> String {
        let mut state = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let words = std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            format!("{state:016x}")
        });
        words.take(12_500).collect()
    };
    let mut largest = 0;
    for seq in 1..=400 {
        let event = format!("\"{}\"", noise(seq)).into_bytes();
        journal.commit(&Commit { records: &[Record { event, ..record(seq) }], ..Commit::default() }).unwrap();
        largest = largest.max(fs::metadata(wal(dir.path())).unwrap().len());
        if seq % 50 == 0 {
            journal.snapshot(seq, b"state").unwrap();
        }
    }
    assert!(largest < 5 << 20, "40 MB went through a WAL that reached {largest} bytes");
    let before = fs::metadata(db(dir.path())).unwrap().len();
    for _ in 0..10 {
        assert!(!journal.prune(at(0)).unwrap());
    }
    drop(journal);
    let after = fs::metadata(db(dir.path())).unwrap().len();
    assert!(after < before && after < 8 << 20, "{before} bytes became {after}");
}

#[test]
fn people_can_read_it_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = recover(dir.path());
    fill(&mut journal, 3);
    let conn =
        Connection::open_with_flags(db(dir.path()), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let text = |sql: &str| conn.query_row(sql, [], |r| r.get::<_, String>(0)).unwrap();
    assert_eq!(
        text("SELECT body FROM input WHERE first_seq = 2"),
        "{\"seq\":2,\"now\":\"2023-11-14T22:13:20.002Z\",\"event\":{\"tick\":2}}\n"
    );
    assert_eq!(
        text("SELECT group_concat(id || state, ' ' ORDER BY id) FROM notification"),
        "1accepted 2queued 3accepted"
    );
    assert_eq!(
        text(
            "SELECT d.value->>'$.cause.type' FROM decision, json_each(body, '$.decisions') AS d ORDER BY decision.id DESC LIMIT 1"
        ),
        "unchanged_repeats"
    );
    let letter = [rejected(2)];
    journal.commit(&Commit { reports: &letter, ..Commit::default() }).unwrap();
    assert_eq!(text("SELECT reason FROM notification WHERE state = 'dead'"), "clientError");
    assert!(matches!(
        journal.dead_letters(&LetterQuery::newest(1)).unwrap()[0].report.outcome,
        Outcome::Rejected(_)
    ));
}
