//! Internal incidents: an upstream that falls silent, a page that no receiver got, and the pages that leave
//! while the storage is unusable.

use squelch::commands::fake_pager::{FakePager, Fault, Incident};

use super::shim::Shim;
use super::{alert, insist};
use crate::e2e::sender::{Told, body};
use crate::e2e::squelch::Home;
use crate::e2e::{about, opened_and_closed, pager, shown};

/// Everything pages at once at `oncall`. `ops` gets the internal incidents. `more` are further lines,
/// `receiver` further keys of `oncall`.
fn config(pager: &FakePager, receiver: &str, more: &str) -> String {
    format!(
        "\
route: {{receiver: oncall, group_by: [alertname]}}
receivers:
  - name: oncall
    webhook_configs: [{{url: '{}', timeout: 1s}}]
    {receiver}
  - name: second
    webhook_configs: [{{url: '{}'}}]
  - name: ops
    webhook_configs: [{{url: '{}'}}]
noise: {{default: {{resolve_hold: 0s, merge_window: 0s, storm: {{start: 0}}, limit: {{pages: 0}}}}}}
{more}
",
        pager.url("/webhook/oncall"),
        pager.url("/webhook/second"),
        pager.url("/webhook/ops"),
    )
}

/// The incidents that one receiver shows.
fn at(incidents: &[Incident], receiver: &str) -> Vec<Incident> {
    let path = format!("webhook/{receiver}");
    incidents.iter().filter(|i| i.routing_key.contains(&path)).cloned().collect()
}

