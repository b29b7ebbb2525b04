//! Starting, reloading and ending the process, and its errors when it cannot.

use rustix::process::Signal;
use squelch::commands::fake_pager::{FakePager, Fault, Incident};

use super::child::Child;
use super::sender::{Told, body};
use super::squelch::{Home, PROGRAM, command, ended_well};
use super::{http, opened_and_closed, pager, shown, until};

/// Everything goes to one webhook of `pager`.
fn config(pager: &FakePager, hook: &str) -> String {
    format!(
        "\
route: {{receiver: pager, group_by: [outage]}}
receivers:
  - name: pager
    webhook_configs: [{{url: '{}', timeout: 1m}}]
noise: {{default: {{resolve_hold: 0s, storm: {{start: 0}}, limit: {{pages: 0}}}}}}
",
        pager.url(&format!("/webhook/{hook}"))
    )
}

fn outage(name: &str) -> Told {
    Told::fires("Down", "outage", name)
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_delivery_under_way_end() {
    let pager = pager().await;
    pager.script(Fault { next: 1, hang_ms: 2000, ..Fault::default() });
    let home = Home::new(&config(&pager, "a"));
    let squelch = home.serve().await;
    let address = squelch.address;
    squelch.hook(&body("http://am-0", &[outage("o")])).await;
    // It has arrived, and hangs there.
    until("the page is on its way", async || (pager.requests().total == 1).then_some(())).await;
    assert_eq!(pager.incidents().len(), 0);
    let status = squelch.stop().await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(pager.incidents().len(), 1, "the delivery was let go");
    assert!(http::get(address, "/-/ready").await.is_err(), "nobody listens any more");

    // Its end was made durable too: the next process has nothing to send.
    let squelch = home.serve().await;
    squelch.child.line(&["msg=\"storage read\"", "undelivered=0"]).await;
    assert_eq!(pager.requests().total, 1);
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_does_not_keep_the_process_and_is_told_by_the_next() {
    let pager = pager().await;
    pager.script(Fault { next: 1, hang_ms: 600_000, ..Fault::default() });
    let home = Home::new(&config(&pager, "a"));
    let squelch = home.serve().await;
    squelch.hook(&body("http://am-0", &[outage("o")])).await;
    until("the page is on its way", async || (pager.requests().total == 1).then_some(())).await;
    assert_eq!(squelch.stop().await.code(), Some(0), "it ended, and did not wait for the receiver");
    assert_eq!(pager.incidents().len(), 0);
    let squelch = home.serve().await;
    shown(&pager, "the page of the process before", |incidents| incidents.len() == 1).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_by_signal_and_by_request_and_keeps_what_works() {
    let pager = pager().await;
    let home = Home::new(&config(&pager, "a"));
    let squelch = home.serve().await;
    let hooks = || pager.incidents().into_iter().map(|i| i.routing_key).collect::<Vec<_>>();
    let first = outage("first");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&first))).await;
    shown(&pager, "the first page", |i| i.len() == 1).await;

    home.configure(&config(&pager, "b"));
    squelch.child.signal(Signal::HUP);
    squelch.child.line(&["msg=\"configuration loaded\""]).await;
    squelch.hook(&body("http://am-0", &[outage("second")])).await;
    shown(&pager, "a page by the new configuration", |i| i.len() == 2).await;
    assert_eq!(hooks(), ["webhook/a", "webhook/b"]);

    home.configure("route:\n  receiver: pager\n  group_bye: [outage]\n");
    let answer = squelch.post("/-/reload", "").await;
    assert_eq!(answer.status, 500, "{}", answer.body);
    let at = format!("{}:3: ", home.path("squelch.yml").display());
    assert!(answer.body.contains(&at) && answer.body.contains("group_by"), "{}", answer.body);
    let loaded = "squelch_config_last_reload_successful";
    assert_eq!(squelch.scrape().await.sum(loaded, &[]), 0.0);
    squelch.child.signal(Signal::HUP);
    let twice =
        async || (squelch.child.said().matches("configuration not loaded").count() == 2).then_some(());
    until("the signal's failure is logged as well", twice).await;
    squelch.hook(&body("http://am-0", &[outage("third")])).await;
    shown(&pager, "a page by the configuration before", |i| i.len() == 3).await;
    assert_eq!(hooks()[2], "webhook/b");

    home.configure(&config(&pager, "c"));
    let answer = squelch.post("/-/reload", "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(squelch.scrape().await.sum(loaded, &[]), 1.0);
    squelch.hook(&body("http://am-0", &[outage("fourth")])).await;
    shown(&pager, "a page by the newest configuration", |i| i.len() == 4).await;
    assert_eq!(hooks()[3], "webhook/c");
    assert_eq!(squelch.get("/-/reload").await.status, 405);
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_cannot_be_used_is_named_and_ends_the_start() {
    let pager = pager().await;
    let home = Home::new(&config(&pager, "a"));
    // A file where a folder must be: not even root can write there.
    std::fs::write(home.path("data"), "").unwrap();
    let mut child = home.launch("127.0.0.1:0".parse().unwrap());
    assert_eq!(child.ended().await.code(), Some(1));
    let said = child.said();
    let path = home.path("data").display().to_string();
    assert!(said.lines().any(|l| l.starts_with("squelch: ") && l.contains(&path)), "{said}");
    assert!(said.contains("cannot be"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_storage_is_refused() {
    let pager = pager().await;
    let home = Home::new(&config(&pager, "a"));
    let squelch = home.serve().await;
    let mut second = home.launch("127.0.0.1:0".parse().unwrap());
    assert_eq!(second.ended().await.code(), Some(1));
    let (said, pid) = (second.said(), squelch.child.pid());
    assert!(said.contains(&home.path("data").display().to_string()), "{said}");
    assert!(said.contains(&format!("another process (pid {pid}) uses it")), "{said}");

    let mut third = home.launch(squelch.address);
    assert_eq!(third.ended().await.code(), Some(1));
    let said = third.said();
    assert!(said.contains(&format!("cannot listen on {}", squelch.address)), "{said}");

    squelch.hook(&body("http://am-0", &[outage("o")])).await;
    shown(&pager, "the first process pages on", |i| i.len() == 1).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_ends_the_start_with_file_and_line() {
    let home = Home::new("route:\n  receiver: nobody\nreceivers:\n  - name: pager\n");
    let mut child = home.launch("127.0.0.1:0".parse().unwrap());
    assert_eq!(child.ended().await.code(), Some(1));
    let said = child.said();
    let at = format!("{}:2: ", home.path("squelch.yml").display());
    assert!(said.contains(&at) && said.contains("nobody"), "{said}");
    assert!(!home.path("data").exists(), "the storage is not touched by what cannot start");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_exits_2() {
    for args in [&["serve", "--no.such"][..], &["no-such-command"], &[], &["check-config"]] {
        let mut child = Child::start("squelch", PROGRAM, args).unwrap();
        assert_eq!(child.ended().await.code(), Some(2), "{args:?}: {}", child.said());
    }
    let mut child = Child::start("squelch", PROGRAM, &["--version"]).unwrap();
    assert_eq!(child.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_open_before_a_restart_is_closed_after_it() {
    let pager = pager().await;
    let home = Home::new(&config(&pager, "a"));
    let squelch = home.serve().await;
    let outage = outage("o");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&outage))).await;
    shown(&pager, "the page", |i| i.len() == 1).await;
    let before = squelch.scrape().await.engine_counters();
    assert_eq!(squelch.stop().await.code(), Some(0));
    let squelch = home.serve().await;
    let after = squelch.scrape().await.engine_counters();
    assert!(before.iter().all(|(name, n)| after[name] >= *n), "{before:#?} then {after:#?}");
    squelch.hook(&body("http://am-0", &[outage.resolved()])).await;
    shown(&pager, "its end", |i| opened_and_closed(i) == (1, 1)).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// The text of `config`, with the receiver under another name.
fn renamed(pager: &FakePager, hook: &str) -> String {
    config(pager, hook).replace("receiver: pager", "receiver: other").replace("name: pager", "name: other")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_a_reload_removes_is_told_of_the_end_and_leaves_the_metrics() {
    let pager = pager().await;
    let home = Home::new(&config(&pager, "a"));
    let squelch = home.serve().await;
    let outage = outage("o");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&outage))).await;
    shown(&pager, "the page", |i| i.len() == 1).await;
    home.configure(&renamed(&pager, "b"));
    let answer = squelch.post("/-/reload", "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    for says in ["outage=\"o\"", "receiver \"pager\"", "webhook[0]"] {
        assert!(answer.body.contains(says), "{says} not in {}", answer.body);
    }
    squelch.child.line(&["level=WARN", "receiver=pager", "Its end goes there"]).await;
    shown(&pager, "the page at the receiver of today", |i| opened_and_closed(i) == (2, 0)).await;
    let scrape = squelch.scrape().await;
    let of = [("receiver", "pager")];
    assert_eq!(scrape.sum("squelch_incidents_orphaned", &of), 1.0);
    assert_eq!(scrape.sum("squelch_incidents", &of), 1.0);
    squelch.hook(&body("http://am-0", &[outage.resolved()])).await;
    shown(&pager, "the end at both", |i| opened_and_closed(i) == (2, 2)).await;
    let gone = async || {
        let metrics = squelch.get("/metrics").await.body;
        (!metrics.contains("receiver=\"pager\"") && metrics.contains("receiver=\"other\"")).then_some(())
    };
    until("the metrics of the receiver that is gone are gone", gone).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restart_without_its_receiver_leaves_open_reaches_a_person() {
    let pager = pager().await;
    let home = Home::new(&config(&pager, "a"));
    let squelch = home.serve().await;
    let outage = outage("o");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&outage))).await;
    shown(&pager, "the page", |i| i.len() == 1).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
    home.configure(&renamed(&pager, "b"));
    let squelch = home.serve().await;
    squelch.child.line(&["level=ERROR", "receiver=pager", "Put the integration back"]).await;
    squelch.hook(&body("http://am-0", &[outage.resolved()])).await;
    let told = |i: &[Incident]| i.iter().any(|i| i.details.to_string().contains("SquelchIncidentOrphaned"));
    shown(&pager, "an incident about what is left open", told).await;
    let incidents = pager.incidents();
    let text = incidents.iter().find(|i| told(std::slice::from_ref(i))).unwrap().details.to_string();
    for says in ["pager", "webhook[0]", "outage="] {
        assert!(text.contains(says), "{says} not in {text}");
    }
    assert_eq!(
        squelch.scrape().await.sum("squelch_incidents", &[("receiver", "pager"), ("state", "closing")]),
        1.0
    );
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_whose_end_no_receiver_has_accepted_is_closing() {
    let pager = pager().await;
    let home = Home::new(&config(&pager, "a"));
    let squelch = home.serve().await;
    let outage = outage("o");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&outage))).await;
    shown(&pager, "the page", |i| i.len() == 1).await;
    pager.script(Fault { next: 1000, answer: Some(503), ..Fault::default() });
    squelch.hook(&body("http://am-0", &[outage.resolved()])).await;
    let said = async |what: &[&str]| {
        let url = format!("--url=http://{}", squelch.address);
        let args = what.iter().map(|arg| (*arg).to_owned()).chain([url]).collect();
        ended_well(what, command(args).await)
    };
    let closed = async || {
        let key =
            squelch.get("/api/v1/incidents?state=closing").await.json()["incidents"][0]["dedupKey"].clone();
        let shown = said(&["incident", "show", key.as_str()?]).await;
        shown.contains("Closed").then_some(shown)
    };
    let shown = until("the history has the end", closed).await;
    assert!(shown.contains("State         closing"), "{shown}");
    assert!(said(&["incidents"]).await.contains("closing"));
    assert_eq!(squelch.stop().await.code(), Some(0));
}
