//! SIGKILL in the middle of a storm, again and again, on the same storage.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use squelch::commands::fake_pager::{FakePager, Fault};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::child::free_port;
use super::http;
use super::sender::{Told, body};
use super::squelch::{Home, Squelch};
use super::{PATIENCE, pager, until};

/// How often the process is killed, unless `SQUELCH_KILLS` says otherwise, as `tests/faults` does.
const KILLS: u32 = 10;
/// One outage in so many goes to PagerDuty, which takes only 100 events a minute.
const PAGERDUTY: u64 = 16;
const PEERS: [&str; 2] = ["http://alertmanager-0:9093", "http://alertmanager-1:9093"];

fn config(pager: &FakePager) -> String {
    format!(
        "\
route:
  receiver: hook
  group_by: [alertname]
  routes: [{{receiver: pagerduty, matchers: ['via=\"pagerduty\"']}}]
receivers:
  - name: hook
    webhook_configs: [{{url: '{}'}}]
  - name: pagerduty
    pagerduty_configs: [{{routing_key: 0123456789abcdef0123456789abcdef, url: '{}'}}]
noise: {{default: {{resolve_hold: 500ms, storm: {{start: 0}}, limit: {{pages: 0}}}}}}
",
        pager.url("/webhook/hook"),
        pager.url("/v2/enqueue")
    )
}

/// The sent alerts, and the answers.
#[derive(Default)]
struct Ledger {
    requests: AtomicU64,
    /// Answers that Alertmanager would give up on.
    given_up: AtomicU64,
}