fn watchdog() -> Told {
    let mut told = Told::fires("Watchdog", "host", "prometheus");
    told.labels.retain(|(name, _)| name != "severity");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_falls_silent_pages_until_it_is_heard_again() {
    let pager = pager().await;
    let heartbeat = "heartbeat: {matchers: ['alertname=\"Watchdog\"'], silent_after: 3s, receiver: ops}";
    let home = Home::new(&config(&pager, "", heartbeat));
    let mut squelch = home.serve().await;
    let watchdog = body("http://am-0", &[watchdog()]);
    squelch.hook(&watchdog).await;
    shown(&pager, "that the heartbeat is silent", |i| about(i, "SquelchHeartbeatSilent").len() == 1).await;
    assert_eq!(at(&pager.incidents(), "ops").len(), 1, "at the receiver that is named");
    squelch.hook(&watchdog).await;
    shown(&pager, "that it is heard again", |i| opened_and_closed(i) == (1, 1)).await;

    // A process that was down missed heartbeats too: silence counts from its start, and pages once.
    squelch.child.kill();
    let squelch = home.serve().await;
    shown(&pager, "that it is silent still", |i| opened_and_closed(i) == (2, 1)).await;
    squelch.hook(&watchdog).await;
    shown(&pager, "that it is heard", |i| opened_and_closed(i) == (2, 2)).await;
    assert!(about(&pager.incidents(), "Watchdog").is_empty(), "its firing is no page");
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_was_never_heard_pages() {
    let pager = pager().await;
    let heartbeat = "heartbeat: {matchers: ['alertname=\"Watchdog\"'], silent_after: 2s, receiver: ops}";
    let home = Home::new(&config(&pager, "", heartbeat));
    let squelch = home.serve().await;
    shown(&pager, "that it was never heard", |i| about(i, "SquelchHeartbeatSilent").len() == 1).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// A configuration that holds everything back, critical alerts too: Squelch raises an alarm that no
/// receiver was notified.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_keeps_everything_back_is_an_alarm() {
    let pager = pager().await;
    let held = "\
severities: {levels: [{name: critical, hold: 24h, respond_within: 2s}]}
inhibit_rules: [{source_matchers: ['alertname=\"Source\"'], target_matchers: ['alertname=\"Target\"']}]
self_check: {receiver: ops}";
    let home = Home::new(&config(&pager, "", held));
    let squelch = home.serve().await;
    squelch.hook(&body("http://am-0", &[alert("Source")])).await;
    squelch.hook(&body("http://am-0", &[alert("Target")])).await;
    shown(&pager, "that nobody was told", |i| about(i, "SquelchAlertUnheard").len() == 1).await;
    assert!(at(&pager.incidents(), "oncall").is_empty(), "that is what was to be noticed");
    assert_eq!(at(&pager.incidents(), "ops").len(), 1);
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_not_taken_is_an_alarm_and_goes_to_the_fallback() {
    let pager = pager().await;
    let more = "self_check: {receiver: ops, undelivered_after: 2s}";
    let home = Home::new(&config(&pager, "fallback: second\n    fallback_after: 1s", more));
    let squelch = home.serve().await;
    pager.script(Fault { next: 1000, answer: Some(503), path: "/webhook/oncall".into(), ..Fault::default() });
    let down = alert("Down");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&down))).await;
    shown(&pager, "the page at the fallback", |i| about(&at(i, "second"), "Down").len() == 1).await;
    shown(&pager, "the alarm", |i| about(&at(i, "ops"), "SquelchPagesUndelivered").len() == 1).await;
    pager.script(Fault { next: 0, ..Fault::default() });
    squelch.hook(&body("http://am-0", &[down.resolved()])).await;
    shown(&pager, "its end at the fallback", |i| opened_and_closed(&at(i, "second")) == (1, 1)).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_an_alarm_and_its_page_goes_to_the_fallback() {
    let pager = pager().await;
    let home = Home::new(&config(&pager, "fallback: second", "self_check: {receiver: ops}"));
    let squelch = home.serve().await;
    pager.script(Fault { next: 1000, answer: Some(400), path: "/webhook/oncall".into(), ..Fault::default() });
    let down = alert("Down");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&down))).await;
    shown(&pager, "the page at the fallback", |i| about(&at(i, "second"), "Down").len() == 1).await;
    shown(&pager, "the alarm", |i| about(&at(i, "ops"), "SquelchDeadLetters").len() == 1).await;
    squelch.hook(&body("http://am-0", &[down.resolved()])).await;
    shown(&pager, "its end at the fallback", |i| opened_and_closed(&at(i, "second")) == (1, 1)).await;
    assert!(at(&pager.incidents(), "oncall").is_empty());
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// 503 first, then critical pages without storage. Once there is storage again nothing pages twice, and the
/// sent pages are closed.
#[tokio::test(flavor = "multi_thread")]
async fn critical_pages_leave_without_storage_and_are_closed_later() {
    let pager = pager().await;
    let home = Home::new(&config(&pager, "", "global: {failopen_after: 3s}\nself_check: {enabled: false}"));
    let Some(shim) = Shim::new(&home) else { return };
    let squelch = shim.serve(&home).await;
    let before = alert("Before");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&before))).await;
    shown(&pager, "the page before", |i| i.len() == 1).await;

    shim.syncs_fail(true);
    let critical = alert("Critical");
    let mut warning = alert("Warning");
    warning.labels.iter_mut().filter(|(name, _)| name == "severity").for_each(|l| l.1 = "warning".into());
    let all = [critical.clone(), warning.clone()];
    let refused = async || {
        let said = body("http://am-0", &all).to_string();
        assert_eq!(squelch.post("/alertmanager/webhook", said).await.status, 503, "nothing is durable");
    };
    refused().await;
    assert!(about(&pager.incidents(), "Critical").is_empty(), "its sender holds it for now");
    shown(&pager, "the critical page", |i| about(i, "Critical").len() == 1).await;
    refused().await;
    let counted =
        squelch.scrape().await.sum("squelch_failopen_notifications_total", &[("receiver", "oncall")]);
    assert_eq!(counted, 1.0);
    squelch.child.line(&["level=WARN", "sent without storage"]).await;
    assert!(about(&pager.incidents(), "Warning").is_empty(), "only the levels that may leave");

    shim.syncs_fail(false);
    insist(&squelch, &body("http://am-0", &all)).await;
    shown(&pager, "the other page", |i| about(i, "Warning").len() == 1).await;
    insist(&squelch, &body("http://am-0", &[before.resolved(), critical.resolved(), warning.resolved()]))
        .await;
    shown(&pager, "all ends", |i| opened_and_closed(i) == (3, 3)).await;
    assert!(pager.incidents().iter().all(|i| i.notified == 1), "{:#?}", pager.incidents());
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// Captured requests that are sent again while a later occurrence fires end nothing and page nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_request_that_is_said_anew_ends_and_pages_nothing() {
    let pager = pager().await;
    let home = Home::new(&config(&pager, "", "self_check: {enabled: false}"));
    let squelch = home.serve().await;
    let mut first = alert("Down");
    first.starts_at = first.starts_at - squelch::model::Duration::from_mins(10);
    let mut over = first.resolved();
    over.ends_at = over.ends_at.map(|at| at - squelch::model::Duration::from_mins(5));
    let (fired, ended) = (body("http://am-0", &[first]), body("http://am-0", &[over]));
    squelch.hook(&fired).await;
    squelch.hook(&ended).await;
    shown(&pager, "the first occurrence", |i| opened_and_closed(i) == (1, 1)).await;
    let again = alert("Down");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&again))).await;
    shown(&pager, "the second one", |i| opened_and_closed(i) == (2, 1)).await;
    for _ in 0..3 {
        squelch.hook(&fired).await;
        squelch.hook(&ended).await;
    }
    let other = alert("Other");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&other))).await;
    shown(&pager, "another page, so that all before was handled", |i| about(i, "Other").len() == 1).await;
    assert_eq!(opened_and_closed(&about(&pager.incidents(), "Down")), (2, 1), "it fires still");
    squelch.hook(&body("http://am-0", &[again.resolved(), other.resolved()])).await;
    shown(&pager, "its own end", |i| opened_and_closed(i) == (3, 3)).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// A stored event that makes the engine fail, as after an upgrade: the program starts, says so, and pages.
