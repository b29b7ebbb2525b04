//! Receivers that misbehave: the reaction to each, and that no other waits for it.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::time::Instant;

use super::alert;
use super::rogue::{Manner, Rogue};
use crate::e2e::sender::{Told, body};
use crate::e2e::squelch::{Home, Squelch};
use crate::e2e::{about, child::free_port, pager, shown, until};

/// `bad` is the integrations of one receiver, for the label `host="bad"`. All else goes to `pager`.
fn config(bad: &str, good: &str) -> String {
    format!(
        "\
route:
  receiver: good
  group_by: [alertname]
  routes: [{{receiver: bad, matchers: ['host=\"bad\"']}}]
receivers:
  - name: bad
    {bad}
  - name: good
    webhook_configs: [{{url: '{good}'}}]
noise: {{default: {{resolve_hold: 0s, storm: {{start: 0}}, limit: {{pages: 0}}}}}}
"
    )
}

fn webhook(url: &str) -> String {
    format!("webhook_configs: [{{url: '{url}', timeout: 1s}}]")
}

fn bad_alert() -> Told {
    Told::fires("Bad", "host", "bad")
}

/// Pages the bad receiver, then the good one, whose page must come while the other's is still owed or
/// has been refused.
async fn pages_both(squelch: &Squelch, good: &squelch::commands::fake_pager::FakePager, why: &str) -> Told {
    let down = bad_alert();
    squelch.hook(&body("http://am-0", std::slice::from_ref(&down))).await;
    failed(squelch, why).await;
    let began = Instant::now();
    squelch.hook(&body("http://am-0", &[alert("Good")])).await;
    shown(good, "the page at the other receiver", |i| about(i, "Good").len() == 1).await;
    println!("the other receiver's page took {:?}", began.elapsed());
    down
}

async fn failed(squelch: &Squelch, reason: &str) {
    let labels = [("receiver", "bad"), ("reason", reason)];
    let seen = async || {
        let n = squelch.scrape().await.sum("squelch_notifications_failed_total", &labels);
        (n >= 1.0).then_some(())
    };
    until(&format!("a failure counted as {reason}"), seen).await;
}

async fn letters(squelch: &Squelch) -> Vec<Value> {
    squelch.get("/api/v1/dead-letters").await.json()["deadLetters"].as_array().unwrap().clone()
}

/// The page and its resolve, in this order, at the receiver that was bad.
async fn told_in_order(rogue: &Rogue) {
    let took = async || (rogue.taken().len() >= 2).then_some(());
    until("the page and its end arrive", took).await;
    let taken = rogue.taken();
    let of = |text: &str| taken.iter().position(|body| body.contains(text));
    let (page, end) = (of("\"status\":\"firing\""), of("\"status\":\"resolved\""));
    assert!(page.is_some() && page < end, "{taken:#?}");
}

