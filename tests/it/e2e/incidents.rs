//! The commands about incidents: their order and marks, one incident with all that is known, and the words of
//! the people who work on it.

use std::process::Output;

use serde_json::{Value, json};
use squelch::commands::fake_pager::Fault;

use super::squelch::{Home, Squelch, command, ended_well};
use super::{pager, until};

fn config(url: &str) -> String {
    format!(
        "\
route: {{receiver: night, group_by: [alertname]}}
receivers: [{{name: night, webhook_configs: [{{url: '{url}'}}]}}]
severities: {{levels: [{{name: critical}}, {{name: warning, hold: 0s}}]}}
noise: {{default: {{resolve_hold: 1h, limit: {{pages: 0}}, storm: {{start: 0}}}}}}
self_check: {{enabled: false}}
"
    )
}

async fn asks(squelch: &Squelch, args: &[&str]) -> Output {
    let url = format!("--url=http://ada:secret@{}", squelch.address);
    command(args.iter().map(|arg| (*arg).to_owned()).chain([url]).collect()).await
}

/// The output of a command that ends well.
async fn says(squelch: &Squelch, args: &[&str]) -> String {
    ended_well(args, asks(squelch, args).await)
}

/// An alert as Alertmanager states it.
fn alert(name: &str, severity: &str, firing: bool) -> Value {
    let now = squelch::node::clock::wall().to_string();
    json!({
        "status": if firing { "firing" } else { "resolved" }, "startsAt": now,
        "endsAt": if firing { Value::Null } else { json!(now) },
        "labels": {"alertname": name, "severity": severity, "host": "a"},
        "annotations": {"summary": format!("{name} of host a"), "dashboard_url": "https://dash.example/a"},
    })
}

async fn hook(squelch: &Squelch, alert: Value) {
    squelch.hook(&json!({"version": "4", "alerts": [alert]})).await;
}

