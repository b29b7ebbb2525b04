//! The notices of a page about trouble: a receiver that refuses, a server that is gone, a profile that only
//! observes.

use serde_json::{Value, json};
use squelch::commands::fake_pager::{FakePager, Fault};

use super::browser::{Browser, CONTRAST, DESK, Look, STRUCTURE, TOO_WIDE};
use crate::e2e::sender::{Told, body};
use crate::e2e::squelch::{Home, Squelch};
use crate::e2e::until;

const PAGES: [&str; 8] =
    ["/", "/noise", "/decisions", "/flapping", "/routing", "/silences", "/incident?key=none", "/?q=%3D"];

async fn pager() -> FakePager {
    FakePager::bind("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

fn config(url: &str, more: &str) -> String {
    format!(
        "\
route: {{receiver: night, group_by: [alertname]}}
receivers: [{{name: night, webhook_configs: [{{url: '{url}'}}]}}]
severities: {{label: severity, levels: [{{name: critical}}, {{name: warning}}]}}
self_check: {{enabled: false}}
{more}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_page_is_told_on_every_page_until_it_is_over() {
    let pager = pager().await;
    pager.script(Fault { next: 1000, answer: Some(400), path: "/webhook/bad".into(), ..Fault::default() });
    let home = Home::new(&config(&pager.url("/webhook/bad"), "noise: {default: {resolve_hold: 0s}}\n"));
    let squelch = home.serve().await;
    let calm = squelch.get("/").await.body;
    assert!(!calm.contains("do not reach") && calm.contains("<title>Now"), "{calm}");
    let down = Told::fires("Down", "host", "a");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&down))).await;
    let told = async || {
        let page = squelch.get("/").await.body;
        page.contains("Pages do not reach").then_some(page)
    };
    let page = until("the page says so", told).await;
    for said in
        ["night", "webhook[0]", "clientError", "Correct its settings", "<title>(!) Now", "tries again"]
    {
        assert!(page.contains(said), "{said}: {page}");
    }
    for path in PAGES {
        assert!(squelch.get(path).await.body.contains("Pages do not reach"), "{path}");
    }
    let listed = squelch.get("/api/v1/incidents").await.json();
    assert_eq!(listed["incidents"][0]["refused"], json!(["webhook[0]"]), "{listed:#}");

    // A new start knows no failure. The dead letter does.
    assert!(squelch.stop().await.success());
    let squelch = home.serve().await;
    let page = squelch.get("/").await.body;
    assert!(page.contains("Pages do not reach") && page.contains("clientError"), "{page}");
    squelch.hook(&body("http://am-0", &[down.resolved()])).await;
    let over = async || (!squelch.get("/").await.body.contains("do not reach")).then_some(());
    until("there is nothing left to tell", over).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_cannot_be_reached_is_told_at_once() {
    // There is no listener any more.
    let gone = pager().await.url("/webhook/x");
    let home = Home::new(&config(&gone, ""));
    let squelch = home.serve().await;
    squelch.hook(&body("http://am-0", &[Told::fires("Down", "host", "a")])).await;
    let told = async || {
        let page = squelch.get("/noise").await.body;
        page.contains("do not reach").then_some(page)
    };
    let page = until("every page says so", told).await;
    for said in
        ["night", "has not taken 1 message", "The last error is", "Check that this machine reaches it"]
    {
        assert!(page.contains(said), "{said}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_does_not_look_like_a_quiet_one() {
    let home = Home::new(super::hostile::CONFIG);
    let squelch = home.serve().await;
    let address = squelch.address;
    let alert = json!({"alertname": "Disk", "host": "a", "severity": "critical"});
    squelch.hook(&super::hostile::body(&[alert], &json!({}))).await;
    let Some(browser) = Browser::start(DESK).await else { return };
    browser.open(&format!("http://{address}/")).await;
    browser.wait("it shows", "return document.querySelectorAll('tr[data-row]').length === 1;").await;
    let title = browser.run("return document.title;").await;
    assert_eq!(title, json!("(1) Now · Squelch"));
    assert!(squelch.stop().await.success());
    let lost = "const b = document.querySelector('#lost'); return !b.hidden && b.innerText;";
    let said = browser.wait("the page says so", lost).await;
    assert!(said.as_str().unwrap().starts_with("Connection lost since "), "{said}");
    let title = browser.run("return document.title;").await;
    assert_eq!(title, json!("Connection lost · (1) Now · Squelch"));
    assert_eq!(browser.run(CONTRAST).await, json!([]));
    browser.shoot("lost.png").await;
    browser.run("window.kept = true;").await;
    let _squelch = home.serve_on(address).await;
    browser.wait("it goes on by itself", "return document.querySelector('#lost').hidden;").await;
    let now = browser.run("return [document.title, window.kept === true];").await;
    assert_eq!(now, json!(["(1) Now · Squelch", true]));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_holds_the_page_and_not_the_news_that_the_server_is_gone() {
    let home = Home::new(super::hostile::CONFIG);
    let squelch = home.serve().await;
    let alert = json!({"alertname": "Disk", "host": "a", "severity": "critical"});
    squelch.hook(&super::hostile::body(&[alert], &json!({}))).await;
    let Some(browser) = Browser::start(DESK).await else { return };
    browser.open(&format!("http://{}/", squelch.address)).await;
    browser.wait("it shows", "return document.querySelectorAll('tr[data-row]').length === 1;").await;
    browser.run("getSelection().selectAllChildren(document.querySelector('tr[data-row] .what'));").await;
    browser.wait("it pauses", "return document.querySelector('#made').classList.contains('paused');").await;
    assert!(squelch.stop().await.success());
    browser.wait("it is told all the same", "return !document.querySelector('#lost').hidden;").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_observed_stands_apart_from_what_was_sent() {
    let pager = pager().await;
    let home = Home::new(&config(&pager.url("/webhook/x"), "noise: {default: {mode: observe}}\n"));
    let squelch = home.serve().await;
    squelch
        .hook(&body("http://am-0", &[Told::fires("Down", "host", "a"), Told::fires("Slow", "host", "b")]))
        .await;
    let sent = async || {
        let listed = squelch.get("/api/v1/incidents?state=paged").await.json();
        (listed["incidents"].as_array()?.len() == 1).then_some(listed)
    };
    let sent = until("one notification is sent on", sent).await;
    assert_eq!(sent["incidents"][0]["origin"], "sender", "{sent:#}");
    let would = squelch.get("/api/v1/incidents?state=observed").await.json();
    let would: Vec<(&Value, &Value)> =
        would["incidents"].as_array().unwrap().iter().map(|i| (&i["would"], &i["delivered"])).collect();
    assert_eq!(would, [(&json!("paged"), &json!([])), (&json!("paged"), &json!([]))]);
    for path in PAGES {
        assert!(squelch.get(path).await.body.contains("Observe mode"), "{path}");
    }
    let counted = async || {
        let noise = squelch.get("/api/v1/noise").await.json();
        (noise["observed"]["pages"] == 2).then_some(noise)
    };
    let noise = until("what would have been is counted", counted).await;
    assert_eq!((&noise["pages"], &noise["observed"]["came"]), (&json!(1), &json!(2)), "{noise:#}");
    let decided = squelch.get("/api/v1/decisions?observed=false").await.json();
    assert!(decided["decisions"].as_array().unwrap().iter().all(|d| d["observed"].is_null()), "{decided:#}");
    let Some(browser) = Browser::start(DESK).await else { return };
    browser.open(&format!("http://{}/", squelch.address)).await;
    let rows = "return Array.from(document.querySelectorAll('tr[data-row] td[data-label=State]'), (e) => e.innerText);";
    let rows = browser.run(rows).await;
    assert_eq!(rows, json!(["critical paged as sent", "critical would be paged", "critical would be paged"]));
    for path in ["", "noise?span=1h", "decisions"] {
        browser.open(&format!("http://{}/{path}", squelch.address)).await;
        assert_eq!(browser.run(STRUCTURE).await, json!([]), "/{path}");
        assert_eq!(browser.run(CONTRAST).await, json!([]), "/{path}");
    }
    browser.shoot("observe.png").await;
    // An incident of observe mode has the key of the real one, and its own page.
    browser.open(&format!("http://{}/", squelch.address)).await;
    browser.click("tr[data-row] .state.observed").await;
    let link = browser.run("return document.querySelector('tr:has(.state.observed) td.what a').href;").await;
    browser.open(link.as_str().unwrap()).await;
    let said = browser.run("return document.querySelector('#live').innerText;").await;
    assert!(said.as_str().unwrap().contains("notifies nobody"), "{said}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_of_a_receiver_has_room_on_the_routing_page() {
    let gone = pager().await.url("/webhook/x");
    let home = Home::new(&config(&gone, ""));
    let squelch = home.serve().await;
    squelch.hook(&body("http://am-0", &[Told::fires("Down", "host", "a")])).await;
    let failed = async || squelch.get("/routing").await.body.contains("Connection refused").then_some(());
    until("the page has the error", failed).await;
    for width in [1280, 820, 390] {
        let Some(browser) = Browser::start(Look { dark: false, width }).await else { return };
        browser.open(&format!("http://{}/routing", squelch.address)).await;
        assert_eq!(browser.run(TOO_WIDE).await, json!(0), "at {width}");
        let widths = "return ['.what', '.last'].map((c) => \
                      Math.round(document.querySelector('.health td' + c).getBoundingClientRect().width));";
        let widths: Vec<u64> = serde_json::from_value(browser.run(widths).await).unwrap();
        // Below 900 px each cell has the width of its text.
        assert!(width < 900 || widths[1] >= 330 && widths[0] < 250, "{widths:?} at {width}");
        browser.shoot(&format!("routing-{width}.png")).await;
        browser.close().await;
    }
}

/// People read in the bar how long a page has been late. A restart does not make it less late.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_page_is_as_late_after_a_restart() {
    let gone = pager().await.url("/webhook/x");
    let home = Home::new(&config(&gone, ""));
    let bar = async |squelch: &Squelch| {
        let page = squelch.get("/").await.body;
        let (_, bar) = page.split_once("has not taken 1 message")?;
        let (_, since) = bar.split_once("datetime=\"")?;
        let since = squelch::model::Timestamp::parse(since.split('"').next()?).unwrap();
        Some(since)
    };
    let squelch = home.serve().await;
    squelch.hook(&body("http://am-0", &[Told::fires("Down", "host", "a")])).await;
    until("the page is late", async || bar(&squelch).await).await;
    let listed = squelch.get("/api/v1/incidents").await.json();
    let key = listed["incidents"][0]["dedupKey"].as_str().unwrap().to_owned();
    let says = async || {
        let page = squelch.get(&format!("/incident?key={key}")).await.body;
        page.contains("no receiver has accepted it yet").then_some(())
    };
    until("the page of the incident says so too", says).await;
    assert!(squelch.stop().await.success());
    let restart = squelch::node::clock::wall();
    let squelch = home.serve().await;
    let since = until("the page is late still", async || bar(&squelch).await).await;
    assert!(since < restart, "{since} {restart}");
}

#[tokio::test(flavor = "multi_thread")]
async fn internal_incidents_and_bars_fit_a_phone() {
    let gone = pager().await.url("/webhook/x");
    let home = Home::new(
        &config(&gone, "").replace("self_check: {enabled: false}", "self_check: {undelivered_after: 1s}"),
    );
    let squelch = home.serve().await;
    squelch.hook(&body("http://am-0", &[Told::fires("Down", "host", "a")])).await;
    let internal = async || {
        let page = squelch.get("/").await.body;
        page.contains("SquelchPagesUndelivered").then_some(page)
    };
    let page = until("the internal incident is listed", internal).await;
    let internal = page.find("SquelchPagesUndelivered").unwrap();
    assert!(internal < page.find("Down").unwrap(), "and first");
    let listed = squelch.get("/api/v1/incidents").await.json();
    assert_eq!(listed["incidents"][0]["origin"], "internal", "{listed:#}");
    let key = listed["incidents"][0]["dedupKey"].as_str().unwrap().to_owned();
    let detail = squelch.get(&format!("/incident?key={key}")).await;
    assert!(detail.status == 200 && detail.body.contains("about itself"), "{}", detail.body);
    let Some(browser) = Browser::start(Look { dark: true, width: 360 }).await else { return };
    for path in ["/", &format!("/incident?key={key}")] {
        browser.open(&format!("http://{}{path}", squelch.address)).await;
        assert_eq!(browser.run(TOO_WIDE).await, json!(0), "{path}");
        assert_eq!(browser.run(CONTRAST).await, json!([]), "{path}");
        assert_eq!(
            browser
                .run(STRUCTURE)
                .await
                .as_array()
                .unwrap()
                .iter()
                .filter(|s| !s.as_str().unwrap().starts_with("nav"))
                .count(),
            0,
            "{path}"
        );
    }
    browser.shoot("internal-phone.png").await;
    browser.close().await;
}
