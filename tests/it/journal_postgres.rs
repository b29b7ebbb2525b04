//! Cases that only the journal on PostgreSQL has: an owner among several, and a server that may be wrong.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use squelch::journal::{Advertised, Decisions as _, Journal, JournalError, Postgres, PostgresJournal};
use squelch::model::Timestamp;

use crate::journal::{at, decision, ids, notification, record, tick};
use crate::postgres::{Database, Server, shared};

/// One process more on a database.
fn process(database: &Database) -> Arc<Postgres> {
    Postgres::new(database.url(), Advertised::default(), || {})
}

fn owner(process: &Postgres) -> PostgresJournal {
    let mut journal = process.open().unwrap();
    journal.recover().unwrap();
    journal
}

fn end_the_lease(server: &Server, database: &Database) {
    let sql = "UPDATE squelch_owner SET lease_until = '-infinity'";
    server.sql(&database.name, &[sql]);
}

fn end_the_lease_since(server: &Server, database: &Database, seconds: u32) {
    let sql = format!(
        "UPDATE squelch_owner SET process = '', lease_until = clock_timestamp() - interval '{seconds} s'"
    );
    server.sql(&database.name, &[&sql]);
}

/// Why a process cannot open the journal.
fn refused(process: &Postgres) -> JournalError {
    match process.open() {
        Ok(_) => panic!("it is opened"),
        Err(error) => error,
    }
}

#[test]
fn a_replica_with_a_wrong_clock_leaves_others_the_first_chance_to_take_over() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let with_clock = |wall| {
        let own = Advertised { wall: Some(wall), ..Advertised::default() };
        Postgres::new(database.url(), own, || {})
    };
    let (wrong, right) = (with_clock(|| Timestamp::EPOCH), with_clock(squelch::node::clock::wall));
    let journal = owner(&process(&database));
    let said = refused(&wrong).to_string();
    assert!(said.contains("behind that of PostgreSQL, so other replicas take over first"), "{said}");
    assert!(!refused(&right).to_string().contains("clock"));
    end_the_lease_since(server, &database, 0);
    assert!(matches!(refused(&wrong), JournalError::Standby(_)));
    let taken = owner(&right);
    // The cluster is never long without an owner.
    end_the_lease_since(server, &database, 11);
    owner(&wrong);
    drop((journal, taken));
}

/// The columns came later: a program of the same version may leave them empty, or have made the table.
#[test]
fn replicas_report_their_configurations_and_their_clocks() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let with = |config: &str, wall| {
        let own = Advertised { config: config.into(), wall: Some(wall), ..Advertised::default() };
        Postgres::new(database.url(), own, || {})
    };
    drop(owner(&process(&database)));
    end_the_lease(server, &database);
    server.sql(&database.name, &["ALTER TABLE squelch_replica DROP COLUMN config, DROP COLUMN clock_ms"]);
    let journal = owner(&with("one", squelch::node::clock::wall));
    let second = with("two", || Timestamp::EPOCH);
    refused(&second);
    let found = || {
        let cluster = second.ownership().cluster;
        let shown = |replica: &squelch::journal::Replica| {
            let clock = replica.clock_ms.map(|_| replica.wrong_clock().map_or(0, i64::signum));
            (replica.config.clone(), cluster.differs(replica), clock)
        };
        cluster.replicas.iter().map(shown).collect::<std::collections::BTreeSet<_>>()
    };
    let one = (Some("one".to_owned()), false, Some(0));
    let two = |differs| (Some("two".to_owned()), differs, Some(-1));
    assert_eq!(found(), [(None, false, None), one.clone(), two(true)].into());
    drop(journal);
}