/// A failure that passes is tried again until the receiver is well.
async fn is_tried_again(manner: Manner, reason: &str) {
    let (good, rogue) = (pager().await, Rogue::start(manner.clone()).await);
    let home =
        Home::new(&config(&webhook(&format!("http://{}/", rogue.address)), &good.url("/webhook/good")));
    let squelch = home.serve().await;
    let down = pages_both(&squelch, &good, reason).await;
    assert!(letters(&squelch).await.is_empty(), "{manner:?}: nobody gives up");
    let met = rogue.met();
    until("another attempt", async || (rogue.met() > met).then_some(())).await;
    rogue.becomes(Manner::Good);
    until("the page arrives", async || (!rogue.taken().is_empty()).then_some(())).await;
    squelch.hook(&body("http://am-0", &[down.resolved()])).await;
    told_in_order(&rogue).await;
    assert_eq!(squelch.stop().await.code(), Some(0), "{manner:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_receiver_is_tried_again() {
    is_tried_again(Manner::Hang, "contextDeadlineExceeded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dripping_receiver_is_tried_again() {
    is_tried_again(Manner::Drip, "contextDeadlineExceeded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_resets_is_tried_again() {
    is_tried_again(Manner::Reset, "other").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_closes_without_an_answer_is_tried_again() {
    is_tried_again(Manner::Close, "other").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_speaks_no_http_is_tried_again() {
    is_tried_again(Manner::Nonsense, "other").await;
}

macro_rules! head {
    ($status:literal, $headers:literal) => {
        concat!("HTTP/1.1 ", $status, " x\r\nConnection: close\r\n", $headers, "Content-Length: 0\r\n\r\n")
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_500_is_tried_again() {
    is_tried_again(Manner::Says(head!("500", "")), "serverError").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_503_with_retry_after_is_tried_again() {
    is_tried_again(Manner::Says(head!("503", "Retry-After: 1\r\n")), "serverError").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_without_retry_after_is_tried_again() {
    is_tried_again(Manner::Says(head!("429", "")), "rateLimited").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_with_a_date_is_tried_again() {
    let dated =
        head!("429", "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:49:38 GMT\r\n");
    is_tried_again(Manner::Says(dated), "rateLimited").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_that_means_nothing_is_tried_again() {
    is_tried_again(Manner::Says(head!("429", "Retry-After: -5\r\n")), "rateLimited").await;
}

/// A `Retry-After` of 32,000 years: the page is still owed, others go out, and a reload frees it.
#[tokio::test(flavor = "multi_thread")]
async fn an_absurd_retry_after_delays_nobody_else() {
    let rogue = Rogue::start(Manner::Says(head!("429", "Retry-After: 999999999999\r\n"))).await;
    let good = pager().await;
    let home =
        Home::new(&config(&webhook(&format!("http://{}/", rogue.address)), &good.url("/webhook/good")));
    let squelch = home.serve().await;
    pages_both(&squelch, &good, "rateLimited").await;
    assert!(letters(&squelch).await.is_empty());
    assert_eq!(squelch.scrape().await.sum("squelch_queue_length", &[("receiver", "bad")]), 1.0);
    rogue.becomes(Manner::Good);
    // The pause is not remembered: the next process tries at once.
    assert_eq!(squelch.stop().await.code(), Some(0));
    let squelch = home.serve().await;
    until("the page arrives", async || (rogue.taken().len() == 1).then_some(())).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// A notification refused for good is a dead letter, which can be sent again.
async fn is_a_dead_letter(answer: &'static str, reason: &str) {
    let (good, rogue) = (pager().await, Rogue::start(Manner::Says(answer)).await);
    let home =
        Home::new(&config(&webhook(&format!("http://{}/", rogue.address)), &good.url("/webhook/good")));
    let squelch = home.serve().await;
    let down = pages_both(&squelch, &good, reason).await;
    let found = until("a dead letter", async || letters(&squelch).await.pop()).await;
    assert!(found.to_string().contains(reason), "{found:#}");
    let id = found["id"].as_u64().unwrap();
    rogue.becomes(Manner::Good);
    let replayed = squelch.post(&format!("/api/v1/dead-letters/{id}/replay"), "").await;
    assert_eq!(replayed.status, 202, "{}", replayed.body);
    until("the page arrives", async || (!rogue.taken().is_empty()).then_some(())).await;
    squelch.hook(&body("http://am-0", &[down.resolved()])).await;
    told_in_order(&rogue).await;
    until("no dead letter is left", async || letters(&squelch).await.is_empty().then_some(())).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_401_is_a_dead_letter() {
    is_a_dead_letter(head!("401", ""), "authError").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_404_is_a_dead_letter() {
    is_a_dead_letter(head!("404", ""), "clientError").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_410_is_a_dead_letter() {
    is_a_dead_letter(head!("410", ""), "clientError").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_a_dead_letter() {
    is_a_dead_letter(head!("307", "Location: http://127.0.0.1:1/elsewhere\r\n"), "other").await;
}

/// Slack's answer decides there, not its status.
async fn slack_is_owed(manner: Manner) {
    let (good, rogue) = (pager().await, Rogue::start(manner).await);
    let slack =
        format!("slack_configs: [{{api_url: 'http://{}/', channel: '#a', timeout: 1s}}]", rogue.address);
    let home = Home::new(&config(&slack, &good.url("/webhook/good")));
    let squelch = home.serve().await;
    pages_both(&squelch, &good, "other").await;
    rogue.becomes(Manner::Good);
    until("the message arrives", async || (!rogue.taken().is_empty()).then_some(())).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_200_with_an_error_of_slacks_is_tried_again() {
    let error = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 38\r\n\r\n\
                 {\"ok\":false,\"error\":\"internal_error\"}  ";
    slack_is_owed(Manner::Says(error)).await;
}

/// A server that is compatible with Slack and says nothing that is known: three messages, and no more after
/// a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_200_from_slack_that_means_nothing_is_not_posted_without_end() {
    let (good, rogue) = (pager().await, Rogue::start(Manner::HalfBody).await);
    let slack = format!("slack_configs: [{{api_url: 'http://{}/', channel: '#a'}}]", rogue.address);
    let home = Home::new(&config(&slack, &good.url("/webhook/good")));
    let squelch = home.serve().await;
    squelch.hook(&body("http://am-0", &[bad_alert()])).await;
    until("three attempts", async || (rogue.met() >= 3).then_some(())).await;
    let settled = async || (squelch.scrape().await.sum("squelch_queue_length", &[]) == 0.0).then_some(());
    until("nothing is owed", settled).await;
    assert_eq!(rogue.met(), 3);
    assert_eq!(squelch.stop().await.code(), Some(0));
    let squelch = home.serve().await;
    squelch.hook(&body("http://am-0", &[alert("Good")])).await;
    shown(&good, "the page at the other receiver", |i| about(i, "Good").len() == 1).await;
    assert_eq!(rogue.met(), 3);
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_a_gigabyte_is_not_read() {
    let (good, rogue) = (pager().await, Rogue::start(Manner::Gigabyte).await);
    let home =
        Home::new(&config(&webhook(&format!("http://{}/", rogue.address)), &good.url("/webhook/good")));
    let squelch = home.serve().await;
    squelch.hook(&body("http://am-0", &[bad_alert()])).await;
    squelch.hook(&body("http://am-0", &[alert("Good")])).await;
    shown(&good, "the page at the other receiver", |i| i.len() == 1).await;
    let accepted = async || {
        let paged = [("receiver", "bad"), ("kind", "page")];
        (squelch.scrape().await.sum("squelch_notifications_total", &paged) == 1.0).then_some(())
    };
    until("the status counts as the answer", accepted).await;
    let peak = squelch.peak_mib();
    assert!(peak < 128, "{peak} MiB");
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// A notification for an unreachable receiver is owed until a reload names a new place.
async fn goes_where_a_reload_says(url: &str) {
    let (good, rogue) = (pager().await, Rogue::start(Manner::Good).await);
    let home = Home::new(&config(&webhook(url), &good.url("/webhook/good")));
    let squelch = home.serve().await;
    let down = pages_both(&squelch, &good, "other").await;
    assert!(letters(&squelch).await.is_empty());
    let mended = config(&webhook(&format!("http://{}/", rogue.address)), &good.url("/webhook/good"));
    home.configure(&mended);
    squelch.child.signal(Signal::HUP);
    until("the page arrives", async || (!rogue.taken().is_empty()).then_some(())).await;
    squelch.hook(&body("http://am-0", &[down.resolved()])).await;
    told_in_order(&rogue).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_known_is_tried_again_and_follows_a_reload() {
    goes_where_a_reload_says("http://pager.invalid/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_tried_again_and_follows_a_reload() {
    goes_where_a_reload_says(&format!("http://127.0.0.1:{}/", free_port())).await;
}

/// A person who corrects a URL and reloads need not wait five minutes for the page.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_page_is_tried_at_once_after_a_reload() {
    let (good, rogue) = (pager().await, Rogue::start(Manner::Says(head!("404", ""))).await);
    let home =
        Home::new(&config(&webhook(&format!("http://{}/wrong", rogue.address)), &good.url("/webhook/good")));
    let squelch = home.serve().await;
    let down = pages_both(&squelch, &good, "clientError").await;
    until("a dead letter", async || letters(&squelch).await.pop()).await;
    rogue.becomes(Manner::Good);
    home.configure(&config(&webhook(&format!("http://{}/", rogue.address)), &good.url("/webhook/good")));
    squelch.child.signal(Signal::HUP);
    until("the page arrives", async || (!rogue.taken().is_empty()).then_some(())).await;
    squelch.hook(&body("http://am-0", &[down.resolved()])).await;
    told_in_order(&rogue).await;
    until("no dead letter is left", async || letters(&squelch).await.is_empty().then_some(())).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// After five failures in a row the circuit is open, and only probes go out. Then it closes.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_circuit_sends_single_probes_and_closes() {
    let (good, rogue) = (pager().await, Rogue::start(Manner::Says(head!("500", ""))).await);
    let home =
        Home::new(&config(&webhook(&format!("http://{}/", rogue.address)), &good.url("/webhook/good")));
    let squelch = home.serve().await;
    let many: Vec<Told> = (0..100).map(|n| Told::fires(&format!("Bad-{n:03}"), "host", "bad")).collect();
    squelch.hook(&body("http://am-0", &many)).await;
    let circuit = async |squelch: &Squelch| {
        squelch.scrape().await.sum("squelch_receiver_circuit_open", &[("receiver", "bad")])
    };
    until("the circuit opens", async || (circuit(&squelch).await == 1.0).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    // Without a circuit a hundred notifications would each have been tried, most of them twice.
    let attempts = rogue.met();
    assert!(attempts < 50, "{attempts} attempts at a receiver that is down");
    rogue.becomes(Manner::Good);
    until("the circuit closes", async || (circuit(&squelch).await == 0.0).then_some(())).await;
    until("every page arrives", async || (rogue.taken().len() == many.len()).then_some(())).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}