#[tokio::test(flavor = "multi_thread")]
async fn a_stored_event_that_breaks_the_engine_is_put_aside_at_the_start() {
    let pager = pager().await;
    let home = Home::new(&config(&pager, "", "self_check: {receiver: ops}"));
    let squelch = home.serve().await;
    let before = alert("Before");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&before))).await;
    shown(&pager, "the first page", |i| i.len() == 1).await;
    assert_eq!(squelch.stop().await.code(), Some(0));

    store_poison(&home);

    let squelch = home.serve().await;
    shown(&pager, "its page, and what is said of it", |i| {
        about(&at(i, "oncall"), "Poison").len() == 1 && about(&at(i, "ops"), "SquelchEngineBroke").len() == 1
    })
    .await;
    squelch.child.line(&["level=ERROR", "the engine broke"]).await;
    assert_eq!(squelch.scrape().await.sum("squelch_engine_failures_total", &[]), 1.0);
    // The next start does not meet it again.
    assert_eq!(squelch.stop().await.code(), Some(0));
    let squelch = home.serve().await;
    assert_eq!(squelch.scrape().await.sum("squelch_engine_failures_total", &[]), 0.0);
    squelch.hook(&body("http://am-0", &[before.resolved()])).await;
    shown(&pager, "the end of the first", |i| opened_and_closed(&about(i, "Before")) == (1, 1)).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// Writes an event into the journal of `home` on which the engine breaks. A server has run there before.
pub(super) fn store_poison(home: &Home) {
    use squelch::config::Route;
    use squelch::engine::Event;
    use squelch::journal::{Commit, Journal, Record, SqliteJournal};
    // A route that no version would write: its child is not there.
    let mut policy = squelch::config::load(&home.path("squelch.yml")).unwrap().policy;
    let matchers = squelch::model::parse_matchers("alertname=Poison").unwrap();
    let nowhere =
        Route { key: "{}/{nowhere}".into(), matchers, children: vec![99], ..policy.routes[0].clone() };
    policy.routes.push(nowhere);
    policy.routes[0].children = vec![1];
    let told = body("http://am-0", &[alert("Poison")]).to_string();
    let parsed =
        squelch::ingest::webhook::parse(told.as_bytes(), "p", crate::e2e::sender::now(), &Default::default())
            .unwrap();
    let events = [Event::Policy(Box::new(policy)), Event::Observe(parsed.batch)];
    let mut journal = SqliteJournal::open(&home.path("data")).unwrap();
    let recovered = journal.recover().unwrap();
    let last = recovered.records.last().map(|r| r.seq).or(recovered.snapshot.map(|(seq, _)| seq)).unwrap();
    let record = |(seq, event)| Record {
        seq,
        now: crate::e2e::sender::now(),
        event: serde_json::to_vec(event).unwrap(),
    };
    let records: Vec<Record> = (last + 1..).zip(&events).map(record).collect();
    journal.commit(&Commit { records: &records, ..Commit::default() }).unwrap();
    drop(journal);
}
