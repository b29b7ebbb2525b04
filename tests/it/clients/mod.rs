//! Programs that know Alertmanager, at Squelch: their requests, and the fields of the answers that they
//! read. Where Alertmanager is installed, Squelch must answer as it does.

mod amtool;
mod dashboards;
mod requests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::e2e::child::{Child, free_port};
use crate::e2e::squelch::{Home, Squelch};
use crate::e2e::{http, until};

/// The configuration of both programs.
const CONFIG: &str = "\
route:
  receiver: web
  group_by: [alertname]
  routes:
    - matchers: [severity=\"page\"]
      receiver: pager
      continue: true
    - matchers: [team=\"db\"]
      receiver: web
      group_by: [team, job]
receivers:
  - name: web
    webhook_configs:
      - url: http://127.0.0.1:9/hook
  - name: pager
    pagerduty_configs:
      - routing_key: 0123456789abcdef0123456789abcdef
        url: http://127.0.0.1:9/enqueue
inhibit_rules:
  - source_matchers: [alertname=\"Source\"]
    target_matchers: [alertname=\"Target\"]
";

/// Squelch, and an Alertmanager with the same configuration.
struct Pair {
    ours: Squelch,
    theirs: SocketAddr,
    home: Home,
    _alertmanager: Child,
}

impl Pair {
    /// Both, or nothing where there is no Alertmanager.
    async fn start() -> Option<Pair> {
        let home = Home::new(CONFIG);
        let theirs = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let args = [
            format!("--config.file={}", home.path("squelch.yml").display()),
            format!("--storage.path={}", home.path("alertmanager").display()),
            format!("--web.listen-address={theirs}"),
            "--cluster.listen-address=".to_owned(),
        ];
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let alertmanager = Child::start("alertmanager", "prometheus-alertmanager", &args)?;
        let ready = async || http::get(theirs, "/-/ready").await.ok().filter(|a| a.status == 200);
        until("Alertmanager is ready", ready).await;
        Some(Pair { ours: home.serve().await, theirs, home, _alertmanager: alertmanager })
    }

    fn both(&self) -> [SocketAddr; 2] {
        [self.theirs, self.ours.address]
    }
}

/// Waits until an alert inhibits another one: Alertmanager takes a moment.
async fn inhibited(address: SocketAddr) {
    let inhibited = async || {
        let alerts = http::get(address, "/api/v2/alerts?filter=alertname%3DTarget").await.ok()?.json();
        (alerts[0]["status"]["state"] == "suppressed").then_some(())
    };
    until("an alert is inhibited", inhibited).await;
}

/// `text` with its times as `TIME` and its ids as `ID1`, `ID2` and so on, in the order in which they come.
fn plain(text: &str, ids: &mut BTreeMap<String, usize>) -> String {
    static TIMES: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?( UTC|Z|[+-]\d\d:\d\d)?").unwrap()
    });
    static IDS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap());
    let text = TIMES.replace_all(text, "TIME");
    let numbered = |found: &regex::Captures<'_>| {
        let next = ids.len() + 1;
        format!("ID{}", ids.entry(found[0].to_owned()).or_insert(next))
    };
    IDS.replace_all(&text, numbered).into_owned()
}

/// An answer without the fields that Alertmanager 0.25 does not know yet.
fn as_of_0_25(mut answer: Value) -> Value {
    let entries: &mut [Value] = match &mut answer {
        Value::Array(entries) => entries,
        other => std::slice::from_mut(other),
    };
    for entry in entries {
        if let Some(fields) = entry.as_object_mut() {
            fields.remove("routeLabels");
            // Receivers had a name alone.
            if fields.contains_key("name") {
                fields.remove("labels");
            }
            // Alerts had them then, and silences did not.
            if fields.contains_key("matchers") {
                fields.remove("annotations");
            }
        }
        let status = |alert: &mut Value| alert["status"].as_object_mut().map(|s| s.remove("mutedBy"));
        if let Some(alerts) = entry.get_mut("alerts").and_then(Value::as_array_mut) {
            alerts.iter_mut().for_each(|alert| drop(status(alert)));
        }
        status(entry);
    }
    answer
}
