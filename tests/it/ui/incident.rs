//! The page of an incident from its page to its review, and the history.

use serde_json::{Value, json};

use super::browser::{Browser, CONTRAST, DESK, Look, STRUCTURE, TOO_WIDE};
use super::hostile::body;
use crate::e2e::squelch::Home;
use crate::e2e::until;

const CONFIG: &str = "
route: {receiver: console, group_by: [service], group_wait: 0s}
receivers:
  - {name: console, console_configs: [{}]}
  - {name: boss, webhook_configs: [{url: 'http://127.0.0.1:9/'}]}
severities:
  label: severity
  levels:
    - {name: critical, never_hold: true, respond_within: 5m, escalate_to: boss, description: Customers cannot buy}
    - {name: warning}
noise:
  default: {resolve_hold: 0s}
";

fn alerts(status: &str) -> Value {
    let labels = [
        json!({"alertname": "Latency", "service": "checkout", "instance": "b", "severity": "warning"}),
        json!({"alertname": "ErrorRate", "service": "checkout", "instance": "a", "severity": "critical"}),
    ];
    let annotations = json!({
        "summary": "One request in ten fails",
        "runbook_url": "https://runbooks.example/errors",
        "dashboard_url": "javascript:window.pwned=1",
    });
    let mut body = body(&labels, &annotations);
    for alert in body["alerts"].as_array_mut().unwrap() {
        alert["status"] = status.into();
        alert["generatorURL"] = "http://prometheus:9090/graph?g0.expr=up".into();
        if status == "resolved" {
            alert["endsAt"] = "2026-11-25T01:00:00Z".into();
        }
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_acknowledged_noted_closed_and_reviewed() {
    let home = Home::new(CONFIG);
    let squelch = home.serve().await;
    squelch.hook(&alerts("firing")).await;
    let open = until("the history has it", async || {
        let page = squelch.get("/api/v1/incidents/history").await.json();
        let incident = page["incidents"].as_array()?.first()?.clone();
        incident["notifiedAt"].is_string().then_some(incident)
    });
    let key = open.await["dedupKey"].as_str().unwrap().to_owned();

    // All of it is there without a script, and a short key leads to it.
    let page = squelch.get(&format!("/incident?key={}", &key[..8])).await;
    for text in [
        "One request in ten fails",
        "respond within 5m",
        "Customers cannot buy",
        "href=\"https://runbooks.example/errors\"",
        "href=\"http://prometheus:9090/graph?g0.expr=up\"",
        "action=\"./incident/acknowledge\"",
        "accepted the page",
        "Squelch has less than one day of history",
        "Next: it <bdi>escalates to boss</bdi>",
        "unless a person acknowledges it",
        "<title>(1) ErrorRate, Latency",
        "Was this page useful?",
        "<details class=\"technical\" id=\"technical\">",
    ] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    assert!(!page.body.contains("javascript:"), "no link of a sender runs a script");
    let rules = page.body.split("id=\"rules\"").nth(1).unwrap();
    let (critical, warning) = (rules.find(">ErrorRate</bdi>"), rules.find(">Latency</bdi>"));
    assert!(critical.is_some() && critical < warning, "the worst rule stands first: {rules}");
    let (acknowledge, link) = (page.body.find("id=\"acknowledge\""), page.body.find("runbooks.example"));
    assert!(acknowledge.is_some() && acknowledge < link, "the action stands above the links: {}", page.body);
    let stale = squelch.get(&format!("/incident?key={key}&said=acknowledged")).await.body;
    assert!(!stale.contains("class=\"said\""), "an address says nothing about an action: {stale}");
    let now = squelch.get("/").await.body;
    assert!(now.contains("escalates to boss") && now.contains("<span class=\"sev high\">critical"), "{now}");

    let Some(browser) = Browser::start(DESK).await else { return };
    browser.open(&format!("http://{}/incident?key={key}", squelch.address)).await;
    // The page is none of the views.
    let lacks = json!(["nav[aria-label=Views] a[aria-current=page]: 0"]);
    assert_eq!(browser.run(STRUCTURE).await, lacks);
    browser.click("#acknowledge").await;
    browser
        .wait("it is said", "return document.querySelector('.said')?.textContent.includes('acknowledged');")
        .await;
    browser
        .wait(
            "it is shown",
            "return document.querySelector('#live').textContent.includes('acknowledged the incident');",
        )
        .await;
    // The message belongs to the action, and not to the address.
    browser.run("location.reload();").await;
    browser
        .wait(
            "it is said once",
            "return document.readyState === 'complete' && !document.querySelector('.said');",
        )
        .await;
    let escalates = "return document.querySelector('.stand').textContent.includes('escalates');";
    assert_eq!(browser.run(escalates).await, json!(false), "a person has it");
    browser.write("[name=note]", "rolled back\nto release 11").await;
    browser.write("form [name=by]:not([type=hidden])", "ada").await;
    browser.click("#notes button").await;
    browser
        .wait("the note is shown", "return document.querySelector('ol.story')?.textContent.includes('ada: rolled back to release 11');")
        .await;
    let note = browser.run("return document.querySelector('#notes .note .lines').innerText;").await;
    assert_eq!(note, json!("rolled back\nto release 11"), "with its lines");
    // A refresh keeps what a person writes.
    browser.write("[name=note]", "half a note").await;
    browser.run("window.old = document.querySelector('#live');").await;
    browser.wait("the page is fresh", "return document.querySelector('#live') !== window.old;").await;
    assert_eq!(
        browser.run("return document.querySelector('[name=note]').value;").await,
        json!("half a note")
    );
    browser.click("#useful [value=true]").await;
    browser
        .wait(
            "the answer is marked",
            "return !!document.querySelector('#useful [value=true][aria-pressed=true]');",
        )
        .await;

    squelch.hook(&alerts("resolved")).await;
    browser
        .wait(
            "the page shows the end by itself",
            "return document.querySelector('#live').textContent.includes('Squelch closed the incident');",
        )
        .await;
    assert_eq!(browser.run("return !document.querySelector('#acknowledge');").await, json!(true));
    browser.open(&format!("http://{}/history?q=errorrate", squelch.address)).await;
    assert_eq!(browser.run(STRUCTURE).await, json!([]));
    browser.click("tr[data-row] a").await;
    browser.wait("the history leads back", "return location.pathname === '/incident';").await;
    browser.close().await;
    for width in [768, 360] {
        let Some(browser) = Browser::start(Look { dark: true, width }).await else { return };
        for path in [format!("/incident?key={key}"), "/history".into()] {
            browser.open(&format!("http://{}{path}", squelch.address)).await;
            assert_eq!(browser.run(TOO_WIDE).await, json!(0), "{path} at {width}");
        }
        browser.close().await;
    }

    let review = squelch.get(&format!("/incident/review?key={key}")).await;
    for text in
        ["# Review: ErrorRate, Latency", "ada: rolled back to release 11", "| Closed | 20", "## Actions"]
    {
        assert!(review.body.contains(text), "{text}: {}", review.body);
    }
    let twin = squelch.get(&format!("/api/v1/incidents/{key}/review")).await.json();
    assert_eq!(twin["detail"]["alerts"].as_array().unwrap().len(), 2, "{twin:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_load_of_the_people_on_call_is_drawn() {
    let home = Home::new(CONFIG);
    let squelch = home.serve().await;
    squelch.hook(&alerts("firing")).await;
    until("the history has it", async || {
        let load = squelch.get("/api/v1/on-call").await.json();
        (load["receivers"][0]["incidents"] == 1).then_some(())
    })
    .await;
    let page = squelch.get("/on-call?span=7d").await;
    for text in [
        "console</bdi>",
        "<span>pages</span>",
        "has decisions since",
        "The line is the budget.",
        "by the start of the shift in UTC",
        "<span>100 %</span><span>50 %</span><span>0 %</span>",
        "time zone UTC",
    ] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    for width in [1280, 360] {
        let Some(browser) = Browser::start(Look { dark: width == 360, width }).await else { return };
        browser.open(&format!("http://{}/on-call", squelch.address)).await;
        assert_eq!(browser.run(STRUCTURE).await, json!([]));
        assert_eq!(browser.run(CONTRAST).await, json!([]));
        assert_eq!(browser.run(TOO_WIDE).await, json!(0), "at {width}");
        browser.close().await;
    }
}
