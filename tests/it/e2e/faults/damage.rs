//! Damaged data files: the program starts, says so, and tells rather than suppresses.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::Connection;

use super::{alert, config, insist};
use crate::e2e::sender::{Told, body};
use crate::e2e::squelch::Home;
use crate::e2e::{about, opened_and_closed, pager, shown};
use ::squelch::commands::fake_pager::Incident;

const GARBAGE: [u8; 4096] = [0xa5; 4096];

fn overwrite(path: &Path, at: impl Fn(u64) -> u64, length: usize) {
    let file = File::options().write(true).open(path).unwrap();
    let size = file.metadata().unwrap().len();
    assert!(size > 0, "{}: nothing to damage", path.display());
    file.write_all_at(&GARBAGE[..length], at(size)).unwrap();
}

/// A file with this damage. The sender repeats the incidents that were open. Everything sent then reaches
/// the pager, and is closed there.
///
/// Without `killed` the process had ended in order, and left no WAL that would mend the file.
async fn starts_and_tells_again(killed: bool, damage: impl Fn(&Path, &Path), said_as: &[&str]) {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let (db, wal) = (home.path("data/squelch.db"), home.path("data/squelch.db-wal"));
    let many: Vec<Told> = (0..60).map(|n| alert(&format!("Old-{n:02}"))).collect();
    let squelch = home.serve().await;
    for few in many[..50].chunks(5) {
        squelch.hook(&body("http://am-0", few)).await;
    }
    shown(&pager, "the first pages", |i| i.len() == 50).await;
    // A clean end moves all into the file. Later writes stand in the WAL.
    assert_eq!(squelch.stop().await.code(), Some(0));
    let mut squelch = home.serve().await;
    for one in &many[50..] {
        squelch.hook(&body("http://am-0", std::slice::from_ref(one))).await;
    }
    shown(&pager, "all pages", |i| i.len() == 60).await;
    if killed {
        squelch.child.kill();
    } else {
        assert_eq!(squelch.stop().await.code(), Some(0));
    }

    damage(&db, &wal);
    let squelch = home.serve().await;
    for part in said_as {
        squelch.child.line(&[part]).await;
    }
    if said_as == QUARANTINED {
        shown(&pager, "that it was damaged", |i| about(i, "SquelchStorageDamaged").len() == 1).await;
    }
    let new = alert("New");
    insist(&squelch, &body("http://am-0", std::slice::from_ref(&new))).await;
    shown(&pager, "a page of what is new", |i| about(i, "New").len() == 1).await;
    // Alertmanager repeats firing alerts, and sends their end.
    insist(&squelch, &body("http://am-0", &many)).await;
    let over: Vec<Told> = many.iter().chain([&new]).map(Told::resolved).collect();
    insist(&squelch, &body("http://am-0", &over)).await;
    shown(&pager, "the end of everything", |i| {
        let (opened, closed) = opened_and_closed(&told(i));
        opened >= 61 && closed == opened
    })
    .await;
    // The keys are those of before, so that nothing opens twice.
    assert_eq!(told(&pager.incidents()).len(), 61);
    assert!(!squelch.child.said().contains("panicked"));
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// All but the internal incidents: the damage of the storage, which stays open for a day, and the loss of
/// notifications under way.
fn told(incidents: &[Incident]) -> Vec<Incident> {
    incidents.iter().filter(|i| !i.summary.contains("Squelch")).cloned().collect()
}

const QUARANTINED: [&str; 2] = ["level=ERROR", "squelch.db.corrupt-1"];

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_header_is_put_aside() {
    starts_and_tells_again(false, |db, _| overwrite(db, |_| 0, 100), &QUARANTINED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_page_in_the_middle_is_put_aside() {
    starts_and_tells_again(false, |db, _| overwrite(db, |size| size / 8192 * 4096, 4096), &QUARANTINED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_cut_is_put_aside() {
    let cut = |db: &Path, _: &Path| {
        let file = File::options().write(true).open(db).unwrap();
        let size = file.metadata().unwrap().len();
        file.set_len(size / 2 + 100).unwrap();
    };
    starts_and_tells_again(true, cut, &QUARANTINED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_wal_is_kept_and_said() {
    starts_and_tells_again(
        true,
        |_, wal| overwrite(wal, |size| size / 3, 512),
        &["level=ERROR", "the WAL is broken"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_of_the_wal_is_no_damage() {
    let tear = |_: &Path, wal: &Path| {
        let file = File::options().write(true).open(wal).unwrap();
        let size = file.metadata().unwrap().len();
        file.set_len(size - 1000).unwrap();
    };
    starts_and_tells_again(true, tear, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wal_without_its_file_starts() {
    starts_and_tells_again(true, |db, _| std::fs::remove_file(db).unwrap(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_emptied_starts() {
    let empty = |db: &Path, _: &Path| File::options().write(true).open(db).unwrap().set_len(0).unwrap();
    starts_and_tells_again(true, empty, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_left_out_and_said() {
    let spoil = |db: &Path, _: &Path| {
        let store = Connection::open(db).unwrap();
        let rows = store.execute("UPDATE snapshot SET body = x'00' || substr(body, 2)", []).unwrap();
        assert!(rows > 0, "no snapshot to damage");
    };
    starts_and_tells_again(false, spoil, &["snapshot"]).await;
}