/// Numbers that differ from run to run. The first is printed, so that runs can be distinguished.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_is_lost_or_doubled_over_many_kills() {
    let seed = (u64::from(std::process::id()) * 0x9e37_79b9) | 1;
    let kills = std::env::var("SQUELCH_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    println!("seed {seed}, {kills} kills");
    let mut random = Random(seed);
    let pager = pager().await;
    unreliable(&pager, kills);
    let home = Home::new(&config(&pager));
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let (ledger, stop) = (Arc::<Ledger>::default(), Arc::new(AtomicBool::new(false)));
    let storm = tokio::spawn(storm(listen, ledger.clone(), stop.clone(), seed));

    let mut counted = BTreeMap::new();
    for kill in 0..kills {
        if kill % 4 == 3 {
            // In the middle of its start: nothing may depend on how far it came.
            let mut child = home.launch(listen);
            sleep(random.millis(1, 80)).await;
            child.kill();
            healthy(&child.said());
        }
        let mut squelch = home.serve_on(listen).await;
        counted = not_less(&counted, &squelch).await;
        sleep(random.millis(500, 2000)).await;
        counted = not_less(&counted, &squelch).await;
        squelch.child.kill();
        healthy(&squelch.child.said());
    }
    let squelch = home.serve_on(listen).await;
    sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    // All senders get through: no request is refused for ever.
    let outages = timeout(PATIENCE, storm).await.expect("the senders get through").unwrap();
    not_less(&counted, &squelch).await;

    // An outage that ended while its page waited needs no page. If the answer to an attempt was lost, the
    // pager may show it all the same.
    let over = async || {
        let (shown, recalled) = (interruptions(&pager)?, recalled(&squelch).await);
        let known = |n| shown.contains_key(&name(n)) || recalled.contains(&name(n));
        (0..outages).all(known).then_some((shown, recalled))
    };
    let (mut shown, recalled) = until(&format!("{outages} outages, all of them over"), over).await;
    let lost = outages - u64::try_from(shown.len()).unwrap();
    println!("{} pages were recalled, and {lost} outages interrupted nobody", recalled.len());
    assert!(recalled.len() as u64 * 4 < outages, "most outages are longer than a page waits: {recalled:?}");
    for outage in recalled {
        shown.entry(outage).or_insert(1);
    }
    let expected = (0..outages).map(|n| (name(n), 1)).collect();
    assert_eq!(shown, expected, "each outage interrupts once");
    assert_eq!(ledger.given_up.load(Ordering::Relaxed), 0, "nothing is answered 4xx");

    let scrape = squelch.scrape_when_closed().await;
    let received = |status| scrape.sum("squelch_alerts_received_total", &[("status", status)]);
    // Changes are counted before they are acknowledged, so none is missing. Repeats since the last
    // half minute before a kill may be.
    assert!(received("firing") >= outages as f64 && received("resolved") >= outages as f64);
    let requests = ledger.requests.load(Ordering::Relaxed);
    assert!(received("firing") + received("resolved") <= requests as f64);
    assert_eq!(scrape.sum("squelch_notifications_total", &[("kind", "page")]), outages as f64);
    assert_eq!(scrape.sum("squelch_alerts_disposed_total", &[("disposition", "page")]), outages as f64);
    assert_eq!(scrape.sum("squelch_alerts_pending", &[]), 0.0);
    let folded: u64 = pager.incidents().iter().map(|i| i.triggers - i.notified).sum();
    println!("{outages} outages in {requests} requests; {folded} triggers were sent again");
    assert!(folded > 0, "nothing was sent twice: the faults met nobody");
    assert!(outages > 100, "{outages} outages are no storm");
    healthy(&squelch.child.said());
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// How often each outage interrupted a person. `None` while one is open.
fn interruptions(pager: &FakePager) -> Option<BTreeMap<String, u64>> {
    let mut shown = BTreeMap::<String, u64>::new();
    for incident in pager.incidents() {
        incident.closed_at?;
        let at = incident.summary.find("Outage-").unwrap();
        let outage = incident.summary[at..at + "Outage-00000".len()].to_owned();
        *shown.entry(outage).or_default() += incident.notified;
    }
    Some(shown)
}

/// The outages whose page Squelch recalled, and no receiver is known to have accepted, by its own history.
async fn recalled(squelch: &Squelch) -> BTreeSet<String> {
    let (mut found, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let asked = format!("/api/v1/decisions?disposition=page&limit=1000{cursor}");
        let page = squelch.get(&asked).await.json();
        let why = |d: &Value| d["undelivered"].as_str().unwrap_or_default().contains("recalled");
        let recalled = page["decisions"].as_array().into_iter().flatten().filter(|d| why(d));
        found.extend(recalled.map(|d| d["labels"]["alertname"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

/// Lets the pager be slow, so that a kill meets deliveries under way, before and after they took effect.
/// Sometimes it fails, and sometimes its answer is lost.
fn unreliable(pager: &FakePager, kills: u32) {
    let slow = |next, accepted| Fault { next, hang_ms: 60, accepted, ..Fault::default() };
    // The pager keeps a thousand scripts.
    for _ in 0..(20 * kills).clamp(200, 250) {
        pager.script(slow(6, true));
        pager.script(Fault { next: 1, reset: true, accepted: true, ..Fault::default() });
        pager.script(slow(6, false));
        pager.script(Fault { next: 1, answer: Some(503), ..Fault::default() });
    }
}

/// Scrapes, and finds no counter of the engine lower than before: a shown value is durable.
async fn not_less(before: &BTreeMap<String, f64>, squelch: &Squelch) -> BTreeMap<String, f64> {
    let now = squelch.scrape().await.engine_counters();
    for (series, n) in before {
        assert!(now[series] >= *n, "{series} was {n} and is {}", now[series]);
    }
    now
}

/// No line of the log needs a person.
fn healthy(said: &str) {
    let bad = |line: &&str| ["level=ERROR", "panicked", "quarantine"].iter().any(|word| line.contains(word));
    let found: Vec<&str> = said.lines().filter(bad).collect();
    assert!(found.is_empty(), "{found:#?}");
}

fn name(outage: u64) -> String {
    format!("Outage-{outage:05}")
}

/// Begins outages until it is told to stop, and waits until both members of the pair have reported all of
/// them, from beginning to end. It returns their number.
async fn storm(to: SocketAddr, ledger: Arc<Ledger>, stop: Arc<AtomicBool>, seed: u64) -> u64 {
    let (mut tasks, mut random, mut outages) = (JoinSet::new(), Random(seed ^ 0x5eed), 0);
    while !stop.load(Ordering::Relaxed) {
        let via = if outages % PAGERDUTY == 0 { "pagerduty" } else { "hook" };
        let fires = Told::fires(&name(outages), "via", via);
        let (change, state) = watch::channel(fires.clone());
        let late = random.millis(0, 300);
        tasks.spawn(member(PEERS[0], to, state.clone(), ledger.clone(), fires.clone()));
        let (other, ledger) = (state, ledger.clone());
        tasks.spawn(async move {
            sleep(late).await;
            let told = other.borrow().clone();
            // An alert that ended before it was ever sent is not sent.
            if told.ends_at.is_none() {
                member(PEERS[1], to, other, ledger, told).await;
            }
        });
        let lasts = random.millis(200, 2500);
        tasks.spawn(async move {
            sleep(lasts).await;
            change.send_replace(fires.resolved());
        });
        outages += 1;
        sleep(random.millis(20, 60)).await;
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    outages
}

/// One member of a pair reports one outage: its beginning, repeats of it, its end.
async fn member(
    peer: &'static str,
    to: SocketAddr,
    mut state: watch::Receiver<Told>,
    ledger: Arc<Ledger>,
    mut told: Told,
) {
    loop {
        deliver(to, &body(peer, std::slice::from_ref(&told)).to_string(), &ledger).await;
        if told.ends_at.is_some() {
            return;
        }
        // Unchanged, it is repeated.
        let changed = state.wait_for(|state| state.ends_at.is_some());
        if let Ok(changed) = timeout(Duration::from_millis(700), changed).await {
            told = changed.expect("it ends before its sender does").clone();
        }
    }
}

/// Sends a body until it is taken, as Alertmanager's webhook does. It repeats after 5xx and broken
/// connections with growing pauses. It gives up after any other answer that is not 2xx.
async fn deliver(to: SocketAddr, body: &str, ledger: &Ledger) {
    let mut pause = Duration::from_millis(40);
    loop {
        ledger.requests.fetch_add(1, Ordering::Relaxed);
        match http::post(to, "/alertmanager/webhook", body.as_bytes()).await {
            Ok(answer) if answer.status == 200 => return,
            Ok(answer) if answer.status < 500 => {
                ledger.given_up.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Ok(_) | Err(_) => sleep(pause).await,
        }
        pause = (pause * 3 / 2).min(Duration::from_millis(400));
    }
}
