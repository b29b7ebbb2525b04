//! The commands that read and silence, against a running server.

use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::Value;

use squelch::model::Duration as Span;

use super::child::Child;
use super::sender::{Told, body, now};
use super::squelch::{Home, PROGRAM, Squelch, command as run, ended_well};
use super::until;

const CONFIG: &str = "\
route: {receiver: console, group_by: [alertname]}
receivers: [{name: console, console_configs: [{}]}]
noise: {default: {budget: {pages: 2, per: 12h}, limit: {pages: 0}, storm: {start: 0}}}
self_check: {enabled: false}
";

/// The output of a command about a server. It must end well.
async fn says(squelch: &Squelch, args: &[&str]) -> String {
    ended_well(args, asks(squelch, args).await)
}

async fn asks(squelch: &Squelch, args: &[&str]) -> Output {
    let url = format!("--url=http://{}", squelch.address);
    run(args.iter().map(|arg| (*arg).to_owned()).chain([url]).collect()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_incidents_are_listed() {
    let home = Home::new(CONFIG);
    let squelch = home.serve().await;
    let down = [Told::fires("Down", "host", "a"), Told::fires("Down", "host", "b\u{1b}[31m\nx")];
    squelch.hook(&body("http://am-0", &down[..1])).await;
    squelch.hook(&body("http://am-0", &down)).await;
    squelch.hook(&body("http://am-0", &[Told::fires("Slow", "host", "a")])).await;
    let paged = async || {
        let said = says(&squelch, &["incidents", "--state=paged"]).await;
        (said.lines().count() == 3).then_some(said)
    };
    let incidents = until("both are paged", paged).await;
    assert!(incidents.starts_with("State"), "{incidents}");
    for part in ["paged", "console", "2/2", "repeats ", "Down (", "Slow ("] {
        assert!(incidents.contains(part), "{part}: {incidents}");
    }
    let alerts = says(&squelch, &["alerts", "Down"]).await;
    assert!(alerts.lines().count() == 3 && !alerts.contains('\u{1b}'), "{alerts:?}");
    let one = says(&squelch, &["alerts", "Down", "host=a", "-o", "json"]).await;
    let one: Value = serde_json::from_str(&one).unwrap();
    assert_eq!(one.as_array().unwrap().len(), 1, "{one:#}");
    assert_eq!(one[0]["receivers"][0]["state"], "paged");
    squelch.hook(&body("http://am-0", &[down[0].resolved()])).await;
    assert_eq!(says(&squelch, &["alerts", "Down"]).await.lines().count(), 2, "what fires");
    let over = says(&squelch, &["alerts", "--status=resolved", "-o=json"]).await;
    assert!(over.contains("\"host\": \"a\""), "{over}");
    // The first digits of a key name an incident everywhere.
    let listed = says(&squelch, &["incidents", "-o=json"]).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let down =
        listed.as_array().unwrap().iter().find(|i| i["title"].as_str().unwrap().contains("Down")).unwrap();
    let key = &down["dedupKey"].as_str().unwrap()[..12];
    let shown = async || {
        let output = asks(&squelch, &["incident", "show", key]).await;
        let said = String::from_utf8(output.stdout).unwrap();
        said.contains("Notified").then_some(said)
    };
    let shown = until("the history has it", shown).await;
    let title = squelch::decision_log::plain(down["title"].as_str().unwrap());
    assert!(shown.starts_with(&format!("{title}\n")), "the title of today is {title}: {shown}");
    for part in ["Down (", "State         open", "Receiver      console", "Timeline", " ago)", key] {
        assert!(shown.contains(part) && !shown.contains('\u{1b}'), "{part}: {shown}");
    }
    assert!(says(&squelch, &["explain", key]).await.contains("Down"), "the decisions of the incident");
    let review = says(&squelch, &["incident", "export", key]).await;
    assert!(review.starts_with("# ") && review.contains("Down"), "{review}");
    let unknown = asks(&squelch, &["incident", "show", "0000000"]).await;
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.status.code() == Some(1) && said.contains("no incident has this key"), "{said}");
    assert_eq!(says(&squelch, &["incidents", "--closed"]).await, "No incident matches.\n", "none is closed");
    // Where the server is may stand in the environment or in a file, and a flag wins.
    let folder = home.path(".config/squelch");
    std::fs::create_dir_all(&folder).unwrap();
    let client = |text: &str| std::fs::write(folder.join("config.yml"), text).unwrap();
    let url = format!("http://{}", squelch.address);
    let bare = async |args: &[&str], environment: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(args).env("HOME", home.path("")).env("SQUELCH_URL", environment);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    client("url: http://127.0.0.1:1\noutput: json\n");
    let listed = bare(&["incidents"], &url).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed:#}");
    assert_eq!(
        bare(&["incidents"], "").await.status.code(),
        Some(1),
        "nothing listens at the URL of the file"
    );
    client("urls: http://127.0.0.1:1\n");
    let refused = bare(&["incidents"], &url).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(2) && why.contains("config.yml:1") && why.contains("urls"),
        "{why}"
    );
    assert_eq!(bare(&["check-config", "-"], &url).await.status.code(), Some(1), "it reads no client file");
    // A watch draws again, and Ctrl-C ends it.
    let args = ["incidents", "--watch", "--color=always", &format!("--url={url}")];
    let mut watch = Child::start("watch", PROGRAM, &args).unwrap();
    watch.line(&["As of"]).await;
    let drawn = async || (watch.said().matches("As of").count() >= 2).then_some(());
    until("it draws again", drawn).await;
    watch.signal(Signal::INT);
    assert_eq!(watch.ended().await.code(), Some(0));
    let said = watch.said();
    assert!(said.contains("\u{1b}[31mpaged\u{1b}[0m") && said.contains(" ago)"), "{said}");
    for (args, code, says) in [
        (vec!["alerts", "a", "b"], 2, "b"),
        (vec!["alerts", "--limit=0"], 2, "zero"),
        (vec!["incidents", "--limit=0"], 2, "zero"),
        (vec!["alerts", "--state=open"], 1, "passing, paged"),
        (vec!["incidents", "--state=open"], 1, "superseded"),
        (vec!["report", "--since=0s"], 2, "such as 7d"),
    ] {
        let output = asks(&squelch, &args).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(says), "{args:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silences_are_made_listed_changed_and_ended_as_with_amtool() {
    let home = Home::new(CONFIG);
    let squelch = home.serve().await;
    let id = says(&squelch, &["silence", "add", "Down", "host=~a|b", "-c", "disk swap", "-d", "2h"]).await;
    let id = id.trim();
    let listed = says(&squelch, &["silence", "query"]).await;
    for part in [id, "alertname=\"Down\" host=~\"a|b\"", "active", "ada", "disk swap"] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    let quiet = async |args: &[&str]| {
        says(&squelch, &[&["silence", "query", "-q"], args].concat()).await.trim().to_owned()
    };
    assert_eq!(quiet(&[]).await, id);
    assert_eq!(quiet(&["host=c"]).await, "");
    assert_eq!(quiet(&["--within=1h"]).await, "");
    assert_eq!(quiet(&["--within=3h", "--created-by=ada"]).await, id);
    let same = says(&squelch, &["silence", "update", id, "--duration=30m", "--comment=nearly done"]).await;
    assert_eq!(same.trim(), id, "what it silences is the same");
    assert_eq!(quiet(&["--within=1h"]).await, id);
    assert!(says(&squelch, &["silence", "query", "-o=json"]).await.contains("nearly done"));
    assert_eq!(says(&squelch, &["silence", "expire", id]).await, "");
    assert_eq!((quiet(&[]).await, quiet(&["--expired"]).await), (String::new(), id.to_owned()));
    for (args, code, says) in [
        (vec!["silence", "add", "Down"], 2, "--comment"),
        (vec!["silence", "add", "-c", "x"], 2, "MATCHERS"),
        (vec!["silence", "add", "{}", "-c", "x"], 2, "Give one such as alertname=Down"),
        (vec!["silence", "add", "Down", "-c", "x", "--end=2001-01-01T00:00:00Z"], 2, "would end"),
        (vec!["silence", "add", "a=~", "-c", "x"], 1, "empty string"),
        (vec!["silence", "update", id], 2, "--duration"),
        (vec!["silence", "expire", "11111111-2222-4333-8444-555555555555"], 1, "there is no silence"),
    ] {
        let output = asks(&squelch, &args).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(says), "{args:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_is_read_back() {
    let home = Home::new(CONFIG);
    let squelch = home.serve().await;
    let mut down = Told::fires("Down", "host", "a");
    squelch.hook(&body("http://am-0", &[Told::fires("Slow", "host", "b")])).await;
    for _ in 0..3 {
        squelch.hook(&body("http://am-0", std::slice::from_ref(&down))).await;
        squelch.hook(&body("http://am-0", &[down.resolved()])).await;
        down = Told::fires("Down", "host", "a");
    }
    let live = says(&squelch, &["alerts", "--export"]).await;
    assert_eq!(live.lines().count(), 3, "each began, and one ended: {live}");
    assert_eq!(squelch.stop().await.code(), Some(0));
    let storage = format!("--storage.path={}", home.path("data").display());
    let config = format!("--config.file={}", home.path("squelch.yml").display());
    let all = run(vec!["alerts".into(), "--export".into(), storage.clone()]).await;
    let only = run(vec!["alerts".into(), "Down".into(), "--export".into(), storage.clone()]).await;
    let report = async |what: String| {
        let output = run(vec!["backtest".into(), config.clone(), what, "-o=json".into()]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let written = |name: &str, text: &[u8]| {
        std::fs::write(home.path(name), text).unwrap();
        format!("--history={}", home.path(name).display())
    };
    let of_file = report(written("all.jsonl", &all.stdout)).await;
    let of_journal = report(storage).await;
    assert_eq!(of_file["squelch"]["pages"], of_journal["squelch"]["pages"]);
    assert_eq!(of_file["history"]["observations"], of_journal["history"]["observations"]);
    assert!(of_file["squelch"]["pages"].as_u64().unwrap() >= 2, "{of_file:#}");
    let of_some = report(written("some.jsonl", &only.stdout)).await;
    let (some, every) = (&of_some["history"]["observations"], &of_file["history"]["observations"]);
    assert!(some.as_u64().unwrap() == 6 && every.as_u64() > some.as_u64(), "{some} of {every}");
    let of_live = report(written("live.jsonl", live.as_bytes())).await;
    assert_eq!(of_live["history"]["observations"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_says_what_was_removed_and_what_would_calm_it() {
    let home = Home::new(&CONFIG.replace("[alertname]", "[alertname, host]"));
    let squelch = home.serve().await;
    for _ in 0..6 {
        let flaps = Told::fires("Flaps", "host", "a");
        let end = flaps.resolved();
        squelch.hook(&body("http://am-0", std::slice::from_ref(&flaps))).await;
        squelch.hook(&body("http://am-0", &[end])).await;
    }
    squelch
        .hook(&body("http://am-0", &[Told::fires("Down", "host", "a"), Told::fires("Gone", "host", "a")]))
        .await;
    // Each blip is a page of its own.
    for blip in ["a", "b", "c", "d"] {
        let fires = Told::fires("Blip", "host", blip);
        let end = fires.resolved();
        squelch.hook(&body("http://am-0", &[fires])).await;
        squelch.hook(&body("http://am-0", &[end])).await;
    }
    let told = async || {
        let said = says(&squelch, &["report", "--since=1h"]).await;
        let all = ["Flaps", "flapping", "Gone", "- alert: \"Blip\"\n"];
        all.iter().all(|part| said.contains(part)).then_some(said)
    };
    let said = until("the decision log has it", told).await;
    for part in
        ["% interrupted nobody", "Dispositions\n", "console", "of 2 in the busiest 12h, over budget", "page "]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains("# for: +1m on Blip: 4 of 4 pages fewer, no page later\n"), "{said}");
    assert!(!said.contains("- alert: \"Flaps\"\n"), "no suggestion without a price: {said}");
    let json = says(&squelch, &["report", "--since=1h", "-o=json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json["alerts"].as_array().unwrap().iter().any(|a| a["alertname"] == "Down"), "{json:#}");
    assert_eq!(squelch.stop().await.code(), Some(0));
    let storage = format!("--storage.path={}", home.path("data").display());
    let config = format!("--config.file={}", home.path("squelch.yml").display());
    let output = run(["report", "--since=1h", &storage, &config].map(str::to_owned).to_vec()).await;
    let left = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && left.contains("Flaps") && left.contains("of 2 in the busiest 12h"),
        "{left}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_observed_is_told_apart_from_what_was_sent() {
    let home = Home::new(
        &CONFIG.replace("{budget: {pages: 2, per: 12h}", "{mode: observe, budget: {pages: 2, per: 12h}"),
    );
    let squelch = home.serve().await;
    squelch
        .hook(&body("http://am-0", &[Told::fires("Down", "host", "a"), Told::fires("Slow", "host", "b")]))
        .await;
    let listed = async || {
        let said = says(&squelch, &["incidents"]).await;
        said.contains("paged (as sent)").then_some(said)
    };
    let said = until("what was sent is listed", listed).await;
    assert_eq!(said.matches("observed (would be paged)").count(), 2, "{said}");
    let reported = async || {
        let said = says(&squelch, &["report"]).await;
        said.contains("only observed").then_some(said)
    };
    let said = until("the report says what would have been", reported).await;
    assert!(
        said.contains("2 observations in, 1 page decided") && said.contains("2 pages would have gone out"),
        "{said}"
    );
    let said = says(&squelch, &["explain", "Down"]).await;
    assert!(said.contains("only observed: would have paged, and opened incident"), "{said}");
    assert!(said.contains("Squelch forwards the sender's statement"), "{said}");
    let alerts = says(&squelch, &["alerts", "Down"]).await;
    assert!(alerts.contains("paged (as sent)") && alerts.contains("observed (would be paged)"), "{alerts}");
    // The sender pages anew whenever it fires again. Squelch would not have.
    for _ in 0..4 {
        let slow = Told::fires("Slow", "host", "b");
        squelch.hook(&body("http://am-0", &[slow.resolved()])).await;
        squelch.hook(&body("http://am-0", &[Told::fires("Slow", "host", "b")])).await;
    }
    let saved = async || {
        let page = squelch.get("/noise?span=1h").await.body;
        page.contains("that Squelch would have saved").then_some(page)
    };
    let page = until("the page lists the pages that Squelch would have saved", saved).await;
    let list = page.split("Pages that Squelch would have saved").nth(1).unwrap();
    let list = list.split("</table>").next().unwrap();
    assert!(
        page.contains(" as the senders sent them.") && list.contains("Slow") && !list.contains("Down"),
        "{list}"
    );
}

/// A rule that writes its value into a label makes a new alert at each evaluation.
#[tokio::test(flavor = "multi_thread")]
async fn a_label_whose_value_changes_is_named_in_the_log_the_report_and_the_page() {
    let home = Home::new(CONFIG);
    let squelch = home.serve().await;
    let stated = |n: u32, firing: bool| {
        let (start, ahead) = (now() - Span::from_mins(1), now() + Span::from_mins(4));
        let labels = serde_json::json!({"alertname": "DiskFull", "host": "a", "value": format!("80.{n}")});
        serde_json::json!({"labels": labels, "startsAt": start, "endsAt": if firing { ahead } else { now() }})
    };
    for n in 0..6 {
        let said = if n == 0 { vec![stated(0, true)] } else { vec![stated(n - 1, false), stated(n, true)] };
        let said = Value::Array(said).to_string();
        assert_eq!(squelch.post("/api/v2/alerts", said).await.status, 200);
    }
    let line = "ignore_labels: [value]";
    let logged = async || {
        let said = squelch.child.said();
        (said.contains("DiskFull") && said.contains(line)).then_some(())
    };
    until("the log names the rule and the label", logged).await;
    let told = async || {
        let said = says(&squelch, &["report", "--since=1h"]).await;
        said.contains("DiskFull").then_some(said)
    };
    let said = until("the decision log has it", told).await;
    let row = said.lines().find(|row| row.contains(line)).unwrap_or_else(|| panic!("{said}"));
    assert!(row.contains("DiskFull") && row.contains("value") && row.contains('5'), "{row}");
    let noise = squelch.get("/api/v1/noise").await.json();
    assert_eq!(noise["changingLabels"][0]["alertname"], "DiskFull", "{noise:#}");
    assert_eq!(noise["changingLabels"][0]["yaml"], line, "{noise:#}");
    let page = squelch.get("/noise?span=1h").await.body;
    assert!(page.contains(line) && page.contains("changes at each evaluation"), "{page}");
    assert_eq!(squelch.stop().await.code(), Some(0));
}
