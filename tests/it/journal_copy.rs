//! A journal that moves from a file to PostgreSQL, and back.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::sync::Arc;

use prometheus::Registry;
use rusqlite::Connection;
use squelch::decision_log::{DecisionLogMeter, DecisionQuery, Follower, Reader};
use squelch::journal::{
    Advertised, Commit, Copied, CopyStep, DataDir, DeadLetter, Decisions, Journal, JournalError, JournalPast,
    JournalPlace, LetterQuery, Postgres, Record, Recovered, SqliteDecisions, SqliteJournal, copy,
};
use squelch::model::{Decision, NotificationId};

use crate::journal::{accepted, at, decision, notification, record, rejected};
use crate::postgres::{Database, Server, shared};

fn process(database: &Database) -> Arc<Postgres> {
    Postgres::new(database.url(), Advertised::default(), || {})
}

fn quietly(from: &JournalPlace, to: &JournalPlace) -> Result<Copied, JournalError> {
    copy(from, to, |_, _, _| {})
}

fn file(dir: &Path) -> JournalPlace {
    JournalPlace::Sqlite(dir.to_owned())
}

fn shared_by(database: &Database) -> JournalPlace {
    JournalPlace::Postgres(database.url())
}

/// Pages of which some wait, some were accepted, some are dead letters, some of these were sent again, and
/// some were made good. Some commits are larger than a page of the file, and there are two snapshots.
fn storm(journal: &mut dyn Journal, from: u64, to: u64) {
    journal.recover().unwrap();
    for seq in from..=to {
        let page = [notification(seq, at(seq))];
        let many: Vec<Decision> = (0..seq % 40).map(|_| decision(at(seq))).collect();
        let reports = match seq % 7 {
            1..=3 => vec![accepted(seq - 1)],
            4 | 5 => vec![rejected(seq - 1)],
            _ => vec![],
        };
        let older = |by: u64, every: u64| match seq % every {
            0 => vec![NotificationId(seq.saturating_sub(by))],
            _ => vec![],
        };
        let (resend, made_good) = (older(9, 11), older(20, 13));
        journal
            .commit(&Commit {
                records: &[record(seq)],
                decisions: &many,
                notifications: &page,
                reports: &reports,
                resend: &resend,
                made_good: &made_good,
                ..Commit::default()
            })
            .unwrap();
        if [200, 350].contains(&seq) {
            journal.snapshot(seq, format!("state at {seq} \0\u{fffd}").as_bytes()).unwrap();
        }
    }
}

/// All data in an opened journal.
#[derive(Debug, PartialEq)]
struct Found {
    snapshot: Option<(u64, Vec<u8>)>,
    records: Vec<squelch::journal::Record>,
    outbox: Vec<squelch::model::Notification>,
    dead: Vec<DeadLetter>,
    decisions: Vec<(i64, i64, Vec<Decision>)>,
}

fn found(journal: &mut dyn Journal, decisions: &dyn Decisions) -> Found {
    let Recovered { snapshot, records, outbox, notes, .. } = journal.recover().unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let dead = journal.dead_letters(&LetterQuery::newest(10_000)).unwrap();
    let mut all: Vec<(i64, i64, Vec<Decision>)> = Vec::new();
    loop {
        let rows = decisions.after(all.last().map_or(0, |(row, ..)| *row), 10_000).unwrap();
        if rows.is_empty() {
            break;
        }
        all.extend(rows.into_iter().map(|row| (row.row, row.at, row.decisions)));
    }
    Found { snapshot, records, outbox, dead, decisions: all }
}

fn in_file(dir: &Path) -> Found {
    let mut journal = SqliteJournal::open(dir).unwrap();
    found(&mut journal, &SqliteDecisions::open(dir).unwrap())
}

fn in_database(database: &Database) -> Found {
    let process = process(database);
    let mut journal = process.open().unwrap();
    let found = found(&mut journal, &process.decisions().unwrap());
    journal.release();
    found
}

/// The rows of each table, without the columns that only one kind of storage has.
fn rows(server: &Server, database: &Database) -> String {
    let count = |table: &str| server.sql(&database.name, &[&format!("SELECT count(*) FROM squelch_{table}")]);
    ["snapshot", "input", "decision", "notification"].map(count).join(" ")
}