#[test]
fn one_process_owns_it_and_a_second_waits_until_the_lease_ends() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let (first, second) = (process(&database), process(&database));
    let mut journal = owner(&first);
    tick(&mut journal, 1, |c| c.notifications = &[]).unwrap();
    let error = refused(&second);
    assert!(matches!(error, JournalError::Standby(_)), "{error}");
    assert!(
        error.to_string().contains(&format!("(pid {}) owns the database", std::process::id())),
        "{error}"
    );
    assert!(first.ownership().owner && !second.ownership().owner);
    assert!(first.may_send() && journal.may_decide().is_ok());

    end_the_lease(server, &database);
    let mut taken = second.open().unwrap();
    assert_eq!(taken.recover().unwrap().records, [record(1)]);
    // The first one does not know yet. Its next write finds out, and nothing of it is there.
    let page = [notification(1, at(2))];
    let late = tick(&mut journal, 2, |c| c.notifications = &page);
    assert!(matches!(late, Err(JournalError::Fenced(_))), "{late:?}");
    assert!(matches!(journal.may_decide(), Err(JournalError::Fenced(_))));
    assert!(matches!(journal.check(), Err(JournalError::Fenced(_))));
    assert!(!first.may_send() && !first.ownership().owner);
    assert!(matches!(refused(&first), JournalError::Fenced(_)), "also once the lease has ended");
    end_the_lease(server, &database);
    assert!(matches!(refused(&first), JournalError::Fenced(_)), "what it knows is of no worth any more");
    assert_eq!(server.sql(&database.name, &["SELECT fenced FROM squelch_owner"]), "1");
    tick(&mut taken, 2, |_| {}).unwrap();
    drop(taken);
    let recovered = second.open().unwrap().recover().unwrap();
    assert_eq!((recovered.records.len(), ids(&recovered)), (2, vec![]));
}

#[test]
fn snapshots_and_pruning_are_fenced_too() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let mut stale: Vec<_> = Vec::new();
    for seq in 1..=2 {
        let process = process(&database);
        let mut journal = owner(&process);
        tick(&mut journal, seq, |_| {}).unwrap();
        end_the_lease(server, &database);
        stale.push((process, journal));
    }
    let newest = process(&database);
    let _owner = owner(&newest);
    let [(_, first), (_, second)] = &mut stale[..] else { panic!() };
    assert!(matches!(first.snapshot(1, b"late"), Err(JournalError::Fenced(_))));
    assert!(matches!(second.prune(at(9)), Err(JournalError::Fenced(_))));
    assert_eq!(server.sql(&database.name, &["SELECT count(*) FROM squelch_snapshot"]), "0");
}

#[test]
fn who_ends_in_order_gives_it_back_at_once() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let (first, second) = (process(&database), process(&database));
    let mut journal = owner(&first);
    assert!(matches!(refused(&second), JournalError::Standby(_)));
    journal.release();
    drop(journal);
    owner(&second);
    assert_eq!(second.ownership().epoch, 2);
}

#[test]
fn a_broken_connection_poisons_the_handle_and_the_same_process_goes_on() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let process = process(&database);
    let mut journal = owner(&process);
    tick(&mut journal, 1, |_| {}).unwrap();
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    server.sql(&database.name, &[others]);
    assert!(matches!(tick(&mut journal, 2, |_| {}), Err(JournalError::Failed(_))));
    assert!(matches!(tick(&mut journal, 2, |_| {}), Err(JournalError::Failed(_))), "poisoned");
    drop(journal);
    let mut journal = process.open().unwrap();
    assert_eq!(journal.recover().unwrap().records, [record(1)]);
    tick(&mut journal, 2, |_| {}).unwrap();
}

/// The owner may have paged without the database. A standby that took over would never know of it.
#[test]
fn after_an_outage_the_owner_goes_first_unless_it_gives_way() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let (first, second) = (process(&database), process(&database));
    let journal = owner(&first);
    assert!(matches!(refused(&second), JournalError::Standby(_)));
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let expired = "UPDATE squelch_owner SET lease_until = '-infinity'";
    server.sql(&database.name, &[others, expired]);
    assert!(!matches!(refused(&second), JournalError::Standby(_)), "its connection is gone");
    assert!(matches!(refused(&second), JournalError::Standby(_)), "the owner goes first");
    drop(journal);
    let mut again = owner(&first);
    // Where the owner gives way, a standby waits for nothing.
    again.release();
    owner(&second);
}