/// The keys of the open incidents with these names, once their pages are accepted.
async fn keys(squelch: &Squelch, names: &[&str]) -> Vec<String> {
    let accepted = async || {
        let listed = squelch.get("/api/v1/incidents/history?state=open").await.json();
        let listed = listed["incidents"].as_array()?.clone();
        let key = |name: &&str| {
            let one = listed.iter().find(|one| one["title"].as_str().unwrap().contains(*name))?;
            one["notifiedAt"].is_string().then(|| one["dedupKey"].as_str().unwrap()[..12].to_owned())
        };
        names.iter().map(key).collect::<Option<Vec<String>>>()
    };
    until("the pages are accepted", accepted).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worst_incident_stands_first_and_a_list_says_what_it_leaves_out() {
    let pager = pager().await;
    let home = Home::new(&config(&pager.url("/webhook/x")));
    let squelch = home.serve().await;
    hook(&squelch, alert("CheckoutDown", "critical", true)).await;
    hook(&squelch, alert("DiskFills", "warning", true)).await;
    keys(&squelch, &["CheckoutDown", "DiskFills"]).await;
    says(&squelch, &["silence", "add", "DiskFills", "-c=swap", "-d=2h"]).await;
    let silenced = async || {
        let said = says(&squelch, &["incidents"]).await;
        said.contains(", silenced").then_some(said)
    };
    let listed = until("the silence is in force", silenced).await;
    let rows: Vec<&str> = listed.lines().collect();
    assert!(rows[1].contains("CheckoutDown") && !rows[1].contains("silenced"), "{listed}");
    assert!(rows[2].starts_with("paged, silenced") && rows[2].contains("DiskFills"), "{listed}");
    for (command, what) in [("incidents", "incident"), ("alerts", "alert")] {
        let output = asks(&squelch, &[command, "--limit=1"]).await;
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(why, format!("squelch: the list leaves out 1 {what}. Use --limit for more\n"));
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
        assert_eq!(says(&squelch, &[command, "Nothing"]).await, format!("No {what} matches.\n"));
    }
    let withheld = says(&squelch, &["alerts", "--state=withheld"]).await;
    assert_eq!(withheld, "No alert matches.\n", "the server knows the state of the help");
    let address = squelch.address;
    assert_eq!(squelch.stop().await.code(), Some(0));
    let url = format!("--url=http://ada:secret@{address}/");
    let output = command(vec!["incidents".into(), url]).await;
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = format!("cannot reach http://{address} (Connection refused). Set --url or SQUELCH_URL");
    assert!(output.status.code() == Some(1) && why.contains(&expected), "{why}");
}

/// The engine lists an incident up to 250 ms before the history has it.
#[tokio::test(flavor = "multi_thread")]
async fn an_incident_that_is_listed_can_be_shown_and_acknowledged_at_once() {
    let pager = pager().await;
    let home = Home::new(&config(&pager.url("/webhook/x")));
    let squelch = home.serve().await;
    for name in ["CheckoutDown", "DiskFills", "DatabaseDown", "CacheDown"] {
        hook(&squelch, alert(name, "critical", true)).await;
        let listed = async || {
            let listed = squelch.get("/api/v1/incidents").await.json();
            let mut listed = listed["incidents"].as_array()?.clone().into_iter();
            let one = listed.find(|one| one["title"].as_str().unwrap().contains(name))?;
            Some(one["dedupKey"].as_str()?.to_owned())
        };
        let key = until("the incident is listed", listed).await;
        let path = format!("/api/v1/incidents/{}", &key[..12]);
        let shown = squelch.get(&path).await;
        assert_eq!(
            (shown.status, &shown.json()["incident"]["dedupKey"]),
            (200, &json!(key)),
            "{}",
            shown.body
        );
        says(&squelch, &["incident", "acknowledge", &key[..12]]).await;
    }
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_acknowledges_and_notes_an_incident_and_sees_all_of_it() {
    let pager = pager().await;
    let home = Home::new(&config(&pager.url("/webhook/x")));
    let squelch = home.serve().await;
    hook(&squelch, alert("CheckoutDown", "critical", true)).await;
    let keys = keys(&squelch, &["CheckoutDown"]).await;
    let key = keys[0].as_str();
    let said = says(&squelch, &["incident", "acknowledge", key]).await;
    assert_eq!(said, format!("Incident {key} is acknowledged.\n"));
    says(&squelch, &["incident", "note", key, "rolled back\nto release 11", "--author=eve"]).await;
    let shown = async |part: &str| {
        let noted = async || {
            let said = says(&squelch, &["incident", "show", key]).await;
            said.contains(part).then_some(said)
        };
        until("the history has it", noted).await
    };
    let text = shown("eve: rolled back\n      to release 11\n").await;
    assert_eq!(text.matches("rolled back").count(), 1, "{text}");
    let page = format!("Page          http://{}/incident?key={key}", squelch.address);
    for part in [
        "State         open, paged, acknowledged by ada\n",
        "Alerts        1 of 1 fire\n",
        "Summary       CheckoutDown of host a (CheckoutDown)\n",
        "Dashboard     https://dash.example/a (CheckoutDown)\n",
        "firing  critical  CheckoutDown  {host=\"a\", severity=\"critical\"}\n",
        page.as_str(),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = says(&squelch, &["incident", "show", key, "-o=json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["incident"]["severity"], &json["open"]["state"]),
        (&json!("critical"), &json!("paged"))
    );
    let said = says(&squelch, &["incident", "acknowledge", key, "--take-back"]).await;
    assert_eq!(said, format!("Incident {key} is not acknowledged any more.\n"));
    hook(&squelch, alert("CheckoutDown", "critical", false)).await;
    let text = shown("open, resolving").await;
    for part in
        ["State         open, resolving\n", "Alerts        0 of 1 fire\n", "\nresolved  critical  Checkout"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let review = async || {
        let said = says(&squelch, &["incident", "export", key]).await;
        said.contains("because the acknowledgement was taken back at 20").then_some(said)
    };
    let review = until("the history has the end of the acknowledgement", review).await;
    assert!(review.contains(" UTC to now, because the incident is still open."), "{review}");
    let unknown = asks(&squelch, &["incident", "note", "000000", "x"]).await;
    assert_eq!(unknown.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_that_no_receiver_accepted_a_page() {
    let pager = pager().await;
    pager.script(Fault { next: 1000, answer: Some(400), path: "/webhook/bad".into(), ..Fault::default() });
    let home = Home::new(&config(&pager.url("/webhook/bad")));
    let squelch = home.serve().await;
    hook(&squelch, alert("CheckoutDown", "critical", true)).await;
    let refused = async || {
        let said = String::from_utf8(asks(&squelch, &["explain", "CheckoutDown"]).await.stdout).unwrap();
        said.contains("refused").then_some(said)
    };
    let said = until("the decision log has the refusal", refused).await;
    let why = "(no receiver has accepted the page, and night/webhook[0] refused it (clientError))";
    assert!(said.contains("decided to page, and opened incident") && said.contains(why), "{said}");
}