#[test]
fn a_journal_goes_to_the_other_kind_and_back_as_it_was() {
    let Some(server) = shared() else { return };
    let (database, home) = (server.database(), tempfile::tempdir().unwrap());
    let (first, second) = (home.path().join("first"), home.path().join("second"));
    storm(&mut SqliteJournal::open(&first).unwrap(), 1, 700);
    let before = in_file(&first);
    assert!(before.records.len() > 300 && before.decisions.len() > 600, "more than a page of each");
    assert!(!before.outbox.is_empty() && before.dead.len() > 100);

    let mut heard = Vec::new();
    let there = copy(&file(&first), &shared_by(&database), |step, done, all| heard.push((step, done, all)));
    let there = there.unwrap();
    let all = there.snapshots + there.events + there.decisions + there.notifications;
    assert_eq!(heard.last(), Some(&(CopyStep::Verifying, all, all)));
    assert!(heard.contains(&(CopyStep::Copying, all, all)));
    assert_eq!((there.snapshots, there.notifications, there.head), (2, 700, 700));
    assert_eq!((there.queued, there.dead), (before.outbox.len() as u64, before.dead.len() as u64));
    assert_eq!(in_database(&database), before);
    assert_eq!(in_file(&first), before, "the source is as it was");

    let back = quietly(&shared_by(&database), &file(&second)).unwrap();
    assert_eq!(back, there, "the same rows with the same hash");
    assert_eq!(in_file(&second), before);

    // Both go on where the copy ends, with the same numbers.
    let process = process(&database);
    let mut journal = process.open().unwrap();
    storm(&mut journal, 701, 750);
    let past_of = |place| JournalPast::open(&place).unwrap().collect::<Result<Vec<Record>, _>>().unwrap();
    let past = past_of(shared_by(&database));
    assert_eq!(past.last(), Some(&record(750)), "a study of the past reads it while it is owned");
    assert!(past.len() > 300, "more than two pages: {}", past.len());
    journal.release();
    storm(&mut SqliteJournal::open(&second).unwrap(), 701, 750);
    assert_eq!(past_of(file(&second)), past);
    let (database, second) = (in_database(&database), in_file(&second));
    assert_eq!(database.records.last().unwrap(), &record(750));
    assert_eq!(database, second);
}

#[test]
fn the_decision_log_goes_on_after_a_copy_and_indexes_each_decision_once() {
    let Some(server) = shared() else { return };
    let (database, home) = (server.database(), tempfile::tempdir().unwrap());
    let (dir, new) = (home.path().join("data"), home.path().join("new"));
    let mut journal = SqliteJournal::open(&dir).unwrap();
    storm(&mut journal, 1, 30);
    drop(journal);
    let meter = || DecisionLogMeter::new(&Registry::new()).unwrap();
    let index = |mut follower: Follower| while follower.step().unwrap() {};
    index(Follower::open(&dir, meter()).unwrap());
    let count = |dir: &Path| {
        let all = DecisionQuery { limit: 100_000, ..DecisionQuery::default() };
        Reader::new(dir).search(&all).unwrap().decisions.len()
    };
    let before = count(&dir);

    quietly(&file(&dir), &shared_by(&database)).unwrap();
    let process = process(&database);
    let mut journal = process.open().unwrap();
    storm(&mut journal, 31, 40);
    let follow =
        |dir: &Path| index(Follower::over(Box::new(process.decisions().unwrap()), dir, meter()).unwrap());
    follow(&dir);
    let now = count(&dir);
    assert!(now > before);
    std::fs::create_dir(&new).unwrap();
    follow(&new);
    assert_eq!(count(&new), now, "a new decision log has the same decisions");

    // And back, beside the decision log.
    journal.release();
    drop(journal);
    std::fs::rename(dir.join("squelch.db"), home.path().join("old.db")).unwrap();
    quietly(&shared_by(&database), &file(&dir)).unwrap();
    let mut journal = SqliteJournal::open(&dir).unwrap();
    storm(&mut journal, 41, 41);
    index(Follower::open(&dir, meter()).unwrap());
    assert_eq!(count(&dir), now + 1);
}

/// Why a copy is refused. Nothing is at the destination then.
fn refused(from: &JournalPlace, to: &JournalPlace) -> String {
    quietly(from, to).unwrap_err().to_string()
}

fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_source_that_is_in_use_or_not_there_is_refused() {
    let Some(server) = shared() else { return };
    let (database, home) = (server.database(), tempfile::tempdir().unwrap());
    let (dir, new) = (home.path().join("data"), home.path().join("new"));
    says(&refused(&file(&dir), &shared_by(&database)), &["no journal here", "--storage.path of a server"]);
    assert!(!dir.exists(), "nothing is made");
    says(&refused(&shared_by(&database), &file(&new)), &["no journal here: it has no tables of Squelch"]);
    assert!(!new.exists());

    let owned = DataDir::claim(&dir).unwrap();
    storm(&mut owned.open().unwrap(), 1, 9);
    says(&refused(&file(&dir), &shared_by(&database)), &["another process (pid ", "stop that one"]);
    drop(owned);
    quietly(&file(&dir), &shared_by(&database)).unwrap();

    let name = format!("(pid {}) uses it: stop every replica first", std::process::id());
    let (first, second) = (process(&database), process(&database));
    let mut journal = first.open().unwrap();
    says(&refused(&shared_by(&database), &file(&new)), &[&name]);
    assert!(matches!(second.open(), Err(JournalError::Standby(_))));
    second.hand_over("[]").unwrap();
    journal.release();
    says(&refused(&shared_by(&database), &file(&new)), &[&name]);
    // Some time after that standby has ended.
    server.sql(&database.name, &["UPDATE squelch_replica SET seen_at = seen_at - interval '11 s'"]);
    let waiting = refused(&shared_by(&database), &file(&new));
    says(&waiting, &["1 rows of alerts wait in its inbox", "start one replica"]);
    assert!(!new.exists());
    server.sql(&database.name, &["DELETE FROM squelch_handed"]);
    quietly(&shared_by(&database), &file(&new)).unwrap();
}

