//! The incident, the history and on-call: under a route prefix, with ten thousand alerts, on every screen.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::browser::{Browser, CONTRAST, DESK, Look, STRUCTURE, TOO_WIDE};
use super::hostile::{CONFIG, body};
use crate::e2e::child::Child;
use crate::e2e::http::{self, Answer};
use crate::e2e::squelch::{Home, PROGRAM};
use crate::e2e::until;

/// A server whose pages are below `/a/b`.
async fn below(home: &Home) -> (Child, SocketAddr) {
    let config = format!("--config.file={}", home.path("squelch.yml").display());
    let storage = format!("--storage.path={}", home.path("data").display());
    let listen = "--web.listen-address=127.0.0.1:0";
    let args = ["serve", &config, &storage, listen, "--web.external-url=http://ops.example/a/b"];
    let child = Child::start("squelch", PROGRAM, &args).unwrap();
    let line = child.line(&["msg=listening"]).await;
    let address = line.split(' ').find_map(|field| field.strip_prefix("address=")).unwrap().parse().unwrap();
    (child, address)
}

/// The key of the one incident, once the history has its page.
async fn key_of(address: SocketAddr, prefix: &str) -> String {
    let path = format!("{prefix}/api/v1/incidents/history");
    let paged = until("the history has it", async || {
        let page = http::get(address, &path).await.unwrap().json();
        let incident = page["incidents"].as_array()?.first()?.clone();
        incident["notifiedAt"].is_string().then_some(incident)
    });
    paged.await["dedupKey"].as_str().unwrap().to_owned()
}

