//! Squelch forwards alerts to real Alertmanagers, each of which sees them fire and resolve.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use squelch::model::Timestamp;

use super::child::{Child, free_port};
use super::sender::{Told, body, now};
use super::squelch::Home;
use super::{about, http, opened_and_closed, pager, shown, until};

/// A real Alertmanager that knows no alert yet, below `/am`. `None` where none is installed.
async fn alertmanager(folder: &Path, name: &str, hook: &str) -> Option<(SocketAddr, Child)> {
    let config = format!(
        "route: {{receiver: a, group_by: [alertname], group_wait: 0s, group_interval: 1s}}\n\
         receivers: [{{name: a, webhook_configs: [{{url: '{hook}'}}]}}]\n"
    );
    let file = folder.join(format!("{name}.yml"));
    std::fs::write(&file, config).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let args = [
        format!("--config.file={}", file.display()),
        format!("--storage.path={}", folder.join(name).display()),
        format!("--web.listen-address={address}"),
        "--web.route-prefix=/am".to_owned(),
        "--cluster.listen-address=".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let child = Child::start(name, "prometheus-alertmanager", &args)?;
    let ready = async || http::get(address, "/am/-/ready").await.ok().filter(|a| a.status == 200);
    until("Alertmanager is ready", ready).await;
    Some((address, child))
}

/// The alerts that fire at an Alertmanager.
async fn firing(address: SocketAddr) -> Vec<Value> {
    http::get(address, "/am/api/v2/alerts").await.unwrap().json().as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn alertmanagers_see_what_squelch_pages_fire_and_resolve() {
    let (pager, folder) = (pager().await, tempfile::tempdir().unwrap());
    let hooks = ["/webhook/first", "/webhook/second"].map(|path| pager.url(path));
    let Some((first, _one)) = alertmanager(folder.path(), "first", &hooks[0]).await else { return };
    let Some((second, _two)) = alertmanager(folder.path(), "second", &hooks[1]).await else { return };
    let home = Home::new(&format!(
        "\
route: {{receiver: am, group_by: [alertname], group_wait: 0s, group_interval: 1s}}
receivers:
  - name: am
    alertmanager_configs: [{{url: 'http://{first}/am'}}, {{url: 'http://{second}/am/'}}]
noise: {{default: {{resolve_hold: 0s, digest: 0s}}}}
"
    ));
    let squelch = home.serve().await;
    let alerts = ["a", "b"].map(|host| Told::fires("DiskFull", "host", host));
    squelch.hook(&body("http://am-0", &alerts)).await;
    for address in [first, second] {
        let both = async || Some(firing(address).await).filter(|alerts| alerts.len() == 2);
        let seen = until("both alerts fire there", both).await;
        for alert in seen {
            let told = alerts.iter().find(|told| alert["labels"]["host"] == told.labels[1].1).unwrap();
            let at = |field: &str| Timestamp::parse(alert[field].as_str().unwrap()).unwrap();
            assert_eq!(at("startsAt"), told.starts_at);
            // Alertmanager ends an alert by itself when this has passed, and no repeat may come later.
            let month = squelch::model::Duration::from_hours(24 * 30);
            assert!(at("endsAt") > now() + month, "{alert}");
            assert_eq!(alert["annotations"]["summary"], "it is broken");
            assert_eq!(alert["generatorURL"], "http://prometheus:9090/graph");
            assert_eq!(alert["status"]["state"], "active");
        }
    }
    // One of the two resolves: the other one fires on.
    squelch.hook(&body("http://am-0", &[alerts[0].resolved(), alerts[1].clone()])).await;
    for address in [first, second] {
        let one = async || Some(firing(address).await).filter(|alerts| alerts.len() == 1);
        assert_eq!(until("one alert fires there", one).await[0]["labels"]["host"], "b");
    }
    squelch.hook(&body("http://am-0", &[alerts[1].resolved()])).await;
    for address in [first, second] {
        let none = async || firing(address).await.is_empty().then_some(());
        until("no alert fires there", none).await;
    }
    // Their own receivers got the beginning and the end.
    shown(&pager, "both receivers see it end", |i| opened_and_closed(&about(i, "DiskFull")) == (2, 2)).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_ends_there_although_alertmanager_refused_another_of_its_incident() {
    let (pager, folder) = (pager().await, tempfile::tempdir().unwrap());
    let Some((am, _child)) = alertmanager(folder.path(), "am", &pager.url("/webhook/a")).await else {
        return;
    };
    let home = Home::new(&format!(
        "\
route: {{receiver: am, group_by: [alertname], group_wait: 0s, group_interval: 1s}}
receivers: [{{name: am, alertmanager_configs: [{{url: 'http://{am}/am'}}]}}]
noise: {{default: {{resolve_hold: 0s, digest: 0s}}}}
"
    ));
    let squelch = home.serve().await;
    // Alertmanager 0.25 refuses the name of this label with 400, and takes the other alert of the request.
    let alerts = [("host", "a"), ("service.name", "x")].map(|(label, of)| Told::fires("DiskFull", label, of));
    squelch.hook(&body("http://am-0", &alerts)).await;
    // Squelch brings an alert about the refusal.
    let disks = async || {
        let mut alerts = firing(am).await;
        alerts.retain(|alert| alert["labels"]["alertname"] == "DiskFull");
        alerts
    };
    let one = async || Some(disks().await).filter(|alerts| alerts.len() == 1);
    assert_eq!(until("one of them fires there", one).await[0]["labels"]["host"], "a");
    squelch.hook(&body("http://am-0", &alerts.map(|alert| alert.resolved()))).await;
    until("neither fires there", async || disks().await.is_empty().then_some(())).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}
