//! Two processes on one PostgreSQL: one decides and pages, the other waits and takes over.

use rustix::process::Signal;
use squelch::commands::fake_pager::{FakePager, Fault};

use super::child::Child;
use super::sender::{Told, body};
use super::squelch::{Home, Squelch};
use super::{opened_and_closed, pager, shown, until};
use crate::postgres::{Database, Server, shared};

/// Everything goes to one webhook of `pager`, and the journal is in `database`.
fn config(pager: &FakePager, database: &Database) -> String {
    format!(
        "\
global: {{failopen_after: 2s}}
storage: {{postgres: {{url_file: '{}'}}}}
route: {{receiver: pager, group_by: [outage]}}
receivers:
  - name: pager
    webhook_configs: [{{url: '{}', timeout: 1m}}]
noise: {{default: {{resolve_hold: 0s, storm: {{start: 0}}, limit: {{pages: 0}}}}}}
",
        database.url_file.display(),
        pager.url("/webhook/a")
    )
}

fn outage(name: &str) -> Told {
    Told::fires("Down", "outage", name)
}

/// Starts a process and waits until it listens and waits for the ownership.
async fn stand_by(home: &Home) -> Squelch {
    let child = home.launch("127.0.0.1:0".parse().unwrap());
    let line = child.line(&["msg=listening"]).await;
    let address = line.split(' ').find_map(|field| field.strip_prefix("address=")).unwrap();
    Squelch { address: address.parse().unwrap(), child }
}

async fn ready(squelch: &Squelch) {
    let ready = async || Some(squelch.get("/-/ready").await).filter(|a| a.status == 200);
    until("Squelch is ready", ready).await;
}

async fn each_once(pager: &FakePager, outages: usize) {
    shown(pager, &format!("{outages} outages"), |i| i.len() == outages).await;
    for incident in pager.incidents() {
        assert_eq!(incident.notified, 1, "{incident:?}");
    }
    let keys: std::collections::BTreeSet<_> = pager.incidents().into_iter().map(|i| i.dedup_key).collect();
    assert_eq!(keys.len(), outages, "an outage has one key, whoever pages");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_after_a_kill_and_after_an_end_in_order() {
    let Some(server) = shared() else { return };
    let (pager, database) = (pager().await, server.database());
    let text = config(&pager, &database);
    let (one, two) = (Home::new(&text), Home::new(&text));
    let mut first = one.serve().await;
    let second = stand_by(&two).await;
    let not_ready = second.get("/-/ready").await;
    assert_eq!(not_ready.status, 503);
    let owner = format!("(pid {}) owns the database, by epoch 1", first.child.pid());
    assert!(not_ready.body.contains(&owner), "{}", not_ready.body);
    let refused = second.post("/alertmanager/webhook", body("http://am", &[outage("x")]).to_string()).await;
    assert_eq!(refused.status, 503, "its sender tries the other one");

    first.hook(&body("http://am", &[outage("delivered")])).await;
    each_once(&pager, 1).await;
    // The owner dies between the acknowledgement and the delivery.
    pager.script(Fault { next: 1, hang_ms: 600_000, ..Fault::default() });
    first.hook(&body("http://am", &[outage("on its way")])).await;
    until("the page is on its way", async || (pager.requests().total == 2).then_some(())).await;
    first.child.kill();
    ready(&second).await;
    each_once(&pager, 2).await;
    let taken = async || (second.scrape().await.value("squelch_storage_epoch") == 2.0).then_some(());
    until("the metrics say who owns it", taken).await;
    second.hook(&body("http://am", &[outage("delivered"), outage("new")])).await;
    each_once(&pager, 3).await;

    // Now in order: the lease is given back.
    let third = stand_by(&one).await;
    assert_eq!(third.get("/-/ready").await.status, 503);
    let mut second = second;
    second.child.signal(Signal::TERM);
    assert_eq!(second.child.ended().await.code(), Some(0));
    assert!(second.child.said().contains("the ownership of the database is given back"));
    ready(&third).await;
    let over = ["delivered", "on its way", "new"].map(|name| outage(name).resolved());
    third.hook(&body("http://am", &over)).await;
    shown(&pager, "all of them closed", |i| opened_and_closed(i) == (3, 3)).await;
    each_once(&pager, 3).await;
    assert_eq!(third.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_slept_beyond_its_lease_is_fenced_and_sends_nothing() {
    let Some(server) = shared() else { return };
    let (pager, database) = (pager().await, server.database());
    let text = config(&pager, &database);
    let (one, two) = (Home::new(&text), Home::new(&text));
    let mut first = one.serve().await;
    let second = stand_by(&two).await;
    // A page that the first one is to try again when it wakes.
    pager.script(Fault { next: 1, answer: Some(500), ..Fault::default() });
    first.hook(&body("http://am", &[outage("late")])).await;
    until("the page was refused", async || (pager.requests().total == 1).then_some(())).await;
    first.child.signal(Signal::STOP);
    ready(&second).await;
    each_once(&pager, 1).await;
    second.hook(&body("http://am", &[outage("new")])).await;
    each_once(&pager, 2).await;
    let sent = pager.requests().total;
    first.child.signal(Signal::CONT);
    assert_eq!(first.child.ended().await.code(), Some(1));
    let said = first.child.said();
    assert!(said.contains("fenced: another process has taken over the database since epoch 1"), "{said}");
    assert!(said.contains("it waits as a standby"), "{said}");
    assert_eq!(pager.requests().total, sent, "the first one sends nothing any more");
    let counted = async || (second.scrape().await.value("squelch_storage_fenced") == 1.0).then_some(());
    until("the owner that was fenced is counted", counted).await;
    each_once(&pager, 2).await;
    assert_eq!(second.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_critical_pages_leave_and_are_known_afterwards() {
    let Some(mut server) = Server::start() else { return };
    let (pager, database) = (pager().await, server.database());
    let home = Home::new(&config(&pager, &database));
    let squelch = home.serve().await;
    squelch.hook(&body("http://am", &[outage("before")])).await;
    each_once(&pager, 1).await;
    server.stop();
    let during = body("http://am", &[outage("during")]).to_string();
    assert_eq!(squelch.post("/alertmanager/webhook", &during).await.status, 503);
    assert_eq!(squelch.get("/-/ready").await.status, 503);
    each_once(&pager, 2).await;
    server.launch();
    ready(&squelch).await;
    squelch.hook(&body("http://am", &[outage("during"), outage("before")])).await;
    each_once(&pager, 2).await;
    let over = ["before", "during"].map(|name| outage(name).resolved());
    squelch.hook(&body("http://am", &over)).await;
    shown(&pager, "both closed", |i| opened_and_closed(i) == (2, 2)).await;
    each_once(&pager, 2).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
    // And a server that is not there keeps the next one from starting, with a reason.
    server.stop();
    let mut child: Child = home.launch("127.0.0.1:0".parse().unwrap());
    assert_eq!(child.ended().await.code(), Some(1));
    assert!(child.said().contains("no connection to 127.0.0.1:"), "{}", child.said());
}