/// Posts a form as a browser without scripts does.
async fn form(address: SocketAddr, path: &str, body: &str) -> Answer {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    http::send(address, &head, body.as_bytes()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_incident_and_its_forms_work_under_a_prefix() {
    let home = Home::new(CONFIG);
    let (_child, address) = below(&home).await;
    let labels = [
        json!({"alertname": "Disk", "host": "a", "severity": "critical"}),
        json!({"alertname": "Slow", "host": "b", "severity": "warning"}),
    ];
    let alerts = body(&labels, &json!({"summary": "it is full"})).to_string();
    let taken = http::post(address, "/a/b/alertmanager/webhook", alerts.as_bytes()).await.unwrap();
    assert_eq!(taken.status, 200, "{}", taken.body);
    let key = key_of(address, "/a/b").await;

    // Without a script: each form leads back below the prefix, because its answer is relative.
    let page = http::get(address, &format!("/a/b/incident?key={key}")).await.unwrap().body;
    let forms = [("acknowledge", ""), ("acknowledge", "&back=true"), ("note", "&note=seen")];
    for (path, more) in forms.into_iter().chain([("useful", "&useful=true")]) {
        assert!(page.contains(&format!("action=\"./incident/{path}\"")), "{path}: {page}");
        let filled = format!("key={key}&by=ada{more}");
        let answer = form(address, &format!("/a/b/incident/{path}"), &filled).await;
        assert_eq!(answer.status, 303, "{path}: {}", answer.body);
        assert!(answer.head.contains(&format!("location: ../incident?key={key}")), "{}", answer.head);
    }
    let withheld = http::get(address, "/a/b/?tab=withheld").await.unwrap().body;
    let alert = withheld.split("name=\"alert\" value=\"").nth(1).and_then(|rest| rest.get(..32)).unwrap();
    let released = form(address, "/a/b/act/release", &format!("alert={alert}&receiver=console&by=ada")).await;
    assert_eq!(released.status, 303, "{}", released.body);
    assert!(released.head.contains("location: ../\r\n"), "{}", released.head);
    assert!(released.head.contains("set-cookie: squelch-said=released; path=/;"), "{}", released.head);

    let Some(browser) = Browser::start(DESK).await else { return };
    let at = |path: &str| format!("http://{address}/a/b{path}");
    let below = "const at = (e) => new URL(e.action ?? e.href, location.href); \
                 return Array.from(document.querySelectorAll('a[href], form[action]'), at) \
                 .filter((url) => url.host === location.host && !url.pathname.startsWith('/a/b/')) \
                 .map(String);";
    for path in [format!("/incident?key={key}"), "/history".into(), "/on-call".into()] {
        browser.open(&at(&path)).await;
        assert_eq!(browser.run(below).await, json!([]), "{path} leads out of the prefix");
        let dressed = "return getComputedStyle(document.querySelector('.top')).display === 'flex';";
        assert_eq!(browser.run(dressed).await, json!(true), "{path}");
    }
    browser.open(&at("/history?q=disk")).await;
    browser.click("tr[data-row] a").await;
    browser.wait("the history leads to it", "return location.pathname === '/a/b/incident';").await;
    let said = |text: &str| {
        format!(
            "return location.pathname === '/a/b/incident' \
             && document.querySelector('.said')?.textContent.includes('{text}');"
        )
    };
    browser.click("#acknowledge").await;
    browser.wait("it is acknowledged", &said("The incident is acknowledged")).await;
    browser.write("[name=note]", "under a prefix").await;
    browser.click("#notes button").await;
    browser.wait("the note is shown", "return document.body.innerText.includes('under a prefix');").await;
    browser.click("#useful [value=false]").await;
    let marked = "return !!document.querySelector('#useful [value=false][aria-pressed=true]');";
    browser.wait("the answer is marked", marked).await;
    let review = "return fetch(document.querySelector('a[download]').href).then((answer) => answer.text());";
    let review = browser.run(review).await;
    assert!(review.as_str().unwrap().contains("under a prefix"), "{review}");
    browser.close().await;
}

/// One incident of ten thousand alerts, on a server.
async fn ten_thousand(status: &str, squelch: &crate::e2e::squelch::Squelch) {
    for part in 0..20 {
        let labels: Vec<Value> = (0..500)
            .map(|n| {
                let (host, rule) = (format!("h{}", part * 500 + n), format!("Rule{}", n % 30));
                json!({"alertname": rule, "host": host, "severity": "critical", "service": "checkout"})
            })
            .collect();
        let mut body = body(&labels, &json!({"summary": "One request in ten fails"}));
        for alert in body["alerts"].as_array_mut().unwrap() {
            alert["status"] = status.into();
            if status == "resolved" {
                alert["endsAt"] = "2026-11-25T01:00:00Z".into();
            }
        }
        squelch.hook(&body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_of_ten_thousand_alerts_is_drawn_on_every_screen_with_and_without_scripts() {
    let home = Home::new(
        "route: {receiver: console, group_by: [service], group_interval: 1s}\n\
         receivers: [{name: console, console_configs: [{}]}]\n\
         noise: {default: {resolve_hold: 0s, growth: 0}}\n",
    );
    let squelch = home.serve().await;
    ten_thousand("firing", &squelch).await;
    let key = key_of(squelch.address, "").await;
    let path = format!("/incident?key={key}");
    let url = format!("http://{}{path}", squelch.address);
    let size = async |path: &str| {
        let answer = squelch.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(answer.body.len() < 200_000, "{path}: {} bytes", answer.body.len());
        answer.body
    };
    assert!(size(&path).await.contains("10000"), "all are counted");
    size(&format!("{path}&page=200")).await;
    for script in [true, false] {
        for width in [1280, 768, 360] {
            let look = Look { dark: width == 360, width };
            let browser = match script {
                true => Browser::start(look).await,
                false => Browser::without_script(look).await,
            };
            let Some(browser) = browser else { return };
            browser.open(&url).await;
            let runs = browser.run("return typeof window.htmx === 'undefined';").await;
            assert_eq!(runs, json!(!script), "at {width}");
            assert_eq!(browser.run(TOO_WIDE).await, json!(0), "at {width}, scripts: {script}");
            let lacks = json!(["nav[aria-label=Views] a[aria-current=page]: 0"]);
            assert_eq!(browser.run(STRUCTURE).await, lacks, "at {width}, scripts: {script}");
            assert_eq!(browser.run(CONTRAST).await, json!([]), "at {width}, scripts: {script}");
            let drawn = browser.run("return document.querySelectorAll('*').length;").await.as_u64().unwrap();
            assert!(drawn < 2_500, "at {width}: {drawn} elements");
            let there = "return ['#acknowledge', 'a[download]', '.lanes', '#rules', 'table.rows'] \
                         .filter((part) => !document.querySelector(part));";
            assert_eq!(browser.run(there).await, json!([]), "at {width}, scripts: {script}");
            browser.close().await;
        }
    }
    ten_thousand("resolved", &squelch).await;
    until("it is closed", async || {
        let detail = squelch.get(&format!("/api/v1/incidents/{key}")).await.json();
        detail["incident"]["closedAt"].is_string().then_some(())
    })
    .await;
    assert!(size(&path).await.contains("Squelch closed the incident"));
    size(&format!("/incident/review?key={key}")).await;
}

/// Takes the pictures of the incident, the history and on-call in `docs/ui/`: docs/ui.md has the command.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes pictures for the documentation"]
async fn the_incident_the_history_and_on_call_are_pictured() {
    let demo = Child::start("demo", PROGRAM, &["demo", "--seconds", "150"]).unwrap();
    let line = demo.line(&["pages ", "http://"]).await;
    let url = line.split_whitespace().last().unwrap().to_owned();
    let address: SocketAddr = url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
    let labels = [json!({"alertname": "CheckoutDown", "service": "checkout", "instance": "shop-1",
        "severity": "critical"})];
    let annotations = json!({"summary": "Checkout answers 43 % of the requests with an error",
        "runbook_url": "https://runbooks.example/CheckoutDown",
        "dashboard_url": "https://grafana.example/d/checkout"});
    let mut alert = body(&labels, &annotations);
    alert["alerts"][0]["generatorURL"] = json!("http://prometheus:9090/graph?g0.expr=up");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    alert["alerts"][0]["startsAt"] = json!(squelch::model::Timestamp::from_millis(now - 40_000).to_string());
    let alert = alert.to_string();
    let taken = http::post(address, "/alertmanager/webhook", alert.as_bytes()).await.unwrap();
    assert_eq!(taken.status, 200, "{}", taken.body);
    let incident = until("an incident with a timeline", async || {
        let page = http::get(address, "/api/v1/incidents/history?words=CheckoutDown").await.unwrap().json();
        let incident = page["incidents"].as_array()?.first()?.clone();
        incident["notifiedAt"].is_string().then_some(incident)
    })
    .await;
    let key = incident["dedupKey"].as_str().unwrap();
    let incident = format!("incident?key={key}");
    let pages = [("incident", &*incident), ("history", "history"), ("on-call", "on-call")];
    let phone = Look { dark: false, width: 360 };
    for (look, suffix, pages) in [(DESK, "light", &pages[..]), (phone, "phone", &pages[..1])] {
        let browser = Browser::start(look).await.expect("pictures need Chromium");
        for (name, path) in pages {
            browser.open(&format!("{url}{path}")).await;
            browser.shoot(&format!("{name}-{suffix}.png")).await;
        }
        browser.close().await;
    }
}
