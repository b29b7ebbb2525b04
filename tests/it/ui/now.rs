//! *Now*: the content of a row, and the state that a refresh leaves alone.

use serde_json::{Value, json};

use super::browser::{Browser, CONTRAST, DESK, Look, STRUCTURE, TOO_WIDE};
use super::hostile::CONFIG;
use crate::e2e::squelch::{Home, Squelch};

/// An alert with a runbook and a graph.
async fn fires(squelch: &Squelch, name: &str, severity: &str, service: &str) {
    let mut body = super::hostile::body(
        &[json!({"alertname": name, "host": "a", "severity": severity, "service": service})],
        &json!({"summary": format!("{name} is in trouble"), "runbook_url": "https://wiki.example/runbook"}),
    );
    body["alerts"][0]["generatorURL"] = json!("http://prometheus.example/graph");
    squelch.hook(&body).await;
}

const FOCUS: &str = "const e = document.activeElement, r = e.closest('[data-row]'); \
                     return [e.textContent.trim(), r ? r.querySelector('.name').textContent : ''];";

/// Waits until the page was refreshed once more.
async fn refreshed(browser: &Browser) {
    browser.run("window.then = document.querySelector('#live').dataset.now;").await;
    browser.wait("a refresh", "return document.querySelector('#live').dataset.now !== window.then;").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_says_what_a_person_needs_and_a_refresh_keeps_the_focus() {
    let home = Home::new(CONFIG);
    let squelch = home.serve().await;
    fires(&squelch, "DiskFull", "critical", "db").await;
    fires(&squelch, "NetDown", "critical", "").await;
    fires(&squelch, "Slow", "warning", "web").await;
    let Some(browser) = Browser::start(DESK).await else { return };
    let root = format!("http://{}/", squelch.address);
    browser.open(&root).await;
    browser
        .wait("both are paged", "return document.querySelectorAll('.rows .state.paged').length === 2;")
        .await;
    let row = "const r = document.querySelector('tr[data-row]:has([href*=graph])'); const hrefs = (k) => \
               r.querySelector(`[data-key=${k}]`).href; return [r.querySelector('.summary').textContent, \
               r.querySelector('td[data-label=Notified]').innerText.slice(0, 18), hrefs('r'), hrefs('g'), \
               document.title, document.querySelector('link[rel=icon]').href.split('?')[1]];";
    let expected = json!([
        "NetDown is in trouble",
        "console console[0]",
        "https://wiki.example/runbook",
        "http://prometheus.example/graph",
        "(2) Now · Squelch",
        "open=2"
    ]);
    assert_eq!(browser.run(row).await, expected);

    // The focus stays on the same button of the same row, though another row comes above it.
    browser.run("document.querySelectorAll('[data-row]')[1].querySelector('a[data-key=s]').focus();").await;
    assert_eq!(browser.run(FOCUS).await, json!(["Silence", "DiskFull"]));
    fires(&squelch, "Cpu", "critical", "db").await;
    browser.wait("a third row", "return document.querySelectorAll('[data-row]').length === 3;").await;
    assert_eq!(browser.run(FOCUS).await, json!(["Silence", "DiskFull"]));
    for selector in ["#tab-withheld", "#silences-title a", "[data-row] td.what a"] {
        browser.run(&format!("document.querySelector('{selector}').focus();")).await;
        let before = browser.run(FOCUS).await;
        refreshed(&browser).await;
        assert_eq!(browser.run(FOCUS).await, before, "{selector}");
    }

    // One clock, and one switch for every time.
    let times = "return [document.querySelector('#made').textContent, document.querySelector('time.short').textContent];";
    let local = browser.run(times).await;
    browser.press("u").await;
    let utc = browser.run(times).await;
    let text = |value: &Value, n: usize| value[n].as_str().unwrap().to_owned();
    assert!(!text(&local, 0).ends_with("UTC") && text(&utc, 0).ends_with(" UTC"), "{local} {utc}");
    assert_ne!(text(&local, 1), text(&utc, 1));
    refreshed(&browser).await;
    assert!(text(&browser.run(times).await, 0).ends_with(" UTC"), "a refresh keeps the zone");

    // A person who asks for it is notified of a new incident, and of no old one.
    browser
        .run(
            "window.told = []; window.Notification = class { constructor(t) { window.told.push(t); } \
             static permission = 'granted'; static requestPermission() { return Promise.resolve('granted'); } };",
        )
        .await;
    browser.wait("the offer", "return !document.querySelector('[data-notify]').hidden;").await;
    browser.click("[data-notify]").await;
    browser.wait("it is on", "return document.querySelector('[data-notify]').ariaPressed === 'true';").await;
    fires(&squelch, "Fan", "critical", "db").await;
    browser.wait("the fourth row", "return document.querySelectorAll('[data-row]').length === 4;").await;
    let told = browser.run("return window.told;").await;
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    assert!(told[0].as_str().unwrap().starts_with("Fan"), "{told}");
    assert_eq!(browser.run(STRUCTURE).await, json!([]));

    // Words or matchers, and an error beside them.
    let rows = "return Array.from(document.querySelectorAll('[data-row] .name'), (e) => e.textContent);";
    for (query, names) in [
        ("?q=disk", json!(["DiskFull"])),
        ("?q=host%3Da%2Calertname%3D~%22Net.*%22", json!(["NetDown"])),
        ("?tab=withheld", json!(["Slow"])),
    ] {
        browser.open(&format!("{root}{query}")).await;
        let found = browser.run(rows).await;
        assert_eq!(found, names, "{query}");
    }
    browser.open(&format!("{root}?q=host%3D~%22(%22")).await;
    let said = browser.run("return document.querySelector('#q-error').innerText;").await;
    assert!(said.as_str().unwrap().contains("The list shows everything"), "{said}");
    assert_eq!(browser.run(rows).await.as_array().unwrap().len(), 4);
    assert_eq!(browser.run("return document.querySelector('#q').ariaInvalid;").await, json!("true"));
    assert_eq!(browser.run(CONTRAST).await, json!([]));
    browser.open(&format!("{root}?group=service")).await;
    let parts = "return Array.from(document.querySelectorAll('tr.part'), (e) => e.innerText.trim());";
    assert_eq!(browser.run(parts).await, json!(["db", "No service"]));
    // Without a mouse: each stop of the focus is visible, and `/` leads to the field of a page.
    let hidden = "return Array.from(document.querySelectorAll('a[href], button, input, select, textarea'))\
                  .filter((e) => e.offsetParent && e.matches('.unseen')).map((e) => e.id);";
    assert_eq!(browser.run(hidden).await, json!([]));
    browser.open(&format!("{root}silences")).await;
    browser.press("/").await;
    assert_eq!(browser.run("return document.activeElement.name;").await, json!("matchers"));
    browser.client.set_window_size(768, 1024).await.unwrap();
    assert_eq!(browser.run(TOO_WIDE).await, json!(0), "on a tablet");
    browser.close().await;
    without_script(&root).await;
}

/// The same on a phone that runs no script.
async fn without_script(root: &str) {
    let Some(browser) = Browser::without_script(Look { dark: true, width: 360 }).await else { return };
    for path in ["", "?tab=withheld", "?tab=closed", "?q=host%3D~%22(%22", "noise?span=1h", "flapping"] {
        browser.open(&format!("{root}{path}")).await;
        assert_eq!(browser.run("return typeof window.htmx;").await, json!("undefined"), "{path}");
        assert_eq!(browser.run(TOO_WIDE).await, json!(0), "{path}");
        assert_eq!(browser.run(STRUCTURE).await, json!([]), "{path}");
        assert_eq!(browser.run(CONTRAST).await, json!([]), "{path}");
    }
    // Each view is in sight, and so are the actions of a row.
    for path in ["", "on-call"] {
        browser.open(&format!("{root}{path}")).await;
        let outside = "return Array.from(document.querySelectorAll('.top nav a'))\
                       .filter((e) => e.getBoundingClientRect().right > innerWidth).map((e) => e.textContent);";
        assert_eq!(browser.run(outside).await, json!([]), "/{path}");
    }
    browser.open(root).await;
    let tops = "return new Set(Array.from(document.querySelectorAll('[data-row]:has([data-key=g]) td.act .button'), \
                (e) => e.getBoundingClientRect().top)).size \
                / document.querySelectorAll('[data-row]:has([data-key=g])').length;";
    assert_eq!(browser.run(tops).await, json!(1), "one line of buttons in each row");
    browser.open(root).await;
    let seen = "return [document.title, document.querySelector('#made time').textContent.endsWith('Z'), \
                document.querySelector('#zone').hidden, document.querySelectorAll('[data-row]').length];";
    assert_eq!(browser.run(seen).await, json!(["(4) Now · Squelch", true, true, 4]));
    // WebDriver cannot click where no script runs.
    let link = browser.run("return document.querySelector('#tab-withheld').href;").await;
    browser.open(link.as_str().unwrap()).await;
    let tab = "return document.querySelector('[data-row] .name').textContent;";
    assert_eq!(browser.run(tab).await, json!("Slow"));
    browser.close().await;
}
