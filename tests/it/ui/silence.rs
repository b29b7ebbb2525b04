//! The form for a silence: the matchers that it proposes, and how many alerts they match.

use serde_json::json;
use squelch::commands::fake_pager::FakePager;

use super::browser::{Browser, CONTRAST, DESK};
use crate::e2e::http;
use crate::e2e::sender::{Told, body};
use crate::e2e::squelch::{Home, Squelch};
use crate::e2e::until;

/// A pager that has had enough after one page, so that the next ones are merged.
fn config(pager: &FakePager) -> String {
    format!(
        "\
route: {{receiver: night, group_by: [alertname]}}
receivers:
  - name: night
    pagerduty_configs: [{{routing_key: 0123456789abcdef0123456789abcdef, url: '{}'}}]
severities: {{label: severity, levels: [{{name: critical}}, {{name: warning}}]}}
noise: {{default: {{storm: {{start: 0}}, limit: {{pages: 1, per: 5s}}}}}}
self_check: {{enabled: false}}
",
        pager.url("/v2/enqueue")
    )
}

fn core(name: &str) -> Told {
    Told::fires(name, "team", "core")
}

/// A server with a merged incident, its key and its title.
async fn merged(home: &Home) -> (Squelch, String, String) {
    let squelch = home.serve().await;
    squelch.hook(&body("http://am-0", &[core("Alone")])).await;
    squelch.hook(&body("http://am-0", &[core("B"), core("C"), core("D"), core("E")])).await;
    let found = async || {
        let listed = squelch.get("/api/v1/incidents?state=paged").await.json();
        let of_four = listed["incidents"].as_array()?.iter().find(|i| i["size"].as_u64() >= Some(3))?.clone();
        let (key, title) = (of_four["dedupKey"].as_str()?.to_owned(), of_four["title"].as_str()?.to_owned());
        Some((key, title))
    };
    let (key, title) = until("a merged incident", found).await;
    (squelch, key, title)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_incident_is_called_in_the_pages_as_at_the_pager() {
    let pager = FakePager::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let home = Home::new(&config(&pager));
    let (squelch, key, title) = merged(&home).await;
    let incidents = pager.incidents();
    let shown = incidents.iter().find(|i| i.dedup_key == key).unwrap();
    let said = shown.summary.split_once("] ").unwrap().1;
    assert_eq!(title, said);
    let Some(browser) = Browser::start(DESK).await else { return };
    browser.open(&format!("http://{}/incident?key={key}", squelch.address)).await;
    let heading = browser.run("return document.querySelector('h1').innerText.trim();").await;
    assert_eq!(heading, json!(said));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_counts_what_its_matchers_match_as_they_are_written() {
    let pager = FakePager::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let home = Home::new(&config(&pager));
    let (squelch, key, _) = merged(&home).await;
    let Some(browser) = Browser::start(DESK).await else { return };
    browser.open(&format!("http://{}/silences?incident={key}", squelch.address)).await;
    let matchers = browser.run("return document.querySelector('[name=matchers]').value;").await;
    let matchers = matchers.as_str().unwrap();
    assert!(matchers.contains("alertname=~") && matchers.contains("team=\"core\""), "{matchers}");
    let count = "return document.querySelector('#matching').innerText;";
    let said = browser.run(count).await;
    assert!(said.as_str().unwrap().contains("in the incident, and 0 others"), "{said}");
    assert_eq!(browser.run(CONTRAST).await, json!([]));
    browser.shoot("silence.png").await;

    let write = async |text: &str| {
        browser.write("[name=matchers]", text).await;
        browser.run("document.querySelector('[name=matchers]').dispatchEvent(new Event('input', {bubbles: true}));").await;
    };
    write("team=core").await;
    browser
        .wait(
            "others are counted",
            "return document.querySelector('#matching').innerText.includes('1 other');",
        )
        .await;
    write("team=~\"(\"").await;
    browser
        .wait("what is wrong is said beside it", "return !!document.querySelector('#matchers-error');")
        .await;
    let marked = "return document.querySelector('[name=matchers]').hasAttribute('aria-invalid');";
    assert_eq!(browser.run(marked).await, json!(true));
    browser.shoot("silence-wrong.png").await;
    browser.write("[name=comment]", "looking at it").await;
    browser.write("form.silence [name=by]", "ada").await;
    browser.click("form.silence button.primary").await;
    browser.wait("it is not granted", "return !!document.querySelector('form.silence .problem');").await;
    let kept = "return ['matchers', 'comment', 'by'].map((n) => document.querySelector(`form.silence [name=${n}]`).value);";
    assert_eq!(browser.run(kept).await, json!(["team=~\"(\"", "looking at it", "ada"]));
    browser.write("[name=matchers]", "team=core").await;
    browser.click("form.silence button.primary").await;
    browser
        .wait("it is made", "return document.querySelector('.said')?.textContent.includes('in force');")
        .await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_script_the_count_is_shown_before_anything_is_silenced() {
    let home = Home::new(super::hostile::CONFIG);
    let squelch = home.serve().await;
    let alert = json!({"alertname": "Disk", "host": "a", "severity": "critical"});
    squelch.hook(&super::hostile::body(&[alert], &json!({}))).await;
    let form = async |body: &str| {
        let head = format!(
            "POST /act/silence HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
            squelch.address,
            body.len()
        );
        http::send(squelch.address, &head, body.as_bytes()).await.unwrap()
    };
    let rest = "for=2h&comment=look&by=ada";
    let unseen = form(&format!("matchers=host%3Da&counted=host%3Db&{rest}")).await;
    assert!(unseen.status == 200 && unseen.body.contains("Nothing is silenced yet"), "{}", unseen.body);
    assert!(unseen.body.contains("<b>1</b> alert that fires"), "{}", unseen.body);
    assert!(unseen.body.contains("value=\"look\""), "it is kept: {}", unseen.body);
    assert!(squelch.get("/api/v1/silences").await.json()["silences"].as_array().unwrap().is_empty());
    assert_eq!(form(&format!("matchers=host%3Da&counted=host%3Da&{rest}")).await.status, 303);
    for (body, says) in [
        (format!("matchers=host%3D~%28&{rest}"), "the alerts to silence"),
        ("matchers=host%3Da&for=soon&comment=look&by=ada".into(), "for how long"),
        (format!("matchers=host%3D&{rest}"), "Nothing is silenced"),
        ("matchers=host%3Da&for=99999d&comment=look&by=ada".into(), "id=\"for-error\""),
    ] {
        let wrong = form(&body).await;
        assert_eq!(wrong.status, 400, "{body}: {}", wrong.body);
        assert!(wrong.body.contains(says) && wrong.body.contains("value=\"look\""), "{body}: {}", wrong.body);
    }
    let unsaid = form("matchers=host%3Da&for=2h&comment=+&by=ada").await;
    assert!(unsaid.status == 400 && unsaid.body.contains("id=\"comment-error\""), "{}", unsaid.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_into_the_pages_of_alertmanager_lead_to_the_same_here() {
    let home = Home::new("route: {receiver: night}\nreceivers: [{name: night}]\n");
    let squelch = home.serve().await;
    let Some(browser) = Browser::start(DESK).await else { return };
    let filter = "%7Balertname%3D%22Disk%20full%22%2Cteam%3D~%22a%7Cb%22%7D";
    let matchers = "{alertname=\"Disk full\",team=~\"a|b\"}";
    let written = format!("return document.querySelector('[name=matchers]')?.value === {matchers:?};");
    let sought = format!("return document.querySelector('#q')?.value === {matchers:?};");
    let listed = "return location.pathname === '/silences' && location.hash === '';";
    let links = [
        (format!("silences/new?filter={filter}"), &*written),
        (format!("alerts?silenced=false&filter={filter}&receiver=night"), &*sought),
        ("silences/0cd51a70-6b53-4e3f-a5c2-7ce5a1fd6ea1".into(), listed),
    ];
    for (link, arrived) in links {
        browser.open("about:blank").await;
        browser.open(&format!("http://{}/#/{link}", squelch.address)).await;
        browser.wait(&link, arrived).await;
    }
    browser.close().await;
}
