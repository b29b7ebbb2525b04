//! Two processes on one PostgreSQL: one decides and pages, the other waits and takes over.

use rustix::process::Signal;
use squelch::commands::fake_pager::{FakePager, Fault};

use super::child::Child;
use super::http::Answer;
use super::sender::{Told, body};
use super::squelch::{Home, PROGRAM, Squelch};
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
    webhook_configs: [{{url: '{}', timeout: 15s}}]
noise: {{default: {{resolve_hold: 0s, storm: {{start: 0}}, limit: {{pages: 0}}}}}}
",
        database.url_file.display(),
        pager.url("/webhook/a")
    )
}

/// The name of a replica for the others.
fn name(squelch: &Squelch) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host} (pid {})", squelch.child.pid())
}

fn outage(name: &str) -> Told {
    Told::fires("Down", "outage", name)
}

async fn ready(squelch: &Squelch) {
    let ready = async || Some(squelch.get("/-/ready").await).filter(|a| a.status == 200);
    until("Squelch is ready", ready).await;
}

/// Waits until a replica decides.
async fn owns(squelch: &Squelch) {
    let owns = async || (squelch.scrape().await.value("squelch_storage_owner") == 1.0).then_some(());
    until("the replica owns the storage", owns).await;
}

/// Waits until no replica answers for the cluster any more, and until another one does.
async fn answers(squelch: &Squelch) {
    let answers = async || Some(squelch.get("/api/v1/incidents").await).filter(|a| a.status == 200);
    until("the replica answers for the cluster", answers).await;
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
    let second = two.serve().await;
    let standby = second.get("/-/ready").await;
    assert_eq!(standby.status, 200, "it accepts alerts");
    let owner = format!("as a standby: {} owns the database, by epoch 1", name(&first));
    assert!(standby.body.contains(&owner), "{}", standby.body);

    first.hook(&body("http://am", &[outage("delivered")])).await;
    each_once(&pager, 1).await;
    // The owner dies between the acknowledgement and the delivery.
    pager.script(Fault { next: 1, hang_ms: 600_000, ..Fault::default() });
    first.hook(&body("http://am", &[outage("on its way")])).await;
    until("the page is on its way", async || (pager.requests().total == 2).then_some(())).await;
    first.child.kill();
    owns(&second).await;
    each_once(&pager, 2).await;
    let taken = async || (second.scrape().await.value("squelch_storage_epoch") == 2.0).then_some(());
    until("the metrics say who owns it", taken).await;
    second.hook(&body("http://am", &[outage("delivered"), outage("new")])).await;
    each_once(&pager, 3).await;

    // Now in order: the lease is given back.
    let third = one.serve().await;
    assert_eq!(third.scrape().await.value("squelch_storage_owner"), 0.0);
    let mut second = second;
    second.child.signal(Signal::TERM);
    assert_eq!(second.child.ended().await.code(), Some(0));
    assert!(second.child.said().contains("the ownership of the database is given back"));
    owns(&third).await;
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
    let second = two.serve().await;
    // A page that the first one is to try again when it wakes.
    pager.script(Fault { next: 1, answer: Some(500), ..Fault::default() });
    first.hook(&body("http://am", &[outage("late")])).await;
    until("the page was refused", async || (pager.requests().total == 1).then_some(())).await;
    first.child.signal(Signal::STOP);
    owns(&second).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_accepts_alerts_and_answers_for_the_cluster() {
    let Some(server) = shared() else { return };
    let (pager, database) = (pager().await, server.database());
    let text = config(&pager, &database);
    let other = text.replace("timeout: 15s", "timeout: 14s");
    let homes = [Home::new(&text), Home::new(&format!("# The same.\n{text}")), Home::new(&other)];
    let owner = homes[0].serve().await;
    let (mut second, third) = (homes[1].serve().await, homes[2].serve().await);
    answers(&second).await;

    // Each accepts, and one decides.
    for (replica, outages) in [(&owner, ["a", "x"]), (&second, ["b", "x"]), (&third, ["c", "x"])] {
        replica.hook(&body("http://am", &outages.map(outage))).await;
    }
    each_once(&pager, 4).await;
    let taken = async || {
        let waiting = "SELECT count(*), (SELECT bytes FROM squelch_inbox) FROM squelch_handed";
        (server.sql(&database.name, &[waiting]) == "0|0").then_some(())
    };
    until("the inbox is empty", taken).await;

    // Each answers for all of them, and forwards changes too.
    let asked = "/api/v1/incidents";
    let incidents = third.get(asked).await.json();
    assert_eq!(incidents["incidents"].as_array().map(Vec::len), Some(4), "{incidents}");
    let same = async || {
        let of = |answer: Answer| answer.json()["incidents"].clone();
        (of(third.get(asked).await) == of(owner.get(asked).await)).then_some(())
    };
    until("both answer the same once the deliveries are known", same).await;
    assert!(second.get("/").await.body.contains("4"), "the page of a standby shows what is open");
    let silence = r#"{"matchers": [{"name": "outage", "value": "d", "isRegex": false}], "startsAt":
        "2020-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z", "createdBy": "me", "comment": "test"}"#;
    let made = third.post("/api/v2/silences", silence.to_owned()).await;
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!(owner.get("/api/v2/silences").await.json()[0]["comment"], "test");
    let cluster = async || {
        let cluster = second.get("/api/v1/cluster").await.json();
        let replicas = cluster["replicas"].as_array().cloned().unwrap_or_default();
        (replicas.len() == 3).then_some((cluster, replicas))
    };
    let (cluster, replicas) = until("all replicas are known", cluster).await;
    let owners: Vec<_> = replicas.iter().filter(|r| r["owner"] == true).map(|r| r["name"].clone()).collect();
    assert_eq!(owners, [name(&owner)], "{cluster}");
    assert_eq!((&cluster["storage"], &cluster["owner"]), (&"postgres".into(), &false.into()));
    let url = format!("http://{}", owner.address);
    assert!(replicas.iter().any(|r| r["url"] == url.as_str()), "{cluster}");
    let differ: Vec<_> =
        replicas.iter().filter(|r| r["configDiffers"] == true).map(|r| r["name"].clone()).collect();
    assert_eq!(differ, [name(&third)], "{cluster}");
    assert!(replicas.iter().all(|r| r["clockAheadSeconds"].as_f64().is_some_and(|by| by.abs() < 60.0)));
    let differs = async || {
        let (metric, replica) = ("squelch_cluster_replica_config_differs", name(&third));
        (owner.scrape().await.sum(metric, &[("replica", &replica)]) == 1.0).then_some(())
    };
    until("the metrics name the other configuration", differs).await;

    // An acknowledgement that comes in at a standby reaches the owner.
    let event = |action: &str| {
        serde_json::json!({
            "routing_key": "0123456789abcdef0123456789abcdef", "event_action": action, "dedup_key": "event",
            "payload": {"summary": "It is down", "source": "db1", "severity": "critical"}
        })
    };
    for (replica, action) in [(&third, "trigger"), (&second, "acknowledge")] {
        let answer = replica.post("/pagerduty/v2/enqueue", event(action).to_string()).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        each_once(&pager, 5).await;
    }
    let acknowledged = async || {
        let incidents = owner.get(asked).await.json()["incidents"].as_array().cloned().unwrap_or_default();
        (incidents.iter().filter(|i| !i["acknowledgedBy"].is_null()).count() == 1).then_some(())
    };
    until("the owner knows of the acknowledgement", acknowledged).await;
    let url = format!("--url=http://{}", second.address);
    let roles = async || {
        let url = url.clone();
        let list = move || std::process::Command::new(PROGRAM).args(["cluster", &url]).output().unwrap();
        let listed = tokio::task::spawn_blocking(list).await.unwrap();
        let said = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.status.success(), "{said}");
        ["owner", "standby", "gone"].map(|role| said.matches(&format!(" {role} ")).count())
    };
    assert_eq!(roles().await, [1, 2, 0]);

    // No replica owns the storage, and alerts are accepted all the same.
    let mut owner = owner;
    owner.child.kill();
    let away = second.get(asked).await;
    assert_eq!(away.status, 503);
    assert!(away.body.contains("Another replica takes over within 15 s"), "{}", away.body);
    second.hook(&body("http://am", &[outage("while nobody decides")])).await;
    third.hook(&body("http://am", &[outage("a").resolved()])).await;
    each_once(&pager, 6).await;
    shown(&pager, "one of them closed", |i| opened_and_closed(i) == (6, 1)).await;

    let gone = async || (roles().await == [1, 1, 1]).then_some(());
    until("the one that was killed is gone", gone).await;

    second.child.signal(Signal::TERM);
    assert_eq!(second.child.ended().await.code(), Some(0));
    assert_eq!(third.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_checks_who_calls_and_no_stranger_speaks_as_a_replica() {
    let Some(server) = shared() else { return };
    let (pager, database) = (pager().await, server.database());
    let users = "users: [{name: ann, role: read, authorization: {credentials: read-token}}]\n";
    let text = format!("{}{users}", config(&pager, &database));
    let homes = [Home::new(&text), Home::new(&text)];
    let (owner, standby) = (homes[0].serve().await, homes[1].serve().await);
    let asked = "/api/v1/incidents";
    assert_eq!(standby.get(asked).await.status, 401);
    let as_ann = [("authorization", "Bearer read-token")];
    until("the owner answers", async || {
        Some(standby.ask("GET", asked, &as_ann, "").await).filter(|a| a.status == 200)
    })
    .await;
    let refused = standby.ask("POST", "/api/v2/silences", &as_ann, "{}").await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    let secret = server.sql(&database.name, &["SELECT secret FROM squelch_owner"]);
    assert_eq!(secret.len(), 72);
    for (word, status) in [("", 401), ("guess", 401), (secret.as_str(), 200)] {
        assert_eq!(owner.ask("GET", asked, &[("squelch-replica", word)], "").await.status, status, "{word}");
    }
    assert_eq!(standby.stop().await.code(), Some(0));
    assert_eq!(owner.stop().await.code(), Some(0));
}
