//! Signals at bad moments.

use rustix::process::Signal;
use squelch::commands::fake_pager::Fault;
use tokio::time::Instant;

use super::shim::Shim;
use super::{alert, config, insist};
use crate::e2e::sender::{Told, body};
use crate::e2e::squelch::Home;
use crate::e2e::{http, opened_and_closed, pager, shown, until};

/// A disk that answers no more: the process is gone within its bound all the same, and the next one goes on.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half a minute; tests/faults runs it"]
async fn sigterm_with_a_disk_that_hangs_ends_at_its_bound() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let Some(shim) = Shim::new(&home) else { return };
    let mut squelch = shim.serve(&home).await;
    squelch.hook(&body("http://am-0", &[alert("Before")])).await;
    shown(&pager, "the page", |i| i.len() == 1).await;
    shim.syncs_take(600_000);
    let (to, sent) = (squelch.address, body("http://am-0", &[alert("During")]).to_string());
    let during = tokio::spawn(async move { http::post(to, "/alertmanager/webhook", sent.as_bytes()).await });
    let hangs = async || (shim.met() > 0).then_some(());
    until("the disk hangs", hangs).await;
    squelch.child.signal(Signal::TERM);
    assert_eq!(squelch.child.ended().await.code(), Some(1), "{}", squelch.child.said());
    assert!(squelch.child.said().contains("the orderly end hangs"), "{}", squelch.child.said());
    let answer = during.await.unwrap();
    assert!(answer.is_err() || answer.is_ok_and(|a| a.status == 503), "nothing was durable");
    shim.syncs_take(0);
    let squelch = shim.serve(&home).await;
    insist(&squelch, &body("http://am-0", &[alert("During")])).await;
    shown(&pager, "its page", |i| i.len() == 2).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_at_once_and_the_next_process_pages() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    pager.script(Fault { next: 1, hang_ms: 60_000, ..Fault::default() });
    let mut squelch = home.serve().await;
    squelch.hook(&body("http://am-0", &[alert("Down")])).await;
    until("the page is on its way", async || (pager.requests().total == 1).then_some(())).await;
    squelch.child.signal(Signal::TERM);
    squelch.child.line(&["shutting down"]).await;
    let asked = Instant::now();
    squelch.child.signal(Signal::TERM);
    let status = squelch.child.ended().await;
    let took = asked.elapsed();
    assert_eq!(status.code(), Some(1), "it did not end in order, and says so");
    println!("ended {took:?} after the second signal");
    let squelch = home.serve().await;
    shown(&pager, "the page of the process before", |i| i.len() == 1).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_under_load_lose_and_double_nothing() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let squelch = home.serve().await;
    let many: Vec<Told> = (0..120).map(|n| alert(&format!("Load-{n:03}"))).collect();
    for (n, one) in many.iter().enumerate() {
        if n % 6 == 0 {
            // Now and then the file is broken at the moment of the signal.
            let text = if n % 18 == 0 { "route: {receiver: none}\n".to_owned() } else { config(&pager) };
            home.configure(&text);
            squelch.child.signal(Signal::HUP);
        }
        insist(&squelch, &body("http://am-0", std::slice::from_ref(one))).await;
    }
    home.configure(&config(&pager));
    assert_eq!(squelch.post("/-/reload", "").await.status, 200);
    shown(&pager, "every page", |i| i.len() == many.len()).await;
    let over: Vec<Told> = many.iter().map(Told::resolved).collect();
    insist(&squelch, &body("http://am-0", &over)).await;
    shown(&pager, "every end", |i| opened_and_closed(i) == (many.len(), many.len())).await;
    assert!(pager.incidents().iter().all(|i| i.triggers == 1));
    assert!(!squelch.child.said().contains("panicked"));
    assert_eq!(squelch.stop().await.code(), Some(0));
}
