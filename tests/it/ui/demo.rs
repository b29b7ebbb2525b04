//! Every view under the traffic of `squelch demo`.

use serde_json::json;

use super::browser::{Browser, CONTRAST, DESK, Look, STRUCTURE, TOO_WIDE};
use crate::e2e::child::Child;
use crate::e2e::squelch::PROGRAM;

const VIEWS: [(&str, &str); 5] = [
    ("now", ""),
    ("noise", "noise?span=1h"),
    ("decisions", "decisions?q=service%3D~%22billing%7Cpayments%7Carchive%22"),
    ("flapping", "flapping"),
    (
        "routing",
        "routing?labels=alertname%3DQueueDepthHigh%2Cinstance%3Dbilling-1%2Cservice%3Dbilling%2Cseverity%3Dwarning",
    ),
];

/// The demo, and where its pages are.
async fn demo(seconds: &str) -> (Child, String) {
    let demo = Child::start("demo", PROGRAM, &["demo", "--seconds", seconds]).unwrap();
    let line = demo.line(&["pages ", "http://"]).await;
    let url = line.split_whitespace().last().unwrap().to_owned();
    (demo, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_works_under_the_traffic_of_the_demo() {
    let Some(browser) = Browser::start(DESK).await else { return };
    let (_demo, url) = demo("150").await;
    browser.open(&url).await;

    // It fills by itself: the page is not loaded anew.
    browser.run("window.kept = true;").await;
    browser
        .wait("the page that matters shows", "return document.body.innerText.includes('PaymentsDown');")
        .await;
    browser.wait("a flapping alert shows", "return !!document.querySelector('.rows .state.flapping');").await;
    assert_eq!(browser.run("return window.kept === true;").await, json!(true));
    let said = browser.run("return document.querySelector('#status').textContent;").await;
    assert!(said.as_str().unwrap().contains("open"), "{said}");

    // By keyboard alone.
    browser.press("j").await;
    let row = "return !!document.activeElement.closest('[data-row]');";
    assert_eq!(browser.run(row).await, json!(true));
    browser.press("/").await;
    assert_eq!(browser.run("return document.activeElement.id;").await, json!("q"));
    browser.press("alertname=PaymentsDown\u{e007}").await;
    let only = "const t = document.querySelector('.rows tbody'); \
                return t && t.innerText.includes('PaymentsDown') && !t.innerText.includes('DatabaseUnreachable');";
    browser.wait("the filter leaves one", only).await;
    browser.press("?").await;
    browser.wait("the keys are listed", "return document.querySelector('#keys').open;").await;
    browser.press("\u{e00c}").await;
    browser.wait("the list closes", "return !document.querySelector('#keys').open;").await;

    // A silence, prefilled from the incident, made and ended.
    browser.click(".rows td.act a.button").await;
    let prefilled =
        browser.wait("the form", "return document.querySelector('[name=matchers]')?.value;").await;
    assert!(prefilled.as_str().unwrap().contains("payments"), "{prefilled}");
    browser.write("[name=comment]", "looking at it").await;
    browser.write("form.silence [name=by]", "ada").await;
    browser.click("form.silence button").await;
    browser
        .wait("it is said", "return document.querySelector('.said')?.textContent.includes('in force');")
        .await;
    // The page of the incident says the matchers and the end of the silence.
    let made = "return location.pathname + document.querySelector('.said').textContent;";
    let made = browser.run(made).await;
    let made = made.as_str().unwrap();
    assert!(made.starts_with("/incident") && made.contains("ends at") && made.contains("payments"), "{made}");
    browser.open(&url).await;
    browser.wait("it is listed", "return document.body.innerText.includes('looking at it');").await;
    browser.click("form[action$=expire] button").await;
    browser
        .wait("it is ended", "return document.querySelector('.said')?.textContent.includes('ended');")
        .await;

    browser.open(&format!("{url}flapping")).await;
    let curve = "const c = document.querySelector('polyline.curve'), t = c.closest('figure').textContent; \
                 return c.points.length > 10 && t.includes('suppress at') && t.includes('reuse at');";
    assert_eq!(browser.run(curve).await, json!(true), "the penalty is drawn with its thresholds");
    let advised = "return document.querySelectorAll('.advice').length;";
    assert_eq!(browser.run(advised).await, json!(0), "a minute of pages has no suggestion with a price");

    browser.open(&format!("{url}decisions?what=flapping")).await;
    browser
        .wait("decisions with their lanes", "return document.querySelectorAll('.lanes circle').length;")
        .await;
    let words = browser.run("return document.querySelector('.decision-log tbody').innerText;").await;
    assert!(words.as_str().unwrap().contains("noise.default.flapping"), "{words}");

    browser.open(&format!("{url}noise?span=1h")).await;
    browser
        .wait("the chart is drawn", "return !!document.querySelector('.causes path.page').getAttribute('d');")
        .await;
    let drawn = "return [document.querySelectorAll('.causes path[class^=c]').length > 1, \
                 document.querySelectorAll('.week .values td').length, !!document.querySelector('.week rect.hot')];";
    assert_eq!(browser.run(drawn).await, json!([true, 168, true]), "causes and hours of the week");
    let names = browser.run("return document.body.innerText;").await;
    assert!(names.as_str().unwrap().contains("QueueDepthHigh"), "{names}");

    let labels = "alertname%3DNew%2Cservice%3Dbilling%2Cseverity%3Dcritical";
    browser.open(&format!("{url}routing?labels={labels}")).await;
    let outcome = browser.run("return document.querySelector('#outcome').innerText;").await;
    assert!(outcome.as_str().unwrap().contains("pager"), "{outcome}");
    let config = browser.run("return document.querySelector('pre.config').textContent;").await;
    let config = config.as_str().unwrap();
    assert!(config.contains("routing_key: <secret>") && !config.contains("0123456789abcdef"), "{config}");

    let size = "return performance.getEntriesByType('navigation').concat(performance.getEntriesByType('resource'))\
                .filter((e) => !e.name.includes('htmx-request')).reduce((n, e) => n + e.transferSize, 0);";
    for (name, view) in VIEWS {
        browser.open(&format!("{url}{view}")).await;
        assert_eq!(browser.run(STRUCTURE).await, json!([]), "/{view}");
        assert_eq!(browser.run(CONTRAST).await, json!([]), "/{view} in the light theme");
        let bytes = browser.run(size).await.as_u64().unwrap();
        assert!(bytes < 100_000, "/{view}: {bytes} bytes");
        browser.shoot(&format!("{name}-light.png")).await;
    }
    browser.client.set_window_size(768, 1024).await.unwrap();
    for (_, view) in VIEWS {
        browser.open(&format!("{url}{view}")).await;
        assert_eq!(browser.run(TOO_WIDE).await, json!(0), "/{view} on a tablet");
    }
    browser.close().await;

    let Some(browser) = Browser::start(Look { dark: true, width: 1280 }).await else { return };
    for (name, view) in VIEWS {
        browser.open(&format!("{url}{view}")).await;
        assert_eq!(
            browser.run("return matchMedia('(prefers-color-scheme: dark)').matches;").await,
            json!(true)
        );
        assert_eq!(browser.run(CONTRAST).await, json!([]), "/{view} in the dark theme");
        browser.shoot(&format!("{name}-dark.png")).await;
    }
    browser.close().await;

    let Some(browser) = Browser::start(Look { dark: true, width: 360 }).await else { return };
    for (name, view) in VIEWS {
        browser.open(&format!("{url}{view}")).await;
        assert_eq!(browser.run(TOO_WIDE).await, json!(0), "/{view} on a phone");
        browser.shoot(&format!("{name}-phone.png")).await;
    }
    let small = "return Array.from(document.querySelectorAll('main button, main .button, .states a'))\
                 .filter((e) => e.offsetParent && e.getBoundingClientRect().height < 43).map((e) => e.textContent);";
    browser.open(&url).await;
    assert_eq!(browser.run(small).await, json!([]), "what is to be touched is large enough");
    browser.close().await;
}