#[test]
fn a_destination_that_is_not_empty_or_in_use_is_refused() {
    let Some(server) = shared() else { return };
    let (database, home) = (server.database(), tempfile::tempdir().unwrap());
    let (dir, other) = (home.path().join("data"), home.path().join("other"));
    storm(&mut SqliteJournal::open(&dir).unwrap(), 1, 9);
    storm(&mut SqliteJournal::open(&other).unwrap(), 1, 5);
    let process = process(&database);
    let mut journal = process.open().unwrap();
    says(&refused(&file(&dir), &shared_by(&database)), &["stop every replica first"]);
    storm(&mut journal, 1, 3);
    journal.release();
    let before = rows(server, &database);
    let full = refused(&file(&dir), &shared_by(&database));
    says(&full, &["there is a journal already (3 rows in squelch_input)", "Name an empty database"]);
    assert_eq!(rows(server, &database), before);
    let before = in_file(&other);
    let full = refused(&shared_by(&database), &file(&other));
    says(&full, &["there is a journal already", "Move squelch.db and the files beside it away"]);
    assert_eq!(in_file(&other), before);
}

#[test]
fn another_format_is_refused() {
    let Some(server) = shared() else { return };
    let (database, home) = (server.database(), tempfile::tempdir().unwrap());
    let (dir, new) = (home.path().join("data"), home.path().join("new"));
    storm(&mut SqliteJournal::open(&dir).unwrap(), 1, 9);
    let version =
        |n: u32| Connection::open(dir.join("squelch.db")).unwrap().pragma_update(None, "user_version", n);
    version(99).unwrap();
    says(&refused(&file(&dir), &shared_by(&database)), &["storage format 99 is newer"]);
    version(1).unwrap();
    quietly(&file(&dir), &shared_by(&database)).unwrap();
    for (n, said) in [(99, "run the newer program"), (0, "let `squelch serve` migrate them")] {
        server.sql(&database.name, &[&format!("UPDATE squelch_version SET version = {n}")]);
        says(&refused(&shared_by(&database), &file(&new)), &[&format!("format {n}"), said]);
    }
}

/// One row of each table is changed in turn. The copy fails, and the destination is as empty as before.
#[test]
fn damage_ends_a_copy_and_leaves_nothing_half_copied() {
    let Some(server) = shared() else { return };
    let home = tempfile::tempdir().unwrap();
    for (table, key, said) in [
        ("snapshot", "seq = 350", "snapshot up to event 350 does not match its checksum"),
        ("snapshot", "seq = 200", "snapshot up to event 200 does not match its checksum"),
        ("input", "first_seq = 399", "event"),
        ("input", "first_seq = 203", "203"),
        ("decision", "id = 381", "decisions in row 381 does not match its checksum"),
        ("notification", "id = 390", "notification 390"),
    ] {
        let dir = home.path().join(format!("{table} {key}"));
        storm(&mut SqliteJournal::open(&dir).unwrap(), 1, 400);
        let (good, bad, new) = (server.database(), server.database(), dir.join("new"));
        quietly(&file(&dir), &shared_by(&good)).unwrap();

        let conn = Connection::open(dir.join("squelch.db")).unwrap();
        let changed = conn.execute(&format!("UPDATE {table} SET sha256 = x'00' WHERE {key}"), []).unwrap();
        assert_eq!(changed, 1, "{table} {key}");
        drop(conn);
        let damaged = refused(&file(&dir), &shared_by(&bad));
        says(&damaged, &[said, "Start `squelch serve` on it once"]);
        let tables = server.sql(&bad.name, &["SELECT to_regclass('squelch_input') IS NOT NULL"]);
        assert!(tables == "f" || rows(server, &bad) == "0 0 0 0", "{table} {key}");

        let sql = format!("UPDATE squelch_{table} SET sha256 = '\\x00' WHERE {key}");
        server.sql(&good.name, &[&sql]);
        says(&refused(&shared_by(&good), &file(&new)), &[said, "Restore it from a backup"]);
        let left = |dir: &Path| dir.join("squelch.db").exists() || dir.join("squelch.db.draft").exists();
        assert!(!left(&new), "{table} {key}");
    }
}
