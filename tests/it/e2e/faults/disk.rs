//! A disk that is full, fails, is slow, or may not be written.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use squelch::commands::fake_pager::Fault;
use tokio::time::Instant;

use super::shim::Shim;
use super::{alert, config, insist, noise};
use crate::e2e::sender::body;
use crate::e2e::squelch::{Home, PROGRAM};
use crate::e2e::{about, opened_and_closed, pager, shown, until};

/// While the storage is broken by `set`: 503, the page under way goes out, health is green. After the
/// repair: all is taken, nothing twice.
async fn refuses_until_it_is_mended(set: impl Fn(&Shim, bool)) {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let Some(shim) = Shim::new(&home) else { return };
    let squelch = shim.serve(&home).await;
    pager.script(Fault { next: 1, hang_ms: 2500, ..Fault::default() });
    let (before, during) = (alert("Before"), alert("During"));
    squelch.hook(&body("http://am-0", std::slice::from_ref(&before))).await;
    until("the first page is under way", async || (pager.requests().total == 1).then_some(())).await;

    set(&shim, true);
    let sent = body("http://am-0", std::slice::from_ref(&during));
    let answer = squelch.post("/alertmanager/webhook", sent.to_string()).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(shim.met() > 0, "the fault met nobody");
    shown(&pager, "the page under way", |i| about(i, "Before").len() == 1).await;
    assert_eq!(squelch.get("/-/healthy").await.status, 200);
    assert_eq!(squelch.get("/-/ready").await.status, 503);
    squelch.child.line(&["level=ERROR", "storage failed"]).await;
    assert!(about(&pager.incidents(), "During").is_empty(), "nothing leaves that is not durable");

    set(&shim, false);
    insist(&squelch, &sent).await;
    shown(&pager, "both pages", |i| i.len() == 2).await;
    insist(&squelch, &body("http://am-0", &[before.resolved(), during.resolved()])).await;
    shown(&pager, "both ends", |i| opened_and_closed(i) == (2, 2)).await;
    assert!(pager.incidents().iter().all(|i| i.triggers == 1), "{:#?}", pager.incidents());
    assert!(squelch.scrape().await.sum("squelch_store_failures_total", &[]) >= 1.0);
    assert!(!squelch.child.said().contains("panicked"));
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_is_answered_503_until_the_storage_is_read_again() {
    refuses_until_it_is_mended(Shim::syncs_fail).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_is_answered_503_until_the_storage_is_read_again() {
    refuses_until_it_is_mended(Shim::writes_fail).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_space_is_answered_503_until_there_is_room() {
    refuses_until_it_is_mended(Shim::writes_find_no_space).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_slower_than_senders_wait_is_answered_503_and_what_was_said_counts_once() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let Some(shim) = Shim::new(&home) else { return };
    let squelch = shim.serve(&home).await;
    shim.syncs_take(12_000);
    let slow = alert("Slow");
    let sent = body("http://am-0", std::slice::from_ref(&slow));
    let (answer, healthy) =
        tokio::join!(squelch.post("/alertmanager/webhook", sent.to_string()), squelch.get("/-/healthy"));
    assert_eq!((answer.status, healthy.status), (503, 200), "{}", answer.body);
    shim.syncs_take(0);
    insist(&squelch, &sent).await;
    shown(&pager, "one page", |i| i.len() == 1).await;
    insist(&squelch, &body("http://am-0", &[slow.resolved()])).await;
    shown(&pager, "its end", |i| opened_and_closed(i) == (1, 1)).await;
    assert_eq!(pager.incidents()[0].triggers, 1);
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// A small file system of its own, gone when this is dropped.
struct Small(PathBuf);

impl Small {
    /// `None` where this process may not mount.
    fn mount(at: &Path, options: &str) -> Option<Small> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Small(at.to_owned())),
            refused => {
                println!("skipped: only root may mount a small file system: {refused:?}");
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_system_refuses_delivers_and_recovers() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let Some(disk) = Small::mount(&home.path("data"), "size=4m,mode=0755") else { return };
    let squelch = home.serve().await;
    let first = alert("First");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&first))).await;
    shown(&pager, "the first page", |i| i.len() == 1).await;

    let filler = disk.0.join("filler");
    let filled = std::fs::write(&filler, vec![1; 8 << 20]);
    assert!(filled.is_err(), "the file system is not small");
    // Large enough that it fits no space that SQLite holds already.
    let mut sent = body("http://am-0", &[alert("Second")]);
    sent["alerts"][0]["annotations"]["summary"] = noise(1, 1 << 20).into();
    let answer = squelch.post("/alertmanager/webhook", sent.to_string()).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(squelch.get("/-/healthy").await.status, 200);
    squelch.child.line(&["level=ERROR", "storage failed"]).await;

    std::fs::remove_file(&filler).unwrap();
    insist(&squelch, &sent).await;
    shown(&pager, "the second page", |i| i.len() == 2).await;
    let over = [first.resolved(), alert("Second").resolved()];
    insist(&squelch, &body("http://am-0", &over)).await;
    shown(&pager, "both ends", |i| opened_and_closed(i) == (2, 2)).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_may_not_be_written_is_named_and_ends_the_start() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let Some(disk) = Small::mount(&home.path("data"), "size=1m,ro") else { return };
    let mut child = home.launch("127.0.0.1:0".parse().unwrap());
    assert_eq!(child.ended().await.code(), Some(1));
    let (said, path) = (child.said(), disk.0.display().to_string());
    assert!(said.lines().any(|l| l.starts_with("squelch: ") && l.contains(&path)), "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_of_another_user_is_named_and_ends_the_start() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root may start a program as somebody else");
        return;
    }
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    // Everyone may enter the folder. Only the owner may read the storage.
    use std::os::unix::fs::PermissionsExt;
    let all = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    all(home.path("squelch.yml").parent().unwrap(), 0o755).unwrap();
    std::fs::create_dir(home.path("data")).unwrap();
    all(&home.path("data"), 0o700).unwrap();
    // The program itself may stand where only root may look: a copy of it does not.
    let program = home.path("program");
    std::fs::copy(PROGRAM, &program).unwrap();
    all(&program, 0o755).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["serve", "--web.listen-address=127.0.0.1:0"])
        .arg(format!("--config.file={}", home.path("squelch.yml").display()))
        .arg(format!("--storage.path={}", home.path("data").display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let path = home.path("data").display().to_string();
    assert!(said.contains(&path) && said.contains("Permission denied"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_slow_disk_each_request_waits_and_all_share_the_wait() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let Some(shim) = Shim::new(&home) else { return };
    let squelch = shim.serve(&home).await;
    shim.syncs_take(1000);
    let began = Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    for n in 0..40 {
        let (to, sent) =
            (squelch.address, body("http://am-0", &[alert(&format!("Slow-{n:02}"))]).to_string());
        senders.spawn(async move {
            crate::e2e::http::post(to, "/alertmanager/webhook", sent.as_bytes()).await.unwrap().status
        });
    }
    while let Some(status) = senders.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    let took = began.elapsed();
    shim.syncs_take(0);
    // One after the other they would take at least 40 times 1 s. Together they take two or three.
    assert!(took < Duration::from_secs(40), "{took:?}: the requests did not share a sync");
    shown(&pager, "all pages", |i| i.len() == 40).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}
