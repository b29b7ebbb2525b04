//! Actions, prefixes, headers, and errors in requests.

use serde_json::json;

use super::browser::{Browser, DESK};
use super::hostile::{CONFIG, body};
use crate::e2e::child::Child;
use crate::e2e::http;
use crate::e2e::squelch::{Home, PROGRAM};
use crate::e2e::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_held_alert_is_released_by_a_click_and_pages() {
    let home = Home::new(CONFIG);
    let squelch = home.serve().await;
    squelch
        .hook(&body(&[json!({"alertname": "Disk", "host": "a", "severity": "warning"})], &json!({})))
        .await;
    let Some(browser) = Browser::start(DESK).await else { return };
    browser.open(&format!("http://{}/?tab=withheld", squelch.address)).await;
    browser.wait("it is held", "return !!document.querySelector('.rows .state.held');").await;
    browser.click("form[action$=release] button").await;
    browser
        .wait("it is said", "return document.querySelector('.said')?.textContent.includes('Released');")
        .await;
    browser.wait("it is paged", "return !!document.querySelector('.rows .state.paged');").await;
    browser.close().await;
    until("the log has it", async || squelch.child.said().contains("msg=released").then_some(())).await;
    let audited = async || {
        let said = squelch.child.said();
        said.lines().any(|line| line.contains("msg=audit") && line.contains("/act/release")).then_some(())
    };
    until("it is audited", audited).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_work_under_a_prefix() {
    let home = Home::new(CONFIG);
    let config = format!("--config.file={}", home.path("squelch.yml").display());
    let storage = format!("--storage.path={}", home.path("data").display());
    let args = [
        "serve",
        &config,
        &storage,
        "--web.listen-address=127.0.0.1:0",
        "--web.external-url=http://ops.example/a/b",
    ];
    let child = Child::start("squelch", PROGRAM, &args).unwrap();
    let line = child.line(&["msg=listening"]).await;
    let address = line.split(' ').find_map(|field| field.strip_prefix("address=")).unwrap().to_owned();
    for path in ["/favicon.ico", "/a/b/favicon.ico"] {
        let icon = {
            let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            http::send(address.parse().unwrap(), &head, b"").await.unwrap()
        };
        assert!(icon.status == 200 && icon.body.starts_with("<svg"), "{path}: {}", icon.body);
    }
    let Some(browser) = Browser::start(DESK).await else { return };
    for start in ["/a/b", "/a/b/"] {
        browser.open(&format!("http://{address}{start}")).await;
        let dressed =
            "return getComputedStyle(document.querySelector('.top')).display === 'flex' && !!window.htmx;";
        assert_eq!(browser.run(dressed).await, json!(true), "{start}");
        browser.press("w").await;
        let tab = "return location.pathname.startsWith('/a/b') && location.search === '?tab=withheld';";
        browser.wait("the withheld alerts", tab).await;
        let icon =
            "return fetch(document.querySelector('link[rel=icon]').href + '?open=3').then((r) => r.text());";
        assert!(browser.run(icon).await.as_str().unwrap().contains(">3</text>"), "the icon is there");
        browser.press("4").await;
        browser.wait("the fourth view", "return location.pathname === '/a/b/flapping';").await;
        browser.click(".brand").await;
        browser.wait("and back", "return location.pathname === '/a/b/';").await;
    }
    browser.open(&format!("http://{address}/a/b/silences")).await;
    browser.write("[name=matchers]", "a=b").await;
    browser.write("[name=comment]", "x").await;
    browser.write("form.silence [name=by]", "ada").await;
    browser.click("form.silence button").await;
    browser
        .wait(
            "an action leads back",
            "return location.pathname === '/a/b/' && !!document.querySelector('.said');",
        )
        .await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_in_words() {
    let home = Home::new(CONFIG);
    let squelch = home.serve().await;
    for (path, status, says) in [
        ("/?q=%3D", 200, "cannot read these matchers: &quot;=&quot; is not a matcher"),
        ("/incident", 400, "The address has no key"),
        ("/?page=x", 400, "the address"),
        ("/?page=x", 400, "The field page of the address is wrong. It takes a whole number"),
        ("/incident?key=x", 400, "not the key of an incident"),
        ("/incident?key=abcdef", 404, "no incident has this key"),
        ("/alert?id=x", 400, "32 hex digits"),
        ("/routing?labels=a%3D~b", 400, "is no label"),
        ("/routing?labels=a%3Db&at=noon", 400, "value=\"noon\""),
        ("/routing?labels=a%3Db&at=noon", 400, "id=\"at-error\""),
        ("/routing?labels=disk%20full", 400, "value=\"disk full\""),
        ("/routing?labels=disk%20full", 400, "id=\"labels-error\""),
        ("/decisions?q=disk%20full&receiver=pager", 400, "value=\"disk full\""),
        ("/decisions?q=disk%20full", 400, "id=\"q-error\""),
        ("/decisions?since=noon&q=a%3Db", 400, "id=\"since-error\""),
        ("/decisions?what=nonsense", 400, "nonsense"),
        ("/assets/../squelch.yml", 404, ""),
        ("/assets/none.js", 404, ""),
    ] {
        let answer = squelch.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(answer.body.contains(says), "{path}: {}", answer.body);
    }
    let form = async |path: &str, body: &str| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
            squelch.address,
            body.len()
        );
        http::send(squelch.address, &head, body.as_bytes()).await.unwrap()
    };
    let unheld = format!("alert={}&receiver=console&by=", "0".repeat(32));
    for (path, body, status) in [
        ("/act/release", unheld.as_str(), 409),
        ("/act/release", "alert=1", 400),
        ("/act/silence", "matchers=&for=2h&comment=x&by=y", 400),
        ("/act/silence", "matchers=a%3Db&for=soon&comment=x&by=y", 400),
        ("/silences/expire", "id=none", 404),
    ] {
        let answer = form(path, body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
    }
    for (path, body, says) in [
        ("/incident/acknowledge", "by=ada", "The form has no key. Go back"),
        (
            "/incident/note",
            "key=abcdef&number=x",
            "The field number of the form is wrong. It takes a whole number",
        ),
        (
            "/incident/acknowledge",
            "key=abcdef&back=maybe",
            "The field back of the form is wrong. It takes true or false",
        ),
    ] {
        let answer = form(path, body).await;
        assert!(answer.status == 400 && answer.body.contains(says), "{path} {body}: {}", answer.body);
    }
    let audited = async || {
        let said = squelch.child.said();
        said.lines()
            .any(|line| line.contains("msg=audit") && line.contains(" path=/act/silence "))
            .then_some(())
    };
    until("the audit log has the plain path", audited).await;
    assert_eq!(squelch.post("/silences/expire", "{}").await.status, 415);
}
