//! Labels and annotations are always shown as text.

use serde_json::{Value, json};

use super::browser::{Browser, Look, TOO_WIDE};
use crate::e2e::squelch::{Home, Squelch};

pub const CONFIG: &str = "
route: {receiver: console, group_by: [alertname, host]}
receivers: [{name: console, console_configs: [{}]}]
severities:
  label: severity
  levels:
    - {name: critical, never_hold: true}
    - {name: warning, hold: 52w}
noise:
  default:
    storm: {start: 0}
    limit: {pages: 0, per: 10m}
";

/// A webhook body with one firing alert for each set of labels.
pub fn body(labels: &[Value], annotations: &Value) -> Value {
    let alert = |labels: &Value| {
        json!({"status": "firing", "labels": labels, "annotations": annotations,
            "startsAt": "2026-11-25T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "javascript:window.pwned=1", "fingerprint": ""})
    };
    json!({"version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "receiver": "squelch",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://am",
        "alerts": labels.iter().map(alert).collect::<Vec<_>>()})
}

/// A server with alerts whose labels attack the page.
async fn attacked(home: &Home) -> Squelch {
    let squelch = home.serve().await;
    let hostile = [
        "<script>window.pwned=1</script>",
        "\"><img src=x onerror=window.pwned=1>",
        "' onmouseover='window.pwned=1",
        "\u{202e}gnp.exe\u{2066}",
        "{{7*7}}${window.pwned=1}",
        &"x".repeat(2_000),
        &"\u{05d0}\u{0628}".repeat(300),
    ];
    let labels: Vec<Value> = hostile
        .iter()
        .enumerate()
        .map(|(n, text)| json!({"alertname": text, "host": format!("h{n}"), "severity": "critical", "note": text}))
        .collect();
    let annotations = json!({"summary": format!("<b>{}</b>", "w".repeat(10_000)), "runbook": "javascript:1"});
    squelch.hook(&body(&labels, &annotations)).await;
    squelch
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_labels_are_inert() {
    let home = Home::new(CONFIG);
    let squelch = attacked(&home).await;
    let Some(browser) = Browser::start(Look { dark: false, width: 360 }).await else { return };
    let root = format!("http://{}/", squelch.address);
    browser.open(&root).await;
    let rows = browser.wait("the rows", "return document.querySelectorAll('tr[data-row]').length;").await;
    assert_eq!(rows, json!(7));
    let links = "return Array.from(document.querySelectorAll('tr[data-row] td.what a'), (a) => a.href);";
    let links = browser.run(links).await;
    let mut pages =
        vec![root.clone(), format!("{root}decisions"), format!("{root}noise"), format!("{root}flapping")];
    pages.extend(links.as_array().unwrap().iter().map(|l| l.as_str().unwrap().to_owned()));
    for page in pages {
        browser.open(&page).await;
        let harm = "return [!!window.pwned, document.querySelectorAll('main img, main script, main b.x, [onerror], \
                    [onmouseover]').length, Array.from(document.links).filter((a) => !/^https?:/.test(a.href)).length];";
        assert_eq!(browser.run(harm).await, json!([false, 0, 0]), "{page}");
        assert_eq!(browser.run(TOO_WIDE).await, json!(0), "{page}");
        let controls =
            browser.run("return /[\\u202a-\\u202e\\u2066-\\u2069]/.test(document.body.innerText);").await;
        assert_eq!(controls, json!(false), "{page}: nothing turns the text beside it");
    }
    browser.close().await;
}
