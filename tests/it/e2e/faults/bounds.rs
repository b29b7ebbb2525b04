//! Senders that want too much: of connections, of bytes, of alerts.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{alert, config, insist};
use crate::e2e::sender::{body, now};
use crate::e2e::squelch::{Home, Squelch};
use crate::e2e::{http, pager, shown, until};

/// Resident memory, in MiB, that a flood of so many distinct alerts may take: a debug build's, which is
/// larger than a release's.
const fn ceiling_mib(alerts: u64) -> u64 {
    400 + alerts * 2 / 1024
}

/// A page of a critical alert, and how long it took to be shown.
async fn critical(
    squelch: &Squelch,
    pager: &squelch::commands::fake_pager::FakePager,
    name: &str,
) -> Duration {
    let began = Instant::now();
    insist(squelch, &body("http://am-0", &[alert(name)])).await;
    shown(pager, name, |i| i.iter().any(|i| i.summary.contains(name))).await;
    began.elapsed()
}

const HEAD: &str = "POST /alertmanager/webhook HTTP/1.1\r\nHost: a\r\n";

/// So many connections, each with the beginning of a request.
async fn slow(squelch: &Squelch, n: usize, beginning: &str) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..n {
        let mut stream = TcpStream::connect(squelch.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        open.push(stream);
    }
    open
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_senders_delay_no_page_and_are_let_go() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let squelch = home.serve().await;
    let mut heads = slow(&squelch, 500, HEAD).await;
    let bodies = slow(&squelch, 500, &format!("{HEAD}Content-Length: 100000\r\n\r\n{{")).await;
    let idle = slow(&squelch, 500, "").await;
    let took = critical(&squelch, &pager, "Critical").await;
    println!("with 1,500 slow connections a page takes {took:?}");
    assert_eq!(squelch.get("/-/healthy").await.status, 200);
    let mut rest = Vec::new();
    let first = heads.pop().unwrap();
    let ended = tokio::time::timeout(crate::e2e::PATIENCE, { first }.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "a head that never ends holds its connection for ever");
    assert!(squelch.peak_mib() < 300, "{} MiB", squelch.peak_mib());
    drop((heads, bodies, idle));
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_delay_no_page() {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = files.current.unwrap_or(u64::MAX).saturating_sub(2_000);
    let n = usize::try_from(most.min(10_000)).unwrap();
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let squelch = home.serve().await;
    let began = Instant::now();
    let idle = slow(&squelch, n, "").await;
    let took = critical(&squelch, &pager, "Critical").await;
    // If each had to run into its timeout, five times 30 s would pass before all are let in.
    assert!(began.elapsed() < crate::e2e::PATIENCE, "{:?}", began.elapsed());
    println!("with {n} idle connections a page takes {took:?}, and {} MiB are resident", squelch.peak_mib());
    assert_eq!(squelch.get("/-/healthy").await.status, 200);
    assert!(squelch.peak_mib() < 300, "{} MiB", squelch.peak_mib());
    drop(idle);
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// Clients that open all the connections there are leave files for deliveries and for the storage.
#[tokio::test(flavor = "multi_thread")]
async fn connections_leave_open_files_for_pages_and_storage() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let Some(child) = home.launch_with_files(200, 200) else { return };
    let squelch = Home::ready(child).await;
    let idle = slow(&squelch, 150, "").await;
    let bodies = slow(&squelch, 150, &format!("{HEAD}Content-Length: 100000\r\n\r\n{{")).await;
    let took = critical(&squelch, &pager, "Critical").await;
    let scrape = squelch.scrape().await;
    let open = scrape.sum("process_open_fds", &[]);
    println!("with 300 connections and 200 files {open} are open, and a page takes {took:?}");
    assert!(open <= 180.0, "{open} of 200 files are open");
    assert!(scrape.sum("squelch_http_connections_crowded_out_total", &[]) >= 100.0);
    assert!(!squelch.child.said().contains("cannot accept"), "{}", squelch.child.said());
    drop((idle, bodies));
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_files_may_be_open_as_the_system_lets() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let Some(child) = home.launch_with_files(256, 1024) else { return };
    let squelch = Home::ready(child).await;
    assert_eq!(squelch.scrape().await.sum("process_max_fds", &[]), 1024.0);
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// 2,500 clients that each send the head of a request and a byte of its body: there is room for a page.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_come_delay_no_page() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let squelch = home.serve().await;
    let slow = slow(&squelch, 2_500, &format!("{HEAD}Content-Length: 100000\r\n\r\n{{")).await;
    let took = critical(&squelch, &pager, "Critical").await;
    println!("with 2,500 bodies that do not come a page takes {took:?}");
    let crowded = squelch.scrape().await.sum("squelch_http_connections_crowded_out_total", &[]);
    assert!(crowded >= 500.0, "{crowded} made room");
    drop(slow);
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_and_a_bomb_are_refused_unread() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let squelch = home.serve().await;
    let announced = format!("{HEAD}Connection: close\r\nContent-Length: 1073741824\r\n\r\n");
    assert_eq!(http::send(squelch.address, &announced, &[b' '; 1 << 16]).await.unwrap().status, 413);

    // Unannounced: it is let in piece by piece until it is too much.
    let mut stream = TcpStream::connect(squelch.address).await.unwrap();
    let head = format!("{HEAD}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
    let mut sent = 0;
    while sent < 1024 && stream.write_all(&piece).await.is_ok() {
        sent += 1;
    }
    assert!(sent < 256, "{sent} MiB were taken");

    // Far more blanks than are taken, packed: they are unpacked piece by piece until it is too much.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    for _ in 0..256 {
        packed.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let packed = packed.finish().unwrap();
    let length = packed.len();
    let bomb =
        format!("{HEAD}Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n");
    assert_eq!(http::send(squelch.address, &bomb, &packed).await.unwrap().status, 413);
    let invalid =
        async |reason| squelch.scrape().await.sum("squelch_alerts_invalid_total", &[("reason", reason)]);
    assert_eq!(invalid("too_large").await, 3.0);
    critical(&squelch, &pager, "Critical").await;
    assert!(squelch.peak_mib() < 200, "{} MiB", squelch.peak_mib());
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// `n` warnings, each with labels of its own, a thousand groups of them.
fn bomb(from: u64, n: u64) -> Value {
    let alerts: Vec<Value> = (from..from + n)
        .map(|i| {
            json!({
                "status": "firing", "startsAt": now(), "endsAt": "0001-01-01T00:00:00Z",
                "labels": {
                    "alertname": format!("Bomb-{}", i % 1000), "severity": "warning",
                    "pod": format!("pod-{i:x}"), format!("label_{}", i % 5000): format!("value-{i}"),
                },
                "annotations": {"summary": "one of very many"},
            })
        })
        .collect();
    json!({
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "receiver": "squelch", "status": "firing",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://am-0",
        "alerts": alerts,
    })
}

/// Floods it with so many distinct alerts from `senders` at once, and pages a critical one meanwhile.
async fn flood(alerts: u64, senders: u64) {
    const PER_BODY: u64 = 500;
    let pager = pager().await;
    // The flood goes to a receiver of its own, where it becomes a storm incident.
    let home = Home::new(&format!(
        "\
route:
  receiver: pager
  group_by: [alertname]
  routes: [{{receiver: bulk, matchers: ['severity=\"warning\"']}}]
receivers:
  - name: pager
    webhook_configs: [{{url: '{}'}}]
  - name: bulk
    webhook_configs: [{{url: '{}'}}]
",
        pager.url("/webhook/pager"),
        pager.url("/webhook/bulk")
    ));
    let squelch = home.serve().await;
    let series = async || squelch.get("/metrics").await.body.lines().count();
    let before = series().await;
    let (done, refused) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for sender in 0..senders {
        let (to, done, refused) = (squelch.address, done.clone(), refused.clone());
        tasks.spawn(async move {
            let share = alerts / senders;
            for from in (sender * share..(sender + 1) * share).step_by(PER_BODY as usize) {
                let text = bomb(from, PER_BODY).to_string();
                loop {
                    match http::post(to, "/alertmanager/webhook", text.as_bytes()).await.map(|a| a.status) {
                        Ok(200) => break,
                        Ok(503) => refused.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other:?}: only 200 and 503 may answer a flood"),
                    };
                    sleep(Duration::from_millis(200)).await;
                }
                done.fetch_add(PER_BODY, Ordering::Relaxed);
            }
        });
    }
    let over = Arc::new(AtomicBool::new(false));
    let (to, watched) = (squelch.address, over.clone());
    let health = tokio::spawn(async move {
        while !watched.load(Ordering::Relaxed) {
            assert_eq!(http::get(to, "/-/healthy").await.unwrap().status, 200, "health in a flood");
            sleep(Duration::from_millis(100)).await;
        }
    });
    let third = async || (done.load(Ordering::Relaxed) > alerts / 3).then_some(());
    while third().await.is_none() {
        sleep(Duration::from_millis(50)).await;
    }
    let page = critical(&squelch, &pager, "Critical").await;
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let took = began.elapsed();
    over.store(true, Ordering::Relaxed);
    health.await.unwrap();
    let (peak, after) = (squelch.peak_mib(), series().await);
    println!(
        "{alerts} alerts in {took:?}, {} bodies refused; the critical page took {page:?}; peak {peak} MiB; \
         {before} lines of metrics before, {after} after; {} incidents",
        refused.load(Ordering::Relaxed),
        pager.incidents().len()
    );
    assert!(peak < ceiling_mib(alerts), "{peak} MiB, and {} are the ceiling", ceiling_mib(alerts));
    assert!(after < before + 200, "labels of alerts became labels of metrics: {before}, then {after}");
    let settled = async || {
        let scrape = squelch.scrape().await;
        (scrape.sum("squelch_alerts_received_total", &[("status", "firing")]) > alerts as f64).then_some(())
    };
    until("all are counted", settled).await;
    assert!(!squelch.child.said().contains("panicked"));
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_distinct_alerts_holds_up_no_critical_page() {
    flood(50_000, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; tests/faults runs it"]
async fn a_hundred_thousand_alerts_from_many_hold_up_no_critical_page() {
    flood(100_000, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes many minutes; tests/faults runs it"]
async fn a_million_distinct_alerts_stay_within_the_ceiling() {
    flood(1_000_000, 4).await;
}