#[test]
fn decisions_are_read_while_another_process_writes() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let (first, second) = (process(&database), process(&database));
    let mut journal = owner(&first);
    let one = [decision(at(1))];
    tick(&mut journal, 1, |c| c.decisions = &one).unwrap();
    tick(&mut journal, 2, |c| c.decisions = &one).unwrap();
    let decisions = second.decisions().unwrap();
    let rows = decisions.after(0, 10).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0].decisions[..], rows[0].at), (&one[..], at(1).as_millis()));
    assert_eq!(decisions.newest().unwrap(), rows[1].row);
    assert_eq!(decisions.checksum(rows[1].row).unwrap(), Some(rows[1].sha256.clone()));
    assert_eq!(decisions.after(rows[0].row, 10).unwrap().len(), 1);
    assert_eq!(decisions.checksum(99).unwrap(), None);
}

/// Each of these keeps the process from starting. The error names the problem and the remedy, and no
/// password.
#[test]
fn what_is_wrong_is_said_without_the_password() {
    let Some(server) = shared() else { return };
    let database = server.database();
    server.sql(
        "postgres",
        &[
            "CREATE ROLE nobody LOGIN PASSWORD 'hunter2'",
            "CREATE ROLE hasty LOGIN PASSWORD 'hunter2'",
            "ALTER ROLE hasty SET synchronous_commit = off",
            "CREATE ROLE lost LOGIN PASSWORD 'hunter2'",
            "ALTER ROLE lost SET search_path = nowhere",
            "CREATE ROLE reader LOGIN PASSWORD 'hunter2'",
            "ALTER ROLE reader SET default_transaction_read_only = on",
            "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
        ],
    );
    let on = |user: &str| server.url(user, "hunter2", &database.name);
    let deaf = crate::e2e::child::free_port();
    for (url, wrong, right) in [
        (
            "mysql://me:hunter2@127.0.0.1/x".to_owned(),
            "not hold the URL of a PostgreSQL",
            "Write postgres://",
        ),
        ("postgres://me:hunter2@127.0.0.1".to_owned(), "must name a user, a host and a database", "Write "),
        (
            format!("postgres://me:hunter2@127.0.0.1:{deaf}/x"),
            "no connection to 127.0.0.1:",
            "must listen there",
        ),
        (on("squelch"), "password authentication failed", "Write the password"),
        (server.url("nobody", "hunter2", "none"), "database \"none\" does not exist", "CREATE DATABASE"),
        (on("nobody"), "may not create tables", "GRANT CREATE ON SCHEMA public"),
        (on("lost"), "search_path names no schema", "correct search_path"),
        (on("hasty"), "synchronous_commit=off", "Set synchronous_commit = on"),
        (on("reader"), "may only be read", "name the primary"),
        (server.url("nobody", "hunter2", "latin"), "has the encoding LATIN1", "ENCODING 'UTF8'"),
        (format!("{}?sslmode=require", on("nobody")), "does not speak TLS", "Set ssl = on there"),
    ] {
        let error = refused(&process(&server.file("", &url))).to_string();
        assert!(error.contains(wrong) && error.contains(right), "{url}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    let mut journal = owner(&process(&database));
    tick(&mut journal, 1, |_| {}).unwrap();
    journal.release();
    server.sql(&database.name, &["UPDATE squelch_owner SET head = 7"]);
    let error = refused(&process(&database)).to_string();
    assert!(error.contains("events after event 1 are missing") && error.contains("backup"), "{error}");
    server.sql(&database.name, &["UPDATE squelch_version SET version = 99"]);
    let error = refused(&process(&database)).to_string();
    assert!(error.contains("format 99") && error.contains("run the newer program"), "{error}");
    std::fs::remove_file(&database.url_file).unwrap();
    assert!(refused(&process(&database)).to_string().contains("secret file"), "the file is not there");
}

#[test]
fn a_server_that_may_forget_is_refused() {
    let Some(server) = Server::start() else { return };
    let database = server.database();
    owner(&process(&database)).release();
    for setting in ["fsync", "full_page_writes"] {
        let off = format!("ALTER SYSTEM SET {setting} = off");
        server.sql("postgres", &[&off, "SELECT pg_reload_conf()"]);
        // The server takes it over in its own time, and new connections with it.
        let error = loop {
            let process = process(&database);
            match process.open() {
                Ok(mut journal) => journal.release(),
                Err(error) => break error.to_string(),
            }
        };
        let wanted = format!("has {setting}=off");
        assert!(error.contains(&wanted) && error.contains(&format!("Set {setting} = on")), "{error}");
        server.sql("postgres", &[&format!("ALTER SYSTEM RESET {setting}"), "SELECT pg_reload_conf()"]);
    }
}

#[test]
fn several_that_start_at_once_make_the_tables_once() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let owners = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..6).map(|_| scope.spawn(|| process(&database).open())).collect();
        starts.into_iter().map(|start| start.join().unwrap()).fold(0, |owners, opened| match opened {
            Ok(_) => owners + 1,
            Err(JournalError::Standby(_)) => owners,
            Err(error) => panic!("{error}"),
        })
    });
    assert_eq!(owners, 1);
}

