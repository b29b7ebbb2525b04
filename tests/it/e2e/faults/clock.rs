//! Clocks that jump, and a process that is stopped for a while.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use squelch::commands::fake_pager::{Fault, Incident};
use squelch::model::Duration as Span;
use tokio::time::sleep;

use super::shim::Shim;
use super::{alert, config, insist};
use crate::e2e::sender::{body, now};
use crate::e2e::squelch::Home;
use crate::e2e::{about, http, opened_and_closed, pager, shown, until};

const HOUR: i64 = 3600;

/// The incidents that are not about clocks: senders' clocks differ from one that was set.
fn alerts(incidents: &[Incident]) -> Vec<Incident> {
    incidents.iter().filter(|i| !i.summary.contains("SquelchSenderClockWrong")).cloned().collect()
}

/// A jump of the wall clock while alerts with an `endsAt` are open, and a restart under it.
async fn jumps_by(seconds: i64) {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let Some(shim) = Shim::new(&home) else { return };
    let squelch = shim.serve(&home).await;
    if !shim.has_the_clock() {
        println!("skipped: the clock of this machine's vDSO cannot be replaced");
        return;
    }
    // As Prometheus sends it: it ends by itself unless it is repeated within 4 minutes.
    let ends = now() + Span::from_mins(4);
    let labels = json!({"alertname": "Direct", "severity": "critical"});
    let direct = json!([{"labels": labels, "startsAt": now(), "endsAt": ends}]);
    assert_eq!(squelch.post("/api/v2/alerts", direct.to_string()).await.status, 200);
    let told = alert("Told");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&told))).await;
    shown(&pager, "both pages", |i| i.len() == 2).await;

    shim.wall_is_off_by(seconds);
    let after = alert("After");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&after))).await;
    shown(&pager, "a page after the jump", |i| about(i, "After").len() == 1).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(opened_and_closed(&alerts(&pager.incidents())), (3, 0), "a jump ends nothing");

    // Engine time after the restart is not before the journalled time, and ends no open incident.
    assert_eq!(squelch.stop().await.code(), Some(0));
    let squelch = shim.serve(&home).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(opened_and_closed(&alerts(&pager.incidents())), (3, 0), "a restart under it ends nothing");
    shim.wall_is_off_by(0);
    insist(&squelch, &body("http://am-0", &[told.resolved(), after.resolved()])).await;
    shown(&pager, "their ends", |i| opened_and_closed(&alerts(i)) == (3, 2)).await;
    assert!(pager.incidents().iter().all(|i| i.notified == 1), "{:#?}", pager.incidents());
    let again = alert("Again");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&again))).await;
    shown(&pager, "a page once the clock is right", |i| about(i, "Again").len() == 1).await;
    assert!(!squelch.child.said().contains("panicked"));
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// Engine time stays ahead of wall time after the clock was set, over a restart too. The alerts of
/// Prometheus end 4 minutes ahead of wall time, which is 6 minutes ago in engine time.
#[tokio::test(flavor = "multi_thread")]
async fn prometheus_pages_after_a_start_under_a_wall_clock_that_was_ahead() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let Some(shim) = Shim::new(&home) else { return };
    shim.wall_is_off_by(600);
    let squelch = shim.serve(&home).await;
    if !shim.has_the_clock() {
        println!("skipped: the clock of this machine's vDSO cannot be replaced");
        return;
    }
    let sent = |name: &str| {
        let labels = json!({"alertname": name, "severity": "critical"});
        json!([{"labels": labels, "startsAt": now(), "endsAt": now() + Span::from_mins(4)}]).to_string()
    };
    squelch.hook(&body("http://am-0", &[alert("Warm")])).await;
    shown(&pager, "a page", |i| about(i, "Warm").len() == 1).await;
    shim.wall_is_off_by(0);
    assert_eq!(squelch.post("/api/v2/alerts", sent("DbDown")).await.status, 200);
    shown(&pager, "a page once the clock is right", |i| about(i, "DbDown").len() == 1).await;
    assert!(squelch.child.said().contains("engine time differs from the wall clock"));
    assert_eq!(squelch.stop().await.code(), Some(0));
    let squelch = shim.serve(&home).await;
    assert_eq!(squelch.post("/api/v2/alerts", sent("DbGone")).await.status, 200);
    shown(&pager, "a page after a restart", |i| about(i, "DbGone").len() == 1).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_an_hour_ahead_ends_nothing() {
    jumps_by(HOUR).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_an_hour_behind_stops_no_page() {
    jumps_by(-HOUR).await;
}

/// SIGSTOP for `pause` while a sender tries and gives up, as Alertmanager does, and then SIGCONT.
async fn stopped_for(pause: Duration) {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let squelch = home.serve().await;
    let (before, during) = (alert("Before"), alert("During"));
    squelch.hook(&body("http://am-0", std::slice::from_ref(&before))).await;
    shown(&pager, "the first page", |i| i.len() == 1).await;
    squelch.child.signal(Signal::STOP);
    let sent = body("http://am-0", std::slice::from_ref(&during)).to_string();
    let patience = pause / 2;
    let given_up = http::post(squelch.address, "/alertmanager/webhook", sent.as_bytes());
    assert!(tokio::time::timeout(patience, given_up).await.is_err(), "who is stopped answers nothing");
    sleep(pause - patience).await;
    squelch.child.signal(Signal::CONT);
    insist(&squelch, &body("http://am-0", std::slice::from_ref(&during))).await;
    shown(&pager, "the second page", |i| i.len() == 2).await;
    insist(&squelch, &body("http://am-0", &[before.resolved(), during.resolved()])).await;
    shown(&pager, "both ends", |i| opened_and_closed(i) == (2, 2)).await;
    assert!(pager.incidents().iter().all(|i| i.triggers == 1), "{:#?}", pager.incidents());
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// The answer and the end of its time come at once. An accepted notification is not sent again.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_came_while_it_was_stopped_counts() {
    let pager = pager().await;
    let home = Home::new(&config(&pager).replace("timeout: 5s", "timeout: 1s"));
    let squelch = home.serve().await;
    pager.script(Fault { next: 1, hang_ms: 300, ..Fault::default() });
    squelch.hook(&body("http://am-0", &[alert("Down")])).await;
    until("the page is under way", async || (pager.requests().total == 1).then_some(())).await;
    squelch.child.signal(Signal::STOP);
    sleep(Duration::from_secs(3)).await;
    squelch.child.signal(Signal::CONT);
    squelch.hook(&body("http://am-0", &[alert("Other")])).await;
    shown(&pager, "another page", |i| i.len() == 2).await;
    sleep(Duration::from_secs(2)).await;
    assert!(pager.incidents().iter().all(|i| i.triggers == 1), "{:#?}", pager.incidents());
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_stopped_goes_on_and_repeats_nothing() {
    stopped_for(Duration::from_secs(4)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; tests/faults runs it"]
async fn a_process_that_was_stopped_for_a_minute_goes_on_and_repeats_nothing() {
    stopped_for(Duration::from_secs(60)).await;
}