#[test]
fn standbys_hand_alerts_over_in_order_and_a_commit_takes_them() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let (first, second, third) = (process(&database), process(&database), process(&database));
    let mut journal = owner(&first);
    assert!(matches!(refused(&second), JournalError::Standby(_)));
    for (process, body) in [(&second, "[1]"), (&third, "[2]"), (&second, "[3]")] {
        process.hand_over(body).unwrap();
    }
    let waiting = |journal: &mut PostgresJournal| -> Vec<(u64, String)> {
        journal.inbox().unwrap().into_iter().map(|handed| (handed.row, handed.batches.unwrap())).collect()
    };
    let rows: Vec<(u64, String)> = (1..=3).map(|n| (n, format!("[{n}]"))).collect();
    assert_eq!(waiting(&mut journal), rows);
    assert_eq!(waiting(&mut journal), rows, "a look takes nothing");
    // The next owner takes over the rows of a fenced owner.
    end_the_lease(server, &database);
    let mut next = second.open().unwrap();
    next.recover().unwrap();
    assert!(matches!(tick(&mut journal, 1, |c| c.taken = Some(3)), Err(JournalError::Fenced(_))));
    assert_eq!(waiting(&mut next), rows);
    tick(&mut next, 1, |c| c.taken = Some(2)).unwrap();
    third.hand_over("[4]").unwrap();
    assert_eq!(waiting(&mut next), [(3, "[3]".to_owned()), (4, "[4]".to_owned())]);
    assert_eq!(server.sql(&database.name, &["SELECT bytes FROM squelch_inbox"]), "6");
    tick(&mut next, 2, |c| c.taken = Some(4)).unwrap();
    assert_eq!(server.sql(&database.name, &["SELECT bytes FROM squelch_inbox"]), "0");

    // A changed row is named, and a full inbox says so.
    third.hand_over("[5]").unwrap();
    server.sql(&database.name, &["UPDATE squelch_handed SET body = '[6]'"]);
    let damaged = next.inbox().unwrap().remove(0).batches.unwrap_err();
    assert_eq!(damaged, "row 5 of squelch_handed does not match its checksum");
    server.sql(&database.name, &["UPDATE squelch_inbox SET bytes = 1::bigint << 40"]);
    let full = third.hand_over("[7]").unwrap_err();
    assert!(matches!(full, JournalError::Refused(_)) && full.to_string().contains("256 MiB"), "{full}");
}

#[test]
fn a_takeover_says_since_when_unless_the_owner_gave_it_back() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let (first, second, third) = (process(&database), process(&database), process(&database));
    let _dead = owner(&first);
    assert_eq!(first.took_over(), None, "nobody was there before");
    assert!(matches!(refused(&second), JournalError::Standby(_)));
    end_the_lease(server, &database);
    let mut journal = owner(&second);
    assert!(second.took_over().is_some());
    journal.release();
    owner(&third);
    assert_eq!(third.took_over(), None);
}
